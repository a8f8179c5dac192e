"""Finite mixtures: units (clusters or rows) counted, the kernel's tables, and what the classes integrate.

kernels/mixture.py has the equations. A unit belongs to one of K classes; given the class its outcomes follow a regression whose
coefficients, random-effect SDs and residual SD are the class's own or common to all. Classes are integrated out, random
effects within a class too (Gaussian). `mixture_modes` finds the modes of such a density.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import gammaln, log_softmax

from bayeshte.marginal import gaussian, glmm
from bayeshte.marginal.density import Density, Output, lkj_constant, prior_tables
from bayeshte.prior import Prior

#: outcome family: its code in the kernel
FAMILIES = {"student": 0, "logit": 1, "poisson": 3, "gaussian": 4}
CHUNK = 4_000_000  # values held at once


@dataclass(frozen=True)
class Units:
    """The data: outcomes of units, reduced to what the likelihood needs.

    Attributes
    ----------
    family : str
        One of `FAMILIES`.
    first : ndarray (U + 1,) of int
        First row of each unit, and the number of rows.
    table : ndarray
        Gaussian clusters: n, r'r, X'r (p), X'X (p p) of each, r the residuals from coefficients `offset`; else X (p N),
        n (N), s (N).
    offset : ndarray (p,)
    random : ndarray (q,) of int
        Columns of X with random effects.
    W : ndarray (U, m)
        What class membership depends on; a column of ones for plain class probabilities.
    constant : float
        The part of the log-likelihood that depends on no parameter.
    by_row : bool
        Whether every row is a unit.
    cluster : ndarray (N,) of int
        Where rows are units that share random intercepts, the cluster of each; else empty.
    pilot : Pilot, optional
        Where these intercepts are expected.
    """

    family: str
    first: np.ndarray
    table: np.ndarray
    offset: np.ndarray
    random: np.ndarray
    W: np.ndarray
    constant: float
    by_row: bool
    cluster: np.ndarray
    pilot: "Pilot | None" = None

    @property
    def n_clusters(self) -> int:
        """Number of random intercepts that rows share."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    @property
    def summed(self) -> bool:
        """Whether rows enter through cross-products."""
        return self.family == "gaussian" and not self.by_row

    @property
    def together(self) -> bool:
        """Whether the kernel takes all units at once: Gaussian clusters with at most one random effect."""
        return self.summed and len(self.random) < 2

    @cached_property
    def by_column(self) -> np.ndarray:
        """`table` as the kernel wants it: where it takes all clusters at once, the cluster varying fastest."""
        return self.table.reshape(len(self.W), -1).T.ravel() if self.together else self.table

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Units U, columns p, random effects q, membership columns m."""
        return len(self.W), len(self.offset), len(self.random), self.W.shape[1]

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """n (U,), r'r (U,), X'r (U, p), X'X (U, p, p) of clusters with a Gaussian outcome."""
        U, p, *_ = self.shape
        t = self.table.reshape(U, -1)
        return t[:, 0], t[:, 1], t[:, 2 : 2 + p], t[:, 2 + p :].reshape(U, p, p)

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """X (N, p), n (N,), s (N,) and the unit (N,) of the rows otherwise."""
        N, p = self.first[-1], len(self.offset)
        t = self.table.reshape(p + 2, N)
        return t[:p].T, t[p], t[p + 1], np.repeat(np.arange(len(self.W)), np.diff(self.first))


@dataclass(frozen=True)
class Pilot:
    """Coordinates of random intercepts that rows share; see kernels/mixture_intercepts.py.

    Attributes
    ----------
    offset : ndarray (K, p)
    A, g : ndarray (J,)
    B : ndarray (J, K, p)
    """

    offset: np.ndarray
    A: np.ndarray
    g: np.ndarray
    B: np.ndarray

    def table(self) -> np.ndarray:
        """The kernel's table."""
        return np.concatenate([v.ravel() for v in (self.offset, self.A, self.g, self.B)])


