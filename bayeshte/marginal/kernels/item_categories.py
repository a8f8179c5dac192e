"""Log density of responses in categories, of items with slopes and thresholds, or with a probit link; abilities
integrated.

    log p = log prior + log p(y | e, s, mu, sigma)

e (level of items by arm), mu and sigma are those of `item_coordinates.py`; s, the slopes and thresholds of the items,
of `item_shapes.py`; the likelihood is in `category_likelihood.py`.

Tables: those of `item_coordinates.py`, of whose data only the counts and the scores of units are used, followed by, in
the ints, which item effects make the level of an item in each arm (R q, 0 or 1), those of `item_shapes.py`, first answer
of each unit and their end (N + 1), the answers; in the floats, responses by arm and row (category), and those of
`item_shapes.py`. The SD of log slopes, if they are free, is the
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
    """Patterns, answers and numbers of the likelihood; ints and floats of the shapes; first row of each item; effects of arms."""
    _, n, q, s, _, p, J, _, _, N, G, R, _, _, _, _ = header(ints)
    at = layout(ints)
    patterns = ints[HEADER + 2 * n + s + (N if s > 0 else 0) :]
    of_arms = patterns[3 * G + 2 + patterns[3 * G + 1] :]
    of_shapes = of_arms[R * q :]
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
        of_arms,
    )


@njit(**OPTIONS)
def levels_of_arms(e, of_arms, R):
    """Levels of the items, (R, J), from their effects (q, J)."""
    q, J = e.shape
    out = np.zeros((R, J))
    for t in range(R):
        for a in range(q):
            if of_arms[t * q + a]:
                for i in range(J):
                    out[t, i] += e[a, i]
    return out


@njit(**OPTIONS)
def levels_gradient(dlevel, of_arms, q):
    """The gradient in the effects."""
    R, J = dlevel.shape
    out = np.zeros((q, J))
    for t in range(R):
        for a in range(q):
            if of_arms[t * q + a]:
                for i in range(J):
                    out[a, i] += dlevel[t, i]
    return out


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


@njit(**OPTIONS)
def begin_of_categories(z, ints, floats):
    """From coordinates to what the likelihood needs: log prior, mu, sigma, levels, slopes and thresholds; for `finish`, the
    state of `begin` and what the shapes are made of."""
    d, n, q, s, P, p, J, F, S, _, _, R, n_sigma, _, _, _ = header(ints)
    _, shape_ints, shape_floats, first, arms = category_tables(ints, floats)
    lp, mu, sigma, e, state = begin(z, ints, floats)
    theta, inner, level = state[1], state[4], levels_of_arms(e, arms, R)
    sd = theta[n - n_sigma - 1] if shape_ints[2] else 1.0
    given = sd, shift_of_coefficients(theta, floats, ints), of_arms(sigma, R)
    slope, tau = np.empty(J), np.empty(first[J])
    at = d + F * q + S * s
    lp -= 0.5 * shapes(
        shape_ints, shape_floats, (R, p), inner, at, given[0], given[1], given[2], level, first, slope, tau
    )
    return lp, mu, sigma, level, slope, tau, (state, given)


@njit(**OPTIONS)
def finish_of_categories(ints, floats, begun, level, dmu, dsigma, dlevel, dslope, dtau, grad):
    """From the derivatives in mu, sigma, levels, log slopes and thresholds to grad."""
    d, n, q, s, P, p, _, F, S, _, _, R, n_sigma, _, E, _ = header(ints)
    _, shape_ints, shape_floats, first, arms = category_tables(ints, floats)
    state, (sd, beta, sigmas) = begun
    slope_of, dx, inner = state[2], state[3], state[4]
    ddelta, dsigmas, dinner = np.zeros(P + E), np.zeros(R), np.empty(len(inner))
    dsd = shapes_gradient(
        *(shape_ints, shape_floats, (R, p), inner, d + F * q + S * s),
        *(sd, beta, sigmas, level, first, dslope, dtau, dinner, (ddelta, dsigmas, dlevel)),
    )
    if shape_ints[2]:
        dx[n - n_sigma - 1] += dsd * slope_of[n - n_sigma - 1]
    for t in range(R):
        dsigma[min(t, n_sigma - 1)] += dsigmas[t]
    finish(ints, floats, state, dmu, dsigma, levels_gradient(dlevel, arms, q), ddelta, dinner, grad)


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at coordinates z; the gradient goes to grad."""
    _, _, _, _, _, _, J, _, _, N, G, R, n_sigma, _, _, _ = header(ints)
    tables, shape_ints, _, first, _ = category_tables(ints, floats)
    lp, mu, sigma, level, slope, tau, begun = begin_of_categories(z, ints, floats)
    dmu, dsigmas, dlevel, dslope, dtau = np.empty(N), np.zeros(R), np.zeros((R, J)), np.zeros(J), np.zeros(first[J])
    lp += likelihood_of_categories(
        *((shape_ints[0], shape_ints[1], shape_ints[2]), (J, N, G, R), tables, first),
        *(mu, of_arms(sigma, R), level, slope, tau, ACCURACY, (dmu, dsigmas, dlevel, dslope, dtau)),
    )
    dsigma = np.zeros(n_sigma)
    for t in range(R):
        dsigma[min(t, n_sigma - 1)] += dsigmas[t]
    finish_of_categories(ints, floats, begun, level, dmu, dsigma, dlevel, dslope, dtau, grad)
    return lp


@njit(**OPTIONS)
def expand_categories(z, ints, floats, out):
    """As `expand` of `item_coordinates.py`, followed by the logarithms of the slopes, if they are free, and by the numbers w,
    both in the order of the items; where it ends, and the scaled coordinates."""
    d, n, q, s, _, p, J, F, S, _, _, R, n_sigma, _, _, _ = header(ints)
    _, shape_ints, shape_floats, first, arms = category_tables(ints, floats)
    to, e, state = expand(z, ints, floats, out)
    theta, free = state[1], shape_ints[2]
    at_sd, beta, sigma = n - n_sigma - 1, shift_of_coefficients(theta, floats, ints), of_arms(theta[n - n_sigma :], R)
    sd, level, steps = theta[at_sd] if free else 1.0, levels_of_arms(e, arms, R), 0
    at = first_group(shape_ints, R, p, d + F * q + S * s)
    for g in range(shape_ints[3]):
        items, v, _, _, _, _ = group(shape_ints, shape_floats, (R, p), g, at, state[4], sd, beta, sigma, level)
        r = shape_ints[4 + 2 * g] - free
        steps += r * len(items)
        for i in range(len(items)):
            k = items[i]
            if free:
                out[to + k] = v[U, 0, i]
            for l in range(r):
                out[to + (J if free else 0) + first[k] - 2 * k + l] = shape_floats[0] + v[U, free + l, i]
        at = next_group(shape_ints, g, R, at)
    if free:
        out[at_sd] = abs(out[at_sd])
    return to + (J if free else 0) + steps, state[0]


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
    """nutpie's callback for `expand_categories`."""
    ints, floats = views(user_data, np.int64, np.float64)
    expand_categories(carray(z_, (dim,)), ints, floats, carray(out_, (expanded,)))
    return 0
