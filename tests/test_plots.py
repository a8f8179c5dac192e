"""Figures: the right marks, labels and numbers, the verdict, nothing left open. No pixels."""

import warnings
from importlib import import_module
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from cases import BASE, SPECS, frame
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy import integrate

import bayeshte as bh
from bayeshte import plots
from bayeshte.plots import clusters, draws, predictive, style
from bayeshte.plots.outcome import wilson
from bayeshte.plots.standard import _standard

mpl.use("Agg")
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def _nothing_left_behind():
    """No test leaves a figure open or a changed setting."""
    before = mpl.rcParams.copy()
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == dict(before)


def sampled(spec, data, draws=60, tune=200, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=tune, seed=1, progress=False, **options)


def simulated(clusters, size=8, seed=0):
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(clusters), size)
    arm = np.tile(np.arange(size) % 2, clusters)
    arm[school == 2] = 0
    u = rng.normal(0, 3, (clusters, 2))
    y = 50 + u[school, 0] + (4 + u[school, 1]) * arm + rng.normal(0, 4, len(arm))
    return pd.DataFrame({"score": y, "arm": np.where(arm, "small", "regular"), "school": [f"s{k}" for k in school]})


SPEC = bh.RandomSlope(outcome="score", treatment="arm", reference="regular", cluster="school")


@pytest.fixture(scope="module")
def few():
    return sampled(SPEC, simulated(8), draws=800, tune=400)


@pytest.fixture(scope="module")
def many():
    return sampled(SPEC, simulated(79))


@pytest.fixture(scope="module")
def arms():
    """Three arms, two varying effects, moderators."""
    return sampled(bh.RandomSlope(**BASE, moderators="x + sex"), frame())


@pytest.fixture(scope="module")
def binary():
    spec = bh.RandomSlope(**BASE | {"outcome": "passed"}, family="logit", varying="high", moderators="sex")
    return sampled(spec, frame())


def lines(ax, marker=None):
    return [v for v in ax.lines if marker is None or v.get_marker() == marker]


def texts(fig):
    """All text of a figure."""
    return "\n".join(t.get_text() for t in fig.findobj(mpl.text.Text))


def figure_of(out):
    """A figure, our own or ArviZ's."""
    return out if isinstance(out, Figure) else out.get_viz("figure")


def drawn(fig):
    """The figure after drawing it, which makes its ticks."""
    fig.draw_without_rendering()
    return fig


