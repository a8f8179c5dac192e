"""Names of the data in LaTeX: what `ModelSpec.equations` and the symbols of a report are made of."""

import re

_NAMED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_ESCAPES = _NAMED | {c: f"\\{c}" for c in "&%$#_{}"}
_PLAIN = {v: k for k, v in _ESCAPES.items()}


def text(value: object) -> str:
    """A name as it is, in LaTeX's text mode: ``\\text{a\\_b}``."""
    return rf"\text{{{''.join(_ESCAPES.get(c, c) for c in str(value))}}}"


def plain(escaped: str) -> str:
    """What stands in the braces of `text`, its escapes undone."""
    return re.sub("|".join(map(re.escape, _PLAIN)), lambda m: _PLAIN[m[0]], escaped)
