"""Abilities drawn back from their exact distribution, and the integral over that of each unit; see `ability_integral.py`.

A log-concave density lies below its tangents. So a node is chosen with the probability of the cell around it under the tangent at
the node, a point of the cell from that exponential, and it is accepted with the ratio of the two densities (Gilks & Wild, 1992,
with the nodes as points of support), which is near one as cells are narrow.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.ability_integral import add_items, grid, log_integral, ratios, tabulate, walk
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS, exp


@njit(**SUMS)
def under_tangents(r, mu, precision, low, h, slope, first, last, f):
    """From the integrand at the nodes to the cumulative mass of the cells around them under the tangents of its logarithm."""
    for k in range(first, last + 1):
        t = 0.5 * h * (r - slope[k] - precision * (low + h * k - mu))
        e = exp(abs(t))
        f[k] *= 0.5 * (e - 1.0 / e) / abs(t) if abs(t) > 1e-3 else 1.0 + t * t / 6.0
    for k in range(first, last):
        f[k + 1] += f[k]


@njit(**OPTIONS)
def tilted(t, h, p):
    """The p-quantile of the density proportional to exp(t x) on (-h / 2, h / 2)."""
    if abs(t) * h < 1e-5:
        return h * (p - 0.5)
    if t > 0.0:  # from the upper end, where the mass is
        return 0.5 * h + math.log1p((1.0 - p) * math.expm1(-t * h)) / t
    return -0.5 * h + math.log1p(p * math.expm1(t * h)) / t


@njit(**OPTIONS)
def draw(given):
    """An ability of a person of a unit, whose mass around the nodes is cumulated in f."""
    r, mu, precision, low, h, first, last, f, A, slope, seen, easiness = given
    bend = precision + 0.25 * len(seen)  # the curvature is at most this
    while True:
        k = first + np.searchsorted(f[first:last], np.random.random() * f[last])
        node = low + h * k
        t = r - slope[k] - precision * (node - mu)
        away = tilted(t, h, np.random.random())
        level = math.log(np.random.random())
        if level < -0.5 * bend * away * away:  # accepted without a look
            return node + away
        change = r * away - precision * away * (node - mu + 0.5 * away) + A[k]
        for e in range(len(seen)):
            eta = node + away + easiness[seen[e]]
            change -= math.log1p(math.exp(-abs(eta))) + max(eta, 0.0)
        if level < change - t * away:
            return node + away


@njit(cache=True, error_model="numpy", nogil=True)
def abilities(mu, sigma, easiness, structure, limits, units, person, spacing, seed, ll, theta):
    """Every draw: log of the integral of each unit, ll (draw, unit), and an ability for each person, theta (draw, person).

    mu (draw, unit), sigma (draw, arm), easiness (draw, arm, J). structure: arm, first unit, first item of the patterns, items.
    limits: as in `item_likelihood.py`. units: count, r. person: unit of every person, sorted by unit, and the first person of
    each unit and their number. seed: of the random numbers, or a negative number for no abilities.
    """
    arms, first_unit, first_item, items = structure
    count, score = units
    of_unit, first_person = person
    G, J = len(arms), easiness.shape[2]
    draw_them = seed >= 0
    if draw_them:
        np.random.seed(seed)
    for s in range(len(sigma)):
        end = 0
        for arm in range(sigma.shape[1]):
            begin = end
            while end < G and arms[end] == arm:
                end += 1
            if end == begin:
                continue
            sd, d, own = sigma[s, arm], easiness[s, arm], mu[s, first_unit[begin] : first_unit[end]]
            precision, bounds = 1.0 / (sd * sd), limits[3 * arm : 3 * arm + 3]
            low, h, K = grid(own.min(), own.max(), sd, d, bounds[0], bounds[1], bounds[2], spacing)
            if K == 0:
                ll[s] = -math.inf
                break
            softplus, chance = np.empty(J * K), np.empty(J * K)
            A, slope, fall, rise, f = np.empty(K), np.empty(K), np.empty(K), np.empty(K), np.empty(K)
            tabulate(low, h, K, d, softplus, chance)
            shrink = math.exp(-h * h * precision)
            for g in range(begin, end):
                seen = items[first_item[g] : first_item[g + 1]]
                add_items(seen, softplus, K, A)
                add_items(seen, chance, K, slope)
                ratios(A, K, fall, rise)
                for u in range(first_unit[g], first_unit[g + 1]):
                    m = mu[s, u]
                    top, first, last, total = walk(score[u], m, precision, shrink, low, h, K, A, fall, rise, f)
                    ll[s, u] = log_integral(score[u], m, sd, low, h, A, top, total)
                    if not draw_them:
                        continue
                    under_tangents(score[u], m, precision, low, h, slope, first, last, f)
                    given = score[u], m, precision, low, h, first, last, f, A, slope, seen, d
                    for j in range(first_person[u], first_person[u + 1]):
                        theta[s, of_unit[j]] = draw(given)
