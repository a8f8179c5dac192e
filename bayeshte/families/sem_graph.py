"""The joint PyMC graph of a structural equation model: every latent cluster mean is a random variable.

    between:  (b_j, v_j) ~ N(K_B q_j, S_B),   S = A Psi A',  K = A c,  A = (I - B)^-1
    within:   y_ij ~ N(b_j + K_W q_ij, S_W),   with random slopes s_j in B_W (or c_W) of the cluster, (b_j, v_j, s_j) normal

The cluster means b_j of the variables on both levels come first, random slopes and the clusters' own variables v_j given them.
Rows with different missing values are separate variables of the graph, `y_0`, `y_1`, ...: the missing cells are integrated (with
categorical variables, see sem_graph_categorical.py). Potentials are -inf where Psi is not positive definite or thresholds are not
above a first one that is fixed: priors are truncated there. Priors of covariances that SDs and correlations make are potentials
too.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from bayeshte.families.sem_categorical import responses
from bayeshte.families.sem_graph_categorical import add_categories, add_rows
from bayeshte.families.sem_graph_products import EXPLAINED, add_clusters, add_products
from bayeshte.families.sem_priors import factors
from bayeshte.families.sem_structure import VARIABLES, Structure
from bayeshte.marginal.density import lkj_constant, wishart_constant
from bayeshte.marginal.matrices import Matrices
from bayeshte.marginal.plans import plan, plan_of_clusters
from bayeshte.marginal.structural_categorical import Response, links_of, varying, without_logistic
from bayeshte.marginal.structural_products import Split
from bayeshte.marginal.sufficient import Data
from bayeshte.prior import LKJ, Prior, random_variable


def joint(structure: Structure, design: xr.Dataset, data: Data, m: Matrices, priors: Mapping[str, Prior]) -> pm.Model:
    """See the module's docstring; elements of a variable whose priors are of different kinds are variables of their own."""
    coords = {str(k): v.to_numpy() for k, v in design.coords.items()}
    coords["slopes"] = list(structure.table.slopes)
    coords |= {f"{v}s": structure.elements(v) for v in VARIABLES}
    with pm.Model(coords=coords) as model:
        t = pt.concatenate([pt.ones(1), _parameters(structure, factors(structure, priors))])
        answers = {structure.observed[r.column]: r for r in responses(structure, priors)}
        m = without_logistic(m, answers.values())
        cuts = _cuts(structure, t)
        _add_priors_of_covariances(structure, m, t, priors)
        if m.checks:
            pm.Potential("_positive_definite", _truncation(m, t))
        if above := [
            cuts[v][1] > 0 for v, rows in structure.thresholds.items() if rows[0].fixed is not None and rows[1:]
        ]:
            pm.Potential("_in_order", pt.switch(pt.all(above), 0.0, -np.inf))
        if m.products:
            _add_with_products(structure, design.attrs["cluster"], data, m, t)
        elif structure.two_level:
            b = _add_clusters(structure, design.attrs["cluster"], data, m, t, answers, cuts)
            _add_rows_of_clusters(data, m, t, b, model["slope"] if m.slopes else None, answers, cuts)
        else:
            _add_rows(data, m, t, answers, cuts)
    return model


def _add_with_products(structure: Structure, cluster: str, data: Data, m: Matrices, t) -> None:
    """Clusters, if there are any, and rows of a model with products."""
    moments = [[_given_products(m, t, slots, level) for slots in m.slots] for level in range(m.levels)]
    if not structure.two_level:
        add_products(m, t, moments[0], data, patterns("y", data.Y, data.context))
        return
    b = add_clusters(m, t, moments[1], data, patterns("v", data.V, data.context, every=True))
    if structure.both:
        both = [structure.observed.index(v) for v in structure.both]
        pm.Deterministic("cluster_mean", b[:, both], dims=(cluster, "between_variable"))
    add_products(m, t, moments[0], data, patterns("y", data.Y), b)


def _add_rows(data: Data, m: Matrices, t, answers: Mapping[str, Response], cuts) -> None:
    """Rows of a model of one level, pattern by pattern of missing values."""
    contexts = [_implied(m, t, 0, slots) for slots in m.slots]
    for name, rows, seen in patterns("y", data.Y, data.context):
        S, K = contexts[data.context[rows[0]]]
        q = np.column_stack([np.ones(len(rows)), data.X[rows]])
        if answers:
            how = plan(m, links_of(answers.values()), np.isin(np.arange(m.within), seen))
            add_rows(name, how, m, answers, data.Y[rows], (q @ K.T, S[None]), cuts)
            continue
        pm.MvNormal(name, q @ K[seen].T, cov=S[seen][:, seen], observed=data.Y[np.ix_(rows, seen)])


