"""Likelihoods of structural models with categories against brute-force integration, the generalised linear model, boxes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import expit, ndtr
from test_sem_categorical import MODELS, SAMPLED, boxes, frame
from test_sem_categorical_checks import PRIORS

import bayeshte as bh
from bayeshte.checks.loo import without
from bayeshte.families.sem_categorical import responses
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.marginal.matrices import moments
from bayeshte.marginal.structural_categorical import cuts_at, varying, without_logistic
from bayeshte.marginal.structural_draws import implied_within
from bayeshte.simulate import _prior_draws

GRID = np.linspace(-6.5, 6.5, 53)  # of each standard normal variable, by the trapezoidal rule

TWO_LEVELS = {
    "binary": bh.SEM(cluster="school", within="m ~ x; y ~ m + x", between="m ~ z; y ~ m + z", categorical=["y"]),
    "logit": MODELS["logit"],
    "variables of clusters": MODELS["variables of clusters"],
    "slope on a latent predictor": bh.SEM(
        cluster="school", within="s | y ~ m", between="y ~ z; s ~ z", categorical=["y"]
    ),
    "slope on a covariate": MODELS["slope on a covariate"],
    "two answers": MODELS["two answers"],
    "no residual between": bh.SEM(
        cluster="school", within="m ~ x; y ~ m", between="m ~ z; y ~ m + z; y ~~ 0*y", categorical=["y"]
    ),
}


def prior_draws(spec, design, n: int) -> xr.Dataset:
    """Draws of moderate priors, as a posterior of one chain."""
    known = {v.split("[")[0] for v in spec.frozen_priors(design)}
    tight = {
        **{
            "path": bh.Normal(0, 0.6),
            "intercept": bh.Normal(0, 0.5),
            "sd": bh.Gamma(8, 12),
            "threshold": bh.Normal(0, 0.7),
        },
        **{"loading": bh.Normal(1, 0.3)},
    }
    spec = replace(spec, priors={k: p for k, p in tight.items() if k in known})
    return _prior_draws(spec, design, spec.frozen_priors(design), n, 3)[0]


def row_probability(y, q, S, K, b, answers, cuts) -> np.ndarray:
    """log p of a row at parts b (point, variable): normal density of what is continuous, given it independent categories."""
    columns = {r.column: k for k, r in enumerate(answers)}
    seen = np.flatnonzero(~np.isnan(y))
    continuous = [k for k in seen if k not in columns]
    mean = b + K[..., : len(q)] @ q
    out, e = np.zeros(len(mean)), y[continuous] - mean[:, continuous]
    V = S[..., continuous, :][..., :, continuous]
    if continuous:
        W = np.broadcast_to(np.linalg.inv(V), (len(e), *V.shape[-2:]))
        out += -0.5 * np.einsum("ga,gab,gb->g", e, W, e)
        out += -0.5 * (np.linalg.slogdet(V)[1] + len(continuous) * np.log(2 * np.pi))
    for k in seen:
        if k not in columns:
            continue
        r, cut = answers[columns[k]], np.r_[-np.inf, cuts[columns[k]], np.inf]
        centre, var = mean[:, k], S[..., k, k]
        if continuous:
            to = np.linalg.solve(V, S[..., continuous, k][..., None])[..., 0]
            centre, var = centre + (to * e).sum(-1), var - (to * S[..., continuous, k]).sum(-1)
        cdf = expit if r.link == "logit" else lambda x, var=var: ndtr(x / np.sqrt(var))
        out += np.log(np.maximum(cdf(cut[int(y[k]) + 1] - centre) - cdf(cut[int(y[k])] - centre), 1e-300))
    return out


def brute_force(spec, design, draws) -> np.ndarray:
    """Log-likelihood of every cluster at one draw, parts on a grid of independent standard normal variables."""
    s, data = spec.structure_of(design), data_of(design)
    answers, t = responses(s), stacked(s, draws)
    m = without_logistic(spec._matrices(design), answers)
    cuts, f, p = [c[0] for c in cuts_at(answers, t)], varying(m), m.within
    out = np.zeros(len(data.context))
    for j, c in enumerate(data.context):
        S, K = (x[0] for x in moments(m, t, 1, c))
        mean = K[:, -1 - data.Z.shape[1] :] @ np.r_[1.0, data.Z[j]]
        own = p + np.flatnonzero(~np.isnan(data.V[j]))
        V, e = S[np.ix_(own, own)], data.V[j][own - p] - mean[own]
        if len(own):
            out[j] += stats.multivariate_normal(mean[own], V).logpdf(data.V[j][own - p])
        to = S[np.ix_(f, own)] @ np.linalg.inv(V)
        values, vectors = np.linalg.eigh(S[np.ix_(f, f)] - to @ S[np.ix_(own, f)])
        values, vectors = values[values > 1e-12], vectors[:, values > 1e-12]
        z = np.stack(np.meshgrid(*[GRID] * len(values), indexing="ij"), -1).reshape(-1, len(values))
        parts = mean[f] + to @ e + z * np.sqrt(values) @ vectors.T
        slopes = parts[:, len(f) - len(m.slopes) :]
        b = np.zeros((len(z), m.size))
        b[:, f[: len(f) - len(m.slopes)]] = parts[:, : len(f) - len(m.slopes)]
        if m.slopes:
            Sw, Kw = implied_within(m, np.repeat(t, len(z), axis=0), slopes)
        else:
            Sw, Kw = (x[0] for x in moments(m, t, 0, 0))
        ll = stats.norm.logpdf(z).sum(1)
        for i in np.flatnonzero(data.code == j):
            ll += row_probability(data.Y[i], np.r_[1.0, data.X[i]], Sw, Kw, b, answers, cuts)
        step = GRID[1] - GRID[0]
        out[j] += np.log(np.exp(ll).sum()) + len(values) * np.log(step)
    return out


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", TWO_LEVELS)
def test_clusters_against_brute_force(name, missing):
    spec = TWO_LEVELS[name]
    data = frame(missing=missing)
    if name == "logit":
        data["m"] = frame()["m"]  # where it is missing the response of a logit is not independent
    data = data[data["school"] < 6]
    design = spec.design(data)
    draws = prior_draws(spec, design, 2)
    found = spec.log_likelihood(draws, design, "cluster")
    assert found.attrs["quadrature_error"] < 0.01
    for k in range(2):
        expected = brute_force(spec, design, draws.isel(draw=[k]))
        np.testing.assert_allclose(found[0, k], expected, atol=2e-3)
    assert "latent means of" in found.attrs["integrated"]


def test_a_random_intercept_is_that_of_the_generalised_linear_model():
    data = frame()
    glmm = bh.RandomSlope(outcome="y", cluster="school", covariates="x", family="probit")
    spec = bh.SEM(cluster="school", within="y ~ x", between="y ~~ y", categorical=["y"])
    rng, n = np.random.default_rng(0), 30
    gamma, beta, sd = rng.normal(0, 0.5, (1, n)), rng.normal(0, 0.5, (1, n)), rng.gamma(2, 0.4, (1, n))
    coords = {"chain": [0], "draw": np.arange(n)}
    known = {"gamma0": (("chain", "draw"), gamma), "gamma2": (("chain", "draw", "covariate"), beta[..., None])}
    known["sd"] = ("chain", "draw", "varying"), sd[..., None]
    one = glmm.log_likelihood(
        xr.Dataset(known, coords | {"covariate": ["x"], "varying": ["intercept"]}), glmm.design(data), "cluster"
    )
    labels = {"paths": ["within: y ~ x"], "thresholds": ["between: y | t1"], "sds": ["between: y"]}
    values = {"path": beta, "threshold": -gamma, "sd": sd}
    named = {v: (("chain", "draw", f"{v}s"), x[..., None]) for v, x in values.items()}
    two = spec.log_likelihood(xr.Dataset(named, coords | labels), spec.design(data), "cluster")
    np.testing.assert_allclose(one.sel(school=two["school"]), two, atol=1e-3)


@pytest.mark.parametrize("name", SAMPLED)
def test_rows_of_one_level_against_boxes(name):
    spec = SAMPLED[name]
    design = spec.design(frame(missing=True))
    draws = prior_draws(spec, design, 3)
    found = spec.log_likelihood(draws, design, "row")
    assert found.attrs["quadrature_error"] < 0.01
    for k in range(3):
        assert float(found[0, k].sum()) == pytest.approx(boxes(spec, design, draws.isel(draw=[k])), abs=2e-3)


def test_many_latent_variables_of_a_row_by_quasi_monte_carlo():
    """Four responses that covary: three coordinates; the box of a normal distribution of four variables."""
    data = frame()
    data["w"] = (np.random.default_rng(0).random(len(data)) < 0.4) * 1
    spec = bh.SEM(model="y ~ x; o ~ y + x; u ~ o + y; w ~ y + o + u", categorical=["y", "o", "u", "w"])
    data = data.iloc[:12]
    design = spec.design(data)
    draws = prior_draws(spec, design, 1)
    found = spec.log_likelihood(draws, design, "row")
    assert "Sobol points" in found.attrs["integrated"]
    assert float(found.sum()) == pytest.approx(boxes(spec, design, draws), abs=0.02)


@pytest.mark.parametrize("name", ["logit", "slope on a latent predictor", "moderated"])
def test_rows_given_their_clusters(name):
    spec = (MODELS | TWO_LEVELS)[name]
    data = frame()
    design = spec.design(data)
    draws = prior_draws(spec, design, 2)
    found = spec.log_likelihood(draws, design, "row")
    pieces = [spec.log_likelihood(draws, design.isel(row=slice(a, a + 20)), "row") for a in range(0, len(data), 20)]
    np.testing.assert_allclose(xr.concat(pieces, "row"), found, atol=1e-12)
    s, values = spec.structure_of(design), data_of(design)
    answers, t = responses(s), stacked(s, draws)
    m = without_logistic(spec._matrices(design), answers)
    both = [s.within.index(v) for v in s.both]
    for i in range(len(data)):
        for k in range(2):
            b, here = np.zeros((1, m.size)), t[[k]]
            if s.two_level:
                b[0, both] = draws["cluster_mean"][0, k, values.code[i]]
                slopes = draws["slope"].to_numpy()[0, [k], values.code[i]] if m.slopes else np.empty((1, 0))
                S, K = implied_within(m, here, slopes)
            else:
                S, K = moments(m, here, 0, values.context[i])
            given = (S[0], K[0], b, answers, [c[k] for c in cuts_at(answers, t)])
            expected = row_probability(values.Y[i], np.r_[1.0, values.X[i]], *given)
            assert found[0, k, i].item() == pytest.approx(expected.item(), abs=1e-8)


@pytest.mark.slow
def test_leaving_out_a_cluster_agrees_with_an_exact_refit():
    rng = np.random.default_rng(1)
    j = np.repeat(np.arange(25), 8)
    x = rng.normal(size=len(j))
    m = 0.5 * x + rng.normal(size=len(j)) + 0.5 * rng.normal(size=25)[j]
    y = (0.4 * m + rng.normal(size=len(j)) + 0.5 * rng.normal(size=25)[j] > 0) * 1
    spec = bh.SEM(cluster="g", within="m ~ x; y ~ m", between="y ~ m", categorical=["y"], priors=PRIORS)
    fit = bh.fit(spec, pd.DataFrame({"g": j, "x": x, "m": m, "y": y}), draws=800, tune=400, seed=1, progress=False)
    found = bh.loo(fit, refit=False)
    assert not found.troubles or found.worst_khat > found.limit
    assert "Gauss-Hermite" in found.what
    other = without(fit, "3")
    values = spec.log_likelihood(other.posterior[other.parameters], fit.design, "cluster").sel(g="3")
    exact = float(np.log(np.exp(values).mean()))
    assert found.pointwise.loc["3", "elpd"] == pytest.approx(exact, abs=0.1)
