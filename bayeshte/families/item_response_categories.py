"""Responses in ordered categories: from a column of the data to the categories of each item."""

import numpy as np
import pandas as pd

from bayeshte.categories import MOST, positions
from bayeshte.errors import DataError


def categories(
    frame: pd.DataFrame, spec, item: np.ndarray, items: list[str]
) -> tuple[np.ndarray, list[list[str]], list[str]]:
    """The category of each response, counted from 0 among those that occur on its item, and the labels of these by item.

    Categories that nobody chose on an item are closed up: the next ones move down. The third element says which.
    """
    position, labels = positions(frame, spec.response, "response")
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
