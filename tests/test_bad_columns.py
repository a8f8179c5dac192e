"""Columns, missing values and types: bad ones end in an error that names column, value, count and what to do."""

import numpy as np
import pandas as pd
import pytest
from cases import frame
from refusals import BASE, WHOLE, N, cast, changed, design, refused

import bayeshte as bh

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
