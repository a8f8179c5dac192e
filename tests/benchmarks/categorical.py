"""Speed of structural equation models with a binary outcome: rows of docs/benchmarks.md, called by run.py."""

import numpy as np
import pandas as pd
from mediation import sampled

import bayeshte as bh

MEDIATION = bh.SEM(cluster="g", within="m ~ a1*x; y ~ b1*m + x", between="m ~ a2*x; y ~ b2*m + x", categorical=["y"])
MODERATED = bh.SEM(
    cluster="g",
    within="s1 | m ~ x; s2 | y ~ m; y ~ x",
    between="f1 =~ v1 + v2 + v3; f2 =~ w1 + w2 + w3; f2 ~ f1; m ~ x + f1; y ~ b*m + f2; s1 ~ f1; s2 ~ f2; x ~~ x",
    categorical=["y"],
)


def data(J: int = 460, rows: int = 3800) -> pd.DataFrame:
    """Clusters of 1 to 22 rows, two factors between clusters that slopes depend on, 30 % of the mediators missing."""
    rng = np.random.default_rng(1)
    share = rng.gamma(1.5, size=J)
    n = np.clip(np.round(rows * share / share.sum()), 1, 22).astype(int)
    g = np.repeat(np.arange(J), n)
    f1 = rng.normal(size=J)
    f2 = 0.4 * f1 + rng.normal(size=J)
    items = {f"v{k}": (f1 + rng.normal(0, 0.7, J))[g] for k in (1, 2, 3)}
    items |= {f"w{k}": (f2 + rng.normal(0, 0.7, J))[g] for k in (1, 2, 3)}
    s1, s2 = 0.42 + 0.2 * f1 + rng.normal(0, 0.3, J), 0.28 + 0.15 * f2 + rng.normal(0, 0.3, J)
    bx = rng.normal(0, 0.5, J)
    bm = 0.36 * bx + 0.2 * f1 + rng.normal(0, 0.5, J)
    by = 0.87 * bm + 0.2 * f2 + rng.normal(0, 0.5, J)
    x = rng.normal(size=len(g))
    m = s1[g] * x + rng.normal(size=len(g))
    y = 0.14 * x + s2[g] * m + by[g] + rng.normal(size=len(g)) > 0.4
    m = np.where(rng.random(len(g)) < 0.3, np.nan, m + bm[g])
    return pd.DataFrame({"g": g, "x": x + bx[g], "m": m, "y": y * 1, **items})


def section() -> str:
    """The part of the benchmark page on categorical outcomes."""
    given = data()
    models = {
        "mediation 1-1-1, paths on both levels": (MEDIATION, 250, 300),
        "two random slopes, two factors between clusters that predict them": (MODERATED, 500, 400),
    }
    lines = []
    for name, (spec, draws, tune) in models.items():
        found = sampled(spec, given, draws=draws, tune=tune)
        seconds, ess = found["sampling"], found["ess"]
        lines.append(f"| {name} | 4 x {draws} after {tune} | {seconds:.0f} | {ess:,.0f} | {400 * seconds / ess:.0f} |")
    return f"""
## A binary outcome: {len(given):,} rows in 460 clusters of 1 to 22, 30 % of the mediators missing

Parts of clusters are sampled, missing mediators integrated; smallest bulk ESS over all parameters.

| | draws | sampling, s | smallest bulk ESS | seconds for an ESS of 400 |
|---|---|---|---|---|
{chr(10).join(lines)}
"""
