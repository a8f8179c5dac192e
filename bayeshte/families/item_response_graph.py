"""The joint graph of an ItemResponse: its equations as PyMC runs them, abilities and effects of items and clusters included."""

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from bayeshte.families.item_response_arrays import Arrays, ability_mean, easiness
from bayeshte.families.item_response_priors import fixed_labels
from bayeshte.marginal.item_categories import ADJACENT, LOGIT, Form, helmert
from bayeshte.prior import Prior, random_variable

UNREACHABLE = 1e6  # a threshold that nobody passes


def joint(design: xr.Dataset, priors: Mapping[str, Prior], centred: bool) -> pm.Model:
    """See `ModelSpec.joint`."""
    D = Arrays(design)
    with pm.Model(coords=D.coords) as model:
        arm = pm.Data("arm_code", D.person_arm.astype("int32"), dims=D.person)  # pm.do sets everybody's treatment
        T = pt.eq(arm[:, None], np.arange(1, D.n_contrasts + 1)).astype("float64")
        theta = _before_and_after(D, priors, T, centred) if D.occasion else _abilities(D, priors, arm, T, centred)
        b, zeta = _items(D, priors, centred)
        drift = _drift(D, priors, centred) if D.untreated_after else pt.zeros(D.n_items)
        later = D.is_after[D.sitting_code]
        own = easiness(b + drift, zeta, D.n_contrasts)[arm[D.person_code], D.item_code]
        eta = theta + (pt.switch(later, own, b[D.item_code]) if D.occasion else own)
        if D.form is None or (D.model == "rasch" and D.form.link == LOGIT):
            pm.Bernoulli("y", logit_p=eta, observed=D.y, dims="row")
        else:
            pm.Categorical("y", p=_probabilities(D, priors, eta), observed=D.y.astype(int), dims="row")
    return model


def _abilities(D: Arrays, priors: Mapping[str, Prior], arm, T, centred: bool):
    """Abilities of persons, as each row has them."""
    _, X, M = D.persons
    v0, v1 = _clusters(D, priors, centred) if D.cluster else (0.0, 0.0)
    mean = ability_mean(T, X, M, *_coefficients(D, priors), v0, v1)
    sigma = random_variable("sigma_theta", [priors[v] for v in D.sigmas], D.arm_dim if len(D.sigmas) > 1 else None)
    sigma = sigma[arm] if len(D.sigmas) > 1 else sigma
    if centred:
        theta = pm.Normal("theta", mean, sigma, dims=D.person)
    else:
        theta = pm.Deterministic("theta", mean + sigma * pm.Normal("_eps", 0, 1, dims=D.person), dims=D.person)
    return theta[D.person_code]


def _before_and_after(D: Arrays, priors: Mapping[str, Prior], T, centred: bool):
    """Abilities (person, occasion), normal with an SD on each occasion and a correlation, as each row has them."""
    _, X, M = D.persons
    v0, v1 = _clusters(D, priors, centred) if D.cluster else (0.0, 0.0)
    given = _coefficients(D, priors)
    time = random_variable("beta_time", [priors["beta_time"]]) if D.untreated_after else 0.0
    before = ability_mean(pt.zeros_like(T), X, M, *given, v0, v1)
    mean = pt.stack([before, ability_mean(T, X, M, *given, v0, v1) + time], axis=1)
    sigma = random_variable("sigma_theta", [priors[v] for v in D.sigmas], D.occasion)
    factor, dims = _correlated("rho_theta", priors["rho_theta"], sigma, None), (D.person, D.occasion)
    if centred:
        theta = pm.MvNormal("theta", mean, chol=factor, dims=dims)
    else:
        theta = pm.Deterministic("theta", mean + pm.Normal("_eps", 0, 1, dims=dims) @ factor.T, dims=dims)
    return theta.ravel()[D.sitting_code]


def _drift(D: Arrays, priors: Mapping[str, Prior], centred: bool):
    """How much easier each item became for everybody, (item,)."""
    sigma = random_variable("sigma_drift", [priors["sigma_drift"]])
    if centred:
        return pm.Normal("drift", 0, sigma, dims=D.item)
    return pm.Deterministic("drift", sigma * pm.Normal("_d", 0, 1, dims=D.item), dims=D.item)


def _coefficients(D: Arrays, priors: Mapping[str, Prior]) -> tuple:
    """beta0, beta1 (contrast,), beta2 (covariate,), beta3 (contrast, moderator)."""
    K, m = D.n_contrasts, len(D.labels("moderator"))
    beta0 = random_variable("beta0", [priors["beta0"]])
    beta1 = random_variable("beta1", [priors[v] for v in D.by_arm("beta1")], D.contrast_dims or None)
    beta2, beta3 = pt.zeros(0), pt.zeros((K, 0))
    if D.labels("covariate"):
        beta2 = random_variable("beta2", [priors[f"beta2[{x}]"] for x in D.labels("covariate")], "covariate")
    if m:
        labels = D.by_arm("beta3", D.labels("moderator"))
        beta3 = random_variable("beta3", [priors[v] for v in labels], (*D.contrast_dims, "moderator"))
    return beta0, beta1.reshape((K,)), beta2, beta3.reshape((K, m))


def _correlated(name: str, prior: Prior, sd, dims: tuple[str, str] | None):
    """Scale matrix of correlated effects; the correlation is registered, a single one without dims."""
    q = len(pm.modelcontext(None).coords[dims[0]]) if dims else 2
    names = {"rho": "_corr_factor", "corr": "_cluster_factor", "rho_theta": "_ability_factor"}
    factor = random_variable(names[name], [prior], size=q)
    matrix = factor @ factor.T
    pm.Deterministic(name, matrix if dims else matrix[1, 0], dims=dims)
    return sd[:, None] * factor


