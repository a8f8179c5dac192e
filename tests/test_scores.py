"""Factor scores: the draws against the regression formula and against dense normals, and the tables."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import SPECS
from cases import frame as trial
from test_sem import MODELS, draws_at, frame, points_of

import bayeshte as bh
from bayeshte.errors import SpecError
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_matrices import matrices
from bayeshte.marginal import structural_draws, structural_scores
from bayeshte.marginal.matrices import implied
from bayeshte.marginal.structural_scores import draw_between, draw_within

DRAWS = 5_000


def gathered(pieces, units: int) -> np.ndarray:
    """Pieces put together, (draw, unit, factor)."""
    parts = list(pieces)
    assert sorted(np.concatenate([u for u, _ in parts])) == list(range(units)), "every unit once"
    out = np.empty((len(parts[0][1]), units, parts[0][1].shape[-1]))
    for u, x in parts:
        out[:, u] = x
    return out


def assert_moments(x: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> None:
    """Draws (draw, k) have this mean and covariance, within 5 standard errors (as good as certain for hundreds of numbers)."""
    sd, n = np.sqrt(np.diag(cov)), len(x)
    assert (np.abs(x.mean(0) - mean) <= 5 * sd / np.sqrt(n) + 1e-9).all()
    error = np.sqrt((np.outer(sd, sd) ** 2 + cov**2) / n)
    assert (np.abs(np.cov(x.T).reshape(cov.shape) - cov) <= 5 * error + 1e-9).all()


def given(S, mean, target, known, values) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of elements of a normal given others."""
    G = S[np.ix_(target, known)] @ np.linalg.inv(S[np.ix_(known, known)])
    return mean[target] + G @ (values - mean[known]), S[np.ix_(target, target)] - G @ S[np.ix_(known, target)]


def place(spec, values: dict) -> np.ndarray:
    """Parameters by name in the order of the matrices, many times."""
    t = np.full(len(spec.structure.position), np.nan)
    for (variable, element), k in spec.structure.position.items():
        t[k - 1] = values[variable, element]
    return np.tile(t, (DRAWS, 1))


def test_one_level_is_the_regression_score():
    """f | y = Phi L' (L Phi L' + T)^-1 (y - nu) with covariance Phi - Phi L' (...)^-1 L Phi, of the values that are there."""
    spec = bh.SEM(model="f =~ y1 + y2; g =~ m1 + m2; y1 ~~ r*m1")
    data = frame(missing=True)[["y1", "y2", "m1", "m2"]].iloc[:12].copy()
    data.iloc[0] = np.nan
    L = np.array([[1, 0], [1.3, 0], [0, 1], [0, 0.6]])
    Phi, T = np.array([[2.0, 0.7], [0.7, 1.5]]), np.diag([0.5, 0.8, 1.2, 0.4])
    T[0, 2] = T[2, 0] = 0.3 * np.sqrt(0.5 * 1.2)
    nu = np.array([1.0, -1, 0.5, 2])
    values = {("loading", "f =~ y2"): 1.3, ("loading", "g =~ m2"): 0.6}
    values |= {("corr", "f ~~ g"): 0.7 / np.sqrt(3), ("corr", "y1 ~~ m1"): 0.3}
    for k, v in enumerate(data):
        values |= {("intercept", v): nu[k], ("sd", v): np.sqrt(T[k, k])}
    values |= {("sd", "f"): np.sqrt(2), ("sd", "g"): np.sqrt(1.5)}
    design = spec.design(data)
    s = spec.structure
    m, t = matrices(s, design["slots"].to_numpy()), place(spec, values)
    factors = np.array([s.variables("").index(f) for f in ("f", "g")])
    f = gathered(draw_within(m, data_of(design), t, factors, np.random.default_rng(1)), len(data))
    for i, y in enumerate(data.to_numpy()):
        seen = ~np.isnan(y)
        V = L[seen] @ Phi @ L[seen].T + T[np.ix_(seen, seen)]
        G = Phi @ L[seen].T @ np.linalg.inv(V)
        assert_moments(f[:, i], G @ (y - nu)[seen], Phi - G @ L[seen] @ Phi)


