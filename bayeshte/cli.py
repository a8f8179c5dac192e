"""The command line: fit a gallery file or a Mplus input, list the gallery, check a file, translate an input, rebuild a report.

Exit codes: 0 well, 2 something is wrong with the request or the data (one message on stderr), 3 the fit did not converge
(everything is written, marked), 130 stopped with Ctrl-C (what was drawn is kept, marked incomplete).
"""

import functools
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import numpy as np
import pandas as pd
import typer
import xarray as xr
from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bayeshte import gallery, latex, mplus
from bayeshte.errors import ConvergenceWarning, DataError, SpecError, near
from bayeshte.fit import PACKAGES, Fit, headline, load, summary
from bayeshte.fit import fit as fit_model
from bayeshte.prior import Prior
from bayeshte.report import gather, write
from bayeshte.report import report as write_report
from bayeshte.report.data import ROWS_OPEN, spread_of
from bayeshte.spec import Estimand, ModelSpec
from bayeshte.summary import LEVEL
from bayeshte.tables.files import write_csv
from bayeshte.tables.sheet import Sheet, columns_of, grouped_rows, groups, typeset

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Bayesian treatment-effect heterogeneity: for whom, where, and on what does it work?",
)
screen, err = Console(highlight=False), Console(stderr=True, highlight=False)

FIT = "fit"  # the saved fit in the folder of a run
#: what a run writes, beside the fit
OUTPUTS = ("report.html", "summary.csv", "effects.csv", "diagnostics.csv", "figures")
Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE", help="A name of the gallery, a file of the same form, or a Mplus input (.inp)."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="Mplus input: the data file, in place of the one it names."),
]
Priors = Annotated[
    str,
    typer.Option(
        "--priors", metavar="mplus|default", help="Mplus input: Mplus's flat priors, or weakly informative ones."
    ),
]
AsBayes = Annotated[bool, typer.Option("--as-bayes", help="Mplus input: run it whatever ESTIMATOR it names.")]


def command(function):
    """A command whose foreseeable errors are one red sentence and an exit code, not a traceback."""

    @app.command()
    @functools.wraps(function)
    def run_it(*args, **options):
        try:
            code = function(*args, **options)
        except (SpecError, DataError) as error:
            code = _refuse(str(error))
        except OSError as error:
            if error.filename is None:
                raise
            code = _refuse(f"{error.filename}: {error.strerror}.")
        except KeyboardInterrupt:
            err.print("Stopped.", style="red")
            code = 130
        raise typer.Exit(code or 0)

    return run_it


def _refuse(message: str) -> int:
    err.print(message, style="red", markup=False, soft_wrap=True)
    return 2


