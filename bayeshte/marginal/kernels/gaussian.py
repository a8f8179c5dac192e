"""Log density of a Gaussian model with random slopes, the random effects integrated out.

    y_j = X_j beta + Z_j u_j + e_j,   u_j ~ N(0, C C'),   e_ij ~ N(0, 1 / w_k),   k = residual stratum of row ij,

with C = diag(sd) Lc. Rows enter through cross-products only. With residuals r = e0 - X delta from a fixed fit
(beta = offset + delta), A_j = sum_k w_k Z'Z_jk, h_j = sum_k w_k Z'r_jk, M_j = I + C' A_j C:

    log p(y) = 1/2 sum_k [n_k log(w_k / 2 pi) - w_k r'r_k] + 1/2 sum_j [h_j' C M_j^-1 C' h_j - log det M_j].

v_j = M_j^-1 C' h_j gives the posterior mean C v_j and C M_j^-1 C' the posterior covariance of u_j; every derivative is
written with them.

Tables. ints: d, scalars, q, p, K, J, sigmas, then (transform, family) of the scalars.
floats: constant, eta, hyper (4 a scalar), centre (d), scale (d d), offset (p), per stratum n, r'r, X'r (p), X'X (p p),
per cluster and stratum Z'Z (q q), Z'r (q), Z'X (q p). The scalars are beta (p), sd (q), sigma (`sigmas`, 0 if known to be 1).
"""

import math

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, inverse_from_cholesky, rejection, views
from bayeshte.marginal.kernels.parameters import (
    correlation,
    correlation_gradient,
    precondition,
    precondition_gradient,
    scalars,
    unsigned,
)

LOG_2PI = math.log(2.0 * math.pi)


@njit(**OPTIONS)
def strata(delta, p, K, w, stats, dw, ddelta):
    """The part that needs no clusters: sums of squares around the fixed effects, by residual stratum."""
    ll = 0.0
    size = 2 + p + p * p
    for k in range(K):
        s = stats[k * size : (k + 1) * size]
        xr, xx = s[2 : 2 + p], s[2 + p :]
        rr = s[1]
        for a in range(p):
            t = 0.0
            for b in range(p):
                t += xx[a * p + b] * delta[b]
            rr += delta[a] * (t - 2.0 * xr[a])
            ddelta[a] += w[k] * (xr[a] - t)
        ll += 0.5 * (s[0] * (math.log(w[k]) - LOG_2PI) - w[k] * rr)
        dw[k] += 0.5 * (s[0] / w[k] - rr)
    return ll


@njit(**OPTIONS)
def clusters(delta, factor, p, q, K, J, w, stats, dw, ddelta, dfactor, noise):
    """The part of the random effects: 1/2 sum_j [h' C M^-1 C' h - log det M] and its derivatives in delta, w and C.

    dC = (h - A u) v' - A C M^-1;  ddelta = -sum_k w_k X'Z_k u;  dw_k = u'h_k - 1/2 tr Z'Z_k (u u' + C M^-1 C').

    With noise of shape (J, q), not (0, q), it draws instead: noise_j becomes C (v_j + R_j^-T noise_j), M_j = R_j R_j'.
    One function for both, because numba's calls and slices in the loop over clusters would double its cost.
    """
    ll = 0.0
    size = q * q + q + q * p
    A, AC, M, inverse = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    h, hk, Ch, v, u, rest = np.empty(q), np.empty((K, q)), np.empty(q), np.empty(q), np.empty(q), np.empty(q)
    for j in range(J):
        base = j * K * size
        for a in range(q):
            h[a] = 0.0
            for b in range(q):
                A[a, b] = 0.0
        for k in range(K):
            s = stats[base + k * size : base + (k + 1) * size]
            for a in range(q):
                t = s[q * q + a]
                for c in range(p):
                    t -= s[q * q + q + a * p + c] * delta[c]
                hk[k, a] = t
                h[a] += w[k] * t
                for b in range(q):
                    A[a, b] += w[k] * s[a * q + b]
        for a in range(q):
            for b in range(q):
                t = 0.0
                for c in range(b, q):
                    t += A[a, c] * factor[c, b]
                AC[a, b] = t
        for a in range(q):
            for b in range(a + 1):
                t = 1.0 if a == b else 0.0
                for c in range(a, q):
                    t += factor[c, a] * AC[c, b]
                M[a, b] = t
        logdet = cholesky(M, q)
        inverse_from_cholesky(M, inverse, q)
        for a in range(q):
            t = 0.0
            for c in range(a, q):
                t += factor[c, a] * h[c]
            Ch[a] = t
        quad = 0.0
        for a in range(q):
            t = 0.0
            for b in range(q):
                t += inverse[a, b] * Ch[b]
            v[a] = t
            quad += t * Ch[a]
        if len(noise):
            for a in range(q - 1, -1, -1):  # R' x = noise
                t = noise[j, a]
                for b in range(a + 1, q):
                    t -= M[b, a] * noise[j, b]
                noise[j, a] = t / M[a, a]
            for a in range(q):
                v[a] += noise[j, a]
        for a in range(q):
            t = 0.0
            for b in range(a + 1):
                t += factor[a, b] * v[b]
            u[a] = t
        if len(noise):
            for a in range(q):
                noise[j, a] = u[a]
            continue
        ll += 0.5 * (quad - logdet)
        for a in range(q):
            t = h[a]
            for b in range(q):
                t -= A[a, b] * u[b]
            rest[a] = t
        for a in range(q):
            for b in range(a + 1):
                t = rest[a] * v[b]
                for c in range(q):
                    t -= AC[a, c] * inverse[c, b]
                dfactor[a, b] += t
        # A becomes the posterior covariance C M^-1 C', AC is scratch
        for a in range(q):
            for b in range(q):
                t = 0.0
                for c in range(a + 1):
                    t += factor[a, c] * inverse[c, b]
                AC[a, b] = t
        for a in range(q):
            for b in range(q):
                t = 0.0
                for c in range(b + 1):
                    t += AC[a, c] * factor[b, c]
                A[a, b] = t
        for k in range(K):
            s = stats[base + k * size : base + (k + 1) * size]
            t = 0.0
            for a in range(q):
                t += u[a] * hk[k, a]
                for b in range(q):
                    t -= 0.5 * s[a * q + b] * (u[a] * u[b] + A[a, b])
                for c in range(p):
                    ddelta[c] -= w[k] * u[a] * s[q * q + q + a * p + c]
            dw[k] += t
    return ll


