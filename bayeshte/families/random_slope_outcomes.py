"""Potential outcomes of a RandomSlope, draw by draw: expected outcomes under an arm, their averages, the likelihood.

Every effect is a difference (or ratio) of expected outcomes had everybody in a stated population been in one arm or the
other; the population is a set of rows with weights, and the clusters are these, a new one (random effects integrated over
their distribution) or the average one (random effects zero).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy import sparse, special, stats

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.errors import SpecError, near
from bayeshte.families.random_slope_arrays import CONTINUOUS, Arrays
from bayeshte.families.random_slope_design import main_formula
from bayeshte.labelled import flatten, indicators, unstack
from bayeshte.marginal import gaussian, glmm, glmm_integral
from bayeshte.marginal.glmm_outcomes import COUNTS, ORDERED, SHAPES, inverse_link, log_likelihood_rows

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


def rows_of(D: Arrays, weight: np.ndarray, clusters: str = "these") -> Rows:
    """The rows of the data with `weight` (group, row), reduced to as few rows as give the same averages."""
    return reduce(Rows(D.X, D.M, D.S, _code(D.code, clusters), weight), linear=is_linear(D))


def _code(code: np.ndarray, clusters: str) -> np.ndarray:
    """Clusters matter only if their own random effects are used; else rows of all of them can be one."""
    return code if clusters == "these" else np.zeros_like(code)


def is_linear(D: Arrays) -> bool:
    """Whether the expected outcome is linear in covariates and random effects."""
    return D.family in CONTINUOUS


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
    names = [n for n in ("gamma0", "gamma1", "gamma2", "gamma3", "u", "sd", "corr", "width") if n in posterior]
    flat = {n: flatten(posterior[n]) for n in names}
    S = len(flat["gamma0"])
    k, m, x = D.n_contrasts, D.M.shape[1], D.X.shape[1]
    empty = {"gamma1": (k,), "gamma2": (x,), "gamma3": (k, m), "u": (D.n_clusters, D.q), "width": (0,)}
    for name, shape in empty.items():
        flat.setdefault(name, np.zeros((S, *shape)))
    return flat


def expected(
    predictor, D: Arrays, flat: dict[str, np.ndarray], rows: Rows, arm: int, clusters: str, threshold: int | None = None
) -> np.ndarray:
    """Expected outcome of every row had it been in `arm`, or its probability to be above a threshold: (draw, row)."""
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
    if D.family not in ORDERED:
        return mean_outcome(D.family, eta, variance)
    tau = np.cumsum(np.concatenate([np.zeros((len(eta), 1)), flat["width"]], axis=1), axis=1)
    over = range(tau.shape[1]) if threshold is None else [threshold]
    return sum(mean_outcome(ORDERED[D.family], eta - tau[:, [k]], variance) for k in over)


def _random_columns(D: Arrays, T: np.ndarray, S: np.ndarray) -> np.ndarray:
    """Columns that multiply the random effects, in the order of `varying`: (row, q)."""
    named = {"intercept": np.ones(len(T))}
    named |= {a: T[:, k] for k, a in enumerate(D.contrasts)} | {s: S[:, k] for k, s in enumerate(D.slopes)}
    return np.stack([named[v] for v in D.varying], axis=1)


def mean_outcome(family: str, eta: np.ndarray, variance: np.ndarray | None = None) -> np.ndarray:
    """E(Y | eta), or its mean over eta ~ N(eta, variance): exact but for logit (31-point Gauss-Hermite)."""
    if variance is None or family in CONTINUOUS:
        return inverse_link(eta, family)
    if family == "probit":
        return inverse_link(eta / np.sqrt(1 + variance), family)
    if family in COUNTS:
        return inverse_link(eta + variance / 2, family)
    sd = np.sqrt(variance)
    nodes = zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True)
    return sum(w * inverse_link(eta + sd * z, family) for z, w in nodes)


def averages(
    predictor,
    D: Arrays,
    posterior: xr.Dataset,
    rows: Rows,
    clusters: str = "these",
    arms=None,
    threshold: int | None = None,
) -> np.ndarray:
    """Weighted mean outcome had everybody been in each of `arms` (codes; all by default): (draw, group, arm).

    With a `threshold` (from 0) of an ordered outcome, the probability to be above it.
    """
    flat = stacked(posterior, D)
    arms = range(D.n_contrasts + 1) if arms is None else arms
    S = len(flat["gamma0"])
    out = np.empty((S, len(rows.weight), len(arms)))
    step = max(1, CHUNK // max(1, len(rows.code) * max(1, D.q)))
    for s in range(0, S, step):
        part = {k: v[s : s + step] for k, v in flat.items()}
        for k, arm in enumerate(arms):
            out[s : s + step, :, k] = expected(predictor, D, part, rows, arm, clusters, threshold) @ rows.weight.T
    return out


def cluster_means(predictor, D: Arrays, posterior: xr.Dataset) -> np.ndarray:
    """Expected outcome of each cluster's own persons: (draw, cluster)."""
    rows = rows_of(D, (1 / np.bincount(D.code)[D.code])[None])
    values = predictions(D, posterior, rows, np.zeros(len(rows.code), int), "these", predictor)
    return (sparse.csr_array((rows.weight[0], (rows.code, np.arange(len(rows.code))))) @ values.T).T


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
        rows = replace(rows, code=_code(rows.code, clusters), weight=np.asarray(weight, float))
    return rows, own


