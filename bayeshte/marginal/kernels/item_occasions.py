"""Log density of responses on two occasions, the abilities before and after integrated.

As `item_categories.py`, the likelihood being that of `occasion_likelihood.py`. The residual SDs of abilities are two, before and
after. The last of the preconditioned coordinates is that of the correlation of abilities, r = tanh x; its prior LKJ(eta) is, with
the Jacobian, proportional to (1 - r^2)^eta.

Tables: those of `item_categories.py`, followed by, in the ints, numbers of pairs, groups and singles, group_start, group_after,
half-unit before of each pair, singles; in the floats, counts of pairs and of singles, eta. expand: the correlation is the last.
"""

import math

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.category_integral import ACCURACY
from bayeshte.marginal.kernels.item_categories import (
    begin_of_categories,
    category_tables,
    expand_categories,
    finish_of_categories,
)
from bayeshte.marginal.kernels.item_coordinates import header
from bayeshte.marginal.kernels.linear import OPTIONS, rejection, views
from bayeshte.marginal.kernels.occasion_likelihood import likelihood_of_occasions
from bayeshte.marginal.kernels.parameters import LN2


@njit(**OPTIONS)
def occasion_tables(rest, floats):
    """Pairs and singles, from the ints behind those of other models, and eta."""
    n_pairs, n_groups, n_singles = rest[0], rest[1], rest[2]
    start = rest[3 : 4 + n_groups]
    after = rest[4 + n_groups : 4 + 2 * n_groups]
    before = rest[4 + 2 * n_groups : 4 + 2 * n_groups + n_pairs]
    single = rest[4 + 2 * n_groups + n_pairs : 4 + 2 * n_groups + n_pairs + n_singles]
    counts = floats[len(floats) - n_pairs - n_singles - 1 :]
    return (start, after, before, counts[:n_pairs]), (single, counts[n_pairs : n_pairs + n_singles]), counts[-1]


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    d, _, _, _, _, _, J, _, _, N, G, R, _, _, _, _ = header(ints)
    (patterns, first_answer, answers, _, score, responses), shape_ints, _, first, _ = category_tables(ints, floats)
    pairs, singles, eta = occasion_tables(answers[first_answer[N] :], floats)
    lp, mu, sigma, level, slope, tau, begun = begin_of_categories(z, ints, floats)
    x, dx = begun[0][0], begun[0][3]
    corr = math.tanh(x[d - 1])
    dmu, dsigma, dlevel, dslope, dtau = np.zeros(N), np.zeros(2), np.zeros((R, J)), np.zeros(J), np.zeros(first[J])
    model, sizes = (shape_ints[0], shape_ints[1], shape_ints[2]), (J, N, G, R)
    tables, out = (
        (patterns, first_answer, answers, score, responses, pairs, singles),
        (dmu, dsigma, dlevel, dslope, dtau),
    )
    value, dcorr = likelihood_of_occasions(
        model, sizes, tables, first, mu, sigma, corr, level, slope, tau, ACCURACY, out
    )
    lp += value + 2.0 * eta * (LN2 - abs(x[d - 1]) - math.log1p(math.exp(-2.0 * abs(x[d - 1]))))
    dx[d - 1] += dcorr * (1.0 - corr * corr) - 2.0 * eta * corr
    finish_of_categories(ints, floats, begun, level, dmu, dsigma, dlevel, dslope, dtau, grad)
    return lp


_double = types.CPointer(types.double)


@cfunc(types.int64(types.uint64, _double, _double, _double, types.voidptr), cache=True, error_model="numpy")
def log_density_c(dim, z_, grad_, lp_, user_data):
    """nutpie's callback: 0, or a positive code for a point that is to be rejected."""
    ints, floats = views(user_data, np.int64, np.float64)
    grad, lp = carray(grad_, (dim,)), carray(lp_, (1,))
    lp[0] = log_density(carray(z_, (dim,)), ints, floats, grad)
    return rejection(lp[0], grad)


@cfunc(types.int64(types.uint64, types.uint64, _double, _double, types.voidptr), cache=True, error_model="numpy")
def expand_c(dim, expanded, z_, out_, user_data):
    """nutpie's callback for `expand_categories`, and the correlation."""
    ints, floats = views(user_data, np.int64, np.float64)
    out = carray(out_, (expanded,))
    end, x = expand_categories(carray(z_, (dim,)), ints, floats, out)
    out[end] = math.tanh(x[ints[0] - 1])
    return 0
