"""Parts f_j of clusters that are sampled, f_j ~ N(m_j, L L') given the clusters' own variables, parametrised by information.

A pilot says that near its mode the log likelihood of a cluster's rows is g'f - f'A f / 2. With f = m + L y,

    M = I + L'A L = R R',  W = R^-1,  h = g - A m,  e = W L'h,  k = e + t,  y = W'k:

t is nearly N(0, I), whatever the SDs are (as in information.py, where m = 0). L may be singular: a part that has no variance of
its own. The log density of t is -|y|^2 / 2 - log det R. With G the derivative of the rows in f,

    dy = L'G - y,  dt = W dy,  dx = W'dt,  dh = L dx,  dm = G - A dh,  dL = G y' + h dx' - A L W'Q W,

Q symmetric with the lower triangle of k dt' + dt e' + I.
"""

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky


@njit(**OPTIONS)
def locate(t, A, g, mean, L, n, AL, W, h, e, y, f):
    """f of a cluster at t, and -|y|^2 / 2 - log det R; AL to y are kept for `pull_back`."""
    for i in range(n):
        h[i] = g[i]
        for k in range(n):
            h[i] -= A[i, k] * mean[k]
            s = 0.0
            for a in range(k, n):
                s += A[i, a] * L[a, k]
            AL[i, k] = s
    for i in range(n):
        for k in range(i + 1):
            s = 1.0 if i == k else 0.0
            for a in range(i, n):
                s += L[a, i] * AL[a, k]
            W[i, k] = s
    lp = -0.5 * cholesky(W, n)
    for b in range(n):  # the inverse of a lower triangle in its own place, column by column
        W[b, b] = 1.0 / W[b, b]
        for a in range(b + 1, n):
            s = 0.0
            for c in range(b, a):
                s -= W[a, c] * W[c, b]
            W[a, b] = s / W[a, a]
    for a in range(n):
        s = 0.0
        for c in range(a, n):
            s += L[c, a] * h[c]
        y[a] = s
    for a in range(n - 1, -1, -1):
        s = 0.0
        for b in range(a + 1):
            s += W[a, b] * y[b]
        e[a] = s
    for a in range(n):
        s = 0.0
        for b in range(a, n):
            s += W[b, a] * (e[b] + t[b])
        y[a] = s
        lp -= 0.5 * s * s
    for a in range(n):
        s = mean[a]
        for b in range(a + 1):
            s += L[a, b] * y[b]
        f[a] = s
    return lp


@njit(**OPTIONS)
def pull_back(t, A, L, n, AL, W, h, e, y, G, dt, dx, Q, X, dmean, dL):
    """From G to the derivatives in t and the mean (set) and in L (added); dx, Q and X are scratch."""
    for a in range(n):
        s = -y[a]
        for c in range(a, n):
            s += L[c, a] * G[c]
        dmean[a] = s  # dy, for now
    for a in range(n):
        s = 0.0
        for b in range(a + 1):
            s += W[a, b] * dmean[b]
        dt[a] = s
    for a in range(n):
        s = 0.0
        for b in range(a, n):
            s += W[b, a] * dt[b]
        dx[a] = s
    for a in range(n):
        s = 0.0
        for b in range(a + 1):
            s += L[a, b] * dx[b]
        Q[0, a] = s  # dh
    for a in range(n):
        s = G[a]
        for b in range(n):
            s -= A[a, b] * Q[0, b]
        dmean[a] = s
    for a in range(n):
        for b in range(a + 1):
            s = (e[a] + t[a]) * dt[b] + dt[a] * e[b]
            Q[a, b] = Q[b, a] = s + 1.0 if a == b else s
    for a in range(n):  # A L W'Q
        for b in range(n):
            s = 0.0
            for c in range(n):
                v = 0.0
                for d in range(c + 1):
                    v += AL[a, d] * W[c, d]
                s += v * Q[c, b]
            X[a, b] = s
    for a in range(n):
        for b in range(a + 1):
            s = G[a] * y[b] + h[a] * dx[b]
            for c in range(b, n):
                s -= X[a, c] * W[c, b]
            dL[a, b] += s


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
