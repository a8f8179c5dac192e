"""Model text: an example, the grammar, what is said twice, random slopes."""

import pickle

import numpy as np
import pytest
from model_texts import BETWEEN, WITHIN, names, one, refused, row

from bayeshte.model_text import Row, parameter_table

# --- the example --------------------------------------------------------------------------------------------------------


def test_mediation_in_a_cluster_randomised_trial():
    table = parameter_table(within=WITHIN, between=BETWEEN, derived={"total": "b1*b3 + b2*b4"})
    w, b = "within", "between"
    assert table.rows == (
        Row(w, "mvpa", "~", "advant", "w1"),
        Row(w, "mvpa", "~", "peers", "w2"),
        Row(w, "advant", "~~", "peers"),
        Row(w, "mvpa", "~~", "mvpa", given=False),
        Row(w, "advant", "~~", "advant", given=False),
        Row(w, "peers", "~~", "peers", given=False),
        Row(b, "mvpa", "~", "advant", "b3"),
        Row(b, "mvpa", "~", "peers", "b4"),
        Row(b, "advant", "~", "treat", "b1"),
        Row(b, "peers", "~", "treat", "b2"),
        Row(b, "advant", "~~", "peers"),
        Row(b, "mvpa", "~~", "mvpa", given=False),
        Row(b, "advant", "~~", "advant", given=False),
        Row(b, "peers", "~~", "peers", given=False),
        Row(b, "mvpa", "~1", "", given=False),
        Row(b, "advant", "~1", "", given=False),
        Row(b, "peers", "~1", "", given=False),
    )
    assert table.levels == (w, b)
    assert table.observed(w) == ("mvpa", "advant", "peers")
    assert table.observed(b) == ("mvpa", "advant", "peers", "treat")
    assert table.both_levels == ("mvpa", "advant", "peers")
    assert (table.endogenous(w), table.exogenous(w)) == (("mvpa",), ("advant", "peers"))
    assert (table.endogenous(b), table.exogenous(b)) == (("mvpa", "advant", "peers"), ("treat",))
    assert (table.conditioned(w), table.conditioned(b)) == ((), ("treat",))
    assert table.factors(w) == table.factors(b) == table.slopes == ()
    assert list(table.labels) == ["w1", "w2", "b3", "b4", "b1", "b2"]
    assert table.labels["b3"] == Row(b, "mvpa", "~", "advant", "b3")
    ((name, total),) = table.derived
    assert (name, total.text, total.names) == ("total", "b1*b3 + b2*b4", ("b1", "b3", "b2", "b4"))
    draws = {label: np.arange(3.0) + k for k, label in enumerate(total.names)}
    np.testing.assert_array_equal(total(draws), draws["b1"] * draws["b3"] + draws["b2"] * draws["b4"])
    assert pickle.loads(pickle.dumps(table)) == table


def test_names_of_rows():
    assert Row("between", "advant", "~", "treat").name == "between: advant ~ treat"
    assert Row("", "f", "=~", "y1").name == "f =~ y1"
    assert Row("", "mvpa", "~~", "mvpa").name == "mvpa ~~ mvpa"
    assert Row("", "mvpa", "~1", "").name == "mvpa ~1"


def test_frame_and_what_is_shown():
    table = one("f =~ y1 + start(0.5)*y2 + l*y3\n f ~ x\n g := l^2 # <b>")
    frame = table.frame()
    assert list(frame.columns) == ["level", "lhs", "op", "rhs", "label", "fixed", "start", "slope", "given"]
    assert len(frame) == len(table.rows)
    assert frame["fixed"][0] == 1
    assert frame["fixed"].isna().sum() == len(frame) - 1
    assert frame["start"][1] == 0.5
    assert set(frame["level"]) == {""}
    assert frame["given"].tolist() == [r.given for r in table.rows]
    text = repr(table)
    assert text.startswith("ParameterTable: 11 rows, 10 free parameters")
    assert "level" not in text
    assert "nan" not in text
    assert text.endswith("g := l^2")
    assert "by rule" in table._repr_html_()
    assert "<code>g := l^2</code>" in table._repr_html_()


