"""Replicated data of a structural equation model, and the statistics in which they are compared with the observed ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, moments
from bayeshte.marginal.structural_categorical import Response, cuts_at, without_logistic
from bayeshte.marginal.structural_draws import implied_within, normal_noise
from bayeshte.marginal.structural_products import Law, regressors
from bayeshte.marginal.sufficient import Data


def replicate(
    m: Matrices,
    responses: Sequence[Response],
    data: Data,
    t: np.ndarray,
    rng: np.random.Generator,
    these: Mapping[int, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """New Y (draw, row, p) and V (draw, cluster, own), with the covariates and the gaps of the data.

    responses : sequence of Response
        Variables that are cut into categories.
    t : (draw, scalars + correlations).
    these : mapping of int to ndarray (draw, cluster), optional
        Values of between variables, latent means and random slopes, of the clusters in the data; what else varies between
        clusters is drawn given them, but for clusters' own variables beside a product of that level, which stay what they are.
        Without it the clusters are new.
    """
    m = without_logistic(m, responses)
    p, Y = m.within, np.zeros((len(t), *data.Y.shape))
    V = np.zeros((len(t), *data.V.shape))
    slopes = None
    if data.code is not None:
        f = _between(m, data, t, rng, these)
        Y += f[:, data.code, :p]
        V += f[..., p : m.observed]
        slopes = f[..., [s.variable for s in m.slopes]]
    q, context = regressors(data), data.context if data.code is None else np.zeros(len(data.Y), int)
    for c in np.unique(context) if m.products else ():
        rows = np.flatnonzero(context == c)
        Y[:, rows] += Law.of(m, t, c).draw(q[rows], rng)[..., :p]
    for rows, S, K in () if m.products else _within(m, data, t, slopes):
        Y[:, rows] += q[rows] @ K[:, :p, : q.shape[1]].swapaxes(-1, -2)
        Y[:, rows] += normal_noise(S[:, :p, :p], len(rows), rng)
    for r, cuts in zip(responses, cuts_at(responses, t), strict=True):
        values, k = (Y, r.column) if r.column < p else (V, r.column - p)
        latent = values[..., k] + (rng.logistic(size=values.shape[:2]) if r.link == "logit" else 0.0)
        values[..., k] = sum(latent > cut[:, None] for cut in cuts.T)
    return np.where(np.isnan(data.Y), np.nan, Y), np.where(np.isnan(data.V), np.nan, V)


def _between(m: Matrices, data: Data, t: np.ndarray, rng: np.random.Generator, these) -> np.ndarray:
    """Variables of the between level, (draw, cluster, M)."""
    q = np.column_stack([np.ones(len(data.Z)), data.Z])
    f = np.empty((len(t), len(q), m.size))
    known = sorted(these or {})
    rest = [i for i in range(m.size) if i not in known]
    products = any(p.level == 1 for p in m.products)
    if products and known:
        f[:] = 0.0
        f[..., known] = np.stack([these[k] for k in known], axis=-1)
        f[..., m.within : m.observed] = data.V
        return f
    for c in np.unique(data.context):
        mine = np.flatnonzero(data.context == c)
        if products:
            f[:, mine] = Law.of(m, t, c, 1).draw(regressors(data, 1)[mine], rng)
            continue
        S, K = moments(m, t, 1, c)
        mean = q[mine] @ K[..., -q.shape[1] :].swapaxes(-1, -2)
        V = S[:, rest][:, :, rest]
        if known:
            values = np.stack([these[k][:, mine] for k in known], axis=-1)
            across = S[:, rest][:, :, known]
            C = across @ np.linalg.pinv(S[:, known][:, :, known], hermitian=True)
            mean[..., rest] += (values - mean[..., known]) @ C.swapaxes(-1, -2)
            mean[..., known] = values
            V = V - C @ across.swapaxes(-1, -2)
        mean[..., rest] += normal_noise(V, len(mine), rng)
        f[:, mine] = mean
    return f


def _within(m: Matrices, data: Data, t: np.ndarray, slopes: np.ndarray | None) -> Iterator[tuple[np.ndarray, ...]]:
    """Rows, and the covariances (draw, M, M) and mean coefficients (draw, M, Q) that they have."""
    if m.slopes:
        for j in range(len(data.context)):
            yield np.flatnonzero(data.code == j), *implied_within(m, t, slopes[:, j])
        return
    context = data.context if data.code is None else np.zeros(len(data.Y), int)
    for c in np.unique(context):
        yield np.flatnonzero(context == c), *moments(m, t, 0, c)


def statistics(
    structure: Structure, data: Data, labels: Mapping[str, Sequence[str]]
) -> Callable[..., dict[str, float]]:
    """A function of Y (row, p), and with two levels V (cluster, own), with the gaps of the data: what is checked, by name.

    Mean, SD and skewness of every variable; SDs of cluster means; correlations of pairs, within clusters and of cluster means.
    Of categorical variables, those with `labels`: the share of every category; the SD over clusters of the share above the
    first one, which is what correlates between clusters; within, and of variables of clusters, their numbers do.
    """
    within, own = structure.within, structure.own

    def shape(Y: np.ndarray, names: Sequence[str] = within) -> dict[str, float]:
        out = {}
        for v, x in zip(names, Y.T, strict=True):
            out |= _shares(v, labels[v], x) if v in labels else _shape([v], x[:, None])
        return out

    if data.code is None:
        return lambda Y: shape(Y) | _correlations("correlation of {} and {}", within, Y)
    order = np.argsort(data.code, kind="stable")
    starts = np.unique(data.code[order], return_index=True)[1]
    seen = ~np.isnan(data.Y)
    counts = np.add.reduceat(seen[order], starts, dtype=float)
    counts[counts == 0] = np.nan

    above = [k for k, v in enumerate(within) if v in labels]
    spread = [
        f"SD of cluster shares of {v} > {labels[v][0]}" if v in labels else f"SD of cluster means of {v}"
        for v in within
    ]

    def means_of(Y: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.where(seen, Y, 0.0)[order], starts) / counts

    def of(Y: np.ndarray, V: np.ndarray) -> dict[str, float]:
        means = means_of(Y)
        out = shape(Y) | shape(V, own)
        groups = means.copy()
        groups[:, above] = means_of(np.minimum(Y, 1.0))[:, above]
        out |= dict(zip(spread, np.nanstd(groups, axis=0, ddof=1), strict=True))
        out |= _correlations("correlation of {} and {} within clusters", within, Y - means[data.code])
        groups = np.concatenate([groups, V], axis=1)
        return out | _correlations("correlation of {} and {} between clusters", [*within, *own], groups)

    return of


def _shape(names: list[str], values: np.ndarray) -> dict[str, float]:
    out = {}
    for v, x in zip(names, values.T, strict=True):
        x = x[~np.isnan(x)]
        z = x - x.mean()
        square = z * z
        skewness = (square * z).mean() / square.mean() ** 1.5
        out |= {f"mean of {v}": x.mean(), f"SD of {v}": x.std(ddof=1), f"skewness of {v}": skewness}
    return out


def _shares(name: str, labels: Sequence[str], values: np.ndarray) -> dict[str, float]:
    known = values[~np.isnan(values)].astype(int)
    share = np.bincount(known, minlength=len(labels)) / len(known)
    return {f"share of {name} = {label}": s for label, s in zip(labels, share, strict=True)}


def _correlations(label: str, names: list[str], values: np.ndarray) -> dict[str, float]:
    """Correlations of all pairs of columns, each from the rows in which both are there; NaN with one that is constant."""
    seen = ~np.isnan(values)
    z = np.where(seen, values - np.nanmean(values, axis=0), 0.0)
    squares = (z * z).T @ seen
    scale = np.sqrt(squares * squares.T)
    R = np.divide(z.T @ z, scale, out=np.full_like(scale, np.nan), where=scale > 0)
    return {label.format(names[i], names[j]): R[i, j] for j in range(len(names)) for i in range(j)}