def _effects(name: str, noise: str, factor, dims: tuple[str, str], centred: bool):
    """Normal effects with a scale matrix, a row an item or cluster."""
    if centred:
        return pm.MvNormal(name, 0, chol=factor, dims=dims)
    return pm.Deterministic(name, pm.Normal(noise, 0, 1, dims=dims) @ factor.T, dims=dims)


def _clusters(D: Arrays, priors: Mapping[str, Prior], centred: bool) -> tuple:
    """Effects of each person's cluster on the ability: of the intercept (person,), of the arms (person, contrast)."""
    names = ("cluster_varying", "cluster_varying_")
    sd = random_variable("sd", [priors[f"sd[{v}]"] for v in D.cluster_varying], names[0])
    factor = _correlated("corr", priors["corr"], sd, names) if "corr" in priors else pt.diag(sd)
    return D.split(_effects("v", "_v", factor, (D.cluster, names[0]), centred)[D.person_cluster])


def _items(D: Arrays, priors: Mapping[str, Prior], centred: bool) -> tuple:
    """Easiness b (item,) and effects zeta (contrast, item)."""
    if D.fixed:
        sd = np.array([priors[v]["sigma"] for v in fixed_labels(D)])
        if centred:
            u = pm.ZeroSumNormal("u", sd[:, None], dims=("varying", D.item))
        else:
            noise = pm.ZeroSumNormal("_z", 1, dims=("varying", D.item))
            u = pm.Deterministic("u", sd[:, None] * noise, dims=("varying", D.item))
        u = u.T
    else:
        sds = [random_variable("sigma_b", [priors["sigma_b"]])]
        if D.q > 1:
            labels = D.by_arm("sigma_zeta")
            sds.append(random_variable("sigma_zeta", [priors[v] for v in labels], D.contrast_dims or None))
        sd = pt.concatenate([v.reshape((-1,)) for v in sds])
        dims = ("varying", "varying_") if D.n_contrasts > 1 else None
        factor = _correlated("rho", priors["rho"], sd, dims) if D.q > 1 else pt.diag(sd)
        u = _effects("u", "_z", factor, (D.item, "varying"), centred)
    explained = D.W @ _item_coefficients(D, priors).T if D.labels("item_covariate") else 0.0
    e = explained + u
    b = pm.Deterministic("b", e[:, 0], dims=D.item)
    if D.q == 1:
        return b, pt.zeros((D.n_contrasts, D.n_items))
    zeta = e[:, 1:].T
    pm.Deterministic("zeta", zeta if D.contrast_dims else zeta[0], dims=(*D.contrast_dims, D.item))
    return b, zeta


def _probabilities(D: Arrays, priors: Mapping[str, Prior], eta):
    """Probabilities of the categories of each row, (row, K) with zeros behind the categories of its item."""
    form = D.form
    a, tau = pt.ones(D.n_items), pt.zeros(form.first[-1] - D.n_items)
    if form.free:
        sigma_a = random_variable("sigma_a", [priors["sigma_a"]])
        a = pm.Deterministic("a", pt.exp(pm.Normal("log_a", 0, sigma_a, dims=D.item)), dims=D.item)
    if D.threshold_prior:
        prior = priors[D.threshold_prior]
        step = pm.Normal("step", prior["mu"], prior["sigma"], dims="threshold_step")
        tau = pt.concatenate([_thresholds(form, form.n_categories[i], step[form.steps(i)]) for i in range(D.n_items)])
        tau = pm.Deterministic("tau", tau, dims="threshold")
    n, highest = form.n_categories, int(form.n_categories.max()) - 1
    place = np.full((D.n_items, highest), form.first[-1] - D.n_items)  # thresholds beyond the last are out of reach
    for i in range(D.n_items):
        place[i, : n[i] - 1] = np.arange(form.first[-1] - D.n_items)[form.of_item(i)]
    tau = pt.concatenate([tau, [UNREACHABLE]])[place]
    x = a[D.item_code, None] * (eta[:, None] - tau[D.item_code])
    if form.form == ADJACENT:
        return pm.math.softmax(pt.concatenate([pt.zeros((len(D.y), 1)), pt.cumsum(x, axis=1)], axis=1), axis=1)
    F = pm.math.sigmoid if form.link == LOGIT else _normal_cdf
    one, zero = pt.ones((len(D.y), 1)), pt.zeros((len(D.y), 1))
    at_least = pt.concatenate([one, F(x), zero], axis=1)
    below = pt.concatenate([zero, F(-x), one], axis=1)
    left = at_least[:, :-1] + at_least[:, 1:] < 1.0  # the difference of the smaller ones has more digits
    return pt.switch(left, at_least[:, :-1] - at_least[:, 1:], below[:, 1:] - below[:, :-1])


def _normal_cdf(x):
    """As precise far below zero as near it."""
    return 0.5 * pt.erfc(-x / np.sqrt(2.0))


def _thresholds(form: Form, n: int, step):
    """tau (K - 1) of an item, which sum to zero, from its log distances or from its contrasts."""
    if form.form == ADJACENT:
        return pt.dot(helmert(n - 1), step)
    tau = pt.concatenate([[0.0], pt.cumsum(pt.exp(step))])
    return tau - tau.mean()


def _item_coefficients(D: Arrays, priors: Mapping[str, Prior]):
    """Coefficients of item covariates, (q, item_covariate)."""
    m = len(D.labels("item_covariate"))
    labels = D.item_labels
    out = [random_variable("gamma", [priors[v] for v in labels[:m]], "item_covariate")[None]]
    if D.q > 1:
        delta = random_variable("delta", [priors[v] for v in labels[m:]], (*D.contrast_dims, "item_covariate"))
        out.append(delta.reshape((-1, m)))
    return pt.concatenate(out)
