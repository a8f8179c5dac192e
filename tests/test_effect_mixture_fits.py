"""EffectMixture: labels, reference likelihoods and posteriors, recovery, numbers of classes, figures."""

import itertools
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from mixture_cases import ROLES, SPECS, as_draws, random_points, trial
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte.checks.classes import adjusted_rand
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_classes import renumbered
from bayeshte.marginal import mixture_draws, mixture_modes
from bayeshte.plots import figures

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "shared" / "data"
NO_EFFECTS = np.zeros((1, 1, 0, 0)), np.zeros((1, 0, 1)), np.zeros(1)  # of clusters whose rows belong to classes


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


@needs_data
def test_one_class_with_normal_effects_of_centres_is_that_of_lme4():
    """Random intercepts: lme4's estimates; random effects: its log-likelihood at its estimates, Laplace's, which one node is."""
    data = pd.read_csv(DATA / "betablocker" / "betablocker.csv")
    one = replace(betablocker(classes=1), intercept_varies=True)
    D = Arrays(one.design(data))
    best = mixture_modes.maximum_likelihood(D.units, D.layout)[0]
    t = mixture_modes.parameters_at(D.units, D.layout, best.x)
    np.testing.assert_allclose(t.beta[0, 0], [-2.1961984, -0.2609143], atol=1e-4)
    assert t.factor.item() == pytest.approx(0.4864893, abs=1e-4)
    D = Arrays(replace(one, varying="all").design(data))
    beta, tau = [-2.20413152, -0.24680629], [[0.254613251, -0.022144719], [-0.022144719, 0.009585196]]
    given = np.array([[beta]]), np.ones((1, 1, 2)), np.linalg.cholesky(tau)[None, None]
    t = mixture_draws.Parameters(*given, np.zeros((1, 1, 1)), *NO_EFFECTS)
    found = mixture_draws.class_log_likelihood(replace(D.units, nodes=1), t).sum() + D.units.constant
    assert found == pytest.approx(-158.8272621, abs=2e-5)


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
    t = mixture_draws.Parameters(
        np.stack([beta[v] for v in D.full_terms], axis=1)[None],
        np.stack([sigma, np.ones(classes)], axis=1)[None],
        np.zeros((1, classes, 0, 0)),
        np.log(pi / pi.sum())[None, None],
        *NO_EFFECTS,
    )
    values = mixture_draws.class_log_likelihood(D.units, t) + mixture_draws.log_prior_probabilities(D.units, t)
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
    shared = ("u",) if clustered else ()
    spec = bh.EffectMixture(**ROLES, class_of="individual", intercept_varies=clustered, shared=shared)
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


@pytest.mark.slow
def test_fit_classes_finds_one(fitted):
    """One population: BIC prefers one class."""
    data, _ = trial(5, clusters=30, rows=(8, 14), effects=(0.5, 0.5), intercepts=(0, 0))
    assert bh.fit_classes(bh.EffectMixture(**ROLES), data, [1, 2], bayesian=False).attrs["picks"]["BIC"] == 1


def test_adjusted_rand():
    a = np.array([0, 0, 1, 1, 2, 2])
    assert adjusted_rand(a, np.array([2, 2, 0, 0, 1, 1])) == 1
    assert adjusted_rand(a, np.array([0, 0, 1, 2, 2, 2])) == pytest.approx((2 - 3 * 4 / 15) / (3.5 - 3 * 4 / 15))


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
