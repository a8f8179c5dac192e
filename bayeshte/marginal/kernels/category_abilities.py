"""Abilities of persons with responses in categories, drawn from their exact distribution, and the integral of each
unit.

As in `abilities.py`: a node is chosen with the probability of the cell around it under the tangents of the log of the
integrand, which is concave, a point of the cell from that exponential, and it is accepted with the ratio of the two
densities."""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.abilities import tilted, under_tangents
from bayeshte.marginal.kernels.ability_integral import add_items, log_integral, ratios, walk
from bayeshte.marginal.kernels.categories import (
    CUMULATIVE,
    LOGIT,
    logit_tails,
    probit_category,
    probit_tails,
    steepness,
    tabulate_adjacent,
    tabulate_cumulative,
)
from bayeshte.marginal.kernels.category_integral import (
    LOG_2PI,
    category_grid,
    log_integrand_at_mode,
    posterior,
)
from bayeshte.marginal.kernels.category_likelihood import scores
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS


@njit(**OPTIONS)
def log_probability(link, theta, level, slope, tau, m, work):
    """log P(y = m) of an item in a cumulative model; work (9, 1)."""
    bottom, top = m == 0, m == len(tau) - 1
    for k in range(2):
        if (k == 0 and bottom) or (k == 1 and top):
            continue
        at, a, b, c = level - tau[m + k], work[3 * k], work[3 * k + 1], work[3 * k + 2]
        if link == LOGIT:
            logit_tails(slope, at, theta, 0.0, a, b, c)
        else:
            probit_tails(slope, at, theta, 0.0, a, b, c)
    if top:
        return work[0, 0]
    if bottom:
        return work[4, 0]
    if link == LOGIT:
        return work[0, 0] + work[4, 0] + math.log(-math.expm1(-slope * (tau[m + 1] - tau[m])))
    probit_category(work[0], work[1], work[2], work[3], work[4], work[5], work[6], work[7], work[8])
    return work[6, 0]


@njit(**OPTIONS)
def log_z(theta, level, slope, tau):
    """log Z of an item in an adjacent model."""
    largest, w = 0.0, 0.0
    for m in range(1, len(tau)):
        w += slope * (theta + level - tau[m])
        largest = max(largest, w)
    total, w = math.exp(-largest), 0.0
    for m in range(1, len(tau)):
        w += slope * (theta + level - tau[m])
        total += math.exp(w - largest)
    return largest + math.log(total)


@njit(**OPTIONS)
def log_likelihood_at(model, theta, level, slope, tau, first, own, work):
    """sum log P of the answers (rows `own`), or in an adjacent model - sum log Z of the items (`own`)."""
    form, link, item = model
    s = 0.0
    for e in range(len(own)):
        i = item[own[e]] if form == CUMULATIVE else own[e]
        thresholds = tau[first[i] : first[i + 1]]
        if form == CUMULATIVE:
            s += log_probability(link, theta, level[i], slope[i], thresholds, own[e] - first[i], work)
        else:
            s -= log_z(theta, level[i], slope[i], thresholds)
    return s


@njit(**OPTIONS)
def draw(given, model, items, own, bend, work):
    """An ability of a person of a unit, whose mass around the nodes is cumulated in f; bend: the curvature is at most this."""
    r, mu, precision, low, h, first_node, last, f, A, rate = given
    level, slope, tau, first = items
    while True:
        k = first_node + np.searchsorted(f[first_node:last], np.random.random() * f[last])
        node = low + h * k
        t = r - rate[k] - precision * (node - mu)
        away = tilted(t, h, np.random.random())
        chance = math.log(np.random.random())
        if chance < -0.5 * bend * away * away:  # accepted without a look
            return node + away
        change = r * away - precision * away * (node - mu + 0.5 * away) + A[k]
        change += log_likelihood_at(model, node + away, level, slope, tau, first, own, work)
        if chance < change - t * away:
            return node + away


@njit(**SUMS)
def add_rates(rows, item, slope, below, above, K, start, stop, A, rate):
    """A (log P of the answers) with its sign changed, and rate = d A / d theta, on the nodes of a window."""
    for k in range(start, stop):
        rate[k] = 0.0
    for e in range(len(rows)):
        a, b, c = below[rows[e] * K : rows[e] * K + K], above[rows[e] * K : rows[e] * K + K], slope[item[rows[e]]]
        for k in range(start, stop):
            rate[k] -= c * (a[k] + b[k])
    for k in range(start, stop):
        A[k] = -A[k]


@njit(**SUMS)
def expected_scores(slope, first, K, chance, out):
    """d log Z / d theta of every item, (J, K)."""
    for i in range(len(slope)):
        row = out[i * K : i * K + K]
        row[:] = 0.0
        for r in range(first[i] + 1, first[i + 1]):
            p, m = chance[r * K : r * K + K], slope[i] * (r - first[i])
            for k in range(K):
                row[k] += m * p[k]


