"""Structural equation models: joint graph against marginal density, data that are refused, what is reported."""

import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import EVALUATE
from scipy import stats

from bayeshte import SEM, InverseWishart, Normal, StudentT, Uniform
from bayeshte.effects import effects
from bayeshte.errors import DataError, SpecError
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import named, stacked
from bayeshte.fit import fit, summary
from bayeshte.marginal import structural_draws
from bayeshte.marginal.density import lkj_constant
from bayeshte.marginal.kernels.structural import HEADER

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
    "slopes and intercepts covary": SEM(
        cluster="school",
        within="a | m1 ~ x; b | y ~ m1",
        between="y ~ m1; a ~~ b + m1 + y; b ~~ m1 + y",
    ),
    "slope of known variance": SEM(cluster="school", within="s | y ~ m1", between="y ~ m1; s ~~ 0.5*s"),
    "one level": SEM(model="m1 ~ a*treat + age; y ~ b*m1 + treat; indirect := a*b"),
    "one level, factors": SEM(model="f =~ y1 + y2 + y3; g =~ NA*m1 + m2; g ~~ 1*g; f ~ g + x"),
    "inverse Wishart prior of residuals": SEM(  # what makes this model identified
        model="f =~ y1 + y2 + y3; y1 ~~ y2 + y3; y2 ~~ y3; f ~ x; y ~ f",
        priors={"cov[y3, y1, y2]": InverseWishart([[1, 0.2, 0], [0.2, 2, 0.1], [0, 0.1, 1.5]], 8)},
    ),
    "inverse Wishart priors on both levels": SEM(
        cluster="school",
        within="s | y ~ m1; m2 ~~ m1",
        between="y ~~ s + m1; s ~~ m1; m2 ~ treat; m2 ~~ 0*y + 0*m1",
        priors={
            "cov[within: m1, m2]": InverseWishart(np.eye(2), 3),
            "cov[between: y, m1, s]": InverseWishart(np.diag([4.0, 1, 1]), 5),
            "others": "mplus",
        },
    ),
    "priors of covariances in a block": SEM(
        model="y1 ~~ y2 + y3; y2 ~~ y3",
        priors={"cov[y1 ~~ y2]": Normal(0.3, 0.2), "cov[y2 ~~ y3]": StudentT(4, 0, 0.3)},
    ),
    "prior of the covariance of a random slope": SEM(
        cluster="school",
        within="s | y ~ m1",
        between="y ~ m1 + treat; s ~ treat; y ~~ s",
        priors={"cov[between: y ~~ s]": Normal(0, 0.5), "others": "mplus"},
    ),
    "covariances with priors of their own": SEM(
        model="y1 ~~ y2 + y3; y2 ~~ y3",
        priors={"cov[y1 ~~ y2]": Normal(0.3, 0.2), "cov[y1 ~~ y3]": Uniform(-2, 2), "others": "mplus"},
    ),
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
            o.name: (
                ("chain", "draw", *(o.dims or [f"{o.name}_{k}" for k in range(len(o.shape))])),
                np.array([v[o.name] for v in values])[None],
            )
            for o in density.outputs
        },
        {"chain": [0], "draw": range(len(points))},
    )


def matrices_of(spec, posterior) -> dict[str, np.ndarray]:
    """Correlation matrix of every block at the first draw."""
    first = {key: x[0, 0] for key, x in spec.correlations(posterior).items()}
    return {key: x / np.sqrt(np.outer(np.diag(x), np.diag(x))) for key, x in first.items()}


def slopes_of(posterior) -> np.ndarray | None:
    return posterior["slope"].to_numpy()[0] if "slope" in posterior else None


def points_of(density, n: int) -> np.ndarray:
    """Random coordinates at which covariance matrices are positive definite and no SD is near zero.

    There its sign changes and slopes have a kink, which numerical derivatives with steps of 1e-4 would see.
    """

    def smooth(z):
        if not np.isfinite(density(z)[0]):
            return False
        here = density.parameters(z)["_scalars"]
        moved = [density.parameters(z + h)["_scalars"] - here for h in 1e-3 * np.eye(density.n_dim)[: density.n_top]]
        return (np.abs(moved).max(0) < 0.02 * np.abs(here)).all()

    rng = np.random.default_rng(5)
    points = (rng.normal(0, 1.0, density.n_dim) for _ in range(1000))
    return np.array(list(itertools.islice(filter(smooth, points), n)))


