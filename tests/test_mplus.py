"""Mplus inputs from end to end: their data, the same specification as their Python twins, translation, the command line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import ONE_PATH as TEXT
from scipy import stats

import bayeshte as bh
from bayeshte import gallery, mplus
from bayeshte.errors import DataError, SpecError
from bayeshte.model_text import parameter_table
from bayeshte.report.model import base_of_priors, set_by

MODELS = Path(__file__).parents[1] / "models"
TWINS = (
    "school_activity",
    "school_activity_slopes",
    "mask_groups",
    "latent_mediator",
    "latent_moderation",
    "binary_mediation",
)


def rows(table):
    return {r.key: (r.label, r.fixed, r.start, r.slope) for r in table.rows}


@pytest.mark.parametrize("name", TWINS)
def test_an_input_of_the_chapter_is_its_python_twin(name):
    analysis, twin = mplus.read(MODELS / f"{name}.inp"), gallery.read(name)
    renamed = {"mean(att)": "matt", "mean(norm)": "mnorm"}

    def plain(texts):
        for old, new in renamed.items():
            texts = texts.replace(old, new)
        return texts

    expected = parameter_table(
        within=plain(twin.spec.within),
        between=plain(twin.spec.between),
        derived=twin.spec.derived,
        categorical=dict.fromkeys(twin.spec.categorical, 1.0),
    )
    assert analysis.spec.categorical == twin.spec.categorical or not twin.spec.categorical
    assert rows(analysis.spec.table) == rows(expected)
    assert [d for d, _ in analysis.spec.table.derived] == [d for d, _ in expected.derived]
    assert analysis.spec.priors == twin.spec.priors == "mplus"
    data, made = analysis.data(), twin.data()
    for column in made.columns.intersection(data.columns):
        np.testing.assert_allclose(data[column].astype(float), made[column].astype(float), atol=1e-5, rtol=0)


def test_the_density_of_an_input_is_that_of_its_twin():
    analysis, twin = mplus.read(MODELS / "mask_groups.inp"), gallery.read("mask_groups")
    same = pd.DataFrame(np.loadtxt(MODELS / "mask_groups.dat"), columns=["group", "treat", "intent", "att", "norm"])
    densities = []
    for spec, data in ((analysis.spec, analysis.data()), (twin.spec, same)):
        design = spec.design(data)
        densities.append(spec.marginal(design, spec.frozen_priors(design)))
    for z in np.random.default_rng(0).normal(size=(5, densities[0].n_dim)):
        one, two = (d(z)[0] for d in densities)
        assert one == pytest.approx(two, rel=1e-9)


def test_the_program_builds_the_same_model_from_the_same_data(trial, monkeypatch):
    analysis = mplus.read(trial)
    monkeypatch.chdir(trial.parent)
    lines = mplus.program(analysis).split("\nfit = ")[0]
    made = {}
    exec(lines, made)
    assert rows(made["spec"].table) == rows(analysis.spec.table)
    assert (made["spec"].derived, made["spec"].priors) == (analysis.spec.derived, analysis.spec.priors)
    frame = analysis.data()
    pd.testing.assert_frame_equal(made["data"][frame.columns], frame)
    assert len(frame) == 40
    assert frame["y"].isna().sum() == 5


def test_a_data_path_of_another_machine_is_looked_for_beside_the_input(trial):
    trial.write_text(TEXT.replace("trial.dat", r"C:\Users\me\my data\TRIAL.DAT"))
    analysis = mplus.read(trial)
    assert len(analysis.data()) == 40
    assert any("TRIAL.DAT" in n or "trial.dat" in n for n in analysis.data_notes)
    trial.write_text(TEXT.replace("trial.dat", "other.dat"))
    with pytest.raises(DataError, match=r"other\.dat"):
        mplus.read(trial).data()
    assert len(mplus.read(trial, data=trial.parent / "trial.dat").data()) == 40


def test_classic_mistakes_are_said(tmp_path):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(20), 6)
    x, y = rng.normal(size=(2, 120))
    y[:4] = -99
    np.savetxt(tmp_path / "m.dat", np.column_stack([g, x, x + rng.normal(size=120), y]), fmt="%.8f")
    text = (
        "DATA: FILE = m.dat; VARIABLE: NAMES = g x m y; CLUSTER = g; DEFINE: CENTER x (GROUPMEAN);\n"
        "ANALYSIS: TYPE = TWOLEVEL RANDOM; ESTIMATOR = BAYES;\n"
        "MODEL: %WITHIN% sa | m ON x; sb | y ON m; %BETWEEN% [sa] (a); [sb] (b); sa WITH sb (c);\n"
        "MODEL CONSTRAINT: NEW(ind all); ind = a*b; all = a*b + c;"
    )
    (tmp_path / "m.inp").write_text(text)
    analysis = mplus.read(tmp_path / "m.inp")
    analysis.data()
    found = [*analysis.notes, *analysis.data_notes]
    assert [n.split(" = ")[0] for n in found if "random slopes sa and sb" in n] == ["ind"]
    assert any("declare WITHIN = x" in n for n in found)
    assert any("y is -99 in 4 of 120 rows" in n for n in found)
    (tmp_path / "f.inp").write_text(
        "DATA: FILE = m.dat; VARIABLE: NAMES = g x m y; USEV = x m y; ANALYSIS: ESTIMATOR = BAYES; MODEL: f BY x m y; f@1;"
    )
    assert any("fixed: one of them sets its scale" in n for n in mplus.read(tmp_path / "f.inp").notes)


def test_default_priors_keep_those_of_the_input(trial):
    spec = mplus.read(trial, default_priors=True).spec
    design = spec.design(mplus.read(trial).data())
    priors = spec.frozen_priors(design)
    assert priors["path[y ~ x]"] == bh.Normal(0, 2)
    assert priors["sd[y]"] == bh.VarianceInverseGamma(2, 3)
    assert priors["path[y ~ m2]"].name == "Normal"
    flat = mplus.read(trial).spec.frozen_priors(design)
    assert flat["path[y ~ m2]"] == bh.Flat()


def test_the_report_says_whose_the_priors_are(trial):
    analysis = mplus.read(trial)
    fit = bh.fit(analysis.spec, analysis.data(), draws=1000, seed=1, progress=False)
    found = dict(zip(fit.priors, set_by(fit), strict=True))
    assert found["path[y ~ x]"] == found["sd[y]"] == "authors"
    assert found["path[y ~ m2]"] == found["intercept[y]"] == "Mplus"
    assert base_of_priors(fit) == "mplus"


def test_other_estimators_run_on_request(trial):
    trial.write_text(TEXT.replace("BAYES", "MLR"))
    with pytest.raises(SpecError, match="--as-bayes"):
        mplus.read(trial)
    assert any("BAYES with Mplus's default priors" in n for n in mplus.read(trial, as_bayes=True).notes)


def test_basic_statistics_by_hand(tmp_path):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(6), 5)
    y = rng.normal(size=6)[g] + rng.normal(size=30)
    np.savetxt(tmp_path / "b.dat", np.column_stack([g, y]), fmt="%.8f")
    (tmp_path / "b.inp").write_text(
        "DATA: FILE = b.dat; VARIABLE: NAMES = g y; USEVAR = y; CLUSTER = g; ANALYSIS: TYPE = TWOLEVEL BASIC;"
    )
    analysis = mplus.read(tmp_path / "b.inp")
    assert analysis.spec is None
    table, _ = mplus.statistics(analysis.data(), analysis.settings)
    (row,) = table.to_dict("records")
    F = stats.f_oneway(*(y[g == k] for k in range(6))).statistic
    assert row["ICC"] == pytest.approx((F - 1) / (F - 1 + 5), rel=1e-6)
    assert row["variance"] == pytest.approx(y.var(), rel=1e-6)
    assert row["skewness"] == pytest.approx(stats.skew(y), rel=1e-5)
    assert row["kurtosis"] == pytest.approx(stats.kurtosis(y), rel=1e-5)


def test_the_flat_posterior_of_six_clusters_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(6), 8)
    x = rng.normal(size=(6, 3))[g] + rng.normal(size=(48, 3))
    np.savetxt(tmp_path / "six.dat", np.column_stack([g, x]), fmt="%.6f")
    (tmp_path / "six.inp").write_text(
        "DATA: FILE = six.dat; VARIABLE: NAMES = g y1-y3; CLUSTER = g; ANALYSIS: TYPE = TWOLEVEL; ESTIMATOR = BAYES;\n"
        "MODEL: %WITHIN% y1 WITH y2 y3; y2 WITH y3; %BETWEEN% y1 WITH y2 y3; y2 WITH y3;"
    )
    analysis = mplus.read(tmp_path / "six.inp")
    design = analysis.spec.design(analysis.data())
    with pytest.raises(DataError, match=r"improper.*there are 6"):
        analysis.spec.frozen_priors(design)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (3.0, 2.0)])
def test_an_inverse_gamma_prior_of_a_variance_is_that_of_its_square_root(a, b):
    prior = bh.VarianceInverseGamma(a, b)
    sd = np.array([0.2, 0.7, 1.5, 4.0])
    expected = stats.invgamma.logpdf(sd**2, a, scale=b) + np.log(2 * sd)
    np.testing.assert_allclose(prior.log_density(sd), expected, rtol=1e-12)
    assert prior.proper
    assert not prior.drawable
    assert not bh.VarianceInverseGamma(-0.5, b).proper


def test_the_posterior_under_conjugate_priors_is_the_known_one(trial):
    """A mean with a flat prior and a variance with IG(a, b): the variance is IG(a + (n - 1)/2, b + S/2)."""
    trial.write_text(TEXT.split("DEFINE")[0].replace("USEVARIABLES = y x m2", "USEVARIABLES = x")
        + "ANALYSIS: ESTIMATOR = BAYES; MODEL: x (e); MODEL PRIORS: e ~ IG(2, 3);")  # fmt: skip
    analysis = mplus.read(trial)
    fit = bh.fit(analysis.spec, analysis.data(), draws=2000, seed=1, progress=False)
    x = analysis.data()["x"]
    known = stats.invgamma(2 + (len(x) - 1) / 2, scale=3 + ((x - x.mean()) ** 2).sum() / 2)
    draws = fit.posterior["sd"].to_numpy().ravel() ** 2
    for q in (0.05, 0.5, 0.95):
        assert (draws < known.ppf(q)).mean() == pytest.approx(q, abs=0.02)


def test_translation_does_not_depend_on_case_or_on_the_folder(trial):
    """The title and the name of the file are the same in any case; a file in a folder below is found from the input's."""
    (trial.parent / "data").mkdir()
    (trial.parent / "trial.dat").rename(trial.parent / "data" / "trial.dat")
    trial.write_text(TEXT.replace("trial.dat", "data/trial.dat"))
    given = mplus.program(mplus.read(trial))
    assert 'pd.read_csv("data/trial.dat"' in given
    trial.write_text(TEXT.replace("trial.dat", "data/trial.dat").swapcase().replace("DATA/TRIAL.DAT", "data/trial.dat"))
    assert mplus.program(mplus.read(trial)) == given
    (trial.parent / "data" / "trial.dat").unlink()
    there = mplus.program(mplus.read(trial))
    trial.write_text(TEXT.replace("trial.dat", "Data/TRIAL.dat"))
    assert mplus.program(mplus.read(trial)) == there


def test_statements_about_variables_outside_the_analysis_are_said(trial):
    trial.write_text(TEXT.replace("DEFINE:", "DEFINE: square = x**2; CENTER x square (GRANDMEAN);"))
    notes = mplus.read(trial).data_notes
    assert any("square = x**2: square not in the analysis" in n for n in notes)
    assert any("CENTER x square (GRANDMEAN): square not in the analysis" in n for n in notes)
    assert any("MISSING: values that are missing among 40 rows: y 5" in n for n in notes)
