"""A table with a column an item, one row a person, as responses one a row."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from bayeshte.design import check_frame, first, labels_of
from bayeshte.errors import DataError, SpecError


def responses_from_wide(
    data: pd.DataFrame,
    items: str | Sequence[str],
    *,
    person: str | None = None,
    item: str = "item",
    response: str = "response",
) -> pd.DataFrame:
    """Responses, one a row, from a table with one row a person and one column an item.

    Parameters
    ----------
    data : DataFrame
        Never changed.
    items : str or sequence of str
        The columns with responses by name, or a pattern with ``*``: ``"word_*"``. Their names are the labels of the items.
    person : str, optional
        Column that names the person; by default the index of the data does, as a new column ``"person"``.
    item, response : str
        Names of the new columns.

    Returns
    -------
    DataFrame
        A row a person and item, persons in the order of the data, items in that of `items` or, of a pattern, of the columns:
        ``person``, all other columns repeated, `item` and `response`. A missing response stays a row, which `ItemResponse`
        counts and leaves out. What describes items is merged: ``responses.merge(words, on="item")``.

    Raises
    ------
    DataError, SpecError
        Columns that are not there or given twice, a pattern without columns, one item, a person in two rows or without a
        name, new columns whose name is taken.

    Examples
    --------
    >>> wide = pd.DataFrame({"child": ["a", "b"], "arm": [0, 1], "word_1": [1, 0], "word_2": [1, None]})
    >>> responses_from_wide(wide, "word_*", person="child")
      child  arm    item  response
    0     a    0  word_1       1.0
    1     a    0  word_2       1.0
    2     b    1  word_1       0.0
    3     b    1  word_2       NaN
    """
    names = _item_columns(data, items)
    check_frame(data, [*names, *([person] if person is not None else [])])
    if person in names:
        raise SpecError(f"{person!r} names the person and is one of the items.")
    if person is None:
        person = "person"
        if person in data:
            raise SpecError(
                "The data have a column 'person': say person='person' if it names the person, or rename it."
            )
        data = data.assign(person=data.index)
    _check_persons(data, person)
    others = [c for c in data.columns if c not in names]
    for new, role in ((item, "item"), (response, "response")):
        if new in others:
            raise SpecError(f"The data have a column {new!r} already: name the new one otherwise, {role}='{new}_'.")
    if item == response:
        raise SpecError(f"item and response are both {item!r}: name two columns.")
    long = data.melt(
        id_vars=[person, *(c for c in others if c != person)], value_vars=names, var_name=item, value_name=response
    )
    order = np.arange(len(long)).reshape(len(names), len(data)).T.ravel()
    return long.iloc[order].reset_index(drop=True)


def _item_columns(data: pd.DataFrame, items: str | Sequence[str]) -> list[str]:
    if not isinstance(data, pd.DataFrame):
        raise DataError(f"data must be a pandas DataFrame, got {type(data).__name__}.")
    if isinstance(items, str):
        names = [c for c in data.columns if isinstance(c, str) and fnmatchcase(c, re.sub(r"([\[\]?])", r"[\1]", items))]
        if not names:
            raise DataError(f"No column matches items={items!r}: write names in a list, or a pattern such as 'word_*'.")
    else:
        names = list(items)
    twice = [c for k, c in enumerate(names) if c in names[:k]]
    if twice:
        raise SpecError(f"{twice[0]!r} is given twice in items.")
    if len(names) < 2:
        raise SpecError(f"items={items!r} is {len(names)} column: at least two items are needed.")
    return names


def _check_persons(data: pd.DataFrame, person: str) -> None:
    """Refuse persons without a name and in two rows; labels are compared as they will be printed."""
    missing = data[person].isna().to_numpy()
    if missing.any():
        raise DataError(f"{missing.sum()} rows have no {person!r}, the first is row {first(data, missing)}.")
    again = pd.Series(labels_of(data[person]), index=data.index).duplicated().to_numpy()
    if again.any():
        raise DataError(
            f"{again.sum()} rows repeat a person of {person!r}, the first is row {first(data, again)} "
            f"({data[person][again].iloc[0]}): a wide table has one row a person. Leave one of each, or give the rows to "
            "ItemResponse as they are if they are responses."
        )
