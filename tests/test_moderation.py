"""Conditional effects along paths: against their formulas in every draw, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayeshte as bh
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_moderation import moderated


@pytest.fixture(scope="module")
def persons() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    t, z, w = rng.integers(0, 2, 400) * 1.0, rng.integers(0, 3, 400) * 1.0, rng.normal(3, 2, 400)
    m = 0.5 * t + 0.3 * t * z + rng.normal(size=400)
    return pd.DataFrame({"t": t, "z": z, "w": w, "m": m, "y": 0.4 * m + 0.5 * t * m + 0.2 * t + rng.normal(size=400)})


@pytest.fixture(scope="module")
def fit(persons) -> bh.Fit:
    spec = bh.SEM(model="m ~ a*t + z + a3*t:z + g*w; m ~ i*1; y ~ b*m + c*t + d*t:m")
    return bh.fit(spec, persons, draws=500, tune=300, seed=1, progress=False)


@pytest.fixture(scope="module")
def schools() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    j = np.repeat(np.arange(40), 6)
    t, z, x = (np.arange(40) % 2) * 1.0, rng.normal(size=40), rng.normal(size=240)
    b = 0.5 * t + rng.normal(size=40)
    m = b[j] + (0.5 + 0.3 * z)[j] * x + rng.normal(size=240)
    y = (0.3 * b + 0.4 * t * b)[j] + 0.5 * m + rng.normal(size=240)
    return pd.DataFrame({"school": j, "t": t[j], "z": z[j], "x": x, "m": m, "y": y})


def draws_of(fit: bh.Fit) -> dict[str, xr.DataArray]:
    """Labelled coefficients."""
    p = fit.posterior
    rows = {r.label: r for r in fit.spec.table.rows if r.label}
    s = fit.spec.structure
    return {k: p[s.variable(r)].sel({f"{s.variable(r)}s": s.label(r)}, drop=True) for k, r in rows.items()}


def effect(fit: bh.Fit, name: str, at: dict[str, float], **change) -> np.ndarray:
    """Draws of one conditional effect of t on y, or what `change` says."""
    s = fit.spec.structure
    given = {"level": s.levels[-1], "cause": "t", "outcome": "y"} | change
    m = matrices(s, fit.design["slots"].to_numpy())
    found = {e.name: e for e in moderated(s, m, fit.design, **given, at={k: [v] for k, v in at.items()})}
    return found[name].draws(fit.posterior, fit.design).isel(at=0)


@pytest.mark.parametrize("z", [0.0, 2.0])
def test_natural_effects_are_potential_outcomes(fit, persons, z):
    k = draws_of(fit)
    z_path = fit.posterior["path"].sel(paths="m ~ z", drop=True)

    def m(x):
        return k["i"] + k["a"] * x + z_path * z + k["a3"] * x * z + k["g"] * persons["w"].mean()

    def y(own, mediators):
        return k["b"] * m(mediators) + k["c"] * own + k["d"] * own * m(mediators)

    expected = {
        "total": y(1, 1) - y(0, 0),
        "pure direct": y(1, 0) - y(0, 0),
        "total indirect": y(1, 1) - y(1, 0),
        "total direct": y(1, 1) - y(0, 1),
        "pure indirect": y(0, 1) - y(0, 0),
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(effect(fit, f"{kind} effect of t on y", {"z": z}), values, rtol=1e-8, err_msg=kind)
    np.testing.assert_allclose(
        effect(fit, "total effect of t on y", {"z": z}, change=(1.0, 3.0)), y(3, 3) - y(1, 1), rtol=1e-8
    )


def test_effects_of_a_modelled_cause_and_the_index(fit):
    k = draws_of(fit)
    found = bh.conditional_effects(fit, "m", "y")
    assert [*found["contrast"]] == ["t = 0", "t = 1", ""]
    np.testing.assert_allclose(effect(fit, "total effect of m on y", {"t": 1.0}, cause="m"), k["b"] + k["d"], rtol=1e-8)
    assert found["estimate"].iloc[2] == pytest.approx(k["d"].median().item())
    index = bh.effect_draws(fit, "index of moderated mediation by z: pure indirect effect of t on y")
    np.testing.assert_allclose(index.squeeze("at"), k["a3"] * k["b"], rtol=1e-8)


def test_by_default_few_values_or_a_mean_and_an_sd(fit, persons):
    table = bh.conditional_effects(fit, "t", "y", meaningful=0.5)
    total = table[table["estimand"] == "total effect of t on y"]
    assert [*total["contrast"]] == ["z = 0", "z = 1", "z = 2"]
    assert total["p_meaningful"].between(0, 1).all()
    spec = bh.SEM(model="m ~ t + w + t:w; y ~ m")
    wide = bh.fit(spec, persons, seed=1, progress=False)
    found = bh.conditional_effects(wide, "t", "y")
    mean, sd = persons["w"].mean(), persons["w"].std()
    assert [*found["contrast"][:3]] == [f"w = {v:.4g}" for v in (mean - sd, mean, mean + sd)]


def test_simple_effects_between_clusters(schools):
    """The chapter's interaction of treatment and latent mediator (table 25.9): b and b + d."""
    spec = bh.SEM(
        cluster="school", within="y ~ m", between="y ~ b*m + c*t + d*t:m; m ~ a*t", derived={"treated": "b + d"}
    )
    fit = bh.fit(spec, schools, draws=500, tune=300, seed=1, progress=False)
    found = effect(fit, "total effect of m on y, between", {"t": 1.0}, cause="m")
    np.testing.assert_allclose(found, fit.posterior["derived"].sel(quantity="treated"), rtol=1e-8)
    names = {e.name for e in spec.estimands(fit.design)}
    assert {"total indirect effect of t on y, between", "total effect of m on y, between"} <= names


