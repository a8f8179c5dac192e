"""Log-likelihoods of structural equation models, by cluster and by row, for many draws."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families.sem_categorical import responses
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal import (
    structural_categorical,
    structural_categorical_integration,
    structural_draws,
    structural_integration,
    structural_product_integration,
)
from bayeshte.marginal.cluster_categories import causes_of
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.sufficient import Data

NO_CLUSTERS = (
    "There is no likelihood of whole clusters with a product of latent variables ({}): what varies between clusters is sampled, "
    "and not integrated. That of rows, given the latent means of clusters, is there."
)


def log_likelihood(s: Structure, m: Matrices, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
    """By cluster with everything integrated, or by row given the clusters' means and slopes; see `SEM.log_likelihood`."""
    data, t, own, attrs = data_of(design), stacked(s, draws), design.attrs["cluster"], {}
    by_cluster = unit == "cluster" and bool(own)
    if s.links:
        found = _categorical(s, m, data, t, draws, by_cluster)
        values, attrs = found.values, _numerical(s, m, found)
    elif m.products:
        if by_cluster:
            raise SpecError(NO_CLUSTERS.format(", ".join(r.name for level in s.levels for r in s.interactions(level))))
        found = structural_product_integration.log_likelihood(m, data, t, _parts(s, m, draws, design) if own else None)
        values, attrs = found.values, _members(s, found)
    elif by_cluster and m.slopes:
        found = structural_integration.log_likelihood(m, data, t)
        values, attrs = found.values, _quadrature(f"the random slopes {', '.join(s.table.slopes)}", found)
    elif by_cluster or not own:
        values = structural_draws.log_likelihood(m, data, t)
    else:
        values = _given_clusters(s, m, data, t, draws, design)
    dim = own if by_cluster else "row"
    shape = (draws.sizes["chain"], draws.sizes["draw"], -1)
    coords = {"chain": draws["chain"], "draw": draws["draw"], dim: design[dim].to_numpy()}
    return xr.DataArray(values.reshape(shape), coords, ("chain", "draw", dim), attrs=attrs)


def slopes_of(posterior: xr.Dataset) -> np.ndarray | None:
    """Random slopes (draw, cluster, slope), chains stacked; None without."""
    return _stacked(posterior, "slope", "slopes") if "slope" in posterior else None


def _stacked(posterior: xr.Dataset, name: str, dim: str) -> np.ndarray:
    """A variable of clusters, (draw, cluster, `dim`)."""
    x = posterior[name].transpose("chain", "draw", ..., dim).to_numpy()
    return x.reshape(-1, *x.shape[2:])


def _given_clusters(
    s: Structure, m: Matrices, data: Data, t: np.ndarray, draws: xr.Dataset, design: xr.Dataset
) -> np.ndarray:
    """Of every row given its cluster's latent means and slopes, all variables continuous: (draw, row)."""
    b = _parts(s, m, draws, design)[:, data.code, : m.within]
    if m.slopes:  # every cluster is a context
        there, code = np.unique(data.code, return_inverse=True)
        moments = [structural_draws.implied_within(m, t, slopes_of(draws)[:, j]) for j in there]
        S, K = (np.stack(x, axis=1) for x in zip(*moments, strict=True))
        data = replace(data, code=code, context=np.arange(len(there)))
    else:
        S, K = (x[:, 0] for x in implied(m, t))
    return structural_draws.row_likelihood(data, S, K, b)


def _parts(s: Structure, m: Matrices, draws: xr.Dataset, design: xr.Dataset) -> np.ndarray:
    """Latent means of clusters among all variables, (draw, cluster, M)."""
    b = np.zeros((draws.sizes["chain"] * draws.sizes["draw"], design.sizes[design.attrs["cluster"]], m.size))
    if s.both:
        b[..., [s.within.index(v) for v in s.both]] = _stacked(draws, "cluster_mean", "between_variable")
    return b


def _categorical(
    s: Structure, m: Matrices, data: Data, t: np.ndarray, draws: xr.Dataset, by_cluster: bool
) -> structural_categorical_integration.Integral:
    """With categorical variables: clusters, or rows given what varies between clusters."""
    answers = responses(s)
    if by_cluster:
        return structural_categorical_integration.log_likelihood(m, data, answers, t)
    parts = [np.empty((len(t), len(data.context) if s.two_level else 1, 0))]
    if s.both:
        parts.append(_stacked(draws, "cluster_mean", "between_variable"))
    if m.slopes:
        parts.append(slopes_of(draws))
    return structural_categorical_integration.row_log_likelihood(m, data, answers, t, np.concatenate(parts, axis=-1))


def _quadrature(what: str, found: structural_integration.Integral) -> dict[str, str | int | float]:
    """How `what` was integrated, as attributes of the likelihood."""
    return _attributes([_adaptive(what, found.nodes)], int(found.nodes.max()), found.error)


def _numerical(
    s: Structure, m: Matrices, found: structural_categorical_integration.Integral
) -> dict[str, str | int | float]:
    """The same with categorical variables; nothing where nothing was integrated."""
    texts = []
    if len(found.nodes) and len(structural_categorical.varying(m)):
        means = [f"the latent means of {', '.join(s.both)}"] if s.both else []
        slopes = [f"the random slopes {', '.join(s.table.slopes)}"] if m.slopes else []
        first = causes_of(m, structural_categorical.links_of(responses(s)), structural_categorical.varying(m))
        first = [f"the latent responses of {', '.join(s.observed[v] for v in first)}"] if first else []
        texts.append(_adaptive(" and ".join(means + slopes + first), found.nodes))
    points = structural_categorical_integration.POINTS * found.row_nodes
    for unit, number in (("row", found.sampled), ("cluster", found.of_clusters)):
        how = f"adaptive Gauss-Hermite quadrature with {found.row_nodes} nodes each"
        how = how if number <= 2 else f"{points} Sobol points"
        texts += [f"up to {number} latent variables of a {unit} by {how}"] if number else []
    if not texts:
        return {}
    return _attributes(texts, int(found.nodes.max(initial=found.row_nodes)), found.error)


def _members(s: Structure, found: structural_product_integration.Integral) -> dict[str, str | int | float]:
    """The same of members of products; nothing where their values are all there."""
    if not found.sampled:
        return {}
    text = f"{', '.join(s.known(s.levels[0]))} by adaptive Gauss-Hermite quadrature with {found.nodes} nodes each"
    return _attributes([text], found.nodes, found.error)


def _adaptive(what: str, nodes: np.ndarray) -> str:
    least, most = nodes.min(), nodes.max()
    number = f"{least} to {most}" if most > least else f"{most}"
    return f"{what} by adaptive Gauss-Hermite quadrature with {number} nodes each"


def _attributes(texts: Sequence[str], nodes: int, error: float) -> dict[str, str | int | float]:
    text = f"{', '.join(texts)} (twice as many change the log likelihood by {error:.1g} at most)"
    return {"integrated": text, "nodes": nodes, "quadrature_error": error}
