"""Log-likelihood of mixtures whose clusters' random effects are integrated by quadrature (cluster_integral.py), with derivatives.

Either whole clusters belong to classes, log p(y) = sum_j log sum_c pi_jc p(y_j | c), with random effects u = C_c y in class c and
outcomes other than Gaussian; or their rows do, and share random effects u = C y that are the same in all classes.
"""

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.cluster_integral import derivatives, gather, integrate, workspace
from bayeshte.marginal.kernels.linear import OPTIONS
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
def integrated_clusters(
    whole, family, data, N, W, first, random, rule, alpha, beta, shape, C, dalpha, dbeta, dshape, dC
):
    """Sum over clusters of log p(y_j); derivatives are added. `whole` clusters belong to classes, or else their rows, sorted.

    W is (U m) for clusters, (m N) for rows; rule = (nodes, log weights).
    """
    (K, p), m, q, Q = beta.shape, len(alpha), len(random), len(rule[1])
    most, total, one = longest(first), 0.0, 1 if whole else K
    work, Z, y, R = workspace(one, most, q, Q), np.empty((q, most)), np.empty(q), np.zeros((q, q))
    fixed, chance, pi, top = np.empty((K, most)), np.zeros((K, most)), np.empty((K, most)), np.empty(most)
    score, share, gshape, gC = np.empty((K, most)), np.empty((K, most)), np.empty((K, 2)), np.zeros((K, q, q))
    a, r = np.empty((K, 1)), np.ones((K, 1))
    for j in range(len(first) - 1):
        lo, B = first[j], first[j + 1] - first[j]
        n, s = data[p * N + lo : p * N + lo + B], data[p * N + N + lo : p * N + N + lo + B]
        gather(data, N, random, lo, B, Z)
        for c in range(K):
            predictor(data, N, p, lo, B, beta[c], fixed[c])
            if whole:
                a[c, 0] = dot(W[j * m : (j + 1) * m], alpha[:, c])
            else:
                predictor(W, N, m, lo, B, alpha[:, c], chance[c])
        total -= normalise(a if whole else chance, 1 if whole else B, K, top, pi)
        for c in range(0, K, one):
            own = slice(c, c + one)
            ll = integrate(family, n, s, fixed[own], chance[own], shape[own], Z, B, C[c], *rule, work, y, R)
            derivatives(Z, B, one, q, Q, work, score[own], share[own], gshape[own], gC[c])
            a[c, 0] = ll + (a[c, 0] if whole else 0.0)
        total += normalise(a, 1, K, top, r) if whole else a[0, 0]
        for c in range(K):
            weight = r[c, 0]
            for k in range(m):
                if whole:
                    dalpha[k, c] += W[j * m + k] * (weight - pi[c, 0])
                else:
                    dalpha[k, c] += dot(share[c, :B], W[k * N + lo : k * N + lo + B])
                    dalpha[k, c] -= dot(pi[c, :B], W[k * N + lo : k * N + lo + B])
            for b in range(p):
                dbeta[c, b] += weight * dot(score[c, :B], data[b * N + lo : b * N + lo + B])
            for b in range(2):
                dshape[c, b] += weight * gshape[c, b]
        for c in range(0, K, one):
            for b in range(q):
                for l in range(b + 1):
                    dC[c, b, l] += r[c, 0] * gC[c, b, l]
    return total
