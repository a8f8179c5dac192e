"""Observed parts of a variable: ``mean(x)``, its mean in a cluster, and ``centred(x)``, what is left of x within clusters.

They are columns computed from x, taken as they are: no part of a latent decomposition.
"""

MEAN, CENTRED = "mean", "centred"


def observed_part(part: str, column: str) -> str:
    """The name of a part in tables: ``"mean(x)"``."""
    return f"{part}({column})"


def split(name: str) -> tuple[str, str]:
    """Part and column of a name: ``("mean", "x")``; ``("", name)`` of a column as it is."""
    for part in (MEAN, CENTRED):
        if name.startswith(f"{part}(") and name.endswith(")"):
            return part, name[len(part) + 1 : -1]
    return "", name
