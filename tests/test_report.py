"""The report: its sections, its escapes, its independence of everything else, and its verdict."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import SPECS, frame
from scipy import integrate, stats
from test_tables import Tags

import bayeshte as bh
from bayeshte import latex, plots
from bayeshte.fit import assemble
from bayeshte.prior import FAMILIES, Prior
from bayeshte.report import checklist, material, mathml, model, report
from bayeshte.report.page import SECTIONS, render
from bayeshte.report.reproduce import code

EVIL, QUOTED = "<script>alert(1)</script>", 'a & b "q" $x$'
SPEC = bh.RandomSlope(outcome=QUOTED, treatment="<i>arm", reference=EVIL, cluster="<b>school", moderators="x")


def simulate(clusters=12, size=20) -> pd.DataFrame:
    """Two arms in clusters whose every name is markup."""
    rng = np.random.default_rng(0)
    school = np.repeat(np.arange(clusters), size)
    t = rng.integers(0, 2, len(school))
    u = rng.normal(0, [2.0, 1.0], (clusters, 2))[school]
    x = rng.normal(size=len(t))
    y = 10 + u[:, 0] + (3 + x + u[:, 1]) * t + rng.normal(0, 2, len(t))
    arms = np.array([EVIL, "b_2 100%"])[t]
    return pd.DataFrame({QUOTED: y, "<i>arm": arms, "<b>school": [f"<u>{s}</u>" for s in school], "x": x})


def quick(spec, data, draws=200, tune=300) -> bh.Fit:
    """A short fit; whether it converged is not what is asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=tune, seed=1, progress=False)


def without_figures(fit, path, monkeypatch) -> str:
    """A report without the pictures, which take most of the time."""
    monkeypatch.setattr(plots, "figures", lambda fit, *thresholds: {})
    return report(fit, path).read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What a reader sees, white space collapsed."""
    return " ".join(" ".join(Tags(page).texts).split())


@pytest.fixture(scope="module")
def fit() -> bh.Fit:
    return quick(SPEC, simulate(), draws=500)


@pytest.fixture(scope="module")
def gathered(fit) -> material.Material:
    return material.gather(fit, meaningful=1.5, rope=(-0.5, 0.5))


@pytest.fixture(scope="module")
def page(gathered) -> str:
    return render(gathered)


def test_sections_are_there_in_order(page):
    found = [attrs["id"] for tag, attrs in Tags(page).seen if tag == "section"]
    assert found == [s.name for s in SECTIONS if s.name != "classes"]  # which only mixtures have, see test_rivals.py
    linked = [attrs["href"] for tag, attrs in Tags(page).seen if tag == "a"]
    assert [f"#{name}" for name in found] == linked[: len(found)]
    assert page.index('class="headline"') < page.index('id="diagnosis"') < page.index('id="model"')


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attrs in Tags(page).seen:
        assert tag not in ("script", "link", "iframe", "object")
        if "src" in attrs:
            assert attrs["src"].startswith("data:image/")
        assert attrs.get("href", "#").startswith("#")
        assert not [k for k in attrs if k.startswith("on")]
    assert not re.search(r"@import|url\(", page)


def test_names_of_the_data_are_escaped(page):
    tags = Tags(page)
    assert not tags.open
    assert {t for t, _ in tags.seen}.isdisjoint({"script", "u"})
    assert "<i>arm" not in page
    assert "<b>school" not in page
    for name in (EVIL, QUOTED, "<i>arm", "<b>school", "<u>3</u>", "b_2 100%"):
        assert name in text_of(page).replace("\u00a0", " ")


def test_every_figure_has_a_caption(page):
    images = [attrs for tag, attrs in Tags(page).seen if tag == "img"]
    assert len(images) >= 8
    assert all(attrs["alt"] for attrs in images)
    assert page.count("<figcaption>") == len(images)


def test_what_a_reviewer_asks_for_is_said(fit, page):
    text = text_of(page)
    for label, prior in fit.priors.items():
        assert label in text
        assert repr(prior) in text
    for said in (
        "240 (all)",
        "Seed",
        "12 clusters",
        "ICC",
        "SUTVA",
        "positivity",
        "nutpie",
        fit.design.attrs["data_hash"],
    ):
        assert said in text
    assert re.search(r"P\(> 1\.5\)", text)
    assert re.search(r"P\(−0\.5 to 0\.5\)", text)


def test_the_code_of_the_report_makes_the_same_specification(fit):
    m = material.Material(*[None] * len(material.Material.__dataclass_fields__))
    namespace = {"bh": bh}
    priors = {"gamma1": bh.Normal(0, 1 / 3), "sd": bh.HalfStudentT(3, 2)}
    for spec in (SPEC, replace(SPEC, priors=priors, varying=("b_2 100%",), missing="drop")):
        lines = code(replace(m, fit=replace(fit, spec=spec))).splitlines()
        first, last = lines.index("spec = bh.RandomSlope("), lines.index(")")
        exec("\n".join(lines[first : last + 1]), namespace)
        assert namespace["spec"] == spec


def test_a_fit_that_did_not_converge_says_so_everywhere(tmp_path, monkeypatch):
    bad = quick(SPEC, simulate(), draws=20, tune=50)
    assert not bad.diagnosis.ok
    text = without_figures(bad, tmp_path / "r.html", monkeypatch)
    assert 'role="alert"' in text.split("</header>")[0]
    for section in re.findall(r"<section.*?</section>", text, re.DOTALL):
        assert "NOT CONVERGED" in section
    for table in re.findall(r"<caption.*?</caption>", text, re.DOTALL):
        assert "NOT CONVERGED" in table
    methods = text_of(re.search(r'<section id="methods">.*?</section>', text, re.DOTALL)[0])
    assert "no result of this fit may be reported" in methods
    assert "95 % CrI [" not in methods


def test_a_check_that_does_not_apply_leaves_its_reason(fit, tmp_path, monkeypatch):
    def refuse(fit, *args, **options):
        raise bh.SpecError("no <such> thing")

    for name in ("predictive_checks", "loo", "prior_sensitivity", "prior_posterior_overlap"):
        monkeypatch.setattr(material.checks, name, refuse)
    text = without_figures(fit, tmp_path / "r.html", monkeypatch)
    assert text.count('<p class="aside">Not available for this model. no &lt;such&gt; thing</p>') == 4
    assert "not done" in text


def test_an_error_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        material.attempt(lambda: 1 / 0)


def studies(spec) -> pd.DataFrame:
    """Twenty studies of twelve, the outcome as the family of `spec` needs it."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"t": np.arange(240) % 2, "study": np.arange(240) // 12, "x": rng.normal(size=240), "se": 0.5})
    y = rng.normal(data["t"] + rng.normal(0, 1, 20)[data["study"]])
    return data.assign(y=(y > 0).astype(int) if spec.family == "logit" else y)


