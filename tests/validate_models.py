"""The models that tests/validate.py calibrates, each with the data that set its persons, arms, clusters and covariates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

import bayeshte as bh


@dataclass(frozen=True)
class Scenario:
    """A model, the data that give it persons, arms, clusters and covariates, and a line that says what it covers."""

    covers: str
    spec: bh.ModelSpec
    data: Callable[[], pd.DataFrame]


def trial(
    arms: tuple[str, ...] = ("control", "treated"), low: int = 3, high: int = 25, clusters: int = 30
) -> pd.DataFrame:
    """Unbalanced clusters; the first has one arm, the second another; x varies within and between clusters, z between."""
    rng = np.random.default_rng(1)
    n = rng.integers(low, high + 1, clusters)
    school = np.repeat([f"s{k}" for k in range(clusters)], n)
    arm = rng.choice(arms, len(school))
    arm[school == "s0"], arm[school == "s1"] = arms[0], arms[-1]
    x = 0.7 * rng.normal(size=len(school)) + 0.7 * np.repeat(rng.normal(size=clusters), n)
    z = np.repeat(rng.normal(size=clusters), n)
    outcomes = {
        "y": rng.normal(size=len(school)),
        "passed": rng.integers(0, 2, len(school)),
        "errors": rng.poisson(2, len(school)),
        "grade": rng.integers(0, 4, len(school)),
    }
    return pd.DataFrame({"arm": arm, "school": school, "x": x, "z": z} | outcomes)


def studies() -> pd.DataFrame:
    """24 studies with standard errors between 0.1 and 0.6 and a study-level covariate."""
    rng = np.random.default_rng(2)
    se = rng.uniform(0.1, 0.6, 24)
    return pd.DataFrame(
        {"d": rng.normal(size=24), "se": se, "x": rng.normal(size=24), "study": [f"s{k}" for k in range(24)]}
    )


def students(clusters: int = 24, missing: float = 0.0, low: int = 4, high: int = 8) -> pd.DataFrame:
    """Schools of `low` to `high`, half of them treated; covariates of persons (t, x), of schools (treat, z); what is replaced."""
    rng = np.random.default_rng(3)
    n = rng.integers(low, high + 1, clusters)
    j = np.repeat(np.arange(clusters), n)
    data = {"school": [f"s{k}" for k in j], "treat": j % 2, "t": rng.integers(0, 2, len(j))}
    data |= {"x": rng.normal(size=len(j)), "z": rng.normal(size=clusters)[j]}
    variables = {v: rng.normal(size=len(j)) for v in ("m1", "m2", "m3", "y")} | {"v": rng.normal(size=clusters)[j]}
    gaps = {v: rng.random(len(j)) < missing for v in ("m1", "y")} | {"v": (rng.random(clusters) < missing)[j]}
    return pd.DataFrame(data | variables).mask(
        pd.DataFrame(gaps).reindex(columns=[*data, *variables], fill_value=False)
    )


def pupils(clusters: int = 24) -> pd.DataFrame:
    """`students` with a sixth of the values missing, y in two categories and g in three."""
    data = students(clusters, missing=1 / 6)
    middle = pd.cut(data["m2"], [-np.inf, -0.5, 0.5, np.inf], labels=["low", "middle", "high"])
    return data.assign(y=(data["y"] > 0).astype(float).where(data["y"].notna()), g=middle)


def answers(missing: float = 0.2) -> pd.DataFrame:
    """50 persons in two arms, 12 items, a fifth of the answers missing; a covariate of persons; the answers are replaced."""
    rng = np.random.default_rng(4)
    person, item = np.indices((50, 12)).reshape(2, -1)
    data = {"person": person, "item": [f"i{k}" for k in item], "arm": np.array(["control", "treated"])[person % 2]}
    data = pd.DataFrame(data | {"x": rng.normal(size=50)[person], "right": rng.integers(0, 2, len(person))})
    return data[rng.random(len(data)) >= missing].reset_index(drop=True)


def twice() -> pd.DataFrame:
    """`answers` on two occasions, before and after."""
    data = answers(missing=0.0)
    both = pd.concat([data.assign(wave=k) for k in (0, 1)], ignore_index=True)
    rng = np.random.default_rng(6)
    both["right"] = rng.integers(0, 2, len(both))
    return both[rng.random(len(both)) >= 0.2].reset_index(drop=True)


def persons() -> pd.DataFrame:
    """200 persons in two arms."""
    rng = np.random.default_rng(5)
    return pd.DataFrame({"y": rng.normal(size=200), "arm": rng.choice(["control", "treated"], 200)})


COEFFICIENTS = {"gamma0": bh.Normal(0, 2), "gamma1": bh.Normal(0, 1)}
TERMS = {"gamma2": bh.Normal(0, 0.5), "gamma3": bh.Normal(0, 0.5)}
RISKS = {"gamma0": bh.Normal(0, 0.8), "gamma1": bh.Normal(0, 0.8)}
SPREAD = {"sd": bh.HalfNormal(0.8), "corr": bh.LKJ(2)}
ROLES = {"outcome": "y", "treatment": "arm", "reference": "control", "cluster": "school"}
THREE = ("control", "low", "high")

SCENARIOS = {
    "intercept and slope": Scenario(
        "random intercept and slope, cross-level and person-level moderators, one-armed clusters",
        bh.RandomSlope(
            **ROLES, moderators="x + z", priors=COEFFICIENTS | TERMS | SPREAD | {"sigma": bh.HalfNormal(1.5)}
        ),
        trial,
    ),
    "three arms": Scenario(
        "three arms, all varying (3 x 3 correlations), a residual SD for every arm",
        bh.RandomSlope(**ROLES, sigma_by_arm=True, priors=COEFFICIENTS | SPREAD | {"sigma": bh.HalfNormal(1.5)}),
        lambda: trial(THREE, 6, 30),
    ),
    "known standard errors": Scenario(
        "meta-analysis with a study-level covariate",
        bh.RandomSlope(
            outcome="d",
            cluster="study",
            covariates="x",
            standard_error="se",
            priors={"gamma0": bh.Normal(0, 1), "gamma2": bh.Normal(0, 0.5), "sd": bh.HalfNormal(0.5)},
        ),
        studies,
    ),
    "other priors": Scenario(
        "priors of other kinds (Student t, uniform, gamma, log-normal), a covariate with a random slope, one arm varying",
        bh.RandomSlope(
            **ROLES,
            varying="high",
            slopes="x",
            priors={
                "gamma0": bh.StudentT(5, 0, 1.5),
                "gamma1": bh.Uniform(-2, 2),
                "gamma2": bh.Normal(0, 0.5),
                "sd": bh.Gamma(2, 3),
                "sigma": bh.LogNormal(0, 0.4),
                "corr": bh.LKJ(1),
            },
        ),
        lambda: trial(THREE, 4, 20),
    ),
    "logit": Scenario(
        "binary outcome",
        bh.RandomSlope(**ROLES | {"outcome": "passed"}, moderators="x", family="logit", priors=RISKS | TERMS | SPREAD),
        lambda: trial(low=5, high=40),
    ),
    "probit": Scenario(
        "binary outcome",
        bh.RandomSlope(**ROLES | {"outcome": "passed"}, moderators="x", family="probit", priors=RISKS | TERMS | SPREAD),
        lambda: trial(low=5, high=40),
    ),
    "poisson": Scenario(
        "counts",
        bh.RandomSlope(
            **ROLES | {"outcome": "errors"},
            moderators="x",
            family="poisson",
            priors=TERMS
            | SPREAD
            | {"gamma0": bh.Normal(1, 0.5), "gamma1": bh.Normal(0, 0.5), "sd": bh.HalfNormal(0.5)},
        ),
        trial,
    ),
    "student": Scenario(
        "heavy-tailed residuals",
        bh.RandomSlope(
            **ROLES,
            moderators="x",
            family="student",
            priors=COEFFICIENTS | TERMS | SPREAD | {"sigma": bh.Gamma(4, 4), "nu": bh.Gamma(2, 0.2)},
        ),
        trial,
    ),
    "skew normal": Scenario(
        "skewed residuals",
        bh.RandomSlope(
            **ROLES,
            moderators="x",
            family="skew normal",
            priors=COEFFICIENTS | TERMS | SPREAD | {"sigma": bh.Gamma(4, 4), "alpha": bh.Normal(0, 4)},
        ),
        trial,
    ),
    "negative binomial": Scenario(
        "overdispersed counts",
        bh.RandomSlope(
            **ROLES | {"outcome": "errors"},
            moderators="x",
            family="negative binomial",
            priors=TERMS
            | {
                "gamma0": bh.Normal(1, 0.5),
                "gamma1": bh.Normal(0, 0.5),
                "sd": bh.HalfNormal(0.5),
                "phi": bh.Gamma(3, 1),
            },
        ),
        trial,
    ),
    "ordered logit": Scenario(
        "ordered categories",
        bh.RandomSlope(
            **ROLES | {"outcome": "grade"},
            moderators="x",
            family="ordered logit",
            priors=RISKS | TERMS | SPREAD | {"width": bh.Gamma(4, 4)},
        ),
        lambda: trial(low=5, high=40),
    ),
    "path model": Scenario(
        "one level, three mediators whose residuals covary in a chain: a prior that is cut to positive definite matrices",
        bh.SEM(
            model="m1 ~ a1*t + x; m2 ~ a2*t; m3 ~ t; y ~ b1*m1 + b2*m2 + m3 + c*t; m1 ~~ m2; m2 ~~ m3",
            derived={"indirect": "a1*b1 + a2*b2"},
            priors={"path": bh.Normal(0, 0.5), "intercept": bh.Normal(0, 1), "sd": bh.HalfNormal(1)},
        ),
        lambda: students(clusters=16),
    ),
    "two-level mediation": Scenario(
        "latent cluster means, a variable of clusters, an effect of treatment through both; a sixth of all values is missing",
        bh.SEM(
            cluster="school",
            within="y ~ w*m1 + x; m1 ~ x",
            between="y ~ b*m1 + k*v + c*treat; m1 ~ a*treat; v ~ d*treat",
            derived={"indirect": "a*b + d*k", "contextual": "b - w"},
            priors={"path": bh.Normal(0, 0.7), "intercept": bh.Normal(0, 1), "sd": bh.HalfNormal(1)},
        ),
        lambda: students(missing=1 / 6),
    ),
    "random slope": Scenario(
        "a slope on a predictor that is centred at its latent cluster mean, explained by a variable of clusters; intercept and "
        "slope covary",
        bh.SEM(
            cluster="school",
            within="s | y ~ m1",
            between="y ~ b*m1 + z; s ~ g*z; m1 ~ z; y ~~ s",
            priors={
                **{"path": bh.Normal(0, 0.7), "intercept": bh.Normal(0, 1), "sd": bh.Gamma(8, 8)},
                **{"sd[between: s]": bh.Gamma(3, 8), "corr[between: y, s]": bh.LKJ(2)},
            },
        ),
        lambda: students(clusters=20, low=10, high=15),
    ),
    "factors": Scenario(
        "a factor with three indicators on each of two levels, explained by a person's and a cluster's covariate",
        bh.SEM(
            cluster="school",
            within="f =~ m1 + m2 + m3; f ~ x",
            between="g =~ m1 + m2 + m3; g ~ treat",
            priors={
                **{"path": bh.Normal(0, 0.7), "intercept": bh.Normal(0, 1), "loading": bh.Normal(1, 0.3)},
                **{"sd": bh.Gamma(4, 6), "sd[within: f]": bh.Gamma(8, 8), "sd[between: g]": bh.Gamma(8, 8)},
            },
        ),
        lambda: students(clusters=30),
    ),
    "binary mediation": Scenario(
        "two levels: a predictor and a mediator split into latent parts, a binary outcome whose latent response is split too; "
        "a sixth of the mediators and outcomes is missing",
        bh.SEM(
            cluster="school",
            within="m1 ~ a*x; y ~ b*m1 + x",
            between="m1 ~ c*x; y ~ d*m1",
            categorical=["y"],
            derived={"within": "a*b", "between": "c*d"},
            priors={
                **{"path": bh.Normal(0, 0.7), "intercept": bh.Normal(0, 1), "sd": bh.Gamma(8, 8)},
                "threshold": bh.Normal(0, 0.7),
            },
        ),
        pupils,
    ),
    "ordinal outcome": Scenario(
        "one level: a mediator, an outcome in three ordered categories; a sixth of the mediators is missing",
        bh.SEM(
            model="m1 ~ a*x + t; g ~ b*m1 + c*t",
            categorical=["g"],
            derived={"indirect": "a*b"},
            priors={
                **{"path": bh.Normal(0, 0.7), "intercept": bh.Normal(0, 1), "sd": bh.HalfNormal(1)},
                "threshold": bh.Normal(0, 1),
            },
        ),
        lambda: pupils(clusters=80),
    ),
    "classes of clusters": Scenario(
        "two latent classes of clusters, numbered by their intercepts, random intercepts within them; what does not depend on "
        "the numbering as well: average and SD of effects, entropy, likelihood",
        bh.EffectMixture(
            **ROLES,
            order="gamma0",
            priors=COEFFICIENTS | {"sd": bh.HalfNormal(0.4), "sigma": bh.LogNormal(0, 0.3), "pi": bh.Dirichlet(3)},
        ),
        lambda: trial(low=8, high=14),
    ),
    "classes of individuals": Scenario(
        "two latent classes of single persons, numbered by their intercepts",
        bh.EffectMixture(
            outcome="y",
            treatment="arm",
            reference="control",
            class_of="individual",
            intercept_varies=False,
            order="gamma0",
            priors=COEFFICIENTS | {"sigma": bh.LogNormal(0, 0.3), "pi": bh.Dirichlet(3)},
        ),
        persons,
    ),
    "classes of clusters, binary": Scenario(
        "two latent classes of clusters with a binary outcome, numbered by their intercepts; random intercepts within them are "
        "integrated by quadrature and drawn back",
        bh.EffectMixture(
            **ROLES | {"outcome": "passed"},
            family="logit",
            order="gamma0",
            priors=COEFFICIENTS | {"sd": bh.HalfNormal(0.6), "pi": bh.Dirichlet(3)},
        ),
        lambda: trial(low=15, high=25),
    ),
    "classes of individuals, varying effects": Scenario(
        "two latent classes of persons, numbered by their intercepts, beside intercepts and effects that vary between clusters, "
        "alike in both",
        bh.EffectMixture(
            **ROLES,
            class_of="individual",
            varying="treated",
            shared=("u",),
            order="gamma0",
            priors=COEFFICIENTS | SPREAD | {"sigma": bh.LogNormal(0, 0.3), "pi": bh.Dirichlet(3)},
        ),
        lambda: trial(low=8, high=14),
    ),
    "classes of individuals, clusters": Scenario(
        "two latent classes of persons, numbered by their intercepts; clusters differ in the intercepts of each class and in the "
        "shares of the classes",
        bh.EffectMixture(
            **ROLES,
            class_of="individual",
            membership_varies=True,
            order="gamma0",
            priors=COEFFICIENTS
            | {"sd": bh.HalfNormal(0.4), "sigma": bh.LogNormal(0, 0.3), "alpha": bh.Normal(0, 0.7)}
            | {"sd_membership": bh.HalfNormal(1)},
        ),
        lambda: trial(low=8, high=14),
    ),
    "item effects": Scenario(
        "binary responses: effects that vary over items and with a covariate of persons",
        bh.ItemResponse(
            person="person",
            item="item",
            response="right",
            treatment="arm",
            reference="control",
            moderators="x",
            priors={
                **{v: bh.Normal(0, 0.7) for v in ("beta0", "beta1", "beta2", "beta3")},
                **{"sigma_theta": bh.HalfNormal(1), "sigma_b": bh.HalfNormal(1), "sigma_zeta": bh.HalfNormal(0.7)},
                "rho": bh.LKJ(2),
            },
        ),
        answers,
    ),
    "item effects, before and after": Scenario(
        "binary responses on two occasions: effects and drift that vary over items, two abilities of every person",
        bh.ItemResponse(
            person="person",
            item="item",
            response="right",
            treatment="arm",
            reference="control",
            occasion="wave",
            priors={
                **{v: bh.Normal(0, 0.7) for v in ("beta0", "beta_time", "beta1")},
                **{"sigma_theta": bh.HalfNormal(1), "sigma_b": bh.HalfNormal(1), "sigma_zeta": bh.HalfNormal(0.7)},
                **{"sigma_drift": bh.HalfNormal(0.7), "rho": bh.LKJ(2), "rho_theta": bh.LKJ(2)},
            },
        ),
        twice,
    ),
}
