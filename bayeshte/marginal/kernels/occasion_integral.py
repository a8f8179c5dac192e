"""Integrals over the abilities of persons who answered on two occasions.

    log L_j = log int int N((theta_0, theta_1); (mu_0j, mu_1j), Sigma) f_0(theta_0) f_1(theta_1) d theta_0 d theta_1,

Sigma of the SDs sigma_0, sigma_1 and the correlation r; f_t(theta) the probability of the responses on occasion t. Given theta_0,
theta_1 is normal about c = mu_1 + lambda (theta_0 - mu_0), lambda = r sigma_1 / sigma_0, with the SD s = sigma_1 (1 - r^2)^(1/2).
So on nodes theta_q and theta_k

    L_j = sum_q h_0 N(theta_q; mu_0, sigma_0^2) f_0(theta_q) S_q,   S_q = sum_k h_1 N(theta_k; c_q, s^2) f_1(theta_k):

every f is evaluated on the nodes of its own occasion, items never on pairs of nodes. Only nodes around the maximum of the
integrand, which is log-concave, are visited. S_q is the same for persons with equal responses after and equal means.

The error of the trapezoid rule in two dimensions is a sum over the frequencies (2 pi m / h_0, 2 pi n / h_1), (m, n) not zero.
Moving the integration of one of the abilities off the real line bounds each as in one dimension with the other ability given
(`category_integral.py`), so that the spacing of an occasion is that of a prior with the SD sigma_t (1 - r^2)^(1/2).

The grid covers all modes. In units of SDs from its mean, e_0 = sigma_0 G_0 + r sigma_1 G_1 and e_1 = r sigma_0 G_0 + sigma_1 G_1
at a mode, G_t the derivative of log f_t, which falls. Let e solve e = sigma_0 G_0(e) + sigma_1 G_1(e) with G_t that of the
extreme responses. Then e_0 <= e, or else e_1 < e and e_0 <= sigma_0 G_0(e) + |r| e <= (1 + |r|) e. Beyond a mode the normal
density alone falls with the SD sigma_t.

Derivatives, with d = theta_0 - mu_0, g = theta_1 - c and expectations given the responses:

    d / d mu_0 = E d / sigma_0^2 - lambda E g / s^2,   d / d mu_1 = E g / s^2,   d / d lambda = E g d / s^2,
    d / d s = (E g^2 / s^2 - 1) / s,   d / d sigma_0 = (E d^2 / sigma_0^2 - 1) / sigma_0 with lambda and s as they are.

A half-unit is what persons with equal responses, means and cluster have on one occasion: a unit of `category_likelihood.py`.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.ability_integral import MOST_NODES
from bayeshte.marginal.kernels.categories import CUMULATIVE, extreme_score
from bayeshte.marginal.kernels.category_integral import LOG_2PI, TAIL, posterior, spacing, steepness_of_arm
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS, exp

DROP = 18.0  # how far below its maximum the log of an integrand is negligible
BLOCK = 4  # nodes by which a window grows


@njit(**OPTIONS)
def extreme_pull(model, e, sd, bounds, level, slope, tau, first):
    """sigma_0 G_0(e) + sigma_1 G_1(e) of the header. bounds: smallest and largest mean of each arm, NaN where nobody is."""
    form, link = model
    before, after = 0.0, 0.0
    for t in range(len(level)):
        if math.isnan(bounds[0, t]):
            continue
        s = sd[min(t, 1)]
        up = extreme_score(form, link, bounds[1, t] + e * s, level[t], slope, tau, first, True)
        down = extreme_score(form, link, bounds[0, t] - e * s, level[t], slope, tau, first, False)
        if t == 0:
            before = s * max(up, -down)
        else:
            after = max(after, s * max(up, -down))
    return before + after


@njit(**OPTIONS)
def reach(model, sd, bounds, level, slope, tau, first):
    """e of the header, or up to a quarter more."""
    near, far = 0.0, 1.0
    while far < 1e4 and extreme_pull(model, far, sd, bounds, level, slope, tau, first) > far:
        near, far = far, 2.0 * far
    while far - near > 0.25:
        e = 0.5 * (near + far)
        if extreme_pull(model, e, sd, bounds, level, slope, tau, first) > e:
            near = e
        else:
            far = e
    return far


@njit(**OPTIONS)
def mean_bounds(patterns, G, R, mu):
    """Smallest and largest mean of the half-units of every arm, NaN where there are none, and the first pattern of each."""
    arms, first_unit = patterns[:G], patterns[G : 2 * G + 1]
    bounds, begin, end = np.full((2, R), math.nan), np.zeros(R + 1, np.int64), 0
    for t in range(R):
        begin[t] = end
        while end < G and arms[end] == t:
            for u in range(first_unit[end], first_unit[end + 1]):
                bounds[0, t] = min(mu[u], bounds[0, t]) if bounds[0, t] == bounds[0, t] else mu[u]
                bounds[1, t] = max(mu[u], bounds[1, t]) if bounds[1, t] == bounds[1, t] else mu[u]
            end += 1
    begin[R] = end
    return bounds, begin


@njit(**OPTIONS)
def grids(model, sd, corr, bounds, begin, patterns, G, level, slope, tau, first, accuracy, low, h, K):
    """First node, distance and number of nodes of every arm; whether it can be done."""
    form, link = model
    first_item, items = patterns[2 * G + 1 : 3 * G + 2], patterns[3 * G + 2 :]
    e = reach(model, sd, bounds, level, slope, tau, first)
    far, own = (1.0 + abs(corr)) * e + TAIL, math.sqrt(1.0 - corr * corr)
    for t in range(len(level)):
        low[t], h[t], K[t] = 0.0, 1.0, 0
        if begin[t] == begin[t + 1]:
            continue
        s = sd[min(t, 1)]
        of_arm = begin[t], begin[t + 1], first_item, items
        steepest, most = steepness_of_arm(form, link, slope, tau, first, of_arm)
        if not (steepest < 1e6 and steepest > 1e-12 and own > 0.0):
            return False
        h[t] = spacing(link, s * own, most, steepest, accuracy)
        low[t] = bounds[0, t] - far * s
        nodes = (bounds[1, t] + far * s - low[t]) / h[t]
        if not nodes < MOST_NODES:
            return False
        K[t] = 2 + int(nodes)
    return True


@njit(**SUMS)
def log_responses(form, rows, score, table, low, h, K, f):
    """log P of the responses of a half-unit at all nodes: rows of the table of its answers, or the row of its pattern."""
    if form == CUMULATIVE:
        for k in range(K):
            f[k] = 0.0
        for e in range(len(rows)):
            row = table[rows[e] * K : rows[e] * K + K]
            for k in range(K):
                f[k] += row[k]
    else:
        row = table[rows[0] * K : rows[0] * K + K]
        for k in range(K):
            f[k] = score * (low + h * k) - row[k]


@njit(**SUMS)
def conditional(f, low, h, half, top, out):
    """exp(f - half g^2 - top) of nodes at the distances g = low, low + h, ...; its sum, and those with g and g^2."""
    zero, one, two = 0.0, 0.0, 0.0
    for k in range(len(out)):
        g = low + h * k
        v = exp(f[k] - half * g * g - top)
        out[k] = v
        zero += v
        one += v * g
        two += v * g * g
    return zero, one, two


@njit(inline="always")
def add_row(q, f, low, h, K, centre, sd, near, rows, start, stop, stat):
    """Row q: the distribution of theta_1 given theta_0 = theta_q and the responses after, and log S_q.

    rows (row, node) is in proportion to it from node start[q] to stop[q] - 1; stat: log S_q, E g, E g^2, 1 / sum of the row.
    """
    k, half, at = near, 0.5 / (sd * sd), low - centre
    pull = 2.0 * half * h
    while k < K - 1 and f[k + 1] - f[k] > pull * (at + (k + 0.5) * h):
        k += 1
    while k > 0 and f[k] - f[k - 1] < pull * (at + (k - 0.5) * h):
        k -= 1
    a, b, z = k, k + 1, at + h * k
    top = f[k] - half * z * z
    while a > 0:
        a = max(a - BLOCK, 0)
        z = at + h * a
        if f[a] - half * z * z < top - DROP:
            break
    while b < K:
        b = min(b + BLOCK, K)
        z = at + h * (b - 1)
        if f[b - 1] - half * z * z < top - DROP:
            break
    zero, one, two = conditional(f[a:b], at + h * a, h, half, top, rows[q, : b - a])
    start[q], stop[q], share = a, b, 1.0 / zero
    stat[0, q] = top + math.log(zero * h / sd) - 0.5 * LOG_2PI
    stat[1, q], stat[2, q], stat[3, q] = one * share, two * share, share


@njit(**OPTIONS)
def posterior_before(f, near, before, after, grid, rows, start, stop, stat, w):
    """Distribution of theta_0 of a pair given all responses on nodes a .. b - 1, in w from a on: (a, b, log of the sum, mode).

    The sum is that of N(theta_q; mu_0, sigma_0^2) f_0 S_q but for a constant. before: low, h, mu_0, sigma_0; after: log f_1,
    mu_1, lambda, s; grid of theta_1: low, h, number.
    """
    low_0, h_0, mu_0, sd_0 = before
    f_1, mu_1, slope, s = after
    low, h, K_1 = grid
    K, half = len(stop), 0.5 / (sd_0 * sd_0)
    mode, top, a, b = near, -math.inf, near, near
    for side in (1, -1):  # up, then down, until negligible, wherever the mode is
        q = near if side == 1 else near - 1
        while 0 <= q < K:
            d = low_0 + h_0 * q - mu_0
            if stop[q] == 0:
                centre = mu_1 + slope * d
                before_it = q - side
                if 0 <= before_it < K and stop[before_it] > 0:
                    k = (start[before_it] + stop[before_it]) // 2
                else:
                    k = min(max(int((centre - low) / h), 0), K_1 - 1)
                add_row(q, f_1, low, h, K_1, centre, s, k, rows, start, stop, stat)
            w[q] = f[q] - half * d * d + stat[0, q]
            a, b = min(a, q), max(b, q + 1)
            if w[q] > top:
                top, mode = w[q], q
            elif w[q] < top - DROP:
                break
            q += side
    while w[b - 1] < top - DROP and b - 1 > mode:
        b -= 1
    return a, b, posterior(w[a:b]), mode


@njit(**SUMS)
def moments_of_pair(w, first, last, low, h, mu, stat):
    """E d, E d^2, E g, E g^2, E g d of a pair."""
    d_, dd, g_, gg, gd = 0.0, 0.0, 0.0, 0.0, 0.0
    for q in range(first, last):
        d, p = low + h * q - mu, w[q]
        d_ += p * d
        dd += p * d * d
        g_ += p * stat[1, q]
        gg += p * stat[2, q]
        gd += p * d * stat[1, q]
    return d_, dd, g_, gg, gd
