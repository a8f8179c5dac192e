"""Abilities before and after of persons seen on two occasions, drawn from their exact distribution, and the integrals.

The log of the density of both abilities given the responses is concave, so it lies below its tangent planes. A pair of
nodes is chosen with the probability of the rectangle around it under the tangent plane there, a point of the rectangle from
that product of two exponentials, and it is accepted with the ratio of the two densities: `abilities.py` in two dimensions.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels import category_abilities
from bayeshte.marginal.kernels.abilities import tilted, under_tangents
from bayeshte.marginal.kernels.ability_integral import add_items
from bayeshte.marginal.kernels.categories import CUMULATIVE, steepness
from bayeshte.marginal.kernels.category_abilities import expected_scores, log_likelihood_at
from bayeshte.marginal.kernels.category_integral import LOG_2PI, posterior
from bayeshte.marginal.kernels.category_likelihood import scores
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.occasion_integral import log_responses, posterior_before
from bayeshte.marginal.kernels.occasion_likelihood import prepare, rows_of
from bayeshte.marginal.kernels.rows import SUMS, exp


@njit(**OPTIONS)
def rates(form, slope, first, patterns, G, prepared, out):
    """d / d theta of the rows of the tables: of log P of a category, or of the sum of log Z of a pattern."""
    (_, _, Ks), begin, (at, _, below, above) = prepared
    first_item, items = patterns[2 * G + 1 : 3 * G + 2], patterns[3 * G + 2 :]
    for t in range(len(Ks)):
        K, own = Ks[t], out[at[t] : at[t + 1]]
        if K > 0 and form == CUMULATIVE:
            for i in range(len(slope)):
                for k in range(first[i] * K, first[i + 1] * K):
                    own[k] = slope[i] * (below[at[t] + k] + above[at[t] + k])
        elif K > 0:
            of_items = np.empty(len(slope) * K)
            expected_scores(slope, first, K, below[at[t] : at[t + 1]], of_items)
            for g in range(begin[t], begin[t + 1]):
                row = own[(g - begin[t]) * K : (g - begin[t] + 1) * K]
                add_items(items[first_item[g] : first_item[g + 1]], of_items, K, row)


@njit(**SUMS)
def of_half_unit(form, rows, table, K, out):
    """A half-unit's log of the integrand is r theta - A: A, or its derivative, from the rows of a table."""
    for k in range(K):
        out[k] = 0.0
    for e in range(len(rows)):
        row = table[rows[e] * K : rows[e] * K + K]
        for k in range(K):
            out[k] += row[k]
    if form == CUMULATIVE:
        for k in range(K):
            out[k] = -out[k]


@njit(**SUMS)
def rectangles(part, steep, slope, h, w, K, out):
    """Masses of the rectangles of a row under tangent planes, cumulated. steep, slope: of the plane, node k, steep + slope k."""
    for k in range(K):
        a, b = abs(0.5 * h[0] * (steep[0] + slope[0] * k)), abs(0.5 * h[1] * (steep[1][k] + slope[1] * k))
        ea, eb = exp(a), exp(b)
        fa = 0.5 * (ea - 1.0 / ea) / a if a > 1e-3 else 1.0 + a * a / 6.0
        fb = 0.5 * (eb - 1.0 / eb) / b if b > 1e-3 else 1.0 + b * b / 6.0
        out[k] = w * part[k] * fa * fb
    for k in range(K - 1):
        out[k + 1] += out[k]


@njit(**OPTIONS)
def draw_pair(masses, total, window, start, stop, grids, planes, halves, work, out):
    """Both abilities of a person.

    masses: of the rectangles, cumulated in every row; total: of the rows, cumulated. planes: means, precisions (00, 01, 11), r
    and rates of both occasions. halves: by occasion model, items, rows or items of the half-unit, r, A, bound of the curvature.
    """
    (low_0, h_0), (low_1, h_1) = grids
    (mu_0, mu_1), (p_00, p_01, p_11), (r_0, rate_0), (r_1, rate_1) = planes
    (model, items_0, own_0, A_0, bend_0), (_, items_1, own_1, A_1, bend_1) = halves
    first, last = window
    while True:
        q = first + np.searchsorted(total[: last - first - 1], np.random.random() * total[last - first - 1])
        n = stop[q] - start[q]
        k = np.searchsorted(masses[q, : n - 1], np.random.random() * masses[q, n - 1])
        node_0, node_1 = low_0 + h_0 * q, low_1 + h_1 * (start[q] + k)
        d, e, k = node_0 - mu_0, node_1 - mu_1, start[q] + k
        t_0 = r_0 - rate_0[q] - p_00 * d - p_01 * e
        t_1 = r_1 - rate_1[k] - p_01 * d - p_11 * e
        a, b = tilted(t_0, h_0, np.random.random()), tilted(t_1, h_1, np.random.random())
        chance, bend = math.log(np.random.random()), -0.5 * (p_00 * a * a + 2.0 * p_01 * a * b + p_11 * b * b)
        if chance >= bend - 0.5 * (bend_0 * a * a + bend_1 * b * b):
            change = bend + rate_0[q] * a + A_0[q] + rate_1[k] * b + A_1[k]
            change += log_likelihood_at(model, node_0 + a, *items_0, own_0, work)
            change += log_likelihood_at(model, node_1 + b, *items_1, own_1, work)
            if chance >= change:
                continue
        out[0], out[1] = node_0 + a, node_1 + b
        return