class TestCaterpillar:
    def test_clusters_are_sorted_and_complete(self, many):
        ax = plots.plot_caterpillar(many).axes[0]
        filled, hollow = lines(ax, "o")
        rank = np.concatenate([filled.get_xdata(), hollow.get_xdata()])
        estimate = np.concatenate([filled.get_ydata(), hollow.get_ydata()])[np.argsort(rank)]
        assert sorted(rank) == list(range(1, 80))
        assert all(a <= b for a, b in pairwise(estimate))
        table = bh.cluster_effects(many)
        np.testing.assert_allclose(estimate, table["estimate"])
        intervals = np.concatenate([c.get_segments() for c in ax.collections])
        np.testing.assert_allclose(np.sort(intervals[:, 0, 1]), np.sort(table["lower"]))
        np.testing.assert_allclose(np.sort(intervals[:, 1, 1]), np.sort(table["upper"]))

    def test_clusters_with_one_arm_are_hollow_and_explained(self, many):
        fig = plots.plot_caterpillar(many)
        hollow = lines(fig.axes[0], "o")[1]
        assert len(hollow.get_xdata()) == bh.cluster_effects(many)["one_arm"].sum() == 1
        assert to_rgba(hollow.get_markerfacecolor()) == to_rgba("white")
        assert "one of the two arms only" in texts(fig)

    def test_few_clusters_have_names_and_many_a_rank(self, few, many):
        named, ranked = (drawn(plots.plot_caterpillar(f)).axes[0] for f in (few, many))
        assert [t.get_text() for t in named.get_yticklabels()] == list(bh.cluster_effects(few)["cluster"])
        assert named.get_xlabel() == "effect of small vs regular on score"
        assert "rank of 79" in ranked.get_xlabel()
        assert "effect of small vs regular" in ranked.get_ylabel()

    def test_the_average_is_that_of_the_clusters(self, few):
        ax = plots.plot_caterpillar(few).axes[0]
        average = few.posterior["effect"].mean("school").to_numpy().ravel()
        positions = [line.get_xdata()[0] for line in lines(ax, "None")]
        assert positions == [0, pytest.approx(np.median(average))]
        assert style.estimate(average) in ax.get_title(loc="left")

    def test_the_share_beyond_a_threshold_is_computed_per_draw(self, few):
        ax = plots.plot_caterpillar(few, meaningful=-2).axes[0]
        share = (few.posterior["effect"] < -2).mean("school").to_numpy()
        assert f"share of clusters < −2: {style.estimate(share)}" in ax.get_title(loc="left")
        assert [v.get_xdata()[0] for v in lines(ax, "None")][-1] == -2

    def test_a_panel_for_every_varying_contrast(self, arms):
        assert len(plots.plot_caterpillar(arms).axes) == 2
        (ax,) = plots.plot_caterpillar(arms, "high").axes
        assert "high vs control" in ax.get_xlabel()

    def test_it_draws_on_axes_it_is_given(self, few):
        fig, axes = plt.subplots(1, 2)
        assert plots.plot_caterpillar(few, ax=axes[1]) is fig
        assert not axes[0].lines

    def test_cluster_means_without_a_treatment(self):
        eight = pd.DataFrame({"y": [28.0, 8, -3, 7, -1, 1, 18, 12], "se": [15.0, 10, 16, 11, 9, 11, 10, 18]})
        spec = bh.RandomSlope(outcome="y", cluster="school", standard_error="se")
        fit = sampled(spec, eight.assign(school=list("ABCDEFGH")))
        ax = plots.plot_caterpillar(fit).axes[0]
        means = bh.effect_draws(fit, "cluster mean").median(("chain", "draw"))
        np.testing.assert_allclose(lines(ax, "o")[0].get_xdata(), np.sort(means))
        assert "expected in a new cluster" in ax.get_title(loc="left")
        assert {"caterpillar", "pooling", "effect"} <= set(_standard(fit))
        assert not {"baseline", "outcome"} & set(_standard(fit))

    def test_what_cannot_be_drawn_is_refused(self, arms, few):
        alone = sampled(SPECS["no clusters"], frame())
        fixed = sampled(SPECS["intercept only"], frame())
        for fit in (alone, fixed):
            with pytest.raises(bh.SpecError, match="No effect varies"):
                plots.plot_caterpillar(fit)
            with pytest.raises(bh.SpecError, match="No effect varies"):
                plots.plot_pooling(fit)
        with pytest.raises(bh.SpecError, match="Did you mean 'high'"):
            plots.plot_caterpillar(arms, "hihg")
        with pytest.raises(bh.SpecError, match="One set of axes"):
            plots.plot_caterpillar(arms, ax=Figure().subplots())


