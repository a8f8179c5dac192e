"""The likelihood of clusters with random slopes, integrated over the slopes by quadrature (kernels/structural_integration.py)."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bayeshte.marginal.matrices import Matrices, cells, implied
from bayeshte.marginal.sufficient import Data

#: Nodes a slope that are tried, while twice as many make no more than `MOST` in all; largest error of a draw's log-likelihood.
NODES = (3, 5, 8, 12, 20, 32)
MOST = 100_000
TOLERANCE = 0.005
#: Evenly spaced draws by which the nodes are chosen.
TRIED = 40
CHUNK = 2_000_000  # values of the between level held at once


@dataclass(frozen=True)
class Integral:
    """Log-likelihood of clusters with their random slopes integrated.

    Attributes
    ----------
    values : ndarray (draw, cluster)
    nodes : ndarray of int (cluster,)
        Nodes a slope.
    error : float
        Of a draw's log-likelihood: how much the clusters' change with twice as many nodes, the largest absolute change of `TRIED`
        draws in each, added over clusters.
    """

    values: np.ndarray
    nodes: np.ndarray
    error: float


def log_likelihood(m: Matrices, data: Data, t: np.ndarray) -> Integral:
    """Log-likelihood of every cluster, its latent means integrated exactly, its random slopes by quadrature.

    t : (draw, scalars + correlations).
    """
    return chosen(lambda *given: quadrature(m, data, *given), t, len(data.context), len(m.slopes))


def chosen(
    integrate: Callable[[np.ndarray, int, np.ndarray], np.ndarray], t: np.ndarray, clusters: int, q: int
) -> Integral:
    """The integral over q variables a cluster with as many nodes as it takes: `integrate(t, nodes, which clusters)`."""
    nodes, error = _choose(integrate, some(t), clusters, q)
    out = np.empty((len(t), clusters))
    for n in np.unique(nodes):
        which = np.flatnonzero(nodes == n)
        out[:, which] = integrate(t, n, which)
    return Integral(out, nodes, error)


def some(t: np.ndarray) -> np.ndarray:
    """The draws by which nodes are chosen."""
    return t[np.unique(np.linspace(0, len(t) - 1, TRIED).round().astype(int))]


def _choose(integrate: Callable, t: np.ndarray, clusters: int, q: int) -> tuple[np.ndarray, float]:
    """Nodes of every cluster, and what is left of the error: each number spends at most half of what the ones before it left."""
    numbers = [n for n in NODES if n == NODES[0] or (2 * n) ** q <= MOST]
    nodes, error = np.full(clusters, numbers[-1]), 0.0
    rest = np.arange(len(nodes))
    for n in numbers:
        change = np.abs(integrate(t, 2 * n, rest) - integrate(t, n, rest)).max(0)
        order = np.argsort(change)
        enough = order[np.cumsum(change[order]) <= (TOLERANCE - error) / 2]
        nodes[rest[enough]] = n
        error += change[enough].sum()
        rest, change = np.delete(rest, enough), np.delete(change, enough)
        if len(rest) == 0:
            break
    return nodes, float(error + change.sum())


def quadrature(m: Matrices, data: Data, t: np.ndarray, n: int, which: np.ndarray) -> np.ndarray:
    """Log-likelihood of the clusters `which` with n nodes a slope, (draw, cluster)."""
    from bayeshte.marginal.kernels.structural_integration import integrate

    given = (_structure(m, data), _clusters(m, data, which), _cells(data), *rule(len(m.slopes), n))
    out = np.empty((len(t), len(which)))
    step = max(1, min(CHUNK // (len(m.slots) * m.size**2), -(-len(t) // 8)))
    active, Qw = np.array(m.order[0][: m.active]), m.regressors_within

    def piece(start: int) -> None:
        part = slice(start, start + step)
        Psi, B, c = cells(m, t[part], level=0)
        within = Psi[:, active[:, None], active], B[:, active[:, None], active], c[:, active, :Qw]
        between = (x[:, 1] for x in implied(m, t[part]))
        integrate(
            tuple(map(np.ascontiguousarray, within)), tuple(map(np.ascontiguousarray, between)), *given, out[part]
        )

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(0, len(t), step)))
    return out


def rule(q: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (node, q) and log weights of the standard normal: products of the Gauss-Hermite rule with n nodes."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    log_w = np.log(w / w.sum())
    nodes = np.array(list(itertools.product(x, repeat=q)), float)
    return nodes, np.array([sum(each) for each in itertools.product(log_w, repeat=q)], float)


def _structure(m: Matrices, data: Data) -> tuple[np.ndarray, ...]:
    """Places of f in the between level, cells of the slopes, rows of the variables within, and the kinds of clusters."""
    order = m.order[0]
    targets = [*(s.variable for s in m.slopes), *range(m.within)]
    place = [order.index(i) for i in range(m.within)]
    return np.array(targets), slope_cells(m), np.array(place), kinds(m, data)[0]


def slope_cells(m: Matrices) -> np.ndarray:
    """Of every random slope whether it is a coefficient of a covariate, and its row and column among the active variables."""
    order = m.order[0]
    columns = [s.column if s.matrix == "c" else order.index(s.column) for s in m.slopes]
    cells = [(s.matrix == "c", order.index(s.row), k) for s, k in zip(m.slopes, columns, strict=True)]
    return np.array(cells, np.int64).reshape(-1, 3)


def kinds(m: Matrices, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """(context, number of own variables that are seen, these) of the kinds of clusters, and the kind of every cluster."""
    found, kind = np.unique(np.column_stack([data.context, ~np.isnan(data.V)]), axis=0, return_inverse=True)
    table = np.zeros((len(found), 2 + m.size), np.int64)
    for row, (context, *known) in zip(table, found, strict=True):
        own = m.within + np.flatnonzero(known)
        row[: 2 + len(own)] = context, len(own), *own
    return table, kind.ravel()


def own_values(m: Matrices, data: Data, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Regressors (cluster, Q) and own values (cluster, M), those seen first, of the clusters `which`."""
    q = np.column_stack([np.zeros((len(which), 1 + data.X.shape[1])), np.ones(len(which)), data.Z[which]])
    values = np.zeros((len(which), m.size))
    for row, v in zip(values, data.V[which], strict=True):
        seen = v[~np.isnan(v)]
        row[: len(seen)] = seen
    return q, values


def _clusters(m: Matrices, data: Data, which: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the clusters `which` their kinds, regressors, own values, and where their cells start and stop."""
    q, values = own_values(m, data, which)
    first = np.searchsorted(data.cells.cluster, which)
    return kinds(m, data)[1][which], q, values, first, np.searchsorted(data.cells.cluster, which, side="right")


def _cells(data: Data) -> tuple[np.ndarray, ...]:
    """Of every cell its pattern, number of rows, means, regressors, cross-products; of every pattern its size and variables."""
    c = data.cells
    patterns = np.zeros(c.seen.shape, np.int64)
    for row, seen in zip(patterns, c.seen, strict=True):
        row[: seen.sum()] = np.flatnonzero(seen)
    return c.pattern, c.n, c.mean, c.q, c.cross, c.seen.sum(1), patterns
