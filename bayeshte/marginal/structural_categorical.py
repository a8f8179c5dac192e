"""Structural equation models with categorical variables of rows and of clusters: the tables of the kernel.

The model and its likelihood are those of kernels/structural_categorical.py. What each row or cluster adds to the coordinates
depends on which of its values are there (plans.py): nothing, if its categories are independent given what is continuous.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from bayeshte.marginal import structural, structural_pilot
from bayeshte.marginal.cluster_categories import answers_of_clusters, causes_of, own_order, responses_before
from bayeshte.marginal.density import Density, Output, precondition
from bayeshte.marginal.matrices import Entry, Matrices
from bayeshte.marginal.plans import Plan, plan
from bayeshte.marginal.sufficient import LOG_2PI, NOTHING, Data, statistics
from bayeshte.prior import LogNormal, Prior

LINKS = {"probit": 2, "logit": 1}  # as kernels/rows.py numbers them
UNITS = {"probit": 1.0, "logit": float(np.pi / np.sqrt(3))}  # SDs of the residuals of latent responses


@dataclass(frozen=True)
class Response:
    """A categorical variable.

    Attributes
    ----------
    column : int
        Its place among the observed variables, those of rows before those of clusters; there the data have the category's
        number, from 0.
    link : str
        ``"probit"`` or ``"logit"``.
    categories : int
    first : int
        Place in t of its first threshold; 0 where that is fixed.
    value : float
        The threshold there, 1 where it is free.
    widths : tuple of int
        Places in t of the distances from one threshold to the next.
    priors : tuple of Prior
        Of the thresholds after the first, all normal.
    """

    column: int
    link: str
    categories: int
    first: int
    value: float
    widths: tuple[int, ...]
    priors: tuple[Prior, ...]

    @property
    def unit(self) -> float:
        """The SD of its residual."""
        return UNITS[self.link]


def varying(m: Matrices) -> np.ndarray:
    """Variables of the between level that the rows depend on: those with a part there, then the random slopes."""
    if m.levels == 1:
        return np.empty(0, int)
    there = {e.row for e in m.entries if e.matrix == "psi" and e.level == 1}
    return np.array([*(v for v in range(m.within) if v in there), *(s.variable for s in m.slopes)], int)


def links_of(responses: Iterable[Response]) -> dict[int, str]:
    """Links by place among the observed variables."""
    return {r.column: r.link for r in responses}


def scores(data: Data, responses: Sequence[Response]) -> Data:
    """The data with normal scores in place of categories, for a pilot: they covary about as latent responses do."""
    out = replace(data, Y=data.Y.copy(), V=data.V.copy())
    for r in responses:
        y = column(out, r)
        known = ~np.isnan(y)
        code = y[known].astype(int)
        tau, score = cuts(code, r.categories)
        score = score / np.sqrt((score[code] ** 2).mean())
        y[known] = r.unit * (score[code] - tau[0])
    return out


def column(data: Data, r: Response) -> np.ndarray:
    """The categories of a variable, of every row or every cluster, as a view of the data."""
    p = data.Y.shape[1]
    return data.Y[:, r.column] if r.column < p else data.V[:, r.column - p]


def without_categories(data: Data, responses: Sequence[Response]) -> Data:
    """The data without the categories of clusters: what is left of these is normal."""
    V = data.V.copy()
    V[:, [r.column - data.Y.shape[1] for r in responses if r.column >= data.Y.shape[1]]] = np.nan
    return replace(data, V=V)


def cuts(code: np.ndarray, categories: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds of a standard normal response with these shares of categories, and its mean in each category."""
    share = np.bincount(code, minlength=categories) / len(code)
    tau = ndtri(np.cumsum(share)[:-1])
    density = np.r_[0.0, np.exp(-0.5 * tau**2) / np.sqrt(2 * np.pi), 0.0]
    return tau, (density[:-1] - density[1:]) / share


