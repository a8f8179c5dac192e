"""Log density of a Gaussian structural equation model on one or two levels, all latent variables integrated out.

Level l (within, between) has variables f, observed ones first, f = c_l q + B_l f + zeta, zeta ~ N(0, Psi_l), with q the
regressors (1, covariates conditioned on). So f ~ N(K_l q, S_l) with A_l = (I - B_l)^-1, K_l = A_l c_l, S_l = A_l Psi_l A_l'.
An observed vector is the sum of its parts, y_ij = b_j + w_ij; a cluster's own variables v_j are elements of b_j only.

Tables. Every cell of Psi, B, c is a fixed number plus a sum of coef t_i t_j t_k, with t = (1, scalars, correlations, slots):
`entries`. Slots hold numbers that differ between *contexts* (a treatment that multiplies a path); every context has matrices
of its own. Data come in two lanes:

- *groups* (`structural_groups`): sums over vectors with the distribution N(K q, w_W S_W + w_B S_B) of some observed variables:
  rows of one level with one missing-data pattern; deviations from the means of clusters (w_B = 0); means of clusters of one size
  n (w_W = 1 / n) with the clusters' own variables. The n' vectors enter through least squares, R = residual cross-products, k =
  coefficients, Q = cross-products of q:

      log p = -1/2 [n' log det V + tr V^-1 (R + D Q D')],   D = K - k.

- *clusters*: those with missing values, one by one. With cells (patterns) m of n_m rows with mean ybar_m, W_m = inverse of S_W
  for what is seen, and b_j given v_j ~ N(K q + C e, S_c), e = v - K q, C = S_B,yv S_B,vv^-1:

      d_m = ybar_m - K q_m - C e,  A = sum n_m W_m,  h = sum n_m W_m d_m,  P = (S_c^-1 + A)^-1,  u = P h,
      log p = log N(e; 0, S_B,vv) + 1/2 [h'u - log det(I + S_c A) - sum (log det V_m + n_m d_m' W_m d_m)].

  P = L (I + L'A L)^-1 L' with S_c = L L', which may be singular (a variable without between variance).

Derivatives. dS_c = 1/2 [e e' - A + A P A] with e = h - A u; dW_m = -n_m / 2 [(d_m - u)(d_m - u)' + P]; dd_m = -n_m W_m (d_m - u);
dPsi = A' dS A, dc = A' dK, dB = 2 A' dS S + dc K'.

Covariances of residuals may have priors of their own: `covariance_priors`.

ints: d, n, blocks, L, M, P, p, Q, E, contexts, slots, batches, wcombos, vcombos, clusters, checks, slopes, active variables and
regressors within, wisharts, single covariances; then (transform, family) of the n scalars, size of each block of correlations,
order of the variables (L M: causes first; within, the active ones before the others), entries (cell, i, j, k), checks (level,
m, variables [M]) of Psi, wisharts likewise, single covariances (level, i, j, family), between variables of f = (b, s), cells
of the slopes (0: B, 1: c; row, column among the active), batches of groups, wcombos and vcombos (context, m, variables [M]),
clusters (vcombo, number of cells), wcombo of each cell.
floats: constant, hyper (4 a scalar), eta of each block, centre (d), scale (d d), coef (E), fixed cells (Psi: L M M, B: L M M,
c: L M Q), slots of each context, wisharts (a, T [M M]), single covariances (3), number of values of the batches, batches,
clusters (q [Q], v [M]; with slopes A and g of f), cells (n, ybar [P], q [Q]; with slopes R [P P], k [P Q], Q [Q Q] of the
deviations).
Within-level variables are the first p of the P observed ones. Arrays in brackets are padded. Coordinates: d, then the slopes'.
"""

import math

import numpy as np
from numba import njit, types

