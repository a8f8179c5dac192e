"""Data from the model's own graph: parameters from their priors, then random effects, then outcomes."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import xarray as xr
from pytensor.graph.traversal import ancestors

from bayeshte.design import row_labels
from bayeshte.errors import SpecError
from bayeshte.prior import Prior
from bayeshte.replication import EVALUATE
from bayeshte.spec import ModelSpec

#: Draws of the priors for one that is allowed.
PROPOSALS = 10_000


def simulate(
    spec: ModelSpec, data: pd.DataFrame, priors: Mapping[str, Prior] | None = None, n: int = 1, seed: int = 0
) -> list[tuple[xr.Dataset, pd.DataFrame]]:
    """Data sets from the joint graph: parameters from their priors, then random effects (cluster means, slopes), then outcomes.

    Parameters
    ----------
    spec : ModelSpec
    data : DataFrame
        The persons, arms, clusters and covariates; only the outcome is replaced, of a structural equation model every variable
        that it does not condition on. Missing values stay missing. Never changed.
    priors : mapping of str to Prior, optional
        In place of those of `spec`: overrides by label, as in the specification.
    n : int
        Number of data sets.
    seed : int
        The same seed gives the same data sets.

    Returns
    -------
    list of (Dataset, DataFrame)
        The true value of every parameter, random effect and derived quantity, under the names and labels of
        ``Fit.posterior``; and the rows that the model analyses, in their order, with the simulated outcome.

    Raises
    ------
    SpecError
        If a prior is improper: there is nothing to draw from; or if next to none of its draws is allowed.
    """
    if priors is not None:
        spec = replace(spec, priors=priors)
    design = spec.design(data)
    truths, columns = _prior_draws(spec, design, spec.frozen_priors(design), n, seed)
    rows = data[np.isin(row_labels(data.index), design["row"].to_numpy())]
    known = {v: rows[v].notna().to_numpy() for v in columns}
    return [
        (
            truths.isel(chain=0, draw=k, drop=True),
            rows.assign(**{v: _column(x[k], rows[v], known[v]) for v, x in columns.items()}),
        )
        for k in range(n)
    ]


def _column(values: np.ndarray, given: pd.Series, known: np.ndarray) -> np.ndarray | pd.Categorical:
    """Simulated values of a column, missing where they were, categories in its order or as numbers if it has these."""
    if isinstance(given.dtype, pd.CategoricalDtype):
        place = {str(label): k for k, label in enumerate(given.cat.categories)}
        codes = [place[v] if there else -1 for v, there in zip(values, known, strict=True)]
        return pd.Categorical.from_codes(codes, dtype=given.dtype)
    if values.dtype.kind == "U":  # labels of categories that are numbers in the data
        return values.astype(int) if known.all() else np.where(known, values, "nan").astype(float)
    return values if known.all() else np.where(known, values, np.nan)


def _prior_draws(
    spec: ModelSpec, design: xr.Dataset, priors: Mapping[str, Prior], n: int, seed: int
) -> tuple[xr.Dataset, dict[str, np.ndarray]]:
    """Parameters with one chain of `n` draws, derived quantities added, and columns of data (n, row)."""
    others = {k: p for k, p in priors.items() if not p.drawable}
    if others:
        listed = ", ".join(f"{k}: {p!r}" for k, p in others.items())
        kind = (
            "Priors of variances and improper priors" if any(p.proper for p in others.values()) else "Improper priors"
        )
        raise SpecError(f"{kind} cannot be simulated from ({listed}). Name proper ones of SDs in priors=.")
    model = spec.joint(design, priors)
    shown = [v for v in [*model.free_RVs, *model.deterministics] if not v.name.startswith("_")]
    # evaluated by Python: compiling would take a minute, and without cxx="" inner graphs are compiled in C where g++ is found
    with pytensor.config.change_flags(cxx=""):
        drawn = _draws(model, [*shown, *model.observed_RVs], n, seed)
    dims = {v.name: ("chain", "draw", *model.named_vars_to_dims.get(v.name, ())) for v in shown}
    used = {d for names in dims.values() for d in names[2:]}
    coords = {"chain": [0], "draw": np.arange(n)} | {d: np.asarray(model.coords[d]) for d in used}
    truth = xr.Dataset({v.name: (dims[v.name], drawn[v.name][None]) for v in shown}, coords)
    columns = spec.observed_columns({v.name: drawn[v.name] for v in model.observed_RVs}, design)
    return spec.recover(truth, design, np.random.default_rng(seed)), columns


def _draws(model: pm.Model, variables: list, n: int, seed: int) -> dict[str, np.ndarray]:
    """Draws (n, ...) of variables of the graph, by name.

    What its potentials depend on is drawn first, and again wherever one of them is -inf: the prior is truncated there.
    """
    needed = set(ancestors(model.potentials))
    first = [v for v in model.free_RVs if v in needed]
    rest = [v for v in variables if v not in first]
    propose = pm.compile([], [*first, *model.potentials], mode=EVALUATE, random_seed=(seed, 1))
    complete = pm.compile(first, rest, mode=EVALUATE, random_seed=seed)
    draws = []
    for _ in range(n):
        given = _allowed(propose, len(first))
        draws.append([*given, *complete(*given)])
    return {v.name: np.stack(x) for v, x in zip([*first, *rest], zip(*draws, strict=True), strict=True)}


def _allowed(propose: Callable, count: int) -> list[np.ndarray]:
    """The first proposal, its `count` values, whose potentials are not -inf."""
    for _ in range(PROPOSALS):
        values = propose()
        if np.isfinite(values[count:]).all():
            if np.any(values[count:]):
                raise SpecError(
                    "Priors of single covariances in a set that all covary cannot be simulated from: name priors of correlations "
                    "and SDs instead, corr[...] and sd[...]."
                )
            return values[:count]
    raise SpecError(
        f"None of {PROPOSALS:,} draws of the priors was allowed (correlations that make no positive definite matrix, say): "
        "name narrower priors in priors=."
    )
