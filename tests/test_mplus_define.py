"""DEFINE and USEOBSERVATIONS of a Mplus input: values by hand, the pandas code that says the same, refusals."""

import math

import numpy as np
import pandas as pd
import pytest
from mplus_define import DATA, NAMES, NAN, check, defined, executed, refused, said, setting

from bayeshte.errors import DataError, SpecError
from bayeshte.mplus import define
from bayeshte.mplus.source import Statement

# -------------------------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("16 / 4 / 2", 2),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("(-2) ** 2", 4),
        ("2 ** -1", 0.5),
        ("- - 3", 3),
        ("7 % 4", 3),
        ("-7 % 4", -3),
        ("2 * 7 % 4", 2),
        ("1.5D+01 + 1e1 + .5 + 2.", 27.5),
        ("LOG(EXP(2))", 2),
        ("log10(1000)", 3),
        ("Sqrt(16) + ABS(-3)", 7),
        ("SIN(0) + COS(0) + TAN(0)", 1),
        ("ASIN(1) - ACOS(0) + ATAN(0)", 0),
        ("PHI(0)", 0.5),
        ("PHI(1.959963984540054)", 0.975),
        ("1 / 0", NAN),
        ("LOG(0)", NAN),
        ("SQRT(-1)", NAN),
        ("_MISSING", NAN),
    ],
)
def test_arithmetic_by_hand(text, value):
    check(defined(f"new = {text}")["new"], *[value] * 6)
    check(defined(f"new = z - z + ({text})" if text != "_MISSING" else "new = _missing")["new"], *[value] * 6)


def test_a_missing_operand_makes_the_result_missing():
    check(defined("new = x + y")["new"], 1, NAN, NAN, -3.5, -1, 8)
    check(defined("new = 0 * x")["new"], 0, 0, NAN, 0, 0, 0)
    check(defined("new = x ** 0")["new"], 1, 1, NAN, 1, 1, 1)
    check(defined("new = 1 ** y")["new"], 1, NAN, 1, 1, 1, 1)
    check(defined("new = z ** y")["new"], 1, NAN, 1, 0, 1, 9)


def test_mean_and_sum_of_lists():
    check(defined("m = MEAN(x1-x3)")["m"], 2, 6, 6, NAN, 7 / 3, 8.5 / 3)
    check(defined("m = mean(x1 x3) + 1")["m"], 3, 9, 7, NAN, 4, 5.25)
    check(defined("s = SUM(x1, x2, x3)")["s"], 6, NAN, NAN, NAN, 7, 8.5)
    check(defined("x4 = 10", "s = SUM(x3-x4)")["s"], 13, 18, 19, NAN, 11, 12.5)


def test_undefined_values_are_counted():
    notes = setting()
    found = define.apply(said("w = LOG(x)", "v = 1/y"), DATA, notes)
    check(found["w"], 0, math.log(2), NAN, NAN, NAN, math.log(6))
    assert ["2 of 6 rows" in notes.notes[0], "line 10" in notes.notes[0], "LOG(x)" in notes.notes[0]] == [True] * 3
    assert ["1 of 6 rows" in notes.notes[1], "line 11" in notes.notes[1]] == [True] * 2
    notes = setting()
    define.apply(said("w = x + y", "IF (x GT 0) THEN v = LOG(x)", "u = _MISSING"), DATA, notes)
    assert notes.notes == []


def test_names_are_found_by_case_and_eight_characters():
    frame = DATA.rename(columns={"x": "long_name_1"})
    names = ["long_name_1", *NAMES[1:]]
    check(defined("NEW = Long_nam + Z", frame=frame, names=names)["new"], 3, 4, NAN, -4, 1, 9)
    check(defined("long_nam = 1", frame=frame, names=names)["long_name_1"], *[1] * 6)
    other = defined("long_name_2 = 3", frame=frame, names=names)  # printed alike, and yet another variable
    check(other["long_name_2"], *[3] * 6)
    check(other["long_name_1"], *frame["long_name_1"])


def test_statements_run_in_order():
    found = defined("a = x + 1", "x = 2 * a", "b = x")
    check(found["b"], 4, 6, NAN, -6, 2, 14)
    assert list(found.columns) == [*NAMES, "a", "b"]
    assert DATA["x"].tolist()[0] == 1  # the frame that was given is as it was


