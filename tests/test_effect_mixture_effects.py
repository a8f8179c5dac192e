"""EffectMixture with classes of individuals in clusters: random effects of each class, class probabilities that vary."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import EVALUATE
from mixture_cases import EFFECTS, IN_CLUSTERS, as_draws, joint_value, random_points, trial
from scipy.special import log_softmax, logsumexp, softmax
from test_effect_mixture import (  # noqa: F401  the contract, which runs here over the variants of this module
    test_data_can_be_simulated,
    test_fit_estimands_checks_and_round_trip,
    test_gradient_is_exact,
    test_marginal_and_joint_define_the_same_posterior,
    test_renumbering_changes_nothing,
)
from test_effect_mixture_integral import grid, near, rows_given

import bayeshte as bh
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_outcomes import mean_outcome, random_columns
from bayeshte.marginal import mixture, mixture_data, mixture_draws, mixture_modes

pytestmark = pytest.mark.slow


@pytest.fixture(params=EFFECTS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = EFFECTS[request.param]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


INTEGRATED = [
    "own, student",
    "membership",
    "membership, binomial",
    "both, counts",
]  # over two effects of a cluster, or three
MANY = {
    2: 100,
    3: 24,
}  # nodes: an integrand can have a mode for each way in which a cluster's rows can be divided into classes


@pytest.mark.slow
@pytest.mark.parametrize("name", INTEGRATED)
def test_clusters_against_a_grid(name):
    """Effects of clusters integrated: likelihood, P(class | data) of rows, and the kernel's likelihood for optimisers."""
    spec = EFFECTS[name]
    design = spec.design(trial(2, clusters=6)[0])
    D, K = Arrays(design), spec.classes
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, 0.3 * random_points(density, 2))
    if D.sigmas:
        draws["sigma"] = xr.full_like(draws["sigma"], 1.5)  # one mode, whatever the rows' classes
    G, code = D.layout.effects(D.q), design["cluster_code"].to_numpy()
    y, log_weight = grid(G, *((301, 14.0) if G == 2 else (61, 8.0)))
    units, order = mixture_data.by_cluster(D.units, G)
    stated = spec.log_likelihood(draws.drop_vars([v for v in D.effect_dims]), design, "cluster")
    for s in range(2):
        t = D.parameters(draws.isel(draw=[s]))
        total, share = np.empty(6), np.empty((len(code), K))
        sets = K if D.own_effects else 1
        u = [y[:, c * D.q : (c + 1) * D.q] @ t.factor[0, c].T for c in range(sets)]
        odds = np.sqrt(0.5) * t.sd_member[0] * y[:, sets * D.q :] @ mixture.basis(K).T if D.varies else np.zeros((1, K))
        for j in range(6):
            own = code == j
            chance = log_softmax((D.W[own] @ t.alpha[0])[None] + odds[:, None], axis=-1)
            each = [rows_given(D, t, c, u[c % sets], own) for c in range(K)]
            each = chance + np.stack(each, axis=-1)
            by_row = logsumexp(each, axis=-1)
            joint = by_row.sum(1) + log_weight
            total[j] = logsumexp(joint)
            share[own] = np.einsum("g,gic->ic", np.exp(joint - total[j]), np.exp(each - by_row[..., None]))
        found, of_rows = mixture_draws.rows_of_clusters(replace(units, nodes=MANY[G]), t, share=True)
        np.testing.assert_allclose(found[0], total, atol=1e-6)
        np.testing.assert_allclose(of_rows, share[order], atol=1e-6)
        error = abs(float(stated[0, s].sum()) - D.units.constant - total.sum())
        assert error < 2 * stated.attrs["quadrature_error"] + 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", INTEGRATED)
