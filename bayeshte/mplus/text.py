"""From what MODEL says to model text in lavaan's operators, with every default that the text's own rules do not share.

Shared are: residual variances, intercepts, covariances of exogenous factors and of mentioned predictors, residual covariances
of last outcomes. Written are: the first loading, fixed at 1 unless ``*`` frees it, label or not; variables that are in the
analysis but in no statement of a level, which have a variance there and covary with nothing; variables that neither predict nor
are predicted, which covary as WITH says; variables whose variance is fixed at 0, likewise; random intercepts that nothing
explains between clusters, likewise, and with TYPE = RANDOM all random intercepts (User's Guide, example 9.5; without RANDOM
their residuals covary, example 9.3); with MODEL = NOCOVARIANCES all variables.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bayeshte.errors import SpecError
from bayeshte.model_text import parameter_table
from bayeshte.mplus.mention import Mention, Model
from bayeshte.mplus.settings import Settings

#: argument of bh.SEM by level
ARGUMENTS = {"": "model", "within": "within", "between": "between"}


def texts(model: Model, settings: Settings, notes: list[str]) -> tuple[dict[str, str], frozenset[tuple]]:
    """The arguments ``model``, or ``within`` and ``between``, of `bayeshte.SEM`; keys of covariances that are zero unsaid.

    Raises
    ------
    SpecError
        A level without parameters; what the model text refuses.
    """
    levels = ("within", "between") if settings.two_level else ("",)
    mentions = _markers(model.mentions.values(), notes)
    lines = {level: [*_lines([m for m in mentions if m.row.level == level])] for level in levels}
    alone = {level: _unmentioned(level, mentions, settings) for level in levels}
    for level, names in alone.items():
        responses = settings.responses(level)
        lines[level] += [f"{v} ~~ {'1*' if v in responses else ''}{v}" for v in names]
        notes += [_note(v, level, settings) for v in names]
    for level in levels:
        if not lines[level]:
            where = f"%{level.upper()}% says" if level else "MODEL is missing or says"
            raise SpecError(f"{where} nothing: write a statement such as 'y ON x;'.")
    for level in levels:
        _check_predictors([m for m in mentions if m.row.level == level], settings.responses(level))
    categorical = dict.fromkeys(settings.categorical, 1.0)
    table = parameter_table(**{ARGUMENTS[level]: "\n".join(lines[level]) for level in levels}, categorical=categorical)
    if settings.two_level:
        alone["between"] += [v for v in table.exogenous("between") if v in table.endogenous("within")]
    for level in levels:
        predictors = {v for row in table.at(level) if row.op == "~" for v in row.parts}
        alone[level] += [v for v in table.exogenous(level) if v in table.observed(level) and v not in predictors]
    for row in table.rows:
        if row.kind == "variance" and row.fixed == 0:
            alone[row.level].append(row.lhs)
    apart = (
        {*table.endogenous("within")} & {*settings.use} if "RANDOM" in settings.types and settings.two_level else set()
    )
    unsaid = set()
    for row in table.rows:
        pair = {row.lhs, row.rhs}
        zero = not settings.covary or pair & {*alone[row.level]} or (row.level == "between" and pair <= apart)
        if row.op == "~~" and len(pair) == 2 and not row.given and zero:
            lines[row.level].append(f"{row.lhs} ~~ 0*{row.rhs}")
            unsaid.add(row.key)
    return {ARGUMENTS[level]: "\n".join(lines[level]) for level in levels}, frozenset(unsaid)


def _markers(mentions: Iterable[Mention], notes: list[str]) -> list[Mention]:
    """Mentions with the first loading of every factor fixed at 1, unless ``*`` or ``@`` says otherwise."""
    out, seen = [], set()
    for m in mentions:
        first = m.row.op == "=~" and (m.row.level, m.row.lhs) not in seen
        if m.row.op == "=~":
            seen.add((m.row.level, m.row.lhs))
        if first and m.row.fixed is None and not m.freed:
            if m.row.label:
                notes.append(
                    f"line {m.statement.line}: {m.row.name} is the first loading and fixed at 1, label or not; '*' frees it."
                )
            m = replace(m, row=replace(m.row, fixed=1.0, label=""))
        out.append(m)
    return out


def _lines(mentions: list[Mention]) -> Iterator[str]:
    """Statements of a level: rows with the same left side and operator together."""
    together: dict[tuple[str, str], list[Mention]] = {}
    for m in mentions:
        kind = (m.row.lhs, "|" + m.row.slope if m.row.slope else m.row.op)
        together.setdefault(kind, []).append(m)
    firsts = set()
    for (lhs, op), rows in together.items():
        if op == "|":
            yield f"{lhs} | {' + '.join(t for m in rows for t in _terms(m, m.row.rhs))}"
        elif op.startswith("|"):
            yield f"{op[1:]} | {lhs} ~ {rows[0].row.rhs}"
        elif op == "~1":
            yield f"{lhs} ~ {' + '.join(_terms(rows[0], '1'))}"
        elif op == "=~":
            terms = [t for m in rows for t in _terms(m, m.row.rhs, first=lhs not in firsts and m is rows[0])]
            firsts.add(lhs)
            yield f"{lhs} =~ {' + '.join(terms)}"
        else:
            yield f"{lhs} {op} {' + '.join(t for m in rows for t in _terms(m, m.row.rhs))}"


def _check_predictors(mentions: list[Mention], responses: list[str]) -> None:
    """Refuse categorical variables that only predict on the level of their responses: the model takes those as they are."""
    explained = {m.row.rhs if m.row.op == "=~" else m.row.lhs for m in mentions if m.row.op != "~~"}
    explained |= {v for m in mentions if m.row.op == "~~" for v in (m.row.lhs, m.row.rhs)}
    for m in mentions:
        for v in m.row.parts if m.row.op == "~" else ():
            if v in responses and v not in explained:
                raise m.statement.error(
                    f"{v} is categorical and only predicts: take it out of CATEGORICAL, and make 0/1 variables of more than two "
                    "categories with DEFINE."
                )


def _terms(m: Mention, rhs: str, first: bool = False) -> list[str]:
    """A row as terms of a formula: fixed, or with label and start."""
    if m.row.fixed is not None:
        return [f"{m.row.fixed:.12g}*{rhs}"]
    out = [f"{m.row.label}*{rhs}"] if m.row.label else []
    if m.row.start is not None and (m.row.kind != "variance" or m.row.start > 0):
        out.append(f"start({m.row.start:.12g})*{rhs}")
    return out or [f"NA*{rhs}" if first else rhs]


def _unmentioned(level: str, mentions: list[Mention], settings: Settings) -> list[str]:
    """Variables of the analysis that a level has and that none of its statements names."""
    named = {name for m in mentions if m.row.level == level for name in (m.row.lhs, *m.row.parts)}
    other = {"within": settings.between, "between": settings.within}.get(level, [])
    return [v for v in settings.use if v not in (*named, *other, settings.cluster, *settings.keep)]


def _note(name: str, level: str, settings: Settings) -> str:
    if not level or name in (*settings.within, *settings.between):
        return f"{name} is among USEVARIABLES but in no statement of MODEL: it is modelled, and covaries with nothing."
    declare = "WITHIN" if level == "between" else "BETWEEN"
    if level == "within" and name in settings.categorical:
        return f"{name} is in no statement of %WITHIN%: its latent response varies there, and covaries with nothing."
    return (
        f"{name} has a part on the level %{level.upper()}%, where no statement names it: it has a variance there and covaries "
        f"with nothing. If it has no such part, declare it: {declare} = {name}."
    )
