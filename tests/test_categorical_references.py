"""Categorical variables in structural equation models beside lavaan (WLSMV) and lme4 (glmer): estimates in posterior SDs.

The estimators differ (limited information; Laplace), so that agreement is to a fraction of the posterior SD, not to digits.
Without Rscript, lavaan or lme4 the tests are skipped; Debian has them: r-cran-lavaan, r-cran-lme4.
"""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from r_packages import missing

import bayeshte as bh

SCRIPT = Path(__file__).parent / "latent_responses" / "fit.R"
WHY_NOT = missing("lavaan", "lme4")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


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
    done = subprocess.run(["Rscript", str(SCRIPT), *map(str, paths)], capture_output=True, text=True, check=True)
    rows = [line.split(",") for line in done.stdout.splitlines()]
    table = pd.DataFrame(rows, columns=["model", "name", "estimate", "se"]).astype({"estimate": float, "se": float})
    return table.assign(name=table["name"].str.strip()).set_index(["model", "name"])


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
