"""Tables in APA style: digits, labels, escapes, and the verdict of a fit that did not converge."""

import re
from html.parser import HTMLParser

import docx
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayeshte as bh
from bayeshte.convergence import Check, Diagnosis
from bayeshte.summary import rows
from bayeshte.tables import apa, to_docx, to_html, to_latex
from bayeshte.tables.digits import number, percent, probability, significant, supported_decimals, two_digits

BAD = Diagnosis((Check("R-hat", False, 1.4, 1.01, "largest R-hat 1.400 (sd)"),))
FORMS = {
    "text": lambda frame: (lambda t: f"{t.attrs['caption']} {t.attrs['note']} {t.to_string()}")(apa(frame, "Effects")),
    "html": lambda frame: to_html(frame, "Effects"),
    "latex": lambda frame: to_latex(frame, "Effects"),
}


def summary(interval="eti", level=0.95) -> pd.DataFrame:
    """A parameter table of 4 x 1000 independent draws with known means and SDs."""
    rng = np.random.default_rng(0)
    parts = []
    for name, mean, sd in (("gamma0", 483.0, 2.7), ("corr[intercept, small]", -0.25, 0.12), ("sd[small]", 17.0, 2.0)):
        draws = xr.DataArray(rng.normal(mean, sd, (4, 1000)), dims=("chain", "draw"), name=name)
        parts.append(rows(draws, interval, level))
    return pd.concat(parts, ignore_index=True)


def effects(names=("ATE", "ATT"), contrasts=("small vs regular", "aide vs regular")) -> pd.DataFrame:
    """A table of effects with a definition and a threshold."""
    out = pd.concat([summary().iloc[[0]]] * len(names) * len(contrasts), ignore_index=True).drop(columns="parameter")
    out.insert(0, "definition", [f"average {n}" for n in names for _ in contrasts])
    out.insert(0, "contrast", list(contrasts) * len(names))
    out.insert(0, "estimand", [n for n in names for _ in contrasts])
    out["p_meaningful"] = 0.97
    out.attrs |= {"meaningful": -5.0, "scales": dict.fromkeys(names, "effect")}
    return out


class Tags(HTMLParser):
    """The tags of a page, and whether every one is closed where it should be."""

    void = ("meta", "img", "br", "hr", "mspace")

    def __init__(self, text):
        super().__init__()
        self.seen, self.open, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize(
    ("sd", "mcse", "decimals"),
    [
        (10, 0.2, 0),  # 0.2 is above 0.1, so that the first decimal is noise
        (1.4, 0.021, 1),
        (0.4, 0.008, 2),
        (0.03, 0.0005, 3),  # two digits of the SD need three decimals
        (1.0, 0.0001, 2),  # never more than two where the SD has two digits by then
        (np.nan, np.nan, 2),
        (0.0, np.nan, 2),
        (5000.0, 80.0, 0),
        (np.inf, np.inf, 2),
    ],
)
def test_digits_are_those_the_monte_carlo_error_supports(sd, mcse, decimals):
    assert supported_decimals(sd, mcse) == decimals


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.012"), (1.26, "1.3"), (12.6, "13"), (126.4, "126"), (126400.0, "126,400")]
)
def test_monte_carlo_errors_have_two_digits(value, text):
    assert two_digits(value) == text


@pytest.mark.parametrize(
    ("value", "decimals", "bounded", "text"),
    [
        (-0.254, 2, True, "−.25"),
        (0.254, 2, False, "0.25"),
        (1.0, 2, True, "1.00"),
        (-0.001, 2, False, "0.00"),
        (12345.6, 0, False, "12,346"),
        (100.04, 1, True, "100.0"),
        (np.nan, 2, False, "—"),
        (-np.inf, 2, False, "−∞"),
        (2.5e-9, 10, False, "2.50e−09"),
    ],
)
def test_numbers(value, decimals, bounded, text):
    assert number(value, decimals, bounded) == text


def test_probabilities_claim_no_more_than_the_draws_tell():
    assert [probability(p, 4000) for p in (0, 0.0349, 0.9996, np.nan)] == ["< .001", ".035", "> .999", "—"]
    assert [probability(0, n) for n in (500, 50)] == ["< .01", "< .1"]
    assert (significant(-2774.3), significant(0.02251), percent(0.9123)) == ("−2,774", "0.0225", "91.2 %")


def test_parameters():
    table = apa(summary(), "Parameters")
    assert list(table.columns) == ["Median", "Mean", "SD", "95 % CrI", "p", "MCSE", "R\u0302", "ESS bulk / tail"]
    assert table.index.name == "Parameter"
    assert re.fullmatch(r"48\d\.\d", table.loc["gamma0", "Median"])
    assert re.fullmatch(r"\[−\.\d\d, [−.\d]+\]", table.loc["corr[intercept, small]", "95 % CrI"])
    assert table.loc["sd[small]", "p"] == "—", "an SD is positive by definition"
    assert re.fullmatch(r"\d,\d{3} / \d,\d{3}", table.loc["gamma0", "ESS bulk / tail"])
    assert table.attrs["caption"] == "Parameters"
    assert "equal-tailed" in table.attrs["note"]


def test_intervals_carry_their_kind_and_level():
    assert "90 % HDI" in apa(summary("hdi", 0.9))
    assert "highest-density" in apa(summary("hdi", 0.9)).attrs["note"]
    unlabelled = summary()
    unlabelled.attrs = {}
    assert "[lower, upper]" in apa(unlabelled)


def test_effects_are_grouped_and_defined():
    table = apa(effects())
    assert table.index.names == ["Estimand", "Contrast"]
    assert "P(< −5)" in table
    assert "ATT: average ATT." in table.attrs["note"]
    html = to_html(effects())
    assert html.count('class="group"') == 2
    assert "<span>average ATT</span>" in html
    assert not Tags(html).open


