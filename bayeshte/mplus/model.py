"""MODEL: what its statements say of each parameter, with Mplus's rules for lists, labels and levels.

A statement names parameters in groups: what stands before a parenthesis with labels is a group. As many labels as parameters, or
as free parameters, are given out in their order (left side by left side), wherever lines end; else they belong to the parameters
of their own line, and one label makes the free ones equal: this is the one place where Mplus looks at ends of lines. The last
mention of a parameter counts.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from bayeshte.errors import SpecError
from bayeshte.model_text import Row
from bayeshte.mplus import thresholds
from bayeshte.mplus.mention import Group, Item, Mention, Model
from bayeshte.mplus.names import NAME, found, known, numbered, span
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Source, Statement

#: keyword: operator; the left side of BY and ON is lhs
OPERATORS = {"BY": "=~", "ON": "~", "WITH": "~~", "PON": "~", "PWITH": "~~"}
KEYWORD = re.compile(r"(?<![\w.])(BY|ON|WITH|PON|PWITH|XWITH)(?![\w.])", re.I)
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
LEVELS = {"WITHIN": "within", "BETWEEN": "between"}


def read(source: Source, settings: Settings) -> Model:
    """What the statements of MODEL say; SpecError where one cannot be read or names what is not there."""
    model = Model()
    statements = [*_by_level(source.of("MODEL"), settings)]
    for level, statement in statements:
        _define(model, statement, level)
    reader = _Reader(model, settings)
    for level, statement in sorted(statements, key=lambda s: not _is_interaction(s[1])):  # which may be used before
        reader.read(level, statement)
    return model


def _by_level(statements: Sequence[Statement], settings: Settings) -> Iterator[tuple[str, Statement]]:
    """Statements with their level; %WITHIN% and %BETWEEN% go."""
    level = None if settings.two_level else ""
    for statement in statements:
        text, line = statement.text, statement.line
        while match := re.match(r"\s*%\s*([^%\n]*?)\s*%\s*", text):
            word = " ".join(match[1].upper().split())
            if word == "OVERALL":
                raise statement.error("%OVERALL% belongs to latent classes, which are not supported.")
            if word.split(" ")[0] in LEVELS and (
                len(word.split(" ")) > 1 and word.split(" ")[1] != (settings.cluster or "").upper()
            ):
                raise statement.error(f"%{match[1]}% names another level: there are two, %WITHIN% and %BETWEEN%.")
            if word.split(" ")[0] not in LEVELS:
                raise statement.error(f"%{match[1]}% is no level: write %WITHIN% or %BETWEEN%.")
            if not settings.two_level:
                raise statement.error(f"%{word}% needs ANALYSIS: TYPE = TWOLEVEL; and VARIABLE: CLUSTER = ...;")
            level = LEVELS[word.split(" ")[0]]
            text, line = text[match.end() :], line + match[0].count("\n")
        if text.strip():
            if level is None:
                raise statement.error("a model of two levels says which: write %WITHIN% or %BETWEEN% before it.")
            yield level, replace(statement, text=text.strip(), line=line)


def _define(model: Model, statement: Statement, level: str) -> None:
    """Names of latent variables that a statement makes."""
    text = statement.text
    if "|" in text:
        left, right = text.split("|", 1)
        names = [name for item in _tokens(left, statement) for name in _expand(item, [], statement)]
        keyword = KEYWORD.search(right)
        if keyword is None:
            for name in names:
                model.factors.setdefault(name, set()).add(level)
        elif keyword[1].upper() == "ON":
            model.slopes += [name for name in names if name not in model.slopes]
    elif (keyword := KEYWORD.search(text)) and keyword[1].upper() == "BY":
        for item in _tokens(text[: keyword.start()], statement):
            for name in _expand(item, [], statement):
                model.factors.setdefault(name, set()).add(level)


def _is_interaction(statement: Statement) -> bool:
    keyword = KEYWORD.search(statement.text.partition("|")[2])
    return keyword is not None and keyword[1].upper() == "XWITH"


def _tokens(text: str, statement: Statement) -> list[tuple[str, str]]:
    """Names, and ends of ranges, of a left side: (first, last), the second empty if it is one name."""
    out: list[tuple[str, str]] = []
    words = [m[0] for m in TOKEN.finditer(text) if m[0].strip()]
    at = 0
    while at < len(words):
        if not re.fullmatch(r"[A-Za-z_][\w.]*", words[at]):
            raise _odd(words[at], statement)
        if at + 2 < len(words) and words[at + 1] == "-":
            out.append((words[at].lower(), words[at + 2].lower()))
            at += 3
        else:
            out.append((words[at].lower(), ""))
            at += 1
    return out


def _odd(word: str, statement: Statement) -> SpecError:
    remedy = REMEDIES["$"] if "$" in word else REMEDIES.get(word, "expected a name.")
    return statement.error(f"{word!r} is not understood here: {remedy}")


def _expand(item: tuple[str, str], order: Sequence[str], statement: Statement) -> list[str]:
    """The names of an item of a left side; those that are new have numbers."""
    first, last = item
    return span(first, last, order, statement) if last else [first]


class _Reader:
    """Reads statements into a `Model`; knows the names."""

    def __init__(self, model: Model, settings: Settings):
        self.model, self.settings = model, settings
        self.order = [*settings.use, *model.factors, *(s for s in model.slopes if s not in model.factors)]
        self.defined_at: dict[str, set[str]] = {}

    def read(self, level: str, statement: Statement) -> None:
        text = statement.text
        if "|" in text:
            self._bar(level, statement)
        elif text.startswith("["):
            self._means(level, statement)
        elif keyword := KEYWORD.search(text):
            self._relation(level, statement, keyword)
        else:
            for group in self._groups(text, statement):
                rows = [(Row(level, item.name, "~~", item.name), item) for item in group.items]
                self._add(rows, group, statement)

    def _bar(self, level: str, statement: Statement) -> None:
        """``s | y ON x``, ``fx | f XWITH x``, or growth factors, ``i s | y1@0 y2@1``."""
        left, right = statement.text.split("|", 1)
        names = [name for item in _tokens(left, statement) for name in _expand(item, [], statement)]
        keyword = KEYWORD.search(right)
        if "|" in right:
            raise _odd("|", statement)
        if keyword is None:
            self._growth(level, names, right, statement)
            return
        sides = [self._plain(side, statement) for side in (right[: keyword.start()], right[keyword.end() :])]
        if keyword[1].upper() == "XWITH":
            if [len(names), *map(len, sides)] != [1, 1, 1]:
                raise statement.error("an interaction has one name and two factors: fx | f XWITH x.")
            if nested := [side[0] for side in sides if side[0] in self.model.products]:
                raise statement.error(
                    f"{nested[0]} is a product itself: products of three are supported for observed variables only, which DEFINE "
                    "multiplies, x123 = x1*x2*x3."
                )
            self.model.products[names[0]] = (sides[0][0], sides[1][0])
            return
        if keyword[1].upper() != "ON":
            raise statement.error(f"a random slope is a path, s | y ON x; {keyword[1].upper()} has none.")
        self._slopes(level, names, sides, statement)

    def _slopes(self, level: str, names: list[str], sides: list[list[str]], statement: Statement) -> None:
        if "RANDOM" not in self.settings.types:
            raise statement.error("random slopes need ANALYSIS: TYPE = TWOLEVEL RANDOM.")
        if not level:
            raise statement.error(
                "random slopes vary between clusters: write TYPE = TWOLEVEL RANDOM and CLUSTER = ...."
            )
        if level != "within":
            raise statement.error("random slopes are defined under %WITHIN%; they are variables of %BETWEEN%.")
        pairs = [(y, x) for y in sides[0] for x in sides[1]]
        if len(pairs) != len(names):
            raise statement.error(f"{len(names)} slopes are named for {len(pairs)} paths: name each of them.")
        for name, (y, x) in zip(names, pairs, strict=True):
            self._check_level(y, level, statement)
            self._check_level(x, level, statement)
            row = Row(level, y, "~", x, slope=name)
            if (old := self.model.mentions.get(row.key)) and old.row.slope not in ("", name):
                raise statement.error(
                    f"{y} ON {x} is the random slope {old.row.slope} already (line {old.statement.line})."
                )
            self._keep(Mention(row, False, statement))

    def _growth(self, level: str, names: list[str], right: str, statement: Statement) -> None:
        """Intercept, slope, square ... of a growth curve; loadings are powers of the times."""
        if "AT" in right.upper().split():
            raise statement.error(
                "individually varying times (AT) are not supported: use a random slope on a time variable."
            )
        groups = self._groups(right, statement)
        items = [item for group in groups for item in group.items]
        if any(group.labels for group in groups):
            raise statement.error("labels of time scores are not supported: write the loadings with BY.")
        if len(items) == 1 and items[0].fixed is None:
            raise statement.error(
                "random residual variances and loadings are not supported; a growth curve has several outcomes, i s | y1@0 y2@1."
            )
        for item in items:
            if item.fixed is None and len(names) > 2:
                raise statement.error(f"{item.name}: free time scores need a line, i s | ...: fix it with @.")
        binary = [item.name for item in items if item.name in self.settings.categorical]
        for power, name in enumerate(names):
            for item in items:
                fixed = None if item.fixed is None and power else float((item.fixed or 0) ** power if power else 1)
                row = Row(level, name, "=~", item.name, fixed=fixed, start=item.start if fixed is None else None)
                self._keep(Mention(row, fixed is None, statement))
            if level != "within":  # of factors and categories the first mean is zero (User's Guide, examples 6.14, 6.4)
                mean = 0.0 if power == 0 and any(v.name in (*self.model.factors, *binary) for v in items) else None
                self._keep(Mention(Row(level, name, "~1", "", fixed=mean), False, statement))
        if level != "within":
            for item in items:
                if item.name not in binary:
                    self._keep(Mention(Row(level, item.name, "~1", "", fixed=0.0), False, statement))
            if binary:
                self._equal(level, names[0], binary, statement)

    def _equal(self, level: str, factor: str, binary: list[str], statement: Statement) -> None:
        """The thresholds of binary outcomes of a growth curve are one."""
        label = self.label(f"${factor}", f"threshold_{factor}")
        for name in binary:
            self._keep(Mention(Row(level, name, "|", "t1", label=label), False, statement))
        self.settings.binary += [v for v in binary if v not in self.settings.binary]
        self.model.notes.append(
            f"line {statement.line}: {statement.shown}: the thresholds of {', '.join(binary)}, which must be binary, are equal."
        )

    def _means(self, level: str, statement: Statement) -> None:
        """``[y1 y2@0] (a b)``."""
        pieces = list(re.finditer(r"\s*\[([^\[\]]*)\]\s*(\([^()]*\))?", statement.text))
        if "".join(p[0] for p in pieces).strip() != statement.text.strip():
            raise statement.error(
                "means stand in brackets, [y1 y2@0], with labels behind them: [y1] (m1). Is a ';' missing?"
            )
        for piece in pieces:
            for group in self._groups(piece[1] + (piece[2] or ""), statement, means=True):
                rows = [(self._mean(level, item, statement), item) for item in group.items]
                for row, item in rows:
                    if row.op == "|":
                        continue
                    if level == "within" and item.name in self.settings.use and item.name not in self.settings.within:
                        raise statement.error(f"{item.name} is on both levels, so its mean belongs under %BETWEEN%.")
                    if level == "within" and item.name in self.model.factors and item.fixed != 0:
                        raise statement.error(
                            f"{item.name} is a factor within clusters: its mean is 0; write [{item.name}@0]."
                        )
                self._add(rows, group, statement)

    def _mean(self, level: str, item: Item, statement: Statement) -> Row:
        """The row of a mean, or of a threshold."""
        row = (
            thresholds.row(level, item.name) if thresholds.is_threshold(item.name) else Row(level, item.name, "~1", "")
        )
        both = row.lhs not in self.settings.within
        thresholds.check_mean(level, row, self.settings.categorical, both, statement)
        note = f"line {statement.line}: {statement.shown}: starting values of thresholds have no effect."
        if row.op == "|" and item.start is not None and note not in self.model.notes:
            self.model.notes.append(note)
        return row

    def _relation(self, level: str, statement: Statement, keyword: re.Match) -> None:
        word, text = keyword[1].upper(), statement.text
        if word == "XWITH":
            raise statement.error("an interaction needs a name: fx | f XWITH x.")
        if KEYWORD.search(text, keyword.end()):
            raise statement.error(f"two relations in one statement: is a ';' missing before the second {word}?")
        left = self._plain(text[: keyword.start()], statement, names_needed=word)
        groups = self._groups(text[keyword.end() :], statement)
        if not groups:
            raise statement.error(f"expected a name after {word}.")
        paired = word in ("PON", "PWITH")
        if paired and sum(len(g.items) for g in groups) != len(left):
            raise statement.error(
                f"{word} pairs the names of its sides, which differ in number: write {word[1:]}, or name as many."
            )
        at = 0
        for group in groups:
            rows = []
            sides = [(left[at + k], item) for k, item in enumerate(group.items)] if paired else [
                (lhs, item) for lhs in left for item in group.items
            ]  # fmt: skip
            at += len(group.items)
            for lhs, item in sides:
                if word == "ON" and lhs == item.name:
                    raise statement.error(f"{lhs} ON {item.name}: a variable does not depend on itself.")
                rows.append((self._row(level, lhs, OPERATORS[word], item.name), item))
            seen: dict[tuple, tuple[Row, Item]] = {}
            for row, item in rows:  # a list WITH itself has every pair twice
                seen.setdefault(row.key, (row, item))
            self._add(list(seen.values()), group, statement)

    def _row(self, level: str, lhs: str, operator: str, rhs: str) -> Row:
        """A path from an XWITH variable is one from a product."""
        if operator == "~" and rhs in self.model.products:
            return Row(level, lhs, operator, ":".join(self.model.products[rhs]))
        return Row(level, lhs, operator, rhs)

    def _plain(self, text: str, statement: Statement, names_needed: str = "") -> list[str]:
        """A list of names without modifiers or labels."""
        if not text.strip():
            raise statement.error(f"expected a name before {names_needed}." if names_needed else "expected a name.")
        out = []
        for item in _tokens(text, statement):
            out += [self._known(name, statement) for name in _expand(item, self.order, statement)]
        return out

    def _known(self, name: str, statement: Statement) -> str:
        order = [*self.order, *self.model.products]
        if (match := found(name, order)) is not None:
            return match
        if found(name, self.settings.names):
            raise statement.error(f"{name} is a column, but not among USEVARIABLES: add it there.")
        return known(name, order, statement)

    def _groups(self, text: str, statement: Statement, means: bool = False) -> list[Group]:
        """Items with modifiers, in groups that end with labels in parentheses; among `means` may be thresholds."""
        words, lines = [], []
        for match in TOKEN.finditer(text):
            if match["odd"]:
                raise _odd(match["odd"], statement)
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
            raise _odd(words[at], statement)
        first, last = words[at].lower(), ""
        at += 1
        if at + 1 < len(words) and words[at] == "-" and re.match(r"[A-Za-z_]", words[at + 1]):
            last = words[at + 1].lower()
            at += 2
        if "$" in first + last:
            if not means:
                raise _odd(first + last, statement)
            known_one = partial(self._known, statement=statement)
            names = thresholds.expand(first, last, self.order, known_one, statement)
        else:
            names = [self._known(name, statement) for name in _expand((first, last), self.order, statement)]
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

    def _add(self, rows: list[tuple[Row, Item]], group: Group, statement: Statement) -> None:
        """Rows of a group with modifiers and labels."""
        labels = self._given_out(rows, group, statement) if group.labels else {}
        for row, item in rows:
            for name in sorted({row.lhs, *row.parts}):
                if name in self.model.products:
                    raise statement.error(
                        f"{name} is a product: it stands on the right of ON only. Leave {name} out here."
                    )
                self._check_level(name, row.level, statement)
            of_response = row.kind == "variance" and row.lhs in self.settings.responses(row.level)
            if of_response and KEYWORD.search(statement.text):
                continue  # a list WITH itself
            if row.kind == "variance" and len(rows) > 1 and KEYWORD.search(statement.text) and row.key not in labels:
                # a list WITH itself: what stands behind it is about the pairs, their variances are as they are elsewhere
                if row.key not in self.model.mentions:
                    self._keep(Mention(row, False, statement))
                continue
            if of_response and item.fixed == 1 and not group.labels:
                note = f"line {statement.line}: {statement.shown}: residual variances of latent responses are 1 without it."
                self.model.notes += [note] if note not in self.model.notes else []
                continue
            if of_response:
                raise statement.error(
                    f"{row.lhs} is categorical: the residual variance of its latent response is 1. Leave {row.lhs} out here."
                )
            start = None if row.op == "|" else item.start
            row = replace(row, fixed=item.fixed, start=start, label=labels.get(row.key, ""))
            if row.kind == "variance" and row.fixed == 0 and row.lhs in self.model.slopes:
                raise statement.error(
                    f"{row.lhs} is a random slope and has a variance: for one that does not vary write the path under %WITHIN%, "
                    "y ON x, and products with its predictors."
                )
            self._keep(Mention(row, item.freed, statement))

    def _given_out(self, rows: list[tuple[Row, Item]], group: Group, statement: Statement) -> dict[tuple, str]:
        """Label by key: as many labels as parameters go to all of them, else those of the labels' own line get them."""
        labels = group.labels
        pairs = [row for row, _ in rows if row.op == "~~" and row.lhs != row.rhs]
        fixed = [
            row
            for k, (row, item) in enumerate(rows)
            if item.fixed is not None or (not k and self._is_marker(row, item))
        ]
        free = [row for row, _ in rows if row not in fixed]
        # of a list WITH itself, labels may be those of the pairs; else those of what is not fixed, as a first loading is
        for named in ([row for row, _ in rows], pairs, free):
            if len(labels) == len(named):
                near = [row.name for row, item in rows if row in fixed and item.line == group.line]
                if named is free and near:
                    names = ", ".join(near)
                    self.model.notes.append(
                        f"line {statement.line + group.line}: the labels are those of what is not fixed, as {names} is."
                    )
                return {row.key: label for row, label in zip(named, labels, strict=True)}
        line = [row for row, item in rows if item.line == group.line] or [row for row, _ in rows]
        if len(labels) == 1:
            line = [row for row in line if row not in fixed] or line
        if len(labels) not in (1, len(line)):
            names = ", ".join(row.name for row, _ in rows)
            raise statement.error(f"{len(labels)} labels for {len(rows)} parameters ({names}): write as many, or one.")
        names = " and ".join(row.name for row in line)
        says = (
            f"makes {names} equal" if len(labels) < len(line) else f"is that of {names} alone, in whose line it stands"
        )
        if len(labels) == 1:
            written = next(label for label, name in self.model.labels.items() if name == labels[0])
            self.model.notes.append(f"line {statement.line + group.line}: the label ({written}) {says}.")
        return {row.key: labels[k if len(labels) > 1 else 0] for k, row in enumerate(line)}

    def _is_marker(self, row: Row, item: Item) -> bool:
        """Whether a row is the first loading of its factor, fixed at 1 for want of ``*``."""
        before = {(m.row.level, m.row.lhs) for m in self.model.mentions.values() if m.row.op == "=~"}
        return row.op == "=~" and not item.freed and (row.level, row.lhs) not in before

    def _keep(self, mention: Mention) -> None:
        old = self.model.mentions.get(mention.row.key)
        if old and old.row.slope and not mention.row.slope:
            raise mention.statement.error(
                f"{mention.row.name} is the random slope {old.row.slope} (line {old.statement.line})."
            )
        same = old and (old.row, old.freed) == (mention.row, mention.freed)
        if old and not (same and "|" in mention.statement.text):  # pieces of a growth curve share an intercept
            self.model.notes.append(
                f"line {mention.statement.line}: {mention.row.name} stands in line {old.statement.line} already; "
                + ("it is one parameter." if same else "the last mention counts.")
            )
        self.model.mentions[mention.row.key] = mention

    def _check_level(self, name: str, level: str, statement: Statement) -> None:
        """A variable is used on its level only."""
        other = {"within": self.settings.between, "between": self.settings.within}.get(level, [])
        if name in other:
            where = "BETWEEN" if level == "within" else "WITHIN"
            raise statement.error(f"{name} is declared {where} and cannot be used under %{level.upper()}%.")
        if name in self.model.slopes and level == "within":
            raise statement.error(f"{name} is a random slope, a variable of %BETWEEN%.")
        if name in self.model.factors and level not in self.model.factors[name]:
            raise statement.error(
                f"{name} is measured on the other level: write {name} BY ... here, or use another factor."
            )
