"""The parameter table: one row for each coefficient, variance, covariance and intercept of a model."""

from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd

from bayeshte.model_text.expressions import Expression

COLUMNS = ("level", "lhs", "op", "rhs", "label", "fixed", "start", "slope", "given")


@dataclass(frozen=True)
class Row:
    """One parameter of the model, as lavaan writes it.

    Attributes
    ----------
    level : str
        ``"within"``, ``"between"``; empty in models of one level.
    lhs, op, rhs : str
        ``=~``: the factor `lhs` is measured by `rhs`. ``~``: `lhs` is regressed on `rhs`, which may be a product ``a:b``.
        ``~~``: (residual) variance or covariance. ``~1``: intercept or mean; `rhs` is empty. ``|``: threshold of a categorical
        variable, `rhs` is ``t1``, ``t2``, ...
    label : str
        Rows with the same label are one parameter.
    fixed, start : float, optional
        The value that it is fixed at; where its chains start. A fixed row has no label and no start.
    slope : str
        Of a path at the within level: the name of the random slope that it is (from ``s | y ~ x``), else empty. Of an
        intercept (``s | y ~ 1``) likewise.
    given : bool
        Whether the user wrote it; False if a rule added it.
    """

    level: str
    lhs: str
    op: str
    rhs: str
    label: str = ""
    fixed: float | None = None
    start: float | None = None
    slope: str = ""
    given: bool = True

    @property
    def name(self) -> str:
        """As messages and tables name it: ``"between: advant ~ treat"``, ``"f =~ y1"``, ``"mvpa ~1"``."""
        text = f"{self.lhs} ~1" if self.op == "~1" else f"{self.lhs} {self.op} {self.rhs}"
        return f"{self.level}: {text}" if self.level else text

    @property
    def parts(self) -> tuple[str, ...]:
        """The variables on the right: none of an intercept or a threshold, both of a product."""
        return tuple(self.rhs.split(":")) if self.rhs and self.op != "|" else ()

    @property
    def key(self) -> tuple:
        """Equal for rows of the same parameter; covariances and products are symmetric."""
        if self.op == "~~":
            return self.level, self.op, *sorted((self.lhs, self.rhs))
        return self.level, self.op, self.lhs, *(sorted(self.parts) or [self.rhs])

    @property
    def kind(self) -> str:
        """``"variance"``, ``"covariance"``, ``"threshold"`` or ``"coefficient"`` (loading, path, intercept)."""
        if self.op != "~~":
            return "threshold" if self.op == "|" else "coefficient"
        return "variance" if self.lhs == self.rhs else "covariance"


