"""MODEL PRIORS: Mplus's distributions as priors of the model text's parameters."""

import math
import re

from bayeshte.errors import SpecError
from bayeshte.model_text import Row
from bayeshte.mplus.model import Model
from bayeshte.mplus.names import found, numbered
from bayeshte.mplus.source import Source, Statement
from bayeshte.prior import Flat, Normal, Power, Prior, Uniform, VarianceInverseGamma

PRIOR = re.compile(r"(.*?)~\s*([A-Za-z]+)\s*\(([^,()]*),([^,()]*)\)\s*", re.S)
INFINITE = 1e10  # Mplus's own number for infinity, which outputs print


def read(source: Source, model: Model) -> dict[str, Prior]:
    """Prior by label of the model text, in the order of the input; the last statement on a label counts."""
    out: dict[str, Prior] = {}
    for statement in source.of("MODEL PRIORS"):
        match = PRIOR.fullmatch(statement.text)
        if not match:
            word = statement.text.split("(")[0].strip().upper()
            if word in ("DIFF", "DIFFERENCE", "COVARIANCE", "DO", "COV"):
                raise statement.error(f"{word} is not supported: priors are those of single labels, b1 ~ N(0, 5).")
            raise statement.error("write labels ~ distribution: b1-b3 ~ N(0, 5).")
        for label in _labels(match[1], statement, model):
            row = next((m.row for m in model.mentions.values() if m.row.label == label), None)
            if row is None or row.fixed is not None:
                raise statement.error(f"{match[1].strip()}: the parameter with this label is fixed, it has no prior.")
            out[label] = _prior(match[2].upper(), match[3], match[4], row, statement)
            if out[label] in (Flat(), Power(1)):
                model.notes.append(
                    f"line {statement.line}: {statement.shown}: the flat prior that {row.name} has without it."
                )
    return out


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
    if word in ("infinity", "inf"):
        return math.inf
    try:
        return float(word)
    except ValueError:
        raise statement.error(f"{text.strip()!r} is no number.") from None


def _prior(name: str, first: str, second: str, row: Row, statement: Statement) -> Prior:
    """A distribution; the second number of N is a variance."""
    a, b = (_number(v, statement) for v in (first, second))
    try:
        match name, row.kind:
            case "N", "coefficient":
                if b <= 0:
                    raise statement.error(f"the variance of a normal prior is positive, not {b:g}.")
                return Flat() if b >= INFINITE else Normal(a, math.sqrt(b))
            case "U", "coefficient":
                return Flat() if math.isinf(a) or math.isinf(b) else Uniform(a, b)
            case "IG", "variance":
                return Power(-2 * a - 1) if b == 0 else VarianceInverseGamma(a, b)
            case "IW", _ if a == 0 and b <= 0 and row.kind != "coefficient":
                raise statement.error("a flat IW is what a covariance block has without it: leave the statement out.")
    except SpecError as error:
        raise error if "line " in str(error) else statement.error(str(error)) from None
    kinds = {
        "coefficient": "N(mean, variance) or U(low, high)",
        "variance": "IG(a, b)",
        "covariance": "none: blocks are flat",
    }
    raise statement.error(f"{name} is not supported for {row.name}, a {row.kind}. Supported: {kinds[row.kind]}.")
