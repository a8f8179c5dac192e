"""The likelihood of clusters with random effects integrated by quadrature: other than Gaussian outcomes, classes of individuals.

kernels/glmm_integral.py and kernels/mixture_integral.py.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bayeshte.marginal import mixture
from bayeshte.marginal.glmm import Rows
from bayeshte.marginal.glmm_outcomes import FAMILIES
from bayeshte.marginal.structural_integration import rule

#: Nodes a random effect, while twice as many make no more than `MOST` in all; largest error of the log-likelihood of a draw.
NODES = (3, 5, 8, 12, 20)
MOST = 20_000
TOLERANCE = 0.005
TRIED = 20  # evenly spaced draws by which the nodes are chosen
PIECE = 50  # draws at a time


@dataclass(frozen=True)
class Integral:
    """Log-likelihood of clusters: `values` (draw, cluster), `nodes` a random effect, and the `error` of a draw's sum.

    The error is how much the sum over clusters changes with twice as many nodes, the largest absolute change of each cluster in
    `TRIED` draws added.
    """

    values: np.ndarray
    nodes: int
    error: float

    @property
    def attributes(self) -> dict[str, object]:
        """How it was integrated, as `Fit.cluster_log_likelihood` says it."""
        text = f"by quadrature with {self.nodes} nodes a random effect, error at most {self.error:.1g}"
        return {"integrated": text, "nodes": self.nodes, "quadrature_error": self.error}


def log_likelihood(rows: Rows, beta: np.ndarray, factor: np.ndarray, shape: np.ndarray) -> Integral:
    """Log-likelihood of every cluster.

    Parameters
    ----------
    rows : Rows
    beta : ndarray (S, p)
    factor : ndarray (S, q, q)
        Lower Cholesky factors of the covariance matrices of the random effects.
    shape : ndarray (S, k)
        Parameters of the outcome, `SHAPES`.
    """
    q = len(rows.random)
    return _chosen(lambda n, *given: quadrature(rows, *given, n), (beta, factor, shape), q)


def _chosen(integrate: Callable[..., np.ndarray], draws: tuple[np.ndarray, ...], q: int) -> Integral:
    """The integral with as many nodes a random effect, q of them, as the tolerance takes: `integrate(nodes, *draws)`."""
    few = tuple(v[np.unique(np.linspace(0, len(v) - 1, TRIED).round().astype(int))] for v in draws)
    n, error = 1, 0.0
    for n in [n for n in NODES if n == NODES[0] or (2 * n) ** q <= MOST] if q else []:
        error = float(np.abs(integrate(2 * n, *few) - integrate(n, *few)).max(0).sum())
        if error <= TOLERANCE:
            break
    return Integral(integrate(n, *draws), n, error)


def quadrature(rows: Rows, beta: np.ndarray, factor: np.ndarray, shape: np.ndarray, n: int) -> np.ndarray:
    """With n nodes a random effect, (draw, cluster)."""
    from bayeshte.marginal.kernels.glmm_integral import cluster_integrals  # compiled on first use

    first = np.searchsorted(rows.cluster, np.arange(rows.n_clusters + 1))
    data = FAMILIES[rows.family], np.ascontiguousarray(rows.X.T), rows.n, rows.s, rows.random, first
    return _by_piece(cluster_integrals, data, (beta, factor, shape), rule(len(rows.random), n), rows.n_clusters)


def log_likelihood_of_classes(data: mixture.Units, t: mixture.Parameters, sd: np.ndarray) -> Integral:
    """Log-likelihood of every cluster whose rows belong to classes; the intercept they share has SD `sd` (S,)."""
    return _chosen(lambda n, *given: _classes(data, *given, n), (t.alpha, t.beta, t.shape, sd), 1)


def _classes(data: mixture.Units, alpha, beta, shape, sd, n: int) -> np.ndarray:
    """With n nodes, (draw, cluster)."""
    from bayeshte.marginal.kernels.mixture_integral import intercept_integrals  # compiled on first use

    order, N = np.argsort(data.cluster, kind="stable"), len(data.W)
    table, W = data.table.reshape(-1, N)[:, order].ravel(), data.W[order].T.ravel()
    first = np.searchsorted(data.cluster[order], np.arange(data.n_clusters + 1))
    nodes, log_weights = rule(1, n)
    given = mixture.FAMILIES[data.family], table, W, N, first
    return _by_piece(
        intercept_integrals, given, (alpha, beta, shape, sd), (nodes[:, 0].copy(), log_weights), data.n_clusters
    )


def _by_piece(kernel, data: tuple, draws: tuple[np.ndarray, ...], nodes: tuple, clusters: int) -> np.ndarray:
    """Some draws at a time, in threads: (draw, cluster)."""
    out = np.empty((len(draws[0]), clusters))

    def piece(start: int) -> None:
        part = slice(start, start + PIECE)
        kernel(*data, *(np.ascontiguousarray(v[part]) for v in draws), *nodes, out[part])

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(0, len(out), PIECE)))
    return out
