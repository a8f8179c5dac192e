"""EffectMixture: what it refuses, and what it says then."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from mixture_cases import ROLES, SPECS, trial

import bayeshte as bh
from bayeshte.checks.classes import _likeness
from bayeshte.report.model import set_by

PERSONS = {"class_of": "individual"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 0}, "classes=0"),
        ({"classes": True}, "classes=True"),
        ({"class_of": "school"}, "class_of='school'"),
        ({"cluster": None}, "name it with cluster="),
        ({"class_of": "individual", "cluster": None}, "needs clusters"),
        ({"family": "gauss"}, "Did you mean 'gaussian'"),
        ({"trials": "trials"}, "family='logit'"),
        ({"shared": ("gama1",)}, "Did you mean 'gamma1'"),
        ({"shared": "gamma1"}, "names in a tuple"),
        ({"varying": "drug", "intercept_varies": False}, "intercept_varies=True"),
        ({"classes": 1, "order": "gamma0"}, "take them out"),
        ({"outcome": "school"}, "two roles"),
        ({"treatment": None}, "reference and varying"),
        ({"covariates": "y + x"}, "outcome 'y' is in a formula"),
        ({"membership": "x"}, "varies within clusters of 'school'"),
        ({"order": "gamma1[drg]"}, "Did you mean 'gamma1[drug]'"),
        ({"order": "sd"}, "is not a parameter of every class"),
        ({"shared": ("nu",)}, "the model has no 'nu'"),
        ({"shared": ("gamma0", "gamma1", "sd", "sigma")}, "do not differ in anything"),
        ({"varying": "placebo"}, "not an arm with an effect"),
        ({"classes": 6}, "at least two units a class"),
        ({"priors": "mplus"}, "write 'default'"),
        ({"priors": {"pi": bh.Normal(0, 1)}}, "wrong support"),
        ({"membership": "z", "priors": {"alpha": bh.Normal(1, 1)}}, "treats all classes alike"),
        ({"intercept_varies": 1}, "write True or False"),
        ({"missing": "keep"}, "write 'error' or 'drop'"),
        ({"shared": ("u",)}, "where its individuals belong to classes"),
        (PERSONS | {"shared": ("u",), "intercept_varies": False}, "intercept_varies=True. Take it out"),
        (
            PERSONS | {"shared": ("gamma0", "gamma1", "sigma")},
            "do not differ in anything but random effects of clusters",
        ),
        (PERSONS | {"shared": ("sd",), "intercept_varies": False}, "the model has no 'sd'"),
        ({"membership_varies": True}, "write class_of='individual'"),
        ({"membership_varies": "yes"}, "membership_varies='yes': write True or False"),
        (PERSONS | {"membership_varies": True, "cluster": None, "intercept_varies": False}, "needs clusters"),
        (PERSONS | {"membership_varies": True, "classes": 1}, "needs two classes or more"),
        (PERSONS | {"membership_varies": True, "priors": {"pi": bh.Dirichlet(2)}}, "'pi'"),
        (PERSONS | {"membership_varies": True, "priors": {"sd_membership": bh.Normal(0, 1)}}, "wrong support"),
        (PERSONS | {"priors": {"sd_membership": bh.HalfNormal(1)}}, "'sd_membership'"),
    ],
)
def test_bad_specifications_say_what_to_do(change, message):
    data, _ = trial()

    def write():
        spec = bh.EffectMixture(**ROLES | change)
        spec.frozen_priors(spec.design(data))

    with pytest.raises((bh.SpecError, bh.DataError), match=re.escape(message)):
        write()


def test_bad_trials():
    data, _ = trial()
    spec = SPECS["binomial"]
    with pytest.raises(bh.DataError, match="more events 'events' than trials 'trials'"):
        spec.design(data.assign(trials=0))
    with pytest.raises(bh.DataError, match="must be counts"):
        spec.design(data.assign(events=data["events"] + 0.5))
    with pytest.raises(bh.DataError, match="constant: 0 events"):
        spec.design(data.assign(events=0))


def test_labels_cannot_be_sampled_by_nuts():
    with pytest.raises(bh.SpecError, match="marginal=False: the joint graph holds label"):
        bh.fit(bh.EffectMixture(**ROLES), trial()[0], marginal=False, progress=False)


def test_reports_say_which_priors_the_authors_set():
    spec = bh.EffectMixture(**ROLES, priors={"sigma": bh.LogNormal(0, 1), "gamma0": bh.Normal(0, 9)})
    design = spec.design(trial()[0])
    fit = SimpleNamespace(spec=spec, design=design, priors=spec.frozen_priors(design))
    found = dict(zip(fit.priors, set_by(fit), strict=True))
    assert {k for k, who in found.items() if who == "authors"} == {"sigma", "gamma0"}


def test_a_class_in_which_no_unit_is_most_likely_is_said_to_be_one():
    D = SimpleNamespace(labels=lambda what: ["class 1", "class 2"])
    check = _likeness(D, np.array([[0.1, 0.9], [0.3, 0.7]]))
    assert not check.ok
    assert check.message == "no unit is most likely in class 1. Fit fewer classes"
    assert "class 1 belong to it with a mean probability of 0.60: class 1 is not separable" in (
        _likeness(D, np.array([[0.6, 0.4], [0.1, 0.9]])).message
    )
