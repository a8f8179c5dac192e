"""What nobody observed in the joint graph of an EffectMixture: classes, and effects of clusters."""

from collections.abc import Callable, Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.prior import Prior, random_variable


def class_labels(D: Arrays, priors: Mapping[str, Prior], centred: bool):
    """The class of every unit, in a model context."""
    if D.classes == 1:
        return np.zeros(D.n_units, int)
    if not D.logit_membership:
        pi = random_variable("pi", [priors["pi"]], "class", size=D.classes)
        return pm.Categorical("label", p=pi, dims=D.unit)
    sigma = np.array([priors[f"alpha[{w}]"]["sigma"] for w in D.labels("member")])
    alpha = pm.ZeroSumNormal("alpha", sigma=sigma[:, None], dims=("member", "class"))
    odds = pt.dot(D.W, alpha)
    if D.varies:
        odds += _membership_effects(D, priors, centred)[D.design["cluster_code"].to_numpy()]
    return pm.Categorical("label", logit_p=odds, dims=D.unit)


def _membership_effects(D: Arrays, priors: Mapping[str, Prior], centred: bool):
    """Effects of clusters on the log odds of the classes, (cluster, class); the SD is that of differences of two of them."""
    sigma = random_variable("sd_membership", [priors["sd_membership"]]) / np.sqrt(2)
    if centred:
        return pm.ZeroSumNormal("u_membership", sigma=sigma, dims=D.effect_dims["u_membership"])
    z = pm.ZeroSumNormal("_z_membership", sigma=1, dims=D.effect_dims["u_membership"])
    return pm.Deterministic("u_membership", sigma * z, dims=D.effect_dims["u_membership"])


def random_effects(D: Arrays, priors: Mapping[str, Prior], parameter: Callable, label, centred: bool):
    """U0 (row,) and U1 (row, contrast), in a model context; `parameter` gives one in every class, `label` the class of units."""
    sd, same = parameter("sd", ("varying",)), "class" not in D.with_class("sd", ())
    factor = sd[:, :, None] * pt.eye(D.q)
    if D.q > 1:
        names = ["_corr_factor"] if same else [f"_corr_factor_{k}" for k in range(D.classes)]
        L = pt.stack([random_variable(v, [priors["corr"]], size=D.q) for v in names])
        corr = L @ L.mT
        pm.Deterministic("corr", corr[0] if same else corr, dims=D.with_class("sd", ("varying", "varying_")))
        factor = sd[:, :, None] * (pt.stack([L[0]] * D.classes) if same else L)
    clusters = np.arange(len(D.labels(D.cluster)))
    dims = D.effect_dims.get("u", (D.cluster, "varying"))
    if D.own_effects:
        own = factor[np.repeat(np.arange(D.classes)[:, None], len(clusters), axis=1)]
    else:
        own = factor[0 * clusters if D.unit == "row" else label]
    if centred:
        u = pm.MvNormal("u", 0, chol=own, dims=dims)
    else:
        z = pm.Normal("_z", 0, 1, dims=dims)
        u = pm.Deterministic("u", (own @ z[..., None])[..., 0], dims=dims)
    pick = np.array([[v == a for a in D.contrasts] for v in D.varying], float).reshape(D.q, len(D.contrasts))
    code = D.design["cluster_code"].to_numpy()
    of_rows = u[label, code] if D.own_effects else u[code]
    return of_rows[:, 0], of_rows @ pick
