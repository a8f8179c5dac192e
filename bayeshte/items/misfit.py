"""Which items and persons answer otherwise than the model says: infit and outfit with posterior predictive p-values.

With P_ij the chance of a right answer in a draw, and sums over the responses of an item or of a person,

    outfit = mean of (y_ij - P_ij)^2 / (P_ij (1 - P_ij)),     infit = sum of (y_ij - P_ij)^2 / sum of P_ij (1 - P_ij)

(Wright & Masters, 1982), near one under the model; above, answers are less predictable, below, more than it says. Outfit counts
all answers alike, so that a few surprising ones tell; infit those most that are informative. Both are compared with those of
responses replicated from the same draw (Sinharay, Johnson & Stern, 2006).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayeshte.checks.predictive import EXTREME, evenly_spaced
from bayeshte.effects import mark, units
from bayeshte.fit import Fit
from bayeshte.items.common import check_binary

CHUNK = 20_000_000  # chances of responses held at once
LEAST = 1e-12  # of P (1 - P)
STATISTICS = ("infit", "outfit")


def item_fit(fit: Fit, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Infit and outfit mean squares of items.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse` with right and wrong responses.
    draws : int
        Evenly spaced posterior draws, each with one replicated data set.
    seed : int
        Of the replicated data.

    Returns
    -------
    DataFrame
        A row an item, in the order of the design: ``item, n`` (responses), ``share_right``; of each of ``infit`` and ``outfit``
        the posterior mean, ``_lower, _upper`` (95 % of the replicated ones) and ``_p`` = P(replicated >= observed), ties
        counted half; ``extreme``, whether one of the p is below .025 or above .975. Of many items one in twenty is so by chance
        or fewer, as abilities are fitted to the same responses.

    Raises
    ------
    SpecError
        Ordered categories, another family, or a posterior without abilities.
    """
    check_binary(fit, "Infit and outfit")
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
        Ordered categories, another family, or a posterior without abilities.
    """
    check_binary(fit, "Infit and outfit")
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
    table["share_right"] = np.bincount(code, fit.design["y"].to_numpy(), minlength=len(n)) / n
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
    y, rng = fit.design["y"].to_numpy(), np.random.default_rng(seed)
    picked = evenly_spaced(fit, draws)
    step = max(1, CHUNK // len(y))
    for start in range(0, picked.sizes["draw"], step):
        piece = picked.isel(draw=slice(start, start + step))
        chances = fit.spec.expected(piece, fit.design, clusters="these").transpose("chain", "draw", "row").to_numpy()[0]
        for p in chances:
            spread = np.maximum(p * (1 - p), LEAST)
            total = np.bincount(code, spread, minlength=len(n))
            both = []
            for answers in (y, rng.random(len(p)) < p):
                square = (answers - p) ** 2
                parts = (
                    np.bincount(code, square, minlength=len(n)),
                    np.bincount(code, square / spread, minlength=len(n)),
                )
                both.append(np.stack([parts[0] / total, parts[1] / n]))
            yield both[0], both[1]
