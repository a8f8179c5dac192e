"""From a DataFrame to labelled arrays: roles, coding, formulas, and every check of the data.

A design is an `xarray.Dataset`. Rows carry the DataFrame's index, clusters and arms the user's labels, columns of the
model matrix the names that the tables print. The functions here know roles (outcome, treatment, cluster, covariates),
not models; a family puts them together.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from pandas.api import types

from bayeshte.errors import DataError, SpecError, near

RESERVED_DIMS = (
    *("chain", "draw", "sample", "row", "covariate", "moderator", "varying", "varying_"),
    *("unconstrained_parameter", "zarr.json"),
)
MAX_ARMS = 20
LARGEST = 1e50  # squares and products of data must not overflow


def check_names(columns: Mapping[str, str | None], variables: Iterable[str]) -> None:
    """Refuse roles whose column cannot name a dimension: taken by the model, or not a label that can be stored."""
    taken = {*RESERVED_DIMS, *variables}
    for role, column in columns.items():
        if column is None:
            continue
        rename = f"Rename it: data.rename(columns={{{column!r}: {re.sub(r'[^0-9A-Za-z]', '_', column) + '_id'!r}}})."
        if column in taken or re.fullmatch(r"column_\d+", column):
            raise SpecError(f"The {role} column is called {column!r}, a name the model uses itself. {rename}")
        if re.search(r"[/\\,]", column) or not column.strip(". "):
            raise SpecError(
                f"The {role} column is called {column!r}: it becomes a dimension of the results, whose name has no slash, "
                f"backslash or comma and is not empty. {rename}"
            )


def check_frame(data: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse anything but a DataFrame with unique columns, a unique index, rows, and the named columns."""
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"data must be a pandas DataFrame, got {type(data).__name__}.")
    doubled = data.columns[data.columns.duplicated()].unique().tolist()
    if doubled:
        raise DataError(f"Columns {doubled} appear more than once; keep one of each.")
    for column in columns:
        check_column(data, column)
    if len(data) == 0:
        raise DataError("The data have no rows.")
    if not data.index.is_unique:
        again = data.index.duplicated()
        raise DataError(
            f"The index is not unique: {again.sum()} rows repeat a label, the first is {first(data, again)}. "
            "Use data.reset_index(drop=True)."
        )


def check_column(data: pd.DataFrame, column: str, where: str = "") -> None:
    """Refuse a column that is not there, near matches named."""
    if column in data.index.names and column not in data.columns:
        raise DataError(f"Column {column!r}{where} is the index of the data: use data.reset_index().")
    if column not in data.columns:
        raise DataError(f"Column {column!r}{where} is not in the data.{near(column, data.columns)}")


def first(frame: pd.DataFrame, rows: np.ndarray) -> str:
    """Label of the first of some rows, for a message."""
    return repr(frame.index[np.asarray(rows, bool)].tolist()[0])


