"""The data file of an input: where it is, and its values as a DataFrame.

Free format: values are separated by blanks, tabs or commas, one row a line. Well-formed files go through pandas' parser in one
piece; only what it cannot read is looked at value by value, to say what is wrong and where.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from bayeshte.errors import DataError
from bayeshte.mplus import define
from bayeshte.mplus.names import NAME, PRINTED
from bayeshte.mplus.settings import SYMBOLS, Settings
from bayeshte.mplus.source import Statement

SUFFIXES = (".dat", ".txt", ".csv", ".tsv", ".raw", ".asc", ".prn")
NOT_AVAILABLE = ("NA", "NAN", "N/A", "#N/A", "NULL", "NONE")
# characters that no data file has
EMPTY, BLANK, COMMA = "\ue000", "\ue001", "\ue002"  # an empty field; a blank and a comma within quotes
SHOWN = 8  # values that a message lists
_NUMERIC = b"0123456789eE+-.* \t\n"


def locate(given: str, beside: Path, override: Path | None) -> tuple[Path, str]:
    """The data file of an input.

    Parameters
    ----------
    given : str
        As the input names it: relative to the input's folder, or a path of another machine, in Windows's or another style.
    beside : Path
        The folder of the input.
    override : Path, optional
        The file to read instead.

    Returns
    -------
    path, note : Path, str
        `note` is empty if the file is where the input says.

    Raises
    ------
    DataError
        There is no such file; the message lists the places that were tried.
    """
    if override is not None:
        if not _is_file(override):
            raise DataError(f"The data file {override} is not there: give the path of a file.")
        return override, f"data: {override} is read instead of {given}."
    given = given.strip().strip("\"'").strip()
    tried = [beside / given, beside / given.replace("\\", "/")]
    for path in tried:
        if _is_file(path):
            return path, ""
    name = PureWindowsPath(given).name
    files = sorted(f for f in beside.iterdir() if _is_file(f)) if beside.is_dir() else []
    same = sorted((f for f in files if f.name.lower() == name.lower()), key=lambda f: f.name != name)
    if same:
        return same[0], f"data: {same[0].name} beside the input is read; {given} is not there."
    data = [f.name for f in files if f.suffix.lower() in SUFFIXES]
    places = ", ".join(dict.fromkeys(str(p) for p in (*tried, beside / name)))
    there = f"Beside the input are {', '.join(data[:20])}." if data else "Beside the input is no data file."
    raise DataError(
        f"The data file {given!r} is not there; tried {places}. {there} Put it there, or give its path with --data."
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the system
        return False


def read(path: Path, settings: Settings, statements: Iterable[Statement] = ()) -> pd.DataFrame:
    """The data as DEFINE and the model see them: a column of floats for each of `settings.names`, NaN where missing.

    Parameters
    ----------
    path : Path
    settings : Settings
        `names`, `missing` and `symbol` are used; `notes` gets what was skipped.
    statements : iterable of Statement
        DEFINE, whose columns must be numbers.

    Returns
    -------
    DataFrame
        A column with text that only identifies rows or clusters (CLUSTER, IDVARIABLE, AUXILIARY) keeps it; one that is not used
        is missing.

    Raises
    ------
    DataError
        A line with another number of values, a value that is no number; the message names line, column and value.
    """
    text = _without_header(path, _separated(_decoded(path), settings), settings)
    _check_counts(path, text, settings)
    plain = not text.encode().translate(None, _NUMERIC)
    frame = _parsed(text, settings, float) if plain else None
    if frame is None or np.isinf(frame.to_numpy()).any():
        frame = _column_by_column(path, text, settings, statements)
    for column, limits in settings.missing.items():
        if column in frame.columns:
            x = pd.to_numeric(frame[column], errors="coerce")
            coded = np.any([x.between(low, high) for low, high in limits], axis=0)
            frame[column] = frame[column].mask(coded)
    return frame


def complete(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """The rows with any value of the analysis, or with all of them if LISTWISE = ON; the others are counted in a note."""
    used = [v for v in settings.use if v not in (settings.cluster, *settings.keep)]
    there = frame[used].notna()
    keep = (there.all(axis=1) if settings.listwise else there.any(axis=1)).to_numpy()
    dropped = len(frame) - int(keep.sum())
    which = "a value missing (LISTWISE = ON)" if settings.listwise else "no value in any variable of the analysis"
    if not keep.any():
        raise DataError(
            f"All {len(frame)} rows have {which}: missing are "
            + ", ".join(f"{v} in {n}" for v, n in frame[used].isna().sum().items() if n)
            + "."
        )
    if dropped:
        settings.notes.append(f"data: {dropped} of {len(frame)} rows have {which} and are dropped.")
    return frame[keep]


def missing(frame: pd.DataFrame, settings: Settings) -> Iterator[str]:
    """What MISSING came to: how many values of which variables."""
    if settings.missing or settings.symbol:
        counts = frame[[v for v in settings.use if v not in (settings.cluster, *settings.keep)]].isna().sum()
        found = ", ".join(f"{v} {n}" for v, n in counts.items() if n)
        yield f"data: MISSING: values that are missing among {len(frame)} rows: {found or 'none'}."


def categories(frame: pd.DataFrame, settings: Settings) -> Iterator[str]:
    """How the values of CATEGORICAL are numbered where there are gaps.

    Raises
    ------
    DataError
        Those of one set, ``u1-u3 (*)``, differ; an outcome of a growth curve has more than two.
    """
    found = {v: np.unique(frame[v].dropna().to_numpy(float)) for v in settings.categorical}
    for names in settings.sets:
        sets = {tuple(found[v]): v for v in names if v in found}
        if len(sets) > 1:
            one, other = list(sets.values())[:2]
            raise DataError(
                f"CATEGORICAL {' '.join(names)} (*): {one} has the values {_listed(found[one])} and {other} "
                f"{_listed(found[other])}. Variables that share their categories need all of them: leave out (*), so that each "
                "has its own."
            )
    for v in settings.binary:
        if len(found[v]) > 2:
            raise DataError(
                f"{v} has the categories {_listed(found[v])}: a growth curve, i s | ..., holds all thresholds equal, which is "
                "supported for two categories. Join them, as in DEFINE: CUT, or write the curve with BY and [i@0]: then first "
                f"thresholds can be equal, [{v}$1 ...] (1)."
            )
    for v, x in found.items():
        if len(x) and np.ptp(x) != len(x) - 1:
            order = ", ".join(map(str, range(min(len(x), SHOWN)))) + (", ..." if len(x) > SHOWN else "")
            yield f"data: {v}: the values {_listed(x)} are taken as categories {order}, in that order."


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{x:g}" for x in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")


# --------------------------------------------------------------------------------------------------------------- text


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    if b"\0" in content:
        raise DataError(
            f"{path.name} is not a text file: save the data as plain text, values separated by blanks, tabs or commas."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return re.sub(r"\r\n?", "\n", text)


def _separated(text: str, settings: Settings) -> str:
    """The text with blanks and tabs as the only separators, and no quotes; lines stay where they are."""
    if '"' in text or "'" in text:
        text = re.sub(r"(?<![^\s,])([\"'])([^\n]*?)\1(?![^\s,])", lambda m: _unquoted(m[2]), text)
    if "d" in text or "D" in text:
        text = re.sub(r"(?<![^\s,])([+-]?[0-9.]+)[dD]([+-]?[0-9]+)(?![^\s,])", r"\1E\2", text)
    blank = settings.symbol == "BLANK"
    if "," in text:
        if blank:
            text = _filled(text, ",", len(settings.names))
        elif _has_empty(text):
            text = re.sub(r"(?m)(?:^|,)[ \t]*(?=,)", rf"\g<0> {EMPTY} ", text)
        return text.replace(",", " ")
    return _filled(text, "\t", len(settings.names)) if blank and "\t" in text else text


def _has_empty(text: str) -> bool:
    """Whether nothing but blanks stands before a comma."""
    tight = b"\n" + text.encode().translate(None, b" \t")
    return b",," in tight or b"\n," in tight


def _unquoted(field: str) -> str:
    return re.sub(r"\s", BLANK, field.strip()).replace(",", COMMA) or EMPTY


def _filled(text: str, separator: str, expected: int) -> str:
    """The text with EMPTY in empty fields; a separator at the end of a complete line ends it."""
    lines = []
    for line in text.split("\n"):
        if line.strip():
            fields = [part.strip() or EMPTY for part in line.split(separator)]
            if fields[-1] == EMPTY and sum(len(f.split()) for f in fields) == expected + 1:
                fields.pop()
            line = separator.join(fields)
        lines.append(line)
    return "\n".join(lines)


def _without_header(path: Path, text: str, settings: Settings) -> str:
    """The text without a first line that has the names of the columns; one with other words is refused."""
    match = re.search(r"[^\n]*\S[^\n]*", text)
    words = match[0].split() if match else []
    if not words or not all(re.fullmatch(NAME, w) and w.upper() not in NOT_AVAILABLE for w in words):
        return text
    names, line = settings.names, text.count("\n", 0, match.start()) + 1
    given, wanted = ([w.lower()[:PRINTED] for w in ws] for ws in (words, names))
    if given == wanted:
        settings.notes.append(
            f"data: line {line} of {path.name} has the names of the columns and is skipped; Mplus would stop."
        )
        return text[: match.start()] + text[match.end() :]
    where = f"{path.name}, line {line}: "
    if sorted(given) == sorted(wanted):
        raise DataError(
            f"{where}the columns are {' '.join(words)}, but NAMES has another order: give it that of the file."
        )
    raise DataError(
        f"{where}{' '.join(words[:6])}: words, but not those of NAMES. If it is a header, let NAMES name these columns, in "
        "the order of the file."
    )


def _check_counts(path: Path, text: str, settings: Settings) -> None:
    """Refuse lines with another number of values than there are names."""
    counts, expected = _counts(text), len(settings.names)
    lines = np.flatnonzero(counts)
    if not len(lines):
        raise DataError(f"{path.name} has no values: give the data file of the input.")
    wrong = lines[counts[lines] != expected]
    if not len(wrong):
        return
    count = int(counts[wrong[0]])
    if (counts[lines] == count).all():
        remedy = "All lines have so many: let NAMES name every column of the file, in its order."
        if count == 2 * expected:
            remedy += " Decimal commas must be points."
    else:
        remedy = (
            f"{len(wrong)} of {len(lines)} lines have too few or too many: write every row in one line, with a code such as -99 "
            "or . where a value is missing."
        )
    if ";" in text:
        remedy += " Separate values by blanks, tabs or commas, not by ';'."
    raise DataError(f"{path.name}, line {wrong[0] + 1}: {count} values, but NAMES has {expected} columns. {remedy}")


def _counts(text: str) -> np.ndarray:
    """The number of values in every line."""
    characters = np.frombuffer(f"{text}\n".encode(), np.uint8)
    value = (characters != 32) & (characters != 9) & (characters != 10)
    begins = np.flatnonzero(value & ~np.concatenate([[False], value[:-1]]))
    ends = np.searchsorted(begins, np.flatnonzero(characters == 10))
    return np.diff(ends, prepend=0)


# ------------------------------------------------------------------------------------------------------------- values


def _parsed(text: str, settings: Settings, dtype: type) -> pd.DataFrame | None:
    """All values as numbers, or as text; None if one is no number."""
    try:
        return pd.read_csv(
            StringIO(text),
            sep=r"\s+",
            header=None,
            names=settings.names,
            dtype=dtype,
            na_values=[settings.symbol] if settings.symbol and dtype is float else [],
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
        )
    except ValueError:
        return None


def _column_by_column(path: Path, text: str, settings: Settings, statements: Iterable[Statement]) -> pd.DataFrame:
    """The data where some value is no plain number: labels are kept or left out, anything else is an error."""
    frame = _parsed(text, settings, str)
    labels = {settings.cluster, *settings.keep}
    needed = {*settings.use, *settings.within, *settings.between} - labels | define.used(statements, settings)
    missing = EMPTY if settings.symbol == "BLANK" else settings.symbol
    out = {}
    for column in settings.names:
        absent = (frame[column] == missing).to_numpy()
        numbers = pd.to_numeric(frame[column].mask(absent), errors="coerce").to_numpy(float, na_value=np.nan)
        wrong = ~np.isfinite(numbers) & ~absent
        if not wrong.any():
            out[column] = numbers
            continue
        row = int(np.flatnonzero(wrong)[0])
        value = _shown(frame[column].iloc[row])
        if column in needed or not _is_label(value):
            line = np.flatnonzero(_counts(text))[row] + 1
            raise DataError(
                f"{path.name}, line {line}: {column} is {value!r} ({wrong.sum()} of {len(frame)} rows have such a value): "
                f"{_remedy(value, settings)}"
            )
        if column in labels:
            out[column] = frame[column].map(_shown).mask(absent)
        else:
            out[column] = np.full(len(frame), np.nan)
            settings.notes.append(f"data: {column} has text, such as {value!r}; it is not used and read as missing.")
    return pd.DataFrame(out)


def _shown(value: str) -> str:
    """A value as the file has it."""
    return value.replace(BLANK, " ").replace(COMMA, ",").replace(EMPTY, "")


def _is_label(value: str) -> bool:
    return value not in ("", *SYMBOLS) and value.upper() not in NOT_AVAILABLE


def _remedy(value: str, settings: Settings) -> str:
    """What to do about a value that is no number."""
    if value == "":
        return "the field is empty. If that means missing, write MISSING = BLANK;"
    if value in SYMBOLS:
        if settings.symbol:
            return f"MISSING says that {settings.symbol} is missing. Write one sign for all missing values."
        return f"if that means missing, write MISSING = {value};"
    if value.upper() in NOT_AVAILABLE:
        return "if that means missing, write '.' for it in the file and MISSING = .;"
    if np.isinf(pd.to_numeric(pd.Series([value]), errors="coerce").iloc[0]):
        return "it is too large."
    if ";" in value:
        return "separate values by blanks, tabs or commas, not by ';'."
    return "it is no number. Write numbers for it; a column with labels must not be used in the analysis."
