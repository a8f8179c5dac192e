"""Few clusters: what is said and refused before sampling, informative priors of the between level."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE, SPECS
from scipy import stats
from sem_fits import text_of
from test_cli import call
from test_report import without_figures
from test_scores import quick
from test_sem import BETWEEN, MODELS, WITHIN, draws_at, frame, graph_point, log_posterior, points_of
from test_sem_cli import FILE

import bayeshte as bh
from bayeshte import cli
from bayeshte.errors import DataError, SpecError
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.marginal import structural_draws

SPEC = bh.SEM(cluster="school", within=WITHIN, between=BETWEEN)


def trial_of(clusters: int, size: int = 20, icc: float = 0.1, seed: int = 0) -> pd.DataFrame:
    """A mediator and an outcome with this ICC (without the effect of treat): path 0.6 between clusters, 0.3 within."""
    rng = np.random.default_rng(seed)
    j = np.repeat(np.arange(clusters), size)
    treat, tau = np.arange(clusters) % 2, np.sqrt(icc / (1 - icc))
    m = tau * (0.6 * (2 * treat - 1) + 0.8 * rng.normal(size=clusters))
    y = 0.6 * m + 0.8 * tau * rng.normal(size=clusters)
    within = rng.normal(size=len(j))
    data = {"school": j, "treat": treat[j], "m": m[j] + within}
    return pd.DataFrame(data | {"y": y[j] + 0.3 * within + 0.95 * rng.normal(size=len(j))})


class TestBeforeSampling:
    def facts(self, spec, data) -> dict:
        return dict(spec.describe(spec.design(data)).facts)

    def test_the_free_parameters_between_are_counted(self):
        """4 paths, 3 intercepts, 3 SDs and a correlation; labels that both levels share are not counted."""
        assert SPEC.structure.between_parameters == 11
        shared = bh.SEM(cluster="school", within="f =~ y1 + a*y2 + y3", between="f =~ y1 + a*y2 + y3")
        assert shared.structure.between_parameters == 1 + 4 + 3  # the loading of y3, SDs, intercepts

    def test_a_plain_sentence(self):
        said = self.facts(SPEC, frame())["Few clusters"]
        assert said.startswith(
            "24 for 11 free parameters between clusters, fewer than 30 and fewer than 5 a parameter:"
        )
        assert "bh.few_cluster_priors(spec, data)" in said
        small = bh.SEM(cluster="school", within="y ~ m", between="y ~ m")
        assert "fewer than 5 a parameter" not in self.facts(small, trial_of(29))["Few clusters"]
        assert "Few clusters" not in self.facts(small, trial_of(30))
        wide = bh.SEM(cluster="school", within="y ~ m", between="y ~ m + treat; m ~ treat")
        assert "fewer than 5 a parameter" in self.facts(wide, trial_of(34))["Few clusters"]
        assert "fewer than 30" not in self.facts(wide, trial_of(34))["Few clusters"]
        assert "Few clusters" not in self.facts(wide, trial_of(35))

    def test_one_level_has_no_clusters_to_count(self):
        assert "Few clusters" not in self.facts(MODELS["one level"], frame())

    def test_where_it_is_read(self, tmp_path, monkeypatch):
        path = tmp_path / "mine.py"
        path.write_text(FILE.format(tests=str(cli.Path(__file__).parent), name="mediation", expected={}))
        assert "24 for 11 free parameters between clusters" in call("check", path)
        fit = quick(SPEC, frame())
        assert "bh.few_cluster_priors(spec, data)" in text_of(without_figures(fit, tmp_path / "r.html", monkeypatch))

    def test_what_no_prior_can_save(self):
        spec = bh.SEM(cluster="school", within="y ~ m", between="y ~ m + treat + climate")
        data = trial_of(4).assign(climate=lambda d: d["school"] ** 2.0)
        spec.design(data)
        with pytest.raises(DataError, match=r"from 3 clusters of 'school'.*2 covariates.*treat, climate.*at least 4"):
            spec.design(data.query("school < 3"))
        bh.SEM(cluster="school", within="y ~ m", between="y ~ m").design(data.query("school < 2"))


class TestPriors:
    def test_scales(self):
        """Gamma(2, 2/tau) has mean tau = sqrt(icc) SD; paths are standardised by the expected SDs, covariates by their own."""
        data = frame(missing=True)
        found = bh.few_cluster_priors(SPEC, data, icc=0.2, path=0.5)
        tau = {v: np.sqrt(0.2) * data[v].std(ddof=0) for v in ("y", "m1", "m2")}
        for v, t in tau.items():
            prior = found.pop(f"sd[between: {v}]")
            assert prior.name == "Gamma"
            assert stats.gamma(prior["alpha"], scale=1 / prior["beta"]).mean() == pytest.approx(t)
        treat = data.groupby("school")["treat"].first().std(ddof=0)
        expected = {
            "path[between: y ~ m1]": tau["y"] / tau["m1"],
            "path[between: y ~ m2]": tau["y"] / tau["m2"],
            "path[between: m1 ~ treat]": tau["m1"] / treat,
            "path[between: m2 ~ treat]": tau["m2"] / treat,
        }
        assert found.keys() == expected.keys()
        for k, sd in expected.items():
            assert (found[k]["mu"], found[k]["sigma"]) == pytest.approx((0, 0.5 * sd))

    def test_factors_and_variables_of_clusters(self):
        """The factor has its marker's SD, residuals of indicators may be zero, the cluster's own variable keeps its default."""
        spec, data = MODELS["factors"], frame()
        found = bh.few_cluster_priors(spec, data)
        tau = np.sqrt(0.1) * data["y1"].std(ddof=0)
        assert found["sd[between: f]"]["beta"] == pytest.approx(2 / tau)
        assert found["sd[between: y1]"] == bh.HalfNormal(tau)
        climate = data.groupby("school")["climate"].first().std(ddof=0)
        assert found["path[between: f ~ climate]"]["sigma"] == pytest.approx(0.5 * tau / climate)
        assert "sd[between: climate]" not in found
        assert not [k for k in found if "within" in k or "loading" in k]

    @pytest.mark.parametrize("name", [k for k, v in MODELS.items() if v.cluster])
    def test_every_model_takes_them_and_has_its_graph(self, name):
        """SDs of two kinds in one graph: its density of them is that of the priors."""
        spec, data = MODELS[name], frame()
        found = bh.few_cluster_priors(spec, data)
        spec = replace(spec, priors=found)
        design = spec.design(data)
        priors = spec.frozen_priors(design)
        assert {k: priors[k] for k in found} == found
        model = spec.joint(design, priors)
        assert "sd" in model.named_vars
        own = [v for v in model.free_RVs if v.name.startswith("_sd[")]
        assert {v.name[1:] for v in own} == {p.key for p in spec.structure.parameters if p.variable == "sd"} or not own

    def test_the_graph_has_the_density_of_the_kernel(self):
        """SDs of two kinds: those within are sampled with a sign, those between are not (test_sem counts a sign of each)."""
        spec = replace(MODELS["mediation"], priors=bh.few_cluster_priors(MODELS["mediation"], frame()))
        design = spec.design(frame())
        priors, rng = spec.frozen_priors(design), np.random.default_rng(0)
        density, model = spec.marginal(design, priors), spec.joint(design, priors)
        logp = model.compile_logp(jacobian=False, mode=EVALUATE)
        s, data, differences = spec.structure, data_of(design), []
        for z in points_of(density, 5):
            posterior = spec.recover(draws_at(density, [z]), design, rng)
            b = posterior["cluster_mean"].to_numpy()[0, 0]
            given = (spec._matrices(design), data, stacked(s, posterior), np.arange(3), b[None])
            value = float(logp(graph_point(spec, model, posterior, b)))
            value -= structural_draws.log_density_of_cluster_means(*given)[0]
            differences.append(value - log_posterior(spec, density, posterior, z))
        np.testing.assert_allclose(differences, 0, atol=1e-6)

    def test_the_report_lists_them_as_the_authors(self, tmp_path, monkeypatch):
        spec = replace(SPEC, priors=bh.few_cluster_priors(SPEC, frame()))
        text = text_of(without_figures(quick(spec, frame()), tmp_path / "r.html", monkeypatch))
        for k, prior in spec.priors.items():
            assert f"{k} {prior!r}" in text
        assert text.count(" authors ") >= len(spec.priors)

    def test_refusals(self):
        for spec in (MODELS["one level"], SPECS["intercept only"]):
            with pytest.raises(SpecError, match=r"bh\.SEM of two levels"):
                bh.few_cluster_priors(spec, frame())
        for options in ({"icc": 0.0}, {"icc": 1}, {"path": -1}):
            with pytest.raises(SpecError, match="a number above 0"):
                bh.few_cluster_priors(SPEC, frame(), **options)


@pytest.mark.slow
def test_a_path_between_ten_clusters():
    """40 trials: a smaller error than with flat priors, and intervals that are shorter and still hold the truth."""
    spec = bh.SEM(cluster="school", within="y ~ m", between="y ~ b*m; m ~ treat")
    found = {"mplus": [], "few": []}
    for seed in range(40):
        data = trial_of(10, seed=seed)
        for name, priors in (("mplus", "mplus"), ("few", bh.few_cluster_priors(spec, data))):
            row = bh.summary(quick(replace(spec, priors=priors), data, draws=500)).set_index("label").loc["b"]
            found[name].append(row[["estimate", "lower", "upper"]].astype(float) - 0.6)
    error, lower, upper = (np.array([x[k] for x in found["few"]]) for k in ("estimate", "lower", "upper"))
    flat = pd.DataFrame(found["mplus"])
    assert (error**2).mean() < (flat["estimate"] ** 2).mean()
    assert np.median(upper - lower) < 0.75 * np.median(flat["upper"] - flat["lower"])
    assert ((lower < 0) & (upper > 0)).sum() >= stats.binom(40, 0.95).ppf(0.005)


def test_the_unit_of_a_latent_response_is_its_residual():
    """Whatever the share of ones is: with an ICC of .2 its SD between clusters is half that within."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 10), "x": rng.normal(size=200)})
    data["y"] = (rng.random(200) < 0.1) * 1
    spec = bh.SEM(cluster="g", within="y ~ x", between="y ~ x", categorical=["y"])
    found = bh.few_cluster_priors(spec, data, icc=0.2)
    assert found["sd[between: y]"]["beta"] == pytest.approx(2 / 0.5)
