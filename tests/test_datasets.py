"""Data that are made to given moments have them."""

import numpy as np
import pandas as pd
import pytest

from bayeshte import datasets


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(3)
    between, within = (x @ x.T for x in rng.normal(size=(2, 2, 2)))
    arm = pd.DataFrame({"treat": np.arange(12) % 2, "school": [f"s{k:02}" for k in range(12)]})
    expected = pd.DataFrame(np.outer(arm["treat"], [3.0, -1.0]) + 5, columns=["y", "m"])
    return datasets.with_moments(expected, between, within, 4, covariates=arm, seed=1), expected, between, within


def test_clusters_have_the_moments_that_were_asked_for(made):
    data, expected, between, within = made
    assert [*data.columns] == ["y", "m", "treat", "school"]
    assert (data.groupby("school").size() == 4).all()
    means = data.groupby("school")[["y", "m"]].mean()
    rest = means.to_numpy() - expected.to_numpy()
    np.testing.assert_allclose(rest.T @ rest / 12, between + within / 4)
    own = (data[["y", "m"]] - data.groupby("school")[["y", "m"]].transform("mean")).to_numpy()
    np.testing.assert_allclose(own.T @ own / (48 - 12), within)


def test_what_is_added_is_uncorrelated_with_the_expected_values(made):
    data, *_ = made
    slopes = np.polyfit(data["treat"], data[["y", "m"]], 1)
    np.testing.assert_allclose(slopes, [[3, -1], [5, 5]])


def test_a_seed_decides_all_but_the_moments(made):
    data, expected, between, within = made
    given = (expected, between, within, 4, data[["treat", "school"]].iloc[::4])
    assert datasets.with_moments(*given, seed=1).equals(data)
    assert not np.allclose(datasets.with_moments(*given, seed=2)["y"], data["y"])
