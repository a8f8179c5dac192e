"""Products of two latent variables: graph, gradient, brute-force integration, moments, effects, what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE
from scipy.stats import multivariate_normal, norm
from test_sem import draws_at, graph_point, log_posterior, points_of

from bayeshte import SEM
from bayeshte.errors import SpecError
from bayeshte.families import sem_moderation, sem_replication
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_graph import patterns
from bayeshte.families.sem_moments import covariances
from bayeshte.marginal.matrices import cells
from bayeshte.marginal.structural_product_integration import quadrature
from bayeshte.marginal.structural_products import Law, Split, regressors

F1, F2 = "f1 =~ x1 + x2; f2 =~ x3 + x4; ", "f1 =~ x1 + x2; f2 =~ x3 + x4 + x5; "
MODELS = {
    "two factors": SEM(model=F1 + "y ~ f1 + f2 + b3*f1:f2"),
    "a square": SEM(model="f1 =~ x1 + x2 + x3; y ~ f1 + f1:f1"),
    "an observed variable": SEM(model="f1 =~ x1 + x2; m ~ z; f1 ~ m; y ~ f1 + m + m:f1"),
    "two observed variables": SEM(model="m ~ z; x1 ~ z; y ~ m + x1 + m:x1"),
    "a factor is explained": SEM(
        model="f1 =~ x1 + x2; f2 =~ x3 + x4; f3 =~ y + m; f1 ~ z; f3 ~ f1 + f2 + f1:f2; x5 ~ f3; x5 ~~ x1"
    ),
    "two are known": SEM(model="f1 =~ x1 + x2; f2 =~ x3 + x4; y ~ f1 + f2 + f1:f1 + f2:f2; f1 ~~ f2"),
    "a treatment multiplies too": SEM(
        model="f1 =~ x1 + x2; f2 =~ x3 + x4; y ~ f1 + f2 + treat + f1:f2 + treat:f1; f1 ~ treat"
    ),
}
COMPLETE = {"two observed variables"}


def frame(seed=0, n=12, missing=True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    z, treat = rng.normal(size=n), np.arange(n) % 2
    f = rng.multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], n) + 0.3 * z[:, None]
    data = {f"x{k}": 0.5 + [1, 0.8, 1, 0.9, 0.7][k - 1] * f[:, int(k > 2)] + rng.normal(0, 0.6, n) for k in range(1, 6)}
    data |= {"m": 0.5 * z + rng.normal(size=n)}
    data["y"] = 1 + 0.5 * f[:, 0] + 0.3 * f[:, 1] + 0.4 * f[:, 0] * f[:, 1] + 0.2 * data["m"] + rng.normal(0, 0.7, n)
    data = out = pd.DataFrame(data)
    if missing:
        out = data.mask(rng.uniform(size=data.shape) < 0.12)
        out.iloc[1] = np.nan
        out.loc[2] = data.loc[2].where(data.columns != "m")
    return out.assign(z=z, treat=treat)


def built(name, missing=True):
    spec = MODELS[name]
    design = spec.design(frame(n=40 if name == "two are known" else 12, missing=missing and name not in COMPLETE))
    priors = spec.frozen_priors(design)
    return spec, design, priors, spec.marginal(design, priors)


@pytest.fixture(params=MODELS, scope="module")
def case(request):
    return built(request.param)


def draw(spec, design, density, z):
    return spec.recover(draws_at(density, [z]), design, np.random.default_rng(0))


def test_gradient_is_exact(case):
    _, _, _, density = case
    for z in points_of(density, 2):
        numeric = [(density(z + h)[0] - density(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(density.n_dim)]
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=2e-4)


def members(m, data, t, z):
    """Values of the sampled members of products at coordinates z, row by row in the order of `data`; log det of the roots."""
    split = Split.of(m)
    context = data.context if data.code is None else np.zeros(len(data.Y), int)
    law, found, logdet, at = {c: Law.of(m, t, c) for c in np.unique(context)}, {}, 0.0, 0
    there = ~np.isnan(data.Y)
    for c, *seen in np.unique(np.column_stack([context, there])[there.any(1)], axis=0):
        plan = split.plan(np.array(seen, bool))
        known, n = list(plan.known), len(plan.seen)
        S, K = law[c].S[0], law[c].K[0]
        L = np.linalg.cholesky(S[np.ix_(known, known)])
        for i in np.flatnonzero((there == seen).all(1) & (context == c)):
            mean = K[known] @ regressors(data)[i]
            e = np.linalg.solve(L[:n, :n], data.Y[i, list(plan.seen)] - mean[:n])
            e = np.r_[e, z[at : at + len(plan.sampled)]]
            found[i], at = (mean + L @ e)[n:], at + len(plan.sampled)
            logdet += np.log(np.diag(L)[n:]).sum()
    assert at == len(z)
    return found, logdet


def test_marginal_and_joint_define_the_same_posterior(case):
    spec, design, priors, density = case
    m, data = spec._matrices(design), data_of(design)
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    latent = {v.name: v for v in model.free_RVs if v.name.endswith("_latent")}
    rows = {name: rows for name, rows, _ in patterns("y", data.Y, data.context)}
    for z in points_of(density, 3):
        posterior = draw(spec, design, density, z)
        values, logdet = members(m, data, stacked(spec.structure, posterior), z[density.n_top :])
        given = {
            name: (
                ("chain", "draw", f"{name}_row", f"{name}_of"),
                np.stack([values[i] for i in rows[name[1:-7]]])[None, None],
            )
            for name in latent
        }
        point = graph_point(spec, model, posterior.assign(given), None)
        assert float(logp(point)) + logdet == pytest.approx(log_posterior(spec, density, posterior, z), abs=1e-6)


def brute_force(spec, design, t) -> np.ndarray:
    """Log-likelihood of every row: known members on a grid, the rest normal given these."""
    m, data = spec._matrices(design), data_of(design)
    known = sorted({p.known for p in m.products})
    out = np.zeros(len(data.Y))
    points = np.linspace(-8, 8, 321 if len(known) == 1 else 65)
    for i, row in enumerate(data.Y):
        seen = np.flatnonzero(~np.isnan(row))
        if not len(seen):
            continue
        Psi, B, c = (x[0] for x in cells(m, t, 0, data.context[i]))
        constant = c @ regressors(data)[i]
        S, mean = covariance(Psi, B, constant)  # of variables that descend from no product
        there = [v for v in known if v in seen]
        rest = [v for v in known if v not in seen]
        L, centre = np.linalg.cholesky(S[np.ix_(rest, rest)]), mean[rest]
        grid = lattice(points, len(rest))
        at = np.zeros((len(grid), m.size))
        at[:, there], at[:, rest] = row[there], centre + grid @ L.T
        values = norm.logpdf(grid).sum(1)
        for g, z in enumerate(at):
            moved = B.copy()
            for p in m.products:
                moved[p.row, p.other] += p.coef * (t[0, p.factors[0] - 1] if p.factors else 1.0) * z[p.known]
            V, mu = covariance(Psi, moved, constant)
            C = V[:, rest] @ np.linalg.pinv(V[np.ix_(rest, rest)], hermitian=True)
            mu, V = mu + C @ (z[rest] - mu[rest]), V - C @ V[rest]
            values[g] += multivariate_normal(mu[seen], V[np.ix_(seen, seen)]).logpdf(row[seen])
        top = values.max()
        out[i] = top + np.log(np.exp(values - top).sum() * (points[1] - points[0]) ** len(rest))
    return out


def lattice(points, k) -> np.ndarray:
    """All combinations of k of the points, (., k); one empty one of none."""
    found = [*itertools.product(points, repeat=k)]
    return np.array(found).reshape(len(found), k)


def covariance(Psi, B, constant):
    A = np.linalg.inv(np.eye(len(B)) - B)
    return A @ Psi @ A.T, A @ constant


@pytest.mark.parametrize("name", ["two factors", "a square", "an observed variable", "a factor is explained"])
def test_likelihood_of_rows_is_the_integral(name):
    spec, design, _, density = built(name)
    few = design.isel(row=slice(0, 6))
    z = np.r_[points_of(density, 1)[0][: density.n_top] * 0.7, np.zeros(density.n_dim - density.n_top)]
    posterior = draw(spec, design, density, z)
    found = quadrature(spec._matrices(few), data_of(few), stacked(spec.structure, posterior), 48)[0]
    np.testing.assert_allclose(found, brute_force(spec, few, stacked(spec.structure, posterior)), atol=1e-6)
    value = spec.log_likelihood(posterior, few, "row")
    assert np.abs(value.to_numpy() - found).max() <= 2 * value.attrs["quadrature_error"] + 1e-6
    assert value.attrs["quadrature_error"] < 0.005


def test_several_members_are_integrated_by_the_product_rule():
    spec, design, _, density = built("two are known")
    few = design.isel(row=slice(2, 4))
    t = stacked(spec.structure, draw(spec, design, density, 0.5 * points_of(density, 1)[0]))
    found = quadrature(spec._matrices(few), data_of(few), t, 60)[0]
    np.testing.assert_allclose(found, brute_force(spec, few, t), atol=1e-6)


def test_without_products_nothing_changes():
    """With the path of the product at 0 the likelihood is that of the model without it."""
    model = F1 + "y ~ f1 + f2"
    spec, plain = SEM(model=model + " + 0*f1:f2"), SEM(model=model)
    data = frame()
    one, two = (s.design(data) for s in (spec, plain))
    density = spec.marginal(one, spec.frozen_priors(one))
    posterior = draw(spec, one, density, points_of(density, 1)[0])
    a, b = (s.log_likelihood(posterior, d, "row") for s, d in ((spec, one), (plain, two)))
    np.testing.assert_allclose(a, b, atol=1e-8)


def test_a_member_that_is_seen_is_a_moderator():
    """m, modelled and complete, times f: the model given m, times the density of m."""
    text = "f1 =~ x1 + x2 + x3; y ~ b1*f1 + b2*m + b3*m:f1"
    spec, given = SEM(model=text + "; m ~~ m; f1 ~~ 0*m"), SEM(model=text)
    data = frame(missing=False)
    data.loc[2:4, "x2"] = np.nan
    data.loc[5, "y"] = np.nan
    one, two = (s.design(data) for s in (spec, given))
    density = spec.marginal(one, spec.frozen_priors(one))
    assert density.n_dim == density.n_top
    for z in points_of(density, 3):
        posterior = draw(spec, one, density, z)
        mean, sd = (float(posterior[v].sel({f"{v}s": "m"}).item()) for v in ("intercept", "sd"))
        own = posterior.sel(intercepts=[v for v in posterior["intercepts"].values if v != "m"])
        own = own.sel(sds=[v for v in posterior["sds"].values if v != "m"])
        a, b = (s.log_likelihood(x, d, "row") for s, x, d in ((spec, posterior, one), (given, own, two)))
        np.testing.assert_allclose(a - b, norm(mean, sd).logpdf(data["m"])[None, None], atol=1e-8)


@pytest.mark.parametrize("name", ["two factors", "an observed variable", "a factor is explained", "two are known"])
def test_moments(name):
    """Means, covariances and third cumulants by quadrature over the known members, given which all is linear."""
    spec, design, _, density = built(name)
    m, data = spec._matrices(design), data_of(design)
    t = stacked(spec.structure, draw(spec, design, density, points_of(density, 1)[0]))
    law, known = Law.of(m, t), sorted({p.known for p in m.products})
    Psi, B, c = (x[0] for x in cells(m, t, 0))
    x, w = np.polynomial.hermite_e.hermegauss(6)
    grid, weights = lattice(x, len(known)), lattice(w / w.sum(), len(known)).prod(1)
    q = regressors(data)[:3]
    averaged, cumulants = 0.0, []
    for row in q:
        S, mean = covariance(Psi, B, c @ row)
        L, means, spreads = np.linalg.cholesky(S[np.ix_(known, known)]), [], []
        for e in grid:
            moved, z = B.copy(), dict(zip(known, mean[known] + L @ e, strict=True))
            for p in m.products:
                moved[p.row, p.other] += p.coef * t[0, p.factors[0] - 1] * z[p.known]
            V, mu = covariance(Psi, moved, c @ row)
            C = V[:, known] @ np.linalg.inv(V[np.ix_(known, known)])
            means.append(mu + C @ (np.array([*z.values()]) - mu[known]))
            spreads.append(V - C @ V[known])
        means, spreads = np.array(means), np.array(spreads)
        centre = weights @ means
        e = means - centre
        np.testing.assert_allclose(law.mean(row[None])[0, 0], centre, atol=1e-10)
        averaged = averaged + (
            np.einsum("g,gab->ab", weights, spreads) + np.einsum("g,ga,gb->ab", weights, e, e)
        ) / len(q)
        third = np.einsum("g,ga,gb,gc->abc", weights, e, e, e)
        for axes in ("ga,gbc->abc", "gb,gac->abc", "gc,gab->abc"):
            third = third + np.einsum(axes, weights[:, None] * e, spreads)
        cumulants.append(third)
    np.testing.assert_allclose(law.covariance(q)[0], averaged, atol=1e-10)
    up = [v for v in range(m.size) if v not in Split.of(m).down]
    for third in cumulants:  # they do not depend on the covariates
        np.testing.assert_allclose(law.third()[0][:, up][:, :, up], third[:, up][:, :, up], atol=1e-10)


def test_replicated_data_have_the_moments():
    spec, design, _, density = built("a treatment multiplies too", missing=False)
    many = design.isel(row=np.tile(np.arange(design.sizes["row"]), 4000))
    posterior = draw(spec, design, density, 0.7 * points_of(density, 1)[0])
    m, t = spec._matrices(design), stacked(spec.structure, posterior)
    Y = sem_replication.replicate(m, (), data_of(many), t, np.random.default_rng(3))[0][0]
    n = len(Y)
    expected = spec.expected(posterior, design).mean("row").to_numpy()[0, 0]
    S = covariances(spec.structure, m, t, design, 0)[0, : m.within, : m.within]
    error = np.sqrt(np.diag(S) / n)
    assert (np.abs(Y.mean(0) - expected) < 4 * error).all()
    e = Y - expected
    square = np.einsum("ia,ib->iab", e, e)
    assert (np.abs(square.mean(0) - S) < 5 * square.std(0) / np.sqrt(n)).all()


def effects(spec, design, density, cause, outcome, at=None, change=(0.0, 1.0)):
    """Conditional effects by name, at one draw, and the paths by name."""
    posterior = draw(spec, design, density, points_of(density, 1)[0])
    found = sem_moderation.moderated(spec.structure, spec._matrices(design), design, "", cause, outcome, at, change)
    paths = {str(v): posterior["path"].sel(paths=v).item() for v in posterior["paths"].values}
    return {e.name: e.draws(posterior, design).to_numpy()[0, 0] for e in found}, paths, posterior


def test_effects_at_values_of_a_latent_moderator():
    spec, design, _, density = built("two factors")
    found, b, posterior = effects(spec, design, density, "f1", "y", {"f2": [-1.0, 0.5]})
    slope = [b["y ~ f1"] + b["y ~ f1:f2"] * v for v in (-1.0, 0.5)]
    np.testing.assert_allclose(found["total effect of f1 on y"], slope)
    np.testing.assert_allclose(found["moderation by f2: total effect of f1 on y"], b["y ~ f1:f2"])
    usual, _, _ = effects(spec, design, density, "f1", "y")
    spread = posterior["sd"].sel(sds="f2").item() * np.array([-1, 0, 1])
    np.testing.assert_allclose(usual["total effect of f1 on y"], b["y ~ f1"] + b["y ~ f1:f2"] * spread)


def test_effects_of_what_leads_to_both_members():
    """E Y(x, M(x')) with both members normal given x, whose residuals covary; against simulation by the equations."""
    spec = SEM(model="f1 =~ x1 + x2; f2 =~ x3 + x4; f1 ~ z; f2 ~ z; f1 ~~ f2; y ~ f1 + f2 + f1:f2 + z")
    design = spec.design(frame())
    density = spec.marginal(design, spec.frozen_priors(design))
    found, b, posterior = effects(spec, design, density, "z", "y", change=(-1.0, 2.0))
    covary = posterior["corr"].item() * np.prod([posterior["sd"].sel(sds=f).item() for f in ("f1", "f2")])

    def expected(x, mediators):
        f1, f2 = b["f1 ~ z"] * mediators, b["f2 ~ z"] * mediators
        return b["y ~ f1"] * f1 + b["y ~ f2"] * f2 + b["y ~ f1:f2"] * (f1 * f2 + covary) + b["y ~ z"] * x

    np.testing.assert_allclose(found["total effect of z on y"], expected(2, 2) - expected(-1, -1))
    np.testing.assert_allclose(found["pure direct effect of z on y"], 3 * b["y ~ z"])
    np.testing.assert_allclose(found["total indirect effect of z on y"], expected(2, 2) - expected(2, -1))


def test_effect_of_a_square_depends_on_where_the_change_begins():
    spec, design, _, density = built("a square")
    found, b, _ = effects(spec, design, density, "f1", "y", change=(1.0, 3.0))
    assert [*found] == ["total effect of f1 on y"]
    np.testing.assert_allclose(found["total effect of f1 on y"], 2 * b["y ~ f1"] + 8 * b["y ~ f1:f1"])


def test_known_members_are_few_and_rather_observed():
    assert MODELS["two factors"].structure.known("") == ("f1",)
    assert MODELS["an observed variable"].structure.known("") == ("m",)
    assert SEM(model=F1 + "y ~ f1 + f2 + f1:f2; x5 ~ m:f1 + m + f1; m ~ z").structure.known("") == ("f1",)
    assert set(MODELS["two are known"].structure.known("")) == {"f1", "f2"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (dict(model=F1 + "y ~ f1:f2 + f1 + f2; m ~ y:f1 + y"), ["y itself depends on a product", "y ~ f1:f2"]),
        (dict(model=F1 + "y ~ f1:f2", categorical=["y"]), ["y ~ f1:f2", "beside categorical"]),
        (dict(cluster="treat", within="y ~ m", between="y ~ m + x1; m ~ x1; y ~ y:m"), ["on itself"]),
    ],
)
def test_refused(spec, words):
    with pytest.raises(SpecError) as error:
        SEM(**spec)
    assert all(w in str(error.value) for w in words), error.value


def test_not_identified_is_found():
    spec = SEM(model="f1 =~ x1 + x2; f2 =~ x3; y ~ f1 + f2 + f1:f2; f1 ~~ 0*f2; x3 ~~ 0.2*x3; y ~~ m; y ~~ x1")
    assert spec.frozen_priors(spec.design(frame()))
    spec = replace(spec, model="f1 =~ x1; f2 =~ x3; x1 ~~ 0*x1; x3 ~~ 0*x3; y ~ f1 + f1:f2; y ~ x1")
    with pytest.raises(SpecError, match="not identified"):
        spec.frozen_priors(spec.design(frame()))
