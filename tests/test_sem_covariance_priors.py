"""Priors of covariance matrices and of covariances: the analytic posterior, and what is refused before sampling."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import EVALUATE
from scipy import stats
from test_sem import draws_at, graph_point

import bayeshte as bh
from bayeshte.checks.sensitivity import log_prior
from bayeshte.families.sem_priors import factors
from bayeshte.marginal.density import lkj_constant
from bayeshte.model_text import Row
from bayeshte.prior import override

SCALE = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.0], [0.1, 0.0, 3.0]])
COVARIANCE = "a ~~ b + c; b ~~ c"


def frame(n=60, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    root = np.array([[1.0, 0, 0], [0.6, 1, 0], [-0.5, 0.3, 1.5]])
    data = pd.DataFrame(rng.normal(size=(n, 3)) @ root.T, columns=list("abc"))
    return data.assign(x=rng.normal(size=n), g=np.arange(n) // 6, z=rng.normal(size=n // 6)[np.arange(n) // 6])


def priors_of(priors, n=60, **options):
    spec = bh.SEM(**options, priors=priors)
    return spec.frozen_priors(spec.design(frame(n)))


@pytest.mark.parametrize("whole", [True, False])
def test_what_a_prior_adds_to_the_flat_one(whole):
    """In the kernel and in the graph, at any point: the log density of the matrix, or of the covariance, to 1e-8."""
    given = {"cov[a, b, c]": bh.InverseWishart(SCALE, 6)} if whole else {"cov[a ~~ c]": bh.Normal(0.3, 0.5)}
    specs = [bh.SEM(model=COVARIANCE, priors=p) for p in ("mplus", given | {"others": "mplus"})]
    design, rng = specs[0].design(frame()), np.random.default_rng(0)
    priors = [s.frozen_priors(design) for s in specs]
    flat, own = (s.marginal(design, p) for s, p in zip(specs, priors, strict=True))
    flat, own = (k.with_coordinates(np.zeros(k.n_dim), np.eye(k.n_dim)) for k in (flat, own))
    graphs = [s.joint(design, p) for s, p in zip(specs, priors, strict=True)]
    logs = [g.compile_logp(jacobian=False, mode=EVALUATE) for g in graphs]
    for _ in range(8):
        x = rng.normal(0, 0.7, flat.n_dim)
        posterior = specs[1].recover(draws_at(own, [x]), design, rng)
        sd, r = (posterior[v].to_numpy()[0, 0] for v in ("sd", "corr"))
        R = np.array([[1, r[0], r[1]], [r[0], 1, r[2]], [r[1], r[2], 1]])
        C = R * np.outer(sd, sd)
        exact = stats.norm(0.3, 0.5).logpdf(C[0, 2])
        if whole:  # flat is sd^3 each and LKJ(1)
            exact = stats.invwishart(6, SCALE).logpdf(C) + 3 * np.log(2) - lkj_constant(1, 3)
        points = [graph_point(s, g, posterior, None) for s, g in zip(specs, graphs, strict=True)]
        values = [float(f(p)) for f, p in zip(logs, points, strict=True)]
        assert own(x)[0] - flat(x)[0] == pytest.approx(exact, abs=1e-8)
        assert values[1] - values[0] == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize(("scale", "df"), [(SCALE, 6), (np.zeros((3, 3)), 0)], ids=["proper", "Jeffreys-like"])
def test_the_analytic_posterior_is_met(scale, df):
    """All covariances free, complete data, flat means: the posterior is IW(scale + SS, df + n - 1)."""
    data = frame()
    spec = bh.SEM(model=COVARIANCE, priors={"cov[a, b, c]": bh.InverseWishart(scale, df), "others": "mplus"})
    fit = bh.fit(spec, data, seed=1, draws=1000)
    assert fit.diagnosis.ok
    exact = stats.invwishart(df + len(data) - 1, scale + len(data) * np.cov(data[["a", "b", "c"]].T, bias=True))
    check_matrices(fit, exact)


def check_matrices(fit, exact) -> None:
    """Means within Monte Carlo error and quantiles of all elements of the block."""
    C = fit.spec.correlations(fit.posterior)["cov[a, b, c]"].reshape(-1, 3, 3)
    table = bh.summary(fit).set_index("parameter")
    reference = exact.rvs(40_000, random_state=2)
    for i, j in zip(*np.tril_indices(3), strict=True):
        error = table.loc[f"{'abc'[j]} ~~ {'abc'[i]}", "mcse"]
        spread = reference[:, i, j].std()
        assert abs(C[:, i, j].mean() - exact.mean()[i, j]) < 5 * error
        for p in (0.05, 0.25, 0.5, 0.75, 0.95):
            here, there = (np.quantile(x[:, i, j], p) for x in (C, reference))
            assert abs(here - there) < 0.15 * spread


def log_density(spec, priors, t: dict[str, float]) -> float:
    """Log density of the priors at SDs and correlations or covariances by key."""
    return sum(float(factors(spec.structure, priors)[k].log_density(v)) for k, v in t.items())


@pytest.mark.slow
def test_the_analytic_posterior_beside_a_categorical_variable():
    """Mplus's priors: a binary variable that has nothing to do with a block makes its posterior IW(I + SS, p + 1 + n - 1)."""
    data = frame()
    data["u"] = np.random.default_rng(1).integers(0, 2, len(data))
    text = f"{COVARIANCE}; u ~ x; u ~~ 0*a + 0*b + 0*c"
    fit = bh.fit(bh.SEM(model=text, categorical=["u"], priors="mplus"), data, seed=1, draws=4000)
    assert fit.diagnosis.ok
    assert fit.priors["cov[a, b, c]"] == bh.InverseWishart(np.eye(3), 4)
    exact = stats.invwishart(4 + len(data) - 1, np.eye(3) + len(data) * np.cov(data[["a", "b", "c"]].T, bias=True))
    check_matrices(fit, exact)


