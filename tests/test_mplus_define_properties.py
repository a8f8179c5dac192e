"""DEFINE and USEOBSERVATIONS of a Mplus input, any statements: row by row, and as the pandas code that says the same."""

import math
from contextlib import suppress

import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mplus_define import DATA, executed, said, setting

from bayeshte.errors import DataError, SpecError
from bayeshte.mplus import define
from bayeshte.mplus.source import Statement


def guarded(function):
    """A function of numbers that is None where an argument is, or where it is undefined."""

    def compute(*arguments):
        if None in arguments:
            return None
        try:
            value = function(*arguments)
        except (ValueError, ZeroDivisionError, OverflowError):
            return None
        return value if isinstance(value, bool) or (not isinstance(value, complex) and math.isfinite(value)) else None

    return compute


BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "%": math.fmod,
    "**": lambda a, b: a**b,
}
UNARY = {
    "LOG": math.log,
    "SQRT": math.sqrt,
    "ABS": abs,
    "SIN": math.sin,
    "ATAN": math.atan,
    "PHI": lambda a: math.erfc(-a / math.sqrt(2)) / 2,
    "-": lambda a: -a,
}
COMPARE = {"EQ": "__eq__", "NE": "__ne__", "GE": "__ge__", "LT": "__lt__", "<=": "__le__", ">": "__gt__"}


def leaf(name):
    return name, lambda row: None if math.isnan(row[name]) else float(row[name])


numbers = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]).map(lambda v: (str(v), lambda row: v))
variables = st.sampled_from(["x", "y", "z", "x1"]).map(leaf)
leaves = variables | numbers


def binary(sign, left, right):
    compute = guarded(BINARY[sign])
    return f"({left[0]} {sign} {right[0]})", lambda row: compute(left[1](row), right[1](row))


def unary(name, part):
    compute = guarded(UNARY[name])
    return f"({name}({part[0]}))", lambda row: compute(part[1](row))


def extend(parts):
    return st.builds(binary, st.sampled_from([*BINARY]), parts, parts) | st.builds(
        unary, st.sampled_from([*UNARY]), parts
    )


exact = leaves | st.builds(binary, st.sampled_from([*"+-*/%"]), variables, leaves)  # the same in every implementation
EXPRESSIONS = st.recursive(leaves, extend, max_leaves=6)


def compared(sign, left, right):
    """A comparison: its text, its value in a row, whether both sides are there."""

    def value(row):
        a, b = left[1](row), right[1](row)
        return a is not None and b is not None and getattr(a, COMPARE[sign])(b)

    return f"{left[0]} {sign} {right[0]}", value, lambda row: None not in (left[1](row), right[1](row))


def joined(word, left, right):
    both = {"AND": lambda a, b: a and b, "OR": lambda a, b: a or b}[word]
    return (
        f"({left[0]}) {word} ({right[0]})",
        lambda row: both(left[1](row), right[1](row)),
        lambda row: left[2](row) and right[2](row),
    )


CONDITIONS = st.recursive(
    st.builds(compared, st.sampled_from([*COMPARE]), variables, exact),
    lambda parts: (
        st.builds(joined, st.sampled_from(["AND", "OR"]), parts, parts)
        | st.builds(lambda c: (f"NOT ({c[0]})", lambda row: not c[1](row), c[2]), parts)
    ),
    max_leaves=3,
)


def close(found, expected):
    return (math.isnan(found) and expected is None) or (
        expected is not None and math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    )


def steady(text, compute):
    """Whether rounding cannot decide: the value does not jump when the data change by a little."""
    for _, row in (DATA * (1 + 1e-12)).iterrows():
        value, other = compute(row), compute(row / (1 + 1e-12))
        if (value is None) != (other is None) or (
            value is not None and not math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-6)
        ):
            return False
    return True


@settings(max_examples=50, deadline=None)
@given(EXPRESSIONS)
def test_expressions_row_by_row(expression):
    text, compute = expression
    assume(steady(text, compute))
    found = define.apply(said(f"w = {text}"), DATA, setting())["w"]
    for value, (_, row) in zip(found, DATA.iterrows(), strict=True):
        assert close(value, compute(row)), (text, row.to_dict())


