"""Where the variables of a path diagram stand: causes left of effects, few crossings, no path through a variable.

The layered method of Sugiyama, Tagawa & Toda (1981): a column is the longest way from a cause; a path over several columns
gets a place of its own in each; an order in every column with few crossings; heights near those of the neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

CROSSING, COVARIANCE = 10.0, 3.0  # costs, beside the vertical way of a path
SWEEPS = 20


@dataclass(frozen=True)
class Layout:
    """Columns of variables from left to right, each from top to bottom, heights, and the way of every path.

    Attributes
    ----------
    columns : list of list
        Names of variables; a stop of a long path is (tail, head, column).
    y : mapping
        Height of everything in the columns, the lowest edge at 0.
    ways : mapping
        Of every path (tail, head) what it goes through, both ends included.
    height : float
    """

    columns: list[list]
    y: Mapping
    ways: Mapping
    height: float


def layout(
    heights: Mapping[str, float], paths: Sequence[tuple[str, str]], arcs: Sequence[tuple[str, str]], gap: float
) -> Layout:
    """Columns and heights of variables.

    Parameters
    ----------
    heights : mapping
        Of the variables, in the order in which they are to stand where nothing else matters.
    paths, arcs : sequence of (str, str)
        Directed paths, without cycles; covariances.
    gap : float
        Between variables of a column; wider where a covariance joins neighbours.
    """
    column = _columns(list(heights), paths)
    ways = {(a, b): [a, *((a, b, k) for k in range(column[a] + 1, column[b])), b] for a, b in paths}
    columns: list[list] = [[] for _ in range(1 + max(column.values()))]
    for name in heights:
        columns[column[name]].append(name)
    for way in ways.values():
        for k, stop in enumerate(way[1:-1], start=column[way[0]] + 1):
            columns[k].append(stop)
    steps = [step for way in ways.values() for step in pairwise(way)]
    columns = _ordered(columns, steps, arcs)
    y = _heights(columns, steps, arcs, heights, gap)
    top = max(y[v] + heights.get(v, 0.0) / 2 for c in columns for v in c)
    return Layout(columns, y, ways, top)


def _columns(names: list[str], paths: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The longest way to a variable; what nothing explains stands just before its first effect."""
    causes = {v: [a for a, b in paths if b == v] for v in names}
    out: dict[str, int] = {}
    while len(out) < len(names):
        out |= {
            v: 1 + max((out[a] for a in causes[v]), default=-1)
            for v in names
            if v not in out and {*causes[v]} <= {*out}
        }
    for v in names:
        effects = [out[b] for a, b in paths if a == v]
        if effects and not causes[v]:
            out[v] = min(effects) - 1
    return out


def _ordered(columns: list[list], steps: Sequence[tuple], arcs: Sequence[tuple[str, str]]) -> list[list]:
    """The order in every column: exchanges of two as long as they help."""
    cost = _cost(columns, steps, arcs)
    for _ in range(SWEEPS):
        before = cost
        for column in columns:
            for i in range(len(column)):
                for j in range(i + 1, len(column)):
                    column[i], column[j] = column[j], column[i]
                    new = _cost(columns, steps, arcs)
                    if new < cost - 1e-9:
                        cost = new
                    else:
                        column[i], column[j] = column[j], column[i]
        if cost == before:
            break
    return columns


def _cost(columns: list[list], steps: Sequence[tuple], arcs: Sequence[tuple[str, str]]) -> float:
    place = {v: k - (len(c) - 1) / 2 for c in columns for k, v in enumerate(c)}
    at = {v: k for k, c in enumerate(columns) for v in c}
    ends = np.array([(at[a], place[a], place[b]) for a, b in steps]).reshape(-1, 3)
    same = ends[:, None, 0] == ends[None, :, 0]
    crossed = same & ((ends[:, None, 1] - ends[None, :, 1]) * (ends[:, None, 2] - ends[None, :, 2]) < 0)
    apart = sum(abs(place[a] - place[b]) - 1 for a, b in arcs if at[a] == at[b])
    return CROSSING * crossed.sum() / 2 + COVARIANCE * apart + float(np.abs(ends[:, 1] - ends[:, 2]).sum())


def _heights(columns: list[list], steps, arcs, heights: Mapping[str, float], gap: float) -> dict:
    """Heights near the mean of the neighbours', everything in a column as far apart as it has to be."""
    joined = {frozenset(a) for a in arcs}

    def apart(a, b) -> float:
        room = gap if a in heights and b in heights else 0.8 * gap
        return (heights.get(a, 0.0) + heights.get(b, 0.0)) / 2 + (
            max(room, 0.55) if frozenset((a, b)) in joined else room
        )

    offsets = [np.cumsum([0.0, *(apart(a, b) for a, b in pairwise(c))]) for c in columns]
    down = {
        v: float(o) for c, os in zip(columns, offsets, strict=True) for v, o in zip(c, os - os[-1] / 2, strict=True)
    }
    near: dict = {v: [] for v in down}
    for a, b in steps:
        near[a].append(b)
        near[b].append(a)
    for _ in range(SWEEPS):
        for c, o in zip(columns, offsets, strict=True):
            wished = [np.mean([down[w] for w in near[v]]) if near[v] else down[v] for v in c]
            down |= dict(zip(c, isotonic_regression(np.array(wished) - o).x + o, strict=True))
    lowest = max(d + heights.get(v, 0.0) / 2 for v, d in down.items())
    return {v: float(lowest - d) for v, d in down.items()}
