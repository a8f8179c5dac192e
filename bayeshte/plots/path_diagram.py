"""A structural equation model as a path diagram, a panel a level, in the manner of multilevel influence diagrams.

Between clusters above, within clusters below, and between two lines the observed variables that are split into the two.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayeshte.errors import SpecError
from bayeshte.families import SEM
from bayeshte.families.sem_structure import Structure
from bayeshte.fit import Fit, summary
from bayeshte.model_text import Row
from bayeshte.plots import style
from bayeshte.plots.path_drawing import LINE, NAME, Graph, Panel, Placed, broken, size, variable

CHARACTERS = (16, 13, 11)  # of a line of a name
GAPS, CROWDED = (0.3, 0.42, 0.56, 0.72, 0.9), 1.0  # inches between variables of a column; when texts have no place
MARGIN, BELOW = 0.12, 0.12  # inches at the sides, and below a panel
BAND, HEADING = 0.5, 0.32  # inches of observed variables, and of a panel's title


@style.paper
def plot_path(model: Fit | SEM) -> Figure:
    """The path diagram of a structural equation model, causes left of effects.

    Boxes are observed variables; ellipses are latent: factors, random slopes, and the two parts of a variable that is on
    both levels. A star marks the latent response of a categorical variable. A dot on a path says that its slope varies across
    clusters, an arrow onto a path that a variable changes it. Curved double arrows are covariances, of residuals where something
    explains the variables. The paths of a fit carry posterior medians and 95 % equal-tailed intervals, those of a specification
    their labels.

    Parameters
    ----------
    model : Fit or SEM

    Raises
    ------
    SpecError
        If the model is no structural equation model.
    """
    fit = model if isinstance(model, Fit) else None
    spec = fit.spec if fit else model
    if not isinstance(spec, SEM):
        raise SpecError(
            f"{type(spec).__name__} has no paths to draw: bh.plot_path is for structural equation models, bh.SEM. "
            "See bh.plot_effect, bh.plot_caterpillar."
        )
    levels = spec.table.levels[::-1]
    graphs = [graph(spec, level, _estimates(fit)) for level in levels]
    placed, page = _placed(graphs)
    band = _boxes(spec.structure.both, page)
    notes = style.wrap(_notes(graphs, spec, fit), page * 0.97)
    below = LINE * (2 + notes.count("\n"))
    height = (
        BELOW
        + below
        + sum(p.height + BELOW for p in placed)
        + HEADING * spec.structure.two_level * 2
        + BAND * len(band)
    )
    verdict = 0.0 if fit is None or fit.diagnosis.ok else 0.4
    fig, axes = style.canvas(page, height + verdict)
    ax = axes[0, 0]
    ax.set_axis_off()
    ax.set(xlim=(0, page), ylim=(0, height))
    top = height - BELOW
    for level, panel in zip(levels, placed, strict=True):
        if level:
            ax.text(MARGIN, top - 0.06, _title(spec, level, fit), va="top", color=style.GREY)
            top -= HEADING
        top -= panel.height
        panel.draw(ax, top)
        top -= BELOW
        if level == "between":
            top -= BAND * len(band)
            _draw_band(ax, band, page, top)
    ax.text(MARGIN, 0.0, notes, va="bottom", color=style.GREY)
    if fit is not None:
        style.say_verdict(fit, fig)
    return fig


def _placed(graphs: list[Graph]) -> tuple[list[Placed], float]:
    """The panels on a column or a page: names in shorter lines until they fit, variables further apart until texts do."""
    for characters in CHARACTERS:
        panels = [Panel(g, characters, GAPS[0]) for g in graphs]
        widest = max(p.widest for p in panels)
        if widest < style.PAGE - 2 * MARGIN:
            break
    page = style.COLUMN if widest < style.COLUMN - 2 * MARGIN else style.PAGE
    out = []
    for panel in panels:
        tried = []
        for gap in GAPS:
            tried.append(replace(panel, gap=gap).place(page))
            if tried[-1].cost < CROWDED:
                break
        out.append(min(tried, key=lambda p: p.cost))
    return out, page


def graph(spec: SEM, level: str, estimates: Mapping[tuple[str, str], pd.Series]) -> Graph:
    """A level of the model: its variables, paths and covariances with what is written on them."""
    table, structure = spec.table, spec.structure
    rows = [r for r in table.at(level) if r.fixed != 0]
    interactions = structure.interactions(level)
    products = [*structure.products(level), *interactions]
    paths = {(r.lhs, r.rhs): _text(r, estimates) for r in rows if r.op == "=~"}
    paths |= {(r.rhs, r.lhs): _text(r, estimates) for r in rows if r.op == "~" and r not in products}
    arcs = {(r.lhs, r.rhs): _text(r, estimates) for r in rows if r.op == "~~" and r.lhs != r.rhs}
    joints: dict[str, str] = {}
    for r in products:
        own, moderator = _moderated(structure, r, paths)
        joint = f"{own} to {r.lhs}"
        if own != moderator and (own, r.lhs) in paths:
            paths |= {(own, joint): "", (joint, r.lhs): paths.pop((own, r.lhs))}
            joints[joint] = own
        onto = joint in joints and own != moderator
        paths[(moderator, joint) if onto else (r.rhs, r.lhs)] = _text(r, estimates)
    drawn = {*(v for ends in (*paths, *arcs) for v in ends), *(r.lhs for r in rows if r.op == "~~")}
    names = [v for v in dict.fromkeys((*table.names(level), *(v for ends in paths for v in ends))) if v in drawn]
    unseen = {*structure.both, *table.factors(level), *table.slopes}
    latent = {v: bool({*v.split(":")} & unseen) for v in names if v not in joints}
    varying = frozenset((r.rhs, r.lhs) for r in rows if r.slope)
    return Graph(latent, paths, arcs, varying, joints, frozenset(spec.links))


def _moderated(structure: Structure, row: Row, paths: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    """Whose path a product changes, and what changes it: of two modelled variables that with a path is the first."""
    if row not in structure.interactions(row.level):
        (moderator,) = {*row.parts} & {*structure.moderators}
        (own,) = {*row.parts} - {moderator}
        return own, moderator
    first, second = row.parts
    return (
        (first, second)
        if (first, row.lhs) in paths or f"{first} to {row.lhs}" in {b for _, b in paths}
        else (second, first)
    )


def _text(row: Row, estimates: Mapping[tuple[str, str], pd.Series]) -> str:
    """What is written on a path: its fixed value, or its label and estimate.

    Of a slope that varies its name, and its mean unless something explains it.
    """
    if row.fixed is not None:
        return f"{row.fixed:g}"
    label, at = (
        (row.slope, ("between", f"{row.slope} ~1"))
        if row.slope
        else (row.label, (row.level, row.name.removeprefix(f"{row.level}: ")))
    )
    e = estimates.get(at)
    if e is None or (row.slope and e["header"] != "means"):
        return label
    decimals = max(0, 1 - int(np.floor(np.log10(e["posterior_sd"]))))  # two digits of the posterior SD
    middle, lower, upper = (f"{e[k]:,.{decimals}f}".replace("-", "−") for k in ("estimate", "lower", "upper"))
    return f"{label and f'{label} = '}{middle}\n[{lower}, {upper}]"


def _estimates(fit: Fit | None) -> dict[tuple[str, str], pd.Series]:
    """Rows of the summary by level and text."""
    table = pd.DataFrame() if fit is None else summary(fit)
    return {(row.get("level", ""), row["parameter"]): row for _, row in table.iterrows()}


def _title(spec: SEM, level: str, fit: Fit | None) -> str:
    if fit is None:
        return f"{level.capitalize()} clusters of {spec.cluster}"
    n = fit.design.sizes
    size = f"{n[spec.cluster]:,} clusters of {spec.cluster}" if level == "between" else f"{n['row']:,} rows"
    return f"{level.capitalize()} clusters ({size})"


def _notes(graphs: list[Graph], spec: SEM, fit: Fit | None) -> str:
    """What the signs mean, as far as there are any."""
    said = {
        "boxes: observed": True,
        "ellipses: latent": any(any(g.latent.values()) for g in graphs),
        "between the lines: observed variables with a part on each level": bool(spec.structure.both),
        "double arrows: covariances, of residuals where paths arrive": any(g.arcs for g in graphs),
        "star: latent response of a categorical variable": any({*g.latent} & g.responses for g in graphs),
        "dot: the slope varies across clusters": any(g.varying for g in graphs),
        "arrow onto a path: what changes it": any(g.joints for g in graphs),
        "posterior medians and 95 % intervals": fit is not None,
    }
    text = "; ".join(words for words, there in said.items() if there)
    return f"{text[0].upper()}{text[1:]}."


def _boxes(names: list[str], page: float) -> list[list[str]]:
    """Names of observed variables in rows that fit the page, broken into lines."""
    rows: list[list[str]] = []
    room = 0.0
    for name in names:
        text = broken(name, CHARACTERS[0])
        width = size(text, NAME)[0] + 0.4
        if not rows or room < width:
            rows.append([])
            room = page - 2 * MARGIN
        rows[-1].append(text)
        room -= width
    return rows


def _draw_band(ax: Axes, rows: list[list[str]], page: float, bottom: float) -> None:
    """Observed variables between two lines."""
    top = bottom + BAND * len(rows)
    ax.hlines([bottom, top], MARGIN, page - MARGIN, color=style.GREY, lw=0.6)
    for k, texts in enumerate(rows):
        sizes = [size(t, NAME) for t in texts]
        space = (page - 2 * MARGIN - sum(w + 0.2 for w, _ in sizes)) / (len(texts) + 1)
        left = MARGIN + space
        for text, (w, h) in zip(texts, sizes, strict=True):
            at = np.array([left + w / 2 + 0.1, top - BAND * (k + 0.5)])
            variable(ax, at, (w + 0.2, h + 0.12), text, latent=False)
            left += w + 0.2 + space
