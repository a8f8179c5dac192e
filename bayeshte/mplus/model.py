"""MODEL: its statements, one kind after the other, and what each says of which parameters."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bayeshte.model_text import Row
from bayeshte.mplus import thresholds
from bayeshte.mplus.lists import Lists, names_of, not_understood
from bayeshte.mplus.mention import KEYWORD, Item, Mention, Model
from bayeshte.mplus.record import Record
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Source, Statement

#: keyword: operator; the left side of BY and ON is lhs
OPERATORS = {"BY": "=~", "ON": "~", "WITH": "~~", "PON": "~", "PWITH": "~~"}
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
    reader.model_members()
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
        names = names_of(left, [], statement)
        keyword = KEYWORD.search(right)
        if keyword is None:
            for name in names:
                model.factors.setdefault(name, set()).add(level)
        elif keyword[1].upper() == "ON":
            model.slopes += [name for name in names if name not in model.slopes]
    elif (keyword := KEYWORD.search(text)) and keyword[1].upper() == "BY":
        for name in names_of(text[: keyword.start()], [], statement):
            model.factors.setdefault(name, set()).add(level)


def _is_interaction(statement: Statement) -> bool:
    keyword = KEYWORD.search(statement.text.partition("|")[2])
    return keyword is not None and keyword[1].upper() == "XWITH"


class _Reader:
    """Reads statements into a `Model`."""

    def __init__(self, model: Model, settings: Settings):
        self.model, self.settings = model, settings
        self.lists, self.record = Lists(model, settings), Record(model, settings)

    def read(self, level: str, statement: Statement) -> None:
        text = statement.text
        if "|" in text:
            self._bar(level, statement)
        elif text.startswith("["):
            self._means(level, statement)
        elif keyword := KEYWORD.search(text):
            self._relation(level, statement, keyword)
        else:
            for group in self.lists.groups(text, statement):
                rows = [(Row(level, item.name, "~~", item.name), item) for item in group.items]
                self.record.add(rows, group, statement)

    def _bar(self, level: str, statement: Statement) -> None:
        """``s | y ON x``, ``fx | f XWITH x``, or growth factors, ``i s | y1@0 y2@1``."""
        left, right = statement.text.split("|", 1)
        names = names_of(left, [], statement)
        keyword = KEYWORD.search(right)
        if "|" in right:
            raise not_understood("|", statement)
        if keyword is None:
            self._growth(level, names, right, statement)
            return
        sides = [self.lists.plain(side, statement) for side in (right[: keyword.start()], right[keyword.end() :])]
        if keyword[1].upper() == "XWITH":
            if [len(names), *map(len, sides)] != [1, 1, 1]:
                raise statement.error("an interaction has one name and two factors: fx | f XWITH x.")
            if nested := [side[0] for side in sides if side[0] in self.model.products]:
                raise statement.error(
                    f"{nested[0]} is a product itself: products of three are supported for observed variables only, which DEFINE "
                    "multiplies, x123 = x1*x2*x3."
                )
            self._product(level, names[0], sides[0][0], sides[1][0], statement)
            return
        if keyword[1].upper() != "ON":
            raise statement.error(f"a random slope is a path, s | y ON x; {keyword[1].upper()} has none.")
        self._slopes(level, names, sides, statement)

    def _product(self, level: str, name: str, first: str, second: str, statement: Statement) -> None:
        """``fx | f XWITH x`` on a level."""
        factors = self.model.factors
        above = (
            {*self.settings.between, *(v for v in factors if factors[v] == {"between"})} if level == "within" else set()
        )
        if across := [v for v in (first, second) if v in above]:
            other = second if first == across[0] else first
            raise statement.error(
                f"{across[0]} is a variable of %BETWEEN%: that it changes the effect of {other} within clusters says a random "
                f"slope, s | y ON {other}; under %WITHIN%, s ON {across[0]}; under %BETWEEN%."
            )
        if name in self.model.products and self.model.products[name][0] != level:
            raise statement.error(f"{name} is a product of the other level already: give each a name of its own.")
        self.model.products[name] = (level, first, second)

    def model_members(self) -> None:
        """Give variables WITHIN that products multiply with latent ones a variance: given them the rest is the same."""
        there = [m.row for m in self.model.mentions.values() if m.row.level == "within"]
        modelled = {r.rhs if r.op == "=~" else r.lhs for r in there} | {r.rhs for r in there if r.op == "~~"}
        plain = {*self.settings.within} - modelled
        for mention in [m for m in self.model.mentions.values() if m.row.level == "within" and ":" in m.row.rhs]:
            members = [v for v in mention.row.parts if v in plain]
            if len(members) == 1:
                x = members[0]
                plain.remove(x)
                self.record.keep(Mention(Row("within", x, "~~", x), False, mention.statement))
                self.model.notes.append(
                    f"line {mention.statement.line}: {mention.statement.shown}: {x} is modelled, with a mean and a variance, as "
                    "both members of a product of latent variables are. Where it has all its values the other estimates are the "
                    "same as given these; rows without one stay."
                )

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
            self.record.check_level(y, level, statement)
            self.record.check_level(x, level, statement)
            row = Row(level, y, "~", x, slope=name)
            if (old := self.model.mentions.get(row.key)) and old.row.slope not in ("", name):
                raise statement.error(
                    f"{y} ON {x} is the random slope {old.row.slope} already (line {old.statement.line})."
                )
            self.record.keep(Mention(row, False, statement))

    def _growth(self, level: str, names: list[str], right: str, statement: Statement) -> None:
        """Intercept, slope, square ... of a growth curve; loadings are powers of the times."""
        if "AT" in right.upper().split():
            raise statement.error(
                "individually varying times (AT) are not supported: use a random slope on a time variable."
            )
        groups = self.lists.groups(right, statement)
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
                self.record.keep(Mention(row, fixed is None, statement))
            if level != "within":  # of factors and categories the first mean is zero (User's Guide, examples 6.14, 6.4)
                mean = 0.0 if power == 0 and any(v.name in (*self.model.factors, *binary) for v in items) else None
                self.record.keep(Mention(Row(level, name, "~1", "", fixed=mean), False, statement))
        if level != "within":
            for item in items:
                if item.name not in binary:
                    self.record.keep(Mention(Row(level, item.name, "~1", "", fixed=0.0), False, statement))
            if binary:
                self._equal(level, names[0], binary, statement)

    def _equal(self, level: str, factor: str, binary: list[str], statement: Statement) -> None:
        """The thresholds of binary outcomes of a growth curve are one."""
        label = self.lists.label(f"${factor}", f"threshold_{factor}")
        for name in binary:
            self.record.keep(Mention(Row(level, name, "|", "t1", label=label), False, statement))
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
            for group in self.lists.groups(piece[1] + (piece[2] or ""), statement, means=True):
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
                self.record.add(rows, group, statement)

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
        left = self.lists.plain(text[: keyword.start()], statement, names_needed=word)
        groups = self.lists.groups(text[keyword.end() :], statement)
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
                rows.append((self._row(level, lhs, OPERATORS[word], item.name, statement), item))
            seen: dict[tuple, tuple[Row, Item]] = {}
            for row, item in rows:  # a list WITH itself has every pair twice
                seen.setdefault(row.key, (row, item))
            self.record.add(list(seen.values()), group, statement)

    def _row(self, level: str, lhs: str, operator: str, rhs: str, statement: Statement) -> Row:
        """A path from an XWITH variable is one from a product."""
        if operator == "~" and rhs in self.model.products:
            own, *parts = self.model.products[rhs]
            if own != level:
                raise statement.error(
                    f"{rhs} is a product under %{own.upper()}%: define one with another name for this level."
                )
            return Row(level, lhs, operator, ":".join(parts))
        return Row(level, lhs, operator, rhs)
