"""The likelihood of structural equation models against lavaan's, at lavaan's maximum-likelihood estimates.

What is compared. lavaan's estimates become the only draw of a posterior; the sum of `log_likelihood` over its clusters (or rows,
with one level) has to be lavaan's log likelihood, and its derivatives have to be zero there; minus the inverse of its second
derivatives has to be lavaan's covariance matrix of the estimates (by its observed information).

Covariates. We condition on an exogenous observed variable, p(y | x), unless its variance is written or it stands at both
levels. lavaan with fixed.x=TRUE takes the joint normal of y and x with the moments of x put at those of the sample, and
subtracts log p(x) at those of the sample, over the rows for covariates within and over the clusters for those between: that is
log p(y | x). Only with two levels and missing values its moments of x are EM's, which stops early, and not quite the sample's:
`subtracted` adds what that makes (-0.0002 at most here; else 0). With fixed.x=FALSE it is log p(y, x), the moments of x
estimated: written as `x ~~ x` in our texts. With fixed.x=TRUE both drop rows in which a covariate is missing.

A rule differs, which decides how models are written here: an exogenous variable at both levels is modelled by us; lavaan with
fixed.x=TRUE fixes its moments at each level at estimates, but subtracts log p(x) as if it had one level, so that what remains
is no density of y given x. Its variance is written here (or a path to it), and then both model it. `DEFAULTS` has the other
rules that differ.

lavaan's data sets go to a temporary folder. Without Rscript or lavaan the tests are skipped; Debian has both:
apt-get install --no-install-recommends r-base-core r-cran-lavaan. Seen with lavaan 0.6-14.
"""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from r_packages import missing
from scipy import stats

from bayeshte import SEM
from bayeshte.families.sem_structure import VARIABLES
from bayeshte.model_text import Row, parameter_table

SCRIPTS = Path(__file__).parent / "lavaan"


WHY_NOT = missing("lavaan")
pytestmark = [pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.slow]


@dataclass(frozen=True)
class Case:
    """A model, in our text and in lavaan's (the same by default), and its data.

    holes : share of the values that are deleted, by column; of a variable of clusters in whole clusters.
    group : column of lavaan's groups.
    """

    data: str
    model: str = ""
    within: str = ""
    between: str = ""
    lavaan: str = ""
    fixed_x: bool = True
    holes: tuple[tuple[str, float], ...] = ()
    group: str = ""

    @property
    def texts(self) -> dict[str, str]:
        return {"model": self.model} if self.model else {"within": self.within, "between": self.between}

    @property
    def lavaan_text(self) -> str:
        return self.lavaan or self.model or f"level: 1\n{self.within}\nlevel: 2\n{self.between}\n"

    @cached_property
    def spec(self) -> SEM:
        return SEM(**self.texts, cluster=None if self.model else "cluster")

    def frame(self, data: pd.DataFrame) -> pd.DataFrame:
        """The rows of the case, with holes; `treat` is a treatment of clusters."""
        rng, out = np.random.default_rng(4), data.copy()
        if "w1" in out:
            out["treat"] = (out["w1"] > 0).astype(float)
        for column, share in self.holes:
            of_clusters = column in ("w1", "w2")
            units = data["cluster"] if of_clusters else pd.Series(data.index, data.index)
            gone = units.unique()[rng.random(units.nunique()) < share]
            out.loc[units.isin(gone), column] = np.nan
        return out


def holes(names: str, share: float) -> tuple[tuple[str, float], ...]:
    return tuple((name, share) for name in names.split())


