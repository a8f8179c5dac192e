"""Scales of effects, misfit of items and persons, and their figures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from item_trials import ROLES, trial
from scipy.special import expit

import bayeshte as bh
from bayeshte.checks.predictive import evenly_spaced
from bayeshte.items.evidence import thinned
from bayeshte.plots.items import _curves

SPEC = bh.ItemResponse(**ROLES, covariates="pretest")


@pytest.fixture(scope="module")
def fitted():
    data = trial(4, persons=300, items=8, sigma_zeta=0.8, rho=0.5)
    return bh.fit(SPEC, data, seed=1, progress=False)


@pytest.fixture(scope="module")
def misfit():
    """One item does not go with the ability, one tells more of it than the others; one person answers by chance on easy items."""
    rng = np.random.default_rng(0)
    persons, items = 400, 10
    T, theta = np.arange(persons) % 2, rng.normal(size=persons)
    b, slope = np.linspace(-1.5, 1.5, items), np.ones(items)
    slope[4], slope[5] = 0.0, 4.0
    chance = expit(1.5 * slope * theta[:, None] + b + 0.3 * T[:, None])
    chance[7] = 1 - np.sort(chance[8])  # hard items right, easy items wrong
    y = (rng.random(chance.shape) < chance).astype(int)
    y[7] = b < 0
    child, word = np.indices(y.shape).reshape(2, -1)
    arm = np.where(T == 1, "drug", "control")[child]
    data = pd.DataFrame({"child": child, "word": [f"w{k}" for k in word], "right": y.ravel(), "arm": arm})
    return bh.fit(bh.ItemResponse(**ROLES), data, seed=1, progress=False)


def few(fit):
    """One draw in four: scores take time."""
    draws = xr.DataTree.from_dict({"posterior": fit.posterior.isel(draw=slice(None, None, 4))})
    return dataclasses.replace(fit, draws=draws)


# --------------------------------------------------------------------------------------------------------- scales


def by_simulation(fit, draws=40, forms=400, persons=200):
    """Score difference on new forms, (draw, form), by drawing items and persons."""
    rng, p = np.random.default_rng(1), fit.posterior.stack(sample=("chain", "draw"))
    X = np.unique(np.column_stack([fit.design["cluster_code"], fit.design["X"]]), axis=0)[:, 1]
    J, out = fit.design.sizes["word"], []
    for s in np.linspace(0, p.sizes["sample"] - 1, draws).astype(int):
        at = {
            v: float(p[v].isel(sample=s).squeeze())
            for v in ("beta0", "beta1", "beta2", "sigma_theta", "sigma_b", "sigma_zeta", "rho")
        }
        cov = at["rho"] * at["sigma_b"] * at["sigma_zeta"]
        S = [[at["sigma_b"] ** 2, cov], [cov, at["sigma_zeta"] ** 2]]
        u = rng.multivariate_normal([0, 0], S, size=(forms, J))
        theta = at["beta0"] + at["beta2"] * rng.choice(X, persons) + at["sigma_theta"] * rng.normal(size=persons)
        eta = theta + u[..., :1]
        out.append((expit(eta + at["beta1"] + u[..., 1:]) - expit(eta)).mean(-1).sum(-1))
    return np.array(out)


def test_scales_against_simulation(fitted):
    fitted = few(fitted)
    table = bh.effect_scales(fitted).set_index("estimand")
    simulated = by_simulation(fitted)
    mean, one = table.loc["score difference, new form, mean"], table.loc["score difference, new form, predictive"]
    within = simulated.var(1).mean()  # between forms
    assert mean["mean"] == pytest.approx(simulated.mean(), abs=4 * mean["posterior_sd"] / np.sqrt(40))
    assert one["posterior_sd"] ** 2 == pytest.approx(mean["posterior_sd"] ** 2 + within, rel=0.15)
    assert one["mean"] == pytest.approx(mean["mean"], abs=0.1)
    score = bh.effect_draws(fitted, "expected score difference").to_numpy()
    assert table.loc["chance of a right answer", "estimate"] == pytest.approx(np.median(score) / 8)
    assert (table["contrast"] == "drug vs control").all()


def test_effect_in_sds_of_the_model_without_item_effects(fitted):
    data = trial(4, persons=300, items=8, sigma_zeta=0.8, rho=0.5)
    constant = bh.fit(dataclasses.replace(SPEC, item_effects=False), data, seed=1, progress=False)
    fitted = few(fitted)
    table = bh.effect_scales(fitted, constant).set_index("estimand")
    p = constant.posterior
    spread = np.unique(constant.design["X"].to_numpy()).std()
    sd = np.median(np.sqrt(p["sigma_theta"] ** 2 + (p["beta2"].squeeze("covariate") * spread) ** 2))
    row = table.loc["ATE in SDs without item effects"]
    assert row["estimate"] == pytest.approx(table.loc["ATE", "estimate"] / sd, rel=1e-6)
    assert row["definition"].startswith(f"ATE over {sd:.3g}")
    with pytest.raises(bh.SpecError, match="same specification"):
        bh.effect_scales(constant, fitted)
    with pytest.raises(bh.SpecError, match="same effect"):
        bh.item_effects(constant)


def test_new_form_without_item_effects_needs_no_rho():
    data = trial(1, persons=120, items=6, sigma_zeta=0.0)
    spec = bh.ItemResponse(**ROLES, item_effects=False)
    table = bh.effect_scales(few(bh.fit(spec, data, seed=1, progress=False))).set_index("estimand")
    mean, form = (table.loc[v, "mean"] for v in ("score difference, new form, mean", "expected score difference"))
    assert mean == pytest.approx(form, rel=0.25)


def test_effects_on_items(fitted):
    table = bh.item_effects(fitted)
    assert table["effect"].is_monotonic_increasing
    p, row = fitted.posterior, table.iloc[-1]
    item = p["effect"].sel(word=row["item"]).to_numpy().ravel()
    assert row["effect"] == pytest.approx(np.median(item))
    assert row["p_positive"] == np.mean(item > 0)
    assert row["n_reference"] == row["n_arm"] == 150
    # the chance averages over persons in the data: new residuals for each of them, in the draws that are used
    p = thinned(fitted, 1000)
    rng = np.random.default_rng(0)
    X = fitted.design["X"].to_numpy()[:: fitted.design.sizes["word"], 0]
    x = {v: p[v].to_numpy().ravel()[:, None] for v in ("beta0", "beta1", "beta2", "sigma_theta")}
    theta = x["beta0"] + x["beta2"] * X + x["sigma_theta"] * rng.normal(size=(len(x["beta0"]), len(X)))
    b, zeta = (p[v].sel(word=row["item"]).to_numpy().ravel()[:, None] for v in ("b", "zeta"))
    chance = (expit(theta + x["beta1"] + b + zeta) - expit(theta + b)).mean(1)
    assert row["chance_difference"] == pytest.approx(np.median(chance), abs=0.003)
    assert row["chance_lower"] == pytest.approx(np.quantile(chance, 0.025), abs=0.006)


# --------------------------------------------------------------------------------------------------------- misfit


def test_items_and_persons_that_do_not_fit_are_found(misfit):
    items = bh.item_fit(misfit, draws=300).set_index("item")
    assert items.loc["w4", "infit"] > 1.2
    assert items.loc["w4", "infit_p"] < 0.025
    assert items.loc["w5", "outfit"] < 0.8
    assert items.loc["w5", "infit_p"] > 0.975
    assert {"w4", "w5"} <= set(items.index[items["extreme"]])
    persons = bh.person_fit(misfit, draws=300)
    worst = persons.sort_values("infit_p").iloc[0]
    assert worst["person"] == "7"
    assert worst["infit"] > 1.5
    assert worst["arm"] == "drug"
    assert persons["extreme"].mean() < 0.15


def test_mean_squares_by_hand(fitted):
    table = bh.item_fit(fitted, draws=4).set_index("item")
    p, found = evenly_spaced(fitted, 4).isel(chain=0), []
    d = fitted.design
    own = d["item_code"].to_numpy() == 3
    for s in range(4):
        q = p.isel(draw=s)
        person, arm = d["cluster_code"].to_numpy()[own], d["arm_code"].to_numpy()[own]
        chance = expit(q["theta"].to_numpy()[person] + q["b"].to_numpy()[3] + q["zeta"].to_numpy()[3] * arm)
        square = (d["y"].to_numpy()[own] - chance) ** 2
        spread = chance * (1 - chance)
        found.append([square.sum() / spread.sum(), (square / spread).mean()])
    np.testing.assert_allclose(table.loc["w03", ["infit", "outfit"]].to_numpy(float), np.mean(found, 0))
    assert table.attrs["verdict"].startswith("Converged")


def test_items_of_the_model_fit(fitted):
    table = bh.item_fit(fitted)
    assert not table["extreme"].any()
    assert table["infit"].between(0.8, 1.2).all()


# -------------------------------------------------------------------------------------------------------- figures


def test_item_curves_show_shares_of_groups_by_rest_score(fitted):
    y = fitted.design["y"].to_numpy()
    control, drug = _curves(fitted, "w02", y, np.stack([y, 1 - y]))
    table = pd.DataFrame({"child": fitted.design["cluster_code"], "word": fitted.design["item_code"], "y": y})
    wide = table.pivot(index="child", columns="word", values="y")
    rest = wide.drop(columns=2).mean(axis=1)
    cuts = np.unique(np.quantile(rest, [0.2, 0.4, 0.6, 0.8]))
    member = (wide.index.to_numpy() % 2 == 1) & (rest.to_numpy() <= cuts[0])  # the first group of the treated
    assert drug.observed[0] == pytest.approx(wide.loc[member, 2].mean())
    assert drug.place[0] == pytest.approx(rest[member].mean())
    np.testing.assert_allclose(control.replicated[0], control.observed)


def test_figures_of_items(fitted):
    fig = bh.plot_item_curves(fitted, ["w01", "w05"])
    assert [ax.get_title(loc="left") for ax in fig.axes if ax.get_visible()] == ["w01", "w05"]
    assert len(bh.plot_item_curves(fitted).axes) == 8
    above, below = bh.plot_item_information(fitted).axes
    assert [line.get_label() for line in above.lines] == ["control, 95 % band", "drug, 95 % band"]
    theta, median = above.lines[0].get_data()
    b = evenly_spaced(fitted, 400)["b"].to_numpy()[0]
    k = 60
    p = expit(theta[k] + b)
    assert median[k] == pytest.approx(np.median((p * (1 - p)).sum(1)))
    assert below.get_xlabel().startswith("ability")
    ax = bh.plot_item_effects(fitted).axes[0]
    markers = [line for line in ax.lines if line.get_marker() == "o"]
    y = np.concatenate([line.get_ydata() for line in markers])
    assert sorted(y) == pytest.approx(sorted(bh.item_effects(fitted)["effect"]))
    differs = int(ax.get_title(loc="left").split(" of ")[0])
    assert len(markers[1].get_xdata()) == differs > 0


def test_misfit_shows_in_the_curve(misfit):
    y = misfit.design["y"].to_numpy()
    replicated = bh.replicate(misfit, 100)
    flat = _curves(misfit, "w4", y, replicated)[0]
    upper = np.nanquantile(flat.replicated, 0.975, axis=0)
    lower = np.nanquantile(flat.replicated, 0.025, axis=0)
    assert flat.observed[0] > upper[0]
    assert flat.observed[-1] < lower[-1]


def test_a_fit_that_did_not_converge_is_said(fitted):
    bad = dataclasses.replace(fitted.diagnosis.checks[0], ok=False)
    broken = dataclasses.replace(few(fitted), diagnosis=bh.Diagnosis((bad,)))
    for figure in (
        bh.plot_item_curves(broken, ["w01"]),
        bh.plot_item_information(broken),
        bh.plot_item_effects(broken),
    ):
        assert "NOT CONVERGED" in figure.get_suptitle()
    for table in (bh.item_fit(broken, draws=4), bh.effect_scales(broken), bh.item_effects(broken)):
        assert table.columns.name == "NOT CONVERGED"


def test_refusals(fitted):
    with pytest.raises(bh.SpecError, match="Did you mean 'w01'"):
        bh.plot_item_curves(fitted, ["w1"])
    with pytest.raises(bh.SpecError, match="not an arm to show"):
        bh.plot_item_effects(fitted, contrast="placebo")
    other = dataclasses.replace(fitted, spec=bh.RandomSlope(outcome="right"))
    for function in (
        bh.item_fit,
        bh.person_fit,
        bh.effect_scales,
        bh.item_effects,
        bh.plot_item_curves,
        bh.plot_item_effects,
    ):
        with pytest.raises(bh.SpecError, match="need a fit of bh"):
            function(other)
