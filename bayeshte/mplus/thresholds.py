"""Categorical variables in MODEL: thresholds, ``[u$1-u$3]``, and what is refused of latent responses."""

import re
from collections.abc import Callable, Iterable, Sequence

from bayeshte.model_text import Row
from bayeshte.mplus.mention import Mention
from bayeshte.mplus.names import span
from bayeshte.mplus.source import Statement

THRESHOLD = re.compile(r"([A-Za-z_][\w.]*)\$([1-9]\d*)")


def is_threshold(word: str) -> bool:
    """Whether a name in brackets is that of a threshold, ``u$1``."""
    return THRESHOLD.fullmatch(word) is not None


def expand(first: str, last: str, order: Sequence[str], known: Callable[[str], str], statement: Statement) -> list[str]:
    """The thresholds of ``u$1``, of ``u$1-u$3``, of ``u1$1-u5$1``, or of ``u1$1-u5$3``, variable by variable."""
    ends = [THRESHOLD.fullmatch(word) for word in ((first, last) if last else (first,))]
    if not all(ends) or int(ends[0][2]) > int(ends[-1][2]):
        raise statement.error(f"{first}-{last}: write [u$1-u$3], all of one variable, or [u1$1-u5$1], one of each.")
    names = [v[1] for v in ends]
    variables = span(*names, order, statement) if len({*names}) > 1 else names[:1]
    numbers = range(int(ends[0][2]), int(ends[-1][2]) + 1)
    return [f"{known(v)}${k}" for v in variables for k in numbers]


def row(level: str, word: str) -> Row:
    """The row of ``u$2``."""
    variable, number = THRESHOLD.fullmatch(word).groups()
    return Row(level, variable, "|", f"t{number}")


def check_held(mentions: Iterable[Mention]) -> None:
    """Refuse thresholds after the first one that are fixed, or held equal to others."""
    held = [m for m in mentions if m.row.op == "|"]
    labels = [m.row.label for m in held if m.row.label]
    for m in held:
        if m.row.rhs != "t1" and (m.row.fixed is not None or labels.count(m.row.label) > 1):
            name = f"{m.row.lhs}${m.row.rhs[1:]}"
            what = "fixed" if m.row.fixed is not None else "held equal to another threshold"
            raise m.statement.error(
                f"[{name}] is {what}: only first thresholds, [{m.row.lhs}$1], can be fixed or equal; the others have to stay in "
                "order."
            )


def check_mean(level: str, row: Row, categorical: Sequence[str], both: bool, statement: Statement) -> None:
    """Refuse means of categorical variables, thresholds of others, and thresholds on the wrong level."""
    if row.op == "~1" and row.lhs in categorical:
        raise statement.error(f"{row.lhs} is categorical: it has thresholds, [{row.lhs}$1], and no mean.")
    if row.op == "|" and row.lhs not in categorical:
        raise statement.error(
            f"{row.lhs} has no thresholds: name it in VARIABLE: CATEGORICAL, or write its mean, [{row.lhs}]."
        )
    if row.op == "|" and level == "within" and both:
        raise statement.error(f"{row.lhs} is on both levels, so its thresholds belong under %BETWEEN%.")
