"""Model text: the grammar and its errors, the rules that complete a table, what is refused, expressions of labels."""

import pickle
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayeshte.errors import SpecError
from bayeshte.model_text import Expression, ParameterTable, Row, parameter_table

WITHIN = "mvpa ~ w1*advant + w2*peers;  advant ~~ peers"
BETWEEN = "mvpa ~ b3*advant + b4*peers;  advant ~ b1*treat;  peers ~ b2*treat;  advant ~~ peers"


def one(text, **kwargs):
    return parameter_table(model=text, **kwargs)


def names(table, level="", given=None):
    """Names of the rows of a level without the level; ``given`` keeps the written or the added ones."""
    rows = [row for row in table.at(level) if given in (None, row.given)]
    return [row.name.removeprefix(f"{level}: ") for row in rows]


def row(table, name):
    (found,) = [r for r in table.rows if r.name == name]
    return found


def refused(*said, **texts):
    """The texts are refused with a SpecError that says all of `said`."""
    with pytest.raises(SpecError) as caught:
        parameter_table(**texts)
    for words in said:
        assert words in str(caught.value), str(caught.value)
    return str(caught.value)


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


# --- errors of the grammar ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("y ~", 1, 4, "expected a variable after '~'"),
        ("~ x", 1, 1, "expected a variable before '~'"),
        ("y x", 1, 3, "expected '~', '=~' or '~~' after 'y', found 'x'"),
        ("y ~ x +", 1, 8, "expected a variable after '+'"),
        ("y ~ x + # z", 1, 8, "expected a variable after '+'"),
        ("y ~ + x", 1, 5, "expected a variable after '~', found '+'"),
        ("y ~ 2x", 1, 6, "expected '*' after '2', found 'x'"),
        ("f =~", 1, 5, "expected a variable after '=~'"),
        ("y ~ x ~ z", 1, 7, "A statement has one operator"),
        ("y ~ x +\nm ~ z", 2, 3, "The statement began in line 1"),
        ("y ~~ ", 1, 5, "expected a variable after '~~'"),
        ("y ~ x z", 1, 7, "expected '+', ';' or a new line after 'x', found 'z'"),
        ("y ~ x\n\tz", 2, 3, "expected '~', '=~' or '~~' after 'z'"),
        ("m ~ x\n\n   y ~ m *", 3, 11, "expected a variable after '*'"),
        ("y ~ -x", 1, 6, "expected a number after '-', found 'x'"),
        ("y ~ start(0.5*x", 1, 16, "expected ')' after 'x'"),
        ("y ~ start(0.5))*x", 1, 15, "It closes a '(' that is not there"),
        ("y ~ (x", 1, 7, "expected ')'"),
        ("y ~ x)", 1, 6, "It closes a '(' that is not there"),
        ("s | y", 1, 5, "a slope is s | y ~ x"),
        ("5", 1, 2, "expected '*' after '5'"),
        ("y ~ 5", 1, 5, "5 is no variable: write 5*x"),
        ("y ~ 0", 1, 5, "0*1 an intercept"),
        ("1 ~ x", 1, 1, "expected a variable before '~'"),
        ("y ~~ 1", 1, 6, "a mean is written x ~ 1"),
        ("f =~ 1 + y", 1, 6, "expected a variable after '=~'"),
        ("y ~ x,z", 1, 6, "found ','"),
        ("t := ", 1, 5, "expected a label, a number or '(' after ':='"),
        ("t := a b", 1, 8, "or the end of the expression after 'a', found 'b'"),
        ("t := (a + b", 1, 12, "expected ')' after 'b'"),
        ("t := a)", 1, 7, "It closes a '(' that is not there"),
        ("t := a +\ny ~ x", 2, 3, "found '~'"),
        ("a + b := c", 1, 7, "found ':='"),
        ("y ~ x\nt := expp(a)", 2, 6, "no function 'expp'. Did you mean 'exp'"),
        ("2*y ~ x", 1, 1, "modifiers stand on the right"),
        ("y ~ `b`*x", 1, 5, "a label is a name without quotes"),
        ("y ~ a:b*x", 1, 5, "expected a number or a label before '*'"),
        ("y ~ b*a*x", 1, 7, "b*x + start(0.3)*x"),
        ("y ~ start()*x", 1, 5, "start() takes one number"),
        ("y ~ start(1, 2)*x", 1, 5, "start() takes one number"),
        ("y ~ start(a)*x", 1, 5, "start() takes one number"),
        ("y ~ start('a')*x", 1, 5, "start() takes one number"),
        ("y ~ strt(1)*x", 1, 5, "no modifier 'strt'. Did you mean 'start'"),
        ("y ~ log(x)", 1, 5, "'log()' is no variable"),
        ("y ~ (x + z)", 1, 5, "parentheses are for derived parameters"),
        ("y ~ 1e999*x", 1, 5, "too large"),
        ("y ~ `x", 1, 5, "no closing backtick"),
        ("y ~ `a:b`", 1, 5, "rename the column"),
        ("y ~ x – z", 1, 7, "'–' is not understood"),
        ("y ~ x–z", 1, 6, "'–' cannot be in a name"),
        ("y ~ x\u200b", 1, 6, r"'\u200b' cannot be in a name"),
        ("y ~ a:b:c", 1, 5, "a product has two variables"),
        ("f =~ a:b", 1, 6, "a product stands on the right of '~' only"),
        ("x ~~ a:b", 1, 6, "a product stands on the right of '~' only"),
        ("a:b ~ x", 1, 1, "a product stands on the right of '~' only"),
        ("s | y ~ x", 1, 1, "needs two levels"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(text, line, column, said):
    message = refused(f"model, line {line}, column {column}: ", said, model=text)
    shown, caret = message.split("\n")[-2:]
    assert shown == "    " + text.split("\n")[line - 1].replace("\t", " ")
    assert caret == " " * (column + 3) + "^"
    for terminal in ("OPERATOR", "NEWLINE", "NAME", "Token", "$END", "__ANON"):
        assert terminal not in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y ~ (b1)*x", "without parentheses: b1*x"),
        ("y ~ c(a, b)*x", "several groups are not supported"),
        ("y ~ c(0.5, NA)*x", "several groups are not supported"),
        ("y ~ x + equal('y ~ x')*z", "one label are equal"),
        ('f =~ a + equal("f=~a")*b', "one label are equal"),
        ("y ~ label('b')*x", "write the label itself"),
        ("y ~ prior('normal(0,1)')*x", "priors are an argument"),
        ("y ~*~ y", "categorical"),
        ("f <~ x", "make a column of them"),
        ("%within%\ny ~ x", "within= and"),
        ("y ~ a*x + b*z; a == b", "one label are equal"),
        ("a < 1", "prior"),
        ("a >= 1", "prior"),
        ("y = x", "'~' for a regression"),
        ("y@0", "0.5*x"),
        ("[y]", "x ~ 1"),
        ("y ON x", "Mplus's ON is written '~'"),
        ("f by y1", "Mplus's BY is written '=~'"),
        ("level: 1\ny ~ x", "within= and between="),
        ("group: a\ny ~ x", "groups are not supported"),
    ],
)
def test_what_other_programs_have_is_refused_with_what_to_do(text, said):
    refused("model, line 1", said, model=text)


