"""The data side of a structural equation model: columns to labelled arrays, and what is refused."""

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte.errors import DataError, SpecError
from bayeshte.families.sem_categorical import check_counts, check_links, check_thresholds, codes
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.sufficient import Data
from bayeshte.model_text.parts import MEAN, split

#: dims of the design and of the posterior
DIMS = (
    *("within_variable", "between_variable", "own_variable", "within_covariate", "between_covariate"),
    *("slopes", "loadings", "paths", "intercepts", "thresholds", "sds", "corrs", "covs", "quantity"),
)


def build(spec, structure: Structure, data: pd.DataFrame) -> xr.Dataset:
    """The design: `Y` (row, within_variable) and `V` (cluster, own_variable) with missing values, covariates `X` and `Z`."""
    own_level = structure.levels[-1]
    used = list(dict.fromkeys(v for level in structure.levels for v in structure.table.observed(level)))
    categories: dict[str, list[str]] = {}
    numbers = _numbers(data, used, spec, categories)
    conditioned = {part for level in structure.levels for v in structure.covariates(level) for part in v.split(":")}
    conditioned |= {*structure.moderators}
    frame, dropped = _complete(numbers, [v for v in used if v in conditioned], spec.cluster)

    coords: dict = {"row": columns.row_labels(frame.index), "within_variable": structure.within}
    first = structure.covariates(structure.levels[0])
    variables = {
        "Y": (("row", "within_variable"), frame[structure.within].to_numpy(float)),
        "X": (("row", "within_covariate"), products(frame, first)),
    }
    coords["within_covariate"] = first
    if structure.two_level:
        code, labels = columns.code_clusters(frame[spec.cluster])
        variables["cluster_code"] = ("row", code)
        second = structure.covariates(own_level)
        _check_clusters(labels, second, spec.cluster)
        coords |= {spec.cluster: labels, "between_variable": structure.both}
        coords |= {"own_variable": structure.own, "between_covariate": second}
        parts = dict.fromkeys(part for v in [*second, *structure.moderators] for part in v.split(":"))
        by_cluster = pd.DataFrame(
            {v: _of_clusters(frame, v, code, labels, spec.cluster, categories.get(v)) for v in [*structure.own, *parts]}
        )
        variables["V"] = (
            (spec.cluster, "own_variable"),
            by_cluster[structure.own].to_numpy(float).reshape(len(labels), -1),
        )
        variables["Z"] = ((spec.cluster, "between_covariate"), products(by_cluster, second, len(labels)))
        for v in structure.own:
            _check_varies(by_cluster[v].to_numpy(), v, "between clusters")
        slots = by_cluster[structure.moderators].to_numpy(float).reshape(len(labels), -1)
        _check_within(variables["Y"][1], structure, code, spec.cluster)
    else:
        slots = frame[structure.moderators].to_numpy(float).reshape(len(frame), -1)
    values, context = np.unique(slots, axis=0, return_inverse=True)
    where = spec.cluster if structure.two_level else "row"
    coords |= {"slopes": list(structure.table.slopes)}
    variables |= {"context": (where, context.ravel()), "slots": (("context_", "moderator_"), values)}
    for k, v in enumerate(structure.within):
        _check_varies(variables["Y"][1][:, k], v, "")
    check_thresholds(structure, categories)
    if categories:
        known = [(v, f"t{k}") for v, labels in categories.items() for k in range(1, len(labels))]
        coords["thresholds"] = spec.structure_with(known).elements("threshold")
    attrs = {
        "family": " and ".join(_kinds(structure)),
        "outcome": ", ".join(structure.observed),
        "treatment": "",
        "reference": "",
        "cluster": spec.cluster or "",
        "rows_given": len(data),
        "missing": [f"{k}: {v}" for k, v in dropped.items()],
        "categories": [f"{v}={label}" for v, labels in categories.items() for label in labels],
        "data_hash": columns.fingerprint(frame),
    }
    design = xr.Dataset(variables, coords, attrs)
    check_counts(structure, design, categories, frame)
    _check_covariates(design, structure)
    return design


def _kinds(structure: Structure) -> list[str]:
    """What the modelled variables are."""
    return ["gaussian"] * (not {*structure.observed} <= {*structure.links}) + ["categorical"] * bool(structure.links)