def made_up(spec, data, complete=True) -> bh.Fit:
    """A fit whose draws are standard normal: no sampler for what is only printed."""
    design, rng = spec.design(data), np.random.default_rng(2)
    shapes = {"gamma0": (), "gamma1": ("t",), "gamma2": ("covariate",)}
    size = (4, 200)
    draws = {
        k: (("chain", "draw", *dims), rng.normal(0, 0.1, (*size, *(design.sizes[d] for d in dims))))
        for k, dims in shapes.items()
    }
    coords = {"chain": range(4), "draw": range(200), "t": design["t"], "covariate": design["covariate"]}
    none, energy = np.zeros(size, bool), rng.normal(size=size)
    statistics = {"diverging": none, "maxdepth_reached": none, "energy": energy}
    stats = xr.Dataset({k: (("chain", "draw"), v) for k, v in statistics.items()})
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(draws, coords), "sample_stats": stats})
    record = {"seed": 1, "tune": 100, "sampled": "made up"}
    return assemble(spec, design, spec.frozen_priors(design), tree, record, complete)


BINARY = bh.RandomSlope(outcome="y", treatment="t", covariates="x", family="logit")
META = bh.RandomSlope(outcome="y", cluster="study", standard_error="se")
FLAT = bh.RandomSlope(outcome="y", treatment="t", cluster="study", priors="mplus", sigma_by_arm=True, slopes="x")


@pytest.mark.parametrize(
    ("spec", "absent", "said"),
    [
        (BINARY, {"clusters"}, ("log odds", "of 240 are 1", "risk ratio", "1 on the link scale")),
        (
            META,
            {"clusters", "balance", "assumptions"},
            ("known standard errors, se", "y across study", "no treatment", "I2"),
        ),
        (
            FLAT,
            set(),
            ("defaults of Mplus", "priors are improper", "residual SD by arm", "reference 0", "how far the slope of x"),
        ),
    ],
    ids=["no clusters", "meta-analysis", "flat priors"],
)
def test_other_models(spec, absent, said, tmp_path, monkeypatch):
    data = studies(spec)
    fit = made_up(spec, data) if spec.family == "logit" else quick(spec, data)
    text = without_figures(fit, tmp_path / "r.html", monkeypatch)
    found = {attrs["id"] for tag, attrs in Tags(text).seen if tag == "section"}
    assert {s.name for s in SECTIONS} - found == absent | {"classes"}
    for words in said:
        assert words in text_of(text)


