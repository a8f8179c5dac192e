"""What tests of bad input share: a specification, data to spoil, and the check that they are refused in so many words."""

import numpy as np
import pandas as pd
import pytest
from cases import frame

import bayeshte as bh

BASE = dict(outcome="y", treatment="arm", reference="control", cluster="school", varying="high")
FEW = dict(draws=200, tune=200, seed=1, progress=False)


def design(data=None, **changes):
    return bh.RandomSlope(**BASE | changes).design(frame() if data is None else data)


def refused(error, *said, data=None, **changes):
    """The design of `data` is refused with exactly this type of error, and the message says all of `said`."""
    with pytest.raises(error) as caught:
        design(data, **changes)
    assert type(caught.value) is error
    for words in said:
        assert words in str(caught.value), str(caught.value)
    return str(caught.value)


def changed(column, rows, value):
    """The frame with `value` in some rows of a column; numeric columns become object columns only for text."""
    data = frame()
    if isinstance(value, str):
        data[column] = data[column].astype(object)
    data.loc[data.index[rows], column] = value
    return data


N = len(frame())
WHOLE = np.arange(N) % 5


def cast(values, dtype):
    return pd.Series(values, index=frame().index).astype(dtype)
