"""Mplus inputs become specifications: lexical rules, options, MODEL with its defaults, constraints, priors."""

import contextlib
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayeshte as bh
from bayeshte.errors import DataError, SpecError
from bayeshte.model_text import parameter_table
from bayeshte.mplus import constraint, model, options, priors, source, text
from bayeshte.mplus.names import found, numbered

HEAD = """TITLE: A trial: of something
DATA: FILE IS trial.dat;
VARIABLE: NAMES ARE id school y1-y6 x1 x2 z;
"""
ONE = "ANALYSIS: ESTIMATOR = BAYES;\n"
TWO = "ANALYSIS: TYPE = TWOLEVEL; ESTIMATOR = BAYES;\n"
RANDOM = "ANALYSIS: TYPE = TWOLEVEL RANDOM; ESTIMATOR = BAYES;\n"


def build(given_text, new=()):
    """The specification of an input, with what was read on the way."""
    cut = source.cut(given_text)
    found_settings = options.settings(cut, new)
    parsed = model.read(cut, found_settings)
    derived = constraint.read(cut, parsed, found_settings)
    prior = priors.read(cut, parsed)
    notes = [*cut.notes, *found_settings.notes]
    arguments, _ = text.texts(parsed, found_settings, notes)
    spec = bh.SEM(
        **arguments,
        cluster=found_settings.cluster,
        derived=derived.texts,
        priors={**prior, "others": "mplus"} if prior else "mplus",
    )
    return spec, [*notes, *parsed.notes], found_settings, derived


def rows(table):
    """Rows by key, without who wrote them."""
    return {r.key: (r.label, r.fixed, r.start, r.slope) for r in table.rows}


def same(given_text, **expected):
    """The input gives the rows of a model text."""
    spec, *_ = build(given_text)
    assert rows(spec.table) == rows(parameter_table(**expected))
    return spec


def refused(given_text, *words):
    """The message of the error holds the words, and a line."""
    with pytest.raises(SpecError) as caught:
        build(given_text)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------ lexical rules


def test_comments_commands_and_statements():
    cut = source.cut(
        "title: Mplus of: y ; by me\n! a comment; with: MODEL:\nmodel:\n  y ON x; ! note\n"
        "  !* all of\n z ON x; *!\n [y]\nOUTPUT: tech1"
    )
    assert cut.title == "Mplus of: y ; by me"
    assert [(s.command, s.text, s.line) for s in cut.statements] == [
        ("MODEL", "y ON x", 4),
        ("MODEL", "[y]", 7),
        ("OUTPUT", "tech1", 8),
    ]
    assert cut.notes == ("lines 5 to 6 are commented out, from !* to *!.",)


def test_a_command_that_is_named_twice_is_read_twice_and_noted():
    spec, notes, *_ = build(HEAD + "USEVARIABLES = y1 y2 x1;\n" + ONE + "MODEL: y1 ON y2;\nMODEL: y2 ON x1;")
    assert {(r.lhs, r.rhs) for r in spec.table.rows if r.op == "~"} == {("y1", "y2"), ("y2", "x1")}
    assert any("MODEL was named in line 6 already" in n for n in notes)


@pytest.mark.parametrize(
    ("given_text", "words"),
    [
        ("no input at all", ["no command"]),
        ("y ON x;\nMODEL: y ON x;", ["line 1", "before the first command"]),
        ("DATA: FILE = a;\nMODLE: y ON x;", ["line 2", "MODLE", "Did you mean"]),
        (HEAD + "USEV = y1 y2;\n" + ONE + "MODEL group1: y1 ON y2;", ["line 6", "groups"]),
    ],
)
def test_what_is_no_command(given_text, words):
    refused(given_text, *words)


def test_names_are_found_by_case_and_by_eight_characters():
    assert found("DEPRESSI", ["depression", "age"]) == "depression"
    assert found("Depression2", ["depression", "age"]) == "depression"
    assert found("depressi", ["depression1", "depression2"]) is None
    assert found("ag", ["age"]) is None
    assert numbered("y08", "y11") == ["y08", "y09", "y10", "y11"]
    assert numbered("y5", "y1") is None


