"""All rows of a structural equation model with products: their tables, and their log density, pattern by pattern.

Equations and notation are those of structural_product_rows.py, the tables those of structural_products.py.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, clear
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
