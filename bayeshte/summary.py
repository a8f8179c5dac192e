"""Draws to rows of the one table schema that every printed result has.

    parameter, estimate, mean, posterior_sd, lower, upper, p_one_tailed, rhat, psr, ess_bulk, ess_tail, mcse, fixed

`estimate` is the median, `lower` and `upper` the 95 % equal-tailed interval (HDI on request), `p_one_tailed` the smaller of
the two tail probabilities at zero, `rhat` the rank-normalised R-hat (Vehtari et al., 2021), `psr` the classic potential
scale reduction that Mplus prints (Gelman & Rubin, 1992), `mcse` the Monte Carlo error of the estimate, `fixed` whether the
quantity has no posterior variance.
"""

import itertools
from collections.abc import Iterable, Mapping

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats

COLUMNS = (
    *("parameter", "estimate", "mean", "posterior_sd", "lower", "upper", "p_one_tailed"),
    *("rhat", "psr", "ess_bulk", "ess_tail", "mcse", "fixed"),
)
LEVEL = 0.95


def elements(values: xr.DataArray) -> tuple[list[str], np.ndarray]:
    """Labels ``name[a, b]`` of the elements of a variable, and its draws (chain, draw, element)."""
    values = values.transpose("chain", "draw", ...)
    dims = values.dims[2:]
    names = [[str(v) for v in values[d].to_numpy()] for d in dims]
    labels = [f"{values.name}[{', '.join(c)}]" if c else str(values.name) for c in itertools.product(*names)]
    return labels, values.to_numpy().reshape(*values.shape[:2], -1)


def name_of(row: Mapping) -> str:
    """The parameter of a row of a summary, with its level if there is one: ``"between: mvpa ~ advant"``."""
    return f"{row['level']}: {row['parameter']}" if row.get("level") else str(row["parameter"])


def is_fixed(x: np.ndarray) -> np.ndarray:
    """Which elements of draws (chain, draw, element) do not vary, up to rounding."""
    return np.ptp(x, axis=(0, 1)) <= 1e-12 * np.abs(x).max(axis=(0, 1))


def rows(values: xr.DataArray, interval: str = "eti", level: float = LEVEL) -> pd.DataFrame:
    """Summary rows of one variable, an element a row, in the schema of this module.

    Parameters
    ----------
    values : DataArray
        Dims ``chain, draw`` and any labelled others.
    interval : {"eti", "hdi"}
        Equal-tailed or highest-density interval.
    level : float
        Probability of the interval.
    """
    return _rows(*elements(values), interval, level)


def _rows(labels: list[str], x: np.ndarray, interval: str, level: float) -> pd.DataFrame:
    flat = x.reshape(-1, x.shape[-1])
    fixed = is_fixed(x)
    finite = np.isfinite(flat).all(0)
    live = ~fixed & finite
    out = {"parameter": labels} | distribution(x, live, interval, level)
    out |= {
        "p_one_tailed": np.minimum((flat < 0).mean(0), (flat > 0).mean(0)),
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        out |= {k: _fill(live, v) for k, v in diagnostics(x[..., live]).items()}
    out["fixed"] = fixed
    table = pd.DataFrame(out)
    table.loc[fixed, "p_one_tailed"] = np.where(table.loc[fixed, "estimate"] == 0, 1.0, 0.0)
    table.loc[fixed, "posterior_sd"] = 0.0
    table.attrs = {"interval": interval, "level": level}  # which tables need to label the interval; concat keeps them
    return table[list(COLUMNS)]


def distribution(x: np.ndarray, live: np.ndarray, interval: str = "eti", level: float = LEVEL) -> dict[str, np.ndarray]:
    """Median, mean, SD and interval of draws (chain, draw, element); a highest-density one of the elements that are `live`."""
    flat = x.reshape(-1, x.shape[-1])
    tail = (1 - level) / 2
    lower, middle, upper = np.quantile(flat, [tail, 0.5, 1 - tail], axis=0)
    if interval == "hdi":
        lower[live], upper[live] = az.hdi(x[..., live], prob=level, axis=[0, 1]).T
    sd = flat.std(0, ddof=1) if len(flat) > 1 else np.full(x.shape[-1], np.nan)
    return {"estimate": middle, "mean": flat.mean(0), "posterior_sd": sd, "lower": lower, "upper": upper}


def diagnostics(x: np.ndarray) -> dict[str, np.ndarray]:
    """R-hat, PSR, bulk and tail ESS, and the Monte Carlo error of the median, of draws (chain, draw, element)."""
    names = ("rhat", "psr", "ess_bulk", "ess_tail", "mcse")
    if x.shape[-1] == 0 or x.shape[1] < 4:
        return {k: np.full(x.shape[-1], np.nan) for k in names}
    axes = {"chain_axis": 0, "draw_axis": 1}
    values = (
        array_stats.rhat(x, method="rank", **axes),
        array_stats.rhat(x, method="identity", **axes),
        array_stats.ess(x, method="bulk", **axes),
        array_stats.ess(x, method="tail", prob=(0.025, 0.975), **axes),
        array_stats.mcse(x, method="median", **axes),
    )
    return dict(zip(names, values, strict=True))


def _fill(live: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.full(len(live), np.nan)
    out[live] = values
    return out


def table(parameters: Iterable[tuple[str, xr.DataArray]], interval: str = "eti", level: float = LEVEL) -> pd.DataFrame:
    """Rows of scalars (chain, draw) by label."""
    labels, values = zip(*parameters, strict=True)
    x = np.stack([v.transpose("chain", "draw").to_numpy() for v in values], axis=-1)
    return _rows(list(labels), x, interval, level)
