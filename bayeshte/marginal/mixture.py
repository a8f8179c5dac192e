"""Finite mixtures: which parameters classes have of their own, and the tables of the kernel.

kernels/mixture.py has the equations. A unit belongs to one of K classes; given the class its outcomes follow a regression whose
coefficients, random-effect SDs and residual SD are the class's own or common to all. Classes are integrated out, random
effects within a class too. `mixture_modes` finds the modes of such a density.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from bayeshte.marginal.density import Density, Output, lkj_constant, prior_tables
from bayeshte.marginal.mixture_data import FAMILIES, Units
from bayeshte.prior import Flat, Gamma, HalfNormal, LogNormal, Prior


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
    own_effects, varies : bool
        Where rows are units that clusters share: whether a cluster has other random effects in each class; whether class
        probabilities vary between clusters.
    """

    classes: int
    groups: tuple[tuple[int, bool], ...]
    own_sd: bool
    own_sigma: bool
    own_nu: bool
    own_effects: bool = False
    varies: bool = False

    def effects(self, q: int) -> int:
        """Number of effects that the rows of a cluster share."""
        return q * (self.classes if self.own_effects else 1) + (self.classes - 1 if self.varies else 0)

    def plain(self) -> "Layout":
        """The same with random effects that are alike in all classes, and class probabilities alike in all clusters."""
        return replace(self, own_sd=self.own_sd and not self.own_effects, own_effects=False, varies=False)

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
            "sd_member": int(self.varies),
            "member": m * (K - 1),
        }


def basis(classes: int) -> np.ndarray:
    """Orthonormal columns whose sums are zero, (K, K - 1): Helmert's contrasts."""
    V = np.zeros((classes, classes - 1))
    for k in range(1, classes):
        V[:k, k - 1], V[k, k - 1] = 1.0, -k
    return V / np.sqrt((V**2).sum(0))


def _kernel(data: Units):
    """The callbacks, which are compiled on first use."""
    if data.nodes:
        from bayeshte.marginal.kernels import mixture_by_quadrature as kernel
    elif data.by_row:
        from bayeshte.marginal.kernels import mixture_of_rows as kernel
    else:
        from bayeshte.marginal.kernels import mixture_of_clusters as kernel
    return kernel


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
        Of the scalars: coefficients, SDs of random effects, residual SDs, degrees of freedom, the SD of membership,
        membership coordinates.
    lkj : Prior or None
        Of each correlation matrix; None with fewer than two random effects.
    dirichlet : float
        Concentration of the class probabilities; 0 if membership has coefficients with priors.
    outputs : tuple of Output
        Names and shapes for the scalars in order, Cholesky factors of the correlations, class probabilities or coefficients.
    bare : bool
        The log-likelihood instead, as a function of the same coordinates.
    """
    kernel = _kernel(data)
    (U, p, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    n, blocks = len(priors), K if layout.own_sd else 1
    d = n + blocks * q * (q - 1) // 2
    at_sd = size["beta"]
    at_sigma = at_sd + size["sd"]
    at_nu = at_sigma + size["sigma"]
    at_member = at_nu + size["nu"] + size["sd_member"]
    signed = [*range(at_sd, at_sigma), *range(at_member - size["sd_member"], at_member)]
    codes, hyper, constant = prior_tables(priors, signed)
    eta = lkj["eta"] if lkj is not None else 1.0
    if q > 1:
        constant += blocks * lkj_constant(eta, q)
    if dirichlet and K > 1:
        constant += gammaln(K * dirichlet) - K * gammaln(dirichlet) + 0.5 * np.log(K)
    constant = data.constant + (0.0 if bare else constant)
    head = [d, n, K, p, q, blocks, U, data.first[-1], FAMILIES[data.family], m]
    head += [at_sd, at_sigma, size["sigma"], at_nu, size["nu"], at_member]
    head += [int(bare), int(data.by_row), data.n_sampled, len(data.rule[1])]
    head += [K if layout.own_effects else 1, int(layout.varies)]
    ints = np.concatenate([head, codes, layout.beta_at().ravel(), data.random, data.last]).astype(np.int64)
    floats = np.concatenate(
        [[constant, eta, 0.0 if bare else dirichlet], hyper, np.zeros(d), np.eye(d).ravel()]
        + [
            data.offset,
            basis(K).ravel(),
            (data.W.T if data.by_row or data.together else data.W).ravel(),
            data.by_column,
        ]
        + ([data.pilot.table()] if data.pilot is not None else [])
        + [*data.rule]
    )
    n_dim = d + data.n_sampled * layout.effects(q)
    return Density(kernel.log_density_c, kernel.expand_c, ints, floats, n_dim, outputs, at=3 + 4 * n, n_top=d)


def likelihood(data: Units, layout: Layout) -> Density:
    """The log-likelihood as a function of unconstrained coordinates."""
    return tables(data, layout, any_priors(data, layout), None, 0.0, (), bare=True)


def any_priors(data: Units, layout: Layout) -> list[Prior]:
    """Priors of the scalars that say which values they can take, and no more."""
    size = layout.sizes(data.family, data.shape[2], data.shape[3])
    kinds = {"beta": Flat(), "sd": HalfNormal(1), "sigma": LogNormal(0, 1), "nu": Gamma(2, 0.1)}
    kinds |= {"sd_member": HalfNormal(1), "member": Flat()}
    return [kinds[k] for k, n in size.items() for _ in range(n)]
