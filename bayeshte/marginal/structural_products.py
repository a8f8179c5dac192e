"""Structural equation models of one level with products of two variables of a row: tables of the kernel, moments.

The model and its likelihood are those of kernels/structural_products.py. With h = (variables u that descend from no product,
residuals of the others) ~ N(mu, S), mu = K q, and members of products among u, all variables are

    f = A (h + c q + G p),   A = (I - B)^-1,   p_k = h_i h_j,

B and c those of the variables that descend from products, G the coefficients of these. So with Isserlis (1918)

    E p_k = mu_i mu_j + S_ij,   Cov(p_k, h_l) = mu_i S_jl + mu_j S_il,
    Cov(p_k, p_k') = S_ii' S_jj' + S_ij' S_ji' + mu_i mu_i' S_jj' + mu_i mu_j' S_ji' + mu_j mu_i' S_ij' + mu_j mu_j' S_ii'.
"""

from collections.abc import Iterator, Sequence
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
    """How rows with one pattern of missing values are taken, as variables of the level.

    seen : that descend from no product and have values; sampled : members of products that are known by coordinates;
    explained : those with values that descend from products.
    """

    seen: tuple[int, ...]
    sampled: tuple[int, ...]
    explained: tuple[int, ...]

    @property
    def known(self) -> tuple[int, ...]:
        return self.seen + self.sampled


@dataclass(frozen=True)
class Split:
    """Variables by what they have to do with products; `m` are the matrices as two levels, the second with `down`'s equations.

    down : variables that descend from products, causes first; inputs : others with a path to one of these; known : members of
    products whose values rows have.
    """

    m: Matrices
    down: tuple[int, ...]
    inputs: tuple[int, ...]
    known: tuple[int, ...]

    @classmethod
    def of(cls, m: Matrices) -> "Split":
        down = descendants(m, {p.row for p in m.products})
        there = [e for e in m.entries if e.matrix != "psi" and e.row in down]
        into = {e.column for e in there if e.matrix == "beta"} | {p.other for p in m.products}
        entries = [replace(e, level=1) if e.matrix != "psi" and e.row in down else e for e in m.entries]
        order = [v for v in m.order[0][: m.active] if v in down]
        return cls(
            replace(m, levels=2, order=(m.order[0], m.order[0]), entries=tuple(entries), products=()),
            tuple(order),
            tuple(sorted(into - down)),
            tuple(sorted({p.known for p in m.products})),
        )

    @property
    def states(self) -> tuple[int, ...]:
        """Inputs, then residuals of `down`."""
        return self.inputs + self.down

    def plan(self, there: np.ndarray) -> Plan:
        """What is done with rows of which these variables within (bool) have values."""
        seen = [int(v) for v in np.flatnonzero(there)]
        explained = tuple(v for v in seen if v in self.down)
        up = tuple(v for v in seen if v not in self.down)
        return Plan(up, tuple(v for v in self.known if v not in up) if explained else (), explained)


def descendants(m: Matrices, of: set[int]) -> set[int]:
    """Variables `of`, and those that paths, loadings and products lead to from there."""
    steps = [(e.column, e.row) for e in m.entries if e.matrix == "beta"]
    steps += [(v, p.row) for p in m.products for v in (p.known, p.other)]
    found = set(of)
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
    split = Split.of(m)
    ints, floats, constant = structural.lists(split.m, NOTHING, priors, signed, blocks)
    row_ints, row_floats, sampled = _rows(m, split, data)
    return precondition(
        _density(m, ints, [[constant], *floats[1:]], row_ints, row_floats, sampled, outputs), start, unit
    )


def _density(m: Matrices, ints, floats, row_ints, row_floats, sampled: int, outputs) -> Density:
    from bayeshte.marginal.kernels import structural_products as kernel

    d = m.scalars + m.correlations
    return Density(
        kernel.log_density_c,
        kernel.expand_c,
        np.concatenate([np.asarray(ints, np.int64), row_ints]),
        np.concatenate([*(np.asarray(x, float) for x in floats), row_floats]),
        d + sampled,
        outputs,
        at=1 + 4 * m.scalars + len(m.blocks),
        n_top=d,
    )


