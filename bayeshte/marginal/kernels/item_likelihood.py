"""Log-likelihood of binary responses given the easiness of items by arm, the SD of abilities by arm and their means mu.

    logit P(y_ij = 1) = theta_j + d_it,   theta_j ~ N(mu_j, sigma_t^2),

person j in arm t, item i. Given theta, the number r_j of right answers to the items S_j that j has seen is sufficient, so that
with A(theta) = sum_{i in S} log(1 + exp(theta + d_it))

    log p(y_j) = sum_i y_ij d_it + log int N(theta; mu_j, sigma_t^2) exp(r_j theta - A(theta)) d theta.

Persons with equal arm, S, r, cluster and covariates are one unit with a count; units with equal arm and S are a pattern. Without
covariates and clusters the cost does not depend on the number of persons. `ability_integral.py` has the integral.
Derivatives, with expectations over theta given y:

    d log p / d mu = (E theta - mu) / sigma^2,   d / d sigma = (E (theta - mu)^2 / sigma^2 - 1) / sigma,
    d / d d_it = y_ij - E p_it(theta).

Below sigma = `LEAST` (or the range of mu over `STEPS`) the log-likelihood, which is even in sigma, is continued by the parabola
that has its slope there: the error is of fourth order in sigma, and no grid has to be finer.

Tables. structure: arm of each pattern (G), its first unit and N (G + 1), its first entry in the list of items and the end (G
+ 1), that list. data: right answers (arm, J), then by arm the largest |S|, the smallest r and the smallest |S| - r, and by
unit its count and r. Patterns are sorted by arm, units by pattern.
"""

import math

import numpy as np
from numba import njit

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
from bayeshte.marginal.kernels.linear import OPTIONS

LEAST, STEPS = 1e-3, 4000.0


@njit(**OPTIONS)
def arm_likelihood(easiness, sigma, patterns, structure, limits, units, mu, dmu, ditem):
    """Log-likelihood of an arm but for the sum of y d; d log p / d mu of its units, d / d easiness added, d / d sigma.

    structure: first unit, first item, items of the patterns. limits: largest |S|, smallest r and |S| - r. units: count and r. NaN
    where there is no grid.
    """
    first_unit, first_item, items = structure
    count, score = units
    start, stop = first_unit[patterns[0]], first_unit[patterns[1]]
    mu_low, mu_high = mu[start], mu[start]
    for u in range(start, stop):
        mu_low, mu_high = min(mu_low, mu[u]), max(mu_high, mu[u])
    low, h, K = grid(mu_low, mu_high, sigma, easiness, limits[0], limits[1], limits[2], SPACING)
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
def likelihood(sizes, tables, data, mu, sigma, e, dmu, dsigma, de):
    """Log-likelihood of all responses; the derivatives in mu of the units, in sigma (added) and in the item effects e (added).

    sizes: J items, N units, G patterns, R arms, q effects of an item. The easiness in arm t is e[0], and e[t] beside it where
    q > 1 and t > 0. sigma: one for all arms, or one each.
    """
    J, N, G, R, q = sizes
    arms = tables[:G]
    structure = tables[G : 2 * G + 1], tables[2 * G + 1 : 3 * G + 2], tables[3 * G + 2 :]
    right, limits = data[: R * J], data[R * J : R * J + 3 * R]
    units = data[R * J + 3 * R : R * J + 3 * R + N], data[R * J + 3 * R + N : R * J + 3 * R + 2 * N]
    easiness, ditem = np.empty(J), np.empty(J)
    low, high = math.inf, -math.inf
    for j in range(N):
        low, high = min(low, mu[j]), max(high, mu[j])
    least = max(LEAST, (high - low) / STEPS)
    ll, end = 0.0, 0
    for t in range(R):
        begin = end
        while end < G and arms[end] == t:
            end += 1
        if end == begin:
            continue
        own = t > 0 and q > 1
        for i in range(J):
            easiness[i] = e[0, i] + (e[t, i] if own else 0.0)
            ditem[i] = right[t * J + i]
            ll += right[t * J + i] * easiness[i]
        k = min(t, len(sigma) - 1)
        size = abs(sigma[k])
        used = max(size, least)
        value, slope = arm_likelihood(
            easiness, used, (begin, end), structure, limits[3 * t : 3 * t + 3], units, mu, dmu, ditem
        )
        if size < least:
            value += slope * (size * size - least * least) / (2.0 * least)
            slope *= size / least
        ll += value
        dsigma[k] += slope if sigma[k] > 0.0 else -slope
        for i in range(J):
            de[0, i] += ditem[i]
            if own:
                de[t, i] += ditem[i]
    return ll
