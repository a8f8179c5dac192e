"""Responses of persons in two arms to items, with abilities that a pretest explains, for the tests of ItemResponse."""

import numpy as np
import pandas as pd
from scipy.special import expit

import bayeshte as bh

ROLES = dict(person="child", item="word", response="right", treatment="arm", reference="control")


def trial(seed=0, persons=60, items=6, sigma=1.0, rho=0.5, interaction=0.0, missing=0.0, sigma_zeta=0.5):
    """Responses of persons in two arms to items, drawn by NumPy from the equations, and the effects of the items (item, 2)."""
    rng = np.random.default_rng(seed)
    T, pretest = np.arange(persons) % 2, rng.normal(size=persons)
    cov = rho * 1.2 * sigma_zeta
    u = rng.multivariate_normal([0, 0], [[1.44, cov], [cov, sigma_zeta**2]], size=items)
    theta = 0.2 + 0.4 * T + 0.6 * pretest + interaction * T * pretest + sigma * rng.normal(size=persons)
    chance = expit(theta[:, None] + u[:, 0] + u[:, 1] * T[:, None])
    y = (rng.random(chance.shape) < chance).astype(int)
    child, word = np.indices(y.shape).reshape(2, -1)
    data = pd.DataFrame(
        {
            "child": [f"c{k}" for k in child],
            "word": [f"w{k}" for k in word],
            "right": y.ravel(),
            "arm": np.where(T == 1, "drug", "control")[child],
            "pretest": pretest[child],
            "age": np.round(6 + pretest)[child],
        }
    )
    data = data[rng.random(len(data)) >= missing]
    return data, u


SPECS = {
    "A": bh.ItemResponse(**ROLES),
    "B": bh.ItemResponse(**ROLES, moderators="pretest", item_effects=False),
    "C": bh.ItemResponse(**ROLES, covariates="age", moderators="pretest"),
    "odd priors": bh.ItemResponse(
        **ROLES,
        covariates="pretest",
        priors={
            "beta1": bh.Uniform(-5, 5),
            "sigma_b": bh.Gamma(2, 1),
            "sigma_zeta": bh.Exponential(2),
            "sigma_theta": bh.LogNormal(0, 1),
            "rho": bh.LKJ(1),
        },
    ),
}
