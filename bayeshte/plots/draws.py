"""The draws: whether the chains agree, and what the data added to the priors."""

import arviz as az
import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_stats.base import array_stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from bayeshte.checks.sensitivity import sizes_of
from bayeshte.fit import Fit
from bayeshte.plots import style
from bayeshte.plots.with_arviz import TITLE, finish, layout
from bayeshte.prior import Prior
from bayeshte.summary import diagnostics, is_fixed

PARAMETERS = 24  # on a page
SIMULATIONS = 250  # of the rank envelope: one second instead of eight, for bounds a line's width away
WINDOW = 4.0  # posterior SDs of prior shown beyond the posterior


@style.paper
def plot_trace(fit: Fit) -> PlotCollection:
    """Draws in the order in which they were made, a panel a parameter, a colour a chain; divergences as marks below.

    Of more than 24 parameters those with the smallest effective sample size are shown.

    Returns
    -------
    PlotCollection
        ArviZ's; ``.savefig(path)`` writes it.
    """
    draws, note = _parameters(fit)
    tree, titles = _for_arviz(fit, draws)
    pc = az.plot_trace(
        tree,
        **layout(len(draws), _columns(draws), 1.0),
        visuals={"trace": {"width": 0.3, "alpha": 0.7}, "xlabel": False, "ticklabels": False},
    )
    figure = finish(fit, pc, titles)
    for line in (line for ax in figure.axes for line in ax.lines):
        line.set_rasterized(True)  # thousands of points a chain would make a vector file of megabytes
    figure.supxlabel(f"draw after warm-up, a colour a chain{note}", fontsize=style.SMALL)
    return pc


@style.paper
def plot_rank(fit: Fit) -> PlotCollection:
    """Whether the chains agree: ranks of each chain's draws among all draws, as the difference of their ECDF from uniform.

    A line outside the grey 95 % envelope is a chain that has seen another distribution than the others (Säilynoja,
    Bürkner & Vehtari, 2022). Of more than 24 parameters those with the smallest effective sample size are shown.

    Returns
    -------
    PlotCollection
    """
    draws, note = _parameters(fit)
    tree, titles = _for_arviz(fit, draws)
    pc = az.plot_rank(
        tree,
        **layout(len(draws), _columns(draws), 1.0),
        method="envelope",
        envelope_prob=0.95,
        stats={"ecdf_pit": {"n_simulations": SIMULATIONS}},
        visuals={"ecdf_lines": {"width": 0.8}, "xlabel": False, "remove_axis": False},
    )
    figure = finish(fit, pc, titles)
    figure.supxlabel(f"fractional rank, a colour a chain; grey: 95 % envelope{note}", fontsize=style.SMALL)
    figure.supylabel("ECDF difference", fontsize=style.SMALL)
    return pc


@style.paper
def plot_priors(fit: Fit) -> Figure:
    """Prior density (dashed) against posterior (filled) of every top-level parameter.

    The window is the posterior's; a wide prior is a low line in it. Improper priors have no density, and those of covariance
    matrices are not drawn: they are named. Of a correlation the prior is the marginal one of its LKJ prior. Of more than 24
    parameters those with the smallest effective sample size are shown.
    """
    draws, note = _parameters(fit)
    lines, cols = style.grid(len(draws), _columns(draws))
    fig, axes = style.canvas(style.PAGE, 0.5 + 1.25 * lines, lines, cols)
    keys = {label: key for label, key, _ in fit.spec.parameters(fit.posterior)}
    sizes = sizes_of(fit)
    for (label, x), ax in zip(draws.items(), style.used(axes, len(draws)), strict=True):
        prior = fit.priors[keys[label]]
        _prior_panel(ax, x.ravel(), prior, sizes.get(keys[label], 0))
        ax.set_title(f"{style.shorten(label, TITLE)}\n{_named(prior)}")
    fig.supxlabel(f"posterior (filled) and prior (dashed), density{note}", fontsize=style.SMALL)
    style.say_verdict(fit, fig)
    return fig


