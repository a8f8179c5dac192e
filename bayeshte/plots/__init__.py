"""Figures for papers and reports, in the user's own column names; every one says when the fit did not converge."""

from bayeshte.plots.caterpillar import plot_caterpillar
from bayeshte.plots.classes import plot_classes, plot_fit_classes
from bayeshte.plots.clusters import plot_baseline, plot_pooling
from bayeshte.plots.draws import plot_priors, plot_rank, plot_trace
from bayeshte.plots.effects import plot_cate, plot_effect
from bayeshte.plots.items import plot_item_curves, plot_item_effects, plot_item_information
from bayeshte.plots.outcome import plot_outcome
from bayeshte.plots.path_diagram import plot_path
from bayeshte.plots.predictive import plot_checks, plot_ppc
from bayeshte.plots.standard import figures
from bayeshte.plots.trials import plot_interaction_bias, plot_trials
from bayeshte.plots.trials_html import interaction_html, trials_html

__all__ = [
    "figures",
    "interaction_html",
    "plot_baseline",
    "plot_cate",
    "plot_caterpillar",
    "plot_checks",
    "plot_classes",
    "plot_effect",
    "plot_fit_classes",
    "plot_interaction_bias",
    "plot_item_curves",
    "plot_item_effects",
    "plot_item_information",
    "plot_outcome",
    "plot_path",
    "plot_pooling",
    "plot_ppc",
    "plot_priors",
    "plot_rank",
    "plot_trace",
    "plot_trials",
    "trials_html",
]
