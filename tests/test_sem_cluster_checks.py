"""Categorical variables of clusters: effects by hand, replicates, what data may be, recovery, tables and figures of fits."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from test_sem_categorical_checks import PRIORS, draw_of, named
from test_sem_categorical_likelihood import prior_draws
from test_sem_cluster_categories import MODELS, ONE, frame

import bayeshte as bh
from bayeshte import SEM
from bayeshte.errors import DataError, SpecError
from bayeshte.fit import headline
from bayeshte.simulate import simulate


def estimands(spec, draws, design) -> dict:
    return {e.name: e.draws(draws, design) for e in spec.estimands(design)}


def test_effects_on_the_probability_of_an_outcome_of_clusters_by_hand():
    """z acts on u by itself and through the clusters' part of y: normal probabilities, averaged over clusters."""
    spec = MODELS["outcome"]
    data = frame()
    design = spec.design(data)
    draws = prior_draws(spec, design, 3)
    found = estimands(spec, draws, design)
    z = data.groupby("school")["z"].first().mean()
    for k in range(3):
        truth = draws.isel(chain=0, draw=k)
        p, sd = named(truth, "path"), named(truth, "sd")["between: y"]
        a, b, c = (p[f"between: {v}"] for v in ("y ~ z", "u ~ y", "u ~ z"))
        constant = b * named(truth, "intercept")["between: y"] - named(truth, "threshold")["between: u | t1"]

        def chance(direct, through, a=a, b=b, c=c, constant=constant, sd=sd):
            return norm.cdf((constant + c * direct + a * b * through) / np.sqrt(1 + (b * sd) ** 2))

        expected = {
            "total": chance(z + 1, z + 1) - chance(z, z),
            "pure direct": chance(z + 1, z) - chance(z, z),
            "total indirect": chance(z + 1, z + 1) - chance(z + 1, z),
        }
        for kind, value in expected.items():
            effect = found[f"{kind} effect of z on P(u), between"]
            assert float(effect[0, k].squeeze()) == pytest.approx(value, abs=1e-10)
        assert float(found["indirect effect of z on u, between"][0, k]) == pytest.approx(a * b)
        explained = found["R-square of u, between"][0, k]
        z_var = data.groupby("school")["z"].first().var(ddof=0)
        systematic = (c + a * b) ** 2 * z_var + (b * sd) ** 2
        assert float(explained) == pytest.approx(systematic / (1 + systematic))


def test_effects_through_a_categorical_mediator_of_clusters_by_hand():
    spec = MODELS["row and cluster"]
    design = spec.design(frame())
    draws = prior_draws(spec, design, 2)
    found = estimands(spec, draws, design)
    rows = frame()[["x", "z"]].to_numpy()
    for k in range(2):
        truth = draws.isel(chain=0, draw=k)
        p, sd, tau = named(truth, "path"), named(truth, "sd"), named(truth, "threshold")
        p = {v.replace("between: ", "b ").replace("within: ", "w "): x for v, x in p.items()}
        through = p["b h ~ m"] + p["b h ~ u"] * p["b u ~ m"]  # from m between to h
        constant = named(truth, "intercept")["between: m"] * through - tau["between: h | t1"]
        constant = constant - p["b h ~ u"] * tau["between: u | t1"]
        variance = 1 + (p["w h ~ m"] * sd["within: m"]) ** 2 + (through * sd["between: m"]) ** 2
        variance += p["b h ~ u"] ** 2 + sd["between: h"] ** 2

        def chance(z, p=p, through=through, constant=constant, variance=variance):
            centre = constant + p["w h ~ m"] * p["w m ~ x"] * rows[:, 0]
            centre = centre + (through * p["b m ~ z"] + p["b h ~ u"] * p["b u ~ z"]) * z
            return norm.cdf(centre / np.sqrt(variance)).mean()

        mean = rows[:, 1].mean()
        effect = found["effect of z on P(h), between"]
        assert float(effect[0, k].squeeze()) == pytest.approx(chance(mean + 1) - chance(mean), abs=1e-10)


def test_replicated_clusters_have_the_probabilities_of_the_model():
    spec, n = MODELS["outcome"], 2000
    data = frame(missing=True)
    design = spec.design(data)
    draws = draw_of(SEM(**ONE, between="y ~ z; u ~ y + z", categorical=["u"], priors=PRIORS), design, n)
    truth = draws.isel(chain=0, draw=0)
    p, z = named(truth, "path"), design["Z"].to_numpy()[:, 0]
    b = p["between: u ~ y"]
    constant = -named(truth, "threshold")["between: u | t1"] + p["between: u ~ z"] * z
    average = named(truth, "intercept")["between: y"] + p["between: y ~ z"] * z
    new = spec.replicates(draws, design, spec.frozen_priors(design), 3, "new")["V"].to_numpy()[..., 0]
    seen = ~np.isnan(design["V"].to_numpy()[:, 0])
    assert (np.isnan(new) == ~seen).all()
    sd = np.sqrt(1 + (b * named(truth, "sd")["between: y"]) ** 2)
    these = truth["cluster_mean"].sel(between_variable="y").to_numpy()
    again = spec.replicates(draws, design, spec.frozen_priors(design), 4, "these")["V"].to_numpy()[..., 0]
    for made, chance in ((new, norm.cdf((constant + b * average) / sd)), (again, norm.cdf(constant + b * these))):
        z_score = (made.sum(0) - n * chance) / np.sqrt(n * chance * (1 - chance))
        assert np.abs(z_score[seen]).max() < 4.5