def _prior_panel(ax: Axes, x: np.ndarray, prior: Prior, size: int) -> None:
    at, height, _ = array_stats.kde(x, bw_fct=style.SMOOTH)
    ax.fill_between(at, 0, height, color=style.BLUE, alpha=0.35, lw=0)
    low, high = at[0] - WINDOW * np.std(x), at[-1] + WINDOW * np.std(x)
    if prior.name == "LKJ":
        low, high = -1.0, 1.0
    elif prior.support in ("positive", "simplex"):
        low = max(low, 0.0)
    if prior.support == "simplex":
        high = min(high, 1.0)
    wide = np.linspace(low, high, 400)
    if prior.proper and prior.support != "covariance":
        ax.plot(wide, _density(prior, wide, size), color=style.INK, lw=1.0, ls=(0, (4, 2)))
    ax.set_xlim(low, high)
    ax.set_ylim(0, None)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=4)


def _density(prior: Prior, x: np.ndarray, size: int) -> np.ndarray:
    """Prior density; for LKJ(eta) that of one correlation of a matrix of that size d: Beta(eta + d / 2 - 1) on (-1, 1).

    For Dirichlet(alpha) that of one of `size` probabilities: Beta(alpha, (size - 1) alpha).
    """
    if prior.name == "LKJ":
        shape = prior["eta"] + size / 2 - 1
        return stats.beta.pdf((x + 1) / 2, shape, shape) / 2
    if prior.name == "Dirichlet":
        return stats.beta.pdf(x, prior["alpha"], (size - 1) * prior["alpha"])
    return np.exp(prior.log_density(x))


def _named(prior: Prior) -> str:
    """The prior in words, its numbers to three digits."""
    if prior.name == "Flat":
        return "flat (improper)"
    if prior.name == "Power":
        k = prior["exponent"]
        return f"improper: ∝ x{_raised(k)}" if k else "flat above 0 (improper)"
    if prior.name == "VarianceInverseGamma":
        return f"variance: InverseGamma({', '.join(style.number(v) for _, v in prior.params)})"
    if prior.name == "InverseWishart":
        return f"InverseWishart, df {prior['df']:g}"
    return f"{prior.name}({', '.join(style.number(v) for _, v in prior.params)})"


def _raised(k: float) -> str:
    """An exponent; none for 1."""
    return "" if k == 1 else f"{k:g}".translate(str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _parameters(fit: Fit) -> tuple[dict[str, np.ndarray], str]:
    """Draws (chain, draw) of the parameters that vary by their label, and a note if they are not all."""
    draws = {label: x.transpose("chain", "draw").to_numpy() for label, _, x in fit.spec.parameters(fit.posterior)}
    draws = {label: x for label, x in draws.items() if not is_fixed(x[..., None])[0]}
    if len(draws) <= PARAMETERS:
        return draws, ""
    ess = np.nan_to_num(diagnostics(np.stack(list(draws.values()), axis=-1))["ess_bulk"])
    worst = {list(draws)[k] for k in np.argsort(ess, kind="stable")[:PARAMETERS]}
    note = f"; the {PARAMETERS} of {len(draws)} parameters with the smallest ESS"
    return {label: x for label, x in draws.items() if label in worst}, note


def _columns(draws: dict[str, np.ndarray]) -> int:
    """Panels a row: fewer where labels are long."""
    return 4 if max(len(label) for label in draws) <= 24 else 3


def _for_arviz(fit: Fit, draws: dict[str, np.ndarray]) -> tuple[xr.DataTree, dict[str, str]]:
    """A scalar variable a parameter, and the label of each: a tree takes no names with a slash, arms may have one."""
    names = {f"p{k}": label for k, label in enumerate(draws)}
    posterior = xr.Dataset({name: (("chain", "draw"), draws[label]) for name, label in names.items()})
    stats = fit.draws["sample_stats"].to_dataset()
    posterior = posterior.assign_coords({d: fit.posterior[d].to_numpy() for d in ("chain", "draw")})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats}), names
