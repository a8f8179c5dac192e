"""From a DataFrame to labelled arrays: roles, coding, formulas, and every check of the data.

A design is an `xarray.Dataset`. Rows carry the DataFrame's index, clusters and arms the user's labels, columns of the
model matrix the names that the tables print. The functions here know roles (outcome, treatment, cluster, covariates),
not models; a family puts them together.
"""

import ast
import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence

import formulaic
import numpy as np
import pandas as pd
import xarray as xr
from formulaic.errors import DataMismatchWarning
from formulaic.parser.types import Factor
from formulaic.transforms import TRANSFORMS
from pandas.api import types

from bayeshte.errors import DataError, SpecError, near

RESERVED_DIMS = (
    *("chain", "draw", "sample", "row", "covariate", "moderator", "varying", "varying_"),
    *("unconstrained_parameter", "zarr.json"),
)
MAX_ARMS = 20
MAX_LEVELS = 500
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
        _check_size(frame, column)
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


def _check_size(frame: pd.DataFrame, column: str) -> None:
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
            f"Convert it with data[{column!r}].astype(float) or pd.to_numeric."
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
        raise DataError(
            f"The outcome {column!r} must be 0/1 or boolean, it has {len(levels)} values such as {levels[:4]}. "
            f"Recode it, for example data[{column!r}] == {max(levels, key=str)!r}."
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


def labels_of(levels: Iterable) -> list[str]:
    """Level labels as text; whole floats lose their ``.0``."""
    return [str(int(v)) if isinstance(v, float | np.floating) and float(v).is_integer() else str(v) for v in levels]


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
    codes, levels = factorize(values)
    if len(levels) > MAX_ARMS:
        raise DataError(
            f"The treatment {name!r} has {len(levels)} different values. A treatment is a set of arms (at most {MAX_ARMS}); "
            "a dose or another continuous variable goes into covariates, and into slopes if its slope varies."
        )
    place = values.cat.categories.get_loc if isinstance(values.dtype, pd.CategoricalDtype) else lambda v: v
    try:
        order = sorted(range(len(levels)), key=lambda k: place(levels[k]))
    except TypeError:  # numbers and text
        order = sorted(range(len(levels)), key=lambda k: str(levels[k]))
    labels = labels_of(levels)
    arms = [labels[k] for k in order]
    if len(arms) < 2:
        raise DataError(f"The treatment {name!r} has one arm only, {arms[0]!r}: there is no effect to estimate.")
    _distinct(arms, "treatment", name)
    if reference is None:
        if set(arms) <= {"0", "1", "False", "True"}:
            reference = arms[0]
        else:
            raise SpecError(f"Name the arm that the others of {name!r} are compared with: reference= one of {arms}.")
    (wanted,) = labels_of([reference])
    if wanted not in arms:
        raise SpecError(f"reference={reference!r} is not an arm of {name!r}.{near(wanted, arms)}")
    arms = [wanted, *(a for a in arms if a != wanted)]
    return np.array([arms.index(label) for label in labels])[codes], arms


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


def quoted(column: str) -> str:
    """A column name as a formula takes it, whatever characters it has."""
    return f"`{column}`"


def formula_columns(formula: str, data: pd.DataFrame) -> list[str]:
    """The data columns that a one-sided formula uses; SpecError for one that does not parse, DataError for a missing column."""
    needed = set().union(*(_names_in(factor, formula, data.columns) for factor in _factors(formula)))
    for column in needed:
        check_column(data, column, f" of formula {formula!r}")
    return [c for c in data.columns if c in needed]


def check_formula(formula: str, frame: pd.DataFrame) -> None:
    """Refuse columns that a formula would take for something else: constants, dates, numbers that are kept as text."""
    factors = _factors(formula)
    plain = {f.expr for f in factors if f.eval_method is Factor.EvalMethod.LOOKUP}
    asked = set().union(*(_names_in(f, formula, frame.columns) for f in factors if f.expr.startswith("C(")))
    for column in formula_columns(formula, frame):
        values, name = frame[column], f"Column {column!r} of formula {formula!r}"
        if types.is_numeric_dtype(values.dtype) and not types.is_complex_dtype(values.dtype):
            if values.min() == values.max():
                raise DataError(f"{name} is constant ({values.iloc[0]} in all {len(values)} rows): leave it out.")
            if column in asked and values.nunique() > MAX_LEVELS:
                raise DataError(f"{name} has {values.nunique()} different values: C() is for at most {MAX_LEVELS}.")
            continue
        categorical = isinstance(values.dtype, pd.CategoricalDtype)
        if not (categorical or types.is_string_dtype(values.dtype) or types.is_object_dtype(values.dtype)):
            raise DataError(f"{name} is {values.dtype}: make it a number (of days, say) or text.")
        _, levels = factorize(values)
        if len(levels) == 1:
            raise DataError(f"{name} is constant ({levels[0]!r} in all {len(values)} rows): leave it out.")
        if not categorical and not all(isinstance(v, str) for v in levels):
            kinds = sorted({type(v).__name__ for v in levels})
            raise DataError(
                f"{name} is an object column of {', '.join(kinds)}: convert it with pd.to_numeric, or with .astype(str) to "
                "use its values as categories."
            )
        if not categorical and column in plain:
            numbers = pd.to_numeric(pd.Series(levels), errors="coerce").notna()
            if numbers.mean() >= 0.5:
                others = [v for v, number in zip(levels, numbers, strict=True) if not number]
                raise DataError(
                    f"{name} has numbers stored as text{f' (and {others[:3]})' if others else ''}: convert it with "
                    f"pd.to_numeric(data[{column!r}], errors='coerce'), or write C({column}) to use its values as categories."
                )
        if len(levels) > MAX_LEVELS:
            raise DataError(
                f"{name} has {len(levels)} categories (at most {MAX_LEVELS}): group them, or use it as cluster."
            )


def _factors(formula: str) -> list[Factor]:
    """The factors of a formula's terms; SpecError if it cannot be read."""
    if not formula.strip():
        return []
    names = re.findall(r"`([^`]*)`", formula)
    if {"", "0", "1"} & set(names):
        raise SpecError(f"{formula!r}: a column called '', '0' or '1' cannot be used in a formula; rename it.")
    if re.search(r"[~|]", re.sub(r"`[^`]*`", "", formula)):
        raise SpecError(
            f"{formula!r}: write the right-hand side only, as in 'age + C(site)'. Random effects are named by "
            "cluster=, varying= and slopes=; several levels or crossed factors are not supported."
        )
    try:
        terms = list(formulaic.Formula("1 + " + formula))
        factors = [f for term in terms for f in term.factors]
        for f in factors:
            _tree(f)
    except Exception as error:  # the parser raises many types of its own
        raise SpecError(f"{formula!r} is not a formula: {_message(error)}") from None
    if "1" not in map(str, terms):
        raise SpecError(f"{formula!r}: the model always has an intercept, gamma0; take 0 or -1 out of the formula.")
    return factors


def _message(error: Exception) -> str:
    """What formulaic says, without the colours of its parser."""
    return re.sub(r"\x1b\[[\d;]*m|[⧛⧚]", "", str(error)).strip()


def _tree(factor: Factor) -> ast.AST:
    """A factor as Python code, quoted names left out."""
    code = factor.expr if factor.eval_method is Factor.EvalMethod.PYTHON else "None"
    return ast.parse(re.sub(r"`[^`]+`", "None", code), mode="eval")


def _names_in(factor: Factor, formula: str, columns: Iterable[str]) -> set[str]:
    """Data columns in one factor of a formula: names and `quoted names`, without the functions that are called.

    formulaic's own `required_variables` leaves out what stands inside a stateful transform such as ``bs(x, df=4)``.
    """
    if factor.eval_method is not Factor.EvalMethod.PYTHON:
        return {factor.expr} if factor.eval_method is Factor.EvalMethod.LOOKUP else set()
    nodes = list(ast.walk(_tree(factor)))
    called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    for function in called - set(TRANSFORMS):
        raise SpecError(f"{formula!r}: there is no function {function!r} in formulas.{near(function, TRANSFORMS)}")
    names = {n.id for n in nodes if isinstance(n, ast.Name)} - called
    return set(re.findall(r"`([^`]+)`", factor.expr)) | (names - (set(TRANSFORMS) - set(columns)))


class Terms:
    """The columns a formula makes, ready to be made again from new data with the same coding, knots and centring."""

    def __init__(self, formula: str, frame: pd.DataFrame):
        self.formula = formula
        self.labels: list[str] = []
        self._columns = formula_columns(formula, frame)
        self._spec = None
        self._matrix = np.empty((len(frame), 0))
        if formula.strip():
            self._spec = formulaic.Formula("1 + " + formula)
            table = self._evaluate(frame)
            self._spec = table.model_spec
            self.labels = [c.replace("[T.", "[") for c in table.columns if c != "Intercept"]
            self._matrix = self._finite(table)

    @property
    def matrix(self) -> np.ndarray:
        """Values on the data that made the terms, (row, column)."""
        return self._matrix

    def on(self, frame: pd.DataFrame) -> np.ndarray:
        """Values on other data, (row, column)."""
        if self._spec is None:
            return np.empty((len(frame), 0))
        return self._finite(self._evaluate(frame))

    def _evaluate(self, frame: pd.DataFrame) -> formulaic.ModelMatrix:
        """The model matrix: only the formula's own columns are visible to it, and no row is left out."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", DataMismatchWarning)  # a category that the coding does not know
                return self._spec.get_model_matrix(frame[self._columns], context={}, na_action="ignore")
        except Exception as error:  # formulaic wraps errors of functions in many types
            raise DataError(
                f"The formula {self.formula!r} cannot be evaluated on these data: {_message(error)}"
            ) from None

    def _finite(self, table: pd.DataFrame) -> np.ndarray:
        table = table.drop(columns="Intercept")
        matrix = np.asarray(table, float)
        bad = ~(np.abs(matrix) < LARGEST)
        if bad.any():
            where = ", ".join(f"{c!r} in {n}" for c, n in zip(table.columns, bad.sum(0), strict=True) if n)
            raise DataError(
                f"Terms of the formula {self.formula!r} are not finite: {where} of {len(table)} rows, the first is "
                f"{first(table, bad.any(1))}. A logarithm of zero, a division?"
            )
        return matrix


def check_columns(matrix: np.ndarray, labels: Sequence[str]) -> None:
    """Refuse constant and collinear columns of a model matrix whose first column is the intercept.

    One pass of cross-products, then a pivoted elimination on the correlation matrix: a million rows cost one product.
    """
    centred = matrix[:, 1:] - matrix[:, 1:].mean(0)
    cross = centred.T @ centred
    size = np.sqrt(np.diag(cross))
    scale = np.abs(matrix[:, 1:]).max(0) * np.sqrt(len(matrix))
    for k in np.flatnonzero(size <= 1e-10 * scale):
        raise DataError(
            f"{labels[k + 1]!r} is constant in the rows that are analysed ({matrix[0, k + 1]:g} in all {len(matrix)}): "
            "leave it out, or join it with another category."
        )
    cross /= np.outer(size, size)
    remaining = cross.copy()
    for k in range(len(cross)):
        if remaining[k, k] < 1e-9:
            weights = np.linalg.lstsq(cross[:k, :k], cross[:k, k], rcond=None)[0]
            partners = [labels[i + 1] for i in np.flatnonzero(np.abs(weights) > 1e-6)]
            raise DataError(
                f"{labels[k + 1]!r} is a linear combination of {partners} (and a constant), or nearly so: leave one of them "
                "out, or centre a variable whose mean is far from zero."
            )
        remaining -= np.outer(remaining[:, k], remaining[k]) / remaining[k, k]


def check_residual(matrix: np.ndarray, y: np.ndarray, outcome: str) -> None:
    """Refuse an outcome that the model matrix explains without a rest: its residual SD would be zero."""
    scale = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    cross = (matrix.T @ matrix) / np.outer(scale, scale)
    fitted = matrix @ (np.linalg.lstsq(cross, matrix.T @ y / scale, rcond=None)[0] / scale)
    if np.ptp(y - fitted) <= 1e-9 * np.ptp(y):
        raise DataError(
            f"The outcome {outcome!r} is an exact linear function of the {matrix.shape[1]} columns of the model (intercept, "
            f"arms, covariates) in all {len(y)} rows: there is no residual to model. Was it computed from one of them, or are "
            "there too few rows?"
        )


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
            series = pd.Series(pd.Categorical(series, categories=values.attrs["categories"]))
        out[values.attrs["name"]] = series
    return pd.DataFrame(out).set_axis(pd.Index(design["row"].to_numpy()), axis=0)


def fingerprint(frame: pd.DataFrame) -> str:
    """A short hash of the analysed values and their order, printed in reports."""
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    digest.update("|".join(map(str, frame.columns)).encode())
    return digest.hexdigest()[:16]
