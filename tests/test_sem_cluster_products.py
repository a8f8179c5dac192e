"""Products of two latent variables on two levels: graph, gradient, brute-force integration, moments, effects, what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from test_sem import draws_at, graph_point, log_posterior, points_of
from test_sem_products import covariance, members

from bayeshte import SEM
from bayeshte.errors import DataError, SpecError
from bayeshte.families import sem_moderation, sem_replication
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_graph import patterns
from bayeshte.families.sem_moments import covariances
from bayeshte.marginal import cluster_products
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
        assert float(logp(point)) + logdet + more == pytest.approx(expected, abs=1e-8)


# ---------------------------------------------------------------------------------------------- brute force


def nodes(n, dimensions=1):
    """Gauss-Hermite nodes (., dimensions) and weights of standard normal variables."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    grid, weights = (np.array([*itertools.product(v, repeat=dimensions)]) for v in (x, w / w.sum()))
    return grid, weights.prod(1)


def integral(density, z, which, n):
    """log of the integral of the density over the coordinates `which`, the others as they are at z."""
    grid, weights = nodes(n, len(which))
    values = np.empty(len(grid))
    for k, x in enumerate(grid):
        z[which] = x
        values[k] = density(z)[0] + 0.5 * x @ x + 0.5 * len(which) * np.log(2 * np.pi)
    z[which] = 0.0
    return logsumexp(values, b=weights)


def row_likelihood(row, b, value, n=24):
    """Log-likelihood of (x, m, y, z) of a row at parts b (point, 3) of its cluster; missing x or m integrated on nodes."""
    w, sd = row[:3] - b, [value["sd", f"within: {v}"] for v in "xm"]
    cov = value["corr", "within: x ~~ m"] * sd[0] * sd[1]
    first = [k for k in (0, 1) if not np.isnan(row[k])]
    out, grid, weights = np.zeros((len(b), 1)), np.zeros((1, 2)), np.ones(1)
    S = np.array([[sd[0] ** 2, cov], [cov, sd[1] ** 2]])
    if len(first) == 2:
        out = np.reshape(multivariate_normal([0, 0], S).logpdf(w[:, :2]), (-1, 1))
        x, m = w[:, :1], w[:, 1:2]
    else:
        (k,), o = first, 1 - first[0]
        out = norm(0, sd[k]).logpdf(w[:, k])[:, None]
        mean, left = S[o, k] / S[k, k] * w[:, k : k + 1], np.sqrt(S[o, o] - cov**2 / S[k, k])
        grid, weights = nodes(n)
        both = {k: w[:, k : k + 1], o: mean + left * grid[:, 0]}
        x, m = both[0], both[1]
    if not np.isnan(row[2]):
        path = [value["path", f"within: y ~ {v}"] for v in ("x", "m", "x:m", "z")]
        centre = path[0] * x + path[1] * m + path[2] * x * m + path[3] * row[3]
        out = out + norm(centre, value["sd", "within: y"]).logpdf(w[:, 2:])
    return logsumexp(out, axis=1, b=weights)


