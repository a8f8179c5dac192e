"""Tables for papers in APA style: as text in a DataFrame, as HTML, as LaTeX, as a Word document.

They take the frames of `bh.summary`, `bh.effects`, `bh.cluster_effects`, `bh.subgroups` and of the checks. Digits are those
that the Monte Carlo error supports: d decimals only if the error of the estimate is below one unit of the last one, and
never more than two, or as many as the posterior SD needs for two significant digits. Probabilities, correlations and
shares have no zero before the point. A table of a fit that did not converge says so in its caption and in its note.
"""

import pandas as pd

from bayeshte.tables.document import to_docx
from bayeshte.tables.markup_html import STYLE, html_table, to_html
from bayeshte.tables.markup_latex import to_latex
from bayeshte.tables.sheet import FAILED, typeset

__all__ = ["STYLE", "apa", "html_table", "to_docx", "to_html", "to_latex"]


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
    sheet = typeset(frame, caption, note)
    out = sheet.cells.copy()
    defined = [f"{name}: {text}." for name, text in sheet.definitions.items()]
    out.attrs = {"caption": sheet.caption, "note": " ".join([*sheet.notes, *defined])}
    if sheet.failed:
        out.columns.name = FAILED
    return out
