"""Item responses with treatment effects by item: the kernel's tables, in coordinates that a pilot fit makes easy.

kernels/item_response.py has the equations, `item_response_pilot.py` the pilot fit. An SD that may be zero is sampled with a sign
(`density.prior_tables`); one that is clearly not has its logarithm as coordinate, because with few items its density is steep on
the side of zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayeshte.marginal import item_response_pilot as pilot
from bayeshte.marginal.density import Density, Output, is_even, lkj_constant, precondition, prior_tables, unconstrain
from bayeshte.marginal.item_categories import Form
from bayeshte.marginal.item_response_pilot import Values
from bayeshte.marginal.occasions import Pairs
from bayeshte.marginal.responses import Responses
from bayeshte.prior import Prior

ROUNDS = 3  # of the pilot fit
LEAST = 0.05  # of the SDs about which the pilot fit linearises
BEND = 1.0  # from where on an SD with a sign is on the log scale
CLEAR = 10.0  # nats between the mode and an SD near zero from which on the SD is sampled on the log scale, with no sign


@dataclass(frozen=True)
class Structure:
    """What varies over items and clusters, and the priors.

    Attributes
    ----------
    arms : ndarray (arm, q) of 0 and 1
        Effects of an item, which of them make its level in each arm: of q effects its easiness, those of the other arms than the
        reference, and, if there are two occasions, its drift.
    correlated : int
        How many of them, the first, are correlated and have the covariates of items.
    W : ndarray (item, m)
        Covariates of items.
    fixed : ndarray (q,) or None
        SDs of the priors of fixed item effects, which sum to zero; None if they are random.
    priors : sequence of Prior
        Of beta (p), gamma (c m), the SDs of random items (q), the SDs of the clusters (s), the SD of log slopes if they are free,
        and the residual SDs of abilities.
    lkj : (Prior or None, Prior or None, Prior or None)
        Of the correlations of item effects, of cluster effects and of abilities before and after; None where there is at most one
        effect, or for fixed items, or on one occasion.
    sigmas : int
        Residual SDs of abilities: 1, or one for each arm, or before and after.
    outputs : tuple of Output
        Names and shapes of the scalars in order, the factor of the items' correlations (c, c; not if they are fixed), that of the
        clusters' (s, s), the item effects (J, c), drift (J) and the cluster effects (S, s), the latter two if there are clusters;
        log slopes if they are free, the steps of thresholds if there are categories, and on two occasions the correlation.
    pairs : Pairs or None
        Persons before and after, if there are two occasions; then the arms of `data` are before, and the arms after.
    """

    arms: np.ndarray
    correlated: int
    W: np.ndarray
    fixed: np.ndarray | None
    priors: Sequence[Prior]
    lkj: tuple[Prior | None, Prior | None, Prior | None]
    sigmas: int
    outputs: tuple[Output, ...]
    pairs: Pairs | None

    @property
    def q(self) -> int:
        return self.arms.shape[1]


def density(data: Responses, structure: Structure) -> Density:
    """The kernel's tables, parametrised by information and preconditioned at a pilot fit."""
    q, s, priors = structure.q, len(data.random), structure.priors
    values = pilot.guess(data, structure, len(priors) - structure.sigmas)
    P = values.P
    flat = pilot.flat(data, values)
    unit = np.concatenate(
        [pilot.units(data, structure.W, structure.correlated), 0.3 * values.scalars[P:], np.ones(_pairs(structure, s))]
    )
    signed = [k for k in range(P, len(priors)) if is_even(priors[k])]
    unit[signed] /= np.hypot(BEND, values.scalars[signed])
    out = None
    for _ in range(ROUNDS):
        values.scalars[P:] = np.maximum(values.scalars[P:], LEAST)
        clear = [k for k in signed if out is not None and _is_clear(out, k)]
        signed = [k for k in signed if k not in clear]
        unit[clear] *= np.hypot(BEND, values.scalars[clear]) / values.scalars[clear]
        start = _coordinates(values, priors, signed)
        plain = _tables(data, structure, values, flat, signed)
        tables = pilot.linearise(plain.with_coordinates(start, np.eye(len(start))), data, values)
        out = precondition(_tables(data, structure, values, tables, signed), start, unit)
        scale = out.floats[out.at + out.n_top : out.at + out.n_top * (out.n_top + 1)].reshape(out.n_top, -1)
        unit = np.sqrt((scale**2).sum(1))
        values = _values(out, data, values)
    return _stretched(out, data, values, tables.A, [P + k in signed for k in range(q)], structure.pairs)


def _pairs(structure: Structure, s: int) -> int:
    """Number of correlations."""
    c = structure.correlated if structure.fixed is None else 0
    return s * (s - 1) // 2 + c * (c - 1) // 2 + (structure.pairs is not None)


