"""Lists of names in MODEL's statements: ranges, what ``@`` and ``*`` say of each name, labels in parentheses."""

import math
import re
from collections.abc import Sequence
from functools import partial

from bayeshte.errors import SpecError
from bayeshte.mplus import thresholds
from bayeshte.mplus.mention import Group, Item, Model
from bayeshte.mplus.names import NAME, found, known, numbered, span
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Statement

TOKEN = re.compile(
    r"\s+|(?P<name>[A-Za-z_][\w.]*(?:\$\d+)?)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<mark>[-+@*(),])"
    r"|(?P<odd>.)"
)
REMEDIES = {
    "$": "thresholds stand in brackets, with their number: [u$1].",
    **dict.fromkeys(
        "{}", "residual variances of latent responses are 1, and there are no scale factors: delete the statement."
    ),
    "#": "it belongs to latent classes or loops, which are not supported.",
    "^": "for a residual as a variable, y1^, write a factor, w1 BY y1@1; y1@0; random loadings and residual variances "
    "are not supported.",
    "&": "dynamic models are not supported: a column of the data with the value before, made beforehand, can be a covariate.",
    ":": "commands end with a colon, statements with a semicolon: is the ';' before it missing?",
    "=": "write '@' to fix a parameter, MODEL CONSTRAINT for equations.",
    "[": "means stand in brackets of their own, [y1 y2]; is a ';' missing before it?",
    "]": "means stand in brackets of their own, [y1 y2]; is a ';' missing before it?",
    "|": "one '|' a statement, s | y ON x; is a ';' missing before the second?",
    "~": "priors belong to MODEL PRIORS; in MODEL write 'y ON x'.",
}
EQUAL = "equal"  # begins the label of a numeric equality: (1) is equal1


def names_of(text: str, order: Sequence[str], statement: Statement) -> list[str]:
    """The names of a list without modifiers, their ranges filled from `order` or else with numbers."""
    return [name for item in _tokens(text, statement) for name in _expand(item, order, statement)]


def _tokens(text: str, statement: Statement) -> list[tuple[str, str]]:
    """Names, and ends of ranges, of a left side: (first, last), the second empty if it is one name."""
    out: list[tuple[str, str]] = []
    words = [m[0] for m in TOKEN.finditer(text) if m[0].strip()]
    at = 0
    while at < len(words):
        if not re.fullmatch(r"[A-Za-z_][\w.]*", words[at]):
            raise not_understood(words[at], statement)
        if at + 2 < len(words) and words[at + 1] == "-":
            out.append((words[at].lower(), words[at + 2].lower()))
            at += 3
        else:
            out.append((words[at].lower(), ""))
            at += 1
    return out


def not_understood(word: str, statement: Statement) -> SpecError:
    """The error for a word that has no meaning where it stands."""
    remedy = REMEDIES["$"] if "$" in word else REMEDIES.get(word, "expected a name.")
    return statement.error(f"{word!r} is not understood here: {remedy}")


def _expand(item: tuple[str, str], order: Sequence[str], statement: Statement) -> list[str]:
    """The names of an item of a left side; those that are new have numbers."""
    first, last = item
    return span(first, last, order, statement) if last else [first]


