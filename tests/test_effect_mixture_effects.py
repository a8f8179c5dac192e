"""EffectMixture with classes of individuals in clusters: random effects of each class, class probabilities that vary."""

import numpy as np
import pytest
from cases import EVALUATE
from mixture_cases import EFFECTS, as_draws, joint_value, random_points, trial
from test_effect_mixture import (  # noqa: F401  the contract, which runs here over the variants of this module
    test_data_can_be_simulated,
    test_fit_estimands_checks_and_round_trip,
    test_gradient_is_exact,
    test_marginal_and_joint_define_the_same_posterior,
    test_renumbering_changes_nothing,
)

from bayeshte.families.effect_mixture_arrays import Arrays


@pytest.fixture(params=EFFECTS, scope="module")
def case(request):
    """A specification with its design, frozen priors and density."""
    spec = EFFECTS[request.param]
    design = spec.design(trial()[0])
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)
