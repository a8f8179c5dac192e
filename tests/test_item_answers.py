"""Analyses of items with ordered categories, discriminations and several arms: against brute force and by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from item_answers import KINDS, ROLES, log_curve, trial
from scipy.special import expit, logsumexp

import bayeshte as bh
from bayeshte import design as columns
from bayeshte.checks.predictive import evenly_spaced
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_curves import moments
from bayeshte.items import evidence
from bayeshte.items.heterogeneity import predictive_spread, spread_of_effects
from bayeshte.items.likelihood import likelihood_ratio
from bayeshte.marginal.item_categories import LOGIT, Form, ability_information
from bayeshte.plots.items import _curves

pytestmark = pytest.mark.slow

PRIORS = {"sigma_zeta": bh.HalfNormal(0.5), "sigma_a": bh.HalfNormal(0.2), "beta1": bh.Normal(0, 1)}
GPC = bh.ItemResponse(**ROLES, model="generalized partial credit")


@pytest.fixture(scope="module")
def graded():
    """Two arms, six items."""
    data = trial(4, persons=160, items=6)[0]
    return bh.fit(
        bh.ItemResponse(**ROLES, model="graded"),
        data,
        seed=1,
        draws=500,
        progress=False,
    )


@pytest.fixture(scope="module")
def three_arms():
    data = trial(5, persons=240, items=6, arms=3, kind="partial credit")[0]
    options = dict(seed=1, draws=600, target_accept=0.95, progress=False)
    return bh.fit(dataclasses.replace(GPC, priors=PRIORS), data, **options)


# ------------------------------------------------------------------------------------------------- information


@pytest.mark.parametrize("kind", KINDS)
def test_information_is_that_of_numerical_derivatives(kind):
    """sum over categories of P'^2 / P, and minus the mean second derivative of log P."""
    theta, level, a, tau, h = np.linspace(-4, 4, 17), 0.3, 1.7, np.array([-1.2, 0.3, 0.9]), 1e-4
    form, link = KINDS[kind]
    ours = ability_information(Form(form, link, True, np.array([4]), (0, 1)), a * (theta[:, None] + level - tau), a)
    below, at, above = (log_curve(form, link, theta + s * h, level, a, tau) for s in (-1, 0, 1))
    slope, bend = (above - below) / (2 * h), (above - 2 * at + below) / h**2
    np.testing.assert_allclose(ours, (np.exp(at) * slope**2).sum(1), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours, -(np.exp(at) * bend).sum(1), rtol=1e-5, atol=1e-6)


def test_information_of_partial_credit_is_the_variance_of_the_category():
    theta, a, tau = np.linspace(-3, 3, 7), 1.4, np.array([-0.8, 0.1, 0.7])
    p = np.exp(log_curve(*KINDS["partial credit"], theta, 0.0, a, tau))
    variance = p @ np.arange(4) ** 2 - (p @ np.arange(4)) ** 2
    form = Form(KINDS["partial credit"][0], LOGIT, True, np.array([4]), (0, 1))
    np.testing.assert_allclose(ability_information(form, a * (theta[:, None] - tau), a), a**2 * variance, rtol=1e-10)
    two = ability_information(form, a * theta[:, None], a)
    np.testing.assert_allclose(two, a**2 * expit(a * theta) * expit(-a * theta), rtol=1e-10)


def test_information_figure_of_several_arms(three_arms):
    above, below = bh.plot_item_information(three_arms).axes
    assert [line.get_label() for line in above.lines] == ["control, 95 % band", "drug, 95 % band", "talk, 95 % band"]
    assert "next category" in below.get_xlabel()
    D, p = Arrays(three_arms.design), evenly_spaced(three_arms, 400)
    a, tau = D.shapes(p)
    for arm, line in list(enumerate(above.lines))[::2]:
        theta, median = line.get_data()
        by_draw = np.zeros(len(a))
        for s in range(len(a)):
            for i in range(D.n_items):
                e, own = D.easiness(p)[s, arm, i], D.form.of_item(i)
                q = np.exp(log_curve(*KINDS["partial credit"], theta[60:61], e, a[s, i], tau[s, own]))[0]
                m = np.arange(len(q))
                by_draw[s] += a[s, i] ** 2 * (q @ m**2 - (q @ m) ** 2)
        assert median[60] == pytest.approx(np.median(by_draw))


