"""Rows of structural equation models with categorical variables, all latent variables of a row integrated numerically.

Notation is that of kernels/structural_categorical.py and kernels/latent_responses.py. Rows are independent given the parts f_j of
their cluster; those of a row that have coordinates t, standard normal, are integrated,

    p(row | f) = N(continuous and seen) ∫ exp(h(t)) N(t; 0, I) dt,   h(t) = sum of log P(category | continuous, t),

as random slopes are in kernels/structural_integration.py: adaptive quadrature around the mode, t = t_0 + R'^-1 x.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.latent_responses import LOG_SQRT_2PI, factor, inside, interval
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.structural_integration import NEAR, backward, newton, stencil
from bayeshte.marginal.kernels.within_level import within_moments


@njit(**OPTIONS)
def answers(points, number, pattern, L, codes, categories, e, centre, ends, out):
    """h at the first `number` of the points t, to out; e of what is continuous and seen, and means given that, are known."""
    order, cat, continuous, conditions, n = pattern
    cuts, last, links = categories
    for point in range(number):
        value, c = 0.0, 0
        for i in range(continuous, n):
            m = centre[i]
            for k in range(continuous, min(i, conditions)):
                m += L[i, k] * e[k]
            if i < conditions:
                e[i] = points[point, i - continuous]
            if cat[i] < 0:
                continue
            low, high = codes[c] > 0, codes[c] < last[cat[i]]
            alpha = (cuts[cat[i], codes[c]] - m) / L[i, i] if low else 0.0
            beta = (cuts[cat[i], codes[c] + 1] - m) / L[i, i] if high else 0.0
            log_p, _, _ = interval(links[cat[i]], alpha, beta, low, high, ends)
            value += log_p
            if i < conditions:
                e[i] = inside(ends, e[i], log_p)[0]
            c += 1
        out[point] = value


@njit(**OPTIONS)
def row(pattern, L, codes, q, values, density, rule, K, back, f, categories, work):
    """Log-likelihood of a row given the parts f of its cluster.

    pattern, L, K, back, categories: as in `latent_responses.rows`; codes, q, values: categories in order, regressors with the
    constant, values that are seen; density: 1, or 0 where that of these values is left out; rule: nodes (node, sampled) and log
    weights.
    """
    order, cat, continuous, conditions, n = pattern
    nodes, log_weights = rule
    e, centre, ends, points, h, t, R, step = work
    ll, sampled = 0.0, conditions - continuous
    for i in range(n):
        m = f[back[order[i]]] if back[order[i]] >= 0 else 0.0
        for k in range(len(q)):
            m += K[order[i], k] * q[k]
        for k in range(min(i, continuous)):
            m += L[i, k] * e[k]
        centre[i] = m
        if i < continuous:
            e[i] = (values[i] - m) / L[i, i]
            ll -= density * (0.5 * e[i] * e[i] + math.log(L[i, i]) + LOG_SQRT_2PI)
    t, R, step = t[:sampled], R[:sampled, :sampled], step[:sampled]
    best, logdet = -math.inf, 0.0
    for i in range(sampled):
        t[i] = step[i] = 0.0
    for _ in range(30 if sampled > 0 else 0):  # to the mode, as in `mode`
        answers(points, stencil(t, points), pattern, L, codes, categories, e, centre, ends, h)
        value = h[0]
        for i in range(sampled):
            value -= 0.5 * t[i] * t[i]
        if not value >= best:
            for i in range(sampled):
                step[i] *= 0.5
                t[i] -= step[i]
            continue
        best = value
        logdet, way = newton(h, t, R, step)
        for i in range(sampled):
            t[i] += step[i]
        if not way > NEAR:
            break
    number = len(nodes)
    for k in range(number):
        backward(R, nodes[k], sampled, points[k])
        for i in range(sampled):
            points[k, i] += t[i]
    answers(points, number, pattern, L, codes, categories, e, centre, ends, h)
    return ll + total(h, points, nodes, log_weights, sampled) - 0.5 * logdet


@njit(**OPTIONS)
def total(g, points, nodes, log_weights, n):
    """log sum of exp(g - z'z / 2 + x'x / 2) over the nodes x with their weights; g is used up."""
    top = -math.inf
    for k in range(len(log_weights)):
        g[k] += log_weights[k]
        for i in range(n):
            g[k] -= 0.5 * points[k, i] * points[k, i]
        for i in range(nodes.shape[1]):
            g[k] += 0.5 * nodes[k, i] * nodes[k, i]
        top = max(top, g[k])
    s = 0.0
    for k in range(len(log_weights)):
        s += math.exp(g[k] - top)
    return top + math.log(s)


@njit(**OPTIONS)
def room(a, rules, most):
    """Scratch of `row`."""
    nodes, _, _ = rules
    q = nodes.shape[1]
    size = max(most, 1 + 2 * q + q * (q - 1) // 2)
    return (
        np.empty(a),
        np.empty(a),
        np.empty((2, 3)),
        np.empty((size, q)),
        np.empty(size),
        np.empty(q),
        np.empty((q, q)),
        np.empty(q),
    )


@njit(**OPTIONS)
def moments_of(within, slope_cells, slopes, work):
    """S and K within, to work, where random slopes have these values."""
    Psi, B0, c0 = within
    B, c, A, AP, S, K = work
    a, Qw = len(Psi), c0.shape[1]
    for i in range(a):
        for k in range(a):
            B[i, k] = B0[i, k]
        for q in range(Qw):
            c[i, q] = c0[i, q]
    for s in range(len(slope_cells)):
        if slope_cells[s, 0] == 0:
            B[slope_cells[s, 1], slope_cells[s, 2]] += slopes[s]
        else:
            c[slope_cells[s, 1], slope_cells[s, 2]] += slopes[s]
    within_moments(Psi, B, c, a, Qw, A, AP, S, K)


@njit(**OPTIONS)
def factors_of(S, patterns, categories, roots):
    """Roots of the covariances of every pattern; False where one is not positive definite."""
    a = S.shape[0]
    for p in range(len(patterns)):
        x = patterns[p]
        if not factor(S, x[3 : 3 + a], x[2], x[1], x[3 + a :], categories[2], roots[p]):
            return False
    return True


@njit(**OPTIONS)
def one_row(r, rows, rules, roots, K, back, f, categories, work):
    """`row` of the tables."""
    pattern, codes, q, values, patterns = rows
    x, a = patterns[pattern[r]], len(back)
    sampled = x[1] - x[0]
    nodes, log_weights, first = rules
    mine = slice(first[sampled], first[sampled + 1])
    rule = nodes[mine, :sampled], log_weights[mine]
    given = (x[3 : 3 + a], x[3 + a :], x[0], x[1], x[2])
    return row(given, roots[pattern[r]], codes[r], q[r], values[r], 1.0, rule, K, back, f, categories, work)


@njit(cache=True, error_model="numpy", nogil=True)
def rows_given(within, slope_cells, back, f, context, code, rows, rules, cuts, last, links, out):
    """Log-likelihood of every row at every draw given the parts of clusters f (draw, cluster, n_f), to out (draw, row).

    within: Psi, B (draw, context, a, a), c (draw, context, a, Qw) of the active variables, causes first.
    slope_cells: of each slope, the last of f, whether it is in c, its row and column. back: place in f by active variable, or -1.
    context, code: of every row its matrices, without slopes, and its cluster; rows in the order of code.
    rows: pattern (row,), categories, regressors and values; patterns. rules: nodes, log weights, the first node for
    each number of sampled variables. cuts (draw, variable, category), last category, links.
    """
    Psi, B, c = within
    ns, contexts, a, Qw = len(slope_cells), Psi.shape[1], Psi.shape[2], c.shape[-1]
    S, K = np.empty((contexts, a, a)), np.empty((contexts, a, Qw))
    s4, c1 = np.empty((3, a, a)), np.empty((a, Qw))
    roots, work = np.zeros((contexts, len(rows[4]), a, a)), room(a, rules, len(rules[0]))
    for draw in range(len(out)):
        categories = cuts[draw], last, links
        before, fine = -1, True
        if ns == 0:
            for k in range(contexts):
                given = Psi[draw, k], B[draw, k], c[draw, k]
                moments_of(given, slope_cells, f[draw, 0], (s4[0], c1, s4[1], s4[2], S[k], K[k]))
                fine = fine and factors_of(S[k], rows[4], categories, roots[k])
        for r in range(out.shape[1]):
            x, k = f[draw, code[r]], context[r]
            if ns > 0 and code[r] != before:
                before = code[r]
                given = Psi[draw, k], B[draw, k], c[draw, k]
                moments_of(given, slope_cells, x[len(x) - ns :], (s4[0], c1, s4[1], s4[2], S[k], K[k]))
                fine = factors_of(S[k], rows[4], categories, roots[k])
            out[draw, r] = one_row(r, rows, rules, roots[k], K[k], back, x, categories, work) if fine else math.nan
