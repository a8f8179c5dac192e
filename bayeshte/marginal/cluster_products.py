"""Two-level structural equation models with products of two variables of a level: tables of the kernel, coordinates of clusters.

The model and its likelihood are those of kernels/structural_cluster_products.py. The parts b_j of clusters that are sampled, and
members z_j of products that are not seen, have coordinates that a pilot chooses, the model without the products: at its mode b_j
and z_j are normal given the data, and t_j = 0 is their mean.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bayeshte.marginal import structural, structural_pilot
from bayeshte.marginal.density import Density, Output, precondition
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.structural_categorical import varying
from bayeshte.marginal.structural_products import Plan, Split, regressors, runs, unit_tables
from bayeshte.marginal.sufficient import LOG_2PI, NOTHING, Data, statistics
from bayeshte.prior import Prior

#: variance that a pilot gives what has less, as a share of the variable's: there the data's information is sought in its units
LEAST = 1e-4
#: SDs of the pilot, as a share of a first guess, at least
SMALLEST = 0.1


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
    """The density in coordinates around the mode at which parts of clusters and members of products are what is expected.

    Parameters
    ----------
    outputs : tuple of Output
        Scalars, correlations, parts of clusters. The others as in `structural.density`.
    """
    plain = replace(m, products=())
    rough = structural.density(plain, statistics(data), priors, signed, blocks, outputs[:2], start, unit)
    centre = rough.floats[rough.at : rough.at + rough.n_top].copy()
    sds = np.array(signed, int)  # in few rows one of them may be 0 at the mode
    centre[sds] = np.copysign(np.maximum(np.abs(centre[sds]), SMALLEST * np.abs(start[sds])), centre[sds])
    rough = rough.with_coordinates(centre, np.eye(len(centre)))
    theta = rough.parameters(np.zeros(rough.n_dim))
    t = np.r_[theta["_scalars"], theta["_correlations"]]
    return precondition(tables(m, data, priors, signed, blocks, outputs, t), centre, unit)


def tables(
    m: Matrices,
    data: Data,
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    t: np.ndarray,
) -> Density:
    """The kernel's tables, in its own coordinates; t: parameters at which the information on clusters is taken."""
    from bayeshte.marginal.kernels import structural_cluster_products as kernel

    rows, clusters, parts, J = Split.of(m), Split.of(m, 1), varying(m), len(data.context)
    ints, floats, constant = structural.lists(rows.m, NOTHING, priors, signed, blocks)
    units, own = [*runs(rows, data)], [*cluster_runs(m, clusters, data)]
    row_ints, row_floats = unit_tables(m, rows, units, (data.X, data.Y, data.code))
    given = regressors(data, 1)[:, 1:], _values(m, data), np.arange(J)
    cluster_ints, cluster_floats = unit_tables(m, clusters, own, given)
    sampled = sum(len(mine) * (len(plan.sampled) + len(plan.parts)) for _, plan, mine in own)
    more = sum(len(mine) * len(plan.sampled) for _, plan, mine in units)
    floats[0] = [constant - 0.5 * sampled * LOG_2PI]
    sizes = [len(row_ints), len(row_floats), len(cluster_floats), sampled, J, len(parts)]
    d = m.scalars + m.correlations
    return Density(
        kernel.log_density_c,
        kernel.expand_c,
        np.concatenate([np.asarray(x, np.int64) for x in (ints, sizes, parts, row_ints, cluster_ints)]),
        np.concatenate([*(np.asarray(x, float) for x in floats), row_floats, cluster_floats, _pilot(m, data, own, t)]),
        d + sampled + more,
        outputs,
        at=1 + 4 * m.scalars + len(m.blocks),
        n_top=d,
    )


def _values(m: Matrices, data: Data) -> np.ndarray:
    """Values of the clusters' own variables among all variables, (cluster, M)."""
    out = np.full((len(data.context), m.size), np.nan)
    out[:, m.within : m.observed] = data.V
    return out


def cluster_runs(m: Matrices, split: Split, data: Data):
    """Context, plan and numbers of the clusters that have both in common."""
    there, parts = ~np.isnan(_values(m, data)), varying(m).tolist()
    key = np.column_stack([data.context, there])
    order = np.lexsort(key.T[::-1])
    bounds = np.flatnonzero(np.r_[True, (key[order][1:] != key[order][:-1]).any(1), True])
    for first, last in pairwise(bounds):
        mine = order[first:last]
        yield int(data.context[mine[0]]), split.plan(there[mine[0]], parts), mine


def _pilot(m: Matrices, data: Data, units: Sequence[tuple[int, Plan, np.ndarray]], t: np.ndarray) -> np.ndarray:
    """A and g of each cluster's parts and unseen members, of those that descend from no product, then of those that do."""
    plain, values, q, parts = replace(m, products=()), _values(m, data), regressors(data, 1), varying(m)
    S, K = (x[0] for x in implied(plain, t[None]))
    A, g = np.zeros((len(q), m.size, m.size)), np.zeros((len(q), m.size))
    at = np.arange(m.within)
    A[:, at[:, None], at], g[:, at] = structural_pilot.information(plain, data, t)
    spread = np.where(np.isin(np.arange(m.size), parts), np.diag(S[0, 0]), 0.0)
    out = []
    for context, plan, mine in units:
        Sc = S[1, context] + LEAST * np.diag(np.diag(S[1, context]) + spread)
        for j in mine:
            mean = K[1, context] @ q[j]
            out += _information(Sc, mean, A[j], g[j], values[j], plan)
    return np.concatenate(out) if out else np.empty(0)


def _information(S, mean, A, g, values, plan: Plan) -> list[np.ndarray]:
    """A and g of a cluster, flat.

    For what descends from no product that with which its distribution given seen variables of its kind becomes the one given all
    data; for the rest what rows say where the others are at their means.
    """
    u, d = list(plan.sampled), list(plan.parts)
    prior, V = given(S, mean, u, list(plan.seen), values)
    own, P = given(S, mean, u + d, [*plan.seen, *plan.explained], values)
    A, g, k = A[np.ix_(u + d, u + d)], g[u + d], len(u)
    P = np.linalg.inv(np.linalg.inv(P) + A) if len(P) else P
    own = own + P @ (g - A @ own)
    W, one = (np.linalg.inv(x) if k else x for x in (V, P[:k, :k]))
    size, vectors = np.linalg.eigh(((one - W) + (one - W).T) / 2)
    information = (vectors * np.maximum(size, 0.0)) @ vectors.T
    towards = information @ own[:k] + W @ (own[:k] - prior)
    return [information.ravel(), towards, A[k:, k:].ravel(), g[k:] - A[k:, :k] @ own[:k]]


def given(S, mean, target: list[int], known: list[int], values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of normal variables given the values of others."""
    C = np.linalg.solve(S[np.ix_(known, known)], S[np.ix_(known, target)]).T
    return mean[target] + C @ (values[known] - mean[known]), S[np.ix_(target, target)] - C @ S[np.ix_(known, target)]
