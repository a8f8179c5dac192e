"""The likelihood-ratio test of item effects: maximum likelihood, exact over persons, Laplace over items.

    l(psi) = log int p(y | u, psi) N(v; 0, I) dv,   u_i = (b_i, zeta_i) = C v_i,   C lower triangular

p(y | u, psi) integrates abilities by the trapezoid rule. The q J item effects are integrated by Laplace's approximation, in
coordinates v in which nothing degenerates at the boundary: with two arms c21 = c22 = 0 is the model without item effects,
c22 = 0 the singular fits with rho = -1 or 1. Of several arms one is tested at a time, the effects of the others vary: its row
of C is the last, and zero without its effects. glmer integrates persons by Laplace's approximation too, which errs most where
persons answer few items.

In Rasch models log p(y | u, psi) is concave in u (Prekopa, 1973), so that there is one maximum to expand about. With slopes of
items it is not concave in u and log a together: where an item has few responses there may be several maxima, and what the
approximation leaves out has no bound. So there is no test of 2PL, graded and partial credit models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy import optimize, stats
from scipy.special import expit

from bayeshte.errors import DataError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.fit import Fit
from bayeshte.items.common import check_rasch
from bayeshte.labelled import flatten

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
        Estimates of the model with the effects; rho, their correlation with easiness, is missing where sigma_zeta is zero.
    log_likelihood : tuple of float
        Without and with the effects of the arm.
    parameters : int
        A variance and the covariances with the effects that both models have: 2 of two arms, one more for every further arm.
    """

    statistic: float
    sigma_zeta: float
    rho: float
    log_likelihood: tuple[float, float]
    parameters: int = 2

    @property
    def p_halved(self) -> float:
        """The p-value of chi-square with as many degrees of freedom as parameters, halved, as published analyses have it."""
        return float(0.5 * stats.chi2.sf(self.statistic, self.parameters))

    @property
    def p_mixture(self) -> float:
        """From the half-and-half mixture of chi-square with one degree of freedom less and with all (Stram & Lee, 1994)."""
        if self.statistic <= 0:
            return 1.0
        n = self.parameters
        return float(0.5 * stats.chi2.sf(self.statistic, n - 1) + 0.5 * stats.chi2.sf(self.statistic, n))


def likelihood_ratio(fit: Fit, arm: str) -> LikelihoodRatio:
    """Maximum likelihood of a Rasch model without and with item effects of an arm, started at the posterior means.

    Raises
    ------
    SpecError
        Another model: discriminations, categories, clusters, item covariates, two occasions.
    DataError
        If a maximum is not found, or persons saw items in more than 400 different patterns.
    """
    check_rasch(fit, "Likelihood-ratio tests")
    data = Table(fit.design, arm)
    q, start = data.q, _start(fit, data)
    null = start.copy()
    null[-q:] = 0.0
    free = np.arange(len(start)) < len(start) - q
    without, at = _maximise(data, null, free)
    start[:-q] = np.append(at[: data.x.shape[1] + 1], start[data.x.shape[1] + 1 : -q])
    found = [_maximise(data, v, np.ones(len(start), bool)) for v in (start, _small(at, q))]
    value, best = max(found, key=lambda pair: pair[0])
    statistic = 2 * (value - without)
    own = best[-q:]
    sigma_zeta = float(np.linalg.norm(own))
    zero = statistic < 1e-4
    sigma_zeta = 0.0 if zero and sigma_zeta < 1e-2 else sigma_zeta
    rho = float(np.sign(best[data.x.shape[1] + 1]) * own[0] / sigma_zeta) if sigma_zeta > 0 else np.nan
    return LikelihoodRatio(float(max(statistic, 0.0)), sigma_zeta, rho, (without, value), q)


def _start(fit: Fit, data: "Table") -> np.ndarray:
    """Coordinates at the posterior means: beta, log sigma_theta, the rows of C."""
    D, draws = Arrays(fit.design), fit.posterior
    sd = np.column_stack([flatten(draws["sigma_b"]), flatten(draws["sigma_zeta"]).reshape(-1, data.q - 1)]).mean(0)
    rho = flatten(draws["rho"]).mean(0)
    rho = rho if np.ndim(rho) else np.array([[1.0, rho], [rho, 1.0]])
    C = np.linalg.cholesky((sd[:, None] * rho * sd)[np.ix_(data.order, data.order)])
    sigma = float(draws["sigma_theta"].mean())
    return np.concatenate([D.beta(draws).mean(0), [np.log(sigma)], C[np.tril_indices(data.q)]])