# ------------------------------------------------------------------------------------------------------ misfit


def test_moments_are_those_of_the_equations(graded):
    D, p = Arrays(graded.design), evenly_spaced(graded, 3)
    eta = np.random.default_rng(0).normal(size=(p.sizes["draw"], len(D.y)))
    mean, variance = moments(D, D.shapes(p), eta, D.item_code)
    a, tau = D.shapes(p)
    for s in range(len(eta)):
        for row in (0, 1, 2, 7):
            i = D.item_code[row]
            q = np.exp(log_curve(*KINDS["graded"], eta[s, row : row + 1], 0.0, a[s, i], tau[s, D.form.of_item(i)]))[0]
            m = np.arange(len(q))
            assert mean[s, row] == pytest.approx(q @ m)
            assert variance[s, row] == pytest.approx(q @ (m - q @ m) ** 2)


def test_mean_squares_of_categories_by_hand(graded):
    table = bh.item_fit(graded, draws=4).set_index("item")
    assert table.loc["w04", "mean_category"] == graded.design["y"][graded.design["item_code"] == 4].mean()
    D, p, found = Arrays(graded.design), evenly_spaced(graded, 4), []
    a, tau = D.shapes(p)
    own, theta = D.item_code == 4, p["theta"].to_numpy()[0]
    for s in range(len(a)):
        at = theta[s, D.person_code[own]] + D.easiness(p)[s, D.arm[own], 4]
        q = np.exp(log_curve(*KINDS["graded"], at, 0.0, a[s, 4], tau[s, D.form.of_item(4)]))
        m = np.arange(q.shape[1])
        mean = q @ m
        variance = (q * (m - mean[:, None]) ** 2).sum(1)
        square = (D.y[own] - mean) ** 2
        found.append([square.sum() / variance.sum(), (square / variance).mean()])
    np.testing.assert_allclose(table.loc["w04", ["infit", "outfit"]].to_numpy(float), np.mean(found, 0))


def test_replicated_mean_squares_are_near_one_and_persons_have_theirs(three_arms):
    items = bh.item_fit(three_arms, draws=200)
    assert items["infit"].between(0.8, 1.2).all()
    assert ((items["infit_lower"] < 1) & (items["infit_upper"] > 1)).all()
    persons = bh.person_fit(three_arms, draws=200)
    assert set(persons["arm"]) == {"control", "drug", "talk"}
    assert persons["extreme"].mean() < 0.15


def test_an_item_that_does_not_go_with_the_ability_is_found():
    data = trial(4, persons=300, items=9, sigma=1.8, sd_a=0.0, kind="partial credit")[0]
    lost = data["word"] == "w02"
    data.loc[lost, "answer"] = np.random.default_rng(0).permutation(data.loc[lost, "answer"])
    spec = bh.ItemResponse(**ROLES, model="partial credit")
    fit = bh.fit(spec, data, seed=1, target_accept=0.95, progress=False)
    table = bh.item_fit(fit, draws=1000).set_index("item")
    assert table["infit"].idxmax() == "w02"
    assert table.loc["w02", "infit"] > 1.3
    assert table.loc["w02", "infit_p"] < 0.01
    assert table.loc[table.index != "w02", "infit_p"].between(0.02, 0.999).all()


