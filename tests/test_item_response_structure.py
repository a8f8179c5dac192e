"""ItemResponse with several arms, clusters of persons, item covariates, fixed items: the contract, recovery, awkward data."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from cases import EVALUATE
from scipy import stats
from scipy.special import expit

import bayeshte as bh
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.marginal.density import is_even

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


def as_draws(density, points, design) -> xr.Dataset:
    """Parameters at several points as one chain of draws."""
    values = [density.parameters(z) for z in points]
    data = {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    coords = {d: design[d].to_numpy() for o in density.outputs for d in o.dims}
    return xr.Dataset(data, {"chain": [0], "draw": np.arange(len(points))} | coords)


# ---------------------------------------------------------------------------------------------- the contract


def test_gradient_is_exact(case):
    density = case[3]
    for z in np.random.default_rng(0).normal(0, 1.0, (3, density.n_dim)):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def free(density, design, z) -> np.ndarray:
    """Parameters in which PyMC's distributions are densities: of a factor what is below the diagonal, of u that sums to zero its
    coordinates in an orthonormal basis."""
    out = []
    for name, v in density.parameters(z).items():
        if name.endswith("_factor"):
            out.append(v[np.tril_indices(len(v), -1)])
        elif name == "u" and Arrays(design).fixed:
            basis = np.linalg.svd(np.ones((1, len(v))))[2][1:]
            out.append((basis @ v).ravel())
        else:
            out.append(v.ravel())
    return np.concatenate(out)


def log_posterior(density, design, priors, z) -> float:
    """The kernel's log density at z as one of the parameters, in the measure of PyMC's distributions; Jacobian numerically."""
    coarse, fine = (
        np.column_stack(
            [(free(density, design, z + h) - free(density, design, z - h)) / (2 * e) for h in e * np.eye(density.n_dim)]
        )
        for e in (1e-4, 5e-5)
    )
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    names = [
        v
        for v in priors
        if v not in ("rho", "corr") and not (Arrays(design).fixed and v.split("[")[0] in ("b", "zeta"))
    ]
    codes = density.ints[14 : 14 + len(names)]
    twice = sum(is_even(priors[v]) and code == 0 for v, code in zip(names, codes, strict=True))
    constant = np.linalg.slogdet((4 * fine - coarse) / 3)[1] - np.linalg.slogdet(scale)[1]
    return density(z)[0] + twice * np.log(2) - constant


def joint_value(model: pm.Model, values: dict, dims: dict) -> dict:
    """Values in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        value, transform = np.asarray(values[rv.name]), model.rvs_to_transforms[rv]
        if rv.name == "u" and model.named_vars_to_dims["u"] != dims["u"]:
            value = value.T
        if transform is not None:
            value = transform.forward(pt.as_tensor(value), *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point


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
