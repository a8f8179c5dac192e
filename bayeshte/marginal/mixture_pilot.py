"""Effects of clusters whose rows belong to unknown classes: where they are, what is known of them (kernels/information.py)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.special import softmax

from bayeshte.marginal import glmm_outcomes
from bayeshte.marginal.mixture import Layout, basis
from bayeshte.marginal.mixture_data import Pilot, Units
from bayeshte.marginal.mixture_draws import Parameters, class_log_likelihood, log_prior_probabilities

NEWTON = 15  # steps


def pilot(data: Units, layout: Layout, t: Parameters) -> Pilot:
    """Information and modes of the effects of clusters, given the parameters of the classes (one draw).

    Newton's method from the effects of `t`, v = C y, in all clusters at once. The information is that of rows whose classes are
    known less what is lost because they are not, the covariance of the scores (Louis, 1982); in no direction it is less than a
    tenth of the former.
    """
    moves, effects, parameters = _predictors(data, layout)
    C, (v, parts) = _factor(data, layout, t), _together(data, layout, t)
    y, one = np.linalg.solve(C, v.T).T, [(0, np.ones(len(data.cluster)))]

    def by_cluster(values, left, right):
        """Sums over the rows of every cluster of values[g, h] x y, for all (g, x) on the left, (h, y) on the right."""
        sums = [[np.bincount(data.cluster, values[g, h] * x * y, data.n_clusters) for h, y in right] for g, x in left]
        return np.moveaxis(np.array(sums), -1, 0)

    for step in range(NEWTON + 1):
        v = y @ C.T
        score, left, most = _row_information(data, replace(t, **parts(v)))
        of_effects = (np.einsum("ag,abi,bh->ghi", moves, h, moves, optimize=True) for h in (left, most))
        A, known = (by_cluster(h, effects, effects) for h in of_effects)
        A = _at_least(A, 0.1 * known)
        total = by_cluster((moves.T @ score)[:, None], effects, one)[..., 0]
        if step < NEWTON:
            change = np.linalg.solve(np.eye(len(C)) + C.T @ A @ C, (total @ C - y)[..., None])[..., 0]
            y += np.clip(change, -3, 3)
    B = by_cluster(np.einsum("ag,abi->gbi", moves, left), effects, parameters)
    offset = np.concatenate([t.beta[0].ravel(), t.alpha[0].ravel() if layout.varies else []])
    return Pilot(offset, A, (A @ v[..., None])[..., 0] + total, B)


def _predictors(data: Units, layout: Layout) -> tuple[np.ndarray, list, list]:
    """What moves the 2 K predictors of a row, eta of every class and its log odds.

    Effects of clusters move sums of them, by the columns of the first (2 K, g): one class's eta or all, the log odds by a column
    of `basis`. Of every effect, and of every parameter of `Pilot`: which sum or predictor, times which column (row,).
    """
    K, X = layout.classes, data.rows[0]
    sets, V = np.eye(K) if layout.own_effects else np.ones((K, 1)), basis(K) if layout.varies else np.empty((K, 0))
    E = sets.shape[1]
    effects = [(e, X[:, k]) for e in range(E) for k in data.random]
    effects += [(E + k, np.ones(len(X))) for k in range(V.shape[1])]
    members = data.W.T if layout.varies else []
    parameters = [(c, x) for c in range(K) for x in X.T] + [(K + c, w) for w in members for c in range(K)]
    return np.block([[sets, np.zeros_like(V)], [np.zeros_like(sets), V]]), effects, parameters


def _together(data: Units, layout: Layout, t: Parameters) -> tuple[np.ndarray, Callable]:
    """All effects of a cluster, (J, G), and a function from such effects to `u` and `u_member` of `Parameters`."""
    (_, E, J, q), V = t.u.shape, basis(layout.classes)
    v = t.u[0].transpose(1, 0, 2).reshape(J, E * q)
    if not layout.varies:
        return v, lambda v: {"u": v.reshape(J, E, q).transpose(1, 0, 2)[None]}

    def parts(v):
        return {"u": v[:, : E * q].reshape(J, E, q).transpose(1, 0, 2)[None], "u_member": (v[:, E * q :] @ V.T)[None]}

    return np.concatenate([v, t.u_member[0] @ V], axis=1), parts


def _factor(data: Units, layout: Layout, t: Parameters) -> np.ndarray:
    """The factor of all effects of a cluster, none of them fixed at zero: (G, G)."""
    q, out = len(data.random), np.zeros((layout.effects(len(data.random)),) * 2)
    for c in range(layout.classes if layout.own_effects else 1):
        C = t.factor[0, c]
        scale = np.maximum(np.sqrt((C**2).sum(1)), 1e-3 * t.shape[0, :, 0].min())
        out[c * q : c * q + q, c * q : c * q + q] = C + 1e-3 * np.diag(scale)
    for k in range(len(out) - (layout.classes - 1 if layout.varies else 0), len(out)):
        out[k, k] = max(t.sd_member[0] * np.sqrt(0.5), 1e-3)
    return out


def _row_information(data: Units, t: Parameters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score of every row in eta and in log odds of the classes (2 K, row); its information, and that if classes were known.

    With r = P(class | y), w and s information and score in the eta of a class: diag(r w) - cov_r(s e_c), where classes are known
    diag(r w); of log odds cov_pi - cov_r, where they are known cov_pi; between them -r_c (1[c = l] - r_l) s_c.
    """
    X, n, s, _ = data.rows
    K = t.beta.shape[1]
    log_pi = log_prior_probabilities(data, t)[0]
    r, pi = softmax(class_log_likelihood(data, t)[0] + log_pi, axis=1).T, np.exp(log_pi).T
    Z, score, weight = X[:, data.random], np.empty_like(r), np.empty_like(r)
    for c in range(K):
        shift = (Z * t.u[0, c if t.u.shape[1] > 1 else 0, data.cluster]).sum(1)
        score[c], weight[c] = score_and_weight(data, X @ t.beta[0, c] + shift, n, s, t.shape[0, c])
    same = np.eye(K)[:, :, None]
    lost, spread = r[:, None] * (same - r), pi[:, None] * (same - pi)  # covariances of the class after and before y
    known, left = np.zeros((2, 2 * K, 2 * K, len(s)))
    known[:K, :K], known[K:, K:] = same * (r * weight), spread
    left[:K, :K] = known[:K, :K] - score[:, None] * lost * score
    left[:K, K:] = -score[:, None] * lost
    left[K:, :K] = left[:K, K:].swapaxes(0, 1)
    left[K:, K:] = spread - lost
    return np.concatenate([r * score, r - pi]), left, known


def _at_least(A: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Matrices A (J, G, G) raised to `least` in all directions in which they are below it."""
    G = A.shape[-1]
    L = np.linalg.cholesky(least + (1e-9 * np.trace(least, axis1=1, axis2=2)[:, None, None] + 1e-300) * np.eye(G))
    W = np.linalg.inv(L)
    values, vectors = np.linalg.eigh(W @ A @ W.swapaxes(1, 2))
    V = L @ vectors
    return (V * np.maximum(values, 1.0)[:, None]) @ V.swapaxes(1, 2)


def score_and_weight(data: Units, eta, n, s, shape) -> tuple[np.ndarray, np.ndarray]:
    """First derivative in eta of the log-likelihood of rows, and the information."""
    if data.family == "gaussian":
        return (s - eta) / shape[0] ** 2, np.full(len(s), shape[0] ** -2.0)
    return glmm_outcomes.score_and_weight(eta, n, s, data.family, shape)
