"""Rows of the parameter table in Mplus's words and order: level, header, parameter.

In a level: loadings, paths, covariances, means, intercepts, thresholds, variances, residual variances; not those of latent
responses, which are 1. Headers of paths and covariances have latent variables before observed ones, as Mplus prints them; lists
of means and variances have them after.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bayeshte.model_text import ParameterTable, Row

LEVELS = {"within": "Within", "between": "Between", "": ""}
NEW = "New/Additional Parameters"


@dataclass(frozen=True)
class Words:
    """What an input calls things that the model text calls otherwise.

    Attributes
    ----------
    products : mapping of (str, str) to str
        Names that XWITH gave to products of a level: ``{("between", "treat:advant"): "int"}``.
    variables : sequence of str
        Observed variables in the order of the input; those that are not named come last, as the table has them.
    effects : mapping of str to (str, str)
        Derived quantities of MODEL INDIRECT: header and parameter.
    unsaid : collection of tuple
        Keys of covariances that are zero because no statement names a variable: not printed.
    """

    products: Mapping[tuple[str, str], str] = field(default_factory=dict)
    variables: Sequence[str] = ()
    effects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unsaid: Collection[tuple] = ()

    def of(self, name: str, level: str = "") -> str:
        """A name as it is printed."""
        return self.products.get((level, name), name).upper()


@dataclass(frozen=True)
class Line:
    """A line of the results: where it stands, and the row that it shows; None of a derived quantity."""

    level: str
    header: str
    parameter: str
    row: Row | None = None


def lines(table: ParameterTable, words: Words | None = None, slopes: bool = False) -> list[Line]:
    """Every line of the model results, fixed parameters too, in the order of Mplus's print.

    Parameters
    ----------
    table : ParameterTable
    words : Words, optional
    slopes : bool
        Also the random slopes at the within level, header ``S | Y ON``, that standardised results have.
    """
    words = words or Words()
    out = [line for level in table.levels for line in _level(table, level, words, slopes)]
    return out + [Line("", *words.effects.get(name, (NEW, name.upper()))) for name, _ in table.derived]


def endogenous(table: ParameterTable, words: Words | None = None) -> list[tuple[str, str]]:
    """(level, variable) of every variable that something explains, in the order of R-square."""
    order = [(level, _ordered(table, level, words or Words())) for level in table.levels]
    return [
        (level, v) for level, (latent, observed) in order for v in (*observed, *latent) if v in table.endogenous(level)
    ]


def _level(table: ParameterTable, level: str, words: Words, slopes: bool) -> Iterator[Line]:
    rows, name = table.at(level), LEVELS[level]
    latent, observed = _ordered(table, level, words)
    causes = [*latent, *observed]
    plain = [r for r in rows if not r.slope and r.key not in words.unsaid]

    for f in latent:
        yield from (Line(name, f"{words.of(f)} BY", words.of(r.rhs), r) for r in rows if r.op == "=~" and r.lhs == f)
    for r in rows if slopes else ():
        if r.slope and r.op == "~":
            yield Line(name, f"{words.of(r.slope)} | {words.of(r.lhs)} ON", words.of(r.rhs), r)
    for y in causes:
        mine = sorted((r for r in plain if r.op == "~" and r.lhs == y), key=lambda r: _place(r.rhs, causes))
        yield from (Line(name, f"{words.of(y)} ON", words.of(r.rhs, level), r) for r in mine)
    yield from (Line(name, f"{words.of(a)} WITH", words.of(b), r) for a, b, r in _pairs(plain, causes))

    explained = {*table.endogenous(level)}
    responses = {v for v in table.categorical if table.response_level(v) == level}
    for kind, headers in (("~1", ("Means", "Intercepts")), ("~~", ("Variances", "Residual Variances"))):
        own = {r.lhs: r for r in plain if r.op == kind and r.rhs in ("", r.lhs) and r.lhs not in responses}
        for header, there in zip(headers, (False, True), strict=True):
            shown = [v for v in (*observed, *latent) if v in own and (v in explained) == there]
            yield from (Line(name, header, words.of(v), own[v]) for v in shown)
        if kind == "~1":
            yield from _thresholds(name, plain, observed, words)


def _thresholds(level: str, rows: Sequence[Row], observed: Sequence[str], words: Words) -> Iterator[Line]:
    """``U$1``, ``U$2``, ... of every categorical variable, from low to high."""
    for v in observed:
        own = sorted(((int(r.rhs[1:]), r) for r in rows if r.op == "|" and r.lhs == v), key=lambda pair: pair[0])
        yield from (Line(level, "Thresholds", f"{words.of(v)}${k}", r) for k, r in own)


def _ordered(table: ParameterTable, level: str, words: Words) -> tuple[list[str], list[str]]:
    """Latent and observed variables of a level in the order of the print."""
    latent = [*table.factors(level), *(table.slopes if level == "between" else ())]
    observed = table.observed(level)
    first = [v for v in dict.fromkeys(words.variables) if v in observed]
    return latent, [*first, *(v for v in observed if v not in first)]


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _pairs(rows: Sequence[Row], order: Sequence[str]) -> list[tuple[str, str, Row]]:
    """Covariances as (header, parameter, row).

    Mplus collects them under the variables that stand to the left of a WITH, the first of these in its order; those that a
    rule added are in a triangle, later variable WITH earlier one.
    """
    rows = [r for r in rows if r.op == "~~" and r.lhs != r.rhs]
    left = [r.lhs for r in rows if r.given]
    found = []
    for r in rows:
        a, b = sorted((r.lhs, r.rhs), key=lambda v: _place(v, order))
        first = a if r.given and a in left else b
        found.append((first, b if first == a else a, r))
    return sorted(found, key=lambda pair: (_place(pair[0], order), _place(pair[1], order)))
