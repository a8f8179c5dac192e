"""Log density of a two-level structural equation model in which products of two variables predict a third one, on either level.

Given the parts b_j of the clusters, rows y_ij - b_j are those of a model of one level (structural_products.py), and so are the
clusters with their own variables and b_j (product_clusters.py): what varies between clusters is sampled, and with it the levels
separate. Levels of the tables of structural.py: within, between, the equations of what descends from products within, between.

Behind those tables, which have neither groups nor clusters, ints: lengths of the rows' tables, ints and floats, length of the
clusters' floats, coordinates of clusters, J, parts; variables of these; tables of rows, then of clusters, which are those of
structural_products.py. floats: tables of rows, of clusters; of each cluster in their order the pilot's (A, g) of its parts that
descend from no product, then of those that do. Coordinates: of the parameters, of the parts and z of each cluster, of the z of
each row.
"""

import math

import numpy as np
from numba import carray, cfunc, njit

from bayeshte.marginal.kernels.linear import OPTIONS, rejection, views
from bayeshte.marginal.kernels.product_clusters import all_clusters
from bayeshte.marginal.kernels.product_rows import all_rows, take_rows
from bayeshte.marginal.kernels.structural import (
    EXPAND,
    LOG_DENSITY,
    finish,
    start,
    take,
)

SIZES = 6


@njit(**OPTIONS)
def take_levels(ints, floats, M):
    """Tables of rows and of clusters, the pilot, coordinates of clusters, variables that are their parts."""
    row_ints, row_floats, cluster_floats, sampled, J = ints[0], ints[1], ints[2], ints[3], ints[4]
    at = SIZES + ints[5]
    rows = take_rows(ints[at : at + row_ints], floats[:row_floats], M)
    end = row_floats + cluster_floats
    clusters = take_rows(ints[at + row_ints :], floats[row_floats:end], M)
    return rows, clusters, floats[end:], sampled, J, ints[SIZES:at]


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    numbers, priors, structure, _, by_cluster, of_matrices = take(ints, floats)
    d, n, blocks, levels, M, P, p, Q, contexts, slots, _, _ = numbers
    rows, clusters, pilot, sampled, J, _ = take_levels(by_cluster[1][1], by_cluster[2][1], M)
    t, dt = np.empty(1 + d + slots), np.zeros(1 + d + slots)
    cell, dcell = np.empty((contexts, len(structure[3]))), np.zeros((contexts, len(structure[3])))
    A, S, dS = np.zeros((contexts, 4, M, M)), np.zeros((contexts, 4, M, M)), np.zeros((contexts, 4, M, M))
    parts, dK = np.zeros((contexts, 4, M, Q)), np.zeros((contexts, 4, M, Q))
    lp, x, slope, dx, factors = start(z, ints, floats, t, dt, cell, A, S, parts)
    if not lp > -math.inf:
        return math.nan
    b, db, at, none = np.zeros((J, M)), np.zeros((J, M)), d + sampled, np.empty(0)
    lp += all_clusters(M, clusters, pilot, cell, levels, S, parts, t, z[d:], b, db, dcell, dS, dK, dt, none)
    lp += all_rows(M, ints[18] - 1, rows, cell, levels, S, parts, t, z[at:], b, dcell, dS, dK, dt, grad[at:], db)
    if not lp > -math.inf:
        return math.nan
    all_clusters(M, clusters, pilot, cell, levels, S, parts, t, z[d:], b, db, dcell, dS, dK, dt, grad[d:])
    to = dS, dK, dcell, dt
    return lp + finish(
        numbers, priors, structure, of_matrices, 0, 2, t, x, slope, factors, cell, A, S, parts, to, dx, grad
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
    """Coordinates to parameters: the scalars (SDs perhaps with a sign), correlations of the blocks, parts (cluster, part)."""
    ints, floats = views(user_data, np.int64, np.float64)
    numbers, _, structure, _, by_cluster, _ = take(ints, floats)
    d, levels, M, Q, contexts, slots = numbers[0], numbers[3], numbers[4], numbers[7], numbers[8], numbers[9]
    _, clusters, pilot, _, J, variables = take_levels(by_cluster[1][1], by_cluster[2][1], M)
    point, values = carray(z, (dim,)), carray(out, (expanded,))
    t, cell = np.empty(1 + d + slots), np.empty((contexts, len(structure[3])))
    A, S, parts = np.zeros((contexts, 4, M, M)), np.zeros((contexts, 4, M, M)), np.zeros((contexts, 4, M, Q))
    start(point, ints, floats, t, t, cell, A, S, parts)
    for i in range(d):
        values[i] = t[1 + i]
    b, unused = np.zeros((J, M)), np.empty(0)
    all_clusters(M, clusters, pilot, cell, levels, S, parts, t, point[d:], b, b, cell, S, parts, unused, unused)
    for j in range(J):
        for k in range(len(variables)):
            values[d + j * len(variables) + k] = b[j, variables[k]]
    return 0
