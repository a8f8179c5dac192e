"""Trials of item responses drawn by NumPy from the equations, for the tests of their analyses."""

import numpy as np
import pandas as pd
from scipy.special import expit

ROLES = dict(person="child", item="word", response="right", treatment="arm", reference="control")


def trial(seed, persons, items, sigma_zeta, rho=0.0, sigma_b=1.2, missing=0.0):
    """Long responses of two arms with a pretest that goes with the ability and does not change the effect."""
    rng = np.random.default_rng(seed)
    T, pretest = np.arange(persons) % 2, rng.normal(size=persons)
    cov = rho * sigma_b * sigma_zeta
    u = rng.multivariate_normal([0, 0], [[sigma_b**2, cov], [cov, sigma_zeta**2]], size=items)
    theta = 0.2 + 0.4 * T + 0.8 * pretest + 0.8 * rng.normal(size=persons)
    chance = expit(theta[:, None] + u[:, 0] + u[:, 1] * T[:, None])
    y = (rng.random(chance.shape) < chance).astype(int)
    child, word = np.indices(y.shape).reshape(2, -1)
    data = pd.DataFrame(
        {
            "child": child,
            "word": [f"w{k:02d}" for k in word],
            "right": y.ravel(),
            "arm": np.where(T == 1, "drug", "control")[child],
            "pretest": pretest[child],
        }
    )
    return data[rng.random(len(data)) >= missing]
