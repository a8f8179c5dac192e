"""Structural equation models: joint graph against marginal density, data that are refused, what is reported."""

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import EVALUATE

from bayeshte import SEM
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.marginal import structural_draws
from bayeshte.marginal.density import lkj_constant

WITHIN = "y ~ w1*m1 + w2*m2 + age; m1 ~~ m2"
BETWEEN = "y ~ b3*m1 + b4*m2; m1 ~ b1*treat; m2 ~ b2*treat; m1 ~~ m2"
FACTORS = (
    "f =~ y1 + y2 + y3; f ~ x; y1 ~~ y2",
    "f =~ y1 + l*y2 + l*y3; f ~ a*treat + climate; climate ~ treat; y2 ~~ 0*y2",
)

MODELS = {
    "mediation": SEM(
        cluster="school", within=WITHIN, between=BETWEEN, derived={"indirect": "b1*b3", "total": "indirect + b2*b4"}
    ),
    "factors": SEM(cluster="school", within=FACTORS[0], between=FACTORS[1]),
    "product": SEM(cluster="school", within="y ~ m1", between="y ~ m1 + treat + treat:m1; m1 ~ treat"),
    "chain of covariances": SEM(
        cluster="school", within="y1 ~~ y2; y2 ~~ y3; y1 ~~ 0*y3", between="y1 ~~ c*y2; y2 ~~ c*y3; y1 ~~ 0*y3"
    ),
    "random slope": SEM(
        cluster="school",
        within="s | y ~ m1; y ~ m2 + age; m1 ~~ m2",
        between="y ~ b*m1 + treat; s ~ treat + m1; m1 ~ treat; m2 ~~ m2; y ~~ s",
    ),
    "random slopes": SEM(
        cluster="school",
        within="s1 | y ~ x; s2 | y ~ m1; m1 ~ age",
        between="y ~ treat + m1; climate ~ s1 + s2 + treat; s1 ~~ s2; y ~~ 0*climate; m1 ~ treat",
    ),
    "one level": SEM(model="m1 ~ a*treat + age; y ~ b*m1 + treat; indirect := a*b"),
    "one level, factors": SEM(model="f =~ y1 + y2 + y3; g =~ NA*m1 + m2; g ~~ 1*g; f ~ g + x"),
}


def frame(missing=False, seed=0) -> pd.DataFrame:
    """24 schools of unequal size; every variable that the models name."""
    rng = np.random.default_rng(seed)
    J = 24
    n = rng.integers(2, 9, J)
    n[:8] = 5
    j = np.repeat(np.arange(J), n)
    N = len(j)
    treat = (np.arange(J) % 2).astype(float)
    climate = 0.5 * treat + rng.normal(size=J)
    f = (0.4 * treat + 0.5 * climate + 0.5 * rng.normal(size=J))[j] + rng.normal(size=N)
    m1 = (0.6 * treat + 0.7 * rng.normal(size=J))[j] + rng.normal(size=N)
    m2 = (0.5 * treat + 0.7 * rng.normal(size=J))[j] + 0.3 * m1 + rng.normal(size=N)
    age, x = rng.normal(10, 2, N), rng.normal(size=N)
    y = 20 + 2 * m1 + m2 + 0.5 * age + rng.normal(0, 2, J)[j] + rng.normal(0, 3, N)
    data = {"school": j, "treat": treat[j], "climate": climate[j], "m1": m1, "m2": m2, "age": age, "x": x, "y": y}
    data |= {f"y{k}": k + 0.8 * f + 0.4 * rng.normal(size=J)[j] + rng.normal(size=N) for k in (1, 2, 3)}
    out = pd.DataFrame(data)
    if missing:
        for v in ("m1", "m2", "y", "y1", "y2", "y3"):
            out.loc[rng.random(N) < 0.2, v] = np.nan
        out.loc[out["school"].isin([3, 5]), "climate"] = np.nan
    return out


@pytest.fixture(params=[(name, missing) for name in MODELS for missing in (False, True)], ids=str, scope="module")
def case(request):
    name, missing = request.param
    spec = MODELS[name]
    design = spec.design(frame(missing))
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


def draws_at(density, points) -> xr.Dataset:
    """Parameters at several points as one chain of the kernel's draws."""
    values = [density.parameters(z) for z in points]
    return xr.Dataset(
        {
            o.name: (("chain", "draw", *(o.dims or [f"{o.name}_"])), np.array([v[o.name] for v in values])[None])
            for o in density.outputs
        },
        {"chain": [0], "draw": range(len(points))},
    )


def slopes_of(posterior) -> np.ndarray | None:
    return posterior["slope"].to_numpy()[0] if "slope" in posterior else None


