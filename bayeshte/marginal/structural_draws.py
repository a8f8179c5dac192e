"""For many draws at once: each cluster's latent means given the data, and its likelihood with them integrated.

Formulas and names are those of kernels/structural.py; here they are written for arrays (draw, cluster, ...), by classes of
clusters that have the same sizes and missing-data patterns, whose matrices are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bayeshte.marginal.matrices import Matrices, cells, implied
from bayeshte.marginal.sufficient import LOG_2PI, Data

CHUNK = 4_000_000  # values held at once


@dataclass(frozen=True)
class Conditional:
    """Clusters of one class: their latent means b ~ N(mean, P) given the data, and their log-likelihood.

    clusters (Jc,); mean (draw, Jc, p); covariance (draw, p, p); log_likelihood (draw, Jc).
    """

    clusters: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    log_likelihood: np.ndarray


def conditionals(
    m: Matrices, data: Data, t: np.ndarray, slopes: np.ndarray | None = None
) -> Iterator[tuple[slice, Conditional]]:
    """Pieces of the draws and classes of clusters; t (draw, scalars + correlations), random slopes (draw, cluster, slope).

    With random slopes all is given them: they are among what is known of a cluster, and the likelihood is of them as well.
    """
    classes = _classes(data, alone=bool(m.slopes))
    step = max(1, CHUNK // max(1, len(data.context) * m.size**2))
    for s in range(0, len(t), step):
        part = slice(s, s + step)
        S, K = implied(m, t[part])
        for members, own, by_cluster in classes:
            known, at = data.V[members][:, own][None], m.within + own
            if m.slopes:
                (j,), mine = members, slopes[part, members[0]]
                S[:, 0, data.context[j]], K[:, 0, data.context[j]] = implied_within(m, t[part], mine)
                known = np.concatenate([np.repeat(known[0], len(mine), axis=0), mine], axis=1)[:, None]
                at = np.r_[at, [s.variable for s in m.slopes]]
            yield part, _conditional(m, data, S, K, members, at, known, by_cluster)


def implied_within(m: Matrices, t: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S (draw, M, M) and K (draw, M, Q) of the within level of a cluster with these slopes (draw, slope)."""
    Psi, beta, c = cells(m, t, level=0)
    for k, s in enumerate(m.slopes):
        (beta if s.matrix == "beta" else c)[:, s.row, s.column] += slopes[:, k]
    A = np.linalg.inv(np.eye(m.size) - beta)
    return A @ Psi @ A.swapaxes(-1, -2), A @ c


def _classes(data: Data, alone: bool) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(clusters, seen own variables, cells (cluster, k)) of clusters with one context, own pattern and (pattern, n) of cells.

    `alone`: every cluster is a class of its own.
    """
    found_cells, known = data.cells, ~np.isnan(data.V)
    bounds = np.searchsorted(found_cells.cluster, np.arange(len(data.context) + 1))
    found: dict[tuple, list[int]] = {}
    for j in range(len(data.context)):
        mine = slice(bounds[j], bounds[j + 1])
        key = (
            j if alone else data.context[j],
            known[j].tobytes(),
            found_cells.pattern[mine].tobytes(),
            found_cells.n[mine].tobytes(),
        )
        found.setdefault(key, []).append(j)
    out = []
    for members in map(np.array, found.values()):
        first = members[0]
        k = bounds[first + 1] - bounds[first]
        out.append((members, np.flatnonzero(known[first]), bounds[members][:, None] + np.arange(k)))
    return out


def _conditional(m: Matrices, data: Data, S, K, members, at, known, by_cluster) -> Conditional:
    p, columns = m.within, data.X.shape[1]
    context = data.context[members[0]]
    Sw, Sb = S[:, 0, context, :p, :p], S[:, 1, context]
    Kw, Kb = K[:, 0, context, :p], K[:, 1, context]
    q = np.zeros((len(members), m.regressors))
    q[:, 1 + columns :] = np.column_stack([np.ones(len(members)), data.Z[members]])
    level = np.einsum("jq,sfq->sjf", q, Kb)
    mean, Sc = level[..., :p], Sb[:, :p, :p]
    ll = np.zeros(mean.shape[:2])
    if len(at):
        V = Sb[:, at[:, None], at]
        C = np.linalg.solve(V, Sb[:, at, :p]).swapaxes(-1, -2)
        e = known - level[..., at]
        mean = mean + e @ C.swapaxes(-1, -2)
        Sc = Sc - C @ Sb[:, at, :p]
        ll -= 0.5 * (_quadratic(e, V) + np.linalg.slogdet(V)[1][:, None] + len(at) * LOG_2PI)
    A, h = np.zeros((len(Sw), p, p)), np.zeros(mean.shape)
    c = data.cells
    for k in by_cluster.T:
        seen = np.flatnonzero(c.seen[c.pattern[k[0]]])
        n = c.n[k[0]]
        V = Sw[:, seen[:, None], seen]
        W = np.linalg.inv(V)
        d = c.mean[k][:, seen] - np.einsum("jq,sfq->sjf", c.q[k], Kw[:, seen]) - mean[..., seen]
        Wd = d @ W
        A[:, seen[:, None], seen] += n * W
        h[..., seen] += n * Wd
        ll -= 0.5 * n * ((d * Wd).sum(-1) + np.linalg.slogdet(V)[1][:, None] + len(seen) * LOG_2PI)
        if n > 1:
            ll -= 0.5 * _trace(data, k, seen, W, Kw)
    M = np.eye(p) + Sc @ A
    P = np.linalg.solve(M, Sc)
    u = h @ P.swapaxes(-1, -2)
    ll += 0.5 * ((h * u).sum(-1) - np.linalg.slogdet(M)[1][:, None])
    return Conditional(members, mean + u, (P + P.swapaxes(-1, -2)) / 2, ll)


def _quadratic(e: np.ndarray, V: np.ndarray) -> np.ndarray:
    """e' V^-1 e for e (draw, cluster, k), V (draw, k, k)."""
    return (e * np.linalg.solve(V, e.swapaxes(-1, -2)).swapaxes(-1, -2)).sum(-1)