def test_item_curves_are_shares_of_the_highest_score(graded):
    D, y = Arrays(graded.design), graded.design["y"].to_numpy()
    control, _ = _curves(graded, "w02", y, np.stack([y, y]))
    wide = np.zeros((D.n_persons, D.n_items))
    wide[D.person_code, D.item_code] = y
    highest = D.form.n_categories - 1
    rest = (wide.sum(1) - wide[:, 2]) / (highest.sum() - highest[2])
    cuts = np.unique(np.quantile(rest, [0.2, 0.4, 0.6, 0.8]))
    first = (D.person_arm == 0) & (rest <= cuts[0])
    assert control.place[0] == pytest.approx(rest[first].mean())
    assert control.observed[0] == pytest.approx(wide[first, 2].mean() / highest[2])
    fig = bh.plot_item_curves(graded, ["w01", "w02"])
    assert "share of the highest category" in fig.get_supylabel()
    fig.draw_without_rendering()


# ------------------------------------------------------------------------------------------------------ scales


def by_simulation(fit, draws=40, forms=300, persons=150):
    """Score gained on new forms, (draw, form, contrast), by drawing items, their slopes and persons."""
    rng, D, out = np.random.default_rng(1), Arrays(fit.design), []
    p = fit.posterior.stack(sample=("chain", "draw"))
    for s in np.linspace(0, p.sizes["sample"] - 1, draws).astype(int):
        q = p.isel(sample=s)
        sd = np.append(q["sigma_b"], q["sigma_zeta"])
        u = rng.multivariate_normal(np.zeros(3), sd[:, None] * q["rho"].to_numpy() * sd, size=(forms, D.n_items))
        a = np.exp(float(q["sigma_a"]) * rng.normal(size=(forms, D.n_items)))
        theta = float(q["beta0"]) + float(q["sigma_theta"]) * rng.normal(size=persons)
        effect = np.append(0.0, q["beta1"])
        scores = np.zeros((forms, 3))
        for arm in range(3):
            for i in range(D.n_items):
                tau = q["tau"].to_numpy()[D.form.of_item(i)]
                level = u[:, i, 0] + (u[:, i, arm] if arm else 0.0) + effect[arm]
                x = a[:, i, None, None] * (theta[:, None] + level[:, None, None] - tau)
                w = np.exp(np.cumsum(x, axis=-1))
                mean = w @ np.arange(1, len(tau) + 1) / (1 + w.sum(-1))
                scores[:, arm] += mean.mean(1)
        out.append(scores[:, 1:] - scores[:, :1])
    return np.array(out)


def test_new_forms_against_simulation(three_arms):
    table = bh.effect_scales(three_arms).set_index("estimand")
    simulated = by_simulation(three_arms)
    mean, one = table.loc["score difference, new form, mean"], table.loc["score difference, new form, predictive"]
    assert list(mean["contrast"]) == ["drug vs control", "talk vs control"]
    assert "thresholds of these" in mean["definition"].iloc[0]
    for k in range(2):
        error = 4 * mean["posterior_sd"].iloc[k] / np.sqrt(len(simulated))
        assert mean["mean"].iloc[k] == pytest.approx(simulated[..., k].mean(), abs=error)
        between = simulated[..., k].var(1).mean()
        assert one["posterior_sd"].iloc[k] ** 2 == pytest.approx(mean["posterior_sd"].iloc[k] ** 2 + between, rel=0.2)
    score = bh.effect_draws(three_arms, "expected score difference").sel(arm="talk")
    assert int((three_arms.design["n_categories"] - 1).sum()) == 12
    assert table.loc["share of the highest score", "mean"].iloc[1] == pytest.approx(float(score.mean()) / 12)


def test_effects_on_items_of_several_arms(three_arms):
    table = bh.item_effects(three_arms)
    assert len(table) == 2 * 6
    talk = table[table["contrast"] == "talk vs control"].set_index("item")
    p = three_arms.posterior
    assert talk.loc["w03", "effect"] == pytest.approx(float(p["effect"].sel(word="w03", arm="talk").median()))
    score = bh.effect_draws(three_arms, "expected score difference").sel(arm="talk")
    assert talk["score_difference"].sum() == pytest.approx(float(score.median()), abs=0.05)
    fig = bh.plot_item_effects(three_arms)
    assert sum(line.get_label() == "expected at that easiness, 95 % band" for ax in fig.axes for line in ax.lines) == 2


