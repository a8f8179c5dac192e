"""Simulation and calibration of structural models: the data follow from the truth by hand, priors are truncated, gaps stay."""

import sys

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE
from scipy import stats
from test_sem import MODELS, draws_at, frame, graph_point

import bayeshte as bh
from bayeshte.calibration import calibrate
from bayeshte.families.sem_draws import named
from bayeshte.marginal import structural_draws
from bayeshte.simulate import simulate

module = sys.modules["bayeshte.simulate"]  # `bh.simulate` is the function

#: no block, so that the prior is cut to positive definite matrices; of the factors' covariances no likelihood would see it
TRUNCATED = {
    "variables": MODELS["chain of covariances"],
    "factors": bh.SEM(model="f =~ y1 + y2; g =~ y3 + m1; h =~ m2 + y; f ~~ g; g ~~ h; f ~~ 0*h"),
}


def standard_normal(values) -> bool:
    return stats.kstest(np.concatenate([np.ravel(v) for v in values]), "norm").pvalue > 0.01


def paths(truth) -> dict[str, float]:
    return dict(zip(truth["paths"].to_numpy(), truth["path"].to_numpy(), strict=True))


def sds(truth) -> dict[str, float]:
    return dict(zip(truth["sds"].to_numpy(), truth["sd"].to_numpy(), strict=True))


def intercepts(truth) -> dict[str, float]:
    return dict(zip(truth["intercepts"].to_numpy(), truth["intercept"].to_numpy(), strict=True))


@pytest.mark.parametrize("name", ["product", "random slopes", "one level, factors"])
def test_gaps_and_covariates_stay(name):
    spec, data = MODELS[name], frame(missing=True)
    data.loc[data.index[3], "x"] = np.nan  # a covariate of two of the models: the row is left out, as in a fit
    before = data.copy()
    pairs, more = simulate(spec, data, n=2, seed=4), simulate(spec, data, n=3, seed=4)
    pd.testing.assert_frame_equal(data, before)
    kept = data.loc[spec.design(data)["row"].astype(int)]
    modelled = list(spec.structure.observed)
    for (truth, made), (again, same) in zip(pairs, more, strict=False):
        pd.testing.assert_frame_equal(made[modelled].isna(), kept[modelled].isna())
        pd.testing.assert_frame_equal(made.drop(columns=modelled), kept.drop(columns=modelled))
        assert not np.isclose(made[modelled], kept[modelled]).any()
        assert truth.identical(again)
        pd.testing.assert_frame_equal(made, same)
    one, two = (made[modelled].to_numpy() for _, made in pairs)
    assert not np.isclose(one, two).any()


def test_path_model_by_hand():
    residuals = []
    pairs = simulate(MODELS["one level"], frame(missing=True), n=60, seed=2)
    other = simulate(MODELS["one level"], frame(missing=True), seed=3)[0][1]
    assert not np.isclose(other["y"], pairs[0][1]["y"]).any()
    for truth, made in pairs:
        p, s, c = paths(truth), sds(truth), intercepts(truth)
        m = c["m1"] + p["m1 ~ treat"] * made["treat"] + p["m1 ~ age"] * made["age"]
        y = c["y"] + p["y ~ m1"] * made["m1"] + p["y ~ treat"] * made["treat"]
        residuals += [((made["m1"] - m) / s["m1"]).dropna(), ((made["y"] - y) / s["y"]).dropna()]
        assert truth["derived"].item() == pytest.approx(p["m1 ~ treat"] * p["y ~ m1"])
    assert standard_normal(residuals)


def test_two_levels_by_hand():
    """Within and between clusters: residuals are standard normal, those of the mediators are correlated as the truth says."""
    within, between = [], []
    for truth, made in simulate(MODELS["mediation"], frame(missing=True), n=60, seed=2):
        p, s, c = paths(truth), sds(truth), intercepts(truth)
        r = dict(zip(truth["corrs"].to_numpy(), truth["corr"].to_numpy(), strict=True))
        b = truth["cluster_mean"].to_pandas()
        w = made[["y", "m1", "m2"]] - b.loc[made["school"].astype(str), ["y", "m1", "m2"]].to_numpy()
        y = p["within: y ~ m1"] * w["m1"] + p["within: y ~ m2"] * w["m2"] + p["within: y ~ age"] * made["age"]
        z1, z2 = w["m1"] / s["within: m1"], w["m2"] / s["within: m2"]
        rho = r["within: m1 ~~ m2"]
        pieces = [(w["y"] - y) / s["within: y"], z1, (z2 - rho * z1) / np.sqrt(1 - rho**2)]
        within += [piece.dropna() for piece in pieces]
        treat = made.groupby("school")["treat"].first().to_numpy()
        z1, z2 = (
            (b[m] - c[f"between: {m}"] - p[f"between: {m} ~ treat"] * treat) / s[f"between: {m}"] for m in ("m1", "m2")
        )
        rho = r["between: m1 ~~ m2"]
        y = c["between: y"] + p["between: y ~ m1"] * b["m1"] + p["between: y ~ m2"] * b["m2"]
        between += [(b["y"] - y) / s["between: y"], z1, (z2 - rho * z1) / np.sqrt(1 - rho**2)]
    assert standard_normal(within)
    assert standard_normal(between)


