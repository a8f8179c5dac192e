"""Speed of structural equation models: rows of docs/benchmarks.md, called by run.py."""

import time

import numpy as np
import pandas as pd

import bayeshte as bh
from bayeshte import gallery, sampler
from bayeshte.families.sem_design import data_of
from bayeshte.marginal.sufficient import statistics
from bayeshte.summary import rows

PROCESS = """
import bayeshte as bh
from bayeshte import gallery
entry = gallery.read("school_activity")
fit = bh.fit(entry.spec, entry.data(), seed=1, progress=False)
assert fit.diagnosis.ok
"""
SLOPE = bh.SEM(cluster="g", within="s | y ~ x", between="y ~ z + x; s ~ z + x; y ~~ s")
FIVE = bh.SEM(  # writing the predictors' means keeps their latent means and centres the slopes there
    cluster="g",
    within="; ".join(f"s{k} | y ~ x{k}" for k in range(1, 6)),
    between="f1 =~ v0 + v1 + v2; f2 =~ v3 + v4 + v5; y ~ f1 + f2; "
    + "; ".join(f"s{k} ~ f1 + f2; x{k} ~ 1" for k in range(1, 6)),
)


def smallest_ess(spec, posterior) -> float:
    """Smallest bulk ESS of the free parameters."""
    return min(float(rows(x.rename("x"))["ess_bulk"].iloc[0]) for _, _, x in spec.parameters(posterior))


def sampled(spec, data, joint=False, repeats=1, draws=1000, tune=500) -> dict:
    """Seconds to prepare and to sample 4 x `draws` after `tune`, and the smallest ESS."""
    design = spec.design(data)
    priors = spec.frozen_priors(design)
    begin = time.perf_counter()
    if joint:
        model = sampler.compiled_graph(spec.joint(design, priors))
    else:
        model = sampler.compiled(spec.marginal(design, priors), design.coords)
    ready = time.perf_counter() - begin
    times, ess = [], []
    for seed in range(repeats):
        begin = time.perf_counter()
        tree, _ = sampler.sample(model, draws=draws, tune=tune, seed=seed)
        times.append(time.perf_counter() - begin)
        posterior = spec.recover(tree["posterior"].to_dataset(), design, np.random.default_rng(0))
        ess.append(smallest_ess(spec, posterior))
    return {"prepare": ready, "sampling": float(np.median(times)), "ess": float(np.median(ess))}


def activity() -> dict[str, dict]:
    """The school trial of 50 x 20, default priors: marginal density and joint graph."""
    entry = gallery.read("school_activity")
    spec = bh.SEM(cluster="school", within=entry.spec.within, between=entry.spec.between)
    data = entry.data()
    return {
        "bayeshte, marginal density": sampled(spec, data, repeats=5),
        "joint graph (every school's latent means sampled)": sampled(spec, data, joint=True),
    }


def large(J: int = 10_000) -> dict:
    """A million rows in clusters of 50 to 150: one pass over the data, and sampling without recovery."""
    rng = np.random.default_rng(0)
    n = rng.integers(50, 151, J)
    j = np.repeat(np.arange(J), n)
    treat = rng.integers(0, 2, J).astype(float)
    m1, m2 = ((0.5 * treat + rng.normal(size=J))[j] + rng.normal(size=len(j)) for _ in range(2))
    y = 50 + 4 * m1 + 5 * m2 + rng.normal(0, 8, J)[j] + rng.normal(0, 10, len(j))
    data = pd.DataFrame({"mvpa": y, "advant": m1, "peers": m2, "treat": treat[j], "school": j})
    spec = gallery.read("school_activity").spec
    design = spec.design(data)
    begin = time.perf_counter()
    statistics(data_of(design))
    reduced = time.perf_counter() - begin
    model = sampler.compiled(spec.marginal(design, spec.frozen_priors(design)), design.coords)
    times = []
    for seed in range(3):
        begin = time.perf_counter()
        sampler.sample(model, draws=1000, tune=500, seed=seed)
        times.append(time.perf_counter() - begin)
    return {"rows": len(data), "reduce": reduced, "sampling": float(np.median(times))}


