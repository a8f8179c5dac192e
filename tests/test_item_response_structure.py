"""ItemResponse with several arms, clusters of persons, item covariates, fixed items: the contract, recovery, awkward data."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from cases import EVALUATE
from item_points import as_draws, joint_value, log_posterior
from scipy import stats
from scipy.special import expit

import bayeshte as bh
from bayeshte import store
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_averages import people_of
from bayeshte.marginal.responses import distinct

ROLES = dict(person="child", item="word", response="right", treatment="arm", reference="control")
ARMS = ("control", "drug", "talk")


def trial(
    seed=0, persons=60, items=6, arms=2, clusters=6, whole=False, sd=(0.0, 0.0), sigma=(1.0,), slope=0.0, missing=0.0
):
    """Responses drawn by NumPy from the equations: schools with their own level and effect, content that explains the items.

    Returns the data and what they were made from: item effects (item, arm), school effects (school, 2).
    """
    rng = np.random.default_rng(seed)
    school = np.arange(persons) % clusters
    arm = school % arms if whole else np.arange(persons) // clusters % arms
    content, pretest = np.arange(items) % 2, rng.normal(size=persons)
    u = rng.normal(size=(items, arms)) * [1.0, *[0.5] * (arms - 1)]
    u[:, 1:] += 0.3 * u[:, :1] + slope * content[:, None]
    v = rng.normal(size=(clusters, 2)) * sd
    effect = np.array([0.0, 0.4, -0.3])[arm] + (arm > 0) * v[school, 1]
    noise = np.broadcast_to(sigma, arms)[arm] * rng.normal(size=persons)
    theta = 0.2 + 0.6 * pretest + v[school, 0] + effect + noise
    d = u[:, :1] + np.hstack([np.zeros((items, 1)), u[:, 1:]])
    chance = expit(theta[:, None] + d[:, arm].T)
    child, word = np.indices(chance.shape).reshape(2, -1)
    data = pd.DataFrame(
        {
            "child": [f"c{k}" for k in child],
            "word": [f"w{k}" for k in word],
            "right": (rng.random(chance.shape) < chance).astype(int).ravel(),
            "arm": np.array(ARMS)[arm][child],
            "school": [f"s{k}" for k in school[child]],
            "pretest": pretest[child],
            "content": np.array(["plain", "story"])[content][word],
            "length": (3.0 + word) ** 0.5,
        }
    )
    return data[rng.random(len(data)) >= missing], u, v


CASES = {
    "three arms": (dict(arms=3), dict(moderators="pretest")),
    "three arms, sigma by arm": (dict(arms=3), dict(sigma_by_arm=True, item_effects=False)),
    "clusters": (dict(clusters=4), dict(cluster="school", covariates="pretest")),
    "clusters, three arms": (dict(arms=3, clusters=4), dict(cluster="school", varying="talk", moderators="pretest")),
    "whole clusters": (dict(whole=True), dict(cluster="school", varying=(), sigma_by_arm=True)),
    "item covariates": ({}, dict(item_covariates="content + length")),
    "item covariates, three arms": (dict(arms=3), dict(item_covariates="content")),
    "item covariates, easiness only": ({}, dict(item_covariates="content", item_effects=False, cluster="school")),
    "fixed items": ({}, dict(items="fixed", moderators="pretest")),
    "fixed items, three arms": (dict(arms=3), dict(items="fixed", cluster="school")),
}
SPECS = {k: bh.ItemResponse(**ROLES, **options) for k, (_, options) in CASES.items()}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(trial(persons=24, missing=0.2, **CASES[request.param][0])[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


# ---------------------------------------------------------------------------------------------- the contract


def test_gradient_is_exact(case):
    density = case[3]
    for z in np.random.default_rng(0).normal(0, 1.0, (3, density.n_dim)):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def log_density_of_abilities(spec, design, draws, theta) -> np.ndarray:
    """log p(theta | y, parameters) of every draw, by Bayes: responses given theta, theta, over the marginal likelihood."""
    D = Arrays(design)
    of_rows = np.zeros(len(theta))
    d = D.easiness(draws)
    eta = theta[:, D.person_code] + d[:, D.arm, D.item_code]
    of_rows = (D.y * eta - np.logaddexp(0, eta)).sum(1)
    mean = D.beta(draws) @ D.full.T
    if D.cluster:
        v0, v1 = D.split(D.v(draws)[:, D.person_cluster])
        mean = mean + v0 + (v1 * D.persons[0]).sum(-1)
    prior = stats.norm.logpdf(theta, mean, D.sigma(draws)[:, D.person_arm]).sum(1)
    return of_rows + prior - spec.log_likelihood(draws, design, "cluster").sum(D.person).to_numpy()[0]


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, theta, u, v) - log p(theta | y, u, v) = log p(y, u, v) for abilities far from any posterior."""
    spec, design, priors, density = case
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    points = np.random.default_rng(1).normal(0, 1.0, (6, density.n_dim))
    draws = spec.recover(as_draws(density, points, design), design, np.random.default_rng(0))
    theta = np.random.default_rng(2).normal(0, 3, (6, Arrays(design).n_persons))
    conditional = log_density_of_abilities(spec, design, draws, theta)
    dims = {o.name: o.dims for o in density.outputs}
    for s, z in enumerate(points):
        joint = float(logp(joint_value(model, density.parameters(z) | {"theta": theta[s]}, dims)))
        assert joint - conditional[s] == pytest.approx(log_posterior(density, design, priors, z), abs=1e-6)


