"""Responses in categories: what their likelihood needs beside `Responses`, their probabilities, what a pilot fit knows
of shapes.

The equations are in kernels/categories.py and kernels/item_shapes.py. The information about a level, the log of the SD
of abilities and a shape, from n responses of an arm with abilities integrated, is n E [I(theta) - c c' / (1 / sigma^2
+ T(theta))] with I the information at an ability, c its column of the level (that of the ability), T the sum of its
elements of all items."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import expit, log_expit, log_ndtr, logsumexp, ndtr

CUMULATIVE, ADJACENT = 0, 1  # as in the kernel
LOGIT, PROBIT = 0, 1
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


@dataclass(frozen=True)
class Form:
    """How categories depend on the ability.

    Attributes
    ----------
    form, link : int
        `CUMULATIVE` or `ADJACENT`; `LOGIT` or `PROBIT`.
    free : bool
        Whether items have slopes of their own.
    n_categories : ndarray (item,)
    step : (float, float)
        Mean and SD of the numbers w that the thresholds are made of.
    """

    form: int
    link: int
    free: bool
    n_categories: np.ndarray
    step: tuple[float, float]

    @cached_property
    def first(self) -> np.ndarray:
        """First row (category) of each item, and their end: (J + 1,)."""
        return np.concatenate([[0], np.cumsum(self.n_categories)])

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """Items with equal numbers of categories, by that number."""
        return [np.flatnonzero(self.n_categories == k) for k in np.unique(self.n_categories)]

    def size(self, items: np.ndarray) -> int:
        """Numbers in the shape of the items of a group."""
        return int(self.free) + int(self.n_categories[items[0]]) - 2

    def steps(self, item: int) -> slice:
        """Where the w of an item are among those of all."""
        start = self.first[item] - 2 * item
        return slice(start, start + self.n_categories[item] - 2)

    def thresholds(self, w: np.ndarray) -> np.ndarray:
        """tau (..., K - 1) from w (..., K - 2), which sums to zero."""
        if self.form == ADJACENT:
            return w @ helmert(w.shape[-1] + 1).T
        tau = np.concatenate([np.zeros((*w.shape[:-1], 1)), np.cumsum(np.exp(w), axis=-1)], axis=-1)
        return tau - tau.mean(-1, keepdims=True)

    def of_item(self, item: int) -> slice:
        """Where the thresholds of an item are among those of all."""
        start = self.first[item] - item
        return slice(start, start + self.n_categories[item] - 1)

    def by_row(self, tau: np.ndarray) -> np.ndarray:
        """Thresholds (..., threshold) in the positions of the categories above them, (..., row); zero for category 0."""
        out = np.zeros((*tau.shape[:-1], self.first[-1]))
        out[..., np.setdiff1d(np.arange(self.first[-1]), self.first[:-1])] = tau
        return out

    def all_thresholds(self, w: np.ndarray) -> np.ndarray:
        """Thresholds of all items, one after another, (..., sum of K - 1) from (..., sum of K - 2)."""
        return np.concatenate([self.thresholds(w[..., self.steps(i)]) for i in range(len(self.n_categories))], axis=-1)


@dataclass(frozen=True)
class Categories:
    """The responses of the units of a `Responses`.

    Attributes
    ----------
    form : Form
    first_answer : ndarray (unit + 1,) of int
    answers : ndarray of int
        Row (item and category) of each answer; none where the score is sufficient.
    responses : ndarray (arm, row)
        Responses in each category.
    """

    form: Form
    first_answer: np.ndarray
    answers: np.ndarray
    responses: np.ndarray


def helmert(n: int) -> np.ndarray:
    """Orthonormal contrasts (n, n - 1): the first l + 1 elements against the next."""
    m, l = np.indices((n, n - 1))
    return np.where(m <= l, 1.0, np.where(m == l + 1, -(l + 1.0), 0.0)) / np.sqrt((l + 1.0) * (l + 2.0))


def log_probabilities(form: Form, x: np.ndarray) -> np.ndarray:
    """log P of the categories, (..., K), from x (..., K - 1) = a (theta + level - tau)."""
    if form.form == ADJACENT:
        w = _log_weights(x)
        return w - logsumexp(w, axis=-1, keepdims=True)
    log = log_expit if form.link == LOGIT else log_ndtr
    below, above = log(x), log(-x)  # logarithms of F and 1 - F
    out = np.concatenate([above[..., :1], below], axis=-1)
    right = above[..., 1:] < below[..., :-1]
    large = np.where(right, above[..., 1:], below[..., :-1])
    small = np.where(right, above[..., :-1], below[..., 1:])
    out[..., 1:-1] = large + np.log(-np.expm1(np.minimum(small - large, -1e-300)))
    return out


def expected_category(form: Form, x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of the values (K,) of the categories, (...), from x (..., K - 1)."""
    if form.form == CUMULATIVE or len(values) == 2:
        return values[0] + (expit if form.link == LOGIT else ndtr)(x) @ np.diff(values)
    p = _log_weights(x)
    p = np.exp(p - p.max(-1, keepdims=True))
    return p @ values / p.sum(-1)