def test_fixed_items_have_no_new_forms_and_no_test():
    data = trial(1, persons=60, items=4, kind="partial credit")[0]
    spec = bh.ItemResponse(**ROLES, model="partial credit", items="fixed")
    with pytest.warns(bh.ConvergenceWarning):
        fit = bh.fit(spec, data, seed=1, draws=20, tune=50, progress=False)
    assert not bh.effect_scales(fit)["estimand"].str.contains("new form").any()
    with pytest.raises(bh.SpecError, match="no sigma_zeta to test"):
        bh.item_heterogeneity(fit)


# ------------------------------------------------------------------------------------------- models A, B and C


def test_models_of_ordered_categories_and_several_arms():
    spec = bh.ItemResponse(**ROLES, model="partial credit", priors={"sigma_zeta[talk]": bh.HalfNormal(0.7)})
    data = trial(6, persons=210, items=5, arms=3, kind="partial credit")[0]
    found = bh.item_models(spec, data, "pretest", draws=500, seed=1, progress=False)
    assert found.C.priors["sigma_zeta[talk]"] == bh.HalfNormal(0.7)
    assert found.ok
    table = found.table
    rows = table[table["quantity"] == "treatment x pretest"].set_index(["model", "contrast"])
    assert [m for m, _ in rows.index] == ["B", "B", "C", "C", "B - C", "B - C", "sum score", "sum score"]
    assert "log odds of the next category" in rows["definition"].iloc[0]
    for arm in ("drug", "talk"):
        at = f"{arm} vs control"
        difference = rows.loc[("B", at), "mean"] - rows.loc[("C", at), "mean"]
        assert rows.loc[("B - C", at), "mean"] == pytest.approx(difference)
    wide = data.pivot(index="child", columns="word", values="answer")
    persons = data.drop_duplicates("child").set_index("child").loc[wide.index]
    score = wide.sum(axis=1) / wide.max().sum()
    score = score / score[persons["arm"] == "control"].std()
    T = np.stack([(persons["arm"] == a).to_numpy(float) for a in ("drug", "talk")], axis=1)
    x = persons["pretest"].to_numpy()
    beta = np.linalg.lstsq(np.column_stack([np.ones(len(x)), T, x, T * (x - x.mean())[:, None]]), score)[0]
    mine = table[table["model"] == "sum score"].set_index(["quantity", "contrast"])["estimate"]
    assert mine["treatment", "talk vs control"] == pytest.approx(beta[2])
    assert mine["treatment x pretest", "drug vs control"] == pytest.approx(beta[4])


# ------------------------------------------------------------------------------------------------ heterogeneity

NARROW = {
    "beta0": bh.Normal(0.2, 0.2),
    "beta1": bh.Normal(0.4, 0.2),
    "sigma_b": bh.HalfNormal(1),
    "sigma_theta": bh.HalfNormal(1),
    "sigma_zeta": bh.HalfNormal(1.5),
    "tau": bh.Normal(0, 0.5),
    "rho": bh.LKJ(1),
}


