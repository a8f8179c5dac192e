"""MODEL and what refers to it: lists, labels, defaults, levels, constraints, indirect effects, priors."""

import numpy as np
import pytest
from mplus_inputs import HEAD, ONE, RANDOM, TWO, build, refused, rows, same

import bayeshte as bh
from bayeshte.mplus.words import lines


def test_a_path_model_has_mplus_defaults():
    same(
        HEAD + "USEV = y1 y2 y3 y4 x1 x2;\n" + ONE + "MODEL: y1 ON y3; y2 ON y4; y3 ON x1; y4 ON x2; x1 x2;",
        model="y1 ~ y3; y2 ~ y4; y3 ~ x1; y4 ~ x2; x1 ~~ x1; x2 ~~ x2; y1 ~~ y2; x1 ~~ x2",
    )


def test_the_first_loading_is_fixed_unless_a_star_frees_it():
    head = HEAD + "USEV = y1-y3;\n" + ONE
    same(head + "MODEL: f BY y1-y3;", model="f =~ 1*y1 + y2 + y3")
    same(head + "MODEL: f BY y1-y3*; f@1;", model="f =~ NA*y1 + y2 + y3; f ~~ 1*f")
    same(head + "MODEL: f BY y1* y2 y3; f@1;", model="f =~ NA*y1 + y2 + y3; f ~~ 1*f")
    same(head + "MODEL: f BY y1*.7 y2@1 y3;", model="f =~ start(0.7)*y1 + 1*y2 + y3")
    same(head + "MODEL: f BY y1-y3 (l1-l3);", model="f =~ 1*y1 + l2*y2 + l3*y3")
    same(head + "MODEL: f BY y1-y3* (l1-l3); f@1;", model="f =~ l1*y1 + l2*y2 + l3*y3; f ~~ 1*f")


def test_labels_are_given_out_in_order():
    head = HEAD + "USEV = y1 y2 x1 x2;\n" + ONE
    same(
        head + "MODEL: y1 y2 ON x1 x2 (p1-p4);",
        model="y1 ~ p1*x1 + p2*x2; y2 ~ p3*x1 + p4*x2",
    )
    same(
        head + "MODEL: y1 ON x1 (a)\n x2 (b); y2 ON x1\n x2 (1); y1 y2 (v);",
        model="y1 ~ a*x1 + b*x2; y2 ~ x1 + equal1*x2; y1 ~~ v*y1; y2 ~~ v*y2",
    )
    same(
        head + "MODEL: [y1 y2@0] (m n); y1 ON x1 x2; y2 ON x1 x2;",
        model="y1 ~ m*1; y2 ~ 0*1; y1 ~ x1 + x2; y2 ~ x1 + x2",
    )
    refused(head + "MODEL: y1 y2 ON x1 x2 (a b c);", "3 labels for 4 parameters")
    same(
        HEAD + "USEV = y1-y3;\n" + ONE + "MODEL: y1-y3 WITH y1-y3 (c1-c3);",
        model="y1 ~~ c1*y2 + c2*y3; y2 ~~ c3*y3; y1 ~~ y1; y2 ~~ y2; y3 ~~ y3",
    )


def test_labels_of_loadings_may_leave_out_the_first_one_which_is_fixed():
    head = HEAD + "USEV = y1-y3;\n" + ONE
    same(head + "MODEL: f BY y1-y3 (a b);", model="f =~ 1*y1 + a*y2 + b*y3")
    same(head + "MODEL: f BY y1 y2-y3 (a b);", model="f =~ 1*y1 + a*y2 + b*y3")
    same(head + "MODEL: f BY y1-y3 (a b c);", model="f =~ 1*y1 + b*y2 + c*y3")
    same(head + "MODEL: f BY y1@1 y2 y3 (a b);", model="f =~ 1*y1 + a*y2 + b*y3")
    same(head + "MODEL: f BY y1@1 y2 y3 (a);", model="f =~ 1*y1 + a*y2 + a*y3")
    same(head + "MODEL: f BY y1-y3 (a);", model="f =~ 1*y1 + a*y2 + a*y3")
    assert any("not fixed, as f =~ y1 is" in n for n in build(head + "MODEL: f BY y1-y3 (a b);")[1])
    assert any("(a) makes f =~ y2 and f =~ y3 equal" in n for n in build(head + "MODEL: f BY y1-y3 (a);")[1])
    refused(head + "MODEL: f BY y1-y3* (a b); f@1;", "2 labels for 3 parameters")
    refused(head + "MODEL: f BY y1@1 y2-y3 (a b c d);", "4 labels for 3 parameters")


