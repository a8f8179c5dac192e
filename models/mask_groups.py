"""Mask wearing in groups (made data with the published moments): do attitudes and norms of a group carry the effect?

Chapter 25, Group administered interventions and cluster designs, of a textbook on randomized explanatory trials, table 25.6: 100
groups of ten persons, half of them with an intervention (treat) on attitudes (att) and norms (norm), which are to raise the
intention (intent) to wear a mask, all on scales from -5 to 5. The ten are no sample of a larger group: they are the group. So
the mediators are the observed means of the groups, ``mean(att)`` and ``mean(norm)``, not corrected for sampling error.

Data        Made by the code below from a seed: the file of the trial is not public. Correlations of the groups' means with
            treat, and of att with norm, are those of table 25.7, the regressions' slopes those of table 25.6; SDs were worked
            back from printed posterior SDs and correlations. How the variance of intent splits within and between groups moves
            none of the references: predicted correlations (reliability 0.85) and the printed R-square (0.386, here 0.45)
            disagree on it.
Replaces    Mplus: DEFINE: matt = CLUSTER_MEAN(att); TYPE = TWOLEVEL; ESTIMATOR = BAYES; MODEL CONSTRAINT for medatt and the rest
Priors      Those of Mplus: flat on coefficients, variances and covariance matrices.
"""

import numpy as np
import pandas as pd

from bayeshte import SEM, datasets

SPEC = SEM(
    cluster="group",
    within="intent ~~ intent",
    between="intent ~ p3*mean(att) + p4*mean(norm); mean(att) ~ p1*treat; mean(norm) ~ p2*treat; mean(att) ~~ mean(norm)",
    derived={"medatt": "p1*p3", "mednorm": "p2*p4", "tot": "p1*p3 + p2*p4"},
    priors="mplus",
)
GROUPS, PERSONS = 100, 10
P1, P2, P3, P4 = 0.481, -0.102, 0.527, 0.558
SD_ATT, SD_NORM, COV = 0.600, 0.678, -0.0061  # of the groups' means
VAR_INTENT, WITH_TREAT, RELIABILITY = 0.637, 0.177, 0.85  # of the groups' means: their variance, correlation with treat


def data():
    """1,000 persons whose groups have the moments of the trial."""
    treat = np.repeat([0.0, 1.0], GROUPS // 2)
    mediators = np.array([[SD_ATT**2, COV], [COV, SD_NORM**2]])
    shared = mediators @ [P3, P4]  # covariances of the mediators with intent
    means = np.block([[np.atleast_2d(VAR_INTENT), shared[None]], [shared[:, None], mediators]])
    slope = np.array([WITH_TREAT * np.sqrt(VAR_INTENT) / 0.5, P1, P2])  # on treat, whose SD is 0.5
    within = np.diag([PERSONS * (1 - RELIABILITY) * VAR_INTENT, 1.5, 1.5])
    return datasets.with_moments(
        pd.DataFrame(np.outer(treat - 0.5, slope), columns=["intent", "att", "norm"]),
        means - np.outer(slope, slope) * 0.25 - within / PERSONS,
        within,
        PERSONS,
        covariates=pd.DataFrame({"treat": treat, "group": np.arange(GROUPS)}),
        seed=26,
    )


MPLUS = "Mplus BAYES, posterior medians, table 25.6"
EXPECTED = {  # tolerance: 0.1 posterior SD, and 0.0005 for rounding
    "p1": (0.481, 0.0119, MPLUS),
    "p2": (-0.102, 0.0146, MPLUS),
    "p3": (0.527, 0.0115, MPLUS),
    "p4": (0.558, 0.0101, MPLUS),
    "medatt": (0.247, 0.0086, MPLUS),
    "mednorm": (-0.055, 0.0086, MPLUS),
    "tot": (0.195, 0.0120, MPLUS),
}
