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
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import numpy as np
import pandas as pd
import typer
import xarray as xr
from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bayeshte import gallery, mplus
from bayeshte.errors import ConvergenceWarning, DataError, SpecError, near
from bayeshte.fit import PACKAGES, Fit, load
from bayeshte.fit import fit as fit_model
from bayeshte.prior import Prior
from bayeshte.report import gather, write
from bayeshte.report import report as write_report
from bayeshte.spec import ModelSpec
from bayeshte.summary import LEVEL
from bayeshte.tables.files import write_csv
from bayeshte.terminal import (
    err,
    print_data,
    print_fit,
    print_notes,
    print_parameters,
    print_priors,
    print_statistics,
    print_summary,
    readable,
    say,
    screen,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Bayesian treatment-effect heterogeneity: for whom, where, and on what does it work?",
)

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
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Results go to DIR; by default to out/<model>/.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="On one machine, the same seed gives the same draws.")] = 1,
    draws: Annotated[int, typer.Option(min=4, help="Draws kept of each chain.")] = 1000,
    tune: Annotated[int, typer.Option(min=50, help="Warm-up draws of each chain.")] = 500,
    chains: Annotated[int, typer.Option(min=2, help="Chains.")] = 4,
    cores: Annotated[int | None, typer.Option(min=1, help="Chains at the same time; all cores by default.")] = None,
    data: Data = None,
    priors: Priors = "mplus",
    as_bayes: AsBayes = False,
):
    """Fit a model; write report, tables, figures and the fit to a folder."""
    analysis = _input(name, data, priors, as_bayes)
    if analysis and analysis.spec is None:
        return print_statistics(analysis)
    entry = _entry(name, analysis)
    folder = out or Path("out") / entry.name
    frame = entry.data()
    with analysis.located() if analysis else nullcontext():
        _built(entry, frame)  # whatever is wrong is refused before the results of an earlier run are removed
    _make_room(folder)
    print_notes(analysis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the verdict is printed
        fit = fit_model(
            entry.spec, frame, seed=seed, draws=draws, tune=tune, chains=chains, cores=cores, path=folder / FIT
        )
    with err.status("Writing tables, figures and the report"):
        count = _write(fit, folder)
        written = mplus.write(fit, analysis, folder) if analysis else ()
    say(entry.title, "bold")
    print_fit(fit)
    print_summary(fit, entry.expected)
    for source in dict.fromkeys(source for _, _, source in entry.expected.values()):
        say(f"Reference: {source}. ✓ within the file's tolerance, give or take three Monte Carlo errors.")
    say(f"Written to {folder}:", "bold")
    say(f"  {', '.join(dict.fromkeys([*OUTPUTS[:-1], *written]))}")
    say(f"  {OUTPUTS[-1]}/: {count} figures, PNG and SVG")
    say(f"  {FIT}/: the saved fit, for bayeshte.load({str(folder / FIT)!r})")
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
    say("Fit one with: bayeshte run NAME")


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
    print_fit(fit)
    say(f"Written: {target}", "bold")
    return 0 if fit.diagnosis.ok else 3


@command
def check(name: Name, data: Data = None, priors: Priors = "mplus", as_bayes: AsBayes = False):
    """Build data and priors of a model without fitting it; say what is wrong."""
    analysis = _input(name, data, priors, as_bayes)
    if analysis and analysis.spec is None:
        return print_statistics(analysis)
    entry = _entry(name, analysis)
    frame = entry.data()
    with analysis.located() if analysis else nullcontext():
        design, resolved = _built(entry, frame)
    say(entry.title, "bold")
    lines = entry.spec.equations(design)
    for k, line in enumerate(lines):
        screen.print(Padding(Text(readable(line)), (k == 0 or len(lines) < 5, 0, 0, 2)))
    if analysis:
        print_parameters(mplus.parameters(analysis, design))
    else:
        print_priors(resolved)
    print_data(entry.spec, design)
    print_notes(analysis)
    say(f"Nothing is wrong. Fit it with: bayeshte run {name}", "green")


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
        say(f"{package:<10}{installed(package)}")
    say(f"{'python':<10}{platform.python_version()}")


def _input(name: str, data: Path | None, priors: str, as_bayes: bool) -> mplus.Analysis | None:
    """The Mplus input of this name, or nothing if it is none."""
    if Path(name).suffix.lower() != ".inp":
        if data or as_bayes or priors != "mplus":
            raise SpecError("--data, --priors and --as-bayes are for Mplus inputs (.inp): change the file itself.")
        return None
    if priors not in ("mplus", "default"):
        raise SpecError(f"--priors {priors}: write mplus or default.")
    path = Path(name)
    if not path.is_file() and name == path.name and (gallery.folder() / name).is_file():  # those of the gallery by name
        path = gallery.folder() / name
    return mplus.read(path, data=data, default_priors=priors == "default", as_bayes=as_bayes)


def _entry(name: str, analysis: mplus.Analysis | None) -> gallery.Entry:
    """A gallery entry, which a Mplus input can stand for."""
    if analysis is None:
        return gallery.read(name)
    return gallery.Entry(analysis.path.stem, analysis.path, analysis.title, analysis.spec, analysis.data, {})


def _built(entry: gallery.Entry, data: pd.DataFrame) -> tuple[xr.Dataset, dict[str, Prior]]:
    """Design and priors; the names in EXPECTED are checked against the parameters."""
    design = entry.spec.design(data)
    priors = entry.spec.frozen_priors(design)
    known = _parameter_names(entry.spec, design, priors) if entry.expected else []
    unknown = [f"EXPECTED: {k!r} is not a parameter.{near(k, known)}" for k in entry.expected if k not in known]
    if unknown:
        raise SpecError("\n".join(unknown))
    return design, priors


def _make_room(folder: Path) -> None:
    """Remove what an earlier run wrote; refuse to replace what none made."""
    there = [folder / name for name in (*OUTPUTS, *mplus.OUTPUTS, FIT) if (folder / name).exists()]
    if there and not (folder / FIT / "record.json").is_file():
        raise DataError(
            f"{there[0]} exists, and {folder} is not the folder of an earlier run (it has no {FIT}/record.json). Nothing was "
            "changed: choose another place with --out, or move it away."
        )
    for path in there:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


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


if __name__ == "__main__":
    sys.exit(app())
