"""Path diagrams of structural equation models: where the variables stand, what is drawn and written."""

import itertools
import re
from dataclasses import replace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Ellipse, FancyArrowPatch, Rectangle
from sem_fits import EVIL, data, factors_fit, mediation_fit, texts
from test_sem import MODELS

import bayeshte as bh
from bayeshte import plots
from bayeshte.plots import style
from bayeshte.plots.path_diagram import graph
from bayeshte.plots.path_drawing import Graph, Panel, broken, points, size
from bayeshte.plots.path_layout import layout


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
