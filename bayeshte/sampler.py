"""NUTS on a compiled density or on a PyMC graph: one progress bar, interruption without loss, the same draws on any machine.

This is the only module that touches nutpie's internals (``nutpie._lib``), which a compiled density needs: the public
`nutpie.compiled_pyfunc.from_pyfunc` calls back into Python and is ten times slower. The dependency is pinned to one minor
version for that reason, and tests/test_sampler.py fails first if it changes.
"""

import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import nutpie
import pandas as pd
import pymc as pm
import xarray as xr
from nutpie import _lib
from nutpie.sample import CompiledModel

from bayeshte.errors import DataError, SpecError
from bayeshte.marginal.density import Density

CHAINS = 4
SNAPSHOT_SECONDS = 3.0
FEWEST = 4  # draws a chain, for R-hat to exist
STATISTICS = ("depth", "maxdepth_reached", "diverging", "energy", "logp", "step_size", "n_steps", "mean_tree_accept")


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: draws done of all, divergences so far, seconds since the start."""

    done: int
    total: int
    divergences: int
    seconds: float


@dataclass(frozen=True)
class _Kernel(CompiledModel):
    """A `Density` as nutpie's sampler sees it: two callbacks and a pointer to the tables."""

    density: Density
    _coords: Mapping[str, object]
    user_data: np.ndarray

    @property
    def n_dim(self):
        return self.density.n_dim

    @property
    def shapes(self):
        return {o.name: o.shape for o in self.density.outputs}

    @property
    def coords(self):
        return self._coords

    def _make_model(self, init_mean):
        d, data = self.density, self.user_data.ctypes.data
        sizes = {name: len(v) for name, v in self._coords.items()}
        names = [o.name for o in d.outputs]
        shapes = [list(o.shape) for o in d.outputs]
        variables = _lib.PyVariable.new_variables(names, ["float64"] * len(names), shapes, sizes, self.dims)
        return _lib.PyMcModel(
            _lib.LogpFunc(d.log_density.address, data, self),
            _lib.ExpandFunc(d.n_dim, d.size, d.expand.address, data, self),
            variables,
            d.n_dim,
            sizes,
            dict(self._coords),
            d.start,
            None,
        )

    def _make_sampler(self, settings, init_mean, cores, progress_type, callback, rate, store):
        return _lib.PySampler.from_pymc(
            settings, cores, self._make_model(init_mean), progress_type, callback, rate, store
        )


def compiled(density: Density, coords: Mapping[str, object]) -> CompiledModel:
    """The density as nutpie samples it. Chains start uniformly within two scale units around the mode."""
    unnamed = {o.name: [f"{o.name}_{k}" for k in range(len(o.shape))] for o in density.outputs if not o.dims}
    dims = {o.name: list(o.dims) or unnamed[o.name] for o in density.outputs if o.shape}
    used = {d for names in dims.values() for d in names}
    index = {str(k): pd.Index(np.asarray(v)) for k, v in coords.items() if k in used}
    for o in density.outputs:
        index |= {d: pd.RangeIndex(n) for d, n in zip(unnamed.get(o.name, ()), o.shape, strict=False)}
    index["unconstrained_parameter"] = pd.RangeIndex(density.n_dim)
    return _Kernel(
        dims=dims,
        density=density,
        _coords=index,
        user_data=density.user_data,
    )


