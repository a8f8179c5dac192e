"""Integrals over abilities of responses in categories, for all units of an arm on one grid: log-likelihood and
derivatives.

    log p(y_j) = log int N(theta; mu_j, sigma^2) prod_i P_i(y_ij | theta) d theta,   P as in `categories.py`.

The integrand f is log-concave and analytic, so the trapezoid rule has a relative error of at most 2 e^(B(y) - 2 pi y /
h) if |f(x + iy)| <= e^B(y) f(x) (Trefethen & Weideman, 2014, theorem 5.1). The normal density gives y^2 / (2 sigma^2),
a probability with steepness v = -min d^2 log P / d theta^2 at most -log cos(y sqrt v): exact for one logistic term,
and for the characteristic function of two categories, where the variance of the category is largest. With C the
largest sum over the items of a person of v and g^2 the largest v, B(y) = y^2 / (2 sigma^2) - (C / g^2) log cos(y g),
whose pole at y = pi / (2 g) is that of the steepest item; in the normal model B(y) = y^2 (1 / sigma^2 + C) / 2. The
spacing is the largest that makes the error e^-`ACCURACY` for some y. The grid covers the modes of all units, which lie
between those of the lowest and of the highest categories of all items, and `TAIL` sigma beyond, where the prior alone
has made the integrand negligible.

Cumulative models: log P of the responses is summed on the nodes around the mode, and the posterior weights of the
nodes are summed by (item, category). Adjacent models: log p(y_j) depends on s_j = sum_i a_i y_ij and the items seen,
so that a unit walks from its mode as in `ability_integral.py`, and weights are summed by item."""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.ability_integral import (
    MOST_NODES,
    add_items,
    log_integral,
    moments,
    ratios,
    walk,
)
from bayeshte.marginal.kernels.categories import (
    CUMULATIVE,
    PROBIT,
    extreme_score,
    steepness,
    tabulate_adjacent,
    tabulate_cumulative,
)
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS, exp

ACCURACY, TAIL = 18.0, 6.5
BLOCK, DROP = 12, 27.0  # nodes at a time, and how far below its mode the log of an integrand is negligible
LOG_2PI = math.log(2.0 * math.pi)


@njit(**OPTIONS)
def spacing(link, sigma, total, steepest, accuracy):
    """Distance of the nodes: total and largest steepness of the items of a person."""
    precision = 1.0 / (sigma * sigma)
    if link == PROBIT:
        return math.pi * math.sqrt(2.0 / (accuracy * (precision + total)))
    best, g = 0.0, math.sqrt(steepest)
    most = min(math.sqrt(2.0 * accuracy / (precision + total)), 0.49 * math.pi / g)
    for k in range(1, 13):
        y = most * k / 12.0
        bound = 0.5 * y * y * precision - total / steepest * math.log(math.cos(y * g))
        best = max(best, 2.0 * math.pi * y / (accuracy + bound))
    return best


@njit(**OPTIONS)
def mode_of_extreme(form, link, mu, sigma, level, slope, tau, first, highest):
    """A bound of the mode where all items have the highest (or the lowest) category, beyond it by at most sigma / 2."""
    sign, reach = 1.0 if highest else -1.0, sigma
    while reach < 1e6 * sigma:
        theta = mu + sign * reach
        if sign * extreme_score(form, link, theta, level, slope, tau, first, highest) < reach / (sigma * sigma):
            break
        reach *= 2.0
    near = 0.5 * reach if reach > sigma else 0.0
    while reach - near > 0.5 * sigma:
        middle = 0.5 * (near + reach)
        theta = mu + sign * middle
        if sign * extreme_score(form, link, theta, level, slope, tau, first, highest) < middle / (sigma * sigma):
            reach = middle
        else:
            near = middle
    return mu + sign * reach


