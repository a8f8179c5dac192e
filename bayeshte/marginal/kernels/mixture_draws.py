"""Mixtures whose clusters' random effects are integrated by quadrature (cluster_integral.py), draw by draw of the parameters.

Shapes: alpha (S, m, K), beta (S, K, p), shape (S, K, 2), C (S, K, q, q), nodes (Q q); data and first are those of the tables of
mixture.py, sets is that of cluster_integral.py.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.cluster_integral import (
    derivatives,
    gather,
    integrate,
    log_likelihoods,
    solve_transposed,
    workspace,
)
from bayeshte.marginal.kernels.mixture_effects import whole_factor
from bayeshte.marginal.kernels.mixture_integral import longest, predictor
from bayeshte.marginal.kernels.mixture_rows import normalise

DEGREES, MARGIN = 4.0, 0.1  # of the proposals' t distribution; of the bound
ONE = 1, np.empty((1, 0))  # sets of a cluster that belongs to a class


@njit(cache=True, error_model="numpy", nogil=True)
def cluster_in_classes(family, data, N, first, random, nodes, log_weights, beta, shape, C, out):
    """Log-likelihood of every cluster in every class, to out (S, U, K)."""
    (S, K, p), q, Q, most = beta.shape, len(random), len(log_weights), longest(first)
    work, Z, zero, fixed = workspace(1, most, q, Q), np.empty((q, most)), np.zeros((1, most)), np.empty((1, most))
    y, R = np.empty(q), np.zeros((q, q))
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for t in range(S):
            for c in range(K):
                predictor(data, N, p, lo, B, beta[t, c], fixed[0])
                given = (
                    family,
                    n,
                    s,
                    fixed,
                    zero,
                    shape[t, c : c + 1],
                    Z,
                    B,
                    C[t, c],
                    ONE,
                    nodes,
                    log_weights,
                    work,
                    y,
                    R,
                )
                out[t, j, c] = integrate(*given)


@njit(cache=True, error_model="numpy", nogil=True)
def clusters_of_rows(
    family, data, W, N, first, random, sets, nodes, log_weights, alpha, beta, shape, C, spread, out, share
):
    """Log-likelihood of every cluster whose rows belong to classes, to out (S, J); P(class | y) of every row is added to share.

    Rows are sorted by cluster, W is (m N), spread (S,) the SD of membership; share is (K, N), or empty if it is not asked for.
    """
    (S, K, p), m, q, Q, most, (E, V) = beta.shape, alpha.shape[1], len(random), len(log_weights), longest(first), sets
    G = E * q + V.shape[1]
    work, Z, top = workspace(K, most, G, Q), np.empty((q, most)), np.empty(most)
    fixed, chance, pi = np.empty((K, most)), np.empty((K, most)), np.empty((K, most))
    score, of_row, dshape, dC = np.empty((K, most)), np.empty((K, most)), np.empty((K, 2)), np.zeros((G, G))
    y, R = np.empty(G), np.zeros((G, G))
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for t in range(S):
            for c in range(K):
                predictor(data, N, p, lo, B, beta[t, c], fixed[c])
                predictor(W, N, m, lo, B, alpha[t, :, c], chance[c])
            norm = normalise(chance, B, K, top, pi) if V.shape[1] == 0 else 0.0
            whole = whole_factor(E, G, C[t], spread[t])
            given = family, n, s, fixed, chance, shape[t], Z, B, whole, sets, nodes, log_weights, work, y, R
            out[t, j] = integrate(*given) - norm
            if share.shape[1] > 0:
                derivatives(Z, B, K, G, Q, sets, work, score, of_row, pi, dshape, dC)
                for c in range(K):
                    for i in range(B):
                        share[c, lo + i] += of_row[c, i]


@njit(cache=True, error_model="numpy")
def effects(rng, family, data, N, first, random, nodes, log_weights, beta, shape, C, label, out):
    """Random effects of every cluster drawn given its class, label (S, U), to out (S, U, q).

    By rejection from a t distribution around the mode, x = R'(y - m). The bound of the ratio of the densities is the largest at
    the nodes, with a margin, or one that was met since (Caffo, Booth & Davis, 2002, Biometrika 89, 745-754).
    """
    (S, _, p), q, Q, most = beta.shape, len(random), len(log_weights), longest(first)
    work, Z, zero, fixed = workspace(1, most, q, Q), np.empty((q, most)), np.zeros((1, most)), np.empty((1, most))
    y, R, x, u, f = np.empty(q), np.zeros((q, q)), np.empty(q), np.empty((q, 1)), np.empty(1)
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for t in range(S):
            c = label[t, j]
            one, own = shape[t, c : c + 1], C[t, c]
            predictor(data, N, p, lo, B, beta[t, c], fixed[0])
            integrate(family, n, s, fixed, zero, one, Z, B, own, ONE, nodes, log_weights, work, y, R)
            places, values, bound = work[2][0], work[2][0, q], -math.inf
            for k in range(Q):
                size, square = 0.0, 0.0
                for a in range(q):
                    size += nodes[k * q + a] ** 2
                    square += places[a, k] ** 2
                ratio = values[k] - 0.5 * square + 0.5 * (DEGREES + q) * math.log1p(size / DEGREES)
                bound = max(bound, ratio + MARGIN)
            while True:
                scale, size, square = math.sqrt(DEGREES / rng.chisquare(DEGREES)), 0.0, 0.0
                for a in range(q):
                    x[a] = scale * rng.normal()
                    size += x[a] * x[a]
                solve_transposed(R, q, x)
                for a in range(q):
                    x[a] += y[a]
                    square += x[a] * x[a]
                for a in range(q):
                    u[a, 0] = 0.0
                    for b in range(a + 1):
                        u[a, 0] += own[a, b] * x[b]
                log_likelihoods(family, n, s, fixed, zero, one, Z, B, ONE, u, 1, work, f)
                ratio = f[0] - 0.5 * square + 0.5 * (DEGREES + q) * math.log1p(size / DEGREES)
                bound = max(bound, ratio)
                if math.log(rng.random()) < ratio - bound:
                    break
            for a in range(q):
                out[t, j, a] = u[a, 0]


@njit(cache=True, error_model="numpy")
def given_effects(family, data, N, first, random, beta, shape, u, label, out):
    """log p(y_j | class, u_j) of every cluster at effects u (S, U, q), to out (S, U)."""
    (S, _, p), q, most = beta.shape, len(random), longest(first)
    work, Z, zero, fixed = workspace(1, most, q, 1), np.empty((q, most)), np.zeros((1, most)), np.empty((1, most))
    own, f = np.empty((q, 1)), np.empty(1)
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for t in range(S):
            c = label[t, j]
            predictor(data, N, p, lo, B, beta[t, c], fixed[0])
            for a in range(q):
                own[a, 0] = u[t, j, a]
            log_likelihoods(family, n, s, fixed, zero, shape[t, c : c + 1], Z, B, ONE, own, 1, work, f)
            out[t, j] = f[0]
