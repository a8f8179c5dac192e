"""EffectMixture: brute force, the contract, one class, what is drawn back, every variant fitted."""

import dataclasses
import itertools
from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from cases import EVALUATE
from mixture_cases import ROLES, SPECS, as_draws, joint_value, random_points, trial
from scipy import stats
from scipy.special import log_softmax, logsumexp

import bayeshte as bh
from bayeshte import store
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_classes import probabilities, renumbered, terms, unit_log_likelihood
from bayeshte.marginal import mixture, mixture_draws, relabel
from bayeshte.marginal.density import is_even


@pytest.fixture(params=SPECS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def log_posterior(spec, design, density, priors, z) -> float:
    """The kernel's log density at z as one of the parameters themselves, in the measure of PyMC's distributions."""

    def free(z):
        values = density.parameters(z)
        values.pop("_pi", None)
        corr = values.pop("_corr_factor")
        corr = corr.reshape(corr.size // max(1, corr.shape[-1] ** 2), *corr.shape[-2:])
        if "pi" in values:
            values["pi"] = values["pi"][:-1]
        for name in {"alpha", "u_membership"} & {*values}:  # the density of PyMC's ZeroSumNormal is one on the subspace
            values[name] = values[name] @ mixture.basis(values[name].shape[-1])
        lower = np.tril_indices(corr.shape[-1], -1)
        return np.concatenate([*(v.ravel() for v in values.values()), *(c[lower] for c in corr)])

    jacobian = np.column_stack([(free(z + h) - free(z - h)) / 2e-4 for h in 1e-4 * np.eye(density.n_dim)])
    fine = np.column_stack([(free(z + h) - free(z - h)) / 1e-4 for h in 0.5e-4 * np.eye(density.n_dim)])
    jacobian = (4 * fine - jacobian) / 3
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    D = Arrays(design)
    blocks = D.classes if "class" in D.with_class("sd", ()) else 1
    even = [name for name, prior in priors.items() if name.startswith("sd") and is_even(prior)]
    twice = sum(1 if name == "sd_membership" else blocks for name in even)
    return density(z)[0] + twice * np.log(2) - np.linalg.slogdet(jacobian)[1] + np.linalg.slogdet(scale)[1]


# ---------------------------------------------------------------------------------------------- the density


def test_gradient_is_exact(case):
    density = case[3]
    for z in random_points(density, 3):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, u, c, theta) - log p(u, c | y, theta) = log p(y, theta), for arbitrary classes c and random effects u."""
    spec, design, priors, density = case
    model = replace(spec, order=None).joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    D, rng = Arrays(design), np.random.default_rng(1)
    points = random_points(density, 20)
    draws = as_draws(density, points)
    t, chance = D.parameters(draws), log_softmax(terms(D, D.parameters(draws)), axis=-1)
    label = rng.integers(0, D.classes, (20, D.n_units))
    sampled = len(D.units.cluster) > 0  # effects of clusters that are no choice of ours
    u = rng.normal(0, 2, (20, D.n_units, D.q))
    conditional = np.take_along_axis(chance, label[..., None], 2)[..., 0].sum(1)
    if D.q and not sampled:
        conditional += mixture_draws.log_density_of_effects(D.units, t, label, u).sum(1)
    for s, z in enumerate(points):
        drawn = {"label": label[s]} if sampled else {"label": label[s], "u": u[s]}
        joint = float(logp(joint_value(model, density.parameters(z) | drawn)))
        expected = log_posterior(spec, design, density, priors, z)
        assert joint - conditional[s] == pytest.approx(expected, abs=1e-8 * max(abs(joint), 1e3))


def test_parametrisations_of_the_joint_graph_agree(case):
    """log p(y, u) + log |du/dz| = log p(y, z) for u = C_c z."""
    spec, design, priors, density = case
    D = Arrays(design)
    if not D.q or D.unit == "row":
        pytest.skip("no random effects within classes of clusters")
    point = random_points(density, 1)
    C = D.parameters(as_draws(density, point)).factor[0]
    rng = np.random.default_rng(2)
    label, z = rng.integers(0, D.classes, D.n_units), rng.normal(size=(D.n_units, D.q))
    given = density.parameters(point[0]) | {"label": label, "u": (C[label] @ z[..., None])[..., 0], "_z": z}
    values = []
    for centred in (True, False):
        model = spec.joint(design, priors, centred=centred)
        values.append(float(model.compile_logp(mode=EVALUATE)(joint_value(model, given))))
    assert values[0] + np.linalg.slogdet(C[label])[1].sum() == pytest.approx(values[1], abs=1e-7)


def test_likelihood_against_brute_force_sum():
    """All 3^5 allocations of five clusters to classes, each with a dense multivariate normal."""
    data, _ = trial(1, clusters=6, rows=(2, 4))
    spec = bh.EffectMixture(**ROLES, varying="drug", covariates="x", classes=3, membership="z")
    design = spec.design(data)
    D, density = Arrays(design), spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, random_points(density, 1, seed=4))
    t = D.parameters(draws)
    W = np.column_stack([np.ones(D.n_units), data.groupby("school", sort=False)["z"].first()])
    prior = np.exp(W @ t.alpha[0])
    prior /= prior.sum(1, keepdims=True)
    X = np.column_stack([np.ones(len(data)), data["arm"] == "drug", data["x"]]).astype(float)
    each = np.empty((D.n_units, 3))
    for j, c in np.ndindex(*each.shape):
        rows = D.code == j
        Z, S = X[rows][:, :2], t.factor[0, c] @ t.factor[0, c].T
        cov = Z @ S @ Z.T + t.shape[0, c, 0] ** 2 * np.eye(rows.sum())
        each[j, c] = np.log(prior[j, c]) + stats.multivariate_normal(X[rows] @ t.beta[0, c], cov).logpdf(D.y[rows])
    sums = [sum(each[j, c] for j, c in enumerate(every)) for every in itertools.product(range(3), repeat=D.n_units)]
    np.testing.assert_allclose(terms(D, D.parameters(draws))[0], each, rtol=1e-9)
    assert float(spec.log_likelihood(draws, design, "cluster").sum()) == pytest.approx(logsumexp(sums), abs=1e-9)


@pytest.mark.parametrize("slopes", [False, True])
def test_one_class_is_the_random_slope(slopes):
    """K = 1: the log density of RandomSlope at the same parameters, to 1e-10."""
    data, _ = trial(2, clusters=14)
    priors = {"sigma": bh.HalfNormal(2), "gamma0": bh.Normal(0, 3), "gamma1": bh.Normal(0, 3)}
    varying = "drug" if slopes else ()
    one = bh.EffectMixture(**ROLES, covariates="x", varying=varying, classes=1, priors=priors)
    other = bh.RandomSlope(**ROLES, covariates="x", varying=varying, priors=priors)
    values = []
    for spec in (one, other):
        design = spec.design(data)
        density = spec.marginal(design, spec.frozen_priors(design))
        raw = density.with_coordinates(np.zeros(density.n_dim), np.eye(density.n_dim))
        z = np.random.default_rng(3).normal(0, 0.5, (20, raw.n_dim))
        values.append([raw(v)[0] for v in z])
    np.testing.assert_allclose(*values, rtol=0, atol=1e-10)


def test_renumbering_changes_nothing(case):
    """The likelihood is the same for every numbering of the classes, and so is P(class | data) but for the numbers."""
    _, design, _, density = case
    D = Arrays(design)
    if D.classes == 1:
        pytest.skip("one class")
    draws = as_draws(density, random_points(density, 3))
    order = np.random.default_rng(5).permuted(np.tile(np.arange(D.classes), (3, 1)), axis=1)
    again = renumbered(draws, order)
    given = np.take_along_axis(probabilities(D, draws), order[:, None, :], axis=2)
    np.testing.assert_allclose(probabilities(D, again), given, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(unit_log_likelihood(D, again), unit_log_likelihood(D, draws), rtol=1e-12)


@pytest.mark.slow
def test_rows_and_labels_do_not_matter(case):
    """Rows in another order and clusters under other names: the same density at the same parameters."""
    spec, design, priors, density = case
    if len(Arrays(design).units.cluster):
        pytest.skip("random intercepts are sampled, in the order of the clusters")
    data = trial()[0].sample(frac=1, random_state=1)
    data["school"] = "other " + data["school"]
    again = spec.marginal(spec.design(data), priors)
    d = density.n_top
    same = again.with_coordinates(np.zeros(d), np.eye(d))
    raw = density.with_coordinates(np.zeros(d), np.eye(d))
    z = np.random.default_rng(4).normal(0, 0.5, density.n_dim)
    assert same(z)[0] == pytest.approx(raw(z)[0], abs=1e-8 * abs(raw(z)[0]))


def test_data_can_be_simulated(case):
    """Every variant draws parameters, classes, random effects and outcomes from its joint graph; the data are not touched."""
    spec, *_ = case
    data = trial()[0]
    before = data.copy(deep=True)
    truth, made = bh.simulate(spec, data, n=2, seed=5)[1]
    assert data.equals(before)
    assert made[spec.outcome].notna().all()
    assert not truth["gamma0"].isnull().any()
    if spec.order:
        assert (truth[spec.order.split("[")[0]].diff("class") > 0).all()
    if spec.class_of == "cluster" and spec.classes > 1:
        assert set(np.unique(truth["label"])) <= set(range(spec.classes))
    assert dataclasses.is_dataclass(spec)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.classes = 4


# ---------------------------------------------------------------------------------------------- what was integrated


def test_classes_and_effects_are_drawn_from_their_conditional_distribution():
    """At one parameter value: shares of labels against Bayes' rule, means and variances of u given the class in closed form."""
    data, _ = trial(3, clusters=8)
    spec = bh.EffectMixture(**ROLES, varying="drug", order="gamma0")
    design = spec.design(data)
    D, density = Arrays(design), spec.marginal(design, spec.frozen_priors(design))
    point = as_draws(density, np.zeros((1, density.n_dim)))
    n = 8000
    draws = spec.recover(point.isel(draw=[0] * n).assign_coords(draw=np.arange(n)), design, np.random.default_rng(0))
    label, u = draws["label"].to_numpy()[0], draws["u"].to_numpy()[0]
    t, chance = D.parameters(draws.isel(draw=[0])), probabilities(D, draws.isel(draw=[0]))[0]
    for c in range(2):
        error = np.sqrt(chance[:, c] * (1 - chance[:, c]) / n)
        assert (np.abs((label == c).mean(0) - chance[:, c]) <= 4 * error + 1e-9).all()
        for j in np.flatnonzero(chance[:, c] > 0.2):
            Z = D.full[D.code == j][:, :2]
            r = D.y[D.code == j] - Z @ t.beta[0, c]
            precision = Z.T @ Z / t.shape[0, c, 0] ** 2 + np.linalg.inv(t.factor[0, c] @ t.factor[0, c].T)
            cov = np.linalg.inv(precision)
            own = u[label[:, j] == c, j]
            mean = cov @ Z.T @ r / t.shape[0, c, 0] ** 2
            assert (np.abs(own.mean(0) - mean) < 4.5 * np.sqrt(np.diag(cov) / len(own))).all()
            np.testing.assert_allclose(np.cov(own.T), cov, atol=0.2 * np.diag(cov).max())


@pytest.mark.parametrize("name", ["slopes", "binomial", "student", "membership"])
def test_intervening_on_the_graph_gives_the_average_effect(name):
    """pm.do(arm) in the joint graph at a draw's classes and random effects is the ATE of that draw."""
    spec = SPECS[name]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    density = spec.marginal(design, priors)
    raw = as_draws(density, random_points(density, 1))
    draws = spec.recover(raw, design, np.random.default_rng(0))
    values = {k: v.to_numpy()[0, 0] for k, v in draws.data_vars.items()}
    if "corr" in values:
        values |= {f"_corr_factor_{k}": L for k, L in enumerate(np.linalg.cholesky(values["corr"]))}
    model = spec.joint(design, priors)
    fixed = {rv.name: values[rv.name] for rv in model.free_RVs}
    place = {"binomial": 1, "student": 1}.get(name, 0)
    means = []
    for arm in range(2):
        done = pm.do(model, fixed | {"arm_code": np.full(design.sizes["row"], arm, "int32")})
        means.append(done["y"].owner.op.dist_params(done["y"].owner)[place].eval(mode=EVALUATE).mean())
    found = {e.name: e for e in spec.estimands(design)}
    assert means[1] - means[0] == pytest.approx(found["ATE"].draws(draws, design).item(), abs=1e-9)


@pytest.mark.parametrize("name", ["slopes", "binary", "membership", "persons"])
def test_weighted_means_are_those_of_rows(name):
    """`expected` with weights adds rows up before it predicts: the same numbers."""
    spec = SPECS[name]
    design = spec.design(trial()[0])
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = spec.recover(as_draws(density, random_points(density, 5)), design, np.random.default_rng(0))
    weight = np.random.default_rng(1).random((2, design.sizes["row"]))
    for clusters in ("these", "new", "average"):
        given = {"arm": "drug", "clusters": clusters}
        by_row = spec.expected(draws, design, **given).transpose("chain", "draw", "row").to_numpy() @ weight.T
        np.testing.assert_allclose(spec.expected(draws, design, **given, weight=weight), by_row, rtol=1e-9)
    frame = trial()[0].iloc[:7]
    again = spec.expected(draws, design, frame=frame, clusters="new").to_numpy()
    np.testing.assert_allclose(again, spec.expected(draws, design, clusters="new").to_numpy()[..., :7], rtol=1e-9)


def test_stephens_finds_the_permutations():
    """Three overlapping classes: draws with known permutations, found up to one permutation of all."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (60, 3)) + rng.normal(0, 0.7, (200, 60, 3))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    true = rng.permuted(np.tile(np.arange(3), (200, 1)), axis=1)
    found = relabel.stephens(np.take_along_axis(p, true[:, None, :], 2), 0)
    back = np.take_along_axis(true, found, axis=1)
    assert (back == back[0]).all()


def test_order_is_a_restricted_prior():
    """Draws of the joint graph under an order are ascending, and its density is the one without order where they are."""
    data, _ = trial()
    spec = SPECS["three, fixed"]
    ordered = replace(spec, order="gamma1[drug]")
    truth, _ = bh.simulate(ordered, data, n=1, seed=3)[0]
    assert (truth["gamma1"].diff("class") > 0).all()
    design = spec.design(data)
    model = ordered.joint(design, spec.frozen_priors(design))
    density = spec.marginal(design, spec.frozen_priors(design))
    given = density.parameters(np.zeros(density.n_dim)) | {"label": np.zeros(design.sizes["school"], int)}
    order = np.argsort(given["gamma1"][:, 0])
    up, down = (given | {"gamma1": given["gamma1"][k]} for k in (order, order[::-1]))
    logp = model.compile_logp(mode=EVALUATE)
    assert np.isfinite(logp(joint_value(model, up)))
    assert logp(joint_value(model, down)) == -np.inf


@pytest.mark.filterwarnings("ignore::bayeshte.ConvergenceWarning")
def test_fit_estimands_checks_and_round_trip(case, tmp_path):
    """Every variant: fits, finite estimands, dims, predictive checks, sensitivity, priors, saved and opened again."""
    spec, design, _, _ = case
    data = trial()[0]
    fit = bh.fit(spec, data, draws=60, tune=150, seed=1, progress=False, path=tmp_path / "fit")
    table = bh.effects(fit)
    assert np.isfinite(table[["estimate", "mean", "lower", "upper"]].to_numpy()).all()
    assert not any(str(v).startswith("_") for v in fit.posterior.data_vars)
    keys = {key for _, key, _ in spec.parameters(fit.posterior)}
    assert keys == set(fit.priors)
    assert bh.summary(fit)["parameter"].is_unique
    again = bh.load(tmp_path / "fit")
    xr.testing.assert_identical(again.posterior, fit.posterior)
    assert again.spec == spec
    assert store.spec_from_json(store.spec_to_json(spec)) == spec
    assert len(bh.prior_posterior_overlap(fit)) == len(bh.summary(fit))
    for clusters in ("these", "new"):
        y = spec.replicates(fit.posterior.isel(chain=[0]), design, fit.priors, 1, clusters)["y"]
        assert np.isfinite(list(spec.discrepancies(design)(y.to_numpy()[0]).values())).all()
    assert len(bh.predictive_checks(fit))
    assert bh.plot_effect(fit).axes
    assert fit._repr_html_()
    rows = spec.log_likelihood(fit.posterior, design, "row")
    assert rows.sizes["row"] == design.sizes["row"]
    for lines in (spec.equations(design), [s for s, *_ in spec.describe(design).symbols]):
        assert all(line.count("{") == line.count("}") for line in lines)


@pytest.mark.parametrize("name", ["slopes", "binomial", "persons, student", "counts"])
def test_row_likelihood_is_that_of_the_graph(name):
    """log p(y | class, u, theta) row by row, summed, against the joint graph; of individuals over the classes."""
    spec = SPECS[name]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    density = spec.marginal(design, priors)
    draws = spec.recover(as_draws(density, random_points(density, 1)), design, np.random.default_rng(0))
    rows = spec.log_likelihood(draws, design, "row")
    if spec.class_of == "individual":
        by_cluster = spec.log_likelihood(draws, design, "cluster")
        summed = rows.groupby(xr.DataArray(design["cluster_code"].to_numpy(), dims="row", name="c")).sum()
        np.testing.assert_allclose(by_cluster.to_numpy(), summed.to_numpy(), rtol=1e-10)
        return
    values = {k: v.to_numpy()[0, 0] for k, v in draws.data_vars.items()}
    if "corr" in values:
        values["_corr_factor"] = np.linalg.cholesky(values["corr"])
    model = spec.joint(design, priors)
    logp = model.compile_logp(vars=model.observed_RVs, jacobian=False, mode=EVALUATE)
    assert float(rows.sum()) == pytest.approx(float(logp(joint_value(model, values))), rel=1e-9)
