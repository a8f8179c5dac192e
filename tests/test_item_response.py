"""ItemResponse: the integral against brute force, the contract."""

import dataclasses

import numpy as np
import pymc as pm
import pytest
from cases import EVALUATE
from item_points import as_draws, joint_value, log_posterior
from item_responses import ROLES, SPECS, trial
from scipy import stats
from scipy.special import expit

import bayeshte as bh
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.marginal import abilities as integrals
from bayeshte.marginal.responses import responses


@pytest.fixture(params=SPECS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(trial(persons=14, missing=0.2)[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


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
    draws = spec.recover(as_draws(density, points, design), design, np.random.default_rng(0))
    theta = np.random.default_rng(2).normal(0, 3, (12, Arrays(design).n_persons))
    conditional = log_density_of_abilities(design, draws, theta)
    dims = {o.name: o.dims for o in density.outputs}
    for s, z in enumerate(points):
        joint = float(logp(joint_value(model, density.parameters(z) | {"theta": theta[s]}, dims)))
        assert joint - conditional[s] == pytest.approx(log_posterior(density, design, priors, z), abs=1e-6)


def test_parametrisations_of_the_joint_graph_agree(case):
    spec, design, priors, density = case
    D = Arrays(design)
    z = np.random.default_rng(3).normal(size=density.n_dim)
    values = density.parameters(z)
    draws = as_draws(density, [z], design)
    names = ("sigma_b", "sigma_zeta")[: D.q]
    factor = np.diag([float(values[v]) for v in names]) @ values["_corr_factor"]
    noise, eps = (
        np.random.default_rng(4).normal(size=(D.n_items, D.q)),
        np.random.default_rng(5).normal(size=D.n_persons),
    )
    theta = (D.beta(draws.assign(b=draws["u"][..., 0])) @ D.full.T)[0] + values["sigma_theta"] * eps
    dims = {o.name: o.dims for o in density.outputs} | {"_z": (D.item, "varying")}
    centred, other = spec.joint(design, priors), spec.joint(design, priors, centred=False)
    a = centred.compile_logp(mode=EVALUATE)(
        joint_value(centred, values | {"u": noise @ factor.T, "theta": theta}, dims)
    )
    b = other.compile_logp(mode=EVALUATE)(joint_value(other, values | {"_z": noise, "_eps": eps}, dims))
    jacobian = D.n_items * np.linalg.slogdet(factor)[1] + D.n_persons * np.log(values["sigma_theta"])
    assert float(a) + jacobian == pytest.approx(float(b), abs=1e-7)


def test_rows_and_labels_do_not_matter(case):
    """The likelihood of other rows, ids as numbers, at the same values."""
    spec, design, _, density = case
    draws = spec.recover(as_draws(density, [np.zeros(density.n_dim)], design), design, np.random.default_rng(0))
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
    draws = spec.recover(as_draws(density, [np.zeros(density.n_dim)], design), design, np.random.default_rng(0))
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