def log_posterior(spec, density, posterior, z, count=None) -> float:
    """The kernel's log density at z as a density of the parameters, in the measure of PyMC's distributions.

    Of the first `count` coordinates and values if it is given: the others are dealt with elsewhere.

    A signed SD covers each value twice; PyMC's density of a correlation matrix is one of its Cholesky factor L, and
    d corr / d L = prod_i L_ii^(q - i - 1).
    """

    def free(z):
        v = density.parameters(z)
        return np.concatenate([x.ravel() for x in v.values()])[:count]

    wide, fine = (
        np.column_stack(
            [(free(z + e) - free(z - e)) / (2 * h) for e in h * np.eye(density.n_dim)[: count or density.size]]
        )
        for h in (1e-4, 5e-5)
    )
    d = density.n_top
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    real = density.ints[HEADER : HEADER + len(spec.structure_of(posterior).parameters)] == 0
    signed = sum(real[k] for k, p in enumerate(spec.structure_of(posterior).parameters) if p.variable == "sd")
    value = density(z)[0] + np.log(2) * signed
    value += np.linalg.slogdet(scale)[1] - np.linalg.slogdet((4 * fine - wide) / 3)[1]
    for corr in matrices_of(spec, posterior).values():
        L = np.linalg.cholesky(corr)
        value += (np.arange(len(L))[::-1] * np.log(np.diag(L))).sum()
    return value


def graph_point(spec, model, posterior, b) -> dict:
    """Parameters and cluster means in the coordinates of the joint graph."""
    values = {v: posterior[v].to_numpy()[0, 0] for v in posterior.data_vars} | {"cluster_mean": b}
    factors = [np.linalg.cholesky(R) for R in matrices_of(spec, posterior).values()]
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
            if priors[key].name not in ("LKJ", "InverseWishart")
        )
        for _, (level, *at) in spec.structure.covariances_in_blocks:  # the Jacobian of a covariance in its correlation
            name = spec.structure.levels[level]
            ends = [spec.structure.sd(name, spec.structure.variables(name)[i]) for i in at]
            prior += np.log(one["sd"].sel(sds=[spec.structure.label(row) for row in ends])).sum().item()
        for key, R in matrices_of(spec, one).items():
            q = R.shape[-1]
            prior += (np.arange(q)[::-1] * np.log(np.diag(np.linalg.cholesky(R)))).sum()
            if priors[key].name == "InverseWishart":  # its Jacobian in SDs and correlations is 2^q prod sd^q
                C = spec.correlations(one)[key][0, 0]
                prior += stats.invwishart(priors[key]["df"], np.array(priors[key]["scale"])).logpdf(C)
                prior += q * np.log(2) + q / 2 * np.log(np.diag(C)).sum()
            else:
                eta = priors[key]["eta"]
                prior += (eta - 1) * np.linalg.slogdet(R)[1] + lkj_constant(eta, q)
        assert log_posterior(spec, density, one, z) - prior == pytest.approx(total[k], abs=1e-6)


def test_expected_values():
    """In new clusters those of the covariates, in these their latent means; random slopes multiply the covariates."""
    spec, data = MODELS["random slopes"], frame()
    design = spec.design(data)
    density = spec.marginal(design, spec.frozen_priors(design))
    posterior = spec.recover(draws_at(density, points_of(density, 3)), design, np.random.default_rng(1))
    v = posterior.assign_coords(slopes=["s1", "s2"]).isel(chain=0, draw=1)

    def path(row):
        return float(v["path"].sel(paths=row))

    these = spec.expected(posterior, design).isel(chain=0, draw=1)
    j, x, age = design["cluster_code"].to_numpy(), data["x"].to_numpy(), data["age"].to_numpy()
    m = path("within: m1 ~ age") * age
    by_hand = v["cluster_mean"].sel(between_variable="y").to_numpy()[j] + v["slope"].sel(slopes="s1").to_numpy()[j] * x
    by_hand += v["slope"].sel(slopes="s2").to_numpy()[j] * m
    np.testing.assert_allclose(these.sel(within_variable="y"), by_hand)

    new = pd.DataFrame({"x": [0.5], "age": [11.0], "treat": [1.0]}, index=["someone"])
    values = spec.expected(posterior, design, clusters="new", frame=new).isel(chain=0, draw=1).sel(row="someone")
    mean = {k: float(v["intercept"].sel(intercepts=f"between: {k}")) for k in ("m1", "y", "s1", "s2")}
    m1 = mean["m1"] + path("between: m1 ~ treat")
    y = mean["y"] + path("between: y ~ treat") + path("between: y ~ m1") * m1
    y += mean["s1"] * 0.5 + mean["s2"] * path("within: m1 ~ age") * 11
    assert float(values.sel(within_variable="y")) == pytest.approx(y)
    with pytest.raises(DataError, match="'treat'"):
        spec.expected(posterior, design, clusters="new", frame=new.drop(columns="treat"))
    with pytest.raises(DataError, match=r"not in the fit: \['999'\]"):
        spec.expected(posterior, design, frame=new.assign(school=999))
    with pytest.raises(SpecError, match="no arms"):
        spec.expected(posterior, design, arm="1")


