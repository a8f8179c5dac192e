"""Likelihoods of rows of structural equation models with products, by numerical integration.

Kernel and formulas: kernels/structural_product_integral.py. Members of products that are not seen are integrated by adaptive
Gauss-Hermite quadrature, several by its product rule.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bayeshte.marginal.matrices import Matrices, cells, moments
from bayeshte.marginal.structural_integration import TOLERANCE, rule, some
from bayeshte.marginal.structural_products import Split, equations, pattern, runs, values
from bayeshte.marginal.sufficient import Data

#: Nodes a variable that are tried, while twice as many make no more than `MOST` in all.
NODES = (4, 8, 16, 32)
MOST = 20_000
PIECE = 50  # draws at a time


@dataclass(frozen=True)
class Integral:
    """Log-likelihood of rows, members of products integrated.

    Attributes
    ----------
    values : ndarray (draw, row)
        0 of rows without values.
    sampled : int
        Most variables that were integrated in a row.
    nodes : int
        Of each of them.
    error : float
        Of a draw's log-likelihood: how much it changes with twice as many nodes, the largest absolute change of each row in some
        of the draws, added up.
    """

    values: np.ndarray
    sampled: int
    nodes: int
    error: float


def log_likelihood(m: Matrices, data: Data, t: np.ndarray, b: np.ndarray | None = None) -> Integral:
    """Log-likelihood of every row; t (draw, scalars + correlations), b (draw, cluster, M) of the clusters if there are any."""
    b = np.zeros((len(t), 1, m.size)) if b is None else b
    sampled = max((len(plan.sampled) for _, plan, _ in runs(Split.of(m), data)), default=0)
    n, error = NODES[0], 0.0
    for n in [n for n in NODES if (2 * n) ** sampled <= MOST] if sampled else ():
        twice, once = (quadrature(m, data, some(t), k, some(b)) for k in (2 * n, n))
        error = float(np.abs(twice - once).max(0).sum())
        if error <= TOLERANCE / 2:
            break
    return Integral(quadrature(m, data, t, n, b), sampled, n, error)


def quadrature(m: Matrices, data: Data, t: np.ndarray, n: int, b: np.ndarray | None = None) -> np.ndarray:
    """Log-likelihood of every row with n nodes a variable, (draw, row)."""
    b = np.zeros((len(t), 1, m.size)) if b is None else b
    from bayeshte.marginal.kernels.structural_product_integral import integrate  # compiled on first use

    split = Split.of(m)
    sizes, states, paths, products, coef = equations(m, split)
    plans, table, numbers, order = {}, [], [], []
    for context, plan, rows in runs(split, data):
        table.append((context, plans.setdefault(plan, len(plans)), len(rows)))
        numbers.append(values(data.X, data.Y, plan, rows).ravel())
        order.append(rows)
    out = np.zeros((len(t), len(data.Y)))
    if not table:
        return out
    patterns = np.array([pattern(m, split, plan) for plan in plans], np.int64)
    keep = np.concatenate(order)
    codes = data.code[keep] if data.code is not None else np.zeros(len(keep), np.int64)
    given = patterns, np.array(table, np.int64), codes, np.concatenate(numbers), data.X.shape[1]
    rules = _rules(len(split.known), n)

    def piece(start: int) -> None:
        part = t[start : start + PIECE]
        found = np.empty((len(part), len(keep)))
        parts = np.ascontiguousarray(b[start : start + PIECE])
        integrate(_matrices(split, part), (sizes[1], states, paths, products, coef), *given, rules, parts, found)
        out[start : start + PIECE, keep] = found

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(0, len(t), PIECE)))
    return out


def _matrices(split: Split, t: np.ndarray) -> tuple[np.ndarray, ...]:
    """S, K, B, c of the rows by (draw, context, ...), and t with 1 in front."""
    m, down = split.m, split.m.levels // 2
    contexts = range(len(m.slots)) if down == 1 else [0]
    S, K = (np.stack(x, axis=1) for x in zip(*(moments(m, t, 0, c) for c in contexts), strict=True))
    B, c = (np.stack(x, axis=1) for x in zip(*(cells(m, t, down, c)[1:] for c in contexts), strict=True))
    return *map(np.ascontiguousarray, (S, K, B, c)), np.column_stack([np.ones(len(t)), t])


def _rules(q: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and log weights for none, one, ... q variables one after the other, and where each rule starts."""
    found = [rule(k, n) for k in range(q + 1)]
    first = np.cumsum([0, *(len(w) for _, w in found)])
    nodes = np.zeros((first[-1], max(q, 1)))
    for (x, _), start in zip(found, first, strict=False):
        nodes[start : start + len(x), : x.shape[1]] = x
    return nodes, np.concatenate([w for _, w in found]), first
