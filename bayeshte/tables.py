"""Tables for papers in APA style: as text in a DataFrame, as HTML, as LaTeX.

They take the frames of `bh.summary`, `bh.effects`, `bh.cluster_effects`, `bh.subgroups` and of the checks. Digits are those
that the Monte Carlo error supports: d decimals only if the error of the estimate is below one unit of the last one, and
never more than two, or as many as the posterior SD needs for two significant digits. Probabilities, correlations and
shares have no zero before the point. A table of a fit that did not converge says so in its caption and in its note.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from pandas.api import types

MINUS, DASH, ONE_ARM = "−", "—", "†"
FAILED = "NOT CONVERGED"
LONG = 40  # rows of LaTeX beyond which a table runs over pages

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
    "Median": "Median, Mean and SD are those of the posterior.",
    "p": "p = posterior probability of the less likely sign (one-tailed).",
    "MCSE": "MCSE = Monte Carlo standard error of the median.",
    "ESS": "R\u0302 = rank-normalised potential scale reduction; ESS = effective sample size of bulk / tail.",
}
_INTERVALS = {
    "eti": ("CrI", "CrI = equal-tailed credible interval."),
    "hdi": ("HDI", "HDI = highest-density interval."),
}
_ITALIC = ("SD", "p", "n", "n reference", "n arm")

#: for the head of a page that holds `html_table`s; `to_html` brings it along
STYLE = """
.apa { margin: 1.2em 0; overflow-x: auto; }
.apa table { border-collapse: collapse; border-top: 1.5px solid #222; border-bottom: 1.5px solid #222;
  font-variant-numeric: tabular-nums lining-nums; font-size: .92em; line-height: 1.35; }
