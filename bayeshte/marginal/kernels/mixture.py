"""Log density of a finite mixture: a unit j (a cluster or a row) belongs to one of K classes, which is integrated out.

    log p(y) = sum_j log sum_c pi_jc p(y_j | c),   log pi_jc = a_jc - log sum_l exp a_jl,   a_jc = sum_r W_jr alpha_rc.

p(y_j | c) is in mixture_units.py, or where quadrature integrates random effects in mixture_integral.py. With
r_jc = P(class c | y_j), every derivative is that of a class weighted by r_jc, and that in a_jc is r_jc - pi_jc. Classes are
exchangeable, so the membership coefficients are sum-to-zero over classes: alpha_r. = V x_r. with V (K, K - 1) orthonormal and
orthogonal to 1. Without covariates (W = 1) and alpha > 0 the class probabilities are Dirichlet(alpha): in the coordinates x the
density is prod pi_c^alpha times a constant, because the Jacobian of K - 1 probabilities in their log-ratios is prod pi_c.

Parameters may be the same in all classes: `beta_at` says which scalar each coefficient of each class is; there are `blocks`
(1 or K) sets of random-effect SDs with their correlations, `sigmas` residual SDs, `nus` degrees of freedom.

Where rows are the units, their clusters may have effects v_j = C y_j: mixture_effects.py. If they are sampled, they have the
coordinates t_j of information.py, with tables of a pilot fit about v_j and P parameters: all coefficients beta (K p) of the
classes and, if class probabilities vary between clusters, alpha (m K). If quadrature integrates them, rows are sorted by cluster.

Tables. ints: d, n, K, p, q, blocks, U, N, family, m, at_sd, at_sigma, sigmas, at_nu, nus, at_member, bare, by_row, J, Q, E,
varies, (transform, family) of the scalars, beta_at (K p), random (q), then the first row of each unit and N (U + 1); where rows
are units, of each cluster, or the cluster of each row (N) if effects are sampled.
floats: constant, eta, alpha, hyper (4 a scalar), centre (d), scale (d d), offset (p), V (K (K - 1)), W (U m), data, and of the
quadrature nodes (Q G) and log weights (Q), Q = 0 without. data: for the Gaussian family n, r'r, X'r (p), X'X (p p) of every unit
(with q < 2 the unit varying fastest, and W is (m U), see mixture_clusters.py); else X (p N), n (N), s (N), the row fastest.
Where units are rows (`by_row`) all families have the latter form, and W is (m N): mixture_rows.py. Sampled effects of J clusters
add offset (P), A (G G J), g (G J), B (G P J) to data, and t (J G) to the coordinates; the SD of membership is the scalar before
at_member.
With `bare` the density is the likelihood: no priors, no Jacobians.
"""

import math

import numpy as np
from numba import njit, types

from bayeshte.marginal.kernels.linear import OPTIONS, rejection
from bayeshte.marginal.kernels.mixture_clusters import clusters_of_classes
from bayeshte.marginal.kernels.mixture_effects import HEAD, SETS, VARIES, expand_effects, rows_with_effects
from bayeshte.marginal.kernels.mixture_integral import clusters_of_rows, whole_clusters
from bayeshte.marginal.kernels.mixture_units import GAUSSIAN, unit_in_class
from bayeshte.marginal.kernels.parameters import (
    correlation,
    correlation_gradient,
    precondition,
    precondition_gradient,
    scalars,
    unsigned,
)


@njit(**OPTIONS)
def softmax(a, K, out):
    """Probabilities proportional to exp a; the log of the sum."""
    top, total = a[0], 0.0
    for c in range(K):
        top = max(top, a[c])
    for c in range(K):
        out[c] = math.exp(a[c] - top)
        total += out[c]
    for c in range(K):
        out[c] /= total
    return top + math.log(total)


