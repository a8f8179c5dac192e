"""Effects on probabilities against potential outcomes that are simulated by hand, equation by equation."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayeshte import SEM
from bayeshte.families.sem_estimands import estimands
from bayeshte.families.sem_matrices import matrices

N = 400_000


def frame(seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    j = np.repeat(np.arange(12), 6)
    rows = len(j)
    data = {"school": j, "treat": (j % 2).astype(float), "x": rng.normal(1, 2, rows), "m": rng.normal(size=rows)}
    data |= {"y": rng.integers(0, 2, rows), "o": np.array(["low", "mid", "high"])[rng.integers(0, 3, rows)]}
    return pd.DataFrame(data).assign(o=lambda d: pd.Categorical(d["o"], ["low", "mid", "high"], ordered=True))


def found(spec: SEM, values: dict[str, float], header="effects on probabilities") -> dict[str, np.ndarray]:
    """Effects of one draw with these parameters."""
    design = spec.design(frame())
    s = spec.structure_of(design)
    values = {"others": 0.0} | values
    posterior = xr.Dataset(coords={"chain": [0], "draw": [0]})
    for variable in ("loading", "path", "intercept", "threshold", "sd", "corr"):
        elements = s.elements(variable)
        if elements:
            names = [(f"{variable} {e}", e, e.split(": ")[-1]) for e in elements]
            x = np.array([next(values[k] for k in (*keys, "others") if k in values) for keys in names])
            posterior[variable] = (("chain", "draw", f"{variable}s"), x[None, None])
            posterior = posterior.assign_coords({f"{variable}s": elements})
    m = matrices(s, design["slots"].to_numpy())
    return {
        e.name: e.draws(posterior, design).to_numpy().ravel() for e in estimands(s, m, design) if e.header == header
    }


def expect(effects, name: str, outcomes) -> None:
    """Shares of the simulated outcomes, three standard errors around."""
    after, before = outcomes
    for value, c in zip(effects[name], range(1, len(effects[name]) + 1), strict=True):
        p1, p0 = (after >= c).mean(), (before >= c).mean()
        error = np.sqrt((p1 * (1 - p1) + p0 * (1 - p0)) / N)
        assert value == pytest.approx(p1 - p0, abs=3 * error + 1e-9)


@pytest.mark.parametrize("link", ["probit", "logit"])
def test_treatment_of_clusters_and_three_categories(link):
    spec = SEM(cluster="school", within="o ~ m", between="m ~ treat; o ~ m + treat", categorical={"o": link})
    effects = found(
        spec,
        {"within: o ~ m": 0.7, "m ~ treat": 0.8, "between: o ~ m": 0.9, "o ~ treat": -0.4}
        | {"o | t1": 0.2, "o | t2": 1.1, "intercept between: m": 0.3}
        | {"sd within: m": 1.2, "sd between: m": 0.6, "sd between: o": 0.5},
    )
    rng = np.random.default_rng(1)

    def outcome(direct, mediated):
        deviation = rng.normal(0, 1.2, N)
        between = 0.3 + 0.8 * mediated + rng.normal(0, 0.6, N)
        residual = rng.normal(size=N) if link == "probit" else rng.logistic(size=N)
        response = 0.7 * deviation + 0.9 * between - 0.4 * direct + rng.normal(0, 0.5, N) + residual
        return np.digitize(response, [0.2, 1.1])

    where = "effect of treat on P(o), between"
    expect(effects, f"total {where}", (outcome(1, 1), outcome(0, 0)))
    expect(effects, f"pure direct {where}", (outcome(1, 0), outcome(0, 0)))
    expect(effects, f"total indirect {where}", (outcome(1, 1), outcome(1, 0)))

    def at(deviation):  # of the mediator within, set to its average and one above
        treat = rng.integers(0, 2, N)
        between = 0.3 + 0.8 * treat + rng.normal(0, 0.6, N)
        residual = rng.normal(size=N) if link == "probit" else rng.logistic(size=N)
        return np.digitize(0.7 * deviation + 0.9 * between - 0.4 * treat + rng.normal(0, 0.5, N) + residual, [0.2, 1.1])

    expect(effects, "effect of m on P(o), within", (at(1), at(0)))


def test_a_slope_that_varies_and_that_treatment_changes():
    spec = SEM(
        cluster="school", within="s | y ~ m", between="s ~ treat; y ~ m + treat; m ~ treat; y ~~ s", categorical=["y"]
    )
    effects = found(
        spec,
        {"s ~ treat": 0.5, "between: y ~ m": 0.6, "y ~ treat": 0.3, "m ~ treat": 0.4, "y | t1": 0.5}
        | {"intercept between: s": 0.4, "intercept between: m": 0.2, "sd within: m": 1.0, "sd between: m": 0.7}
        | {"sd between: y": 0.6, "sd between: s": 0.8, "between: y ~~ s": 0.5},
    )
    rng = np.random.default_rng(2)

    def outcome(direct, mediated):
        e, f, g = rng.normal(size=(3, N))
        between = 0.2 + 0.4 * mediated + 0.7 * g
        s = 0.4 + 0.5 * direct + 0.8 * e
        y = 0.6 * between + 0.3 * direct + 0.6 * (0.5 * e + np.sqrt(0.75) * f)
        return (y + s * rng.normal(size=N) + rng.normal(size=N) > 0.5).astype(int)

    where = "effect of treat on P(y), between"
    expect(effects, f"total {where}", (outcome(1, 1), outcome(0, 0)))
    expect(effects, f"total indirect {where}", (outcome(1, 1), outcome(1, 0)))

    def at(deviation):
        e, f, g = rng.normal(size=(3, N))
        treat = rng.integers(0, 2, N)
        y = 0.6 * (0.2 + 0.4 * treat + 0.7 * g) + 0.3 * treat + 0.6 * (0.5 * e + np.sqrt(0.75) * f)
        return (y + (0.4 + 0.5 * treat + 0.8 * e) * deviation + rng.normal(size=N) > 0.5).astype(int)

    expect(effects, "effect of m on P(y), within", (at(1), at(0)))


def test_covariates_of_the_data_are_averaged_over():
    spec = SEM(model="m ~ treat + x; y ~ m + treat + x", categorical=["y"])
    values = {"m ~ treat": 0.8, "m ~ x": 0.3, "y ~ m": 0.5, "y ~ treat": -0.3, "y ~ x": 0.4, "y | t1": 0.4}
    effects = found(spec, values | {"intercept m": 0.9, "sd m": 0.9})
    rng, x = np.random.default_rng(3), np.resize(frame()["x"].to_numpy(), N)

    def outcome(direct, mediated):
        m = 0.9 + 0.8 * mediated + 0.3 * x + 0.9 * rng.normal(size=N)
        return (0.5 * m - 0.3 * direct + 0.4 * x + rng.normal(size=N) > 0.4).astype(int)

    expect(effects, "total effect of treat on P(y)", (outcome(1, 1), outcome(0, 0)))
    expect(effects, "pure direct effect of treat on P(y)", (outcome(1, 0), outcome(0, 0)))
    mean = frame()["x"].mean()
    x = np.full(N, mean)
    treat = np.resize(frame()["treat"].to_numpy(), N)

    def moved(by):
        m = 0.9 + 0.8 * treat + 0.3 * (mean + by) + 0.9 * rng.normal(size=N)
        return (0.5 * m - 0.3 * treat + 0.4 * (mean + by) + rng.normal(size=N) > 0.4).astype(int)

    expect(effects, "total effect of x on P(y)", (moved(1), moved(0)))