from bayeshte.marginal.kernels.covariance_priors import matrix_priors
from bayeshte.marginal.kernels.linear import (
    OPTIONS,
    add_product,
    add_product_t,
    add_t_product,
    cholesky,
    clear,
    rejection,
)
from bayeshte.marginal.kernels.parameters import (
    correlations,
    correlations_gradient,
    precondition,
    precondition_gradient,
    scalars,
)
from bayeshte.marginal.kernels.slope_coordinates import slopes
from bayeshte.marginal.kernels.structural_clusters import clusters
from bayeshte.marginal.kernels.structural_groups import BETWEEN, WITHIN, groups

HEADER = 21


@njit(**OPTIONS)
def fill(entries, coef, t, fixed, cells):
    """Cells of Psi, B and c: the fixed numbers plus the sums of products."""
    for c in range(len(fixed)):
        cells[c] = fixed[c]
    for e in range(len(coef)):
        cells[entries[e, 0]] += coef[e] * t[entries[e, 1]] * t[entries[e, 2]] * t[entries[e, 3]]


@njit(**OPTIONS)
def pull(entries, coef, t, dcells, dt):
    """From derivatives in the cells to derivatives in t (added)."""
    for e in range(len(coef)):
        d, i, j, k = coef[e] * dcells[entries[e, 0]], entries[e, 1], entries[e, 2], entries[e, 3]
        dt[i] += d * t[j] * t[k]
        dt[j] += d * t[i] * t[k]
        dt[k] += d * t[i] * t[j]


@njit(**OPTIONS)
def solve(Psi, B, c, order, M, Q, A, S, K, work):
    """A = (I - B)^-1 by substitution along the causal order, S = A Psi A', K = A c."""
    for r in range(M):
        i = order[r]
        for k in range(M):
            A[i, k] = 1.0 if i == k else 0.0
        for s in range(r):
            j = order[s]
            if B[i, j] != 0.0:
                for k in range(M):
                    A[i, k] += B[i, j] * A[j, k]
    clear(work, M, M)
    clear(S, M, M)
    clear(K, M, Q)
    add_product(A, Psi, M, M, M, 1.0, work)
    add_product_t(work, A, M, M, M, 1.0, S)
    add_product(A, c, M, M, Q, 1.0, K)


@njit(**OPTIONS)
def unsolve(A, S, K, dS, dK, M, Q, work, dPsi, dB, dc):
    """From derivatives in S and K to those in Psi, B and c."""
    clear(work, M, M)
    clear(dPsi, M, M)
    clear(dB, M, M)
    clear(dc, M, Q)
    add_t_product(A, dS, M, M, M, 1.0, work)
    add_product(work, A, M, M, M, 1.0, dPsi)
    add_product(work, S, M, M, M, 2.0, dB)
    add_t_product(A, dK, M, M, Q, 1.0, dc)
    add_product_t(dc, K, M, Q, M, 1.0, dB)


