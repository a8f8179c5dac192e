"""Mplus inputs: lexical rules, names, options."""

from pathlib import Path

import pytest
from mplus_inputs import HEAD, ONE, build, refused, rows

from bayeshte import mplus
from bayeshte.mplus import source
from bayeshte.mplus.names import found, numbered
from bayeshte.mplus.read import parse

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
        ("COUNT = y1;", ["COUNT", "continuous"]),
        ("GROUPING = z (0 = a 1 = b);", ["USEOBSERVATIONS"]),
        ("CATEGORICAL = y1 (gpcm);", ["partial credit"]),
        ("CATEGORICAL = (*);", ["CATEGORICAL = u1-u5"]),
        ("CATEGORICAL = y9;", ["y9 is not among the names"]),
        ("IDVARIABLE = id; CATEGORICAL = y1 id;", ["id identifies rows"]),
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
        ("ESTIMATOR = BAYES; MODEL = NOMEANSTRUCTURE;", ["NOCOVARIANCES is supported", "delete this one"]),
        ("ESTIMATOR = BAYES; POINT = MIDDLE;", ["MIDDLE"]),
        ("ESTIMATOR = BAYES; LINK = LOGIT;", ["PROBIT"]),
        ("ESTIMATOR = BAYES; PARAMETERIZATION = RESCOV;", ["THETA"]),
        ("ESTIMATOR = BAYES; MEDIATOR = OBSERVED;", ["latent response"]),
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


def test_bootstrap_intervals_are_equal_tailed_ones():
    """Inputs of maximum likelihood ask for them."""
    given_text = HEAD + "USEV = y1 y2;\n" + ONE + "MODEL: y1 ON y2;\nOUTPUT: SAMPSTAT; CINTERVAL(BCBOOTSTRAP);"
    _, notes, s, _ = build(given_text)
    assert s.interval == "eti"
    assert any("CINTERVAL(BCBOOTSTRAP)" in n and "equal-tailed" in n for n in notes)


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


def test_dashes_of_word_processors_are_hyphens():
    usual = "MODEL: y1-y2 ON x1; [y1*-1];"
    head = HEAD + "USEV = y1-y2 x1;\n" + ONE
    assert rows(build(head + usual.replace("-", "\u2013"))[0].table) == rows(build(head + usual)[0].table)


def test_centering_of_older_versions_is_that_of_define():
    text = HEAD + "USEV = y1 x1; CENTERING = GRANDMEAN (x1);\n" + ONE + "MODEL: y1 ON x1;"
    now = text.replace("CENTERING = GRANDMEAN (x1);", "").replace(ONE, "DEFINE: CENTER x1 (GRANDMEAN);\n" + ONE)
    old, new = (mplus.program(parse(t, Path("trial.inp"))) for t in (text, now))
    assert old == new
    assert "x1" in old
    assert "mean()" in old


def test_types_of_older_versions_are_noted():
    _, notes, s, _ = build(HEAD + "USEV = y1 x1;\nANALYSIS: TYPE = MISSING H1; ESTIMATOR = BAYES;\nMODEL: y1 ON x1;")
    assert s.types == {"GENERAL"}
    assert len([n for n in notes if "of older versions" in n]) == 2