HS, DEMO, POLITICS = "HolzingerSwineford1939", "Demo.twolevel", "PoliticalDemocracy"
FACTORS = "visual =~ x1 + x2 + x3; textual =~ x4 + x5 + x6; speed =~ x7 + x8 + x9"
DEMOCRACY = """
    ind60 =~ x1 + x2 + x3
    dem60 =~ y1 + a*y2 + b*y3 + c*y4
    dem65 =~ y5 + a*y6 + b*y7 + c*y8
    dem60 ~ ind60
    dem65 ~ ind60 + dem60
    y1 ~~ y5; y2 ~~ y4 + y6; y3 ~~ y7; y4 ~~ y8; y6 ~~ y8
"""
PATHS = "x7 ~ b*x4 + ageyr + sex; x8 ~ x4 + x1; x4 ~ a*x1 + ageyr"
MIMIC = "visual =~ x1 + x2 + x3; textual =~ x4 + x5 + x6; visual ~ ageyr + sex; textual ~ visual + ageyr"
MODELLED = "; ageyr ~~ ageyr + sex; sex ~~ sex"
FW, FB = "fw =~ y1 + y2 + y3; fw ~ x1 + x2 + x3", "fb =~ y1 + y2 + y3; fb ~ w1 + w2"
MEDIATION = ("y1 ~ w*y2 + x1; y2 ~ x1; x2 ~ y1 + x3", "y1 ~ b*y2 + w1; y2 ~ a*w1; w1 ~ w2")

CASES = {
    "cfa": Case(HS, FACTORS),
    "political democracy": Case(POLITICS, DEMOCRACY),
    "paths": Case(HS, PATHS),
    "paths, covariates modelled": Case(
        HS, f"{PATHS}; x1 ~~ x1 + ageyr + sex; ageyr ~~ ageyr + sex; sex ~~ sex", fixed_x=False
    ),
    "fixed and shared": Case(
        HS,
        """
        visual =~ NA*x1 + l*x2 + x3; visual ~~ 1*visual
        textual =~ x4 + 0.9*x5 + x6
        speed =~ x7 + l*x8 + start(1)*x9
        visual ~~ 0.4*textual; visual ~~ 0*speed
        x2 ~~ c*x7; x4 ~~ c*x7; x4 ~~ v*x4; x5 ~~ v*x5; x8 ~ i*1; x9 ~ i*1
        """,
    ),
    "missing": Case(HS, MIMIC, holes=(*holes("x1 x2 x4 x6", 0.2), *holes("ageyr", 0.1))),
    "missing, covariates modelled": Case(
        HS, MIMIC + MODELLED, fixed_x=False, holes=(*holes("x1 x2 x4 x6", 0.2), *holes("ageyr", 0.1))
    ),
    "two levels, factor": Case(DEMO, within=FW, between=FB),
    "two levels, paths": Case(DEMO, within=MEDIATION[0], between=MEDIATION[1]),
    "two levels, exogenous at both": Case(DEMO, within="y1 ~ y2; y2 ~~ y2", between="y1 ~ b*y2 + w1; y2 ~ a*w1"),
    "two levels, no covariance with covariates": Case(
        DEMO,
        within="y1 ~ y2 + x1",
        between="y1 ~ y2 + w1",
        lavaan="level: 1\n y1 ~ y2 + x1; y2 ~ 0*x1\n level: 2\n y1 ~ y2 + w1; y2 ~ 0*w1",
    ),
    "two levels, equal loadings": Case(
        DEMO,
        within="fw =~ y1 + l2*y2 + l3*y3; fw ~ x1 + x2; y4 ~ fw",
        between="fb =~ y1 + l2*y2 + l3*y3; fb ~ w1; y4 ~ fb + w1; y2 ~~ y3",
    ),
    "two levels, covariates modelled": Case(
        DEMO,
        within=FW + "; x1 ~~ x1 + x2 + x3; x2 ~~ x2 + x3; x3 ~~ x3",
        between=FB + "; w1 ~~ w1 + w2; w2 ~~ w2",
        fixed_x=False,
    ),
    "two levels, missing": Case(
        DEMO, within=FW, between=FB, holes=(*holes("y1 y2 y3", 0.15), *holes("x1", 0.05), *holes("w1", 0.1))
    ),
    "two levels, missing of clusters": Case(
        DEMO, within=MEDIATION[0], between=MEDIATION[1], holes=(*holes("y1 y2 x2", 0.15), *holes("w1", 0.2))
    ),
}


