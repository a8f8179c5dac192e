"""Slopes and thresholds of items, sampled in coordinates parametrised by information, given everything else.

    log a_i ~ N(0, sigma_a^2)                                                             unless all slopes are one
    cumulative   log(tau_i,m+1 - tau_im) = w_im     ~ N(m, s^2),  sum_m tau_im = 0          (K_i - 2 numbers w)
    adjacent     tau_i = H w_i,  w_im               ~ N(m, s^2),  H' H = I, sum_m tau_im = 0   (m = 0; Helmert contrasts)

The shape of item i, s_i = (log a_i, w_i1 - m, ...) = C y_i with C = diag(sigma_a, s, s, ...), y ~ N(0, I), is located
by information as u is in `information.py`. What it is expected to be depends on the level of the item in the arms, beside the
mean ability, and on the scale of abilities, as a pilot fit found for each item and arm t:

    h_i = g_i - sum_t [X_it1 (l_it - l_it of the pilot) + X_it2 c(sigma_t)],
    l_it = level of item i in arm t + mean_t(x)' beta,
    c(sigma) = log(sigma / sigma of the pilot), smooth at zero (`scale_shift`),

X the information about the shape together with level and log scale.

Items with equal numbers of categories are a group and handled together, the item varying fastest. Items without a shape
(two categories and a slope of one) are in none.

Tables. ints: form, link, free slopes (0 or 1), groups; (r numbers of a shape, n items) of the groups; items of the
groups; first row of each item and their end (J + 1). floats: m, s, mean_t(x) (R p), sigma_0 (R), and by group A (r r
n), g (r n), X (R 2 r n), l (R n). Coordinates: by group t (n r), the number of the shape varying fastest."""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.categories import CUMULATIVE
from bayeshte.marginal.kernels.information import U, locate, pull_back
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.parameters import scale_shift


@njit(**OPTIONS)
def helmert(m, l):
    """Element of H: of threshold m and contrast l, both from 0."""
    if m > l + 1:
        return 0.0
    return (1.0 if m <= l else -(l + 1.0)) / math.sqrt((l + 1.0) * (l + 2.0))


@njit(**OPTIONS)
def thresholds(form, w, tau):
    """tau (n) of w (n - 1)."""
    n, mean = len(tau), 0.0
    for m in range(n):
        tau[m] = 0.0
        if form == CUMULATIVE:
            tau[m] = tau[m - 1] + math.exp(w[m - 1]) if m > 0 else 0.0
            mean += tau[m] / n
        else:
            for l in range(n - 1):
                tau[m] += helmert(m, l) * w[l]
    for m in range(n):
        tau[m] -= mean


@njit(**OPTIONS)
def thresholds_gradient(form, w, dtau, dw):
    """The gradient in w (set)."""
    n, mean = len(dtau), 0.0
    for m in range(n):
        mean += dtau[m] / n
    for l in range(n - 1):
        dw[l] = 0.0
        if form == CUMULATIVE:
            for m in range(l + 1, n):
                dw[l] += dtau[m] - mean
            dw[l] *= math.exp(w[l])
        else:
            for m in range(n):
                dw[l] += helmert(m, l) * dtau[m]


@njit(**OPTIONS)
def shift_of_arm(floats, t, R, p, beta):
    """mean_t(x)' beta."""
    s = 0.0
    for c in range(p):
        s += floats[2 + t * p + c] * beta[c]
    return s


@njit(**OPTIONS)
def group(ints, floats, sizes, g, at, z, sd_a, beta, sigma, levels):
    """The shapes of a group: its items, the located v, C, tables and factors. at: of items, of tables, of coordinates.

    sizes: R arms, p. sigma (R) and levels (R, J) are those of the arms and items.
    """
    R, p = sizes
    free, r, n = ints[2], ints[4 + 2 * g], ints[5 + 2 * g]
    items, tables = ints[at[0] : at[0] + n], floats[at[1] :]
    C = np.zeros((r, r))
    for a in range(r):
        C[a, a] = sd_a if a < free else floats[1]
    own, X, level = np.empty((r * r + r) * n), tables[(r * r + r) * n :], tables[(r * r + r + 2 * R * r) * n :]
    for k in range((r * r + r) * n):
        own[k] = tables[k]
    for t in range(R):
        arm, scale = shift_of_arm(floats, t, R, p, beta), scale_shift(sigma[t], floats[2 + R * p + t])[0]
        for i in range(n):
            for a in range(r):
                away = arm + levels[t, items[i]] - level[t * n + i]
                own[(r * r + a) * n + i] -= X[(2 * t * r + a) * n + i] * away
                own[(r * r + a) * n + i] -= X[((2 * t + 1) * r + a) * n + i] * scale
    AC, Q, W, v = np.empty((r, r, n)), np.empty((r, r, n)), np.empty((r, r, n)), np.empty((5, r, n))
    total = locate(own, 1.0, n, 0, n, z, at[2], np.empty(0), C, 0, r, AC, Q, W, v)
    return items, v, C, own, (AC, Q, W), total


