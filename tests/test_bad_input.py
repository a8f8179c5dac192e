"""Bad input: every case ends in a SpecError or a DataError that names the column, the value, the count and what to do."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from cases import frame

import bayeshte as bh

BASE = dict(outcome="y", treatment="arm", reference="control", cluster="school", varying="high")
FEW = dict(draws=200, tune=200, seed=1, progress=False)


def design(data=None, **changes):
    return bh.RandomSlope(**BASE | changes).design(frame() if data is None else data)


def refused(error, *said, data=None, **changes):
    """The design of `data` is refused with exactly this type of error, and the message says all of `said`."""
    with pytest.raises(error) as caught:
        design(data, **changes)
    assert type(caught.value) is error
    for words in said:
        assert words in str(caught.value), str(caught.value)
    return str(caught.value)


def changed(column, rows, value):
    """The frame with `value` in some rows of a column; numeric columns become object columns only for text."""
    data = frame()
    if isinstance(value, str):
        data[column] = data[column].astype(object)
    data.loc[data.index[rows], column] = value
    return data


N = len(frame())


# --- columns ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name", "instead"),
    [
        (dict(outcome="Y"), "'Y'", "'y'"),
        (dict(treatment="arms"), "'arms'", "'arm'"),
        (dict(cluster="scool"), "'scool'", "'school'"),
        (dict(standard_error="see"), "'see'", "'se'"),
        (dict(covariates="sexx + x"), "'sexx'", "'sex'"),
        (dict(moderators="bs(passd, df=4)"), "'passd'", "'passed'"),
        (dict(slopes="np.log(erors)"), "'erors'", "'errors'"),
        (dict(within_between=("eror",)), "'eror'", "'errors'"),
    ],
)
def test_missing_column_names_the_near_match(changes, name, instead):
    refused(bh.DataError, name, "Did you mean", instead, **changes)


def test_missing_column_without_near_match_lists_the_columns():
    refused(bh.DataError, "'qqq'", "Known: 'y', 'arm', 'school'", outcome="qqq")


def test_column_in_the_index():
    refused(bh.DataError, "'school'", "reset_index()", data=frame().set_index("school"))


@pytest.mark.parametrize("data", [[1, 2], {"y": [1]}, None, np.zeros((3, 3)), "data.csv", frame()["y"]])
def test_not_a_frame(data):
    with pytest.raises(bh.DataError, match=f"pandas DataFrame, got {type(data).__name__}"):
        bh.RandomSlope(**BASE).design(data)


def test_empty_frame():
    refused(bh.DataError, "no rows", data=frame().iloc[:0])
    refused(bh.DataError, "'y' is not in the data", data=pd.DataFrame())


def test_duplicate_columns():
    data = frame()
    refused(bh.DataError, "['x']", "more than once", data=pd.concat([data, data[["x"]]], axis=1))


def test_index():
    refused(bh.DataError, f"{N - 1} rows repeat a label", "first is 0", "reset_index", data=frame().set_axis([0] * N))
    pairs = pd.MultiIndex.from_arrays([np.arange(N) // 5, np.arange(N) % 5])
    assert design(frame().set_axis(pairs))["row"].to_numpy()[6] == "(1, 1)"
    refused(
        bh.DataError, "not unique", "(0, 0)", data=frame().set_axis(pd.MultiIndex.from_arrays([np.arange(N) // 5] * 2))
    )
    mixed = design(frame().set_axis([k if k % 2 else f"r{k}" for k in range(N)]))
    assert mixed["row"].to_numpy()[:2].tolist() == ["r0", "1"]
    assert design(frame().set_axis(pd.date_range("2020-01-01", periods=N)))["row"].dtype.kind == "M"


@pytest.mark.parametrize(
    "name",
    [
        *("chain", "draw", "row", "covariate", "moderator", "varying", "varying_", "sample"),
        *("gamma0", "gamma1", "sd", "corr", "sigma", "nu", "u", "effect", "y", "X", "M", "column_0", "arm_code"),
    ],
)
@pytest.mark.parametrize("role", ["treatment", "cluster"])
def test_column_named_like_the_model(name, role):
    with pytest.raises(bh.SpecError, match=f"The {role} column is called '{name}'.*rename"):
        bh.RandomSlope(**BASE | {"outcome": "out", role: name})


def test_outcome_may_have_any_name():
    for name in ("draw", "u", "effect", "row", "y", "sd"):
        assert design(frame().rename(columns={"y": name}), outcome=name).attrs["outcome"] == name


def test_names_that_would_collide():
    data = frame().assign(arm_arm=frame()["school"])
    refused(bh.SpecError, "'arm_arm'", "rename", data=data, cluster="arm_arm")
    refused(bh.SpecError, "'draw'", "rename", data=data.rename(columns={"x": "draw"}), moderators="draw")
    refused(bh.DataError, "['x_within']", "rename", data=data.assign(x_within=1.0), within_between=("x",))
    refused(
        bh.SpecError, "different names", "intercept", data=data.replace({"arm": {"high": "intercept"}}), varying="all"
    )
    for name in ("a/b", "a, b", "a\\b", "..", " "):
        refused(bh.SpecError, repr(name), "rename", data=data.rename(columns={"arm": name}), treatment=name)


NAMES = [
    *("two words", "it's", 'a "quote"', "größe", "🙂", "a.b", "a/b", "a:b", "a|b", "a~b", "a*b", "a\\b", "<b>", "%s"),
    *("{x}", "1st", "x\ny", "C", "bs", "treatment", "cluster", "column: x", "C(x)"),
]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_work_as_quoted_covariates(name):
    data = frame().rename(columns={"x": name})
    as_x = design(covariates="x", moderators="np.log(x + 9) + center(x):z")
    odd = design(data, covariates=f"`{name}`", moderators=f"np.log(`{name}` + 9) + center(`{name}`):z")
    np.testing.assert_array_equal(odd["X"], as_x["X"])
    assert odd["covariate"].to_numpy()[0] == name
    split = design(data, within_between=(name,))
    assert split["covariate"].to_numpy().tolist() == [f"{name}_within", f"{name}_between"]


@pytest.mark.parametrize("name", ["two words", "it's", 'a "quote"', "größe", "🙂", "a.b", "<b>", "%s", "{x}", "1st"])
def test_odd_names_work_as_roles(name):
    data = frame().rename(columns={"arm": name, "school": f"{name} 2", "y": f"{name} 3"})
    odd = design(data, treatment=name, cluster=f"{name} 2", outcome=f"{name} 3")
    assert odd[name].to_numpy().tolist() == ["high", "low"]
    assert odd.sizes[f"{name} 2"] == 12


def test_role_names_may_be_the_words_for_roles():
    data = frame().rename(columns={"arm": "treatment", "school": "cluster", "y": "outcome"})
    odd = design(data, treatment="treatment", cluster="cluster", outcome="outcome")
    assert odd.sizes["cluster"] == 12


@pytest.mark.parametrize("name", ["", "0", "1"])
def test_names_that_formulas_cannot_take(name):
    refused(bh.SpecError, "rename", data=frame().rename(columns={"x": name}), covariates=f"z + `{name}`")


# --- missing and infinite values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["y", "arm", "school", "x", "sex", "se"])
def test_missing_values_are_refused_unless_asked_for(column):
    data = changed(column, [3, 7], np.nan if column in ("y", "x", "se") else None)
    changes = dict(covariates="x + sex", standard_error="se")
    refused(
        bh.DataError, f"{column!r} in 2 of {N} rows", "2 rows in all", "'row 3'", "missing='drop'", data=data, **changes
    )
    kept = design(data, missing="drop", **changes)
    assert kept.sizes["row"] == N - 2
    assert kept.attrs["missing"] == [f"{column}: 2"]
    assert kept.attrs["rows_given"] == N
    assert not {"row 3", "row 7"} & set(kept["row"].to_numpy())


def test_missing_values_in_several_columns_are_counted_once_a_row():
    data = changed("x", [3, 7], np.nan)
    data.iloc[[7, 9, 11], 0] = np.nan
    refused(bh.DataError, "'y' in 3", "'x' in 2", "4 rows in all", data=data, covariates="x")


def test_missing_values_of_other_columns_do_not_matter():
    assert design(changed("z", [3], np.nan), covariates="x").sizes["row"] == N


def test_missing_inside_a_formula_function_is_seen():
    refused(bh.DataError, "'x' in 1", data=changed("x", [3], np.nan), moderators="bs(x, df=4)")
    assert design(changed("x", [3], np.nan), moderators="bs(x, df=4)", missing="drop").sizes["row"] == N - 1


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_all_rows_missing(missing):
    message = refused(
        bh.DataError,
        "No row is complete",
        f"'x' in {N}",
        data=frame().assign(x=np.nan),
        covariates="x",
        missing=missing,
    )
    assert "missing='drop'" not in message


def test_missing_option():
    refused(bh.SpecError, "missing='ignore'", "'error' or 'drop'", missing="ignore")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("column", ["y", "x", "se"])
def test_infinite_values(column, value):
    changes = dict(covariates="x", standard_error="se", missing="drop")
    refused(
        bh.DataError, repr(column), "2 infinite", "'row 3'", "replace", data=changed(column, [3, 7], value), **changes
    )


def test_sizes_whose_squares_overflow():
    refused(
        bh.DataError,
        "'x'",
        "1e+60",
        "unit",
        data=frame().assign(x=lambda d: d["x"] * 1e60 / d["x"].abs().max()),
        covariates="x",
    )
    refused(bh.DataError, "'y'", "unit", data=frame().assign(y=lambda d: d["y"] * 1e-90))


# --- types -------------------------------------------------------------------------------------------------------------


def cast(values, dtype):
    return pd.Series(values, index=frame().index).astype(dtype)


WHOLE = np.arange(N) % 5


@pytest.mark.parametrize(
    "dtype",
    [
        *("int8", "uint8", "int64", "uint64", "float16", "float32", "Int64", "UInt8", "Float64", "Sparse[float]"),
        *("int64[pyarrow]", "double[pyarrow]"),
    ],
)
def test_numeric_types_are_equal(dtype):
    scores = np.arange(N) * 7 % 11
    changes = dict(covariates="I(x**5)", slopes="x")
    plain = design(frame().assign(y=1.0 * scores, x=1.0 * WHOLE, school=WHOLE), **changes)
    other = frame().assign(y=cast(scores, dtype), x=cast(WHOLE, dtype), school=cast(WHOLE, dtype))
    for name in ("y", "X", "school"):
        np.testing.assert_array_equal(design(other, **changes)[name], plain[name])


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "int64[pyarrow]", "double[pyarrow]"])
@pytest.mark.parametrize("column", ["y", "x", "school"])
def test_nullable_types_with_missing_values(dtype, column):
    values = cast(WHOLE, dtype)
    values.iloc[[2, 4]] = pd.NA
    data = frame().assign(**{column: values})
    refused(bh.DataError, f"{column!r} in 2 of {N} rows", data=data, covariates="x")
    assert design(data, covariates="x", missing="drop").sizes["row"] == N - 2


@pytest.mark.parametrize("dtype", ["Float64", "double[pyarrow]"])
def test_not_a_number_inside_a_nullable_column_is_missing(dtype):
    values = cast(WHOLE, dtype) / cast(np.where(np.arange(N) == 5, 0, 1), dtype)  # 0 / 0
    data = frame().assign(x=values)
    refused(bh.DataError, "'x' in 1", "'row 5'", data=data, covariates="x")
    assert design(data, covariates="x", missing="drop").sizes["row"] == N - 1


@pytest.mark.parametrize("dtype", ["bool", "boolean", "bool[pyarrow]"])
def test_boolean_types(dtype):
    flag = np.arange(N) % 3 == 0
    data = frame().assign(y=cast(flag, dtype), x=cast(flag, dtype), arm=cast(np.arange(N) % 2 == 0, dtype))
    made = design(data, reference=None, varying="all", covariates="x", family="logit")
    assert made["arm_arm"].to_numpy().tolist() == ["False", "True"]
    np.testing.assert_array_equal(made["X"][:, 0], 1.0 * flag)


@pytest.mark.parametrize("dtype", ["str", "string", "object", "category", "string[pyarrow]"])
def test_text_types(dtype):
    data = frame()
    for column in ("arm", "school", "sex"):
        data[column] = data[column].astype(dtype)
    made, plain = design(data, covariates="sex"), design(covariates="sex")
    for v in ("X", "arm_code", "cluster_code", "arm", "school", "covariate"):
        np.testing.assert_array_equal(made[v], plain[v])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a"] * N, ["str", "'a'", "'row 0'", "pd.to_numeric"]),
        (["1", "2"] * (N // 2) + ["x"] * (N % 2), ["str", "pd.to_numeric"]),
        (pd.Categorical(WHOLE), ["category", "astype(float)"]),
        (pd.date_range("2020-01-01", periods=N), ["datetime64"]),
        (pd.to_timedelta(WHOLE, unit="D"), ["timedelta64"]),
        (WHOLE + 1j, ["complex128"]),
        (np.where(np.arange(N) == 4, "missing", WHOLE.astype(object)), ["object", "'missing'", "'row 4'"]),
        ([[1]] * N, ["object"]),
    ],
)
def test_outcome_that_is_no_number(values, said):
    refused(bh.DataError, "outcome 'y' must be numeric", *said, data=frame().assign(y=values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (WHOLE.astype(object), ["object column of int", "pd.to_numeric"]),
        (["a", 1] * (N // 2) + ["a"] * (N % 2), ["object column of int, str", "astype(str)"]),
        (WHOLE.astype(str), ["numbers stored as text", "C(x)"]),
        (np.where(np.arange(N) == 4, "n/a", WHOLE.astype(str)), ["numbers stored as text", "'n/a'", "errors='coerce'"]),
        (pd.date_range("2020-01-01", periods=N), ["datetime64", "number"]),
        (pd.to_timedelta(WHOLE, unit="D"), ["timedelta64", "number"]),
        (pd.period_range("2020-01-01", periods=N), ["period"]),
        (WHOLE + 1j, ["complex128"]),
        ([[1, 2]] * N, ["'x'", "list"]),
        ([{}] * N, ["'x'", "dict"]),
    ],
)
def test_covariate_that_means_something_else(values, said):
    refused(bh.DataError, "'x'", *said, data=frame().assign(x=values), covariates="x")
    refused(bh.DataError, "covariate 'x' must be numeric", data=frame().assign(x=values), within_between=("x",))


def test_numbers_as_text_are_categories_when_asked():
    made = design(frame().assign(x=WHOLE.astype(str)), covariates="C(x)")
    assert made["covariate"].to_numpy().tolist() == [f"C(x)[{k}]" for k in range(1, 5)]


@pytest.mark.parametrize("role", ["arm", "school"])
def test_labels_that_are_lists(role):
    refused(bh.DataError, repr(role), "list", data=frame().assign(**{role: [[1]] * N}))


def test_labels_of_other_types():
    half = np.arange(N) % 2
    for values, arms in [
        (pd.to_datetime(np.where(half, "2021-01-01", "2020-01-01")), ["2020-01-01 00:00:00", "2021-01-01 00:00:00"]),
        (pd.PeriodIndex(np.where(half, "2021", "2020"), freq="Y"), ["2020", "2021"]),
        (pd.to_timedelta(half, unit="D"), ["0 days 00:00:00", "1 days 00:00:00"]),
        (half + 1j, ["1j", "(1+1j)"]),
        (half.astype("float32"), ["0", "1"]),
    ]:
        data = frame().assign(arm=values, school=values)
        made = design(data, treatment="arm", reference=arms[0], cluster=None, varying="all")
        assert made["arm_arm"].to_numpy().tolist() == arms
    assert (
        design(frame().assign(school=pd.to_datetime("2020-01-01") + pd.to_timedelta(WHOLE, unit="D"))).sizes["school"]
        == 5
    )


# --- treatment -----------------------------------------------------------------------------------------------------------


def test_treatment_with_one_level_or_too_many():
    refused(bh.DataError, "'arm' has one arm only, 'control'", data=frame().assign(arm="control"))
    refused(bh.DataError, "'arm' has 40 different values", "at most 20", data=frame().assign(arm=np.arange(N) % 40))
    refused(bh.DataError, f"{N} different values", "covariates", data=frame().assign(arm=frame()["x"]))


def test_reference():
    refused(bh.SpecError, "'arm'", "reference= one of ['control', 'high', 'low']", reference=None)
    refused(bh.SpecError, "reference='contrl'", "Did you mean 'control'?", reference="contrl")
    refused(bh.SpecError, "reference='x'", "Known: 'control', 'high', 'low'", reference="x")
    ghost = frame().assign(arm=lambda d: pd.Categorical(d["arm"], ["ghost", "control", "high", "low"]))
    refused(bh.SpecError, "reference='ghost'", "Known", data=ghost, reference="ghost")
    assert design(ghost)["arm_arm"].to_numpy().tolist() == ["control", "high", "low"]


@pytest.mark.parametrize("reference", [1, 1.0, "1", np.int64(1)])
def test_numeric_arms(reference):
    data = frame().assign(arm=np.arange(N) % 2 + 1)
    refused(bh.SpecError, "reference= one of ['1', '2']", data=data, reference=None)
    for dtype in ("int64", "float64", "float32", "Int64", "category"):
        made = design(data.astype({"arm": dtype}), reference=reference, varying="2")
        assert made["arm_arm"].to_numpy().tolist() == ["1", "2"]
        np.testing.assert_array_equal(made["arm_code"], np.arange(N) % 2)


def test_zero_one_and_boolean_arms_need_no_reference():
    for values in (np.arange(N) % 2, np.arange(N) % 2 == 1, (np.arange(N) % 2).astype(str)):
        made = design(frame().assign(arm=values), reference=None, varying="all")
        np.testing.assert_array_equal(made["arm_code"], np.arange(N) % 2)
    flipped = design(frame().assign(arm=np.arange(N) % 2 == 1), reference=True, varying="all")
    assert flipped["arm_arm"].to_numpy().tolist() == ["True", "False"]


@pytest.mark.parametrize("values", [[1, "1"], [1.0, "1"], ["control", "control "], ["a", " a"]])
@pytest.mark.parametrize("role", ["arm", "school"])
def test_labels_that_print_alike(values, role):
    data = frame().assign(**{role: pd.Series((values * N)[:N], dtype=object, index=frame().index)})
    refused(
        bh.DataError,
        repr(role),
        "print alike",
        "str.strip()",
        data=data,
        reference=values[0] if role == "arm" else "control",
    )


def test_varying_that_is_no_arm():
    refused(bh.SpecError, "varying='hi'", "'high'", varying="hi")
    refused(bh.SpecError, "varying='control'", "Known: 'high', 'low'", varying=("high", "control"))


# --- clusters ------------------------------------------------------------------------------------------------------------


def test_number_of_clusters():
    refused(bh.DataError, "'school' has one cluster only ('s')", "leave cluster out", data=frame().assign(school="s"))
    every = frame().assign(school=np.arange(N))
    refused(bh.DataError, "'school'", f"{N} rows", "standard_error=", data=every)
    assert design(every, standard_error="se", varying=()).sizes["school"] == N
    refused(bh.DataError, "one cluster only", data=frame().assign(school="s"), standard_error="se")


def test_clusters_of_one_arm():
    whole = frame().assign(arm=lambda d: np.where(d["school"].isin(["s1", "s5", "s7"]), "high", "control"))
    refused(bh.SpecError, "'high'", "varying=()", data=whole)
    assert design(whole, varying=())["varying"].to_numpy().tolist() == ["intercept"]
    some = frame().assign(arm=lambda d: np.where(d["school"].isin(["s1", "s5"]), "control", d["arm"]))
    assert design(some).sizes["school"] == 12
    third = frame().assign(arm=lambda d: np.where(d["school"].isin(["s1", "s5"]), "third", d["arm"]))
    refused(bh.SpecError, "'third'", "varying=()", data=third, varying="all")
    assert design(third).sizes["arm"] == 3


def test_unused_categories_are_no_clusters_and_no_terms():
    data = frame().assign(
        school=lambda d: pd.Categorical(d["school"], [*d["school"].unique(), "closed"]),
        sex=lambda d: pd.Categorical(d["sex"], ["x", "f", "m"]),
    )
    made = design(data, covariates="sex + C(sex):z")
    assert made.sizes["school"] == 12
    assert made["covariate"].to_numpy()[0] == "sex[m]"


def test_cluster_labels():
    data = frame().assign(school=lambda d: d["school"].str[1:].astype(float))
    assert design(data)["school"].to_numpy()[:2].tolist() == ["0", "1"]
    data.loc["row 3", "school"] = np.nan
    refused(bh.DataError, "'school' in 1", data=data)
    assert design(data, missing="drop")["school"].to_numpy()[:2].tolist() == ["0", "1"]


@pytest.mark.parametrize("cluster", ["a/b", "school:sex", "school|sex", ["school", "sex"], ("school",), 3])
def test_three_levels_and_crossed_designs(cluster):
    refused(bh.SpecError, f"cluster={cluster!r}", "not supported", "covariates as C(name)", cluster=cluster)


def test_weights():
    refused(bh.SpecError, "Weighted", "covariates", "bh.subgroups", weights="x")


def test_cluster_in_a_formula():
    refused(bh.SpecError, "'school'", "intercept_varies=False", covariates="C(school)")
    fixed = design(covariates="C(school)", intercept_varies=False)
    assert fixed.sizes["covariate"] == 11


def test_outcome_of_clusters():
    data = frame().assign(y=lambda d: d["school"].str[1:].astype(float))
    refused(bh.DataError, "'y' is constant within every cluster of 'school'", "one row a cluster", data=data)


# --- covariates and formulas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [3.0, 3, "f", True])
def test_constant_covariate(value):
    refused(
        bh.DataError,
        "'x'",
        "constant",
        str(value),
        f"{N} rows",
        "leave it out",
        data=frame().assign(x=value),
        covariates="x",
    )


def test_covariate_constant_once_rows_are_dropped():
    data = frame().assign(x=lambda d: np.where(d["sex"] == "f", np.nan, d["x"]))
    refused(bh.DataError, "'sex'", "constant ('m' in all", data=data, covariates="x + sex", missing="drop")


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("x + twice", ["'twice'", "['x']"]),
        ("x + z + both", ["'both'", "['x', 'z']"]),
        ("f + m", ["'m'", "['f']"]),
        ("sex + f", ["'f'", "['sex[m]']"]),
        ("high", ["'high'", "['arm[high]']"]),
        ("high + low", ["'high'", "['arm[high]']"]),
        ("armtext", ["'armtext[high]'", "['arm[high]']"]),
        ("z + C(z)", ["linear combination"]),
        ("x + nearly", ["'nearly'", "['x']", "centre"]),
    ],
)
def test_collinear_covariates(formula, said):
    data = frame().assign(
        twice=lambda d: 2 * d["x"] + 1,
        both=lambda d: d["x"] - 3 * d["z"],
        f=lambda d: 1.0 * (d["sex"] == "f"),
        m=lambda d: 1.0 * (d["sex"] == "m"),
        high=lambda d: 1.0 * (d["arm"] == "high"),
        low=lambda d: 1.0 * (d["arm"] == "low"),
        armtext=lambda d: d["arm"],
        nearly=lambda d: d["x"] + 1e-8 * np.arange(len(d)),
    )
    refused(bh.DataError, "leave one of them out", *said, data=data, covariates=formula)


def test_empty_cell_of_arm_and_moderator():
    data = frame().assign(arm=lambda d: np.where((d["sex"] == "m") & (d["arm"] == "low"), "high", d["arm"]))
    refused(bh.DataError, "'arm[low]:sex[m]' is constant", f"0 in all {N}", data=data, moderators="sex")


def test_more_terms_than_rows():
    refused(bh.DataError, "linear combination", data=frame().iloc[:20], covariates="poly(x, 22)", varying=())


def test_an_identifier_is_no_covariate():
    wide = pd.concat([frame(k) for k in range(8)], ignore_index=True).assign(name=lambda d: [f"p{k}" for k in d.index])
    refused(bh.DataError, "'name'", "categories", "cluster", data=wide, covariates="name")
    refused(bh.DataError, "'x'", f"{len(wide)} different values", "C()", data=wide, covariates="z + C(x)")


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("x +", ["'x +' is not a formula"]),
        ("(x", ["is not a formula"]),
        ("x y", ["is not a formula", "Missing operator"]),
        ("'x'", ["is not a formula"]),
        ("2*x", ["is not a formula"]),
        ("x + .", ["is not a formula"]),
        ("I(x**)", ["is not a formula"]),
        ("`x", ["is not a formula"]),
        ("y ~ x", ["right-hand side only"]),
        ("x + (1 | school)", ["right-hand side only", "cluster="]),
        ("0 + x", ["intercept"]),
        ("x - 1", ["intercept"]),
        ("sqroot(x)", ["no function 'sqroot'"]),
        ("splines(x, df=3)", ["no function 'splines'"]),
        ("x + arm", ["treatment 'arm'", "moderators="]),
        ("C(arm):x", ["treatment 'arm'"]),
        ("x + y", ["outcome 'y'"]),
        ("bs(y, df=4)", ["outcome 'y'"]),
    ],
)
@pytest.mark.parametrize("role", ["covariates", "moderators", "slopes"])
def test_formulas_that_cannot_be_read(formula, said, role):
    message = refused(bh.SpecError, *said, **{role: formula})
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("np.log(x - 3)", ["'np.log(x - 3)'", "not finite", "rows, the first is"]),
        ("I(1 / (passed - 1))", ["not finite", "division"]),
        ("bs(x, df=2)", ["cannot be evaluated", "df"]),
        ("C(sex, contr.treatment('q'))", ["cannot be evaluated", "'q'"]),
        ("x[0]", ["'x[0]' cannot be evaluated"]),
        ("np.log(sex)", ["cannot be evaluated"]),
        ("exp(1000 * x)", ["not finite"]),
        ("k:x", ["'k'", "not in the data"]),
    ],
)
def test_formulas_that_do_not_suit_the_data(formula, said):
    refused(bh.DataError, *said, covariates=formula)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(outcome=3), ["outcome=3", "as text"]),
        (dict(outcome=""), ["outcome=''"]),
        (dict(outcome=None), ["outcome=None"]),
        (dict(treatment=1), ["treatment=1"]),
        (dict(standard_error=["se"]), ["standard_error=['se']"]),
        (dict(covariates=["x", "z"]), ["covariates=['x', 'z']", "formula as text"]),
        (dict(moderators=None), ["moderators=None"]),
        (dict(within_between="x"), ["within_between='x'", "within_between=('a',)"]),
        (dict(varying=None), ["varying=None", "tuple"]),
        (dict(varying=(1,)), ["varying=(1,)"]),
        (dict(intercept_varies="no"), ["intercept_varies='no'", "True or False"]),
        (dict(sigma_by_arm=1), ["sigma_by_arm=1"]),
        (dict(family="gausian"), ["family='gausian'", "'gaussian'"]),
        (dict(family=None), ["family=None"]),
        (dict(outcome="arm"), ["two roles"]),
        (dict(cluster="arm"), ["two roles"]),
        (dict(treatment=None, reference=None, moderators="x"), ["treatment="]),
        (dict(cluster=None), ["cluster="]),
        (dict(sigma_by_arm=True, family="logit"), ["family='gaussian'"]),
        (dict(standard_error="se", family="poisson"), ["family='gaussian'"]),
        (dict(within_between=("y",)), ["outcome 'y'"]),
    ],
)
def test_specifications_that_contradict_themselves(changes, said):
    refused(bh.SpecError, *said, **changes)


# --- outcomes and standard errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gaussian", "student", "skew normal", "poisson", "negative binomial"])
def test_constant_outcome(family):
    refused(bh.DataError, "outcome 'y' is constant", f"1 in all {N} rows", data=frame().assign(y=1), family=family)


@pytest.mark.parametrize("family", ["logit", "probit"])
def test_binary_outcome(family):
    refused(
        bh.DataError,
        "0/1 or boolean",
        "[1, 2]",
        "data['y'] == 2",
        data=frame().assign(y=np.arange(N) % 2 + 1),
        family=family,
    )
    words = frame().assign(y=np.where(np.arange(N) % 2, "yes", "no"))
    refused(bh.DataError, "['no', 'yes']", "data['y'] == 'yes'", data=words, family=family)
    refused(bh.DataError, "3 values", data=frame().assign(y=np.arange(N) % 3), family=family)
    refused(bh.DataError, "0/1", data=frame(), family=family)
    refused(bh.DataError, "constant (1 in all", data=frame().assign(y=1), family=family)
    refused(bh.DataError, "list", data=frame().assign(y=[[0]] * N), family=family)
    half = np.arange(N) % 2
    for values in (half, half * 1.0, half == 1, half.astype(object), pd.Categorical(half)):
        np.testing.assert_array_equal(design(frame().assign(y=values), family=family)["y"], half)


def test_counts():
    refused(
        bh.DataError,
        "counts",
        "3 values are not",
        "-3 in row 'row 0'",
        data=frame().assign(y=np.arange(N) - 3),
        family="poisson",
    )
    refused(
        bh.DataError,
        "counts",
        "1 values are not",
        "2.5",
        data=frame().assign(y=np.r_[2.5, np.arange(1, N)]),
        family="poisson",
    )
    assert design(frame().assign(y=WHOLE), family="poisson")["y"].dtype == float


def test_outcome_without_a_rest():
    said = ["exact linear function", f"all {N} rows"]
    refused(
        bh.DataError, *said, data=frame().assign(y=lambda d: 2.0 * (d["arm"] == "high") + 3 * d["x"]), covariates="x"
    )
    refused(
        bh.DataError,
        "in all 3 rows",
        "too few rows",
        data=frame().iloc[:3].assign(arm=["control", "low", "high"]),
        cluster=None,
        varying=(),
    )
    split = frame().assign(y=lambda d: np.where(d["arm"] == "low", 1.0, d["y"]))
    refused(bh.DataError, "constant in arm 'low'", "sigma_by_arm", data=split, sigma_by_arm=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, ["positive", "2 are not", "'row 3'"]),
        (-1.0, ["positive", "2 are not"]),
        (np.nan, ["'se' in 2"]),
        (np.inf, ["'se'", "2 infinite"]),
        ("?", ["standard error 'se' must be numeric", "'?'"]),
    ],
)
def test_standard_errors(value, said):
    refused(bh.DataError, *said, data=changed("se", [3, 7], value), standard_error="se")


# --- priors and the call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priors", "said"),
    [
        ({"gamma[high]": bh.Normal(0, 1)}, ["'gamma[high]'", "Did you mean", "'gamma1[high]'"]),
        ({"sd[hihg]": bh.HalfNormal(1)}, ["'sd[high]'"]),
        ({"sd": bh.Normal(0, 1)}, ["'sd'", "Normal(mu=0, sigma=1)", "positive"]),
        ({"gamma0": bh.HalfNormal(1)}, ["gamma0", "real"]),
        ({"sigma": bh.Uniform(-1, 1)}, ["sigma", "positive"]),
        ({"corr": bh.Normal(0, 1)}, ["corr", "correlation"]),
        ({"gamma0": bh.LKJ(2)}, ["gamma0", "real"]),
        ({"gamma0": 3}, ["gamma0", "bh.Normal(0, 5)", "got 3"]),
        ({"gamma0": "Normal"}, ["gamma0", "got 'Normal'"]),
        ("weak", ["priors='weak'", "'default', 'mplus'"]),
        (None, ["priors=None"]),
    ],
)
def test_priors_that_do_not_fit(priors, said):
    def resolve():
        spec = bh.RandomSlope(**BASE, priors=priors)
        return spec.frozen_priors(spec.design(frame()))

    with pytest.raises(bh.SpecError) as caught:
        resolve()
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bh.Normal(0, -1),
        lambda: bh.Normal(0, 0),
        lambda: bh.Normal(np.nan, 1),
        lambda: bh.HalfNormal(np.inf),
        lambda: bh.Uniform(1, 0),
        lambda: bh.LKJ(0),
        lambda: bh.Prior("Norml", (("mu", 0.0),)),
        lambda: bh.Prior("Normal", (("mu", 0.0),)),
    ],
)
def test_priors_that_are_none(make):
    with pytest.raises(bh.SpecError):
        make()


def test_mplus_priors_need_clusters():
    few = frame()[lambda d: d["school"].isin(["s0", "s1", "s2", "s4"])]
    spec = bh.RandomSlope(**BASE, priors="mplus")
    with pytest.raises(bh.DataError, match=r"improper.*more than 5 clusters.*there are 4.*priors='default'"):
        spec.frozen_priors(spec.design(few))
    other = bh.RandomSlope(**BASE | {"outcome": "passed"}, family="logit", priors="mplus")
    with pytest.raises(bh.SpecError, match="family='gaussian'"):
        other.frozen_priors(other.design(frame()))


@pytest.mark.parametrize("options", [dict(draws=0), dict(draws=2.5), dict(draws=-1), dict(tune=0), dict(tune="many")])
def test_number_of_draws(options):
    (name,) = options
    with pytest.raises(bh.SpecError, match=f"{name}=.*whole number of at least"):
        bh.fit(bh.RandomSlope(**BASE), frame(), **options)


def test_path_is_checked_before_sampling(tmp_path, monkeypatch):
    monkeypatch.setattr("bayeshte.sampler.sample", None)  # would fail if it were called
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "thesis.txt").write_text("words")
    (tmp_path / "file").write_text("")
    spec = bh.RandomSlope(**BASE)
    with pytest.raises(bh.DataError, match="old exists and is not an empty folder"):
        bh.fit(spec, frame(), path=tmp_path / "old", **FEW)
    with pytest.raises(bh.DataError, match="file exists and is not an empty folder"):
        bh.fit(spec, frame(), path=tmp_path / "file", **FEW)
    with pytest.raises(bh.DataError, match=r"Cannot write to .*below: Not a directory"):
        bh.fit(spec, frame(), path=tmp_path / "file" / "below", **FEW)
    assert (tmp_path / "old" / "thesis.txt").read_text() == "words"
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["thesis.txt"]


def test_bad_data_is_found_before_a_folder_is_made(tmp_path):
    with pytest.raises(bh.DataError):
        bh.fit(bh.RandomSlope(**BASE), frame().assign(y=1.0), path=tmp_path / "fit", **FEW)
    assert not (tmp_path / "fit").exists()


# --- what must work --------------------------------------------------------------------------------------------------------


def fitted(data, **changes):
    """A short fit, and its effects, without any warning but that it is short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        fit = bh.fit(bh.RandomSlope(**BASE | changes), data, **FEW)
    assert bh.effects(fit)["estimate"].notna().all()
    return fit


