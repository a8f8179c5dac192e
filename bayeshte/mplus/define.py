"""DEFINE and USEOBSERVATIONS: new variables, changed variables, and the rows of the analysis.

The order is Mplus's (User's Guide, chapter 15): USEOBSERVATIONS selects rows of the file by its columns, then the statements of
DEFINE run on these rows, one after the other; CENTER, STANDARDIZE and CLUSTER_MEAN use what was there when they are reached, and
their result is what later statements see. Means and SDs are those of all selected rows with a value. STANDARDIZE divides by the
SD with n - 1.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from bayeshte.errors import DataError, near
from bayeshte.mplus import arithmetic, calculation
from bayeshte.mplus.arithmetic import Program, columns_of
from bayeshte.mplus.loops import written_out
from bayeshte.mplus.names import NAME, assigned, found, known_list
from bayeshte.mplus.options import Settings
from bayeshte.mplus.source import Statement, full_name

COMMANDS = ("CENTER", "STANDARDIZE", "CUT")
_ASSIGNMENT = re.compile(rf"\s*({NAME})\s*=(?!=)(.*)", re.S)
_IF = re.compile(r"IF\b(.*?)\bTHEN\b(.*)", re.S | re.I)
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"


@dataclass(frozen=True)
class Assign:
    """``target = program``, where `condition` holds if there is one; `new` if no earlier statement or column has the name."""

    statement: Statement
    target: str
    program: Program
    condition: Program = ()
    new: bool = False


@dataclass(frozen=True)
class Center:
    """Variables minus their mean: of their cluster, or of all rows if `cluster` is None."""

    statement: Statement
    variables: tuple[str, ...]
    cluster: str | None


@dataclass(frozen=True)
class Standardize:
    """Variables minus their mean, over their SD."""

    statement: Statement
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """Variables to categories 0, 1, ...: the number of `points` that are smaller."""

    statement: Statement
    variables: tuple[str, ...]
    points: tuple[float, ...]


Step = Assign | Center | Standardize | Cut


def new_variables(statements: Iterable[Statement]) -> list[str]:
    """Names that DEFINE assigns to, in order; those of columns, which it changes, are among them."""
    out = []
    for statement in written_out(statements):
        conditional = _IF.fullmatch(statement.text)
        if match := _ASSIGNMENT.fullmatch(conditional[2] if conditional else statement.text):
            out.append(match[1].lower())
    return list(dict.fromkeys(out))


def steps(statements: Iterable[Statement], settings: Settings) -> list[Step]:
    """What DEFINE does, step by step.

    Raises
    ------
    SpecError
        A word, a name or a sign that is not understood, with the line of the statement.
    """
    order, out = list(settings.names), []
    for statement in written_out(statements):
        step = _step(statement, order, settings)
        out.append(step)
        if isinstance(step, Assign) and step.new:
            order.append(step.target)
    return out


def used(statements: Iterable[Statement], settings: Settings) -> set[str]:
    """The columns of the file that DEFINE and USEOBSERVATIONS need."""
    out = columns_of(_condition(settings)) if settings.condition else set()
    for step in steps(statements, settings):
        out |= _columns(step)
    return out & {*settings.names}


def apply(statements: Iterable[Statement], frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The data with the columns that DEFINE makes and changes; `settings.notes` gets what is undefined.

    Parameters
    ----------
    frame : DataFrame
        The selected rows, columns `settings.names`.

    Raises
    ------
    SpecError
        Statements that are not understood.
    DataError
        Text where numbers are needed, a variable without variance in STANDARDIZE.
    """
    out = frame.copy()
    for step in steps(statements, settings):
        _check_numbers(step, out)
        match step:
            case Assign():
                out[step.target] = _assigned(step, out, settings)
            case Center():
                for v in step.variables:
                    mean = out.groupby(step.cluster)[v].transform("mean") if step.cluster else out[v].mean()
                    out[v] = out[v] - mean
            case Standardize():
                for v in step.variables:
                    out[v] = (out[v] - out[v].mean()) / _sd(step, out, v)
            case Cut():
                for v in step.variables:
                    category = np.searchsorted(step.points, out[v].to_numpy(), side="left").astype(float)
                    out[v] = np.where(out[v].isna(), np.nan, category)
    return out


def without_effect(statements: Iterable[Statement], settings: Settings) -> Iterator[str]:
    """Notes on steps whose variables neither the analysis nor a later step uses."""
    needed = {*settings.use, *settings.keep, settings.cluster}
    for step in reversed(steps(statements, settings)):
        made = (step.target,) if isinstance(step, Assign) else step.variables
        if idle := [v for v in made if v not in needed]:
            yield (
                f"line {step.statement.line}: {step.statement.shown}: {' '.join(idle)} not in the analysis, so without effect."
            )
        elif isinstance(step, Assign):
            needed |= _columns(step)