def predictions(D: Arrays, posterior, rows: Rows, arms: np.ndarray, clusters: str, predictor) -> np.ndarray:
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
    main = formulas.Terms(main_formula(spec), old)
    used = formulas.formula_columns(main_formula(spec), old)
    columns.check_frame(frame, used)
    frame, _ = columns.complete_rows(frame, [c for c in frame if c in {*used, D.treatment, D.cluster}], "error")
    X = main.on(frame)
    slopes = X[:, [main.labels.index(s) for s in D.slopes]]
    code = own = np.zeros(len(frame), np.int64)
    if D.q and clusters == "these":
        code = columns.codes_of(
            frame, D.cluster, D.labels(D.cluster), "clusters='new' predicts for clusters outside the data"
        )
    if D.n_contrasts and arm is None:
        own = columns.codes_of(frame, D.treatment, D.labels(D.arms), "arm= predicts for one arm")
    return Rows(X, formulas.Terms(spec.moderators, old).on(frame), slopes, code, np.empty((0, len(frame)))), own


def _split_as_before(spec, D: Arrays, frame: pd.DataFrame, old: pd.DataFrame) -> pd.DataFrame:
    """Adds ``x_within`` and ``x_between`` where they are not given, from the cluster means of the analysed data."""
    for x in spec.within_between:
        parts = [f"{x}_within", f"{x}_between"]
        if any(part in frame for part in parts):
            continue
        columns.check_frame(frame, [x])
        instead = f"give {parts[0]!r} and {parts[1]!r} instead of {x!r}"
        code = columns.codes_of(frame, D.cluster, D.labels(D.cluster), instead)
        means = np.bincount(D.code, old[x]) / np.bincount(D.code)
        frame = frame.assign(**{parts[0]: frame[x] - means[code], parts[1]: means[code]})
    return frame


def log_likelihood(spec, draws: xr.Dataset, design: xr.Dataset, unit: str, predictor) -> xr.DataArray:
    """Pointwise log-likelihood; see `ModelSpec.log_likelihood`."""
    D = Arrays(design)
    if unit == "cluster" and D.family == "gaussian" and D.cluster:
        m, t = D.moments(), D.parameters(draws)
        step = max(1, CHUNK // max(1, D.n_clusters * max(1, D.q) ** 2 * m.n.shape[1]))
        parts = [gaussian.log_likelihood(m, t[s : s + step]) for s in range(0, len(t.beta), step)]
        return unstack(np.concatenate(parts), draws, **{D.cluster: D.labels(D.cluster)})
    if unit == "cluster" and D.cluster:
        return _integrated(D, draws)
    flat = stacked(draws, D)
    T = D.T
    gammas = [flat[g] for g in ("gamma0", "gamma1", "gamma2", "gamma3")]
    eta = predictor(T, D.X, D.M, D.S, *gammas, *D.split(flat["u"][:, D.code]))
    if D.family == "gaussian":
        sigma = flatten(draws["sigma"]).reshape(len(eta), -1) if D.sigmas else None
        by_arm = D.design.attrs["sigma_by_arm"]
        values = stats.norm.logpdf(D.y, eta, D.se if sigma is None else sigma[:, D.arm] if by_arm else sigma)
    else:
        values = log_likelihood_rows(eta, D.y, D.family, _shape(D, draws))
    return unstack(values, draws, row=design["row"].to_numpy())


def _shape(D: Arrays, draws: xr.Dataset) -> np.ndarray:
    """Draws of the parameters of the outcome beside eta: (draw, k)."""
    S = draws.sizes["chain"] * draws.sizes["draw"]
    parts = [flatten(draws[name]).reshape(S, -1) for name in SHAPES.get(D.family, ()) if name in draws]
    return np.concatenate([np.empty((S, 0)), *parts], axis=1)


def _integrated(D: Arrays, draws: xr.Dataset) -> xr.DataArray:
    """By cluster, random effects integrated by quadrature; see `Fit.cluster_log_likelihood` for the attributes."""
    rows = glmm.collapse(D.full, D.y, np.array(D.random, int), D.code, D.n_clusters, D.family)
    t = D.parameters(draws)
    found = glmm_integral.log_likelihood(rows, t.beta, t.factor, _shape(D, draws))
    constant = -special.gammaln(D.y + 1) if D.family in COUNTS else np.zeros(len(D.y))
    values = found.values + np.bincount(D.code, constant, D.n_clusters)
    out = unstack(values, draws, **{D.cluster: D.labels(D.cluster)})
    if D.q:
        out.attrs = found.attributes
    return out
