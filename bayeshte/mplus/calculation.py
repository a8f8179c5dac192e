"""Programs of `arithmetic` on data: `values` and `holds` compute them, `python` and `python_condition` write them as pandas code.

Both say the same. A missing value in an operand makes the result missing, and so does a result that is no number (``LOG(-1)``,
``1/0``).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayeshte.mplus.arithmetic import BINARY, FUNCTIONS, UNARY, Program, columns_of

# ----------------------------------------------------------------------------------------------------------- computing


@dataclass
class Values:
    """What a program computes on a DataFrame.

    Attributes
    ----------
    value : ndarray, (row,)
        NaN where missing.
    known : ndarray of bool, (row,)
        Where all operands are there, so that the result should be.
    """

    value: np.ndarray
    known: np.ndarray


def values(program: Program, frame: pd.DataFrame, cluster: str | None) -> Values:
    """The values of an arithmetic program, one for each row."""
    stack, known_rows = [], np.ones(len(frame), bool)
    with np.errstate(all="ignore"):
        for kind, value in program:
            leaf = _leaf(kind, value, frame, cluster)
            if leaf is not None:
                known_rows &= ~np.isnan(leaf)
                stack.append(leaf)
            else:
                _operate(stack, kind, value)
    return Values(np.broadcast_to(stack[0], len(frame)).astype(float), known_rows)


def _leaf(kind: str, value, frame: pd.DataFrame, cluster: str | None) -> np.ndarray | float | None:
    """Values that no operand makes; None if it is an operation."""
    match kind:
        case "number":
            return value
        case "missing":
            return np.nan
        case "column":
            return frame[value].to_numpy(float)
        case "mean":
            return frame[list(value)].mean(axis=1).to_numpy()
        case "sum":
            return frame[list(value)].sum(axis=1, skipna=False).to_numpy()
        case "cluster_mean":
            return frame.groupby(cluster)[value].transform("mean").to_numpy()
    return None


def _operate(stack: list, kind: str, value: str) -> None:
    """Replace operands by their result, missing where it is not finite."""
    right = stack.pop()
    result = UNARY[value](right) if kind == "unary" else BINARY[value](stack.pop(), right)
    stack.append(np.where(np.isfinite(result), result, np.nan))


def holds(program: Program, frame: pd.DataFrame, cluster: str | None) -> np.ndarray:
    """Where a condition is true, (row,) of bool.

    It is not where a side of a comparison is missing, even under NOT and OR; a variable that the condition compares with _MISSING
    is the exception, whose comparisons are false where it is missing.
    """
    tested = {value for kind, value in program if kind == "is_missing"}
    stack: list = []
    unknown = np.zeros(len(frame), bool)
    for step, operands in _conditions(program):
        kind, value = step
        if kind == "is_missing":
            stack.append(frame[value].isna().to_numpy())
        elif kind == "not":
            stack.append(~stack.pop())
        elif kind == "logical":
            right, left = stack.pop(), stack.pop()
            stack.append(left | right if value == "|" else left & right)
        else:
            left, right = (values(p, frame, cluster).value for p in operands)
            missing = np.isnan(left) | np.isnan(right)
            stack.append(_COMPARE[value](left, right) & ~missing)
            if not tested & columns_of((*operands[0], *operands[1])):
                unknown |= missing
    return stack[0] & ~unknown


_COMPARE: dict[str, Callable] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">=": np.greater_equal,
    "<=": np.less_equal,
    ">": np.greater,
    "<": np.less,
}


def _conditions(program: Program) -> Iterator[tuple[tuple[str, object], tuple[Program, ...]]]:
    """The logical steps of a condition, comparisons with the programs of their two sides."""
    stack: list[Program] = []
    for step in program:
        kind = step[0]
        if kind == "compare":
            right, left = stack.pop(), stack.pop()
            yield step, (left, right)
        elif kind in ("is_missing", "not", "logical"):
            yield step, ()
        elif kind == "unary":
            stack.append((*stack.pop(), step))
        elif kind == "binary":
            right, left = stack.pop(), stack.pop()
            stack.append((*left, *right, step))
        else:
            stack.append((step,))


# ------------------------------------------------------------------------------------------------------------- writing

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "**": 4}
_SIGN, _ATOM = 3, 5
_UNSAFE = ("LOG", "LOG10", "EXP")  # what makes infinities of finite numbers, as division and powers do
_FINITE = ".replace([np.inf, -np.inf], np.nan)"


def python(program: Program, cluster: str | None) -> str:
    """The pandas code of an arithmetic program over the columns of `data`; infinite results are missing."""
    return _python(program, cluster)[0]


def _python(program: Program, cluster: str | None) -> tuple[str, int]:
    """Code and its precedence."""
    stack: list[tuple[str, int, Program]] = []
    for step in program:
        kind, value = step
        if kind == "unary":
            text, precedence, of = stack.pop()
            if value == "-":
                stack.append((f"-{_within(text, precedence, _SIGN)}", _SIGN, (*of, step)))
            else:
                finite = _FINITE if value in _UNSAFE else ""
                stack.append((f"{_function(value)}({text}){finite}", _ATOM, (*of, step)))
        elif kind == "binary":
            right, left = stack.pop(), stack.pop()
            stack.append((*_operation(value, left, right), (*left[2], *right[2], step)))
        else:
            text = _leaf_text(kind, value, cluster)
            stack.append((text, _SIGN if text.startswith("-") else _ATOM, (step,)))
    return stack[0][:2]


def _operation(sign: str, left: tuple[str, int, Program], right: tuple[str, int, Program]) -> tuple[str, int]:
    (a, a_precedence, _), (b, b_precedence, b_program) = left, right
    if sign == "%":
        return f"np.fmod({a}, {b})", _ATOM
    own = _PRECEDENCE[sign]
    constant = b_program[0][1] if len(b_program) == 1 and b_program[0][0] == "number" else 0.0
    if sign != "**":
        text = f"{_within(a, a_precedence, own)} {sign} {_within(b, b_precedence, own + 1)}"
        return (f"({text}){_FINITE}", _ATOM) if sign == "/" and constant == 0 else (text, own)
    text = f"{_within(a, a_precedence, _ATOM)} ** {_within(b, b_precedence, _ATOM)}"
    if constant > 0:
        return text, own
    if constant < 0:
        return f"({text}){_FINITE}", _ATOM
    there = [f"{_within(t, p, _ATOM)}.notna()" for t, p, of in (left, right) if columns_of(of)]  # x**0 and 1**x
    return f"({text}).where({' & '.join(there)}){_FINITE}", _ATOM


def _within(text: str, precedence: int, needed: int) -> str:
    return text if precedence >= needed else f"({text})"


def _function(name: str) -> str:
    return "special.ndtr" if name == "PHI" else f"np.{FUNCTIONS[name].__name__.replace('absolute', 'abs')}"


def _leaf_text(kind: str, value, cluster: str | None) -> str:
    match kind:
        case "number":
            return number(value)
        case "missing":
            return "np.nan"
        case "mean":
            return f"data[{json.dumps(value)}].mean(axis=1)"
        case "sum":
            return f"data[{json.dumps(value)}].sum(axis=1, skipna=False)"
        case "cluster_mean":
            return f'data.groupby("{cluster}")["{value}"].transform("mean")'
    return f'data["{value}"]'


def number(value: float) -> str:
    """A number as Python writes it, an integer without its point."""
    if not np.isfinite(value):
        return "np.nan" if np.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def python_condition(program: Program, cluster: str | None) -> str:
    """The pandas code of a condition; see `holds` for what missing values do in it."""
    tested = {value for kind, value in program if kind == "is_missing"}
    stack: list[tuple[str, str]] = []  # code, its outermost operator
    there: dict[str, None] = {}
    exact = True  # comparisons that are false with missing values, joined by AND, need no more
    for (kind, value), operands in _conditions(program):
        if kind == "is_missing":
            stack.append((f'data["{value}"].isna()', ""))
        elif kind == "not":
            text, inner = stack.pop()
            if text.endswith(".isna()") and not inner:
                stack.append((text.replace(".isna()", ".notna()"), ""))
                continue
            stack.append((f"~({text})" if inner else f"~{text}", ""))
            exact = False
        elif kind == "logical":
            (right, r), (left, l) = stack.pop(), stack.pop()
            left, right = (t if o in ("", value) else f"({t})" for t, o in ((left, l), (right, r)))
            stack.append((f"{left} {value} {right}", value))
            exact &= value == "&"
        else:
            (left, l), (right, r) = (_python(p, cluster) for p in operands)
            text = f"({left} {value} {right})"
            codes = (_within(left, l, _ATOM), _within(right, r, _ATOM))
            sides = [f"{code}.notna()" for code, p in zip(codes, operands, strict=True) if columns_of(p)]
            if tested & columns_of((*operands[0], *operands[1])):
                stack.append((" & ".join([text, *sides]), "&") if value == "!=" else (text, ""))
            else:
                stack.append((text, ""))
                there |= dict.fromkeys(sides)
                exact &= value != "!="
    text, outer = stack[0]
    if exact or not there:
        return text
    return " & ".join([text if outer in ("", "&") else f"({text})", *there])
