"""Likelihood of clusters, outcomes other than Gaussian, random effects integrated by quadrature: kernels/glmm_integral.py."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bayeshte.marginal.glmm import Rows
from bayeshte.marginal.glmm_outcomes import FAMILIES
from bayeshte.marginal.structural_integration import rule

#: Nodes a random effect, while twice as many make no more than `MOST` in all; largest error of the log-likelihood of a draw.
NODES = (3, 5, 8, 12, 20, 32, 50)
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
    return chosen(lambda n, *given: quadrature(rows, *given, n), (beta, factor, shape), q)


def chosen(integrate: Callable[..., np.ndarray], draws: tuple[np.ndarray, ...], q: int) -> Integral:
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
    nodes = rule(len(rows.random), n)

    def kernel(part: slice, out: np.ndarray) -> None:
        cluster_integrals(*data, *(np.ascontiguousarray(v[part]) for v in (beta, factor, shape)), *nodes, out)

    return by_piece(kernel, len(beta), rows.n_clusters)


def by_piece(kernel: Callable[..., None], S: int, clusters: int) -> np.ndarray:
    """Some draws at a time, in threads: `kernel(part, out)` fills the rows `part` of the result; (draw, cluster)."""
    out = np.empty((S, clusters))

    def piece(start: int) -> None:
        part = slice(start, start + PIECE)
        kernel(part, out[part])

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(0, S, PIECE)))
    return out
