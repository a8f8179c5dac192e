"""Structural equation models with categorical variables of clusters: graph, gradient, integration, one-level models, refusals."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import EVALUATE
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm
from sem_contract import built, check_gradient, check_joint
from test_sem import draws_at, graph_point, matrices_of, points_of
from test_sem_categorical_likelihood import prior_draws, row_probability

from bayeshte import SEM
from bayeshte.families.sem_categorical import responses
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_structure import VARIABLES
from bayeshte.marginal.cluster_categories import answers_of_clusters, causes_of, responses_before
from bayeshte.marginal.kernels.structural import HEADER
from bayeshte.marginal.matrices import moments
from bayeshte.marginal.structural_categorical import cuts_at, links_of, varying, without_categories, without_logistic
from bayeshte.marginal.structural_draws import implied_within

ONE = dict(cluster="school", within="y ~ x")
MODELS = {  # given parts of clusters and their continuous variables, categories are independent
    "outcome": SEM(**ONE, between="y ~ z; u ~ y + z", categorical=["u"]),
    "mediator": SEM(**ONE, between="u ~ z; y ~ u + z", categorical=["u"]),
    "logit": SEM(**ONE, between="y ~ z; v ~ z; u ~ y + v + z", categorical={"u": "logit"}),
    "two outcomes": SEM(**ONE, between="y ~ z; u ~ y; o ~ y + z; u ~~ 0*o", categorical=["u", "o"]),
    "ordinal with a continuous one": SEM(**ONE, between="y ~ z; o ~ v + y; v ~ z; o | a*t1 + b*t2", categorical=["o"]),
    "slope": SEM(cluster="school", within="s | y ~ x", between="y ~ z + u; s ~ u; u ~ z; y ~~ s", categorical=["u"]),
    "slope on a latent predictor": SEM(
        cluster="school", within="s | y ~ m; m ~ x", between="y ~ z; s ~ z; u ~ s + y", categorical=["u"]
    ),
    "row and cluster": SEM(
        cluster="school", within="m ~ x; h ~ m", between="m ~ z; h ~ m + u; u ~ m + z", categorical=["h", "u"]
    ),
    "no residual between": SEM(**ONE, between="v ~ z; y ~ v; y ~~ 0*y; u ~ y + z", categorical=["u"]),
    "moderated": SEM(**ONE, between="y ~ z; u ~ y + z + z:y", categorical=["u"]),
    "residual covaries": SEM(**ONE, between="y ~ z; u ~ z; y ~~ u", categorical=["u"]),
}
SAMPLED = {  # responses or factors of clusters are
    "factor": SEM(**ONE, between="g =~ u + o + k; g ~ z; y ~ g", categorical=["u", "o", "k"]),
    "mediator and outcome": SEM(**ONE, between="u ~ z; o ~ u + z; y ~ z", categorical=["u", "o"]),
    "residuals covary": SEM(**ONE, between="y ~ z; u ~ y; o ~ y; u ~~ o", categorical=["u", "o"]),
    "cause of a logit": SEM(**ONE, between="y ~ z; u ~ z; o ~ u + y", categorical={"u": "probit", "o": "logit"}),
}


def frame(seed=0, missing=False) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    J = 24
    n = rng.integers(2, 6, J)
    j = np.repeat(np.arange(J), n)
    N = len(j)
    z, b = np.round(rng.normal(size=J)), rng.normal(size=J)
    response = 0.5 * b + 0.3 * z + rng.normal(size=(3, J))
    own = pd.DataFrame({"z": z, "v": 0.3 * z + rng.normal(size=J)})
    own["u"], own["k"] = (response[0] > 0) * 1.0, (response[1] > -0.3) * 1.0
    own["o"] = np.digitize(response[2], [-0.5, 0.6]).astype(float)
    if missing:
        for name in ("u", "o", "v", "k"):
            own.loc[rng.random(J) < 0.2, name] = np.nan
    x = rng.normal(size=N)
    m = 0.5 * x + rng.normal(size=N) + 0.4 * b[j]
    out = pd.DataFrame({"school": j, "x": x, "m": m, "y": 0.4 * x + 0.3 * m + b[j] + rng.normal(size=N)})
    out["h"] = (m + rng.normal(size=N) > 0) * 1
    if missing:
        out.loc[rng.random(N) < 0.2, "y"] = np.nan
    return out.join(own, on="school")


UNSEEN = "no residual between"  # a part that others determine has no density
CAUSES = (
    "mediator",
    "slope",
    "row and cluster",
)  # models with a response that causes what varies between clusters: it is sampled


@pytest.fixture(
    params=[(name, missing) for name in MODELS if name not in (*CAUSES, UNSEEN) for missing in (False, True)],
    ids=str,
    scope="module",
)
def case(request):
    name, missing = request.param
    if name == "logit" and missing:
        pytest.skip("the missing cause of a logit is sampled: see the other tests")
    return built(MODELS[name], frame(missing=missing))


def test_marginal_and_joint_define_the_same_posterior(case):
    check_joint(case, 4)


@pytest.mark.parametrize("name", [*MODELS, *SAMPLED])
def test_gradient_is_exact(name):
    check_gradient(built((MODELS | SAMPLED)[name], frame(missing=True))[-1])


def small(name: str, missing=False):
    """Few clusters, so that every one can be integrated over a grid."""
    data = frame(missing=missing)
    spec = (MODELS | SAMPLED)[name]
    return spec, spec.design(data[data["school"] < 8])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *SAMPLED])
def test_what_is_sampled_of_a_cluster_integrates_to_its_likelihood(name):
    """The kernel over the coordinates of each cluster, by the trapezoidal rule."""
    spec, design = small(name)
    priors = spec.frozen_priors(design)
    density = spec.marginal(design, priors)
    model = spec.joint(design, priors)
    parameters = [v for v in model.free_RVs if not v.name.endswith(("latent", "cluster_mean", "slope"))]
    prior = model.compile_logp(vars=[*parameters, *model.potentials], jacobian=False, mode=EVALUATE)
    s, m = spec.structure_of(design), spec._matrices(design)
    answers = responses(s)
    coordinates = places(density, m, data_of(design), answers)
    step = {1: 0.2, 2: 0.4, 3: 0.7}[max(map(len, coordinates))]
    for z in points_of(density, 1):
        z[density.n_top :] = 0.0
        base = density(z)[0]
        posterior = spec.recover(draws_at(density, [z]), design, np.random.default_rng(0))
        found = of_parameters(spec, density, posterior, z)
        for mine in coordinates:
            grid = np.stack(np.meshgrid(*[np.arange(-6, 6.1, step)] * len(mine), indexing="ij"), -1)
            values = []
            for t in grid.reshape(-1, len(mine)):
                at = z.copy()
                at[mine] = t
                values.append(density(at)[0] - base)
            found += np.log(np.exp(values).sum()) + len(mine) * np.log(step)
        latent = [v for v in model.free_RVs if v not in parameters]
        known = {
            v.name: (
                ("chain", "draw", *(f"{v.name}_{k}" for k in range(v.ndim))),
                np.zeros((1, 1, *v.shape.eval(mode=EVALUATE))),
            )
            for v in latent
        }
        kept = posterior.drop_vars([v for v in ("cluster_mean", "slope") if v in posterior])
        point = graph_point(spec, model, kept.assign(known), known.get("cluster_mean", (0, np.zeros((1, 1))))[1][0, 0])
        like = spec.log_likelihood(posterior, design, "cluster")
        assert like.attrs["quadrature_error"] < 0.02
        assert found - float(prior(point)) == pytest.approx(float(like.sum()), abs=0.02)


def of_parameters(spec, density, posterior, z) -> float:
    """The kernel's log density at z in the measure of PyMC's parameters, as `log_posterior`, but not of parts of clusters."""
    d = density.n_top

    def free(z):
        return np.concatenate([density.parameters(z)[v] for v in ("_scalars", "_correlations")])

    h = 1e-5 * np.eye(density.n_dim)[:d]
    scale = density.floats[density.at + d : density.at + d + d * d].reshape(d, d)
    jacobian = np.column_stack([(free(z + e) - free(z - e)) / 2e-5 for e in h])
    parameters = spec.structure_of(posterior).parameters
    real = density.ints[HEADER : HEADER + len(parameters)] == 0
    signed = sum(real[k] for k, p in enumerate(parameters) if p.variable == "sd")
    value = density(z)[0] + np.log(2) * signed + np.linalg.slogdet(scale)[1] - np.linalg.slogdet(jacobian)[1]
    for corr in matrices_of(spec, posterior).values():
        L = np.linalg.cholesky(corr)
        value += (np.arange(len(L))[::-1] * np.log(np.diag(L))).sum()
    return value


def places(density, m, data, answers) -> list[np.ndarray]:
    """Coordinates of every cluster: of its parts, of its responses before and after them."""
    links, parts = links_of(answers), varying(m)
    own = without_logistic(m, answers)
    first = causes_of(own, links, parts)
    J, at = len(data.context), density.n_top
    out = [list(range(at + j * len(parts), at + (j + 1) * len(parts))) for j in range(J)]
    at += J * len(parts)
    for found in (responses_before(own, data, links, first), answers_of_clusters(own, data, links, parts, first)):
        for j in found.runs[1][:, 0]:
            out[j] += range(at, at + found.sampled[j])
            at += found.sampled[j]
    assert at == density.n_dim
    return [np.array(x) for x in out]


def probability(spec, design, posterior, j: int, parts: np.ndarray) -> np.ndarray:
    """log P(categories of cluster j | parts (point, part), its continuous variables), from normal boxes."""
    s, data, t = spec.structure_of(design), data_of(design), stacked(spec.structure_of(design), posterior)
    answers = responses(s)
    m = without_logistic(spec._matrices(design), answers)
    S, K = (x[0] for x in moments(m, t, 1, data.context[j]))
    mean = K[:, -1 - data.Z.shape[1] :] @ np.r_[1.0, data.Z[j]]
    cuts = {r.column: np.r_[-np.inf, c[0], np.inf] for r, c in zip(answers, cuts_at(answers, t), strict=True)}
    seen = [m.within + k for k in np.flatnonzero(~np.isnan(data.V[j]))]
    asked = [v for v in seen if v in cuts]
    if not asked:
        return np.zeros(len(parts))
    known = [*(v for v in seen if v not in cuts), *varying(m)]
    values = np.column_stack(
        [np.tile(data.V[j][[v - m.within for v in known[: -len(varying(m))]]], (len(parts), 1)), parts]
    )
    to = S[np.ix_(asked, known)] @ np.linalg.pinv(S[np.ix_(known, known)], hermitian=True, rcond=1e-12)
    centre = mean[asked] + (values - mean[known]) @ to.T
    cov = S[np.ix_(asked, asked)] - to @ S[np.ix_(known, asked)]
    low, high = (np.array([cuts[v][int(data.V[j, v - m.within]) + up] for v in asked]) for up in (0, 1))
    (logit,) = {r.link == "logit" for r in answers if r.column in asked} if len(asked) == 1 else [False]
    if logit:
        return np.log(expit(high - centre) - expit(low - centre))[:, 0]
    if np.abs(cov - np.diag(np.diag(cov))).max() < 1e-9:
        sd = np.sqrt(np.diag(cov))
        return np.log(norm.cdf((high - centre) / sd) - norm.cdf((low - centre) / sd)).sum(1)
    normal = multivariate_normal(np.zeros(len(asked)), cov)
    return np.log([normal.cdf(high - c, lower_limit=low - c) for c in centre])


@pytest.mark.parametrize("name", [v for v in MODELS if v != "logit"])
def test_the_graph_gives_categories_the_probabilities_of_normal_boxes(name):
    spec = MODELS[name]
    design = spec.design(frame(missing=True))
    priors = spec.frozen_priors(design)
    density, model = spec.marginal(design, priors), spec.joint(design, priors)
    categories = [v for v in model.observed_RVs if v.name.startswith("v_") and "[" in v.name]
    logp = model.compile_logp(vars=categories, jacobian=False, mode=EVALUATE)
    (z,) = points_of(density, 1)
    posterior = spec.recover(draws_at(density, [z]), design, np.random.default_rng(1))
    parts = np.concatenate([posterior[v].to_numpy()[0, 0] for v in ("cluster_mean", "slope") if v in posterior], axis=1)
    expected = sum(probability(spec, design, posterior, j, parts[[j]])[0] for j in range(len(parts)))
    point = graph_point(spec, model, posterior, posterior["cluster_mean"].to_numpy()[0, 0])
    assert float(logp(point)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", [*MODELS, *SAMPLED])
def test_likelihood_of_clusters_against_brute_force(name):
    """Parts on a grid of independent standard normal variables; given these the rows, and boxes for the clusters' categories."""
    if name == "cause of a logit":
        pytest.skip("no box: its density integrates to the likelihood in another test")
    spec = (MODELS | SAMPLED)[name]
    data = frame(missing=name != "logit")
    design = spec.design(data[data["school"] < 6])
    draws = prior_draws(spec, design, 1)
    found = spec.log_likelihood(draws, design, "cluster")
    assert found.attrs["quadrature_error"] < 0.02
    s, values, t = spec.structure_of(design), data_of(design), stacked(spec.structure_of(design), draws)
    answers = responses(s)
    m = without_logistic(spec._matrices(design), answers)
    f, own = varying(m), without_categories(values, answers)
    cuts = [c[0] for c in cuts_at(answers, t)]
    rows = [r for r in answers if r.column < m.within]
    for j, c in enumerate(values.context):
        S, K = (x[0] for x in moments(m, t, 1, c))
        mean = K[:, -1 - values.Z.shape[1] :] @ np.r_[1.0, values.Z[j]]
        v = m.within + np.flatnonzero(~np.isnan(own.V[j]))
        e = own.V[j][v - m.within] - mean[v]
        to = S[np.ix_(f, v)] @ np.linalg.inv(S[np.ix_(v, v)])
        expected = multivariate_normal(np.zeros(len(v)), S[np.ix_(v, v)]).logpdf(e) if len(v) else 0.0
        roots, vectors = np.linalg.eigh(S[np.ix_(f, f)] - to @ S[np.ix_(v, f)])
        roots, vectors = roots[roots > 1e-12], vectors[:, roots > 1e-12]
        grid = np.linspace(-5.6, 5.6, 33)
        z = np.reshape(list(product(grid, repeat=len(roots))), (-1, len(roots))) if len(roots) else np.zeros((1, 0))
        parts = mean[f] + to @ e + z * np.sqrt(roots) @ vectors.T
        b = np.zeros((len(z), m.size))
        b[:, f[: len(f) - len(m.slopes)]] = parts[:, : len(f) - len(m.slopes)]
        slopes = parts[:, len(f) - len(m.slopes) :]
        Sw, Kw = (
            implied_within(m, np.repeat(t, len(z), axis=0), slopes) if m.slopes else [x[0] for x in moments(m, t, 0, 0)]
        )
        ll = norm.logpdf(z).sum(1) + probability(spec, design, draws, j, parts)
        for i in np.flatnonzero(values.code == j):
            given = [cuts[answers.index(r)] for r in rows]
            ll += row_probability(values.Y[i], np.r_[1.0, values.X[i]], Sw, Kw, b, rows, given)
        expected += logsumexp(ll) + len(roots) * np.log(grid[1] - grid[0])
        assert float(found[0, 0, j]) == pytest.approx(expected, abs=5e-3)