@pytest.mark.parametrize(
    ("model", "sds", "free"),
    [
        ("a ~~ b; b ~~ c; a ~~ 0*c", ["sd[a]", "sd[b]", "sd[c]"], ["corr[a ~~ b]", "corr[b ~~ c]"]),
        ("a ~~ k*b; b ~~ k*c; a ~~ 0*c", ["sd[a]", "sd[b]", "sd[c]"], ["cov[k]"]),
        ("a ~~ v*a; b ~~ v*b; a ~~ b; c ~~ 0*a + 0*b", ["sd[v]", "sd[c]"], ["corr[a, b]"]),
    ],
    ids=["correlations", "one covariance twice", "one variance twice"],
)
def test_the_flat_priors_are_flat_on_variances_and_covariances(model, sds, free):
    """The density in SDs and correlations is the Jacobian of variances and covariances, whatever the point."""
    spec = bh.SEM(model=model, priors="mplus")
    priors = spec.frozen_priors(spec.design(frame()))
    assert {k for k in priors if not k.startswith("intercept")} == {*sds, *free}
    rng, names = np.random.default_rng(0), [*sds, *free]

    def matrix(t):
        t = dict(zip(names, t, strict=True))
        sd = {v: t.get(f"sd[{v}]", t.get("sd[v]")) for v in "abc"}
        out = [t[k] ** 2 for k in sds]
        for k in free:
            pair = {"corr[a ~~ b]": "ab", "corr[b ~~ c]": "bc", "corr[a, b]": "ab"}.get(k)
            out.append(t[k] * sd[pair[0]] * sd[pair[1]] if pair else t[k])
        return np.array(out)

    found = []
    for _ in range(5):
        t = np.r_[rng.uniform(0.5, 2, len(sds)), rng.uniform(-0.5, 0.5, len(free))]
        J = np.array([(matrix(t + h) - matrix(t - h)) / 2e-5 for h in 1e-5 * np.eye(len(t))])
        density = log_density(spec, priors, dict(zip(sds, t, strict=False)))  # correlations are uniform
        found.append(density - np.linalg.slogdet(J)[1])
    np.testing.assert_allclose(found, found[0], atol=1e-8)


def test_the_order_of_the_variables_is_that_of_the_name():
    at = [2, 0, 1]
    turned = bh.InverseWishart(SCALE[np.ix_(at, at)], 6)
    same = priors_of({"cov[c, a, b]": turned, "others": "mplus"}, model=COVARIANCE)
    assert same["cov[a, b, c]"] == bh.InverseWishart(SCALE, 6)
    assert not any(k.startswith(("sd", "corr")) for k in same)


def test_resolved_priors_are_priors():
    spec = bh.SEM(model=COVARIANCE, priors={"cov[a, b, c]": bh.InverseWishart(SCALE, 6)})
    design = spec.design(frame())
    frozen = spec.frozen_priors(design)
    assert replace(spec, priors=frozen).frozen_priors(design) == frozen


