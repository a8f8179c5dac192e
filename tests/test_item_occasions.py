"""ItemResponse before and after: brute-force integrals, the contract, recovery, tables, awkward data."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import EVALUATE
from item_points import as_draws, joint_value, log_posterior
from pytensor.graph.traversal import ancestors
from scipy import stats
from scipy.special import expit, logsumexp

import bayeshte as bh
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_curves import log_probability
from bayeshte.marginal.abilities import SPACING
from bayeshte.marginal.occasion_abilities import abilities_of_pairs

pytestmark = pytest.mark.slow

ROLES = dict(person="child", item="word", response="right", occasion="wave")
TRIAL = ROLES | dict(treatment="arm", reference="control")
SINGLE = ROLES | dict(treatment="now", reference="control")  # everybody is treated after


def trial(
    seed=0,
    persons=60,
    items=6,
    arms=2,
    single=False,
    corr=0.6,
    sd=(1.0, 1.3),
    spread=(0.4, 0.3),
    once=0.15,
    most=1,
    slope=0.5,
):
    """Responses drawn by NumPy from the equations; the first item is asked after only, the second before only.

    Returns the data and what they were made from: b, drift, zeta (arm, item), abilities (person, 2).
    """
    rng = np.random.default_rng(seed)
    arm = np.ones(persons, int) if single else np.arange(persons) % arms
    school, pretest = np.arange(persons) // 3 % 5, rng.normal(size=persons)
    b, drift = rng.normal(size=items), (0.0 if single else spread[1]) * rng.normal(size=items)
    zeta = np.vstack([np.zeros(items), spread[0] * rng.normal(size=(max(arms, 2) - 1, items)) + 0.2 * b])
    noise = rng.normal(size=(persons, 2)) @ np.linalg.cholesky([[1.0, corr], [corr, 1.0]]).T * sd
    effect = np.array([0.0, 0.6, -0.4])[arm]
    theta = 0.2 + slope * pretest[:, None] + noise + np.column_stack([0 * effect, effect + (0.0 if single else 0.3)])
    levels = np.stack([np.broadcast_to(b, (persons, items)), b + drift + zeta[arm]], axis=1)
    y = rng.binomial(most, expit(theta[:, :, None] + levels))
    child, wave, word = np.indices(y.shape).reshape(3, -1)
    data = pd.DataFrame(
        {
            "child": [f"c{k}" for k in child],
            "word": [f"w{k}" for k in word],
            "wave": wave,
            "right": y.ravel(),
            "arm": np.array(["control", "drug", "talk"])[arm][child],
            "now": np.array(["control", "drug", "talk"])[np.where(wave == 1, arm[child], 0)],
            "school": [f"s{k}" for k in school[child]],
            "pretest": pretest[child],
            "content": np.array(["plain", "story"])[word % 2],
        }
    )
    asked = ~((word == 0) & (wave == 0)) & ~((word == 1) & (wave == 1))
    absent = (rng.random(persons) < once)[child] & (wave == child % 2)
    return data[asked & ~absent], b, drift, zeta, theta


CASES = {
    "trial": (dict(), TRIAL),
    "everybody treated": (dict(single=True), SINGLE),
    "three arms, clusters, moderated": (
        dict(arms=3),
        TRIAL | dict(cluster="school", moderators="pretest", varying="talk"),
    ),
    "one effect": (dict(), TRIAL | dict(item_effects=False, cluster="school", varying=())),
    "2pl": (dict(), TRIAL | dict(model="2pl", covariates="pretest", item_covariates="content")),
    "graded probit": (dict(most=3), TRIAL | dict(model="graded", link="probit")),
    "partial credit": (dict(single=True, most=2), SINGLE | dict(model="generalized partial credit")),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    made, options = CASES[request.param]
    spec = bh.ItemResponse(**options)
    design = spec.design(trial(persons=24, **made)[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def at_points(case, n, scale=1.0, seed=1):
    """Parameters at points as draws, with what is made of them."""
    spec, design, _, density = case
    points = np.random.default_rng(seed).normal(0, scale, (n, density.n_dim))
    return points, spec.recover(as_draws(density, points, design), design, np.random.default_rng(0))


# ---------------------------------------------------------------------------------------------- the integral


def by_brute_force(D: Arrays, draws: xr.Dataset) -> np.ndarray:
    """Log-likelihood of persons by sums over fine grids of both abilities, response by response; one draw."""
    shapes, level, mean = D.shapes(draws), D.levels(draws), D.means(draws, D.v(draws))[0].reshape(-1, 2)
    (s0, s1), r = draws["sigma_theta"].to_numpy().ravel(), draws["rho_theta"].item()
    z = np.linspace(-10, 10, 221)
    log_prior = stats.norm.logpdf(z) + np.log(z[1] - z[0])
    d, occasion = (v.ravel() for v in np.meshgrid(z, z, indexing="ij")), D.design["occasion_code"].to_numpy()
    first, second = d

    def of_rows(own, theta):
        return sum(
            log_probability(
                D,
                shapes,
                (theta + level[0, D.cell[k], D.item_code[k]])[None],
                np.full(len(theta), D.item_code[k]),
                np.full(len(theta), D.y[k]),
            )[0]
            for k in np.flatnonzero(own)
        ) + np.zeros(len(theta))

    out = np.empty(D.n_persons)
    for j in range(D.n_persons):
        before = of_rows((D.person_code == j) & (occasion == 0), mean[j, 0] + s0 * z)
        after = of_rows(
            (D.person_code == j) & (occasion == 1), mean[j, 1] + s1 * (r * first + np.sqrt(1 - r**2) * second)
        )
        inner = logsumexp(after.reshape(len(z), -1) + log_prior, axis=1)
        out[j] = logsumexp(before + log_prior + inner)
    return out


@pytest.mark.parametrize(
    ("kind", "sd", "corr"),
    [
        ("trial", (2.5, 0.7), -0.8),
        ("trial", (1.0, 1.0), 0.97),
        ("2pl", (1.0, 1.2), 0.5),
        ("graded probit", (0.8, 1.5), 0.9),
    ],
)
def test_integral_against_brute_force(kind, sd, corr):
    """SDs that differ, correlations near one and negative; twice the nodes change nothing, too few are found out."""
    made, options = CASES[kind]
    spec = bh.ItemResponse(**options)
    design = spec.design(trial(persons=8, **made)[0])
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, [np.random.default_rng(3).normal(size=density.n_dim)], design)
    draws["sigma_theta"][:], draws["rho_theta"][:] = np.array(sd), corr
    draws = spec.recover(draws, design, np.random.default_rng(0))
    mine = spec.log_likelihood(draws, design, "cluster").to_numpy().ravel()
    np.testing.assert_allclose(mine, by_brute_force(Arrays(design), draws), atol=1e-6)


def test_doubling_the_nodes():
    """Of 20 items and 200 persons, SDs of two, correlations up to .98: what the doubled rule adds is far below .01."""
    spec = bh.ItemResponse(**TRIAL, covariates="pretest")
    design = spec.design(trial(2, persons=200, items=20, sd=(2.0, 2.0))[0])
    density, D = spec.marginal(design, spec.frozen_priors(design)), Arrays(design)
    draws = as_draws(density, np.zeros((3, density.n_dim)), design)
    draws["sigma_theta"][:], draws["rho_theta"][:] = 2.0, np.array([0.3, 0.9, 0.98])
    draws = spec.recover(draws, design, np.random.default_rng(0))
    given = D.responses, D.pairs, D.means(draws, None), np.full((3, 2), 2.0), np.array([0.3, 0.9, 0.98])
    given += D.levels(draws), D.shapes(draws)
    coarse, fine, finer = (abilities_of_pairs(*given, spacing=k * SPACING)[0].sum(1) for k in (2.5, 1.0, 0.5))
    assert np.abs(fine - finer).max() < 1e-4
    assert np.abs(coarse - finer).max() > 1e-3


# ---------------------------------------------------------------------------------------------- the contract


def test_gradient_is_exact(case):
    density = case[3]
    for z in np.random.default_rng(0).normal(0, 1.0, (3, density.n_dim)):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def log_density_of_abilities(spec, design, draws, theta) -> np.ndarray:
    """log p(theta | y, parameters) of every draw, theta (draw, person, 2): responses given theta, theta, over the likelihood."""
    D = Arrays(design)
    eta = theta.reshape(len(theta), -1)[:, D.sitting_code] + D.levels(draws)[:, D.cell, D.item_code]
    out = log_probability(D, D.shapes(draws), eta, D.item_code, D.y).sum(1)
    mean = D.means(draws, D.v(draws)).reshape(theta.shape)
    for s, factor in enumerate(D.residual_factor(draws)):
        out[s] += stats.multivariate_normal.logpdf(theta[s] - mean[s], cov=factor @ factor.T).sum()
    return out - spec.log_likelihood(draws, design, "cluster").sum(D.person).to_numpy()[0]


def with_factor(values: dict) -> dict:
    r = float(values["rho_theta"])
    return values | {"_ability_factor": np.array([[1.0, 0.0], [r, np.sqrt(1 - r**2)]])}


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, theta, u, v) - log p(theta | y, u, v) = log p(y, u, v) for abilities far from any posterior."""
    spec, design, priors, density = case
    logp = spec.joint(design, priors).compile_logp(jacobian=False, mode=EVALUATE)
    points, draws = at_points(case, 3)
    theta = np.random.default_rng(2).normal(0, 2, (3, Arrays(design).n_persons, 2))
    conditional = log_density_of_abilities(spec, design, draws, theta)
    dims = {o.name: o.dims for o in density.outputs}
    for s, z in enumerate(points):
        values = with_factor(density.parameters(z)) | {"theta": theta[s]}
        joint = float(logp(joint_value(spec.joint(design, priors), values, dims)))
        assert joint - conditional[s] == pytest.approx(log_posterior(density, design, priors, z), abs=1e-6)