@njit(**OPTIONS)
def steepness_of_arm(form, link, slope, tau, first, patterns):
    """The largest steepness of an item, and of the items of a person. patterns: as in `category_grid`."""
    begin, end, first_item, items = patterns
    v, steepest, most = np.empty(len(slope)), 0.0, 0.0
    for i in range(len(slope)):
        v[i] = steepness(form, link, slope[i], tau[first[i] : first[i + 1]])
        steepest = max(steepest, v[i])
    for g in range(begin, end):
        total = 0.0
        for e in range(first_item[g], first_item[g + 1]):
            total += v[items[e]]
        most = max(most, total)
    return steepest, most


@njit(**OPTIONS)
def category_grid(form, link, mu_low, mu_high, sigma, level, slope, tau, first, patterns, accuracy):
    """First node, distance and number of nodes for the abilities of an arm; no nodes where it cannot be done.

    patterns: first and end of those of the arm, first item of each, their items.
    """
    steepest, most = steepness_of_arm(form, link, slope, tau, first, patterns)
    if not (steepest < 1e6 and steepest > 1e-12):
        return 0.0, 1.0, 0
    h = spacing(link, sigma, most, steepest, accuracy)
    low = mode_of_extreme(form, link, mu_low, sigma, level, slope, tau, first, False) - TAIL * sigma
    high = mode_of_extreme(form, link, mu_high, sigma, level, slope, tau, first, True) + TAIL * sigma
    if not (high - low) / h < MOST_NODES:
        return 0.0, 1.0, 0
    return low, h, 2 + int((high - low) / h)


@njit(**OPTIONS)
def mode(rows, logp, K, mu, sigma, low, h):
    """Node where the integrand of the responses `rows` is largest, by bisection: it is log-concave."""
    a, b, slope = 0, K - 1, h / (sigma * sigma)
    while a < b:
        k = (a + b) // 2
        rise = -slope * (low + (k + 0.5) * h - mu)
        for e in range(len(rows)):
            rise += logp[rows[e] * K + k + 1] - logp[rows[e] * K + k]
        if rise > 0.0:
            a = k + 1
        else:
            b = k
    return a


@njit(**SUMS)
def log_integrand(rows, logp, K, mu, sigma, low, h, start, stop, f):
    """log N(theta; mu, sigma^2) prod P of the nodes start .. stop - 1, but for the constant; the rows two at a time."""
    for k in range(start, stop):
        z = (low + h * k - mu) / sigma
        f[k] = -0.5 * z * z
    n = len(rows)
    for e in range(0, n - 1, 2):
        a, b = logp[rows[e] * K : rows[e] * K + K], logp[rows[e + 1] * K : rows[e + 1] * K + K]
        for k in range(start, stop):
            f[k] += a[k] + b[k]
    if n % 2 == 1:
        a = logp[rows[n - 1] * K : rows[n - 1] * K + K]
        for k in range(start, stop):
            f[k] += a[k]


@njit(**OPTIONS)
def log_integrand_at_mode(rows, logp, K, mu, sigma, low, h, f):
    """The log of the integrand in f, on the nodes around the mode where it is not negligible: the first and the end of them."""
    top = mode(rows, logp, K, mu, sigma, low, h)
    start, stop = max(top - BLOCK, 0), min(top + BLOCK, K)
    log_integrand(rows, logp, K, mu, sigma, low, h, start, stop, f)
    while start > 0 and f[start] > f[top] - DROP:
        start, before = max(start - BLOCK, 0), start
        log_integrand(rows, logp, K, mu, sigma, low, h, start, before, f)
    while stop < K and f[stop - 1] > f[top] - DROP:
        before, stop = stop, min(stop + BLOCK, K)
        log_integrand(rows, logp, K, mu, sigma, low, h, before, stop, f)
    return start, stop


