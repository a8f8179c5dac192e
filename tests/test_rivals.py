"""One class against latent classes: what is compared, what is said, that it happens once and is kept."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from mixture_cases import ROLES, SPECS, trial

import bayeshte as bh
from bayeshte.checks import rivals
from bayeshte.checks.rivals import Rivals, comparison

pytestmark = pytest.mark.slow

PERSONS = bh.EffectMixture(outcome="y", treatment="arm", class_of="individual", intercept_varies=False)


@pytest.fixture(scope="module")
def skewed():
    """One population with gamma residuals, in which two classes of persons are found."""
    rng = np.random.default_rng(1)
    T = rng.integers(0, 2, 300)
    data = pd.DataFrame({"y": 0.5 * T + rng.gamma(2, 1, 300), "arm": T}, index=[f"row {k}" for k in range(300)])
    return bh.fit(PERSONS, data, draws=500, tune=300, seed=1, progress=False)


def test_a_skewed_population_is_unmasked(skewed, tmp_path):
    """The skew normal model wins, the check and the printed fit say so; asked again, or loaded, nothing is fitted again."""
    found = bh.class_rivals(skewed)
    assert set(found.table.index) == {"2 classes", *(rivals.NAMES[f] for f in rivals.CONTINUOUS)}
    assert found.rival == "one class, skew normal"
    assert not found.ok
    assert "Do not report them as subgroups" in repr(found)
    assert found.table["elpd"].is_monotonic_decreasing
    assert "left out" not in found.what
    assert "one row at a time" in found.what
    check = bh.class_check(skewed)
    assert not check.ok
    assert "A model of one class (skew normal) predicts better than 2 classes" in repr(check)
    assert found.sentence in repr(skewed)
    assert "of one class (skew normal)" in skewed._repr_html_()
    bh.save(skewed, tmp_path / "fit")
    again = bh.class_rivals(bh.load(tmp_path / "fit"))
    pd.testing.assert_frame_equal(again.table, found.table, check_dtype=False)
    assert (again.seconds, again.sentence, again.classes) == (found.seconds, found.sentence, found.classes)
    page = bh.report(skewed, tmp_path / "page.html").read_text()
    assert "Are these classes?" in page
    assert "3 rivals took" in page
    head = page[: page.index("<main>")]
    assert "A model of one class (skew normal) predicts better" in head


def test_real_classes_of_clusters_are_kept():
    """Two clear classes of 30 clusters against random intercepts and slopes, by cluster."""
    data, _ = trial(11, clusters=30, rows=(8, 14))
    fit = bh.fit(bh.EffectMixture(**ROLES), data, draws=500, tune=300, seed=1, progress=False)
    assert comparison(fit) is None
    found = bh.class_rivals(fit, families=["gaussian"])
    assert found.ok
    assert "predict better than every model of one class" in found.sentence
    assert "one school at a time" in found.what
    assert len(found.table) == 2
    assert found.difference[0] == pytest.approx(-found.table.loc["one class, normal", "difference"])


@pytest.mark.filterwarnings("ignore::bayeshte.ConvergenceWarning")
def test_normal_effects_of_centres_are_not_called_classes():
    """Binomial counts of centres whose log odds are normal: one class with normal effects predicts better than two without."""
    rng = np.random.default_rng(4)
    centre, T = np.repeat(np.arange(40), 2), np.tile([0, 1], 40)
    eta = -1 + 0.8 * rng.normal(size=40)[centre] + 0.3 * T
    events = rng.binomial(60, 1 / (1 + np.exp(-eta)))
    data = pd.DataFrame({"events": events, "n": 60, "arm": np.where(T == 1, "drug", "control"), "centre": centre})
    roles = dict(outcome="events", trials="n", treatment="arm", reference="control", cluster="centre")
    spec = bh.EffectMixture(**roles, family="logit", intercept_varies=False, priors={"gamma1": bh.Normal(0, 2)})
    found = bh.class_rivals(bh.fit(spec, data, draws=400, tune=300, seed=1, progress=False))
    assert list(found.table.index) == ["one class, binomial", "2 classes"]
    assert "Do not report them as subgroups" in found.sentence
    rival = rivals._counted(bh.fit(spec, data, draws=20, tune=50, progress=False), "binomial")
    assert (rival.classes, rival.varying, rival.priors) == (1, "all", {"gamma1": bh.Normal(0, 2)})


def test_overdispersed_counts_are_not_called_classes():
    """Negative binomial counts of one population, in which two classes of Poisson counts are found."""
    rng = np.random.default_rng(2)
    T = rng.integers(0, 2, 400)
    data = pd.DataFrame({"errors": rng.poisson(rng.gamma(1.5, np.exp(1 + 0.3 * T) / 1.5)), "arm": T})
    spec = replace(PERSONS, outcome="errors", family="poisson")
    found = bh.class_rivals(bh.fit(spec, data, draws=400, tune=300, seed=1, progress=False))
    assert set(found.table.index) == {"2 classes", "one class, Poisson", "one class, negative binomial"}
    assert found.rival == "one class, negative binomial"
    assert not found.ok


def test_overdispersed_trials_are_not_called_classes():
    """Binomial counts of persons whose log odds are normal: one class with a log odds of every row predicts better."""
    rng = np.random.default_rng(2)
    T = rng.integers(0, 2, 300)
    right = rng.binomial(12, 1 / (1 + np.exp(0.5 - 0.4 * T - 0.9 * rng.standard_normal(300))))
    data = pd.DataFrame({"right": right, "n": 12, "arm": T}, index=[f"row {k}" for k in range(300)])
    spec = replace(PERSONS, outcome="right", trials="n", family="logit")
    found = bh.class_rivals(bh.fit(spec, data, draws=400, tune=300, seed=1, progress=False))
    assert list(found.table.index) == ["one class, overdispersed binomial", "2 classes", "one class, binomial"]
    assert "nothing in these data asks for classes" in found.sentence
    assert "one row at a time, random effects integrated, by quadrature" in found.what


@pytest.mark.parametrize(
    ("lead", "se", "said"),
    [
        (9.0, 2.0, "predict better than every model of one class: by 9.0 (SE 2.0) than the nearest (normal)"),
        (3.0, 1.0, "hardly better than a model of one class (normal), by 3.0"),
        (9.0, 6.0, "too little to prefer them to one population"),
        (-9.0, 2.0, "the shape of one population. Do not report them"),
        (-1.0, 2.0, "nothing in these data asks for classes"),
    ],
)
def test_sentences(lead, se, said):
    elpd = pd.Series({"2 classes": lead, "one class, normal": 0.0, "one class, Student t": -50.0}).sort_values()[::-1]
    table = pd.DataFrame({"elpd": elpd, "difference": elpd - elpd.iloc[0], "se_difference": [0.0, se, 9.0]})
    assert said in Rivals(table, "2 classes", "", 1.0).sentence
    assert Rivals(table, "2 classes", "", 1.0).difference == (lead, se)


def test_the_same_rows_and_priors(skewed):
    """A rival has the rows of the fit, and the user's priors of the parameters that it has too."""
    rival = rivals._rival(replace(skewed, record=skewed.record | {"draws": 20, "tune": 50}), "gaussian")
    assert list(rival.design["row"].to_numpy()) == list(skewed.design["row"].to_numpy())
    np.testing.assert_array_equal(rival.design["y"], skewed.design["y"])
    priors = {"gamma1": bh.Normal(0, 1), "sigma": bh.Gamma(2, 2), "pi": bh.Dirichlet(3)}
    spec = replace(PERSONS, priors=priors)
    assert rivals._priors(spec, "student", random=False) == {k: priors[k] for k in ("gamma1", "sigma")}
    assert rivals._priors(replace(SPECS["odd priors"]), "gaussian", random=False).keys() == {
        "gamma0",
        "gamma1",
        "sigma",
    }


def test_what_is_refused(skewed):
    for spec, words in (
        (replace(PERSONS, classes=1), "no latent classes"),
        (
            replace(SPECS["binomial"], class_of="individual", intercept_varies=True),
            "no one-class rival of individuals' bin",
        ),
    ):
        with pytest.raises(bh.SpecError, match=words):
            bh.class_rivals(replace(skewed, spec=spec))
    with pytest.raises(bh.SpecError, match="can be"):
        bh.class_rivals(skewed, families=["logit"])
