"""What is computed from draws of models with categories: replicates, simulated data, statistics, likelihoods, refusals."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import expit
from test_sem_categorical import frame

import bayeshte as bh
from bayeshte.categories import ordered
from bayeshte.simulate import _prior_draws, simulate

PRIORS = {"path": bh.Normal(0, 0.7), "intercept": bh.Normal(0, 1), "sd": bh.HalfNormal(1), "threshold": bh.Normal(0, 1)}

RESPONSES = {k: PRIORS[k] for k in ("path", "threshold")}  # of models whose variables are all categorical


def named(truth, variable: str) -> dict[str, float]:
    return dict(zip(truth[f"{variable}s"].to_numpy(), truth[variable].to_numpy(), strict=True))


def uniform(low, high, rng) -> np.ndarray:
    """Probability integral transforms of categories between two cumulative probabilities each."""
    return low + rng.random(len(low)) * (high - low)


@pytest.mark.parametrize("link", ["probit", "logit"])
def test_simulated_two_levels_by_hand(link):
    """Categories are those of the latent response between the thresholds, given what the truth says of the clusters."""
    spec = bh.SEM(
        cluster="school",
        within="m ~ x; o ~ m",
        between="m ~ z; o ~ m",
        categorical={"o": link},
        priors=PRIORS,
    )
    cdf, found, rng = {"probit": stats.norm.cdf, "logit": expit}[link], [], np.random.default_rng(0)
    for truth, made in simulate(spec, frame(missing=link == "probit"), n=40, seed=2):
        p, b = named(truth, "path"), truth["cluster_mean"].to_pandas()
        made = made[made["m"].notna() & made["o"].notna()]
        own = b.loc[made["school"].astype(str)]
        tau = np.r_[-np.inf, truth["threshold"].to_numpy(), np.inf]
        # the constant of the response between clusters is minus the first threshold
        centre = own["o"].to_numpy() + p["within: o ~ m"] * (made["m"].to_numpy() - own["m"].to_numpy())
        code = made["o"].to_numpy().astype(int)
        low, high = (cdf(tau[code + up] - tau[1] - centre) for up in (0, 1))
        found.append(uniform(low, high, rng))
    assert stats.kstest(np.concatenate(found), "uniform").pvalue > 0.01


def test_simulated_one_level_by_hand():
    """A binary and an ordinal response whose residuals covary: squared, they tell of the correlation."""
    spec = bh.SEM(model="y ~ x; o ~ x; y ~~ o", categorical=["y", "o"], priors=RESPONSES)
    table = np.zeros((40, 2))
    for k, (truth, made) in enumerate(simulate(spec, frame(), n=40, seed=3)):
        p, tau = named(truth, "path"), named(truth, "threshold")
        S = np.array([[1, truth["corr"].item()], [truth["corr"].item(), 1]])
        at = np.array([tau["y | t1"], tau["o | t1"]]) - made[["x"]].to_numpy() * [p["y ~ x"], p["o ~ x"]]
        both = np.array([stats.multivariate_normal([0, 0], S).cdf(a) for a in at])
        seen = (made["y"] == 0) & (made["o"] == 0)
        table[k] = (seen - both).sum(), (both * (1 - both)).sum()
    z = table[:, 0] / np.sqrt(table[:, 1])
    assert stats.kstest(z, "norm").pvalue > 0.01


def test_simulated_thresholds_are_above_a_first_one_that_is_fixed():
    priors = {"path": bh.Normal(0, 1), "threshold": bh.Normal(0, 2)}
    spec = bh.SEM(model="o ~ x; o | 0*t1 + t2", categorical=["o"], priors=priors)
    drawn = np.array([truth["threshold"].to_numpy().ravel() for truth, _ in simulate(spec, frame(), n=40, seed=5)])
    assert drawn.min() > 0
    assert drawn.mean() == pytest.approx(2 * np.sqrt(2 / np.pi), abs=4 * 1.2 / np.sqrt(drawn.size))


def test_simulated_labels_and_gaps_are_those_of_the_data():
    data = frame(missing=True)
    labels = ["never, ever", "some", "often", "always"]
    data["text"] = pd.Categorical.from_codes(data["o"].fillna(-1).astype(int), labels, ordered=True)
    data["u"] = data["u"].map({0.0: 7.0, 1.0: 9.0})
    spec = bh.SEM(model="text ~ x; u ~ text; y ~ u", categorical=["text", "u", "y"], priors=RESPONSES)
    before = data.copy()
    ((_, made),) = simulate(spec, data, seed=4)
    pd.testing.assert_frame_equal(data, before)
    assert made["text"].dtype == data["text"].dtype
    for v in ("text", "u", "y"):
        pd.testing.assert_series_equal(made[v].isna(), data[v].isna())
        assert {*made[v].dropna()} <= {*data[v].dropna()}
    assert ordered(made[made["text"].notna()], "text")[1] != labels or {*made["text"].dropna()} == {*labels}


CASES = {
    "probit and logit": bh.SEM(
        cluster="school",
        within="m ~ x; o ~ m; y ~ m; o ~~ 0*y",
        between="m ~ z; o ~ m; y ~ m",
        categorical={"o": "probit", "y": "logit"},
    ),
    "slope": bh.SEM(cluster="school", within="s | y ~ m", between="m ~ z; y ~ z; s ~ z; m ~~ s", categorical=["y"]),
}


def draw_of(spec, design, n: int) -> xr.Dataset:
    """One draw of the priors, n times over, as a posterior of one chain."""
    truth, _ = _prior_draws(spec, design, spec.frozen_priors(design), 1, 1)
    return xr.concat([truth] * n, dim="draw").assign_coords(draw=np.arange(n))


@pytest.mark.parametrize("name", CASES)
def test_replicates_have_the_probabilities_of_the_model(name):
    """Given clusters and covariates: shares of a thousand replicates of every row against the normal (logistic) distribution."""
    spec, n = CASES[name], 1000
    spec = replace(spec, priors=PRIORS)
    design = spec.design(frame())
    draws = draw_of(spec, design, n)
    s, data = spec.structure_of(design), design
    new = spec.replicates(draws, design, spec.frozen_priors(design), 3, "these")
    truth = draws.isel(chain=0, draw=0)
    p, tau, b = named(truth, "path"), named(truth, "threshold"), truth["cluster_mean"].to_pandas()
    own = b.to_numpy()[data["cluster_code"].to_numpy()]
    sd = named(truth, "sd")["within: m"]
    X = data["X"].to_numpy()
    for v, link in spec.links.items():
        k = s.within.index(v)
        if name == "slope":
            to = truth["slope"].to_numpy()[data["cluster_code"].to_numpy(), 0]
            w = 0.0
        else:
            to = p[f"within: {v} ~ m"]
            w = p["within: m ~ x"] * X[:, 0]
        x = np.linspace(-8, 8, 401)  # of the mediator's residual
        centre = own[:, list(b.columns).index(v)] + to * w
        cuts = [tau[e] for e in tau if e.startswith(f"between: {v} |")]
        for c, cut in enumerate(cuts, start=1):
            at = centre[:, None] + np.multiply.outer(np.broadcast_to(to, len(own)) * sd, x) - (cut - cuts[0])
            above = np.trapezoid((stats.norm.cdf(at) if link == "probit" else expit(at)) * stats.norm.pdf(x), x)
            seen = (new["Y"].to_numpy()[..., k] >= c).sum(0)
            z = (seen.sum() - n * above.sum()) / np.sqrt(n * (above * (1 - above)).sum())
            assert abs(z) < 4
            square = ((seen - n * above) ** 2 / (n * np.clip(above * (1 - above), 1e-3, 1))).sum()
            assert square < stats.chi2.ppf(0.9999, len(own))


def test_statistics_of_categories_by_hand():
    spec = CASES["probit and logit"]
    data = frame(missing=True)
    design = spec.design(data)
    found = spec.discrepancies(design)(design["Y"].to_numpy(), design["V"].to_numpy())
    assert found["share of o = 2"] == pytest.approx((data["o"].dropna() == 2).mean())
    assert sum(found[f"share of o = {k}"] for k in range(4)) == pytest.approx(1)
    above = (data["o"] > 0).where(data["o"].notna()).astype(float).groupby(data["school"]).mean()
    assert found["SD of cluster shares of o > 0"] == pytest.approx(above.std())
    y = data["y"].groupby(data["school"]).mean()
    assert found["correlation of o and y between clusters"] == pytest.approx(np.corrcoef(above, y)[0, 1])
    assert "mean of m" in found
    assert "mean of o" not in found
    constant = design["Y"].where(design["within_variable"] != "y", 1.0).where(design["Y"].notnull())
    assert np.isnan(
        spec.discrepancies(design)(constant.to_numpy(), design["V"].to_numpy())[
            "correlation of m and y within clusters"
        ]
    )


@pytest.fixture(scope="module")
def two_levels() -> bh.Fit:
    """A binary and an ordinal outcome that depend on each other beyond their predictors; the model says they do not."""
    rng = np.random.default_rng(3)
    j = np.repeat(np.arange(30), rng.integers(4, 9, 30))
    n = len(j)
    x, b = rng.normal(size=n), 0.5 * rng.normal(size=(30, 2))[j]
    m = 0.5 * x + rng.normal(size=n) + b[:, 0]
    response = 0.4 * m + rng.normal(size=n) + b[:, 1]
    data = pd.DataFrame({"school": j, "x": x, "m": m, "y": (response > 0.4) * 1})
    data["o"] = pd.cut(response + 0.3 * rng.normal(size=n), [-9, -0.5, 1, 9], labels=["never", "some", "often"])
    spec = bh.SEM(
        cluster="school",
        within="m ~ x; y ~ m; o ~ m; y ~~ 0*o",
        between="y ~ m; o ~ m; y ~~ 0*o",
        categorical=["y", "o"],
        priors=PRIORS,
    )
    return bh.fit(spec, data, draws=800, tune=400, seed=1, progress=False)


@pytest.fixture(scope="module")
def one_level() -> bh.Fit:
    rng = np.random.default_rng(4)
    x = rng.normal(size=150)
    o = np.digitize(0.5 * x + rng.normal(size=150), [-0.5, 0.8])
    data = pd.DataFrame({"x": x, "o": o, "y": (0.5 * o + rng.normal(size=150) > 0.6) * 1})
    spec = bh.SEM(model="o ~ x; y ~ o", categorical=["o", "y"], priors=RESPONSES)
    return bh.fit(spec, data, draws=300, tune=300, seed=1, progress=False)


def test_predictive_checks_find_what_the_model_leaves_out(two_levels):
    table = bh.predictive_checks(two_levels, draws=200)
    found = table.set_index(["level", "statistic"])
    for level in ("within", "between"):
        assert found.loc[(level, "correlation of y and o within clusters"), "extreme"]
        for statistic in ("share of o = some", "share of y = 1", "correlation of m and y within clusters"):
            assert not found.loc[(level, statistic), "extreme"]
    again = bh.replicate(two_levels, 5)
    assert {*np.unique(again["Y"].sel(within_variable="o"))} == {0, 1, 2}


@pytest.mark.parametrize("which", ["one_level", "two_levels"])
def test_pictures_have_bars_of_shares(which, request):
    fit = request.getfixturevalue(which)
    pc = bh.plot_ppc(fit)
    names = [str(v) for v in fit.design["within_variable"].to_numpy()]
    ax = pc.get_target("y", {"panel": names.index("o")})
    labels = {"one_level": ["0", "1", "2"], "two_levels": ["never", "some", "often"]}[which]
    assert [t.get_text() for t in ax.get_xticklabels()] == labels
    y = fit.design["Y"].sel(within_variable="o").to_numpy()
    np.testing.assert_allclose([b.get_height() for b in ax.patches], np.bincount(y.astype(int)) / len(y))
    if which == "two_levels":
        shares = pc.get_target("y", {"panel": len(names) + names.index("o")})
        assert shares.get_title(loc="left") == "cluster shares of o > never"
    plt.close("all")


def test_fit_statistics_of_two_levels(two_levels):
    table = bh.model_fit(two_levels, draws=20).set_index("statistic")
    ll = two_levels.cluster_log_likelihood
    assert [*table.loc["PPP", "level"]] == ["", "within", "between"]
    assert table.loc["PPP", "definition"].str.contains("latent responses in place of categories").all()
    assert np.isnan(table.loc["DIC, conditional", "value"])
    mean = float(-2 * ll.sum("school").mean())
    assert table.loc["DIC, marginal", "value"] - table.loc["pD, marginal", "value"] == pytest.approx(mean)
    k = len(two_levels.spec.structure_of(two_levels.design).position)
    assert k == 13
    assert 0 < table.loc["pD, marginal", "value"] < 2 * k
    assert f"k = {k} parameters" in table.loc["BIC", "definition"]
    assert "Gauss-Hermite" in table.loc["BIC", "definition"]
    assert np.isfinite(table.loc[["BIC", "elpd"], "value"]).all()


def test_fit_statistics_of_one_level(one_level):
    """DIC has the deviance at the posterior means: here at the means of paths and thresholds by hand."""
    table = bh.model_fit(one_level, draws=20).set_index("statistic")
    middle = one_level.posterior.mean(("chain", "draw")).expand_dims(chain=[0], draw=[0])
    at_mean = -2 * one_level.spec.log_likelihood(middle, one_level.design, "row").sum().item()
    pd_, dic = table.loc["pD", "value"], table.loc["DIC", "value"]
    assert dic - 2 * pd_ == pytest.approx(at_mean, abs=0.02)
    assert np.isfinite(table.loc[["BIC", "elpd"], "value"]).all()
    found = bh.loo(one_level, "row")
    assert "Gauss-Hermite" in found.what
    assert found.elpd == pytest.approx(-dic / 2, abs=3)


def test_what_needs_continuous_variables_is_refused(one_level, two_levels):
    for fit in (one_level, two_levels):
        with pytest.raises(bh.SpecError, match="are those of latent responses"):
            bh.implied_correlations(fit)
    scores = bh.factor_scores(two_levels)
    assert {*scores["header"]} == {"cluster means"}
    mean = two_levels.posterior["cluster_mean"].sel(school="3", between_variable="y").mean().item()
    row = scores[(scores["variable"] == "y") & (scores["unit"] == "3")]
    assert row["mean"].item() == pytest.approx(mean)


def test_scores_of_rows_are_refused_those_of_clusters_are_not():
    data = frame()
    spec = bh.SEM(
        cluster="school",
        within="f =~ m + y + u; f ~ x",
        between="g =~ m + y + u",
        categorical=["y", "u"],
        priors=PRIORS | {"loading": bh.Normal(1, 0.3)},
    )
    with pytest.warns(bh.ConvergenceWarning):
        fit = bh.fit(spec, data, draws=20, tune=100, seed=1, progress=False)
    with pytest.raises(bh.SpecError, match="no scores of f: with categorical variables"):
        bh.factor_scores(fit)
    with pytest.raises(bh.SpecError, match="no scores of f"):
        bh.factor_score_draws(fit, "within: f")
    assert bh.factor_score_draws(fit, "between: g").sizes["school"] == 12