def _add_clusters(
    structure: Structure, cluster: str, data: Data, m: Matrices, t, answers: Mapping[str, Response], cuts
):
    """Cluster means, random slopes and own variables of the clusters, each given those before; b (cluster, variable within)."""
    p, columns, links = m.within, data.X.shape[1], links_of(answers.values())
    q = np.zeros((len(data.context), m.regressors))
    q[:, 1 + columns :] = np.column_stack([np.ones(len(q)), data.Z])
    contexts = [_implied(m, t, 1, slots) for slots in m.slots]
    S, K = (pt.stack([context[i] for context in contexts])[data.context] for i in (0, 1))
    mean = (q[:, None, :] * K).sum(-1)
    both = [structure.observed.index(v) for v in structure.both]
    slopes = [s.variable for s in m.slopes]
    known, deviation = [], pt.zeros((len(q), 0))
    singular = any(structure.sd("between", v).fixed == 0 for v in structure.both)
    for name, dim, which in (("cluster_mean", "between_variable", both), ("slope", "slopes", slopes)):
        if which:
            centre, cov = _given(S, mean, which, known, deviation, singular)
            value = pm.MvNormal(name, centre, cov=cov, method="svd", dims=(cluster, dim))
            known, deviation = known + which, pt.concatenate([deviation, value - mean[:, which]], axis=1)
    for name, rows, seen in patterns("v", data.V):
        own = [v for v in p + seen if v not in links]
        values = [mean[rows], S[rows], known, deviation[rows]]
        if own:
            centre, cov = _given(S[rows], mean[rows], own, known, deviation[rows], singular)
            v = pm.MvNormal(name, centre, cov=cov, observed=data.V[np.ix_(rows, np.array(own) - p)])
            values[2:] = known + own, pt.concatenate([deviation[rows], v - mean[rows][:, own]], axis=1)
        if len(own) < len(seen):
            _add_categories(name, m, answers, data.V[rows], values, cuts)
    b = pt.zeros((len(q), p))
    return pt.set_subtensor(b[:, both], pm.modelcontext(None)["cluster_mean"]) if both else b


def _add_rows_of_clusters(data: Data, m: Matrices, t, b, slope, answers: Mapping[str, Response], cuts) -> None:
    """Rows given the parts b of their clusters and, unless None, the slopes (cluster, slope)."""
    p, columns = m.within, data.X.shape[1]
    S, K = _implied(m, t, 0, m.slots[0])
    if slope is not None:  # matrices of every cluster
        S, K = (x[data.code] for x in _implied(m, t, 0, m.slots[0], slope))
    for name, rows, seen in patterns("y", data.Y):
        q = np.zeros((len(rows), m.regressors))
        q[:, : 1 + columns] = np.column_stack([np.ones(len(rows)), data.X[rows]])
        if answers:
            fitted = (q[:, None, :] * K[rows]).sum(-1) if slope is not None else q @ K.T
            centre = pt.inc_subtensor(fitted[:, :p], b[data.code[rows]])
            how = plan(m, links_of(answers.values()), np.isin(np.arange(p), seen))
            add_rows(name, how, m, answers, data.Y[rows], (centre, S[rows] if slope is not None else S[None]), cuts)
            continue
        if slope is not None:
            fitted, cov = (q[:, None, :] * K[rows][:, seen]).sum(-1), S[rows][:, seen][:, :, seen]
        else:
            fitted, cov = q @ K[seen].T, S[seen][:, seen]
        centre = b[data.code[rows]][:, seen] + fitted
        pm.MvNormal(name, centre, cov=cov, observed=data.Y[np.ix_(rows, seen)])


def _add_categories(name: str, m: Matrices, answers: Mapping[str, Response], V: np.ndarray, values, cuts) -> None:
    """Categories of clusters with one pattern of missing values; what is known of these deviates from its mean."""
    mean, S, known, deviation = values
    how = plan_of_clusters(m, links_of(answers.values()), ~np.isnan(V[0]), varying(m))
    V = np.column_stack([np.full((len(V), m.within), np.nan), V, np.full((len(V), m.size - m.observed), np.nan)])
    add_categories(
        name, how, answers, V, (mean, S), deviation[:, np.array([*map(known.index, how.continuous)], int)], cuts
    )


