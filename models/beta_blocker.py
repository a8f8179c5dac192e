"""Beta-blockers after a heart attack: are there kinds of centres in which they work differently?

Yusuf et al. (1985), Beta blockade during and after myocardial infarction: an overview of the randomized trials, Progress in
Cardiovascular Diseases 27, 335-371: deaths among treated and untreated patients in 22 centres. Aitkin (1999), A general maximum
likelihood analysis of variance components in generalized linear models, Biometrics 55, 117-128, fits latent classes of centres.
Three classes of different mortality are clear; that the effect differs between them is not: all three intervals overlap.

Data        Table 1 of Aitkin (1999), below.
Replaces    flexmix: stepFlexmix(cbind(Deaths, Total - Deaths) ~ Treatment | Center, k = 3, model = FLXMRglm(family = "binomial"))
            and Stan with the three classes written out. The published K = 4 (log likelihood -158.25) is a local maximum;
            bh.fit_classes finds -155.75.
Priors      Those of the reference: Normal(-2, 1) on log odds, Normal(0, 0.5) on effects, Dirichlet(2), intercepts ascending.
"""

import pandas as pd

from bayeshte import Dirichlet, EffectMixture, Normal

SPEC = EffectMixture(
    outcome="deaths",
    trials="patients",
    treatment="arm",
    reference="control",
    cluster="centre",
    classes=3,
    family="logit",
    intercept_varies=False,
    order="gamma0",
    priors={"gamma0": Normal(-2, 1), "gamma1": Normal(0, 0.5), "pi": Dirichlet(2)},
)

CONTROL = """3/39 14/116 11/93 127/1520 27/365 6/52 152/939 48/471 37/282 188/1921 52/583
47/266 16/293 45/883 31/147 38/213 12/122 6/154 3/134 40/218 43/364 39/674"""
TREATED = """3/38 7/114 5/69 102/1533 28/355 4/59 98/945 60/632 25/278 138/1916 64/873
45/263 9/291 57/858 25/154 33/207 28/251 8/151 6/174 32/209 27/391 22/680"""


def data():
    """Deaths of patients in 22 centres, two arms each."""
    rows = [
        {"centre": str(k + 1), "arm": arm, "deaths": int(cell.split("/")[0]), "patients": int(cell.split("/")[1])}
        for arm, table in (("control", CONTROL), ("treated", TREATED))
        for k, cell in enumerate(table.split())
    ]
    return pd.DataFrame(rows)


STAN = "rstan 2.21, two long chains, medians"
EXPECTED = {  # tolerance: about 0.1 posterior SD
    "gamma0[class 1]": (-2.911, 0.010, STAN),
    "gamma0[class 2]": (-2.253, 0.006, STAN),
    "gamma0[class 3]": (-1.595, 0.008, STAN),
    "gamma1[class 1, treated]": (-0.085, 0.015, STAN),
    "gamma1[class 2, treated]": (-0.258, 0.008, STAN),
    "gamma1[class 3, treated]": (-0.313, 0.010, STAN),
    "pi[class 1]": (0.255, 0.010, STAN),
    "pi[class 2]": (0.461, 0.011, STAN),
    "pi[class 3]": (0.271, 0.010, STAN),
}
