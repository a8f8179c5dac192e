"""Mplus inputs on the command line: run, check, translate."""

import pandas as pd
import pytest
from cases import ONE_PATH as TEXT
from test_cli import call

from bayeshte import mplus


def test_run_writes_what_a_mplus_user_expects(trial, tmp_path, fast):
    trial.write_text(TEXT + "OUTPUT: STDYX CINTERVAL(HPD);\nSAVEDATA: BPARAMETERS = d.dat; SAVE = FSCORES;")
    text = call("run", trial, "--out", tmp_path / "out", "--chains", 2, "--draws", 1500)
    folder = tmp_path / "out"
    names = {p.name for p in folder.iterdir()}
    assert {*mplus.OUTPUTS, "report.html", "summary.csv", "fit"} - {"fscores.csv"} <= names
    assert "fscores.csv" not in names
    assert "Notes on the input" in text
    assert "Converged" in text
    table = pd.read_csv(folder / "summary.csv", keep_default_na=False)
    assert list(table.columns[:4]) == ["level", "header", "parameter", "estimate"]
    assert list(zip(table["header"], table["parameter"], strict=True)) == [
        ("Y ON", "X"),
        ("Y ON", "M2"),
        ("Intercepts", "Y"),
        ("Residual Variances", "Y"),
        ("New/Additional Parameters", "S"),
    ]
    assert set(table["level"]) == {""}
    draws = pd.read_csv(folder / "bparameters.csv")
    assert len(draws) == 3000
    assert draws["Y ON X"].median() == pytest.approx(table["estimate"][0], abs=1e-12)
    printed = (folder / "model.txt").read_text()
    assert "One path" in printed
    assert "N(0, 4)" in printed
    assert "IG(2, 3)" in printed
    assert "nothing is saved" in printed
    again = call("run", trial, "--out", tmp_path / "out", "--draws", 200, code=3)  # the earlier results make room
    assert "not converge" in again.lower()
    assert "verdict" in pd.read_csv(folder / "standardized.csv")


def test_check_shows_defaults_and_priors(trial):
    text = call("check", trial)
    for words in ("Y ON", "IG(2, 3)", "N(0, infinity)", "default", "MODEL", "40 of 60 rows"):
        assert words in text, words
    text = call("check", trial, "--priors", "default")
    assert "N(0, infinity)" not in text
    assert "IG(2, 3)" in text


def test_translate_prints_python_only(trial):
    text = call("translate", trial)
    assert text.startswith('"""One path"""')
    assert "bh.VarianceInverseGamma(2.0, 3.0)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check", "none.inp"), "There is no file none.inp"),
        (("translate", "star_class_size"), "must end with .inp"),
        (("check", "star_class_size", "--as-bayes"), "are for Mplus inputs"),
        (("check", "school_activity.inp", "--priors", "flat"), "write mplus or default"),
        (("check", "school_activity.inp", "--data", "none.dat"), "none.dat"),
    ],
)
def test_requests_that_are_refused(words, message):
    assert message in call(*words, code=2)


def test_basic_prints_statistics(trial):
    trial.write_text(TEXT.split("MODEL:")[0].replace("ESTIMATOR = BAYES", "TYPE = BASIC"))
    text = call("run", trial)
    assert "kurtosis" in text
    assert "estimates nothing" in text


def test_an_input_of_the_gallery_is_found_by_name():
    assert "MVPA ON" in call("check", "school_activity.inp")
    assert "no file elsewhere/school_activity.inp" in call("check", "elsewhere/school_activity.inp", code=2)
