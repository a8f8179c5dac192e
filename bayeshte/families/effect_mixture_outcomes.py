"""Potential outcomes of an EffectMixture, draw by draw: expected outcomes over classes, the likelihood, new outcomes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats
from scipy.special import betaln, expit, gammaln, softmax

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.errors import SpecError, near
from bayeshte.families import effect_mixture_classes as latent_classes
from bayeshte.families.effect_mixture_arrays import INTERCEPT, Arrays, linear_predictor, member_grid
from bayeshte.labelled import flatten, indicators, unstack
from bayeshte.marginal import glmm_outcomes, mixture_draws
from bayeshte.marginal.mixture_data import by_cluster
from bayeshte.marginal.mixture_draws import Parameters

CHUNK = 4_000_000  # values held at once
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


def mean_outcome(family: str, eta: np.ndarray) -> np.ndarray:
    """E(Y | eta), of binomial outcomes the chance of an event; of Student t outcomes the location."""
    return eta if family == "gaussian" else glmm_outcomes.inverse_link(eta, family)


class Coefficients:
    """Draws of gamma0, gamma1, gamma2 in every class, chains stacked; absent ones have size zero."""

    def __init__(self, D: Arrays, draws: xr.Dataset):
        self.D = D
        S, K = draws.sizes["chain"] * draws.sizes["draw"], D.classes
        sizes = {"gamma0": (), "gamma1": (len(D.contrasts),), "gamma2": (D.X.shape[1],)}
        self.values = [
            D.by_class(draws, v) if v in D.coefficients else np.zeros((S, K, *size)) for v, size in sizes.items()
        ]

    def in_class(self, s: slice, c: int, T: np.ndarray, X: np.ndarray, random: np.ndarray | float = 0.0) -> np.ndarray:
        """eta of rows had they been in class c, with their random parts (draw, row): (draw, row)."""
        g0, g1, g2 = (v[s, c][:, None] for v in self.values)
        return linear_predictor(T, X, g0, g1, g2, random, 0.0)

    def in_own(self, s: slice, label: np.ndarray, u: np.ndarray | None, code: np.ndarray, T, X) -> np.ndarray:
        """eta of rows given labels (draw, unit) and random effects (draw, unit, q) of their units: (draw, row)."""
        at = np.arange(len(label))[:, None], label[:, code]
        g0, g1, g2 = (v[s][at] for v in self.values)
        return linear_predictor(T, X, g0, g1, g2, 0.0 if u is None else random_part(self.D, u, code, T), 0.0)


def random_columns(D: Arrays, T: np.ndarray) -> np.ndarray:
    """What multiplies the random effects of rows in arms T: (row, q)."""
    return np.stack([np.ones(len(T)) if v == INTERCEPT else T[:, D.contrasts.index(v)] for v in D.varying], axis=1)


def random_part(D: Arrays, u: np.ndarray, code: np.ndarray, T: np.ndarray) -> np.ndarray:
    """U0 + U1' T of rows, from random effects (draw, cluster, q) and the cluster of each row: (draw, row)."""
    return sum(u[:, code, k] * column for k, column in enumerate(random_columns(D, T).T))


def _pieces(S: int, N: int):
    step = max(1, CHUNK // max(1, N))
    return (slice(k, min(k + step, S)) for k in range(0, S, step))


def expected(spec, draws, design, arm, clusters, frame, weight) -> xr.DataArray:
    """See `EffectMixture.expected`."""
    if clusters not in ("these", "new", "average"):
        raise SpecError(f"clusters={clusters!r}: write 'these', 'new' or 'average'.")
    D = Arrays(design)
    T, X, W, code = _population(spec, D, arm, clusters, frame)
    own = clusters == "these" and D.unit != "row"
    if weight is not None and (own or clusters != "these"):
        same = code if own or D.logit_membership else np.zeros_like(code)
        T, X, W, code, weight = _reduced(D, T, X, W, code, same, np.asarray(weight, float))
    coefficients = Coefficients(D, draws)
    S, N = draws.sizes["chain"] * draws.sizes["draw"], len(X)
    out = np.empty((S, N if weight is None else len(weight)))
    t, label = D.parameters(draws), labels(D, draws) if own else None
    u = flatten(draws["u"]) if own and D.q else None
    for s in _pieces(S, N * D.classes):
        if own:
            eta = coefficients.in_own(s, label[s], None if u is None else u[s], code, T, X)
            values = mean_outcome(D.family, eta)
        else:
            if clusters == "these":
                p = latent_classes.class_probabilities(D, t[s])
            else:
                p = _prior(W, t.alpha[s], t.sd_member[s] if D.varies and clusters == "new" else None)
            means = _means(D, t[s], coefficients, s, clusters, T, X)
            values = sum(p[..., c] * mean for c, mean in enumerate(means))
        out[s] = values if weight is None else values @ np.asarray(weight, float).T
    if weight is not None:
        return unstack(out, draws, group=np.arange(out.shape[1]))
    return unstack(out, draws, row=design["row"].to_numpy() if frame is None else frame.index.to_numpy())


def _means(D: Arrays, t: Parameters, coefficients: Coefficients, s: slice, clusters: str, T, X):
    """Expected outcome of rows in one class after the other: random effects as drawn, integrated, or zero."""
    shift: np.ndarray | float = 0.0
    these = D.q > 0 and clusters == "these"
    integrated = D.q and clusters == "new" and D.family in ("logit", "poisson")
    for c in range(D.classes):
        if these and (c == 0 or D.own_effects):
            shift = random_part(D, t.u[:, c], D.design["cluster_code"].to_numpy(), T)
        if not integrated:
            yield mean_outcome(D.family, coefficients.in_class(s, c, T, X, shift))
        else:
            sd = np.sqrt(((random_columns(D, T) @ t.factor[:, c]) ** 2).sum(-1))  # of the random part of each row
            nodes = zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True)
            yield sum(w * mean_outcome(D.family, coefficients.in_class(s, c, T, X, z * sd)) for z, w in nodes)


