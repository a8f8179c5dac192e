"""Tests that ranks 0, 1, ..., `draws` are uniform, and the correction for many of them."""

from functools import cache

import numpy as np
from scipy import stats

_NULL_DRAWS = 20_000


def ecdf_test(ranks, draws: int) -> float:
    """p-value of uniform ranks: the largest departure of their ECDF, against simulated uniform ranks.

    The departure at a point is the two-sided binomial probability of the count below it; the statistic is the smallest
    over all points (Säilynoja et al., 2022, algorithm 1; their gamma).
    """
    n = len(ranks)
    counts = np.cumsum(np.bincount(ranks, minlength=draws + 1))[:-1]
    observed = _pointwise(n, draws)[np.arange(draws), counts].min()
    return float((1 + (_null(n, draws) <= observed * (1 + 1e-9)).sum()) / (1 + _NULL_DRAWS))


def ecdf_band(n: int, draws: int, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, and the lower and upper limit of a simultaneous band for the ECDF of `n` uniform ranks minus the diagonal."""
    gamma = np.quantile(_null(n, draws), 1 - level)
    points = np.arange(1, draws + 1) / (draws + 1)
    low, high = stats.binom.ppf(gamma / 2, n, points), stats.binom.ppf(1 - gamma / 2, n, points)
    return points, low / n - points, high / n - points


@cache
def _pointwise(n: int, draws: int) -> np.ndarray:
    """Two-sided probability of every count at every point, (point, count)."""
    points, counts = np.arange(1, draws + 1)[:, None] / (draws + 1), np.arange(n + 1)
    lower, upper = stats.binom.cdf(counts, n, points), stats.binom.sf(counts - 1, n, points)
    return np.minimum(1, 2 * np.minimum(lower, upper))


@cache
def _null(n: int, draws: int) -> np.ndarray:
    """The statistic of `ecdf_test` for simulated uniform ranks."""
    rng = np.random.default_rng(0)
    counts = np.cumsum(rng.multinomial(n, np.full(draws + 1, 1 / (draws + 1)), size=_NULL_DRAWS), axis=1)[:, :-1]
    return _pointwise(n, draws)[np.arange(draws), counts].min(1)


def chi2_test(ranks, draws: int) -> float:
    """p-value of equal counts in bins of equal width, at most 20 and with at least 5 expected in each."""
    bins = max(b for b in range(2, 21) if (draws + 1) % b == 0 and b <= max(2, len(ranks) / 5))
    return float(stats.chisquare(np.bincount(np.asarray(ranks) * bins // (draws + 1), minlength=bins)).pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values, over all elements."""
    flat = np.ravel(p)
    order = np.argsort(flat)
    out = np.empty(flat.size)
    out[order] = np.minimum(1, np.maximum.accumulate(flat[order] * np.arange(flat.size, 0, -1)))
    return out.reshape(np.shape(p))
