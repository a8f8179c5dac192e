"""What a paper reports of a RandomSlope: potential outcomes and their averages, draw by draw.

Every effect is a difference (or ratio) of expected outcomes had everybody in a stated population been in one arm or the
other; the population is a set of rows with weights, and the clusters are these, a new one (random effects integrated over
their distribution) or the average one (random effects zero).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from scipy import special, stats

from bayeshte import design as columns
from bayeshte.errors import DataError, SpecError, near
from bayeshte.families.random_slope_design import Arrays, flatten, indicators
from bayeshte.spec import Estimand

CHUNK = 4_000_000  # values held at once
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


@dataclass(frozen=True)
class Rows:
    """Persons over whom an average is taken: covariates, moderators, slopes, cluster, and weights (group, row)."""

    X: np.ndarray
    M: np.ndarray
    S: np.ndarray
    code: np.ndarray
    weight: np.ndarray


def rows_of(D: Arrays, weight: np.ndarray) -> Rows:
    """The rows of the data with `weight` (group, row), reduced to as few rows as give the same averages."""
    return reduce(Rows(D.X, D.M, D.S, D.code, weight), linear=is_linear(D))


def is_linear(D: Arrays) -> bool:
    """Whether the expected outcome is linear in covariates and random effects."""
    return D.family in ("gaussian", "student")


def reduce(rows: Rows, linear: bool) -> Rows:
    """Fewer rows with the same averages: cluster means where the outcome is linear in the predictors, else distinct rows."""
    if linear:  # one row a cluster and group, at the weighted means
        out = []
        for g, w in enumerate(rows.weight):
            total = np.bincount(rows.code, w)
            keep = np.flatnonzero(total > 0)

            def mean(values, w=w, total=total, keep=keep):
                sums = [np.bincount(rows.code, w * v)[keep] / total[keep] for v in values.T]
                return np.stack(sums, axis=1) if sums else np.empty((len(keep), 0))

            weight = np.zeros((len(rows.weight), len(keep)))
            weight[g] = total[keep]
            out.append(Rows(mean(rows.X), mean(rows.M), mean(rows.S), keep, weight))
        parts = {k: np.concatenate([getattr(r, k) for r in out]) for k in ("X", "M", "S", "code")}
        return Rows(**parts, weight=np.concatenate([r.weight for r in out], axis=1))
    used = rows.weight.any(0)
    table = np.column_stack([rows.code, rows.X, rows.M])[used]
    _, first, position = np.unique(table, axis=0, return_index=True, return_inverse=True)
    weight = np.stack([np.bincount(position.ravel(), w[used], minlength=len(first)) for w in rows.weight])
    return Rows(rows.X[used][first], rows.M[used][first], rows.S[used][first], rows.code[used][first], weight)


def stacked(posterior: xr.Dataset, D: Arrays) -> dict[str, np.ndarray]:
    """Draws of what the linear predictor needs, chains stacked, absent parts as arrays of size zero."""
    names = [n for n in ("gamma0", "gamma1", "gamma2", "gamma3", "u", "sd", "corr") if n in posterior]
    flat = {n: flatten(posterior[n]) for n in names}
    S = len(flat["gamma0"])
    k, m, x = D.n_contrasts, D.M.shape[1], D.X.shape[1]
    empty = {"gamma1": (k,), "gamma2": (x,), "gamma3": (k, m), "u": (D.n_clusters, D.q)}
    for name, shape in empty.items():
        flat.setdefault(name, np.zeros((S, *shape)))
    return flat


def expected(predictor, D: Arrays, flat: dict[str, np.ndarray], rows: Rows, arm: int, clusters: str) -> np.ndarray:
    """Expected outcome of every row had it been in `arm`: (draw, row)."""
    T = indicators(np.full(len(rows.code), arm), D.n_contrasts)
    zero = np.zeros((len(flat["gamma0"]), len(rows.code), D.q))
    u0, u1, u2 = D.split(flat["u"][:, rows.code] if clusters == "these" else zero)
    gammas = [flat[g] for g in ("gamma0", "gamma1", "gamma2", "gamma3")]
    eta = predictor(T, rows.X, rows.M, rows.S, *gammas, u0, u1, u2)
    variance = None
    if clusters == "new" and D.q:
        Z = _random_columns(D, T, rows.S)
        corr = flat.get("corr", np.ones((len(eta), 1, 1)))
        scaled = Z[None] * flat["sd"][:, None, :]
        variance = np.einsum("sra,sab,srb->sr", scaled, corr, scaled, optimize=True)
    return mean_outcome(D.family, eta, variance)


def _random_columns(D: Arrays, T: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Columns that multiply the random effects, in the order of `varying`: (row, q)."""
    named = {"intercept": np.ones(len(T))}
    named |= {a: T[:, k] for k, a in enumerate(D.contrasts)} | {s: S[:, k] for k, s in enumerate(D.slopes)}
    return np.stack([named[v] for v in D.varying], axis=1)


