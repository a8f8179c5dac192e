"""Mplus inputs with CATEGORICAL: how they are read, priors, data, the rows and values of the tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mplus_inputs import HEAD, ONE, RANDOM, TWO, build, refused, rows, same
from test_cli import call
from test_mplus_output import assert_lines, flat, short

import bayeshte as bh
from bayeshte import mplus
from bayeshte.checks.model_fit import COLUMNS
from bayeshte.errors import DataError, SpecError
from bayeshte.mplus import output
from bayeshte.mplus.printout import prior_of
from bayeshte.mplus.words import lines

PATH = HEAD + "USEV = y1-y3 x1; CATEGORICAL = y1 y2;\n" + ONE
TRIAL = HEAD + "USEV = y1-y3 x1 z; CATEGORICAL = y1; CLUSTER = school; WITHIN = x1; BETWEEN = z;\n"


# ------------------------------------------------------------------------------------------------------------ reading


def test_thresholds_of_one_level():
    text = PATH + "MODEL: y1 ON y2 x1; y2 ON x1 y3; [y1$1@0]; [y2$1-y2$3*-1] (a b c);"
    same(text, ["y1", "y2"], model="y1 ~ y2 + x1; y2 ~ x1 + y3; y1 | 0*t1; y2 | a*t1 + b*t2 + c*t3")
    assert [n for n in build(text)[1] if "starting values" in n] == [
        "line 6: [y2$1-y2$3*-1] (a b c): starting values of thresholds have no effect."
    ]


@pytest.mark.parametrize(
    ("mplus_text", "text"),
    [
        ("[y1$1-y3$1] (1);", "y1 | e*t1; y2 | e*t1; y3 | e*t1"),
        ("[y1$1-y3$1] (a1-a3);", "y1 | a1*t1; y2 | a2*t1; y3 | a3*t1"),
        ("[y1$1 y3$1] (a b) [y2$1] (c);", "y1 | a*t1; y3 | b*t1; y2 | c*t1"),
        ("[y1$1-y2$2] (a b c d);", "y1 | a*t1 + b*t2; y2 | c*t1 + d*t2"),
    ],
)
def test_lists_of_thresholds(mplus_text, text):
    head = HEAD + "USEV = y1-y3; CATEGORICAL ARE ALL;\n" + ONE + "MODEL: f BY y1-y3; "
    same(head + mplus_text, ["y1", "y2", "y3"], model=f"f =~ y1 + y2 + y3; {text.replace('e*', 'equal1*')}")


def test_residual_variances_of_1_are_noted():
    spec, notes, *_ = build(PATH + "MODEL: y1 ON x1 y3; y2 ON y1; y1-y2@1;")
    assert rows(spec.table) == rows(build(PATH + "MODEL: y1 ON x1 y3; y2 ON y1;")[0].table)
    assert len([n for n in notes if "y1-y2@1: residual variances of latent responses are 1" in n]) == 1


def test_all_variables_are_those_of_clusters_too():
    head = HEAD + "USEV = y1-y3 z; CLUSTER = school; BETWEEN = z; CATEGORICAL = ALL;\n" + TWO
    head += "MODEL: %WITHIN% f BY y1-y3; %BETWEEN% g BY y1-y3; "
    same(
        head + "z ON g;",
        ["y1", "y2", "y3", "z"],
        within="f =~ y1 + y2 + y3",
        between="g =~ y1 + y2 + y3; z ~ g",
    )
    refused(head + "g ON z;", "z is categorical and only predicts")


def test_two_levels_with_a_random_slope():
    same(
        TRIAL + RANDOM + "MODEL: %WITHIN% s | y1 ON x1; y1 ON y2; y2 ON y3;\n"
        "%BETWEEN% y1 s ON z; y1 WITH s; [y1$1] (t); y2 ON y3; y1@0.2;",
        ["y1"],
        within="s | y1 ~ x1; y1 ~ y2; y2 ~ y3",
        between="y1 + s ~ z; y1 ~~ s + 0.2*y1; y1 | t*t1; y2 ~ y3; y1 ~~ 0*y2",
    )


def test_a_categorical_variable_that_a_level_does_not_name():
    spec = same(
        TRIAL.replace("y1-y3 x1 z", "y1 y2 x1 z") + TWO + "MODEL: %WITHIN% y2 ON x1; %BETWEEN% y1 ON z; y2 ON z;",
        ["y1"],
        within="y2 ~ x1; y1 ~~ 1*y1",
        between="y1 ~ z; y2 ~ z",
    )
    assert {*spec.table.both_levels} == {"y1", "y2"}


def test_categorical_variables_of_clusters():
    head = (
        TRIAL.replace("y1-y3 x1 z", "y1-y2 y4-y5 x1 z")
        .replace("L = y1", "L = y4 y5")
        .replace("BETWEEN = z", "BETWEEN = y4 y5 z")
    )
    same(
        head + TWO + "MODEL: %WITHIN% y1 ON x1; y2; %BETWEEN% y4 ON z; y1 ON y4; y2; [y4$1] (t); y5 ON y4;",
        ["y4", "y5"],
        within="y1 ~ x1; y2 ~~ y2",
        between="y4 ~ z; y1 ~ y4; y2 ~~ y2; y4 | t*t1; y5 ~ y4; y1 ~~ y5",
    )
    spec, _, _, words = build(head + TWO + "MODEL: %WITHIN% y1 ON x1; y2; %BETWEEN% y4 ON z; y1 ON y4; y2; y5 ON y4;")
    between = [(v.header, v.parameter) for v in lines(spec.table, words) if v.level == "Between"]
    assert [p for h, p in between if h == "Thresholds"] == ["Y4$1", "Y5$1"]
    assert [p for h, p in between if "ariances" in h] == ["Y2", "Y1"]


def test_thresholds_of_a_variable_have_one_prior():
    model = PATH.replace("y1 y2", "y1") + "MODEL: y1 ON x1; y2 y3; [y1$1] (t1); [y1$2] (t2); MODEL PRIORS: "
    refused(model + "t2 ~ N(0, 2);", "t2 ~ N(0, 2)", "give N(0, 2) to all of them")
    refused(model + "t1 ~ N(0, 2); t2 ~ N(1, 2);", "one prior in common")
    for both in ("t1-t2 ~ N(1, 2);", "t1 ~ N(0, 5);"):
        assert {p for k, p in build(model + both)[0].priors.items() if k.startswith("t")} <= {
            bh.Normal(1, 2**0.5),
            bh.Normal(0, 5**0.5),
        }


def test_a_list_with_itself_leaves_latent_responses_their_variances():
    same(
        PATH + "MODEL: y1-y3 ON x1; y1-y3 WITH y1-y3 (1-3);",
        ["y1", "y2"],
        model="y1 + y2 + y3 ~ x1; y1 ~~ equal1*y2 + equal2*y3; y2 ~~ equal3*y3",
    )


def test_growth_of_binary_outcomes():
    """User's Guide, example 6.4: one threshold, and the mean of the intercept is 0."""
    same(
        HEAD + "USEV = y1-y3; CATEGORICAL = y1-y3;\n" + ONE + "MODEL: i s | y1@0 y2@1 y3@2;",
        ["y1", "y2", "y3"],
        model="i =~ 1*y1 + 1*y2 + 1*y3; s =~ 0*y1 + 1*y2 + 2*y3; i ~ 0*1; s ~ 1\n"
        + "; ".join(f"y{k} | threshold_i*t1" for k in (1, 2, 3)),
    )


