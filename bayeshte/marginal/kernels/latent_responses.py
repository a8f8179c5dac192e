"""Log-likelihood of rows of jointly normal variables of which some are seen as categories only.

A row has variables y ~ N(mu, S) in the order *continuous and seen, sampled, integrated*. With S = L L' it is built up from
standard normal innovations e, y_i = m_i + L_ii e_i, with m_i = mu_i + sum_{k < i} L_ik e_k its mean given those before:

- continuous: e_i = (y_i - m_i) / L_ii, and log N(y_i; m_i, L_ii^2);
- sampled: a factor, e_i = t_i, with t_i ~ N(0, 1); or a latent response that is known to be in (a, b), e_i = Phi^-1(Phi(alpha) +
  P Phi(t_i)), alpha = (a - m_i) / L_ii, beta likewise, P = Phi(beta) - Phi(alpha), and log P (Geweke, 1991; Hajivassiliou &
  McFadden, 1998; Keane, 1994: the simulator GHK, here with its uniform numbers as coordinates of the posterior);
- integrated: latent responses that are independent of each other given all before, each log P. With the logit link the response
  is m_i plus a logistic residual; L_ii is 1.

A category c of a variable is (cut_c, cut_c+1), cut_0 = -inf, cut_1 = 0, the last infinite.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.ordered import tails
from bayeshte.marginal.kernels.rows import INV_SQRT_2PI, LOGIT, PROBIT

LOG_SQRT_2PI = -math.log(INV_SQRT_2PI)


@njit(**OPTIONS)
def factor(S, order, n, conditions, cat, links, L):
    """Root L of S in this order, the last n - conditions independent given those before; False if S is not positive definite."""
    for i in range(n):
        m = min(i, conditions)
        d = S[order[i], order[i]]
        for j in range(m):
            s = S[order[i], order[j]]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = s / L[j, j]
            d -= L[i, j] * L[i, j]
        if cat[i] >= 0 and links[cat[i]] == LOGIT:
            d = 1.0
        if not d > 0.0:
            return False
        L[i, i] = math.sqrt(d)
    return True


@njit(**OPTIONS)
def factor_gradient(L, dL, order, n, conditions, cat, links, dS):
    """From derivatives in L, which are used up, to those in S (added, symmetric)."""
    for i in range(n - 1, -1, -1):
        m = min(i, conditions)
        if cat[i] < 0 or links[cat[i]] != LOGIT:
            g = 0.5 * dL[i, i] / L[i, i]
            dS[order[i], order[i]] += g
            for k in range(m):
                dL[i, k] -= 2.0 * g * L[i, k]
        for j in range(m - 1, -1, -1):
            g = dL[i, j] / L[j, j]
            dS[order[i], order[j]] += 0.5 * g
            dS[order[j], order[i]] += 0.5 * g
            dL[j, j] -= g * L[i, j]
            for k in range(j):
                dL[i, k] -= g * L[j, k]
                dL[j, k] -= g * L[i, k]


@njit(**OPTIONS)
def interval(link, alpha, beta, low, high, ends):
    """log P(alpha < x < beta), f(alpha) / P and f(beta) / P; without `low` alpha is minus infinity, without `high` beta infinity.

    log F(x), log F(-x) and log f(x) of both go to `ends` (2, 3). One place calls for them: they are long, and compiled at each.
    """
    below, above = 0.0, 0.0
    for k in range(2):
        if high if k else low:
            ends[k, 0], ends[k, 1], ends[k, 2] = tails(link, beta if k else alpha)
        else:
            ends[k, 0], ends[k, 1], ends[k, 2] = (0.0, -math.inf, -math.inf) if k else (-math.inf, 0.0, -math.inf)
    left, left_up, right, right_up = ends[0, 0], ends[0, 1], ends[1, 0], ends[1, 1]
    if low and high:
        large, small = (left_up, right_up) if left_up < right else (right, left)
        log_p = large + math.log(-math.expm1(small - large))
    else:
        log_p = left_up if low else right
    if low:
        below = math.exp(ends[0, 2] - log_p)
    if high:
        above = math.exp(ends[1, 2] - log_p)
    return log_p, below, above


@njit(**OPTIONS)
def quantile(log_p):
    """x with log Phi(x) = log_p <= log 1/2: Newton's method, which climbs to the root because log Phi is concave."""
    x = -math.sqrt(max(-2.0 * log_p - 1.0, 0.0)) - 0.2
    for _ in range(50):
        below, _, density = tails(PROBIT, x)
        step = (log_p - below) * math.exp(below - density)
        x += step
        if abs(step) < 1e-14 * (1.0 + abs(x)):
            break
    return x


@njit(**OPTIONS)
def log_sum(a, b):
    """log(e^a + e^b)."""
    large, small = (a, b) if a > b else (b, a)
    return large + math.log1p(math.exp(small - large)) if large > -math.inf else large


@njit(**OPTIONS)
def inside(ends, t, log_p):
    """The innovation e in (alpha, beta) at coordinate t, its derivatives in alpha, beta and t; `ends` as `interval` left it."""
    u, u_up, density = tails(PROBIT, t)
    lower, upper = log_sum(ends[0, 0], log_p + u), log_sum(ends[1, 1], log_p + u_up)
    e = quantile(min(lower, upper))
    if lower > upper:
        e = -e
    there = -LOG_SQRT_2PI - 0.5 * e * e
    return (
        e,
        math.exp(ends[0, 2] + u_up - there),
        math.exp(ends[1, 2] + u - there),
        math.exp(log_p + density - there),
    )


