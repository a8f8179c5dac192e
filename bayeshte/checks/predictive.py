"""Posterior predictive checks: could the model have made data like these (Gelman, Meng & Stern, 1996)?

The specification makes the replicates (`ModelSpec.replicates`). Two kinds answer two questions: with the random effects of these
clusters, whether the model fits within clusters; with new ones, whether it describes how clusters differ.
"""

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.fit import Fit

LEVELS = {"within": "these", "between": "new"}
EXTREME = 0.025
CHUNK = 20_000_000  # replicated outcomes held at once


def replicate(fit: Fit, draws: int = 200, seed: int = 0, clusters: str = "these") -> np.ndarray | xr.Dataset:
    """Replicated outcomes, one data set a posterior draw.

    Parameters
    ----------
    fit : Fit
    draws : int
        Posterior draws to use, evenly spaced over the chains; all of them if there are fewer.
    seed : int
    clusters : {"these", "new"}
        Random effects (latent means of clusters) as drawn for the clusters in the data, or drawn anew from their distribution.

    Returns
    -------
    ndarray (draw, row)
        In the units of the outcome and the order of ``fit.design["row"]``. Of a structural equation model a Dataset: `Y`
        (draw, row, within_variable) and, with clusters, their own variables `V` (draw, cluster, own_variable), with the same
        missing values as the data.

    Raises
    ------
    SpecError
        Another value of `clusters`, or "new" for a model in which nothing varies across clusters.
    """
    found = xr.concat(list(replicates(fit, draws, seed, clusters)), dim="draw")
    return found["y"].to_numpy() if "y" in found else found


def predictive_checks(fit: Fit, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Observed statistics beside those of replicated data.

    Parameters
    ----------
    fit : Fit
    draws : int
        Replicated data sets a level.
    seed : int

    Returns
    -------
    DataFrame
        ``statistic``; ``level``: "within" (given the random effects of these clusters) or "between" (new clusters of the
        same sizes; absent if nothing varies across clusters); ``observed``; ``replicated`` (median), ``lower``, ``upper``
        (95 % of the replicates); ``p`` = P(replicated >= observed), ties counted half; ``extreme``, whether p is below
        .025 or above .975. Under a true model these p-values are closer to .5 than uniform ones, most of all "within": an
        extreme one tells, a central one proves nothing.
    """
    statistics = fit.spec.discrepancies(fit.design)
    parts = []
    for level in LEVELS if clusters_vary(fit) else ["within"]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # a constant has no skewness: missing
            rows = []
            for new in replicates(fit, draws, seed, LEVELS[level]):
                rows += [[*statistics(*one).values()] for one in zip(*(new[v].to_numpy() for v in new), strict=True)]
            observed = statistics(*(fit.design[v].to_numpy() for v in new))
        values = _beside(np.array([*observed.values()]), np.array(rows))
        parts.append(pd.DataFrame({"statistic": list(observed), "level": level} | values))
    return fit.diagnosis.mark(pd.concat(parts, ignore_index=True))


def _beside(observed: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the table from observed statistics (statistic,) and replicated ones (draw, statistic)."""
    defined = np.isfinite(values).all(0) & np.isfinite(observed)
    lower, middle, upper = np.quantile(values, [0.025, 0.5, 0.975], axis=0)
    p = np.where(defined, (values > observed).mean(0) + (values == observed).mean(0) / 2, np.nan)
    extreme = (p < EXTREME) | (p > 1 - EXTREME)
    return {"observed": observed, "replicated": middle, "lower": lower, "upper": upper, "p": p, "extreme": extreme}


def clusters_vary(fit: Fit) -> bool:
    """Whether anything that the model draws has one value a cluster."""
    cluster = fit.design.attrs["cluster"]
    return any(cluster in fit.posterior[v].dims for v in fit.spec.latent if v in fit.posterior)


def replicates(fit: Fit, draws: int, seed: int, clusters: str) -> Iterator[xr.Dataset]:
    """Replicated data under the names that they have in the design, (draw, ...), in pieces that fit into memory."""
    if clusters not in LEVELS.values():
        raise SpecError(f"clusters={clusters!r}: write 'these' or 'new'.")
    if clusters == "new" and not clusters_vary(fit):
        raise SpecError("Nothing varies across clusters in this model: clusters='these' is the only replication.")
    values = evenly_spaced(fit, draws)
    step = max(1, CHUNK // (fit.design.sizes["row"] * fit.design.sizes.get("within_variable", 1)))
    seeds = np.random.SeedSequence(seed).generate_state(-(-values.sizes["draw"] // step))
    for k, s in enumerate(seeds):
        piece = values.isel(draw=slice(k * step, (k + 1) * step))
        yield fit.spec.replicates(piece, fit.design, fit.priors, int(s), clusters)


def evenly_spaced(fit: Fit, draws: int) -> xr.Dataset:
    """Draws of the posterior, evenly spaced over the chains, as one chain; all of them if there are fewer."""
    posterior = fit.posterior
    n = posterior.sizes["chain"] * posterior.sizes["draw"]
    picked = np.unique(np.linspace(0, n - 1, min(draws, n)).round().astype(int))
    chain, draw = (xr.DataArray(v, dims="pick") for v in np.divmod(picked, posterior.sizes["draw"]))
    return posterior.isel(chain=chain, draw=draw).drop_vars(["chain", "draw"]).rename(pick="draw").expand_dims("chain")
