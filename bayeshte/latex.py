"""Names of the data in LaTeX: what `ModelSpec.equations` and the symbols of a report are made of."""

_ESCAPES = {c: f"\\{c}" for c in "&%$#_{}"}
_ESCAPES |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def text(value: object) -> str:
    """A name as it is, in LaTeX's text mode: ``\\text{a\\_b}``."""
    return rf"\text{{{''.join(_ESCAPES.get(c, c) for c in str(value))}}}"