def _numbers(data: pd.DataFrame, used: list[str], spec, categories: dict[str, list[str]]) -> pd.DataFrame:
    """The columns `used`, observed parts computed, and that of the clusters; `categories` gets the labels of categories."""
    cluster, parts = spec.cluster, {v: split(v) for v in used}
    given = list(dict.fromkeys(column for _, column in parts.values()))
    columns.check_frame(data, [*given, *([cluster] if cluster else [])])
    taken = [v for v, (part, _) in parts.items() if part and v in data.columns]
    if taken:
        raise DataError(f"The data have a column {taken[0]!r}, which in model text is computed: rename the column.")
    numbers = pd.DataFrame({v: values_of(data, v) for v in given if v not in spec.links}, index=data.index)
    for v in spec.links:
        numbers[v], categories[v] = codes(data, v)
    for v, (part, column) in parts.items():
        if part:
            mean = numbers[column].groupby(data[cluster].to_numpy()).transform("mean")
            numbers[v] = mean if part == MEAN else numbers[column] - mean
    return numbers[used].assign(**({cluster: data[cluster]} if cluster else {}))


def data_of(design: xr.Dataset) -> Data:
    """The arrays of a design as the likelihood takes them."""
    Y, X = design["Y"].to_numpy(), design["X"].to_numpy()
    context = design["context"].to_numpy()
    if "cluster_code" not in design:
        return Data(Y, X, None, np.empty((0, 0)), np.empty((0, 0)), context)
    return Data(Y, X, design["cluster_code"].to_numpy(), design["V"].to_numpy(), design["Z"].to_numpy(), context)


