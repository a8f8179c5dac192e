"""Finite mixtures, draw by draw: likelihood of units in classes, and random effects drawn back."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_softmax, logsumexp

from bayeshte.marginal.glmm_integral import Integral, by_piece, chosen
from bayeshte.marginal.mixture import basis
from bayeshte.marginal.mixture_data import FAMILIES, Units

CHUNK = 4_000_000  # values held at once


@dataclass(frozen=True)
class Parameters:
    """S draws: beta (S, K, p), shape = (sigma, nu) (S, K, 2), factor C (S, K, q, q), membership alpha (S, m, K).

    Of clusters whose rows are units: random effects u (S, E, J, q), E = K if classes have their own, else 1; effects on the log
    odds of the classes u_member (S, J, K) and their SD sd_member (S,). J = 0 without.
    """

    beta: np.ndarray
    shape: np.ndarray
    factor: np.ndarray
    alpha: np.ndarray
    u: np.ndarray
    u_member: np.ndarray
    sd_member: np.ndarray

    def __getitem__(self, part: slice) -> "Parameters":
        return replace(self, **{k: v[part] for k, v in vars(self).items()})


def _contiguous(*values: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(v) for v in values)


def _rows_of(data: Units) -> tuple:
    """What kernels/mixture_draws.py needs of clusters."""
    return FAMILIES[data.family], data.table, data.first[-1], data.first, data.random


def class_log_likelihood(data: Units, t: Parameters) -> np.ndarray:
    """Log-likelihood of every unit in every class, random effects integrated: (S, U, K), constants of counts left out.

    That of rows is given the random effects that they share, if there are any.
    """
    from bayeshte.marginal.kernels import mixture_clusters, mixture_draws, mixture_rows, mixture_units

    U = data.shape[0]
    if data.by_row:
        shift = np.zeros((len(t.beta), t.u.shape[1], U))
        for k, column in enumerate(data.random if t.u.shape[2] else []):
            shift += t.u[:, :, data.cluster, k] * data.rows[0][:, column]
        given = _contiguous(t.beta, t.shape, shift)
        return mixture_rows.row_likelihoods(FAMILIES[data.family], data.table, U, *given)
    if data.nodes:
        out = np.empty((len(t.beta), U, t.beta.shape[1]))
        mixture_draws.cluster_in_classes(*_rows_of(data), *data.rule, *_contiguous(t.beta, t.shape, t.factor), out)
        return out
    contiguous = _contiguous(t.beta, data.offset, t.shape, t.factor)
    if data.together:
        return mixture_clusters.cluster_likelihoods(data.by_column, len(data.W), data.random, *contiguous)
    given = FAMILIES[data.family], data.table, data.first, data.first[-1], data.random
    return mixture_units.likelihoods(*given, *contiguous)


def log_likelihood_of_clusters(data: Units, t: Parameters) -> Integral:
    """Log-likelihood of every cluster, classes and random effects integrated, with as many nodes as its tolerance takes.

    Clusters belong to classes, or their rows do, which are sorted by cluster then (`mixture_data.by_cluster`). Constants of
    counts are left out.
    """

    def integrate(n: int, *given: np.ndarray) -> np.ndarray:
        some, t = replace(data, nodes=n), Parameters(*given)

        def piece(part: slice, out: np.ndarray) -> None:
            if data.by_row:
                out[:] = rows_of_clusters(some, t[part])[0]
            else:
                values = class_log_likelihood(some, t[part]) + log_prior_probabilities(some, t[part])
                out[:] = logsumexp(values, axis=-1)

        return by_piece(piece, len(t.beta), data.n_clusters if data.by_row else len(data.W))

    return chosen(integrate, tuple(vars(t).values()), data.effects)


def quadrature_error(data: Units, t: Parameters) -> float:
    """How much the log-likelihood of a draw changes at most with twice as many nodes, the changes of clusters added."""

    def at(nodes: int) -> np.ndarray:
        values = class_log_likelihood(replace(data, nodes=nodes), t) + log_prior_probabilities(data, t)
        return logsumexp(values, axis=-1)

    return float(np.abs(at(2 * data.nodes) - at(data.nodes)).sum(1).max())


def rows_of_clusters(data: Units, t: Parameters, share: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of clusters (S, J) whose rows belong to classes, and the mean over draws of P(class | data) of rows (N, K).

    Effects of clusters are integrated by quadrature, rows are sorted by cluster; the latter is empty unless `share` asks for it.
    """
    from bayeshte.marginal.kernels import mixture_draws

    (S, K, _), N = t.beta.shape, len(data.W)
    out, chance = np.empty((S, data.n_clusters)), np.zeros((K, N if share else 0))
    sets = t.u.shape[1]
    members = basis(K)[:, : data.effects - sets * len(data.random)]  # none, or all
    given = FAMILIES[data.family], data.table, data.W.T.ravel(), N, data.last, data.random
    given = *given, (sets, np.ascontiguousarray(members)), *data.rule
    mixture_draws.clusters_of_rows(*given, *_contiguous(t.alpha, t.beta, t.shape, t.factor, t.sd_member), out, chance)
    return out, chance.T / S


