"""Item response curves, draw by draw: expected responses, probabilities and new responses at abilities."""

import numpy as np
import xarray as xr
from scipy.special import expit, log_expit, ndtr

from bayeshte.families.item_response_arrays import Arrays
from bayeshte.marginal.abilities import mean_probability
from bayeshte.marginal.item_categories import (
    CUMULATIVE,
    LOGIT,
    ability_information,
    expected_category,
    log_probabilities,
)

type Shapes = tuple[np.ndarray, np.ndarray] | None  #: discriminations (draw, item) and thresholds (draw, threshold)


def of_draws(shapes: Shapes, s: slice | np.ndarray) -> Shapes:
    """The shapes of some draws."""
    return None if shapes is None else (shapes[0][s], shapes[1][s])


def with_shapes(draws: xr.Dataset, D: Arrays) -> xr.Dataset:
    """Draws with discriminations `a` and thresholds `tau` from their logarithms and from the steps that were sampled."""
    if "log_a" in draws and "a" not in draws:
        draws = draws.assign(a=np.exp(draws["log_a"]))
    if "step" in draws and "tau" not in draws:
        tau = D.form.all_thresholds(draws["step"].transpose("chain", "draw", "threshold_step").to_numpy())
        draws = draws.assign(tau=(("chain", "draw", "threshold"), tau)).assign_coords(threshold=D.labels("threshold"))
    return draws


def _x(D: Arrays, shapes: tuple[np.ndarray, np.ndarray], i: int, eta: np.ndarray) -> np.ndarray:
    """a (eta - tau) of the thresholds of an item, (draw, row, K - 1), eta (draw, row) = ability + easiness."""
    a, tau = shapes
    return a[:, i, None, None] * (eta[..., None] - tau[:, None, D.form.of_item(i)])


def mean_response(
    D: Arrays, shapes: Shapes, eta: np.ndarray, item: np.ndarray, sd: np.ndarray | None = None
) -> np.ndarray:
    """Chance of a right answer, or mean category, of rows (draw, row), with `sd` integrated over abilities about `eta`."""
    if D.form is None:
        return expit(eta) if sd is None else mean_probability(eta, sd)
    out = np.empty(eta.shape)
    for i in np.unique(item):
        own = item == i
        out[:, own] = _mean_of_item(D, shapes, i, eta[:, own], None if sd is None else sd[:, own])
    return out


def _mean_of_item(D: Arrays, shapes, i: int, eta: np.ndarray, sd: np.ndarray | None) -> np.ndarray:
    n = D.form.n_categories[i]
    x = _x(D, shapes, i, eta)
    if sd is None:
        return expected_category(D.form, x, np.arange(n))
    spread = shapes[0][:, i, None] * sd
    if D.form.form == CUMULATIVE and D.form.link != LOGIT:
        return ndtr(x / np.sqrt(1 + spread[..., None] ** 2)).sum(-1)
    if D.form.form == CUMULATIVE or n == 2:
        return mean_probability(x, spread[..., None]).sum(-1)
    nodes = np.linspace(-7.0, 7.0, 2 * int(np.ceil(7.0 / min(0.8, 1.1 / max((n - 1) * spread.max(), 1e-300)))) + 1)
    weights = np.exp(-0.5 * nodes**2)
    weights /= weights.sum()
    add = spread[..., None]
    return sum(w * expected_category(D.form, x + z * add, np.arange(n)) for z, w in zip(nodes, weights, strict=True))


def moments(D: Arrays, shapes: Shapes, eta: np.ndarray, item: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of responses, categories counted from 0, at eta (draw, row): two (draw, row)."""
    if D.form is None:
        p = expit(eta)
        return p, p * (1 - p)
    mean, variance = np.empty(eta.shape), np.empty(eta.shape)
    for i in np.unique(item):
        own = item == i
        p = np.exp(log_probabilities(D.form, _x(D, shapes, i, eta[:, own])))
        m = np.arange(p.shape[-1])
        mean[:, own] = p @ m
        variance[:, own] = (p * (m - mean[:, own, None]) ** 2).sum(-1)
    return mean, variance


def information(D: Arrays, shapes: Shapes, theta: np.ndarray, easiness: np.ndarray) -> np.ndarray:
    """Information of all items about abilities theta (node,), (draw, node), from their easiness in an arm (draw, item)."""
    out = np.zeros((len(easiness), len(theta)))
    for i in range(D.n_items):
        eta = theta + easiness[:, i, None]
        if D.form is None:
            out += expit(eta) * expit(-eta)
        else:
            out += ability_information(D.form, _x(D, shapes, i, eta), shapes[0][:, i, None])
    return out


def log_probability(D: Arrays, shapes: Shapes, eta: np.ndarray, item: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log of the probability of responses y (row,) at eta (draw, row)."""
    if D.form is None:
        return log_expit((2 * y - 1) * eta)
    out = np.empty(eta.shape)
    for i in np.unique(item):
        own = np.flatnonzero(item == i)
        log = log_probabilities(D.form, _x(D, shapes, i, eta[:, own]))
        out[:, own] = np.take_along_axis(log, y[own].astype(int)[None, :, None], axis=2)[..., 0]
    return out


def draw_responses(
    D: Arrays, shapes: Shapes, eta: np.ndarray, item: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """New responses at eta (draw, row)."""
    uniform = rng.random(eta.shape)
    if D.form is None:
        return (uniform < expit(eta)).astype(float)
    out = np.empty(eta.shape)
    for i in np.unique(item):
        own = item == i
        above = np.cumsum(np.exp(log_probabilities(D.form, _x(D, shapes, i, eta[:, own])))[..., ::-1], axis=-1)
        out[:, own] = (uniform[:, own, None] < above[..., :-1]).sum(-1)  # P(y >= K - 1), ..., P(y >= 1)
    return out
