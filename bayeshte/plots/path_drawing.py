"""One panel of a path diagram: sizes of what is drawn, where it stands, arrows, and texts where they cover nothing else."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, FancyArrowPatch, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from bayeshte.plots import style
from bayeshte.plots.path_layout import Layout, layout

NAME = 8.0  # points; everything else has style.SMALL
LINE = 0.135  # inches a line of text takes
NARROW, WIDE = 0.36, 1.3  # inches between columns
JOINT = 0.02  # inches: where an arrow meets a path
POINTS = 61  # along a curve
#: where a text may stand: shares of its curve, inches above it
ALONG = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82)
ASIDE = (0.0, 0.2, -0.2, 0.28, -0.28, 0.36, -0.36, 0.48, -0.48)
SPARED = 0.62  # share of a curve that its text may hide


@dataclass(frozen=True)
class Graph:
    """What a panel shows.

    Attributes
    ----------
    latent : mapping
        Variables by name, and whether they are latent.
    paths, arcs : mapping
        (tail, head) of paths and the two ends of covariances, and what is written on them.
    varying : set
        Paths whose slope varies.
    joints : mapping
        Points on a path that another one leads to, and the variable whose path it is: no arrow ends there.
    responses : set
        Categorical variables, whose latent responses are drawn.
    """

    latent: Mapping[str, bool]
    paths: Mapping[tuple[str, str], str]
    arcs: Mapping[tuple[str, str], str]
    varying: frozenset[tuple[str, str]] = frozenset()
    joints: Mapping[str, str] = field(default_factory=dict)
    responses: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Panel:
    """A graph in inches: names in lines of so many characters, variables of a column so far apart."""

    graph: Graph
    characters: int
    gap: float

    @cached_property
    def lines(self) -> dict[str, str]:
        return {v: broken(v + "*" * (v in self.graph.responses), self.characters) for v in self.graph.latent}

    @cached_property
    def sizes(self) -> dict[str, tuple[float, float]]:
        """Width and height of the variables, and of joints."""
        boxes = {v: size(text, NAME) for v, text in self.lines.items()}
        grow = {v: (1.25, 1.35) if latent else (1.0, 1.0) for v, latent in self.graph.latent.items()}
        out = {v: (max(0.5, w * grow[v][0] + 0.16), h * grow[v][1] + 0.16) for v, (w, h) in boxes.items()}
        return out | dict.fromkeys(self.graph.joints, (JOINT, JOINT))

    @cached_property
    def layout(self) -> Layout:
        heights = {v: h for v, (_, h) in self.sizes.items()}
        return layout(heights, list(self.graph.paths), list(self.graph.arcs), self.gap)

    @cached_property
    def column(self) -> dict:
        return {v: k for k, c in enumerate(self.layout.columns) for v in c}

    @cached_property
    def widths(self) -> list[float]:
        """Of the columns."""
        return [max([self.sizes[v][0] for v in c if v in self.sizes], default=0.3) for c in self.layout.columns]

    @cached_property
    def gaps(self) -> list[float]:
        """Between columns, as wide as what is written there."""
        out = [NARROW + 0.14] * (len(self.widths) - 1)
        for (a, b), text in self.graph.paths.items():
            if self.column[b] == self.column[a] + 1:
                out[self.column[a]] = max(out[self.column[a]], min(WIDE, size(text, style.SMALL)[0] + 0.5))
        return out

    @cached_property
    def sides(self) -> dict[tuple[str, str], int]:
        """Covariances that go around others of their column: -1 on its left, 1 on its right."""
        out = {}
        for a, b in self.graph.arcs:
            k = self.column[a]
            if self.column[b] == k and self._between(a, b):
                arriving, leaving = (sum(self.column[path[e]] == k for path in self.graph.paths) for e in (1, 0))
                out[a, b] = 1 if leaving < arriving else -1
        return out

    def bulge(self, arc: tuple[str, str]) -> float:
        """How far a covariance goes around the column."""
        return 0.2 + 0.17 * self._between(*arc)

    def _between(self, a: str, b: str) -> int:
        """How many variables of their column stand between two."""
        c = [v for v in self.layout.columns[self.column[a]] if v in self.sizes]
        return abs(c.index(a) - c.index(b)) - 1

    def margin(self, side: int) -> float:
        """What covariances need beside the first or the last column."""
        k = 0 if side < 0 else len(self.widths) - 1
        mine = [arc for arc, s in self.sides.items() if s == side and self.column[arc[0]] == k]
        return max([self.bulge(a) + size(self.graph.arcs[a], style.SMALL)[0] / 2 for a in mine], default=0.0)

    @property
    def fixed(self) -> float:
        """Inches that columns and covariances take."""
        return sum(self.widths) + self.margin(-1) + self.margin(1)

    @property
    def narrowest(self) -> float:
        return self.fixed + NARROW * len(self.gaps)

    @property
    def widest(self) -> float:
        return self.fixed + sum(self.gaps)

    def place(self, page: float) -> "Placed":
        """Everything in inches, centred on a page of that width."""
        room, gaps = page - self.widest, self.gaps
        if room < 0.2:  # squeezed: texts then stand beside their arrows
            share = max(0.0, (page - 0.2 - self.narrowest) / (self.widest - self.narrowest))
            gaps = [NARROW + share * (g - NARROW) for g in gaps]
        left = (page - self.fixed - sum(gaps)) / 2 + self.margin(-1)
        lefts = left + np.concatenate([[0.0], np.cumsum(np.array(self.widths[:-1]) + gaps)])
        centre = {
            v: np.array([lefts[k] + self.widths[k] / 2, self.layout.y[v]])
            for k, c in enumerate(self.layout.columns)
            for v in c
        }
        ports = self._ports()
        curves = {path: self._way(path, centre, ports) for path in self.graph.paths}
        curves |= {arc: self._arc(arc, centre) for arc in self.graph.arcs}
        dots = {path: points(curves[path])[POINTS // 2] for path in self.graph.varying}
        boxes = [_box(centre[v], self.sizes[v]) for v in self.graph.latent]
        taken = [*boxes, *(_box(d, (0.12, 0.12)) for d in dots.values())]
        texts, cost = _beside(curves, {**self.graph.paths, **self.graph.arcs}, taken, page)
        ends = [*boxes, *(b for _, b in texts.values()), *(np.tile(points(c), 2) for c in curves.values())]
        ends = np.concatenate([np.reshape(e, (-1, 4)) for e in ends])
        return Placed(self, centre, curves, dots, texts, cost, float(ends[:, 1].min()), float(ends[:, 3].max()))

    def _ports(self) -> dict[tuple[tuple[str, str], int], float]:
        """How far from a variable's middle its paths begin (0) and end (1): spread so that they do not run together."""
        out = {}
        for v, (_, h) in self.sizes.items():
            for end in (0, 1):
                mine = [p for p in self.graph.paths if p[end] == v]
                mine.sort(key=lambda p, end=end: self.layout.y[self.layout.ways[p][1 if end == 0 else -2]])
                reach = min(0.3 * h, 0.07 * (len(mine) - 1))
                out |= {(p, end): o for p, o in zip(mine, np.linspace(-reach, reach, len(mine)), strict=True)}
        return out

    def _way(self, path: tuple[str, str], centre: Mapping, ports: Mapping) -> Path:
        """A path from the right of a variable to the left of another: straight, or level through the columns between."""
        tail, *stops, head = self.layout.ways[path]
        half = [self.widths[self.column[s]] / 2 for s in stops]
        through = [centre[s] + np.array([side * h, 0.0]) for s, h in zip(stops, half, strict=True) for side in (-1, 1)]
        first, last = self._side(tail, 1, centre, ports[path, 0]), self._side(head, -1, centre, ports[path, 1])
        vertices, codes = [first], [Path.MOVETO]
        for p, q in pairwise([first, *through, last]):
            step = (q - p) / 3 if not stops else np.array([(q - p)[0] / 2, 0.0])
            vertices += [p + step, q - step, q]
            codes += [Path.CURVE4] * 3
        return Path(vertices, codes)

    def _side(self, name: str, side: int, centre: Mapping, offset: float) -> np.ndarray:
        """A point on the left (-1) or right (1) of a variable."""
        w, h = self.sizes[name]
        inwards = np.sqrt(1 - (2 * offset / h) ** 2) if self.graph.latent.get(name) else 1.0
        return centre[name] + np.array([side * inwards * w / 2, offset])

    def _arc(self, arc: tuple[str, str], centre: Mapping) -> Path:
        """A covariance: between neighbours, around the others of a column, or over the columns between."""
        a, b = sorted(arc, key=lambda v: -centre[v][1])
        (wa, ha), (wb, hb) = self.sizes[a], self.sizes[b]
        if arc in self.sides:
            side = self.sides[arc]
            p, q = centre[a] + [side * wa / 2, 0], centre[b] + [side * wb / 2, 0]
            out = np.array([side * self.bulge(arc) * 4 / 3, 0])
            reach = max(side * p[0], side * q[0]) * side
            return _curve(p, np.array([reach, p[1]]) + out, np.array([reach, q[1]]) + out, q)
        if self.column[a] == self.column[b]:
            p, q = centre[a] - [0, ha / 2], centre[b] + [0, hb / 2]
            out = np.array([0.14, 0])
            return _curve(p, p + (q - p) / 3 - out, q - (q - p) / 3 - out, q)
        p, q = centre[a] + [0, ha / 2], centre[b] + [0, hb / 2]
        up, along = np.array([0, 0.5]), (q - p) * [0.2, 0]
        return _curve(p, p + up + along, q + up - along, q)


