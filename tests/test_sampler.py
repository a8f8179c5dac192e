"""Sampling: reproducible, interruptible, and right where the answer is known in closed form."""

import dataclasses
import inspect
import warnings
from importlib.metadata import version

import numpy as np
import nutpie
import pytest
import xarray as xr
from cases import SPECS, frame
from nutpie import _lib
from nutpie.compile_pymc import CompiledPyMCModel
from nutpie.sample import CompiledModel, _BackgroundSampler
from scipy import stats

import bayeshte as bh
from bayeshte import sampler

FEW = dict(draws=100, tune=100)


def model_of(name):
    spec = SPECS[name]
    design = spec.design(frame())
    density = spec.marginal(design, spec.frozen_priors(design))
    return sampler.compiled(density, design.coords)


@pytest.fixture(scope="module")
def model():
    return model_of("slope and intercept")


def fitted(spec, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, frame(), **FEW | {"progress": False} | options)


# --- what nutpie must have -------------------------------------------------------------------------------------------------


def test_nutpie_is_the_version_whose_internals_are_used():
    """sampler.py hands a compiled density to classes of nutpie that are not public: look at it again before moving the pin."""
    assert version("nutpie").startswith("0.16.")
    for name in ("LogpFunc", "ExpandFunc", "PyMcModel", "PySampler", "PyVariable"):
        assert hasattr(_lib, name), name
    assert hasattr(_lib.PyVariable, "new_variables")
    assert hasattr(_lib.PySampler, "from_pymc")
    asked = [
        "self",
        "settings",
        "init_mean",
        "cores",
        "progress_type",
        "extra_callback",
        "extra_callback_rate",
        "store",
    ]
    assert list(inspect.signature(CompiledPyMCModel._make_sampler).parameters)[:8] == asked
    for name in ("n_dim", "shapes", "coords", "_make_sampler", "_make_model"):
        assert hasattr(CompiledModel, name), name
    for name in ("wait", "inspect", "abort", "cancel"):
        assert callable(getattr(_BackgroundSampler, name)), name
    assert {"blocking", "progress_callback", "save_warmup", "seed"} <= set(inspect.signature(nutpie.sample).parameters)


# --- the same draws everywhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slope and intercept", "logit"])
def test_a_seed_gives_the_same_draws_on_any_number_of_cores(name):
    one, two, other = (fitted(SPECS[name], seed=seed, cores=cores) for seed, cores in ((1, 1), (1, 2), (2, 2)))
    xr.testing.assert_equal(one.posterior, two.posterior)
    xr.testing.assert_equal(one.draws["sample_stats"].to_dataset(), two.draws["sample_stats"].to_dataset())
    for variable in ("gamma0", "gamma1", "sd", "u", "effect"):
        assert not np.isin(one.posterior[variable], other.posterior[variable]).any(), variable


def test_chains_differ_from_each_other():
    values = fitted(SPECS["slope and intercept"], seed=1).posterior["gamma0"].to_numpy()
    assert len(np.unique(values[:, -1])) == 4


@pytest.mark.parametrize("cores", [None, 1, 3, 8])
def test_four_chains_always(model, cores):
    tree, complete = sampler.sample(model, **FEW, seed=1, cores=cores)
    assert complete
    assert tree["posterior"].sizes["chain"] == 4
    assert tree["posterior"].sizes["draw"] == 100
    assert set(tree.children) == {"posterior", "sample_stats"}
    assert not [v for v in tree["posterior"].data_vars if v.endswith("__")]


def test_a_seed_is_chosen_and_recorded():
    one = fitted(SPECS["no clusters"])
    again = fitted(SPECS["no clusters"], seed=one.record["seed"])
    assert one.posterior.equals(again.posterior)
    assert fitted(SPECS["no clusters"]).record["seed"] != one.record["seed"]