def points_of(density, n: int) -> np.ndarray:
    """Random coordinates at which the covariance matrices are positive definite."""
    rng = np.random.default_rng(5)
    points = (rng.normal(0, 1.0, density.n_dim) for _ in range(1000))
    return np.array(list(itertools.islice((z for z in points if np.isfinite(density(z)[0])), n)))


def log_posterior(spec, density, posterior, z) -> float:
    """The kernel's log density at z as a density of the parameters, in the measure of PyMC's distributions.

    A signed SD covers each value twice; PyMC's density of a correlation matrix is one of its Cholesky factor L, and
    d corr / d L = prod_i L_ii^(q - i - 1).
    """

    def free(z):
        v = density.parameters(z)
        return np.concatenate([x.ravel() for x in v.values()])

    wide, fine = (
        np.column_stack([(free(z + e) - free(z - e)) / (2 * h) for e in h * np.eye(density.n_dim)])
        for h in (1e-4, 5e-5)
    )
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    value = density(z)[0] + np.log(2) * sum(p.variable == "sd" for p in spec.structure.parameters)
    value += np.linalg.slogdet(scale)[1] - np.linalg.slogdet((4 * fine - wide) / 3)[1]
    for corr in spec.correlations(posterior).values():
        L = np.linalg.cholesky(corr[0, 0])
        value += (np.arange(len(L))[::-1] * np.log(np.diag(L))).sum()
    return value


def graph_point(spec, model, posterior, b) -> dict:
    """Parameters and cluster means in the coordinates of the joint graph."""
    values = {v: posterior[v].to_numpy()[0, 0] for v in posterior.data_vars} | {"cluster_mean": b}
    factors = [np.linalg.cholesky(R[0, 0]) for R in spec.correlations(posterior).values()]
    values |= {f"_corr_factor_{k}": L for k, L in enumerate(factors)}
    values |= {f"_{label}": x.to_numpy()[0, 0] for label, _, x in spec.parameters(posterior)}
    point = {}
    for rv in model.free_RVs:
        value, transform = np.asarray(values[rv.name]), model.rvs_to_transforms[rv]
        if transform is not None:
            value = transform.forward(value, *rv.owner.inputs).eval(mode=EVALUATE)
        point[model.rvs_to_values[rv].name] = np.asarray(value)
    return point


def test_marginal_and_joint_define_the_same_posterior(case):
    """log p(y, b, theta) - log p(b | y, theta) = log p(y, theta), for arbitrary cluster means b."""
    spec, design, priors, density = case
    s, data = spec.structure, data_of(design)
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    rng, differences = np.random.default_rng(1), []
    both = np.array([s.within.index(v) for v in s.both], int)
    for z in points_of(density, 20):
        posterior = spec.recover(draws_at(density, [z]), design, rng)
        b = rng.normal(0, 3, (len(data.context), len(both)))
        value = float(logp(graph_point(spec, model, posterior, b)))
        if len(both):
            given = (spec._matrices(design), data, stacked(s, posterior), both, b[None], slopes_of(posterior))
            value -= structural_draws.log_density_of_cluster_means(*given)[0]
        differences.append(value - log_posterior(spec, density, posterior, z))
    np.testing.assert_allclose(differences, 0, atol=1e-6)


def test_gradient_is_exact(case):
    density = case[3]
    for z in points_of(density, 3):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def test_likelihood_by_cluster_adds_up(case):
    """The pointwise log-likelihood and the kernel have the same differences between parameters."""
    spec, design, priors, density = case
    rng = np.random.default_rng(3)
    points = points_of(density, 6)
    posterior = spec.recover(draws_at(density, points), design, rng)
    given = (spec._matrices(design), data_of(design), stacked(spec.structure, posterior), slopes_of(posterior))
    total = structural_draws.log_likelihood(*given).sum(1)
    if "slope" not in posterior:
        each = spec.log_likelihood(posterior, design, "cluster" if spec.cluster else "row")
        np.testing.assert_allclose(each.sum(spec.cluster or "row").to_numpy()[0], total)
    for k, z in enumerate(points):
        one = posterior.isel(draw=[k])
        prior = sum(
            priors[key].log_density(x.to_numpy()).item()
            for _, key, x in spec.parameters(one)
            if priors[key].name != "LKJ"
        )
        for key, R in spec.correlations(one).items():
            q = R.shape[-1]
            eta = priors[key]["eta"]
            L = np.linalg.cholesky(R[0, 0])
            prior += (
                (eta - 1) * np.linalg.slogdet(R[0, 0])[1]
                + lkj_constant(eta, q)
                + (np.arange(q)[::-1] * np.log(np.diag(L))).sum()
            )
        assert log_posterior(spec, density, one, z) - prior == pytest.approx(total[k], abs=1e-6)
