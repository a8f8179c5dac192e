"""Properties of the design over random frames: it is right, or it is refused with a reason; never a traceback or a warning."""

import dataclasses
import functools
import warnings

import numpy as np
import pandas as pd
import pytest
from cases import SPECS, frame
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import bayeshte as bh
from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.families.random_slope_design import main_formula

CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
quickly = settings(deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS)

# --- frames with everything that goes wrong ------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
FLOATS = st.floats(width=64)
USUAL = st.floats(-5, 5).map(lambda v: round(v, 2))


def filled(n, values):
    return st.lists(values, min_size=n, max_size=n)


def numbers(n):
    """A column that should be numeric, and often is not quite."""
    usual = filled(n, USUAL)
    missing = st.sampled_from([None, np.nan, pd.NA])
    return st.one_of(
        usual,
        usual,
        usual,
        filled(n, FLOATS),
        filled(n, st.integers(-(2**62), 2**62)),
        filled(n, st.integers(0, 3)),
        filled(n, st.integers(0, 3) | missing).map(lambda v: pd.array(v, "Int64")),
        filled(n, USUAL | st.none()).map(lambda v: pd.array(v, "Float64")),
        filled(n, USUAL | st.none()).map(lambda v: pd.array(v, "double[pyarrow]")),
        filled(n, st.booleans()),
        filled(n, st.booleans() | st.none()).map(lambda v: pd.array(v, "boolean")),
        filled(n, st.integers(-100, 100)).map(lambda v: np.array(v, "int8")),
        filled(n, USUAL).map(lambda v: np.array(v, "float16")),
        filled(n, USUAL).map(lambda v: np.array(v) * 1j),
        st.just([1.5] * n),
        st.just(pd.date_range("2020-01-01", periods=n)),
        filled(n, WORDS | USUAL | st.none()).map(lambda v: pd.array(v, object)),
        filled(n, WORDS),
    )


def labels(n):
    """A column of labels: arms, clusters, categories."""
    few = st.sampled_from(["a", "b", "c"])
    return st.one_of(
        filled(n, few),
        filled(n, few),
        filled(n, few).map(lambda v: pd.Categorical(v, ["d", "c", "b", "a"])),
        filled(n, few | st.none()),
        filled(n, st.integers(0, 1)),
        filled(n, st.integers(0, 4)),
        filled(n, st.integers(0, 4).map(float) | st.just(np.nan)),
        filled(n, st.booleans()),
        filled(n, WORDS),
        filled(n, few | st.integers(0, 2) | st.booleans()).map(lambda v: pd.array(v, object)),
        filled(n, st.integers(0, 3)).map(lambda v: pd.to_datetime("2020-01-01") + pd.to_timedelta(v, unit="D")),
        filled(n, st.tuples(st.integers(0, 2))).map(lambda v: pd.array(v, object)),
        filled(n, st.just([1])).map(lambda v: pd.array(v, object)),
        numbers(n),
    )


