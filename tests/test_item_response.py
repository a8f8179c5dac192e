"""ItemResponse: the integral against brute force, the contract, exact draws, recovery, reference posteriors, awkward data."""

import dataclasses
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from cases import EVALUATE
from scipy import stats
from scipy.special import expit

import bayeshte as bh
from bayeshte import store
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_averages import average_score
from bayeshte.marginal import abilities as integrals
from bayeshte.marginal.density import is_even
from bayeshte.marginal.kernels.item_coordinates import HEADER
from bayeshte.marginal.responses import responses
from bayeshte.summary import rows

DATA = Path(__file__).parents[2] / "shared" / "data"
ROLES = dict(person="child", item="word", response="right", treatment="arm", reference="control")


def trial(seed=0, persons=60, items=6, sigma=1.0, rho=0.5, interaction=0.0, missing=0.0, sigma_zeta=0.5):
    """Responses of persons in two arms to items, drawn by NumPy from the equations, and the effects of the items (item, 2)."""
    rng = np.random.default_rng(seed)
    T, pretest = np.arange(persons) % 2, rng.normal(size=persons)
    cov = rho * 1.2 * sigma_zeta
    u = rng.multivariate_normal([0, 0], [[1.44, cov], [cov, sigma_zeta**2]], size=items)
    theta = 0.2 + 0.4 * T + 0.6 * pretest + interaction * T * pretest + sigma * rng.normal(size=persons)
    chance = expit(theta[:, None] + u[:, 0] + u[:, 1] * T[:, None])
    y = (rng.random(chance.shape) < chance).astype(int)
    child, word = np.indices(y.shape).reshape(2, -1)
    data = pd.DataFrame(
        {
            "child": [f"c{k}" for k in child],
            "word": [f"w{k}" for k in word],
            "right": y.ravel(),
            "arm": np.where(T == 1, "drug", "control")[child],
            "pretest": pretest[child],
            "age": np.round(6 + pretest)[child],
        }
    )
    data = data[rng.random(len(data)) >= missing]
    return data, u


SPECS = {
    "A": bh.ItemResponse(**ROLES),
    "B": bh.ItemResponse(**ROLES, moderators="pretest", item_effects=False),
    "C": bh.ItemResponse(**ROLES, covariates="age", moderators="pretest"),
    "odd priors": bh.ItemResponse(
        **ROLES,
        covariates="pretest",
        priors={
            "beta1": bh.Uniform(-5, 5),
            "sigma_b": bh.Gamma(2, 1),
            "sigma_zeta": bh.Exponential(2),
            "sigma_theta": bh.LogNormal(0, 1),
            "rho": bh.LKJ(1),
        },
    ),
}