def _reduced(D: Arrays, T, X, W, code, same, weight):
    """Fewer rows with the same averages: means of rows that are the `same` where the outcome is linear, else distinct rows."""
    if D.family not in ("gaussian", "student"):
        _, first, position = np.unique(np.column_stack([same, T, X]), axis=0, return_index=True, return_inverse=True)
        summed = np.stack([np.bincount(position.ravel(), w, len(first)) for w in weight])
        return T[first], X[first], W[first], code[first], summed
    parts, columns_of = [], []
    for w in weight:
        total = np.bincount(same, w)
        keep = np.flatnonzero(total > 0)
        first = np.zeros(len(total), np.int64)
        first[same[::-1]] = np.arange(len(same))[::-1]

        def mean(values, w=w, total=total, keep=keep):
            sums = [np.bincount(same, w * v)[keep] / total[keep] for v in values.T]
            return np.stack(sums, axis=1) if sums else np.empty((len(keep), 0))

        parts.append((mean(T), mean(X), W[first[keep]], code[first[keep]]))
        columns_of.append(total[keep])
    joined = [np.concatenate(v) for v in zip(*parts, strict=True)]
    sizes = np.cumsum([0, *map(len, columns_of)])
    summed = np.zeros((len(weight), sizes[-1]))
    for g, v in enumerate(columns_of):
        summed[g, sizes[g] : sizes[g + 1]] = v
    return *joined, summed


def _prior(W: np.ndarray, alpha: np.ndarray, sd: np.ndarray | None = None) -> np.ndarray:
    """Chances of the classes before the outcome is seen, in new clusters if they vary with an `sd`: (draw, row, class)."""
    p = softmax(np.einsum("rm,smk->srk", W, alpha), axis=-1)
    if sd is None:
        return p
    weights, odds = member_grid(alpha.shape[-1], sd)
    out = np.zeros_like(p)
    for k, w in enumerate(weights):
        values = p * np.exp(odds[:, k, None])
        out += w / values.sum(-1, keepdims=True) * values
    return out


def labels(D: Arrays, draws: xr.Dataset) -> np.ndarray:
    """Class of every cluster as drawn, (draw, unit)."""
    if "label" in draws:
        return flatten(draws["label"]).astype(np.int64)
    return np.zeros((draws.sizes["chain"] * draws.sizes["draw"], D.n_units), np.int64)


def _population(spec, D: Arrays, arm, clusters: str, frame: pd.DataFrame | None):
    """T, X, W and unit of the rows to predict for: the data's own, or those of another frame coded in the same way."""
    arms = D.labels(D.arms) if D.contrasts else []
    if arm is not None and arm not in arms:
        raise SpecError(f"arm={arm!r} is not an arm.{near(arm, arms)}")
    if frame is None:
        X, W, code, own = D.X, D.W[D.code], D.code, D.arm
    else:
        old = columns.raw_frame(D.design)
        used = [c for f in (spec.covariates, spec.membership) for c in formulas.formula_columns(f, old)]
        columns.check_frame(frame, used)
        frame, _ = columns.complete_rows(frame, [c for c in frame if c in {*used, D.treatment, D.cluster}], "error")
        X = formulas.Terms(spec.covariates, old).on(frame)
        W = np.column_stack([np.ones(len(frame)), formulas.Terms(spec.membership, old).on(frame)])
        code = own = np.zeros(len(frame), np.int64)
        if clusters == "these":
            if D.unit == "row":
                raise SpecError(
                    "The class of individuals that are not in the data is known by its chances only: write clusters='new'."
                )
            code = columns.codes_of(
                frame, D.cluster, D.labels(D.cluster), "clusters='new' predicts for clusters outside the data"
            )
        if arms and arm is None:
            own = columns.codes_of(frame, D.treatment, arms, "arm= predicts for one arm")
    if arm is not None:
        own = np.full(len(X), arms.index(arm))
    return indicators(own, len(D.contrasts)), X, W, code


