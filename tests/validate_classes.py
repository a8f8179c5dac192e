"""Latent classes that are there, that are close, and that are not: coverage, and what is said of them.

Data by NumPy from the equations. Two classes of clusters, or of individuals, with different effects; classes too close to be
told apart; one population with heavy tails or a skewed residual, in which a mixture finds classes all the same.

    python tests/validate_classes.py [STUDY ...] [--replications N]

Without names of studies it writes docs/validation-classes.md. Results are kept in out/classes/, a file a study; data sets that
are there already are not fitted again.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

import bayeshte as bh

ROOT = Path(__file__).parents[1]
ROLES = dict(outcome="y", treatment="arm", reference="control")
CLUSTERS = bh.EffectMixture(**ROLES, cluster="school")
PERSONS = bh.EffectMixture(**ROLES, class_of="individual", intercept_varies=False)
SEED, SHARE = 340, 0.4  # the share of the second class
DRAWS, TUNE = 1000, 500
COVERAGE = ("clusters", "individuals")  # studies of coverage


@dataclass(frozen=True)
class Study:
    """Two classes of `units` clusters of 20, or of single rows: their intercepts, effects, and what the model is."""

    about: str
    spec: bh.EffectMixture
    units: int
    intercepts: tuple[float, float]
    effects: tuple[float, float]

    def data(self, rng: np.random.Generator) -> pd.DataFrame:
        """Residual SD 1; intercepts of clusters with SD 0.3 within their class."""
        clusters = self.spec.class_of == "cluster"
        size = 20 if clusters else 1
        label = (rng.random(self.units) < SHARE).astype(int)
        u = 0.3 * clusters * rng.standard_normal(self.units)
        unit = np.repeat(np.arange(self.units), size)
        T, c = rng.integers(0, 2, len(unit)), label[unit]
        eta = np.array(self.intercepts)[c] + u[unit] + np.array(self.effects)[c] * T
        y = eta + rng.standard_normal(len(unit))
        return pd.DataFrame({"y": y, "arm": np.where(T == 1, "treated", "control"), "school": unit})

    @property
    def truth(self) -> dict[tuple[str, str], float]:
        """True values by estimand and contrast, as `bh.effects` names them."""
        what = "treated vs control"
        new = "ATE, new cluster" if self.spec.class_of == "cluster" else "ATE, population"
        (a, b), average = self.effects, (1 - SHARE) * self.effects[0] + SHARE * self.effects[1]
        spread = np.sqrt(SHARE * (1 - SHARE)) * abs(b - a)
        values = {("class effect", "class 1"): a, ("class effect", "class 2"): b, ("SD of class effects", ""): spread}
        values |= {("class size", "class 1"): 1 - SHARE, ("class size", "class 2"): SHARE}
        return values | {(new, what): average}


STUDIES = {
    "clusters": Study(
        "50 clusters of 20, class effects 0 and 0.8 residual SDs, intercepts 0 and 1.5, SD of intercepts within classes 0.3",
        *(CLUSTERS, 50, (0.0, 1.5), (0.0, 0.8)),
    ),
    "individuals": Study(
        "2,000 rows, class means 3 residual SDs apart, effects 0 and 1",
        *(PERSONS, 2000, (0.0, 3.0), (0.0, 1.0)),
    ),
    "close clusters": Study(
        "50 clusters of 20, the same intercept in both classes, effects 0 and 0.4, SD of intercepts 0.3",
        *(CLUSTERS, 50, (0.0, 0.0), (0.0, 0.4)),
    ),
    "close individuals": Study(
        "2,000 rows, class means 1 residual SD apart, effects 0 and 0.5",
        *(PERSONS, 2000, (0.0, 1.0), (0.0, 0.5)),
    ),
}


@dataclass(frozen=True)
class OnePopulation:
    """One population whose residual is not normal, in which two classes of individuals are looked for."""

    about: str
    residual: Callable[[np.random.Generator, int], np.ndarray]

    def data(self, rng: np.random.Generator) -> pd.DataFrame:
        """400 rows, effect 0.5."""
        T = rng.integers(0, 2, 400)
        y = 0.5 * T + self.residual(rng, 400)
        return pd.DataFrame({"y": y, "arm": np.where(T == 1, "treated", "control"), "school": np.arange(400)})


FALSE = {
    "heavy tails": OnePopulation("t residuals with 4 degrees of freedom", lambda rng, n: rng.standard_t(4, n)),
    "skewed": OnePopulation("gamma residuals with shape 4, skewness 1", lambda rng, n: rng.gamma(4, 0.5, n)),
}


def found(study: Study, seed: tuple[int, ...]) -> pd.DataFrame:
    """A row an estimand of one data set: ``truth, estimate, lower, upper``, and what the checks say."""
    data = study.data(np.random.default_rng(seed))
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        fit = bh.fit(study.spec, data, draws=DRAWS, tune=TUNE, seed=seed[1], cores=1, progress=False)
    seconds = time.perf_counter() - begin
    table = bh.effects(fit)
    check = bh.class_check(fit, rivals=False)
    said = {c.name: c.ok for c in check.checks}
    rows = []
    for (estimand, contrast), truth in study.truth.items():
        own = table[(table["estimand"] == estimand) & table["contrast"].str.contains(contrast, regex=False)]
        (r,) = own.itertuples()
        row = {"estimand": estimand, "contrast": contrast, "truth": truth}
        rows.append(row | {"estimate": r.estimate, "sd": r.posterior_sd, "lower": r.lower, "upper": r.upper})
    entropy = float(table.loc[table["estimand"] == "entropy", "estimate"].iloc[0])
    return pd.DataFrame(rows).assign(
        converged=fit.diagnosis.ok, **said, entropy=entropy, checked=check.ok, seconds=seconds
    )


def unmasked(study: OnePopulation, seed: tuple[int, ...]) -> pd.DataFrame:
    """What comparing two classes with one says of a data set: the best rival, its lead, and what the checks say."""
    data = study.data(np.random.default_rng(seed))
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        fit = bh.fit(PERSONS, data, draws=DRAWS, tune=TUNE, seed=seed[1], cores=1, progress=False)
        rivals = bh.class_rivals(fit)
    check = bh.class_check(fit)
    said = {c.name: c.ok for c in check.checks}
    lead, se = rivals.difference
    row = {"rival": rivals.rival, "wins": not rivals.ok, "lead": -lead, "se": se, "sentence": rivals.sentence}
    row |= said | {"converged": fit.diagnosis.ok, "seconds": time.perf_counter() - begin}
    return pd.DataFrame([row])


def kept(name: str, replications: int, make: Callable[[int], pd.DataFrame]) -> pd.DataFrame:
    """Results of every data set of a study; those that are there already are read."""
    path = ROOT / "out" / "classes" / f"{name.replace(' ', '-')}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        pd.DataFrame({"replication": []}).to_csv(path, index=False)
    table = pd.read_csv(path, keep_default_na=False)
    for k in sorted(set(range(replications)) - set(table["replication"].astype(int))):
        table = pd.concat([table, make(k).assign(replication=k)], ignore_index=True)
        table.to_csv(path, index=False)
        print(f"{name}: {k + 1} of {replications}", flush=True)
    return pd.read_csv(path, keep_default_na=False)


def share(values: pd.Series) -> str:
    """A share with its 95 % interval (Wilson, 1927)."""
    found = stats.binomtest(int(values.sum()), len(values))
    ends = found.proportion_ci(method="wilson")
    return f"{found.statistic:.0%} [{ends.low:.0%}, {ends.high:.0%}]"


def coverage(table: pd.DataFrame) -> list[str]:
    """Rows of the page: by estimand, intervals that hold the truth, and bias."""
    covered = table["lower"].le(table["truth"]) & table["upper"].ge(table["truth"])
    table = table.assign(covered=covered, error=table["estimate"] - table["truth"])
    rows = ["| estimand | truth | 95 % intervals that hold it | bias ± standard error |", "|---|---|---|---|"]
    for (estimand, contrast), part in table.groupby(["estimand", "contrast"], sort=False):
        error = part["error"].std() / np.sqrt(len(part))
        rows.append(
            f"| {estimand} {contrast} | {part['truth'].iloc[0]:.2f} | {share(part['covered'])} "
            f"| {part['error'].mean():+.3f} ± {error:.3f} |"
        )
    return rows


def said(table: pd.DataFrame) -> list[str]:
    """Rows of the page: what `bh.class_check`, without rivals, and the diagnosis say of each study."""
    rows = [
        "| data sets | found | not converged | modes differ | a class is empty | not separable |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in table.groupby("study", sort=False):
        one = part.drop_duplicates("replication")
        found = one["checked"] & one["converged"]
        wrong = [share(~one[c]) for c in ("converged", "modes", "empty classes", "separable classes")]
        rows.append(f"| {name} | {' | '.join([share(found), *wrong])} |")
    return rows


def page(results: dict[str, pd.DataFrame]) -> str:
    """docs/validation-classes.md."""
    real = {k: v for k, v in results.items() if k in STUDIES}
    parts = [f"## {STUDIES[k].about}\n\n" + "\n".join(coverage(real[k])) for k in COVERAGE if k in real]
    told = pd.concat([v.assign(study=k) for k, v in real.items()], ignore_index=True)
    settings = "\n".join(f"- {k}, {v['replication'].nunique()} data sets: {STUDIES[k].about}" for k, v in real.items())
    rows = [
        "| residual | one class wins | by more than two SE | best of one class | lead in elpd, median |",
        "|---|---|---|---|---|",
    ]
    for name in (k for k in results if k in FALSE):
        t = results[name]
        best = ", ".join(f"{r.removeprefix('one class, ')} {n}" for r, n in t["rival"].value_counts().items())
        clear = t["wins"] & (t["lead"] > 2 * t["se"])
        rows.append(
            f"| {FALSE[name].about} | {share(t['wins'])} | {share(clear)} | {best} | {t['lead'].median():.1f} |"
        )
    both = pd.concat([results[k] for k in FALSE if k in results], ignore_index=True)
    return f"""# Latent classes: found, too close, and false

