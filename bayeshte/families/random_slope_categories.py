"""Probabilities of ordered categories in a PyMC graph.

`pm.OrderedProbit` has the square root of two in single precision (PyMC 6.4), and `pm.OrderedLogistic` takes the probability of a
high category as a difference of numbers near one. Here both are in double precision, from the tails that are the smaller.
"""

import numpy as np
import pytensor.tensor as pt


def probabilities(eta, width, link: str):
    """P(y = 0), ..., P(y = K - 1) of every row, (row, K): thresholds at 0, width_1, width_1 + width_2, ..."""
    tau = pt.concatenate([pt.zeros(1), pt.cumsum(width)])
    above, below = _cdf(eta[:, None] - tau, link), _cdf(tau - eta[:, None], link)
    left, right = above[:, :-1] - above[:, 1:], below[:, 1:] - below[:, :-1]
    inner = pt.switch(pt.lt(above[:, :-1], below[:, 1:]), left, right)
    return pt.concatenate([below[:, :1], inner, above[:, -1:]], axis=1)


def _cdf(x, link: str):
    return pt.sigmoid(x) if link == "logit" else 0.5 * pt.erfc(-x / np.sqrt(2))
