"""Clusters of structural equation models with categorical variables, all latent variables integrated numerically.

Notation is that of kernels/latent_response_integral.py, which integrates what rows have. Parts f = m + L z of a cluster given its
continuous variables v, z ~ N(0, I), are integrated as random slopes are in kernels/structural_integration.py,

    p(v) ∫ exp(g(z)) N(z; 0, I) dz,   g = log p(rows | v, z) + log P(categories of the cluster | v, z).

Categories whose responses cause f come before it, as in cluster_responses.py: z has their coordinates first, f is given their
responses, and g has their log P. Were f first, small residuals of f would make of P(categories | v, z) a step.

Where nothing but categories makes g differ from a quadratic function, as without slopes on latent predictors, it does so through
the means eta = a + w'f of latent responses only. Orthogonal to R^-1 L'w the integrand is normal, and one node is exact there: the
other nodes are those of the space that these directions span. With responses before f these are all. If no row has anything else
to integrate, f is integrated as in normal_parts_integral.py, and z has the coordinates of responses before f only.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.conditioning import condition, mean_of
from bayeshte.marginal.kernels.latent_response_integral import factors_of, moments_of, one_row, room, row, total
from bayeshte.marginal.kernels.latent_responses import factor, inside, interval
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.normal_parts_integral import forward, space, span, with_normal_parts
from bayeshte.marginal.kernels.structural_integration import LOG_2PI, NEAR, backward, newton, stencil


@njit(**OPTIONS)
def own_categories(j, f, answers, rules, categories, scratch):
    """log P(categories of cluster j | f, v): as a row of which the density of what is continuous is left out."""
    patterns, kinds, codes, roots, K, q, v, back, own = answers
    if kinds[j] < 0:
        return 0.0
    x, M, values = patterns[kinds[j]], len(back), own
    continuous, conditions, n, source = x[1], x[2], x[3], x[4 + 2 * M :]
    for i in range(continuous):
        values[i] = f[source[i]] if source[i] >= 0 else v[j, -1 - source[i]]
    nodes, log_weights, first = rules
    sampled = conditions - continuous
    mine = slice(first[sampled], first[sampled + 1])
    rule = nodes[mine, :sampled], log_weights[mine]
    given = (x[4 : 4 + M], x[4 + M : 4 + 2 * M], continuous, conditions, n)
    return row(given, roots[kinds[j]], codes[j], q[j], values, 0.0, rule, K[x[0]], back, f, categories, scratch)


@njit(**OPTIONS)
def responses_at(z, before, categories, own, f):
    """Responses before f at coordinates z, to the cluster's `own` values; what they add to f is added. Sum of log P.

    before: their number, that of the variables known; root of their covariances, the categorical variables they are and their
    categories; their means given what is not normal; innovations, those of what is known there; C of f given all of these.
    """
    number, known, root, cat, codes, mu, e, C = before
    (cuts, last, links), ends, total_p = categories, np.empty((2, 3)), 0.0
    for k in range(number):
        i = known + k
        m, v, code = 0.0, cat[i], codes[k]
        for b in range(i):
            m += root[i, b] * e[b]
        low, high = code > 0, code < last[v]
        alpha = (cuts[v, code] - mu[k] - m) / root[i, i] if low else 0.0
        beta = (cuts[v, code + 1] - mu[k] - m) / root[i, i] if high else 0.0
        log_p, _, _ = interval(links[v], alpha, beta, low, high, ends)
        e[i] = inside(ends, z[k], log_p)[0]
        m += root[i, i] * e[i]
        own[i] = mu[k] + m
        for a in range(len(f)):
            f[a] += C[a, i] * m
        total_p += log_p
    return total_p


@njit(**OPTIONS)
def clusters_at(
    points,
    number,
    mean,
    L,
    within,
    slope_cells,
    back,
    cluster,
    before,
    rows,
    answers,
    rules,
    categories,
    easy,
    scratch,
    out,
):
    """g at the first `number` of the points z of a cluster; NaN where it has none.

    cluster: its number, its first row, the one after the last. before: as in `responses_at`. easy: whether f is integrated, so
    that z has the coordinates of responses before f only, and what that takes.
    """
    f, moments, roots, work, own_work = scratch
    integrated, still, still_roots, part_rules, space_of_parts = easy
    n, ns, (j, first, last_row), first_z = len(mean), len(slope_cells), cluster, before[0]
    for point in range(number):
        for i in range(n):
            f[i] = mean[i]
        log_p = responses_at(points[point], before, categories, answers[6][j], f)
        if integrated:
            out[point] = log_p + with_normal_parts(
                f, L, slope_cells, back, cluster, rows, still_roots, still, part_rules, categories, space_of_parts
            )
            continue
        for i in range(n):
            for k in range(i + 1):
                f[i] += L[i, k] * points[point, first_z + k]
        ok = True
        if ns > 0:
            moments_of(within, slope_cells, f[n - ns :], moments)
            ok = factors_of(moments[4], rows[4], categories, roots)
        ll = log_p if ok else math.nan
        for r in range(first, last_row):
            if ok:
                ll += one_row(r, rows, rules[0], roots, moments[5], back, f, categories, work)
        if ok:
            ll += own_categories(j, f, answers, rules[1], categories, own_work)
        out[point] = ll


@njit(**OPTIONS)
def towards(w, L, R, x):
    """x = R^-1 L'w."""
    n = len(w)
    for i in range(n):
        x[i] = 0.0
        for k in range(i, n):
            x[i] += L[k, i] * w[k]
    forward(R, x, n)


