"""Integrals over the abilities of persons who answered on two occasions.

    log L_j = log int int N((theta_0, theta_1); (mu_0j, mu_1j), Sigma) f_0(theta_0) f_1(theta_1) d theta_0 d theta_1,

Sigma of the SDs sigma_0, sigma_1 and the correlation r; f_t(theta) the probability of the responses on occasion t. Given theta_0,
theta_1 is normal about c = mu_1 + lambda (theta_0 - mu_0), lambda = r sigma_1 / sigma_0, with the SD s = sigma_1 (1 - r^2)^(1/2).
So on nodes theta_q and theta_k

    L_j = sum_q h_0 N(theta_q; mu_0, sigma_0^2) f_0(theta_q) S_q,   S_q = sum_k h_1 N(theta_k; c_q, s^2) f_1(theta_k):

every f is evaluated on the nodes of its own occasion, items never on pairs of nodes. Only nodes around the maximum of the
integrand, which is log-concave, are visited. S_q is the same for persons with equal responses after and equal means.

The error of the trapezoid rule in two dimensions is a sum over the frequencies (2 pi m / h_0, 2 pi n / h_1), (m, n) not zero. Moving
the integration of one of the abilities off the real line bounds each as in one dimension with the other ability given
(`category_integral.py`), so that the spacing of an occasion is that of a prior with the SD sigma_t (1 - r^2)^(1/2).

The grid covers all modes. In units of SDs from its mean, e_0 = sigma_0 G_0 + r sigma_1 G_1 and e_1 = r sigma_0 G_0 + sigma_1 G_1
at a mode, G_t the derivative of log f_t, which falls. Let e solve e = sigma_0 G_0(e) + sigma_1 G_1(e) with G_t that of the extreme
responses. Then e_0 <= e, or else e_1 < e and e_0 <= sigma_0 G_0(e) + |r| e <= (1 + |r|) e. Beyond a mode the normal density alone
falls with the SD sigma_t.

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

DROP = 21.0  # how far below its maximum the log of an integrand is negligible
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
def conditional(f, low, h, centre, sd, start, stop, top, out):
    """exp(f - g^2 / (2 sd^2) - top), g = theta - centre, of the nodes start .. stop - 1; its sum, and those with g and g^2."""
    zero, one, two = 0.0, 0.0, 0.0
    for k in range(start, stop):
        g = low + h * k - centre
        v = exp(f[k] - 0.5 * (g / sd) * (g / sd) - top)
        out[k - start] = v
        zero += v
        one += v * g
        two += v * g * g
    return zero, one, two


@njit(**OPTIONS)
def add_row(q, f, grid, centre, sd, near, rows, start, stop, stat):
    """Row q: the distribution of theta_1 given theta_0 = theta_q and the responses after, and log S_q.

    rows (row, node) has it from node start[q] to stop[q] - 1; stat: log S_q, E g, E g^2.
    """
    low, h, K = grid
    k, pull = near, h / (sd * sd)
    while k < K - 1 and f[k + 1] - f[k] > pull * (low + (k + 0.5) * h - centre):
        k += 1
    while k > 0 and f[k] - f[k - 1] < pull * (low + (k - 0.5) * h - centre):
        k -= 1
    a, b = k, k + 1
    z = (low + h * k - centre) / sd
    top = f[k] - 0.5 * z * z
    while a > 0:
        a = max(a - BLOCK, 0)
        z = (low + h * a - centre) / sd
        if f[a] - 0.5 * z * z < top - DROP:
            break
    while b < K:
        b = min(b + BLOCK, K)
        z = (low + h * (b - 1) - centre) / sd
        if f[b - 1] - 0.5 * z * z < top - DROP:
            break
    row = rows[q, : b - a]
    zero, one, two = conditional(f, low, h, centre, sd, a, b, top, row)
    for k in range(b - a):
        row[k] /= zero
    start[q], stop[q] = a, b
    stat[0, q] = top + math.log(zero * h / sd) - 0.5 * LOG_2PI
    stat[1, q], stat[2, q] = one / zero, two / zero


@njit(**OPTIONS)
def log_weight(q, f, before, after, grid, rows, start, stop, stat):
    """log of h_0 N(theta_q; mu_0, sigma_0^2) f_0 S_q but for a constant; before: low, h, mu_0, sigma_0; after: f, mu_1, lambda, s."""
    low, h, mu, sd = before
    f_after, mu_after, slope, sd_after = after
    d = low + h * q - mu
    if stop[q] == 0:
        centre = mu_after + slope * d
        near = min(max(int((centre - grid[0]) / grid[1]), 0), grid[2] - 1)
        for side in (q - 1, q + 1):
            if 0 <= side < len(stop) and stop[side] > 0:
                near = (start[side] + stop[side]) // 2
        add_row(q, f_after, grid, centre, sd_after, near, rows, start, stop, stat)
    return f[q] - 0.5 * (d / sd) * (d / sd) + stat[0, q]


@njit(**OPTIONS)
def posterior_before(f, near, before, after, grid, rows, start, stop, stat, w):
    """The distribution of theta_0 of a pair given all responses on nodes a .. b - 1, in w from a on: (a, b, log of the sum, mode)."""
    K, given = len(stop), (before, after, grid, rows, start, stop, stat)
    q = near
    w[q] = log_weight(q, f, *given)
    a, b = q, q + 1
    top = w[q]
    while b < K:  # up until negligible, wherever the mode is
        w[b] = log_weight(b, f, *given)
        b += 1
        if w[b - 1] > top:
            top, q = w[b - 1], b - 1
        elif w[b - 1] < top - DROP:
            break
    while a > 0:
        a -= 1
        w[a] = log_weight(a, f, *given)
        if w[a] > top:
            top, q = w[a], a
        elif w[a] < top - DROP:
            break
    while w[b - 1] < top - DROP and b - 1 > q:
        b -= 1
    return a, b, posterior(w[a:b]), q


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

