"""Likelihoods of structural equation models with categorical variables, by numerical integration.

Kernels and formulas: kernels/latent_response_integral.py and kernels/cluster_response_integral.py. What a row, or a cluster with
categories of its own, has of latent variables with coordinates is integrated by adaptive Gauss-Hermite quadrature (one), its
product rule (two), or quasi-Monte Carlo (more: scrambled Sobol points).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from bayeshte.marginal.cluster_categories import (
    Answers,
    answers_of_clusters,
    causes_of,
    own_order,
    responses_before,
)
from bayeshte.marginal.matrices import Matrices, cells, implied
from bayeshte.marginal.structural_categorical import (
    LINKS,
    Response,
    cuts_at,
    links_of,
    patterns_of,
    varying,
    without_categories,
    without_logistic,
)
from bayeshte.marginal.structural_integration import (
    TOLERANCE,
    chosen,
    own_values,
    rule,
    slope_cells,
    some,
)
from bayeshte.marginal.sufficient import Data

#: Nodes a latent variable of a row that are tried; quasi-Monte Carlo has `POINTS` times as many in all.
ROW_NODES = (4, 8, 16, 32)
POINTS = 64
PIECE = 50  # draws at a time


@dataclass(frozen=True)
class Integral:
    """Log-likelihood of clusters or rows, integrated numerically.

    Attributes
    ----------
    values : ndarray (draw, cluster or row)
    nodes : ndarray of int (cluster,)
        Nodes a part of a cluster; empty where rows are given these.
    sampled : int
        Most latent variables that a row has.
    of_clusters : int
        Most latent variables that a cluster has beside its parts.
    row_nodes : int
        Nodes a latent variable of a row, or of these.
    error : float
        Of a draw's log-likelihood: how much it changes with twice as many nodes, the largest absolute change of each cluster or
        row in some of the draws, added up.
    """

    values: np.ndarray
    nodes: np.ndarray
    sampled: int
    of_clusters: int
    row_nodes: int
    error: float


@dataclass(frozen=True)
class _Rows:
    """Rows that have values, by cluster and pattern, as the kernel takes them: `tables`; `code` and `context` of each."""

    keep: np.ndarray
    code: np.ndarray
    context: np.ndarray
    tables: tuple[np.ndarray, ...]
    sampled: int


@dataclass(frozen=True)
class _Own:
    """Categories of clusters before their parts and after; (context, number, own variables) of their kinds; the kind of each."""

    before: Answers
    after: Answers
    kinds: np.ndarray
    kind: np.ndarray


def log_likelihood(m: Matrices, data: Data, responses: Sequence[Response], t: np.ndarray) -> Integral:
    """Log-likelihood of every cluster; t (draw, scalars + correlations)."""
    m = without_logistic(m, responses)
    rows, every = _rows(m, data, responses), np.arange(len(data.context))
    own = _own(m, data, responses)
    data, beside = without_categories(data, responses), int(own.after.sampled.max(initial=0))
    given, parts = (m, data, responses, rows, own), len(varying(m)) + int(own.before.sampled.max(initial=0))
    n, error = _row_nodes(lambda n: _clusters(*given, n, some(t), 3, every), max(rows.sampled, beside))
    found = chosen(lambda *points: _clusters(*given, n, *points), t, len(data.context), parts)
    return Integral(found.values, found.nodes, rows.sampled, beside, n, error + found.error)


def row_log_likelihood(
    m: Matrices, data: Data, responses: Sequence[Response], t: np.ndarray, f: np.ndarray
) -> Integral:
    """Log-likelihood of every row given the parts f (draw, cluster, `varying`) of its cluster; (draw, 1, 0) with one level."""
    m = without_logistic(m, responses)
    rows = _rows(m, data, responses)
    pick = some(np.arange(len(t)))
    n, error = _row_nodes(lambda n: _given(m, data, responses, rows, n, t[pick], f[pick]), rows.sampled)
    return Integral(_given(m, data, responses, rows, n, t, f), np.empty(0, int), rows.sampled, 0, n, error)


def _row_nodes(values, sampled: int) -> tuple[int, float]:
    """As many nodes a latent variable of a row as half of the tolerance takes, and the error: `values(nodes)`."""
    n, error = ROW_NODES[0], 0.0
    for n in ROW_NODES if sampled else ():
        error = float(np.abs(values(2 * n) - values(n)).max(0).sum())
        if error <= TOLERANCE / 2:
            break
    return n, error


def _rows(m: Matrices, data: Data, responses: Sequence[Response]) -> _Rows:
    keep = np.flatnonzero(~np.isnan(data.Y).all(1))
    patterns, pattern, plans = patterns_of(m, responses, data.Y[keep])
    code = data.code[keep] if data.code is not None else np.zeros(len(keep), int)
    order = np.lexsort((pattern, code))
    keep, pattern, code = keep[order], pattern[order], code[order]
    active, Y = list(m.order[0][: m.active]), data.Y[keep]
    codes, values = np.zeros((len(keep), len(responses)), np.int64), np.zeros((len(keep), m.within))
    for k, (p, row) in enumerate(zip(plans, patterns, strict=True)):
        mine = np.flatnonzero(pattern == k)
        answers = [a for a, c in zip(p.order, row[3 + len(active) :], strict=False) if c >= 0]
        codes[mine[:, None], np.arange(len(answers))] = Y[mine][:, [active[a] for a in answers]]
        values[mine[:, None], np.arange(len(p.continuous))] = Y[mine][:, [active[a] for a in p.continuous]]
    q = np.column_stack([np.ones(len(keep)), data.X[keep]])
    context = np.zeros(len(keep), int) if data.code is not None else data.context[keep]
    sampled = max((len(p.sampled) for p in plans), default=0)
    return _Rows(keep, code, context, (pattern, codes, q, values, patterns), sampled)


def _own(m: Matrices, data: Data, responses: Sequence[Response]) -> _Own:
    links, parts = links_of(responses), varying(m)
    first = causes_of(m, links, parts)
    found, kind = np.unique(np.column_stack([data.context, ~np.isnan(data.V)]), axis=0, return_inverse=True)
    table = np.zeros((len(found), 2 + m.size), np.int64)
    for row, (context, *seen) in zip(table, found, strict=True):
        own = own_order(m, np.array(seen, bool), links, first)
        row[: 2 + len(own)] = context, len(own), *own
    before = responses_before(m, data, links, first)
    return _Own(before, answers_of_clusters(m, data, links, parts, first), table, kind.ravel())


def _rules(sampled: int, n: int, product: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and log weights for none, one, ... `sampled` variables one after the other, and where each rule starts.

    product : products of the one-dimensional rule for more than two variables too.
    """
    found = [rule(q, n) if product or q <= 2 else _sobol(q, POINTS * n) for q in range(sampled + 1)]
    nodes = np.zeros((sum(len(w) for _, w in found), max(sampled, 1)))
    first = np.cumsum([0, *(len(w) for _, w in found)])
    for (x, _), start in zip(found, first, strict=False):
        nodes[start : start + len(x), : x.shape[1]] = x
    return nodes, np.concatenate([w for _, w in found]), first