def test_density_is_the_integral_over_clusters_and_missing_values(monkeypatch):
    """In coordinates that the information at the parameters chooses, where few nodes are enough."""
    spec, design, priors, whole = built("both levels", missing=False)
    few = design.isel(row=[0, 1, 2, 4, 5], school=[0, 1]).copy(deep=True)
    at = {v: spec.structure.within.index(v) for v in "xmy"}
    for row, v in ((0, "x"), (1, "y"), (4, "m")):
        few["Y"].values[row, at[v]] = np.nan
    d = whole.n_top
    z = np.r_[0.5 * np.random.default_rng(3).normal(size=d), np.zeros(whole.n_dim - d)]
    at_z, tables = stacked(spec.structure, draw(spec, design, whole, z))[0], cluster_products.tables
    monkeypatch.setattr(cluster_products, "tables", lambda *given: tables(*given[:-1], at_z))
    density = spec.marginal(few, priors)
    assert density.n_dim == d + 2 * 3 + 1
    coordinates = np.split(whole.floats[whole.at : whole.at + d + d * d], [d])
    density = density.with_coordinates(coordinates[0], coordinates[1].reshape(d, d))
    z = np.r_[z[:d], np.zeros(7)]
    first, second = density.n_top + np.array([0, 1, 2, 6]), density.n_top + np.array([3, 4, 5])
    posterior = draw(spec, few, density, z)
    found = log_posterior(spec, density, posterior, z, density.n_top) - 2 * density(z)[0]
    found += integral(density, z, first, 9) + integral(density, z, second, 14)
    model = spec.joint(few, priors)
    top = [v for v in model.free_RVs if not v.name.startswith(("_v_", "_y_"))]
    logp = model.compile_logp(vars=top, jacobian=False, mode=EVALUATE)
    zero = {v.name: np.zeros((1, 1, *v.shape.eval())) for v in model.free_RVs if v not in top}
    zero = {k: (("chain", "draw", f"{k}_unit", f"{k}_of"), v) for k, v in zero.items()}
    point = graph_point(spec, model, posterior.assign(zero), None)
    value = {
        (name, str(e)): posterior[name].sel({f"{name}s": e}).item()
        for name in ("path", "sd", "corr", "intercept")
        for e in posterior[f"{name}s"].values
    }
    expected = float(logp(point))
    sd, r = [value["sd", f"between: {v}"] for v in "xm"], value["corr", "between: x ~~ m"]
    grid, weights = nodes(32, 3)
    e = grid @ np.array([[sd[0], 0, 0], [r * sd[1], np.sqrt(1 - r**2) * sd[1], 0], [0, 0, value["sd", "between: y"]]]).T
    for j, treat in enumerate(few["Z"].values[:, 0]):
        bx, bm = e[:, 0] + value["intercept", "between: x"], e[:, 1] + value["intercept", "between: m"]
        path = [value["path", f"between: y ~ {v}"] for v in ("x", "m", "x:m", "treat")]
        by = (
            value["intercept", "between: y"]
            + path[0] * bx
            + path[1] * bm
            + path[2] * bx * bm
            + path[3] * treat
            + e[:, 2]
        )
        b, total = np.column_stack([bx, bm, by]), 0.0
        for i in np.flatnonzero(few["cluster_code"].values == j):
            row = np.r_[few["Y"].values[i, [at[v] for v in "xmy"]], few["X"].values[i, 0]]
            total = total + row_likelihood(row, b, value)
        expected += logsumexp(total, b=weights)
    assert found == pytest.approx(expected, abs=2e-4)


# ---------------------------------------------------------------------------------------------- what is made of draws


def test_the_likelihood_of_rows_is_that_given_their_clusters():
    """With a within product of two seen variables a row is normal given x, m and the latent means."""
    spec, design, _, density = built("both levels")
    posterior = draw(spec, design, density, points_of(density, 1)[0])
    found = spec.log_likelihood(posterior, design, "row")
    names = ("path", "sd", "corr")
    value = {(p, str(e)): posterior[p].sel({f"{p}s": e}).item() for p in names for e in posterior[f"{p}s"].values}
    b = posterior["cluster_mean"].sel(between_variable=["x", "m", "y"]).to_numpy()[0, 0]
    at = [spec.structure.within.index(v) for v in "xmy"]
    rows = np.column_stack([design["Y"].to_numpy()[:, at], design["X"].to_numpy()])
    for i, row in enumerate(rows):
        if not np.isnan(row[:2]).all():
            own = row_likelihood(row, b[design["cluster_code"].values[i]][None], value)
            assert found.values[0, 0, i] == pytest.approx(own[0], abs=1e-4)
    with pytest.raises(SpecError, match=r"no likelihood of whole clusters with a product .*within: y ~ x:m"):
        spec.log_likelihood(posterior, design, "cluster")


