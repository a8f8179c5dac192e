"""Posterior predictive checks as pictures: could the model have made these data?"""

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from arviz_plots import PlotCollection
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte.checks import predictive_checks, replicate
from bayeshte.families.sem_categorical import category_labels
from bayeshte.fit import Fit
from bayeshte.plots import style
from bayeshte.plots.with_arviz import finish, layout

_LEVELS = {"within": "within: replicated in these clusters", "between": "between: replicated in new clusters"}
PANELS = 24  # of several variables
REPLICATES, CELLS = 50, 5_000_000  # data sets; replicated outcomes, but at least ten data sets
PREDICTIONS = 500  # data sets whose mean is the predicted probability of a row
COUNTS = 100  # different counts in a rootogram: ArviZ goes through all data sets for each
EDGE = 2.5  # observed statistics further out are shown at the edge
SEEN, MADE = {"color": style.INK}, {"color": style.BLUE}


@style.paper
def plot_ppc(fit: Fit) -> PlotCollection:
    """Replicated outcomes against the observed one; replicates keep the random effects of these clusters.

    A panel an arm with the densities of 50 replicated data sets, or the cumulative shares if the outcome has few distinct
    values. Counts: a rootogram if at most 100 are different, else shares. Binary outcomes: calibration, the observed share
    of ones at each predicted probability (isotonic regression; Dimitriadis et al., 2021).

    Structural equation models: a panel a variable, with bars of the shares of the categories of a categorical one; with two
    levels also the means of the clusters (of a categorical variable the share above the first category) and their own variables,
    which are replicated in new clusters: there the replicates show what the model says of how clusters differ.

    Returns
    -------
    PlotCollection
        ArviZ's; ``.savefig(path)`` writes it.
    """
    match fit.design.attrs["family"]:
        case "logit" | "probit" if "trials" not in fit.design:
            pc, across, up = _calibration(fit)
        case "poisson" | "negative binomial":
            pc, across, up = _counts(fit)
        case _ if "y" not in fit.design:
            pc, across, up = _variables(fit)
        case _:
            pc, across, up = _distributions(fit)
    figure = finish(fit, pc, {"y": ""} if "y" in fit.design else {})
    figure.supxlabel(style.wrap(across, figure.get_figwidth() * 0.9), fontsize=style.SMALL)
    figure.supylabel(up, fontsize=style.SMALL)
    return pc


