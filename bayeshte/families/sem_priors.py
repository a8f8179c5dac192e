"""Default and Mplus priors of structural equation models, resolved to numbers before anything is sampled.

Default: with s the SD of a variable on its level (of cluster means between clusters; a factor has that of its first indicator),
paths y ~ x are Normal(0, 2.5 s_y / s_x), free loadings Normal(0, 2.5 s_y / s_f), SDs HalfNormal(s), blocks of correlations
LKJ(2), other correlations Uniform(-1, 1) as far as the matrix is positive definite. An intercept is Normal(mean, w), w = 2.5 s_y
sqrt(1 + sum (mean_x / s_x)^2) over the predictors: what the paths' priors let it be. Scaling a variable scales its priors.

Mplus: N(0, infinity), and flat on variances and covariances: IG(-1, 0) and IW(0, -p - 1), which is LKJ(1) times sd^p. With any
categorical variable in the model blocks have IW(I, p + 1), and N(0, 5), 5 the variance, is the prior of thresholds and of paths
to and loadings of latent responses: of rows within, of clusters between. Between clusters the part of a response of rows is a
continuous latent variable, whose paths and loadings are flat.

The covariance matrix C of a block may have an inverse Wishart prior. In SDs and correlations its density is that of C times the
Jacobian, 2^q times the product of all sd^q. A prior of one covariance is its density, as far as the matrix is positive definite,
times the Jacobian sd_1 sd_2 where it is made of a correlation; the other correlations of its block are uniform then.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families.sem_blocks import Block, Parameter
from bayeshte.families.sem_categorical import categories_of, check_priors
from bayeshte.families.sem_identification import check_identified
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_propriety import check_proper
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.structural_categorical import UNITS, cuts
from bayeshte.marginal.sufficient import Data
from bayeshte.model_text import Row
from bayeshte.prior import LKJ, OTHERS, Flat, HalfNormal, InverseWishart, Normal, Power, Prior, Uniform, override


def resolve(given: str | Mapping[str, Prior], structure: Structure, design: xr.Dataset, data: Data) -> dict[str, Prior]:
    """Prior of every free number by key, scalars in the order of the kernel, then the blocks of correlations."""
    base, given = (given, {}) if isinstance(given, str) else (given.get(OTHERS, "default"), given)
    if base not in ("default", "mplus"):
        raise SpecError(
            f"priors: {base!r} is no set of priors: write 'default', 'mplus' or a mapping of labels to priors."
        )
    if base == "mplus":
        out = {p.key: _mplus(p, structure) for p in structure.parameters}
    else:
        scales = Scales(structure, design, data)
        out = {p.key: _default(p, structure, scales) for p in structure.parameters}
    eta = 1 if base == "mplus" else 2
    out = {p.key: out[p.key] for p in structure.parameters if structure.prior_key(p.variable, p.element) == p.key}
    keys = [key for key, _ in structure.covariances_in_blocks]
    for b in structure.blocks:
        own = any(structure.prior_key("corr", e) in keys for e in structure.elements_of(b))
        out[b.key] = _wishart(len(b.variables), structure.wishart) if b.whole else LKJ(1 if own else eta)
    out |= dict.fromkeys(keys, Flat())
    aliases = {r.label: p.key for p in structure.parameters for r in p.rows if r.label}
    aliases |= {p.element: p.key for p in structure.parameters if p.variable in ("loading", "path")}
    given = _by_block(given, structure, aliases)
    for name, rows in structure.thresholds.items():
        if prior := given.pop(f"threshold[{name}]", None):
            given |= {f"threshold[{structure.label(r)}]": prior for r in rows if r.fixed is None}
    priors = override(out, given, aliases)
    check_priors(structure, priors)
    m = matrices(structure, design["slots"].to_numpy())
    check_identified(structure, m, {k for k, prior in priors.items() if prior.proper and prior != out[k]})
    check_proper(structure, m, priors, data)
    return priors


def factors(structure: Structure, priors: Mapping[str, Prior]) -> dict[str, Prior]:
    """The priors, and for every SD of a block with a prior of its covariance matrix the Jacobian's part, sd^q."""
    rows = [(structure.sd(b.level, v), len(b.variables)) for b in structure.blocks if b.whole for v in b.variables]
    return {**priors, **{f"sd[{structure.label(row)}]": Power(q) for row, q in rows}}


def _wishart(q: int, proper: bool) -> Prior:
    """Mplus's IW(I, q + 1) beside categorical variables, else a flat one."""
    return InverseWishart(np.eye(q), q + 1) if proper else InverseWishart(np.zeros((q, q)), -q - 1)