@command
def run(
    name: Name,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Results go to DIR/<model>/.")] = Path("out"),
    seed: Annotated[int, typer.Option(min=0, help="On one machine, the same seed gives the same draws.")] = 1,
    draws: Annotated[int, typer.Option(min=4, help="Draws kept of each chain.")] = 1000,
    tune: Annotated[int, typer.Option(min=50, help="Warm-up draws of each chain.")] = 500,
    chains: Annotated[int, typer.Option(min=2, help="Chains.")] = 4,
    cores: Annotated[int | None, typer.Option(min=1, help="Chains at the same time; all cores by default.")] = None,
    data: Data = None,
    priors: Priors = "mplus",
    as_bayes: AsBayes = False,
):
    """Fit a model; write report, tables, figures and the fit to DIR/<model>/."""
    analysis = _input(name, data, priors, as_bayes)
    if analysis and analysis.spec is None:
        return _print_statistics(analysis)
    entry = _entry(name, analysis)
    folder = out / entry.name
    frame = entry.data()
    _built(entry, frame)  # whatever is wrong is refused before the results of an earlier run are removed
    _make_room(folder)
    _print_notes(analysis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the verdict is printed
        fit = fit_model(
            entry.spec, frame, seed=seed, draws=draws, tune=tune, chains=chains, cores=cores, path=folder / FIT
        )
    with err.status("Writing tables, figures and the report"):
        count = _write(fit, folder)
        written = mplus.write(fit, analysis, folder) if analysis else ()
    _say(entry.title, "bold")
    _print_fit(fit)
    screen.print(_parameters(fit, entry.expected))
    for source in dict.fromkeys(source for _, _, source in entry.expected.values()):
        _say(f"Reference: {source}. ✓ within the file's tolerance, give or take three Monte Carlo errors.")
    _say(f"Written to {folder}:", "bold")
    _say(f"  {', '.join(dict.fromkeys([*OUTPUTS[:-1], *written]))}")
    _say(f"  {OUTPUTS[-1]}/: {count} figures, PNG and SVG")
    _say(f"  {FIT}/: the saved fit, for bayeshte.load({str(folder / FIT)!r})")
    if not fit.record.get("complete", True):
        return 130
    return 0 if fit.diagnosis.ok else 3


@command
def models():
    """List the gallery."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Name", no_wrap=True, overflow="fold")
    table.add_column("Family")
    table.add_column("Title")
    for entry in map(gallery.read, gallery.names()):
        table.add_row(entry.name, type(entry.spec).__name__, escape(entry.title))
    screen.print(table)
    _say("Fit one with: bayeshte run NAME")


@command
def report(
    path: Annotated[Path, typer.Argument(metavar="FIT", help="A saved fit, or the folder of a run.")],
):
    """Rebuild the report of a saved fit, also of a run that was killed."""
    fitted = path / FIT if (path / FIT).is_dir() else path
    fit = load(fitted)
    target = fitted.parent / ("report.html" if fitted.name == FIT else f"{fitted.name}_report.html")
    with err.status("Writing the report"):
        write_report(fit, target)
    _print_fit(fit)
    _say(f"Written: {target}", "bold")
    return 0 if fit.diagnosis.ok else 3


@command
def check(name: Name, data: Data = None, priors: Priors = "mplus", as_bayes: AsBayes = False):
    """Build data and priors of a model without fitting it; say what is wrong."""
    analysis = _input(name, data, priors, as_bayes)
    if analysis and analysis.spec is None:
        return _print_statistics(analysis)
    entry = _entry(name, analysis)
    design, resolved = _built(entry, entry.data())
    _say(entry.title, "bold")
    lines = entry.spec.equations(design)
    for k, line in enumerate(lines):
        screen.print(Padding(Text(_readable(line)), (k == 0 or len(lines) < 5, 0, 0, 2)))
    if analysis:
        screen.print(_parameter_table(mplus.parameters(analysis, design)))
    screen.print(_prior_table(resolved))
    _print_data(entry.spec, design)
    _print_notes(analysis)
    _say(f"Nothing is wrong. Fit it with: bayeshte run {name}", "green")


@command
def translate(
    name: Annotated[Path, typer.Argument(metavar="FILE", help="A Mplus input (.inp).")],
    priors: Priors = "mplus",
    as_bayes: AsBayes = False,
):
    """Print the Python that does what a Mplus input says; what is ignored or doubtful goes to stderr."""
    analysis = _input(str(name), None, priors, as_bayes)
    if analysis is None:
        raise SpecError(f"{name} is no Mplus input: its name must end with .inp.")
    for note in analysis.notes:
        err.print(note, style="dim", markup=False, soft_wrap=True)
    print(mplus.program(analysis), end="")


@command
def version():
    """Print the versions of bayeshte and of what it rests on."""
    for package in PACKAGES:
        _say(f"{package:<10}{installed(package)}")
    _say(f"{'python':<10}{platform.python_version()}")


def _input(name: str, data: Path | None, priors: str, as_bayes: bool) -> mplus.Analysis | None:
    """The Mplus input of this name, or nothing if it is none."""
    if Path(name).suffix.lower() != ".inp":
        if data or as_bayes or priors != "mplus":
            raise SpecError("--data, --priors and --as-bayes are for Mplus inputs (.inp): change the file itself.")
        return None
    if priors not in ("mplus", "default"):
        raise SpecError(f"--priors {priors}: write mplus or default.")
    return mplus.read(name, data=data, default_priors=priors == "default", as_bayes=as_bayes)


def _entry(name: str, analysis: mplus.Analysis | None) -> gallery.Entry:
    """A gallery entry, which a Mplus input can stand for."""
    if analysis is None:
        return gallery.read(name)
    return gallery.Entry(analysis.path.stem, analysis.path, analysis.title, analysis.spec, analysis.data, {})


def _print_notes(analysis: mplus.Analysis | None) -> None:
    """What was ignored in a Mplus input, what was decided, what looks like a mistake."""
    if analysis and (notes := [*analysis.notes, *analysis.data_notes]):
        _say("Notes on the input", "bold")
        for note in notes:
            screen.print(Padding(Text(note), (0, 0, 0, 2)))


def _print_statistics(analysis: mplus.Analysis) -> None:
    """TYPE = BASIC."""
    _say(analysis.title, "bold")
    for frame in mplus.statistics(analysis.data(), analysis.settings):
        screen.print(_frame(frame))
    _print_notes(analysis)


def _frame(frame: pd.DataFrame) -> Table:
    """Numbers to four digits."""
    shown = frame if "variable" in frame else frame.rename_axis("correlation").reset_index()
    table = Table(*(str(c) for c in shown.columns), box=box.SIMPLE_HEAD)
    for row in shown.itertuples(index=False):
        table.add_row(*(v if isinstance(v, str) else f"{v:.4g}" for v in row))
    return table


def _parameter_table(frame: pd.DataFrame) -> Table:
    """Every parameter of a Mplus input in Mplus's words: free or fixed, written or by default, with its prior."""
    shown = frame.loc[:, (frame != "").any()]
    table = Table(*(c.capitalize() for c in shown.columns), box=box.SIMPLE_HEAD)
    for row in shown.itertuples(index=False):
        table.add_row(*map(escape, row))
    return table


def _built(entry: gallery.Entry, data: pd.DataFrame) -> tuple[xr.Dataset, dict[str, Prior]]:
    """Design and priors; the names in EXPECTED are checked against the parameters."""
    design = entry.spec.design(data)
    priors = entry.spec.frozen_priors(design)
    known = _parameter_names(entry.spec, design, priors) if entry.expected else []
    unknown = [f"EXPECTED: {k!r} is not a parameter.{near(k, known)}" for k in entry.expected if k not in known]
    if unknown:
        raise SpecError("\n".join(unknown))
    return design, priors


def _say(text: str, style: str | None = None) -> None:
    """A line; wrapped on a terminal only."""
    screen.print(text, style=style, markup=False, soft_wrap=not screen.is_terminal)


def _make_room(folder: Path) -> None:
    """Remove what an earlier run wrote; refuse a folder that none made."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / FIT / "record.json").is_file():
        raise DataError(
            f"{folder} exists and is not the folder of an earlier run (it has no {FIT}/record.json). Nothing was changed: "
            "choose another place with --out, or move it away."
        )
    for name in (*OUTPUTS, *mplus.OUTPUTS, FIT):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _write(fit: Fit, folder: Path) -> int:
    """Tables, figures and the report of a fit; the number of figures."""
    mpl.use("Agg")
    material = gather(fit)
    write_csv(material.summary, folder / "summary.csv", fit)
    write_csv(material.effects, folder / "effects.csv", fit)
    write_csv(fit.diagnosis.table(), folder / "diagnostics.csv", fit)
    (folder / "figures").mkdir()
    for name, figure in material.figures.items():
        stem = re.sub(r"[^\w.+-]+", "_", name).strip("_")
        for suffix in ("png", "svg"):
            figure.savefig(folder / "figures" / f"{stem}.{suffix}", dpi=200, bbox_inches="tight")
    write(material, folder / "report.html")
    return len(material.figures)


def _print_fit(fit: Fit) -> None:
    _say(headline(fit))
    _say(fit.diagnosis.verdict, "green" if fit.diagnosis.ok else "bold red")


def _parameters(fit: Fit, expected: Mapping) -> Group:
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
    return _blocks(sheet, ("Mean", "MCSE", "p", "ESS bulk / tail", "R\u0302", "SD"))


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


def _parameter_names(spec: ModelSpec, design: xr.Dataset, priors: Mapping[str, Prior]) -> list[str]:
    """Names of the rows that the summary of a fit will have: those of one made-up draw."""
    density = spec.marginal(design, priors)
    values = density.parameters(np.zeros(density.n_dim))
    draws = {
        o.name: (
            ("chain", "draw", *(o.dims or [f"{o.name}_{k}" for k in range(len(o.shape))])),
            values[o.name][None, None],
        )
        for o in density.outputs
    }
    used = {d for o in density.outputs for d in o.dims}
    coords = {"chain": [0], "draw": [0]} | {d: design[d].to_numpy() for d in used if d in design.coords}
    posterior = spec.recover(xr.Dataset(draws, coords), design, np.random.default_rng(0))
    return list(gallery.names_of(spec.summary(posterior, "eti", LEVEL)))


def _prior_table(priors: Mapping[str, Prior]) -> Table:
    table = Table("Parameter", "Prior", box=box.SIMPLE_HEAD)
    for label, prior in priors.items():
        table.add_row(escape(label), escape(repr(prior)))
    return table


def _print_data(spec: ModelSpec, design: xr.Dataset) -> None:
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
            _say(f"\n {title}")
            screen.print(_blocks(typeset(frame, None, None), ("Smallest", "Largest", "Role")))


_SYMBOLS = {
    r"\alpha": "α", r"\beta": "β", r"\gamma": "γ", r"\zeta": "ζ", r"\eta": "η", r"\lambda": "λ", r"\nu": "ν", r"\psi": "ψ",
    r"\Psi": "Ψ", r"\sigma": "σ", r"\tau": "τ", r"\Phi": "Φ", r"\sim": "~", r"^\top": "ᵀ", r"\exp": "exp", r"\quad": "  ",
    r"\,": " ", r"\ ": " ", " &": " ", "^2": "²", "^{-1}": "⁻¹", "^W": "ᵂ", "^B": "ᴮ",
}  # fmt: skip


def _readable(line: str) -> str:
    """An equation for the terminal."""
    names: list[str] = []

    def keep(match: re.Match) -> str:  # what stands in \text{} is no mathematics
        names.append(latex.plain(match[1]))
        return chr(0xE000 + len(names) - 1)

    out = re.sub(r"\\text\{((?:[^{}\\]|\\[a-z]+\{\}|\\.)*)\}", keep, line)
    for mark, symbol in _SYMBOLS.items():
        out = out.replace(mark, symbol)
    out = re.sub(r"_\{([^{}]*)\}", r"_\1", out)
    return re.sub("[\ue000-\uf8ff]", lambda m: names[ord(m[0]) - 0xE000], out)


if __name__ == "__main__":
    sys.exit(app())
