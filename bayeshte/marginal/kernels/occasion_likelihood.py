"""Log-likelihood of responses on two occasions given levels by arm, slopes, thresholds, mean abilities, SDs and correlation.

`occasion_integral.py` has the integrals, `categories.py` the probabilities. Arm 0 is everybody before, the others are the arms
after. Persons with the same half-units on both occasions are a pair with a count; half-units without the other occasion are
singles, whose ability is integrated by itself. Below sigma_t = `LEAST` (or the range of mu over `STEPS`) the log-likelihood is
continued by the parabola that has its slope there, as in `item_likelihood.py`.

Tables. pairs: groups with equal half-units after and equal means before (group_start, groups + 1; group_after, groups), half-unit
before of each pair, count of each pair, singles and their counts. Others as in `category_likelihood.py`.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.ability_integral import add_items
from bayeshte.marginal.kernels.categories import ADJACENT, CUMULATIVE, tabulate_adjacent, tabulate_cumulative
from bayeshte.marginal.kernels.category_integral import (
    LOG_2PI,
    add_share,
    adjacent_items,
    cumulative_items,
    moments_about,
    posterior,
)
from bayeshte.marginal.kernels.category_likelihood import scores
from bayeshte.marginal.kernels.item_likelihood import LEAST, STEPS
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.occasion_integral import (
    grids,
    log_responses,
    mean_bounds,
    moments_of_pair,
    posterior_before,
)
from bayeshte.marginal.kernels.rows import SUMS

LARGEST_TABLE = 20_000_000  # pairs of nodes: a correlation so near one that they are more is rejected


@njit(**OPTIONS)
def tabulate(model, level, slope, tau, first, patterns, G, grid, begin, at, table, below, above):
    """What the responses of every arm are made of, from at[t] on, and its derivatives; whether it can be done.

    Cumulative: log P of every row (category), its derivatives as in `tabulate_cumulative`. Adjacent: sum log Z of the items of
    every pattern of the arm, and in `below` the probabilities of the rows.
    """
    form, link = model
    first_item, items = patterns[2 * G + 1 : 3 * G + 2], patterns[3 * G + 2 :]
    low, h, K = grid
    for t in range(len(level)):
        if K[t] == 0:
            continue
        part, b, a = table[at[t] : at[t + 1]], below[at[t] : at[t + 1]], above[at[t] : at[t + 1]]
        if form == CUMULATIVE:
            if not tabulate_cumulative(link, level[t], slope, tau, first, low[t], h[t], K[t], part, b, a):
                return False
            continue
        log_z = np.empty(len(slope) * K[t])
        tabulate_adjacent(level[t], slope, tau, first, low[t], h[t], K[t], log_z, b)
        for g in range(begin[t], begin[t + 1]):
            row = part[(g - begin[t]) * K[t] : (g - begin[t] + 1) * K[t]]
            add_items(items[first_item[g] : first_item[g + 1]], log_z, K[t], row)
    return True


@njit(**OPTIONS)
def prepare(model, sizes, patterns, first, mu, sd, corr, level, slope, tau, accuracy):
    """Whether it can be done, the grids (low, h, K by arm), first pattern of each arm, tables with their place, of half-units
    the arm and the pattern in the arm."""
    N, G, R = sizes
    low, h, K, at = np.empty(R), np.empty(R), np.zeros(R, np.int64), np.zeros(R + 1, np.int64)
    bounds, begin = mean_bounds(patterns, G, R, mu)
    ok = grids(model, sd, corr, bounds, begin, patterns, G, level, slope, tau, first, accuracy, low, h, K)
    if ok and R > 1 and K[0] * max(K[1:]) > LARGEST_TABLE:
        ok = False
    for t in range(R):
        at[t + 1] = at[t] + max(first[-1], begin[t + 1] - begin[t]) * K[t] if ok else 0
    table, below, above = np.empty(at[R]), np.empty(at[R]), np.empty(at[R])
    grid = low, h, K
    if ok:
        ok = tabulate(model, level, slope, tau, first, patterns, G, grid, begin, at, table, below, above)
    arm, of_pattern = np.empty(N, np.int64), np.empty(N, np.int64)
    for t in range(R):
        for g in range(begin[t], begin[t + 1]):
            for u in range(patterns[G + g], patterns[G + g + 1]):
                arm[u], of_pattern[u] = t, g - begin[t]
    return ok, grid, begin, (at, table, below, above), arm, of_pattern


@njit(**OPTIONS)
def rows_of(form, u, first_answer, answers, of_pattern):
    """Rows of the table that the responses of a half-unit are made of."""
    return answers[first_answer[u] : first_answer[u + 1]] if form == CUMULATIVE else of_pattern[u : u + 1]


@njit(**OPTIONS)
def add_half_unit(form, rows, own, share, start, weight, low, h, K, out, ability):
    """Adds the weights of nodes, from `start` on, to the rows of a half-unit; of its answers `own` the expected abilities."""
    for e in range(len(rows)):
        add_share(out[rows[e] * K + start : rows[e] * K + start + len(share)], weight, share)
    if form == ADJACENT and len(own) > 0:
        mean = weight * moments_about(share, 0.0, low + h * start, h)[0]
        for e in range(len(own)):
            ability[own[e]] += mean


@njit(**SUMS)
def after_shares(rows, start, stop, share, weight, first, last, out):
    """Weights of the nodes of the ability after, from those of the ability before."""
    for q in range(first, last):
        row, part, w = rows[q], out[start[q] : stop[q]], weight[q] * share[q]
        for k in range(stop[q] - start[q]):
            part[k] += w * row[k]


@njit(**OPTIONS)
def items_of_arms(model, sizes, patterns, first, level, slope, tau, prepared, share, ability, responses, out):
    """Adds the derivatives in levels, log slopes and thresholds; the part of the log-likelihood beside the integrals."""
    form, _ = model
    J, G, R = sizes
    grid, begin, (at, _, below, above) = prepared
    dlevel, dslope, dtau = out
    first_item, items = patterns[2 * G + 1 : 3 * G + 2], patterns[3 * G + 2 :]
    ll, rows = 0.0, first[J]
    for t in range(R):
        low, h, K = grid[0][t], grid[1][t], grid[2][t]
        if K == 0:
            continue
        own, b, a = share[at[t] : at[t + 1]], below[at[t] : at[t + 1]], above[at[t] : at[t + 1]]
        if form == CUMULATIVE:
            cumulative_items(level[t], slope, tau, first, own, b, a, (low, h, K), dlevel[t], dslope, dtau)
            continue
        by_item = np.zeros(J * K)
        for g in range(begin[t], begin[t + 1]):
            for e in range(first_item[g], first_item[g + 1]):
                i, p = items[e], g - begin[t]
                add_share(by_item[i * K : i * K + K], 1.0, own[p * K : p * K + K])
        of_arm = ability[t * rows : (t + 1) * rows], responses[t * rows : (t + 1) * rows]
        ll += adjacent_items(
            level[t], slope, tau, first, by_item, b, of_arm[0], of_arm[1], (low, h, K), dlevel[t], dslope, dtau
        )
    return ll


@njit(**OPTIONS)
def integrals_of_pairs(form, half_units, pairs, mu, sd, corr, prepared, share, ability, dmu, dcov):
    """Log of the integrals of all pairs, summed. Adds to shares, abilities, dmu, and dcov: (lambda, s, sigma_0)."""
    first_answer, answers, score, arm, of_pattern, rows_in_all = half_units
    group_start, group_after, before_of, count = pairs
    (lows, hs, Ks), _, (at, table, _, _) = prepared
    low, h, K = lows[0], hs[0], Ks[0]
    slope, s = corr * sd[1] / sd[0], sd[1] * math.sqrt(1.0 - corr * corr)
    ll, near, widest = 0.0, K // 2, max(Ks)
    rows, stat = np.empty((K, widest)), np.empty((4, K))
    start, stop = np.empty(K, np.int64), np.empty(K, np.int64)
    f, w, weight, f_after, of_after = np.empty(K), np.empty(K), np.empty(K), np.empty(widest), np.empty(widest)
    constant = math.log(h / sd[0]) - 0.5 * LOG_2PI
    for g in range(len(group_after)):
        v = group_after[g]
        t, mu_0 = arm[v], mu[before_of[group_start[g]]]
        own, part = rows_of(form, v, first_answer, answers, of_pattern), slice(at[t], at[t + 1])
        log_responses(form, own, score[v], table[part], lows[t], hs[t], Ks[t], f_after)
        stop[:] = 0
        weight[:] = 0.0
        before, after = (low, h, mu_0, sd[0]), (f_after, mu[v], slope, s)
        lowest, highest = K, 0
        for j in range(group_start[g], group_start[g + 1]):
            u = before_of[j]
            of_u = rows_of(form, u, first_answer, answers, of_pattern)
            log_responses(form, of_u, score[u], table[at[0] : at[1]], low, h, K, f)
            a, b, total, near = posterior_before(
                f, near, before, after, (lows[t], hs[t], Ks[t]), rows, start, stop, stat, w
            )
            ll += count[j] * (total + constant)
            d, dd, e, ee, ed = moments_of_pair(w, a, b, low, h, mu_0, stat)
            dmu[u] += count[j] * (d / (sd[0] * sd[0]) - slope * e / (s * s))
            dmu[v] += count[j] * e / (s * s)
            dcov[0] += count[j] * ed / (s * s)
            dcov[1] += count[j] * (ee / (s * s) - 1.0) / s
            dcov[2] += count[j] * (dd / (sd[0] * sd[0]) - 1.0) / sd[0]
            answered = answers[first_answer[u] : first_answer[u + 1]]
            add_half_unit(form, of_u, answered, w[a:b], a, count[j], low, h, K, share[at[0] : at[1]], ability)
            add_share(weight[a:b], count[j], w[a:b])
            lowest, highest = min(lowest, a), max(highest, b)
        of_after[:] = 0.0
        after_shares(rows, start, stop, stat[3], weight, lowest, highest, of_after)
        answered = answers[first_answer[v] : first_answer[v + 1]]
        of_arm = ability[t * rows_in_all : (t + 1) * rows_in_all]
        add_half_unit(form, own, answered, of_after[: Ks[t]], 0, 1.0, lows[t], hs[t], Ks[t], share[part], of_arm)
    return ll


@njit(**OPTIONS)
def integrals_of_singles(form, half_units, singles, mu, sd, prepared, share, ability, dmu, dsd):
    """Log of the integrals of half-units that are alone, summed. Adds to shares, abilities, dmu and dsd, by occasion."""
    first_answer, answers, score, arm, of_pattern, rows_in_all = half_units
    (lows, hs, Ks), _, (at, table, _, _) = prepared
    ll, f = 0.0, np.empty(max(Ks))
    for j in range(len(singles[0])):
        u, n = singles[0][j], singles[1][j]
        t = arm[u]
        low, h, K, sigma = lows[t], hs[t], Ks[t], sd[min(t, 1)]
        own = rows_of(form, u, first_answer, answers, of_pattern)
        log_responses(form, own, score[u], table[at[t] : at[t + 1]], low, h, K, f)
        for k in range(K):
            z = (low + h * k - mu[u]) / sigma
            f[k] -= 0.5 * z * z
        ll += n * (posterior(f[:K]) + math.log(h / sigma) - 0.5 * LOG_2PI)
        one, two = moments_about(f[:K], mu[u], low, h)
        dmu[u] += n * one / (sigma * sigma)
        dsd[min(t, 1)] += n * (two / (sigma * sigma) - 1.0) / sigma
        answered = answers[first_answer[u] : first_answer[u + 1]]
        of_arm = ability[t * rows_in_all : (t + 1) * rows_in_all]
        add_half_unit(form, own, answered, f[:K], 0, n, low, h, K, share[at[t] : at[t + 1]], of_arm)
    return ll


@njit(**OPTIONS)
def least_sd(mu):
    """The smallest SD of abilities that is integrated over."""
    low, high = math.inf, -math.inf
    for u in range(len(mu)):
        low, high = min(low, mu[u]), max(high, mu[u])
    return max(LEAST, (high - low) / STEPS)


@njit(inline="always")
def likelihood_of_occasions(model, sizes, tables, first, mu, sigma, corr, level, slope, tau, accuracy, out):
    """Log-likelihood of all responses, and its derivative in the correlation.

    model: form, link, free slopes. sizes: J, N, G, R. tables: patterns, first_answer, answers, score, responses, pairs, singles.
    level (R, J). sigma (2). out: dmu, dsigma, dlevel, dslope (in log a), dtau, all added.
    """
    form, link, free = model
    J, N, G, R = sizes
    patterns, first_answer, answers, given, responses, pairs, singles = tables
    dmu, dsigma, dlevel, dslope, dtau = out
    score, sd, least = np.empty(N), np.empty(2), least_sd(mu)
    for t in range(2):
        sd[t] = max(abs(sigma[t]), least)
    if form == ADJACENT:
        scores(free, first, slope, first_answer, answers, given, score)
    of_model = form, link
    ok, grid, begin, of_arms, arm, of_pattern = prepare(
        of_model, (N, G, R), patterns, first, mu, sd, corr, level, slope, tau, accuracy
    )
    if not ok:
        return math.nan, 0.0
    prepared, half_units = (grid, begin, of_arms), (first_answer, answers, score, arm, of_pattern, first[J])
    share, ability = np.zeros(of_arms[0][R]), np.zeros(R * first[J])
    dcov, dsd = np.zeros(3), np.zeros(2)
    ll = integrals_of_pairs(form, half_units, pairs, mu, sd, corr, prepared, share, ability, dmu, dcov)
    ll += integrals_of_singles(form, half_units, singles, mu, sd, prepared, share, ability, dmu, dsd)
    ll += items_of_arms(
        *(of_model, (J, G, R), patterns, first, level, slope, tau, prepared, share, ability, responses),
        (dlevel, dslope, dtau),
    )
    own = math.sqrt(1.0 - corr * corr)
    dsd[0] += dcov[2] - dcov[0] * corr * sd[1] / (sd[0] * sd[0])
    dsd[1] += dcov[0] * corr / sd[0] + dcov[1] * own
    for t in range(2):
        size = abs(sigma[t])
        if size < least:
            ll += dsd[t] * (size * size - least * least) / (2.0 * least)
            dsd[t] *= size / least
        dsigma[t] += dsd[t] if sigma[t] > 0.0 else -dsd[t]
    return ll, dcov[0] * sd[1] / sd[0] - dcov[1] * corr * sd[1] / own