def test_parametrisations_of_the_joint_graph_agree(case):
    """log p(y, u, v, theta) + log |d(u, v, theta) / d noise| = log p(y, noise)."""
    spec, design, priors, density = case
    D = Arrays(design)
    values = density.parameters(np.random.default_rng(3).normal(size=density.n_dim))
    noise = np.random.default_rng(4)
    centred, other = spec.joint(design, priors), spec.joint(design, priors, centred=False)
    if D.fixed:
        sd = np.array([priors[v]["sigma"] for v in ("b", *D.by_arm("zeta"))])
        z = noise.normal(size=(D.n_items, D.q))
        z -= z.mean(0)
        jacobian, values["u"], values["_z"] = (D.n_items - 1) * np.log(sd).sum(), z * sd, z
    else:
        sds = np.append(values["sigma_b"], values.get("sigma_zeta", np.zeros(0)))
        factor = sds[:, None] * values["_corr_factor"]
        values["_z"] = noise.normal(size=(D.n_items, D.q))
        values["u"] = values["_z"] @ factor.T
        jacobian = D.n_items * np.linalg.slogdet(factor)[1]
    if D.cluster:
        factor = values["sd"][:, None] * values["_cluster_factor"]
        values["_v"] = noise.normal(size=(D.n_clusters, len(factor)))
        values["v"] = values["_v"] @ factor.T
        jacobian += D.n_clusters * np.linalg.slogdet(factor)[1]
    flat = {k: np.asarray(v)[None, None] for k, v in values.items()}
    draws = xr.Dataset({o.name: (("chain", "draw", *o.dims), flat[o.name]) for o in density.outputs})
    sigma = D.sigma(draws)[0, D.person_arm]
    mean = (D.beta(draws) @ D.full.T)[0]
    if D.cluster:
        v0, v1 = D.split(values["v"][D.person_cluster])
        mean = mean + v0 + (v1 * D.persons[0]).sum(-1)
    values["_eps"] = noise.normal(size=D.n_persons)
    values["theta"] = mean + sigma * values["_eps"]
    jacobian += np.log(sigma).sum()
    dims = {o.name: o.dims for o in density.outputs} | {"_z": (D.item, "varying")}
    a = centred.compile_logp(mode=EVALUATE)(joint_value(centred, values, dims))
    b = other.compile_logp(mode=EVALUATE)(joint_value(other, values, dims))
    assert float(a) + jacobian == pytest.approx(float(b), abs=1e-7)