@pytest.mark.parametrize("text", ["", "  \n\t", "# y ~ x", ";;\n;"])
def test_empty_text(text):
    refused("model=", "is empty", "'y ~ x'", model=text)
    refused("between=", "is empty", within="y ~ x", between=text)
    refused("derived['a']=", "is empty", model="y ~ b*x", derived={"a": text})


@pytest.mark.parametrize("value", [3, ["y ~ x"], b"y ~ x", {"y": "x"}])
def test_other_types_than_text(value):
    refused("model=", "write it as text", model=value)
    refused("derived['a']=", "write it as text", model="y ~ b*x", derived={"a": value})


def test_texts_of_levels_that_do_not_go_together():
    refused("no model text")
    refused("between= is missing", within="y ~ x")
    refused("within= is missing", between="y ~ x")
    refused("give model= alone", model="y ~ x", within="y ~ x")
    refused("give model= alone", model="y ~ x", within="y ~ x", between="y ~ x")
    refused("between='t := b*b' has no parameters", within="y ~ b*x", between="t := b*b")


def test_errors_name_the_text():
    refused("between, line 2, column 4", within="y ~ x", between="\ny ~")
    refused("derived['t'], line 1, column 4", model="y ~ b*x", derived={"t": "b +"})


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


# --- rules --------------------------------------------------------------------------------------------------------------


