"""Effects u_j = C y_j, y_j ~ N(0, I), of clusters (or items), sampled in coordinates parametrised by information.

A pilot fit gives every cluster fixed tables A_j, g_j, B_j so that near it the log-likelihood is h_j' u_j - r u_j' A_j u_j / 2
with h_j = r [g_j - B_j delta], delta the distance of other parameters from their values in the pilot. The sampled coordinates
t_j are the noise of the conditional distribution that this approximation implies,

    M_j = I + r C' A_j C = R_j R_j',   y_j = M_j^-1 C' h_j + R_j^-T t_j,   u_j = C y_j,

so t_j is nearly N(0, I) and nearly independent of everything else: exactly so for a Gaussian likelihood. A_j = 0 is the
non-centred form, large A_j the centred one. The tables move the coordinates, never the posterior.

Derivatives. With W = R^-1, m = C' h, e = W m, k = e + t, y = W' k, and the score G = d log p(y_j | u_j) / d u_j:

    dy = C' G - y,   dt = W dy,   dm = W' dt,   dh = C dm,   dC = G y' + h dm' - r A C W' Q W,
    d log r = e' dt + (tr W' Q W - tr Q) / 2,   Q = symmetric with the lower triangle of k dt' + dt e', plus I.

Q is from the reverse mode of the Cholesky factor (Murray, 2016, arXiv:1602.07527), which takes the lower triangle of
R' dR; here that is the lower triangle of -(k dt' + dt e' + I).

Tables: A (q q J), g (q J), B (q p J), the cluster varying fastest; it is the last, contiguous axis of all arrays here, so that
the loops over clusters are vectorised.
"""

import math

from numba import njit

from bayeshte.marginal.kernels.rows import SUMS, log1p

H, E, K, Y, U = 0, 1, 2, 3, 4  # vectors of the clusters of a group, v[H, a, g]: h, e, k, y, u


@njit(**SUMS)
def factorise(A, ratio, J, j0, m, C, q, AC, R, W):
    """r A C, the factor R of M = I + r C' A C with 1 / R_aa on its diagonal, and W = R^-1; the sum of log det M."""
    logdet = 0.0
    for a in range(q):
        for b in range(q):
            for g in range(m):
                AC[a, b, g] = 0.0
            for c in range(b, q):
                row = (a * q + c) * J + j0
                for g in range(m):
                    AC[a, b, g] += A[row + g] * (ratio * C[c, b])
    for b in range(q):
        for a in range(b, q):
            for g in range(m):
                R[a, b, g] = 1.0 if a == b else 0.0
            for c in range(a, q):
                for g in range(m):
                    R[a, b, g] += C[c, a] * AC[c, b, g]
            for c in range(b):
                for g in range(m):
                    R[a, b, g] -= R[a, c, g] * R[b, c, g]
        for g in range(m):
            logdet += log1p(R[b, b, g] - 1.0)
            R[b, b, g] = 1.0 / math.sqrt(R[b, b, g])
        for a in range(b + 1, q):
            for g in range(m):
                R[a, b, g] *= R[b, b, g]
    for b in range(q):
        for a in range(b, q):
            for g in range(m):
                W[a, b, g] = 1.0 if a == b else 0.0
            for c in range(b, a):
                for g in range(m):
                    W[a, b, g] -= R[a, c, g] * W[c, b, g]
            for g in range(m):
                W[a, b, g] *= R[a, a, g]
    return logdet


@njit(**SUMS)
def locate(tables, ratio, J, j0, m, z, d, delta, C, p, q, AC, R, W, v):
    """From the sampled t to h, e, k, y, u of the clusters j0 .. j0 + m - 1; the sum of |y|^2 + log det M."""
    total = factorise(tables, ratio, J, j0, m, C, q, AC, R, W)
    for a in range(q):
        row = (q * q + a) * J + j0
        for g in range(m):
            v[H, a, g] = ratio * tables[row + g]
        for c in range(p):
            row = (q * q + q + a * p + c) * J + j0
            for g in range(m):
                v[H, a, g] -= tables[row + g] * (ratio * delta[c])
    for a in range(q):
        for g in range(m):  # C' h, until k is known
            v[Y, a, g] = 0.0
        for c in range(a, q):
            for g in range(m):
                v[Y, a, g] += C[c, a] * v[H, c, g]
    for a in range(q):
        for g in range(m):
            v[E, a, g] = 0.0
        for b in range(a + 1):
            for g in range(m):
                v[E, a, g] += W[a, b, g] * v[Y, b, g]
        for g in range(m):
            v[K, a, g] = v[E, a, g] + z[d + (j0 + g) * q + a]
    for a in range(q):
        for g in range(m):
            v[Y, a, g] = 0.0
        for b in range(a, q):
            for g in range(m):
                v[Y, a, g] += W[b, a, g] * v[K, b, g]
        for g in range(m):
            total += v[Y, a, g] * v[Y, a, g]
    for a in range(q):
        for g in range(m):
            v[U, a, g] = 0.0
        for b in range(a + 1):
            for g in range(m):
                v[U, a, g] += C[a, b] * v[Y, b, g]
    return total


@njit(**SUMS)
def pull_back(tables, ratio, J, j0, m, C, p, q, AC, Q, W, v, du, dy, dt, dm, T, grad, d, ddelta, dC):
    """From the score in u to the derivatives in t (to grad), delta and C (added); returns that in log r."""
    for a in range(q):
        for g in range(m):
            dy[a, g] = -v[Y, a, g]
        for c in range(a, q):
            for g in range(m):
                dy[a, g] += C[c, a] * du[c, g]
    for a in range(q):
        for g in range(m):
            dt[a, g] = 0.0
        for b in range(a + 1):
            for g in range(m):
                dt[a, g] += W[a, b, g] * dy[b, g]
        for g in range(m):
            grad[d + (j0 + g) * q + a] = dt[a, g]
    for a in range(q):
        for g in range(m):
            dm[a, g] = 0.0
        for b in range(a, q):
            for g in range(m):
                dm[a, g] += W[b, a, g] * dt[b, g]
    for a in range(q):
        for c in range(p):
            s, row = 0.0, (q * q + q + a * p + c) * J + j0
            for b in range(a + 1):
                for g in range(m):
                    s += tables[row + g] * C[a, b] * dm[b, g]
            ddelta[c] -= ratio * s
    dratio = 0.0
    for a in range(q):
        for b in range(a + 1):
            for g in range(m):
                s = v[K, a, g] * dt[b, g] + dt[a, g] * v[E, b, g]
                Q[a, b, g] = Q[b, a, g] = s + 1.0 if a == b else s
        for g in range(m):
            dratio += dt[a, g] * v[E, a, g] - 0.5 * Q[a, a, g]
    for a in range(q):
        for b in range(q):
            for g in range(m):  # A C W'
                T[a, b, g] = 0.0
            for c in range(b + 1):
                for g in range(m):
                    T[a, b, g] += AC[a, c, g] * W[b, c, g]
    for a in range(q):
        for b in range(a + 1):
            s = 0.0
            for g in range(m):
                s += du[a, g] * v[Y, b, g] + v[H, a, g] * dm[b, g]
            for c in range(b, q):
                for i in range(q):
                    for g in range(m):
                        s -= T[a, i, g] * Q[i, c, g] * W[c, b, g]
            dC[a, b] += s
    for a in range(q):
        for b in range(q):
            for c in range(min(a, b) + 1):
                for g in range(m):
                    dratio += 0.5 * Q[a, b, g] * W[a, c, g] * W[b, c, g]
    return dratio
