"""Latent classes: how effects are distributed over them, and numbers of classes beside each other."""

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from bayeshte.errors import SpecError
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.fit import Fit
from bayeshte.plots import style

POINTS, DRAWS = 300, 400
COLOURS = (style.BLUE, style.VERMILION, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", style.GREY, style.INK)
MARKS = ("o", "s", "^", "D")


@style.paper
def plot_classes(fit: Fit, contrast: str | None = None) -> Figure:
    """Effects of the latent classes, each area the size of its class (Kim, Buhrman & Liao, 2025, figure 4).

    Where the effect varies between the clusters of a class, the population of clusters: normal densities averaged over draws.
    Elsewhere a class has one effect, and its area is how well that effect is known: the posterior.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.EffectMixture` with class-specific effects.
    contrast : str, optional
        An arm; by default a panel an arm.

    Raises
    ------
    SpecError
        No latent classes with effects of their own; an unknown contrast.
    """
    if "class" not in fit.design.sizes or "gamma1" not in fit.posterior or "class" not in fit.posterior["gamma1"].dims:
        raise SpecError("There are no latent classes with effects of their own to show: see bh.plot_effect.")
    arms = style.chosen(fit, contrast)
    lines, cols = style.grid(len(arms), 2)
    fig, axes = style.canvas(style.COLUMN * cols, 2.5 * lines, lines, cols)
    for arm, ax in zip(arms, style.used(axes, len(arms)), strict=True):
        _areas(ax, fit, arm)
    style.say_verdict(fit, fig)
    return fig


def _areas(ax: Axes, fit: Fit, arm: str) -> None:
    """One contrast: an area a class."""
    D = Arrays(fit.design)
    effect, size = D.by_class(fit.posterior, "gamma1")[..., D.contrasts.index(arm)], D.class_sizes(fit.posterior)
    spread = D.by_class(fit.posterior, "sd")[..., D.varying.index(arm)] if arm in D.varying else None
    pick = np.linspace(0, len(effect) - 1, min(DRAWS, len(effect))).astype(int)
    margin = effect.std(0) if spread is None else 3 * np.median(spread, 0)
    low, high = np.quantile(effect, [0.002, 0.998], axis=0)
    x = np.linspace((low - margin).min(), (high + margin).max(), POINTS)
    for c, name in enumerate(D.labels("class")):
        if spread is None:
            ends = effect[:, c].min() - margin[c], effect[:, c].max() + margin[c]  # where the density is zero
            at, height, _ = array_stats.kde(effect[:, c], bw_fct=style.SMOOTH, custom_lims=ends)
            y = size[:, c].mean() * np.interp(x, at, height, left=0.0, right=0.0)
        else:
            sd = np.maximum(spread[pick, c], 3 * (x[1] - x[0]))  # a draw near zero would be a spike
            y = (size[pick, c] * stats.norm.pdf(x[:, None], effect[pick, c], sd)).mean(1)
        colour = COLOURS[c]
        share, lower, upper = np.quantile(size[:, c], [0.5, 0.025, 0.975])
        label = f"{name}: {style.estimate(effect[:, c])}, share {share:.2f} [{lower:.2f}, {upper:.2f}]"
        ax.fill_between(x, 0, y, color=colour, alpha=0.3, lw=0)
        ax.plot(x, y, color=colour, lw=1.0, label=label)
    ax.axvline(0, color=style.INK, lw=0.6)
    what = "effects of clusters in the population" if spread is not None else "what is known of the effect"
    ax.set_title(f"area: size of the class; spread: {what}")
    ax.set_xlabel(style.wrap(style.effect_label(fit, arm, link=True), 3.0))
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(0, None)
    ax.legend(loc="upper left", bbox_to_anchor=(-0.05, -0.22), handlelength=1.0)


@style.paper
def plot_fit_classes(table: pd.DataFrame) -> Figure:
    """Numbers of classes beside each other: information criteria, predictive density, how clear and stable the classes are.

    Parameters
    ----------
    table : DataFrame
        From `bh.fit_classes`.
    """
    criteria = ("AIC", "BIC", "SABIC", "ICL")
    if not {*criteria, "entropy"} <= {*table.columns}:
        raise SpecError("plot_fit_classes shows a table of bh.fit_classes.")
    sampled = "elpd" in table
    panels = 3 if sampled else 2
    fig, axes = style.canvas(style.PAGE, 2.4, 1, panels)
    x = table.index.to_numpy()
    for name, mark, colour in zip(criteria, MARKS, COLOURS, strict=False):
        _line(axes[0, 0], x, table[name].to_numpy(), name, mark, colour)
        best = int(table[name].to_numpy().argmin())
        axes[0, 0].plot(x[best], table[name].iloc[best], mark, ms=7, mfc="none", color=colour)
    axes[0, 0].set_title("information criteria, the smallest ringed")
    if sampled:
        ax = axes[0, 1]
        ax.errorbar(x, table["elpd"], yerr=table["se"], color=style.INK, marker="o", ms=3.5, lw=1.0, capsize=2)
        ax.set_title(style.wrap("expected log predictive density of what is left out, ± SE", 2.1))
    shares = axes[0, -1]
    for name, mark, colour in zip(("entropy", "stability", "smallest"), MARKS, COLOURS, strict=False):
        label = {"smallest": "share of the smallest class"}.get(name, name)
        _line(shares, x, table[name].to_numpy(), label, mark, colour)
    shares.set_ylim(0, 1.03)
    shares.set_title("how clear and stable")
    for ax in axes.flat:
        ax.set_xticks(x)
        ax.set_xlabel("classes")
    for ax in (axes[0, 0], shares):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return fig


def _line(ax: Axes, x: np.ndarray, y: np.ndarray, label: str, mark: str, colour: str) -> None:
    ax.plot(x, y, marker=mark, ms=3.5, lw=1.0, color=colour, label=label)