def test_parametrisations_of_the_joint_graph_agree(case):
    """log p(y, u, v, theta) + log |d(u, v, theta) / d noise| = log p(y, noise)."""
    spec, design, priors, density = case
    D, noise = Arrays(design), np.random.default_rng(4)
    _, draws = at_points(case, 1, seed=3)
    values = with_factor(density.parameters(np.random.default_rng(3).normal(0, 1.0, (1, density.n_dim))[0]))
    sds = np.append(values["sigma_b"], values.get("sigma_zeta", np.zeros(0)))
    factor = sds[:, None] * values["_corr_factor"]
    values["_z"] = noise.normal(size=(D.n_items, D.q))
    values["u"] = values["_z"] @ factor.T
    jacobian = D.n_items * np.linalg.slogdet(factor)[1]
    if D.untreated_after:
        values["_d"] = noise.normal(size=D.n_items)
        values["drift"] = values["sigma_drift"] * values["_d"]
        jacobian += D.n_items * np.log(values["sigma_drift"])
    if D.cluster:
        factor = values["sd"][:, None] * values["_cluster_factor"]
        values["_v"] = noise.normal(size=(D.n_clusters, len(factor)))
        values["v"] = values["_v"] @ factor.T
        jacobian += D.n_clusters * np.linalg.slogdet(factor)[1]
    factor = D.residual_factor(draws)[0]
    values["_eps"] = noise.normal(size=(D.n_persons, 2))
    mean = D.means(draws, values["v"][None] if D.cluster else None)[0].reshape(-1, 2)
    values["theta"] = mean + values["_eps"] @ factor.T
    jacobian += D.n_persons * np.linalg.slogdet(factor)[1]
    dims = {o.name: o.dims for o in density.outputs} | {"_z": (D.item, "varying")}
    value = []
    for centred in (True, False):
        model = spec.joint(design, priors, centred=centred)
        value.append(float(model.compile_logp(mode=EVALUATE)(joint_value(model, values, dims))))
    assert value[0] + jacobian == pytest.approx(value[1], abs=1e-7)


