"""Normal vectors f of clusters given others, v: their distribution, its derivatives, and that given data as well.

(v, f) ~ N(m, S), so f | v ~ N(m_f + C e, L L') with e = v - m_v, C = S_fv S_vv^-1 and L L' = S_ff - C S_vf, perhaps singular.
Data with the log likelihood h'f - f'A f / 2 in f leave it the covariance P = L (I + L'A L)^-1 L'.
"""

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, inverse_from_cholesky, root


@njit(**OPTIONS)
def condition(targets, n, seen, m, S, Vi, C, L):
    """f given v: inverse of S_vv, C = S_fv S_vv^-1, root L of S_ff - C S_vf; log det S_vv, NaN if not positive definite."""
    V = np.empty((m, m))
    for i in range(m):
        for j in range(m):
            V[i, j] = S[seen[i], seen[j]]
    logdet = cholesky(V, m)
    inverse_from_cholesky(V, Vi, m)
    Sc = np.empty((n, n))
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(m):
                s += S[targets[i], seen[k]] * Vi[k, j]
            C[i, j] = s
        for j in range(n):
            s = S[targets[i], targets[j]]
            for k in range(m):
                s -= C[i, k] * S[seen[k], targets[j]]
            Sc[i, j] = s
    for i in range(n):  # what v determines, but for rounding
        if Sc[i, i] < 1e-13 * S[targets[i], targets[i]]:
            for j in range(n):
                Sc[i, j] = Sc[j, i] = 0.0
    root(Sc, L, n)
    return logdet


@njit(**OPTIONS)
def uncondition(targets, n, seen, m, Vi, C, dSc, dC, dS):
    """From derivatives in the covariance of f given v and in C to those in S (added, not symmetric)."""
    for i in range(n):
        for j in range(n):
            dS[targets[i], targets[j]] += dSc[i, j]
    X, Y = np.empty((n, m)), np.empty((n, m))  # dSc C, dC Vi
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(n):
                s += dSc[i, k] * C[k, j]
            X[i, j] = s
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(m):
                s += dC[i, k] * Vi[k, j]
            dS[targets[i], seen[j]] += s - X[i, j]
            dS[seen[j], targets[i]] -= X[i, j]
            Y[i, j] = s
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(n):
                s += C[k, i] * (X[k, j] - Y[k, j])
            dS[seen[i], seen[j]] += s


@njit(**OPTIONS)
def posterior(A, h, L, n, AL, R, inverse, P, u):
    """P = L (I + L'A L)^-1 L' and u = P h; log det (I + L'A L). AL, R and inverse are scratch."""
    for i in range(n):
        for k in range(n):
            s = 0.0
            for a in range(k, n):
                s += A[i, a] * L[a, k]
            AL[i, k] = s
    for i in range(n):
        for k in range(i + 1):
            s = 1.0 if i == k else 0.0
            for a in range(i, n):
                s += L[a, i] * AL[a, k]
            R[i, k] = s
    logdet = cholesky(R, n)
    inverse_from_cholesky(R, inverse, n)
    for i in range(n):
        for k in range(n):
            s = 0.0
            for a in range(i + 1):
                s += L[i, a] * inverse[a, k]
            AL[i, k] = s
    for i in range(n):
        for k in range(i + 1):
            s = 0.0
            for a in range(k + 1):
                s += AL[i, a] * L[k, a]
            P[i, k] = P[k, i] = s
    for i in range(n):
        s = 0.0
        for k in range(n):
            s += P[i, k] * h[k]
        u[i] = s
    return logdet


@njit(**OPTIONS)
def mean_of(targets, n, own, m, K, q, values, C, e, mean):
    """Mean of f given the cluster's own variables; e is how far these are from theirs."""
    Q = len(q)
    for i in range(m):
        v = values[i]
        for k in range(Q):
            v -= K[own[i], k] * q[k]
        e[i] = v
    for i in range(n):
        v = 0.0
        for k in range(Q):
            v += K[targets[i], k] * q[k]
        for k in range(m):
            v += C[i, k] * e[k]
        mean[i] = v