def test_lists_go_by_the_order_of_names_or_by_numbers():
    s = build(HEAD + "USEVARIABLES = y1-y3 x1-z;\n" + ONE + "MODEL: y1-y3 ON x1 - z;")[2]
    assert s.use == ["y1", "y2", "y3", "x1", "x2", "z"]
    refused(HEAD + "USEVARIABLES = y1-q;\n" + ONE + "MODEL: y1;", "line 4", "y1-q is no list")


# ------------------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CATEGORICAL = y1;", ["CATEGORICAL", "continuous"]),
        ("CLASSES = c(2);", ["CLASSES", "not supported"]),
        ("GROUPING = z (0=a 1=b);", ["USEOBSERVATIONS"]),
        ("WEIGHT = z;", ["weights"]),
        ("USEVAR = y1 y9;", ["y9 is not among the names"]),
        ("CLUSTER = school z;", ["two levels at most"]),
        ("MISSING = ALL;", ["MISSING = ALL (-99)"]),
        ("MISSING = ALL (a);", ["numbers"]),
        ("FOO = 3;", ["FOO is no option"]),
        ("USEVAR = y1 y2 MISSING = .;", ["end the first with ';'"]),
        ("WITHIN = x1;", ["TWOLEVEL"]),
        ("AUXILIARY = (M) x1;", ["WITH"]),
    ],
)
def test_options_of_variable_are_refused(statement, words):
    message = refused(HEAD + statement + "\n" + ONE + "MODEL: y1 ON y2;", *words)
    assert message.startswith("line ")


@pytest.mark.parametrize(
    ("analysis", "words"),
    [
        ("TYPE = MIXTURE; ESTIMATOR = BAYES;", ["latent classes"]),
        ("TYPE = COMPLEX; ESTIMATOR = BAYES;", ["TWOLEVEL"]),
        ("TYPE = THREELEVEL; ESTIMATOR = BAYES;", ["two levels at most"]),
        ("ESTIMATOR = MLR;", ["--as-bayes"]),
        ("TYPE = GENERAL;", ["--as-bayes"]),
        ("TYPE = TWOLEVEL; ESTIMATOR = BAYES;", ["CLUSTER"]),
        ("ESTIMATOR = BAYES; MODEL = NOCOVARIANCES;", ["defaults"]),
        ("ESTIMATOR = BAYES; POINT = MIDDLE;", ["MIDDLE"]),
    ],
)
def test_analyses_are_refused(analysis, words):
    refused(HEAD + "USEV = y1 y2;\nANALYSIS: " + analysis + "\nMODEL: y1 ON y2;", *words)


def test_what_changes_nothing_is_noted():
    given_text = (
        HEAD
        + "USEV = y1 y2; IDVARIABLE = id;\nANALYSIS: EST IS bayes; PROCESSORS = 2; CHAINS = 4;\n"
        + "BITERATIONS = 100000 (40000);\nMODEL: y1 ON y2;\nOUTPUT: STDYX TECH1 TECH8 CINTERVAL(HPD);\nPLOT: TYPE = PLOT2;"
    )
    _, notes, s, _ = build(given_text)
    assert s.interval == "hdi"
    for word in (
        "PROCESSORS",
        "CHAINS",
        "BITERATIONS 100000 (40000)",
        "STDYX",
        "TECH1",
        "TECH8",
        "TYPE PLOT2",
        "IDVARIABLE",
    ):
        assert any(f": {word}" in n for n in notes), word


@pytest.mark.parametrize("value", ["(20000)", "100000 (40000)", "(40000) 100000", "20000"])
def test_forms_of_biterations(value):
    _, notes, *_ = build(HEAD + f"USEV = y1 y2;\nANALYSIS: ESTIMATOR = BAYES; BITERATIONS = {value};\nMODEL: y1 ON y2;")
    assert any(f"BITERATIONS {value}" in n for n in notes)