def mean_outcome(family: str, eta: np.ndarray, variance: np.ndarray | None = None) -> np.ndarray:
    """E(Y | eta), or its mean over eta ~ N(eta, variance): exact but for logit (31-point Gauss-Hermite)."""
    match family:
        case "gaussian" | "student":
            return eta
        case "probit":
            return special.ndtr(eta if variance is None else eta / np.sqrt(1 + variance))
        case "poisson":
            return np.exp(eta if variance is None else eta + variance / 2)
        case _:
            if variance is None:
                return special.expit(eta)
            sd = np.sqrt(variance)
            return sum(w * special.expit(eta + sd * z) for z, w in zip(_NODES, _WEIGHTS, strict=True)) / _WEIGHTS.sum()


def averages(predictor, D: Arrays, posterior: xr.Dataset, rows: Rows, clusters: str = "these", arms=None) -> np.ndarray:
    """Weighted mean outcome had everybody been in each of `arms` (codes; all by default): (draw, group, arm)."""
    flat = stacked(posterior, D)
    arms = range(D.n_contrasts + 1) if arms is None else arms
    S = len(flat["gamma0"])
    out = np.empty((S, len(rows.weight), len(arms)))
    step = max(1, CHUNK // max(1, len(rows.code) * max(1, D.q)))
    for s in range(0, S, step):
        part = {k: v[s : s + step] for k, v in flat.items()}
        for k, arm in enumerate(arms):
            out[s : s + step, :, k] = expected(predictor, D, part, rows, arm, clusters) @ rows.weight.T
    return out


def unstack(values: np.ndarray, posterior: xr.Dataset, **dims) -> xr.DataArray:
    """(draw, ...) back to labelled chains and draws."""
    shape = (posterior.sizes["chain"], posterior.sizes["draw"])
    return xr.DataArray(
        values.reshape(*shape, *values.shape[1:]),
        dims=("chain", "draw", *dims),
        coords={"chain": posterior["chain"], "draw": posterior["draw"], **dims},
    )


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


def effect_draws(posterior, design, *, predictor, kind: str, clusters: str = "these", contrast: str = "difference"):
    """Draws of an average effect, one a contrast."""
    D = Arrays(design)
    means = averages(predictor, D, posterior, rows_of(D, _weights(D, kind)), clusters)
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
    return out


def _effects(D: Arrays, predictor) -> list[Estimand]:
    linear = is_linear(D)
    by = partial(partial, effect_draws, predictor=predictor)
    where = f", in these {D.n_clusters} clusters" if D.cluster else ""
    what = "" if linear else " (difference of expected outcomes)"
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
    if not linear:
        name = "rate ratio" if D.family == "poisson" else "risk ratio"
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
        values = averages(predictor, D, posterior, rows_of(D, _weights(D, kind)), clusters)
        return unstack(values[:, 0, 0], posterior)

    out = [Estimand("mean", "expected outcome of the persons in the data, in a new cluster", mean, headline=True)]
    if not D.q:
        return out

    def cluster_means(posterior, design):
        n = np.bincount(D.code, minlength=D.n_clusters)
        weight = (D.code == np.arange(D.n_clusters)[:, None]) / n[:, None]
        values = averages(predictor, D, posterior, rows_of(D, weight))[:, :, 0]
        return unstack(values, posterior, **{D.cluster: D.labels(D.cluster)})

    out.append(Estimand("cluster mean", "expected outcome of the persons in the data of each cluster", cluster_means))
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


def log_likelihood(spec, draws: xr.Dataset, design: xr.Dataset, unit: str, predictor) -> xr.DataArray:
    """Pointwise log-likelihood; see `ModelSpec.log_likelihood`."""
    from bayeshte.marginal import gaussian

    D = Arrays(design)
    if unit == "cluster" and D.family == "gaussian" and D.cluster:
        m, t = D.moments(), D.parameters(draws)
        step = max(1, CHUNK // max(1, D.n_clusters * max(1, D.q) ** 2 * m.n.shape[1]))
        parts = [gaussian.log_likelihood(m, t[s : s + step]) for s in range(0, len(t.beta), step)]
        return unstack(np.concatenate(parts), draws, **{D.cluster: D.labels(D.cluster)})
    flat = stacked(draws, D)
    T = D.T
    gammas = [flat[g] for g in ("gamma0", "gamma1", "gamma2", "gamma3")]
    eta = predictor(T, D.X, D.M, D.S, *gammas, *D.split(flat["u"][:, D.code]))
    scale = D.se
    if D.sigmas:
        sigma = flatten(draws["sigma"]).reshape(len(eta), -1)
        scale = sigma[:, D.arm] if D.design.attrs["sigma_by_arm"] else sigma
    values = _log_density(D.family, D.y, eta, scale, flatten(draws["nu"])[:, None] if "nu" in draws else None)
    return unstack(values, draws, row=design["row"].to_numpy())


def _log_density(family, y, eta, scale, nu) -> np.ndarray:
    match family:
        case "gaussian":
            return stats.norm.logpdf(y, eta, scale)
        case "student":
            return stats.t.logpdf(y, nu, eta, scale)
        case "logit":
            return special.log_expit(np.where(y == 1, eta, -eta))
        case "probit":
            return special.log_ndtr(np.where(y == 1, eta, -eta))
        case _:
            return stats.poisson.logpmf(y, np.exp(eta))


def discrepancies(design: xr.Dataset) -> dict[str, Callable[[np.ndarray], float]]:
    """Statistics for posterior predictive checks: of everybody, by arm, and between clusters."""
    D = Arrays(design)
    out: dict[str, Callable[[np.ndarray], float]] = {}
    groups = {"": np.ones(len(D.y), bool)}
    if D.n_contrasts:
        groups |= {f" in {a}": D.arm == k for k, a in enumerate(D.labels(D.arms))}
    for text, rows in groups.items():
        out[f"mean{text}"] = lambda y, rows=rows: float(y[rows].mean())
        if D.family not in ("logit", "probit"):
            out[f"SD{text}"] = lambda y, rows=rows: float(y[rows].std(ddof=1))
            out[f"skewness{text}"] = lambda y, rows=rows: float(stats.skew(y[rows]))
    if D.cluster:
        n = np.bincount(D.code, minlength=D.n_clusters)
        out["SD of cluster means"] = lambda y: float((np.bincount(D.code, y, minlength=D.n_clusters) / n).std(ddof=1))
    for k, arm in enumerate(D.contrasts, start=1):
        both = np.flatnonzero((D.arm_counts[:, k] > 0) & (D.arm_counts[:, 0] > 0))
        if D.cluster and len(both) > 2:
            out[f"SD of cluster effects of {arm}"] = partial(_slope_sd, D=D, arm=k, clusters=both)
    return out


def _slope_sd(y: np.ndarray, D: Arrays, arm: int, clusters: np.ndarray) -> float:
    """SD over clusters of the difference of arm means (no pooling)."""
    means = [np.bincount(D.code[D.arm == k], y[D.arm == k], minlength=D.n_clusters)[clusters] for k in (arm, 0)]
    return float((means[0] / D.arm_counts[clusters, arm] - means[1] / D.arm_counts[clusters, 0]).std(ddof=1))


def equations(spec, design: xr.Dataset) -> list[str]:
    """The model in LaTeX."""
    D = Arrays(design)
    names = {k: _tex(v) for k, v in (("y", spec.outcome), ("t", spec.treatment or ""), ("c", spec.cluster or ""))}
    random = {"intercept": "U_{0j}"} | {a: rf"U_{{\text{{{_tex(a)}}},j}}" for a in D.varying if a != "intercept"}
    base = r"\gamma_0" + (" + U_{0j}" if "intercept" in D.varying else "")
    terms = [f"({base})" if "intercept" in D.varying else base]
    for arm in D.contrasts:
        slope = rf"\gamma_{{1,\text{{{_tex(arm)}}}}}"
        if D.M.shape[1]:
            slope += rf" + \gamma_{{3,\text{{{_tex(arm)}}}}}^\top M_{{ij}}"
        if arm in D.varying:
            slope += f" + {random[arm]}"
        body = f"({slope})" if "+" in slope else slope
        terms.append(rf"{body}\,[\text{{{names['t']}}}_{{ij}} = \text{{{_tex(arm)}}}]")
    if D.X.shape[1]:
        terms.append(r"\gamma_2^\top X_{ij}")
    terms += [rf"{random[s]}\,\text{{{_tex(s)}}}_{{ij}}" for s in D.slopes]
    eta = " + ".join(terms)
    outcome = rf"\text{{{names['y']}}}_{{ij}}"
    noise = {
        "gaussian": rf"{outcome} &\sim N(\eta_{{ij}},\ \sigma^2)",
        "student": rf"{outcome} &\sim t_\nu(\eta_{{ij}},\ \sigma)",
        "logit": rf"{outcome} &\sim \text{{Bernoulli}}(\text{{logit}}^{{-1}}\,\eta_{{ij}})",
        "probit": rf"{outcome} &\sim \text{{Bernoulli}}(\Phi(\eta_{{ij}}))",
        "poisson": rf"{outcome} &\sim \text{{Poisson}}(\exp \eta_{{ij}})",
    }[D.family]
    if D.sigmas > 1:
        noise = rf"{outcome} &\sim N(\eta_{{ij}},\ \sigma^2_{{\text{{{names['t']}}}}})"
    if D.se is not None:
        noise = rf"{outcome} &\sim N(\eta_{{ij}},\ \text{{{_tex(spec.standard_error)}}}_{{ij}}^2)"
    lines = [noise, rf"\eta_{{ij}} &= {eta}"]
    if D.q > 1:
        effects = r",\ ".join(random[v] for v in D.varying)
        lines.append(
            rf"({effects})^\top &\sim N(0,\ \tau),\quad "
            r"\tau = \text{diag}(\text{sd})\,\text{corr}\,\text{diag}(\text{sd}),\quad "
            rf"j = \text{{{names['c']}}}"
        )
    elif D.q:
        lines.append(rf"{random[D.varying[0]]} &\sim N(0,\ \text{{sd}}^2),\quad j = \text{{{names['c']}}}")
    return lines


def _tex(text: str) -> str:
    """Text safe inside LaTeX's text mode."""
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    table |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(table.get(c, c) for c in str(text))


def population(spec, D: Arrays, frame: pd.DataFrame | None, weight: np.ndarray | None, arm: str | None, clusters: str):
    """Rows to predict for and the arm code of each: the data's own, or those of another frame coded in the same way."""
    if clusters not in ("these", "new", "average"):
        raise SpecError(f"clusters={clusters!r}: write 'these', 'new' or 'average'.")
    if frame is None:
        rows, own = Rows(D.X, D.M, D.S, D.code, np.eye(0, len(D.y))), D.arm
    else:
        rows, own = _rows_from(spec, D, frame, clusters, arm)
    if arm is not None:
        labels = D.labels(D.arms) if D.n_contrasts else []
        if arm not in labels:
            raise SpecError(f"arm={arm!r} is not an arm.{near(arm, labels)}")
        own = np.full(len(rows.code), labels.index(arm))
    if weight is not None:
        rows = replace(rows, weight=np.asarray(weight, float))
    return rows, own


def predictions(spec, D: Arrays, posterior, rows: Rows, arms: np.ndarray, clusters: str, predictor) -> np.ndarray:
    """Expected outcome of every row in its arm: (draw, row)."""
    flat = stacked(posterior, D)
    S = len(flat["gamma0"])
    out = np.empty((S, len(arms)))
    step = max(1, CHUNK // max(1, len(arms) * max(1, D.q)))
    for k in np.unique(arms):
        part = replace(rows, **{n: getattr(rows, n)[arms == k] for n in ("X", "M", "S", "code")})
        for s in range(0, S, step):
            chunk = {n: v[s : s + step] for n, v in flat.items()}
            out[s : s + step, arms == k] = expected(predictor, D, chunk, part, int(k), clusters)
    return out


def _rows_from(spec, D: Arrays, frame: pd.DataFrame, clusters: str, arm: str | None) -> tuple[Rows, np.ndarray]:
    """The rows of another frame, coded as the analysed one was."""
    old = columns.raw_frame(D.design)
    frame = _split_as_before(spec, D, frame, old)
    split = [f"{x}_{part}" for x in spec.within_between for part in ("within", "between")]
    formulas = [spec.covariates, spec.moderators, spec.slopes]
    main = columns.Terms(" + ".join([f for f in [*split, *formulas] if f.strip()]), old)
    used = [c for f in [*split, *formulas] for c in columns.formula_columns(f, old)]
    columns.check_frame(frame, used)
    frame, _ = columns.complete_rows(frame, [c for c in frame if c in {*used, D.treatment, D.cluster}], "error")
    X = main.on(frame)
    slopes = X[:, [main.labels.index(s) for s in D.slopes]]
    code = own = np.zeros(len(frame), np.int64)
    if D.q and clusters == "these":
        code = _codes(frame, D.cluster, D.labels(D.cluster), "clusters='new' predicts for clusters outside the data")
    if D.n_contrasts and arm is None:
        own = _codes(frame, D.treatment, D.labels(D.arms), "arm= predicts for one arm")
    return Rows(X, columns.Terms(spec.moderators, old).on(frame), slopes, code, np.empty((0, len(frame)))), own


def _split_as_before(spec, D: Arrays, frame: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
    """Adds ``x_within`` and ``x_between`` where they are not given, from the cluster means of the analysed data."""
    for x in spec.within_between:
        parts = [f"{x}_within", f"{x}_between"]
        if any(part in frame for part in parts):
            continue
        columns.check_frame(frame, [x])
        instead = f"give {parts[0]!r} and {parts[1]!r} instead of {x!r}"
        code = _codes(frame, D.cluster, D.labels(D.cluster), instead)
        means = np.bincount(D.code, old[x]) / np.bincount(D.code)
        frame = frame.assign(**{parts[0]: frame[x] - means[code], parts[1]: means[code]})
    return frame


def _codes(frame: pd.DataFrame, column: str, labels: list[str], instead: str) -> np.ndarray:
    if column not in frame:
        raise DataError(f"Column {column!r} is needed for this prediction; {instead}.")
    given = columns.labels_of(frame[column])
    unknown = sorted(set(given) - set(labels))
    if unknown:
        raise DataError(f"{column!r} has values that were not in the fit: {unknown[:5]}; {instead}.")
    position = {v: k for k, v in enumerate(labels)}
    return np.array([position[v] for v in given], np.int64)