# --- right where the answer is known -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def conjugate():
    """Least squares with flat priors: beta is multivariate t, RSS / sigma^2 is chi-squared (Gelman et al., 2013, 14.2)."""
    priors = {"gamma0": bh.Flat(), "gamma1": bh.Flat(), "gamma2": bh.Flat(), "sigma": bh.Power(-1)}
    spec = dataclasses.replace(SPECS["no clusters"], covariates="x + sex", priors=priors)
    design = spec.design(frame())
    d = frame()
    X = np.column_stack([np.ones(len(d)), d["arm"] == "high", d["arm"] == "low", d["x"], d["sex"] == "m"]).astype(float)
    beta, rss, *_ = np.linalg.lstsq(X, d["y"].to_numpy(), rcond=None)
    return spec, design, X, d["y"].to_numpy(), beta, float(rss[0])


def test_the_density_is_that_of_least_squares(conjugate):
    spec, design, X, y, *_ = conjugate
    density = spec.marginal(design, spec.frozen_priors(design))
    rng = np.random.default_rng(0)
    gap = []
    for z in rng.normal(0, 2, (20, density.n_dim)):
        p = density.parameters(z)
        b = np.concatenate([[p["gamma0"]], p["gamma1"], p["gamma2"]])
        sigma = float(p["sigma"])
        known = -len(y) * np.log(sigma) - 0.5 * np.sum((y - X @ b) ** 2) / sigma**2  # d log(sigma) cancels 1 / sigma
        gap.append(density(z)[0] - known)
    assert np.ptp(gap) < 1e-8 * np.abs(gap).max()


def test_coordinates_are_nearly_standard_normal_at_the_mode(conjugate):
    spec, design, *_ = conjugate
    density = spec.marginal(design, spec.frozen_priors(design))
    d, h = density.n_dim, 1e-3
    assert np.abs(density(np.zeros(d))[1]).max() < 1e-3
    step = h * np.eye(d)
    hessian = np.array([(density(e)[1] - density(-e)[1]) / (2 * h) for e in step])
    np.testing.assert_allclose(hessian, -np.eye(d), atol=0.02)


def test_draws_agree_with_least_squares(conjugate):
    spec, _, X, y, beta, rss = conjugate
    fit = bh.fit(spec, frame(), draws=2000, tune=500, seed=3, progress=False)
    df = len(y) - X.shape[1]
    se = np.sqrt(rss / df * np.diag(np.linalg.inv(X.T @ X)))
    table = bh.summary(fit)
    assert table["parameter"].tolist() == [
        *("gamma0", "gamma1[high]", "gamma1[low]", "gamma2[x]", "gamma2[sex[m]]", "sigma"),
    ]
    for k, t in enumerate(stats.t(df, b, s) for b, s in zip(beta, se, strict=True)):
        row = table.iloc[k]
        assert abs(row["estimate"] - t.median()) < 4 * row["mcse"]
        assert row["posterior_sd"] == pytest.approx(t.std(), rel=0.06)
        assert row["lower"] == pytest.approx(t.ppf(0.025), abs=0.12 * t.std())
        assert row["upper"] == pytest.approx(t.ppf(0.975), abs=0.12 * t.std())
    scaled = rss / fit.posterior["sigma"].to_numpy()[:, ::4].ravel() ** 2
    assert stats.kstest(scaled, stats.chi2(df).cdf).pvalue > 0.001
    assert fit.diagnosis.ok
    assert {c.name: c.value for c in fit.diagnosis.checks}["bulk ESS"] > 4000


# --- progress, snapshots, interruption ---------------------------------------------------------------------------------------


def test_progress_is_reported(model):
    steps = []
    sampler.sample(model, draws=20_000, tune=100, seed=1, report=steps.append)
    assert steps
    assert all(s.total == 4 * 20_100 and 0 <= s.done <= s.total and s.seconds > 0 for s in steps)
    assert [s.done for s in steps] == sorted(s.done for s in steps)


def lengths(*made):
    """A tree as nutpie returns it from chains of these lengths: filled up with NaN."""
    n = max(made)
    values = np.full((len(made), n), np.nan)
    for k, m in enumerate(made):
        values[k, :m] = 10 * k + np.arange(m)
    data = xr.Dataset({"a": (("chain", "draw"), values)}, {"chain": range(len(made)), "draw": range(n)})
    stats = xr.Dataset({"energy": data["a"], "diverging": data["a"] > 1e9})
    return xr.DataTree.from_dict({"posterior": data, "sample_stats": stats})


