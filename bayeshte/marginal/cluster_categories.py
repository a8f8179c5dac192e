"""Categories of clusters: what the kernels know of them (kernels/cluster_responses.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bayeshte.marginal.matrices import Matrices
from bayeshte.marginal.plans import Plan, plan_of_clusters
from bayeshte.marginal.sufficient import Data


@dataclass(frozen=True)
class Answers:
    """Clusters by what is known of them.

    Attributes
    ----------
    patterns : ndarray of int (pattern, 4 + 3 M)
        Context; how many variables are known, are conditioned on, and are there; these in order, their categorical variables or
        -1, and where known values stand: the place k of a part, or -1 - k of the k-th own variable.
    kind : ndarray of int (cluster,)
        Pattern of every cluster; -1 of those without categories.
    codes : ndarray of int (cluster, categorical variables)
        Categories in the pattern's order, then zeros.
    """

    patterns: np.ndarray
    kind: np.ndarray
    codes: np.ndarray

    @property
    def sampled(self) -> np.ndarray:
        """How many variables of each cluster have coordinates, (cluster,)."""
        count = self.patterns[:, 2] - self.patterns[:, 1]
        return np.where(self.kind < 0, 0, np.append(count, 0)[self.kind])

    @property
    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """(pattern, clusters) of clusters with one pattern, and of these (cluster, categories), run by run."""
        order = np.argsort(self.kind, kind="stable")
        order = order[self.kind[order] >= 0]
        bounds = np.flatnonzero(np.diff(self.kind[order], prepend=-1, append=len(self.patterns)))
        runs = [[self.kind[order[a]], b - a] for a, b in pairwise(bounds)]
        return np.array(runs, np.int64).reshape(-1, 2), np.column_stack([order, self.codes[order]])

    def tables(self) -> tuple[list[int], np.ndarray]:
        """Sizes and ints of the sampling kernel."""
        runs, clusters = self.runs
        sizes = [len(self.patterns), len(runs), *clusters.shape, int(self.sampled.sum())]
        return sizes, np.concatenate([self.patterns.ravel(), runs.ravel(), clusters.ravel()])


def causes_of(m: Matrices, links: Mapping[int, str], parts: Sequence[int]) -> list[int]:
    """Categorical variables of clusters that cause what is sampled of every cluster, directly or through others."""
    reached, before = {*map(int, parts)}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {e.column for e in m.entries if e.matrix == "beta" and e.level == 1 and e.row in reached}
    return [v for v in links if v >= m.within and v in reached]


def answers_of_clusters(
    m: Matrices, data: Data, links: Mapping[int, str], parts: Sequence[int], first: Sequence[int] = ()
) -> Answers:
    """Categories that are asked of clusters given their parts, their continuous variables and the responses `first`.

    Parameters
    ----------
    m : Matrices
        Without the variances of logistic residuals.
    links : mapping of int to str
        Links of all categorical variables, by place among the observed ones.
    parts : sequence of int
        Places of what is sampled of every cluster.
    first : sequence of int
        Categorical variables whose responses are known.
    """

    def plan(seen: np.ndarray) -> Plan:
        return plan_of_clusters(m, links, seen, parts, first)

    return _answers(m, data, links, parts, plan, first)


def responses_before(m: Matrices, data: Data, links: Mapping[int, str], first: Sequence[int]) -> Answers:
    """Categories of the variables `first` given the continuous ones; their responses are all sampled."""

    def plan(seen: np.ndarray) -> Plan:
        own = [m.within + int(k) for k in np.flatnonzero(seen)]
        return Plan(tuple(v for v in own if v not in links), tuple(v for v in own if v in first), ())

    return _answers(m, data, links, (), plan, ())


def own_order(m: Matrices, seen: np.ndarray, links: Mapping[int, str], first: Sequence[int] = ()) -> list[int]:
    """Own variables of a cluster that have values, continuous ones before the responses `first`; seen (own,)."""
    own = [m.within + int(k) for k in np.flatnonzero(seen)]
    return [v for v in own if v not in links] + [v for v in own if v in first]


def _answers(m: Matrices, data: Data, links: Mapping[int, str], parts: Sequence[int], plan, first) -> Answers:
    numbers = {v: k for k, v in enumerate(links) if v >= m.within}
    if not numbers:
        return Answers(
            np.empty((0, 4 + 3 * m.size), np.int64), np.full(len(data.V), -1), np.empty((len(data.V), 0), int)
        )
    kind, codes, patterns = np.full(len(data.V), -1), np.zeros((len(data.V), len(numbers)), np.int64), []
    parts, known = [*map(int, parts)], ~np.isnan(data.V)
    found, pattern = np.unique(np.column_stack([data.context, known]), axis=0, return_inverse=True)
    for k, (context, *seen) in enumerate(found):
        p, own = plan(np.array(seen, bool)), own_order(m, np.array(seen, bool), links, first)
        asked = {v for v in numbers if seen[v - m.within]} - {*p.continuous}
        asked &= {*p.sampled, *p.integrated}
        if not asked:
            continue
        mine = np.flatnonzero(pattern.ravel() == k)
        kind[mine] = len(patterns)
        source = [parts.index(v) if v in parts else -1 - own.index(v) for v in p.continuous]
        categories = [numbers[v] if v in asked else -1 for v in p.order]
        columns = [v - m.within for v in p.order if v in asked]
        codes[mine[:, None], np.arange(len(columns))] = data.V[mine][:, columns]
        sizes = [int(context), len(p.continuous), len(p.continuous) + len(p.sampled), len(p.order)]
        patterns.append([*sizes, *(x for each in (p.order, categories, source) for x in _padded(each, m.size))])
    return Answers(np.array(patterns, np.int64).reshape(-1, 4 + 3 * m.size), kind, codes)


def _padded(values: Sequence[int], size: int) -> list[int]:
    return [*values, *[0] * (size - len(values))]