def by_brute_force(spec, design, arm, n=120_000):
    """Log of the mean likelihood over draws of the prior, with the effects of all arms and with those of one arm alike."""
    rng, D = np.random.default_rng(3), Arrays(design)
    top = {k: rng.normal(NARROW[k]["mu"], NARROW[k]["sigma"], n) for k in ("beta0",)}
    beta1 = rng.normal(0.4, 0.2, (n, 2))
    sd = np.abs(rng.normal(0, [1, 1.5, 1.5], (n, 3)))
    rho = np.tile(np.eye(3), (4 * n, 1, 1))
    rho[:, [0, 0, 1], [1, 2, 2]] = rng.uniform(-1, 1, (4 * n, 3))  # LKJ(1): uniform where it is positive definite
    rho = np.maximum(rho, rho.mT) + np.minimum(rho, rho.mT)
    rho[:, range(3), range(3)] = 1.0
    factor = np.linalg.cholesky(rho[np.linalg.eigvalsh(rho)[:, 0] > 1e-9][:n])
    u = rng.normal(size=(n, D.n_items, 3)) @ (sd[:, :, None] * factor).mT
    w = rng.normal(0, 0.5, (n, len(D.labels("threshold_step"))))
    scalars = {k: (("chain", "draw"), v[None]) for k, v in top.items()}
    scalars |= {"sigma_theta": (("chain", "draw"), np.abs(rng.normal(size=n))[None])}
    scalars |= {"tau": (("chain", "draw", "threshold"), D.form.all_thresholds(w)[None])}
    scalars |= {"beta1": (("chain", "draw", "arm"), beta1[None]), "b": (("chain", "draw", "word"), u[None, ..., 0])}
    out = []
    for shown in (np.ones(2), np.array([float(a != arm) for a in D.contrasts])):
        zeta = (("chain", "draw", "arm", "word"), (u[..., 1:] * shown).swapaxes(1, 2)[None])
        coords = {"chain": [0], "draw": np.arange(n), "word": design["word"], "arm": design["arm"]}
        draws = xr.Dataset(scalars | {"zeta": zeta}, coords)
        parts = [draws.isel(draw=slice(k, k + 20_000)) for k in range(0, n, 20_000)]
        out.append(np.concatenate([spec.log_likelihood(d, design, "cluster").sum("child")[0] for d in parts]))
    return out


def test_bayes_factor_of_each_arm_against_brute_force():
    spec = bh.ItemResponse(**ROLES, model="partial credit", priors=NARROW)
    data = trial(1, persons=36, items=3, categories=3, arms=3, kind="partial credit")[0]
    fit = bh.fit(spec, data, seed=1, draws=1200, progress=False)
    for arm in ("drug", "talk"):
        found = evidence.bayes_factors(evidence.Effects(fit, arm), 1000)[1.0]
        one, none = by_brute_force(spec, fit.design, arm)
        w, w0 = (np.exp(v - logsumexp(v)) * len(v) for v in (one, none))
        error = np.hypot((w - w0).std() / np.sqrt(len(w)), found.mcse)  # delta method, the same draws in both
        assert error < 0.25
        assert found.log_bf == pytest.approx(logsumexp(one) - logsumexp(none), abs=3 * error)


def test_item_covariates_stay_when_the_rest_of_the_effects_is_taken_out():
    data = trial(2, persons=60, items=5, arms=3, kind="partial credit")[0]
    data = data.assign(kind=np.where(data["word"].str[-1].astype(int) % 2, "odd", "even"))
    spec = bh.ItemResponse(**ROLES, model="partial credit", item_covariates="kind")
    with pytest.warns(bh.ConvergenceWarning):
        fit = bh.fit(spec, data, seed=1, draws=20, tune=50, progress=False)
    effects, p = evidence.Effects(fit, "talk"), fit.posterior
    assert effects.label == "sigma_zeta[talk]"
    explained = effects.explained(p)
    changed = effects.with_effects(p, explained)["zeta"]
    delta = p["delta"].sel(arm="talk").isel(item_covariate=0)
    np.testing.assert_allclose(changed.sel(arm="talk", word="w01"), delta)
    np.testing.assert_allclose(changed.sel(arm="talk", word="w02"), 0)
    np.testing.assert_allclose(changed.sel(arm="drug"), p["zeta"].sel(arm="drug"))


