"""Rows and clusters of structural equation models with categorical variables, all latent variables integrated numerically.

Notation is that of kernels/structural_categorical.py and kernels/latent_responses.py. Rows are independent given the parts f_j of
their cluster; those of a row that have coordinates t, standard normal, are integrated,

    p(row | f) = N(continuous and seen) ∫ exp(h(t)) N(t; 0, I) dt,   h(t) = sum of log P(category | continuous, t),

and so are parts f = m + L z given the clusters' own variables v, z ~ N(0, I): ∫ exp(g(z)) N(z; 0, I) dz, g = log p(rows | v, z).
Both are as random slopes in kernels/structural_integration.py: adaptive quadrature around the mode, z = z_0 + R'^-1 x.

Where nothing but categories makes g differ from a quadratic function, as without slopes on latent predictors, it does so through
the means eta = a + w'f of latent responses only. Orthogonal to R^-1 L'w the integrand is normal, and one node is exact there: the
other nodes are those of the space that these directions span.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.latent_responses import LOG_SQRT_2PI, factor, inside, interval
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.structural_clusters import condition, mean_of, within_moments
from bayeshte.marginal.kernels.structural_integration import LOG_2PI, NEAR, backward, newton, stencil

SAME = 1e-9  # share of a direction's squared length that is left where others span it


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
def row(pattern, L, codes, q, values, rule, K, back, f, categories, work):
    """Log-likelihood of a row given the parts f of its cluster.

    pattern, L, K, back, categories: as in `latent_responses.rows`; codes, q, values: categories in order, regressors with the
    constant, values that are seen; rule: nodes (node, sampled) and log weights.
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
            ll -= 0.5 * e[i] * e[i] + math.log(L[i, i]) + LOG_SQRT_2PI
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
    return row(given, roots[pattern[r]], codes[r], q[r], values[r], rule, K, back, f, categories, work)


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


@njit(**OPTIONS)
def clusters_at(
    points, number, mean, L, within, slope_cells, back, first, last_row, rows, rules, categories, scratch, out
):
    """g at the first `number` of the points z, for the rows `first` to `last_row` of a cluster; NaN where it has none."""
    f, moments, roots, work = scratch
    n, ns = len(mean), len(slope_cells)
    for point in range(number):
        for i in range(n):
            s = mean[i]
            for k in range(i + 1):
                s += L[i, k] * points[point, k]
            f[i] = s
        ok = True
        if ns > 0:
            moments_of(within, slope_cells, f[n - ns :], moments)
            ok = factors_of(moments[4], rows[4], categories, roots)
        ll = 0.0 if ok else math.nan
        for r in range(first, last_row):
            if ok:
                ll += one_row(r, rows, rules, roots, moments[5], back, f, categories, work)
        out[point] = ll


@njit(**OPTIONS)
def span(w, L, R, basis, found, x):
    """Adds R^-1 L'w to the orthonormal basis, unless it is among what that spans; x is scratch."""
    n, square, left = len(w), 0.0, 0.0
    for i in range(n):
        x[i] = 0.0
        for k in range(i, n):
            x[i] += L[k, i] * w[k]
        for k in range(i):
            x[i] -= R[i, k] * x[k]
        x[i] /= R[i, i]
        square += x[i] * x[i]
    for _ in range(2):  # once more for what rounding left
        for b in range(found):
            s = 0.0
            for i in range(n):
                s += basis[b, i] * x[i]
            for i in range(n):
                x[i] -= s * basis[b, i]
    for i in range(n):
        left += x[i] * x[i]
    if not left > SAME * square:
        return found
    for i in range(n):
        basis[found, i] = x[i] / math.sqrt(left)
    return found + 1


@njit(**OPTIONS)
def directions(R, here, basis, w):
    """An orthonormal basis (rows) of the directions in x in which the integrand is not normal; their number. w is scratch."""
    _, L, _, slope_cells, back, first, last_row, rows, _, _, scratch = here
    f, moments, roots, _ = scratch
    pattern, _, q, _, patterns = rows
    n, ns, a, found, before = len(f), len(slope_cells), len(back), 0, -1
    bilinear = False
    for s in range(ns):
        bilinear = bilinear or slope_cells[s, 0] == 0
    if bilinear:
        for i in range(n):
            for k in range(n):
                basis[i, k] = 1.0 if i == k else 0.0
        return n
    dm = np.empty((a, n))
    for r in range(first, last_row):  # dm: derivatives in f of the means given what is continuous and seen
        if found == n or (ns == 0 and pattern[r] == before):
            continue
        before = pattern[r]
        x, root = patterns[before], roots[before]
        for i in range(x[2]):
            v = x[3 + i]
            for k in range(n):
                dm[i, k] = 0.0
            if back[v] >= 0:
                dm[i, back[v]] = 1.0
            for s in range(ns):
                dm[i, n - ns + s] = moments[2][v, slope_cells[s, 1]] * q[r, slope_cells[s, 2]]
            for b in range(min(i, x[0])):
                for k in range(n):
                    dm[i, k] -= root[i, b] / root[b, b] * dm[b, k]
            if x[3 + a + i] >= 0 and found < n:
                found = span(dm[i], L, R, basis, found, w)
    return found


