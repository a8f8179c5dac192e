"""Observed cluster means and deviations from them, `mean(x)` and `centred(x)` in model text, and 0/1 columns of categories."""

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh
from bayeshte import gallery
from bayeshte.families.sem_prediction import expected


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    """40 groups of 3 to 8, half of them treated; every tenth attitude missing."""
    rng = np.random.default_rng(4)
    n = rng.integers(3, 9, 40)
    j = np.repeat(np.arange(40), n)
    treat = (np.arange(40) % 2).astype(float)
    att = (0.5 * treat + 0.5 * rng.normal(size=40))[j] + rng.normal(size=len(j))
    mean = pd.Series(att).groupby(j).transform("mean").to_numpy()
    y = 0.6 * mean + 0.3 * (att - mean) + 0.3 * rng.normal(size=40)[j] + rng.normal(size=len(j))
    frame = pd.DataFrame({"y": y, "att": att, "treat": treat[j], "group": j})
    frame.loc[::10, "att"] = np.nan
    return frame


def by_hand(frame: pd.DataFrame) -> pd.DataFrame:
    mean = frame.groupby("group")["att"].transform("mean")
    return frame.assign(matt=mean, catt=frame["att"] - mean)


def density(spec, frame):
    design = spec.design(frame)
    return spec.marginal(design, spec.frozen_priors(design))


@pytest.mark.parametrize(
    ("within", "between", "plain"),
    [
        (
            "y ~~ y",
            "y ~ p3*mean(att) + treat; mean(att) ~ p1*treat",
            ("y ~~ y", "y ~ p3*matt + treat; matt ~ p1*treat"),
        ),
        ("y ~ w*centred(att)", "y ~ b*mean( `att` )", ("y ~ w*catt", "y ~ b*matt")),
        ("y ~ w*att", "y ~ c*mean(att) + treat:mean(att)", ("y ~ w*att", "y ~ c*matt + treat:matt")),
        ("s | y ~ centred(att)", "y ~ mean(att); s ~ treat", ("s | y ~ catt", "y ~ matt; s ~ treat")),
    ],
)
def test_parts_are_columns_made_by_hand(trial, within, between, plain):
    one = density(bh.SEM(cluster="group", within=within, between=between), trial)
    two = density(bh.SEM(cluster="group", within=plain[0], between=plain[1]), by_hand(trial))
    rng = np.random.default_rng(0)
    for z in rng.normal(size=(5, one.n_dim)):
        assert one(z)[0] == pytest.approx(two(z)[0], rel=1e-10)


def test_the_mean_is_that_of_all_known_values(trial):
    design = bh.SEM(cluster="group", within="y ~~ y", between="y ~ mean(att) + treat; mean(att) ~ treat").design(trial)
    means = trial.groupby("group")["att"].mean().to_numpy()
    np.testing.assert_allclose(design["V"].sel(own_variable="mean(att)"), means)


def test_the_contextual_effect_of_observed_parts(trial):
    spec = bh.SEM(cluster="group", within="y ~ w*centred(att)", between="y ~ b*mean(att)", derived={"context": "b - w"})
    fit = bh.fit(spec, trial, draws=500, tune=300, seed=1, progress=False)
    (name,) = [e.name for e in spec.estimands(fit.design) if e.header == "contextual effects"]
    assert name == "contextual effect of att on y"
    np.testing.assert_allclose(bh.effect_draws(fit, name), bh.effect_draws(fit, "context"))
    with pytest.raises(bh.DataError, match=r"centred\(att\)"):
        bh.predict(fit, trial, clusters="new")
    new = pd.DataFrame({"mean(att)": [0.0, 1.0], "centred(att)": [0.0, 0.0]})
    values = expected(spec.structure, spec._matrices(fit.design), fit.posterior, fit.design, "new", new)
    b = fit.posterior["path"].sel(paths="between: y ~ mean(att)")
    np.testing.assert_allclose((values[..., 1, 0] - values[..., 0, 0]), b)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"model": "y ~ mean(att)"}, r"mean\(att\) needs clusters"),
        ({"within": "y ~ mean(att)", "between": "y ~~ y"}, r"belongs to the text of between="),
        ({"within": "y ~~ y", "between": "y ~ centred(att)"}, r"between clusters write mean\(att\)"),
        ({"within": "y ~ centred(att); centred(att) ~ z", "between": "y ~~ y"}, r"centred\(att\) may only predict"),
        ({"within": "y ~ centred(att); centred(att) ~~ centred(att)", "between": "y ~~ y"}, r"may only predict"),
        ({"within": "y ~ `mean(att)`", "between": "y ~~ y"}, r"rename the column"),
        ({"within": "y ~ log(att)", "between": "y ~~ y"}, r"make a\s+column of anything else"),
    ],
)
def test_what_observed_parts_cannot_be(texts, message):
    given = texts if "model" in texts else {"cluster": "group", **texts}
    with pytest.raises(bh.SpecError, match=message):
        bh.SEM(**given)


