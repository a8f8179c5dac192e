"""The likelihood-ratio test of item effects: maximum likelihood, exact over persons, Laplace over items.

    l(psi) = log int p(y | u, psi) N(v; 0, I) dv,   u_i = (b_i, zeta_i) = C v_i,   C = [[c11, 0], [c21, c22]]

p(y | u, psi) integrates abilities by the trapezoid rule. The 2 J item effects are integrated by Laplace's approximation, in
coordinates v in which nothing degenerates at the boundary: c21 = c22 = 0 is the model without item effects, c22 = 0 the singular
fits with rho = -1 or 1. glmer integrates persons by Laplace's approximation too, which errs most where persons answer few items.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy import optimize, stats
from scipy.special import expit

from bayeshte.errors import DataError
from bayeshte.fit import Fit
from bayeshte.items.common import check_rasch

SPACING, TAIL = 0.9, 8.0  # of the grid of abilities, in the least SD of a posterior; its reach, in SDs of the ability
NEWTON, CLOSE = 60, 1e-9
MASKS = 400  # patterns of items seen, beyond which it takes too long


@dataclass(frozen=True)
class LikelihoodRatio:
    """Two models fitted by maximum likelihood.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    sigma_zeta, rho : float
        Estimates of the model with item effects; rho is missing where sigma_zeta is zero.
    log_likelihood : tuple of float
        Without and with item effects.
    """

    statistic: float
    sigma_zeta: float
    rho: float
    log_likelihood: tuple[float, float]

    @property
    def p_halved(self) -> float:
        """The p-value of chi-square with 2 degrees of freedom, halved, as published analyses have it."""
        return float(0.5 * stats.chi2.sf(self.statistic, 2))

    @property
    def p_mixture(self) -> float:
        """From the half-and-half mixture of chi-square with 1 and 2 degrees of freedom (Stram & Lee, 1994)."""
        if self.statistic <= 0:
            return 1.0
        return float(0.5 * stats.chi2.sf(self.statistic, 1) + 0.5 * stats.chi2.sf(self.statistic, 2))


def likelihood_ratio(fit: Fit) -> LikelihoodRatio:
    """Maximum likelihood of a two-arm Rasch model without and with item effects, started at the posterior medians.

    Raises
    ------
    SpecError
        Another model: several arms, discriminations, categories, clusters, item covariates.
    DataError
        If a maximum is not found, or persons saw items in more than 400 different patterns.
    """
    check_rasch(fit, "Likelihood-ratio tests")
    data = Table(fit.design)
    start = _start(fit, data.x.shape[1])
    null = start.copy()
    null[-2:] = 0.0
    free = np.arange(len(start)) < len(start) - 2
    without, at = _maximise(data, null, free)
    start[:-2] = at[:-2]
    start[-3] = _median(fit, "sigma_b")
    found = [_maximise(data, v, np.ones(len(start), bool)) for v in (start, _small(at))]
    value, best = max(found, key=lambda pair: pair[0])
    statistic = 2 * (value - without)
    sigma_zeta = float(np.hypot(best[-2], best[-1]))
    zero = statistic < 1e-4
    sigma_zeta = 0.0 if zero and sigma_zeta < 1e-2 else sigma_zeta
    rho = float(np.sign(best[-3]) * best[-2] / sigma_zeta) if sigma_zeta > 0 else np.nan
    return LikelihoodRatio(float(max(statistic, 0.0)), sigma_zeta, rho, (without, value))


def _median(fit: Fit, name: str) -> float:
    return float(fit.posterior[name].median())


def _start(fit: Fit, p: int) -> np.ndarray:
    """Coordinates at the posterior medians: beta, log sigma_theta, c11, c21, c22."""
    beta = [np.atleast_1d(fit.posterior[v].median(("chain", "draw"))) for v in _COEFFICIENTS if v in fit.posterior]
    sd, rho = _median(fit, "sigma_zeta"), _median(fit, "rho")
    sizes = [_median(fit, "sigma_b"), rho * sd, np.sqrt(1 - rho**2) * sd]
    return np.concatenate([*beta, [np.log(_median(fit, "sigma_theta"))], sizes])


def _small(at: np.ndarray) -> np.ndarray:
    """Near the model without item effects."""
    out = at.copy()
    out[-2:] = 0.02, 0.05
    return out


_COEFFICIENTS = ("beta0", "beta1", "beta2", "beta3")


def _maximise(data: "Table", start: np.ndarray, free: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest log-likelihood over the free coordinates, and where it is."""
    v, at = np.zeros((2, data.J)), start.copy()

    def negative(z: np.ndarray) -> float:
        at[free] = z
        value, mode = data.laplace(at, v)
        v[:] = mode
        return -value

    def gradient(z: np.ndarray) -> np.ndarray:
        steps = np.eye(len(z)) * 1e-4
        return np.array([(negative(z + s) - negative(z - s)) / 2e-4 for s in steps])

    found = optimize.minimize(
        negative, start[free], jac=gradient, method="BFGS", options={"gtol": 2e-3, "maxiter": 200}
    )
    slope = np.abs(found.jac).max()
    if slope > 0.05:
        raise DataError(
            f"The likelihood has no maximum that was found (largest slope {slope:.2g} after {found.nit} steps)."
        )
    at[free] = found.x
    return -float(found.fun), at.copy()


