"""Fit statistics of structural equation models: published numbers, models that are wrong on one level."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from model_fits import CLINICS, clinics, clinics_fit, ppp, quick, school_activity_fit
from scipy import stats

import bayeshte as bh
from bayeshte import gallery


@pytest.fixture
def activity() -> bh.Fit:
    return school_activity_fit()


@pytest.fixture
def fitted() -> bh.Fit:
    return clinics_fit()


@pytest.mark.slow
def test_published_statistics(activity):
    """Table 25.3 of the chapter: PPP .489 [-17.902, 18.391], DIC 13,220; pD 149 and the marginal DIC were recomputed."""
    table = bh.model_fit(activity, draws=1500).set_index(["statistic", "level"])
    assert table.loc[("PPP", ""), "value"] == pytest.approx(0.489, abs=0.05)
    for level in ("within", "between"):
        assert table.loc[("PPP", level), "value"] == pytest.approx(0.5, abs=0.1)
    low, high = table.loc[("observed - replicated", ""), ["lower", "upper"]]
    assert low == pytest.approx(-17.9, abs=2.5)
    assert high == pytest.approx(18.4, abs=2.5)
    assert table.loc[("DIC, conditional", ""), "value"] == pytest.approx(13220, abs=40)
    assert table.loc[("pD, conditional", ""), "value"] == pytest.approx(149, abs=6)
    assert table.loc[("DIC, marginal", ""), "value"] == pytest.approx(13566, abs=10)
    assert table.loc[("pD, marginal", ""), "value"] == pytest.approx(17, abs=2)
    assert "k = 17" in table.loc[("BIC", ""), "definition"]
    assert -2 * table.loc[("elpd", ""), "value"] == pytest.approx(table.loc[("DIC, marginal", ""), "value"], abs=6)
    assert table.attrs["verdict"].startswith("Converged")
    pd.testing.assert_frame_equal(bh.model_fit(activity, draws=20, seed=3), bh.model_fit(activity, draws=20, seed=3))


def test_published_correlations(activity):
    table = bh.implied_correlations(activity)
    pairs = [{v, "treat"} for v in ("mvpa", "peers", "advant")]
    pairs += [{"mvpa", "peers"}, {"mvpa", "advant"}, {"peers", "advant"}]
    published = (0.299, 0.313, 0.309, 0.578, 0.500, 0.122)
    sample = (0.255, 0.335, 0.330, 0.582, 0.505, 0.135)
    between = table[table["level"] == "between"]
    assert len(between) == 6
    for row in between.itertuples():
        k = pairs.index({row.first, row.second})
        assert row.implied == pytest.approx(published[k], abs=0.02)
        assert row.sample == pytest.approx(sample[k], abs=1e-4)
        assert row.lower < row.implied < row.upper
    within = table[table["level"] == "within"].set_index(["first", "second"])["sample"]
    np.testing.assert_allclose(sorted(within), [0.279, 0.475, 0.478], atol=1e-4)


def test_a_misfit_shows_at_its_own_level(activity):
    data, spec = gallery.read("school_activity").data(), replace(activity.spec, derived={})
    wrong = {
        "between": spec.between.replace("p4bc*peers", "0*peers"),
        "within": spec.within.replace("p2wc*peers", "0*peers"),
    }
    found = ppp(quick(replace(spec, between=wrong["between"]), data, 500))
    assert found["between"] < 0.05
    assert found["within"] == pytest.approx(0.5, abs=0.1)
    found = ppp(quick(replace(spec, within=wrong["within"]), data, 500))
    assert found["within"] == found[""] == 0
    assert found["between"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_unbalanced_incomplete_data_with_factors(fitted):
    """Right, then wrong at each level."""
    assert all(0.1 < p < 0.9 for p in ppp(fitted).values())
    found = ppp(quick(replace(CLINICS, within="f =~ i1 + i2 + i3; f ~ x; y ~ x; only ~ x"), clinics()))
    assert found["within"] < 0.01
    assert found["between"] > 0.1
    apart = "h =~ i1 + i2 + i3; h ~ treat + climate; y ~~ y; y ~~ 0*h; climate ~ treat"
    found = ppp(quick(replace(CLINICS, between=apart), clinics()))
    assert found["between"] < 0.05
    assert found["within"] > 0.1


def test_one_level():
    rng = np.random.default_rng(2)
    x = rng.normal(100, 10, 300)
    data = pd.DataFrame({"x": x, "m": 0.1 * x + rng.normal(size=300)})
    data["y"] = data["m"] + rng.normal(size=300)
    data.loc[:30, "m"] = np.nan
    assert 0.1 < ppp(quick(bh.SEM(model="y ~ m; m ~ x"), data))[""] < 0.9
    assert ppp(quick(bh.SEM(model="y ~ x; m ~ x; y ~~ 0*m"), data))[""] < 0.01
    table = bh.implied_correlations(quick(bh.SEM(model="y ~ m; m ~ x"), data.dropna()))
    expected = data.dropna().corr()
    for row in table.itertuples():
        assert row.sample == pytest.approx(expected.loc[row.first, row.second], abs=1e-6)
        assert row.lower < row.sample < row.upper


def test_dic_and_bic_of_a_regression():
    """Deviances by hand."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=50)})
    data["y"] = 2 + data["x"] + rng.normal(size=50)
    fit = quick(bh.SEM(model="y ~ x"), data, 500)
    p = fit.posterior
    a, b, sd = (p[k].to_numpy().ravel() for k in ("intercept", "path", "sd"))

    def deviance(a, b, sd):
        mean = np.asarray(a)[..., None] + np.asarray(b)[..., None] * data["x"].to_numpy()
        return -2 * stats.norm(mean, np.asarray(sd)[..., None]).logpdf(data["y"].to_numpy()).sum(-1)

    mean = deviance(a, b, sd).mean()
    pd_ = mean - deviance(a.mean(), b.mean(), np.sqrt((sd**2).mean()))
    middle = deviance(np.median(a), np.median(b), np.median(sd))
    table = bh.model_fit(fit, draws=20).set_index("statistic")["value"]
    assert table["DIC"] == pytest.approx(mean + pd_)
    assert table["pD"] == pytest.approx(pd_)
    assert table["BIC"] == pytest.approx(
        middle + 3 * np.log(50), abs=1e-3
    )  # the median of 2,000 squares lies between two
    assert table["elpd"] == pytest.approx(bh.loo(fit, "row").elpd)


