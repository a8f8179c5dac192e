"""EffectMixture whose random effects quadrature integrates, and random slopes beside classes of individuals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mixture_cases import INTEGRATED, ROLES, as_draws, random_points, trial
from scipy import stats
from scipy.special import logsumexp
from test_effect_mixture import (  # noqa: F401  the contract, which runs here over the variants of this module
    test_data_can_be_simulated,
    test_fit_estimands_checks_and_round_trip,
    test_marginal_and_joint_define_the_same_posterior,
    test_parametrisations_of_the_joint_graph_agree,
    test_renumbering_changes_nothing,
    test_rows_and_labels_do_not_matter,
)

import bayeshte as bh
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_classes import probabilities, terms
from bayeshte.families.effect_mixture_outcomes import random_columns
from bayeshte.families.random_slope_arrays import Arrays as RandomSlopeArrays
from bayeshte.marginal import glmm, glmm_integral, glmm_outcomes, mixture, mixture_data, mixture_draws, mixture_modes

pytestmark = pytest.mark.slow

OF_CLUSTERS = [name for name in INTEGRATED if not name.startswith("persons")]
OF_PERSONS = [name for name in INTEGRATED if name.startswith("persons")]


@pytest.fixture(params=INTEGRATED, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    return built(request.param)


def built(name, data=None):
    """The same of one specification."""
    spec = INTEGRATED[name]
    design = spec.design(trial()[0] if data is None else data)
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


@pytest.fixture
def fine(monkeypatch):
    """Quadrature with so many nodes that its error cannot be seen."""
    monkeypatch.setattr(mixture_data, "NODES", dict.fromkeys(mixture_data.FAMILIES, (60, 40, 20)))
    monkeypatch.setattr(mixture_data, "NODES_OF_ROWS", (60, 40, 20))


def grid(q, points=501, wide=14.0):
    """Standard normal points and the logarithms of their weights, a product of trapezoids: (G, q), (G,)."""
    x = np.linspace(-wide, wide, points)
    y = np.stack(np.meshgrid(*[x] * q, indexing="ij"), -1).reshape(-1, q)
    return y, stats.norm.logpdf(y).sum(1) + q * np.log(x[1] - x[0])


def rows_given(D, t, c, u, rows):
    """log p(y_i | class c, u) at many effects u (G, q), constants of counts left out: (G, row)."""
    eta = D.full[rows] @ t.beta[0, c] + (u @ random_columns(D, D.T[rows]).T if D.q else np.zeros((len(u), 1)))
    if D.family == "gaussian":
        return stats.norm.logpdf(D.y[rows], eta, t.shape[0, c, 0])
    if D.trials is not None:
        return D.y[rows] * eta - D.trials[rows] * np.logaddexp(0, eta)
    given = [t.shape[0, c]] if D.family == "student" else [()]
    return glmm_outcomes.log_likelihood(eta, 1, D.y[rows], D.family, *given)


# ---------------------------------------------------------------------------------------------- brute force


@pytest.mark.parametrize("name", INTEGRATED)
def test_gradient_is_exact(fine, name):
    """But for the error of the quadrature: with many nodes."""
    density = built(name)[3]
    for z in random_points(density, 2):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("name", OF_CLUSTERS)
def test_clusters_against_a_grid(name):
    """Likelihood of every cluster in every class, effects on a wide grid: with many nodes, with those used; the error stated."""
    data = trial(3, clusters=8)[0]
    spec, design, _, density = built(name, data)
    D, draws = Arrays(design), as_draws(density, 0.7 * random_points(density, 2))
    y, log_weight = grid(D.q)
    found, stated = terms(D, D.parameters(draws)), spec.log_likelihood(draws, design, "cluster")
    many = mixture_draws.class_log_likelihood(replace(D.units, nodes=40), D.parameters(draws))
    for s in range(2):
        t = D.parameters(draws.isel(draw=[s]))
        prior = mixture_draws.log_prior_probabilities(D.units, t)[0]
        expected = np.empty((D.n_units, D.classes))
        for j, c in np.ndindex(*expected.shape):
            ll = rows_given(D, t, c, y @ t.factor[0, c].T, D.code == j).sum(1)
            expected[j, c] = prior[j, c] + logsumexp(ll + log_weight)
        np.testing.assert_allclose(many[s] + prior, expected, atol=1e-6)
        assert abs(logsumexp(found[s], axis=1).sum() - logsumexp(expected, axis=1).sum()) < 0.005
        total = float(stated[0, s].sum()) - D.units.constant
        assert total == pytest.approx(
            logsumexp(expected, axis=1).sum(), abs=2 * stated.attrs["quadrature_error"] + 1e-5
        )


@pytest.mark.parametrize("name", OF_PERSONS)
def test_classes_of_rows_against_a_grid(name):
    """Clusters whose rows belong to classes: likelihood, P(class | data) of rows, and the kernel's likelihood for optimisers."""
    data = trial(2, clusters=6)[0]
    spec, design, _, density = built(name, data)
    D, draws = Arrays(design), as_draws(density, 0.5 * random_points(density, 2))
    code = design["cluster_code"].to_numpy()
    units, order = mixture_data.by_cluster(D.units, D.q)
    y, log_weight = grid(D.q)
    stated = spec.log_likelihood(draws.drop_vars("u"), design, "cluster")
    for s in range(2):
        t = D.parameters(draws.isel(draw=[s]))
        prior = mixture_draws.log_prior_probabilities(D.units, t)[0]
        u, total, share = y @ t.factor[0, 0].T, np.empty(6), np.empty((len(code), 2))
        for j in range(6):
            own = code == j
            each = np.stack([prior[own, c] + rows_given(D, t, c, u, own) for c in range(2)], axis=-1)
            by_row = logsumexp(each, axis=-1)
            joint = by_row.sum(1) + log_weight
            total[j] = logsumexp(joint)
            share[own] = np.einsum("g,gic->ic", np.exp(joint - total[j]), np.exp(each - by_row[..., None]))
        found, chance = mixture_draws.rows_of_clusters(replace(units, nodes=40), t, share=True)
        np.testing.assert_allclose(found[0], total, atol=1e-6)
        np.testing.assert_allclose(chance, share[order], atol=1e-6)
        assert abs(mixture_draws.rows_of_clusters(units, t)[0].sum() - total.sum()) < 0.005
        error = abs(float(stated[0, s].sum()) - total.sum())
        assert error < 2 * stated.attrs["quadrature_error"] + 1e-5