def _by_block(given: Mapping[str, Prior], structure: Structure, aliases: Mapping[str, str]) -> dict[str, Prior]:
    """What the user gave, covariance matrices with the variables in the order of their blocks.

    Raises
    ------
    SpecError
        A matrix of variables that are no block, or of another size; a prior of something whose prior is that of its block.
    """
    blocks = {structure.set_of(b.key): b for b in structure.blocks if b.whole}
    inside = {key for key, _ in structure.covariances_in_blocks} if structure.wishart else ()
    out: dict[str, Prior] = {}
    for name, prior in given.items():
        key = aliases.get(name, name)
        if name.startswith("cov[") and ", " in name:
            block = blocks.get(structure.set_of(name))
            if block is None:
                there = ", ".join(replace(b, whole=True).key for b in structure.blocks) or "none"
                raise SpecError(
                    f"priors[{name!r}]: an inverse Wishart prior is that of a set of residuals that all covary freely, with "
                    f"each other and with no others, and have free variances. There are: {there}."
                )
            out[block.key] = _reordered(name, prior, block)
        elif key in inside:
            raise SpecError(
                f"priors: {name} is part of a covariance matrix. Where a variable is categorical that has one prior, an inverse "
                f"Wishart one: give that, or another set, {OTHERS!r}: 'default'."
            )
        elif "[" in key and (owner := structure.prior_key(*key[:-1].split("[", 1))) != key:
            raise SpecError(f"priors: {name} is part of {owner}, which has one prior.")
        elif name != OTHERS:
            out[name] = prior
    return out


def _reordered(name: str, prior: Prior, block: Block) -> Prior:
    """The prior of a matrix whose variables `name` has in another order."""
    names = name[4:-1].rpartition(": ")[2].split(", ")
    if not isinstance(prior, Prior) or prior.name != "InverseWishart" or len(prior["scale"]) != len(names):
        raise SpecError(
            f"priors[{name!r}] must be bh.InverseWishart(scale, df) with a scale of {len(names)} x {len(names)}, got {prior!r}."
        )
    at = [names.index(v) for v in block.variables]
    return InverseWishart(np.array(prior["scale"])[np.ix_(at, at)], prior["df"])


class Scales:
    """Mean and SD of every variable on each level, from the data."""

    def __init__(self, structure: Structure, design: xr.Dataset, data: Data):
        self.structure = structure
        self.moments: dict[tuple[str, str], tuple[float, float]] = {}
        level, Y = structure.levels[0], data.Y
        self.cuts = {
            v: cuts(y[~np.isnan(y)].astype(int), 1 + len(rows))[0]
            for v, rows in structure.thresholds.items()
            for y in [categories_of(structure, design, v)]
        }
        if not structure.two_level:
            for k, v in enumerate(structure.within):
                self.moments[level, v] = float(np.nanmean(Y[:, k])), float(np.nanstd(Y[:, k]))
        else:
            self._by_level(data)
        for v, tau in self.cuts.items():  # a latent response is 0 at its first threshold
            spread = UNITS[structure.links[v]]
            self.moments |= {
                (a, v): (-spread * float(tau[0]), spread) for a in structure.levels if v in structure.modelled(a)
            }
        covariates = [(structure.levels[0], "X", "within_covariate")]
        covariates += [(structure.levels[1], "Z", "between_covariate")] if structure.two_level else []
        for name, array, dim in covariates:
            for k, v in enumerate(design[dim].to_numpy()):
                x = design[array].to_numpy()[:, k]
                self.moments[name, str(v)] = float(x.mean()), float(x.std())

    def _by_level(self, data: Data) -> None:
        within, between = self.structure.levels
        J = len(data.context)
        for k, v in enumerate(self.structure.within):
            known = ~np.isnan(data.Y[:, k])
            y, c = data.Y[known, k], data.code[known]
            n = np.bincount(c, minlength=J)
            means = np.bincount(c, y, minlength=J)[n > 0] / n[n > 0]
            full = np.zeros(J)
            full[n > 0] = means
            pooled = np.sqrt(((y - full[c]) ** 2).sum() / max(len(y) - (n > 0).sum(), 1))
            self.moments[within, v] = float(y.mean()), float(pooled)
            if v in self.structure.both:
                self.moments[between, v] = float(y.mean()), float(max(means.std(), 0.05 * pooled))
        for k, v in enumerate(self.structure.own):
            self.moments[between, v] = float(np.nanmean(data.V[:, k])), float(np.nanstd(data.V[:, k]))

    def centre(self, level: str, name: str) -> float:
        """The mean that a variable has on a level: parts within clusters have the mean 0."""
        deviates = self.structure.two_level and level == self.structure.levels[0] and name in self.structure.both
        return 0.0 if deviates else self.of(level, name)[0]

    def threshold(self, row: Row) -> float:
        """About where a threshold is: the first itself, of the others how far from the one before."""
        if row.op != "|":
            return 0.0
        tau, k = self.cuts[row.lhs], int(row.rhs[1:]) - 1
        return UNITS[self.structure.links[row.lhs]] * float(tau[k] - tau[k - 1] if k else tau[0])

    def of(self, level: str, name: str) -> tuple[float, float]:
        """Mean and SD; of a factor 0 and the SD of what its scale comes from; of a slope 0 and s_y / s_x.

        Of a product of two latent or modelled variables the product of their SDs, in whose units its path is one of moderate size
        wherever their means are.
        """
        if (level, name) in self.moments:
            return self.moments[level, name]
        if ":" in name:
            parts = [self.of(level, v) for v in name.split(":")]
            if any(r.rhs == name for r in self.structure.interactions(level)):
                return float(np.prod([m for m, _ in parts])), float(np.prod([s for _, s in parts]))
            return float(np.prod([m for m, _ in parts])), float(np.prod([s + abs(m) for m, s in parts]))
        rows = self.structure.table.at(level)
        if name in self.structure.table.slopes:
            (path,) = [r for r in self.structure.table.at("within") if r.slope == name]
            mean, s = self.of("within", path.lhs)
            return (0.0, s / self.of("within", path.rhs)[1]) if path.rhs else (mean, s)
        own = self.structure.sd(level, name)
        if own.fixed:
            return 0.0, float(np.sqrt(own.fixed))
        for r in rows:  # the marker
            if r.op == "=~" and r.lhs == name and r.fixed:
                return 0.0, self.of(level, r.rhs)[1] / abs(r.fixed)
        return 0.0, 1.0