def test_integral_of_an_arm_against_brute_force(case):
    """The likelihood of persons against a sum over abilities, response by response, with effects of clusters and SDs by arm."""
    spec, design, _, density = case
    D = Arrays(design)
    draws = as_draws(density, np.random.default_rng(5).normal(0, 0.7, (1, density.n_dim)), design)
    draws = spec.recover(draws, design, np.random.default_rng(0))
    mean = (D.beta(draws) @ D.full.T)[0]
    b, zeta = (v[0] for v in D.item_effects(draws))
    if D.cluster:
        v = D.v(draws)[0]
        for k, name in enumerate(D.cluster_varying):  # by the names of the effects, one by one
            own = 1.0 if name == "intercept" else D.persons[0][:, D.contrasts.index(name)]
            mean = mean + own * v[D.person_cluster, k]
    mine = spec.log_likelihood(draws, design, "cluster").to_numpy().ravel()
    for j in range(D.n_persons):
        own, arm = D.person_code == j, D.person_arm[j]
        sd = D.sigma(draws)[0, arm]
        theta = np.linspace(mean[j] - 12 * sd, mean[j] + 12 * sd, 4001)
        effect = zeta[arm - 1, D.item_code[own]] if arm else 0.0
        eta = theta[:, None] + b[D.item_code[own]] + effect
        log = (D.y[own] * eta - np.logaddexp(0, eta)).sum(1) + stats.norm.logpdf(theta, mean[j], sd)
        exact = log.max() + np.log(np.exp(log - log.max()).sum() * (theta[1] - theta[0]))
        assert mine[j] == pytest.approx(exact, abs=1e-6)


def test_expected_responses_are_those_of_the_graph_under_intervention():
    """pm.do(arm), everything else at a draw: `expected` of new persons in new clusters, SDs by arm, effects that vary."""
    options = dict(cluster="school", moderators="pretest", sigma_by_arm=True, item_covariates="content")
    spec = bh.ItemResponse(**ROLES, **options)
    design = spec.design(trial(persons=30, arms=3, clusters=5)[0])
    priors = spec.frozen_priors(design)
    density = spec.marginal(design, priors)
    z = np.zeros(density.n_dim)
    draws = spec.recover(as_draws(density, [z], design), design, np.random.default_rng(0))
    values, model, n = density.parameters(z), spec.joint(design, priors), design.sizes["child"]
    fixed = {rv.name: values[rv.name] for rv in model.free_RVs if rv.name not in ("theta", "v")}
    for arm, label in enumerate(ARMS):
        done = pm.do(model, fixed | {"arm_code": np.full(n, arm, "int32")})
        y = pm.draw(done["y"], draws=3000, random_seed=arm, mode=EVALUATE).mean(0)
        mine = spec.expected(draws, design, arm=label, clusters="new").to_numpy().ravel()
        z = (y - mine) / np.sqrt(mine * (1 - mine) / 3000)
        assert np.abs(z).max() < 4.5
        assert 0.7 < np.sqrt((z**2).mean()) < 1.3


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_weighted_means_are_those_of_the_rows(missing):
    """Persons who have seen the same items are averaged through an interpolant, others row by row: both give the rows' means."""
    spec = bh.ItemResponse(**ROLES, cluster="school", moderators="pretest", sigma_by_arm=True)
    data = trial(persons=120, items=4, arms=3, missing=missing)[0]
    design = spec.design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    points = np.random.default_rng(1).normal(size=(3, density.n_dim))
    draws = spec.recover(as_draws(density, points, design), design, np.random.default_rng(0))
    weight = np.zeros((3, len(data)))
    weight[0], weight[1, ::2] = 1 / len(data), np.random.default_rng(2).random(120)[Arrays(design).person_code[::2]]
    _, X, M = (v[Arrays(design).person_code] for v in Arrays(design).persons)
    who = distinct(np.column_stack([X, M]))[1]
    groups = people_of(who, Arrays(design).item_code, weight, 4)
    assert (groups is None) == (missing > 0)  # both ways are taken
    for clusters in ("new", "these", "average"):
        rows = spec.expected(draws, design, arm="talk", clusters=clusters).to_numpy()[0]
        means = spec.expected(draws, design, arm="talk", clusters=clusters, weight=weight)
        np.testing.assert_allclose(means.to_numpy()[0], rows @ weight.T, atol=1e-9)