def test_slopes_that_a_covariate_predicts(schools):
    """E(a_j b_j | z) = (a0 + a1 z)(b0 + b1 z) + cov, the covariance being that of the residuals."""
    spec = bh.SEM(
        cluster="school",
        within="sa | m ~ x; sb | y ~ m",
        between="sa ~ a0*1 + a1*z; sb ~ b0*1 + b1*z; sa ~~ cab*sb; y ~ m",
    )
    with pytest.warns(bh.ConvergenceWarning):
        fit = bh.fit(spec, schools, draws=100, tune=200, seed=1, progress=False)
    k, p = draws_of(fit), fit.posterior
    sd = p["sd"].sel(sds="between: sa", drop=True) * p["sd"].sel(sds="between: sb", drop=True)
    for z in (-1.0, 2.0):
        exact = (k["a0"] + k["a1"] * z) * (k["b0"] + k["b1"] * z) + k["cab"] * sd
        found = effect(fit, "total effect of x on y, within", {"z": z}, level="within", cause="x")
        np.testing.assert_allclose(found, exact, rtol=1e-8)
    table = bh.conditional_effects(fit, "x", "y", {"z": [0, 1]}, where="within")
    assert table["estimand"].str.startswith("moderation by z").any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("q", "y"), "'q' is not in the model"),
        (("y", "t"), "No path leads from 'y' to 't'"),
        (("t", "y", {"w": [1]}), "'w' does not moderate the effect of 't' on 'y'"),
        (("t", "y", {"z": []}), "give one or more numbers"),
        (("t", "y", {"z": [np.nan]}), "give one or more numbers"),
        (("w", "m"), "Nothing moderates the effect of 'w' on 'm'"),
    ],
)
def test_what_is_refused(fit, given, message):
    with pytest.raises(bh.SpecError, match=message):
        bh.conditional_effects(fit, *given)


def test_levels_are_named(fit):
    with pytest.raises(bh.SpecError, match="one level"):
        bh.conditional_effects(fit, "t", "y", where="between")