class TestClusters:
    def test_pooling_shows_raw_differences_of_clusters_with_both_arms(self, few):
        ax = plots.plot_pooling(few).axes[0]
        data = simulated(8).pivot_table(index="school", columns="arm", values="score")
        raw = (data["small"] - data["regular"]).dropna()
        points = ax.collections[-1].get_offsets()
        np.testing.assert_allclose(points[:, 0], raw)
        pooled = few.posterior["effect"].median(("chain", "draw")).sel(school=raw.index).to_numpy()[:, 0]
        np.testing.assert_allclose(points[:, 1], pooled)
        assert ax.get_title(loc="left") == "left out: 1 with one of the two arms only"
        segments = np.array(ax.collections[0].get_segments())
        np.testing.assert_allclose(segments[:, 0, 1], segments[:, 0, 0])  # they begin on the identity line

    def test_pooling_needs_clusters_with_both_arms(self):
        data = simulated(8)
        data["school"] += data["arm"]
        fit = sampled(
            bh.RandomSlope(
                outcome="score", treatment="arm", reference="regular", cluster="school", intercept_varies=False
            ),
            data,
        )
        with pytest.raises(bh.SpecError, match="No two clusters hold both arms"):
            plots.plot_pooling(fit)
        assert "pooling" not in _standard(fit)
        assert "caterpillar" in _standard(fit)

    def test_expected_outcomes_do_not_depend_on_the_blocks(self, arms, monkeypatch):
        whole = [clusters._expected(arms, arm) for arm in ("control", "high")]
        monkeypatch.setattr(clusters, "BLOCK", 300)
        for arm, value in zip(("control", "high"), whole, strict=True):
            np.testing.assert_allclose(clusters._expected(arms, arm), value)
        effect = arms.posterior["effect"].sel(arm="high").to_numpy().reshape(whole[0].shape)
        np.testing.assert_allclose(whole[1] - whole[0], effect)

    def test_baseline_has_a_point_a_cluster_and_the_line_of_each_draw(self, few):
        ax = plots.plot_baseline(few).axes[0]
        p = few.posterior
        baseline = (p["gamma0"] + p["u"].sel(varying="intercept")).to_numpy().reshape(-1, 8)
        effect = p["effect"].sel(arm="small").to_numpy().reshape(-1, 8)
        np.testing.assert_allclose(lines(ax, "o")[0].get_xdata(), np.median(baseline, axis=0))
        along = ax.lines[0].get_xdata()
        fitted = [np.polyval(np.polyfit(b, e, 1), along) for b, e in zip(baseline, effect, strict=True)]
        np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(fitted, axis=0))
        assert "correlation" in ax.get_title(loc="left")


class TestEffect:
    def test_probabilities_are_written(self, few):
        fig = plots.plot_effect(few, "ATE", meaningful=2.0, rope=(-1, 1))
        x = bh.effect_draws(few, "ATE").to_numpy()
        text = texts(fig)
        assert style.estimate(x) in text
        for words, value in (
            ("P(> 0)", (x > 0).mean()),
            ("P(> 2)", (x > 2).mean()),
            ("P(−1 < effect < 1)", ((x > -1) & (x < 1)).mean()),
        ):
            assert f"{words} {style.probability(value)}" in text

    def test_every_estimand_with_contrasts_can_be_drawn(self, few):
        for estimand in few.spec.estimands(few.design):
            ax = plots.plot_effect(few, estimand.name).axes[0]
            assert "small vs regular" in ax.get_xlabel().replace("\n", " ")
            assert estimand.definition[:30] in " ".join(ax.get_title(loc="left").split())

    def test_contrasts(self, arms):
        assert len(plots.plot_effect(arms).axes) == 2
        assert len(plots.plot_effect(arms, contrast="low").axes) == 1

    def test_refusals(self, few):
        with pytest.raises(bh.SpecError, match="rope"):
            plots.plot_effect(few, rope=(1, -1))
        with pytest.raises(bh.SpecError, match="estimand"):
            plots.plot_effect(few, "LATE")
        none = sampled(bh.RandomSlope(outcome="score", cluster="school"), simulated(8))
        with pytest.raises(bh.SpecError, match="plot_caterpillar"):
            plots.plot_effect(none, "cluster mean")

    def test_a_curve_over_numbers_and_points_over_categories(self, arms, monkeypatch):
        grids = {"x": list(np.linspace(0, 6, 11)), "sex": ["f", "m"]}
        monkeypatch.setattr(import_module("bayeshte.effects"), "_grid", lambda column: grids[column.name])
        curve = plots.plot_cate(arms, "x", meaningful=1.0, at={"sex": "f"}).axes[0]
        values = bh.cate(arms, "x", at={"sex": "f"}).sel(arm="high")
        median = next(v for v in curve.lines if v.get_label() == "median")
        np.testing.assert_allclose(median.get_ydata(), values.median(("chain", "draw")))
        assert curve.get_xlabel() == "x, sex = f"
        assert curve.get_ylabel().replace("\n", " ") == "effect of high vs control on y"
        points = drawn(plots.plot_cate(arms, "sex")).axes[1]
        n = frame()["sex"].value_counts()
        assert [t.get_text() for t in points.get_xticklabels()] == [f"f\nn = {n['f']}", f"m\nn = {n['m']}"]
        assert len(lines(points, "o")[0].get_xdata()) == 2


