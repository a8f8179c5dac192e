"""MODEL CONSTRAINT and MODEL INDIRECT: new parameters as functions of labels, equalities, indirect effects."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter

from bayeshte.errors import near
from bayeshte.model_text import Row
from bayeshte.mplus.loops import written_out
from bayeshte.mplus.mention import Mention, Model
from bayeshte.mplus.names import found, known, new_list
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Source, Statement

TOKEN = re.compile(
    r"\s+|(?P<name>[A-Za-z_][\w.]*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<mark>\*\*|[-+*/^()])|(?P<odd>.)"
)
#: function of Mplus: how the model text writes it
FUNCTIONS = {"EXP": "exp", "LN": "log", "LOG": "log", "SQRT": "sqrt", "ABS": "abs", "PHI": "pnorm"}
LN10 = 2.302585092994046
BOUNDS = (
    "BAYES has no bounds: variances are positive in any case; give another parameter a prior within its bounds, MODEL PRIORS: "
    "a ~ U(0, 1)."
)
REFUSED = {
    "<": BOUNDS,
    ">": BOUNDS,
    "=": "one '=' a statement.",
    "#": "it stands for the number of a loop, DO (1, 3) d# = a# - b#.",
    "$": "it stands for the number of a loop, DO ($, 1, 3) d$ = a$ - b$.",
}


@dataclass
class Derived:
    """New parameters in an order in which each uses those before it.

    `texts` has the expression by name; `effects` says of each parameter of MODEL INDIRECT what it is: heading and row.
    """

    texts: dict[str, str] = field(default_factory=dict)
    effects: dict[str, tuple[str, str]] = field(default_factory=dict)


def read(source: Source, model: Model, settings: Settings) -> Derived:
    """New parameters; equalities and fixed values go into the mentions of `model`."""
    new, equations = [], []
    for statement in written_out(source.of("MODEL CONSTRAINT")):
        if match := re.fullmatch(r"NEW\s*\((.*)\)", statement.text, re.S | re.I):
            names = re.sub(r"\*\s*-?[\d.]+", " ", match[1])
            new += [(name, statement) for name in new_list(names, statement)]
        elif re.match(r"NEW\b", statement.text, re.I):
            raise statement.error("new parameters stand in parentheses, NEW(ind); is a ';' missing behind them?")
        elif re.match(r"(PLOT|LOOP)\b", statement.text, re.I):
            model.notes.append(
                f"line {statement.line}: {statement.shown}: not plotted; bh.conditional_effects(fit, ...) has the numbers."
            )
        else:
            equations.append(statement)
    plotted = _plotted(source)
    written: dict[str, str] = {}
    out = Derived()
    used: dict[str, set[str]] = {}
    for name, statement in new:
        if name in model.labels:
            raise statement.error(f"{name} is a label in MODEL already: NEW needs another name.")
    names = {name: _free(name, model) for name, _ in new}
    definitions = []
    for statement in equations:
        left, equal, right = statement.text.partition("=")
        if not equal:
            raise _odd(statement)
        target = left.strip().lower()
        if (name := found(target, names)) is not None:
            definitions.append((name, right, statement))
        elif {w.lower() for w in re.findall(r"[A-Za-z_][\w.]*", statement.text)} & plotted:
            model.notes.append(f"line {statement.line}: {statement.shown}: it is there for a plot, which is not drawn.")
        else:
            _constrain(target, right, statement, model, names)
    for name, right, statement in definitions:  # after the equalities, which change labels
        if names[name] in written:
            raise statement.error(f"{name} is defined twice.")
        written[names[name]], used[names[name]] = _expression(right, statement, model, names)
    for name, statement in new:
        if names[name] not in written:
            raise statement.error(f"NEW({name}) has no equation: write {name} = ...;")
    _order(out, written, used, equations)
    _indirect(source, model, settings, out)
    return out


def _plotted(source: Source) -> set[str]:
    """Names in PLOT(...) and LOOP(...): functions of a loop variable are for plots only."""
    out = set()
    for statement in source.of("MODEL CONSTRAINT"):
        if match := re.match(r"(?:PLOT|LOOP)\s*\(([^)]*)\)", statement.text, re.S | re.I):
            out |= {w.lower() for w in re.findall(r"[A-Za-z_][\w.]*", match[1])}
    return out


def _free(name: str, model: Model) -> str:
    """A name that no variable and no label of the model text has."""
    taken = {v for m in model.mentions.values() for v in (m.row.lhs, *m.row.parts, m.row.slope)} | {
        *model.labels.values()
    }
    while name in taken:
        name += "_"
    return name


def _odd(statement: Statement):
    for mark in ("<", ">"):
        if mark in statement.text:
            return statement.error(REFUSED[mark])
    return statement.error("expected an equation, as in ind = a*b.")


def _expression(text: str, statement: Statement, model: Model, new: dict[str, str]) -> tuple[str, set[str]]:
    """An expression of the model text, and the new parameters in it."""
    words, parts, previous = [], set(), ""
    for match in TOKEN.finditer(text):
        word = match[0].strip()
        if not word:
            continue
        if match["odd"]:
            raise statement.error(f"{word!r} is not understood here: {REFUSED.get(word, 'leave it out.')}")
        if match["name"]:
            word, name = _word(word, text[match.end() :], statement, model, new)
            parts |= {name} if name else set()
        elif match["number"]:
            word = word.lower()
        elif word == "^":
            word = "**"
        binary = word in ("+", "-") and previous not in ("", "(", "+", "-", "*", "/", "**")
        words.append(f" {word} " if binary else word)
        previous = word
    if not words:
        raise statement.error("expected an expression after '='.")
    return "".join(words).strip(), parts


def _word(word: str, rest: str, statement: Statement, model: Model, new: dict[str, str]) -> tuple[str, str]:
    """A function, a label or a new parameter in the model text, and the name if it is a new parameter."""
    if rest.lstrip().startswith("("):
        if word.upper() == "LOG10":
            return f"{1 / LN10:.17g}*log", ""
        if word.upper() not in FUNCTIONS:
            raise statement.error(f"the function {word} is not supported.{near(word.upper(), [*FUNCTIONS, 'LOG10'])}")
        return FUNCTIONS[word.upper()], ""
    if (name := found(word, new)) is not None:
        return new[name], new[name]
    label = model.labels.get(found(word, model.labels) or "")
    if label is None:
        raise statement.error(
            f"{word} is neither a label in MODEL nor a name in NEW.{near(word.lower(), [*model.labels, *new])}"
        )
    row = next((m.row for m in model.mentions.values() if m.row.label == label), None)
    if row is None:
        raise statement.error(
            f"{word}: the parameter with this label is mentioned again later without it; the last mention counts."
        )
    if row.fixed is not None:
        return f"({row.fixed:.12g})", ""
    return label, ""


def _constrain(target: str, right: str, statement: Statement, model: Model, new: dict[str, str]) -> None:
    """``a = b`` makes two labels one, ``a = 0`` fixes, ``0 = a - b`` is ``a = b``; other constraints are refused."""
    value = right.strip().lower()
    if re.fullmatch(r"-?[\d.]+", target):
        target, value = value, target
    if re.fullmatch(r"0(\.0*)?", value) and (match := re.fullmatch(r"([a-z_][\w.]*)\s*-\s*([a-z_][\w.]*)", target)):
        target, value = match[1], match[2]
    label = model.labels.get(found(target, model.labels) or "")
    if label is None and found(target, new):
        raise statement.error(
            f"{target} is a new parameter, which is computed in every draw: BAYES cannot hold it to a value. Look at the "
            "interval of the difference."
        )
    if label is None:
        raise statement.error(f"{target} is neither a label in MODEL nor a name in NEW.{near(target, model.labels)}")
    other = model.labels.get(found(value, model.labels) or "")
    number = re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", value)
    if other is None and not number:
        raise statement.error(
            "BAYES holds labels equal, a = b, or fixes them, a = 0.5; no other constraint holds parameters together. If the left "
            "side is a new parameter, name it in NEW."
        )
    for key, m in model.mentions.items():
        if m.row.label == label:
            row = replace(m.row, label=other) if other else replace(m.row, label="", start=None, fixed=float(value))
            model.mentions[key] = replace(m, row=row)
    if other:
        model.labels = {k: other if v == label else v for k, v in model.labels.items()}


def _order(out: Derived, written: dict[str, str], used: dict[str, set[str]], equations: Sequence[Statement]) -> None:
    """Definitions before use."""
    try:
        order = [*TopologicalSorter({name: sorted(used[name]) for name in written}).static_order()]
    except CycleError as error:
        raise equations[0].error(
            f"the new parameters {' and '.join(error.args[1][:2])} are defined by each other."
        ) from None
    place = {name: k for k, name in enumerate(written)}
    done: list[str] = []
    todo = sorted(order, key=place.get)
    while todo:  # as written, as far as each has what it uses
        name = next(n for n in todo if used[n] <= {*done})
        todo.remove(name)
        done.append(name)
    out.texts |= {name: written[name] for name in done}


# ---------------------------------------------------------------------------------------------------- MODEL INDIRECT


def _indirect(source: Source, model: Model, settings: Settings, out: Derived) -> None:
    """``y IND m x``: by those mediators; ``y IND x``: by every way; ``y VIA m x``: by every way through m."""
    for statement in source.of("MODEL INDIRECT"):
        if "RANDOM" in settings.types:
            raise statement.error(
                "MODEL INDIRECT needs paths that do not vary: write the effect into MODEL CONSTRAINT."
            )
        match = re.fullmatch(r"([\w.]+)\s+(IND|VIA|MOD)\s+(.*)", statement.text, re.S | re.I)
        if not match or match[2].upper() == "MOD" or "(" in match[3]:
            raise statement.error(
                "write y IND m x, y IND x or y VIA m x; other forms (MOD, values in parentheses) are not supported."
            )
        names = list(dict.fromkeys(v for m in model.mentions.values() for v in (m.row.lhs, *m.row.parts)))
        y, *middle, x = (known(v, names, statement) for v in (match[1], *match[3].split()))
        if match[2].upper() == "VIA" and not middle:
            raise statement.error("VIA needs what the effect goes through: y VIA m x.")
        levels = dict.fromkeys(m.row.level for m in model.mentions.values())
        ways = {level: _ways(model, level, x, y) for level in levels}
        if not any(ways.values()):
            raise statement.error(f"MODEL has no way along paths from {x} to {y}.")
        for level, found_ways in ways.items():
            _effects(model, out, level, found_ways, (y, middle, x), match[2].upper(), statement)


def _ways(model: Model, level: str, x: str, y: str, passed: tuple[str, ...] = ()) -> list[list[Row]]:
    """Every way from x to y along paths of a level, in the order of the statements, that meets no variable twice."""
    out, passed = [], (*passed, x)
    for row in [m.row for m in model.mentions.values()]:
        if row.op == "~" and row.level == level and row.rhs == x and row.fixed != 0 and row.lhs not in passed:
            out += [[row]] if row.lhs == y else [[row, *rest] for rest in _ways(model, level, row.lhs, y, passed)]
    return out


def _effects(
    model: Model, out: Derived, level: str, ways: list[list[Row]], ends: tuple, word: str, statement: Statement
) -> None:
    y, middle, x = ends
    through = [[r.lhs for r in way[:-1]] for way in ways]
    if word == "VIA":
        chosen = [w for w, names in zip(ways, through, strict=True) if {*middle} <= {*names}]
    elif middle:
        chosen = [w for w, names in zip(ways, through, strict=True) if names == middle[::-1]]
    else:
        chosen = ways
    if not chosen and ways:
        raise statement.error(f"MODEL has no way from {x} to {y} through {' '.join(middle)}.")
    heading = (
        f"Effects from {x.upper()} to {y.upper()}"
        + (f" via {' '.join(middle).upper()}" if word == "VIA" else "")
        + (f", {level}" if level else "")
    )
    known_already, specific = {*out.texts}, {}
    for way in chosen:
        name = _free("_".join(["effect", x, *(r.lhs for r in way)]) + (f"_{level}" if level else ""), model)
        specific[name] = "*".join(_label(model, row) for row in way)
        row = (
            "Direct"
            if len(way) == 1
            else "Specific indirect: " + " ".join([y, *(r.lhs for r in way[-2::-1]), x]).upper()
        )
        _put(out, name, specific[name], heading, row)
    indirect = [k for k, way in zip(specific, chosen, strict=True) if len(way) > 1]
    sums = (
        {"Total indirect": indirect, "Total": [*specific]}
        if word == "IND" and not middle
        else {"Sum of indirect": indirect}
    )
    for row, parts in sums.items():
        if len(parts) > (row == "Sum of indirect"):
            via = "_via_" + "_".join(middle) if word == "VIA" else ""
            name = _free(
                "_".join([row.split()[0].lower(), *row.split()[1:], x, y]).lower()
                + via
                + (f"_{level}" if level else ""),
                model,
            )
            _put(out, name, " + ".join(parts), heading, row)
    if again := known_already & {*specific}:
        model.notes.append(f"line {statement.line}: {statement.shown}: {len(again)} of its effects are there already.")


def _put(out: Derived, name: str, text: str, heading: str, row: str) -> None:
    if name not in out.texts:
        out.texts[name] = text
        out.effects[name] = (heading, row)


def _label(model: Model, row: Row) -> str:
    """The label of a path; one is made if it has none."""
    mention: Mention = model.mentions[row.key]
    if mention.row.fixed is not None:
        return f"({mention.row.fixed:.12g})"
    if not mention.row.label:
        label = _free(
            "_".join(["path", row.rhs.replace(":", "_x_"), row.lhs]) + (f"_{row.level}" if row.level else ""), model
        )
        model.mentions[row.key] = replace(mention, row=replace(mention.row, label=label))
        model.labels[label] = label
        return label
    return mention.row.label