def _partners(structure: Structure, path: Row) -> list[str]:
    """What multiplies the cause of a path in products with the same outcome: the path is the effect where these are 0."""
    rows = [r for r in structure.interactions(path.level) if r.lhs == path.lhs and path.rhs in r.parts]
    return [next((v for v in r.parts if v != path.rhs), path.rhs) for r in rows]


def _default(p: Parameter, structure: Structure, scales: Scales) -> Prior:
    row: Row = p.rows[0]
    mean, s = scales.of(row.level, row.lhs)
    match p.variable:
        case "path":
            shift = sum(
                (scales.centre(row.level, v) / scales.of(row.level, v)[1]) ** 2 for v in _partners(structure, row)
            )
            return Normal(0, 2.5 * s / scales.of(row.level, row.rhs)[1] * np.sqrt(1 + shift))
        case "loading":
            return Normal(0, 2.5 * scales.of(row.level, row.rhs)[1] / s)
        case "intercept":
            level, name = row.level, row.lhs
            if name in structure.table.slopes:
                (path,) = [r for r in structure.table.at("within") if r.slope == name]
                level, name = ("within", path.lhs) if not path.rhs else (level, name)
            if name in {*structure.table.factors(level), *structure.table.slopes}:
                return Normal(0, 2.5 * s)
            causes = [r.rhs for r in structure.table.at(level) if r.op == "~" and r.lhs == name]
            shift = sum((m / x) ** 2 for m, x in (scales.of(level, v) for v in causes))
            return Normal(mean, 2.5 * s * np.sqrt(1 + shift))
        case "threshold":
            rows = [r for r in structure.table.rows if r.op == "~" and r.lhs == row.lhs]
            shift = sum((m / x) ** 2 for m, x in (scales.of(r.level, r.rhs) for r in rows))
            return Normal(0, 2.5 * s * np.sqrt(1 + shift))
        case "sd":
            return HalfNormal(s)
        case "cov":
            return Normal(0, s * scales.of(row.level, row.rhs)[1])
        case _:
            return Uniform(-1, 1)


def _mplus(p: Parameter, structure: Structure) -> Prior:
    """Flat; an SD has the Jacobian of its variance and of the covariances that its correlations make."""
    row, table = p.rows[0], structure.table
    if p.variable == "corr":
        return Uniform(-1, 1)
    if p.variable == "sd":
        return Power(1 + sum(structure.covary(row) for row in p.rows))
    explained = row.rhs if row.op == "=~" else row.lhs
    coefficient = p.variable in ("path", "loading")
    response = coefficient and explained in structure.links and row.level == table.response_level(explained)
    return Normal(0, np.sqrt(5)) if response or p.variable == "threshold" else Flat()