@njit(**OPTIONS)
def directions(R, here, basis, w):
    """An orthonormal basis (rows) of the directions in x in which the integrand is not normal; their number. w is scratch."""
    _, L, _, slope_cells, back, (j, first, last_row), responses, rows, answers, _, _, _, scratch = here
    _, moments, roots, _, _ = scratch
    pattern, _, q, _, patterns = rows
    n, ns, a, found, before = len(R), len(slope_cells), len(back), 0, -1
    bilinear = responses[0] > 0
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
                towards(dm[i], L, R, w)
                found = span(w, basis, found)
    return own_directions(j, answers, L, R, basis, found, w)


@njit(**OPTIONS)
def own_directions(j, answers, L, R, basis, found, w):
    """The same with those of the cluster's own categories added: derivatives in f of their means given f and v."""
    patterns, kinds, _, roots, _, _, _, back, _ = answers
    if kinds[j] < 0:
        return found
    x, root, M, nf = patterns[kinds[j]], roots[kinds[j]], len(back), len(L)
    dm, de = np.empty(nf), np.empty((x[1], nf))
    for i in range(x[3]):
        for k in range(nf):
            dm[k] = 0.0
            for b in range(min(i, x[1])):
                dm[k] += root[i, b] * de[b, k]
        if i < x[1]:
            for k in range(nf):
                de[i, k] = ((1.0 if x[4 + 2 * M + i] == k else 0.0) - dm[k]) / root[i, i]
        elif x[4 + M + i] >= 0 and found < nf:
            towards(dm, L, R, w)
            found = span(w, basis, found)
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


@njit(**OPTIONS)
def innovate(root, e, m, out):
    """Innovations of normal variables that deviate by e from their means; twice minus their log density but for 2 pi."""
    total_e = 0.0
    for i in range(m):
        s = e[i]
        for k in range(i):
            s -= root[i, k] * out[k]
        out[i] = s / root[i, i]
        total_e += out[i] * out[i] + 2.0 * math.log(root[i, i])
    return total_e


@njit(**OPTIONS)
def around_mode(z, R, here, rules, basis, w, x, points, g):
    """log of the integral of exp(g(z)) N(z; 0, I) by adaptive quadrature."""
    if len(z) == 0:
        clusters_at(points, 1, *here, g)
        return g[0]
    nodes, log_weights, begin = rules
    n, logdet = len(z), mode(z, R, here, points, g)
    d = directions(R, here, basis, w)
    nodes, log_weights = nodes[begin[d] : begin[d + 1], :d], log_weights[begin[d] : begin[d + 1]]
    for k in range(len(nodes)):
        for i in range(n):
            x[i] = 0.0
            for b in range(d):
                x[i] += nodes[k, b] * basis[b, i]
        backward(R, x, n, points[k])
        for i in range(n):
            points[k, i] += z[i]
    clusters_at(points, len(nodes), *here, g)
    return total(g, points, nodes, log_weights, n) - 0.5 * logdet


@njit(**OPTIONS)
def room_of_moments(a, regressors):
    """Scratch of `moments_of`."""
    square = np.empty((4, a, a))
    return square[0], np.empty((a, regressors)), square[1], square[2], square[3], np.empty((a, regressors))


@njit(**OPTIONS)
def with_easy_parts(starts, stops, rows, slope_cells, own_kind):
    """Clusters whose f `with_normal_parts` integrates, and most rows that one of them has."""
    pattern, _, _, _, patterns = rows
    out, most, linear = np.zeros(len(starts), np.bool_), 0, True
    for s in range(len(slope_cells)):
        linear = linear and slope_cells[s, 0] == 1
    for j in range(len(starts)):
        fits = linear and own_kind[j] < 0
        for r in range(starts[j], stops[j]):
            fits = fits and patterns[pattern[r], 0] == patterns[pattern[r], 1]
        out[j] = fits
        if fits:
            most = max(most, stops[j] - starts[j])
    return out, most