.apa caption { text-align: left; font-weight: 600; padding: 0 0 .45em; caption-side: top; }
.apa th, .apa td { padding: .24em .6em; text-align: left; vertical-align: top; font-weight: normal; }
.apa thead th { border-bottom: 1px solid #222; vertical-align: bottom; font-weight: 600; }
.apa th.n, .apa td.n { text-align: right; white-space: nowrap; }
.apa tr.group > * { padding-top: .65em; }
.apa tr.group th { font-weight: 600; }
.apa tr.group th span { font-weight: normal; color: #555; }
.apa tr.in th { padding-left: 1.7em; }
.apa .note { font-size: .82em; color: #444; margin: .5em 0 0; max-width: 60em; }
.apa .stop { color: #b42318; }
"""


@dataclass(frozen=True)
class _Sheet:
    """A table as text: cells indexed by their stubs, headings of the numbers, definitions by group, caption, notes."""

    cells: pd.DataFrame
    numbers: frozenset[str]
    definitions: Mapping[str, str]
    caption: str
    notes: tuple[str, ...]
    failed: bool


def apa(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> pd.DataFrame:
    """A result as the text of an APA table.

    Parameters
    ----------
    frame : DataFrame
        From `bh.summary`, `bh.effects`, `bh.cluster_effects`, `bh.subgroups` or a check. Its ``attrs`` label the interval,
        name the threshold and hold the verdict on convergence.
    caption, note : str, optional
        Title, and what is to be added to the general note.

    Returns
    -------
    DataFrame
        Text, indexed by parameter (or estimand and contrast, ...). ``attrs`` hold ``caption`` and ``note``; if the fit did
        not converge both say so, and so does the name of the columns, which prints in the corner.
    """
    sheet = _sheet(frame, caption, note)
    out = sheet.cells.copy()
    defined = [f"{name}: {text}." for name, text in sheet.definitions.items()]
    out.attrs = {"caption": sheet.caption, "note": " ".join([*sheet.notes, *defined])}
    if sheet.failed:
        out.columns.name = FAILED
    return out


def to_html(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> str:
    """A result as an HTML table that brings its style along; every text of the data is escaped. Parameters as in `apa`."""
    return f"<style>{STYLE}</style>\n{html_table(frame, caption, note)}"


def html_table(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> str:
    """`to_html` without the style, for a page that has `STYLE` in its head."""
    sheet = _sheet(frame, caption, note)
    columns = [*sheet.cells.index.names, *sheet.cells.columns]
    body, grouped = _html_rows(sheet)
    if grouped:
        columns = _below_groups(columns)
    head = "".join(f'<th scope="col"{_right(c, sheet)}>{_html_heading(c)}</th>' for c in columns)
    title = f"<caption{_stop(sheet)}>{escape(sheet.caption)}</caption>" if sheet.caption else ""
    notes = f'<p class="note"><i>Note.</i> {_html_notes(sheet)}</p>' if sheet.notes else ""
    return (
        f'<div class="apa"><table>{title}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>{notes}</div>'
    )


def to_latex(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> str:
    """A result as a LaTeX table: needs the package booktabs, and longtable beyond 40 rows. Parameters as in `apa`."""
    sheet = _sheet(frame, caption, note)
    columns = [*sheet.cells.index.names, *sheet.cells.columns]
    rows = []
    for group, stubs, cells in _rows(sheet):
        if group is not None:
            name, definition = group
            text = rf"\textit{{{_tex(name)}}}" + (f": {_tex(definition)}" if definition else "")
            rows.append(rf"\multicolumn{{{len(columns) - 1}}}{{@{{}}p{{\linewidth}}@{{}}}}{{{text}}} \\")
        rows.append(" & ".join([*map(_tex, stubs), *map(_tex, cells)]) + r" \\")
    if _is_grouped(sheet):
        columns = _below_groups(columns)
    layout = "".join("r" if c in sheet.numbers else "l" for c in columns)
    head = " & ".join(_tex_heading(c) for c in columns) + r" \\"
    title = [rf"\caption{{{_tex(sheet.caption)}}}"] if sheet.caption else []
    notes = rf"\textit{{Note.}} {_tex(' '.join(sheet.notes))}" if sheet.notes else ""
    if len(rows) > LONG:
        return "\n".join(_long_table(layout, head, rows, title, notes))
    lines = [r"\begin{table}", *title, rf"\begin{{tabular}}{{{layout}}}", r"\toprule", head, r"\midrule", *rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes:
        lines += [r"\par\smallskip", rf"{{\footnotesize {notes}\par}}"]
    return "\n".join([*lines, r"\end{table}"])


def _long_table(layout: str, head: str, rows: list[str], title: list[str], notes: str) -> list[str]:
    header = [r"\toprule", head, r"\midrule"]
    lines = [rf"\begin{{longtable}}{{{layout}}}", *(rf"{t} \\" for t in title), *header, r"\endfirsthead"]
    lines += [*header, r"\endhead", *rows, r"\bottomrule", r"\end{longtable}"]
    return [*lines, rf"{{\footnotesize {notes}\par}}"] if notes else lines


# ---------------------------------------------------------------------------------------------- numbers to text


def number(value: float, decimals: int, bounded: bool = False) -> str:
    """A number with `decimals`, a true minus sign, commas between thousands, no leading zero if it is `bounded` by one."""
    if np.isnan(value):
        return DASH
    if np.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if decimals > 6 or abs(value) >= 1e15:
        text = f"{value:.2e}"
    else:
        text = f"{value:,.{decimals}f}"
        if float(text.replace(",", "")) == 0:
            text = text.removeprefix("-")
        if bounded and decimals:
            text = text.replace("0.", ".", 1) if text.removeprefix("-").startswith("0.") else text
    return text.replace("-", MINUS)


def significant(value: float) -> str:
    """A number with three significant digits, whole numbers in full."""
    return number(value, 0 if not np.isfinite(value) or value == round(value) else _three_digits(abs(value)))


def probability(value: float, draws: float = np.inf) -> str:
    """A probability in APA style: three decimals, ``< .001``; fewer if so few (effective) `draws` cannot tell.

    One decimal below 100 draws, two below 1,000.
    """
    if np.isnan(value):
        return DASH
    decimals = 3 if draws >= 1000 else 2 if draws >= 100 else 1
    least = 10.0**-decimals
    if value < least:
        return f"< {number(least, decimals, True)}"
    if value > 1 - least:
        return f"> {number(1 - least, decimals, True)}"
    return number(value, decimals, True)


def percent(share: float) -> str:
    """A share as ``12.3 %``."""
    return f"{100 * share:.1f} %"


def supported_decimals(posterior_sd: float, mcse: float) -> int:
    """Decimals to report: two, or as many as give the SD two significant digits, but no digit that is Monte Carlo noise."""
    wanted = max(2, 1 - int(np.floor(np.log10(posterior_sd)))) if posterior_sd > 0 else 2
    if mcse > 0:
        wanted = min(wanted, int(np.floor(-np.log10(mcse))))
    return max(0, wanted)


# ---------------------------------------------------------------------------------------------- frames to sheets


def _sheet(frame: pd.DataFrame, caption: str | None, note: str | None) -> _Sheet:
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
    notes = [
        text for heading, text in _NOTES.items() if any(c == heading or c.startswith(heading + " ") for c in cells)
    ]
    if "p_one_tailed" not in frame:
        notes = [n for n in notes if n != _NOTES["p"]]
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
    return _Sheet(cells, numbers, definitions, caption or "", tuple(notes), failed)


def _cells(frame: pd.DataFrame, stubs: list[str]) -> tuple[pd.DataFrame, frozenset[str]]:
    """The text of all cells, indexed by the stubs, and the headings of columns of numbers."""
    digits, bounded, positive = _row_rules(frame)
    draws = frame["ess_bulk"].to_numpy() if "ess_bulk" in frame else np.full(len(frame), np.inf)
    draws = np.where(np.isnan(draws), 1.0, draws)
    out: dict[str, list[str]] = {s: [_plain(v) for v in frame[s]] for s in stubs}
    if "one_arm" in frame and "cluster" in out:
        out["cluster"] = [v + ONE_ARM * bool(f) for v, f in zip(out["cluster"], frame["one_arm"], strict=True)]
    numbers = set()
    order = [c for c in frame if c not in ("rhat", "ess_bulk")] + [c for c in ("rhat", "ess_bulk") if c in frame]
    for column in [c for c in order if c not in (*stubs, "fixed", "psr", "upper", "ess_tail", "one_arm", "mcse")]:
        values, heading = frame[column], _heading(column, frame)
        if column in ("estimate", "mean", "posterior_sd", "observed", "replicated"):
            text = [number(v, d, b) for v, d, b in zip(values, digits, bounded, strict=True)]
        elif column == "lower" and "upper" in frame:
            pairs = zip(values, frame["upper"], digits, bounded, strict=True)
            text = [f"[{number(a, d, b)}, {number(z, d, b)}]" for a, z, d, b in pairs]
        elif column == "p_one_tailed":
            shown = zip(values, draws, positive, strict=True)
            text = [DASH if skip else probability(v, n) for v, n, skip in shown]
        elif column == "p" or column.startswith("p_"):
            text = [probability(v, n) for v, n in zip(values, draws, strict=True)]
        elif column == "rhat":
            text = [number(v, 3) for v in values]
            _add_mcse(out, numbers, frame)
        elif column == "ess_bulk":
            pairs = zip(values, frame["ess_tail"], strict=True)
            text = [DASH if np.isnan(a) else f"{number(a, 0)} / {number(b, 0)}" for a, b in pairs]
        else:
            text = _generic(values)
        out[heading] = text
        if types.is_numeric_dtype(values) and not types.is_bool_dtype(values):
            numbers.add(heading)
    cells = pd.DataFrame(out, dtype=object)
    names = {s: _heading(s, frame) for s in stubs}
    return cells.rename(columns=names).set_index(list(names.values())), frozenset(numbers)


def _add_mcse(out: dict, numbers: set, frame: pd.DataFrame) -> None:
    """Monte Carlo errors with two significant digits, before R-hat."""
    if "mcse" in frame:
        out["MCSE"] = [number(v, 1 - int(np.floor(np.log10(v)))) if v > 0 else DASH for v in frame["mcse"]]
        numbers.add("MCSE")


def _row_rules(frame: pd.DataFrame) -> tuple[list[int], list[bool], list[bool]]:
    """For each row: decimals, whether it is bounded by one, whether it is positive by definition."""
    n = len(frame)
    if "posterior_sd" in frame:
        sd = frame["posterior_sd"].to_numpy(float)
    elif {"lower", "upper"} <= set(frame.columns):
        sd = (frame["upper"] - frame["lower"]).to_numpy(float) / 4
    else:
        sd = np.full(n, np.nan)
    mcse = frame["mcse"].to_numpy(float) if "mcse" in frame else np.full(n, np.nan)
    if "estimand" in frame:
        known = frame.attrs.get("scales", {})
        scales = ["share" if str(e).startswith("share of") else known.get(e, "") for e in frame["estimand"]]
    elif "parameter" in frame:
        scales = [_PARAMETER_SCALES.get(str(p).split("[")[0], "") for p in frame["parameter"]]
    else:
        scales = [""] * n
    bounded = [s in _BOUNDED for s in scales]
    digits = [supported_decimals(s, m) for s, m in zip(sd, mcse, strict=True)]
    return (
        [min(d, 3) if b else d for d, b in zip(digits, bounded, strict=True)],
        bounded,
        [s in _POSITIVE for s in scales],
    )


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
    most = max(2, _three_digits(np.abs(x[np.isfinite(x)]).max(initial=0)))
    return [number(v, 0 if w else min(most, _three_digits(abs(v)))) for v, w in zip(x, whole, strict=True)]


def _three_digits(value: float) -> int:
    """Decimals that show three significant digits."""
    return max(0, 2 - int(np.floor(np.log10(value)))) if value > 0 else 0


def _plain(value) -> str:
    return DASH if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


# ---------------------------------------------------------------------------------------------- sheets to markup


def _is_grouped(sheet: _Sheet) -> bool:
    """Whether the first stub heads groups of rows instead of filling a column."""
    names = sheet.cells.index.names
    return len(names) > 1 and names[0] in ("Estimand", "Contrast")


def _below_groups(columns: list[str]) -> list[str]:
    """Headings of a grouped table: one for groups and rows together."""
    return [columns[0] if columns[0] == "Estimand" else columns[1], *columns[2:]]


def _rows(sheet: _Sheet):
    """Rows as ``(group, stubs, cells)``; `group` is ``(title, definition)`` where one begins, else None."""
    grouped, before = _is_grouped(sheet), None
    for index, row in zip(sheet.cells.index, sheet.cells.to_numpy(), strict=True):
        stubs = list(index) if isinstance(index, tuple) else [index]
        group = None
        if grouped:
            first, *stubs = stubs
            group = (first, sheet.definitions.get(first, "")) if first != before else None
            before = first
        yield group, stubs, list(row)


def _html_rows(sheet: _Sheet) -> tuple[str, bool]:
    """The rows; a group without contrasts has its numbers beside its title."""
    grouped = _is_grouped(sheet)
    width = sheet.cells.shape[1] + sheet.cells.index.nlevels - 1
    padded = {c: _aligned(sheet.cells[c]) for c in sheet.cells.columns if c in sheet.numbers}
    lines = []
    for k, (group, stubs, cells) in enumerate(_rows(sheet)):
        cells = [padded[c][k] if c in padded else v for c, v in zip(sheet.cells.columns, cells, strict=True)]
        tds = "".join(
            f"<td{_right(c, sheet)}>{escape(v)}</td>" for c, v in zip(sheet.cells.columns, cells, strict=True)
        )
        title = ""
        if group is not None:
            title = escape(group[0]) + (f" <span>{escape(group[1])}</span>" if group[1] else "")
        if title and stubs == [""]:
            lines.append(f'<tr class="group"><th scope="row">{title}</th>{tds}</tr>')
            continue
        if title:
            lines.append(f'<tr class="group"><th colspan="{width}" scope="rowgroup">{title}</th></tr>')
        ths = "".join(f'<th scope="row">{escape(s)}</th>' for s in stubs)
        lines.append(f"<tr{' class="in"' if grouped else ''}>{ths}{tds}</tr>")
    return "\n".join(lines), grouped


def _aligned(texts: pd.Series) -> list[str]:
    """Numbers padded with figure spaces behind, so that right-aligned decimal points meet."""
    tails = [len(t.partition(".")[2]) + ("." in t) for t in texts]
    if any("[" in t or "/" in t for t in texts):
        return list(texts)
    most = max(tails, default=0)
    return [
        t if t == DASH else t + ("\u2008" * (tail == 0 and most > 0)) + "\u2007" * (most - max(tail, min(most, 1)))
        for t, tail in zip(texts, tails, strict=True)
    ]


def _right(column: str, sheet: _Sheet) -> str:
    return ' class="n"' if column in sheet.numbers else ""


def _stop(sheet: _Sheet) -> str:
    return ' class="stop"' if sheet.failed else ""


def _html_heading(heading: str) -> str:
    return f"<i>{heading}</i>" if heading in _ITALIC else escape(heading)


def _html_notes(sheet: _Sheet) -> str:
    if not sheet.failed:
        return escape(" ".join(sheet.notes))
    return f'<b class="stop">{escape(sheet.notes[0])}</b> {escape(" ".join(sheet.notes[1:]))}'


def _tex_heading(heading: str) -> str:
    return rf"\textit{{{_tex(heading)}}}" if heading in _ITALIC else _tex(heading)


_TEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
_TEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {MINUS: "$-$", "<": "$<$", ">": "$>$", DASH: "---", "∞": r"$\infty$", ONE_ARM: r"\textdagger{}"}


def _tex(text: str) -> str:
    """Text safe in LaTeX; brackets in braces, because a row that begins with one would be read as an option."""
    return "".join(_TEX.get(c, c) for c in str(text).replace("R\u0302", "\0")).replace("\0", r"$\hat{R}$")
