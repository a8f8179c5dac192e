"""Eight schools: how much do the effects of coaching differ between schools, given only effects and standard errors?

Rubin (1981), Estimation in parallel randomized experiments, Journal of Educational Statistics 6, 377-401, table 1: the effect
of coaching on SAT-V scores in eight schools, estimated in each school separately. The form of every random-effects
meta-analysis: one row an estimate, its standard error known.

Data        The sixteen numbers of the table, below.
Replaces    Stan and brms: y | se(sigma) ~ 1 + (1 | school); metafor: rma(yi, sei)
Priors      Those of the reference (Gelman, 2006; posteriordb): Normal(0, 5) on the mean effect, half-Cauchy(5) on the SD.
"""

import pandas as pd

from bayeshte import HalfStudentT, Normal, RandomSlope

SPEC = RandomSlope(
    outcome="effect",
    cluster="school",
    standard_error="se",
    priors={"gamma0": Normal(0, 5), "sd": HalfStudentT(1, 5)},
)


def data():
    """Effects of coaching on SAT-V in points, with standard errors."""
    return pd.DataFrame(
        {
            "school": list("ABCDEFGH"),
            "effect": [28, 8, -3, 7, -1, 1, 18, 12],
            "se": [15, 10, 16, 11, 9, 11, 10, 18],
        }
    )


STAN = "Stan, 10,000 independent draws: posteriordb, eight_schools-eight_schools_noncentered, medians"
EXPECTED = {  # tolerance: 3 Monte Carlo errors of the reference
    "gamma0": (4.364, 0.13, STAN),
    "sd[intercept]": (2.747, 0.11, STAN),
}
