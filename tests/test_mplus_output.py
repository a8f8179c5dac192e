"""What is written for those who come from Mplus: rows in its words and order, standardised results, model.txt."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh
from bayeshte import gallery
from bayeshte.errors import ConvergenceWarning
from bayeshte.mplus import output
from bayeshte.mplus.printout import printout, prior_of
from bayeshte.mplus.results import bic, dic, limits, ppp, psr, second_half, summarise
from bayeshte.mplus.words import Words, endogenous, lines

NUMBERS = ["estimate", "posterior_sd", "p_one_tailed", "lower", "upper"]


def layout(words: Words | None = None, slopes: bool = False, **model) -> list[tuple[str, str, str]]:
    """Lines of the results as (level, header, parameters)."""
    blocks: dict[tuple[str, str], list[str]] = {}
    for line in lines(bh.SEM(**model).table, words, slopes):
        blocks.setdefault((line.level, line.header), []).append(line.parameter)
    return [(*key, " ".join(names)) for key, names in blocks.items()]


# ---------------------------------------------------------------------------------------------- rows, words, order


def test_rows_of_a_path_model():
    """Last outcomes and mentioned exogenous variables covary by rule, mediators only where it is written."""
    words = Words(variables=("y1", "m1", "y2", "m2", "x1", "x2"))
    found = layout(words, model="y1 ~ m1 + 0*x2; y2 ~ m2; m1 ~ x1; m2 ~ x2; x1 ~~ x1; x2 ~~ x2")
    assert found == [
        ("", "Y1 ON", "M1 X2"),
        ("", "M1 ON", "X1"),
        ("", "Y2 ON", "M2"),
        ("", "M2 ON", "X2"),
        ("", "Y2 WITH", "Y1"),
        ("", "X2 WITH", "X1"),
        ("", "Means", "X1 X2"),
        ("", "Intercepts", "Y1 M1 Y2 M2"),
        ("", "Variances", "X1 X2"),
        ("", "Residual Variances", "Y1 M1 Y2 M2"),
    ]


def test_rows_of_a_factor_model():
    assert layout(model="f1 =~ y1 + y2 + y3; f2 =~ y4 + y5 + y6") == [
        ("", "F1 BY", "Y1 Y2 Y3"),
        ("", "F2 BY", "Y4 Y5 Y6"),
        ("", "F2 WITH", "F1"),
        ("", "Intercepts", "Y1 Y2 Y3 Y4 Y5 Y6"),
        ("", "Variances", "F1 F2"),
        ("", "Residual Variances", "Y1 Y2 Y3 Y4 Y5 Y6"),
    ]
    mentioned = layout(model="f1 =~ y1 + y2 + y3; f2 =~ y4 + y5 + y6; f1 ~~ f2; f1 ~ NA*1; y1 ~ 0*1")
    assert ("", "F1 WITH", "F2") in mentioned
    assert ("", "Means", "F1") in mentioned


def test_rows_of_a_random_slope_that_is_explained():
    """The slope's own rows are between; its standardised value is within, averaged over clusters."""
    model = {"cluster": "g", "within": "s | y ~ x", "between": "y + s ~ z + x; y ~~ s", "derived": {}}
    between = [
        ("Between", "S ON", "Z X"),
        ("Between", "Y ON", "Z X"),
        ("Between", "Y WITH", "S"),
        ("Between", "Means", "X"),
        ("Between", "Intercepts", "Y S"),
        ("Between", "Variances", "X"),
        ("Between", "Residual Variances", "Y S"),
    ]
    within = [("Within", "Variances", "X"), ("Within", "Residual Variances", "Y")]
    assert layout(**model) == within + between
    assert layout(**model, slopes=True) == [("Within", "S | Y ON", "X"), *within, *between]
    assert endogenous(bh.SEM(**model).table) == [("within", "y"), ("between", "y"), ("between", "s")]


def test_rows_of_several_slopes():
    """Only pairs that are written; a slope without predictors stands under means and variances; a raw x prints nothing."""
    found = layout(cluster="g", within="s1 | y ~ x1; s2 | y ~ x2; x1 ~~ x1", between="s1 ~ z; s1 ~~ s2; y ~ z")
    assert found == [
        ("Within", "Means", "X1"),
        ("Within", "Variances", "X1"),
        ("Within", "Residual Variances", "Y"),
        ("Between", "S1 ON", "Z"),
        ("Between", "Y ON", "Z"),
        ("Between", "S1 WITH", "S2"),
        ("Between", "Means", "S2"),
        ("Between", "Intercepts", "Y S1"),
        ("Between", "Variances", "S2"),
        ("Between", "Residual Variances", "Y S1"),
    ]