# A path that a treatment of clusters changes: in lavaan two groups, equal in all but intercepts and two paths between.
GROUP = """
group: {g}
level: 1
y1 ~ w*y2 + x*x1; y2 ~ z*x1; y1 ~~ v1*y1; y2 ~~ v2*y2
level: 2
y1 ~ b{g}*y2 + c{g}*w2; y2 ~ m*w2; y1 ~~ u1*y1; y2 ~~ u2*y2; y1 ~ i{g}*1; y2 ~ k{g}*1
"""
MODERATED = Case(
    DEMO,
    within="y1 ~ w*y2 + x*x1; y2 ~ z*x1; y1 ~~ v1*y1; y2 ~~ v2*y2",
    between="""
    y1 ~ b1*y2 + b*treat:y2 + c1*w2 + c*treat:w2 + i*treat; y2 ~ m*w2 + k*treat
    y1 ~~ u1*y1; y2 ~~ u2*y2; y1 ~ i1*1; y2 ~ k1*1
    """,
    lavaan=GROUP.format(g=1) + GROUP.format(g=2),
    group="treat",
)

BOTH = Case(DEMO, within="y1 ~ y2 + y3 + x1", between="y1 ~ y2 + y3 + w1")

#: Texts by name, with the free parameters that only we have, and those that only lavaan's sem() has, by their defaults.
DEFAULTS: dict[str, tuple[Case, str, str]] = {
    "mediation": (Case(HS, "x4 ~ x1 + ageyr; x7 ~ x4 + x1; x8 ~ x4 + x1"), "", ""),
    "factors": (Case(POLITICS, DEMOCRACY), "", ""),
    "factors and covariates": (Case(HS, FACTORS + "; visual + textual ~ ageyr; speed ~ visual"), "", ""),
    "second order": (Case(HS, FACTORS + "; g =~ visual + textual + speed; x1 ~ ageyr; sex ~ g"), "", ""),
    "two levels, factor": (Case(DEMO, within=FW, between=FB), "", ""),
    "two levels, mediation": (
        Case(DEMO, within="y1 ~ y2 + y3; y2 ~~ y3", between="y1 ~ y2 + y3; y2 + y3 ~ w1; y2 ~~ y3"),
        "",
        "",
    ),
    # lavaan takes their moments from the sample, at each level; we model them
    "exogenous at both levels": (
        BOTH,
        "within: y2 ~~ y2, within: y2 ~~ y3, within: y3 ~~ y3, between: y2 ~1, between: y3 ~1, "
        "between: y2 ~~ y2, between: y2 ~~ y3, between: y3 ~~ y3",
        "",
    ),
    # ours are independent of the covariates that the model conditions on
    "exogenous at both levels, fixed.x=FALSE": (
        replace(BOTH, fixed_x=False),
        "",
        "within: x1 ~1, within: x1 ~~ x1, within: x1 ~~ y2, within: x1 ~~ y3, "
        "between: w1 ~1, between: w1 ~~ w1, between: w1 ~~ y2, between: w1 ~~ y3",
    ),
    # residuals of the last outcomes covary: among factors and among observed variables with us, lavaan's all
    "last outcomes of both kinds": (
        Case(HS, "visual =~ x1 + x2 + x3; textual =~ x4 + x5 + x6; visual + textual + x7 + x8 ~ ageyr"),
        "",
        "visual ~~ x7, visual ~~ x8, textual ~~ x7, textual ~~ x8",
    ),
    # exogenous observed variables that are modelled: ours covary, with factors too, lavaan's where it is written
    "a factor and a modelled covariate": (
        Case(HS, "visual =~ x1 + x2 + x3; x4 ~ visual + ageyr; ageyr ~~ ageyr"),
        "ageyr ~~ visual",
        "",
    ),
    "covariances only": (Case(HS, "x1 ~~ x2; x2 ~~ x3"), "x1 ~~ x3", ""),
    # a label or a start before the first loading frees it with us; lavaan fixes it (at the start) unless there is NA
    "a label before the first loading": (Case(HS, "visual =~ l*x1 + x2 + x3; visual ~~ 1*visual"), "visual =~ x1", ""),
    "a start before the first loading": (
        Case(HS, "visual =~ start(0.7)*x1 + x2 + x3; visual ~~ 1*visual"),
        "visual =~ x1",
        "",
    ),
}


