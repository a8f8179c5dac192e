"""How much the priors matter: power-scaling sensitivity, and the overlap of prior and posterior.

Priors are those of the top-level parameters (gamma, sd, corr, sigma, ...). The distribution of the random effects is part
of the model, not a prior whose strength is a matter of choice, so the likelihood is that with random effects integrated.
"""

from collections import Counter
from collections.abc import Iterator

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from scipy import stats

from bayeshte.checks.loo import row_log_likelihood
from bayeshte.fit import Fit
from bayeshte.prior import Prior
from bayeshte.summary import elements

#: Sensitivity from which ArviZ and priorsense speak of a problem (Kallioinen et al., 2024, section 4).
SENSITIVE = 0.05
#: Overlap above which a parameter is called weakly identified (Garrett & Zeger, 2000).
OVERLAP = 0.35


def prior_sensitivity(fit: Fit) -> pd.DataFrame:
    """How far every parameter and headline estimand moves if the priors, or the likelihood, are made a little stronger.

    The joint density of the top-level priors, or the marginal likelihood, is raised to a power near one by reweighting the
    draws (Kallioinen, Paananen, Bürkner & Vehtari, 2024); no refitting.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    DataFrame
        ``parameter``; ``prior``, ``likelihood``: change of the distribution (cumulative Jensen-Shannon distance) per
        doubling of the power; ``diagnosis``: "prior-data conflict" if both are at least 0.05, "strong prior or weak
        likelihood" if only the prior's is, else "-".

    Raises
    ------
    SpecError
        For a family that cannot integrate its likelihood over clusters.
    """
    values = _quantities(fit)
    tree = xr.DataTree.from_dict(
        {
            "posterior": values.to_dataset(name="quantity"),
            "log_prior": log_prior(fit).to_dataset(name="prior"),
            "log_likelihood": _log_likelihood(fit).to_dataset(name="likelihood"),
        }
    )
    table = pd.DataFrame({"parameter": values["label"].to_numpy()})
    for part in ("prior", "likelihood"):
        constant = np.ptp(tree[f"log_{part}"][part].to_numpy()) == 0  # flat priors: nothing to make stronger
        table[part] = 0.0 if constant else az.psense(tree, group=part)["quantity"].to_numpy()
    strong, informed = table["prior"] >= SENSITIVE, table["likelihood"] >= SENSITIVE
    table["diagnosis"] = np.select(
        [strong & informed, strong], ["prior-data conflict", "strong prior or weak likelihood"], "-"
    )
    return fit.diagnosis.mark(table)


def prior_posterior_overlap(fit: Fit) -> pd.DataFrame:
    """The area that prior and posterior density of every top-level parameter share.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    DataFrame
        ``parameter``; ``prior``; ``overlap``, between 0 (the data decide) and 1 (the posterior is the prior), missing for
        an improper prior; ``note``: "weakly identified by the data" above 0.35 (Garrett & Zeger, 2000), which only says
        that prior and data agree if the prior is informative on purpose.
    """
    sizes = sizes_of(fit)
    rows = []
    for label, key, x in fit.spec.parameters(fit.posterior):
        prior = fit.priors[key]
        overlap, note = np.nan, "improper prior: overlap is not defined"
        if prior.support == "covariance":
            note = "prior of a covariance matrix: overlap is not computed"
        elif prior.proper:
            overlap = _overlap(x.to_numpy().ravel(), prior, sizes.get(key, 0))
            note = "weakly identified by the data" if overlap > OVERLAP else "-"
        rows.append({"parameter": label, "prior": repr(prior), "overlap": overlap, "note": note})
    return fit.diagnosis.mark(pd.DataFrame(rows))


def sizes_of(fit: Fit) -> dict[str, int]:
    """By label of the prior: rows of the correlation matrix, or how many parameters have it (as probabilities of one whole)."""
    counts = Counter(key for _, key, _ in fit.spec.parameters(fit.posterior))
    return counts | {key: R.shape[-1] for key, R in fit.spec.correlations(fit.posterior).items()}


def _overlap(x: np.ndarray, prior: Prior, size: int) -> float:
    """Integral of the smaller of the two densities; `size` is that of `sizes_of`."""
    low, high = _support(prior)
    margin = x.std()
    limits = [max(low, x.min() - margin), min(high, x.max() + margin)]
    grid, posterior, _ = array_stats.kde(x, custom_lims=limits)
    if prior.name == "LKJ":  # one correlation is beta on (-1, 1), Lewandowski et al. (2009)
        a = prior["eta"] + (size - 2) / 2
        density = stats.beta(a, a, -1, 2).pdf(grid)
    elif prior.name == "Dirichlet":  # one of its probabilities is beta
        density = stats.beta(prior["alpha"], (size - 1) * prior["alpha"]).pdf(grid)
    else:
        density = np.exp(prior.log_density(grid))
    return float(np.trapezoid(np.minimum(density, posterior), grid))


def _support(prior: Prior) -> tuple[float, float]:
    if prior.support == "interval":
        return prior["lower"], prior["upper"]
    return {"positive": (0.0, np.inf), "correlation": (-1.0, 1.0), "simplex": (0.0, 1.0)}.get(
        prior.support, (-np.inf, np.inf)
    )


def log_prior(fit: Fit) -> xr.DataArray:
    """Log density of the top-level priors at every draw, on the parameters' own scale: (chain, draw).

    Up to a constant: improper priors count with their unnormalised density.
    """
    shape = fit.posterior.sizes["chain"], fit.posterior.sizes["draw"]
    total = np.zeros(shape)
    for _, prior, x in _parameters(fit):
        if prior.support not in ("correlation", "covariance"):
            total += prior.log_density(x).reshape(shape)
    for label, matrix in fit.spec.correlations(fit.posterior).items():
        total += fit.priors[label].log_density_of_matrices(matrix).reshape(*shape, -1).sum(-1)
    return xr.DataArray(total, dims=("chain", "draw"))


def _log_likelihood(fit: Fit) -> xr.DataArray:
    """Marginal log-likelihood of the data at every draw: (chain, draw)."""
    cluster = fit.design.attrs["cluster"]
    parts = [fit.cluster_log_likelihood.sum(cluster)] if cluster else [v.sum("row") for v in row_log_likelihood(fit)]
    return sum(parts).drop_vars(["chain", "draw"])


def _parameters(fit: Fit) -> Iterator[tuple[str, Prior, np.ndarray]]:
    """Label, prior and draws (chain * draw,) of every element of the top-level parameters; correlations once."""
    for label, key, x in fit.spec.parameters(fit.posterior):
        yield label, fit.priors[key], x.transpose("chain", "draw").to_numpy().ravel()


def _quantities(fit: Fit) -> xr.DataArray:
    """Draws of the parameters and the headline estimands that vary: (chain, draw, label)."""
    shape = fit.posterior.sizes["chain"], fit.posterior.sizes["draw"]
    found = {label: x.reshape(shape) for label, _, x in _parameters(fit)}
    for e in fit.spec.estimands(fit.design):
        if e.headline:
            labels, x = elements(e.draws(fit.posterior, fit.design).rename(e.name))
            found |= {label: x[..., k] for k, label in enumerate(labels) if np.ptp(x[..., k]) > 0}
    return xr.DataArray(
        np.stack(list(found.values()), -1), dims=("chain", "draw", "label"), coords={"label": list(found)}
    )
