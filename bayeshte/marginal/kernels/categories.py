"""Probabilities of the categories of items as functions of the ability, tabulated on nodes, with their derivatives.

An item has categories 0, ..., K - 1, a level (easiness in the arm), a slope a > 0 and thresholds tau_1, ..., tau_K-1:

    CUMULATIVE   F^-1 P(y >= m) = x_m,   x_m = a (theta + level - tau_m),   tau increasing                       (1)
    ADJACENT     log P(y = m) / P(y = m - 1) = a (theta + level - tau_m)                                            (2)

(1) is Samejima's graded response model, F logistic or normal; (2) the (generalised) partial credit model of Masters
and Muraki. With two categories both are the two-parameter model.

(1): P(y = m) = F(x_m) - F(x_m+1) is taken from the tails that are the smaller: with L their logarithms, the larger
minus the smaller, log P = L_large + log(1 - e^(L_small - L_large)). d log P / d x_m = f(x_m) / P and d log P / d x_m+1
= -f(x_m+1) / P. For a logistic F, P = F(x_m) (1 - F(x_m+1)) (1 - e^(x_m+1 - x_m)). (2): with w_m = m a (theta + level)
- a (tau_1 + ... + tau_m), log P(y = m) = w_m - log Z, Z = sum_m e^w_m. As w is linear in theta, persons enter through
sum_i a_i y_i only, and the table has log Z and the probabilities.

Rows of the tables are categories, items one after another from `first`; tau has the same positions (that of category 0
is unused). The node varies fastest: theta_k = low + h k."""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import INV_SQRT_2PI, SUMS, TAIL_EVEN, TAIL_ODD, exp, log1p, polynomial

CUMULATIVE, ADJACENT = 0, 1
LOGIT, PROBIT = 0, 1
CLOSEST = 1e-7  # distance of two thresholds times the slope, below which a point is rejected: P has no digits left
LOG_INV_SQRT_2PI = math.log(INV_SQRT_2PI)


@njit(**SUMS)
def logit_tails(slope, at, low, h, lower, upper, chance):
    """log F(x), log(1 - F(x)) and F(x) at x = slope (theta + at) of the nodes theta."""
    for k in range(len(lower)):
        x = slope * (low + h * k + at)
        e = exp(-abs(x))
        log = log1p(e)
        lower[k] = -log - (-x if x < 0.0 else 0.0)
        upper[k] = -log - (x if x > 0.0 else 0.0)
        chance[k] = (1.0 if x > 0.0 else e) / (1.0 + e)


@njit(**SUMS)
def probit_tails(slope, at, low, h, lower, upper, height):
    """log F(x), log(1 - F(x)) and log f(x), likewise."""
    for k in range(len(lower)):
        x = slope * (low + h * k + at)
        z = abs(x)
        v = 6.0 / (3.0 + z) - 1.0
        rare = polynomial(TAIL_EVEN, v * v) + v * polynomial(TAIL_ODD, v * v) - 0.5 * z * z - log1p(z / 3.0)
        common = log1p(-exp(rare))
        lower[k] = common if x > 0.0 else rare
        upper[k] = rare if x > 0.0 else common
        height[k] = LOG_INV_SQRT_2PI - 0.5 * x * x


@njit(**SUMS)
def logit_category(lower, chance, upper_next, chance_next, distance, logp, below, above):
    """log P of a category between two thresholds at a distance in x, and its derivatives in x at either."""
    constant, g = math.log(-math.expm1(-distance)), 1.0 / math.expm1(distance)
    for k in range(len(logp)):
        logp[k] = lower[k] + upper_next[k] + constant
        below[k] = 1.0 - chance[k] + g
        above[k] = -chance_next[k] - g


@njit(**SUMS)
def probit_category(lower, upper, height, lower_next, upper_next, height_next, logp, below, above):
    """The same for a normal F."""
    for k in range(len(logp)):
        right = (
            lower[k] > upper_next[k]
        )  # most of the probability of the two tails is on the left: take those of the right
        large = upper_next[k] if right else lower[k]
        small = upper[k] if right else lower_next[k]
        p = large + log1p(-exp(small - large))
        logp[k] = p
        below[k] = exp(height[k] - p)
        above[k] = -exp(height_next[k] - p)


@njit(**SUMS)
def end_category(link, tail, third, sign, logp, slope):
    """log P below the first threshold (sign -1; tail 1 - F) or above the last one (sign 1; tail F), and its derivative in x."""
    for k in range(len(logp)):
        logp[k] = tail[k]
    if link == PROBIT:
        for k in range(len(logp)):
            slope[k] = sign * exp(third[k] - tail[k])
    else:
        for k in range(len(logp)):
            slope[k] = -third[k] if sign < 0.0 else 1.0 - third[k]


@njit(**OPTIONS)
def tabulate_cumulative(link, level, slope, tau, first, low, h, K, logp, below, above):
    """log P (row, node) and its derivatives in the x of the thresholds below and above a category; False if two are equal."""
    now, after = np.empty((3, K)), np.empty((3, K))
    for i in range(len(level)):
        for r in range(first[i], first[i + 1]):
            row, b, a = logp[r * K : r * K + K], below[r * K : r * K + K], above[r * K : r * K + K]
            bottom, top = r == first[i], r == first[i + 1] - 1
            if not top:
                at = level[i] - tau[r + 1]
                if link == LOGIT:
                    logit_tails(slope[i], at, low, h, after[0], after[1], after[2])
                else:
                    probit_tails(slope[i], at, low, h, after[0], after[1], after[2])
            if bottom:
                b[:] = 0.0
                end_category(link, after[1], after[2], -1.0, row, a)
            elif top:
                a[:] = 0.0
                end_category(link, now[0], now[2], 1.0, row, b)
            else:
                distance = slope[i] * (tau[r + 1] - tau[r])
                if not distance > CLOSEST:
                    return False
                if link == LOGIT:
                    logit_category(now[0], now[2], after[1], after[2], distance, row, b, a)
                else:
                    probit_category(now[0], now[1], now[2], after[0], after[1], after[2], row, b, a)
            now, after = after, now
    return True