def test_drawn_abilities_have_their_distribution(case, request):
    """Importance-weighted moments of the conditional distribution, and those of many exact draws."""
    if request.node.callspec.params["case"] not in ("trial", "graded probit", "partial credit"):
        pytest.skip("the same integral")
    spec, design, _, _ = case
    points, draws = at_points(case, 1, scale=0.5)
    D, n = Arrays(design), 2000
    many = as_draws(case[3], np.repeat(points, n, axis=0), design)
    theta = spec.recover(many, design, np.random.default_rng(1))["theta"].to_numpy()[0]
    proposal = (
        D.means(draws, D.v(draws)).reshape(-1, 2)
        + np.random.default_rng(2).normal(size=(10_000, D.n_persons, 2)) @ D.residual_factor(draws)[0].T
    )
    eta = proposal.reshape(len(proposal), -1)[:, D.sitting_code] + D.levels(draws)[0, D.cell, D.item_code]
    shapes = tuple(np.repeat(v, len(eta), axis=0) for v in D.shapes(draws))
    log = log_probability(D, shapes, eta, D.item_code, D.y)
    weight = np.stack([log[:, D.person_code == j].sum(1) for j in range(D.n_persons)], axis=1)
    weight = np.exp(weight - weight.max(0))
    weight /= weight.sum(0)
    mean = np.einsum("sj,sjt->jt", weight, proposal)
    sd = np.sqrt(np.einsum("sj,sjt->jt", weight, (proposal - mean) ** 2))
    error = sd * np.sqrt((weight**2).sum(0)[:, None] + 1 / n)
    assert np.abs((theta.mean(0) - mean) / error).max() < 4.5
    assert np.abs(theta.std(0) / sd - 1).max() < 0.1
    both = np.einsum("sj,sjt->jt", weight, np.prod(proposal - mean, axis=2, keepdims=True))[:, 0] / sd.prod(1)
    drawn = ((theta - theta.mean(0)) / theta.std(0)).prod(2).mean(0)
    assert np.abs(drawn - both).max() < 0.12


