"""Log-likelihoods of rows given their linear predictors eta, summed, with the score of every row.

A row stands for n equal ones whose outcomes have the sum s. exp, log and log Phi are written out in arithmetic only, so that
the loops over rows are vectorised; a call to libm a row costs four times as much.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.polynomial import chebyshev
from scipy.special import erfcx

from bayeshte.marginal.kernels.linear import OPTIONS

STUDENT, LOGIT, PROBIT, POISSON, SKEW_NORMAL = 0, 1, 2, 3, 5  # 4 is Gaussian, in mixtures

#: Products and sums may be fused; sums over rows may also be reordered, which vectorises them. NaN and infinity stay.
FUSED = dict(OPTIONS, fastmath={"contract"})
SUMS = dict(OPTIONS, fastmath={"contract", "reassoc"})

LOG2_E, LN2 = 1.0 / math.log(2.0), math.log(2.0)
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2 in two parts, for exact reduction
SHIFT = 1.5 * 2.0**52  # x + SHIFT rounds x to an integer and leaves it in the low bits
SQRT_HALF_BITS = int(np.float64(math.sqrt(0.5)).view(np.int64))
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
SQRT_2_PI = math.sqrt(2.0 / math.pi)
EXP = tuple(1.0 / math.factorial(k) for k in range(13, -1, -1))
ARTANH = tuple(1.0 / (2 * k + 1) for k in range(10, -1, -1))


def _tail_polynomial(degree=24, scale=3.0):
    """P with Phi(-z) = t exp(P(2 t - 1) - z^2 / 2), t = scale / (scale + z), z >= 0; |error| < 1e-14 for all z."""

    def exponent(x):
        t = (x + 1) / 2
        return np.log(erfcx(scale * (1 - t) / t / math.sqrt(2)) / (2 * t))

    return tuple(float(c) for c in chebyshev.cheb2poly(chebyshev.chebinterpolate(exponent, degree))[::-1])


TAIL = _tail_polynomial()
TAIL_EVEN, TAIL_ODD = TAIL[::2], TAIL[1::2]  # a loop of 25 terms would not be unrolled, nor those around it vectorised


@intrinsic
def to_bits(typingctx, value):
    """The 64 bits of a double as an integer."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def from_bits(typingctx, value):
    """The double with these 64 bits."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@njit(**FUSED)
def polynomial(coefficients, x):
    """Horner's rule, highest power first."""
    s = 0.0
    for i in range(len(coefficients)):
        s = s * x + coefficients[i]
    return s


@njit(**FUSED)
def exp(x):
    """e^x to 2.3e-16, infinite above 709, at least 3e-308."""
    x = -708.0 if x < -708.0 else x
    shifted = x * LOG2_E + SHIFT
    n = shifted - SHIFT
    s = polynomial(EXP, (x - n * LN2_HIGH) - n * LN2_LOW)
    s = from_bits(to_bits(s) + (to_bits(shifted) << 52))
    return s if x < 709.0 else math.inf


@njit(**FUSED)
def log1p(x):
    """log(1 + x) to 4e-16, relative near 0, for x > -1/2; infinite for infinity and NaN.

    1 + x = 2^n m with m in [sqrt(1/2), sqrt 2), and log m = 2 artanh f with f = (m - 1) / (m + 1).
    """
    n = (to_bits(1.0 + x) - SQRT_HALF_BITS) >> 52
    s = from_bits((1023 - n) << 52)  # 2^-n
    f = (x * s + (s - 1.0)) / (x * s + (s + 1.0))
    y = n * LN2 + 2.0 * f * polynomial(ARTANH, f * f)
    return y if x < 1e300 else math.inf


@njit(**SUMS)
def logit_rows(eta, n, s, score):
    """s eta - n log(1 + e^eta), summed; the derivative in eta goes to score."""
    ll = 0.0
    for i in range(len(eta)):
        x = eta[i]
        e = exp(-abs(x))
        ll += s[i] * x - n[i] * ((x if x > 0.0 else 0.0) + log1p(e))
        rare = n[i] * e / (1.0 + e)  # expected number of the less likely outcome
        score[i] = s[i] - n[i] + rare if x > 0.0 else s[i] - rare
    return ll


@njit(**SUMS)
def probit_rows(eta, n, s, score):
    """s log Phi(eta) + (n - s) log Phi(-eta), summed."""
    ll = 0.0
    for i in range(len(eta)):
        x = eta[i]
        z = abs(x)
        t = 3.0 / (3.0 + z)
        v = 2.0 * t - 1.0
        power = polynomial(TAIL_EVEN, v * v) + v * polynomial(TAIL_ODD, v * v)
        scaled = t * exp(power)  # Phi(-z) e^(z^2 / 2)
        normal = exp(-0.5 * z * z)
        tail = scaled * normal
        rare = n[i] - s[i] if x > 0.0 else s[i]  # outcomes of probability Phi(-z)
        common = n[i] - rare
        ll += rare * (power - 0.5 * z * z - log1p(z / 3.0)) + common * log1p(-tail)
        slope = INV_SQRT_2PI * (common * normal / (1.0 - tail) - rare / scaled)  # in z
        score[i] = slope if x > 0.0 else -slope
    return ll


