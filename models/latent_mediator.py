"""School trial with a latent mediator and outcome (simulated at the published values): is its effect the same between schools?

Chapter 25, Group administered interventions and cluster designs, of a textbook on randomized explanatory trials, figure 25.3 and
table 25.8: three indicators of the mediator (m1 to m3) and three of the outcome (y1 to y3), each with a factor within schools and
one between; an intervention (treat) acts on the mediator's factor between schools. Loadings are compared between the levels, and
so is the path from mediator to outcome (the contextual effect).

Data        Simulated by the code below from a seed: 100 schools of 40 students, whose moments are exactly those that the
            published estimates imply. Numbers of schools and students and the variances are not printed; they were chosen so
            that posterior SDs are near the printed ones (0.104 of the contextual effect, 0.204 of the effect on the mediator).
            Moments without sampling error fit the model better than those of a sample: its PPP is near 0.95.
Replaces    Mplus: TYPE = TWOLEVEL; ESTIMATOR = BAYES; with MODEL CONSTRAINT for ly2, ly3, lm2, lm3 and context
Priors      Those of Mplus: flat on coefficients, loadings and variances.
"""

import numpy as np
import pandas as pd

from bayeshte import SEM, datasets

SPEC = SEM(
    cluster="school",
    within="lyw =~ y1 + pw2*y2 + pw3*y3; lmw =~ m1 + pw5*m2 + pw6*m3; lyw ~ pw7*lmw",
    between="lyb =~ y1 + pb2*y2 + pb3*y3; lmb =~ m1 + pb5*m2 + pb6*m3; lyb ~ pb7*lmb; lmb ~ pb8*treat",
    derived={
        "ly2": "pw2 - pb2",
        "ly3": "pw3 - pb3",
        "lm2": "pw5 - pb5",
        "lm3": "pw6 - pb6",
        "context": "pb7 - pw7",
    },
    priors="mplus",
)
SCHOOLS, STUDENTS, TREAT = 100, 40, 1.149
#: loadings of y and m, path from m to y; variances of m and of the disturbance of y, of residuals of the y's and the m's
WITHIN = [1, 0.891, 0.905], [1, 0.853, 0.860], 0.503, (1.5, 0.8), (0.14, 0.28)
BETWEEN = [1, 0.880, 0.939], [1, 0.848, 0.833], 0.434, (0.82, 0.83), (0.25, 0.27)


def data():
    """4,000 students whose moments are those of the model at the published values."""
    treat = np.repeat([0.0, 1.0], SCHOOLS // 2)
    y, m, path, _, _ = BETWEEN
    slope = TREAT * np.concatenate([np.multiply(path, y), m])
    return datasets.with_moments(
        pd.DataFrame(np.outer(treat - 0.5, slope), columns=["y1", "y2", "y3", "m1", "m2", "m3"]),
        covariance(*BETWEEN),
        covariance(*WITHIN),
        STUDENTS,
        covariates=pd.DataFrame({"treat": treat, "school": np.arange(SCHOOLS)}),
        seed=27,
    )


def covariance(y, m, path, disturbances, residuals):
    """Of the six indicators, treatment held constant."""
    loadings = np.array([[*np.multiply(path, y), *m], [*y, 0, 0, 0]]).T  # on the factor of m and the disturbance of y
    return loadings * disturbances @ loadings.T + np.diag(np.repeat(residuals, 3))


MPLUS = "Mplus BAYES, posterior medians, table 25.8, which the data are made with"
EXPECTED = {  # tolerance: 0.15 posterior SD, for medians of posteriors that are not symmetric
    "pw2": (0.891, 0.0012, MPLUS),
    "pw3": (0.905, 0.0012, MPLUS),
    "pw5": (0.853, 0.0015, MPLUS),
    "pw6": (0.860, 0.0015, MPLUS),
    "pw7": (0.503, 0.0020, MPLUS),
    "pb2": (0.880, 0.011, MPLUS),
    "pb3": (0.939, 0.011, MPLUS),
    "pb5": (0.848, 0.012, MPLUS),
    "pb6": (0.833, 0.012, MPLUS),
    "pb7": (0.434, 0.015, MPLUS),
    "pb8": (1.149, 0.031, MPLUS),
    "context": (-0.069, 0.016, MPLUS),
}
