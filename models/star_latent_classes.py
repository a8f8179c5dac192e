"""Tennessee STAR: kinds of schools in which small classes work differently?

Word et al. (1990), Student/Teacher Achievement Ratio (STAR). The same trial as in star_class_size, with latent classes of
schools in place of normally distributed effects: three classes, each with its own level, effects and spread (Kim, Buhrman &
Liao, 2025, Beyond averages, section 3.4).

Data        Public-access data of Project STAR, from the R package AER (Kleiber & Zeileis, 2008); bundled. The outcome is (score -
            485) / 10, as in the reference; the 454 of 6,325 pupils without a mathematics score are left out.
Replaces    flexmix: flexmix(y ~ small + aide | school, k = 3), the best of many starts
Priors      The default, weakly informative, scaled to the outcome. Maximum likelihood has none and reports a mode. Without random
            intercepts, as in the reference, classes also stand for schools of one kind that differ; with intercept_varies=True,
            the default, they are other ones.
"""

from bayeshte import EffectMixture, datasets

SPEC = EffectMixture(
    outcome="y",
    treatment="stark",
    reference="regular",
    cluster="schoolidk",
    classes=3,
    intercept_varies=False,
    missing="drop",
)


def data():
    """6,325 pupils in 79 schools."""
    pupils = datasets.star()
    return pupils.assign(y=(pupils["mathk"] - 485) / 10)


FLEXMIX = "R flexmix, maximum likelihood -16943.800"
EXPECTED = {  # tolerance: 0.4 posterior SD of this model, rounded
    "gamma0[class 1]": (-4.858, 0.10, FLEXMIX),
    "gamma0[class 2]": (-0.602, 0.06, FLEXMIX),
    "gamma0[class 3]": (1.634, 0.07, FLEXMIX),
    "gamma1[class 1, small]": (1.940, 0.15, FLEXMIX),
    "gamma1[class 2, small]": (0.156, 0.08, FLEXMIX),
    "gamma1[class 3, small]": (1.703, 0.12, FLEXMIX),
    "sigma[class 1]": (3.655, 0.04, FLEXMIX),
    "sigma[class 2]": (4.047, 0.03, FLEXMIX),
    "sigma[class 3]": (4.864, 0.03, FLEXMIX),
    "pi[class 1]": (0.115, 0.02, FLEXMIX),
}