def test_saved_and_read_again(tmp_path):
    spec = bh.SEM(model="a ~~ b", priors={"cov[a, b]": bh.InverseWishart(SCALE[:2, :2], 4)})
    fit = bh.fit(spec, frame(), seed=1)
    bh.save(fit, tmp_path / "fit")
    again = bh.load(tmp_path / "fit")
    assert again.spec == spec
    assert again.priors == fit.priors
    assert bh.report(fit, tmp_path / "report.html").exists()
    C = fit.spec.correlations(fit.posterior)["cov[a, b]"]
    exact = np.reshape([stats.invwishart(4, SCALE[:2, :2]).logpdf(x) for x in C.reshape(-1, 2, 2)], C.shape[:2])
    others = sum(
        fit.priors[k].log_density(fit.posterior["intercept"].sel(intercepts=k[10:-1]))
        for k in fit.priors
        if k.startswith("intercept")
    )
    difference = log_prior(fit).to_numpy() - others - exact
    np.testing.assert_allclose(difference, difference[0, 0], atol=1e-8)


@pytest.mark.parametrize(
    ("scale", "df", "words"),
    [
        ([[1, 0.5], [0.4, 1]], 3, "symmetric"),
        ([[1, 2], [2, 1]], 3, "positive definite"),
        ([[1, 0], [0, 0]], 3, "positive definite"),
        ([[1, 0], [0, np.nan]], 3, "finite"),
        ([1, 2], 3, "symmetric matrix"),
        ([[1, 0], [0, 1]], np.inf, "df must be finite"),
    ],
)
def test_scales_that_are_no_covariance_matrix(scale, df, words):
    with pytest.raises(bh.SpecError, match=words):
        bh.InverseWishart(scale, df)


TWO = bh.InverseWishart(np.eye(2), 3)


@pytest.mark.parametrize(
    ("model", "priors", "words"),
    [
        ("a ~~ b; b ~~ c; a ~~ 0*c", {"cov[a, b]": TWO}, "There are: none"),
        ("a ~~ b; c ~~ 0*a + 0*b", {"cov[a, c]": TWO}, r"There are: cov\[a, b\]"),
        ("a ~~ b; a ~~ 1*a", {"cov[a, b]": TWO}, "free variances"),
        ("a ~~ b", {"cov[a, b]": bh.Normal(0, 1)}, "InverseWishart"),
        ("a ~~ b", {"cov[a, b]": bh.InverseWishart(np.eye(3), 3)}, "2 x 2"),
        ("a ~~ b", {"cov[a, b]": TWO, "sd[a]": bh.HalfNormal(1)}, r"sd\[a\] is part of cov\[a, b\]"),
        ("a ~~ b; a ~~ v*a", {"cov[a, b]": TWO, "v": bh.HalfNormal(1)}, r"v is part of cov\[a, b\]"),
        ("a ~~ b", {"cov[a ~~ c]": bh.Normal(0, 1)}, "not a parameter"),
        ("a ~~ b", {"cov[a ~~ b]": bh.HalfNormal(1)}, "wrong support"),
    ],
)
def test_priors_that_fit_no_covariances(model, priors, words):
    with pytest.raises(bh.SpecError, match=words):
        priors_of(priors, model=model)


def zero(q):
    return bh.InverseWishart(np.zeros((q, q)), 0)


@pytest.mark.parametrize(
    ("options", "priors", "named"),
    [
        ({"model": "f =~ a + b + c"}, {"sd[f]": bh.Power(-1)}, r"sd\[f\]"),
        ({"model": "f =~ a + b + c"}, {"sd[a]": bh.Power(-1)}, r"sd\[a\]"),
        ({"model": "f =~ 1*a; h =~ 1*b; f ~~ h; a ~~ 1*a; b ~~ 1*b"}, {"cov[f, h]": zero(2)}, r"cov\[f, h\]"),
        ({"cluster": "g", "within": "a ~ x", "between": "a ~ z"}, {"sd[between: a]": bh.Power(-1)}, "between: a"),
        (
            {"cluster": "g", "within": "s | a ~ x", "between": "a ~~ s"},
            {"cov[between: a, s]": zero(2)},
            "between: a, s",
        ),
    ],
)
def test_priors_that_are_infinite_where_the_data_do_not_rule_it_out(options, priors, named):
    with pytest.raises(bh.SpecError, match=f"{named}.* infinite at 0"):
        priors_of(priors | {"others": "mplus"}, **options)