def indices(n):
    return st.one_of(
        st.just(pd.RangeIndex(n)),
        filled(n, st.integers(0, 50)).map(pd.Index),
        st.just(pd.Index([f"r{k}" if k % 2 else k for k in range(n)])),
        st.just(pd.date_range("2020-01-01", periods=n)),
        st.just(pd.MultiIndex.from_arrays([np.arange(n) // 3, np.arange(n) % 3])),
    )


@st.composite
def frames(draw):
    """A healthy frame in which up to two things are wrong."""
    data = frame(draw(st.integers(0, 3)), draw(st.sampled_from([2, 5, 12])))
    data = data.iloc[: draw(st.sampled_from([len(data), len(data), len(data), 12, 5, 1, 0]))]
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        n = len(data)
        column = draw(st.sampled_from(["y", "arm", "school", "x", "z", "sex", "se"]))
        match draw(
            st.sampled_from(["numbers", "numbers", "labels", "labels", "cells", "cells", "index", "drop", "scale"])
        ):
            case "numbers":
                data = data.assign(**{column: draw(numbers(n))})
            case "labels":
                data = data.assign(**{column: draw(labels(n))})
            case "cells" if column in data:
                cell = draw(st.sampled_from([None, np.nan, np.inf, -np.inf, "?", 0, 1e300, 5e-324]))
                where = draw(st.lists(st.integers(0, max(n - 1, 0)), max_size=3))
                values = data[column].astype(object)
                values.iloc[[k for k in where if k < n]] = cell
                data = data.assign(**{column: values.infer_objects()})
            case "index":
                data = data.set_axis(draw(indices(n)))
            case "drop":
                data = data.drop(columns=column, errors="ignore")
            case "scale" if column in data and data[column].dtype.kind == "f":
                data = data.assign(**{column: data[column] * 10.0 ** draw(st.integers(-60, 60)) + draw(USUAL)})
    return data


@st.composite
def specifications(draw):
    """A specification that makes sense, and now and then one that does not."""
    spec = draw(st.sampled_from([s for name, s in SPECS.items() if name != "mplus"]))
    formulas = st.sampled_from(
        [
            "x",
            "x + sex",
            "sex",
            "C(x)",
            "bs(x, df=4)",
            "np.log(x)",
            "x*sex",
            "I(x**2)",
            "poly(x, 2)",
            "{1 / x}",
            "x +",
            "arm",
        ]
    )
    options = dict(
        reference=st.sampled_from(["control", "0", None]),
        covariates=formulas,
        moderators=formulas,
        slopes=st.sampled_from(["x", "sex"]),
        varying=st.sampled_from(["all", (), "high", "low"]),
        within_between=st.sampled_from([("x",), ("x", "z")]),
        missing=st.just("drop"),
        sigma_by_arm=st.booleans(),
        family=st.sampled_from(["student", "skew normal", "gaussian"]),
        priors=st.sampled_from(["default", "mplus"]),
    )
    changes = {k: draw(options[k]) for k in draw(st.lists(st.sampled_from(list(options)), max_size=2))}
    return spec, changes


def right(design, spec, data):
    """What holds of every design that is not refused."""
    for name, values in design.variables.items():
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), name
    D = Arrays(design)
    kept = (
        data
        if D.design.sizes["row"] == len(data)
        else data.dropna(subset=list(columns.raw_frame(design).columns.intersection(data.columns)))
    )
    assert design["row"].to_numpy().tolist() == columns.row_labels(kept.index).tolist()
    if spec.cluster:
        given = columns.labels_of(pd.factorize(kept[spec.cluster])[1].tolist())
        assert (
            np.array(D.labels(spec.cluster))[D.code].tolist()
            == np.array(given)[pd.factorize(kept[spec.cluster])[0]].tolist()
        )
    if spec.treatment:
        assert D.labels(D.arms)[0] == design.attrs["reference"]
        given = columns.labels_of(pd.factorize(kept[spec.treatment])[1].tolist())
        assert (
            np.array(D.labels(D.arms))[D.arm].tolist()
            == np.array(given)[pd.factorize(kept[spec.treatment])[0]].tolist()
        )
    again = formulas.Terms(main_formula(spec), columns.raw_frame(design))
    assert again.labels == D.labels("covariate")
    np.testing.assert_allclose(again.matrix, D.X)
    assert all(np.isfinite(v).all() for v in (D.moments().XX, D.moments().rr, D.moments().offset))


made = []


@settings(quickly, max_examples=250)
@given(frames(), specifications())
def test_a_design_is_right_or_refused(data, specification):
    spec, changes = specification
    before = data.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            spec = dataclasses.replace(spec, **changes)
            design = spec.design(data)
            spec.frozen_priors(design)
        except (bh.SpecError, bh.DataError) as error:
            made.append(str(error)[:30])
        else:
            made.append(True)
            right(design, spec, data)
    pd.testing.assert_frame_equal(data, before)


def test_enough_of_the_examples_were_refused_and_enough_were_not():
    if not made:  # another process ran them
        test_a_design_is_right_or_refused()
    assert 50 < sum(m is True for m in made) < len(made) - 50


# --- order and names -----------------------------------------------------------------------------------------------------


def raw_log_density(spec, design, x):
    """The sampled log density in unconstrained parameters, without the coordinates that the data's rounding may change."""
    density = spec.marginal(design, spec.frozen_priors(design))
    return density.with_coordinates(np.zeros(density.n_top), np.eye(density.n_top))(x[: density.n_dim])[0]


GAUSSIAN = {name: spec for name, spec in SPECS.items() if spec.family == "gaussian"}


@functools.cache
def design_of(name):
    return SPECS[name].design(frame())


@settings(quickly, max_examples=30)
@given(st.sampled_from(list(GAUSSIAN)), st.integers(0, 1000))
def test_row_order_and_cluster_labels_change_only_the_order(name, seed):
    """Moments equal and the log density equal at the same point."""
    spec, before = SPECS[name], design_of(name)
    data = frame()
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(data))
    towns = dict(zip(data["school"].unique(), rng.permutation([f"town {k}" for k in range(12)]), strict=True))
    after = spec.design(data.iloc[rows].assign(school=lambda d: d["school"].map(towns)))

    assert after["row"].to_numpy().tolist() == data.index[rows].tolist()
    np.testing.assert_allclose(after["X"], before["X"][rows], atol=1e-12)
    np.testing.assert_array_equal(after["arm_code"], before["arm_code"][rows])
    a, b = Arrays(after), Arrays(before)
    m, n, order = a.moments(), b.moments(), [0]
    if spec.cluster:
        assert after.attrs["data_hash"] != before.attrs["data_hash"]
        order = [b.labels("school").index({t: s for s, t in towns.items()}[label]) for label in a.labels("school")]
    for v in ("n", "rr", "Xr", "XX"):
        np.testing.assert_allclose(getattr(m, v), getattr(n, v)[order], rtol=1e-8, atol=1e-8)
    x = np.random.default_rng(0).normal(0, 0.5, 50)
    assert raw_log_density(spec, after, x) == pytest.approx(raw_log_density(spec, before, x), rel=1e-8)


@settings(quickly, max_examples=30)
@given(st.lists(WORDS.filter(str.strip), min_size=12, max_size=12, unique_by=str.strip), st.permutations(range(12)))
def test_labels_of_any_text_come_back(words, order):
    data = frame()
    schools = dict(zip(data["school"].unique(), words, strict=True))
    arms = dict(zip(["control", "low", "high"], [words[k] for k in order[:3]], strict=True))
    renamed = data.assign(school=data["school"].map(schools), arm=data["arm"].map(arms))
    assume("intercept" not in arms.values())
    spec = bh.RandomSlope(
        outcome="y",
        treatment="arm",
        reference=arms["control"],
        cluster="school",
        varying=(arms["high"],),
        covariates="x",
    )
    design, plain = spec.design(renamed), SPECS["slope and intercept"].design(data)
    D = Arrays(design)
    assert D.labels("school") == words
    assert set(D.labels("arm_arm")) == set(arms.values())
    assert D.labels("arm_arm")[0] == arms["control"]
    assert np.array(D.labels("school"), object)[D.code].tolist() == renamed["school"].tolist()
    assert np.array(D.labels("arm_arm"), object)[D.arm].tolist() == renamed["arm"].tolist()
    np.testing.assert_array_equal(D.code, Arrays(plain).code)
    assert len(spec.frozen_priors(design)) == len(SPECS["slope and intercept"].frozen_priors(plain)) + 1
    back = columns.raw_frame(design)
    assert back["school"].tolist() == renamed["school"].tolist()


@settings(quickly, max_examples=30)
@given(st.lists(WORDS.filter(lambda w: w not in ("", "0", "1") and "`" not in w), min_size=3, max_size=3, unique=True))
def test_columns_of_any_name_are_covariates(names):
    assume(not {*names} & {"y", "arm", "school", "chain", "draw"})
    x, z, sex = names
    data = frame().rename(columns={"x": x, "z": z, "sex": sex})
    assume(data.columns.is_unique)
    spec = bh.RandomSlope(
        outcome="y",
        treatment="arm",
        reference="control",
        cluster="school",
        varying="high",
        covariates=f"`{z}` + `{sex}`",
        within_between=(x,),
    )
    made = spec.design(data)
    plain = dataclasses.replace(spec, covariates="z + sex", within_between=("x",)).design(frame())
    np.testing.assert_array_equal(made["X"], plain["X"])
    assert made["covariate"].to_numpy().tolist() == [f"{x}_within", f"{x}_between", z, f"{sex}[m]"]
