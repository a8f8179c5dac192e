"""Texts of Mplus inputs to specifications, for the tests of the reader."""

from pathlib import Path

import pytest

from bayeshte.errors import SpecError
from bayeshte.model_text import parameter_table
from bayeshte.mplus.read import parse

HEAD = """TITLE: A trial: of something
DATA: FILE IS trial.dat;
VARIABLE: NAMES ARE id school y1-y6 x1 x2 z;
"""
ONE = "ANALYSIS: ESTIMATOR = BAYES;\n"
TWO = "ANALYSIS: TYPE = TWOLEVEL; ESTIMATOR = BAYES;\n"
RANDOM = "ANALYSIS: TYPE = TWOLEVEL RANDOM; ESTIMATOR = BAYES;\n"


def build(text):
    """Specification, notes, settings and words of an input."""
    found = parse(text, Path("trial.inp"))
    return found.spec, found.notes, found.settings, found.words


def rows(table):
    """Rows by key, without who wrote them."""
    return {r.key: (r.label, r.fixed, r.start, r.slope) for r in table.rows}


def same(text, categorical=(), **expected):
    """The specification of an input, which has the rows of a model text."""
    spec, *_ = build(text)
    assert [*spec.categorical] == [*categorical]
    assert rows(spec.table) == rows(parameter_table(**expected, categorical=dict.fromkeys(categorical, 1.0)))
    return spec


def refused(text, *words):
    """The message of the error, which holds the words."""
    with pytest.raises(SpecError) as caught:
        build(text)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return str(caught.value)
