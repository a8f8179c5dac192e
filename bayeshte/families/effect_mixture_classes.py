"""What was integrated drawn back, and labels put in order: P(class | data), the class of each cluster, its random effects."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import log_softmax, logsumexp

from bayeshte.families.effect_mixture_arrays import COEFFICIENTS, STORED, Arrays
from bayeshte.labelled import flatten, unstack
from bayeshte.marginal import mixture_draws, relabel
from bayeshte.marginal.mixture_draws import Parameters

CHUNK = 2_000_000  # values (draw, unit, class) held at once
RELABELLED = 400  # units by whose classification draws are relabelled


def terms(D: Arrays, t: Parameters) -> np.ndarray:
    """log pi_jc + log p(y_j | c) of every unit and class, constants of counts left out: (draw, unit, class)."""
    values = mixture_draws.class_log_likelihood(D.units, t)
    alike = not D.logit_membership  # in all units
    values += log_softmax(t.alpha, axis=-1) if alike else mixture_draws.log_prior_probabilities(D.units, t)
    return values


def _pieces(D: Arrays, draws: xr.Dataset) -> Iterator[Parameters]:
    t, step = D.parameters(draws), max(1, CHUNK // (D.n_units * D.classes))
    return (t[k : k + step] for k in range(0, len(t.beta), step))


def class_probabilities(D: Arrays, t: Parameters) -> np.ndarray:
    """P(class | data) of every unit given the parameters of draws: (draw, unit, class)."""
    values = terms(D, t)
    mixture_draws.summarise(values, np.zeros(values.shape[1:]))
    return values


def probabilities(D: Arrays, draws: xr.Dataset) -> np.ndarray:
    """P(class | data) of every unit given the parameters of every draw: (draw, unit, class)."""
    return np.concatenate([class_probabilities(D, t) for t in _pieces(D, draws)])


@dataclass(frozen=True)
class Classification:
    """How units are classified given the parameters of every draw.

    Attributes
    ----------
    log_likelihood : ndarray (draw,)
        Constants of counts left out.
    share : ndarray (draw, class)
        P(class | data), averaged over units.
    entropy : ndarray (draw,)
        1 - mean over units of -sum_c p log p / log K (Ramaswamy et al., 1993); 1 with one class.
    probability : ndarray (unit, class)
        P(class | data), averaged over draws.
    """

    log_likelihood: np.ndarray
    share: np.ndarray
    entropy: np.ndarray
    probability: np.ndarray


def classification(D: Arrays, draws: xr.Dataset) -> Classification:
    """See `Classification`."""
    S = draws.sizes["chain"] * draws.sizes["draw"]
    probability = np.zeros((D.n_units, D.classes))
    parts = [mixture_draws.summarise(terms(D, t), probability) for t in _pieces(D, draws)]
    total, share, doubt = (np.concatenate(v) for v in zip(*parts, strict=True))
    return Classification(total, share, 1 - doubt / max(np.log(D.classes), 1e-300), probability / S)


def unit_log_likelihood(D: Arrays, draws: xr.Dataset) -> np.ndarray:
    """log p(y_j) of every unit, its class and random effects integrated, constants of counts left out: (draw, unit)."""
    return np.concatenate([logsumexp(terms(D, t), axis=-1) for t in _pieces(D, draws)])


def recover(spec, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """See `ModelSpec.recover`. Draws of the joint graph hold labels already: they are renumbered if an order is asked for."""
    D = Arrays(design)
    draws = _with_correlations(draws, D)
    draws = draws[[v for v in STORED if v in draws]]
    drawn = "label" in draws
    if D.classes > 1 and (spec.order or not drawn):
        draws = renumbered(draws, _order(spec, D, draws))
    if spec.class_of == "individual":
        return draws.drop_vars("label", errors="ignore")
    if not drawn:
        draws = _drawn_back(D, draws, rng)
    return _with_effects(draws, D)


def _with_correlations(draws: xr.Dataset, D: Arrays) -> xr.Dataset:
    """The kernel stores the Cholesky factors, the joint graph the correlations too."""
    if D.q < 2 or "corr" in draws:
        return draws
    factor = draws["_corr_factor"].transpose("chain", "draw", ..., "varying", "varying_")
    L = factor.to_numpy()
    corr = L @ L.swapaxes(-1, -2)
    corr[..., np.arange(D.q), np.arange(D.q)] = 1.0
    return draws.assign(corr=(factor.dims, corr))


def _order(spec, D: Arrays, draws: xr.Dataset) -> np.ndarray:
    """Which class of each draw becomes class 1, 2, ...: (draw, class)."""
    if spec.order:
        return relabel.ascending(value_of(D, draws, spec.order))
    some = D.only(np.arange(0, D.n_units, -(-D.n_units // RELABELLED)))
    order = relabel.stephens(probabilities(some, draws), int(classification(some, draws).log_likelihood.argmax()))
    name = next(v for v in (*COEFFICIENTS, "sigma", "sd", "nu") if v in draws and "class" in draws[v].dims)
    first = D.by_class(draws, name).reshape(len(order), D.classes, -1)[..., 0]
    return order[:, np.take_along_axis(first, order, axis=1).mean(0).argsort()]


def value_of(D: Arrays, draws: xr.Dataset, label: str) -> np.ndarray:
    """Draws of a parameter in every class by its label without the class, ``gamma1[small]``: (draw, class)."""
    name, _, element = label.rstrip("]").partition("[")
    values = D.by_class(draws, name)
    if not element:
        return values
    dim = D.treatment if name == "gamma1" else "covariate"
    return values[..., D.labels(dim).index(element)]


def renumbered(draws: xr.Dataset, order: np.ndarray) -> xr.Dataset:
    """Draws with class ``order[s, k]`` of draw s as class k."""
    n = draws.sizes["chain"], draws.sizes["draw"]
    out = {}
    for name, values in draws.data_vars.items():
        if "class" in values.dims:
            x = values.transpose("chain", "draw", "class", ...)
            flat = flatten(x)
            picked = np.take_along_axis(flat, order.reshape(*order.shape, *[1] * (flat.ndim - 2)), axis=1)
            out[name] = (x.dims, picked.reshape(*n, *picked.shape[1:]), values.attrs)
        elif name == "label":
            new = np.argsort(order, axis=1)
            out[name] = (
                values.dims,
                np.take_along_axis(new, flatten(values), axis=1).reshape(values.shape),
                values.attrs,
            )
    return draws.assign(out)


def _drawn_back(D: Arrays, draws: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
    """Adds the class of every cluster and its random effects, drawn from their exact conditional distribution."""
    label = np.concatenate([drawn(class_probabilities(D, t), rng) for t in _pieces(D, draws)])
    exact = {"drawn_exactly": 1}
    units = {D.cluster: D.labels(D.cluster)}
    if D.classes > 1:
        draws = draws.assign(label=unstack(label, draws, **units).assign_attrs(exact))
    if D.q:
        u = mixture_draws.draw_effects(D.units, D.parameters(draws), label, rng)
        draws = draws.assign(u=unstack(u, draws, **units, varying=D.varying).assign_attrs(exact))
    return draws


def drawn(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Classes drawn with their probabilities (draw, unit, class)."""
    return (rng.random((*p.shape[:2], 1)) > p.cumsum(-1)[..., :-1]).sum(-1)


def _with_effects(draws: xr.Dataset, D: Arrays) -> xr.Dataset:
    """Adds each cluster's effect on the scale of eta: that of its class, gamma1, plus U1."""
    if not D.contrasts:
        return draws
    label = flatten(draws["label"]).astype(np.int64) if "label" in draws else 0
    gamma1 = D.by_class(draws, "gamma1")
    s = np.arange(len(gamma1))[:, None]
    effect = gamma1[s, np.broadcast_to(label, (len(gamma1), D.n_units))]
    for k, arm in enumerate(D.contrasts):
        if arm in D.varying:
            effect[..., k] += flatten(draws["u"])[..., D.varying.index(arm)]
    values = unstack(effect, draws, **{D.cluster: D.labels(D.cluster), D.treatment: D.contrasts})
    return draws.assign(effect=values.assign_attrs(computed=1))
