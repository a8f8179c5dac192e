"""What the command line prints: summaries, priors, data, equations, notes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bayeshte import gallery, latex, mplus
from bayeshte.fit import Fit, headline, summary
from bayeshte.prior import Prior
from bayeshte.report.data import ROWS_OPEN, spread_of
from bayeshte.spec import Estimand, ModelSpec
from bayeshte.tables.sheet import Sheet, columns_of, grouped_rows, groups, typeset

screen, err = (Console(stderr=error, highlight=False, emoji=False) for error in (False, True))  # y ~ m:x: is no emoji


def say(text: str, style: str | None = None) -> None:
    """A line; wrapped on a terminal only."""
    screen.print(text, style=style, markup=False, soft_wrap=not screen.is_terminal)


def print_fit(fit: Fit) -> None:
    say(headline(fit))
    say(fit.diagnosis.verdict, "green" if fit.diagnosis.ok else "bold red")


def print_notes(analysis: mplus.Analysis | None) -> None:
    """What was ignored in a Mplus input, what was decided, what looks like a mistake."""
    if analysis and (notes := [*analysis.notes, *analysis.data_notes]):
        say("Notes on the input", "bold")
        for note in notes:
            screen.print(Padding(Text(note), (0, 0, 0, 2)))


def print_statistics(analysis: mplus.Analysis) -> None:
    """TYPE = BASIC."""
    say(analysis.title, "bold")
    table, correlations = mplus.statistics(analysis.data(), analysis.settings)
    first = ["variable", "values", "missing", "mean", "variance", *(["ICC"] if "ICC" in table else [])]
    for frame in (table[first], table.drop(columns=first[1:]), correlations):
        screen.print(_frame(frame))
    print_notes(analysis)


def _frame(frame: pd.DataFrame) -> Table:
    """Numbers to four digits."""
    shown = frame if "variable" in frame else frame.rename_axis("correlation").reset_index()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for k, name in enumerate(shown.columns):
        table.add_column(str(name), justify="right" if k else "left", overflow="fold", min_width=len(str(name)))
    for row in shown.itertuples(index=False):
        table.add_row(*(v if isinstance(v, str) else f"{v:.4g}" for v in row))
    return table


def print_parameters(frame: pd.DataFrame) -> None:
    """Every parameter of a Mplus input in Mplus's words: free or fixed, written or by default, with its prior."""
    shown = frame.loc[:, (frame != "").any()]
    columns = [c for c in shown.columns if c != "level"]
    for level, part in shown.groupby("level", sort=False) if "level" in shown else [("", shown)]:
        table = Table(
            box=box.SIMPLE_HEAD, title=level or None, title_justify="left", title_style="bold", pad_edge=False
        )
        for c in columns:
            table.add_column(c.capitalize(), no_wrap=c == "prior", overflow="fold")
        for row in part[columns].itertuples(index=False):
            table.add_row(*map(escape, row))
        screen.print(table)


def print_priors(priors: Mapping[str, Prior]) -> None:
    table = Table("Parameter", "Prior", box=box.SIMPLE_HEAD)
    for label, prior in priors.items():
        table.add_row(escape(label), escape(repr(prior)))
    screen.print(table)


def print_data(spec: ModelSpec, design: xr.Dataset) -> None:
    """Rows, missing values, clusters, and what the family says of its variables."""
    a, about = design.attrs, spec.describe(design)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 1))
    dropped = a["rows_given"] - design.sizes["row"]
    missing = f" ({dropped:,} incomplete ones dropped; missing: {', '.join(a['missing'])})" if dropped else ""
    table.add_row("Rows", escape(f"{design.sizes['row']:,}{missing}"))
    if a["cluster"]:
        size = np.bincount(design["cluster_code"].to_numpy())
        spread = f"{size.min():,} to {size.max():,} rows, median {np.median(size):g}"
        table.add_row("Clusters", escape(f"{len(size):,} clusters of {spread} ({a['cluster']})"))
    for label, value in about.facts:
        if not isinstance(value, Estimand):  # which needs draws
            table.add_row(escape(label), escape(value if isinstance(value, str) else spread_of(value)))
    screen.print(table)
    for title, frame in about.tables:
        if len(frame) <= ROWS_OPEN:
            say(f"\n {title}")
            screen.print(_blocks(typeset(frame, None, None), ("Smallest", "Largest", "Role")))