@pytest.mark.parametrize("name", ["both levels", "factors", "a treatment multiplies too"])
def test_replicated_data_have_the_moments(name):
    """Expected values, and covariances within clusters and between, against one large data set."""
    spec, design, _, density = built(name, missing=False)
    J, n, copies = design.sizes["school"], design.sizes["row"], 3000
    posterior = draw(spec, design, density, 0.5 * points_of(density, 1)[0])
    m, t, data = spec._matrices(design), stacked(spec.structure, posterior), data_of(design)
    code = (np.arange(copies)[:, None] * J + data.code).ravel()
    arrays = {k: np.tile(getattr(data, k), (copies, 1)) for k in "YXVZ"}
    many = replace(data, **arrays, context=np.tile(data.context, copies), code=code)
    Y = sem_replication.replicate(m, (), many, t, np.random.default_rng(3))[0][0].reshape(copies, n, -1)
    expected = spec.expected(posterior, design, clusters="new").to_numpy()[0, 0]
    error = Y.std(0) / np.sqrt(copies)
    assert (np.abs(Y.mean(0) - expected) < 5 * error).all()
    between, within = (covariances(spec.structure, m, t, design, k)[0, : m.within, : m.within] for k in (1, 0))
    first = np.flatnonzero(data.code[1:] == data.code[:-1])  # neighbours share what is between clusters
    e = Y - Y.mean((0, 1))
    if not data.X.shape[1]:
        pairs = np.einsum("cia,cib->cab", e[:, first], e[:, first + 1]) / len(first)
        assert (np.abs(pairs.mean(0) - between) < 5 * pairs.std(0) / np.sqrt(copies)).all()
    total = np.einsum("cia,cib->cab", e, e) / n
    assert (np.abs(total.mean(0) - between - within) < 5 * total.std(0) / np.sqrt(copies)).all()


def test_expected_values_in_these_clusters():
    spec, design, _, density = built("both levels")
    posterior = draw(spec, design, density, points_of(density, 1)[0])
    found = spec.expected(posterior, design)[0, 0].sel(within_variable="y").to_numpy()
    b = posterior["cluster_mean"][0, 0].sel(between_variable="y").to_numpy()[design["cluster_code"].to_numpy()]
    path = {str(e): posterior["path"].sel(paths=e).item() for e in posterior["paths"].values}
    sd = [posterior["sd"].sel(sds=f"within: {v}").item() for v in "xm"]
    product = path["within: y ~ x:m"] * posterior["corr"].sel(corrs="within: x ~~ m").item() * sd[0] * sd[1]
    np.testing.assert_allclose(found, b + path["within: y ~ z"] * design["X"].to_numpy()[:, 0] + product)


@pytest.mark.parametrize("level", ["within", "between"])
def test_effects_at_values_of_a_moderator(level):
    spec, design, _, density = built("both levels")
    posterior = draw(spec, design, density, points_of(density, 1)[0])
    m = spec._matrices(design)
    of = sem_moderation.moderated(spec.structure, m, design, level, "x", "y", {"m": [-1.0, 2.0]})
    found = {e.name: e.draws(posterior, design).to_numpy()[0, 0] for e in of}
    b, c = (posterior["path"].sel(paths=f"{level}: y ~ {v}").item() for v in ("x", "x:m"))
    np.testing.assert_allclose(found[f"total effect of x on y, {level}"], [b - c, b + 2 * c])
    usual = sem_moderation.moderated(spec.structure, m, design, level, "x", "y")[0].draws(posterior, design)
    mean = 0.0 if level == "within" else posterior["intercept"].sel(intercepts="between: m").item()
    at = mean + posterior["sd"].sel(sds=f"{level}: m").item() * np.array([-1, 0, 1])
    np.testing.assert_allclose(usual[0, 0], b + c * at)
    names = [e.name for e in spec.estimands(design)]
    assert {f"R-square of y, {level}", f"standardised {level}: y ~ x:m"} <= {*names}
    assert not any(v.startswith("contextual effect of x on y") for v in names)  # it depends on m


