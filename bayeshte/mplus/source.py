"""From the text of a Mplus input to commands and statements.

A command begins at its name and a colon, ``MODEL PRIORS:``, and ends at the next one; its statements end at ``;`` or with the
command. Comments go from ``!`` to the end of the line, or from ``!*`` to ``*!``. Names may be shortened.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bayeshte.errors import SpecError, near

COMMANDS = (
    *("TITLE", "DATA", "VARIABLE", "DEFINE", "ANALYSIS", "MODEL", "OUTPUT", "SAVEDATA", "PLOT", "MONTECARLO"),
    *(
        "DATA IMPUTATION",
        "DATA WIDETOLONG",
        "DATA LONGTOWIDE",
        "DATA TWOPART",
        "DATA MISSING",
        "DATA SURVIVAL",
        "DATA COHORT",
    ),
    *("MODEL CONSTRAINT", "MODEL PRIORS", "MODEL INDIRECT", "MODEL TEST", "MODEL POPULATION", "MODEL COVERAGE"),
    *("MODEL MISSING",),
)
QUOTED = r"\"[^\"\n]*\"|'[^'\n]*'"
DASHES = "\u2010-\u2015\u2212"  # of word processors
CENTERING = re.compile(r"\s*CENT\w*\s*(?:=|\bIS\b|\bARE\b)\s*(GRANDMEAN|GROUPMEAN)\s*\(([^()]*)\)\s*", re.I)
SHORTEST = 3  # letters of a name
LONGEST = 60  # characters of a statement that a message shows


@dataclass(frozen=True)
class Statement:
    """A statement without comments and without its ``;``.

    Attributes
    ----------
    command : str
        The full name of its command, in capitals.
    text : str
        Ends of lines are in it.
    line : int
        Of the input, where it begins.
    """

    command: str
    text: str
    line: int

    @property
    def shown(self) -> str:
        """In one line, shortened, as messages show it."""
        text = " ".join(self.text.split())
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."

    def error(self, message: str) -> SpecError:
        """What is wrong with it."""
        return SpecError(f"line {self.line}, {self.command}: {self.shown}\n    {message}")


@dataclass(frozen=True)
class Source:
    """An input, cut into pieces.

    Attributes
    ----------
    title : str
    statements : tuple of Statement
        In the order of the input, TITLE aside.
    notes : tuple of str
        What a reader may have missed: commands that are named twice, blocks that are commented out.
    """

    title: str
    statements: tuple[Statement, ...]
    notes: tuple[str, ...]

    def of(self, command: str) -> tuple[Statement, ...]:
        """The statements of a command."""
        return tuple(s for s in self.statements if s.command == command)


def read_text(path: Path) -> str:
    """The text of an input file; SpecError if it is no text."""
    content = path.read_bytes()
    if b"\0" in content:
        raise SpecError(f"{path} is not a text file: save the input as plain text.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def cut(text: str) -> Source:
    """The commands and statements of an input.

    Raises
    ------
    SpecError
        Text before the first command, a name before a colon that is no command, no command at all.
    """
    text, notes = _without_comments(re.sub(r"\r\n?", "\n", text))
    text = re.sub(rf"({QUOTED})|[{DASHES}]", lambda m: m[1] or "-", text)
    found = list(_commands(text))
    if not found:
        raise SpecError("This is no Mplus input: it has no command such as 'MODEL:'.")
    before = text[: found[0][1]]
    if before.strip():
        line = 1 + len(before) - len(before.lstrip("\n"))
        raise SpecError(f"line {line}: {before.strip().splitlines()[0]!r} stands before the first command.")
    statements, seen, title = [], {}, ""
    for (name, start, begin), end in zip(found, [*(start for _, start, _ in found[1:]), len(text)], strict=True):
        if name == "TITLE":
            title = " ".join(text[begin:end].split()).rstrip(";")
            continue
        line = text.count("\n", 0, start) + 1
        if name in seen:
            notes.append(f"line {line}: {name} was named in line {seen[name]} already; both are read.")
        seen.setdefault(name, line)
        statements += _statements(name, text, begin, end)
    return Source(title, tuple(map(_centred, statements)), tuple(notes))


def _centred(statement: Statement) -> Statement:
    """VARIABLE's CENTERING, of Mplus before version 7, as DEFINE's CENTER; other statements as they are."""
    match = CENTERING.fullmatch(statement.text) if statement.command == "VARIABLE" else None
    return replace(statement, command="DEFINE", text=f"CENTER {match[2]} ({match[1]})") if match else statement


def _without_comments(text: str) -> tuple[str, list[str]]:
    """The text with comments replaced by blanks, so that lines stay where they are; blocks are noted."""
    notes = []

    def blank(match: re.Match) -> str:
        lines = match[0].count("\n")
        if lines:
            first = text.count("\n", 0, match.start()) + 1
            notes.append(f"lines {first} to {first + lines} are commented out, from !* to *!.")
        return re.sub(r"[^\n]", " ", match[0])

    return re.sub(r"!\*(?:.|\n)*?\*!|![^\n]*", blank, text), notes


def _commands(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, start of the name and end of the colon of every command; in a title only at the beginning of a line."""
    title = False
    quoted = re.sub(QUOTED, lambda m: "_" * len(m[0]), text)
    for match in re.finditer(r"(?<![\w.])([A-Za-z]\w*)(?:\s+(\w+))?\s*:(?![=\\/])", quoted):
        candidates = [(match[0], match.start())] + ([(match[2], match.start(2))] if match[2] else [])
        names = [(full_name(given.rstrip(": \n\t"), COMMANDS), start) for given, start in candidates]
        name, start = next((n for n in names if n[0]), (None, match.start()))
        if title and (name is None or text[:start].rstrip(" \t")[-1] != "\n"):
            continue  # a title may say anything
        if name is None:
            line = text.count("\n", 0, start) + 1
            given = " ".join(match[0].rstrip(": \n\t").split())
            if given.upper().startswith("MODEL "):
                raise SpecError(f"line {line}: {given}: models of groups or classes are not supported.")
            raise SpecError(f"line {line}: {given!r} before a colon is no command.{near(given.upper(), COMMANDS)}")
        title = name == "TITLE"
        yield name, start, match.end()


def full_name(given: str, known: Sequence[str]) -> str | None:
    """The one name that a word, or every word of several, is or shortens to at least three letters; None if there is none."""
    words = given.upper().split()
    if " ".join(words) in known:
        return " ".join(words)
    found = [
        name
        for name in known
        if len(name.split()) == len(words)
        and all(p == w or (len(w) >= SHORTEST and p.startswith(w)) for p, w in zip(name.split(), words, strict=True))
    ]
    return found[0] if len(found) == 1 else None


def _statements(command: str, text: str, begin: int, end: int) -> Iterator[Statement]:
    """The statements between two places: cut at ``;`` outside of quotes."""
    for match in re.finditer(rf"(?:{QUOTED}|[^;])+", text[begin:end]):
        if content := match[0].strip():
            at = begin + match.start() + len(match[0]) - len(match[0].lstrip())
            yield Statement(command, content, text.count("\n", 0, at) + 1)