@pytest.mark.slow
def test_indirect_effect_of_varying_paths():
    """a = b = 0 and cov(a_j, b_j) = 0.1: the indirect effect is 0.1, and 0 without the covariance."""
    rng = np.random.default_rng(4)
    J, n = 300, 30
    j = np.repeat(np.arange(J), n)
    a, b = rng.multivariate_normal([0, 0], [[0.2, 0.1], [0.1, 0.2]], J).T
    x = rng.normal(size=J * n)
    m = a[j] * x + rng.normal(size=J * n)
    y = b[j] * m + rng.normal(size=J * n)
    spec = SEM(cluster="j", within="a | m ~ x; b | y ~ m", between="a ~~ b")
    made = fit(spec, pd.DataFrame({"x": x, "m": m, "y": y, "j": j}), draws=400, tune=400, seed=1, progress=False)
    table = effects(made).set_index("estimand")
    found = table.loc["indirect effect of x on y, within"]
    assert abs(found["mean"] - 0.1) < 3 * found["posterior_sd"] < 0.1
    alone = table.loc["indirect effect of x on y, within, without the covariance of slopes"]
    assert abs(alone["mean"]) < 3 * alone["posterior_sd"] + 0.003
    assert found["lower"] > alone["upper"]


def test_slopes_that_hardly_vary():
    """The mode of the slopes' SD is zero: it is passed through, not stuck at, and the verdict is good."""
    rng = np.random.default_rng(6)
    j = np.repeat(np.arange(40), 15)
    x = rng.normal(size=600) + rng.normal(size=40)[j]
    y = 2 * x + rng.normal(size=40)[j] + 2 * rng.normal(size=600)
    spec = SEM(cluster="j", within="s | y ~ x", between="y ~ x")
    made = fit(spec, pd.DataFrame({"x": x, "y": y, "j": j}), seed=1, progress=False)
    assert made.diagnosis.ok
    table = summary(made).set_index("parameter")
    assert table.loc["s ~~ s", "lower"] < 0.02
    assert abs(table.loc["s ~1", "mean"] - 2) < 3 * table.loc["s ~1", "posterior_sd"]


def test_a_slope_without_variance_is_no_random_slope():
    with pytest.raises(SpecError, match="write the path itself, y ~ m1"):
        SEM(cluster="school", within="s | y ~ m1", between="s ~~ 0*s")


def test_a_slope_that_its_predictor_may_explain_entirely():
    """Next to an SD of zero such a slope is its predictor, and the density has no digits left: the mode is sought beside it."""
    within, between = "f =~ y1 + y2 + y3; s | f ~ x", f"{FACTORS[1]}; s ~ climate"
    spec = SEM(cluster="school", within=within, between=between)
    data = frame(missing=True).query("school < 12")
    data.loc[data.index[:2], ["y1", "y2", "y3"]] = np.nan
    design = spec.design(data)
    made = spec.marginal(design, spec.frozen_priors(design))
    here, at = np.zeros(made.n_dim), [p.key for p in spec.structure.parameters].index("sd[between: s]")
    moved = [
        made.parameters(here + h)["_scalars"][at] - made.parameters(here)["_scalars"][at] for h in np.eye(made.n_dim)
    ]
    assert 0.05 < np.abs(moved).max() < 1


def test_signs_of_sds_respect_a_prior_on_one_side():
    """A correlation that is positive a priori changes sign with no SD: those of its variables stay positive."""
    spec = SEM(model="y1 ~~ y2; y2 ~~ y3; y1 ~~ 0*y3; y3 ~~ y", priors={"corr[y1 ~~ y2]": Uniform(0, 0.9)})
    design = spec.design(frame())
    density = spec.marginal(design, spec.frozen_priors(design))
    posterior = named(spec.structure, draws_at(density, np.random.default_rng(0).normal(0, 9, (200, density.n_dim))))
    assert (posterior["corr"].sel(corrs="y1 ~~ y2") >= 0).all()
    assert (posterior["corr"].sel(corrs="y3 ~~ y") < 0).any()
