"""Analyses of item responses: models A, B, C side by side; whether effects vary over items."""

from bayeshte.items.evidence import Evidence
from bayeshte.items.heterogeneity import ItemHeterogeneity, item_heterogeneity
from bayeshte.items.likelihood import LikelihoodRatio
from bayeshte.items.models import ItemModels, item_models

__all__ = ["Evidence", "ItemHeterogeneity", "ItemModels", "LikelihoodRatio", "item_heterogeneity", "item_models"]
