"""A finite mixture of clusters with a Gaussian outcome and at most one random effect: every loop over clusters vectorised.

The formulas are those of mixture_units.py with q <= 1. With e = X'r - X'X delta, z = Z'Z and the random effect's SD C in a class:

    h = w e_k,  M = 1 + w C^2 z,  u = C^2 h / M,  k the column of the random effect,
    log p(y) = 1/2 [n log(w / 2 pi) - w |r - X delta|^2] + 1/2 [u h - log M],
    d delta = w (e - u X'Z),  d w = 1/2 [n / w - |r - X delta|^2] + u h / w - z (u^2 + C^2 / M) / 2,
    d C = (h - w z u) C h / M - w z C / M.

The table holds n, r'r, X'r (p), X'X (p p), the cluster varying fastest; W is (m U).
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.mixture_rows import add_columns, dot, normalise
from bayeshte.marginal.kernels.rows import SUMS, log1p

BLOCK = 256
LOG_2PI = math.log(2.0 * math.pi)


@njit(**SUMS)
def fixed(table, U, p, lo, delta, w, ll, dw, e):
    """The part without random effects: ll, dw, and X'r - X'X delta to e (p, block)."""
    n, rr = table[lo:], table[U + lo :]
    constant = 0.5 * (math.log(w) - LOG_2PI)
    for i in range(len(ll)):
        dw[i] = rr[i]
    for a in range(p):
        Xr = table[(2 + a) * U + lo :]
        for i in range(len(ll)):
            e[a, i] = Xr[i]
            dw[i] -= delta[a] * Xr[i]
        for b in range(p):
            XX = table[(2 + p + a * p + b) * U + lo :]
            for i in range(len(ll)):
                e[a, i] -= delta[b] * XX[i]
        for i in range(len(ll)):
            dw[i] -= delta[a] * e[a, i]
    for i in range(len(ll)):
        ll[i] = constant * n[i] - 0.5 * w * dw[i]
        dw[i] = 0.5 * (n[i] / w - dw[i])


@njit(**SUMS)
def random_effect(table, U, p, k, lo, w, C, ll, dw, dC, e):
    """Adds the part of the random effect to ll and dw, sets dC, and takes u X'Z from e."""
    z, own = table[(2 + p + k * p + k) * U + lo :], e[k]
    for i in range(len(ll)):
        h, over = w * own[i], 1.0 / (1.0 + w * C * C * z[i])
        u = C * C * h * over
        ll[i] += 0.5 * (u * h - log1p(w * C * C * z[i]))
        dw[i] += u * own[i] - 0.5 * z[i] * (u * u + C * C * over)
        dC[i] = ((h - w * z[i] * u) * h - w * z[i]) * C * over
    for a in range(p):
        if a != k:
            XZ = table[(2 + p + k * p + a) * U + lo :]
            for i in range(len(ll)):
                e[a, i] -= C * C * w * own[i] / (1.0 + w * C * C * z[i]) * XZ[i]
    for i in range(len(ll)):
        own[i] -= C * C * w * own[i] / (1.0 + w * C * C * z[i]) * z[i]


@njit(**OPTIONS)
def clusters_of_classes(table, W, U, p, q, random, m, K, offset, alpha, beta, shape, C, dalpha, dbeta, dshape, dC):
    """Sum over clusters of log sum_c pi_jc p(y_j | c); derivatives are added."""
    a, r, pi = np.empty((K, BLOCK)), np.empty((K, BLOCK)), np.empty((K, BLOCK))
    dw, dfactor, e = np.empty((K, BLOCK)), np.empty((K, BLOCK)), np.empty((K, p, BLOCK))
    top, delta, total, norm = np.empty(BLOCK), np.empty(p), 0.0, 0.0
    for lo in range(0, U, BLOCK):
        hi = min(lo + BLOCK, U)
        B = hi - lo
        if m > 1 or lo == 0 or hi == U:  # plain class probabilities are the same in all clusters
            for c in range(K):
                for i in range(B):
                    a[c, i] = 0.0
                add_columns(W, U, m, lo, alpha[:, c], a[c, :B])
            norm = normalise(a, B, K, top, pi)
        total -= norm
        for c in range(K):
            w = shape[c, 0] ** -2.0
            for b in range(p):
                delta[b] = beta[c, b] - offset[b]
            fixed(table, U, p, lo, delta, w, r[c, :B], dw[c, :B], e[c])
            if q > 0:
                random_effect(table, U, p, random[0], lo, w, C[c, 0, 0], r[c, :B], dw[c, :B], dfactor[c, :B], e[c])
            for i in range(B):
                r[c, i] += a[c, i]
        total += normalise(r, B, K, top, r)
        for c in range(K):
            w = shape[c, 0] ** -2.0
            dshape[c, 0] -= 2.0 * w / shape[c, 0] * dot(r[c, :B], dw[c, :B])
            if q > 0:
                dC[c, 0, 0] += dot(r[c, :B], dfactor[c, :B])
            for b in range(p):
                dbeta[c, b] += w * dot(r[c, :B], e[c, b, :B])
            for i in range(B):
                r[c, i] -= pi[c, i]
            for k in range(m):
                dalpha[k, c] += dot(r[c, :B], W[k * U + lo : k * U + hi])
    return total


@njit(cache=True, error_model="numpy")
def cluster_likelihoods(table, U, random, beta, offset, shape, C):
    """Log-likelihood of every cluster in every class, draw by draw: (S, U, K), for beta (S, K, p), shape (S, K, 2)."""
    S, K, p = beta.shape
    ll, dw, dC, e, delta = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty((p, BLOCK)), np.empty(p)
    out = np.empty((S, U, K))
    for t in range(S):
        for c in range(K):
            w = shape[t, c, 0] ** -2.0
            for a in range(p):
                delta[a] = beta[t, c, a] - offset[a]
            for lo in range(0, U, BLOCK):
                B = min(lo + BLOCK, U) - lo
                fixed(table, U, p, lo, delta, w, ll[:B], dw[:B], e)
                if len(random) > 0:
                    random_effect(table, U, p, random[0], lo, w, C[t, c, 0, 0], ll[:B], dw[:B], dC[:B], e)
                for i in range(B):
                    out[t, lo + i, c] = ll[i]
    return out