def test_random_slopes_by_hand():
    """Two slopes, one on a latent-centred predictor; a variable of clusters that depends on both."""
    within, between = [], []
    for truth, made in simulate(MODELS["random slopes"], frame(missing=True), n=60, seed=2):
        p, s, c = paths(truth), sds(truth), intercepts(truth)
        rho = truth["corr"].item()
        b, slope = truth["cluster_mean"].to_pandas(), truth["slope"].to_pandas()
        code = made["school"].astype(str)
        w = made[["y", "m1"]] - b.loc[code, ["y", "m1"]].to_numpy()
        y = slope.loc[code, "s1"].to_numpy() * made["x"] + slope.loc[code, "s2"].to_numpy() * w["m1"]
        m = p["within: m1 ~ age"] * made["age"]
        within += [((w["y"] - y) / s["within: y"]).dropna(), ((w["m1"] - m) / s["within: m1"]).dropna()]
        own = made.groupby("school")[["treat", "climate"]].first()
        treat, climate = own["treat"].to_numpy(), own["climate"].to_numpy()
        z1, z2 = ((slope[k] - c[f"between: {k}"]) / s[f"between: {k}"] for k in ("s1", "s2"))
        y = c["between: y"] + p["between: y ~ treat"] * treat + p["between: y ~ m1"] * b["m1"]
        m = c["between: m1"] + p["between: m1 ~ treat"] * treat
        v = c["between: climate"] + p["between: climate ~ treat"] * treat
        v += sum(p[f"between: climate ~ {k}"] * slope[k].to_numpy() for k in ("s1", "s2"))
        between += [(b["y"] - y) / s["between: y"], (b["m1"] - m) / s["between: m1"]]
        between += [z1, (z2 - rho * z1) / np.sqrt(1 - rho**2)]
        left = (climate - v) / s["between: climate"]
        between.append(left[~np.isnan(left)])
    assert standard_normal(within)
    assert standard_normal(between)


def test_nothing_left_between_clusters_by_hand():
    """`y ~~ 0*y`: the cluster means of y follow from those of m1; a slope and a variable of clusters depend on both."""
    spec = bh.SEM(
        cluster="school",
        within="s | y ~ m1",
        between="y ~ m1; s ~ y; climate ~ y + m1 + s; y ~~ 0*y",
        priors={"path": bh.Normal(0, 1), "intercept": bh.Normal(0, 1), "sd": bh.HalfNormal(1)},
    )
    found = []
    for truth, made in simulate(spec, frame(), n=60, seed=2):
        p, s, c = paths(truth), sds(truth), intercepts(truth)
        b, slope = truth["cluster_mean"].to_pandas(), truth["slope"].to_pandas()["s"]
        np.testing.assert_allclose(b["y"], c["between: y"] + p["between: y ~ m1"] * b["m1"], atol=1e-6)
        left = slope - c["between: s"] - p["between: s ~ y"] * b["y"]
        climate = made.groupby("school")["climate"].first().to_numpy() - c["between: climate"]
        climate -= p["between: climate ~ y"] * b["y"] + p["between: climate ~ m1"] * b["m1"]
        climate -= p["between: climate ~ s"] * slope
        found += [left / s["between: s"], climate / s["between: climate"]]
    assert standard_normal(found)


def test_factors_by_hand():
    """Squared distances from the implied mean in the implied covariance, L Psi L' + Theta, are chi-square."""
    found = []
    for truth, made in simulate(MODELS["one level, factors"], frame(), n=60, seed=2):
        p, s, c = paths(truth), sds(truth), intercepts(truth)
        free = dict(zip(truth["loadings"].to_numpy(), truth["loading"].to_numpy(), strict=True))
        names = ["y1", "y2", "y3", "m1", "m2"]
        f, g = np.zeros((2, 5))
        f[:3] = 1, free["f =~ y2"], free["f =~ y3"]
        g[3:] = free["g =~ m1"], free["g =~ m2"]
        g = g + p["f ~ g"] * f  # g has variance 1 and moves f
        S = np.outer(f, f) * s["f"] ** 2 + np.outer(g, g) + np.diag([s[v] ** 2 for v in names])
        off = made[names].to_numpy() - [c[v] for v in names] - p["f ~ x"] * made[["x"]].to_numpy() * f
        found.append(stats.chi2.cdf((off * np.linalg.solve(S, off.T).T).sum(1), 5))
    assert stats.kstest(np.concatenate(found), "uniform").pvalue > 0.01


