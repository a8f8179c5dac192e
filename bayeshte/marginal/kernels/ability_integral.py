"""Integrals over abilities: int N(theta; mu, sigma^2) exp(r theta - A(theta)) d theta for all units of an arm on one grid.

A(theta) = sum_{i in S} log(1 + exp(theta + d_i)): r right answers to the items S of easiness d; see `item_response.py`.

The integrand is log-concave and analytic, so the trapezoid rule converges geometrically in 1 / h: for a normal
density of SD s the relative error is 2 exp(-2 pi^2 s^2 / h^2), and the poles of the integrand at distance pi from the real
line give exp(-2 pi^2 / h) (Trefethen & Weideman, 2014, theorem 5.1). Every evaluation makes its grid anew: h = `SPACING`
times the least SD that any posterior of an ability can have, (1 / sigma^2 + |S| / 4)^(-1/2), at most `WIDEST`; the grid covers
all modes and `TAIL` sigma beyond, where the prior alone has made the integrand negligible. As the integral does not depend on
the grid, the gradient needs no derivative of it. The nodes of an arm are common to its persons: log(1 + e^(theta + d)) and the
probabilities are tabulated, A is a sum of rows. At neighbouring nodes the integrand of a unit has the ratio
exp(h r - dA - h (theta + h / 2 - mu) / sigma^2), whose normal part changes by the factor exp(-h^2 / sigma^2) from node to node:
a unit walks from its mode outwards by multiplication, without an exponential.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS, exp, log1p

SPACING, WIDEST, TAIL, NEGLIGIBLE = 0.9, 0.8, 7.5, 1e-15
MOST_NODES = 20_000
LARGEST = 300.0  # abilities and easiness beyond this are rejected: e^x must not overflow
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@njit(**SUMS)
def expected_score(theta, easiness):
    """Expected number of right answers to all items."""
    s = 0.0
    for i in range(len(easiness)):
        s += 1.0 / (1.0 + exp(-(theta + easiness[i])))
    return s


@njit(**OPTIONS)
def mode_bound(mu, sigma, easiness, surplus):
    """Ability where (theta - mu) / sigma^2 = surplus - expected score, by bisection to sigma / 4."""
    v = sigma * sigma
    low, high = mu + v * (surplus - len(easiness)), mu + v * surplus
    while high - low > 0.25 * sigma:
        middle = 0.5 * (low + high)
        if (middle - mu) / v < surplus - expected_score(middle, easiness):
            low = middle
        else:
            high = middle
    return low, high


@njit(**OPTIONS)
def grid(mu_low, mu_high, sigma, easiness, largest, least_right, least_wrong, spacing):
    """First node, distance and number of nodes for the abilities of an arm; no nodes where it cannot be done.

    The mode of a unit solves (theta - mu) / sigma^2 = r - E_S(theta), E_S the expected score on the items it has seen: with
    E the expected score on all J items, r - E_S is at least least_right - E and at most J - least_wrong - E.
    """
    low = mode_bound(mu_low, sigma, easiness, least_right)[0] - TAIL * sigma
    high = mode_bound(mu_high, sigma, easiness, len(easiness) - least_wrong)[1] + TAIL * sigma
    h = min(spacing / math.sqrt(1.0 / (sigma * sigma) + 0.25 * largest), WIDEST / SPACING * spacing)
    steepest = 0.0
    for i in range(len(easiness)):
        steepest = max(steepest, abs(easiness[i]))
    if not (max(-low, high) < LARGEST and steepest < LARGEST and (high - low) / h < MOST_NODES):
        return 0.0, 1.0, 0
    return low, h, 2 + int((high - low) / h)


@njit(**SUMS)
def tabulate(low, h, K, easiness, softplus, chance):
    """log(1 + e^x) and 1 / (1 + e^-x) at x = theta + easiness, item by item, the node varying fastest."""
    power = np.empty(K)
    for k in range(K):
        power[k] = exp(low + h * k)
    for i in range(len(easiness)):
        odds, row, p = exp(easiness[i]), softplus[i * K : i * K + K], chance[i * K : i * K + K]
        for k in range(K):
            x = odds * power[k]
            row[k] = log1p(x)
            p[k] = x / (1.0 + x)


@njit(**SUMS)
def add_items(items, table, K, out):
    """Sum over items of their rows of a table."""
    out[:] = 0.0
    for e in range(len(items)):
        row = table[items[e] * K : items[e] * K + K]
        for k in range(K):
            out[k] += row[k]


@njit(**SUMS)
def ratios(A, K, fall, rise):
    """exp(A_k - A_k+1), the factor of a step up, and its inverse."""
    for k in range(K - 1):
        fall[k] = exp(A[k] - A[k + 1])
        rise[k] = 1.0 / fall[k]


@njit(**OPTIONS)
def walk(r, mu, precision, shrink, low, h, K, A, fall, rise, f):
    """The integrand of a unit relative to its largest node: (that node, first, last, sum), the values from first to last in f.

    shrink = exp(-h^2 / sigma^2).
    """
    a, b = 0, K - 1
    while a < b:  # the integrand is log-concave: it grows up to the mode
        k = (a + b) // 2
        if h * (r - precision * (low + (k + 0.5) * h - mu)) > A[k + 1] - A[k]:
            a = k + 1
        else:
            b = k
    top = last = first = a
    f[top] = total = value = 1.0
    step = math.exp(h * (r - precision * (low + (top + 0.5) * h - mu)))
    back = shrink / step
    while last < K - 1 and value > NEGLIGIBLE:
        value *= fall[last] * step
        step *= shrink
        last += 1
        f[last] = value
        total += value
    value = 1.0
    while first > 0 and value > NEGLIGIBLE:
        first -= 1
        value *= rise[first] * back
        back *= shrink
        f[first] = value
        total += value
    return top, first, last, total


@njit(**OPTIONS)
def log_integral(r, mu, sigma, low, h, A, top, total):
    """Log of the integral from the sum of the integrand relative to node `top`."""
    theta = low + h * top
    z = (theta - mu) / sigma
    return math.log(total * h / sigma) + r * theta - A[top] - 0.5 * z * z - HALF_LOG_2PI


@njit(**SUMS)
def moments(f, first, last, top, total, weight, share):
    """Mean and mean square of (node - top); adds weight times the probabilities of the nodes to `share`."""
    one, two = 0.0, 0.0
    w = weight / total
    for k in range(first, last + 1):
        j = float(k - top)
        one += f[k] * j
        two += f[k] * (j * j)
        share[k] += w * f[k]
    return one / total, two / total


@njit(**SUMS)
def add_chances(items, chance, K, share, out):
    """out -= expected number of right answers to each item."""
    for e in range(len(items)):
        row, s = chance[items[e] * K : items[e] * K + K], 0.0
        for k in range(K):
            s += share[k] * row[k]
        out[items[e]] -= s
