"""Item-level effects simulated at the settings of 70 published trials: do the intervals cover, and which model is right?

Every trial of the Item Response Warehouse's vignette (Gilbert et al., 2025) gives one setting: its numbers of persons and items,
ability SD, average effect, and SD and correlation of item effects. Estimates on the boundary are moved off it (|rho| at most .9,
sigma_zeta at least .02 ability SDs) and reported apart. The pretest explains a quarter of the variance of abilities and never
changes the effect: beta3 = 0, so that what a model finds there comes from its item effects, or their absence. Data by NumPy.

    python tests/validate_items.py FITS.csv [--replications 3]

FITS.csv has the published numbers: ``tab, n_items, n_persons, sigma_theta, ate_std, sigma_zeta_std, rho, sigma_b_ctrl``.
Writes docs/validation-items.md; fits that are there already (out/items/) are not made again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import bayeshte as bh

ROOT = Path(__file__).parents[1]
ROLES = dict(person="person", item="item", response="y", treatment="arm", reference="control")
MODELS = {
    "A": bh.ItemResponse(**ROLES),
    "B": bh.ItemResponse(**ROLES, moderators="pretest", item_effects=False),
    "C": bh.ItemResponse(**ROLES, moderators="pretest"),
}
LARGEST_RHO, LEAST_SD, EXPLAINED = 0.9, 0.02, 0.25
QUANTITIES = {  # quantity: (model, parameter)
    "beta1": ("A", "beta1"),
    "sigma_theta": ("A", "sigma_theta"),
    "sigma_b": ("A", "sigma_b"),
    "sigma_zeta": ("A", "sigma_zeta"),
    "rho": ("A", "rho"),
    "beta3, model B": ("B", "beta3[pretest]"),
    "beta3, model C": ("C", "beta3[pretest]"),
}
SEED = 70


def settings(published: pd.DataFrame) -> pd.DataFrame:
    """True values by trial, on the scale of log odds, and whether the published fit was on the boundary."""
    s = published["sigma_theta"]
    return pd.DataFrame(
        {
            "trial": published["tab"],
            "persons": published["n_persons"],
            "items": published["n_items"],
            "beta1": published["ate_std"] * s,
            "sigma_theta": s,
            "sigma_b": published["sigma_b_ctrl"],
            "sigma_zeta": published["sigma_zeta_std"].clip(lower=LEAST_SD) * s,
            "rho": published["rho"].clip(-LARGEST_RHO, LARGEST_RHO),
            "beta3, model B": 0.0,
            "beta3, model C": 0.0,
            "boundary": published["rho"].abs().gt(0.99) | published["sigma_zeta_std"].lt(LEAST_SD),
        }
    )


def data_set(setting, rng: np.random.Generator) -> pd.DataFrame:
    """Responses of all persons to all items."""
    n, J = int(setting.persons), int(setting.items)
    T, pretest = rng.permutation(np.arange(n) % 2), rng.standard_normal(n)
    cov = setting.rho * setting.sigma_b * setting.sigma_zeta
    u = rng.multivariate_normal([0, 0], [[setting.sigma_b**2, cov], [cov, setting.sigma_zeta**2]], size=J)
    residual = np.sqrt(EXPLAINED) * pretest + np.sqrt(1 - EXPLAINED) * rng.standard_normal(n)
    theta = setting.beta1 * T + setting.sigma_theta * residual
    eta = theta[:, None] + u[:, 0] + u[:, 1] * T[:, None]
    person, item = np.indices(eta.shape).reshape(2, -1)
    y = rng.random(eta.size) < 1 / (1 + np.exp(-eta.ravel()))
    arm = np.where(T == 1, "treated", "control")[person]
    return pd.DataFrame({"person": person, "item": item, "y": y, "arm": arm, "pretest": pretest[person]})


def study(published: pd.DataFrame, replications: int, folder: Path, draws: int) -> pd.DataFrame:
    """A row a trial, replication and quantity: ``truth, estimate, sd, lower, upper``, whether the fit converged, seconds."""
    given, parts = settings(published), []
    for k in range(replications):
        rngs = np.random.default_rng((SEED, k)).spawn(len(given))
        data = {s.trial: data_set(s, rng) for s, rng in zip(given.itertuples(), rngs, strict=True)}
        found = bh.fit_many(MODELS, data, folder / f"replication-{k}", draws=draws, seed=k)
        parts.append(compared(found, given).assign(replication=k))
    return pd.concat(parts, ignore_index=True)


def compared(found: bh.Trials, given: pd.DataFrame) -> pd.DataFrame:
    """Estimates beside the true values."""
    truth = given.set_index("trial")
    seconds = found.fits.set_index(["trial", "model"])["seconds"]
    rows = []
    for quantity, (model, parameter) in QUANTITIES.items():
        own = found.parameters[(found.parameters["model"] == model) & (found.parameters["parameter"] == parameter)]
        for r in own.itertuples():
            row = {
                "trial": r.trial,
                "quantity": quantity,
                "truth": truth.loc[r.trial, quantity],
                "estimate": r.estimate,
            }
            row |= {"sd": r.posterior_sd, "lower": r.lower, "upper": r.upper, "status": r.status}
            rows.append(row | {"boundary": truth.loc[r.trial, "boundary"], "seconds": seconds[r.trial, model]})
    return pd.DataFrame(rows)


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """By quantity, regular settings and those at the boundary apart: share covered and its error, bias in posterior SDs."""
    table = table.assign(
        covered=table["lower"].le(table["truth"]) & table["upper"].ge(table["truth"]),
        error=(table["estimate"] - table["truth"]) / table["sd"],
    )
    by = table.groupby(["quantity", "boundary"], sort=False)
    out = by.agg(n=("covered", "size"), covered=("covered", "mean"), bias=("error", "mean"), spread=("error", "std"))
    out["covered_se"] = np.sqrt(out["covered"] * (1 - out["covered"]) / out["n"])
    out["bias_se"] = out["spread"] / np.sqrt(out["n"])
    return out.reset_index()


def identification(table: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """The interactions that B and C find where none is, by sign of rho, in settings whose item effects are not small."""
    wide = table.pivot(index=["trial", "replication"], columns="quantity", values=["estimate", "sd", "lower", "upper"])
    truth = given.set_index("trial").loc[wide.index.get_level_values("trial")]
    stretch = (truth["rho"] * truth["sigma_zeta"] / truth["sigma_theta"]).to_numpy()
    rows = []
    for name, own in (("rho < 0", stretch < -0.05), ("nearly 0", np.abs(stretch) <= 0.05), ("rho > 0", stretch > 0.05)):
        row = {"rho sigma_zeta / sigma_theta": name, "data sets": int(own.sum())}
        distance = {}
        for model in ("B", "C"):
            part = {k: wide[k, f"beta3, model {model}"][own] for k in ("estimate", "sd", "lower", "upper")}
            distance[model] = part["estimate"] / part["sd"]
            covers = float(((part["lower"] <= 0) & (part["upper"] >= 0)).mean())
            row |= {model: _with_error(distance[model]), f"{model} covers 0": f"{covers:.0%}"}
        rows.append(row | {"B - C": _with_error(distance["B"] - distance["C"])})
    return pd.DataFrame(rows)


def _with_error(x: pd.Series) -> str:
    return f"{x.mean():+.2f} ± {x.std() / np.sqrt(len(x)):.2f}"


def page(table: pd.DataFrame, given: pd.DataFrame, draws: int, took: str) -> str:
    """docs/validation-items.md."""
    own = coverage(table)
    rows = ["| quantity | settings | covered | bias in posterior SDs |", "|---|---|---|---|"]
    for r in own.itertuples():
        where = "boundary" if r.boundary else "regular"
        rows.append(
            f"| {r.quantity} | {where}, {r.n} data sets | {r.covered:.1%} ± {r.covered_se:.1%} "
            f"| {r.bias:+.2f} ± {r.bias_se:.2f} |"
        )
    regular = table[~table["boundary"] & (table["quantity"] != "beta3, model B")]
    inside = regular["lower"].le(regular["truth"]) & regular["upper"].ge(regular["truth"])
    found = identification(table, given)
    lines = ["| " + " | ".join(found.columns) + " |", "|" + "---|" * len(found.columns)]
    for r in found.itertuples(index=False):
        lines.append("| " + " | ".join(map(str, r)) + " |")
    n = table.groupby(["trial", "replication"]).ngroups
    bad = table[table["status"] != "ok"].drop_duplicates(["trial", "replication", "quantity"])["trial"].nunique()
    share = inside.mean()
    error = np.sqrt(share * (1 - share) / len(inside))
    return f"""# Item-level effects at the settings of 70 trials

