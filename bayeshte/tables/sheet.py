"""From the frames of results to the text of a table: which columns, under which headings, with which notes."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from bayeshte.tables.digits import DASH, MINUS, number, probability, supported_decimals, three_digits

ONE_ARM = "†"
FAILED = "NOT CONVERGED"
ITALIC = ("SD", "p", "n", "n reference", "n arm")

#: scale of an estimand or first letters of a parameter: which have no leading zero, and for which zero is no question
_BOUNDED = ("correlation", "share")
_POSITIVE = ("sd", "ratio", "share")
_PARAMETER_SCALES = {"corr": "correlation", "sd": "sd", "sigma": "sd", "nu": "sd"}
_HEADINGS = {
    "estimate": "Median",
    "mean": "Mean",
    "posterior_sd": "SD",
    "p_one_tailed": "p",
    "mcse": "MCSE",
    "rhat": "R\u0302",
    "n_reference": "n reference",
    "n_arm": "n arm",
    "p": "p",
}
#: columns of our own frames, printed as words; any other name is the user's and stays as it is
_WORDS = {
    *("parameter", "estimand", "contrast", "cluster", "level", "header", "statistic", "observed", "replicated"),
    *("extreme", "prior", "likelihood", "diagnosis", "overlap", "note", "covariate", "mean_arm", "mean_reference"),
    *("variance_ratio", "imbalanced", "name", "ok", "value", "limit", "message"),
}
_NOTES = {
    "estimate": "Median, Mean and SD are those of the posterior.",
    "p_one_tailed": "p = posterior probability of the less likely sign (one-tailed).",
    "mcse": "MCSE = Monte Carlo standard error of the median.",
    "rhat": "R\u0302 = rank-normalised potential scale reduction; ESS = effective sample size of bulk / tail.",
}
_INTERVALS = {
    "eti": ("CrI", "CrI = equal-tailed credible interval."),
    "hdi": ("HDI", "HDI = highest-density interval."),
}
_UNPRINTED = ("fixed", "psr", "upper", "ess_tail", "one_arm")
_LAST = ("mcse", "rhat", "ess_bulk")


@dataclass(frozen=True)
class Sheet:
    """A table as text: cells indexed by their stubs, headings of the numbers, definitions by group, caption, notes."""

    cells: pd.DataFrame
    numbers: frozenset[str]
    definitions: Mapping[str, str]
    caption: str
    notes: tuple[str, ...]
    failed: bool


def typeset(frame: pd.DataFrame, caption: str | None, note: str | None) -> Sheet:
    """The text of a table; see `bayeshte.tables.apa`."""
    verdict = str(frame.attrs.get("verdict", ""))
    failed = frame.columns.name == FAILED or verdict.startswith(FAILED)
    definitions = {}
    if "definition" in frame:
        definitions = dict(zip(frame["estimand"], frame["definition"], strict=True))
        frame = frame.drop(columns="definition")
    if {"cluster", "contrast"} <= set(frame.columns):
        frame = frame[["contrast", "cluster", *(c for c in frame if c not in ("contrast", "cluster"))]]
    stubs = list(frame.columns[:1])
    if "estimate" in frame:  # all the text that leads
        stubs = list(itertools.takewhile(lambda c: not types.is_numeric_dtype(frame[c]), frame))
    cells, numbers = _cells(frame, stubs)
    notes = [text for column, text in _NOTES.items() if column in frame]
    if {"lower", "upper"} <= set(frame.columns) and "interval" in frame.attrs:
        notes.append(_INTERVALS[frame.attrs["interval"]][1])
    if "one_arm" in frame and frame["one_arm"].any():
        notes.append(f"{ONE_ARM} = one of the two arms only: the effect rests on the other clusters.")
    if any((cells[c] == DASH).any() for c in numbers):
        notes.append(f"{DASH} = does not apply.")
    notes += [note] if note else []
    if failed:
        caption = f"{FAILED}. {caption}" if caption else FAILED
        notes.insert(0, verdict or f"{FAILED}.")
    return Sheet(cells, numbers, definitions, caption or "", tuple(notes), failed)


def _cells(frame: pd.DataFrame, stubs: list[str]) -> tuple[pd.DataFrame, frozenset[str]]:
    """The text of all cells, indexed by the stubs, and the headings of columns of numbers."""
    rules = _rules(frame)
    out: dict[str, list[str]] = {s: [_plain(v) for v in frame[s]] for s in stubs}
    if "one_arm" in frame and "cluster" in out:
        out["cluster"] = [v + ONE_ARM * bool(f) for v, f in zip(out["cluster"], frame["one_arm"], strict=True)]
    order = [c for c in frame if c not in (*stubs, *_UNPRINTED, *_LAST)] + [c for c in _LAST if c in frame]
    numbers = set()
    for column in order:
        heading = _heading(column, frame)
        out[heading] = _texts(column, frame, rules)
        if types.is_numeric_dtype(frame[column]) and not types.is_bool_dtype(frame[column]):
            numbers.add(heading)
    cells = pd.DataFrame(out, dtype=object)
    names = {s: _heading(s, frame) for s in stubs}
    return cells.rename(columns=names).set_index(list(names.values())), frozenset(numbers)


def _texts(column: str, frame: pd.DataFrame, rules: pd.DataFrame) -> list[str]:
    """The cells of a column."""
    values = frame[column]
    match column:
        case "estimate" | "mean" | "posterior_sd" | "observed" | "replicated":
            return [number(v, r.decimals, r.bounded) for v, r in zip(values, rules.itertuples(), strict=True)]
        case "lower":
            ends = zip(values, frame["upper"], rules.itertuples(), strict=True)
            return [f"[{number(a, r.decimals, r.bounded)}, {number(b, r.decimals, r.bounded)}]" for a, b, r in ends]
        case "p_one_tailed":
            shown = zip(values, rules.itertuples(), strict=True)
            return [DASH if r.positive else probability(v, r.draws) for v, r in shown]
        case "p" | "p_meaningful" | "p_rope":
            return [probability(v, n) for v, n in zip(values, rules["draws"], strict=True)]
        case "mcse":
            return [number(v, 1 - int(np.floor(np.log10(v)))) if 0 < v < np.inf else DASH for v in values]
        case "rhat":
            return [number(v, 3) for v in values]
        case "ess_bulk":
            pairs = zip(values, frame["ess_tail"], strict=True)
            return [DASH if np.isnan(a) else f"{number(a, 0)} / {number(b, 0)}" for a, b in pairs]
    return _generic(values)


def _rules(frame: pd.DataFrame) -> pd.DataFrame:
    """For each row: decimals, whether it is bounded by one, positive by definition, and its effective draws."""
    scales = pd.Series(_scales(frame), dtype=object)
    missing = pd.Series(np.nan, frame.index)
    sd = frame.get("posterior_sd", (frame["upper"] - frame["lower"]) / 4 if "upper" in frame else missing)
    bounded = scales.isin(_BOUNDED).to_numpy(bool)
    decimals = np.array([supported_decimals(*v) for v in zip(sd, frame.get("mcse", missing), strict=True)], int)
    draws = frame["ess_bulk"].fillna(1.0).to_numpy() if "ess_bulk" in frame else np.inf
    return pd.DataFrame(
        {
            "decimals": np.where(bounded, np.minimum(decimals, 3), decimals),
            "bounded": bounded,
            "positive": scales.isin(_POSITIVE).to_numpy(bool),
            "draws": draws,
        }
    )


def _scales(frame: pd.DataFrame) -> list[str]:
    """``"share"``, ``"sd"``, ... of every row, as far as it is known."""
    if "estimand" in frame:
        known = frame.attrs.get("scales", {})
        return ["share" if str(e).startswith("share of") else known.get(e, "") for e in frame["estimand"]]
    if "parameter" in frame:
        return [_PARAMETER_SCALES.get(str(p).split("[")[0], "") for p in frame["parameter"]]
    return [""] * len(frame)


def _heading(column: str, frame: pd.DataFrame) -> str:
    if column == "lower":
        if "interval" not in frame.attrs:
            return "[lower, upper]"
        return f"{100 * frame.attrs['level']:g} % {_INTERVALS[frame.attrs['interval']][0]}"
    if column == "ess_bulk":
        return "ESS bulk / tail"
    if column == "p_meaningful" and "meaningful" in frame.attrs:
        threshold = frame.attrs["meaningful"]
        return f"P({'>' if threshold >= 0 else '<'} {threshold:g})".replace("-", MINUS)
    if column == "p_rope" and "rope" in frame.attrs:
        low, high = frame.attrs["rope"]
        return f"P({low:g} to {high:g})".replace("-", MINUS)
    if column in _WORDS:
        return column[0].upper() + column[1:].replace("_", " ")
    return _HEADINGS.get(column, str(column))


def _generic(values: pd.Series) -> list[str]:
    """Text as it is, whole numbers with commas, others with three significant digits (of the largest, or two decimals)."""
    if types.is_bool_dtype(values):
        return ["yes" if v else "no" for v in values]
    if not types.is_numeric_dtype(values):
        return [_plain(v) for v in values]
    x = values.to_numpy(float)
    whole = ~np.isfinite(x) | (x == np.round(x))
    most = max(2, three_digits(np.abs(x[np.isfinite(x)]).max(initial=0)))
    return [number(v, 0 if w else min(most, three_digits(abs(v)))) for v, w in zip(x, whole, strict=True)]


def _plain(value) -> str:
    return DASH if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


def is_grouped(sheet: Sheet) -> bool:
    """Whether the first stub heads groups of rows instead of filling a column."""
    names = sheet.cells.index.names
    return len(names) > 1 and names[0] in ("Estimand", "Contrast")


def below_groups(columns: list[str]) -> list[str]:
    """Headings of a grouped table: one for groups and rows together."""
    return [columns[0] if columns[0] == "Estimand" else columns[1], *columns[2:]]


def grouped_rows(sheet: Sheet) -> Iterator[tuple[tuple[str, str] | None, list[str], list[str]]]:
    """Rows as ``(group, stubs, cells)``; `group` is ``(title, definition)`` where one begins, else None."""
    grouped, before = is_grouped(sheet), None
    for index, row in zip(sheet.cells.index, sheet.cells.to_numpy(), strict=True):
        stubs = list(index) if isinstance(index, tuple) else [index]
        group = None
        if grouped:
            first, *stubs = stubs
            group = (first, sheet.definitions.get(first, "")) if first != before else None
            before = first
        yield group, stubs, list(row)