def runs(split: Split, data: Data) -> Iterator[tuple[int, Plan, np.ndarray]]:
    """Context, plan and rows of the data that have both in common; rows without any value are left out."""
    there = ~np.isnan(data.Y)
    key = np.column_stack([data.context, there])
    order = np.lexsort(key.T[::-1])
    changed = (key[order][1:] != key[order][:-1]).any(1)
    bounds = np.flatnonzero(np.r_[True, changed, True])
    for first, last in pairwise(bounds):
        rows = order[first:last]
        if there[rows[0]].any():
            yield int(data.context[rows[0]]), split.plan(there[rows[0]]), rows


def equations(m: Matrices, split: Split) -> tuple[np.ndarray, ...]:
    """Of the kernel's tables sizes, variables of states, paths, products; coefficients of the latter."""
    states, inputs, down = list(split.states), len(split.inputs), list(split.down)
    pairs = {(e.row, e.column) for e in m.entries if e.matrix == "beta" and e.row in down}
    pairs |= {(p.row, p.other) for p in m.products}
    paths = sorted((down.index(row), states.index(column)) for row, column in pairs)
    products = [
        [
            paths.index((down.index(p.row), states.index(p.other))),
            split.known.index(p.known),
            p.factors[0] if p.factors else 0,
        ]
        for p in m.products
    ]
    sizes = np.array([len(states), inputs, len(paths), len(products), len(split.known)], np.int64)
    coef = np.array([p.coef for p in m.products], float)
    return sizes, np.array(states, np.int64), np.array(paths, np.int64), np.array(products, np.int64), coef


def pattern(m: Matrices, split: Split, plan: Plan) -> list[int]:
    """A pattern as the kernel knows it."""
    room = [0] * (m.size - len(plan.known))
    places = [plan.known.index(v) if v in plan.known else 0 for v in split.known]
    seen = [split.down.index(v) for v in plan.explained]
    row = [len(plan.seen), len(plan.known), len(seen), *plan.known, *room, *places]
    return [*row, *seen, *[0] * (m.size - len(seen))]


def values(data: Data, plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Covariates, values of what descends from no product, and of the rest, (row, .)."""
    return np.column_stack([data.X[rows], data.Y[np.ix_(rows, plan.seen)], data.Y[np.ix_(rows, plan.explained)]])


def _rows(m: Matrices, split: Split, data: Data) -> tuple[np.ndarray, np.ndarray, int]:
    """Tables of the rows, ints and floats, and how many coordinates they have."""
    sizes, states, paths, products, coef = equations(m, split)
    plans: dict[Plan, int] = {}
    table, numbers, sampled = [], [coef], 0
    for context, plan, rows in runs(split, data):
        table += [context, plans.setdefault(plan, len(plans)), len(rows)]
        numbers.append(values(data, plan, rows).ravel())
        sampled += len(rows) * len(plan.sampled)
    ints = [*sizes, len(plans), len(table) // 3, *states, *paths.ravel(), *products.ravel()]
    ints += [i for plan in plans for i in pattern(m, split, plan)]
    return np.array([*ints, *table], np.int64), np.concatenate(numbers), sampled


# ---------------------------------------------------------------------------------------------- moments


@dataclass(frozen=True)
class Law:
    """The distribution of all variables in a context, for many draws; see the module's docstring.

    S (draw, M, M), K (draw, M, Q); A (draw, M, M), c (draw, M, Q); G (draw, M, product); pairs (product, 2).
    """

    S: np.ndarray
    K: np.ndarray
    A: np.ndarray
    c: np.ndarray
    G: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, m: Matrices, t: np.ndarray, context: int = 0) -> "Law":
        """At draws t (draw, scalars + correlations)."""
        split = Split.of(m)
        S, K = moments(split.m, t, 0, context)
        _, B, c = cells(split.m, t, 1, context)
        G, full = np.zeros((len(t), m.size, len(m.products))), np.column_stack([np.ones(len(t)), t])
        for k, p in enumerate(m.products):
            G[:, p.row, k] = p.coef * full[:, list(p.factors)].prod(1)
        pairs = np.array([(p.known, p.other) for p in m.products], int)
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


def regressors(data: Data) -> np.ndarray:
    """(row, Q): a constant and the covariates."""
    return np.column_stack([np.ones(len(data.Y)), data.X])
