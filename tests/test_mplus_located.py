"""Errors of the model, which does not know of the input, end with the statements of the input that they are about."""

import numpy as np
import pandas as pd
import pytest
from mplus_inputs import HEAD, ONE, TWO, refused
from test_cli import call

ONE_LEVEL = HEAD + "USEV = y1-y3 x1;\n" + ONE + "MODEL:\n"
TWO_LEVELS = HEAD + "USEV = y1 y2 x1 z; CLUSTER = school; BETWEEN = z;\n" + TWO + "MODEL:\n"


@pytest.mark.parametrize(
    ("text", "message", "lines"),
    [
        (
            ONE_LEVEL + "y1 ON y2;\ny3 ON y1;\ny2 ON y1 x1;",
            "form a loop",
            ["line 7, MODEL: y1 ON y2", "line 9, MODEL: y2 ON y1 x1"],
        ),
        (ONE_LEVEL + "y3 ON x1;\nf BY y1* y2 y3;", "has no scale", ["line 8, MODEL: f BY y1* y2 y3"]),
        (
            ONE_LEVEL + "y1 ON y2 (a);\ny3 (a);",
            "one parameter",
            ["line 7, MODEL: y1 ON y2 (a)", "line 8, MODEL: y3 (a)"],
        ),
        (
            TWO_LEVELS + "%WITHIN%\ny1 ON x1;\n%BETWEEN%\ny1 ON z;\nf BY y2;",
            "one indicator",
            ["line 11, MODEL: f BY y2"],
        ),
    ],
)
def test_what_contradicts_itself(text, message, lines):
    """Those statements and no others, after the message."""
    shown = refused(text, message).splitlines()
    assert [line.strip() for line in shown[1:]] == lines


@pytest.fixture
def school(tmp_path):
    """A data file of 20 schools of 6: id, school, y, x, z, where z varies within schools."""
    rng = np.random.default_rng(4)
    code = np.repeat(np.arange(20), 6)
    frame = pd.DataFrame({"id": np.arange(120), "school": code, **{v: rng.normal(size=120) for v in "yxz"}})
    frame.to_csv(tmp_path / "school.dat", sep=" ", header=False, index=False)
    return tmp_path


def test_what_the_data_contradict(school):
    path = school / "school.inp"
    head = "DATA: FILE IS school.dat;\nVARIABLE: NAMES = id school y x z; USEVARIABLES = y x z;\n"
    path.write_text(
        f"{head}CLUSTER = school; BETWEEN = z; WITHIN = x;\n{TWO}MODEL: %WITHIN%\ny ON x;\n%BETWEEN%\ny ON z;"
    )
    for command in ("check", "run"):
        text = call(command, path, code=2)
        assert "varies within 20 of 20 clusters" in text
        assert text.rstrip().endswith("line 8, MODEL: y ON z")


def test_what_is_not_identified(school):
    """Two factors of one pair of indicators: what is between the brackets of a parameter's name is enough to find it."""
    path = school / "school.inp"
    head = "DATA: FILE IS school.dat;\nVARIABLE: NAMES = id school y x z; USEVARIABLES = y x;\n"
    path.write_text(f"{head}{ONE}MODEL:\nf BY y x;")
    text = call("check", path, code=2)
    assert "not identified" in text
    assert text.rstrip().endswith("line 5, MODEL: f BY y x")
