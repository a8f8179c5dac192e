"""Callbacks of finite mixtures whose units are rows, random effects of their clusters sampled if there are any."""

import numpy as np
from numba import carray, cfunc

from bayeshte.marginal.kernels.linear import views
from bayeshte.marginal.kernels.mixture import EXPAND, LOG_DENSITY, checked, expand


@cfunc(LOG_DENSITY, cache=True, error_model="numpy")
def log_density_c(dim, z, grad, lp, user_data):
    """nutpie's callback."""
    ints, floats = views(user_data, np.int64, np.float64)
    return checked(carray(z, (dim,)), ints, floats, carray(grad, (dim,)), carray(lp, (1,)), True, None)


@cfunc(EXPAND, cache=True, error_model="numpy")
def expand_c(dim, expanded, z, out, user_data):
    """Coordinates to parameters."""
    ints, floats = views(user_data, np.int64, np.float64)
    return expand(carray(z, (dim,)), ints, floats, carray(out, (expanded,)), True)
