"""Products of two latent or modelled variables: which are refused, and which member of each the likelihood is given."""

from collections.abc import Collection, Sequence
from itertools import combinations

from bayeshte.errors import SpecError
from bayeshte.model_text import ParameterTable, Row


def check_interactions(table: ParameterTable, rows: Sequence[Row]) -> None:
    """Refuse products beside random slopes or categorical variables, and of variables that themselves depend on one."""
    for row in rows:
        if table.slopes:
            raise SpecError(
                f"{row.name}: a product of two latent or modelled variables is not supported beside random slopes "
                f"({', '.join(table.slopes)}): leave out one or the other."
            )
        if table.categorical:
            raise SpecError(
                f"{row.name}: a product of two latent or modelled variables is not supported beside categorical ones "
                f"({', '.join(table.categorical)})."
            )
        for part in row.parts:
            if before := [r.name for r in rows if table.leads(row.level, r.lhs, part)]:
                raise SpecError(
                    f"{row.name}: {part} itself depends on a product of latent or modelled variables, {before[0]}; products of "
                    "products are not supported."
                )


def fewest(rows: Sequence[Row], factors: Collection[str]) -> tuple[str, ...]:
    """A member of every product whose values the likelihood is given: as few as possible, observed ones rather than factors."""
    names = list(dict.fromkeys(v for r in rows for v in r.parts))
    sets = [some for k in range(len(names) + 1) for some in combinations(names, k)]
    enough = [some for some in sets if all({*some} & {*r.parts} for r in rows)]
    return min(enough, key=lambda some: (len({*factors} & {*some}), len(some)))


def members(row: Row, known: Collection[str]) -> tuple[str, str]:
    """The member of a product that is known, and the other one; of a square it is the same."""
    first = next(v for v in row.parts if v in known)
    return first, next((v for v in row.parts if v != first), first)