@dataclass(frozen=True)
class Placed:
    """A panel with places: middles of variables, curves, dots, texts with their boxes and the cost of the worst one's place;
    how far down and up it reaches."""

    panel: Panel
    centre: Mapping
    curves: Mapping[tuple[str, str], Path]
    dots: Mapping[tuple[str, str], np.ndarray]
    texts: Mapping[tuple[str, str], tuple[str, np.ndarray]]
    cost: float
    bottom: float
    top: float

    @property
    def height(self) -> float:
        return self.top - self.bottom

    def draw(self, ax: Axes, bottom: float) -> None:
        """Draw it, its lower edge there."""
        graph, up = self.panel.graph, np.array([0.0, bottom - self.bottom])
        for ends, curve in self.curves.items():
            plain = graph.joints.get(ends[1]) == ends[0]  # the first part of a path that another one leads to
            _arrow(
                ax, Path(curve.vertices + up, curve.codes), "<|-|>" if ends in graph.arcs else "-" if plain else "-|>"
            )
        for dot in self.dots.values():
            ax.plot(*(dot + up), "o", ms=5, color=style.INK, mew=0, zorder=4)
        for v, latent in graph.latent.items():
            variable(ax, self.centre[v] + up, self.panel.sizes[v], self.panel.lines[v], latent)
        for text, own in self.texts.values():
            at = (own[:2] + own[2:]) / 2 + up
            ax.text(
                *at, text, ha="center", va="center", zorder=4, linespacing=1.1,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip


def broken(name: str, characters: int) -> str:
    """A name in at most four lines of so many characters, broken behind _ and . where it can be; the middle may be left out."""
    pieces = re.findall(r".+?(?:[_.:]+|$)", name)
    width = max(characters, min(16, max(map(len, pieces))))
    lines = [""]
    for piece in (part for whole in pieces for part in textwrap.wrap(whole, width)):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines) if len(lines) <= 4 else broken(style.shorten(name, int(0.8 * len(name))), characters)