def test_latent_change_scores_have_equal_residual_variances():
    change = "l1 BY y1; l2 BY y2; l3 BY y3; y1-y3 (e); l2 ON l1@1; l3 ON l2@1; l2-l3@0; [y1-y3@0 l1]; d2 BY l2@1; d3 BY l3@1;"
    spec, *_ = build(
        HEAD
        + "USEV = y1-y3;\n"
        + ONE
        + f"MODEL: {change} d2-d3@0; g BY d2@1 d3@1; [g]; d2 ON l1 (b); d3 ON l2 (b); g WITH l1;"
    )
    free = {row.name for row in spec.table.rows if row.fixed is None and row.op == "~~"}
    assert free == {"y1 ~~ y1", "y2 ~~ y2", "y3 ~~ y3", "l1 ~~ l1", "g ~~ g", "g ~~ l1"}
    refused(HEAD + "USEV = y1-y3;\n" + ONE + "MODEL: l BY y1; y2 y3 ON l;", "has one indicator", "y1 ~~ 0*y1")


def test_without_covariances_only_those_of_WITH_are_there():
    head = HEAD + "USEV = y1-y4 x1 x2;\nANALYSIS: ESTIMATOR = BAYES; MODEL = NOCOV;\n"
    same(
        head + "MODEL: y1 ON x1; y2 ON x2; x1 x2; f BY y3; g BY y4; y3-y4@0;",
        model="y1 ~ x1; y2 ~ x2; x1 ~~ x1 + 0*x2; x2 ~~ x2; f =~ 1*y3; g =~ 1*y4; y3 ~~ 0*y3; y4 ~~ 0*y4; y1 ~~ 0*y2;"
        "f ~~ 0*g; f ~~ 0*x1 + 0*x2; g ~~ 0*x1 + 0*x2",
    )
    spec, _, _, words = build(head + "MODEL: y1 ON x1; y2 ON x2; y3 ON x1; y4 ON x2; y1 WITH y3;")
    assert [line.header for line in lines(spec.table, words) if "WITH" in line.header] == ["Y1 WITH"]


def test_one_label_behind_several_parameters_makes_those_of_its_line_equal():
    head = HEAD + "USEV = y1 x1 x2;\n" + ONE
    one = build(head + "MODEL: y1 ON x1 x2 (1);")
    assert [r.label for r in one[0].table.rows if r.op == "~"] == ["equal1", "equal1"]
    assert any("the label (1) makes y1 ~ x1 and y1 ~ x2 equal" in n for n in one[1])
    other = build(head + "MODEL: y1 ON x1\n x2 (1);")
    assert [r.label for r in other[0].table.rows if r.op == "~"] == ["", "equal1"]
    assert any("y1 ~ x2 alone" in n for n in other[1])


def test_pairs_and_lists_of_covariances():
    head = HEAD + "USEV = y1-y4;\n" + ONE
    same(head + "MODEL: y1 y2 PON y3 y4;", model="y1 ~ y3; y2 ~ y4")
    pairs = "y1 ~~ y2 + y3; y2 ~~ y3; y1 ~~ y1; y2 ~~ y2; y3 ~~ y3"
    same(head + "MODEL: y1-y3 WITH y1-y3; y4;", model=pairs + "; y4 ~~ y4 + 0*y1 + 0*y2 + 0*y3")
    same(head + "MODEL: y1 y2 PWITH y3 y4@0;", model="y1 ~~ y3; y2 ~~ 0*y4; y1 ~~ 0*y2 + 0*y4; y2 ~~ 0*y3; y3 ~~ 0*y4")


def test_a_list_with_itself_says_nothing_of_its_variances():
    """What stands behind it, labels for every pair or a value, is about the pairs."""
    head = HEAD + "USEV = y1-y4;\n" + ONE
    zero = "y1 ~~ 0*y2 + 0*y3 + 0*y4; y2 ~~ 0*y3 + 0*y4; y3 ~~ 0*y4"
    same(head + "MODEL: y1-y4 WITH y1-y4@0;", model=zero)
    same(
        head + "MODEL: y1-y4 (v1-v4); y1-y4 WITH y1-y4@0;",
        model=zero + "".join(f"; y{k} ~~ v{k}*y{k}" for k in range(1, 5)),
    )
    pairs = "y1 ~~ v1*y1 + c1*y2; y2 ~~ v2*y2"
    same(HEAD + "USEV = y1 y2;\n" + ONE + "MODEL: y1-y2 (v1-v2); y1-y2 WITH y1-y2 (c1);", model=pairs)
    same(HEAD + "USEV = y1 y2;\n" + ONE + "MODEL: y1@2; y1-y2 WITH y1-y2;", model="y1 ~~ 2*y1 + y2")


