"""Against numbers that others computed: lme4, Stan (through brms), metafor, posteriordb.

The files are kept outside the repository (most may not be redistributed); without them these tests are skipped.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayeshte as bh
from bayeshte import gallery
from bayeshte.summary import rows

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder with reference data is not beside the repository")


def stan(path: str) -> pd.DataFrame:
    return pd.read_csv(DATA / path).set_index("variable")


def z_scores(values: xr.DataArray, reference: pd.DataFrame) -> np.ndarray:
    """Differences of posterior means in units of both runs' Monte Carlo errors."""
    x = values.transpose("chain", "draw", ...).to_numpy()
    flat = x.reshape(x.shape[0] * x.shape[1], -1)
    ess = np.maximum(rows(values)["ess_bulk"].to_numpy(), 1)
    error = np.hypot(flat.std(0) / np.sqrt(ess), reference["mcse_mean"].to_numpy())
    return (flat.mean(0) - reference["mean"].to_numpy()) / error


def assert_same_posterior(pairs, limit: float = 4.0) -> None:
    """Means within Monte Carlo error, SDs within 5 %; and not all on one side or far too close, as one run copied would be."""
    z = np.concatenate([z_scores(v, r) for v, r in pairs])
    assert np.abs(z).max() < limit, z
    for v, r in pairs:
        sd = v.std(["chain", "draw"]).to_numpy().ravel()
        np.testing.assert_allclose(sd, r["sd"], rtol=0.06)
    if len(z) > 20:
        assert 0.5 < np.sqrt((z**2).mean()) < 1.5


@pytest.fixture(scope="module")
def star():
    data = pd.read_csv(DATA / "star/star_k.csv", dtype={"schoolidk": str})
    return data.assign(y=(data["mathk"] - 485) / 10)


STAR = dict(treatment="stark", reference="regular", cluster="schoolidk", varying="small", missing="drop")


def test_star_agrees_with_lme4(star):
    """Fixed effects and SDs under weak priors: data/star/reference.txt, mathk ~ small + aide + (small | schoolidk), REML.

    A long run, because the median of the intercepts' SD is 0.14 posterior SD above REML's mode, close to the limit.
    """
    fit = bh.fit(bh.RandomSlope(outcome="mathk", **STAR), star, seed=1, draws=16_000)
    table = bh.summary(fit).set_index("parameter")
    lme4 = {
        "gamma0": 483.07010705,
        "gamma1[small]": 8.39049458,
        "gamma1[regular+aide]": 0.22486208,
        "sd[intercept]": 22.2374820,
        "sd[small]": 16.9797560,
        "sigma": 41.8731254,
    }
    for name, value in lme4.items():
        assert abs(table.loc[name, "estimate"] - value) < 0.15 * table.loc[name, "posterior_sd"], name
    assert len(fit.design["row"]) == 5871
    assert fit.design.sizes["schoolidk"] == 79


def test_star_agrees_with_stan_for_every_school(star):
    """The same priors as data/star/stan_math_small_slopes.txt; 79 intercepts and 79 slopes included."""
    priors = {"gamma0": bh.Normal(0, 3), "gamma1": bh.Normal(0, 3), "sd": bh.HalfNormal(3), "sigma": bh.HalfNormal(6)}
    fit = bh.fit(bh.RandomSlope(outcome="y", **STAR, priors=priors), star, seed=2, draws=2000)
    ref, p = stan("star/stan_math_small_slopes.csv"), fit.posterior
    schools = [str(s) for s in sorted(map(int, p["schoolidk"].to_numpy()))]
    assert_same_posterior(
        [
            (p["gamma0"], ref.loc[["b_Intercept"]]),
            (p["gamma1"].sel(stark=["small", "regular+aide"]), ref.loc[["b_small", "b_aide"]]),
            (p["sd"], ref.loc[["sd_schoolidk__Intercept", "sd_schoolidk__small"]]),
            (p["corr"].sel(varying="intercept", varying_="small"), ref.loc[["cor_schoolidk__Intercept__small"]]),
            (p["sigma"], ref.loc[["sigma"]]),
            *(
                (p["u"].sel(schoolidk=schools, varying=v), ref.loc[[f"r_schoolidk[{s},{name}]" for s in schools]])
                for v, name in (("intercept", "Intercept"), ("small", "small"))
            ),
        ]
    )


