"""Log density of a Rasch model with item-level treatment effects, abilities integrated, item effects sampled.

    logit P(y_ij = 1) = theta_j + d_it,   d_it = u_i1 + t u_i2,   theta_j ~ N(mu_j, sigma^2),   mu_j = x_j' beta,

person j in arm t = 0, 1, item i, u_i = (b_i, zeta_i) ~ N(0, C C'), C = diag(sd) Lc. Given theta, the number r_j of right
answers to the items S_j that j has seen is sufficient, so that with A(theta) = sum_{i in S} log(1 + exp(theta + d_it))

    log p(y_j) = sum_i y_ij d_it + log int N(theta; mu_j, sigma^2) exp(r_j theta - A(theta)) d theta.

Persons with equal arm, S, r and x are one unit with a count; units with equal arm and S are a pattern. Without covariates the
cost does not depend on the number of persons.

`ability_integral.py` has the integral. Derivatives, with expectations over theta given y:

    d log p / d mu = (E theta - mu) / sigma^2,   d / d sigma = (E (theta - mu)^2 / sigma^2 - 1) / sigma,
    d / d d_it = y_ij - E p_it(theta).

Below sigma = `LEAST` (or the range of mu over `STEPS`) the log-likelihood, which is even in sigma, is continued by the parabola
that has its slope there: the error is of fourth order in sigma, and no grid has to be finer.

u is parametrised by information as in `glmm.py`, whose M, h, t and derivatives are used here with items as clusters. That takes
items to be independent given the other parameters. Their common level is not: adding a constant to all is nearly the same as
taking it from all abilities, and known only as well as the mean ability of an arm is. V (orthonormal) has one column for each
effect, the direction in which that of all items grows alike; with w = V' z of the sampled coordinates, t = z + V D w, and K w is
added to the preconditioned coordinates, so that with D and K of a pilot fit w is uncorrelated with them and of variance one.

Tables. ints: d, scalars, q, p, J items, N units, G patterns, (transform, family) of the scalars, arm of each pattern (G), its
first unit and N (G + 1), its first entry in the list of items and the end (G + 1), that list. floats: constant, eta, hyper (4 a
scalar), centre (d), scale (d d), offset (p), A (q q J), g (q J), B (q p J), V and V D (J q, q), K (d, q), right answers
(arm, J), then by arm the largest |S|, the smallest r and the smallest |S| - r, and by unit its count, r and x (p). Patterns are
sorted by arm, units by pattern. The scalars are beta (p), sd (q), sigma. Coordinates: d that are preconditioned, then t (J q, the
effect varying fastest).
"""

import math

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.ability_integral import (
    SPACING,
    add_chances,
    add_items,
    grid,
    log_integral,
    moments,
    ratios,
    tabulate,
    walk,
)
from bayeshte.marginal.kernels.glmm import U, locate, pull_back
from bayeshte.marginal.kernels.linear import OPTIONS, views
from bayeshte.marginal.kernels.parameters import (
    correlation,
    correlation_gradient,
    precondition,
    precondition_gradient,
    scalars,
    unsigned,
)

LEAST, STEPS = 1e-3, 4000.0


@njit(**OPTIONS)
def arm_likelihood(easiness, sigma, patterns, arm, structure, limits, units, mu, dmu, ditem):
    """Log-likelihood of an arm but for the sum of y d; d log p / d mu of its units, d / d easiness added, d / d sigma.

    structure: first unit, first item, items of the patterns. units: count and r. NaN where there is no grid.
    """
    first_unit, first_item, items = structure
    count, score = units
    start, stop = first_unit[patterns[0]], first_unit[patterns[1]]
    mu_low, mu_high = mu[start], mu[start]
    for u in range(start, stop):
        mu_low, mu_high = min(mu_low, mu[u]), max(mu_high, mu[u])
    low, h, K = grid(mu_low, mu_high, sigma, easiness, limits[arm], limits[2 + arm], limits[4 + arm], SPACING)
    if K == 0:
        return math.nan, 0.0
    J, precision = len(easiness), 1.0 / (sigma * sigma)
    softplus, chance = np.empty(J * K), np.empty(J * K)
    A, fall, rise, f, share = np.empty(K), np.empty(K), np.empty(K), np.empty(K), np.empty(K)
    tabulate(low, h, K, easiness, softplus, chance)
    ll, dsigma, shrink = 0.0, 0.0, math.exp(-h * h * precision)
    for g in range(patterns[0], patterns[1]):
        seen = items[first_item[g] : first_item[g + 1]]
        add_items(seen, softplus, K, A)
        ratios(A, K, fall, rise)
        share[:] = 0.0
        for u in range(first_unit[g], first_unit[g + 1]):
            top, first, last, total = walk(score[u], mu[u], precision, shrink, low, h, K, A, fall, rise, f)
            ll += count[u] * log_integral(score[u], mu[u], sigma, low, h, A, top, total)
            one, two = moments(f, first, last, top, total, count[u], share)
            away = low + h * top - mu[u]
            dmu[u] = count[u] * precision * (away + h * one)
            square = away * away + 2.0 * away * h * one + h * h * two
            dsigma += count[u] * (square * precision - 1.0) / sigma
        add_chances(seen, chance, K, share, ditem)
    return ll, dsigma


