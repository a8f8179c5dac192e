"""What each cluster's data say about its random slopes, from a pilot fit: the tables that choose their coordinates.

The pilot is the same model with slopes that are the same in all clusters, which has no latent variables to sample. At its mode,
with SDs of the slopes that its paths suggest, Newton's method finds the mode of every cluster's slopes and the curvature there.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bayeshte.marginal.density import Density, Output, precondition
from bayeshte.marginal.matrices import Entry, Matrices, implied
from bayeshte.marginal.structural import tables
from bayeshte.marginal.structural_draws import implied_within
from bayeshte.marginal.sufficient import Data, statistics
from bayeshte.prior import Prior

#: The second pass knows the correlations of slopes and intercepts, which say what a cluster's mean tells of its slopes.
PASSES = 2
#: SDs of slopes in the second pass, at least this share of those in the first: the data's information is sought in their units.
SMALLEST = 0.1
#: SDs of slopes that are too small for the density, in units of how far a first guess may be off: a slope without variance of its
#: own is a linear combination of the clusters' variables that predict it.
NEAR = 0.03


def density(
    m: Matrices,
    data: Data,
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    start: np.ndarray,
    unit: np.ndarray,
    means: Sequence[int],
    spreads: Sequence[int],
) -> Density:
    """The density of a model with random slopes, in coordinates chosen by a pilot fit.

    Parameters
    ----------
    means, spreads : sequence of int
        Places in t of the mean and of the SD of every slope. The others as in `structural.density`.
    """
    given = (priors, signed, blocks)
    common = precondition(tables(_common(m, means), statistics(data), *given, outputs[:2]), start, unit)
    x = common.floats[common.at : common.at + common.n_top].copy()
    spread = np.array(spreads, int) - 1
    x[spread] = start[spread]
    by_cluster = statistics(data, one_by_one=True)
    raw, least = tables(m, by_cluster, *given, outputs), 0.0
    near = np.where(np.isin(np.arange(len(start)), np.intersect1d(spread, signed)), NEAR * unit, 0.0)
    for _ in range(PASSES):
        theta = raw.parameters(np.r_[x, np.zeros(raw.n_dim - raw.n_top)])
        t = np.r_[theta["_scalars"], theta["_correlations"]]
        t[spread] = np.copysign(
            np.maximum(np.abs(t[spread]), least), t[spread]
        )  # where slopes hardly vary, the mode is 0
        least = SMALLEST * np.abs(t[spread])
        made = tables(m, by_cluster, *given, outputs, pilot=information(m, data, t))
        made = precondition(made, x, unit, least=near)
        x = made.floats[made.at : made.at + made.n_top]
    return made


def _common(m: Matrices, means: Sequence[int]) -> Matrices:
    """The model with slopes that do not vary: their cells hold their means, their own rows are gone."""
    variables = {s.variable for s in m.slopes}
    kept = [e for e in m.entries if e.level == 0 or not {e.row, *([e.column] if e.matrix != "c" else [])} & variables]
    cells = [Entry(s.matrix, 0, s.row, s.column, 1.0, (place,)) for s, place in zip(m.slopes, means, strict=True)]
    checks = tuple(c for c in m.checks if not {*c[1:]} & variables)
    members = tuple(() if v[0] == 1 and {*v[1:]} & variables else v for v in m.members)
    single = tuple(() if v[0] == 1 and {*v[1:]} & variables else v for v in m.covariances)
    return replace(m, entries=(*kept, *cells), slopes=(), checks=checks, members=members, covariances=single)


def information(m: Matrices, data: Data, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A (cluster, f, f) and g (cluster, f) at parameters t, in f = (means b of the variables within, slopes).

    Newton's method for the mode of f given the data; the log likelihood of the rows is g'f - f'A f / 2 near it. The likelihood is
    not concave in means times slopes: steps are halved, cluster by cluster, until they climb.
    """
    mean, S = _prior(m, data, t)
    least = 1e-12 * max(np.abs(S).max(), np.nanvar(data.Y))  # of parts that the clusters' own variables determine
    unit = np.sqrt(np.maximum(np.einsum("jaa->ja", S), least))
    precision = np.linalg.pinv(S, hermitian=True)

    def log_density(f: np.ndarray) -> np.ndarray:
        return _rows_given(m, data, t, f) - 0.5 * np.einsum("ja,jab,jb->j", f - mean, precision, f - mean)

    f = mean.copy()
    for _ in range(20):
        A, gradient = _quadratic(m, data, t, f, unit)
        g = gradient + (A @ f[..., None])[..., 0]
        P = np.linalg.solve(np.eye(f.shape[1]) + S @ A, S)
        new = mean + (P @ (g - (A @ mean[..., None])[..., 0])[..., None])[..., 0]
        size = np.minimum(1.0, 3.0 / np.maximum(np.abs((new - f) / unit).max(1, keepdims=True), 1e-12))
        here = log_density(f)
        for _ in range(10):
            worse = log_density(f + size * (new - f)) < here - 1e-9 * np.abs(here)
            if not worse.any():
                break
            size[worse] /= 2
        moved = np.abs(size * (new - f) / unit).max()
        f = f + size * (new - f)
        if moved < 1e-3:
            break
    return A, g