@pytest.mark.parametrize(
    ("options", "priors"),
    [
        ({"model": "a ~ x"}, {"sd[a]": bh.Power(-1)}),
        ({"model": COVARIANCE}, {"cov[a, b, c]": zero(3)}),
        ({"cluster": "g", "within": "a ~ x", "between": "a ~ z"}, {"sd[within: a]": bh.Power(-1)}),
        ({"cluster": "g", "within": "a ~ x", "between": "z ~~ z"}, {"sd[z]": bh.Power(-1)}),
    ],
)
def test_priors_that_are_infinite_where_the_data_rule_it_out(options, priors):
    if "cluster" in options:
        priors = {k.replace("sd[z]", "sd[between: z]"): v for k, v in priors.items()}
    assert priors_of(priors | {"others": "mplus"}, **options)


def test_clusters_that_flat_priors_need():
    """Three variables that covary need more than seven clusters; an inverse Wishart prior makes up for them."""
    options = dict(cluster="g", within="a ~~ b + c; b ~~ c", between="a ~~ b + c; b ~~ c")
    with pytest.raises(bh.DataError, match=r"more than 7 clusters.*there are 6"):
        priors_of("mplus", n=36, **options)
    for df in (-3.5, 0, 4):
        key = {"cov[between: a, b, c]": bh.InverseWishart(SCALE, df), "others": "mplus"}
        if df < -3:
            with pytest.raises(bh.DataError, match=r"more than 6\.5 clusters"):
                priors_of(key, n=36, **options)
        else:
            assert priors_of(key, n=36, **options)


def test_a_variance_of_its_own_may_be_informative():
    """An override by label is no flat prior: the rule about clusters is for those that have it."""
    options = dict(cluster="g", within="a ~ x", between="a ~ z")
    with pytest.raises(bh.DataError, match="more than 4 clusters"):
        priors_of("mplus", n=24, **options)
    assert priors_of({"sd[between: a]": bh.HalfNormal(1), "others": "mplus"}, n=24, **options)
    assert override({"sd[a]": bh.Power(1)}, {"sd": bh.HalfNormal(1)}) == {"sd[a]": bh.HalfNormal(1)}


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (20.0, 90.0), (-3.0, -1.0)])
def test_bounds_of_a_covariance_that_leave_out_zero(low, high):
    """The chains start within them, at a positive definite matrix, whatever the data say."""
    spec = bh.SEM(model="a ~~ b", priors={"cov[a ~~ b]": bh.Uniform(low, high), "others": "mplus"})
    design = spec.design(frame())
    density = spec.marginal(design, spec.frozen_priors(design))
    assert np.isfinite(density(np.zeros(density.n_dim))[0])


def test_bounds_of_a_covariance_around_it():
    data = frame(240)
    fit = bh.fit(bh.SEM(model="a ~~ b", priors={"cov[a ~~ b]": bh.Uniform(0.1, 3)}), data, seed=1)
    C = fit.posterior["cov"].sel(covs="a ~~ b")
    assert fit.diagnosis.ok
    assert float(C.mean()) == pytest.approx(np.cov(data["a"], data["b"])[0, 1], abs=2 * float(C.std()))


@pytest.mark.parametrize("prior", [{"cov[a, b]": TWO}, {"cov[a ~~ b]": bh.Normal(0, 1)}])
def test_nothing_is_simulated_from_densities_of_what_is_computed(prior):
    spec = bh.SEM(model="a ~~ b", priors=prior)
    with pytest.raises(bh.SpecError, match="cannot be simulated"):
        bh.simulate(spec, frame())


def test_keys_of_priors_by_row():
    spec = bh.SEM(model=COVARIANCE, priors={"cov[a, b, c]": bh.InverseWishart(SCALE, 6)})
    table = spec.describe(spec.design(frame())).parameters.set_index("parameter")
    assert table.loc["a ~~ a", "prior"] == table.loc["a ~~ b", "prior"] == "cov[a, b, c]"
    row = Row("", "a", "~~", "b")
    normal = replace(spec, priors={"cov[a ~~ b]": bh.Normal(0, 1)})
    assert (
        normal.structure.variable(row) == "corr"
    )  # in its block, of which the matrix is positive definite by construction
    table = normal.describe(normal.design(frame())).parameters.set_index("parameter")
    assert list(table.loc[["a ~~ a", "a ~~ b", "a ~~ c"], "prior"]) == ["sd[a]", "cov[a ~~ b]", "corr[a, b, c]"]
    assert replace(spec, priors={"cov[a ~~ b]": bh.Uniform(0, 1)}).structure.variable(row) == "cov"
