"""Responses in ordered categories: from a column of the data to the categories of each item."""

import numpy as np
import pandas as pd

from bayeshte import design as columns
from bayeshte.errors import DataError

MOST = 20  # categories of an item


def categories(
    frame: pd.DataFrame, spec, item: np.ndarray, items: list[str]
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """The category of each response, counted from 0 among those that occur on its item, and the labels of these by item.

    Categories that nobody chose on an item are closed up: the next ones move down. The third element says which.
    """
    position, labels = _positions(frame, spec.response)
    out, names = np.empty(len(position)), []
    for i in range(len(items)):
        own = item == i
        used, code = np.unique(position[own], return_inverse=True)
        out[own] = code
        names.append([labels[k] for k in used])
    constant = [
        f"{i!r} ({n[0]} in all {(item == k).sum()})"
        for k, (i, n) in enumerate(zip(items, names, strict=True))
        if len(n) == 1
    ]
    if constant:
        raise DataError(
            f"{len(constant)} of {len(items)} items of {spec.item!r} have one category only: {', '.join(constant[:4])}"
            f"{', ...' if len(constant) > 4 else ''}. Such an item has no thresholds: leave it out."
        )
    n = [len(v) for v in names]
    if max(n) > MOST:
        i = int(np.argmax(n))
        raise DataError(
            f"Item {items[i]!r} has {n[i]} categories in {spec.response!r}, {MOST} are the most. Is it a score or a measurement? "
            f"Group it, for example pd.qcut(data[{spec.response!r}], 5, labels=False)."
        )
    closed = []
    for name, own in zip(items, names, strict=True):
        unused = [v for v in labels[labels.index(own[0]) : labels.index(own[-1])] if v not in own]
        closed += [f"{name}: {', '.join(unused)}"] if unused else []
    return out, names, closed


def _positions(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, list[str]]:
    """The place of each response in the order of the categories, and the labels in that order."""
    values = frame[column]
    if isinstance(values.dtype, pd.CategoricalDtype):
        if not values.cat.ordered:
            levels = list(values.cat.categories)
            raise DataError(
                f"The response {column!r} is a categorical without an order: write data[{column!r}].cat.as_ordered() if "
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
            f"The response {column!r} must be whole numbers or an ordered categorical; {n} of {len(codes)} rows are not: "
            f"{', '.join(map(repr, other[:4]))}{', ...' if len(other) > 4 else ''}, the first in row "
            f"{columns.first(frame, np.isin(codes, [levels.index(v) for v in other]))}. {advice}"
        )
    order = np.argsort(np.array(levels, float), kind="stable")
    place = np.empty(len(levels), np.int64)
    place[order] = np.arange(len(levels))
    return place[codes], [str(int(levels[k])) for k in order]