def test_a_run_that_was_stopped(tmp_path, monkeypatch):
    text = text_of(without_figures(made_up(BINARY, studies(BINARY), complete=False), tmp_path / "r.html", monkeypatch))
    assert "NOT CONVERGED" in text
    assert "the run was stopped, 200 draws a chain were kept" in text
    assert "no, the run was stopped" in text


def test_where_it_cannot_be_written(fit, tmp_path):
    with pytest.raises(bh.DataError, match=r"is a folder; name the file, for example .*report\.html"):
        report(fit, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(bh.DataError, match="Cannot write"):
        report(fit, tmp_path / "file" / "report.html")
    with pytest.raises(bh.SpecError, match="rope"):
        report(fit, tmp_path / "r.html", rope=(1, -1))


def test_mathematics():
    found = mathml.display(
        [rf"{latex.text(EVIL)}_{{ij}} &\sim N(\eta_{{ij}},\ \sigma^2) + \gamma_{{1,a}}^\top M_{{ij}}"]
    )
    tags = Tags(found)
    assert not tags.open
    assert "script" not in {t for t, _ in tags.seen}
    assert "<msub><mtext>&lt;script&gt;" in found
    assert "<msubsup><mi>γ</mi><mrow><mn>1</mn><mo>,</mo><mi>a</mi></mrow><mo>⊤</mo></msubsup>" in found
    assert "&" not in "".join(tags.texts), "a mark of alignment is not printed"
    assert QUOTED in "".join(Tags(mathml.display([latex.text(QUOTED) + "& = 1"])).texts).replace("\u00a0", " ")
    for name in (QUOTED, r"x_y^2 {z} \ ~ 100% #1", "größe"):
        assert "".join(Tags(mathml.inline(latex.text(name))).texts).replace("\u00a0", " ") == name
    assert "<mi>σ</mi>" in found
    assert mathml.display([" + ".join([r"\gamma_{1}"] * 100)]).count("<mtr>") > 1
    matrix = mathml.display([r"u &\sim N\left(0,\ \begin{bmatrix} a & b \\ b & \frac{c}{2} \end{bmatrix}\right)"])
    assert not Tags(matrix).open
    assert matrix.count("<mtd>") == 1 + 4
    assert "".join(Tags(matrix).texts).replace("\u00a0", " ") == "u∼N(0,[abbc2])"


@pytest.mark.parametrize("name", SPECS)
def test_every_specification_describes_itself(name):
    design = SPECS[name].design(frame())
    about = SPECS[name].describe(design)
    assert about.title
    assert about.sentence.startswith("a Bayesian ")
    assert not Tags("".join(mathml.inline(tex) for tex, _, _ in about.symbols)).open
    assert all(meaning for *_, meaning in about.symbols)
    assert hasattr(plots, about.plot)
    assert bool(about.assumptions) == bool(design.attrs["treatment"])
    assert about.effects


@pytest.mark.parametrize("name", FAMILIES)
def test_the_central_95_percent_of_every_prior(name):
    values = {"mu": 0.0, "sigma": 2.0, "nu": 4.0, "lower": 1.0, "upper": 5.0}
    values |= {"scale": ((1.0, 0.0), (0.0, 1.0))} if name == "InverseWishart" else {}
    prior = Prior(name, tuple((k, values.get(k, 1.5)) for k in FAMILIES[name][0]))
    text = model._central(prior, 3).replace("−", "-").replace(",", "")
    if not prior.proper:
        assert "improper" in text
        return
    if name == "InverseWishart":
        assert "of a covariance matrix" in text
        return
    low, high = (float(v) for v in text.split(" to "))
    if name == "LKJ":
        assert (low, high) == (-high, high)
        return
    if name == "Dirichlet":  # one of three probabilities
        assert stats.beta(1.5, 3).cdf([low, high]) == pytest.approx([0.025, 0.975], abs=0.003)
        return
    inside, _ = integrate.quad(lambda v: np.exp(prior.log_density(np.array(v))), low, high)
    assert inside == pytest.approx(0.95, abs=0.003)


def test_checklists_ask_all_points(gathered):
    barg, wambs = checklist.barg(gathered), checklist.wambs(gathered)
    assert [i.asks.split()[0] for i in wambs] == [str(k) for k in range(1, 11)]
    assert list(dict.fromkeys(i.group[0] for i in barg)) == list("P123456")
    assert all(i.answer and i.status for i in barg + wambs)
    assert {i.status for i in barg} == {"done", "in part", "not done", "does not apply", "authors"}
