"""Known truths are found again: data from NumPy generators that share no code with the package, and the tests of the issue.

Every variant is written out by hand below. Its posterior must lie within four SDs of each true value; over all parameters,
the distance must be as large as chance makes it, neither larger nor smaller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeshte as bh


@dataclass(frozen=True)
class Study:
    """Data, the specification to fit, and true values by the label that `bh.summary` prints; `u` (cluster, q) if known."""

    data: pd.DataFrame
    spec: bh.RandomSlope
    truth: dict[str, float]
    u: np.ndarray | None = None


def clusters(rng, J: int, low: int = 8, high: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of J clusters and the cluster code of every row."""
    n = rng.integers(low, high, J)
    return n, np.repeat(np.arange(J), n)


def effects(rng, J: int, sd, corr: float = 0.0) -> np.ndarray:
    """Random effects (J, 2) with correlation `corr`."""
    a, b = rng.standard_normal((2, J))
    return np.column_stack([sd[0] * a, sd[1] * (corr * a + np.sqrt(1 - corr**2) * b)])


def intercept_and_slope(rng) -> Study:
    _, j = clusters(rng, 60)
    t, u = rng.integers(0, 2, len(j)), effects(rng, 60, (4, 3), -0.5)
    y = 50 + u[j, 0] + (5 + u[j, 1]) * t + 6 * rng.standard_normal(len(j))
    truth = {"gamma0": 50, "gamma1[1]": 5, "sd[intercept]": 4, "sd[1]": 3, "corr[intercept, 1]": -0.5, "sigma": 6}
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="j")
    return Study(pd.DataFrame({"y": y, "t": t, "j": j}), spec, truth, u)


def three_arms_one_varying(rng) -> Study:
    _, j = clusters(rng, 50)
    arm, u = rng.choice(["none", "text", "tutor"], len(j)), effects(rng, 50, (1, 2), 0.3)
    y = 10 + u[j, 0] + 1.5 * (arm == "text") + (3 + u[j, 1]) * (arm == "tutor") + 2 * rng.standard_normal(len(j))
    truth = {"gamma0": 10, "gamma1[text]": 1.5, "gamma1[tutor]": 3, "sd[intercept]": 1, "sd[tutor]": 2, "sigma": 2}
    spec = bh.RandomSlope(outcome="y", treatment="arm", reference="none", cluster="j", varying="tutor")
    return Study(pd.DataFrame({"y": y, "arm": arm, "j": j}), spec, truth | {"corr[intercept, tutor]": 0.3}, u)


def slope_on_a_covariate(rng) -> Study:
    _, j = clusters(rng, 50)
    t, x, u = rng.integers(0, 2, len(j)), rng.normal(2, 1.5, len(j)), effects(rng, 50, (2, 0.8), 0.4)
    y = 3 + u[j, 0] + 1 * t + (0.5 + u[j, 1]) * x + rng.standard_normal(len(j))
    truth = {"gamma0": 3, "gamma1[1]": 1, "gamma2[x]": 0.5, "sd[intercept]": 2, "sd[x]": 0.8, "sigma": 1}
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="j", varying=(), slopes="x")
    return Study(pd.DataFrame({"y": y, "t": t, "x": x, "j": j}), spec, truth | {"corr[intercept, x]": 0.4}, u)


def partially_nested(rng) -> Study:
    """Therapy groups exist in the treated arm only."""
    _, j = clusters(rng, 60, 5, 12)
    t = rng.integers(0, 2, 60)[j]
    u = 2 * rng.standard_normal((60, 1))
    y = 20 + (4 + u[j, 0]) * t + 3 * rng.standard_normal(len(j))
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="j", intercept_varies=False)
    truth = {"gamma0": 20, "gamma1[1]": 4, "sd[1]": 2, "sigma": 3}
    return Study(pd.DataFrame({"y": y, "t": t, "j": j}), spec, truth)


def intercept_only(rng) -> Study:
    """Whole clusters are assigned to arms."""
    _, j = clusters(rng, 60)
    t, u = rng.integers(0, 2, 60)[j], 1.2 * rng.standard_normal((60, 1))
    y = 1 + u[j, 0] + 0.8 * t + 2 * rng.standard_normal(len(j))
    truth = {"gamma0": 1, "gamma1[1]": 0.8, "sd[intercept]": 1.2, "sigma": 2}
    return Study(pd.DataFrame({"y": y, "t": t, "j": j}), bh.RandomSlope(
        outcome="y", treatment="t", cluster="j", varying=()), truth, u)  # fmt: skip


