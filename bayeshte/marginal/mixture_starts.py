"""Where the search for modes of a finite mixture starts: K units at random, and the pooled fit from which they depart.

A start takes K units (clusters or rows) at random, every second time rather ones that the classes so far explain badly (as
k-means++ does; Arthur & Vassilvitskii, 2007), and gives each class the coefficients of its unit: one Newton step from the pooled
fit, delta_j = (I_j + Lambda)^-1 s_j with the unit's score s_j and information I_j and a third of an average unit's information
Lambda. A row is in one arm and says nothing of a difference between arms: its step would move the mean of its class in that arm
alone, and a climb from there pairs the classes of one arm with others of the other. So where rows are units, every second pair
of starts moves intercepts only.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from bayeshte.marginal.density import Density, is_even, unconstrain
from bayeshte.marginal.mixture import Layout, likelihood
from bayeshte.marginal.mixture_data import Units
from bayeshte.marginal.mixture_pilot import score_and_weight

LONG = 2000  # iterations of a climb to the top


@dataclass(frozen=True)
class Pooled:
    """The one-class fit, and by how much each unit's own coefficients differ from it.

    Attributes
    ----------
    beta, sd, shape : ndarray (p,), (q,), (2,)
    score, information : ndarray (U, p), (U, p, p)
        Of every unit, at `beta`.
    own : ndarray (p,) of bool
        Which coefficients differ between classes.
    """

    beta: np.ndarray
    sd: np.ndarray
    shape: np.ndarray
    score: np.ndarray
    information: np.ndarray
    own: np.ndarray

    def steps(self, level: bool = False) -> np.ndarray:
        """delta_j of every unit, (U, p), of the intercept alone if `level`; zero where classes share a coefficient."""
        k = np.flatnonzero(self.own)[: 1 if level else None]
        info = self.information[:, k[:, None], k]
        ridge = info.mean(0) / 3
        ridge += 1e-9 * np.diag(np.diag(ridge) + 1e-300)
        out = np.zeros_like(self.score)
        out[:, k] = np.linalg.solve(info + ridge, self.score[:, k, None])[..., 0]
        return out


def pooled(data: Units, layout: Layout) -> Pooled:
    """The maximum-likelihood fit of one class; random effects that rows share are left out, their SDs are guessed."""
    rows_share = len(data.cluster) > 0
    given, none = data, {"random": data.random[:0], "cluster": data.cluster[:0], "nodes": 0, "pilot": None}
    data = replace(data, **none) if rows_share else data
    (_, p, q, _), family = data.shape, data.family
    one = Layout(1, ((p, True),), True, True, True)
    density = likelihood(data, one)
    size = one.sizes(family, q, data.shape[3])
    start, scale = np.zeros(density.n_dim), np.ones(density.n_dim)
    start[:p] = data.offset
    if data.summed:
        n, rr, _, XX = data.moments
        sigma = np.sqrt(rr.sum() / n.sum())
        size_x = np.sqrt(np.diag(XX.sum(0)))
        start[p : p + q] = scale[p : p + q] = sigma / 3 * np.sqrt(n.sum()) / size_x[data.random]
        start[p + q] = np.log(sigma)
        scale[:p] = sigma / size_x
    else:
        X, n, s, _ = data.rows
        scale[:p] = 1 / np.sqrt(n @ X**2)
        sigma = 1.0
        if family in ("gaussian", "student"):
            start[:p] = np.linalg.lstsq(X, s, rcond=None)[0]
            sigma = np.std(s - X @ start[:p])
            guess = [np.log(sigma), np.log(8.0)][: size["sigma"] + size["nu"]]
            start[p + q : p + q + len(guess)], scale[:p] = guess, scale[:p] * sigma
        elif family == "poisson":
            start[:p] = np.linalg.lstsq(X * np.sqrt(n)[:, None], np.sqrt(n) * np.log((s + 0.5) / n), rcond=None)[0]
        start[p : p + q], scale[p : p + q] = sigma / 2, sigma / 4
    x = climb(density, start, scale, LONG)[0]
    theta = np.exp(x[p + q : p + q + size["sigma"] + size["nu"]])
    shape = np.ones(2)
    shape[: len(theta)] = theta
    own = np.concatenate([np.full(n, own) for n, own in layout.groups])
    score, information = _by_unit(data, x[:p], shape)
    sd = np.abs(x[p : p + q])
    if rows_share:
        sd = _spread(given, score, information, shape[0])
    return Pooled(x[:p], sd, shape, score, information, own)


def _spread(data: Units, score: np.ndarray, information: np.ndarray, residual: float) -> np.ndarray:
    """SDs of random effects that rows share, one after the other, by the spread of what clusters say of each beyond its error."""
    out = []
    for k in data.random:
        total, A = (np.bincount(data.cluster, v) for v in (score[:, k], information[:, k, k]))
        error = np.mean(1 / A[A > 0])
        out.append(np.sqrt(max(np.var(total[A > 0] / A[A > 0]) - error, 0.01 * error + 0.01 * residual**2)))
    return np.array(out)


def _by_unit(data: Units, beta: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score (U, p) and information (U, p, p) of every unit at coefficients beta, without random effects."""
    if data.summed:
        _, _, Xr, XX = data.moments
        w = shape[0] ** -2.0
        return w * (Xr - XX @ (beta - data.offset)), w * XX
    X, n, s, unit = data.rows
    score, weight = score_and_weight(data, X @ beta, n, s, shape)
    U, p = data.shape[:2]
    first = np.stack([np.bincount(unit, score * X[:, a], minlength=U) for a in range(p)], axis=1)
    second = np.empty((U, p, p))
    for a, b in np.ndindex(p, p):
        second[:, a, b] = np.bincount(unit, weight * X[:, a] * X[:, b], minlength=U)
    return first, second


