"""Which items and persons answer otherwise than the model says: infit and outfit with posterior predictive p-values.

With E_ij and V_ij the mean and the variance of a response in a draw (of a right answer P and P (1 - P), of categories
sum_k k P_k and sum_k (k - E)^2 P_k), and sums over the responses of an item or of a person,

    outfit = mean of (y_ij - E_ij)^2 / V_ij,     infit = sum of (y_ij - E_ij)^2 / sum of V_ij

(Wright & Masters, 1982), near one under the model; above, answers are less predictable, below, more than it says. Outfit counts
all answers alike, so that a few surprising ones tell; infit those most that are informative. Both are compared with those of
responses replicated from the same draw (Sinharay, Johnson & Stern, 2006).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayeshte.checks.predictive import EXTREME, evenly_spaced
from bayeshte.effects import mark, units
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_curves import draw_responses, moments
from bayeshte.families.item_response_outcomes import levels
from bayeshte.fit import Fit
from bayeshte.items.common import check_items

CHUNK = 5_000_000  # values of responses held at once
LEAST = 1e-12  # of V
WHAT = "Infit and outfit"
STATISTICS = ("infit", "outfit")


def item_fit(fit: Fit, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Infit and outfit mean squares of items.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse`.
    draws : int
        Evenly spaced posterior draws, each with one replicated data set.
    seed : int
        Of the replicated data.

    Returns
    -------
    DataFrame
        A row an item, in the order of the design: ``item, n`` (responses), ``share_right`` or, of ordered categories,
        ``mean_category`` (from 0); of each of ``infit`` and ``outfit``
        the posterior mean, ``_lower, _upper`` (95 % of the replicated ones) and ``_p`` = P(replicated >= observed), ties
        counted half; ``extreme``, whether one of the p is below .025 or above .975. Of many items one in twenty is so by chance
        or fewer, as abilities are fitted to the same responses.

    Raises
    ------
    SpecError
        Another family, or a posterior without abilities.
    """
    check_items(fit, WHAT, occasions=True)
    dim, code, _ = units(fit.design)
    return _misfit(fit, "item", dim, code, draws, seed)


def person_fit(fit: Fit, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Infit and outfit mean squares of persons: who answers easy items wrong and hard ones right.

    Parameters
    ----------
    fit, draws, seed
        As in `bayeshte.item_fit`.

    Returns
    -------
    DataFrame
        As of `bayeshte.item_fit`, a row a ``person``, with the ``arm`` and the posterior median ``ability``.

    Raises
    ------
    SpecError
        Another family, or a posterior without abilities.
    """
    check_items(fit, WHAT)
    dim = fit.design.attrs["cluster"]
    table = _misfit(fit, "person", dim, fit.design["cluster_code"].to_numpy(), draws, seed)
    first = np.unique(fit.design["cluster_code"].to_numpy(), return_index=True)[1]
    arms = fit.design[f"{fit.design.attrs['treatment']}_arm"].to_numpy()
    table.insert(1, "arm", arms[fit.design["arm_code"].to_numpy()[first]].astype(str))
    table.insert(4, "ability", fit.posterior["theta"].median(("chain", "draw")).to_numpy())
    return table


def _misfit(fit: Fit, name: str, dim: str, code: np.ndarray, draws: int, seed: int) -> pd.DataFrame:
    n = np.bincount(code, minlength=fit.design.sizes[dim])
    observed, replicated = (np.stack(v, axis=1) for v in zip(*_pairs(fit, code, n, draws, seed), strict=True))
    table = pd.DataFrame({name: fit.design[dim].to_numpy().astype(str), "n": n})
    mean = "share_right" if Arrays(fit.design).binary else "mean_category"
    table[mean] = np.bincount(code, fit.design["y"].to_numpy(), minlength=len(n)) / n
    extreme = np.zeros(len(n), bool)
    for k, statistic in enumerate(STATISTICS):
        own, new = observed[k], replicated[k]  # (draw, unit)
        p = (new > own).mean(0) + (new == own).mean(0) / 2
        table[statistic] = own.mean(0)
        table[[f"{statistic}_lower", f"{statistic}_upper"]] = np.quantile(new, [0.025, 0.975], axis=0).T
        table[f"{statistic}_p"] = p
        extreme |= (p < EXTREME) | (p > 1 - EXTREME)
    return mark(fit, table.assign(extreme=extreme))


def _pairs(fit: Fit, code: np.ndarray, n: np.ndarray, draws: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Infit and outfit (2, unit) of the responses and of replicated ones, draw by draw."""
    D, rng, picked = Arrays(fit.design), np.random.default_rng(seed), evenly_spaced(fit, draws)
    step = max(1, CHUNK // (len(D.y) * int(fit.design["n_categories"].max())))
    for start in range(0, picked.sizes["draw"], step):
        piece = picked.isel(draw=slice(start, start + step))
        eta, shapes = levels(D, piece, WHAT), D.shapes(piece)
        mean, variance = moments(D, shapes, eta, D.item_code)
        variance = np.maximum(variance, LEAST)
        new = draw_responses(D, shapes, eta, D.item_code, rng)
        for k in range(len(eta)):
            total = np.bincount(code, variance[k], minlength=len(n))
            both = []
            for answers in (D.y, new[k]):
                square = (answers - mean[k]) ** 2
                parts = (
                    np.bincount(code, square, minlength=len(n)),
                    np.bincount(code, square / variance[k], minlength=len(n)),
                )
                both.append(np.stack([parts[0] / total, parts[1] / n]))
            yield both[0], both[1]