def test_likelihood_for_optimisers(name):
    """Its value is that of `rows_of_clusters` at its parameters, its gradient is exact but for the error of the quadrature."""
    D = Arrays(EFFECTS[name].design(trial()[0]))
    G = D.layout.effects(D.q)
    units = replace(mixture_data.by_cluster(D.units, G)[0], nodes=MANY[G])
    density = mixture.likelihood(units, D.layout)
    for z in np.random.default_rng(1).normal(0, 0.3, (1, density.n_dim)):
        t = mixture_modes.parameters_at(units, D.layout, z)
        expected = mixture_draws.rows_of_clusters(units, t)[0].sum() + units.constant
        assert density(z)[0] == pytest.approx(expected, rel=1e-10)
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("name", ["own, slopes", "both"])
def test_parametrisations_of_the_joint_graph_agree(name):
    """log p(y, u, a) + log |d(u, a) / dz| = log p(y, z), for u = C_c z and a = s / sqrt 2 z."""
    spec = replace(EFFECTS[name], order=None)
    design = spec.design(trial()[0])
    priors, D, rng = spec.frozen_priors(design), Arrays(design), np.random.default_rng(2)
    density = spec.marginal(design, priors)
    point = random_points(density, 1)
    t, J = D.parameters(as_draws(density, point)), design.sizes["school"]
    z = rng.normal(size=(D.classes, J, D.q))
    own = {"_z": z, "u": (t.factor[0][:, None] @ z[..., None])[..., 0], "label": rng.integers(0, D.classes, D.n_units)}
    jacobian = J * np.linalg.slogdet(t.factor[0])[1].sum()
    if D.varies:
        scale, z = t.sd_member[0] / np.sqrt(2), rng.normal(size=(J, D.classes))
        z -= z.mean(1, keepdims=True)
        own |= {"_z_membership": z, "u_membership": scale * z}
        jacobian += J * (D.classes - 1) * np.log(scale)
    given = density.parameters(point[0]) | own
    values = []
    for centred in (True, False):
        model = spec.joint(design, priors, centred=centred)
        values.append(float(model.compile_logp(mode=EVALUATE)(joint_value(model, given))))
    assert values[0] + jacobian == pytest.approx(values[1], abs=1e-7)


def test_too_many_effects_are_refused():
    """Whole clusters have no likelihood where quadrature cannot integrate; rows have one, and nothing is computed in vain."""
    data = trial(3, clusters=12)[0]
    spec = bh.EffectMixture(**IN_CLUSTERS, varying="drug", classes=3)
    design = spec.design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, random_points(density, 2))
    with pytest.raises(bh.SpecError, match="share 6 effects over all classes"):
        spec.log_likelihood(draws, design, "cluster")
    assert np.isfinite(spec.log_likelihood(draws, design, "row")).all()
    with pytest.raises(bh.SpecError, match="share 6 effects over all classes"):
        bh.fit_classes(spec, data, [1, 3])


# ---------------------------------------------------------------------------------------------- drawn anew


@pytest.mark.parametrize("name", ["membership", "both, counts", "membership, binomial"])
def test_new_clusters_are_averaged_over(name):
    """Expected outcomes in new clusters, class sizes and their spread, against averages over many clusters."""
    spec = EFFECTS[name]
    design = spec.design(trial()[0])
    D, K = Arrays(design), spec.classes
    density = spec.marginal(design, spec.frozen_priors(design))
    draws = as_draws(density, 0.3 * random_points(density, 1)).assign_coords(varying=D.varying)
    t, rng, n = D.parameters(draws), np.random.default_rng(1), 40_000
    z = rng.normal(size=(n, K))
    odds = (D.W @ t.alpha[0])[:, None] + t.sd_member[0] * np.sqrt(0.5) * (z - z.mean(1, keepdims=True))
    p = softmax(odds, axis=-1)  # (row, cluster, class)
    shares, found = p.mean(0), {e.name: e.draws(draws, design) for e in spec.estimands(design)}
    error = 4.5 / np.sqrt(n)
    np.testing.assert_allclose(found["class size"].to_numpy().ravel(), shares.mean(0), atol=error * shares.std(0).max())
    np.testing.assert_allclose(found["SD of class size"].to_numpy().ravel(), shares.std(0), rtol=2 * error)
    means = np.empty((len(D.arm), n, K))
    for c in range(K):
        u = rng.normal(size=(n, D.q)) @ t.factor[0, c].T
        eta = (D.full @ t.beta[0, c])[:, None] + (u @ random_columns(D, D.T).T if D.q else np.zeros((n, 1))).T
        means[..., c] = mean_outcome(D.family, eta)
    values = (p * means).sum(-1)
    expected = spec.expected(draws, design, clusters="new").to_numpy()[0, 0]
    assert (np.abs(expected - values.mean(1)) < error * values.std(1) + 1e-9).all()