@pytest.mark.parametrize("name", OF_PERSONS)
def test_likelihood_for_optimisers(fine, name):
    """Its value is that of `rows_of_clusters` at its parameters, its gradient is exact."""
    D = Arrays(INTEGRATED[name].design(trial()[0]))
    units = mixture_data.by_cluster(D.units, D.q)[0]
    density = mixture.likelihood(units, D.layout)
    for z in np.random.default_rng(1).normal(0, 0.5, (3, density.n_dim)):
        t = mixture_modes.parameters_at(units, D.layout, z)
        expected = mixture_draws.rows_of_clusters(units, t)[0].sum() + units.constant
        assert density(z)[0] == pytest.approx(expected, rel=1e-10)
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def test_one_class_is_the_random_slope():
    """K = 1 with a binary outcome: the likelihood of RandomSlope's clusters with as many nodes, to 1e-8."""
    data = trial(2, clusters=14)[0]
    _, design, _, density = built("one, binary", data)
    D, draws = Arrays(design), as_draws(density, random_points(density, 5))
    roles = ROLES | {"outcome": "passed"}
    other = RandomSlopeArrays(bh.RandomSlope(**roles, family="logit", varying="drug").design(data))
    rows = glmm.collapse(other.full, other.y, [0, 1], other.code, 14, "logit")
    t, n = D.parameters(draws), D.units.nodes
    expected = glmm_integral.quadrature(rows, t.beta[:, 0], t.factor[:, 0], np.empty((5, 0)), n)
    np.testing.assert_allclose(mixture_draws.class_log_likelihood(D.units, t)[..., 0], expected, atol=1e-8)


# ---------------------------------------------------------------------------------------------- drawn back


