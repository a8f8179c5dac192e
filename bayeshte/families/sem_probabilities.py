"""Effects on the probability of a category: what a change of a variable does to P(y >= c), directly and through mediators.

The latent response of y is linear in the cause x, y* = mu + direct x + indirect x' + e, with x on the path from x to y itself and
x' on those through mediators: by potential outcomes Y(x, M(x')). With all that is random in e, clusters included, SD sigma,

    P(Y(x, M(x')) >= c) = E F((mu + direct x + indirect x' - tau_c) / sigma),

averaged over the covariates of the data, for probit F = Phi; for logit, sigma has no part of the logistic residual, over which
F is averaged by quadrature. As in Pearl (2001) and Muthén & Asparouhov (2015), for a change from x0 to x1:

    total            P(Y(x1, M(x1))) - P(Y(x0, M(x0)))
    pure direct      P(Y(x1, M(x0))) - P(Y(x0, M(x0))),    total indirect   P(Y(x1, M(x1))) - P(Y(x1, M(x0)))

x is set, not seen: the equation of a modelled x is cut. Random slopes are integrated over the population of clusters by
Gauss-Hermite quadrature, jointly with the clusters' part of y. A variable of clusters has the between level only, which is linear
in slopes too, and is averaged over the covariates of the clusters, each counting once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr
from scipy.special import expit, ndtr

from bayeshte.families.sem_categorical import category_labels, responses
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, cells
from bayeshte.marginal.structural_categorical import cuts_at, without_residuals
from bayeshte.spec import Estimand

HEADER = "effects on probabilities"
NODES = 7  # of the quadrature over each random slope
LOGISTIC = 15  # over what is normal beside a logistic residual
CLUSTERS = 20  # with random slopes, at most these of the clusters, evenly chosen, stand for all
KINDS = {  # name: x and x' after and before, and what it is
    "total": (((1, 1), (0, 0)), "along all ways"),
    "pure direct": (((1, 0), (0, 0)), "by itself, mediators as they are before the change"),
    "total indirect": (((1, 1), (1, 0)), "in the mediators only, for those who are changed"),
}


@dataclass(frozen=True)
class Cause:
    """A variable of a level and the change of it: from 0 to 1 of what is coded so, else one unit up from the average."""

    level: int
    name: str
    covariate: int | None  # its place among the regressors
    variable: int | None  # or among the variables of the level
    binary: bool

    @property
    def change(self) -> str:
        if self.binary:
            return f"{self.name} from 0 to 1"
        return f"{self.name} one unit up from its average"


def effects(structure: Structure, m: Matrices, design: xr.Dataset, level: str) -> list[Estimand]:
    """Effects of whatever has a way to a categorical variable on the probability of being at or above each category."""
    m = without_residuals(m, [structure.observed.index(v) for v, link in structure.links.items() if link == "logit"])
    out = []
    for y in structure.links:
        if y not in structure.variables(level):
            continue
        for cause, mediated, direct in _causes(structure, design, level, y):
            kinds = [k for k in KINDS if k == "total" or (mediated and direct)]
            for kind in kinds:
                (after, before), text = KINDS[kind]
                name = (
                    f"{kind} effect of {cause.name} on P({y})"
                    if len(kinds) > 1
                    else f"effect of {cause.name} on P({y})"
                )
                where = f", {level}" if level else ""
                given = {"scale": "coefficient", "level": level, "header": HEADER}

                def draws(posterior, design, cause=cause, y=y, after=after, before=before):
                    p1, p0 = (above(structure, m, posterior, design, cause, y, x) for x in (after, before))
                    return p1 - p0

                out.append(
                    Estimand(f"{name}{where}", f"{cause.change}: difference in probability, {text}", draws, **given)
                )
    return out


def above(
    structure: Structure,
    m: Matrices,
    posterior: xr.Dataset,
    design: xr.Dataset,
    cause: Cause,
    y: str,
    x: tuple[int, int],
) -> xr.DataArray:
    """P(Y(x, M(x')) >= c) for c after the first category, (chain, draw, category); x = 1 is after the change."""
    t = stacked(structure, posterior)
    cuts = cuts_at(responses(structure), t)[list(structure.thresholds).index(y)]
    out = np.zeros((len(t), cuts.shape[1]))
    for share, mean, sd in _responses(
        structure, m, t, design, cause, structure.variables(structure.levels[0]).index(y), x
    ):
        for c in range(out.shape[1]):
            out[:, c] += share * _probability(structure.links[y], mean - cuts[:, c], sd)
    labels = category_labels(structure, design)[y][1:]
    labels = [f"{y} >= {v}" for v in labels[:-1]] + [f"{y} = {labels[-1]}"]
    dims = ("chain", "draw", "at")
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], -1)
    coords = {"chain": posterior["chain"], "draw": posterior["draw"], "at": labels}
    return xr.DataArray(out.reshape(shape), coords, dims)


def _probability(link: str, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """P(response > 0)."""
    if link == "probit":
        return ndtr(mean / sd)
    nodes, weights = np.polynomial.hermite_e.hermegauss(LOGISTIC)
    return sum(w * expit(mean + sd * z) for z, w in zip(nodes, weights / weights.sum(), strict=True))


def _causes(structure: Structure, design: xr.Dataset, level: str, y: str) -> Iterator[tuple[Cause, bool, bool]]:
    """Causes of y at a level, whether something mediates, whether there is a path by itself.

    Left out are moderators and parts of products: their effects are conditional ones.
    """
    rows = [r for r in structure.table.at(level) if r.op == "~"]
    products = {v for r in rows if ":" in r.rhs for v in r.parts}
    index, names = structure.levels.index(level), structure.variables(level)
    for x in dict.fromkeys(r.rhs for r in rows if ":" not in r.rhs):
        if x in products or x == y:
            continue
        direct = any(r.lhs == y and r.rhs == x for r in rows)
        mediated = any(r.rhs == x and r.lhs != y and _leads(rows, r.lhs, y) for r in rows)
        if not direct and not mediated:
            continue
        covariate = structure.regressors.index((level, x)) if (level, x) in structure.regressors else None
        binary = False
        if covariate is not None:
            array, dim = ("X", "within_covariate") if index == 0 else ("Z", "between_covariate")
            binary = bool(np.isin(design[array].sel({dim: x}).to_numpy(), (0, 1)).all())
        yield Cause(index, x, covariate, None if covariate is not None else names.index(x), binary), mediated, direct


def _leads(rows, start: str, end: str) -> bool:
    return any(r.rhs == start and (r.lhs == end or _leads(rows, r.lhs, end)) for r in rows)


def _responses(
    structure: Structure, m: Matrices, t: np.ndarray, design: xr.Dataset, cause: Cause, y: int, x: tuple[int, int]
) -> Iterator[tuple[float, np.ndarray, np.ndarray]]:
    """Shares, means (draw,) and SDs (draw,) of the normal distributions that the response of y is a mixture of."""
    own = y >= m.within
    q, context, share = _of_clusters(design) if own else _covariates(structure, design, bool(m.slopes))
    start = 0.0 if cause.binary else _average(m, t, design, cause, q, context, share)
    for k in np.unique(context):
        between = _level(m, t, 1, k, cause) if m.levels == 2 else None
        slopes = [s.variable for s in m.slopes]
        if own or not slopes:
            parts = [*([] if own else [_level(m, t, 0, k, cause)]), *([between] if between else [])]
            sd = np.sqrt(sum(S[:, y, y] for S, *_ in parts))
            mean = sum(_at(part, cause, y, x, start) for part in parts)
            for row, weight in zip(q[context == k], share[context == k], strict=True):
                yield weight, sum(_mean(part, row, cause, y) for part in parts) + mean, sd
            continue
        S = between[0]
        root = np.linalg.cholesky(S[:, slopes][:, :, slopes])
        to = np.linalg.solve(root.swapaxes(-1, -2), np.linalg.solve(root, S[:, slopes, y][..., None]))[..., 0]
        rest = S[:, y, y] - (to * S[:, slopes, y]).sum(1)
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        rows, which = np.unique(q[context == k][:, m.regressors_within :], axis=0, return_inverse=True)
        for at in product(range(NODES), repeat=len(slopes)):
            moved = root @ nodes[list(at)]
            weight = (weights[list(at)] / weights.sum()).prod()
            for u, z in enumerate(rows):
                full = np.r_[np.zeros(m.regressors_within), z]
                mean_s = np.stack(
                    [_mean(between, full, cause, s) + _at(between, cause, s, x, start) for s in slopes], 1
                )
                own = _level(m, t, 0, k, cause, mean_s + moved)
                level = _mean(between, full, cause, y) + _at(between, cause, y, x, start) + (to * moved).sum(1)
                sd = np.sqrt(own[0][:, y, y] + rest)
                move = _at(own, cause, y, x, start)
                for row, part in zip(q[context == k][which == u], share[context == k][which == u], strict=True):
                    row = np.r_[row[: m.regressors_within], np.zeros(len(z))]
                    yield weight * part, level + _mean(own, row, cause, y) + move, sd


def _level(m: Matrices, t: np.ndarray, level: int, context: int, cause: Cause, slopes: np.ndarray | None = None):
    """S, A c, A and B, c of a level, the equation of its cause cut; (S, coefficients, direct, total, is_own)."""
    Psi, beta, c = cells(m, t, level, context)
    if slopes is not None:
        for k, s in enumerate(m.slopes):
            (beta if s.matrix == "beta" else c)[:, s.row, s.column] += slopes[:, k]
    own = cause.level == level
    if own and cause.variable is not None:
        for x in (beta, c, Psi):
            x[:, cause.variable] = 0.0
        Psi[:, :, cause.variable] = 0.0
    A = np.linalg.inv(np.eye(m.size) - beta)
    K = A @ c
    if own and cause.variable is not None:
        direct, total = beta[:, :, cause.variable], A[:, :, cause.variable]
    elif own:
        direct, total = c[:, :, cause.covariate], K[:, :, cause.covariate]
    else:
        direct = total = np.zeros((len(t), m.size))
    return A @ Psi @ A.swapaxes(-1, -2), K, direct, total, own


def _mean(part, row: np.ndarray, cause: Cause, y: int) -> np.ndarray:
    """What the regressors other than the cause add to the mean of y, (draw,)."""
    if part[4] and cause.covariate is not None:
        row = row.copy()
        row[cause.covariate] = 0.0
    return part[1][:, y] @ row


def _at(part, cause: Cause, y: int, x: tuple[int, int], start) -> np.ndarray:
    """What the cause adds: x on the path by itself, x' on those through mediators."""
    _, _, direct, total, _ = part
    return direct[:, y] * (start + x[0]) + (total - direct)[:, y] * (start + x[1])


def _covariates(structure: Structure, design: xr.Dataset, few: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Different rows of regressors with their contexts and shares of the rows of the data."""
    X = design["X"].to_numpy()
    q = np.column_stack([np.ones(len(X)), X])
    context = design["context"].to_numpy()
    if structure.two_level:
        code, Z = design["cluster_code"].to_numpy(), design["Z"].to_numpy()
        if few and len(Z) > CLUSTERS:
            chosen = np.linspace(0, len(Z) - 1, CLUSTERS).astype(int)
            keep = np.isin(code, chosen)
            q, code = q[keep], code[keep]
        q = np.column_stack([q, np.ones(len(q)), Z[code]])
        context = context[code]
    rows, count = np.unique(np.column_stack([context, q]), axis=0, return_counts=True)
    return rows[:, 1:], rows[:, 0].astype(int), count / count.sum()


def _of_clusters(design: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of the clusters: regressors of rows, which do not matter, are zero."""
    Z = design["Z"].to_numpy()
    q = np.column_stack([np.zeros((len(Z), 1 + design.sizes["within_covariate"])), np.ones(len(Z)), Z])
    rows, count = np.unique(np.column_stack([design["context"].to_numpy(), q]), axis=0, return_counts=True)
    return rows[:, 1:], rows[:, 0].astype(int), count / count.sum()


def _average(m: Matrices, t: np.ndarray, design: xr.Dataset, cause: Cause, q, context, share) -> np.ndarray | float:
    """The average of the cause, (draw,) of a modelled one; of deviations within clusters zero."""
    if cause.covariate is not None:
        return float(share @ q[:, cause.covariate])
    if m.levels == 2 and cause.level == 0:
        return 0.0
    out = np.zeros(len(t))
    for k in np.unique(context):
        _, beta, c = cells(m, t, cause.level, k)
        K = (np.linalg.inv(np.eye(m.size) - beta) @ c)[:, cause.variable]
        mine = context == k
        out += K @ (share[mine] @ q[mine])
    return out
