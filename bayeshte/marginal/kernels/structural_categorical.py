"""Log density of a structural equation model of which some variables of the within level are seen as categories.

Model, matrices and coordinates of the parameters are those of structural.py. A categorical variable is the category of a latent
response y* of the model: c where cut_c < y* < cut_c+1, cut_1 = 0 (the constant of the model is minus the first threshold) and
cut_k+1 = cut_k + width_k. Thresholds after the first, tau_k = tau_1 + cut_k, have normal priors.

What varies between clusters, f_j = (parts b_j of variables on both levels, random slopes s_j), is sampled (cluster_parts.py);
given it rows are independent, y_ij ~ N(K_W q_ij + b_j, S_W), and taken one by one (latent_responses.py). Categorical variables of
clusters (cluster_responses.py) that cause f_j come before it: f_j is given their sampled latent responses, as it is given the
clusters' own continuous variables. The others come after it, given all of these. With random slopes every cluster has matrices of
its own within.

Tables behind those of structural.py (which have neither groups nor clusters). ints: categorical variables T, largest number of
cuts, n_f, J, combinations of the clusters' own variables, patterns, units, ints of a row, widths, and twice, of the clusters'
answers before f and after it, (patterns, runs, clusters, ints of one, coordinates); by categorical variable (link, last category,
place of tau_1 in t or 0); by width (categorical variable, k, place in t); targets of f; combinations (context, m, whether their
density counts, variables [M]), sampled responses last; combination of each cluster; answers, twice: patterns and runs as in
marginal/cluster_categories.py; f's place or -1 by active variable [active]; patterns (continuous, conditions, n, order [active],
cat [active]); units (context, cluster, runs); runs (pattern, rows) in the units' order; rows.
floats: coefficient of t at tau_1 by categorical variable; by width (mean, sd) of its threshold; clusters (q [Q], v [M]), then
their (A, g); rows (covariates, values), run by run. Coordinates: of the parameters, of f (cluster, n_f), of clusters' responses
before f and after it, of what rows have sampled.
"""

import math

import numpy as np
from numba import carray, cfunc, njit

from bayeshte.marginal.kernels.cluster_locations import locate_clusters, new_places, pull_clusters
from bayeshte.marginal.kernels.cluster_responses import all_clusters, find_responses, own_values
from bayeshte.marginal.kernels.latent_responses import factor, factor_gradient, rows
from bayeshte.marginal.kernels.linear import OPTIONS, clear, rejection, views
from bayeshte.marginal.kernels.structural import (
    EXPAND,
    LOG_DENSITY,
    finish,
    start,
    take,
)
from bayeshte.marginal.kernels.within_level import gather, scatter, within_gradient, within_moments

HEADER = 19


@njit(**OPTIONS)
def take_answers(ints, sizes, M):
    """Patterns, runs, clusters run by run, ints of one, coordinates; the tables' length."""
    patterns, runs, clusters, codes = sizes[0], sizes[1], sizes[2], sizes[3]
    at = patterns * (4 + 3 * M)
    end = at + 2 * runs
    asked = ints[:at].reshape((patterns, 4 + 3 * M))
    return (asked, ints[at:end].reshape((runs, 2)), ints[end : end + clusters * codes], codes, sizes[4]), (
        end + clusters * codes
    )


@njit(**OPTIONS)
def take_rows(ints, floats, M, Q, active):
    """The tables of categories, clusters and rows as arrays."""
    T, most, nf, J, NV = ints[0], ints[1], ints[2], ints[3], ints[4]
    NP, units, codes, widths = ints[5], ints[6], ints[7], ints[8]
    at = HEADER
    variables = ints[at : at + 3 * T].reshape((T, 3))
    at += 3 * T
    width_ints = ints[at : at + 3 * widths].reshape((widths, 3))
    at += 3 * widths
    targets = ints[at : at + nf]
    at += nf
    own = ints[at : at + NV * (3 + M)].reshape((NV, 3 + M))
    at += NV * (3 + M)
    kinds = ints[at : at + J]
    at += J
    before, length = take_answers(ints[at:], ints[9:14], M)
    at += length
    after, length = take_answers(ints[at:], ints[14:19], M)
    at += length
    back = ints[at : at + active]
    at += active
    patterns = ints[at : at + NP * (3 + 2 * active)].reshape((NP, 3 + 2 * active))
    at += NP * (3 + 2 * active)
    unit_ints = ints[at : at + 3 * units].reshape((units, 3))
    at += 3 * units
    runs = 0
    for u in range(units):
        runs += unit_ints[u, 2]
    run_ints = ints[at : at + 2 * runs].reshape((runs, 2))
    row_ints = ints[at + 2 * runs :]
    coef = floats[:T]
    priors = floats[T : T + 2 * widths].reshape((widths, 2))
    at = T + 2 * widths
    cluster_floats = floats[at : at + J * (Q + M)].reshape((J, Q + M))
    at += J * (Q + M)
    pilot = floats[at : at + J * nf * (nf + 1)].reshape((J, nf * (nf + 1)))
    return (
        (most, codes),
        (variables, width_ints, coef, priors),
        (targets, own, kinds, cluster_floats, pilot),
        (before, after),
        (back, patterns, unit_ints, run_ints, row_ints, floats[at + J * nf * (nf + 1) :]),
    )


