"""Many trials in one picture: item effects around average effects, and what constant item effects do to an interaction.

The two figures of the Item Response Warehouse's vignette on item-level effects (Gilbert, Himmelsbach, Soland & Domingue, 2025;
Gilbert, Miratrix, Joshi & Domingue, 2025), from a tidy table with a row a trial and one with a row an item.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from bayeshte.errors import DataError, near
from bayeshte.plots import style

TRIALS = ("tab", "n_items", "ate_std", "sigma_zeta_std", "rho", "sig_il_hte")
ITEMS = ("tab", "total_std")
INTERACTIONS = ("tab", "n_items", "rho", "sd_ratio", "delta_beta3")
VARIES, CONSTANT = style.BLUE, style.VERMILION
MIDDLE = "#d3d3d3"
RHO = LinearSegmentedColormap.from_list("rho", [style.BLUE, MIDDLE, style.VERMILION])
CRITERION = "likelihood-ratio test, p < .05"


@dataclass(frozen=True)
class Ordered:
    """Trials from the smallest average effect to the largest, and the effects on their items.

    Attributes
    ----------
    table : DataFrame
        A row a trial, its place is its number.
    place, effect : ndarray (item,)
        Place of the trial and standardised effect of every item.
    """

    table: pd.DataFrame
    place: np.ndarray
    effect: np.ndarray


def ordered(summary: pd.DataFrame, items: pd.DataFrame) -> Ordered:
    """The trials of both tables in the order of their average effects; DataError for what is missing or does not match."""
    _check(summary, TRIALS, "summary")
    _check(items, ITEMS, "items")
    table = summary.sort_values("ate_std", kind="stable", ignore_index=True)
    place = {v: k for k, v in enumerate(table["tab"])}
    unknown = sorted({*items["tab"].astype(str)} - {*map(str, place)})
    if unknown:
        raise DataError(
            f"items has {len(unknown)} trials that are not in summary, such as {unknown[0]!r} in column 'tab'."
        )
    return Ordered(table, items["tab"].map(place).to_numpy(), items["total_std"].to_numpy(float))


def interactions(summary: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The trials that have an interaction and a ratio of item SDs, and how many have not."""
    _check(summary, INTERACTIONS, "summary", allow_missing=("rho", "sd_ratio", "delta_beta3"))
    shown = summary.dropna(subset=["rho", "sd_ratio", "delta_beta3"])
    if shown.empty:
        raise DataError("No trial has rho, sd_ratio and delta_beta3: there is nothing to draw.")
    return shown, len(summary) - len(shown)


def _check(table: pd.DataFrame, wanted: tuple[str, ...], name: str, allow_missing: tuple[str, ...] = ("rho",)) -> None:
    for column in wanted:
        if column not in table:
            raise DataError(
                f"{name} has no column {column!r}.{near(column, table.columns)} It needs {', '.join(wanted)}."
            )
        missing = int(table[column].isna().sum())
        if missing and column not in allow_missing:
            raise DataError(
                f"Column {column!r} of {name} is missing in {missing} of {len(table)} rows: leave these out."
            )
    if len(table) == 0:
        raise DataError(f"{name} has no rows.")
    if name == "summary" and table["tab"].duplicated().any():
        again = table.loc[table["tab"].duplicated(), "tab"].iloc[0]
        raise DataError(f"Column 'tab' of summary names {again!r} more than once: a trial has one row.")


@style.paper
def plot_trials(summary: pd.DataFrame, items: pd.DataFrame, criterion: str = CRITERION) -> Figure:
    """Standardised effects on items (small) around the average effect (large), a line a trial, ordered by the average.

    Parameters
    ----------
    summary : DataFrame
        A row a trial: ``tab`` (its name), ``n_items, ate_std, sigma_zeta_std, rho``, and ``sig_il_hte``, whether the effect
        varies over items.
    items : DataFrame
        A row an item: ``tab``, and ``total_std``, its effect in SDs of abilities.
    criterion : str
        What decides ``sig_il_hte``, for the legend.

    Raises
    ------
    DataError
        Columns, values or trials that are missing.
    """
    trials = ordered(summary, items)
    table, n = trials.table, len(trials.table)
    varies = table["sig_il_hte"].to_numpy(bool)
    fig, axes = style.canvas(style.PAGE, max(2.5, 1.1 + 0.115 * n))
    ax = axes[0, 0]
    ax.axvline(0, color=style.GREY, lw=0.6, zorder=0)
    for value, colour, word in ((True, VARIES, "varies"), (False, CONSTANT, "not shown to vary")):
        own = varies[trials.place] == value
        ax.plot(trials.effect[own], trials.place[own], "o", ms=2.2, color=colour, alpha=0.4, mew=0, rasterized=True)
        label = f"effect {word} over items ({(varies == value).sum()} trials)"
        at = np.flatnonzero(varies == value)
        ax.plot(table["ate_std"].to_numpy()[at], at, "o", ms=5.5, color=colour, mec="white", mew=0.6, label=label)
    ax.set_yticks(range(n), [style.shorten(v) for v in table["tab"]])
    ax.tick_params(axis="y", labelsize=min(style.SMALL, 5.5) if n > 30 else style.SMALL, length=0)
    ax.set_ylim(-1, n)
    ax.set_xlabel("effect of treatment in SDs of abilities: on items (small), on average (large)")
    ax.set_title(f"{n} trials by average effect; colour: {criterion}")
    style.legend(fig, [ax], 2)
    return fig


@style.paper
def plot_interaction_bias(summary: pd.DataFrame) -> Figure:
    """Interaction of treatment and covariate with constant item effects minus that with item effects, by the ratio of item SDs.

    A dot a trial, its area by the number of items, its colour the correlation rho of easiness and effect. Where treatment
    stretches the items (ratio above one), constant effects pull the interaction down.

    Parameters
    ----------
    summary : DataFrame
        A row a trial: ``tab, n_items, rho, sd_ratio`` (treated over reference arm) and ``delta_beta3`` (B - C). Trials
        without an interaction are left out and counted.

    Raises
    ------
    DataError
        Columns or values that are missing.
    """
    shown, left_out = interactions(summary)
    fig, axes = style.canvas(style.PAGE, 4.2)
    ax = axes[0, 0]
    ax.axhline(0, color=style.GREY, lw=0.6, zorder=0)
    ax.axvline(1, color=style.GREY, lw=0.6, ls="--", zorder=0)
    order = shown.sort_values("n_items", ascending=False)  # small dots in front
    area = 9 * order["n_items"].to_numpy(float)  # the diameter goes with the root
    dots = ax.scatter(
        *(order[v] for v in ("sd_ratio", "delta_beta3")),
        s=area,
        c=order["rho"],
        cmap=RHO,
        vmin=-1,
        vmax=1,
        lw=0.6,
        edgecolor="white",
    )
    bar = fig.colorbar(dots, ax=ax, shrink=0.6, aspect=16)
    bar.set_label("ρ, correlation of easiness and effect")
    bar.ax.tick_params(labelsize=style.SMALL, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)
    ax.set_xlabel("SD of the easiness of items: treated over reference arm")
    ax.set_ylabel("interaction: constant item effects − item effects (β₃ of B − C)")
    missing = f"; {left_out} without an interaction left out" if left_out else ""
    few, many = int(shown["n_items"].min()), int(shown["n_items"].max())
    ax.set_title(f"{len(shown)} trials with {few} to {many} items (diameter: root of the number){missing}")
    return fig