@pytest.mark.parametrize("name", ["binary", "binomial, slopes", "student"])
def test_effects_are_drawn_from_their_conditional_distribution(name):
    """At one parameter value, per class: means, SDs and the distribution function of effects against a grid."""
    data = trial(3, clusters=6)[0]
    spec, design, _, density = built(name, data)
    spec = replace(spec, order="gamma0")
    D, n = Arrays(design), 6000
    point = as_draws(density, random_points(density, 1, seed=2))
    draws = point.isel(draw=[0] * n).assign_coords(draw=np.arange(n))
    draws = spec.recover(draws, design, np.random.default_rng(0))
    label, u = draws["label"].to_numpy()[0], draws["u"].to_numpy()[0]
    t, chance = D.parameters(draws.isel(draw=[0])), probabilities(D, draws.isel(draw=[0]))[0]
    y, log_weight = grid(D.q, 1001 if D.q == 1 else 301)
    for j, c in np.ndindex(D.n_units, D.classes):
        own = u[label[:, j] == c, j]
        assert abs(len(own) / n - chance[j, c]) <= 4 * np.sqrt(chance[j, c] * (1 - chance[j, c]) / n) + 1e-9
        if chance[j, c] < 0.2:
            continue
        at = y @ t.factor[0, c].T
        weight = rows_given(D, t, c, at, D.code == j).sum(1) + log_weight
        weight = np.exp(weight - logsumexp(weight))
        mean = weight @ at
        sd = np.sqrt(weight @ (at - mean) ** 2)
        assert (np.abs(own.mean(0) - mean) < 4.5 * sd / np.sqrt(len(own))).all()
        np.testing.assert_allclose(own.std(0), sd, rtol=0.12)
        for k in range(D.q):
            inside = at[:, k] < np.quantile(own[:, k], 0.9)
            assert weight[inside].sum() == pytest.approx(0.9, abs=4.5 * 0.3 / np.sqrt(len(own)) + 0.01)


@pytest.mark.parametrize("name", ["binary", "counts, slopes", "persons, slopes, binary"])
def test_new_clusters_are_averaged_over(name):
    """Expected outcomes in new clusters against their average over many random effects."""
    spec, design, _, density = built(name)
    D, draws = Arrays(design), as_draws(density, 0.3 * random_points(density, 1))
    if spec.class_of == "cluster":
        draws = spec.recover(draws, design, np.random.default_rng(0))
    found = spec.expected(draws, design, arm="drug", clusters="new").to_numpy()[0, 0]
    t, T = D.parameters(draws), np.ones((len(D.arm), 1))
    z = np.random.default_rng(1).normal(size=(20_000, D.q))
    prior = np.exp(mixture_draws.log_prior_probabilities(D.units, t))[0][D.code]
    X = D.full.copy()
    X[:, 1] = 1
    rows, expected, error = np.arange(5), np.zeros(5), np.zeros(5)
    for c in range(D.classes):
        shift = z @ t.factor[0, c].T @ random_columns(D, T[rows]).T
        mean = glmm_outcomes.inverse_link(X[rows] @ t.beta[0, c] + shift, D.family)
        expected += prior[rows, c] * mean.mean(0)
        error += prior[rows, c] * mean.std(0) / np.sqrt(len(z))
    assert (np.abs(found[rows] - expected) < 4.5 * error).all()


def test_many_varying_effects_are_refused():
    """Three arms' effects beside the intercept are integrated exactly or not at all."""
    data = trial()[0]
    data["arm"] = np.resize(["control", "low", "middle", "high"], len(data))
    spec = bh.EffectMixture(**ROLES | {"outcome": "passed"}, family="logit", varying="all")
    with pytest.raises(bh.SpecError, match="at most 2 arms can vary between clusters, here 3"):
        spec.design(data)
    assert Arrays(replace(spec, varying=("low", "high")).design(data)).q == 3
    assert Arrays(replace(spec, family="gaussian", outcome="y").design(data)).q == 4


# ---------------------------------------------------------------------------------------------- fits