def _trace(data: Data, which: np.ndarray, seen: np.ndarray, W: np.ndarray, Kw: np.ndarray) -> np.ndarray:
    """tr W (sum of squares of deviations from the cell's mean, around the covariates), (draw, cluster)."""
    G, p, columns = data.cells.cross, data.Y.shape[1], data.X.shape[1]
    keep = np.r_[seen, p + 1 + np.arange(columns)]
    G = G[which][:, keep[:, None], keep]
    if not columns:
        return np.einsum("sab,jab->sj", W, G)
    T = np.concatenate([np.tile(np.eye(len(seen)), (len(W), 1, 1)), -Kw[:, seen, 1 : 1 + columns]], axis=-1)
    return np.einsum("sab,jab->sj", T.swapaxes(-1, -2) @ W @ T, G, optimize=True)


def draw_cluster_means(
    m: Matrices, data: Data, t: np.ndarray, both: np.ndarray, rng: np.random.Generator, slopes: np.ndarray | None = None
) -> np.ndarray:
    """Latent means of the variables `both` of every cluster, drawn given parameters and data: (draw, cluster, variable)."""
    out = np.empty((len(t), len(data.context), len(both)))
    for part, c in conditionals(m, data, t, slopes):
        noise = normal_noise(c.covariance[:, both[:, None], both], len(c.clusters), rng)
        out[part, c.clusters] = c.mean[..., both] + noise
    return out


def normal_noise(S: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """N(0, S) n times a draw, (draw, n, k), for S (draw, k, k) that may be singular."""
    values, vectors = np.linalg.eigh(S)
    root = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
    return rng.standard_normal((len(S), n, S.shape[-1])) @ root.swapaxes(-1, -2)


def log_density_of_cluster_means(
    m: Matrices, data: Data, t: np.ndarray, both: np.ndarray, b: np.ndarray, slopes: np.ndarray | None = None
) -> np.ndarray:
    """log p(b | y, theta) summed over clusters, (draw,), for b (draw, cluster, variable)."""
    out = np.zeros(len(t))
    for part, c in conditionals(m, data, t, slopes):
        V = c.covariance[:, both[:, None], both]
        e = b[part][:, c.clusters] - c.mean[..., both]
        each = _quadratic(e, V) + np.linalg.slogdet(V)[1][:, None] + len(both) * LOG_2PI
        out[part] -= 0.5 * each.sum(1)
    return out


def log_likelihood(m: Matrices, data: Data, t: np.ndarray, slopes: np.ndarray | None = None) -> np.ndarray:
    """Log-likelihood of every cluster with its latent means integrated (draw, cluster); of every row, with one level.

    With random slopes (draw, cluster, slope) their density given the parameters is included.
    """
    if data.code is None:
        return _rows(m, data, t)
    out = np.empty((len(t), len(data.context)))
    for part, c in conditionals(m, data, t, slopes):
        out[part, c.clusters] = c.log_likelihood
    return out


def _rows(m: Matrices, data: Data, t: np.ndarray) -> np.ndarray:
    S, K = implied(m, t)
    return row_likelihood(data, S[:, 0], K[:, 0], np.zeros((1, len(data.Y), m.within)))


def row_likelihood(data: Data, Sw: np.ndarray, Kw: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Log-likelihood of every row given its cluster's means b (draw or 1, row, p): (draw, row). Sw, Kw by context."""
    known = ~np.isnan(data.Y)
    q = np.zeros((len(data.Y), Kw.shape[-1]))
    q[:, : 1 + data.X.shape[1]] = np.column_stack([np.ones(len(q)), data.X])
    context = data.context if data.code is None else data.context[data.code]
    out = np.zeros((len(Sw), len(q)))
    table = np.column_stack([context, known])
    kinds, kind = np.unique(table, axis=0, return_inverse=True)
    for k, (c, *pattern) in enumerate(kinds):
        seen = np.flatnonzero(pattern)
        if len(seen) == 0:
            continue
        rows = np.flatnonzero(kind.ravel() == k)
        V = Sw[:, c][:, seen[:, None], seen]
        e = data.Y[np.ix_(rows, seen)] - np.einsum("iq,sfq->sif", q[rows], Kw[:, c][:, seen]) - b[:, rows][..., seen]
        out[:, rows] = -0.5 * (_quadratic(e, V) + np.linalg.slogdet(V)[1][:, None] + len(seen) * LOG_2PI)
    return out
