"""Structural equation models with products of two variables of a level: tables of rows and of clusters, moments.

The model of one level and its likelihood are those of kernels/structural_products.py; two levels have their density in
cluster_products.py. With h = (variables u that descend from no product, residuals of the others) ~ N(mu, S), mu = K q, and
members of products among u, all variables of a level are

    f = A (h + c q + G p),   A = (I - B)^-1,   p_k = h_i h_j,

B and c those of the variables that descend from products, G the coefficients of these. So with Isserlis (1918)

    E p_k = mu_i mu_j + S_ij,   Cov(p_k, h_l) = mu_i S_jl + mu_j S_il,
    Cov(p_k, p_k') = S_ii' S_jj' + S_ij' S_ji' + mu_i mu_i' S_jj' + mu_i mu_j' S_ji' + mu_j mu_i' S_ij' + mu_j mu_j' S_ii'.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from bayeshte.marginal import structural
from bayeshte.marginal.density import Density, Output, precondition
from bayeshte.marginal.matrices import Matrices, cells, moments
from bayeshte.marginal.structural_draws import normal_noise
from bayeshte.marginal.sufficient import NOTHING, Data
from bayeshte.prior import Prior


@dataclass(frozen=True)
class Plan:
    """How rows, or clusters, with one pattern of values are taken, as variables of their level.

    seen : that descend from no product and have values; sampled : those that are known by coordinates: parts of clusters, members
    of products; explained : those with values that descend from products; parts : of clusters that do.
    """

    seen: tuple[int, ...]
    sampled: tuple[int, ...]
    explained: tuple[int, ...]
    parts: tuple[int, ...] = ()

    @property
    def known(self) -> tuple[int, ...]:
        return self.seen + self.sampled


@dataclass(frozen=True)
class Split:
    """Variables of a level by what they have to do with products.

    m : the matrices, with `down`'s equations apart, on levels behind those of all else; level; down : variables that descend from
    products, causes first; inputs : others with a path to one of these; known : members of products whose values are known.
    """

    m: Matrices
    level: int
    down: tuple[int, ...]
    inputs: tuple[int, ...]
    known: tuple[int, ...]

    @classmethod
    def of(cls, m: Matrices, level: int = 0) -> "Split":
        downs = [descendants(m, k) for k in range(m.levels)]
        own = [p for p in m.products if p.level == level]
        apart = [
            replace(e, level=e.level + m.levels) if e.matrix != "psi" and e.row in downs[e.level] else e
            for e in m.entries
        ]
        into = {e.column for e in apart if e.level == level + m.levels and e.matrix == "beta"} | {p.other for p in own}
        return cls(
            replace(m, levels=2 * m.levels, order=(*m.order, *m.order), entries=tuple(apart), products=()),
            level,
            tuple(v for v in m.order[level] if v in downs[level]),
            tuple(sorted(into - downs[level])),
            tuple(sorted({p.known for p in own})),
        )

    @property
    def states(self) -> tuple[int, ...]:
        """Inputs, then residuals of `down`."""
        return self.inputs + self.down

    def plan(self, there: np.ndarray, parts: Collection[int] = ()) -> Plan:
        """What is done with units of which these variables (bool) have values, and `parts` do not but are asked for."""
        seen = [int(v) for v in np.flatnonzero(there)]
        explained, own = tuple(v for v in seen if v in self.down), tuple(v for v in parts if v in self.down)
        up = tuple(v for v in seen if v not in self.down)
        sampled = tuple(v for v in parts if v not in self.down)
        if explained or own:
            sampled += tuple(v for v in self.known if v not in up + sampled)
        return Plan(up, sampled, explained, own)


def descendants(m: Matrices, level: int) -> set[int]:
    """Variables of a level with products in their equations, and those that paths, loadings and products lead to from there."""
    own = [p for p in m.products if p.level == level]
    steps = [(e.column, e.row) for e in m.entries if e.matrix == "beta" and e.level == level]
    steps += [(v, p.row) for p in own for v in (p.known, p.other)]
    found = {p.row for p in own}
    while new := {to for by, to in steps if by in found} - found:
        found |= new
    return found


# ---------------------------------------------------------------------------------------------- the kernel's tables


def density(
    m: Matrices,
    data: Data,
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    start: np.ndarray,
    unit: np.ndarray,
) -> Density:
    """The density in coordinates around the mode at which members of products are what is expected given what is seen.

    Arguments as those of `structural.density`.
    """
    from bayeshte.marginal.kernels import structural_products as kernel

    split = Split.of(m)
    ints, floats, constant = structural.lists(split.m, NOTHING, priors, signed, blocks)
    units = [*runs(split, data)]
    row_ints, row_floats = unit_tables(m, split, units, (data.X, data.Y, np.zeros(len(data.Y), int)))
    sampled = sum(len(rows) * len(plan.sampled) for _, plan, rows in units)
    floats[0] = [constant]
    d = m.scalars + m.correlations
    made = Density(
        kernel.log_density_c,
        kernel.expand_c,
        np.concatenate([np.asarray(ints, np.int64), row_ints]),
        np.concatenate([*(np.asarray(x, float) for x in floats), row_floats]),
        d + sampled,
        outputs,
        at=1 + 4 * m.scalars + len(m.blocks),
        n_top=d,
    )
    return precondition(made, start, unit)


def runs(split: Split, data: Data) -> Iterator[tuple[int, Plan, np.ndarray]]:
    """Context, plan and rows of the data that have both in common; rows without any value are left out."""
    there, contexts = ~np.isnan(data.Y), data.context if data.code is None else np.zeros(len(data.Y), int)
    key = np.column_stack([contexts, there])
    order = np.lexsort(key.T[::-1])
    changed = (key[order][1:] != key[order][:-1]).any(1)
    bounds = np.flatnonzero(np.r_[True, changed, True])
    for first, last in pairwise(bounds):
        rows = order[first:last]
        if there[rows[0]].any():
            yield int(contexts[rows[0]]), split.plan(there[rows[0]]), rows


def equations(m: Matrices, split: Split) -> tuple[np.ndarray, ...]:
    """Of the kernel's tables sizes, variables of states, paths, products; coefficients of the latter."""
    states, inputs, down = list(split.states), len(split.inputs), list(split.down)
    own = [p for p in m.products if p.level == split.level]
    pairs = {(e.row, e.column) for e in m.entries if e.matrix == "beta" and e.level == split.level and e.row in down}
    pairs |= {(p.row, p.other) for p in own}
    paths = sorted((down.index(row), states.index(column)) for row, column in pairs)
    products = [
        [
            paths.index((down.index(p.row), states.index(p.other))),
            split.known.index(p.known),
            p.factors[0] if p.factors else 0,
        ]
        for p in own
    ]
    sizes = np.array([len(states), inputs, len(paths), len(products), len(split.known)], np.int64)
    coef = np.array([p.coef for p in own], float)
    tables = (np.array(x, np.int64) for x in (states, np.reshape(paths, (-1, 2)), np.reshape(products, (-1, 3))))
    return sizes, *tables, coef


