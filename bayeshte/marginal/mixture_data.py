"""The data of finite mixtures: outcomes of units (clusters or rows), reduced to what their likelihood needs."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from bayeshte.errors import SpecError
from bayeshte.marginal import gaussian, glmm
from bayeshte.marginal.structural_integration import rule

#: outcome family: its code in the kernel
FAMILIES = {"student": 0, "logit": 1, "poisson": 3, "gaussian": 4}
#: outcome family: nodes of the quadrature for each random effect where there are one, two, three. Few binary outcomes a cluster,
#: whose likelihood is least like a normal density, need most.
NODES = {"student": (9, 7, 5), "logit": (15, 11, 7), "poisson": (9, 7, 5)}
#: of clusters whose rows belong to classes, by the number of effects that these share
NODES_OF_ROWS = (11, 11, 7, 5, 3)
MOST_INTEGRATED, MOST_OF_ROWS = 3, len(NODES_OF_ROWS)


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
        Columns of X with random effects, which are the class's own where units are clusters.
    W : ndarray (U, m)
        What class membership depends on; a column of ones for plain class probabilities.
    constant : float
        The part of the log-likelihood that depends on no parameter.
    by_row : bool
        Whether every row is a unit.
    cluster : ndarray (N,) of int
        Where rows are units that share random effects, the cluster of each; else empty.
    nodes : int
        Of the quadrature that integrates random effects, for each of them; 0 where it is exact, or where they are sampled.
    effects : int
        How many it integrates.
    pilot : Pilot, optional
        Where random effects that rows share are expected.
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
    nodes: int = 0
    effects: int = 0
    pilot: "Pilot | None" = None

    @property
    def n_clusters(self) -> int:
        """Number of clusters with random effects that rows share."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    @property
    def n_sampled(self) -> int:
        """Number of clusters whose random effects are sampled."""
        return 0 if self.nodes else self.n_clusters

    @property
    def last(self) -> np.ndarray:
        """First row of each unit, or of each cluster that its rows share; where effects are sampled, the cluster of each row."""
        if not self.by_row:
            return self.first
        return np.searchsorted(self.cluster, np.arange(self.n_clusters + 1)) if self.nodes else self.cluster

    @cached_property
    def rule(self) -> tuple[np.ndarray, np.ndarray]:
        """Nodes (Q effects) and log weights (Q) of the quadrature."""
        nodes, log_weights = rule(self.effects, self.nodes) if self.nodes else (np.empty(0), np.empty(0))
        return nodes.ravel(), log_weights

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
    """Coordinates of the G effects of a cluster whose rows are units, in P parameters; see kernels/mixture_effects.py.

    Attributes
    ----------
    offset : ndarray (P,)
    A : ndarray (J, G, G)
    g : ndarray (J, G)
    B : ndarray (J, G, P)
    """

    offset: np.ndarray
    A: np.ndarray
    g: np.ndarray
    B: np.ndarray

    def table(self) -> np.ndarray:
        """The kernel's table."""
        return np.concatenate([self.offset, *(np.moveaxis(v, 0, -1).ravel() for v in (self.A, self.g, self.B))])


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
        Columns of X with random effects.
    trials : ndarray (N,), optional
        Of binomial outcomes.
    by_row : bool
        Whether every row is a unit, in the order of the rows.
    cluster : ndarray (N,) of int, optional
        Clusters whose random effects rows share that are units.
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
        0 if by_row or not len(random) else NODES[family][len(random) - 1],
        0 if by_row else len(random),
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


def check_effects(effects: int) -> None:
    """Whether quadrature can integrate so many effects of a cluster whose rows belong to classes."""
    if effects > MOST_OF_ROWS:
        raise SpecError(
            f"The rows of a cluster share {effects} effects over all classes, and quadrature integrates at most {MOST_OF_ROWS}: "
            "there is no likelihood of whole clusters, nor its maximum. Leave out rows, bh.loo(fit, 'row'), or write fewer "
            "classes or shared=('u',)."
        )


def by_cluster(data: Units, effects: int) -> tuple[Units, np.ndarray]:
    """Rows that share effects sorted by their cluster, these to be integrated by quadrature; and the order."""
    check_effects(effects)
    order = np.argsort(data.cluster, kind="stable")
    return replace(subset(data, order), nodes=NODES_OF_ROWS[effects - 1], effects=effects), order