def test_rule_order_of_the_rows():
    table = one("y ~ 1; a ~~ b; y ~ f + x; f =~ a + b")
    assert names(table) == [
        *("f =~ a", "f =~ b", "y ~ f", "y ~ x"),
        *("a ~~ b", "f ~~ f", "a ~~ a", "b ~~ b", "y ~~ y"),
        *("y ~1", "a ~1", "b ~1"),
    ]
    assert [r.given for r in table.rows] == [True] * 5 + [False] * 4 + [True] + [False] * 2


def test_rule_1_intercepts():
    assert [n for n in names(one("f =~ a + b; y ~ f + x")) if n.endswith("~1")] == ["a ~1", "b ~1", "y ~1"]
    assert row(one("f =~ a + b; f ~ 1"), "f ~1").given
    table = parameter_table(within="m ~ x; y ~ m", between="y ~ w; z ~ w")
    assert [r.name for r in table.rows if r.op == "~1"] == ["within: m ~1", "between: y ~1", "between: z ~1"]
    refused("within: y ~1", "both levels", "between=", within="y ~ 1 + x", between="y ~ w")
    assert row(parameter_table(within="m ~ 0*1 + x", between="y ~ w"), "within: m ~1").fixed == 0


@pytest.mark.parametrize(
    ("first", "label", "fixed", "start"),
    [("a", "", 1, None), ("2*a", "", 2, None), ("NA*a", "", None, None), ("l*a", "l", None, None)]
    + [("start(1)*a", "", None, 1)],
)
def test_rule_2_first_loading(first, label, fixed, start):
    table = one(f"f =~ {first} + b + c; f ~~ {'1*' if fixed is None else ''}f")
    assert row(table, "f =~ a") == Row("", "f", "=~", "a", label, fixed, start)
    assert row(table, "f =~ b").fixed is None


def test_rule_2_holds_for_each_factor_of_each_level():
    table = parameter_table(within="f =~ a + b + c; g =~ d + e", between="f =~ b + a + c")
    fixed = [r.name for r in table.rows if r.fixed == 1]
    assert fixed == ["within: f =~ a", "within: g =~ d", "between: f =~ b"]


def test_rule_3_variances():
    table = one("f =~ a + b; g =~ f + c + d; y ~ g + x")
    assert {r.lhs for r in table.rows if r.kind == "variance"} == {"f", "a", "b", "g", "c", "d", "y"}


def test_rule_4_exogenous_variables_are_conditioned_on_unless_mentioned():
    assert names(one("y ~ x + z"), given=False) == ["y ~~ y", "y ~1"]
    assert names(one("y ~ x + z; x ~~ x"), given=False) == ["y ~~ y", "y ~1", "x ~1"]
    assert names(one("y ~ x + z; x ~ 1"), given=False) == ["y ~~ y", "x ~~ x", "y ~1"]
    table = one("y ~ z + x + w; x ~~ x; z ~ 1")
    assert names(table, given=False) == ["y ~~ y", "z ~~ z", "x ~~ z", "y ~1", "x ~1"]
    assert table.conditioned("") == ("w",)
    assert names(one("y ~ x + z; x ~~ 0*z"), given=False) == ["y ~~ y", "x ~~ x", "z ~~ z", "y ~1", "x ~1", "z ~1"]
    assert one("y ~ x; x ~~ y").conditioned("") == ()
    assert one("y ~ x:z; x ~~ x").conditioned("") == ("z",)


