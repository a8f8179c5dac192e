"""Data of structural equation models, and the sufficient statistics to which normal variables reduce them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Group:
    """Vectors of the variables `seen` with one distribution N(K q, within S_W + between S_B), as least squares.

    n vectors; residual cross-products R (m, m) around coefficients k (m, Q); cross-products of the regressors QQ (Q, Q).
    """

    context: int
    seen: np.ndarray
    n: float
    within: float
    between: float
    R: np.ndarray
    k: np.ndarray
    QQ: np.ndarray


@dataclass(frozen=True)
class Cell:
    """Rows of a cluster that have one missing-data pattern: how many, their means, the means of the regressors.

    R, k, QQ: least squares of the deviations from the means, as in `Group`; for models with random slopes only.
    """

    pattern: int
    n: float
    mean: np.ndarray
    q: np.ndarray
    R: np.ndarray | None = None
    k: np.ndarray | None = None
    QQ: np.ndarray | None = None


@dataclass(frozen=True)
class Cluster:
    """A cluster taken by itself: its own variables' pattern and values, its regressors, its cells."""

    own: int
    values: np.ndarray
    q: np.ndarray
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Statistics:
    """All that the likelihood needs of the data.

    Attributes
    ----------
    groups : tuple of Group
    clusters : tuple of Cluster
        Those with missing values within.
    patterns, own : tuple of (int, ndarray)
        Context and variables seen, of cells and of clusters' own variables.
    constant : float
        Of the log density.
    """

    groups: tuple[Group, ...]
    clusters: tuple[Cluster, ...]
    patterns: tuple[tuple[int, np.ndarray], ...]
    own: tuple[tuple[int, np.ndarray], ...]
    constant: float


NOTHING = Statistics((), (), (), (), 0.0)


@dataclass(frozen=True)
class Data:
    """Observed values in the order of the model.

    Attributes
    ----------
    Y : ndarray (N, p)
        Variables that vary within clusters; NaN where missing.
    X : ndarray (N, .)
        Covariates of rows that the model conditions on.
    code : ndarray of int (N,), optional
        Cluster of each row; None with one level.
    V, Z : ndarray (J, .)
        Variables of clusters, NaN where missing, and covariates of clusters.
    context : ndarray of int (J,) or (N,)
        Context of each cluster (or row, with one level).
    """

    Y: np.ndarray
    X: np.ndarray
    code: np.ndarray | None
    V: np.ndarray
    Z: np.ndarray
    context: np.ndarray

    @property
    def regressors(self) -> int:
        return 1 + self.X.shape[1] + (0 if self.code is None else 1 + self.Z.shape[1])

    @cached_property
    def cells(self) -> "Cells":
        """Rows gathered by cluster and missing-data pattern."""
        return Cells.of(self)


