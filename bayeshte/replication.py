"""Replicated outcomes from a joint graph, so that prediction is written once."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pymc as pm
import xarray as xr
from pytensor.compile.mode import Mode

#: The graph evaluated in plain Python: half a second to prepare, where a compiled one takes a minute.
EVALUATE = Mode(linker="py", optimizer="fast_compile")


def from_graph(model: pm.Model, draws: xr.Dataset, design: xr.Dataset, seed: int, clusters: str) -> xr.Dataset:
    """New outcomes `y` (draw, row), one data set for each of the draws, which are one chain; see `ModelSpec.replicates`."""
    flat = draws
    if "corr" in flat:  # which the graph holds as its Cholesky factor, see `prior.random_variable`
        corr = flat["corr"].transpose("chain", "draw", "varying", "varying_")
        flat = flat.assign(_corr_factor=(("chain", "draw", "_row", "_column"), np.linalg.cholesky(corr.to_numpy())))
    cluster, dims = design.attrs["cluster"], model.named_vars_to_dims
    effects = [v.name for v in model.free_RVs if cluster and cluster in dims.get(v.name, ())]
    names = [v.name for v in model.free_RVs if clusters == "these" or v.name not in effects]
    with model, _quiet():
        tree = pm.sample_posterior_predictive(
            flat[names], var_names=["y"], random_seed=seed, progressbar=False, compile_kwargs={"mode": EVALUATE}
        )
    return xr.Dataset({"y": (("draw", "row"), tree["posterior_predictive"]["y"].to_numpy()[0])})


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
