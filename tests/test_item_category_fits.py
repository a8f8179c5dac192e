"""ItemResponse with discriminations, a probit link, ordered categories: recovery, tables and checks, data as they come."""

import re

import numpy as np
import pandas as pd
import pytest
from item_answers import ROLES, trial

import bayeshte as bh


@pytest.fixture(scope="module")
def fitted():
    data, truth = trial(2, persons=500, items=12, kind="partial credit")
    spec = bh.ItemResponse(**ROLES, model="generalized partial credit", covariates="pretest")
    return data, bh.fit(spec, data, draws=1000, seed=1, progress=False), truth


def test_true_values_are_recovered(fitted):
    _, fit, truth = fitted
    assert fit.diagnosis.ok
    p = fit.posterior
    scale = np.exp(np.log(p["a"]).mean("word"))  # the geometric mean of these items belongs to abilities as well
    to = np.exp(np.log(truth["a"]).mean())
    labels = [str(v) for v in p["word"].to_numpy()]
    b = p["b"] - p["b"].mean("word")
    tau = np.concatenate([truth["tau"][int(v[1:])] for v in labels])
    varies = np.repeat(
        [len(truth["tau"][int(v[1:])]) > 1 for v in labels], [len(truth["tau"][int(v[1:])]) for v in labels]
    )
    values = [
        (np.log(p["a"] / scale), np.log(truth["a"] / to)),
        (b * scale, (truth["b"] - truth["b"].mean()) * to),
        (p["effect"].isel(arm=0) * scale, (0.4 + truth["zeta"][:, 1]) * to),
        (p["sigma_theta"] * scale, 1.0 * to),
        (p["beta2"] * scale, 0.5 * to),
        ((p["tau"] * scale)[..., varies], tau[varies] * to),
    ]
    z = []
    for v, true in values:
        mean, sd = v.mean(("chain", "draw")).to_numpy().ravel(), v.std(("chain", "draw")).to_numpy().ravel()
        z.append((mean - np.broadcast_to(true, mean.shape)) / sd)
    z = np.concatenate(z)
    assert np.abs(z).max() < 4
    assert 0.5 < np.sqrt((z**2).mean()) < 1.5


@pytest.fixture(scope="module")
def graded():
    data, truth = trial(4, persons=200, items=8)
    return bh.fit(bh.ItemResponse(**ROLES, model="graded"), data, draws=500, seed=1, progress=False), truth


def test_graded_items_sample_well(graded):
    fit, truth = graded
    assert int(fit.draws["sample_stats"]["diverging"].sum()) == 0
    assert fit.diagnosis.ok
    assert np.corrcoef(fit.posterior["b"].mean(("chain", "draw")), truth["b"])[0, 1] > 0.9
    tau = fit.posterior["tau"]
    own = [k for k, v in enumerate(tau["threshold"].to_numpy()) if str(v).startswith("w02")]
    assert len(own) == 3
    assert (np.diff(tau.isel(threshold=own), axis=-1) > 0).all()
    np.testing.assert_allclose(tau.isel(threshold=own).sum("threshold"), 0, atol=1e-10)


def test_tables_figures_and_checks(graded):
    fit = graded[0]
    table = bh.effects(fit, meaningful=0.2)
    assert np.isfinite(table[["estimate", "mean", "lower", "upper"]].to_numpy()).all()
    assert {"expected score difference", "item effect"} <= set(table["estimand"])
    assert "sigma_a" in set(bh.summary(fit)["parameter"])
    assert not {"a", "tau"} & {v.split("[")[0] for v in bh.summary(fit)["parameter"]}
    assert bh.loo(fit).pointwise["khat"].max() < 0.7
    assert not bh.predictive_checks(fit, draws=200)["extreme"].any()
    assert np.isfinite(bh.prior_sensitivity(fit).select_dtypes("number").to_numpy()).all()
    bh.plot_effect(fit).draw_without_rendering()
    text = " ".join(fit.spec.equations(fit.design))
    assert r"\tau_{ik}" in text
    assert r"\sigma_a" in text


