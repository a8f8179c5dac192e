"""What has to be sampled of a row, or of a cluster, with categorical variables: as little as possible.

Of jointly normal variables some are known, some are seen as categories only. Categories that are independent given what is known
need no coordinates: each has the probability of an interval. Where they are not, factors or latent responses are sampled.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayeshte.marginal.matrices import Matrices, moments
from bayeshte.marginal.structural_draws import implied_within

ZERO = 1e-8  # of a covariance of standardised variables that counts as none


@dataclass(frozen=True)
class Plan:
    """How rows, or clusters, with one pattern of missing values are taken.

    Places of variables: of rows among the active ones of the within level, of clusters among all of the between level.
    continuous : known, what the rest is conditioned on; sampled : factors and latent responses that have coordinates;
    integrated : categorical variables that are independent given both.
    """

    continuous: tuple[int, ...]
    sampled: tuple[int, ...]
    integrated: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        return self.continuous + self.sampled + self.integrated


def plan(m: Matrices, links: Mapping[int, str], seen: np.ndarray) -> Plan:
    """The plan of rows.

    Parameters
    ----------
    links : mapping of int to str
        Links of the categorical variables by place among the observed ones.
    seen : ndarray of bool (within,)
        Which variables of a row have values.
    """
    active = m.order[0][: m.active]
    there = [a for a, v in enumerate(active) if v < m.within and seen[v]]
    answers = [a for a in there if active[a] in links]
    logit = {a for a in answers if links[active[a]] == "logit"}
    S = [x[np.ix_(active, active)] for x in _some_covariances(m, level=0)]
    return _fewest(S, range(len(active)), [a for a in there if a not in answers], answers, logit)


def plan_of_clusters(
    m: Matrices, links: Mapping[int, str], seen: np.ndarray, parts: Sequence[int], first: Sequence[int] = ()
) -> Plan:
    """The plan of clusters, given their own continuous variables, some responses, and the parts that rows depend on.

    Of these only some may be known in their own right: a part without variance of its own follows from the others.

    Parameters
    ----------
    seen : ndarray of bool (own,)
        Which variables of a cluster have values.
    parts : sequence of int
        Places of what is sampled of every cluster: its parts of the rows' variables, and random slopes.
    first : sequence of int
        Categorical variables whose responses are known where they have values.
    """
    own = [m.within + int(k) for k in np.flatnonzero(seen)]
    answers = [v for v in own if v in links and v not in first]
    logit = {v for v in answers if links[v] == "logit"}
    S, continuous = _some_covariances(m, level=1), []
    for v in [*(v for v in own if v not in answers), *map(int, parts)]:
        if all(_left(x, continuous, [v])[0, 0] > ZERO for x in S):
            continuous.append(v)
    there = [v for v in range(m.size) if S[0][v, v] > 0 or v in answers]
    return _fewest(S, there, continuous, answers, logit)


def _fewest(
    S: list[np.ndarray], variables: Collection[int], continuous: list[int], answers: list[int], logit: set[int]
) -> Plan:
    """The fewest variables that have to be sampled, found by leaving out what is not needed, one after the other."""

    def separate(given: list[int], rest: list[int]) -> bool:
        return all(_independent(x, given, rest, logit) for x in S)

    sampled, integrated = [a for a in variables if a not in continuous], []
    for a in reversed(answers):
        if separate([*continuous, *(b for b in sampled if b != a)], [a, *integrated]):
            sampled, integrated = [b for b in sampled if b != a], [a, *integrated]
    for a in [b for b in sampled if b not in answers]:
        if separate([*continuous, *(b for b in sampled if b != a)], integrated):
            sampled = [b for b in sampled if b != a]
    return Plan(tuple(continuous), tuple(sampled), tuple(integrated))


def _some_covariances(m: Matrices, level: int) -> list[np.ndarray]:
    """Covariances of the variables of a level at two arbitrary points: what is zero at both is zero everywhere."""
    out = []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        size = np.r_[np.ones(m.scalars), np.full(m.correlations, 0.3)]
        t = rng.uniform(0.3, 0.7, (1, m.scalars + m.correlations)) * size
        at = replace(m, slots=rng.uniform(0.3, 0.7, (1, m.slots.shape[1])))
        found = moments(at, t, 1) if level else implied_within(at, t, rng.uniform(0.3, 0.7, (1, len(m.slopes))))
        out.append(found[0][0])
    return out


def _left(S: np.ndarray, given: list[int], rest: list[int]) -> np.ndarray:
    """Covariances of standardised variables given others."""
    unit = np.sqrt(np.maximum(np.diag(S), 1e-300))
    R = S / np.outer(unit, unit)
    left = R[np.ix_(rest, rest)]
    if not given:
        return left
    return left - R[np.ix_(rest, given)] @ np.linalg.lstsq(R[np.ix_(given, given)], R[np.ix_(given, rest)], 1e-12)[0]


def _independent(S: np.ndarray, given: list[int], rest: list[int], logit: set[int]) -> bool:
    """Whether variables are independent given others, and those with a logit link known."""
    left = _left(S, given, rest)
    known = [k for k, a in enumerate(rest) if a in logit]
    off = left - np.diag(np.diag(left))
    return np.abs(off).max(initial=0.0) < ZERO and np.abs(np.diag(left)[known]).max(initial=0.0) < ZERO
