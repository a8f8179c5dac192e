"""Log-likelihood of mixtures whose clusters' random effects are integrated by quadrature (cluster_integral.py), with derivatives.

Either whole clusters belong to classes, log p(y) = sum_j log sum_c pi_jc p(y_j | c), with random effects u = C_c y in class c and
outcomes other than Gaussian; or their rows do, and share the effects of mixture_effects.py.
"""

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.cluster_integral import derivatives, gather, integrate, workspace
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.mixture_effects import add_blocks, whole_factor
from bayeshte.marginal.kernels.mixture_rows import add_columns, dot, normalise


@njit(**OPTIONS)
def longest(first):
    """The largest number of rows of a cluster."""
    most = 1
    for j in range(len(first) - 1):
        most = max(most, first[j + 1] - first[j])
    return most


@njit(**OPTIONS)
def predictor(data, N, p, lo, B, beta, out):
    """x_i' beta of the rows from lo on, to out."""
    for i in range(B):
        out[i] = 0.0
    add_columns(data, N, p, lo, beta, out[:B])


@njit(**OPTIONS)
def whole_clusters(family, data, N, W, first, random, rule, alpha, beta, shape, C, dalpha, dbeta, dshape, dC):
    """Sum over clusters that belong to classes of log p(y_j); derivatives are added. W is (U m), rule = (nodes, log weights)."""
    (K, p), m, q, Q, most = beta.shape, len(alpha), len(random), len(rule[1]), longest(first)
    work, Z, y, R, total = workspace(1, most, q, Q), np.empty((q, most)), np.empty(q), np.zeros((q, q)), 0.0
    fixed, zero, sets, pi, top = (
        np.empty((1, most)),
        np.zeros((1, most)),
        (1, np.empty((1, 0))),
        np.empty((K, 1)),
        np.empty(1),
    )
    score, share, gshape, gC = np.empty((K, most)), np.empty((1, most)), np.empty((K, 2)), np.zeros((K, q, q))
    a, r = np.empty((K, 1)), np.ones((K, 1))
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for c in range(K):
            a[c, 0] = dot(W[j * m : (j + 1) * m], alpha[:, c])
        total -= normalise(a, 1, K, top, pi)
        for c in range(K):
            own = slice(c, c + 1)
            predictor(data, N, p, lo, B, beta[c], fixed[0])
            a[c, 0] += integrate(family, n, s, fixed, zero, shape[own], Z, B, C[c], sets, *rule, work, y, R)
            derivatives(Z, B, 1, q, Q, sets, work, score[own], share, share, gshape[own], gC[c])
        total += normalise(a, 1, K, top, r)
        for c in range(K):
            weight = r[c, 0]
            for k in range(m):
                dalpha[k, c] += W[j * m + k] * (weight - pi[c, 0])
            for b in range(p):
                dbeta[c, b] += weight * dot(score[c, :B], data[b * N + lo : b * N + lo + B])
            for b in range(2):
                dshape[c, b] += weight * gshape[c, b]
            for b in range(q):
                for l in range(b + 1):
                    dC[c, b, l] += weight * gC[c, b, l]
    return total


@njit(**OPTIONS)
def clusters_of_rows(
    family, data, N, W, first, random, rule, sets, alpha, beta, shape, C, spread, dalpha, dbeta, dshape, dC, dspread
):
    """The same of clusters whose rows, sorted by cluster, belong to classes; W is (m N), sets as in cluster_integral.py."""
    (K, p), m, q, Q, most, (E, V) = beta.shape, len(alpha), len(random), len(rule[1]), longest(first), sets
    G = E * q + V.shape[1]
    work, Z, y, R, whole = (
        workspace(K, most, G, Q),
        np.empty((q, most)),
        np.empty(G),
        np.zeros((G, G)),
        whole_factor(E, G, C, spread),
    )
    fixed, chance, pi, top = np.empty((K, most)), np.empty((K, most)), np.empty((K, most)), np.empty(most)
    score, share, gshape, gwhole, total = (
        np.empty((K, most)),
        np.empty((K, most)),
        np.empty((K, 2)),
        np.zeros((G, G)),
        0.0,
    )
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for c in range(K):
            predictor(data, N, p, lo, B, beta[c], fixed[c])
            predictor(W, N, m, lo, B, alpha[:, c], chance[c])
        norm = normalise(chance, B, K, top, pi)
        total += integrate(family, n, s, fixed, chance, shape, Z, B, whole, sets, *rule, work, y, R)
        total -= norm if V.shape[1] == 0 else 0.0
        derivatives(Z, B, K, G, Q, sets, work, score, share, pi, gshape, gwhole)
        for c in range(K):
            for k in range(m):
                column = W[k * N + lo : k * N + lo + B]
                dalpha[k, c] += dot(share[c, :B], column) - dot(pi[c, :B], column)
            for b in range(p):
                dbeta[c, b] += dot(score[c, :B], data[b * N + lo : b * N + lo + B])
            for b in range(2):
                dshape[c, b] += gshape[c, b]
        add_blocks(E, gwhole, dC, dspread)
    return total
