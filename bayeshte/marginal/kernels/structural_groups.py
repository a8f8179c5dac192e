"""Groups of a structural model: sums over vectors with the distribution N(K q, V), V = w_W S_W + w_B S_B, many groups at once.

Groups that see the same variables in the same context make a *batch*; they differ in n', the weights and their data only. Their
numbers stand side by side, one *lane* a group, so that the innermost loops run over lanes: a processor takes four or eight of
them at a time, and a hundred cluster sizes cost what a dozen cost. With L L' = V, R the residual cross-products around K:

    log p = -1/2 [n' log det V + tr Z],   Z = L^-1 R L^-T,   R = R_0 + D Q D',   D = K - k,
    dV = 1/2 L^-T (Z - n' I) L^-1,        dK = -V^-1 D Q.

A batch in the tables. ints: lanes, context, m, variables [M]. floats, for each a row of lanes: n', w_W, w_B, R_0 (m m), k (m Q),
Q (Q Q).
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS

WITHIN, BETWEEN = 0, 1


@njit(inline="always")
def groups(batches, P, Q, ints, floats, S, K, dS, dK):
    """Log-likelihood of the groups; adds to the derivatives in S (context, level) and K (context)."""
    ll, at, most = 0.0, 0, 1
    for b in range(batches):
        most = max(most, ints[b, 0])
    square, wide = np.empty((3, P, P, most)), np.empty((2, P, Q, most))
    for b in range(batches):
        lanes, context, m = ints[b, 0], ints[b, 1], ints[b, 2]
        size = 3 + m * m + m * Q + Q * Q
        rows = floats[at : at + size * lanes].reshape((size, lanes))
        at += size * lanes
        given = (m, Q, ints[b, 3:], rows, S[context], K[context], dS[context], dK[context], square, wide)
        if lanes == 1:
            ll += batch(None, *given)
        else:
            ll += batch(lanes, *given)
    return ll


@njit(**OPTIONS)
def batch(lanes, m, Q, seen, rows, S, K, dS, dK, square, wide):
    """One batch. `lanes` is None for a single one: numba then knows the length of the innermost loops and removes them."""
    if lanes is None:
        count = 1
    else:
        count = lanes
    V, X, R, D, T = square[0], square[1], square[2], wide[0], wide[1]
    n, within, between = rows[0], rows[1], rows[2]
    for i in range(m):
        for j in range(i + 1):
            a, b, cross = S[WITHIN, seen[i], seen[j]], S[BETWEEN, seen[i], seen[j]], rows[3 + i * m + j]
            for l in range(count):
                V[i, j, l] = within[l] * a + between[l] * b
                R[i, j, l] = cross[l]
    residuals(lanes, m, Q, seen, rows, K, R, D, T)
    ll = -0.5 * inverse_factor(lanes, m, n, V, X)
    standardise(lanes, m, X, R, V)
    for i in range(m):
        for l in range(count):
            ll -= 0.5 * R[i, i, l]
            R[i, i, l] -= n[l]
    for i in range(m):  # V = (Z - n' I) L^-1, of which the lower triangle is filled
        for j in range(m):
            for l in range(count):
                V[i, j, l] = 0.0
            for k in range(j, m):
                z = R[i, k] if k <= i else R[k, i]
                for l in range(count):
                    V[i, j, l] += z[l] * X[k, j, l]
    for i in range(m):
        for j in range(i + 1):
            w, b = 0.0, 0.0
            for k in range(i, m):
                for l in range(count):
                    d = X[k, i, l] * V[k, j, l]
                    w += within[l] * d
                    b += between[l] * d
            half = 0.5 if i == j else 1.0  # both halves of a symmetric matrix stand in its lower one
            dS[WITHIN, seen[i], seen[j]] += half * w
            dS[BETWEEN, seen[i], seen[j]] += half * b
    for q in range(Q):
        for i in range(m):
            for l in range(count):
                D[i, q, l] = 0.0
            for k in range(i + 1):
                for l in range(count):
                    D[i, q, l] += X[i, k, l] * T[k, q, l]
        for i in range(m):
            s = 0.0
            for k in range(i, m):
                for l in range(count):
                    s += X[k, i, l] * D[k, q, l]
            dK[seen[i], q] -= s
    return ll


@njit(**OPTIONS)
def residuals(lanes, m, Q, seen, rows, K, R, D, T):
    """D = K - k, T = D Q, and R += T D' in its lower triangle."""
    if lanes is None:
        count = 1
    else:
        count = lanes
    for i in range(m):
        for q in range(Q):
            mean, k = K[seen[i], q], rows[3 + m * m + i * Q + q]
            for l in range(count):
                D[i, q, l] = mean - k[l]
                T[i, q, l] = 0.0
        for q in range(Q):
            for r in range(Q):
                product = rows[3 + m * m + m * Q + r * Q + q]
                for l in range(count):
                    T[i, q, l] += D[i, r, l] * product[l]
        for j in range(i + 1):
            for q in range(Q):
                for l in range(count):
                    R[i, j, l] += T[i, q, l] * D[j, q, l]


@njit(**OPTIONS)
def inverse_factor(lanes, m, n, V, X):
    """X = L^-1, lower, of L L' = V; V is overwritten. The sum of n' log det V; NaN if one is not positive definite."""
    if lanes is None:
        count = 1
    else:
        count = lanes
    total = 0.0
    product = np.ones(count)  # one logarithm for several pivots
    for j in range(m):
        for k in range(j):
            for l in range(count):
                V[j, j, l] -= V[j, k, l] * V[j, k, l]
        for l in range(count):
            d = V[j, j, l]
            if not 1e-150 < product[l] * d < 1e150:
                total += n[l] * math.log(product[l])
                product[l] = 1.0
            product[l] *= d
            V[j, j, l] = 1.0 / math.sqrt(d)
        for i in range(j + 1, m):
            for k in range(j):
                for l in range(count):
                    V[i, j, l] -= V[i, k, l] * V[j, k, l]
            for l in range(count):
                V[i, j, l] *= V[j, j, l]
    for l in range(count):
        total += n[l] * math.log(product[l])
    for j in range(m):
        for l in range(count):
            X[j, j, l] = V[j, j, l]
        for i in range(j + 1, m):
            for l in range(count):
                X[i, j, l] = 0.0
            for k in range(j, i):
                for l in range(count):
                    X[i, j, l] -= V[i, k, l] * X[k, j, l]
            for l in range(count):
                X[i, j, l] *= V[i, i, l]
    return total


@njit(**OPTIONS)
def standardise(lanes, m, X, R, V):
    """R becomes X R X', symmetric matrices in their lower triangles; V is overwritten."""
    if lanes is None:
        count = 1
    else:
        count = lanes
    for i in range(m):
        for j in range(m):
            for l in range(count):
                V[i, j, l] = 0.0
            for k in range(i + 1):
                r = R[k, j] if k >= j else R[j, k]
                for l in range(count):
                    V[i, j, l] += X[i, k, l] * r[l]
    for i in range(m):
        for j in range(i + 1):
            for l in range(count):
                R[i, j, l] = 0.0
            for k in range(j + 1):
                for l in range(count):
                    R[i, j, l] += V[i, k, l] * X[j, k, l]
