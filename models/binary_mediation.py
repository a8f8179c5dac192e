"""Pupils in schools, a binary outcome: mediation within schools and between them (simulated).

A 1-1-1 mediation: predictor x, mediator m and outcome y are of pupils, and all three are split into a part of the school and the
pupil's deviation from it. The outcome is whether something happened (y = 1): a latent response above a threshold, with a residual
of variance 1 within schools (probit). The indirect effect is taken within schools and between them; "on the probability" effects
are among those that `bayeshte.effects` prints.

Data        Simulated by the code below from a seed: 1,000 pupils in 100 schools, with the paths that a published analysis of such
            a model reports, .42, .14 and .28 within, .36 and .87 between.
Replaces    Mplus: TYPE = TWOLEVEL; ESTIMATOR = BAYES; CATEGORICAL = y; with MODEL CONSTRAINT for the indirect effects
Priors      Those of Mplus: N(0, 5), 5 the variance, on the threshold and on paths to y within; flat on the rest.
"""

import numpy as np
import pandas as pd

from bayeshte import SEM

SPEC = SEM(
    cluster="school",
    categorical=["y"],
    within="m ~ a1*x; y ~ b1*m + c1*x",
    between="m ~ a2*x; y ~ b2*m; y | tau*t1",
    derived={"indw": "a1*b1", "indb": "a2*b2"},
    priors="mplus",
)
SCHOOLS, PUPILS = 100, 10
THRESHOLD, SD_BETWEEN = 0.4, 0.5


def data():
    """The pupils."""
    rng = np.random.default_rng(11)
    school = np.repeat(np.arange(1, SCHOOLS + 1), PUPILS)
    between, within = rng.normal(0, SD_BETWEEN, (3, SCHOOLS)), rng.normal(size=(3, len(school)))
    parts = {}
    for level, (x, m, y), a, b, c in (("b", between, 0.36, 0.87, 0.0), ("w", within, 0.42, 0.28, 0.14)):
        m = m + a * x
        parts[level] = x, m, y + b * m + c * x
    x, m, y = (b[school - 1] + w for b, w in zip(parts["b"], parts["w"], strict=True))
    return pd.DataFrame({"school": school, "x": x.round(4), "m": m.round(4), "y": (y > THRESHOLD) * 1})


GIBBS = "a Gibbs sampler that shares no code with this package, 60,000 draws (tests/gibbs_binary_mediation.py)"
EXPECTED = {  # tolerance: 0.05 posterior SD
    "a1": (0.4045, 0.0017, GIBBS),
    "b1": (0.2587, 0.0023, GIBBS),
    "c1": (0.1206, 0.0024, GIBBS),
    "a2": (0.3626, 0.0071, GIBBS),
    "b2": (0.8572, 0.0089, GIBBS),
    "tau": (0.3549, 0.0034, GIBBS),
    "indw": (0.1042, 0.0010, GIBBS),
    "indb": (0.3039, 0.0068, GIBBS),
    "between: y ~~ y": (0.1998, 0.0035, GIBBS),
}
