"""Effects along paths that depend on another variable: at values of the moderator, and how they change with it.

A covariate z that multiplies a variable on the way from x to y makes the effect of x one at each value of z (conditional
indirect effects; Preacher, Rucker & Hayes, 2007, doi:10.1080/00273170701341316). If x itself multiplies a mediator M, a change
from x0 to x1 is split by potential outcomes Y(x, M(x')) (Valeri & VanderWeele, 2013, doi:10.1037/a0031034):

    total            E Y(x1, M(x1)) - E Y(x0, M(x0))
    pure direct      E Y(x1, M(x0)) - E Y(x0, M(x0)),    total indirect   E Y(x1, M(x1)) - E Y(x1, M(x0))
    total direct     E Y(x1, M(x1)) - E Y(x0, M(x1)),    pure indirect    E Y(x0, M(x1)) - E Y(x0, M(x0))

The model is linear in everything but x and z, so that expectations are its equations at expected values: in the model with x
and z at their values, f = c q + B f. Paths within clusters that are random slopes have the expectation of their products given z
(`sem_varying`).

A latent or modelled variable z that multiplies another one on the way is set to its values likewise, its own equation cut; by
default to its mean and an SD around it, as the model implies them in every draw. If x leads to both members M1, M2 of a product,
or multiplies a mediator, E M1 M2 = E M1 E M2 + Cov(M1, M2), with the covariance that is left with x set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import xarray as xr

from bayeshte.errors import SpecError, near
from bayeshte.families import sem_varying
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_moments import covariances
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, cells
from bayeshte.marginal.structural_products import Law, regressors
from bayeshte.model_text import Row
from bayeshte.spec import Estimand

FEW = 5  # values of a moderator that are all shown


@dataclass(frozen=True)
class Spread:
    """The mean of a modelled variable and `sds` SDs, as the model implies them in every draw."""

    sds: int

    def __str__(self):
        return ("mean - SD", "mean", "mean + SD")[self.sds + 1]


HEADER = "conditional effects"
NATURAL = {
    "total": "along all ways",
    "pure direct": "by itself, mediators as they are at {0:g}",
    "total indirect": "in the mediators only, for those who have {1:g}",
    "total direct": "by itself, mediators as they are at {1:g}",
    "pure indirect": "in the mediators only, for those who have {0:g}",
}


def moderated(
    structure: Structure,
    m: Matrices,
    design: xr.Dataset,
    level: str,
    cause: str,
    outcome: str,
    at: Mapping[str, Sequence[float]] | None = None,
    change: tuple[float, float] = (0.0, 1.0),
) -> list[Estimand]:
    """Effects of `cause` on `outcome` at values of their moderators, (chain, draw, at), and their change per unit of each.

    Empty if nothing moderates the effect. `at` has values for some moderators, by default all of up to five, else the mean
    and an SD around it; other covariates are at their means.
    """
    found = _ways(structure, level, cause, outcome)
    by = _moderators(structure, level, found, cause)
    bends = _bends(structure, level, found, cause)
    interacts = (cause in structure.moderators or bends) and any(len(w) > 1 for w in found)
    if not by and not interacts and not bends:
        return []
    means = covariate_means(structure, design)
    grid = {v: list((at or {}).get(v) or usual_values(structure, design, v)) for v in by}
    points = [means | dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    labels = [_label({v: point[v] for v in grid}) for point in points]
    kinds = _kinds(found, interacts, change)
    where, out = f", {level}" if level else "", []
    for kind, text in kinds.items():
        draws = _at_points(structure, m, level, (cause, outcome, found), kind, points, labels, change)
        name = f"{kind} effect of {cause} on {outcome}{where}"
        out.append(Estimand(name, text, draws, level=level, header=HEADER))
        if len(kinds) == 1 or kind.endswith("indirect"):
            out += [_index(out[-1], v, grid) for v in grid if len(grid[v]) > 1 and isinstance(grid[v][0], (int, float))]
    return out


def covariate_means(structure: Structure, design: xr.Dataset) -> dict[str, float]:
    """Means of the covariates, over rows within and over clusters between."""
    return {v: float(values.mean()) for v, values in _covariates(structure, design).items()}


def usual_values(structure: Structure, design: xr.Dataset, name: str) -> list[float] | list[Spread]:
    """All values of a covariate, or if these are many its mean and an SD around it; the latter of what is modelled."""
    covariates = _covariates(structure, design)
    if name not in covariates:
        return [Spread(k) for k in (-1, 0, 1)]
    values = covariates[name]
    found = np.unique(values)
    return found.tolist() if len(found) <= FEW else (values.mean() + values.std(ddof=1) * np.array([-1, 0, 1])).tolist()


def check(structure: Structure, level: str, cause: str, outcome: str, at: Mapping[str, Sequence[float]] | None) -> None:
    """Refuse what no effect is, and values of what moderates none."""
    names = structure.table.names(level)
    for name in (cause, outcome):
        if name not in names:
            raise SpecError(f"{name!r} is not in the model{level and f' {level} clusters'}.{near(name, names)}")
    found = _ways(structure, level, cause, outcome)
    if not found:
        raise SpecError(f"No path leads from {cause!r} to {outcome!r}{level and f' {level} clusters'}.")
    by = _moderators(structure, level, found, cause)
    for name, values in (at or {}).items():
        if name not in by:
            raise SpecError(f"{name!r} does not moderate the effect of {cause!r} on {outcome!r}.{near(name, by)}")
        if not len(values) or not np.isfinite(np.asarray(values, float)).all():
            raise SpecError(f"at={{{name!r}: {values!r}}}: give one or more numbers.")


def _covariates(structure: Structure, design: xr.Dataset) -> dict[str, np.ndarray]:
    """Values of plain covariates by name; moderators by cluster, or by row with one level."""
    slots = design["slots"].to_numpy()[design["context"].to_numpy()]
    out = {v: slots[:, k] for k, v in enumerate(structure.moderators)}
    for array, dim in (("X", "within_covariate"), ("Z", "between_covariate")):
        if array in design:
            given = zip(design[dim].to_numpy(), design[array].to_numpy().T, strict=True)
            out = {str(v): x for v, x in given if ":" not in str(v)} | out
    return out


def _ways(structure: Structure, level: str, cause: str, outcome: str) -> list[list[Row]]:
    """Ways along paths, loadings of factors among them; a product starts a way from each of its parts."""
    out = []
    for r in structure.table.at(level):
        to = {"~": r.lhs, "=~": r.rhs}.get(r.op)
        if to and cause in (r.parts if r.op == "~" else (r.lhs,)):
            out += [[r]] if to == outcome else [[r, *rest] for rest in _ways(structure, level, to, outcome)]
    return out


def _moderators(structure: Structure, level: str, found: list[list[Row]], cause: str) -> list[str]:
    """What multiplies a path on a way and does not depend on the cause, or predicts a random slope which is one."""
    rows = [r for way in found for r in way]
    out = [
        v for r in rows if r.op == "~" and ":" in r.rhs for v in r.parts if v != cause and _plain(structure, r.level, v)
    ]
    for slope in (r.slope for r in rows if r.slope):
        out += [v for r in structure.table.at("between") if r.op == "~" and r.lhs == slope for v in r.parts]
    between = structure.levels[-1]
    modelled = [v for r in rows if r in structure.interactions(level) for v in r.parts]
    modelled = [v for v in dict.fromkeys(modelled) if not structure.table.leads(level, cause, v)]
    return [v for v in dict.fromkeys(out) if _plain(structure, level, v) or _plain(structure, between, v)] + modelled


def _bends(structure: Structure, level: str, found: list[list[Row]], cause: str) -> bool:
    """Whether the cause leads to both members of a product on a way, or is one and leads to the other."""
    rows = [r for way in found for r in way if r in structure.interactions(level)]
    return any(all(structure.table.leads(level, cause, v) for v in r.parts) for r in rows)


def _plain(structure: Structure, level: str, name: str) -> bool:
    """Whether a level conditions on a variable."""
    return name in structure.table.conditioned(level)


def _kinds(found: list[list[Row]], interacts: bool, change: tuple[float, float]) -> dict[str, str]:
    """The effects that are told apart, with their definitions."""
    by = f"{change[0]:g} to {change[1]:g}"
    if interacts:
        return {k: f"effect of a change from {by} {text.format(*change)}" for k, text in NATURAL.items()}
    texts = {"total": "all ways", "direct": "the path by itself", "indirect": "the ways through other variables"}
    there = {"direct": any(len(w) == 1 for w in found), "indirect": any(len(w) > 1 for w in found)}
    return {
        k: f"effect of a change from {by} along {text}"
        for k, text in texts.items()
        if k == "total" or all(there.values())
    }


def _at_points(structure, m, level, effect, kind, points, labels, change) -> Callable:
    """Draws of one kind of effect at every point, (chain, draw, at)."""
    cause, outcome, found = effect

    def draws(posterior: xr.Dataset, design: xr.Dataset) -> xr.DataArray:
        t = stacked(structure, posterior)
        if any(r.slope for way in found for r in way):
            keep = [w for w in found if kind == "total" or (len(w) == 1) == (kind == "direct")]
            moments = [_slopes_at(structure, m, t, point) for point in points]
            values = [
                (change[1] - change[0]) * sem_varying.effect(structure, posterior, keep, *both) for both in moments
            ]
        else:
            spread = {v for point in points for v, x in point.items() if isinstance(x, Spread)}
            moments = {v: _moments(structure, m, t, design, level, v) for v in spread}
            values = [
                _changed(structure, m, t, level, cause, outcome, _numbers(point, moments), change)[kind]
                for point in points
            ]
        return _labelled(np.stack(values, axis=-1), posterior, labels)

    return draws


def _labelled(values: np.ndarray, posterior: xr.Dataset, labels: list[str]) -> xr.DataArray:
    coords = {k: posterior[k] for k in ("chain", "draw")} | {"at": labels}
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(labels))
    return xr.DataArray(values.reshape(shape), coords, ("chain", "draw", "at"))


def _changed(structure, m, t, level, cause, outcome, point, change) -> dict[str, np.ndarray]:
    """The effects of the module's docstring, (draw,) each; those of models without interaction by their plain names too."""
    names, own = structure.variables(level), [p for p in m.products if p.level == structure.levels.index(level)]
    y, x = names.index(outcome), names.index(cause) if cause in names else None
    worlds = [_world(structure, m, t, level, point | {cause: value}) for value in change]

    def expected(at: int, mediators: int) -> np.ndarray:
        """E Y(x, M(x')), x and x' by their place in `change`."""
        _, B, constant, G = worlds[at].model
        given = worlds[mediators].mean.copy()
        if x is not None:
            given[:, x] = change[at]
        products = [given[:, p.known] * given[:, p.other] + worlds[mediators].S[:, p.known, p.other] for p in own]
        return constant[:, y] + (B[:, y] * given).sum(-1) + sum(G[:, y, k] * p for k, p in enumerate(products))

    y00, y01, y10, y11 = (expected(at, mediators) for at, mediators in product((0, 1), repeat=2))
    out = {"total": y11 - y00, "pure direct": y10 - y00, "total indirect": y11 - y10}
    out |= {"total direct": y11 - y01, "pure indirect": y01 - y00}
    return out | {"direct": out["pure direct"], "indirect": out["total indirect"]}


