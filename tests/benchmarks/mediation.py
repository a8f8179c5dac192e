"""Speed of structural equation models: rows of docs/benchmarks.md, called by run.py."""

import time

import numpy as np
import pandas as pd

import bayeshte as bh
from bayeshte import gallery, sampler
from bayeshte.families.sem_design import data_of
from bayeshte.marginal.structural import statistics
from bayeshte.summary import rows

PROCESS = """
import bayeshte as bh
from bayeshte import gallery
entry = gallery.read("school_activity")
fit = bh.fit(entry.spec, entry.data(), seed=1, progress=False)
assert fit.diagnosis.ok
"""
SLOPE = bh.SEM(cluster="g", within="s | y ~ x", between="y ~ z + x; s ~ z + x; y ~~ s")


def smallest_ess(spec, posterior) -> float:
    """Smallest bulk ESS of the free parameters."""
    return min(float(rows(x.rename("x"))["ess_bulk"].iloc[0]) for _, _, x in spec.parameters(posterior))


def sampled(spec, data, joint=False, repeats=1) -> dict:
    """Seconds to prepare and to sample 4 x 1000 after 500, and the smallest ESS."""
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
        tree, _ = sampler.sample(model, draws=1000, tune=500, seed=seed)
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


def five_slopes() -> tuple[bh.SEM, pd.DataFrame]:
    """Five random slopes that two factors of cluster variables predict: 15,000 rows in 100 clusters."""
    rng = np.random.default_rng(0)
    J, n = 100, 150
    g, f = np.repeat(np.arange(J), n), rng.normal(size=(J, 2))
    s = 0.3 * f @ rng.uniform(0, 1, (2, 5)) + 0.3 * rng.normal(size=(J, 5))
    x = rng.normal(size=(J * n, 5)) + 0.5 * rng.normal(size=(J, 5))[g]
    y = rng.normal(size=J)[g] + (s[g] * x).sum(1) + rng.normal(size=J * n)
    v = np.repeat(f, 3, axis=1) + 0.6 * rng.normal(size=(J, 6))
    data = pd.DataFrame(x, columns=[f"x{k}" for k in range(1, 6)]).assign(
        y=y, g=g, **{f"v{k + 1}": v[g, k] for k in range(6)}
    )
    within = "; ".join(f"s{k} | y ~ x{k}" for k in range(1, 6))
    slopes = "; ".join(f"s{k} ~ f1 + f2" for k in range(1, 6))
    return bh.SEM(cluster="g", within=within, between=f"f1 =~ v1 + v2 + v3; f2 =~ v4 + v5 + v6; {slopes}; y ~ f1"), data
