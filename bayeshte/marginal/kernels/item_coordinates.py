"""Effects of items and of clusters of persons, from coordinates to what a likelihood of responses needs, and gradients
back.

    log p = log prior + log p(y | e, mu, sigma)                                   (`item_likelihood.py`; abilities integrated)
    e_i = u_i + (I x W_i') gamma,   mu_j = x_j' beta + x_j[random]' v_c(j)

e_i has the easiness of item i and the effect of every arm but the reference on it: q = 1 or R of R arms; on two
occasions also its drift, how its easiness changes for everybody. W are item covariates, gamma (c m) the coefficients of
the first c effects, an effect after the other. Random items: u_i ~ N(0, C C'), C = diag(sd) Lc, every item by itself,
Lc the factor of the correlations of the first c effects; c < q is where there is drift, which goes with none of them.
Fixed items: u = H a, a_i ~ N(0, C C') for all items but the last, C = diag(fixed), H the orthonormal basis of vectors
that sum to zero in `item_effects.py`. Clusters of persons: v_c ~ N(0, D D'), D likewise; x[random] are columns of x.

u (or a) is parametrised by information as in `information.py`, whose M, h, t and derivatives are used here with items as
clusters. That takes items to be independent given the other parameters. Their common level is not: adding a constant
to all is nearly the same as taking it from all abilities, and known only as well as the mean ability of an arm is. V
(orthonormal) has one column for each effect, the direction in which that of all items grows alike; with w = V' z of
the sampled coordinates, t = z + V E w, and K w is added to the preconditioned coordinates, so that with E and K of a
pilot fit w is uncorrelated with them and of variance one.

Where items have slopes of their own (`item_categories.py`), the scale of abilities is known from the slopes only, so
that items are expected to move with it: E = R columns of B are multiplied by log(sigma_t / sigma_t of the pilot),
smooth at zero.

v is parametrised in the same way, given beta and the items: as mu_j + d_it is what the responses tell, h_c is linear
in beta plus the mean effects of the items, sum_i share_i e_i, which belong to the intercept and the arms, the first
columns of x.

Tables. ints: `header`, (transform, family) of the scalars, random (s), cluster of each unit (N, none if s = 0), those
of `item_likelihood.py`. floats: `layout`. By item or cluster, which vary fastest: A (q q F), g (q F), B (q (P + E) F),
and (s s S), (s S), (s p S). The scalars are beta (p), gamma (P - p), sd of the items (none if they are fixed), sd of
the clusters (s), sigma. Coordinates: d that are preconditioned - scalars, then the correlations of items and of
clusters -, t of the items (F q), t of the clusters (S s), the effect varying fastest."""

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.information import U, locate, pull_back
from bayeshte.marginal.kernels.item_effects import (
    item_effects,
    item_effects_gradient,
    mean_abilities,
    mean_abilities_gradient,
    stretch,
    stretch_gradient,
)
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.parameters import (
    correlation,
    correlation_gradient,
    precondition,
    precondition_gradient,
    scalars,
    scale_shift,
    unsigned,
)

HEADER = 16


@njit(**OPTIONS)
def header(ints):
    """d, scalars, q and s effects, P coefficients, p of them in beta, J items, F of them sampled, S clusters, N units, G
    patterns, R arms, the number of sigmas, of SDs of items (0 or q), E of sigmas that move the items (0 or R), and c
    of the q effects that are correlated."""
    d, n, q, s, P, p, J = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6]
    return d, n, q, s, P, p, J, ints[7], ints[8], ints[9], ints[10], ints[11], ints[12], ints[13], ints[14], ints[15]


@njit(**OPTIONS)
def layout(ints):
    """Where in the floats, after a constant and two LKJ's eta, are: hyper (4 a scalar), centre (d), scale (d d), offset (P),
    sigmas of the pilot (E), fixed SDs (q), tables of the items, tables of the clusters, mean effects of the items in the
    pilot (q), share (q J), V and V E (F q, q) and K (d, q), W (m, J), data of the likelihood, x (N p)."""
    d, n, q, s, P, p, J, F, S, N, G, R, _, _, E, c = header(ints)
    centre = 3 + 4 * n
    scale = centre + d
    offset = scale + d * d
    fixed = offset + P + E
    items = fixed + q
    clusters = items + F * (q * q + q + q * (P + E))
    level = clusters + S * (s * s + s + s * p)
    share = level + q
    directions = share + q * J
    W = directions + (2 * F * q + d) * q
    data = W + (P - p) // c * J
    return (
        3,
        centre,
        scale,
        offset,
        fixed,
        items,
        clusters,
        level,
        share,
        directions,
        W,
        data,
        data + R * J + 3 * R + 2 * N,
    )


