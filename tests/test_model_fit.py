"""Fit statistics of structural equation models: the saturated model against dense densities and closed forms, published numbers,
models that are wrong on one level, replicated data against moments by hand."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import optimize, stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte import gallery
from bayeshte.checks.ppp import discrepancies
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.marginal.matrices import implied
from bayeshte.marginal.saturated import Saturated, guess, maximum
from bayeshte.marginal.sufficient import Data


def quick(spec, data, draws=300) -> bh.Fit:
    """A short fit; whether it converged is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=300, seed=1, progress=False)


def with_draws(fit: bh.Fit, **values) -> bh.Fit:
    """`fit` with other draws of some variables; a mapping by labels, or an array."""
    posterior = fit.posterior.copy()
    for name, value in values.items():
        x = posterior[name]
        if isinstance(value, dict):
            value = np.array([value[str(v)] for v in x[x.dims[-1]].to_numpy()])
        posterior[name] = (x.dims, np.broadcast_to(value, x.shape).copy())
    return replace(fit, draws=xr.DataTree.from_dict({"posterior": posterior}))


def ppp(fit: bh.Fit, draws=300) -> dict[str, float]:
    return {k: float((new > seen).mean()) for k, (seen, new) in discrepancies(fit, draws, 0).items()}


@pytest.fixture(scope="module")
def activity() -> bh.Fit:
    entry = gallery.read("school_activity")
    return bh.fit(entry.spec, entry.data(), seed=1, progress=False)


def clinics(seed=0, clusters=40, gaps=0.1) -> pd.DataFrame:
    """A factor with three indicators on both levels, an outcome, an uncentred covariate x that varies between clusters too."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 15, clusters)
    j = np.repeat(np.arange(clusters), n)
    N = len(j)
    treat = (np.arange(clusters) % 2).astype(float)
    climate = 0.5 * treat + rng.normal(size=clusters)
    between = 0.5 * treat + 0.4 * climate + 0.6 * rng.normal(size=clusters)
    x = 5 + rng.normal(size=clusters)[j] + rng.normal(size=N)
    within = 0.5 * x + rng.normal(size=N)
    data = {f"i{k}": (between + 0.3 * rng.normal(size=clusters))[j] + within + rng.normal(size=N) for k in (1, 2, 3)}
    data["y"] = (0.8 * between + 0.5 * rng.normal(size=clusters))[j] + 0.6 * within + rng.normal(size=N)
    data = pd.DataFrame(
        data | {"only": x + rng.normal(size=N), "x": x, "treat": treat[j], "climate": climate[j], "clinic": j}
    )
    for v in ("i1", "i2", "i3", "y"):
        data.loc[rng.random(N) < gaps, v] = np.nan
    return data


CLINICS = bh.SEM(
    cluster="clinic",
    within="f =~ i1 + i2 + i3; f ~ x; y ~ f; only ~ x",
    between="h =~ i1 + i2 + i3; h ~ treat + climate; y ~ h; climate ~ treat",
)


@pytest.fixture(scope="module")
def fitted() -> bh.Fit:
    return quick(CLINICS, clinics())


# the saturated model


def simulated(two_level=True, gaps=0.2, seed=0, clusters=8, own=1, size=(2, 5)) -> Data:
    rng = np.random.default_rng(seed)
    n = rng.integers(*size, clusters) if two_level else np.full(clusters, 5)
    code = np.repeat(np.arange(clusters), n)
    b = rng.normal(size=(clusters, 2 + own)) @ np.tril(rng.normal(0.5, 0.3, (2 + own, 2 + own)))
    Y = 1 + b[code, :2] + rng.normal(size=(len(code), 2)) @ np.array([[1, 0], [0.5, 1]])
    X, Z = rng.normal(3, 1, (len(code), 1)), rng.normal(10, 1, (clusters, 1))
    V = b[:, 2:].copy()
    Y[rng.random(Y.shape) < gaps] = np.nan
    V[rng.random(V.shape) < gaps] = np.nan
    if not two_level:
        return Data(Y, X, None, np.empty((0, 0)), np.empty((0, 0)), np.zeros(len(Y), int))
    return Data(Y, X, code, V, Z, np.zeros(clusters, int))


def dense(data: Data, S: np.ndarray, K: np.ndarray) -> float:
    """Log-likelihood as one multivariate normal a cluster (or row); S (level, P, P), K (level, P, Q)."""
    total, p = 0.0, data.Y.shape[1]
    code = np.arange(len(data.Y)) if data.code is None else data.code
    for j in range(code.max() + 1):
        rows = np.flatnonzero(code == j)
        n = len(rows)
        q = np.column_stack([np.ones(n), data.X[rows]])
        values, cov = data.Y[rows].ravel(), np.kron(np.eye(n), S[0, :p, :p])
        if data.code is not None:
            q = np.column_stack([q, np.ones(n), np.tile(data.Z[j], (n, 1))])
            one = np.zeros((n * p + len(S[1]) - p, len(S[1])))
            one[: n * p, :p], one[n * p :, p:] = np.tile(np.eye(p), (n, 1)), np.eye(len(S[1]) - p)
            cov = np.pad(cov, (0, len(one) - n * p)) + one @ S[1] @ one.T
            values = np.r_[values, data.V[j]]
        k = K.sum(0)
        mean = np.r_[(q @ k[:p].T).ravel(), np.zeros(len(values) - n * p)]
        if data.code is not None:
            mean[n * p :] = K[1][p:] @ np.r_[0.0, 0.0, 1.0, data.Z[j]]
        seen = ~np.isnan(values)
        if seen.any():
            total += stats.multivariate_normal(mean[seen], cov[np.ix_(seen, seen)]).logpdf(values[seen])
    return total


def unpacked(model: Saturated, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and K from free numbers, S by Cholesky factors."""
    split, (levels, P) = len(model.coefficients), (len(model.variables), model.observed)
    K, L = np.zeros((levels, P, model.data.regressors)), np.zeros((levels, P, P))
    K[tuple(model.coefficients.T)], L[tuple(model.covariances.T)] = x[:split], x[split:]
    return L @ L.swapaxes(-1, -2), K