def test_rule_4_factors_and_modelled_variables_covary():
    table = one("f =~ a + b; g =~ c + d; y ~ f + g + x + w; x ~~ x")
    covariances = {r.name for r in table.rows if r.kind == "covariance"}
    assert covariances == {"f ~~ g", "f ~~ x", "g ~~ x"}
    assert names(one("x ~~ y; z ~~ z"), given=False) == [
        *("x ~~ x", "y ~~ y", "x ~~ z", "y ~~ z"),
        "x ~1",
        "y ~1",
        "z ~1",
    ]


def test_rule_4_variables_of_both_levels_are_modelled_at_both():
    table = parameter_table(within="y ~ x + z + u", between="y ~ x + z + w")
    assert table.conditioned("within") == ("u",)
    assert table.conditioned("between") == ("w",)
    for level in ("within", "between"):
        assert names(table, level, given=False)[:4] == ["y ~~ y", "x ~~ x", "z ~~ z", "x ~~ z"]
    assert [r.name for r in table.rows if r.op == "~1"] == ["between: y ~1", "between: x ~1", "between: z ~1"]


def test_rule_5_residual_covariances_of_the_last_outcomes():
    def covariances(text):
        return [r.name for r in one(text).rows if r.kind == "covariance"]

    assert covariances("y + z ~ x") == ["y ~~ z"]
    assert covariances("z ~ m + x; m ~ x; y ~ x") == ["y ~~ z"]
    assert covariances("z ~ m + x; m ~ x; y ~ x; u ~ m:y") == ["u ~~ z"]
    assert covariances("f =~ a + b; g =~ c + d; f + g ~ x; y + a ~ x") == ["f ~~ g"]
    assert covariances("f =~ a + b; g =~ c + d; g ~ f; y ~ f") == []
    assert covariances("f =~ a + b; g =~ c + d; h =~ f + g; u =~ k + l; h + u ~ x") == ["h ~~ u"]
    table = parameter_table(within="y + z ~ x", between="y + z ~ w")
    assert [r.name for r in table.rows if r.kind == "covariance"] == ["within: y ~~ z", "between: y ~~ z"]


def test_rule_6_levels_of_variables():
    table = parameter_table(within="y ~ x; f =~ a + b + c", between="y ~ w; f =~ a + b + c; v ~ f")
    assert table.both_levels == ("a", "b", "c", "y")
    assert table.factors("within") == table.factors("between") == ("f",)
    assert "f" not in {*table.observed("within"), *table.observed("between")}


def test_rule_7_what_is_written_wins():
    table = one("y + z ~ x; z ~~ 0*y; y ~~ 2*y; y ~ 0*1")
    assert names(table, given=False) == ["z ~~ z", "z ~1"]
    assert row(table, "z ~~ y") == Row("", "z", "~~", "y", fixed=0.0)
    assert row(one("f =~ a + b; g =~ c + d; g ~~ 0*f"), "g ~~ f").fixed == 0


def test_one_indicator_and_a_known_variance():
    """Then the residual variance is what the variance of the indicator has beside it."""
    assert row(one("f =~ 1*a; f ~~ 1*f; g =~ b + c + d"), "a ~~ a").fixed is None