def test_an_outcome_of_clusters_alone_is_the_probit_regression_of_one_level():
    data = frame(missing=True)
    two = SEM(**ONE, between="y ~ z; o ~ z; y ~~ 0*o", categorical=["o"])
    rest, one = SEM(**ONE, between="y ~ z"), SEM(model="o ~ z", categorical=["o"])
    draws = prior_draws(two, two.design(data), 4)
    clusters = data.groupby("school", as_index=False).first()
    whole, part = (s.log_likelihood(draws_of(s, draws), s.design(data), "cluster") for s in (two, rest))
    single = one.log_likelihood(draws_of(one, draws), one.design(clusters), "row").to_numpy()
    found = (whole - part).sel(school=[str(v) for v in clusters["school"]]).to_numpy()
    np.testing.assert_allclose(found, single, atol=1e-8)


def draws_of(spec, draws):
    """Draws of a model whose parameters have the same names in a larger one, but for the level."""
    s = spec.structure if not spec.links else spec.structure_of(draws)
    out = {}
    for variable in VARIABLES:
        labels = s.elements(variable)
        known = {str(v): k for k, v in enumerate(draws[f"{variable}s"].to_numpy())} if variable in draws else {}
        place = [known[v if v in known else f"between: {v}"] for v in labels]
        if labels:
            out[variable] = draws[variable].isel({f"{variable}s": place}).assign_coords({f"{variable}s": labels})
    return xr.Dataset(out)
