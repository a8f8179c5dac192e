"""Posterior predictive checks: could the model have made data like these (Gelman, Meng & Stern, 1996)?

Replicates come from the joint graph, so that prediction is written once. Two kinds answer two questions: with the random
effects of these clusters, whether the model fits within clusters; with new ones, whether it describes how clusters differ.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr
from pytensor.compile.mode import Mode

from bayeshte.errors import SpecError
from bayeshte.fit import Fit

#: The graph evaluated in plain Python: half a second to prepare, where a compiled one takes a minute.
EVALUATE = Mode(linker="py", optimizer="fast_compile")
LEVELS = {"within": "these", "between": "new"}
EXTREME = 0.025
CHUNK = 20_000_000  # replicated outcomes held at once


def replicate(fit: Fit, draws: int = 200, seed: int = 0, clusters: str = "these") -> np.ndarray:
    """Replicated outcomes, one data set a posterior draw.

    Parameters
    ----------
    fit : Fit
    draws : int
        Posterior draws to use, evenly spaced over the chains; all of them if there are fewer.
    seed : int
    clusters : {"these", "new"}
        Random effects as drawn for the clusters in the data, or drawn anew from their distribution.

    Returns
    -------
    ndarray (draw, row)
        In the units of the outcome and the order of ``fit.design["row"]``.

    Raises
    ------
    SpecError
        Another value of `clusters`, or "new" for a model in which nothing varies across clusters.
    """
    return np.concatenate(list(_replicates(fit, draws, seed, clusters)))


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
    y, statistics = fit.design["y"].to_numpy(), fit.spec.discrepancies(fit.design)
    levels = [k for k, clusters in LEVELS.items() if clusters == "these" or _random_effects(fit)]
    parts = []
    for level in levels:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # a constant has no skewness: missing
            observed = np.array([f(y) for f in statistics.values()])
            chunks = _replicates(fit, draws, seed, LEVELS[level])
            values = np.array([[f(row) for f in statistics.values()] for chunk in chunks for row in chunk])
        parts.append(pd.DataFrame({"statistic": list(statistics), "level": level} | _beside(observed, values)))
    return fit.diagnosis.mark(pd.concat(parts, ignore_index=True))


def _beside(observed: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the table from observed statistics (statistic,) and replicated ones (draw, statistic)."""
    defined = np.isfinite(values).all(0) & np.isfinite(observed)
    lower, middle, upper = np.quantile(values, [0.025, 0.5, 0.975], axis=0)
    p = np.where(defined, (values > observed).mean(0) + (values == observed).mean(0) / 2, np.nan)
    extreme = (p < EXTREME) | (p > 1 - EXTREME)
    return {"observed": observed, "replicated": middle, "lower": lower, "upper": upper, "p": p, "extreme": extreme}


def _random_effects(fit: Fit) -> list[str]:
    """Free variables of the joint graph that have one value a cluster."""
    dims, cluster = fit.model.named_vars_to_dims, fit.design.attrs["cluster"]
    return [v.name for v in fit.model.free_RVs if cluster and cluster in dims.get(v.name, ())]


def _replicates(fit: Fit, draws: int, seed: int, clusters: str) -> Iterator[np.ndarray]:
    """Replicated outcomes (draw, row), in pieces that fit into memory."""
    if clusters not in LEVELS.values():
        raise SpecError(f"clusters={clusters!r}: write 'these' or 'new'.")
    effects = _random_effects(fit)
    if clusters == "new" and not effects:
        raise SpecError("Nothing varies across clusters in this model: clusters='these' is the only replication.")
    values = _graph_values(fit, draws)
    if clusters == "new":
        values = values.drop_vars(effects)
    step = max(1, CHUNK // fit.design.sizes["row"])
    seeds = np.random.SeedSequence(seed).generate_state(-(-values.sizes["draw"] // step))
    for k, s in enumerate(seeds):
        with fit.model, _quiet():
            tree = pm.sample_posterior_predictive(
                values.isel(draw=slice(k * step, (k + 1) * step)),
                var_names=["y"],
                random_seed=int(s),
                progressbar=False,
                compile_kwargs={"mode": EVALUATE},
            )
        yield tree["posterior_predictive"]["y"].to_numpy()[0]


def _graph_values(fit: Fit, draws: int) -> xr.Dataset:
    """Evenly spaced posterior draws, as one chain, of the free variables of the joint graph."""
    posterior = fit.posterior
    n = posterior.sizes["chain"] * posterior.sizes["draw"]
    picked = np.unique(np.linspace(0, n - 1, min(draws, n)).round().astype(int))
    chain, draw = (xr.DataArray(v, dims="pick") for v in np.divmod(picked, posterior.sizes["draw"]))
    flat = posterior.isel(chain=chain, draw=draw).drop_vars(["chain", "draw"]).rename(pick="draw").expand_dims("chain")
    if "corr" in flat:  # which the graph holds as its Cholesky factor, see `prior.random_variable`
        corr = flat["corr"].transpose("chain", "draw", "varying", "varying_")
        flat["_corr_factor"] = (("chain", "draw", "_row", "_column"), np.linalg.cholesky(corr.to_numpy()))
    return flat[[v.name for v in fit.model.free_RVs]]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyMC's line on what it samples, nor its warning that improper priors cannot be drawn from (they are not)."""
    log = logging.getLogger("pymc.sampling.forward")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The effect of Potentials", UserWarning)
            yield
    finally:
        log.setLevel(level)