@njit(cache=True, error_model="numpy", nogil=True)
def integrate(within, between, structure, clusters, rows, first, own, rules, categories, part_rules, out):
    """Log-likelihood of every cluster at every draw, out (draw, cluster).

    within: Psi, B (draw, a, a) and c (draw, a, Qw); between: S (draw, context, M, M), K (draw, context, M, Q).
    structure: places of f in the between level, slope_cells, back, kinds of clusters as in structural_integration, with responses
    before f behind their own variables.
    clusters: kind, regressors, own values, first row, the one after the last. rows: as in `rows_given`; rules: such as there, for
    rows and for clusters. first, own: patterns of clusters with categories (marginal/cluster_categories.py), pattern and codes of
    each, before f and after it. categories: cuts (draw, variable, category), last category, links. part_rules: as rules, of z.
    """
    (Psi, B, c), (S, K), (cuts, last, links) = within, between, categories
    targets, slope_cells, back, kinds = structure
    kind, regressors, given_values, starts, stops = clusters
    values = given_values.copy()  # with responses
    nf, ns, M, a, Qw = len(targets), len(slope_cells), S.shape[-1], Psi.shape[-1], c.shape[-1]
    NV = len(kinds)
    all_nodes = part_rules[0]
    still, still_roots, f = (
        room_of_moments(a, Qw),
        np.zeros((len(rows[4]), a, a)),
        np.empty(nf),
    )  # where slopes are zero
    moments, roots = (room_of_moments(a, Qw), np.zeros_like(still_roots)) if ns > 0 else (still, still_roots)
    scratch = f, moments, roots, room(a, rules[0], len(rules[0][0])), room(M, rules[1], len(rules[1][0]))
    (patterns, own_kind, codes), (first_patterns, first_kind, first_codes) = own, first
    first_cat = np.full((max(len(first_patterns), 1), M), -1)
    for p in range(len(first_patterns)):
        for i in range(M):
            first_cat[p, i] = first_patterns[p, 4 + M + i]
    first_roots, mu, innovations = np.zeros((len(first_cat), M, M)), np.empty(M), np.empty(M)
    own_roots, none, known = np.zeros((len(patterns), M, M)), np.full(M, -1), np.empty(M)
    Kb, own_regressors = np.empty((K.shape[1], M, K.shape[3] - Qw)), regressors[:, Qw:].copy()
    Vi, C, L, logdets = np.empty((NV, M, M)), np.empty((NV, nf, M)), np.zeros((NV, nf, nf)), np.empty(NV)
    nz = all_nodes.shape[1]
    e, mean, all_z, all_R = np.empty(M), np.empty(nf), np.empty(nz), np.empty((nz, nz))
    basis, w, x = np.empty((nz, nz)), np.empty(nz), np.empty(nz)
    size = max(len(all_nodes), 1 + 2 * nz + nz * (nz - 1) // 2)
    points, g = np.empty((size, nz)), np.empty(size)
    quick, most = with_easy_parts(starts, stops, rows, slope_cells, own_kind)
    work, no_slopes = space(a, nf, most * len(last), size), np.zeros(ns)
    for draw in range(len(out)):
        level, given = (Psi[draw], B[draw], c[draw]), (cuts[draw], last, links)
        moments_of(level, slope_cells, no_slopes, still)
        fine = factors_of(still[4], rows[4], given, still_roots)
        for p in range(len(patterns)):
            asked = patterns[p]
            order, cat = asked[4 : 4 + M], asked[4 + M : 4 + 2 * M]
            fine = fine and factor(S[draw, asked[0]], order, asked[3], asked[2], cat, links, own_roots[p])
        for p in range(len(first_patterns)):
            asked = first_patterns[p]
            order, cat = asked[4 : 4 + M], asked[4 + M : 4 + 2 * M]
            fine = fine and factor(S[draw, asked[0]], order, asked[3], asked[2], cat, links, first_roots[p])
        for k in range(K.shape[1]):
            for i in range(M):
                for q in range(Kb.shape[2]):
                    Kb[k, i, q] = K[draw, k, i, Qw + q]
        answers = (patterns, own_kind, codes, own_roots, Kb, own_regressors, values, none, known)
        for v in range(NV):
            logdets[v] = condition(targets, nf, kinds[v, 2:], kinds[v, 1], S[draw, kinds[v, 0]], Vi[v], C[v], L[v])
        for j in range(len(kind)):
            v = kind[j]
            m, places, root, u = kinds[v, 1], kinds[v, 2:], L[v], max(first_kind[j], 0)
            number = 0
            if first_kind[j] >= 0:
                number = first_patterns[u, 2] - first_patterns[u, 1]
            m -= number
            mean_of(targets, nf, places, m, K[draw, kinds[v, 0]], regressors[j], values[j], C[v], e, mean)
            if number == 0:
                ll = logdets[v] + m * LOG_2PI
                for i in range(m):
                    for k in range(m):
                        ll += e[i] * Vi[v, i, k] * e[k]
            else:
                ll = m * LOG_2PI + innovate(first_roots[u], e, m, innovations)
                for k in range(number):
                    mu[k] = 0.0
                    for q in range(K.shape[3]):
                        mu[k] += K[draw, kinds[v, 0], places[m + k], q] * regressors[j, q]
            cluster, n = (j, starts[j], stops[j]), number if quick[j] else number + nf
            z, R = all_z[:n], all_R[:n, :n]
            cat = first_cat[u]
            before = (number, m, first_roots[u], cat, first_codes[j], mu, innovations, C[v])
            parts = (quick[j], still, still_roots, part_rules, work)
            here = (mean, root, level, slope_cells, back, cluster, before, rows, answers, rules, given, parts, scratch)
            out[draw, j] = around_mode(z, R, here, part_rules, basis, w, x, points, g) - 0.5 * ll if fine else math.nan