def test_simulated_data_have_the_labels_of_the_data():
    data = frame(missing=True)
    labels = ["low", "middle", "high"]
    data["o"] = pd.Categorical.from_codes(data["o"].fillna(-1).astype(int), labels, ordered=True)
    spec = SEM(**ONE, between="y ~ z; o ~ y; u ~ o", categorical=["o", "u"], priors=PRIORS)
    ((_, made),) = simulate(spec, data, seed=2)
    assert made["o"].dtype == data["o"].dtype
    assert (made.groupby("school")[["o", "u"]].nunique() <= 1).all().all()
    pd.testing.assert_series_equal(made["o"].isna(), data["o"].isna())


def test_statistics_of_clusters_by_hand():
    spec = MODELS["two outcomes"]
    for missing in (False, True):
        data = frame(missing=missing)
        design, own = spec.design(data), data.groupby("school")[["o", "u"]].first()
        found = spec.discrepancies(design)(design["Y"].to_numpy(), design["V"].to_numpy())
        assert found["share of o = 2"] == pytest.approx((own["o"].dropna() == 2).mean())
        assert "mean of o" not in found
        if not missing:
            assert found["correlation of u and o between clusters"] == pytest.approx(own["o"].corr(own["u"]))


class TestData:
    def expect(self, error, words, data=None, **given):
        spec = {"between": "y ~ z; o ~ y", "categorical": ["o"]} | given
        with pytest.raises(error, match=words):
            SEM(**ONE, **spec).design(frame() if data is None else data)

    def test_a_category_of_one_cluster(self):
        data = frame().assign(o=lambda d: np.where(d["school"] == 3, 9, d["u"]))
        spec = SEM(**ONE, between="y ~ z; o ~ y", categorical=["o"])
        design = spec.design(data)
        density = spec.marginal(design, spec.frozen_priors(design))
        assert design.attrs["categories"] == ["o=0", "o=1", "o=9"]
        assert np.isfinite(density(np.zeros(density.n_dim))[0])

    def test_twenty_categories(self):
        data = frame().assign(o=lambda d: d["school"] % 20)
        spec = SEM(**ONE, between="y ~ z; o ~ y", categorical=["o"])
        design = spec.design(data)
        density = spec.marginal(design, spec.frozen_priors(design))
        tau = density.parameters(np.zeros(density.n_dim))["_scalars"]
        assert np.isfinite(tau).all()
        self.expect(DataError, "'o' has 21 categories, 20 are the most", frame().assign(o=lambda d: d["school"] % 21))

    def test_text_in_its_own_order(self):
        labels = np.array(["never", "sometimes", "always"])
        text = pd.Categorical(labels[frame()["o"].astype(int)], labels, ordered=True)
        design = SEM(**ONE, between="y ~ z; o ~ y", categorical=["o"]).design(frame().assign(o=text))
        own = frame().groupby("school")["o"].first()
        np.testing.assert_array_equal(design["V"].sel(own_variable="o"), own.loc[design["school"].astype(int)])
        self.expect(
            DataError, "'o' must be whole numbers or an ordered", frame().assign(o=labels[frame()["o"].astype(int)])
        )

    def test_a_variable_that_varies_within_clusters(self):
        text = pd.Categorical(np.where(frame()["x"] > 0, "yes", "no"), ["no", "yes"], ordered=True)
        words = (
            "'o' stands in the between model only, but varies within .* from no to yes. Put it into the within model"
        )
        self.expect(DataError, words, frame().assign(o=text))

    def test_a_category_that_is_lost_with_its_covariate(self):
        data = frame().assign(o=lambda d: np.where(d["school"] == 3, 7, d["u"]))
        data.loc[data["school"] == 3, "z"] = np.nan
        self.expect(DataError, "'o' is '7' only in rows that lack a covariate", data)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"between": "y ~ o"}, "'o' only predicts"),
            ({"between": "y ~ z; o ~ y; o ~ 1"}, "has thresholds, o | t1, and no intercept"),
            ({"between": "y ~ z; o ~ y; o ~~ o"}, "between: o ~~ o: the residual variance of a latent response"),
            (
                {"between": "y ~ z; u ~ o; o ~ z", "categorical": {"o": "logit"}},
                "o, with the logit link, may neither predict",
            ),
            ({"between": "y ~ z; mean(x) ~ y", "categorical": ["mean(x)"]}, "computed from 'x': make a column"),
            ({"between": "y ~ z; o ~ y", "categorical": ["w"]}, "'w' is not in the model"),
        ],
    )
    def test_what_cannot_be_meant(self, given, words):
        self.expect(SpecError, words.replace("|", r"\|"), **given)

    def test_thresholds_belong_to_the_between_text(self):
        with pytest.raises(SpecError, match="the thresholds of o belong to the text of between="):
            SEM(cluster="school", within="y ~ x; o | t1", between="y ~ z; o ~ y", categorical=["o"])

    def test_a_model_that_is_not_identified(self):
        spec = SEM(**ONE, between="y ~ z; g =~ u + k; g ~~ g", categorical=["u", "k"])
        design = spec.design(frame())
        with pytest.raises(SpecError, match="The model is not identified"):
            spec.frozen_priors(design)