def _sobol(q: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n points of a scrambled Sobol sequence as standard normal variables, and their log weights."""
    points = qmc.Sobol(q, rng=np.random.default_rng(1)).random(n)
    return ndtri(points), np.full(n, -np.log(n))


def _categories(responses: Sequence[Response], t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts (draw, variable, category), the number of the last category, and the link."""
    cuts = np.zeros((len(t), len(responses), max(r.categories for r in responses) + 1))
    for k, found in enumerate(cuts_at(responses, t)):
        cuts[:, k, 1 : 1 + found.shape[1]] = found
    last, links = (np.array(x) for x in zip(*((r.categories - 1, LINKS[r.link]) for r in responses), strict=True))
    return cuts, last, links


def _within(m: Matrices, t: np.ndarray, contexts: int) -> tuple[np.ndarray, ...]:
    """Psi, B, c of the active variables, (draw, context, ...)."""
    a = np.array(m.order[0][: m.active])
    found = [cells(m, t, 0, k) for k in range(contexts)]
    Psi, B, c = (np.stack(x, axis=1) for x in zip(*found, strict=True))
    block = np.ix_(a, a)
    parts = Psi[:, :, *block], B[:, :, *block], c[:, :, a, : m.regressors_within]
    return tuple(map(np.ascontiguousarray, parts))


def _back(m: Matrices) -> np.ndarray:
    """Place among the parts of clusters of every active variable, or -1."""
    f = varying(m).tolist()
    return np.array([f.index(v) if v < m.within and v in f else -1 for v in m.order[0][: m.active]])


def _given(m: Matrices, data: Data, responses, rows: _Rows, n: int, t: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Log-likelihood of the rows given parts of clusters, (draw, row), 0 of those without values."""
    from bayeshte.marginal.kernels.latent_response_integral import rows_given  # compiled on first use

    contexts = 1 if data.code is not None else len(m.slots)
    given = slope_cells(m), _back(m), rows.context, rows.code, rows.tables, _rules(rows.sampled, n)
    out = np.zeros((len(t), len(data.Y)))

    def piece(start: int) -> None:
        part = slice(start, start + PIECE)
        slopes, back, *tables = given
        values = np.empty((len(t[part]), len(rows.keep)))
        parts = np.ascontiguousarray(f[part])
        rows_given(
            _within(m, t[part], contexts), slopes, back, parts, *tables, *_categories(responses, t[part]), values
        )
        out[part, rows.keep] = values

    _in_threads(piece, len(t))
    return out


def _clusters(
    m, data: Data, responses, rows: _Rows, own: _Own, row_nodes: int, t: np.ndarray, n: int, which: np.ndarray
) -> np.ndarray:
    """Log-likelihood of the clusters `which` with n nodes a part, (draw, cluster)."""
    from bayeshte.marginal.kernels.cluster_response_integral import integrate  # compiled on first use

    structure = varying(m), slope_cells(m), _back(m), own.kinds
    starts, stops = (np.searchsorted(rows.code, which, side=side) for side in ("left", "right"))
    clusters = own.kind[which], *own_values(m, data, which), starts, stops
    rules = _rules(rows.sampled, row_nodes), _rules(int(own.after.sampled.max(initial=0)), row_nodes)
    asked = [(a.patterns, a.kind[which], a.codes[which]) for a in (own.before, own.after)]
    given = structure, clusters, rows.tables, *asked, rules
    part_rules = _rules(len(varying(m)) + int(own.before.sampled.max(initial=0)), n, product=True)
    out = np.empty((len(t), len(which)))

    def piece(start: int) -> None:
        part = slice(start, start + PIECE)
        within = tuple(np.ascontiguousarray(x[:, 0]) for x in _within(m, t[part], 1))
        between = tuple(np.ascontiguousarray(x[:, 1]) for x in implied(m, t[part]))
        integrate(within, between, *given, _categories(responses, t[part]), part_rules, out[part])

    _in_threads(piece, len(t))
    return out


def _in_threads(piece, draws: int) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(0, draws, PIECE)))
