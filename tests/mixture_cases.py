"""Small data of two latent classes, a specification of every variant of EffectMixture, and draws at points of a density."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from cases import EVALUATE
from scipy.special import expit

import bayeshte as bh

ROLES = dict(outcome="y", treatment="arm", reference="control", cluster="school")


def trial(seed=0, clusters=10, rows=(3, 7), effects=(0.0, 1.5), intercepts=(0.0, 2.0), sd=0.3, share=0.5):
    """Clusters of two classes, drawn by NumPy from the equations, and the class of each."""
    rng = np.random.default_rng(seed)
    n = rng.integers(rows[0], rows[1] + 1, clusters)
    label = (rng.random(clusters) < share).astype(int)
    school = np.repeat(np.arange(clusters), n)
    N = len(school)
    T, x = rng.integers(0, 2, N), rng.normal(size=N)
    z = rng.normal(size=clusters) + label
    c = label[school]
    eta = np.array(intercepts)[c] + sd * rng.normal(size=clusters)[school] + np.array(effects)[c] * T + 0.3 * x
    data = pd.DataFrame(
        {
            "y": eta + rng.normal(size=N),
            "arm": np.where(T == 1, "drug", "control"),
            "school": [f"s{k}" for k in school],
            "x": x,
            "z": z[school],
            "passed": rng.binomial(1, expit(eta)),
            "events": rng.binomial(7, expit(eta - 1)),
            "trials": 7,
            "count": rng.poisson(np.exp(eta / 3)),
        },
        index=[f"row {k}" for k in range(N)],
    )
    return data, label


FIXED = ROLES | {"intercept_varies": False}
PERSONS = FIXED | {"class_of": "individual"}
SPECS = {
    "intercepts": bh.EffectMixture(**ROLES),
    "slopes": bh.EffectMixture(**ROLES, varying="drug", covariates="x"),
    "slopes, shared": bh.EffectMixture(**ROLES, varying="drug", shared=("sd", "sigma")),
    "three, fixed": bh.EffectMixture(**FIXED, classes=3, covariates="x", shared=("gamma2",)),
    "one": bh.EffectMixture(**ROLES, varying="drug", classes=1),
    "membership": bh.EffectMixture(**ROLES, classes=3, membership="z", shared=("gamma1", "sd")),
    "binomial": bh.EffectMixture(**FIXED | {"outcome": "events"}, trials="trials", family="logit", classes=3),
    "binary": bh.EffectMixture(**FIXED | {"outcome": "passed"}, covariates="x", family="logit", shared=("gamma2",)),
    "counts": bh.EffectMixture(**FIXED | {"outcome": "count"}, family="poisson", membership="z"),
    "student": bh.EffectMixture(**FIXED, family="student", shared=("nu",)),
    "persons": bh.EffectMixture(**PERSONS, membership="x"),
    "persons, no clusters": bh.EffectMixture(
        outcome="y", class_of="individual", intercept_varies=False, order="gamma0"
    ),
    "persons, student": bh.EffectMixture(**PERSONS, family="student", order="gamma1[drug]"),
    "odd priors": bh.EffectMixture(
        **ROLES,
        priors={
            "gamma0": bh.StudentT(4, 0, 3),
            "gamma1": bh.Uniform(-9, 9),
            "sd": bh.Gamma(2, 1),
            "sigma": bh.InverseGamma(3, 2),
            "pi": bh.Dirichlet(0.7),
        },
    ),
}
IN_CLUSTERS = ROLES | {"class_of": "individual"}
#: random effects integrated by quadrature, and random slopes beside classes of individuals
INTEGRATED = {
    "binary": bh.EffectMixture(**ROLES | {"outcome": "passed"}, covariates="x", family="logit"),
    "binomial, slopes": bh.EffectMixture(
        **ROLES | {"outcome": "events"}, trials="trials", family="logit", varying="drug", shared=("sd",)
    ),
    "student": bh.EffectMixture(**ROLES, family="student", shared=("nu",), order="gamma0"),
    "counts, slopes": bh.EffectMixture(
        **ROLES | {"outcome": "count"}, family="poisson", varying="drug", classes=3, membership="z"
    ),
    "one, binary": bh.EffectMixture(**ROLES | {"outcome": "passed"}, family="logit", varying="drug", classes=1),
    "persons, slopes": bh.EffectMixture(**IN_CLUSTERS, shared=("u",), varying="drug", covariates="x"),
    "persons, slopes, binary": bh.EffectMixture(
        **IN_CLUSTERS | {"outcome": "passed"}, shared=("u",), family="logit", varying="drug", membership="x"
    ),
}
#: effects that the rows of a cluster share where rows belong to classes
EFFECTS = {
    "alike": bh.EffectMixture(**IN_CLUSTERS, covariates="x", shared=("u",)),
    "alike, binary": bh.EffectMixture(
        **IN_CLUSTERS | {"outcome": "passed"}, family="logit", membership="x", shared=("u",)
    ),
    "alike, student": bh.EffectMixture(**IN_CLUSTERS, family="student", shared=("u", "nu")),
    "own": bh.EffectMixture(**IN_CLUSTERS, classes=3, covariates="x"),
    "own, slopes": bh.EffectMixture(**IN_CLUSTERS, varying="drug", membership="x", order="gamma0"),
    "own, one SD": bh.EffectMixture(**IN_CLUSTERS, varying="drug", shared=("sd", "sigma")),
    "own, student": bh.EffectMixture(**IN_CLUSTERS, family="student", shared=("nu",)),
    "membership": bh.EffectMixture(**IN_CLUSTERS | {"intercept_varies": False}, membership_varies=True, classes=3),
    "membership, binomial": bh.EffectMixture(
        **IN_CLUSTERS | {"outcome": "events"}, shared=("u",), trials="trials", family="logit", membership_varies=True
    ),
    "both": bh.EffectMixture(**IN_CLUSTERS, classes=3, membership="x", membership_varies=True),
    "both, counts": bh.EffectMixture(
        **IN_CLUSTERS | {"outcome": "count"},
        family="poisson",
        covariates="x",
        membership_varies=True,
        priors={"sd_membership": bh.Gamma(2, 2)},
    ),
}


def as_draws(density, points) -> xr.Dataset:
    """Parameters at several points as one chain of draws, labels as they are."""
    values = [density.parameters(z) for z in points]
    data = {o.name: (("chain", "draw", *o.dims), np.array([v[o.name] for v in values])[None]) for o in density.outputs}
    coords = {"chain": [0], "draw": np.arange(len(points))}
    out = xr.Dataset(data, coords)
    if out.sizes.get("varying", 0) > 1:
        L = out["_corr_factor"].to_numpy()
        out = out.assign(corr=(out["_corr_factor"].dims, L @ L.swapaxes(-1, -2)))
    return out.drop_vars("_corr_factor")


def random_points(density, n, seed=0):
    return np.random.default_rng(seed).normal(0, 1.0, (n, density.n_dim))


def joint_value(model: pm.Model, given: dict) -> dict:
    """Parameters, labels and random effects in the coordinates of a PyMC graph."""
    point = {}
    for rv in model.free_RVs:
        one = rv.name.startswith("_corr_factor_")
        value = given["_corr_factor"][int(rv.name.rsplit("_", 1)[1])] if one else given[rv.name]
        transform = model.rvs_to_transforms[rv]
        if transform is not None:
            value = transform.forward(pt.as_tensor(np.asarray(value)), *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point