def _replicated(fit: Fit, draws: int, dtype: type = float) -> tuple[np.ndarray, np.ndarray]:
    """The outcome (row,) and its replicates (draw, row), fewer of very many rows."""
    y = fit.design["y"].to_numpy().astype(dtype)
    return y, replicate(fit, int(np.clip(CELLS // len(y), 10, draws))).astype(dtype)


def _tree(y: np.ndarray, replicated: np.ndarray, dim: str, labels: np.ndarray) -> xr.DataTree:
    """Data and replicates as ArviZ takes them; it makes a panel of every distinct label."""
    return xr.DataTree.from_dict(
        {
            "posterior_predictive": xr.Dataset({"y": (("chain", "draw", dim), replicated[None])}, {dim: labels}),
            "observed_data": xr.Dataset({"y": (dim, y)}, {dim: labels}),
        }
    )


def _distributions(fit: Fit) -> tuple[PlotCollection, str, str]:
    a, codes = fit.design.attrs, fit.design["arm_code"].to_numpy()
    arms = [a["reference"], *style.contrasts(fit)]
    y, replicated = _replicated(fit, REPLICATES)
    shares = a["family"] in ("poisson", "negative binomial") or any(_rounded(y[codes == k]) for k in range(len(arms)))
    pc, up = _panels(_tree(y, replicated, "arm", np.array(arms)[codes]), shares, layout(len(arms), 3, 2.0))
    for arm in arms:
        title = style.wrap(f"{a['treatment']} = {arm}", 2.1, lines=2) if a["treatment"] else "y"
        ax = pc.get_target("y", {"arm": arm})
        ax.set_title(title)
        categories = a.get("categories", ())
        if len(categories):
            ax.set_xticks(range(len(categories)), [style.shorten(c, 10) for c in categories])
    return pc, f"{a['outcome']}: observed (black), {len(replicated)} replicated data sets (blue)", up


def _panels(tree: xr.DataTree, shares: bool, options: dict) -> tuple[PlotCollection, str]:
    """Observed and replicated distributions, a panel a label: densities, or cumulative shares."""
    predicted = tree["posterior_predictive"]
    options |= {"cols": [predicted["y"].dims[-1]], "num_samples": predicted.sizes["draw"]}
    visuals = {"predictive_dist": MADE | {"alpha": 0.25, "width": 0.5}, "observed_dist": SEEN | {"width": 1.4}}
    if shares:
        return az.plot_ppc_dist(tree, kind="ecdf", visuals=visuals, **options), "cumulative share"
    open_ended = {"bound_correction": False, "extend": True, "extend_fct": 1.0}  # outcomes do not end where data do
    stats = {"predictive_dist": open_ended, "observed_dist": open_ended}
    return az.plot_ppc_dist(tree, kind="kde", visuals=visuals, stats=stats, **options), "density"


def _variables(fit: Fit) -> tuple[PlotCollection, str, str]:
    found = _values(fit)
    shown = dict(list(found.items())[:PANELS])
    labels = np.repeat(np.arange(len(shown)), [len(y) for y, _ in shown.values()])  # ArviZ sorts them
    y, replicated = (np.concatenate([pair[k] for pair in shown.values()], axis=-1) for k in (0, 1))
    many = len(shown) > 6
    options = layout(len(shown), 4 if many else 3, 1.4 if many else 1.9)
    categories = category_labels(fit.spec.structure_of(fit.design), fit.design)
    few = any(_rounded(y) for label, (y, _) in shown.items() if label not in categories)
    pc, up = _panels(_tree(y, replicated, "panel", labels), few, options)
    for k, label in enumerate(shown):
        ax = pc.get_target("y", {"panel": k})
        if label in categories:
            _bars(ax, *shown[label], categories[label])
        ax.set_title(style.shorten(label, 24 if many else 34))
    if categories:
        up = "share" if {*shown} <= {*categories} else f"{up}; bars: share"
    across = f"observed (black), {len(replicated)} replicated data sets (blue)"
    if fit.design.attrs["cluster"]:
        across += f"; means and variables of clusters: new clusters of {fit.design.attrs['cluster']}"
    return pc, across + (f"; {len(shown)} of {len(found)} variables" if len(shown) < len(found) else ""), up


def _bars(ax: Axes, y: np.ndarray, replicated: np.ndarray, labels: list[str]) -> None:
    """Shares of categories: bars of the observed ones, 95 % intervals of the replicated ones; in place of what is there."""
    ax.clear()
    place = np.arange(len(labels))
    seen = np.bincount(y.astype(int), minlength=len(labels)) / len(y)
    made = (replicated[..., None] == place).mean(1)
    lower, middle, upper = np.quantile(made, [0.025, 0.5, 0.975], axis=0)
    ax.bar(place, seen, width=0.7, color=style.LIGHT, edgecolor=style.INK, lw=0.8)
    ax.errorbar(place, middle, [middle - lower, upper - middle], fmt="o", ms=3, lw=1.2, color=style.BLUE)
    ax.set_xticks(place, [style.shorten(v, 10) for v in labels])
    ax.set_ylim(0, None)


def _values(fit: Fit) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values that are there (n,) and their replicates (draw, n), of every variable of rows and, in new clusters, of clusters."""
    design, cluster = fit.design, fit.design.attrs["cluster"]
    draws = int(np.clip(CELLS // design["Y"].size, 10, REPLICATES))
    Y, names = design["Y"].to_numpy(), design["within_variable"].to_numpy()
    out = _there(names, Y, replicate(fit, draws)["Y"].to_numpy())
    if cluster:
        new, code = replicate(fit, draws, clusters="new"), design["cluster_code"].to_numpy()
        categories = category_labels(fit.spec.structure_of(design), design)
        above = np.isin(names, [*categories])
        means = [
            _cluster_means(np.where(above, np.minimum(x, 1.0), x), code, design.sizes[cluster])
            for x in (Y[None], new["Y"].to_numpy())
        ]
        both = np.isin(names, design["between_variable"].to_numpy())
        titles = [
            f"cluster shares of {v} > {categories[v][0]}" if v in categories else f"cluster means of {v}"
            for v in map(str, names[both])
        ]
        out |= _there(titles, means[0][0][:, both], means[1][..., both])
        out |= _there(design["own_variable"].to_numpy(), design["V"].to_numpy(), new["V"].to_numpy())
    return out


def _there(names, seen: np.ndarray, made: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By name the values of a column that are there, and their replicates."""
    known = ~np.isnan(seen)
    return {str(v): (seen[known[:, k], k], made[:, known[:, k], k]) for k, v in enumerate(names)}


def _cluster_means(Y: np.ndarray, code: np.ndarray, clusters: int) -> np.ndarray:
    """Means of the values that are there, (draw, cluster, variable), for Y (draw, row, variable); NaN where there are none."""
    known = ~np.isnan(Y[0])
    n = np.zeros((clusters, Y.shape[-1]))
    np.add.at(n, code, known)
    out = np.zeros((len(Y), *n.shape))
    for total, y in zip(out, np.where(known, Y, 0.0), strict=True):
        np.add.at(total, code, y)
    return np.divide(out, n, out=np.full_like(out, np.nan), where=n > 0)


def _rounded(y: np.ndarray) -> bool:
    """Whether so few distinct values that a density would show the gaps between them as waves."""
    return len(np.unique(y)) < max(4, len(y) / 10)


def _counts(fit: Fit) -> tuple[PlotCollection, str, str]:
    y, replicated = _replicated(fit, PREDICTIONS, int)
    if len(np.unique(replicated)) > COUNTS:
        return _distributions(fit)
    tree = _tree(y, replicated, "row", fit.design["row"].to_numpy())
    visuals = {"predictive_markers": MADE, "credible_interval": MADE, "observed_markers": SEEN}
    visuals |= dict.fromkeys(("xlabel", "ylabel", "grid"), False)
    pc = az.plot_ppc_rootogram(tree, ci_prob=0.95, visuals=visuals, **layout(1, 1, 2.2))
    across = f"{fit.design.attrs['outcome']}: observed (black), replicated (blue, 95 % intervals)"
    end = max(y.max(), np.quantile(replicated.max(1), 0.975))
    if end < replicated.max():
        pc.get_target("y", {}).set_xlim(-0.5, end + 0.5)
        across += f"; above {end:.0f}: in at most 2.5 % of the replicated data sets, not shown"
    return pc, across, "rows (square-root scale)"


def _calibration(fit: Fit) -> tuple[PlotCollection, str, str]:
    tree = _tree(*_replicated(fit, PREDICTIONS), "row", fit.design["row"].to_numpy())
    visuals = {"lines": SEEN, "credible_interval": MADE, "reference_line": {"color": style.GREY}}
    pc = az.plot_ppc_pava(tree, ci_prob=0.95, visuals=visuals | {"xlabel": False, "ylabel": False}, **layout(1, 1, 2.6))
    across = f"predicted {style.outcome_label(fit)} (blue: 95 % of replicated data sets)"
    return pc, across, f"observed share with {fit.design.attrs['outcome']} = 1"


@style.paper
def plot_checks(fit: Fit, checks: pd.DataFrame | None = None) -> Figure:
    """Posterior predictive checks: each observed statistic against its replicated 95 % interval.

    Every statistic has its own unit, so the axis is the replicated distribution: its median in the middle, the ends of its
    95 % interval at the two lines. Given these clusters ("within") and for new ones ("between").

    Parameters
    ----------
    checks : DataFrame, optional
        From `bh.predictive_checks`, if it is there already.
    """
    table = predictive_checks(fit) if checks is None else checks
    levels = table["level"].unique()
    height = 0.8 + 0.17 * len(table) + 0.35 * len(levels)
    sizes = [(table["level"] == v).sum() for v in levels]
    fig, axes = style.canvas(style.PAGE, height, len(levels), 1, sharex=True, height_ratios=sizes)
    for level, ax in zip(levels, axes[:, 0], strict=True):
        _statistics(ax, table[table["level"] == level])
        ax.set_title(_LEVELS[level])
    axes[-1, 0].set_xlabel(
        "observed (dot; hollow where p is extreme) on the replicated distribution (bar: 95 %, line: median)"
    )
    style.say_verdict(fit, fig)
    return fig


def _statistics(ax: Axes, t: pd.DataFrame) -> None:
    middle = t["replicated"].to_numpy()
    above, below = t["upper"].to_numpy() - middle, middle - t["lower"].to_numpy()
    distance = t["observed"].to_numpy() - middle
    scale = np.where(distance >= 0, above, below)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.clip(np.where(distance == 0, 0.0, distance / scale), -EDGE, EDGE)
    place = np.arange(len(t))[::-1]
    extreme = t["extreme"].to_numpy(bool)
    ax.hlines(place, -1, 1, color=style.LIGHT, lw=5)
    ax.vlines(np.zeros(len(t)), place - 0.3, place + 0.3, color=style.GREY, lw=0.8)
    ax.plot(at[~extreme], place[~extreme], "o", ms=4, color=style.BLUE, mew=0)
    for marker, own in (("D", np.abs(at) < EDGE), (">", at >= EDGE), ("<", at <= -EDGE)):
        pick = own & extreme
        ax.plot(at[pick], place[pick], marker, ms=4, mfc="white", mec=style.VERMILION)
    for row, y in zip(t.itertuples(), place, strict=True):
        seen, made, lower, upper = (
            style.number(v, row.upper - row.lower) for v in (row.observed, row.replicated, row.lower, row.upper)
        )
        text = f"{seen} vs {made} [{lower}, {upper}], p {style.probability(row.p)}"
        ax.text(1.01, y, text, transform=ax.get_yaxis_transform(), va="center")
    ax.text(1.01, len(t) - 0.2, "observed vs replicated [95 %]", transform=ax.get_yaxis_transform(), va="center")
    ax.set_yticks(place, [style.shorten(s, 56) for s in t["statistic"]])
    ax.set_ylim(-0.7, len(t) - 0.3)
    ax.set_xlim(-EDGE - 0.3, EDGE + 0.3)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xticks([-1, 1], ["2.5 %", "97.5 %"])
