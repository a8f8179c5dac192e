"""The matrices of a structural equation model: which number or parameter stands in which of their cells."""

import numpy as np

from bayeshte.errors import SpecError
from bayeshte.families.sem_interactions import members
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Entry, Matrices, Product, Slope
from bayeshte.model_text import Row


def matrices(s: Structure, slots: np.ndarray) -> Matrices:
    """How the matrices are made; `slots` holds the moderators' values by context, (context, moderator)."""
    sizes = [len(s.variables(level)) for level in s.levels]
    entries = [e for level in s.levels for row in s.table.at(level) if not row.slope for e in _entries(s, row)]
    return Matrices(
        levels=len(s.levels),
        observed=len(s.observed),
        within=len(s.within),
        size=max(sizes),
        regressors=len(s.regressors),
        order=tuple(_order(s, level, max(sizes)) for level in s.levels),
        scalars=len(s.parameters),
        blocks=tuple(len(b.variables) for b in s.blocks),
        entries=tuple(entries),
        checks=s.checks(),
        members=tuple((s.levels.index(b.level), *map(s.variables(b.level).index, b.variables)) for b in s.blocks),
        covariances=tuple(place for _, place in s.covariances_in_blocks),
        slots=slots,
        regressors_within=1 + len(s.covariates(s.levels[0])),
        active=len(_active(s, s.levels[0])),
        slopes=tuple(_slope(s, name) for name in s.table.slopes),
        products=tuple(_product(s, row) for level in s.levels for row in s.interactions(level)),
    )


def _product(s: Structure, row: Row) -> Product:
    """The path of an interaction."""
    known, other = members(row, s.known(row.level))
    at, free = s.variables(row.level).index, () if row.fixed is not None else (s.place(row),)
    value = 1.0 if row.fixed is None else row.fixed
    return Product(s.levels.index(row.level), at(row.lhs), at(known), at(other), value, free)


def _entries(s: Structure, row: Row) -> list[Entry]:
    """The cells that a row of the table fills."""
    level, names = s.levels.index(row.level), s.variables(row.level)
    value = 1.0 if row.fixed is None else row.fixed
    free = () if row.fixed is not None else (s.place(row),)
    if row.op == "=~":
        return [Entry("beta", level, names.index(row.rhs), names.index(row.lhs), value, free)]
    if row.op == "~1":
        return [Entry("c", level, names.index(row.lhs), s.regressors.index((row.level, "")), value, free)]
    if row.op == "|":  # the first one moves the latent response; the others are counted from there
        constant = s.regressors.index((row.level, ""))
        return [Entry("c", level, names.index(row.lhs), constant, -value, free)] if row.rhs == "t1" else []
    if row.op == "~":
        i = names.index(row.lhs)
        if (row.level, row.rhs) in s.regressors:
            return [Entry("c", level, i, s.regressors.index((row.level, row.rhs)), value, free)]
        if row in s.products(row.level):
            (moderator,) = [v for v in row.rhs.split(":") if v in s.moderators]
            (other,) = [v for v in row.rhs.split(":") if v != moderator]
            slot = 1 + len(s.position) + s.moderators.index(moderator)
            return [Entry("beta", level, i, names.index(other), value, (*free, slot))]
        if ":" in row.rhs:
            return []
        return [Entry("beta", level, i, names.index(row.rhs), value, free)]
    i, j = names.index(row.lhs), names.index(row.rhs)
    if i == j:
        return [Entry("psi", level, i, i, value, free * 2)]
    if row.fixed is None and s.variable(row) == "corr":
        for name in (row.lhs, row.rhs):
            own = s.sd(row.level, name)
            if own.fixed is None:
                free = (*free, s.place(own))
            elif own.fixed > 0:
                value *= float(np.sqrt(own.fixed))
            else:
                raise SpecError(f"{row.name}: the variance of {name} is fixed at 0, so it covaries with nothing.")
    return [Entry("psi", level, i, j, value, free), Entry("psi", level, j, i, value, free)]


def _slope(s: Structure, name: str) -> Slope:
    """Where the values of a random slope stand."""
    (row,) = [r for r in s.table.at("within") if r.slope == name]
    if s.sd("between", name).fixed == 0:
        raise SpecError(
            f"{name} ~~ 0*{name}: a random slope has a variance. For one that does not vary write the path itself, "
            f"{row.lhs} ~ {row.rhs or 1}."
        )
    names = s.variables("within")
    variable, effect = s.variables("between").index(name), names.index(row.lhs)
    if ("within", row.rhs) in s.regressors:
        return Slope(variable, "c", effect, s.regressors.index(("within", row.rhs)))
    return Slope(variable, "beta", effect, names.index(row.rhs))


def _active(s: Structure, level: str) -> list[str]:
    """Variables that a level has."""
    there = {*s.modelled(level), *s.table.factors(level)}
    there |= {*s.table.slopes} if s.two_level and level == s.levels[1] else set()
    return [v for v in s.variables(level) if v in there]


def _order(s: Structure, level: str, size: int) -> tuple[int, ...]:
    """Variables of a level, causes before effects, those it has before those it has not."""
    names = _active(s, level)
    causes = {v: set() for v in names}
    for r in s.table.at(level):
        if r.op == "=~":
            causes[r.rhs].add(r.lhs)
        elif r.op == "~":
            causes[r.lhs] |= {v for v in r.rhs.split(":") if v in causes}
    out: list[str] = []
    while len(out) < len(names):
        out += [v for v in names if v not in out and causes[v] <= {*out}]
    places = [s.variables(level).index(v) for v in out]
    return (*places, *(i for i in range(size) if i not in places))
