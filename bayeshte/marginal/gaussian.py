"""The Gaussian model with random slopes: cross-products, exact marginal likelihood, conditional draws of the slopes.

Everything here is a function of sums over rows (Bates et al., 2015, section 3; Raudenbush & Bryk, 2002, chapter 3), so the
cost does not depend on the number of rows. The same formulas, with derivatives, are in kernels/gaussian.py.
"""

from dataclasses import dataclass

import numpy as np

from bayeshte.marginal.density import (
    Density,
    Output,
    is_even,
    lkj_constant,
    precondition,
    prior_tables,
    unconstrain,
)
from bayeshte.prior import Prior


@dataclass(frozen=True)
class Moments:
    """Cross-products of the model matrix X and the residuals r from a fixed fit, by cluster j and residual stratum k.

    Attributes
    ----------
    n, rr : ndarray (J, K)
        Rows, and sum of squared residuals.
    Xr : ndarray (J, K, p)
    XX : ndarray (J, K, p, p)
    offset : ndarray (p,)
        Coefficients of the fixed fit: beta = offset + delta, which avoids cancellation.
    random : ndarray (q,)
        Which columns of X have random effects.
    known : bool
        Rows are already divided by their known standard errors; the residual variance is then 1.
    log_weight : float or ndarray (J,)
        Sum of log(1 / standard error) by cluster, 0 if standard errors are estimated.
    """

    n: np.ndarray
    rr: np.ndarray
    Xr: np.ndarray
    XX: np.ndarray
    offset: np.ndarray
    random: np.ndarray
    known: bool
    log_weight: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(clusters J, strata K, columns p, random effects q)."""
        return (*self.n.shape, len(self.offset), len(self.random))

    @property
    def by_cluster(self) -> np.ndarray:
        """Z'Z (q q), Z'r (q) and Z'X (q p) of every cluster and stratum, flat: the kernel's table of clusters."""
        J, K, p, q = self.shape
        r = self.random
        ZZ, ZX = self.XX[..., r[:, None], r], self.XX[..., r, :]
        return np.concatenate([ZZ.reshape(J, K, q * q), self.Xr[..., r], ZX.reshape(J, K, q * p)], axis=2).ravel()


def moments(
    X: np.ndarray,
    y: np.ndarray,
    random: np.ndarray,
    cluster: np.ndarray,
    n_clusters: int,
    stratum: np.ndarray,
    n_strata: int,
    se: np.ndarray | None = None,
) -> Moments:
    """Reduce rows to cross-products, in one pass.

    Parameters
    ----------
    X : ndarray (N, p)
    y : ndarray (N,)
    random : ndarray (q,)
        Columns of X with random effects.
    cluster, stratum : ndarray (N,) of int
        Codes 0 .. n_clusters - 1 and 0 .. n_strata - 1.
    se : ndarray (N,), optional
        Known standard errors of y.
    """
    log_weight = np.zeros(n_clusters)
    if se is not None:
        X, y = X / se[:, None], y / se
        log_weight = -np.bincount(cluster, np.log(se), minlength=n_clusters)
    scale = np.sqrt(np.einsum("ij,ij->j", X, X))
    scale[scale == 0] = 1.0  # a category that a left-out cluster alone had: its coefficient keeps its prior
    scaled = (X.T @ X) / np.outer(scale, scale)
    offset = np.linalg.lstsq(scaled, (X.T @ y) / scale, rcond=None)[0] / scale
    W = np.column_stack([X, y - X @ offset])
    cell = cluster * n_strata + stratum
    cells, width = n_clusters * n_strata, W.shape[1]
    cross = np.empty((cells, width, width))
    for a in range(width):
        for b in range(a + 1):
            cross[:, a, b] = cross[:, b, a] = np.bincount(cell, W[:, a] * W[:, b], minlength=cells)
    cross = cross.reshape(n_clusters, n_strata, width, width)
    return Moments(
        n=np.bincount(cell, minlength=cells).reshape(n_clusters, n_strata).astype(float),
        rr=cross[..., -1, -1],
        Xr=cross[..., :-1, -1],
        XX=cross[..., :-1, :-1],
        offset=offset,
        random=np.asarray(random, np.int64),
        known=se is not None,
        log_weight=log_weight,
    )


def density(m: Moments, priors: list[Prior], lkj: Prior | None, outputs: tuple[Output, ...]) -> Density:
    """The kernel's tables from moments and priors (of beta, sd, sigma, in this order), preconditioned.

    Parameters
    ----------
    lkj : Prior or None
        Prior of the correlation matrix; None with fewer than two random effects.
    outputs : tuple of Output
        Names and shapes for the scalars in order, then the (q, q) Cholesky factor of the correlations.
    """
    from bayeshte.marginal.kernels import gaussian as kernel  # compiled on first use

    J, K, p, q = m.shape
    sigmas = 0 if m.known else K
    n_scalars = p + q + sigmas
    d = n_scalars + q * (q - 1) // 2
    codes, hyper, constant = prior_tables(priors, signed=range(p, p + q))
    eta = lkj["eta"] if lkj is not None else 1.0
    constant += (lkj_constant(eta, q) if q > 1 else 0.0) + m.log_weight.sum()
    pooled = np.concatenate(
        [
            np.column_stack([m.n.sum(0), m.rr.sum(0)]),
            m.Xr.sum(0),
            m.XX.sum(0).reshape(K, p * p),
        ],
        axis=1,
    )
    ints = np.array([d, n_scalars, q, p, K, J if q else 0, sigmas, *codes], np.int64)
    floats = np.concatenate(
        [[constant, eta], hyper, np.zeros(d), np.eye(d).ravel(), m.offset, pooled.ravel(), m.by_cluster]
    )
    raw = Density(kernel.log_density_c, kernel.expand_c, ints, floats, d, outputs, at=2 + 4 * n_scalars, n_top=d)
    start, unit = _guess(m, priors)
    return precondition(raw, start, unit)


def _guess(m: Moments, priors: list[Prior]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates near the mode: least squares, residual SD, and a third of it for the random effects' SDs."""
    _, K, p, _ = m.shape
    N, XX = m.n.sum(), m.XX.sum((0, 1))
    residual = 1.0 if m.known else max(np.sqrt(m.rr.sum() / N), 1e-300)
    spread = np.sqrt(np.diag(XX)[m.random] / N)  # a slope's SD in units of the outcome is sd * spread
    values = np.concatenate(
        [m.offset, residual / 3 / np.maximum(spread, 1e-300), np.full(0 if m.known else K, residual)]
    )
    unit = np.ones(len(values) + len(m.random) * (len(m.random) - 1) // 2)
    size = np.diag(XX)
    unit[:p] = residual / np.sqrt(np.where(size == 0, 1.0, size))
    unit[p:] = 0.3
    start = np.zeros_like(unit)
    for k, (prior, value) in enumerate(zip(priors, values, strict=True)):
        start[k] = unconstrain(prior, value)
        if p <= k < p + len(m.random) and is_even(prior):
            start[k], unit[k] = value, 0.3 * value
        elif prior.support == "interval" and k < p:
            unit[k] = 0.3
    return start, unit


@dataclass(frozen=True)
class Parameters:
    """S draws in the layout of the formulas: beta (S, p), factor C of the random effects' covariance (S, q, q), w (S, K)."""

    beta: np.ndarray
    factor: np.ndarray
    precision: np.ndarray


def _cluster_terms(m: Moments, t: Parameters):
    """A_j (S, J, q, q), h_j (S, J, q) and delta (S, p): what every conditional quantity is made of."""
    delta = t.beta - m.offset
    r = m.random
    A = np.einsum("sk,jkab->sjab", t.precision, m.XX[..., r[:, None], r])
    h = np.einsum("sk,jka->sja", t.precision, m.Xr[..., r])
    h -= np.einsum("sk,jkap,sp->sja", t.precision, m.XX[..., r, :], delta, optimize=True)
    return A, h, delta


def log_likelihood(m: Moments, t: Parameters) -> np.ndarray:
    """Marginal log-likelihood of every cluster, the random effects integrated: (S, J)."""
    A, h, delta = _cluster_terms(m, t)
    rr = m.rr - 2 * np.einsum("jkp,sp->sjk", m.Xr, delta)
    rr += np.einsum("sp,jkpq,sq->sjk", delta, m.XX, delta, optimize=True)
    w = t.precision[:, None, :]
    ll = 0.5 * (m.n * np.log(w / (2 * np.pi)) - w * rr).sum(-1) + m.log_weight
    if len(m.random) == 0:
        return ll
    M, Ch = _standardised(A, h, t.factor)
    solved = np.linalg.solve(M, Ch[..., None])[..., 0]
    return ll + 0.5 * ((Ch * solved).sum(-1) - np.linalg.slogdet(M)[1])


def _standardised(A, h, factor):
    """M_j = I + C' A_j C and C' h_j."""
    C = factor[:, None]
    M = np.eye(C.shape[-1]) + C.swapaxes(-1, -2) @ A @ C
    return M, (C.swapaxes(-1, -2) @ h[..., None])[..., 0]


def draw_effects(m: Moments, t: Parameters, rng: np.random.Generator) -> np.ndarray:
    """Random effects drawn from their exact conditional distribution given the parameters and the data: (S, J, q)."""
    from bayeshte.marginal.kernels import gaussian as kernel

    J, _, _, q = m.shape
    u = rng.standard_normal((len(t.beta), J, q))
    kernel.draw_effects(t.beta - m.offset, t.factor, t.precision, m.by_cluster, u)
    return u


def log_density_of_effects(m: Moments, t: Parameters, u: np.ndarray) -> np.ndarray:
    """log p(u | y, theta), summed over clusters: (S,). With log p(y, u | theta) it gives log p(y | theta), for any u."""
    A, h, _ = _cluster_terms(m, t)
    M, Ch = _standardised(A, h, t.factor)
    v = np.linalg.solve(t.factor[:, None], u[..., None])[..., 0] - np.linalg.solve(M, Ch[..., None])[..., 0]
    quad = np.einsum("sja,sjab,sjb->sj", v, M, v)
    log_det_factor = np.linalg.slogdet(t.factor)[1][:, None]
    q = u.shape[-1]
    return (0.5 * (np.linalg.slogdet(M)[1] - quad - q * np.log(2 * np.pi)) - log_det_factor).sum(-1)
