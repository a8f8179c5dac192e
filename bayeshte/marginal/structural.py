"""Gaussian structural equation models on one or two levels: sufficient statistics, tables, and what was integrated.

The model and its likelihood are those of kernels/structural.py. `Matrices` says how every cell of the matrices is made of
parameters; `statistics` reduces the data; `density` joins them for the sampler. `implied` gives the same moments for many draws
at once, from which `log_likelihood` (by cluster) and `draw_between` (latent cluster means) are computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import batched

import numpy as np

from bayeshte.marginal.density import Density, Output, lkj_constant, precondition, prior_tables, wishart_constant
from bayeshte.prior import Prior

LANES = 64  # groups that the kernel takes at once
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Entry:
    """A term ``coef * t_i * t_j * t_k`` of a cell; `factors` are at most three positions in t.

    `matrix` is ``"psi"`` (covariances of residuals), ``"beta"`` (paths and loadings) or ``"c"`` (coefficients of the regressors).
    """

    matrix: str
    level: int
    row: int
    column: int
    coef: float
    factors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slope:
    """A random slope: a variable of the between level, and the within cell (``"beta"`` or ``"c"``) that holds it."""

    variable: int
    matrix: str
    row: int
    column: int


@dataclass(frozen=True)
class Product:
    """A path of the product of two variables of a row: ``coef * t_i f_known f_other`` in the equation of variable `row`.

    Given the value of the one that is `known`, seen or sampled, it is a path from the other one.
    """

    row: int
    known: int
    other: int
    coef: float
    factors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Matrices:
    """How the matrices of a model are made: sizes, causal order and entries.

    Attributes
    ----------
    levels : int
        1 or 2.
    observed, within : int
        Observed variables P; the first `within` of them vary within clusters (all, with one level).
    size : int
        Variables of a level M, observed ones first, then latent ones; the larger of the two levels.
    regressors : int
        Q: a constant and covariates of the first level, a constant and covariates of the second.
    order : tuple of tuple of int
        For every level its variables, causes before effects; the `active` ones of the first level before those it has not.
    scalars : int
        Number n of scalar parameters: t is (1, scalars, correlations of the blocks, slots).
    blocks : tuple of int
        Sizes of the correlation matrices.
    entries : tuple of Entry
    checks : tuple of tuple of int
        (level, variables): sets whose Psi is checked to be positive definite; in blocks it is by construction.
    members : tuple of tuple of int
        (level, variables) of every block, for priors of whole covariance matrices.
    covariances : tuple of tuple of int
        (level, variable, variable) of single covariances in blocks that have priors of their own.
    products : tuple of Product
        Of two variables, with one level; what else is made of these matrices leaves them out (structural_products.py).
    slots : ndarray (context, slot)
        Numbers that differ between contexts.
    active : int
        Number of variables of the first level that are in the model there.
    regressors_within : int
        How many of the regressors belong to the first level.
    slopes : tuple of Slope
        Random slopes: then every cluster is taken by itself.
    """

    levels: int
    observed: int
    within: int
    size: int
    regressors: int
    order: tuple[tuple[int, ...], ...]
    scalars: int
    blocks: tuple[int, ...]
    entries: tuple[Entry, ...]
    checks: tuple[tuple[int, ...], ...]
    slots: np.ndarray
    active: int = 0
    regressors_within: int = 0
    slopes: tuple[Slope, ...] = ()
    members: tuple[tuple[int, ...], ...] = ()
    covariances: tuple[tuple[int, ...], ...] = ()
    products: tuple[Product, ...] = ()

    @property
    def correlations(self) -> int:
        """Number of correlations in the blocks, which is that of their coordinates."""
        return sum(q * (q - 1) // 2 for q in self.blocks)

    def cell(self, entry: Entry) -> int:
        """Position of an entry's cell in the kernel's table."""
        L, M, Q = self.levels, self.size, self.regressors
        start = {"psi": 0, "beta": L * M * M, "c": 2 * L * M * M}[entry.matrix]
        width = Q if entry.matrix == "c" else M
        return start + (entry.level * M + entry.row) * width + entry.column

    @property
    def cells(self) -> int:
        return self.levels * self.size * (2 * self.size + self.regressors)


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


def density(
    matrices: Matrices,
    data: Statistics,
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    start: np.ndarray,
    unit: np.ndarray,
) -> Density:
    """`tables` in coordinates around the mode.

    start, unit : ndarray (n + correlations,)
        A rough guess of the coordinates and of how far each may be off.
    """
    return precondition(tables(matrices, data, priors, signed, blocks, outputs), start, unit)


def tables(
    matrices: Matrices,
    data: Statistics,
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    pilot: tuple[np.ndarray, np.ndarray] | None = None,
) -> Density:
    """The kernel's tables, in its own coordinates.

    Parameters
    ----------
    outputs : tuple of Output
        Names and shapes for the scalars in order, then the correlations of the blocks. The others as in `lists`.
    """
    kernel = _kernel(matrices, data)
    ints, floats, constant = lists(matrices, data, priors, signed, blocks, pilot)
    floats[0] = [constant]
    m, d = matrices, matrices.scalars + matrices.correlations
    return Density(
        kernel.log_density_c,
        kernel.expand_c,
        np.array(ints, np.int64),
        np.concatenate([np.asarray(f, float) for f in floats]),
        d + len(data.clusters) * len(m.slopes),
        outputs,
        at=1 + 4 * m.scalars + len(m.blocks),
        n_top=d,
    )


def lists(
    m: Matrices,
    data: Statistics,
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    pilot: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[list[int], list[np.ndarray | list[float]], float]:
    """What the kernel's tables hold, ints and floats, and the constant that belongs first among the latter.

    Parameters
    ----------
    priors : sequence of Prior
        Of the scalars, in order.
    signed : sequence of int
        Scalars that are SDs, which may be sampled with a sign (`density.prior_tables`).
    blocks : sequence of Prior
        Of the blocks: LKJ of their correlations, or InverseWishart of their covariance matrices, whose SDs then have the
        prior Power(q), the Jacobian; then of single covariances in them.
    pilot : (ndarray (J, f, f), ndarray (J, f)), optional
        A and g of the quadratic that the log likelihood of each cluster's rows is near the mode, in f = (b_j, s_j); else zero.
    """
    P, Q, n = m.observed, m.regressors, m.scalars
    codes, hyper, constant = prior_tables(priors, signed)
    blocks, single = blocks[: len(m.blocks)], blocks[len(m.blocks) :]
    wisharts = [(v, p) for v, p in zip(m.members, blocks, strict=False) if p.name == "InverseWishart" and v]
    covariances = [(v, p.row()) for v, p in zip(m.covariances, single, strict=True) if v]
    etas = [prior["eta"] if prior.name == "LKJ" else 1.0 for prior in blocks]
    constant += sum(lkj_constant(p["eta"], q) for p, q in zip(blocks, m.blocks, strict=True) if p.name == "LKJ")
    constant += sum(wishart_constant(p) for _, p in wisharts) + sum(row[2] for _, row in covariances) + data.constant
    d, J, ns = n + m.correlations, len(data.clusters), len(m.slopes)
    constant -= 0.5 * J * ns * LOG_2PI
    f = m.within + ns
    information, towards = pilot or (np.zeros((J, f, f)), np.zeros((J, f)))
    batches = _batches(data.groups)
    free = [e for e in m.entries if e.factors]
    fixed = np.zeros(m.cells)
    for e in m.entries:
        if not e.factors:
            fixed[m.cell(e)] += e.coef
    ints = [d, n, len(m.blocks), m.levels, m.size, P, m.within, Q, len(free), *m.slots.shape]
    ints += [
        len(batches),
        len(data.patterns),
        len(data.own),
        len(data.clusters),
        len(m.checks),
        len(m.slopes),
        m.active,
        m.regressors_within,
        len(wisharts),
        len(covariances),
        *codes,
        *m.blocks,
    ]
    ints += [i for order in m.order for i in order]
    for e in free:
        ints += [m.cell(e), *e.factors, *[0] * (3 - len(e.factors))]
    for level, *variables in [*m.checks, *(v for v, _ in wisharts)]:
        ints += [level, len(variables), *variables, *[0] * (m.size - len(variables))]
    ints += [i for v, (code, *_) in covariances for i in (*v, code)]
    ints += [*range(m.within), *(s.variable for s in m.slopes)]
    for s in m.slopes:
        column = s.column if s.matrix == "c" else m.order[0].index(s.column)
        ints += [int(s.matrix == "c"), m.order[0].index(s.row), column]
    slopes = np.array([s.variable for s in m.slopes], int)
    own = [(context, np.r_[seen, slopes]) for context, seen in data.own]
    for first, *rest in batches:
        ints += [1 + len(rest), first.context, len(first.seen), *first.seen, *[0] * (m.size - len(first.seen))]
    for context, seen in [*data.patterns, *own]:
        ints += [context, len(seen), *seen, *[0] * (m.size - len(seen))]
    for c in data.clusters:
        ints += [c.own, len(c.cells)]
    ints += [cell.pattern for c in data.clusters for cell in c.cells]
    floats: list = [[], hyper, etas, np.zeros(d), np.eye(d).ravel(), [e.coef for e in free], fixed, m.slots.ravel()]
    lanes = [np.r_[g.n, g.within, g.between, g.R.ravel(), g.k.ravel(), g.QQ.ravel()] for b in batches for g in b]
    for (_, *variables), prior in wisharts:
        q, T = len(variables), np.zeros((m.size, m.size))
        T[:q, :q] = prior["scale"]
        floats += [[prior["df"] + q + 1], T.ravel()]
    floats += [list(hyper[:3]) for _, (_, hyper, _) in covariances]
    floats += [[sum(map(len, lanes))]]
    for b in batches:
        floats.append(np.column_stack(lanes[: len(b)]).ravel())
        lanes = lanes[len(b) :]
    for j, c in enumerate(data.clusters):
        floats += [c.q, _padded(c.values, m.size)]
        if m.slopes:
            floats += [information[j].ravel(), towards[j]]
    for c in data.clusters:
        for cell in c.cells:
            floats += [[cell.n], _padded(cell.mean, P), cell.q]
            if m.slopes:
                floats += [_padded(cell.R, P * P), _padded(cell.k, P * Q), cell.QQ.ravel()]
    return ints, floats, constant


def _batches(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups of one context that see the same variables, at most `LANES` together; two or three cost less one by one."""
    found: dict[tuple, list[Group]] = {}
    for g in groups:
        found.setdefault((g.context, *g.seen), []).append(g)
    return [list(some) for mine in found.values() for some in batched(mine, LANES if len(mine) > 3 else 1)]


