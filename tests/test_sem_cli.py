"""Structural equation models at the command line."""

import re
from textwrap import dedent

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from sem_fits import factors_fit, mediation_fit, one_level_fit
from test_cli import call

import bayeshte as bh
from bayeshte import cli, gallery


@pytest.fixture(autouse=True)
def _nothing_left_open():
    yield
    assert not plt.get_fignums()


@pytest.fixture
def fit() -> bh.Fit:
    return mediation_fit()


@pytest.fixture
def factors() -> bh.Fit:
    return factors_fit()


@pytest.fixture
def single() -> bh.Fit:
    return one_level_fit()


FILE = '''
"""Mediation."""
import sys
sys.path.insert(0, {tests!r})
from test_sem import MODELS, frame as data
SPEC = MODELS[{name!r}]
EXPECTED = {expected!r}
'''


class TestCommandLine:
    @pytest.fixture
    def write(self, tmp_path):
        def make(name, expected):
            path = tmp_path / "mine.py"
            tests = str(cli.Path(__file__).parent)
            path.write_text(dedent(FILE.format(tests=tests, name=name, expected=expected)))
            return path

        return make

    @pytest.fixture
    def fast(self, monkeypatch):
        """Without figures and report, which have tests of their own."""
        monkeypatch.setattr(cli, "gather", lambda fit: _Gathered(fit))
        monkeypatch.setattr(cli, "write", lambda m, path: path.write_text(m.fit.diagnosis.verdict))

    def test_check(self, write):
        text = call("check", write("mediation", {}))
        for said in (
            "m1ᴮ_j = αᴮ_m1 + b1 treat_j + ζᴮ_m1,j",
            "path[within: y ~ m1] Normal(",
            "24 clusters of",
            "Missing values none",
            "y within and between modelled",
            "treat between covariate 24",
            "Nothing is wrong",
        ):
            assert said in text, said
        assert "\\" not in text

    def test_run_puts_references_beside_labels_and_rows(self, write, fast, tmp_path):
        expected = {
            "between: y ~ m1": (0.0, 100.0, "nowhere"),
            "b1": (99.0, 0.1, "here"),
            "total": (0.0, 100.0, "nowhere"),
        }
        text = call("run", write("mediation", expected), "--out", tmp_path / "out")
        assert re.search(r"Between clusters \(24 clusters of school\)", text)
        assert re.search(r"Paths y ~ m1 b3 \S+.*? 0 ✓ y ~ m2 b4", text)
        assert re.search(r"m1 ~ treat b1 [^✓]*✗ off by", text)
        assert re.search(r"total [^✗]*0 ✓", text)
        table = pd.read_csv(tmp_path / "out" / "summary.csv")
        assert list(table.columns[:4]) == ["level", "header", "label", "parameter"]

    def test_references_that_name_nothing_are_found_before_sampling(self, write):
        message = "'between: y ~ m' is not a parameter. Did you mean 'between: y ~ m2'"
        assert message.split(" Did")[0] in call("check", write("mediation", {"between: y ~ m": (1, 1, "x")}), code=2)
        assert "'y ~ m1' is not a parameter" in call("check", write("mediation", {"y ~ m1": (1, 1, "x")}), code=2)
        assert "Nothing is wrong" in call("check", write("one level", {"y ~ m1": (1, 1, "x"), "indirect": (1, 1, "x")}))

    def test_names_before_sampling_are_those_of_the_summary(self, fit, factors, single):
        for f in (fit, factors, single):
            assert cli._parameter_names(f.spec, f.design, f.priors) == list(gallery.names_of(bh.summary(f)))

    def test_compare(self, fit):
        table = bh.summary(fit)
        value = table.set_index("label").loc["b1", "estimate"]
        found = gallery.compare(table, {"b1": (value, 0, "a"), "between: m1 ~ treat": (value + 9, 1, "b")})
        assert found["agrees"].tolist() == [True, False]
        assert found.index.tolist() == [table.index[(table["label"] == "b1")].item()] * 2


class _Gathered:
    """What a run writes, without figures."""

    def __init__(self, fit):
        self.fit, self.summary, self.effects, self.figures = fit, bh.summary(fit), bh.effects(fit), {}