def select(condition: Statement, frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The rows where USEOBSERVATIONS holds; DataError if there are none."""
    program = _condition(settings, condition)
    _check_text(sorted(columns_of(program)), condition, frame)
    keep = calculation.holds(program, frame, settings.cluster)
    if not keep.any():
        raise DataError(
            f"line {condition.line}, USEOBSERVATIONS: {condition.shown}\n"
            f"    holds in none of {len(frame)} rows: compare with values that the columns have."
        )
    settings.notes.append(
        f"line {condition.line}: USEOBSERVATIONS {condition.shown}: {keep.sum()} of {len(frame)} rows are used."
    )
    return frame[keep]


def as_python(statements: Iterable[Statement], condition: Statement | None, settings: Settings) -> list[str]:
    """Lines of pandas code that do the same as `select` and `apply` to a DataFrame `data`."""
    lines = []
    if condition:
        code = calculation.python_condition(_condition(settings, condition), settings.cluster)
        lines.append(f"data = data[{_bare(code)}].copy()")
    for step in steps(statements, settings):
        lines += _python(step, settings.cluster)
    text = "\n".join(lines)
    imports = [("np.", "import numpy as np"), ("pd.", "import pandas as pd"), ("special.", "from scipy import special")]
    return [line for module, line in imports if re.search(rf"\b{module[:-1]}\.", text)] + lines


# ------------------------------------------------------------------------------------------------------------- reading


def _condition(settings: Settings, condition: Statement | None = None) -> Program:
    condition = condition or settings.condition
    return arithmetic.condition(condition.text, settings.names, condition, settings.cluster)


def _step(statement: Statement, order: Sequence[str], settings: Settings) -> Step:
    text = re.sub(r"^CENTER\s*=(?=[^=]*\(\s*GR(AND|OUP))", "CENTER ", statement.text, flags=re.I)
    if text == statement.text and (match := _ASSIGNMENT.fullmatch(text)):
        return _assignment(match, (), statement, order, settings)
    if re.match(r"IF\b", statement.text, re.I):
        return _conditional(statement, order, settings)
    match = re.fullmatch(r"([A-Za-z]+)\s+([^()]*?)\s*(?:\(([^()]*)\))?", text, re.S)
    command = full_name(match[1], COMMANDS) if match else None
    if command is None:
        first = re.match(r"\S{1,30}", statement.text)[0]
        meant = near(first.upper(), ("IF", "DO", *COMMANDS))
        hint = meant if "mean" in meant else ""
        raise statement.error(
            f"{first} begins no statement of DEFINE: write x = ..., IF (...) THEN x = ..., CENTER x (GRANDMEAN), STANDARDIZE x, "
            f"CUT x (1 2) or DO (1, 5) x# = ....{hint}"
        )
    variables = tuple(known_list(match[2], order, statement))
    if not variables:
        raise statement.error(f"{command} of nothing: name its variables.")
    if command == "CENTER":
        return Center(statement, variables, _level(match[3], statement, settings))
    if command == "CUT":
        return Cut(statement, variables, _points(match[3] or "", statement))
    if match[3] is not None:
        raise statement.error("STANDARDIZE has variables only: STANDARDIZE x1 x2.")
    return Standardize(statement, variables)


def _conditional(statement: Statement, order: Sequence[str], settings: Settings) -> Assign:
    match = _IF.fullmatch(statement.text)
    assignment = _ASSIGNMENT.fullmatch(match[2]) if match else None
    if assignment is None:
        raise statement.error("write IF (x EQ 1 AND y GT 2) THEN z = 3.")
    if re.search(r"\bELSE\b", match[2], re.I):
        raise statement.error("there is no ELSE: write a second IF with the opposite condition.")
    condition = arithmetic.condition(match[1], order, statement, settings.cluster)
    return _assignment(assignment, condition, statement, order, settings)


def _assignment(
    match: re.Match, condition: Program, statement: Statement, order: Sequence[str], settings: Settings
) -> Assign:
    target = assigned(match[1], order)
    if target in (settings.cluster, *settings.keep):
        raise statement.error(f"{match[1]} identifies rows or clusters: give the new variable another name.")
    program = arithmetic.arithmetic(match[2], order, statement, settings.cluster)
    return Assign(statement, target, program, condition, target not in order)


def _level(text: str | None, statement: Statement, settings: Settings) -> str | None:
    """The column of the clusters for GROUPMEAN, None for GRANDMEAN."""
    words = (text or "").split()
    option = full_name(words[0], ("GRANDMEAN", "GROUPMEAN")) if words else None
    if option is None or len(words) > (2 if option == "GROUPMEAN" else 1):
        raise statement.error("write CENTER x1 x2 (GRANDMEAN) or CENTER x1 x2 (GROUPMEAN).")
    if option == "GRANDMEAN":
        return None
    if settings.cluster is None:
        raise statement.error("GROUPMEAN needs clusters: write VARIABLE: CLUSTER = ...;")
    if len(words) == 2 and found(words[1], [settings.cluster]) is None:
        raise statement.error(f"{words[1]} is not the cluster, which is {settings.cluster}.")
    return settings.cluster


def _points(text: str, statement: Statement) -> tuple[float, ...]:
    words = text.replace(",", " ").split()
    if not words or not all(re.fullmatch(_NUMBER, w) for w in words):
        raise statement.error("write the numbers at which to cut, as in CUT x (30 40).")
    points = tuple(float(w) for w in words)
    if not all(a < b for a, b in pairwise(points)) or not np.isfinite(points).all():
        raise statement.error(f"({text}): write the numbers at which to cut in increasing order.")
    return points


# ----------------------------------------------------------------------------------------------------------- computing


def _columns(step: Step) -> set[str]:
    if isinstance(step, Assign):
        return columns_of(step.program) | columns_of(step.condition)
    return {*step.variables}


def _check_numbers(step: Step, frame: pd.DataFrame) -> None:
    _check_text(sorted(_columns(step)), step.statement, frame)


def _check_text(columns: Iterable[str], statement: Statement, frame: pd.DataFrame) -> None:
    for v in columns:
        if not pd.api.types.is_numeric_dtype(frame[v]):
            first = frame[v].dropna().iloc[0] if frame[v].notna().any() else ""
            raise DataError(
                f"line {statement.line}, {statement.command}: {statement.shown}\n"
                f"    {v} has text, such as {str(first)!r}: number its values in the data file."
            )


def _assigned(step: Assign, frame: pd.DataFrame, settings: Settings) -> np.ndarray:
    """The new values of the target; undefined ones are counted in a note."""
    result = calculation.values(step.program, frame, settings.cluster)
    rows = calculation.holds(step.condition, frame, settings.cluster) if step.condition else np.ones(len(frame), bool)
    undefined = int((rows & result.known & np.isnan(result.value)).sum())
    if undefined:
        settings.notes.append(
            f"line {step.statement.line}: {step.statement.shown}: not defined in {undefined} of {len(frame)} rows, "
            f"where {step.target} is missing."
        )
    before = np.nan if step.new else frame[step.target].to_numpy(float)
    return np.where(rows, result.value, before)


def _sd(step: Standardize, frame: pd.DataFrame, variable: str) -> float:
    x = frame[variable]
    sd = x.std()
    if not sd > 1e-12 * x.abs().max():
        raise DataError(
            f"line {step.statement.line}, {step.statement.command}: {step.statement.shown}\n"
            f"    {variable} does not vary in {x.notna().sum()} rows with a value: leave it out."
        )
    return sd


# ------------------------------------------------------------------------------------------------------------- writing


def _python(step: Step, cluster: str | None) -> list[str]:
    match step:
        case Assign():
            return _python_assignment(step, cluster)
        case Center():
            return [
                f'data["{v}"] = data["{v}"] - '
                + (
                    f'data.groupby("{step.cluster}")["{v}"].transform("mean")'
                    if step.cluster
                    else f'data["{v}"].mean()'
                )
                for v in step.variables
            ]
        case Standardize():
            return [f'data["{v}"] = (data["{v}"] - data["{v}"].mean()) / data["{v}"].std()' for v in step.variables]
    edges = f"[-np.inf, {', '.join(calculation.number(p) for p in step.points)}, np.inf]"
    return [f'data["{v}"] = pd.cut(data["{v}"], {edges}, labels=False).astype(float)' for v in step.variables]


def _python_assignment(step: Assign, cluster: str | None) -> list[str]:
    code = calculation.python(step.program, cluster)
    if not columns_of(step.program):
        value = step.program[0][1] or 0.0  # a constant is one number
        code = repr(float(value)) if step.program[0][0] == "number" and np.isfinite(value) else "np.nan"
    if not step.condition:
        return [f'data["{step.target}"] = {code}']
    rows = _bare(calculation.python_condition(step.condition, cluster))
    start = [f'data["{step.target}"] = np.nan'] if step.new else []
    return [*start, f'data.loc[{rows}, "{step.target}"] = {code}']


def _bare(code: str) -> str:
    """A condition without parentheses that enclose all of it."""
    inner = code[1:-1]
    enclosed = code.startswith("(") and code.endswith(")") and not re.search(r"\) [&|] ", code)
    return inner if enclosed else code
