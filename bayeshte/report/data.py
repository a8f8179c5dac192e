"""The data behind a fit, and what must be true of them for the effects to be causal."""

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.fit import Fit
from bayeshte.report.material import Material
from bayeshte.summary import rows
from bayeshte.tables import apa
from bayeshte.tables.digits import number, percent

CLUSTERS_SHOWN = 1000  # rows of a table of clusters


def data_section(m: Material) -> dict:
    """How many rows, clusters and arms, what was dropped, and how much clusters differ."""
    table = arms_by_cluster(m.fit)
    return {
        "facts": facts(m.fit),
        "arms_by_cluster": None if table is None else table.head(CLUSTERS_SHOWN),
        "not_shown": 0 if table is None else max(0, len(table) - CLUSTERS_SHOWN),
    }


def facts(fit: Fit) -> list[tuple[str, str]]:
    """Label and value, in the order of a participants section."""
    a, n = fit.design.attrs, fit.design.sizes["row"]
    dropped = a["rows_given"] - n
    missing = ", ".join(f"{v} values" for v in a["missing"]) or "none"
    y = fit.design["y"].to_numpy()
    out = [
        ("Rows given", f"{a['rows_given']:,}"),
        ("Rows analysed", f"{n:,}" + (f" ({percent(n / a['rows_given'])})" if dropped else " (all)")),
        ("Rows dropped", f"{dropped:,}, because a value is missing" if dropped else "none"),
        ("Missing values by column", missing),
        (f"Outcome {a['outcome']}", _spread_of(y)),
    ]
    if "se" in fit.design:
        out.append((f"Standard error {fit.spec.standard_error}", _spread_of(fit.design["se"].to_numpy())))
    if a["cluster"]:
        size = sizes(fit)
        out.append((f"Clusters ({a['cluster']})", f"{len(size):,}"))
        out.append(("Rows a cluster", spread_of_sizes(size)))
    if a["treatment"]:
        out.append((f"Rows by arm of {a['treatment']}", ", ".join(f"{k}: {v:,}" for k, v in arms(fit).items())))
        if a["cluster"]:
            out.append(("Clusters with all arms", _support(fit)))
    found = icc(fit)
    if found is not None:
        name, values = found
        row = apa(rows(values.rename("icc")).assign(estimand="icc").pipe(_as_share)).iloc[0]
        out.append((name, f"{row['Median']}, 95 % CrI {row['95 % CrI']}"))
    return [*out, ("Hash of the analysed data", a["data_hash"])]


def _as_share(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs["scales"] = {"icc": "share"}
    return frame


def _spread_of(x: np.ndarray) -> str:
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


def arms(fit: Fit) -> dict[str, int]:
    """Rows by arm, the reference first."""
    labels = fit.design[f"{fit.design.attrs['treatment']}_arm"].to_numpy()
    counts = np.bincount(fit.design["arm_code"].to_numpy(), minlength=len(labels))
    return {str(k): int(v) for k, v in zip(labels, counts, strict=True)}


def arms_by_cluster(fit: Fit) -> pd.DataFrame | None:
    """Rows of every cluster in every arm."""
    a = fit.design.attrs
    if not (a["cluster"] and a["treatment"]):
        return None
    counts = _counts(fit)
    out = pd.DataFrame(counts, columns=pd.Index([f"{a['treatment']} = {arm}" for arm in arms(fit)]))
    out.insert(0, a["cluster"], [str(v) for v in fit.design[a["cluster"]].to_numpy()])
    return out.assign(**{"all arms": counts.sum(1)})


def _counts(fit: Fit) -> np.ndarray:
    """Rows by cluster and arm, (cluster, arm)."""
    clusters, n_arms = fit.design.sizes[fit.design.attrs["cluster"]], len(arms(fit))
    code = fit.design["cluster_code"].to_numpy() * n_arms + fit.design["arm_code"].to_numpy()
    return np.bincount(code, minlength=clusters * n_arms).reshape(-1, n_arms)


def _support(fit: Fit) -> str:
    held = _counts(fit) > 0
    whole, one = int(held.all(1).sum()), int((held.sum(1) == 1).sum())
    return f"{whole:,} of {len(held):,}" + (f"; {one:,} with one arm only" if one else "; none with one arm only")


def icc(fit: Fit) -> tuple[str, xr.DataArray] | None:
    """Share of the variance that lies between clusters, as draws; None where the model has no such number."""
    a, p = fit.design.attrs, fit.posterior
    if a["family"] not in ("gaussian", "logit", "probit") or "se" in fit.design:
        return None
    if "sd" not in p or "intercept" not in fit.design["varying"].to_numpy():
        return None
    between = p["sd"].sel(varying="intercept", drop=True) ** 2
    name = f"ICC (share of variance between {a['cluster']}"
    if a["family"] != "gaussian":
        return f"{name}, latent scale)", between / (between + (np.pi**2 / 3 if a["family"] == "logit" else 1.0))
    sigma = p["sigma"]
    arm = f"{a['treatment']}_arm"
    if arm in sigma.dims:
        sigma = sigma.sel({arm: a["reference"]}, drop=True)
    plain = fit.design.sizes["varying"] == 1 and not a["sigma_by_arm"]
    where = "" if plain else f", in {a['reference']}" if a["treatment"] else ", slopes at zero"
    return f"{name}{where})", between / (between + sigma**2)


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
    fit, a = m.fit, m.fit.design.attrs
    if not a["treatment"]:
        return None
    return {
        "cluster": a["cluster"],
        "covariates": ", ".join(str(v) for v in fit.design["covariate"].to_numpy()),
        "support": _support(fit) if a["cluster"] else "",
        "one_arm": bool(a["cluster"]) and bool(((_counts(fit) > 0).sum(1) == 1).any()),
        "random_intercept": "u" in fit.posterior and "intercept" in fit.design["varying"].to_numpy(),
        "split": fit.spec.within_between,
        "arms": arms(fit),
    }
