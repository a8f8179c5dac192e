"""Names of variables and labels: case, eight characters, lists such as ``y1-y5``."""

import re
from collections.abc import Callable, Iterable, Sequence

from bayeshte.errors import near
from bayeshte.mplus.source import Statement

NAME = r"[A-Za-z_][\w.]*"
PRINTED = 8  # characters of a name that Mplus prints; longer names stay apart
LONGEST = 5_000  # names of a list


def found(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant: the same one, or the only one with its first eight characters; None if there is none."""
    name, known = name.lower(), list(known)
    if name in known:
        return name
    same = [k for k in known if k[:PRINTED] == name[:PRINTED]]
    return same[0] if len(same) == 1 else None


def assigned(name: str, known: Iterable[str]) -> str:
    """The name that an equation gives a value to: a known one that it is or shortens to eight characters, else a new one."""
    name = name.lower()
    return name if len(name) > PRINTED else found(name, known) or name


def numbered(first: str, last: str) -> list[str] | None:
    """``y1, y2, ..., y5`` of ``y1`` and ``y5``, or ``y1a, y1b, y1c`` of ``y1a`` and ``y1c``; None if they are no ends of a list.

    Leading zeros are kept.
    """
    lettered = [re.fullmatch(r"(.*\d)([a-z])", v.lower()) for v in (first, last)]
    if all(lettered) and lettered[0][1] == lettered[1][1] and lettered[0][2] < lettered[1][2]:
        return [f"{lettered[0][1]}{chr(k)}" for k in range(ord(lettered[0][2]), ord(lettered[1][2]) + 1)]
    ends = [re.fullmatch(r"(.*?)(\d+)", v.lower()) for v in (first, last)]
    if not all(ends) or ends[0][1] != ends[1][1] or not 0 <= int(ends[1][2]) - int(ends[0][2]) < LONGEST:
        return None
    digits = len(ends[0][2]) if ends[0][2].startswith("0") else 0
    return [f"{ends[0][1]}{k:0{digits}d}" for k in range(int(ends[0][2]), int(ends[1][2]) + 1)]


def span(first: str, last: str, order: Sequence[str], statement: Statement) -> list[str]:
    """What ``first-last`` stands for: what lies between them in a list of known names, else the numbers between."""
    ends = [found(v, order) for v in (first, last)]
    if all(ends) and order.index(ends[0]) <= order.index(ends[1]):
        return list(order[order.index(ends[0]) : order.index(ends[1]) + 1])
    listed = numbered(first, last)
    if listed is None:
        raise statement.error(
            f"{first}-{last} is no list: write y1-y5, or the first and last of neighbours among {', '.join(order) or 'names'}."
        )
    return listed


def new_list(text: str, statement: Statement) -> list[str]:
    """Names that a list introduces, in lower case; refused if one is there twice or is no name."""
    out = [
        name
        for first, last in _pieces(text, statement)
        for name in ([first] if not last else span(first, last, [], statement))
    ]
    out = [name.lower() for name in out]
    twice = [name for name in dict.fromkeys(out) if out.count(name) > 1]
    if twice:
        raise statement.error(f"{twice[0]} is named twice: give each its own name.")
    return out


def known_list(text: str, order: Sequence[str], statement: Statement) -> list[str]:
    """Names of a list that stand in `order`, each once; refused if one does not."""
    out: list[str] = []
    for first, last in _pieces(text, statement):
        for name in [first] if not last else span(first, last, order, statement):
            out.append(known(name, order, statement))
    return list(dict.fromkeys(out))


def known(name: str, order: Sequence[str], statement: Statement) -> str:
    """The known name that is meant; refused if there is none."""
    match = found(name, order)
    if match is None:
        raise statement.error(f"{name} is not among the names.{near(name.lower(), order)}")
    return match


def _pieces(text: str, statement: Statement) -> list[tuple[str, str]]:
    """Names and ends of ranges; the second is empty if it is one name."""
    out = []
    rest = re.sub(rf"({NAME})\s*-\s*({NAME})|({NAME})", _collect(out), text)
    if wrong := rest.replace(",", " ").split():
        raise statement.error(f"{wrong[0]!r} is no name: a name has letters, digits and _, and begins with a letter.")
    return out


def _collect(out: list[tuple[str, str]]) -> Callable[[re.Match], str]:
    def take(match: re.Match) -> str:
        out.append((match[3] or match[1], match[2] or ""))
        return " "

    return take