# --- checks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y ~ y", ["y ~ y is a path of a variable on itself", "y ~~ y"]),
        ("y ~ x:y", ["y ~ x:y is a path of a variable on itself"]),
        ("f =~ f + a", ["f =~ f is a factor that measures itself"]),
        ("a ~ b; b ~ c; c ~ a", ["form a loop, ", "a -> ", "leave one out"]),
        ("a ~ x:b; b ~ a", ["form a loop, "]),
        ("f =~ a + b; f ~ a", ["form a loop, "]),
        ("f =~ g + a; g =~ f + b", ["form a loop, "]),
        ("f =~ a; y ~ f", ["factor 'f' has one indicator, 'a'", "a ~~ 0*a"]),
        ("f =~ a + 0*b", ["one indicator, 'a'"]),
        ("f =~ 0*a + 0*b", ["no indicator"]),
        ("f =~ NA*a + b", ["factor 'f' has no scale", "f =~ 1*a", "f ~~ 1*f"]),
        ("f =~ l*a + l*b", ["no scale"]),
        ("y ~ v*x; y ~~ v*y", ["label 'v'", "y ~ x (a coefficient)", "y ~~ y (a variance)"]),
        ("a ~~ v*b; a ~~ v*a", ["label 'v'", "covariance", "variance"]),
        ("y ~ b*x; y ~~ b*x", ["coefficient", "covariance"]),
        ("y ~ b*x + start(1)*x + b*z + start(2)*z", ["one parameter, 'b'", "1 and 2"]),
        ("y ~ x + m + x*m", ["label 'x', which is a variable", "a:b"]),
    ],
)
def test_refused_rows(text, said):
    refused(*said, model=text)


def test_a_loop_is_named_in_the_direction_of_its_paths():
    message = refused(model="a ~ b; b ~ c; c ~ a")
    cycle = message.split("loop, ")[1].split(":")[0]
    assert cycle in ("a -> c -> b -> a", "c -> b -> a -> c", "b -> a -> c -> b")


def test_loops_are_of_one_level():
    assert parameter_table(within="y ~ m", between="m ~ y")
    refused("paths at the between level form a loop", within="y ~ m", between="m ~ y; y ~ m")


def test_a_factor_of_one_level_is_no_variable_of_the_other():
    refused("'f' is a factor at the within level", "between level", within="f =~ a + b", between="a ~ f")
    refused("'f' is a factor at the between level", within="y ~ f", between="f =~ a + b")


def test_factors_with_a_scale():
    assert one("f =~ a; a ~~ 0*a; y ~ f")
    assert one("f =~ NA*a + b; f ~~ 1*f")
    assert one("f =~ a + 2*b; f =~ NA*a")
    levels = dict(within="f =~ l1*a + l2*b + l3*c; f ~~ 1*f", between="f =~ l1*a + l2*b + l3*c")
    assert parameter_table(**levels)
    refused("no scale", **levels | {"within": "f =~ l1*a + l2*b + l3*c"})


def test_labels_of_equal_kinds():
    assert one("f =~ a + b*c; y ~ b*x; y ~ b*1")
    assert one("y ~~ v*y; z ~~ v*z")
    assert one("a ~~ v*b; a ~~ v*c")


# --- derived parameters -------------------------------------------------------------------------------------------------


def test_derived_parameters_use_those_before_them():
    table = one(
        "ind := a*b # the indirect effect\nm ~ a*x; y ~ b*m + c*x\ntot := ind +\n c", derived={"share.1": "ind / tot"}
    )
    assert [(name, e.text) for name, e in table.derived] == [
        ("ind", "a*b"),
        ("tot", "ind + c"),
        ("share.1", "ind / tot"),
    ]
    values = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0]), "c": np.array([1.0, 0.0])}
    for name, expression in table.derived:
        values[name] = expression(values)
    np.testing.assert_allclose(values["share.1"], [0.75, 1.0])
    two = parameter_table(
        within="y ~ w*x; d := w - b", between="y ~ b*x; r := b / w + d", derived={"t": "\n d\n + r \n"}
    )
    assert [name for name, _ in two.derived] == ["d", "r", "t"]
    assert two.derived[2][1].text == "d + r"
    assert two.derived[2][1].names == ("d", "r")