def test_variables_in_no_relation_covary_with_nothing():
    """Mplus counts eleven variances that are listed as 22 parameters with eleven means; predictors that are listed covary."""
    head = HEAD + "USEV = y1-y3 x1 x2;\n" + ONE
    listed = "y1 ~~ 0*y2 + 0*y3 + 0*x1 + 0*x2; y2 ~~ 0*y3 + 0*x1 + 0*x2; y3 ~~ 0*x1 + 0*x2; x1 ~~ 0*x2; "
    same(head + "MODEL: y1-y3 x1 x2;", model=listed + "y1 ~~ y1; y2 ~~ y2; y3 ~~ y3; x1 ~~ x1; x2 ~~ x2")
    same(
        head + "MODEL: y1 ON x1 x2; x1 x2 y2; y2 WITH y3;",
        model="y1 ~ x1 + x2; x1 ~~ x1 + x2; x2 ~~ x2; y2 ~~ y3 + y2 + 0*x1 + 0*x2; y3 ~~ 0*x1 + 0*x2",
    )


def test_the_last_mention_counts():
    spec, notes, *_ = build(HEAD + "USEV = y1 x1;\n" + ONE + "MODEL: y1 ON x1 (b);\n y1 ON x1@0.5;")
    (row,) = [r for r in spec.table.rows if r.op == "~"]
    assert (row.fixed, row.label) == (0.5, "")
    assert any("stands in line 6 already" in n for n in notes)


def test_a_growth_curve():
    same(
        HEAD + "USEV = y1-y4 x1;\n" + ONE + "MODEL: i s | y1@0 y2@1 y3@2 y4*3; i s ON x1;",
        model="i =~ 1*y1 + 1*y2 + 1*y3 + 1*y4; s =~ 0*y1 + 1*y2 + 2*y3 + start(3)*y4; i + s ~ x1 + 1; y1 + y2 + y3 + y4 ~ 0*1",
    )
    same(
        HEAD + "USEV = y1-y3;\n" + ONE + "MODEL: i s q | y1@0 y2@1 y3@2;",
        model="i =~ 1*y1 + 1*y2 + 1*y3; s =~ 0*y1 + 1*y2 + 2*y3; q =~ 0*y1 + 1*y2 + 4*y3; i + s + q ~ 1; y1 + y2 + y3 ~ 0*1",
    )


def test_two_levels_with_a_random_slope():
    spec = same(
        HEAD
        + "USEV = y1 x1 x2 z; CLUSTER = school; BETWEEN = z; WITHIN = x2;\n"
        + RANDOM
        + "MODEL: %WITHIN%\n s | y1 ON x1; y1 ON x2;\n %BETWEEN%\n y1 s ON z x1; y1 WITH s;",
        within="s | y1 ~ x1; y1 ~ x2",
        between="y1 + s ~ z + x1; y1 ~~ s",
    )
    assert spec.cluster == "school"
    assert spec.table.conditioned("within") == ("x2",)
    assert spec.table.conditioned("between") == ("z",)


def test_a_variable_that_no_statement_of_a_level_names_varies_there_alone():
    spec, notes, *_ = build(
        HEAD + "USEV = y1 x1 z; CLUSTER = school; BETWEEN = z;\n" + TWO + "MODEL: %WITHIN% y1 ON x1; %BETWEEN% y1 ON z;"
    )
    between = {r.key: r for r in spec.table.rows if r.level == "between"}
    assert between["between", "~~", "x1", "x1"].fixed is None
    assert not any({r.lhs, r.rhs} == {"x1", "y1"} and r.fixed != 0 for r in between.values())
    assert any("WITHIN = x1" in n for n in notes)
    spec, notes, *_ = build(HEAD + "USEV = y1 y2 x1;\n" + ONE + "MODEL: y1 ON x1; y2 WITH y1@0; x1;")
    spec, notes, *_ = build(HEAD + "USEV = y1 y2 x1;\n" + ONE + "MODEL: y1 ON x1; x1;")
    covariances = {(r.lhs, r.rhs): r.fixed for r in spec.table.rows if r.op == "~~" and r.lhs != r.rhs}
    assert covariances == {("x1", "y2"): 0.0}


