"""Multilevel mediation with a binary outcome: bias and coverage over simulated data sets, written to docs/validation-binary.md.

Predictor x, mediator m and outcome y all on the first level (1-1-1), each split into latent parts: 3,800 rows in 460 clusters of
1 to 22, the outcome a category of a probit response, 30 % of the mediators missing at random, more of them where x is large. Data
by NumPy, no code of the package.

Data sets that are there already (out/binary_mediation/) are not fitted again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bayeshte as bh

ROOT = Path(__file__).parents[1]
STORE = ROOT / "out/binary_mediation"
ROWS, CLUSTERS = 3800, 460
THRESHOLD, SD_BETWEEN = 0.4, 0.5
TRUTH = {"a1": 0.42, "c1": 0.14, "b1": 0.28, "a2": 0.36, "b2": 0.87, "tau": THRESHOLD}
TRUTH |= {"indirect within": 0.42 * 0.28, "indirect between": 0.36 * 0.87}
SPEC = bh.SEM(
    cluster="cluster",
    within="m ~ a1*x; y ~ b1*m + c1*x",
    between="m ~ a2*x; y ~ b2*m; y | tau*t1",
    categorical=["y"],
    derived={"indirect_within": "a1*b1", "indirect_between": "a2*b2"},
)


def simulate(seed: int) -> pd.DataFrame:
    """One data set."""
    rng = np.random.default_rng(seed)
    share = rng.gamma(1.5, size=CLUSTERS)
    n = np.clip(np.round(ROWS * share / share.sum()), 1, 22).astype(int)
    while n.sum() != ROWS:
        k = rng.integers(CLUSTERS)
        n[k] = np.clip(n[k] + np.sign(ROWS - n.sum()), 1, 22)
    j = np.repeat(np.arange(CLUSTERS), n)
    bx = rng.normal(0, SD_BETWEEN, CLUSTERS)
    bm = TRUTH["a2"] * bx + rng.normal(0, SD_BETWEEN, CLUSTERS)
    by = TRUTH["b2"] * bm + rng.normal(0, SD_BETWEEN, CLUSTERS)
    x = rng.normal(size=ROWS)
    m = TRUTH["a1"] * x + rng.normal(size=ROWS)
    y = TRUTH["b1"] * m + TRUTH["c1"] * x + rng.normal(size=ROWS)
    data = pd.DataFrame({"cluster": j, "x": x + bx[j], "m": m + bm[j], "y": (y + by[j] > THRESHOLD) * 1})
    missing = rng.random(ROWS) < 1 / (1 + np.exp(0.95 - 0.5 * data["x"]))
    return data.assign(m=data["m"].where(~missing))


def study(seed: int) -> pd.DataFrame:
    """Estimates of one data set, kept on disk."""
    path = STORE / f"{seed}.csv"
    if not path.exists():
        data = simulate(seed)
        start = time.perf_counter()
        fit = bh.fit(SPEC, data, seed=seed, draws=250, tune=300, cores=1, progress=False)
        rows = bh.summary(fit)
        rows["name"] = rows["label"].where(rows["label"] != "", rows["parameter"].str.replace("_", " "))
        rows = rows[rows["name"].isin(TRUTH)].assign(
            seconds=time.perf_counter() - start,
            missing=data["m"].isna().mean(),
            converged=fit.diagnosis.ok,
            seed=seed,
        )
        STORE.mkdir(parents=True, exist_ok=True)
        rows.to_csv(path, index=False)
    return pd.read_csv(path, keep_default_na=False)


def page(found: pd.DataFrame) -> str:
    """Bias and coverage as a page."""
    truth = found["name"].map(TRUTH)
    found = found.assign(
        truth=truth,
        z=(found["mean"] - truth) / found["posterior_sd"],
        covered=(found["lower"] <= truth) & (truth <= found["upper"]),
    )
    sets, lines = found["seed"].nunique(), []
    for name, rows in found.groupby("name", sort=False):
        share, bias = rows["covered"].mean(), rows["mean"].mean() - rows["truth"].iloc[0]
        spread = rows["mean"].std(ddof=1)
        lines.append(
            f"| {name} | {rows['truth'].iloc[0]:.4f} | {rows['mean'].mean():.4f} | {bias:+.4f} ± {spread / np.sqrt(sets):.4f} | "
            f"{spread:.4f} | {rows['posterior_sd'].mean():.4f} | {share:.0%} ± {np.sqrt(share * (1 - share) / sets):.0%} |"
        )
    bad = (~found.groupby("seed")["converged"].first()).sum()
    square = found[~found["name"].str.startswith("indirect")].groupby("seed")["z"].apply(lambda z: (z**2).mean())
    return "\n".join(
        [
            "# Multilevel mediation with a binary outcome",
            "",
            f"Made by `python tests/validate_binary_mediation.py`: {sets} simulated data sets of {ROWS:,} rows in {CLUSTERS} "
            f"clusters of 1 to 22, {found['missing'].mean():.0%} of the mediators missing at random (more where x is large). "
            "Probit response, default priors, 4 x 250 draws. Every data set counts; in "
            f"{bad} a limit of the diagnosis was missed.",
            "",
            "| quantity | true | mean of estimates | bias | SD of estimates | mean posterior SD | 95 % intervals cover |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Squared deviations from the truth, in posterior SDs, average "
            f"{square.mean():.2f} ± {square.std(ddof=1) / np.sqrt(sets):.2f} over the six parameters; 1 is expected. Whether "
            "posteriors of this model are too narrow is what its calibration says, with parameters from the prior "
            "([page](validation-categories.md)).",
            "",
        ]
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=100)
    sets = parser.parse_args().sets
    found = []
    for seed in range(1, sets + 1):
        found.append(study(seed))
        print(seed, found[-1]["seconds"].iloc[0].round(1), flush=True)
    (ROOT / "docs/validation-binary.md").write_text(page(pd.concat(found)))


if __name__ == "__main__":
    main()