def test_high_school_and_beyond_agrees_with_lme4():
    """Cross-level interactions: data/hsb82/reference.txt, REML. The slope SD is near zero, so it is compared loosely."""
    data = pd.read_csv(DATA / "hsb82/hsb82.csv", dtype={"school": str})
    data["cath"] = (data["sector"] == "Catholic").astype(float)
    spec = bh.RandomSlope(outcome="mAch", cluster="school", covariates="meanses*cses + cath*cses", slopes="cses")
    fit = bh.fit(spec, data, seed=1, draws=2000)
    table = bh.summary(fit).set_index("parameter")
    lme4 = {
        "gamma0": 12.1279306,
        "gamma2[meanses]": 5.3328723,
        "gamma2[cses]": 2.9450452,
        "gamma2[cath]": 1.2265797,
        "gamma2[meanses:cses]": 1.0392509,
        "gamma2[cath:cses]": -1.6426820,
        "sd[intercept]": 1.5425900,
        "sigma": 6.0598044,
    }
    for name, value in lme4.items():
        assert abs(table.loc[name, "estimate"] - value) < 0.2 * table.loc[name, "posterior_sd"], name
    assert table.loc["sd[cses]", "lower"] < 0.3178740 < table.loc["sd[cses]", "upper"]


@pytest.mark.parametrize(
    ("name", "covariates", "columns"),
    [
        ("stan_bcg_re", "", ["b_Intercept"]),
        ("stan_bcg_ablat", "ablat_c", ["b_Intercept", "b_ablat_c"]),
        ("stan_raudenbush1985_re", "", ["b_Intercept"]),
    ],
)
def test_meta_analysis_agrees_with_stan(name, covariates, columns):
    """mu, slope ~ Normal(0, 1), tau ~ HalfNormal(0.5), known standard errors: data/metafor/stan_*.txt."""
    file, study = ("dat.raudenbush1985.csv", "study") if "raudenbush" in name else ("dat.bcg_es.csv", "trial")
    data = pd.read_csv(DATA / "metafor" / file)
    data["sei"] = np.sqrt(data["vi"])
    if "ablat" in data:
        data["ablat_c"] = (data["ablat"] - data["ablat"].mean()) / 10
    priors = {"gamma0": bh.Normal(0, 1), "sd": bh.HalfNormal(0.5)} | ({"gamma2": bh.Normal(0, 1)} if covariates else {})
    spec = bh.RandomSlope(outcome="yi", cluster=study, standard_error="sei", covariates=covariates, priors=priors)
    fit = bh.fit(spec, data, seed=3, draws=4000, target_accept=0.9)
    ref, p = stan(f"metafor/{name}.csv"), fit.posterior
    effects = [f"r_study[{k},Intercept]" for k in range(1, len(data) + 1)]
    pairs = [
        (p["gamma0"], ref.loc[columns[:1]]),
        (p["sd"], ref.loc[["sd_study__Intercept"]]),
        (p["u"].sel(varying="intercept"), ref.loc[effects]),
    ]
    if covariates:
        pairs.append((p["gamma2"], ref.loc[columns[1:]]))
    assert_same_posterior(pairs)


def test_eight_schools_agrees_with_posteriordb():
    """mu ~ Normal(0, 5), tau ~ HalfCauchy(5); 10 x 1000 reference draws."""
    import json

    data = json.loads((DATA / "posteriordb/eight_schools.data.json").read_text())
    ref = json.loads((DATA / "posteriordb/eight_schools-eight_schools_noncentered.summary.json").read_text())["summary"]
    frame = pd.DataFrame({"y": data["y"], "se": data["sigma"], "school": [f"school {k}" for k in range(1, 9)]})
    priors = {"gamma0": bh.Normal(0, 5), "sd": bh.HalfStudentT(1, 5)}
    spec = bh.RandomSlope(outcome="y", cluster="school", standard_error="se", priors=priors)
    fit = bh.fit(spec, frame.astype({"y": float, "se": float}), seed=1, draws=4000, target_accept=0.9)
    theta = bh.effect_draws(fit, "cluster mean")
    table = pd.DataFrame(ref).T.astype(float).rename(columns={"mcse_iid": "mcse_mean"})
    pairs = [
        (theta, table.loc[[f"theta[{k}]" for k in range(1, 9)]]),
        (fit.posterior["gamma0"], table.loc[["mu"]]),
        (fit.posterior["sd"], table.loc[["tau"]]),
    ]
    assert_same_posterior(pairs)


def activity() -> pd.DataFrame:
    """The school activity trial, made from its published moments by the gallery."""
    return gallery.read("school_activity").data()


def published(key: str) -> dict:
    return json.loads((DATA / "school_activity" / "published.json").read_text())[key]


