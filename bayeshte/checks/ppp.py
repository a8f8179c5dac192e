"""Posterior predictive discrepancies of a structural equation model, overall and by level.

The discrepancy of data and parameters is 2 [log L(saturated) - log L(theta)] (Asparouhov & Muthén, 2010). That of a level has the
parameters of the other level at the saturated model's estimates: partial saturation (Ryu & West, 2009). Within clusters there
are many more observations than clusters, so that the overall statistic hardly sees the between model.

With categorical variables (probit) the data are latent responses: of the observed categories drawn given them and the parameters,
anew in every draw. They are drawn from the model, which hides a part of what is wrong with it: p-values are nearer .5.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from bayeshte.checks.predictive import clusters_vary, evenly_spaced, replicates
from bayeshte.errors import SpecError
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_latent_responses import draw_latent_responses
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_replication import replicate
from bayeshte.fit import Fit
from bayeshte.marginal.density import Density
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.saturated import Saturated, guess, maximum
from bayeshte.marginal.sufficient import Data


def discrepancies(fit: Fit, draws: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Discrepancies of the observed and of replicated data, (draw,) each, by level; "" is the whole model.

    Replicated data are those of new clusters, with the sizes, covariates and missing values of the observed ones.

    Raises
    ------
    SpecError
        With logit links, with random slopes, or with products of modelled variables.
    DataError
        If the saturated model has no estimates.
    """
    s = fit.spec.structure_of(fit.posterior)
    if logit := [v for v, link in s.links.items() if link == "logit"]:
        raise SpecError(
            f"There is no posterior predictive p-value of the whole model with logit links ({', '.join(logit)}): the discrepancy "
            "is that of means and covariances of normal variables. bh.predictive_checks has shares of categories, how "
            "they differ between clusters, and correlations; bh.compare has simpler models."
        )
    if s.table.slopes or s.moderators:
        what = "random slopes" if s.table.slopes else f"a path that depends on {', '.join(s.moderators)}"
        raise SpecError(
            f"There is no posterior predictive p-value with {what}: a saturated model has one covariance matrix a level, "
            "here they differ (Mplus prints none either). Use bh.predictive_checks, and bh.compare with a simpler model."
        )
    if products := [r.name for level in s.levels for r in s.interactions(level)]:
        raise SpecError(
            f"There is no posterior predictive p-value with a product of latent variables ({', '.join(products)}): the "
            "discrepancy is that of means and covariances of normal variables. Use bh.predictive_checks, and bh.compare with the "
            "model without it."
        )
    data, chosen, m = data_of(fit.design), evenly_spaced(fit, draws), matrices(s, fit.design["slots"].to_numpy())
    model, t = Saturated(data, tuple(s.within.index(v) for v in s.both)), stacked(s, chosen)
    S, K = implied(m, t)
    points = model.point(S[:, :, 0], K[:, :, 0])
    levels = {"": np.ones(len(model.level), bool)}
    if s.two_level:
        levels |= {name: model.level == k for k, name in enumerate(s.levels)}

    def distances(sets: Iterable[Data]) -> np.ndarray:
        """Of a data set for every draw: (level, draw)."""
        found = []
        for one, point in zip(sets, points, strict=True):
            f = model.log_likelihood(one)
            found.append(_of_levels(f, maximum(model, f, point), point, levels.values()))
        return np.transpose(found)

    if s.links:
        rng = np.random.default_rng(seed)
        observed = distances(draw_latent_responses(s, m, data, chosen, t, rng))
        replicated = distances(_new_responses(m, data, t, rng))
    else:
        f = model.log_likelihood(data)
        estimates = maximum(model, f, guess(model))
        observed = np.transpose([_of_levels(f, estimates, point, levels.values()) for point in points])
        replicated = distances(_new_data(fit, data, draws, seed))
    return dict(zip(levels, zip(observed, replicated, strict=True), strict=True))


def _new_data(fit: Fit, data: Data, draws: int, seed: int) -> Iterator[Data]:
    """Replicated data of continuous variables, one set a draw."""
    for new in replicates(fit, draws, seed, "new" if clusters_vary(fit) else "these"):
        for one in zip(*(new[v].to_numpy() for v in new), strict=True):
            yield replace(data, **dict(zip(new, one, strict=True)))


def _new_responses(m: Matrices, data: Data, t: np.ndarray, rng: np.random.Generator) -> Iterator[Data]:
    """Replicated data with latent responses in place of categories, one set a draw."""
    for d in range(len(t)):
        Y, V = replicate(m, (), data, t[d : d + 1], rng)
        yield replace(data, Y=Y[0], V=V[0])


def _of_levels(f: Density, estimates: tuple[np.ndarray, float], t: np.ndarray, levels: Iterable) -> list[float]:
    """2 [log L(saturated) - log L(t at a level, saturated elsewhere)] for every level, a mask of parameters each."""
    saturated, best = estimates
    return [2 * (best - f(np.where(mine, t, saturated))[0]) for mine in levels]
