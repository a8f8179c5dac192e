"""Predictive checks, leave-one-out, prior sensitivity, balance and overlap, against closed forms and brute force."""

import warnings
from dataclasses import replace
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import EVALUATE
from scipy import stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte.checks import (
    balance,
    compare,
    loo,
    overlap,
    predictive_checks,
    prior_posterior_overlap,
    prior_sensitivity,
    replicate,
)
from bayeshte.checks.balance import logistic
from bayeshte.checks.loo import stacking_weights, without
from bayeshte.checks.predictive import _beside
from bayeshte.checks.sensitivity import log_prior

SPEC = bh.RandomSlope(outcome="y", treatment="t", cluster="school")


def simulate(seed=0, clusters=40, size=12, noise=None) -> pd.DataFrame:
    """Two arms in clusters; `noise(rng, t)` makes the residuals, standard normal times 2 by default."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(clusters), size)
    t = np.tile(np.arange(size) % 2, clusters)
    u = rng.normal(0, [2.0, 1.0], (clusters, 2))[school]
    e = rng.normal(0, 2, len(t)) if noise is None else noise(rng, t)
    return pd.DataFrame(
        {"y": 10 + u[:, 0] + (3 + u[:, 1]) * t + e, "t": t, "school": school, "x": rng.normal(size=len(t))}
    )


def quick(spec, data, draws=500) -> bh.Fit:
    """A short fit; whether it converged is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=300, seed=1, progress=False)


def with_draws(fit: bh.Fit, **values) -> bh.Fit:
    """`fit` with other draws of some variables."""
    posterior = fit.posterior.copy()
    for name, value in values.items():
        posterior[name] = (fit.posterior[name].dims, np.broadcast_to(value, fit.posterior[name].shape).copy())
    return replace(fit, draws=xr.DataTree.from_dict({"posterior": posterior}))


@pytest.fixture(scope="module")
def fitted() -> bh.Fit:
    return quick(SPEC, simulate())


@pytest.fixture(scope="module")
def outlier() -> tuple[pd.DataFrame, bh.Fit]:
    """Twelve clusters, one of them far away from the others."""
    data = simulate(3, clusters=12, size=8)
    data.loc[data["school"] == 5, "y"] += 25
    return data, quick(SPEC, data, draws=1000)


def test_replicates_have_the_moments_of_the_model(fitted):
    """Every draw at the same parameters: rows are normal with known means and covariances."""
    n, q = fitted.design.sizes["school"], 2
    rng = np.random.default_rng(1)
    u, sd, corr = rng.normal(size=(n, q)), np.array([2.0, 1.5]), np.array([[1, -0.5], [-0.5, 1]])
    at = with_draws(fitted, gamma0=10, gamma1=3, sigma=2, u=u, sd=sd, corr=corr)
    code, t = fitted.design["cluster_code"].to_numpy(), fitted.design["arm_code"].to_numpy()
    Z = np.column_stack([np.ones(len(t)), t])
    draws = 2000

    these = replicate(at, draws)
    assert these.shape == (draws, len(t))
    z = (these.mean(0) - (10 + 3 * t + (Z * u[code]).sum(1))) / (2 / np.sqrt(draws))
    assert np.abs(z).max() < 5
    np.testing.assert_allclose(these.std(0, ddof=1), 2, rtol=5 / np.sqrt(2 * draws))

    new = replicate(at, draws, clusters="new")
    total = Z @ (corr * np.outer(sd, sd)) @ Z.T * (code[:, None] == code) + 4 * np.eye(len(t))
    z = (new.mean(0) - (10 + 3 * t)) / np.sqrt(np.diag(total) / draws)
    assert np.abs(z).max() < 5
    error = np.sqrt((np.outer(np.diag(total), np.diag(total)) + total**2) / draws)
    assert (np.abs(np.cov(new.T) - total) / error).max() < 6


def test_replicates_follow_the_seed_and_the_draws_there_are(fitted):
    np.testing.assert_array_equal(replicate(fitted, 7, seed=3), replicate(fitted, 7, seed=3))
    assert (replicate(fitted, 7, seed=3) != replicate(fitted, 7, seed=4)).any()
    assert len(replicate(fitted, 10**6)) == 2000
    with pytest.raises(bh.SpecError, match="'these' or 'new'"):
        replicate(fitted, 7, clusters="average")


