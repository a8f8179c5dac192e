"""Speed of latent-class models: rows of docs/benchmarks.md, called by run.py."""

import time

import numpy as np
import pandas as pd

import bayeshte as bh
from bayeshte import sampler
from bayeshte.convergence import diagnose

ROLES = dict(outcome="y", treatment="t", cluster="c", classes=3)
PERSONS = bh.EffectMixture(**ROLES, class_of="individual", shared=("u",))
OWN = bh.EffectMixture(**ROLES, class_of="individual")
CLUSTERS = bh.EffectMixture(**ROLES)


def persons(n: int = 10_000, clusters: int = 100) -> pd.DataFrame:
    """Three classes of individuals, means 3 residual SDs apart, effects 0, 0.5 and 1; intercepts of clusters of SD 0.5."""
    rng = np.random.default_rng(0)
    c, t, label = rng.integers(0, clusters, n), rng.integers(0, 2, n), rng.choice(3, n, p=[0.5, 0.3, 0.2])
    y = 3.0 * label + 0.5 * rng.normal(size=clusters)[c] + 0.5 * label * t + rng.normal(size=n)
    return pd.DataFrame({"y": y, "t": t, "c": c})


def schools(n: int, clusters: int = 1000) -> pd.DataFrame:
    """Three classes of clusters, means 1 residual SD apart, effects 0, 0.4 and 0.8; intercepts within classes of SD 0.3."""
    rng = np.random.default_rng(0)
    c, t, label = rng.integers(0, clusters, n), rng.integers(0, 2, n), rng.choice(3, clusters, p=[0.5, 0.3, 0.2])
    u = label + 0.3 * rng.normal(size=clusters)
    y = u[c] + 0.4 * label[c] * t + rng.normal(size=n)
    return pd.DataFrame({"y": y, "t": t, "c": c})


def timed(spec: bh.EffectMixture, data: pd.DataFrame, draws: int = 1000, tune: int = 500) -> dict:
    """Seconds of the pass over rows, of finding starts, of sampling, of drawing classes back; smallest bulk ESS."""
    marks = [time.perf_counter()]
    design = spec.design(data)
    priors = spec.frozen_priors(design)
    marks.append(time.perf_counter())
    model = sampler.compiled(spec.marginal(design, priors), design.coords)
    marks.append(time.perf_counter())
    tree, _ = sampler.sample(model, draws=draws, tune=tune, seed=1)
    marks.append(time.perf_counter())
    tree["posterior"] = spec.recover(tree["posterior"].to_dataset(), design, np.random.default_rng(1))
    marks.append(time.perf_counter())
    checks = {c.name: c.value for c in diagnose(tree, (*spec.latent, *spec.random_effects), True).checks}
    seconds = dict(zip(("read", "starts", "sampling", "recover"), np.diff(marks), strict=True))
    return seconds | {"ess": checks["bulk ESS"], "rhat": checks["R-hat"]}


def section() -> str:
    """The part of the benchmark page on latent classes."""
    rows = {
        "classes of individuals, 10,000 rows, 100 clusters with random intercepts": timed(PERSONS, persons()),
        "the same, random intercepts of their own in each class": timed(OWN, persons()),
        "classes of clusters, 10,000 rows, 1,000 clusters": timed(CLUSTERS, schools(10_000)),
        "classes of clusters, 1,000,000 rows, 1,000 clusters": timed(CLUSTERS, schools(1_000_000)),
    }
    lines = [
        f"| {k} | {v['read']:.1f} | {v['starts']:.1f} | {v['sampling']:.1f} | {v['recover']:.1f} | {v['ess']:,.0f} |"
        for k, v in rows.items()
    ]
    return f"""
## Latent classes: three classes, 4 x 1000 draws after 500

Read: from a data frame to the design. Starts: cross-products of the clusters, 60 dispersed starts, the modes they find.
Recover: classes numbered alike in all draws, classes and random effects of clusters drawn back.

| | read, s | starts, s | sampling, s | recover, s | smallest bulk ESS |
|---|---|---|---|---|---|
{chr(10).join(lines)}
"""
