"""STDYX and R-square in every draw, from the covariances that the model implies.

A categorical variable has those of its latent response. With random slopes the variances within depend on the slopes: every
cluster is standardised by its own, and clusters are averaged, each counting once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayeshte.families.sem_draws import row_draws, stacked
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_moments import covariances
from bayeshte.families.sem_structure import Structure
from bayeshte.families.sem_varying import by_cluster
from bayeshte.fit import Fit
from bayeshte.marginal.matrices import Matrices
from bayeshte.model_text import Row

#: of the random slopes (draw, slope) and SDs of all variables by name (draw,): a value, (draw,)
Value = Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Implied:
    """The model and draws that implied moments come from."""

    structure: Structure
    matrices: Matrices
    posterior: xr.Dataset
    design: xr.Dataset

    @classmethod
    def of(cls, fit: Fit) -> "Implied":
        s = fit.spec.structure_of(fit.posterior)
        return cls(s, matrices(s, fit.design["slots"].to_numpy()), fit.posterior, fit.design)

    def row(self, row: Row) -> np.ndarray:
        """Draws of a row of the table, chains stacked, (draw,)."""
        n = self.posterior.sizes["chain"] * self.posterior.sizes["draw"]
        values = row_draws(self.structure, self.posterior, row)
        if isinstance(values, float):
            return np.full(n, values)
        return values.transpose("chain", "draw").to_numpy().ravel()

    def averaged(self, level: str, values: Sequence[Value]) -> list[np.ndarray]:
        """Every value, (draw,), with the SDs of a level, NaN for zero; within, with random slopes, averaged over clusters."""
        total, count, constant = [0.0] * len(values), 0, self._constant(level)
        for slopes, S in self._moments(level):
            names = [*self.structure.variables(level), *self.structure.covariates(level)]
            places = [*range(len(self.structure.variables(level))), *range(self.matrices.size, S.shape[-1])]
            sd = {v: _sd(S[:, i, i] * (v not in constant)) for v, i in zip(names, places, strict=True)}
            total = [t + value(slopes, sd) for t, value in zip(total, values, strict=True)]
            count += 1
        return [t / count for t in total]

    def _constant(self, level: str) -> set[str]:
        """Variables without variance: fixed at zero, and nothing explains them."""
        rows, explained = self.structure.table.at(level), self.structure.table.endogenous(level)
        return {r.lhs for r in rows if r.kind == "variance" and r.fixed == 0 and r.lhs not in explained}

    def _moments(self, level: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        given = (self.structure, self.matrices, self.posterior, self.design)
        if self.structure.table.slopes and level == "within":
            yield from by_cluster(*given)
        else:
            t = stacked(self.structure, self.posterior)
            index = self.structure.levels.index(level)
            yield np.empty((len(t), 0)), covariances(self.structure, self.matrices, t, self.design, index)


def stdyx(fit: Fit, rows: Sequence[Row]) -> dict[Row, np.ndarray]:
    """Standardised draws, (draw,), of rows of the parameter table.

    Paths and loadings are times the SD of the predictor over that of the outcome, intercepts and thresholds over the SD,
    residual variances over the variance (1 - R-square), covariances over both (residual) SDs. Products have no standardised path.
    What is fixed to have no variance on its level is not a number here.
    """
    implied, out = Implied.of(fit), {}
    for level in implied.structure.levels:
        s = implied.structure
        mine = [r for r in rows if r.level == level and r not in [*s.products(level), *s.interactions(level)]]
        out |= dict(zip(mine, implied.averaged(level, [_standardised(implied, r) for r in mine]), strict=True))
    return out


def _standardised(implied: Implied, row: Row) -> Value:
    draws = np.empty(0) if row.slope else implied.row(row)
    match row.op:
        case "~" | "=~":
            y, x = (row.lhs, row.rhs) if row.op == "~" else (row.rhs, row.lhs)
            which = implied.structure.table.slopes.index(row.slope) if row.slope else None
            return lambda slopes, sd: (draws if which is None else slopes[:, which]) * sd[x] / sd[y]
        case "~1" | "|":
            return lambda _, sd: draws / sd[row.lhs]
        case _ if row.lhs == row.rhs:
            return lambda _, sd: draws / sd[row.lhs] ** 2
        case _:
            residual = [_sd(implied.row(implied.structure.sd(row.level, v))) for v in (row.lhs, row.rhs)]
            return lambda *_: draws / (residual[0] * residual[1])


def _sd(variance: np.ndarray) -> np.ndarray:
    """Square roots; of zero, by which nothing can be divided, NaN."""
    return np.sqrt(np.where(variance > 0, variance, np.nan))


def explained(fit: Fit, variables: Sequence[tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
    """Draws of R-square, (draw,), by (level, variable)."""
    implied, out = Implied.of(fit), {}
    for level in implied.structure.levels:
        mine = [v for where, v in variables if where == level]
        values = implied.averaged(level, [_share(implied.row(implied.structure.sd(level, v)), v) for v in mine])
        out |= {(level, v): x for v, x in zip(mine, values, strict=True)}
    return out


def _share(residual: np.ndarray, name: str) -> Value:
    return lambda _, sd: 1 - residual / sd[name] ** 2
