"""Correlations implied by a structural equation model beside those of the data: where does it fit badly?"""

import numpy as np
import pandas as pd

from bayeshte.errors import SpecError
from bayeshte.families import SEM
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_moments import covariances, with_covariates
from bayeshte.fit import Fit
from bayeshte.marginal.saturated import Saturated, guess, maximum


def implied_correlations(fit: Fit) -> pd.DataFrame:
    """Correlations implied by a structural equation model beside those of the data, on each level.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.SEM`.

    Returns
    -------
    DataFrame
        A row a pair of observed variables of a level, covariates included as they are in the data: ``level`` (with two
        levels); ``first``, ``second``; ``implied`` (posterior median), ``lower``, ``upper`` (95 % interval); ``sample``: the
        maximum-likelihood estimate of the saturated model, in which all modelled variables of a level covary freely and depend
        on all its covariates.

    Raises
    ------
    SpecError
        For another family, with categorical variables, or with random slopes: correlations then differ between clusters.
    DataError
        If the saturated model has no estimates.
    """
    if not isinstance(fit.spec, SEM):
        raise SpecError("Implied correlations are those of a bh.SEM.")
    s = fit.spec.structure
    if s.links:
        raise SpecError(
            f"The correlations of {', '.join(s.links)} are those of latent responses, which the data do not have: "
            "bh.predictive_checks has correlations of categories beside replicated ones."
        )
    if s.table.slopes:
        raise SpecError(f"With random slopes ({', '.join(s.table.slopes)}) the correlations differ between clusters.")
    m, data, t = matrices(s, fit.design["slots"].to_numpy()), data_of(fit.design), stacked(s, fit.posterior)
    model = Saturated(data, tuple(s.within.index(v) for v in s.both))
    S, K = model.moments(maximum(model, model.log_likelihood(data), guess(model), tolerance=1e-9)[0])
    parts = []
    for k, level in enumerate(s.levels):
        own, covariates = [v for v in s.observed if v in s.modelled(level)], s.covariates(level)
        units = len(data.Y) if k == 0 else len(data.V)
        sample = with_covariates(S[k][None, None], K[k][None, None], fit.design, k, np.zeros(units, int))
        at = [s.variables(level).index(v) for v in own]
        draws = _correlations(covariances(s, m, t, fit.design, k), at, len(covariates))
        sample = _correlations(sample, at, len(covariates))[0]
        names = [*own, *covariates]
        pairs = [(i, j) for j in range(len(names)) for i in range(min(j, len(own)))]
        lower, middle, upper = np.quantile(draws, [0.025, 0.5, 0.975], axis=0)
        rows = [(level, names[i], names[j], *(x[i, j] for x in (middle, lower, upper, sample))) for i, j in pairs]
        parts.append(pd.DataFrame(rows, columns=["level", "first", "second", "implied", "lower", "upper", "sample"]))
    table = pd.concat(parts, ignore_index=True)
    return fit.diagnosis.mark(table if s.two_level else table.drop(columns="level"))


def _correlations(covariances: np.ndarray, at: list[int], covariates: int) -> np.ndarray:
    """Of the variables `at` and the last ones, the covariates; (draw, k, k)."""
    size = covariances.shape[-1]
    keep = [*at, *range(size - covariates, size)]
    V = covariances[:, keep][:, :, keep]
    sd = np.sqrt(np.einsum("sii->si", V))
    return V / sd[:, :, None] / sd[:, None, :]
