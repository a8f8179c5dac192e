"""Integrals over abilities, draw by draw: the likelihood of persons, abilities drawn back, probabilities."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.special import expit

from bayeshte.marginal.item_categories import CUMULATIVE, Form
from bayeshte.marginal.responses import Responses

SPACING = 0.9  # of the nodes of an ability, in the least SD of its posterior: as in the kernel
PIECE = 100  # draws that are computed at once


def abilities(
    data: Responses,
    beta: np.ndarray,
    sigma: np.ndarray,
    easiness: np.ndarray,
    v: np.ndarray | None = None,
    shapes: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int | None = None,
    spacing: float = SPACING,
) -> tuple[np.ndarray, np.ndarray]:
    """Log of the integral over the ability of each unit, (draw, unit), and with a seed an ability of each person, (draw, person).

    Parameters
    ----------
    beta, sigma, easiness : ndarray (draw, p), (draw, arm), (draw, arm, item)
        The easiness of an item in an arm includes its treatment effect.
    v : ndarray (draw, cluster, s), optional
        Effects of the clusters, if there are any.
    shapes : (ndarray (draw, item), ndarray (draw, threshold)), optional
        Slopes and thresholds of the items, if `data` has categories. In adjacent models the integral then lacks `of_responses`.
    spacing : float
        Of the nodes; half of it doubles their number.
    """
    from bayeshte.marginal.kernels import item_likelihood as kernel

    mean = data.mean(beta, v)
    least = np.maximum(kernel.LEAST, np.ptp(mean, axis=1) / kernel.STEPS)[:, None]
    used = np.maximum(np.abs(sigma), least)
    ll, theta = _abilities(data, mean, used, easiness, shapes, seed, spacing)
    small = (np.abs(sigma) < least).any(1)
    if small.any():  # as in the kernel: a parabola in sigma, and residuals in proportion to it
        share = np.where(np.abs(sigma) < least, np.abs(sigma) / least, 1.0)[small]
        doubled = np.where(share < 1, 2 * least[small], used[small])
        own = None if shapes is None else tuple(v[small] for v in shapes)
        wider, _ = _abilities(data, mean[small], doubled, easiness[small], own, None, spacing)
        ll[small] += (share[:, data.unit_arm] ** 2 - 1) * (wider - ll[small]) / 3
        if seed is not None:
            own = mean[small][:, data.unit]
            theta[small] = own + share[:, data.unit_arm[data.unit]] * (theta[small] - own)
    return ll, theta


def _abilities(
    data: Responses, mean, sigma, easiness, shapes, seed: int | None, spacing: float
) -> tuple[np.ndarray, np.ndarray]:
    """`abilities` where sigma is not too small for the grid."""
    from bayeshte.marginal.kernels import abilities as kernel
    from bayeshte.marginal.kernels import category_abilities as of_categories
    from bayeshte.marginal.kernels.category_integral import ACCURACY

    order = np.argsort(data.unit, kind="stable")
    first = np.searchsorted(data.unit[order], np.arange(len(data.count) + 1))
    ll = np.empty((len(sigma), len(data.count)))
    theta = np.empty((len(sigma), len(data.unit) if seed is not None else 0))
    given = [np.ascontiguousarray(v, float) for v in (mean, sigma, easiness)]
    structure = data.structure, data.limits, (data.count, data.score), (order, first)
    if data.categories:
        form, answers = data.categories.form, (data.categories.first_answer, data.categories.answers)
        model, tables = (form.form, form.link, int(form.free)), (form.first, *data.structure, *answers, data.score)
        given += [np.ascontiguousarray(shapes[0], float), form.by_row(shapes[1])]
    seeds = np.random.SeedSequence(seed or 0).generate_state(-(-len(sigma) // PIECE))

    def piece(k: int) -> None:
        part, own = slice(k * PIECE, (k + 1) * PIECE), int(seeds[k]) if seed is not None else -1
        values, out = tuple(v[part] for v in given), (own, ll[part], theta[part])
        if data.categories:
            accuracy = ACCURACY * (SPACING / spacing) ** 2
            of_categories.abilities_of_categories(model, *values, tables, (order, first), accuracy, *out)
        else:
            kernel.abilities(*values, *structure, spacing, *out)

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(len(seeds))))
    return ll, theta


def mean_probability(eta: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """E 1 / (1 + e^-(eta + e)) over e ~ N(0, sigma^2), elementwise, by the trapezoid rule, as precise as the kernel's integral.

    `eta` and `sigma` broadcast.
    """
    eta, sigma = np.broadcast_arrays(np.asarray(eta, float), np.asarray(sigma, float))
    n = int(np.ceil(8.5 / min(0.8, 0.8 / max(float(sigma.max(initial=0.0)), 1e-300))))
    nodes = np.linspace(-8.5, 8.5, 2 * n + 1)
    weights = np.exp(-0.5 * nodes**2)
    weights /= weights.sum()
    return sum(w * expit(eta + sigma * z) for z, w in zip(nodes, weights, strict=True))


def of_responses(form: Form, level: np.ndarray, slope: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """What the log of a response has beside the integral in an adjacent model, by arm and row (category): (draw, arm, row).

    a (m level - tau_1 - ... - tau_m); zero in a cumulative model. Level (draw, arm, item), slope (draw, item), tau (draw,
    threshold).
    """
    item = np.repeat(np.arange(len(form.n_categories)), form.n_categories)
    if form.form == CUMULATIVE:
        return np.zeros((*level.shape[:2], len(item)))
    m = np.arange(len(item)) - form.first[item]
    steps = np.cumsum(form.by_row(tau), axis=1)
    steps -= steps[:, form.first[item]]
    return slope[:, None, item] * (m * level[:, :, item] - steps[:, None])
