"""Responses averaged over persons, abilities integrated over their distribution, draw by draw.

What a person answers depends on the covariates through the mean ability mu_j alone. So the weighted sum over persons of a
smooth function f of it is

    sum_j w_j f(mu_j) = sum_n share_n f(at_n),

at_n the Chebyshev points of the range of mu, and share_n what interpolation between them makes of the weights. That is the
work that grows with the persons, and it serves all items and forms. About its mean an ability is N(0, sd^2), so that

    sum_n share_n E P(at_n + sd e) = sum_k weight_k P(theta_k),   weight_k = h sum_n share_n N(theta_k; at_n, sd^2)

on a grid theta_k of step h, by the trapezoid rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import sparse

from bayeshte.families.item_response_arrays import Arrays, ability_mean
from bayeshte.families.item_response_curves import Shapes, mean_response, of_draws
from bayeshte.labelled import indicators
from bayeshte.marginal.item_categories import CUMULATIVE, LOGIT
from bayeshte.marginal.responses import distinct

DEGREE = 32  # of the polynomial in the mean ability that stands for an expected response
REACH, STEP = 8.5, 0.8  # of the grid of abilities: SDs beyond the means; its step in SDs, and times a slope
STEP_CATEGORIES = 1.1  # the same times a slope and the highest category, in adjacent models of more than two
CHUNK = 100_000  # values held at once: few, so that they stay near the processor


@dataclass(frozen=True)
class Means:
    """Mean abilities of persons of an arm, draw by draw, as points with the weights of one or more groups.

    Attributes
    ----------
    arm : int
    at : ndarray (draw, n)
    share : ndarray (draw, n, group)
    sd : ndarray (draw,)
        Of abilities about their mean.
    """

    arm: int
    at: np.ndarray
    share: np.ndarray
    sd: np.ndarray


def means(D: Arrays, draws: xr.Dataset, arm: int, X: np.ndarray, M: np.ndarray, weight) -> Means:
    """Of persons with covariates X and moderators M had they been in an arm; weight (person, group)."""
    if sparse.issparse(weight) and min(len(X), weight.shape[1]) <= DEGREE:
        weight = weight.toarray()
    beta, sd = D.coefficients(draws), D.spread(draws)[:, arm]
    if X.shape[1] == 1 and len(X) > DEGREE:  # the means are linear in the one covariate: its points serve every draw
        x, share = _interpolation(X.T, weight)
        at = ability_mean(indicators(np.full(DEGREE, arm), D.n_contrasts), x.T, x.T[:, : M.shape[1]], *beta)
        return Means(arm, at, np.broadcast_to(share, (len(at), *share.shape[1:])), sd)
    n, T = min(len(X), DEGREE), indicators(np.full(len(X), arm), D.n_contrasts)
    at, share = np.empty((len(sd), n)), np.empty((len(sd), n, weight.shape[1]))
    step = max(1, CHUNK // (len(X) * D.n_contrasts))
    for start in range(0, len(sd), step):
        s = slice(start, start + step)
        mu = ability_mean(T, X, M, *(v[s] for v in beta))
        at[s], share[s] = (mu, weight) if len(X) <= DEGREE else _interpolation(mu, weight)
    return Means(arm, at, share, sd)


def _interpolation(x: np.ndarray, weight) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points (draw, n) of the range of x (draw, person) and the shares (draw, n, group) that stand for the weights."""
    k = np.arange(DEGREE)
    angles = np.pi * (k + 0.5) / DEGREE
    low, high = x.min(1, keepdims=True), x.max(1, keepdims=True)
    middle, half = (low + high) / 2, np.maximum(high - low, 1e-12) / 2
    z = (x - middle) / half
    before, now = np.ones_like(z), z.copy()
    moments = np.empty((DEGREE, len(x), weight.shape[1]))  # of the Chebyshev polynomials
    moments[0], moments[1] = before @ weight, now @ weight
    z *= 2
    for j in range(2, DEGREE):
        before *= -1
        before += z * now
        before, now = now, before
        moments[j] = now @ weight
    back = np.cos(np.outer(angles, k)) * np.where(k == 0, 1, 2) / DEGREE
    return middle + half * np.cos(angles), np.einsum("nk,kdg->dng", back, moments, optimize=True)