def test_observed_means_are_not_simulated(trial):
    spec = bh.SEM(cluster="group", within="y ~~ y", between="y ~ mean(att); mean(att) ~ treat")
    with pytest.raises(bh.SpecError, match=r"mean\(att\) is computed"):
        bh.simulate(spec, trial)


def test_a_column_that_is_named_like_a_part(trial):
    spec = bh.SEM(cluster="group", within="y ~~ y", between="y ~ mean(att)")
    with pytest.raises(bh.DataError, match="rename the column"):
        spec.design(trial.assign(**{"mean(att)": 0.0}))


def test_dummies():
    data = pd.DataFrame({"site": ["b", "a", None, "c"], "code": [2.0, 1.0, 2.0, 3.0]})
    out = bh.dummies(data, "site", reference="b")
    assert [*out.columns] == ["site", "code", "site_a", "site_c"]
    assert [*data.columns] == ["site", "code"], "not changed"
    np.testing.assert_array_equal(out["site_a"], [0, 1, np.nan, 0])
    np.testing.assert_array_equal(out["site_c"], [0, 0, np.nan, 1])
    assert [*bh.dummies(data, "code").columns[2:]] == ["code_2", "code_3"]
    ordered = data.assign(site=pd.Categorical(data["site"], ["c", "a", "b"]))
    assert [*bh.dummies(ordered, "site").columns[2:]] == ["site_a", "site_b"]
    with pytest.raises(bh.SpecError, match="not a category of 'site'"):
        bh.dummies(data, "site", reference="d")
    with pytest.raises(bh.DataError, match="already"):
        bh.dummies(data.assign(site_b=1), "site")
    with pytest.raises(bh.DataError, match="has 1 categories"):
        bh.dummies(data.assign(site="a"), "site")
    with pytest.raises(bh.DataError, match="no values"):
        bh.dummies(data.assign(site=None), "site")
    with pytest.raises(bh.DataError, match="print alike"):
        bh.dummies(data.assign(site=["a", "a ", "b", "b"]), "site")


def test_a_nominal_covariate_on_both_levels(trial):
    """Its latent cluster mean is the share of persons: the same density as 0/1 columns made by hand."""
    rng = np.random.default_rng(1)
    data = trial.assign(sex=rng.choice(["f", "m"], len(trial)))
    with pytest.raises(bh.DataError, match=r"bh\.dummies"):
        density(bh.SEM(cluster="group", within="y ~ sex", between="y ~ sex"), data)
    spec = bh.SEM(cluster="group", within="y ~ sex_m", between="y ~ sex_m + treat; sex_m ~ treat")
    one, two = density(spec, bh.dummies(data, "sex")), density(spec, data.assign(sex_m=(data["sex"] == "m") * 1.0))
    assert one(np.zeros(one.n_dim))[0] == two(np.zeros(two.n_dim))[0]


CENTRED = {"advant": (4.873, 0.341), "peers": (4.630, 0.317)}
MEANS = {
    "mvpa ~ mean(advant)": (4.615, 0.921),
    "mvpa ~ mean(peers)": (5.298, 0.993),
    "mean(advant) ~ treat": (0.733, 0.306),
    "mean(peers) ~ treat": (0.776, 0.319),
}
CONTEXT = {"mvpa ~ mean(advant)": (-0.257, 0.940), "mvpa ~ mean(peers)": (0.667, 1.040)}


@pytest.mark.parametrize(("form", "between"), [("centred({})", MEANS), ("{}", CONTEXT)], ids=["version 1", "version 2"])
def test_clusters_as_a_nuisance(form, between):
    """Table 25.10 of the chapter whose moments `school_activity` has, Mplus MLR: estimates to 0.1 standard error."""
    spec = bh.SEM(
        cluster="school",
        within=f"mvpa ~ {form.format('advant')} + {form.format('peers')}",
        between="mvpa ~ mean(advant) + mean(peers); mean(advant) + mean(peers) ~ treat; mean(advant) ~~ mean(peers)",
        priors="mplus",
    )
    fit = bh.fit(spec, gallery.read("school_activity").data(), draws=1000, seed=1, progress=False)
    found = bh.summary(fit).set_index("parameter")
    for name, (value, error) in {f"mvpa ~ {form.format(v)}": x for v, x in CENTRED.items()}.items() | between.items():
        assert abs(found.loc[name, "estimate"] - value) < 0.1 * error + 3 * found.loc[name, "mcse"], name