def test_single_correlations_are_truncated():
    """With r13 = 0 the matrix is positive definite where r12^2 + r23^2 < 1: uniform on the disc, so that this sum is uniform."""
    pairs = simulate(TRUNCATED["variables"], frame(), n=400, seed=3)
    r = np.array([truth["corr"].to_numpy() for truth, _ in pairs])
    assert list(pairs[0][0]["corrs"].to_numpy()) == ["within: y1 ~~ y2", "within: y2 ~~ y3"]
    assert stats.kstest((r**2).sum(1), "uniform").pvalue > 0.01
    assert stats.kstest(np.arctan2(*r.T) / (2 * np.pi) + 0.5, "uniform").pvalue > 0.01

    design = TRUNCATED["variables"].design(frame())
    priors = TRUNCATED["variables"].frozen_priors(design)
    rng = np.random.default_rng(0)
    s = np.abs(rng.normal(size=(40_000, 3))) * [priors[f"sd[between: y{k}]"]["sigma"] for k in (1, 2, 3)]
    c = rng.normal(0, priors["cov[c]"]["sigma"], 40_000)
    r12, r23 = c / (s[:, 0] * s[:, 1]), c / (s[:, 1] * s[:, 2])
    allowed = r12**2 + r23**2 < 1
    for k in range(3):
        drawn = [float(truth["sd"].sel(sds=f"between: y{k + 1}")) for truth, _ in pairs]
        assert stats.ks_2samp(drawn, s[allowed, k]).pvalue > 0.01
    assert stats.ks_2samp([truth["cov"].item() for truth, _ in pairs], c[allowed]).pvalue > 0.01


@pytest.mark.parametrize("name", TRUNCATED)
def test_graph_and_kernel_are_truncated_alike(name):
    """At random points both densities are finite, or none is."""
    spec = TRUNCATED[name]
    design = spec.design(frame())
    priors = spec.frozen_priors(design)
    density, model = spec.marginal(design, priors), spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    rng, seen = np.random.default_rng(2), []
    for z in rng.normal(0, 2.5, (60, density.n_dim)):
        posterior = named(spec.structure, draws_at(density, [z]))
        b = rng.normal(0, 3, (design.sizes.get("school", 0), len(spec.structure.both)))
        there = np.isfinite(density(z)[0])
        assert np.isfinite(logp(graph_point(spec, model, posterior, b))) == there
        seen.append(there)
    assert 0.1 < np.mean(seen) < 0.9


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    flat = bh.SEM(model="y ~ m1", priors="mplus")
    for attempt in (lambda: simulate(flat, frame()), lambda: calibrate(flat, frame(), simulations=2)):
        with pytest.raises(bh.SpecError, match=r"Improper priors cannot be simulated from \(path\[y ~ m1\]: Flat\(\)"):
            attempt()
    monkeypatch.setattr(module, "PROPOSALS", 20)
    never = bh.SEM(model="y1 ~~ 5*y2", priors={"sd": bh.HalfNormal(0.1)})
    with pytest.raises(bh.SpecError, match="None of 20 draws of the priors was allowed"):
        simulate(never, frame())


def test_what_is_ranked():
    """Parameters, derived quantities, cluster means and slopes of the first and last cluster, log-likelihoods."""
    spec = bh.SEM(
        cluster="school", within="s | y ~ m1", between="y ~ b*m1; s ~ g*treat; y ~~ s", derived={"product": "b*g"}
    )
    found = calibrate(spec, frame(), simulations=2, seed=1, draws=400, tune=400, progress=False)
    expected = {"path[between: y ~ m1]", "sd[between: s]", "corr[between: y ~~ s]", "derived[product]"}
    expected |= {"cluster_mean[0, m1]", "cluster_mean[23, y]", "slope[0, s]", "slope[23, s]"}
    assert expected | {"log-likelihood given random effects"} <= {*found.results["quantity"].dropna()}


@pytest.mark.slow
def test_wrong_recovery_is_found(monkeypatch):
    """Cluster means drawn back with half of their conditional SD: no parameter is affected, the likelihood given them sees it."""
    spec = bh.SEM(cluster="school", within="y ~ m1", between="y ~ m1; m1 ~ treat")
    given = {"seed": 7, "draws": 400, "tune": 300, "progress": False}
    assert calibrate(spec, frame(), simulations=40, **given).ok
    real = structural_draws.draw_cluster_means

    def narrow(*args):
        first, second = real(*args), real(*args)
        return first + (second - first) / 2  # variance 1/2

    monkeypatch.setattr(structural_draws, "draw_cluster_means", narrow)
    wrong = calibrate(spec, frame(), simulations=40, **given)
    assert wrong.table.set_index("quantity").loc["log-likelihood given random effects", "p_holm"] < 0.05, wrong
