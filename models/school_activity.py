"""School trial of physical activity (made data with the published moments): do advantages and peers carry the effect?

Chapter 25, Group administered interventions and cluster designs, of a textbook on randomized explanatory trials, table 25.3:
50 schools of 20 students each, 25 schools with an intervention (treat) that is to raise minutes of moderate to vigorous
activity a day (mvpa) through its perceived advantages (advant) and support by peers (peers), both on scales from -5 to 5. The
students' variables are split into their parts within and between schools; the intervention acts between schools.

Data        Made by the code below from a seed: the file of the trial is not public. Their covariances within and between schools
            are exactly the published ones, so that the likelihood of this model is that of the trial (but for means, which are
            not printed, and SDs that were worked back from printed slopes, R-squares and ICCs, good to about 1 %).
Replaces    Mplus: TYPE = TWOLEVEL; ESTIMATOR = BAYES; with MODEL CONSTRAINT for medadv, medpeer, tot, con1 and con2
Priors      Those of Mplus: flat on coefficients, variances and covariance matrices. With bayeshte's default the SDs between
            schools are smaller by 2 to 4 % and the effects the same within a tenth of their posterior SD.
"""

import numpy as np
import pandas as pd

from bayeshte import SEM, datasets

SPEC = SEM(
    cluster="school",
    within="mvpa ~ p1wc*advant + p2wc*peers; advant ~~ peers",
    between="mvpa ~ p3bc*advant + p4bc*peers; advant ~ p1bc*treat; peers ~ p2bc*treat; advant ~~ peers",
    derived={
        "medadv": "p1bc*p3bc",
        "medpeer": "p2bc*p4bc",
        "tot": "medadv + medpeer",
        "con1": "p3bc - p1wc",
        "con2": "p4bc - p2wc",
    },
    priors="mplus",
)
SCHOOLS, STUDENTS, MEANS = 50, 20, [50.0, 0.5, 0.5]
#: mvpa, peers, advant
SD_WITHIN, CORR_WITHIN = [12.73, 1.0163, 0.9805], [[1, 0.475, 0.478], [0.475, 1, 0.279], [0.478, 0.279, 1]]
SD_BETWEEN, CORR_BETWEEN = [11.77, 1.1582, 1.1106], [[1, 0.582, 0.505], [0.582, 1, 0.135], [0.505, 0.135, 1]]
WITH_TREAT = [0.255, 0.335, 0.330]  # correlations between schools


def data():
    """1,000 students whose moments are those of the trial."""
    treat = np.repeat([0.0, 1.0], SCHOOLS // 2)
    within, between = (np.outer(s, s) * r for s, r in ((SD_WITHIN, CORR_WITHIN), (SD_BETWEEN, CORR_BETWEEN)))
    slope = np.multiply(WITH_TREAT, SD_BETWEEN) / 0.5  # of the school means on treat, whose SD is 0.5
    expected = pd.DataFrame(MEANS + np.outer(treat - 0.5, slope), columns=["mvpa", "peers", "advant"])
    schools = pd.DataFrame({"treat": treat, "school": np.arange(SCHOOLS)})
    return datasets.with_moments(
        expected, between - np.outer(slope, slope) * 0.25, within, STUDENTS, covariates=schools, seed=25
    )


MPLUS = "Mplus BAYES, posterior medians, table 25.3"
EXPECTED = {  # tolerance: 0.1 posterior SD, for the SDs that were worked back and the chapter's Monte Carlo error
    "within: mvpa ~ advant": (4.874, 0.035, MPLUS),
    "within: mvpa ~ peers": (4.634, 0.034, MPLUS),
    "between: mvpa ~ advant": (4.601, 0.119, MPLUS),
    "between: mvpa ~ peers": (5.303, 0.115, MPLUS),
    "p1bc": (0.731, 0.033, MPLUS),
    "p2bc": (0.775, 0.034, MPLUS),
    "medadv": (3.204, 0.178, MPLUS),
    "medpeer": (3.961, 0.205, MPLUS),
    "tot": (7.344, 0.272, MPLUS),
    "con1": (-0.272, 0.124, MPLUS),
    "con2": (0.674, 0.120, MPLUS),
}
