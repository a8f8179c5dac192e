"""Log density of binary responses with treatment effects by item: abilities integrated, effects of items and clusters sampled.

`item_coordinates.py` has effects, priors and tables, `item_likelihood.py` the likelihood.
"""

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.item_coordinates import HEADER, begin, expand, finish, header, layout
from bayeshte.marginal.kernels.item_likelihood import likelihood
from bayeshte.marginal.kernels.linear import rejection, views


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    _, n, q, s, P, _, J, _, _, N, G, R, n_sigma, _, _, _ = header(ints)
    at, first = layout(ints), HEADER + 2 * n + s + (N if s > 0 else 0)
    lp, mu, sigma, e, state = begin(z, ints, floats)
    dmu, dsigma, de = np.empty(N), np.zeros(n_sigma), np.zeros((q, J))
    sizes, data = (J, N, G, R, q), floats[at[11] : at[12]]
    lp += likelihood(sizes, ints[first:], data, mu, sigma, e, dmu, dsigma, de)
    finish(ints, floats, state, dmu, dsigma, de, np.zeros(P), np.empty(len(z)), grad)
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
    """nutpie's callback for `expand`."""
    ints, floats = views(user_data, np.int64, np.float64)
    expand(carray(z_, (dim,)), ints, floats, carray(out_, (expanded,)))
    return 0
