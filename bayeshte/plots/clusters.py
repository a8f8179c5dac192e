"""Clusters seen twice: with and without pooling, and their effect against where they start from."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte.effects import effect_draws, units
from bayeshte.errors import SpecError
from bayeshte.fit import Fit
from bayeshte.plots import style
from bayeshte.plots.caterpillar import varying

BLOCK = 5_000_000  # weights held at once
WORK = 20_000_000  # expected outcomes computed for one figure, at least 400 draws


@style.paper
def plot_pooling(fit: Fit, contrast: str | None = None) -> Figure:
    """Partial pooling against no pooling: each cluster's raw difference of arm means and its posterior median.

    A segment joins what the cluster says by itself (on the identity line) to what the model says of it; the area of a
    marker is proportional to the cluster's persons in the two arms (to 1 / SE^2, which then also weights the means, with
    known standard errors). Clusters without one of the arms have no raw difference and are left out. Outcomes with a link
    are shown as differences of expected outcomes. Without a treatment, raw means of clusters against their posterior
    medians.

    Parameters
    ----------
    fit : Fit
    contrast : str, optional
        An arm; by default a panel for every arm whose effect varies.

    Raises
    ------
    SpecError
        Nothing varies across clusters, no two hold both arms, or the contrast is unknown.
    """
    style.check_outcome(fit, "Pooling")
    arms = [a for a in _shown(fit, contrast) if compared(fit, a)]
    if not arms:
        raise SpecError("No two clusters hold both arms: there are no raw differences to compare with.")
    fig, axes = _squares(len(arms))
    for arm, ax in zip(arms, axes, strict=True):
        raw, size = _raw(fit, arm)
        draws = _effects(fit, arm) if arm else effect_draws(fit, "cluster mean").to_numpy().reshape(-1, len(raw))
        keep = np.isfinite(raw)
        _pooling(ax, raw[keep], np.median(draws, axis=0)[keep], draws.mean(1), size[keep], "se" in fit.design)
        what = f"difference of arm means, {style.versus(fit, arm)}" if arm else "cluster mean"
        label = style.effect_label(fit, arm) if arm else style.outcome_label(fit)
        if not keep.all():
            ax.set_title(f"left out: {(~keep).sum()} with one of the two arms only")
        ax.set_xlabel(style.wrap(f"no pooling: raw {what} ({fit.design.attrs['outcome']})", 2.7))
        ax.set_ylabel(style.wrap(f"partial pooling: {label}", 1.9))
    style.legend(fig, axes, 2)
    style.say_verdict(fit, fig)
    return fig


def _pooling(ax: Axes, raw: np.ndarray, pooled: np.ndarray, average: np.ndarray, size: np.ndarray, by_se: bool) -> None:
    ends = np.array([min(raw.min(), pooled.min()), max(raw.max(), pooled.max())])
    ax.plot(ends, ends, color=style.INK, lw=0.7, label="no pooling")
    ax.axhline(np.median(average), color=style.GREY, lw=0.9, ls=(0, (6, 2)), label="average")
    ax.vlines(raw, raw, pooled, color=style.GREY, lw=0.5 if len(raw) < 150 else 0.25, alpha=0.6)
    largest = float(np.clip(2500 / len(raw), 5, 60))
    what = "1 / SE²" if by_se else "persons"
    areas = largest * size / size.max()
    ax.scatter(raw, pooled, s=areas, color=style.BLUE, alpha=0.8, lw=0, zorder=3, label=f"partial (area: {what})")


@style.paper
def plot_baseline(fit: Fit, contrast: str | None = None) -> Figure:
    """Effect by baseline: each cluster's expected outcome in the reference arm against its effect.

    Points are posterior medians. The line is the least-squares line of effects on baselines over these clusters, computed
    in every draw, so that it is not flattened by the shrinkage of the points; its band holds 95 % of the draws.

    Parameters
    ----------
    fit : Fit
    contrast : str, optional
        An arm; by default a panel for every arm whose effect varies.

    Raises
    ------
    SpecError
        No effect varies across clusters, the reference arm's outcome does not, or the contrast is unknown.
    """
    style.check_outcome(fit, "Effect by baseline")
    if not style.contrasts(fit):
        raise SpecError("The model has no treatment, so it has no effects.")
    arms = _shown(fit, contrast)
    baseline = _expected(fit, fit.design.attrs["reference"])
    if np.ptp(np.median(baseline, axis=0)) <= 1e-9 * np.abs(baseline).max():
        raise SpecError(
            "The expected outcome in the reference arm is the same in all clusters: nothing to plot against."
        )
    fig, axes = _squares(len(arms))
    for arm, ax in zip(arms, axes, strict=True):
        _baseline(ax, baseline, _expected(fit, arm) - baseline, units(fit.design)[2].removesuffix("s"))
        correlation = _correlation(fit, arm)
        if correlation is not None:
            ax.set_title(f"correlation {style.estimate(correlation)}")
        ax.set_xlabel(style.wrap(f"baseline: {style.outcome_label(fit)} in {fit.design.attrs['reference']}", 2.8))
        ax.set_ylabel(style.wrap(style.effect_label(fit, arm), 2.2))
    style.legend(fig, axes, 3)
    style.say_verdict(fit, fig)
    return fig


def _baseline(ax: Axes, baseline: np.ndarray, effect: np.ndarray, unit: str) -> None:
    """Points and line from draws (draw, cluster or item)."""
    x, y = np.median(baseline, axis=0), np.median(effect, axis=0)
    centre, average = baseline.mean(1, keepdims=True), effect.mean(1, keepdims=True)
    deviation = baseline - centre
    slope = (deviation * (effect - average)).sum(1, keepdims=True) / (deviation**2).sum(1, keepdims=True)
    along = np.linspace(x.min(), x.max(), 60)
    lower, middle, upper = np.quantile(average + slope * (along - centre), [0.025, 0.5, 0.975], axis=0)
    ax.fill_between(along, lower, upper, color=style.LIGHT, lw=0, label="95 % band")
    ax.plot(along, middle, color=style.INK, label="least-squares line")
    size = float(np.clip(40 / math.sqrt(len(x)), 1.8, 4.5))
    ax.plot(x, y, "o", ms=size, color=style.BLUE, mew=0, alpha=0.8, label=f"{unit} (median)")
    ax.axhline(0, color=style.GREY, lw=0.6, zorder=0)


def compared(fit: Fit, arm: str) -> bool:
    """Whether at least two clusters have a raw difference."""
    return bool(np.isfinite(_raw(fit, arm)[0]).sum() > 1)


def has_baseline(fit: Fit) -> bool:
    """Whether a varying effect can be plotted against a varying baseline."""
    return bool(varying(fit)) and "intercept" in fit.design["varying"].to_numpy() and _drawn(fit)


def _drawn(fit: Fit) -> bool:
    """Whether the posterior holds the random effects of clusters, or the abilities of persons, that expected outcomes need."""
    return "u" in fit.posterior or "theta" in fit.posterior


def _shown(fit: Fit, contrast: str | None) -> list[str]:
    """Contrasts to show; an empty name for cluster means where there is no treatment."""
    treated = bool(style.contrasts(fit))
    if not _drawn(fit) or (treated and not varying(fit)):
        raise SpecError("No effect varies across clusters: there is nothing to show. See bh.plot_effect.")
    return style.chosen(fit, contrast, varying(fit)) if treated else [""]


def _squares(panels: int) -> tuple[Figure, list[Axes]]:
    lines, cols = style.grid(panels, 2)
    fig, axes = style.canvas(style.COLUMN * cols, 3.4 * lines, lines, cols)
    return fig, style.used(axes, panels)


def _raw(fit: Fit, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Raw difference of arm means (raw mean without a treatment) of each cluster, and its persons (or precision)."""
    d, y = fit.design, fit.design["y"].to_numpy()
    dim, code, _ = units(d)
    clusters = d.sizes[dim]
    weight = d["se"].to_numpy() ** -2.0 if "se" in d else np.ones(len(y))
    arms = [style.contrasts(fit).index(arm) + 1, 0] if arm else [0]
    means, size = [], np.zeros(clusters)
    for k in arms:
        own = d["arm_code"].to_numpy() == k
        n = np.bincount(code[own], weight[own], minlength=clusters)
        total = np.bincount(code[own], (weight * y)[own], minlength=clusters)
        means.append(np.divide(total, n, out=np.full(clusters, np.nan), where=n > 0))
        size += n
    return (means[0] - means[1] if arm else means[0]), size


