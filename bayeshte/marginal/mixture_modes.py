"""Modes of a finite mixture: many dispersed starts, a short climb from each, a long one from the best.

The likelihood of a mixture has local maxima, so that one start proves nothing. A start takes K units (clusters or rows) at
random, every second time rather ones that the classes so far explain badly (as k-means++ does; Arthur & Vassilvitskii, 2007),
and gives each class the coefficients of its unit: one Newton step from the pooled fit, delta_j = (I_j + Lambda)^-1 s_j with the
unit's score s_j and information I_j and a third of an average unit's information Lambda.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize
from scipy.special import softmax

from bayeshte.marginal.density import Density, Output, curvature, is_even, precondition, unconstrain
from bayeshte.marginal.mixture import Layout, tables
from bayeshte.marginal.mixture_data import Units, by_cluster
from bayeshte.marginal.mixture_draws import (
    Parameters,
    class_log_likelihood,
    log_prior_probabilities,
    rows_of_clusters,
)
from bayeshte.marginal.mixture_pilot import pilot, score_and_weight
from bayeshte.prior import Flat, Gamma, HalfNormal, LogNormal, Prior

STARTS = 20  # for each class
ROUNDS = 2  # of the pilot of random effects that rows share
SHORT, LONG = 25, 2000  # iterations of the first climb, and of the second one, which the better quarter makes
LEAST_MASS = 0.01  # of the posterior, in that of the largest mode, for a mode to be one where chains start
FEW, FAR = 3, 15.0  # nodes of the quadrature while modes are sought, and nats below the highest where they are given up
SAME = 1e-3  # nats within which two maxima are one
NARROWEST = (
    0.02  # residual SD of a class, in that of the pooled fit: below, the likelihood climbs a spike of a few values
)


@dataclass(frozen=True)
class Mode:
    """A local maximum: coordinates, height, and how many of the long climbs ended there (labels of classes apart)."""

    x: np.ndarray
    height: float
    found: int


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

    def steps(self) -> np.ndarray:
        """delta_j of every unit, (U, p); zero where classes share a coefficient."""
        k = np.flatnonzero(self.own)
        info = self.information[:, k[:, None], k]
        ridge = info.mean(0) / 3
        ridge += 1e-9 * np.diag(np.diag(ridge) + 1e-300)
        out = np.zeros_like(self.score)
        out[:, k] = np.linalg.solve(info + ridge, self.score[:, k, None])[..., 0]
        return out


def likelihood(data: Units, layout: Layout) -> Density:
    """The log-likelihood as a function of unconstrained coordinates."""
    size = layout.sizes(data.family, data.shape[2], data.shape[3])
    kinds = {"beta": Flat(), "sd": HalfNormal(1), "sigma": LogNormal(0, 1), "nu": Gamma(2, 0.1), "member": Flat()}
    return tables(data, layout, [kinds[k] for k, n in size.items() for _ in range(n)], None, 0.0, (), bare=True)


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


def leading(density: Density, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Density and gradient at the leading coordinates x, the others (of random intercepts) zero."""
    value, grad = density(_full(density, x))
    return value, grad[: len(x)]


def climb(density: Density, x: np.ndarray, scale: np.ndarray, iterations: int) -> tuple[np.ndarray, float]:
    """A local maximum from x, by L-BFGS in coordinates scaled by `scale`."""

    def minus(z):
        value, grad = leading(density, x + scale * z)
        return (-value, -grad * scale) if np.isfinite(value) else (1e300, np.zeros_like(z))

    options = {"maxiter": iterations, "maxfun": 20 * iterations, "ftol": 1e-14, "gtol": 1e-6}
    found = optimize.minimize(minus, np.zeros_like(x), jac=True, method="L-BFGS-B", options=options)
    return x + scale * found.x, -float(found.fun)


