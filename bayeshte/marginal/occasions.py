"""Persons who answered on two occasions, as what their likelihood needs: pairs of half-units (kernels/occasion_likelihood.py)."""

from dataclasses import dataclass

import numpy as np

from bayeshte.marginal.responses import Responses, distinct


@dataclass(frozen=True)
class Pairs:
    """Persons with equal half-units before and after, counted; those seen on one occasion only apart.

    Attributes
    ----------
    group_start, group_after : ndarray (groups + 1,), (groups,) of int
        Pairs with the same half-unit after and the same mean ability before are a group: the first of each, and that half-unit.
    before, count : ndarray (pair,)
        Half-unit before, and number of persons.
    single, single_count : ndarray (single,)
        Half-units of persons seen once, and number of persons.
    person : ndarray (person,) of int
        Pair of every person; of those seen once the number of pairs plus their single.
    sitting : ndarray (seen sitting,) of int
        Person times two plus occasion of what `Responses` has as persons.
    """

    group_start: np.ndarray
    group_after: np.ndarray
    before: np.ndarray
    count: np.ndarray
    single: np.ndarray
    single_count: np.ndarray
    person: np.ndarray
    sitting: np.ndarray

    @property
    def ints(self) -> list[np.ndarray]:
        """The kernel's tables of whole numbers."""
        sizes = np.array([len(self.before), len(self.group_after), len(self.single)])
        return [sizes, self.group_start, self.group_after, self.before, self.single]


def pairs(data: Responses, person: np.ndarray, occasion: np.ndarray) -> Pairs:
    """The pairs of `data`, whose persons are half-units: the person and the occasion, 0 or 1, of each."""
    own = np.full((int(person.max()) + 1, 2), -1, np.int64)
    own[person, occasion] = data.unit
    before, after = own.T
    both, mean = (own >= 0).all(1), distinct(np.column_stack([data.cluster, data.x]))[1]
    table, code = distinct(np.column_stack([after, mean[before], before])[both])
    new = np.flatnonzero(np.append(True, (np.diff(table[:, :2], axis=0) != 0).any(1)))
    single, of_single = np.unique(own[~both].max(1), return_inverse=True)
    of_person = np.empty(len(own), np.int64)
    of_person[both], of_person[~both] = code, len(table) + of_single
    return Pairs(
        group_start=np.append(new, len(table)),
        group_after=table[new, 0].copy(),
        before=table[:, 2].copy(),
        count=np.bincount(code, minlength=len(table)).astype(float),
        single=single,
        single_count=np.bincount(of_single, minlength=len(single)).astype(float),
        person=of_person,
        sitting=2 * person + occasion,
    )