def _effects(fit: Fit, arm: str) -> np.ndarray:
    """Draws of each cluster's effect on the expected outcome, (draw, cluster)."""
    if style.is_linear(fit):
        values = fit.posterior["effect"].sel({fit.design.attrs["treatment"]: arm})
        return values.to_numpy().reshape(-1, values.shape[-1])
    return _expected(fit, arm) - _expected(fit, fit.design.attrs["reference"])


def _expected(fit: Fit, arm: str) -> np.ndarray:
    """Draws of each cluster's expected outcome had all its persons been in `arm`, (draw, cluster).

    Clusters are taken in blocks, so that the weights (cluster, row) of a million rows are never held at once, and draws
    are thinned where rows are many.
    """
    d, posterior = fit.design, fit.posterior
    draws = posterior.sizes["chain"] * posterior.sizes["draw"]
    step = math.ceil(draws / max(400, WORK // d.sizes["row"]))
    posterior = posterior.isel(draw=slice(None, None, step))
    dim, code, _ = units(d)
    clusters = d.sizes[dim]
    order = np.argsort(code, kind="stable")
    ends = np.searchsorted(code[order], np.arange(clusters + 1))
    blocks = math.ceil(len(code) * clusters / BLOCK)
    out = []
    for block in np.array_split(np.arange(clusters), min(blocks, clusters)):
        own = order[ends[block[0]] : ends[block[-1] + 1]]
        member = code[own] == block[:, None]
        weight = member / member.sum(1, keepdims=True)
        values = fit.spec.expected(posterior, d.isel(row=own), arm=arm, weight=weight)
        out.append(values.transpose("chain", "draw", "group").to_numpy().reshape(-1, len(block)))
    return np.concatenate(out, axis=1)


def _correlation(fit: Fit, arm: str) -> np.ndarray | None:
    """Draws of the correlation of baseline and effect in the population of clusters, if the model has it on this scale."""
    name = "correlation of baseline and effect"
    if not style.is_linear(fit) or name not in [e.name for e in fit.spec.estimands(fit.design)]:
        return None
    values, treatment = effect_draws(fit, name), fit.design.attrs["treatment"]
    return values.sel({treatment: arm}).to_numpy().ravel() if arm in values[treatment].to_numpy() else None
