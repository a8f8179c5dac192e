"""Default and Mplus priors of RandomSlope, resolved to numbers before anything is sampled.

Default: with s the outcome's SD (1 on a link scale) and s_x that of a column, coefficients are Normal(0, 2.5 s / s_x),
SDs of random effects HalfNormal(s / s_x), correlations LKJ(2), the residual SD HalfNormal(s). Shifting or scaling the
outcome shifts and scales every prior with it. The shape alpha of a skew normal residual is Normal(0, 4): no side is preferred,
and half of the mass is at a skewness beyond 0.6. phi of a negative binomial outcome is InverseGamma(0.4, 0.3), brms's default:
its tail
reaches to Poisson, little of it is near zero. Widths of ordered categories are HalfNormal(2.5 s). The intercept is that of the
user's own coding (covariates are not centred), so its prior allows for what the coefficients' priors let it be: SD 2.5 s
sqrt(1 + sum (mean_x / s_x)^2).
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayeshte.errors import DataError, SpecError
from bayeshte.families.random_slope_arrays import Arrays, label
from bayeshte.prior import LKJ, Flat, Gamma, HalfNormal, InverseGamma, Normal, Power, Prior, override


def resolve(given: str | Mapping[str, Prior], family: str, design: xr.Dataset) -> dict[str, Prior]:
    """Prior of every parameter by label, in the order of the kernel: beta, sd, sigma (nu), corr."""
    D = Arrays(design)
    if given == "mplus":
        return _mplus(D, family)
    if isinstance(given, str) and given != "default":
        raise SpecError(f"priors={given!r}: write 'default', 'mplus' or a mapping of labels to priors.")
    out = _default(D, family)
    return out if isinstance(given, str) else override(out, given)


def _default(D: Arrays, family: str) -> dict[str, Prior]:
    centre, s = _scale(D, family)
    full = D.full
    mean, spread = full[:, 1:].mean(0), full[:, 1:].std(0)
    widened = np.sqrt(1 + ((mean / spread) ** 2)[D.n_contrasts :].sum())
    out = {"gamma0": Normal(centre, 2.5 * s * widened)}
    for k, name in enumerate(D.full_labels[1:]):
        unit = 1.0 if k < D.n_contrasts else spread[k]
        out[name] = Normal(0, 2.5 * s / unit)
    for name in D.varying:
        unit = 1.0
        if name in D.slopes:
            unit = D.S[:, D.slopes.index(name)].std()
        out[label("sd", name)] = HalfNormal(s / unit)
    sigmas = [None] if D.sigmas == 1 else (D.labels(D.arms) if D.sigmas else [])
    out |= {label("sigma", a): HalfNormal(s) for a in sigmas}
    if family == "student":
        out["nu"] = Gamma(2, 0.1)
    if family == "skew normal":
        out["alpha"] = Normal(0, 4)
    if family == "negative binomial":
        out["phi"] = InverseGamma(0.4, 0.3)
    out |= {label("width", c): HalfNormal(2.5 * s) for c in D.labels("inner_category")}
    if D.q > 1:
        out["corr"] = LKJ(2)
    return out


def _scale(D: Arrays, family: str) -> tuple[float, float]:
    """Centre and scale of the outcome on the scale of eta."""
    match family:
        case "gaussian" | "student" | "skew normal":
            if D.se is not None:
                return float(D.y.mean()), float(np.sqrt(D.y.var() + np.median(D.se) ** 2))
            return float(D.y.mean()), float(D.y.std())
        case "poisson" | "negative binomial":
            return float(np.log(D.y.mean())), 1.0
        case "probit" | "ordered probit":
            return 0.0, 0.6
        case _:
            return 0.0, 1.0


def _mplus(D: Arrays, family: str) -> dict[str, Prior]:
    """Mplus BAYES defaults for continuous outcomes: N(0, infinity), IG(-1, 0), IW(0, -p - 1).

    IW(0, -p - 1) is flat on the covariance matrix: LKJ(1) times the product of sd^p.
    """
    if family != "gaussian":
        raise SpecError(f"priors='mplus' is defined here for family='gaussian', not {family!r}.")
    regressors = 1 + sum(_between(D, k) for k in range(1, D.full.shape[1])) if D.q else 0
    if D.q and D.n_clusters - regressors <= 2 * D.q:
        raise DataError(
            f"Flat priors on the {D.q} x {D.q} covariance matrix leave the posterior improper: it needs more than "
            f"{2 * D.q + regressors} clusters ({regressors} between-level regressors), there are {D.n_clusters}. "
            "Use priors='default' or name proper priors of 'sd' and 'corr'."
        )
    out: dict[str, Prior] = {name: Flat() for name in D.full_labels}
    out |= {label("sd", v): Power(max(D.q, 1)) for v in D.varying}
    sigmas = [None] if D.sigmas == 1 else (D.labels(D.arms) if D.sigmas else [])
    out |= {label("sigma", a): Power(1) for a in sigmas}
    if D.q > 1:
        out["corr"] = LKJ(1)
    return out


def _between(D: Arrays, column: int) -> bool:
    """Whether a column of the model matrix is constant within every cluster."""
    x = D.full[:, column]
    first = np.zeros(D.n_clusters)
    first[D.code[::-1]] = x[::-1]
    return bool(np.allclose(x, first[D.code]))