@pytest.fixture(params=SPECS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(trial(persons=14, missing=0.2)[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def as_draws(density, points) -> xr.Dataset:
    """Parameters at several points as one chain of draws."""
    values = [density.parameters(z) for z in points]
    data = {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    return xr.Dataset(data, {"chain": [0], "draw": np.arange(len(points))})


# ---------------------------------------------------------------------------------------------- the integral


def by_brute_force(x, person, item, y, beta, sigma, easiness) -> float:
    """Log-likelihood by a sum over 20,001 abilities within 12 SDs of each person's mean, response by response."""
    total = 0.0
    for j, mean in enumerate(x @ beta):
        own = person == j
        theta = np.linspace(mean - 12 * sigma, mean + 12 * sigma, 20_001)
        eta = theta[:, None] + easiness[int(x[j, 1]), item[own]]
        log = (y[own] * eta - np.logaddexp(0, eta)).sum(1) + stats.norm.logpdf(theta, mean, sigma)
        total += log.max() + np.log(np.exp(log - log.max()).sum() * (theta[1] - theta[0]))
    return total


@pytest.mark.parametrize(
    ("items", "sigma", "covariate", "missing"),
    [(4, 6.0, False, 0.0), (30, 2.5, False, 0.0), (200, 2.5, False, 0.1), (4, 6.0, True, 0.3), (40, 0.05, True, 0.2)],
)
def test_integral_against_brute_force(items, sigma, covariate, missing):
    rng = np.random.default_rng(items)
    n = 24
    x = np.column_stack([np.ones(n), np.arange(n) % 2, *([rng.normal(size=n)] if covariate else [])])
    person, item = np.indices((n, items)).reshape(2, -1)
    beta, easiness = rng.normal(0, 0.5, x.shape[1]), rng.normal(0, 1.5, (2, items))
    theta = x @ beta + sigma * rng.normal(size=n)
    y = (rng.random(n * items) < expit(theta[person] + easiness[x[person, 1].astype(int), item])).astype(float)
    y[person < 2], y[(person >= 2) & (person < 4)] = 1, 0  # all right, none right, in both arms
    keep = rng.random(len(y)) >= missing
    given = x, person[keep], item[keep], y[keep]
    data = responses(x[:, 1].astype(int), *given, (2, items))

    def ours(spacing):
        at = beta[None], np.full((1, 2), sigma), easiness[None]
        return float(integrals.abilities(data, *at, spacing=spacing)[0][0] @ data.count + (data.right * easiness).sum())

    exact = by_brute_force(*given, beta, sigma, easiness)
    assert ours(integrals.SPACING) == pytest.approx(exact, abs=1e-6)
    assert ours(integrals.SPACING / 2) == pytest.approx(ours(integrals.SPACING), abs=1e-6)
    assert abs(ours(2.5) - exact) > 1e-6  # the test can tell: nodes that are too few are found out


def test_doubling_the_nodes_of_many_persons():
    """20,000 persons, 60 items, ability SD 3: the total moves by less than 0.01 (it moves by 1e-6)."""
    data, u = trial(3, persons=2000, items=60, sigma=3.0)
    D = Arrays(SPECS["A"].design(data))
    counts = dataclasses.replace(D.responses, count=10 * D.responses.count)
    at = (
        np.array([[0.2, 0.4]]),
        np.full((1, 2), 3.0),
        np.stack([u[:, 0], u.sum(1)])[None],
    )
    totals = [integrals.abilities(counts, *at, spacing=s)[0][0] @ counts.count for s in (0.9, 0.45)]
    assert abs(totals[0] - totals[1]) < 1e-4


def test_small_ability_sd_is_continuous(case):
    """Below the SD from which on the grid is not refined the log density goes on smoothly, also through zero."""
    spec, design, _, _ = case
    priors = spec.frozen_priors(design) | {"sigma_theta": bh.HalfNormal(1)}
    density = spec.marginal(design, priors)
    d, p = density.n_top, Arrays(design).full.shape[1]
    start = density.floats[density.at : density.at + d].copy()
    rest = np.zeros(density.n_dim)

    def at(sigma):
        start[p + Arrays(design).q] = sigma
        out = density.with_coordinates(start, np.eye(d))(rest)
        return out[0], out[1][p + Arrays(design).q]

    sigmas = np.array([2e-2, 1e-2, 5e-3, 1.1e-3, 9e-4, 5e-4, 0.0])
    values = np.array([at(s)[0] for s in sigmas])
    slope = (values[0] - values[-1]) / sigmas[0] ** 2
    np.testing.assert_allclose(values, values[-1] + slope * sigmas**2, atol=1e-5)
    assert at(-0.3) == pytest.approx((at(0.3)[0], -at(0.3)[1]))


# ---------------------------------------------------------------------------------------------- the contract


def test_gradient_is_exact(case):
    density = case[3]
    for z in np.random.default_rng(0).normal(0, 1.2, (3, density.n_dim)):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def log_posterior(density, priors, z) -> float:
    """The kernel's log density at z as one of the parameters, in the measure of PyMC's distributions; Jacobian numerically."""

    def free(z):
        values = density.parameters(z)
        corr = values.pop("_corr_factor")
        return np.concatenate([*(v.ravel() for v in values.values()), corr[np.tril_indices(len(corr), -1)]])

    coarse, fine = (
        np.column_stack([(free(z + h) - free(z - h)) / (2 * e) for h in e * np.eye(density.n_dim)])
        for e in (1e-4, 5e-5)
    )
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    n = len(priors) - ("rho" in priors)
    transforms = dict(zip([v for v in priors if v != "rho"], density.ints[HEADER : HEADER + n], strict=True))
    twice = sum(name.startswith("sigma") and is_even(priors[name]) and code == 3 for name, code in transforms.items())
    constant = np.linalg.slogdet((4 * fine - coarse) / 3)[1] - np.linalg.slogdet(scale)[1]
    return density(z)[0] + twice * np.log(2) - constant


def joint_value(model: pm.Model, values: dict) -> dict:
    """Values in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        value, transform = np.asarray(values[rv.name]), model.rvs_to_transforms[rv]
        if transform is not None:
            value = transform.forward(value, *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point


def log_density_of_abilities(design, draws, theta) -> np.ndarray:
    """log p(theta | y, parameters) of every draw, by Bayes: responses given theta, theta, over the marginal likelihood."""
    D = Arrays(design)
    spec = bh.ItemResponse(**ROLES)
    given = draws.assign(theta=(("chain", "draw", D.person), theta[None]))
    of_rows = spec.log_likelihood(given, design, "row").sum("row").to_numpy()[0]
    mean = D.beta(draws) @ D.full.T
    prior = stats.norm.logpdf(theta, mean, draws["sigma_theta"].to_numpy()[0][:, None]).sum(1)
    return of_rows + prior - spec.log_likelihood(draws, design, "cluster").sum(D.person).to_numpy()[0]


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, theta, u) - log p(theta | y, u) = log p(y, u) for abilities far from any posterior."""
    spec, design, priors, density = case
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    points = np.random.default_rng(1).normal(0, 1.2, (12, density.n_dim))
    draws = spec.recover(as_draws(density, points), design, np.random.default_rng(0))
    theta = np.random.default_rng(2).normal(0, 3, (12, Arrays(design).n_persons))
    conditional = log_density_of_abilities(design, draws, theta)
    for s, z in enumerate(points):
        joint = float(logp(joint_value(model, density.parameters(z) | {"theta": theta[s]})))
        assert joint - conditional[s] == pytest.approx(log_posterior(density, priors, z), abs=1e-6)


def test_parametrisations_of_the_joint_graph_agree(case):
    spec, design, priors, density = case
    D = Arrays(design)
    z = np.random.default_rng(3).normal(size=density.n_dim)
    values = density.parameters(z)
    draws = as_draws(density, [z])
    names = ("sigma_b", "sigma_zeta")[: D.q]
    factor = np.diag([float(values[v]) for v in names]) @ values["_corr_factor"]
    noise, eps = (
        np.random.default_rng(4).normal(size=(D.n_items, D.q)),
        np.random.default_rng(5).normal(size=D.n_persons),
    )
    theta = (D.beta(draws.assign(b=draws["u"][..., 0])) @ D.full.T)[0] + values["sigma_theta"] * eps
    centred, other = spec.joint(design, priors), spec.joint(design, priors, centred=False)
    a = centred.compile_logp(mode=EVALUATE)(joint_value(centred, values | {"u": noise @ factor.T, "theta": theta}))
    b = other.compile_logp(mode=EVALUATE)(joint_value(other, values | {"_z": noise, "_eps": eps}))
    jacobian = D.n_items * np.linalg.slogdet(factor)[1] + D.n_persons * np.log(values["sigma_theta"])
    assert float(a) + jacobian == pytest.approx(float(b), abs=1e-7)


def test_rows_and_labels_do_not_matter(case):
    """The likelihood of other rows, ids as numbers, at the same values."""
    spec, design, _, density = case
    draws = spec.recover(as_draws(density, [np.zeros(density.n_dim)]), design, np.random.default_rng(0))
    data, _ = trial(persons=14, missing=0.2)
    data["child"] = data["child"].str[1:].astype(int)
    again = spec.design(data.sample(frac=1, random_state=1))
    labels = design["word"].to_numpy().tolist()
    place = draws.isel(word=[labels.index(v) for v in again["word"].to_numpy()]).drop_vars("child")
    a = spec.log_likelihood(draws, design, "cluster").sum("child").item()
    assert spec.log_likelihood(place, again, "cluster").sum("child").item() == pytest.approx(a, abs=1e-9)


def test_intervening_on_the_graph_gives_the_expected_responses():
    """pm.do(arm) in the joint graph, everything else at a draw, is `expected` of new persons averaged over the residual."""
    spec, data = SPECS["C"], trial(persons=30)[0]
    design = spec.design(data)
    priors = spec.frozen_priors(design)
    density = spec.marginal(design, priors)
    draws = spec.recover(as_draws(density, [np.zeros(density.n_dim)]), design, np.random.default_rng(0))
    values = {k: v.to_numpy()[0, 0] for k, v in draws.data_vars.items()} | density.parameters(np.zeros(density.n_dim))
    model, n = spec.joint(design, priors), design.sizes["child"]
    fixed = {rv.name: values[rv.name] for rv in model.free_RVs if rv.name != "theta"}
    scores = []
    for arm in (0, 1):
        done = pm.do(model, fixed | {"arm_code": np.full(n, arm, "int32")})
        y = pm.draw(done["y"], draws=4000, random_seed=arm, mode=EVALUATE)
        scores.append(y.mean(0))
    for arm, label in enumerate(("control", "drug")):
        mine = spec.expected(draws, design, arm=label, clusters="new").to_numpy().ravel()
        z = (scores[arm] - mine) / np.sqrt(mine * (1 - mine) / 4000)
        assert np.abs(z).max() < 4.5
        assert 0.7 < np.sqrt((z**2).mean()) < 1.3
    difference = next(e for e in spec.estimands(design) if e.name == "expected score difference").draws(draws, design)
    assert difference.item() == pytest.approx((scores[1] - scores[0]).mean() * design.sizes["word"], abs=0.03)


# ---------------------------------------------------------------------------------------------- draws and effects


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
        as_draws(density, np.random.default_rng(0).normal(size=(3, density.n_dim))), design, np.random.default_rng(0)
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


# ---------------------------------------------------------------------------------------------- data as they come

TRIAL = trial(persons=20, items=5)[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: pd.concat([d, d.iloc[:3]], ignore_index=True), bh.DataError, "3 rows repeat a pair of 'child' and 'word'"),
        (lambda d: d.assign(right=d["right"].where(d.index > 1, 2)), bh.DataError, "2 of 100 rows are not: 2 in 2"),
        (lambda d: d.assign(right=np.where(d["right"] == 1, "Y", "N")), bh.DataError, "must be 0/1 or boolean; 100 of 100"),
        (lambda d: d.assign(right=1), bh.DataError, "constant"),
        (lambda d: d.assign(arm=np.where(d.index % 2, "drug", "control")), bh.DataError, "'arm' varies within 20 of 20"),
        (lambda d: d.assign(pretest=d.index * 1.0), bh.DataError, "'pretest' of the formulas varies within 20 of 20 persons"),
        (lambda d: d.assign(arm="control"), bh.DataError, "one arm only"),
        (lambda d: d.assign(word="w1", child=d.index.astype(str)), bh.DataError, "one of the items only"),
        (lambda d: d.assign(pretest=d["pretest"].where(d["child"] != "c2")), bh.DataError, "Missing values: 'pretest' in 5"),
        (lambda d: d.assign(right=np.nan), bh.DataError, "missing in all 100 rows"),
        (lambda d: d.drop(columns="word"), bh.DataError, "'word' is not in the data"),
        (lambda d: d.assign(word=d["word"] + d["arm"]), bh.DataError, "0 of 10 items of 'word' were answered in both arms"),
        (lambda d: d.assign(pretest=1.0), bh.DataError, "constant"),
        (lambda d: d.iloc[:0], bh.DataError, "no rows"),
    ],
)  # fmt: skip
def test_bad_data(change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        bh.ItemResponse(**ROLES, covariates="pretest").design(change(TRIAL))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "3pl"}, "write one of 'rasch', '2pl'"),
        ({"link": "cloglog"}, "write 'logit' or 'probit'"),
        ({"person": "word"}, "two roles"),
        ({"item": "theta"}, "a name the model uses"),
        ({"covariates": None}, "a formula as text"),
        ({"item_effects": "yes"}, "True or False"),
        ({"priors": 3}, "'default' or a mapping"),
        ({"treatment": ""}, "name one column"),
    ],
)
def test_bad_specification(options, message):
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        bh.ItemResponse(**ROLES | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priors": "mplus"}, "'default' or a mapping"),
        ({"priors": {"beta9": bh.Normal(0, 1)}}, "'beta9' is not a parameter"),
        ({"priors": {"rho": bh.Normal(0, 1)}}, "wrong support"),
        ({"covariates": "arm"}, "has a role of its own"),
        ({"reference": "placebo"}, "not an arm"),
    ],
)
def test_bad_specification_for_these_data(options, message):
    spec = bh.ItemResponse(**ROLES | options)
    with pytest.raises(bh.SpecError, match=re.escape(message)):
        spec.frozen_priors(spec.design(TRIAL))