def _small(at: np.ndarray, q: int) -> np.ndarray:
    """Near the model without the effects."""
    out = at.copy()
    out[-q:] = 0.02
    out[-1] = 0.05
    return out


def _maximise(data: "Table", start: np.ndarray, free: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest log-likelihood over the free coordinates, and where it is."""
    v, at = np.zeros((data.q, data.J)), start.copy()

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
    """Responses as counts: persons with equal arm, items, score and covariates are one unit.

    Item effects are in the order easiness, the effects of the other arms, that of `arm`, which is tested.
    """

    def __init__(self, design: xr.Dataset, arm: str):
        D = Arrays(design)
        self.J, self.q = D.n_items, len(D.arms)
        tested = D.arms.index(arm)
        self.order = [k for k in range(self.q) if k != tested] + [tested]
        self.effects = np.column_stack([np.ones(self.q), np.eye(self.q)[:, 1:]])[:, self.order]  # (arm, effect)
        seen = np.zeros((D.n_persons, self.J), bool)
        seen[D.person_code, D.item_code] = True
        masks, which = np.unique(np.packbits(seen, axis=1), axis=0, return_inverse=True)
        if len(masks) > MASKS:
            raise DataError(
                f"Persons saw items in {len(masks):,} different patterns: the likelihood-ratio test is for up to {MASKS}."
            )
        rows = np.column_stack([D.person_arm, which.ravel(), np.bincount(D.person_code, D.y), D.full])
        units, self.count = np.unique(rows, axis=0, return_counts=True)
        self.arm, mask, self.score = units[:, 0].astype(int), units[:, 1].astype(int), units[:, 2]
        self.x = units[:, 3:]
        shown = np.unpackbits(masks, axis=1)[:, : self.J].astype(bool)
        self.groups = [
            (np.flatnonzero((self.arm == t) & (mask == m)), np.flatnonzero(shown[m]), t)
            for t in range(self.q)
            for m in np.unique(mask[self.arm == t])
        ]
        by_arm = D.arm * self.J + D.item_code
        self.right = np.bincount(by_arm, D.y, minlength=self.q * self.J).reshape(self.q, self.J)

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
        """Log-likelihood given u (q, J), its gradient (q, J) and Hessian (q J, q J)."""
        mean = self.x @ beta
        theta = self.nodes(mean, sigma)
        total, slope, bend = 0.0, np.zeros((self.q, self.J)), np.zeros((self.q, self.J, self.J))
        level = self.effects @ u
        prior = np.log(theta[1] - theta[0]) - 0.5 * np.log(2 * np.pi) - np.log(sigma)
        for units, items, arm in self.groups:
            eta = theta + level[arm, items][:, None]
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
        total += (self.right * level).sum()
        slope += self.right
        hessian = np.einsum("ta,tb,tij->aibj", self.effects, self.effects, bend)
        return total, self.effects.T @ slope, hessian.reshape(self.q * self.J, -1)

    def laplace(self, at: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray]:
        """Laplace's approximation of the log-likelihood at coordinates, and the mode of v from a start, (q, J)."""
        p, C = self.x.shape[1], np.zeros((self.q, self.q))
        beta, sigma = at[:p], np.exp(at[p])
        C[np.tril_indices(self.q)] = at[p + 1 :]
        wide = np.kron(C, np.eye(self.J))

        def value(v):
            return self.given_items(beta, sigma, C @ v, 0)[0] - 0.5 * (v**2).sum()

        for _ in range(NEWTON):
            ll, grad, hessian = self.given_items(beta, sigma, C @ v)
            now = ll - 0.5 * (v**2).sum()
            slope = (C.T @ grad - v).ravel()
            curvature = np.eye(self.q * self.J) - wide.T @ hessian @ wide
            move = np.linalg.solve(curvature, slope).reshape(self.q, -1)
            if (decrement := slope @ move.ravel()) < CLOSE:
                break
            size = 1.0
            while value(v + size * move) < now + 0.1 * size * decrement and size > 1e-6:
                size /= 2
            v = v + size * move
        return now - 0.5 * np.linalg.slogdet(curvature)[1], v
