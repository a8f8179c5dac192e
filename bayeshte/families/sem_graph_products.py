"""The joint graph of a structural equation model with products of two latent or modelled variables: rows, and clusters.

Of a pattern of missing values what descends from no product comes first, ``y_0``; members of products that have no value,
``_y_0_latent``, given that; then the variables that descend from products, ``y_0_explained``, given both: a product is a path
that differs between rows then, and the other latent variables are integrated.

Clusters are like rows, ``v_0`` their own variables. Their latent means come before what has values, ``_v_0_means`` and
``_v_0_means_explained``; all together they are ``cluster_mean``.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayeshte.marginal.matrices import Matrices
from bayeshte.marginal.structural_categorical import varying
from bayeshte.marginal.structural_products import Split, regressors
from bayeshte.marginal.sufficient import Data

EXPLAINED = "_explained"


def add_products(m: Matrices, t, moments: Sequence[tuple], data: Data, pieces: Iterable[tuple], b=None) -> None:
    """The variables of all rows.

    Parameters
    ----------
    t : tensor
        1 and the parameters.
    moments : sequence of tuple
        By context S, K of h (see marginal/structural_products.py), B and c of the variables that descend from products.
    pieces : iterable of (str, ndarray, ndarray)
        Name, rows and columns seen of every pattern of missing values.
    b : tensor (cluster, M), optional
        Parts of the clusters.
    """
    split = Split.of(m)
    q = regressors(data)
    for name, rows, seen in pieces:
        plan = split.plan(np.isin(np.arange(m.within), seen))
        S, K, B, c = moments[data.context[rows[0]] if b is None else 0]
        mean, part = q[rows] @ K.T, pt.zeros((len(rows), m.size)) if b is None else b[data.code[rows]]
        known = _Known(mean, S)
        if plan.seen:
            own = list(plan.seen)
            centre, cov = known.given(own)
            y = pm.MvNormal(name, centre + part[:, own], cov=cov, observed=data.Y[np.ix_(rows, own)])
            known = known.add(own, y - part[:, own])
        if plan.sampled:
            own = list(plan.sampled)
            centre, cov = known.given(own)
            known = known.add(own, pm.MvNormal(f"_{name}_latent", centre, cov=cov))
        if plan.explained:
            own = list(plan.explained)
            centre, cov = _explained(m, t, split, own, known, (B, q[rows] @ c.T))
            pm.MvNormal(name + EXPLAINED, centre + part[:, own], cov=cov, observed=data.Y[np.ix_(rows, own)])


def add_clusters(m: Matrices, t, moments: Sequence[tuple], data: Data, pieces: Iterable[tuple]):
    """The variables of all clusters, as `add_products` has those of rows; their latent means b (cluster, M)."""
    split, q, parts = Split.of(m, 1), regressors(data, 1), varying(m).tolist()
    b = pt.zeros((len(q), m.size))
    for name, rows, seen in pieces:
        plan = split.plan(np.isin(np.arange(m.size), m.within + seen), parts)
        S, K, B, c = moments[data.context[rows[0]]]
        known = _Known(q[rows] @ K.T, S)
        if own := [v for v in plan.sampled if v in parts]:
            centre, cov = known.given(own)
            known = known.add(own, pm.MvNormal(f"_{name}_means", centre, cov=cov, method="svd"))
            b = pt.set_subtensor(b[rows[:, None], own], known.values(own))
        if plan.seen:
            own = list(plan.seen)
            centre, cov = known.given(own)
            known = known.add(own, pm.MvNormal(name, centre, cov=cov, observed=_own(m, data, rows, own)))
        if own := [v for v in plan.sampled if v not in parts]:
            centre, cov = known.given(own)
            known = known.add(own, pm.MvNormal(f"_{name}_latent", centre, cov=cov))
        first, own = list(plan.parts), list(plan.explained)
        if not first and not own:
            continue
        centre, V = _explained(m, t, split, first + own, known, (B, q[rows] @ c.T))
        k = len(first)
        if first:
            value = pm.MvNormal(f"_{name}_means{EXPLAINED}", centre[:, :k], cov=V[:, :k, :k], method="svd")
            b = pt.set_subtensor(b[rows[:, None], first], value)
        if own:
            to = pt.linalg.solve(V[:, :k, :k], V[:, :k, k:]) if first else pt.zeros((len(rows), 0, len(own)))
            if first:
                centre = pt.inc_subtensor(centre[:, k:], ((value - centre[:, :k])[:, :, None] * to).sum(1))
            cov = V[:, k:, k:] - V[:, k:, :k] @ to if first else V
            pm.MvNormal(name + EXPLAINED, centre[:, k:], cov=cov, observed=_own(m, data, rows, own))
    return b


def _own(m: Matrices, data: Data, rows: np.ndarray, which: Sequence[int]) -> np.ndarray:
    """Values of clusters' own variables."""
    return data.V[np.ix_(rows, np.array(which) - m.within)]


class _Known:
    """Variables that are known, of normal ones with these means (row, M) and covariances S."""

    def __init__(self, mean, S, which=(), deviation=None):
        self.mean, self.S, self.which = mean, S, list(which)
        self.deviation = pt.zeros((mean.shape[0], 0)) if deviation is None else deviation

    def add(self, which: list[int], values) -> "_Known":
        """With further ones, which have these values (row, .)."""
        deviation = pt.concatenate([self.deviation, values - self.mean[:, which]], axis=1)
        return _Known(self.mean, self.S, self.which + which, deviation)

    def values(self, which: list[int]):
        """Values (row, .) of some of them."""
        return self.mean[:, which] + self.deviation[:, [self.which.index(v) for v in which]]

    def given(self, target: list[int]):
        """Mean (row, target) and covariance of others given these."""
        if not self.which:
            return self.mean[:, target], self.S[target][:, target]
        across = self.S[self.which][:, target]
        to = pt.linalg.solve(self.S[self.which][:, self.which], across)
        return self.mean[:, target] + self.deviation @ to, self.S[target][:, target] - across.T @ to


def _explained(m: Matrices, t, split: Split, which: list[int], known: _Known, equations):
    """Mean (row, d) and covariance (row, d, d) of these of the variables that descend from products.

    equations : B, and c q (row, M).
    """
    (mean, P), (B, constant) = known.given(list(split.states)), equations
    place = {v: k for k, v in enumerate(split.states)}
    unit = np.eye(len(place))
    centre = {v: mean[:, place[v]] for v in split.inputs}
    T = {v: pt.tile(unit[place[v]], (mean.shape[0], 1)) for v in split.states}
    for v in split.down:
        centre[v] = constant[:, v] + mean[:, place[v]]
        at = split.level + m.levels
        paths = {e.column: B[v, e.column] for e in split.m.entries if (e.level, e.matrix, e.row) == (at, "beta", v)}
        for p in (p for p in m.products if (p.level, p.row) == (split.level, v)):
            b = p.coef * (t[p.factors[0]] if p.factors else 1.0)
            paths[p.other] = paths.get(p.other, 0.0) + b * known.values([p.known])[:, 0]
        for cause, path in paths.items():
            centre[v] += path * centre[cause]
            T[v] += pt.as_tensor(path)[..., None] * T[cause]
    T = pt.stack([T[v] for v in which], axis=1)
    return pt.stack([centre[v] for v in which], axis=1), T @ P @ T.mT