@pytest.mark.parametrize("name", ["factors", "slopes on factors"])
def test_two_levels_are_the_dense_normal_of_a_cluster(name, monkeypatch):
    """Cluster means drawn first, factors given them: together the normal of all factors given all data of the cluster."""
    monkeypatch.setattr(structural_scores, "CHUNK", 20 * DRAWS)  # many pieces
    spec = MODELS["factors"]
    if name != "factors":
        within = "f =~ y1 + y2 + y3; s | f ~ x"
        spec = replace(spec, within=within, between=f"{spec.between}; s ~ climate")
    data = frame(missing=True).query("school < 12")
    data.loc[data.index[:2], ["y1", "y2", "y3"]] = np.nan
    design = spec.design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    s, values = spec.structure, data_of(design)
    m = matrices(s, design["slots"].to_numpy())
    draws = draws_at(density, points_of(density, 1))
    one = spec.recover(draws, design, np.random.default_rng(0))
    t = np.repeat(stacked(s, one), DRAWS, axis=0)
    slopes = np.repeat(one["slope"].to_numpy()[0], DRAWS, axis=0) if "slope" in one else None
    both, rng = np.array([s.within.index(v) for v in s.both]), np.random.default_rng(3)
    b = np.zeros((DRAWS, design.sizes["school"], m.within))
    b[..., both] = structural_draws.draw_cluster_means(m, values, t, both, rng, slopes)
    at = [np.array([s.variables(level).index("f")]) for level in s.levels]
    fw = gathered(draw_within(m, values, t, at[0], rng, b, slopes), len(data))
    fb = gathered(draw_between(m, values, t, at[1], rng, both, b, slopes), design.sizes["school"])
    for j in (0, 3, 5, 11):
        rows = np.flatnonzero(values.code == j)
        mean, cov = _dense(m, values, t[:1], j, rows, None if slopes is None else slopes[:1, j], at)
        assert_moments(np.column_stack([fb[:, j, 0], fw[:, rows, 0]]), mean, cov)


def _dense(m, data, t, j, rows, slopes, at):
    """Mean and covariance of (f_j, f_ij of `rows`) given all of the cluster, from the normal of everything in it."""
    S, K = (x[0] for x in implied(m, t))
    M, p, n, columns = m.size, m.within, len(rows), data.X.shape[1]
    Sw, Kw = S[0, 0], K[0, 0]
    if slopes is not None:
        Sw, Kw = (x[0] for x in structural_draws.implied_within(m, t, slopes))
    full = np.zeros(((1 + n) * M,) * 2)
    full[:M, :M] = S[1, data.context[j]]
    q = np.r_[np.zeros(1 + columns), 1, data.Z[j]]
    mean = [K[1, data.context[j]] @ q]
    for i, row in enumerate(rows, start=1):
        full[i * M : (i + 1) * M, i * M : (i + 1) * M] = Sw
        mean.append(Kw @ np.r_[1, data.X[row], np.zeros(1 + data.Z.shape[1])])
    mean = np.concatenate(mean)
    f_between, f_within = at[1][0], at[0][0]
    seen = [(i, k) for i, row in enumerate(rows, start=1) for k in np.flatnonzero(~np.isnan(data.Y[row]))]
    own = [p + k for k in np.flatnonzero(~np.isnan(data.V[j]))]
    at_slopes = [x.variable for x in m.slopes]
    A = np.zeros((len(seen) + len(own) + len(at_slopes) + 1 + n, len(mean)))
    for r, (i, k) in enumerate(seen):
        A[r, k] = A[r, i * M + k] = 1.0
    A[range(len(seen), len(A) - 1 - n), [*own, *at_slopes]] = 1.0
    A[range(len(A) - 1 - n, len(A)), [f_between, *(i * M + f_within for i in range(1, n + 1))]] = 1.0
    known = [data.Y[rows[i - 1], k] for i, k in seen] + list(data.V[j][~np.isnan(data.V[j])])
    known += [] if slopes is None else list(slopes[0])
    k = len(known)
    return given(A @ full @ A.T, A @ mean, range(k, len(A)), range(k), np.array(known))


class TestSingular:
    def test_an_indicator_without_error_is_the_factor(self):
        spec = bh.SEM(model="f =~ y1 + y2; y1 ~~ 0*y1")
        data = frame()[["y1", "y2"]]
        data.iloc[0, 0] = np.nan
        design = spec.design(data)
        values = {("loading", "f =~ y2"): 0.8, ("intercept", "y1"): 1.5, ("intercept", "y2"): 0.3}
        t = place(spec, values | {("sd", "f"): 1.2, ("sd", "y2"): 0.7})[:200]
        m = matrices(spec.structure, design["slots"].to_numpy())
        f = gathered(draw_within(m, data_of(design), t, np.array([2]), np.random.default_rng(0)), len(data))[..., 0]
        np.testing.assert_allclose(f[:, 1:], np.tile(data["y1"].to_numpy()[1:] - 1.5, (200, 1)), atol=1e-6)
        assert f[:, 0].std() > 0.3

    def test_cluster_means_without_residuals(self):
        """Three cluster means in one dimension: their covariance matrix has rank 1, and the factor is known from any."""
        zeros = "; ".join(f"y{k} ~~ 0*y{k}" for k in (1, 2, 3))
        spec = bh.SEM(cluster="school", within="f =~ y1 + y2 + y3", between=f"f =~ y1 + y2 + y3; f ~ treat; {zeros}")
        fit = quick(spec, frame(missing=True))
        drawn = bh.factor_score_draws(fit, "between: f")
        mean = fit.posterior["cluster_mean"].sel(between_variable="y1")
        mean = mean - fit.posterior["intercept"].sel(intercepts="between: y1")
        np.testing.assert_allclose(drawn, mean.transpose(*drawn.dims), atol=1e-5)