def run_r(script: str, *args) -> None:
    done = subprocess.run(["Rscript", SCRIPTS / script, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def write_case(folder: Path, data: Path, name: str, case: Case, fit: bool) -> None:
    """What fit.R reads."""
    frame = case.frame(pd.read_csv(data / f"{case.data}.csv"))
    frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.lav").write_text(case.lavaan_text)
    missing = "ml" if case.holes else "listwise"
    options = {"Cluster": "" if case.model else "cluster", "Missing": missing}
    options |= {"Group": case.group, "Fixed.x": "yes" if case.fixed_x else "no", "Fit": "yes" if fit else "no"}
    (folder / f"{name}.dcf").write_text("".join(f"{k}: {v}\n" for k, v in options.items()))


@dataclass(frozen=True)
class Answer:
    """A case with lavaan's answer: its parameter table, its covariances of the estimates, the line of fit.R."""

    case: Case
    frame: pd.DataFrame
    table: pd.DataFrame
    vcov: np.ndarray
    fit: pd.Series

    @classmethod
    def read(cls, folder: Path, name: str, case: Case) -> "Answer":
        table, vcov, fit = (pd.read_csv(folder / f"{name}.{end}.csv") for end in ("table", "vcov", "fit"))
        return cls(case, pd.read_csv(folder / f"{name}.csv"), table, vcov.to_numpy(), fit.iloc[0])

    @cached_property
    def design(self) -> xr.Dataset:
        return self.case.spec.design(self.frame)

    @cached_property
    def rows(self) -> dict[tuple, pd.Series]:
        """lavaan's rows by our keys."""
        return lavaan_rows(self.table)

    @cached_property
    def free(self) -> dict[object, list[tuple]]:
        """Free parameters by label, or key: the keys of the rows that each stands in."""
        found: dict[object, list[tuple]] = {}
        rows = {row.key: row for row in self.case.spec.table.rows}
        for key, theirs in self.rows.items():
            if theirs["free"] > 0:
                found.setdefault(rows[key].label or key, []).append(key)
        return found

    @cached_property
    def estimates(self) -> np.ndarray:
        return np.array([self.rows[same[0]]["est"] for same in self.free.values()])

    @cached_property
    def covariance(self) -> np.ndarray:
        """lavaan's covariances of the estimates."""
        places = [int(self.rows[same[0]]["free"]) - 1 for same in self.free.values()]
        return self.vcov[np.ix_(places, places)]

    @property
    def se(self) -> np.ndarray:
        return np.sqrt(np.diag(self.covariance))

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """The sum over clusters, or rows, for many values of the free parameters (draw, parameter)."""
        by_key = {key: x for same, x in zip(self.free.values(), values.T, strict=True) for key in same}
        return log_likelihood(self.case.spec, self.design, by_key)


def lavaan_rows(table: pd.DataFrame) -> dict[tuple, pd.Series]:
    """Rows of lavaan's table by our keys, without those of the moments of covariates."""
    out = {}
    for _, line in table.iterrows():
        if line["op"] in ("=~", "~", "~~", "~1") and not line["exo"]:
            rhs = "" if line["op"] == "~1" else line["rhs"]
            out[Row(level_of(line), line["lhs"], line["op"], rhs).key] = line
    return out


def level_of(line: pd.Series) -> str:
    return {1: "within", 2: "between"}[line["level"]] if "level" in line else ""


def log_likelihood(spec: SEM, design: xr.Dataset, by_key: Mapping[tuple, np.ndarray]) -> np.ndarray:
    """The sum over clusters, or rows, for values of the rows of the table (draw,); variances and covariances."""
    some = next(iter(by_key.values()))
    values = {row: by_key[row.key] if row.fixed is None else np.full_like(some, row.fixed) for row in spec.table.rows}
    each = spec.log_likelihood(posterior(spec, values), design, "cluster" if spec.cluster else "row")
    return each.sum(spec.cluster or "row").to_numpy()[0]


def posterior(spec: SEM, by_row: Mapping[Row, np.ndarray]) -> xr.Dataset:
    """The draws under the names of a posterior, as SDs and correlations."""
    s, found = spec.structure, {}
    for row, x in by_row.items():
        if row.fixed is None:
            variable = s.variable(row)
            if variable == "corr":
                x = x / np.sqrt(by_row[s.sd(row.level, row.lhs)] * by_row[s.sd(row.level, row.rhs)])
            found[variable, s.label(row)] = np.sqrt(x) if variable == "sd" else x
    out, coords = {}, {"chain": [0], "draw": np.arange(len(x))}
    for variable in VARIABLES:
        labels = s.elements(variable)
        if labels:
            out[variable] = (("chain", "draw", f"{variable}s"), np.stack([found[variable, e] for e in labels], 1)[None])
            coords[f"{variable}s"] = labels
    return xr.Dataset(out, coords)


def subtracted(table: pd.DataFrame, frame: pd.DataFrame) -> float:
    """log p(x) of the covariates at the moments in lavaan's table minus that at the moments of the sample, which it subtracts."""
    moments = table[table["exo"] == 1]
    rows = frame.dropna(subset=[v for v in moments["rhs"].dropna().unique()])
    total = 0.0
    for level in {level_of(line) for _, line in moments.iterrows()}:
        here = [line for _, line in moments.iterrows() if level_of(line) == level]
        mean = {line["lhs"]: line["est"] for line in here if line["op"] == "~1"}
        cov = {(line["lhs"], line["rhs"]): line["est"] for line in here if line["op"] == "~~"}
        x = (rows.groupby("cluster").first() if level == "between" else rows)[[*mean]].to_numpy()
        S = np.array([[cov.get((a, b), cov.get((b, a))) for b in mean] for a in mean])
        own = stats.multivariate_normal(x.mean(0), np.atleast_2d(np.cov(x.T, bias=True)))
        total += (stats.multivariate_normal([*mean.values()], S).logpdf(x) - own.logpdf(x)).sum()
    return total


def gradient(f: Callable, at: np.ndarray, se: np.ndarray, step: float = 0.01) -> np.ndarray:
    """Derivatives times standard errors, by central differences of fourth order; f takes points (point, parameter)."""
    shift = np.array([2, 1, -1, -2])[:, None, None] * step * np.diag(se)
    values = f((at + shift).reshape(-1, len(se))).reshape(4, -1)
    return np.array([-1, 8, -8, 1]) @ values / (12 * step)


def hessian(f: Callable, at: np.ndarray, se: np.ndarray, step: float = 0.01) -> np.ndarray:
    """Second derivatives in units of standard errors."""
    k = len(se)
    i, j = np.tril_indices(k)
    unit = np.diag(step * se)
    points = np.stack([at + a * unit[i] + b * unit[j] for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))])
    H = np.zeros((k, k))
    H[i, j] = H[j, i] = np.array([1, -1, -1, 1]) @ f(points.reshape(-1, k)).reshape(4, -1) / (4 * step**2)
    return H


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A temporary folder with lavaan's data sets in `data`."""
    folder = tmp_path_factory.mktemp("lavaan")
    (folder / "data").mkdir()
    run_r("data.R", folder / "data", HS, DEMO, POLITICS)
    return folder