def test_checks_of_a_true_model_are_central(fitted):
    table = predictive_checks(fitted, draws=300).set_index(["statistic", "level"])
    assert not table["extreme"].any()
    assert table.loc[("mean", "within"), "observed"] == pytest.approx(fitted.design["y"].mean())
    assert set(table.index.get_level_values("level")) == {"within", "between"}
    assert table["p"].between(0.025, 0.975).all()


def test_checks_find_skewed_and_unequal_residuals():
    def noise(rng, t):
        return np.where(t == 1, 4 * (rng.exponential(size=len(t)) - 1), rng.normal(0, 1, len(t)))

    fit = quick(SPEC, simulate(2, noise=noise))
    found = predictive_checks(fit, draws=300).set_index(["statistic", "level"])
    for statistic in ("skewness", "skewness in 1", "SD in 0", "SD in 1"):
        assert found.loc[(statistic, "within"), "extreme"], statistic
    assert found.loc[("skewness in 1", "within"), "p"] < 0.025
    assert found.loc[("SD in 0", "within"), "p"] > 0.975
    assert not found.loc[("mean in 1", "within"), "extreme"]


def test_checks_between_clusters_find_an_effect_that_should_vary():
    fit = quick(replace(SPEC, varying=()), simulate(4, size=30))
    found = predictive_checks(fit, draws=300).set_index(["statistic", "level"])
    assert found.loc[("SD of cluster effects of 1", "between"), "extreme"]
    assert not found.loc[("SD of cluster means", "between"), "extreme"]


def test_without_clusters_there_is_nothing_between():
    fit = quick(replace(SPEC, cluster=None, covariates="x"), simulate(clusters=10))
    assert set(predictive_checks(fit, draws=50)["level"]) == {"within"}
    with pytest.raises(bh.SpecError, match="Nothing varies"):
        replicate(fit, 10, clusters="new")
    with pytest.raises(bh.SpecError, match="unit='row'"):
        loo(fit)
    assert "given" not in loo(fit, "row").what
    assert np.isfinite(prior_sensitivity(fit)[["prior", "likelihood"]].to_numpy()).all()


def test_ties_count_half_and_undefined_statistics_are_missing():
    columns = _beside(np.array([1.0, 5.0, np.nan]), np.array([[1, 2, 3], [1, 3, 3], [0, 9, 3], [2, 9, 3.0]]))
    np.testing.assert_allclose(columns["p"], [0.5, 0.5, np.nan])
    assert columns["extreme"].tolist() == [False, False, False]


def test_improper_priors_do_not_stand_in_the_way():
    fit = quick(replace(SPEC, priors="mplus"), simulate(clusters=15))
    assert np.isfinite(replicate(fit, 20, clusters="new")).all()
    assert prior_sensitivity(fit).set_index("parameter").loc["gamma0", "prior"] < 0.05


def test_a_likelihood_that_cannot_be_integrated_is_refused(fitted, monkeypatch):
    rows = bh.RandomSlope.log_likelihood
    monkeypatch.setattr(
        bh.RandomSlope, "log_likelihood", lambda spec, draws, design, unit: rows(spec, draws, design, "row")
    )
    for check in (loo, prior_sensitivity):
        with pytest.raises(bh.SpecError, match="random effects integrated, is not available"):
            check(fitted)


def brute_force(data: pd.DataFrame, fit: bh.Fit, school: int) -> tuple[float, float]:
    """Log predictive density of a school from a fit that never saw it, by dense normal densities; and its Monte Carlo error."""
    rest = quick(replace(SPEC, priors=fit.priors), data[data["school"] != school], draws=1000).posterior
    one = data[data["school"] == school]
    Z = np.column_stack([np.ones(len(one)), one["t"]])
    flat = {
        k: rest[k].to_numpy().reshape(4000, *rest[k].shape[2:]) for k in ("gamma0", "gamma1", "sd", "corr", "sigma")
    }
    tau = flat["corr"] * flat["sd"][:, :, None] * flat["sd"][:, None, :]
    total = Z @ tau @ Z.T + flat["sigma"][:, None, None] ** 2 * np.eye(len(one))
    r = one["y"].to_numpy() - flat["gamma0"][:, None] - flat["gamma1"] * one["t"].to_numpy()
    quad = np.einsum("si,si->s", r, np.linalg.solve(total, r[..., None])[..., 0])
    ll = -0.5 * (quad + np.linalg.slogdet(total)[1] + len(one) * np.log(2 * np.pi))
    value = logsumexp(ll) - np.log(len(ll))
    return value, np.exp(ll - value).std() / np.sqrt(len(ll) / 3)


