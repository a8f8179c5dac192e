"""Priors of covariances of residuals, parts of the matrix Psi of a level, where they are not those of SDs and correlations.

A covariance matrix C of residuals (a part of Psi, q x q) may have an inverse Wishart prior; with a = df + q + 1, beside the
Jacobian and constants, which are in the priors of its SDs and in the constant:

    log p = -1/2 [a log det C + tr T C^-1],   dC = -1/2 [a C^-1 - C^-1 T C^-1].

A single covariance, Psi_ij, may have a normal, Student t or flat prior; then its Jacobian, log sd_i sd_j, is added.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, add_product, cholesky, inverse_from_cholesky


@njit(**OPTIONS)
def inverse_wishart(Psi, which, a, T, dPsi):
    """Log density of the part of Psi that `which` names (level, q, variables), up to its constant; its derivative to dPsi."""
    q, v = which[1], which[2:]
    W, C, TW, D = np.empty((q, q)), np.empty((q, q)), np.zeros((q, q)), np.zeros((q, q))
    for i in range(q):
        for j in range(i + 1):
            C[i, j] = Psi[v[i], v[j]]
    logdet = cholesky(C, q)
    if not logdet > -math.inf:
        return math.nan
    inverse_from_cholesky(C, W, q)
    add_product(T, W, q, q, q, 1.0, TW)
    add_product(W, TW, q, q, q, 1.0, D)
    lp = -0.5 * a * logdet
    for i in range(q):
        lp -= 0.5 * TW[i, i]
        for j in range(q):
            dPsi[v[i], v[j]] -= 0.5 * (a * W[i, j] - D[i, j])
    return lp


@njit(**OPTIONS)
def single_covariance(Psi, i, j, family, hyper, dPsi):
    """Log prior of Psi_ij with its Jacobian, up to its constant; derivatives to dPsi, half to each of Psi_ij and Psi_ji."""
    lp, d = 0.5 * (math.log(Psi[i, i]) + math.log(Psi[j, j])), 0.0
    dPsi[i, i] += 0.5 / Psi[i, i]
    dPsi[j, j] += 0.5 / Psi[j, j]
    if family == 1:
        z = (Psi[i, j] - hyper[0]) / hyper[1]
        lp -= 0.5 * z * z
        d = -z / hyper[1]
    elif family == 2:
        z, c = (Psi[i, j] - hyper[0]) / hyper[1], hyper[2]
        lp -= 0.5 * (c + 1.0) * math.log1p(z * z / c)
        d = -(c + 1.0) * z / (hyper[1] * (c + z * z))
    dPsi[i, j] += 0.5 * d
    dPsi[j, i] += 0.5 * d
    return lp


@njit(**OPTIONS)
def matrix_priors(tables, cell, dcell, M):
    """Log priors of covariance matrices and of single covariances, with derivatives."""
    whole, wisharts, single, single_hyper = tables
    lp = 0.0
    for k in range(len(whole)):
        at = whole[k, 0] * M * M
        Psi, dPsi = cell[at : at + M * M].reshape((M, M)), dcell[at : at + M * M].reshape((M, M))
        lp += inverse_wishart(Psi, whole[k], wisharts[k, 0], wisharts[k, 1:].reshape((M, M)), dPsi)
    for k in range(len(single)):
        at = single[k, 0] * M * M
        Psi, dPsi = cell[at : at + M * M].reshape((M, M)), dcell[at : at + M * M].reshape((M, M))
        lp += single_covariance(Psi, single[k, 1], single[k, 2], single[k, 3], single_hyper[k], dPsi)
    return lp
