"""Parts f_j of clusters that are sampled, f_j ~ N(m_j, L L') given the clusters' own variables, parametrised by information.

A pilot says that near its mode the log likelihood of a cluster's rows is g'f - f'A f / 2. With f = m + L y,

    M = I + L'A L = R R',  W = R^-1,  h = g - A m,  e = W L'h,  k = e + t,  y = W'k:

t is nearly N(0, I), whatever the SDs are (as in information.py, where m = 0). L may be singular: a part that has no variance of
its own. The log density of t is -|y|^2 / 2 - log det R. With G the derivative of the rows in f, D that of all else in y,

    dy = L'G + D - y,  dt = W dy,  dx = W'dt,  dh = L dx,  dm = G - A dh,  dL = G y' + h dx' - A L W'Q W,

Q symmetric with the lower triangle of k dt' + dt e' + I.
"""

import math

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS


@njit(**OPTIONS)
def locate(j, t, pilot, mean, L, n, places, f):
    """f of cluster j at t, and -|y|^2 / 2 - log det R; what `pull_back` needs is kept in `places`.

    All arrays are those of all clusters, first axis j (t is flat; a row of pilot is A, g): views of them would cost more than the
    arithmetic.
    """
    AL, W, h, e, y = places
    for i in range(n):
        h[j, i] = pilot[j, n * n + i]
        for k in range(n):
            h[j, i] -= pilot[j, i * n + k] * mean[j, k]
            s = 0.0
            for a in range(k, n):
                s += pilot[j, i * n + a] * L[a, k]
            AL[j, i, k] = s
    log_det = 0.0
    for k in range(n):  # I + L'A L to its root, column by column
        for i in range(k, n):
            s = 1.0 if i == k else 0.0
            for a in range(i, n):
                s += L[a, i] * AL[j, a, k]
            for c in range(k):
                s -= W[j, i, c] * W[j, k, c]
            if i == k:
                log_det += math.log(s)
                W[j, k, k] = math.sqrt(s)
            else:
                W[j, i, k] = s / W[j, k, k]
    for b in range(n):  # and to the inverse of that
        W[j, b, b] = 1.0 / W[j, b, b]
        for a in range(b + 1, n):
            s = 0.0
            for c in range(b, a):
                s -= W[j, a, c] * W[j, c, b]
            W[j, a, b] = s / W[j, a, a]
    for a in range(n):
        y[j, a] = 0.0
        for c in range(a, n):
            y[j, a] += L[c, a] * h[j, c]
    for a in range(n):
        e[j, a] = 0.0
        for b in range(a + 1):
            e[j, a] += W[j, a, b] * y[j, b]
    square = 0.0
    for a in range(n):
        s = 0.0
        for b in range(a, n):
            s += W[j, b, a] * (e[j, b] + t[j * n + b])
        y[j, a] = s
        square += s * s
    for a in range(n):
        f[j, a] = mean[j, a]
        for b in range(a + 1):
            f[j, a] += L[a, b] * y[j, b]
    return -0.5 * (square + log_det)


@njit(**OPTIONS)
def pull_back(j, t, pilot, L, n, places, G, D, dt, scratch, dmean, dL):
    """From G and D to the derivatives in t and the mean (set) and in L (added); dL is of L alone, scratch (3, n, n)."""
    AL, W, h, e, y = places
    Q, X, more = scratch[0], scratch[1], scratch[2]
    for a in range(n):
        s = D[a] - y[j, a]
        for c in range(a, n):
            s += L[c, a] * G[j, c]
        dmean[a] = s  # dy, for now
    for a in range(n):
        s = 0.0
        for b in range(a + 1):
            s += W[j, a, b] * dmean[b]
        dt[j * n + a] = s
    for a in range(n):
        s = 0.0
        for b in range(a, n):
            s += W[j, b, a] * dt[j * n + b]
        more[0, a] = s  # dx
    for a in range(n):
        s = 0.0
        for b in range(a + 1):
            s += L[a, b] * more[0, b]
        X[0, a] = s  # dh
    for a in range(n):
        s = G[j, a]
        for b in range(n):
            s -= pilot[j, a * n + b] * X[0, b]
        dmean[a] = s
    for a in range(n):
        for b in range(a + 1):
            dL[a, b] += G[j, a] * y[j, b] + h[j, a] * more[0, b]
            s = (e[j, a] + t[j * n + a]) * dt[j * n + b] + dt[j * n + a] * e[j, b]
            Q[a, b] = Q[b, a] = s + 1.0 if a == b else s
    for a in range(n):
        for b in range(n):
            s = 0.0
            for c in range(b + 1):
                s += AL[j, a, c] * W[j, b, c]
            X[a, b] = s
    for a in range(n):
        for b in range(n):
            s = 0.0
            for c in range(n):
                s += X[a, c] * Q[c, b]
            more[a, b] = s
    for a in range(n):
        for b in range(a + 1):
            for c in range(b, n):
                dL[a, b] -= more[a, c] * W[j, c, b]


@njit(**OPTIONS)
def root_gradient(L, dL, n, dS):
    """From derivatives in the root L of a positive semidefinite S, which are used up, to those in S (set, symmetric)."""
    for i in range(n):
        for j in range(n):
            dS[i, j] = 0.0
    for i in range(n - 1, -1, -1):
        for j in range(i, -1, -1):
            if L[j, j] == 0.0:
                continue
            g = dL[i, j] / L[j, j]
            if i == j:
                g *= 0.5
                dS[i, i] += g
                for k in range(i):
                    dL[i, k] -= 2.0 * g * L[i, k]
                continue
            dS[i, j] += 0.5 * g
            dS[j, i] += 0.5 * g
            dL[j, j] -= g * L[i, j]
            for k in range(j):
                dL[i, k] -= g * L[j, k]
                dL[j, k] -= g * L[i, k]