@dataclass(frozen=True)
class _World:
    """A level with variables set: its model (Psi, B, c q, coefficients of products), means and covariances of its variables.

    The latter two are those of variables that descend from products only as far as products have no variance.
    """

    model: tuple[np.ndarray, ...]
    mean: np.ndarray
    S: np.ndarray


def _world(structure, m, t, level, point) -> _World:
    """The model with the covariates, and modelled variables among them, set to values."""
    names, k = structure.variables(level), structure.levels.index(level)
    own = [p for p in m.products if p.level == k]
    Psi, B, constant = _model_at(structure, m, t, level, {v: x for v, x in point.items() if v not in names})
    G = Law.of(m, t, level=k).G
    for v, value in point.items():
        if v in names:  # its equation is cut
            k = names.index(v)
            B[:, k] = G[:, k] = Psi[:, k] = Psi[:, :, k] = 0.0
            constant[:, k] = value
    A = np.linalg.inv(np.eye(m.size) - B)
    S, mean = A @ Psi @ A.swapaxes(-1, -2), (A @ constant[..., None])[..., 0]
    for k, p in enumerate(own):
        mean = (
            mean
            + A[:, :, p.row]
            * (G[:, p.row, k] * (mean[:, p.known] * mean[:, p.other] + S[:, p.known, p.other]))[:, None]
        )
    return _World((Psi, B, constant, G), mean, S)