@pytest.mark.parametrize(
    ("derived", "said"),
    [
        ({"t": "b1 * c2"}, ["derived['t'], line 1, column 6", "'c2' is neither", "'b2'", "'b1'"]),
        ({"t": "zzzzzz"}, ["Known: 'b1', 'b2'"]),
        ({"t": "b1*x"}, ["'x' is neither", "It is a variable", "b*x"]),
        ({"t": "u + b1", "u": "b1"}, ["'u' is neither", "defined before"]),
        ({"t": "t + b1"}, ["'t' is neither"]),
        ({"b1": "b2 + 1"}, ["'b1' is also the label of y ~ x"]),
        ({"x": "b2"}, ["'x' is also a variable"]),
        ({"t t": "b2"}, ["a name has letters"]),
        ({1: "b2"}, ["a name has letters"]),
        ({"t": "b1; b2"}, ["found ';'"]),
        ({"t": "b1\nb2"}, ["or the end of the expression after 'b1'"]),
        ({"t": "* b1"}, ["expected a label or a number before '*'"]),
        ({"t": "b1 ** "}, ["expected a label, a number or '(' after '**'"]),
        ({"t": "log(b1, b2)"}, ["expected ')' after 'b1'", "found ','"]),
        ({"t": "sqroot(b1)"}, ["no function 'sqroot'"]),
        ("b1", ["derived='b1'", "a mapping"]),
    ],
)
def test_refused_derived_parameters(derived, said):
    refused(*said, model="y ~ b1*x + b2*z", derived=derived)


def test_derived_names_across_texts():
    refused("'t' is also defined before", model="y ~ b*x; t := b; t := 2*b")
    refused("'t' is also defined before", model="y ~ b*x; t := b", derived={"t": "b"})
    refused("'s' is also a variable", within="s | y ~ x", between="y ~ b*w", derived={"s": "b"})
    refused("No parameter has a label", model="y ~ x", derived={"t": "b"})


LABELS = {"a": 1.7, "b": -0.4, "c.d": 2.2}
PYTHON = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "pnorm": NormalDist().cdf}


