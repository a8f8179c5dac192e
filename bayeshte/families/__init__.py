"""Model families, one file each; they know nothing of each other."""

from bayeshte.families.random_slope import RandomSlope
from bayeshte.families.sem import SEM

__all__ = ["RandomSlope", "SEM"]