def no_clusters(rng) -> Study:
    N = 400
    t, x = rng.integers(0, 2, N), rng.normal(5, 2, N)
    y = -2 + 1.5 * t + 0.7 * x + 3 * rng.standard_normal(N)
    truth = {"gamma0": -2, "gamma1[1]": 1.5, "gamma2[x]": 0.7, "sigma": 3}
    return Study(pd.DataFrame({"y": y, "t": t, "x": x}), bh.RandomSlope(
        outcome="y", treatment="t", covariates="x"), truth)  # fmt: skip


def sigma_by_arm(rng) -> Study:
    _, j = clusters(rng, 40)
    t, u = rng.integers(0, 2, len(j)), effects(rng, 40, (3, 2), 0.2)
    y = u[j, 0] + (4 + u[j, 1]) * t + np.where(t, 5, 2) * rng.standard_normal(len(j))
    truth = {"gamma0": 0, "gamma1[1]": 4, "sd[intercept]": 3, "sd[1]": 2, "corr[intercept, 1]": 0.2}
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="j", sigma_by_arm=True)
    return Study(pd.DataFrame({"y": y, "t": t, "j": j}), spec, truth | {"sigma[0]": 2, "sigma[1]": 5}, u)


def moderators(rng) -> Study:
    """The effect depends on a person's x and, across levels, on the cluster's z."""
    _, j = clusters(rng, 60)
    t, x, z = rng.integers(0, 2, len(j)), rng.normal(1, 1, len(j)), rng.standard_normal(60)[j]
    u = effects(rng, 60, (2, 1), 0.5)
    y = 5 + u[j, 0] + (2 - 1.0 * x + 0.8 * z + u[j, 1]) * t + 1.2 * x + 0.5 * z + 2 * rng.standard_normal(len(j))
    truth = {"gamma0": 5, "gamma1[1]": 2, "gamma2[x]": 1.2, "gamma2[z]": 0.5, "gamma3[1, x]": -1, "gamma3[1, z]": 0.8}
    truth |= {"sd[intercept]": 2, "sd[1]": 1, "corr[intercept, 1]": 0.5, "sigma": 2}
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="j", moderators="x + z")
    return Study(pd.DataFrame({"y": y, "t": t, "x": x, "z": z, "j": j}), spec, truth, u)


def within_and_between(rng) -> Study:
    """Within clusters x raises the outcome by 1, between clusters it lowers it by 2."""
    n, j = clusters(rng, 80)
    t, x = rng.integers(0, 2, len(j)), (1.5 * rng.standard_normal(80))[j] + rng.standard_normal(len(j))
    mean = (np.bincount(j, x) / n)[j]
    u = rng.standard_normal((80, 1))
    y = 4 + u[j, 0] + 0.5 * t + 1.0 * (x - mean) - 2.0 * mean + 1.5 * rng.standard_normal(len(j))
    truth = {"gamma0": 4, "gamma1[1]": 0.5, "gamma2[x_within]": 1, "gamma2[x_between]": -2}
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="j", varying=(), within_between=("x",))
    data = pd.DataFrame({"y": y, "t": t, "x": x, "j": j})
    return Study(data, spec, truth | {"sd[intercept]": 1, "sigma": 1.5}, u)


def known_standard_errors(rng) -> Study:
    """A meta-analysis of studies, with a study-level covariate."""
    J = 80
    se, x, u = rng.uniform(0.1, 0.5, J), rng.standard_normal(J), 0.3 * rng.standard_normal((J, 1))
    y = 0.4 + 0.2 * x + u[:, 0] + se * rng.standard_normal(J)
    spec = bh.RandomSlope(outcome="y", cluster="study", covariates="x", standard_error="se")
    data = pd.DataFrame({"y": y, "se": se, "x": x, "study": np.arange(J)})
    return Study(data, spec, {"gamma0": 0.4, "gamma2[x]": 0.2, "sd[intercept]": 0.3}, u)


