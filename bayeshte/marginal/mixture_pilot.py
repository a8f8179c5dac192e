"""Random effects that rows of unknown classes share: where they are, how much is known of them (kernels/information.py)."""

from dataclasses import replace

import numpy as np
from scipy.special import softmax

from bayeshte.marginal import glmm_outcomes
from bayeshte.marginal.mixture_data import Pilot, Units
from bayeshte.marginal.mixture_draws import Parameters, class_log_likelihood, log_prior_probabilities

NEWTON = 15  # steps


def pilot(data: Units, t: Parameters) -> Pilot:
    """Information and modes of the random effects that rows share, given the parameters of the classes (one draw).

    Newton's method from the effects of `t`, u = C y, in all clusters at once. The information is that of rows whose classes are
    known less what is lost because they are not, the covariance of the scores (Louis, 1982); in no direction it is less than a
    tenth of the former.
    """
    X, n, s, _ = data.rows
    Z, J, code = X[:, data.random], data.n_clusters, data.cluster
    scale = np.maximum(np.sqrt((t.factor[0, 0] ** 2).sum(1)), 1e-3 * t.shape[0, :, 0].min())
    C = t.factor[0, 0] + 1e-3 * np.diag(scale)
    eta, y = X @ t.beta[0].T, np.linalg.solve(C, t.u[0].T).T

    def by_cluster(values, left, right):
        return np.stack([np.bincount(code, values * a * b, J) for a in left.T for b in right.T], axis=1)

    for step in range(NEWTON + 1):
        u = y @ C.T
        at = replace(t, u=u[None])
        r = softmax(class_log_likelihood(data, at)[0] + log_prior_probabilities(data, t.alpha)[0], axis=1)
        score, weight = np.empty_like(eta), np.empty_like(eta)
        for c, shape in enumerate(t.shape[0]):
            score[:, c], weight[:, c] = score_and_weight(data, eta[:, c] + (Z * u[code]).sum(1), n, s, shape)
        mean = (r * score).sum(1)
        left = r * (weight - score * (score - mean[:, None]))
        q = Z.shape[1]
        A, most = (by_cluster(v.sum(1), Z, Z).reshape(J, q, q) for v in (left, r * weight))
        A = _at_least(A, 0.1 * most)
        total = by_cluster(mean, Z, np.ones((len(Z), 1)))
        if step < NEWTON:
            move = np.linalg.solve(np.eye(q) + C.T @ A @ C, (total @ C - y)[..., None])[..., 0]
            y += np.clip(move, -3, 3)
    B = np.stack([by_cluster(left[:, c], Z, X).reshape(J, q, -1) for c in range(len(t.beta[0]))], axis=2)
    return Pilot(t.beta[0], A, (A @ u[..., None])[..., 0] + total, B.reshape(J, q, -1))


def _at_least(A: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Matrices A (J, q, q) raised to `least` in all directions in which they are below it."""
    q = A.shape[-1]
    L = np.linalg.cholesky(least + (1e-9 * np.trace(least, axis1=1, axis2=2)[:, None, None] + 1e-300) * np.eye(q))
    W = np.linalg.inv(L)
    values, vectors = np.linalg.eigh(W @ A @ W.swapaxes(1, 2))
    V = L @ vectors
    return (V * np.maximum(values, 1.0)[:, None]) @ V.swapaxes(1, 2)


def score_and_weight(data: Units, eta, n, s, shape) -> tuple[np.ndarray, np.ndarray]:
    """First derivative in eta of the log-likelihood of rows, and the information."""
    if data.family == "gaussian":
        return (s - eta) / shape[0] ** 2, np.full(len(s), shape[0] ** -2.0)
    return glmm_outcomes.score_and_weight(eta, n, s, data.family, shape)