@njit(**OPTIONS)
def next_group(ints, g, R, at):
    """Where the following group begins."""
    r, n = ints[4 + 2 * g], ints[5 + 2 * g]
    return at[0] + n, at[1] + (r * r + r + 2 * R * r + R) * n, at[2] + r * n


@njit(**OPTIONS)
def first_group(ints, R, p, at_z):
    return 4 + 2 * ints[3], 2 + R * p + R, at_z


@njit(**OPTIONS)
def shapes(ints, floats, sizes, z, at_z, sd_a, beta, sigma, levels, first, slope, tau):
    """Slopes a (J) and thresholds of all items; the sum of |y|^2 + log det M."""
    form, free, total = ints[0], ints[2], 0.0
    slope[:] = 1.0
    tau[:] = 0.0
    at = first_group(ints, sizes[0], sizes[1], at_z)
    for g in range(ints[3]):
        items, v, _, _, _, added = group(ints, floats, sizes, g, at, z, sd_a, beta, sigma, levels)
        total += added
        r = ints[4 + 2 * g]
        w = np.empty(r - free)
        for i in range(len(items)):
            k = items[i]
            if free:
                slope[k] = math.exp(v[U, 0, i])
            for l in range(r - free):
                w[l] = floats[0] + v[U, free + l, i]
            if r > free:
                thresholds(form, w, tau[first[k] + 1 : first[k + 1]])
        at = next_group(ints, g, sizes[0], at)
    return total


@njit(**OPTIONS)
def shapes_gradient(ints, floats, sizes, z, at_z, sd_a, beta, sigma, levels, first, dslope, dtau, grad, out):
    """From the derivatives in log a and tau to those in t (to grad), and in out, added: beta, sigma, levels; that in sigma_a."""
    R, p = sizes
    dbeta, dsigma, dlevels = out
    form, free, dsd = ints[0], ints[2], 0.0
    at = first_group(ints, R, p, at_z)
    for g in range(ints[3]):
        items, v, C, own, (AC, Q, W), _ = group(ints, floats, sizes, g, at, z, sd_a, beta, sigma, levels)
        r, n = ints[4 + 2 * g], len(items)
        du, w, dw = np.empty((r, n)), np.empty(r - free), np.empty(r - free)
        for i in range(n):
            k = items[i]
            if free:
                du[0, i] = dslope[k]
            for l in range(r - free):
                w[l] = floats[0] + v[U, free + l, i]
            if r > free:
                thresholds_gradient(form, w, dtau[first[k] + 1 : first[k + 1]], dw)
            for l in range(r - free):
                du[free + l, i] = dw[l]
        dy, dt, dm, T = np.empty((r, n)), np.empty((r, n)), np.empty((r, n)), np.empty((r, r, n))
        dC, none = np.zeros((r, r)), np.empty(0)
        pull_back(own, 1.0, n, 0, n, C, 0, r, AC, Q, W, v, du, dy, dt, dm, T, grad, at[2], none, dC)
        if free:
            dsd += dC[0, 0]
        X = floats[at[1] + (r * r + r) * n :]
        for t in range(R):
            darm, dscale = 0.0, 0.0
            for i in range(n):
                change = 0.0
                for a in range(r):
                    dh = C[a, a] * dm[a, i]
                    change -= X[(2 * t * r + a) * n + i] * dh
                    dscale -= X[((2 * t + 1) * r + a) * n + i] * dh
                darm += change
                dlevels[t, items[i]] += change
            for c in range(p):
                dbeta[c] += darm * floats[2 + t * p + c]
            dsigma[t] += dscale * scale_shift(sigma[t], floats[2 + R * p + t])[1]
        at = next_group(ints, g, R, at)
    return dsd
