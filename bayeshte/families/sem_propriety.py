"""Whether improper priors of variances leave the posterior of a structural equation model proper.

Take priors of a p x p covariance matrix C proportional to |C|^-(df + p + 1)/2; flat ones have df = -p - 1.

- Where C is large, inverse Wishart priors with a scale are alike: with n units and k regressors the posterior is proper
  there only if df + n - k > p - 1.
- Where C is nearly singular a scale keeps the prior from growing. Without one it can be integrated only if -df > p - 1,
  unless the likelihood vanishes there too, as it does for residuals of observed variables that nothing else varies with.

(|C|^-(df + p + 1)/2 is an inverse Wishart density with df degrees of freedom but for its scale, and a Wishart density with
-df but for its; both exist if these exceed p - 1.)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bayeshte.errors import DataError, SpecError
from bayeshte.families.sem_identification import random_point
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, cells
from bayeshte.marginal.sufficient import Data
from bayeshte.prior import LKJ, Power, Prior

SINGULAR = 1e-9  # smallest over largest eigenvalue


@dataclass(frozen=True)
class Improper:
    """Variables of a level whose covariance matrix has such a prior: degrees of freedom, whether there is a scale, its keys."""

    level: str
    variables: tuple[str, ...]
    df: float
    scaled: bool
    keys: tuple[str, ...]


def check_proper(structure: Structure, m: Matrices, priors: Mapping[str, Prior], data: Data) -> None:
    """Refuse priors of variances under which the posterior is improper; see the module's docstring.

    Raises
    ------
    DataError
        Too few clusters, or rows, for priors that do not fall off.
    SpecError
        Priors that are infinite at 0 where the data cannot rule 0 out.
    """
    units = {structure.levels[0]: (len(data.Y), "rows", 1 + data.X.shape[1], "covariates")}
    if structure.two_level:
        units["between"] = (len(data.context), "clusters", 1 + data.Z.shape[1], "cluster covariates")
    for prior in _improper(structure, priors):
        n, unit, k, covariates = units[prior.level]
        p = len(prior.variables)
        needed = p + k - 1 - prior.df
        if n <= needed:
            where = f" on the {prior.level} level" if prior.level else ""
            remedy = ", or informative ones: priors=bh.few_cluster_priors(spec, data)" if unit == "clusters" else ""
            raise DataError(
                f"Flat priors{where} leave the posterior improper: it needs more than {needed:g} {unit} "
                f"({k - 1} {covariates}, {p} variables whose residuals covary), there are {n}. Use priors='default'{remedy}."
            )
        if not prior.scaled and -prior.df <= p - 1 and not _vanishes(structure, m, prior):
            names = " and ".join(map(repr, prior.variables))
            raise SpecError(
                f"The prior of {', '.join(prior.keys)} is infinite at 0, and what is observed varies without {names} too, so the "
                "data cannot rule 0 out: the posterior is improper. Use a proper prior, or a flat one."
            )


def _improper(structure: Structure, priors: Mapping[str, Prior]) -> Iterator[Improper]:
    blocked = set()
    for b in structure.blocks:
        prior, q = priors[b.key], len(b.variables)
        sds = [f"sd[{structure.label(structure.sd(b.level, v))}]" for v in b.variables]
        if b.whole:
            yield Improper(b.level, b.variables, prior["df"], prior["scale"][0][0] > 0, (b.key,))
        elif prior == LKJ(1) and all(priors.get(k) == Power(q) for k in sds):
            yield Improper(b.level, b.variables, -q - 1, False, (*sds, b.key))
        else:
            continue
        blocked |= {(b.level, v) for v in b.variables}
    for row in structure.table.rows:
        key = f"sd[{structure.label(row)}]"
        if row.kind != "variance" or row.fixed is not None or (row.level, row.lhs) in blocked:
            continue
        if priors[key].name == "Power":
            yield Improper(row.level, (row.lhs,), -priors[key]["exponent"] - 1, False, (key,))


def _vanishes(structure: Structure, m: Matrices, prior: Improper) -> bool:
    """Whether what is observed of a level has a singular covariance matrix where that of the variables is singular."""
    level, places = structure.levels.index(prior.level), structure.variables(prior.level).index
    t = random_point(structure, len(structure.position), seed=0)
    Psi, beta, _ = (x[0] for x in cells(m, t[None], level))
    at, p = [places(v) for v in prior.variables], len(prior.variables)
    half = np.random.default_rng(1).normal(size=(p, p - 1))
    Psi[np.ix_(at, at)] = half @ half.T
    A = np.linalg.inv(np.eye(len(Psi)) - beta)
    seen = [places(v) for v in (structure.within if level == 0 else structure.own)]
    S = (A @ Psi @ A.T)[np.ix_(seen, seen)]
    values = np.linalg.eigvalsh(S) if seen else np.ones(1)
    return bool(values.min() <= SINGULAR * values.max())