@njit(**OPTIONS)
def seen_of(form, u, half_units, patterns, G, begin):
    """What the integrand of a half-unit away from the nodes is made of: rows of its answers, or its items."""
    first_answer, answers, _, arm, of_pattern, _ = half_units
    if form == CUMULATIVE:
        return answers[first_answer[u] : first_answer[u + 1]]
    g, first_item = begin[arm[u]] + of_pattern[u], patterns[2 * G + 1 : 3 * G + 2]
    return patterns[3 * G + 2 :][first_item[g] : first_item[g + 1]]


@njit(**OPTIONS)
def curvature(own, item, bend, form):
    """Bound of the curvature of a half-unit's log of the integrand."""
    s = 0.0
    for e in range(len(own)):
        s += bend[item[own[e]]] if form == CUMULATIVE else bend[own[e]]
    return s


@njit(**OPTIONS)
def pairs_of_draw(model, items, half_units, patterns, G, pairs, persons, mu, sd, corr, prepared, rate, bend, ll, theta):
    """Integrals of all pairs, and with `theta` not empty abilities of their persons."""
    form, _, item = model
    level, a, tau, first = items
    _, _, score, arm, of_pattern, _ = half_units
    group_start, group_after, before_of, _ = pairs
    (lows, hs, Ks), begin, (at, table, _, _) = prepared
    low, h, K, widest = lows[0], hs[0], Ks[0], max(Ks)
    slope, own_share = corr * sd[1] / sd[0], 1.0 - corr * corr
    s = sd[1] * math.sqrt(own_share)
    precision = 1.0 / (sd[0] ** 2 * own_share), -corr / (sd[0] * sd[1] * own_share), 1.0 / (sd[1] ** 2 * own_share)
    rows, stat, start, stop = np.empty((K, widest)), np.empty((4, K)), np.empty(K, np.int64), np.empty(K, np.int64)
    masses, total, work = np.empty((K, widest)), np.empty(K), np.empty((9, 1))
    f, w, f_after, near = np.empty(K), np.empty(K), np.empty(widest), K // 2
    A, A_after, rate_0, rate_1 = np.empty(K), np.empty(widest), np.empty(K), np.empty(widest)
    plane, constant = np.empty(widest), math.log(h / sd[0]) - 0.5 * LOG_2PI
    for g in range(len(group_after)):
        v = group_after[g]
        t, mu_0 = arm[v], mu[before_of[group_start[g]]]
        part, grid = slice(at[t], at[t + 1]), (lows[t], hs[t], Ks[t])
        own_v = rows_of(form, v, half_units[0], half_units[1], of_pattern)
        log_responses(form, own_v, score[v], table[part], lows[t], hs[t], Ks[t], f_after)
        seen_v = seen_of(form, v, half_units, patterns, G, begin)
        of_half_unit(form, own_v, table[part], Ks[t], A_after)
        of_half_unit(form, own_v, rate[part], Ks[t], rate_1)
        stop[:] = 0
        before, after = (low, h, mu_0, sd[0]), (f_after, mu[v], slope, s)
        for j in range(group_start[g], group_start[g + 1]):
            u = before_of[j]
            own_u = rows_of(form, u, half_units[0], half_units[1], of_pattern)
            log_responses(form, own_u, score[u], table[at[0] : at[1]], low, h, K, f)
            i, m, value, near = posterior_before(f, near, before, after, grid, rows, start, stop, stat, w)
            ll[j] = value + constant
            if len(theta) == 0:
                continue
            of_half_unit(form, own_u, table[at[0] : at[1]], K, A)
            of_half_unit(form, own_u, rate[at[0] : at[1]], K, rate_0)
            r_0, r_1 = (0.0, 0.0) if form == CUMULATIVE else (score[u], score[v])
            for q in range(i, m):
                d, e = low + h * q - mu_0, lows[t] + hs[t] * start[q] - mu[v]
                n = stop[q] - start[q]
                for k in range(n):
                    plane[k] = r_1 - rate_1[start[q] + k] - precision[1] * d - precision[2] * e
                steep = r_0 - rate_0[q] - precision[0] * d - precision[1] * e
                slopes = -precision[1] * hs[t], -precision[2] * hs[t]
                rectangles(rows[q], (steep, plane), slopes, (h, hs[t]), w[q] * stat[3, q], n, masses[q])
                total[q - i] = masses[q, n - 1] + (total[q - i - 1] if q > i else 0.0)
            seen_u = seen_of(form, u, half_units, patterns, G, begin)
            halves = (
                (model, (level[0], a, tau, first), seen_u, A, curvature(seen_u, item, bend, form)),
                (model, (level[t], a, tau, first), seen_v, A_after, curvature(seen_v, item, bend, form)),
            )
            planes = (mu_0, mu[v]), precision, (r_0, rate_0), (r_1, rate_1)
            for k in range(persons[1][j], persons[1][j + 1]):
                draw_pair(
                    *(masses, total, (i, m), start, stop, ((low, h), (lows[t], hs[t])), planes, halves, work),
                    theta[persons[0][k]],
                )


