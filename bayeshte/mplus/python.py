"""`bayeshte translate`: the Python that builds the same specification."""

import textwrap
from pathlib import PureWindowsPath

from bayeshte.errors import DataError
from bayeshte.families import SEM
from bayeshte.mplus import datafile, define
from bayeshte.mplus.read import Analysis
from bayeshte.mplus.settings import Settings
from bayeshte.prior import OTHERS, Prior

WIDTH = 100


def program(analysis: Analysis) -> str:
    """A script: data, specification, fit."""
    settings, spec = analysis.settings, analysis.spec
    derived = define.as_python(analysis.source.of("DEFINE"), settings.condition, settings)
    imports = sorted({"import pandas as pd", *(line for line in derived if line.startswith(("import ", "from ")))})
    lines = [f'"""{_plain(analysis)}"""', "", *imports, "", "import bayeshte as bh", "", *_data(analysis)]
    lines += [line for line in derived if line not in imports]
    lines += _complete(settings)
    if spec is None:
        return "\n".join([*lines, "", "print(data.describe())", ""])
    interval = ', interval="hdi"' if settings.interval == "hdi" else ""
    lines += ["", *specification(spec), "", "fit = bh.fit(spec, data, seed=1)"]
    return "\n".join(
        [*lines, f"print(bh.summary(fit{interval}))", "print(bh.effects(fit))", "print(bh.model_fit(fit))", ""]
    )


def _data(analysis: Analysis) -> list[str]:
    """Lines that read the file and make coded values missing."""
    settings = analysis.settings
    file, separator = _file(analysis)
    marks = [v for v in (settings.symbol,) if v in (".", "*")]
    unknown = f", na_values={marks}" if marks else ""
    lines = ["names = " + _names(settings.names)]
    lines += [f"data = pd.read_csv({_quoted(file)}, sep={separator}, header=None, names=names{unknown})"]
    groups: dict[tuple, list[str]] = {}
    for name, limits in settings.missing.items():
        groups.setdefault(tuple(limits), []).append(name)
    for limits, names in groups.items():
        columns = "names" if names == settings.names else _names(names)
        for low, high in limits:
            where = f"x == {low:g}" if low == high else f"x.between({low:g}, {high:g})"
            lines.append(f"data[{columns}] = data[{columns}].apply(lambda x: x.mask({where}))")
    return lines


def _file(analysis: Analysis) -> tuple[str, str]:
    """The data file, seen from the folder of the input if it is below it, and what separates its values.

    A file that is not there has the name that the input gives it, in lower case, and commas if that says so.
    """
    folder = analysis.path.parent
    try:
        path, _ = datafile.locate(analysis.settings.file, folder, analysis.file)
    except DataError:
        name = str(analysis.file) if analysis.file else PureWindowsPath(analysis.settings.file).name.lower()
        commas = name.lower().endswith(".csv")
    else:
        name = str(path) if analysis.file or not path.is_relative_to(folder) else path.relative_to(folder).as_posix()
        with path.open(encoding="utf-8", errors="replace") as lines:
            commas = "," in next(lines, "")
    return name, '","' if commas else 'r"\\s+"'


def _complete(settings: Settings) -> list[str]:
    """The line that drops rows without values."""
    used = _names([v for v in settings.use if v not in (settings.cluster, *settings.keep)])
    how = "any" if settings.listwise else "all"
    return [f'data = data.dropna(how="{how}", subset={used})']


def _names(names: list[str]) -> str:
    """A list of names, in lines of their own if it is long."""
    text = "[" + ", ".join(_quoted(v) for v in names) + "]"
    return text if len(text) <= WIDTH else "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent="    "))


def specification(spec: SEM) -> list[str]:
    """``spec = bh.SEM(...)`` as lines."""
    out = ["spec = bh.SEM("]
    if spec.cluster:
        out.append(f"    cluster={_quoted(spec.cluster)},")
    if spec.categorical:
        out.append(f"    categorical={_names([*spec.categorical])},")
    for name in ("model", "within", "between"):
        if words := getattr(spec, name):
            out += [f'    {name}="""', *(f"        {line}" for line in words.split("\n")), '    """,']
    if spec.derived:
        out += ["    derived={", *(f"        {_quoted(k)}: {_quoted(v)}," for k, v in spec.derived.items()), "    },"]
    return [*out, *_priors(spec.priors), ")"]


def _priors(given) -> list[str]:
    if isinstance(given, str):
        return [f"    priors={_quoted(given)},"]
    named = [(k, v) for k, v in given.items() if k != OTHERS]
    rows = [f"        {_quoted(k)}: {_call(v)}," for k, v in named] + [
        f"        {_quoted(OTHERS)}: {_quoted(given[OTHERS])},"
    ]
    return ["    priors={", *rows, "    },"]


def _call(prior: Prior) -> str:
    return f"bh.{prior.name}({', '.join(repr(v) for _, v in prior.params)})"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(analysis: Analysis) -> str:
    """The title, whose case, as that of all the input, does not matter."""
    title = analysis.source.title.replace("\\", "/").replace('"', "'")
    return title[:1].upper() + title[1:].lower() or "A model of Mplus."
