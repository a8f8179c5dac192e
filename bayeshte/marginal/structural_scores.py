"""Factors of rows and of clusters, drawn given what is known of them, for many draws of the parameters at once.

With S and K the covariances and mean coefficients of a level, x what is known there and f its factors,

    f | x ~ N(K_f q + C (x - K_x q),  S_ff - C S_xf),    C = S_fx S_xx^+.

One level: x are the values of a row that are there. Two levels: between clusters x are the cluster means b_j and slopes s_j,
both drawn before, and the values v_j that are there; within clusters those of y_ij - b_j. Given (b_j, s_j) the factors of a
cluster and of its rows are independent, so that these are draws of all of them given all data.
"""

from collections.abc import Iterator

import numpy as np

from bayeshte.marginal.matrices import Matrices, moments
from bayeshte.marginal.structural_draws import implied_within, normal_noise
from bayeshte.marginal.sufficient import Data

CHUNK = 4_000_000  # values held at once
SINGULAR = 1e-10  # share of the largest eigenvalue of a correlation matrix below which one counts as zero


def draw_within(
    m: Matrices,
    data: Data,
    t: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    b: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of the rows, and the factors of the first level there, (draw, row, factor).

    t (draw, scalars + correlations); cluster means b (draw, cluster, p), zero of what has none; slopes (draw, cluster, slope).
    """
    q = np.column_stack([np.ones(len(data.Y)), data.X])
    context = data.context if data.code is None else np.zeros(len(data.Y), int)
    unit = data.code if m.slopes else context
    last, S, K = -1, None, None
    for members, u, seen in _classes(unit, ~np.isnan(data.Y)):
        if u != last:
            S, K = implied_within(m, t, slopes[:, u]) if m.slopes else moments(m, t, 0, u)
            last = u
        regression = _regression(S, K[..., : q.shape[1]], seen, factors)
        for rows in _pieces(members, len(t) * m.size):
            known = data.Y[np.ix_(rows, seen)][None]
            if b is not None:
                known = known - b[:, data.code[rows][:, None], seen]
            yield rows, _draw(*regression, q[rows], known, rng)


def draw_between(
    m: Matrices,
    data: Data,
    t: np.ndarray,
    factors: np.ndarray,
    rng: np.random.Generator,
    both: np.ndarray,
    b: np.ndarray,
    slopes: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of the clusters, and their factors, (draw, cluster, factor), given the means of the variables `both` and slopes."""
    q = np.column_stack([np.ones(len(data.Z)), data.Z])
    at = [s.variable for s in m.slopes]
    for members, c, seen in _classes(data.context, ~np.isnan(data.V)):
        S, K = moments(m, t, 1, c)
        regression = _regression(S, K[..., -q.shape[1] :], np.r_[both, m.within + seen, at].astype(int), factors)
        for clusters in _pieces(members, len(t) * m.size):
            own = np.broadcast_to(data.V[np.ix_(clusters, seen)], (len(t), len(clusters), len(seen)))
            known = [b[:, clusters[:, None], both], own, *([slopes[:, clusters]] if m.slopes else [])]
            yield clusters, _draw(*regression, q[clusters], np.concatenate(known, axis=-1), rng)


def _classes(unit: np.ndarray, known: np.ndarray) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """Rows of `known` that have one unit and one pattern, the unit, and the columns that are there; units in order."""
    kinds, kind, count = np.unique(np.column_stack([unit, known]), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(kind.ravel(), kind="stable")
    for (u, *pattern), rows in zip(kinds, np.split(order, np.cumsum(count)[:-1]), strict=True):
        yield rows, int(u), np.flatnonzero(pattern)


def _pieces(rows: np.ndarray, width: int) -> list[np.ndarray]:
    """Rows, each of so many values, in pieces that fit into memory."""
    return np.array_split(rows, min(len(rows), -(-len(rows) * width // CHUNK)))


def _regression(S: np.ndarray, K: np.ndarray, at: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of f on the variables `at`: C (draw, F, k), K_f - C K_x (draw, F, Q), covariance (draw, F, F)."""
    across = S[:, factors[:, None], at]
    C = across @ _inverse(S[:, at[:, None], at])
    return C, K[:, factors] - C @ K[:, at], S[:, factors[:, None], factors] - C @ across.swapaxes(-1, -2)


def _draw(C: np.ndarray, K: np.ndarray, V: np.ndarray, q: np.ndarray, known: np.ndarray, rng) -> np.ndarray:
    """Factors (draw, n, F) of n units with regressors q (n, Q), given `known` (draw or 1, n, k)."""
    return known @ C.swapaxes(-1, -2) + q @ K.swapaxes(-1, -2) + normal_noise(V, len(q), rng)


def _inverse(S: np.ndarray) -> np.ndarray:
    """Pseudo-inverse of covariance matrices (draw, k, k); which eigenvalues are zero does not depend on units."""
    sd = np.sqrt(np.einsum("sii->si", S))
    scale = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0)
    scale = scale[:, :, None] * scale[:, None, :]
    return np.linalg.pinv(S * scale, rcond=SINGULAR, hermitian=True) * scale