@dataclass(frozen=True)
class Cells:
    """Rows gathered by cluster (or context, with one level) and missing-data pattern; rows without any value are left out.

    seen (pattern, p) bool; pattern, cluster (cell,); n (cell,); mean (cell, p), NaN where missing; q (cell, Q) means of the
    regressors; deviation (row, p + Q) from the cell's means and `row_cell` (row,): what the pooled cross-products are made of.
    """

    seen: np.ndarray
    pattern: np.ndarray
    cluster: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    q: np.ndarray
    deviation: np.ndarray
    row_cell: np.ndarray

    @cached_property
    def cross(self) -> np.ndarray:
        """Cross-products of the deviations of (y, 1, covariates) by cell, (cell, ., .); NaN where a value is missing."""
        width = self.deviation.shape[1]
        out = np.empty((len(self.n), width, width))
        for a in range(width):
            for b in range(a + 1):
                product = self.deviation[:, a] * self.deviation[:, b]
                out[:, a, b] = out[:, b, a] = np.bincount(self.row_cell, product, minlength=len(self.n))
        return out

    @classmethod
    def of(cls, data: Data) -> "Cells":
        keep = ~np.isnan(data.Y).all(1)
        Y = data.Y[keep]
        N, p = Y.shape
        cluster = data.code[keep] if data.code is not None else data.context[keep]
        missing = np.isnan(Y)
        if missing.any():
            seen, pattern = np.unique(~missing, axis=0, return_inverse=True)
            pattern = pattern.ravel()
        else:
            seen, pattern = np.ones((1, p), bool), np.zeros(N, np.int64)
        keys, row_cell = np.unique(cluster * len(seen) + pattern, return_inverse=True)
        n = np.bincount(row_cell, minlength=len(keys)).astype(float)
        full = np.column_stack([Y, np.ones(N), data.X[keep]])
        means = np.stack([np.bincount(row_cell, v, minlength=len(keys)) / n for v in full.T], axis=1)
        q = means[:, p:]
        if data.code is not None:
            j = keys // len(seen)
            q = np.column_stack([q, np.ones(len(keys)), data.Z[j]])
        deviation = full - means[row_cell]
        return cls(seen, keys % len(seen), keys // len(seen), n, means[:, :p], q, deviation, row_cell)


def _least_squares(Y: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residual cross-products (m, m), coefficients (m, Q), cross-products of the regressors (Q, Q)."""
    norm = np.sqrt((q**2).sum(0))
    norm[norm == 0] = 1.0
    k = (np.linalg.lstsq(q / norm, Y, rcond=None)[0] / norm[:, None]).T
    residual = Y - q @ k.T
    return residual.T @ residual, k, q.T @ q


def statistics(data: Data, one_by_one: bool = False) -> Statistics:
    """Reduces rows to groups and clusters: one pass; afterwards nothing depends on the number of rows.

    `one_by_one`: no groups, every cluster by itself with its own deviations, as random slopes need it.
    """
    cells = data.cells
    p, columns = data.Y.shape[1], data.X.shape[1]
    if data.code is None:
        groups, constant = [], 0.0
        for k, c in enumerate(cells.pattern):
            seen = np.flatnonzero(cells.seen[c])
            rows = cells.row_cell == k
            full = cells.deviation[rows] + np.r_[cells.mean[k], cells.q[k]]
            fitted = _least_squares(full[:, seen], full[:, p:])
            groups.append(Group(int(cells.cluster[k]), seen, cells.n[k], 1.0, 0.0, *fitted))
            constant -= 0.5 * cells.n[k] * len(seen) * LOG_2PI
        return Statistics(tuple(groups), (), (), (), constant)
    J = len(data.context)
    if one_by_one:
        alone, patterns, own, constant = _one_by_one(data, np.arange(J), deviations=True)
        return Statistics((), alone, patterns, own, constant)
    complete = np.bincount(cells.cluster[~cells.seen[cells.pattern].all(1)], minlength=J) == 0
    complete &= np.bincount(cells.cluster, minlength=J) > 0
    groups, constant = _deviations(data, columns)
    means, more = _means(data, complete)
    alone, patterns, own, rest = _one_by_one(data, np.flatnonzero(~complete))
    return Statistics((*groups, *means), alone, patterns, own, constant + more + rest)


def _deviations(data: Data, columns: int) -> tuple[list[Group], float]:
    """Pooled cross-products of deviations from cell means, by context and pattern."""
    cells, p, Q = data.cells, data.Y.shape[1], data.regressors
    key = data.context[cells.cluster] * len(cells.seen) + cells.pattern
    groups, constant = [], 0.0
    for value in np.unique(key):
        mine = key == value
        n = cells.n[mine].sum() - mine.sum()
        if n == 0:
            continue
        seen = np.flatnonzero(cells.seen[value % len(cells.seen)])
        rows = cells.deviation[mine[cells.row_cell]]
        k, QQ = np.zeros((len(seen), Q)), np.zeros((Q, Q))
        if columns:
            R, k[:, 1 : 1 + columns], QQ[1 : 1 + columns, 1 : 1 + columns] = _least_squares(
                rows[:, seen], rows[:, p + 1 : p + 1 + columns]
            )
        else:
            R = rows[:, seen].T @ rows[:, seen]
        groups.append(Group(int(value // len(cells.seen)), seen, n, 1.0, 0.0, R, k, QQ))
        constant -= 0.5 * n * len(seen) * LOG_2PI
    return groups, constant


def _means(data: Data, complete: np.ndarray) -> tuple[list[Group], float]:
    """Means of complete clusters with the clusters' own variables, by size, context and pattern of the latter."""
    cells, p = data.cells, data.Y.shape[1]
    chosen = np.flatnonzero(complete[cells.cluster])
    j = cells.cluster[chosen]
    known = ~np.isnan(data.V)
    sizes = cells.n[chosen]
    groups, constant = [], 0.0
    table = np.column_stack([sizes, data.context[j], known[j]])
    kinds, kind = np.unique(table, axis=0, return_inverse=True)
    for k, row in enumerate(kinds):
        mine = chosen[kind.ravel() == k]
        own = np.flatnonzero(row[2:])
        vectors = np.column_stack([cells.mean[mine], data.V[cells.cluster[mine]][:, own]])
        seen = np.r_[np.arange(p), p + own]
        fitted = _least_squares(vectors, cells.q[mine])
        groups.append(Group(int(row[1]), seen, len(mine), 1.0 / row[0], 1.0, *fitted))
        constant -= 0.5 * len(mine) * (len(seen) * LOG_2PI + p * np.log(row[0]))
    return groups, constant


def _one_by_one(data: Data, which: np.ndarray, deviations: bool = False):
    """Clusters by themselves, their patterns, and the constant."""
    cells, Q = data.cells, data.regressors
    patterns: dict[tuple[int, int], int] = {}
    own: dict[tuple[int, bytes], int] = {}
    known, out, constant = ~np.isnan(data.V), [], 0.0
    by_cluster = np.split(
        np.arange(len(cells.cluster)), np.searchsorted(cells.cluster, np.arange(1, len(data.context)))
    )
    rows = (
        np.split(np.argsort(cells.row_cell, kind="stable"), np.cumsum(cells.n).astype(int)[:-1]) if deviations else []
    )
    for j in which:
        context = int(data.context[j])
        mine = []
        for c in by_cluster[j]:
            pattern = patterns.setdefault((context, int(cells.pattern[c])), len(patterns))
            seen = cells.seen[cells.pattern[c]]
            fitted = _cell_deviations(data, rows[c], seen) if deviations else ()
            mine.append(Cell(pattern, cells.n[c], cells.mean[c][seen], cells.q[c], *fitted))
            constant -= 0.5 * (cells.n[c] if deviations else 1) * seen.sum() * LOG_2PI
        q = np.zeros(Q)
        q[1 + data.X.shape[1] :] = np.r_[1.0, data.Z[j]]
        kind = own.setdefault((context, known[j].tobytes()), len(own))
        out.append(Cluster(kind, data.V[j][known[j]], q, tuple(mine)))
        constant -= 0.5 * known[j].sum() * LOG_2PI
    p = data.Y.shape[1]
    seen = tuple((c, np.flatnonzero(cells.seen[k])) for c, k in patterns)
    values = tuple((c, p + np.flatnonzero(np.frombuffer(b, bool))) for c, b in own)
    return tuple(out), seen, values, constant


def _cell_deviations(data: Data, rows: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of the deviations from a cell's means."""
    deviation, p, Q, columns = data.cells.deviation[rows], data.Y.shape[1], data.regressors, data.X.shape[1]
    Y, at = deviation[:, np.flatnonzero(seen)], slice(1, 1 + columns)
    k, QQ = np.zeros((Y.shape[1], Q)), np.zeros((Q, Q))
    if not columns:
        return Y.T @ Y, k, QQ
    R, k[:, at], QQ[at, at] = _least_squares(Y, deviation[:, p + 1 : p + 1 + columns])
    return R, k, QQ