def simulated(seed, clusters, rows, of, sd):
    """Two classes, intercepts -1 and 1 (or 3), effects 0 and 1.2 on the link scale; SDs of intercepts and effects."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(clusters), rows)
    N, u = len(school), rng.normal(size=(clusters, 2)) * sd
    label = (rng.random(clusters) < 0.4)[school] if of == "cluster" else rng.random(N) < 0.4
    T = rng.integers(0, 2, N)
    far = 2.0 if of == "cluster" else 4.0
    eta = -1 + far * label + u[school, 0] + (1.2 * label + u[school, 1]) * T
    frame = pd.DataFrame({"arm": np.where(T == 1, "drug", "control"), "school": school})
    return frame, eta, label, rng


def near(table, truth):
    """Whether posterior means are within 3.5 posterior SDs of the truth."""
    table = table.set_index("parameter")
    for name, value in truth.items():
        assert abs(table.loc[name, "mean"] - value) < 3.5 * table.loc[name, "posterior_sd"], name


def test_classes_of_clusters_with_binary_outcomes_are_found():
    """60 clusters of 40: class effects, their size, the SD of intercepts; who belongs where; how many classes."""
    frame, eta, label, rng = simulated(1, 60, 40, "cluster", [0.5, 0])
    frame["y"] = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    spec = bh.EffectMixture(**ROLES, family="logit", shared=("sd",))
    fit = bh.fit(spec, frame, seed=1, draws=500, tune=300, progress=False)
    assert fit.diagnosis.ok, fit.diagnosis
    truth = {"gamma0[class 1]": -1, "gamma0[class 2]": 1, "gamma1[class 1, drug]": 0, "gamma1[class 2, drug]": 1.2}
    near(bh.summary(fit), truth | {"pi[class 2]": 0.4, "sd[intercept]": 0.5})
    found = bh.class_membership(fit)["most_likely"] == "class 2"
    assert (found.to_numpy() == label[::40]).mean() > 0.9
    check = bh.class_check(fit, rivals=False).table().set_index("name").loc["quadrature"]
    assert check["ok"]
    assert 0 < check["value"] < 0.01
    table = bh.fit_classes(spec, frame, [1, 2], bayesian=False)
    assert table.attrs["picks"]["BIC"] == 2
    assert "15 nodes a random effect" in table.attrs["integrated"]
    assert table.loc[2, "parameters"] == 6  # two intercepts and effects; one SD, one share


def test_classes_of_individuals_with_varying_effects_are_found():
    """30 clusters of 25, means 4 residual SDs apart: class effects, SDs of intercepts and effects; how many classes."""
    frame, eta, _, rng = simulated(2, 30, 25, "individual", [0.5, 0.4])
    frame["y"] = eta + rng.normal(size=len(eta))
    spec = bh.EffectMixture(**ROLES, class_of="individual", varying="drug", shared=("u", "sigma"))
    fit = bh.fit(spec, frame, seed=1, draws=800, tune=400, progress=False)
    assert fit.diagnosis.ok, fit.diagnosis
    truth = {"gamma0[class 1]": -1, "gamma0[class 2]": 3, "gamma1[class 1, drug]": 0, "gamma1[class 2, drug]": 1.2}
    near(bh.summary(fit), truth | {"pi[class 2]": 0.4, "sd[intercept]": 0.5, "sd[drug]": 0.4, "sigma": 1})
    effects = bh.effects(fit).set_index(["estimand", "contrast"])
    one = np.full((1, len(eta)), 1 / len(eta))
    each = [fit.spec.expected(fit.posterior, fit.design, arm=a, weight=one) for a in ("drug", "control")]
    assert float((each[0] - each[1]).mean()) == pytest.approx(effects.loc[("ATE", "drug vs control"), "mean"], abs=1e-9)
    table = bh.fit_classes(spec, frame, [1, 2], bayesian=False, seed=1)
    assert table.attrs["picks"]["BIC"] == 2
    assert "by quadrature with" in table.attrs["integrated"]
    assert table.loc[2, "stability"] > 0.8
    best = table.loc[2, "log_likelihood"]
    D = Arrays(spec.design(frame))
    units = mixture_data.by_cluster(D.units, D.q)[0]
    posterior = D.parameters(fit.posterior.isel(chain=[0], draw=slice(0, 800, 80)))
    assert (mixture_draws.rows_of_clusters(units, posterior)[0].sum(1) < best).all()  # no draw beats the maximum