Made by `python tests/validate_classes.py`: data by NumPy, two classes of which the second holds {SHARE:.0%} of the population,
residual SD 1, default priors, 4 x {DRAWS} draws after {TUNE}. Shares have 95 % intervals of a binomial proportion. All data sets
are counted.

{(chr(10) * 2).join(parts)}

## What is said of them

Classes are said to be found if the fit converged and `bh.class_check(fit, rivals=False)` finds nothing against them.

{settings}

{chr(10).join(said(told))}

## False classes unmasked

One population, {len(both) // 2} data sets of each kind, 400 rows, effect 0.5, fitted with two classes of individuals and
compared with one class by leaving out rows (`bh.class_rivals`): normal, Student t, skew normal.

{chr(10).join(rows)}

One class wins in {share(both["wins"])} of all. Without the rivals `bh.class_check` finds nothing against two classes in
{share(both["modes"] & both["empty classes"] & both["separable classes"])}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", help=", ".join([*STUDIES, *FALSE]))
    parser.add_argument("--replications", type=int, help="100 for coverage, else 50")
    options = parser.parse_args()
    results = {}
    for k, (name, study) in enumerate((STUDIES | FALSE).items()):
        if not options.studies or name in options.studies:
            make = found if name in STUDIES else unmasked
            replications = options.replications or (100 if name in COVERAGE else 50)
            results[name] = kept(name, replications, lambda r, k=k, study=study, make=make: make(study, (SEED + k, r)))
    if len(results) == len(STUDIES | FALSE):
        text = page(results)
        (ROOT / "docs" / "validation-classes.md").write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
