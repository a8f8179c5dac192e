"""The gallery: one runnable file per published analysis, in models/ of the repository and in the installed package.

A gallery file has a docstring whose first line is its title, `SPEC` (a model specification), `data()` (a function that
returns a DataFrame) and, where there are reference numbers, ``EXPECTED = {parameter: (value, tolerance, source)}``, the
parameter as `names_of` has it.
"""

import linecache
import runpy
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bayeshte.errors import DataError, SpecError, near
from bayeshte.spec import ModelSpec
from bayeshte.summary import name_of


@dataclass(frozen=True)
class Entry:
    """A gallery file, read.

    Attributes
    ----------
    name : str
        The file's name without ``.py``.
    text : str
        Its docstring.
    spec : ModelSpec
    make_data : callable
        Its `data`.
    expected : mapping
        Parameter (see `names_of`) to (value, tolerance, source); empty without references.
    """

    name: str
    path: Path
    text: str
    spec: ModelSpec
    make_data: Callable[[], pd.DataFrame]
    expected: Mapping[str, tuple[float, float, str]]

    @property
    def title(self) -> str:
        """First line of the docstring."""
        return self.text.strip().splitlines()[0]

    def data(self) -> pd.DataFrame:
        """The data; whatever goes wrong in the file's own code is a DataError that says where."""
        try:
            return self.make_data()
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"data() of {self.path.name} failed: {_where(error, self.path)}") from None


def folder() -> Path:
    """Where the gallery is: inside the installed package, or models/ of the repository."""
    here = Path(__file__).parent
    installed = here / "_gallery"
    return installed if installed.is_dir() else here.parent / "models"


def names() -> list[str]:
    """Names of the gallery's analyses."""
    return sorted(p.stem for p in folder().glob("*.py"))


def read(name: str) -> Entry:
    """A gallery analysis by name, or any file of the same form by path.

    Raises
    ------
    SpecError
        No such name (near matches are given) or file; a file that is not of this form, with everything that is missing.
    """
    path = Path(name)
    if path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise SpecError(f"There is no file {name}.")
    else:
        path = folder() / f"{name}.py"
        if name not in names():
            raise SpecError(f"The gallery has no model {name!r}.{near(name, names())} Or give the path of a file.")
    try:
        content = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise SpecError(f"{path.name} cannot be run: {_where(error, path)}") from None
    problems = _problems(content)
    if problems:
        raise SpecError(f"{path.name} is not a gallery file: {'; '.join(problems)}.")
    return Entry(path.stem, path, content["__doc__"], content["SPEC"], content["data"], content.get("EXPECTED", {}))


def _problems(content: Mapping) -> list[str]:
    out = []
    if not (content.get("__doc__") or "").strip():
        out.append("it needs a docstring whose first line is the title")
    if not isinstance(content.get("SPEC"), ModelSpec):
        out.append("it needs SPEC, a specification such as bayeshte.RandomSlope(...)")
    if not callable(content.get("data")):
        out.append("it needs a function data() that returns a DataFrame")
    for name, row in content.get("EXPECTED", {}).items():
        if not isinstance(row, tuple) or [isinstance(v, str) for v in row] != [False, False, True]:
            out.append(f"EXPECTED[{name!r}] must be (value, tolerance, source)")
    return out


def _where(error: BaseException, path: Path) -> str:
    """``NameError in line 12 (x = y): name 'y' is not defined``"""
    if isinstance(error, SyntaxError):
        return f"{error.msg} in line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    place = f" in line {lines[-1]} ({linecache.getline(str(path), lines[-1]).strip()})" if lines else ""
    kind = "" if isinstance(error, SpecError | DataError) else f"{type(error).__name__}: "
    return f"{kind}{error}{place}"


def names_of(table: pd.DataFrame) -> dict[str, int]:
    """The names of a summary's rows, and their places: the parameter, with its level if there are any, or its label.

    ``"gamma0"``; ``"b1"`` or ``"between: mvpa ~ advant"``.
    """
    out: dict[str, int] = {}
    for k, row in enumerate(table.to_dict("records")):
        out |= {name: k for name in (name_of(row), row.get("label", "")) if name and name not in out}
    return out


def compare(table: pd.DataFrame, expected: Mapping[str, tuple[float, float, str]]) -> pd.DataFrame:
    """A summary beside its reference numbers.

    Parameters
    ----------
    table : DataFrame
        As `bayeshte.summary` makes it.
    expected : mapping
        Parameter, by one of `names_of`, to (value, tolerance, source).

    Returns
    -------
    DataFrame
        Columns ``parameter, estimate, reference, difference, tolerance, agrees, source``, one row a reference; its index is
        that of the rows of `table`. `agrees` allows the tolerance and three Monte Carlo errors of the estimate.
    """
    names = names_of(table)
    rows = table.iloc[[names[name] for name in expected]]
    value, tolerance, source = zip(*expected.values(), strict=True)
    difference = rows["estimate"].to_numpy() - np.array(value)
    return pd.DataFrame(
        {
            "parameter": list(expected),
            "estimate": rows["estimate"].to_numpy(),
            "reference": value,
            "difference": difference,
            "tolerance": tolerance,
            "agrees": np.abs(difference) <= np.array(tolerance) + 3 * rows["mcse"].fillna(0).to_numpy(),
            "source": source,
        },
        index=rows.index,
    )
