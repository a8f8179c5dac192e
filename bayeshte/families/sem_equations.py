"""A structural equation model as LaTeX, level by level, with the user's column names.

Superscripts W and B mark what is on both levels. Free numbers carry their label, else a Greek letter with the names of their
row: alpha intercepts and means, beta paths, lambda loadings, psi (residual) variances and covariances.
"""

from itertools import batched, combinations

from bayeshte.families.sem_structure import Structure
from bayeshte.latex import text
from bayeshte.model_text import Row

#: operator: letter of its free numbers
LETTERS = {"=~": r"\lambda", "~": r"\beta", "~1": r"\alpha", "~~": r"\psi", "|": r"\tau"}


def equations(structure: Structure, cluster: str | None) -> list[str]:
    """The model in LaTeX: how variables split, the equations of each level, derived quantities."""
    lines = []
    if structure.both:
        first, *more = structure.both
        whole = [f"{text(v)}^*" if v in structure.links else text(v) for v in structure.both]
        like = rf"\quad {text('and likewise')}\ {r',\ '.join(whole[1:])}" if more else ""
        parts = " + ".join(symbol(structure, level, first) for level in structure.levels)
        lines.append(rf"{whole[0]}_{{ij}} &= {parts}{like}")
    lines += [_categories(structure, v) for v in structure.links]
    for level in structure.levels:
        if structure.two_level:
            lines.append(text(f"{level.capitalize()} {cluster}:"))
        lines += [
            _equation(structure, level, v) for v in structure.table.names(level) if _explained(structure, level, v)
        ]
        lines += _distributions(structure, level)
    return lines + [rf"{text(name)}\ &=\ {text(expression.text)}" for name, expression in structure.table.derived]


def _categories(structure: Structure, name: str) -> str:
    """``y = c where tau_c < y* < tau_c+1``: a response that is not seen has the equations, with residuals of one scale."""
    rows = structure.thresholds[name]
    tau = [rf"\tau_{{{text(name)}}}" if len(rows) == 1 else rf"\tau_{{{text(name)},c}}", rf"\tau_{{{text(name)},c+1}}"]
    index = {"": "i", "within": "ij", "between": "j"}[structure.table.response_level(name)]
    if len(rows) == 1:
        return rf"{text(name)}_{{{index}}} &= 1\ \text{{if}}\ {text(name)}^*_{{{index}}} > {tau[0]},\ \text{{else}}\ 0"
    return rf"{text(name)}_{{{index}}} &= c\ \text{{where}}\ {tau[0]} < {text(name)}^*_{{{index}}} < {tau[1]}"


def symbol(structure: Structure, level: str, name: str) -> str:
    """A variable of a level, or the product of two; of a categorical one the response behind it."""
    index = {"": "i", "within": "ij", "between": "j"}[level]
    parts = [rf"{text(v)}{_part(structure, level, v)}_{{{index}}}" for v in name.split(":")]
    return r"\,".join(parts)


def _part(structure: Structure, level: str, name: str) -> str:
    """Which latent part of a variable on both levels it is."""
    shared = structure.two_level and all(name in structure.table.names(k) for k in structure.levels)
    star, part = "*" * (name in structure.links), level[0].upper() if shared else ""
    return f"^{{{star}{part}}}" if star and part else f"^{star}{part}" if star or part else ""


def _rows(structure: Structure, level: str, name: str) -> list[Row]:
    """Rows with what stands on the right of a variable's equation, intercept first."""
    rows = structure.table.at(level)
    own = [r for r in rows if r.op == "~1" and r.lhs == name]
    own += [r for r in rows if r.op == "=~" and r.rhs == name]
    return [r for r in own + [r for r in rows if r.op == "~" and r.lhs == name] if r.fixed != 0]


def _explained(structure: Structure, level: str, name: str) -> bool:
    return bool(_rows(structure, level, name))


def _equation(structure: Structure, level: str, name: str) -> str:
    """``y = alpha + beta x + zeta``."""
    terms = []
    for row in _rows(structure, level, name):
        other = {"=~": row.lhs, "~": row.rhs, "~1": ""}[row.op]
        variable = symbol(structure, level, other) if other else ""
        factor = "" if row.fixed == 1 and variable else _value(structure, row)
        terms.append(r"\,".join(filter(None, (factor, variable))))
    residual = _residual(structure, level, name)
    right = " + ".join([*terms, *([residual] if residual else [])]).replace("+ -", "- ")
    return rf"{symbol(structure, level, name)} &= {right}"


def _value(structure: Structure, row: Row) -> str:
    """A number of the model: fixed, a label, the random slope, or its letter."""
    if row.slope:
        return symbol(structure, "between", row.slope)
    if row.fixed is not None:
        return f"{row.fixed:g}"
    if row.label:
        return text(row.label)
    names = {"=~": (row.rhs, row.lhs), "~1": (row.lhs,), "~~": dict.fromkeys((row.lhs, row.rhs))}
    return _letter(structure, row.level, row.op, names.get(row.op, (row.lhs, row.rhs)))


def _letter(structure: Structure, level: str, op: str, names) -> str:
    part = f"^{level[0].upper()}" if structure.two_level else ""
    return rf"{LETTERS[op]}{part}_{{{','.join(map(text, names))}}}"


def _residual(structure: Structure, level: str, name: str) -> str:
    """What is random in a variable: its residual, or the variable itself if it has no equation; nothing if it has no variance."""
    if structure.sd(level, name).fixed == 0:
        return ""
    if not _explained(structure, level, name):
        return symbol(structure, level, name)
    index = {"": "i", "within": "ij", "between": "j"}[level]
    part = f"^{level[0].upper()}" if structure.two_level else ""
    return rf"\zeta{part}_{{{text(name)},{index}}}"


def _distributions(structure: Structure, level: str) -> list[str]:
    """What is random, alone or with what it covaries with."""
    sets = [names for at, names, _ in structure.components if at == level]
    alone = [r.lhs for r in structure.table.at(level) if r.op == "~~" and r.lhs == r.rhs]
    alone = [v for v in alone if not any(v in names for names in sets)]
    out = []
    for name in alone:
        residual = _residual(structure, level, name)
        if residual:
            out.append(rf"{residual} &\sim N(0,\ {_value(structure, structure.sd(level, name))})")
    for k, names in enumerate(sets, start=1):
        part = f"^{level[0].upper()}" if structure.two_level else ""
        matrix = rf"\Psi{part}" + (f"_{k}" if len(sets) > 1 else "")
        vector = r",\ ".join(_residual(structure, level, v) for v in names)
        out.append(rf"({vector})^\top &\sim N(0,\ {matrix})")
        out += [r",\quad ".join(some) for some in batched(_constraints(structure, level, names), 4)]
    return out


def _constraints(structure: Structure, level: str, names: list[str]) -> list[str]:
    """Elements of a covariance matrix that are fixed, absent or labelled."""
    rows = {frozenset((r.lhs, r.rhs)): r for r in structure.table.at(level) if r.op == "~~"}
    out = []
    for pair in [*((v, v) for v in names), *combinations(names, 2)]:
        row = rows.get(frozenset(pair))
        if row is None or row.fixed is not None or row.label:
            value = "0" if row is None else _value(structure, row)
            out.append(rf"{_letter(structure, level, '~~', dict.fromkeys(pair))} = {value}")
    return out