def test_random_intercepts_covary_only_where_it_is_written():
    head = HEAD + "USEV = y1 y2 y3 x1; CLUSTER = school; WITHIN = x1;\n" + TWO
    within = "MODEL: %WITHIN% y1 y2 y3 ON x1; "
    same(
        head + within + "%BETWEEN% y1 WITH y2;",
        within="y1 + y2 + y3 ~ x1",
        between="y1 ~~ y2; y1 ~~ 0*y3; y2 ~~ 0*y3",
    )
    same(
        head + within + "%BETWEEN% y1 y2 ON y3;",
        within="y1 + y2 + y3 ~ x1",
        between="y1 + y2 ~ y3; y1 ~~ y2",
    )


def test_an_interaction_on_one_level():
    same(
        HEAD + "USEV = y1-y4 x1;\nANALYSIS: TYPE = RANDOM; ESTIMATOR = BAYES;\n"
        "MODEL: f BY y1-y3; fx | x1 XWITH f; y4 ON f x1 fx; f ON x1;",
        model="f =~ 1*y1 + y2 + y3; y4 ~ f + x1 + x1:f; f ~ x1",
    )
    refused(HEAD + "USEV = y1 x1;\nANALYSIS: TYPE = RANDOM; ESTIMATOR = BAYES;\nMODEL: s | y1 ON x1;", "clusters")


def test_an_interaction_of_two_factors():
    head = HEAD + "USEV = y1-y4 x1 x2;\nANALYSIS: TYPE = RANDOM; ALGORITHM = INTEGRATION; ESTIMATOR = BAYES;\nMODEL: "
    same(
        head + "f BY y1 y2; g BY y3 y4; fg | f XWITH g; ff | f XWITH f; x1 ON f g fg (b1-b3); x2 ON ff;",
        model="f =~ 1*y1 + y2; g =~ 1*y3 + y4; x1 ~ b1*f + b2*g + b3*f:g; x2 ~ f:f",
    )
    before = head + "f BY y1-y4; x1 ON ff f x2; ff | f XWITH f;"
    same(before, model="f =~ 1*y1 + y2 + y3 + y4; x1 ~ f:f + f + x2")
    spec, notes, *_ = build(head + "f BY y1 y2; g BY y3 y4; x1 ON f g; fg | f XWITH g; x2 ON x1;")
    assert not spec.structure.known("")
    assert any("fg, an XWITH variable, is used in no statement" in n for n in notes)
    refused(
        head + "f BY y1 y2; g BY y3 y4; fg | f XWITH g; x1 ON fg; xf | x1 XWITH f; x2 ON xf;", "products of products"
    )


def test_interactions_on_two_levels():
    head = HEAD + "USEV = y1-y4 z; CLUSTER = school; BETWEEN = z;\n" + RANDOM + "MODEL: "
    text = (
        head + "%WITHIN% f BY y1 y2; fy | f XWITH y4; y3 ON f y4 fy; f WITH y4;\n"
        "%BETWEEN% y3 ON y4 y1 y14 (a b c); y14 | y1 XWITH y4; y4 y2 WITH y1; y4 WITH y2; y3 ON z;"
    )
    same(
        text,
        within="f =~ 1*y1 + y2; y3 ~ f + y4 + f:y4; f ~~ y4",
        between="y3 ~ a*y4 + b*y1 + c*y1:y4 + z; y4 ~~ y1 + y2; y2 ~~ y1",
    )
    spec, _, _, words = build(text)
    found = {(line.level, line.header, line.parameter) for line in lines(spec.table, words)}
    assert {("Within", "Y3 ON", "FY"), ("Between", "Y3 ON", "Y14")} <= found
    refused(
        head + "%WITHIN% f BY y1-y3; fz | f XWITH z; y4 ON f fz; %BETWEEN% fb BY y1-y3; y4 ON fb z;",
        "z is a variable of %BETWEEN%",
        "s | y ON f; under %WITHIN%, s ON z; under %BETWEEN%",
    )
    refused(
        head
        + "%WITHIN% f BY y1-y3; fb BY y2-y4; g | f XWITH fb; y4 ON f; %BETWEEN% b BY y1-y3; bz | b XWITH z; y4 ON g;",
        "g is a product under %WITHIN%: define one with another name",
    )
    refused(
        head + "%WITHIN% yy | y1 XWITH y2; y3 ON y1 y2 yy; %BETWEEN% yy | y1 XWITH y2; y3 ON y1 y2 yy;",
        "yy is a product of the other level already",
    )


