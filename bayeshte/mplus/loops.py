"""DO loops of MODEL CONSTRAINT and MODEL PRIORS: a statement for each number."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bayeshte.mplus.source import Statement

LOOP = re.compile(r"DO\s*\(\s*(?:([#$%])\s*,)?\s*(\d+)\s*,\s*(\d+)\s*\)\s*", re.I)
LONGEST = 10_000  # statements that a loop may become


def written_out(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Statements, ``DO (1, 3) d# = a# - b#`` as three of them; of nested loops each names its symbol, ``DO ($, 1, 2)``.

    Raises
    ------
    SpecError
        A loop that cannot be read, or one that is too long.
    """
    for statement in statements:
        if re.match(r"DO\s*\(", statement.text, re.I):
            texts = _texts(statement.text, statement)
            yield from (replace(statement, text=text) for text in texts)
        else:
            yield statement


def _texts(text: str, statement: Statement) -> list[str]:
    match = LOOP.match(text)
    if match is None:
        if re.match(r"DO\s*\(", text, re.I):
            raise statement.error(
                "a loop is DO (first, last) and a statement with # for the number: DO (1, 3) d# = a# - b#."
            )
        return [text]
    symbol, first, last = match[1] or "#", int(match[2]), int(match[3])
    rest = text[match.end() :]
    if not rest.strip() or symbol not in rest:
        raise statement.error(f"expected a statement with {symbol} after DO ({first}, {last}).")
    if last < first:
        raise statement.error(f"DO ({first}, {last}) counts upwards: write the smaller number first.")
    inner = _texts(rest, statement)
    if (last - first + 1) * len(inner) > LONGEST:
        raise statement.error(f"DO ({first}, {last}) becomes more than {LONGEST:,} statements.")
    return [each.replace(symbol, str(k)) for k in range(first, last + 1) for each in inner]
