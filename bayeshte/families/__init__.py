"""Model families, one file each; they know nothing of each other. `Mediation` writes a `SEM`."""

from bayeshte.families.effect_mixture import EffectMixture
from bayeshte.families.item_response import ItemResponse
from bayeshte.families.mediation import Mediation
from bayeshte.families.random_slope import RandomSlope
from bayeshte.families.sem import SEM
from bayeshte.families.sem_few_clusters import few_cluster_priors

__all__ = ["EffectMixture", "ItemResponse", "Mediation", "RandomSlope", "SEM", "few_cluster_priors"]