@njit(**SUMS)
def poisson_rows(eta, n, s, score):
    """s eta - n e^eta, summed."""
    ll = 0.0
    for i in range(len(eta)):
        mean = n[i] * exp(eta[i])
        ll += s[i] * eta[i] - mean
        score[i] = s[i] - mean
    return ll


@njit(**SUMS)
def student_rows(eta, y, sigma, nu, score, dshape):
    """-(nu + 1) / 2 log(1 + r^2 / nu), r = (y - eta) / sigma, summed; adds the derivatives in sigma, nu to dshape."""
    logs, shares = 0.0, 0.0
    for i in range(len(eta)):
        r = (y[i] - eta[i]) / sigma
        a = r * r / nu
        logs += log1p(a)
        share = (nu + 1.0) / (1.0 + a)
        shares += share * a
        score[i] = share * r / (nu * sigma)
    dshape[0] += shares / sigma
    dshape[1] += 0.5 * (shares / nu - logs)
    return -0.5 * (nu + 1.0) * logs


@njit(**OPTIONS)
def skew_moments(alpha):
    """Mean m and SD k of Azzalini's skew normal with location 0 and scale 1, and their derivatives in alpha.

    m = sqrt(2 / pi) alpha / sqrt(1 + alpha^2), k^2 = 1 - m^2.
    """
    root = math.sqrt(1.0 + alpha * alpha)
    m, dm = SQRT_2_PI * alpha / root, SQRT_2_PI / (root * root * root)
    k = math.sqrt(1.0 - m * m)
    return m, k, dm, -m * dm / k


@njit(**SUMS)
def skew_normal_rows(eta, y, sigma, alpha, score, dshape):
    """-z^2 / 2 + log Phi(alpha z), z = m + k (y - eta) / sigma, summed: eta is the mean, sigma the SD of the outcome.

    With h = phi / Phi at alpha z and g = z - alpha h, the derivatives are k g / sigma in eta, (r k g) / sigma in sigma with
    r = (y - eta) / sigma, and h z - g (m' + r k') in alpha; those in sigma and alpha are added to dshape.
    """
    m, k, dm, dk = skew_moments(alpha)
    ll, plain, times, direct = 0.0, 0.0, 0.0, 0.0
    for i in range(len(eta)):
        r = (y[i] - eta[i]) / sigma
        z = m + k * r
        x = alpha * z
        a = abs(x)
        t = 3.0 / (3.0 + a)
        v = 2.0 * t - 1.0
        power = polynomial(TAIL_EVEN, v * v) + v * polynomial(TAIL_ODD, v * v)
        scaled = t * exp(power)  # Phi(-a) e^(a^2 / 2)
        normal = exp(-0.5 * a * a)
        tail = scaled * normal
        left, right = power - 0.5 * a * a - log1p(a / 3.0), log1p(-tail)
        h = INV_SQRT_2PI * (normal / (1.0 - tail) if x > 0.0 else 1.0 / scaled)
        g = z - alpha * h
        ll += (right if x > 0.0 else left) - 0.5 * z * z
        plain += g
        times += g * r
        direct += h * z
        score[i] = k * g / sigma
    dshape[0] += k * times / sigma
    dshape[1] += direct - dm * plain - dk * times
    return ll


@njit(**OPTIONS)
def skew_normal_constant(N, sigma, alpha, dshape):
    """log(2 k / (sigma sqrt(2 pi))) of N skew normal densities, with its derivatives in sigma and alpha."""
    _, k, _, dk = skew_moments(alpha)
    dshape[0] -= N / sigma
    dshape[1] += N * dk / k
    return N * (math.log(2.0 * INV_SQRT_2PI) + math.log(k) - math.log(sigma))


@njit(**OPTIONS)
def log_gamma_step(x):
    """log Gamma(x + 1/2) - log Gamma(x) and its derivative, without the cancellation of two calls of lgamma at large x.

    Recurrence up to x >= 20, then the asymptotic series of the difference; its next term is 31 / (18432 x^9) < 4e-15.
    """
    value, slope = 0.0, 0.0
    while x < 20.0:
        value -= math.log1p(0.5 / x)
        slope += 0.5 / (x * (x + 0.5))
        x += 1.0
    v = 1.0 / (x * x)
    value += 0.5 * math.log(x) + (-1.0 / 8.0 + v * (1.0 / 192.0 + v * (-1.0 / 640.0 + v * 17.0 / 14336.0))) / x
    slope += 0.5 / x + v * (1.0 / 8.0 + v * (-3.0 / 192.0 + v * (5.0 / 640.0 - v * 119.0 / 14336.0)))
    return value, slope


@njit(**OPTIONS)
def student_constant(N, sigma, nu, dshape):
    """The normalising constants of N Student t densities, with their derivatives in sigma and nu."""
    value, slope = log_gamma_step(0.5 * nu)
    dshape[0] -= N / sigma
    dshape[1] += 0.5 * N * (slope - 1.0 / nu)
    return N * (value - 0.5 * math.log(nu * math.pi) - math.log(sigma))
