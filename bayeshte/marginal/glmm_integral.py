"""The likelihood of clusters with other than Gaussian outcomes, random effects integrated (kernels/glmm_integral.py)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

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
    given = beta, factor, shape
    few = tuple(v[np.unique(np.linspace(0, len(beta) - 1, TRIED).round().astype(int))] for v in given)
    q = len(rows.random)
    numbers = [n for n in NODES if n == NODES[0] or (2 * n) ** q <= MOST] if q else [1]
    for n in numbers:
        error = float(np.abs(quadrature(rows, *few, 2 * n) - quadrature(rows, *few, n)).max(0).sum()) if q else 0.0
        if error <= TOLERANCE:
            break
    return Integral(quadrature(rows, *given, n), n, error)


def quadrature(rows: Rows, beta: np.ndarray, factor: np.ndarray, shape: np.ndarray, n: int) -> np.ndarray:
    """With n nodes a random effect, (draw, cluster)."""
    from bayeshte.marginal.kernels.glmm_integral import cluster_integrals  # compiled on first use

    first = np.searchsorted(rows.cluster, np.arange(rows.n_clusters + 1))
    data = np.ascontiguousarray(rows.X.T), rows.n, rows.s, rows.random, first
    out = np.empty((len(beta), rows.n_clusters))
    nodes, log_weights = rule(len(rows.random), n)

    def piece(start: int) -> None:
        part = slice(start, start + PIECE)
        given = (np.ascontiguousarray(v[part]) for v in (beta, factor, shape))
        cluster_integrals(FAMILIES[rows.family], *data, *given, nodes, log_weights, out[part])

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(0, len(beta), PIECE)))
    return out
