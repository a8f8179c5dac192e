"""A finite mixture whose units are rows: blocks of rows at a time, every loop over rows vectorised.

    log p(y) = sum_i log sum_c pi_ic p(y_i | eta_ic),   eta_ic = x_i' beta_c + shift_ic,   pi_i = softmax(w_i' alpha + odds_i).

With r_ic = P(class c | y_i), the derivative in beta_c is sum_i r_ic s_ic x_i with the score s_ic of row i in class c, that in
alpha_rc is sum_i W_ir (r_ic - pi_ic), that in odds_ic is r_ic - pi_ic, that in shift_ic is r_ic s_ic, summed over classes if
they have one shift.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import LOGIT, POISSON, STUDENT, SUMS, exp, log1p, log_gamma_step

BLOCK = 512
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


@njit(**SUMS)
def gaussian_points(eta, y, sigma, ll, score, dsigma):
    """Log density of every row, its derivatives in eta and sigma."""
    constant = -math.log(sigma) - LOG_SQRT_2PI
    for i in range(len(eta)):
        r = (y[i] - eta[i]) / sigma
        ll[i] = constant - 0.5 * r * r
        score[i] = r / sigma
        dsigma[i] = (r * r - 1.0) / sigma


@njit(**SUMS)
def student_points(eta, y, sigma, nu, ll, score, dsigma, dnu):
    """The same for Student t, and the derivative in nu."""
    step, slope = log_gamma_step(0.5 * nu)
    constant = step - 0.5 * math.log(nu * math.pi) - math.log(sigma)
    for i in range(len(eta)):
        r = (y[i] - eta[i]) / sigma
        a = r * r / nu
        log = log1p(a)
        share = (nu + 1.0) / (1.0 + a)
        ll[i] = constant - 0.5 * (nu + 1.0) * log
        score[i] = share * r / (nu * sigma)
        dsigma[i] = (share * a - 1.0) / sigma
        dnu[i] = 0.5 * ((share * a - 1.0) / nu + slope - log)


@njit(**SUMS)
def logit_points(eta, n, s, ll, score):
    """s eta - n log(1 + e^eta) of every row, and its derivative."""
    for i in range(len(eta)):
        x = eta[i]
        e = exp(-abs(x))
        ll[i] = s[i] * x - n[i] * ((x if x > 0.0 else 0.0) + log1p(e))
        rare = n[i] * e / (1.0 + e)
        score[i] = s[i] - n[i] + rare if x > 0.0 else s[i] - rare


@njit(**SUMS)
def poisson_points(eta, n, s, ll, score):
    """s eta - n e^eta of every row, and its derivative."""
    for i in range(len(eta)):
        mean = n[i] * exp(eta[i])
        ll[i] = s[i] * eta[i] - mean
        score[i] = s[i] - mean


@njit(**OPTIONS)
def point_of_family(family, eta, n, s, shape, ll, score, dsigma, dnu):
    """Log-likelihood of every row, and its derivatives in eta, and in sigma and nu where there are any."""
    if family == LOGIT:
        logit_points(eta, n, s, ll, score)
    elif family == POISSON:
        poisson_points(eta, n, s, ll, score)
    elif family == STUDENT:
        student_points(eta, s, shape[0], shape[1], ll, score, dsigma, dnu)
    else:
        gaussian_points(eta, s, shape[0], ll, score, dsigma)


@njit(**SUMS)
def add_columns(X, N, p, lo, coefficients, out):
    """out += X coefficients for the rows from `lo` on; X holds a column after the other."""
    for a in range(p):
        column = X[a * N + lo : a * N + lo + len(out)]
        for i in range(len(out)):
            out[i] += coefficients[a] * column[i]


@njit(**SUMS)
def dot(a, b):
    """sum of a b."""
    t = 0.0
    for i in range(len(a)):
        t += a[i] * b[i]
    return t


@njit(**OPTIONS)
def points(family, data, N, p, lo, hi, beta, shape, shift, eta, ll, score, dsigma, dnu):
    """Log-likelihood of rows lo .. hi - 1 in one class, with the derivatives in eta, sigma, nu."""
    e = eta[: hi - lo]
    for i in range(hi - lo):
        e[i] = shift[lo + i]
    add_columns(data, N, p, lo, beta, e)
    n, s = data[p * N + lo : p * N + hi], data[p * N + N + lo : p * N + N + hi]
    point_of_family(family, e, n, s, shape, ll, score, dsigma, dnu)


@njit(**SUMS)
def normalise(a, size, K, top, out):
    """out[c, i] = exp a[c, i] / sum_l exp a[l, i]; the sum over i of the logs of these sums."""
    for i in range(size):
        top[i] = a[0, i]
    for c in range(1, K):
        for i in range(size):
            top[i] = max(top[i], a[c, i])
    for c in range(K):
        for i in range(size):
            out[c, i] = exp(a[c, i] - top[i])
    total = 0.0
    for i in range(size):
        s = out[0, i]
        for c in range(1, K):
            s += out[c, i]
        total += top[i] + log1p(s - 1.0)
        top[i] = 1.0 / s
    for c in range(K):
        for i in range(size):
            out[c, i] *= top[i]
    return total


@njit(**OPTIONS)
def rows_of_classes(family, data, W, N, p, m, K, alpha, beta, shape, shift, odds, dalpha, dbeta, dshape, dshift, dodds):
    """Sum over rows of log sum_c pi_ic p(y_i | c); derivatives are added, those in shift and odds are set.

    W holds columns (m N), shift is (K, N) or the same in all classes (1, N), odds is (K, N) or empty.
    """
    a, r, pi = np.empty((K, BLOCK)), np.empty((K, BLOCK)), np.empty((K, BLOCK))
    score, dsigma, dnu = np.empty((K, BLOCK)), np.zeros((K, BLOCK)), np.zeros((K, BLOCK))
    eta, top = np.empty(BLOCK), np.empty(BLOCK)
    total, each, own = 0.0, m > 1 or len(odds) > 0, 1 if len(shift) > 1 else 0
    for lo in range(0, N, BLOCK):
        hi = min(lo + BLOCK, N)
        B = hi - lo
        if each or lo == 0 or hi == N:  # plain class probabilities are the same in all rows
            for c in range(K):
                for i in range(B):
                    a[c, i] = odds[c, lo + i] if len(odds) > 0 else 0.0
                add_columns(W, N, m, lo, alpha[:, c], a[c, :B])
            norm = normalise(a, B, K, top, pi)
        total -= norm
        for c in range(K):
            points(
                *(family, data, N, p, lo, hi, beta[c], shape[c], shift[own * c], eta, r[c, :B], score[c, :B]),
                *(dsigma[c, :B], dnu[c, :B]),
            )
            for i in range(B):
                r[c, i] += a[c, i] if each else alpha[0, c]
        total += normalise(r, B, K, top, r)
        for e in range(len(shift)):
            for i in range(B):
                dshift[e, lo + i] = 0.0
        for c in range(K):
            dshape[c, 0] += dot(r[c, :B], dsigma[c, :B])
            dshape[c, 1] += dot(r[c, :B], dnu[c, :B])
            moved = dshift[own * c]
            for i in range(B):
                score[c, i] *= r[c, i]
                moved[lo + i] += score[c, i]
                r[c, i] -= pi[c, i]
            if len(odds) > 0:
                for i in range(B):
                    dodds[c, lo + i] = r[c, i]
            for b in range(p):
                dbeta[c, b] += dot(score[c, :B], data[b * N + lo : b * N + hi])
            for k in range(m):
                dalpha[k, c] += dot(r[c, :B], W[k * N + lo : k * N + hi])
    return total


@njit(cache=True, error_model="numpy")
def row_likelihoods(family, data, N, beta, shape, shift):
    """Log-likelihood of every row in every class, draw by draw: (S, N, K); beta (S, K, p), shape (S, K, 2), shift (S, E, N)."""
    S, K, p = beta.shape
    eta, ll, score = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    dsigma, dnu, out = np.empty(BLOCK), np.empty(BLOCK), np.empty((S, N, K))
    own = 1 if shift.shape[1] > 1 else 0
    for t in range(S):
        for lo in range(0, N, BLOCK):
            hi = min(lo + BLOCK, N)
            for c in range(K):
                points(
                    *(family, data, N, p, lo, hi, beta[t, c], shape[t, c], shift[t, own * c], eta),
                    *(ll[: hi - lo], score[: hi - lo], dsigma[: hi - lo], dnu[: hi - lo]),
                )
                for i in range(hi - lo):
                    out[t, lo + i, c] = ll[i]
    return out
