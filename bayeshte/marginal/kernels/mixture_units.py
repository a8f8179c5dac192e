"""Log-likelihood of one unit, a cluster or a row, in one class, with its derivatives in the parameters of the class.

Gaussian, from the unit's cross-products of X and of the residuals r from a fixed fit (beta = offset + delta), its random
effects u ~ N(0, C C') integrated (as in gaussian.py): with w = 1 / sigma^2, A = w Z'Z, h = w (Z'r - Z'X delta), M = I + C'AC,

    log p(y) = 1/2 [n log(w / 2 pi) - w |r - X delta|^2] + 1/2 [h'C M^-1 C'h - log det M].

Other families, from the unit's rows: the sum of log p(y_i | x_i' beta).
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, inverse_from_cholesky
from bayeshte.marginal.kernels.rows import (
    LOGIT,
    POISSON,
    PROBIT,
    logit_rows,
    poisson_rows,
    probit_rows,
    student_constant,
    student_rows,
)

GAUSSIAN = 4  # beside the families of rows.py
LOG_2PI = math.log(2.0 * math.pi)


@njit(**OPTIONS)
def fixed_part(s, p, delta, w, ddelta, dw):
    """1/2 [n log(w / 2 pi) - w |r - X delta|^2]; s holds n, r'r, X'r (p), X'X (p p)."""
    rr = s[1]
    for a in range(p):
        t = 0.0
        for b in range(p):
            t += s[2 + p + a * p + b] * delta[b]
        rr += delta[a] * (t - 2.0 * s[2 + a])
        ddelta[a] = w * (s[2 + a] - t)
    dw[0] = 0.5 * (s[0] / w - rr)
    return 0.5 * (s[0] * (math.log(w) - LOG_2PI) - w * rr)


@njit(**OPTIONS)
def random_part(s, p, q, random, delta, w, C, ddelta, dC, dw, mats, vecs):
    """1/2 [h'C M^-1 C'h - log det M]; adds to ddelta and dw, sets dC.

    With v = M^-1 C'h, u = C v: dC = (h - A u) v' - A C M^-1, ddelta = -w X'Z u,
    dw = u'h / w - 1/2 tr Z'Z (u u' + C M^-1 C').
    """
    ZZ, ZC, M, inverse = mats[0], mats[1], mats[2], mats[3]
    h, v, u, Ch = vecs[0], vecs[1], vecs[2], vecs[3]
    xx = 2 + p
    for a in range(q):
        row = xx + random[a] * p
        t = s[2 + random[a]]
        for b in range(p):
            t -= s[row + b] * delta[b]
        h[a] = w * t
        for b in range(q):
            ZZ[a, b] = s[row + random[b]]
    for a in range(q):
        for b in range(q):
            t = 0.0
            for c in range(b, q):
                t += ZZ[a, c] * C[c, b]
            ZC[a, b] = t
    for a in range(q):
        t = 0.0
        for c in range(a, q):
            t += C[c, a] * h[c]
        Ch[a] = t
        for b in range(a + 1):
            t = 1.0 if a == b else 0.0
            for c in range(a, q):
                t += w * C[c, a] * ZC[c, b]
            M[a, b] = t
    logdet = cholesky(M, q)
    inverse_from_cholesky(M, inverse, q)
    quad = 0.0
    for a in range(q):
        t = 0.0
        for b in range(q):
            t += inverse[a, b] * Ch[b]
        v[a] = t
        quad += t * Ch[a]
    for a in range(q):
        t = 0.0
        for b in range(a + 1):
            t += C[a, b] * v[b]
        u[a] = t
    trace = 0.0
    for a in range(q):
        rest = h[a]
        for b in range(q):
            rest -= w * ZZ[a, b] * u[b]
            trace += ZZ[a, b] * u[a] * u[b]
        for b in range(a + 1):
            t = rest * v[b]
            for c in range(q):
                t -= w * ZC[a, c] * inverse[c, b]
            dC[a, b] = t
        for b in range(q):
            t = 0.0
            for c in range(a + 1):
                t += C[a, c] * inverse[c, b]
            trace += ZC[a, b] * t  # tr Z'Z C M^-1 C'
        dw[0] += u[a] * h[a] / w
        for b in range(p):
            ddelta[b] -= w * u[a] * s[xx + random[a] * p + b]
    dw[0] -= 0.5 * trace
    return 0.5 * (quad - logdet)


