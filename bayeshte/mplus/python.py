"""`bayeshte translate`: the Python that builds the same specification."""

from pathlib import Path

from bayeshte.families import SEM
from bayeshte.families.sem_priors import OTHERS
from bayeshte.mplus import datafile, define
from bayeshte.mplus.read import Analysis
from bayeshte.prior import Prior

WIDTH = 100


def program(analysis: Analysis) -> str:
    """A script: data, specification, fit."""
    settings, spec = analysis.settings, analysis.spec
    lines = [
        f'"""{_plain(analysis.source.title) or "A Mplus input, translated."}"""',
        "",
        "import numpy as np",
        "import pandas as pd",
        "",
    ]
    lines += ["import bayeshte as bh", ""]
    lines += datafile.as_python(settings, analysis.file or Path(settings.file))
    lines += define.as_python(analysis.source.of("DEFINE"), settings.condition, settings)
    if spec is None:
        return "\n".join([*lines, "", "print(data.describe())", ""])
    lines += ["", *specification(spec), "", "fit = bh.fit(spec, data, seed=1)"]
    interval = ', interval="hdi"' if settings.interval == "hdi" else ""
    lines += [f"print(bh.summary(fit{interval}))", "print(bh.effects(fit))", "print(bh.model_fit(fit))"]
    body = "\n".join(lines)
    if "np." not in body:
        body = body.replace("import numpy as np\n", "", 1)
    return body + "\n"


def specification(spec: SEM) -> list[str]:
    """``spec = bh.SEM(...)`` as lines."""
    out = ["spec = bh.SEM("]
    if spec.cluster:
        out.append(f"    cluster={_quoted(spec.cluster)},")
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


def _plain(title: str) -> str:
    return title.replace("\\", "/").replace('"""', "'''").rstrip('"')
