"""What every model family promises, checked over every variant in tests/cases.py."""

import dataclasses

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from cases import EVALUATE, SPECS, frame
from pytensor.graph.traversal import ancestors

import bayeshte as bh
from bayeshte import store
from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.marginal import gaussian
from bayeshte.marginal.density import is_even

pytestmark = pytest.mark.filterwarnings("ignore::bayeshte.ConvergenceWarning")  # fits here are kept short


@pytest.fixture(params=SPECS, scope="module")
def case(request):
    """A specification with its design, frozen priors, density and joint graph."""
    spec = SPECS[request.param]
    design = spec.design(frame())
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def random_points(density, n, seed=0):
    return np.random.default_rng(seed).normal(0, 1.5, (n, density.n_dim))


def as_draws(density, points) -> xr.Dataset:
    """Parameters at several points as one chain of draws."""
    values = [density.parameters(z) for z in points]
    return xr.Dataset(
        {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    )


def log_posterior(density, priors, z) -> float:
    """The kernel's log density at z as a density of the parameters themselves, in the measure of PyMC's distributions.

    The Jacobian of parameters in z is taken numerically, so that this does not depend on how the kernel chose its coordinates.
    A signed SD covers each value twice.
    """

    def free(z):
        values = density.parameters(z)
        corr = values.pop("_corr_factor")
        return np.concatenate([*(v.ravel() for v in values.values()), corr[np.tril_indices(len(corr), -1)]])  # u too

    jacobian = np.column_stack([(free(z + h) - free(z - h)) / 2e-4 for h in 1e-4 * np.eye(density.n_dim)])
    fine = np.column_stack([(free(z + h) - free(z - h)) / 1e-4 for h in 0.5e-4 * np.eye(density.n_dim)])
    jacobian = (4 * fine - jacobian) / 3  # Richardson: the error is of fourth order
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    twice = sum(name.startswith("sd") and is_even(prior) for name, prior in priors.items())
    return density(z)[0] + twice * np.log(2) - np.linalg.slogdet(jacobian)[1] + np.linalg.slogdet(scale)[1]


def joint_value(model: pm.Model, parameters: dict, u: np.ndarray | None) -> dict:
    """Parameters and random effects in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        value = u if rv.name == "u" else parameters[rv.name]
        transform = model.rvs_to_transforms[rv]
        if transform is not None:
            value = transform.forward(np.asarray(value), *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point


def test_specification_is_frozen_and_readable(case):
    spec, *_ = case
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.outcome = "other"
    assert store.spec_from_json(store.spec_to_json(spec)) == spec


def test_data_are_not_touched(case):
    spec, *_ = case
    data = frame()
    before = data.copy(deep=True)
    spec.design(data)
    assert data.equals(before)


def test_gradient_is_exact(case):
    density = case[3]
    for z in random_points(density, 3):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, u, theta) - log p(u | y, theta) = log p(y, theta), for arbitrary u: joint graph, kernel and recovery at once."""
    spec, design, priors, density = case
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    D = Arrays(design)
    m = D.moments() if spec.family == "gaussian" else None
    points, rng = random_points(density, 20), np.random.default_rng(1)
    t = D.parameters(spec.recover(as_draws(density, points), design, rng))
    for s, z in enumerate(points):
        parameters = density.parameters(z)
        u = parameters.get("u", rng.normal(0, 3, (D.n_clusters, D.q)))  # where it is sampled it is no choice of ours
        joint = float(logp(joint_value(model, parameters, u)))
        integrated = D.q and "u" not in parameters
        conditional = gaussian.log_density_of_effects(m, t[s : s + 1], u[None])[0] if integrated else 0.0
        assert joint - conditional == pytest.approx(log_posterior(density, priors, z), abs=1e-8 * abs(joint))


@pytest.mark.slow
def test_parametrisations_of_the_joint_graph_agree(case):
    """log p(y, u) + log |du/dz| = log p(y, z) for u = C z."""
    spec, design, priors, density = case
    D = Arrays(design)
    if not D.q:
        pytest.skip("no random effects")
    centred, other = spec.joint(design, priors), spec.joint(design, priors, centred=False)
    z_point = random_points(density, 1)[0]
    parameters = density.parameters(z_point)
    factor = np.diag(parameters["sd"]) @ parameters["_corr_factor"]
    z = np.random.default_rng(2).normal(size=(D.n_clusters, D.q))
    a = centred.compile_logp(mode=EVALUATE)(joint_value(centred, parameters, z @ factor.T))
    b = other.compile_logp(mode=EVALUATE)(joint_value(other, parameters | {"_z": z}, None))
    assert float(a) + D.n_clusters * np.linalg.slogdet(factor)[1] == pytest.approx(float(b), abs=1e-7)


def test_pointwise_likelihood_sums_to_the_density(case):
    """By cluster: equals the kernel's change between two points, priors and Jacobians removed through the joint graph."""
    spec, design, priors, density = case
    D = Arrays(design)
    if not D.cluster or spec.family != "gaussian":
        pytest.skip("no cluster likelihood in closed form")
    points = random_points(density, 4)
    draws = spec.recover(as_draws(density, points), design, np.random.default_rng(0))
    by_cluster = spec.log_likelihood(draws, design, "cluster").sum(D.cluster).to_numpy().ravel()
    model = spec.joint(design, priors)
    prior = model.compile_logp(
        vars=[v for v in model.free_RVs if v.name != "u"] + model.potentials, jacobian=False, mode=EVALUATE
    )
    for z, ll in zip(points, by_cluster, strict=True):
        u = np.zeros((D.n_clusters, D.q))
        assert ll + float(prior(joint_value(model, density.parameters(z), u))) == pytest.approx(
            log_posterior(density, priors, z), abs=1e-6
        )


def test_rows_and_labels_do_not_matter(case):
    spec, _, priors, density = case
    data = frame().sample(frac=1, random_state=1)
    data["school"] = data["school"].map({s: f"other {k}" for k, s in enumerate(sorted(data["school"].unique()))})
    design = spec.design(data)
    again = spec.marginal(design, priors)
    z = random_points(density, 1)[0]
    z[density.n_top :] = 0.0  # sampled effects are in the order of the clusters
    same = again.with_coordinates(
        density.floats[density.at : density.at + density.n_top],
        density.floats[density.at + density.n_top :][: density.n_top**2].reshape(density.n_top, -1),
    )
    tolerance = 1e-8 if spec.family == "gaussian" else 1e-5  # a pilot fit chooses the other coordinates
    assert same(z)[0] == pytest.approx(density(z)[0], abs=tolerance * abs(density(z)[0]))


def test_every_free_variable_and_the_treatment_reach_the_likelihood(case):
    spec, design, priors, _ = case
    model = spec.joint(design, priors)
    names = {v.name for v in ancestors(model.observed_RVs)}
    assert {rv.name for rv in model.free_RVs} <= names
    if spec.treatment:
        assert "arm_code" in names


def test_dims_are_named(case):
    spec, design, priors, _ = case
    model = spec.joint(design, priors)
    for rv in model.unobserved_RVs:
        if rv.ndim and not rv.name.startswith("_"):
            assert model.named_vars_to_dims.get(rv.name), rv.name


def test_intervening_on_the_graph_gives_the_average_effect(case):
    """pm.do(arm) in the joint graph, random effects at a draw, is the ATE of that draw: one prediction, not two."""
    spec, design, priors, density = case
    if not spec.treatment:
        pytest.skip("no treatment")
    z = random_points(density, 1)
    draws = spec.recover(as_draws(density, z), design, np.random.default_rng(0))
    values = {k: v.to_numpy()[0, 0] for k, v in draws.data_vars.items()}
    if "corr" in values:
        values["_corr_factor"] = np.linalg.cholesky(values["corr"])
    model = spec.joint(design, priors)
    fixed = {rv.name: values[rv.name] for rv in model.free_RVs}
    n, arms = design.sizes["row"], design.sizes[f"{spec.treatment}_arm"]
    means = []
    for arm in range(arms):
        done = pm.do(model, fixed | {"arm_code": np.full(n, arm, "int32")})
        given = [v.eval(mode=EVALUATE) for v in done["y"].owner.op.dist_params(done["y"].owner)]
        match spec.family:
            case "student":
                mean = given[1]
            case "negative binomial":  # trials n, probability p
                mean = given[0] * (1 - given[1]) / given[1]
            case "ordered logit" | "ordered probit":  # probabilities of the categories
                mean = given[0] @ np.arange(given[0].shape[-1])
            case _:
                mean = given[0]
        means.append(mean.mean())
    ate = next(e for e in spec.estimands(design) if e.name == "ATE").draws(draws, design).to_numpy().ravel()
    np.testing.assert_allclose(np.array(means[1:]) - means[0], ate, rtol=1e-9, atol=1e-10)


def test_fit_estimands_and_round_trip(case, tmp_path):
    spec = case[0]
    fit = bh.fit(spec, frame(), draws=150, tune=200, seed=1, progress=False, path=tmp_path / "fit")
    table = bh.effects(fit, meaningful=1.0, rope=(-0.5, 0.5))
    assert np.isfinite(table[["estimate", "mean", "lower", "upper"]].to_numpy()).all()
    assert not any(str(v).startswith("_") for v in fit.posterior.data_vars)
    again = bh.load(tmp_path / "fit")
    xr.testing.assert_identical(again.posterior, fit.posterior)
    assert list(again.posterior.data_vars) == list(fit.posterior.data_vars)
    assert again.spec == fit.spec
    assert again.priors == fit.priors
    assert repr(again.diagnosis) == repr(fit.diagnosis)