@settings(max_examples=50, deadline=None)
@given(CONDITIONS)
def test_conditions_row_by_row(condition):
    text, holds, known = condition
    found = define.apply(said(f"IF ({text}) THEN w = 1"), DATA, setting())["w"]
    for value, (_, row) in zip(found, DATA.iterrows(), strict=True):
        assert (value == 1) == (known(row) and holds(row)), (text, row.to_dict())


LOOSE = st.lists(
    st.sampled_from(
        [
            "x",
            "y",
            "z",
            "2",
            "-1.5",
            "0",
            "(x - y)",
            "LOG(x)",
            "EXP(y)",
            "MEAN(x1-x3)",
            "SUM(x1 x2)",
            "CLUSTER_MEAN(y)",
            "-x2",
        ]
    ),
    min_size=1,
    max_size=5,
).flatmap(
    lambda parts: st.lists(st.sampled_from([*BINARY]), min_size=len(parts), max_size=len(parts)).map(
        lambda signs: " ".join(v for pair in zip(parts, signs, strict=True) for v in pair).rsplit(" ", 1)[0]
    )
)
TESTS = st.builds(
    lambda a, sign, b: f"{a} {sign} {b}",
    LOOSE,
    st.sampled_from([*COMPARE]),
    st.sampled_from(["x", "x - z", "LOG(y)", "y ** z"]),
) | st.sampled_from(["x EQ _MISSING", "y NE _MISSING"])
LOGIC = st.lists(
    st.tuples(st.sampled_from(["", "NOT "]), TESTS, st.sampled_from([" AND ", " OR "])), min_size=1, max_size=3
).map(lambda parts: "".join(f"{a}{b}{c}" for a, b, c in parts).removesuffix(parts[-1][2]))
STATEMENTS = st.lists(
    st.one_of(
        st.builds(lambda v, e: f"{v} = {e}", st.sampled_from(["w", "x", "v"]), LOOSE),
        st.builds(lambda c, v, e: f"IF ({c}) THEN {v} = {e}", LOGIC, st.sampled_from(["w", "y", "u"]), LOOSE),
        st.sampled_from(
            [
                "CENTER x y (GRANDMEAN)",
                "CENTER z (GROUPMEAN)",
                "STANDARDIZE x1",
                "CUT y (-1 0.5)",
                "DO (1,3) x# = x# * 2",
                "t = _MISSING",
            ]
        ),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(STATEMENTS, st.none() | LOGIC)
def test_the_pandas_code_does_the_same(texts, condition):
    where = Statement("VARIABLE", condition, 3) if condition else None
    frame = DATA
    try:
        frame = define.select(where, frame, setting()) if where else frame
        found = define.apply(said(*texts), frame, setting())
    except DataError:
        return  # no rows are left, or a variable does not vary
    code = executed(said(*texts), where, DATA, setting())
    pd.testing.assert_frame_equal(code, found, check_exact=True)


WORDS = """
x y z w = == /= > <= ( ) + - * / ** % , 1 2.5 1e5 . IF THEN ELSE AND OR NOT EQ NE _MISSING MEAN SUM CLUSTER_MEAN LOG PHI
x1-x3 CENTER STANDARDIZE CUT (GRANDMEAN) (GROUPMEAN) (1 DO (1,2) x# # $ ^ é ; ' DO(1,2) w="""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\t"])
TEXTS = st.lists(PIECES, min_size=1, max_size=12).map(" ".join) | st.text(min_size=1, max_size=20)


@settings(max_examples=300, deadline=None)
@given(TEXTS.map(str.strip).filter(bool))
def test_any_text_runs_or_is_refused(text):
    with suppress(SpecError, DataError):
        define.apply(said(text), DATA, setting())
    with suppress(SpecError, DataError):
        define.select(Statement("VARIABLE", text, 1), DATA, setting())
    with suppress(SpecError):
        define.new_variables(said(text))