def units(
    X: np.ndarray,
    y: np.ndarray,
    unit: np.ndarray,
    W: np.ndarray,
    family: str,
    random: list[int],
    trials: np.ndarray | None = None,
    by_row: bool = False,
    cluster: np.ndarray | None = None,
) -> Units:
    """Rows reduced to cross-products (Gaussian), or sorted by unit, those of a unit with equal X counted together.

    Parameters
    ----------
    X : ndarray (N, p)
    y : ndarray (N,)
    unit : ndarray (N,) of int
        Codes 0 .. U - 1.
    W : ndarray (U, m)
    family : str
    random : list of int
        Columns of X with random effects within a class; Gaussian outcomes only.
    trials : ndarray (N,), optional
        Of binomial outcomes.
    by_row : bool
        Whether every row is a unit, in the order of the rows.
    cluster : ndarray (N,) of int, optional
        Clusters whose random intercepts rows share that are units.
    """
    U, given = len(W), (np.asarray(random, np.int64), W)
    if family == "gaussian" and not by_row:
        m = gaussian.moments(X, y, given[0], unit, U, np.zeros(len(y), np.int64), 1)
        table = np.column_stack([m.n[:, 0], m.rr[:, 0], m.Xr[:, 0], m.XX[:, 0].reshape(U, -1)])
        return Units(
            family, np.zeros(U + 1, np.int64), table.ravel(), m.offset, *given, 0.0, False, np.empty(0, np.int64)
        )
    if by_row:
        n, s, constant = np.ones(len(y)) if trials is None else trials, y, 0.0
        constant = -float(gammaln(y + 1).sum()) if family == "poisson" else 0.0
    elif trials is None:
        r = glmm.collapse(X, y, [], unit, U, family)
        X, n, s, unit, constant = r.X, r.n, r.s, r.cluster, r.constant
    else:
        order = np.argsort(unit, kind="stable")
        X, n, s, unit, constant = X[order], trials[order], y[order], unit[order], 0.0
    if trials is not None:
        constant = float((gammaln(n + 1) - gammaln(s + 1) - gammaln(n - s + 1)).sum())
    first = np.searchsorted(unit, np.arange(U + 1))
    return Units(
        family,
        first,
        np.concatenate([X.T.ravel(), n, s]),
        np.zeros(X.shape[1]),
        *given,
        constant,
        by_row,
        np.empty(0, np.int64) if cluster is None else cluster,
    )


def subset(data: Units, pick: np.ndarray) -> Units:
    """Some of the units, by position."""
    U, p, *_ = data.shape
    if data.summed:
        table, first = data.table.reshape(U, -1)[pick].ravel(), np.zeros(len(pick) + 1, np.int64)
    else:
        sizes = np.diff(data.first)[pick]
        rows = np.concatenate([np.arange(data.first[j], data.first[j + 1]) for j in pick])
        table, first = data.table.reshape(p + 2, -1)[:, rows].ravel(), np.concatenate([[0], np.cumsum(sizes)])
    cluster = data.cluster[pick] if len(data.cluster) else data.cluster
    return replace(data, table=table, first=first, W=data.W[pick], cluster=cluster)


@dataclass(frozen=True)
class Layout:
    """Which parameters each class has of its own.

    Attributes
    ----------
    classes : int
    groups : tuple of (int, bool)
        Of the coefficients: how many, and whether each class has its own.
    own_sd, own_sigma, own_nu : bool
        Whether each class has its own covariance matrix of random effects, residual SD, degrees of freedom.
    """

    classes: int
    groups: tuple[tuple[int, bool], ...]
    own_sd: bool
    own_sigma: bool
    own_nu: bool

    def beta_at(self) -> np.ndarray:
        """Position among the scalars of each coefficient of each class, (K, p)."""
        parts, at = [], 0
        for size, own in self.groups:
            k = np.arange(self.classes)[:, None] * size if own else np.zeros((self.classes, 1), int)
            parts.append(at + k + np.arange(size))
            at += size * (self.classes if own else 1)
        return np.concatenate(parts, axis=1)

    def sizes(self, family: str, q: int, m: int) -> dict[str, int]:
        """Numbers of scalars, in their order."""
        K = self.classes
        return {
            "beta": sum(size * (K if own else 1) for size, own in self.groups),
            "sd": q * (K if self.own_sd else 1),
            "sigma": (K if self.own_sigma else 1) if family in ("gaussian", "student") else 0,
            "nu": (K if self.own_nu else 1) if family == "student" else 0,
            "member": m * (K - 1),
        }