def checks(fit):
    return {c.name: c.value for c in fit.diagnosis.checks}


@pytest.fixture(scope="module")
def usual():
    return fitted(frame(), covariates="x")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((1e6, 0), (1, 0)),
        ((1e-9, 0), (1, 0)),
        ((1, 1e6), (1, 0)),
        ((1, 0), (1e9, 0)),
        ((1, 0), (1e-9, 1)),
        ((1, 0), (1, 1e9)),
    ],
)
def test_units_do_not_matter(usual, x, y):
    """The same posterior in other units, to Monte Carlo error, sampled as easily."""
    data = frame().assign(x=lambda d: x[0] * d["x"] + x[1], y=lambda d: y[0] * d["y"] + y[1])
    fit = fitted(data, covariates="x")
    for name, unit in (("gamma1", y[0]), ("gamma2", y[0] / x[0]), ("sd", y[0]), ("sigma", y[0])):
        here, there = (
            fit.posterior[name].stack(s=("chain", "draw")) / unit,
            usual.posterior[name].stack(s=("chain", "draw")),
        )
        assert np.abs(here.mean("s") - there.mean("s")).max() < 0.3 * there.std("s").min()
    assert checks(fit)["R-hat"] < 1.06
    assert checks(fit)["bulk ESS"] > 100
    assert checks(fit)["divergences"] <= 4


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d[d["school"].isin(["s0", "s1"])],
        lambda d: pd.concat([d, d.iloc[[0]].assign(school="lonely").set_axis(["one"])]),
        lambda d: d.iloc[:15],
        lambda d: d.assign(school=lambda d: d["school"].str[1:].astype(float)),
        lambda d: d.assign(y=np.where(np.arange(N) == 5, 1e6, d["y"])),
    ],
    ids=["two clusters", "a cluster of one row", "few rows", "float labels", "an outlier"],
)
def test_little_or_odd_data_can_be_fitted(change):
    fit = fitted(change(frame()))
    assert all(np.isfinite(v).all() for v in fit.posterior.values())