def test_covariances_are_collected_as_mplus_prints_them():
    """Those of the multilevel VAR model in a public output of Mplus 8: b12 WITH b21 stands under B21 WITH."""
    within = "; ".join(f"{b} | y{b[1]} ~ x{b[2]}" for b in ("b11", "b21", "b12", "b22"))
    between = "y2 ~~ y1; b21 ~~ b11; b12 ~~ b11; b22 ~~ b11; b12 ~~ b21; b22 ~~ b21; b22 ~~ b12"
    found = layout(cluster="g", within=f"{within}; y2 ~~ y1", between=between)
    assert [v for v in found if "WITH" in v[1]] == [
        ("Within", "Y2 WITH", "Y1"),
        ("Between", "B21 WITH", "B11 B12 B22"),
        ("Between", "B12 WITH", "B11 B22"),
        ("Between", "B22 WITH", "B11"),
        ("Between", "Y2 WITH", "Y1"),
    ]


def test_names_and_order_of_the_input():
    """Products by the names that XWITH gave, observed variables in the order of USEVARIABLES, nothing cut to 8 characters."""
    model = {
        "cluster": "school",
        "within": "achievement ~ ses",
        "between": "achievement ~ b*ses + treat + treat:ses; ses ~ a*treat",
        "derived": {"indirect": "a*b"},
    }
    words = Words({("between", "treat:ses"): "inter"}, ("treat", "ses", "achievement"))
    found = layout(words, **model)
    assert ("Between", "ACHIEVEMENT ON", "TREAT SES INTER") in found
    assert ("Between", "Intercepts", "SES ACHIEVEMENT") in found
    assert found[-1] == ("", "New/Additional Parameters", "INDIRECT")


# ---------------------------------------------------------------------------------------------- definitions, on arrays


def test_intervals_against_all_windows():
    x = np.random.default_rng(0).gamma(2.0, size=(200, 2))
    for j in range(2):
        ordered = np.sort(x[:, j])
        windows = [(ordered[k + 190] - ordered[k], ordered[k], ordered[k + 190]) for k in range(10)]
        lower, upper = limits(x, "hdi")
        assert (lower[j], upper[j]) == min(windows)[1:]
        lower, upper = limits(x)
        assert (lower[j], upper[j]) == (ordered[4], ordered[194])  # 2.5 % of 200 is 5, 97.5 % is 195


def test_fixed_parameters_and_stars():
    rng = np.random.default_rng(1)
    x = np.stack([np.zeros((2, 50)), np.ones((2, 50)), rng.normal(9, 1, (2, 50)), rng.normal(0, 1, (2, 50))], axis=-1)
    found = summarise(x)
    assert [*found["p_one_tailed"][:3]] == [1, 0, 0]
    assert [*found["posterior_sd"][:2]] == [0, 0]
    assert [*found["significant"]] == ["", "", "*", ""]
    assert found["p_one_tailed"][3] == min((x[..., 3] < 0).mean(), (x[..., 3] > 0).mean())
    np.testing.assert_array_equal(summarise(x, "MEAN")["estimate"], found["mean"])


def test_mode_is_near_that_of_a_gamma_distribution():
    x = np.random.default_rng(2).gamma(5.0, size=(4, 20_000, 1))
    assert summarise(x, "MODE")["estimate"][0] == pytest.approx(4, abs=0.4)
    assert summarise(x)["estimate"][0] == pytest.approx(4.67, abs=0.05)


def test_chains_criteria_and_p_values_by_hand():
    chains = np.array([[9.0, 9, 1, 3], [9, 9, 2, 6]])[..., None]
    assert second_half(chains)[..., 0].tolist() == [[1, 3], [2, 6]]
    between, within = 1.0, (2 + 8) / 2  # variance of the means 2 and 4, divisor 2
    assert psr(second_half(chains)) == pytest.approx(np.sqrt(1 / 2 + between / within))
    assert dic(np.array([10.0, 14.0]), 11.0) == (13.0, 1.0)
    assert bic(-5.0, 2, 100) == pytest.approx(10 + 2 * np.log(100))
    observed = np.arange(40.0)
    assert ppp(observed, np.full(40, 9.5)) == (0.25, observed[1] - 9.5, observed[39] - 9.5)