@njit(**OPTIONS)
def take(ints, floats):
    """The tables as arrays: sizes; priors; coordinates; cells; groups; clusters."""
    d, n, blocks, levels, M = ints[0], ints[1], ints[2], ints[3], ints[4]
    P, p, Q, E = ints[5], ints[6], ints[7], ints[8]
    contexts, slots, G, NW, NV, J = ints[9], ints[10], ints[11], ints[12], ints[13], ints[14]
    NC, ns, mw, NI, NS = ints[15], ints[16], ints[17], ints[19], ints[20]
    at = HEADER
    codes = ints[at : at + 2 * n]
    at += 2 * n
    sizes = ints[at : at + blocks]
    at += blocks
    order = ints[at : at + levels * M].reshape((levels, M))
    at += levels * M
    entries = ints[at : at + 4 * E].reshape((E, 4))
    at += 4 * E
    checks = ints[at : at + NC * (2 + M)].reshape((NC, 2 + M))
    at += NC * (2 + M)
    whole = ints[at : at + NI * (2 + M)].reshape((NI, 2 + M))
    at += NI * (2 + M)
    single = ints[at : at + 4 * NS].reshape((NS, 4))
    at += 4 * NS
    targets = ints[at : at + p + ns]
    at += p + ns
    slope_cells = ints[at : at + 3 * ns].reshape((ns, 3))
    at += 3 * ns
    group_ints = ints[at : at + G * (3 + M)].reshape((G, 3 + M))
    at += G * (3 + M)
    wcombos = ints[at : at + NW * (2 + M)].reshape((NW, 2 + M))
    at += NW * (2 + M)
    vcombos = ints[at : at + NV * (2 + M)].reshape((NV, 2 + M))
    at += NV * (2 + M)
    cluster_ints = ints[at : at + 2 * J].reshape((J, 2))
    cell_ints = ints[at + 2 * J :]

    at = 1 + 4 * n
    hyper, etas = floats[1:at], floats[at : at + blocks]
    at += blocks
    centre, scale = floats[at : at + d], floats[at + d : at + d + d * d]
    at += d + d * d
    coef = floats[at : at + E]
    at += E
    cells = levels * M * (2 * M + Q)
    fixed = floats[at : at + cells]
    at += cells
    slot_values = floats[at : at + contexts * slots]
    at += contexts * slots
    wisharts = floats[at : at + NI * (1 + M * M)].reshape((NI, 1 + M * M))
    at += NI * (1 + M * M)
    single_hyper = floats[at : at + 3 * NS].reshape((NS, 3))
    at += 3 * NS
    size = int(floats[at])
    group_floats = floats[at + 1 : at + 1 + size]
    at += 1 + size
    size = J * (Q + M + ((p + ns) * (p + ns + 1) if ns else 0))
    cluster_floats, cell_floats = floats[at : at + size], floats[at + size :]
    return (
        (d, n, blocks, levels, M, P, p, Q, contexts, slots, J, ns),
        (codes, hyper, sizes, etas, centre, scale),
        (order, entries, coef, fixed, checks, slot_values),
        (group_ints, group_floats),
        (
            (order[0, :mw], targets, slope_cells, wcombos, vcombos),
            (cluster_ints, cell_ints),
            (cluster_floats, cell_floats),
        ),
        (whole, wisharts, single, single_hyper),
    )


@njit(**OPTIONS)
def levels_of(sizes, structure, t, cell, A, S, parts, K):
    """Cells, A, S and K of every context and level at t; False if a covariance matrix is not positive definite."""
    d, n, blocks, levels, M, P, p, Q, contexts, slots, J, ns = sizes
    order, entries, coef, fixed, checks, slot_values = structure
    work = np.empty((M, M))
    for c in range(contexts):
        for s in range(slots):
            t[1 + d + s] = slot_values[c * slots + s]
        fill(entries, coef, t, fixed, cell[c])
        for k in range(len(checks)):
            Psi = cell[c, checks[k, 0] * M * M : (checks[k, 0] + 1) * M * M].reshape((M, M))
            for i in range(checks[k, 1]):
                for j in range(i + 1):
                    work[i, j] = Psi[checks[k, 2 + i], checks[k, 2 + j]]
            if not cholesky(work, checks[k, 1]) > -math.inf:
                return False
        for l in range(levels):
            Psi = cell[c, l * M * M : (l + 1) * M * M].reshape((M, M))
            B = cell[c, (levels + l) * M * M : (levels + l + 1) * M * M].reshape((M, M))
            k = cell[c, 2 * levels * M * M + l * M * Q : 2 * levels * M * M + (l + 1) * M * Q].reshape((M, Q))
            solve(Psi, B, k, order[l], M, Q, A[c, l], S[c, l], parts[c, l], work)
            if ns == 0 or l == BETWEEN:  # with random slopes the within level is that of each cluster
                for i in range(M):
                    for q in range(Q):
                        K[c, i, q] += parts[c, l, i, q]
    return True


