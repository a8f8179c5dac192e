"""The saturated model of structural equation models, against dense densities and closed forms."""

import numpy as np
import pytest
from model_fits import clinics_fit
from scipy import optimize, stats

import bayeshte as bh
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_matrices import matrices
from bayeshte.marginal.matrices import implied
from bayeshte.marginal.saturated import Saturated, guess, maximum
from bayeshte.marginal.sufficient import Data


@pytest.fixture
def fitted() -> bh.Fit:
    return clinics_fit()


def simulated(two_level=True, gaps=0.2, seed=0, clusters=8, own=1, size=(2, 5)) -> Data:
    rng = np.random.default_rng(seed)
    n = rng.integers(*size, clusters) if two_level else np.full(clusters, 5)
    code = np.repeat(np.arange(clusters), n)
    b = rng.normal(size=(clusters, 2 + own)) @ np.tril(rng.normal(0.5, 0.3, (2 + own, 2 + own)))
    Y = 1 + b[code, :2] + rng.normal(size=(len(code), 2)) @ np.array([[1, 0], [0.5, 1]])
    X, Z = rng.normal(3, 1, (len(code), 1)), rng.normal(10, 1, (clusters, 1))
    V = b[:, 2:].copy()
    Y[rng.random(Y.shape) < gaps] = np.nan
    V[rng.random(V.shape) < gaps] = np.nan
    if not two_level:
        return Data(Y, X, None, np.empty((0, 0)), np.empty((0, 0)), np.zeros(len(Y), int))
    return Data(Y, X, code, V, Z, np.zeros(clusters, int))


def dense(data: Data, S: np.ndarray, K: np.ndarray) -> float:
    """Log-likelihood as one multivariate normal a cluster (or row); S (level, P, P), K (level, P, Q)."""
    total, p = 0.0, data.Y.shape[1]
    code = np.arange(len(data.Y)) if data.code is None else data.code
    for j in range(code.max() + 1):
        rows = np.flatnonzero(code == j)
        n = len(rows)
        q = np.column_stack([np.ones(n), data.X[rows]])
        values, cov = data.Y[rows].ravel(), np.kron(np.eye(n), S[0, :p, :p])
        if data.code is not None:
            q = np.column_stack([q, np.ones(n), np.tile(data.Z[j], (n, 1))])
            one = np.zeros((n * p + len(S[1]) - p, len(S[1])))
            one[: n * p, :p], one[n * p :, p:] = np.tile(np.eye(p), (n, 1)), np.eye(len(S[1]) - p)
            cov = np.pad(cov, (0, len(one) - n * p)) + one @ S[1] @ one.T
            values = np.r_[values, data.V[j]]
        k = K.sum(0)
        mean = np.r_[(q @ k[:p].T).ravel(), np.zeros(len(values) - n * p)]
        if data.code is not None:
            mean[n * p :] = K[1][p:] @ np.r_[0.0, 0.0, 1.0, data.Z[j]]
        seen = ~np.isnan(values)
        if seen.any():
            total += stats.multivariate_normal(mean[seen], cov[np.ix_(seen, seen)]).logpdf(values[seen])
    return total