def diary(J: int = 450) -> pd.DataFrame:
    """Clusters of 1 to 22 rows, 30 % of the predictor missing, intercept and slope nearly one."""
    rng = np.random.default_rng(0)
    n = rng.geometric(0.17, J).clip(1, 22)
    g = np.repeat(np.arange(J), n)
    z, xb = rng.normal(size=J), 0.43 * rng.normal(size=J)
    u = rng.multivariate_normal([0, 0], [[13.5, 26], [26, 55]], size=J)
    xw = 0.39 * rng.normal(size=n.sum())
    y = (
        (5 + 0.9 * z + 1.7 * xb + u[:, 0])[g]
        + (8.4 + 1.4 * z - 0.6 * xb + u[:, 1])[g] * xw
        + 5.1 * rng.normal(size=n.sum())
    )
    x = np.where(rng.random(n.sum()) < 0.3, np.nan, xb[g] + xw)
    return pd.DataFrame({"g": g, "x": x, "y": y, "z": z[g]})


def attitudes(J: int = 100, n: int = 150) -> pd.DataFrame:
    """15,000 rows in 100 clusters: five slopes that two factors between clusters predict."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(J), n)
    f = rng.multivariate_normal([0, 0], [[1, 0.3], [0.3, 1]], J)
    items = {f"v{k}": f[:, k // 3] * (1, 0.8, 0.9)[k % 3] + 0.5 * rng.normal(size=J) for k in range(6)}
    means, within = 0.5 * rng.normal(size=(J, 5)), rng.normal(size=(J * n, 5))
    loadings = np.array([[0.3, 0.2, 0.1, 0, 0.1], [0, 0.1, 0.2, 0.3, 0.1]])
    slopes = 0.3 + f @ loadings + 0.2 * rng.normal(size=(J, 5))
    intercepts = f @ [0.5, 0.3] + 0.5 * rng.normal(size=J)
    y = intercepts[g] + (slopes[g] * within).sum(1) + rng.normal(size=J * n)
    x = means[g] + within
    return pd.DataFrame(
        {"g": g, "y": y, **{f"x{k + 1}": x[:, k] for k in range(5)}, **{k: v[g] for k, v in items.items()}}
    )


def section(process: dict, models: dict[str, dict], million: dict, slope: dict, five: dict) -> str:
    """The part of the benchmark page on structural equation models."""
    rate = {k: v["ess"] / v["sampling"] for k, v in models.items()}
    first, second = rate.values()
    lines = [
        f"| {k} | {v['prepare']:.2f} | {v['sampling']:.2f} | {v['ess']:,.0f} | {rate[k]:,.0f} |"
        for k, v in models.items()
    ]
    relative = million["sampling"] / next(iter(models.values()))["sampling"]
    reduced, sampling, slow = million["reduce"], million["sampling"], slope["sampling"]
    return f"""
## Structural equation models: two-level mediation, 50 schools of 20, 4 x 1000 draws after 500

Table 25.3's model with default priors (`bayeshte run school_activity` has Mplus's); smallest bulk ESS over all parameters.

| | prepare or compile, s | sampling, s | smallest bulk ESS | ESS a second |
|---|---|---|---|---|
{chr(10).join(lines)}

That is {first / second:,.0f} times the effective draws a second of the joint graph. Whole process with Mplus's priors:
{process["warm"]:.1f} s warm, {process["empty"]:.1f} s with empty compile caches, imports included.

{million["rows"]:,} rows in 10,000 clusters of 50 to 150: one pass over the rows {reduced:.2f} s, sampling {sampling:.2f} s,
{relative:.1f} times that of 50 x 20 (every cluster size costs a little).

A random slope on a latent-centred predictor, 450 clusters of 1 to 22 rows, 30 % of the predictor missing, intercept-slope
correlation .95, 4 x 200 draws after 200 (median of three seeds): sampling {slow:.1f} s, smallest bulk ESS {slope["ess"]:,.0f},
{slope["ess"] / slow:,.0f} a second.

Five random slopes on latent-centred predictors, each predicted by two factors between clusters, 15,000 rows in 100 clusters,
4 x 250 draws after 300: sampling {five["sampling"]:.0f} s, smallest bulk ESS {five["ess"]:,.0f}.
"""
