"""What is printed of a structural equation model: equations, tables, report."""

import itertools
import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sem_fits import EVIL, SPEC, factors_fit, mediation_fit, mediation_material, one_level_fit, quick, text_of
from test_report import without_figures
from test_sem import MODELS, draws_at, frame, points_of
from test_tables import BAD, Tags

import bayeshte as bh
from bayeshte import latex, tables, terminal
from bayeshte.report import material, mathml
from bayeshte.report.page import SECTIONS, render
from bayeshte.report.reproduce import code


@pytest.fixture(autouse=True)
def _nothing_left_open():
    yield
    assert not plt.get_fignums()


@pytest.fixture
def fit() -> bh.Fit:
    return mediation_fit()


@pytest.fixture
def factors() -> bh.Fit:
    return factors_fit()


@pytest.fixture
def single() -> bh.Fit:
    return one_level_fit()


@pytest.fixture(scope="module")
def gathered() -> material.Material:
    return mediation_material()


@pytest.fixture(scope="module")
def page(gathered) -> str:
    return render(gathered)


class TestEquations:
    def readable(self, spec) -> list[str]:
        return [" ".join(terminal.readable(line).split()) for line in spec.equations(None)]

    def test_two_levels(self):
        found = self.readable(MODELS["mediation"])
        assert found[0] == "y_ij = yᵂ_ij + yᴮ_j and likewise m1, m2"
        within, between = found[found.index("Within school:") : found.index("Between school:")], found[6:]
        assert "yᵂ_ij = w1 m1ᵂ_ij + w2 m2ᵂ_ij + βᵂ_y,age age_ij + ζᵂ_y,ij" in within
        assert "(m1ᵂ_ij, m2ᵂ_ij)ᵀ ~ N(0, Ψᵂ)" in within
        assert "m1ᴮ_j = αᴮ_m1 + b1 treat_j + ζᴮ_m1,j" in between
        assert "(ζᴮ_m1,j, ζᴮ_m2,j)ᵀ ~ N(0, Ψᴮ)" in between
        assert found[-2:] == ["indirect = b1*b3", "total = indirect + b2*b4"]

    def test_what_is_fixed_or_shared(self):
        found = self.readable(MODELS["factors"])
        assert "y1ᵂ_ij = fᵂ_ij + ζᵂ_y1,ij" in found, "a loading of one is not written"
        assert "y2ᴮ_j = αᴮ_y2 + l fᴮ_j" in found, "nor a residual without variance"
        assert "ψᴮ_y1,y2 = c, ψᴮ_y1,y3 = 0, ψᴮ_y2,y3 = c" in self.readable(MODELS["chain of covariances"])
        assert "g_i ~ N(0, 1)" in self.readable(MODELS["one level, factors"])
        negative = bh.SEM(model="y ~ -0.5*x + z")
        assert "y_i = α_y - 0.5 x_i + β_y,z z_i + ζ_y,i" in self.readable(negative)

    def test_products_and_slopes(self):
        assert any("βᴮ_y,treat:m1 treat_j m1ᴮ_j" in line for line in self.readable(MODELS["product"]))
        spec = bh.SEM(cluster="school", within="s | y ~ m1", between="s ~ treat; y ~ m1")
        found = self.readable(spec)
        assert "yᵂ_ij = s_j m1ᵂ_ij + ζᵂ_y,ij" in found
        assert "s_j = αᴮ_s + βᴮ_s,treat treat_j + ζᴮ_s,j" in found

    @pytest.mark.parametrize("name", MODELS)
    def test_every_model_can_be_read_and_shown(self, name):
        lines = MODELS[name].equations(None)
        assert lines
        assert not any("\\" in line for line in self.readable(MODELS[name]))
        assert not Tags(mathml.display(lines)).open

    def test_names_of_the_data(self):
        for name in (EVIL, r"x_y^2 {z} \ ~ 100% #1", "größe"):
            assert latex.plain(latex.text(name).removeprefix(r"\text{").removesuffix("}")) == name
            assert terminal.readable(rf"{latex.text(name)}^W_{{ij}} &\sim \zeta") == f"{name}ᵂ_ij ~ ζ"
        shown = "".join(Tags(mathml.display(SPEC.equations(None))).texts).replace("\u00a0", " ")
        assert f"Within {EVIL}:" in shown
        assert "<b>" not in mathml.display(SPEC.equations(None))


