"""The likelihood of whole clusters of persons, their effect on the mean ability integrated, draw by draw.

    log L_c = log int prod_j L_j(v) N(v; 0, sd^2) dv,

L_j(v) the likelihood of person j of cluster c with the ability integrated, given the cluster's effect v. The log of the integrand
is concave: Newton's steps find its maximum and curvature, in every draw, and the trapezoid rule around it the integral.
"""

import itertools
from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy import sparse

from bayeshte.errors import SpecError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_names import INTERCEPT
from bayeshte.families.item_response_outcomes import beside_integral
from bayeshte.labelled import flatten, unstack
from bayeshte.marginal import abilities as integrals

STEPS, LONGEST = 5, 3.0  # Newton's steps, and how many SDs of the integrand one may be long
SPACING = 0.6  # of the trapezoid rule, in SDs of the integrand; every other node is the rule that errors come from
NEGLIGIBLE = 18.0  # nats below the maximum, where the rule ends
CHUNK = 4_000_000  # likelihoods of persons held at once


def log_likelihood(draws: xr.Dataset, design: xr.Dataset) -> xr.DataArray:
    """By cluster of persons, (chain, draw, cluster); attributes say how exact the integral is.

    Raises
    ------
    SpecError
        Without clusters of persons, or where more than one effect varies over them.
    """
    D = Arrays(design)
    if not D.cluster:
        raise SpecError("The persons have no clusters to leave out: name their column with cluster=.")
    if D.occasion:
        raise SpecError(
            f"Leaving out whole clusters of {D.cluster!r} is not available for two occasions. unit='cluster' leaves out persons, "
            f"given the effects of their {D.cluster}."
        )
    if D.cluster_varying != [INTERCEPT]:
        raise SpecError(
            f"Leaving out whole clusters of {D.cluster!r} is available where one effect varies over them; here it is "
            f"{', '.join(D.cluster_varying)}. unit='cluster' leaves out persons, given the effects of their {D.cluster}."
        )
    n, step = draws.sizes["draw"], max(1, CHUNK // (D.n_persons * draws.sizes["chain"]))
    parts = [_integrated(D, draws.isel(draw=slice(k, k + step))) for k in range(0, n, step)]
    fine, coarse = (xr.concat([p[k] for p in parts], dim="draw") for k in range(2))
    error = float(np.abs(fine - coarse).max())
    text = f"their effects by quadrature, halving whose nodes moves no log-likelihood by more than {error:.1g}"
    return fine.assign_attrs(integrated=text, quadrature_error=error)


def _integrated(D: Arrays, draws: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """With all nodes of the rule, and with every other one."""
    log_integrand, sd = _integrand(D, draws)
    v, spread = _maximum(log_integrand, np.zeros((len(sd), D.n_clusters)), sd / 2)
    top = log_integrand(v)
    fine, coarse = np.ones_like(top), np.ones_like(top)
    for side in (-1, 1):
        for k in itertools.count(1):
            value = log_integrand(v + side * k * SPACING * spread) - top
            fine += np.exp(value)
            coarse += np.exp(value) if k % 2 == 0 else 0.0
            if k % 2 == 0 and value.max() < -NEGLIGIBLE:  # falls on from there: the integrand is log-concave
                break
    labels = {D.cluster: D.labels(D.cluster)}
    sums = fine * SPACING, coarse * 2 * SPACING
    return tuple(unstack(np.log(v * spread) + top, draws, **labels) for v in sums)


def _integrand(D: Arrays, draws: xr.Dataset) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Log of the integrand as a function of the effects of clusters (draw, cluster), and draws of their SD (draw, 1)."""
    data, sd = D.responses, flatten(draws["sd"])
    beta, sigma, easiness, shapes = D.beta(draws), D.sigma(draws), D.easiness(draws), D.shapes(draws)
    members = sparse.csr_array((data.count, (data.cluster, np.arange(len(data.count)))))
    persons = sparse.csr_array((np.ones(D.n_persons), (D.person_cluster, np.arange(D.n_persons))))
    fixed = (persons @ beside_integral(D, easiness, shapes).T).T - np.log(sd) - 0.5 * np.log(2 * np.pi)

    def log_integrand(v: np.ndarray) -> np.ndarray:
        integral, _ = integrals.abilities(data, beta, sigma, easiness, v[..., None], shapes)
        return (members @ integral.T).T + fixed - 0.5 * (v / sd) ** 2

    return log_integrand, sd


def _maximum(function: Callable[[np.ndarray], np.ndarray], v: np.ndarray, spread) -> tuple[np.ndarray, np.ndarray]:
    """Where a concave function is highest, and its curvature there as an SD: two like v. Newton's method with differences."""
    widest = 2 * spread
    spread = np.broadcast_to(spread, v.shape)
    for _ in range(STEPS):
        h = 0.3 * spread
        below, at, above = (function(v + s * h) for s in (-1, 0, 1))
        bend = np.minimum((above - 2 * at + below) / h**2, -1 / widest**2)  # at most that of the prior
        spread = (-bend) ** -0.5
        v = v + np.clip(-(above - below) / (2 * h) / bend, -LONGEST * spread, LONGEST * spread)
    return v, spread