def test_new_outcomes_have_the_spread_of_the_model():
    """Replicated data of new clusters: the SD of cluster means of the classes and of shares is that of the parameters."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=6000), "school": np.repeat(np.arange(60), 100)})
    spec = bh.EffectMixture(outcome="y", cluster="school", class_of="individual", membership_varies=True)
    design = spec.design(data)
    draws = xr.Dataset(coords={"chain": [0], "draw": np.arange(40)})
    one = {"gamma0": [0.0, 100.0], "sigma": [0.1, 0.1]}
    draws = draws.assign({k: (("chain", "draw", "class"), np.tile(v, (1, 40, 1))) for k, v in one.items()})
    draws["sd"] = ("chain", "draw", "class", "varying"), np.tile([[1.0], [3.0]], (1, 40, 1, 1))
    draws["alpha"] = ("chain", "draw", "member", "class"), np.zeros((1, 40, 1, 2))
    draws["sd_membership"] = ("chain", "draw"), np.full((1, 40), 1.0)
    draws["u"] = ("chain", "draw", "class", "school", "varying"), np.zeros((1, 40, 2, 60, 1))
    draws["u_membership"] = ("chain", "draw", "school", "class"), np.zeros((1, 40, 60, 2))
    y = spec.replicates(draws, design, {}, 3, "new")["y"].to_numpy().reshape(40, 60, 100)
    second = y > 50
    share = second.mean(2)
    logit = rng.normal(size=200_000)
    between = np.var(1 / (1 + np.exp(-logit)))
    expected = between + (0.25 - between) / 100  # of chances, and of 100 rows given the chance
    assert share.var() == pytest.approx(expected, rel=0.06)
    for rows, centre, sd in ((~second, 0, 1.0), (second, 100, 3.0)):
        count = rows.sum(2)
        mean = np.where(rows, y - centre, 0).sum(2)[count > 5] / count[count > 5]
        assert mean.std() == pytest.approx(sd, rel=0.05)
    these = spec.replicates(draws, design, {}, 3, "these")["y"].to_numpy().reshape(40, 60, 100) > 50
    assert these.mean(2).var() == pytest.approx(0.25 / 100, rel=0.1)


# ---------------------------------------------------------------------------------------------- fits


@pytest.mark.parametrize("shared", [(), ("u",)])
def test_the_highest_mode_is_the_true_one(shared):
    """Three classes 3 residual SDs apart, of 3,000 rows in two arms: not those of one arm paired with others of the other."""
    rng = np.random.default_rng(0)
    c, t, label = rng.integers(0, 50, 3000), rng.integers(0, 2, 3000), rng.choice(3, 3000, p=[0.5, 0.3, 0.2])
    y = 3.0 * label + 0.5 * rng.normal(size=50)[c] + 0.5 * label * t + rng.normal(size=3000)
    data = pd.DataFrame({"y": y, "t": t, "c": c})
    spec = bh.EffectMixture(outcome="y", treatment="t", cluster="c", classes=3, class_of="individual", shared=shared)
    design = spec.design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    assert density.starts is None
    mode = density.parameters(np.zeros(density.n_dim))
    order = mode["gamma0"].argsort()
    np.testing.assert_allclose(mode["gamma0"][order], [0, 3, 6], atol=0.4)
    np.testing.assert_allclose(mode["gamma1"][order, 0], [0, 0.5, 1], atol=0.4)
    np.testing.assert_allclose(mode["pi"][order], [0.5, 0.3, 0.2], atol=0.05)


@pytest.mark.slow
def test_effects_of_each_class_and_shares_that_vary_are_found():
    """40 clusters of 40, class means 5 residual SDs apart: SDs and effects of clusters in each class, and of log odds."""
    rng = np.random.default_rng(4)
    school, J = np.repeat(np.arange(40), 40), 40
    u, a = rng.normal(size=(2, J)) * [[0.3], [0.9]], 1.2 * rng.normal(size=J)
    label, T = (rng.random(1600) < 1 / (1 + np.exp(0.4 - a[school]))).astype(int), rng.integers(0, 2, 1600)
    y = 5.0 * label + u[label, school] + 1.0 * label * T + rng.normal(size=1600)
    data = pd.DataFrame({"y": y, "arm": np.where(T == 1, "drug", "control"), "school": school})
    spec = bh.EffectMixture(**IN_CLUSTERS, membership_varies=True)
    fit = bh.fit(spec, data, seed=1, draws=800, tune=400, progress=False)
    assert fit.diagnosis.ok, fit.diagnosis
    assert bh.class_check(fit, rivals=False).ok
    truth = {"gamma1[class 1, drug]": 0, "gamma1[class 2, drug]": 1, "sd[class 1, intercept]": 0.3}
    near(bh.summary(fit), truth | {"sd[class 2, intercept]": 0.9, "sd_membership": 1.2})
    posterior = fit.posterior.mean(("chain", "draw"))
    ours = posterior["u"].transpose("class", "school", ...).to_numpy()[..., 0]
    assert [np.corrcoef(ours[c], u[c])[0, 1] > bound for c, bound in ((0, 0.6), (1, 0.9))] == [True, True]
    odds = posterior["u_membership"].transpose("class", "school").to_numpy()
    assert np.corrcoef(odds[1] - odds[0], a)[0, 1] > 0.85
    effects = bh.effects(fit).set_index(["estimand", "contrast"])
    z = rng.normal(size=100_000)
    shares = 1 / (1 + np.exp(0.4 - 1.2 * z))
    for name, value in (("class size", shares.mean()), ("SD of class size", shares.std())):
        assert effects.loc[(name, "class 2"), "lower"] < value < effects.loc[(name, "class 2"), "upper"], name
    one = np.full((1, 1600), 1 / 1600)
    each = [fit.spec.expected(fit.posterior, fit.design, arm=v, weight=one) for v in ("drug", "control")]
    assert float((each[0] - each[1]).mean()) == pytest.approx(effects.loc[("ATE", "drug vs control"), "mean"], abs=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayeshte.ConvergenceWarning")
def test_fit_classes_with_effects_of_each_class():
    """12 clusters of 25: two classes are preferred, and no draw of the posterior beats the maximum."""
    rng = np.random.default_rng(6)
    school = np.repeat(np.arange(12), 25)
    label, u = (rng.random(300) < 0.4).astype(int), rng.normal(size=(2, 12)) * [[0.4], [0.8]]
    data = pd.DataFrame({"y": 5.0 * label + u[label, school] + rng.normal(size=300), "school": school})
    spec = bh.EffectMixture(outcome="y", cluster="school", class_of="individual")
    table = bh.fit_classes(spec, data, [1, 2], draws=200, tune=200)
    assert table.attrs["picks"]["BIC"] == table.attrs["picks"]["LOO"] == 2
    assert table.loc[2, "parameters"] == 7  # two of intercept, sd, sigma; one share
    D = Arrays(spec.design(data))
    units = mixture_data.by_cluster(D.units, 2)[0]
    fit = bh.fit(spec, data, seed=1, draws=200, tune=200, progress=False)
    t = D.parameters(fit.posterior.isel(chain=[0], draw=slice(0, 200, 20)))
    assert (mixture_draws.rows_of_clusters(units, t)[0].sum(1) < table.loc[2, "log_likelihood"]).all()
