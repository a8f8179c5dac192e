"""What can go wrong, as types: a wrong specification, wrong data, a chain that did not converge."""

from collections.abc import Iterable
from difflib import get_close_matches


class SpecError(ValueError):
    """The specification cannot be estimated or contradicts itself; the message says what to write instead."""


class DataError(ValueError):
    """The data do not fit the specification; the message names column, value, row count and the options."""


class ConvergenceWarning(UserWarning):
    """The draws do not represent the posterior; every table, plot and report of the fit repeats it."""


def near(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for a misspelt name, else the list of known names."""
    known = [str(k) for k in known]
    matches = get_close_matches(str(name), known, n=3, cutoff=0.6) or [
        k for k in known if k.lower() == str(name).lower()
    ]
    if matches:
        return " Did you mean " + " or ".join(repr(m) for m in matches) + "?"
    shown = ", ".join(repr(k) for k in known[:20]) + (", ..." if len(known) > 20 else "")
    return f" Known: {shown}."
