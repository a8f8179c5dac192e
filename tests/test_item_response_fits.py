"""ItemResponse: draws of abilities, expected scores, recovery, tables and checks of a fit."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from item_points import as_draws
from item_responses import ROLES, SPECS, trial
from scipy import stats
from scipy.special import expit

import bayeshte as bh
from bayeshte import store
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_averages import average_score
from bayeshte.marginal import abilities as integrals
from bayeshte.marginal.responses import responses
from bayeshte.summary import rows


def test_abilities_are_drawn_exactly():
    """Draws of one person against the distribution function of the ability, integrated numerically: Kolmogorov-Smirnov."""
    x, sigma, n = np.array([[1.0, 0.0], [1.0, 1.0]]), 2.5, 20_000
    easiness = np.random.default_rng(0).normal(0, 1, (2, 5))
    person, item = np.indices((2, 5)).reshape(2, -1)
    for score in (0, 2, 5):
        y = np.array([1.0] * score + [0.0] * (5 - score) + [1, 0, 1, 0, 1])
        data = responses(np.arange(2), x, person, item, y, (2, 5))
        given = np.tile([0.3, 0.5], (n, 1)), np.full((n, 2), sigma), np.tile(easiness, (n, 1, 1))
        theta = integrals.abilities(data, *given, seed=7)[1]
        at = np.linspace(-25, 25, 50_001)
        for j in range(2):
            eta = at[:, None] + easiness[j]
            log = (y[person == j] * eta - np.logaddexp(0, eta)).sum(1) + stats.norm.logpdf(at, 0.3 + 0.5 * j, sigma)
            cdf = np.cumsum(np.exp(log - log.max()))
            assert stats.kstest(np.interp(theta[:, j], at, cdf / cdf[-1]), "uniform").pvalue > 1e-3


def test_expected_score_of_many_covariate_values():
    """The interpolated average equals a sum over persons, items and a dense grid of residuals."""
    spec, data = SPECS["C"], trial(persons=90, items=7)[0]
    design = spec.design(data)
    D = Arrays(design)
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = spec.recover(
        as_draws(density, np.random.default_rng(0).normal(size=(3, density.n_dim)), design),
        design,
        np.random.default_rng(0),
    )
    eps = np.linspace(-9, 9, 4001)
    weight = stats.norm.pdf(eps) / stats.norm.pdf(eps).sum()
    for arm in (0, 1):
        mine = average_score(D, draws, arm)
        full = np.column_stack([np.ones(90), np.full(90, arm), D.persons[1], arm * D.persons[2]])
        for s in range(3):
            theta = (full @ D.beta(draws)[s])[:, None] + float(draws["sigma_theta"][0, s]) * eps
            exact = sum((expit(theta + e) @ weight).mean() for e in D.easiness(draws)[s, arm])
            assert mine[s] == pytest.approx(exact, abs=1e-7)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    data, u = trial(5, persons=400, items=12, sigma=1.0, interaction=-0.3)
    spec = bh.ItemResponse(**ROLES, moderators="pretest")
    path = tmp_path_factory.mktemp("fits") / "fit"
    return data, bh.fit(spec, data, draws=1000, seed=2, progress=False, path=path), path, u


def test_true_values_are_recovered(fitted):
    """12 items and the coefficients, of data from NumPy: mean squared z near one, none beyond four."""
    _, fit, _, (b, zeta) = *fitted[:3], fitted[3].T
    assert fit.diagnosis.ok
    p, shift = fit.posterior, b.mean()  # the level of the items at hand belongs to abilities as well
    values = {
        "theta level": (p["beta0"] + p["b"].mean("word"), 0.2 + shift),
        "beta1": (p["beta1"] + p["zeta"].mean("word"), 0.4 + zeta.mean()),
        "beta2": (p["beta2"], 0.6),
        "beta3": (p["beta3"], -0.3),
        "sigma_theta": (p["sigma_theta"], 1.0),
        "items": (p["b"] - p["b"].mean("word"), b - shift),
        "effects": (p["effect"], 0.4 - 0.3 * np.mean(Arrays(fit.design).persons[2]) + zeta),
    }
    z = []
    for v, truth in values.values():
        mean, sd = v.mean(("chain", "draw")).to_numpy().ravel(), v.std(("chain", "draw")).to_numpy().ravel()
        z.append((mean - np.broadcast_to(truth, mean.shape)) / sd)
    z = np.concatenate(z)
    assert np.abs(z).max() < 4
    assert 0.5 < np.sqrt((z**2).mean()) < 1.5


def test_tables_figures_and_round_trip(fitted):
    _, fit, path, _ = fitted
    table = bh.effects(fit, meaningful=0.2, rope=(-0.1, 0.1))
    assert np.isfinite(table[["estimate", "mean", "lower", "upper"]].to_numpy()).all()
    assert (table["estimand"] == "item effect").sum() == 12
    assert "share of items > 0.2" in set(table["estimand"])
    ate = table.set_index("estimand").loc["ATE", "mean"]
    p = fit.posterior
    M = Arrays(fit.design).persons[2].mean()
    assert ate == pytest.approx(float((p["beta1"] + M * p["beta3"].isel(moderator=0)).mean()))
    by_item = bh.cluster_effects(fit)
    assert sorted(by_item["cluster"]) == sorted(fit.design["word"].to_numpy())
    assert (by_item["n_arm"] == 200).all()
    for figure in (bh.plot_caterpillar(fit), bh.plot_effect(fit), bh.plot_pooling(fit)):
        figure.draw_without_rendering()
    plt.close("all")
    again = bh.load(path)
    xr.testing.assert_identical(again.posterior, p)
    assert store.spec_from_json(store.spec_to_json(fit.spec)) == fit.spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.spec.person = "other"


def test_checks_of_the_model(fitted):
    """Leaving out persons, prior sensitivity and predictive checks run; the model that made the data passes them."""
    fit = fitted[1]
    left_out = bh.loo(fit)
    assert len(left_out.pointwise) == 400
    assert left_out.pointwise["khat"].max() < 0.7
    rows_left_out = fit.spec.log_likelihood(fit.posterior, fit.design, "row")
    assert rows_left_out.sizes["row"] == len(fit.design["row"])
    checks = bh.predictive_checks(fit, draws=200)
    assert set(checks["level"]) == {"within", "between"}
    assert not checks["extreme"].any()
    assert np.isfinite(bh.prior_sensitivity(fit).select_dtypes("number").to_numpy()).all()
    assert (bh.subgroups(fit, "arm")["estimate"] > -1).all()
    cate = bh.cate(fit, "pretest", grid=[-1.0, 1.0])
    assert float((cate.sel(pretest=-1.0) - cate.sel(pretest=1.0)).mean()) > 0  # the interaction is negative


def test_recoding_the_responses_changes_the_sign_of_the_effects(fitted):
    data, fit = fitted[:2]
    other = bh.fit(fit.spec, data.assign(right=1 - data["right"]), draws=1000, seed=3, progress=False)
    for name, sign in (("beta1", -1), ("beta3", -1), ("zeta", -1), ("b", -1), ("rho", 1), ("sigma_zeta", 1)):
        a, b = rows(fit.posterior[name]), rows(other.posterior[name])
        error = np.hypot(a["posterior_sd"] / np.sqrt(a["ess_bulk"]), b["posterior_sd"] / np.sqrt(b["ess_bulk"]))
        assert (np.abs(a["mean"] - sign * b["mean"]) < 4 * error).all(), name


def test_joint_graph_samples_the_same_posterior():
    data, _ = trial(8, persons=40, items=5)
    spec = bh.ItemResponse(**ROLES)
    design = spec.design(data)
    model = spec.joint(design, spec.frozen_priors(design))
    assert {v.name for v in model.free_RVs} == {
        *("beta0", "beta1", "sigma_theta", "sigma_b", "sigma_zeta", "_corr_factor", "u", "theta")
    }
    assert model.named_vars_to_dims["theta"] == ("child",)
    assert model.named_vars_to_dims["b"] == ("word",)