@njit(**SUMS)
def posterior(f):
    """From the log of the integrand to its shares; the log of the sum."""
    largest = f[0]
    for k in range(len(f)):
        largest = f[k] if f[k] > largest else largest
    total = 0.0
    for k in range(len(f)):
        f[k] = exp(f[k] - largest)
        total += f[k]
    for k in range(len(f)):
        f[k] /= total
    return largest + math.log(total)


@njit(**SUMS)
def moments_about(f, mu, low, h):
    """Mean and mean square of theta - mu."""
    one, two = 0.0, 0.0
    for k in range(len(f)):
        z = low + h * k - mu
        one += f[k] * z
        two += f[k] * z * z
    return one, two


@njit(**SUMS)
def add_share(row, weight, f):
    for k in range(len(f)):
        row[k] += weight * f[k]


@njit(**SUMS)
def contract(share, table, low, h):
    """sum_k share_k table_k, and with theta_k too."""
    zero, one = 0.0, 0.0
    for k in range(len(share)):
        s = share[k] * table[k]
        zero += s
        one += s * (low + h * k)
    return zero, one


@njit(**OPTIONS)
def cumulative_items(level, slope, tau, first, share, below, above, grid, dlevel, dslope, dtau):
    """Adds the derivatives of a cumulative model from the posterior weights of the nodes by row (category)."""
    low, h, K = grid
    for i in range(len(level)):
        for r in range(first[i] + 1, first[i + 1]):
            a, b = (r - 1) * K, r * K
            zero, one = contract(share[a : a + K], above[a : a + K], low, h)
            zero_, one_ = contract(share[b : b + K], below[b : b + K], low, h)
            zero, one = slope[i] * (zero + zero_), slope[i] * (one + one_)
            dlevel[i] += zero
            dtau[r] -= zero
            dslope[i] += one + (level[i] - tau[r]) * zero


@njit(**OPTIONS)
def adjacent_items(level, slope, tau, first, by_item, chance, ability, seen, grid, dlevel, dslope, dtau):
    """Adds the derivatives of an adjacent model; the part of the log-likelihood that is beside the integrals.

    by_item: posterior weights of the nodes of those who saw an item. ability: sums of the expected abilities of those with a
    category; seen: their number.
    """
    low, h, K = grid
    ll = 0.0
    for i in range(len(level)):
        steps = 0.0
        for r in range(first[i] + 1, first[i + 1]):
            zero, one = contract(by_item[i * K : i * K + K], chance[r * K : r * K + K], low, h)
            m, more = r - first[i], slope[i] * (seen[r] - zero)
            steps += tau[r]
            ll += slope[i] * seen[r] * (m * level[i] - steps)
            dlevel[i] += m * more
            dslope[i] += (m * level[i] - steps) * more + slope[i] * m * (ability[r] - one)
            for t in range(first[i] + 1, r + 1):
                dtau[t] -= more
    return ll


@njit(**OPTIONS)
def cumulative_arm(link, sigma, level, slope, tau, first, units, structure, grid, mu, dmu, dlevel, dslope, dtau):
    """Log-likelihood of the units of an arm, and its derivative in sigma; those in mu are set, the others added.

    units: first and end of the arm's. structure: count, first answer of each unit, row of each answer. grid: low, h, K. dslope is
    that in log a.
    """
    count, first_answer, answers = structure
    low, h, K = grid
    R = first[len(level)]
    logp, below, above, share = np.empty(R * K), np.empty(R * K), np.empty(R * K), np.zeros(R * K)
    if not tabulate_cumulative(link, level, slope, tau, first, low, h, K, logp, below, above):
        return math.nan, 0.0
    f, ll, dsigma = np.empty(K), 0.0, 0.0
    constant = math.log(h / sigma) - 0.5 * LOG_2PI
    for u in range(units[0], units[1]):
        own = answers[first_answer[u] : first_answer[u + 1]]
        start, stop = log_integrand_at_mode(own, logp, K, mu[u], sigma, low, h, f)
        window = f[start:stop]
        ll += count[u] * (posterior(window) + constant)
        one, two = moments_about(window, mu[u], low + h * start, h)
        dmu[u] = count[u] * one / (sigma * sigma)
        dsigma += count[u] * (two / (sigma * sigma) - 1.0) / sigma
        for e in range(len(own)):
            add_share(share[own[e] * K + start : own[e] * K + stop], count[u], window)
    cumulative_items(level, slope, tau, first, share, below, above, grid, dlevel, dslope, dtau)
    return ll, dsigma