def test_every_free_variable_and_the_treatment_reach_the_responses(case):
    spec, design, priors, _ = case
    model = spec.joint(design, priors)
    names = {v.name for v in ancestors(model.observed_RVs)}
    assert {rv.name for rv in model.free_RVs} <= names
    assert "arm_code" in names
    for rv in model.unobserved_RVs:
        assert rv.ndim == 0 or rv.name.startswith("_") or model.named_vars_to_dims.get(rv.name), rv.name


def test_arm_and_condition_are_one_design():
    """The arm that a person was assigned to, or the condition on each occasion: the same numbers."""
    data = trial(once=0.0)[0]
    by_arm = bh.ItemResponse(**TRIAL).design(data)
    by_condition = bh.ItemResponse(**ROLES, treatment="now", reference="control").design(data)
    for name in ("y", "arm_code", "occasion_code", "person_arm_code"):
        np.testing.assert_array_equal(by_arm[name], by_condition[name])


def test_rows_and_labels_do_not_matter():
    spec = bh.ItemResponse(**TRIAL, covariates="pretest")
    data = trial(persons=24)[0]
    again = data.sample(frac=1, random_state=1)
    again["child"] = "k" + again["child"]
    again["wave"] = pd.Categorical(again["wave"].map({0: "pre", 1: "post"}), ["pre", "post"], ordered=True)
    density, priors = [], spec.frozen_priors(spec.design(data))
    for frame in (data, again):
        design = spec.design(frame)
        relabelled = dict(zip(spec.frozen_priors(design), priors.values(), strict=True))
        density.append(spec.marginal(design, relabelled))
    n = density[0].n_top
    scale = density[0].floats[density[0].at + n :][: n * n].reshape(n, n)
    same = density[1].with_coordinates(density[0].floats[density[0].at : density[0].at + n], scale)
    z = np.zeros(density[0].n_dim)
    z[:n] = np.random.default_rng(1).normal(size=n)
    assert same(z)[0] == pytest.approx(density[0](z)[0], abs=1e-4 * abs(density[0](z)[0]))


# ---------------------------------------------------------------------------------------------- fits


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    made = trial(4, persons=400, items=16, arms=2, slope=0.0, spread=(0.6, 0.4), once=0.2)
    path = tmp_path_factory.mktemp("fits") / "fit"
    return made, bh.fit(bh.ItemResponse(**TRIAL), made[0], draws=400, tune=400, seed=2, progress=False, path=path), path