def test_a_predictor_within_is_modelled_where_a_product_multiplies_it():
    """It has a mean and a variance, and a note says so; not if the input models it, or multiplies covariates only."""
    head = HEAD + "USEV = y1 y2 x1 x2; CLUSTER = school; WITHIN = x1 x2;\n" + RANDOM
    text = head + "MODEL: %WITHIN% y2 ON x1; yx | y2 XWITH x1; y1 ON y2 x1 x2 yx; %BETWEEN% y1 ON y2;"
    within = "y2 ~ x1; y1 ~ y2 + x1 + x2 + y2:x1; x1 ~~ x1; x1 ~ 1"
    same(text, within=within, between="y1 ~ y2")
    _, notes, *_ = build(text)
    assert any("y1 ON y2 x1 x2 yx: x1 is modelled, with a mean and a variance" in n for n in notes)
    _, notes, *_ = build(text.replace("%BETWEEN%", "x1; %BETWEEN%"))
    assert not any("is modelled" in n for n in notes)
    spec, *_ = build(head + "MODEL: %WITHIN% xx | x1 XWITH x2; y1 ON x1 x2 xx; %BETWEEN% y1 ON y2;")
    assert "x1" not in spec.structure.within


def test_an_interaction_with_a_latent_variable():
    spec = same(
        HEAD
        + "USEV = y1 y2 z; CLUSTER = school; BETWEEN = z;\n"
        + RANDOM
        + "MODEL: %WITHIN% y1 ON y2; %BETWEEN% zy | z XWITH y2; y1 ON y2 z; y1 ON zy (b); y2 ON z;",
        within="y1 ~ y2",
        between="y1 ~ y2 + z + b*z:y2; y2 ~ z",
    )
    assert [r.rhs for r in spec.table.rows if r.label == "b"] == ["z:y2"]


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("y1 ON x1 [y1];", ["'['", "missing"]),
        ("y1 ON x1 y2 ON x2;", ["two relations", "missing"]),
        ("y1 ON z;", ["z is a column", "USEVARIABLES"]),
        ("y1 ON q;", ["q is not among"]),
        ("y1 ON y1;", ["itself"]),
        ("y1 ON ;", ["expected a name after ON"]),
        ("ON x1;", ["expected a name before ON"]),
        ("y1@;", ["expected the number"]),
        ("y1 ON x1 (b;", ["not closed"]),
        ("(b);", ["behind the parameters"]),
        ("[y1$1];", ["y1 has no thresholds", "CATEGORICAL"]),
        ("{y1};", ["scale factors"]),
        ("%WITHIN% y1 ON x1;", ["TWOLEVEL"]),
        ("%OVERALL% y1 ON x1;", ["classes"]),
        ("s | y1 ON x1;", ["TWOLEVEL RANDOM"]),
        ("y1 y2 PON x1;", ["pairs"]),
        ("f BY y1-y2 (*1);", ["exploratory"]),
        ("y1 = x1;", ["'='"]),
        ("y1 XWITH x1;", ["needs a name"]),
        ("y1 ON y2; y2 ON y1;", ["loop"]),
        ("y1 ON y2; y2 ON y1; y1 ON x1;\nMODEL INDIRECT: y2 IND x1;", ["loop"]),
        ("y1 ~ N(0, 1);", ["MODEL PRIORS"]),
    ],
)
def test_statements_are_refused(statements, words):
    refused(HEAD + "USEV = y1 y2 x1 x2;\n" + ONE + "MODEL: " + statements, *words)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("y1 ON x1;", ["%WITHIN%"]),
        ("%WITHIN% y1 ON z; %BETWEEN% y1;", ["z is declared BETWEEN"]),
        ("%WITHIN% y1 ON x1; %BETWEEN% y1 ON x2;", ["x2 is declared WITHIN"]),
        ("%WITHIN% [y1]; %BETWEEN% y1;", ["%BETWEEN%"]),
        ("%BETWEEN% s | y1 ON z;", ["under %WITHIN%"]),
        ("%WITHIN% f BY y1 y2; [f]; %BETWEEN% y1;", ["[f@0]"]),
        ("%WITHIN% s | y1 ON x1; %BETWEEN% s@0;", ["write the path"]),
        ("%WITHIN% logv | y1; %BETWEEN% y1;", ["random residual variances"]),
        ("%WITHIN% s | y1 ON x1 x2; %BETWEEN% y1;", ["1 slopes are named for 2 paths"]),
        ("%WITHIN% s | y1 ON x1; y1 ON x1; %BETWEEN% y1;", ["the random slope s"]),
        ("%WITHIN% s | y1 ON x1; y1 ON s; %BETWEEN% y1;", ["s is a random slope"]),
        ("%WITHIN% f BY y1 y2; %BETWEEN% y1 ON f;", ["other level"]),
        ("%MIDDLE% y1;", ["no level"]),
    ],
)
def test_statements_of_levels_are_refused(statements, words):
    head = HEAD + "USEV = y1 y2 x1 x2 z; CLUSTER = school; BETWEEN = z; WITHIN = x2;\n" + RANDOM
    refused(head + "MODEL: " + statements, *words)