def test_these_persons_in_another_arm():
    """Residuals scaled by the ratio of SDs, own cluster's effects: by hand."""
    spec = bh.ItemResponse(**ROLES, cluster="school", sigma_by_arm=True)
    design = spec.design(trial(persons=24, clusters=4)[0])
    density = spec.marginal(design, spec.frozen_priors(design))
    z = np.random.default_rng(1).normal(size=density.n_dim)
    draws = spec.recover(as_draws(density, [z], design), design, np.random.default_rng(0))
    one = {k: v.to_numpy()[0, 0] for k, v in draws.data_vars.items()}
    D = Arrays(design)
    school, arm = D.person_cluster, D.person_arm
    v0, v1 = one["v"][school].T
    residual = (one["theta"] - one["beta0"] - v0 - arm * (one["beta1"] + v1)) / one["sigma_theta"][arm]
    theta = one["beta0"] + v0 + one["beta1"] + v1 + residual * one["sigma_theta"][1]
    by_hand = expit(theta[D.person_code] + one["b"][D.item_code] + one["zeta"][D.item_code])
    mine = spec.expected(draws, design, arm="drug", clusters="these").to_numpy().ravel()
    np.testing.assert_allclose(mine, by_hand, atol=1e-12)
    frame = pd.DataFrame({"child": ["c0", "c1"], "word": ["w1", "w2"]}, index=[7, 8])
    again = spec.expected(draws, design, arm="drug", frame=frame).to_numpy().ravel()
    persons, items = design["child"].to_numpy().tolist(), design["word"].to_numpy().tolist()
    at = [(D.person_code == persons.index(c)) & (D.item_code == items.index(w)) for c, w in frame.to_numpy()]
    np.testing.assert_allclose(again, [by_hand[a].item() for a in at], atol=1e-12)


def test_effects_of_clusters_and_arms_by_hand():
    """Moderators at each cluster's own mean, its own effect, item covariates at their mean; SDs between persons by arm."""
    spec = bh.ItemResponse(**ROLES, cluster="school", varying="talk", moderators="pretest", item_covariates="content")
    design = spec.design(trial(persons=36, arms=3, clusters=4)[0])
    density = spec.marginal(design, spec.frozen_priors(design))
    z = np.random.default_rng(1).normal(size=density.n_dim)
    draws = spec.recover(as_draws(density, [z], design), design, np.random.default_rng(0))
    found = {e.name: e.draws(draws, design) for e in spec.estimands(design)}
    D, one = Arrays(design), draws.isel(chain=0, draw=0)
    pretest, content = D.persons[2][:, 0], D.W[:, 0]
    of_items = one["delta"].sel(arm="talk").item() * content.mean()
    for k, school in enumerate(design["school"].to_numpy()):
        mean = pretest[D.person_cluster == k].mean()
        own = one["v"].sel(school=school, cluster_varying="talk").item()
        by_hand = one["beta1"].sel(arm="talk").item() + one["beta3"].sel(arm="talk").item() * mean + own + of_items
        assert found["cluster effect of talk"].sel(school=school).item() == pytest.approx(by_hand)
    assert "cluster effect of drug" not in found
    ate = one["beta1"].sel(arm="talk") + one["beta3"].sel(arm="talk") * pretest.mean() + of_items
    assert found["ATE"].sel(arm="talk").item() == pytest.approx(ate.item())
    assert found["item effect of talk"].mean().item() == pytest.approx(
        ate.item() - of_items + one["zeta"].sel(arm="talk").mean().item()
    )
    variance = one["sigma_theta"] ** 2 + one["sd"][0] ** 2 + one["beta2"][0] ** 2 * pretest.var()
    ratio = found["ATE"].sel(arm="talk").item() / found["standardised ATE"].sel(arm="talk").item()
    assert ratio == pytest.approx(float(np.sqrt(variance)))
    assert found["SD of cluster effects"].to_numpy().ravel() == pytest.approx(one["sd"][1:].to_numpy())


