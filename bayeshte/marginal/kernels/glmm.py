"""Log density of a generalised linear model with random effects, sampled in coordinates parametrised by information.

    eta_ij = x_ij' beta + z_ij' u_j,   u_j = C y_j,   y_j ~ N(0, I),   z = the columns `random` of x,   C = diag(sd) Lc,

with an outcome of `outcomes.py`. `information.py` has the coordinates t_j of u_j; its tables come from a pilot fit, and r = 1,
but (sigma of the pilot / sigma)^2 for Student t and skew normal. With the Jacobian,

    log p = log prior + sum_j [sum_i log p(y_ij | eta_ij) - |y_j|^2 / 2 - q log(2 pi) / 2 - log det(M_j) / 2].

Rows with equal x in the same cluster are one row with n trials and sum s, negative binomial and ordered ones if their outcome s
is equal too. Clusters are handled in groups.

Tables. ints: d, scalars, q, p, J, N, family, lower, (transform, family) of the scalars, random (q), first row of each cluster
and N (J + 1). floats: constant, eta, hyper (4 a scalar), centre (d), scale (d d), offset (p), sigma of the pilot,
A (q q J), g (q J), B (q p J), X (p N), n (N), s (N), the cluster or row varying fastest. Rows are sorted by cluster;
without random effects J = 1. The scalars are beta (p), sd (q) and the shape of the outcome. Coordinates: d that are
preconditioned, then t (J q, the effect varying fastest). An sd may be sampled with a sign (`density.prior_tables`): the
density is the same with the signs of an sd, its correlations and its t all changed. Of an ordered outcome the coordinate of
the intercept, and what counts as the intercept in delta, is the intercept minus the first `lower` widths: at a threshold with
many rows on either side. A rare lowest category leaves the first threshold, and with it the intercept, hardly known.
"""

import math

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.information import U, locate, pull_back
from bayeshte.marginal.kernels.linear import OPTIONS, rejection, views
from bayeshte.marginal.kernels.outcomes import constant_of_family, has_residual, rows_of_family
from bayeshte.marginal.kernels.parameters import (
    correlation,
    correlation_gradient,
    precondition,
    precondition_gradient,
    scalars,
    unsigned,
)
from bayeshte.marginal.kernels.rows import SUMS

GROUP, BLOCK = 32, 512  # clusters and rows at a time: long loops over rows, and all that is needed again in fast memory


@njit(**SUMS)
def predict(X, N, p, lo, coefficients, eta):
    """eta += X coefficients for the rows from `lo` on."""
    for c in range(p):
        column = X[c * N + lo : c * N + lo + len(eta)]
        for i in range(len(eta)):
            eta[i] += coefficients[c] * column[i]


@njit(**SUMS)
def project(X, N, p, lo, score, out):
    """out += X' score for the rows from `lo` on."""
    for c in range(p):
        column = X[c * N + lo : c * N + lo + len(score)]
        t = 0.0
        for i in range(len(score)):
            t += column[i] * score[i]
        out[c] += t


@njit(**SUMS)
def add_effects(X, N, q, random, first, j0, m, lo, hi, v, eta):
    """eta += Z u for rows lo .. hi - 1 of the clusters j0 .. j0 + m - 1."""
    for g in range(m):
        start, stop = max(first[j0 + g], lo), min(first[j0 + g + 1], hi)
        for a in range(q):
            u, column = v[U, a, g], random[a] * N
            for i in range(start, stop):
                eta[i - lo] += u * X[column + i]


@njit(**SUMS)
def project_by_cluster(X, N, q, random, first, j0, m, lo, hi, score, du):
    """du += Z' score for rows lo .. hi - 1 of the clusters j0 .. j0 + m - 1."""
    for g in range(m):
        start, stop = max(first[j0 + g], lo), min(first[j0 + g + 1], hi)
        for a in range(q):
            s, column = 0.0, random[a] * N
            for i in range(start, stop):
                s += score[i - lo] * X[column + i]
            du[a, g] += s


@njit(**OPTIONS)
def likelihood(family, X, n, s, p, q, random, first, j0, m, beta, shape, v, eta, score, dbeta, dshape, du):
    """Log-likelihood of the clusters j0 .. j0 + m - 1; adds to the derivatives in beta, shape and each u."""
    N, ll = len(n), 0.0
    for a in range(q):
        for g in range(m):
            du[a, g] = 0.0
    for lo in range(first[j0], first[j0 + m], BLOCK):
        hi = min(lo + BLOCK, first[j0 + m])
        e, g = eta[: hi - lo], score[: hi - lo]
        e[:] = 0.0
        predict(X, N, p, lo, beta, e)
        add_effects(X, N, q, random, first, j0, m, lo, hi, v, e)
        ll += rows_of_family(family, e, n[lo:hi], s[lo:hi], shape, g, dshape)
        project(X, N, p, lo, g, dbeta)
        project_by_cluster(X, N, q, random, first, j0, m, lo, hi, g, du)
    return ll