def padded(density: Density, x: np.ndarray) -> np.ndarray:
    """Leading coordinates x with the others zero."""
    return np.concatenate([x, np.zeros(density.n_dim - len(x))])


def leading(density: Density, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Density and gradient at the leading coordinates x, the others (of effects of clusters) zero."""
    value, grad = density(padded(density, x))
    return value, grad[: len(x)]


def climb(density: Density, x: np.ndarray, scale: np.ndarray, iterations: int) -> tuple[np.ndarray, float]:
    """A local maximum from x, by L-BFGS in coordinates scaled by `scale`."""

    def minus(z):
        value, grad = leading(density, x + scale * z)
        return (-value, -grad * scale) if np.isfinite(value) else (1e300, np.zeros_like(z))

    options = {"maxiter": iterations, "maxfun": 20 * iterations, "ftol": 1e-14, "gtol": 1e-6}
    found = optimize.minimize(minus, np.zeros_like(x), jac=True, method="L-BFGS-B", options=options)
    return x + scale * found.x, -float(found.fun)


def scales(data: Units, layout: Layout, one: Pooled, d: int) -> np.ndarray:
    """Roughly the standard error of every coordinate if classes were of equal size and known."""
    (U, _, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    out = np.full(d, np.sqrt(K / U))
    info = np.sqrt(K / np.maximum(np.einsum("upp->p", one.information), 1e-300))
    out[layout.beta_at()] = info
    at = size["beta"]
    if len(data.cluster):
        out[at : at + size["sd"]] = out[sum(size.values()) :] = np.sqrt(1 / data.n_clusters)
        before = sum(size.values()) - size["member"]
        out[before - size["sd_member"] : before] = np.sqrt(1 / data.n_clusters)
    out[at : at + size["sd"]] *= np.tile(one.sd + 0.1 * one.shape[0], size["sd"] // q if q else 0)
    N = data.moments[0].sum() if data.summed else data.first[-1]
    at += size["sd"]
    out[at : at + size["sigma"]] = np.sqrt(K / (2 * N))
    return out


def start(data, layout, priors, one: Pooled, delta, rng: np.random.Generator, d: int, even: int) -> np.ndarray:
    """Coordinates of a start: the coefficients of K units, the spread of the pooled fit made a little smaller."""
    (_, _, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    beta = one.beta + delta[_seeds(one, delta, K, rng, even)]
    theta = np.zeros(len(priors))
    theta[layout.beta_at()] = beta
    at = size["beta"]
    smaller = rng.uniform(0.5, 1.0, 3) if K > 1 else np.ones(3)
    theta[at : at + size["sd"]] = smaller[0] * np.tile(
        np.maximum(one.sd, 0.05 * one.shape[0]), size["sd"] // q if q else 0
    )
    at += size["sd"]
    theta[at : at + size["sigma"]] = smaller[1] * one.shape[0] * rng.uniform(0.8, 1.25, size["sigma"])
    at += size["sigma"]
    theta[at : at + size["nu"]] = one.shape[1]
    at += size["nu"]
    x = np.zeros(d)
    for k, prior in enumerate(priors[:at]):
        signed = size["beta"] <= k < size["beta"] + size["sd"] and is_even(prior)
        x[k] = theta[k] if signed else unconstrain(prior, theta[k])
    return x


def _seeds(one: Pooled, delta: np.ndarray, K: int, rng: np.random.Generator, even: int) -> list[int]:
    """K units, evenly or each with a chance that grows with the log-likelihood it would gain by a class of its own."""
    U = len(delta)
    if even:
        return list(rng.choice(U, K, replace=U < K))
    gain = 0.5 * np.einsum("up,up->u", one.score, delta)
    chosen = [int(rng.integers(U))]
    explained = np.zeros(U)
    for _ in range(K - 1):
        d = delta[chosen[-1]]
        explained = np.maximum(explained, one.score @ d - 0.5 * np.einsum("p,upr,r->u", d, one.information, d))
        gap = np.maximum(gain - explained, 0.0) + 1e-3 * gain.mean() + 1e-300
        chosen.append(int(rng.choice(U, p=gap / gap.sum())))
    return chosen