def _prior(m: Matrices, data: Data, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (cluster, f) and covariance (cluster, f, f) of f given the clusters' own variables."""
    S, K = (x[0, 1] for x in implied(m, t[None]))
    f = np.array([*range(m.within), *(s.variable for s in m.slopes)])
    q = np.column_stack([np.zeros((len(data.context), 1 + data.X.shape[1])), np.ones(len(data.context)), data.Z])
    level = np.einsum("jq,jfq->jf", q, K[data.context])
    mean, cov = level[:, f], S[data.context][:, f[:, None], f]
    for pattern in np.unique(known := ~np.isnan(data.V), axis=0):
        own = m.within + np.flatnonzero(pattern)
        for c in range(len(m.slots)):
            mine = np.flatnonzero((known == pattern).all(1) & (data.context == c))
            if len(own) and len(mine):
                to = np.linalg.solve(S[c][own[:, None], own], S[c][own[:, None], f])
                mean[mine] += (data.V[mine][:, pattern] - level[mine][:, own]) @ to
                cov[mine] -= S[c][f[:, None], own] @ to
    return mean, cov


def _quadratic(
    m: Matrices, data: Data, t: np.ndarray, f: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minus the second (cluster, f, f) and the first differences (cluster, f) of the rows' log likelihood, the former PSD."""
    steps = 1e-3 * unit[:, None, :] * np.eye(f.shape[1])
    here = _rows_given(m, data, t, f)
    up, down = (
        np.stack([_rows_given(m, data, t, f + sign * steps[:, k]) for k in range(f.shape[1])], 1) for sign in (1, -1)
    )
    size = 1e-3 * unit
    H = np.empty((len(f), f.shape[1], f.shape[1]))
    for a in range(f.shape[1]):
        H[:, a, a] = (up[:, a] - 2 * here + down[:, a]) / size[:, a] ** 2
        for b in range(a):
            both = [_rows_given(m, data, t, f + sign * (steps[:, a] + steps[:, b])) for sign in (1, -1)]
            mixed = both[0] + both[1] - up[:, a] - down[:, a] - up[:, b] - down[:, b] + 2 * here
            H[:, a, b] = H[:, b, a] = mixed / (2 * size[:, a] * size[:, b])
    scaled = -H * unit[:, :, None] * unit[:, None, :]
    values, vectors = np.linalg.eigh(scaled)
    A = np.einsum("jab,jb,jcb->jac", vectors, np.maximum(values, 0.0), vectors) / (unit[:, :, None] * unit[:, None, :])
    return A, (up - down) / (2 * size)


def _rows_given(m: Matrices, data: Data, t: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Log-likelihood of every cluster's rows given its means and slopes f (cluster, f), constants left out."""
    c, p = data.cells, m.within
    Sw, Kw = implied_within(m, np.tile(t, (len(f), 1)), f[:, p:])
    out = np.zeros(len(f))
    for k, seen in enumerate(map(np.flatnonzero, c.seen)):
        mine = np.flatnonzero(c.pattern == k)
        j = c.cluster[mine]
        V = Sw[j][:, seen[:, None], seen]
        W = np.linalg.inv(V)
        d = c.mean[mine][:, seen] - np.einsum("iq,ifq->if", c.q[mine], Kw[j][:, seen]) - f[j][:, seen]
        T = np.concatenate(
            [np.tile(np.eye(len(seen)), (len(mine), 1, 1)), -Kw[j][:, seen, 1 : 1 + data.X.shape[1]]], axis=-1
        )
        keep = np.r_[seen, p + 1 + np.arange(data.X.shape[1])]
        G = c.cross[mine][:, keep[:, None], keep]
        each = np.linalg.slogdet(V)[1] + (d * (W @ d[..., None])[..., 0]).sum(-1)
        each = c.n[mine] * each + np.einsum("iab,iab->i", T.swapaxes(-1, -2) @ W @ T, G)
        np.add.at(out, j, -0.5 * each)
    return out