# ---------------------------------------------------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("x GT 1", [1, 5]),
        ("x > 1", [1, 5]),
        ("x GE 1", [0, 1, 5]),
        ("x >= 1", [0, 1, 5]),
        ("x LT 1", [3, 4]),
        ("x < 1", [3, 4]),
        ("x LE 1", [0, 3, 4]),
        ("x <= 1", [0, 3, 4]),
        ("x EQ 1", [0]),
        ("x == 1", [0]),
        ("x = 1", [0]),
        ("x NE 1", [1, 3, 4, 5]),
        ("x /= 1", [1, 3, 4, 5]),
        ("NOT x EQ 1", [1, 3, 4, 5]),
        ("not (x eq 1 or z eq 3)", [1, 3, 4]),
        ("x GT 1 AND y GT 1", [5]),
        ("x GT 1 OR y GT 0", [3, 5]),  # x is missing in row 2, y in row 1: the condition is unknown
        ("z EQ 2 OR x EQ 0 AND y EQ 5", [0]),  # AND goes before OR
        ("(z EQ 2 OR x EQ 0) AND y EQ -1", [4]),
        ("x EQ _MISSING", [2]),
        ("_MISSING EQ x", [2]),
        ("x NE _MISSING", [0, 1, 3, 4, 5]),
        ("x EQ _MISSING OR x GT 5", [2, 5]),
        ("x EQ _MISSING OR NOT x GT 1", [0, 2, 3, 4]),
        ("x NE _MISSING AND y NE _MISSING", [0, 3, 4, 5]),
        ("x + z GT 2", [0, 1, 5]),
        ("1/y GT 0", [2, 3, 5]),  # 1/0 is missing
        ("1/y NE 2", [2, 4, 5]),
        ("NOT LOG(x) GT 1", [0, 1]),  # LOG(-4) and LOG(0) are missing
    ],
)
def test_conditions(condition, rows):
    expected = [1.0 if k in rows else NAN for k in range(6)]
    check(defined(f"IF ({condition}) THEN new = 1")["new"], *expected)
    kept = define.select(Statement("VARIABLE", condition, 3), DATA, setting())
    assert kept.index.tolist() == rows
    code = executed([], Statement("VARIABLE", condition, 3), DATA, setting())
    pd.testing.assert_frame_equal(code, kept)


def test_if_leaves_what_it_does_not_change():
    found = defined(
        "IF (x GT 1) THEN z = x*10", "IF (x LE 1) THEN new = 0", "IF (x GT 1 AND z GT 20) THEN new = _MISSING"
    )
    check(found["z"], 2, 20, 1, 0, 1, 60)
    check(found["new"], 0, NAN, NAN, 0, 0, NAN)
    found = defined("IF (y EQ 0) THEN y = _MISSING")
    check(found["y"], NAN, NAN, 3, 0.5, -1, 2)


def test_useobservations_notes_and_refuses():
    notes = setting()
    kept = define.select(Statement("VARIABLE", "g EQ 7", 3), DATA, notes)
    pd.testing.assert_frame_equal(kept, DATA[DATA["g"] == 7])
    assert notes.notes == ["line 3: USEOBSERVATIONS g EQ 7: 3 of 6 rows are used."]
    with pytest.raises(DataError, match=r"line 3(.|\n)*none of 6 rows"):
        define.select(Statement("VARIABLE", "g EQ 8", 3), DATA, setting())
    with pytest.raises(SpecError, match="w is not among the names"):
        define.select(Statement("VARIABLE", "w EQ 8", 3), DATA, setting())


# ------------------------------------------------------------------------------------------------------- whole columns


def test_center():
    check(defined("CENTER x (GRANDMEAN)")["x"], 0, 1, NAN, -5, -1, 5)
    check(defined("center = x (grandmean)")["x"], 0, 1, NAN, -5, -1, 5)
    check(defined("center = x * (z)")["x"], *defined("other = z")["x"])
    check(defined("center x z (groupmean)")["x"], -0.5, 0.5, NAN, -2, 2, 0)
    check(defined("center x z (groupmean)")["z"], 1 / 3, 1 / 3, -2 / 3, -0.5, 0.5, 0)
    check(defined("CENTER x1-x2 (GROUPMEAN g)")["x2"], -1, 1, NAN, NAN, 0, 0)


def test_products_have_what_was_centered_before():
    found = defined("before = x * z", "CENTER x (GRANDMEAN)", "after = x * z", "CENTER z (GRANDMEAN)")
    check(found["before"], 2, 4, NAN, 0, 0, 18)
    check(found["after"], 0, 2, NAN, 0, -1, 15)