@njit(**OPTIONS)
def scaled(sd, corr, q, C):
    for i in range(q):
        for j in range(q):
            C[i, j] = sd[i] * corr[i, j]


@njit(**OPTIONS)
def scaled_gradient(dC, sd, slope, corr, q, dx):
    """Adds the gradient in the coordinates of the SDs; dC becomes that in the factor of the correlations."""
    for i in range(q):
        t = 0.0
        for j in range(i + 1):
            t += dC[i, j] * corr[i, j]
            dC[i, j] *= sd[i]
        dx[i] += t * slope[i]


@njit(**OPTIONS)
def work(q, n):
    """Arrays for n items or clusters with q effects: those of `locate`, and what else `pull_back` needs."""
    AC, R, W, T = np.empty((q, q, n)), np.empty((q, q, n)), np.empty((q, q, n)), np.empty((q, q, n))
    return (AC, R, W, T), np.empty((5, q, n)), (np.empty((q, n)), np.empty((q, n)), np.empty((q, n)))


@njit(**OPTIONS)
def factors(x, theta, ints, floats, corr_items, C_items, corr_clusters, C_clusters):
    """Scale matrices of items and clusters and the factors of their correlations; the log prior of these."""
    _, n, q, s, P, _, _, _, _, _, _, _, _, k, _, c = header(ints)
    lp, pairs = 0.0, c * (c - 1) // 2
    for i in range(q):
        for j in range(q):
            corr_items[i, j] = 1.0 if i == j else 0.0
    if k > 0:
        correlated = np.empty((c, c))
        lp += correlation(x[n:], c, floats[1], correlated)
        corr_items[:c, :c] = correlated
        scaled(theta[P:], corr_items, q, C_items)
    else:
        scaled(floats[layout(ints)[4] :], corr_items, q, C_items)
        pairs = 0
    lp += correlation(x[n + pairs :], s, floats[2], corr_clusters)
    scaled(theta[P + k :], corr_clusters, s, C_clusters)
    return lp


@njit(**OPTIONS)
def shifts(theta, floats, ints, e, delta):
    """beta (with the mean effects of items added) minus its value in the pilot: what the clusters' tables multiply."""
    at = layout(ints)
    q, p, J = ints[2], ints[5], ints[6]
    for c in range(p):
        delta[c] = theta[c] - floats[at[3] + c]
    for a in range(q):
        t = -floats[at[7] + a]
        for i in range(J):
            t += floats[at[8] + a * J + i] * e[a, i]
        delta[a] += t


@njit(**OPTIONS)
def begin(z, ints, floats):
    """From coordinates to what the likelihood needs: log prior, mu (unit), sigma, e (q, J); and the state for `finish`."""
    d, n, q, s, P, p, J, F, S, N, _, _, n_sigma, _, E, c = header(ints)
    at_hyper, at_centre, at_scale, at_offset, _, at_items, at_clusters, _, _, at_V, at_W, at_data, at_x = layout(ints)
    codes, random = ints[HEADER : HEADER + 2 * n], ints[HEADER + 2 * n : HEADER + 2 * n + s]
    cluster, scale, W = ints[HEADER + 2 * n + s :], floats[at_scale:at_offset], floats[at_W:at_data]

    x, theta, slope, dx, inner = np.empty(d), np.empty(n), np.empty(n), np.zeros(d), np.empty(len(z))
    stretch(z, d, F * q, q, floats[at_V:at_W], inner)
    precondition(inner, d, floats[at_centre:at_scale], scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], floats[at_hyper:at_centre], theta, slope, dx)
    corr_i, C_i, corr_c, C_c = np.empty((q, q)), np.empty((q, q)), np.empty((s, s)), np.empty((s, s))
    lp += factors(x, theta, ints, floats, corr_i, C_i, corr_c, C_c)

    (AC, Q, L, T), v, spare = work(q, F)
    (ACc, Qc, Lc, Tc), vc, spare_c = work(s, S)
    delta, delta_c, e, mu = np.empty(P + E), np.empty(p), np.empty((q, J)), np.empty(N)
    for i in range(P):
        delta[i] = theta[i] - floats[at_offset + i]
    for t in range(E):
        delta[P + t] = scale_shift(theta[n - n_sigma + min(t, n_sigma - 1)], floats[at_offset + P + t])[0]
    lp -= 0.5 * locate(floats[at_items:at_clusters], 1.0, F, 0, F, inner, d, delta, C_i, P + E, q, AC, Q, L, v)
    item_effects(v[U], theta[p:], W, (q, c), J, F, e)
    shifts(theta, floats, ints, e, delta_c)
    lp -= 0.5 * locate(floats[at_clusters:], 1.0, S, 0, S, inner, d + F * q, delta_c, C_c, p, s, ACc, Qc, Lc, vc)
    mean_abilities(floats[at_x:], N, p, theta, s, random, cluster, vc[U], mu)
    items, clusters = (corr_i, C_i, AC, Q, L, T, v, spare), (corr_c, C_c, ACc, Qc, Lc, Tc, vc, spare_c)
    return lp, mu, theta[n - n_sigma :], e, (x, theta, slope, dx, inner, delta, items, clusters)


