"""The skew normal distribution (Azzalini, 1985) by its mean and SD, in a PyMC graph.

With m = sqrt(2 / pi) alpha / sqrt(1 + alpha^2) and k^2 = 1 - m^2, the mean and variance of location 0 and scale 1:

    p(y) = 2 k / sigma phi(z) Phi(alpha z),   z = m + k (y - mean) / sigma.

`pm.SkewNormal`, whose alpha this is, has the square root of two in single precision in its density (PyMC 6.4): an error of
2e-8 alpha z in the argument of Phi. Here it is in double precision.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayeshte.marginal.glmm_outcomes import skew_moments


def skew_normal(name: str, mean, sigma, alpha, **options):
    """A skew normal variable with a mean, an SD `sigma` and PyMC's shape `alpha`, in a model context."""
    m, k = skew_moments(alpha)
    return pm.CustomDist(
        name,
        *(mean - sigma * m / k, sigma / k, alpha),
        logp=_log_density,
        random=_draw,
        class_name="SkewNormal",
        **options,
    )


def _log_density(y, location, scale, alpha):
    z = (y - location) / scale
    return np.log(2) - 0.5 * np.log(2 * np.pi) - pt.log(scale) - z**2 / 2 + _log_ndtr(alpha * z)


def _log_ndtr(x):
    """log Phi(x), accurate in both tails; each branch sees what it can be evaluated at only."""
    low, high = pt.minimum(x, -1.0), pt.maximum(x, -1.0)
    tail = pt.log(pt.erfcx(-low / np.sqrt(2)) / 2) - low**2 / 2
    return pt.switch(pt.lt(x, -1.0), tail, pt.log1p(-pt.erfc(high / np.sqrt(2)) / 2))


def _draw(location, scale, alpha, rng=None, size=None):
    """|n1| sits on one side: location + scale (delta |n1| + sqrt(1 - delta^2) n2), delta = alpha / sqrt(1 + alpha^2)."""
    size = np.broadcast_shapes(np.shape(location), np.shape(scale), np.shape(alpha)) if size is None else size
    root = np.sqrt(1 + alpha**2)
    return location + scale * (alpha * np.abs(rng.standard_normal(size)) + rng.standard_normal(size)) / root
