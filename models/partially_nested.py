"""Therapy in groups against no therapy (made data): clusters in one arm only, and a mediator in both.

A partially nested trial: 240 persons of the treatment arm meet in therapy groups of eight, 240 controls meet nobody. Groups
differ in what they do for the mediator (coping) and for the outcome (wellbeing), so that the members of a group resemble each
other; controls are independent (Bauer, Sterba & Hallfors, 2008; Sterba et al., 2014). The effects of therapy (treat) are what
varies between groups, ``dm | coping ~ treat``, and nothing else does: variances between clusters are fixed at 0. A control's
group is not in the likelihood, so that one label will do for all of them; the residual variances of persons are those of either
arm. A group that raises coping may raise the wellbeing of its members by more than their own coping does (k).

Data        Made by the code below from a seed. Means and covariances in either arm are exactly those of the model at the values
            in EXPECTED, which are therefore the maximum likelihood estimates.
Replaces    Multiple-group two-level SEM, or pseudo-clusters of controls (Candlish et al., 2018), in Mplus
Priors      The default, weakly informative, scaled to the variables.
"""

import numpy as np
import pandas as pd

from bayeshte import SEM, datasets

SPEC = SEM(
    cluster="group",
    within="dm | coping ~ treat; dy | wellbeing ~ treat; wellbeing ~ w*coping",
    between="dm ~ a*1; dy ~ c*1 + k*dm; coping ~~ 0*coping; wellbeing ~~ 0*wellbeing; coping ~~ 0*wellbeing",
    derived={"indirect": "a*(w + k)", "total": "indirect + c"},
)
GROUPS, PERSONS = 30, 8
A, W, K, C = 0.6, 0.4, 0.3, 0.2  # on coping; of coping, of a group's coping besides; the rest of the effect
SD_GROUPS, SD_PERSONS = (0.6, 0.4), (1.0, 1.2)  # of coping, and of what is left of wellbeing


def data():
    """480 persons whose moments in either arm are those of the model."""
    none = np.zeros((2, 2))
    control = arm([0, 0], none, group="none").assign(treat=0.0)
    treated = arm([A, C + (W + K) * A], covariance(W + K, SD_GROUPS), group=np.arange(GROUPS)).assign(treat=1.0)
    return pd.concat([control, treated], ignore_index=True)


def arm(mean, between, group):
    """240 persons with these means and covariances, those between groups of eight included."""
    return datasets.with_moments(
        pd.DataFrame(np.tile(mean, (GROUPS, 1)), columns=["coping", "wellbeing"]),
        between,
        covariance(W, SD_PERSONS),
        PERSONS,
        covariates=pd.DataFrame({"group": group}, index=np.arange(GROUPS), dtype=str),
        seed=29,
    )


def covariance(path, sds):
    """Of coping and wellbeing."""
    effect = np.array([[1, 0], [path, 1]])
    return effect * np.square(sds) @ effect.T


MADE = "the value that the data are made with"
EXPECTED = {  # tolerance: 0.2 posterior SD, for the median of a posterior that is not symmetric and the priors
    "a": (0.6, 0.03, MADE),
    "w": (0.4, 0.012, MADE),
    "k": (0.3, 0.04, MADE),
    "c": (0.2, 0.04, MADE),
    "indirect": (0.42, 0.03, MADE),
    "total": (0.62, 0.035, MADE),
}
