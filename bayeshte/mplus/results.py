"""Mplus's definitions of what a Bayesian analysis prints, on plain arrays.

Read off one analysis whose draws are stored: they give its print to the last digit (tests/test_mplus_exact.py says where a
rule was found by matching it). Intervals are order statistics: highest-density ones as Chen and Shao (1999) have them;
equal-tailed ones without interpolation, which no stored draws with a print confirm.
"""

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

from bayeshte.summary import is_fixed

LEVEL = 0.95


def second_half(draws: np.ndarray) -> np.ndarray:
    """Of every chain the half that Mplus keeps, (chain, iteration, parameter)."""
    return draws[:, draws.shape[1] // 2 :]


def summarise(draws: np.ndarray, point: str = "MEDIAN", interval: str = "eti", level: float = LEVEL) -> pd.DataFrame:
    """Estimate, SD, one-tailed p-value and interval of every parameter, pooled over chains.

    Parameters
    ----------
    draws : ndarray
        Kept draws, (chain, iteration, parameter). Parameters that do not vary are fixed.
    point : {"MEDIAN", "MEAN", "MODE"}
        The estimate. MODE is the half-sample mode (Bickel & Frühwirth, 2006) of the parameter by itself; Mplus takes a mode of
        all parameters jointly, how is not established.
    interval : {"eti", "hdi"}
        Equal-tailed or highest-density interval.
    level : float
        Its probability.

    Returns
    -------
    DataFrame
        Columns ``estimate, mean, posterior_sd, p_one_tailed, lower, upper, significant``; the last is "*" where the interval
        of a parameter that is not fixed leaves out zero. A fixed one has SD 0, and p = 1 at zero, else 0.
    """
    x, fixed = draws.reshape(-1, draws.shape[-1]), is_fixed(draws)
    lower, upper = limits(x, interval, level)
    p = np.where(fixed, 1.0 * (x[0] == 0), np.minimum((x < 0).mean(0), (x > 0).mean(0)))
    p = np.where(np.isnan(x).any(0), np.nan, p)
    table = {
        "estimate": np.where(fixed, x[0], _point(x, fixed, point)),
        "mean": np.where(fixed, x[0], x.mean(0)),
        "posterior_sd": np.where(fixed, 0.0, x.std(0, ddof=1)),
        "p_one_tailed": p,
        "lower": lower,
        "upper": upper,
    }
    return pd.DataFrame(table | {"significant": significant(lower, upper, fixed)})


def significant(lower: np.ndarray, upper: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """ "*" where an interval leaves out zero and the parameter is not fixed, else empty."""
    return np.where(~fixed & ((lower > 0) | (upper < 0)), "*", "")


def _point(x: np.ndarray, fixed: np.ndarray, point: str) -> np.ndarray:
    if point == "MODE":
        return np.array([v[0] if f else array_stats.mode(v) for v, f in zip(x.T, fixed, strict=True)])
    return {"MEDIAN": np.median, "MEAN": np.mean}[point](x, axis=0)


def limits(x: np.ndarray, interval: str = "eti", level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits of the columns of x, (draw, parameter).

    Equal-tailed: the order statistics ceil(a n) and ceil((1 - a) n). Highest-density: the shortest of the intervals between
    order statistics j and j + floor(level n).
    """
    ordered, n, tail = np.sort(x, axis=0), len(x), (1 - level) / 2
    if interval == "eti":
        at = [int(np.ceil(round(share * n, 6))) - 1 for share in (tail, 1 - tail)]
        return ordered[at[0]], ordered[at[1]]
    span = min(int(np.floor(round(level * n, 6))), n - 1)
    first = (ordered[span:] - ordered[: n - span]).argmin(0)
    columns = np.arange(x.shape[1])
    return ordered[first, columns], ordered[first + span, columns]


def psr(draws: np.ndarray) -> np.ndarray:
    """Potential scale reduction of kept draws (chain, iteration, parameter): sqrt((n - 1) / n + B / W), (parameter,).

    B, the variance of the m chain means, has the divisor m: it is smaller than Gelman and Rubin's (1992).
    """
    n = draws.shape[1]
    between = draws.mean(1).var(0)
    within = draws.var(1, ddof=1).mean(0)
    return np.sqrt((n - 1) / n + between / within)


def ppp(observed: np.ndarray, replicated: np.ndarray) -> tuple[float, float, float]:
    """P(replicated > observed discrepancy), and the limits of the 95 % interval of observed - replicated.

    The limits are the order statistics next above the quantiles, the 9th and 296th of 303. This rule was chosen because it gives
    the one print there is; others give it too.
    """
    lower, upper = np.quantile(observed - replicated, [0.025, 0.975], method="higher")
    return float((replicated > observed).mean()), float(lower), float(upper)


def dic(deviances: np.ndarray, at_mean: float) -> tuple[float, float]:
    """DIC and pD from deviances at draws and the deviance at the posterior means."""
    mean = float(np.mean(deviances))
    return 2 * mean - at_mean, mean - at_mean


def bic(log_likelihood: float, k: int, n: int) -> float:
    """BIC from the log likelihood at the posterior medians, of k free parameters and n rows."""
    return -2 * log_likelihood + k * np.log(n)
