"""Clusters whose rows have nothing to integrate but their categories' residuals: what is normal of their parts exactly.

Notation is that of kernels/cluster_response_integral.py: parts f = m + L z, z ~ N(0, I). If no row has a variable with a
coordinate of its own and means are linear in f, as without slopes on latent predictors, a row adds to log p(rows | v, z)

    continuous and seen   -e^2 / 2 - log sd,          e = e_0 - E'z
    categories            log P((a, b) around eta),   eta = eta_0 + W'z

Given what is continuous, z = c + R'^-1 x with x ~ N(0, I) and R R' = I + sum of E E'. Categories depend on x through R^-1 W only.
With an orthonormal basis Q of these directions what is left is an integral over y = Q x, seldom more than one or two variables:
adaptive quadrature as in kernels/structural_integration.py, its derivatives in closed form; log P is concave in eta.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.latent_response_integral import total
from bayeshte.marginal.kernels.latent_responses import LOG_SQRT_2PI, interval
from bayeshte.marginal.kernels.linear import OPTIONS, cholesky
from bayeshte.marginal.kernels.rows import LOGIT
from bayeshte.marginal.kernels.structural_integration import NEAR, backward

SAME = 1e-9  # share of a direction's squared length that is left where others span it
VARIABLE, CODE, SD, ETA, W = 0, 1, 2, 3, 4  # columns of a table of categories; W and all after it


@njit(**OPTIONS)
def forward(R, x, n):
    """x becomes R^-1 x for a lower factor R."""
    for i in range(n):
        for k in range(i):
            x[i] -= R[i, k] * x[k]
        x[i] /= R[i, i]


@njit(**OPTIONS)
def span(x, basis, found):
    """Adds x, which is used up, to the orthonormal rows of the basis, unless it is among what they span; their number."""
    n, square, left = len(x), 0.0, 0.0
    for i in range(n):
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
def deviations(pattern, L, q, back, slopes, D):
    """Derivatives in f of what is left of every variable of a row given those before: E sd of continuous ones, W of categories.

    pattern: variables in order, how many are continuous, how many there are. slopes: slope_cells and the total effects within.
    """
    order, continuous, n = pattern
    slope_cells, A = slopes
    nf, ns = D.shape[1], len(slope_cells)
    for i in range(n):
        for k in range(nf):
            D[i, k] = 0.0
        if back[order[i]] >= 0:
            D[i, back[order[i]]] = 1.0
        for s in range(ns):
            D[i, nf - ns + s] = A[order[i], slope_cells[s, 1]] * q[slope_cells[s, 2]]
        for b in range(min(i, continuous)):
            for k in range(nf):
                D[i, k] -= L[i, b] / L[b, b] * D[b, k]


@njit(**OPTIONS)
def gather(cluster, mean, root, rows, roots, moments, slope_cells, back, table, H, h, D):
    """Categories of the cluster's rows to the table; the log density of what is continuous at z = 0, and how many categories.

    mean, root: m and L. H becomes R R', h the sum of E e_0. D is scratch.
    """
    _, first, last = cluster
    pattern, codes, q, values, patterns = rows
    nf, ns, number, before, ll = len(mean), len(slope_cells), 0, -1, 0.0
    K, A = moments[5], moments[2]
    Dz, e = np.empty_like(D), np.empty(len(D))
    for i in range(nf):
        h[i] = 0.0
        for k in range(nf):
            H[i, k] = 1.0 if i == k else 0.0
    for r in range(first, last):
        x, L, M = patterns[pattern[r]], roots[pattern[r]], len(back)
        order, cat, continuous, n, seen = x[3 : 3 + M], x[3 + M : 3 + 2 * M], x[0], x[2], 0
        if pattern[r] != before or ns > 0:
            before = pattern[r]
            deviations((order, continuous, n), L, q[r], back, (slope_cells, A), D)
            for i in range(n):
                for k in range(nf):
                    s = 0.0
                    for a in range(k, nf):
                        s += D[i, a] * root[a, k]
                    Dz[i, k] = s
        for i in range(n):
            m = 0.0
            for k in range(q.shape[1]):
                m += K[order[i], k] * q[r, k]
            if back[order[i]] >= 0:
                m += mean[back[order[i]]]
            for s in range(ns):
                m += A[order[i], slope_cells[s, 1]] * q[r, slope_cells[s, 2]] * mean[nf - ns + s]
            for k in range(min(i, continuous)):
                m += L[i, k] * e[k]
            if i < continuous:
                e[i] = (values[r, i] - m) / L[i, i]
                ll -= 0.5 * e[i] * e[i] + math.log(L[i, i]) + LOG_SQRT_2PI
                for a in range(nf):
                    E = Dz[i, a] / L[i, i]
                    h[a] += E * e[i]
                    for b in range(a + 1):
                        H[a, b] += E * Dz[i, b] / L[i, i]
            elif cat[i] >= 0:
                entry = table[number]
                entry[VARIABLE], entry[CODE], entry[SD], entry[ETA] = cat[i], codes[r, seen], L[i, i], m
                for a in range(nf):
                    entry[W + a] = Dz[i, a]
                seen += 1
                number += 1
    return ll, number


@njit(**OPTIONS)
def turn(table, number, R, c, basis, x):
    """The table's means are at z = c + R'^-1 Q'y from here on: eta at c, derivatives in y. The number of these, d."""
    n, found = len(c), 0
    for t in range(number):
        for a in range(n):
            table[t, ETA] += table[t, W + a] * c[a]
        forward(R, table[t, W:], n)
        if found < n:
            for a in range(n):
                x[a] = table[t, W + a]
            found = span(x, basis, found)
    for t in range(number):
        for b in range(found):
            x[b] = 0.0
            for a in range(n):
                x[b] += basis[b, a] * table[t, W + a]
        for b in range(found):
            table[t, W + b] = x[b]
    return found


