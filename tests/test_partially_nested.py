"""Clusters in one arm: a SEM's varying treatment path is a random slope without a random intercept."""

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh
from bayeshte import gallery

PRIORS = {"gamma0": bh.Normal(0, 5), "gamma1": bh.Normal(0, 5), "sd[1]": bh.HalfNormal(2), "sigma": bh.HalfNormal(2)}
SLOPE = bh.RandomSlope(
    outcome="wellbeing", treatment="treat", cluster="group", varying="all", intercept_varies=False, priors=PRIORS
)
SAME = {
    "intercept[between: wellbeing]": ("gamma0", bh.Normal(0, 5)),
    "intercept[between: d]": ("gamma1[1]", bh.Normal(0, 5)),
    "sd[between: d]": ("sd[1]", bh.HalfNormal(2)),
    "sd[within: wellbeing]": ("sigma", bh.HalfNormal(2)),
}


@pytest.fixture(scope="module")
def trial() -> pd.DataFrame:
    return gallery.read("partially_nested").data()


def test_the_label_of_controls_is_not_in_the_likelihood(trial):
    """Clusters of one, or one for all controls."""
    ones = trial.assign(
        group=trial["group"].mask(trial["treat"] == 0, np.array([f"person {k}" for k in range(len(trial))]))
    )
    designs = SLOPE.design(trial), SLOPE.design(ones)
    n = SLOPE.marginal(designs[0], SLOPE.frozen_priors(designs[0])).n_dim
    one, other = (SLOPE.marginal(d, SLOPE.frozen_priors(d)).with_coordinates(np.zeros(n), np.eye(n)) for d in designs)
    for z in np.random.default_rng(0).normal(size=(5, n)):
        assert one(z)[0] == pytest.approx(other(z)[0], rel=1e-10)


def test_a_varying_treatment_path_is_a_random_slope(trial):
    """The same posterior within Monte Carlo error: medians, SDs and 95 % limits."""
    sem = bh.SEM(
        cluster="group",
        within="d | wellbeing ~ treat",
        between="d ~ 1; wellbeing ~~ 0*wellbeing",
        priors={key: prior for key, (_, prior) in SAME.items()},
    )
    one, two = (bh.fit(spec, trial, seed=1, progress=False) for spec in (SLOPE, sem))
    found = bh.summary(one).set_index("parameter")
    for key, (name, _) in SAME.items():
        variable, element = key.removesuffix("]").split("[", 1)
        draws = two.posterior[variable].sel({f"{variable}s": element})
        assert abs(draws.median() - found.loc[name, "estimate"]) < 5 * found.loc[name, "mcse"], key
        assert draws.std() == pytest.approx(found.loc[name, "posterior_sd"], rel=0.1), key
