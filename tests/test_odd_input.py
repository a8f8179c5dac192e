"""Data that are few, odd or badly scaled, and can be fitted all the same."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from cases import frame
from refusals import BASE, FEW, WHOLE, N, cast, design, refused

import bayeshte as bh


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
