"""Wide tables to responses."""

import re

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh

WIDE = pd.DataFrame(
    {"child": ["a", "b", "c"], "arm": [0, 1, 1], "w_10": [1, 0, 1], "w_2": [True, False, True], "age": [6.0, 7.0, 8.0]},
    index=[5, 3, 9],
)


def test_responses_from_wide():
    before = WIDE.copy(deep=True)
    out = bh.responses_from_wide(WIDE.assign(w_2=[1, np.nan, 0]), "w_*", person="child", item="word", response="right")
    assert WIDE.equals(before)
    assert out.columns.tolist() == ["child", "arm", "age", "word", "right"]
    assert out["child"].tolist() == ["a", "a", "b", "b", "c", "c"]
    assert out["word"].tolist() == ["w_10", "w_2"] * 3
    np.testing.assert_array_equal(out["right"], [1, 1, 0, np.nan, 1, 0])
    assert out["age"].tolist() == [6, 6, 7, 7, 8, 8]
    by_name = bh.responses_from_wide(WIDE, ["w_2", "w_10"])
    assert by_name["person"].tolist() == [5, 5, 3, 3, 9, 9]
    assert by_name["item"].tolist() == ["w_2", "w_10"] * 3


def test_the_model_of_wide_data_is_that_of_long_data():
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.integers(0, 2, (12, 4)), columns=list("pqrs")).assign(arm=np.arange(12) % 2)
    wide.loc[3, "q"] = np.nan
    spec = bh.ItemResponse(person="person", item="item", response="response", treatment="arm")
    design = spec.design(bh.responses_from_wide(wide, list("pqrs")))
    assert design.sizes["row"] == 47
    assert design["item"].to_numpy().tolist() == list("pqrs")
    by_hand = wide[list("pqrs")].to_numpy().ravel()
    np.testing.assert_array_equal(design["y"], by_hand[~np.isnan(by_hand)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": "x_*"}, "No column matches items='x_*'"),
        ({"items": "w_2"}, "at least two items"),
        ({"items": ["w_2", "w_3"]}, "'w_3' is not in the data"),
        ({"items": ["w_2", "w_2"]}, "'w_2' is given twice"),
        ({"items": "w_*", "person": "arm"}, "1 rows repeat a person of 'arm', the first is row 9 (1)"),
        ({"items": "w_*", "person": "w_2"}, "names the person and is one of the items"),
        ({"items": "w_*", "item": "age"}, "have a column 'age' already"),
        ({"items": "w_*", "item": "x", "response": "x"}, "name two columns"),
        ({"items": "w_*", "person": "id"}, "'id' is not in the data"),
    ],
)
def test_bad_wide_data(options, message):
    with pytest.raises((bh.DataError, bh.SpecError), match=re.escape(message)):
        bh.responses_from_wide(WIDE, **options)


def test_persons_without_a_name_and_tables_of_another_kind():
    with pytest.raises(bh.DataError, match="1 rows have no 'child', the first is row 3"):
        bh.responses_from_wide(WIDE.assign(child=["a", None, "c"]), "w_*", person="child")
    with pytest.raises(bh.SpecError, match="say person='person'"):
        bh.responses_from_wide(WIDE.rename(columns={"child": "person"}), "w_*")
    with pytest.raises(bh.DataError, match="must be a pandas DataFrame"):
        bh.responses_from_wide([1, 2], "w_*")