class Table:
    """Responses as counts: persons with equal arm, items, score and covariates are one unit."""

    def __init__(self, design: xr.Dataset):
        person, item = design["cluster_code"].to_numpy(), design["item_code"].to_numpy()
        y, first = design["y"].to_numpy(), np.unique(person, return_index=True)[1]
        T, X, M = (design[v].to_numpy()[first].astype(float) for v in ("arm_code", "X", "M"))
        seen = np.zeros((len(first), design.sizes[design.attrs["item"]]), bool)
        seen[person, item] = True
        self.J = seen.shape[1]
        masks, which = np.unique(np.packbits(seen, axis=1), axis=0, return_inverse=True)
        if len(masks) > MASKS:
            raise DataError(
                f"Persons saw items in {len(masks):,} different patterns: the likelihood-ratio test is for up to {MASKS}."
            )
        rows = np.column_stack([T, which.ravel(), np.bincount(person, y), X, M])
        units, self.count = np.unique(rows, axis=0, return_counts=True)
        self.arm, mask, self.score = units[:, 0].astype(int), units[:, 1].astype(int), units[:, 2]
        X, M = np.split(units[:, 3:], [X.shape[1]], axis=1)
        self.x = np.column_stack([np.ones(len(units)), self.arm, X, self.arm[:, None] * M])
        shown = np.unpackbits(masks, axis=1)[:, : self.J].astype(bool)
        self.groups = [
            (np.flatnonzero((self.arm == t) & (mask == m)), np.flatnonzero(shown[m]), t)
            for t in (0, 1)
            for m in np.unique(mask[self.arm == t])
        ]
        by_arm = design["arm_code"].to_numpy() * self.J + item
        self.right = np.bincount(by_arm, y, minlength=2 * self.J).reshape(2, self.J)

    @cached_property
    def most(self) -> int:
        """Items that a person saw, at most."""
        return max(len(items) for _, items, _ in self.groups)

    def nodes(self, mean: np.ndarray, sigma: float) -> np.ndarray:
        """A grid that holds the distribution of all abilities given the responses and is fine enough for each."""
        least = 1 / np.sqrt(1 / sigma**2 + self.most / 4)
        low, high = mean.min() - TAIL * sigma, mean.max() + TAIL * sigma
        return np.linspace(low, high, 1 + int(np.ceil((high - low) / (SPACING * least))))

    def given_items(self, beta: np.ndarray, sigma: float, u: np.ndarray, order: int = 2):
        """Log-likelihood given u (2, J), its gradient (2, J) and Hessian (2 J, 2 J) in b and zeta."""
        mean = self.x @ beta
        theta = self.nodes(mean, sigma)
        total, slope, bend = 0.0, np.zeros((2, self.J)), np.zeros((2, self.J, self.J))
        prior = np.log(theta[1] - theta[0]) - 0.5 * np.log(2 * np.pi) - np.log(sigma)
        for units, items, arm in self.groups:
            d = u[0, items] + arm * u[1, items]
            eta = theta + d[:, None]
            log = self.score[units, None] * theta - np.logaddexp(0, eta).sum(0)
            log = log - 0.5 * ((theta - mean[units, None]) / sigma) ** 2
            top = log.max(1, keepdims=True)
            weight = np.exp(log - top)
            mass = weight.sum(1, keepdims=True)
            n = self.count[units]
            total += n @ (np.log(mass[:, 0]) + top[:, 0] + prior)
            if order:
                weight, p = weight / mass, expit(eta)
                chance = weight @ p.T  # (unit, item)
                share = n @ weight
                slope[arm, items] -= n @ chance
                both = (p * share) @ p.T - (chance.T * n) @ chance
                bend[arm][np.ix_(items, items)] += both - np.diag((p * (1 - p)) @ share)
        total += (self.right * np.stack([u[0], u[0] + u[1]])).sum()
        slope += self.right
        grad = np.stack([slope.sum(0), slope[1]])
        hessian = np.block([[bend.sum(0), bend[1]], [bend[1], bend[1]]])
        return total, grad, hessian

    def laplace(self, at: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray]:
        """Laplace's approximation of the log-likelihood at coordinates, and the mode of v from a start, (2, J)."""
        beta, sigma, C = at[:-4], np.exp(at[-4]), np.array([[at[-3], 0.0], [at[-2], at[-1]]])
        wide = np.kron(C, np.eye(self.J))

        def value(v):
            return self.given_items(beta, sigma, C @ v, 0)[0] - 0.5 * (v**2).sum()

        for _ in range(NEWTON):
            ll, grad, hessian = self.given_items(beta, sigma, C @ v)
            now = ll - 0.5 * (v**2).sum()
            slope = (C.T @ grad - v).ravel()
            curvature = np.eye(2 * self.J) - wide.T @ hessian @ wide
            move = np.linalg.solve(curvature, slope).reshape(2, -1)
            if (decrement := slope @ move.ravel()) < CLOSE:
                break
            size = 1.0
            while value(v + size * move) < now + 0.1 * size * decrement and size > 1e-6:
                size /= 2
            v = v + size * move
        return now - 0.5 * np.linalg.slogdet(curvature)[1], v
