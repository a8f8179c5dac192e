"""Everything a report shows, computed once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bayeshte import checks, plots
from bayeshte.effects import cluster_effects, effects
from bayeshte.errors import DataError, SpecError
from bayeshte.fit import Fit, summary
from bayeshte.spec import Description

ROWS_LEFT_OUT = 10_000  # beyond this, leaving out single rows takes long


@dataclass(frozen=True)
class Attempt:
    """The result of a check, or in words why there is none."""

    value: Any = None
    message: str = ""


@dataclass(frozen=True)
class Material:
    """The tables, checks and figures of a report.

    Attributes
    ----------
    fit : Fit
    about : Description
        What the family says of the model and its data.
    meaningful, rope
        Thresholds, as in `bh.effects`.
    summary, effects : DataFrame
    headline : tuple of str
        The estimands that come first.
    clusters : DataFrame or None
        Every cluster's effect.
    predictive, loo, sensitivity, prior_overlap, model_fit, implied, classes, balance, overlap : Attempt
    figures : mapping of str to Figure
    """

    fit: Fit
    about: Description
    meaningful: float | None
    rope: tuple[float, float] | None
    summary: pd.DataFrame
    effects: pd.DataFrame
    headline: tuple[str, ...]
    clusters: pd.DataFrame | None
    predictive: Attempt
    loo: Attempt
    sensitivity: Attempt
    prior_overlap: Attempt
    model_fit: Attempt
    implied: Attempt
    classes: Attempt
    balance: Attempt
    overlap: Attempt
    figures: Mapping[str, Figure]


def attempt(function: Callable, *args, **options) -> Attempt:
    """Call a check; one that does not apply to this model says so and the report goes on."""
    try:
        return Attempt(function(*args, **options))
    except (SpecError, DataError) as error:
        return Attempt(message=str(error))


def gather(fit: Fit, meaningful: float | None = None, rope: tuple[float, float] | None = None) -> Material:
    """Compute what the report shows."""
    predictive = attempt(checks.predictive_checks, fit)
    return Material(
        fit=fit,
        about=fit.spec.describe(fit.design),
        meaningful=meaningful,
        rope=rope,
        summary=summary(fit),
        effects=effects(fit, meaningful, rope),
        headline=tuple(e.name for e in fit.spec.estimands(fit.design) if e.headline),
        clusters=cluster_effects(fit, meaningful) if "effect" in fit.posterior else None,
        predictive=predictive,
        loo=attempt(_leave_out, fit),
        sensitivity=attempt(checks.prior_sensitivity, fit),
        prior_overlap=attempt(checks.prior_posterior_overlap, fit),
        model_fit=attempt(checks.model_fit, fit),
        implied=attempt(checks.implied_correlations, fit),
        classes=attempt(checks.class_check, fit),
        balance=attempt(checks.balance, fit),
        overlap=attempt(checks.overlap, fit),
        figures=plots.figures(fit, meaningful, rope, predictive.value),
    )


def _leave_out(fit: Fit):
    """Leave out clusters where the likelihood of one can be had, else rows; refits only for a fit worth refitting."""
    by_row = attempt(checks.loo, fit, "cluster", refit=fit.diagnosis.ok) if fit.design.attrs["cluster"] else Attempt()
    if by_row.value is not None:
        return by_row.value
    if fit.design.sizes["row"] > ROWS_LEFT_OUT:
        raise DataError(
            f"{by_row.message} Not done for {fit.design.sizes['row']:,} rows: checks.loo(fit, 'row').".strip()
        )
    return checks.loo(fit, "row")