def _values(density: Density, data: Responses, before: Values) -> Values:
    """Parameters at the mode, in the pilot's layout."""
    flat = np.concatenate([v.ravel() for v in density.parameters(np.zeros(density.n_dim)).values()])
    n, (J, q), s, c = len(before.scalars), before.u.shape, len(data.random), before.correlated
    sizes = [n, 0 if before.fixed is not None else c * c, s * s, J * c, J * (q - c), data.n_clusters * s]
    sizes += [J * before.slopes, len(flat) - sum(sizes) - J * before.slopes - len(before.abilities)]
    scalars, factor, cluster_factor, u, drift, v, log_a, w, abilities = np.split(flat, np.cumsum(sizes))
    corr = before.corr.copy()
    if before.fixed is None:
        corr[:c, :c] = factor.reshape(c, c)
    return replace(
        before,
        scalars=scalars.copy(),
        corr=corr,
        cluster_corr=cluster_factor.reshape(s, s),
        u=np.column_stack([u.reshape(J, c), drift.reshape(J, q - c)]),
        v=v.reshape(data.n_clusters, s),
        shapes=_shapes(data.categories.form, log_a, w) if data.categories else (),
        abilities=abilities,
    )


def _shapes(form: Form, log_a: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """The shapes of the items of each group, from log slopes and steps in the order of the items."""
    rows = [np.concatenate([log_a[i : i + 1], w[form.steps(i)] - form.step[0]]) for i in range(len(form.n_categories))]
    return tuple(np.array([rows[i] for i in items]) for items in form.groups)


def _is_clear(density: Density, k: int) -> bool:
    """Whether the density is far lower near zero of an SD with a sign than at the mode, all else as it is there."""
    mode, rest = density.floats[density.at : density.at + density.n_top], np.zeros(density.n_dim)
    near = np.where(np.arange(len(mode)) == k, 0.05 * mode, mode)
    values = [density.with_coordinates(at, np.eye(len(mode)))(rest)[0] for at in (mode, near)]
    return values[0] - values[1] > CLEAR


def _coordinates(values: Values, priors: Sequence[Prior], signed: Sequence[int]) -> np.ndarray:
    """Coordinates of scalars and of the Cholesky factors of the correlations; positive where an SD has a sign."""
    scalars = [
        np.arcsinh(v / BEND) if k in signed else unconstrain(prior, v)
        for k, (prior, v) in enumerate(zip(priors, values.scalars, strict=True))
    ]
    c = values.correlated
    factors = [values.cluster_corr] if values.fixed is not None else [values.corr[:c, :c], values.cluster_corr]
    correlations = [_partial_correlations(L) for L in factors]
    return np.concatenate([scalars, *correlations, np.arctanh(np.clip(values.abilities, -0.99, 0.99))])


def _partial_correlations(factor: np.ndarray) -> np.ndarray:
    """Coordinates of the Cholesky factor of a correlation matrix: see `kernels.parameters.correlation`."""
    out = []
    for i, row in enumerate(factor):
        left = np.sqrt(1 - np.cumsum(np.append(0.0, row[:i] ** 2))[:i])
        out.extend(np.arctanh(np.clip(row[:i] / np.maximum(left, 1e-6), -0.99, 0.99)))
    return np.array(out)


def _stretched(
    density: Density, data: Responses, values: Values, A: np.ndarray, signed: Sequence[bool], pairs: Pairs | None
) -> Density:
    """The same density, scaled in the directions in which all items change alike; see the kernel.

    u = C R'^-1 t for M = I + C' A C = R R'. The curvature in these directions is from differences of the gradient.
    """
    (F, q), d, P = A.shape[:2], density.n_top, values.P
    centre = density.floats[density.at : density.at + d]
    signs = [-1.0 if has_sign and x < 0 else 1.0 for x, has_sign in zip(centre[P : P + q], signed, strict=False)]
    signs = np.array(signs if values.fixed is None else np.ones(q))
    L = (
        values.corr * signs
    )  # the factor in the coordinates of the kernel: with an SD, its row and column change their signs
    C = values.sd[:, None] * L
    R = np.linalg.cholesky(np.eye(q) + C.T @ A @ C)
    alike = R.swapaxes(1, 2) @ np.linalg.inv(L)  # C^-1 but for the length of its columns
    V = np.linalg.qr(alike.reshape(F * q, q))[0]
    moves = np.zeros((q, density.n_dim))
    moves[:, d : d + F * q] = 1e-2 * V.T
    change = np.array([density(-m)[1] - density(m)[1] for m in moves]) / 2e-2
    coupling, curvature = (
        change[:, :d].T,
        change[:, d : d + F * q] @ V,
    )  # with the preconditioned coordinates, whose own is I
    left = (curvature + curvature.T) / 2 - coupling.T @ coupling
    eigenvalues, vectors = np.linalg.eigh(left)
    S = vectors @ np.diag(np.clip(eigenvalues, 1e-6, None) ** -0.5) @ vectors.T
    floats = density.floats.copy()
    floats[0] += np.linalg.slogdet(S)[1]
    parts = np.concatenate([V.ravel(), (V @ (S - np.eye(q))).ravel(), -(coupling @ S).ravel()])
    end = len(floats) - _after_directions(data, values, pairs)
    floats[end - len(parts) : end] = parts
    return replace(density, floats=floats)


def _likelihood_tables(data: Responses) -> list[np.ndarray]:
    return [data.right.ravel(), data.limits, data.count, data.score, data.x.ravel()]


def _after_directions(data: Responses, values: Values, pairs: Pairs | None) -> int:
    """Length of the tables behind those of `_stretched`."""
    out = sum(v.size for v in (values.W, *_likelihood_tables(data)))
    if not data.categories:
        return out
    R, p = data.n_arms, data.x.shape[1]
    sizes = [len(x) * (r * r + r + 2 * R * r + R) for x in values.shapes if (r := x.shape[1])]
    out += data.categories.responses.size + 2 + R * p + R + sum(sizes)
    return out + (len(pairs.count) + len(pairs.single_count) + 1 if pairs else 0)


def _category_tables(data: Responses, structure: Structure, tables: pilot.Tables) -> tuple[list, list]:
    """What kernels/item_categories.py, or item_occasions.py, has behind the tables of all models: ints and floats."""
    form = data.categories.form
    groups = [k for k, items in enumerate(form.groups) if form.size(items)]
    sizes = [n for k in groups for n in (form.size(form.groups[k]), len(form.groups[k]))]
    ints = [
        structure.arms.ravel(),
        [form.form, form.link, form.free, len(groups)],
        sizes,
        *(form.groups[k] for k in groups),
        form.first,
    ]
    floats = [data.categories.responses.ravel(), form.step, tables.x.ravel(), tables.sigma]
    for k in groups:
        parts = tables.shape_A[k], tables.shape_g[k], tables.shape_X[k], tables.levels[:, form.groups[k]].T
        floats.append(np.concatenate([v.reshape(len(v), -1) for v in parts], axis=1).T.ravel())
    ints += [data.categories.first_answer, data.categories.answers]
    pairs = structure.pairs
    if pairs is None:
        return ints, floats
    return ints + pairs.ints, [*floats, pairs.count, pairs.single_count, [structure.lkj[2]["eta"]]]


def _tables(data: Responses, structure: Structure, values: Values, tables: pilot.Tables, signed) -> Density:
    """The density in the coordinates that the tables give, not preconditioned."""
    if structure.pairs:
        from bayeshte.marginal.kernels import item_occasions as kernel  # compiled on first use
    elif data.categories:
        from bayeshte.marginal.kernels import item_categories as kernel
    else:
        from bayeshte.marginal.kernels import item_response as kernel

    priors, W = structure.priors, structure.W
    J, (F, q), (S, s), n = len(W), tables.A.shape[:2], tables.cluster_A.shape[:2], len(priors)
    d = n + _pairs(structure, s)
    codes, hyper, constant = prior_tables(priors, signed, BEND)
    etas = [prior["eta"] if prior is not None else 1.0 for prior in structure.lkj]
    of_items = structure.correlated if structure.fixed is None else 0
    correlated = of_items, s, 2 if structure.pairs else 0
    constant += sum(lkj_constant(eta, k) for eta, k in zip(etas, correlated, strict=True) if k > 1)
    effects = F * q + S * s + sum(x.size for x in values.shapes)
    constant -= 0.5 * effects * np.log(2 * np.pi)
    P, p, N, G = values.P, data.x.shape[1], len(data.count), len(data.arm)
    sizes = [d, n, q, s, P, p, J, F, S, N, G, data.n_arms, structure.sigmas, 0 if structure.fixed is not None else q]
    sizes += [data.n_arms if data.categories else 0, structure.correlated]
    by_item, by_cluster = (
        np.concatenate([v.reshape(len(v), v[0].size if len(v) else 0) for v in parts], axis=1).T.ravel()
        for parts in ((tables.A, tables.g, tables.B), (tables.cluster_A, tables.cluster_g, tables.cluster_B))
    )
    floats = [[constant, *etas[:2]], hyper, np.zeros(d), np.eye(d).ravel(), values.scalars[:P]]
    floats += [tables.sigma] if data.categories else []
    floats += [structure.fixed if structure.fixed is not None else np.ones(q), by_item, by_cluster]
    floats += [tables.level, tables.share.ravel(), np.zeros((2 * F * q + d) * q), W.T.ravel()]
    floats += _likelihood_tables(data)
    ints = [sizes, codes, data.random, data.cluster if s else [], *data.structure]
    if data.categories:
        more, more_floats = _category_tables(data, structure, tables)
        ints, floats = ints + more, floats + more_floats
    return Density(
        log_density=kernel.log_density_c,
        expand=kernel.expand_c,
        ints=np.concatenate(ints).astype(np.int64),
        floats=np.concatenate([np.asarray(v, float) for v in floats]),
        n_dim=d + effects,
        outputs=structure.outputs,
        at=3 + 4 * n,
        n_top=d,
    )