def test_leaving_out_a_cluster_agrees_with_brute_force(outlier):
    data, fit = outlier
    found, quickly = loo(fit), loo(fit, refit=False)
    assert found.pointwise.loc["5", "refitted"]
    assert 1 <= found.refits <= 4
    assert quickly.refits == 0
    assert "not reliable" in quickly.troubles[-1]
    assert quickly.pointwise.loc["5", "khat"] > quickly.limit == 0.7
    exact = pd.DataFrame({s: brute_force(data, fit, int(s)) for s in found.pointwise.index}, index=["elpd", "mcse"]).T
    error = np.hypot(found.pointwise["mcse"], exact["mcse"]) + 0.01
    assert (np.abs(found.pointwise["elpd"] - exact["elpd"]) / error).max() < 4
    assert found.elpd == pytest.approx(
        exact["elpd"].sum(), abs=4 * np.hypot(found.mcse, np.sqrt((exact["mcse"] ** 2).sum()))
    )
    assert f"{found.refits} refitted exactly" in repr(found)


def test_a_cluster_that_alone_has_a_category_can_be_left_out(outlier):
    """Its coefficient then has its prior."""
    data = outlier[0].assign(site=np.where(outlier[0]["school"] == 5, "b", "a"))
    fit = quick(replace(SPEC, covariates="site"), data)
    other = without(fit, "5").posterior["gamma2"].sel(covariate="site[b]")
    assert float(other.std()) == pytest.approx(fit.priors["gamma2[site[b]]"]["sigma"], rel=0.1)
    assert np.isfinite(loo(fit).elpd)


def test_loo_of_clusters_of_one_row_integrates_their_effects():
    """Twelve studies of one row each, labelled out of order: rows are left out as the studies are."""
    rng = np.random.default_rng(5)
    se = rng.uniform(0.2, 0.5, 12)
    data = pd.DataFrame(
        {"d": 0.4 + rng.normal(0, 0.6, 12) + rng.normal(0, se), "se": se, "study": list("gbkacdlefhij")}
    )
    fit = quick(bh.RandomSlope(outcome="d", cluster="study", standard_error="se"), data)
    studies, rows = loo(fit, refit=False), loo(fit, "row")
    assert list(rows.pointwise.index) == list(range(12))
    np.testing.assert_array_equal(rows.pointwise["elpd"], studies.pointwise["elpd"].loc[list(data["study"])])
    assert "one row at a time, random effects integrated" in rows.what


def test_loo_agrees_with_arviz_and_says_what_it_leaves_out(fitted):
    import arviz as az

    values = fitted.spec.log_likelihood(fitted.posterior, fitted.design, "cluster").to_dataset(name="y")
    reference = az.loo(xr.DataTree.from_dict({"posterior": fitted.posterior[["gamma0"]], "log_likelihood": values}))
    found, rows = loo(fitted), loo(fitted, "row")
    assert found.elpd == pytest.approx(reference.elpd, abs=0.05)
    assert found.se == pytest.approx(reference.se, rel=0.01)
    assert found.p_loo == pytest.approx(reference.p, abs=0.05)
    assert "integrated" in found.what
    assert "conditional" in rows.what
    assert len(rows.pointwise) == fitted.design.sizes["row"]
    assert rows.elpd > found.elpd  # the cluster's other rows help
    with pytest.raises(bh.SpecError, match="'cluster' or 'row'"):
        loo(fitted, "school")


def test_rows_are_taken_in_pieces(fitted, monkeypatch):
    whole = loo(fitted, "row")
    monkeypatch.setattr(import_module("bayeshte.checks.loo"), "CHUNK", 2000 * 100)
    pieces = loo(fitted, "row").pointwise
    pd.testing.assert_series_equal(pieces["elpd"], whole.pointwise["elpd"], atol=0.005)
    monkeypatch.setattr(import_module("bayeshte.checks.predictive"), "CHUNK", 480 * 7)
    assert replicate(fitted, 20).shape == (20, 480)


def test_compare_ranks_and_pairs(fitted):
    data = simulate()
    flat = quick(replace(SPEC, varying=(), intercept_varies=False), data)
    short = replace(
        fitted, diagnosis=bh.Diagnosis((bh.convergence.Check("R-hat", False, 2.0, 1.01, "largest R-hat 2"),))
    )
    table = compare({"pooled": flat, "slopes": fitted, "short": short})
    assert list(table.index)[-1] == "pooled"
    assert table["difference"].iloc[0] == 0
    a, b = loo(fitted).pointwise["elpd"], loo(flat).pointwise["elpd"]
    assert table.loc["pooled", "difference"] == pytest.approx((b - a).sum())
    assert table.loc["pooled", "se_difference"] == pytest.approx(np.sqrt(len(a)) * (b - a).std())
    assert table["weight"].sum() == pytest.approx(1)
    assert table.loc["pooled", "weight"] < 0.05
    assert table.loc["short", "verdict"].startswith("NOT CONVERGED")
    assert compare({"a": flat, "b": fitted}, unit="row").attrs["what"].startswith("leaving out one row")