# ---------------------------------------------------------------------------------------------- standardised results


def by_name(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index([*output.KEYS])


def short(spec, data: pd.DataFrame, draws: int = 40) -> bh.Fit:
    """A fit for structure, not for numbers."""
    with pytest.warns(ConvergenceWarning):
        return bh.fit(spec, data, draws=draws, tune=100, seed=1, cores=1, progress=False)


def flat(posterior, variable: str) -> dict[str, np.ndarray]:
    """Draws of a variable's elements, chains stacked."""
    x = posterior[variable].transpose("chain", "draw", ...)
    return {
        str(e): v.ravel() for e, v in zip(x[f"{variable}s"].to_numpy(), np.moveaxis(x.to_numpy(), -1, 0), strict=True)
    }


def assert_lines(table: pd.DataFrame, expected: Mapping[tuple, np.ndarray]) -> None:
    """Lines of a table are the summaries of draws."""
    for key, draws in expected.items():
        found = summarise(draws.reshape(4, -1, 1)).iloc[0]
        np.testing.assert_allclose(
            by_name(table).loc[key, NUMBERS].astype(float), found[NUMBERS].astype(float), rtol=1e-9
        )


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(80, 2)) * [2.0, 3.0], columns=["x", "z"])
    data["y"] = 4 + data["x"] - 0.5 * data["z"] + rng.normal(size=80)
    return short(bh.SEM(model="y ~ b*x + c*z", derived={"ratio": "b/c"}, priors="mplus"), data), data


def test_standardised_regression_by_hand(regression):
    fit, data = regression
    path, sd, intercept = (flat(fit.posterior, v) for v in ("path", "sd", "intercept"))
    B = np.stack([path["y ~ x"], path["y ~ z"]], axis=1)
    S = np.cov(data[["x", "z"]].T, ddof=0)
    variance = np.einsum("si,ij,sj->s", B, S, B) + sd["y"] ** 2
    expected = {
        ("", "Y ON", "X"): path["y ~ x"] * np.sqrt(S[0, 0] / variance),
        ("", "Y ON", "Z"): path["y ~ z"] * np.sqrt(S[1, 1] / variance),
        ("", "Intercepts", "Y"): intercept["y"] / np.sqrt(variance),
        ("", "Residual Variances", "Y"): sd["y"] ** 2 / variance,
    }
    table = output.standardized(fit)
    assert len(table) == len(expected)
    assert_lines(table, expected)
    assert_lines(output.rsquare(fit), {("", "R-Square", "Y"): 1 - sd["y"] ** 2 / variance})
    assert_lines(
        output.summary(fit),
        {
            ("", "Residual Variances", "Y"): sd["y"] ** 2,
            ("", "New/Additional Parameters", "RATIO"): path["y ~ x"] / path["y ~ z"],
        },
    )


def test_schema_and_monte_carlo_error(regression):
    fit = regression[0]
    median, mean, mode = (output.summary(fit, point) for point in ("MEDIAN", "MEAN", "MODE"))
    assert [*median.columns] == ["level", "header", *bh.summary(fit).drop(columns=["header", "label"]).columns]
    assert mode["mcse"].isna().all()
    np.testing.assert_array_equal(mean["estimate"], median["mean"])
    assert (mean["mcse"] < median["mcse"]).mean() > 0.5  # the mean of a normal posterior is the more precise one
    assert output.summary(fit, interval="hdi").attrs["interval"] == "hdi"