def test_missing_values_by_variable_range_and_symbol():
    s = build(HEAD + "USEV = y1 y2; MISSING ARE y1-y2 (9, 99) x1 (-9--1);\n" + ONE + "MODEL: y1 ON y2;")[2]
    assert s.missing == {"y1": [(9, 9), (99, 99)], "y2": [(9, 9), (99, 99)], "x1": [(-9, -1)]}
    s = build(HEAD + "USEV = y1 y2; MISSING = ALL (-99);\n" + ONE + "MODEL: y1 ON y2;")[2]
    assert set(s.missing) == set(s.names)
    for values, limits in {
        "-99 -98": [(-99, -99), (-98, -98)],
        "9 - 12": [(9, 12)],
        "-9-12": [(-9, 12)],
        "-9.5e1, 8": [(-95, -95), (8, 8)],
    }.items():
        s = build(HEAD + f"USEV = y1 y2; MISSING = y1 ({values});\n" + ONE + "MODEL: y1 ON y2;")[2]
        assert s.missing == {"y1": limits}, values
    assert build(HEAD + "USEV = y1 y2; MISSING = .;\n" + ONE + "MODEL: y1 ON y2;")[2].symbol == "."


# ------------------------------------------------------------------------------------------------------------ MODEL


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
    same(head + "MODEL: y1-y3 WITH y1-y3; y4;", model="y1 ~~ y2 + y3; y2 ~~ y3; y1 ~~ y1; y2 ~~ y2; y3 ~~ y3; y4 ~~ y4")
    same(head + "MODEL: y1 y2 PWITH y3 y4@0;", model="y1 ~~ y3; y2 ~~ 0*y4; y1 ~~ y2 + y4; y2 ~~ y3; y3 ~~ y4")


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
        ("[y1$1];", ["categorical"]),
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
        "s ~~ 0*s + 0*i + 0*x1; x1 ~~ x1; i ~~ x1",
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
        ("a = b*c;", ["constraints other than"]),
        ("NEW(a); a = b;", ["label in MODEL already"]),
        ("NEW(q); q = sin(a);", ["sin", "not supported"]),
        ("NEW(q); q = ;", ["expected an expression"]),
        ("NEW(q); q = a*(b;", ["derived"]),
        ("DO (1, 3) q# = a;", ["neither"]),
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
        "v": bh.VarianceInverseGamma(0.5, 2),
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


# ------------------------------------------------------------------------------------------------------- properties

INPUTS = [
    HEAD
    + "USEVARIABLES = y1 y2 y3 x1; MISSING = ALL (-99);\nANALYSIS: ESTIMATOR = BAYES; CHAINS = 2; PROCESSORS = 2;\n"
    "MODEL: y1 ON y2 (b1) y3 (b2) x1; y2 ON x1 (a1); y3 ON x1*0.5 (a2); y2 WITH y3;\n[y1] (m); y1 (v);\n"
    "MODEL CONSTRAINT: NEW(ind tot); ind = a1*b1 + a2*b2; tot = ind/2;\nMODEL PRIORS: b1-b2 ~ N(0, 10);\n"
    "OUTPUT: STDYX TECH8 CINTERVAL(HPD);",
    HEAD + "USEVARIABLES = y1-y4 x1 z; CLUSTER = school; WITHIN = x1; BETWEEN = z;\nANALYSIS: TYPE = TWOLEVEL RANDOM; "
    "ESTIMATOR = BAYES; BITERATIONS = (20000);\nMODEL: %WITHIN% fw BY y1-y3; s | y4 ON x1; y4 ON fw;\n"
    "%BETWEEN% fb BY y1-y3* (l1-l3); fb@1; y4 s ON z fb; y4 WITH s; [s] (ms);\nMODEL CONSTRAINT: NEW(q); q = ms*l1;",
]


def scrambled(given_text: str, rng: random.Random) -> str:
    """Other case, other blanks and ends of lines, comments; a title stays."""
    out = []
    for part in re.split(r"(\s+|[=();,*@\[\]/+|-])", given_text.split("\n", 1)[1]):
        if part.isspace():
            out.append(rng.choice([" ", "\n", "\t", "  \n", " ! y1 ON y2; comment\n"]))
        else:
            out.append("".join(c.upper() if rng.random() < 0.5 else c.lower() for c in part))
    return given_text.split("\n", 1)[0] + "\n" + "".join(out)