def test_words():
    spec, design, _, _ = built("factors")
    words = spec.describe(design)
    assert words.integrated.endswith("exactly, given latent cluster means, f and fb, which were sampled")
    spec, design, _, _ = built("both levels")
    assert "given latent cluster means and missing values of x, which were sampled" in spec.describe(design).integrated
    lines = spec.equations(design)
    assert any(r"\,\text{x}^B_{j}\,\text{m}^B_{j}" in line for line in lines)
    assert any(r"\,\text{x}^W_{ij}\,\text{m}^W_{ij}" in line for line in lines)


def test_members_that_are_known():
    known = {k: [MODELS[k].structure.known(level) for level in ("within", "between")] for k in MODELS}
    assert (known["both levels"], known["within"]) == ([("x",), ("x",)], [("x",), ()])
    assert (known["factors"], known["variables of clusters"]) == ([("f",), ("fb",)], [(), ("x",)])


def test_default_priors_do_not_depend_on_where_members_are():
    """The path of a product has a prior in units of the SDs of its members; the others are effects where these are 0."""
    data, spec = frame(missing=False), MODELS["both levels"]
    priors, moved = (
        spec.frozen_priors(spec.design(d)) for d in (data, data.assign(x=data["x"] + 100, m=data["m"] - 50))
    )
    for level in ("within", "between"):
        key = f"path[{level}: y ~ x:m]"
        assert priors[key]["sigma"] == pytest.approx(moved[key]["sigma"])
    near, far = (p["path[within: y ~ x]"]["sigma"] for p in (priors, moved))
    assert near == pytest.approx(far)  # within clusters m has the mean 0
    near, far = (p["path[between: y ~ x]"]["sigma"] for p in (priors, moved))
    assert far / near > 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (dict(within="s | y ~ x; m ~~ m", between="y ~ x + m + x:m"), ["between: y ~ x:m", "beside random slopes (s)"]),
        (dict(within="s | y ~ x; m ~~ m", between="y ~ s + m + s:m"), ["between: y ~ s:m", "random slopes (s)"]),
        (dict(within="y ~ x + m + x:m", between="y ~ x + m", categorical=["y"]), ["within: y ~ x:m", "categorical"]),
        (
            dict(within="y ~ x + x:z; x ~~ x", between="y ~ x"),
            ["within: y ~ x:z", "add z ~~ z; z ~ 1 within", "s | y ~ x within; s ~ z between"],
        ),
        (
            dict(within="y ~ m + x; x ~~ x", between="m ~ x:w + w; y ~ m + m:x; w ~~ w"),
            ["m itself depends on a product"],
        ),
    ],
)
def test_refused(spec, words):
    with pytest.raises(SpecError) as error:
        SEM(cluster="school", **spec)
    assert all(w in str(error.value) for w in words), error.value


@pytest.mark.parametrize("level", ["within", "between"])
def test_not_identified_is_found(level):
    """A factor is its only indicator, and both have a path to y."""
    spec = SEM(cluster="school", **{"within": "y ~ x; a1 ~~ x", "between": "y ~ x; a1 ~~ x"})
    assert spec.frozen_priors(spec.design(frame()))
    spec = replace(spec, **{level: "f =~ a1; a1 ~~ 0*a1; f ~~ x; y ~ x + f + a1 + f:x"})
    with pytest.raises(SpecError, match="not identified"):
        spec.frozen_priors(spec.design(frame()))


def test_a_variable_of_clusters_within_is_told_to_be_a_random_slope():
    spec = SEM(cluster="school", within="y ~ x + w + x:w", between="y ~ x + w")
    with pytest.raises(DataError, match="a random slope of x that w predicts"):
        spec.design(frame(missing=False))
