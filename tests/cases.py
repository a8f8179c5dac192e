"""Small data and one specification for every variant of every family: what the contract suite runs over."""

import numpy as np
import pandas as pd
from pytensor.compile.mode import Mode

import bayeshte as bh

#: PyTensor graphs evaluated in plain Python: compiled in under a second, fast enough for a few hundred evaluations.
EVALUATE = Mode(linker="py", optimizer="fast_compile")


def frame(seed: int = 0, clusters: int = 12) -> pd.DataFrame:
    """Unbalanced clusters, three arms, one cluster without the reference arm, covariates at both levels."""
    rng = np.random.default_rng(seed)
    n = rng.integers(4, 15, clusters)
    school = np.repeat([f"s{k}" for k in range(clusters)], n)
    N = len(school)
    arm = rng.choice(["control", "low", "high"], N)
    arm[school == "s3"] = "high"
    x, z = rng.normal(3, 2, N), np.repeat(rng.normal(size=clusters), n)
    u = np.repeat(rng.normal(size=(clusters, 2)), n, axis=0)
    y = (
        10
        + 2 * u[:, 0]
        + (arm == "high") * (3 + 1.5 * u[:, 1])
        + (arm == "low")
        + 0.7 * x
        + 0.5 * z
        + rng.normal(0, 2, N)
    )
    p = 1 / (1 + np.exp(-(y - y.mean()) / 4))
    return pd.DataFrame(
        {
            "y": y,
            "arm": arm,
            "school": school,
            "x": x,
            "z": z,
            "sex": rng.choice(["f", "m"], N),
            "passed": rng.binomial(1, p),
            "errors": rng.poisson(np.exp((12 - y) / 10)),
            "grade": pd.cut(y, [-np.inf, 9, 12, 15, np.inf], labels=["poor", "fair", "good", "excellent"]),
            "se": rng.uniform(1, 3, N),
        },
        index=[f"row {k}" for k in range(N)],
    )


BASE = dict(outcome="y", treatment="arm", reference="control", cluster="school")
SPECS = {
    "slope and intercept": bh.RandomSlope(**BASE, varying="high"),
    "all arms vary": bh.RandomSlope(**BASE),
    "moderated": bh.RandomSlope(**BASE, covariates="z", moderators="x + sex", varying="high"),
    "smooth": bh.RandomSlope(**BASE, moderators="bs(x, df=4)", varying="high"),
    "slopes": bh.RandomSlope(**BASE, covariates="x", slopes="x", varying="high"),
    "split": bh.RandomSlope(**BASE, within_between=("x",), varying="high"),
    "intercept only": bh.RandomSlope(**BASE, varying=()),
    "partially nested": bh.RandomSlope(**BASE, varying="high", intercept_varies=False),
    "no clusters": bh.RandomSlope(**BASE | {"cluster": None}, covariates="x"),
    "no treatment": bh.RandomSlope(outcome="y", cluster="school", covariates="x*z", slopes="x"),
    "sigma by arm": bh.RandomSlope(**BASE, varying="high", sigma_by_arm=True),
    "known errors": bh.RandomSlope(**BASE, varying="high", standard_error="se"),
    "mplus": bh.RandomSlope(**BASE, varying="high", priors="mplus"),
    "student": bh.RandomSlope(**BASE, varying="high", family="student"),
    "skew normal": bh.RandomSlope(**BASE, varying="high", moderators="x", family="skew normal"),
    "skew normal, no clusters": bh.RandomSlope(**BASE | {"cluster": None}, family="skew normal"),
    "logit": bh.RandomSlope(**BASE | {"outcome": "passed"}, varying="high", covariates="x", family="logit"),
    "probit": bh.RandomSlope(**BASE | {"outcome": "passed"}, moderators="sex", varying=(), family="probit"),
    "poisson": bh.RandomSlope(**BASE | {"outcome": "errors"}, covariates="x", slopes="x", varying=(), family="poisson"),
    "negative binomial": bh.RandomSlope(
        **BASE | {"outcome": "errors"}, varying="high", covariates="x", family="negative binomial"
    ),
    "ordered logit": bh.RandomSlope(
        **BASE | {"outcome": "grade"}, varying="high", moderators="sex", family="ordered logit"
    ),
    "ordered probit": bh.RandomSlope(
        **BASE | {"outcome": "grade", "cluster": None}, covariates="x", family="ordered probit"
    ),
    "logit, no clusters": bh.RandomSlope(
        **BASE | {"outcome": "passed", "cluster": None}, moderators="x", family="logit"
    ),
    "odd priors": bh.RandomSlope(
        **BASE,
        varying="high",
        priors={
            "gamma0": bh.StudentT(4, 10, 5),
            "gamma1": bh.Uniform(-20, 20),
            "sd[intercept]": bh.Gamma(2, 0.5),
            "sd[high]": bh.Gamma(2, 1),
            "sigma": bh.LogNormal(0, 1),
            "corr": bh.LKJ(1),
        },
    ),
}

#: a Mplus input of one level, whose data the fixture `trial` makes
ONE_PATH = """TITLE: One path
DATA: FILE IS trial.dat;
VARIABLE: NAMES ARE id y x m; USEVARIABLES = y x m2; MISSING = ALL (-99); USEOBSERVATIONS = id LT 40;
DEFINE: m2 = 2*m;
ANALYSIS: ESTIMATOR = BAYES;
MODEL: y ON x (a)
 m2 (b);
 y (e);
MODEL PRIORS: a ~ N(0, 4); e ~ IG(2, 3);
MODEL CONSTRAINT: NEW(s); s = a + b;
"""
