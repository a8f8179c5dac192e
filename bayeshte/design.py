"""From a DataFrame to labelled arrays: roles, coding, formulas, and every check of the data.

A design is an `xarray.Dataset`. Rows carry the DataFrame's index, clusters and arms the user's labels, columns of the
model matrix the names that the tables print. The functions here know roles (outcome, treatment, cluster, covariates),
not models; a family puts them together.
"""

import ast
import hashlib
import re
import warnings
from collections.abc import Iterable, Sequence

import formulaic
import numpy as np
import pandas as pd
import xarray as xr
from formulaic.parser.types import Factor

from bayeshte.errors import DataError, SpecError, near

RESERVED_DIMS = ("chain", "draw", "row", "covariate", "moderator", "varying", "varying_", "term")
MAX_ARMS = 20


def check_names(columns: dict[str, str | None], variables: Iterable[str]) -> None:
    """Refuse roles whose column has the name of a dimension or of a model variable."""
    taken = {*RESERVED_DIMS, *variables}
    for role, column in columns.items():
        if column in taken:
            raise SpecError(
                f"The {role} column is called {column!r}, a name the model uses itself. "
                f"Rename it: data.rename(columns={{{column!r}: {column + '_id'!r}}})."
            )


def check_frame(data: pd.DataFrame, columns: Iterable[str]) -> None:
    """Refuse anything but a DataFrame with unique columns, a unique index, rows, and the named columns."""
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"data must be a pandas DataFrame, got {type(data).__name__}.")
    doubled = data.columns[data.columns.duplicated()].unique().tolist()
    if doubled:
        raise DataError(f"Columns {doubled} appear more than once; keep one of each.")
    for column in columns:
        if column not in data.columns:
            raise DataError(f"Column {column!r} is not in the data.{near(column, data.columns)}")
    if len(data) == 0:
        raise DataError("The data have no rows.")
    if not data.index.is_unique:
        again = data.index[data.index.duplicated()]
        raise DataError(
            f"The index is not unique: {len(again)} rows repeat a label, the first is {again[0]!r}. "
            "Use data.reset_index(drop=True)."
        )


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
    for column in frame.select_dtypes("number"):
        infinite = np.isinf(frame[column].to_numpy(float, na_value=np.nan))
        if infinite.any():
            where = frame.index[infinite][0]
            raise DataError(
                f"Column {column!r} has {infinite.sum()} infinite values, the first in row {where!r}. "
                "Replace them, for example data.replace([np.inf, -np.inf], np.nan)."
            )
    counts = {str(k): int(v) for k, v in frame.isna().sum().items() if v}
    if not counts:
        return frame, {}
    rows = frame.isna().any(axis=1)
    listed = ", ".join(f"{k!r} in {v}" for k, v in counts.items())
    if missing == "error":
        raise DataError(
            f"Missing values: {listed} of {len(frame)} rows ({rows.sum()} rows in all, the first is {frame.index[rows][0]!r}). "
            "Write missing='drop' in the specification to analyse the complete rows (unbiased if values are missing "
            "independently of the outcome given the covariates), or impute before fitting."
        )
    if rows.all():
        raise DataError(f"No row is complete. Missing: {listed} of {len(frame)} rows.")
    return frame[~rows], counts


def numeric(frame: pd.DataFrame, column: str, role: str) -> np.ndarray:
    """A column as floats; DataError for text, dates, categories and constants."""
    values = frame[column]
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_complex_dtype(values):
        bad = pd.to_numeric(values.astype(str), errors="coerce").isna()
        example = f", for example {values[bad].iloc[0]!r} in row {values.index[bad][0]!r}" if bad.any() else ""
        raise DataError(
            f"The {role} {column!r} must be numeric, it is {values.dtype}{example}. Convert it with pd.to_numeric."
        )
    out = values.to_numpy(float)
    if np.ptp(out) == 0:
        raise DataError(f"The {role} {column!r} is constant ({out[0]:g} in all {len(out)} rows).")
    return out


