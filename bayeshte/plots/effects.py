"""Effects as pictures: the posterior of one, and how it changes with a covariate."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte import design as columns
from bayeshte.effects import beyond, cate, effect_draws
from bayeshte.errors import SpecError, near
from bayeshte.fit import Fit
from bayeshte.plots import style
from bayeshte.spec import Estimand

FAR = 3.0  # interval widths: a null value further away is written, not drawn
CURVE = 10  # more numeric values than this make a curve
RUG = 2000  # marks at most
WORK = 400_000  # expected outcomes a point of a curve, with a link; at least 100 draws


@style.paper
def plot_effect(
    fit: Fit,
    estimand: str | None = None,
    contrast: str | None = None,
    rope: tuple[float, float] | None = None,
    meaningful: float | None = None,
) -> Figure:
    """Posterior density of an estimand, its median and 95 % equal-tailed interval, and what lies beyond thresholds.

    Parameters
    ----------
    fit : Fit
    estimand : str, optional
        A name in the table of `bh.effects`; by default the first of the main ones, such as the ATE.
    contrast : str, optional
        An arm, or a value of the moderator as `bh.effects` writes it; by default a panel each.
    rope : (float, float), optional
        Region of practical equivalence: shaded, with the probability inside.
    meaningful : float, optional
        The smallest effect that matters: a line, with the probability beyond.

    Raises
    ------
    SpecError
        An unknown estimand or contrast, one that is a vector over clusters, a region that is not one.
    """
    if rope is not None and not rope[0] < rope[1]:
        raise SpecError(f"rope={rope!r}: two numbers, the smaller first.")
    known = fit.spec.estimands(fit.design)
    name = estimand or next((e.name for e in known if e.headline), known[0].name if known else "")
    panels = _by_contrast(fit, effect_draws(fit, name), contrast)
    about = next(e for e in known if e.name == name)
    lines, cols = style.grid(len(panels), 2)
    height = 2.5 + 0.13 * ((rope is not None) + (meaningful is not None))
    fig, axes = style.canvas(style.COLUMN * cols, height * lines, lines, cols)
    for (arm, x), ax in zip(panels.items(), style.used(axes, len(panels)), strict=True):
        _density(ax, x)
        notes = _thresholds(ax, x, about, rope, meaningful)
        ax.set_title("\n".join([style.wrap(f"{name}: {about.definition}", 3.1), *notes]))
        ax.set_xlabel(style.wrap(_label(fit, about, arm), 3.0))
    style.say_verdict(fit, fig)
    return fig


def _by_contrast(fit: Fit, values: xr.DataArray, contrast: str | None) -> dict[str, np.ndarray]:
    """All draws of each contrast, or at each value of a moderator; of an estimand without either under an empty name."""
    treatment = "at" if "at" in values.dims else fit.design.attrs["treatment"]
    other = [d for d in values.dims if d not in ("chain", "draw", treatment)]
    if other:
        instead = "plot_classes" if other[0] == "class" else "plot_caterpillar"
        raise SpecError(f"{values.name!r} has a value for every {other[0]}: use bh.{instead}.")
    if treatment not in values.dims:
        return {"": values.to_numpy().ravel()}
    arms = [str(v) for v in values[treatment].to_numpy()]
    if contrast is not None and treatment == "at" and contrast not in arms:
        raise SpecError(f"{values.name!r} has no value at {contrast!r}.{near(contrast, arms)}")
    arms = [v for v in arms if contrast in (None, v)] if treatment == "at" else style.chosen(fit, contrast, arms)
    return {arm: values.sel({treatment: arm}).to_numpy().ravel() for arm in arms}


def _label(fit: Fit, about: Estimand, arm: str) -> str:
    if not arm:
        unit = f" ({style.outcome_label(fit)})" if about.scale in ("effect", "sd") and "y" in fit.design else ""
        return f"{about.name}{unit}"
    if not fit.design.attrs["treatment"]:
        return f"{about.name}, {arm}"
    if about.scale == "effect":
        return style.effect_label(fit, arm, link="item" in fit.design.attrs)
    unit = f" ({style.outcome_label(fit, link=True)})" if about.scale == "sd" else ""
    return f"{about.name}, {style.versus(fit, arm)}{unit}"


def _density(ax: Axes, x: np.ndarray) -> None:
    """Density over the finite draws, its central 95 % filled, the median as a line."""
    finite = x[np.isfinite(x)]
    if np.ptp(finite) > 0:
        at, height, _ = array_stats.kde(finite, bw_fct=style.SMOOTH)
        inside = (at >= np.quantile(x, 0.025)) & (at <= np.quantile(x, 0.975))
        ax.plot(at, height, color=style.BLUE, lw=1.2)
        ax.fill_between(at, 0, height, where=inside, color=style.BLUE, alpha=0.25, lw=0, label="95 % interval")
        median = float(np.median(x))
        ax.vlines(median, 0, np.interp(median, at, height), color=style.BLUE, lw=1.4, label="median")
    else:
        ax.axvline(finite[0], color=style.BLUE, lw=1.4)
    ax.set_ylim(0, None)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylabel("posterior density")


def _thresholds(ax: Axes, x: np.ndarray, about: Estimand, rope, meaningful: float | None) -> list[str]:
    """Draws null value, region and threshold; returns what is to be said of them."""
    notes = [f"median [95 % interval] {style.estimate(x)}"]
    null = {"effect": 0.0, "correlation": 0.0, "standardised": 0.0, "ratio": 1.0}.get(about.scale)
    if null is not None:
        lower, upper = np.quantile(x, [0.025, 0.975])
        if abs(null - (lower + upper) / 2) < FAR * (upper - lower):
            ax.axvline(null, color=style.INK, lw=0.7, zorder=0)
        notes.append(f"P(> {null:g}) {style.probability((x > null).mean())}")
    if meaningful is not None:
        sign = ">" if meaningful >= 0 else "<"
        ax.axvline(meaningful, color=style.VERMILION, lw=1.0, ls=":")
        share = style.probability(beyond(x, meaningful).mean())
        notes.append(f"meaningful: P({sign} {style.number(meaningful)}) {share}")
    if rope is not None:
        low, high = rope
        ax.axvspan(low, high, facecolor=style.LIGHT, alpha=0.6, hatch="////", edgecolor=style.GREY, lw=0, zorder=-1)
        inside = style.probability(((x > low) & (x < high)).mean())
        notes.append(f"ROPE (hatched): P({style.number(low)} < effect < {style.number(high)}) {inside}")
    return notes


@style.paper
def plot_cate(fit: Fit, over: str, meaningful: float | None = None, at: dict | None = None) -> Figure:
    """Conditional average effect over the values of one column, in a new cluster, everything else as in the data.

    Outcomes with a link are averaged over at least 100 draws, more if rows are few: every point of the curve is an integral.
    A curve with 50 % and 95 % bands and the data as a rug; for categories and up to ten values, points and intervals.

    Parameters
    ----------
    fit : Fit
    over : str
        A column of the model.
    meaningful : float, optional
        The smallest effect that matters, as a line.
    at : dict, optional
        Other columns to hold at a value: ``{"sex": "female"}``.

    Raises
    ------
    SpecError, DataError
        No treatment, or a column that is not in the model.
    """
    style.check_outcome(fit, "The conditional effect")
    values = cate(_thinned(fit), over, at=at)
    data = columns.raw_frame(fit.design)[over]
    curve = values.sizes[over] > CURVE and pd.api.types.is_numeric_dtype(data)
    arms = style.contrasts(fit)
    lines, cols = style.grid(len(arms), 2)
    fig, axes = style.canvas(style.COLUMN * cols, 2.7 * lines, lines, cols, sharey=True)
    held = "".join(f", {k} = {v}" for k, v in (at or {}).items())
    for arm, ax in zip(arms, style.used(axes, len(arms)), strict=True):
        bands = values.sel({fit.design.attrs["treatment"]: arm})
        q = bands.quantile([0.025, 0.25, 0.5, 0.75, 0.975], ["chain", "draw"]).transpose("quantile", over).to_numpy()
        (_curve if curve else _points)(ax, values[over], q, data)
        ax.axhline(0, color=style.INK, lw=0.7, zorder=0)
        if meaningful is not None:
            text = f"meaningful: {style.number(meaningful)}"
            ax.axhline(meaningful, color=style.VERMILION, lw=1.0, ls=":", label=text)
        ax.set_xlabel(style.wrap(over + held, 2.8))
        ax.set_ylabel(style.wrap(style.effect_label(fit, arm), 1.6))
    style.legend(fig, list(axes.flat[: len(arms)]), 4)
    style.say_verdict(fit, fig)
    return fig


def _thinned(fit: Fit) -> Fit:
    """The fit with fewer draws where every expected outcome is an integral (a link function and many rows)."""
    n = fit.posterior.sizes
    step = math.ceil(n["chain"] * n["draw"] / max(100, WORK // fit.design.sizes["row"]))
    if style.is_linear(fit) or step == 1:
        return fit
    return replace(fit, draws=xr.DataTree.from_dict({"posterior": fit.posterior.isel(draw=slice(None, None, step))}))


def _curve(ax: Axes, over: xr.DataArray, q: np.ndarray, data: pd.Series) -> None:
    x = over.to_numpy().astype(float)
    ax.fill_between(x, q[0], q[4], color=style.BLUE, alpha=0.2, lw=0, label="95 %")
    ax.fill_between(x, q[1], q[3], color=style.BLUE, alpha=0.35, lw=0, label="50 %")
    ax.plot(x, q[2], color=style.BLUE, lw=1.3, label="median")
    marks = np.unique(data[(data >= x[0]) & (data <= x[-1])].to_numpy(float))
    marks = marks[:: max(1, len(marks) // RUG)]
    ax.vlines(marks, 0, 0.03, color=style.INK, lw=0.3, alpha=0.5, transform=ax.get_xaxis_transform())
    ax.set_xlim(x[0], x[-1])


def _points(ax: Axes, over: xr.DataArray, q: np.ndarray, data: pd.Series) -> None:
    levels = over.to_numpy()
    place = np.arange(len(levels))
    ax.vlines(place, q[0], q[4], color=style.BLUE, lw=1.0, label="95 %")
    ax.vlines(place, q[1], q[3], color=style.BLUE, lw=2.8, alpha=0.6, label="50 %")
    ax.plot(place, q[2], "o", ms=4.5, mfc="white", mec=style.BLUE, label="median")
    names = [f"{style.shorten(v, 14)}\nn = {(data == v).sum():,}" for v in levels]
    ax.set_xticks(place, names)
    ax.set_xlim(-0.6, len(levels) - 0.4)
