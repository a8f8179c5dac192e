"""What every structural equation model keeps at any point: the joint graph has the kernel's posterior, the gradient is exact."""

import numpy as np
from cases import EVALUATE
from test_sem import draws_at, graph_point, log_posterior, points_of


def built(spec, data):
    """A specification with its design of the data, frozen priors and density."""
    design = spec.design(data)
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def check_joint(case, points: int) -> None:
    """log p(y, u | theta) - log p(u | y, theta) = log p(y | theta) for latent variables u as they are drawn."""
    spec, design, priors, density = case
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    rng, differences = np.random.default_rng(1), []
    for z in points_of(density, points):
        posterior = spec.recover(draws_at(density, [z]), design, rng)
        point = graph_point(spec, model, posterior, posterior.get("cluster_mean", np.zeros((1, 1, 0, 0)))[0, 0])
        differences.append(float(logp(point)) - log_posterior(spec, density, posterior, z))
    np.testing.assert_allclose(differences, 0, atol=1e-6)


def check_gradient(density) -> None:
    """The gradient is that of central differences."""
    for z in points_of(density, 2):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)