@njit(**OPTIONS)
def membership(x, V, K, m, alpha):
    """alpha_rc = (V x_r)_c for r < m."""
    for r in range(m):
        for c in range(K):
            t = 0.0
            for k in range(K - 1):
                t += V[c * (K - 1) + k] * x[r * (K - 1) + k]
            alpha[r, c] = t


@njit(**OPTIONS)
def class_parameters(ints, theta, corr, beta, shape, C):
    """Coefficients (K, p), (sigma, nu) (K, 2) and factors C = diag(sd) Lc (K, q, q) of the classes."""
    n, K, p, q, blocks = ints[1], ints[2], ints[3], ints[4], ints[5]
    at_sd, at_sigma, sigmas, at_nu, nus = ints[10], ints[11], ints[12], ints[13], ints[14]
    beta_at = ints[HEAD + 2 * n :]
    for c in range(K):
        for a in range(p):
            beta[c, a] = theta[beta_at[c * p + a]]
        shape[c, 0] = theta[at_sigma + (c if sigmas > 1 else 0)] if sigmas > 0 else 1.0
        shape[c, 1] = theta[at_nu + (c if nus > 1 else 0)] if nus > 0 else 1.0
        block = c if blocks > 1 else 0
        for a in range(q):
            for b in range(q):
                C[c, a, b] = theta[at_sd + block * q + a] * corr[block, a, b]


@njit(**OPTIONS)
def units(ints, offset, W, data, alpha, beta, shape, C, dalpha, dbeta, dshape, dC):
    """Sum over units of log sum_c pi_jc p(y_j | c); the derivatives are added."""
    n, K, p, q, U, N, family, m = ints[1], ints[2], ints[3], ints[4], ints[6], ints[7], ints[8], ints[9]
    at = HEAD + 2 * n + K * p
    random, first = ints[at : at + q], ints[at + q :]
    longest = 0
    for j in range(U):
        longest = max(longest, first[j + 1] - first[j])
    mats, vecs, rows = np.empty((4, q, q)), np.empty((6, max(p, q, 1))), np.empty((2, longest))
    gbeta, gshape, gC = np.empty((K, p)), np.empty((K, 2)), np.empty((K, q, q))
    a, pi, r = np.empty(K), np.empty(K), np.empty(K)
    total = 0.0
    for j in range(U):
        for c in range(K):
            a[c] = 0.0
            for k in range(m):
                a[c] += W[j * m + k] * alpha[k, c]
        norm = softmax(a, K, pi)
        for c in range(K):
            a[c] += unit_in_class(
                *(j, family, data, first, N, p, q, random, beta[c], offset, shape[c], C[c]),
                *(gbeta[c], gshape[c], gC[c], mats, vecs, rows),
            )
        total += softmax(a, K, r) - norm
        for c in range(K):
            for k in range(m):
                dalpha[k, c] += W[j * m + k] * (r[c] - pi[c])
            for i in range(p):
                dbeta[c, i] += r[c] * gbeta[c, i]
            for i in range(2):
                dshape[c, i] += r[c] * gshape[c, i]
            for i in range(q):
                for l in range(i + 1):
                    dC[c, i, l] += r[c] * gC[c, i, l]
    return total