def observed_columns(
    structure: Structure, m: Matrices, data: Data, values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The modelled columns (draw, row) from the graph's `y_0`, ..., `v_0`, ... (draw, ., .); NaN where missing.

    With categorical variables a pattern has those that are continuous in causal order, and `y_0[variable]` (draw, row), the
    category's number, of each of the others.
    """
    draws = len(next(iter(values.values())))
    causal = [v for v in m.order[0] if v < m.within and structure.within[v] not in structure.thresholds]
    down = [Split.of(m, level).down for level in range(m.levels)]
    Y, V = (np.full((draws, *x.shape), np.nan) for x in (data.Y, data.V))
    context = data.context if data.code is None else None
    of_clusters = data.context if m.products and structure.two_level else None
    for target, names, pieces in (
        (Y, structure.within, patterns("y", data.Y, context)),
        (V, structure.own, patterns("v", data.V, of_clusters)),
    ):
        for name, rows, seen in pieces:
            categorical = [k for k in seen if names[k] in structure.thresholds]
            for k in categorical:
                target[:, rows, k] = values[f"{name}[{names[k]}]"]
            seen = [k for k in seen if k not in categorical]
            if target is Y and structure.thresholds:
                seen = [k for k in causal if k in seen]
            mine, first = (down[0], 0) if target is Y else (down[1], m.within)
            if explained := [v for v in seen if first + v in mine]:
                seen = [v for v in seen if v not in explained]
                target[:, rows[:, None], explained] = values[name + EXPLAINED]
            if len(seen):
                target[:, rows[:, None], seen] = values[name]
    out = {v: Y[..., k] for k, v in enumerate(structure.within)}
    return out | {v: V[:, data.code, k] for k, v in enumerate(structure.own)}


def _given(S, mean, target: list[int], known: list[int], deviation, singular: bool):
    """Mean and covariance of between variables `target` given those `known`, which deviate from their mean by `deviation`.

    singular : what is known may not vary, or follow from the rest: its covariance matrix has a pseudoinverse only.
    """
    if not known:
        return mean[:, target], S[:, target][:, :, target]
    own, across = S[:, known][:, :, known], S[:, known][:, :, target]
    to = pt.linalg.pinv(own, hermitian=True) @ across if singular else pt.linalg.solve(own, across)
    return mean[:, target] + (to * deviation[:, :, None]).sum(1), S[:, target][:, :, target] - across.mT @ to


def _truncation(m: Matrices, t):
    """0 where the parts of Psi that are no block are positive definite, else -inf."""
    Psi = [_matrix(m, t, level, "psi") for level in range(m.levels)]
    roots = [pt.linalg.cholesky(Psi[level][np.ix_(v, v)], on_error="nan") for level, *v in m.checks]
    return pt.switch(pt.any([pt.isnan(L).any() for L in roots]), -np.inf, 0.0)


def _add_priors_of_covariances(structure: Structure, m: Matrices, t, priors: Mapping[str, Prior]) -> None:
    """Potentials for the densities of what SDs and correlations make."""
    for block, (level, *v) in zip(structure.blocks, m.members, strict=True):
        if block.whole:
            C = _matrix(m, t, level, "psi")[np.ix_(v, v)]
            pm.Potential(f"_{block.key}", _inverse_wishart(C, priors[block.key]))
    for key, (level, i, j) in structure.covariances_in_blocks:
        pm.Potential(f"_{key}", _covariance(_matrix(m, t, level, "psi"), i, j, priors[key]))


def _inverse_wishart(C, prior: Prior):
    """Log density of a covariance matrix, beside the Jacobian and the constant of LKJ(1) in its correlations."""
    q = len(prior["scale"])
    L = pt.linalg.cholesky(C, on_error="nan")
    logdet = 2 * pt.log(pt.diagonal(L)).sum()
    trace = pt.trace(pt.linalg.solve(C, np.array(prior["scale"])))
    return wishart_constant(prior) - lkj_constant(1.0, q) - 0.5 * ((prior["df"] + q + 1) * logdet + trace)


def _covariance(Psi, i: int, j: int, prior: Prior):
    """Log density of a covariance, and its Jacobian in the correlation, sd_i sd_j."""
    jacobian = 0.5 * pt.log(Psi[i, i] * Psi[j, j])
    if prior.name == "Flat":
        return jacobian
    return pm.logp(getattr(pm, prior.name).dist(**dict(prior.params)), Psi[i, j]) + jacobian


def _parameters(structure: Structure, priors: Mapping[str, Prior]):
    """All free numbers in the order of the matrices: scalars, then the correlations of the blocks."""
    parts = []
    blocks = [
        _lower(random_variable(f"_corr_factor_{k}", [LKJ(1) if b.whole else priors[b.key]], size=len(b.variables)))
        for k, b in enumerate(structure.blocks)
    ]
    for variable in VARIABLES:
        mine = [p for p in structure.parameters if p.variable == variable]
        inside = blocks if variable == "corr" else []
        if not mine and not inside:
            continue
        if variable == "threshold" and len(mine) > len(structure.thresholds):
            parts.append(_thresholds(structure, priors))
            continue
        if inside or len({priors[p.key].name for p in mine}) > 1:  # one by one
            alone = [random_variable(f"_{p.key}", [priors[p.key]]) for p in mine]
            parts += [pt.stack(alone)] if alone else []
            pm.Deterministic(
                variable, pt.concatenate([*parts[len(parts) - bool(alone) :], *inside]), dims=f"{variable}s"
            )
            continue
        parts.append(random_variable(variable, [priors[p.key] for p in mine], f"{variable}s"))
    return pt.concatenate([*parts, *blocks])


def _thresholds(structure: Structure, priors: Mapping[str, Prior]):
    """Thresholds as order statistics of their common prior, in the order of the parameters."""
    found = {}
    for rows in structure.thresholds.values():
        free = [structure.label(r) for r in rows if r.fixed is None]
        raw = [random_variable(f"_threshold[{e}]", [priors[f"threshold[{e}]"]]) for e in free]
        ordered = pt.sort(pt.stack(raw)) if len(raw) > 1 else raw
        found |= {e: ordered[k] for k, e in enumerate(free)}
    values = pt.stack([found[e] for e in structure.elements("threshold")])
    return pm.Deterministic("threshold", values, dims="thresholds")


def _cuts(structure: Structure, t) -> dict:
    """Thresholds of every categorical variable, counted from the first."""
    out = {}
    for name, rows in structure.thresholds.items():
        tau = [t[structure.place(r)] if r.fixed is None else r.fixed for r in rows]
        out[name] = pt.stack([v - tau[0] for v in tau])
    return out


def _lower(factor):
    """Correlations of a block, rows of the lower triangle, from its Cholesky factor."""
    R = factor @ factor.T
    return R[np.tril_indices(factor.type.shape[0], -1)]


def _matrix(m: Matrices, t, level: int, name: str):
    """Psi, B or c of a level."""
    out = pt.zeros((m.size, m.regressors if name == "c" else m.size))
    for e in m.entries:
        if (e.level, e.matrix) == (level, name):
            out = pt.inc_subtensor(out[e.row, e.column], e.coef * (t[list(e.factors)].prod() if e.factors else 1.0))
    return out


def _implied(m: Matrices, t, level: int, values: np.ndarray, slopes=None):
    """S and K of a level in a context; with `slopes` (cluster, slope) those of every cluster."""
    t = pt.concatenate([t, values])
    Psi, B, c = (_matrix(m, t, level, name) for name in ("psi", "beta", "c"))
    if slopes is not None:
        B, c = (pt.tile(x, (slopes.shape[0], 1, 1)) for x in (B, c))
        for k, s in enumerate(m.slopes):
            if s.matrix == "beta":
                B = pt.inc_subtensor(B[:, s.row, s.column], slopes[:, k])
            else:
                c = pt.inc_subtensor(c[:, s.row, s.column], slopes[:, k])
    A = pt.linalg.inv(pt.eye(m.size) - B)
    return A @ Psi @ A.mT, A @ c


def _given_products(m: Matrices, t, values: np.ndarray, level: int):
    """S and K of what descends from no product and the residuals of the rest, B and c of the rest, of a level in a context."""
    split = Split.of(m, level)
    return *_implied(split.m, t, level, values), *(
        _matrix(split.m, pt.concatenate([t, values]), level + m.levels, name) for name in ("beta", "c")
    )


def patterns(
    name: str, values: np.ndarray, context: np.ndarray | None = None, every: bool = False
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(variable of the graph, rows, columns seen) of every pattern of values, context by context; with none only if `every`."""
    context = np.zeros(len(values), int) if context is None else context
    seen, which = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    for k, columns in enumerate(seen):
        for c in np.unique(context):
            rows = np.flatnonzero((which.ravel() == k) & (context == c))
            if (every or columns.any()) and len(rows):
                yield f"{name}_{k}_{c}" if context.any() else f"{name}_{k}", rows, np.flatnonzero(columns)
