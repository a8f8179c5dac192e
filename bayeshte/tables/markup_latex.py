"""Tables as LaTeX."""

import pandas as pd

from bayeshte.tables.digits import DASH, MINUS
from bayeshte.tables.sheet import ITALIC, ONE_ARM, columns_of, grouped_rows, groups, typeset

LONG = 40  # rows beyond which a table runs over pages

_TEX = {c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "|": r"\textbar{}", "[": "{[}", "]": "{]}"}
_TEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {MINUS: "$-$", "<": "$<$", ">": "$>$", DASH: "---", "∞": r"$\infty$", ONE_ARM: r"\textdagger{}"}


def to_latex(frame: pd.DataFrame, caption: str | None = None, note: str | None = None) -> str:
    """A result as a LaTeX table: needs the package booktabs, and longtable beyond 40 rows. Parameters as in `apa`."""
    sheet = typeset(frame, caption, note)
    columns, rows = columns_of(sheet), []
    indent = r"\quad " if "Header" in groups(sheet) else ""
    for begun, stubs, cells in grouped_rows(sheet):
        for kind, name, definition in begun:
            text = rf"\{'textbf' if kind == 'Level' else 'textit'}{{{_tex(name)}}}"
            text += f": {_tex(definition)}" if definition else ""
            rows.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}p{{\linewidth}}@{{}}}}{{{text}}} \\")
        rows.append(indent + " & ".join([*map(_tex, stubs), *map(_tex, cells)]) + r" \\")
    layout = "".join("r" if c in sheet.numbers else "l" for c in columns)
    head = " & ".join(_heading(c) for c in columns) + r" \\"
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


def _heading(heading: str) -> str:
    return rf"\textit{{{_tex(heading)}}}" if heading in ITALIC else _tex(heading)


def _tex(text: str) -> str:
    """Text safe in LaTeX; brackets in braces, because a row that begins with one would be read as an option."""
    return "".join(_TEX.get(c, c) for c in str(text).replace("R\u0302", "\0")).replace("\0", r"$\hat{R}$")