def basis(classes: int) -> np.ndarray:
    """Orthonormal columns whose sums are zero, (K, K - 1): Helmert's contrasts."""
    V = np.zeros((classes, classes - 1))
    for k in range(1, classes):
        V[:k, k - 1], V[k, k - 1] = 1.0, -k
    return V / np.sqrt((V**2).sum(0))


def tables(
    data: Units,
    layout: Layout,
    priors: list[Prior],
    lkj: Prior | None,
    dirichlet: float,
    outputs: tuple[Output, ...],
    bare: bool = False,
) -> Density:
    """The kernel's tables, coordinates as they are.

    Parameters
    ----------
    priors : list of Prior
        Of the scalars: coefficients, SDs of random effects, residual SDs, degrees of freedom, membership coordinates.
    lkj : Prior or None
        Of each correlation matrix; None with fewer than two random effects.
    dirichlet : float
        Concentration of the class probabilities; 0 if membership has coefficients with priors.
    outputs : tuple of Output
        Names and shapes for the scalars in order, Cholesky factors of the correlations, class probabilities or coefficients.
    bare : bool
        The log-likelihood instead, as a function of the same coordinates.
    """
    from bayeshte.marginal.kernels import mixture as kernel  # compiled on first use

    (U, p, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    n, blocks = len(priors), K if layout.own_sd else 1
    d = n + blocks * q * (q - 1) // 2
    at_sd = size["beta"]
    at_sigma = at_sd + size["sd"]
    at_nu = at_sigma + size["sigma"]
    codes, hyper, constant = prior_tables(priors, signed=range(at_sd, at_sigma))
    eta = lkj["eta"] if lkj is not None else 1.0
    if q > 1:
        constant += blocks * lkj_constant(eta, q)
    if dirichlet and K > 1:
        constant += gammaln(K * dirichlet) - K * gammaln(dirichlet) + 0.5 * np.log(K)
    constant = data.constant + (0.0 if bare else constant)
    head = [d, n, K, p, q, blocks, U, data.first[-1], FAMILIES[data.family], m]
    head += [
        at_sd,
        at_sigma,
        size["sigma"],
        at_nu,
        size["nu"],
        at_nu + size["nu"],
        int(bare),
        int(data.by_row),
        data.n_clusters,
    ]
    last = data.cluster if data.by_row else data.first
    ints = np.concatenate([head, codes, layout.beta_at().ravel(), data.random, last]).astype(np.int64)
    floats = np.concatenate(
        [[constant, eta, 0.0 if bare else dirichlet], hyper, np.zeros(d), np.eye(d).ravel()]
        + [
            data.offset,
            basis(K).ravel(),
            (data.W.T if data.by_row or data.together else data.W).ravel(),
            data.by_column,
        ]
        + ([data.pilot.table()] if data.pilot is not None else [])
    )
    n_dim = d + data.n_clusters
    return Density(kernel.log_density_c, kernel.expand_c, ints, floats, n_dim, outputs, at=3 + 4 * n, n_top=d)


@dataclass(frozen=True)
class Parameters:
    """S draws: beta (S, K, p), shape = (sigma, nu) (S, K, 2), factor C (S, K, q, q), membership alpha (S, m, K).

    u (S, J) are random intercepts that rows share which are units, J = 0 without.
    """

    beta: np.ndarray
    shape: np.ndarray
    factor: np.ndarray
    alpha: np.ndarray
    u: np.ndarray

    def __getitem__(self, part: slice) -> "Parameters":
        return replace(self, **{k: v[part] for k, v in vars(self).items()})


def class_log_likelihood(data: Units, t: Parameters) -> np.ndarray:
    """Log-likelihood of every unit in every class, random effects integrated: (S, U, K), constants of counts left out."""
    from bayeshte.marginal.kernels import mixture_clusters, mixture_rows, mixture_units

    if data.by_row:
        U = data.shape[0]
        shift = t.u[:, data.cluster] if len(data.cluster) else np.zeros((len(t.beta), U))
        given = (np.ascontiguousarray(v) for v in (t.beta, t.shape, shift))
        return mixture_rows.row_likelihoods(FAMILIES[data.family], data.table, U, *given)
    contiguous = [np.ascontiguousarray(v) for v in (t.beta, data.offset, t.shape, t.factor)]
    if data.together:
        return mixture_clusters.cluster_likelihoods(data.by_column, len(data.W), data.random, *contiguous)
    given = FAMILIES[data.family], data.table, data.first, data.first[-1], data.random
    return mixture_units.likelihoods(*given, *contiguous)


def summarise(values: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood, mean P(class | data) and mean -sum_c p log p of draws; `values` become probabilities (see the kernel)."""
    from bayeshte.marginal.kernels import mixture_units

    return mixture_units.summarise(values, probability)


def log_prior_probabilities(data: Units, alpha: np.ndarray) -> np.ndarray:
    """Log probabilities of the classes before the outcome is seen, from membership coefficients (S, m, K): (S, U, K)."""
    return log_softmax(np.einsum("um,smk->suk", data.W, alpha), axis=-1)


def _random_terms(data: Units, t: Parameters, label: np.ndarray):
    """C (S, U, q, q), M = I + C'AC and C'h of every unit in its class, labels (S, U)."""
    _, _, Xr, XX = data.moments
    r, s = data.random, np.arange(len(label))[:, None]
    C, w = t.factor[s, label], t.shape[s, label, 0] ** -2.0
    delta = t.beta[s, label] - data.offset
    A = w[..., None, None] * XX[:, r[:, None], r]
    h = w[..., None] * (Xr[:, r] - np.einsum("uap,sup->sua", XX[:, r, :], delta))
    Ct = C.swapaxes(-1, -2)
    return C, np.eye(len(r)) + Ct @ A @ C, (Ct @ h[..., None])[..., 0]


def draw_effects(data: Units, t: Parameters, label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random effects of Gaussian units from their exact distribution given the class of each, (S, U): (S, U, q)."""
    (U, _, q, _), S = data.shape, len(label)
    out = np.empty((S, U, q))
    step = max(1, CHUNK // (U * max(1, q * q)))
    for k in range(0, S, step):
        C, M, Ch = _random_terms(data, t[k : k + step], label[k : k + step])
        L = np.linalg.cholesky(M)
        v = np.linalg.solve(M, Ch[..., None]) + np.linalg.solve(L.swapaxes(-1, -2), rng.normal(size=(*Ch.shape, 1)))
        out[k : k + step] = (C @ v)[..., 0]
    return out


def log_density_of_effects(data: Units, t: Parameters, label: np.ndarray, u: np.ndarray) -> np.ndarray:
    """log p(u | class, y) of every unit: (S, U) for labels (S, U), u (S, U, q)."""
    C, M, Ch = _random_terms(data, t, label)
    v = np.linalg.solve(C, u[..., None])[..., 0] - np.linalg.solve(M, Ch[..., None])[..., 0]
    quad = np.einsum("sua,suab,sub->su", v, M, v)
    log_det = np.linalg.slogdet(M)[1] - 2 * np.linalg.slogdet(C)[1]
    return 0.5 * (log_det - quad - u.shape[-1] * np.log(2 * np.pi))
