"""Analyses of item responses: models A, B, C; whether effects vary over items; scales of effects; misfit of items and persons."""

from bayeshte.items.evidence import Evidence
from bayeshte.items.heterogeneity import ItemHeterogeneity, item_heterogeneity
from bayeshte.items.likelihood import LikelihoodRatio
from bayeshte.items.misfit import item_fit, person_fit
from bayeshte.items.models import ItemModels, item_models
from bayeshte.items.scales import effect_scales, item_effects
from bayeshte.items.trials import trial_tables

__all__ = [
    "Evidence",
    "ItemHeterogeneity",
    "ItemModels",
    "LikelihoodRatio",
    "effect_scales",
    "item_effects",
    "item_fit",
    "item_heterogeneity",
    "item_models",
    "person_fit",
    "trial_tables",
]