@njit(inline="always")
def start(z, ints, floats, t, dt, cell, A, S, parts):
    """Parameters t and the matrices at coordinates z: the log prior, NaN where a covariance matrix is none."""
    numbers, priors, structure, _, _, _ = take(ints, floats)
    d, n, blocks = numbers[0], numbers[1], numbers[2]
    codes, hyper, sizes, etas, centre, scale = priors
    x, slope, dx = np.empty(d), np.empty(n), np.zeros(d)
    t[0] = 1.0
    precondition(z, d, centre, scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], hyper, t[1:], slope, dx)
    room = 0
    for b in range(blocks):
        room += sizes[b] * sizes[b]
    factors = np.zeros(room)
    lp += correlations(x[n:], blocks, sizes, etas, t[1 + n :], factors)
    K = np.zeros((len(cell), S.shape[2], numbers[7]))
    if not levels_of(numbers, structure, t, cell, A, S, parts, K):
        return math.nan, x, slope, dx, factors
    return lp, x, slope, dx, factors


@njit(**OPTIONS)
def finish(numbers, priors, structure, of_matrices, first, last, t, x, slope, factors, cell, A, S, parts, to, dx, grad):
    """From derivatives in S and K of levels `first` to `last`, in the cells and in t to the gradient.

    `to` has them, (dS, dK, dcell, dt); of dS the symmetric part counts. The log density of priors of covariance matrices.
    """
    dS, dK, dcell, dt = to
    d, n, blocks, levels, M, _, _, Q, contexts, slots, _, _ = numbers
    lp, work = 0.0, np.empty((M, M))
    for c in range(contexts):
        for s in range(slots):
            t[1 + d + s] = structure[5][c * slots + s]
        for l in range(first, last):
            for i in range(M):
                for j in range(i):
                    dS[c, l, i, j] = dS[c, l, j, i] = 0.5 * (dS[c, l, i, j] + dS[c, l, j, i])
            dPsi = dcell[c, l * M * M : (l + 1) * M * M].reshape((M, M))
            dB = dcell[c, (levels + l) * M * M : (levels + l + 1) * M * M].reshape((M, M))
            dk = dcell[c, 2 * levels * M * M + l * M * Q : 2 * levels * M * M + (l + 1) * M * Q].reshape((M, Q))
            unsolve(A[c, l], S[c, l], parts[c, l], dS[c, l], dK[c, l], M, Q, work, dPsi, dB, dk)
        if c == 0:  # covariances of residuals are the same in all contexts
            lp += matrix_priors(of_matrices, cell[0], dcell[0], M)
        pull(structure[1], structure[2], t, dcell[c], dt)
    for i in range(n):
        dx[i] += dt[1 + i] * slope[i]
    correlations_gradient(x[n:], blocks, priors[2], priors[3], dt[1 + n :], factors, dx[n:])
    precondition_gradient(dx, d, priors[5], grad)
    return lp


