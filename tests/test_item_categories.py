"""ItemResponse with discriminations, a probit link, ordered categories: integrals, contract, exact draws."""

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE
from item_answers import KINDS, ROLES, log_curve, trial
from item_points import as_draws, joint_value, log_posterior
from scipy import stats
from scipy.special import expit, logsumexp, ndtr

import bayeshte as bh
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.marginal import abilities as integrals
from bayeshte.marginal.item_categories import ADJACENT, CUMULATIVE, LOGIT, PROBIT, Form
from bayeshte.marginal.kernels.item_coordinates import HEADER
from bayeshte.marginal.responses import responses


def form_with(kind: str, free: bool, n: np.ndarray) -> Form:
    return Form(*KINDS[kind], free, n, (0.0, 1.0))


def items_and_answers(kind, items, sigma, persons=12, most=4, seed=0, steepest=4.0, spread=1.0):
    """Slopes, levels by arm, thresholds, mean abilities and answers (person, item) from the equations."""
    rng = np.random.default_rng(seed)
    form, link = KINDS[kind]
    n = rng.integers(2, most + 1, items)
    n[0] = most
    tau = [np.sort(rng.normal(0, spread, k - 1)) if form == CUMULATIVE else rng.normal(0, spread, k - 1) for k in n]
    tau = [t - t.mean() for t in tau]
    a = np.exp(rng.normal(0, 0.5, items))
    a[0] = steepest
    level, arm = rng.normal(0, 1, (2, items)), np.arange(persons) % 2
    mean = rng.normal(0, 0.5, persons)
    theta = mean + sigma * rng.normal(size=persons)
    y = np.empty((persons, items))
    for i in range(items):
        for j in range(persons):
            p = np.exp(log_curve(form, link, theta[j : j + 1], level[arm[j], i], a[i], tau[i])[0])
            y[j, i] = rng.choice(n[i], p=p / p.sum())
    y[:2], y[2:4] = 0, n - 1
    return n, tau, a, level, arm, mean, y


def units(form, arm, mean, y, keep=None):
    person, item = np.indices(y.shape).reshape(2, -1)
    keep = np.ones(len(person), bool) if keep is None else keep
    shape = (2, y.shape[1])
    return responses(arm, mean[:, None], person[keep], item[keep], y.ravel()[keep], shape, form=form)


def total(data, sigma, level, a, tau, spacing=integrals.SPACING) -> float:
    """Log-likelihood of all persons, whose mean abilities are the only covariate."""
    form = data.categories.form
    shapes = a[None], np.concatenate(tau)[None]
    given = np.ones((1, 1)), np.full((1, 2), sigma), level[None]
    ll = integrals.abilities(data, *given, shapes=shapes, spacing=spacing)[0][0] @ data.count
    return float(ll + (data.categories.responses * integrals.of_responses(form, level[None], *shapes)[0]).sum())


def by_brute_force(kind, sigma, level, a, tau, arm, mean, y, keep) -> float:
    out = 0.0
    keep = keep.reshape(y.shape)
    for j in range(len(y)):
        theta = np.linspace(mean[j] - 13 * sigma, mean[j] + 13 * sigma, 12_001)
        log = stats.norm.logpdf(theta, mean[j], sigma)
        for i in np.flatnonzero(keep[j]):
            log = log + log_curve(*KINDS[kind], theta, level[arm[j], i], a[i], tau[i])[:, int(y[j, i])]
        out += logsumexp(log) + np.log(theta[1] - theta[0])
    return out


