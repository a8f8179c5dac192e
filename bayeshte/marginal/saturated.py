"""The saturated model, of which every structural equation model of the same variables is a restriction.

    within:   w_ij ~ N(K_W q_ij, S_W),      between:  (b_j, v_j) ~ N(K_B q_j, S_B)

All modelled variables of a level are regressed on all its covariates, and their residuals covary. What is on one level only
stays there. Covariates are centred, so that means do not depend on the paths from them. The likelihood is that of
kernels/structural.py, the parameters are the elements of K and S.

Maximum likelihood by scoring: the steps of Newton's method for complete data and J clusters of one size n, S_W and S_B apart,

    S_W + (2 / N) S_W G_W S_W,      S_B + (2 / J) V G_B V,  V = S_B + S_W / n,      G = d log L / d S.

S_B is projected onto the positive semidefinite matrices in the metric of V (its estimates are often singular), and the length of
the steps follows the curvature met: spectral projected gradients (Birgin, Martínez & Raydan, 2000). Some ten steps suffice.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayeshte.errors import DataError
from bayeshte.marginal import structural
from bayeshte.marginal.density import Density, Output
from bayeshte.marginal.matrices import Entry, Matrices, implied
from bayeshte.marginal.sufficient import Data, statistics
from bayeshte.prior import Flat

#: What the log-likelihood may lack of its maximum.
TOLERANCE = 1e-4
STEPS = 500
NO_MAXIMUM = "The saturated model has no estimates: there are too few clusters, or rows, for the number of variables."


@dataclass(frozen=True)
class Saturated:
    """The saturated model of a data set's variables.

    Attributes
    ----------
    data : Data
        Sizes, clusters and covariates are used, no values.
    both : tuple of int
        Columns of ``data.Y`` that have a part between clusters.
    """

    data: Data
    both: tuple[int, ...]

    @property
    def two_level(self) -> bool:
        return self.data.code is not None

    @property
    def within(self) -> int:
        """Number of variables that vary within clusters (all, with one level)."""
        return self.data.Y.shape[1]

    @property
    def observed(self) -> int:
        return self.within + self.data.V.shape[1]

    @cached_property
    def variables(self) -> tuple[list[int], ...]:
        """Of each level."""
        first, own = list(range(self.within)), list(range(self.within, self.observed))
        return (first, [*self.both, *own]) if self.two_level else (first,)

    @cached_property
    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Means of the covariates of rows and of clusters."""
        x, z = self.data.X, self.data.Z
        return x.mean(0), z.mean(0) if len(z) else np.empty(0)

    @cached_property
    def constants(self) -> tuple[int, ...]:
        """The regressor of each level that is 1."""
        return (0, 1 + self.data.X.shape[1]) if self.two_level else (0,)

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(level, variable, regressor) of the elements of K, the first parameters; a mean is one of the variable's last level."""
        out = [(0, i, 1 + k) for i in self.variables[0] for k in range(self.data.X.shape[1])]
        out += [(0, i, 0) for i in self.variables[0] if not self.two_level or i not in self.both]
        if self.two_level:
            out += [(1, i, k) for i in self.variables[1] for k in range(self.constants[1], self.data.regressors)]
        return np.array(out)

    @cached_property
    def covariances(self) -> np.ndarray:
        """(level, variable, variable) of the elements of S, the other parameters."""
        return np.array(
            [(a, i, j) for a, names in enumerate(self.variables) for k, i in enumerate(names) for j in names[: k + 1]]
        )

    @cached_property
    def level(self) -> np.ndarray:
        """Of every parameter."""
        return np.concatenate([self.coefficients, self.covariances])[:, 0]

    @cached_property
    def matrices(self) -> Matrices:
        P = self.observed
        entries = [Entry("c", *map(int, key), 1.0, (k,)) for k, key in enumerate(self.coefficients, start=1)]
        for k, (a, i, j) in enumerate(self.covariances.tolist(), start=len(entries) + 1):
            entries += [Entry("psi", a, *cell, 1.0, (k,)) for cell in {(i, j), (j, i)}]
        return Matrices(
            levels=len(self.variables),
            observed=P,
            within=self.within,
            size=P,
            regressors=self.data.regressors,
            order=(tuple(range(P)),) * len(self.variables),
            scalars=len(self.level),
            blocks=(),
            entries=tuple(entries),
            checks=(),
            slots=np.zeros((1, 0)),
        )

    @cached_property
    def cross(self) -> tuple[np.ndarray, ...]:
        """Cross-products (Q, Q) of the regressors: within clusters, of the clusters' means; or of the rows."""
        d = self.data
        x, z = self.centres
        q = np.column_stack([np.ones(len(d.Y)), d.X - x])
        if not self.two_level:
            return (q.T @ q,)
        q = np.column_stack([q, np.ones(len(q)), (d.Z - z)[d.code]])
        n = np.bincount(d.code, minlength=len(d.context))
        means = np.stack([np.bincount(d.code, v, minlength=len(n)) for v in q.T], axis=1) / np.maximum(n, 1)[:, None]
        deviations = q - means[d.code]
        return deviations.T @ deviations, means.T @ means

    def log_likelihood(self, data: Data) -> Density:
        """Log-likelihood of a data set, with its gradient, as a function of the parameters (n,)."""
        n, (x, z) = len(self.level), self.centres
        one_context = np.zeros(len(data.context), int)
        reduced = statistics(replace(data, X=data.X - x, Z=data.Z - z, context=one_context))
        return structural.tables(self.matrices, reduced, [Flat()] * n, [], [], (Output("t", (n,)),))

    def point(self, S: np.ndarray, K: np.ndarray) -> np.ndarray:
        """Parameters (..., n) that are covariances S (..., level, P, P) and mean coefficients K (..., level, P, Q)."""
        x, z = self.centres
        K, typical = K.sum(-3), np.r_[1.0, x, 1.0, z] if self.two_level else np.r_[1.0, x]
        K[..., self.constants] = (K @ typical)[..., None]
        _, i, q = self.coefficients.T
        return np.concatenate([K[..., i, q], S[(..., *self.covariances.T)]], axis=-1)

    def moments(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Covariances S (level, P, P) and coefficients K (level, P, Q) of the centred regressors at the parameters (n,)."""
        S, K = implied(self.matrices, t[None])
        return S[0, :, 0], K[0, :, 0]


def guess(model: Saturated) -> np.ndarray:
    """Parameters to start from: means and halved variances of the data, nothing related."""
    values = [*model.data.Y.T, *model.data.V.T]
    mean, variance = (np.array([f(v) for v in values]) for f in (np.nanmean, np.nanvar))
    _, i, q = model.coefficients.T
    _, row, column = model.covariances.T
    constant = np.isin(q, model.constants)
    return np.r_[np.where(constant, mean[i], 0.0), np.where(row == column, variance[row] / 2, 0.0)]


def maximum(model: Saturated, f: Density, start: np.ndarray, tolerance: float = TOLERANCE) -> tuple[np.ndarray, float]:
    """Maximum-likelihood estimates (n,) and the log-likelihood there, from `start`; `f` is ``model.log_likelihood(data)``.

    Raises
    ------
    DataError
        If there is no maximum: too few clusters, or rows, for the number of variables.
    """
    t, (value, gradient), size = start, f(start), 1.0
    for _ in range(STEPS):
        path = _path(model, t, gradient)
        new = path(size)
        gain = gradient @ (new - t)
        if gain < 2 * tolerance * size:  # a Newton step gains half of its slope
            return t, value
        found, after = f(new)
        while found < value + 1e-4 * gain:
            if size < 1e-6:
                raise DataError(NO_MAXIMUM)
            size /= 2
            new = path(size)
            gain, (found, after) = gradient @ (new - t), f(new)
        bend = (gradient - after) @ (new - t)
        size = min(max(size * gain / bend, 0.2), 5.0) if bend > 0 else 1.0
        t, value, gradient = new, found, after
    raise DataError(NO_MAXIMUM)


def _path(model: Saturated, t: np.ndarray, gradient: np.ndarray) -> Callable[[float], np.ndarray]:
    """The parameters as a function of the length of the step from t."""
    split, N, p = len(model.coefficients), len(model.data.Y), model.within
    S, G = _matrices(model, t), _matrices(model, gradient, half=0.5)
    step, information = np.zeros_like(S), np.zeros((*S.shape[1:], *model.cross[0].shape))
    W = S[0, :p, :p]
    step[0, :p, :p] = 2 / N * W @ G[0, :p, :p] @ W
    information[:p, :p] = np.multiply.outer(_inverse(W), model.cross[0])
    if model.two_level:
        J, at = len(model.data.context), np.ix_(model.variables[1], model.variables[1])
        V = S[1].copy()
        V[:p, :p] += W * J / N
        step[1][at] = 2 / J * V[at] @ G[1][at] @ V[at]
        information += np.multiply.outer(_inverse(V), model.cross[1])
        C = np.linalg.cholesky(V[at])
    _, i, q = model.coefficients.T
    information = information[i[:, None], i, q[:, None], q]
    unit = np.sqrt(np.diag(information))
    up = np.linalg.lstsq(information / np.outer(unit, unit), gradient[:split] / unit)[0] / unit

    def at_length(size: float) -> np.ndarray:
        moved = S + size * step
        if model.two_level:
            moved[1][at] = _semidefinite(moved[1][at], C)
        return np.r_[t[:split] + size * up, moved[tuple(model.covariances.T)]]

    return at_length


def _matrices(model: Saturated, values: np.ndarray, half: float = 1.0) -> np.ndarray:
    """The covariances as symmetric matrices (level, P, P); `half` those off the diagonal, of derivatives."""
    out = np.zeros((len(model.variables), model.observed, model.observed))
    a, i, j = model.covariances.T
    out[a, i, j] = out[a, j, i] = values[len(model.coefficients) :] * np.where(i == j, 1.0, half)
    return out


def _inverse(V: np.ndarray) -> np.ndarray:
    """DataError if V is singular: the likelihood then grows without limit."""
    sd = np.sqrt(np.diag(V))
    values, vectors = np.linalg.eigh(V / np.outer(sd, sd))
    if not values.min() > 1e-10:
        raise DataError(NO_MAXIMUM)
    return vectors / values @ vectors.T / np.outer(sd, sd)


def _semidefinite(S: np.ndarray, C: np.ndarray) -> np.ndarray:
    """The positive semidefinite matrix nearest to S in the metric of V = C C'."""
    X = np.linalg.solve(C, np.linalg.solve(C, S).T)
    values, vectors = np.linalg.eigh((X + X.T) / 2)
    root = C @ (vectors * np.sqrt(np.clip(values, 0, None)))
    return root @ root.T