@pytest.mark.slow
@pytest.mark.parametrize(("two_level", "both"), [(True, (0, 1)), (True, (1,)), (False, ())])
def test_the_saturated_likelihood_and_its_maximum_are_those_of_dense_normals(two_level, both):
    data = simulated(two_level)
    model = Saturated(data, both)
    f, rng = model.log_likelihood(data), np.random.default_rng(1)
    for _ in range(3):
        S, K = unpacked(model, rng.normal(0.5, 0.5, len(model.level)))
        assert f(model.point(S, K))[0] == pytest.approx(dense(data, S, K), abs=1e-8)

    found, value = maximum(model, f, guess(model), tolerance=1e-8)
    assert value == pytest.approx(dense(data, *uncentred(model, found)), abs=1e-8)
    diagonal = model.covariances[:, 1] == model.covariances[:, 2]
    start = np.r_[np.zeros(len(model.coefficients)), np.where(diagonal, 1.0, 0.0)]
    best = optimize.minimize(lambda x: -dense(data, *unpacked(model, x)), start, method="BFGS")
    assert -best.fun < value + 1e-6  # nothing is higher
    assert value == pytest.approx(-best.fun, abs=0.01)


def uncentred(model: Saturated, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moments at t, with the constants that go with covariates as they are."""
    S, K = model.moments(t)
    x, z = model.centres
    for level, c in enumerate(model.constants):
        K[level, :, c] -= K[level, :, c + 1 : c + 1 + len((x, z)[level])] @ (x, z)[level]
    return S, K


def closed_form(Y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Maximum likelihood of balanced complete data: roots of the means' cross-products that are too small are pooled."""
    J, p = len(Y) // n, Y.shape[1]
    means = Y.reshape(J, n, p).mean(1)
    W = Y - np.repeat(means, n, axis=0)
    pooled, around = W.T @ W / (J * n - J), means - means.mean(0)
    roots, T = np.linalg.eigh(
        np.linalg.solve(C := np.linalg.cholesky(pooled), n * around.T @ around / J) @ np.linalg.inv(C).T
    )
    A = C @ T  # S_W = A A', n S_means = A diag(roots) A'
    small = np.where(roots < 1, (J * n - J + J * roots) / (J * n), 1.0)
    large = np.where(roots < 1, small, roots)
    SW, SV = A * small @ A.T, A * large @ A.T
    log_likelihood = -0.5 * (
        J * n * p * np.log(2 * np.pi)
        + (J * n - J) * (np.linalg.slogdet(SW)[1] + np.trace(np.linalg.solve(SW, pooled)))
        + J * (np.linalg.slogdet(SV)[1] + np.trace(np.linalg.solve(SV, n * around.T @ around / J)))
    )
    return SW, (SV - SW) / n, log_likelihood


def test_balanced_data_have_a_closed_form_also_where_the_estimate_is_singular():
    singular = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        code = np.repeat(np.arange(30), 4)
        Y = 3 + 0.5 * rng.normal(size=(30, 3))[code] + rng.normal(size=(120, 3)) @ np.tril(rng.normal(1, 0.3, (3, 3)))
        data = Data(Y, np.empty((120, 0)), code, np.empty((30, 0)), np.empty((30, 0)), np.zeros(30, int))
        model = Saturated(data, (0, 1, 2))
        t, value = maximum(model, model.log_likelihood(data), guess(model), tolerance=1e-10)
        (W, B), _ = model.moments(t)
        SW, SB, best = closed_form(Y, 4)
        assert value == pytest.approx(best, abs=1e-6)
        np.testing.assert_allclose(W, SW, atol=2e-3)
        np.testing.assert_allclose(B, SB, atol=2e-3)
        singular.append(np.linalg.eigvalsh(SB).min() < 1e-9)
    assert 0 < sum(singular) < 8


def test_few_steps_come_close_enough():
    """What the default tolerance leaves, of a discrepancy whose SD is several units."""
    for seed in range(10):
        data = simulated(seed=seed, clusters=40, own=seed % 2, gaps=0.15 * (seed % 3))
        model = Saturated(data, (0, 1))
        f = model.log_likelihood(data)
        assert maximum(model, f, guess(model), tolerance=1e-10)[1] - maximum(model, f, guess(model))[1] < 5e-4


def test_too_few_clusters_for_a_saturated_model():
    data = simulated(clusters=4, own=3, gaps=0)
    model = Saturated(data, (0, 1))
    with pytest.raises(bh.DataError, match="too few clusters"):
        maximum(model, model.log_likelihood(data), guess(model))


def test_the_saturated_model_contains_the_fitted_one(fitted):
    s, data = fitted.spec.structure, data_of(fitted.design)
    model = Saturated(data, tuple(s.within.index(v) for v in s.both))
    draws = fitted.posterior.isel(chain=[0], draw=slice(0, 5))
    S, K = implied(s.matrices(fitted.design["slots"].to_numpy()), stacked(s, draws))
    f = model.log_likelihood(data)
    found = [f(t)[0] for t in model.point(S[:, :, 0], K[:, :, 0])]
    expected = fitted.spec.log_likelihood(draws, fitted.design, "cluster").sum("clinic").to_numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# the statistics


@pytest.mark.slow
def test_published_statistics(activity):
    """Table 25.3 of the chapter: PPP .489 [-17.902, 18.391], DIC 13,220; pD 149 and the marginal DIC were recomputed."""
    table = bh.model_fit(activity, draws=1500).set_index(["statistic", "level"])
    assert table.loc[("PPP", ""), "value"] == pytest.approx(0.489, abs=0.05)
    for level in ("within", "between"):
        assert table.loc[("PPP", level), "value"] == pytest.approx(0.5, abs=0.1)
    low, high = table.loc[("observed - replicated", ""), ["lower", "upper"]]
    assert low == pytest.approx(-17.9, abs=2.5)
    assert high == pytest.approx(18.4, abs=2.5)
    assert table.loc[("DIC, conditional", ""), "value"] == pytest.approx(13220, abs=40)
    assert table.loc[("pD, conditional", ""), "value"] == pytest.approx(149, abs=6)
    assert table.loc[("DIC, marginal", ""), "value"] == pytest.approx(13566, abs=10)
    assert table.loc[("pD, marginal", ""), "value"] == pytest.approx(17, abs=2)
    assert "k = 17" in table.loc[("BIC", ""), "definition"]
    assert -2 * table.loc[("elpd", ""), "value"] == pytest.approx(table.loc[("DIC, marginal", ""), "value"], abs=6)
    assert table.attrs["verdict"].startswith("Converged")
    pd.testing.assert_frame_equal(bh.model_fit(activity, draws=20, seed=3), bh.model_fit(activity, draws=20, seed=3))


def test_published_correlations(activity):
    table = bh.implied_correlations(activity)
    pairs = [{v, "treat"} for v in ("mvpa", "peers", "advant")]
    pairs += [{"mvpa", "peers"}, {"mvpa", "advant"}, {"peers", "advant"}]
    published = (0.299, 0.313, 0.309, 0.578, 0.500, 0.122)
    sample = (0.255, 0.335, 0.330, 0.582, 0.505, 0.135)
    between = table[table["level"] == "between"]
    assert len(between) == 6
    for row in between.itertuples():
        k = pairs.index({row.first, row.second})
        assert row.implied == pytest.approx(published[k], abs=0.02)
        assert row.sample == pytest.approx(sample[k], abs=1e-4)
        assert row.lower < row.implied < row.upper
    within = table[table["level"] == "within"].set_index(["first", "second"])["sample"]
    np.testing.assert_allclose(sorted(within), [0.279, 0.475, 0.478], atol=1e-4)


def test_a_misfit_shows_at_its_own_level(activity):
    data, spec = gallery.read("school_activity").data(), replace(activity.spec, derived={})
    wrong = {
        "between": spec.between.replace("p4bc*peers", "0*peers"),
        "within": spec.within.replace("p2wc*peers", "0*peers"),
    }
    found = ppp(quick(replace(spec, between=wrong["between"]), data, 500))
    assert found["between"] < 0.05
    assert found["within"] == pytest.approx(0.5, abs=0.1)
    found = ppp(quick(replace(spec, within=wrong["within"]), data, 500))
    assert found["within"] == found[""] == 0
    assert found["between"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_unbalanced_incomplete_data_with_factors(fitted):
    """Right, then wrong at each level."""
    assert all(0.1 < p < 0.9 for p in ppp(fitted).values())
    found = ppp(quick(replace(CLINICS, within="f =~ i1 + i2 + i3; f ~ x; y ~ x; only ~ x"), clinics()))
    assert found["within"] < 0.01
    assert found["between"] > 0.1
    apart = "h =~ i1 + i2 + i3; h ~ treat + climate; y ~~ y; y ~~ 0*h; climate ~ treat"
    found = ppp(quick(replace(CLINICS, between=apart), clinics()))
    assert found["between"] < 0.05
    assert found["within"] > 0.1


def test_one_level():
    rng = np.random.default_rng(2)
    x = rng.normal(100, 10, 300)
    data = pd.DataFrame({"x": x, "m": 0.1 * x + rng.normal(size=300)})
    data["y"] = data["m"] + rng.normal(size=300)
    data.loc[:30, "m"] = np.nan
    assert 0.1 < ppp(quick(bh.SEM(model="y ~ m; m ~ x"), data))[""] < 0.9
    assert ppp(quick(bh.SEM(model="y ~ x; m ~ x; y ~~ 0*m"), data))[""] < 0.01
    table = bh.implied_correlations(quick(bh.SEM(model="y ~ m; m ~ x"), data.dropna()))
    expected = data.dropna().corr()
    for row in table.itertuples():
        assert row.sample == pytest.approx(expected.loc[row.first, row.second], abs=1e-6)
        assert row.lower < row.sample < row.upper


def test_dic_and_bic_of_a_regression():
    """Deviances by hand."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=50)})
    data["y"] = 2 + data["x"] + rng.normal(size=50)
    fit = quick(bh.SEM(model="y ~ x"), data, 500)
    p = fit.posterior
    a, b, sd = (p[k].to_numpy().ravel() for k in ("intercept", "path", "sd"))

    def deviance(a, b, sd):
        mean = np.asarray(a)[..., None] + np.asarray(b)[..., None] * data["x"].to_numpy()
        return -2 * stats.norm(mean, np.asarray(sd)[..., None]).logpdf(data["y"].to_numpy()).sum(-1)

    mean = deviance(a, b, sd).mean()
    pd_ = mean - deviance(a.mean(), b.mean(), np.sqrt((sd**2).mean()))
    middle = deviance(np.median(a), np.median(b), np.median(sd))
    table = bh.model_fit(fit, draws=20).set_index("statistic")["value"]
    assert table["DIC"] == pytest.approx(mean + pd_)
    assert table["pD"] == pytest.approx(pd_)
    assert table["BIC"] == pytest.approx(
        middle + 3 * np.log(50), abs=1e-3
    )  # the median of 2,000 squares lies between two
    assert table["elpd"] == pytest.approx(bh.loo(fit, "row").elpd)


def test_conditional_deviance_at_the_posterior_means(activity):
    p, data = activity.posterior, gallery.read("school_activity").data()
    rows = bh.summary(activity).set_index(["level", "parameter"])["mean"]["within"]
    names = ["mvpa", "advant", "peers"]
    B = np.zeros((3, 3))
    B[0, 1:] = rows["mvpa ~ advant"], rows["mvpa ~ peers"]
    Psi = np.diag([rows[f"{v} ~~ {v}"] for v in names])
    Psi[1, 2] = Psi[2, 1] = rows["advant ~~ peers"]
    A = np.linalg.inv(np.eye(3) - B)
    means = p["cluster_mean"].mean(("chain", "draw")).sel(between_variable=names).to_numpy()
    at_mean = -2 * stats.multivariate_normal(cov=A @ Psi @ A.T).logpdf(data[names] - means[data["school"]]).sum()
    table = bh.model_fit(activity, draws=5).set_index("statistic")["value"]
    assert table["DIC, conditional"] - 2 * table["pD, conditional"] == pytest.approx(at_mean, abs=1e-6)


def test_without_one_covariance_matrix_there_is_no_ppp():
    data = clinics(gaps=0)
    product = quick(bh.SEM(cluster="clinic", within="y ~ i1", between="y ~ i1 + treat + treat:i1; i1 ~ treat"), data)
    table = bh.model_fit(product).set_index("statistic")
    assert np.isnan(table.loc["PPP", "value"])
    assert "depends on treat" in table.loc["PPP", "definition"]
    assert table["value"].drop("PPP").notna().all()
    assert bh.implied_correlations(product).notna().all(axis=None)
    slopes = quick(bh.SEM(cluster="clinic", within="s | y ~ i1", between="s ~ treat; y ~ i1; y ~~ s"), data, 100)
    table = bh.model_fit(slopes).set_index("statistic")
    assert "random slopes" in table.loc["PPP", "definition"]
    assert np.isfinite(table.loc["DIC, conditional", "value"])
    with pytest.raises(bh.SpecError, match="differ between clusters"):
        bh.implied_correlations(slopes)


def test_other_families_are_refused():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=60), "t": np.arange(60) % 2})
    fit = quick(bh.RandomSlope(outcome="y", treatment="t"), data)
    for check in (bh.model_fit, bh.implied_correlations):
        with pytest.raises(bh.SpecError, match=r"bh\.SEM"):
            check(fit)


# replicated data


SMALL = bh.SEM(cluster="clinic", within="y ~ w*m", between="y ~ b*m; m ~ a*treat; climate ~ k*m; y ~~ 0*climate")
VALUES = {
    "path": {"within: y ~ m": 2.0, "between: y ~ m": 0.5, "between: m ~ treat": 1.5, "between: climate ~ m": -1.0},
    "intercept": {"between: y": 10.0, "between: m": 3.0, "between: climate": 4.0},
    "sd": {"within: y": 1.0, "within: m": 2.0, "between: y": 0.7, "between: m": 0.8, "between: climate": 0.6},
}


def small() -> pd.DataFrame:
    data = clinics(clusters=20).rename(columns={"i1": "m"})
    data.loc[data["clinic"] == 3, "climate"] = np.nan
    return data


def test_replicates_have_the_moments_of_the_model():
    fit = quick(SMALL, small(), 750)
    b = np.random.default_rng(0).normal(5, 2, (20, 2))  # in the order of between_variable
    at = with_draws(fit, **VALUES, cluster_mean=b)
    draws, code, treat = 3000, fit.design["cluster_code"].to_numpy(), fit.design["Z"].to_numpy()[:, 0]
    gaps = np.isnan(fit.design["Y"].to_numpy())

    these = bh.replicate(at, draws)
    y, m = (these["Y"].sel(within_variable=v).to_numpy() for v in ("y", "m"))
    by, bm = (b[:, list(fit.design["between_variable"].to_numpy()).index(v)] for v in ("y", "m"))
    assert (np.isnan(these["Y"].to_numpy()) == gaps).all()
    for x, mean, sd in ((y, by[code], np.hypot(2 * 2, 1)), (m, bm[code], 2)):
        z = (x.mean(0) - mean) / (sd / np.sqrt(draws))
        assert np.nanmax(np.abs(z)) < 5
    V = these["V"].to_numpy()[..., 0]
    assert np.isnan(V[:, 3]).all()
    np.testing.assert_allclose(np.delete(V.mean(0) - (4 - bm), 3), 0, atol=5 * 0.6 / np.sqrt(draws))
    np.testing.assert_allclose(np.delete(V.std(0), 3), 0.6, rtol=0.1)

    new = bh.replicate(at, draws, clusters="new")
    j = next(k for k in range(20) if (~gaps[code == k]).all(1).sum() > 1 and k != 3)
    rows = np.flatnonzero(code == j)[(~gaps[code == j]).all(1)][:2]
    y, m = (new["Y"].sel(within_variable=v).to_numpy()[:, rows] for v in ("y", "m"))
    values = np.column_stack([m[:, 0], m[:, 1], y[:, 0], y[:, 1], new["V"].to_numpy()[:, j, 0]])
    e = np.eye(10)  # shocks: m_b, y_b, climate, m_w (2), y_w (2)
    mb, yb, c = 0.8 * e[0], 0.5 * 0.8 * e[0] + 0.7 * e[1], -0.8 * e[0] + 0.6 * e[2]
    made = np.stack([mb + 2 * e[3], mb + 2 * e[4], yb + 4 * e[3] + e[5], yb + 4 * e[4] + e[6], c])
    cov, mean = made @ made.T, 3 + 1.5 * treat[j]
    mean = np.array([mean, mean, 10 + 0.5 * mean, 10 + 0.5 * mean, 4 - mean])
    assert (np.abs(values.mean(0) - mean) / np.sqrt(np.diag(cov) / draws)).max() < 5
    error = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / draws)
    assert (np.abs(np.cov(values.T) - cov) / error).max() < 5


@pytest.fixture(scope="module")
def slopes() -> bh.Fit:
    spec = bh.SEM(cluster="clinic", within="s | y ~ m", between="y ~~ s; m ~ treat")
    fit = quick(spec, small(), 500)
    rng = np.random.default_rng(0)
    slope, b = rng.normal(2, 1, (20, 1)), rng.normal(5, 2, (20, 2))
    return with_draws(fit, slope=slope, cluster_mean=b, sd=VALUES["sd"] | {"between: s": 1.0})


def test_replicates_keep_the_random_slopes_of_these_clusters(slopes):
    new = bh.replicate(slopes, 2000)["Y"]
    code, b = slopes.design["cluster_code"].to_numpy(), slopes.posterior["cluster_mean"][0, 0]
    y, m = (new.sel(within_variable=v) - b.sel(between_variable=v).to_numpy()[code] for v in ("y", "m"))
    found = (y * m).mean("draw") / (m * m).mean("draw")
    slope = slopes.posterior["slope"].to_numpy()[0, 0, code, 0]
    assert float(np.abs(found - slope).max()) < 5 * 0.5 / np.sqrt(2000)


def test_rows_given_random_slopes(slopes):
    """log N(m; b_m, 2) N(y; b_y + s (m - b_m), 1) of complete rows."""
    rows = slopes.spec.log_likelihood(slopes.posterior.isel(chain=[0], draw=[0]), slopes.design, "row").to_numpy()[0, 0]
    code, b = slopes.design["cluster_code"].to_numpy(), slopes.posterior["cluster_mean"][0, 0]
    s = slopes.posterior["slope"].to_numpy()[0, 0, code, 0]
    y, m = (slopes.design["Y"].sel(within_variable=v) - b.sel(between_variable=v).to_numpy()[code] for v in ("y", "m"))
    expected = stats.norm(0, 2).logpdf(m) + stats.norm(0, 1).logpdf(y - s * m)
    complete = np.isfinite(expected)
    np.testing.assert_allclose(rows[complete], expected[complete])
    piece = slopes.design.isel(row=slice(20, 30))
    part = slopes.spec.log_likelihood(slopes.posterior.isel(chain=[0], draw=[0]), piece, "row").to_numpy()[0, 0]
    np.testing.assert_allclose(part, rows[20:30])


def test_predictive_checks_of_a_true_model_are_central(activity, fitted):
    table = bh.predictive_checks(activity, draws=200)
    assert not table["extreme"].any()
    assert len(table) == 2 * 18
    data, seen = gallery.read("school_activity").data(), table.set_index(["statistic", "level"])["observed"]
    assert seen["skewness of mvpa", "within"] == pytest.approx(stats.skew(data["mvpa"]))
    groups = data.groupby("school")[["mvpa", "peers"]]
    assert seen["SD of cluster means of mvpa", "between"] == pytest.approx(groups.mean()["mvpa"].std())
    within = data[["mvpa", "peers"]] - groups.transform("mean")
    assert seen["correlation of mvpa and peers within clusters", "within"] == pytest.approx(within.corr().iloc[0, 1])
    between = groups.mean().corr().iloc[0, 1]
    assert seen["correlation of mvpa and peers between clusters", "between"] == pytest.approx(between)
    assert bh.predictive_checks(fitted, draws=100)["p"].between(0, 1).all()


def test_predictive_checks_find_what_the_model_leaves_out():
    rng = np.random.default_rng(3)
    data = clinics(gaps=0.05, clusters=60)
    data["i1"] = data["i1"] + 3 * rng.exponential(size=len(data))
    data["only"] += rng.normal(size=60)[data["clinic"]]
    found = bh.predictive_checks(quick(CLINICS, data), draws=150).set_index(["statistic", "level"])["extreme"]
    assert found["skewness of i1", "within"]
    assert found["SD of cluster means of only", "between"]
    assert not found["mean of y", "between"]
    assert not found["correlation of i2 and i3 between clusters", "between"]
    one = quick(bh.SEM(model="y ~ x"), data)
    assert set(bh.predictive_checks(one, draws=50)["level"]) == {"within"}
    with pytest.raises(bh.SpecError, match="Nothing varies"):
        bh.replicate(one, 10, clusters="new")


# leave-one-out


def test_leaving_out_clusters_and_rows(activity):
    found, rows = bh.loo(activity), bh.loo(activity, "row")
    assert found.p_loo == pytest.approx(17, abs=3)
    assert found.troubles == ()
    assert "given the random effects of school" in rows.what
    assert rows.elpd > found.elpd


def test_a_cluster_that_stands_apart_is_left_out_by_fitting_again():
    data = small()
    data.loc[data["clinic"] == 7, "y"] += 6
    fit = quick(SMALL, data, 1000)
    found = bh.loo(fit).pointwise
    assert found.loc["7", "refitted"]
    rest = quick(replace(SMALL, priors=fit.priors), data[data["clinic"] != 7], 1000)
    values = SMALL.log_likelihood(rest.posterior, fit.design, "cluster").sel(clinic="7").to_numpy()
    expected = logsumexp(values) - np.log(values.size)
    assert found.loc["7", "elpd"] == pytest.approx(expected, abs=4 * np.hypot(found.loc["7", "mcse"], 0.05))


def test_a_row_without_values_is_predicted_for_nothing():
    data = clinics(gaps=0)
    data.loc[5, ["y", "i1"]] = np.nan
    found = bh.loo(quick(bh.SEM(model="y ~ i1 + x; i1 ~ x"), data), "row").pointwise
    assert found.loc[5, ["elpd", "p_loo", "mcse"]].eq(0).all()
    assert found["elpd"].drop(5).lt(0).all()


def test_compare_structural_models(activity):
    data, spec = gallery.read("school_activity").data(), replace(activity.spec, derived={})
    other = "peers ~ p2bc*treat; advant ~ p1bc*treat; mvpa ~ p3bc*advant + 0*peers; advant ~~ peers"
    wrong = quick(replace(spec, between=other), data.sample(frac=1, random_state=0), 500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        table = bh.compare({"right": activity, "wrong": wrong})
    assert list(table.index) == ["right", "wrong"]
    less = quick(bh.SEM(cluster="school", within="mvpa ~ advant", between="mvpa ~ advant"), data)
    with pytest.raises(bh.DataError, match="outcomes are 'mvpa', 'advant', 'peers' and 'mvpa', 'advant'"):
        bh.compare({"a": activity, "b": less})
    moved = quick(spec, data.assign(peers=data["peers"] + (data["school"] == 3)))
    with pytest.raises(bh.DataError, match="'peers' differs in 20 rows"):
        bh.compare({"a": activity, "b": moved})
