"""EffectMixture: brute force, the contract, one class, reference likelihoods and posteriors, labels, recovery, bad input."""

import dataclasses
import itertools
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from cases import EVALUATE
from scipy import stats
from scipy.special import expit, logsumexp

import bayeshte as bh
from bayeshte import store
from bayeshte.checks.classes import adjusted_rand
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_classes import probabilities, renumbered, terms, unit_log_likelihood
from bayeshte.marginal import mixture, mixture_modes, relabel
from bayeshte.marginal.density import is_even
from bayeshte.plots import figures

DATA = Path(__file__).parents[2] / "shared" / "data"
ROLES = dict(outcome="y", treatment="arm", reference="control", cluster="school")


def trial(seed=0, clusters=10, rows=(3, 7), effects=(0.0, 1.5), intercepts=(0.0, 2.0), sd=0.3, share=0.5):
    """Clusters of two classes, drawn by NumPy from the equations, and the class of each."""
    rng = np.random.default_rng(seed)
    n = rng.integers(rows[0], rows[1] + 1, clusters)
    label = (rng.random(clusters) < share).astype(int)
    school = np.repeat(np.arange(clusters), n)
    N = len(school)
    T, x = rng.integers(0, 2, N), rng.normal(size=N)
    z = rng.normal(size=clusters) + label
    c = label[school]
    eta = np.array(intercepts)[c] + sd * rng.normal(size=clusters)[school] + np.array(effects)[c] * T + 0.3 * x
    data = pd.DataFrame(
        {
            "y": eta + rng.normal(size=N),
            "arm": np.where(T == 1, "drug", "control"),
            "school": [f"s{k}" for k in school],
            "x": x,
            "z": z[school],
            "passed": rng.binomial(1, expit(eta)),
            "events": rng.binomial(7, expit(eta - 1)),
            "trials": 7,
            "count": rng.poisson(np.exp(eta / 3)),
        },
        index=[f"row {k}" for k in range(N)],
    )
    return data, label


FIXED = ROLES | {"intercept_varies": False}
PERSONS = FIXED | {"class_of": "individual"}
SPECS = {
    "intercepts": bh.EffectMixture(**ROLES),
    "slopes": bh.EffectMixture(**ROLES, varying="drug", covariates="x"),
    "slopes, shared": bh.EffectMixture(**ROLES, varying="drug", shared=("sd", "sigma")),
    "three, fixed": bh.EffectMixture(**FIXED, classes=3, covariates="x", shared=("gamma2",)),
    "one": bh.EffectMixture(**ROLES, varying="drug", classes=1),
    "membership": bh.EffectMixture(**ROLES, classes=3, membership="z", shared=("gamma1", "sd")),
    "binomial": bh.EffectMixture(**FIXED | {"outcome": "events"}, trials="trials", family="logit", classes=3),
    "binary": bh.EffectMixture(**FIXED | {"outcome": "passed"}, covariates="x", family="logit", shared=("gamma2",)),
    "counts": bh.EffectMixture(**FIXED | {"outcome": "count"}, family="poisson", membership="z"),
    "student": bh.EffectMixture(**FIXED, family="student", shared=("nu",)),
    "persons": bh.EffectMixture(**PERSONS, membership="x"),
    "persons, no clusters": bh.EffectMixture(
        outcome="y", class_of="individual", intercept_varies=False, order="gamma0"
    ),
    "persons, student": bh.EffectMixture(**PERSONS, family="student", order="gamma1[drug]"),
    "persons in clusters": bh.EffectMixture(**ROLES, class_of="individual", covariates="x"),
    "persons in clusters, binary": bh.EffectMixture(
        **ROLES | {"outcome": "passed"}, class_of="individual", family="logit", membership="x"
    ),
    "persons in clusters, student": bh.EffectMixture(**ROLES, class_of="individual", family="student", shared=("nu",)),
    "odd priors": bh.EffectMixture(
        **ROLES,
        priors={
            "gamma0": bh.StudentT(4, 0, 3),
            "gamma1": bh.Uniform(-9, 9),
            "sd": bh.Gamma(2, 1),
            "sigma": bh.InverseGamma(3, 2),
            "pi": bh.Dirichlet(0.7),
        },
    ),
}


