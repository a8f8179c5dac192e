"""Tables as Word documents, for manuscripts: needs python-docx (``pip install bayeshte[word]``)."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from bayeshte.errors import SpecError
from bayeshte.tables.sheet import ITALIC, Sheet, columns_of, grouped_rows, groups, typeset

FONT, SIZE = "Times New Roman", 9
CHARACTER, MARGIN = 0.066, 0.16  # inches: width of a character, about; left and right of a cell together
RULES = {"top": 12, "head": 6, "bottom": 12}  # eighths of a point


def to_docx(frame: pd.DataFrame, path: str | Path, caption: str | None = None, note: str | None = None) -> Path:
    """Writes a result as a Word document with one APA table: three rules, headings of groups, the notes below.

    Parameters
    ----------
    frame, caption, note
        As in `apa`.
    path : str or Path
        A file that ends in ``.docx``; its folder is made.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SpecError
        If the file has another ending or python-docx is not installed.
    """
    path = Path(path)
    if path.suffix.lower() != ".docx":
        raise SpecError(f"path={str(path)!r}: a Word document ends in .docx.")
    if find_spec("docx") is None:
        raise SpecError(
            "Word documents need python-docx: pip install bayeshte[word] (or to_html, which Word opens too)."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _document(typeset(frame, caption, note)).save(path)
    return path


def _document(sheet: Sheet):
    """The document of a table."""
    from docx import Document
    from docx.shared import Pt

    document = Document()
    document.styles["Normal"].font.name, document.styles["Normal"].font.size = FONT, Pt(SIZE)
    document.styles["Normal"].paragraph_format.space_after = Pt(0)
    if sheet.caption:
        title = document.add_paragraph()
        title.add_run(sheet.caption).bold = True
        title.paragraph_format.keep_with_next = True
    _fill(document.add_table(rows=1, cols=len(columns_of(sheet))), sheet)
    if sheet.notes:
        notes = document.add_paragraph()
        notes.paragraph_format.space_before = Pt(4)
        notes.add_run("Note. ").italic = True
        notes.add_run(" ".join(sheet.notes)).bold = sheet.failed or None
    return document


def _fill(table, sheet: Sheet) -> None:
    """The head, a row for each group that begins, and the numbers."""
    columns = columns_of(sheet)
    indent = "    " if "Header" in groups(sheet) else ""
    for cell, name in zip(table.rows[0].cells, columns, strict=True):
        _write(cell, name, italic=name in ITALIC, right=name in sheet.numbers)
    for begun, stubs, cells in grouped_rows(sheet):
        for kind, name, definition in begun:
            row = table.add_row().cells
            text = row[0].merge(row[-1]).paragraphs[0]
            text.add_run(name).bold = True if kind == "Level" else None
            text.runs[0].italic = kind != "Level"
            text.add_run(f": {definition}" if definition else "")
        texts = [indent + stubs[0], *stubs[1:], *cells] if stubs else list(cells)
        for cell, name, text in zip(table.add_row().cells, columns, texts, strict=True):
            _write(cell, text, right=name in sheet.numbers)
    _widths(table, sheet)
    _rules(table)


def _write(cell, text: str, italic: bool = False, right: bool = False) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    paragraph = cell.paragraphs[0]
    paragraph.add_run(str(text)).italic = italic
    if right:
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT


def _widths(table, sheet: Sheet) -> None:
    """Columns as wide as their longest text; titles of groups stretch over all."""
    from docx.shared import Inches

    rows = [[*stubs, *cells] for _, stubs, cells in grouped_rows(sheet)]
    longest = [max(map(len, map(str, texts))) for texts in zip(columns_of(sheet), *rows, strict=True)]
    table.autofit = False
    for length, column in zip(longest, table.columns, strict=True):
        width = Inches(CHARACTER * length + MARGIN)
        column.width = width
        for cell in column.cells:
            if cell._tc.grid_span == 1:
                cell.width = width


def _rules(table) -> None:
    """The three horizontal rules; the head is repeated on every page."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    def rule(row, side: str, size: int) -> None:
        for cell in row.cells:
            properties = cell._tc.get_or_add_tcPr()
            borders = properties.find(qn("w:tcBorders"))
            if borders is None:
                borders = OxmlElement("w:tcBorders")
                properties.append(borders)
            edge = OxmlElement(f"w:{side}")
            for name, value in (("val", "single"), ("sz", str(size)), ("color", "222222")):
                edge.set(qn(f"w:{name}"), value)
            borders.append(edge)

    head, last = table.rows[0], table.rows[-1]
    rule(head, "top", RULES["top"])
    rule(head, "bottom", RULES["head"])
    rule(last, "bottom", RULES["bottom"])
    repeated = OxmlElement("w:tblHeader")
    repeated.set(qn("w:val"), "true")
    head._tr.get_or_add_trPr().append(repeated)