def density(
    m: Matrices,
    data: Data,
    responses: Sequence[Response],
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    start: np.ndarray,
    unit: np.ndarray,
    means: Sequence[int],
    spreads: Sequence[int],
) -> Density:
    """The density of a model with categorical variables, in coordinates that a pilot with normal scores suggests.

    Parameters
    ----------
    outputs : tuple of Output
        Scalars, correlations, parts of clusters. The others as in `structural.density` and `structural_pilot.density`.
    """
    near = list(priors)
    for r in responses:
        for place, width in zip(r.widths, np.diff(cuts(_codes(data, r), r.categories)[0]), strict=True):
            near[place - 1] = LogNormal(float(np.log(width * r.unit)), 0.2)
    slopes = [Output("slope", (len(data.context), len(m.slopes)))] if m.slopes else []
    given = (near, signed, blocks, (*outputs[:2], *slopes), start, unit)
    like = scores(data, responses)
    if m.slopes:
        rough = structural_pilot.density(m, like, *given, means, spreads)
    else:
        rough = structural.density(m, statistics(like), *given)
    centre = rough.floats[rough.at : rough.at + rough.n_top]
    scale = rough.floats[rough.at + rough.n_top :][: rough.n_top**2].reshape(rough.n_top, rough.n_top)
    theta = rough.parameters(np.zeros(rough.n_dim))
    made = tables(
        m, data, responses, priors, signed, blocks, outputs, like, np.r_[theta["_scalars"], theta["_correlations"]]
    )
    made = made.with_coordinates(centre, scale)
    if made.n_dim > made.n_top + sum(int(np.prod(o.shape)) for o in outputs[2:]):
        return made  # with the rows' coordinates at zero their variables say nothing of the parameters
    return precondition(made, centre, np.sqrt(np.diag(scale @ scale.T)))


def cuts_at(responses: Sequence[Response], t: np.ndarray) -> list[np.ndarray]:
    """Cuts of every categorical variable where its first threshold is 0, (draw, cut); t (draw, scalars + correlations)."""
    zero = np.zeros(len(t))
    return [np.cumsum(np.column_stack([zero, *(t[:, k - 1] for k in r.widths)]), axis=1) for r in responses]


def without_logistic(m: Matrices, responses: Iterable[Response]) -> Matrices:
    """The matrices without the variances of logistic residuals, which are no part of what is normal."""
    return without_residuals(m, [r.column for r in responses if r.link == "logit"])


def without_residuals(m: Matrices, variables: Collection[int]) -> Matrices:
    """The matrices without the residual variances of latent responses, of rows within, of clusters between."""

    def is_residual(e: Entry) -> bool:
        return e.matrix == "psi" and e.row == e.column and e.row in variables and e.level == int(e.row >= m.within)

    return replace(m, entries=tuple(e for e in m.entries if not is_residual(e)))


def _codes(data: Data, r: Response) -> np.ndarray:
    y = column(data, r)
    return y[~np.isnan(y)].astype(int)


def tables(
    m: Matrices,
    data: Data,
    responses: Sequence[Response],
    priors: Sequence[Prior],
    signed: Sequence[int],
    blocks: Sequence[Prior],
    outputs: tuple[Output, ...],
    like: Data,
    t: np.ndarray,
) -> Density:
    """The kernel's tables, in its own coordinates.

    like, t : data with scores for categories, and parameters, at which the information on the clusters' parts is taken.
    """
    from bayeshte.marginal.kernels import structural_categorical as kernel

    f = varying(m)
    own = without_logistic(m, responses)
    links, first = links_of(responses), causes_of(own, links_of(responses), f)
    before, after = responses_before(own, data, links, first), answers_of_clusters(own, data, links, f, first)
    J = len(data.context) if m.levels == 2 else 0
    ints, floats, constant = structural.lists(own, NOTHING, priors, signed, blocks)
    own_ints, own_floats, kinds, counted = _own(m, data, links, first)
    if J:
        rest = np.array([*range(m.within), *(s.variable for s in m.slopes)])
        A, g = structural_pilot.information(m, like, t)
        at = np.flatnonzero(np.isin(rest, f))
        A, g = A[:, at[:, None], at], g[:, at]
        constant -= 0.5 * LOG_2PI * (J * len(f) + counted[kinds].sum())
    else:
        A, g = np.empty((0, 0, 0)), np.empty((0, 0))
    patterns, units, runs, row_ints, row_floats, sampled = _rows(own, data, responses)
    widths = [(k, j, place) for k, r in enumerate(responses) for j, place in enumerate(r.widths, start=2)]
    normal = [(p["mu"], p["sigma"]) for r in responses for p in r.priors]
    constant -= sum(np.log(sigma) + 0.5 * LOG_2PI for _, sigma in normal)
    active = list(m.order[0][: m.active])
    back = [int(np.flatnonzero(f == v)[0]) if v < m.within and v in f else -1 for v in active]
    sizes = [len(responses), max(r.categories for r in responses) - 1, len(f), J, len(counted), len(patterns)]
    sizes += [len(units), 1 + len(responses), len(widths), *before.tables()[0], *after.tables()[0]]
    tail = [sizes, [x for r in responses for x in (LINKS[r.link], r.categories - 1, r.first)], np.ravel(widths), f]
    tail += [own_ints, kinds, before.tables()[1], after.tables()[1], back]
    tail += [np.ravel(patterns), np.ravel(units), np.ravel(runs), np.ravel(row_ints)]
    numbers = [[r.value for r in responses], np.ravel(normal)]
    numbers += [own_floats.ravel(), np.column_stack([A.reshape(J, -1), g]).ravel()] if J else []
    numbers.append(row_floats)
    d = m.scalars + m.correlations
    floats[0] = [constant]
    return Density(
        kernel.log_density_c,
        kernel.expand_c,
        np.concatenate([ints, *(np.asarray(x, np.int64) for x in tail)]),
        np.concatenate([np.asarray(x, float) for x in (*floats, *numbers)]),
        d + J * len(f) + before.sampled.sum() + after.sampled.sum() + sampled,
        outputs,
        at=1 + 4 * m.scalars + len(m.blocks),
        n_top=d,
    )