@njit(**OPTIONS)
def thresholds(categories, t, cuts, dt):
    """Cuts (variable, category) at t; the log prior of thresholds after the first, its derivatives added to dt."""
    variables, widths, coef, priors = categories
    T, most = cuts.shape
    lp = 0.0
    for v in range(T):
        for k in range(most):
            cuts[v, k] = 0.0
    for w in range(len(widths)):  # in order: of each variable one after the other
        v, k, at = widths[w, 0], widths[w, 1], widths[w, 2]
        cuts[v, k] = cuts[v, k - 1] + t[at]
        tau = coef[v] * t[variables[v, 2]] + cuts[v, k]
        z = (tau - priors[w, 0]) / priors[w, 1]
        lp -= 0.5 * z * z
        d = -z / priors[w, 1]
        dt[variables[v, 2]] += coef[v] * d
        for before in range(w + 1):
            if widths[before, 0] == v:
                dt[widths[before, 2]] += d
    return lp


@njit(**OPTIONS)
def all_rows(sizes, active, slope_cells, tables, codes, cell, dcell, f, df, categories, dcuts, t, dt):
    """Log-likelihood of the rows; sets derivatives in the within cells and in t, adds to those in f and the cuts."""
    M, Q, levels, Qw, nf = sizes
    back, patterns, units, runs, row_ints, row_floats = tables
    a, ns, contexts = len(active), len(slope_cells), len(cell)
    Psi, B0, c0 = np.empty((contexts, a, a)), np.empty((contexts, a, a)), np.empty((contexts, a, Q))
    dPsi, dB, dc = np.zeros((contexts, a, a)), np.zeros((contexts, a, a)), np.zeros((contexts, a, Q))
    B, c, A, AP, S, K = (
        np.empty((a, a)),
        np.empty((a, Q)),
        np.empty((a, a)),
        np.empty((a, a)),
        np.empty((a, a)),
        np.empty((a, Q)),
    )
    X, Y, Z, dS, dK = np.empty((a, Q)), np.empty((a, a)), np.empty((a, a)), np.empty((a, a)), np.empty((a, Q))
    L, dL, work, counted = np.empty((a, a)), np.empty((a, a)), np.empty((9, a)), np.empty(0)
    for k in range(contexts):
        scatter(cell[k], M, Q, levels, active, Psi[k], B0[k], c0[k])
    ll, run, i_row, x_row, t_row = 0.0, 0, 0, 0, 0
    for u in range(len(units)):
        context, cluster = units[u, 0], units[u, 1]
        for i in range(a):
            for k in range(a):
                B[i, k] = B0[context, i, k]
            for q in range(Qw):
                c[i, q] = c0[context, i, q]
        for s in range(ns):
            value = f[cluster, nf - ns + s]
            if slope_cells[s, 0] == 0:
                B[slope_cells[s, 1], slope_cells[s, 2]] += value
            else:
                c[slope_cells[s, 1], slope_cells[s, 2]] += value
        within_moments(Psi[context], B, c, a, Qw, A, AP, S, K)
        clear(dS, a, a)
        clear(dK, a, Qw)
        for r in range(run, run + units[u, 2]):
            p, count = patterns[runs[r, 0]], runs[r, 1]
            continuous, conditions, n = p[0], p[1], p[2]
            order, cat = p[3 : 3 + a], p[3 + a :]
            if not factor(S, order, n, conditions, cat, categories[2], L):
                return math.nan
            clear(dL, n, n)
            ll += rows(
                (order, cat, continuous, conditions, n),
                L,
                count,
                row_ints[i_row:],
                row_floats[x_row:],
                t[t_row:],
                (Qw - 1, codes),
                (K, back, f),
                categories,
                dL,
                (dK, df),
                dcuts,
                dt[t_row:],
                counted,
                (counted, counted),
                work,
            )
            factor_gradient(L, dL, order, n, conditions, cat, categories[2], dS)
            i_row += count * codes
            x_row += count * (Qw - 1 + continuous)
            t_row += count * (conditions - continuous)
        run += units[u, 2]
        within_gradient(A, S, K, dS, dK, a, Qw, X, Y, Z, dPsi[context], dB[context], dc[context])
        for s in range(ns):
            source = Z if slope_cells[s, 0] == 0 else X
            df[cluster, nf - ns + s] += source[slope_cells[s, 1], slope_cells[s, 2]]
    for k in range(contexts):
        gather(dPsi[k], dB[k], dc[k], M, Q, levels, active, dcell[k])
    return ll


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    numbers, priors, structure, _, by_cluster, of_matrices = take(ints, floats)
    d, n, blocks, levels, M, P, p, Q, contexts, slots, _, ns = numbers
    active, _, slope_cells, _, _ = by_cluster[0]
    (most, codes), categories, clusters, asked, tables = take_rows(
        by_cluster[1][1], by_cluster[2][1], M, Q, len(active)
    )
    nf, J, NV, Qw = len(clusters[0]), len(clusters[2]), len(clusters[1]), ints[18]
    t, dt = np.empty(1 + d + slots), np.zeros(1 + d + slots)
    cell, dcell = np.empty((contexts, len(structure[3]))), np.zeros((contexts, len(structure[3])))
    A, S, dS = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M))
    parts, dK = np.zeros((contexts, 2, M, Q)), np.zeros((contexts, 2, M, Q))
    lp, x, slope, dx, factors = start(z, ints, floats, t, dt, cell, A, S, parts)
    if not lp > -math.inf:
        return math.nan
    cuts, dcuts = np.empty((len(categories[0]), most + 2)), np.zeros((len(categories[0]), most + 2))
    lp += thresholds(categories, t, cuts, dt)

    f, df, sizes = np.empty((J, nf)), np.zeros((J, nf)), (M, Q, J, nf)
    given = (cuts, categories[0][:, 1], categories[0][:, 0])
    own, found = new_places(J, NV, nf, M)
    values, dvalues, q = own_values(clusters, J, M, Q), np.zeros((J, M)), (Q, Qw)
    first = d + J * nf
    after = first + asked[0][4]
    lp += find_responses(q, asked[0], clusters, values, S, parts, f, given, z[first:])
    lp += locate_clusters(sizes, clusters, values, S, parts, z[d:], own, found, f)
    between = (S, dS, parts, dK, f, df)
    lp += all_clusters(q, asked[1], clusters, values, dvalues, between, given, dcuts, z[after:], grad[after:], False)
    at = after + asked[1][4]
    lp += all_rows(
        (M, Q, levels, Qw, nf), active, slope_cells, tables, codes, cell, dcell, f, df, given, dcuts, z[at:], grad[at:]
    )
    if not lp > -math.inf:
        return math.nan
    pull_clusters(sizes, clusters, z[d:], own, found, df, grad[d:], dvalues, dS, dK)
    all_clusters(q, asked[0], clusters, values, dvalues, between, given, dcuts, z[first:], grad[first:], True)
    for w in range(len(categories[1])):
        v, k = categories[1][w, 0], categories[1][w, 1]
        for later in range(k, most + 1):
            dt[categories[1][w, 2]] += dcuts[v, later]

    to = dS, dK, dcell, dt
    return lp + finish(
        numbers, priors, structure, of_matrices, 1, levels, t, x, slope, factors, cell, A, S, parts, to, dx, grad
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
    """Coordinates to parameters: the scalars (SDs perhaps with a sign), correlations of the blocks, parts of clusters."""
    ints, floats = views(user_data, np.int64, np.float64)
    point, values = carray(z, (dim,)), carray(out, (expanded,))
    numbers, _, structure, _, by_cluster, _ = take(ints, floats)
    d, M, Q, contexts, slots = numbers[0], numbers[4], numbers[7], numbers[8], numbers[9]
    (most, _), categories, clusters, asked, _ = take_rows(
        by_cluster[1][1], by_cluster[2][1], M, Q, len(by_cluster[0][0])
    )
    nf, J, NV = len(clusters[0]), len(clusters[2]), len(clusters[1])
    t, cell = np.empty(1 + d + slots), np.empty((contexts, len(structure[3])))
    A, S, parts = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, Q))
    start(point, ints, floats, t, t, cell, A, S, parts)
    cuts = np.empty((len(categories[0]), most + 2))
    thresholds(categories, t, cuts, np.zeros(len(t)))
    own, found = new_places(J, NV, nf, M)
    f, at = values[d:].reshape((J, nf)), d + J * nf
    v, given = own_values(clusters, J, M, Q), (cuts, categories[0][:, 1], categories[0][:, 0])
    find_responses((Q, ints[18]), asked[0], clusters, v, S, parts, f, given, point[at:])
    locate_clusters((M, Q, J, nf), clusters, v, S, parts, point[d:], own, found, f)
    for i in range(d):
        values[i] = t[1 + i]
    return 0
