"""Rows of a structural equation model with products of two of their variables, the known members integrated numerically.

Notation is that of kernels/structural_product_rows.py. What is seen of the variables u that descend from no product is normal;
given it the members z of products that are not seen have standard normal innovations e, and

    p(row) = N(u) ∫ exp(h(e)) N(e; 0, I) de,   h(e) = log N(d; mu, V), the density of what is seen of d given u and z,

by adaptive quadrature around the mode of h(e) - e'e / 2, as in kernels/structural_integration.py.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.latent_response_integral import total
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.structural_integration import NEAR, backward, newton, stencil
from bayeshte.marginal.kernels.structural_product_rows import LOG_SQRT_2PI, explain, locate, new_work, roots


@njit(**OPTIONS)
def heights(points, number, given, q, values, e, x, work, out):
    """h at the first `number` of the points e, to out; the innovations of what is seen are in e."""
    equations, (B, c, K, L, P, t), (seen, n, known, places, d_seen) = given
    for point in range(number):
        for i in range(n - seen):
            e[seen + i] = points[point, i]
        locate(seen, n, seen, known, L, K, q, values, e, x)
        out[point] = explain(equations, B, c, K, L, P, t, n, places, d_seen, q, values[seen:], e, x, work)


@njit(**OPTIONS)
def row(given, q, values, rules, e, x, work, room):
    """Log-likelihood of a row; values: of seen u, then of seen d; rules: nodes (node, z), log weights, where each rule starts."""
    _, (_, _, K, L, _, _), (seen, n, known, _, d_seen) = given
    nodes, log_weights, first = rules
    points, h, t, R, step = room
    locate(0, seen, seen, known, L, K, q, values, e, x)
    ll, sampled, best, logdet = 0.0, n - seen, -math.inf, 0.0
    for i in range(seen):
        ll -= 0.5 * e[i] * e[i] + math.log(L[i, i]) + LOG_SQRT_2PI
    if len(d_seen) == 0:
        return ll
    t, R, step = t[:sampled], R[:sampled, :sampled], step[:sampled]
    for i in range(sampled):
        t[i] = step[i] = 0.0
    for _ in range(30 if sampled > 0 else 0):
        heights(points, stencil(t, points), given, q, values, e, x, work, h)
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
    weights = log_weights[first[sampled] : first[sampled + 1]]
    own = nodes[first[sampled] : first[sampled + 1], :sampled]
    for k in range(len(weights)):
        backward(R, own[k], sampled, points[k])
        for i in range(sampled):
            points[k, i] += t[i]
    heights(points, len(weights), given, q, values, e, x, work, h)
    return ll + total(h, points, own, weights, sampled) - 0.5 * logdet


@njit(cache=True, error_model="numpy", nogil=True)
def integrate(matrices, equations, patterns, runs, codes, floats, covariates, rules, b, out):
    """Log-likelihood of every row (draw, row), in the order of the runs.

    matrices : S, K of h, B, c of d by (draw, context, ...), and t (draw, parameter) with 1 in front. b : (draw, cluster, M), what
    the values of rows have in common with others of their cluster, whose `codes` those of the rows are.
    """
    S, K, B, c, t = matrices
    inputs, states, paths, products, coef = equations
    nodes, log_weights, first = rules
    M, ns, nz = S.shape[-1], len(states), nodes.shape[1]
    most = 1 + 2 * nz + nz * (nz - 1) // 2
    for k in range(len(first) - 1):
        most = max(most, first[k + 1] - first[k])
    room = np.empty((most, nz)), np.empty(most), np.empty(nz), np.empty((nz, nz)), np.empty(nz)
    work, _ = new_work(ns, ns - inputs, len(paths))
    L, P, e, x, values = np.empty((M + ns, M)), np.empty((ns, ns)), np.empty(M), np.empty(M), np.empty(2 * M)
    for draw in range(len(t)):
        at, i = 0, 0
        for r in range(len(runs)):
            context, p, count = runs[r, 0], patterns[runs[r, 1]], runs[r, 2]
            places = p[4 + M : len(p) - M]
            pattern = (p[0], p[1], p[4 : 4 + M], places, p[len(p) - M : len(p) - M + p[3]])
            there = roots(S[draw, context], pattern[2], p[0], p[1], states, L, P)
            given = equations, (B[draw, context], c[draw, context], K[draw, context], L, P, t[draw]), pattern
            for _ in range(count):
                q = floats[at : at + covariates]
                at += covariates
                for k in range(p[0] + p[3]):
                    v = p[4 + k] if k < p[0] else states[inputs + pattern[4][k - p[0]]]
                    values[k] = floats[at + k] - b[draw, codes[i], v]
                out[draw, i] = row(given, q, values, rules, e, x, work, room) if there else math.nan
                at += p[0] + p[3]
                i += 1