@pytest.mark.parametrize("given_text", INPUTS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_case_line_breaks_and_comments_change_nothing(given_text, seed):
    spec, *_ = build(given_text)
    other, *_ = build(scrambled(given_text, random.Random(seed)))
    assert (other.model, other.within, other.between) == (spec.model, spec.within, spec.between)
    assert (other.derived, other.priors, other.cluster) == (spec.derived, spec.priors, spec.cluster)


@pytest.mark.parametrize("given_text", INPUTS)
def test_no_statement_is_without_effect(given_text):
    cut = source.cut(given_text)
    whole = build(given_text)

    def visible(found_):
        spec, notes, s, _ = found_
        table = [(r.name, r.label, r.fixed, r.start, r.slope, r.given) for r in spec.table.rows]
        data = (s.file, s.names, s.use, s.missing, s.symbol, s.cluster, s.listwise)
        return repr(
            (table, spec.table.derived, spec.priors, data, s.interval, s.point, [n.split(": ", 1)[-1] for n in notes])
        )

    for k, gone in enumerate(cut.statements):
        kept = [s for j, s in enumerate(cut.statements) if j != k]
        commands = dict.fromkeys(s.command for s in kept)
        less = "\n".join(f"{c}: " + " ".join(f"{s.text};" for s in kept if s.command == c) for c in commands)
        marker = re.match(r"\s*(%\w+%)", gone.text)
        if marker:  # the level stays
            following = next((s for s in cut.statements[k + 1 :] if s.command == "MODEL"), None)
            if following is not None:
                less = less.replace(f"{following.text};", f"{marker[1]} {following.text};", 1)
        try:
            other = build(less)
        except SpecError:
            continue
        assert visible(other) != visible(whole), gone


NAMES = ("y1", "y2", "y3", "x1", "x2")


@st.composite
def models(draw):
    """A recursive path model: (lhs, op, rhs, modifier) in random order, each at most once."""
    lines = []
    for j, y in enumerate(NAMES[:3]):
        for x in NAMES[j + 1 :]:
            if draw(st.booleans()):
                lines.append((y, "~", x))
    if draw(st.booleans()):
        lines.append(("y1", "~~", "y2"))
    lines += [(v, "~~", v) for v in NAMES]
    if draw(st.booleans()):
        lines.append(("y3", "~1", ""))
    said = []
    for k, line in enumerate(draw(st.permutations(lines))):
        kind = draw(st.sampled_from(["plain", "label", "fixed", "start", "both"]))
        value = draw(st.sampled_from([0.25, 1.0, 2.5]))
        said.append((*line, kind, f"p{k}", value))
    return said


@given(models())
@settings(max_examples=60, deadline=None)
def test_a_random_model_is_read_as_it_was_meant(lines):
    mplus, lavaan = [], []
    for lhs, op, rhs, kind, label, value in lines:
        left, right = {"fixed": (f"@{value}", f"{value}*"), "start": (f"*{value}", f"start({value})*")}.get(
            kind, ("", "")
        )
        if kind == "both":
            left, right = f"*{value}", f"{label}*"
        behind = f" ({label})" if kind in ("label", "both") else ""
        right = f"{label}*" if kind == "label" else right
        words = {"~": f"{lhs} ON {rhs}{left}{behind}", "~1": f"[{lhs}{left}]{behind}"}
        words["~~"] = f"{lhs}{left}{behind}" if lhs == rhs else f"{lhs} WITH {rhs}{left}{behind}"
        mplus.append(words[op] + ";")
        target = "1" if op == "~1" else rhs
        lavaan.append(f"{lhs} {'~' if op == '~1' else op} {right}{target}")
        if kind == "both":
            lavaan.append(f"{lhs} {'~' if op == '~1' else op} start({value})*{target}")
    head = HEAD + "USEV = y1-y3 x1 x2;\n" + ONE
    same(head + "MODEL: " + " ".join(mplus), model="\n".join(lavaan))


WORDS = st.sampled_from(
    [*("MODEL:", "VARIABLE:", "ANALYSIS:", "y1", "y2", "x1", "ON", "WITH", "BY", "|", ";", "(", ")", "@", "*", "0.5", "-"),
     *("[", "]", "%WITHIN%", "%BETWEEN%", "=", "MODEL CONSTRAINT:", "NEW", "MODEL PRIORS:", "~", "N(0,1)", "IND", "y1-y3"),
     *("MODEL INDIRECT:", "USEVARIABLES", "CLUSTER", "school", "TYPE = TWOLEVEL RANDOM", "XWITH", "MISSING", "!", "\n", "'")]
)  # fmt: skip


@given(st.lists(WORDS, max_size=25))
@settings(max_examples=150, deadline=None)
def test_whatever_is_written_is_read_or_refused(words):
    with_error = HEAD + "USEV = y1-y3 x1 school;\n" + ONE + "MODEL: y1 ON x1; " + " ".join(words)
    with contextlib.suppress(SpecError, DataError):
        build(with_error)


@given(st.text(max_size=80))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(anything):
    with contextlib.suppress(SpecError, DataError):
        build(HEAD + "USEV = y1-y3 x1;\n" + ONE + "MODEL: y1 ON x1; " + anything)


@st.composite
def two_level_models(draw):
    """Statements of a two-level model with factors, slopes, labels and fixed values, as (Mplus, model text) by level."""
    labels = iter(f"q{k}" for k in range(100))

    def said(kinds=("plain", "label", "fixed", "start")):
        kind, value = draw(st.sampled_from(kinds)), draw(st.sampled_from([0.5, 1.5]))
        label = next(labels)
        return {
            "plain": ("", "", ""),
            "label": ("", f" ({label})", f"{label}*"),
            "fixed": (f"@{value}", "", f"{value}*"),
            "start": (f"*{value}", "", f"start({value})*"),
        }[kind]

    def path(y, x):
        mark, behind, before = said()
        return f"{y} ON {x}{mark}{behind};", f"{y} ~ {before}{x}"

    within, between = [], []
    slope = draw(st.booleans())
    within.append(("s | y1 ON x1;", "s | y1 ~ x1") if slope else path("y1", "x1"))
    within += [path("y1", "y2"), path("y2", "x1")]
    between += [path("y1", "z"), path("y2", "z")]
    between.append(path("y1", "y2") if draw(st.booleans()) else ("", "y1 ~~ 0*y2"))  # RANDOM: apart unless WITH says so
    if slope:
        between.append(path("s", "z"))
        mark, behind, before = said()
        between.append((f"[s{mark}]{behind};", f"s ~ {before}1"))
        if draw(st.booleans()):
            mark, behind, before = said(("plain", "label", "start"))
            between.append((f"s WITH y1{mark}{behind};", f"s ~~ {before}y1"))
    mark, behind, before = said(("plain", "label"))
    f_within = (f"fw BY y3 y4{mark}{behind} y5;", f"fw =~ 1*y3 + {before}y4 + y5")
    f_between = ("fb BY y3-y5*; fb@1;", "fb =~ NA*y3 + y4 + y5; fb ~~ 1*fb")
    order = [draw(st.permutations(level)) for level in (within + [f_within], between + [f_between, path("fb", "z")])]
    return ["\n".join(part) for level in order for part in zip(*level, strict=True)]


@given(two_level_models())
@settings(max_examples=40, deadline=None)
def test_a_random_two_level_model_is_read_as_it_was_meant(texts):
    mplus_within, within, mplus_between, between = texts
    same(
        HEAD
        + "USEV = y1-y5 x1 z; CLUSTER = school; WITHIN = x1; BETWEEN = z;\n"
        + RANDOM
        + f"MODEL: %WITHIN%\n{mplus_within}\n%BETWEEN%\n{mplus_between}",
        within=within,
        between=between,
    )
