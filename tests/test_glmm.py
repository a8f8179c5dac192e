"""The kernel of random slopes with non-Gaussian outcomes: finite differences, PyMC's graph, tails, a simulation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pytensor.compile.mode import Mode
from scipy import integrate, special, stats

from bayeshte import sampler
from bayeshte.families.random_slope import RandomSlope
from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.fit import fit as fit_model
from bayeshte.marginal import glmm, glmm_outcomes
from bayeshte.marginal.density import Density, Output
from bayeshte.marginal.glmm_outcomes import ONE_BY_ONE, ORDERED, RESIDUAL, SHAPES
from bayeshte.prior import LKJ, Flat, Gamma, HalfNormal, InverseGamma, Normal, Power, Uniform
from bayeshte.summary import rows

FAST = Mode(linker="py", optimizer="fast_compile")
FAMILIES = list(glmm_outcomes.FAMILIES)
WIDTHS = np.array([0.8, 0.5])


def outcomes(eta, family, rng):
    """Simulated outcomes: scale 0.8 with 5 degrees of freedom, SD 0.8 with shape -3, phi 2, four categories."""
    match family:
        case "student":
            return eta + 0.8 * rng.standard_t(5, len(eta))
        case "skew normal":
            noise = stats.skewnorm(-3)
            return eta + 0.8 * (noise.rvs(len(eta), random_state=rng) - noise.mean()) / noise.std()
        case "poisson":
            return rng.poisson(np.exp(eta)).astype(float)
        case "negative binomial":
            return rng.negative_binomial(2, 2 / (2 + np.exp(eta))).astype(float)
        case "ordered logit" | "ordered probit":
            noise = rng.logistic(size=len(eta)) if family == "ordered logit" else rng.standard_normal(len(eta))
            return np.searchsorted([0.0, *np.cumsum(WIDTHS)], eta + noise).astype(float)
        case _:
            return (rng.random(len(eta)) < glmm_outcomes.inverse_link(eta, family)).astype(float)


def simulate(family, q, J=12, m=6, p=3, seed=1, levels=None):
    """X, y, random, cluster of a model with q random effects, one empty cluster, rows in no order."""
    rng = np.random.default_rng(seed)
    cluster = rng.permutation(np.repeat(np.arange(J), m))
    size = (len(cluster), p)
    X = rng.normal(size=size) if levels is None else rng.integers(0, levels, size).astype(float)
    X[:, 0] = 1.0
    u = rng.normal(0, 0.7, (J, q))
    eta = X @ np.linspace(0.4, -0.3, p) + (X[:, :q] * u[cluster]).sum(1)
    return X, outcomes(eta, family, rng), np.arange(q), cluster


def outputs(family, p, q, J):
    """Names of what the kernel writes."""
    out = [Output("beta", (p,)), Output("sd", (q,))]
    out += [Output(name, (2,) if name == "width" else ()) for name in SHAPES.get(family, ())]
    return (*out, Output("corr", (q, q)), Output("u", (J if q else 0, q)))


def priors(family, p, q):
    """Priors of beta, sd, and the parameters of the outcome."""
    out = [Normal(0, 2)] * (p - 1) + [Uniform(-3, 3)] + [HalfNormal(3)] * q
    shape = {
        "student": [HalfNormal(1), Gamma(2, 0.1)],
        "skew normal": [HalfNormal(1), Normal(0, 4)],
        "negative binomial": [InverseGamma(0.4, 0.3)],
    } | {key: [HalfNormal(2), Gamma(2, 1)] for key in ORDERED}
    return out + shape.get(family, [])


def density(X, y, random, cluster, family, J=13) -> Density:
    p, q = X.shape[1], len(random)
    lkj = LKJ(2) if q > 1 else None
    return glmm.density(X, y, random, cluster, J, family, priors(family, p, q), lkj, outputs(family, p, q, J))


@pytest.mark.parametrize("q", [0, 1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient(family, q):
    """Central differences at random points; 40 clusters, so that more than one group of them is used."""
    f = density(*simulate(family, q, J=40), family, J=41)
    rng = np.random.default_rng(2)
    for scale in (0.3, 1.0):
        z = scale * rng.normal(size=f.n_dim)
        steps = 1e-5 * np.eye(f.n_dim)
        numeric = [(f(z + s)[0] - f(z - s)[0]) / 2e-5 for s in steps]
        np.testing.assert_allclose(f(z)[1], numeric, rtol=1e-5, atol=2e-5)


def test_gradient_in_blocks_of_rows():
    """A cluster of more rows than a block, next to small ones."""
    X, y, random, cluster = simulate("logit", 2, J=4, m=600)
    cluster[cluster == 3] = np.arange((cluster == 3).sum()) % 7 + 3
    f = density(X, y, random, cluster, "logit", J=10)
    z = 0.5 * np.random.default_rng(3).normal(size=f.n_dim)
    numeric = [(f(z + s)[0] - f(z - s)[0]) / 2e-5 for s in 1e-5 * np.eye(f.n_dim)]
    np.testing.assert_allclose(f(z)[1], numeric, rtol=1e-5, atol=1e-4)


def frame(family, seed=4):
    """A frame with two arms and a covariate in 9 clusters."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat([f"c{k}" for k in range(9)], 6)
    d = pd.DataFrame({"j": clusters, "t": np.tile([0, 1], 27), "x": rng.normal(size=54)})
    return d.assign(y=outcomes(0.3 * d.t.to_numpy() + rng.normal(0, 0.5, 54), family, rng).astype(float))


