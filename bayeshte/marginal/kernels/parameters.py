"""Unconstrained coordinates to parameters, with the log prior, its Jacobian and all derivatives.

Coordinates x are scalars followed by one correlation block. A scalar is real (theta = x), positive (theta = exp x), in an
interval (theta = lower + width * logistic x), or an SD with a sign whose tails are on the log scale (theta = width * sinh x). A
correlation matrix of size q has q (q - 1) / 2 coordinates: row i of its Cholesky factor holds the partial correlations
tanh x_i1, ..., tanh x_i,i-1 (`correlation`).
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS

LN2 = math.log(2.0)


@njit(**OPTIONS)
def scalars(x, n, transform, family, hyper, theta, slope, dlp):
    """theta(x), d theta / d x, and the log prior with its Jacobian and gradient in x. hyper: (a, b, c, width) a scalar."""
    lp = 0.0
    for i in range(n):
        a, b, c, width = hyper[4 * i], hyper[4 * i + 1], hyper[4 * i + 2], hyper[4 * i + 3]
        djac = 0.0
        if transform[i] == 0:
            v, dv = x[i], 1.0
        elif transform[i] == 1:
            v = math.exp(x[i])
            dv, djac = v, 1.0
            lp += x[i]
        elif transform[i] == 3:
            v, dv, djac = width * math.sinh(x[i]), width * math.cosh(x[i]), math.tanh(x[i])
            lp += math.log(dv)
        else:
            e = math.exp(-abs(x[i]))
            s = 1.0 / (1.0 + e)
            lp += math.log(width) + 2.0 * math.log(s) - abs(x[i])
            if x[i] < 0.0:
                s = 1.0 - s
            v, dv, djac = a + width * s, width * s * (1.0 - s), 1.0 - 2.0 * s
        d = 0.0
        f = family[i]
        if f == 1:  # normal, half-normal: a = mean, b = sd
            z = (v - a) / b
            lp -= 0.5 * z * z
            d = -z / b
        elif f == 2:  # (half) Student t: a = location, b = scale, c = degrees of freedom
            z = (v - a) / b
            lp -= 0.5 * (c + 1.0) * math.log1p(z * z / c)
            d = -(c + 1.0) * z / (b * (c + z * z))
        elif f == 3:  # exponential: a = rate
            lp -= a * v
            d = -a
        elif f == 4:  # gamma: a = shape, b = rate
            lp += (a - 1.0) * math.log(v) - b * v
            d = (a - 1.0) / v - b
        elif f == 5:  # inverse gamma: a = shape, b = scale
            lp -= (a + 1.0) * math.log(v) + b / v
            d = -(a + 1.0) / v + b / (v * v)
        elif f == 6:  # log-normal: a = mean, b = sd of the logarithm
            z = (math.log(v) - a) / b
            lp -= math.log(v) + 0.5 * z * z
            d = -(1.0 + z / b) / v
        elif f == 7:  # proportional to v**a
            lp += a * math.log(v)
            d = a / v
        elif f == 8:  # of an sd whose square is inverse gamma: a = shape, b = scale
            lp -= (2.0 * a + 1.0) * math.log(v) + b / (v * v)
            d = -(2.0 * a + 1.0) / v + 2.0 * b / (v * v * v)
        theta[i], slope[i], dlp[i] = v, dv, d * dv + djac
    return lp


@njit(**OPTIONS)
def correlation(x, q, eta, factor):
    """Cholesky factor of the correlation matrix, and the LKJ(eta) log prior with Jacobian, up to LKJ's constant.

    With z_ij = tanh x_ij and 1 - z^2 = 1 / cosh^2 x: factor_ij = z_ij s_ij, s_ij^2 = prod_{k<j} (1 - z_ik^2), the diagonal
    being s_ii. LKJ on the factor gives (2 eta - 2 + q - i - 1) log s_ii, the Jacobian sum_j log (1 - z_ij^2) s_ij, so every
    z_ij has the exponent eta + (q - 1 - j) / 2 on 1 - z_ij^2: tails fall like exp(-2 |x|) or faster.
    """
    lp = 0.0
    at = 0
    for i in range(q):
        logs = 0.0
        for j in range(i):
            z = math.tanh(x[at + j])
            factor[i, j] = z * math.exp(0.5 * logs)
            log = 2.0 * (LN2 - abs(x[at + j]) - math.log1p(math.exp(-2.0 * abs(x[at + j]))))  # log(1 - z^2)
            lp += (eta + 0.5 * (q - 2 - j)) * log
            logs += log
        factor[i, i] = math.exp(0.5 * logs)
        for j in range(i + 1, q):
            factor[i, j] = 0.0
        at += i
    return lp


@njit(**OPTIONS)
def correlation_gradient(x, q, eta, factor, dfactor, dx):
    """Gradient in x of `correlation` plus that of a function with gradient dfactor in the factor."""
    at = 0
    for i in range(q):
        squares = factor[i, i] * factor[i, i]
        after = dfactor[i, i] * factor[i, i]  # all later entries of the row shrink with 1 - z_ij^2
        for j in range(i - 1, -1, -1):
            z = math.tanh(x[at + j])
            squares += factor[i, j] * factor[i, j]
            direct = dfactor[i, j] * math.sqrt(squares) * (1.0 - z * z)
            dx[at + j] = direct - z * (after + 2.0 * eta + (q - 2.0 - j))
            after += dfactor[i, j] * factor[i, j]
        at += i


@njit(**OPTIONS)
def scale_shift(sigma, pilot):
    """log((sigma^2 + k^2) / (pilot^2 + k^2)) / 2, k = pilot / 4, and its derivative: even and smooth in a signed SD."""
    k = pilot * pilot / 16.0
    v = sigma * sigma + k
    return 0.5 * math.log(v / (pilot * pilot + k)), sigma / v


@njit(**OPTIONS)
def unsigned(sd, corr, q, factor):
    """An SD may be sampled with a sign, which its correlations then share: sd made positive, its factor row by row."""
    for i in range(q):
        for j in range(q):
            factor[i * q + j] = corr[i, j] if (sd[i] < 0.0) == (sd[j] < 0.0) else -corr[i, j]
    for i in range(q):
        sd[i] = abs(sd[i])


@njit(**OPTIONS)
def precondition(z, d, centre, scale, x):
    """x = centre + scale z: coordinates in which the posterior is close to a standard normal."""
    for i in range(d):
        s = centre[i]
        for j in range(d):
            s += scale[i * d + j] * z[j]
        x[i] = s


@njit(**OPTIONS)
def precondition_gradient(dx, d, scale, dz):
    for j in range(d):
        s = 0.0
        for i in range(d):
            s += scale[i * d + j] * dx[i]
        dz[j] = s


@njit(**OPTIONS)
def correlations(x, blocks, sizes, etas, t, factors):
    """Correlations of every block, row by row of the lower triangle, to t; their Cholesky factors; the log prior."""
    lp, at, out, f = 0.0, 0, 0, 0
    for b in range(blocks):
        q = sizes[b]
        L = factors[f : f + q * q].reshape((q, q))
        lp += correlation(x[at:], q, etas[b], L)
        for i in range(1, q):
            for j in range(i):
                s = 0.0
                for k in range(j + 1):
                    s += L[i, k] * L[j, k]
                t[out] = s
                out += 1
        at += q * (q - 1) // 2
        f += q * q
    return lp


@njit(**OPTIONS)
def correlations_gradient(x, blocks, sizes, etas, dt, factors, dx):
    """Gradient in x of `correlations` plus that of a function with derivatives dt in the correlations."""
    at, out, f = 0, 0, 0
    for b in range(blocks):
        q = sizes[b]
        L, dL = factors[f : f + q * q].reshape((q, q)), np.zeros((q, q))
        for i in range(1, q):
            for j in range(i):
                for k in range(j + 1):
                    dL[i, k] += dt[out] * L[j, k]
                    dL[j, k] += dt[out] * L[i, k]
                out += 1
        correlation_gradient(x[at:], q, etas[b], L, dL, dx[at:])
        at += q * (q - 1) // 2
        f += q * q
