"""Effects of clusters whose rows belong to classes, sampled; and the likelihood of the rows given them.

    eta_ic = x_i' beta_c + z_i' U_cj,   log odds of class c of row i: w_i' alpha_c + u_cj,   i in cluster j.

U_cj = C_c y are the class's own (E = K sets of q) or the same in all classes (E = 1). Class probabilities may vary between
clusters too: u_j = s / sqrt 2 V y with y in K - 1 coordinates, so that sum_c u_cj = 0 and s is the SD of u_cj - u_lj. All effects
of a cluster are one vector v_j = C y_j, C block diagonal, y_j ~ N(0, I), in the coordinates t_j of information.py: first the E q
of the outcome, then the K - 1 of the class.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.information import U as EFFECT
from bayeshte.marginal.kernels.information import locate
from bayeshte.marginal.kernels.information import pull_back as effects_gradient
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.mixture_rows import rows_of_classes

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
HEAD = 22  # integers of mixture.py before the codes
SETS, VARIES = 20, 21  # where they have E, and whether class probabilities vary between clusters


@njit(**OPTIONS)
def sizes(ints):
    """Effects of a cluster, and parameters that tell where they are: all coefficients, those of membership if that varies."""
    K, p, q, m, varies = ints[2], ints[3], ints[4], ints[9], ints[VARIES]
    return ints[SETS] * q + varies * (K - 1), K * p + varies * m * K


@njit(**OPTIONS)
def whole_factor(E, G, C, spread):
    """The factor of all effects of a cluster together, from those of the classes C (K, q, q) and the SD of membership."""
    q = C.shape[1]
    out = np.zeros((G, G))
    for e in range(E):
        for a in range(q):
            for b in range(a + 1):
                out[e * q + a, e * q + b] = C[e, a, b]
    for k in range(E * q, G):
        out[k, k] = spread * math.sqrt(0.5)
    return out


@njit(**OPTIONS)
def add_blocks(E, dwhole, dC, dspread):
    """From the derivatives in `whole_factor` to those in C and the SD of membership, which are added."""
    q, G = dC.shape[1], len(dwhole)
    for e in range(E):
        for a in range(q):
            for b in range(a + 1):
                dC[e, a, b] += dwhole[e * q + a, e * q + b]
    for k in range(E * q, G):
        dspread[0] += dwhole[k, k] * math.sqrt(0.5)


@njit(**OPTIONS)
def workspace(G, J):
    """Arrays of `place`: r A C, R, W (G, G, J), and h, e, k, y, v (5, G, J)."""
    return np.empty((G, G, J)), np.empty((G, G, J)), np.empty((G, G, J)), np.empty((5, G, J))


@njit(**OPTIONS)
def place(ints, t, whole, alpha, beta, table, work):
    """v of every cluster from the coordinates t, in work[-1]; log density of y with its Jacobian in t, summed."""
    K, p, m, J = ints[2], ints[3], ints[9], ints[18]
    G, P = sizes(ints)
    delta = np.empty(P)
    for c in range(K):
        for a in range(p):
            delta[c * p + a] = beta[c, a] - table[c * p + a]
    for r in range(m if ints[VARIES] else 0):
        for c in range(K):
            delta[K * p + r * K + c] = alpha[r, c] - table[K * p + r * K + c]
    total = locate(table[P:], 1.0, J, 0, J, t, 0, delta, whole, P, G, *work)
    return -0.5 * total - J * G * HALF_LOG_2PI


@njit(**OPTIONS)
def move(ints, random, code, data, V, v, shift, odds):
    """Adds the effects v (G, J) to eta, in shift (E, N), and sets those of log odds, odds (K, N)."""
    K, q, N, E = ints[2], ints[4], ints[6], ints[SETS]
    for e in range(E):
        for a in range(q):
            Z, u = data[random[a] * N : random[a] * N + N], v[e * q + a]
            for i in range(N):
                shift[e, i] += u[code[i]] * Z[i]
    for c in range(len(odds)):
        u = np.zeros(v.shape[1])
        for k in range(K - 1):
            for j in range(len(u)):
                u[j] += V[c * (K - 1) + k] * v[E * q + k, j]
        for i in range(odds.shape[1]):
            odds[c, i] = u[code[i]]


@njit(**OPTIONS)
def gather(ints, random, code, data, V, dshift, dodds, dv):
    """The derivatives in the effects of clusters, added to dv (G, J), from those in `shift` and `odds`."""
    K, q, N, E = ints[2], ints[4], ints[6], ints[SETS]
    for e in range(E):
        for a in range(q):
            Z, out = data[random[a] * N : random[a] * N + N], dv[e * q + a]
            for i in range(N):
                out[code[i]] += dshift[e, i] * Z[i]
    for c in range(len(dodds)):
        u = np.zeros(dv.shape[1])
        for i in range(dodds.shape[1]):
            u[code[i]] += dodds[c, i]
        for k in range(K - 1):
            for j in range(len(u)):
                dv[E * q + k, j] += V[c * (K - 1) + k] * u[j]


@njit(**OPTIONS)
def rows_with_effects(ints, t, W, V, data, alpha, beta, shape, C, spread, dalpha, dbeta, dshape, dC, dspread, dt):
    """The likelihood of rows that are units, and the density of their clusters' effects, if there are any, with its gradient."""
    K, p, q, N, m, J, E = ints[2], ints[3], ints[4], ints[6], ints[9], ints[18], ints[SETS]
    G, P = sizes(ints)
    at = HEAD + 2 * ints[1] + K * p
    random, code, table = ints[at : at + q], ints[at + q :], data[(p + 2) * N :]
    varying = K if ints[VARIES] else 0
    shift, dshift = np.zeros((E, N)), np.empty((E, N))
    odds, dodds = np.empty((varying, N)), np.empty((varying, N))
    work, whole, lp = workspace(G, J), whole_factor(E, G, C, spread), 0.0
    if G > 0:
        lp += place(ints, t, whole, alpha, beta, table, work)
        move(ints, random, code, data, V, work[3][EFFECT], shift, odds)
    lp += rows_of_classes(
        *(ints[8], data, W, N, p, m, K, alpha, beta, shape, shift, odds, dalpha, dbeta, dshape, dshift, dodds),
    )
    if G > 0:
        dv, ddelta, dwhole = np.zeros((G, J)), np.zeros(P), np.zeros((G, G))
        gather(ints, random, code, data, V, dshift, dodds, dv)
        vectors, T = np.empty((3, G, J)), np.empty((G, G, J))
        to = vectors[0], vectors[1], vectors[2], T, dt, 0, ddelta, dwhole
        effects_gradient(table[P:], 1.0, J, 0, J, whole, P, G, *work, dv, *to)
        for c in range(K):
            for a in range(p):
                dbeta[c, a] += ddelta[c * p + a]
        for r in range(m if ints[VARIES] else 0):
            for c in range(K):
                dalpha[r, c] += ddelta[K * p + r * K + c]
        add_blocks(E, dwhole, dC, dspread)
    return lp


@njit(**OPTIONS)
def expand_effects(ints, t, V, alpha, beta, C, spread, table, out):
    """Effects of clusters from their coordinates: U (E, J, q), then u (J, K) if class probabilities vary."""
    K, q, J, E = ints[2], ints[4], ints[18], ints[SETS]
    G, _ = sizes(ints)
    work = workspace(G, J)
    place(ints, t, whole_factor(E, G, C, spread), alpha, beta, table, work)
    v = work[3][EFFECT]
    for e in range(E):
        for j in range(J):
            for a in range(q):
                out[(e * J + j) * q + a] = v[e * q + a, j]
    for j in range(J if ints[VARIES] else 0):
        for c in range(K):
            to = E * J * q + j * K + c
            out[to] = 0.0
            for k in range(K - 1):
                out[to] += V[c * (K - 1) + k] * v[E * q + k, j]