SPECS = {
    0: dict(),
    1: dict(cluster="j", varying=()),
    2: dict(cluster="j"),
    3: dict(cluster="j", slopes="x"),
}


@pytest.mark.parametrize("q", [0, 1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_graph(family, q):
    """The kernel's log density is that of PyMC's graph at u(t), times the Jacobian of u(t)."""
    spec = RandomSlope(outcome="y", treatment="t", covariates="x", moderators="x", family=family, **SPECS[q])
    design = spec.design(frame(family))
    D, frozen = Arrays(design), spec.frozen_priors(design)
    J, p = (D.n_clusters, D.full.shape[1])
    scalars = [v for k, v in frozen.items() if k != "corr"]
    f = glmm.density(D.full, D.y, D.random, D.code, J, family, scalars, frozen.get("corr"), outputs(family, p, q, J))
    model = spec.joint(design, frozen)
    logp = model.compile_logp(mode=FAST)

    rng = np.random.default_rng(5)
    for _ in range(3):
        z = 0.5 * rng.normal(size=f.n_dim)
        v = f.parameters(z)
        beta = v["beta"]
        values = {"gamma0": beta[0], "gamma1": beta[1:2], "gamma2": beta[2:3], "gamma3": beta[3:].reshape(1, 1)}
        values |= {"sd": v["sd"], "_corr_factor": v["corr"], "u": v["u"]} | {k: v[k] for k in SHAPES.get(family, ())}
        point = {}
        for rv in model.free_RVs:
            value, transform = values[rv.name], model.rvs_to_transforms[rv]
            if transform is not None:
                value = transform.forward(value, *rv.owner.inputs).eval(mode=FAST)
            point[model.rvs_to_values[rv].name] = np.asarray(value)
        ratio = (f.floats[f.at + f.n_top + f.n_top**2 + p] / v["sigma"]) ** 2 if family in RESIDUAL else 1.0
        expected = logp(point) + log_jacobian(f, v["sd"][:, None] * v["corr"], p, J, ratio)
        expected -= np.log(2 * v["sd"]).sum()  # an sd with a sign is its own coordinate, not its logarithm
        expected += log_jacobian_of_correlations(f, z, q)
        assert f(z)[0] == pytest.approx(expected, abs=1e-7)


def log_jacobian_of_correlations(f, z, q):
    """log |dy / dx|: PyMC samples a correlation matrix in rows of its factor over their last element, y."""
    if q < 2:
        return 0.0
    d, k = f.n_top, q * (q - 1) // 2
    inverse = np.linalg.inv(f.floats[f.at + d : f.at + d + d * d].reshape(d, d))

    def theirs(step):
        move = np.zeros(f.n_dim)
        move[:d] = inverse[:, d - k :] @ step
        L = f.parameters(z + move)["corr"]
        return (L / np.diag(L)[:, None])[np.tril_indices(q, -1)]

    wide, fine = (
        np.column_stack([(theirs(h) - theirs(-h)) / (2 * size) for h in size * np.eye(k)]) for size in (2e-3, 1e-3)
    )
    return np.linalg.slogdet((4 * fine - wide) / 3)[1]


def log_jacobian(f, C, p, J, ratio=1.0):
    """log |du / dt| = sum_j log |det C R_j^-T| from the tables of the density, their A times `ratio`."""
    q = len(C)
    if q == 0:
        return 0.0
    at = f.at + f.n_top + f.n_top**2 + p + 1
    A = ratio * f.floats[at : at + J * q * q].reshape(q, q, J).transpose(2, 0, 1)
    M = np.eye(q) + C.T @ A @ C
    return J * np.log(np.diag(C)).sum() - 0.5 * np.linalg.slogdet(M)[1].sum()


@pytest.mark.parametrize("q", [0, 2])
@pytest.mark.parametrize("family", ["logit", "probit", "poisson", *ONE_BY_ONE])
def test_collapsing_changes_nothing(family, q):
    X, y, random, cluster = simulate(family, q, J=8, m=40, levels=2)
    f = density(X, y, random, cluster, family, J=8)
    patterns = f.ints[5]
    outcomes_of_one = len(np.unique(y)) if family in ONE_BY_ONE else 1
    assert patterns <= min((8 if q else 1) * 4 * outcomes_of_one, len(y) - 1)

    order = np.argsort(cluster, kind="stable")
    constant = -special.gammaln(y + 1).sum() if family in glmm_outcomes.COUNTS else 0.0
    cluster = cluster if q else np.zeros_like(cluster)
    lower = glmm_outcomes.even_split(y) if family in ORDERED else 0
    J = 8 if q else 1
    single = glmm.Rows(X[order], np.ones(len(y)), y[order], cluster[order], random, J, family, constant, lower)
    p = X.shape[1]
    start = f.at + f.n_top + f.n_top**2
    zeros = [np.zeros((single.n_clusters, q, k)) for k in (q, 1, p)]
    lkj = LKJ(2) if q else None
    g = glmm._tables(single, np.zeros(p + q), *zeros, priors(family, p, q), lkj, f.outputs)
    shared = start + p + 1 + single.n_clusters * (q * q + q + q * p)
    g.floats[f.at : shared] = f.floats[f.at : shared]  # the same coordinates
    assert g.ints[5] == len(y)
    z = 0.5 * np.random.default_rng(6).normal(size=f.n_dim)
    assert f(z)[0] == pytest.approx(g(z)[0], abs=1e-8)
    np.testing.assert_allclose(f(z)[1], g(z)[1], atol=1e-8)


def test_the_coordinates_leave_the_posterior_alone():
    """Non-centred tables give the same density in u, whatever the pilot."""
    f = density(*simulate("poisson", 2), "poisson")
    at, J, p = f.at + f.n_top + f.n_top**2 + 4, 13, 3
    plain = replace(f, floats=f.floats.copy())
    plain.floats[at : at + J * (4 + 2 + 2 * p)] = 0.0
    rng = np.random.default_rng(7)
    for _ in range(3):
        z = 0.5 * rng.normal(size=f.n_dim)
        v = f.parameters(z)
        C = v["sd"][:, None] * v["corr"]
        moved = z.copy()
        moved[f.n_top :] = np.linalg.solve(C, v["u"].T).T.ravel()
        np.testing.assert_allclose(plain.parameters(moved)["u"], v["u"], atol=1e-10)
        difference = log_jacobian(f, C, p, J) - log_jacobian(plain, C, p, J)
        assert f(z)[0] - plain(moved)[0] == pytest.approx(difference, abs=1e-8)


def single_row(family, eta, y, *shape):
    """Log density of one row with linear predictor `eta` from the kernel under flat priors, and its gradient in eta and shape.

    alpha of the skew normal is its own coordinate, the other parameters of the outcome are exponentials.
    """
    extra = [Flat() if name == "alpha" else Power(0) for name in SHAPES.get(family, ())]
    extra = extra * len(shape) if family in ORDERED else extra
    single = glmm.collapse(np.ones((1, 1)), np.array([y]), np.array([], int), np.array([0]), 1, family)
    single = replace(single, lower=0)  # the intercept is its own coordinate
    empty = [np.zeros((1, 0, k)) for k in (0, 1, 1)]
    f = glmm._tables(single, np.ones(3), *empty, [Flat(), *extra], None, outputs(family, 1, 0, 1))
    positive = [prior.support == "positive" for prior in extra]
    at = [np.log(v) if own else v for v, own in zip(shape, positive, strict=True)]
    lp, grad = f(np.array([eta, *at]))
    inner = [(g - 1) / v if own else g for g, v, own in zip(grad[1:], shape, positive, strict=True)]
    return lp - sum(v for v, own in zip(at, positive, strict=True) if own), np.array([grad[0], *inner])


@pytest.mark.parametrize("eta", [-1e4, -50.0, -37.0, -8.0, -1.0, 0.0, 0.3, 1.0, 8.0, 37.0, 50.0, 1e4])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_tails_of_binary_outcomes(eta, y):
    """Against SciPy's log_expit and log_ndtr, to relative 1e-13, as far as doubles go."""
    sign = 2 * y - 1
    lp, (slope, *_) = single_row("logit", eta, y)
    assert lp == pytest.approx(special.log_expit(sign * eta), rel=1e-13, abs=1e-15)
    assert slope == pytest.approx(sign * special.expit(-sign * eta), rel=1e-13, abs=1e-300)
    lp, (slope, *_) = single_row("probit", eta, y)
    assert lp == pytest.approx(special.log_ndtr(sign * eta), rel=1e-13, abs=2e-15)
    mills = np.sqrt(2 / np.pi) / special.erfcx(-sign * eta / np.sqrt(2))  # phi / Phi
    assert slope == pytest.approx(sign * mills, rel=1e-12, abs=1e-300)


def test_tails_of_counts_and_student_t():
    for eta in (-50.0, 0.0, 3.0, 50.0, 700.0):
        lp, (slope, *_) = single_row("poisson", eta, 2.0)
        assert lp == pytest.approx(2 * eta - np.exp(eta) - np.log(2), rel=1e-13)
        assert slope == pytest.approx(2 - np.exp(eta), rel=1e-13)
    assert single_row("poisson", 710.0, 2.0)[0] == -np.inf
    for nu in (0.3, 4.0, 39.9, 40.1, 1e3, 1e9):
        for eta in (-50.0, 0.2, 50.0, 1e9):
            lp, _ = single_row("student", eta, 0.5, 0.7, nu)
            r2 = ((0.5 - eta) / 0.7) ** 2
            body = -(nu + 1) / 2 * np.log1p(r2 / nu) - 0.5 * np.log(nu * np.pi) - np.log(0.7)
            tail = 1e-6 if nu > 1e8 else 1e-12  # SciPy's gammaln cancels at large nu, the kernel does not
            expected = body + special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2)
            assert lp == pytest.approx(expected, rel=tail, abs=1e-11)
    assert single_row("student", 0.2, 0.5, 1.0, 1e12)[0] == pytest.approx(stats.norm(0.2).logpdf(0.5), abs=1e-10)


def test_tails_of_the_skew_normal():
    """Against SciPy's log_ndtr; the derivative in eta against central differences; alpha = 0 is the normal density."""
    for alpha in (-30.0, -4.0, -0.1, 0.0, 1.0, 30.0):
        m, k = glmm_outcomes.skew_moments(alpha)
        for y in (-40.0, -3.0, 0.0, 0.7, 3.0, 40.0):
            lp, (slope, *_) = single_row("skew normal", 0.2, y, 0.7, alpha)
            z = m + k * (y - 0.2) / 0.7
            expected = np.log(2 * k / 0.7) - 0.5 * np.log(2 * np.pi) - z**2 / 2 + special.log_ndtr(alpha * z)
            assert lp == pytest.approx(expected, rel=1e-13, abs=1e-12)
            step = 1e-5
            near = [single_row("skew normal", 0.2 + h, y, 0.7, alpha)[0] for h in (step, -step)]
            assert slope == pytest.approx((near[0] - near[1]) / (2 * step), rel=1e-6, abs=1e-5)
    assert single_row("skew normal", 0.2, 0.5, 1.0, 0.0)[0] == pytest.approx(stats.norm(0.2).logpdf(0.5), abs=1e-13)


def rising(phi, y):
    """sum over k < y of log(1 + k / phi), and its derivative, term by term."""
    k = np.arange(y)
    return np.log1p(k / phi).sum(), -(k / (phi * (phi + k))).sum()


@pytest.mark.parametrize("y", [0.0, 1.0, 3.0, 17.0, 400.0, 20_000.0])
@pytest.mark.parametrize("phi", [1e-4, 0.3, 7.0, 200.0, 1e7])
def test_tails_of_the_negative_binomial(phi, y):
    """Term by term, with the derivatives; far out on either side."""
    value, change = rising(phi, y)
    for eta in (-60.0, -1.0, 3.0, 60.0, 800.0):
        lp, gradient = single_row("negative binomial", eta, y, phi)
        x = eta - np.log(phi)
        share, log = special.expit(x), np.logaddexp(0, x)
        expected = value + y * eta - (y + phi) * log - special.gammaln(y + 1)
        assert lp == pytest.approx(expected, rel=1e-12, abs=1e-10 * (1 + abs(y * eta)))
        terms = np.array([change, -log, (y + phi) * share / phi])
        assert gradient[0] == pytest.approx(y - (y + phi) * share, rel=1e-12, abs=1e-11 * (1 + y))
        assert gradient[1] == pytest.approx(terms.sum(), abs=1e-12 * (1 + np.abs(terms).max()) * max(1, 1 / phi))


def test_a_negative_binomial_with_large_phi_is_poisson():
    for eta, y in ((-2.0, 0.0), (1.0, 5.0), (4.0, 60.0)):
        lp = single_row("negative binomial", eta, y, 1e13)[0]
        assert lp == pytest.approx(single_row("poisson", eta, y)[0], abs=1e-9)


def log_probability(family, low, high):
    """log of the probability of (low, high): the density integrated, relative to its largest value there."""
    noise = stats.logistic if family == "ordered logit" else stats.norm
    peak = noise.logpdf(min(max(low, 0.0), high))
    ends = np.clip([low, high], -80.0, 80.0)
    points = [v for k in range(8) for v in (ends[0] + 2.0**-k, ends[1] - 2.0**-k) if ends[0] < v < ends[1]]
    area = integrate.quad(
        lambda x: np.exp(noise.logpdf(x) - peak), *ends, points=points, limit=400, epsabs=0, epsrel=1e-12
    )
    return peak + np.log(area[0])


@pytest.mark.parametrize("family", list(ORDERED))
def test_tails_of_ordered_categories(family):
    """Against integrals of the density; the gradient against central differences."""
    for eta in (-20.0, -3.0, 0.1, 0.8, 5.0, 30.0):
        for width in ((0.8, 0.5), (1e-3, 12.0)):
            tau = [-np.inf, 0.0, width[0], width[0] + width[1], np.inf]
            for y in range(4):
                lp, gradient = single_row(family, eta, float(y), *width)
                expected = log_probability(family, tau[y] - eta, tau[y + 1] - eta)
                assert lp == pytest.approx(expected, rel=1e-9, abs=1e-10)
                for k, step in enumerate(1e-6 * np.diag([1.0, *width])):
                    ends = [single_row(family, eta + h[0], float(y), *(width + h[1:]))[0] for h in (step, -step)]
                    assert gradient[k] == pytest.approx((ends[0] - ends[1]) / (2 * step.sum()), rel=2e-4, abs=2e-4)


def test_two_ordered_categories_are_a_binary_outcome():
    for eta in (-30.0, 0.3, 30.0):
        for y in (0.0, 1.0):
            for link in ("logit", "probit"):
                lp, gradient = single_row(f"ordered {link}", eta, y)
                expected = single_row(link, eta, y)
                assert lp == pytest.approx(
                    expected[0], rel=1e-13, abs=5e-15
                )  # the binary kernel takes 30 - (30 + 9e-14)
                assert gradient[0] == pytest.approx(expected[1][0], rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("skewness", [-0.9, -0.3, 0.0, 0.6])
def test_shape_of_skewness(skewness):
    assert float(stats.skewnorm(glmm_outcomes.shape_of_skewness(skewness)).stats("s")) == pytest.approx(
        skewness, abs=1e-12
    )
    assert np.isfinite(glmm_outcomes.shape_of_skewness(3.0))


@pytest.mark.parametrize("family", FAMILIES)
def test_log_likelihood_rows(family):
    rng = np.random.default_rng(8)
    eta = rng.normal(0, 2, (4, 9))
    y = outcomes(eta[0], family, rng)
    sigma, nu = rng.uniform(0.5, 2, 4), rng.uniform(2, 9, 4)
    unit, nbinom = stats.skewnorm(nu[:, None]), stats.nbinom(nu[:, None], nu[:, None] / (nu[:, None] + np.exp(eta)))
    reference = {
        "skew normal": lambda: (
            unit.logpdf(unit.mean() + unit.std() * (y - eta) / sigma[:, None]) + np.log(unit.std() / sigma[:, None])
        ),
        "student": lambda: stats.t(nu[:, None], eta, sigma[:, None]).logpdf(y),
        "logit": lambda: stats.bernoulli(special.expit(eta)).logpmf(y),
        "probit": lambda: stats.bernoulli(stats.norm.cdf(eta)).logpmf(y),
        "poisson": lambda: stats.poisson(np.exp(eta)).logpmf(y),
        "negative binomial": lambda: nbinom.logpmf(y),
        "ordered logit": lambda: ordered(stats.logistic.cdf),
        "ordered probit": lambda: ordered(stats.norm.cdf),
    }

    def ordered(cdf):
        tau = np.column_stack([np.full(4, -np.inf), np.zeros(4), sigma, sigma + nu, np.full(4, np.inf)])
        above = cdf(eta[..., None] - tau[:, None, :])
        return np.log(np.take_along_axis(above[..., :-1] - above[..., 1:], y.astype(int)[None, :, None], -1)[..., 0])

    shape = {"negative binomial": nu[:, None]}.get(family, np.column_stack([sigma, nu]))
    found = glmm_outcomes.log_likelihood_rows(eta, y, family, shape)
    np.testing.assert_allclose(found, reference[family](), atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_hard_pilot(family):
    """Large random effects, clusters without variation, few rows: the pilot ends at a mode with a usable scale."""
    rng = np.random.default_rng(9)
    J, m = 60, 3
    cluster = np.repeat(np.arange(J), m)
    X = np.column_stack([np.ones(J * m), rng.normal(size=J * m)])
    u = rng.normal(0, 4, (J, 2)) * [1, 0.5]
    y = outcomes(np.minimum((X * u[cluster]).sum(1), 12), family, rng)
    f = density(X, y, np.arange(2), cluster, family, J=J)
    lp, grad = f(np.zeros(f.n_dim))
    assert np.isfinite(lp)
    assert np.abs(grad[: f.n_top]).max() < 0.05
    sd = f.parameters(np.zeros(f.n_dim))["sd"]
    assert 1.0 < sd[0] < 8.0


@pytest.mark.parametrize("bounded", ["gamma0", "width", ""])
def test_bounded_priors_of_an_ordered_outcome(bounded):
    """Where the intercept or a width below the most even split has a bounded prior, the intercept is its own coordinate."""
    rng = np.random.default_rng(13)
    y = np.searchsorted([-1.5, 0.0, 1.5], rng.logistic(size=80)).astype(int)
    priors = {bounded: Uniform(-1 if bounded == "gamma0" else 0, 6)} if bounded else "default"
    spec = RandomSlope(outcome="y", family="ordered logit", priors=priors)
    design = spec.design(pd.DataFrame({"y": y}))
    frozen = spec.frozen_priors(design)
    f, logp = spec.marginal(design, frozen), spec.joint(design, frozen).compile_logp(jacobian=False, mode=FAST)
    assert f.ints[7] == (0 if bounded else 1)
    model = spec.joint(design, frozen)
    for z in 0.5 * rng.normal(size=(3, f.n_dim)):
        v = f.parameters(z)
        point = {}
        for rv in model.free_RVs:
            transform = model.rvs_to_transforms[rv]
            value = np.asarray(v[rv.name])
            if transform is not None:
                value = np.asarray(transform.forward(value, *rv.owner.inputs).eval(mode=FAST))
            point[model.rvs_to_values[rv].name] = value
        steps = 1e-6 * np.eye(f.n_dim)
        moved = [np.concatenate([np.ravel(u) for u in f.parameters(z + s).values()]) for s in (*steps, *-steps)]
        jacobian = np.linalg.slogdet(np.array(moved[: f.n_dim]) - np.array(moved[f.n_dim :]))[1]
        expected = logp(point) + jacobian - f.n_dim * np.log(2e-6) - np.linalg.slogdet(scale_of(f))[1]
        assert f(z)[0] == pytest.approx(expected, abs=1e-5)


def scale_of(f):
    """Preconditioner: the density is one of the coordinates before it."""
    d = f.n_top
    return f.floats[f.at + d : f.at + d + d * d].reshape(d, d)


def test_a_rare_lowest_category():
    """It leaves the first threshold hardly known; the sampler does not feel it."""
    rng = np.random.default_rng(12)
    eta = 0.5 * rng.normal(size=600) + np.repeat(0.5 * rng.normal(size=30), 20)
    y = np.searchsorted([-6.5, -1.0, 0.0, 1.0], eta + rng.logistic(size=600)).astype(float)
    assert (y == 0).sum() == 1
    data = pd.DataFrame({"y": y.astype(int), "j": np.repeat(np.arange(30), 20)})
    spec = RandomSlope(outcome="y", cluster="j", family="ordered logit")
    fit = fit_model(spec, data, draws=500, tune=500, seed=1, progress=False)
    for name in ("gamma0", "width", "sd"):
        assert rows(fit.posterior[name])["ess_bulk"].min() > 400, name


def test_recovers_a_logit_model():
    """2000 rows, 100 clusters, intercept and slope varying: four chains find the truth, without divergences."""
    rng = np.random.default_rng(10)
    J, beta, sd, r = 100, np.array([-0.5, 0.8]), np.array([1.0, 0.6]), 0.5
    cluster = np.repeat(np.arange(J), 20)
    X = np.column_stack([np.ones(2000), rng.normal(size=2000)])
    u = rng.multivariate_normal(np.zeros(2), np.outer(sd, sd) * [[1, r], [r, 1]], J)
    y = outcomes((X * (beta + u[cluster])).sum(1), "logit", rng)
    f = density(X, y, np.arange(2), cluster, "logit", J=J)
    tree, complete = sampler.sample(sampler.compiled(f, {}), draws=400, tune=400, seed=1)
    assert complete
    assert int(tree["sample_stats"]["diverging"].sum()) == 0
    post = tree["posterior"]
    draws = {"beta": post["beta"].to_numpy(), "sd": post["sd"].to_numpy(), "r": post["corr"].to_numpy()[..., 1, 0]}
    for name, truth in (("beta", beta), ("sd", sd), ("r", r)):
        flat = draws[name].reshape(1600, -1)
        assert (np.abs(flat.mean(0) - truth) < 4 * flat.std(0)).all(), name
        between = draws[name].mean(1).std(0, ddof=1)
        assert (between < 0.2 * flat.std(0)).all(), name
    effects = post["u"].to_numpy().reshape(1600, J, 2)
    inside = np.abs(effects.mean(0) - u) < 1.96 * effects.std(0)
    assert 0.88 < inside.mean() < 0.99