@njit(**OPTIONS)
def likelihood(ints, at_structure, data, p, J, N, G, beta, sigma, v, q, dbeta, du):
    """Log-likelihood of all responses given the item effects v[U], and its derivative in sigma; those in beta and u are added."""
    arms = ints[at_structure : at_structure + G]
    at = at_structure + G
    structure = ints[at : at + G + 1], ints[at + G + 1 : at + 2 * G + 2], ints[at + 2 * G + 2 :]
    right, limits = data[: 2 * J], data[2 * J : 2 * J + 6]
    units = data[2 * J + 6 : 2 * J + 6 + N], data[2 * J + 6 + N : 2 * J + 6 + 2 * N]
    x = data[2 * J + 6 + 2 * N :]
    mu, dmu, easiness, ditem = np.empty(N), np.empty(N), np.empty(J), np.empty(J)
    low, high = math.inf, -math.inf
    for j in range(N):
        s = 0.0
        for c in range(p):
            s += x[j * p + c] * beta[c]
        mu[j] = s
        low, high = min(low, s), max(high, s)
    size, least = abs(sigma), max(LEAST, (high - low) / STEPS)
    used = max(size, least)
    ll, slope, begin = 0.0, 0.0, 0
    for arm in range(2):
        end = begin
        while end < G and arms[end] == arm:
            end += 1
        for i in range(J):
            easiness[i] = v[U, 0, i] + (v[U, 1, i] if arm == 1 and q > 1 else 0.0)
            ditem[i] = right[arm * J + i]
            ll += right[arm * J + i] * easiness[i]
        value, ds = arm_likelihood(easiness, used, (begin, end), arm, structure, limits, units, mu, dmu, ditem)
        ll += value
        slope += ds
        for i in range(J):
            du[0, i] += ditem[i]
            if arm == 1 and q > 1:
                du[1, i] += ditem[i]
        begin = end
    for j in range(N):
        for c in range(p):
            dbeta[c] += dmu[j] * x[j * p + c]
    if size < least:
        ll += slope * (size * size - least * least) / (2.0 * least)
        slope *= size / least
    return ll, slope if sigma > 0.0 else -slope


@njit(**OPTIONS)
def stretch(z, d, n, r, directions, out):
    """The preconditioned coordinates plus K w, and t = z + V D w; directions: V and V D (n, r), K (d, r)."""
    V, VD, K = directions[: n * r], directions[n * r : 2 * n * r], directions[2 * n * r :]
    for i in range(d + n):
        out[i] = z[i]
    for a in range(r):
        w = 0.0
        for i in range(n):
            w += V[i * r + a] * z[d + i]
        for i in range(n):
            out[d + i] += VD[i * r + a] * w
        for i in range(d):
            out[i] += K[i * r + a] * w


@njit(**OPTIONS)
def stretch_gradient(dout, d, n, r, directions, dz):
    """The gradient in z from that in the output of `stretch`."""
    V, VD, K = directions[: n * r], directions[n * r : 2 * n * r], directions[2 * n * r :]
    for i in range(d + n):
        dz[i] = dout[i]
    for a in range(r):
        dw = 0.0
        for i in range(n):
            dw += VD[i * r + a] * dout[d + i]
        for i in range(d):
            dw += K[i * r + a] * dout[i]
        for i in range(n):
            dz[d + i] += V[i * r + a] * dw


