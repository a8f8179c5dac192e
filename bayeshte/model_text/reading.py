"""From statements to rows: what each term says, what its modifiers say, and what is refused by name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

from lark import Token

from bayeshte.errors import near
from bayeshte.model_text import grammar
from bayeshte.model_text.expressions import FUNCTIONS, Expression, Program
from bayeshte.model_text.grammar import Factor, Source
from bayeshte.model_text.parts import observed_part, split
from bayeshte.model_text.table import Row

#: modifiers of lavaan and blavaan that are written in another way here
INSTEAD = {
    "c": "models of several groups are not supported",
    "equal": "parameters with one label are equal: b*x1 + b*x2",
    "label": "write the label itself, b*x",
    "prior": "priors are an argument of the model, not part of its text",
}


class Derived(NamedTuple):
    """A derived parameter as it was written; `labels` are the tokens of the labels in it."""

    source: Source
    name: str
    position: int
    expression: Expression
    labels: tuple[Token, ...]


@dataclass
class Reading:
    """What a text says: its rows by key, the keys that NA frees, its derived parameters."""

    rows: dict[tuple, Row] = field(default_factory=dict)
    freed: set[tuple] = field(default_factory=set)
    derived: list[Derived] = field(default_factory=list)


def read(source: Source, level: str) -> Reading:
    """All that a model text says about a level; SpecError where it contradicts itself."""
    reading = Reading()
    for statement in grammar.statements(source):
        match statement:
            case grammar.Definition(name, program, text):
                reading.derived.append(derive(source, name, name.start_pos, program, text))
            case grammar.Thresholds():
                for position, row in _thresholds(source, statement, level):
                    _add(reading, source, position, row, False)
            case grammar.RandomSlope():
                _add(reading, source, statement.name.start_pos, _random_slope(source, statement, level), False)
            case _:
                for position, row, free in _rows(source, statement, level):
                    _add(reading, source, position, row, free)
    return reading


def derive(source: Source, name: str, position: int, program: Program, text: str) -> Derived:
    """A derived parameter; SpecError if it uses a function that does not exist. It may be a constant, which others use."""
    expression = _expression(source, program, text)
    labels = tuple(value for kind, value in program if kind == "label")
    return Derived(source, str(name), position, expression, labels)


def _expression(source: Source, program: Program, text: str) -> Expression:
    for kind, value in program:
        if kind == "unary" and value != "-" and value not in FUNCTIONS:
            raise source.error(value.start_pos, f"there is no function {str(value)!r}.{near(value, FUNCTIONS)}")
    return Expression(text, tuple((kind, v if kind == "number" else str(v)) for kind, v in program))


def _add(reading: Reading, source: Source, position: int, row: Row, free: bool) -> None:
    """Join what is said of a row with what was said of it before."""
    old = reading.rows.get(row.key, row)
    if old.slope != row.slope:
        what = " and ".join(
            f"the random slope {s!r}" if s else "a path with one coefficient" for s in (old.slope, row.slope)
        )
        raise source.error(position, f"{row.name} is {what}: write one of them.")
    if row.slope:
        for other in reading.rows.values():
            if other.slope == row.slope and other.key != row.key:
                raise source.error(
                    position, f"the random slope {row.slope!r} is {other.name} already: use another name."
                )
    said = {}
    for name, what in (("label", "the label"), ("fixed", "the fixed value"), ("start", "the start")):
        before, now = getattr(old, name), getattr(row, name)
        if before not in ("", None) and now not in ("", None) and before != now:
            raise source.error(position, f"{row.name} has {what} {before} already, now {now}: write one of them.")
        said[name] = before if now in ("", None) else now
    if free:
        reading.freed.add(row.key)
    if said["fixed"] is not None and (said["label"] or said["start"] is not None or row.key in reading.freed):
        other = "a label" if said["label"] else "a start" if said["start"] is not None else "NA, which frees it"
        raise source.error(
            position, f"{row.name} is fixed at {said['fixed']:g} and has {other}: a fixed value stands alone."
        )
    if row.kind == "variance" and (said["fixed"] or 0) < 0:
        raise source.error(position, f"{row.name} is a variance and cannot be {said['fixed']:g}.")
    if row.kind == "variance" and said["start"] is not None and said["start"] <= 0:
        raise source.error(position, f"{row.name} is a variance and cannot start at {said['start']:g}.")
    reading.rows[row.key] = replace(old, **said)


def _random_slope(source: Source, statement: grammar.RandomSlope, level: str) -> Row:
    """The path that is a random slope."""
    name, path = statement
    if level == "":
        raise source.error(name.start_pos, "a random slope needs two levels: give their texts as within= and between=.")
    if level == "between":
        raise source.error(name.start_pos, "random slopes vary between clusters: define them in the text of within=.")
    if path.operator != "~":
        raise source.error(path.operator.start_pos, f"a random slope is a path: write {name} | y ~ x.")
    for terms, what in ((path.left, "outcome"), (path.right, "predictor")):
        if len(terms) > 1:
            raise source.error(
                terms[1][0].position,
                f"a random slope has one {what}: name each path by itself, s1 | y ~ x; s2 | y ~ z.",
            )
        if len(terms[0]) > 1:
            raise source.error(
                terms[0][0].position, "a random slope has no modifiers: its mean is a row between, s ~ m*1."
            )
    lhs = _left(source, path.left[0], "~")
    rhs = _right(source, path.right[0][-1], "~")
    return Row(level, lhs, "~" if rhs else "~1", rhs, slope=str(name))


def _thresholds(source: Source, statement: grammar.Thresholds, level: str) -> Iterator[tuple[int, Row]]:
    """Position and row of every threshold of a categorical variable, ``y | a*t1 + t2``."""
    variable = _variable(source, statement.variable)
    for term in statement.terms:
        factor, position = term[-1], term[0].position
        name = str(factor.value[0]) if factor.kind == "variables" and len(factor.value) == 1 else ""
        if not re.fullmatch("t[1-9][0-9]*", name):
            raise source.error(
                factor.position, f"the thresholds of {variable} are t1, t2, ...: {variable} | t1; a slope is s | y ~ x."
            )
        if len(term) > 2:
            raise source.error(term[1].position, "one modifier a threshold: a*t1.")
        said = _modifier(source, term[0]) if len(term) == 2 else {}
        if said.pop("free", False) or "start" in said:
            raise source.error(position, f"a threshold has a label or a number before it: a*{name} or 0*{name}.")
        if name != "t1" and "fixed" in said:
            raise source.error(position, f"{name} cannot be fixed: only the first threshold of a variable can.")
        yield position, Row(level, variable, "|", name, **said)


def _rows(source: Source, statement: grammar.Formula, level: str) -> Iterator[tuple[int, Row, bool]]:
    """Position, row and whether NA frees it, for all pairs of a statement."""
    operator = str(statement.operator)
    left = [_left(source, term, operator) for term in statement.left]
    for lhs, term in product(left, statement.right):
        rhs = _right(source, term[-1], operator)
        if len(term) > 2:
            raise source.error(
                term[1].position, "one modifier a term: write a label and a start as b*x + start(0.3)*x."
            )
        said = _modifier(source, term[0]) if len(term) == 2 else {}
        free = said.pop("free", False)
        yield term[0].position, Row(level, lhs, operator if rhs else "~1", rhs, **said), free


def _left(source: Source, term: tuple[Factor, ...], operator: str) -> str:
    """The variable that a term left of an operator is."""
    factor = term[0]
    if len(term) > 1:
        raise source.error(factor.position, f"modifiers stand on the right of '{operator}': y {operator} 0.5*x.")
    if factor.kind != "variables":
        raise source.error(factor.position, f"expected a variable before '{operator}'.")
    if len(factor.value) > 1:
        raise source.error(factor.position, "a product stands on the right of '~' only.")
    return _variable(source, factor.value[0])


def _right(source: Source, factor: Factor, operator: str) -> str:
    """The variable, or the product, that is the last factor of a term; empty for the intercept 1."""
    match factor:
        case Factor("number", position, value):
            if operator != "~":
                raise source.error(position, f"expected a variable after '{operator}': a mean is written x ~ 1.")
            if value != 1:
                raise source.error(
                    position,
                    f"{value:g} is no variable: write {value:g}*x to fix a coefficient, {value:g}*1 an intercept.",
                )
            return ""
        case Factor("variables", position, names):
            if len(names) > 1 and operator != "~":
                raise source.error(position, "a product stands on the right of '~' only.")
            if len(names) > 2:
                raise source.error(position, "a product has two variables: make a column of a longer one.")
            return ":".join(_variable(source, name) for name in names)
        case Factor("call", position, (name, _)):
            raise source.error(
                position,
                f"'{name}()' is no variable: mean(x) and centred(x) are what can be made of a variable here; make a "
                "column of anything else.",
            )
    raise source.error(factor.position, "expected a variable: parentheses are for derived parameters only.")


def _variable(source: Source, token: Token) -> str:
    name = str(token)
    if token.type == "PART":
        part, column = (v.strip() for v in name[:-1].split("(", 1))
        name = observed_part(part, column.strip("`"))
    if token.type == "QUOTED":
        name = name[1:-1]
        if split(name)[0]:
            raise source.error(
                token.start_pos, f"{name!r} in backticks would be read as a part of a variable; rename the column."
            )
    if ":" in name:
        raise source.error(token.start_pos, f"{name!r}: a name with ':' would be read as a product; rename the column.")
    return name


def _modifier(source: Source, factor: Factor) -> dict[str, object]:
    """What a modifier sets: "fixed", "label", "start" or "free"."""
    match factor:
        case Factor("number", _, value):
            return {"fixed": value}
        case Factor("variables", position, names):
            if len(names) > 1 or names[0].type == "QUOTED":
                raise source.error(
                    position, "expected a number or a label before '*': a label is a name without quotes."
                )
            return {"free": True} if names[0] == "NA" else {"label": str(names[0])}
        case Factor("call", position, (name, arguments)):
            if name in INSTEAD:
                raise source.error(position, f"{name}() is not used here: {INSTEAD[name]}.")
            if name != "start":
                raise source.error(position, f"there is no modifier {str(name)!r}.{near(name, ['start'])}")
            return {"start": _start(source, position, arguments)}
    raise source.error(factor.position, "expected a number or a label before '*', without parentheses: b1*x.")


def _start(source: Source, position: int, arguments: tuple) -> float:
    """The number in ``start()``."""
    if len(arguments) == 1 and not isinstance(arguments[0], Token):
        expression = _expression(source, arguments[0], "start")
        if not expression.names:
            return float(expression({}))
    raise source.error(position, "start() takes one number: start(0.5)*x.")