@njit(**OPTIONS)
def adjacent_arm(sigma, level, slope, tau, first, patterns, structure, scores, grid, mu, dmu, dlevel, dslope, dtau):
    """As `cumulative_arm`, for adjacent models.

    patterns: first and end of those of the arm, first item of each, their items, first unit of each. structure: count, first
    answer of each unit, row of each answer. scores: sum_i a_i y_ij of the units, and the responses by row (category).
    """
    begin, end, first_item, items, first_unit = patterns
    count, first_answer, answers = structure
    score, seen = scores
    low, h, K = grid
    J, R = len(level), first[len(level)]
    precision, shrink = 1.0 / (sigma * sigma), math.exp(-h * h / (sigma * sigma))
    log_z, chance, by_item, ability = np.empty(J * K), np.empty(R * K), np.zeros(J * K), np.zeros(R)
    A, fall, rise, f, share = np.empty(K), np.empty(K), np.empty(K), np.empty(K), np.empty(K)
    tabulate_adjacent(level, slope, tau, first, low, h, K, log_z, chance)
    ll, dsigma = 0.0, 0.0
    for g in range(begin, end):
        own = items[first_item[g] : first_item[g + 1]]
        add_items(own, log_z, K, A)
        ratios(A, K, fall, rise)
        share[:] = 0.0
        for u in range(first_unit[g], first_unit[g + 1]):
            top, start, last, total = walk(score[u], mu[u], precision, shrink, low, h, K, A, fall, rise, f)
            ll += count[u] * log_integral(score[u], mu[u], sigma, low, h, A, top, total)
            one, two = moments(f, start, last, top, total, count[u], share)
            away = low + h * top - mu[u]
            dmu[u] = count[u] * precision * (away + h * one)
            dsigma += count[u] * ((away * away + 2.0 * away * h * one + h * h * two) * precision - 1.0) / sigma
            mean = count[u] * (low + h * top + h * one)
            for e in range(first_answer[u], first_answer[u + 1]):
                ability[answers[e]] += mean
        for e in range(len(own)):
            add_share(by_item[own[e] * K : own[e] * K + K], 1.0, share)
    ll += adjacent_items(level, slope, tau, first, by_item, chance, ability, seen, grid, dlevel, dslope, dtau)
    return ll, dsigma


@njit(**OPTIONS)
def arm_of_categories(model, sigma, level, slope, tau, first, patterns, structure, scores, accuracy, mu, out):
    """Log-likelihood of an arm and its derivative in sigma. model: form, link. out: dmu (set), dlevel, dslope, dtau (added)."""
    form, link = model
    begin, end, first_item, items, first_unit = patterns
    units = first_unit[begin], first_unit[end]
    mu_low, mu_high = mu[units[0]], mu[units[0]]
    for u in range(units[0], units[1]):
        mu_low, mu_high = min(mu_low, mu[u]), max(mu_high, mu[u])
    own = begin, end, first_item, items
    grid = category_grid(form, link, mu_low, mu_high, sigma, level, slope, tau, first, own, accuracy)
    if grid[2] == 0:
        return math.nan, 0.0
    dmu, dlevel, dslope, dtau = out
    given = mu, dmu, dlevel, dslope, dtau
    if form == CUMULATIVE:
        return cumulative_arm(link, sigma, level, slope, tau, first, units, structure, grid, *given)
    return adjacent_arm(sigma, level, slope, tau, first, patterns, structure, scores, grid, *given)
