"""Posterior predictive p-values with categorical variables: latent responses drawn, and what the p-values find."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import truncnorm

import bayeshte as bh
from bayeshte.checks.ppp import discrepancies
from bayeshte.families.sem_design import data_of
from bayeshte.families.sem_draws import stacked
from bayeshte.families.sem_latent_responses import draw_latent_responses, truncated_normal
from bayeshte.families.sem_matrices import matrices
from bayeshte.fit import Fit


def quick(spec: bh.SEM, data: pd.DataFrame) -> Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=200, tune=300, seed=1, progress=False)


def ppp(fit: Fit, draws: int = 150) -> dict[str, float]:
    return {level: (new > old).mean() for level, (old, new) in discrepancies(fit, draws, 1).items()}


@pytest.mark.parametrize(
    ("low", "high"), [(-np.inf, 0.3), (0.3, np.inf), (-0.2, 0.1), (6.0, 7.0), (-9.0, -8.0), (8.0, np.inf)]
)
def test_truncated_normal(low, high):
    x = truncated_normal(np.full(4000, 0.5), 2.0, np.full(4000, low), np.full(4000, high), np.random.default_rng(0))
    exact = truncnorm((low - 0.5) / 2, (high - 0.5) / 2, 0.5, 2)
    assert low <= x.min() <= x.max() <= high
    assert x.mean() == pytest.approx(exact.mean(), abs=4 * exact.std() / np.sqrt(4000))
    assert x.std() == pytest.approx(exact.std(), rel=0.08)


def trial(n: int, seed: int = 0) -> pd.DataFrame:
    """A mediator, a binary and an ordinal outcome that covary; x explains all."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    m = 0.5 * x + rng.normal(size=n)
    u = 0.6 * m + 0.3 * x + rng.normal(size=n)
    o = 0.5 * u + 0.4 * m + rng.normal(size=n)
    return pd.DataFrame({"x": x, "m": m, "u": (u > 0.2) * 1, "o": np.digitize(o, [-0.5, 0.8])})


MEDIATION = bh.SEM(model="m ~ x; u ~ m + x; o ~ u + m", categorical=["u", "o"])


def test_latent_responses_are_those_of_the_normal_distribution_cut():
    """Against rejection: of 400,000 draws of (u*, o*) given m, those in the categories of the row."""
    data = trial(200)
    data.loc[3, "o"] = np.nan
    fit = quick(MEDIATION, data)
    s = fit.spec.structure_of(fit.posterior)
    one = fit.posterior.isel(chain=[0], draw=[0] * 600)
    m, given, t = matrices(s, fit.design["slots"].to_numpy()), data_of(fit.design), stacked(s, one)
    sets = [d.Y[:6] for d in draw_latent_responses(s, m, given, one, t, np.random.default_rng(1))]
    drawn = np.stack(sets)[100:]
    assert np.isnan(drawn[:, 3, 2]).all()
    theta = {k: float(x.to_numpy().ravel()[0]) for k, _, x in fit.spec.parameters(one)}
    rng = np.random.default_rng(2)
    for i in (0, 1, 2, 4, 5):
        row = data.loc[i]
        u = theta["path[u ~ m]"] * row["m"] + theta["path[u ~ x]"] * row["x"] - theta["threshold[u | t1]"]
        u = u + rng.standard_normal(400_000)
        o = theta["path[o ~ u]"] * u + theta["path[o ~ m]"] * row["m"] + rng.standard_normal(400_000)
        cuts = np.array([theta["threshold[o | t1]"], theta["threshold[o | t2]"]])
        keep = ((u > 0) == row["u"]) & (np.digitize(o, cuts) == row["o"])
        exact = np.column_stack([u, o - cuts[0]])[keep]
        error = exact.std(0) / np.sqrt(250)  # 500 draws, each from where the one before was
        np.testing.assert_array_less(np.abs(drawn[:, i, 1:].mean(0) - exact.mean(0)), 4 * error)
        np.testing.assert_allclose(drawn[:, i, 1:].std(0), exact.std(0), rtol=0.2)


@pytest.mark.slow
def test_what_is_left_out_is_found():
    data = trial(400)
    assert 0.1 < ppp(quick(MEDIATION, data))[""] < 0.9
    assert ppp(quick(bh.SEM(model="m ~ x; u ~ x; o ~ m", categorical=["u", "o"]), data))[""] < 0.01


@pytest.mark.slow
def test_many_categories_give_that_of_continuous_data():
    rng = np.random.default_rng(3)
    f = rng.normal(size=300)
    items = pd.DataFrame({f"y{k}": f + rng.normal(size=300) for k in range(1, 5)})
    items["y2"] += 0.22 * items["y1"]
    coarse = items.apply(lambda y: pd.qcut(y, 15, labels=False))
    spec = bh.SEM(model="f =~ y1 + y2 + y3 + y4")
    exact = ppp(quick(spec, items), 400)[""]
    found = ppp(quick(bh.SEM(model=spec.model, categorical=[*items]), coarse), 400)[""]
    assert 0.02 < exact < 0.4
    assert found == pytest.approx(exact, abs=0.12)


def schools() -> pd.DataFrame:
    """50 schools of 12: a mediator and a binary outcome that depends on it within schools and between."""
    rng = np.random.default_rng(5)
    j = np.repeat(np.arange(50), 12)
    w = rng.normal(size=50)
    bm = 0.5 * w + rng.normal(0, 0.7, 50)
    x, m = rng.normal(size=(2, 600))
    m = m + 0.6 * x
    y = 0.7 * m + (1.2 * bm + rng.normal(0, 0.5, 50))[j] + rng.normal(size=600) > 0
    return pd.DataFrame({"school": j, "x": x, "m": m + bm[j], "y": y * 1, "w": w[j]})


RIGHT = {"within": "m ~ x; y ~ m + x", "between": "m ~ w; y ~ m + w"}
WRONG = {"within": "m ~ x; y ~ x; y ~~ 0*m", "between": "m ~ w; y ~ w; y ~~ 0*m"}


@pytest.mark.parametrize("level", ["", "within", "between"])
def test_misfit_shows_at_its_own_level(level):
    texts = RIGHT | {level: WRONG[level]} if level else RIGHT
    found = ppp(quick(bh.SEM(cluster="school", categorical=["y"], **texts), schools()))
    for name in RIGHT:
        assert found[name] < 0.02 if name == level else found[name] > 0.1, found


def test_logit_links_are_refused():
    spec = bh.SEM(model="m ~ x; u ~ m + x", categorical={"u": "logit"})
    table = bh.model_fit(quick(spec, trial(200)), draws=20).set_index("statistic")
    assert np.isnan(table.loc["PPP", "value"])
    assert "logit links (u)" in table.loc["PPP", "definition"]