def test_spread_of_effects_by_hand_and_of_two_categories(three_arms):
    statistic, D = spread_of_effects(three_arms.design), Arrays(three_arms.design)
    y, highest = D.y, D.form.n_categories - 1
    right = np.array([[y[(D.arm == k) & (D.item_code == i)].sum() for i in range(6)] for k in range(3)])
    n = np.array([[((D.arm == k) & (D.item_code == i)).sum() for i in range(6)] for k in range(3)]) * highest
    odds = np.log((right + 0.5) / (n - right + 0.5))
    variance = 1 / (right + 0.5) + 1 / (n - right + 0.5)
    for k in (1, 2):
        d, w = odds[k] - odds[0], 1 / (variance[k] + variance[0])
        mean = (w * d).sum() / w.sum()
        assert statistic(y)[k - 1] == pytest.approx(np.sqrt((w * (d - mean) ** 2).sum() / w.sum()))
    spread = predictive_spread({"item effects": three_arms}, 50, 0)
    assert list(spread["arm"]) == ["drug", "talk"]
    assert spread["p"].between(0.01, 0.99).all()


def test_table_of_the_tests_says_what_is_missing():
    spec = bh.ItemResponse(**ROLES, model="partial credit", priors={"sigma_zeta": bh.HalfNormal(0.5)})
    data = trial(7, persons=150, items=5, kind="partial credit")[0]
    fit = bh.fit(spec, data, seed=1, draws=600, target_accept=0.95, progress=False)
    table = bh.item_heterogeneity(fit, draws=40).table.set_index("quantity")
    assert np.isfinite(table.loc[["sigma_zeta", "log BF10", "elpd difference"], "value"].to_numpy()).all()
    assert np.isnan(table.loc["likelihood ratio", "value"])
    assert (
        "available for Rasch models (logit) with covariates of persons" in table.loc["likelihood ratio", "definition"]
    )
    assert "model='partial credit'" in table.loc["likelihood ratio", "definition"]
    with pytest.raises(bh.SpecError, match="at least 40"):
        bh.item_heterogeneity(fit, draws=20)
    with pytest.raises(bh.SpecError, match="Rasch models"):
        likelihood_ratio(fit, "drug")


# -------------------------------------------------------------------------------------------------- simulated data

PROPER = {
    "sigma_b": bh.HalfNormal(0.5),
    "sigma_theta": bh.HalfNormal(1),
    "beta0": bh.Normal(0, 0.5),
    "beta1": bh.Normal(0, 1),
}


@pytest.mark.parametrize("words", [None, ("never", "sometimes", "often", "always")])
def test_simulated_answers_have_the_labels_of_the_data(words):
    """Numbers from 1, or ordered text, of items that start and end at different categories."""
    data = trial(1, persons=200, items=4)[0]
    data["answer"] += (data["word"] == "w01").astype(int)
    if words:
        data["answer"] = pd.Categorical.from_codes(data["answer"], words, ordered=True)
    else:
        data["answer"] += 1
    spec = bh.ItemResponse(**ROLES, model="partial credit", priors=PROPER)
    design = spec.design(data)
    (truth, frame), *_ = bh.simulate(spec, data, seed=2)
    again = spec.design(frame)
    assert list(again["threshold"].to_numpy()) == list(truth["threshold"].to_numpy())
    assert frame["answer"].dtype == data["answer"].dtype
    assert set(frame.loc[frame["word"] == "w01", "answer"]) <= set(data.loc[data["word"] == "w01", "answer"])
    raw = columns.raw_frame(design)
    assert spec.design(raw)["y"].equals(design["y"].assign_coords(row=raw.index.to_numpy()))


def test_calibration_counts_data_that_lack_a_category():
    """With few persons a category stays empty now and then: such data are refused by its name, the others are ranked."""
    spec = bh.ItemResponse(**ROLES, model="partial credit", item_effects=False, priors=PROPER)
    data = trial(1, persons=60, items=3)[0]
    found = bh.calibrate(spec, data, simulations=4, draws=200, tune=300, seed=1, progress=False)
    refused = found.status[found.status.str.startswith("refused")]
    assert 0 < len(refused) < 4
    assert refused.str.contains("labels of 'threshold' are not in the simulated data, such as .*'w0").any()
    assert found.failed >= len(refused)