@pytest.mark.parametrize(
    ("family", "y"),
    [
        ("logit", lambda d: d["arm"] == "high"),
        ("probit", lambda d: d["school"].isin(["s1", "s2"])),
        ("poisson", lambda d: np.where(d["arm"] == "high", 0, d["errors"])),
        ("poisson", lambda d: 1_000_000 * d["errors"]),
        ("student", lambda d: np.where(np.arange(N) == 5, 1e9, d["y"])),
        ("skew normal", lambda d: np.where(np.arange(N) == 5, 1e3, d["y"])),
    ],
    ids=["arms separate", "clusters separate", "an arm of zeros", "large counts", "an outlier", "an outlier, skewed"],
)
def test_outcomes_at_the_edge_can_be_fitted(family, y):
    fit = fitted(frame().assign(y=y), family=family, varying=())
    assert all(np.isfinite(v).all() for v in fit.posterior.values())


def test_new_data_for_predictions(usual):
    new = frame(1)
    assert bh.predict(usual, new.head(3)).sizes["row"] == 3
    for data, words in [
        (new.drop(columns="x"), "'x' is not in the data"),
        (new.assign(school="s99"), "'s99'"),
        (new.assign(arm="none"), "'none'"),
        (new.assign(x=np.nan), "No row is complete"),
        (new.assign(x=np.inf), "infinite"),
        ([1], "DataFrame"),
    ]:
        with pytest.raises(bh.DataError, match=words):
            bh.predict(usual, data)


