"""ItemResponse: data as they come, what is refused, few answers."""

import re

import numpy as np
import pandas as pd
import pytest
from item_responses import ROLES, trial

import bayeshte as bh

TRIAL = trial(persons=20, items=5)[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: pd.concat([d, d.iloc[:3]], ignore_index=True), bh.DataError, "3 rows repeat a pair of 'child' and 'word'"),
        (lambda d: d.assign(right=d["right"].where(d.index > 1, 2)), bh.DataError, "2 of 100 rows are not: 2 in 2"),
        (lambda d: d.assign(right=np.where(d["right"] == 1, "Y", "N")), bh.DataError, "must be 0/1 or boolean; 100 of 100"),
        (lambda d: d.assign(right=1), bh.DataError, "constant"),
        (lambda d: d.assign(arm=np.where(d.index % 2, "drug", "control")), bh.DataError, "'arm' varies within 20 of 20"),
        (lambda d: d.assign(pretest=d.index * 1.0), bh.DataError, "'pretest' of the formulas varies within 20 of 20 persons"),
        (lambda d: d.assign(arm="control"), bh.DataError, "one arm only"),
        (lambda d: d.assign(word="w1", child=d.index.astype(str)), bh.DataError, "one of the items only"),
        (lambda d: d.assign(pretest=d["pretest"].where(d["child"] != "c2")), bh.DataError, "Missing values: 'pretest' in 5"),
        (lambda d: d.assign(right=np.nan), bh.DataError, "missing in all 100 rows"),
        (lambda d: d.drop(columns="word"), bh.DataError, "'word' is not in the data"),
        (lambda d: d.assign(word=d["word"] + d["arm"]), bh.DataError, "0 of 10 items of 'word' were answered in both arms"),
        (lambda d: d.assign(pretest=1.0), bh.DataError, "constant"),
        (lambda d: d.iloc[:0], bh.DataError, "no rows"),
    ],
)  # fmt: skip
def test_bad_data(change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        bh.ItemResponse(**ROLES, covariates="pretest").design(change(TRIAL))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "3pl"}, "write one of 'rasch', '2pl'"),
        ({"link": "cloglog"}, "write 'logit' or 'probit'"),
        ({"person": "word"}, "two roles"),
        ({"item": "theta"}, "a name the model uses"),
        ({"covariates": None}, "a formula as text"),
        ({"item_effects": "yes"}, "True or False"),
        ({"priors": 3}, "'default' or a mapping"),
        ({"treatment": ""}, "name one column"),
    ],
)
def test_bad_specification(options, message):
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        bh.ItemResponse(**ROLES | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priors": "mplus"}, "'default' or a mapping"),
        ({"priors": {"beta9": bh.Normal(0, 1)}}, "'beta9' is not a parameter"),
        ({"priors": {"rho": bh.Normal(0, 1)}}, "wrong support"),
        ({"covariates": "arm"}, "has a role of its own"),
        ({"reference": "placebo"}, "not an arm"),
    ],
)
def test_bad_specification_for_these_data(options, message):
    spec = bh.ItemResponse(**ROLES | options)
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        spec.frozen_priors(spec.design(TRIAL))


def test_awkward_data_are_analysed_and_counted():
    """All or none right, items answered one way or in one arm only, missing responses, numbers as ids, boolean responses."""
    d = trial(4, persons=60, items=8, missing=0.1)[0].reset_index(drop=True)
    d["child"], d["word"] = d["child"].str[1:].astype(int), d["word"].str[1:].astype(float)
    d["right"] = d["right"].astype(float)
    d.loc[d["child"] == 3, "right"], d.loc[d["child"] == 4, "right"] = 1.0, 0.0
    d.loc[d["word"] == 1, "right"] = 1.0
    d = d[~((d["word"] == 2) & (d["arm"] == "drug"))]
    d.loc[d.index[:7], "right"] = np.nan
    before = d.copy(deep=True)
    spec = bh.ItemResponse(**ROLES)
    fit = bh.fit(spec, d, seed=1, progress=False)
    assert d.equals(before)
    assert fit.diagnosis.ok
    assert fit.design.sizes["row"] == len(d) - 7
    assert "2" in fit.posterior["word"].to_numpy()  # not 2.0
    facts = dict(spec.describe(fit.design).facts)
    assert facts["Items with one answer only"].startswith("1 of 8")
    assert facts["Items seen in one arm only"].startswith("1 of 8")
    assert "right: 7" in facts["Responses right"]
    one_arm = bh.cluster_effects(fit).set_index("cluster")["one_arm"]
    assert one_arm["2"]
    assert one_arm.sum() == 1
    sd = fit.posterior["zeta"].std(("chain", "draw"))
    assert float(sd.sel(word="2")) > float(sd.median())  # an item that was seen in one arm is known least
    same = spec.design(d.assign(right=d["right"].map({1.0: True, 0.0: False})))
    np.testing.assert_array_equal(same["y"], fit.design["y"])


def test_few_answers_make_no_divergences():
    """No spread of effects, four items, abilities nearly alike: what glmer fits on the boundary."""
    data, _ = trial(9, persons=150, items=4, sigma=0.1, sigma_zeta=0.01, rho=0.0)
    fit = bh.fit(bh.ItemResponse(**ROLES), data, draws=500, seed=4, progress=False)
    assert int(fit.draws["sample_stats"]["diverging"].sum()) == 0
    assert fit.diagnosis.ok
    assert float(fit.posterior["sigma_zeta"].median()) < 0.7