def values_of(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A numeric column as floats, NaN where missing."""
    known = frame[column].notna().to_numpy()
    if not known.any():
        raise DataError(f"Column {column!r} has no values.")
    out = np.full(len(frame), np.nan)
    out[known] = columns.floats(frame[known], column, "variable")
    columns.check_size(frame.assign(**{column: out}), column)
    return out


def _complete(frame: pd.DataFrame, conditioned: list[str], cluster: str | None) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows with a cluster and all covariates that the model conditions on (Mplus's rule), and what was missing."""
    if cluster is not None and frame[cluster].isna().any():
        missing = frame[cluster].isna().to_numpy()
        raise DataError(
            f"The cluster {cluster!r} is missing in {missing.sum()} of {len(frame)} rows, the first is "
            f"{columns.first(frame, missing)}: give them a cluster or drop them."
        )
    dropped = {v: int(frame[v].isna().sum()) for v in conditioned if frame[v].isna().any()}
    keep = frame[conditioned].notna().all(axis=1).to_numpy() if conditioned else np.ones(len(frame), bool)
    if not keep.any():
        raise DataError(f"No row has all covariates: missing {dropped} of {len(frame)} rows.")
    return frame[keep], dropped


def products(frame: pd.DataFrame, names: list[str], rows: int | None = None) -> np.ndarray:
    """Columns and products of columns, (row, name)."""
    parts = [frame[v.split(":")].prod(axis=1, skipna=False).to_numpy(float) for v in names]
    return np.stack(parts, axis=1) if parts else np.empty((len(frame) if rows is None else rows, 0))


def _of_clusters(
    frame: pd.DataFrame, column: str, code: np.ndarray, labels: list[str], cluster: str, categories: list[str] | None
) -> np.ndarray:
    """The value of a cluster-level variable in every cluster; refused if it varies within one; `categories`: names of codes."""
    x = frame[column].to_numpy(float)
    known = ~np.isnan(x)
    low, high = np.full(len(labels), np.inf), np.full(len(labels), -np.inf)
    np.minimum.at(low, code[known], x[known])
    np.maximum.at(high, code[known], x[known])
    varies = high - low > 1e-9 * max(np.abs(x[known]).max(), 1e-300)
    if varies.any():
        j = int(np.flatnonzero(varies)[0])
        ends = [categories[int(v)] if categories else f"{v:g}" for v in (low[j], high[j])]
        raise DataError(
            f"{column!r} stands in the between model only, but varies within {varies.sum()} of {len(labels)} clusters of "
            f"{cluster!r}, for example in {labels[j]!r} from {ends[0]} to {ends[1]}. Put it into the within model as well "
            "(it is then split into its two latent parts), or give one value a cluster."
        )
    return np.where(np.isfinite(low), low, np.nan)


def _check_varies(x: np.ndarray, name: str, where: str) -> None:
    x = x[~np.isnan(x)]
    if len(x) < 2 or np.ptp(x) <= 1e-12 * np.abs(x).max():
        value = f" (all {x[0]:g})" if len(x) else ""
        raise DataError(f"{name!r} does not vary{' ' + where if where else ''}{value}: leave it out of the model.")


def _check_clusters(labels: list[str], covariates: list[str], cluster: str) -> None:
    """Means given the covariates leave no deviations to estimate variances from."""
    needed = len(covariates) + 2
    if len(labels) < needed:
        given = (
            f"With {len(covariates)} covariates between clusters ({', '.join(covariates)}) it" if covariates else "It"
        )
        raise DataError(
            f"The between model cannot be estimated, whatever the priors, from {len(labels)} clusters of {cluster!r}. {given} "
            f"needs at least {needed}: leave out covariates, or write a model of one level, model='...'."
        )


def _check_within(Y: np.ndarray, structure: Structure, code: np.ndarray, cluster: str) -> None:
    """A variable of the within model needs variance within clusters."""
    for k, name in enumerate(structure.within):
        if name in structure.links:
            continue
        known = ~np.isnan(Y[:, k])
        y, c = Y[known, k], code[known]
        n = np.bincount(c)
        means = np.bincount(c, y) / np.maximum(n, 1)
        if np.abs(y - means[c]).max() <= 1e-9 * max(np.ptp(y), 1e-300):
            others = [v for r in structure.interactions("within") if name in r.parts for v in r.parts if v != name]
            slope = [
                f" What it does to the effect of {v} is a random slope of {v} that {name} predicts." for v in others
            ]
            raise DataError(
                f"{name!r} stands in the within model but does not vary within any cluster of {cluster!r}: it is a variable "
                f"of clusters. Take it out of the within model.{''.join(slope[:1])}"
            )


def _check_covariates(design: xr.Dataset, structure: Structure) -> None:
    """Covariates that are constants or sums of others have no coefficients of their own."""
    for name, dim in (("X", "within_covariate"), ("Z", "between_covariate")):
        if name not in design or not design.sizes[dim]:
            continue
        x = np.column_stack([np.ones(design[name].shape[0]), design[name].to_numpy()])
        norm = np.sqrt((x**2).sum(0))
        _, R = np.linalg.qr(x / np.where(norm == 0, 1, norm))
        small = np.flatnonzero(np.abs(np.diag(R)) < 1e-9)
        if len(small):
            label = "constant" if small[0] == 0 else str(design[dim].to_numpy()[small[0] - 1])
            raise DataError(
                f"The covariate {label!r} is constant or a linear combination of the ones before it: drop it."
            )


def check_spec(spec) -> None:
    """What can be refused without seeing data."""
    for name in ("model", "within", "between"):
        if not isinstance(getattr(spec, name), str):
            raise SpecError(f"{name}={getattr(spec, name)!r}: model text, such as 'y ~ a*x'.")
    if spec.model and (spec.within or spec.between):
        raise SpecError("Write model= for one level, or within= and between= with cluster= for two.")
    if not spec.model and not (spec.within and spec.between):
        raise SpecError(
            "Write the model: model='...' for one level, or within='...' and between='...' with cluster= for two."
        )
    if spec.model and spec.cluster is not None:
        raise SpecError("A model of clusters needs within= and between= instead of model=.")
    if not spec.model and spec.cluster is None:
        raise SpecError("within= and between= describe clusters: name their column with cluster=.")
    if isinstance(spec.categorical, str):
        raise SpecError(f"categorical={spec.categorical!r}: write a list of variables, [{spec.categorical!r}].")
    check_links(spec.links)
    columns.check_names({"cluster": spec.cluster}, (*DIMS, "Y", "X", "V", "Z", "cluster_code", "context", "slots"))