@njit(inline="always")
def log_density(z, ints, floats, grad, with_clusters, with_slopes):
    """Log posterior density at coordinates z, the first d preconditioned; the gradient goes to grad.

    with_clusters and with_slopes are None where there are none: numba leaves out what stands behind `is not None`, so a model of
    complete data compiles in a third of the time.
    """
    numbers, priors, structure, (group_ints, group_floats), by_cluster, of_matrices = take(ints, floats)
    d, n, blocks, levels, M, P, p, Q, contexts, slots, J, ns = numbers
    codes, hyper, sizes, etas, centre, scale = priors
    order, entries, coef, fixed, checks, slot_values = structure

    x, t, dt = np.empty(d), np.empty(1 + d + slots), np.zeros(1 + d + slots)
    slope, dx = np.empty(n), np.zeros(d)
    t[0] = 1.0
    precondition(z, d, centre, scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], hyper, t[1:], slope, dx)
    room = 0
    for b in range(blocks):
        room += sizes[b] * sizes[b]
    factors = np.zeros(room)
    lp += correlations(x[n:], blocks, sizes, etas, t[1 + n :], factors)

    cells = len(fixed)
    cell, dcell = np.empty((contexts, cells)), np.zeros((contexts, cells))
    A, S, dS = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M))
    parts, K, dK = np.empty((contexts, 2, M, Q)), np.zeros((contexts, M, Q)), np.zeros((contexts, M, Q))
    if not levels_of(numbers, structure, t, cell, A, S, parts, K):
        return math.nan
    lp += groups(len(group_ints), P, Q, group_ints, group_floats, S, K, dS, dK)
    if with_clusters is not None:
        shape = (P, p, Q, M, J, levels, ints[18])
        lp += clusters(shape, by_cluster, cell, S, K, z[d:], dS, dK, dcell, grad[d:], with_slopes)

    work = np.empty((M, M))
    for c in range(contexts):
        for s in range(slots):
            t[1 + d + s] = slot_values[c * slots + s]
        for l in range(levels):
            if ns and l == WITHIN:
                continue
            for i in range(M):
                for j in range(i):
                    dS[c, l, i, j] = dS[c, l, j, i] = 0.5 * (dS[c, l, i, j] + dS[c, l, j, i])
            dPsi = dcell[c, l * M * M : (l + 1) * M * M].reshape((M, M))
            dB = dcell[c, (levels + l) * M * M : (levels + l + 1) * M * M].reshape((M, M))
            dk = dcell[c, 2 * levels * M * M + l * M * Q : 2 * levels * M * M + (l + 1) * M * Q].reshape((M, Q))
            unsolve(A[c, l], S[c, l], parts[c, l], dS[c, l], dK[c], M, Q, work, dPsi, dB, dk)
        if c == 0:  # covariances of residuals are the same in all contexts
            lp += matrix_priors(of_matrices, cell[0], dcell[0], M)
        pull(entries, coef, t, dcell[c], dt)
    for i in range(n):
        dx[i] += dt[1 + i] * slope[i]
    correlations_gradient(x[n:], blocks, sizes, etas, dt[1 + n :], factors, dx[n:])
    precondition_gradient(dx, d, scale, grad)
    return lp


@njit(inline="always")
def checked(z, ints, floats, grad, lp, with_clusters, with_slopes):
    """nutpie's return code: 0, or a positive number for a point that is to be rejected."""
    lp[0] = log_density(z, ints, floats, grad, with_clusters, with_slopes)
    return rejection(lp[0], grad)


@njit(inline="always")
def expand(z, ints, floats, out, with_slopes):
    """Coordinates to parameters: the scalars (SDs perhaps with a sign), correlations of the blocks, slopes (cluster, slope)."""
    numbers, priors, structure, _, by_cluster, _ = take(ints, floats)
    d, n, blocks, levels, M, P, p, Q, contexts, slots, J, ns = numbers
    codes, hyper, sizes, etas, centre, scale = priors
    x, t, slope, unused, room = np.empty(d), np.empty(1 + d + slots), np.empty(n), np.empty(n), 0
    t[0] = 1.0
    for b in range(blocks):
        room += sizes[b] * sizes[b]
    precondition(z, d, centre, scale, x)
    scalars(x, n, codes[:n], codes[n:], hyper, t[1:], slope, unused)
    correlations(x[n:], blocks, sizes, etas, t[1 + n :], np.zeros(room))
    for i in range(d):
        out[i] = t[1 + i]
    if with_slopes is not None:
        A, S = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M))
        parts, K = np.empty((contexts, 2, M, Q)), np.zeros((contexts, M, Q))
        levels_of(numbers, structure, t, np.empty((contexts, len(structure[3]))), A, S, parts, K)
        slopes((p, Q, M, J), by_cluster, S, K, z[d:], out[d:])
    return 0


DOUBLES = types.CPointer(types.double)
LOG_DENSITY = types.int64(types.uint64, DOUBLES, DOUBLES, DOUBLES, types.voidptr)
EXPAND = types.int64(types.uint64, types.uint64, DOUBLES, DOUBLES, types.voidptr)