def test_random_intercepts_with_predictors_covary_unless_the_type_is_random():
    """User's Guide, examples 9.3 and 9.5."""
    variables = HEAD + "USEV = y1 y2 x1 x2 z; CLUSTER = school; WITHIN = x1 x2; BETWEEN = z;\n"
    same(
        variables + TWO + "MODEL: %WITHIN% y1 ON x1 x2; y2 ON y1 x2; %BETWEEN% y1 y2 ON z;",
        within="y1 ~ x1 + x2; y2 ~ y1 + x2",
        between="y1 + y2 ~ z; y1 ~~ y2",
    )
    same(
        variables
        + RANDOM
        + "MODEL: %WITHIN% s2 | y2 ON y1; y2 ON x2; s1 | y1 ON x2; y1 ON x1; %BETWEEN% y1 y2 s1 s2 ON z;",
        within="s2 | y2 ~ y1; y2 ~ x2; s1 | y1 ~ x2; y1 ~ x1",
        between="y1 + y2 + s1 + s2 ~ z; y1 ~~ 0*y2",
    )


def test_a_variance_that_is_fixed_at_zero_has_no_covariance_by_default():
    same(
        HEAD + "USEV = y1-y4 x1;\n" + ONE + "MODEL: i s | y1@0 y2@1 y3@2 y4@3; s@0; x1;",
        model="i =~ 1*y1 + 1*y2 + 1*y3 + 1*y4; s =~ 0*y1 + 1*y2 + 2*y3 + 3*y4; i + s ~ 1; y1 + y2 + y3 + y4 ~ 0*1; "
        "s ~~ 0*s + 0*i + 0*x1; x1 ~~ x1; i ~~ 0*x1",
    )


def test_a_growth_curve_of_factors_begins_at_zero():
    """User's Guide, example 6.14."""
    spec, *_ = build(
        HEAD + "USEV = y1-y6;\n" + ONE + "MODEL: f1 BY y1 y2; f2 BY y3 y4; f3 BY y5 y6; i s | f1@0 f2@1 f3@2;"
    )
    means = {r.lhs: r.fixed for r in spec.table.rows if r.op == "~1"}
    assert (means["i"], means["s"], means["f1"]) == (0.0, None, 0.0)


def test_what_an_option_asks_for_is_noted():
    """So that no option can be deleted unseen."""
    head = HEAD + "USEV = y1 y2 x1; {}\nANALYSIS: ESTIMATOR = BAYES; {}\nMODEL: y1 y2 ON x1;\n{}"
    for variable, analysis, rest, words in [
        ("", "POINT = MEAN;", "", "posterior means"),
        ("", "PREDICTOR = LATENT;", "", "without it"),
        ("", "TYPE = RANDOM;", "", "one level"),
        ("", "", "OUTPUT: CINTERVAL(HPD);", "highest-density"),
        ("", "", "SAVEDATA: BPARAMETERS = 'a = b.dat';", "all draws"),
        ("", "", "SAVEDATA: SAVE = FSCORES(50);", "factor scores"),
    ]:
        assert any(words in note for note in build(head.format(variable, analysis, rest))[1]), words
    refused(head.format("", "PREDICTOR = OBSERVED;", ""), "WITHIN")
    two = HEAD + "USEV = y1 x1; CLUSTER = school; WITHIN = x1 x2;\n" + TWO + "MODEL: %WITHIN% y1 ON x1; %BETWEEN% y1;"
    assert any("WITHIN x2: not among USEVARIABLES" in note for note in build(two)[1])
    assert any("one parameter" in note for note in build(head.format("", "", "MODEL: y1 ON x1;"))[1])
    flat = head.format("", "", "").replace("ON x1;", "ON x1 (a b);") + "MODEL PRIORS: a ~ N(0, infinity);"
    assert any("without it" in note for note in build(flat)[1])


