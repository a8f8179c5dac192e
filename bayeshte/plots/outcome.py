"""The data themselves: the outcome by arm and subgroup (Kim, Buhrman & Liao, 2025, figure 1)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte import design as columns
from bayeshte.errors import DataError, near
from bayeshte.fit import Fit
from bayeshte.plots import style

SUBGROUPS = 12  # at most
Z = 1.959964  # of a 95 % interval


@style.paper
def plot_outcome(fit: Fit, by: str | None = None) -> Figure:
    """Outcome by arm, a panel a subgroup: box plots of the raw data, or proportions of a binary outcome.

    Boxes span the quartiles, the line is the median, whiskers reach the last value within 1.5 interquartile ranges, the
    diamond is the mean. Proportions carry 95 % Wilson intervals.

    Parameters
    ----------
    fit : Fit
    by : str, optional
        A column of the model with at most 12 values.

    Raises
    ------
    DataError
        A column that is not in the model or has too many values.
    """
    style.check_outcome(fit, "The outcome by arm")
    y, arm = fit.design["y"].to_numpy(), fit.design["arm_code"].to_numpy()
    if "person_arm_code" in fit.design:  # before and after treatment: the arm that persons were assigned to
        arm = fit.design["person_arm_code"].to_numpy()[fit.design["cluster_code"].to_numpy()]
    labels = [fit.design.attrs["reference"], *style.contrasts(fit)]
    groups = subgroups(fit, by) if by else {"": np.ones(len(y), bool)}
    binary = fit.design.attrs["family"] in ("logit", "probit")
    trials = fit.design["trials"].to_numpy() if "trials" in fit.design else np.ones(len(y))
    lines, cols = style.grid(len(groups), 4 if len(labels) < 4 else 2)
    width = style.COLUMN if len(groups) == 1 and len(labels) < 4 else style.PAGE
    fig, axes = style.canvas(width, 2.5 * lines, lines, cols, sharey=True)
    for (name, member), ax in zip(groups.items(), style.used(axes, len(groups)), strict=True):
        rows = [member & (arm == k) for k in range(len(labels))]
        parts = [y[r] for r in rows]
        if binary:
            _proportions(ax, np.array([p.sum() for p in parts]), np.array([trials[r].sum() for r in rows]))
        else:
            _boxes(ax, parts)
        room = width / cols / len(labels) * 0.7
        ticks = [f"{style.wrap(v, room, lines=3)}\nn = {len(p):,}" for v, p in zip(labels, parts, strict=True)]
        ax.set_xticks(range(len(labels)), ticks)
        ax.set_xlim(-0.6, len(labels) - 0.4)
        ax.set_title(style.wrap(f"{by} = {name}", width / cols * 0.9, lines=2) if by else "")
    for ax in axes[:, 0]:
        ax.set_ylabel(style.wrap(_axis(fit, binary), 2))
    if by:
        fig.supxlabel(fit.design.attrs["treatment"], fontsize=style.SMALL)
    else:
        axes[0, 0].set_xlabel(fit.design.attrs["treatment"])
    style.say_verdict(fit, fig)
    return fig


def subgroups(fit: Fit, by: str) -> dict[str, np.ndarray]:
    """Rows of each value of a column, by its label."""
    frame = columns.raw_frame(fit.design)
    if by not in frame:
        raise DataError(f"Column {by!r} is not in the model.{near(by, frame.columns)}")
    levels = levels_of(frame[by])
    if len(levels) > SUBGROUPS:
        raise DataError(f"{by!r} has {len(levels)} values, {SUBGROUPS} panels fit on a page: bin it first.")
    return {str(v): (frame[by] == v).to_numpy() for v in levels}


def levels_of(column: pd.Series) -> list:
    """Values of a column in their order."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    return sorted(pd.unique(column))


def _boxes(ax: Axes, parts: list[np.ndarray]) -> None:
    place = [k for k, p in enumerate(parts) if len(p)]
    line = {"color": style.INK, "lw": 0.8}
    ax.boxplot(
        [parts[k] for k in place],
        positions=place,
        widths=0.55,
        patch_artist=True,
        showmeans=True,
        boxprops={"facecolor": style.BLUE, "alpha": 0.3, "lw": 0.8},
        medianprops={"color": style.INK, "lw": 1.4},
        whiskerprops=line,
        capprops=line,
        flierprops={"marker": ".", "ms": 2, "mec": style.GREY, "alpha": 0.5, "rasterized": True},
        meanprops={"marker": "D", "ms": 3.5, "mfc": "white", "mec": style.INK, "mew": 0.7},
    )


def _axis(fit: Fit, binary: bool) -> str:
    """What the vertical axis shows."""
    outcome = fit.design.attrs["outcome"]
    if not binary:
        return outcome
    return f"{outcome}, share of trials" if "trials" in fit.design else f"share with {outcome} = 1"


def _proportions(ax: Axes, events: np.ndarray, trials: np.ndarray) -> None:
    place = np.flatnonzero(trials)
    n = trials[place]
    share = events[place] / n
    lower, upper = wilson(share, n)
    ax.bar(place, share, width=0.6, color=style.BLUE, alpha=0.3, edgecolor=style.INK, lw=0.6)
    ax.vlines(place, lower, upper, color=style.INK, lw=1.2)
    ax.set_ylim(0, None, auto=None)  # panels share the axis, and later ones may need more of it


def wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a proportion (Wilson, 1927)."""
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return centre - half, centre + half