def test_priors_of_the_mplus_set():
    spec = SEM(**ONE, between="y ~ u; u ~ z; g =~ o + k + u; g ~~ 0*y", categorical=["u", "o", "k"], priors="mplus")
    design = spec.design(frame())
    priors = spec.frozen_priors(design)
    normal = bh.Normal(0, np.sqrt(5))
    for name in ("path[between: u ~ z]", "loading[between: g =~ k]", "threshold[between: o | t2]"):
        assert priors[name] == normal
    assert priors["path[between: y ~ u]"].name == "Flat"


@pytest.fixture(scope="module")
def recovered():
    """A programme of schools that treatment brings about, and that acts on pupils; an ordinal rating of schools."""
    rng = np.random.default_rng(5)
    J, n = 40, 6
    treat = np.arange(J) % 2
    response = 0.9 * treat - 0.3 + rng.normal(size=J)
    b = 0.6 * response + 0.3 * treat + 0.5 * rng.normal(size=J)
    rating = np.digitize(0.8 * b + rng.normal(size=J), [-0.2, 0.9])
    j = np.repeat(np.arange(J), n)
    x = rng.normal(size=J * n)
    data = pd.DataFrame({"school": j, "x": x, "y": 0.4 * x + b[j] + rng.normal(size=J * n), "treat": treat[j]})
    data["adopted"], data["rating"] = (response > 0)[j] * 1.0, rating[j] * 1.0
    data.loc[np.isin(j, rng.choice(J, 4, replace=False)), "rating"] = np.nan
    spec = SEM(
        cluster="school",
        within="y ~ x",
        between="adopted ~ a*treat; y ~ b*adopted + treat; rating ~ c*y",
        categorical=["adopted", "rating"],
        derived={"through": "a*b"},
    )
    truth = {"a": 0.9, "b": 0.6, "c": 0.8, "through": 0.54}
    return bh.fit(spec, data, draws=400, tune=400, seed=1, progress=False), truth, data


def test_parameters_are_recovered(recovered):
    fit, truth, _ = recovered
    assert fit.diagnosis.ok
    table = bh.summary(fit)
    label = table["label"].where(table["label"] != "", table["parameter"])
    found = table.set_index(label)
    for name, value in truth.items():
        assert abs(found.loc[name, "mean"] - value) < 3 * found.loc[name, "posterior_sd"], name
    tau = table[table["header"] == "thresholds"].set_index("parameter")
    for name, value in {"adopted | t1": 0.3, "rating | t1": -0.2, "rating | t2": 0.9}.items():
        assert abs(tau.loc[name, "mean"] - value) < 3 * tau.loc[name, "posterior_sd"], name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayeshte.ConvergenceWarning")  # few draws, each of which costs a likelihood
def test_checks_of_a_fit(recovered):
    whole, _, data = recovered
    fit = bh.fit(whole.spec, data, draws=60, tune=300, seed=2, progress=False)
    table = bh.predictive_checks(fit, draws=100)
    shares = table[table["statistic"].str.startswith("share of")]
    assert len(shares) == 2 * 5
    assert not shares["extreme"].any()
    found = bh.loo(fit, refit=False)
    assert np.isfinite(found.elpd)
    statistics = bh.model_fit(fit, draws=10).set_index("statistic")
    assert np.isfinite(statistics.loc[["DIC, marginal", "BIC", "elpd"], "value"]).all()
    effects = bh.effects(fit).set_index("estimand")
    assert effects.loc["effect of treat on P(adopted), between", "estimate"] == pytest.approx(0.34, abs=0.25)
    assert {*bh.factor_scores(fit)["header"]} == {"cluster means"}
    assert headline(fit).startswith("SEM (gaussian and categorical): y, adopted, rating in 40 clusters")


def test_the_path_diagram_marks_latent_responses():
    fig = bh.plot_path(MODELS["row and cluster"])
    shown = [t.get_text() for ax in fig.axes for t in ax.texts]
    assert [shown.count(v) for v in ("u*", "h*", "h", "m*")] == [1, 2, 1, 0]
    assert any("star: latent response of a categorical variable" in t.replace("\n", " ") for t in shown)
    plt.close(fig)