def test_deleting_categorical_changes_the_table():
    text = PATH + "MODEL: y1 ON y2; y2 ON y3 x1;"
    whole, plain = build(text)[0], build(text.replace("CATEGORICAL = y1 y2;", ""))[0]
    names = [{r.name for r in spec.table.rows if r.fixed is None} for spec in (whole, plain)]
    assert names[0] - names[1] == {"y1 | t1", "y2 | t1"}
    assert names[1] - names[0] == {"y1 ~1", "y2 ~1", "y1 ~~ y1", "y2 ~~ y2"}


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ("y1 ON x1; y1@2;", ["line 6, MODEL: y1@2", "residual variance of its latent response is 1"]),
        ("y1 ON x1; y1-y3;", ["residual variance of its latent response is 1"]),
        ("y1 ON x1; [y1];", ["[y1$1]", "no mean"]),
        ("y1 ON x1; [y3$1];", ["y3 has no thresholds"]),
        ("y1 ON x1; {y1@1};", ["scale factors"]),
        ("y1 ON x1; y1$1;", ["brackets"]),
        ("y1 ON y2$1;", ["brackets"]),
        ("y1 ON x1; [y1$1-y2];", ["[u$1-u$3]"]),
        ("y1 ON x1; [y1$3-y1$1];", ["[u$1-u$3]"]),
        ("y3 ON y1;", ["line 6, MODEL: y3 ON y1", "only predicts", "CATEGORICAL"]),
        ("y1 ON x1; [y1$2@1];", ["line 6, MODEL: [y1$2@1]", "[y1$2] is fixed"]),
        ("y1 y2 ON x1; [y1$2 y2$2] (1);", ["line 6", "[y1$2] is held equal"]),
        ("y1 ON x1; [y1$1 y1$2] (a b);\nMODEL CONSTRAINT: a = b;", ["held equal"]),
        ("y1 y2 ON x1; [y1$1] (a);\nMODEL PRIORS: a ~ IG(1, 1);", ["a threshold", "N(mean, variance)"]),
    ],
)
def test_statements_of_one_level_are_refused(statements, words):
    refused(PATH + "MODEL: " + statements, *words)


