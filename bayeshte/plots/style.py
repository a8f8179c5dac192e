"""What all figures share: sizes for paper, colours that survive greyscale, labels in the user's words, the verdict."""

import math
import textwrap
from io import BytesIO

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bayeshte.errors import SpecError, near
from bayeshte.fit import Fit

COLUMN, PAGE = 3.5, 7.0  # inches: one column and the full width of a page
INK, GREY, LIGHT = "#222222", "#767676", "#d9d9d9"
BLUE, VERMILION, RED = "#0072b2", "#d55e00", "#b42318"  # the first two of Okabe & Ito, of unequal lightness
#: four chains: distinct hues, and in greyscale distinct lightness
CHAINS = ("#0b3c5d", "#d55e00", "#56b4e9", "#b0b0b0")
CHARACTERS = 17  # of 7 point text, an inch
SMALL = 7.0
SMOOTH = 1.4  # times ArviZ's bandwidth, which follows the noise of a few thousand draws

_RC = {
    "font.size": SMALL,
    "axes.labelsize": SMALL,
    "axes.titlesize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "figure.titlesize": SMALL,
    "figure.dpi": 150,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.prop_cycle": f"cycler('color', {list(CHAINS)})",
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "text.parse_math": False,  # a column may be called "fee ($)"
}


class PaperFigure(Figure):
    """A figure that shows itself in a notebook and is registered nowhere: nothing to close, no window."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def paper(function):
    """Decorator: the function draws in the style of this module, whatever the user's rcParams, which stay as they are."""
    return matplotlib.style.context(["default", _RC])(function)


def canvas(width: float, height: float, rows: int = 1, cols: int = 1, **options) -> tuple[PaperFigure, np.ndarray]:
    """A figure of that size in inches, and its axes (rows, cols).

    Parameters
    ----------
    options
        Of `Figure.subplots`.
    """
    fig = PaperFigure(figsize=(width, height), layout="constrained")
    axes = fig.subplots(rows, cols, squeeze=False, **options)
    for ax in axes.flat:
        tidy(ax)
    return fig, axes


def tidy(ax: Axes) -> None:
    """Tick marks for paper. Ticks are made when a figure is drawn, outside the style, so they are told here."""
    ax.tick_params(labelsize=SMALL, width=0.6, length=2.5, color=INK)


