"""Figures for papers and reports, in the user's own column names; every one says when the fit did not converge."""

from bayeshte.plots.caterpillar import plot_caterpillar
from bayeshte.plots.classes import plot_classes, plot_fit_classes
from bayeshte.plots.clusters import plot_baseline, plot_pooling
from bayeshte.plots.draws import plot_priors, plot_rank, plot_trace
from bayeshte.plots.effects import plot_cate, plot_effect
from bayeshte.plots.outcome import plot_outcome
from bayeshte.plots.path_diagram import plot_path
from bayeshte.plots.predictive import plot_checks, plot_ppc
from bayeshte.plots.standard import figures

__all__ = [
    "figures",
    "plot_baseline",
    "plot_caterpillar",
    "plot_cate",
    "plot_checks",
    "plot_classes",
    "plot_effect",
    "plot_fit_classes",
    "plot_outcome",
    "plot_path",
    "plot_pooling",
    "plot_ppc",
    "plot_priors",
    "plot_rank",
    "plot_trace",
]