def _moments(structure, m, t, design, level, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD (draw,) over rows or clusters of a modelled variable of a level that descends from no product."""
    at, data = structure.levels.index(level), data_of(design)
    k, q = structure.variables(level).index(name), regressors(data, at)
    context = data.context if len(data.context) == len(q) else np.zeros(len(q), int)
    mean = sum((Law.of(m, t, c, at).K[:, k] @ q[context == c].T).sum(1) for c in np.unique(context)) / len(q)
    return mean, np.sqrt(covariances(structure, m, t, design, at)[:, k, k])


def _numbers(point: Mapping[str, float | Spread], moments: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict:
    """A point with the model's means and SDs in place of `Spread`."""
    return {v: moments[v][0] + x.sds * moments[v][1] if isinstance(x, Spread) else x for v, x in point.items()}


def _model_at(structure, m, t, level, point) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Psi, B (draw, M, M) and c q (draw, M) with the covariates at values."""
    slots = np.array([[point[v] for v in structure.moderators]])
    Psi, B, c = cells(replace(m, slots=slots), t, structure.levels.index(level))
    q = [
        np.prod([point[v] for v in name.split(":") if v]) if own == level else 0.0 for own, name in structure.regressors
    ]
    return Psi, B, c @ np.array(q)


def _slopes_at(structure, m, t, point) -> tuple[np.ndarray, np.ndarray]:
    """Mean (draw, slope) and covariance (draw, slope, slope) of the random slopes of clusters with these covariates."""
    Psi, B, constant = _model_at(structure, m, t, "between", point)
    A, at = np.linalg.inv(np.eye(m.size) - B), np.array([s.variable for s in m.slopes])
    mean, S = (A @ constant[..., None])[..., 0], A @ Psi @ A.swapaxes(-1, -2)
    return mean[:, at], S[:, at[:, None], at]


def _index(effect: Estimand, name: str, grid: Mapping[str, Sequence[float]]) -> Estimand:
    """Change of an effect per unit of a moderator, between its first and last value, at values of the others."""
    first, last = grid[name][0], grid[name][-1]
    others = {v: values for v, values in grid.items() if v != name}
    labels = [_label(dict(zip(others, values, strict=True))) for values in product(*others.values())]

    def draws(posterior: xr.Dataset, design: xr.Dataset) -> xr.DataArray:
        x = effect.draws(posterior, design).to_numpy()
        x = x.reshape(*x.shape[:2], *(len(v) for v in grid.values()))
        low, high = (np.take(x, k, axis=2 + [*grid].index(name)) for k in (0, -1))
        return _labelled((high - low) / (last - first), posterior, labels)

    what = "index of moderated mediation" if "indirect" in effect.name else "moderation"
    text = f"change of the effect per unit of {name}, from {first:.4g} to {last:.4g} (Hayes, 2015)"
    return Estimand(f"{what} by {name}: {effect.name}", text, draws, "coefficient", level=effect.level, header=HEADER)


def _label(values: Mapping[str, float | Spread]) -> str:
    return ", ".join(f"{v} = {x if isinstance(x, Spread) else format(x, '.4g')}" for v, x in values.items())
