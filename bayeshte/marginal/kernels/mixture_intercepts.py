"""Random intercepts of clusters beside classes of rows: sampled, in coordinates that a pilot makes easy (as in information.py).

u_j = C y_j with C the SD. The pilot gives, for every cluster j, the information A_j about u_j, B_jc about it and the coefficients
beta_c of class c together, and g_j = A_j u_j + score at the mode of u_j. With h = g - sum_c B_c' (beta_c - offset_c) and
M = 1 + C^2 A, the coordinate t gives

    y = C h / M + t / sqrt M,   log |dy / dt| = -1/2 log M,   y ~ N(0, 1) before the data are seen.

Tables: offset (K p), A (J), g (J), B (J K p).
"""

import math

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@njit(**OPTIONS)
def intercepts(t, C, beta, table, K, p, J, h, y, u):
    """h, y and u of every cluster; log density of y with its Jacobian in t, summed."""
    lp = 0.0
    A, g, B = table[K * p : K * p + J], table[K * p + J : K * p + 2 * J], table[K * p + 2 * J :]
    for j in range(J):
        h[j] = g[j]
        for c in range(K):
            for a in range(p):
                h[j] -= B[(j * K + c) * p + a] * (beta[c, a] - table[c * p + a])
        M = 1.0 + C * C * A[j]
        y[j] = C * h[j] / M + t[j] / math.sqrt(M)
        u[j] = C * y[j]
        lp -= 0.5 * y[j] * y[j] + HALF_LOG_2PI + 0.5 * math.log(M)
    return lp


@njit(**OPTIONS)
def intercepts_gradient(t, C, table, K, p, J, h, y, du, dt, dbeta):
    """From the score du in u: derivatives in t (set), beta (added); returns that in C."""
    dC = 0.0
    A, B = table[K * p : K * p + J], table[K * p + 2 * J :]
    for j in range(J):
        M = 1.0 + C * C * A[j]
        root = math.sqrt(M)
        dy = C * du[j] - y[j]
        dt[j] = dy / root
        dC += du[j] * y[j] - C * A[j] / M
        dC += dy * (h[j] / M - C * A[j] * (2.0 * C * h[j] / (M * M) + t[j] / (M * root)))
        for c in range(K):
            for a in range(p):
                dbeta[c, a] -= B[(j * K + c) * p + a] * dy * C / M
    return dC
