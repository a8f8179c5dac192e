"""Log density of responses in categories, of items with slopes and thresholds, or with a probit link; abilities
integrated.

    log p = log prior + log p(y | e, s, mu, sigma)

e (level of items by arm), mu and sigma are those of `item_coordinates.py`; s, the slopes and thresholds of the items,
of `item_shapes.py`; the likelihood is in `category_likelihood.py`.

Tables: those of `item_coordinates.py`, of whose data only the counts and the scores of units are used, followed by, in
the ints, those of `item_shapes.py`, first answer of each unit and their end (N + 1), the answers; in the floats,
responses by arm and row (category), and those of `item_shapes.py`. The SD of log slopes, if they are free, is the
scalar before the residual SDs of abilities. Coordinates: those of `item_coordinates.py`, then those of
`item_shapes.py`."""

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.category_integral import ACCURACY
from bayeshte.marginal.kernels.category_likelihood import likelihood_of_categories
from bayeshte.marginal.kernels.information import U
from bayeshte.marginal.kernels.item_coordinates import HEADER, begin, expand, finish, header, layout
from bayeshte.marginal.kernels.item_shapes import first_group, group, next_group, shapes, shapes_gradient
from bayeshte.marginal.kernels.linear import OPTIONS, rejection, views


@njit(**OPTIONS)
def category_tables(ints, floats):
    """Patterns, answers and numbers of the likelihood; ints and floats of the shapes; first row of each item."""
    _, n, _, s, _, p, J, _, _, N, G, R, _, _, _ = header(ints)
    at = layout(ints)
    patterns = ints[HEADER + 2 * n + s + (N if s > 0 else 0) :]
    of_shapes = patterns[3 * G + 2 + patterns[3 * G + 1] :]
    end = 4 + 2 * of_shapes[3]
    for g in range(of_shapes[3]):
        end += of_shapes[5 + 2 * g]
    first, answers = of_shapes[end : end + J + 1], of_shapes[end + J + 1 :]
    units = at[11] + R * J + 3 * R
    count, score, responses = floats[units : units + N], floats[units + N : units + 2 * N], floats[at[12] + N * p :]
    return (
        (patterns, answers, answers[N + 1 :], count, score, responses),
        of_shapes,
        responses[R * first[J] :],
        first,
    )


@njit(**OPTIONS)
def of_arms(sigma, R):
    """The residual SD of each arm, from one for all or one each."""
    out = np.empty(R)
    for t in range(R):
        out[t] = sigma[min(t, len(sigma) - 1)]
    return out


@njit(**OPTIONS)
def shift_of_coefficients(theta, floats, ints):
    """beta minus its value in the pilot."""
    p, at = ints[5], layout(ints)[3]
    out = np.empty(p)
    for c in range(p):
        out[c] = theta[c] - floats[at + c]
    return out


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    d, n, q, s, P, p, J, F, S, N, G, R, n_sigma, _, E = header(ints)
    tables, shape_ints, shape_floats, first = category_tables(ints, floats)
    lp, mu, sigma, e, state = begin(z, ints, floats)
    theta, slope_of, dx, inner = state[1], state[2], state[3], state[4]
    form, link, free = shape_ints[0], shape_ints[1], shape_ints[2]
    sizes, at_z, at_sd, sigmas = (R, p, q), d + F * q + S * s, n - n_sigma - 1, of_arms(sigma, R)
    sd, beta = theta[at_sd] if free else 1.0, shift_of_coefficients(theta, floats, ints)

    slope, tau = np.empty(J), np.empty(first[J])
    given = sd, beta, sigmas, e, first
    lp -= 0.5 * shapes(shape_ints, shape_floats, sizes, inner, at_z, *given, slope, tau)
    dmu, dsigmas, de = np.empty(N), np.zeros(R), np.zeros((q, J))
    dslope, dtau, ddelta, dinner = np.zeros(J), np.zeros(first[J]), np.zeros(P + E), np.empty(len(z))
    lp += likelihood_of_categories(
        *((form, link, free), (J, N, G, R, q), tables, first, mu, sigmas, e, slope, tau, ACCURACY),
        (dmu, dsigmas, de, dslope, dtau),
    )
    dsd = shapes_gradient(
        *(shape_ints, shape_floats, sizes, inner, at_z),
        *(sd, beta, sigmas, e, first, dslope, dtau, dinner, ddelta, dsigmas, de),
    )
    if free:
        dx[at_sd] += dsd * slope_of[at_sd]
    dsigma = np.zeros(n_sigma)
    for t in range(R):
        dsigma[min(t, n_sigma - 1)] += dsigmas[t]
    finish(ints, floats, state, dmu, dsigma, de, ddelta, dinner, grad)
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
    """As that of `item_coordinates.py`, followed by the logarithms of the slopes, if they are free, and by the numbers w,
    both in the order of the items."""
    ints, floats = views(user_data, np.int64, np.float64)
    d, n, q, s, _, p, J, F, S, _, _, R, n_sigma, _, _ = header(ints)
    z, out = carray(z_, (dim,)), carray(out_, (expanded,))
    _, shape_ints, shape_floats, first = category_tables(ints, floats)
    to, e, state = expand(z, ints, floats, out)
    theta, free = state[1], shape_ints[2]
    at_sd, beta, sigma = n - n_sigma - 1, shift_of_coefficients(theta, floats, ints), of_arms(theta[n - n_sigma :], R)
    sd = theta[at_sd] if free else 1.0
    at = first_group(shape_ints, R, p, d + F * q + S * s)
    for g in range(shape_ints[3]):
        items, v, _, _, _, _ = group(shape_ints, shape_floats, (R, p, q), g, at, state[4], sd, beta, sigma, e)
        for i in range(len(items)):
            k = items[i]
            if free:
                out[to + k] = v[U, 0, i]
            for l in range(shape_ints[4 + 2 * g] - free):
                out[to + (J if free else 0) + first[k] - 2 * k + l] = shape_floats[0] + v[U, free + l, i]
        at = next_group(shape_ints, g, R, at)
    if free:
        out[at_sd] = abs(out[at_sd])
    return 0
