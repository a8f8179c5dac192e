"""Tennessee STAR: do small classes raise kindergarten mathematics, and in which schools?

Word et al. (1990), Student/Teacher Achievement Ratio (STAR): Tennessee's K-3 class size study. Pupils and teachers of 79
schools were assigned at random, within schools, to small classes, regular classes, or regular classes with a full-time aide.
The effect of a small class varies by school (Kim, Buhrman & Liao, 2025, Beyond averages, section 3.3); that of an aide is
the same everywhere, as in the reference fit.

Data        Public-access data of Project STAR, from the R package AER (Kleiber & Zeileis, 2008); bundled. The outcome is
            the Stanford Achievement Test's scaled mathematics score; the 454 of 6,325 pupils without it are left out.
Replaces    lme4: lmer(mathk ~ small + aide + (small | schoolidk))
Priors      The default, weakly informative: Normal on coefficients, HalfNormal on SDs, LKJ(2) on the correlation, scaled to
            the outcome. REML has none and reports a mode, bayeshte the posterior median: of a right-skewed SD it is larger.
"""

from bayeshte import RandomSlope, datasets

SPEC = RandomSlope(
    outcome="mathk",
    treatment="stark",
    reference="regular",
    cluster="schoolidk",
    varying="small",
    missing="drop",
)


def data():
    """6,325 pupils in 79 schools."""
    return datasets.star()


LME4 = "lme4 1.1-31, REML"
EXPECTED = {  # tolerance: 0.15 posterior SD of this model, rounded
    "gamma0": (483.070, 0.40, LME4),
    "gamma1[regular+aide]": (0.225, 0.20, LME4),
    "gamma1[small]": (8.390, 0.36, LME4),
    "sd[intercept]": (22.237, 0.30, LME4),
    "sd[small]": (16.980, 0.30, LME4),
    "corr[intercept, small]": (-0.260, 0.019, LME4),
    "sigma": (41.873, 0.059, LME4),
}
