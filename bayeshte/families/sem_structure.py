"""From the parameter table of a structural equation model to its variables and parameters, each with its place.

Observed variables are ordered: those that vary within clusters (on both levels, or within only), then those of clusters.
A variable is *modelled* if the table has variance rows for it, else the model conditions on it: it is a covariate.
Variances are sampled as SDs, covariances as correlations: in a block of variables that all covary freely as one correlation
matrix (LKJ), else one by one. A covariance that has a prior of its own is sampled as such; a block may have an inverse Wishart
prior of its whole covariance matrix, or priors of single covariances in it, which are densities of what its SDs and correlations
make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from bayeshte.errors import SpecError
from bayeshte.families.sem_blocks import Block, Parameter, element_of
from bayeshte.families.sem_interactions import check_interactions, fewest
from bayeshte.model_text import ParameterTable, Row

#: variable: what its elements are, in the order of tables
VARIABLES = {
    "loading": "loadings of factors",
    "path": "regression coefficients",
    "intercept": "intercepts and means",
    "threshold": "thresholds of categorical variables",
    "sd": "standard deviations of residuals, or of variables that nothing predicts",
    "corr": "correlations of residuals",
    "cov": "covariances of residuals that are held equal or have priors of their own",
}


@dataclass(frozen=True)
class Structure:
    """A parameter table with the place of every variable and parameter.

    Attributes
    ----------
    table : ParameterTable
    links : mapping
        Of the categorical variables.
    covariances : frozenset of str
        Keys of priors of covariances: ``cov[a ~~ b]`` of one, ``cov[a, b, c]`` of a block's covariance matrix.
    bounded : frozenset of str
        Those of them that have bounds; they are in no block.
    wishart : bool
        Whether every block has a prior of its covariance matrix, named or not.
    """

    table: ParameterTable
    links: Mapping[str, str] = field(default_factory=dict)
    covariances: frozenset[str] = frozenset()
    bounded: frozenset[str] = frozenset()
    wishart: bool = False

    @property
    def levels(self) -> tuple[str, ...]:
        return self.table.levels

    @property
    def two_level(self) -> bool:
        return len(self.levels) == 2

    def modelled(self, level: str) -> list[str]:
        """Observed variables of a level that have variances."""
        with_variance = {r.lhs for r in self.table.at(level) if r.op == "~~" and r.lhs == r.rhs}
        return [v for v in self.table.observed(level) if v in with_variance]

    @cached_property
    def within(self) -> list[str]:
        """Modelled variables that vary within clusters (all, with one level)."""
        return self.modelled(self.levels[0])

    @cached_property
    def both(self) -> list[str]:
        """Those of `within` that have a latent part between clusters as well."""
        return [v for v in self.within if v in self.modelled(self.levels[1])] if self.two_level else []

    @cached_property
    def own(self) -> list[str]:
        """Modelled variables of clusters."""
        return [v for v in self.modelled(self.levels[1]) if v not in self.within] if self.two_level else []

    @cached_property
    def observed(self) -> list[str]:
        return [*self.within, *self.own]

    def covariates(self, level: str) -> list[str]:
        """What a level conditions on: exogenous observed variables, and products of them."""
        rows = [r for r in self.table.at(level) if r.op == "~"]
        known = set(self.modelled(level)) | set(self.table.factors(level)) | set(self.table.slopes)
        return list(dict.fromkeys(r.rhs for r in rows if not {*r.rhs.split(":")} & known))

    def products(self, level: str) -> list[Row]:
        """Paths of a covariate times a latent or modelled variable."""
        rows = [r for r in self._products(level) if self._plain_covariates(level) & {*r.parts}]
        if rows and level == "within":
            x = next(v for v in rows[0].parts if v in self._plain_covariates(level))
            other = next(v for v in rows[0].parts if v != x)
            raise SpecError(
                f"{rows[0].name}: within clusters both members of a product are modelled: add {x} ~~ {x}; {x} ~ 1 within. If {x} "
                f"is one of clusters, let the slope of {other} vary: s | {rows[0].lhs} ~ {other} within; s ~ {x} between."
            )
        return rows

    def interactions(self, level: str) -> list[Row]:
        """Paths of the product of two latent or modelled variables."""
        rows = [r for r in self._products(level) if not self._plain_covariates(level) & {*r.parts}]
        check_interactions(self.table, rows)
        return rows

    def _products(self, level: str) -> list[Row]:
        """Paths of products that are no covariates."""
        known = set(self.modelled(level)) | set(self.table.factors(level)) | set(self.table.slopes)
        return [r for r in self.table.at(level) if r.op == "~" and ":" in r.rhs and {*r.parts} & known]

    def known(self, level: str) -> tuple[str, ...]:
        """Of every interaction a member whose values the likelihood is given: the fewest, observed ones rather than factors."""
        return fewest(self.interactions(level), {*self.table.factors(level)})

    @cached_property
    def moderators(self) -> list[str]:
        """Covariates that multiply a modelled variable: their values make the contexts."""
        found = []
        for r in self.products(self.levels[-1]):
            found += [v for v in r.rhs.split(":") if v in self._plain_covariates(self.levels[-1])]
        return list(dict.fromkeys(found))

    def _plain_covariates(self, level: str) -> set[str]:
        known = set(self.modelled(level)) | set(self.table.factors(level)) | set(self.table.slopes)
        return {v for v in self.table.observed(level) if v not in known}

    def variables(self, level: str) -> list[str]:
        """Variables of a level in the order of its matrices: observed ones, there or not, then factors, then random slopes."""
        slopes = self.table.slopes if self.two_level and level == self.levels[1] else ()
        return [*self.observed, *self.table.factors(level), *slopes]

    @cached_property
    def thresholds(self) -> dict[str, list[Row]]:
        """Thresholds of every categorical variable, from low to high."""
        found = {name: [r for r in self.table.rows if r.op == "|" and r.lhs == name] for name in self.table.categorical}
        for name, rows in found.items():
            rows.sort(key=lambda r: int(r.rhs[1:]))
            shared = [r for r in rows[1:] if r.label in self._shared]
            if shared:
                raise SpecError(
                    f"{shared[0].name}: only the first threshold of {name} can be held equal to another one."
                )
        return found

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Free scalars in the order of the tables; correlations that are in no block among them."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in self.table.rows:
            if row.fixed is not None or row.slope or row in self._blocked:
                continue
            key = (self.variable(row), self.label(row))
            found.setdefault(key, []).append(row)
        made = [Parameter(variable, element, tuple(rows)) for (variable, element), rows in found.items()]
        order = list(VARIABLES)
        return tuple(sorted(made, key=lambda p: order.index(p.variable)))

    @cached_property
    def _shared(self) -> set[str]:
        labels = [r.label for r in self.table.rows if r.label and r.fixed is None]
        return {v for v in labels if labels.count(v) > 1}

    @cached_property
    def components(self) -> list[tuple[str, list[str], list[Row]]]:
        """Sets of variables whose residuals covary, with the rows that say so."""
        out: list[tuple[str, list[str], list[Row]]] = []
        for level in self.levels:
            sets: list[tuple[list[str], list[Row]]] = []
            for r in self.table.at(level):
                if r.op != "~~" or r.lhs == r.rhs or r.fixed == 0:
                    continue
                touched = [s for s in sets if {r.lhs, r.rhs} & {*s[0]}]
                names = list(dict.fromkeys([*(v for s in touched for v in s[0]), r.lhs, r.rhs]))
                rows = [*(row for s in touched for row in s[1]), r]
                sets = [s for s in sets if s not in touched] + [(names, rows)]
            out += [(level, names, rows) for names, rows in sets]
        return out

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Sets of variables with all correlations free and their own."""
        out, named = [], {self.set_of(key) for key in self.covariances}
        for level, names, rows in self.components:
            q = len(names)
            if len(rows) == q * (q - 1) // 2 and not any(r.fixed is not None or self._is_apart(r) for r in rows):
                block = Block(level, tuple(v for v in self.variables(level) if v in names))
                own = all(
                    self.sd(level, v).fixed is None and self.sd(level, v).label not in self._shared for v in names
                )
                whole = self.wishart or (level, frozenset(names)) in named
                out.append(replace(block, whole=own and whole))
        return tuple(out)

    def set_of(self, key: str) -> tuple[str, frozenset[str]]:
        """Level and variables of ``cov[between: a, b]``."""
        level, _, names = key.removeprefix("cov[").removesuffix("]").rpartition(": ")
        return level, frozenset(names.split(", "))

    def covary(self, variance: Row) -> int:
        """How many free correlations a variable has, by the row of its variance."""
        rows = [r for r in self.table.at(variance.level) if r.op == "~~" and r.lhs != r.rhs and r.fixed is None]
        return sum(variance.lhs in (r.lhs, r.rhs) and self.variable(r) == "corr" and not self._has_own(r) for r in rows)

    def _has_own(self, row: Row) -> bool:
        """Whether a covariance has a prior of its own."""
        return f"cov[{element_of(row)}]" in self.covariances

    def _is_apart(self, row: Row) -> bool:
        """Whether a covariance is sampled as such, wherever it stands: held equal to another, or between bounds."""
        return row.label in self._shared or f"cov[{element_of(row)}]" in self.bounded

    @cached_property
    def covariances_in_blocks(self) -> list[tuple[str, tuple[int, int, int]]]:
        """Covariances in blocks that have priors of their own: key, and (level, variable, variable)."""
        out = []
        for row in (r for r in self.table.rows if r in self._blocked and self._has_own(r)):
            at = self.variables(row.level).index
            out.append((f"cov[{element_of(row)}]", (self.levels.index(row.level), at(row.lhs), at(row.rhs))))
        return out

    def prior_key(self, variable: str, element: str) -> str:
        """Where the prior of an element stands: its own key, or that of its block."""
        return self._in_blocks.get((variable, element), f"{variable}[{element}]")

    @cached_property
    def _in_blocks(self) -> dict[tuple[str, str], str]:
        out = {}
        for b in self.blocks:
            for row in self.table.at(b.level):
                inside = row.op == "~~" and row.fixed is None and {row.lhs, row.rhs} <= {*b.variables}
                if inside and (row.lhs != row.rhs or b.whole):
                    own = row.lhs != row.rhs and self._has_own(row)
                    out[self.variable(row), self.label(row)] = f"cov[{element_of(row)}]" if own else b.key
        return out

    def checks(self) -> tuple[tuple[int, ...], ...]:
        """(level, variables) whose covariances are no block, so that they may fail to be positive definite."""
        blocks = [(b.level, {*b.variables}) for b in self.blocks]
        rest = [(level, names) for level, names, _ in self.components if (level, {*names}) not in blocks]
        return tuple((self.levels.index(a), *(self.variables(a).index(v) for v in names)) for a, names in rest)

    @cached_property
    def _blocked(self) -> set[Row]:
        """Covariance rows that are elements of blocks."""
        sets = [(b.level, {*b.variables}) for b in self.blocks]
        rows = [r for r in self.table.rows if r.op == "~~" and r.lhs != r.rhs and r.fixed is None]
        return {r for r in rows if any(r.level == level and {r.lhs, r.rhs} <= names for level, names in sets)}

    @cached_property
    def correlations(self) -> list[str]:
        """Elements of the correlations of the blocks, in the order of the kernel: rows of the lower triangles."""
        rows = {(r.level, frozenset((r.lhs, r.rhs))): r for r in self._blocked}
        return [element_of(rows[pair]) for b in self.blocks for pair in b.pairs]

    def elements_of(self, block: Block) -> list[str]:
        """Those of one block."""
        rows = {(r.level, frozenset((r.lhs, r.rhs))): r for r in self._blocked}
        return [element_of(rows[pair]) for pair in block.pairs]

    @property
    def between_parameters(self) -> int:
        """Number of free numbers that only the between level has."""
        scalars = sum(all(r.level == "between" for r in p.rows) for p in self.parameters)
        return scalars + sum(r.level == "between" for r in self._blocked)

    @cached_property
    def position(self) -> dict[tuple[str, str], int]:
        """Place of (variable, element) in t: 1 for the first scalar, then the correlations of the blocks."""
        out = {(p.variable, p.element): k for k, p in enumerate(self.parameters, start=1)}
        return out | {("corr", e): len(out) + k for k, e in enumerate(self.correlations, start=1)}

    def variable(self, row: Row) -> str:
        """Which posterior variable a free row belongs to."""
        if row.op == "~~" and row.lhs != row.rhs:
            apart = self._is_apart(row) or (self._has_own(row) and row not in self._blocked)
            return "cov" if apart else "corr"
        return {"=~": "loading", "~": "path", "~1": "intercept", "|": "threshold", "~~": "sd"}[row.op]

    def place(self, row: Row) -> int:
        """Place in t of a free row."""
        return self.position[self.variable(row), self.label(row)]

    def label(self, row: Row) -> str:
        """Label of a free row's element: what the rows that share it are called, else the row's own."""
        return row.label if row.label in self._shared else element_of(row)

    def elements(self, variable: str) -> list[str]:
        """Labels of a variable's elements, as its posterior has them."""
        scalars = [p.element for p in self.parameters if p.variable == variable]
        return scalars + (self.correlations if variable == "corr" else [])

    def sd(self, level: str, name: str) -> Row:
        """The variance row of a variable."""
        return self._variances[level, name]

    @cached_property
    def _variances(self) -> dict[tuple[str, str], Row]:
        return {(r.level, r.lhs): r for r in self.table.rows if r.op == "~~" and r.lhs == r.rhs}

    @cached_property
    def regressors(self) -> list[tuple[str, str]]:
        """(level, covariate) of the regressors; "" is the constant."""
        return [(level, v) for level in self.levels for v in ("", *self.covariates(level))]