class Lists:
    """Reads lists of names that `settings` and `model` have; labels get their names in the model text."""

    def __init__(self, model: Model, settings: Settings):
        self.model, self.settings = model, settings
        self.order = [*settings.use, *model.factors, *(s for s in model.slopes if s not in model.factors)]

    def plain(self, text: str, statement: Statement, names_needed: str = "") -> list[str]:
        """A list of names without modifiers or labels."""
        if not text.strip():
            raise statement.error(f"expected a name before {names_needed}." if names_needed else "expected a name.")
        return [self.known(name, statement) for name in names_of(text, self.order, statement)]

    def known(self, name: str, statement: Statement) -> str:
        """The variable that is meant; SpecError if there is none."""
        order = [*self.order, *self.model.products]
        if (match := found(name, order)) is not None:
            return match
        if found(name, self.settings.names):
            raise statement.error(f"{name} is a column, but not among USEVARIABLES: add it there.")
        return known(name, order, statement)

    def groups(self, text: str, statement: Statement, means: bool = False) -> list[Group]:
        """Items with modifiers, in groups that end with labels in parentheses; among `means` may be thresholds."""
        words, lines = [], []
        for match in TOKEN.finditer(text):
            if match["odd"]:
                raise not_understood(match["odd"], statement)
            if match[0].strip():
                words.append(match[0])
                lines.append(text.count("\n", 0, match.start()))
        groups, items, at = [], [], 0
        while at < len(words):
            if words[at] == "(":
                end = words.index(")", at) if ")" in words[at:] else None
                if end is None:
                    raise statement.error("the parenthesis is not closed.")
                if not items:
                    raise statement.error("labels stand behind the parameters: y ON x1 x2 (b1 b2).")
                if "*" in words[at:end]:
                    raise statement.error("exploratory factors are not supported: write the loadings with BY.")
                groups.append(Group(tuple(items), self._labels(words[at + 1 : end], statement), lines[at]))
                items, at = [], end + 1
                continue
            if words[at] == ",":
                at += 1
                continue
            at, names, said = self._item(words, at, statement, means)
            items += [Item(name, lines[at - 1], **said) for name in names]
        return [*groups, *([Group(tuple(items))] if items else [])]

    def _item(self, words: list[str], at: int, statement: Statement, means: bool) -> tuple[int, list[str], dict]:
        """Where the next item begins, and the names of this one with what its modifier says."""
        if not re.fullmatch(NAME, words[at]) and not (means and thresholds.is_threshold(words[at])):
            raise not_understood(words[at], statement)
        first, last = words[at].lower(), ""
        at += 1
        if at + 1 < len(words) and words[at] == "-" and re.match(r"[A-Za-z_]", words[at + 1]):
            last = words[at + 1].lower()
            at += 2
        if "$" in first + last:
            if not means:
                raise not_understood(first + last, statement)
            known_one = partial(self.known, statement=statement)
            names = thresholds.expand(first, last, self.order, known_one, statement)
        else:
            names = [self.known(name, statement) for name in _expand((first, last), self.order, statement)]
        said = {}
        while at < len(words) and words[at] in "@*":
            mark, at = words[at], at + 1
            sign = 1.0
            if at < len(words) and words[at] in "-+":
                sign, at = (-1.0 if words[at] == "-" else 1.0), at + 1
            number = None
            if at < len(words) and re.match(r"[\d.]", words[at]):
                number, at = sign * float(words[at]), at + 1
                if not math.isfinite(number):
                    raise statement.error(f"{first}{mark}{words[at - 1]}: the number is too large.")
            if mark == "@" and number is None:
                raise statement.error(f"{first}@: expected the number that it is fixed at.")
            said = {"fixed": number} if mark == "@" else {"start": number, "freed": True}
        return at, names, said

    def _labels(self, words: list[str], statement: Statement) -> tuple[str, ...]:
        """The labels of a parenthesis, as the model text has them."""
        out: list[str] = []
        rest = [w for w in words if w != ","]
        at = 0
        while at < len(rest):
            first, last = rest[at], ""
            if at + 2 < len(rest) and rest[at + 1] == "-":
                last = rest[at + 2]
            names = [first.lower()] if not last else numbered(first, last)
            if names is None or not all(re.fullmatch(r"\w[\w.]*", n) for n in names):
                raise statement.error(f"({' '.join(words)}): labels are names or numbers, as in (p1-p3) or (1).")
            out += [self.label(n) for n in names]
            at += 3 if last else 1
        return tuple(out)

    def label(self, written: str, name: str = "") -> str:
        """The label in the model text of one in the input, `name` if that is given: numbers and names of variables get others."""
        if written not in self.model.labels:
            name = name or (f"{EQUAL}{written}" if re.match(r"\d", written) else written)
            taken = {*self.order, *self.model.products, *self.model.labels.values(), "NA", "start", "mean", "centred"}
            while name in taken:
                name += "_"
            self.model.labels[written] = name
        return self.model.labels[written]