@pytest.mark.parametrize(
    ("head", "statements", "words"),
    [
        (TRIAL, "%WITHIN% y1 ON x1; [y1$1]; %BETWEEN% y1 ON z;", ["thresholds belong under %BETWEEN%"]),
        (TRIAL, "%WITHIN% y1 ON x1; y1; %BETWEEN% y1 ON z;", ["latent response is 1"]),
        (TRIAL.replace("L = y1", "L = y1 z"), "%WITHIN% y1 ON x1; %BETWEEN% y1 ON z;", ["z", "only predicts"]),
        (TRIAL.replace("L = y1", "L = y1 z"), "%WITHIN% y1 ON x1; %BETWEEN% z ON y1; z;", ["latent response is 1"]),
        (TRIAL.replace("L = y1", "L = y1 z"), "%WITHIN% y1 ON x1; %BETWEEN% z ON y1; [z];", ["[z$1]", "no mean"]),
        (TRIAL.replace("L = y1", "L = y1 x1"), "%WITHIN% y1 ON x1; %BETWEEN% y1 ON z;", ["x1", "only predicts"]),
    ],
)
def test_statements_of_two_levels_are_refused(head, statements, words):
    refused(head + TWO + "MODEL: " + statements, *words)


@pytest.mark.parametrize(
    ("analysis", "said"),
    [
        ("ESTIMATOR = MLR;", ["that of MLR is logit", "1.6 to 1.8"]),
        ("ESTIMATOR = ML; LINK = PROBIT;", ["LINK = PROBIT is the link without it"]),
        ("TYPE = GENERAL;", ["Mplus's default is WLSMV", "(THETA)"]),
        ("ESTIMATOR = WLSMV; PARAMETERIZATION = DELTA;", ["that coefficients differ by a factor"]),
        ("ESTIMATOR = WLSMV; PARAMETERIZATION = THETA;", ["it is the one with BAYES"]),
    ],
)
def test_other_estimators_say_what_their_link_and_scale_are(tmp_path, analysis, said):
    path = tmp_path / "m.inp"
    path.write_text(PATH.replace("ESTIMATOR = BAYES;", analysis) + "MODEL: y1 y2 ON x1;")
    with pytest.raises(SpecError, match="--as-bayes"):
        mplus.read(path)
    notes = "\n".join(mplus.read(path, as_bayes=True).notes)
    for words in said:
        assert words in notes
    assert ("logit" in notes) == ("MLR" in analysis)