def test_true_values_are_recovered(fitted):
    """Change with and without treatment, of persons and of items, abilities seen and unseen: mean squared z near one."""
    (_, b, drift, zeta, theta), fit, _ = fitted
    assert fit.diagnosis.ok
    p, n = fit.posterior, 400
    items = [int(v[1:]) for v in p["word"].to_numpy()]
    persons = [int(v[1:]) for v in p["child"].to_numpy()]
    b, drift, effect = b[items], drift[items], zeta[1, items] + 0.6
    level, shift = p["b"].mean("word"), p["drift"].mean("word")
    values = [
        (p["beta0"] + level, 0.2 + b.mean()),
        (p["beta_time"] + shift, 0.3 + drift.mean()),
        (p["effect"].mean("word"), effect.mean()),
        (p["sigma_theta"], [1.0, 1.3]),
        (p["rho_theta"], 0.6),
        (p["sigma_drift"], 0.4),
        (p["b"] - level, b - b.mean()),
        (p["drift"] - shift, drift - drift.mean()),
        (p["effect"] - p["effect"].mean("word"), (effect - effect.mean())[:, None]),
    ]
    z = [z_scores(x, truth) for x, truth in values]
    z = np.concatenate(z)
    assert np.abs(z).max() < 4
    assert 0.6 < np.sqrt((z**2).mean()) < 1.4
    of_persons = z_scores(p["theta"] + level, theta[persons] + b.mean()).reshape(n, 2)
    assert np.sqrt((of_persons**2).mean(0)) == pytest.approx(np.ones(2), abs=0.15)


def z_scores(draws, truth) -> np.ndarray:
    mean, sd = draws.mean(("chain", "draw")).to_numpy(), draws.std(("chain", "draw")).to_numpy()
    return ((mean - np.broadcast_to(truth, mean.shape)) / sd).ravel()


def test_ignoring_drift_would_call_it_an_effect_of_treatment(fitted):
    """What all arms have in common is no effect: items gain with treatment what they gain beyond the untreated."""
    (_, _, drift, zeta, _), fit, _ = fitted
    own = fit.posterior["zeta"].median(("chain", "draw"))
    items = [int(v[1:]) for v in own["word"].to_numpy()]
    on_both = np.linalg.lstsq(np.column_stack([np.ones(16), zeta[1, items], drift[items]]), own, rcond=None)[0]
    assert on_both[1] > 0.4
    assert abs(on_both[2]) < 0.4


def test_estimands_by_hand(fitted):
    _, fit, _ = fitted
    p, found = fit.posterior, {e.name: e.draws(fit.posterior, fit.design) for e in fit.spec.estimands(fit.design)}
    xr.testing.assert_allclose(found["ATE"].squeeze(drop=True), p["beta1"])
    ratio = (found["ATE"] / found["standardised ATE"]).squeeze(drop=True)
    xr.testing.assert_allclose(ratio, p["sigma_theta"].isel(wave=0, drop=True))
    k, rng = 7, np.random.default_rng(0)
    one = p.isel(chain=0, draw=k)
    noise = one["sigma_theta"].to_numpy()[1] * rng.normal(size=200_000)
    scores = []
    for zeta in (0.0, one["zeta"].to_numpy()):
        mean = one["beta0"] + one["beta_time"] + one["beta1"] * (np.ndim(zeta) > 0)
        scores.append(expit(float(mean) + noise[:, None] + (one["b"] + one["drift"]).to_numpy() + zeta).sum(1))
    difference = scores[1] - scores[0]
    mine = found["expected score difference"].isel(chain=0, draw=k).item()
    assert mine == pytest.approx(difference.mean(), abs=4 * difference.std() / 200_000**0.5)


