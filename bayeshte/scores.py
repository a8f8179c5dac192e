"""Factor scores of a structural equation model, and the latent means of its clusters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.effects import mark
from bayeshte.errors import SpecError, near
from bayeshte.families import SEM
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_matrices import matrices
from bayeshte.marginal.structural_scores import draw_between, draw_within
from bayeshte.summary import LEVEL, distribution, is_fixed

if TYPE_CHECKING:
    from bayeshte.fit import Fit

#: variables of a posterior that hold latent variables of clusters: their dim, and what a table calls them
STORED = {"cluster_mean": ("between_variable", "cluster means"), "slope": ("slopes", "random slopes")}


@dataclass(frozen=True)
class _Latent:
    """Latent variables of a level that come together: drawn in pieces of its units, (draw, unit, variable)."""

    level: str
    header: str
    names: tuple[str, ...]
    units: np.ndarray
    dim: str
    pieces: Iterator[tuple[np.ndarray, np.ndarray]]

    def label(self, name: str) -> str:
        return f"{self.level}: {name}" if self.level else name


def factor_scores(fit: "Fit", interval: str = "eti", level: float = LEVEL) -> pd.DataFrame:
    """Factor scores of rows and clusters, latent cluster means and random slopes, one a row.

    Every factor is drawn once for each posterior draw, from its distribution given the parameters and all values that are
    there: the intervals hold the uncertainty of the parameters too. Rows are taken in pieces, and the draws are not kept:
    `factor_score_draws` has those of one variable.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.SEM`.
    interval, level
        As in `bh.summary`.

    Returns
    -------
    DataFrame
        ``level`` (with two levels), ``header`` ("factors", "cluster means", "random slopes"), ``variable``, ``unit`` (label of
        the row or the cluster), then ``estimate`` (median), ``mean``, ``posterior_sd``, ``lower``, ``upper``. The mean is
        the regression factor score (Thurstone, 1935) averaged over the posterior.

    Raises
    ------
    SpecError
        For another family, a model that has no latent variables, or one with factors of rows and categorical variables or
        products of latent variables: given the data such a factor is not normal.
    """
    parts = []
    shape = (fit.posterior.sizes["chain"], fit.posterior.sizes["draw"])
    for found in _latent(fit):
        _check(fit, found)
        columns = {k: np.empty((len(found.names), len(found.units))) for k in _columns(np.zeros((1, 2, 1)))}
        for units, x in found.pieces:
            values = _columns(x.reshape(*shape, -1), interval, level)
            for k, v in values.items():
                columns[k][:, units] = v.reshape(len(units), -1).T
        for k, name in enumerate(found.names):
            given = {"level": found.level, "header": found.header, "variable": name, "unit": found.units}
            parts.append(pd.DataFrame(given | {c: v[k] for c, v in columns.items()}))
    table = pd.concat(parts, ignore_index=True)
    table.attrs = {"interval": interval, "level": level}
    return mark(fit, table if fit.spec.structure.two_level else table.drop(columns="level"))


def _columns(x: np.ndarray, interval: str = "eti", level: float = LEVEL) -> dict[str, np.ndarray]:
    return distribution(x, ~is_fixed(x), interval, level)


def factor_score_draws(fit: "Fit", variable: str) -> xr.DataArray:
    """The draws behind `factor_scores`, of one variable: dims ``chain, draw`` and the row or the cluster.

    Parameters
    ----------
    variable : str
        With two levels with its level: ``"within: f"``, ``"between: f"``, ``"between: y"`` (cluster means of y).

    Raises
    ------
    SpecError
        If the model has no such latent variable; the message lists those it has.
    """
    groups = _latent(fit)
    labels = [found.label(name) for found in groups for name in found.names]
    if variable not in labels:
        raise SpecError(f"No latent variable {variable!r}.{near(variable, labels)}")
    shape = (fit.posterior.sizes["chain"], fit.posterior.sizes["draw"])
    (found,) = [g for g in groups if variable in map(g.label, g.names)]
    _check(fit, found)
    at = [found.label(v) for v in found.names].index(variable)
    out = np.empty((shape[0] * shape[1], len(found.units)))
    for units, x in found.pieces:
        out[:, units] = x[..., at]
    coords = {"chain": fit.posterior["chain"], "draw": fit.posterior["draw"], found.dim: found.units}
    return xr.DataArray(out.reshape(*shape, -1), coords, ("chain", "draw", found.dim), variable)


def _latent(fit: "Fit") -> list[_Latent]:
    """What a model has of latent variables; each group has a seed of its own, so that draws do not depend on what is asked."""
    if not isinstance(fit.spec, SEM):
        raise SpecError(
            "Factor scores are those of a bh.SEM; bh.cluster_effects(fit) has the clusters of other models."
        )
    design, posterior = fit.design, fit.posterior
    s = fit.spec.structure_of(posterior)
    m, data, t = matrices(s, design["slots"].to_numpy()), data_of(design), stacked(s, posterior)
    own = design.attrs["cluster"]
    given = {v: _flat(posterior[v], own, dim) for v, (dim, _) in STORED.items() if v in posterior}
    both, slopes, b = np.array([s.within.index(v) for v in s.both], int), given.get("slope"), None
    if s.two_level:
        b = np.zeros((len(t), len(data.context), m.within))
        b[..., both] = given.get("cluster_mean", b[..., both])
    seeds = np.random.SeedSequence(fit.record["seed"], spawn_key=(3,)).spawn(2)
    out = []
    for k, level in enumerate(s.levels):
        clusters = level == "between"
        units, dim = (design[own].to_numpy(), own) if clusters else (design["row"].to_numpy(), "row")
        if clusters:
            for v, x in given.items():
                names = tuple(str(n) for n in posterior[v][STORED[v][0]].to_numpy())
                out.append(_Latent(level, STORED[v][1], names, units, dim, iter([(np.arange(len(units)), x)])))
        names = s.table.factors(level)
        if names:
            places, rng = np.array([s.variables(level).index(f) for f in names]), np.random.default_rng(seeds[k])
            drawn = (
                draw_between(m, data, t, places, rng, both, b, slopes)
                if clusters
                else draw_within(m, data, t, places, rng, b, slopes)
            )
            out.append(_Latent(level, "factors", names, units, dim, drawn))
    if not out:
        raise SpecError(
            "The model has no latent variables: no factor (f =~ y1 + y2 + y3) and no variable on two levels. "
            "bh.predict(fit, data) has the expected values of the observed ones."
        )
    return out


def _check(fit: "Fit", found: _Latent) -> None:
    """Factors are drawn from a normal distribution, which they do not have given categories of their own level."""
    links, own = fit.spec.links, fit.spec.structure.own
    asked = [v for v in links if found.dim == "row" or v in own]
    if asked and found.header == "factors":
        unit = "rows" if found.dim == "row" else "clusters"
        raise SpecError(
            f"There are no scores of {', '.join(found.names)}: with categorical variables ({', '.join(asked)}) a factor of "
            f"{unit} is not normal given the data. bh.factor_score_draws has the latent means and random slopes of clusters."
        )
    products = [r.name for level in fit.spec.structure.levels for r in fit.spec.structure.interactions(level)]
    if products and found.header == "factors":
        raise SpecError(
            f"There are no scores of {', '.join(found.names)}: with a product of latent variables ({', '.join(products)}) "
            "factors are not normal given the data. The model without it, fitted by itself, has scores of its factors."
        )


def _flat(values: xr.DataArray, cluster: str, dim: str) -> np.ndarray:
    """Chains stacked, (draw, cluster, variable)."""
    x = values.transpose("chain", "draw", cluster, dim).to_numpy()
    return x.reshape(-1, *x.shape[2:])
