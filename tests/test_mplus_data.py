"""The data file of a Mplus input: where it is found, how its values are read, and what is refused by line and column."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayeshte.errors import DataError
from bayeshte.mplus import datafile
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Statement

NAN = np.nan


def read(tmp_path, content, names="x y", statements=(), **kwargs):
    """The data and notes of a file with this content."""
    path = tmp_path / "d.dat"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    setting = Settings(names=names.split(), **{"use": names.split(), **kwargs})
    return datafile.read(path, setting, statements), setting.notes


def values(*args, **kwargs):
    return read(*args, **kwargs)[0].to_numpy().tolist()


def refused(*said, tmp_path, content, **kwargs):
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, **kwargs)
    for words in said:
        assert words in str(caught.value), str(caught.value)


# ------------------------------------------------------------------------------------------------------------ the place


@pytest.fixture
def folder(tmp_path):
    for name in ("Data.DAT", "notes.md", "other.csv", "model.inp"):
        (tmp_path / name).write_text("1 2\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.dat").write_text("1 2\n")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["Data.DAT", '"Data.DAT"', "'Data.DAT'", "sub/deep.dat", "sub\\deep.dat", ".\\sub\\..\\Data.DAT"],
)
def test_a_file_that_is_where_the_input_says_has_no_note(folder, name):
    path, note = datafile.locate(name, folder, None)
    assert path.read_text() == "1 2\n"
    assert note == ""


def test_an_absolute_path_is_taken_as_it_is(folder):
    assert datafile.locate(str(folder / "sub" / "deep.dat"), Path("elsewhere"), None)[0] == folder / "sub" / "deep.dat"


@pytest.mark.parametrize(
    "name", ["C:\\Users\\Me\\my files\\data.dat", "/home/me/DATA.dat", '"D:/x/data.DAT"', "data.dat"]
)
def test_a_path_of_another_machine_is_looked_for_beside_the_input(folder, name):
    path, note = datafile.locate(name, folder, None)
    assert path == folder / "Data.DAT"
    assert "Data.DAT beside the input" in note


def test_the_same_case_goes_first(folder):
    (folder / "data.dat").write_text("9\n")
    assert datafile.locate("C:\\data.dat", folder, None)[0] == folder / "data.dat"
    assert datafile.locate("C:\\Data.DAT", folder, None)[0] == folder / "Data.DAT"


def test_a_missing_file_lists_places_and_data_files(folder):
    with pytest.raises(DataError) as caught:
        datafile.locate("C:\\a\\missing.dat", folder, None)
    message = str(caught.value)
    assert all(part in message for part in (str(folder / "missing.dat"), "Data.DAT, other.csv", "--data"))
    assert "notes.md" not in message
    with pytest.raises(DataError, match="no data file"):
        datafile.locate("x.dat", folder / "nowhere", None)
    with pytest.raises(DataError, match="is not there"):
        datafile.locate("sub", folder, None)  # a folder is no file


def test_another_file_may_be_given(folder):
    path, note = datafile.locate("x.dat", folder, folder / "other.csv")
    assert path == folder / "other.csv"
    assert "instead of x.dat" in note
    with pytest.raises(DataError, match=r"none\.dat is not there"):
        datafile.locate("Data.DAT", folder, folder / "none.dat")


# ----------------------------------------------------------------------------------------------------------- the values


@pytest.mark.parametrize(
    "content",
    [
        "1 2\n3 4\n",
        "1,2\n3,4",
        "1\t2\n3\t4\n",
        "  1   2  \n\t3 ,\t4\n\n\n",
        "1, 2\r\n3, 4\r\n",
        "1 2\r3 4\r",
        b"\xef\xbb\xbf1 2\n3 4\n",
        "1,2,\n3,4, \n",
        "1,2,\n3,4\n",
        '"1","2"\n"3",4\n',
        "'1' 2\n3 '4'\n",
        "1.0D+00 2.0d0\n30E-1 .4e1\n",
        "+1 2.\n\n3 4\n",
        "X Y\n1 2\n3 4\n",
        '"x","y"\n1,2\n3,4\n',
    ],
)
def test_free_format(tmp_path, content):
    assert values(tmp_path, content) == [[1, 2], [3, 4]]


def test_values_are_the_nearest_doubles(tmp_path):
    rng = np.random.default_rng(1)
    x = rng.normal(size=500) * 10.0 ** rng.integers(-8, 8, 500)
    frame, _ = read(tmp_path, "\n".join(f"{v!r} 1" for v in x.tolist()))
    assert (frame["x"] == x).all()
    assert frame.dtypes.tolist() == [np.dtype(float)] * 2


def test_pandas_reads_the_same(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(2).normal(size=(200, 3)), columns=["a", "b", "c"])
    frame.iloc[3, 1] = frame.iloc[9, 2] = NAN
    for sep in " ,\t":
        content = frame.to_csv(sep=sep, header=False, index=False, na_rep="*")
        pd.testing.assert_frame_equal(read(tmp_path, content, "a b c", symbol="*")[0], frame, check_exact=True)


@pytest.mark.parametrize("symbol", [".", "*"])
def test_a_symbol_is_missing(tmp_path, symbol):
    np.testing.assert_equal(values(tmp_path, f"{symbol} 2\n3 {symbol}\n", symbol=symbol), [[NAN, 2], [3, NAN]])
    np.testing.assert_equal(
        values(tmp_path, f"{symbol} 2 a\n3 {symbol} b", "x y id", use=["x", "y"], symbol=symbol),
        [[NAN, 2, NAN], [3, NAN, NAN]],
    )


def test_numbers_and_ranges_are_missing_by_column(tmp_path):
    missing = {"x": [(-99, -99)], "y": [(98, 99), (7, 7)]}
    found = values(tmp_path, "-99 -99\n98 98\n7 7\n. 98.5\n1 97\n", missing=missing, symbol=".")
    np.testing.assert_equal(found, [[NAN, -99], [98, NAN], [7, NAN], [NAN, NAN], [1, 97]])


@pytest.mark.parametrize(
    "content",
    [",2,\n3,,4\n,,5", " ,2, \n3, ,4,\n,\t,5,", "\t2\t\n3\t\t4\n\t\t5\t", ',2,""\n3,"",4\n"","",5'],
)
def test_an_empty_field_is_missing_if_blank_is(tmp_path, content):
    np.testing.assert_equal(
        values(tmp_path, content, "x y z", symbol="BLANK"), [[NAN, 2, NAN], [3, NAN, 4], [NAN, NAN, 5]]
    )


def test_blank_needs_separators(tmp_path):
    refused("line 2: 1 values", "NAMES has 2", tmp_path=tmp_path, content="1 2\n3  \n", symbol="BLANK")


def test_tabs_that_align_are_one_separator(tmp_path):
    assert values(tmp_path, "1\t\t2\n3\t4\n") == [[1, 2], [3, 4]]


def test_a_header_with_the_names_is_skipped_with_a_note(tmp_path):
    frame, notes = read(tmp_path, "\nLong_name_one,y\n1,2\n", "long_nam y")
    assert frame.to_numpy().tolist() == [[1, 2]]
    assert any("line 2" in n and "Mplus would stop" in n for n in notes)


def test_other_headers_are_refused(tmp_path):
    refused("line 1", "another order", tmp_path=tmp_path, content="y x\n1 2\n")
    refused("line 1: a b: words", "header", tmp_path=tmp_path, content="a b\n1 2\n")
    refused("line 1: x y z", tmp_path=tmp_path, content="x y z\n1 2 3\n")


def test_a_wrong_number_of_values_names_line_and_counts(tmp_path):
    refused("d.dat, line 3: 1 values", "NAMES has 2", "1 of 3 lines", tmp_path=tmp_path, content="1 2\n3 4\n5\n")
    refused("line 4: 3 values", tmp_path=tmp_path, content="1 2\n\n3 4\n5 6 7\n")
    refused("line 1: 3 values", "All lines", "name every column", tmp_path=tmp_path, content="1 2 3\n4 5 6\n")
    refused("Decimal commas", tmp_path=tmp_path, content="1,5 2,5\n3,5 4,5\n")
    refused("not by ';'", tmp_path=tmp_path, content="1;2\n3;4\n")
    refused("no values", tmp_path=tmp_path, content=" \n\n")
    refused("not a text file", tmp_path=tmp_path, content="1 2".encode("utf-16"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1 2\n3 .\n", ("line 2: y is '.'", "MISSING = .;")),
        ("1 2\n\n* 4\n* 5", ("line 3: x is '*'", "2 of 3 rows", "MISSING = *;")),
        ("1 NA\n", ("line 1: y is 'NA'", "MISSING = .;")),
        ("1 2\nnan 1\n", ("line 2: x is 'nan'", "MISSING")),
        ("1,,\n3,4,\n", ("line 1: y is ''", "empty", "MISSING = BLANK")),
        ("1 2\n3 abc\n", ("line 2: y is 'abc'", "no number")),
        ("1 2\n1e 2\n", ("line 2: x is '1e'", "no number")),
        ("1 1e999\n", ("y is '1E999'", "too large")),
        ("1 inf\n", ("y is 'inf'",)),
        ("1 0x10\n", ("y is '0x10'",)),
        ("1 1_0\n", ("y is '1_0'",)),
        ('1 "a b, c"\n', ("y is 'a b, c'",)),
        ("1 2;3\n", ("y is '2;3'", "not by ';'")),
    ],
)
def test_what_is_no_number_is_named(tmp_path, content, said):
    said = [s.replace("1E999", "1e999") for s in said]
    refused(*said, tmp_path=tmp_path, content=content)


def test_one_sign_for_missing(tmp_path):
    refused("MISSING says that * is missing", tmp_path=tmp_path, content="1 .\n", symbol="*")


def test_text_of_unused_columns_is_missing_with_a_note(tmp_path):
    frame, notes = read(tmp_path, "anna 1 2\nbert 3 4\n", "id x y", use=["x", "y"])
    assert frame["id"].isna().all()
    assert frame[["x", "y"]].to_numpy().tolist() == [[1, 2], [3, 4]]
    assert any("id has text, such as 'anna'" in n for n in notes)


def test_labels_of_clusters_and_rows_are_kept(tmp_path):
    content = '"North, old" a1 1\nS2 a2 2\n. 7 3\n'
    frame, _ = read(tmp_path, content, "school id x", use=["x"], cluster="school", keep=["id"], symbol=".")
    assert frame["school"].tolist()[:2] == ["North, old", "S2"]
    assert frame["school"].isna().tolist() == [False, False, True]
    assert frame["id"].tolist() == ["a1", "a2", "7"]
    assert frame["x"].tolist() == [1, 2, 3]


def test_text_that_define_or_a_condition_uses_is_refused(tmp_path):
    content, names = "anna 1\nbert 3\n", "id x"
    statement = Statement("DEFINE", "z = x + id", 9)
    refused("id is 'anna'", tmp_path=tmp_path, content=content, names=names, use=["x"], statements=[statement])
    condition = Statement("VARIABLE", "id EQ 3", 4)
    refused("id is 'anna'", tmp_path=tmp_path, content=content, names=names, use=["x"], condition=condition)
    for role in ("within", "between"):
        refused("id is 'anna'", tmp_path=tmp_path, content=content, names=names, use=["x"], **{role: ["id"]})


def test_many_rows(tmp_path):
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(50_000, 4)).round(4), columns=list("abcd"))
    found, _ = read(tmp_path, frame.to_csv(header=False, index=False), "a b c d")
    pd.testing.assert_frame_equal(found, frame, check_exact=True)


# ------------------------------------------------------------------------------------------------------- complete rows


def test_rows_without_values_are_dropped():
    frame = pd.DataFrame({"g": [1.0, 1, 2, 2], "x": [1, NAN, NAN, 2], "y": [NAN, NAN, 3, 4], "z": [NAN, 9, NAN, 1]})
    setting = Settings(names=[*"gxyz"], use=["g", "x", "y"], cluster="g")
    assert datafile.complete(frame, setting).index.tolist() == [0, 2, 3]
    assert "1 of 4 rows" in setting.notes[0]
    setting = Settings(names=[*"gxyz"], use=["x", "y"], cluster="g", listwise=True)
    assert datafile.complete(frame, setting).index.tolist() == [3]
    assert "3 of 4 rows" in setting.notes[0]
    assert "LISTWISE" in setting.notes[0]
    setting = Settings(names=[*"gxyz"], use=["x"])
    assert datafile.complete(frame.dropna(subset="x"), setting).index.tolist() == [0, 3]
    assert setting.notes == []
    with pytest.raises(DataError, match="All 2 rows have"):
        datafile.complete(frame.iloc[:2], Settings(names=[*"gxyz"], use=["y"]))


# ----------------------------------------------------------------------------------------------------------------- fuzz

PIECES = st.sampled_from(
    [
        *"12.*,;'\"+-eDx \t\n",
        "\r\n",
        "NA",
        "nan",
        "inf",
        "1e400",
        "1D3",
        "x",
        "y",
        "\ue000",
        "é",
        "\x1c",
        "\xa0",
        "\v",
        "\u2028",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=25), st.sampled_from(["", ".", "*", "BLANK"]), st.booleans())
def test_any_text_is_read_or_refused(tmp_path_factory, pieces, symbol, identifier):
    path = tmp_path_factory.getbasetemp() / "fuzz.dat"
    path.write_bytes("".join(pieces).encode())
    setting = Settings(names=["x", "y"], use=["x"], keep=["y"] if identifier else [], symbol=symbol)
    try:
        frame = datafile.read(path, setting)
    except DataError:
        return
    assert list(frame.columns) == ["x", "y"]
    assert frame["x"].dtype == float
    assert not np.isinf(frame["x"]).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=2, max_size=2), min_size=1, max_size=6), st.data())
def test_written_values_are_read_back(tmp_path_factory, rows, data):
    path = tmp_path_factory.getbasetemp() / "written.dat"
    lines = []
    for row in rows:
        separator = data.draw(st.sampled_from([" ", ",", "\t", " , ", ",\t", "   "]))
        lines.append(separator.join("." if v is None else repr(v) for v in row))
    path.write_text(data.draw(st.sampled_from(["\n", "\r\n"])).join(lines))
    frame = datafile.read(path, Settings(names=["x", "y"], use=["x", "y"], symbol="."))
    np.testing.assert_array_equal(frame.to_numpy(), np.array(rows, float))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.just("a" * 5000))
def test_any_file_name_is_found_or_refused(tmp_path_factory, name):
    with suppress(DataError):
        datafile.locate(name, tmp_path_factory.getbasetemp(), None)
