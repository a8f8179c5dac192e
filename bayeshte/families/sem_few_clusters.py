"""Informative priors of the between level, for structural equation models with few clusters.

A path between clusters is a covariance over a variance: with few clusters, or a small ICC, posterior mass at variances near zero
makes it unstable. Zitzmann, Helm & Hecht (2021) name two remedies, which go together: a slightly informative prior of the
predictor's variance between clusters (Zitzmann, Lüdtke & Robitzsch, 2015, on small ICCs), and one of the path itself.

With tau = sqrt(icc) SD(y) the SD between clusters that is expected of a variable on both levels (sqrt(icc / (1 - icc)) SDs of its
residual within, of a latent response),

- its SD between clusters, or that of its residual, is Gamma(2, 2 / tau): mean tau, 95 % between 0.12 tau and 2.8 tau. The
  density of shape 2 is zero at zero and linear near it: it keeps an SD from zero, but lets the data go near (Chung et al., 2013);
- indicators of a factor between clusters, whose residuals there may be zero: HalfNormal(tau);
- a path y ~ x: Normal(0, path tau_y / tau_x), a cluster's own variables and covariates with their SD in the data.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayeshte.errors import SpecError
from bayeshte.families.sem import SEM
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_priors import Scales
from bayeshte.marginal.structural_categorical import UNITS
from bayeshte.prior import Gamma, HalfNormal, Normal, Prior

if TYPE_CHECKING:
    from bayeshte.spec import ModelSpec


def few_cluster_priors(spec: "ModelSpec", data: pd.DataFrame, icc: float = 0.1, path: float = 0.5) -> dict[str, Prior]:
    """Informative priors of SDs and paths between clusters, ready for ``priors=``; all others keep their defaults.

    Parameters
    ----------
    spec : SEM
        With two levels.
    data : DataFrame
        For the total variances of variables on both levels, and the SDs of variables of clusters.
    icc : float
        Intraclass correlation that is expected from earlier studies: an SD between clusters has the prior mean
        sqrt(icc * total variance).
    path : float
        Prior SD of a standardised path between clusters: with 0.5, 95 % of the prior are between -1 and 1.

    Returns
    -------
    dict
        Parameter to `Prior`: ``sd[between: y]`` Gamma(2, 2 / tau), of indicators HalfNormal(tau); ``path[between: y ~ x]``
        Normal(0, path tau_y / tau_x). A parameter that is shared with the within level is not among them.

    Raises
    ------
    SpecError
        For a model that is no `SEM` of two levels, or numbers out of range.

    Examples
    --------
    >>> priors = few_cluster_priors(spec, data, icc=0.15)
    >>> fit = bh.fit(replace(spec, priors=priors), data)
    """
    if not isinstance(spec, SEM) or not spec.structure.two_level:
        raise SpecError("few_cluster_priors is for a bh.SEM of two levels: within=, between= and cluster=.")
    for name, value, largest in (("icc", icc, 1.0), ("path", path, np.inf)):
        if not 0 < value < largest:
            raise SpecError(f"{name}={value!r}: a number above 0{' and below 1' if largest == 1 else ''}.")
    design = spec.design(data)
    s = spec.structure_of(design)
    values = data_of(design)
    scales = Scales(s, design, values)
    for v in s.both:
        y = values.Y[:, s.within.index(v)]
        middle, tau = float(np.nanmean(y)), float(np.sqrt(icc) * np.nanstd(y))
        if v in s.links:  # what is known of a latent response is the SD of its residual within
            middle, tau = scales.of("between", v)[0], float(np.sqrt(icc / (1 - icc)) * UNITS[s.links[v]])
        scales.moments["between", v] = middle, tau
    indicators = {r.rhs for r in s.table.at("between") if r.op == "=~"}
    out: dict[str, Prior] = {}
    for p in s.parameters:
        row = p.rows[0]
        if any(r.level != "between" for r in p.rows):
            continue
        tau = scales.of("between", row.lhs)[1]
        if p.variable == "path":
            out[p.key] = Normal(0, path * tau / scales.of("between", row.rhs)[1])
        elif p.variable == "sd" and row.lhs in (*s.both, *s.table.factors("between")):
            out[p.key] = HalfNormal(tau) if row.lhs in indicators else Gamma(2, 2 / tau)
    return out
