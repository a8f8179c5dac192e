"""Log-likelihood of rows in ordered categories 0, ..., K - 1 (McCullagh, 1980), F logistic or normal:

    P(y >= k) = F(x_k),   x_k = eta - tau_k,   tau_1 = 0,   tau_k+1 = tau_k + width_k,

with the widths of the K - 2 categories that have a threshold on either side. P(y = k) = F(x_k) - F(x_k+1) is taken from the tails
that are the smaller. With h_k = f(x_k) / P(y = k), the derivative in x_k is h_k and that in x_k+1 is -f(x_k+1) / P(y = k). A row
stands for n equal ones.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import INV_SQRT_2PI, PROBIT, TAIL_EVEN, TAIL_ODD, exp, log1p, polynomial

LOG_INV_SQRT_2PI = math.log(INV_SQRT_2PI)


@njit(**OPTIONS)
def tails(link, x):
    """log F(x), log F(-x) and log f(x)."""
    z = abs(x)
    if link == PROBIT:
        v = 6.0 / (3.0 + z) - 1.0
        rare = polynomial(TAIL_EVEN, v * v) + v * polynomial(TAIL_ODD, v * v) - 0.5 * z * z - log1p(z / 3.0)
        common = log1p(-exp(rare))
        density = LOG_INV_SQRT_2PI - 0.5 * z * z
    else:
        common = -log1p(exp(-z))
        rare = common - z
        density = common + rare
    return (common, rare, density) if x > 0.0 else (rare, common, density)


@njit(**OPTIONS)
def ordered_rows(link, eta, n, category, width, score, dshape):
    """The sum of the rows and the score in eta of each; adds the derivatives in the widths to dshape."""
    thresholds = len(width) + 1
    tau, dtau = np.zeros(thresholds + 1), np.zeros(thresholds + 1)
    for k in range(2, thresholds + 1):
        tau[k] = tau[k - 1] + width[k - 2]
    ll = 0.0
    for i in range(len(eta)):
        k, below, above = int(category[i]), 0.0, 0.0
        if k == 0:
            _, log_p, density = tails(link, eta[i] - tau[1])
            above = -math.exp(density - log_p)
        elif k == thresholds:
            log_p, _, density = tails(link, eta[i] - tau[k])
            below = math.exp(density - log_p)
        else:
            left, left_up, density = tails(link, eta[i] - tau[k])
            right, right_up, density_above = tails(link, eta[i] - tau[k + 1])
            large, small = (right_up, left_up) if right_up < left else (left, right)
            log_p = large + math.log(-math.expm1(small - large))
            below, above = math.exp(density - log_p), -math.exp(density_above - log_p)
        ll += n[i] * log_p
        score[i] = n[i] * (below + above)
        dtau[k] -= n[i] * below
        if k < thresholds:
            dtau[k + 1] -= n[i] * above
    total = 0.0
    for k in range(thresholds, 1, -1):
        total += dtau[k]
        dshape[k - 2] += total
    return ll
