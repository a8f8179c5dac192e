"""Fits of structural equation models, for the tests of their fit statistics."""

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import xarray as xr

import bayeshte as bh
from bayeshte import gallery
from bayeshte.checks.ppp import discrepancies


def quick(spec, data, draws=300) -> bh.Fit:
    """A short fit; whether it converged is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=300, seed=1, progress=False)


def with_draws(fit: bh.Fit, **values) -> bh.Fit:
    """`fit` with other draws of some variables; a mapping by labels, or an array."""
    posterior = fit.posterior.copy()
    for name, value in values.items():
        x = posterior[name]
        if isinstance(value, dict):
            value = np.array([value[str(v)] for v in x[x.dims[-1]].to_numpy()])
        posterior[name] = (x.dims, np.broadcast_to(value, x.shape).copy())
    return replace(fit, draws=xr.DataTree.from_dict({"posterior": posterior}))


def ppp(fit: bh.Fit, draws=300) -> dict[str, float]:
    return {k: float((new > seen).mean()) for k, (seen, new) in discrepancies(fit, draws, 0).items()}


@cache
def school_activity_fit() -> bh.Fit:
    entry = gallery.read("school_activity")
    return bh.fit(entry.spec, entry.data(), seed=1, progress=False)


def clinics(seed=0, clusters=40, gaps=0.1) -> pd.DataFrame:
    """A factor with three indicators on both levels, an outcome, an uncentred covariate x that varies between clusters too."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 15, clusters)
    j = np.repeat(np.arange(clusters), n)
    N = len(j)
    treat = (np.arange(clusters) % 2).astype(float)
    climate = 0.5 * treat + rng.normal(size=clusters)
    between = 0.5 * treat + 0.4 * climate + 0.6 * rng.normal(size=clusters)
    x = 5 + rng.normal(size=clusters)[j] + rng.normal(size=N)
    within = 0.5 * x + rng.normal(size=N)
    data = {f"i{k}": (between + 0.3 * rng.normal(size=clusters))[j] + within + rng.normal(size=N) for k in (1, 2, 3)}
    data["y"] = (0.8 * between + 0.5 * rng.normal(size=clusters))[j] + 0.6 * within + rng.normal(size=N)
    data = pd.DataFrame(
        data | {"only": x + rng.normal(size=N), "x": x, "treat": treat[j], "climate": climate[j], "clinic": j}
    )
    for v in ("i1", "i2", "i3", "y"):
        data.loc[rng.random(N) < gaps, v] = np.nan
    return data


CLINICS = bh.SEM(
    cluster="clinic",
    within="f =~ i1 + i2 + i3; f ~ x; y ~ f; only ~ x",
    between="h =~ i1 + i2 + i3; h ~ treat + climate; y ~ h; climate ~ treat",
)


@cache
def clinics_fit() -> bh.Fit:
    return quick(CLINICS, clinics())