@njit(**OPTIONS)
def pull_back(ints, eta, x, theta, slope, corr, V, dalpha, dbeta, dshape, dC, dx):
    """Derivatives in the classes' parameters to those in the coordinates, added to dx; eta is LKJ's, if it has a say."""
    n, K, p, q, blocks, m = ints[1], ints[2], ints[3], ints[4], ints[5], ints[9]
    at_sd, at_sigma, sigmas, at_nu, nus, at_member = ints[10], ints[11], ints[12], ints[13], ints[14], ints[15]
    bare, beta_at, pairs = ints[16], ints[HEAD + 2 * n :], q * (q - 1) // 2
    dfactor, dcorr = np.zeros((blocks, q, q)), np.empty(pairs)
    for c in range(K):
        for a in range(p):
            k = beta_at[c * p + a]
            dx[k] += dbeta[c, a] * slope[k]
        if sigmas > 0:
            k = at_sigma + (c if sigmas > 1 else 0)
            dx[k] += dshape[c, 0] * slope[k]
        if nus > 0:
            k = at_nu + (c if nus > 1 else 0)
            dx[k] += dshape[c, 1] * slope[k]
        block = c if blocks > 1 else 0
        for a in range(q):
            k = at_sd + block * q + a
            for b in range(a + 1):
                dx[k] += dC[c, a, b] * corr[block, a, b] * slope[k]
                dfactor[block, a, b] += dC[c, a, b] * theta[k]
    for block in range(blocks):
        at = n + block * pairs
        correlation_gradient(x[at:], q, eta, corr[block], dfactor[block], dcorr)
        for k in range(pairs):
            dx[at + k] += dcorr[k]
        if bare:
            correlation_gradient(x[at:], q, eta, corr[block], np.zeros((q, q)), dcorr)
            for k in range(pairs):
                dx[at + k] -= dcorr[k]
    for r in range(m):
        for k in range(K - 1):
            for c in range(K):
                dx[at_member + r * (K - 1) + k] += V[c * (K - 1) + k] * dalpha[r, c]


@njit(inline="always")
def log_density(z, ints, floats, grad, of_rows, integrated):
    """Log posterior density at preconditioned coordinates z; the gradient goes to grad.

    Units are rows unless `of_rows` is None, quadrature integrates random effects unless `integrated` is None: callbacks of each
    kind hold no code of the others.
    """
    d, n, K, p, q, blocks, U, m = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6], ints[9]
    at_member, bare, codes = ints[15], ints[16], ints[HEAD:]
    eta, dirichlet, at = floats[1], floats[2], 3 + 4 * n
    hyper, centre, scale = floats[3:at], floats[at : at + d], floats[at + d : at + d + d * d]
    at += d + d * d
    offset, V = floats[at : at + p], floats[at + p : at + p + K * (K - 1)]
    at += p + K * (K - 1)
    W, data = floats[at : at + U * m], floats[at + U * m :]

    x, theta, slope, dx = np.empty(d), np.empty(n), np.empty(n), np.zeros(d)
    precondition(z, d, centre, scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], hyper, theta, slope, dx)
    corr, pairs = np.empty((blocks, q, q)), q * (q - 1) // 2
    for block in range(blocks):
        lp += correlation(x[n + block * pairs :], q, eta, corr[block])
    if bare:
        lp = floats[0]
        dx[:] = 0.0
    beta, shape, C = np.empty((K, p)), np.empty((K, 2)), np.empty((K, q, q))
    class_parameters(ints, theta, corr, beta, shape, C)
    alpha, dalpha, pi = np.empty((m, K)), np.zeros((m, K)), np.empty(K)
    membership(x[at_member:], V, K, m, alpha)
    if dirichlet > 0.0:  # alpha sum_c log pi_c
        norm = softmax(alpha[0], K, pi)
        for c in range(K):
            lp += dirichlet * (alpha[0, c] - norm)
            dalpha[0, c] += dirichlet * (1.0 - K * pi[c])
    dbeta, dshape, dC = np.zeros((K, p)), np.zeros((K, 2)), np.zeros((K, q, q))
    spread, dspread = theta[at_member - 1] if ints[VARIES] else 0.0, np.zeros(1)
    at = HEAD + 2 * n + K * p
    random, first = ints[at : at + q], ints[at + q :]
    if integrated is not None:
        N, end = ints[7], len(data) - ints[19]
        rows = ints[8], data, N, W, first, random, (data[(p + 2) * N : end], data[end:])
        if ints[17]:
            sets = ints[SETS], V.reshape(K, K - 1)[:, : (K - 1) * ints[VARIES]]
            lp += clusters_of_rows(*rows, sets, alpha, beta, shape, C, spread, dalpha, dbeta, dshape, dC, dspread)
        else:
            lp += whole_clusters(*rows, alpha, beta, shape, C, dalpha, dbeta, dshape, dC)
    elif of_rows is not None:
        given = (ints, z[d:], W, V, data, alpha, beta, shape, C, spread, dalpha, dbeta, dshape, dC, dspread, grad[d:])
        lp += rows_with_effects(*given)
    elif ints[8] == GAUSSIAN and q < 2:
        given = (data, W, U, p, q, random, m, K, offset, alpha, beta, shape, C, dalpha, dbeta, dshape, dC)
        lp += clusters_of_classes(*given)
    else:
        lp += units(ints, offset, W, data, alpha, beta, shape, C, dalpha, dbeta, dshape, dC)
    if ints[VARIES]:
        dx[at_member - 1] += dspread[0] * slope[at_member - 1]
    pull_back(ints, eta, x, theta, slope, corr, V, dalpha, dbeta, dshape, dC, dx)
    precondition_gradient(dx, d, scale, grad[:d])
    return lp