def run_cases(folder: Path, cases: Mapping[str, Case], fit: bool = True) -> Path:
    """lavaan's answers to cases, in a folder of their own."""
    here = folder / f"cases{len([*folder.iterdir()])}"
    here.mkdir()
    for name, case in cases.items():
        write_case(here, folder / "data", name, case, fit)
    run_r("fit.R", here)
    return here


@pytest.fixture(scope="module")
def answers(folder) -> dict[str, Answer]:
    """All cases, fitted by lavaan."""
    here = run_cases(folder, CASES)
    return {name: Answer.read(here, name, case) for name, case in CASES.items()}


@pytest.fixture(params=list(CASES))
def answer(request, answers) -> Answer:
    return answers[request.param]


def test_rows_and_parameters_are_the_same(answer):
    """The same rows of the data; the same parameters are free; the others have the same values."""
    assert answer.fit["converged"]
    assert answer.design.sizes["row"] == answer.fit["rows"]
    assert len(answer.free) == answer.fit["parameters"]
    ours = {row.key: row for row in answer.case.spec.table.rows}
    for key, row in ours.items():
        theirs = answer.rows[key]
        assert (theirs["free"] == 0) == (row.fixed is not None), key
        assert row.fixed is None or row.fixed == theirs["est"], key
    for key, theirs in answer.rows.items():
        assert key in ours or (theirs["free"] == 0 and theirs["est"] == 0), key