def summarise(values: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood, mean P(class | data) and mean -sum_c p log p of draws; `values` become probabilities (see the kernel)."""
    from bayeshte.marginal.kernels import mixture_units

    return mixture_units.summarise(values, probability)


def log_prior_probabilities(data: Units, t: Parameters) -> np.ndarray:
    """Log probabilities of the classes before the outcome is seen, in its cluster if they vary between clusters: (S, U, K)."""
    odds = np.einsum("um,smk->suk", data.W, t.alpha)
    if t.u_member.shape[1]:
        odds += t.u_member[:, data.cluster]
    return log_softmax(odds, axis=-1)


def _random_terms(data: Units, t: Parameters, label: np.ndarray):
    """C (S, U, q, q), M = I + C'AC and C'h of every unit in its class, labels (S, U)."""
    _, _, Xr, XX = data.moments
    r, s = data.random, np.arange(len(label))[:, None]
    C, w = t.factor[s, label], t.shape[s, label, 0] ** -2.0
    delta = t.beta[s, label] - data.offset
    A = w[..., None, None] * XX[:, r[:, None], r]
    h = w[..., None] * (Xr[:, r] - np.einsum("uap,sup->sua", XX[:, r, :], delta))
    Ct = C.swapaxes(-1, -2)
    return C, np.eye(len(r)) + Ct @ A @ C, (Ct @ h[..., None])[..., 0]


def draw_effects(data: Units, t: Parameters, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random effects of clusters from their exact distribution given the class of each, (S, U): (S, U, q)."""
    (U, _, q, _), S = data.shape, len(label)
    out = np.empty((S, U, q))
    if data.nodes:
        from bayeshte.marginal.kernels import mixture_draws

        given = *_contiguous(t.beta, t.shape, t.factor), label
        mixture_draws.effects(rng, *_rows_of(data), *data.rule, *given, out)
        return out
    step = max(1, CHUNK // (U * max(1, q * q)))
    for k in range(0, S, step):
        C, M, Ch = _random_terms(data, t[k : k + step], label[k : k + step])
        L = np.linalg.cholesky(M)
        v = np.linalg.solve(M, Ch[..., None]) + np.linalg.solve(L.swapaxes(-1, -2), rng.normal(size=(*Ch.shape, 1)))
        out[k : k + step] = (C @ v)[..., 0]
    return out


def log_density_of_effects(data: Units, t: Parameters, label: np.ndarray, u: np.ndarray) -> np.ndarray:
    """log p(u | class, y) of every unit: (S, U) for labels (S, U), u (S, U, q)."""
    if data.nodes:
        return _integrated_density(data, t, label, u)
    C, M, Ch = _random_terms(data, t, label)
    v = np.linalg.solve(C, u[..., None])[..., 0] - np.linalg.solve(M, Ch[..., None])[..., 0]
    quad = np.einsum("sua,suab,sub->su", v, M, v)
    log_det = np.linalg.slogdet(M)[1] - 2 * np.linalg.slogdet(C)[1]
    return 0.5 * (log_det - quad - u.shape[-1] * np.log(2 * np.pi))


def _integrated_density(data: Units, t: Parameters, label: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The same by Bayes' rule: p(y | class, u) p(u | class) / p(y | class)."""
    from bayeshte.marginal.kernels import mixture_draws

    out = np.empty(label.shape)
    mixture_draws.given_effects(*_rows_of(data), *_contiguous(t.beta, t.shape, u), label, out)
    C = t.factor[np.arange(len(label))[:, None], label]
    y = np.linalg.solve(C, u[..., None])[..., 0]
    prior = -0.5 * (y**2).sum(-1) - np.linalg.slogdet(C)[1] - 0.5 * u.shape[-1] * np.log(2 * np.pi)
    return out + prior - np.take_along_axis(class_log_likelihood(data, t), label[..., None], axis=2)[..., 0]