def test_an_estimand_without_contrasts_has_its_numbers_beside_its_name():
    html = to_html(effects(("mean",), ("",)))
    assert re.search(r'<tr class="group"><th scope="row">mean <span>average mean</span></th><td class="n">48', html)


def test_clusters_with_one_arm_are_marked():
    frame = effects(("ATE",)).drop(columns=["estimand", "definition"])
    frame.insert(0, "cluster", ["63", "20"])
    frame.insert(2, "one_arm", [False, True])
    table = apa(frame)
    assert list(table.index) == [("small vs regular", "63"), ("aide vs regular", "20†")]
    assert "one of the two arms only" in table.attrs["note"]


def test_tables_of_checks_keep_their_own_columns():
    frame = pd.DataFrame({"statistic": ["mean", "SD"], "p": [0.0, 0.46], "lower": 1.0, "upper": 3.0, "x_y": [3, None]})
    table = apa(frame.assign(ok=[True, False]))
    assert list(table.columns) == ["p", "[lower, upper]", "x_y", "Ok"]
    assert table.loc["mean"].to_list() == ["< .001", "[1.00, 3.00]", "3", "yes"]
    assert table.loc["SD", "x_y"] == "—"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [summary, effects])
def test_the_verdict_is_in_every_form(form, make):
    good, bad = FORMS[form](make()), FORMS[form](BAD.mark(make()))
    assert "NOT CONVERGED" not in good
    assert bad.count("NOT CONVERGED") >= 2, "in the caption and in the note"
    assert "largest R-hat 1.400" in bad


def test_html_escapes():
    evil = effects(("<script>alert(1)</script>",), ('a & b "q"', "b"))
    html = to_html(evil, "<b>", "<i>")
    assert {t for t, _ in Tags(html).seen}.isdisjoint({"script", "b"})
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "a &amp; b" in html


@pytest.mark.parametrize("copies", [1, 20], ids=["table", "longtable"])
def test_latex_is_well_formed(copies):
    names = [f"a_{k} & 50% #{k} $x$ {{}} ~^\\" for k in range(copies)]
    text = to_latex(effects(names, ("[b", "c")), "Effects & more", "x_y")
    assert re.findall(r"\\begin{(\w+)}", text) == re.findall(r"\\end{(\w+)}", text)[::-1]
    assert ("longtable" in text) == (copies * 3 > 40)
    plain = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert plain.count("{") == plain.count("}")
    body = [v for v in text.splitlines() if v.endswith(r"\\") and "multicolumn" not in v and "caption" not in v]
    assert {re.sub(r"\\&", "", line).count("&") for line in body} == {len(apa(effects()).columns)}
    for line in body:
        assert not line.startswith("["), "LaTeX would read it as an option of the row before"
    assert r"\textbackslash{}" in text
    assert r"Effects \& more" in text
    assert r"x\_y" in text
    assert not re.search("[−—\u0302<>]", text.replace("$<$", "").replace("$>$", ""))


def test_frames_are_left_as_they_are():
    frame = effects()
    before = frame.copy(deep=True)
    for form in FORMS.values():
        form(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert frame.attrs == before.attrs


def test_word(tmp_path):
    """The cells are those of the text table; groups begin with a merged row; three rules; the note below."""
    frame = effects()
    path = to_docx(frame, tmp_path / "new" / "effects.docx", "Effects & more")
    document = docx.Document(path)
    assert next(p.text for p in document.paragraphs if p.text) == "Effects & more"
    assert document.paragraphs[-1].text.startswith("Note. ")
    (table,) = document.tables
    text = [[cell.text for cell in row.cells] for row in table.rows]
    plain = apa(frame)
    assert text[0][-len(plain.columns) :] == list(plain.columns)
    assert set(text[1]) == {"ATE: average ATE"}
    assert text[2][-len(plain.columns) :] == list(plain.iloc[0])
    assert len(text) == 1 + 2 + 4
    assert table.rows[0]._tr.xml.count('w:val="single"') == 2 * len(text[0])
    assert table.rows[-1]._tr.xml.count('w:val="single"') == len(text[0])


def test_word_carries_the_verdict(tmp_path):
    frame = summary()
    frame.attrs["verdict"] = BAD.verdict
    document = docx.Document(to_docx(frame, tmp_path / "a.docx", "Parameters"))
    assert document.paragraphs[0].text == "NOT CONVERGED. Parameters"
    assert BAD.verdict in document.paragraphs[-1].text


def test_word_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(bh.SpecError, match=r"ends in \.docx"):
        to_docx(summary(), tmp_path / "a.doc")
    monkeypatch.setattr("bayeshte.tables.document.find_spec", lambda name: None)
    with pytest.raises(bh.SpecError, match=r"pip install bayeshte\[word\]"):
        to_docx(summary(), tmp_path / "a.docx")


def test_a_positive_parameter_has_no_p_and_a_difference_in_probability_has_one():
    row = dict.fromkeys(("estimate", "mean", "posterior_sd", "lower", "upper", "p_one_tailed"), 0.1)
    names = ["sd_membership", "sigma_zeta", "a[item 1]", "rho", "beta1"]
    table = apa(pd.DataFrame([{"parameter": n, **row} for n in names]))
    assert table["p"].tolist() == ["—", "—", "—", ".100", ".100"]
    classes = pd.DataFrame([{"class": "class 1", "quantity": q, **row} for q in ("size", "effect of drug")])
    assert apa(classes)["p"].tolist() == ["—", ".100"]