@st.composite
def expressions(draw, depth=4):
    """An expression, as it is written and as Python has it."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        leaf = draw(st.sampled_from([*LABELS, "2", "0.5", "1e-1", "3."]))
        return leaf, f"np.float64(v[{leaf!r}])" if leaf in LABELS else f"np.float64({leaf})"
    match draw(st.sampled_from(["binary", "binary", "power", "minus", "parentheses", "function"])):
        case "binary":
            (a, p), (b, q) = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
            operator = draw(st.sampled_from("+-*/"))
            return f"{a} {operator} {b}", f"{p} {operator} {q}"
        case "power":
            (a, p), (b, q) = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
            return f"({a}){draw(st.sampled_from(['**', '^']))}{b}", f"({p})**{q}"
        case "minus":
            a, p = draw(expressions(depth=depth - 1))
            return f"-{a}", f"-{p}"
        case "parentheses":
            a, p = draw(expressions(depth=depth - 1))
            return f"({a})", f"({p})"
        case _:
            a, p = draw(expressions(depth=depth - 1))
            function = draw(st.sampled_from(sorted(PYTHON)))
            return f"{function}({a})", f"{function}({p})"


@settings(max_examples=100, deadline=None)
@given(expressions().filter(lambda texts: "v[" in texts[1]))
def test_expressions_are_those_of_python(texts):
    text, python = texts
    model = "y ~ a*x1 + b*x2 + c.d*x3"
    ((_, expression),) = one(model, derived={"t": text}).derived
    with np.errstate(all="ignore"):
        expected = eval(python, {"np": np, "v": LABELS, **PYTHON})
    values = {label: np.full(2, value) for label, value in LABELS.items()}
    np.testing.assert_allclose(expression(values), np.full(2, expected), rtol=1e-12)
    ((_, written),) = one(f"{model}; t := {text}").derived
    assert written == expression


def test_expressions_take_draws_of_any_shape_and_do_not_warn():
    ((_, e),) = one("y ~ a*x", derived={"t": "log(a) / (a - a)"}).derived
    assert isinstance(e, Expression)
    value = e({"a": np.full((4, 10), -1)})
    assert value.shape == (4, 10)
    assert np.isnan(value).all()
    ((_, long),) = one("y ~ a*x", derived={"t": " + ".join(["a"] * 3000)}).derived
    assert long({"a": np.float64(2)}) == 6000
    ((_, deep),) = one("y ~ a*x", derived={"t": "(" * 3000 + "a" + ")" * 3000}).derived
    assert deep({"a": np.float64(2)}) == 2


# --- properties ---------------------------------------------------------------------------------------------------------

PATHS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda p: p[0] < p[1]), min_size=1, max_size=9, unique=True
)
MODIFIERS = st.sampled_from(["", "0.5*", "-2*", "start(1.5)*", "label"])


@st.composite
def path_models(draw):
    """Statements of a recursive path model, and its paths as rows."""
    statements, rows = [], []
    for k, (cause, effect) in enumerate(draw(PATHS)):
        modifier = draw(MODIFIERS)
        label = f"b{k}" if modifier == "label" else ""
        written = f"{label}*" if label else modifier
        statements.append(f"v{effect} ~ {written}v{cause}")
        new = Row("", f"v{effect}", "~", f"v{cause}", label)
        new = replace(new, fixed={"0.5*": 0.5, "-2*": -2.0}.get(modifier), start=1.5 if "start" in modifier else None)
        rows.append(new)
    return statements, rows


@settings(max_examples=100, deadline=None)
@given(path_models(), st.randoms(use_true_random=False), st.sampled_from(["\n", "; ", " # c\n\n"]))
def test_a_recursive_path_model_is_read_as_it_was_written(model, random, separator):
    statements, rows = model
    table = one(separator.join(statements))
    assert [r for r in table.rows if r.op == "~"] == rows
    effects, causes = {r.lhs for r in rows}, {r.rhs for r in rows}
    assert {r.lhs for r in table.rows if r.kind == "variance"} == effects
    assert {r.lhs for r in table.rows if r.op == "~1"} == effects
    last = sorted(effects - causes)
    pairs = {(a, b) for i, a in enumerate(last) for b in last[i + 1 :]}
    assert {(r.lhs, r.rhs) for r in table.rows if r.kind == "covariance"} == pairs
    random.shuffle(statements)
    assert {*one(separator.join(statements)).rows} == {*table.rows}


STATEMENTS = {
    "within": ["f =~ a + b + c", "y ~ f + x", "s | y ~ z", "x ~~ u", "m ~ x + z", "d ~ x", "w1 := l*l"],
    "between": ["f =~ a + l*b + c", "y ~ f + t", "s ~ t", "x ~~ m", "y ~~ s", "q ~ t", "m ~ 0*1 + t"],
}


@settings(max_examples=50, deadline=None)
@given(st.permutations(STATEMENTS["within"]), st.permutations(STATEMENTS["between"]))
def test_the_order_of_statements_does_not_change_the_rows(within, between):
    table = parameter_table(within="\n".join(within), between=";".join(between))
    usual = parameter_table(**{level: "\n".join(texts) for level, texts in STATEMENTS.items()})
    assert {*table.rows} == {*usual.rows}
    order = [(table.levels.index(r.level), ("=~", "~", "~~", "~1").index(r.op), not r.given) for r in table.rows]
    assert order == sorted(order)
    assert len({r.key for r in table.rows}) == len(table.rows)


PIECES = (
    ["y", "x", "f", "s", "b", "NA", "start", "c", "exp", "1", "0", "-1", "2.5", "`a b`", "'q'", "é", "."]
    + list("+-*/^():;|,=<%#!@`\n \t")
    + ["~", "~", "~", "~~", "=~", ":=", "*", "+", "\n"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14), st.booleans())
def test_any_text_makes_a_table_or_a_spec_error(pieces, two_levels):
    text = "".join(pieces)
    try:
        table = parameter_table(within=text, between="y ~ w") if two_levels else parameter_table(model=text)
    except SpecError:
        return
    assert isinstance(table, ParameterTable)
    assert repr(table)