# ---------------------------------------------------------------------------------------------- fits


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    made = dict(persons=720, items=16, arms=3, clusters=12, sd=(0.7, 0.7), sigma=(1.0, 1.0, 1.6), slope=0.8)
    data, u, v = trial(6, **made)
    spec = bh.ItemResponse(
        **ROLES, cluster="school", covariates="pretest", item_covariates="content", sigma_by_arm=True
    )
    path = tmp_path_factory.mktemp("fits") / "fit"
    return data, bh.fit(spec, data, draws=600, seed=2, progress=False, path=path), path, u, v


def test_true_values_are_recovered(fitted):
    """Three arms, clusters with effects of their own, SDs by arm, item covariates: mean squared z near one, none beyond four."""
    _, fit, _, u, v = fitted
    assert fit.diagnosis.ok
    p, (b, *effects) = fit.posterior, np.stack([u[:, 0], u[:, 1] + 0.4, u[:, 2] - 0.3])
    effects, schools = np.stack(effects), v - v.mean(0)  # levels of items and of schools belong to the average as well
    level, own, drug = p["b"].mean("word"), *(p["v"].isel(cluster_varying=k) for k in (0, 1))
    average = p["effect"].mean("word") + p["v"].isel(cluster_varying=[1, 2]).mean("school").rename(
        cluster_varying="arm"
    )
    values = [
        (p["beta0"] + level + own.mean("school"), 0.2 + b.mean() + v[:, 0].mean()),
        (average, effects.mean(1) + v[:, 1].mean()),
        (p["beta2"], 0.6),
        (p["delta"], 0.8),
        (p["sigma_theta"], [1.0, 1.0, 1.6]),
        (p["b"] - level, b - b.mean()),
        (p["effect"] - p["effect"].mean("word"), (effects - effects.mean(1, keepdims=True)).T),
        (own - own.mean("school"), schools[:, 0]),
        (drug - drug.mean("school"), schools[:, 1]),
    ]
    z = []
    for x, truth in values:
        mean, sd = x.mean(("chain", "draw")).to_numpy(), x.std(("chain", "draw")).to_numpy()
        z.append(((mean - np.broadcast_to(truth, mean.shape)) / sd).ravel())
    z = np.concatenate(z)
    assert np.abs(z).max() < 4
    assert 0.5 < np.sqrt((z**2).mean()) < 1.5