def _log_weights(x: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of an adjacent model but for their sum, (..., K)."""
    return np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(x, axis=-1)], axis=-1)


@dataclass(frozen=True)
class Information:
    """About the level of each item and the mean ability of a person, by arm, and about the shapes of each group of items.

    Attributes
    ----------
    items, persons : ndarray (arm, item), (arm,)
        The shapes of the items as uncertain as the responses and their priors leave them.
    A : list of ndarray (item, r, r)
    X : list of ndarray (item, arm, 2, r)
        About shape and level, and shape and log SD of abilities.
    """

    items: np.ndarray
    persons: np.ndarray
    A: list[np.ndarray]
    X: list[np.ndarray]


def information(
    form: Form,
    seen: np.ndarray,
    persons: np.ndarray,
    centre: np.ndarray,
    spread: np.ndarray,
    sigma: np.ndarray,
    level: np.ndarray,
    shapes: list[np.ndarray],
    sd: float,
) -> Information:
    """Information at a point, abilities integrated.

    Parameters
    ----------
    seen : ndarray (arm, item)
        Responses.
    persons, centre, spread, sigma : ndarray (arm,)
        Number of persons, mean and SD of their abilities, residual SD.
    level : ndarray (arm, item)
    shapes : list of ndarray (item, r)
        Of the groups.
    sd : float
        Of the logarithms of slopes.
    """
    weights = _WEIGHTS / _WEIGHTS.sum()
    R, J = seen.shape
    out = Information(np.zeros((R, J)), np.zeros(R), [], [])
    sizes = [form.size(items) for items in form.groups]
    all_of = [np.zeros((len(items), R, r + 2, r + 2)) for items, r in zip(form.groups, sizes, strict=True)]
    for t in range(R):
        if persons[t] == 0:
            continue
        theta, share = centre[t] + spread[t] * _NODES, seen[t] / persons[t]
        each = [
            _at_abilities(form, theta, centre[t], level[t, items], s)
            for items, s in zip(form.groups, shapes, strict=True)
        ]
        total = sum(share[items] @ I[:, :, 0, 0] for items, I in zip(form.groups, each, strict=True))
        out.persons[t] = weights @ (1 / (sigma[t] ** 2 + 1 / np.maximum(total, 1e-300)))
        for g, (items, I) in enumerate(zip(form.groups, each, strict=True)):
            lost = 1 / (1 / sigma[t] ** 2 + total + I[:, :, 0, 0] * (1 - share[items, None]))
            left = I - I[..., :1] * I[..., :1, :] * lost[..., None, None]
            all_of[g][:, t] = seen[t, items, None, None] * np.einsum("k,ikab->iab", weights, left)
    for items, I, r in zip(form.groups, all_of, sizes, strict=True):
        A = I[:, :, 2:, 2:].sum(1)
        prior = np.diag(np.concatenate([[sd**-2] * int(form.free), [form.step[1] ** -2] * (r - int(form.free))]))
        cross = I[:, :, 0, 2:]
        known = np.einsum("itr,irs,its->it", cross, np.linalg.inv(A + prior), cross) if r else 0.0
        out.items[:, items] = np.maximum(I[:, :, 0, 0] - known, 1e-3 * I[:, :, 0, 0]).T
        out.A.append(A)
        out.X.append(I[:, :, :2, 2:])
    return out


def _at_abilities(form: Form, theta: np.ndarray, centre: float, level: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Information (item, ability, 2 + r, 2 + r) about level, log SD of abilities, log slope and w of the items of a group."""
    free = int(form.free)
    a = np.exp(shape[:, :free].sum(1))[:, None, None]
    w = form.step[0] + shape[:, free:]
    tau = form.thresholds(w)[:, None, :]
    n = tau.shape[-1]
    x = a * (theta[:, None] + level[:, None, None] - tau)  # (item, ability, threshold)
    dx = np.empty((*x.shape, 2 + shape.shape[1]))
    dx[..., 0], dx[..., 1] = a, a * (theta - centre)[:, None]
    if free:
        dx[..., 2] = x
    if form.form == ADJACENT:
        dx[..., 2 + free :] = -a[..., None] * helmert(n)
    else:
        m, l = np.indices((n, n - 1))
        dtau = np.exp(w)[:, None, :] * ((m > l) - (n - 1.0 - l) / n)
        dx[..., 2 + free :] = -a[..., None] * dtau[:, None]
    p = np.exp(log_probabilities(form, x))
    score = _scores(form, x, dx, p)
    return np.einsum("ikm,ikma,ikmb->ikab", p, score, score)


def _scores(form: Form, x: np.ndarray, dx: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Derivatives of log P of the categories, (..., K, r), from those of x, dx (..., K - 1, r)."""
    none = np.zeros((*x.shape[:-1], 1, dx.shape[-1]))
    if form.form == ADJACENT:
        score = np.concatenate([none, np.cumsum(dx, axis=-2)], axis=-2)
        return score - (p[..., None] * score).sum(-2, keepdims=True)
    height = expit(x) * expit(-x) if form.link == LOGIT else np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    change = height[..., None] * dx
    change = np.concatenate([none, change], axis=-2) - np.concatenate([change, none], axis=-2)
    return change / np.maximum(p, 1e-12)[..., None]


def ability_information(form: Form, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Information about the ability, sum over categories of P'^2 / P, (...), from x (..., K - 1) and slopes (...).

    Of graded items (Samejima, 1969) and of partial credit items, where it is the squared slope times the variance of the
    category (Muraki, 1993); with two categories and a logit link a^2 P (1 - P).
    """
    p = np.exp(log_probabilities(form, x))
    dx = np.broadcast_to(np.asarray(slope)[..., None, None], (*x.shape, 1))
    return (p * _scores(form, x, dx, p)[..., 0] ** 2).sum(-1)
