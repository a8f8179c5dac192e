"""Log-likelihood of negative binomial rows: counts with mean mu = e^eta and variance mu + mu^2 / phi.

With a = mu / phi and Gamma(y + phi) / (Gamma(phi) phi^y) = prod_{k < y} (1 + k / phi), the log of a row is

    sum_{k < y} log(1 + k / phi) + y eta - (y + phi) log(1 + a) - log y!,

in which nothing cancels as phi grows and the outcome becomes Poisson. A row stands for n equal ones.
"""

import math

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS, exp, log1p

LEAST = 16.0  # arguments of the gamma function from which four terms of Stirling's series have all digits


@njit(**OPTIONS)
def rise(phi, y):
    """sum_{k < y} log(1 + k / phi) and its derivative in phi: factors one by one up to `LEAST`, the rest by Stirling's series."""
    value, slope, product, k = 0.0, 0.0, 1.0, 0.0
    while k < y and (phi + k < LEAST or k < 4.0):
        product *= 1.0 + k / phi
        slope -= k / (phi * (phi + k))
        k += 1.0
        if not product < 1e200:
            value += math.log(product)
            product = 1.0
    value += math.log(product)
    if k < y:  # log Gamma(b) - log Gamma(a) - n log phi
        a, b, n = phi + k, phi + y, y - k
        u, v = 1.0 / (a * a), 1.0 / (b * b)
        growth = math.log1p(n / a)
        value += (b - 0.5) * growth - n + n * math.log1p(k / phi)
        value += stirling(v) / b - stirling(u) / a
        slope += growth - 0.5 * (1.0 / b - 1.0 / a) - stirling_slope(v) + stirling_slope(u) - n / phi
    return value, slope


@njit(**OPTIONS)
def stirling(u):
    """a (log Gamma(a) - (a - 1/2) log a + a - log(2 pi) / 2) with u = a^-2."""
    return 1.0 / 12.0 - u * (1.0 / 360.0 - u * (1.0 / 1260.0 - u / 1680.0))


@njit(**OPTIONS)
def stirling_slope(u):
    """log a - 1 / (2 a) - digamma(a) with u = a^-2."""
    return u * (1.0 / 12.0 - u * (1.0 / 120.0 - u * (1.0 / 252.0 - u / 240.0)))


@njit(**SUMS)
def negative_binomial_rows(eta, n, y, phi, score, dshape):
    """The sum of the rows but for log y!; the score in eta of each; adds the derivative in phi to dshape."""
    ll, slope, log_phi, value, change, last = 0.0, 0.0, math.log(phi), 0.0, 0.0, -1.0
    for i in range(len(eta)):
        if y[i] != last:
            last = y[i]
            value, change = rise(phi, last)
        x = eta[i] - log_phi
        e = exp(-abs(x))
        log = log1p(e) + (x if x > 0.0 else 0.0)  # log(1 + mu / phi)
        share = (1.0 if x > 0.0 else e) / (1.0 + e)  # mu / (phi + mu)
        weight = y[i] + phi
        ll += n[i] * (value + y[i] * eta[i] - weight * log)
        slope += n[i] * (change - log + weight * share / phi)
        score[i] = n[i] * (y[i] - weight * share)
    dshape[0] += slope
    return ll
