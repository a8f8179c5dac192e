"""Trials whose effect is the same on all items: is sigma_zeta found where it is zero?

    python tests/validate_item_null.py [--trials 200]

300 persons, 20 items, ability SD 1, SD of easiness 1, effect 0.3; data by NumPy. Model A with default priors, the Savage-Dickey
Bayes factor, and the likelihood-ratio test. Writes docs/validation-item-null.md; trials that are there already
(out/item_null.csv) are not made again.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import bayeshte as bh
from bayeshte.items.evidence import Effects, bayes_factors
from bayeshte.items.likelihood import likelihood_ratio

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "out" / "item_null.csv"
SPEC = bh.ItemResponse(person="person", item="item", response="y", treatment="arm", reference="control")
PERSONS, ITEMS, EFFECT = 300, 20, 0.3
DRAWS = 300  # of the Bayes factor


def data_set(seed: int) -> pd.DataFrame:
    """Responses of all persons to all items."""
    rng = np.random.default_rng((2026, seed))
    T = rng.permutation(np.arange(PERSONS) % 2)
    eta = (EFFECT * T + rng.standard_normal(PERSONS))[:, None] + rng.standard_normal(ITEMS)
    person, item = np.indices(eta.shape).reshape(2, -1)
    y = rng.random(eta.size) < 1 / (1 + np.exp(-eta.ravel()))
    return pd.DataFrame({"person": person, "item": item, "y": y, "arm": np.where(T, "treated", "control")[person]})


def one(seed: int) -> dict[str, float]:
    """What model A says of a trial."""
    fit = bh.fit(SPEC, data_set(seed), seed=seed, progress=False)
    evidence, test = bayes_factors(Effects(fit, "treated"), DRAWS)[1.0], likelihood_ratio(fit, "treated")
    beta1, sigma = (fit.posterior[v].to_numpy().ravel() for v in ("beta1", "sigma_zeta"))
    lower, upper = np.quantile(beta1, [0.025, 0.975])
    return {
        "seed": seed,
        "ok": fit.diagnosis.ok,
        "divergences": int(fit.draws["sample_stats"]["diverging"].sum()),
        "log_bf": evidence.log_bf,
        "mcse": evidence.mcse,
        "sigma_zeta": float(np.median(sigma)),
        "covered": lower <= EFFECT <= upper,
        "p_halved": test.p_halved,
        "p_mixture": test.p_mixture,
    }


def share(values: pd.Series) -> str:
    """A proportion with Wilson's 95 % interval."""
    n, k, z = len(values), int(values.sum()), 1.96
    middle, half = (k + z**2 / 2) / (n + z**2), z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return f"{k} of {n}, {k / n:.1%} [{max(middle - half, 0):.1%}, {middle + half:.1%}]"


def page(table: pd.DataFrame) -> str:
    """docs/validation-item-null.md."""
    bf = np.exp(table["log_bf"])
    lines = [
        ("fits that met every limit of the diagnosis", share(table["ok"])),
        ("trials with a divergence", share(table["divergences"] > 0)),
        ("Bayes factor above 1 (in favour of item effects)", share(bf > 1)),
        ("Bayes factor above 3", share(bf > 3)),
        ("Bayes factor above 10", share(bf > 10)),
        ("Bayes factor below 1/3 (against)", share(bf < 1 / 3)),
        ("likelihood ratio, halved chi-square(2): p < .05", share(table["p_halved"] < 0.05)),
        ("likelihood ratio, half-and-half mixture: p < .05", share(table["p_mixture"] < 0.05)),
        ("95 % interval of beta1 holds the effect", share(table["covered"])),
    ]
    rows = "\n".join(f"| {what} | {value} |" for what, value in lines)
    return f"""# Trials without item effects

Made by `python tests/validate_item_null.py`: {len(table)} trials of {PERSONS} persons in two arms and {ITEMS} items,
simulated by NumPy with the same effect, {EFFECT}, on every item. Model A with default priors, 4 x 1000 draws. Proportions
have Wilson's 95 % intervals. All trials are counted.

| | trials |
|---|---|
{rows}

The median of the posterior medians of sigma_zeta is {table["sigma_zeta"].median():.2f}; the median Bayes factor is
{bf.median():.2f}, the largest {bf.max():.1f}, with Monte Carlo errors of its logarithm of at most {table["mcse"].max():.2f}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), help="K of N processes: seeds K, K + N, ...")
    options = parser.parse_args()
    k, n = options.part
    rows = ROWS if n == 1 else ROWS.with_stem(f"item_null_{k}")
    rows.parent.mkdir(exist_ok=True)
    done = pd.read_csv(rows) if rows.exists() else pd.DataFrame({"seed": []})
    for seed in sorted({*range(k, options.trials, n)} - {*done["seed"].astype(int)}):
        done = pd.concat([done, pd.DataFrame([one(seed)])], ignore_index=True)
        done.to_csv(rows, index=False)
        print(done.iloc[-1].to_dict(), flush=True)
    table = pd.concat([pd.read_csv(p) for p in rows.parent.glob("item_null*.csv")])
    if len(table) >= options.trials:
        text = page(table.drop_duplicates("seed").sort_values("seed"))
        (ROOT / "docs" / "validation-item-null.md").write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