@njit(**OPTIONS)
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    d, n, q, p, J = ints[0], ints[1], ints[2], ints[3], ints[4]
    codes, at = ints[7 : 7 + 2 * n], 2 + 4 * n
    hyper, centre, scale = floats[2:at], floats[at : at + d], floats[at + d : at + d + d * d]
    at += d + d * d
    offset, tables = floats[at : at + p], floats[at + p :]
    at += p + J * (q * q + q + q * p)
    directions, data = floats[at:], floats[at + (2 * J * q + d) * q :]

    x, theta, slope, dx = np.empty(d), np.empty(n), np.empty(n), np.zeros(d)
    inner, dinner = np.empty(d + J * q), np.empty(d + J * q)
    stretch(z, d, J * q, q, directions, inner)
    precondition(inner, d, centre, scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], hyper, theta, slope, dx)
    corr, C, dC = np.empty((q, q)), np.empty((q, q)), np.zeros((q, q))
    lp += correlation(x[n:], q, floats[1], corr)
    for i in range(q):
        for j in range(q):
            C[i, j] = theta[p + i] * corr[i, j]
    delta, dbeta = np.empty(p), np.zeros(p)
    for i in range(p):
        delta[i] = theta[i] - offset[i]

    v, du = np.empty((5, q, J)), np.zeros((q, J))
    AC, R, W, T = np.empty((q, q, J)), np.empty((q, q, J)), np.empty((q, q, J)), np.empty((q, q, J))
    dy, dt, dm = np.empty((q, J)), np.empty((q, J)), np.empty((q, J))
    lp -= 0.5 * locate(tables, 1.0, J, 0, J, inner, d, delta, C, p, q, AC, R, W, v)
    ll, dsigma = likelihood(ints, 7 + 2 * n, data, p, J, ints[5], ints[6], theta, theta[p + q], v, q, dbeta, du)
    lp += ll
    pull_back(tables, 1.0, J, 0, J, C, p, q, AC, R, W, v, du, dy, dt, dm, T, dinner, d, dbeta, dC)

    for i in range(p):
        dx[i] += dbeta[i] * slope[i]
    for i in range(q):
        t = 0.0
        for j in range(i + 1):
            t += dC[i, j] * corr[i, j]
            dC[i, j] *= theta[p + i]
        dx[p + i] += t * slope[p + i]
    dx[p + q] += dsigma * slope[p + q]
    correlation_gradient(x[n:], q, floats[1], corr, dC, dx[n:])
    precondition_gradient(dx, d, scale, dinner)
    stretch_gradient(dinner, d, J * q, q, directions, grad)
    return lp


_double = types.CPointer(types.double)


@cfunc(types.int64(types.uint64, _double, _double, _double, types.voidptr), cache=True, error_model="numpy")
def log_density_c(dim, z_, grad_, lp_, user_data):
    """nutpie's callback: 0, or a positive code for a point that is to be rejected."""
    ints, floats = views(user_data, np.int64, np.float64)
    grad, lp = carray(grad_, (dim,)), carray(lp_, (1,))
    lp[0] = log_density(carray(z_, (dim,)), ints, floats, grad)
    if not math.isfinite(lp[0]):
        return 4
    for i in range(dim):
        if not math.isfinite(grad[i]):
            return 3
    return 0


@cfunc(types.int64(types.uint64, types.uint64, _double, _double, types.voidptr), cache=True, error_model="numpy")
def expand_c(dim, expanded, z_, out_, user_data):
    """Coordinates to parameters: the scalars, the Cholesky factor of the correlations, the item effects (J, q)."""
    ints, floats = views(user_data, np.int64, np.float64)
    d, n, q, p, J = ints[0], ints[1], ints[2], ints[3], ints[4]
    codes, z, out = ints[7 : 7 + 2 * n], carray(z_, (dim,)), carray(out_, (expanded,))
    at = 2 + 4 * n
    x, slope, unused, corr, C = np.empty(d), np.empty(n), np.empty(n), np.empty((q, q)), np.empty((q, q))
    inner = np.empty(d + J * q)
    stretch(z, d, J * q, q, floats[at + d + d * d + p + J * (q * q + q + q * p) :], inner)
    precondition(inner, d, floats[at : at + d], floats[at + d : at + d + d * d], x)
    scalars(x, n, codes[:n], codes[n:], floats[2:at], out[:n], slope, unused)
    correlation(x[n:], q, floats[1], corr)
    at += d + d * d
    delta = np.empty(p)
    for i in range(p):
        delta[i] = out[i] - floats[at + i]
    for i in range(q):
        for j in range(q):
            C[i, j] = out[p + i] * corr[i, j]
    AC, R, W, v = np.empty((q, q, J)), np.empty((q, q, J)), np.empty((q, q, J)), np.empty((5, q, J))
    locate(floats[at + p :], 1.0, J, 0, J, inner, d, delta, C, p, q, AC, R, W, v)
    for i in range(J):
        for a in range(q):
            out[n + q * q + i * q + a] = v[U, a, i]
    unsigned(out[p : p + q], corr, q, out[n:])
    out[p + q] = abs(out[p + q])
    return 0