@njit(**OPTIONS)
def finish(ints, floats, state, dmu, dsigma, de, ddelta, dinner, grad):
    """From the derivatives in mu, sigma, e, and those in beta, gamma (P + E long) and other coordinates so far, to grad."""
    d, n, q, s, P, p, J, F, S, N, _, _, n_sigma, k, E, c = header(ints)
    at = layout(ints)
    random, cluster = ints[HEADER + 2 * n : HEADER + 2 * n + s], ints[HEADER + 2 * n + s :]
    x, theta, slope, dx, inner, delta, items, clusters = state
    corr_i, C_i, AC, Q, L, T, v, (dy, dt, dm) = items
    corr_c, C_c, ACc, Qc, Lc, Tc, vc, (dyc, dtc, dmc) = clusters
    dC_i, dC_c, du, dv, ddelta_c = np.zeros((q, q)), np.zeros((s, s)), np.empty((q, F)), np.zeros((s, S)), np.zeros(p)
    mean_abilities_gradient(floats[at[12] :], N, p, dmu, s, random, cluster, ddelta, dv)
    pull_back(
        *(floats[at[6] :], 1.0, S, 0, S, C_c, p, s, ACc, Qc, Lc, vc),
        *(dv, dyc, dtc, dmc, Tc, dinner, d + F * q, ddelta_c, dC_c),
    )
    for i in range(p):
        ddelta[i] += ddelta_c[i]
    for a in range(q):
        for i in range(J):
            de[a, i] += ddelta_c[a] * floats[at[8] + a * J + i]
    item_effects_gradient(de, floats[at[10] : at[11]], (q, c), J, F, ddelta[p:], du)
    pull_back(floats[at[5] :], 1.0, F, 0, F, C_i, P + E, q, AC, Q, L, v, du, dy, dt, dm, T, dinner, d, ddelta, dC_i)
    for t in range(E):
        k_t = min(t, n_sigma - 1)
        dsigma[k_t] += ddelta[P + t] * scale_shift(theta[n - n_sigma + k_t], floats[at[3] + P + t])[1]

    for i in range(P):
        dx[i] += ddelta[i] * slope[i]
    pairs = 0
    if k > 0:
        scaled_gradient(dC_i, theta[P:], slope[P:], corr_i, q, dx[P:])
        correlation_gradient(x[n:], c, floats[1], corr_i, dC_i, dx[n:])
        pairs = c * (c - 1) // 2
    scaled_gradient(dC_c, theta[P + k :], slope[P + k :], corr_c, s, dx[P + k :])
    correlation_gradient(x[n + pairs :], s, floats[2], corr_c, dC_c, dx[n + pairs :])
    for i in range(n_sigma):
        dx[n - n_sigma + i] += dsigma[i] * slope[n - n_sigma + i]
    precondition_gradient(dx, d, floats[at[2] : at[3]], dinner)
    stretch_gradient(dinner, d, F * q, q, floats[at[9] : at[10]], grad)


@njit(**OPTIONS)
def expand(z, ints, floats, out):
    """Coordinates to parameters: the scalars, the Cholesky factors of the correlations of items (random ones) and of clusters,
    u of the items (J, c), their drift if there is any (J), the effects of clusters (S, s); their number, and the state of
    `begin`."""
    d, n, q, s, P, p, J, F, S, _, _, _, n_sigma, k, _, c = header(ints)
    _, _, _, e, state = begin(z, ints, floats)
    theta, items, clusters = state[1], state[6], state[7]
    u, none = np.empty((q, J)), np.empty(0)
    item_effects(items[6][U], theta[p:], none, (q, c), J, F, u)
    for i in range(n):
        out[i] = theta[i]
    to = n
    if k > 0:
        unsigned(out[P : P + c], items[0], c, out[to:])
        to += c * c
    for i in range(c, k):
        out[P + i] = abs(out[P + i])
    unsigned(out[P + k : P + k + s], clusters[0], s, out[to:])
    to += s * s
    for i in range(J):
        for a in range(c):
            out[to + i * c + a] = u[a, i]
        for a in range(c, q):
            out[to + J * a + i] = u[a, i]
    to += J * q
    for i in range(S):
        for a in range(s):
            out[to + i * s + a] = clusters[6][U, a, i]
    for i in range(n - n_sigma, n):
        out[i] = abs(out[i])
    return to + S * s, e, state
