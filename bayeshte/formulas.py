"""Formulas: which columns they use, what they make of data, again with the same coding on other data, and what cannot work."""

import ast
import re
import warnings
from collections.abc import Iterable, Sequence

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import DataMismatchWarning
from formulaic.parser.types import Factor
from formulaic.transforms import TRANSFORMS
from pandas.api import types

from bayeshte.design import LARGEST, check_column, factorize, first
from bayeshte.errors import DataError, SpecError, near

MAX_LEVELS = 500


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
    """What formulaic says, without the colours of its parser and the formula that it repeats."""
    return re.sub(r"\x1b\[[\d;]*m|[⧛⧚]", "", str(error)).strip().partition("\n")[0]


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