def complete_rows(data: pd.DataFrame, columns: Sequence[str], missing: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows with a value in every column; missing values are dropped only if ``missing="drop"``.

    Returns
    -------
    frame : DataFrame
        The rows to be analysed, these columns only.
    counts : dict
        Missing values per column (only columns that have any) before dropping.

    Raises
    ------
    DataError
        Infinite values; missing values unless ``missing="drop"``; nothing left.
    """
    if missing not in ("error", "drop"):
        raise SpecError(f"missing={missing!r}: write 'error' or 'drop'.")
    frame = data[list(dict.fromkeys(columns))]
    decimal = [c for c in frame if types.is_float_dtype(frame[c].dtype)]
    frame = frame.assign(**{c: frame[c].to_numpy(float, na_value=np.nan) for c in decimal})
    for column in decimal:
        check_size(frame, column)
    counts = {str(k): int(v) for k, v in frame.isna().sum().items() if v}
    rows = frame.isna().any(axis=1).to_numpy()
    if counts:
        listed = ", ".join(f"{k!r} in {v}" for k, v in counts.items())
        if rows.all():
            raise DataError(
                f"No row is complete. Missing: {listed} of {len(frame)} rows. Leave out or impute such columns."
            )
        if missing == "error":
            raise DataError(
                f"Missing values: {listed} of {len(frame)} rows ({rows.sum()} rows in all, the first is "
                f"{first(frame, rows)}). Write missing='drop' in the specification to analyse the complete rows (unbiased "
                "if values are missing independently of the outcome given the covariates), or impute before fitting."
            )
    frame = frame[~rows]
    return frame.assign(**{c: _plain(frame[c]) for c in frame}), counts


def check_size(frame: pd.DataFrame, column: str) -> None:
    """Refuse infinite values, and values whose squares are not finite or not above zero."""
    values = np.abs(frame[column].to_numpy())
    infinite = np.isinf(values)
    if infinite.any():
        raise DataError(
            f"Column {column!r} has {infinite.sum()} infinite values, the first in row {first(frame, infinite)}. "
            "Replace them, for example data.replace([np.inf, -np.inf], np.nan)."
        )
    largest = np.nanmax(values, initial=0.0)
    if largest > LARGEST or 0 < largest < 1 / LARGEST:
        raise DataError(
            f"Column {column!r} has values of size {largest:.3g}: choose a unit in which they are nearer to 1."
        )


def _plain(values: pd.Series) -> pd.Series:
    """A complete column in the types of NumPy, the widest of their kind; categories that no row has are left out."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.remove_unused_categories()
    if types.is_bool_dtype(values.dtype):
        return values.astype(bool)
    if types.is_string_dtype(values.dtype) and values.dtype != object:
        return values.astype(str)
    if types.is_signed_integer_dtype(values.dtype):
        return values.astype(np.int64)
    return values.astype(np.uint64) if types.is_unsigned_integer_dtype(values.dtype) else values


def floats(frame: pd.DataFrame, column: str, role: str) -> np.ndarray:
    """A column as floats; DataError for text, dates and categories."""
    values = frame[column]
    if not types.is_numeric_dtype(values.dtype) or types.is_complex_dtype(values.dtype):
        bad = pd.to_numeric(values.astype(str), errors="coerce").isna().to_numpy()
        example = f", for example {values[bad].tolist()[0]!r} in row {first(frame, bad)}" if bad.any() else ""
        raise DataError(
            f"The {role} {column!r} must be numeric, it is {values.dtype}{example}. "
            f"Convert it with data[{column!r}].astype(float) or pd.to_numeric; bh.dummies makes 0/1 columns of categories."
        )
    return values.to_numpy(float)


def numeric(frame: pd.DataFrame, column: str, role: str) -> np.ndarray:
    """A column as floats; DataError for text, dates, categories and constants."""
    out = floats(frame, column, role)
    if np.ptp(out) <= 1e-12 * np.abs(out).max():
        raise DataError(f"The {role} {column!r} is constant ({out[0]:g} in all {len(out)} rows).")
    return out


def binary(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A 0/1 or boolean column as floats."""
    codes, levels = factorize(frame[column])
    if not set(levels) <= {0, 1}:
        measured = len(levels) > 20 and pd.api.types.is_numeric_dtype(frame[column])
        one = f"> {np.median(levels):.3g}" if measured else f"== {max(levels, key=str)!r}"
        raise DataError(
            f"The outcome {column!r} must be 0/1 or boolean, it has {len(levels)} values such as {levels[:4]}. "
            f"Recode it, for example data[{column!r}] {one}."
        )
    if len(levels) == 1:
        raise DataError(f"The outcome {column!r} is constant ({levels[0]} in all {len(codes)} rows).")
    return np.array(levels, float)[codes]


def counts(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column of non-negative whole numbers as floats."""
    values = numeric(frame, column, "outcome")
    bad = (values < 0) | (values != np.floor(values))
    if bad.any():
        raise DataError(
            f"The outcome {column!r} must be counts (0, 1, 2, ...); {bad.sum()} values are not, "
            f"the first is {values[bad][0]:g} in row {first(frame, bad)}."
        )
    return values


def factorize(values: pd.Series) -> tuple[np.ndarray, list]:
    """Code of every row, and the values in the order of first appearance."""
    try:
        codes, levels = pd.factorize(values)
    except TypeError:
        kind = type(values.iloc[0]).__name__
        raise DataError(
            f"Column {values.name!r} holds values that are no labels ({kind}); use text or numbers."
        ) from None
    return codes.astype(np.int64), levels.tolist()


def dummies(data: pd.DataFrame, column: str, reference: object = None) -> pd.DataFrame:
    """The data with a 0/1 column for every category but one, named ``column_category``.

    For models that take numbers: the coefficient of such a column is the difference from the reference category; its cluster
    mean is a share of persons. Where the category is missing, so are the columns.

    Parameters
    ----------
    data : DataFrame
        Never changed.
    column : str
        Text, a categorical, or numbers that are codes.
    reference : optional
        The category without a column; the first one by default, in the order of a categorical, else sorted.

    Raises
    ------
    DataError, SpecError
        One category or too many; a reference that is not there; a column of the new name that is.

    Examples
    --------
    >>> data = pd.DataFrame({"site": ["a", "b", "c", None]})
    >>> dummies(data, "site")
       site  site_b  site_c
    0     a     0.0     0.0
    1     b     1.0     0.0
    2     c     0.0     1.0
    3  None     NaN     NaN
    """
    check_frame(data, [column])
    known = data[column].notna().to_numpy()
    if not known.any():
        raise DataError(f"Column {column!r} has no values.")
    codes, categories = _sorted(data.loc[known, column], "column")
    if not 2 <= len(categories) <= MAX_ARMS:
        raise DataError(f"Column {column!r} has {len(categories)} categories: 2 to {MAX_ARMS} can be made columns of.")
    wanted = categories[0] if reference is None else labels_of([reference])[0]
    if wanted not in categories:
        raise SpecError(f"reference={reference!r} is not a category of {column!r}.{near(wanted, categories)}")
    others = [k for k, c in enumerate(categories) if c != wanted]
    values = np.full((len(data), len(others)), np.nan)
    values[known] = codes[:, None] == others
    names = [f"{column}_{categories[k]}" for k in others]
    taken = [v for v in names if v in data.columns]
    if taken:
        raise DataError(f"The data have a column {taken[0]!r} already: rename it, or {column!r}.")
    return data.assign(**dict(zip(names, values.T, strict=True)))


def labels_of(levels: Iterable) -> list[str]:
    """Level labels as text; whole floats lose their ``.0``."""
    return [str(int(v)) if isinstance(v, float | np.floating) and float(v).is_integer() else str(v) for v in levels]


def codes_of(frame: pd.DataFrame, column: str, labels: list[str], instead: str) -> np.ndarray:
    """Places of the values of a column among the labels of a fit; `instead` is what to do where one is not among them."""
    if column not in frame:
        raise DataError(f"Column {column!r} is needed for this prediction; {instead}.")
    given = labels_of(frame[column])
    unknown = sorted(set(given) - set(labels))
    if unknown:
        raise DataError(f"{column!r} has values that were not in the fit: {unknown[:5]}; {instead}.")
    position = {v: k for k, v in enumerate(labels)}
    return np.array([position[v] for v in given], np.int64)


def _distinct(labels: list[str], role: str, column: str) -> None:
    """Refuse labels that nobody could tell apart on paper."""
    seen: dict[str, int] = {}
    for k, label in enumerate(labels):
        other = seen.setdefault(label.strip(), k)
        if other != k:
            raise DataError(
                f"The {role} {column!r} has different labels that print alike, {labels[other]!r} and {label!r} (a number "
                f"and text, or a space at the end): use data[{column!r}].astype(str).str.strip()."
            )


def code_arms(values: pd.Series, reference: str | None) -> tuple[np.ndarray, list[str]]:
    """Arm of every row as a code, 0 for the reference arm, and the arm labels in that order.

    Without `reference`, a column coded 0/1 or False/True has reference 0; anything else must name it.
    """
    name = values.name
    codes, arms = _sorted(values, "treatment")
    if len(arms) > MAX_ARMS:
        raise DataError(
            f"The treatment {name!r} has {len(arms)} different values. A treatment is a set of arms (at most {MAX_ARMS}); "
            "a dose or another continuous variable goes into covariates, and into slopes if its slope varies."
        )
    if len(arms) < 2:
        raise DataError(f"The treatment {name!r} has one arm only, {arms[0]!r}: there is no effect to estimate.")
    if reference is None:
        if set(arms) <= {"0", "1", "False", "True"}:
            reference = arms[0]
        else:
            raise SpecError(f"Name the arm that the others of {name!r} are compared with: reference= one of {arms}.")
    (wanted,) = labels_of([reference])
    if wanted not in arms:
        raise SpecError(f"reference={reference!r} is not an arm of {name!r}.{near(wanted, arms)}")
    order = [arms.index(wanted), *(k for k, a in enumerate(arms) if a != wanted)]
    return np.argsort(order)[codes], [arms[k] for k in order]


def _sorted(values: pd.Series, role: str) -> tuple[np.ndarray, list[str]]:
    """Code of every row, and the labels in the order of a categorical, else sorted."""
    codes, levels = factorize(values)
    place = values.cat.categories.get_loc if isinstance(values.dtype, pd.CategoricalDtype) else lambda v: v
    try:
        order = sorted(range(len(levels)), key=lambda k: place(levels[k]))
    except TypeError:  # numbers and text
        order = sorted(range(len(levels)), key=lambda k: str(levels[k]))
    labels = labels_of([levels[k] for k in order])
    _distinct(labels, role, values.name)
    return np.argsort(order)[codes], labels


def code_clusters(values: pd.Series, one_row_each: bool = False) -> tuple[np.ndarray, list[str]]:
    """Cluster of every row as a code, and the labels, in the order of first appearance."""
    codes, levels = factorize(values)
    names = labels_of(levels)
    if len(names) < 2:
        raise DataError(
            f"The cluster column {values.name!r} has one cluster only ({names[0]!r}); leave cluster out of the specification."
        )
    _distinct(names, "cluster column", values.name)
    if len(names) == len(values) and not one_row_each:
        raise DataError(
            f"Every row is its own cluster in {values.name!r} ({len(names)} rows): within-cluster and between-cluster "
            "variation cannot be told apart. For effects with known standard errors use standard_error=."
        )
    return codes, names


def row_labels(index: pd.Index) -> np.ndarray:
    """Labels of the rows: numbers and dates as they are, anything else as text."""
    labels = index.to_numpy()
    return labels if labels.dtype.kind in "iufM" else np.array([str(v) for v in labels], dtype=np.str_)


def within_between(frame: pd.DataFrame, column: str, cluster: np.ndarray) -> pd.DataFrame:
    """`column` split at its observed cluster means: ``column_within`` and ``column_between``.

    Raises DataError where one of the two parts has no variance: the variable then lives on one level only.
    """
    x = numeric(frame, column, "covariate")
    means = np.bincount(cluster, x) / np.bincount(cluster)
    between = means[cluster]
    within = x - between
    if np.ptp(within) < 1e-12 * np.abs(x).max():
        raise DataError(
            f"{column!r} does not vary within clusters: it is a cluster-level variable. Leave it out of within_between."
        )
    if np.ptp(means) < 1e-12 * np.abs(x).max():
        raise DataError(
            f"{column!r} has the same mean in every cluster (it is centred already). Leave it out of within_between."
        )
    return frame.assign(**{f"{column}_within": within, f"{column}_between": between})


def raw_variables(frame: pd.DataFrame) -> dict[str, xr.DataArray]:
    """The columns themselves, as variables ``column_0, ...``, so that formulas can be evaluated again after loading."""
    out = {}
    for k, name in enumerate(frame.columns):
        values = frame[name]
        attrs: dict[str, object] = {"name": name}
        if isinstance(values.dtype, pd.CategoricalDtype):
            attrs["categories"] = [str(c) for c in values.cat.categories]
            attrs |= {"ordered": 1} if values.cat.ordered else {}
            values = values.astype(str)
        array = values.to_numpy()
        if array.dtype.kind not in "biuf":
            array = values.astype(str).to_numpy(dtype=np.str_)
        out[f"column_{k}"] = xr.DataArray(array, dims="row", attrs=attrs)
    return out


def raw_frame(design: xr.Dataset) -> pd.DataFrame:
    """The DataFrame that `raw_variables` stored."""
    out = {}
    for name, values in design.data_vars.items():
        if not re.fullmatch(r"column_\d+", str(name)):
            continue
        series = pd.Series(values.to_numpy())
        if "categories" in values.attrs:
            levels, ordered = values.attrs["categories"], "ordered" in values.attrs
            series = pd.Series(pd.Categorical(series, categories=levels, ordered=ordered))
        out[values.attrs["name"]] = series
    return pd.DataFrame(out).set_axis(pd.Index(design["row"].to_numpy()), axis=0)


def fingerprint(frame: pd.DataFrame) -> str:
    """A short hash of the analysed values and their order, printed in reports."""
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    digest.update("|".join(map(str, frame.columns)).encode())
    return digest.hexdigest()[:16]
