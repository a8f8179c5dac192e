"""Model text: the rules that complete a table, and what is refused of one."""

import pytest
from model_texts import names, one, refused, row

from bayeshte.model_text import Row, parameter_table

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
