"""The command line: fit a gallery file, list the gallery, check a file, rebuild a report.

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
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import numpy as np
import pandas as pd
import typer
import xarray as xr
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bayeshte import gallery, tables
from bayeshte.errors import ConvergenceWarning, DataError, SpecError, near
from bayeshte.fit import PACKAGES, Fit, headline, load, summary
from bayeshte.fit import fit as fit_model
from bayeshte.prior import Prior
from bayeshte.report import gather, write
from bayeshte.report import report as write_report
from bayeshte.summary import elements

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Bayesian treatment-effect heterogeneity: for whom, where, and on what does it work?",
)
screen, err = Console(highlight=False), Console(stderr=True, highlight=False)

FIT = "fit"  # the saved fit in the folder of a run
#: what a run writes, beside the fit
OUTPUTS = ("report.html", "summary.csv", "effects.csv", "diagnostics.csv", "figures")
Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A name of the gallery, or a file of the same form.")]


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
    draws: Annotated[int, typer.Option(min=4, help="Draws kept of each of four chains.")] = 1000,
    tune: Annotated[int, typer.Option(min=50, help="Warm-up draws of each chain.")] = 500,
    cores: Annotated[int | None, typer.Option(min=1, help="Chains at the same time; all cores by default.")] = None,
):
    """Fit a model; write report, tables, figures and the fit to DIR/<model>/."""
    entry = gallery.read(name)
    folder = out / entry.name
    data = entry.data()
    _built(entry, data)  # whatever is wrong is refused before the results of an earlier run are removed
    _make_room(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the verdict is printed
        fit = fit_model(entry.spec, data, seed=seed, draws=draws, tune=tune, cores=cores, path=folder / FIT)
    with err.status("Writing tables, figures and the report"):
        count = _write(fit, folder)
    _say(entry.title, "bold")
    _print_fit(fit)
    screen.print(_parameters(fit, entry.expected))
    for source in dict.fromkeys(source for _, _, source in entry.expected.values()):
        _say(f"Reference: {source}. ✓ within the file's tolerance, give or take three Monte Carlo errors.")
    _say(f"Written to {folder}:", "bold")
    _say(f"  {', '.join(OUTPUTS[:-1])}")
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
    table.add_column("Outcome")
    table.add_column("Title")
    for entry in map(gallery.read, gallery.names()):
        table.add_row(entry.name, escape(entry.spec.outcome), escape(entry.title))
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
def check(name: Name):
    """Build data and priors of a model without fitting it; say what is wrong."""
    entry = gallery.read(name)
    design, priors = _built(entry, entry.data())
    _say(entry.title, "bold")
    for line in entry.spec.equations(design):
        screen.print(Padding(Text(_readable(line)), (1, 0, 0, 2)))
    screen.print(_prior_table(priors))
    screen.print(_counts(design))
    _say(f"Nothing is wrong. Fit it with: bayeshte run {name}", "green")


@command
def version():
    """Print the versions of bayeshte and of what it rests on."""
    for package in PACKAGES:
        _say(f"{package:<10}{installed(package)}")
    _say(f"{'python':<10}{platform.python_version()}")


def _built(entry: gallery.Entry, data: pd.DataFrame) -> tuple[xr.Dataset, dict[str, Prior]]:
    """Design and priors; the names in EXPECTED are checked against the parameters."""
    design = entry.spec.design(data)
    priors = entry.spec.frozen_priors(design)
    labels = _labels(entry.spec.joint(design, priors)) if entry.expected else []
    unknown = [f"EXPECTED: {k!r} is not a parameter.{near(k, labels)}" for k in entry.expected if k not in labels]
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
    for name in (*OUTPUTS, FIT):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _write(fit: Fit, folder: Path) -> int:
    """Tables, figures and the report of a fit; the number of figures."""
    mpl.use("Agg")
    material = gather(fit)
    _write_csv(material.summary, folder / "summary.csv", fit)
    _write_csv(material.effects, folder / "effects.csv", fit)
    _write_csv(fit.diagnosis.table(), folder / "diagnostics.csv", fit)
    (folder / "figures").mkdir()
    for name, figure in material.figures.items():
        stem = re.sub(r"[^\w.+-]+", "_", name).strip("_")
        for suffix in ("png", "svg"):
            figure.savefig(folder / "figures" / f"{stem}.{suffix}", dpi=200, bbox_inches="tight")
    write(material, folder / "report.html")
    return len(material.figures)


def _write_csv(table: pd.DataFrame, path: Path, fit: Fit) -> None:
    """A table as CSV; if the fit did not converge, with a column that says so in every row."""
    if not fit.diagnosis.ok:
        table = table.assign(verdict=fit.diagnosis.verdict)
    table.to_csv(path, index=False)


def _print_fit(fit: Fit) -> None:
    _say(headline(fit))
    _say(fit.diagnosis.verdict, "green" if fit.diagnosis.ok else "bold red")


def _parameters(fit: Fit, expected: Mapping) -> Table:
    """The summary, with reference numbers beside it; what a narrow terminal cannot show is in summary.csv."""
    frame = summary(fit)
    text = tables.apa(frame)
    if expected:
        rows = gallery.compare(frame, expected).itertuples()
        found = {
            r.parameter: f"{r.reference:g} " + ("✓" if r.agrees else f"✗ off by {r.difference:+.3g}") for r in rows
        }
        text = text.assign(Reference=[found.get(label, "") for label in text.index])
    width = {c: max(map(len, [c, *text[c]])) + 3 for c in text}
    room = screen.width - max(map(len, ["Parameter", *text.index])) - 3
    for column in [c for c in ("Mean", "MCSE", "p", "ESS bulk / tail") if c in width]:
        if sum(width.values()) > room:
            del width[column]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Parameter", overflow="fold")
    for column in width:
        table.add_column(column, justify="left" if column == "Reference" else "right", overflow="fold")
    for label, row in text[list(width)].iterrows():
        table.add_row(*map(escape, [label, *row]), style="red" if "✗" in row.get("Reference", "") else None)
    return table


def _labels(model) -> list[str]:
    """Labels of a graph's parameters as `bh.summary` prints them, random effects left out."""
    found = []
    for variable in [*model.free_RVs, *model.deterministics]:
        if variable.name == "u" or variable.name.startswith("_"):
            continue
        dims = model.named_vars_to_dims.get(variable.name, ())
        coords = {d: list(model.coords[d]) for d in dims}
        shape = tuple(len(v) for v in coords.values())
        values = xr.DataArray(np.zeros((1, 1, *shape)), coords, ("chain", "draw", *dims), name=variable.name)
        found += elements(values)[0]
    return found


