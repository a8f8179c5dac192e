"""EffectMixture: brute force, the contract, one class, reference likelihoods and posteriors, labels, recovery, bad input."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from cases import EVALUATE
from scipy import stats
from scipy.special import expit, logsumexp

import bayeshte as bh
from bayeshte import store
from bayeshte.families import effect_mixture as family
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_classes import probabilities, renumbered, terms
from bayeshte.marginal import mixture, mixture_modes, relabel
from bayeshte.marginal.density import is_even

DATA = Path(__file__).parents[2] / "shared" / "data"
ROLES = dict(outcome="y", treatment="arm", reference="control", cluster="school")


def trial(seed=0, clusters=10, rows=(3, 7), effects=(0.0, 1.5), intercepts=(0.0, 2.0), sd=0.3, share=0.5):
    """Clusters of two classes, drawn by NumPy from the equations, and the class of each."""
    rng = np.random.default_rng(seed)
    n = rng.integers(rows[0], rows[1] + 1, clusters)
    label = (rng.random(clusters) < share).astype(int)
    school = np.repeat(np.arange(clusters), n)
    N = len(school)
    T, x = rng.integers(0, 2, N), rng.normal(size=N)
    z = rng.normal(size=clusters) + label
    c = label[school]
    eta = np.array(intercepts)[c] + sd * rng.normal(size=clusters)[school] + np.array(effects)[c] * T + 0.3 * x
    data = pd.DataFrame(
        {
            "y": eta + rng.normal(size=N),
            "arm": np.where(T == 1, "drug", "control"),
            "school": [f"s{k}" for k in school],
            "x": x,
            "z": z[school],
            "passed": rng.binomial(1, expit(eta)),
            "events": rng.binomial(7, expit(eta - 1)),
            "trials": 7,
            "count": rng.poisson(np.exp(eta / 3)),
        },
        index=[f"row {k}" for k in range(N)],
    )
    return data, label


FIXED = ROLES | {"intercept_varies": False}
PERSONS = FIXED | {"class_of": "individual"}
SPECS = {
    "intercepts": bh.EffectMixture(**ROLES),
    "slopes": bh.EffectMixture(**ROLES, varying="drug", covariates="x"),
    "slopes, shared": bh.EffectMixture(**ROLES, varying="drug", shared=("sd", "sigma")),
    "three, fixed": bh.EffectMixture(**FIXED, classes=3, covariates="x", shared=("gamma2",)),
    "one": bh.EffectMixture(**ROLES, varying="drug", classes=1),
    "membership": bh.EffectMixture(**ROLES, classes=3, membership="z", shared=("gamma1", "sd")),
    "binomial": bh.EffectMixture(**FIXED | {"outcome": "events"}, trials="trials", family="logit", classes=3),
    "binary": bh.EffectMixture(**FIXED | {"outcome": "passed"}, covariates="x", family="logit", shared=("gamma2",)),
    "counts": bh.EffectMixture(**FIXED | {"outcome": "count"}, family="poisson", membership="z"),
    "student": bh.EffectMixture(**FIXED, family="student", shared=("nu",)),
    "persons": bh.EffectMixture(**PERSONS, membership="x"),
    "persons, no clusters": bh.EffectMixture(
        outcome="y", class_of="individual", intercept_varies=False, order="gamma0"
    ),
    "persons, student": bh.EffectMixture(**PERSONS, family="student", order="gamma1[drug]"),
    "odd priors": bh.EffectMixture(
        **ROLES,
        priors={
            "gamma0": bh.StudentT(4, 0, 3),
            "gamma1": bh.Uniform(-9, 9),
            "sd": bh.Gamma(2, 1),
            "sigma": bh.InverseGamma(3, 2),
            "pi": bh.Dirichlet(0.7),
        },
    ),
}


@pytest.fixture(params=SPECS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def as_draws(density, points) -> xr.Dataset:
    """Parameters at several points as one chain of draws, labels as they are."""
    values = [density.parameters(z) for z in points]
    data = {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    coords = {"chain": [0], "draw": np.arange(len(points))}
    out = xr.Dataset(data, coords)
    if out.sizes.get("varying", 0) > 1:
        L = out["_corr_factor"].to_numpy()
        out = out.assign(corr=(out["_corr_factor"].dims, L @ L.swapaxes(-1, -2)))
    return out.drop_vars("_corr_factor")


def random_points(density, n, seed=0):
    return np.random.default_rng(seed).normal(0, 1.0, (n, density.n_dim))


def log_posterior(spec, design, density, priors, z) -> float:
    """The kernel's log density at z as one of the parameters themselves, in the measure of PyMC's distributions."""

    def free(z):
        values = density.parameters(z)
        values.pop("_pi", None)
        corr = values.pop("_corr_factor")
        corr = corr.reshape(corr.size // max(1, corr.shape[-1] ** 2), *corr.shape[-2:])
        if "pi" in values:
            values["pi"] = values["pi"][:-1]
        if "alpha" in values:  # the density of PyMC's ZeroSumNormal is one on the subspace
            values["alpha"] = values["alpha"] @ mixture.basis(values["alpha"].shape[-1])
        lower = np.tril_indices(corr.shape[-1], -1)
        return np.concatenate([*(v.ravel() for v in values.values()), *(c[lower] for c in corr)])

    jacobian = np.column_stack([(free(z + h) - free(z - h)) / 2e-4 for h in 1e-4 * np.eye(density.n_dim)])
    fine = np.column_stack([(free(z + h) - free(z - h)) / 1e-4 for h in 0.5e-4 * np.eye(density.n_dim)])
    jacobian = (4 * fine - jacobian) / 3
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    D = Arrays(design)
    blocks = 1 if "sd" in D.shared else D.classes
    twice = blocks * sum(name.startswith("sd[") and is_even(prior) for name, prior in priors.items())
    return density(z)[0] + twice * np.log(2) - np.linalg.slogdet(jacobian)[1] + np.linalg.slogdet(scale)[1]


def joint_value(model: pm.Model, given: dict) -> dict:
    """Parameters, labels and random effects in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        if rv.name.startswith("_corr_factor_"):
            value = given["_corr_factor"][int(rv.name.rsplit("_", 1)[1])]
        else:
            value = given[rv.name]
        transform = model.rvs_to_transforms[rv]
        if transform is not None:
            value = transform.forward(pt.as_tensor(np.asarray(value)), *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point


# ---------------------------------------------------------------------------------------------- the density


def test_gradient_is_exact(case):
    density = case[3]
    for z in random_points(density, 3):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, u, c, theta) - log p(u, c | y, theta) = log p(y, theta), for arbitrary classes c and random effects u."""
    spec, design, priors, density = case
    model = replace(spec, order=None).joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    D, rng = Arrays(design), np.random.default_rng(1)
    points = random_points(density, 20)
    draws = as_draws(density, points)
    t, chance = D.parameters(draws), probabilities(D, draws)
    label = rng.integers(0, D.classes, (20, D.n_units))
    u = rng.normal(0, 2, (20, D.n_units, D.q))
    conditional = np.log(np.take_along_axis(chance, label[..., None], 2)[..., 0]).sum(1)
    if D.q:
        conditional += mixture.log_density_of_effects(D.units, t, label, u).sum(1)
    for s, z in enumerate(points):
        joint = float(logp(joint_value(model, density.parameters(z) | {"label": label[s], "u": u[s]})))
        expected = log_posterior(spec, design, density, priors, z)
        assert joint - conditional[s] == pytest.approx(expected, abs=1e-8 * max(abs(joint), 1e3))


def test_parametrisations_of_the_joint_graph_agree(case):
    """log p(y, u) + log |du/dz| = log p(y, z) for u = C_c z."""
    spec, design, priors, density = case
    D = Arrays(design)
    if not D.q:
        pytest.skip("no random effects")
    point = random_points(density, 1)
    C = D.parameters(as_draws(density, point)).factor[0]
    rng = np.random.default_rng(2)
    label, z = rng.integers(0, D.classes, D.n_units), rng.normal(size=(D.n_units, D.q))
    given = density.parameters(point[0]) | {"label": label, "u": (C[label] @ z[..., None])[..., 0], "_z": z}
    values = []
    for centred in (True, False):
        model = spec.joint(design, priors, centred=centred)
        values.append(float(model.compile_logp(mode=EVALUATE)(joint_value(model, given))))
    assert values[0] + np.linalg.slogdet(C[label])[1].sum() == pytest.approx(values[1], abs=1e-7)


def test_likelihood_against_brute_force_sum():
    """All 3^5 allocations of five clusters to classes, each with a dense multivariate normal."""
    data, _ = trial(1, clusters=6, rows=(2, 4))
    spec = bh.EffectMixture(**ROLES, varying="drug", covariates="x", classes=3, membership="z")
    design = spec.design(data)
    D, density = Arrays(design), spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, random_points(density, 1, seed=4))
    t = D.parameters(draws)
    W = np.column_stack([np.ones(D.n_units), data.groupby("school", sort=False)["z"].first()])
    prior = np.exp(W @ t.alpha[0])
    prior /= prior.sum(1, keepdims=True)
    X = np.column_stack([np.ones(len(data)), data["arm"] == "drug", data["x"]]).astype(float)
    each = np.empty((D.n_units, 3))
    for j, c in np.ndindex(*each.shape):
        rows = D.code == j
        Z, S = X[rows][:, :2], t.factor[0, c] @ t.factor[0, c].T
        cov = Z @ S @ Z.T + t.shape[0, c, 0] ** 2 * np.eye(rows.sum())
        each[j, c] = np.log(prior[j, c]) + stats.multivariate_normal(X[rows] @ t.beta[0, c], cov).logpdf(D.y[rows])
    sums = [sum(each[j, c] for j, c in enumerate(every)) for every in itertools.product(range(3), repeat=D.n_units)]
    np.testing.assert_allclose(terms(D, draws)[0], each, rtol=1e-9)
    assert float(spec.log_likelihood(draws, design, "cluster").sum()) == pytest.approx(logsumexp(sums), abs=1e-9)


@pytest.mark.parametrize("slopes", [False, True])
def test_one_class_is_the_random_slope(slopes):
    """K = 1: the log density of RandomSlope at the same parameters, to 1e-10."""
    data, _ = trial(2, clusters=14)
    priors = {"sigma": bh.HalfNormal(2), "gamma0": bh.Normal(0, 3), "gamma1": bh.Normal(0, 3)}
    varying = "drug" if slopes else ()
    one = bh.EffectMixture(**ROLES, covariates="x", varying=varying, classes=1, priors=priors)
    other = bh.RandomSlope(**ROLES, covariates="x", varying=varying, priors=priors)
    values = []
    for spec in (one, other):
        design = spec.design(data)
        density = spec.marginal(design, spec.frozen_priors(design))
        raw = density.with_coordinates(np.zeros(density.n_dim), np.eye(density.n_dim))
        z = np.random.default_rng(3).normal(0, 0.5, (20, raw.n_dim))
        values.append([raw(v)[0] for v in z])
    np.testing.assert_allclose(*values, rtol=0, atol=1e-10)


def test_renumbering_changes_nothing(case):
    """The density is the same for every numbering of the classes, and so is P(class | data) but for the numbers."""
    spec, design, priors, density = case
    D = Arrays(design)
    if D.classes == 1:
        pytest.skip("one class")
    draws = as_draws(density, random_points(density, 3))
    order = np.random.default_rng(5).permuted(np.tile(np.arange(D.classes), (3, 1)), axis=1)
    again = renumbered(draws, order)
    given = np.take_along_axis(probabilities(D, draws), order[:, None, :], axis=2)
    np.testing.assert_allclose(probabilities(D, again), given, rtol=1e-9, atol=1e-14)
