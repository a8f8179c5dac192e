"""Ordered and negative binomial outcomes against R's MASS (polr, glm.nb) and lme4 (glmer.nb), at their estimates.

Their estimates become the only draw of a posterior: the log-likelihood has to be theirs and its derivatives zero there.
Without Rscript, MASS or lme4 the tests are skipped; Debian has them: apt-get install --no-install-recommends r-cran-lme4.
"""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from r_packages import missing

import bayeshte as bh

SCRIPT = Path(__file__).parent / "mass" / "fit.R"


WHY_NOT = missing("MASS", "lme4")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(30), 12)
    t, x, u = rng.integers(0, 2, len(g)), rng.normal(size=len(g)), 0.6 * rng.normal(size=30)
    eta = 0.4 + 0.5 * t + 0.3 * x + u[g]
    count = rng.poisson(np.exp(eta) * rng.gamma(1.5, 1 / 1.5, len(g)))
    grade = np.searchsorted([0.0, 0.8, 2.0], eta + rng.logistic(size=len(g))) + 1
    return pd.DataFrame({"g": g, "t": t, "x": x, "count": count, "grade": grade})


@pytest.fixture(scope="module")
def estimates(data, tmp_path_factory) -> dict[str, dict[str, float]]:
    path = tmp_path_factory.mktemp("mass") / "data.csv"
    data.to_csv(path, index=False)
    done = subprocess.run(["Rscript", str(SCRIPT), str(path)], capture_output=True, text=True, check=True)
    table = pd.DataFrame([line.split(",") for line in done.stdout.splitlines()], columns=["model", "name", "value"])
    return {k: dict(zip(v["name"], v["value"].astype(float), strict=True)) for k, v in table.groupby("model")}


def at(spec, data, values: np.ndarray, names: list[str], unit: str) -> float:
    """Log-likelihood where the parameters have these values."""
    design = spec.design(data)
    labels = {
        "gamma1": [1],
        "gamma2": ["x"],
        "width": list(design.coords.get("inner_category", xr.DataArray([])).values),
    }
    dims = {"gamma1": spec.treatment, "gamma2": "covariate", "width": "inner_category", "sd": "varying"}
    labels["sd"] = ["intercept"]
    draws = {}
    for name in dict.fromkeys(names):
        own = np.array([v for v, n in zip(values, names, strict=True) if n == name])
        vector = name in dims
        shape = ("chain", "draw", dims[name]) if vector else ("chain", "draw")
        draws[name] = (shape, own[None, None] if vector else own[:1, None])
    posterior = xr.Dataset(draws, {dims[k]: [str(v) for v in labels[k]] for k in draws if k in dims})
    return float(spec.log_likelihood(posterior, design, unit).sum())


def slopes(spec, data, values, names, unit: str = "row") -> np.ndarray:
    """Derivatives of the log-likelihood in units of one SD of each parameter, by the curvature."""
    out = []
    for step in 1e-3 * np.eye(len(values)):
        low, middle, high = (at(spec, data, values + k * step, names, unit) for k in (-1, 0, 1))
        out.append((high - low) / 2 / np.sqrt(2 * middle - low - high))
    return np.array(out)


def check(spec, data, values, names, expected: float) -> None:
    """The log-likelihood is `expected`, and flat."""
    assert at(spec, data, np.array(values), names, "row") == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(slopes(spec, data, np.array(values), names), 0, atol=2e-3)


@pytest.mark.parametrize("link", ["logistic", "probit"])
def test_ordered_outcomes_agree_with_polr(data, estimates, link):
    e = estimates[link]
    thresholds = [e[f"threshold{k}"] for k in (1, 2, 3)]
    family = "ordered logit" if link == "logistic" else "ordered probit"
    spec = bh.RandomSlope(outcome="grade", treatment="t", covariates="x", family=family)
    values = [-thresholds[0], e["t"], e["x"], *np.diff(thresholds)]
    check(spec, data, values, ["gamma0", "gamma1", "gamma2", "width", "width"], e["log likelihood"])


def test_counts_agree_with_glm_nb(data, estimates):
    e = estimates["nb"]
    spec = bh.RandomSlope(outcome="count", treatment="t", covariates="x", family="negative binomial")
    values = [e[k] for k in ("intercept", "t", "x", "phi")]
    check(spec, data, values, ["gamma0", "gamma1", "gamma2", "phi"], e["log likelihood"])


def test_clustered_counts_agree_with_glmer_nb(data, estimates):
    """Flat at the estimates of glmer with 25 nodes, given phi; phi is that of Laplace's approximation and less exact.

    The log-likelihoods are not compared: with nodes, glmer's lacks constants.
    """
    e = estimates["mixed"]
    spec = bh.RandomSlope(
        outcome="count", treatment="t", cluster="g", covariates="x", varying=(), family="negative binomial"
    )
    values = np.array([e[k] for k in ("intercept", "t", "x", "sd", "phi")])
    found = slopes(spec, data, values, ["gamma0", "gamma1", "gamma2", "sd", "phi"], "cluster")
    np.testing.assert_allclose(found[:4], 0, atol=2e-3)
    assert abs(found[4]) < 0.1