def test_random_slopes_are_not_counted_as_free_parameters_and_equal_ones_once():
    table = parameter_table(within="s | y ~ x; y ~ b*z", between="y ~ b*w")
    free = [r for r in table.rows if r.fixed is None and not r.slope]
    assert repr(table).startswith(f"ParameterTable: {len(table.rows)} rows, {len(free) - 1} free")


# --- the grammar --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x + z; m ~ x",
        "y ~ x + z\nm ~ x",
        "y~x+z;m~x;",
        "\n\n y ~ x +\n  z ; ; m ~\n\n x\n",
        "y ~ x # + w\n  + z\nm ~ x",
        "y ~ x + ! the first\n\n # more\n z\nm ~ x",
        "y ~ x\r\n  + z\r\nm ~ x\r\n",
        "y ~ x\r  + z\rm ~ x",
        "y ~ x\ny ~ z\n m ~ x",
        "`y` ~ `x` + z; m ~ `x`",
        "y\u00a0~ x + z; m ~ x",
        "y ~ x + x + z; m ~ x",
    ],
)
def test_the_same_model_in_other_layouts(text):
    assert [(r.lhs, r.rhs) for r in one(text).rows if r.op == "~"] == [("y", "x"), ("y", "z"), ("m", "x")]


def test_lists_on_both_sides():
    assert names(one("y1 + y2 ~ x + z"), given=True) == ["y1 ~ x", "y1 ~ z", "y2 ~ x", "y2 ~ z"]
    table = one("f + g =~ 1*a + b + c; f ~~ 0*g")
    assert names(table, given=True)[:6] == ["f =~ a", "f =~ b", "f =~ c", "g =~ a", "g =~ b", "g =~ c"]
    assert names(one("a + b ~~ a + b"), given=True) == ["a ~~ a", "a ~~ b", "b ~~ b"]
    assert [r.label for r in one("y1 + y2 ~ b*x").rows if r.given] == ["b", "b"]


def test_modifiers():
    table = one(
        """
        y ~ 0.5*x1 + -1*x2 + 1e-3*x3 + .25*x4 + b*x5 + start(0.5)*x6 + start(-1/2)*x7 + b8*x8
        y ~ start(0.3)*x8
        y ~ NA*x9 + 2.*1
        y ~~ v.1*y
        """
    )
    said = {r.rhs: (r.label, r.fixed, r.start) for r in table.rows if r.op == "~"}
    assert said == {
        "x1": ("", 0.5, None),
        "x2": ("", -1, None),
        "x3": ("", 0.001, None),
        "x4": ("", 0.25, None),
        "x5": ("b", None, None),
        "x6": ("", None, 0.5),
        "x7": ("", None, -0.5),
        "x8": ("b8", None, 0.3),
        "x9": ("", None, None),
    }
    assert row(table, "y ~1").fixed == 2
    assert row(table, "y ~~ y").label == "v.1"
    assert all(type(v) in (str, float, bool, type(None)) for r in table.rows for v in vars(r).values())


def test_intercepts_are_written_alone_and_among_predictors():
    assert row(one("y ~ 1"), "y ~1").given
    table = one("y ~ m0*1 + x")
    assert row(table, "y ~1") == Row("", "y", "~1", "", "m0")
    assert "y ~ x" in names(table)


def test_products():
    table = one("y ~ x + z + x:z")
    assert table.observed("") == ("y", "x", "z")
    assert row(table, "y ~ x:z").parts == ("x", "z")
    assert names(one("y ~ x:z; y ~ b*z:x"), given=True) == ["y ~ x:z"]
    assert row(one("f =~ a + b; y ~ f:a"), "y ~ f:a").rhs == "f:a"


def test_names():
    table = one("Größe ~ x.1 + `a b#;` + π_2 + `1st` + y\ny ~ Y + start + NA + c")
    assert {"Größe", "x.1", "a b#;", "π_2", "1st", "y", "Y", "start", "NA", "c"} == {*table.observed("")}
    assert one("नमस्ते ~ cafe\u0301").observed("") == ("नमस्ते", "cafe\u0301")


# --- what is said twice -------------------------------------------------------------------------------------------------