@njit(**OPTIONS)
def move_intercept(x, at, lower):
    """From the coordinate of the intercept, which is returned, to the intercept."""
    start = x[0]
    for k in range(at, at + lower):
        x[0] += math.exp(x[k])
    return start


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    d, n, q, p, J, N, family = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6]
    lower, codes, random, first = ints[7], ints[8 : 8 + 2 * n], ints[8 + 2 * n : 8 + 2 * n + q], ints[8 + 2 * n + q :]
    at = 2 + 4 * n
    hyper, centre, scale = floats[2:at], floats[at : at + d], floats[at + d : at + d + d * d]
    at += d + d * d
    offset, pilot_sigma, tables = floats[at : at + p], floats[at + p], floats[at + p + 1 :]
    at += p + 1 + J * (q * q + q + q * p)
    X, trials, sums = floats[at:], floats[at + p * N : at + p * N + N], floats[at + p * N + N :]

    x, theta, slope, dx = np.empty(d), np.empty(n), np.empty(n), np.zeros(d)
    precondition(z, d, centre, scale, x)
    start = move_intercept(x, p + q, lower)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], hyper, theta, slope, dx)
    corr, C, dC = np.empty((q, q)), np.empty((q, q)), np.zeros((q, q))
    lp += correlation(x[n:], q, floats[1], corr)
    for i in range(q):
        for j in range(q):
            C[i, j] = theta[p + i] * corr[i, j]
    delta, dbeta, ddelta = np.empty(p), np.zeros(p), np.zeros(p)
    for i in range(p):
        delta[i] = (start if lower > 0 and i == 0 else theta[i]) - offset[i]
    shape, dshape, ratio, dratio = theta[p + q :], np.zeros(n - p - q), 1.0, 0.0
    scaled = has_residual(family)
    if scaled:
        ratio = (pilot_sigma / shape[0]) ** 2
    lp += constant_of_family(family, N, shape, dshape)

    eta, score, v, du = np.empty(BLOCK), np.empty(BLOCK), np.empty((5, q, GROUP)), np.empty((q, GROUP))
    AC, R = np.empty((q, q, GROUP)), np.empty((q, q, GROUP))
    W, T = np.empty((q, q, GROUP)), np.empty((q, q, GROUP))
    dy, dt, dm = np.empty((q, GROUP)), np.empty((q, GROUP)), np.empty((q, GROUP))
    for j0 in range(0, J, GROUP):
        m = min(GROUP, J - j0)
        lp -= 0.5 * locate(tables, ratio, J, j0, m, z, d, delta, C, p, q, AC, R, W, v)
        lp += likelihood(
            *(family, X, trials, sums, p, q, random, first, j0, m),
            *(theta, shape, v, eta, score, dbeta, dshape, du),
        )
        dratio += pull_back(tables, ratio, J, j0, m, C, p, q, AC, R, W, v, du, dy, dt, dm, T, grad, d, ddelta, dC)
    if scaled:
        dshape[0] -= 2.0 * dratio / shape[0]

    for i in range(p):
        dx[i] += dbeta[i] * slope[i]
    for i in range(q):
        t = 0.0
        for j in range(i + 1):
            t += dC[i, j] * corr[i, j]
            dC[i, j] *= theta[p + i]
        dx[p + i] += t * slope[p + i]
    for i in range(n - p - q):
        dx[p + q + i] += dshape[i] * slope[p + q + i]
    correlation_gradient(x[n:], q, floats[1], corr, dC, dx[n:])
    for k in range(p + q, p + q + lower):
        dx[k] += dx[0] * math.exp(x[k])
    for i in range(p):  # delta has the coordinate of the intercept
        dx[i] += ddelta[i] * slope[i]
    precondition_gradient(dx, d, scale, grad)
    return lp


_double = types.CPointer(types.double)


@cfunc(types.int64(types.uint64, _double, _double, _double, types.voidptr), cache=True, error_model="numpy")
def log_density_c(dim, z_, grad_, lp_, user_data):
    """nutpie's callback: 0, or a positive code for a point that is to be rejected."""
    ints, floats = views(user_data, np.int64, np.float64)
    grad, lp = carray(grad_, (dim,)), carray(lp_, (1,))
    lp[0] = log_density(carray(z_, (dim,)), ints, floats, grad)
    return rejection(lp[0], grad)


@cfunc(types.int64(types.uint64, types.uint64, _double, _double, types.voidptr), cache=True, error_model="numpy")
def expand_c(dim, expanded, z_, out_, user_data):
    """Coordinates to parameters: the scalars, the Cholesky factor of the correlations, the random effects (J, q)."""
    ints, floats = views(user_data, np.int64, np.float64)
    d, n, q, p, J = ints[0], ints[1], ints[2], ints[3], ints[4]
    lower, codes, z, out = ints[7], ints[8 : 8 + 2 * n], carray(z_, (dim,)), carray(out_, (expanded,))
    at = 2 + 4 * n
    x, slope, unused, corr, C = np.empty(d), np.empty(n), np.empty(n), np.empty((q, q)), np.empty((q, q))
    precondition(z, d, floats[at : at + d], floats[at + d : at + d + d * d], x)
    start = move_intercept(x, p + q, lower)
    scalars(x, n, codes[:n], codes[n:], floats[2:at], out[:n], slope, unused)
    correlation(x[n:], q, floats[1], corr)
    at += d + d * d
    delta = np.empty(p)
    for i in range(p):
        delta[i] = (start if lower > 0 and i == 0 else out[i]) - floats[at + i]
    ratio = (floats[at + p] / out[p + q]) ** 2 if has_residual(ints[6]) else 1.0
    for i in range(q):
        for j in range(q):
            C[i, j] = out[p + i] * corr[i, j]
    AC, R, W, v = np.empty((q, q, GROUP)), np.empty((q, q, GROUP)), np.empty((q, q, GROUP)), np.empty((5, q, GROUP))
    for j0 in range(0, J, GROUP):
        m = min(GROUP, J - j0)
        locate(floats[at + p + 1 :], ratio, J, j0, m, z, d, delta, C, p, q, AC, R, W, v)
        for g in range(m):
            for a in range(q):
                out[n + q * q + (j0 + g) * q + a] = v[U, a, g]
    unsigned(out[p : p + q], corr, q, out[n:])
    return 0
