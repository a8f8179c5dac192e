"""Modes of a finite mixture: many dispersed starts, a short climb from each, a long one from the best.

The likelihood of a mixture has local maxima, so that one start proves nothing (mixture_starts.py). Clusters whose rows belong
to classes may have random effects of their own in each class, and class probabilities of their own: modes are sought with random
effects that are alike in all classes and the same class probabilities everywhere, then climbed in the model itself.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import softmax

from bayeshte.marginal.density import Density, Output, curvature, is_even, precondition, unconstrain
from bayeshte.marginal.mixture import Layout, any_priors, likelihood, tables
from bayeshte.marginal.mixture_data import Units, by_cluster
from bayeshte.marginal.mixture_draws import (
    Parameters,
    class_log_likelihood,
    log_prior_probabilities,
    rows_of_clusters,
)
from bayeshte.marginal.mixture_pilot import pilot
from bayeshte.marginal.mixture_starts import LONG, Pooled, climb, leading, padded, pooled, scales, start
from bayeshte.prior import Prior

STARTS = 20  # for each class
ROUNDS = 2  # of the pilot of effects that rows share
SHORT = 25  # iterations of the first climb; the better quarter makes a long one
SPREAD = 0.5  # SD of membership where it starts
REFINED = 4  # modes that get coordinates of their own
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


def modes(density: Density, data: Units, layout: Layout, priors: list[Prior], seed: int = 0) -> list[Mode]:
    """Local maxima of a density, in its own coordinates, the highest first; two that differ in labels only are one."""
    rng = np.random.default_rng(seed)
    one = pooled(data, layout)
    starts = STARTS * layout.classes if layout.classes > 1 else 1
    scale = scales(data, layout, one, density.n_top)
    steps = [one.steps(), one.steps(level=data.by_row and bool(one.own[0]))]
    short = [
        climb(density, start(data, layout, priors, one, steps[k // 2 % 2], rng, density.n_top, k % 2), scale, SHORT)
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


def maximum_likelihood(data: Units, layout: Layout, seed: int = 0) -> list[Mode]:
    """Local maxima of the likelihood, the highest first; the heights are log-likelihoods, constants of counts included.

    Effects that rows share are integrated by quadrature.
    """
    data = by_cluster(data, layout.effects(len(data.random)))[0] if len(data.cluster) else data
    plain = layout.plain()
    rough = replace(_roughly(data), effects=plain.effects(len(data.random)))
    if not rough.effects and data.nodes:
        rough = replace(rough, cluster=data.cluster[:0], nodes=0)
    found = modes(likelihood(rough, plain), rough, plain, any_priors(rough, plain), seed)
    if not data.nodes:
        return found
    density, found = likelihood(data, layout), _widened(found, data, layout, any_priors(data, layout))
    return _again(density, found, scales(data, layout, pooled(data, layout), density.n_top))


def density(
    data: Units,
    layout: Layout,
    priors: list[Prior],
    lkj: Prior | None,
    dirichlet: float,
    outputs: tuple[Output, ...],
) -> Density:
    """The posterior density of a mixture, preconditioned at its highest mode; arguments as in `mixture.tables`."""
    one, given = pooled(data, layout), (layout, priors, lkj, dirichlet, outputs)
    if len(data.cluster):
        raw, found = _with_effects(data, one, *given)
        scale = scales(data, layout, one, raw.n_top)
    else:
        raw, rough = tables(data, *given), _roughly(data)
        scale = scales(data, layout, one, raw.n_top)
        found = modes(tables(rough, *given), rough, layout, priors)
        found = _again(raw, found, scale) if data.nodes else found
    out = precondition(raw, found[0].x, scale)
    masses = np.array([m.height + _log_volume(raw, m.x, scale) for m in found])
    several = [m.x for m, mass in zip(found, masses, strict=True) if mass > masses.max() + np.log(LEAST_MASS)]
    if len(several) == 1:
        return out
    d = out.n_top
    centre, root = out.floats[out.at : out.at + d], out.floats[out.at + d : out.at + d + d * d].reshape(d, d)
    at = np.linalg.solve(root, (np.array(several) - centre).T).T
    return replace(out, starts=np.column_stack([at, np.zeros((len(at), out.n_dim - d))]))


def _with_effects(
    data: Units,
    one: Pooled,
    layout: Layout,
    priors: list[Prior],
    lkj: Prior | None,
    dirichlet: float,
    outputs: tuple[Output, ...],
) -> tuple[Density, list[Mode]]:
    """The density where effects that rows share are sampled, and its modes.

    Modes are sought given the effects that a model of one class predicts; then effects get coordinates at a pilot of each mode,
    in which the heights of modes can be compared, and those of the highest are kept.
    """
    q, K, J, plain = len(data.random), layout.classes, data.n_clusters, layout.plain()
    fewer, first = _plain_priors(data, layout, priors), replace(data, cluster=data.cluster[:0])
    if q:
        repeated = [np.tile(v, (1, K, *[1] * v.ndim)) for v in (one.beta, one.shape, np.diag(one.sd))]
        zeros = np.zeros((1, data.shape[3], K)), np.zeros((1, 1, J, q)), np.zeros((1, 0, K)), np.zeros(1)
        predicted = pilot(data, plain, Parameters(*repeated, *zeros))
        first = replace(data, pilot=replace(predicted, B=np.zeros_like(predicted.B)))
    density = tables(first, plain, fewer, lkj, dirichlet, ())
    found = modes(density, first, plain, fewer)
    wider, refined = _widened(found, data, layout, priors), []
    for mode, there in list(zip(found, wider, strict=True))[:REFINED]:
        t = _at(density, mode.x, first, plain, dirichlet > 0)
        t = replace(t, u=np.repeat(t.u, K, axis=1) if layout.own_effects else t.u if q else np.zeros((1, 1, J, 0)))
        if layout.varies:
            t = replace(t, u_member=np.zeros((1, J, K)), sd_member=np.array([SPREAD]))
        for _ in range(ROUNDS):
            own = replace(data, pilot=pilot(data, layout, t))
            at_mode = tables(own, layout, priors, lkj, dirichlet, outputs)
            scale = scales(data, layout, one, at_mode.n_top)
            (there,) = _again(at_mode, [there], scale)
            t = _at(at_mode, there.x, own, layout, dirichlet > 0)
        refined.append((there, at_mode))
    best, density = max(refined, key=lambda pair: pair[0].height)
    lower = [m for m, _ in refined if m.height < best.height - SAME]
    again = _again(density, lower, scales(data, layout, one, density.n_top)) if lower else []
    return density, [best, *(m for m in again if m.height < best.height - SAME)]


def _plain_priors(data: Units, layout: Layout, priors: list[Prior]) -> list[Prior]:
    """Priors of the scalars that `Layout.plain` has."""
    size, fewer = (a.sizes(data.family, *data.shape[2:]) for a in (layout, layout.plain()))
    at_sd, at_member = size["beta"], len(priors) - size["member"]
    between = priors[at_sd + size["sd"] : at_member - size["sd_member"]]
    return [*priors[: at_sd + fewer["sd"]], *between, *priors[at_member:]]


def _widened(found: list[Mode], data: Units, layout: Layout, priors: list[Prior]) -> list[Mode]:
    """Maxima in the coordinates of `Layout.plain` in those of the layout, as places from which to climb."""
    size, fewer = (a.sizes(data.family, *data.shape[2:]) for a in (layout, layout.plain()))
    times = size["sd"] // fewer["sd"] if fewer["sd"] else 1
    at_sd, at_member = size["beta"], sum(fewer[k] for k in ("beta", "sd", "sigma", "nu"))
    at_corr, spread = at_member + size["member"], []
    if layout.varies:
        prior = priors[len(priors) - size["member"] - 1]
        spread = [SPREAD if is_even(prior) else unconstrain(prior, SPREAD)]

    def wider(x):
        sd, rest = np.split(x[at_sd:at_member], [fewer["sd"]])
        return np.concatenate(
            [x[:at_sd], np.tile(sd, times), rest, spread, x[at_member:at_corr], np.tile(x[at_corr:], times)]
        )

    return [replace(m, x=wider(m.x)) for m in found]


def _roughly(data: Units) -> Units:
    """The same with few nodes, if quadrature integrates random effects: enough to find modes, which are then climbed again."""
    return replace(data, nodes=FEW) if data.nodes else data


def _again(density: Density, found: list[Mode], scale: np.ndarray) -> list[Mode]:
    """The higher ones of modes that were found in another density, climbed in this one, the highest first."""
    near = [m for m in found if m.height > found[0].height - FAR]
    out = [replace(m, x=x, height=h) for m in near for x, h in [climb(density, m.x, scale, LONG)]]
    return sorted(out, key=lambda m: -m.height)


def _log_volume(density: Density, x: np.ndarray, scale: np.ndarray) -> float:
    """Log of the volume of a mode but for a constant, by its curvature: with its height, Laplace's approximation of its mass."""

    def at(y):
        height, grad = leading(density, x + scale * y)
        return height, scale * grad

    values, _ = curvature(at, np.zeros_like(x), 1e-2)
    return float(-0.5 * np.log(values).sum())


