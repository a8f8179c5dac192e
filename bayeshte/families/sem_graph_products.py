"""Rows of the joint graph of a structural equation model with products of two latent or modelled variables.

Of a pattern of missing values what descends from no product comes first, ``y_0``; members of products that have no value,
``_y_0_latent``, given that; then the variables that descend from products, ``y_0_explained``, given both: a product is a path
that differs between rows then, and the other latent variables are integrated.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayeshte.marginal.matrices import Matrices
from bayeshte.marginal.structural_products import Plan, Split, regressors
from bayeshte.marginal.sufficient import Data

EXPLAINED = "_explained"


def add_products(m: Matrices, t, moments: Sequence[tuple], data: Data, pieces: Iterable[tuple]) -> None:
    """The variables of all rows.

    Parameters
    ----------
    t : tensor
        1 and the parameters.
    moments : sequence of tuple
        By context S, K of h (see marginal/structural_products.py), B and c of the variables that descend from products.
    pieces : iterable of (str, ndarray, ndarray)
        Name, rows and columns seen of every pattern of missing values.
    """
    split = Split.of(m)
    q = regressors(data)
    for name, rows, seen in pieces:
        plan = split.plan(np.isin(np.arange(m.within), seen))
        S, K, B, c = moments[data.context[rows[0]]]
        mean = q[rows] @ K.T
        deviation, values = pt.zeros((len(rows), 0)), {}
        if plan.seen:
            own, centre = list(plan.seen), mean[:, list(plan.seen)]
            y = pm.MvNormal(name, centre, cov=S[own][:, own], observed=data.Y[np.ix_(rows, own)])
            deviation = y - centre
            values |= {v: y[:, k] for k, v in enumerate(own)}
        if plan.sampled:
            own = list(plan.sampled)
            centre, cov = _given(mean, S, own, list(plan.seen), deviation)
            z = pm.MvNormal(f"_{name}_latent", centre, cov=cov)
            deviation = pt.concatenate([deviation, z - mean[:, own]], axis=1)
            values |= {v: z[:, k] for k, v in enumerate(own)}
        if plan.explained:
            states = _given(mean, S, list(split.states), list(plan.known), deviation)
            centre, cov = _explained(m, t, split, plan, states, (B, q[rows] @ c.T), values)
            pm.MvNormal(f"{name}{EXPLAINED}", centre, cov=cov, observed=data.Y[np.ix_(rows, plan.explained)])


def _given(mean, S, target: list[int], known: list[int], deviation):
    """Mean (row, target) and covariance of variables given those that deviate from their means by `deviation` (row, known)."""
    if not known:
        return mean[:, target], S[target][:, target]
    to = pt.linalg.solve(S[known][:, known], S[known][:, target])
    return mean[:, target] + deviation @ to, S[target][:, target] - S[target][:, known] @ to


def _explained(m: Matrices, t, split: Split, plan: Plan, states, equations, values):
    """Mean (row, d) and covariance (row, d, d) of what is seen of the variables that descend from products.

    states : mean and covariance of the inputs and residuals; equations : B, and c q (row, M); values : of members of products.
    """
    (mean, P), (B, constant) = states, equations
    place = {v: k for k, v in enumerate(split.states)}
    unit = np.eye(len(place))
    centre = {v: mean[:, place[v]] for v in split.inputs}
    T = {v: pt.tile(unit[place[v]], (mean.shape[0], 1)) for v in split.states}
    for v in split.down:
        centre[v] = constant[:, v] + mean[:, place[v]]
        paths = {e.column: B[v, e.column] for e in split.m.entries if (e.level, e.matrix, e.row) == (1, "beta", v)}
        for p in (p for p in m.products if p.row == v):
            b = p.coef * (t[p.factors[0]] if p.factors else 1.0)
            paths[p.other] = paths.get(p.other, 0.0) + b * values[p.known]
        for cause, path in paths.items():
            centre[v] += path * centre[cause]
            T[v] += pt.as_tensor(path)[..., None] * T[cause]
    T = pt.stack([T[v] for v in plan.explained], axis=1)
    return pt.stack([centre[v] for v in plan.explained], axis=1), T @ P @ T.mT