def test_new_categories_in_predictions():
    fit = fitted(frame(), covariates="sex", cluster=None, varying=())
    with pytest.raises(bh.DataError, match="'sex' cannot be evaluated"):
        bh.predict(fit, frame().assign(sex="x"))


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_data_are_never_changed(missing):
    data = frame().assign(
        sex=lambda d: pd.Categorical(d["sex"], ["f", "m", "x"]),
        whole=pd.array(WHOLE, "Int8"),
        arrow=cast(WHOLE % 2, "double[pyarrow]"),
        small=(WHOLE == 3).astype("float16"),
    )
    data.loc["row 3", "whole"] = pd.NA
    before, attrs = data.copy(deep=True), copy.deepcopy(data.attrs)
    changes = dict(covariates="sex + whole + arrow + small + bs(z, df=4)", within_between=("x",), missing=missing)
    if missing == "error":
        refused(bh.DataError, "'whole' in 1", data=data, **changes)
    else:
        design(data, **changes)
    pd.testing.assert_frame_equal(data, before, check_exact=True)
    assert data.dtypes.equals(before.dtypes)
    assert data.attrs == attrs
    assert data["sex"].cat.categories.tolist() == ["f", "m", "x"]


def test_ordered_outcome():
    third = np.arange(N) % 3
    spec = dict(family="ordered logit")
    refused(bh.DataError, "outcome 'y' must be whole numbers", "Text has no order", data=words(third), **spec)
    refused(bh.DataError, "whole numbers", "'y'", data=frame().assign(y=third + 0.5), **spec)
    unordered = frame().assign(y=pd.Categorical(third))
    refused(bh.DataError, "categorical without an order", "as_ordered", data=unordered, **spec)
    refused(bh.DataError, "has 21 categories, 20 are the most", data=frame().assign(y=np.arange(N) % 21), **spec)
    refused(bh.DataError, "outcome 'y' is constant (1 in all", data=frame().assign(y=1), **spec)
    gappy = design(frame().assign(y=np.where(third == 2, 7, third)), **spec)
    np.testing.assert_array_equal(gappy["y"], third)
    assert list(gappy.attrs["categories"]) == ["0", "1", "7"]
    order = ["low", "middle", "high"]
    text = frame().assign(y=pd.Categorical(np.array(order)[third], order, ordered=True))
    np.testing.assert_array_equal(design(text, **spec)["y"], third)
    assert list(design(text, **spec)["inner_category"].values) == ["middle"]


def words(codes):
    """The frame with text in place of categories."""
    return frame().assign(y=np.array(["low", "middle", "high"])[codes])
