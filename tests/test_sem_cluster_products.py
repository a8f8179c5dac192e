"""Products of two latent variables on two levels: graph, gradient, brute-force integration, moments, effects, what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE
from test_sem import draws_at, graph_point, log_posterior, points_of
from test_sem_products import covariance, members

from bayeshte import SEM
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_graph import patterns
from bayeshte.marginal.cluster_products import cluster_runs
from bayeshte.marginal.matrices import cells
from bayeshte.marginal.structural_categorical import varying
from bayeshte.marginal.structural_products import Split, regressors

BOTH = "x ~~ m; y ~ x + m + x:m"
F, G = "f =~ a1 + a2 + a3; ", "g =~ c1 + c2 + c3; "
MODELS = {
    "both levels": SEM(cluster="school", within=BOTH + " + z", between=BOTH + " + treat"),
    "within": SEM(cluster="school", within=BOTH, between="x ~~ m; y ~ x + m + treat; v ~ y + w; w ~ x"),
    "variables of clusters": SEM(
        cluster="school", within="x ~~ m; y ~ x + m", between="y ~ x + w + x:w; m ~ y; v ~ y + x; w ~ x"
    ),
    "factors": SEM(
        cluster="school",
        within=F + G + "f ~~ g; y ~ f + g + f:g",
        between="fb =~ a1 + a2 + a3; gb =~ c1 + c2 + c3; fb ~~ gb; y ~ fb + gb + fb:gb",
    ),
    "a square of what one level has": SEM(
        cluster="school", within=F + "x ~ f; y ~ x + f + f:f", between="y ~ w + w:w; a1 ~~ a2; v ~ w"
    ),
    "a treatment multiplies too": SEM(
        cluster="school", within=BOTH, between="x ~~ m; y ~ x + m + treat + x:m + treat:x; v ~ y"
    ),
}


def frame(seed=0, clusters=14, rows=4, missing=True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    J, N = clusters, clusters * rows
    j = np.repeat(np.arange(J), rows)
    B, W = (rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], n) for n in (J, N))
    treat, w = np.arange(J) % 2 * 1.0, rng.normal(size=J) + 0.3 * B[:, 0]
    between = 0.5 * B[:, 0] + 0.3 * B[:, 1] + 0.4 * B.prod(1) + rng.normal(0, 0.5, J)
    y = between[j] + 0.5 * W[:, 0] + 0.3 * W[:, 1] - 0.4 * W.prod(1) + rng.normal(0, 0.7, N)
    data = {"x": 1 + B[j, 0] + W[:, 0], "m": B[j, 1] + W[:, 1], "y": y}
    for k, name in enumerate("ac"):
        own = rng.normal(0, 0.3, (J, 3))[j] + rng.normal(0, 0.5, (N, 3))
        data |= {f"{name}{i + 1}": (B[j, k] + W[:, k] + own[:, i]) for i in range(3)}
    out = pd.DataFrame(data)
    if missing:
        out = out.mask(rng.uniform(size=out.shape) < np.where(out.columns.isin(["x", "m", "y", "a1"]), 0.15, 0.0))
        out.iloc[5] = np.nan
    out = out.assign(school=j, z=rng.normal(size=N), treat=treat[j], w=w[j], v=(between + rng.normal(size=J))[j])
    if missing:
        out.loc[out["school"] == 2, "w"] = np.nan
        out.loc[out["school"].isin([3, 4]), "v"] = np.nan
    return out


def built(name, missing=True, **size):
    spec = MODELS[name]
    design = spec.design(frame(missing=missing, **size))
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
        np.testing.assert_allclose(density(z)[1], numeric, rtol=2e-5, atol=3e-4)


def given(S, mean, target, known, values):
    C = S[np.ix_(target, known)] @ np.linalg.pinv(S[np.ix_(known, known)], hermitian=True)
    return mean[target] + C @ (values[known] - mean[known]), S[np.ix_(target, target)] - C @ S[np.ix_(known, target)]


def placed(mean, S, z, pilot):
    """f ~ N(mean, S) at coordinates by information, and log |df / dz|; `pilot` has A and g, flat."""
    n = len(mean)
    A, g, L = pilot[: n * n].reshape(n, n), pilot[n * n :], np.linalg.cholesky(S)
    W = np.linalg.inv(np.linalg.cholesky(np.eye(n) + L.T @ A @ L))
    y = W.T @ (W @ L.T @ (g - A @ mean) + z)
    return mean + L @ y, np.linalg.slogdet(L)[1] + np.linalg.slogdet(W)[1]


def of_clusters(m, data, t, density, z):
    """Values of all that is known of clusters (cluster, M), and log |d values / d coordinates|."""
    q, split, parts = regressors(data, 1), Split.of(m, 1), varying(m).tolist()
    runs = [*cluster_runs(m, split, data)]
    sizes = [(len(p.sampled), len(p.parts)) for _, p, mine in runs for _ in mine]
    pilot, at = density.floats[-sum(n * (n + 1) for pair in sizes for n in pair) or None :], density.n_top
    found, logdet, k = np.full((len(q), m.size), np.nan), 0.0, 0
    for context, plan, mine in runs:
        Psi, B, c = (x[0] for x in cells(m, t, 1, context))
        for j in mine:
            row = found[j]
            row[m.within : m.observed] = data.V[j]
            S, mean = covariance(Psi, B, c @ q[j])
            moved = B.copy()
            for stage, own in enumerate((plan.sampled, plan.parts)):
                own, n = list(own), len(own)
                known = list(plan.seen if stage == 0 else plan.known + plan.explained)
                if stage:
                    for p in (p for p in m.products if p.level == 1):
                        moved[p.row, p.other] += p.coef * (t[0, p.factors[0] - 1] if p.factors else 1.0) * row[p.known]
                    S, mean = covariance(Psi, moved, c @ q[j])
                if n:
                    value = placed(*given(S, mean, own, known, row), z[at : at + n], pilot[k : k + n * (n + 1)])
                    row[own], logdet = value[0], logdet + value[1]
                at, k = at + n, k + n * (n + 1)
            assert {*parts} <= {*plan.sampled, *plan.parts}
    return found, logdet, at


def test_marginal_and_joint_define_the_same_posterior(case):
    spec, design, priors, density = case
    m, data = spec._matrices(design), data_of(design)
    model = spec.joint(design, priors)
    logp = model.compile_logp(jacobian=False, mode=EVALUATE)
    pieces = {name: (rows, seen) for name, rows, seen in patterns("v", data.V, data.context, every=True)}
    rows = {name: rows for name, rows, _ in patterns("y", data.Y)}
    for z in points_of(density, 3):
        posterior = draw(spec, design, density, z)
        t = stacked(spec.structure, posterior)
        f, logdet, at = of_clusters(m, data, t, density, z)
        np.testing.assert_allclose(posterior["cluster_mean"][0, 0], f[:, varying(m)], atol=1e-8)
        b = np.where(np.isin(np.arange(m.size), varying(m)), f, 0.0)
        shifted = replace(data, Y=data.Y - b[data.code][:, : m.within])
        latent, more = members(m, shifted, t, z[at:])
        given = {}
        for rv in (v.name for v in model.free_RVs if v.name.startswith(("_v", "_y")) and v.name[2] == "_"):
            name, _, kind = rv[1:].partition("_l" if rv.endswith("latent") else "_m")
            if name[0] == "y":
                value = np.stack([latent[i] for i in rows[name]])
            else:
                mine, seen = pieces[name]
                plan = Split.of(m, 1).plan(np.isin(np.arange(m.size), m.within + seen), varying(m).tolist())
                own = plan.parts if kind == "eans_explained" else plan.sampled
                own = [v for v in own if (v in varying(m)) == (kind[:4] == "eans")]
                value = f[np.ix_(mine, own)]
            given[rv] = (("chain", "draw", f"{rv}_unit", f"{rv}_of"), value[None, None])
        point = graph_point(spec, model, posterior.assign(given), None)
        expected = log_posterior(spec, density, posterior, z, density.n_top)
        assert float(logp(point)) + logdet + more == pytest.approx(expected, abs=1e-6)
