"""Whether a fitted model is good enough: predictive checks, leave-one-out, sensitivity to priors, balance and overlap."""

from bayeshte.checks.balance import balance, overlap
from bayeshte.checks.classes import class_check, class_membership, class_profiles, fit_classes
from bayeshte.checks.implied import implied_correlations
from bayeshte.checks.loo import Loo, compare, loo
from bayeshte.checks.model_fit import model_fit
from bayeshte.checks.predictive import predictive_checks, replicate
from bayeshte.checks.rivals import class_rivals
from bayeshte.checks.sensitivity import prior_posterior_overlap, prior_sensitivity

__all__ = [
    "Loo",
    "balance",
    "class_check",
    "class_membership",
    "class_profiles",
    "class_rivals",
    "compare",
    "fit_classes",
    "implied_correlations",
    "loo",
    "model_fit",
    "overlap",
    "predictive_checks",
    "prior_posterior_overlap",
    "prior_sensitivity",
    "replicate",
]