def test_standardize_divides_by_the_sd_with_n_minus_1():
    x = np.array([1, 2, -4, 0, 6])
    expected = (x - 1) / math.sqrt((0 + 1 + 25 + 1 + 25) / 4)
    check(defined("STANDARDIZE x")["x"], *expected[:2], NAN, *expected[2:])
    refused(
        "z1 does not vary in 6 rows",
        text="STANDARDIZE z1",
        error=DataError,
        frame=DATA.assign(z1=3.0),
        names=[*NAMES, "z1"],
    )


def test_cluster_mean():
    check(defined("m = CLUSTER_MEAN(x)")["m"], 1.5, 1.5, 1.5, -2, -2, 6)
    check(defined("d = x - CLUSTER_MEAN(x) / 2")["d"], 0.25, 1.25, NAN, -3, 1, 3)
    frame = DATA.assign(x=[NAN, NAN, NAN, 1, 2, 3])
    check(defined("m = CLUSTER_MEAN(x)", frame=frame)["m"], NAN, NAN, NAN, 1.5, 1.5, 3)
    labels = DATA.assign(g=["a", "a", "a", "b", "b", "c"])
    check(defined("m = CLUSTER_MEAN(x)", frame=labels)["m"], 1.5, 1.5, 1.5, -2, -2, 6)


def test_means_are_those_of_the_selected_rows():
    notes = setting()
    frame = define.select(Statement("VARIABLE", "z LE 2", 3), DATA, notes)
    found = define.apply(said("CENTER x (GRANDMEAN)"), frame, notes)
    check(found["x"], 1.25, 2.25, NAN, -3.75, 0.25)  # the mean of 1, 2, -4, 0
    code = executed(said("CENTER x (GRANDMEAN)"), Statement("VARIABLE", "z LE 2", 3), DATA, setting())
    pd.testing.assert_frame_equal(code, found)


def test_cut():
    check(defined("CUT x (0 2)")["x"], 1, 1, NAN, 0, 0, 2)  # 0: up to 0; 1: above 0, up to 2; 2: above 2
    found = defined("CUT y z (-0.5, 1)")
    check(found["y"], 1, NAN, 2, 1, 0, 2)
    check(found["z"], 2, 2, 1, 1, 1, 2)


def test_loops():
    found = defined("DO (1, 3) d# = x# - z", "DO (1,2) IF (x# EQ _MISSING) THEN x# = -9")
    check(found["d3"], 1, 6, 8, NAN, 0, -0.5)
    check(found["x2"], 2, 4, -9, -9, 1, 0)
    found = defined("DO ($,1,2) DO (#,2,3) p$# = x$ * # + $")
    assert list(found.columns)[len(NAMES) :] == ["p12", "p13", "p22", "p23"]
    check(found["p23"], 8, 14, NAN, NAN, 5, 2)


