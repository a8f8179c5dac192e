"""Default priors of EffectMixture, resolved to numbers before anything is sampled; the same in all classes.

With s the outcome's SD (1 on a link scale) and s_x that of a column: coefficients are Normal(0, 2.5 s / s_x), SDs of random
effects HalfNormal(s / s_x), correlations LKJ(2); the SD across clusters of the log odds of one class against another is
HalfNormal(1), whichever two classes these are. Two priors keep classes from collapsing. Class probabilities are Dirichlet(2),
whose density is zero where a class is empty. Residual SDs are LogNormal around 0.7 s: the likelihood of a mixture grows without
bound where a class shrinks to a few equal values (Day, 1969), and only a prior that falls faster than every power of sigma keeps
the posterior proper there. Nothing keeps two classes from being alike; `bh.class_check` says so.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.prior import LKJ, Dirichlet, Gamma, HalfNormal, LogNormal, Normal, Prior, override


def resolve(given: str | Mapping[str, Prior], design: xr.Dataset) -> dict[str, Prior]:
    """Priors by label without its class: gamma0, gamma1[arm], gamma2[x], sd[v], sigma, nu, corr, pi or alpha[w],
    sd_membership."""
    D = Arrays(design)
    if isinstance(given, str) and given != "default":
        raise SpecError(f"priors={given!r}: write 'default' or a mapping of labels to priors.")
    out = _default(D)
    if not isinstance(given, str):
        out = override(out, given)
    for name in (f"alpha[{w}]" for w in D.labels("member")):
        if name in out and (out[name].name != "Normal" or out[name]["mu"] != 0):
            raise SpecError(
                f"priors[{name!r}]: {out[name]!r} must be Normal with mean 0, which treats all classes alike."
            )
    return out


def _default(D: Arrays) -> dict[str, Prior]:
    centre, s = _scale(D)
    X = D.X
    widened = np.sqrt(1 + ((X.mean(0) / X.std(0)) ** 2).sum())
    out: dict[str, Prior] = {"gamma0": Normal(centre, 2.5 * s * widened)}
    out |= {f"gamma1[{a}]": Normal(0, 2.5 * s) for a in D.contrasts}
    out |= {f"gamma2[{x}]": Normal(0, 2.5 * s / sd) for x, sd in zip(D.labels("covariate"), X.std(0), strict=True)}
    out |= {f"sd[{v}]": HalfNormal(s) for v in D.varying}
    if D.sigmas:
        out["sigma"] = LogNormal(np.log(0.7 * s), 0.6)
    if D.family == "student":
        out["nu"] = Gamma(2, 0.1)
    if D.q > 1:
        out["corr"] = LKJ(2)
    if D.logit_membership:
        mean, sd = D.W[:, 1:].mean(0), D.W[:, 1:].std(0)
        spread = [1 / np.sqrt(1 + ((mean / sd) ** 2).sum()), *sd]
        out |= {f"alpha[{w}]": Normal(0, 1.5 / sd) for w, sd in zip(D.labels("member"), spread, strict=True)}
    elif D.classes > 1:
        out["pi"] = Dirichlet(2)
    if D.varies:
        out["sd_membership"] = HalfNormal(1)
    return out


def _scale(D: Arrays) -> tuple[float, float]:
    """Centre and scale of the outcome on the scale of eta."""
    if D.sigmas:
        return float(D.y.mean()), float(D.y.std())
    if D.family == "poisson":
        return float(np.log(D.y.mean())), 1.0
    return 0.0, 1.0