@njit(**OPTIONS)
def by_rows(family, data, N, p, lo, hi, beta, shape, dbeta, dshape, eta, score):
    """Sum of log p(y_i | x_i' beta) over rows lo .. hi - 1; data holds X (p N), n (N), s (N)."""
    e, g = eta[: hi - lo], score[: hi - lo]
    n, s = data[p * N + lo : p * N + hi], data[p * N + N + lo : p * N + N + hi]
    for i in range(hi - lo):
        e[i] = 0.0
    for a in range(p):
        for i in range(hi - lo):
            e[i] += beta[a] * data[a * N + lo + i]
    dshape[0], dshape[1] = 0.0, 0.0
    if family == LOGIT:
        ll = logit_rows(e, n, s, g)
    elif family == PROBIT:
        ll = probit_rows(e, n, s, g)
    elif family == POISSON:
        ll = poisson_rows(e, n, s, g)
    else:
        ll = student_rows(e, s, shape[0], shape[1], g, dshape)
        ll += student_constant(hi - lo, shape[0], shape[1], dshape)
    for a in range(p):
        t = 0.0
        for i in range(hi - lo):
            t += data[a * N + lo + i] * g[i]
        dbeta[a] = t
    return ll


@njit(**OPTIONS)
def unit_in_class(j, family, data, first, N, p, q, random, beta, offset, shape, C, dbeta, dshape, dC, mats, vecs, rows):
    """Log-likelihood of unit j in a class with coefficients beta, shape (sigma, nu), factor C; derivatives are set."""
    if family != GAUSSIAN:
        return by_rows(family, data, N, p, first[j], first[j + 1], beta, shape, dbeta, dshape, rows[0], rows[1])
    size = 2 + p + p * p
    s = data[j * size : (j + 1) * size]
    w, delta, dw = shape[0] ** -2.0, vecs[4], vecs[5]
    for a in range(p):
        delta[a] = beta[a] - offset[a]
    ll = fixed_part(s, p, delta, w, dbeta, dw)
    if q > 0:
        ll += random_part(s, p, q, random, delta, w, C, dbeta, dC, dw, mats, vecs)
    dshape[0], dshape[1] = -2.0 * dw[0] * w / shape[0], 0.0
    return ll


@njit(cache=True, error_model="numpy")
def likelihoods(family, data, first, N, random, beta, offset, shape, C):
    """Log-likelihood of every unit in every class, draw by draw: (S, U, K).

    Shapes: beta (S, K, p), shape (S, K, 2), C (S, K, q, q), first (U + 1); data as in the tables of mixture.py.
    """
    S, K, p = beta.shape
    U, q = len(first) - 1, len(random)
    longest = 0
    for j in range(U):
        longest = max(longest, first[j + 1] - first[j])
    mats, vecs, rows = np.empty((4, q, q)), np.empty((6, max(p, q, 1))), np.empty((2, longest))
    dbeta, dshape, dC = np.empty(p), np.empty(2), np.empty((q, q))
    out = np.empty((S, U, K))
    for t in range(S):
        for j in range(U):
            for c in range(K):
                out[t, j, c] = unit_in_class(
                    *(j, family, data, first, N, p, q, random, beta[t, c], offset, shape[t, c], C[t, c]),
                    *(dbeta, dshape, dC, mats, vecs, rows),
                )
    return out


@njit(cache=True, error_model="numpy")
def summarise(values, probability):
    """From log pi_jc + log p(y_j | c) (S, U, K): log-likelihood (S,), mean P(class | data) (S, K), mean -sum_c p log p (S,).

    `values` become P(class | data), which are added over draws to `probability` (U, K).
    """
    S, U, K = values.shape
    total, share, doubt = np.zeros(S), np.zeros((S, K)), np.zeros(S)
    for t in range(S):
        for j in range(U):
            v = values[t, j]
            top, s = v[0], 0.0
            for c in range(1, K):
                top = max(top, v[c])
            for c in range(K):
                v[c] -= top
                s += math.exp(v[c])
            log = math.log(s)
            total[t] += top + log
            for c in range(K):
                p = math.exp(v[c] - log)
                doubt[t] -= p * (v[c] - log) / U
                share[t, c] += p / U
                probability[j, c] += p
                v[c] = p
    return total, share, doubt
