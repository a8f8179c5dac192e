"""A compiled log density with its tables, and the coordinates in which it is easy to sample."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import gammaln, multigammaln

from bayeshte.prior import Prior

TRANSFORMS = {"real": 0, "positive": 1, "interval": 2, "bent": 3}


@dataclass(frozen=True)
class Output:
    """One stored variable: its name, shape, and the labelled dims it has."""

    name: str
    shape: tuple[int, ...]
    dims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Density:
    """A kernel and its tables: everything the sampler needs, compiled for no model in particular.

    Attributes
    ----------
    log_density, expand : numba CFunc
        The kernel's callbacks (coordinates to log density and gradient; coordinates to parameters).
    ints, floats : ndarray
        Structure (int64) and numbers (float64), laid out as the kernel's docstring says.
    n_dim : int
        Number of coordinates.
    outputs : tuple of Output
        What `expand` writes, in order.
    at : int
        Position in `floats` of the preconditioner: centre (`n_top`), then scale (`n_top` x `n_top`).
    n_top : int
        Number of leading coordinates that are preconditioned together.
    starts : ndarray (k, n_dim), optional
        Coordinates of modes, where there are several: a chain starts near one of them.
    """

    log_density: Any
    expand: Any
    ints: np.ndarray
    floats: np.ndarray
    n_dim: int
    outputs: tuple[Output, ...]
    at: int
    n_top: int
    starts: np.ndarray | None = None

    @property
    def user_data(self) -> np.ndarray:
        """Addresses and lengths of the tables, as the callbacks read them; valid while this object lives."""
        return np.array([self.ints.ctypes.data, self.ints.size, self.floats.ctypes.data, self.floats.size], np.int64)

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and gradient at coordinates `z`; ``-inf`` and zeros at a rejected point."""
        z = np.ascontiguousarray(z, float)
        grad, lp, data = np.empty(self.n_dim), np.empty(1), self.user_data
        double = ctypes.POINTER(ctypes.c_double)
        code = self.log_density.ctypes(
            self.n_dim,
            z.ctypes.data_as(double),
            grad.ctypes.data_as(double),
            lp.ctypes.data_as(double),
            data.ctypes.data,
        )
        return (float(lp[0]), grad) if code == 0 else (-np.inf, np.zeros(self.n_dim))

    def parameters(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters at coordinates `z`, by name."""
        z = np.ascontiguousarray(z, float)
        out, data = np.empty(self.size), self.user_data
        double = ctypes.POINTER(ctypes.c_double)
        self.expand.ctypes(
            self.n_dim, self.size, z.ctypes.data_as(double), out.ctypes.data_as(double), data.ctypes.data
        )
        pieces = np.split(out, np.cumsum([int(np.prod(o.shape)) for o in self.outputs])[:-1])
        return {o.name: v.reshape(o.shape) for o, v in zip(self.outputs, pieces, strict=True)}

    def start(self, seed: int) -> np.ndarray:
        """Where a chain starts: uniformly within two scale units around the mode, or half a unit around one of several."""
        rng = np.random.default_rng(seed)
        if self.starts is None:
            return rng.uniform(-2, 2, self.n_dim)
        return self.starts[rng.integers(len(self.starts))] + rng.uniform(-0.5, 0.5, self.n_dim)

    @property
    def size(self) -> int:
        """Number of values that `expand` writes."""
        return sum(int(np.prod(o.shape)) for o in self.outputs)

    def with_coordinates(self, centre: np.ndarray, scale: np.ndarray) -> "Density":
        """The same density in coordinates z with x = centre + scale z."""
        floats = self.floats.copy()
        d = self.n_top
        floats[self.at : self.at + d] = centre
        floats[self.at + d : self.at + d + d * d] = scale.ravel()
        return replace(self, floats=floats)


def is_even(prior: Prior) -> bool:
    """Whether the prior of a standard deviation extends to a smooth even density of a signed one."""
    return prior.name in ("HalfNormal", "HalfStudentT")


def prior_tables(
    priors: Sequence[Prior], signed: Sequence[int] = (), bend: float | None = None
) -> tuple[list[int], list[float], float]:
    """(transforms, then families) of scalars, their hyper-parameters, and the sum of the normalising constants.

    Standard deviations of random effects at positions `signed` are sampled on the whole real line where their prior is even:
    the likelihood depends on C = diag(sd) Lc through C C', which is smooth at zero and unchanged if an sd and its correlations
    change sign together. So zero is no boundary, and a chain passes through it; sd is the absolute value. (With the logarithm
    as coordinate, small SDs are a long tail that is explored slowly.)

    `bend` is for few units, which leave an SD a long tail upwards as well: the SD is bend * sinh x, proportional to the
    coordinate below `bend` and exponential in it above.
    """
    rows = [p.row() for p in priors]
    transforms, constant = [TRANSFORMS[p.support] for p in priors], sum(c for _, _, c in rows)
    for k in signed:
        if is_even(priors[k]):
            transforms[k] = TRANSFORMS["real" if bend is None else "bent"]
            constant -= np.log(2.0)
    codes = [*transforms, *(code for code, _, _ in rows)]
    hyper = np.array([hyper for _, hyper, _ in rows], float)
    if bend is not None:
        hyper[np.array(transforms) == TRANSFORMS["bent"], 3] = bend
    return codes, hyper.ravel().tolist(), constant


def unconstrain(prior: Prior, value: float) -> float:
    """The coordinate of a parameter value; values outside an interval move to its middle."""
    if prior.support == "positive":
        return float(np.log(value))
    if prior.support == "interval":
        share = (value - prior["lower"]) / (prior["upper"] - prior["lower"])
        return float(np.log(share / (1 - share))) if 0.02 < share < 0.98 else 0.0
    return float(value)


def lkj_constant(eta: float, q: int) -> float:
    """Log normalising constant of the LKJ density on q x q correlation matrices (Lewandowski et al., 2009)."""
    out = 0.0
    for k in range(1, q):  # partial correlations of vine level k are beta on (-1, 1) with shape b
        b = eta + (q - 1 - k) / 2
        out -= (q - k) * ((2 * b - 1) * np.log(2) + 2 * gammaln(b) - gammaln(2 * b))
    return out


def wishart_constant(prior: Prior) -> float:
    """Log constant of an inverse Wishart density in SDs and correlations, beside sd^q each; without its own if it is improper.

    The Jacobian of the covariance matrix in SDs and correlations is 2^q times the product of all sd^q.
    """
    scale, df = np.array(prior["scale"]), prior["df"]
    q = len(scale)
    out = q * np.log(2.0)
    if prior.proper:
        out += 0.5 * df * (np.linalg.slogdet(scale)[1] - q * np.log(2.0)) - multigammaln(df / 2, q)
    return float(out)


def precondition(density: Density, start: np.ndarray, unit: np.ndarray, least: np.ndarray | None = None) -> Density:
    """Coordinates centred at the mode and scaled by the curvature there, so that the posterior is near N(0, I).

    The mode of the density in unconstrained coordinates exists even where an SD's own mode is zero, because of the
    Jacobian. The scale is the inverse square root of the negative Hessian (central differences of the exact gradient),
    eigenvalues kept within 1e8 of the largest. Only the geometry depends on it, never the posterior.

    Parameters
    ----------
    density : Density
        In its raw coordinates (centre 0, scale 1).
    start, unit : ndarray
        A rough guess of the leading coordinates and of how far each may be off; shape (n_top,).
    least : ndarray, optional
        Coordinates in which the density is even, SDs with a sign: below these absolute values, where it may have no accurate
        digits left, the mode is sought in a parabola with the slope that it has there. Zero for the others.
    """
    centre, scale = start, np.diag(unit)
    least = np.zeros(len(start)) if least is None else least
    for _ in range(2):  # the second pass has coordinates in which differences are accurate, and ends closer to the mode
        density = density.with_coordinates(centre, scale)
        mode, values, vectors = _mode(density, centre, scale, least)
        centre, scale = centre + scale @ mode, scale @ vectors / np.sqrt(values)
    return density.with_coordinates(centre, scale)


def _mode(
    density: Density, centre: np.ndarray, scale: np.ndarray, least: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mode over the leading coordinates, the others zero, by Newton's method; eigenvalues and vectors of the curvature there.

    Negative curvature is followed uphill (absolute eigenvalues), steps are halved until they climb. With exact gradients of
    microseconds this is twenty times faster than a general optimiser, whose own calls cost more than the density.
    """
    rest = np.zeros(density.n_dim - density.n_top)

    def at(y):
        x = centre + scale @ y
        near = np.abs(x) < least
        if not near.any():
            lp, grad = density(np.concatenate([y, rest]))
            return lp, grad[: density.n_top]
        edge = np.where(near, np.copysign(least, x), x)
        lp, grad = density(np.concatenate([np.linalg.solve(scale, edge - centre), rest]))
        grad = np.linalg.solve(scale.T, grad[: density.n_top])
        lp += (grad[near] * (x[near] ** 2 - edge[near] ** 2) / (2 * edge[near])).sum()
        grad[near] *= x[near] / edge[near]
        return lp, scale.T @ grad

    y = np.zeros(density.n_top)
    lp, grad = at(y)
    values, vectors = curvature(at, y)
    for _ in range(100):
        step = vectors @ ((vectors.T @ grad) / values)
        gain = grad @ step
        if gain < 1e-9:
            break
        size = min(1.0, 10.0 / np.sqrt(gain))  # at most ten posterior SDs at once
        while (new := at(y + size * step))[0] < lp + 1e-4 * size * gain and size > 1e-9:
            size /= 2
        if size <= 1e-9:
            break
        y, (lp, grad) = y + size * step, new
        values, vectors = curvature(at, y)
    return y, values, vectors


def curvature(at, y: np.ndarray, step: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Absolute eigenvalues, and eigenvectors, of the negative Hessian by central differences of the gradient."""
    hessian = np.array([(at(y - move)[1] - at(y + move)[1]) / (2 * step) for move in step * np.eye(len(y))])
    values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
    values = np.abs(values)
    return np.clip(values, max(values.max(), 1e-300) * 1e-8, None), vectors
