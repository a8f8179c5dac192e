"""Bayesian treatment-effect heterogeneity on PyMC: for whom, where, and on what does it work?"""

from importlib.metadata import version

from bayeshte import datasets, tables
from bayeshte.checks import (
    balance,
    compare,
    implied_correlations,
    loo,
    model_fit,
    overlap,
    predictive_checks,
    prior_posterior_overlap,
    prior_sensitivity,
    replicate,
)
from bayeshte.convergence import Diagnosis
from bayeshte.design import dummies
from bayeshte.effects import cate, cluster_effects, conditional_effects, effect_draws, effects, predict, subgroups
from bayeshte.errors import ConvergenceWarning, DataError, SpecError
from bayeshte.families import SEM, EffectMixture, ItemResponse, Mediation, RandomSlope, few_cluster_priors
from bayeshte.fit import Fit, fit, load, save, summary
from bayeshte.plots import (
    plot_baseline,
    plot_cate,
    plot_caterpillar,
    plot_checks,
    plot_effect,
    plot_outcome,
    plot_path,
    plot_pooling,
    plot_ppc,
    plot_priors,
    plot_rank,
    plot_trace,
)
from bayeshte.prior import (
    LKJ,
    Dirichlet,
    Exponential,
    Flat,
    Gamma,
    HalfNormal,
    HalfStudentT,
    InverseGamma,
    LogNormal,
    Normal,
    Power,
    Prior,
    StudentT,
    Uniform,
    VarianceInverseGamma,
)
from bayeshte.report import report
from bayeshte.scores import factor_score_draws, factor_scores
from bayeshte.simulate import calibrate, simulate
from bayeshte.spec import Description, Estimand, ModelSpec

__version__ = version("bayeshte")

__all__ = [
    "ConvergenceWarning",
    "DataError",
    "Description",
    "Diagnosis",
    "Dirichlet",
    "EffectMixture",
    "Estimand",
    "Exponential",
    "Fit",
    "Flat",
    "Gamma",
    "HalfNormal",
    "HalfStudentT",
    "InverseGamma",
    "ItemResponse",
    "LKJ",
    "LogNormal",
    "Mediation",
    "ModelSpec",
    "Normal",
    "Power",
    "Prior",
    "RandomSlope",
    "SEM",
    "SpecError",
    "StudentT",
    "Uniform",
    "VarianceInverseGamma",
    "balance",
    "calibrate",
    "cate",
    "cluster_effects",
    "compare",
    "conditional_effects",
    "datasets",
    "dummies",
    "effect_draws",
    "effects",
    "factor_score_draws",
    "factor_scores",
    "few_cluster_priors",
    "fit",
    "implied_correlations",
    "load",
    "loo",
    "model_fit",
    "overlap",
    "plot_baseline",
    "plot_cate",
    "plot_caterpillar",
    "plot_checks",
    "plot_effect",
    "plot_outcome",
    "plot_path",
    "plot_pooling",
    "plot_ppc",
    "plot_priors",
    "plot_rank",
    "plot_trace",
    "predict",
    "predictive_checks",
    "prior_posterior_overlap",
    "prior_sensitivity",
    "replicate",
    "report",
    "save",
    "simulate",
    "subgroups",
    "summary",
    "tables",
]