def size(text: str, points: float) -> tuple[float, float]:
    """Width and height of lines of text in inches."""
    lines = text.split("\n")
    width = max((TextPath((0, 0), line, size=points).get_extents().x1 for line in lines if line), default=0.0)
    return width / 72, LINE * len(lines)


def variable(ax: Axes, centre: np.ndarray, sizes: tuple[float, float], text: str, latent: bool) -> None:
    """A variable: an ellipse if it is latent, else a box."""
    look = {"facecolor": "white", "edgecolor": style.INK, "lw": 0.9, "zorder": 3}
    w, h = sizes
    ax.add_patch(Ellipse(centre, w, h, **look) if latent else Rectangle(centre - np.array([w, h]) / 2, w, h, **look))
    ax.text(*centre, text, ha="center", va="center_baseline", fontsize=NAME, zorder=5, linespacing=1.1)


def points(curve: Path) -> np.ndarray:
    """Evenly spaced points along a curve of cubic pieces."""
    t, v = np.linspace(0, 1, POINTS)[:, None], curve.vertices
    pieces = [
        (1 - t) ** 3 * v[k] + 3 * t * (1 - t) ** 2 * v[k + 1] + 3 * t**2 * (1 - t) * v[k + 2] + t**3 * v[k + 3]
        for k in range(0, len(v) - 1, 3)
    ]
    along = np.concatenate(pieces)
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(along, axis=0).T))])
    even = np.linspace(0, length[-1], POINTS)
    return np.stack([np.interp(even, length, along[:, k]) for k in (0, 1)], axis=1)


