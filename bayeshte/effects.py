"""Estimands as draws and as tables: for whom, where, by how much."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte.errors import DataError, SpecError, near
from bayeshte.families import SEM, sem_moderation
from bayeshte.families.sem_matrices import matrices
from bayeshte.spec import Estimand
from bayeshte.summary import COLUMNS, LEVEL, rows

if TYPE_CHECKING:
    from bayeshte.fit import Fit


CATE_ROWS = 1_000_000  # rows that `cate` codes at once


def effect_draws(fit: "Fit", estimand: str) -> xr.DataArray:
    """Draws of an estimand by name: dims ``chain, draw`` and the contrasts.

    Raises
    ------
    SpecError
        If the model has no such estimand; the message lists those it has.
    """
    found = {e.name: e for e in fit.spec.estimands(fit.design)}
    if estimand not in found:
        raise SpecError(f"No estimand {estimand!r}.{near(estimand, found)}")
    return found[estimand].draws(fit.posterior, fit.design).rename(estimand)


def effects(
    fit: "Fit",
    meaningful: float | None = None,
    rope: tuple[float, float] | None = None,
    *,
    headline: bool = False,
    interval: str = "eti",
    level: float = LEVEL,
) -> pd.DataFrame:
    """The estimands of a fit, one a row, each saying over what it averages.

    Parameters
    ----------
    fit : Fit
    meaningful : float, optional
        The smallest effect that matters, on the scale of the effect. Adds ``p_meaningful`` = P(effect > meaningful), or
        P(effect < meaningful) for a negative threshold, and rows with the share of clusters beyond it (per draw).
    rope : (float, float), optional
        Region of practical equivalence. Adds ``p_rope`` = P(effect inside).
    headline : bool
        Only what a first look needs.
    interval, level
        As in `bh.summary`.

    Returns
    -------
    DataFrame
        Columns ``estimand, contrast, definition``, then the common schema without ``parameter``. Structural equation models
        put ``level, header`` in front.
    """
    found = fit.spec.estimands(fit.design)
    parts = _parts(fit, [e for e in found if e.headline or not headline], meaningful, rope, interval, level)
    if meaningful is not None and "effect" in fit.posterior and not headline:
        parts.append(_shares(fit, meaningful, interval, level))
    out = _table(fit, parts, meaningful, rope)
    out.attrs["scales"] = {e.name: e.scale for e in found}
    return out


def conditional_effects(
    fit: "Fit",
    cause: str,
    outcome: str,
    at: Mapping[str, Sequence[float]] | None = None,
    *,
    change: tuple[float, float] = (0.0, 1.0),
    where: str | None = None,
    meaningful: float | None = None,
    rope: tuple[float, float] | None = None,
    interval: str = "eti",
    level: float = LEVEL,
) -> pd.DataFrame:
    """Total, direct and indirect effects in a structural equation model at values of what moderates them.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.SEM`.
    cause, outcome : str
        Variables with a way along paths from the first to the second.
    at : mapping of str to sequence of float, optional
        Values of moderators, ``{"ses": [-1, 0, 1]}``; by default all values of one that has at most five, else its mean and
        an SD around it; of a latent or modelled one those that the model implies. Other covariates are at their means.
    change : (float, float)
        From which value of the cause to which. It matters where the cause multiplies a mediator: the total effect is then
        split in two ways, pure direct + total indirect and total direct + pure indirect (Valeri & VanderWeele, 2013).
    where : {"within", "between"}, optional
        The level; by default the one with both variables, between clusters first.
    meaningful, rope, interval, level
        As in `bh.effects`.

    Returns
    -------
    DataFrame
        As `bh.effects`, with the values of the moderators as ``contrast``, and rows with the change of an indirect effect per
        unit of a moderator (the index of moderated mediation; Hayes, 2015).

    Raises
    ------
    SpecError
        For another family, without a way from one to the other, or if nothing moderates the effect.
    """
    if not isinstance(fit.spec, SEM):
        raise SpecError("Conditional effects along paths are those of a bh.SEM: use bh.cate or bh.subgroups.")
    s = fit.spec.structure_of(fit.posterior)
    where = where or next((v for v in reversed(s.levels) if {cause, outcome} <= {*s.table.names(v)}), s.levels[0])
    if where not in s.levels:
        raise SpecError(f"where={where!r}: the model has {"'within' and 'between'" if s.two_level else 'one level'}.")
    sem_moderation.check(s, where, cause, outcome, at)
    m = matrices(s, fit.design["slots"].to_numpy())
    found = sem_moderation.moderated(s, m, fit.design, where, cause, outcome, at, change)
    if not found:
        raise SpecError(f"Nothing moderates the effect of {cause!r} on {outcome!r}: bh.effects(fit) has it.")
    out = _table(fit, _parts(fit, found, meaningful, rope, interval, level), meaningful, rope)
    out.attrs["scales"] = {e.name: e.scale for e in found}
    return out


def _parts(fit: "Fit", found: Sequence[Estimand], meaningful, rope, interval: str, level: float) -> list[pd.DataFrame]:
    """Rows of estimands, a table each."""
    parts, grouped = [], any(e.header for e in found)
    for e in found:
        values = e.draws(fit.posterior, fit.design).rename(e.name)
        part = rows(values, interval, level).drop(columns="parameter")
        part.insert(0, "definition", e.definition)
        part.insert(0, "contrast", _contrasts(values, fit))
        part.insert(0, "estimand", e.name)
        if grouped:
            part.insert(0, "header", e.header)
            part.insert(0, "level", e.level)
        if e.scale == "effect":
            _add_probabilities(part, values, meaningful, rope)
        parts.append(part)
    return parts


def _table(fit: "Fit", parts: list[pd.DataFrame], meaningful, rope=None) -> pd.DataFrame:
    """One table, marked with the verdict and the thresholds its probabilities refer to."""
    empty = pd.DataFrame(columns=["estimand", "contrast", "definition", *COLUMNS[1:]])
    out = pd.concat(parts, ignore_index=True) if parts else empty
    out.attrs |= {k: v for k, v in (("meaningful", meaningful), ("rope", rope)) if v is not None}
    return mark(fit, out)


def mark(fit: "Fit", table: pd.DataFrame) -> pd.DataFrame:
    """What a table of a fit says of it: the verdict, and in ``attrs`` how many clusters there are."""
    cluster = fit.design.attrs["cluster"]
    if cluster:
        table.attrs["clusters"] = f"{fit.design.sizes[cluster]:,} clusters of {cluster}"
    return fit.diagnosis.mark(table)


def _contrasts(values: xr.DataArray, fit: "Fit") -> list[str]:
    reference = fit.design.attrs["reference"]
    dims = [d for d in values.dims if d not in ("chain", "draw")]
    if not dims:
        return [""]
    labels = [str(v) for v in values[dims[0]].to_numpy()]
    return [f"{v} vs {reference}" for v in labels] if dims[0] == fit.design.attrs["treatment"] else labels


def _add_probabilities(part: pd.DataFrame, values: xr.DataArray, meaningful, rope) -> None:
    x = values.transpose("chain", "draw", ...).to_numpy()
    x = x.reshape(x.shape[0] * x.shape[1], -1)
    if meaningful is not None:
        part["p_meaningful"] = beyond(x, meaningful).mean(0)
    if rope is not None:
        low, high = rope
        if not low < high:
            raise SpecError(f"rope={rope!r}: two numbers, the smaller first.")
        part["p_rope"] = ((x > low) & (x < high)).mean(0)


def beyond(x, threshold: float):
    """Whether an effect is beyond a threshold: above a positive (or zero) one, below a negative one."""
    return x > threshold if threshold >= 0 else x < threshold


def units(design: xr.Dataset) -> tuple[str, np.ndarray, str]:
    """What has effects of its own: its dim, which one each row belongs to, and what to call them, clusters or items."""
    if "item" in design.attrs:
        return design.attrs["item"], design["item_code"].to_numpy(), "items"
    return design.attrs["cluster"], design["cluster_code"].to_numpy(), "clusters"


def _shares(fit: "Fit", threshold: float, interval: str, level: float) -> pd.DataFrame:
    """Share of clusters (or items) whose effect is beyond the threshold, computed in every draw."""
    dim, _, what = units(fit.design)
    values = beyond(fit.posterior["effect"], threshold).mean(dim).rename("share")
    part = rows(values, interval, level).drop(columns="parameter")
    sign = ">" if threshold >= 0 else "<"
    part.insert(0, "definition", f"share of these {fit.design.sizes[dim]} {what} with an effect {sign} {threshold:g}")
    part.insert(0, "contrast", _contrasts(values, fit))
    part.insert(0, "estimand", f"share of {what} {sign} {threshold:g}")
    return part


def cluster_effects(
    fit: "Fit", meaningful: float | None = None, interval: str = "eti", level: float = LEVEL
) -> pd.DataFrame:
    """Every cluster's effect (scale of the linear predictor), with its size by arm, sorted by estimate within contrast.

    Of an `ItemResponse` the effect on every item, in the column ``cluster``.

    Returns
    -------
    DataFrame
        ``cluster, contrast, n_reference, n_arm, one_arm``, then the common schema; ``one_arm`` marks clusters that have
        only one of the two arms, whose effect rests on the other clusters.
    """
    a = fit.design.attrs
    if "effect" not in fit.posterior:
        raise SpecError("There are no cluster effects: the model has no treatment or no clusters.")
    dim, code, _ = units(fit.design)
    table = pd.crosstab(pd.Series(code), pd.Series(fit.design["arm_code"].to_numpy())).to_numpy()
    parts = []
    for k, contrast in enumerate(fit.design[a["treatment"]].to_numpy()):
        values = fit.posterior["effect"].sel({a["treatment"]: contrast}, drop=True)
        part = rows(values, interval, level).drop(columns="parameter")
        part.insert(0, "one_arm", (table[:, 0] == 0) | (table[:, k + 1] == 0))
        part.insert(0, "n_arm", table[:, k + 1])
        part.insert(0, "n_reference", table[:, 0])
        part.insert(0, "contrast", f"{contrast} vs {a['reference']}")
        part.insert(0, "cluster", [str(v) for v in fit.design[dim].to_numpy()])
        if meaningful is not None:
            _add_probabilities(part, values, meaningful, None)
        parts.append(part.sort_values("estimate", kind="stable"))
    return _table(fit, parts, meaningful)


def cate(
    fit: "Fit",
    over: str,
    grid: Sequence | None = None,
    at: dict | None = None,
    clusters: str = "new",
) -> xr.DataArray:
    """Conditional average effect over the values of one column, everything else as it is in the data.

    Parameters
    ----------
    fit : Fit
    over : str
        A column of the moderators (or covariates, where the link is not the identity).
    grid : sequence, optional
        Values; by default 41 between the 1st and 99th percentile, or the categories.
    at : dict, optional
        Other columns to hold at a value: ``{"sex": "female"}``.
    clusters : {"new", "these", "average"}
        Whose random effects: integrated over their distribution, those of the clusters in the data, or zero.

    Returns
    -------
    DataArray
        Draws with dims ``chain, draw, <over>, <treatment>``.
    """
    treatment = _treatment(fit)
    frame = columns.raw_frame(fit.design)
    for name in [over, *(at or {})]:
        if name not in frame:
            raise DataError(f"Column {name!r} is not in the model.{near(name, frame.columns)}")
    frame = frame.assign(**(at or {}))
    if grid is None:
        grid = _grid(frame[over])
    arms = [str(v) for v in fit.design[f"{treatment}_arm"].to_numpy()]
    groups = max(1, CATE_ROWS // len(frame))
    parts = []
    for start in range(0, len(grid), groups):
        values = list(grid)[start : start + groups]
        stacked = pd.concat([frame.assign(**{over: value}) for value in values], ignore_index=True)
        if isinstance(frame[over].dtype, pd.CategoricalDtype):
            stacked[over] = pd.Categorical(stacked[over], categories=frame[over].cat.categories)
        weight = np.repeat(np.eye(len(values)), len(frame), axis=1) / len(frame)
        given = {"clusters": clusters, "frame": stacked, "weight": weight}
        means = [fit.spec.expected(fit.posterior, fit.design, arm=arm, **given) for arm in arms]
        parts.append(xr.concat([m - means[0] for m in means[1:]], dim=treatment).rename(group=over))
    out = xr.concat(parts, dim=over).assign_coords({over: list(grid), treatment: arms[1:]})
    return out.transpose("chain", "draw", over, treatment).rename("CATE")


def _grid(column: pd.Series) -> list:
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > 10:
        low, high = np.quantile(column, [0.01, 0.99])
        return list(np.linspace(low, high, 41))
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    return sorted(pd.unique(column))


def _treatment(fit: "Fit") -> str:
    if not fit.design.attrs["treatment"]:
        raise SpecError("The model has no treatment arms to compare; bh.effects(fit) has what it estimates.")
    return fit.design.attrs["treatment"]


def subgroups(fit: "Fit", by: str, meaningful: float | None = None) -> pd.DataFrame:
    """Average effect over the persons of each value of a column, in their own clusters.

    Groups differ through the moderators and the clusters of their persons, also where `by` itself is no moderator.

    Parameters
    ----------
    by : str
        A column kept in the design (covariate, moderator, cluster or treatment), with at most 20 values.

    Returns
    -------
    DataFrame
        ``contrast, group, n``, then the common schema.
    """
    treatment = _treatment(fit)
    frame = columns.raw_frame(fit.design)
    if by not in frame:
        raise DataError(f"Column {by!r} is not in the model.{near(by, frame.columns)}")
    levels = _grid(frame[by])
    if len(levels) > 20:
        raise DataError(f"{by!r} has {len(levels)} values; bin it first, or use bh.cate(fit, {by!r}).")
    member = np.stack([(frame[by] == v).to_numpy() for v in levels])
    weight = member / member.sum(1, keepdims=True)
    arms = [str(v) for v in fit.design[f"{treatment}_arm"].to_numpy()]
    means = [fit.spec.expected(fit.posterior, fit.design, arm=arm, weight=weight) for arm in arms]
    parts = []
    for arm, mean in zip(arms[1:], means[1:], strict=True):
        values = (mean - means[0]).assign_coords(group=[str(v) for v in levels]).rename("effect")
        part = rows(values).drop(columns="parameter")
        part.insert(0, "n", member.sum(1))
        part.insert(0, "group", [str(v) for v in levels])
        part.insert(0, "contrast", f"{arm} vs {fit.design.attrs['reference']}")
        _add_probabilities(part, values, meaningful, None)
        parts.append(part)
    return _table(fit, parts, meaningful)


def predict(fit: "Fit", data: pd.DataFrame, arm: str | None = None, clusters: str = "these") -> xr.DataArray:
    """Expected outcome of persons, in their own arm or had they been in `arm`.

    Parameters
    ----------
    data : DataFrame
        The covariates of the model, the treatment unless `arm` is given, the cluster if ``clusters="these"``.
    clusters : {"these", "new", "average"}
        Whose random effects: the clusters named in the data, a new one (integrated), or zero.

    Returns
    -------
    DataArray
        Draws with dims ``chain, draw, row``; row labels are the index of `data`.
    """
    return fit.spec.expected(fit.posterior, fit.design, arm=arm, clusters=clusters, frame=data)
