"""Errors of the model with the statements of the input that they are about.

The specification does not know of the input: its errors name parameters (``between: y ~ x``) and variables (``'x'``). The
statements that mention those are found again here.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from bayeshte.errors import DataError, SpecError
from bayeshte.mplus.mention import Mention

SHOWN = 3  # statements
#: variables as messages write them: in quotes, in a loop with arrows, in brackets as in ``sd[within: y]``
VARIABLE = re.compile(r"'([A-Za-z_][\w.]*)'|([A-Za-z_][\w.]*)(?= -> )|(?<= -> )([A-Za-z_][\w.]*)|[\[:] ?([\w.]+)\]")


@contextmanager
def located(mentions: Iterable[Mention]) -> Iterator[None]:
    """Within this block the errors of a model end with line and text of the statements that they are about.

    Parameters
    ----------
    mentions : iterable of Mention
        What MODEL says of each parameter.
    """
    try:
        yield
    except (SpecError, DataError) as error:
        found = _statements(str(error), [*mentions])
        if not found:
            raise
        raise type(error)("\n    ".join([str(error), *found])) from None


def _statements(message: str, mentions: list[Mention]) -> list[str]:
    """Statements of the parameters that a message names; else of parameters between variables that it names; else of those."""
    variables = {name for groups in VARIABLE.findall(message) for name in groups if name}
    named = [m for m in mentions if _names(message, m)]
    among = [m for m in mentions if m.row.lhs != m.row.rhs and {m.row.lhs, *m.row.parts} <= variables]
    touched = [m for m in mentions if {m.row.lhs, *m.row.parts} & variables]
    found = named or among or touched
    shown = [f"line {m.statement.line}, {m.statement.command}: {m.statement.shown}" for m in found]
    return [*dict.fromkeys(shown)][:SHOWN]


def _names(message: str, mention: Mention) -> bool:
    """Whether a message has the parameter's name, a covariance either way round."""
    row = mention.row
    pairs = [(row.lhs, row.rhs), (row.rhs, row.lhs)] if row.op == "~~" else [(row.lhs, row.rhs)]
    texts = [f"{row.level}: {a} {row.op} {b}" if row.level else f"{a} {row.op} {b}" for a, b in pairs]
    return any(re.search(rf"(?<![\w.]){re.escape(t.rstrip())}(?![\w.])", message) for t in texts)