class TestOutcome:
    def test_a_box_an_arm_and_a_panel_a_subgroup(self, arms):
        fig = drawn(plots.plot_outcome(arms, by="sex"))
        assert [ax.get_title(loc="left") for ax in fig.axes] == ["sex = f", "sex = m"]
        data = frame()
        for sex, ax in zip("fm", fig.axes, strict=True):
            assert len(ax.patches) == 3
            means = [v.get_ydata()[0] for v in lines(ax, "D")]
            own = data[data["sex"] == sex].groupby("arm")["y"]
            names = [t.get_text().split("\n")[0] for t in ax.get_xticklabels()]
            assert names[0] == "control"
            np.testing.assert_allclose(means, own.mean()[names])
            assert [t.get_text().split("= ")[1] for t in ax.get_xticklabels()] == [str(own.size()[n]) for n in names]

    def test_proportions_of_a_binary_outcome(self, binary):
        ax = plots.plot_outcome(binary).axes[0]
        share = frame().groupby("arm")["passed"].mean()
        assert [p.get_height() for p in ax.patches] == [pytest.approx(share[a]) for a in ("control", "high", "low")]
        assert ax.get_ylabel() == "share with passed = 1"

    def test_wilson_intervals(self):
        """Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29."""
        x, n = np.array([81, 15, 0, 1]), np.array([263, 148, 20, 29])
        lower, upper = wilson(x / n, n)
        np.testing.assert_allclose(lower, [0.2553, 0.0624, 0, 0.0061], atol=6e-5)
        np.testing.assert_allclose(upper, [0.3662, 0.1605, 0.1611, 0.1718], atol=6e-5)

    def test_too_many_subgroups(self, arms):
        with pytest.raises(bh.DataError, match="bin it first"):
            plots.plot_outcome(arms, by="x")
        with pytest.raises(bh.DataError, match="not in the model"):
            plots.plot_outcome(arms, by="age")


class TestDraws:
    def test_a_panel_a_parameter(self, few):
        table = bh.summary(few)
        for draw in (plots.plot_trace, plots.plot_rank):
            figure = draw(few).get_viz("figure")
            titles = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
            assert titles == list(table["parameter"])

    def test_prior_density_and_posterior_of_every_parameter(self, few):
        fig = plots.plot_priors(few)
        shown = [ax for ax in fig.axes if ax.get_visible()]
        assert [ax.get_title(loc="left").split("\n")[0] for ax in shown] == list(bh.summary(few)["parameter"])
        for ax in shown:
            label = ax.get_title(loc="left").split("\n")[0]
            if label.startswith("corr"):
                continue
            (line,) = ax.lines
            np.testing.assert_allclose(line.get_ydata(), np.exp(few.priors[label].log_density(line.get_xdata())))

    def test_improper_priors_are_named_and_have_no_curve(self):
        fig = plots.plot_priors(sampled(SPECS["mplus"], frame()))
        flat = [ax for ax in fig.axes if "improper" in ax.get_title(loc="left")]
        assert "gamma0\nflat (improper)" in [ax.get_title(loc="left") for ax in flat]
        assert all(not ax.lines for ax in flat)
        assert sum(len(ax.lines) for ax in fig.axes) == 1  # LKJ(1) is proper

    @pytest.mark.parametrize(("eta", "d"), [(1, 2), (2, 2), (2, 4)])
    def test_marginal_density_of_a_correlation(self, eta, d):
        prior = bh.LKJ(eta)
        total, _ = integrate.quad(lambda r: draws._density(prior, r, d), -1, 1)
        spread, _ = integrate.quad(lambda r: r**2 * draws._density(prior, r, d), -1, 1)
        assert total == pytest.approx(1)
        assert spread == pytest.approx(1 / (2 * eta + d - 1))  # variance of LKJ's correlations

    def test_of_very_many_parameters_the_worst_are_shown(self, arms, monkeypatch):
        monkeypatch.setattr(draws, "PARAMETERS", 5)
        table = bh.summary(arms)
        shown, note = draws._parameters(arms)
        assert set(shown) == set(table.loc[table["ess_bulk"].nsmallest(5).index, "parameter"])
        assert f"5 of {len(table)}" in note


