"""Models A, B, C side by side, and whether effects vary over items: against closed forms, brute force and glmer."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from item_answers import trial as answers
from item_trials import ROLES, trial
from scipy import integrate, stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte.items import evidence, likelihood
from bayeshte.items.models import influence, shared_variance
from bayeshte.items.sum_score import least_squares

SPEC = bh.ItemResponse(**ROLES)


def effects_of(fit, arm="drug"):
    return evidence.Effects(fit, arm)


@pytest.fixture(scope="module")
def models():
    data = trial(1, persons=500, items=14, sigma_zeta=1.0, rho=0.8)
    return bh.item_models(SPEC, data, "pretest", seed=2, progress=False)


@pytest.fixture(scope="module")
def fitted():
    """A trial in which effects vary somewhat, some responses missing."""
    data = trial(3, persons=150, items=6, sigma_zeta=0.4, missing=0.1)
    return bh.fit(bh.ItemResponse(**ROLES, covariates="pretest"), data, seed=1, progress=False)


# --------------------------------------------------------------------------------------------------- models A, B, C


def test_constant_item_effects_bias_the_interaction_and_item_effects_do_not(models):
    rows = models.table[models.table["quantity"] == "treatment x pretest"].set_index("model")
    assert list(rows.index) == ["B", "C", "B - C", "sum score"]
    assert rows.loc["B", "upper"] < 0, "easier items gain more: an interaction that is not there"
    assert rows.loc["C", "lower"] < 0 < rows.loc["C", "upper"]
    assert rows.loc["B - C", "mean"] == pytest.approx(rows.loc["B", "mean"] - rows.loc["C", "mean"])
    assert rows.loc["B - C", "upper"] < 0
    assert rows.loc["B - C", "posterior_sd"] < rows.loc["B", "posterior_sd"] / 2, "the errors of both are shared"
    assert rows.loc["sum score", "upper"] < 0
    assert models.comparison.index[0] == "C"


def test_table_of_the_models_holds_what_the_fits_say(models):
    table = models.table.set_index(["quantity", "model"])
    for name, model in (("ATE", "B"), ("ratio of item SDs", "A"), ("SD of item effects", "C")):
        values = bh.effect_draws(models.fits[model], name).to_numpy()
        assert table.loc[(name, model), "estimate"] == pytest.approx(np.median(values))
    assert table["definition"].str.len().gt(20).all()
    assert (table["contrast"] == "drug vs control").all()
    assert "B: Converged" in models.table.attrs["verdict"]
    assert "Model C" in models._repr_html_()
    assert "treatment x pretest" in repr(models)
    assert models.A.spec.moderators == ""
    assert not models.B.spec.item_effects


def test_a_fit_that_did_not_converge_is_said(models):
    bad = dataclasses.replace(models.C.diagnosis.checks[0], ok=False)
    broken = dataclasses.replace(models.C, diagnosis=bh.Diagnosis((bad,)))
    table = dataclasses.replace(models, C=broken).table
    assert table.columns.name == "NOT CONVERGED"
    assert "C: NOT CONVERGED" in table.attrs["verdict"]


def test_priors_are_shared_by_the_models_that_have_the_parameter():
    priors = {"sigma_zeta": bh.HalfNormal(0.5), "beta3": bh.Normal(0, 1), "sigma_b": bh.HalfNormal(2)}
    data = trial(1, persons=60, items=5, sigma_zeta=0.5)
    spec = bh.ItemResponse(**ROLES, priors=priors)
    with pytest.warns(bh.ConvergenceWarning):
        found = bh.item_models(spec, data, "pretest", draws=20, tune=50, seed=1, progress=False)
    assert found.A.priors["sigma_zeta"] == found.C.priors["sigma_zeta"] == bh.HalfNormal(0.5)
    assert found.B.priors["beta3[pretest]"] == found.C.priors["beta3[pretest]"] == bh.Normal(0, 1)
    assert all(f.priors["sigma_b"] == bh.HalfNormal(2) for f in found.fits.values())


@pytest.mark.parametrize(
    ("spec", "covariate", "error", "message"),
    [
        (bh.ItemResponse(**ROLES, moderators="pretest"), "pretest", bh.SpecError, "as covariate="),
        (SPEC, "pretset", bh.SpecError, "Did you mean 'pretest'"),
        (SPEC, "arm", bh.DataError, "not numeric"),
        (bh.RandomSlope(outcome="right"), "pretest", bh.SpecError, "need a bh.ItemResponse"),
    ],
)
def test_what_the_models_refuse(spec, covariate, error, message):
    with pytest.raises(error, match=message):
        bh.item_models(spec, trial(1, 20, 4, 0.5), covariate)


def test_robust_standard_errors():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(40), rng.normal(size=(40, 2))])
    y = x @ [1, 2, 3] + rng.normal(size=40) * (1 + np.abs(x[:, 1]))
    beta, cov = least_squares(x, y)
    H = x @ np.linalg.solve(x.T @ x, x.T)
    e = (y - H @ y) / (1 - np.diag(H))
    bread = np.linalg.inv(x.T @ x)
    np.testing.assert_allclose(beta, np.linalg.lstsq(x, y)[0])
    np.testing.assert_allclose(cov, bread @ (x.T * e**2) @ x @ bread)


def test_standard_errors_robust_to_clusters():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(12), 5)
    x = np.column_stack([np.ones(60), np.repeat(rng.normal(size=12), 5), rng.normal(size=60)])
    y = x @ [1, 2, 3] + rng.normal(size=60) + np.repeat(rng.normal(size=12), 5)
    beta, cov = least_squares(x, y, cluster)
    bread, e = np.linalg.inv(x.T @ x), y - x @ beta
    parts = [x[cluster == g].T @ e[cluster == g] for g in range(12)]
    meat = sum(np.outer(p, p) for p in parts)
    np.testing.assert_allclose(cov, bread @ meat @ bread * 12 / 11 * 59 / 57)


def test_standard_error_over_persons_of_a_mean_is_the_usual_one():
    """Posterior of a mean under a wrong variance: the infinitesimal jackknife finds the true sampling variance."""
    rng = np.random.default_rng(1)
    y = 3 * rng.normal(size=200)  # the model says variance one
    mu = y.mean() + rng.normal(size=(4, 4000)) / np.sqrt(200)
    found = shared_variance(influence(mu, -0.5 * (y - mu[..., None]) ** 2))
    assert found == pytest.approx(y.var(ddof=1) / 200, rel=0.05)


# ---------------------------------------------------------------------------------------- likelihood-ratio test


def test_likelihood_given_items_is_that_of_the_kernel_and_its_derivatives_are_right(fitted):
    data = likelihood.Table(fitted.design, "drug")
    draw = fitted.posterior.isel(chain=[0], draw=[7])
    beta = np.array([draw[v].item() for v in ("beta0", "beta1", "beta2")])
    u = np.stack([draw["b"].to_numpy().ravel(), draw["zeta"].to_numpy().ravel()])
    sigma = draw["sigma_theta"].item()
    value, slope, bend = data.given_items(beta, sigma, u)
    assert value == pytest.approx(fitted.spec.log_likelihood(draw, fitted.design, "cluster").sum().item(), abs=1e-7)
    step = 1e-5
    for k in (0, 4, 7, 11):
        move = np.zeros(u.size)
        move[k] = step
        up, down = (data.given_items(beta, sigma, u + s * move.reshape(u.shape)) for s in (1, -1))
        assert (up[0] - down[0]) / (2 * step) == pytest.approx(slope.ravel()[k], abs=1e-6)
        np.testing.assert_allclose((up[1] - down[1]).ravel() / (2 * step), bend[k], atol=1e-6)


def test_laplace_over_items_against_numerical_integration():
    data = likelihood.Table(SPEC.design(trial(2, persons=60, items=2, sigma_zeta=0.5)), "drug")
    beta, sigma, sd = np.array([0.1, 0.4]), 1.0, 0.9
    at = np.array([*beta, np.log(sigma), sd, 0.0, 0.0])
    laplace, mode = data.laplace(at, np.zeros((2, 2)))

    def integrand(v2, v1):
        b = sd * np.array([v1, v2])
        ll = data.given_items(beta, sigma, np.stack([b, 0 * b]), 0)[0]
        return np.exp(ll - laplace) * stats.norm.pdf(v1) * stats.norm.pdf(v2)

    exact, _ = integrate.dblquad(integrand, -4, 4, -4, 4, epsabs=1e-6, epsrel=1e-5)
    np.testing.assert_allclose(mode[1], 0, atol=1e-9)
    assert np.log(exact) == pytest.approx(0, abs=0.02)


#: glmer(right ~ T + (1 | child) + (T | word), binomial, bobyqa) against (1 | word), lme4 1.1.31, which integrates persons by
#: Laplace's approximation too: likelihood ratio, sigma_zeta, rho; the last one is singular
GLMER = {
    (11, 400, 12, 0.5): (33.14421, 0.50836, 0.3039432),
    (12, 300, 20, 0.3): (12.60342, 0.3499575, -0.3749969),
    (13, 400, 16, 0.0): (1.588573, 0.1062532, 1.0),
}


@pytest.mark.parametrize("case", GLMER)
def test_likelihood_ratio_is_near_that_of_glmer(case):
    seed, persons, items, sigma_zeta = case
    statistic, sd, rho = GLMER[case]
    fit = bh.fit(SPEC, trial(seed, persons, items, sigma_zeta), seed=1, progress=False)
    found = likelihood.likelihood_ratio(fit, "drug")
    assert found.statistic == pytest.approx(statistic, rel=0.05, abs=0.1)
    assert found.sigma_zeta == pytest.approx(sd, rel=0.05, abs=0.02)
    if statistic > 1:
        assert found.rho == pytest.approx(rho, abs=0.03)


#: glmer(answer ~ drug + talk + (1 | child) + (drug + talk | word)) against (talk | word) and (drug | word), likewise
GLMER_OF_ARMS = {"drug": (26.09767, 0.55113, 0.499), "talk": (8.54678, 0.35158, 0.414)}


def test_likelihood_ratio_of_each_of_several_arms():
    """Likelihood given items and derivatives = those of the kernel; the larger model is the same for both arms; near glmer."""
    data = answers(13, persons=450, items=12, categories=2, sd_a=0.0, arms=3)[0]
    spec = bh.ItemResponse(**ROLES | {"response": "answer"})
    fit = bh.fit(spec, data, seed=1, draws=500, progress=False)
    draw, table = fit.posterior.isel(chain=[0], draw=[7]), likelihood.Table(fit.design, "drug")
    u = np.stack([draw["b"][0, 0], draw["zeta"].sel(arm="talk")[0, 0], draw["zeta"].sel(arm="drug")[0, 0]])
    beta, sigma = np.append(draw["beta0"], draw["beta1"]), draw["sigma_theta"].item()
    value, slope, bend = table.given_items(beta, sigma, u)
    assert value == pytest.approx(spec.log_likelihood(draw, fit.design, "cluster").sum().item(), abs=1e-7)
    for k in (0, 13, 25):
        move = 1e-5 * np.eye(u.size)[k].reshape(u.shape)
        up, down = (table.given_items(beta, sigma, u + s * move) for s in (1, -1))
        assert (up[0] - down[0]) / 2e-5 == pytest.approx(slope.ravel()[k], abs=1e-6)
        np.testing.assert_allclose((up[1] - down[1]).ravel() / 2e-5, bend[k], atol=1e-6)
    found = {arm: likelihood.likelihood_ratio(fit, arm) for arm in GLMER_OF_ARMS}
    assert found["drug"].log_likelihood[1] == pytest.approx(found["talk"].log_likelihood[1], abs=1e-4)
    for arm, (statistic, sd, rho) in GLMER_OF_ARMS.items():
        assert found[arm].parameters == 3
        assert found[arm].statistic == pytest.approx(statistic, rel=0.05, abs=0.1)
        assert found[arm].sigma_zeta == pytest.approx(sd, rel=0.05, abs=0.02)
        assert found[arm].rho == pytest.approx(rho, abs=0.03)


def test_p_values():
    test = likelihood.LikelihoodRatio(3.0, 0.2, 0.1, (-2.0, -0.5))
    assert test.p_halved == pytest.approx(np.exp(-1.5) / 2)
    assert test.p_mixture == pytest.approx((np.exp(-1.5) + 2 * stats.norm.sf(np.sqrt(3))) / 2)
    assert likelihood.LikelihoodRatio(0.0, 0.0, np.nan, (-1.0, -1.0)).p_mixture == 1
    three_arms = likelihood.LikelihoodRatio(3.0, 0.2, 0.1, (-2.0, -0.5), 3)
    assert three_arms.p_mixture == pytest.approx((np.exp(-1.5) + stats.chi2.sf(3.0, 3)) / 2)


# ------------------------------------------------------------------------------------------------- Bayes factor

NARROW = {
    "beta0": bh.Normal(0.2, 0.2),
    "beta1": bh.Normal(0.4, 0.2),
    "sigma_b": bh.HalfNormal(1),
    "sigma_theta": bh.HalfNormal(1),
    "sigma_zeta": bh.HalfNormal(1.5),
    "rho": bh.LKJ(1),
}


def by_brute_force(spec, design, n=60_000):
    """Log of the mean likelihood over draws of the prior with and without item effects, and with a prior four times as narrow."""
    rng = np.random.default_rng(3)
    top = {k: rng.normal(NARROW[k]["mu"], NARROW[k]["sigma"], n) for k in ("beta0", "beta1")}
    sd = {k: np.abs(rng.normal(0, NARROW[k]["sigma"], n)) for k in ("sigma_b", "sigma_theta", "sigma_zeta")}
    rho = rng.uniform(-1, 1, n)[:, None]
    z = rng.normal(size=(2, n, design.sizes["word"]))
    b, zeta = sd["sigma_b"][:, None] * z[0], sd["sigma_zeta"][:, None] * (rho * z[0] + np.sqrt(1 - rho**2) * z[1])
    scalars = {k: (("chain", "draw"), v[None]) for k, v in (top | {"sigma_theta": sd["sigma_theta"]}).items()}
    out = []
    for scale in (0.0, 1.0, 0.25):
        items = {k: (("chain", "draw", "word"), v[None]) for k, v in (("b", b), ("zeta", scale * zeta))}
        draws = xr.Dataset(scalars | items, {"chain": [0], "draw": np.arange(n), "word": design["word"]})
        parts = [draws.isel(draw=slice(k, k + 20_000)) for k in range(0, n, 20_000)]
        out.append(np.concatenate([spec.log_likelihood(d, design, "cluster").sum("child")[0] for d in parts]))
    return out


@pytest.mark.parametrize(("sigma_zeta", "seed"), [(0.0, 1), (1.5, 1)])
def test_bayes_factor_against_brute_force(sigma_zeta, seed):
    spec = bh.ItemResponse(**ROLES, priors=NARROW)
    fit = bh.fit(spec, trial(seed, 40, 4, sigma_zeta), seed=1, draws=2000, progress=False)
    found = evidence.bayes_factors(effects_of(fit), 2000)
    none, one, narrow = by_brute_force(spec, fit.design)
    for scale, ll in ((1.0, one), (0.25, narrow)):
        w, w0 = np.exp(ll - logsumexp(ll)) * len(ll), np.exp(none - logsumexp(none)) * len(none)
        error = np.hypot((w - w0).std() / np.sqrt(len(w)), found[scale].mcse)  # delta method, the same draws in both
        assert error < 0.25
        assert found[scale].log_bf == pytest.approx(logsumexp(ll) - logsumexp(none), abs=3 * error)


def test_bayes_factor_agrees_with_the_kernel_density_at_zero():
    fit = bh.fit(SPEC, trial(5, 400, 12, 0.0), seed=1, draws=2000, progress=False)
    found = evidence.bayes_factors(effects_of(fit), 2000)[1.0]
    sigma = fit.posterior["sigma_zeta"].to_numpy().ravel()
    h = 0.1 * sigma.std()
    density = 2 * stats.norm.pdf(sigma / h).mean() / h  # reflected at zero
    assert found.reliable
    assert found.log_bf == pytest.approx(np.log(stats.halfnorm.pdf(0)) - np.log(density), abs=0.2)


def test_bridge_between_priors_is_the_ratio_by_importance_sampling():
    data = trial(4, 200, 8, 0.4)
    wide, narrow = (
        bh.fit(bh.ItemResponse(**ROLES, priors={"sigma_zeta": bh.HalfNormal(s)}), data, seed=1, progress=False)
        for s in (1.0, 0.4)
    )
    found = evidence.bridge(effects_of(narrow), effects_of(wide))
    sigma = wide.posterior["sigma_zeta"].to_numpy().ravel()
    weight = stats.halfnorm.pdf(sigma, scale=0.4) / stats.halfnorm.pdf(sigma)
    error = weight.std() / weight.mean() / np.sqrt(len(weight) / 3)  # a third of the draws are worth independent ones
    assert found.log_bf == pytest.approx(np.log(weight.mean()), abs=3 * np.hypot(error, found.mcse))
    assert found.mcse < 0.02


@pytest.mark.slow
def test_strong_evidence_is_measured_by_further_fits_whatever_the_prior_it_starts_from():
    data = trial(4, 300, 10, 0.6)
    fits = [
        bh.fit(bh.ItemResponse(**ROLES, priors={"sigma_zeta": bh.HalfNormal(s)}), data, seed=1, progress=False)
        for s in (1.0, 0.25)
    ]
    wide, narrow = (evidence.bayes_factors(effects_of(f), 1000) for f in fits)
    assert wide[1.0].fits > 0
    assert wide[1.0].log_bf > 3
    error = np.hypot(wide[0.25].mcse, narrow[1.0].mcse)
    assert error < 0.3
    assert wide[0.25].log_bf == pytest.approx(narrow[1.0].log_bf, abs=3 * error)


def test_any_prior_with_a_density_at_zero_will_do():
    spec = bh.ItemResponse(**ROLES, priors={"sigma_zeta": bh.Uniform(0, 1)})
    fit = bh.fit(spec, trial(5, 200, 10, 0.0), seed=1, progress=False)
    found = evidence.bayes_factors(effects_of(fit), 400)
    sigma = fit.posterior["sigma_zeta"].to_numpy()
    for scale in (0.25, 4.0):  # the prior is flat: its height, and the part of the posterior below its end
        expected = found[1.0].log_bf + np.log((sigma < scale).mean() / scale)
        assert found[scale].log_bf == pytest.approx(expected)
        assert found[scale].reliable


def test_narrow_prior_is_integrated_where_it_is():
    spec = bh.ItemResponse(**ROLES, priors={"sigma_zeta": bh.HalfNormal(0.002)})
    fit = bh.fit(spec, trial(5, 200, 10, 0.0), draws=2000, seed=1, progress=False)
    assert evidence.savage_dickey(effects_of(fit), 400).log_bf == pytest.approx(0, abs=0.004)


@pytest.mark.slow
def test_evidence_that_draws_cannot_measure_is_bounded():
    fit = bh.fit(SPEC, trial(1, 300, 12, 1.0), seed=1, progress=False)
    table = bh.item_heterogeneity(fit, draws=200).table.set_index("quantity")
    row = table.loc["log BF10"]
    assert "NOT MEASURED" in row["definition"]
    assert np.isnan(row["value"])
    assert row["lower"] > 3
    assert table.loc["likelihood ratio, p halved", "p"] < 1e-6
    assert table.loc["elpd difference", "value"] > 10
    assert table.loc["spread of item effects, one effect", "p"] < 0.01
    assert 0.025 < table.loc["spread of item effects, item effects", "p"] < 0.975


def test_no_heterogeneity_is_told(fitted):
    fit = bh.fit(SPEC, trial(5, 200, 10, 0.0), seed=1, progress=False)
    found = bh.item_heterogeneity(fit, draws=200)
    table = found.table.set_index("quantity")
    assert table.loc["log BF10", "value"] < -0.5
    assert table.loc["log BF10, prior x 4", "value"] < table.loc["log BF10", "value"]
    assert table.loc["spread of item effects, one effect", "p"] > 0.05
    assert table.loc["elpd difference", "value"] < 2
    assert "one effect: Converged" in found.table.attrs["verdict"]
    assert "log BF10" in repr(found)
    assert "<table" in found._repr_html_()


def test_what_the_tests_of_item_effects_refuse(models):
    with pytest.raises(bh.SpecError, match="item_effects=True"):
        bh.item_heterogeneity(models.B)
    with pytest.raises(bh.SpecError, match="same specification"):
        bh.item_heterogeneity(models.A, models.B)
    prior = dataclasses.replace(models.A, priors={**models.A.priors, "sigma_zeta": bh.Gamma(2, 1)})
    with pytest.raises(bh.SpecError, match="density at zero"):
        evidence.bayes_factors(effects_of(prior), 10)
