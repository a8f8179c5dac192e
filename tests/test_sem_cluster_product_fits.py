"""Fits with products of latent variables on two levels: what is printed of them, and a posterior against a Gibbs sampler."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import invwishart
from test_sem_product_fits import fitted, regression

import bayeshte as bh

pytestmark = pytest.mark.slow

SPEC = bh.SEM(cluster="school", within="x ~~ m; y ~ x + m + x:m", between="x ~~ m; y ~ x + m + x:m", priors="mplus")


def simulated(seed: int, clusters: int = 60, rows: int = 8) -> pd.DataFrame:
    """Products .25 within and .6 between; intraclass correlations of a third."""
    rng = np.random.default_rng(seed)
    j, N = np.repeat(np.arange(clusters), rows), clusters * rows
    B = rng.multivariate_normal([0, 0], [[0.5, 0.15], [0.15, 0.5]], clusters)
    W = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], N)
    b = 0.5 * B[:, 0] + 0.3 * B[:, 1] + 0.6 * B.prod(1) + rng.normal(0, 0.5, clusters)
    y = 1 + b[j] + 0.4 * W[:, 0] + 0.3 * W[:, 1] + 0.25 * W.prod(1) + rng.normal(size=N)
    return pd.DataFrame({"school": j, "x": 0.5 + B[j, 0] + W[:, 0], "m": B[j, 1] + W[:, 1], "y": y})


@pytest.fixture(scope="module")
def fit():
    return fitted(SPEC, simulated(2), draws=200, tune=300, seed=1)


def test_effects_are_those_at_values_of_the_other(fit):
    table = bh.effects(fit).set_index(["estimand", "contrast"])
    for level in ("within", "between"):
        about = table.loc[f"total effect of x on y, {level}"]
        assert [*about.index] == ["m = mean - SD", "m = mean", "m = mean + SD"]
        own = bh.conditional_effects(fit, "x", "y", {"m": [0.0, 1.0]}, where=level)["mean"][:2]
        paths = bh.summary(fit).set_index(["level", "parameter"])["mean"].loc[level]
        np.testing.assert_allclose(own, [paths["y ~ x"], paths["y ~ x"] + paths["y ~ x:m"]])


def test_the_variance_explained_is_that_with_the_product(fit):
    """Within, x and m have means 0: Var = b'Sb + c^2 (S_xx S_mm + S_xm^2) (Aiken & West, 1991)."""
    draws = bh.effect_draws(fit, "R-square of y, within").stack(sample=("chain", "draw")).to_numpy().ravel()
    p = fit.posterior.stack(sample=("chain", "draw"))
    b = {v: p["path"].sel(paths=f"within: y ~ {v}").to_numpy() for v in ("x", "m", "x:m")}
    s = {v: p["sd"].sel(sds=f"within: {v}").to_numpy() for v in ("x", "m", "y")}
    cov = p["corr"].sel(corrs="within: x ~~ m").to_numpy() * s["x"] * s["m"]
    linear = b["x"] ** 2 * s["x"] ** 2 + b["m"] ** 2 * s["m"] ** 2 + 2 * b["x"] * b["m"] * cov
    explained = linear + b["x:m"] ** 2 * (s["x"] ** 2 * s["m"] ** 2 + cov**2)
    np.testing.assert_allclose(draws, explained / (explained + s["y"] ** 2), rtol=1e-9)


def test_cluster_means_are_drawn(fit):
    """They shrink the means of the data, and follow them."""
    data = simulated(2)
    given = data.groupby("school")[["y", "x", "m"]].mean()
    found = fit.posterior["cluster_mean"].mean(("chain", "draw")).to_pandas()
    for v in given:
        slope = np.polyfit(given[v], found[v], 1)[0]
        assert 0.5 < slope < 1.0
        assert np.corrcoef(given[v], found[v])[0, 1] > 0.95


def test_fit_statistics(fit):
    table = bh.model_fit(fit).set_index("statistic")
    assert "no posterior predictive p-value with a product" in table.loc["PPP", "definition"]
    for name in ("DIC, marginal", "BIC", "elpd"):
        assert np.isnan(table.loc[name, "value"])
        assert "no likelihood of whole clusters with a product" in table.loc[name, "definition"]
    assert np.isfinite(table.loc["DIC, conditional", "value"])
    assert bh.loo(fit, "row", refit=False).elpd < 0
    with pytest.raises(bh.SpecError, match="no likelihood of whole clusters"):
        bh.loo(fit)


def test_checks_and_figures(fit, tmp_path):
    table = bh.predictive_checks(fit)
    assert {*table["level"]} == {"within", "between"}
    assert not table["extreme"].any()
    plt.close(bh.plot_path(fit))
    bh.save(fit, tmp_path / "fit")
    bh.report(bh.load(tmp_path / "fit"), tmp_path / "report.html")
    assert "no likelihood of whole clusters" in (tmp_path / "report.html").read_text()


