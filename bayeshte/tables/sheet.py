"""From the frames of results to the text of a table: which columns, under which headings, with which notes."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from bayeshte.tables.digits import DASH, MINUS, number, probability, supported_decimals, three_digits, two_digits

ONE_ARM = "†"
FAILED = "NOT CONVERGED"
FIXED = "fixed"
ITALIC = ("SD", "p", "n", "n reference", "n arm")

#: scale of an estimand or first letters of a parameter: which have no leading zero, and for which zero is no question
_BOUNDED = ("correlation", "share")
_POSITIVE = ("sd", "ratio", "share")
_PARAMETER_SCALES = {"corr": "correlation", "rho": "correlation", "pi": "share"} | dict.fromkeys(
    ("sd", "sigma", "nu", "phi", "width", "a", "gap"), "sd"
)
_VARIANCES = ("variances", "residual variances")
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
    *(
        "parameter",
        "estimand",
        "contrast",
        "cluster",
        "level",
        "header",
        "label",
        "statistic",
        "observed",
        "replicated",
    ),
    *("extreme", "prior", "likelihood", "diagnosis", "overlap", "note", "covariate", "mean_arm", "mean_reference"),
    *("variance_ratio", "imbalanced", "name", "ok", "value", "limit", "message"),
    *("class", "quantity", "assignment", "entropy"),
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
#: stubs that head groups of rows instead of filling a column, outermost first
GROUPS = ("Level", "Header", "Estimand", "Class")


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
    if {"definition", "estimand"} <= set(frame.columns):
        definitions = dict(zip(frame["estimand"], frame["definition"], strict=True))
        frame = frame.drop(columns="definition")
    if {"cluster", "contrast"} <= set(frame.columns):
        frame = frame[["contrast", "cluster", *(c for c in frame if c not in ("contrast", "cluster"))]]
    if {"label", "parameter"} <= set(frame.columns):
        frame = _labels_behind(frame)
    stubs = _stubs(frame)
    cells, numbers = _cells(frame, stubs)
    notes = [text for column, text in _NOTES.items() if column in frame]
    if {"lower", "upper"} <= set(frame.columns) and "interval" in frame.attrs:
        notes.append(_INTERVALS[frame.attrs["interval"]][1])
    if "one_arm" in frame and frame["one_arm"].any():
        notes.append(f"{ONE_ARM} = one of the two arms only: the effect rests on the other clusters.")
    if any((cells[c] == FIXED).any() for c in numbers):
        notes.append(f"{FIXED} = set by the model, not estimated.")
    if any((cells[c] == DASH).any() for c in numbers):
        notes.append(f"{DASH} = does not apply.")
    notes += [note] if note else []
    if failed:
        caption = f"{FAILED}. {caption}" if caption else FAILED
        notes.insert(0, verdict or f"{FAILED}.")
    return Sheet(cells, numbers, definitions, caption or "", tuple(notes), failed)


def _labels_behind(frame: pd.DataFrame) -> pd.DataFrame:
    """Labels of parameters behind what they label; left out if there are none."""
    rest = [c for c in frame if c != "label"]
    at = rest.index("parameter") + 1
    return frame[rest[:at] + ["label"] * bool((frame["label"] != "").any()) + rest[at:]]


def _stubs(frame: pd.DataFrame) -> list[str]:
    """Columns that name the rows: level and header, and the next one, or all the text that leads to estimates."""
    if "estimate" in frame:
        return list(itertools.takewhile(lambda c: not types.is_numeric_dtype(frame[c]), frame))
    leading = list(itertools.takewhile(("level", "header").__contains__, frame)) if "header" in frame else []
    return list(frame.columns[: len(leading) + 1])


def _cells(frame: pd.DataFrame, stubs: list[str]) -> tuple[pd.DataFrame, frozenset[str]]:
    """The text of all cells, indexed by the stubs, and the headings of columns of numbers."""
    rules = _rules(frame)
    out: dict[str, list[str]] = {s: [_plain(v) for v in frame[s]] for s in stubs}
    if "header" in out:
        out |= {s: [_title(v, frame) for v in out[s]] for s in ("level", "header") if s in out}
        if "level" in out:  # a header without a level stands in its place
            pairs = [(v, h) if v else (h, "") for v, h in zip(out["level"], out["header"], strict=True)]
            out["level"], out["header"] = map(list, zip(*pairs, strict=True))
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


def _title(text: str, frame: pd.DataFrame) -> str:
    """A level or header as a heading; between clusters it says how many there are."""
    if text in ("within", "between"):
        text += " clusters"
        text += f" ({frame.attrs['clusters']})" if text.startswith("between") and "clusters" in frame.attrs else ""
    return text[:1].upper() + text[1:]


def _texts(column: str, frame: pd.DataFrame, rules: pd.DataFrame) -> list[str]:
    """The cells of a column."""
    values = frame[column]
    fixed = rules["fixed"].to_numpy()
    if column in ("mean", "posterior_sd", "lower", "p_one_tailed") and fixed.any():
        known = iter(_texts(column, frame[~fixed], rules[~fixed]))
        return [(FIXED if column == "posterior_sd" else DASH) if f else next(known) for f in fixed]
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
            return [two_digits(v) if 0 < v < np.inf else DASH for v in values]
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
            "fixed": frame["fixed"].to_numpy(bool) if {"fixed", "parameter"} <= set(frame.columns) else False,
        }
    )


def _scales(frame: pd.DataFrame) -> list[str]:
    """``"share"``, ``"sd"``, ... of every row, as far as it is known."""
    if "estimand" in frame:
        known = frame.attrs.get("scales", {})
        return ["share" if str(e).startswith("share of") else known.get(e, "") for e in frame["estimand"]]
    if "parameter" in frame:
        if "header" in frame:
            return ["sd" if h in _VARIANCES else "" for h in frame["header"]]
        return [_PARAMETER_SCALES.get(str(p).split("[")[0].split("_")[0], "") for p in frame["parameter"]]
    if {"class", "quantity"} <= set(frame):
        return ["share" if q == "size" else "" for q in frame["quantity"]]
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


def groups(sheet: Sheet) -> list[str]:
    """The stubs that head groups of rows instead of filling a column, outermost first."""
    names = list(sheet.cells.index.names)
    return (
        names[:1] if len(names) > 1 and names[0] == "Contrast" else [n for n in GROUPS if n in names and len(names) > 1]
    )


def columns_of(sheet: Sheet) -> list[str]:
    """Headings of the columns that are printed: of a group and of what it heads there is one for both."""
    heads, names = groups(sheet), list(sheet.cells.index.names)
    stubs = [n for n in names if n not in heads]
    return [*(["Estimand", *stubs[1:]] if "Estimand" in heads else stubs), *sheet.cells.columns]


def grouped_rows(sheet: Sheet) -> Iterator[tuple[list[tuple[str, str, str]], list[str], list[str]]]:
    """Rows as ``(groups, stubs, cells)``; `groups` are those that begin there, ``(kind, title, definition)``, outermost first."""
    heads, names = groups(sheet), list(sheet.cells.index.names)
    before: list[str | None] = [None] * len(heads)
    for index, row in zip(sheet.cells.index, sheet.cells.to_numpy(), strict=True):
        stubs = dict(zip(names, index if isinstance(index, tuple) else [index], strict=True))
        path = [stubs.pop(h) for h in heads]
        same = next((k for k, (a, b) in enumerate(zip(path, before, strict=True)) if a != b), len(path))
        before = path
        new = [(h, v, sheet.definitions.get(v, "")) for h, v in zip(heads, path, strict=True)]
        yield [g for g in new[same:] if g[1]], list(stubs.values()), list(row)