def test_standardised_factor_model_by_hand():
    rng = np.random.default_rng(4)
    f = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 200)
    y = np.repeat(f, 3, axis=1) * [1, 0.8, 1.2, 1, 0.7, 0.9] + rng.normal(size=(200, 6))
    data = pd.DataFrame(y, columns=[f"y{k}" for k in range(1, 7)])
    fit = short(bh.SEM(model="f1 =~ y1 + y2 + y3; f2 =~ y4 + y5 + y6", priors="mplus"), data)
    loading, sd, corr = (flat(fit.posterior, v) for v in ("loading", "sd", "corr"))
    own = loading["f1 =~ y2"] * sd["f1"]
    total = own**2 + sd["y2"] ** 2
    table = output.standardized(fit)
    assert_lines(
        table,
        {
            ("", "F1 BY", "Y2"): own / np.sqrt(total),
            ("", "F1 BY", "Y1"): sd["f1"] / np.sqrt(sd["f1"] ** 2 + sd["y1"] ** 2),
            ("", "F2 WITH", "F1"): corr["f1 ~~ f2"],
            ("", "Residual Variances", "Y2"): sd["y2"] ** 2 / total,
        },
    )
    variances = table[table["header"] == "Variances"]
    assert variances["fixed"].all()
    np.testing.assert_allclose(variances["estimate"], 1)
    marker = by_name(output.summary(fit)).loc[("", "F1 BY", "Y1")]
    assert [marker[c] for c in NUMBERS] == [1, 0, 0, 1, 1]
    assert [*output.rsquare(fit)["parameter"]] == ["Y1", "Y2", "Y3", "Y4", "Y5", "Y6"]


@pytest.fixture(scope="module")
def slopes():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(30), 10)
    z = rng.normal(size=30)
    x = rng.normal(size=30)[g] + rng.normal(size=300)
    y = (1 + 0.5 * z + 0.4 * rng.normal(size=30))[g] * x + rng.normal(size=30)[g] + rng.normal(size=300)
    data = pd.DataFrame({"g": g, "y": y, "x": x, "z": z[g]})
    data.loc[:4, "y"] = np.nan
    spec = bh.SEM(cluster="g", within="s | y ~ x", between="y + s ~ z; x ~ z; y ~ x; y ~~ s", priors="mplus")
    return short(spec, data)


def test_random_slopes_are_standardised_cluster_by_cluster(slopes):
    sd, path = (flat(slopes.posterior, v) for v in ("sd", "path"))
    s = slopes.posterior["slope"].transpose("chain", "draw", "g", "slopes").to_numpy()[..., 0].reshape(-1, 30)
    x, e = sd["within: x"][:, None], sd["within: y"][:, None]
    variance = s**2 * x**2 + e**2
    z = slopes.design["Z"].to_numpy()[:, 0]
    between = path["between: s ~ z"] ** 2 * z.var() + sd["between: s"] ** 2
    assert_lines(
        output.standardized(slopes),
        {
            ("Within", "S | Y ON", "X"): (s * x / np.sqrt(variance)).mean(1),
            ("Within", "Residual Variances", "Y"): (e**2 / variance).mean(1),
            ("Between", "S ON", "Z"): path["between: s ~ z"] * z.std() / np.sqrt(between),
            ("Between", "Residual Variances", "S"): sd["between: s"] ** 2 / between,
            ("Between", "Y WITH", "S"): flat(slopes.posterior, "corr")["between: y ~~ s"],
        },
    )
    explained = output.rsquare(slopes)
    assert [(r.level, r.parameter) for r in explained.itertuples()] == [
        ("Within", "Y"),
        ("Between", "Y"),
        ("Between", "X"),
        ("Between", "S"),
    ]
    assert_lines(explained, {("Within", "R-Square", "Y"): 1 - (e**2 / variance).mean(1)})


def test_standardised_results_are_those_of_the_effects(slopes):
    """Two ways to the same numbers: `bh.effects` goes row by row."""
    effects = bh.effects(slopes).set_index("estimand")["estimate"]
    mine = by_name(output.standardized(slopes))["estimate"]
    for key, name in (
        (("Within", "S | Y ON", "X"), "standardised within: y ~ x"),
        (("Between", "X ON", "Z"), "standardised between: x ~ z"),
    ):
        assert mine[key] == pytest.approx(effects[name])


def test_what_has_no_variance_has_no_standardised_value():
    """A partially nested trial: between clusters the outcome varies by the slope of treatment alone."""
    entry = gallery.read("partially_nested")
    table = output.standardized(short(entry.spec, entry.data(), draws=10))
    none = table["estimate"].isna()
    assert {*table["parameter"][none]} == {"COPING", "WELLBEING"}
    assert {*table["header"][none]} == {"Means", "Variances", "COPING WITH"}
    assert table[none][["lower", "upper", "p_one_tailed", "posterior_sd"]].isna().all().all()


