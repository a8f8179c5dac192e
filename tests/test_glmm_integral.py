"""Likelihood of clusters with other than Gaussian outcomes: grids, the exact Gaussian formula, LOO by cluster."""

import numpy as np
import pytest
from cases import SPECS, frame
from mixture_cases import EFFECTS, as_draws, random_points, trial
from scipy import special, stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte.families.effect_mixture_arrays import Arrays as Mixture
from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.marginal import gaussian, glmm, glmm_integral, glmm_outcomes
from bayeshte.marginal.glmm_outcomes import COUNTS, ORDERED

FAMILIES = list(glmm_outcomes.FAMILIES)
SHAPE = {"student": (0.8, 4.0), "skew normal": (0.8, -3.0), "negative binomial": (1.5,)} | dict.fromkeys(
    ORDERED, (0.6, 1.1)
)


def simulated(family, q, J=5, m=6, seed=1):
    """Rows of J clusters, and one without any."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(J), m)
    X = np.column_stack([np.ones(J * m), rng.integers(0, 2, J * m), rng.normal(size=J * m)])
    eta = X @ [0.3, 0.4, -0.2] + rng.normal(size=J)[cluster]
    y = eta + rng.normal(size=J * m)
    if family in ("logit", "probit"):
        y = (y > 0.3).astype(float)
    if family in ORDERED:
        y = np.searchsorted([0.0, 0.6, 1.7], y).astype(float)
    if family in COUNTS:
        y = rng.poisson(np.exp(eta)).astype(float)
    return X, y, cluster, glmm.collapse(X, y, np.arange(q), cluster, J + 1, family)


@pytest.mark.parametrize("q", [0, 1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_against_a_grid(family, q):
    """A wide grid of the random effects with 401 (q = 1) or 161 x 161 points; SDs from nearly zero to large."""
    X, y, cluster, rows = simulated(family, q)
    sds = np.array([[0.02, 0.01], [0.7, 0.4], [3.0, 1.5]])[:, :q]
    corr = np.linalg.cholesky([[1, -0.6], [-0.6, 1]])[:q, :q]
    factor = sds[:, :, None] * corr
    beta = np.tile([0.2, 0.5, -0.3], (3, 1))
    shape = np.tile(SHAPE.get(family, ()), (3, 1))
    found = glmm_integral.log_likelihood(rows, beta, factor, shape)
    points = np.linspace(-9, 9, 401 if q == 1 else 161)
    grid = np.stack(np.meshgrid(*[points] * q, indexing="ij"), -1).reshape(-1, q) if q else np.zeros((1, 0))
    log_step = q * np.log(points[1] - points[0]) + stats.norm.logpdf(grid).sum(1)
    constant = -special.gammaln(y + 1) if family in COUNTS else np.zeros(len(y))
    expected = np.zeros((3, 6))
    for t in range(3):
        u = grid @ factor[t].T
        for j in range(5):
            own = cluster == j
            eta = X[own] @ beta[t] + u @ X[own][:, :q].T
            given = np.tile(shape[t], (len(eta), 1))
            ll = glmm_outcomes.log_likelihood_rows(eta, y[own], family, given).sum(1) - constant[own].sum()
            expected[t, j] = logsumexp(ll + log_step)
    assert np.abs(found.values - expected).sum(1).max() < 1.5 * found.error + 1e-5
    assert found.error <= glmm_integral.TOLERANCE
    np.testing.assert_allclose(glmm_integral.quadrature(rows, beta, factor, shape, 30), expected, atol=1e-4)


def test_the_normal_special_case():
    """alpha = 0: the closed form of the Gaussian model, for three nodes already."""
    X, y, cluster, rows = simulated("skew normal", 2)
    rng = np.random.default_rng(3)
    beta, sigma = rng.normal(size=(4, 3)), rng.uniform(0.5, 2, 4)
    factor = np.tril(rng.normal(size=(4, 2, 2))) + np.eye(2)
    shape = np.column_stack([sigma, np.zeros(4)])
    m = gaussian.moments(X, y, [0, 1], cluster, 6, np.zeros(len(y), int), 1, None)
    exact = gaussian.log_likelihood(m, gaussian.Parameters(beta, factor, sigma[:, None] ** -2.0))
    np.testing.assert_allclose(glmm_integral.quadrature(rows, beta, factor, shape, 3), exact, atol=1e-6)


def test_leaving_out_clusters():
    """LOO by cluster of a binary outcome says how it was integrated; the sum over clusters is what a refit would see."""
    fit = bh.fit(SPECS["logit"], frame(), draws=200, tune=200, seed=1, progress=False)
    values = fit.cluster_log_likelihood
    assert set(values.dims) == {"chain", "draw", "school"}
    assert values.attrs["quadrature_error"] < 0.01
    found = bh.loo(fit, refit=False)
    assert "by quadrature with" in found.what
    assert len(found.pointwise) == Arrays(fit.design).n_clusters
    assert bh.prior_sensitivity(fit)["likelihood"].notna().all()


@pytest.mark.parametrize("name", ["alike", "alike, binary", "alike, student"])
def test_individuals_in_classes(name):
    """Clusters whose rows belong to classes, against a grid of the intercept that they share."""
    data, _ = trial(2, clusters=5)
    design = (spec := EFFECTS[name]).design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, random_points(density, 3))
    D = Mixture(design)
    found = spec.log_likelihood(draws.drop_vars("u"), design, "cluster")
    points = np.linspace(-9, 9, 1001)
    step = np.log(points[1] - points[0]) + stats.norm.logpdf(points)
    for t in range(3):
        one = draws.isel(draw=[t])
        u = one["sd"].to_numpy().ravel() * points
        many = one.isel(draw=np.zeros(len(u), int)).assign_coords(draw=np.arange(len(u)))
        many["u"] = many["u"].dims, np.tile(u[None, :, None, None], (1, 1, 5, 1))
        rows = spec.log_likelihood(many, design, "row").to_numpy()[0]
        code = design["cluster_code"].to_numpy()
        for j in range(5):
            expected = logsumexp(rows[:, code == j].sum(1) + step)
            assert float(found[0, t, j]) == pytest.approx(expected, abs=0.01)
    assert found.attrs["quadrature_error"] < 0.05
    assert D.units.n_clusters == 5
