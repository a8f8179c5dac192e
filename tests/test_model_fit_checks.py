"""Replicated data of structural equation models against moments by hand, predictive checks, leave-one-out."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from model_fits import CLINICS, clinics, clinics_fit, quick, school_activity_fit, with_draws
from scipy import stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte import gallery


@pytest.fixture
def activity() -> bh.Fit:
    return school_activity_fit()


@pytest.fixture
def fitted() -> bh.Fit:
    return clinics_fit()


# replicated data


SMALL = bh.SEM(cluster="clinic", within="y ~ w*m", between="y ~ b*m; m ~ a*treat; climate ~ k*m; y ~~ 0*climate")
VALUES = {
    "path": {"within: y ~ m": 2.0, "between: y ~ m": 0.5, "between: m ~ treat": 1.5, "between: climate ~ m": -1.0},
    "intercept": {"between: y": 10.0, "between: m": 3.0, "between: climate": 4.0},
    "sd": {"within: y": 1.0, "within: m": 2.0, "between: y": 0.7, "between: m": 0.8, "between: climate": 0.6},
}


def small() -> pd.DataFrame:
    data = clinics(clusters=20).rename(columns={"i1": "m"})
    data.loc[data["clinic"] == 3, "climate"] = np.nan
    return data


def test_replicates_have_the_moments_of_the_model():
    fit = quick(SMALL, small(), 750)
    b = np.random.default_rng(0).normal(5, 2, (20, 2))  # in the order of between_variable
    at = with_draws(fit, **VALUES, cluster_mean=b)
    draws, code, treat = 3000, fit.design["cluster_code"].to_numpy(), fit.design["Z"].to_numpy()[:, 0]
    gaps = np.isnan(fit.design["Y"].to_numpy())

    these = bh.replicate(at, draws)
    y, m = (these["Y"].sel(within_variable=v).to_numpy() for v in ("y", "m"))
    by, bm = (b[:, list(fit.design["between_variable"].to_numpy()).index(v)] for v in ("y", "m"))
    assert (np.isnan(these["Y"].to_numpy()) == gaps).all()
    for x, mean, sd in ((y, by[code], np.hypot(2 * 2, 1)), (m, bm[code], 2)):
        z = (x.mean(0) - mean) / (sd / np.sqrt(draws))
        assert np.nanmax(np.abs(z)) < 5
    V = these["V"].to_numpy()[..., 0]
    assert np.isnan(V[:, 3]).all()
    np.testing.assert_allclose(np.delete(V.mean(0) - (4 - bm), 3), 0, atol=5 * 0.6 / np.sqrt(draws))
    np.testing.assert_allclose(np.delete(V.std(0), 3), 0.6, rtol=0.1)

    new = bh.replicate(at, draws, clusters="new")
    j = next(k for k in range(20) if (~gaps[code == k]).all(1).sum() > 1 and k != 3)
    rows = np.flatnonzero(code == j)[(~gaps[code == j]).all(1)][:2]
    y, m = (new["Y"].sel(within_variable=v).to_numpy()[:, rows] for v in ("y", "m"))
    values = np.column_stack([m[:, 0], m[:, 1], y[:, 0], y[:, 1], new["V"].to_numpy()[:, j, 0]])
    e = np.eye(10)  # shocks: m_b, y_b, climate, m_w (2), y_w (2)
    mb, yb, c = 0.8 * e[0], 0.5 * 0.8 * e[0] + 0.7 * e[1], -0.8 * e[0] + 0.6 * e[2]
    made = np.stack([mb + 2 * e[3], mb + 2 * e[4], yb + 4 * e[3] + e[5], yb + 4 * e[4] + e[6], c])
    cov, mean = made @ made.T, 3 + 1.5 * treat[j]
    mean = np.array([mean, mean, 10 + 0.5 * mean, 10 + 0.5 * mean, 4 - mean])
    assert (np.abs(values.mean(0) - mean) / np.sqrt(np.diag(cov) / draws)).max() < 5
    error = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / draws)
    assert (np.abs(np.cov(values.T) - cov) / error).max() < 5


@pytest.fixture(scope="module")
def slopes() -> bh.Fit:
    spec = bh.SEM(cluster="clinic", within="s | y ~ m", between="y ~~ s; m ~ treat")
    fit = quick(spec, small(), 500)
    rng = np.random.default_rng(0)
    slope, b = rng.normal(2, 1, (20, 1)), rng.normal(5, 2, (20, 2))
    return with_draws(fit, slope=slope, cluster_mean=b, sd=VALUES["sd"] | {"between: s": 1.0})


def test_replicates_keep_the_random_slopes_of_these_clusters(slopes):
    new = bh.replicate(slopes, 2000)["Y"]
    code, b = slopes.design["cluster_code"].to_numpy(), slopes.posterior["cluster_mean"][0, 0]
    y, m = (new.sel(within_variable=v) - b.sel(between_variable=v).to_numpy()[code] for v in ("y", "m"))
    found = (y * m).mean("draw") / (m * m).mean("draw")
    slope = slopes.posterior["slope"].to_numpy()[0, 0, code, 0]
    assert float(np.abs(found - slope).max()) < 5 * 0.5 / np.sqrt(2000)


def test_rows_given_random_slopes(slopes):
    """log N(m; b_m, 2) N(y; b_y + s (m - b_m), 1) of complete rows."""
    rows = slopes.spec.log_likelihood(slopes.posterior.isel(chain=[0], draw=[0]), slopes.design, "row").to_numpy()[0, 0]
    code, b = slopes.design["cluster_code"].to_numpy(), slopes.posterior["cluster_mean"][0, 0]
    s = slopes.posterior["slope"].to_numpy()[0, 0, code, 0]
    y, m = (slopes.design["Y"].sel(within_variable=v) - b.sel(between_variable=v).to_numpy()[code] for v in ("y", "m"))
    expected = stats.norm(0, 2).logpdf(m) + stats.norm(0, 1).logpdf(y - s * m)
    complete = np.isfinite(expected)
    np.testing.assert_allclose(rows[complete], expected[complete])
    piece = slopes.design.isel(row=slice(20, 30))
    part = slopes.spec.log_likelihood(slopes.posterior.isel(chain=[0], draw=[0]), piece, "row").to_numpy()[0, 0]
    np.testing.assert_allclose(part, rows[20:30])


def test_predictive_checks_of_a_true_model_are_central(activity, fitted):
    table = bh.predictive_checks(activity, draws=200)
    assert not table["extreme"].any()
    assert len(table) == 2 * 18
    data, seen = gallery.read("school_activity").data(), table.set_index(["statistic", "level"])["observed"]
    assert seen["skewness of mvpa", "within"] == pytest.approx(stats.skew(data["mvpa"]))
    groups = data.groupby("school")[["mvpa", "peers"]]
    assert seen["SD of cluster means of mvpa", "between"] == pytest.approx(groups.mean()["mvpa"].std())
    within = data[["mvpa", "peers"]] - groups.transform("mean")
    assert seen["correlation of mvpa and peers within clusters", "within"] == pytest.approx(within.corr().iloc[0, 1])
    between = groups.mean().corr().iloc[0, 1]
    assert seen["correlation of mvpa and peers between clusters", "between"] == pytest.approx(between)
    assert bh.predictive_checks(fitted, draws=100)["p"].between(0, 1).all()


def test_predictive_checks_find_what_the_model_leaves_out():
    rng = np.random.default_rng(3)
    data = clinics(gaps=0.05, clusters=60)
    data["i1"] = data["i1"] + 3 * rng.exponential(size=len(data))
    data["only"] += rng.normal(size=60)[data["clinic"]]
    found = bh.predictive_checks(quick(CLINICS, data), draws=150).set_index(["statistic", "level"])["extreme"]
    assert found["skewness of i1", "within"]
    assert found["SD of cluster means of only", "between"]
    assert not found["mean of y", "between"]
    assert not found["correlation of i2 and i3 between clusters", "between"]
    one = quick(bh.SEM(model="y ~ x"), data)
    assert set(bh.predictive_checks(one, draws=50)["level"]) == {"within"}
    with pytest.raises(bh.SpecError, match="Nothing varies"):
        bh.replicate(one, 10, clusters="new")


# leave-one-out


def test_leaving_out_clusters_and_rows(activity):
    found, rows = bh.loo(activity), bh.loo(activity, "row")
    assert found.p_loo == pytest.approx(17, abs=3)
    assert found.troubles == ()
    assert "given the random effects of school" in rows.what
    assert rows.elpd > found.elpd


def test_a_cluster_that_stands_apart_is_left_out_by_fitting_again():
    data = small()
    data.loc[data["clinic"] == 7, "y"] += 6
    fit = quick(SMALL, data, 1000)
    found = bh.loo(fit).pointwise
    assert found.loc["7", "refitted"]
    rest = quick(replace(SMALL, priors=fit.priors), data[data["clinic"] != 7], 1000)
    values = SMALL.log_likelihood(rest.posterior, fit.design, "cluster").sel(clinic="7").to_numpy()
    expected = logsumexp(values) - np.log(values.size)
    assert found.loc["7", "elpd"] == pytest.approx(expected, abs=4 * np.hypot(found.loc["7", "mcse"], 0.05))


def test_a_row_without_values_is_predicted_for_nothing():
    data = clinics(gaps=0)
    data.loc[5, ["y", "i1"]] = np.nan
    found = bh.loo(quick(bh.SEM(model="y ~ i1 + x; i1 ~ x"), data), "row").pointwise
    assert found.loc[5, ["elpd", "p_loo", "mcse"]].eq(0).all()
    assert found["elpd"].drop(5).lt(0).all()


def test_compare_structural_models(activity):
    data, spec = gallery.read("school_activity").data(), replace(activity.spec, derived={})
    other = "peers ~ p2bc*treat; advant ~ p1bc*treat; mvpa ~ p3bc*advant + 0*peers; advant ~~ peers"
    wrong = quick(replace(spec, between=other), data.sample(frac=1, random_state=0), 500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        table = bh.compare({"right": activity, "wrong": wrong})
    assert list(table.index) == ["right", "wrong"]
    less = quick(bh.SEM(cluster="school", within="mvpa ~ advant", between="mvpa ~ advant"), data)
    with pytest.raises(bh.DataError, match="outcomes are 'mvpa', 'advant', 'peers' and 'mvpa', 'advant'"):
        bh.compare({"a": activity, "b": less})
    moved = quick(spec, data.assign(peers=data["peers"] + (data["school"] == 3)))
    with pytest.raises(bh.DataError, match="'peers' differs in 20 rows"):
        bh.compare({"a": activity, "b": moved})