def _prior_table(priors: Mapping[str, Prior]) -> Table:
    table = Table("Parameter", "Prior", box=box.SIMPLE_HEAD)
    for label, prior in priors.items():
        table.add_row(escape(label), escape(repr(prior)))
    return table


def _counts(design: xr.Dataset) -> Table:
    """Rows, missing values, clusters, arms."""
    a = design.attrs
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 1))
    dropped = a["rows_given"] - design.sizes["row"]
    missing = f" ({dropped:,} incomplete ones dropped; missing: {', '.join(a['missing'])})" if dropped else ""
    table.add_row("Rows", escape(f"{design.sizes['row']:,}{missing}"))
    y = design["y"].to_numpy()
    table.add_row(escape(a["outcome"]), f"mean {y.mean():.4g}, SD {y.std(ddof=1):.4g}, {y.min():g} to {y.max():g}")
    arm = design["arm_code"].to_numpy()
    if a["treatment"]:
        arms = [str(v) for v in design[f"{a['treatment']}_arm"].to_numpy()]
        sizes = np.bincount(arm, minlength=len(arms))
        text = ", ".join(f"{name} {n:,}" for name, n in zip(arms, sizes, strict=True))
        table.add_row(escape(a["treatment"]), escape(f"{text}; reference {a['reference']}"))
    if a["cluster"]:
        cluster = design["cluster_code"].to_numpy()
        sizes = np.bincount(cluster)
        text = f"{len(sizes):,} clusters of {sizes.min():,} to {sizes.max():,} rows, median {np.median(sizes):g}"
        if a["treatment"]:
            seen = pd.crosstab(cluster, arm).to_numpy() > 0
            lacking = [f"{arms[k]} {(~(seen[:, 0] & seen[:, k])).sum()}" for k in range(1, len(arms))]
            text += f"; without this arm or {arms[0]}: {', '.join(lacking)}"
        table.add_row(escape(a["cluster"]), escape(text))
    return table


_SYMBOLS = {
    r"\gamma": "γ", r"\eta": "η", r"\sigma": "σ", r"\tau": "τ", r"\nu": "ν", r"\Phi": "Φ", r"\sim": "~", r"\top": "ᵀ",
    r"\exp": "exp", r"\quad": "  ", r"\,": " ", r"\ ": " ", " &": " ", "^2": "²", "^{-1}": "⁻¹",
}  # fmt: skip


def _readable(latex: str) -> str:
    """An equation for the terminal."""
    text = re.sub(r"\\text\{((?:[^{}\\]|\\.)*)\}", r"\1", latex)
    text = text.replace("^\\top", "ᵀ")
    for mark, symbol in _SYMBOLS.items():
        text = text.replace(mark, symbol)
    text = re.sub(r"_\{([^{}]*)\}", r"_\1", text)
    return re.sub(r"\\([&%$#_{}])", r"\1", text)


if __name__ == "__main__":
    sys.exit(app())
