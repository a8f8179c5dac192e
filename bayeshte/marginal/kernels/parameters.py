"""Unconstrained coordinates to parameters, with the log prior, its Jacobian and all derivatives.

Coordinates x are scalars followed by one correlation block. A scalar is real (theta = x), positive (theta = exp x) or
in an interval (theta = lower + width * logistic x). A correlation matrix of size q has q (q - 1) / 2 coordinates: row i of
its Cholesky factor is (x_i1, ..., x_i,i-1, 1) scaled to length one.
"""

import math

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS

REAL, POSITIVE, INTERVAL = 0, 1, 2


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
        theta[i], slope[i], dlp[i] = v, dv, d * dv + djac
    return lp


@njit(**OPTIONS)
def correlation(x, q, eta, factor):
    """Cholesky factor of the correlation matrix, and the LKJ(eta) log prior with Jacobian, up to LKJ's constant.

    With s_i the diagonal: LKJ on the factor gives (2 eta - 2 + q - i) log s_i, the Jacobian of the scaling (i + 1) log s_i.
    """
    lp = 0.0
    at = 0
    for i in range(q):
        squares = 1.0
        for j in range(i):
            squares += x[at + j] * x[at + j]
        s = 1.0 / math.sqrt(squares)
        for j in range(i):
            factor[i, j] = x[at + j] * s
        factor[i, i] = s
        for j in range(i + 1, q):
            factor[i, j] = 0.0
        at += i
        if i:
            lp += (2.0 * eta + q - 1.0) * math.log(s)
    return lp


@njit(**OPTIONS)
def correlation_gradient(x, q, eta, factor, dfactor, dx):
    """Gradient in x of `correlation` plus that of a function with gradient dfactor in the factor."""
    at = 0
    for i in range(q):
        s = factor[i, i]
        along = 0.0
        for j in range(i + 1):
            along += dfactor[i, j] * factor[i, j]
        for j in range(i):
            dx[at + j] = s * (dfactor[i, j] - along * factor[i, j]) - (2.0 * eta + q - 1.0) * x[at + j] * s * s
        at += i


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
