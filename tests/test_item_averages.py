"""Expected responses averaged over persons: against sums over persons and a dense grid of residuals."""

import numpy as np
import pytest
import xarray as xr
from item_answers import KINDS, ROLES, log_curve, trial
from scipy import stats

import bayeshte as bh
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_averages import DEGREE, mean_responses, means, of_everybody

SPECS = {
    "partial credit": dict(model="partial credit"),
    "generalized": dict(model="generalized partial credit", covariates="pretest"),
    "graded": dict(model="graded", covariates="pretest + age", moderators="age"),
    "graded probit": dict(model="graded", link="probit", moderators="pretest"),
}
Z = np.linspace(-9, 9, 2501)
WEIGHT = stats.norm.pdf(Z) / stats.norm.pdf(Z).sum()


def data_of(persons=80):
    data = trial(3, persons=persons, items=5)[0]
    return data.assign(age=data["child"].str[1:].astype(int) % 7)


def draws_of(D: Arrays, sd: float, steepest: float) -> xr.Dataset:
    """Two draws of everything that an expected response depends on; a steep item in the second."""
    rng, n = np.random.default_rng(1), 2
    p = {v: (("chain", "draw"), rng.normal(0, 0.5, (1, n))) for v in ("beta0", "beta1")}
    x, m = D.design.sizes["covariate"], D.design.sizes["moderator"]
    p |= {"beta2": (("chain", "draw", "covariate"), rng.normal(0, 0.6, (1, n, x)))} if x else {}
    p |= {"beta3": (("chain", "draw", "moderator"), rng.normal(0, 0.3, (1, n, m)))} if m else {}
    p |= {"sigma_theta": (("chain", "draw"), np.array([[sd, 1.3 * sd]]))}
    p |= {v: (("chain", "draw", "word"), rng.normal(0, 1, (1, n, D.n_items))) for v in ("b", "zeta")}
    if D.form.free:
        a = np.exp(rng.normal(0, 0.3, (1, n, D.n_items)))
        a[0, 1, 0] = steepest
        p["a"] = (("chain", "draw", "word"), a)
    tau = [np.sort(rng.normal(0, 1, (1, n, k - 1)), axis=-1) for k in D.form.n_categories]
    p["tau"] = (("chain", "draw", "threshold"), np.concatenate([t - t.mean(-1, keepdims=True) for t in tau], axis=-1))
    return xr.Dataset(p, {"chain": [0], "draw": np.arange(n), "word": D.design["word"]})


def by_brute_force(D: Arrays, draws: xr.Dataset, kind: str, arm: int) -> np.ndarray:
    """(draw, item)."""
    _, X, M = D.persons
    full = np.column_stack([np.ones(len(X)), np.full(len(X), arm), X, arm * M])
    a, tau = D.shapes(draws)
    out = np.empty((2, D.n_items))
    for s in range(2):
        mu = full @ D.beta(draws)[s]
        theta = (mu[:, None] + D.sigma(draws)[s, arm] * Z).ravel()
        for i in range(D.n_items):
            own = D.form.of_item(i)
            log = log_curve(*KINDS[kind], theta, D.easiness(draws)[s, arm, i], a[s, i], tau[s, own])
            mean = np.exp(log) @ np.arange(log.shape[1])
            out[s, i] = (mean.reshape(len(mu), -1) @ WEIGHT).mean()
    return out


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("sd", "steepest"), [(1.0, 1.0), (0.02, 3.0), (5.0, 8.0)])
def test_average_responses_against_brute_force(name, sd, steepest):
    """Many mean abilities on few points, abilities far wider and far narrower than the means, items of very different slopes."""
    spec = bh.ItemResponse(**ROLES, **SPECS[name])
    D = Arrays(spec.design(data_of()))
    assert len(np.unique(D.persons[1], axis=0)) > DEGREE or name == "partial credit"
    kind = name if name in KINDS else "partial credit"
    draws = draws_of(D, sd, steepest)
    for arm in (0, 1):
        ours = mean_responses(D, draws, of_everybody(D, draws, arm))
        np.testing.assert_allclose(ours, by_brute_force(D, draws, kind, arm), atol=2e-8)


def test_no_residual_at_all():
    """An SD of zero: every person answers at the mean ability."""
    spec = bh.ItemResponse(**ROLES, **SPECS["graded"])
    D = Arrays(spec.design(data_of()))
    draws = draws_of(D, 0.0, 1.0)
    ours = mean_responses(D, draws, of_everybody(D, draws, 1))
    np.testing.assert_allclose(ours, by_brute_force(D, draws, "graded", 1), atol=1e-8)


def test_points_integrate_polynomials_of_the_mean_ability():
    """Weights of groups: powers of the mean ability have the sums over persons."""
    spec = bh.ItemResponse(**ROLES, **SPECS["graded"])
    D = Arrays(spec.design(data_of()))
    draws = draws_of(D, 1.0, 1.0)
    _, X, M = D.persons
    weight = np.random.default_rng(0).random((len(X), 3))
    found = means(D, draws, 1, X, M, weight)
    mu = np.column_stack([np.ones(len(X)), np.ones(len(X)), X, M]) @ D.beta(draws).T
    for power in (0, 1, 2, 7):
        exact = (mu**power).T @ weight
        np.testing.assert_allclose(np.einsum("dn,dng->dg", found.at**power, found.share), exact, rtol=1e-9)