def test_log_likelihood_is_the_same(answer):
    ours = answer.log_likelihood(answer.estimates[None])[0]
    slip = subtracted(answer.table, answer.frame)
    two_level_missing = answer.case.within and answer.case.holes
    assert abs(slip) < (1e-3 if two_level_missing else 1e-8)
    assert ours + slip == pytest.approx(answer.fit["log_likelihood"], abs=1e-4)


def test_gradient_is_zero(answer):
    """A step of one standard error from the maximum costs 0.5: a slope of 0.01 a standard error is nothing."""
    np.testing.assert_allclose(gradient(answer.log_likelihood, answer.estimates, answer.se), 0, atol=1e-2)


def test_curvature_is_that_of_lavaan(answer):
    """Standard errors and correlations of the estimates."""
    found = np.linalg.inv(-hessian(answer.log_likelihood, answer.estimates, answer.se))
    np.testing.assert_allclose(found, answer.covariance / np.outer(answer.se, answer.se), atol=1e-3)


def test_moderated_path_is_a_model_of_two_groups(folder):
    """A product of a treatment and a latent mean: our coefficients are differences of those of lavaan's groups."""
    here = run_cases(folder, {"moderated": MODERATED})
    answer = Answer.read(here, "moderated", MODERATED)
    lines = answer.table[answer.table["free"] > 0].drop_duplicates("label").set_index("label")
    assert len(lines) == answer.fit["parameters"]
    spec = MODERATED.spec

    def f(values):
        x = dict(zip(lines.index, values.T, strict=True))
        x |= {v: x[f"{v}2"] - x[f"{v}1"] for v in "bcik"}
        return log_likelihood(spec, answer.design, {row.key: x[row.label] for row in spec.table.rows})

    at, se = lines["est"].to_numpy(), lines["se"].to_numpy()
    assert f(at[None])[0] == pytest.approx(answer.fit["log_likelihood"], abs=1e-4)
    np.testing.assert_allclose(gradient(f, at, se), 0, atol=1e-2)
    places = lines["free"].to_numpy(int) - 1
    covariance = answer.vcov[np.ix_(places, places)] / np.outer(se, se)
    np.testing.assert_allclose(np.linalg.inv(-hessian(f, at, se)), covariance, atol=1e-3)


def test_defaults_differ_where_they_are_said_to(folder):
    """Free parameters by the rules for what is not written, ours (Mplus's in places) and those of lavaan's sem()."""
    here = run_cases(folder, {name: case for name, (case, _, _) in DEFAULTS.items()}, fit=False)
    for name, (case, *only) in DEFAULTS.items():
        ours = {row.key for row in parameter_table(**case.texts).rows if row.fixed is None}
        lines = lavaan_rows(pd.read_csv(here / f"{name}.table.csv"))
        theirs = {key for key, line in lines.items() if line["free"] > 0}
        found = [{name_of(key) for key in keys} for keys in (ours - theirs, theirs - ours)]
        assert found == [{*text.split(", ")} - {""} for text in only], name


def name_of(key: tuple) -> str:
    """A row's name from its key: covariances in alphabetical order."""
    level, op, *names = key
    lhs, rhs = names if len(names) == 2 else (*names, "")
    return Row(level, lhs, op, rhs).name
