"""Integrals over the abilities of persons seen on two occasions, draw by draw: their likelihood, abilities drawn back."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bayeshte.marginal.abilities import SPACING
from bayeshte.marginal.occasions import Pairs
from bayeshte.marginal.responses import Responses

PIECE = 50  # draws that are computed at once


def abilities_of_pairs(
    data: Responses,
    pairs: Pairs,
    mean: np.ndarray,
    sigma: np.ndarray,
    corr: np.ndarray,
    level: np.ndarray,
    shapes: tuple[np.ndarray, np.ndarray],
    seed: int | None = None,
    spacing: float = SPACING,
) -> tuple[np.ndarray, np.ndarray]:
    """Log of the integral over both abilities of each person, (draw, person), and with a seed abilities, (draw, person, 2).

    Parameters
    ----------
    mean : ndarray (draw, sitting)
        Mean abilities of all persons before and after, the occasion varying faster, seen or not.
    sigma, corr : ndarray (draw, 2), (draw,)
        Residual SDs before and after, and the correlation.
    level, shapes
        Easiness of items in every cell, (draw, cell, item); slopes and thresholds as in `abilities`.
    spacing : float
        Of the nodes; half of it doubles their number.
    """
    from bayeshte.marginal.kernels.item_likelihood import LEAST, STEPS

    of_unit = np.empty(len(data.count), np.int64)
    of_unit[data.unit] = pairs.sitting
    mu = mean[:, of_unit]
    least = np.maximum(LEAST, np.ptp(mu, axis=1) / STEPS)[:, None]
    used = np.maximum(np.abs(sigma), least)
    given = corr, level, shapes[0], data.categories.form.by_row(shapes[1])
    accuracy = (SPACING / spacing) ** 2
    ll, theta = _integrate(data, pairs, (mu, used, *given), accuracy, seed)
    share = np.minimum(np.abs(sigma) / least, 1.0)
    for t in np.flatnonzero((share < 1).any(0)):  # as in the kernel: a parabola in sigma
        wider = used.copy()
        wider[:, t] = np.where(share[:, t] < 1, 2 * least[:, 0], used[:, t])
        ll += (share[:, t, None] ** 2 - 1) * (_integrate(data, pairs, (mu, wider, *given), accuracy, None)[0] - ll) / 3
    if seed is not None:
        means = mean.reshape(theta.shape)
        theta = means + share[:, None] * (_complete(theta, means, used, corr, np.random.default_rng(seed)) - means)
    return ll[:, pairs.person], theta


def _integrate(
    data: Responses, pairs: Pairs, values, accuracy: float, seed: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """By pair and single, (draw, pair + single), and abilities on the occasions that were seen, NaN on others."""
    from bayeshte.marginal.kernels import occasion_abilities as kernel
    from bayeshte.marginal.kernels.category_integral import ACCURACY

    form, answers = data.categories.form, data.categories
    order = np.argsort(pairs.person, kind="stable")
    n, draws = len(pairs.count) + len(pairs.single_count), len(values[0])
    persons = order, np.searchsorted(pairs.person[order], np.arange(n + 1))
    tables = (
        np.concatenate(data.structure),
        len(data.arm),
        form.first,
        answers.first_answer,
        answers.answers,
        data.score,
    )
    model, singles = (form.form, form.link, int(form.free)), (pairs.single, pairs.single_count)
    of_pairs = pairs.group_start, pairs.group_after, pairs.before, pairs.count
    values = [np.ascontiguousarray(v, float) for v in values]
    seeds = np.random.SeedSequence(seed or 0).generate_state(-(-draws // PIECE))
    ll, theta = np.empty((draws, n)), np.full((draws, len(pairs.person) if seed is not None else 0, 2), np.nan)

    def piece(k: int) -> None:
        part, own = slice(k * PIECE, (k + 1) * PIECE), int(seeds[k]) if seed is not None else -1
        out = own, ll[part], theta[part]
        parts = tuple(v[part] for v in values)
        kernel.abilities_of_occasions(model, *parts, tables, of_pairs, singles, persons, accuracy * ACCURACY, *out)

    with ThreadPoolExecutor() as pool:
        list(pool.map(piece, range(len(seeds))))
    return ll, theta


def _complete(theta, mean, sigma, corr, rng: np.random.Generator) -> np.ndarray:
    """Abilities on occasions without responses, given those on the other one."""
    for t in range(2):
        absent = np.isnan(theta[0, :, t])
        z = (theta[:, absent, 1 - t] - mean[:, absent, 1 - t]) / sigma[:, 1 - t, None]
        noise = corr[:, None] * z + np.sqrt(1 - corr[:, None] ** 2) * rng.normal(size=z.shape)
        theta[:, absent, t] = mean[:, absent, t] + sigma[:, t, None] * noise
    return theta
