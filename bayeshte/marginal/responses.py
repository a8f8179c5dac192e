"""Responses, one a row, as what their likelihood needs: persons that are alike counted, items by arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayeshte.marginal.item_categories import CUMULATIVE, Categories, Form


@dataclass(frozen=True)
class Responses:
    """Persons with equal arm, items, score, cluster and covariates as one unit; see kernels/item_likelihood.py.

    Where the score is not sufficient (`Form`), persons of a unit have equal responses.

    Attributes
    ----------
    arm, first_unit, first_item, items : ndarray of int
        Arm of each pattern (G,), its first unit and first entry in `items` (G + 1,), and the items that it has seen.
    count, score : ndarray (unit,)
        Number of persons, and of right answers of each, or the sum of their categories.
    x : ndarray (unit, p)
        1, an indicator of every arm but the reference, covariates, products of arms and moderators.
    right, seen : ndarray (arm, item)
        Right answers (sums of categories), and responses.
    highest : ndarray (item,)
        The highest category: 1 for right or wrong.
    unit : ndarray (person,)
        Unit of each person.
    cluster : ndarray (unit,)
        Cluster of each unit; zero without clusters.
    random : tuple of int
        Columns of x whose coefficients vary over clusters; none without clusters.
    n_clusters : int
        Zero without clusters.
    categories : Categories or None
        None in the Rasch model of binary responses with a logit link.
    """

    arm: np.ndarray
    first_unit: np.ndarray
    first_item: np.ndarray
    items: np.ndarray
    count: np.ndarray
    score: np.ndarray
    x: np.ndarray
    right: np.ndarray
    seen: np.ndarray
    highest: np.ndarray
    unit: np.ndarray
    cluster: np.ndarray
    random: tuple[int, ...]
    n_clusters: int
    categories: Categories | None

    @property
    def structure(self) -> tuple[np.ndarray, ...]:
        return self.arm, self.first_unit, self.first_item, self.items

    @property
    def n_arms(self) -> int:
        return len(self.right)

    @cached_property
    def unit_arm(self) -> np.ndarray:
        """Arm of each unit."""
        return np.repeat(self.arm, np.diff(self.first_unit))

    @cached_property
    def limits(self) -> np.ndarray:
        """The largest number of items seen, the smallest score, and the smallest number of wrong answers, by arm: (arm * 3,)."""
        size = self.size.astype(float)
        wrong = size - self.score
        out = np.zeros((self.n_arms, 3))
        for t in np.unique(self.arm):
            own = self.unit_arm == t
            out[t] = size[own].max(), self.score[own].min(), wrong[own].min()
        return out.ravel()

    @cached_property
    def size(self) -> np.ndarray:
        """Number of items that each unit has seen."""
        return np.repeat(np.diff(self.first_item), np.diff(self.first_unit))

    @cached_property
    def most(self) -> np.ndarray:
        """The highest score that each unit could have."""
        total = np.add.reduceat(self.highest[self.items], self.first_item[:-1])
        return np.repeat(total, np.diff(self.first_unit))

    @property
    def z(self) -> np.ndarray:
        """What multiplies the effects of a unit's cluster, (unit, s)."""
        return self.x[:, list(self.random)]

    def mean(self, beta: np.ndarray, v: np.ndarray | None = None) -> np.ndarray:
        """Mean abilities of the units, (draw, unit), from coefficients (draw, p) and effects of clusters (draw, cluster, s)."""
        mu = beta @ self.x.T
        for k, column in enumerate(self.random):
            mu += v[..., self.cluster, k] * self.x[:, column]
        return mu


def responses(
    arm: np.ndarray,
    x: np.ndarray,
    person: np.ndarray,
    item: np.ndarray,
    y: np.ndarray,
    shape: tuple[int, int],
    cluster: np.ndarray | None = None,
    random: Sequence[int] = (),
    n_clusters: int = 0,
    form: Form | None = None,
) -> Responses:
    """Responses, one a row, as units.

    Parameters
    ----------
    arm : ndarray (person,) of int
    x : ndarray (person, p)
    person, item : ndarray (row,) of int
    y : ndarray (row,) of 0 and 1, or of categories 0, 1, ...
    shape : (int, int)
        Number of arms and of items.
    cluster : ndarray (person,) of int, optional
    form : Form, optional
        How categories depend on the ability, if not by the Rasch model of binary responses with a logit link.
    """
    n_persons, (n_arms, n_items) = len(x), shape
    cluster = np.zeros(n_persons, np.int64) if cluster is None else cluster
    score = np.bincount(person, y, minlength=n_persons)
    sets, which = distinct(_cells(person, item, item))
    key, rows = np.zeros(n_persons), None
    if form is not None and (form.form == CUMULATIVE or form.free):
        rows = _cells(person, item, form.first[item] + y.astype(np.int64))
        key = distinct(rows)[1]
    table, unit = distinct(np.column_stack([arm, which, score, key, cluster, x]))
    pattern, of_unit = distinct(table[:, :2].astype(np.int64))
    lists = [sets[s][sets[s] >= 0] for s in pattern[:, 1]]
    by_arm = arm[person] * n_items + item
    return Responses(
        arm=pattern[:, 0].copy(),
        first_unit=np.searchsorted(of_unit, np.arange(len(pattern) + 1)),
        first_item=np.concatenate([[0], np.cumsum([len(v) for v in lists])]).astype(np.int64),
        items=np.concatenate(lists),
        count=np.bincount(unit).astype(float),
        score=table[:, 2].copy(),
        x=np.ascontiguousarray(table[:, 5:]),
        right=np.bincount(by_arm, y, minlength=n_arms * n_items).reshape(n_arms, n_items),
        seen=np.bincount(by_arm, minlength=n_arms * n_items).reshape(n_arms, n_items).astype(float),
        highest=np.ones(n_items) if form is None else form.n_categories - 1.0,
        unit=unit,
        cluster=table[:, 4].astype(np.int64),
        random=tuple(int(k) for k in random),
        n_clusters=n_clusters,
        categories=None if form is None else _categories(form, rows, unit, arm[person], item, y, n_arms),
    )


def _cells(person: np.ndarray, item: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the rows of each person in the order of the items, filled up with -1."""
    order = np.lexsort((item, person))
    out = np.full((int(person.max()) + 1, int(np.bincount(person).max())), -1, np.int64)
    out[person[order], np.arange(len(order)) - np.searchsorted(person[order], person[order])] = values[order]
    return out


def _categories(form: Form, rows: np.ndarray | None, unit: np.ndarray, arm, item, y, n_arms: int) -> Categories:
    """Answers of the units, of which one person each is taken, and counts of all."""
    answers = (
        np.zeros((int(unit.max()) + 1, 0), np.int64) if rows is None else rows[np.unique(unit, return_index=True)[1]]
    )
    total = form.first[-1]
    cells = arm * total + form.first[item] + y.astype(np.int64)
    return Categories(
        form=form,
        first_answer=np.concatenate([[0], np.cumsum((answers >= 0).sum(1))]),
        answers=answers[answers >= 0],
        responses=np.bincount(cells, minlength=n_arms * total).reshape(n_arms, total).astype(float),
    )


def distinct(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows of a table, sorted, and which of them each row is; np.unique takes ten times as long."""
    order = np.lexsort(table.T[::-1])
    ordered = table[order]
    new = np.append(True, (ordered[1:] != ordered[:-1]).any(1))
    code = np.empty(len(table), np.int64)
    code[order] = np.cumsum(new) - 1
    return ordered[new], code