@njit(**OPTIONS)
def categories_at(y, table, number, categories, ends, slopes, gradient, R):
    """Sum of log P at y; with `slopes` also its gradient minus y and, in R, minus the second derivatives of it and -y'y / 2."""
    (cuts, last, links), d, value = categories, len(y), 0.0
    if slopes:
        for a in range(d):
            gradient[a] = -y[a]
            for b in range(d):
                R[a, b] = 1.0 if a == b else 0.0
    for t in range(number):
        v, code, sd, m = int(table[t, VARIABLE]), int(table[t, CODE]), table[t, SD], table[t, ETA]
        for b in range(d):
            m += table[t, W + b] * y[b]
        low, high = code > 0, code < last[v]
        alpha = (cuts[v, code] - m) / sd if low else 0.0
        beta = (cuts[v, code + 1] - m) / sd if high else 0.0
        log_p, below, above = interval(links[v], alpha, beta, low, high, ends)
        value += log_p
        if slopes:
            score = (below - above) / sd
            if links[v] == LOGIT:  # f'(x) / f(x)
                alpha = math.exp(ends[0, 0]) - math.exp(ends[0, 1])
                beta = math.exp(ends[1, 0]) - math.exp(ends[1, 1])
            curvature = score * score + (beta * above - alpha * below) / (sd * sd)
            for a in range(d):
                gradient[a] += score * table[t, W + a]
                for b in range(a + 1):
                    R[a, b] += curvature * table[t, W + a] * table[t, W + b]
    return value


@njit(**OPTIONS)
def integral(table, number, d, rules, categories, y, R, gradient, points, g, ends):
    """log of the integral over y of the categories' probability, y ~ N(0, I_d)."""
    for a in range(d):
        y[a] = 0.0
    if d == 0:
        return categories_at(y[:d], table, number, categories, ends, False, gradient, R)
    step, best, logdet = np.zeros(d), -math.inf, 0.0
    for _ in range(30):
        value = categories_at(y[:d], table, number, categories, ends, True, gradient, R)
        for a in range(d):
            value -= 0.5 * y[a] * y[a]
        if not value >= best:  # too far
            for a in range(d):
                step[a] *= 0.5
                y[a] -= step[a]
            continue
        best, way = value, 0.0
        logdet = cholesky(R, d)
        forward(R, gradient, d)
        for a in range(d):
            way += gradient[a] * gradient[a]
        backward(R, gradient, d, step)
        for a in range(d):
            y[a] += step[a]
        if not way > NEAR:
            break
    nodes, log_weights, first = rules
    nodes, log_weights = nodes[first[d] : first[d + 1], :d], log_weights[first[d] : first[d + 1]]
    for k in range(len(nodes)):
        backward(R, nodes[k], d, points[k])
        for a in range(d):
            points[k, a] += y[a]
        g[k] = categories_at(points[k, :d], table, number, categories, ends, False, gradient, R)
    return total(g, points, nodes, log_weights, d) - 0.5 * logdet


@njit(**OPTIONS)
def with_normal_parts(mean, root, slope_cells, back, cluster, rows, roots, moments, rules, categories, work):
    """log of the integral of p(rows | v, z) over z. moments, roots: where slopes are zero; rules: of y; work: `space`."""
    table, H, h, c, basis, x, R, gradient, y, points, g, D, ends = work
    n = len(mean)
    ll, number = gather(cluster, mean, root, rows, roots, moments, slope_cells, back, table, H, h, D)
    logdet = cholesky(H, n)
    forward(H, h, n)
    for i in range(n):
        ll += 0.5 * h[i] * h[i]
    backward(H, h, n, c)
    d = turn(table, number, H, c, basis, x)
    ll += integral(table, number, d, rules, categories, y, R, gradient, points, g, ends)
    return ll - 0.5 * logdet


@njit(**OPTIONS)
def space(variables, parts, entries, nodes):
    """Scratch of `with_normal_parts` for as many categories a cluster."""
    return (
        np.empty((entries, W + parts)),
        np.empty((parts, parts)),
        np.empty(parts),
        np.empty(parts),
        np.empty((parts, parts)),
        np.empty(parts),
        np.empty((parts, parts)),
        np.empty(parts),
        np.empty(parts),
        np.empty((nodes, parts)),
        np.empty(nodes),
        np.empty((variables, parts)),
        np.empty((2, 3)),
    )
