"""The data behind a fit, and what must be true of them for the effects to be causal."""

import numpy as np
import pandas as pd

from bayeshte.fit import Fit
from bayeshte.report.material import Material
from bayeshte.spec import Estimand
from bayeshte.summary import rows
from bayeshte.tables import apa
from bayeshte.tables.digits import number, percent

ROWS_SHOWN, ROWS_OPEN = 1000, 20  # of a table; of one that is not folded


def data_section(m: Material) -> dict:
    """How many rows and clusters, what was dropped, and what the family says of its variables."""
    return {
        "facts": facts(m),
        "tables": [
            {
                "title": title,
                "rows": table.head(ROWS_SHOWN),
                "open": len(table) <= ROWS_OPEN,
                "not_shown": max(0, len(table) - ROWS_SHOWN),
            }
            for title, table in m.about.tables
        ],
    }


def facts(m: Material) -> list[tuple[str, str]]:
    """Label and value, in the order of a participants section."""
    a, n = m.fit.design.attrs, m.fit.design.sizes["row"]
    dropped = a["rows_given"] - n
    missing = f"{dropped:,}, because a value is missing ({', '.join(a['missing'])})"
    out = [
        ("Rows given", f"{a['rows_given']:,}"),
        ("Rows analysed", f"{n:,}" + (f" ({percent(n / a['rows_given'])})" if dropped else " (all)")),
        ("Rows dropped", missing if dropped else "none"),
    ]
    if a["cluster"]:
        size = sizes(m.fit)
        out.append((f"Clusters ({a['cluster']})", f"{len(size):,}"))
        out.append(("Rows a cluster", spread_of_sizes(size)))
    out += [(label, _told(m.fit, value)) for label, value in m.about.facts]
    return [*out, ("Hash of the analysed data", a["data_hash"])]


def _told(fit: Fit, value: str | np.ndarray | Estimand) -> str:
    """A text as it is, the spread of a variable, an estimate with its interval."""
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        return spread_of(value)
    table = rows(value.draws(fit.posterior, fit.design).rename(value.name)).assign(estimand=value.name)
    table.attrs["scales"] = {value.name: value.scale}
    row = apa(table).iloc[0]
    return f"{row['Median']}, 95 % CrI {row['95 % CrI']}"


def spread_of(x: np.ndarray) -> str:
    """Mean, SD and range of a variable, or how many are 1."""
    if set(np.unique(x)) <= {0.0, 1.0}:
        return f"{int(x.sum()):,} of {len(x):,} are 1 ({percent(x.mean())})"
    if np.ptp(x) == 0:
        return f"{x[0]:g} in every row"
    digits = max(0, 2 - int(np.floor(np.log10(x.std(ddof=1)))))
    middle = f"mean {number(x.mean(), digits)}, SD {number(x.std(ddof=1), digits)}"
    return f"{middle}, from {number(x.min(), digits)} to {number(x.max(), digits)}"


def sizes(fit: Fit) -> np.ndarray:
    """Rows of every cluster."""
    return np.bincount(fit.design["cluster_code"].to_numpy(), minlength=fit.design.sizes[fit.design.attrs["cluster"]])


def spread_of_sizes(size: np.ndarray) -> str:
    """Smallest, largest and median cluster in words."""
    if size.min() == size.max():
        return f"{size[0]:,} each"
    return f"{size.min():,} to {size.max():,}, median {np.median(size):,.10g}"


# ---------------------------------------------------------------------------------------------- causal assumptions


def balance_section(m: Material) -> dict | None:
    """Covariates by arm, and where the arms meet."""
    if not m.fit.design.attrs["treatment"]:
        return None
    return {"balance": m.balance, "overlap": _meeting(m.overlap.value, m.fit.design.attrs["cluster"])}


def _meeting(overlap: pd.DataFrame, cluster: str) -> pd.DataFrame | None:
    """The table of `checks.overlap` with a column a contrast, without what does not apply."""
    words = {
        "both_arms": f"clusters of {cluster} with both arms",
        "only_arm": "clusters with this arm but not the reference",
        "only_reference": "clusters with the reference but not this arm",
        "neither": "clusters with neither",
        "smallest_cell": "fewest rows of one arm in a cluster with both",
        "support_lower": "common support of the propensity score, from",
        "support_upper": "to",
        "outside_arm": "share of the arm outside the common support",
        "outside_reference": "share of the reference outside it",
    }
    table = overlap.set_index("contrast")[list(words)].T.astype(float).dropna(how="all")
    if table.empty:
        return None
    return table.rename(index=words).reset_index(names="")


def assumptions_section(m: Material) -> dict | None:
    """What the causal reading rests on, and what these data can say about it."""
    return {"assumptions": m.about.assumptions} if m.about.assumptions else None