def test_mplus_two_level_mediation():
    """Table 25.3 of the cluster-trials chapter: Mplus BAYES, flat priors; HPD intervals. Moments are good to one per cent."""
    spec = gallery.read("school_activity").spec
    fit = bh.fit(spec, activity(), draws=4000, seed=1, progress=False)
    table = bh.summary(fit, interval="hdi").set_index(["level", "parameter"])
    rows_of = {
        "MVPA ON ADVANT (within)": ("within", "mvpa ~ advant"),
        "MVPA ON PEERS (within)": ("within", "mvpa ~ peers"),
        "MVPA ON ADVANT (between)": ("between", "mvpa ~ advant"),
        "MVPA ON PEERS (between)": ("between", "mvpa ~ peers"),
        "PEERS ON TREAT": ("between", "peers ~ treat"),
        "ADVANT ON TREAT": ("between", "advant ~ treat"),
    }
    derived = bh.effects(fit, interval="hdi").set_index("estimand")
    mine = {k: table.loc[v] for k, v in rows_of.items()}
    mine |= {f"R2 between {v.upper()}": derived.loc[f"R-square of {v}, between"] for v in ("mvpa", "peers", "advant")}
    mine |= {"TOT": derived.loc["total effect of treat on mvpa, between"]}
    mine |= {"CON1 (advant, between - within)": derived.loc["contextual effect of advant on mvpa"]}
    mine |= {"CON2 (peers)": derived.loc["contextual effect of peers on mvpa"]}
    for name, row in mine.items():
        estimate, sd, lower, upper = published("bayes_table_25_3")[name]
        assert abs(row["estimate"] - estimate) < 0.1 * sd + 0.01 * abs(estimate), name
        assert abs(row["posterior_sd"] - sd) < 0.1 * sd, name
        assert abs(row["lower"] - lower) < 0.2 * sd, name
        assert abs(row["upper"] - upper) < 0.2 * sd, name


def test_mplus_random_slope():
    """Table 25.5: the mean slope within 0.3 SD; the moments do not fix the slopes' variance, whose mass is near zero."""
    spec = bh.SEM(
        cluster="school",
        within="vs1 | mvpa ~ advant; mvpa ~ peers; advant ~~ peers",
        between="mvpa ~ advant + peers; advant ~ treat; peers ~ treat; advant ~~ peers",
        priors="mplus",
    )
    fit = bh.fit(spec, activity(), seed=1, progress=False)
    table = bh.summary(fit).set_index("parameter")
    mean, sd, *_ = published("bayes_table_25_5_random_slope_of_advant")["mean"]
    assert abs(table.loc["vs1 ~1", "estimate"] - mean) < 0.3 * sd
    assert table.loc["vs1 ~1", "posterior_sd"] == pytest.approx(sd, rel=0.1)
    assert table.loc["vs1 ~~ vs1", "lower"] < 0.1


@pytest.mark.slow
def test_bmlm_random_paths():
    """Bolger & Laurenceau's diary data, 1-1-1 mediation with three random paths: bmlm and Mplus (bmlm's table 6)."""
    data = pd.read_csv(DATA / "bmlm_blch9" / "BLch9.csv")
    spec = bh.SEM(cluster="id", within="a | m ~ x; b | y ~ m; cp | y ~ x", between="a ~~ cov*b; a ~~ cp; b ~~ cp")
    fit = bh.fit(spec, data, seed=1, progress=False)
    table = bh.summary(fit).set_index("parameter")
    for name, value, tolerance in (
        ("a ~1", 0.189, 0.005),
        ("b ~1", 0.151, 0.005),
        ("cp ~1", 0.104, 0.005),
        ("a ~~ b", 0.028, 0.005),
    ):
        assert abs(table.loc[name, "mean"] - value) < tolerance, name
    sd = fit.posterior["sd"].mean(("chain", "draw"))
    for name, value in (("a", 0.261), ("b", 0.224), ("cp", 0.083)):
        assert abs(float(sd.sel(sds=f"between: {name}")) - value) < 0.015, name
    effects = bh.effects(fit).set_index("estimand")["mean"]
    assert abs(effects["indirect effect of x on y, within"] - 0.057) < 0.005
    assert abs(effects["total effect of x on y, within"] - 0.161) < 0.005


@pytest.mark.slow
def test_bauer_preacher_gil_random_paths():
    """Raw predictors: random intercepts are slopes of the constant. nlme's and brms's indirect effect (multilevelmediation)."""
    data = pd.read_csv(DATA / "bpg06" / "BPG06dat.csv")
    spec = bh.SEM(
        cluster="id",
        within="dm | m ~ 1; a | m ~ x; dy | y ~ 1; b | y ~ m; y ~ x",
        between="dm ~~ a; dm ~~ dy; dm ~~ b; a ~~ dy; a ~~ b; dy ~~ b",
    )
    fit = bh.fit(spec, data, seed=1, progress=False)
    effects = bh.effects(fit).set_index("estimand")
    indirect = effects.loc["indirect effect of x on y, within"]
    assert abs(indirect["mean"] - 0.452) < 0.01
    assert abs(indirect["posterior_sd"] - 0.0527) < 0.005
