"""Random slopes with other than Gaussian outcomes: rows counted by pattern, a pilot fit, the kernel's tables.

The random effects are sampled, in coordinates that the pilot fit makes easy. For every cluster j it gives the
information A_j = sum w z z' about u_j, B_j = sum w z x', and g_j = A_j u_j + sum score z at the mode of u_j, with the
weights w of iteratively reweighted least squares (McCullagh & Nelder, 1989, section 2.5); kernels/information.py says what is
done with them. With t = 0 the kernel is close to Laplace's approximation of the marginal posterior of the other
parameters; its mode is that of penalised quasi-likelihood (Breslow & Clayton, 1993), as the weights are held fixed.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from bayeshte.marginal.density import (
    Density,
    Output,
    is_even,
    lkj_constant,
    precondition,
    prior_tables,
    unconstrain,
)
from bayeshte.marginal.glmm_outcomes import (
    COUNTS,
    FAMILIES,
    ONE_BY_ONE,
    ORDERED,
    RESIDUAL,
    even_split,
    latent_scores,
    log_likelihood,
    score_and_weight,
    shape_of_skewness,
)
from bayeshte.prior import Prior

ROUNDS = 4  # of the pilot fit


@dataclass(frozen=True)
class Rows:
    """Rows sorted by cluster; for binary and count outcomes, rows with equal x in a cluster are one.

    Attributes
    ----------
    X : ndarray (N, p)
    n, s : ndarray (N,)
        Number of observations, and the sum of their outcomes.
    cluster : ndarray (N,) of int
    random : ndarray (q,) of int
        Which columns of X have random effects.
    n_clusters : int
    family : str
    constant : float
        The part of the log-likelihood that depends on no parameter.
    lower : int
        Of an ordered outcome the number of inner categories below the threshold with the most even split.
    """

    X: np.ndarray
    n: np.ndarray
    s: np.ndarray
    cluster: np.ndarray
    random: np.ndarray
    n_clusters: int
    family: str
    constant: float
    lower: int = 0

    @property
    def Z(self) -> np.ndarray:
        """Columns with random effects, (N, q)."""
        return self.X[:, self.random]

    def by_cluster(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Sums over each cluster's rows of the outer products of left (N, a) and right (N, b): (J, a, b)."""
        out = np.empty((self.n_clusters, left.shape[1], right.shape[1]))
        for a, b in np.ndindex(*out.shape[1:]):
            out[:, a, b] = np.bincount(self.cluster, left[:, a] * right[:, b], minlength=self.n_clusters)
        return out


def collapse(
    X: np.ndarray, y: np.ndarray, random: np.ndarray, cluster: np.ndarray, n_clusters: int, family: str
) -> Rows:
    """Rows equal in cluster and X become one, with their number and the sum of y; those with a residual are only sorted.

    Where the sum is not sufficient, they are equal in y too, and that is in the place of the sum.
    """
    each = family in ONE_BY_ONE
    key = np.arange(len(y)) if family in RESIDUAL else np.unique(cluster, return_inverse=True)[1]
    for column in (y, *X.T) if each else X.T:
        if key.max() == len(y) - 1:  # all rows differ
            break
        values, code = np.unique(column, return_inverse=True)
        key = np.unique(key * len(values) + code, return_inverse=True)[1]
    first = np.empty(key.max() + 1, np.int64)
    first[key[::-1]] = np.arange(len(y))[::-1]
    order = np.argsort(cluster[first], kind="stable")
    at = first[order]
    return Rows(
        X=X[at],
        n=np.bincount(key)[order].astype(float),
        s=y[at] if each else np.bincount(key, y)[order],
        cluster=cluster[at],
        random=np.asarray(random, np.int64),
        n_clusters=n_clusters,
        family=family,
        constant=-float(gammaln(y + 1).sum()) if family in COUNTS else 0.0,
        lower=even_split(y) if family in ORDERED else 0,
    )


