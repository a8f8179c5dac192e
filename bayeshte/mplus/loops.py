"""DO loops of DEFINE, MODEL CONSTRAINT and MODEL PRIORS: a statement for each number."""

import re
from collections.abc import Iterable
from dataclasses import replace

from bayeshte.mplus.source import Statement

MOST = 10_000  # statements that loops may become


def written_out(statements: Iterable[Statement]) -> list[Statement]:
    """The statements without loops: ``DO (1, 3) y# = x#`` is three, ``DO ($, 1, 2) DO (#, 1, 3) y$# = x$ + z#`` is six.

    Raises
    ------
    SpecError
        A loop that cannot be read, or one that is too long.
    """
    waiting, out = list(statements)[::-1], []
    while waiting:
        statement = waiting.pop()
        if not re.match(r"DO\s*\(", statement.text, re.I):
            out.append(statement)
        else:
            waiting += _looped(statement)[::-1]
        if len(out) + len(waiting) > MOST:
            raise statement.error(f"the loops make more than {MOST} statements.")
    return out


def _looped(statement: Statement) -> list[Statement]:
    match = re.fullmatch(
        r"DO\s*\(\s*(?:([$#])\s*,)?\s*([0-9]{1,6})\s*,\s*([0-9]{1,6})\s*\)\s*(.*)", statement.text, re.S | re.I
    )
    if not match:
        raise statement.error("write DO (1, 5) y# = x#, or DO ($, 1, 2) DO (#, 1, 5) y$# = x$ * z#.")
    counter, first, last = match[1] or "#", int(match[2]), int(match[3])
    if counter not in match[4]:
        raise statement.error(f"the statement has no {counter}, which stands for {first} to {last}.")
    if not first <= last < first + MOST:
        raise statement.error(f"{first} to {last}: write the smaller number first, and at most {MOST} steps.")
    return [replace(statement, text=match[4].replace(counter, str(k))) for k in range(first, last + 1)]
