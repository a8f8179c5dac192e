"""How well a structural equation model fits, in a table: posterior predictive p-values, DIC, BIC, leave-one-out."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.checks.loo import loo, row_log_likelihood
from bayeshte.checks.ppp import discrepancies
from bayeshte.errors import DataError, SpecError
from bayeshte.families import SEM
from bayeshte.families.sem_draws import collapsed, stacked
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_structure import Structure
from bayeshte.fit import Fit
from bayeshte.marginal.matrices import cells

COLUMNS = ("statistic", "level", "value", "lower", "upper", "definition")


def model_fit(fit: Fit, draws: int = 500, seed: int = 0) -> pd.DataFrame:
    """Fit statistics of a structural equation model.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.SEM`.
    draws : int
        Evenly spaced draws, each with one replicated data set, for the posterior predictive p-values.
    seed : int
        Of the replicated data.

    Returns
    -------
    DataFrame
        A row a statistic: ``statistic``; ``level``, "within" or "between", empty for the whole model; ``value``; ``lower``,
        ``upper``; ``definition``. What is not available for a model has no value, and the definition says why.

        PPP: P(discrepancy of replicated > of observed data), near .5 for a model that fits, near 0 for one that does not
        (Asparouhov & Muthén, 2010); with two levels also by level, the other one saturated (Ryu & West, 2009). In clusters of
        two or three, what is wrong within moves the between estimates too: mend the within model first. Beneath it the
        median and 95 % interval (order statistics) of observed - replicated discrepancy.

        DIC (Spiegelhalter et al., 2002) comes in two kinds that must not be compared with each other: marginal, and
        conditional on the clusters' latent means and random slopes, as Mplus prints it. Means are those of variances and
        covariances, not of SDs and correlations. BIC: -2 log L at the posterior medians + k ln N.

        With categorical variables the discrepancy is that of latent responses (probit), drawn anew in every draw: for the
        observed data given their categories, continuous values and the clusters' latent means. DIC and BIC are marginal: all that
        is latent is integrated numerically, as the definition says. Mplus prints neither there.

    Raises
    ------
    SpecError
        For another family.
    """
    if not isinstance(fit.spec, SEM):
        raise SpecError("Fit statistics are those of a bh.SEM: use bh.loo, bh.compare or bh.predictive_checks.")
    parts: list[tuple[str, Callable[[], Iterator[dict]]]] = [("PPP", lambda: _ppp(fit, draws, seed))]
    if fit.spec.cluster:
        parts += [
            ("DIC, conditional", lambda: _dic(fit, "conditional")),
            ("DIC, marginal", lambda: _dic(fit, "marginal")),
        ]
    else:
        parts += [("DIC", lambda: _dic(fit, ""))]
    parts += [("BIC", lambda: _bic(fit)), ("elpd", lambda: _elpd(fit))]
    rows = []
    for statistic, part in parts:
        try:
            rows += [*part()]
        except (SpecError, DataError) as error:
            rows.append(_row(statistic, np.nan, str(error)))
    return fit.diagnosis.mark(pd.DataFrame(rows, columns=list(COLUMNS)))


def _row(statistic: str, value: float, definition: str, level: str = "", limits=(np.nan, np.nan)) -> dict[str, object]:
    return dict(zip(COLUMNS, (statistic, level, float(value), *map(float, limits), definition), strict=True))


def _ppp(fit: Fit, draws: int, seed: int) -> Iterator[dict]:
    for level, (observed, replicated) in discrepancies(fit, draws, seed).items():
        other = {"within": ", between level saturated", "between": ", within level saturated"}.get(level, "")
        other += ", latent responses in place of categories" if fit.spec.links else ""
        n = len(observed)
        text = f"P(discrepancy of replicated > of observed data), {n} draws{other}"
        yield _row("PPP", (replicated > observed).mean(), text, level)
        difference = np.sort(observed - replicated)
        limits = [difference[int(np.ceil(share * n)) - 1] for share in (0.025, 0.975)]
        text = f"observed - replicated discrepancy, 2 [log L(saturated) - log L(theta)]: median, 95 % interval{other}"
        yield _row("observed - replicated", np.median(difference), text, level, limits)


def _dic(fit: Fit, kind: str) -> Iterator[dict]:
    latent = "latent means and random slopes" if fit.spec.table.slopes else "latent means"
    if kind == "conditional" and fit.spec.links:
        raise SpecError(
            "There is no DIC conditional on clusters with categorical variables: latent responses and factors of rows have no "
            "draws that are kept. The marginal one has them integrated."
        )
    given = f" of the rows, given the {latent} of {fit.spec.cluster}," if kind == "conditional" else ""
    middle = collapsed(_structure(fit), fit.posterior, lambda x: x.mean(("chain", "draw")))
    deviance = _deviance(fit, kind)
    mean, at_mean = float(deviance.mean()), _deviance(_at(fit, middle), kind).item()
    name, how = f", {kind}" if kind else "", _integrated(deviance)
    yield _row(f"DIC{name}", 2 * mean - at_mean, f"mean deviance{given} + pD{how}")
    yield _row(f"pD{name}", mean - at_mean, f"mean deviance{given} - that at the posterior means{how}")


def _bic(fit: Fit) -> Iterator[dict]:
    s = _structure(fit)
    middle = collapsed(s, fit.posterior, lambda x: x.median(("chain", "draw")))
    m, t = matrices(s, fit.design["slots"].to_numpy()), stacked(s, middle)
    for level in range(m.levels):
        values = np.linalg.eigvalsh(cells(m, t, level)[0])
        if values.min() < -1e-9 * values.max():
            raise DataError("There is no BIC: the medians of the variances and covariances make no covariance matrix.")
    k, n = len(s.position), int(fit.design["Y"].notnull().any("within_variable").sum())
    deviance = _deviance(_at(fit, middle), "marginal" if s.two_level else "")
    text = f"deviance at the posterior medians + k ln N, k = {k} parameters, N = {n:,} rows{_integrated(deviance)}"
    yield _row("BIC", deviance.item() + k * np.log(n), text)


def _structure(fit: Fit) -> Structure:
    """With all thresholds that the data have."""
    return fit.spec.structure_of(fit.posterior)


def _at(fit: Fit, posterior: xr.Dataset) -> Fit:
    return replace(fit, draws=xr.DataTree.from_dict({"posterior": posterior}))


def _deviance(fit: Fit, kind: str) -> xr.DataArray:
    """-2 log-likelihood at every draw; attributes as those of the likelihood."""
    if kind == "marginal":
        values = fit.cluster_log_likelihood
        return (-2 * values.sum(fit.spec.cluster)).assign_attrs(values.attrs)
    parts = [*row_log_likelihood(fit)]
    return (-2 * sum(v.sum("row") for v in parts)).assign_attrs(parts[0].attrs)


def _integrated(deviance: xr.DataArray) -> str:
    """What was integrated numerically, as the end of a definition; empty where everything was integrated exactly."""
    return f"; integrated over {deviance.attrs['integrated']}" if "integrated" in deviance.attrs else ""


def _elpd(fit: Fit) -> Iterator[dict]:
    cluster = fit.spec.cluster
    found = loo(fit, "cluster" if cluster else "row", refit=False)
    more = "bh.loo(fit) fits again where it is above" if cluster else "bh.loo(fit, 'row') has all; its limit is"
    text = f"expected log predictive density, {found.what}; SE {found.se:.1f}, largest k-hat {found.worst_khat:.2f}"
    yield _row("elpd", found.elpd, f"{text} ({more} {found.limit:.2f})")
