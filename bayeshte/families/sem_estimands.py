"""What a paper reports of a structural equation model: effects along paths, contextual effects, variance explained."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr

from bayeshte.families.sem_draws import row_draws, stacked
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.structural import Matrices, cells, implied
from bayeshte.model_text import Row
from bayeshte.spec import Estimand

#: which of the headings has what a first look needs: the first that is there
HEADLINES = ("derived", "effects along paths", "contextual effects", "R-square")


def estimands(structure: Structure, m: Matrices, design: xr.Dataset) -> list[Estimand]:
    """Derived quantities; effects along paths, R-square and standardised paths by level; contextual effects; ICC."""
    out = [
        Estimand(name, expression.text, partial(_derived, name=name), header="derived")
        for name, expression in structure.table.derived
    ]
    for level in structure.levels:
        out += [*_effects(structure, m, level), *_explained(structure, m, level)]
    out += [*_contextual(structure), *_iccs(structure, m)]
    found = {e.header for e in out}
    leading = next((h for h in HEADLINES if h in found), "")
    return [replace(e, headline=e.header == leading) for e in out]


def _explained(structure: Structure, m: Matrices, level: str) -> list[Estimand]:
    """R-square of what is explained, and standardised paths and loadings."""
    where, out = f", {level}" if level else "", []
    for v in structure.table.endogenous(level):
        text = f"share of the variance of {v} that its predictors explain{where and f', {level} clusters'}"
        draws = _share(structure, m, level, v)
        out.append(Estimand(f"R-square of {v}{where}", text, draws, "share", level=level, header="R-square"))
    for row in structure.table.at(level):
        if row.op in ("~", "=~") and row not in structure.products(level) and not row.slope:
            y, x = (row.lhs, row.rhs) if row.op == "~" else (row.rhs, row.lhs)
            text = f"SDs of {y} for an SD of {x}, as the model implies them"
            given = {"scale": "coefficient", "level": level, "header": "standardised"}
            out.append(Estimand(f"standardised {row.name}", text, _standardised(structure, m, row, y, x), **given))
    return out


def _iccs(structure: Structure, m: Matrices) -> list[Estimand]:
    text, given = "share of the variance of {} that lies between clusters", {"scale": "share", "header": "ICC"}
    return [Estimand(f"ICC of {v}", text.format(v), _icc(structure, m, v), **given) for v in structure.both]


def _derived(posterior, design, *, name):
    return posterior["derived"].sel(quantity=name, drop=True)


def _effects(structure: Structure, m: Matrices, level: str) -> list[Estimand]:
    """Total and indirect effects of what has an indirect way to a variable."""
    table, index = structure.table, structure.levels.index(level)
    if structure.products(level):  # effects then depend on the moderator: see `conditional` effects
        return []
    paths = {}
    for r in table.at(level):
        if r.op == "~":
            paths.setdefault(r.rhs, []).append(r.lhs)
    suffix = f", {level}" if level else ""
    out = []
    for x in paths:
        for y in dict.fromkeys(w for v in _reached(paths, x) for w in paths.get(v, [])):
            if y == x:
                continue
            through = ", ".join(v for v in _reached(paths, x) if y in _reached(paths, v))
            kinds = {"total": f"sum over all ways from {x} to {y}", "indirect": f"sum over all ways through {through}"}
            if y in paths[x]:
                kinds["direct"] = f"path from {x} to {y} by itself"
            for kind, text in kinds.items():
                draws = partial(_along, structure=structure, m=m, level=index, x=x, y=y, kind=kind)
                name = f"{kind} effect of {x} on {y}{suffix}"
                out.append(Estimand(name, text, draws, level=level, header="effects along paths"))
    return out


def _reached(paths: dict[str, list[str]], start: str) -> list[str]:
    """Variables that a path leads to from `start`, in one step or more."""
    out: list[str] = []
    todo = list(paths.get(start, []))
    while todo:
        v = todo.pop(0)
        if v not in out:
            out.append(v)
            todo += paths.get(v, [])
    return out


def _along(posterior, design, *, structure, m, level, x, y, kind):
    """Effects from A = (I - B)^-1: A[y, x] of a variable, (A c)[y, x] of a covariate; indirect: without the path itself."""
    t = stacked(structure, posterior)
    _, beta, c = cells(m, t, level)
    names = structure.variables(structure.levels[level])
    A = np.linalg.inv(np.eye(m.size) - beta)
    i = names.index(y)
    if x in names:
        j = names.index(x)
        total, own = A[:, i, j], beta[:, i, j]
    else:
        j = structure.regressors.index((structure.levels[level], x))
        total, own = (A @ c)[:, i, j], c[:, i, j]
    return _labelled({"total": total, "direct": own, "indirect": total - own}[kind], posterior)


def _labelled(values: np.ndarray, posterior: xr.Dataset) -> xr.DataArray:
    coords = {k: posterior[k] for k in ("chain", "draw")}
    return xr.DataArray(values.reshape(posterior.sizes["chain"], posterior.sizes["draw"]), coords, ("chain", "draw"))


def _contextual(structure: Structure) -> list[Estimand]:
    """Between minus within path of the same two variables (Lüdtke et al., 2008)."""
    if not structure.two_level:
        return []
    within, between = (
        {(r.lhs, r.rhs): r for r in structure.table.at(k) if r.op == "~" and not r.slope} for k in structure.levels
    )
    return [
        Estimand(
            f"contextual effect of {x} on {y}",
            f"path from {x} to {y} between clusters minus that within",
            partial(_difference, structure=structure, one=between[y, x], two=within[y, x]),
            header="contextual effects",
        )
        for y, x in within
        if (y, x) in between and x in structure.both
    ]


def _difference(posterior, design, *, structure: Structure, one: Row, two: Row):
    return (
        row_draws(structure, posterior, one)
        - row_draws(structure, posterior, two)
        + 0.0 * posterior["chain"] * posterior["draw"]
    )


def variances(structure: Structure, m: Matrices, posterior: xr.Dataset, design: xr.Dataset, level: int) -> np.ndarray:
    """Implied covariances of all variables of a level, covariates included as they are in the data: (draw, M, M).

    With contexts, averaged over clusters, the means between contexts included.
    """
    t = stacked(structure, posterior)
    S, K = implied(m, t)
    array, first = (design["X"], 1) if level == 0 else (design["Z"], 2 + design.sizes["within_covariate"])
    covariates = array.to_numpy()
    q = np.column_stack([np.ones(len(covariates)), covariates])
    K = K[:, level, :, :, first - 1 : first + covariates.shape[1]]
    context = design["context"].to_numpy() if len(m.slots) > 1 else np.zeros(len(q), int)
    share = np.bincount(context, minlength=len(m.slots)) / len(context)
    out = np.einsum("c,scij->sij", share, S[:, level])
    second, mean = np.zeros_like(out), np.zeros(out.shape[:2])
    for c in range(len(m.slots)):
        mine = q[context == c]
        if len(mine):
            second += np.einsum("siq,qr,sjr->sij", K[:, c], mine.T @ mine / len(q), K[:, c], optimize=True)
            mean += np.einsum("siq,q->si", K[:, c], mine.sum(0) / len(q))
    return out + second - mean[:, :, None] * mean[:, None, :]


def _icc(structure: Structure, m: Matrices, name: str) -> Callable:
    def share(posterior, design):
        i = structure.observed.index(name)
        within, between = (variances(structure, m, posterior, design, k)[:, i, i] for k in (0, 1))
        return _labelled(between / (within + between), posterior)

    return share


def _share(structure: Structure, m: Matrices, level: str, name: str) -> Callable:
    def explained(posterior, design):
        total = variances(structure, m, posterior, design, structure.levels.index(level))
        i = structure.variables(level).index(name)
        residual = row_draws(structure, posterior, structure.sd(level, name))
        residual = residual if isinstance(residual, float) else residual.transpose("chain", "draw").to_numpy().ravel()
        return _labelled(1 - residual / total[:, i, i], posterior)

    return explained


def _standardised(structure: Structure, m: Matrices, row: Row, y: str, x: str) -> Callable:
    def value(posterior, design):
        level, names = structure.levels.index(row.level), structure.variables(row.level)
        total = variances(structure, m, posterior, design, level)
        variance = (
            total[:, names.index(x), names.index(x)] if x in names else _spread(structure, design, row.level, x) ** 2
        )
        path = row_draws(structure, posterior, row)
        ratio = _labelled(np.sqrt(variance / total[:, names.index(y), names.index(y)]), posterior)
        return path * ratio

    return value


def _spread(structure: Structure, design: xr.Dataset, level: str, x: str) -> float:
    """SD of a covariate over the rows, or the clusters."""
    k = structure.covariates(level).index(x)
    return float(design["X" if level == structure.levels[0] else "Z"].to_numpy()[:, k].std())