# ---------------------------------------------------------------------------------------------- data as they come

FRAME = trial(persons=30, items=5)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(answer=d["answer"].map(dict(enumerate("abcd")))), "Text has no order"),
        (lambda d: d.assign(answer=pd.Categorical(d["answer"])), "a categorical without an order"),
        (lambda d: d.assign(answer=d["answer"] + 0.5), "Categories are whole numbers"),
        (lambda d: d.assign(answer=d["answer"].where(d["word"] != "w01", 2)), "'w01' (2 in all 30)"),
        (lambda d: d.assign(answer=np.arange(len(d)) // 5), "30 categories in 'answer', 20 are the most"),
    ],
)
def test_bad_responses(change, message):
    with pytest.raises(bh.DataError, match=re.escape(message)):
        bh.ItemResponse(**ROLES, model="graded").design(change(FRAME))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "3pl"}, "model='3pl': write one of 'rasch', '2pl', 'graded'"),
        ({"link": "cloglog"}, "'logit' or 'probit'"),
        ({"model": "partial credit", "link": "probit"}, "belongs to 'graded'"),
        ({"item": "tau"}, "a name the model uses"),
    ],
)
def test_bad_specification(options, message):
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        bh.ItemResponse(**ROLES | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "graded", "priors": {"gap": bh.Exponential(1)}}, "distances of thresholds are bh.LogNormal"),
        ({"model": "partial credit", "priors": {"tau": bh.Normal(1, 1)}}, "thresholds sum to zero"),
        ({"model": "partial credit", "priors": {"sigma_a": bh.HalfNormal(1)}}, "'sigma_a' is not a parameter"),
    ],
)
def test_bad_priors(options, message):
    spec = bh.ItemResponse(**ROLES, **options)
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        spec.frozen_priors(spec.design(FRAME))


def test_answers_in_categories_need_a_model_of_them():
    with pytest.raises(bh.DataError, match=re.escape("write model='graded' or model='partial credit'")):
        bh.ItemResponse(**ROLES, model="2pl").design(FRAME)


def test_awkward_categories_are_analysed_and_counted():
    """Gaps, a category seen once, one absent in an arm, 20 categories, ordered text: finite densities, and the facts say so."""
    d = trial(1, persons=60, items=6)[0].reset_index(drop=True)
    w = {v: d["word"] == v for v in d["word"].unique()}
    d.loc[w["w02"] & (d["answer"] == 2), "answer"] = 3  # nobody chose 2
    d.loc[w["w01"] & (d["answer"] == 2), "answer"] = 1
    d.loc[np.flatnonzero(w["w01"])[0], "answer"] = 2  # once
    d.loc[w["w05"] & (d["arm"] == "drug") & (d["answer"] == 0), "answer"] = 1
    d.loc[w["w03"], "answer"] = np.arange(60) % 20
    for model in ("graded", "partial credit"):
        spec = bh.ItemResponse(**ROLES, model=model)
        design = spec.design(d)
        facts = dict(spec.describe(design).facts)
        assert facts["Items with categories that nobody chose"].startswith("1 of 6 (closed up: w02: 2")
        assert facts["Categories of an item"] == "2 to 20"
        assert not facts["Categories absent in an arm"].startswith("0 of")
        density = spec.marginal(design, spec.frozen_priors(design))
        lp, grad = density(np.zeros(density.n_dim))
        assert np.isfinite(lp)
        assert np.isfinite(grad).all()
    words = pd.CategoricalDtype(["never", "sometimes", "often", "always"], ordered=True)
    text = FRAME.assign(answer=FRAME["answer"].map(dict(enumerate(words.categories))).astype(words))
    spec = bh.ItemResponse(**ROLES, model="graded")
    np.testing.assert_array_equal(spec.design(text)["y"], spec.design(FRAME)["y"])
    assert "w02: never|sometimes" in spec.design(text)["threshold"].to_numpy()
