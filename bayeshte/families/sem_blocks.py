"""What a structural equation model has of free numbers: scalars, and blocks of correlations."""

from dataclasses import dataclass

from bayeshte.model_text import Row


@dataclass(frozen=True)
class Parameter:
    """A free number: `variable` of `VARIABLES`, its label there, and the rows of the table that it stands in."""

    variable: str
    element: str
    rows: tuple[Row, ...]

    @property
    def key(self) -> str:
        """Its name in priors and tables: ``path[between: advant ~ treat]``."""
        return f"{self.variable}[{self.element}]"


@dataclass(frozen=True)
class Block:
    """Variables of a level whose residuals all covary freely; `whole`: the prior is that of their covariance matrix."""

    level: str
    variables: tuple[str, ...]
    whole: bool = False

    @property
    def pairs(self) -> list[tuple[str, frozenset[str]]]:
        """Level and pairs of its variables, rows of the lower triangle."""
        v = self.variables
        return [(self.level, frozenset((v[i], v[j]))) for i in range(1, len(v)) for j in range(i)]

    @property
    def key(self) -> str:
        """Of its prior: ``corr[between: a, b]``, or ``cov[between: a, b]`` of a whole covariance matrix."""
        prefix = f"{self.level}: " if self.level else ""
        return f"{'cov' if self.whole else 'corr'}[{prefix}{', '.join(self.variables)}]"


def element_of(row: Row) -> str:
    """Its label there: of an SD the variable, of the rest the row."""
    if row.op in ("~1", "~~") and row.rhs in ("", row.lhs):
        return f"{row.level}: {row.lhs}" if row.level else row.lhs
    return row.name
