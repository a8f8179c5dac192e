"""Ordered categories: a column of whole numbers or an ordered categorical, read as places in an order."""

import numpy as np
import pandas as pd

from bayeshte import design as columns
from bayeshte.errors import DataError

MOST = 20  # categories of an outcome or an item


def ordered(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, list[str], list[str]]:
    """The category of every row, from 0 among those that occur; their labels, and those between them that do not occur."""
    position, labels = positions(frame, column, "outcome")
    used, code = np.unique(position, return_inverse=True)
    if len(used) == 1:
        raise DataError(f"The outcome {column!r} is constant ({labels[used[0]]} in all {len(code)} rows).")
    if len(used) > MOST:
        raise DataError(
            f"The outcome {column!r} has {len(used)} categories, {MOST} are the most. Is it a score or a count? "
            f"Use another family, or group it, for example pd.qcut(data[{column!r}], 5, labels=False)."
        )
    unused = [labels[k] for k in range(used[0], used[-1]) if k not in used]
    return code.astype(float), [labels[k] for k in used], unused


def positions(frame: pd.DataFrame, column: str, role: str) -> tuple[np.ndarray, list[str]]:
    """The place of each value in the order of the categories, and the labels in that order."""
    values = frame[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        if not values.cat.ordered:
            levels = list(values.cat.categories)
            raise DataError(
                f"The {role} {column!r} is a categorical without an order: write data[{column!r}].cat.as_ordered() if "
                f"{levels} is from low to high, else .cat.set_categories([...], ordered=True)."
            )
        return values.cat.codes.to_numpy().astype(np.int64), [str(v) for v in values.cat.categories]
    codes, levels = columns.factorize(values)
    other = [v for v in levels if not isinstance(v, bool | int | float) or float(v) != int(v)]
    if other:
        n = int(np.isin(codes, [levels.index(v) for v in other]).sum())
        text = [v for v in other if isinstance(v, str)]
        advice = (
            f"Text has no order: data[{column!r}].astype(pd.CategoricalDtype([...], ordered=True)) with the categories from low "
            "to high."
            if text
            else "Categories are whole numbers: round or group the values."
        )
        raise DataError(
            f"The {role} {column!r} must be whole numbers or an ordered categorical; {n} of {len(codes)} rows are not: "
            f"{', '.join(map(repr, other[:4]))}{', ...' if len(other) > 4 else ''}, the first in row "
            f"{columns.first(frame, np.isin(codes, [levels.index(v) for v in other]))}. {advice}"
        )
    order = np.argsort(np.array(levels, float), kind="stable")
    place = np.empty(len(levels), np.int64)
    place[order] = np.arange(len(levels))
    return place[codes], [str(int(levels[k])) for k in order]


def labelled(place: np.ndarray, labels: list[str], given: pd.Series) -> np.ndarray:
    """Labels at places, as values of the column that they come from: whole numbers, or text where that is a categorical."""
    names = np.array(labels)
    return (names if isinstance(given.dtype, pd.CategoricalDtype) else names.astype(int))[place]
