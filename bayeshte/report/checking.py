"""Model checks as the report shows them."""

import numpy as np
import pandas as pd

from bayeshte.checks import Loo
from bayeshte.report.material import Material
from bayeshte.tables.digits import number


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
    }


def _levels(m: Material) -> str:
    note = "The interval holds 95 % of the replicates."
    if "u" not in m.fit.posterior:
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
    return ("", float("nan")) if ess.empty else (str(summary["parameter"][ess.idxmin()]), float(ess.min()))