class TestTables:
    def test_parameters_are_grouped_by_level_and_header(self, fit):
        table = tables.apa(bh.summary(fit))
        assert table.index.names == ["Level", "Header", "Parameter", "Label"]
        levels = ["Within clusters", f"Between clusters (24 clusters of {EVIL})", "Derived"]
        assert list(dict.fromkeys(table.index.get_level_values("Level"))) == levels
        assert (levels[1], "Residual variances", "y ~~ y", "") in set(table.index)
        assert ("Derived", "", "total", "") in set(table.index)
        rows = table.reset_index()
        assert rows.query("Label == 'b3'")["95 % CrI"].item().startswith("[")
        positive = rows["Header"].isin(("Variances", "Residual variances"))
        assert ((rows["p"] == "—") == positive).all(), "a variance is positive by definition, a covariance is not"

    def test_a_heading_of_a_level_is_there_once(self):
        """In the table g, a factor that nothing explains, stands between the residuals; nothing is lost in grouping."""
        spec = bh.SEM(cluster="school", within="f =~ y1 + y2; g =~ m1 + m2; f ~ g", between="y1 ~ treat")
        rows = [(r.level, r.name.removeprefix(f"{r.level}: ")) for r in spec.table.rows]
        variances = [name for level, name in rows if level == "within" and name in ("f ~~ f", "g ~~ g", "m1 ~~ m1")]
        assert variances == ["f ~~ f", "g ~~ g", "m1 ~~ m1"]
        design = spec.design(frame())
        density = spec.marginal(design, spec.frozen_priors(design))
        posterior = spec.recover(draws_at(density, points_of(density, 2)), design, np.random.default_rng(0))
        for table in (spec.summary(posterior, "eti", 0.95), spec.describe(design).parameters):
            headings = list(zip(table["level"], table["header"], strict=True))
            assert len([*itertools.groupby(headings)]) == len({*headings})
            assert sorted(zip(table["level"], table["parameter"], strict=True)) == sorted(rows)

    def test_what_is_fixed_is_shown_as_fixed(self, factors):
        table = tables.apa(bh.summary(factors))
        row = table.reset_index().query("Parameter == 'f =~ y1'").iloc[0]
        assert (row["Median"], row["SD"], row["95 % CrI"], row["p"]) == ("1.00", "fixed", "—", "—")
        assert "fixed = set by the model" in table.attrs["note"]
        assert "fixed" not in tables.apa(bh.summary(factors).query("not fixed")).attrs["note"]

    def test_one_level_has_no_heading_of_levels(self, single):
        assert tables.apa(bh.summary(single)).index.names == ["Header", "Parameter", "Label"]
        unlabelled = bh.summary(single).assign(label="")
        assert tables.apa(unlabelled).index.names == ["Header", "Parameter"]

    def test_html(self, fit):
        found = Tags(tables.to_html(bh.summary(fit), "Parameters"))
        assert not found.open
        headings = [a for t, a in found.seen if t == "tr" and a.get("class") in ("level", "group")]
        assert len(headings) == 3 + 4 + 4
        page = tables.to_html(bh.summary(fit))
        assert "<b>" not in page
        assert (
            'class="level"><th colspan="10" scope="rowgroup">Between clusters (24 clusters of &lt;b&gt;school' in page
        )
        assert page.count('<tr class="in">') == len(bh.summary(fit))

    def test_latex(self, fit):
        text = tables.to_latex(bh.summary(fit))
        assert r"\textbf{Between clusters (24 clusters of <b>school".replace("<b>", "$<$b$>$") in text
        assert r"\textit{Residual variances}" in text
        body = [v for v in text.splitlines() if v.startswith(r"\quad")]
        assert len(body) == len(bh.summary(fit))
        assert {re.sub(r"\\&", "", line).count("&") for line in body} == {9}

    def test_effects_are_grouped_too(self, fit):
        frame = bh.effects(fit, meaningful=0.5)
        assert list(frame.columns[:4]) == ["level", "header", "estimand", "contrast"]
        table = tables.apa(frame)
        assert ("Derived", "", "total", "") in set(table.index)
        between = table.reset_index().query("Level.str.startswith('Between')")
        assert set(between["Header"]) == {"Effects along paths", "R-square", "Standardised"}
        assert "P(> 0.5)" in table
        page = tables.to_html(frame)
        assert not Tags(page).open
        assert '<tr class="in"><th scope="row">total <span>indirect + b2*b4</span></th><td class="n">' in page

    def test_direct_and_indirect_effects_add_up(self, single):
        values = [bh.effect_draws(single, f"{kind} effect of treat on y") for kind in ("total", "direct", "indirect")]
        np.testing.assert_allclose(values[0], values[1] + values[2])
        path = single.posterior["path"].sel(paths="y ~ treat").to_numpy()
        np.testing.assert_allclose(values[1].to_numpy(), path)

    def test_a_first_look_is_what_was_asked_for(self, fit, factors):
        assert bh.effects(fit, headline=True)["estimand"].tolist() == ["indirect", "total"]
        assert set(bh.effects(factors, headline=True)["header"]) == {"effects along paths"}
        covariances = bh.SEM(model="y1 ~~ y2")
        alone = quick(covariances, frame(), draws=50)
        assert bh.effects(alone).empty
        assert "y1 ~~ y2" in alone._repr_html_()

    def test_the_verdict(self, fit):
        bad = BAD.mark(bh.summary(fit))
        for form in (tables.to_html, tables.to_latex):
            assert "NOT CONVERGED" in form(bad)