def _kernel(m: Matrices, data: Statistics):
    """The callbacks that these data need; the less they need, the less is compiled (once on a machine)."""
    if m.slopes:
        from bayeshte.marginal.kernels import structural_random_slopes as kernel
    elif data.clusters:
        from bayeshte.marginal.kernels import structural_missing as kernel
    else:
        from bayeshte.marginal.kernels import structural_complete as kernel
    return kernel


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(size)
    out[: values.size] = values.ravel()
    return out


def implied(m: Matrices, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariances S (draw, level, context, M, M) and mean coefficients K (draw, level, context, M, Q) of many draws.

    t : (draw, scalars + correlations), as they are reported (SDs positive).
    """
    draws, contexts = len(t), len(m.slots)
    S = np.empty((draws, m.levels, contexts, m.size, m.size))
    K = np.empty((draws, m.levels, contexts, m.size, m.regressors))
    for c in range(contexts):
        for level in range(m.levels):
            S[:, level, c], K[:, level, c] = moments(m, t, level, c)
    return S, K


def moments(m: Matrices, t: np.ndarray, level: int, context: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (draw, M, M) and mean coefficients (draw, M, Q) of a level in a context."""
    Psi, beta, c = cells(m, t, level, context)
    A = np.linalg.inv(np.eye(m.size) - beta)
    return A @ Psi @ A.swapaxes(-1, -2), A @ c


def cells(m: Matrices, t: np.ndarray, level: int, context: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Psi (draw, M, M), B (draw, M, M) and c (draw, M, Q) of a level."""
    full = np.column_stack([np.ones(len(t)), t, np.tile(m.slots[context], (len(t), 1))])
    width = {"psi": m.size, "beta": m.size, "c": m.regressors}
    out = {name: np.zeros((len(t), m.size, width[name])) for name in width}
    for e in m.entries:
        if e.level == level:
            out[e.matrix][:, e.row, e.column] += e.coef * full[:, list(e.factors)].prod(1)
    return out["psi"], out["beta"], out["c"]
