"""Default priors of ItemResponse, resolved to numbers before anything is sampled.

On the scale of log odds: coefficients are Normal(0, 2.5 / s_x) with s_x the SD of a column over persons (or items:
gamma), sigma_theta, sigma_b and the SD of clusters HalfNormal(2.5), SDs of effects over items and over clusters
HalfNormal(1), coefficients of item covariates for effects Normal(0, 1 / s_w), correlations LKJ(2). Fixed items: b
Normal(0, 5), zeta Normal(0, 2.5), each restricted to sum to zero. Discriminations: log a ~ Normal(0, sigma_a^2),
sigma_a HalfNormal(0.5); distances of the thresholds of a graded item LogNormal(0, 1), thresholds of a partial credit
item Normal(0, 1.5) restricted to sum to zero. On two occasions: beta_time Normal(0, 2.5), sigma_drift HalfNormal(1),
rho_theta LKJ(2). Covariates are not centred, so the priors of beta0 and beta1 allow for
what the coefficients' priors let them be: for beta0 the SD 2.5 sqrt(1 + sum (mean_x / s_x)^2), x covariates of persons
and items.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_names import INTERCEPT
from bayeshte.prior import LKJ, HalfNormal, LogNormal, Normal, Prior, override

SCALE, EFFECT = 2.5, 1.0
OTHERS = ("rho", "corr", "rho_theta", "gap", "tau")  # of what is no single number in the kernel
FIXED = {"b": 5.0, "zeta": 2.5}
THRESHOLDS = {"gap": LogNormal(0, 1), "tau": Normal(0, 1.5)}


def resolve(given: str | Mapping[str, Prior], design: xr.Dataset) -> dict[str, Prior]:
    """Prior of every parameter by label, in the order of the kernel: beta, gamma, SDs of items, SDs of clusters,
    sigma_a, sigma_theta; then those of correlations, of thresholds, and of fixed items."""
    if isinstance(given, str) and given != "default":
        raise SpecError(f"priors={given!r}: write 'default' or a mapping of labels to priors.")
    D = Arrays(design)
    out = _default(D)
    if isinstance(given, str):
        return out
    out = override(out, given)
    for name in fixed_labels(D):
        if out[name].name != "Normal" or out[name]["mu"] != 0:
            raise SpecError(
                f"priors[{name!r}] = {out[name]!r}: effects of fixed items sum to zero and are bh.Normal(0, sd)."
            )
    kind = D.threshold_prior
    if kind and (out[kind].name != THRESHOLDS[kind].name or (kind == "tau" and out[kind]["mu"] != 0)):
        what = "distances of thresholds are bh.LogNormal(mu, sigma)"
        what = what if kind == "gap" else "thresholds sum to zero and are bh.Normal(0, sd)"
        raise SpecError(f"priors[{kind!r}] = {out[kind]!r}: {what}.")
    return out


def fixed_labels(D: Arrays) -> list[str]:
    """Labels of the priors of fixed items: easiness, then the effect of each arm."""
    return ["b", *(D.by_arm("zeta") if D.q > 1 else [])] if D.fixed else []


def scalars(priors: Mapping[str, Prior], D: Arrays) -> list[Prior]:
    """The priors of what the kernel samples as single numbers, in its order."""
    return [prior for name, prior in priors.items() if name not in (*OTHERS, *fixed_labels(D))]


def _default(D: Arrays) -> dict[str, Prior]:
    _, X, M = D.persons
    W = D.W
    far = {name: ((x.mean(0) / x.std(0)) ** 2).sum() for name, x in (("X", X), ("M", M), ("W", W))}
    out: dict[str, Prior] = {"beta0": Normal(0, SCALE * np.sqrt(1 + far["X"] + far["W"]))}
    of_items = EFFECT**2 * far["W"] if D.q > 1 else 0.0
    for label in D.by_arm("beta1"):
        out[label] = Normal(0, np.sqrt(SCALE**2 * (1 + far["M"]) + of_items))
    if D.untreated_after:
        out["beta_time"] = Normal(0, SCALE)
    spread = np.concatenate([X.std(0), *[M.std(0)] * D.n_contrasts])
    for label, s in zip(D.full_labels[len(out) :], spread, strict=True):
        out[label] = Normal(0, SCALE / s)
    for k, label in enumerate(D.item_labels):
        out[label] = Normal(0, (SCALE if k < W.shape[1] else EFFECT) / W.std(0)[k % W.shape[1]])
    if not D.fixed:
        out["sigma_b"] = HalfNormal(SCALE)
        if D.q > 1:
            out |= {label: HalfNormal(EFFECT) for label in D.by_arm("sigma_zeta")}
        out |= {"sigma_drift": HalfNormal(EFFECT)} if D.untreated_after else {}
    out |= {f"sd[{v}]": HalfNormal(SCALE if v == INTERCEPT else EFFECT) for v in D.cluster_varying}
    if D.form is not None and D.form.free:
        out["sigma_a"] = HalfNormal(0.5)
    out |= {label: HalfNormal(SCALE) for label in D.sigmas}
    if D.q > 1 and not D.fixed:
        out["rho"] = LKJ(2)
    if len(D.cluster_varying) > 1:
        out["corr"] = LKJ(2)
    out |= {"rho_theta": LKJ(2)} if D.occasion else {}
    out |= {D.threshold_prior: THRESHOLDS[D.threshold_prior]} if D.threshold_prior else {}
    return out | {name: Normal(0, FIXED[name.split("[")[0]]) for name in fixed_labels(D)}
