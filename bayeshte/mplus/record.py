"""Writing down what MODEL says of parameters: labels are given out, levels checked, and the last mention counts.

A statement names parameters in groups: what stands before a parenthesis with labels is a group. As many labels as parameters, or
as free parameters, are given out in their order (left side by left side), wherever lines end; else they belong to the parameters
of their own line, and one label makes the free ones equal: this is the one place where Mplus looks at ends of lines.
"""

from dataclasses import replace

from bayeshte.model_text import Row
from bayeshte.mplus.mention import KEYWORD, Group, Item, Mention, Model
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Statement


class Record:
    """Writes mentions into `model`."""

    def __init__(self, model: Model, settings: Settings):
        self.model, self.settings = model, settings

    def add(self, rows: list[tuple[Row, Item]], group: Group, statement: Statement) -> None:
        """Rows of a group with modifiers and labels."""
        labels = self._given_out(rows, group, statement) if group.labels else {}
        for row, item in rows:
            for name in sorted({row.lhs, *row.parts}):
                if name in self.model.products:
                    raise statement.error(
                        f"{name} is a product: it stands on the right of ON only. Leave {name} out here."
                    )
                self.check_level(name, row.level, statement)
            of_response = row.kind == "variance" and row.lhs in self.settings.responses(row.level)
            if of_response and KEYWORD.search(statement.text):
                continue  # a list WITH itself
            if row.kind == "variance" and len(rows) > 1 and KEYWORD.search(statement.text) and row.key not in labels:
                # a list WITH itself: what stands behind it is about the pairs, their variances are as they are elsewhere
                if row.key not in self.model.mentions:
                    self.keep(Mention(row, False, statement))
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
            self.keep(Mention(row, item.freed, statement))

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

    def keep(self, mention: Mention) -> None:
        """A mention, in the place of one of the same parameter before."""
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

    def check_level(self, name: str, level: str, statement: Statement) -> None:
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
