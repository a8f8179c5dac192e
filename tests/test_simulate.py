"""Simulation from the joint graph, the tests of uniformity, and that calibration passes a right model and fails wrong ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import SPECS, frame
from scipy import stats

import bayeshte as bh
from bayeshte import calibration
from bayeshte.calibration import calibrate
from bayeshte.families import random_slope_arrays
from bayeshte.marginal import gaussian
from bayeshte.simulate import simulate
from bayeshte.uniformity import chi2_test, ecdf_band, ecdf_test, holm

PRIORS = {
    "gamma0": bh.Normal(0, 2),
    "gamma1": bh.Normal(0, 1),
    "gamma2": bh.Normal(0, 0.5),
    "gamma3": bh.Normal(0, 0.5),
    "sd": bh.HalfNormal(1),
    "sigma": bh.Gamma(8, 8),
    "corr": bh.LKJ(2),
}
PLAIN = {k: p for k, p in PRIORS.items() if k != "gamma3"}
SPEC = bh.RandomSlope(outcome="y", treatment="t", cluster="school", moderators="x", priors=PRIORS)


def template(seed: int = 0, clusters: int = 10) -> pd.DataFrame:
    """Unbalanced clusters, the first of them untreated, a covariate that differs between clusters."""
    rng = np.random.default_rng(seed)
    n = rng.integers(3, 15, clusters)
    school = np.repeat([f"s{k}" for k in range(clusters)], n)
    t = rng.integers(0, 2, len(school)) * (school != "s0")
    x = rng.normal(size=len(school)) + np.repeat(rng.normal(size=clusters), n)
    return pd.DataFrame({"y": rng.normal(size=len(school)), "t": t, "school": school, "x": x, "note": "kept"})


def test_only_the_outcome_changes():
    data = template()
    before = data.copy()
    simulated = simulate(SPEC, data, n=3, seed=4)
    pd.testing.assert_frame_equal(data, before)
    outcomes = []
    for truth, made in simulated:
        pd.testing.assert_frame_equal(made.drop(columns="y"), data.drop(columns="y"))
        assert set(truth.dims) == {"t", "school", "covariate", "moderator", "varying", "varying_"}
        assert truth["effect"].sel(school="s3", t="1").shape == ()
        outcomes.append(made["y"].to_numpy())
    assert not np.allclose(outcomes[0], outcomes[1])


def test_a_seed_gives_the_same_data_however_many():
    few, many = simulate(SPEC, template(), n=2, seed=4), simulate(SPEC, template(), n=5, seed=4)
    one = simulate(SPEC, template(), seed=4)
    for (truth, made), (again, same) in zip(few, many, strict=False):
        assert truth.identical(again)
        pd.testing.assert_frame_equal(made, same)
    pd.testing.assert_frame_equal(one[0][1], few[0][1])
    assert not np.allclose(simulate(SPEC, template(), seed=5)[0][1]["y"], one[0][1]["y"])


def test_outcomes_follow_from_the_truth():
    """The model by hand: what is left of the outcome is standard normal, and the truth comes from its prior."""
    data = template()
    school = data["school"].to_numpy()
    residuals, firsts = [], []
    for truth, made in simulate(SPEC, data, n=300, seed=2):
        u = truth["u"].sel(school=school)
        slope = float(truth["gamma1"][0]) + float(truth["gamma3"][0, 0]) * data["x"] + u.sel(varying="1").to_numpy()
        eta = float(truth["gamma0"]) + u.sel(varying="intercept").to_numpy() + slope * data["t"]
        residuals.append((made["y"] - eta - float(truth["gamma2"][0]) * data["x"]) / float(truth["sigma"]))
        correlation = float(truth["corr"].sel(varying="intercept", varying_="1"))
        firsts.append([float(truth["gamma0"]), float(truth["sd"][0]), correlation, *truth["u"][0].to_numpy()])
    assert stats.kstest(np.concatenate(residuals), "norm").pvalue > 0.01
    gamma0, sd, correlation, u0, _ = np.array(firsts).T
    assert stats.kstest(gamma0 / 2, "norm").pvalue > 0.01
    assert stats.kstest(sd, "halfnorm").pvalue > 0.01
    assert stats.kstest((correlation + 1) / 2, "beta", (2, 2)).pvalue > 0.01  # LKJ(2), two by two
    assert stats.kstest(u0 / sd, "norm").pvalue > 0.01


def test_other_priors():
    known = {"gamma1": bh.Normal(5, 1e-6), "sd[1]": bh.HalfNormal(1e-6)}
    ((truth, _),) = simulate(SPEC, template(), priors=PRIORS | known)
    means = template().groupby("school", sort=False)["x"].mean()
    expected = 5 + float(truth["gamma3"][0, 0]) * means.to_numpy()
    np.testing.assert_allclose(truth["effect"].sel(t="1"), expected, atol=1e-4)
    with pytest.raises(bh.SpecError, match="gamma1"):
        simulate(SPEC, template(), priors={"gama1": bh.Normal(0, 1)})


@pytest.mark.parametrize("name", [k for k, s in SPECS.items() if s.priors != "mplus"])
def test_every_variant_can_be_simulated(name):
    data = frame()
    for truth, made in simulate(SPECS[name], data, n=2):
        assert np.isfinite(made["y"]).all()
        assert made.index.equals(data.index)
        assert all(np.isfinite(v).all() for v in truth.data_vars.values())


@pytest.mark.parametrize(
    ("family", "outcome", "values"),
    [("logit", "passed", {0, 1}), ("probit", "passed", {0, 1}), ("poisson", "errors", None)],
)
def test_discrete_outcomes(family, outcome, values):
    spec = replace(SPECS["slope and intercept"], outcome=outcome, family=family, priors={"gamma0": bh.Normal(0, 0.5)})
    for _, made in simulate(spec, frame(), n=5):
        y = made[outcome].to_numpy()
        assert (set(y) <= values) if values else (y >= 0).all() and (y == np.floor(y)).all()


def test_incomplete_rows_are_left_out():
    data = template()
    data.loc[data.index[:4], "x"] = np.nan
    ((_, made),) = simulate(replace(SPEC, missing="drop"), data)
    assert made.index.equals(data.index[4:])


def test_improper_priors_are_refused():
    with pytest.raises(bh.SpecError, match=r"gamma0: Flat\(\)"):
        simulate(replace(SPEC, priors="mplus"), template())
    with pytest.raises(bh.SpecError, match="Improper"):
        calibrate(replace(SPEC, priors="mplus"), template(), simulations=2)


def test_tests_of_uniformity():
    """Right size under uniform ranks; small p-values where ranks are shifted, too narrow or too wide."""
    rng = np.random.default_rng(0)
    null = rng.integers(0, 120, (400, 200))
    for test in (ecdf_test, chi2_test):
        p = np.array([test(r, 119) for r in null])
        assert stats.binomtest(int((p <= 0.05).sum()), 400, 0.05).pvalue > 0.01
        assert stats.kstest(p, "uniform").pvalue > 0.001
    for a, b in ((1.4, 1), (1.6, 1.6), (0.65, 0.65)):
        ranks = np.floor(120 * rng.beta(a, b, (50, 200))).astype(int)
        assert np.mean([ecdf_test(r, 119) < 0.05 for r in ranks]) > 0.8
        assert np.mean([chi2_test(r, 119) < 0.05 for r in ranks]) > 0.5
    points, low, high = ecdf_band(200, 119)
    ecdf = np.stack([(r[:, None] / 120 < points).mean(0) for r in null]) - points
    inside = ((ecdf >= low - 1e-12) & (ecdf <= high + 1e-12)).all(1).sum()
    assert stats.binomtest(int(inside), 400, 0.95).pvalue > 0.01


def test_holm():
    np.testing.assert_allclose(holm(np.array([[0.01, 0.04], [0.03, 0.005]])), [[0.03, 0.06], [0.06, 0.02]])


FAST = {"draws": 400, "tune": 300, "progress": False}


def test_interrupted_calibration_goes_on(tmp_path):
    path = tmp_path / "ranks.csv"
    calibrate(SPEC, template(), simulations=2, seed=3, path=path, **FAST)
    resumed = calibrate(SPEC, template(), simulations=4, seed=3, path=path, **FAST)
    straight = calibrate(SPEC, template(), simulations=4, seed=3, **FAST)
    pd.testing.assert_frame_equal(resumed.ranks, straight.ranks)
    pd.testing.assert_frame_equal(resumed.table, straight.table)
    assert pd.read_csv(path)["simulation"].nunique() == 4
    with pytest.raises(bh.DataError, match="another calibration"):
        calibrate(SPEC, template(), simulations=4, seed=4, path=path, **FAST)


def test_failures_are_counted(monkeypatch):
    """Data that the model refuses and fits that do not converge are neither ranked nor forgotten."""
    none = calibrate(SPEC, template(), simulations=2, seed=3, draws=40, tune=50, progress=False)
    assert none.failed == 2
    assert none.status.str.startswith("not converged").all()
    with pytest.raises(bh.DataError, match="not converged"):
        none.table  # noqa: B018

    real, calls = calibration.fit, []

    def refuse_first(*args, **options):
        calls.append(1)
        if len(calls) == 1:
            raise bh.DataError("The outcome 'y' is constant.")
        return real(*args, **options)

    monkeypatch.setattr(calibration, "fit", refuse_first)
    some = calibrate(SPEC, template(), simulations=3, seed=3, **FAST)
    assert some.failed == 1
    assert some.status[0] == "refused: The outcome 'y' is constant."
    assert list(some.ranks.index) == [1, 2]
    assert not some.ok
    assert "1 of 3 simulations without ranks" in repr(some)


def test_quantities_appear_once():
    """Without other randomness, equal quantities (the ATE in a new cluster and gamma1) are tested once; all others are there."""
    names = list(
        calibrate(replace(SPEC, moderators="", covariates="x", priors=PLAIN), template(), simulations=3, **FAST).ranks
    )
    assert names[:6] == ["gamma0", "gamma1[1]", "gamma2[x]", "sd[intercept]", "sd[1]", "corr[intercept, 1]"]
    assert {"sigma", "u[s0, intercept]", "effect[s9, 1]", "ATE[1]", "log-likelihood"} <= set(names)
    assert not {"corr[1, 1]", "corr[1, intercept]", "ATE, new cluster[1]", "SD of effects[1]"} & set(names)


def wrong_prior(monkeypatch):
    """Random effects are thought to be three times smaller than they were simulated."""
    real = calibration.fit
    small = {"sd[intercept]": bh.HalfNormal(0.33), "sd[1]": bh.HalfNormal(0.33)}
    monkeypatch.setattr(
        calibration, "fit", lambda spec, data, **o: real(replace(spec, priors={**spec.priors, **small}), data, **o)
    )


def wrong_likelihood(monkeypatch):
    """Cross-products enter four times: the residual SD is taken to be half of what it is."""
    real = random_slope_arrays.moments

    def inflated(*args):
        m = real(*args)
        return replace(m, rr=4 * m.rr, Xr=4 * m.Xr, XX=4 * m.XX)

    monkeypatch.setattr(random_slope_arrays, "moments", inflated)


def wrong_recovery(monkeypatch):
    """Random effects are drawn back with half of their conditional SD: no parameter is affected."""
    real = gaussian.draw_effects

    def narrow(m, t, rng):
        first, second = real(m, t, rng), real(m, t, rng)
        return first + (second - first) / 2  # variance 1/2

    monkeypatch.setattr(gaussian, "draw_effects", narrow)


@pytest.mark.slow
def test_the_right_model_is_calibrated():
    result = calibrate(SPEC, template(), simulations=60, seed=7, **FAST)
    assert result.ok, result
    assert result.failed == 0
    assert (result.table.filter(like="z_").abs() < 4).all(axis=None)


@pytest.mark.parametrize(
    ("mistake", "seen_in", "simulations"),
    [
        pytest.param(wrong_likelihood, "sigma", 20, id="likelihood"),
        pytest.param(wrong_prior, "sd[1]", 60, id="prior", marks=pytest.mark.slow),
        # the random effects of one cluster have no power against this; the likelihood given all of them has
        pytest.param(wrong_recovery, "log-likelihood given random effects", 60, id="recovery", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_model_is_found(monkeypatch, mistake, seen_in, simulations):
    mistake(monkeypatch)
    result = calibrate(SPEC, template(), simulations=simulations, seed=7, **FAST)
    assert not result.ok
    assert result.table.set_index("quantity").loc[seen_in, "p_holm"] < 0.05, result