# ------------------------------------------------------------------------------------------------------------- priors


def frame(n=90) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    j, x = np.arange(n) // 6, rng.normal(size=n)
    data = pd.DataFrame({f"y{k}": 0.5 * x + rng.normal(size=n) + rng.normal(size=n // 6)[j] for k in (1, 2, 3)})
    data["y1"], data["y2"] = np.digitize(data["y1"], [-0.8, 0.1, 0.9]), np.digitize(data["y2"], [0.1])
    return data.assign(x1=x, school=j, z=rng.normal(size=n // 6)[j])


def printed(text) -> dict[str, str]:
    """Priors of all free rows in Mplus's notation."""
    spec, *_ = build(text)
    design = spec.design(frame())
    s, priors = spec.structure_of(design), spec.frozen_priors(design)
    return {r.name: prior_of(s, priors, r) for r in s.table.rows if r.fixed is None and not r.slope}


def test_one_categorical_variable_changes_priors_everywhere():
    """Thresholds, slopes to it, covariance matrices on both levels; not other slopes, means, single variances."""
    text = (
        TRIAL.replace("L = y1", "L = y2").replace("= x1;", "= x1 y3;")
        + RANDOM
        + "MODEL: %WITHIN% s | y1 ON x1; y2 ON y3 x1; y1 WITH y2@0; y3; %BETWEEN% y1 y2 s ON z; y1 WITH s;"
    )
    found, plain = printed(text), printed(text.replace("CATEGORICAL = y2;", ""))
    assert {k: v for k, v in found.items() if plain.get(k) != v} == {
        "within: y2 ~ y3": "N(0, 5)",
        "within: y2 ~ x1": "N(0, 5)",
        "between: y2 | t1": "N(0, 5)",
        "between: y1 ~~ y1": "IW(1, 3)",
        "between: s ~~ s": "IW(1, 3)",
        "between: y1 ~~ s": "IW(0, 3)",
    }
    assert plain["between: s ~~ s"] == "IW(0, -3)"
    assert found["within: y3 ~~ y3"] == found["between: y2 ~~ y2"] == "IG(-1, 0)"
    assert found["between: y2 ~ z"] == found["between: s ~ z"] == "N(0, infinity)"


def test_loadings_of_categorical_indicators():
    found = printed(PATH + "MODEL: f BY y3 y1 y2;")
    assert (found["f =~ y1"], found["f =~ y2"], found["f ~~ f"]) == ("N(0, 5)", "N(0, 5)", "IG(-1, 0)")
    assert found["y1 | t2"] == "N(0, 5)"


def test_priors_of_the_input():
    text = PATH + "MODEL: y1 y2 ON x1 (b1 b2); y1 WITH y2@0; [y1$1-y1$3 y2$1] (p1-p4);\nMODEL PRIORS: "
    found = printed(text + "p1-p3 ~ N(0, 1); p4 ~ N(0.5, 2); b1 ~ N(0, 3);")
    assert [found[k] for k in ("y1 | t1", "y1 | t3", "y2 | t1", "y1 ~ x1", "y2 ~ x1")] == [
        "N(0, 1)",
        "N(0, 1)",
        "N(0.5, 2)",
        "N(0, 3)",
        "N(0, 5)",
    ]
    with pytest.raises(SpecError, match="thresholds of y1 have one prior"):
        printed(text + "p1 ~ N(0, 1);")


BLOCK = HEAD + "USEV = y3-y5 y2; CATEGORICAL = y2;\n" + ONE + "MODEL: y3 (v1); y4 (v2); y3 WITH y4 (c); y2 ON y5;\n"


def test_an_inverse_wishart_prior_of_the_input_takes_the_place_of_that_one():
    spec, *_ = build(BLOCK + "MODEL PRIORS: v1-v2 ~ IW(2, 5); c ~ IW(0, 5);")
    assert spec.priors == {"cov[y3, y4]": bh.InverseWishart(2 * np.eye(2), 5), "others": "mplus"}


@pytest.mark.parametrize("prior", ["v1 ~ IG(1, 1);", "c ~ N(0, 1);", "c ~ U(-1, 1);", "v1 ~ IW(1, 4);"])
def test_a_prior_of_one_element_of_a_matrix_is_refused(prior):
    refused(BLOCK + "MODEL PRIORS: " + prior, "line 7, MODEL PRIORS", "IW(s, d)")


def test_in_python_such_a_prior_is_refused_too():
    spec = bh.SEM(
        model="y3 ~~ x1; y2 ~ z", categorical=["y2"], priors={"cov[y3 ~~ x1]": bh.Normal(0, 1), "others": "mplus"}
    )
    with pytest.raises(SpecError, match="part of a covariance matrix"):
        spec.frozen_priors(spec.design(frame()))


# --------------------------------------------------------------------------------------------------------------- data


@pytest.fixture
def folder(tmp_path):
    """A data file with the columns of `frame`; y1 has the values 1, 2, 4 and 5."""
    data = frame()
    data["y1"] = data["y1"].map({0: 1, 1: 2, 2: 4, 3: 5})
    data.to_csv(tmp_path / "d.dat", sep=" ", header=False, index=False, float_format="%.6f")
    return tmp_path


def written(folder: Path, options: str, model: str, define: str = "") -> Path:
    path = folder / "m.inp"
    text = f"DATA: FILE = d.dat;\nVARIABLE: NAMES = y1-y3 x1 school z; {options}\n{define}\n{ONE}MODEL: {model}"
    path.write_text(text)
    return path


def test_values_with_gaps_are_categories_in_order(folder):
    analysis = mplus.read(written(folder, "USEV = y1 y2 x1; CATEGORICAL = y1 y2;", "y1 y2 ON x1;"))
    data = analysis.data()
    assert [n for n in analysis.data_notes if "categories" in n] == [
        "data: y1: the values 1, 2, 4, 5 are taken as categories 0, 1, 2, 3, in that order."
    ]
    assert analysis.spec.design(data).attrs["categories"] == ["y1=1", "y1=2", "y1=4", "y1=5", "y2=0", "y2=1"]
    text = call("check", folder / "m.inp")
    for words in ("Y1$2", "Thresholds", "N(0, 5)", "the values 1, 2, 4, 5"):
        assert words in text, words


def test_categories_that_define_makes(folder):
    define = "DEFINE: CUT y3 (-1 0 1); IF (y1 GT 3) THEN y1 = 2;"
    analysis = mplus.read(written(folder, "USEV = y1 y3 x1; CATEGORICAL = y1 y3;", "y1 y3 ON x1;", define))
    design = analysis.spec.design(analysis.data())
    assert design.attrs["categories"] == ["y1=1", "y1=2", "y3=0", "y3=1", "y3=2", "y3=3"]
    assert len(analysis.spec.structure_of(design).thresholds["y3"]) == 3


@pytest.mark.parametrize(
    ("options", "model", "words"),
    [
        ("USEV = y1 y2 x1; CATEGORICAL = y1 y2 (*);", "y1 y2 ON x1;", "y1 has the values 1, 2, 4, 5 and y2 0, 1"),
        ("USEV = y1 y2; CATEGORICAL = y1 y2;", "i s | y2@0 y1@1;", "y1 has the categories 1, 2, 4, 5"),
        ("USEV = y3 x1; CATEGORICAL = y3;", "y3 ON x1;", "whole numbers"),
    ],
)
def test_categories_that_do_not_fit_are_refused(folder, options, model, words):
    text = call("check", written(folder, options, model), code=2)
    assert words in " ".join(text.split())


def test_equal_categories_may_be_a_set(folder):
    analysis = mplus.read(written(folder, "USEV = y2 x1; CATEGORICAL = y2 (*);", "y2 ON x1;"))
    assert analysis.data()["y2"].isin([0, 1]).all()
    with pytest.raises(DataError, match="leave out"):
        mplus.read(written(folder, "USEV = y1 y2 x1; CATEGORICAL = y1 y2 (*);", "y1 y2 ON x1;")).data()


def test_more_thresholds_than_the_data_have(folder):
    text = call("check", written(folder, "USEV = y2 x1; CATEGORICAL = y2;", "y2 ON x1; [y2$1-y2$2];"), code=2)
    assert "y2" in text
    assert text.rstrip().endswith("line 5, MODEL: [y2$1-y2$2]")


# -------------------------------------------------------------------------------------------------------------- tables


def test_rows_of_two_levels():
    """No residual variance within; thresholds and a residual variance between."""
    spec, _, _, words = build(
        TRIAL + RANDOM + "MODEL: %WITHIN% s | y1 ON x1; y1 ON y2; y3 ON x1; %BETWEEN% y1 s ON z; y1 WITH s; [y1$2];"
    )
    found = [(line.level, line.header, line.parameter) for line in lines(spec.table, words)]
    assert ("Within", "Residual Variances", "Y3") in found
    assert not [v for v in found if v[0] == "Within" and v[1:] in (("Residual Variances", "Y1"), ("Variances", "Y1"))]
    between = [v[1:] for v in found if v[0] == "Between"]
    at = [between.index(v) for v in (("Intercepts", "S"), ("Thresholds", "Y1$1"), ("Thresholds", "Y1$2"))]
    assert at == [at[0], at[0] + 1, at[0] + 2]
    assert between.index(("Residual Variances", "Y1")) > at[2]


def test_standardised_probit_regression_by_hand(monkeypatch):
    data = frame()
    fit = short(bh.SEM(model="y1 ~ x1", categorical=["y1"], priors="mplus"), data)
    path, tau = flat(fit.posterior, "path")["y1 ~ x1"], flat(fit.posterior, "threshold")
    total = np.sqrt(1 + path**2 * data["x1"].var(ddof=0))
    assert_lines(output.summary(fit), {("", "Y1 ON", "X1"): path, ("", "Thresholds", "Y1$2"): tau["y1 | t2"]})
    table = output.standardized(fit)
    assert [*table["header"]] == ["Y1 ON", *["Thresholds"] * 3]
    assert_lines(
        table,
        {
            ("", "Y1 ON", "X1"): path * data["x1"].std(ddof=0) / total,
            ("", "Thresholds", "Y1$1"): tau["y1 | t1"] / total,
            ("", "Thresholds", "Y1$2"): tau["y1 | t2"] / total,
        },
    )
    assert_lines(output.rsquare(fit), {("", "R-Square", "Y1"): 1 - 1 / total**2})
    found = pd.DataFrame([[v, "", 1.0, 0.0, 2.0, ""] for v in ("PPP", "DIC, marginal", "pD, marginal", "BIC", "elpd")])
    monkeypatch.setattr(output, "model_fit", lambda _: found.set_axis([*COLUMNS], axis=1))
    assert [*output.fit_statistics(fit)["statistic"]] == ["PPP", "elpd", "elapsed"]


def test_standardised_probit_regression_of_clusters_by_hand():
    data = frame(240)
    noise = np.random.default_rng(9).normal(size=40)[data["school"]]
    data["u"] = (data["z"] + noise > 0).astype(int)
    spec = bh.SEM(cluster="school", within="y3 ~ x1", between="y3 ~~ y3; u ~ z", categorical=["u"], priors="mplus")
    fit = short(spec, data)
    path, tau = flat(fit.posterior, "path")["between: u ~ z"], flat(fit.posterior, "threshold")["between: u | t1"]
    z = data.groupby("school")["z"].first().std(ddof=0)
    total = np.sqrt(1 + path**2 * z**2)
    assert_lines(output.summary(fit), {("Between", "U ON", "Z"): path, ("Between", "Thresholds", "U$1"): tau})
    assert_lines(
        output.standardized(fit),
        {("Between", "U ON", "Z"): path * z / total, ("Between", "Thresholds", "U$1"): tau / total},
    )
    assert_lines(output.rsquare(fit), {("Between", "R-Square", "U"): 1 - 1 / total**2})
