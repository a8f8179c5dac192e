"""Arithmetic and conditions over the columns of the data, as DEFINE and USEOBSERVATIONS write them.

A text becomes a program in postfix order, which `calculation` computes or writes as pandas code.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from bayeshte.errors import near
from bayeshte.mplus.names import NAME, known, known_list
from bayeshte.mplus.source import Statement

#: Steps in postfix order: ("number", 2.0), ("column", "x"), ("unary", "log"), ("binary", "*"), ("mean", ("x1", "x2")),
#: ("compare", "=="), ("logical", "&"), ("not", ""), ("missing", ""), ("is_missing", "x"), ("cluster_mean", "x").
Program = tuple[tuple[str, object], ...]

FUNCTIONS: dict[str, Callable] = {
    "LOG": np.log,
    "LOG10": np.log10,
    "EXP": np.exp,
    "SQRT": np.sqrt,
    "ABS": np.abs,
    "SIN": np.sin,
    "COS": np.cos,
    "TAN": np.tan,
    "ASIN": np.arcsin,
    "ACOS": np.arccos,
    "ATAN": np.arctan,
    "PHI": special.ndtr,
}


def _power(left, right):
    """A missing base or exponent makes the power missing, also of ``x**0``."""
    return np.where(np.isnan(left) | np.isnan(right), np.nan, left**right)


UNARY: dict[str, Callable] = {"-": np.negative, **FUNCTIONS}
BINARY: dict[str, Callable] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "**": _power,
}
LISTS = {"MEAN": "mean", "SUM": "sum", "CLUSTER_MEAN": "cluster_mean"}
COMPARISONS = {"EQ": "==", "NE": "!=", "GE": ">=", "LE": "<=", "GT": ">", "LT": "<", "=": "==", "/=": "!="}
COMPARISONS |= {sign: sign for sign in ("==", ">=", "<=", ">", "<")}
WORDS = ("EQ", "NE", "GE", "LE", "GT", "LT", "AND", "OR", "NOT", "THEN", "IF", "_MISSING")
DEEPEST = 30  # parentheses and signs within each other

_TOKEN = re.compile(
    rf"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eEdD][+-]?[0-9]+)?)|(?P<name>{NAME})"
    r"|(?P<sign>\*\*|==|/=|>=|<=|[-+*/%()<>=,])|(?P<unknown>\S)"
)
_REMEDIES = {
    "^": "a power is written x**2.",
    "&": "write AND.",
    "|": "write OR.",
    "~": "write NOT.",
    "#": "it is a counter of DO: write DO (1, 5) before the statement.",
    "$": "it is a counter of DO: write DO ($, 1, 5) before the statement.",
}


def arithmetic(text: str, order: Sequence[str], statement: Statement, cluster: str | None) -> Program:
    """The program of a text that computes a value; SpecError if it does not.

    Parameters
    ----------
    text : str
        A part of the statement, which messages show.
    order : sequence of str
        The columns, in the order that lists such as ``x1-x3`` go through.
    cluster : str, optional
        The column that CLUSTER_MEAN needs.
    """
    return _Parser(text, order, statement, cluster).whole("value")


def condition(text: str, order: Sequence[str], statement: Statement, cluster: str | None) -> Program:
    """The program of a text that is true or false; SpecError if it is not."""
    return _Parser(text, order, statement, cluster).whole("condition")


def columns_of(program: Program) -> set[str]:
    """The columns that a program uses."""
    used = {value for kind, value in program if kind in ("column", "is_missing", "cluster_mean")}
    return used | {name for kind, value in program if kind in ("mean", "sum") for name in value}


# ------------------------------------------------------------------------------------------------------------- reading


@dataclass
class _Parser:
    """A parser by precedence: OR, AND, NOT, comparisons, + -, * / %, signs, **; each method returns a program."""

    text: str
    order: Sequence[str]
    statement: Statement
    cluster: str | None
    at: int = 0
    depth: int = 0
    tokens: list[re.Match] = field(init=False)

    def __post_init__(self):
        self.tokens = list(_TOKEN.finditer(self.text))
        for token in self.tokens:
            if token.lastgroup == "unknown":
                remedy = _REMEDIES.get(token[0], "leave it out.")
                raise self.statement.error(f"{token[0]!r} is not understood here: {remedy}")

    def whole(self, wanted: str) -> Program:
        program = self.either()
        if self.word:
            raise self.statement.error(
                f"expected an operator before '{self.shown}', or ';' at the end of the statement before it."
            )
        return self.expect(program, wanted)

    @property
    def word(self) -> str:
        """The next token in capitals; empty at the end."""
        return self.tokens[self.at][0].upper() if self.at < len(self.tokens) else ""

    @property
    def shown(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else "the end"

    def taken(self, *words: str) -> str:
        """The next token if it is one of these, which is passed; else empty."""
        word = self.word
        if word not in words:
            return ""
        self.at += 1
        return word

    def close(self) -> None:
        if not self.taken(")"):
            raise self.statement.error(f"expected ')' before '{self.shown}'.")

    def expect(self, program: Program, wanted: str) -> Program:
        if program == (("missing", ""),) and wanted == "operand":
            raise self.statement.error(
                "_MISSING stands alone, as in x = _MISSING, or is compared, as in x EQ _MISSING."
            )
        logical = program[-1][0] in ("compare", "logical", "not", "is_missing")
        if logical and wanted != "condition":
            raise self.statement.error("a comparison stands in a condition: write IF (x EQ 1) THEN y = 1.")
        if not logical and wanted == "condition":
            raise self.statement.error("expected a comparison, as in x EQ 1.")
        return program

    def either(self) -> Program:
        return self.joined("OR", "|", self.both)

    def both(self) -> Program:
        return self.joined("AND", "&", self.negated)

    def joined(self, word: str, sign: str, part: Callable[[], Program]) -> Program:
        left = part()
        while self.taken(word):
            right = self.expect(part(), "condition")
            left = (*self.expect(left, "condition"), *right, ("logical", sign))
        return left

    def negated(self) -> Program:
        if not self.taken("NOT"):
            return self.compared()
        return (*self.expect(self.deeper(self.negated), "condition"), ("not", ""))

    def compared(self) -> Program:
        left = self.added()
        if self.word not in COMPARISONS:
            return left
        sign = COMPARISONS[self.taken(*COMPARISONS)]
        right = self.added()
        if (("missing", ""),) in (left, right):
            return self.compared_with_missing(left, sign, right)
        left, right = self.expect(left, "operand"), self.expect(right, "operand")
        if not columns_of((*left, *right)):
            raise self.statement.error("a comparison needs a variable.")
        if self.word in COMPARISONS:
            raise self.statement.error("a comparison has two sides: join two comparisons with AND.")
        return (*left, *right, ("compare", sign))

    def compared_with_missing(self, left: Program, sign: str, right: Program) -> Program:
        (other,) = [p for p in (left, right) if p != (("missing", ""),)] or [((),)]
        if sign not in ("==", "!=") or len(other) != 1 or not other[0] or other[0][0] != "column":
            raise self.statement.error("write x EQ _MISSING or x NE _MISSING, with one variable.")
        test = (("is_missing", other[0][1]),)
        return test if sign == "==" else (*test, ("not", ""))

    def added(self) -> Program:
        return self.chain(("+", "-"), self.multiplied)

    def multiplied(self) -> Program:
        return self.chain(("*", "/", "%"), self.signed)

    def chain(self, signs: tuple[str, ...], part: Callable[[], Program]) -> Program:
        left = part()
        while sign := self.taken(*signs):
            left = self.binary(left, sign, part())
        return left

    def binary(self, left: Program, sign: str, right: Program) -> Program:
        left, right = self.expect(left, "operand"), self.expect(right, "operand")
        return _folded((*left, *right, ("binary", sign)))

    def signed(self) -> Program:
        sign = self.taken("-", "+")
        if not sign:
            return self.power()
        program = self.expect(self.deeper(self.signed), "operand")
        return program if sign == "+" else _folded((*program, ("unary", "-")))

    def power(self) -> Program:
        base = self.atom()
        return self.binary(base, "**", self.deeper(self.signed)) if self.taken("**") else base

    def deeper(self, part: Callable[[], Program]) -> Program:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.statement.error(
                f"more than {DEEPEST} parentheses or signs within each other: divide the statement."
            )
        program = part()
        self.depth -= 1
        return program

    def atom(self) -> Program:
        if self.taken("("):
            program = self.deeper(self.either)
            self.close()
            return program
        if self.at == len(self.tokens) or self.tokens[self.at].lastgroup == "sign":
            raise self.statement.error(f"expected a variable, a number or '(' before '{self.shown}'.")
        token = self.tokens[self.at]
        self.at += 1
        if token.lastgroup == "number":
            return (("number", self.number(token[0])),)
        if self.word == "(" and token[0].upper() not in WORDS:
            return self.call(token[0])
        return self.named(token[0])

    def number(self, text: str) -> float:
        value = float(text.upper().replace("D", "E"))
        if not np.isfinite(value):
            raise self.statement.error(f"{text} is too large.")
        return value

    def named(self, name: str) -> Program:
        if name.upper() == "_MISSING":
            return (("missing", ""),)
        if name.upper() in WORDS:
            raise self.statement.error(f"expected a variable or a number before '{name}'.")
        return (("column", known(name, self.order, self.statement)),)

    def call(self, name: str) -> Program:
        function = name.upper()
        if function in LISTS:
            return self.of_list(function)
        if function not in FUNCTIONS:
            raise self.statement.error(f"{name}(...) is no function of DEFINE.{near(function, (*FUNCTIONS, *LISTS))}")
        self.at += 1
        program = self.expect(self.expect(self.deeper(self.either), "operand"), "value")
        self.close()
        return _folded((*program, ("unary", function)))

    def of_list(self, function: str) -> Program:
        begin = self.tokens[self.at].end()
        while self.word not in (")", ""):
            self.at += 1
        end = self.tokens[self.at].start() if self.word else len(self.text)
        self.close()
        names = known_list(self.text[begin:end], self.order, self.statement)
        if not names:
            raise self.statement.error(f"{function}() of nothing: name its variables.")
        if function != "CLUSTER_MEAN":
            return ((LISTS[function], tuple(names)),)
        if len(names) > 1:
            raise self.statement.error(f"CLUSTER_MEAN of {len(names)} variables: it has one.")
        if self.cluster is None:
            raise self.statement.error("CLUSTER_MEAN needs clusters: write VARIABLE: CLUSTER = ...;")
        return (("cluster_mean", names[0]),)


def _folded(program: Program) -> Program:
    """A program of numbers alone is a number."""
    if any(kind not in ("number", "unary", "binary") for kind, _ in program):
        return program
    stack: list[float] = []
    with np.errstate(all="ignore"):
        for kind, value in program:
            if kind == "number":
                stack.append(np.float64(value))
            elif kind == "unary":
                stack.append(UNARY[value](stack.pop()))
            else:
                right, left = stack.pop(), stack.pop()
                stack.append(BINARY[value](left, right))
    return (("number", float(stack[0]) if np.isfinite(stack[0]) else np.nan),)
