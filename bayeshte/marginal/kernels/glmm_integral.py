"""Likelihood of clusters whose outcomes are not Gaussian, their random effects integrated by adaptive quadrature.

For draw t and cluster j, with u = C y, y ~ N(0, I), f(y) = log p(y_j | C y) - |y|^2 / 2, its mode m and H = -f''(m) = R R':

    log integral of p(y_j | C y) N(y; 0, I) dy = log sum_k w_k exp(f(m + R'^-1 x_k) + |x_k|^2 / 2) - log det R,

with the nodes x_k and weights w_k of Gauss-Hermite quadrature for N(0, I) (Naylor & Smith, 1982). The curvature is that of
differences of the score, its Cholesky pivots kept at 1 or above: for a log-concave likelihood they are.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.outcomes import constant_of_family, rows_of_family

STEPS, STEP, CLOSE = 60, 1e-4, 1e-5  # of Newton's method: at most; of the differences; when it ends


@njit(**OPTIONS)
def at(y, family, fixed, Z, n, s, C, shape, eta, score, dshape, gradient):
    """f(y) up to the constant of the family, and its gradient."""
    q, B = len(y), len(fixed)
    for i in range(B):
        eta[i] = fixed[i]
    for a in range(q):
        u = 0.0
        for b in range(a + 1):
            u += C[a, b] * y[b]
        for i in range(B):
            eta[i] += u * Z[a, i]
    value = rows_of_family(family, eta[:B], n, s, shape, score[:B], dshape)
    for a in range(q):
        gradient[a] = -y[a]
        value -= 0.5 * y[a] * y[a]
    for a in range(q):
        t = 0.0
        for i in range(B):
            t += score[i] * Z[a, i]
        for b in range(a + 1):
            gradient[b] += C[a, b] * t
    return value


@njit(**OPTIONS)
def factor(H, q, R):
    """Lower Cholesky factor of H, pivots at least 1; the log of its determinant."""
    logdet = 0.0
    for a in range(q):
        for b in range(a + 1):
            t = H[a, b]
            for c in range(b):
                t -= R[a, c] * R[b, c]
            if a == b:
                R[a, a] = math.sqrt(max(t, 1.0))
                logdet += math.log(R[a, a])
            else:
                R[a, b] = t / R[b, b]
    return logdet


@njit(**OPTIONS)
def solve_transposed(R, q, x):
    """x becomes R'^-1 x."""
    for a in range(q - 1, -1, -1):
        for b in range(a + 1, q):
            x[a] -= R[b, a] * x[b]
        x[a] /= R[a, a]


@njit(**OPTIONS)
def mode(y, family, fixed, Z, n, s, C, shape, eta, score, dshape, R):
    """Newton's method from y, which becomes the mode; R at the mode is set, the log of its determinant returned."""
    q = len(y)
    gradient, up, down, H = np.empty(q), np.empty(q), np.empty(q), np.empty((q, q))
    moved, step, logdet = y.copy(), np.zeros(q), 0.0
    best = -math.inf
    for _ in range(STEPS):
        value = at(moved, family, fixed, Z, n, s, C, shape, eta, score, dshape, gradient)
        if not value >= best:
            for a in range(q):
                step[a] *= 0.5
                moved[a] = y[a] + step[a]
            continue
        best = value
        for a in range(q):
            y[a] = moved[a]
        for a in range(q):
            moved[a] = y[a] + STEP
            at(moved, family, fixed, Z, n, s, C, shape, eta, score, dshape, up)
            moved[a] = y[a] - STEP
            at(moved, family, fixed, Z, n, s, C, shape, eta, score, dshape, down)
            moved[a] = y[a]
            for b in range(q):
                H[a, b] = (down[b] - up[b]) / (2.0 * STEP)
        logdet, size = factor(H, q, R), 0.0
        for a in range(q):
            step[a] = gradient[a]
            for b in range(a):
                step[a] -= R[a, b] * step[b]
            step[a] /= R[a, a]
        solve_transposed(R, q, step)
        for a in range(q):
            size = max(size, abs(step[a]))
            moved[a] = y[a] + step[a]
        if size < CLOSE:
            break
    return logdet


@njit(cache=True, error_model="numpy", nogil=True)
def cluster_integrals(family, X, n, s, random, first, beta, C, shape, nodes, log_weights, out):
    """Log-likelihood of every cluster at every draw, to out (S, J); X (p, N), beta (S, p), C (S, q, q), shape (S, k)."""
    q, p, longest = len(random), len(X), 0
    for j in range(len(first) - 1):
        longest = max(longest, first[j + 1] - first[j])
    fixed, Z = np.empty(longest), np.empty((q, longest))
    eta, score, dshape = np.empty(longest), np.empty(longest), np.zeros(shape.shape[1])
    y, x, gradient, R = np.empty(q), np.empty(q), np.empty(q), np.zeros((q, q))
    for t in range(len(beta)):
        constant = constant_of_family(family, 1.0, shape[t], dshape)
        for j in range(len(first) - 1):
            lo, hi = first[j], first[j + 1]
            B = hi - lo
            for i in range(B):
                fixed[i] = 0.0
            for c in range(p):
                for i in range(B):
                    fixed[i] += beta[t, c] * X[c, lo + i]
            for a in range(q):
                y[a] = 0.0
                for i in range(B):
                    Z[a, i] = X[random[a], lo + i]
            given = family, fixed[:B], Z, n[lo:hi], s[lo:hi], C[t], shape[t], eta, score, dshape
            logdet = mode(y, *given, R)
            top, total = -math.inf, 0.0
            for k in range(len(nodes)):
                square = 0.0
                for a in range(q):
                    x[a] = nodes[k, a]
                    square += x[a] * x[a]
                solve_transposed(R, q, x)
                for a in range(q):
                    x[a] += y[a]
                value = at(x, *given, gradient) + log_weights[k] + 0.5 * square
                if value > top:
                    total = total * math.exp(top - value) + 1.0
                    top = value
                else:
                    total += math.exp(value - top)
            out[t, j] = top + math.log(total) - logdet + B * constant
