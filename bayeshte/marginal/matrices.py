"""How the matrices of a structural equation model are made of its parameters, and the moments that they imply.

`Matrices` says how every cell is made, for the kernels; `cells`, `moments` and `implied` compute the same for many draws at once.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Entry:
    """A term ``coef * t_i * t_j * t_k`` of a cell; `factors` are at most three positions in t.

    `matrix` is ``"psi"`` (covariances of residuals), ``"beta"`` (paths and loadings) or ``"c"`` (coefficients of the regressors).
    """

    matrix: str
    level: int
    row: int
    column: int
    coef: float
    factors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Slope:
    """A random slope: a variable of the between level, and the within cell (``"beta"`` or ``"c"``) that holds it."""

    variable: int
    matrix: str
    row: int
    column: int


@dataclass(frozen=True)
class Product:
    """A path of the product of two variables of a level: ``coef * t_i f_known f_other`` in the equation of variable `row`.

    Given the value of the one that is `known`, seen or sampled, it is a path from the other one.
    """

    level: int
    row: int
    known: int
    other: int
    coef: float
    factors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Matrices:
    """How the matrices of a model are made: sizes, causal order and entries.

    Attributes
    ----------
    levels : int
        1 or 2.
    observed, within : int
        Observed variables P; the first `within` of them vary within clusters (all, with one level).
    size : int
        Variables of a level M, observed ones first, then latent ones; the larger of the two levels.
    regressors : int
        Q: a constant and covariates of the first level, a constant and covariates of the second.
    order : tuple of tuple of int
        For every level its variables, causes before effects; the `active` ones of the first level before those it has not.
    scalars : int
        Number n of scalar parameters: t is (1, scalars, correlations of the blocks, slots).
    blocks : tuple of int
        Sizes of the correlation matrices.
    entries : tuple of Entry
    checks : tuple of tuple of int
        (level, variables): sets whose Psi is checked to be positive definite; in blocks it is by construction.
    members : tuple of tuple of int
        (level, variables) of every block, for priors of whole covariance matrices.
    covariances : tuple of tuple of int
        (level, variable, variable) of single covariances in blocks that have priors of their own.
    products : tuple of Product
        Of two variables; what else is made of these matrices leaves them out (structural_products.py).
    slots : ndarray (context, slot)
        Numbers that differ between contexts.
    active : int
        Number of variables of the first level that are in the model there.
    regressors_within : int
        How many of the regressors belong to the first level.
    slopes : tuple of Slope
        Random slopes: then every cluster is taken by itself.
    """

    levels: int
    observed: int
    within: int
    size: int
    regressors: int
    order: tuple[tuple[int, ...], ...]
    scalars: int
    blocks: tuple[int, ...]
    entries: tuple[Entry, ...]
    checks: tuple[tuple[int, ...], ...]
    slots: np.ndarray
    active: int = 0
    regressors_within: int = 0
    slopes: tuple[Slope, ...] = ()
    members: tuple[tuple[int, ...], ...] = ()
    covariances: tuple[tuple[int, ...], ...] = ()
    products: tuple[Product, ...] = ()

    @property
    def correlations(self) -> int:
        """Number of correlations in the blocks, which is that of their coordinates."""
        return sum(q * (q - 1) // 2 for q in self.blocks)

    def cell(self, entry: Entry) -> int:
        """Position of an entry's cell in the kernel's table."""
        L, M, Q = self.levels, self.size, self.regressors
        start = {"psi": 0, "beta": L * M * M, "c": 2 * L * M * M}[entry.matrix]
        width = Q if entry.matrix == "c" else M
        return start + (entry.level * M + entry.row) * width + entry.column

    @property
    def cells(self) -> int:
        return self.levels * self.size * (2 * self.size + self.regressors)


def implied(m: Matrices, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariances S (draw, level, context, M, M) and mean coefficients K (draw, level, context, M, Q) of many draws.

    t : (draw, scalars + correlations), as they are reported (SDs positive).
    """
    draws, contexts = len(t), len(m.slots)
    S = np.empty((draws, m.levels, contexts, m.size, m.size))
    K = np.empty((draws, m.levels, contexts, m.size, m.regressors))
    for c in range(contexts):
        for level in range(m.levels):
            S[:, level, c], K[:, level, c] = moments(m, t, level, c)
    return S, K


def moments(m: Matrices, t: np.ndarray, level: int, context: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (draw, M, M) and mean coefficients (draw, M, Q) of a level in a context."""
    Psi, beta, c = cells(m, t, level, context)
    A = np.linalg.inv(np.eye(m.size) - beta)
    return A @ Psi @ A.swapaxes(-1, -2), A @ c


def cells(m: Matrices, t: np.ndarray, level: int, context: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Psi (draw, M, M), B (draw, M, M) and c (draw, M, Q) of a level."""
    full = np.column_stack([np.ones(len(t)), t, np.tile(m.slots[context], (len(t), 1))])
    width = {"psi": m.size, "beta": m.size, "c": m.regressors}
    out = {name: np.zeros((len(t), m.size, width[name])) for name in width}
    for e in m.entries:
        if e.level == level:
            out[e.matrix][:, e.row, e.column] += e.coef * full[:, list(e.factors)].prod(1)
    return out["psi"], out["beta"], out["c"]
