"""Model checks as the report shows them."""

import numpy as np
import pandas as pd

from bayeshte.checks import Loo, class_profiles
from bayeshte.checks.rivals import comparison
from bayeshte.report.material import Material
from bayeshte.summary import name_of
from bayeshte.tables.digits import DASH, number


def checks_section(m: Material) -> dict:
    """Predictive checks, leave-one-out, priors against data."""
    return {
        "predictive": m.predictive,
        "extreme": extreme(m),
        "levels": _levels(m),
        "loo": m.loo,
        "loo_lines": loo_lines(m.loo.value) if m.loo.value else [],
        "sensitivity": m.sensitivity,
        "sensitive": sensitive(m),
        "overlap": m.prior_overlap,
        "fit_statistics": fit_statistics(m),
        "implied": implied(m),
        "no_implied": m.implied.message,
    }


def classes_section(m: Material) -> dict | None:
    """Whether latent classes are separable, and needed; nothing for a model without them."""
    if m.classes.value is None or m.fit.spec.classes == 1:
        return None
    found = comparison(m.fit)
    rows = []
    for name, row in found.table.iterrows() if found else ():
        lost = (
            "best"
            if row["difference"] == 0
            else f"{number(row['difference'], 1)} (SE {number(row['se_difference'], 1)})"
        )
        rows.append({"Model": name, "elpd": number(row["elpd"], 1), "Difference": lost, "Convergence": row["verdict"]})
    profiles = class_profiles(m.fit)
    return {
        "checks": m.classes.value.checks,
        "profiles": profiles,
        "rivals": pd.DataFrame(rows) if found else None,
        "sentence": found.sentence if found else "",
        "worse": bool(found) and not found.ok,
        "cost": found.cost if found else "",
    }


def doubts(m: Material) -> list[str]:
    """What speaks against latent classes, for the head of the page."""
    found = m.classes.value
    return [f"{c.message[0].upper()}{c.message[1:]}." for c in found.checks if not c.ok] if found else []


def fit_statistics(m: Material) -> pd.DataFrame | None:
    """Fit statistics as text; None for a family that has none."""
    if m.model_fit.value is None:
        return None
    two_level = (m.model_fit.value["level"] != "").any()
    rows = [
        {
            "Statistic": row.statistic.replace(" ", "\u00a0"),
            "Level": row.level or "both" if two_level else "",
            "Value": number(row.value, 2, True) if row.statistic == "PPP" else number(row.value, 1),
            "95 % interval": DASH if np.isnan(row.lower) else f"[{number(row.lower, 1)},\u00a0{number(row.upper, 1)}]",
            "What it is": row.definition,
        }
        for row in m.model_fit.value.itertuples()
    ]
    return pd.DataFrame(rows) if two_level else pd.DataFrame(rows).drop(columns="Level")


def ppp(m: Material) -> list[str]:
    """Posterior predictive p-values as words: ``".54"``, ``".48 within"``."""
    if m.model_fit.value is None:
        return []
    found = m.model_fit.value
    found = found[(found["statistic"] == "PPP") & found["value"].notna()]
    return [f"{number(row.value, 2, True)} {row.level}".strip() for row in found.itertuples()]


def implied(m: Material) -> pd.DataFrame | None:
    """Correlations that the model implies beside those of the data."""
    if m.implied.value is None:
        return None
    found = m.implied.value
    texts = [
        (f"{r.first}, {r.second}", *(number(v, 2, True) for v in (r.implied, r.lower, r.upper, r.sample)))
        for r in found.itertuples()
    ]
    columns = {"Variables": [t[0] for t in texts], "Implied": [t[1] for t in texts]}
    columns |= {"95 % CrI": [f"[{t[2]}, {t[3]}]" for t in texts], "Sample": [t[4] for t in texts]}
    columns |= {"Sample outside": [not r.lower <= r.sample <= r.upper for r in found.itertuples()]}
    table = pd.DataFrame(columns)
    if "level" in found:
        table.insert(1, "Level", found["level"].to_list())
    return table


def _levels(m: Material) -> str:
    note = "The interval holds 95 % of the replicates."
    if m.predictive.value is None or "between" not in set(m.predictive.value["level"]):
        return note
    return f"within = given the random effects of these clusters; between = new clusters. {note}"


def extreme(m: Material) -> list[str]:
    """Statistics that replicated data hardly reach, each with the levels at which."""
    if m.predictive.value is None:
        return []
    found = m.predictive.value
    levels = found[found["extreme"].astype(bool)].groupby("statistic", sort=False)["level"].agg(", ".join)
    if found["level"].nunique() == 1:
        return list(levels.index)
    return [f"{statistic} ({level})" for statistic, level in levels.items()]


def sensitive(m: Material) -> list[str]:
    """Parameters whose posterior depends on the prior's strength."""
    if m.sensitivity.value is None:
        return []
    found = m.sensitivity.value
    told = found[~found["diagnosis"].isin(("-", ""))]
    return [f"{p} ({d})" for p, d in told[["parameter", "diagnosis"]].to_numpy()]


def loo_lines(loo: Loo) -> list[tuple[str, str]]:
    """Leave-one-out in a few numbers."""
    high = int((loo.pointwise["khat"] > loo.limit).sum())
    return [
        ("Left out", loo.what),
        ("Units", f"{len(loo.pointwise):,}"),
        ("Expected log predictive density", f"{number(loo.elpd, 1)} (SE {number(loo.se, 1)})"),
        ("Effective number of parameters", number(loo.p_loo, 1)),
        ("Largest k-hat", f"{number(loo.worst_khat, 2)} (limit {number(loo.limit, 2)}; {high} above it)"),
        ("Fitted again without the unit", f"{loo.refits:,}"),
        *(("Trouble", t) for t in loo.troubles),
    ]


def stability(m: Material) -> str:
    """How far the estimates from the first half of the draws are from those of all, in posterior SDs."""
    posterior = m.fit.posterior[m.fit.parameters]
    half = posterior.isel(draw=slice(0, posterior.sizes["draw"] // 2))
    worst, where = 0.0, ""
    for name in m.fit.parameters:
        whole, sd = posterior[name].median(("chain", "draw")), posterior[name].std(("chain", "draw"))
        moved = np.abs((half[name].median(("chain", "draw")) - whole) / sd.where(sd > 1e-12)).max()
        if float(moved) > worst:
            worst, where = float(moved), name
    return f"at most {number(worst, 2)} posterior SD ({where})"


def weakest(summary: pd.DataFrame) -> tuple[str, float]:
    """The parameter with the smallest bulk effective sample size, and that size."""
    ess = summary["ess_bulk"].dropna()
    return ("", float("nan")) if ess.empty else (name_of(summary.loc[ess.idxmin()]), float(ess.min()))