def test_compare_refuses_other_data(fitted):
    data = simulate()
    others = {
        "only in 'a'": (SPEC, data.iloc[5:]),
        "differs in 480 rows": (SPEC, data.assign(y=np.log(data["y"] + 50))),
        "outcomes are 'y' and 'score'": (replace(SPEC, outcome="score"), data.rename(columns={"y": "score"})),
        "different members": (SPEC, data.assign(school=data["school"] // 2)),
    }
    for message, (spec, other) in others.items():
        with pytest.raises(bh.DataError, match=message):
            compare({"a": fitted, "b": quick(spec, other, draws=50)})
    with pytest.raises(bh.SpecError, match="at least two"):
        compare({"a": fitted})
    shuffled = quick(SPEC, data.sample(frac=1, random_state=1), draws=500)
    assert compare({"a": fitted, "b": shuffled})["difference"].abs().max() < 1


def test_stacking_weights():
    elpd = np.random.default_rng(0).normal(-2000, 1, (50, 1))
    np.testing.assert_allclose(stacking_weights(elpd + [0.0, -1.0]), [1, 0], atol=1e-6)
    sign = np.where(np.arange(50) % 2, 1.0, -1.0)[:, None]
    np.testing.assert_allclose(stacking_weights(elpd + sign * [0.5, -0.5]), [0.5, 0.5], atol=1e-3)


def test_strong_priors_are_found_and_weak_ones_are_not(fitted):
    weak = prior_sensitivity(fitted).set_index("parameter")
    assert (weak.loc[["gamma0", "gamma1[1]", "sd[intercept]", "sd[1]", "sigma", "ATE[1]"], "diagnosis"] == "-").all()
    assert "corr[intercept, 1]" in weak.index
    strong = quick(replace(SPEC, priors={"gamma1": bh.Normal(0, 0.4)}), simulate())
    table = prior_sensitivity(strong).set_index("parameter")
    assert table.loc["gamma1[1]", "diagnosis"] == "prior-data conflict"
    assert table.loc["ATE, new cluster[1]", "prior"] > 0.05
    stronger = quick(replace(SPEC, priors={"gamma1": bh.Normal(3, 0.002)}), simulate())
    table = prior_sensitivity(stronger).set_index("parameter")
    assert table.loc["gamma1[1]", "diagnosis"] == "strong prior or weak likelihood"


def test_log_prior_is_that_of_the_joint_graph():
    priors = {
        "gamma0": bh.StudentT(4, 10, 5),
        "gamma1": bh.Uniform(-20, 20),
        "sd": bh.Gamma(2, 1),
        "sigma": bh.LogNormal(0, 1),
    }
    fit = quick(replace(SPEC, priors=priors), simulate(clusters=10), draws=50)
    model = fit.model
    logp = model.compile_logp(vars=[v for v in model.free_RVs if v.name != "u"], jacobian=False, mode=EVALUATE)
    here = []
    for draw in range(5):
        at = fit.posterior.isel(chain=0, draw=draw)
        point = {"u": at["u"].to_numpy()}
        for rv in model.free_RVs:
            if rv.name != "u":
                corr = rv.name == "_corr_factor"
                value = np.linalg.cholesky(at["corr"].to_numpy()) if corr else at[rv.name].to_numpy()
                if transform := model.rvs_to_transforms[rv]:
                    value = transform.forward(value, *rv.owner.inputs).eval(mode=EVALUATE)
                point[model.rvs_to_values[rv].name] = value
        here.append(float(logp(point)))
    np.testing.assert_allclose(np.ptp(log_prior(fit)[0, :5].to_numpy() - here), 0, atol=1e-8)


def test_overlap_of_prior_and_posterior(fitted):
    rng = np.random.default_rng(0)
    shape = fitted.posterior["gamma0"].shape
    priors = dict(fitted.priors) | {"gamma0": bh.Normal(2, 1), "gamma1[1]": bh.Normal(0, 1), "sigma": bh.HalfNormal(2)}
    at = with_draws(
        replace(fitted, priors=priors | {"sd[1]": bh.Power(1)}),
        gamma0=rng.normal(0, 1, shape),
        gamma1=rng.normal(0, 1, (*shape, 1)),
        sigma=np.abs(rng.normal(0, 2, shape)),
        corr=np.stack([rng.beta(2, 2, shape) * 2 - 1] * 4, -1).reshape(*shape, 2, 2),
    )
    table = prior_posterior_overlap(at).set_index("parameter")
    assert table.loc["gamma0", "overlap"] == pytest.approx(2 * stats.norm.cdf(-1), abs=0.03)
    assert table.loc["gamma0", "note"] == "-"
    for label in ("gamma1[1]", "sigma", "corr[intercept, 1]"):
        assert table.loc[label, "overlap"] == pytest.approx(1, abs=0.06)
        assert table.loc[label, "note"] == "weakly identified by the data"
    assert np.isnan(table.loc["sd[1]", "overlap"])
    assert "improper" in table.loc["sd[1]", "note"]


def test_balance_by_hand():
    data = pd.DataFrame(
        {
            "y": [1.0, 2, 3, 4, 5, 7, 6, 9],
            "t": list("aaaabbbb"),
            "age": [1.0, 2, 3, 4, 2, 4, 6, 8],
            "girl": [0, 0, 1, 1, 0, 1, 1, 1],
            "site": list("uvwuvwuv"),
        }
    )
    spec = bh.RandomSlope(outcome="y", treatment="t", reference="a", covariates="age + girl + site")
    table = balance(spec.design(data)).set_index("covariate")
    assert table.loc["age", "mean_arm"] == 5
    assert table.loc["age", "mean_reference"] == 2.5
    assert table.loc["age", "smd"] == pytest.approx(2.5 / np.sqrt((20 / 3 + 5 / 3) / 2))
    assert table.loc["age", "variance_ratio"] == pytest.approx(4)
    assert table.loc["girl", "smd"] == pytest.approx(0.25 / np.sqrt((0.75 * 0.25 + 0.5 * 0.5) / 2))
    assert np.isnan(table.loc["girl", "variance_ratio"])
    assert table.loc["site[u]", "mean_reference"] == 0.5
    assert set(table.index) == {"age", "girl", "site[u]", "site[v]", "site[w]"}
    assert table.loc["site[w]", "smd"] == 0
    assert not table.loc["site[w]", "imbalanced"]
    assert table["imbalanced"].sum() == 4
    assert list(table["contrast"].unique()) == ["b vs a"]
    with pytest.raises(bh.SpecError, match="no treatment"):
        balance(bh.RandomSlope(outcome="y", covariates="age").design(data))


def test_overlap_counts_clusters_and_common_support():
    cells = {"s1": "aabbc", "s2": "aaa", "s3": "bcc", "s4": "abb", "s5": "cc"}
    rows = [(school, arm) for school, arms in cells.items() for arm in arms]
    data = pd.DataFrame(rows, columns=["school", "arm"])
    data["x"] = np.arange(len(data), dtype=float)
    data["y"] = np.random.default_rng(0).normal(size=len(data))
    spec = bh.RandomSlope(outcome="y", treatment="arm", reference="a", cluster="school", varying=(), covariates="x")
    table = overlap(spec.design(data)).set_index("contrast")
    counts = ["clusters", "all_arms", "both_arms", "only_arm", "only_reference", "neither", "smallest_cell"]
    assert table.loc["b vs a", counts].tolist() == [5, 1, 2, 1, 1, 1, 1]
    assert table.loc["c vs a", counts].tolist() == [5, 1, 1, 2, 2, 0, 1]
    # x is increasing: of arm b the rows 2, 3, 8, 12, 13, of the reference 0, 1, 5, 6, 7, 11
    assert table.loc["b vs a", "outside_arm"] == pytest.approx(2 / 5)
    assert table.loc["b vs a", "outside_reference"] == pytest.approx(2 / 6)
    bare = overlap(replace(spec, cluster=None, varying="all", covariates="").design(data))
    assert bare.drop(columns="contrast").isna().all(axis=None)


def test_logistic_regression():
    x = np.repeat([0.0, 1.0], [40, 60])
    y = np.concatenate([np.arange(40) < 10, np.arange(60) < 45]).astype(float)
    np.testing.assert_allclose(logistic(x[:, None], y), np.where(x == 0, 0.25, 0.75), atol=1e-4)
    separated = logistic(np.linspace(-1, 1, 50)[:, None], (np.arange(50) > 24).astype(float))
    assert separated[:25].max() < 0.5 < separated[25:].min()
