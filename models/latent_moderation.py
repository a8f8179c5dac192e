"""School trial with a latent mediator (simulated at the published values): does treatment change what the mediator does?

Chapter 25, Group administered interventions and cluster designs, of a textbook on randomized explanatory trials, figure 25.3
and table 25.9: a mediator (m1 to m3) and an outcome (y1 to y3) with factors within and between schools, as in latent_mediator.
Between schools the path from mediator (lmb) to outcome (lyb) may differ between the arms (treat): an observed variable times a
latent one.

Data        Simulated by the code below from a seed: 100 schools of 40 students, whose moments in either arm are exactly those
            that the published estimates imply. What is not printed (numbers of schools and students, loadings, variances, the
            effect on the mediator) is near that of latent_mediator and chosen so that posterior SDs are near the printed ones;
            those of the arms' paths, printed as 0.168 and 0.187, are alike here.
            Moments without sampling error fit the model better than those of a sample.
Replaces    Mplus: TYPE = TWOLEVEL RANDOM; ESTIMATOR = BAYES; int | treat XWITH lmb; MODEL CONSTRAINT for streat, scontrol, diff
Priors      Those of Mplus: flat on coefficients, loadings and variances.
"""

import numpy as np
import pandas as pd

from bayeshte import SEM, datasets

SPEC = SEM(
    cluster="school",
    within="lyw =~ y1 + y2 + y3; lmw =~ m1 + m2 + m3; lyw ~ pw7*lmw",
    between="lyb =~ y1 + y2 + y3; lmb =~ m1 + m2 + m3; lmb ~ pb7*treat; lyb ~ pb8*lmb + pb9*treat + pb10*treat:lmb",
    derived={"streat": "pb8 + pb10", "scontrol": "pb8", "diff": "streat - scontrol"},
    priors="mplus",
)
SCHOOLS, STUDENTS = 50, 40  # schools in each arm
Y, M = [1, 0.89, 0.91], [1, 0.85, 0.85]  # loadings
ON_MEDIATOR, PATH, DIRECT, INTERACTION = 1.149, 0.224, -0.336, 0.432


def data():
    """4,000 students whose moments in either arm are those of the model at the published values."""
    return pd.concat([arm(treat, seed=28 + treat) for treat in (0, 1)], ignore_index=True)


def arm(treat, seed):
    """The students of one arm."""
    path = PATH + INTERACTION * treat
    loadings = loadings_on_sources(path)
    mean = loadings @ [ON_MEDIATOR * treat, DIRECT * treat]
    return datasets.with_moments(
        pd.DataFrame(np.tile(mean, (SCHOOLS, 1)), columns=["y1", "y2", "y3", "m1", "m2", "m3"]),
        loadings * [0.85, 0.84] @ loadings.T + 0.24 * np.eye(6),
        loadings_on_sources(0.503) * [1.5, 0.8] @ loadings_on_sources(0.503).T + 0.2 * np.eye(6),
        STUDENTS,
        covariates=pd.DataFrame({"treat": float(treat), "school": treat * SCHOOLS + np.arange(SCHOOLS)}),
        seed=seed,
    )


def loadings_on_sources(path):
    """Of the six indicators on the factor of m, also through y, and on what the factor of y has besides."""
    return np.array([[*np.multiply(path, Y), *M], [*Y, 0, 0, 0]]).T


MPLUS = "Mplus BAYES, posterior medians, table 25.9, which the data are made with"
EXPECTED = {  # tolerance: 0.15 posterior SD, for medians of posteriors that are not symmetric
    "pb8": (0.224, 0.028, MPLUS),
    "pb9": (-0.336, 0.041, MPLUS),
    "pb10": (0.432, 0.037, MPLUS),
    "streat": (0.657, 0.025, MPLUS),
}