def compiled_graph(model: pm.Model) -> CompiledModel:
    """A PyMC graph as nutpie samples it; compiling takes many seconds. SpecError if a variable of it is discrete."""
    discrete = [v.name for v in model.free_RVs if v.dtype.startswith(("int", "bool"))]
    if discrete:
        raise SpecError(
            f"marginal=False: the joint graph holds {', '.join(discrete)}, which is discrete: NUTS cannot sample it. Leave "
            "marginal=True, where it is integrated exactly and drawn back."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nutpie.compile_pymc_model(model)


def sample(
    model: CompiledModel,
    *,
    draws: int,
    tune: int,
    seed: int,
    chains: int = CHAINS,
    cores: int | None = None,
    target_accept: float = 0.9,
    maxdepth: int = 10,
    snapshot: Callable[[xr.DataTree], None] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[xr.DataTree, bool]:
    """Chains of NUTS.

    Parameters
    ----------
    snapshot : callable, optional
        Called every `SNAPSHOT_SECONDS` with the draws made so far, so that not even a killed process loses them.
    report : callable, optional
        Called a few times a second with a `Progress`.

    Returns
    -------
    draws : DataTree
        Groups ``posterior`` and ``sample_stats``.
    complete : bool
        False if Ctrl-C stopped it: the draws made so far are there, see `made_so_far`.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C before there were `FEWEST` draws to keep.
    """
    start = time.perf_counter()

    def callback(states):
        report(
            Progress(
                sum(c.finished_draws for c in states),
                sum(c.total_draws for c in states),
                sum(c.divergences for c in states),
                time.perf_counter() - start,
            )
        )

    background = nutpie.sample(
        model,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        seed=seed,
        target_accept=target_accept,
        maxdepth=maxdepth,
        save_warmup=False,
        progress_bar=False,
        progress_callback=callback if report else None,
        progress_rate=200,
        blocking=False,
    )
    try:
        return tidy(_wait(background, snapshot)), True
    except KeyboardInterrupt:
        tree = made_so_far(_quietly(background.abort))
        if not _enough(tree):
            print("Stopped during warm-up: there are no draws to keep.", file=sys.stderr)
            raise
        n = tree["posterior"].sizes
        print(f"Stopped: keeping the draws made so far, {n['chain']} chains x {n['draw']}.", file=sys.stderr)
        return tree, False
    except RuntimeError as error:
        raise DataError(
            f"The sampler stopped: {str(error).splitlines()[0]}. The posterior has no density there: is the outcome nearly "
            "constant within arms, a standard error near zero, or a prior far from the data?"
        ) from None
    finally:
        background.cancel()  # if it still runs: its threads read tables that are about to be freed


def _wait(background, snapshot) -> xr.DataTree:
    """The finished draws; snapshots on the way. Writing every draw through zarr at once would cost 30 times the sampling."""
    pause = SNAPSHOT_SECONDS if snapshot else None
    while True:
        try:
            return background.wait(timeout=pause)
        except TimeoutError:
            begin = time.perf_counter()
            tree = made_so_far(_quietly(background.inspect))
            if _enough(tree):
                snapshot(tree)
            pause = max(SNAPSHOT_SECONDS, 10 * (time.perf_counter() - begin))


def _quietly(draws_of: Callable[[], xr.DataTree]) -> xr.DataTree:
    """Draws of unfinished chains; ArviZ warns if there are more chains than draws."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draws_of()


def made_so_far(tree: xr.DataTree) -> xr.DataTree:
    """The draws of unfinished chains, as chains of one length.

    nutpie fills up stopped chains with NaN, and with fewer cores than chains some have not begun. The longest k chains are
    kept, cut to the shortest of them, for the k that keeps most draws.
    """
    tree = tidy(tree)
    energy = tree["sample_stats"]["energy"].transpose("chain", "draw").to_numpy()
    made = np.isfinite(energy).cumprod(axis=1).sum(axis=1)
    longest = np.argsort(-made, kind="stable")
    k = max(range(1, len(made) + 1), key=lambda k: (k * made[longest[k - 1]], k))
    part = {"chain": np.sort(longest[:k]), "draw": slice(0, int(made[longest[k - 1]]))}
    return xr.DataTree.from_dict({name: node.to_dataset().isel(part) for name, node in tree.children.items()})


def _enough(tree: xr.DataTree) -> bool:
    return tree["sample_stats"].sizes["draw"] >= FEWEST


def tidy(tree: xr.DataTree) -> xr.DataTree:
    """Posterior and sampler statistics only, in memory; coordinates of transformed parameters are left out."""
    posterior, stats = tree["posterior"].to_dataset(), tree["sample_stats"].to_dataset()
    return xr.DataTree.from_dict(
        {
            "posterior": posterior.drop_vars([v for v in posterior.data_vars if str(v).endswith("__")]).load(),
            "sample_stats": stats[[s for s in STATISTICS if s in stats]].load(),
        }
    )
