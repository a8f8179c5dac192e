"""Within-level quantities of models with random slopes: effects along paths that vary, and standardised ones by cluster.

An indirect effect through two varying paths is on average E(a_j b_j) = a b + cov(a_j, b_j), not the product of the averages
(Kenny, Korchmaros & Bolger, 2003; Bauer, Preacher & Gil, 2006, equation 8). Variances within depend on the slopes, so whatever
is divided by them is computed cluster by cluster and averaged over clusters, as Mplus does.
"""

from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

from bayeshte.families.sem_draws import row_draws, stacked
from bayeshte.families.sem_moments import covariances, with_covariates
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.structural_draws import implied_within
from bayeshte.model_text import Row


def ways(rows: tuple[Row, ...], x: str, y: str) -> list[list[Row]]:
    """Every way from x to y along paths, as rows; there are no loops."""
    out = []
    for r in rows:
        if r.op == "~" and r.rhs == x:
            out += [[r]] if r.lhs == y else [[r, *rest] for rest in ways(rows, r.lhs, y)]
    return out


def effect(structure: Structure, posterior: xr.Dataset, found: list[list[Row]], mean: np.ndarray, cov: np.ndarray):
    """Expectation of the sum over ways of the product of their paths, (draw,), of slopes with these moments.

    mean (draw, slope), cov (draw, slope, slope); with zeros for `cov` it is the product of the average slopes.
    """
    total = np.zeros(len(mean))
    for way in found:
        product = np.ones(len(mean))
        for value in (row_draws(structure, posterior, r) for r in way if not r.slope):
            product = product * (
                value if isinstance(value, float) else value.transpose("chain", "draw").to_numpy().ravel()
            )
        which = [structure.table.slopes.index(r.slope) for r in way if r.slope]
        total += product * expectation(mean, cov, which)
    return total


def slope_moments(
    structure: Structure, m: Matrices, posterior: xr.Dataset, design: xr.Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (draw, slope) and covariance (draw, slope, slope) of the slopes over clusters with the covariates of the data."""
    t = stacked(structure, posterior)
    at = np.array([s.variable for s in m.slopes])
    cov = covariances(structure, m, t, design, 1)[:, at[:, None], at]
    Z = design["Z"].to_numpy()
    q = np.column_stack([np.zeros((len(Z), 1 + design.sizes["within_covariate"])), np.ones(len(Z)), Z])
    context = design["context"].to_numpy()
    K = implied(m, t)[1][:, 1][:, :, at]
    mean = sum(np.einsum("saq,q->sa", K[:, c], q[context == c].sum(0)) for c in np.unique(context)) / len(q)
    return mean, cov


def expectation(mean: np.ndarray, cov: np.ndarray, which: list[int]) -> np.ndarray:
    """E of a product of jointly normal slopes (Isserlis, 1918), (draw,)."""
    if not which:
        return np.ones(len(mean))
    first, *rest = which
    out = mean[:, first] * expectation(mean, cov, rest)
    for k, other in enumerate(rest):
        out = out + cov[:, first, other] * expectation(mean, cov, rest[:k] + rest[k + 1 :])
    return out


def by_cluster(
    structure: Structure, m: Matrices, posterior: xr.Dataset, design: xr.Dataset
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For every cluster its slopes (draw, slope) and within covariances, covariates last, (draw, M + c, M + c)."""
    t = stacked(structure, posterior)
    slopes = posterior["slope"].transpose("chain", "draw", design.attrs["cluster"], "slopes").to_numpy()
    slopes = slopes.reshape(len(t), *slopes.shape[2:])
    rows = np.zeros(design.sizes["row"], int)
    for j in range(slopes.shape[1]):
        S, K = implied_within(m, t, slopes[:, j])
        yield slopes[:, j], with_covariates(S[:, None], K[:, None], design, 0, rows)


def averaged(
    structure: Structure,
    m: Matrices,
    posterior: xr.Dataset,
    design: xr.Dataset,
    value: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Average over clusters, each counting once, of ``value(slopes, covariances)``, (draw,)."""
    parts = [value(*given) for given in by_cluster(structure, m, posterior, design)]
    return np.mean(parts, axis=0)