@pytest.mark.parametrize(
    ("made", "chains", "draws"),
    [
        ((100, 100, 100, 100), [0, 1, 2, 3], 100),
        ((100, 90, 95, 80), [0, 1, 2, 3], 80),
        ((100, 90, 0, 0), [0, 1], 90),
        ((0, 0, 70, 80), [2, 3], 70),
        ((100, 0, 0, 0), [0], 100),
        ((1000, 1000, 10, 12), [0, 1], 1000),
        ((100, 50, 0, 0), [0, 1], 50),
        ((0, 0, 0, 0), [0, 1, 2, 3], 0),
    ],
)
def test_unfinished_chains_are_cut_so_that_most_draws_are_kept(made, chains, draws):
    tree = sampler.made_so_far(lengths(*made))
    assert tree["posterior"]["chain"].to_numpy().tolist() == chains
    assert tree["posterior"].sizes["draw"] == tree["sample_stats"].sizes["draw"] == draws
    assert not tree["posterior"]["a"].isnull().any()


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_snapshots_have_no_holes(model, cores, monkeypatch):
    monkeypatch.setattr(sampler, "SNAPSHOT_SECONDS", 0.05)
    sizes = []

    def snapshot(tree):
        assert not any(v.isnull().any() for v in tree["posterior"].data_vars.values())
        sizes.append(tree["posterior"].sizes["chain"] * tree["posterior"].sizes["draw"])

    tree, complete = sampler.sample(model, draws=5000, tune=100, seed=1, cores=cores, snapshot=snapshot)
    assert complete
    assert tree["posterior"].sizes["draw"] == 5000
    assert sizes
    assert sizes == sorted(sizes)


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("cores", [1, 4])
def test_control_c_keeps_the_draws(model, cores, monkeypatch, capsys):
    monkeypatch.setattr(sampler, "SNAPSHOT_SECONDS", 0.2)
    tree, complete = sampler.sample(model, draws=10_000_000, tune=100, seed=1, cores=cores, snapshot=interrupt)
    n = tree["posterior"].sizes
    assert not complete
    assert n["chain"] == cores
    assert n["draw"] >= sampler.FEWEST
    assert not any(v.isnull().any() for v in tree["posterior"].data_vars.values())
    assert f"Stopped: keeping the draws made so far, {cores} chains x {n['draw']}" in capsys.readouterr().err


def test_control_c_during_warm_up_stops(model, monkeypatch, capsys):
    monkeypatch.setattr(sampler, "SNAPSHOT_SECONDS", 0.1)
    monkeypatch.setattr(_BackgroundSampler, "inspect", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sampler.sample(model, draws=100, tune=10_000_000, seed=1, snapshot=lambda tree: None)
    assert "Stopped during warm-up: there are no draws to keep" in capsys.readouterr().err


def test_an_error_on_the_way_stops_the_chains(model, monkeypatch):
    monkeypatch.setattr(sampler, "SNAPSHOT_SECONDS", 0.05)
    stopped = []
    cancel = _BackgroundSampler.cancel
    monkeypatch.setattr(_BackgroundSampler, "cancel", lambda self: (stopped.append(self), cancel(self)))

    def fails(tree):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sampler.sample(model, draws=10_000_000, tune=100, seed=1, snapshot=fails)
    assert stopped


def test_a_density_that_is_nowhere_finite_is_a_data_error():
    spec = SPECS["slope and intercept"]
    design = spec.design(frame())
    density = spec.marginal(design, spec.frozen_priors(design))
    broken = dataclasses.replace(density, floats=np.full_like(density.floats, np.nan))
    with pytest.raises(bh.DataError, match=r"The sampler stopped: .*\. .*nearly constant within arms") as caught:
        sampler.sample(sampler.compiled(broken, design.coords), **FEW, seed=1)
    assert "backtrace" not in str(caught.value)


def test_no_progress_where_nobody_watches():
    """Jupyter's packages may be imported by something else: without a kernel there is nothing to draw on."""
    import ipykernel  # noqa: F401
    import IPython  # noqa: F401

    from bayeshte.progress import Bar

    with Bar() as bar:
        bar.phase("Preparing")
        assert not bar.shown
