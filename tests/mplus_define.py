"""DEFINE statements, run on one frame in both ways, for the tests of DEFINE."""

import numpy as np
import pandas as pd
import pytest

from bayeshte.errors import SpecError
from bayeshte.mplus import define
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Statement

NAN = np.nan
NAMES = ["x", "y", "z", "g", "x1", "x2", "x3"]
DATA = pd.DataFrame(
    {
        "x": [1.0, 2, NAN, -4, 0, 6],
        "y": [0.0, NAN, 3, 0.5, -1, 2],
        "z": [2.0, 2, 1, 0, 1, 3],
        "g": [7.0, 7, 7, 9, 9, 11],
        "x1": [1.0, NAN, 3, NAN, 5, 6],
        "x2": [2.0, 4, NAN, NAN, 1, 0],
        "x3": [3.0, 8, 9, NAN, 1, 2.5],
    }
)


def said(*texts, line=10):
    return [Statement("DEFINE", text, line + k) for k, text in enumerate(texts)]


def setting(**kwargs):
    return Settings(**{"names": NAMES, "use": ["x", "y"], "cluster": "g"} | kwargs)


def defined(*texts, frame=DATA, **kwargs):
    """The frame after these statements; the pandas code must give the same one."""
    found = define.apply(said(*texts), frame, setting(**kwargs))
    pd.testing.assert_frame_equal(executed(said(*texts), None, frame, setting(**kwargs)), found, check_exact=True)
    return found


def executed(statements, condition, frame, setting):
    """What the pandas code does to the frame."""
    scope = {"data": frame.copy()}
    with np.errstate(all="ignore"):
        exec("\n".join(define.as_python(statements, condition, setting)), scope)
    return scope["data"]


def check(column, *expected):
    np.testing.assert_allclose(column.to_numpy(), expected, rtol=1e-14)


def refused(*words, text, error=SpecError, **kwargs):
    with pytest.raises(error) as caught:
        define.apply(said(text, line=12), kwargs.pop("frame", DATA), setting(**kwargs))
    assert "line 12" in str(caught.value)
    for part in words:
        assert part in str(caught.value), str(caught.value)