def other_outcomes(rng, gamma0: float) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, dict[str, float]]:
    """Data without an outcome, the linear predictor, random effects, and true values."""
    _, j = clusters(rng, 60, 15, 45)
    t, x, u = rng.integers(0, 2, len(j)), rng.standard_normal(len(j)), effects(rng, 60, (0.5, 0.4), 0.3)
    eta = gamma0 + u[j, 0] + (0.6 - 0.3 * x + u[j, 1]) * t + 0.4 * x
    truth = {"gamma0": gamma0, "gamma1[1]": 0.6, "gamma2[x]": 0.4, "gamma3[1, x]": -0.3}
    truth |= {"sd[intercept]": 0.5, "sd[1]": 0.4, "corr[intercept, 1]": 0.3}
    return pd.DataFrame({"t": t, "x": x, "j": j}), eta, u, truth


def of_family(family: str) -> bh.RandomSlope:
    return bh.RandomSlope(outcome="y", treatment="t", cluster="j", moderators="x", family=family)


def logit(rng) -> Study:
    data, eta, u, truth = other_outcomes(rng, -0.5)
    return Study(data.assign(y=(eta + rng.logistic(size=len(eta)) > 0).astype(int)), of_family("logit"), truth, u)


def probit(rng) -> Study:
    data, eta, u, truth = other_outcomes(rng, 0.3)
    return Study(data.assign(y=(eta + rng.standard_normal(len(eta)) > 0).astype(int)), of_family("probit"), truth, u)


def poisson(rng) -> Study:
    data, eta, u, truth = other_outcomes(rng, 0.5)
    return Study(data.assign(y=rng.poisson(np.exp(eta))), of_family("poisson"), truth, u)


def student(rng) -> Study:
    data, eta, u, truth = other_outcomes(rng, 1.0)
    noise = 0.8 * rng.standard_normal(len(eta)) / np.sqrt(rng.chisquare(4, len(eta)) / 4)
    return Study(data.assign(y=eta + noise), of_family("student"), truth | {"sigma": 0.8, "nu": 4}, u)


def skew_normal(rng) -> Study:
    """SD 0.8, alpha 4: |n1| and n2 mixed by Azzalini's stochastic representation."""
    data, eta, u, truth = other_outcomes(rng, 1.0)
    raw = 4 * np.abs(rng.standard_normal(len(eta))) + rng.standard_normal(len(eta))
    mean = 4 * np.sqrt(2 / np.pi)
    noise = 0.8 * (raw - mean) / np.sqrt(17 - mean**2)
    return Study(data.assign(y=eta + noise), of_family("skew normal"), truth | {"sigma": 0.8, "alpha": 4}, u)


def negative_binomial(rng) -> Study:
    """A gamma mixture of Poisson outcomes."""
    data, eta, u, truth = other_outcomes(rng, 0.5)
    y = rng.poisson(np.exp(eta) * rng.gamma(1.5, 1 / 1.5, len(eta)))
    return Study(data.assign(y=y), of_family("negative binomial"), truth | {"phi": 1.5}, u)


def ordered_logit(rng) -> Study:
    data, eta, u, truth = other_outcomes(rng, 0.5)
    y = np.searchsorted([0.0, 0.7, 2.0], eta + rng.logistic(size=len(eta))) + 1
    return Study(data.assign(y=y), of_family("ordered logit"), truth | {"width[2]": 0.7, "width[3]": 1.3}, u)


VARIANTS: tuple[Callable, ...] = (
    *(intercept_and_slope, three_arms_one_varying, slope_on_a_covariate, partially_nested, intercept_only, no_clusters),
    *(sigma_by_arm, moderators, within_and_between, known_standard_errors, logit, probit, poisson, student),
    *(skew_normal, negative_binomial, ordered_logit),
)


@cache
def fitted(variant: Callable) -> tuple[Study, bh.Fit]:
    """A variant's data and their fit, once for all tests."""
    study = variant(np.random.default_rng(20251 + VARIANTS.index(variant)))
    return study, bh.fit(study.spec, study.data, draws=1000, tune=500, seed=1, progress=False)


def named_draws(fit: bh.Fit) -> dict[str, np.ndarray]:
    """Draws by label, chains stacked."""
    out = {}
    for name in fit.parameters:
        values = fit.posterior[name].transpose("chain", "draw", ...)
        for index in np.ndindex(values.shape[2:]):
            labels = [str(values[d].to_numpy()[i]) for d, i in zip(values.dims[2:], index, strict=True)]
            out[f"{name}[{', '.join(labels)}]" if labels else name] = values.to_numpy()[(..., *index)].ravel()
    return out