def modes(density: Density, data: Units, layout: Layout, priors: list[Prior], seed: int = 0) -> list[Mode]:
    """Local maxima of a density, in its own coordinates, the highest first; two that differ in labels only are one."""
    rng = np.random.default_rng(seed)
    one = pooled(data, layout)
    starts = STARTS * layout.classes if layout.classes > 1 else 1
    scale = _scale(data, layout, one, density.n_top)
    delta = one.steps()
    short = [
        climb(density, _start(data, layout, priors, one, delta, rng, density.n_top, k % 2), scale, SHORT)
        for k in range(starts)
    ]
    short.sort(key=lambda m: -m[1])
    out: list[Mode] = []
    for x, _ in short[: max(1, starts // 4)]:
        x, height = climb(density, x, scale, LONG)
        if not _regular(data, layout, one, x):
            continue
        same = next((k for k, m in enumerate(out) if abs(m.height - height) < SAME), None)
        if same is None:
            out.append(Mode(x, height, 1))
        else:
            best = max(out[same], Mode(x, height, 1), key=lambda m: m.height)
            out[same] = Mode(best.x, best.height, out[same].found + 1)
    return sorted(out, key=lambda m: -m.height)


def _regular(data: Units, layout: Layout, one: Pooled, x: np.ndarray) -> bool:
    """Whether no class has shrunk to a few equal values."""
    size = layout.sizes(data.family, *data.shape[2:])
    at = size["beta"] + size["sd"]
    return bool((np.exp(x[at : at + size["sigma"]]) > NARROWEST * one.shape[0]).all())


def _scale(data: Units, layout: Layout, one: Pooled, d: int) -> np.ndarray:
    """Roughly the standard error of every coordinate if classes were of equal size and known."""
    (U, _, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    out = np.full(d, np.sqrt(K / U))
    info = np.sqrt(K / np.maximum(np.einsum("upp->p", one.information), 1e-300))
    out[layout.beta_at()] = info
    at = size["beta"]
    if len(data.cluster):
        out[at : at + size["sd"]] = out[sum(size.values()) :] = np.sqrt(1 / data.n_clusters)
    out[at : at + size["sd"]] *= np.tile(one.sd + 0.1 * one.shape[0], size["sd"] // q if q else 0)
    N = data.moments[0].sum() if data.summed else data.first[-1]
    at += size["sd"]
    out[at : at + size["sigma"]] = np.sqrt(K / (2 * N))
    return out


def _start(data, layout, priors, one: Pooled, delta, rng: np.random.Generator, d: int, even: int) -> np.ndarray:
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


def maximum_likelihood(data: Units, layout: Layout, seed: int = 0) -> list[Mode]:
    """Local maxima of the likelihood, the highest first; the heights are log-likelihoods, constants of counts included.

    Random effects that rows share are integrated by quadrature.
    """
    data = by_cluster(data)[0] if len(data.cluster) else data
    size = layout.sizes(data.family, *data.shape[2:])
    kinds = {"beta": Flat(), "sd": HalfNormal(1), "sigma": LogNormal(0, 1), "nu": Gamma(2, 0.1), "member": Flat()}
    priors, rough = [kinds[k] for k, n in size.items() for _ in range(n)], _roughly(data)
    found = modes(likelihood(rough, layout), rough, layout, priors, seed)
    if not data.nodes:
        return found
    density = likelihood(data, layout)
    return _again(density, found, _scale(data, layout, pooled(data, layout), density.n_top))


def density(
    data: Units,
    layout: Layout,
    priors: list[Prior],
    lkj: Prior | None,
    dirichlet: float,
    outputs: tuple[Output, ...],
) -> Density:
    """The posterior density of a mixture, preconditioned at its highest mode; arguments as in `mixture.tables`.

    Random effects that rows share get coordinates at a pilot, first of one class, then of the classes that were found.
    """
    one = pooled(data, layout)
    given = layout, priors, lkj, dirichlet, outputs
    if len(data.cluster):
        q, K = len(data.random), layout.classes
        repeated = [np.tile(v, (1, K, *[1] * v.ndim)) for v in (one.beta, one.shape, np.diag(one.sd))]
        start = Parameters(*repeated, np.zeros((1, data.shape[3], K)), np.zeros((1, data.n_clusters, q)))
        data = replace(data, pilot=pilot(data, start))
    raw, rough = tables(data, *given), _roughly(data)
    scale = _scale(data, layout, one, raw.n_top)
    found = modes(tables(rough, *given), rough, layout, priors)
    if data.nodes:
        found = _again(raw, found, scale)
    for _ in range(ROUNDS if len(data.cluster) else 0):
        values = np.concatenate([v.ravel() for v in raw.parameters(_full(raw, found[0].x)).values()])
        data = replace(data, pilot=pilot(data, _parsed(values, data, layout, dirichlet > 0)))
        raw = tables(data, *given)
        found = _again(raw, found, scale)
    out = precondition(raw, found[0].x, scale)
    masses = np.array([m.height + _log_volume(raw, m.x, scale) for m in found])
    several = [m.x for m, mass in zip(found, masses, strict=True) if mass > masses.max() + np.log(LEAST_MASS)]
    if len(several) == 1:
        return out
    d = out.n_top
    centre, root = out.floats[out.at : out.at + d], out.floats[out.at + d : out.at + d + d * d].reshape(d, d)
    at = np.linalg.solve(root, (np.array(several) - centre).T).T
    return replace(out, starts=np.column_stack([at, np.zeros((len(at), out.n_dim - d))]))


def _roughly(data: Units) -> Units:
    """The same with few nodes, if quadrature integrates random effects: enough to find modes, which are then climbed again."""
    return replace(data, nodes=FEW) if data.nodes else data


def _again(density: Density, found: list[Mode], scale: np.ndarray) -> list[Mode]:
    """The higher ones of modes that were found in another density, climbed in this one, the highest first."""
    near = [m for m in found if m.height > found[0].height - FAR]
    out = [replace(m, x=x, height=h) for m in near for x, h in [climb(density, m.x, scale, LONG)]]
    return sorted(out, key=lambda m: -m.height)


def _full(density: Density, x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.zeros(density.n_dim - len(x))])


def _log_volume(density: Density, x: np.ndarray, scale: np.ndarray) -> float:
    """Log of the volume of a mode but for a constant, by its curvature: with its height, Laplace's approximation of its mass."""

    def at(y):
        height, grad = leading(density, x + scale * y)
        return height, scale * grad

    values, _ = curvature(at, np.zeros_like(x), 1e-2)
    return float(-0.5 * np.log(values).sum())


def parameters_at(data: Units, layout: Layout, x: np.ndarray) -> Parameters:
    """The parameters of the classes at coordinates of `likelihood`, as one draw."""
    (_, _, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    blocks = K if layout.own_sd else 1
    n = sum(size.values()) - size["member"]
    density = likelihood(data, layout)
    values = replace(density, outputs=(Output("all", (n + blocks * q * q + m * K,)),)).parameters(x)["all"]
    return _parsed(values, data, layout, False)


def classified(data: Units, layout: Layout, x: np.ndarray) -> np.ndarray:
    """P(class | data) at a maximum of the likelihood: (unit, class)."""
    if not len(data.cluster):
        t = parameters_at(data, layout, x)
        values = class_log_likelihood(data, t) + log_prior_probabilities(data, t.alpha)
        return softmax(values[0], axis=1)
    rows, order = by_cluster(data)
    out = np.empty((len(order), layout.classes))
    out[order] = rows_of_clusters(rows, parameters_at(rows, layout, x), share=True)[1]
    return out


def quadrature_error(data: Units, layout: Layout, x: np.ndarray) -> tuple[int, float]:
    """Nodes of each random effect, and how much the log-likelihood at a maximum changes with twice as many; zeros without."""
    data = by_cluster(data)[0] if len(data.cluster) else data
    if not data.nodes:
        return 0, 0.0
    few, many = (likelihood(replace(data, nodes=n), layout)(x)[0] for n in (data.nodes, 2 * data.nodes))
    return data.nodes, abs(many - few)


def _parsed(values: np.ndarray, data: Units, layout: Layout, dirichlet: bool) -> Parameters:
    """What a density stores, as one draw."""
    (_, _, q, m), K = data.shape, layout.classes
    size = layout.sizes(data.family, q, m)
    blocks = K if layout.own_sd else 1
    shape, at = np.ones((1, K, 2)), size["beta"]
    sd = values[at : at + size["sd"]].reshape(blocks, q)
    at += size["sd"]
    for k, name in enumerate(("sigma", "nu")):
        if size[name]:
            shape[0, :, k] = values[at : at + size[name]]
        at += size[name]
    corr = values[at : at + blocks * q * q].reshape(blocks, q, q)
    factor = np.broadcast_to(sd[:, :, None] * corr, (K, q, q))
    at += blocks * q * q
    alpha = values[at : at + m * K].reshape(m, K)
    with np.errstate(divide="ignore"):
        alpha = np.log(alpha) if dirichlet else alpha
    u = values[at + m * K :].reshape(data.n_sampled, q)
    return Parameters(values[layout.beta_at()][None], shape, factor[None], alpha[None], u[None])
