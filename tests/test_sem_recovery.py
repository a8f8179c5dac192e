"""Structural models find known truths again: data from NumPy generators that share no code with the package.

Every kind of model is written out by hand below. Its posterior must lie within four SDs of each true value; over all
parameters, the distance must be as large as chance makes it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayeshte as bh


@dataclass(frozen=True)
class Study:
    """Data, the model, true values by label, and true latent cluster means or slopes by posterior variable (cluster, .)."""

    data: pd.DataFrame
    spec: bh.SEM
    truth: dict[str, float]
    latent: dict[str, np.ndarray]


def gaps(data: pd.DataFrame, rng, columns: list[str], share: float = 0.2) -> pd.DataFrame:
    """Values missing completely at random."""
    return data.assign(**{v: data[v].mask(rng.random(len(data)) < share) for v in columns})


def mediation(rng) -> Study:
    N = 300
    t, x = rng.integers(0, 2, N), rng.standard_normal(N)
    m = 1 + 0.5 * t + 0.3 * x + 0.8 * rng.standard_normal(N)
    y = -2 + 0.6 * m + 0.2 * t + 1.2 * rng.standard_normal(N)
    truth = {"path[m ~ t]": 0.5, "path[m ~ x]": 0.3, "path[y ~ m]": 0.6, "path[y ~ t]": 0.2}
    truth |= {"intercept[m]": 1, "intercept[y]": -2, "sd[m]": 0.8, "sd[y]": 1.2}
    data = gaps(pd.DataFrame({"t": t, "x": x, "m": m, "y": y}), rng, ["m", "y"])
    return Study(data, bh.SEM(model="m ~ t + x; y ~ m + t"), truth, {})


def two_level_mediation(rng) -> Study:
    """Cluster means of m and of y, a variable v of clusters; the slope between is not the slope within."""
    J = 80
    j = np.repeat(np.arange(J), rng.integers(4, 9, J))
    treat, N = np.arange(J) % 2, len(j)
    v = 0.5 + 0.4 * treat + 0.7 * rng.standard_normal(J)
    bm = 2 + 0.8 * treat + 0.6 * rng.standard_normal(J)
    by = 1 + 1.0 * bm + 0.5 * v + 0.5 * rng.standard_normal(J)
    wm = rng.standard_normal(N)
    y = by[j] + 0.4 * wm + 0.9 * rng.standard_normal(N)
    truth = {"path[within: y ~ m]": 0.4, "path[between: y ~ m]": 1.0, "path[between: y ~ v]": 0.5}
    truth |= {"path[between: m ~ treat]": 0.8, "path[between: v ~ treat]": 0.4}
    truth |= {"intercept[between: m]": 2, "intercept[between: y]": 1, "intercept[between: v]": 0.5}
    truth |= {"sd[within: m]": 1, "sd[within: y]": 0.9}
    truth |= {"sd[between: m]": 0.6, "sd[between: y]": 0.5, "sd[between: v]": 0.7}
    data = pd.DataFrame({"j": j, "treat": treat[j], "v": v[j], "m": bm[j] + wm, "y": y})
    spec = bh.SEM(cluster="j", within="y ~ m", between="y ~ m + v; m ~ treat; v ~ treat")
    return Study(gaps(data, rng, ["m", "y"]), spec, truth, {"cluster_mean": np.column_stack([by, bm])})


def slope_across_levels(rng) -> Study:
    """The slope on x - b_xj depends on z and covaries with the intercept."""
    J = 80
    j = np.repeat(np.arange(J), 10)
    z, bx = rng.standard_normal(J), 0.7 * rng.standard_normal(J)
    e = rng.standard_normal((2, J))
    slope = 0.5 + 0.4 * z + 0.5 * e[0]
    by = 3 + 0.8 * bx + 0.6 * (0.5 * e[0] + np.sqrt(0.75) * e[1])
    wx = rng.standard_normal(len(j))
    y = by[j] + slope[j] * wx + 0.8 * rng.standard_normal(len(j))
    truth = {"path[between: y ~ x]": 0.8, "path[between: s ~ z]": 0.4, "intercept[between: s]": 0.5}
    truth |= {"intercept[between: y]": 3, "intercept[between: x]": 0, "corr[between: y ~~ s]": 0.5}
    truth |= {"sd[within: x]": 1, "sd[within: y]": 0.8}
    truth |= {"sd[between: x]": 0.7, "sd[between: y]": 0.6, "sd[between: s]": 0.5}
    data = pd.DataFrame({"j": j, "z": z[j], "x": bx[j] + wx, "y": y})
    spec = bh.SEM(cluster="j", within="s | y ~ x", between="y ~ x; s ~ z; y ~~ s")
    return Study(data, spec, truth, {"slope": slope[:, None], "cluster_mean": np.column_stack([by, bx])})


def factors(rng) -> Study:
    """A factor within, predicted by a person's x, and one between, predicted by treatment; three indicators."""
    J, n = 100, 6
    j = np.repeat(np.arange(J), n)
    treat, x = np.arange(J) % 2, rng.standard_normal(J * n)
    f = 0.5 * x + 0.8 * rng.standard_normal(J * n)
    g = 0.6 * treat + 0.7 * rng.standard_normal(J)
    loadings, between, means = np.array([1, 0.8, 1.2]), np.array([1, 1.1, 0.7]), np.array([0, 1, -1])
    b = means + np.outer(g, between) + 0.3 * rng.standard_normal((J, 3))
    Y = b[j] + np.outer(f, loadings) + 0.7 * rng.standard_normal((J * n, 3))
    truth = {"loading[within: f =~ y2]": 0.8, "loading[within: f =~ y3]": 1.2, "path[within: f ~ x]": 0.5}
    truth |= {"loading[between: g =~ y2]": 1.1, "loading[between: g =~ y3]": 0.7, "path[between: g ~ treat]": 0.6}
    truth |= {f"intercept[between: y{k + 1}]": means[k] for k in range(3)}
    truth |= {f"sd[{level}: y{k}]": s for level, s in (("within", 0.7), ("between", 0.3)) for k in (1, 2, 3)}
    truth |= {"sd[within: f]": 0.8, "sd[between: g]": 0.7}
    data = pd.DataFrame({"j": j, "treat": treat[j], "x": x} | {f"y{k + 1}": Y[:, k] for k in range(3)})
    spec = bh.SEM(cluster="j", within="f =~ y1 + y2 + y3; f ~ x", between="g =~ y1 + y2 + y3; g ~ treat")
    return Study(data, spec, truth, {"cluster_mean": b})


