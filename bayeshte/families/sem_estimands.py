"""What a paper reports of a structural equation model: effects along paths, contextual effects, variance explained."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import xarray as xr

from bayeshte.families import sem_probabilities, sem_varying
from bayeshte.families.sem_draws import row_draws, stacked
from bayeshte.families.sem_moderation import moderated
from bayeshte.families.sem_moments import covariances
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, cells
from bayeshte.model_text import Row
from bayeshte.model_text.parts import MEAN, observed_part, split
from bayeshte.spec import Estimand

#: which of the headings has what a first look needs: the first that is there
HEADLINES = (
    "derived",
    "effects along paths",
    "effects on probabilities",
    "conditional effects",
    "contextual effects",
    "R-square",
)


def estimands(structure: Structure, m: Matrices, design: xr.Dataset) -> list[Estimand]:
    """Derived quantities; effects along paths, R-square and standardised paths by level; contextual effects; loadings; ICC."""
    out = [
        Estimand(name, expression.text, partial(_derived, name=name), header="derived")
        for name, expression in structure.table.derived
    ]
    for level in structure.levels:
        out += _effects(structure, m, level, design)
        out += sem_probabilities.effects(structure, m, design, level) if structure.links else []
        out += _explained(structure, m, level)
    out += [*_contextual(structure), *_loadings(structure), *_iccs(structure, m)]
    found = {e.header for e in out}
    leading = next((h for h in HEADLINES if h in found), "")
    return [replace(e, headline=e.header == leading) for e in out]


def _explained(structure: Structure, m: Matrices, level: str) -> list[Estimand]:
    """R-square of what is explained, and standardised paths and loadings."""
    where, out = f", {level}" if level else "", []
    clusters = ", averaged over clusters" if structure.table.slopes and level == "within" else ""
    for v in structure.table.endogenous(level):
        text = f"share of the variance of {v} that its predictors explain{where and f', {level} clusters'}{clusters}"
        draws = _share(structure, m, level, v)
        out.append(Estimand(f"R-square of {v}{where}", text, draws, "share", level=level, header="R-square"))
    for row in structure.table.at(level):
        if row.op in ("~", "=~") and row not in structure.products(level):
            y, x = (row.lhs, row.rhs) if row.op == "~" else (row.rhs, row.lhs)
            text = f"SDs of {y} for an SD of {x}, as the model implies them{clusters}"
            if row in structure.interactions(level):
                text = (
                    f"path of the product in SDs of {y}, {' and '.join(row.parts)} in theirs (Wen, Marsh & Hau, 2010)"
                )
            given = {"scale": "coefficient", "level": level, "header": "standardised"}
            out.append(Estimand(f"standardised {row.name}", text, _standardised(structure, m, row, y, x), **given))
    return out


def _iccs(structure: Structure, m: Matrices) -> list[Estimand]:
    text, given = "share of the variance of {} that lies between clusters", {"scale": "share", "header": "ICC"}
    varies = [
        v for v in structure.both if structure.sd("between", v).fixed != 0 or v in structure.table.endogenous("between")
    ]
    return [Estimand(f"ICC of {v}", text.format(v), _icc(structure, m, v), **given) for v in varies]


def _derived(posterior, design, *, name):
    return posterior["derived"].sel(quantity=name, drop=True)


def _effects(structure: Structure, m: Matrices, level: str, design: xr.Dataset) -> list[Estimand]:
    """Total and indirect effects of what has an indirect way to a variable; conditional ones of what something moderates."""
    table, index = structure.table, structure.levels.index(level)
    paths = {}
    for r in table.at(level):
        for part in r.parts if r.op == "~" else ():
            paths.setdefault(part, []).append(r.lhs)
    products = any(":" in r.rhs for r in table.at(level))
    suffix = f", {level}" if level else ""
    out = []
    for x in paths:
        beyond = {w for v in _reached(paths, x) for w in paths.get(v, [])}
        for y in _reached(paths, x):
            found = moderated(structure, m, design, level, x, y) if products else []
            out += found
            if found or y not in beyond:
                continue
            through = ", ".join(v for v in _reached(paths, x) if y in _reached(paths, v))
            kinds = {"total": f"sum over all ways from {x} to {y}", "indirect": f"sum over all ways through {through}"}
            if y in paths[x]:
                kinds["direct"] = f"path from {x} to {y} by itself"
            if structure.table.slopes and level == "within":
                out += _varying(structure, m, x, y, kinds)
                continue
            for kind, text in kinds.items():
                draws = partial(_along, structure=structure, m=m, level=index, x=x, y=y, kind=kind)
                name = f"{kind} effect of {x} on {y}{suffix}"
                out.append(Estimand(name, text, draws, level=level, header="effects along paths"))
    return out


def _varying(structure: Structure, m: Matrices, x: str, y: str, kinds: dict[str, str]) -> list[Estimand]:
    """Effects along paths that may vary between clusters, with and without the covariance of their slopes."""
    out = []
    for kind, text in kinds.items():
        found = [
            w
            for w in sem_varying.ways(structure.table.at("within"), x, y)
            if kind == "total" or (len(w) == 1) == (kind == "direct")
        ]
        together = any(sum(bool(r.slope) for r in w) > 1 for w in found)
        varies = any(r.slope for w in found for r in w)
        where = ", averaged over the population of clusters" if varies else ""
        for covary in (True, False) if together else (True,):
            note = "" if covary else ", without the covariance of slopes"
            more = (
                (", the covariance of slopes included" if covary else ": the product of average slopes")
                if together
                else ""
            )

            def draws(posterior, design, found=found, covary=covary):
                mean, cov = sem_varying.slope_moments(structure, m, posterior, design)
                values = sem_varying.effect(structure, posterior, found, mean, cov if covary else 0.0 * cov)
                return _labelled(values, posterior)

            name = f"{kind} effect of {x} on {y}, within{note}"
            out.append(Estimand(name, f"{text}{where}{more}", draws, level="within", header="effects along paths"))
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
    """Between minus within path of the same two variables (Lüdtke et al., 2008), observed ones or factors on one scale."""
    if not structure.two_level:
        return []
    within, between = (
        {(r.lhs, r.rhs): r for r in structure.table.at(k) if r.op == "~" and not r.slope} for k in structure.levels
    )
    same = {v: v for v in structure.both} | {w: b for w, b, _ in _pairs(structure)}
    same |= {v: observed_part(MEAN, split(v)[1]) for v in structure.table.names("within") if split(v)[0]}
    products = [r for level in structure.levels for r in structure.interactions(level)]
    moderated = {(r.lhs, v) for r in products for v in r.parts}  # their paths are effects where the other one is 0
    out = []
    for (y, x), row in within.items():
        if y in same and x in same and (same[y], same[x]) in between:
            if {(y, x), (same[y], same[x])} & moderated:
                continue
            name, text = f"contextual effect of {split(same[x])[1]} on {same[y]}", f"path from {same[x]} to {same[y]}"
            that = "that" if (same[y], same[x]) == (y, x) else f"that from {x} to {y}"
            draws = partial(_difference, structure=structure, one=between[same[y], same[x]], two=row)
            out.append(
                Estimand(name, f"{text} between clusters minus {that} within", draws, header="contextual effects")
            )
    return out


def _loadings(structure: Structure) -> list[Estimand]:
    """Between minus within loading of the indicators of a factor on both levels (Mehta & Neale, 2005)."""
    out, pairs = [], _pairs(structure)
    indicators = [y for w, *_ in pairs for y in _measured(structure, "within", w)]
    for w, b, anchors in pairs:
        two, one = (_measured(structure, level, f) for level, f in (("within", w), ("between", b)))
        for y in one:
            if not _equal(one[y], two[y]):
                on = f" on {b}" if indicators.count(y) > 1 else ""
                text = f"loading on {b} between clusters minus that on {w} within, if {' and '.join(anchors)} "
                text += f"measure{'s' * (len(anchors) == 1)} alike on both levels"
                draws = partial(_difference, structure=structure, one=one[y], two=two[y])
                given = {"scale": "coefficient", "header": "loading invariance"}
                out.append(Estimand(f"loading of {y}{on}, between minus within", text, draws, **given))
    return out


def _pairs(structure: Structure) -> list[tuple[str, str, list[str]]]:
    """Factors (within, between) with the same indicators and one scale, and the indicators whose loadings are held equal.

    Those make the scales one: without any, differences of loadings and paths would be differences of units.
    """
    if not structure.two_level:
        return []
    within, between = ({f: _measured(structure, k, f) for f in structure.table.factors(k)} for k in structure.levels)
    out = []
    for w, two in within.items():
        others = [b for b, one in between.items() if one.keys() == two.keys()]
        alone = sum(rows.keys() == two.keys() for rows in within.values()) == len(others) == 1
        anchors = [y for y in two if _equal(between[others[0]][y], two[y])] if alone else []
        if anchors:
            out.append((w, others[0], anchors))
    return out


def _measured(structure: Structure, level: str, factor: str) -> dict[str, Row]:
    """Rows of the loadings of a factor, by indicator."""
    return {r.rhs: r for r in structure.table.at(level) if r.op == "=~" and r.lhs == factor}


def _equal(one: Row, two: Row) -> bool:
    """Whether two loadings are the same number: fixed at one value, or one parameter."""
    return one.fixed == two.fixed and (one.fixed is not None or (bool(one.label) and one.label == two.label))


def _difference(posterior, design, *, structure: Structure, one: Row, two: Row):
    return (
        row_draws(structure, posterior, one)
        - row_draws(structure, posterior, two)
        + 0.0 * posterior["chain"] * posterior["draw"]
    )


def _icc(structure: Structure, m: Matrices, name: str) -> Callable:
    def share(posterior, design):
        i = structure.observed.index(name)
        if structure.table.slopes:
            within = sem_varying.averaged(structure, m, posterior, design, lambda _, S: S[:, i, i])
            between = covariances(structure, m, stacked(structure, posterior), design, 1)[:, i, i]
            return _labelled(between / (within + between), posterior)
        within, between = (covariances(structure, m, stacked(structure, posterior), design, k)[:, i, i] for k in (0, 1))
        return _labelled(between / (within + between), posterior)

    return share


def _share(structure: Structure, m: Matrices, level: str, name: str) -> Callable:
    def explained(posterior, design):
        i = structure.variables(level).index(name)
        residual = _flat(row_draws(structure, posterior, structure.sd(level, name)))
        if structure.table.slopes and level == "within":
            return _labelled(
                sem_varying.averaged(structure, m, posterior, design, lambda _, S: 1 - residual / S[:, i, i]), posterior
            )
        total = covariances(structure, m, stacked(structure, posterior), design, structure.levels.index(level))
        return _labelled(1 - residual / total[:, i, i], posterior)

    return explained


def _standardised(structure: Structure, m: Matrices, row: Row, y: str, x: str) -> Callable:
    def value(posterior, design):
        names, covariates = structure.variables(row.level), structure.covariates(row.level)
        parts = row.parts if row in structure.interactions(row.level) else (x,)
        i, j = names.index(y), [names.index(v) if v in names else m.size + covariates.index(v) for v in parts]
        if structure.table.slopes and row.level == "within":
            which = structure.table.slopes.index(row.slope) if row.slope else None
            fixed = None if row.slope else _flat(row_draws(structure, posterior, row))

            def ratio(slopes, S):
                return (slopes[:, which] if row.slope else fixed) * np.sqrt(S[:, j[0], j[0]] / S[:, i, i])

            return _labelled(sem_varying.averaged(structure, m, posterior, design, ratio), posterior)
        S = covariances(structure, m, stacked(structure, posterior), design, structure.levels.index(row.level))
        path = _flat(row_draws(structure, posterior, row))
        variance = np.prod([S[:, k, k] for k in j], axis=0)
        return _labelled(path * np.sqrt(variance / S[:, i, i]), posterior)

    return value


def _flat(values: xr.DataArray | float) -> np.ndarray | float:
    """Draws of a row with chains stacked; a fixed one as it is."""
    return values if isinstance(values, float) else values.transpose("chain", "draw").to_numpy().ravel()
