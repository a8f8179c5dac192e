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

from bayeshte.marginal.kernels.linear import rejection, views
from bayeshte.marginal.kernels.product_rows import all_rows, take_rows
from bayeshte.marginal.kernels.structural import (
    EXPAND,
    LOG_DENSITY,
    finish,
    start,
    take,
)


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
    to = dS, dK, dcell, dt
    return lp + finish(
        numbers, priors, structure, of_matrices, 0, 1, t, x, slope, factors, cell, A, S, parts, to, dx, grad
    )


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