def pattern(m: Matrices, split: Split, plan: Plan) -> list[int]:
    """A pattern as the kernel knows it."""
    room = [0] * (m.size - len(plan.known))
    places = [plan.known.index(v) if v in plan.known else 0 for v in split.known]
    down = [split.down.index(v) for v in plan.explained + plan.parts]
    row = [len(plan.seen), len(plan.known), len(plan.explained), len(down), *plan.known, *room, *places]
    return [*row, *down, *[0] * (m.size - len(down))]


def values(X: np.ndarray, Y: np.ndarray, plan: Plan, mine: np.ndarray) -> np.ndarray:
    """Covariates, values of what descends from no product, and of the rest, (unit, .)."""
    return np.column_stack([X[mine], Y[np.ix_(mine, plan.seen)], Y[np.ix_(mine, plan.explained)]])


def unit_tables(
    m: Matrices, split: Split, units: Sequence[tuple[int, Plan, np.ndarray]], data: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Tables of rows or of clusters, ints and floats.

    Parameters
    ----------
    units : sequence of (int, Plan, ndarray)
        Context, plan and numbers of those that have both in common.
    data : sequence of ndarray
        Covariates (unit, .), values of the variables (unit, .), and cluster (unit,), of all units.
    """
    sizes, states, paths, products, coef = equations(m, split)
    plans: dict[Plan, int] = {}
    table, numbers, codes = [], [coef], []
    for context, plan, mine in units:
        table += [context, plans.setdefault(plan, len(plans)), len(mine)]
        numbers.append(values(*data[:2], plan, mine).ravel())
        codes.append(data[2][mine])
    ints = [*sizes, len(plans), len(table) // 3, *states, *paths.ravel(), *products.ravel()]
    ints += [i for plan in plans for i in pattern(m, split, plan)]
    return np.array([*ints, *table, *(c for some in codes for c in some)], np.int64), np.concatenate(numbers)


# ---------------------------------------------------------------------------------------------- moments


@dataclass(frozen=True)
class Law:
    """The distribution of all variables of a level in a context, for many draws; see the module's docstring.

    S (draw, M, M), K (draw, M, Q); A (draw, M, M), c (draw, M, Q); G (draw, M, product); pairs (product, 2).
    """

    S: np.ndarray
    K: np.ndarray
    A: np.ndarray
    c: np.ndarray
    G: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, m: Matrices, t: np.ndarray, context: int = 0, level: int = 0) -> "Law":
        """At draws t (draw, scalars + correlations)."""
        split, own = Split.of(m, level), [p for p in m.products if p.level == level]
        S, K = moments(split.m, t, level, context)
        _, B, c = cells(split.m, t, level + m.levels, context)
        G, full = np.zeros((len(t), m.size, len(own))), np.column_stack([np.ones(len(t)), t])
        for k, p in enumerate(own):
            G[:, p.row, k] = p.coef * full[:, list(p.factors)].prod(1)
        pairs = np.array([(p.known, p.other) for p in own], int).reshape(-1, 2)
        return cls(S, K, np.linalg.inv(np.eye(m.size) - B), c, G, pairs)

    def mean(self, q: np.ndarray) -> np.ndarray:
        """E f (draw, row, M) for regressors q (row, Q)."""
        mu = q @ self.K.swapaxes(-1, -2)
        i, j = self.pairs.T
        p = mu[..., i] * mu[..., j] + self.S[:, None, i, j]
        return (mu + q @ self.c.swapaxes(-1, -2) + p @ self.G.swapaxes(-1, -2)) @ self.A.swapaxes(-1, -2)

    def covariance(self, q: np.ndarray) -> np.ndarray:
        """Cov f given the regressors, averaged over rows with q (row, Q): (draw, M, M)."""
        i, j = self.pairs.T
        mu = self.K @ q.mean(0)
        second = self.K @ (q.T @ q / len(q)) @ self.K.swapaxes(-1, -2)
        across = mu[:, i, None] * self.S[:, j] + mu[:, j, None] * self.S[:, i]
        own = sum(
            (self.S[:, a[:, None], b] + second[:, a[:, None], b]) * self.S[:, c[:, None], d]
            for a, c, b, d in ((i, j, i, j), (i, j, j, i))
        )
        own = own + sum(
            second[:, a[:, None], b] * self.S[:, c[:, None], d] for a, c, b, d in ((j, i, i, j), (j, i, j, i))
        )
        both = self.G @ across
        V = self.S + both + both.swapaxes(-1, -2) + self.G @ own @ self.G.swapaxes(-1, -2)
        return self.A @ V @ self.A.swapaxes(-1, -2)

    def third(self) -> np.ndarray:
        """Third cumulants of f_d with two of h, (draw, M, M, M)."""
        i, j = self.pairs.T
        p = self.S[:, i, :, None] * self.S[:, j, None, :]
        return np.einsum("sdm,smk,skln->sdln", self.A, self.G, p + p.swapaxes(-1, -2))

    def draw(self, q: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """f (draw, row, M) for regressors q (row, Q)."""
        i, j = self.pairs.T
        h = q @ self.K.swapaxes(-1, -2) + normal_noise(self.S, len(q), rng)
        p = h[..., i] * h[..., j]
        return (h + q @ self.c.swapaxes(-1, -2) + p @ self.G.swapaxes(-1, -2)) @ self.A.swapaxes(-1, -2)


def regressors(data: Data, level: int = 0) -> np.ndarray:
    """(unit, Q): a constant and the covariates of rows, or on the second level of clusters; those of the other level are 0."""
    own = (data.X, data.Z)[level]
    q, first = np.zeros((len(own), data.regressors)), level * (1 + data.X.shape[1])
    q[:, first : first + 1 + own.shape[1]] = np.column_stack([np.ones(len(own)), own])
    return q