def test_a_second_mention_adds_to_the_first():
    assert row(one("y ~ b*x + start(0.3)*x"), "y ~ x") == Row("", "y", "~", "x", "b", None, 0.3)
    assert row(one("y ~ x; y ~ 0*x; y ~ 0*x"), "y ~ x").fixed == 0
    assert row(one("a ~~ b; b ~~ v*a"), "a ~~ b").label == "v"
    assert row(one("f =~ a + b + c; f =~ NA*a; f ~~ 1*f"), "f =~ a").fixed is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y ~ a*x + b*x", "y ~ x has the label a already, now b"),
        ("y ~ 1*x; y ~ 2*x", "y ~ x has the fixed value 1.0 already, now 2.0"),
        ("y ~ start(1)*x + start(2)*x", "has the start 1.0 already, now 2.0"),
        ("y ~ a*x + 1*x", "is fixed at 1 and has a label"),
        ("y ~ 0*x; y ~ start(1)*x", "is fixed at 0 and has a start"),
        ("f =~ NA*a + b; f =~ 1*a", "is fixed at 1 and has NA"),
        ("f =~ 1*a + b; f =~ NA*a", "is fixed at 1 and has NA"),
        ("y ~~ -1*y", "y ~~ y is a variance and cannot be -1"),
        ("y ~~ start(0)*y", "y ~~ y is a variance and cannot start at 0"),
    ],
)
def test_contradictions(text, said):
    refused("model, line 1", said, model=text)


# --- random slopes ------------------------------------------------------------------------------------------------------


def test_random_slopes():
    table = parameter_table(
        within="s1 | y ~ x\n s2 | y ~ `x 2`", between="y ~ w\n s1 ~ a*w + start(0.2)*1\n y ~~ s1; m ~ s2"
    )
    assert table.rows[:2] == (
        Row("within", "y", "~", "x", slope="s1"),
        Row("within", "y", "~", "x 2", slope="s2"),
    )
    assert table.slopes == ("s1", "s2")
    assert table.observed("within") == ("y", "x", "x 2")
    assert table.observed("between") == ("y", "w", "m")
    assert table.endogenous("between") == ("y", "s1", "m")
    assert table.exogenous("between") == ("w", "s2")
    between = names(table, "between")
    assert {"s1 ~~ s1", "s2 ~~ s2", "s1 ~1", "s2 ~1", "y ~~ s1"} <= {*between}
    assert row(table, "between: s1 ~1").start == 0.2
    assert not {"s1 ~~ s2", "s2 ~~ y", "y ~~ s2", "m ~~ s1", "s1 ~~ m"} & {*between}
    assert "m ~~ y" in between


def test_a_random_slope_that_the_between_text_does_not_mention():
    table = parameter_table(within="s | y ~ x", between="y ~~ y")
    assert names(table, "between") == ["y ~~ y", "s ~~ s", "y ~1", "s ~1"]
    assert "s" in table.exogenous("between")


@pytest.mark.parametrize(
    ("within", "between", "said"),
    [
        ("s | y ~ x + z", "y ~ w", "one predictor"),
        ("s | y + m ~ x", "y ~ w", "one outcome"),
        ("s | y ~ b*x", "y ~ w", "no modifiers"),
        ("s | y ~~ x", "y ~ w", "s | y ~ x"),
        ("y ~ x", "s | y ~ w", "define them in the text of within="),
        ("s | y ~ x; y ~ x", "y ~ w", "write one of them"),
        ("y ~ x; s | y ~ x", "y ~ w", "write one of them"),
        ("s | y ~ x; t | y ~ x", "y ~ w", "random slope 's' and the random slope 't'"),
        ("s | y ~ x; s | y ~ z", "y ~ w", "'s' is within: y ~ x already"),
        ("s | y ~ x; z ~ s", "y ~ w", "random slope and a variable"),
        ("y | y ~ x", "y ~ w", "random slope and a variable"),
        ("s | y ~ x", "y ~ w; s =~ y + w", "random slope and a variable"),
        ("s | y ~ x", "f =~ y + s", "s ~ f instead"),
        ("s | y ~ y", "y ~ w", "itself"),
        ("s | y ~ x; x ~ y", "y ~ w", "loop, "),
    ],
)
def test_random_slopes_that_are_refused(within, between, said):
    refused(said, within=within, between=between)
