"""Speed of item response models: rows of docs/benchmarks.md, called by run.py."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from mediation import sampled

import bayeshte as bh

HERE = Path(__file__).parent
ROLES = dict(person="person", item="item", response="y", treatment="t")
A = bh.ItemResponse(**ROLES)
C = bh.ItemResponse(**ROLES, moderators="pretest")


def answers(persons: int, items: int) -> pd.DataFrame:
    """Binary responses of persons in two arms; item effects of SD .3 that covary with easiness."""
    rng = np.random.default_rng(0)
    t, pretest = np.arange(persons) % 2, rng.normal(size=persons)
    u = rng.multivariate_normal([0, 0], [[1, 0.12], [0.12, 0.09]], size=items)
    theta = 0.2 * t + 0.5 * pretest + 0.9 * rng.normal(size=persons)
    eta = theta[:, None] + u[:, 0] + u[:, 1] * t[:, None]
    person, item = np.indices(eta.shape).reshape(2, -1)
    y = (rng.random(eta.size) < 1 / (1 + np.exp(-eta.ravel()))).astype(int)
    return pd.DataFrame({"person": person, "item": item, "y": y, "t": t[person], "pretest": pretest[person]})


def glmer(data: pd.DataFrame) -> float | None:
    """Seconds of one fit of model A by lme4, or None where R or lme4 is missing."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        data.to_csv(f"{folder}/data.csv", index=False)
        done = subprocess.run(
            ["Rscript", str(HERE / "items_glmer.R"), f"{folder}/data.csv"], capture_output=True, text=True
        )
    found = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds")]
    return float(found[0]) if found else None


def section(skip_glmer: bool) -> str:
    """The part of the benchmark page on item response models."""
    data = answers(20_000, 50)
    rows = {
        "A: 20,000 persons, 50 items": sampled(A, data, repeats=3),
        "A: 200,000 persons, 50 items": sampled(A, answers(200_000, 50), repeats=3),
        "C: 5,000 persons, 40 items, continuous pretest": sampled(C, answers(5_000, 40)),
    }
    lines = [f"| {k} | {v['prepare']:.2f} | {v['sampling']:.1f} | {v['ess']:,.0f} |" for k, v in rows.items()]
    first, second, _ = (v["sampling"] for v in rows.values())
    seconds = None if skip_glmer else glmer(data)
    peer = f"lme4's glmer fits model A to the 20,000 x 50 responses in {seconds:.0f} s, " if seconds else ""
    peer += f"{seconds / first:.0f} times as long as the sampling here.\n" if seconds else ""
    return f"""
## Item response models: binary responses, 4 x 1000 draws after 500

A: effects that vary over items. C: an interaction of treatment and pretest as well. Smallest bulk ESS over all parameters.

| | prepare, s | sampling, s | smallest bulk ESS |
|---|---|---|---|
{chr(10).join(lines)}

Ten times the persons take {second / first:.1f} times as long. {peer}"""