def binary(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A 0/1 or boolean column as floats."""
    values = frame[column]
    levels = pd.unique(values)
    if not set(levels.tolist()) <= {0, 1}:
        raise DataError(
            f"The outcome {column!r} must be 0/1 or boolean, it has {len(levels)} values such as {levels[:4].tolist()}. "
            f"Recode it, for example (data[{column!r}] == {levels[0]!r})."
        )
    return _two_values(values.to_numpy(float), column)


def _two_values(values: np.ndarray, column: str) -> np.ndarray:
    if np.ptp(values) == 0:
        raise DataError(f"The outcome {column!r} is constant ({values[0]:g} in all {len(values)} rows).")
    return values


def counts(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column of non-negative whole numbers as floats."""
    values = numeric(frame, column, "outcome")
    bad = (values < 0) | (values != np.floor(values))
    if bad.any():
        raise DataError(
            f"The outcome {column!r} must be counts (0, 1, 2, ...); {bad.sum()} values are not, "
            f"the first is {values[bad][0]:g} in row {frame.index[bad][0]!r}."
        )
    return values


def labels_of(levels: Iterable) -> list[str]:
    """Level labels as text; whole floats lose their ``.0``."""
    return [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in levels]


def code_arms(values: pd.Series, reference: str | None) -> tuple[np.ndarray, list[str]]:
    """Arm of every row as a code, 0 for the reference arm, and the arm labels in that order.

    Without `reference`, a column coded 0/1 or False/True has reference 0; anything else must name it.
    """
    name = values.name
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    levels = list(values.cat.categories) if categorical else sorted(pd.unique(values), key=lambda v: (str(type(v)), v))
    present = set(pd.unique(values))
    levels = [v for v in levels if v in present]
    arms = labels_of(levels)
    if len(arms) < 2:
        raise DataError(f"The treatment {name!r} has one arm only, {arms[0]!r}: there is no effect to estimate.")
    if len(arms) > MAX_ARMS:
        raise DataError(
            f"The treatment {name!r} has {len(arms)} different values. A treatment is a set of arms (at most {MAX_ARMS}); "
            "a dose or another continuous variable goes into covariates, and into slopes if its slope varies."
        )
    if len(set(arms)) < len(arms):
        raise DataError(f"The treatment {name!r} has levels that print alike: {arms}. Use distinct labels.")
    if reference is None:
        if {*map(str, arms)} <= {"0", "1", "False", "True"}:
            reference = arms[0]
        else:
            raise SpecError(f"Name the arm that the others of {name!r} are compared with: reference= one of {arms}.")
    if str(reference) not in arms:
        raise SpecError(f"reference={reference!r} is not an arm of {name!r}.{near(str(reference), arms)}")
    order = [arms.index(str(reference)), *(k for k, a in enumerate(arms) if a != str(reference))]
    position = {levels[k]: code for code, k in enumerate(order)}
    codes = values.map(position).to_numpy(np.int64)
    return codes, [arms[k] for k in order]


def code_clusters(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Cluster of every row as a code, and the labels, in the order of first appearance."""
    codes, levels = pd.factorize(values)
    names = labels_of(levels)
    if len(names) < 2:
        raise DataError(
            f"The cluster column {values.name!r} has one cluster only ({names[0]!r}); leave cluster out of the specification."
        )
    if len(set(names)) < len(names):
        raise DataError(
            f"The cluster column {values.name!r} has different labels that print alike; convert it with .astype(str)."
        )
    if len(names) == len(values):
        raise DataError(
            f"Every row is its own cluster in {values.name!r} ({len(names)} rows): within-cluster and between-cluster "
            "variation cannot be told apart. For effects with known standard errors use standard_error=."
        )
    return codes.astype(np.int64), names


def formula_columns(formula: str, data: pd.DataFrame) -> list[str]:
    """The data columns that a one-sided formula uses; SpecError for one that does not parse, DataError for a missing column."""
    if not formula.strip():
        return []
    if "~" in formula or "|" in formula:
        raise SpecError(
            f"{formula!r}: write the right-hand side only, as in 'age + C(site)'. Random effects are named by "
            "cluster=, varying= and slopes=; several levels or crossed factors are not supported."
        )
    try:
        factors = [f for term in formulaic.Formula(formula) for f in term.factors]
        needed = set().union(*map(_names_in, factors))
    except Exception as error:  # the parser raises many types of its own
        message = re.sub(r"\x1b\[[\d;]*m|[⧛⧚]", "", str(error)).strip()  # the parser colours its messages
        raise SpecError(f"{formula!r} is not a formula: {message}") from None
    for column in needed:
        if column not in data.columns:
            raise DataError(f"Column {column!r} of formula {formula!r} is not in the data.{near(column, data.columns)}")
    return [c for c in data.columns if c in needed]


def _names_in(factor: Factor) -> set[str]:
    """Data columns in one factor of a formula: names and `quoted names`, without the functions that are called.

    formulaic's own `required_variables` leaves out what stands inside a stateful transform such as ``bs(x, df=4)``.
    """
    if factor.eval_method is not Factor.EvalMethod.PYTHON:
        return {factor.expr} if factor.eval_method is Factor.EvalMethod.LOOKUP else set()
    quoted = set(re.findall(r"`([^`]+)`", factor.expr))
    tree = ast.parse(re.sub(r"`[^`]+`", "None", factor.expr), mode="eval")
    functions = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    functions += [n.value for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    skip = {f.id for f in functions if isinstance(f, ast.Name)}
    return quoted | ({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - skip)


class Terms:
    """The columns a formula makes, ready to be made again from new data with the same coding, knots and centring."""

    def __init__(self, formula: str, frame: pd.DataFrame):
        self.formula = formula
        self.labels: list[str] = []
        self._spec = None
        self._matrix = np.empty((len(frame), 0))
        if not formula.strip():
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                matrix = formulaic.model_matrix("1 + " + formula, frame)
        except Exception as error:  # formulaic wraps errors of user functions in many types
            raise DataError(f"The formula {formula!r} cannot be evaluated on these data: {error}") from None
        self._spec = matrix.model_spec
        keep = [c for c in matrix.columns if c != "Intercept"]
        self._matrix = np.asarray(matrix[keep], float)
        self.labels = [c.replace("[T.", "[") for c in keep]

    @property
    def matrix(self) -> np.ndarray:
        """Values on the data that made the terms, (row, column)."""
        return self._matrix

    def on(self, frame: pd.DataFrame) -> np.ndarray:
        """Values on other data, (row, column)."""
        if self._spec is None:
            return np.empty((len(frame), 0))
        matrix = self._spec.get_model_matrix(frame)
        return np.asarray(matrix[[c for c in matrix.columns if c != "Intercept"]], float)


def check_columns(matrix: np.ndarray, labels: Sequence[str]) -> None:
    """Refuse constant and collinear columns of a model matrix whose first column is the intercept.

    One pass of cross-products, then a pivoted elimination on the correlation matrix: a million rows cost one product.
    """
    if not np.isfinite(matrix).all():
        bad = [labels[k] for k in np.flatnonzero(~np.isfinite(matrix).all(0))]
        raise DataError(f"Terms {bad} have values that are not finite (a logarithm of zero, a division?).")
    centred = matrix[:, 1:] - matrix[:, 1:].mean(0)
    size = np.sqrt(np.einsum("ij,ij->j", centred, centred))
    scale = np.abs(matrix[:, 1:]).max(0) * np.sqrt(len(matrix))
    for k in np.flatnonzero(size <= 1e-10 * np.maximum(scale, 1e-300)):
        raise DataError(f"{labels[k + 1]!r} is constant in the rows that are analysed: leave it out.")
    cross = (centred / size).T @ (centred / size)
    remaining = cross.copy()
    for k in range(len(cross)):
        if remaining[k, k] < 1e-9:
            weights = np.linalg.lstsq(cross[:k, :k], cross[:k, k], rcond=None)[0]
            partners = [labels[i + 1] for i in np.flatnonzero(np.abs(weights) > 1e-6)]
            raise DataError(f"{labels[k + 1]!r} is a linear combination of {partners}: leave one of them out.")
        remaining -= np.outer(remaining[:, k], remaining[k]) / remaining[k, k]


def within_between(frame: pd.DataFrame, column: str, cluster: np.ndarray) -> pd.DataFrame:
    """`column` split at its observed cluster means: ``column_within`` and ``column_between``.

    Raises DataError where one of the two parts has no variance: the variable then lives on one level only.
    """
    x = numeric(frame, column, "covariate")
    means = np.bincount(cluster, x) / np.bincount(cluster)
    between = means[cluster]
    within = x - between
    if np.ptp(within) < 1e-12 * max(1.0, np.abs(x).max()):
        raise DataError(
            f"{column!r} does not vary within clusters: it is a cluster-level variable. Leave it out of within_between."
        )
    if np.ptp(means) < 1e-12 * max(1.0, np.abs(x).max()):
        raise DataError(
            f"{column!r} has the same mean in every cluster (it is centred already). Leave it out of within_between."
        )
    names = [f"{column}_within", f"{column}_between"]
    taken = [n for n in names if n in frame]
    if taken:
        raise DataError(
            f"within_between={column!r} would make columns {names}, but {taken} exist already; rename them."
        )
    return frame.assign(**dict(zip(names, (within, between), strict=True)))


def raw_variables(frame: pd.DataFrame) -> dict[str, xr.DataArray]:
    """The columns themselves, as variables ``column: NAME``, so that formulas can be evaluated again after loading."""
    out = {}
    for name in frame.columns:
        values = frame[name]
        attrs: dict[str, object] = {}
        if isinstance(values.dtype, pd.CategoricalDtype):
            attrs = {"categories": [str(c) for c in values.cat.categories]}
            values = values.astype(str)
        array = values.to_numpy()
        if array.dtype.kind not in "biuf":
            array = values.astype(str).to_numpy(dtype=np.str_)
        out[f"column: {name}"] = xr.DataArray(array, dims="row", attrs=attrs)
    return out


def raw_frame(design: xr.Dataset) -> pd.DataFrame:
    """The DataFrame that `raw_variables` stored."""
    out = {}
    for name, values in design.data_vars.items():
        if not str(name).startswith("column: "):
            continue
        series = pd.Series(values.to_numpy())
        if "categories" in values.attrs:
            series = pd.Series(pd.Categorical(series, categories=values.attrs["categories"]))
        out[str(name).removeprefix("column: ")] = series
    return pd.DataFrame(out).set_axis(pd.Index(design["row"].to_numpy()), axis=0)


def fingerprint(frame: pd.DataFrame) -> str:
    """A short hash of the analysed values and their order, printed in reports."""
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    digest.update("|".join(map(str, frame.columns)).encode())
    return digest.hexdigest()[:16]
