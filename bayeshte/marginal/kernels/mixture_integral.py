"""Likelihood of clusters whose rows belong to classes, the intercept that they share integrated by adaptive quadrature.

For draw t and cluster j, with u = sd y, y ~ N(0, 1), and f(y) = sum_i log sum_c pi_ic p(y_i | x_i' beta_c + sd y) - y^2 / 2, the
integral of exp f(y) / sqrt(2 pi) is that of glmm_integral.py with one random effect: nodes around the mode of f.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.mixture_rows import add_columns, normalise, point_of_family

STEPS, STEP, CLOSE = 60, 1e-4, 1e-5  # of Newton's method: at most; of the differences; when it ends


@njit(**OPTIONS)
def at(y, sd, family, fixed, chance, n, s, shape, eta, a, r, score, dsigma, dnu, top):
    """f(y) and its derivative."""
    K, B = len(fixed), len(n)
    for c in range(K):
        for i in range(B):
            eta[i] = fixed[c, i] + sd * y
        point_of_family(family, eta[:B], n, s, shape[c], a[c, :B], score[c, :B], dsigma[:B], dnu[:B])
        for i in range(B):
            a[c, i] += chance[c, i]
    value, slope = normalise(a, B, K, top, r), 0.0
    for c in range(K):
        for i in range(B):
            slope += r[c, i] * score[c, i]
    return value - 0.5 * y * y, sd * slope - y


@njit(**OPTIONS)
def mode(given):
    """The mode of f from 0, and the square root of the curvature there, at least 1."""
    y, moved, step, best, root = 0.0, 0.0, 0.0, -math.inf, 1.0
    for _ in range(STEPS):
        value, slope = at(moved, *given)
        if not value >= best:
            step *= 0.5
            moved = y + step
            continue
        y, best = moved, value
        up, down = at(y + STEP, *given)[1], at(y - STEP, *given)[1]
        curvature = max((down - up) / (2.0 * STEP), 1.0)
        root, step = math.sqrt(curvature), slope / curvature
        moved = y + step
        if abs(step) < CLOSE:
            break
    return y, root


@njit(cache=True, error_model="numpy", nogil=True)
def intercept_integrals(family, data, W, N, first, alpha, beta, shape, sd, nodes, log_weights, out):
    """Log-likelihood of every cluster at every draw, to out (S, J); rows sorted by cluster, data and W as in mixture_rows.py.

    Shapes: alpha (S, m, K), beta (S, K, p), shape (S, K, 2), sd (S,).
    """
    S, K, p = beta.shape
    J, m, longest = len(first) - 1, alpha.shape[1], 0
    for j in range(J):
        longest = max(longest, first[j + 1] - first[j])
    fixed, chance = np.empty((K, longest)), np.empty((K, longest))
    a, r, score = np.empty((K, longest)), np.empty((K, longest)), np.empty((K, longest))
    eta, dsigma, dnu, top = np.empty(longest), np.empty(longest), np.empty(longest), np.empty(longest)
    for t in range(S):
        for j in range(J):
            lo, hi = first[j], first[j + 1]
            B = hi - lo
            fixed[:], chance[:] = 0.0, 0.0
            for c in range(K):
                add_columns(data, N, p, lo, beta[t, c], fixed[c, :B])
                add_columns(W, N, m, lo, alpha[t, :, c], chance[c, :B])
            norm = normalise(chance, B, K, top, r)
            n, s = data[p * N + lo : p * N + hi], data[p * N + N + lo : p * N + N + hi]
            given = sd[t], family, fixed, chance, n, s, shape[t], eta, a, r, score, dsigma, dnu, top
            y, root = mode(given)
            best, total = -math.inf, 0.0
            for k in range(len(nodes)):
                x = nodes[k]
                value = at(y + x / root, *given)[0] + log_weights[k] + 0.5 * x * x
                if value > best:
                    total = total * math.exp(best - value) + 1.0
                    best = value
                else:
                    total += math.exp(value - best)
            out[t, j] = best + math.log(total) - math.log(root) - norm
