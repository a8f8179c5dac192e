"""Figures that ArviZ draws, in the size and style of ours."""

import math

from arviz_plots import PlotCollection
from matplotlib.figure import Figure

from bayeshte.fit import Fit
from bayeshte.plots import style

TITLE = 34  # characters


def layout(panels: int, cols: int, height: float) -> dict:
    """Options of an ArviZ plot: so many panels, at most `cols` a row, each so many inches high."""
    size = (style.PAGE if panels > 1 else style.COLUMN, 0.6 + height * math.ceil(panels / cols))
    return {"col_wrap": cols, "figure_kwargs": {"figsize": size, "figsize_units": "inches", "layout": "constrained"}}


def finish(fit: Fit, pc: PlotCollection, titles: dict[str, str]) -> Figure:
    """ArviZ's figure with our ticks, the verdict, and its panels' own titles replaced by ours that fit."""
    figure = pc.get_viz("figure")
    for ax in figure.axes:
        style.tidy(ax)
        own = ax.get_title(loc="left")
        ax.set_title(style.shorten(titles.get(own, own), TITLE))
    style.say_verdict(fit, figure)
    return figure
