"""Model families, one file each; they know nothing of each other."""

from bayeshte.families.random_slope import RandomSlope
from bayeshte.families.sem import SEM
from bayeshte.families.sem_few_clusters import few_cluster_priors

__all__ = ["RandomSlope", "SEM", "few_cluster_priors"]
