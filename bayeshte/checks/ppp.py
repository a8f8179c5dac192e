"""Posterior predictive discrepancies of a structural equation model, overall and by level.

The discrepancy of data and parameters is 2 [log L(saturated) - log L(theta)] (Asparouhov & Muthén, 2010). That of a level has the
parameters of the other level at the saturated model's estimates: partial saturation (Ryu & West, 2009). Within clusters there
are many more observations than clusters, so that the overall statistic hardly sees the between model.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bayeshte.checks.predictive import clusters_vary, evenly_spaced, replicates
from bayeshte.errors import SpecError
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.fit import Fit
from bayeshte.marginal.density import Density
from bayeshte.marginal.saturated import Saturated, guess, maximum
from bayeshte.marginal.structural import implied


def discrepancies(fit: Fit, draws: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Discrepancies of the observed and of replicated data, (draw,) each, by level; "" is the whole model.

    Replicated data are those of new clusters, with the sizes, covariates and missing values of the observed ones.

    Raises
    ------
    SpecError
        With categorical variables, with random slopes, or with products of modelled variables.
    DataError
        If the saturated model has no estimates.
    """
    s = fit.spec.structure
    if s.links:
        raise SpecError(
            f"There is no posterior predictive p-value of the whole model with categorical variables ({', '.join(s.links)}): the "
            "discrepancy is that of means and covariances. bh.predictive_checks has those of shares of categories, of how they "
            "differ between clusters, and of correlations; bh.compare has simpler models."
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
    data = data_of(fit.design)
    model = Saturated(data, tuple(s.within.index(v) for v in s.both))
    S, K = implied(s.matrices(fit.design["slots"].to_numpy()), stacked(s, evenly_spaced(fit, draws)))
    points = model.point(S[:, :, 0], K[:, :, 0])
    levels = {"": np.ones(len(model.level), bool)}
    if s.two_level:
        levels |= {name: model.level == k for k, name in enumerate(s.levels)}

    f = model.log_likelihood(data)
    estimates = maximum(model, f, guess(model))
    observed = [_of_levels(f, estimates, t, levels.values()) for t in points]
    replicated, at = [], iter(points)
    for new in replicates(fit, draws, seed, "new" if clusters_vary(fit) else "these"):
        for one in zip(*(new[v].to_numpy() for v in new), strict=True):
            t = next(at)
            f = model.log_likelihood(replace(data, **dict(zip(new, one, strict=True))))
            replicated.append(_of_levels(f, maximum(model, f, t), t, levels.values()))
    return dict(zip(levels, zip(np.transpose(observed), np.transpose(replicated), strict=True), strict=True))


def _of_levels(f: Density, estimates: tuple[np.ndarray, float], t: np.ndarray, levels: Iterable) -> list[float]:
    """2 [log L(saturated) - log L(t at a level, saturated elsewhere)] for every level, a mask of parameters each."""
    saturated, best = estimates
    return [2 * (best - f(np.where(mine, t, saturated))[0]) for mine in levels]