def test_tables_figures_and_round_trip(fitted):
    data, fit, path, *_ = fitted
    table = bh.effects(fit, meaningful=0.2)
    assert np.isfinite(table[["estimate", "mean", "lower", "upper"]].to_numpy()).all()
    kinds = table["estimand"].value_counts()
    assert kinds["item effect of drug"] == kinds["item effect of talk"] == 16
    assert kinds["cluster effect of drug"] == 12
    assert kinds["ATE"] == kinds["SD of cluster effects"] == 2
    p = fit.posterior
    ate = table[table["estimand"] == "ATE"].set_index("contrast")["mean"]
    assert ate["talk vs control"] == pytest.approx(
        float((p["beta1"] + 0.5 * p["delta"][..., 0]).sel(arm="talk").mean())
    )
    text = "\n".join(fit.spec.equations(fit.design))
    for symbol in (
        r"\beta_{1,\text{drug}}",
        r"\delta_{\text{talk}}",
        r"v_{\text{talk},c}",
        r"\sigma_{\theta,\text{arm}}",
    ):
        assert symbol in text
    description = fit.spec.describe(fit.design)
    assert (
        dict(description.facts)["Clusters of persons: school"]
        == "12, 60 to 60 persons each; 12 with persons in several arms"
    )
    assert len(bh.summary(fit)) == len(fit.priors) - 2 + 3 + 3  # rho and corr have three elements each
    assert len(bh.cluster_effects(fit)) == 32
    bh.plot_caterpillar(fit).draw_without_rendering()
    plt.close("all")
    again = bh.load(path)
    xr.testing.assert_identical(again.posterior, p)
    assert store.spec_from_json(store.spec_to_json(fit.spec)) == fit.spec
    assert data.equals(
        trial(6, persons=720, items=16, arms=3, clusters=12, sd=(0.7, 0.7), sigma=(1.0, 1.0, 1.6), slope=0.8)[0]
    )


def test_checks_of_the_model(fitted):
    fit = fitted[1]
    left_out = bh.loo(fit)
    assert "given the effects of their school (conditional)" in left_out.what
    assert left_out.pointwise["khat"].max() < 0.7
    checks = bh.predictive_checks(fit, draws=200)
    assert "SD of clusters" in set(checks["statistic"])
    assert not checks["extreme"].any()


def test_simulated_data_have_the_structure_and_fit_again():
    """Truth and data from the joint graph, for every variant: the same names as a posterior's, and the truth inside."""
    data = trial(3, persons=60, arms=3, clusters=6)[0]
    for options in ({"items": "fixed"}, {"item_covariates": "content", "cluster": "school"}):
        spec = bh.ItemResponse(**ROLES, **options)
        (truth, frame), *_ = bh.simulate(spec, data, n=2, seed=1)
        density = spec.marginal(spec.design(frame), spec.frozen_priors(spec.design(frame)))
        draws = spec.recover(
            as_draws(density, np.zeros((1, density.n_dim)), spec.design(frame)),
            spec.design(frame),
            np.random.default_rng(0),
        )
        assert set(truth.data_vars) == set(draws.data_vars)
        for name in truth.data_vars:
            assert set(truth[name].dims) == set(draws[name].dims) - {"chain", "draw"}, name


def test_fixed_items_sum_to_zero_and_agree_with_random_ones():
    """With many persons, what the items are does not depend on whether they are fixed."""
    data = trial(8, persons=4000, items=8)[0]
    random, fixed = (
        bh.fit(bh.ItemResponse(**ROLES, items=v), data, draws=600, seed=1, progress=False).posterior
        for v in ("random", "fixed")
    )
    for name in ("b", "zeta"):
        np.testing.assert_allclose(fixed[name].sum("word"), 0, atol=1e-10)
        centred = random[name] - random[name].mean("word")
        gap = (centred.mean(("chain", "draw")) - fixed[name].mean(("chain", "draw"))) / fixed[name].std(
            ("chain", "draw")
        )
        assert np.abs(gap).max() < 0.5
        ratio = centred.std(("chain", "draw")) / fixed[name].std(("chain", "draw"))
        assert ((ratio > 0.8) & (ratio < 1.1)).all()
    assert not {"sigma_b", "sigma_zeta", "rho"} & set(fixed)
    average = [(p["beta1"] + (p["zeta"].mean("word") if "sigma_b" in p else 0)).mean() for p in (random, fixed)]
    assert float(average[0]) == pytest.approx(float(average[1]), abs=0.02)


# ---------------------------------------------------------------------------------------------- data as they come

TRIAL = trial(persons=24, items=5, clusters=4)[0]