@njit(**OPTIONS)
def mode(z, R, here, points, values):
    """The mode z of g(z) - z'z / 2 by Newton's method, and the factor R of minus the second derivatives; log det R R'."""
    n = len(z)
    step, best, logdet = np.zeros(n), -math.inf, 0.0
    for i in range(n):
        z[i] = 0.0
    for _ in range(30):
        clusters_at(points, stencil(z, points), *here, values)
        value = values[0]
        for i in range(n):
            value -= 0.5 * z[i] * z[i]
        if not value >= best:  # too far
            for i in range(n):
                step[i] *= 0.5
                z[i] -= step[i]
            continue
        best = value
        logdet, way = newton(values, z, R, step)
        for i in range(n):
            z[i] += step[i]
        if not way > NEAR:
            break
    return logdet


@njit(cache=True, error_model="numpy", nogil=True)
def integrate(within, between, structure, clusters, rows, rules, categories, part_rules, out):
    """Log-likelihood of every cluster at every draw, out (draw, cluster).

    within: Psi, B (draw, a, a) and c (draw, a, Qw); between: S (draw, context, M, M), K (draw, context, M, Q).
    structure: places of f in the between level, slope_cells, back, kinds of clusters as in structural_integration.
    clusters: kind, regressors, own values, first row, the one after the last. rows, rules: as in `rows_given`.
    categories: cuts (draw, variable, category), last category, links. part_rules: as rules, of f.
    """
    (Psi, B, c), (S, K), (cuts, last, links) = within, between, categories
    targets, slope_cells, back, kinds = structure
    kind, regressors, values, starts, stops = clusters
    nf, ns, M, a, Qw = len(targets), len(slope_cells), S.shape[-1], Psi.shape[-1], c.shape[-1]
    NV = len(kinds)
    all_nodes, all_weights, begin = part_rules
    s5 = np.empty((4, a, a))
    moments = s5[0], np.empty((a, Qw)), s5[1], s5[2], s5[3], np.empty((a, Qw))
    roots, f = np.zeros((len(rows[4]), a, a)), np.empty(nf)
    scratch = f, moments, roots, room(a, rules, len(rules[0]))
    Vi, C, L, logdets = np.empty((NV, M, M)), np.empty((NV, nf, M)), np.zeros((NV, nf, nf)), np.empty(NV)
    e, mean, z, R = np.empty(M), np.empty(nf), np.empty(nf), np.empty((nf, nf))
    basis, w, x = np.empty((nf, nf)), np.empty(nf), np.empty(nf)
    size = max(len(all_nodes), 1 + 2 * nf + nf * (nf - 1) // 2)
    points, g = np.empty((size, nf)), np.empty(size)
    for draw in range(len(out)):
        level, given = (Psi[draw], B[draw], c[draw]), (cuts[draw], last, links)
        fine = True
        if ns == 0:
            moments_of(level, slope_cells, f, moments)
            fine = factors_of(moments[4], rows[4], given, roots)
        for v in range(NV):
            logdets[v] = condition(targets, nf, kinds[v, 2:], kinds[v, 1], S[draw, kinds[v, 0]], Vi[v], C[v], L[v])
        for j in range(len(kind)):
            v = kind[j]
            m, own, root = kinds[v, 1], kinds[v, 2:], L[v]
            mean_of(targets, nf, own, m, K[draw, kinds[v, 0]], regressors[j], values[j], C[v], e, mean)
            ll = logdets[v] + m * LOG_2PI
            for i in range(m):
                for k in range(m):
                    ll += e[i] * Vi[v, i, k] * e[k]
            here = (mean, root, level, slope_cells, back, starts[j], stops[j], rows, rules, given, scratch)
            logdet = mode(z, R, here, points, g)
            n = directions(R, here, basis, w)
            nodes, log_weights = all_nodes[begin[n] : begin[n + 1], :n], all_weights[begin[n] : begin[n + 1]]
            for k in range(len(nodes)):
                for i in range(nf):
                    x[i] = 0.0
                    for b in range(n):
                        x[i] += nodes[k, b] * basis[b, i]
                backward(R, x, nf, points[k])
                for i in range(nf):
                    points[k, i] += z[i]
            clusters_at(points, len(nodes), *here, g)
            value = total(g, points, nodes, log_weights, nf)
            out[draw, j] = value - 0.5 * (ll + logdet) if fine else math.nan