def _arrow(ax: Axes, curve: Path, kind: str) -> None:
    look = {"color": style.INK, "lw": 0.9, "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0, "zorder": 2}
    ax.add_patch(FancyArrowPatch(path=curve, arrowstyle=kind, joinstyle="miter", **look))


def _curve(*vertices: np.ndarray) -> Path:
    return Path(vertices, [Path.MOVETO, *[Path.CURVE4] * 3])


def _box(centre: np.ndarray, sizes) -> np.ndarray:
    """Left, bottom, right, top."""
    half = np.array(sizes) / 2
    return np.concatenate([centre - half, centre + half])


def _beside(curves: Mapping, texts: Mapping, taken: list[np.ndarray], page: float) -> tuple[dict, float]:
    """Texts and their boxes where they cover least, first one after the other, then again in view of all; the worst cost."""
    sizes = {e: np.array(size(text, style.SMALL)) + [0.06, 0.02] for e, text in texts.items() if text}
    along = {e: points(c) for e, c in curves.items()}
    weighted = {e: np.column_stack([c, np.full(POINTS, np.hypot(*(c[1] - c[0])))]) for e, c in along.items()}
    at: dict = {}
    worst = dict.fromkeys(sizes, 0.0)
    for _ in range(3):
        for ends in sizes:
            others = np.array([*taken, *(b for o, b in at.items() if o != ends)]).reshape(-1, 4)
            lines = np.concatenate([np.empty((0, 3)), *(c for o, c in weighted.items() if o != ends)])
            places = [
                (abs(f - 0.5) + 2 * abs(aside), _box(along[ends][round(f * (POINTS - 1))] + [0.0, aside], sizes[ends]))
                for f in ALONG
                for aside in ASIDE
            ]
            costs = [c + _covered(b, others, lines) + _hidden(b, along[ends], page) for c, b in places]
            at[ends] = places[int(np.argmin(costs))][1]
            worst[ends] = min(costs)
    return {ends: (texts[ends], b) for ends, b in at.items()}, max(worst.values(), default=0.0)


def _covered(own: np.ndarray, others: np.ndarray, lines: np.ndarray) -> float:
    """What a text would cover of others: boxes by their share of it, lines (point, [x, y, inches]) by their length."""
    shared = np.clip(np.minimum(own[2:], others[:, 2:]) - np.maximum(own[:2], others[:, :2]), 0, None).prod(1).sum()
    return 20 * shared / (own[2:] - own[:2]).prod() + 2 * lines[_inside(lines[:, :2], own), 2].sum()


def _hidden(own: np.ndarray, line: np.ndarray, page: float) -> float:
    """How much of its own line a text would hide, beyond what the line can spare, and of its ends; whether it leaves the page."""
    hidden = _inside(line, own)
    tips = hidden[: POINTS // 12].mean() + hidden[-POINTS // 6 :].mean()
    return 6 * max(0.0, hidden.mean() - SPARED) + 2 * tips + 100 * max(0.0, -own[0], own[2] - page)


def _inside(line: np.ndarray, own: np.ndarray) -> np.ndarray:
    return ((line > own[:2]) & (line < own[2:])).all(1)
