"""The rows that a model has without being written: pure functions of the rows that were.

They follow lavaan's ``sem()`` and Mplus. What the user wrote wins: `complete` leaves out a default that has a row already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from bayeshte.model_text.table import ParameterTable, Row

OPERATORS = ("=~", "~", "~~", "~1", "|")


def complete(
    table: ParameterTable, freed: set[tuple], responses: Mapping[str, float], known: Sequence[tuple[str, str]] = ()
) -> ParameterTable:
    """The table with markers fixed and defaults added, in its order.

    freed : keys of rows with NA; responses : residual variances of latent responses; known : thresholds that the data have.
    """
    table = _ordered(table, first_loadings(table.rows, freed))
    given = {row.key for row in table.rows}
    added = [
        row
        for level in table.levels
        for rule in (variances, exogenous_covariances, residual_covariances, intercepts, thresholds)
        for row in rule(table, level)
        if row.key not in given
    ]
    added = [replace(row, fixed=responses[row.lhs]) if _of_response(row, table) else row for row in added]
    added += [row for row in _further(table, known) if row.key not in given]
    return _ordered(table, [*table.rows, *added])


def first_loadings(rows: Iterable[Row], freed: set[tuple]) -> Iterator[Row]:
    """All rows; the first loading of a factor is fixed at one unless something was written in front of it."""
    seen = set()
    for row in rows:
        first = row.op == "=~" and (row.level, row.lhs) not in seen
        seen.add((row.level, row.lhs) if row.op == "=~" else None)
        plain = row.fixed is None and row.start is None and not row.label and row.key not in freed
        yield replace(row, fixed=1.0) if first and plain else row


def variances(table: ParameterTable, level: str) -> Iterator[Row]:
    """Variances, or residual variances, of all variables but those that are conditioned on."""
    conditioned = {*table.conditioned(level)}
    for name in table.names(level):
        if name not in conditioned:
            yield Row(level, name, "~~", name, given=False)


def exogenous_covariances(table: ParameterTable, level: str) -> Iterator[Row]:
    """Covariances of factors and modelled observed variables that nothing explains; none of random slopes."""
    out = {*table.conditioned(level), *table.slopes}
    yield from _covariances(level, [name for name in table.exogenous(level) if name not in out])


def residual_covariances(table: ParameterTable, level: str) -> Iterator[Row]:
    """Residual covariances of the last outcomes, which predict nothing and measure nothing: observed ones, and factors."""
    rows = table.at(level)
    used = {part for row in rows if row.op in ("~", "=~") for part in row.parts}
    last = [name for name in table.endogenous(level) if name not in used]
    for names in (table.observed(level), table.factors(level)):
        yield from _covariances(level, [name for name in last if name in names])


def intercepts(table: ParameterTable, level: str) -> Iterator[Row]:
    """Intercepts of observed variables that are modelled, between clusters if they vary there, and of random slopes."""
    out = {*table.conditioned(level), *table.categorical}
    if level == "within":
        out |= {*table.both_levels}
    for name in [*table.observed(level), *(table.slopes if level == "between" else ())]:
        if name not in out:
            yield Row(level, name, "~1", "", given=False)


def thresholds(table: ParameterTable, level: str) -> Iterator[Row]:
    """The first threshold of categorical variables, between clusters if they vary there; the data may have more categories."""
    for name in table.categorical:
        if level == table.threshold_level(name):
            yield Row(level, name, "|", "t1", given=False)


def _of_response(row: Row, table: ParameterTable) -> bool:
    """Whether it is the variance that gives a latent response its scale."""
    return row.kind == "variance" and row.lhs in table.categorical and row.level == table.response_level(row.lhs)


def _further(table: ParameterTable, known: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Thresholds that the data have beyond the first."""
    for name, threshold in known:
        if threshold != "t1":
            yield Row(table.threshold_level(name), name, "|", threshold, given=False)


def _ordered(table: ParameterTable, rows: Iterable[Row]) -> ParameterTable:
    """The table with these rows: by level, by operator, what was written before what was added."""
    order = {key: k for k, key in enumerate((level, op) for level in table.levels for op in OPERATORS)}
    return replace(table, rows=tuple(sorted(rows, key=lambda r: (order[r.level, r.op], not r.given))))


def _covariances(level: str, names: list[str]) -> Iterator[Row]:
    """All pairs, each in alphabetical order: its name does not depend on the order of the statements."""
    for pair in combinations(names, 2):
        lhs, rhs = sorted(pair)
        yield Row(level, lhs, "~~", rhs, given=False)