def _step(D: Arrays, shapes: Shapes, items: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Step of the grid of abilities of each draw, fine against their SD and the steepest of the items; zero where the SD is."""
    if D.form is None:
        return STEP * np.minimum(sd, 1.0)
    a, n = shapes[0][:, items], D.form.n_categories[items]
    if D.form.link != LOGIT:
        return STEP * sd / np.hypot(1.0, a.max(1) * sd)
    own = np.where((D.form.form == CUMULATIVE) | (n == 2), STEP, STEP_CATEGORIES / (n - 1.0)) / a
    return np.minimum(STEP * sd, own.min(1))


def _sizes(m: Means, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Abilities that a draw needs: on one grid over all means, (draw,), and about each mean on either side, (draw,)."""
    range_ = np.ptp(m.at, axis=1) + 2 * REACH * m.sd
    one = np.divide(range_, step, out=np.full_like(step, np.inf), where=step > 0)
    around = np.ceil(REACH / np.divide(step, m.sd, out=np.full_like(step, STEP), where=m.sd > 0))
    return np.ceil(one) + 1, around


def _grid(m: Means, s: np.ndarray, one: float, around: int) -> tuple[np.ndarray, np.ndarray]:
    """Abilities (draw, K) and their weights (draw, K, group) of some draws, in the way that takes fewer."""
    at, share, sd = m.at[s], m.share[s], m.sd[s, None]
    few = at.shape[1] * (2 * around + 1)
    if one >= few:
        z = np.linspace(-REACH, REACH, 2 * around + 1)
        density = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
        theta, weight = at[:, :, None] + sd[:, :, None] * z, share[:, :, None] * density[:, None]
        return theta.reshape(len(at), -1), weight.reshape(len(at), few, -1)
    low, high = at.min(1, keepdims=True) - REACH * sd, at.max(1, keepdims=True) + REACH * sd
    h = (high - low) / (one - 1)
    theta = low + h * np.arange(int(one))
    density = np.exp(-0.5 * ((theta[:, :, None] - at[:, None]) / sd[:, :, None]) ** 2)
    return theta, (density @ share) * (h / (sd * np.sqrt(2 * np.pi)))[:, :, None]


def _expected(
    D: Arrays, easiness: np.ndarray, shapes: Shapes, m: Means, items: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Expected responses (draw, K, item) on the grid of abilities, and its weights (draw, K, group), of some draws at a time.

    Draws come together that need about as many abilities: those with a steep item need many.
    """
    one, around = _sizes(m, _step(D, shapes, items, m.sd))
    size = np.minimum(one, m.at.shape[1] * (2 * around + 1))
    order = np.argsort(size, kind="stable")
    piece = np.cumsum(size[order] * len(items)) // CHUNK
    for s in np.split(order, np.flatnonzero(np.diff(piece)) + 1):
        theta, weight = _grid(m, s, one[s].max(), int(around[s].max()))
        eta = theta[:, :, None] + easiness[s][:, None, items]
        item = np.tile(items, theta.shape[1])
        p = mean_response(D, of_draws(shapes, s), eta.reshape(len(eta), -1), item).reshape(eta.shape)
        yield s, p, weight


def mean_responses(D: Arrays, draws: xr.Dataset, m: Means) -> np.ndarray:
    """Average chance of a right answer, or mean category, of every item over the persons of one group: (draw, item)."""
    out = np.empty((len(m.at), D.n_items))
    for s, p, weight in _expected(D, D.easiness(draws)[:, m.arm], D.shapes(draws), m, np.arange(D.n_items)):
        out[s] = np.einsum("dki,dk->di", p, weight[..., 0], optimize=True)
    return out


def of_everybody(D: Arrays, draws: xr.Dataset, arm: int) -> Means:
    """Of the persons in the data, all with the same weight, had they been in an arm."""
    _, X, M = D.persons
    people, who = distinct(np.column_stack([X, M])) if X.shape[1] else (np.zeros((1, 0)), np.zeros(len(X), int))
    X, M = np.split(people, [X.shape[1]], axis=1)
    return means(D, draws, arm, X, M, np.bincount(who)[:, None] / len(who))


def average_score(D: Arrays, draws: xr.Dataset, arm: int) -> np.ndarray:
    """Expected number of right answers, or sum of categories, of all items had the persons in the data been in an arm.

    Abilities are integrated; (draw,).
    """
    return mean_responses(D, draws, of_everybody(D, draws, arm)).sum(1)


# --------------------------------------------------------------------------------------------------- weighted rows


def people_of(who: np.ndarray, item: np.ndarray, weight: np.ndarray, n_items: int) -> tuple[np.ndarray, ...] | None:
    """Rows with weights (group, row) as persons with weights of their items: person, group, weights (person, item).

    None where most of them weight the items in their own way, so that nothing is saved.
    """
    group, row = np.nonzero(weight)
    pairs, which = distinct(np.column_stack([who[row], group]))
    cells = which * n_items + item[row]
    of_items = np.bincount(cells, weight[group, row], minlength=len(pairs) * n_items).reshape(-1, n_items)
    few = len(_patterns(of_items)[0]) * DEGREE <= len(pairs)
    return (*pairs.T, of_items) if few else None


def _patterns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How persons distribute their weight (person, item) over items: the distinct ways, and that of each person."""
    return distinct(np.round(weight / weight.sum(1, keepdims=True), 12))


def integrated_means(D: Arrays, draws: xr.Dataset, people: np.ndarray, n_groups: int, who, group, weight) -> np.ndarray:
    """Weighted sums of chances of right answers, or mean categories, abilities integrated over their distribution: (draw, group).

    people: a row a person, the second column its arm, which is that of all, then X and M. who, group (n,), weight (n, item):
    persons, the sum that each belongs to, and weights of items.
    """
    arm = int(people[0, 1])
    X, M = np.split(people[who, 2:], [D.design.sizes["covariate"]], axis=1)
    easiness, shapes, total = D.easiness(draws)[:, arm], D.shapes(draws), weight.sum(1)
    patterns, which = _patterns(weight)
    out = np.zeros((len(easiness), n_groups))
    for k, share in enumerate(patterns):
        own, items = np.flatnonzero(which == k), np.flatnonzero(share)
        sums = sparse.csr_array((total[own], (np.arange(len(own)), group[own])), (len(own), n_groups))
        m = means(D, draws, arm, X[own], M[own], sums)
        for s, p, on_grid in _expected(D, easiness, shapes, m, items):
            out[s] += np.einsum("dk,dkg->dg", p @ share[items], on_grid, optimize=True)
    return out
