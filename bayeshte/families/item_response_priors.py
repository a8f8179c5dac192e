"""Default priors of ItemResponse, resolved to numbers before anything is sampled.

On the scale of log odds: coefficients are Normal(0, 2.5 / s_x) with s_x the SD of a column over persons, sigma_theta and
sigma_b HalfNormal(2.5), sigma_zeta HalfNormal(1), the correlation LKJ(2). Covariates are not centred, so the priors of beta0 and
beta1 allow for what the coefficients' priors let them be: SD 2.5 sqrt(1 + sum (mean_x / s_x)^2).
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.prior import LKJ, HalfNormal, Normal, Prior, override

SCALE = 2.5


def resolve(given: str | Mapping[str, Prior], design: xr.Dataset) -> dict[str, Prior]:
    """Prior of every parameter by label, in the order of the kernel: beta, sigma_b, sigma_zeta, sigma_theta, rho."""
    if isinstance(given, str) and given != "default":
        raise SpecError(f"priors={given!r}: write 'default' or a mapping of labels to priors.")
    out = _default(Arrays(design))
    return out if isinstance(given, str) else override(out, given)


def _default(D: Arrays) -> dict[str, Prior]:
    _, X, M = D.persons
    spread = np.concatenate([X.std(0), M.std(0)])
    out: dict[str, Prior] = {}
    for label, x in (("beta0", X), ("beta1", M)):
        out[label] = Normal(0, SCALE * np.sqrt(1 + ((x.mean(0) / x.std(0)) ** 2).sum()))
    for label, s in zip(D.full_labels[2:], spread, strict=True):
        out[label] = Normal(0, SCALE / s)
    out["sigma_b"] = HalfNormal(SCALE)
    if D.q > 1:
        out["sigma_zeta"] = HalfNormal(1)
    out["sigma_theta"] = HalfNormal(SCALE)
    if D.q > 1:
        out["rho"] = LKJ(2)
    return out
