"""Expected values of a structural equation model for persons, in the clusters of the data or in new ones."""

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte.errors import DataError, SpecError
from bayeshte.families.sem_design import products, values_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.structural_draws import implied_within
from bayeshte.marginal.structural_products import Law


def expected(
    structure: Structure, m: Matrices, draws: xr.Dataset, design: xr.Dataset, clusters: str, frame: pd.DataFrame | None
) -> xr.DataArray:
    """Expected value of every variable of the first level given the covariates, (chain, draw, row, within_variable).

    In the clusters of the data (``"these"``) their latent means and slopes are used; otherwise those that are expected given the
    covariates of the cluster, which is both the average over new clusters and the average cluster: the model is linear.
    """
    if clusters not in ("these", "new", "average"):
        raise SpecError(f"clusters={clusters!r}: write 'these', 'new' or 'average'.")
    X, Z, code, context, rows = _covariates(structure, design, clusters, frame)
    t, p = stacked(structure, draws), m.within
    q = np.column_stack([np.ones(len(X)), X, *([np.ones(len(X)), Z] if structure.two_level else [])])
    if m.products and not structure.two_level:
        return _labelled(_means(m, t, q, context, 0)[..., :p], draws, design, rows)
    K = implied(m, t)[1]
    own = K[:, 0, 0] if structure.two_level else K[:, 0]
    if not structure.two_level:
        values = np.stack([own[:, c, :p] @ x for c, x in zip(context, q, strict=True)], axis=1)
        return _labelled(values, draws, design, rows)
    between = _means(m, t, q, context, 1)
    if clusters == "these" and structure.both:
        b = draws["cluster_mean"].transpose("chain", "draw", design.attrs["cluster"], "between_variable").to_numpy()
        at = [structure.within.index(v) for v in structure.both]
        between[..., at] = b.reshape(len(t), *b.shape[2:])[:, code]
    if not m.slopes:
        within = _means(m, t, q, np.zeros(len(q), int), 0)
        return _labelled((between + within)[..., :p], draws, design, rows)
    if clusters == "these":
        s = draws["slope"].transpose("chain", "draw", design.attrs["cluster"], "slopes").to_numpy()
        slopes = s.reshape(len(t), *s.shape[2:])[:, code]
    else:
        slopes = between[..., [s.variable for s in m.slopes]]
    within = np.stack([implied_within(m, t, slopes[:, i])[1][:, :p] @ q[i] for i in range(len(q))], axis=1)
    return _labelled(between[..., :p] + within, draws, design, rows)


def _means(m: Matrices, t: np.ndarray, q: np.ndarray, context: np.ndarray, level: int) -> np.ndarray:
    """Expected values of the variables of a level given the covariates, (draw, row, M)."""
    out = np.empty((len(t), len(q), m.size))
    for c in np.unique(context):
        out[:, context == c] = Law.of(m, t, c, level).mean(q[context == c])
    return out


def _labelled(values: np.ndarray, draws: xr.Dataset, design: xr.Dataset, rows) -> xr.DataArray:
    coords = {k: draws[k] for k in ("chain", "draw")} | {"row": rows, "within_variable": design["within_variable"]}
    shape = (draws.sizes["chain"], draws.sizes["draw"], *values.shape[1:])
    return xr.DataArray(values.reshape(shape), coords, ("chain", "draw", "row", "within_variable"))


def _covariates(structure: Structure, design: xr.Dataset, clusters: str, frame: pd.DataFrame | None):
    """X, Z by row, codes of clusters and contexts, and row labels, of the design or of other persons."""
    if frame is None:
        code = design["cluster_code"].to_numpy() if structure.two_level else None
        Z = design["Z"].to_numpy()[code] if structure.two_level else np.empty((design.sizes["row"], 0))
        context = design["context"].to_numpy()
        return design["X"].to_numpy(), Z, code, context if code is None else context[code], design["row"].to_numpy()
    first, last = structure.levels[0], structure.levels[-1]
    names = [
        *structure.covariates(first),
        *(structure.covariates(last) if structure.two_level else []),
        *structure.moderators,
    ]
    used = list(dict.fromkeys(part for v in names for part in v.split(":")))
    cluster = design.attrs["cluster"]
    columns.check_frame(frame, [*used, *([cluster] if clusters == "these" and cluster else [])])
    numbers = frame.assign(**{v: values_of(frame, v) for v in used})
    absent = numbers[used].isna().any(axis=1).to_numpy() if used else np.zeros(len(frame), bool)
    if absent.any():
        raise DataError(
            f"Covariates {used} are missing in {absent.sum()} rows, the first is {columns.first(frame, absent)}."
        )
    code = None
    if structure.two_level and clusters == "these":
        position = {str(v): k for k, v in enumerate(design[cluster].to_numpy())}
        given = columns.labels_of(frame[cluster])
        unknown = sorted({*given} - {*position})
        if unknown:
            raise DataError(
                f"{cluster!r} has values that were not in the fit: {unknown[:5]}; clusters='new' predicts for those."
            )
        code = np.array([position[v] for v in given])
    slots = numbers[structure.moderators].to_numpy(float).reshape(len(frame), -1)
    known = design["slots"].to_numpy()
    same = (slots[:, None] == known[None]).all(-1)
    if not same.any(1).all():
        raise DataError(
            f"{structure.moderators} take values that were not in the data, the first in row "
            f"{columns.first(frame, ~same.any(1))}: predict at values that were."
        )
    Z = products(numbers, structure.covariates(last)) if structure.two_level else np.empty((len(frame), 0))
    return products(numbers, structure.covariates(first)), Z, code, same.argmax(1), frame.index.to_numpy()