def parameters_at(data: Units, layout: Layout, x: np.ndarray) -> Parameters:
    """The parameters of the classes at coordinates of `likelihood`, as one draw."""
    return _at(likelihood(data, layout), x, data, layout, False)


def _at(density: Density, x: np.ndarray, data: Units, layout: Layout, dirichlet: bool) -> Parameters:
    """The parameters at leading coordinates of a density, as one draw."""
    (_, _, q, m), K, J = data.shape, layout.classes, data.n_sampled
    size, blocks, sets = layout.sizes(data.family, q, m), K if layout.own_sd else 1, K if layout.own_effects else 1
    scalars = sum(size.values()) - size["member"]
    lengths = [size[k] for k in ("beta", "sd", "sigma", "nu", "sd_member")]
    lengths += [blocks * q * q, (1 if dirichlet else m) * K, sets * J * q, J * K if layout.varies else 0]
    given = replace(density, outputs=(Output("all", (scalars + sum(lengths[5:]),)),))
    values = given.parameters(padded(density, x))["all"]
    beta, sd, sigma, nu, sd_member, corr, alpha, u, u_member = np.split(values, np.cumsum(lengths)[:-1])
    shape = np.ones((1, K, 2))
    for k, value in enumerate((sigma, nu)):
        if len(value):
            shape[0, :, k] = value
    factor = np.broadcast_to(sd.reshape(blocks, q, 1) * corr.reshape(blocks, q, q), (K, q, q))
    with np.errstate(divide="ignore"):
        alpha = np.log(alpha) if dirichlet else alpha
    return Parameters(
        *(beta[layout.beta_at()][None], shape, factor[None], alpha.reshape(1, -1, K)),
        *(u.reshape(1, sets, J, q), u_member.reshape(1, -1, K), sd_member if layout.varies else np.zeros(1)),
    )


def classified(data: Units, layout: Layout, x: np.ndarray) -> np.ndarray:
    """P(class | data) at a maximum of the likelihood: (unit, class)."""
    if not len(data.cluster):
        t = parameters_at(data, layout, x)
        values = class_log_likelihood(data, t) + log_prior_probabilities(data, t)
        return softmax(values[0], axis=1)
    rows, order = by_cluster(data, layout.effects(len(data.random)))
    out = np.empty((len(order), layout.classes))
    out[order] = rows_of_clusters(rows, parameters_at(rows, layout, x), share=True)[1]
    return out


def quadrature_error(data: Units, layout: Layout, x: np.ndarray) -> tuple[int, float]:
    """Nodes of each random effect, and how much the log-likelihood at a maximum changes with twice as many; zeros without."""
    data = by_cluster(data, layout.effects(len(data.random)))[0] if len(data.cluster) else data
    if not data.nodes:
        return 0, 0.0
    few, many = (likelihood(replace(data, nodes=n), layout)(x)[0] for n in (data.nodes, 2 * data.nodes))
    return data.nodes, abs(many - few)