# ---------------------------------------------------------------------------------------------- the integral


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("items", "sigma", "most", "spread", "missing"),
    [
        (4, 6.0, 5, 1.0, 0.0),
        (4, 0.05, 5, 0.5, 0.2),
        (100, 1.5, 3, 1.0, 0.2),
        (6, 1.0, 6, 3.0, 0.0),
        (2, 3.0, 4, 0.3, 0.0),
    ],
)
def test_integral_against_brute_force(kind, items, sigma, most, spread, missing):
    """Slopes up to four, disordered thresholds in partial credit; twice the nodes change nothing, too few are found out."""
    n, tau, a, level, arm, mean, y = items_and_answers(kind, items, sigma, most=most, spread=spread, seed=items)
    keep = np.random.default_rng(1).random(y.size) >= missing
    data = units(form_with(kind, True, n), arm, mean, y, keep)
    exact = by_brute_force(kind, sigma, level, a, tau, arm, mean, y, keep)
    ours = total(data, sigma, level, a, tau)
    assert ours == pytest.approx(exact, abs=1e-6)
    assert total(data, sigma, level, a, tau, integrals.SPACING / 2) == pytest.approx(ours, abs=1e-6)
    assert abs(total(data, sigma, level, a, tau, 3.5) - exact) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_doubling_the_nodes_of_many_persons(kind):
    n, tau, a, level, arm, mean, y = items_and_answers(kind, 10, 2.0, persons=200)
    data = units(form_with(kind, True, n), arm, mean, y)
    a_few = total(data, 2.0, level, a, tau)
    assert 100 * abs(a_few - total(data, 2.0, level, a, tau, integrals.SPACING / 2)) < 0.01  # as of 20,000 persons


def test_unit_slopes_and_two_categories_are_the_rasch_model():
    """2PL with slopes of one, and graded and partial credit items with two categories: the same likelihood to 1e-8."""
    n, _, a, level, arm, mean, y = items_and_answers("graded", 7, 1.3, most=2)
    tau, one = [np.zeros(1)] * 7, np.ones(7)
    person, item = np.indices(y.shape).reshape(2, -1)
    rasch = responses(arm, mean[:, None], person, item, y.ravel(), (2, 7))
    ll = integrals.abilities(rasch, np.ones((1, 1)), np.full((1, 2), 1.3), level[None])[0][0] @ rasch.count
    ll += (rasch.right * level).sum()
    for kind, free in (("graded", True), ("partial credit", True), ("partial credit", False)):
        data = units(form_with(kind, free, n), arm, mean, y)
        assert total(data, 1.3, level, one, tau) == pytest.approx(ll, abs=1e-8)
    pairs = [
        total(units(form_with(k, True, n), arm, mean, y), 1.3, level, a, tau) for k in ("graded", "partial credit")
    ]
    assert pairs[0] == pytest.approx(pairs[1], abs=1e-8)