@njit(**OPTIONS)
def singles_of_draw(model, items, half_units, patterns, G, singles, persons, mu, sd, prepared, rate, bend, ll, theta):
    """Integrals of half-units that are alone, and with `theta` not empty the abilities on these occasions."""
    form, _, item = model
    level, a, tau, first = items
    _, _, score, arm, of_pattern, _ = half_units
    (lows, hs, Ks), begin, (at, table, _, _) = prepared
    f, A, of_nodes, work = np.empty(max(Ks)), np.empty(max(Ks)), np.empty(max(Ks)), np.empty((9, 1))
    for j in range(len(singles[0])):
        u = singles[0][j]
        t = arm[u]
        low, h, K, sigma, part = lows[t], hs[t], Ks[t], sd[min(t, 1)], slice(at[t], at[t + 1])
        own, precision = rows_of(form, u, half_units[0], half_units[1], of_pattern), 1.0 / (sigma * sigma)
        log_responses(form, own, score[u], table[part], low, h, K, f)
        for k in range(K):
            f[k] -= 0.5 * precision * (low + h * k - mu[u]) ** 2
        ll[j] = posterior(f[:K]) + math.log(h / sigma) - 0.5 * LOG_2PI
        if len(theta) == 0:
            continue
        of_half_unit(form, own, table[part], K, A)
        of_half_unit(form, own, rate[part], K, of_nodes)
        r, seen = 0.0 if form == CUMULATIVE else score[u], seen_of(form, u, half_units, patterns, G, begin)
        under_tangents(r, mu[u], precision, low, h, of_nodes, 0, K - 1, f)
        given = r, mu[u], precision, low, h, 0, K - 1, f, A, of_nodes
        most = precision + curvature(seen, item, bend, form)
        for k in range(persons[1][j], persons[1][j + 1]):
            value = category_abilities.draw(given, model, (level[t], a, tau, first), seen, most, work)
            theta[persons[0][k], min(t, 1)] = value


@njit(cache=True, error_model="numpy", nogil=True)
def abilities_of_occasions(
    model, mu, sigma, corr, level, slope, tau, tables, pairs, singles, persons, accuracy, seed, ll, theta
):
    """Every draw: log of the integral of each pair and single, ll (draw, pair + single), and abilities, theta (draw, person, 2).

    model: form, link, free slopes. mu (draw, half-unit), sigma (draw, 2), corr (draw,), level (draw, cell, J), slope (draw, J),
    tau (draw, row). tables: patterns, their number, first row of the items, first answer, answers, given scores. persons: of
    every pair and single, and the first of each. seed: of the random numbers, or a negative number for no abilities. Persons of
    singles get the ability of their occasion.
    """
    form, link, free = model
    patterns, G, first, first_answer, answers, given = tables
    J, N, R, n = len(first) - 1, mu.shape[1], level.shape[1], len(pairs[2])
    score, bend, item = np.empty(N), np.empty(J), np.empty(first[J], np.int64)
    for i in range(J):
        item[first[i] : first[i + 1]] = i
    if seed >= 0:
        np.random.seed(seed)
    of_model = form, link, item
    for s in range(len(sigma)):
        a, t = slope[s], tau[s]
        for i in range(J):
            bend[i] = steepness(form, link, a[i], t[first[i] : first[i + 1]])
        score[:] = given
        if form != CUMULATIVE:
            scores(free, first, a, first_answer, answers, given, score)
        ok, grid, begin, of_cells, cell, of_pattern = prepare(
            (form, link), (N, G, R), patterns, first, mu[s], sigma[s], corr[s], level[s], a, t, accuracy
        )
        if not ok:
            ll[s] = -math.inf
            continue
        prepared, items = (grid, begin, of_cells), (level[s], a, t, first)
        half_units = first_answer, answers, score, cell, of_pattern, first[J]
        rate, out = np.empty(of_cells[0][R] if seed >= 0 else 0), theta[s] if seed >= 0 else theta[s, :0]
        if seed >= 0:
            rates(form, a, first, patterns, G, prepared, rate)
        else:
            rate = of_cells[1]
        same = of_model, items, half_units, patterns, G
        pairs_of_draw(*same, pairs, persons, mu[s], sigma[s], corr[s], prepared, rate, bend, ll[s, :n], out)
        of_singles = persons[0], persons[1][n:]
        singles_of_draw(*same, singles, of_singles, mu[s], sigma[s], prepared, rate, bend, ll[s, n:], out)