def test_tables_checks_and_round_trip(fitted, tmp_path):
    _, fit, path = fitted
    table = bh.effects(fit, meaningful=0.2)
    assert np.isfinite(table[["estimate", "mean", "lower", "upper"]].to_numpy()).all()
    assert len(bh.item_effects(fit)) == 16
    assert bh.item_fit(fit, draws=50)["extreme"].sum() < 6
    again = bh.load(path)
    xr.testing.assert_identical(again.posterior, fit.posterior)
    checks = bh.predictive_checks(fit, draws=100)
    assert {"SD of gains of persons", "mean in control, 1", "SD of item differences"} <= set(checks["statistic"])
    assert checks["p"].between(0.01, 0.99).all()
    assert np.isfinite(bh.loo(fit).elpd)
    assert "rho_theta" in set(bh.summary(fit)["parameter"])
    page = bh.report(fit, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Effects by item" in page
    assert "persons (" in page


def test_outcome_by_arm_and_occasion(fitted):
    """The arm that persons were assigned to on both occasions, and room for all panels on the axis that they share."""
    _, fit, _ = fitted
    figure = bh.plot_outcome(fit, "wave")
    heights = [[bar.get_height() for bar in ax.patches] for ax in figure.axes]
    assert [len(v) for v in heights] == [2, 2]
    assert figure.axes[0].get_ylim()[1] > np.max(heights)


def test_responses_from_the_graph():
    """Simulated scores go with the abilities of the occasion that they were made from."""
    spec = bh.ItemResponse(**TRIAL)
    data = trial(persons=300, items=20, once=0.0)[0]
    given = {"sigma_zeta": bh.HalfNormal(0.3)} | {f"sigma_theta[{t}]": bh.LogNormal(0.5, 0.1) for t in (0, 1)}
    truth, new = bh.simulate(spec, data, given, seed=3)[0]
    assert truth["theta"].dims == ("child", "wave")
    score = new.groupby(["child", "wave"])["right"].mean().unstack()
    assert len(new) == len(data)
    theta = truth["theta"].to_pandas().loc[score.index]
    assert stats.spearmanr(score[0], theta["0"])[0] > 0.6
    assert stats.spearmanr(score[1], theta["1"])[0] > 0.6


# ---------------------------------------------------------------------------------------------- awkward data


def refused(message, data, **options):
    with pytest.raises((bh.DataError, bh.SpecError), match=message):
        bh.ItemResponse(**TRIAL | options).design(data)


def test_what_is_refused():
    data = trial()[0]
    refused("are 3 .* two, before and after", pd.concat([data, data.assign(wave=2)], ignore_index=True))
    refused("are 1 ", data[data["wave"] == 0])
    refused("Text has no order", data.assign(wave=np.where(data["wave"] == 1, "post", "pre")))
    refused("not available for two occasions", data, items="fixed")
    refused("not available for two occasions", data, sigma_by_arm=True)
    refused("column has two roles", data, occasion="arm")
    refused("on an occasion of 'wave'", pd.concat([data, data.iloc[:3]], ignore_index=True))
    crossed = data.assign(arm=np.where((data["wave"] == 0) == (data["arm"] == "drug"), "drug", "control"))
    refused("Crossover trials are not available", crossed)
    first = data["word"].isin(["w0", "w2", "w3"]) == (data["wave"] == 0)
    refused("were answered both before and after", data[first])
    odd = data["child"].str[1:].astype(int) % 2
    refused("answered on both occasions", data[odd == data["wave"]], treatment="school", reference="s0")
    with pytest.raises(bh.DataError, match="occasion="):
        bh.ItemResponse(**{k: v for k, v in TRIAL.items() if k != "occasion"}).design(data)


def test_analyses_that_take_one_occasion_say_so(fitted):
    _, fit, _ = fitted
    for call in (bh.person_fit, bh.effect_scales, bh.plot_item_curves, bh.plot_item_information):
        with pytest.raises(bh.SpecError, match="two occasions"):
            call(fit)


def test_who_was_seen_once_is_kept():
    data = trial(once=0.5, seed=3)[0]
    design = bh.ItemResponse(**TRIAL).design(data)
    assert design.sizes["child"] == data["child"].nunique() == 60
    assert Arrays(design).pairs.single_count.sum() > 20
    facts = dict(bh.ItemResponse(**TRIAL).describe(design).facts)
    both = data.groupby("child")["wave"].nunique()
    assert facts["Persons seen on both occasions of wave"].startswith(f"{(both == 2).sum()};")