def quick(spec, data, draws=50) -> bh.Fit:
    """A short fit; whether it converged is not what is asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=200, seed=1, progress=False)


@pytest.fixture(scope="module")
def fit() -> bh.Fit:
    data = frame(missing=True)
    return quick(MODELS["factors"], data.set_index(pd.Index([f"r{k}" for k in range(len(data))])))


class TestTable:
    def test_rows_and_clusters(self, fit, monkeypatch):
        table = bh.factor_scores(fit)
        n, J = fit.design.sizes["row"], fit.design.sizes["school"]
        groups = table.groupby(["level", "header", "variable"], sort=False).size()
        assert groups.to_dict() == {
            ("within", "factors", "f"): n,
            **{("between", "cluster means", v): J for v in ("y1", "y2", "y3")},
            ("between", "factors", "f"): J,
        }
        assert list(table.columns[3:]) == ["unit", "estimate", "mean", "posterior_sd", "lower", "upper"]
        assert table.columns.name == bh.summary(fit).columns.name == "NOT CONVERGED"
        monkeypatch.setattr(structural_scores, "CHUNK", 1)
        assert list(bh.factor_scores(fit)["unit"]) == list(table["unit"])

    @pytest.mark.parametrize("name", ["within: f", "between: f", "between: y2"])
    @pytest.mark.parametrize("interval", ["eti", "hdi"])
    def test_it_summarises_the_draws(self, fit, name, interval):
        level, variable = name.split(": ")
        table = bh.factor_scores(fit, interval, 0.8).query(f"level == '{level}' and variable == '{variable}'")
        x = bh.factor_score_draws(fit, name)
        assert list(x[x.dims[2]].to_numpy()) == list(table["unit"])
        flat = x.to_numpy().reshape(-1, x.shape[-1])
        np.testing.assert_allclose(table["estimate"], np.median(flat, 0))
        np.testing.assert_allclose(table["mean"], flat.mean(0))
        np.testing.assert_allclose(table["posterior_sd"], flat.std(0, ddof=1))
        inside = ((flat >= table["lower"].to_numpy()) & (flat <= table["upper"].to_numpy())).mean(0)
        np.testing.assert_allclose(inside, 0.8, atol=0.015)

    @pytest.mark.parametrize("j", [3, 7])
    def test_they_are_the_average_over_the_posterior(self, fit, j):
        """Mean of the scores of a cluster and its rows = average of the dense conditional expectations."""
        s, values = fit.spec.structure, data_of(fit.design)
        m, t = matrices(s, fit.design["slots"].to_numpy()), stacked(s, fit.posterior)
        rows = np.flatnonzero(values.code == j)
        at = [np.array([s.variables(level).index("f")]) for level in s.levels]
        expected = np.mean([_dense(m, values, t[[k]], j, rows, None, at)[0] for k in range(len(t))], axis=0)
        table = bh.factor_scores(fit).query("variable == 'f'").set_index(["level", "unit"])
        labels = [("between", fit.design["school"].to_numpy()[j])]
        found = table.loc[labels + [("within", fit.design["row"].to_numpy()[i]) for i in rows]]
        assert (np.abs(found["mean"] - expected) < 5 * found["posterior_sd"] / np.sqrt(len(t))).all()

    def test_random_slopes_are_latent_variables_of_clusters(self):
        fit = quick(MODELS["random slope"], frame())
        table = bh.factor_scores(fit)
        slopes = table[table["header"] == "random slopes"]
        by_hand = fit.posterior["slope"].sel(slopes="s").mean(("chain", "draw"))
        np.testing.assert_allclose(slopes["mean"], by_hand)
        assert set(table["level"]) == {"between"}

    def test_one_level(self):
        fit = quick(MODELS["one level, factors"], frame())
        table = bh.factor_scores(fit)
        assert "level" not in table
        assert table["variable"].unique().tolist() == ["f", "g"]
        assert bh.factor_score_draws(fit, "g").dims == ("chain", "draw", "row")

    def test_what_is_not_there(self, fit):
        with pytest.raises(SpecError, match=r"No latent variable 'f'.*'within: f', 'between: y1'"):
            bh.factor_score_draws(fit, "f")
        with pytest.raises(SpecError, match=r"no factor \(f =~ y1 \+ y2 \+ y3\).*bh\.predict"):
            bh.factor_scores(quick(MODELS["one level"], frame()))
        with pytest.raises(SpecError, match=r"those of a bh\.SEM"):
            bh.factor_scores(quick(SPECS["intercept only"], trial()))