def test_awkward_data_are_analysed_and_counted():
    """All or none right, items answered one way or in one arm only, missing responses, numbers as ids, boolean responses."""
    d = trial(4, persons=60, items=8, missing=0.1)[0].reset_index(drop=True)
    d["child"], d["word"] = d["child"].str[1:].astype(int), d["word"].str[1:].astype(float)
    d["right"] = d["right"].astype(float)
    d.loc[d["child"] == 3, "right"], d.loc[d["child"] == 4, "right"] = 1.0, 0.0
    d.loc[d["word"] == 1, "right"] = 1.0
    d = d[~((d["word"] == 2) & (d["arm"] == "drug"))]
    d.loc[d.index[:7], "right"] = np.nan
    before = d.copy(deep=True)
    spec = bh.ItemResponse(**ROLES)
    fit = bh.fit(spec, d, seed=1, progress=False)
    assert d.equals(before)
    assert fit.diagnosis.ok
    assert fit.design.sizes["row"] == len(d) - 7
    assert "2" in fit.posterior["word"].to_numpy()  # not 2.0
    facts = dict(spec.describe(fit.design).facts)
    assert facts["Items with one answer only"].startswith("1 of 8")
    assert facts["Items seen in one arm only"].startswith("1 of 8")
    assert "right: 7" in facts["Responses right"]
    one_arm = bh.cluster_effects(fit).set_index("cluster")["one_arm"]
    assert one_arm["2"]
    assert one_arm.sum() == 1
    sd = fit.posterior["zeta"].std(("chain", "draw"))
    assert float(sd.sel(word="2")) > float(sd.median())  # an item that was seen in one arm is known least
    same = spec.design(d.assign(right=d["right"].map({1.0: True, 0.0: False})))
    np.testing.assert_array_equal(same["y"], fit.design["y"])


