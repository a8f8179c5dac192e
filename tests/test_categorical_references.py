"""Categorical variables in structural equation models beside lavaan (WLSMV), lme4 (glmer) and brms.

lavaan's and lme4's estimators differ from ours (limited information; Laplace): they agree to a fraction of the posterior SD. brms
has the same posterior: it agrees within Monte Carlo error. Without Rscript or these packages tests are skipped; Debian has them:
r-cran-lavaan, r-cran-lme4, r-cran-brms.
"""

import subprocess
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
from r_packages import missing

import bayeshte as bh

SCRIPTS = Path(__file__).parent / "latent_responses"
WHY_NOT, WHY_NOT_BRMS = missing("lavaan", "lme4"), missing("brms")
pytestmark = pytest.mark.slow
with_r = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def items() -> pd.DataFrame:
    """A factor and five items, three binary and two with three categories, 800 persons."""
    rng = np.random.default_rng(3)
    f, loading = rng.normal(size=800), np.array([1.0, 0.8, 1.1, 0.7, 0.9])
    response = f[:, None] * loading + rng.normal(size=(800, 5))
    binary = (response[:, :3] > [-0.5, 0.0, 0.6]) * 1
    ordinal = np.stack([np.digitize(response[:, k], [-0.4, 0.7]) for k in (3, 4)], axis=1)
    return pd.DataFrame(np.hstack([binary, ordinal]), columns=[f"u{k}" for k in range(1, 6)])


def clusters() -> pd.DataFrame:
    """80 clusters of 15, an intercept and a slope that vary and covary, a covariate of clusters."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(80), 15)
    z, x = rng.normal(size=80), rng.normal(size=len(g))
    u = rng.multivariate_normal([0, 0], [[0.36, 0.1], [0.1, 0.16]], 80)
    y = 0.2 + 0.4 * z[g] + u[g, 0] + (0.5 + u[g, 1]) * x + rng.normal(size=len(g)) > 0
    return pd.DataFrame({"g": g, "x": x, "z": z[g], "y": y * 1})


@pytest.fixture(scope="module")
def references(tmp_path_factory) -> pd.DataFrame:
    """Estimate and standard error by (model, name)."""
    folder = tmp_path_factory.mktemp("r")
    paths = [folder / "items.csv", folder / "clusters.csv"]
    for path, data in zip(paths, (items(), clusters()), strict=True):
        data.to_csv(path, index=False)
    rows = _output("fit.R", *paths)
    table = pd.DataFrame(rows, columns=["model", "name", "estimate", "se"]).astype({"estimate": float, "se": float})
    return table.assign(name=table["name"].str.strip()).set_index(["model", "name"])


def _output(script: str, *paths: Path) -> list[list[str]]:
    """What an R script prints, split at commas."""
    done = subprocess.run(
        ["Rscript", str(SCRIPTS / script), *map(str, paths)], capture_output=True, text=True, check=True
    )
    return [line.split(",") for line in done.stdout.splitlines()]


@with_r
def test_factor_model_beside_lavaan(references):
    """Loadings within 0.25 posterior SD of WLSMV's, thresholds too; SDs within a fifth of its standard errors."""
    spec = bh.SEM(model="f =~ NA*u1 + u2 + u3 + u4 + u5; f ~~ 1*f", categorical=[f"u{k}" for k in range(1, 6)])
    fit = bh.fit(spec, items(), seed=1, draws=1500, progress=False)
    rows = bh.summary(fit).set_index("parameter").query("not fixed")
    sign = np.sign(rows.loc["f =~ u1", "estimate"])
    reference = references.loc["lavaan"]
    for name, row in rows.iterrows():
        value = row["estimate"] * (sign if "=~" in name else 1)
        distance = (value - reference.loc[name, "estimate"]) / row["posterior_sd"]
        assert abs(distance) < 0.25, (name, distance)
        assert row["posterior_sd"] == pytest.approx(reference.loc[name, "se"], rel=0.2)


@with_r
def test_probit_regression_with_a_random_slope_beside_glmer(references):
    """Fixed effects within 0.25 posterior SD of glmer's; its SDs, from a Laplace approximation, within one."""
    spec = bh.SEM(cluster="g", within="s | y ~ x", between="y ~ z; y ~~ s", categorical=["y"])
    fit = bh.fit(spec, clusters(), seed=1, progress=False)
    rows = bh.summary(fit).set_index("parameter")
    reference = references.loc["glmer"]
    pairs = {"s ~1": "x", "y ~ z": "z", "y | t1": "(Intercept)"}
    for ours, theirs in pairs.items():
        sign = -1 if "|" in ours else 1
        distance = (sign * rows.loc[ours, "estimate"] - reference.loc[theirs, "estimate"]) / rows.loc[
            ours, "posterior_sd"
        ]
        assert abs(distance) < 0.25, (ours, distance)
    for ours, theirs in {"y ~~ y": "sd (Intercept)", "s ~~ s": "sd x"}.items():
        between = rows[rows["level"] == "between"].loc[ours]
        assert abs(between["estimate"] - reference.loc[theirs, "estimate"] ** 2) < between["posterior_sd"], ours


@pytest.mark.skipif(bool(WHY_NOT_BRMS), reason=WHY_NOT_BRMS)
def test_the_posterior_is_that_of_brms(tmp_path):
    """Same model, same priors: means within four Monte Carlo errors of both, SDs within a tenth."""
    clusters().to_csv(tmp_path / "clusters.csv", index=False)
    theirs = {name: np.array(values, float) for name, *values in _output("brms.R", tmp_path / "clusters.csv")}
    normal, half = bh.Normal(0, 1), bh.HalfNormal(1)
    spec = bh.SEM(
        cluster="g",
        within="s | y ~ x",
        between="y ~ z; y ~~ s",
        categorical=["y"],
        priors={"path": normal, "intercept": normal, "threshold": normal, "sd": half, "corr": bh.LKJ(2)},
    )
    fit = bh.fit(spec, clusters(), seed=1, draws=2000, progress=False)
    parameters = {  # ours: theirs, and the sign that makes them the same
        "threshold[between: y | t1]": ("b_Intercept", -1),
        "intercept[between: s]": ("b_x", 1),
        "path[between: y ~ z]": ("b_z", 1),
        "sd[between: y]": ("sd_g__Intercept", 1),
        "sd[between: s]": ("sd_g__x", 1),
        "corr[between: y ~~ s]": ("cor_g__Intercept__x", 1),
    }
    own = {label: x for label, _, x in spec.parameters(fit.posterior)}
    for ours, (name, sign) in parameters.items():
        mean, sd, mcse = theirs[name]
        x = sign * own[ours].to_numpy()
        errors = np.hypot(mcse, x.std() / np.sqrt(float(az.ess(x))))
        assert abs(x.mean() - mean) < 4 * errors, (ours, x.mean(), mean, errors)
        assert x.std() == pytest.approx(sd, rel=0.1), ours
