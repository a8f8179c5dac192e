"""Log density of a structural equation model of one level in which products of two variables of a row predict a third one.

Variables that descend from no product, u, and the residuals of those that do, d, are jointly normal: h = (u, zeta) ~ N(K q, S).
Of every product one member, z, is known: it is seen, or it has a coordinate (`structural_product_rows`: equations and notation).

Level 1 of the tables of structural.py has the equations of d (B, c), level 0 all else: there d are their residuals. Behind
those tables (which have neither groups nor clusters), ints: states, of which inputs, paths, products, known z, patterns, runs;
variables of the states; paths (d, state) in the order of d; products (path, z, place in t); patterns (seen, conditions, d with
values, d known, known [M], place of each z among the known [z], places of d [M]); runs (context, pattern, rows); cluster of each
row, here 0. floats: coef of products; rows (covariates, seen u, seen d), run by run. Coordinates: of the parameters, of the z of
each row.
"""

import math

import numpy as np
from numba import carray, cfunc, njit

from bayeshte.marginal.kernels.covariance_priors import matrix_priors
from bayeshte.marginal.kernels.linear import OPTIONS, clear, rejection, views
from bayeshte.marginal.kernels.parameters import precondition_gradient
from bayeshte.marginal.kernels.structural import (
    EXPAND,
    LOG_DENSITY,
    correlations_gradient,
    pull,
    take,
    unsolve,
)
from bayeshte.marginal.kernels.structural_categorical import start
from bayeshte.marginal.kernels.structural_product_rows import (
    LOG_SQRT_2PI,
    explain,
    explain_gradient,
    known_gradient,
    locate,
    new_work,
    roots,
    roots_gradient,
    states_gradient,
)

HEADER = 7


@njit(**OPTIONS)
def take_rows(ints, floats, M):
    """The tables of states, paths, products, patterns and rows as arrays."""
    ns, inputs, paths, products, nz = ints[0], ints[1], ints[2], ints[3], ints[4]
    patterns, runs, at = ints[5], ints[6], HEADER
    states = ints[at : at + ns]
    at += ns
    path_ints = ints[at : at + 2 * paths].reshape((paths, 2))
    at += 2 * paths
    product_ints = ints[at : at + 3 * products].reshape((products, 3))
    at += 3 * products
    width = 4 + 2 * M + nz
    pattern_ints = ints[at : at + patterns * width].reshape((patterns, width))
    at += patterns * width
    run_ints = ints[at : at + 3 * runs].reshape((runs, 3))
    equations = (inputs, states, path_ints, product_ints, floats[:products])
    return equations, (pattern_ints, nz), (run_ints, ints[at + 3 * runs :]), floats[products:]


@njit(**OPTIONS)
def cells_of(cell, level, levels, M, Q):
    """B and c of what descends from products on a level, which stand behind those of all levels."""
    half = levels // 2
    at, first = (levels + half + level) * M * M, 2 * levels * M * M + (half + level) * M * Q
    return cell[at : at + M * M].reshape((M, M)), cell[first : first + M * Q].reshape((M, Q))


