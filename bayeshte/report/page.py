"""The page: sections in order, each a function from the material to the values of the template of the same name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
from markupsafe import Markup

from bayeshte.errors import DataError
from bayeshte.fit import Fit, headline
from bayeshte.report import checking, checklist, data, model, reproduce, results
from bayeshte.report.material import Material, gather
from bayeshte.tables import STYLE, html_table


@dataclass(frozen=True)
class Section:
    """A section: its anchor and template, its title, and what fills it (nothing: it is left out)."""

    name: str
    title: str
    values: Callable[[Material], dict | None]


SECTIONS = (
    Section("diagnosis", "Diagnosis", results.diagnosis_section),
    Section("model", "The model", model.model_section),
    Section("priors", "Priors", model.priors_section),
    Section("data", "Data", data.data_section),
    Section("classes", "Are these classes?", checking.classes_section),
    Section("effects", "Effects", results.effects_section),
    Section("parameters", "Parameters", results.parameters_section),
    Section("clusters", "Effects by cluster", results.clusters_section),
    Section("figures", "Figures", results.figures_section),
    Section("checks", "Checks of the model", checking.checks_section),
    Section("balance", "Balance and overlap", data.balance_section),
    Section("assumptions", "What a causal reading assumes", data.assumptions_section),
    Section("checklist", "Reporting checklists", checklist.checklist_section),
    Section("methods", "Methods paragraph", reproduce.methods_section),
    Section("reproduce", "How to reproduce and cite", reproduce.reproduce_section),
)


def report(
    fit: Fit,
    path: str | Path,
    meaningful: float | None = None,
    rope: tuple[float, float] | None = None,
) -> Path:
    """Write a report of a fit: one HTML file that needs nothing else, to read, print, or send to a reviewer.

    Diagnosis first, then model, priors, data, effects, parameters, clusters, figures, checks, assumptions, the items of
    BARG and WAMBS, a methods paragraph, and how to reproduce it. A fit that did not converge, or was stopped, says so at the
    top and in every section.

    Parameters
    ----------
    fit : Fit
    path : str or Path
        The file, ``"report.html"``; folders on the way are made, a file of that name is replaced.
    meaningful : float, optional
        The smallest effect that matters, as in `bh.effects`.
    rope : (float, float), optional
        Region of practical equivalence, as in `bh.effects`.

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If the file cannot be written.
    SpecError
        For a region of equivalence that is not one.
    """
    _check(Path(path))
    return write(gather(fit, meaningful, rope), path)


def write(m: Material, path: str | Path) -> Path:
    """Write the page of what `gather` computed; see `report`."""
    path = _check(Path(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(m), encoding="utf-8")
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror or error}.") from None
    return path


def _check(path: Path) -> Path:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file, for example {path / 'report.html'}.")
    return path


def render(m: Material) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayeshte.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
    )
    environment.globals["table"] = lambda frame, *words: Markup(html_table(frame, *words))
    found = [(s, s.values(m)) for s in SECTIONS]
    if "item" in m.fit.design.attrs:
        found = [(replace(s, title="Effects by item") if s.name == "clusters" else s, v) for s, v in found]
    parts = [
        (s, Markup(environment.get_template(f"{s.name}.html.j2").render(values)))
        for s, values in found
        if values is not None
    ]
    return environment.get_template("report.html.j2").render(
        title=m.about.title,
        subtitle=headline(m.fit),
        diagnosis=m.fit.diagnosis,
        doubts=checking.doubts(m),
        headline=results.headline_rows(m),
        sections=parts,
        style=Markup(STYLE),
    )
