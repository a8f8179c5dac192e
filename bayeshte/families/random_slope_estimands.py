"""What a paper reports of a RandomSlope, and the statistics of its predictive checks."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.families.random_slope_outcomes import averages, cluster_means, is_linear, rows_of, unstack
from bayeshte.marginal.glmm_outcomes import COUNTS
from bayeshte.spec import Estimand


def _weights(D: Arrays, kind: str) -> np.ndarray:
    """Weights (group, row): everyone, clusters equally, those in each arm, those in the reference arm (a group a contrast)."""
    N = len(D.y)
    if kind == "persons":
        return np.full((1, N), 1 / N)
    if kind == "clusters":
        n = np.bincount(D.code, minlength=D.n_clusters)
        return (1 / (n[D.code] * D.n_clusters))[None]
    arms = range(1, D.n_contrasts + 1) if kind == "treated" else [0] * D.n_contrasts
    return np.stack([(D.arm == k) / (D.arm == k).sum() for k in arms])


def effect_draws(
    posterior,
    design,
    *,
    predictor,
    kind: str,
    clusters: str = "these",
    contrast: str = "difference",
    threshold: int | None = None,
):
    """Draws of an average effect, one a contrast; with a threshold on the probability to be above it."""
    D = Arrays(design)
    rows = rows_of(D, _weights(D, kind), clusters)
    means = averages(predictor, D, posterior, rows, clusters, threshold=threshold)
    control, treated = means[:, :, :1], means[:, :, 1:]
    values = {
        "difference": lambda: treated - control,
        "ratio": lambda: treated / control,
        "odds ratio": lambda: treated / (1 - treated) / (control / (1 - control)),
    }[contrast]()
    picked = values[:, 0] if values.shape[1] == 1 else values[:, np.arange(D.n_contrasts), np.arange(D.n_contrasts)]
    return unstack(picked, posterior, **{D.treatment: D.contrasts})


def estimands(spec, design: xr.Dataset, predictor) -> list[Estimand]:
    """The estimands of a RandomSlope; see `Estimand`."""
    D = Arrays(design)
    out = _cluster_means(D, predictor) if not D.n_contrasts else _effects(D, predictor)
    out += [
        Estimand(
            f"contextual effect of {x}",
            f"coefficient of the cluster mean of {x} minus that of the deviation from it",
            partial(_contextual, name=x),
            "coefficient",
        )
        for x in spec.within_between
    ]
    if D.thresholds:
        text = "of the linear predictor without its intercept, where the outcome passes from one category to the next"
        out.append(Estimand("threshold", text, _thresholds, "coefficient"))
    return out


def _thresholds(posterior, design):
    """-gamma0 + 0, width_1, width_1 + width_2, ...: what other programs print in place of an intercept."""
    D = Arrays(design)
    names = {"threshold": D.thresholds}
    first = -posterior["gamma0"].expand_dims(threshold=1, axis=-1)
    if "width" not in posterior:
        return first.assign_coords(names)
    rest = first.isel(threshold=0) + posterior["width"].cumsum("inner_category").rename(inner_category="threshold")
    return xr.concat([first, rest.drop_vars("threshold")], "threshold").assign_coords(names)


def _effects(D: Arrays, predictor) -> list[Estimand]:
    linear = is_linear(D)
    by = partial(partial, effect_draws, predictor=predictor)
    where = f", in these {D.n_clusters} clusters" if D.cluster else ""
    what = (
        "" if linear else f" (difference of {'mean categories, the lowest 0' if D.thresholds else 'expected outcomes'})"
    )
    out = [Estimand("ATE", f"average over the persons in the data{where}{what}", by(kind="persons"), headline=True)]
    if D.cluster:
        out.append(
            Estimand("ATE, clusters equally", f"average over clusters, each counting once{what}", by(kind="clusters"))
        )
        new = f"a new cluster: random effects integrated over their distribution, covariates of the persons in the data{what}"
        out.append(Estimand("ATE, new cluster", new, by(kind="persons", clusters="new"), headline=bool(D.q)))
    if D.cluster and not linear:
        zero = f"the average cluster: random effects zero{what}"
        out.append(Estimand("ATE, average cluster", zero, by(kind="persons", clusters="average")))
    out.append(Estimand("ATT", f"average over those who were in the arm{where}{what}", by(kind="treated")))
    out.append(Estimand("ATU", f"average over those who were in the reference arm{where}{what}", by(kind="untreated")))
    for k, above in enumerate(D.thresholds):
        text = f"difference of average probabilities of the persons in the data{where}"
        out.append(
            Estimand(f"effect on P({above})", text, by(kind="persons", threshold=k), headline=len(D.thresholds) < 4)
        )
    if not linear and not D.thresholds:
        name = "rate ratio" if D.family in COUNTS else "risk ratio"
        text = f"ratio of the average expected outcomes of the persons in the data{where}"
        out.append(Estimand(name, text, by(kind="persons", contrast="ratio"), "ratio"))
    if D.family in ("logit", "probit"):
        text = f"ratio of the odds of the average probabilities of the persons in the data{where}"
        out.append(Estimand("odds ratio", text, by(kind="persons", contrast="odds ratio"), "ratio"))
    arms = [a for a in D.varying if a in D.contrasts]
    scale = "" if linear else " on the link scale"
    if arms:
        out.append(
            Estimand(
                "SD of effects", f"SD of the effect across the population of clusters{scale}, beyond moderators",
                partial(_sd, name=D.treatment, arms=arms), "sd", headline=True,
            )
        )  # fmt: skip
        out.append(
            Estimand(
                "SD of effects, these clusters", f"SD over these {D.n_clusters} clusters of their effects{scale}",
                partial(_sd_these, cluster=D.cluster, name=D.treatment, arms=arms), "sd",
            )
        )  # fmt: skip
    if arms and "intercept" in D.varying:
        out.append(
            Estimand(
                "correlation of baseline and effect",
                f"correlation across clusters of the expected outcome in {D.reference} and the effect{scale}",
                partial(_correlation, name=D.treatment, arms=arms), "correlation", headline=True,
            )
        )  # fmt: skip
    if linear and D.sigmas:
        out += _standardised(D, predictor)
    return out


def _standardised(D: Arrays, predictor) -> list[Estimand]:
    ate = partial(effect_draws, predictor=predictor, kind="persons", clusters="new")

    def within(posterior, design):
        return ate(posterior, design) / _residual_sd(posterior, D)

    def total(posterior, design):
        variance = _residual_sd(posterior, D) ** 2
        if "intercept" in D.varying:
            variance = variance + posterior["sd"].sel(varying="intercept", drop=True) ** 2
        return ate(posterior, design) / np.sqrt(variance)

    out = [
        Estimand(
            "standardised ATE, within", "ATE in a new cluster over the residual SD in the reference arm (Hedges, 2007, d_W)",
            within, "standardised",
        )
    ]  # fmt: skip
    if D.q:
        out.append(
            Estimand(
                "standardised ATE, total",
                "ATE in a new cluster over the SD in the reference arm, between and within clusters (Hedges, 2007, d_T)",
                total, "standardised",
            )
        )  # fmt: skip
    return out


def _residual_sd(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    sigma = posterior["sigma"]
    if D.arms in sigma.dims:
        sigma = sigma.sel({D.arms: D.reference}, drop=True)
    if D.family == "student":  # infinite below two degrees of freedom, as the draws then say
        nu = posterior["nu"]
        sigma = sigma * np.sqrt(xr.where(nu > 2, nu / (nu - 2), np.inf))
    return sigma


def _sd(posterior, design, *, name, arms):
    return posterior["sd"].sel(varying=arms).rename(varying=name)


def _sd_these(posterior, design, *, cluster, name, arms):
    return posterior["effect"].sel({name: arms}).std(cluster, ddof=1)


def _correlation(posterior, design, *, name, arms):
    return posterior["corr"].sel(varying="intercept", varying_=arms, drop=True).rename(varying_=name)


def _contextual(posterior, design, *, name):
    g = posterior["gamma2"]
    return g.sel(covariate=f"{name}_between", drop=True) - g.sel(covariate=f"{name}_within", drop=True)


def _cluster_means(D: Arrays, predictor) -> list[Estimand]:
    """Without a treatment: the mean outcome, every cluster's, and how they spread (the meta-analytic summary)."""

    def mean(posterior, design, kind="persons", clusters="new"):
        values = averages(predictor, D, posterior, rows_of(D, _weights(D, kind), clusters), clusters)
        return unstack(values[:, 0, 0], posterior)

    out = [Estimand("mean", "expected outcome of the persons in the data, in a new cluster", mean, headline=True)]
    if not D.q:
        return out

    def each(posterior, design):
        return unstack(cluster_means(predictor, D, posterior), posterior, **{D.cluster: D.labels(D.cluster)})

    out.append(Estimand("cluster mean", "expected outcome of the persons in the data of each cluster", each))
    if "intercept" in D.varying:
        out.append(
            Estimand(
                "SD of clusters", "SD of the intercepts across the population of clusters",
                lambda posterior, design: posterior["sd"].sel(varying="intercept", drop=True), "sd", headline=True,
            )
        )  # fmt: skip
    if D.se is not None and D.varying == ["intercept"]:
        w = D.se**-2.0
        typical = (len(w) - 1) * w.sum() / (w.sum() ** 2 - (w**2).sum())
        out.append(
            Estimand(
                "I2", "share of the variation between clusters that is not sampling error (Higgins & Thompson, 2002)",
                lambda posterior, design: (v := posterior["sd"].sel(varying="intercept", drop=True) ** 2) / (v + typical),
                "share",
            )
        )  # fmt: skip
    return out


