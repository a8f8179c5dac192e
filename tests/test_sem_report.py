"""What is printed of a structural equation model: equations, tables, path diagram, report, command line."""

import itertools
import re
import warnings
from dataclasses import replace
from textwrap import dedent

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, Rectangle
from test_cli import call
from test_report import without_figures
from test_sem import MODELS, draws_at, frame, points_of
from test_tables import BAD, Tags

import bayeshte as bh
from bayeshte import cli, gallery, latex, plots, tables, terminal
from bayeshte.plots import draws as drawn_draws
from bayeshte.plots import predictive, style
from bayeshte.plots.path_diagram import graph
from bayeshte.plots.path_drawing import Graph, Panel, broken, points, size
from bayeshte.plots.path_layout import layout
from bayeshte.plots.standard import _standard
from bayeshte.report import material, mathml
from bayeshte.report.page import SECTIONS, render
from bayeshte.report.reproduce import code

mpl.use("Agg")

EVIL = "<b>school & co_1 $x$"  # names of columns are the data's; the model text takes letters, digits, _ and .
SPEC = replace(MODELS["mediation"], cluster=EVIL)
NOT_FOR_PATHS = ("caterpillar", "pooling", "baseline", "outcome")


def quick(spec, data, draws=250, **options) -> bh.Fit:
    """A short fit; whether it converged is not what is asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=300, seed=1, progress=False, **options)


def data(missing=False) -> pd.DataFrame:
    return frame(missing).rename(columns={"school": EVIL})


def text_of(page: str) -> str:
    return " ".join(" ".join(Tags(page).texts).split()).replace("\u00a0", " ")


def texts(fig: Figure) -> list[str]:
    return [t.get_text() for t in fig.findobj(mpl.text.Text) if t.get_text()]


@pytest.fixture(autouse=True)
def _nothing_left_open():
    yield
    assert not plt.get_fignums()


@pytest.fixture(scope="module")
def fit() -> bh.Fit:
    return quick(SPEC, data(missing=True), draws=500)


@pytest.fixture(scope="module")
def factors() -> bh.Fit:
    return quick(MODELS["factors"], frame(), draws=100)


@pytest.fixture(scope="module")
def single() -> bh.Fit:
    return quick(MODELS["one level"], frame(), draws=100)


@pytest.fixture(scope="module")
def gathered(fit) -> material.Material:
    return material.gather(fit, meaningful=0.5)


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


class TestLayout:
    def test_causes_stand_left_of_effects(self):
        sizes = dict.fromkeys(("age", "treat", "m", "y", "z"), 0.3)
        paths = [("treat", "m"), ("m", "y"), ("treat", "y"), ("age", "y"), ("y", "z")]
        found = layout(sizes, paths, [], 0.3)
        names = [[v for v in c if isinstance(v, str)] for c in found.columns]
        assert names == [["treat"], ["m", "age"], ["y"], ["z"]] or names == [["treat"], ["age", "m"], ["y"], ["z"]]
        assert found.ways["treat", "y"] == ["treat", ("treat", "y", 1), "y"]

    def test_crossings_that_can_be_avoided_are(self):
        names = [*"abcd", *"wxyz"]
        paths = [("a", "z"), ("b", "y"), ("c", "x"), ("d", "w")]
        found = layout(dict.fromkeys(names, 0.3), paths, [], 0.3)
        assert [found.y[a] > found.y["d"] for a, _ in paths] == [found.y[b] > found.y["w"] for _, b in paths]
        order = [[*c] for c in found.columns]
        assert [dict(paths)[v] for v in order[0]] == order[1]

    def test_nothing_in_a_column_touches(self):
        sizes = dict.fromkeys([f"v{k}" for k in range(8)], 0.4)
        paths = [("v0", f"v{k}") for k in range(1, 8)] + [("v1", "v2"), ("v0", "v7")]
        found = layout(sizes, dict.fromkeys(paths), [("v3", "v4")], 0.3)
        for column in found.columns:
            edges = [(found.y[v] + sizes.get(v, 0) / 2, found.y[v] - sizes.get(v, 0) / 2) for v in column]
            assert all(low > high for (_, low), (high, _) in itertools.pairwise(edges))
        assert min(found.y[v] - sizes.get(v, 0) / 2 for c in found.columns for v in c) == pytest.approx(0)

    @pytest.mark.parametrize("name", MODELS)
    def test_no_path_runs_through_a_variable_and_no_text_covers_one(self, name):
        spec = MODELS[name]
        for level in spec.table.levels:
            placed = Panel(graph(spec, level, {}), 16, 0.4).place(style.PAGE)
            sizes = placed.panel.sizes
            for ends, curve in placed.curves.items():
                for v, centre in placed.centre.items():
                    if v in ends or not isinstance(v, str):
                        continue
                    inside = np.abs(points(curve) - centre) < np.array(sizes[v]) / 2 - 1e-6
                    assert not inside.all(1).any(), (name, ends, v)
            assert placed.cost < 1.0

    def test_long_names_are_broken(self):
        text = broken("perceived_advantages_of_activity.at_school", 14)
        assert text.replace("\n", "") == "perceived_advantages_of_activity.at_school"
        assert max(map(len, text.split("\n"))) <= 16
        assert len(broken("x" * 200, 12).split("\n")) <= 4
        wide, _ = size("wwwwwwwwww", 8)
        narrow, height = size("iii\niii", 8)
        assert wide > narrow > 0
        assert height == pytest.approx(2 * size("i", 8)[1])

    def test_covariances_go_around_what_is_between(self):
        latent = dict.fromkeys("abcxyz", False)
        paths = {("a", "x"): "", ("b", "y"): "", ("c", "z"): ""}
        panel = Panel(Graph(latent, paths, {("a", "b"): "", ("b", "c"): "", ("a", "c"): "1"}), 16, 0.3)
        assert panel.sides == {("a", "c"): -1}, "on the left of the first column"
        placed = panel.place(style.PAGE)
        left = min(placed.centre[v][0] - panel.sizes[v][0] / 2 for v in "abc")
        assert points(placed.curves["a", "c"])[:, 0].min() < left


class TestPathDiagram:
    def test_shapes_and_estimates(self, fit):
        fig = plots.plot_path(fit)
        boxes, circles = fig.findobj(Rectangle), fig.findobj(Ellipse)
        assert len(circles) == 6, "the parts of three variables"
        assert len([b for b in boxes if b.get_width() < 2 and b.get_facecolor() != (0, 0, 0, 0)]) >= 5
        shown = texts(fig)
        assert f"Between clusters (24 clusters of {EVIL})" in shown
        assert f"Within clusters ({len(data()):,} rows)" in shown
        for row in bh.summary(fit).query("header == 'paths'").itertuples():
            (text,) = [t for t in shown if t.startswith(f"{row.label} = ")] if row.label else [" [,]"]
            decimals = len(re.search(r"\.(\d+)|$", text.split("\n")[0])[1] or "")
            assert not row.label or f"{row.estimate:.{decimals}f}".replace("-", "−") in text
        arrows = [a.get_arrowstyle() for a in fig.findobj(FancyArrowPatch)]
        assert len(arrows) == 7 + 2
        assert sum("CurveFilledAB" in type(a).__name__ for a in arrows) == 2, "a covariance on each level"

    def test_a_specification_has_labels(self):
        shown = texts(plots.plot_path(MODELS["mediation"]))
        assert {"w1", "b1", "b4"} <= set(shown)
        assert not any("medians" in t for t in shown)
        assert "Between clusters of school" in shown

    def test_fixed_paths_have_their_value(self, factors):
        shown = texts(plots.plot_path(factors))
        assert shown.count("1") == 2
        assert not any("y2 ~~ y2" in t for t in shown)

    def test_a_dot_says_that_a_slope_varies(self):
        spec = bh.SEM(cluster="school", within="s | y ~ m1", between="s ~ treat; y ~ m1")
        fig = plots.plot_path(spec)
        (dot,) = [line for line in fig.axes[0].lines if line.get_marker() == "o"]
        (arrow,) = [
            c for e, c in Panel(graph(spec, "within", {}), 16, 0.3).place(style.PAGE).curves.items() if e[1] == "y"
        ]
        assert len(dot.get_xdata()) == 1
        assert "s" in texts(fig)
        assert arrow.vertices.shape[1] == 2
        assert any("the slope varies" in t.replace("\n", " ") for t in texts(fig))

    def test_a_moderator_points_at_the_path_that_it_changes(self):
        found = graph(MODELS["product"], "between", {})
        assert found.joints == {"m1 to y": "m1"}
        assert {("treat", "m1 to y"), ("m1", "m1 to y"), ("m1 to y", "y"), ("treat", "y")} <= set(found.paths)
        assert any("what changes it" in t.replace("\n", " ") for t in texts(plots.plot_path(MODELS["product"])))
        covariates = graph(bh.SEM(model="y ~ x:z + z"), "", {})
        assert "x:z" in covariates.latent
        assert not covariates.latent["x:z"]

    @pytest.mark.parametrize("name", MODELS)
    def test_every_model_fits_a_page_and_can_be_read(self, name):
        fig = plots.plot_path(MODELS[name])
        fig.draw_without_rendering()
        assert fig.get_figwidth() in (style.COLUMN, style.PAGE)
        assert fig.get_figheight() < 9.5
        assert min(t.get_fontsize() for t in fig.findobj(mpl.text.Text) if t.get_text()) >= 7

    def test_ten_variables_with_estimates_stay_apart(self):
        model = "m1 ~ t + x + z; m2 ~ t + x; m3 ~ t + z; y ~ m1 + m2 + m3 + t + x; v ~ y + m3; w ~ v + y; m1 ~~ m2"
        (level,) = bh.SEM(model=model).table.levels
        names = graph(bh.SEM(model=model), level, {})
        full = replace(names, paths=dict.fromkeys(names.paths, "0.123\n[−0.123, 0.456]"))
        placed = min((Panel(full, 13, gap).place(style.PAGE) for gap in (0.42, 0.72)), key=lambda p: p.cost)
        boxes = np.array([b for _, b in placed.texts.values()])
        overlap = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(
            boxes[:, None, :2], boxes[None, :, :2]
        )
        shared = np.clip(overlap, 0, None).prod(-1)
        np.fill_diagonal(shared, 0)
        assert shared.max() < 0.02, "square inches"
        assert boxes[:, 0].min() >= 0
        assert boxes[:, 2].max() <= style.PAGE

    def test_the_verdict(self, factors):
        assert not factors.diagnosis.ok
        assert "NOT CONVERGED" in plots.plot_path(factors).get_suptitle()

    def test_other_families_have_none(self):
        with pytest.raises(bh.SpecError, match=r"RandomSlope has no paths.*bh\.SEM"):
            plots.plot_path(bh.RandomSlope(outcome="y"))


class TestFigures:
    def test_what_does_not_apply_says_what_does(self, fit):
        for name in NOT_FOR_PATHS:
            with pytest.raises(bh.SpecError, match=r"one outcome, SEM has several \(y, m1, m2\).*plot_path"):
                getattr(plots, f"plot_{name}")(fit)
        with pytest.raises(bh.SpecError, match="plot_path"):
            plots.plot_cate(fit, "treat")

    def test_the_standard_figures(self, fit, gathered):
        names = list(gathered.figures)
        assert names == ["path", "effect_indirect", "effect_total", "ppc", "checks", "priors", "trace", "rank"]
        assert list(_standard(fit)) == [n for n in names if n != "checks"], "checks only if there are any"
        assert all(isinstance(f, Figure) for f in gathered.figures.values())

    def test_replicates_have_a_panel_a_variable(self, fit, factors, monkeypatch):
        figure = plots.plot_ppc(fit).get_viz("figure")
        titles = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
        assert titles == ["y", "m1", "m2", *(f"cluster means of {v}" for v in ("y", "m1", "m2"))]
        assert "50 replicated" in " ".join(texts(figure))
        lines = [sum(line.get_color() == style.INK for line in ax.lines) for ax in figure.axes if ax.axison]
        assert lines == [1] * 6, "one observed density each"
        monkeypatch.setattr(predictive, "PANELS", 2)
        figure = plots.plot_ppc(factors).get_viz("figure")
        assert "2 of 7 variables" in " ".join(" ".join(texts(figure)).split())
        plt.close("all")

    def test_replicated_cluster_means_are_of_new_clusters(self, fit, factors):
        found = predictive._values(fit)
        means = data(missing=True).groupby(EVIL)[["y", "m1", "m2"]].mean()
        for v, column in means.items():
            observed, made = found[f"cluster means of {v}"]
            np.testing.assert_allclose(observed, column)
            within, replicated = found[v]
            assert len(within) == replicated.shape[1] == data(missing=True)[v].notna().sum()
            same = np.corrcoef(observed, made.mean(0))[0, 1]
            of_rows = np.corrcoef(within, replicated.mean(0))[0, 1]
            assert abs(same) < of_rows, "new clusters know nothing of these but treat, rows know their cluster"
        observed, made = predictive._values(factors)["climate"]
        assert made.shape == (50, len(observed)) == (50, 24)

    def test_an_effect_by_default_is_the_first_of_the_main_ones(self, fit):
        ax = plots.plot_effect(fit).axes[0]
        assert ax.get_title(loc="left").startswith("indirect: b1*b3")
        assert ax.get_xlabel() == "indirect"

    def test_every_free_parameter_has_a_panel(self, fit):
        labels = [label for label, _, _ in fit.spec.parameters(fit.posterior)]
        shown = [ax.get_title(loc="left").split("\n")[0] for ax in plots.plot_priors(fit).axes if ax.get_visible()]
        assert shown == [style.shorten(label, 34) for label in labels]

    def test_the_prior_of_a_correlation_is_that_of_its_block(self):
        """LKJ(2) on a 2 x 2 matrix is 3/4 (1 - r^2)."""
        fit = quick(MODELS["mediation"], frame(), draws=100)
        panels = {ax.get_title(loc="left").split("\n")[0]: ax for ax in plots.plot_priors(fit).axes}
        r, density = panels["corr[within: m1 ~~ m2]"].lines[0].get_data()
        np.testing.assert_allclose(density, 0.75 * (1 - r**2), atol=1e-9)
        overlap = bh.prior_posterior_overlap(fit).set_index("parameter")["overlap"]
        x = fit.posterior["corr"].sel(corrs="between: m1 ~~ m2").to_numpy().ravel()
        assert overlap["corr[between: m1 ~~ m2]"] == pytest.approx(_overlap_with_lkj(x), abs=0.06)

    def test_of_many_parameters_the_worst_are_shown(self, fit, monkeypatch):
        monkeypatch.setattr(drawn_draws, "PARAMETERS", 4)
        shown, note = drawn_draws._parameters(fit)
        assert len(shown) == 4
        assert f"4 of {len(fit.spec.parameters(fit.posterior))}" in note

    def test_a_notebook_shows_the_fit(self, fit):
        page = fit._repr_html_()
        assert not {t for t, _ in Tags(page).seen} & {"script"}
        assert "&lt;b&gt;school" in page
        assert "bh.plot_path(fit)" in page
        assert "total" in page
        assert "y ~ m1" in repr(fit)


def _overlap_with_lkj(x: np.ndarray) -> float:
    edges = np.linspace(-1, 1, 41)
    posterior, _ = np.histogram(x, edges, density=True)
    middle = (edges[1:] + edges[:-1]) / 2
    return float(np.minimum(posterior, 0.75 * (1 - middle**2)).sum() * (edges[1] - edges[0]))


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


FILE = '''
"""Mediation."""
import sys
sys.path.insert(0, {tests!r})
from test_sem import MODELS, frame as data
SPEC = MODELS[{name!r}]
EXPECTED = {expected!r}
'''


class TestCommandLine:
    @pytest.fixture
    def write(self, tmp_path):
        def make(name, expected):
            path = tmp_path / "mine.py"
            tests = str(cli.Path(__file__).parent)
            path.write_text(dedent(FILE.format(tests=tests, name=name, expected=expected)))
            return path

        return make

    @pytest.fixture
    def fast(self, monkeypatch):
        """Without figures and report, which have tests of their own."""
        monkeypatch.setattr(cli, "gather", lambda fit: _Gathered(fit))
        monkeypatch.setattr(cli, "write", lambda m, path: path.write_text(m.fit.diagnosis.verdict))

    def test_check(self, write):
        text = call("check", write("mediation", {}))
        for said in (
            "m1ᴮ_j = αᴮ_m1 + b1 treat_j + ζᴮ_m1,j",
            "path[within: y ~ m1] Normal(",
            "24 clusters of",
            "Missing values none",
            "y within and between modelled",
            "treat between covariate 24",
            "Nothing is wrong",
        ):
            assert said in text, said
        assert "\\" not in text

    def test_run_puts_references_beside_labels_and_rows(self, write, fast, tmp_path):
        expected = {
            "between: y ~ m1": (0.0, 100.0, "nowhere"),
            "b1": (99.0, 0.1, "here"),
            "total": (0.0, 100.0, "nowhere"),
        }
        text = call("run", write("mediation", expected), "--out", tmp_path / "out")
        assert re.search(r"Between clusters \(24 clusters of school\)", text)
        assert re.search(r"Paths y ~ m1 b3 \S+.*? 0 ✓ y ~ m2 b4", text)
        assert re.search(r"m1 ~ treat b1 [^✓]*✗ off by", text)
        assert re.search(r"total [^✗]*0 ✓", text)
        table = pd.read_csv(tmp_path / "out" / "summary.csv")
        assert list(table.columns[:4]) == ["level", "header", "label", "parameter"]

    def test_references_that_name_nothing_are_found_before_sampling(self, write):
        message = "'between: y ~ m' is not a parameter. Did you mean 'between: y ~ m2'"
        assert message.split(" Did")[0] in call("check", write("mediation", {"between: y ~ m": (1, 1, "x")}), code=2)
        assert "'y ~ m1' is not a parameter" in call("check", write("mediation", {"y ~ m1": (1, 1, "x")}), code=2)
        assert "Nothing is wrong" in call("check", write("one level", {"y ~ m1": (1, 1, "x"), "indirect": (1, 1, "x")}))

    def test_names_before_sampling_are_those_of_the_summary(self, fit, factors, single):
        for f in (fit, factors, single):
            assert cli._parameter_names(f.spec, f.design, f.priors) == list(gallery.names_of(bh.summary(f)))

    def test_compare(self, fit):
        table = bh.summary(fit)
        value = table.set_index("label").loc["b1", "estimate"]
        found = gallery.compare(table, {"b1": (value, 0, "a"), "between: m1 ~ treat": (value + 9, 1, "b")})
        assert found["agrees"].tolist() == [True, False]
        assert found.index.tolist() == [table.index[(table["label"] == "b1")].item()] * 2


class _Gathered:
    """What a run writes, without figures."""

    def __init__(self, fit):
        self.fit, self.summary, self.effects, self.figures = fit, bh.summary(fit), bh.effects(fit), {}
