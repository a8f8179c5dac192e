"""The caterpillar: every cluster's effect, sorted (Kim, Buhrman & Liao, 2025, figure 3)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte.effects import beyond, cluster_effects, effect_draws, units
from bayeshte.errors import SpecError
from bayeshte.fit import Fit
from bayeshte.plots import style
from bayeshte.summary import rows

NAMED = 25  # up to so many clusters are named


@dataclass(frozen=True)
class _Panel:
    """One caterpillar.

    Attributes
    ----------
    table : DataFrame
        A row a cluster, sorted: ``cluster, estimate, lower, upper, one_arm``.
    average : ndarray
        Draws.
    label : str
        Of the axis.
    notes : list of str
        Said above.
    """

    table: pd.DataFrame
    average: np.ndarray
    label: str
    notes: list[str]


@style.paper
def plot_caterpillar(
    fit: Fit, contrast: str | None = None, meaningful: float | None = None, ax: Axes | None = None
) -> Figure:
    """Effects of clusters, or on items, sorted by estimate: posterior medians, 95 % equal-tailed intervals, their average, zero.

    Up to 25 clusters are named on the vertical axis; more are ranked on the horizontal one. Clusters that hold one of the
    two arms only have a hollow marker. Without a treatment, the clusters' expected outcomes.

    Parameters
    ----------
    fit : Fit
    contrast : str, optional
        An arm; by default a panel for every arm whose effect varies.
    meaningful : float, optional
        The smallest effect that matters: a line, and the share of clusters beyond it.
    ax : Axes, optional
        Draw one contrast there.

    Raises
    ------
    SpecError
        No effect varies across clusters, the contrast is unknown, or several contrasts for one `ax`.
    """
    style.check_outcome(fit, "The caterpillar")
    panels = _panels(fit, contrast, meaningful)
    if ax is not None and len(panels) > 1:
        raise SpecError(f"One set of axes shows one contrast: name it, contrast= one of {style.contrasts(fit)}.")
    named = len(panels[0].table) <= NAMED
    fig, axes = (ax.figure, [ax]) if ax is not None else _canvas(panels, named)
    for panel, place in zip(panels, axes, strict=True):
        (_draw_named if named else _draw_ranked)(fit, panel, place)
        _references(fit, panel, place, meaningful, named)
    if ax is None:
        style.legend(fig, axes, 1 if fig.get_figwidth() < style.PAGE else 4)
    else:
        ax.legend()
    style.say_verdict(fit, fig, ax)
    return fig


def varying(fit: Fit) -> list[str]:
    """Contrasts whose effect varies across clusters, by a random effect, a moderator or a latent class."""
    if "effect" not in fit.posterior:
        return []
    own = {str(v) for v in fit.design["varying"].to_numpy()}
    classed = "label" in fit.posterior and "class" in fit.posterior["gamma1"].dims
    moderated = classed or fit.design.sizes["moderator"] > 0
    return [arm for arm in style.contrasts(fit) if moderated or arm in own]


def _panels(fit: Fit, contrast: str | None, meaningful: float | None) -> list[_Panel]:
    if not style.contrasts(fit):
        return [_means(fit, meaningful)]
    if not varying(fit):
        raise SpecError("No effect varies across clusters: there is no caterpillar to draw. See bh.plot_effect.")
    arms = style.chosen(fit, contrast, varying(fit))
    table = cluster_effects(fit)
    out = []
    for arm in arms:
        part = table[table["contrast"] == style.versus(fit, arm)]
        values = fit.posterior["effect"].sel({fit.design.attrs["treatment"]: arm})
        average = values.mean(units(fit.design)[0]).to_numpy().ravel()
        notes = [f"average of the {len(part)} effects: {style.estimate(average)}", *_share(fit, values, meaningful)]
        out.append(_Panel(part, average, style.effect_label(fit, arm, link=True), notes))
    return out


def _means(fit: Fit, meaningful: float | None) -> _Panel:
    """Without a treatment: expected outcomes of the clusters, as in a meta-analysis."""
    if "u" not in fit.posterior:
        raise SpecError("Nothing varies across clusters: there is no caterpillar to draw. See bh.plot_effect.")
    values = effect_draws(fit, "cluster mean")
    names = [str(v) for v in fit.design[fit.design.attrs["cluster"]].to_numpy()]
    table = rows(values).assign(cluster=names, one_arm=False).sort_values("estimate", kind="stable")
    average = effect_draws(fit, "mean").to_numpy().ravel()
    notes = [f"expected in a new cluster: {style.estimate(average)}", *_share(fit, values, meaningful)]
    return _Panel(table, average, style.outcome_label(fit), notes)


def _share(fit: Fit, values: xr.DataArray, threshold: float | None) -> list[str]:
    """The share of clusters beyond the threshold, computed in every draw."""
    if threshold is None:
        return []
    dim, _, what = units(fit.design)
    share = beyond(values, threshold).mean(dim).to_numpy()
    return [f"share of {what} {'>' if threshold >= 0 else '<'} {style.number(threshold)}: {style.estimate(share)}"]


def _canvas(panels: list[_Panel], named: bool) -> tuple[Figure, list[Axes]]:
    count, clusters = len(panels), len(panels[0].table)
    if not named:
        fig, axes = style.canvas(style.PAGE, 3.0 * count, count, 1, sharey=True)
        return fig, list(axes.flat)
    longest = max(len(style.shorten(c)) for c in panels[0].table["cluster"])
    width = style.COLUMN if count == 1 and longest <= 14 else style.PAGE
    lines, cols = style.grid(count, 2)
    fig, axes = style.canvas(width, (1.5 + 0.16 * clusters) * lines, lines, cols, sharex=True)
    return fig, style.used(axes, count)


def _draw_ranked(fit: Fit, panel: _Panel, ax: Axes) -> None:
    """Clusters by rank on the horizontal axis, vertical intervals."""
    t, n = panel.table, len(panel.table)
    rank = np.arange(1, n + 1)
    size = float(np.clip(30 / np.sqrt(n), 1.0, 3.5))
    for one_arm, colour in ((False, style.BLUE), (True, style.GREY)):
        pick = t["one_arm"].to_numpy() == one_arm
        part = t[pick]
        ax.vlines(rank[pick], part["lower"], part["upper"], color=colour, lw=size / 3, alpha=0.55)
    _markers(ax, rank, t["estimate"].to_numpy(), t, size)
    ax.set_xlim(0, n + 1)
    ax.set_xlabel(f"{units(fit.design)[0]}: rank of {n}, by estimate")
    ax.set_ylabel(style.wrap(panel.label, 2.1))


def _draw_named(fit: Fit, panel: _Panel, ax: Axes) -> None:
    """Clusters by name on the vertical axis, horizontal intervals."""
    t = panel.table
    place = np.arange(len(t))
    ax.hlines(place, t["lower"], t["upper"], color=style.BLUE, lw=1.1, alpha=0.55)
    _markers(ax, t["estimate"].to_numpy(), place, t, 3.8)
    ax.set_yticks(place, [style.shorten(c) for c in t["cluster"]])
    ax.set_ylim(-0.8, len(t) - 0.2)
    ax.set_xlabel(style.wrap(panel.label, 2.4))
    ax.set_ylabel(style.shorten(units(fit.design)[0], 40))


def _markers(ax: Axes, x: np.ndarray, y: np.ndarray, table: pd.DataFrame, size: float) -> None:
    one = table["one_arm"].to_numpy()
    if not one.all():
        ax.plot(x[~one], y[~one], "o", ms=size, color=style.BLUE, mew=0, label="median, 95 % interval")
    if one.any():
        text = "one of the two arms only: rests on the other clusters"
        ax.plot(x[one], y[one], "o", ms=max(size + 0.6, 2.2), mfc="white", mec=style.BLUE, mew=0.7, label=text)


def _references(fit: Fit, panel: _Panel, ax: Axes, meaningful: float | None, named: bool) -> None:
    """Zero, the average with its band, the threshold; and their values in the title."""
    line, span = (ax.axvline, ax.axvspan) if named else (ax.axhline, ax.axhspan)
    lower, median, upper = np.quantile(panel.average, [0.025, 0.5, 0.975])
    t = panel.table
    if style.contrasts(fit) or t["lower"].min() <= 0 <= t["upper"].max():
        line(0, color=style.INK, lw=0.7, zorder=0)
    span(lower, upper, color=style.LIGHT, alpha=0.8, lw=0, zorder=-2)
    line(median, color=style.GREY, lw=0.9, ls=(0, (6, 2)), zorder=-1, label="average, 95 % band")
    if meaningful is not None:
        line(meaningful, color=style.VERMILION, lw=1.0, ls=":", zorder=-1, label="meaningful")
    ax.set_title(("\n" if named else "; ").join(panel.notes))