def discrepancies(design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
    """Statistics of an outcome vector for posterior predictive checks: of everybody, by arm, and between clusters."""
    D = Arrays(design)
    out: dict[str, Callable[[np.ndarray], float]] = {}
    groups = {"": np.ones(len(D.y), bool)}
    if D.n_contrasts:
        groups |= {f" in {a}": D.arm == k for k, a in enumerate(D.labels(D.arms))}
    for text, rows in groups.items():
        out[f"mean{text}"] = lambda y, rows=rows: float(y[rows].mean())
        if D.family not in ("logit", "probit"):
            out[f"SD{text}"] = lambda y, rows=rows: float(y[rows].std(ddof=1))
            out[f"skewness{text}"] = lambda y, rows=rows: _skewness(y[rows])
    if D.cluster:
        n = np.bincount(D.code, minlength=D.n_clusters)
        out["SD of cluster means"] = lambda y: float((np.bincount(D.code, y, minlength=D.n_clusters) / n).std(ddof=1))
    for k, arm in enumerate(D.contrasts, start=1):
        both = np.flatnonzero((D.arm_counts[:, k] > 0) & (D.arm_counts[:, 0] > 0))
        if D.cluster and len(both) > 2:
            out[f"SD of cluster effects of {arm}"] = partial(_slope_sd, D=D, arm=k, clusters=both)
    return lambda y: {name: f(y) for name, f in out.items()}


def _skewness(y: np.ndarray) -> float:
    """Third standardised moment; SciPy's takes ten times as long."""
    z = y - y.mean()
    square = z * z
    return float((square * z).mean() / square.mean() ** 1.5)


def _slope_sd(y: np.ndarray, D: Arrays, arm: int, clusters: np.ndarray) -> float:
    """SD over clusters of the difference of arm means (no pooling)."""
    means = [np.bincount(D.code[D.arm == k], y[D.arm == k], minlength=D.n_clusters)[clusters] for k in (arm, 0)]
    return float((means[0] / D.arm_counts[clusters, arm] - means[1] / D.arm_counts[clusters, 0]).std(ddof=1))