def moderated_by_treatment(rng) -> Study:
    """A path between clusters that depends on treatment, and correlated residuals."""
    J, n = 150, 6
    j = np.repeat(np.arange(J), n)
    treat = np.arange(J) % 2
    bm = 0.5 * treat + 0.8 * rng.standard_normal(J)
    by = 1 + 0.3 * treat + (0.4 + 0.7 * treat) * bm + 0.5 * rng.standard_normal(J)
    a, c = rng.standard_normal((2, J * n))
    truth = {"path[between: y ~ m]": 0.4, "path[between: y ~ treat]": 0.3, "path[between: y ~ treat:m]": 0.7}
    truth |= {"path[between: m ~ treat]": 0.5, "intercept[between: y]": 1, "intercept[between: m]": 0}
    truth |= {"sd[within: m]": 1, "sd[within: y]": 1.5, "corr[within: y ~~ m]": 0.6}
    truth |= {"sd[between: m]": 0.8, "sd[between: y]": 0.5}
    y = by[j] + 1.5 * (0.6 * a + 0.8 * c)
    data = pd.DataFrame({"j": j, "treat": treat[j], "m": bm[j] + a, "y": y})
    spec = bh.SEM(cluster="j", within="y ~~ m", between="y ~ m + treat + treat:m; m ~ treat")
    return Study(data, spec, truth, {"cluster_mean": np.column_stack([by, bm])})


VARIANTS: tuple[Callable, ...] = (mediation, two_level_mediation, slope_across_levels, factors, moderated_by_treatment)


def straight(label: str, value):
    """Logarithms of SDs and z-transformed correlations: their posteriors are nearer to normal."""
    if label.startswith("sd"):
        return np.log(value)
    return np.arctanh(value) if label.startswith("corr") else value


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.__name__)
def test_truth_is_recovered(variant):
    study = variant(np.random.default_rng(20261 + VARIANTS.index(variant)))
    fit = bh.fit(study.spec, study.data, draws=1000, tune=500, seed=1, progress=False)
    assert fit.diagnosis.ok
    draws = {label: values.to_numpy().ravel() for label, _, values in study.spec.parameters(fit.posterior)}
    assert set(draws) == set(study.truth)
    x = np.stack([straight(k, draws[k]) for k in study.truth])
    off = np.array([straight(k, v) for k, v in study.truth.items()]) - x.mean(1)
    z = off / x.std(1)
    assert (np.abs(z) < 4).all(), dict(zip(study.truth, z.round(2), strict=True))
    assert 0.0005 < stats.chi2.cdf(off @ np.linalg.solve(np.cov(x), off), len(z)) < 0.9995
    for name, true in study.latent.items():
        values = fit.posterior[name].transpose("chain", "draw", "j", ...).to_numpy()
        z = (true - values.mean((0, 1))) / values.std((0, 1))
        assert np.abs(z).max() < 4.5
        # true values share the errors of the parameters: more than independent ones would scatter
        assert abs((z**2).mean() - 1) < 6 * np.sqrt(2 / z.size), name


@pytest.mark.parametrize("seed", [2, 4])
def test_coordinates_of_slopes_where_clusters_are_far_apart(seed):
    """Means times slopes are not concave: the search for a cluster's slopes has to climb. At the origin the density is near its
    mode and near N(0, I), where full Newton steps ended millions of nats below."""
    rng = np.random.default_rng(seed)
    j = np.repeat(np.arange(20), 12)
    b, s, u = 3.2 * rng.normal(size=20), -1.7 + 0.14 * rng.normal(size=20), rng.normal(size=20)
    w = 0.7 * rng.normal(size=len(j))
    data = pd.DataFrame({"school": j, "m": b[j] + w, "y": u[j] + s[j] * w + 0.7 * rng.normal(size=len(j))})
    priors = {
        "path": bh.Normal(0, 0.7),
        "intercept": bh.Normal(0, 1),
        "sd": bh.Gamma(8, 8),
        "sd[between: s]": bh.Gamma(3, 8),
    }
    spec = bh.SEM(cluster="school", within="s | y ~ m", between="y ~ m; s ~ 1; y ~~ s", priors=priors)
    design = spec.design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    assert np.linalg.norm(density(np.zeros(density.n_dim))[1]) < np.sqrt(density.n_dim)