def test_a_path_between_quotes_may_have_colons_and_words():
    text = HEAD.replace("trial.dat", '"C:my file = is model: trial.dat"') + "USEV = y1 y2;\n" + ONE + "MODEL: y1 ON y2;"
    assert build(text)[2].file == "C:my file = is model: trial.dat"


# ------------------------------------------------------------------------------------------- constraints, indirect, priors

PATHS = HEAD + "USEV = y1 y2 y3 x1;\n" + ONE + "MODEL: y1 ON y2 (b); y1 ON x1 (c); y2 ON x1 (a); y3 ON x1 (d);\n"


def test_new_parameters_in_any_order():
    spec, *_ = build(
        PATHS + "MODEL CONSTRAINT: NEW(tot ind*.5 k); tot = ind + C; ind = A*b**2/exp(-k); k = LOG10(100)*a;"
    )
    assert [name for name, _ in spec.table.derived] == ["k", "ind", "tot"]
    values = {"a": 0.5, "b": 3.0, "c": 1.0}
    for name, expression in spec.table.derived:
        values[name] = float(expression(values))
    assert values["k"] == pytest.approx(1.0)
    assert values["ind"] == pytest.approx(0.5 * 9 * 2.718281828459045)
    assert values["tot"] == values["ind"] + 1


def test_new_parameters_may_be_constants():
    """Simple slopes are written so: low = -1; slope = b + c*low."""
    spec, *_ = build(PATHS + "MODEL CONSTRAINT: NEW(slope low); low = -1; slope = a + b*low;")
    values = {"a": 0.5, "b": 3.0}
    for name, expression in spec.table.derived:
        values[name] = float(expression(values))
    assert (values["low"], values["slope"]) == (-1.0, -2.5)


def test_constraints_that_make_equal_and_that_fix():
    spec, *_ = build(PATHS + "MODEL CONSTRAINT: 0 = a - d; b = 0.3;")
    other, *_ = build(PATHS + "MODEL CONSTRAINT: a - d = 0; 0.3 = b;")
    assert rows(other.table) == rows(spec.table)
    twice, *_ = build(PATHS + "MODEL CONSTRAINT: NEW(k); k = a*b; a = d;")
    assert [str(expression) for _, expression in twice.table.derived] == ["d*b"]
    labels = {(r.lhs, r.rhs): (r.label, r.fixed) for r in spec.table.rows if r.op == "~"}
    assert labels["y2", "x1"] == labels["y3", "x1"] == ("d", None)
    assert labels["y1", "y2"] == ("", 0.3)


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("a > 0;", ["bounds"]),
        ("NEW(q); q = a*e;", ["e is neither"]),
        ("NEW(q);", ["no equation"]),
        ("NEW(q r); q = r; r = q + a;", ["by each other"]),
        ("a = b*c;", ["holds labels equal", "NEW"]),
        ("NEW(q r); q = a; r = b; 0 = q - r;", ["q is a new parameter", "difference"]),
        ("a < 1;", ["no bounds", "MODEL PRIORS", "U(0, 1)"]),
        ("NEW(a); a = b;", ["label in MODEL already"]),
        ("NEW(q); q = sin(a);", ["sin", "not supported"]),
        ("NEW(q); q = ;", ["expected an expression"]),
        ("NEW(q); q = a*(b;", ["derived"]),
        ("DO (1, 3) q# = a;", ["neither"]),
        ("DO (1, 3) q = a;", ["no #"]),
    ],
)
def test_constraints_are_refused(statements, words):
    refused(PATHS + "MODEL CONSTRAINT: " + statements, *words)