@njit(**OPTIONS)
def all_rows(M, covariates, tables, cell, levels, S, K, t, z, b, dcell, dS, dK, dt, dz, db):
    """Log-likelihood of the rows and of their coordinates z; sets dz, adds to the other derivatives.

    b : array (cluster, M)
        What the values of rows have in common with others of their cluster.
    """
    equations, (patterns, nz), (runs, codes), floats = tables
    inputs, states, paths, products, coef = equations
    ns, Q = len(states), K.shape[3]
    L, dL, P, dP = np.empty((M + ns, M)), np.empty((M + ns, M)), np.empty((ns, ns)), np.empty((ns, ns))
    work, scratch = new_work(ns, ns - inputs, len(paths))
    e, de, x, dx, dms = np.empty(M), np.empty(M), np.empty(M), np.empty(M), np.empty(ns)
    ll, at, own, row, values = 0.0, 0, 0, 0, np.empty(2 * M)
    for r in range(len(runs)):
        context, p, count = runs[r, 0], patterns[runs[r, 1]], runs[r, 2]
        seen, n, nd = p[0], p[1], p[3]
        known, places, d_seen = p[4 : 4 + M], p[4 + M : 4 + M + nz], p[4 + M + nz : 4 + M + nz + nd]
        B, c = cells_of(cell[context], 0, levels, M, Q)
        dB, dc = cells_of(dcell[context], 0, levels, M, Q)
        if not roots(S[context, 0], known, seen, n, states, L, P):
            return math.nan
        clear(dL, n + ns, n)
        clear(dP, ns, ns)
        for i in range(n):
            ll -= count * (LOG_SQRT_2PI + (math.log(L[i, i]) if i < seen else 0.0))
        for _ in range(count):
            q, j = floats[at : at + covariates], codes[row]
            at += covariates
            for i in range(seen + nd):
                values[i] = floats[at + i] - b[j, known[i] if i < seen else states[inputs + d_seen[i - seen]]]
            for i in range(n - seen):
                e[seen + i] = z[own + i]
            locate(0, n, seen, known, L, K[context, 0], q, values, e, x)
            for i in range(n):
                ll -= 0.5 * e[i] * e[i]
                de[i] = dx[i] = 0.0
            for s in range(ns):
                dms[s] = 0.0
            if nd:
                ll += explain(equations, B, c, K[context, 0], L, P, t, n, places, d_seen, q, values[seen:], e, x, work)
                explain_gradient(equations, t, places, d_seen, q, x, work, scratch, dB, dc, dP, dt, dms, dx)
            states_gradient(n, L, dL, dK[context, 0], states, q, e, de, dms)
            known_gradient((seen, n, known), L, dL, K[context, 0], dK[context, 0], q, e, de, dx, dz[own:])
            for i in range(seen):
                db[j, known[i]] -= dx[i]
            for i in range(nd):
                db[j, states[inputs + d_seen[i]]] += work[6][i]
            at += seen + nd
            own += n - seen
            row += 1
        roots_gradient(L, dL, dP, known, n, states, dS[context, 0])
    return ll


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    numbers, priors, structure, _, by_cluster, of_matrices = take(ints, floats)
    d, n, blocks, levels, M, P, p, Q, contexts, slots, _, _ = numbers
    tables = take_rows(by_cluster[1][1], by_cluster[2][1], M)
    b, db = np.zeros((1, M)), np.zeros((1, M))
    t, dt = np.empty(1 + d + slots), np.zeros(1 + d + slots)
    cell, dcell = np.empty((contexts, len(structure[3]))), np.zeros((contexts, len(structure[3])))
    A, S, dS = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M))
    parts, dK = np.zeros((contexts, 2, M, Q)), np.zeros((contexts, 2, M, Q))
    lp, x, slope, dx, factors = start(z, ints, floats, t, dt, cell, A, S, parts)
    if not lp > -math.inf:
        return math.nan
    lp += all_rows(M, Q - 1, tables, cell, levels, S, parts, t, z[d:], b, dcell, dS, dK, dt, grad[d:], db)
    if not lp > -math.inf:
        return math.nan
    work = np.empty((M, M))
    for c in range(contexts):
        for s in range(slots):
            t[1 + d + s] = structure[5][c * slots + s]
        dPsi = dcell[c, : M * M].reshape((M, M))
        dB = dcell[c, levels * M * M : (levels + 1) * M * M].reshape((M, M))
        dk = dcell[c, 2 * levels * M * M : 2 * levels * M * M + M * Q].reshape((M, Q))
        unsolve(A[c, 0], S[c, 0], parts[c, 0], dS[c, 0], dK[c, 0], M, Q, work, dPsi, dB, dk)
        if c == 0:
            lp += matrix_priors(of_matrices, cell[0], dcell[0], M)
        pull(structure[1], structure[2], t, dcell[c], dt)
    for i in range(n):
        dx[i] += dt[1 + i] * slope[i]
    correlations_gradient(x[n:], blocks, priors[2], priors[3], dt[1 + n :], factors, dx[n:])
    precondition_gradient(dx, d, priors[5], grad)
    return lp


@cfunc(LOG_DENSITY, cache=True, error_model="numpy")
def log_density_c(dim, z, grad, lp, user_data):
    """nutpie's callback."""
    ints, floats = views(user_data, np.int64, np.float64)
    gradient, value = carray(grad, (dim,)), carray(lp, (1,))
    value[0] = log_density(carray(z, (dim,)), ints, floats, gradient)
    return rejection(value[0], gradient)


@cfunc(EXPAND, cache=True, error_model="numpy")
def expand_c(dim, expanded, z, out, user_data):
    """Coordinates to parameters: the scalars (SDs perhaps with a sign), correlations of the blocks."""
    ints, floats = views(user_data, np.int64, np.float64)
    numbers, _, structure, _, _, _ = take(ints, floats)
    d, M, Q, contexts, slots = numbers[0], numbers[4], numbers[7], numbers[8], numbers[9]
    point, values = carray(z, (dim,)), carray(out, (expanded,))
    t, cell = np.empty(1 + d + slots), np.empty((contexts, len(structure[3])))
    A, S, parts = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, Q))
    start(point, ints, floats, t, t, cell, A, S, parts)
    for i in range(d):
        values[i] = t[1 + i]
    return 0
