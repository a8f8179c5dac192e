"""Covariances of all variables of a level, with what it conditions on as it is in the data."""

import numpy as np
import xarray as xr

from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.structural_products import Law, regressors

PIECE = 100_000  # means held at once, rows times draws


def covariances(structure: Structure, m: Matrices, t: np.ndarray, design: xr.Dataset, level: int) -> np.ndarray:
    """Implied by the model at the draws t: of the variables of a level, then of its covariates, (draw, M + c, M + c)."""
    if any(p.level == level for p in m.products):
        return _with_products(m, t, design, level)
    S, K = implied(m, t)
    context = design["context"].to_numpy()
    if structure.two_level and level == 0:  # covariates multiply variables between clusters only
        S, K, context = S[:, :, :1], K[:, :, :1], np.zeros(design.sizes["row"], int)
    return with_covariates(S[:, level], K[:, level], design, level, context)


def with_covariates(S: np.ndarray, K: np.ndarray, design: xr.Dataset, level: int, context: np.ndarray) -> np.ndarray:
    """Of f ~ N(K q, S) and the covariates in q, over the units of the data: (draw, M + c, M + c).

    S (draw, context, M, M), K (draw, context, M, Q), and the context of every unit. Averaged over contexts, the means between
    them included.
    """
    array, first = (design["X"], 1) if level == 0 else (design["Z"], 2 + design.sizes["within_covariate"])
    c, M = array.shape[1], S.shape[-1]
    q = np.column_stack([np.ones(len(array)), array.to_numpy()])
    own = np.eye(c, c + 1, 1)  # what a covariate is of (1, covariates): itself
    K = np.concatenate([K[..., first - 1 : first + c], np.broadcast_to(own, (*K.shape[:2], c, c + 1))], axis=-2)
    out = np.zeros((len(S), M + c, M + c))
    out[:, :M, :M] = np.einsum("c,scij->sij", np.bincount(context, minlength=S.shape[1]) / len(q), S)
    K[..., 0] -= sum(K[:, k] @ q[context == k].sum(0) for k in np.unique(context))[:, None] / len(q)  # the overall mean
    for k in np.unique(context):
        mine = q[context == k]
        out += K[:, k] @ (mine.T @ mine / len(q)) @ K[:, k].swapaxes(-1, -2)
    return out


def _with_products(m: Matrices, t: np.ndarray, design: xr.Dataset, level: int) -> np.ndarray:
    """`covariances` of a level with products, whose means are no linear functions of the covariates."""
    data = data_of(design)
    q, X = regressors(data, level), (data.X, data.Z)[level]
    context, c = data.context if len(data.context) == len(q) else np.zeros(len(q), int), X.shape[1]
    kinds, count = np.unique(np.column_stack([context, X, q]), axis=0, return_counts=True)
    step, share = max(1, PIECE // len(kinds)), count / len(q)
    out = np.zeros((len(t), m.size + c, m.size + c))
    for start in range(0, len(t), step):
        part = slice(start, start + step)
        mean = np.empty((len(t[part]), len(kinds), m.size + c))
        mean[..., m.size :] = kinds[:, 1 : 1 + c]
        for k in np.unique(context):
            law, mine = Law.of(m, t[part], k, level), np.flatnonzero(kinds[:, 0] == k)
            mean[:, mine, : m.size] = law.mean(kinds[mine, 1 + c :])
            units = q[context == k]
            out[part, : m.size, : m.size] += len(units) / len(q) * law.covariance(units)
        mean -= (mean * share[:, None]).sum(1, keepdims=True)
        out[part] += np.einsum("r,sra,srb->sab", share, mean, mean, optimize=True)
    return out