@njit(**OPTIONS)
def rows(pattern, L, count, ints, floats, t, sizes, parts, categories, dL, dparts, dcuts, dt, dfloats, latent, work):
    """Sum of the log-likelihoods of `count` rows of one pattern; adds to dL, dparts and dcuts, sets dt and dfloats.

    Parameters
    ----------
    pattern : (order, cat, continuous, conditions, n)
        Places of the variables among the active ones; their categorical variable, or -1; how many are continuous and seen, how
        many are conditioned on (these and the sampled ones), how many there are.
    L : array
        Root of their covariances.
    ints, floats : array
        Of each row: cluster and the categories in order; covariates, then the values that are seen.
    t, dt : array
        Coordinates of the sampled variables, row by row.
    sizes : (covariates, ints of a row)
    parts : (K, back, f), dparts : (dK, df)
        Coefficients of the constant and the covariates by active variable; its place in f, or -1; parts of the clusters.
    categories : (cuts, last, links)
        Cuts (variable, category), the number of the last category, the link.
    dfloats : array
        As floats, for derivatives in the values that are seen, where these are only given: their own density is left out.
        Empty where it counts.
    latent : (values, derivatives)
        As t: of sampled responses their values, which are set, and derivatives in these of what else depends on them. Empty where
        nothing else does.
    work : array (9, n)
        Scratch.
    """
    order, cat, continuous, conditions, n = pattern
    covariates, codes = sizes
    K, back, f = parts
    cuts, last, links = categories
    dK, df = dparts
    e, de, alpha, beta, below, above = work[0], work[1], work[2], work[3], work[4], work[5]
    width, sampled, ll, ends = covariates + continuous, conditions - continuous, 0.0, np.empty((2, 3))
    values, seeds = latent
    density = 1.0 if len(dfloats) == 0 else 0.0  # of what is continuous and seen
    for i in range(conditions):
        ll -= count * (density * (LOG_SQRT_2PI + math.log(L[i, i])) if i < continuous else LOG_SQRT_2PI)
    for r in range(count):
        cluster, q, own, c = ints[r * codes], r * width, r * sampled - continuous, r * codes
        for i in range(n):
            m, known = K[order[i], 0], min(i, conditions)
            for k in range(covariates):
                m += K[order[i], 1 + k] * floats[q + k]
            if back[order[i]] >= 0:
                m += f[cluster, back[order[i]]]
            for k in range(known):
                m += L[i, k] * e[k]
            e[i] = de[i] = 0.0
            if i < continuous:
                e[i] = (floats[q + covariates + i] - m) / L[i, i]
                ll -= 0.5 * density * e[i] * e[i]
            elif i < conditions:
                ll -= 0.5 * t[own + i] * t[own + i]
                e[i] = t[own + i]
            if cat[i] < 0:
                continue
            c += 1
            low, high = ints[c] > 0, ints[c] < last[cat[i]]
            alpha[i] = (cuts[cat[i], ints[c]] - m) / L[i, i] if low else 0.0
            beta[i] = (cuts[cat[i], ints[c] + 1] - m) / L[i, i] if high else 0.0
            log_p, below[i], above[i] = interval(links[cat[i]], alpha[i], beta[i], low, high, ends)
            ll += log_p
            if i < conditions:
                e[i], work[6, i], work[7, i], work[8, i] = inside(ends, t[own + i], log_p)
                if len(values) > 0:
                    values[own + i] = m + L[i, i] * e[i]
        for i in range(n - 1, -1, -1):
            if i < continuous:
                dm = (density * e[i] - de[i]) / L[i, i]
                dL[i, i] += dm * e[i] - density / L[i, i]
                if density == 0.0:
                    dfloats[q + covariates + i] = -dm
            else:
                seed = seeds[own + i] if i < conditions and len(seeds) > 0 else 0.0
                if i < conditions:
                    de[i] += seed * L[i, i]
                    dt[own + i] = (de[i] * work[8, i] if cat[i] >= 0 else de[i]) - t[own + i]
                if cat[i] < 0:
                    continue
                dalpha, dbeta = -below[i], above[i]
                if i < conditions:
                    dalpha += de[i] * work[6, i]
                    dbeta += de[i] * work[7, i]
                dm = seed - (dalpha + dbeta) / L[i, i]
                dL[i, i] += seed * e[i] - (dalpha * alpha[i] + dbeta * beta[i]) / L[i, i]
                dcuts[cat[i], ints[c]] += dalpha / L[i, i]
                dcuts[cat[i], ints[c] + 1] += dbeta / L[i, i]
                c -= 1
            for k in range(min(i, conditions)):
                dL[i, k] += dm * e[k]
                de[k] += dm * L[i, k]
            dK[order[i], 0] += dm
            for k in range(covariates):
                dK[order[i], 1 + k] += dm * floats[q + k]
            if back[order[i]] >= 0:
                df[cluster, back[order[i]]] += dm
    return ll