@njit(**OPTIONS)
def cumulative_units(model, bend, sigma, items, grid, units, mu, ll, theta, draw_them):
    """Units of an arm in a cumulative model."""
    _, link, item = model
    level, slope, tau, first = items
    begin, end, first_answer, answers, of_unit, first_person = units
    low, h, K = grid
    R, precision = first[len(level)], 1.0 / (sigma * sigma)
    logp, below, above = np.empty(R * K), np.empty(R * K), np.empty(R * K)
    f, A, rate, work = np.empty(K), np.empty(K), np.empty(K), np.empty((9, 1))
    if not tabulate_cumulative(link, level, slope, tau, first, low, h, K, logp, below, above):
        ll[begin:end] = -math.inf
        return
    for u in range(begin, end):
        own = answers[first_answer[u] : first_answer[u + 1]]
        start, stop = log_integrand_at_mode(own, logp, K, mu[u], sigma, low, h, f)
        for k in range(start, stop):
            A[k] = f[k] + 0.5 * precision * (low + h * k - mu[u]) ** 2
        ll[u] = posterior(f[start:stop]) + math.log(h / sigma) - 0.5 * LOG_2PI
        if not draw_them:
            continue
        add_rates(own, item, slope, below, above, K, start, stop, A, rate)
        most = precision
        for e in range(len(own)):
            most += bend[item[own[e]]]
        under_tangents(0.0, mu[u], precision, low, h, rate, start, stop - 1, f)
        given = 0.0, mu[u], precision, low, h, start, stop - 1, f, A, rate
        for j in range(first_person[u], first_person[u + 1]):
            theta[of_unit[j]] = draw(given, model, items, own, most, work)


@njit(**OPTIONS)
def adjacent_units(model, bend, sigma, items, grid, units, patterns, score, mu, ll, theta, draw_them):
    """Units of an arm in an adjacent model; ll is the integral of e^(score theta) / prod Z."""
    level, slope, tau, first = items
    _, _, _, _, of_unit, first_person = units
    begin, end, first_item, list_of_items, first_unit = patterns
    low, h, K = grid
    J, precision = len(level), 1.0 / (sigma * sigma)
    table, chance, rates = np.empty(J * K), np.empty(first[J] * K), np.empty(J * K)
    A, rate, fall, rise, f = np.empty(K), np.empty(K), np.empty(K), np.empty(K), np.empty(K)
    work, shrink = np.empty((9, 1)), math.exp(-h * h * precision)
    tabulate_adjacent(level, slope, tau, first, low, h, K, table, chance)
    expected_scores(slope, first, K, chance, rates)
    for g in range(begin, end):
        seen = list_of_items[first_item[g] : first_item[g + 1]]
        add_items(seen, table, K, A)
        add_items(seen, rates, K, rate)
        ratios(A, K, fall, rise)
        most = precision
        for e in range(len(seen)):
            most += bend[seen[e]]
        for u in range(first_unit[g], first_unit[g + 1]):
            top, start, last, total = walk(score[u], mu[u], precision, shrink, low, h, K, A, fall, rise, f)
            ll[u] = log_integral(score[u], mu[u], sigma, low, h, A, top, total)
            if not draw_them:
                continue
            under_tangents(score[u], mu[u], precision, low, h, rate, start, last, f)
            given = score[u], mu[u], precision, low, h, start, last, f, A, rate
            for j in range(first_person[u], first_person[u + 1]):
                theta[of_unit[j]] = draw(given, model, items, seen, most, work)


@njit(cache=True, error_model="numpy", nogil=True)
def abilities_of_categories(model, mu, sigma, level, slope, tau, tables, person, accuracy, seed, ll, theta):
    """Every draw: log of the integral of each unit, ll (draw, unit), and an ability for each person, theta (draw, person).

    model: form, link, free slopes. mu (draw, unit), sigma (draw, arm), level (draw, arm, J), slope (draw, J), tau (draw, row).
    tables: first row of the items, arm, first unit, first item of the patterns, items, first answer of the units, answers, given
    scores. person: as in `abilities`. seed: of the random numbers, or a negative number for no abilities. In adjacent models
    ll lacks sum_i a_i (y_ij level - tau_1 - ... - tau_y).
    """
    form, link, free = model
    first, arms, first_unit, first_item, list_of_items, first_answer, answers, given = tables
    of_unit, first_person = person
    G, J, N = len(arms), len(first) - 1, mu.shape[1]
    score, bend, item = np.empty(N), np.empty(J), np.empty(first[J], np.int64)
    for i in range(J):
        item[first[i] : first[i + 1]] = i
    if seed >= 0:
        np.random.seed(seed)
    for s in range(len(sigma)):
        a, t = slope[s], tau[s]
        for i in range(J):
            bend[i] = steepness(form, link, a[i], t[first[i] : first[i + 1]])
        if form != CUMULATIVE:
            scores(free, first, a, first_answer, answers, given, score)
        end = 0
        for arm in range(sigma.shape[1]):
            begin = end
            while end < G and arms[end] == arm:
                end += 1
            if end == begin:
                continue
            d, units = level[s, arm], (first_unit[begin], first_unit[end])
            own = mu[s, units[0] : units[1]]
            grid = category_grid(
                *(form, link, own.min(), own.max(), sigma[s, arm], d, a, t, first),
                *((begin, end, first_item, list_of_items), accuracy),
            )
            if grid[2] == 0:
                ll[s] = -math.inf
                break
            of_arm = units[0], units[1], first_answer, answers, of_unit, first_person
            items, of_model, out = (d, a, t, first), (form, link, item), (mu[s], ll[s], theta[s], seed >= 0)
            if form == CUMULATIVE:
                cumulative_units(of_model, bend, sigma[s, arm], items, grid, of_arm, *out)
            else:
                patterns = begin, end, first_item, list_of_items, first_unit
                adjacent_units(of_model, bend, sigma[s, arm], items, grid, of_arm, patterns, score, *out)
