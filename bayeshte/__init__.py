"""Bayesian treatment-effect heterogeneity on PyMC: for whom, where, and on what does it work?"""

from importlib.metadata import version

from bayeshte.convergence import Diagnosis
from bayeshte.effects import cate, cluster_effects, effect_draws, effects, predict, subgroups
from bayeshte.errors import ConvergenceWarning, DataError, SpecError
from bayeshte.families import RandomSlope
from bayeshte.fit import Fit, fit, load, save, summary
from bayeshte.prior import (
    LKJ,
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
)
from bayeshte.spec import Estimand, ModelSpec

__version__ = version("bayeshte")

__all__ = [
    "ConvergenceWarning",
    "DataError",
    "Diagnosis",
    "Estimand",
    "Exponential",
    "Fit",
    "Flat",
    "Gamma",
    "HalfNormal",
    "HalfStudentT",
    "InverseGamma",
    "LKJ",
    "LogNormal",
    "ModelSpec",
    "Normal",
    "Power",
    "Prior",
    "RandomSlope",
    "SpecError",
    "StudentT",
    "Uniform",
    "cate",
    "cluster_effects",
    "effect_draws",
    "effects",
    "fit",
    "load",
    "predict",
    "save",
    "subgroups",
    "summary",
]