@pytest.mark.parametrize(
    ("options", "change", "error", "message"),
    [
        ({"cluster": "school"}, lambda d: d.assign(school="s1"), bh.DataError, "one cluster only"),
        ({"cluster": "school"}, lambda d: d.assign(school=d["child"]), bh.DataError, "is a cluster of its own in 'school' (24)"),
        ({"cluster": "school"}, lambda d: d.assign(school=d["word"]), bh.DataError, "'school' varies within 24 of 24 persons"),
        ({"cluster": "school"}, lambda d: d.assign(school=d["school"].where(d["child"] != "c1")), bh.DataError, "'school' in 5"),
        ({"cluster": "school"}, lambda d: d.assign(arm=np.where(d["school"] < "s2", "drug", "control")), bh.SpecError,
         "Whole clusters were assigned: write varying=()"),
        ({"cluster": "school", "varying": "pill"}, lambda d: d, bh.SpecError, "varying='pill' is not an arm"),
        ({"cluster": "school", "covariates": "school"}, lambda d: d, bh.SpecError, "has a role of its own"),
        ({"item_covariates": "content"}, lambda d: d.assign(content=d["child"]), bh.DataError, "varies within 5 of 5 items"),
        ({"item_covariates": "length + content + C(word2)"}, lambda d: d.assign(word2=d["word"]), bh.DataError, "need more than"),
        ({"item_covariates": "length + long"}, lambda d: d.assign(long=2 * d["length"]), bh.DataError, "linear combination"),
        ({"item_covariates": "length"}, lambda d: d.assign(length=1.0), bh.DataError, "constant"),
        ({"item_covariates": "pretest"}, lambda d: d, bh.DataError, "varies within 5 of 5 items"),
        ({"item_covariates": "length", "covariates": "length"}, lambda d: d, bh.SpecError, "of persons and one of items"),
        ({"item_covariates": "word"}, lambda d: d, bh.SpecError, "has a role of its own"),
        ({"covariates": "length"}, lambda d: d, bh.DataError, "varies within 24 of 24 persons"),
        ({"items": "fixed", "priors": {"b": bh.StudentT(4, 0, 1)}}, lambda d: d, bh.SpecError, "are bh.Normal(0, sd)"),
        ({"items": "fixed", "priors": {"zeta": bh.Normal(1, 1)}}, lambda d: d, bh.SpecError, "are bh.Normal(0, sd)"),
        ({"items": "fixed", "priors": {"sigma_b": bh.HalfNormal(1)}}, lambda d: d, bh.SpecError, "'sigma_b' is not a parameter"),
        ({"priors": {"sd": bh.HalfNormal(1)}}, lambda d: d, bh.SpecError, "'sd' is not a parameter"),
        ({}, lambda d: d.assign(word=np.where(d["child"] == "c0", "x" + d["word"], d["word"]),
                                arm=np.where(d["child"] == "c0", "talk", d["arm"])), bh.DataError, "in 'talk' and 'control'"),
    ],
)  # fmt: skip
def test_bad_data(options, change, error, message):
    spec = bh.ItemResponse(**ROLES, **options)
    with pytest.raises(error, match=re.escape(message)):
        spec.frozen_priors(spec.design(change(TRIAL)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": "both"}, "write 'random'"),
        ({"items": "fixed", "item_covariates": "content"}, "nothing is left to explain"),
        ({"varying": "drug"}, "name their column with cluster="),
        ({"varying": 3, "cluster": "school"}, "arms in a tuple"),
        ({"cluster": "v"}, "a name the model uses"),
        ({"cluster": "child"}, "two roles"),
        ({"cluster": 7}, "name one column"),
        ({"sigma_by_arm": 1}, "True or False"),
        ({"item_covariates": None}, "a formula as text"),
    ],
)
def test_bad_specification(options, message):
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        bh.ItemResponse(**ROLES, **options)
