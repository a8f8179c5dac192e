"""Figures of items: do the curves fit, where does the test measure, and which items carry the effect."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte.checks import replicate
from bayeshte.checks.predictive import evenly_spaced
from bayeshte.effects import units
from bayeshte.errors import SpecError, near
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_curves import information
from bayeshte.families.item_response_names import INTERCEPT
from bayeshte.fit import Fit
from bayeshte.items.common import arms_of, check_item_effects, check_items
from bayeshte.labelled import flatten
from bayeshte.plots import style

REPLICATES, PANELS, GROUPS = 200, 20, 5  # data sets; items in a figure and groups of persons, at most
NODES, DRAWS = 121, 400  # of the ability axis, and draws of its bands
NAMED = 25  # items that are named
COLOURS = (style.GREY, style.BLUE, style.VERMILION, *style.CHAINS)


@dataclass(frozen=True)
class _Groups:
    """Persons of an arm by their score on the other items.

    Attributes
    ----------
    place : ndarray (group,)
        Mean score of the group on the other items.
    observed : ndarray (group,)
        Share of right answers, or mean category over the highest.
    replicated : ndarray (draw, group)
        The same in replicated data, missing where a group is empty.
    """

    place: np.ndarray
    observed: np.ndarray
    replicated: np.ndarray


@style.paper
def plot_item_curves(fit: Fit, items: list[str] | None = None, seed: int = 0) -> Figure:
    """Share of right answers by the score on the other items, a panel an item, an arm a colour: observed and predicted.

    Dots are the data, bands 95 % of 200 replicated data sets whose persons were grouped in the same way. Scores are shares of
    right answers among the other items that a person saw, groups about equal in size over all arms. Of ordered categories,
    counted from 0, they are mean categories over the highest, and sums of them over the highest sum.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse`.
    items : list of str, optional
        Which; by default the 20 whose effects are furthest from the average, or the first 20.
    seed : int
        Of the replicated data.

    Raises
    ------
    SpecError
        Another family, or an item that is not in the data.
    """
    check_items(fit, "Item curves")
    shown = _chosen(fit, items)
    y, replicated = fit.design["y"].to_numpy(), replicate(fit, REPLICATES, seed)
    arms, binary = arms_of(fit.design), Arrays(fit.design).binary
    lines, cols = style.grid(len(shown), 4)
    fig, axes = style.canvas(style.PAGE, 0.8 + 1.5 * lines, lines, cols, sharey=True)
    used = style.used(axes, len(shown))
    for name, ax in zip(shown, used, strict=True):
        for k, found in enumerate(_curves(fit, name, y, replicated)):
            lower, upper = np.nanquantile(found.replicated, [0.025, 0.975], axis=0)
            ax.fill_between(
                found.place, lower, upper, color=COLOURS[k], alpha=0.25, lw=0, label=f"{arms[k]}: 95 % predicted"
            )
            ax.plot(found.place, found.observed, "o-", ms=3, lw=0.7, color=COLOURS[k], label=f"{arms[k]}: observed")
        ax.set_title(style.shorten(name, 24))
        ax.set_ylim(-0.03, 1.03)
    for ax in used[-cols:]:
        ax.set_xlabel("share right of the other items" if binary else "score share on the other items")
    outcome = (
        style.outcome_label(fit) if binary else f"mean {fit.design.attrs['outcome']}, share of the highest category"
    )
    fig.supylabel(outcome, fontsize=style.SMALL)
    style.legend(fig, used, 2 * len(arms) if len(arms) < 3 else 3)
    style.say_verdict(fit, fig)
    return fig


def _chosen(fit: Fit, items: list[str] | None) -> list[str]:
    names = [str(v) for v in fit.design[units(fit.design)[0]].to_numpy()]
    if items is not None:
        for name in items:
            if name not in names:
                raise SpecError(f"items: {name!r} is not an item of the data.{near(name, names)}")
        return list(items)
    if len(names) <= PANELS or "zeta" not in fit.posterior:
        return names[:PANELS]
    dim = units(fit.design)[0]
    others = [d for d in fit.posterior["zeta"].dims if d != dim]
    away = np.abs(fit.posterior["zeta"].median(("chain", "draw"))).max(
        [d for d in others if d not in ("chain", "draw")]
    )
    return [names[k] for k in sorted(np.argsort(-away.to_numpy(), kind="stable")[:PANELS])]


def _curves(fit: Fit, name: str, y: np.ndarray, replicated: np.ndarray) -> list[_Groups]:
    """The groups of each arm, for one item."""
    dim, item, _ = units(fit.design)
    person, arm = fit.design["cluster_code"].to_numpy(), fit.design["arm_code"].to_numpy()
    own = item == [str(v) for v in fit.design[dim].to_numpy()].index(name)
    n = np.bincount(person)
    own = own & (n[person] > 1)
    highest = fit.design["n_categories"].to_numpy()[item] - 1.0
    total = np.bincount(person, highest)[person[own]] - highest[own]

    def rest(values: np.ndarray) -> np.ndarray:
        """Score on the other items, share of the highest, of the persons who saw this one."""
        return (np.bincount(person, values, minlength=len(n))[person[own]] - values[own]) / total

    observed = rest(y)
    cuts = np.unique(np.quantile(observed, np.arange(1, GROUPS) / GROUPS))
    shares, rows = [np.searchsorted(cuts, observed, side="left")], [y[own] / highest[own]]
    for values in replicated:
        shares.append(np.searchsorted(cuts, rest(values), side="left"))
        rows.append(values[own] / highest[own])
    out = []
    for k in range(len(arms_of(fit.design))):
        member = arm[own] == k
        table = np.array([_shares(g[member], v[member], len(cuts) + 1) for g, v in zip(shares, rows, strict=True)])
        filled = ~np.isnan(table[0]) & ~np.isnan(table[1:]).all(0)
        place = _shares(shares[0][member], observed[member], len(cuts) + 1)
        out.append(_Groups(place[filled], table[0][filled], table[1:][:, filled]))
    return out


def _shares(group: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Mean of the values of each group, missing where it is empty."""
    n = np.bincount(group, minlength=count)
    return np.where(n > 0, np.bincount(group, values, minlength=count) / np.maximum(n, 1), np.nan)


@style.paper
def plot_item_information(fit: Fit) -> Figure:
    """Information of the test about an ability, by arm, above the abilities that there are.

    Information is the sum over items and categories of P'^2 / P, P (1 - P) of an item of a Rasch model: its inverse is the
    variance of an estimate of the ability from the responses. Bands are 95 % equal-tailed, lines medians. Where the arms differ,
    treatment has moved the items to other abilities.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse`.

    Raises
    ------
    SpecError
        For another family, or a posterior without abilities.
    """
    check_items(fit, "Information curves")
    if "theta" not in fit.posterior:
        raise SpecError(
            "Information curves need the abilities of persons, which are not kept for so many: use fewer draws."
        )
    p, D = evenly_spaced(fit, DRAWS), Arrays(fit.design)
    easiness, shapes, theta = D.easiness(p), D.shapes(p), flatten(p["theta"])
    abilities = [theta[:, D.person_arm == k].ravel() for k in range(len(D.arms))]
    low, high = np.quantile(np.concatenate(abilities), [0.001, 0.999])
    middle = -np.quantile(easiness, [0.05, 0.95])
    theta = np.linspace(min(low, middle[1]) - 0.5, max(high, middle[0]) + 0.5, NODES)
    fig, axes = style.canvas(style.COLUMN * 1.3, 3.6, 2, 1, sharex=True, height_ratios=[3, 1])
    above, below = axes[:, 0]
    for k, arm in enumerate(D.arms):
        curve = information(D, shapes, theta, easiness[:, k])
        lower, median, upper = np.quantile(curve, [0.025, 0.5, 0.975], axis=0)
        above.fill_between(theta, lower, upper, color=COLOURS[k], alpha=0.25, lw=0)
        above.plot(theta, median, color=COLOURS[k], label=f"{arm}, 95 % band")
        below.hist(
            abilities[k], bins=np.linspace(theta[0], theta[-1], 41), density=True, histtype="step", color=COLOURS[k]
        )
    above.set_ylim(0, None)
    above.set_ylabel(f"information of {D.n_items} items")
    below.set_ylabel("persons")
    below.set_yticks([])
    below.set_xlabel(style.wrap(f"ability, {D.scale}, at easiness 0", 3.2))
    style.legend(fig, [above], min(len(D.arms), 3))
    style.say_verdict(fit, fig)
    return fig


@style.paper
def plot_item_effects(fit: Fit, contrast: str | None = None, ax: Axes | None = None) -> Figure:
    """Which items carry the effect: the effect on every item against its easiness, with 95 % intervals and their common line.

    Filled markers: the 95 % interval of the difference between the effect on the item and the average over these items leaves out
    zero, differential item functioning by arm; up to 25 of these are named. Intervals of easiness are relative to the average of
    these items, too. The line is the effect to expect of an item of that easiness, their average + rho sigma_zeta / sigma_b times
    its distance from theirs, with a 95 % band: it rises if easier items gain more.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse` with item effects.
    contrast : str, optional
        An arm; by default a panel for every arm but the reference.
    ax : Axes, optional
        Draw one contrast there.

    Raises
    ------
    SpecError
        Another family, no item effects, an unknown contrast, or several contrasts for one `ax`.
    """
    check_item_effects(fit, "Item effects")
    arms = style.chosen(fit, contrast)
    if ax is not None and len(arms) > 1:
        raise SpecError(f"One set of axes shows one contrast: name it, contrast= one of {style.contrasts(fit)}.")
    if ax is not None:
        fig, places = ax.figure, [ax]
    else:
        lines, cols = style.grid(len(arms), 2)
        fig, axes = style.canvas(style.PAGE, 3.6 * lines, lines, cols)
        places = style.used(axes, len(arms))
    for arm, place in zip(arms, places, strict=True):
        _draw_effects(fit, arm, place)
    if ax is None:
        style.legend(fig, places, 4)
    else:
        ax.legend()
    style.say_verdict(fit, fig, ax)
    return fig


def _draw_effects(fit: Fit, arm: str, ax: Axes) -> None:
    dim, treatment = units(fit.design)[0], fit.design.attrs["treatment"]
    effect = fit.posterior["effect"].sel({treatment: arm}, drop=True)
    b, average = fit.posterior["b"], effect.mean(dim)
    centre = float(b.mean(dim).median())
    x0, x, x1 = _limits(b - b.mean(dim)) + centre
    y0, y, y1 = _limits(effect)
    low, _, high = _limits(effect - average)
    differs = (low > 0) | (high < 0)
    level = float(average.median())
    ax.axhline(0, color=style.GREY, lw=0.6, zorder=0)
    ax.axhline(level, color=style.INK, lw=0.8, ls="--", zorder=1, label="average of these items")
    _draw_line(fit, arm, average, centre, np.linspace(x.min(), x.max(), 50), ax)
    ax.hlines(y, x0, x1, color=style.GREY, lw=0.5, alpha=0.6)
    ax.vlines(x, y0, y1, color=style.BLUE, lw=0.9, alpha=0.6)
    ax.plot(x[~differs], y[~differs], "o", ms=4, mfc="white", mec=style.BLUE, mew=0.8, label="item, 95 % intervals")
    ax.plot(x[differs], y[differs], "o", ms=4, color=style.BLUE, label="item that differs from it")
    names = [str(v) for v in fit.design[dim].to_numpy()]
    named = [k for k in np.argsort(-np.abs(y - level)) if differs[k]][:NAMED]
    for k in named:
        ax.annotate(style.shorten(names[k], 16), (x[k], y[k]), (3, 3), textcoords="offset points", fontsize=5.5)
    unit = Arrays(fit.design).unit
    where = "before" if fit.design.attrs["occasion"] else "in the reference arm"
    ax.set_xlabel(f"easiness of the item {where}, {unit}")
    ax.set_ylabel(style.wrap(f"effect of {style.versus(fit, arm)} on the item, {unit}", 3.0))
    summary = style.estimate(average.to_numpy().ravel())
    title = f"{differs.sum()} of {len(names)} items differ from their average effect, {summary}"
    ax.set_title(title if len(arms_of(fit.design)) == 2 else style.wrap(title, 3.0))


def _draw_line(fit: Fit, arm: str, average: xr.DataArray, centre: float, grid: np.ndarray, ax: Axes) -> None:
    """The expected effect of an item by its easiness."""
    p, treatment = fit.posterior, fit.design.attrs["treatment"]
    if "rho" not in p:
        return
    rho, sd = p["rho"], p["sigma_zeta"]
    if "varying" in rho.dims:
        rho, sd = rho.sel(varying=INTERCEPT, varying_=arm, drop=True), sd.sel({treatment: arm}, drop=True)
    slope = (rho * sd / p["sigma_b"]).transpose("chain", "draw").to_numpy().ravel()
    curve = average.transpose("chain", "draw").to_numpy().ravel()[:, None] + slope[:, None] * (grid - centre)
    lower, median, upper = np.quantile(curve, [0.025, 0.5, 0.975], axis=0)
    ax.fill_between(grid, lower, upper, color=style.VERMILION, alpha=0.15, lw=0, zorder=0)
    ax.plot(grid, median, color=style.VERMILION, lw=0.9, label="expected at that easiness, 95 % band")


def _limits(values: xr.DataArray) -> np.ndarray:
    """Lower limit, median and upper limit of the 95 % interval of each item."""
    return np.quantile(values.transpose("chain", "draw", ...), [0.025, 0.5, 0.975], axis=(0, 1))