Made by `python tests/validate_items.py`: {n} data sets, one or more for each of the {len(given)} trials of the Item
Response Warehouse's vignette, simulated by NumPy with the published numbers of persons and items, ability SD, average
effect and item effects. Where the published fit is on the boundary (|rho| = 1 or sigma_zeta near zero), rho is moved to
±{LARGEST_RHO} and sigma_zeta to at least {LEAST_SD} ability SDs; these settings are reported apart. The pretest
explains a quarter of the variance of abilities and the effect does not depend on it: beta3 = 0.

Models A, B and C with default priors, 4 x {draws} draws a fit, two fits at a time: {took}. In {bad} trials a fit missed a
limit of the diagnosis. All are counted.

{chr(10).join(rows)}

Of all intervals of regular settings but for model B's interaction, {share:.1%} ± {error:.1%} cover. At the boundary
the data hardly know rho, and 95 % of its prior, LKJ(2), lie within ±0.81: intervals leave ±{LARGEST_RHO} out.

## What constant item effects do to the interaction

With rho > 0 treatment stretches the scale of the items, and model B takes that for a negative interaction with whatever goes
with the ability; with rho < 0 for a positive one. Average of estimate over posterior SD with its standard error, and share of
intervals that cover the truth, 0. B and C see the same data: their difference is known better than each of them.

{chr(10).join(lines)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=Path)
    parser.add_argument("--replications", type=int, default=1)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    published = pd.read_csv(options.published)
    folder = ROOT / "out" / "items"
    there, begin = folder.exists(), time.perf_counter()
    table = study(published, options.replications, folder, options.draws)
    minutes = (time.perf_counter() - begin) / 60
    hours = table.drop_duplicates(["trial", "replication", "seconds"])["seconds"].sum() / 3600
    took = f"{hours:.1f} hours of one core" if there else f"{minutes:.0f} minutes"
    table.to_csv(folder / "study.csv", index=False)
    print(f"{took}, {(table['status'] != 'ok').sum()} rows of fits that did not converge")
    text = page(table, settings(published), options.draws, took)
    (ROOT / "docs" / "validation-items.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