@njit(**SUMS)
def add_weight(slope, m, at, low, h, w, largest):
    """w = m slope (theta + at) of the nodes, which may raise the largest so far."""
    for k in range(len(w)):
        w[k] = m * slope * (low + h * k) + at
        largest[k] = w[k] if w[k] > largest[k] else largest[k]


@njit(**SUMS)
def add_exp(w, largest, total):
    """w = e^(w - largest), added to the total."""
    for k in range(len(w)):
        w[k] = exp(w[k] - largest[k])
        total[k] += w[k]


@njit(**SUMS)
def finish(largest, total, log_z):
    """log Z from the largest term and the sum relative to it, whose inverse is left."""
    for k in range(len(total)):
        log_z[k] = largest[k] + log1p(total[k] - 1.0)
        total[k] = 1.0 / total[k]


@njit(**SUMS)
def scale_rows(row, factor):
    for k in range(len(row)):
        row[k] *= factor[k]


@njit(**OPTIONS)
def tabulate_adjacent(level, slope, tau, first, low, h, K, log_z, chance):
    """log Z (item, node) and the probabilities of the categories (row, node)."""
    largest, total = np.empty(K), np.empty(K)
    for i in range(len(level)):
        largest[:] = 0.0  # that of category 0
        total[:] = 0.0
        steps = 0.0
        for r in range(first[i], first[i + 1]):
            m = r - first[i]
            if m > 0:
                steps += tau[r]
            at = slope[i] * (m * level[i] - steps)
            add_weight(slope[i], float(m), at, low, h, chance[r * K : r * K + K], largest)
        for r in range(first[i], first[i + 1]):
            add_exp(chance[r * K : r * K + K], largest, total)
        finish(largest, total, log_z[i * K : i * K + K])
        for r in range(first[i], first[i + 1]):
            scale_rows(chance[r * K : r * K + K], total)


@njit(**OPTIONS)
def mean_and_variance(x, tau, slope):
    """Mean and variance of a category under (2) at x = theta + level; tau of the item, its first unused."""
    largest, w = 0.0, 0.0
    for m in range(1, len(tau)):
        w += slope * (x - tau[m])
        largest = max(largest, w)
    zero, one, two, w = 0.0, 0.0, 0.0, 0.0
    for m in range(len(tau)):
        if m > 0:
            w += slope * (x - tau[m])
        p = math.exp(w - largest)
        zero, one, two = zero + p, one + m * p, two + m * m * p
    one /= zero
    return one, two / zero - one * one


@njit(**OPTIONS)
def hazard(link, x):
    """f(x) / F(x) = d log F / d x."""
    if link == LOGIT:
        return 1.0 / (1.0 + math.exp(min(x, 700.0)))
    z = abs(x)
    v = 6.0 / (3.0 + z) - 1.0
    scaled = 3.0 / (3.0 + z) * math.exp(polynomial(TAIL_EVEN, v * v) + v * polynomial(TAIL_ODD, v * v))
    if x < 0.0:
        return INV_SQRT_2PI / scaled
    normal = math.exp(-0.5 * z * z)
    return INV_SQRT_2PI * normal / (1.0 - scaled * normal)


@njit(**OPTIONS)
def extreme_score(form, link, theta, level, slope, tau, first, highest):
    """d log P / d theta of the lowest or of the highest categories of all items."""
    s = 0.0
    for i in range(len(level)):
        start, stop = first[i], first[i + 1]
        if form == CUMULATIVE:
            if highest:
                s += slope[i] * hazard(link, slope[i] * (theta + level[i] - tau[stop - 1]))
            else:
                s -= slope[i] * hazard(link, -slope[i] * (theta + level[i] - tau[start + 1]))
        else:
            mean = mean_and_variance(theta + level[i], tau[start:stop], slope[i])[0]
            s += slope[i] * ((stop - start - 1 if highest else 0.0) - mean)
    return s


@njit(**OPTIONS)
def steepness(form, link, slope, tau):
    """A bound on -d^2 log P / d theta^2 of the categories of an item; tau of the item, its first unused.

    (1): a^2 / 4 for each logistic tail, a^2 for a normal one (an interval of a normal variable has a variance of 0 to 1). (2):
    a^2 times the largest variance of the category. It is sought where two categories are equally likely, at the mean of the
    thresholds between them; 1.1 for what lies beside these points.
    """
    n = len(tau)
    if form == CUMULATIVE:
        return slope * slope * (1.0 if link == PROBIT else 0.25 if n == 2 else 0.5)
    if n == 2:
        return 0.25 * slope * slope
    largest = 0.0
    for l in range(1, n):
        between = 0.0
        for m in range(l, n):
            between += tau[m]
            largest = max(largest, mean_and_variance(between / (m - l + 1.0), tau, slope)[1])
    return min(1.1 * largest, 0.25 * (n - 1.0) * (n - 1.0)) * slope * slope