class TestPredictive:
    def test_a_panel_an_arm(self, arms):
        pc = plots.plot_ppc(arms)
        titles = {ax.get_title(loc="left") for ax in pc.get_viz("figure").axes if ax.axison}
        assert titles == {"arm = control", "arm = high", "arm = low"}
        assert "50 replicated" in texts(pc.get_viz("figure"))

    def test_rounded_outcomes_are_shown_as_shares(self):
        fit = sampled(SPEC, simulated(40).assign(score=lambda d: d["score"].round(-1)))
        assert "cumulative share" in texts(plots.plot_ppc(fit).get_viz("figure"))

    def test_checks_show_every_statistic(self, few):
        fig = plots.plot_checks(few)
        table = bh.predictive_checks(few)
        within, between = fig.axes
        names = [t.get_text() for t in drawn(fig).axes[0].get_yticklabels()]
        assert names == list(table.loc[table["level"] == "within", "statistic"])
        assert "these clusters" in within.get_title(loc="left")
        assert "new clusters" in between.get_title(loc="left")


class TestEveryFit:
    @pytest.mark.parametrize("name", SPECS)
    def test_every_specification_has_its_figures(self, name):
        """A short fit has not converged, and every figure says so."""
        fit = sampled(SPECS[name], frame(), draws=25, tune=50)
        assert not fit.diagnosis.ok
        slow = {"checks", "rank", "trace", "cate_x"}
        for key, draw in _standard(fit).items():
            if key not in slow:
                assert "NOT CONVERGED" in figure_of(draw()).get_suptitle(), key

    def test_every_figure_fits_a_page_and_can_be_read(self):
        fit = sampled(SPECS["intercept only"], frame(), draws=25, tune=50)
        for key, draw in _standard(fit).items():
            fig = drawn(figure_of(draw()))
            assert "NOT CONVERGED" in fig.get_suptitle(), key
            assert fig.get_figwidth() in (style.COLUMN, style.PAGE), key
            sizes = [t.get_fontsize() for t in fig.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]
            assert min(sizes) >= 7, key

    def test_a_link_is_named_on_every_axis(self, binary):
        shown = {key: draw for key, draw in _standard(binary).items() if key not in ("trace", "rank", "checks")}
        found = {key: texts(figure_of(draw())).replace("\n", " ") for key, draw in shown.items()}
        assert "high vs control on log odds of passed" in found["caterpillar"]
        for key in ("pooling", "baseline", "effect", "cate_sex"):
            assert "high vs control on P(passed = 1)" in found[key]
        assert "correlation" not in found["baseline"]  # that of the model is one of log odds
        assert "observed share with passed = 1" in found["ppc"]

    def test_counts_have_a_rootogram(self, monkeypatch):
        fit = sampled(SPECS["poisson"], frame())
        assert "square-root scale" in texts(figure_of(plots.plot_ppc(fit)))
        y = fit.design["y"].to_numpy()
        made = np.tile(y, (50, 1))
        made[0, 0] = 90.0
        with monkeypatch.context() as patched:
            patched.setattr(predictive, "replicate", lambda fit, draws: made)
            figure = figure_of(plots.plot_ppc(fit))
        assert figure.axes[0].get_xlim()[1] == y.max() + 0.5
        assert "not shown" in texts(figure)
        monkeypatch.setattr(predictive, "COUNTS", 2)
        assert "cumulative share" in texts(figure_of(plots.plot_ppc(fit)))

    def test_figures_are_closed_and_in_order(self, few):
        out = plots.figures(few)
        assert list(out) == [
            *("caterpillar", "pooling", "baseline", "effect", "outcome"),
            *("ppc", "checks", "priors", "trace", "rank"),
        ]
        assert all(isinstance(v, Figure) for v in out.values())
        assert plt.get_fignums() == []

    def test_moderators_have_their_curves(self, arms):
        names = set(_standard(arms))
        assert {"cate_x", "cate_sex"} <= names

    def test_difficult_names(self, tmp_path):
        """Dollars are not mathematics, slashes no paths, and long names are cut."""
        columns = {"score": "fee ($) and tax ($)", "arm": "Gruppe_äö", "school": "scuola_$x^2$"}
        data = simulated(8).rename(columns=columns)
        data["Gruppe_äö"] = data["Gruppe_äö"].map({"small": "50 % / $5", "regular": "business as usual " * 6})
        data["scuola_$x^2$"] = "Saint Bartholomew's Church of England Primary School " + data["scuola_$x^2$"]
        keys = dict(zip(("outcome", "treatment", "cluster"), columns.values(), strict=True))
        fit = sampled(bh.RandomSlope(**keys, reference="business as usual " * 6), data)
        for name, fig in plots.figures(fit).items():
            fig.savefig(tmp_path / f"{name}.svg")
        labels = [t.get_text() for t in drawn(plots.plot_caterpillar(fit)).axes[0].get_yticklabels()]
        assert len(set(labels)) == 8
        assert all(len(v) <= 28 for v in labels)

    def test_a_notebook_shows_it_once(self, few):
        fig = plots.plot_effect(few)
        assert fig._repr_png_().startswith(b"\x89PNG")
        assert plt.get_fignums() == []

    def test_the_users_style_does_not_leak_in(self, few):
        with mpl.rc_context({"axes.facecolor": "black", "font.size": 30, "text.usetex": True}):
            fig = drawn(plots.plot_caterpillar(few))
        assert to_rgba(fig.axes[0].get_facecolor()) == to_rgba("white")
        assert {t.get_fontsize() for t in fig.axes[0].get_xticklabels()} == {7.0}

    def test_the_verdict_is_absent_from_a_converged_fit(self, few):
        assert few.diagnosis.ok
        assert plots.plot_caterpillar(few).get_suptitle() == ""

    def test_the_verdict_on_axes_that_are_the_users(self, arms):
        _, ax = plt.subplots()
        plots.plot_caterpillar(arms, "high", ax=ax)
        assert "NOT CONVERGED" in ax.texts[0].get_text()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-1.2345, "−1.23"), (1234.5, "1,234"), (999.9, "1,000"), (0.00001234, "1.23e−05"), (2e7, "2e+07")],
)
def test_numbers(value, text):
    assert style.number(value) == text


def test_numbers_that_are_rounding_errors():
    """Beside an interval of 0.1 wide a mean of 7e-17 is 0, without a sign."""
    assert style.number(7.11e-17, 0.1) == style.number(-1.4e-17, 0.1) == "0"
    assert style.number(-0.0275, 0.08) == "−0.0275"
    assert style.number(1234.5, 4000) == "1,234"
