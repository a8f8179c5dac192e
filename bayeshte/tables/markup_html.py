"""Tables as HTML."""

from html import escape

import pandas as pd

from bayeshte.tables.digits import DASH
from bayeshte.tables.sheet import FIXED, ITALIC, Sheet, columns_of, grouped_rows, groups, typeset

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
.apa tr.level th { font-weight: 700; padding-top: 1em; border-bottom: 1px solid #ccc; }
.apa tr.in th { padding-left: 1.7em; }
.apa tr.in th span { color: #555; display: block; font-size: .92em; }
.apa .note { font-size: .82em; color: #444; margin: .5em 0 0; max-width: 60em; }
.apa .stop { color: #b42318; }
"""


def to_html(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> str:
    """A result as an HTML table that brings its style along; every text of the data is escaped. Parameters as in `apa`."""
    return f"<style>{STYLE}</style>\n{html_table(frame, caption, note)}"


def html_table(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> str:
    """`to_html` without the style, for a page that has `STYLE` in its head."""
    sheet = typeset(frame, caption, note)
    head = "".join(f'<th scope="col"{_right(c, sheet)}>{_heading(c)}</th>' for c in columns_of(sheet))
    title = f"<caption{_stop(sheet)}>{escape(sheet.caption)}</caption>" if sheet.caption else ""
    notes = f'<p class="note"><i>Note.</i> {_notes(sheet)}</p>' if sheet.notes else ""
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{_rows(sheet)}\n</tbody>"
    return f'<div class="apa"><table>{title}{body}</table>{notes}</div>'


def _rows(sheet: Sheet) -> str:
    """The rows; a group without contrasts has its numbers beside its title."""
    heads, width = groups(sheet), len(columns_of(sheet))
    padded = {c: _aligned(sheet.cells[c]) for c in sheet.cells.columns if c in sheet.numbers}
    lines = []
    for k, (begun, stubs, cells) in enumerate(grouped_rows(sheet)):
        cells = [padded[c][k] if c in padded else v for c, v in zip(sheet.cells.columns, cells, strict=True)]
        tds = "".join(
            f"<td{_right(c, sheet)}>{escape(v)}</td>" for c, v in zip(sheet.cells.columns, cells, strict=True)
        )
        titles = [(kind, escape(t) + (f" <span>{escape(d)}</span>" if d else "")) for kind, t, d in begun]
        beside = bool(titles) and stubs == [""]
        for kind, title in titles[: len(titles) - beside]:
            row = "level" if kind == "Level" else "group"
            lines.append(f'<tr class="{row}"><th colspan="{width}" scope="rowgroup">{title}</th></tr>')
        names = [titles[-1][1]] if beside else map(escape, stubs)
        ths = "".join(f'<th scope="row">{name}</th>' for name in names)
        row = "in" if heads and not (beside and heads == ["Estimand"]) else "group" if beside else ""
        lines.append(f"<tr{f' class="{row}"' if row else ''}>{ths}{tds}</tr>")
    return "\n".join(lines)


def _aligned(texts: pd.Series) -> list[str]:
    """Numbers padded with figure spaces behind, so that right-aligned decimal points meet."""
    tails = [len(t.partition(".")[2]) + ("." in t) for t in texts]
    if any("[" in t or "/" in t for t in texts):
        return list(texts)
    most = max(tails, default=0)
    return [
        t
        if t in (DASH, FIXED)
        else t + ("\u2008" * (tail == 0 and most > 0)) + "\u2007" * (most - max(tail, min(most, 1)))
        for t, tail in zip(texts, tails, strict=True)
    ]


def _right(column: str, sheet: Sheet) -> str:
    return ' class="n"' if column in sheet.numbers else ""


def _stop(sheet: Sheet) -> str:
    return ' class="stop"' if sheet.failed else ""


def _heading(heading: str) -> str:
    return f"<i>{heading}</i>" if heading in ITALIC else escape(heading)


def _notes(sheet: Sheet) -> str:
    if not sheet.failed:
        return escape(" ".join(sheet.notes))
    return f'<b class="stop">{escape(sheet.notes[0])}</b> {escape(" ".join(sheet.notes[1:]))}'