def test_data_of_the_joint_graph_give_its_parameters_back():
    """Missing values stay missing; all parameters within four posterior SDs of those that made the data."""
    given = simulated(3, 60, 8)
    given.loc[::9, "x"] = given.loc[1::9, "y"] = np.nan
    spec = replace(SPEC, priors="default")
    ((truth, data),) = bh.simulate(spec, given, seed=1)
    assert (data[["x", "y", "m"]].isna().to_numpy() == given[["x", "y", "m"]].isna().to_numpy()).all()
    p = fitted(spec, data, draws=200, tune=300, seed=1).posterior
    for v in ("path", "sd", "corr", "intercept", "cluster_mean"):
        z = (p[v].mean(("chain", "draw")) - truth[v]) / p[v].std(("chain", "draw"))
        assert np.abs(z).max() < (4 if v != "cluster_mean" else 5)


def gibbs(data: pd.DataFrame, draws: int, seed: int) -> np.ndarray:
    """Draws of the paths within, those between, residual variances of y, and covariances of x and m, under Mplus's flat priors.

    Every latent mean is normal given the two others of its cluster; given all of them the rest is regressions.
    """
    rng = np.random.default_rng(seed)
    j, Y = data["school"].to_numpy(), data[["x", "m", "y"]].to_numpy()
    J, n = j.max() + 1, np.bincount(j)
    b = np.stack([np.bincount(j, v) / n for v in Y.T], axis=1)
    beta, s2, gamma, tau2 = np.zeros(3), 1.0, np.zeros(4), 0.5
    Sw, Sb, mu = np.eye(2), 0.5 * np.eye(2), b[:, :2].mean(0)
    out = np.empty((draws, 15))
    for s in range(draws):
        for a in (0, 1):
            o, w = 1 - a, Y - b[j]
            slope, rest = beta[a] + beta[2] * w[:, o], w[:, 2] - beta[o] * w[:, o]
            left, to = Sw[a, a] - Sw[a, o] ** 2 / Sw[o, o], Sw[a, o] / Sw[o, o]
            precision = np.bincount(j, slope**2 / s2 + 1 / left)
            towards = np.bincount(j, slope * (slope * Y[:, a] - rest) / s2 + (Y[:, a] - to * w[:, o]) / left)
            slope, rest = gamma[1 + a] + gamma[3] * b[:, o], b[:, 2] - gamma[0] - gamma[1 + o] * b[:, o]
            left, to = Sb[a, a] - Sb[a, o] ** 2 / Sb[o, o], Sb[a, o] / Sb[o, o]
            precision += slope**2 / tau2 + 1 / left
            towards += slope * rest / tau2 + (mu[a] + to * (b[:, o] - mu[o])) / left
            b[:, a] = towards / precision + rng.normal(size=J) / np.sqrt(precision)
        w, given = Y - b[j], np.column_stack([np.ones(J), b[:, :2], b[:, 0] * b[:, 1]])
        e = Y[:, 2] - np.column_stack([w[:, :2], w[:, 0] * w[:, 1]]) @ beta
        precision = n / s2 + 1 / tau2
        b[:, 2] = (np.bincount(j, e) / s2 + given @ gamma / tau2) / precision + rng.normal(size=J) / np.sqrt(precision)
        w = Y - b[j]
        beta, s2 = regression(np.column_stack([w[:, :2], w[:, 0] * w[:, 1]]), w[:, 2], s2, rng)
        gamma, tau2 = regression(given, b[:, 2], tau2, rng)
        mu = b[:, :2].mean(0) + np.linalg.cholesky(Sb / J) @ rng.normal(size=2)
        Sw = invwishart(len(Y) - 3, w[:, :2].T @ w[:, :2]).rvs(random_state=rng)
        Sb = invwishart(J - 3, (b[:, :2] - mu).T @ (b[:, :2] - mu)).rvs(random_state=rng)
        out[s] = [*beta, *gamma[1:], s2, tau2, *Sw[np.tril_indices(2)], *Sb[np.tril_indices(2)], gamma[0]]
    return out


def test_posterior_is_that_of_a_gibbs_sampler():
    data = simulated(1)
    found = fitted(SPEC, data, draws=1500, tune=1000, seed=1)
    assert found.diagnosis.ok
    parts = [["y ~ x", "y ~ m", "y ~ x:m"], ["y ~~ y"], ["x ~~ x", "x ~~ m", "m ~~ m"]]
    names = [(level, v) for some in parts for level in ("within", "between") for v in some] + [("between", "y ~1")]
    table = bh.summary(found).set_index(["level", "parameter"]).loc[names]
    theirs = gibbs(data, 22_000, 1)[2000:]
    mean, sd = theirs.mean(0), theirs.std(0)
    error = theirs.reshape(40, -1, 15).mean(1).std(0, ddof=1) / np.sqrt(40)
    assert (np.abs(table["mean"] - mean) < 4 * np.hypot(error, table["mcse"]) + 0.01 * sd).all()
    np.testing.assert_allclose(table["posterior_sd"], sd, rtol=0.08)