# ---------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def school():
    spec = gallery.read("school_activity").spec
    data = gallery.read("school_activity").data()
    spec = bh.SEM(
        cluster="school", within=spec.within, between=spec.between, derived=dict(spec.derived), priors="mplus"
    )
    fit = short(spec, data, draws=20)
    return fit, output.tables(fit, "MEDIAN", "hdi", Words(variables=("treat", "peers", "advant", "mvpa")))


def test_files_of_a_fit_that_did_not_converge_say_so_in_every_row(school, tmp_path):
    fit, tables = school
    output.write(tables, fit, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"summary.csv", "standardized.csv", "rsquare.csv", "fit.csv"}
    for path in tmp_path.iterdir():
        assert (pd.read_csv(path)["verdict"] == fit.diagnosis.verdict).all()
    found = pd.read_csv(tmp_path / "summary.csv", keep_default_na=False)
    assert [*found.columns[:3]] == ["level", "header", "parameter"]
    assert {*found["level"]} == {"Within", "Between", ""}


def test_fit_statistics_have_the_time_that_sampling_took(school):
    fit, tables = school
    found = tables.fit.set_index("statistic")["value"]
    assert found["elapsed"] == fit.record["seconds_sampling"]
    assert {"PPP", "DIC, conditional", "DIC, marginal", "BIC", "elpd"} <= {*found.index}
    assert 0 <= found["PPP"].iloc[0] <= 1


def test_every_number_is_in_the_printout(school):
    fit, tables = school
    text = printout(fit, tables, "The school trial", ["line 3: PROCESSORS is not needed"])
    head, rest = text.split("SUMMARY OF ANALYSIS")
    assert "The school trial" in head
    assert "NOT CONVERGED" in head
    assert "Do not report them" in head
    assert max(map(len, text.splitlines())) < 100
    sections = [
        rest.index(title)
        for title in ("NOTES", "MODEL FIT", "MODEL RES", "STDYX", "R-SQUARE", "PRIORS", "CONVERGENCE\n")
    ]
    assert sections == sorted(sections)
    rows = [line.split() for line in rest.splitlines() if line.startswith("    ") and line.count(".") >= 5]
    frames = pd.concat([tables.summary, tables.standardized, tables.rsquare])
    assert [row[0] for row in rows] == [*frames["parameter"]]
    shown = np.array([[float(v) for v in row[1:6]] for row in rows])
    np.testing.assert_allclose(shown, frames[NUMBERS], atol=5.1e-4)
    stars = ~frames["fixed"] & ((frames["lower"] > 0) | (frames["upper"] < 0))
    assert [len(row) == 7 for row in rows] == [*stars]
    assert rest.count("Within Level") == 3
    assert rest.count("*** NOT CONVERGED ***") == 3
    assert "highest density" in rest


def test_printout_counts_patterns_and_names_the_average(slopes):
    found = output.tables(slopes)
    text = printout(slopes, found)
    assert "Missing data patterns                     2" in text
    assert "Within-Level Standardized Estimates Averaged Over Clusters" in text
    assert "PPP                                       not available" in text
    assert "NOTES" not in text


def test_priors_in_the_notation_of_mplus(slopes):
    structure, priors = slopes.spec.structure, slopes.priors
    found = {line.row.name: prior_of(structure, priors, line.row) for line in lines(slopes.spec.table) if line.row}
    assert found["within: y ~~ y"] == "IG(-1, 0)"
    assert found["between: s ~~ s"] == found["between: y ~~ s"] == "IW(0, -3)"
    assert found["between: s ~ z"] == "N(0, infinity)"
    own = {**priors, "path[between: s ~ z]": bh.Normal(1, 2), "sd[between: s]": bh.HalfNormal(2)}
    found = {line.row.name: prior_of(structure, own, line.row) for line in lines(slopes.spec.table) if line.row}
    assert found["between: s ~ z"] == "N(1, 4)"  # Mplus writes the variance
    assert found["between: s ~~ s"] == "HalfNormal(sigma=2) on the SD"
    assert found["between: y ~~ s"] == "LKJ(eta=1) on the correlation"