def straight(label: str, value):
    """Logarithms of SDs and z-transformed correlations: their posteriors are nearer to normal."""
    if label.startswith(("sd", "sigma", "nu")):
        return np.log(value)
    return np.arctanh(value) if label.startswith("corr") else value


def distance(study: Study, fit: bh.Fit) -> tuple[np.ndarray, float]:
    """Distance of every truth from its posterior mean in SDs, and the squared Mahalanobis distance of all of them."""
    draws = named_draws(fit)
    x = np.stack([straight(k, draws[k]) for k in study.truth])
    off = np.array([straight(k, v) for k, v in study.truth.items()]) - x.mean(1)
    return off / x.std(1), float(off @ np.linalg.solve(np.cov(x), off))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.__name__)
def test_truth_is_recovered(variant):
    study, fit = fitted(variant)
    assert fit.diagnosis.ok
    corners = {k for k in named_draws(fit) if k.startswith("corr[")}
    assert set(named_draws(fit)) - set(study.truth) <= corners  # every parameter has a truth, correlations once
    z, squared = distance(study, fit)
    assert (np.abs(z) < 4).all(), dict(zip(study.truth, z.round(2), strict=True))
    assert 0.0005 < stats.chi2.cdf(squared, len(z)) < 0.9995


def test_errors_are_as_large_as_claimed():
    """Over all variants: the squared distances add up to what chance gives, not to more and not to less."""
    pairs = [distance(*fitted(v)) for v in VARIANTS]
    total, parameters = sum(s for _, s in pairs), sum(len(z) for z, _ in pairs)
    assert 0.001 < stats.chi2.cdf(total, parameters) < 0.999


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.__name__)
def test_random_effects_are_recovered(variant):
    """Every cluster's effects lie around their posterior means as their posterior SDs say, and are not all at zero."""
    study, fit = fitted(variant)
    if study.u is None:
        pytest.skip("no clusters, or clusters in one arm only")
    u = fit.posterior["u"]
    z = (study.u - u.mean(("chain", "draw")).to_numpy()) / u.std(("chain", "draw")).to_numpy()
    assert np.abs(z).max() < 4.5
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / z.size)
    assert np.corrcoef(study.u[:, 0], u[..., 0].mean(("chain", "draw")))[0, 1] > 0.6


def test_contextual_effect():
    _, fit = fitted(within_and_between)
    row = bh.effects(fit).set_index("estimand").loc["contextual effect of x"]
    assert abs(row["mean"] + 3) < 4 * row["posterior_sd"]


def trial(seed: int = 5, J: int = 30, effect: float = 10.0, spread: float = 8.0) -> pd.DataFrame:
    """Schools of 20 to 50, an effect of 10 with an SD of 8 across schools, residual SD 12."""
    rng = np.random.default_rng(seed)
    _, j = clusters(rng, J, 20, 50)
    t, u = rng.integers(0, 2, len(j)), effects(rng, J, (6, spread), 0.2)
    y = 100 + u[j, 0] + (effect + u[j, 1]) * t + 12 * rng.standard_normal(len(j))
    return pd.DataFrame({"y": y, "t": t, "school": j})


TRIAL = bh.RandomSlope(outcome="y", treatment="t", cluster="school")


def quick(spec, data) -> bh.Fit:
    return bh.fit(spec, data, draws=1000, tune=500, seed=3, progress=False)


def test_one_school_changed_moves_one_effect():
    data = trial()
    changed = data.assign(y=data["y"] + 100 * ((data["school"] == 7) & (data["t"] == 1)))
    before, after = (bh.cluster_effects(quick(TRIAL, d)).set_index("cluster") for d in (data, changed))
    moved = after["mean"] - before["mean"]
    assert 85 < moved["7"] < 105
    others = moved.drop("7").abs()
    assert (others < before.loc[others.index, "posterior_sd"]).all()
    assert others.mean() < 1.5