@njit(inline="always")
def checked(z, ints, floats, grad, lp, of_rows, integrated):
    """nutpie's return code: 0, or a positive number for a point that is to be rejected."""
    lp[0] = log_density(z, ints, floats, grad, of_rows, integrated)
    return rejection(lp[0], grad)


@njit(inline="always")
def expand(z, ints, floats, out, of_rows):
    """Coordinates to parameters: scalars, Cholesky factors of the correlations, class probabilities (K) or alpha (m, K);
    then effects of clusters that are sampled: U (E, J, q), u (J, K).
    """
    d, n, K, p, q, blocks, m = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[9]
    U, J, at_sd, at_member, codes = ints[6], ints[18], ints[10], ints[15], ints[HEAD:]
    hyper, at = floats[3 : 3 + 4 * n], 3 + 4 * n
    x, theta, slope, unused = np.empty(d), np.empty(n), np.empty(n), np.empty(n)
    precondition(z, d, floats[at : at + d], floats[at + d : at + d + d * d], x)
    scalars(x, n, codes[:n], codes[n:], hyper, theta, slope, unused)
    for k in range(at_member):
        out[k] = theta[k]
    if ints[VARIES]:
        out[at_member - 1] = abs(theta[at_member - 1])
    corr, pairs, to = np.empty((blocks, q, q)), q * (q - 1) // 2, at_member
    for block in range(blocks):
        correlation(x[n + block * pairs :], q, floats[1], corr[block])
        unsigned(out[at_sd + block * q : at_sd + (block + 1) * q], corr[block], q, out[to:])
        to += q * q
    at += d + d * d + p
    alpha, pi, V = np.empty((m, K)), np.empty(K), floats[at : at + K * (K - 1)]
    membership(x[at_member:], V, K, m, alpha)
    if floats[2] > 0.0:
        softmax(alpha[0], K, pi)
        for c in range(K):
            out[to + c] = pi[c]
    else:
        for r in range(m):
            for c in range(K):
                out[to + r * K + c] = alpha[r, c]
    if of_rows is not None and J > 0:
        at += K * (K - 1) + U * m + (p + 2) * U
        beta, shape, C = np.empty((K, p)), np.empty((K, 2)), np.empty((K, q, q))
        class_parameters(ints, theta, corr, beta, shape, C)
        spread = theta[at_member - 1] if ints[VARIES] else 0.0
        expand_effects(ints, z[d:], V, alpha, beta, C, spread, floats[at:], out[to + m * K :])
    return 0


DOUBLES = types.CPointer(types.double)
LOG_DENSITY = types.int64(types.uint64, DOUBLES, DOUBLES, DOUBLES, types.voidptr)
EXPAND = types.int64(types.uint64, types.uint64, DOUBLES, DOUBLES, types.voidptr)