def test_indirect_effects():
    spec, notes, _, derived = build(
        HEAD
        + "USEV = y1 y2 y3 x1;\n"
        + ONE
        + "MODEL: y1 ON y2 y3 x1; y2 ON x1; y3 ON x1 y2;\nMODEL INDIRECT: y1 IND x1; y1 IND y2 x1; y1 VIA y3 x1;"
    )
    assert any("y1 VIA y3 x1: 2 of its effects are there already" in note for note in notes)
    b12, b13, c, a2, a3, d = 0.5, 0.7, 0.2, 2.0, 3.0, 0.1
    of = {("y1", "y2"): b12, ("y1", "y3"): b13, ("y1", "x1"): c, ("y2", "x1"): a2, ("y3", "x1"): a3, ("y3", "y2"): d}
    values = {r.label: of[r.lhs, r.rhs] for r in spec.table.rows if r.op == "~"}
    for name, expression in spec.table.derived:
        values[name] = float(expression(values))
    by = {derived.effects[k]: v for k, v in values.items() if k in derived.effects}
    ways = {"y1 y2 x1": a2 * b12, "y1 y3 x1": a3 * b13, "y1 y3 y2 x1": a2 * d * b13}
    heading = "Effects from X1 to Y1"
    for way, value in ways.items():
        assert by[heading, f"Specific indirect: {way.upper()}"] == pytest.approx(value)
    assert by[heading, "Direct"] == c
    assert by[heading, "Total indirect"] == pytest.approx(sum(ways.values()))
    assert by[heading, "Total"] == pytest.approx(sum(ways.values()) + c)
    assert by[f"{heading} via Y3", "Sum of indirect"] == pytest.approx(ways["y1 y3 x1"] + ways["y1 y3 y2 x1"])


def test_priors_of_the_input_and_flat_ones_for_the_rest():
    spec, *_ = build(
        PATHS.replace("(d);", "(d); y1 (v); y2 (w);")
        + "MODEL PRIORS: a-b ~ N(.8, 5); c ~ N(0, infinity); d ~ U(-1,1);\nv ~ IG(.5, 2); w ~ IG(-1,0);"
    )
    assert spec.priors == {
        "a": bh.Normal(0.8, 5**0.5),
        "b": bh.Normal(0.8, 5**0.5),
        "c": bh.Flat(),
        "d": bh.Uniform(-1, 1),
        "v": bh.VarianceInverseGamma(0, 2),  # y1 covaries with y3: a factor sd of the Jacobian
        "w": bh.Power(1),
        "others": "mplus",
    }


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("q ~ N(0, 1);", ["q is no label", "b, c, a, d"]),
        ("a ~ IG(1, 1);", ["coefficient", "N(mean, variance)"]),
        ("a ~ N(0, -1);", ["positive"]),
        ("a ~ N(0);", ["labels ~ distribution"]),
        ("a ~ N(x, 1);", ["no number"]),
        ("a ~ D(10, 10);", ["D is not supported"]),
        ("COVARIANCE(a, b) = .5;", ["COVARIANCE"]),
    ],
)
def test_priors_are_refused(statement, words):
    refused(PATHS + "MODEL PRIORS: " + statement, *words)


def test_priors_of_differences_are_refused_as_such():
    head = HEAD + "USEV = y1 x1 x2;\n" + ONE + "MODEL: y1 ON x1 x2 (b1 b2);\nMODEL PRIORS: "
    for statement in ("DIFF(b1-b2) ~ N(0, .01);", "DIFFERENCE(b1, b2) ~ N(0, .01);", "COVARIANCE(b1, b2) = .5;"):
        refused(head + statement, statement[:4], "not supported", "one label")


def test_products_stand_on_the_right_of_ON():
    head = (
        HEAD
        + "USEV = y1-y6 x1;\nANALYSIS: TYPE = RANDOM; ESTIMATOR = BAYES;\nMODEL: f BY y1-y3; g BY y4-y5; fg | f XWITH g;\n"
    )
    build(head + "y6 ON f g fg;")
    refused(head + "y6 ON fg; fg WITH f@0;", "fg is a product", "right of ON")
    refused(head + "y6 ON fg; [fg@0];", "fg is a product")
    refused(head + "y6 ON fg; fg ON x1;", "fg is a product")
    refused(head + "fgx | fg XWITH x1; y6 ON fgx;", "fg is a product itself", "DEFINE")


def test_probabilities_of_a_probit_are_computed():
    spec, *_ = build(
        HEAD + "USEV = y1 x1;\n" + ONE + "MODEL: y1 ON x1 (b); [y1] (m);\nMODEL CONSTRAINT: NEW(p); p = PHI(m + 2*b);"
    )
    assert spec.table.derived[0][1]({"m": np.array(-1.0), "b": np.array(0.5)}) == pytest.approx(0.5)


def test_new_parameters_stand_in_parentheses():
    head = HEAD + "USEV = y1 x1;\n" + ONE + "MODEL: y1 ON x1 (b);\nMODEL CONSTRAINT: "
    for statement in ("NEW d; d = 2*b;", "NEW = d; d = 2*b;", "NEW(d) d = 2*b;"):
        refused(head + statement, "line 7, MODEL CONSTRAINT: NEW", "stand in parentheses", "NEW(ind)")