@pytest.mark.parametrize(("a", "b"), [(0, 1000), (-3e4, 0.02), (50, -7)])
def test_default_priors_move_with_the_outcome(a, b):
    """Outcome a + b y: the density of parameters that moved along is that of y, up to a constant.

    Coefficients (and SDs that are sampled through zero) have themselves as coordinates, other SDs their logarithm. With N
    rows and m coordinates of the first kind, log density(a + b y, moved) = log density(y) - (N + m) log |b|.
    """
    rng = np.random.default_rng(0)
    data = trial(J=12).assign(x=lambda d: rng.normal(3, 2, len(d)), s=lambda d: rng.choice(["f", "m"], len(d)))
    spec = bh.RandomSlope(
        outcome="y", treatment="t", cluster="school", moderators="x + s", slopes="x", sigma_by_arm=True
    )
    densities = []
    for frame in (data, data.assign(y=a + b * data["y"])):
        design = spec.design(frame)
        density = spec.marginal(design, spec.frozen_priors(design))
        densities.append((density, density.with_coordinates(np.zeros(density.n_dim), np.eye(density.n_dim))))
    (scaled, plain), (_, moved) = densities
    p, q, d = 6, 3, scaled.n_top  # 1, t, x, s, t x, t s; intercept, t, x; then sigma of two arms and three correlations
    centre, scale = np.split(scaled.floats[scaled.at : scaled.at + d + d * d], [d])
    linear = scaled.ints[7 : 7 + p + q + 2] == 0  # the transforms of the scalars
    assert linear[:p].all()
    factor = np.where(np.arange(p + q + 2) < p, b, abs(b))
    for _ in range(20):
        x = centre + scale.reshape(d, d) @ rng.normal(0, 2, d)
        there = x.copy()
        there[: p + q + 2] = np.where(linear, factor * x[: p + q + 2], x[: p + q + 2] + np.log(abs(b)))
        there[0] += a
        expected = plain(x)[0] - (len(data) + linear.sum()) * np.log(abs(b))
        assert moved(there)[0] == pytest.approx(expected, abs=1e-8, rel=1e-11)


def test_posterior_moves_with_the_outcome():
    data = trial()
    one, two = (bh.summary(quick(TRIAL, d)).set_index("parameter") for d in (data, data.assign(y=7 - 30 * data["y"])))
    for name in one.index[~one["fixed"]]:
        location, factor = (7 if name == "gamma0" else 0), (1 if name.startswith("corr") else 30)
        factor = -factor if name.startswith("gamma") else factor
        off = two.loc[name, "mean"] - (location + factor * one.loc[name, "mean"])
        assert abs(off) < 5 * np.hypot(two.loc[name, "mcse"], abs(factor) * one.loc[name, "mcse"])
        assert two.loc[name, "posterior_sd"] == pytest.approx(abs(factor) * one.loc[name, "posterior_sd"], rel=0.1)


def test_permuted_treatment_has_no_effect():
    data = trial()
    rng = np.random.default_rng(8)
    permuted = data.assign(t=data.groupby("school")["t"].transform(lambda t: rng.permutation(t.to_numpy())))
    assert (permuted.groupby("school")["t"].sum() == data.groupby("school")["t"].sum()).all()
    before, after = (bh.effects(quick(TRIAL, d)).set_index("estimand") for d in (data, permuted))
    assert before.loc["ATE", "lower"] > 0
    assert after.loc["ATE", "lower"] < 0 < after.loc["ATE", "upper"]
    assert before.loc["SD of effects", "lower"] > 4
    assert after.loc["SD of effects", "estimate"] < 0.4 * before.loc["SD of effects", "estimate"]


def test_averages_over_persons_and_over_clusters_differ():
    """Larger clusters have larger effects: each average recovers its own truth, and excludes the other's."""
    rng = np.random.default_rng(12)
    n = np.repeat([20, 40, 80, 160], 15)
    j = np.repeat(np.arange(60), n)
    effect = 2 + 0.05 * n + rng.standard_normal(60)
    t = rng.integers(0, 2, len(j))
    y = 3 * rng.standard_normal(60)[j] + effect[j] * t + 2 * rng.standard_normal(len(j))
    fit = quick(TRIAL, pd.DataFrame({"y": y, "t": t, "school": j}))
    table = bh.effects(fit).set_index("estimand")
    persons, each = (n * effect).sum() / n.sum(), effect.mean()
    assert persons - each > 1.5
    for name, own, other in (("ATE", persons, each), ("ATE, clusters equally", each, persons)):
        row = table.loc[name]
        assert abs(row["mean"] - own) < 3 * row["posterior_sd"]
        assert abs(row["mean"] - other) > 8 * row["posterior_sd"]
