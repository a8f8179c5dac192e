"""Matrices of the level within clusters, of the variables that it has: A = (I - B)^-1, S = A Psi A', K = A c, and derivatives."""

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS


@njit(**OPTIONS)
def scatter(cell, M, Q, levels, active, Psi, B, c):
    """The within-level matrices of a context, of its `active` variables only, causes first."""
    m = len(active)
    for i in range(m):
        for j in range(m):
            Psi[i, j] = cell[active[i] * M + active[j]]
            B[i, j] = cell[levels * M * M + active[i] * M + active[j]]
        for q in range(Q):
            c[i, q] = cell[2 * levels * M * M + active[i] * Q + q]


@njit(**OPTIONS)
def gather(dPsi, dB, dc, M, Q, levels, active, dcell):
    """The inverse of `scatter`, for derivatives."""
    m = len(active)
    for i in range(m):
        for j in range(m):
            dcell[active[i] * M + active[j]] = dPsi[i, j]
            dcell[levels * M * M + active[i] * M + active[j]] = dB[i, j]
        for q in range(Q):
            dcell[2 * levels * M * M + active[i] * Q + q] = dc[i, q]


@njit(**OPTIONS)
def within_moments(Psi, B, c, m, Q, A, AP, S, K):
    """A = (I - B)^-1, S = A Psi A', K = A c for variables in causal order, so that A is lower triangular."""
    for i in range(m):
        for j in range(i):
            s = 0.0
            for k in range(j, i):
                s += B[i, k] * A[k, j]
            A[i, j] = s
        A[i, i] = 1.0
        for j in range(i + 1, m):
            A[i, j] = 0.0
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(i + 1):
                s += A[i, k] * Psi[k, j]
            AP[i, j] = s
        for q in range(Q):
            s = 0.0
            for k in range(i + 1):
                s += A[i, k] * c[k, q]
            K[i, q] = s
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(j + 1):
                s += AP[i, k] * A[j, k]
            S[i, j] = s


@njit(**OPTIONS)
def within_gradient(A, S, K, dS, dK, m, Q, X, Y, Z, dPsi, dB, dc):
    """Adds to the derivatives in Psi, B and c; those in B and c alone are left in Z and X."""
    for i in range(m):
        for j in range(m):  # A' dS
            s = 0.0
            for k in range(i, m):
                s += A[k, i] * dS[k, j]
            Y[i, j] = s
        for q in range(Q):
            s = 0.0
            for k in range(i, m):
                s += A[k, i] * dK[k, q]
            X[i, q] = s
            dc[i, q] += s
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(j, m):
                s += Y[i, k] * A[k, j]
            dPsi[i, j] += s
            s = 0.0
            for k in range(m):
                s += 2.0 * Y[i, k] * S[k, j]
            for q in range(Q):
                s += X[i, q] * K[j, q]
            Z[i, j] = s
            dB[i, j] += s
