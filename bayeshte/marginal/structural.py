"""Gaussian structural equation models on one or two levels: the tables of the kernel, and the density for the sampler.

The model and its likelihood are those of kernels/structural.py. `Matrices` (matrices.py) says how every cell of the matrices is
made of parameters; `statistics` (sufficient.py) reduces the data; `density` joins them.
"""

from collections.abc import Sequence
from itertools import batched

import numpy as np

from bayeshte.marginal.density import Density, Output, lkj_constant, precondition, prior_tables, wishart_constant
from bayeshte.marginal.matrices import Entry, Matrices
from bayeshte.marginal.sufficient import LOG_2PI, Group, Statistics
from bayeshte.prior import Prior

LANES = 64  # groups that the kernel takes at once


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
    n = m.scalars
    codes, hyper, constant = prior_tables(priors, signed)
    blocks, single = blocks[: len(m.blocks)], blocks[len(m.blocks) :]
    wisharts = [(v, p) for v, p in zip(m.members, blocks, strict=False) if p.name == "InverseWishart" and v]
    covariances = [(v, p.row()) for v, p in zip(m.covariances, single, strict=True) if v]
    etas = [prior["eta"] if prior.name == "LKJ" else 1.0 for prior in blocks]
    constant += sum(lkj_constant(p["eta"], q) for p, q in zip(blocks, m.blocks, strict=True) if p.name == "LKJ")
    constant += sum(wishart_constant(p) for _, p in wisharts) + sum(row[2] for _, row in covariances) + data.constant
    d, J, ns = n + m.correlations, len(data.clusters), len(m.slopes)
    constant -= 0.5 * J * ns * LOG_2PI
    batches = _batches(data.groups)
    free = [e for e in m.entries if e.factors]
    fixed = np.zeros(m.cells)
    for e in m.entries:
        if not e.factors:
            fixed[m.cell(e)] += e.coef
    ints = [d, n, len(m.blocks), m.levels, m.size, m.observed, m.within, m.regressors, len(free), *m.slots.shape]
    ints += [len(batches), len(data.patterns), len(data.own), J, len(m.checks), ns, m.active, m.regressors_within]
    ints += [len(wisharts), len(covariances), *codes, *m.blocks]
    ints += _structure_ints(m, free, [*m.checks, *(v for v, _ in wisharts)])
    ints += [i for v, (code, *_) in covariances for i in (*v, code)]
    ints += [*_slope_ints(m), *_data_ints(m, data, batches)]
    floats: list = [[], hyper, etas, np.zeros(d), np.eye(d).ravel(), [e.coef for e in free], fixed, m.slots.ravel()]
    for (_, *variables), prior in wisharts:
        q, T = len(variables), np.zeros((m.size, m.size))
        T[:q, :q] = prior["scale"]
        floats += [[prior["df"] + q + 1], T.ravel()]
    floats += [list(hyper[:3]) for _, (_, hyper, _) in covariances]
    return ints, floats + _data_floats(m, data, batches, pilot), constant


def _padded_places(m: Matrices, places: Sequence[int]) -> list[int]:
    """Variables of a level: how many, then their places."""
    return [len(places), *places, *[0] * (m.size - len(places))]


def _structure_ints(m: Matrices, free: Sequence[Entry], parts: Sequence[tuple[int, ...]]) -> list[int]:
    """Order of the variables, free entries of the cells, and parts of Psi (level, variables)."""
    ints = [i for order in m.order for i in order]
    for e in free:
        ints += [m.cell(e), *e.factors, *[0] * (3 - len(e.factors))]
    for level, *variables in parts:
        ints += [level, *_padded_places(m, variables)]
    return ints


def _slope_ints(m: Matrices) -> list[int]:
    """Between variables of f = (b, s), and the cells of the slopes."""
    ints = [*range(m.within), *(s.variable for s in m.slopes)]
    for s in m.slopes:
        column = s.column if s.matrix == "c" else m.order[0].index(s.column)
        ints += [int(s.matrix == "c"), m.order[0].index(s.row), column]
    return ints


def _data_ints(m: Matrices, data: Statistics, batches: Sequence[Sequence[Group]]) -> list[int]:
    """Batches of groups, patterns of rows and of clusters, clusters and their cells."""
    ints: list[int] = []
    for first, *rest in batches:
        ints += [1 + len(rest), first.context, *_padded_places(m, first.seen)]
    slopes = np.array([s.variable for s in m.slopes], int)
    own = [(context, np.r_[seen, slopes]) for context, seen in data.own]
    for context, seen in [*data.patterns, *own]:
        ints += [context, *_padded_places(m, seen)]
    for c in data.clusters:
        ints += [c.own, len(c.cells)]
    return [*ints, *(cell.pattern for c in data.clusters for cell in c.cells)]


def _data_floats(
    m: Matrices,
    data: Statistics,
    batches: Sequence[Sequence[Group]],
    pilot: tuple[np.ndarray, np.ndarray] | None,
) -> list[np.ndarray | list[float]]:
    """Batches, side by side and behind their number of values, then clusters, then cells."""
    P, Q, J, f = m.observed, m.regressors, len(data.clusters), m.within + len(m.slopes)
    information, towards = pilot or (np.zeros((J, f, f)), np.zeros((J, f)))
    lanes = [[np.r_[g.n, g.within, g.between, g.R.ravel(), g.k.ravel(), g.QQ.ravel()] for g in b] for b in batches]
    floats: list = [[sum(len(values) for lane in lanes for values in lane)]]
    floats += [np.column_stack(lane).ravel() for lane in lanes]
    for j, c in enumerate(data.clusters):
        floats += [c.q, _padded(c.values, m.size)]
        if m.slopes:
            floats += [information[j].ravel(), towards[j]]
    for c in data.clusters:
        for cell in c.cells:
            floats += [[cell.n], _padded(cell.mean, P), cell.q]
            if m.slopes:
                floats += [_padded(cell.R, P * P), _padded(cell.k, P * Q), cell.QQ.ravel()]
    return floats


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
