"""What a table may not say: names with two meanings, loops, factors without a scale, labels of unlike parameters."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from bayeshte.errors import SpecError, near
from bayeshte.model_text.expressions import Expression
from bayeshte.model_text.parts import CENTRED, MEAN, split
from bayeshte.model_text.reading import Derived
from bayeshte.model_text.table import ParameterTable, Row


def check_names(table: ParameterTable) -> None:
    """Names that mean two things; before the rules, which would take them for one of the two."""
    variables = {name for level in table.levels for name in table.names(level)}
    for level in table.levels:
        _check_parts(table, level)
        factors = {*table.factors(level)}
        for row in table.at(level):
            if row.op in ("~", "=~") and row.lhs in row.parts:
                what = "a path of a variable on itself" if row.op == "~" else "a factor that measures itself"
                raise SpecError(
                    f"{row.name} is {what}: leave it out, or write {row.lhs} ~~ {row.lhs} for its variance."
                )
            if row.op == "=~" and row.rhs in table.slopes:
                raise SpecError(f"{row.name}: a random slope is no indicator; write {row.rhs} ~ {row.lhs} instead.")
        for other in table.levels:
            for name in table.names(other):
                if name in factors and name not in table.factors(other):
                    raise SpecError(
                        f"{name!r} is a factor at the {level} level and is used at the {other} level, where nothing measures "
                        f"it: write {name} =~ ... there too, or give one of the two another name."
                    )
    for slope in table.slopes:
        if slope in table.names("within") or slope in table.factors("between"):
            raise SpecError(
                f"{slope!r} is a random slope and a variable at the within level, or a factor: give the slope another name."
            )
    for row in table.rows:
        if row.label in variables:
            raise SpecError(
                f"{row.name} has the label {row.label!r}, which is a variable: use another label; the product of two "
                "variables is written a:b."
            )
    for row in table.at("within"):
        if row.op == "~1" and row.lhs in table.both_levels:
            raise SpecError(f"{row.name}: {row.lhs!r} is at both levels, so its mean belongs to the text of between=.")


def _check_parts(table: ParameterTable, level: str) -> None:
    """``mean(x)`` is a variable of clusters; ``centred(x)`` is a covariate of persons: its rows sum to zero in every cluster."""
    for name in table.names(level):
        part, column = split(name)
        if not part:
            continue
        if not level:
            raise SpecError(f"{name} needs clusters: in a model of one level write {column}, or make a column of it.")
        if part == MEAN and level == "within":
            raise SpecError(f"{name} is a variable of clusters: it belongs to the text of between=.")
        if part == CENTRED and level == "between":
            raise SpecError(f"{name} is zero in every cluster on average: between clusters write mean({column}).")
        if part == CENTRED and name not in table.conditioned(level):
            raise SpecError(
                f"{name} may only predict: its values sum to zero in every cluster, which no model of independent persons "
                f"says. Write {column} in both texts for the latent decomposition."
            )


def check_categorical(table: ParameterTable) -> None:
    """Categorical variables are modelled; their latent responses have thresholds instead of means, and residuals of one scale."""
    for name in table.categorical:
        own, (part, column) = table.response_level(name), split(name)
        if part:
            raise SpecError(
                f"categorical={name!r} is computed from {column!r}: make a column of it and name that instead."
            )
        if name not in table.observed(own):
            raise SpecError(f"categorical={name!r} is not in the model: an observed variable of the model text.")
        if name in table.conditioned(own):
            raise SpecError(
                f"{name!r} only predicts: leave it out of categorical=, the model takes it as it is (make dummy variables of "
                "more than two categories with bh.dummies)."
            )
        for row in table.rows:
            if row.op == "~1" and row.lhs == name:
                raise SpecError(f"{row.name}: a categorical variable has thresholds, {name} | t1, and no intercept.")
            if row.op == "~~" and row.lhs == row.rhs == name and row.level == own and row.fixed is None:
                raise SpecError(
                    f"{row.name}: the residual variance of a latent response gives it its scale: leave the row out."
                )
    for row in table.rows:
        if row.op == "|" and row.lhs not in table.categorical:
            raise SpecError(f"{row.name}: only variables in categorical= have thresholds.")
        if row.op == "|" and row.level != table.threshold_level(row.lhs):
            raise SpecError(
                f"{row.name}: the thresholds of {row.lhs} belong to the text of {table.threshold_level(row.lhs)}=."
            )


def check_rows(table: ParameterTable) -> None:
    """What cannot be estimated, in a complete table."""
    for level in table.levels:
        _check_loops(table, level)
        _check_indicators(table, level)
    _check_scales(table)
    _check_labels(table)


def check_derived(derived: Sequence[Derived], table: ParameterTable) -> tuple[tuple[str, Expression], ...]:
    """The derived parameters by name; SpecError for names that are taken and names that are not known."""
    labels = table.labels
    variables = {name for level in table.levels for name in table.names(level)}
    known: dict[str, Expression] = {}
    for source, name, position, expression, used in derived:
        if name in labels or name in variables or name in known:
            row = labels.get(name)
            what = f"the label of {row.name}" if row else "a variable" if name in variables else "defined before"
            raise source.error(position, f"the derived parameter {name!r} is also {what}: use another name.")
        for label in used:
            if label in labels or label in known:
                continue
            if label in variables:
                hint = f" It is a variable: give a coefficient a label, b*{label}, and use the label."
            elif label in {d.name for d in derived}:
                hint = " It has to be defined before."
            elif labels or known:
                hint = near(label, [*labels, *known])
            else:
                hint = " No parameter has a label: write b1*x in the text of the model."
            raise source.error(label.start_pos, f"{str(label)!r} is neither a label nor a derived parameter.{hint}")
        known[name] = expression
    return tuple(known.items())


def _check_loops(table: ParameterTable, level: str) -> None:
    causes: dict[str, list[str]] = {}
    for row in table.at(level):
        if row.op == "~":
            causes.setdefault(row.lhs, []).extend(row.parts)
        if row.op == "=~":
            causes.setdefault(row.rhs, []).append(row.lhs)
    try:
        TopologicalSorter(causes).prepare()
    except CycleError as error:
        where = f" at the {level} level" if level else ""
        a, b = error.args[1][:2]
        raise SpecError(
            f"The paths{where} form a loop, {' -> '.join(error.args[1])}: leave one out, or write {a} ~~ {b} for a relation "
            "without direction."
        ) from None


def _check_indicators(table: ParameterTable, level: str) -> None:
    rows = {row.key: row for row in table.at(level)}
    for factor in table.factors(level):
        indicators = [row.rhs for row in table.at(level) if row.op == "=~" and row.lhs == factor and row.fixed != 0]
        if not indicators:
            raise SpecError(f"The factor {factor!r} has no indicator: all its loadings are fixed at 0.")
        residual, own = (rows[Row(level, v, "~~", v).key] for v in (indicators[0], factor))
        free = residual.fixed is None and own.fixed is None
        if len(indicators) == 1 and free and not _is_held(table, factor, (residual, own)):
            y = indicators[0]
            raise SpecError(
                f"The factor {factor!r} has one indicator, {y!r}, whose residual variance {residual.name} is free: fix it, "
                f"{y} ~~ 0*{y} if it has no error, or use {y} without a factor."
            )


def _is_held(table: ParameterTable, factor: str, variances: tuple[Row, Row]) -> bool:
    """Whether other moments may tell the variance of a factor from that of its only indicator: an equality, or a path from the
    factor with a known coefficient, as in a latent change score."""
    level = variances[0].level
    paths = [row for row in table.at(level) if row.op == "~" and row.parts == (factor,)]
    labels = [row.label for row in table.rows if row.label]
    return any(row.fixed for row in paths) or any(labels.count(row.label) > 1 for row in (*variances, *paths))


def _check_scales(table: ParameterTable) -> None:
    """A factor has a scale by a fixed loading, by its variance, or by loadings that equal those of a factor that has one."""
    loadings = [row for row in table.rows if row.op == "=~"]
    scaled = {(row.level, row.lhs) for row in loadings if row.fixed}
    scaled |= {(row.level, row.lhs) for row in table.rows if row.kind == "variance" and row.fixed is not None}
    while True:
        labels = {row.label for row in loadings if row.label and (row.level, row.lhs) in scaled}
        joined = {(row.level, row.lhs) for row in loadings if row.label in labels} - scaled
        if not joined:
            break
        scaled |= joined
    for row in loadings:
        if (row.level, row.lhs) not in scaled:
            raise SpecError(
                f"The factor {row.lhs!r} has no scale: all its loadings and its variance are free. Fix a loading, as in "
                f"{row.lhs} =~ 1*{row.rhs}, or the variance, {row.lhs} ~~ 1*{row.lhs}."
            )


def _check_labels(table: ParameterTable) -> None:
    """Rows of one label are one parameter: of one kind, with one start."""
    starts: dict[str, Row] = {}
    for row in table.rows:
        if not row.label:
            continue
        first = table.labels[row.label]
        if first.kind != row.kind:
            raise SpecError(
                f"The label {row.label!r} makes {first.name} (a {first.kind}) and {row.name} (a {row.kind}) one parameter: "
                "give them different labels."
            )
        if row.start is not None and starts.setdefault(row.label, row).start != row.start:
            raise SpecError(
                f"{starts[row.label].name} and {row.name} are one parameter, {row.label!r}, and start at "
                f"{starts[row.label].start:g} and {row.start:g}: write one start."
            )