def row_constants(D: Arrays) -> np.ndarray:
    """The part of every row's log-likelihood that depends on no parameter."""
    if D.family == "poisson":
        return -gammaln(D.y + 1)
    if D.trials is not None:
        return -np.log(D.trials + 1) - betaln(D.y + 1, D.trials - D.y + 1)
    return np.zeros(len(D.y))


def log_likelihood(draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
    """Pointwise log-likelihood; see `ModelSpec.log_likelihood`."""
    D = Arrays(design)
    if unit == "cluster" and (D.effect_dims or D.units.nodes):
        return _integrated(D, draws)
    if unit == "cluster" or D.unit == "row":
        values = latent_classes.unit_log_likelihood(D, draws) + np.bincount(D.code, row_constants(D), D.n_units)
        if D.unit != "row":
            return unstack(values, draws, **{D.cluster: D.labels(D.cluster)})
        if unit == "row" or not D.cluster:
            return unstack(values, draws, row=design["row"].to_numpy())
        code = design["cluster_code"].to_numpy()
        summed = np.stack([np.bincount(code, v, design.sizes[D.cluster]) for v in values])
        return unstack(summed, draws, **{D.cluster: D.labels(D.cluster)})
    label, u = labels(D, draws), flatten(draws["u"]) if D.q else None
    eta = Coefficients(D, draws).in_own(slice(None), label, u, D.code, D.T, D.X)
    sigma, nu = (_in_own(D, draws, v, label) for v in ("sigma", "nu"))
    if D.family == "gaussian":
        values = stats.norm.logpdf(D.y, eta, sigma)
    elif D.family == "student":
        values = stats.t.logpdf(D.y, nu, eta, sigma)
    elif D.trials is not None:
        values = D.y * eta - D.trials * np.logaddexp(0, eta) + row_constants(D)
    else:
        values = glmm_outcomes.log_likelihood_rows(eta, D.y, D.family)
    return unstack(values, draws, row=design["row"].to_numpy())


def _integrated(D: Arrays, draws: xr.Dataset) -> xr.DataArray:
    """By cluster, classes and random effects integrated by quadrature; see `Fit.cluster_log_likelihood`."""
    data = by_cluster(D.units, D.layout.effects(D.q))[0] if D.unit == "row" else D.units
    found = mixture_draws.log_likelihood_of_clusters(data, D.parameters(draws))
    constant = np.bincount(D.design["cluster_code"], row_constants(D), found.values.shape[1])
    return unstack(found.values + constant, draws, **{D.cluster: D.labels(D.cluster)}).assign_attrs(found.attributes)


def _in_own(D: Arrays, draws: xr.Dataset, name: str, label: np.ndarray) -> np.ndarray | None:
    """A parameter of the class of every row, (draw, row); None if the model has no such parameter."""
    if name not in draws:
        return None
    return D.by_class(draws, name)[np.arange(len(label))[:, None], label[:, D.code]]


def _of_new_clusters(D: Arrays, t: Parameters, rng: np.random.Generator) -> Parameters:
    """Parameters with other effects of clusters that rows share, from their distributions."""
    u = (t.factor[:, : t.u.shape[1], None] @ rng.normal(size=(*t.u.shape, 1)))[..., 0]
    z = rng.normal(size=t.u_member.shape)
    return replace(t, u=u, u_member=np.sqrt(0.5) * t.sd_member[:, None, None] * (z - z.mean(-1, keepdims=True)))


def replicates(draws: xr.Dataset, design: xr.Dataset, seed: int, clusters: str) -> xr.Dataset:
    """New outcomes `y` (draw, row), one data set for each of the draws, which are one chain."""
    D, rng = Arrays(design), np.random.default_rng(seed)
    t, u, s = D.parameters(draws), None, np.arange(draws.sizes["draw"])[:, None]
    if clusters == "new":
        t = _of_new_clusters(D, t, rng)
    if clusters == "these" and D.unit != "row":
        label, u = labels(D, draws), flatten(draws["u"]) if D.q else None
    else:
        label = latent_classes.drawn(np.exp(mixture_draws.log_prior_probabilities(D.units, t)), rng)
        if D.q and D.unit != "row":
            u = (t.factor[s, label] @ rng.normal(size=(*label.shape, D.q, 1)))[..., 0]
    eta = Coefficients(D, draws).in_own(slice(None), label, u, D.code, D.T, D.X)
    if D.q and D.unit == "row":
        of_rows = t.u[s, label if D.own_effects else 0, design["cluster_code"].to_numpy()]
        eta += (of_rows * random_columns(D, D.T)).sum(-1)
    sigma, nu = (_in_own(D, draws, v, label) for v in ("sigma", "nu"))
    match D.family:
        case "gaussian":
            y = rng.normal(eta, sigma)
        case "student":
            y = eta + sigma * rng.standard_t(nu)
        case "poisson":
            y = rng.poisson(np.exp(eta)).astype(float)
        case _:
            trials = np.ones(len(D.y), int) if D.trials is None else D.trials.astype(int)
            y = rng.binomial(trials, expit(eta)).astype(float)
    return xr.Dataset({"y": (("draw", "row"), y)})