@pytest.fixture(params=SPECS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def as_draws(density, points) -> xr.Dataset:
    """Parameters at several points as one chain of draws, labels as they are."""
    values = [density.parameters(z) for z in points]
    data = {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    coords = {"chain": [0], "draw": np.arange(len(points))}
    out = xr.Dataset(data, coords)
    if out.sizes.get("varying", 0) > 1:
        L = out["_corr_factor"].to_numpy()
        out = out.assign(corr=(out["_corr_factor"].dims, L @ L.swapaxes(-1, -2)))
    return out.drop_vars("_corr_factor")


def random_points(density, n, seed=0):
    return np.random.default_rng(seed).normal(0, 1.0, (n, density.n_dim))


def log_posterior(spec, design, density, priors, z) -> float:
    """The kernel's log density at z as one of the parameters themselves, in the measure of PyMC's distributions."""

    def free(z):
        values = density.parameters(z)
        values.pop("_pi", None)
        corr = values.pop("_corr_factor")
        corr = corr.reshape(corr.size // max(1, corr.shape[-1] ** 2), *corr.shape[-2:])
        if "pi" in values:
            values["pi"] = values["pi"][:-1]
        if "alpha" in values:  # the density of PyMC's ZeroSumNormal is one on the subspace
            values["alpha"] = values["alpha"] @ mixture.basis(values["alpha"].shape[-1])
        lower = np.tril_indices(corr.shape[-1], -1)
        return np.concatenate([*(v.ravel() for v in values.values()), *(c[lower] for c in corr)])

    jacobian = np.column_stack([(free(z + h) - free(z - h)) / 2e-4 for h in 1e-4 * np.eye(density.n_dim)])
    fine = np.column_stack([(free(z + h) - free(z - h)) / 1e-4 for h in 0.5e-4 * np.eye(density.n_dim)])
    jacobian = (4 * fine - jacobian) / 3
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    D = Arrays(design)
    blocks = D.classes if "class" in D.with_class("sd", ()) else 1
    twice = blocks * sum(name.startswith("sd[") and is_even(prior) for name, prior in priors.items())
    return density(z)[0] + twice * np.log(2) - np.linalg.slogdet(jacobian)[1] + np.linalg.slogdet(scale)[1]


def joint_value(model: pm.Model, given: dict) -> dict:
    """Parameters, labels and random effects in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        one = rv.name.startswith("_corr_factor_")
        value = given["_corr_factor"][int(rv.name.rsplit("_", 1)[1])] if one else given[rv.name]
        transform = model.rvs_to_transforms[rv]
        if transform is not None:
            value = transform.forward(pt.as_tensor(np.asarray(value)), *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point


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
    t, chance = D.parameters(draws), probabilities(D, draws)
    label = rng.integers(0, D.classes, (20, D.n_units))
    sampled = len(D.units.cluster) > 0  # random intercepts that are no choice of ours
    u = draws["u"].to_numpy()[0] if sampled else rng.normal(0, 2, (20, D.n_units, D.q))
    conditional = np.log(np.take_along_axis(chance, label[..., None], 2)[..., 0]).sum(1)
    if D.q and not sampled:
        conditional += mixture.log_density_of_effects(D.units, t, label, u).sum(1)
    for s, z in enumerate(points):
        joint = float(logp(joint_value(model, density.parameters(z) | {"label": label[s], "u": u[s]})))
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
    np.testing.assert_allclose(terms(D, draws)[0], each, rtol=1e-9)
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


# ---------------------------------------------------------------------------------------------- labels


@pytest.fixture(scope="module")
def fitted():
    """Two clear classes of 30 clusters."""
    data, label = trial(11, clusters=30, rows=(8, 14))
    return data, label, bh.fit(bh.EffectMixture(**ROLES), data, seed=1, progress=False)


def test_starting_labels_do_not_matter(fitted):
    """Classes of every draw numbered at random: recovery gives the same table."""
    _, _, fit = fitted
    design = fit.design
    raw = fit.posterior.drop_vars(["label", "u", "effect"])
    rng = np.random.default_rng(0)
    n = raw.sizes["chain"] * raw.sizes["draw"]
    mixed = renumbered(raw, rng.permuted(np.tile([0, 1], (n, 1)), axis=1))
    assert float(mixed["gamma0"].isel({"class": 0}).std()) > 2 * float(raw["gamma0"].isel({"class": 0}).std())
    again = fit.spec.recover(mixed, design, np.random.default_rng(0))
    parameters = [v for v in raw.data_vars]
    xr.testing.assert_allclose(again[parameters], raw[parameters], rtol=1e-14)
    ordered = replace(fit.spec, order="gamma1[drug]").recover(mixed, design, np.random.default_rng(0))
    assert bool((ordered["gamma1"].diff("class") > 0).all())


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


# ---------------------------------------------------------------------------------------------- references


def betablocker(**change):
    roles = dict(outcome="Deaths", trials="Total", treatment="Treatment", reference="Control", cluster="Center")
    return bh.EffectMixture(**roles, family="logit", intercept_varies=False, **change)


needs_data = pytest.mark.skipif(not DATA.exists(), reason="reference data are not here")


@needs_data
@pytest.mark.parametrize(
    ("classes", "shared", "reference"),
    [
        (2, ("gamma1",), -181.33084),
        (3, ("gamma1",), -159.36052),
        (4, ("gamma1",), -155.753937),
        (2, (), -180.860799),
        (3, (), -158.309481),
        (4, (), -153.143716),
    ],
)
def test_maximum_likelihood_of_the_betablocker_trial(classes, shared, reference):
    """The best of 50 EM runs, to 1e-4, from every seed; the published K = 4 is a local maximum."""
    data = pd.read_csv(DATA / "betablocker" / "betablocker.csv")
    D = Arrays(betablocker(classes=classes, shared=shared).design(data))
    for seed in range(3):
        best = mixture_modes.maximum_likelihood(D.units, D.layout, seed)[0].height
        assert reference - 1e-5 < best < reference + 1e-4


@pytest.fixture(scope="module")
def star():
    data = pd.read_csv(DATA / "star" / "star_k.csv").dropna(subset=["mathk", "stark", "schoolidk"])
    return data.assign(y=(data["mathk"] - 485) / 10)


STAR_OPTIMA = {  # the printed maxima of classes of schools: prior, intercept, small, aide, sigma
    2: (-17072.39821, [(0.411869, -2.5211118, 1.0780053, 0.3411609, 3.9347487)]
        + [(0.588131, 1.3485330, 0.6504104, -0.2741416, 4.7322749)]),
    3: (-16943.79957, [(0.356609, 1.63356447, 1.70293002, 0.07864027, 4.86400482)]
        + [(0.528489, -0.6018121, 0.1562726, -0.1069013, 4.0471863)]
        + [(0.114902, -4.8583432, 1.9401497, 0.9555112, 3.6554366)]),
}  # fmt: skip


@needs_data
@pytest.mark.parametrize("classes", [2, 3])
def test_likelihood_of_star_schools(star, classes):
    """At the printed maximum to the digits that are printed; our own maximum is not below it."""
    reference, printed = STAR_OPTIMA[classes]
    roles = dict(outcome="y", treatment="stark", reference="regular", cluster="schoolidk", intercept_varies=False)
    D = Arrays(bh.EffectMixture(**roles, classes=classes).design(star))
    pi, intercept, small, aide, sigma = np.array(printed).T
    beta = {"intercept": intercept, "stark[small]": small, "stark[regular+aide]": aide}
    t = mixture.Parameters(
        np.stack([beta[v] for v in D.full_terms], axis=1)[None],
        np.stack([sigma, np.ones(classes)], axis=1)[None],
        np.zeros((1, classes, 0, 0)),
        np.log(pi / pi.sum())[None, None],
        np.zeros((1, 0)),
    )
    values = mixture.class_log_likelihood(D.units, t) + mixture.log_prior_probabilities(D.units, t.alpha)
    at_printed = logsumexp(values[0], axis=1).sum()
    assert at_printed == pytest.approx(reference, abs=0.02)  # the variance is printed with N - p for N
    best = mixture_modes.maximum_likelihood(D.units, D.layout, 1)[0]
    assert reference - 1e-4 < best.height < reference + 1e-3


@needs_data
@pytest.mark.parametrize(("name", "shared"), [("common", ("gamma1",)), ("classspecific", ())])
def test_posterior_of_the_betablocker_trial(name, shared):
    """Stan's posterior under its priors: parameters, and the class probabilities of every centre."""
    stan = pd.read_csv(DATA / "betablocker" / f"stan_betablocker_K3_{name}.csv", index_col="variable")
    data = pd.read_csv(DATA / "betablocker" / "betablocker.csv")
    priors = {"gamma0": bh.Normal(-2, 1), "gamma1": bh.Normal(0, 0.5), "pi": bh.Dirichlet(2)}
    spec = betablocker(classes=3, shared=shared, priors=priors, order="gamma0")
    fit = bh.fit(spec, data, draws=1000, seed=2, progress=False)
    table = bh.summary(fit).set_index("parameter")
    names = {f"gamma0[class {k}]": f"a[{k}]" for k in (1, 2, 3)} | {f"pi[class {k}]": f"w[{k}]" for k in (1, 2, 3)}
    names |= (
        {f"gamma1[class {k}, Treated]": f"d[{k}]" for k in (1, 2, 3)} if not shared else {"gamma1[Treated]": "dbar"}
    )
    for ours, theirs in names.items():
        error = np.hypot(
            stan.loc[theirs, "mcse_mean"], table.loc[ours, "posterior_sd"] / np.sqrt(table.loc[ours, "ess_bulk"])
        )
        assert abs(table.loc[ours, "mean"] - stan.loc[theirs, "mean"]) < 4 * error, ours
        assert table.loc[ours, "posterior_sd"] == pytest.approx(stan.loc[theirs, "sd"], rel=0.08)
    chance = bh.class_membership(fit)
    for j, k in itertools.product(range(1, 23), range(1, 4)):
        assert chance.loc[str(j), f"class {k}"] == pytest.approx(stan.loc[f"pz[{j},{k}]", "mean"], abs=0.02)


@needs_data
def test_posterior_of_posteriordb():
    """low_dim_gauss_mix: ten long reference chains, within four Monte Carlo errors."""
    folder = DATA / "posteriordb"
    y = json.loads((folder / "low_dim_gauss_mix.data.json").read_text())["y"]
    reference = json.loads((folder / "low_dim_gauss_mix-low_dim_gauss_mix.summary.json").read_text())["summary"]
    priors = {"gamma0": bh.Normal(0, 2), "sigma": bh.HalfNormal(2), "pi": bh.Dirichlet(5)}
    spec = bh.EffectMixture(outcome="y", class_of="individual", intercept_varies=False, priors=priors)
    table = bh.summary(bh.fit(spec, pd.DataFrame({"y": y}), draws=500, seed=1, progress=False)).set_index("parameter")
    names = {
        f"{ours}[class {k}]": f"{theirs}[{k}]"
        for k in (1, 2)
        for ours, theirs in (("gamma0", "mu"), ("sigma", "sigma"))
    }
    for ours, theirs in (names | {"pi[class 1]": "theta"}).items():
        row, known = table.loc[ours], reference[theirs]
        assert abs(row["mean"] - known["mean"]) < 4 * np.hypot(
            row["posterior_sd"] / np.sqrt(row["ess_bulk"]), known["mcse_iid"]
        )
        assert row["posterior_sd"] == pytest.approx(known["sd"], rel=0.12)


# ---------------------------------------------------------------------------------------------- fits


def test_two_classes_of_clusters_are_found(fitted):
    """Effects 0 and 1.5 residual SDs in 30 clusters: classes, sizes, effects; who belongs where."""
    _, label, fit = fitted
    assert fit.diagnosis.ok
    check = bh.class_check(fit)
    assert check.ok, check
    table = bh.class_membership(fit)
    assert ((table["most_likely"] == "class 2").to_numpy() == (label == 1)).mean() > 0.9
    np.testing.assert_allclose(table[["class 1", "class 2"]].sum(axis=1), 1)
    effects = bh.effects(fit)
    effect = effects[effects["estimand"] == "class effect"]
    assert ((effect["lower"] < [0, 1.5]) & (effect["upper"] > [0, 1.5])).all()
    size = effects[effects["estimand"] == "class size"]
    assert ((size["lower"] < 0.5) & (size["upper"] > 0.5)).all()
    assert list(bh.cluster_effects(fit)["cluster"].sort_values()) == sorted(f"s{k}" for k in range(30))
    profile = bh.class_profiles(fit)
    assert set(profile["class"]) == {"class 1", "class 2"}
    assert (profile["assignment"] > 0.7).all()


def test_heavy_tails_unmasked():
    """One population with t residuals: two Gaussian classes are found, one class with t residuals predicts better."""
    rng = np.random.default_rng(2)
    T = rng.integers(0, 2, 800)
    data = pd.DataFrame({"y": 0.5 * T + rng.standard_t(4, 800), "arm": T})
    roles = dict(outcome="y", treatment="arm", class_of="individual", intercept_varies=False)
    two = bh.fit(bh.EffectMixture(**roles), data, seed=1, draws=800, progress=False)
    one = bh.fit(bh.EffectMixture(**roles, classes=1, family="student"), data, seed=1, draws=800, progress=False)
    table = bh.compare({"two classes": two, "one class, t": one}, unit="row")
    assert table.index[0] == "one class, t"
    assert table["difference"].iloc[1] < -2


@pytest.mark.parametrize("clustered", [False, True])
def test_classes_of_individuals_are_found(clustered):
    """1,000 rows, class means 4 residual SDs apart, effects 0 and 1; intercepts of 25 clusters with SD 0.7, if there are any."""
    rng = np.random.default_rng(7)
    label, T, school = rng.random(1000) < 0.4, rng.integers(0, 2, 1000), rng.integers(0, 25, 1000)
    u = 0.7 * clustered * rng.normal(size=25)
    y = 4.0 * label + u[school] + T * label + rng.normal(size=1000)
    data = pd.DataFrame({"y": y, "arm": np.where(T == 1, "drug", "control"), "school": school})
    spec = bh.EffectMixture(**ROLES, class_of="individual", intercept_varies=clustered)
    fit = bh.fit(spec, data, seed=1, draws=800, tune=300, progress=False)
    assert fit.diagnosis.ok, fit.diagnosis
    assert bh.class_check(fit).ok
    table = bh.summary(fit).set_index("parameter")
    truth = {"gamma1[class 1, drug]": 0, "gamma1[class 2, drug]": 1, "pi[class 2]": 0.4, "sigma[class 1]": 1}
    for name, value in (truth | ({"sd[intercept]": 0.7} if clustered else {})).items():
        assert abs(table.loc[name, "mean"] - value) < 3.5 * table.loc[name, "posterior_sd"], name
    found = bh.class_membership(fit)
    assert ((found["most_likely"] == "class 2").to_numpy() == label).mean() > 0.95
    effects = bh.effects(fit).set_index(["estimand", "contrast"])
    each = fit.spec.expected(fit.posterior, fit.design, arm="drug", weight=np.full((1, 1000), 1e-3))
    each = each - fit.spec.expected(fit.posterior, fit.design, arm="control", weight=np.full((1, 1000), 1e-3))
    assert float(each.mean()) == pytest.approx(effects.loc[("ATE", "drug vs control"), "mean"], abs=1e-9)
    if clustered:
        ours = fit.posterior["u"].mean(("chain", "draw")).to_numpy()[:, 0]
        assert np.corrcoef(ours, u[fit.design["school"].astype(int)])[0, 1] > 0.9


def test_figures_of_classes(fitted):
    """An area a class, its integral the size of the class; other models are refused."""
    _, _, fit = fitted
    ax = bh.plot_classes(fit).axes[0]
    areas = [np.trapezoid(line.get_ydata(), line.get_xdata()) for line in ax.lines[:2]]
    sizes = [float(fit.posterior["pi"].sel({"class": c}).mean()) for c in ("class 1", "class 2")]
    np.testing.assert_allclose(areas, sizes, atol=0.02)
    assert "classes" in figures(fit)
    shared = SPECS["membership"]
    assert bh.plot_caterpillar(fit).axes
    with pytest.raises(bh.SpecError, match="no latent classes with effects"):
        bh.plot_classes(replace(fit, spec=shared, design=fit.design.drop_dims("class")))


def test_one_population_is_not_called_two(fitted):
    """One class of clusters fitted with two: said to be empty, alike, or not converged."""
    data, _ = trial(5, clusters=30, rows=(8, 14), effects=(0.5, 0.5), intercepts=(0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        fit = bh.fit(bh.EffectMixture(**ROLES), data, seed=1, draws=200, tune=200, progress=False)
    check = bh.class_check(fit)
    assert not check.ok
    assert "not separable" in repr(check) or "holds less than one unit" in repr(check)
    assert list(check.chains.columns) == ["log-likelihood", "smallest size", "largest size", "entropy"]


def test_fit_classes(fitted):
    """Two classes are preferred by BIC where there are two; criteria by hand; LOO by cluster beside them."""
    data, _, _ = fitted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        table = bh.fit_classes(bh.EffectMixture(**ROLES), data, [1, 2], draws=200, tune=200)
    assert table.attrs["picks"]["BIC"] == table.attrs["picks"]["LOO"] == 2
    assert "BIC: 2" in table.attrs["sentence"]
    row = table.loc[2]
    assert row["parameters"] == 9  # two of intercept, effect, sd, sigma; one share
    assert row["BIC"] == pytest.approx(-2 * row["log_likelihood"] + 9 * np.log(30))
    assert row["SABIC"] == pytest.approx(-2 * row["log_likelihood"] + 9 * np.log(32 / 24))
    assert row["ICL"] == pytest.approx(row["BIC"] + 2 * (1 - row["entropy"]) * 30 * np.log(2))
    assert row["stability"] > 0.8
    assert table["elpd"].notna().all()
    figure = bh.plot_fit_classes(table)
    assert len(figure.axes) == 3
    with pytest.raises(bh.SpecError, match=re.escape("a table of bh.fit_classes")):
        bh.plot_fit_classes(data)


def test_fit_classes_finds_one(fitted):
    """One population: BIC prefers one class."""
    data, _ = trial(5, clusters=30, rows=(8, 14), effects=(0.5, 0.5), intercepts=(0, 0))
    assert bh.fit_classes(bh.EffectMixture(**ROLES), data, [1, 2], bayesian=False).attrs["picks"]["BIC"] == 1


def test_adjusted_rand():
    a = np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(a, np.array([2, 2, 0, 0, 1, 1])) == 1
    assert adjusted_rand(a, np.array([0, 0, 1, 2, 2, 2])) == pytest.approx((2 - 3 * 4 / 15) / (3.5 - 3 * 4 / 15))


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


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 0}, "classes=0"),
        ({"classes": True}, "classes=True"),
        ({"class_of": "school"}, "class_of='school'"),
        ({"cluster": None}, "name it with cluster="),
        ({"class_of": "individual", "varying": "drug"}, "write varying=()"),
        ({"class_of": "individual", "cluster": None}, "needs clusters"),
        ({"family": "logit", "outcome": "passed"}, "family='gaussian' only"),
        ({"family": "gauss"}, "Did you mean 'gaussian'"),
        ({"trials": "trials"}, "family='logit'"),
        ({"shared": ("gama1",)}, "Did you mean 'gamma1'"),
        ({"shared": "gamma1"}, "names in a tuple"),
        ({"varying": "drug", "intercept_varies": False}, "intercept_varies=True"),
        ({"classes": 1, "order": "gamma0"}, "take them out"),
        ({"outcome": "school"}, "two roles"),
        ({"treatment": None}, "reference and varying"),
        ({"covariates": "y + x"}, "outcome 'y' is in a formula"),
        ({"membership": "x"}, "varies within clusters of 'school'"),
        ({"order": "gamma1[drg]"}, "Did you mean 'gamma1[drug]'"),
        ({"order": "sd"}, "is not a parameter of every class"),
        ({"shared": ("nu",)}, "the model has no 'nu'"),
        ({"shared": ("gamma0", "gamma1", "sd", "sigma")}, "do not differ in anything"),
        ({"varying": "placebo"}, "not an arm with an effect"),
        ({"classes": 6}, "at least two units a class"),
        ({"priors": "mplus"}, "write 'default'"),
        ({"priors": {"pi": bh.Normal(0, 1)}}, "wrong support"),
        ({"membership": "z", "priors": {"alpha": bh.Normal(1, 1)}}, "treats all classes alike"),
        ({"intercept_varies": 1}, "write True or False"),
        ({"missing": "keep"}, "write 'error' or 'drop'"),
    ],
)
def test_bad_specifications_say_what_to_do(change, message):
    data, _ = trial()

    def write():
        spec = bh.EffectMixture(**ROLES | change)
        spec.frozen_priors(spec.design(data))

    with pytest.raises((bh.SpecError, bh.DataError), match=re.escape(message)):
        write()


def test_bad_trials():
    data, _ = trial()
    spec = SPECS["binomial"]
    with pytest.raises(bh.DataError, match="more events 'events' than trials 'trials'"):
        spec.design(data.assign(trials=0))
    with pytest.raises(bh.DataError, match="must be counts"):
        spec.design(data.assign(events=data["events"] + 0.5))
    with pytest.raises(bh.DataError, match="constant: 0 events"):
        spec.design(data.assign(events=0))


def test_labels_cannot_be_sampled_by_nuts():
    with pytest.raises(bh.SpecError, match="marginal=False: the joint graph holds label"):
        bh.fit(bh.EffectMixture(**ROLES), trial()[0], marginal=False, progress=False)


def test_classes_of_other_models(fitted):
    data, _, _ = fitted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        other = bh.fit(bh.RandomSlope(**ROLES, varying=()), data, draws=20, tune=50, progress=False)
    for verb in (bh.class_check, bh.class_membership, bh.class_profiles):
        with pytest.raises(bh.SpecError, match="no latent classes"):
            verb(other)
    with pytest.raises(bh.SpecError, match=re.escape("give it a bh.EffectMixture")):
        bh.fit_classes(other.spec, data)


def test_new_persons_and_wrong_arms(fitted):
    data, _, fit = fitted
    with pytest.raises(bh.SpecError, match="is not an arm"):
        fit.spec.expected(fit.posterior, fit.design, arm="placebo")
    with pytest.raises(bh.DataError, match="that were not in the fit"):
        bh.predict(fit, data.head(3).assign(school="elsewhere"))
    spec = SPECS["persons"]
    design = spec.design(trial()[0])
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, random_points(density, 2))
    with pytest.raises(bh.SpecError, match="known by its chances only"):
        spec.expected(draws, design, frame=trial()[0].head(2))