def test_few_answers_make_no_divergences():
    """No spread of effects, four items, abilities nearly alike: what glmer fits on the boundary."""
    data, _ = trial(9, persons=150, items=4, sigma=0.1, sigma_zeta=0.01, rho=0.0)
    fit = bh.fit(bh.ItemResponse(**ROLES), data, draws=500, seed=4, progress=False)
    assert int(fit.draws["sample_stats"]["diverging"].sum()) == 0
    assert fit.diagnosis.ok
    assert float(fit.posterior["sigma_zeta"].median()) < 0.7


# ---------------------------------------------------------------------------------------------- reference posteriors


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder with reference data is not beside the repository")
@pytest.mark.parametrize(
    ("file", "stan", "columns", "extra"),
    [
        ("verbagg/verbagg_long.csv", "verbagg/stan_male_ilhte.csv", ("id", "r2", "Gender", "F"), "male"),
        (
            "pragmatic_scales/pragmatic_scales_data.csv",
            "pragmatic_scales/stan_pragmatic_ilhte.csv",
            ("subid", "correct", "condition", "No Label"),
            "treat",
        ),
    ],
)
def test_agrees_with_stan(file, stan, columns, extra):
    """The priors of the .txt files beside the data; every item's easiness and effect included."""
    person, response, treatment, reference = columns
    data = pd.read_csv(DATA / file).replace({"r2": {"Y": 1, "N": 0}})
    data[response] = data[response].astype(int)
    priors = {"beta0": bh.Normal(0, 2), "beta1": bh.Normal(0, 2), "rho": bh.LKJ(2)}
    priors |= {v: bh.HalfNormal(1) for v in ("sigma_theta", "sigma_b", "sigma_zeta")}
    spec = bh.ItemResponse(
        person=person, item="item", response=response, treatment=treatment, reference=reference, priors=priors
    )
    p = bh.fit(spec, data, seed=1, draws=2500, progress=False).posterior
    ref = pd.read_csv(DATA / stan).set_index("variable")
    items = [str(v) for v in p["item"].to_numpy()]
    names = {
        "beta0": ["b_Intercept"],
        "beta1": [f"b_{extra}"],
        "sigma_theta": ["sd_id__Intercept"],
        "sigma_b": ["sd_item__Intercept"],
        "sigma_zeta": [f"sd_item__{extra}"],
        "rho": [f"cor_item__Intercept__{extra}"],
        "b": [f"r_item[{v},Intercept]" for v in items],
        "zeta": [f"r_item[{v},{extra}]" for v in items],
    }
    z = []
    for name, labels in names.items():
        mine, theirs = rows(p[name]), ref.loc[labels]
        error = np.hypot(mine["posterior_sd"] / np.sqrt(mine["ess_bulk"]), theirs["mcse_mean"].to_numpy())
        z.extend((mine["mean"] - theirs["mean"].to_numpy()) / error)
        np.testing.assert_allclose(mine["posterior_sd"], theirs["sd"], rtol=0.08)
    assert np.abs(z).max() < 4
    assert 0.4 < np.sqrt(np.mean(np.square(z))) < 1.6


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder with reference data is not beside the repository")
def test_fixed_effects_of_glmer_and_a_regular_posterior_where_it_is_singular():
    """lme4 1.1-31, Laplace: reference.txt and lme4_reference.txt; the four items of the children's test leave it with rho = 1."""
    aggression = pd.read_csv(DATA / "verbagg/verbagg_long.csv")
    aggression["r2"] = (aggression["r2"] == "Y").astype(int)
    roles = dict(person="id", item="item", response="r2", treatment="Gender", reference="F")
    children = pd.read_csv(DATA / "pragmatic_scales/pragmatic_scales_data.csv")
    children["correct"] = children["correct"].astype(int)
    test = dict(
        person="subid", item="item", response="correct", treatment="condition", reference=children["condition"].min()
    )
    test["reference"] = "No Label"
    cases = [
        (roles, aggression, {"beta0": -0.2344, "beta1": 0.3053}),
        (test, children, {"beta0": -1.4399, "beta1": 2.2693}),
    ]
    for given, data, published in cases:
        fit = bh.fit(bh.ItemResponse(**given), data, seed=1, progress=False)
        table = bh.summary(fit).set_index("parameter")
        for name, value in published.items():
            assert abs(table.loc[name, "estimate"] - value) < 0.25 * table.loc[name, "posterior_sd"]
    assert fit.diagnosis.ok  # the children's test
    rho = table.loc["rho"]
    assert rho["upper"] < 0.999
    assert rho["lower"] < 0.5