def grid(panels: int, most: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most `most` a row."""
    cols = min(panels, most)
    return math.ceil(panels / cols), cols


def used(axes: np.ndarray, panels: int) -> list[Axes]:
    """The first axes, one a panel; the others are made invisible."""
    for ax in axes.flat[panels:]:
        ax.set_visible(False)
    return list(axes.flat[:panels])


def legend(fig: Figure, axes: list[Axes], cols: int) -> None:
    """One legend below all panels, each entry once."""
    entries = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    out = fig.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=cols, columnspacing=1.2)
    for handle in out.legend_handles:
        if isinstance(handle, Line2D):  # the marks of 500 clusters are too small to be told apart
            handle.set_markersize(4)
        elif isinstance(handle, PathCollection):
            handle.set_sizes([16])


def say_verdict(fit: Fit, fig: Figure, ax: Axes | None = None) -> None:
    """Above the figure (or in `ax`, if the figure is the user's): that the draws cannot be trusted, and why."""
    if fit.diagnosis.ok:
        return
    width = fig.get_figwidth() if ax is None else ax.get_position().width * fig.get_figwidth()
    options = {"color": RED, "fontsize": SMALL, "fontweight": "bold", "ha": "left"}
    text = wrap(fit.diagnosis.verdict, width * 0.85, lines=3)
    if ax is None:
        fig.suptitle(text, x=0.01, **options)
    else:
        ax.text(0.01, 0.99, text, transform=ax.transAxes, va="top", **options)


def wrap(text: str, inches: float, lines: int | None = None) -> str:
    """Text broken into lines of that width, the rest left out beyond so many lines."""
    broken = textwrap.wrap(
        str(text), max(12, int(inches * CHARACTERS)), max_lines=lines, placeholder=" ...", break_long_words=True
    )
    return "\n".join(broken)


def shorten(label, characters: int = 28) -> str:
    """A label that fits beside an axis: the middle of a long one is left out, names often differ at their end."""
    label = " ".join(str(label).split())
    if len(label) <= characters:
        return label
    head = (characters - 1) * 3 // 5
    return f"{label[:head].rstrip()}…{label[head + 1 - characters :].lstrip()}"


def number(value: float, scale: float = 0.0) -> str:
    """Three significant digits, none beyond those of `scale`, thousands in full, a true minus sign."""
    value = round(value, max(0, 2 - math.floor(math.log10(scale)))) + 0.0 if scale > 0 else value
    text = f"{value:,.0f}" if 999.5 <= abs(value) < 1e7 else f"{value:.3g}"
    return text.replace("-", "−")


def estimate(values: np.ndarray) -> str:
    """Median and 95 % interval of draws, as text."""
    lower, median, upper = (number(v) for v in np.quantile(values, [0.025, 0.5, 0.975]))
    return f"{median} [{lower}, {upper}]"


def probability(value: float) -> str:
    """A probability that was estimated from draws, never as exactly 0 or 1."""
    return "< 0.001" if value < 0.001 else "> 0.999" if value > 0.999 else f"= {value:.3f}"


def check_outcome(fit: Fit, what: str) -> None:
    """Refuse a figure of one outcome for a model of several."""
    if "y" not in fit.design:
        raise SpecError(
            f"{what} shows one outcome, {type(fit.spec).__name__} has several ({fit.design.attrs['outcome']}). "
            "bh.plot_path, bh.plot_effect, bh.plot_ppc, bh.plot_priors, bh.plot_trace and bh.plot_rank show this model."
        )


def contrasts(fit: Fit) -> list[str]:
    """The arms but the reference; empty without a treatment."""
    name = fit.design.attrs["treatment"]
    return [str(v) for v in fit.design[name].to_numpy()] if name else []


def chosen(fit: Fit, contrast: str | None, among: list[str] | None = None) -> list[str]:
    """The contrasts to show: the one that is asked for, else all of `among`."""
    known = contrasts(fit) if among is None else among
    if contrast is None:
        return known
    if contrast not in known:
        raise SpecError(f"contrast={contrast!r} is not an arm to show here.{near(contrast, known)}")
    return [contrast]


def versus(fit: Fit, arm: str) -> str:
    """``small vs regular``."""
    return f"{arm} vs {fit.design.attrs['reference']}"


_EXPECTED = {
    "logit": "P({} = 1)",
    "probit": "P({} = 1)",
    "poisson": "expected {}",
    "ordinal": "mean category of {}",
} | {
    "negative binomial": "expected {}",
    "ordered logit": "mean category of {}",
    "ordered probit": "mean category of {}",
}
_LINK = {"logit": "log odds of {}", "probit": "probit of {}", "poisson": "log rate of {}", "ordinal": "ability, {}"} | {
    "negative binomial": "log rate of {}",
    "ordered logit": "log odds of a higher {}",
    "ordered probit": "probit of a higher {}",
}


def is_linear(fit: Fit) -> bool:
    """Whether effects are in the units of the outcome, without a link function."""
    return fit.design.attrs["family"] not in _LINK


def outcome_label(fit: Fit, link: bool = False) -> str:
    """The expected outcome, or the linear predictor, under the outcome's own name."""
    a = fit.design.attrs
    return (_LINK if link else _EXPECTED).get(a["family"], "{}").format(a["outcome"])


def effect_label(fit: Fit, arm: str, link: bool = False) -> str:
    """``effect of small vs regular on mathk``, on the scale of the expected outcome or of the linear predictor."""
    return f"effect of {versus(fit, arm)} on {outcome_label(fit, link)}"