@dataclass(frozen=True)
class ParameterTable:
    """All parameters of a model.

    Attributes
    ----------
    rows : tuple of Row
        Within before between; in a level loadings, paths, (co)variances, intercepts; of these what was written, in that order,
        before what the rules added.
    derived : tuple of (str, Expression)
        Functions of the parameters, by name; each may use those before it.
    categorical : tuple of str
        Variables that are categories of a latent response, which is what the rows are about.
    """

    rows: tuple[Row, ...]
    derived: tuple[tuple[str, Expression], ...]
    categorical: tuple[str, ...] = ()

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """``("within", "between")``, or ``("",)`` of one level."""
        return ("",) if all(row.level == "" for row in self.rows) else ("within", "between")

    def at(self, level: str) -> tuple[Row, ...]:
        """The rows of a level."""
        return self._by_level.get(level, ())

    @cached_property
    def _by_level(self) -> dict[str, tuple[Row, ...]]:
        levels = dict.fromkeys(row.level for row in self.rows)
        return {level: tuple(row for row in self.rows if row.level == level) for level in levels}

    def names(self, level: str) -> tuple[str, ...]:
        """All variables of a level in order of appearance: observed, factors, and random slopes between clusters."""
        names = [name for row in self.at(level) for name in (row.lhs, *row.parts)]
        return tuple(dict.fromkeys([*names, *(self.slopes if level == "between" else ())]))

    def factors(self, level: str) -> tuple[str, ...]:
        """Latent variables that are measured at a level."""
        return tuple(dict.fromkeys(row.lhs for row in self.at(level) if row.op == "=~"))

    @property
    def slopes(self) -> tuple[str, ...]:
        """Names of the random slopes."""
        return tuple(dict.fromkeys(row.slope for row in self.rows if row.slope))

    def observed(self, level: str) -> tuple[str, ...]:
        """Observed variables of a level, those in products too."""
        latent = {*self.factors(level), *self.slopes}
        return tuple(name for name in self.names(level) if name not in latent)

    def endogenous(self, level: str) -> tuple[str, ...]:
        """Variables of a level that something explains: outcomes and indicators."""
        rows = self.at(level)
        explained = {row.lhs for row in rows if row.op == "~"} | {row.rhs for row in rows if row.op == "=~"}
        return tuple(name for name in self.names(level) if name in explained)

    def exogenous(self, level: str) -> tuple[str, ...]:
        """Variables of a level that nothing explains."""
        explained = {*self.endogenous(level)}
        return tuple(name for name in self.names(level) if name not in explained)

    def conditioned(self, level: str) -> tuple[str, ...]:
        """Exogenous observed variables that the model takes as they are: they have no variance and no mean of their own."""
        rows = self.at(level)
        mentioned = {name for row in rows if row.op in ("~~", "~1") for name in (row.lhs, *row.parts)}
        modelled = mentioned | {*self.both_levels, *(row.lhs for row in rows if row.op == "|")}
        exogenous = {*self.exogenous(level)}
        return tuple(name for name in self.observed(level) if name in exogenous and name not in modelled)

    def leads(self, level: str, start: str, end: str) -> bool:
        """Whether a way along paths and loadings leads from one variable to another, or they are the same."""
        steps = [(v, r.lhs) for r in self.at(level) if r.op == "~" for v in r.parts]
        steps += [(r.lhs, r.rhs) for r in self.at(level) if r.op == "=~"]
        return start == end or any(self.leads(level, to, end) for by, to in steps if by == start)

    @property
    def both_levels(self) -> tuple[str, ...]:
        """Observed variables that vary within and between clusters."""
        between = {*self.observed("between")}
        return tuple(name for name in self.observed("within") if name in between)

    def response_level(self, name: str) -> str:
        """Where the latent response of a categorical variable has its residual: within, or between if it is one of clusters."""
        return self.levels[0] if name in self.observed(self.levels[0]) else self.levels[-1]

    def threshold_level(self, name: str) -> str:
        """Where it has its thresholds, as a continuous variable has its mean: between clusters if it varies there."""
        return self.levels[-1] if name in self.observed(self.levels[-1]) else self.levels[0]

    @property
    def labels(self) -> dict[str, Row]:
        """The first row of each label."""
        first: dict[str, Row] = {}
        for row in self.rows:
            if row.label:
                first.setdefault(row.label, row)
        return first

    def frame(self) -> pd.DataFrame:
        """One line a row, columns as the fields of `Row`; `fixed` and `start` are NaN where there is none."""
        frame = pd.DataFrame([[getattr(row, c) for c in COLUMNS] for row in self.rows], columns=list(COLUMNS))
        return frame.astype({"fixed": float, "start": float})

    def __repr__(self):
        derived = [f"{name} := {expression}" for name, expression in self.derived]
        return "\n".join([self._headline(), self._shown().to_string(index=False), *derived])

    def _repr_html_(self):
        derived = [f"<p><code>{escape(f'{name} := {expression}')}</code></p>" for name, expression in self.derived]
        return f"<p><b>{self._headline()}</b></p>{self._shown().to_html(index=False)}{''.join(derived)}"

    def _headline(self) -> str:
        free = [row.label or row.key for row in self.rows if row.fixed is None and not row.slope]
        return f"ParameterTable: {len(self.rows)} rows, {len(set(free))} free parameters"

    def _shown(self) -> pd.DataFrame:
        """The frame as text, without columns that are empty."""
        frame = self.frame()
        for column in ("fixed", "start"):
            frame[column] = ["" if np.isnan(v) else f"{v:g}" for v in frame[column]]
        frame["given"] = np.where(frame["given"], "yes", "by rule")
        return frame.loc[:, (frame != "").any()]
