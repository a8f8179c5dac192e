"""Model families, one file each; they know nothing of each other."""

from bayeshte.families.random_slope import RandomSlope

__all__ = ["RandomSlope"]
