"""Figures of structural equation models: draws, predictive checks, priors."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sem_fits import EVIL, NOT_FOR_PATHS, data, factors_fit, mediation_fit, mediation_material, quick, texts
from test_sem import MODELS, frame
from test_tables import Tags

import bayeshte as bh
from bayeshte import plots
from bayeshte.plots import draws as drawn_draws
from bayeshte.plots import predictive, style
from bayeshte.plots.standard import _standard
from bayeshte.report import material


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
def gathered() -> material.Material:
    return mediation_material()


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
