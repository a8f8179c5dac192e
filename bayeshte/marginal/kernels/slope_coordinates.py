"""Random slopes of clusters in coordinates chosen by each cluster's information.

The sampled coordinates t_j are parametrised by information (as in information.py). A pilot says that near its mode the log
likelihood of the cluster's rows is g'f - f'A f / 2 in f = (b_j, s_j). With f ~ N(m, S) given the cluster's own variables,

    P = (S^-1 + A)^-1,   h = g - A m,   s_j = [m + P h]_s + C t_j,   C C' = P_ss:

t_j is nearly N(0, I), whatever the SD of the slopes and their correlations with the means are. The Jacobian is det C. The tables
move the coordinates, never the posterior. With G = d log p / d s_j (0 for b):

    dt = C' G,   dC = G t' + diag C^-1,   dP = G h' + [C -> P_ss],   dm = G - A P G,   dS = (I - A P) dP (I - P A).
"""

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.conditioning import condition, mean_of, posterior
from bayeshte.marginal.kernels.linear import OPTIONS, cholesky

BETWEEN = 1


@njit(**OPTIONS)
def slopes_of(t, A, g, mean, L, p, n, AL, R, inverse, P, h, u, C, s):
    """Slopes s (elements p to n of f) of a cluster at t; log det C. P, h, u and C as in the module's docstring."""
    for i in range(n):
        h[i] = g[i]
        for k in range(n):
            h[i] -= A[i, k] * mean[k]
    posterior(A, h, L, n, AL, R, inverse, P, u)
    ns = n - p
    for a in range(ns):
        for b in range(a + 1):
            C[a, b] = P[p + a, p + b]
    logdet = 0.5 * cholesky(C, ns)
    for a in range(ns):
        v = mean[p + a] + u[p + a]
        for b in range(a + 1):
            v += C[a, b] * t[b]
        s[a] = v
    return logdet


@njit(**OPTIONS)
def slopes_gradient(t, A, p, n, P, h, C, G, dC, dPs, dP, X, dt, dmean, dS):
    """From derivatives G in the slopes to those in t, and (added) in the mean and covariance of f; dC to X are scratch."""
    ns = n - p
    for a in range(ns):
        v = 0.0
        for b in range(a, ns):
            v += C[b, a] * G[b]
        dt[a] = v
        for b in range(a + 1):
            dC[a, b] = G[a] * t[b]
        dC[a, a] += 1.0 / C[a, a]
    cholesky_gradient(C, dC, ns, dPs)
    for i in range(n):  # dh = P G, and dm = G - A dh
        v = 0.0
        for a in range(ns):
            v += P[i, p + a] * G[a]
        X[0, i] = v
    for i in range(n):
        v = G[i - p] if i >= p else 0.0
        for k in range(n):
            v -= A[i, k] * X[0, k]
        dmean[i] = v
        for k in range(n):
            dP[i, k] = 0.5 * ((G[i - p] * h[k] if i >= p else 0.0) + (G[k - p] * h[i] if k >= p else 0.0))
    for a in range(ns):
        for b in range(ns):
            dP[p + a, p + b] += dPs[a, b]
    for i in range(n):  # X = dP (I - P A)
        for k in range(n):
            v = dP[i, k]
            for a in range(n):
                w = 0.0
                for b in range(n):
                    w += P[a, b] * A[b, k]
                v -= dP[i, a] * w
            X[i, k] = v
    for i in range(n):  # dS += (I - A P) X
        for k in range(n):
            v = X[i, k]
            for a in range(n):
                w = 0.0
                for b in range(n):
                    w += A[i, b] * P[b, a]
                v -= w * X[a, k]
            dS[i, k] += v


@njit(**OPTIONS)
def cholesky_gradient(C, dC, n, dS):
    """From derivatives in the lower factor C of S to those in S (symmetric)."""
    if n == 1:
        dS[0, 0] = 0.5 * dC[0, 0] / C[0, 0]
        return
    F, inverse = np.zeros((n, n)), np.zeros((n, n))
    for a in range(n):
        for b in range(a + 1):
            v = 0.0
            for c in range(a, n):
                v += C[c, a] * dC[c, b]
            F[a, b] = v if a != b else 0.5 * v
    for b in range(n):
        for a in range(b, n):
            v = 1.0 if a == b else 0.0
            for c in range(b, a):
                v -= C[a, c] * inverse[c, b]
            inverse[a, b] = v / C[a, a]
    for a in range(n):
        for b in range(n):
            v = 0.0
            for c in range(a, n):
                for d in range(b, n):
                    v += inverse[c, a] * 0.5 * (F[c, d] + F[d, c]) * inverse[d, b]
            dS[a, b] = v


@njit(**OPTIONS)
def slopes(sizes, tables, S, K, t, out):
    """The slopes (cluster, slope) at coordinates t."""
    p, Q, M, J = sizes
    (active, targets, slope_cells, wcombos, vcombos), by_ints, by_floats = tables
    n = len(targets)
    ns = n - p
    width, NV = Q + M + n * n + n, len(vcombos)
    Vi, C, L = np.empty((NV, M, M)), np.empty((NV, n, M)), np.zeros((NV, n, n))
    for v in range(NV):
        condition(targets, n, vcombos[v, 2:], vcombos[v, 1] - ns, S[vcombos[v, 0], BETWEEN], Vi[v], C[v], L[v])
    AL, R, inverse, P = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    h, u, mean, e, root_of = np.empty(n), np.empty(n), np.empty(n), np.empty(M), np.empty((ns, ns))
    for j in range(J):
        v = by_ints[0][j, 0]
        f = by_floats[0][j * width : (j + 1) * width]
        A, g = f[Q + M : Q + M + n * n].reshape((n, n)), f[Q + M + n * n :]
        mean_of(targets, n, vcombos[v, 2:], vcombos[v, 1] - ns, K[vcombos[v, 0]], f[:Q], f[Q:], C[v], e, mean)
        mine = slice(j * ns, (j + 1) * ns)
        slopes_of(t[mine], A, g, mean, L[v], p, n, AL, R, inverse, P, h, u, root_of, out[mine])