def test_probit_is_near_logit_over_1_7():
    n, tau, a, level, arm, mean, y = items_and_answers("graded", 8, 1.0, persons=100, steepest=1.5)
    logit = total(units(form_with("graded", True, n), arm, mean, y), 1.0, level, a, tau)
    probit = total(units(form_with("graded probit", True, n), arm, mean, y), 1.0, level, a / 1.702, tau)
    assert probit == pytest.approx(logit, rel=0.01)
    assert abs(probit - logit) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_reversed_categories_change_the_signs(kind):
    """y to K - 1 - y with -mu, -b, -zeta and the thresholds reversed: the same likelihood, so that rho stays as it is."""
    n, tau, a, level, arm, mean, y = items_and_answers(kind, 6, 1.2, persons=30)
    form = form_with(kind, True, n)
    back = total(units(form, arm, -mean, n - 1 - y), 1.2, -level, a, [-t[::-1] for t in tau])
    assert back == pytest.approx(total(units(form, arm, mean, y), 1.2, level, a, tau), abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_abilities_are_drawn_exactly(kind):
    """Draws of one person against the distribution function, integrated numerically: Kolmogorov-Smirnov."""
    draws = 20_000
    n, tau, a, level, arm, mean, y = items_and_answers(kind, 5, 2.0, persons=4, seed=3)
    y[0], y[1] = np.minimum(1, n - 1), n - 1
    data = units(form_with(kind, True, n), arm, mean, y)
    shapes = np.tile(a, (draws, 1)), np.tile(np.concatenate(tau), (draws, 1))
    given = np.ones((draws, 1)), np.full((draws, 2), 2.0), np.tile(level, (draws, 1, 1))
    theta = integrals.abilities(data, *given, shapes=shapes, seed=5)[1]
    for j in range(2):
        at = np.linspace(mean[j] - 20, mean[j] + 20, 80_001)
        log = stats.norm.logpdf(at, mean[j], 2.0)
        for i in range(5):
            log = log + log_curve(*KINDS[kind], at, level[arm[j], i], a[i], tau[i])[:, int(y[j, i])]
        cdf = np.cumsum(np.exp(log - log.max()))
        assert stats.kstest(np.interp(theta[:, j], at, cdf / cdf[-1]), "uniform").pvalue > 1e-3


# ---------------------------------------------------------------------------------------------- the contract


CASES = {
    "2pl": (dict(categories=2 + 1), dict(model="2pl", covariates="pretest")),
    "rasch probit": ({}, dict(model="rasch", link="probit", sigma_by_arm=True)),
    "graded": ({}, dict(model="graded")),
    "graded probit": (dict(arms=3), dict(model="graded", link="probit", item_effects=False, sigma_by_arm=True)),
    "partial credit": ({}, dict(model="partial credit", moderators="pretest")),
    "generalized": (dict(arms=3), dict(model="generalized partial credit", cluster="school", varying="drug")),
    "fixed items": ({}, dict(model="graded", items="fixed")),
    "odd priors": (
        {},
        dict(
            model="graded",
            priors={"sigma_a": bh.Exponential(2), "gap": bh.LogNormal(-0.3, 0.7), "sigma_theta": bh.Gamma(2, 1)},
        ),
    ),
}
SPECS = {k: bh.ItemResponse(**ROLES, **options) for k, (_, options) in CASES.items()}


def data_of(name: str, **options) -> pd.DataFrame:
    data = trial(**dict(persons=24, items=4, missing=0.15) | CASES[name][0] | options)[0]
    highest = data.groupby("word")["answer"].transform("max")
    return (
        data.assign(answer=(2 * data["answer"] > highest).astype(int))
        if SPECS[name].model in ("rasch", "2pl")
        else data
    )


@pytest.fixture(params=CASES, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = SPECS[request.param]
    design = spec.design(data_of(request.param))
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def test_gradient_is_exact(case):
    density = case[3]
    for z in np.random.default_rng(0).normal(0, 1.0, (2, density.n_dim)):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def log_rows(spec, design, draws, theta) -> np.ndarray:
    """log P of all responses given abilities (draw, person), from the equations."""
    D = Arrays(design)
    out, e = np.zeros(len(theta)), D.easiness(draws)
    form, link = (
        (CUMULATIVE if spec.link == "probit" or spec.model == "graded" else ADJACENT),
        int(spec.link == "probit"),
    )
    a, tau = D.shapes(draws)
    for s in range(len(theta)):
        for i in range(D.n_items):
            own = D.item_code == i
            at = theta[s, D.person_code[own]] + e[s, D.arm[own], i]
            log = log_curve(form, link, at, 0.0, a[s, i], tau[s, D.form.of_item(i)])
            out[s] += log[np.arange(own.sum()), D.y[own].astype(int)].sum()
    return out


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, theta, u, ...) - log p(theta | y, u, ...) = log p(y, u, ...) for abilities far from any posterior."""
    spec, design, priors, density = case
    D, n = Arrays(design), 4
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    points = np.random.default_rng(1).normal(0, 0.5, (n, density.n_dim))
    draws = spec.recover(as_draws(density, points, design), design, np.random.default_rng(0))
    theta = np.random.default_rng(2).normal(0, 1.5, (n, D.n_persons))
    mean = D.beta(draws) @ D.full.T
    if D.cluster:
        v0, v1 = D.split(D.v(draws)[:, D.person_cluster])
        mean = mean + v0 + (v1 * D.persons[0]).sum(-1)
    of_rows = log_rows(spec, design, draws, theta)
    given = draws.assign(theta=(("chain", "draw", D.person), theta[None]))
    rows = spec.log_likelihood(given, design, "row").sum("row").to_numpy()[0]
    np.testing.assert_allclose(rows, of_rows, atol=1e-8)
    conditional = of_rows + stats.norm.logpdf(theta, mean, D.sigma(draws)[:, D.person_arm]).sum(1)
    conditional -= spec.log_likelihood(draws, design, "cluster").sum(D.person).to_numpy()[0]
    dims = {o.name: o.dims for o in density.outputs}
    for s, z in enumerate(points):
        values = joint_value(model, density.parameters(z) | {"theta": theta[s]}, dims)
        assert float(logp(values)) - conditional[s] == pytest.approx(
            log_posterior(density, design, priors, z), abs=1e-5
        )


def test_small_ability_sd_is_continuous(case):
    """Below the SD from which on the grid is not refined the log density goes on smoothly, also through zero."""
    spec, design, _, _ = case
    if len(Arrays(design).sigmas) > 1 or "sigma_theta" in (spec.priors if isinstance(spec.priors, dict) else {}):
        return
    density = spec.marginal(design, spec.frozen_priors(design) | {"sigma_theta": bh.HalfNormal(1)})
    d, k = density.n_top, int(density.ints[1]) - 1
    start, rest = density.floats[density.at : density.at + d].copy(), np.zeros(density.n_dim)

    def at(sigma):
        start[k] = sigma
        out = density.with_coordinates(start, np.eye(d))(rest)
        return out[0], out[1][k]

    if density.ints[HEADER + k] != 0:  # clearly not zero in these data: sampled on the log scale
        return
    sigmas = np.array([2e-3, 1.1e-3, 9e-4, 5e-4, 0.0])
    values = np.array([at(s)[0] for s in sigmas])
    slope = (values[0] - values[-1]) / sigmas[0] ** 2
    np.testing.assert_allclose(values, values[-1] + slope * sigmas**2, atol=1e-5)
    assert at(-0.3) == pytest.approx((at(0.3)[0], -at(0.3)[1]))


@pytest.mark.parametrize("name", ["graded", "graded probit", "generalized", "2pl"])
def test_expected_responses_are_those_of_the_equations(name):
    """`expected` of new persons, and the score, against a sum over a dense grid of residuals."""
    spec, design = SPECS[name], SPECS[name].design(data_of(name))
    D = Arrays(design)
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = spec.recover(as_draws(density, [np.full(density.n_dim, 0.3)], design), design, np.random.default_rng(0))
    sd, e, (a, tau) = D.spread(draws)[0], D.easiness(draws)[0], D.shapes(draws)
    mean = D.coefficients(draws)
    z = np.linspace(-9, 9, 4001)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    form, link = (CUMULATIVE if name.startswith("graded") else ADJACENT), int("probit" in name)
    for arm, label in enumerate(D.arms):
        mu = mean[0][0] + (mean[1][0, arm - 1] if arm else 0.0) + D.persons[1] @ mean[2][0]
        ours = spec.expected(draws, design, arm=label, clusters="new").to_numpy().ravel()
        for row in range(0, len(ours), 7):
            i = D.item_code[row]
            at = mu[D.person_code[row]] + sd[arm] * z
            p = np.exp(log_curve(form, link, at, e[arm, i], a[0, i], tau[0, D.form.of_item(i)]))
            assert ours[row] == pytest.approx(weight @ p @ np.arange(p.shape[1]), abs=1e-7)
    score = next(v for v in spec.estimands(design) if v.name == "expected score difference").draws(draws, design)
    everyone = spec.expected(
        draws,
        design,
        arm="drug",
        clusters="new",
        frame=_all_items(design),
        weight=np.ones((1, D.n_persons * D.n_items)),
    )
    nobody = spec.expected(
        draws,
        design,
        arm="control",
        clusters="new",
        frame=_all_items(design),
        weight=np.ones((1, D.n_persons * D.n_items)),
    )
    assert score.sel(arm="drug").item() == pytest.approx((everyone - nobody).item() / D.n_persons, abs=1e-6)


def _all_items(design) -> pd.DataFrame:
    """Every person with every item."""
    D = Arrays(design)
    person, item = np.indices((D.n_persons, D.n_items)).reshape(2, -1)
    frame = pd.DataFrame({"word": np.array(D.labels("word"))[item]})
    return frame.assign(pretest=D.persons[1][person, 0] if D.labels("covariate") else 0.0)


def test_functions_of_the_tests_are_right():
    """The reference curves sum to one and have the textbook form."""
    theta = np.linspace(-3, 3, 7)
    tau = np.array([-1.0, 0.2, 0.8])
    for form, link in KINDS.values():
        np.testing.assert_allclose(np.exp(log_curve(form, link, theta, 0.3, 1.4, tau)).sum(1), 1, atol=1e-12)
    above = np.exp(log_curve(CUMULATIVE, PROBIT, theta, 0.3, 1.4, tau))[:, 2:].sum(1)
    np.testing.assert_allclose(above, ndtr(1.4 * (theta + 0.3 - 0.2)), atol=1e-12)
    p = np.exp(log_curve(ADJACENT, LOGIT, theta, 0.3, 1.4, tau))
    np.testing.assert_allclose(p[:, 2] / (p[:, 1] + p[:, 2]), expit(1.4 * (theta + 0.3 - 0.2)), atol=1e-12)