class TestReport:
    def test_sections(self, page):
        found = [attrs["id"] for tag, attrs in Tags(page).seen if tag == "section"]
        assert found == [s.name for s in SECTIONS if s.name not in ("clusters", "balance", "classes")]
        assert page.index('class="headline"') < page.index('id="diagnosis"') < page.index('id="model"')
        assert page.index('id="figure-path"') < page.index('id="priors"'), "the diagram is with the model"
        assert page.count('id="figure-path"') == 1

    def test_nothing_is_loaded_from_elsewhere(self, page):
        for tag, attrs in Tags(page).seen:
            assert tag not in ("script", "link", "iframe", "object")
            assert attrs.get("src", "data:image/").startswith("data:image/")
            assert attrs.get("href", "#").startswith("#")

    def test_names_of_the_data_are_escaped(self, page):
        tags = Tags(page)
        assert not tags.open
        assert "<b>school" not in page
        assert EVIL in text_of(page)

    def test_what_a_reviewer_asks_for_is_said(self, fit, page):
        text = text_of(page)
        for label, prior in fit.priors.items():
            assert label in text
            assert repr(prior) in text
        n = fit.design["Y"].isnull().sum("row").to_series()
        for said in (
            "two-level structural equation model of y, m1 and m2, each split into latent parts",
            f"Between clusters (24 clusters of {EVIL})",
            f"y in {n['y']} rows, m1 in {n['m1']} rows, m2 in {n['m2']} rows: integrated, none imputed",
            "latent cluster means and missing values, taken as missing at random, were integrated",
            "SD ~ HalfNormal",
            "correlation ~ LKJ(eta=2)",
            "P(> 0.5)",
            "ICC of m1",
            "R-square of y, between",
            "contextual effect of m1 on y",
            "standardised between: y ~ m1",
            "sequential ignorability",
            "Lüdtke",
            "Preacher",
            "posterior predictive p-value",
            "DIC, conditional",
            "within = given the random effects of these clusters",
            fit.design.attrs["data_hash"],
        ):
            assert said in text, said
        assert "Outcome y" not in text

    def test_every_figure_has_a_caption(self, page):
        images = [attrs for tag, attrs in Tags(page).seen if tag == "img"]
        assert len(images) == 8
        assert page.count("<figcaption>") == len(images)

    def test_the_code_makes_the_same_specification(self, gathered):
        priors = {"b1": bh.Normal(0, 1 / 3), "sd": bh.HalfStudentT(3, 2)}
        for spec in (SPEC, replace(SPEC, priors=priors), MODELS["one level"]):
            lines = code(replace(gathered, fit=replace(gathered.fit, spec=spec))).splitlines()
            first, last = lines.index("spec = bh.SEM("), lines.index(")")
            namespace = {"bh": bh}
            exec("\n".join(lines[first : last + 1]), namespace)
            assert namespace["spec"] == spec
            assert ("derived" in "".join(lines)) == bool(spec.derived)

    def test_priors_of_the_authors_are_marked(self, tmp_path, monkeypatch):
        mine = quick(replace(MODELS["one level"], priors={"a": bh.Normal(0, 1)}), frame(), draws=50)
        text = text_of(without_figures(mine, tmp_path / "r.html", monkeypatch))
        assert "path[m1 ~ treat] Normal(mu=0, sigma=1) −1.96 to 1.96 authors" in text
        assert text.count(" authors ") > 1
        assert "Priors were set as follows" in text

    @pytest.mark.parametrize("name", ["factors", "product", "chain of covariances", "one level, factors"])
    def test_other_models(self, name, tmp_path, monkeypatch):
        fit = quick(MODELS[name], frame(), draws=50)
        page = without_figures(fit, tmp_path / "r.html", monkeypatch)
        assert not Tags(page).open
        for section in re.findall(r"<section.*?</section>", page, re.DOTALL):
            assert "NOT CONVERGED" in section
        assert ('id="assumptions"' in page) == any(r.op == "~" for r in fit.spec.table.rows)

    def test_mplus_priors(self, tmp_path, monkeypatch):
        fit = quick(replace(MODELS["mediation"], priors="mplus"), frame(), draws=50)
        text = text_of(without_figures(fit, tmp_path / "r.html", monkeypatch))
        assert "defaults of Mplus" in text
        assert "SD ~ Power(exponent=1)" in text
