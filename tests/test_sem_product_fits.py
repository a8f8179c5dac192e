"""Fits with a product of two latent variables: what is printed of them, and a posterior against a Gibbs sampler."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import invwishart

import bayeshte as bh

pytestmark = pytest.mark.slow

MODEL = "f1 =~ x1 + x2 + x3; f2 =~ x4 + x5 + x6; y ~ b1*f1 + b2*f2 + b3*f1:f2"
LOADINGS = np.array([1, 0.8, 0.9])


def simulated(seed: int, n: int = 300, b3: float = 0.3) -> pd.DataFrame:
    """Kenny and Judd's (1984) model: two factors that correlate .4, reliabilities of about .7, and their product."""
    rng = np.random.default_rng(seed)
    f = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], n)
    data = {f"x{k + 1}": 0.5 + LOADINGS[k % 3] * f[:, k // 3] + rng.normal(0, 0.6, n) for k in range(6)}
    y = 1 + 0.5 * f[:, 0] + 0.3 * f[:, 1] + b3 * f[:, 0] * f[:, 1] + rng.normal(0, 0.7, n)
    return pd.DataFrame(data | {"y": y})


def fitted(spec, data, **arguments) -> bh.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, progress=False, **arguments)


@pytest.fixture(scope="module")
def fit():
    return fitted(bh.SEM(model=MODEL), simulated(1, 150), draws=200, tune=300, seed=1)


def test_recovers_the_product(fit):
    row = bh.summary(fit).set_index("parameter").loc["y ~ f1:f2"]
    assert abs(row["estimate"] - 0.3) < 3 * row["posterior_sd"] < 0.5


def test_effects_are_those_at_values_of_the_other(fit):
    table = bh.effects(fit)
    about = table[table["estimand"] == "total effect of f1 on y"]
    assert [*about["contrast"]] == ["f2 = mean - SD", "f2 = mean", "f2 = mean + SD"]
    assert about["estimate"].is_monotonic_increasing
    own = bh.conditional_effects(fit, "f1", "y", {"f2": [0.0]})
    path = bh.summary(fit).set_index("parameter").loc["y ~ f1", "estimate"]
    assert own["estimate"].iloc[0] == pytest.approx(path)
    with pytest.raises(bh.SpecError, match="does not moderate"):
        bh.conditional_effects(fit, "f1", "y", {"x4": [0.0]})


def test_standardised_paths(fit):
    draws = bh.effect_draws(fit, "standardised y ~ f1:f2")
    p, table = fit.posterior, bh.effects(fit).set_index("estimand")
    b, sd, r = ({str(k): p[v].sel({f"{v}s": k}) for k in p[f"{v}s"].values} for v in ("path", "sd", "corr"))
    s1, s2, r = sd["f1"], sd["f2"], next(iter(r.values()))
    b1, b2, b3 = b["y ~ f1"], b["y ~ f2"], b["y ~ f1:f2"]
    explained = b1**2 * s1**2 + b2**2 * s2**2 + 2 * b1 * b2 * r * s1 * s2 + b3**2 * (1 + r**2) * (s1 * s2) ** 2
    total = explained + sd["y"] ** 2
    np.testing.assert_allclose(draws, b3 * s1 * s2 / np.sqrt(total), rtol=1e-9)
    assert table.loc["R-square of y", "mean"] == pytest.approx((explained / total).mean().item())


def test_fit_statistics(fit):
    table = bh.model_fit(fit).set_index("statistic")
    assert "no posterior predictive p-value with a product" in table.loc["PPP", "definition"]
    assert "f1 by adaptive Gauss-Hermite quadrature" in table.loc["DIC", "definition"]
    assert np.isfinite(table.loc[["DIC", "BIC", "elpd"], "value"].astype(float)).all()
    with pytest.raises(bh.SpecError, match="no scores of f1, f2"):
        bh.factor_scores(fit)


def test_leaving_out_rows_tells_the_product(fit):
    plain = fitted(bh.SEM(model=MODEL.replace(" + b3*f1:f2", "")), simulated(1, 150), draws=200, tune=300, seed=1)
    table = bh.compare({"product": fit, "none": plain}, unit="row")
    assert table.index[0] == "product"


def test_predictive_checks_have_the_skewness_that_a_product_makes(fit):
    table = bh.predictive_checks(fit).set_index("statistic")
    assert table.loc["skewness of y", "replicated"] > 0.1
    assert not table.loc[["mean of y", "SD of y", "skewness of y", "correlation of x1 and y"], "extreme"].any()


def test_words(fit):
    lines = bh.SEM(model=MODEL).equations(fit.design)
    assert any(r"\text{b3}\,\text{f1}_{i}\,\text{f2}_{i}" in line for line in lines)
    words = fit.spec.describe(fit.design)
    assert words.integrated == "factors were integrated out of the likelihood exactly, given f1, which was sampled"
    assert "by how much the effect of one changes" in words.effects
    assert any("latent interactions" in r for r in words.references)
    plt.close(bh.plot_path(fit))
    plt.close(bh.plot_effect(fit, "total effect of f1 on y"))
    with pytest.raises(bh.SpecError, match="no value at"):
        bh.plot_effect(fit, "total effect of f1 on y", "f2 = 7")


def gibbs(data: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Draws of (b1, b2, b3, residual variance of y, variances and covariance of the factors) under Mplus's flat priors.

    Data augmentation: f1 given f2 is normal, and f2 given f1; given both all else is regressions.
    """
    rng = np.random.default_rng(seed)
    x, y, n = data[:, :6], data[:, 6], len(data)
    f = np.column_stack([x[:, 0] - x[:, 0].mean(), x[:, 3] - x[:, 3].mean()])
    nu, lam, theta = x.mean(0), np.ones(6), np.full(6, 0.5)
    b, residual, Phi = np.array([y.mean(), 0.0, 0.0, 0.0]), y.var(), np.cov(f.T)
    out = np.empty((draws, 7))
    for s in range(draws):
        for a in (0, 1):
            o = 1 - a
            slope = b[1 + a] + b[3] * f[:, o]
            own = slice(3 * a, 3 * a + 3)
            precision = (lam[own] ** 2 / theta[own]).sum() + slope**2 / residual
            towards = ((x[:, own] - nu[own]) * lam[own] / theta[own]).sum(1) + slope * (
                y - b[0] - b[1 + o] * f[:, o]
            ) / residual
            left = Phi[a, a] - Phi[a, o] ** 2 / Phi[o, o]
            precision, towards = precision + 1 / left, towards + Phi[a, o] / Phi[o, o] * f[:, o] / left
            f[:, a] = towards / precision + rng.normal(size=n) / np.sqrt(precision)
        for k in range(6):
            given = k % 3 == 0
            X = np.ones((n, 1)) if given else np.column_stack([np.ones(n), f[:, k // 3]])
            beta, theta[k] = regression(X, x[:, k] - (f[:, k // 3] if given else 0), theta[k], rng)
            nu[k], lam[k] = beta[0], 1.0 if given else beta[1]
        X = np.column_stack([np.ones(n), f, f[:, 0] * f[:, 1]])
        b, residual = regression(X, y, residual, rng)
        Phi = invwishart(n - 3, f.T @ f).rvs(random_state=rng)
        out[s] = [*b[1:], residual, Phi[0, 0], Phi[1, 1], Phi[0, 1]]
    return out


def regression(X, y, variance, rng):
    """Coefficients given the variance, then the variance, whose prior is flat."""
    V = np.linalg.inv(X.T @ X)
    beta = V @ (X.T @ y) + np.sqrt(variance) * np.linalg.cholesky(V) @ rng.normal(size=X.shape[1])
    e = y - X @ beta
    return beta, (e @ e / 2) / rng.gamma(len(y) / 2 - 1)


@pytest.mark.slow
def test_posterior_is_that_of_a_gibbs_sampler():
    data = simulated(1)
    found = fitted(bh.SEM(model=MODEL, priors="mplus"), data, draws=2000, tune=1000, seed=1)
    names = ["y ~ f1", "y ~ f2", "y ~ f1:f2", "y ~~ y", "f1 ~~ f1", "f2 ~~ f2", "f1 ~~ f2"]
    ours = bh.summary(found).set_index("parameter").loc[names]
    theirs = gibbs(data.to_numpy(), 40_000, 1)[4000:]
    mean, sd = theirs.mean(0), theirs.std(0)
    batches = theirs.reshape(40, -1, 7).mean(1)
    error = batches.std(0, ddof=1) / np.sqrt(40)
    assert (np.abs(ours["mean"] - mean) < 4 * np.hypot(error, ours["mcse"]) + 0.01 * sd).all()
    np.testing.assert_allclose(ours["posterior_sd"], sd, rtol=0.06)