def unpacked(model: Saturated, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and K from free numbers, S by Cholesky factors."""
    split, (levels, P) = len(model.coefficients), (len(model.variables), model.observed)
    K, L = np.zeros((levels, P, model.data.regressors)), np.zeros((levels, P, P))
    K[tuple(model.coefficients.T)], L[tuple(model.covariances.T)] = x[:split], x[split:]
    return L @ L.swapaxes(-1, -2), K


@pytest.mark.slow
@pytest.mark.parametrize(("two_level", "both"), [(True, (0, 1)), (True, (1,)), (False, ())])
def test_the_saturated_likelihood_and_its_maximum_are_those_of_dense_normals(two_level, both):
    data = simulated(two_level)
    model = Saturated(data, both)
    f, rng = model.log_likelihood(data), np.random.default_rng(1)
    for _ in range(3):
        S, K = unpacked(model, rng.normal(0.5, 0.5, len(model.level)))
        assert f(model.point(S, K))[0] == pytest.approx(dense(data, S, K), abs=1e-8)

    found, value = maximum(model, f, guess(model), tolerance=1e-8)
    assert value == pytest.approx(dense(data, *uncentred(model, found)), abs=1e-8)
    diagonal = model.covariances[:, 1] == model.covariances[:, 2]
    start = np.r_[np.zeros(len(model.coefficients)), np.where(diagonal, 1.0, 0.0)]
    best = optimize.minimize(lambda x: -dense(data, *unpacked(model, x)), start, method="BFGS")
    assert -best.fun < value + 1e-6  # nothing is higher
    assert value == pytest.approx(-best.fun, abs=0.01)


def uncentred(model: Saturated, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moments at t, with the constants that go with covariates as they are."""
    S, K = model.moments(t)
    x, z = model.centres
    for level, c in enumerate(model.constants):
        K[level, :, c] -= K[level, :, c + 1 : c + 1 + len((x, z)[level])] @ (x, z)[level]
    return S, K


def closed_form(Y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Maximum likelihood of balanced complete data: roots of the means' cross-products that are too small are pooled."""
    J, p = len(Y) // n, Y.shape[1]
    means = Y.reshape(J, n, p).mean(1)
    W = Y - np.repeat(means, n, axis=0)
    pooled, around = W.T @ W / (J * n - J), means - means.mean(0)
    roots, T = np.linalg.eigh(
        np.linalg.solve(C := np.linalg.cholesky(pooled), n * around.T @ around / J) @ np.linalg.inv(C).T
    )
    A = C @ T  # S_W = A A', n S_means = A diag(roots) A'
    small = np.where(roots < 1, (J * n - J + J * roots) / (J * n), 1.0)
    large = np.where(roots < 1, small, roots)
    SW, SV = A * small @ A.T, A * large @ A.T
    log_likelihood = -0.5 * (
        J * n * p * np.log(2 * np.pi)
        + (J * n - J) * (np.linalg.slogdet(SW)[1] + np.trace(np.linalg.solve(SW, pooled)))
        + J * (np.linalg.slogdet(SV)[1] + np.trace(np.linalg.solve(SV, n * around.T @ around / J)))
    )
    return SW, (SV - SW) / n, log_likelihood


def test_balanced_data_have_a_closed_form_also_where_the_estimate_is_singular():
    singular = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        code = np.repeat(np.arange(30), 4)
        Y = 3 + 0.5 * rng.normal(size=(30, 3))[code] + rng.normal(size=(120, 3)) @ np.tril(rng.normal(1, 0.3, (3, 3)))
        data = Data(Y, np.empty((120, 0)), code, np.empty((30, 0)), np.empty((30, 0)), np.zeros(30, int))
        model = Saturated(data, (0, 1, 2))
        t, value = maximum(model, model.log_likelihood(data), guess(model), tolerance=1e-10)
        (W, B), _ = model.moments(t)
        SW, SB, best = closed_form(Y, 4)
        assert value == pytest.approx(best, abs=1e-6)
        np.testing.assert_allclose(W, SW, atol=2e-3)
        np.testing.assert_allclose(B, SB, atol=2e-3)
        singular.append(np.linalg.eigvalsh(SB).min() < 1e-9)
    assert 0 < sum(singular) < 8


def test_few_steps_come_close_enough():
    """What the default tolerance leaves, of a discrepancy whose SD is several units."""
    for seed in range(10):
        data = simulated(seed=seed, clusters=40, own=seed % 2, gaps=0.15 * (seed % 3))
        model = Saturated(data, (0, 1))
        f = model.log_likelihood(data)
        assert maximum(model, f, guess(model), tolerance=1e-10)[1] - maximum(model, f, guess(model))[1] < 5e-4


def test_too_few_clusters_for_a_saturated_model():
    data = simulated(clusters=4, own=3, gaps=0)
    model = Saturated(data, (0, 1))
    with pytest.raises(bh.DataError, match="too few clusters"):
        maximum(model, model.log_likelihood(data), guess(model))


def test_the_saturated_model_contains_the_fitted_one(fitted):
    s, data = fitted.spec.structure, data_of(fitted.design)
    model = Saturated(data, tuple(s.within.index(v) for v in s.both))
    draws = fitted.posterior.isel(chain=[0], draw=slice(0, 5))
    S, K = implied(matrices(s, fitted.design["slots"].to_numpy()), stacked(s, draws))
    f = model.log_likelihood(data)
    found = [f(t)[0] for t in model.point(S[:, :, 0], K[:, :, 0])]
    expected = fitted.spec.log_likelihood(draws, fitted.design, "cluster").sum("clinic").to_numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
