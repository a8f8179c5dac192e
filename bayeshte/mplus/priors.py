"""MODEL PRIORS: Mplus's distributions as priors of the specification.

Mplus's densities are those of variances and covariances, one after the other, as far as the covariance matrix is positive
definite. The specification has SDs and correlations: an SD carries the Jacobian of its variance, 2 sd, and a factor sd for
each of its correlations, because cov = corr sd_1 sd_2. IW(s, d) on all elements of a covariance matrix is one prior of it.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from bayeshte.errors import SpecError
from bayeshte.families.sem_blocks import Block
from bayeshte.families.sem_structure import Structure
from bayeshte.model_text import Row
from bayeshte.mplus.loops import written_out
from bayeshte.mplus.mention import Model
from bayeshte.mplus.names import found, numbered
from bayeshte.mplus.source import Source, Statement
from bayeshte.prior import Flat, InverseWishart, Normal, Power, Prior, Uniform, VarianceInverseGamma

PRIOR = re.compile(r"(.*?)~\s*([A-Za-z]+)\s*\(([^,()]*),([^,()]*)\)\s*", re.S)
INFINITE = 1e10  # Mplus's own number for infinity, which outputs print
THRESHOLD = (0.0, 5.0)  # mean and variance of the prior that Mplus gives to thresholds
SHOWN = 4  # parameters that a message names
SUPPORTED = {
    "coefficient": "N(mean, variance) or U(low, high)",
    "threshold": "N(mean, variance), the same for all thresholds of a variable",
    "variance": "IG(a, b), or IW(s, d) for all elements of a covariance matrix",
    "covariance": "N(mean, variance), U(low, high), or IW(s, d) for all elements of a covariance matrix",
}


@dataclass(frozen=True)
class Assigned:
    """A distribution with its two numbers, the parameter that it is given to, and the statement that says so."""

    row: Row
    name: str
    a: float
    b: float
    statement: Statement


def read(source: Source, model: Model, structure: Structure, flat: bool) -> dict[str, Prior]:
    """Prior by key of the specification, in the order of the input; the last statement on a label counts.

    Parameters
    ----------
    structure : Structure
        Of the specification without these priors.
    flat : bool
        Whether the other priors are Mplus's flat ones, on covariances too; else correlations have priors of their own.
    """
    given: dict[str, Assigned] = {}
    for statement in written_out(source.of("MODEL PRIORS")):
        name, labels, a, b = _parsed(statement, model)
        for label in labels:
            row = structure.table.labels.get(label)
            if row is None or row.fixed is not None:
                raise statement.error(f"{label}: the parameter with this label is fixed, it has no prior.")
            _check_supported(name, row, statement)
            given[label] = Assigned(row, name, a, b, statement)
    matrices = _matrices(given, structure)
    whole = {(b.level, v) for b in matrices for v in b.variables}
    single = {k: v for k, v in given.items() if v.name != "IW" or (v.row.level, v.row.lhs) not in whole}
    covariances = {f"cov[{structure.label(v.row)}]" for v in single.values() if v.row.kind == "covariance"}
    _check_apart(single.values(), structure)
    _check_thresholds(single.values(), structure, flat)
    structure = replace(structure, covariances=frozenset(covariances))
    out: dict[str, Prior] = {}
    for label, v in single.items():
        key, prior, plain = _single(label, v, structure, flat)
        out[key] = prior
        if prior == plain:
            note = f"the flat prior that {v.row.name} has without it."
            model.notes.append(f"line {v.statement.line}: {v.statement.shown}: {note}")
    return out | {replace(b, whole=True).key: prior for b, prior in matrices.items()}


def _parsed(statement: Statement, model: Model) -> tuple[str, list[str], float, float]:
    """Distribution, labels of the model text, and the two numbers of a statement."""
    if function := re.match(r"\s*([A-Za-z]+)\s*\(", statement.text):
        raise statement.error(
            f"{function[1].upper()}: priors are those of labels, b1-b3 ~ N(0, 5). Differences and covariances of priors are not "
            "supported: for parameters that are equal give them one label, for others informative priors of each."
        )
    match = PRIOR.fullmatch(statement.text)
    if not match:
        raise statement.error("write labels ~ distribution: b1-b3 ~ N(0, 5).")
    a, b = (_number(v, statement) for v in match.groups()[2:])
    return match[2].upper(), _labels(match[1], statement, model), a, b


def _labels(text: str, statement: Statement, model: Model) -> list[str]:
    out = []
    for first, last in re.findall(r"([\w.]+)(?:\s*-\s*([\w.]+))?", text):
        for word in [first.lower()] if not last else (numbered(first, last) or [first.lower(), last.lower()]):
            name = found(word, model.labels)
            if name is None:
                known = ", ".join(model.labels) or "none: write y ON x (b1) in MODEL"
                raise statement.error(f"{word} is no label in MODEL. Labels: {known}.")
            out.append(model.labels[name])
    if not out:
        raise statement.error("expected labels before '~'.")
    return out


def _number(text: str, statement: Statement) -> float:
    word = text.strip().lower()
    if word in ("infinity", "inf", "-infinity", "-inf"):
        return -math.inf if word.startswith("-") else math.inf
    try:
        return float(word)
    except ValueError:
        raise statement.error(f"{text.strip()!r} is no number.") from None


def _check_supported(name: str, row: Row, statement: Statement) -> None:
    known = {"coefficient": ("N", "U"), "threshold": ("N",), "variance": ("IG", "IW"), "covariance": ("N", "U", "IW")}
    if name not in known[row.kind]:
        raise statement.error(
            f"{name} is not supported for {row.name}, a {row.kind}. Supported: {SUPPORTED[row.kind]}."
        )


def _matrices(given: dict[str, Assigned], structure: Structure) -> dict[Block, Prior]:
    """InverseWishart by block, from IW of its elements.

    Raises
    ------
    SpecError
        A covariance that is in no block; elements of a block without IW, or with another d; a scale matrix that is none.
    """
    out = {}
    wisharts = [v for v in given.values() if v.name == "IW"]
    for b in structure.blocks:
        elements = {
            row.key: row
            for row in structure.table.at(b.level)
            if row.op == "~~" and {row.lhs, row.rhs} <= {*b.variables}
        }
        mine = {v.row.key: v for v in wisharts if v.row.key in elements}
        if not mine:
            continue
        first, *others = mine.values()
        fixed = [row.lhs for row in elements.values() if row.kind == "variance" and row.fixed is not None]
        if fixed:
            raise first.statement.error(
                f"IW is the prior of a covariance matrix whose elements are all free, and the variance of {fixed[0]} is fixed, "
                "as those of latent responses are: write N(mean, variance) or U(low, high) for covariances."
            )
        missing = [row.name for key, row in elements.items() if key not in mine]
        if missing:
            shown = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
            raise first.statement.error(
                f"the elements of one covariance matrix have one IW(s, d): label {shown} too, as in y1 (v1) and "
                f"y1 WITH y2 (c1), and give IW(s, {first.b:g}) to them, s > 0 for variances, v1 ~ IW(1, {first.b:g})."
            )
        if other := next((v for v in others if v.b != first.b), None):
            raise other.statement.error(
                f"the elements of one covariance matrix have one d: {first.b:g} in line {first.statement.line}, {other.b:g} here."
            )
        scale = np.zeros((len(b.variables), len(b.variables)))
        for v in mine.values():
            i, j = (b.variables.index(name) for name in (v.row.lhs, v.row.rhs))
            scale[i, j] = scale[j, i] = v.a
        out[b] = _made(lambda scale=scale, d=first.b: InverseWishart(scale, d), first.statement)
    blocked = {(b.level, v) for b in out for v in b.variables}
    for v in wisharts:
        if v.row.kind == "covariance" and (v.row.level, v.row.lhs) not in blocked:
            raise v.statement.error(
                f"IW is the prior of a covariance matrix whose elements are all free; {v.row.name} stands in none. For a single "
                "covariance write N(mean, variance)."
            )
    return out


def _check_apart(single: Iterable[Assigned], structure: Structure) -> None:
    """Refuse priors of single elements where the covariance matrix has one, as it has beside categorical variables."""
    for v in single:
        for b in structure.blocks:
            if b.whole and v.row.op == "~~" and v.row.level == b.level and {v.row.lhs, v.row.rhs} <= {*b.variables}:
                raise v.statement.error(
                    f"{v.row.name} is an element of the covariance matrix of {', '.join(b.variables)}, which has one prior where "
                    f"a variable is categorical: give IW(s, d) to all its elements, or fix a covariance, as in "
                    f"{b.variables[0]} WITH {b.variables[1]}@0."
                )


def _check_thresholds(single: Iterable[Assigned], structure: Structure, flat: bool) -> None:
    """Refuse different priors of the thresholds of a variable: they have one."""
    given = {v.row: v for v in single if v.row.kind == "threshold"}
    for v in given.values():
        others = [row for row in structure.thresholds[v.row.lhs] if row != v.row]
        numbers = {(given[row].a, given[row].b) if row in given else THRESHOLD if flat else None for row in others}
        if numbers - {(v.a, v.b)}:
            raise v.statement.error(
                f"the thresholds of {v.row.lhs} have one prior in common: give N({v.a:g}, {v.b:g}) to all of them, labelled as "
                f"in [{v.row.lhs}$1] (t1), or to none."
            )


def _made(prior: Callable[[], Prior], statement: Statement) -> Prior:
    """The prior that a function makes; what it refuses, with the statement."""
    try:
        return prior()
    except SpecError as error:
        raise statement.error(str(error)) from None


def _single(label: str, v: Assigned, structure: Structure, flat: bool) -> tuple[str, Prior, Prior]:
    """Key and prior of one parameter, and the flat prior that it has in Mplus."""
    a, b = v.a, v.b
    if v.row.kind == "variance":
        a, b = (a, b) if v.name == "IG" else (b / 2, a / 2)  # IW(s, d) of one variance is IG(d / 2, s / 2)
        (parameter,) = [p for p in structure.parameters if (p.variable, p.element) == ("sd", structure.label(v.row))]
        factors = sum(structure.covary(row) for row in parameter.rows) if flat else 0
        if b == 0:
            return label, _made(lambda: Power(factors - 2 * a - 1), v.statement), Power(factors + 1)
        return label, _made(lambda: VarianceInverseGamma(a - factors / 2, b), v.statement), Power(factors + 1)
    key = f"cov[{structure.label(v.row)}]" if v.row.kind == "covariance" else label
    if v.name == "U":
        if math.isinf(a) != math.isinf(b):
            raise v.statement.error("a uniform prior has two ends, or none: write a large number in place of infinity.")
        return key, Flat() if math.isinf(a) else _made(lambda: Uniform(a, b), v.statement), Flat()
    if b <= 0:
        raise v.statement.error(f"the variance of a normal prior is positive, not {b:g}.")
    return key, Flat() if b >= INFINITE else _made(lambda: Normal(a, math.sqrt(b)), v.statement), Flat()