def test_new_variables_and_columns_used():
    statements = said(
        "Int = x*z", "IF (y GT 1) THEN grp = 1", "DO (1,2) d# = x#", "CENTER x1 (GRANDMEAN)", "int = int / 2"
    )
    assert define.new_variables(statements) == ["int", "grp", "d1", "d2"]
    condition = Statement("VARIABLE", "g EQ 1", 3)
    assert define.used(statements, setting(condition=condition)) == {"x", "z", "y", "x1", "x2", "g"}
    assert define.used(said("m = MEAN(x1-x3)"), setting()) == {"x1", "x2", "x3"}


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("w = xx + 1", ("xx is not among the names", "'x'")),
        ("w = ROUND(x)", ("ROUND(...) is no function", "Known: 'LOG'", "'CLUSTER_MEAN'")),
        ("w = SQR(x)", ("Did you mean 'SQRT'",)),
        ("w = x ^ 2", ("'^' is not understood", "x**2")),
        ("w = x #", ("counter of DO",)),
        ("w = x 2", ("expected an operator before '2'",)),
        ("w = x\nv = y", ("expected an operator before 'v'", "';'")),
        ("w = x +", ("expected a variable, a number or '(' before 'the end'",)),
        ("w =", ("before 'the end'",)),
        ("w = (x", ("expected ')' before 'the end'",)),
        ("w = x)", ("before ')'",)),
        ("w = LOG()", ("before ')'",)),
        ("w = LOG(x, y)", ("expected ')' before ','",)),
        ("w = MEAN()", ("MEAN() of nothing",)),
        ("w = MEAN(x q)", ("q is not among",)),
        ("w = MEAN(x + y)", ("'+'",)),
        ("w = MEAN(x", ("expected ')'",)),
        ("w = x GT 1", ("IF (x EQ 1) THEN",)),
        ("w = x AND y", ("expected a comparison",)),
        ("w = (x GT 1) + 1", ("a comparison stands in a condition",)),
        ("w = LOG(x GT 1)", ("a comparison stands in a condition",)),
        ("w = -(x GT 1)", ("a comparison stands in a condition",)),
        ("w = _MISSING + 1", ("_MISSING stands alone",)),
        ("w = LOG(_MISSING)", ("_MISSING stands alone",)),
        ("w = 1e999", ("too large",)),
        ("w = IF", ("before 'IF'",)),
        ("IF (x) THEN w = 1", ("expected a comparison",)),
        ("IF (1 EQ 1) THEN w = 1", ("needs a variable",)),
        ("IF (1 LT x LT 3) THEN w = 1", ("join two comparisons with AND",)),
        ("IF (x GT _MISSING) THEN w = 1", ("x EQ _MISSING",)),
        ("IF (_MISSING EQ _MISSING) THEN w = 1", ("x EQ _MISSING",)),
        ("IF (x+1 EQ _MISSING) THEN w = 1", ("with one variable",)),
        ("IF (x EQ 1 AND) THEN w = 1", ("before ')'",)),
        ("IF (x EQ 1) w = 1", ("write IF",)),
        ("IF (x EQ 1) THEN CENTER x (GRANDMEAN)", ("write IF",)),
        ("IF (x EQ 1) THEN w = 1 ELSE w = 2", ("no ELSE",)),
        ("CENTER x", ("(GRANDMEAN)", "(GROUPMEAN)")),
        ("CENTER x (MEAN)", ("(GRANDMEAN)",)),
        ("CENTER x (GRANDMEAN g)", ("(GRANDMEAN)",)),
        ("CENTER x (GROUPMEAN z)", ("z is not the cluster, which is g",)),
        ("CENTER (GRANDMEAN)", ("of nothing",)),
        ("STANDARDIZE x (z)", ("variables only",)),
        ("CUT x", ("at which to cut",)),
        ("CUT x (a)", ("at which to cut",)),
        ("CUT x (2 1)", ("increasing",)),
        ("CENTRE x (GRANDMEAN)", ("CENTRE begins no statement", "'CENTER'")),
        ("RECODE x (1=2)", ("RECODE begins no statement",)),
        ("x + y", ("x begins no statement",)),
        ("= 3", ("begins no statement",)),
        ("DO (1,3) w = x", ("no #",)),
        ("DO (3,1) w# = x", ("smaller number first",)),
        ("DO (1) w# = x", ("write DO (1, 5)",)),
        ("DO (1,9) w# = x#", ("x4 is not among",)),
        ("DO ($,1,999) DO (#,1,999) w$# = x", ("more than 10000",)),
        ("w = " + "(" * 300 + "x" + ")" * 300, ("more than 30 parentheses",)),
        ("g = 3", ("identifies rows or clusters",)),
    ],
)
def test_what_is_not_understood_is_refused(text, words):
    refused(*words, text=text)


def test_clusters_are_needed():
    refused("CLUSTER_MEAN needs clusters", text="w = CLUSTER_MEAN(x)", cluster=None)
    refused("GROUPMEAN needs clusters", text="CENTER x (GROUPMEAN)", cluster=None)
    refused("of 2 variables", text="w = CLUSTER_MEAN(x y)")


def test_text_is_refused():
    refused("z has text, such as 'a'", text="w = z + 1", error=DataError, frame=DATA.assign(z=list("abcdef")))


def test_the_pandas_code_is_what_one_would_write():
    statements = said(
        "a = (x + 2*y)/10 - x**2",
        "b = 1/x",
        "IF (x GT 1 AND z EQ 2) THEN c = 3",
        "m = MEAN(x1-x3)",
        "CENTER x (GROUPMEAN)",
    )
    assert define.as_python(statements, Statement("VARIABLE", "z GE 1", 3), setting()) == [
        "import numpy as np",
        'data = data[data["z"] >= 1].copy()',
        'data["a"] = (data["x"] + 2 * data["y"]) / 10 - data["x"] ** 2',
        'data["b"] = (1 / data["x"]).replace([np.inf, -np.inf], np.nan)',
        'data["c"] = np.nan',
        'data.loc[(data["x"] > 1) & (data["z"] == 2), "c"] = 3.0',
        'data["m"] = data[["x1", "x2", "x3"]].mean(axis=1)',
        'data["x"] = data["x"] - data.groupby("g")["x"].transform("mean")',
    ]


def test_long_sums_are_computed():
    check(defined("w = " + " + ".join(["z"] * 600))["w"], *(600 * DATA["z"]))