def _own(m: Matrices, data: Data, links: Mapping[int, str], first: Sequence[int]):
    """Combinations of context and own variables that are seen, with the responses `first`; regressors and values of each cluster;
    its combination; how many variables of a combination have a density that counts: of those with responses none.
    """
    if data.code is None:
        return [], np.empty((0, 0)), np.empty(0, int), np.empty(0, int)
    known = ~np.isnan(data.V)
    found, kinds = np.unique(np.column_stack([data.context, known]), axis=0, return_inverse=True)
    ints, counted, values = [], [], np.zeros((len(data.V), m.size))
    for k, (context, *seen) in enumerate(found):
        which = own_order(m, np.array(seen, bool), links, first)
        alone = not {*which} & {*first}
        ints += [int(context), len(which), int(alone), *which, *[0] * (m.size - len(which))]
        counted.append(alone * len(which))
        mine = np.flatnonzero(kinds.ravel() == k)
        values[mine[:, None], np.arange(len(which))] = data.V[mine][:, [v - m.within for v in which]]
    q = np.column_stack([np.zeros((len(values), 1 + data.X.shape[1])), np.ones(len(values)), data.Z])
    return ints, np.column_stack([q, values]), kinds.ravel(), np.array(counted)


def _pattern(active: Sequence[int], p: Plan, there: np.ndarray, categorical: Mapping[int, int]) -> list[int]:
    """What the kernel knows of a pattern; `there`: which variables are seen, `categorical`: numbers of those by column."""
    answered = {a for a, v in enumerate(active) if v in categorical and there[v]}
    cat = [categorical[active[a]] if a in answered else -1 for a in p.order]
    room = [0] * (len(active) - len(p.order))
    return [len(p.continuous), len(p.continuous) + len(p.sampled), len(p.order), *p.order, *room, *cat, *room]


def patterns_of(m: Matrices, responses: Sequence[Response], Y: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Plan]]:
    """The kernel's table of the patterns of Y (row, within), the pattern of every row, and what is done with each."""
    seen, pattern = np.unique(~np.isnan(Y), axis=0, return_inverse=True)
    plans = [plan(m, links_of(responses), s) for s in seen]
    active, numbers = list(m.order[0][: m.active]), {r.column: k for k, r in enumerate(responses)}
    table = [_pattern(active, p, there, numbers) for p, there in zip(plans, seen, strict=True)]
    return np.array(table, np.int64), pattern.ravel(), plans


def _rows(m: Matrices, data: Data, responses: Sequence[Response]):
    """Patterns, units, runs, and the rows run by run; how many coordinates they have."""
    active = list(m.order[0][: m.active])
    keep = np.flatnonzero(~np.isnan(data.Y).all(1))
    Y, X = data.Y[keep], data.X[keep]
    cluster = data.code[keep] if data.code is not None else np.zeros(len(keep), int)
    context = data.context[cluster] if data.code is not None else data.context[keep]
    patterns, pattern, plans = patterns_of(m, responses, Y)
    unit = cluster if m.slopes else context
    order = np.lexsort((cluster, pattern, unit))
    units, runs, ints, floats, sampled = [], [], [], [], 0
    key = np.column_stack([unit, pattern])[order]
    bounds = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(1), True])
    for first, last in pairwise(bounds):
        mine = order[first:last]
        k, u = int(pattern[mine[0]]), int(unit[mine[0]])
        if not units or units[-1][3] != u:
            units.append([int(context[mine[0]]), int(cluster[mine[0]]), 0, u])
        units[-1][2] += 1
        runs.append([k, len(mine)])
        p = plans[k]
        answers = [a for a, c in zip(p.order, patterns[k][3 + len(active) :], strict=False) if c >= 0]
        codes = np.zeros((len(mine), 1 + len(responses)), np.int64)
        codes[:, 0] = cluster[mine]
        for i, a in enumerate(answers, start=1):
            codes[:, i] = Y[mine, active[a]]
        ints.append(codes.ravel())
        floats.append(np.column_stack([X[mine], Y[mine][:, [active[a] for a in p.continuous]]]).ravel())
        sampled += len(mine) * len(p.sampled)
    return patterns, [u[:3] for u in units], runs, np.concatenate(ints), np.concatenate(floats), sampled
