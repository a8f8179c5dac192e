"""The figures that belong to a fit: for the report and the command line."""

import re
from collections.abc import Callable
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
from arviz_plots import PlotCollection
from matplotlib.figure import Figure

from bayeshte import design as columns
from bayeshte.fit import Fit
from bayeshte.plots.caterpillar import plot_caterpillar, varying
from bayeshte.plots.classes import plot_classes
from bayeshte.plots.clusters import compared, has_baseline, plot_baseline, plot_pooling
from bayeshte.plots.draws import plot_priors, plot_rank, plot_trace
from bayeshte.plots.effects import plot_cate, plot_effect
from bayeshte.plots.outcome import SUBGROUPS, levels_of, plot_outcome
from bayeshte.plots.path_diagram import plot_path
from bayeshte.plots.predictive import plot_checks, plot_ppc

EFFECTS = 6  # posteriors of main estimands, at most


def figures(
    fit: Fit,
    meaningful: float | None = None,
    rope: tuple[float, float] | None = None,
    checks: pd.DataFrame | None = None,
) -> dict[str, Figure]:
    """The standard figures of a fit by name, in the order of a report; what does not apply is left out.

    ``caterpillar, pooling, baseline, effect, classes, cate_COLUMN`` (a moderator each), ``outcome, ppc, checks, priors, trace,
    rank``; of structural equation models ``path, effect_ESTIMAND`` (a main one each), ``ppc, checks, priors, trace, rank``. None
    of them stays open in pyplot.

    Parameters
    ----------
    meaningful, rope
        Thresholds to show, as in `bh.effects`.
    checks : DataFrame, optional
        From `bh.predictive_checks`, if it is there already.
    """
    return {name: _closed(draw()) for name, draw in _standard(fit, meaningful, rope, checks).items()}


def _standard(fit: Fit, meaningful=None, rope=None, checks=None) -> dict[str, Callable]:
    own = _of_one_outcome if "y" in fit.design else _of_paths
    return own(fit, meaningful, rope, checks) | {
        "priors": partial(plot_priors, fit),
        "trace": partial(plot_trace, fit),
        "rank": partial(plot_rank, fit),
    }


def _of_paths(fit: Fit, meaningful, rope, checks) -> dict[str, Callable]:
    out: dict[str, Callable] = {"path": partial(plot_path, fit)}
    shown = [e for e in fit.spec.estimands(fit.design) if e.headline][:EFFECTS]
    for e in shown:
        thresholds = {"meaningful": meaningful, "rope": rope} if e.scale == "effect" else {}
        out[f"effect_{e.name}"] = partial(plot_effect, fit, e.name, **thresholds)
    out["ppc"] = partial(plot_ppc, fit)
    return out | ({} if checks is None else {"checks": partial(plot_checks, fit, checks)})


def _of_one_outcome(fit: Fit, meaningful, rope, checks) -> dict[str, Callable]:
    treated = bool(fit.design.attrs["treatment"])
    clustered = bool(varying(fit)) if treated else "u" in fit.posterior
    moderators = _moderators(fit)
    frame = columns.raw_frame(fit.design)
    few = [m for m in moderators if len(levels_of(frame[m])) <= SUBGROUPS]
    out: dict[str, Callable] = {}
    if clustered:
        out["caterpillar"] = partial(plot_caterpillar, fit, meaningful=meaningful)
        if "u" in fit.posterior and any(compared(fit, arm) for arm in varying(fit) or [""]):
            out["pooling"] = partial(plot_pooling, fit)
    if has_baseline(fit):
        out["baseline"] = partial(plot_baseline, fit)
    thresholds = {"meaningful": meaningful, "rope": rope} if treated else {}
    out["effect"] = partial(plot_effect, fit, **thresholds)
    if treated and fit.design.sizes.get("class", 1) > 1 and "class" in fit.posterior["gamma1"].dims:
        out["classes"] = partial(plot_classes, fit)
    out |= {re.sub(r"\W+", "_", f"cate_{m}"): partial(plot_cate, fit, m, meaningful=meaningful) for m in moderators}
    if treated:
        by = [fit.design.attrs["occasion"]] if fit.design.attrs.get("occasion") else few[:1]
        out["outcome"] = partial(plot_outcome, fit, *by)
    return out | {"ppc": partial(plot_ppc, fit), "checks": partial(plot_checks, fit, checks)}


def _moderators(fit: Fit) -> list[str]:
    """Columns of the data that the moderators' terms are made of."""
    terms = [re.sub(r"\[[^\]]*\]", "", str(t)) for t in fit.design["moderator"].to_numpy()]
    names = columns.raw_frame(fit.design).columns
    return [n for n in names if any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", t) for t in terms)]


def _closed(drawn: Figure | PlotCollection) -> Figure:
    if isinstance(drawn, Figure):
        return drawn
    figure = drawn.get_viz("figure")
    plt.close(figure)
    return figure
