"""Categorical variables of a structural equation model: their columns, their thresholds as sampled and as reported.

A variable is in category c where its latent response is between tau_c and tau_c+1. The first threshold moves the response, the
others are sampled as distances from the one before: so they are in order.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.categories import MOST, positions
from bayeshte.errors import DataError, SpecError
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.structural_categorical import LINKS, UNITS, Response
from bayeshte.model_text import Row
from bayeshte.prior import Power, Prior


def check_links(links: Mapping[str, str]) -> None:
    """Refuse links that do not exist."""
    for name, link in links.items():
        if link not in LINKS:
            raise SpecError(f"categorical={{{name!r}: {link!r}}}: the links are {', '.join(map(repr, LINKS))}.")


def check_logit(structure: Structure) -> None:
    """Refuse a logistic residual that anything else depends on: only given all its causes is it by itself."""
    for name, link in structure.links.items():
        for row in structure.table.at(structure.table.response_level(name)) if link == "logit" else ():
            predicts = row.op == "~" and name in row.parts
            covaries = row.op == "~~" and row.lhs != row.rhs and name in (row.lhs, row.rhs) and row.fixed != 0
            if predicts or covaries:
                raise SpecError(
                    f"{row.name}: {name}, with the logit link, may neither predict anything nor covary with other residuals. Use "
                    f"the probit link, or write {name} ~~ 0*... where a covariance was added by rule."
                )


def residual_variances(links: Mapping[str, str]) -> dict[str, float]:
    """What the links say of the residuals of latent responses: standard normal, or standard logistic."""
    return {name: UNITS[link] ** 2 for name, link in links.items()}


def codes(data: pd.DataFrame, column: str) -> tuple[np.ndarray, list[str]]:
    """The category of every row, from 0 among those that occur, NaN where missing; their labels in order."""
    known = data[column].notna().to_numpy()
    if not known.any():
        raise DataError(f"Column {column!r} has no values.")
    place, labels = positions(data[known], column, "categorical variable")
    used, code = np.unique(place, return_inverse=True)
    if len(used) == 1:
        raise DataError(f"{column!r} has one category, {labels[used[0]]!r}, in all {len(code)} rows: leave it out.")
    if len(used) > MOST:
        raise DataError(
            f"{column!r} has {len(used)} categories, {MOST} are the most: take it as continuous (leave it out of categorical=), "
            f"or group it, for example pd.qcut(data[{column!r}], 5, labels=False)."
        )
    out = np.full(len(data), np.nan)
    out[known] = code
    return out, [labels[k] for k in used]


def categories_of(structure: Structure, design: xr.Dataset, name: str) -> np.ndarray:
    """The category of every row, or cluster, NaN where missing."""
    array, names = ("Y", structure.within) if name in structure.within else ("V", structure.own)
    return design[array].to_numpy()[:, names.index(name)]


def check_counts(
    structure: Structure, design: xr.Dataset, labels: Mapping[str, list[str]], frame: pd.DataFrame
) -> None:
    """Categories that lost all their rows when rows without covariates were dropped."""
    for name in labels:
        values = categories_of(structure, design, name)
        known = values[~np.isnan(values)].astype(int)
        empty = np.flatnonzero(np.bincount(known, minlength=len(labels[name])) == 0)
        if len(empty):
            raise DataError(
                f"{name!r} is {labels[name][empty[0]]!r} only in rows that lack a covariate, which the model leaves out "
                f"({len(frame):,} rows are left): join that category with the next one."
            )


def check_thresholds(structure: Structure, labels: Mapping[str, list[str]]) -> None:
    """Thresholds that the model text names and the data do not have."""
    for name, rows in structure.thresholds.items():
        count = len(labels[name])
        for row in rows:
            if int(row.rhs[1:]) >= count:
                raise DataError(
                    f"{row.name}: {name!r} has {count} categories ({', '.join(labels[name])}), so the last of its thresholds is "
                    f"t{count - 1}: leave this one out."
                )


def category_labels(structure: Structure, design: xr.Dataset) -> dict[str, list[str]]:
    """Labels of the categories of every categorical variable, from low to high."""
    found = [str(c) for c in design.attrs.get("categories", ())]  # y=never, y=often, ...
    return {v: [c.removeprefix(f"{v}=") for c in found if c.startswith(f"{v}=")] for v in structure.thresholds}


def given_labels(structure: Structure, design: xr.Dataset, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The categorical ones of `columns` (draw, row) with labels for numbers, "" where missing."""
    out = {}
    for v, labels in category_labels(structure, design).items():
        code = np.where(np.isnan(columns[v]), len(labels), columns[v]).astype(int)
        out[v] = np.array([*labels, ""])[code]
    return out


def responses(structure: Structure, priors: Mapping[str, Prior] | None = None) -> tuple[Response, ...]:
    """The categorical variables as the likelihood takes them; without `priors` those of thresholds are left out."""
    out = []
    for name, rows in structure.thresholds.items():
        first, *further = rows
        out.append(
            Response(
                column=structure.observed.index(name),
                link=structure.links[name],
                categories=1 + len(rows),
                first=structure.place(first) if first.fixed is None else 0,
                value=1.0 if first.fixed is None else first.fixed,
                widths=tuple(structure.place(r) for r in further),
                priors=tuple(priors[f"threshold[{structure.label(r)}]"] for r in further) if priors else (),
            )
        )
    return tuple(out)


def sampled_priors(structure: Structure, priors: Mapping[str, Prior]) -> list[Prior]:
    """Priors of the scalars as the kernel has them: distances between thresholds have theirs through the thresholds."""
    further = {structure.place(r) for rows in structure.thresholds.values() for r in rows[1:]}
    return [Power(0) if k in further else priors[p.key] for k, p in enumerate(structure.parameters, start=1)]


def check_priors(structure: Structure, priors: Mapping[str, Prior]) -> None:
    """Thresholds of a variable with more than two categories share one normal prior, whose order statistics they are."""
    for name, rows in structure.thresholds.items():
        found = [priors[f"threshold[{structure.label(r)}]"] for r in rows if r.fixed is None]
        bad = [p for p in found if p.name != "Normal" or p != found[0]]
        if len(rows) > 1 and bad:
            raise SpecError(
                f"priors: the thresholds of {name!r} need one prior, a Normal, which they have in common; got "
                f"{', '.join(map(repr, dict.fromkeys(found)))}. Give it as 'threshold[{name}]'."
            )


def as_thresholds(structure: Structure, x: np.ndarray) -> None:
    """From distances to thresholds, in place; x (..., scalars + correlations)."""
    for rows in structure.thresholds.values():
        before = _first(structure, rows[0], x)
        for row in rows[1:]:
            x[..., structure.place(row) - 1] += before
            before = x[..., structure.place(row) - 1].copy()


def as_widths(structure: Structure, x: np.ndarray) -> None:
    """From thresholds to distances, in place."""
    for rows in structure.thresholds.values():
        before = _first(structure, rows[0], x)
        for row in rows[1:]:
            here = x[..., structure.place(row) - 1].copy()
            x[..., structure.place(row) - 1] -= before
            before = here


def _first(structure: Structure, row: Row, x: np.ndarray) -> np.ndarray | float:
    return row.fixed if row.fixed is not None else x[..., structure.place(row) - 1].copy()
