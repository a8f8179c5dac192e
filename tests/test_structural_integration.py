"""The likelihood of clusters with random slopes integrated: dense grids, exact special cases, leave-one-out and comparisons."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_structure import VARIABLES
from bayeshte.marginal import structural_integration

BETWEEN = "y ~ m1; m2 ~~ m2; climate ~ s1; s1 ~ treat; y ~~ 0*climate"
ONE = bh.SEM(cluster="school", within="s1 | y ~ m1; y ~ m2", between=BETWEEN)
TWO = bh.SEM(cluster="school", within="s1 | y ~ m1; s2 | y ~ m2", between=f"{BETWEEN}; s1 ~~ s2")
SIZES = (1, 1, 2, 1, 3, 4, 2, 6)


def small() -> pd.DataFrame:
    """Schools of `SIZES`; the first has y only, the second m2 only; climate and single values are gone elsewhere."""
    rng = np.random.default_rng(0)
    j = np.repeat(np.arange(len(SIZES)), SIZES)
    N, J = len(j), len(SIZES)
    m1, m2 = rng.normal(0.3, 1.3, N), rng.normal(0, 1.2, N)
    y = (
        1
        + rng.normal(0.8, 1, J)[j] * m1
        - rng.normal(0.5, 1, J)[j] * m2
        + rng.normal(0, 1.2, J)[j]
        + rng.normal(size=N)
    )
    out = pd.DataFrame({"school": j, "treat": j % 2, "climate": rng.normal(size=J)[j], "m1": m1, "m2": m2, "y": y})
    out["g"] = (rng.random(N) < 0.5).astype(float)
    out.loc[0, ["m1", "m2"]] = np.nan
    out.loc[1, ["y", "m1"]] = np.nan
    out.loc[[4, 6], "m1"] = np.nan
    out.loc[[5, 9, 12], "m2"] = np.nan
    out.loc[out["school"].isin([2, 5]), "climate"] = np.nan
    return out


def parameters(**changed: float) -> dict[str, float]:
    """Of both models: paths and correlations by row, the rest by variable."""
    out = {"within: y ~ m2": -0.4, "between: y ~ m1": 0.5, "between: climate ~ s1": 0.6, "between: s1 ~ treat": 0.4}
    out |= {"within: m1 ~~ m2": 0.3, "between: m1 ~~ m2": -0.2, "between: s1 ~~ s2": 0.4}
    for level, v, mean, sd in (
        ("within", "y", 0, 1.1),
        ("within", "m1", 0, 0.9),
        ("within", "m2", 0, 1.3),
        ("between", "y", 1, 0.9),
        ("between", "m1", 0.2, 0.7),
        ("between", "m2", 0.1, 0.6),
        ("between", "climate", -0.3, 0.8),
        ("between", "s1", 0.8, 0.7),
        ("between", "s2", -0.5, 0.9),
    ):
        out |= {f"intercept, {level}: {v}": mean, f"sd, {level}: {v}": sd}
    return out | {k.replace("_", ", between: "): x for k, x in changed.items()}


def posterior(spec: bh.SEM, *draws: dict[str, float]) -> xr.Dataset:
    """One chain with these parameters."""
    labels = {v: spec.structure.elements(v) for v in VARIABLES if spec.structure.elements(v)}
    found = {
        v: (("chain", "draw", f"{v}s"), [[[d[e] if e in d else d[f"{v}, {e}"] for e in labels[v]] for d in draws]])
        for v in labels
    }
    return xr.Dataset(found, {"chain": [0], "draw": range(len(draws))} | {f"{v}s": x for v, x in labels.items()})


def likelihood(spec: bh.SEM, data: pd.DataFrame, *draws: dict[str, float]) -> xr.DataArray:
    return spec.log_likelihood(posterior(spec, *draws), spec.design(data), "cluster")


def dense(frame: pd.DataFrame, v: dict[str, float], s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """log p(y, m1, m2, climate | s1, s2) of a school, (point,): one multivariate normal of all its values."""
    n, G = len(frame), len(s1)
    sd = {k: np.array([v[f"sd, {k}: {x}"] for x in ("m1", "m2", "y")]) for k in ("within", "between")}
    rho = {k: np.array([[1, v[f"{k}: m1 ~~ m2"], 0], [v[f"{k}: m1 ~~ m2"], 1, 0], [0, 0, 1]]) for k in sd}
    Psi = {k: rho[k] * np.outer(sd[k], sd[k]) for k in sd}
    T = np.tile(np.eye(3), (G, 1, 1))
    T[:, 2, 0], T[:, 2, 1] = s1, s2
    W = T @ Psi["within"] @ T.swapaxes(1, 2)
    A = np.eye(3)
    A[2, 0] = v["between: y ~ m1"]
    B = A @ Psi["between"] @ A.T
    mean = A @ [v[f"intercept, between: {x}"] for x in ("m1", "m2", "y")]
    values = frame[["m1", "m2", "y"]].to_numpy().ravel()
    seen = np.flatnonzero(~np.isnan(values))
    V = np.kron(np.ones((n, n)), B) + np.stack([np.kron(np.eye(n), w) for w in W])
    C = np.linalg.cholesky(V[:, seen[:, None], seen])
    e = np.linalg.solve(C, np.tile((values - np.tile(mean, n))[seen], (G, 1))[..., None])[..., 0]
    out = -0.5 * ((e**2).sum(1) + len(seen) * np.log(2 * np.pi)) - np.log(np.einsum("gaa->ga", C)).sum(1)
    climate = frame["climate"].iloc[0]
    if not np.isnan(climate):
        at = v["intercept, between: climate"] + v["between: climate ~ s1"] * s1
        out += stats.norm(at, v["sd, between: climate"]).logpdf(climate)
    return out


def on_a_grid(frame: pd.DataFrame, v: dict[str, float], slopes: int) -> float:
    """log of the integral over the slopes: the trapezoid rule on a grid of 8 SDs to both sides of their means."""
    z = np.linspace(-8, 8, 801 if slopes == 1 else 65)
    Z = np.array([*itertools.product(z, repeat=slopes)])
    s1 = (
        v["intercept, between: s1"] + v["between: s1 ~ treat"] * frame["treat"].iloc[0] + v["sd, between: s1"] * Z[:, 0]
    )
    s2 = np.full(len(Z), v["within: y ~ m2"])
    if slopes == 2:
        rho = v["between: s1 ~~ s2"]
        s2 = v["intercept, between: s2"] + v["sd, between: s2"] * (rho * Z[:, 0] + np.sqrt(1 - rho**2) * Z[:, 1])
    prior = stats.norm.logpdf(Z).sum(1)
    return logsumexp(dense(frame, v, s1, s2) + prior) + slopes * np.log(z[1] - z[0])


WIDE = {"sd_s1": 2.0, "sd_m1": 0.3, "intercept_s1": 0.0}  # likelihoods with two modes, s and -s


@pytest.mark.parametrize("spec", [ONE, TWO], ids=["one slope", "two slopes"])
def test_dense_grid(spec):
    """Latent-centred slopes, clusters of one, missing values, a variable of clusters that says something of the slope."""
    draws = parameters(), parameters(**WIDE), parameters(sd_s1=0.05)
    found = likelihood(spec, small(), *draws)
    slopes = len(spec.table.slopes)
    expected = [[on_a_grid(f, v, slopes) for _, f in small().groupby("school")] for v in draws]
    np.testing.assert_allclose(found.to_numpy()[0], expected, atol=0.002)
    assert np.abs(found.to_numpy()[0] - expected).sum(1).max() < 1.5 * found.attrs["quadrature_error"] + 1e-6
    assert found.attrs["quadrature_error"] < structural_integration.TOLERANCE
    design, every = spec.design(small()), np.arange(len(SIZES))
    at = spec._matrices(design), data_of(design), stacked(spec.structure, posterior(spec, *draws))
    np.testing.assert_allclose(structural_integration.quadrature(*at, 60 // slopes, every), expected, atol=1e-4)
    assert f"{', '.join(spec.table.slopes)} by adaptive Gauss-Hermite" in found.attrs["integrated"]


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    j = np.repeat(np.arange(40), rng.integers(1, 12, 40))
    g = (rng.random(len(j)) < 0.5).astype(float)
    y = 3 + rng.normal(size=40)[j] + rng.normal(1, 0.6, 40)[j] * g + rng.normal(size=len(j))
    return pd.DataFrame({"school": j, "g": g, "y": y})


@pytest.mark.parametrize(
    ("within", "between", "level"), [("s | y ~ g", "y ~~ s", "y"), ("d | y ~ 1; s | y ~ g", "d ~~ s", "d")]
)
def test_slopes_of_raw_covariates_have_an_exact_integral(trial, within, between, level):
    """The same model as a RandomSlope, whose likelihood is another implementation: equal, with the fewest nodes."""
    spec = bh.SEM(cluster="school", within=within, between=between)
    other = bh.RandomSlope(outcome="y", treatment="g", cluster="school")
    rng, draws = np.random.default_rng(0), []
    for _ in range(5):
        u = np.abs(rng.normal(size=3)) + [0.5, 0.1, 0]
        draws.append(
            {
                "sd, within: y": u[0],
                f"sd, between: {level}": u[1],
                "sd, between: s": u[2],
                "intercept, between: s": rng.normal(),
            }
            | {f"intercept, between: {level}": rng.normal(3), f"between: {level} ~~ s": np.tanh(rng.normal())}
        )
    found = likelihood(spec, trial, *draws)
    corr = [np.array([[1, r], [r, 1]]) for r in (d[f"between: {level} ~~ s"] for d in draws)]
    names = {
        "gamma0": ((), [d[f"intercept, between: {level}"] for d in draws]),
        "gamma1": (("g",), [[d["intercept, between: s"]] for d in draws]),
        "sd": (("varying",), [[d[f"sd, between: {level}"], d["sd, between: s"]] for d in draws]),
        "corr": (("varying", "varying_"), corr),
        "sigma": ((), [d["sd, within: y"] for d in draws]),
    }
    at = xr.Dataset({k: (("chain", "draw", *dims), np.array(x)[None]) for k, (dims, x) in names.items()})
    at = at.assign_coords(chain=[0], draw=range(5), g=["1"], varying=["intercept", "1"], varying_=["intercept", "1"])
    expected = other.log_likelihood(at, other.design(trial), "cluster")
    np.testing.assert_allclose(found.sel(school=expected["school"]), expected, atol=1e-6)
    assert found.attrs["nodes"] == structural_integration.NODES[0]


def test_a_slope_without_variance_is_a_path():
    """Exactly at SD 0, and continuously near it; a covariance with the intercept is then none."""
    fixed = bh.SEM(
        cluster="school", within="y ~ m1 + m2", between=BETWEEN.replace("climate ~ s1; s1 ~ treat", "climate ~ treat")
    )
    v = parameters(sd_s1=0.0) | {"between: s1 ~ treat": 0.0, "between: climate ~ s1": 0.0}
    expected = likelihood(
        fixed, small(), v | {"within: y ~ m1": v["intercept, between: s1"], "between: climate ~ treat": 0.0}
    )
    np.testing.assert_allclose(likelihood(ONE, small(), v), expected, atol=1e-9)
    np.testing.assert_allclose(likelihood(ONE, small(), v | {"sd, between: s1": 1e-4}), expected, atol=1e-5)


def test_what_is_integrated_poorly_is_said(varying, monkeypatch):
    monkeypatch.setattr(structural_integration, "NODES", (1,))
    found = bh.loo(replace(varying["varying"]), refit=False)  # a fit keeps the likelihood that it has
    assert any("Not integrated precisely: the random slopes s" in t for t in found.troubles)


def schools(sd: float) -> pd.DataFrame:
    """40 schools of 15 students; the path of x varies with this SD; every tenth x is gone."""
    rng = np.random.default_rng(3)
    j = np.repeat(np.arange(40), 15)
    w, b = rng.normal(size=600), rng.normal(size=40)
    y = rng.normal(0.5, sd, 40)[j] * w + (0.5 * b + rng.normal(0, 0.5, 40))[j] + rng.normal(size=600)
    x = np.where(rng.random(600) < 0.1, np.nan, w + b[j])
    return pd.DataFrame({"school": j, "x": x, "y": y})


def fits(data: pd.DataFrame) -> dict[str, bh.Fit]:
    texts = {"fixed": "y ~ x", "varying": "s | y ~ x"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return {
            name: bh.fit(
                bh.SEM(cluster="school", within=text, between="y ~ x"),
                data,
                draws=500,
                tune=500,
                seed=1,
                progress=False,
            )
            for name, text in texts.items()
        }


@pytest.fixture(scope="module")
def varying() -> dict[str, bh.Fit]:
    return fits(schools(0.6))


def test_compare_prefers_slopes_that_vary(varying):
    table = bh.compare(varying)
    assert list(table.index) == ["varying", "fixed"]
    assert table.loc["fixed", "difference"] < -2 * table.loc["fixed", "se_difference"]
    assert "quadrature" in table.attrs["what"]


def test_compare_does_not_prefer_slopes_that_do_not_vary():
    table = bh.compare(fits(schools(0.0)))
    assert table["difference"].abs().max() < 2


def test_model_fit(varying):
    """The marginal rows have values and say how they were integrated; the deviance is that of the likelihood."""
    fit = varying["varying"]
    table = bh.model_fit(fit, draws=5).set_index("statistic")
    assert table["value"].drop("PPP").notna().all()
    for name in ("DIC, marginal", "pD, marginal", "BIC", "elpd"):
        assert "the random slopes s by adaptive Gauss-Hermite quadrature" in table.loc[name, "definition"]
    assert "quadrature" not in table.loc["DIC, conditional", "definition"]
    assert "given the latent means and random slopes of school" in table.loc["DIC, conditional", "definition"]
    deviance = -2 * float(fit.spec.log_likelihood(fit.posterior, fit.design, "cluster").sum("school").mean())
    assert table.loc["DIC, marginal", "value"] - table.loc["pD, marginal", "value"] == pytest.approx(deviance)
    assert 3 < table.loc["pD, marginal", "value"] < 10  # nine parameters
    fixed = bh.model_fit(varying["fixed"], draws=5).set_index("statistic")["value"]
    assert fixed["BIC"] - table.loc["BIC", "value"] > 10
    assert fixed["elpd"] == pytest.approx(bh.loo(varying["fixed"], refit=False).elpd)