@njit(cache=True, error_model="numpy")
def draw_effects(delta, factor, w, stats, noise):
    """Random effects drawn given the parameters and the data, draw by draw; noise becomes u.

    Shapes: delta (S, p), factor (S, q, q), w (S, K), noise (S, J, q); stats as in the tables.
    """
    S, J, q = noise.shape
    p, K = delta.shape[1], w.shape[1]
    dw, ddelta, dfactor = np.empty(K), np.empty(p), np.empty((q, q))
    for s in range(S):
        clusters(delta[s], factor[s], p, q, K, J, w[s], stats, dw, ddelta, dfactor, noise[s])


@njit(inline="always")
def log_density(z, ints, floats, grad):
    """Log posterior density at preconditioned coordinates z; the gradient goes to grad."""
    d, n, q, p, K, J, sigmas = ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6]
    codes = ints[7:]
    at = 2
    hyper = floats[at : at + 4 * n]
    at += 4 * n
    centre, scale = floats[at : at + d], floats[at + d : at + d + d * d]
    at += d + d * d
    offset = floats[at : at + p]
    at += p
    pooled = floats[at : at + K * (2 + p + p * p)]
    by_cluster = floats[at + K * (2 + p + p * p) :]

    x, theta, slope, dx = np.empty(d), np.empty(n), np.empty(n), np.zeros(d)
    precondition(z, d, centre, scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n : 2 * n], hyper, theta, slope, dx)
    corr, factor, dfactor = np.empty((q, q)), np.empty((q, q)), np.zeros((q, q))
    lp += correlation(x[n:], q, floats[1], corr)
    for i in range(q):
        for j in range(q):
            factor[i, j] = theta[p + i] * corr[i, j]
    delta, ddelta, w, dw = np.empty(p), np.zeros(p), np.ones(K), np.zeros(K)
    for i in range(p):
        delta[i] = theta[i] - offset[i]
    for k in range(sigmas):
        w[k] = theta[p + q + k] ** -2.0
    lp += strata(delta, p, K, w, pooled, dw, ddelta)
    lp += clusters(delta, factor, p, q, K, J, w, by_cluster, dw, ddelta, dfactor, np.empty((0, q)))

    for i in range(p):
        dx[i] += ddelta[i] * slope[i]
    for i in range(q):
        t = 0.0
        for j in range(i + 1):
            t += dfactor[i, j] * corr[i, j]
            dfactor[i, j] *= theta[p + i]
        dx[p + i] += t * slope[p + i]
    for k in range(sigmas):
        dx[p + q + k] -= 2.0 * dw[k] * w[k] / theta[p + q + k] * slope[p + q + k]
    correlation_gradient(x[n:], q, floats[1], corr, dfactor, dx[n:])
    precondition_gradient(dx, d, scale, grad)
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
    """Coordinates to parameters: the scalars, then the Cholesky factor of the correlations, row by row."""
    ints, floats = views(user_data, np.int64, np.float64)
    d, n, q = ints[0], ints[1], ints[2]
    codes, out = ints[7:], carray(out_, (expanded,))
    hyper, at = floats[2 : 2 + 4 * n], 2 + 4 * n
    x, slope, unused, corr = np.empty(d), np.empty(n), np.empty(n), np.empty((q, q))
    precondition(carray(z_, (dim,)), d, floats[at : at + d], floats[at + d : at + d + d * d], x)
    scalars(x, n, codes[:n], codes[n : 2 * n], hyper, out[:n], slope, unused)
    correlation(x[n:], q, floats[1], corr)
    unsigned(out[ints[3] : ints[3] + q], corr, q, out[n:])
    return 0