def density(
    X: np.ndarray,
    y: np.ndarray,
    random: np.ndarray,
    cluster: np.ndarray,
    n_clusters: int,
    family: str,
    priors: list[Prior],
    lkj: Prior | None,
    outputs: tuple[Output, ...],
) -> Density:
    """The kernel's tables, parametrised by information and preconditioned at a pilot fit.

    Each of a few rounds finds the modes of the random effects given the parameters, makes the tables there, and then
    finds the mode and the curvature of the parameters at t = 0.

    Parameters
    ----------
    X : ndarray (N, p)
    y : ndarray (N,)
    random : ndarray (q,) of int
        Columns of X with random effects; empty for a model without clusters.
    cluster : ndarray (N,) of int
        Codes 0 .. n_clusters - 1.
    family : str
        One of `FAMILIES`.
    priors : list of Prior
        Of beta (p), sd (q) and the parameters of the outcome, `SHAPES`.
    lkj : Prior or None
        Prior of the correlation matrix; None with fewer than two random effects.
    outputs : tuple of Output
        Names and shapes of the scalars in order, the (q, q) Cholesky factor of the correlations, and the random effects
        (J, q).
    """
    n_scalars, p, q = len(priors), X.shape[1], len(random)
    if q == 0:
        cluster, n_clusters = np.zeros(len(y), np.int64), 1
    rows = collapse(X, y, random, cluster, n_clusters, family)

    def tables(theta, A, g, B):
        return _tables(rows, theta, A, g, B, priors, lkj, outputs)

    start, unit = _guess(rows, priors)
    out = tables(np.ones(n_scalars), *(np.zeros((n_clusters, q, k)) for k in (q, 1, p)))
    out = out.with_coordinates(start, np.diag(unit))
    for _ in range(ROUNDS if q else 1):
        values = np.concatenate([v.ravel() for v in out.parameters(np.zeros(out.n_dim)).values()])
        theta, corr = values[:n_scalars], values[n_scalars : n_scalars + q * q].reshape(q, q)
        out = precondition(tables(theta, *_pilot(rows, theta, corr)), start, unit)
        out = _narrowed(out, len(y), p + q + 1) if family == "skew normal" else out
        start = out.floats[out.at : out.at + out.n_top]
        scale = out.floats[out.at + out.n_top : out.at + out.n_top * (out.n_top + 1)].reshape(out.n_top, -1)
        unit = np.sqrt((scale**2).sum(1))
    return out


def _narrowed(out: Density, n: int, k: int) -> Density:
    """The scale of alpha, coordinate k, made that of the likelihood where a mode near zero hides it.

    At alpha = 0 the first derivatives of the log-likelihood that do not vanish are those of its sixth order: it is about
    -n g^2 / 12 with the skewness g = (4 - pi) / 2 (2 / pi)^(3/2) alpha^3, so that sqrt(6 / n) is the SD of g.
    """
    d = out.n_top
    centre, scale = out.floats[out.at : out.at + d], out.floats[out.at + d : out.at + d * (d + 1)].reshape(d, d).copy()
    wide = (np.sqrt(6 / n) / ((4 - np.pi) / 2 * (2 / np.pi) ** 1.5)) ** (1 / 3)
    sd = np.sqrt((scale[k] ** 2).sum())
    if abs(centre[k]) < 1 and sd > wide:
        scale[k] *= wide / sd
    return out.with_coordinates(centre, scale)


def _tables(rows: Rows, theta, A, g, B, priors, lkj, outputs) -> Density:
    """The density in the coordinates that A (J, q, q), g (J, q, 1), B (J, q, p) at theta give, not preconditioned."""
    from bayeshte.marginal.kernels import glmm as kernel  # compiled on first use

    (N, p), q, J = rows.X.shape, len(rows.random), rows.n_clusters
    n_scalars = len(priors)
    d = n_scalars + q * (q - 1) // 2
    codes, hyper, constant = prior_tables(priors, signed=range(p, p + q))
    lower = _lower(rows, priors)
    eta = lkj["eta"] if lkj is not None else 1.0
    constant += rows.constant + (lkj_constant(eta, q) if q > 1 else 0.0) - 0.5 * J * q * np.log(2 * np.pi)
    first = np.searchsorted(rows.cluster, np.arange(J + 1))
    ints = np.concatenate([[d, n_scalars, q, p, J, N, FAMILIES[rows.family], lower], codes, rows.random, first])
    by_cluster = np.concatenate([A.reshape(J, -1), g.reshape(J, -1), B.reshape(J, -1)], axis=1).T.ravel()
    offset = [
        theta[0] - theta[p + q : p + q + lower].sum(),
        *theta[1:p],
        theta[p + q] if rows.family in RESIDUAL else 1.0,
    ]
    floats = np.concatenate(
        [[constant, eta], hyper, np.zeros(d), np.eye(d).ravel(), offset, by_cluster, rows.X.T.ravel(), rows.n, rows.s]
    )
    return Density(
        log_density=kernel.log_density_c,
        expand=kernel.expand_c,
        ints=ints.astype(np.int64),
        floats=floats,
        n_dim=d + J * q,
        outputs=outputs,
        at=2 + 4 * n_scalars,
        n_top=d,
    )


def _lower(rows: Rows, priors: list[Prior]) -> int:
    """How many widths the coordinate of the intercept is without: none if a prior bounds the intercept or a width."""
    first = rows.X.shape[1] + len(rows.random)
    plain = priors[0].support == "real" and all(v.support == "positive" for v in priors[first : first + rows.lower])
    return rows.lower if plain else 0