def print_summary(fit: Fit, expected: Mapping) -> None:
    """The summary, with reference numbers beside it; what a narrow terminal cannot show is in summary.csv."""
    frame = summary(fit)
    sheet = typeset(frame, None, None)
    if expected:
        rows = gallery.compare(frame, expected).itertuples()
        found = {
            r.Index: f"{r.reference:g} ".replace("-", "−") + ("✓" if r.agrees else f"✗ off by {r.difference:+.3g}")
            for r in rows
        }
        sheet = replace(sheet, cells=sheet.cells.assign(Reference=[found.get(k, "") for k in frame.index]))
    screen.print(_blocks(sheet, ("Mean", "MCSE", "p", "ESS bulk / tail", "R\u0302", "SD")))


def _blocks(sheet: Sheet, spare: Sequence[str] = ()) -> Group:
    """A table; if it has levels one below the other, headers between the rows; without `spare` columns that have no room."""
    indent = "  " * ("Header" in groups(sheet))
    lines = [
        ([(kind, title) for kind, title, _ in begun], [indent + stubs[0], *stubs[1:], *cells])
        for begun, stubs, cells in grouped_rows(sheet)
    ]
    columns = columns_of(sheet)
    texts = [[c, *(cells[k] for _, cells in lines)] for k, c in enumerate(columns)]
    texts[0] += [title for begun, _ in lines for kind, title in begun if kind != "Level"]
    width = {c: max(map(len, t)) for c, t in zip(columns, texts, strict=True)}
    for column in [c for c in spare if c in width]:
        if sum(width.values()) + 3 * len(width) > screen.width:
            del width[column]
    blocks: list[Table] = []
    for begun, cells in lines:
        levels = [title for kind, title in begun if kind == "Level"]
        if levels or not blocks:
            options = {"title": levels[0], "title_justify": "left", "title_style": "bold"} if levels else {}
            blocks.append(Table(box=box.SIMPLE_HEAD, pad_edge=False, **options))
            for c, w in width.items():
                side = "right" if c in sheet.numbers else "left"
                blocks[-1].add_column(c, justify=side, overflow="fold", min_width=w if levels else None)
        for _, title in (g for g in begun if g[0] != "Level"):
            blocks[-1].add_row(Text(title, style="italic"))
        shown = dict(zip(columns, cells, strict=True))
        wrong = "✗" in shown.get("Reference", "")
        blocks[-1].add_row(*(escape(shown[c]) for c in width), style="red" if wrong else None)
    return Group(*blocks)


_SYMBOLS = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\delta": "δ", r"\varepsilon": "ε", r"\zeta": "ζ", r"\eta": "η",
    r"\theta": "θ", r"\lambda": "λ", r"\mu": "μ", r"\nu": "ν", r"\pi": "π", r"\rho": "ρ", r"\sigma": "σ", r"\tau": "τ",
    r"\kappa": "κ", r"\phi": "φ", r"\psi": "ψ", r"\Psi": "Ψ", r"\Phi": "Φ", r"\sim": "~", r"^\top": "ᵀ", r"\exp": "exp",
    r"\log": "log", r"\dots": "...",
    r"\sum": "Σ", r"\textstyle": "", r"\ge": "≥", r"\le": "≤", r"\left": "", r"\right": "", r"\quad": "  ",
    r"\,": " ", r"\ ": " ", " &": " ", "&": " ", "^2": "²", "^{-1}": "⁻¹", "^W": "ᵂ", "^B": "ᴮ",
}  # fmt: skip


def _matrix(match: re.Match) -> str:
    """A matrix on one line: rows end in a semicolon."""
    return f"[{re.sub(r'\s*&\s*', ', ', re.sub(r'\s*\\\\\s*', '; ', match[1].strip()))}]"


def readable(line: str) -> str:
    """An equation for the terminal."""
    names: list[str] = []

    def keep(match: re.Match) -> str:  # what stands in \text{} is no mathematics
        names.append(latex.plain(match[1]))
        return chr(0xE000 + len(names) - 1)

    out = re.sub(r"\\text\{((?:[^{}\\]|\\[a-z]+\{\}|\\.)*)\}", keep, line)
    out = re.sub(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", _matrix, out)
    for mark in sorted(_SYMBOLS, key=len, reverse=True):  # \left before \le
        out = out.replace(mark, _SYMBOLS[mark])
    out = re.sub(r"_\{([^{}]*)\}", r"_\1", out)
    out = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r" [\1 / \2]", out)
    return re.sub("[\ue000-\uf8ff]", lambda m: names[ord(m[0]) - 0xE000], out)
