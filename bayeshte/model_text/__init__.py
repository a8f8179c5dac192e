"""Model text in lavaan's language, and the parameter table that it stands for.

`grammar` reads statements, `reading` makes rows of them, `rules` adds what is meant without being written, `checks` refuses
what cannot be estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bayeshte.errors import SpecError
from bayeshte.model_text import checks, grammar, reading, rules
from bayeshte.model_text.expressions import Expression
from bayeshte.model_text.table import ParameterTable, Row

__all__ = ["Expression", "ParameterTable", "Row", "parameter_table"]


def parameter_table(
    *,
    model: str | None = None,
    within: str | None = None,
    between: str | None = None,
    derived: Mapping[str, str] | None = None,
    categorical: Mapping[str, float] | None = None,
    thresholds: Sequence[tuple[str, str]] = (),
) -> ParameterTable:
    """The parameters of a structural equation model that is written as text.

    Parameters
    ----------
    model : str
        The text of a model of one level: ``"m ~ a*x; y ~ b*m + x"``.
    within, between : str
        The texts of a model of two levels, in place of `model`. A variable in both varies within and between clusters.
    derived : mapping of str to str, optional
        Functions of labels by name, ``{"indirect": "a*b"}``; in a text ``indirect := a*b`` says the same.
    categorical : mapping of str to float, optional
        Variables whose latent responses the model is about, and the residual variances of these.
    thresholds : sequence of (str, str), optional
        Thresholds that the data are known to have, ``("y", "t2")``.

    Raises
    ------
    SpecError
        Line and column of what cannot be read; the row that cannot be estimated; the names that are not known.
    """
    texts = _texts(model, within, between)
    readings = [reading.read(grammar.as_source(name, text), level) for level, (name, text) in texts.items()]
    for (name, text), read in zip(texts.values(), readings, strict=True):
        if not read.rows:
            raise SpecError(f"{name}={text!r} has no parameters: write something such as 'y ~ x'.")
    table = ParameterTable(tuple(row for read in readings for row in read.rows.values()), (), tuple(categorical or ()))
    checks.check_names(table)
    checks.check_categorical(table)
    table = rules.complete(table, set().union(*(read.freed for read in readings)), categorical or {}, thresholds)
    checks.check_rows(table)
    written = [d for read in readings for d in read.derived]
    return replace(table, derived=checks.check_derived([*written, *_derived(derived or {})], table))


def _texts(model: str | None, within: str | None, between: str | None) -> dict[str, tuple[str, str]]:
    """Name and text of the arguments, by level."""
    if model is not None and (within is not None or between is not None):
        raise SpecError(
            "model= is for one level, within= and between= are for two: give model= alone, or the other two."
        )
    if model is not None:
        return {"": ("model", model)}
    texts = {"within": within, "between": between}
    absent = [name for name, text in texts.items() if text is None]
    if len(absent) == 2:
        raise SpecError("There is no model text: give model= for one level, or within= and between= for two.")
    if absent:
        raise SpecError(
            f"{absent[0]}= is missing: a model of two levels has a text for each, one of one level has model=."
        )
    return {level: (level, text) for level, text in texts.items()}


def _derived(given: Mapping[str, str]) -> list[reading.Derived]:
    """The derived parameters of the argument."""
    if not isinstance(given, Mapping):
        raise SpecError(f"derived={given!r}: write a mapping of names to expressions, such as {{'indirect': 'a*b'}}.")
    out = []
    for name, text in given.items():
        if not (isinstance(name, str) and grammar.is_name(name)):
            raise SpecError(
                f"derived={{{name!r}: ...}}: a name has letters, digits, _ and . only, as 'indirect_effect'."
            )
        source = grammar.as_source(f"derived[{name!r}]", text)
        program = grammar.expression(source)
        out.append(reading.derive(source, name, 0, program, grammar.one_line(source.text)))
    return out