def _pilot(rows: Rows, theta: np.ndarray, corr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (J, q, q), g (J, q, 1) and B (J, q, p) at the modes of the random effects given the parameters.

    Newton's method on y, u = C y, in all clusters at once; a step that makes a cluster's posterior worse is halved.
    `theta` are the scalars (beta, sd, shape), `corr` is the Cholesky factor of the correlations.
    """
    p, q, J, Z = rows.X.shape[1], len(rows.random), rows.n_clusters, rows.Z
    C = theta[p : p + q, None] * corr
    shape = theta[p + q :]
    fixed = rows.X @ theta[:p]

    def evaluate(y):
        eta = fixed + (Z * (y @ C.T)[rows.cluster]).sum(1)
        ll = log_likelihood(eta, rows.n, rows.s, rows.family, shape)
        score, weight = score_and_weight(eta, rows.n, rows.s, rows.family, shape)
        value = np.bincount(rows.cluster, ll, minlength=J) - 0.5 * (y**2).sum(1)
        return value, rows.by_cluster(Z, score[:, None]), weight[:, None]

    y, move, best = np.zeros((J, q)), np.zeros((J, q)), np.full(J, -np.inf)
    for _ in range(50):
        with np.errstate(over="ignore", invalid="ignore"):  # a step may be far too long
            value, score, weight = evaluate(y + move)
            A = rows.by_cluster(weight * Z, Z)
        better = value >= best
        y, best = np.where(better[:, None], y + move, y), np.where(better, value, best)
        A, score = (np.where(better[:, None, None], v, 0.0) for v in (A, score))
        newton = np.linalg.solve(np.eye(q) + C.T @ A @ C, C.T @ score - y[..., None])[..., 0]
        move = np.where(better[:, None], newton, move / 2)
        if np.abs(move).max(initial=0.0) < 1e-3:
            break
    _, score, weight = evaluate(y)
    A = rows.by_cluster(weight * Z, Z)
    return A, A @ (y @ C.T)[..., None] + score, rows.by_cluster(weight * Z, rows.X)


def _guess(rows: Rows, priors: list[Prior]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates near the mode: least squares on the link scale, half its residual SD for the random effects' SDs."""
    p, q = rows.X.shape[1], len(rows.random)
    n, s = rows.n, rows.s
    match rows.family:
        case "logit":
            outcome = np.log((s + 0.5) / (n - s + 0.5))
        case "probit":
            outcome = 0.6 * np.log((s + 0.5) / (n - s + 0.5))
        case "poisson":
            outcome = np.log((s + 0.5) / n)
        case "negative binomial":
            outcome = np.log(s + 0.5)
        case "ordered logit" | "ordered probit":
            outcome, widths = latent_scores(s, n, rows.family)
        case _:
            outcome = s
    norm = np.sqrt(n @ rows.X**2)
    weight, residual = n, 1.0
    for _ in range(10 if rows.family == "student" else 1):  # a t with 4 degrees of freedom, against outliers
        root = np.sqrt(weight)[:, None]
        beta = np.linalg.lstsq(root * rows.X / norm, root[:, 0] * outcome, rcond=None)[0] / norm
        if rows.family == "student":
            error = outcome - rows.X @ beta
            residual = max(np.median(np.abs(error)) / 0.7, 1e-300)
            weight = 5 / (4 + (error / residual) ** 2)
    match rows.family:
        case "student":
            shape = [residual, 8.0]
        case "skew normal":
            error = outcome - rows.X @ beta
            residual = max(error.std(), 1e-300)
            shape = [residual, shape_of_skewness(float(((error - error.mean()) ** 3).mean() / residual**3))]
        case "negative binomial":
            shape = [2.0]
        case "ordered logit" | "ordered probit":
            shape = widths
        case _:
            shape = []
    spread = np.maximum(norm[rows.random] / np.sqrt(n.sum()), 1e-300)
    values = np.concatenate([beta, residual / 2 / spread, shape])
    unit = np.concatenate([2 * residual / norm, np.full(len(priors) - p, 0.3), np.ones(q * (q - 1) // 2)])
    start = np.zeros_like(unit)
    for k, (prior, value) in enumerate(zip(priors, values, strict=True)):
        start[k] = unconstrain(prior, value)
        if p <= k < p + q and is_even(prior):
            start[k], unit[k] = value, 0.3 * value
        elif prior.support == "interval":
            unit[k] = 0.3
    start[0] -= np.exp(start[p + q : p + q + _lower(rows, priors)]).sum()
    if rows.family == "skew normal":
        unit[p + q + 1] = 1.0
    return start, unit