def test_conditional_deviance_at_the_posterior_means(activity):
    p, data = activity.posterior, gallery.read("school_activity").data()
    rows = bh.summary(activity).set_index(["level", "parameter"])["mean"]["within"]
    names = ["mvpa", "advant", "peers"]
    B = np.zeros((3, 3))
    B[0, 1:] = rows["mvpa ~ advant"], rows["mvpa ~ peers"]
    Psi = np.diag([rows[f"{v} ~~ {v}"] for v in names])
    Psi[1, 2] = Psi[2, 1] = rows["advant ~~ peers"]
    A = np.linalg.inv(np.eye(3) - B)
    means = p["cluster_mean"].mean(("chain", "draw")).sel(between_variable=names).to_numpy()
    at_mean = -2 * stats.multivariate_normal(cov=A @ Psi @ A.T).logpdf(data[names] - means[data["school"]]).sum()
    table = bh.model_fit(activity, draws=5).set_index("statistic")["value"]
    assert table["DIC, conditional"] - 2 * table["pD, conditional"] == pytest.approx(at_mean, abs=1e-6)


def test_without_one_covariance_matrix_there_is_no_ppp():
    data = clinics(gaps=0)
    product = quick(bh.SEM(cluster="clinic", within="y ~ i1", between="y ~ i1 + treat + treat:i1; i1 ~ treat"), data)
    table = bh.model_fit(product).set_index("statistic")
    assert np.isnan(table.loc["PPP", "value"])
    assert "depends on treat" in table.loc["PPP", "definition"]
    assert table["value"].drop("PPP").notna().all()
    assert bh.implied_correlations(product).notna().all(axis=None)
    slopes = quick(bh.SEM(cluster="clinic", within="s | y ~ i1", between="s ~ treat; y ~ i1; y ~~ s"), data, 100)
    table = bh.model_fit(slopes).set_index("statistic")
    assert "random slopes" in table.loc["PPP", "definition"]
    assert np.isfinite(table.loc["DIC, conditional", "value"])
    with pytest.raises(bh.SpecError, match="differ between clusters"):
        bh.implied_correlations(slopes)


def test_other_families_are_refused():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=60), "t": np.arange(60) % 2})
    fit = quick(bh.RandomSlope(outcome="y", treatment="t"), data)
    for check in (bh.model_fit, bh.implied_correlations):
        with pytest.raises(bh.SpecError, match=r"bh\.SEM"):
            check(fit)
