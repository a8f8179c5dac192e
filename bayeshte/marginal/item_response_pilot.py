"""The pilot fit of item responses: rough values, modes of the effects of items and clusters, and the information about
them.

For every item i the information A_i about its effects, B_i about them and the coefficients together, and g_i = A_i u_i
+ score at the mode of u_i; the same of clusters and of the shapes of items (`item_categories.py`). The information in
an arm is that of n responses with probabilities p, abilities integrated: n w (1 - w / (1 / sigma^2 + sum_i w)), w the
mean of p (1 - p); about the mean ability of a person 1 / (sigma^2 + 1 / sum_i w)."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from bayeshte.marginal.density import Density
from bayeshte.marginal.item_categories import Information, information
from bayeshte.marginal.responses import Responses

NEWTON = 12  # steps to the modes of the effects
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


@dataclass(frozen=True)
class Values:
    """A point: parameters and effects.

    Attributes
    ----------
    scalars : ndarray (n,)
        beta (p), gamma (q m), SDs of random items (q), SDs of clusters (s), SD of log slopes if they are free, residual SDs of
        abilities.
    P, sigmas : int
        Number of coefficients beta and gamma, and of residual SDs.
    W : ndarray (item, m)
        Covariates of items.
    fixed : ndarray (q,) or None
        SDs of the priors of fixed items.
    arms, correlated : ndarray (arm, q), int
        Which effects make the level of an item in each arm, and how many are correlated and have covariates.
    corr, cluster_corr : ndarray (q, q), (s, s)
        Cholesky factors of correlations.
    u, v : ndarray (item, q), (cluster, s)
        Effects of items beside those of their covariates, and of clusters.
    shapes : tuple of ndarray (item, r)
        Shapes of the items of each group, their steps from the mean of the prior; empty where there are none.
    slopes, step : bool, float
        Whether slopes are free, and the SD of the steps.
    abilities : ndarray (1,) or (0,)
        Correlation of abilities before and after, if there are two occasions.
    """

    scalars: np.ndarray
    P: int
    sigmas: int
    W: np.ndarray
    fixed: np.ndarray | None
    arms: np.ndarray
    correlated: int
    corr: np.ndarray
    cluster_corr: np.ndarray
    u: np.ndarray
    v: np.ndarray
    shapes: tuple[np.ndarray, ...]
    slopes: bool
    step: float
    abilities: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        """SDs of the item effects."""
        return self.scalars[self.P : self.P + self.u.shape[1]] if self.fixed is None else self.fixed

    @property
    def cluster_sd(self) -> np.ndarray:
        end = len(self.scalars) - self.sigmas - self.slopes
        return self.scalars[end - self.v.shape[1] : end]

    @property
    def C(self) -> np.ndarray:
        """Scale matrix of the item effects."""
        return self.sd[:, None] * self.corr

    @property
    def cluster_C(self) -> np.ndarray:
        return self.cluster_sd[:, None] * self.cluster_corr

    @property
    def slope_sd(self) -> float:
        """SD of log slopes, one if they are not free."""
        return float(self.scalars[len(self.scalars) - self.sigmas - 1]) if self.slopes else 1.0

    def shape_C(self, k: int) -> np.ndarray:
        """Scale matrix of the shapes of a group."""
        r = self.shapes[k].shape[1]
        return np.diag(([self.slope_sd] * self.slopes + [self.step] * r)[:r])

    @property
    def effects(self) -> np.ndarray:
        """Easiness and effects of the items, (item, q)."""
        c, m = self.correlated, self.W.shape[1]
        explained = self.W @ self.scalars[self.P - c * m : self.P].reshape(c, m).T
        return self.u + np.pad(explained, ((0, 0), (0, self.u.shape[1] - c)))

    @property
    def levels(self) -> np.ndarray:
        """Of the items in every arm, (arm, item)."""
        return self.arms @ self.effects.T

    @property
    def free(self) -> np.ndarray:
        """The item effects as they are sampled: themselves, or the coordinates of effects that sum to zero."""
        if self.fixed is None:
            return self.u
        n = len(self.u)
        return self.u[:-1] - self.u[:-1].sum(0) / (np.sqrt(n) + n) - self.u[-1] / np.sqrt(n)

    def with_free(self, a: np.ndarray) -> "Values":
        """These values with other item effects."""
        if self.fixed is not None:
            n = len(self.u)
            total = a.sum(0)
            a = np.vstack([a - total / (np.sqrt(n) + n), -total / np.sqrt(n)])
        return replace(self, u=a)


@dataclass(frozen=True)
class Tables:
    """What the kernel linearises about: A, g, B of the items that are sampled and of the clusters, and the mean item effects; by
    group of items A, g, X of the shapes; by arm the levels of the items, the mean covariates and the residual SDs."""

    A: np.ndarray
    g: np.ndarray
    B: np.ndarray
    cluster_A: np.ndarray
    cluster_g: np.ndarray
    cluster_B: np.ndarray
    level: np.ndarray
    share: np.ndarray
    shape_A: list[np.ndarray]
    shape_g: list[np.ndarray]
    shape_X: list[np.ndarray]
    levels: np.ndarray
    x: np.ndarray
    sigma: np.ndarray


def guess(data: Responses, structure, before: int) -> Values:
    """Rough values: logits of the scores of persons and of items. structure: an `item_response.Structure`; before: the number of
    scalars before the residual SDs."""
    p, s, R = data.x.shape[1], len(data.random), data.n_arms
    W, q, c, fixed = structure.W, structure.q, structure.correlated, structure.fixed
    P = p + c * W.shape[1]
    logit, error = _logit(data.score, data.most)
    mean, arms = np.zeros(R), np.unique(data.arm)
    for t in arms:
        own = data.unit_arm == t
        mean[t] = np.average(logit[own], weights=data.count[own])
    sigma = np.sqrt(max(np.average((logit - mean[data.unit_arm]) ** 2 - error, weights=data.count), 0.1))
    items, noise = _logit(data.right.sum(0), data.seen.sum(0) * data.highest)
    spread = np.sqrt(max(items.var() - noise.mean(), 0.05) * (1 + 0.35 * sigma**2))
    scalars = np.full(before + structure.sigmas, 0.3)
    scalars[:P] = 0.0
    of_arms = np.array([data.x[np.argmax(data.unit_arm == t), : len(arms)] for t in arms])  # 1, arms, occasion
    scalars[: len(arms)] = np.linalg.solve(of_arms, mean[arms])
    if fixed is None:
        scalars[P] = spread
    scalars[before:] = sigma
    u, v = np.zeros((data.right.shape[1], q)), np.zeros((data.n_clusters, s))
    form = data.categories.form if data.categories else None
    shapes = tuple(np.zeros((len(items), form.size(items))) for items in form.groups) if form else ()
    more = (shapes, form.free, form.step[1]) if form else (shapes, False, 1.0)
    more += (np.full(int(structure.pairs is not None), 0.5),)
    return Values(scalars, P, structure.sigmas, W, fixed, structure.arms, c, np.eye(q), np.eye(s), u, v, *more)


def _logit(right: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Empirical logits, and the variance of their sampling error."""
    return np.log((right + 0.5) / (n - right + 0.5)), 1 / (right + 0.5) + 1 / (n - right + 0.5)


def units(data: Responses, W: np.ndarray, c: int) -> np.ndarray:
    """How far the coefficients may be off their guesses."""
    return 0.3 / np.sqrt(
        np.concatenate([np.average(data.x**2, axis=0, weights=data.count), np.tile((W**2).mean(0), c)])
    )


def flat(data: Responses, values: Values) -> Tables:
    """Tables that know nothing: effects are C t."""
    (F, q), (S, s), p = values.free.shape, values.v.shape, data.x.shape[1]
    items = [np.zeros((F, q, j)) for j in (q, 1, values.P + (data.n_arms if data.categories else 0))]
    clusters = [np.zeros((S, s, j)) for j in (s, 1, p)]
    R, shapes = data.n_arms, [(len(x), x.shape[1]) for x in values.shapes]
    return Tables(
        *(*items, *clusters, np.zeros(q), np.zeros((q, len(values.u)))),
        *([np.zeros((n, r, r)) for n, r in shapes], [np.zeros((n, r)) for n, r in shapes]),
        [np.zeros((n, R, 2, r)) for n, r in shapes],
        *(np.zeros((R, len(values.u))), np.zeros((R, p)), np.ones(R)),
    )


def linearise(density: Density, data: Responses, values: Values) -> Tables:
    """Tables at the modes of the effects and shapes, given the parameters."""
    values, (score, cluster_score, *shape_scores) = _modes(density, data, values)
    found = _information(data, values)
    A, B = _about_items(data, values, found.items)
    if data.categories:
        B = np.concatenate([B, _about_scale(data, values, found.items)], axis=2)
    cluster_A, cluster_B = _about_clusters(data, found.persons)
    weight = A[:, range(A.shape[1]), range(A.shape[1])].T
    share = np.zeros(values.u.shape[::-1])
    share[:, : len(A)] = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
    return Tables(
        A=A,
        g=A @ values.free[..., None] + score[..., None],
        B=B,
        cluster_A=cluster_A,
        cluster_g=cluster_A @ values.v[..., None] + cluster_score[..., None],
        cluster_B=cluster_B,
        level=(share * values.effects.T).sum(1),
        share=share,
        shape_A=found.A,
        shape_g=[(A @ x[..., None])[..., 0] + g for A, x, g in zip(found.A, values.shapes, shape_scores, strict=True)],
        shape_X=found.X,
        levels=values.levels,
        x=_mean_covariates(data),
        sigma=_sigmas(data, values),
    )


def _modes(density: Density, data: Responses, values: Values) -> tuple[Values, list[np.ndarray]]:
    """Modes of the effects of items and clusters and of shapes given the other parameters, and the scores there.

    `density` has these parameters at zero and u = C t, so that its gradient in t is C' score - t. Newton's method with the
    information of each item, then of each cluster, then of each shape, by itself; steps are halved until they climb.
    """
    d, blocks = density.n_top, [values.free, values.v, *values.shapes]
    scales = [values.C, values.cluster_C, *(values.shape_C(k) for k in range(len(values.shapes)))]
    cuts = d + np.cumsum([0, *(x.size for x in blocks)])
    t = [np.linalg.solve(C, x.T).T for C, x in zip(scales, blocks, strict=True)]

    def at(t):
        u, v, *shapes = (x @ C.T for x, C in zip(t, scales, strict=True))
        return replace(values.with_free(u), v=v, shapes=tuple(shapes))

    def evaluate(t):
        lp, grad = density(np.concatenate([np.zeros(d), *(x.ravel() for x in t)]))
        return lp, [grad[cuts[k] : cuts[k + 1]].reshape(x.shape) for k, x in enumerate(blocks)]

    def curvature(t, k):
        found = _information(data, at(t))
        if k == 0:
            return _about_items(data, values, found.items)[0]
        return _about_clusters(data, found.persons)[0] if k == 1 else found.A[k - 2]

    lp, grad = evaluate(t)
    for _ in range(NEWTON):
        before = lp
        for k in [k for k, x in enumerate(blocks) if x.size]:
            C, A = scales[k], curvature(t, k)
            move = np.linalg.solve(np.eye(len(C)) + C.T @ A @ C, grad[k][..., None])[..., 0]
            size, new = 1.0, _moved(t, k, move)
            while (found := evaluate(new))[0] < lp and size > 1e-3:
                size /= 2
                new = _moved(t, k, size * move)
            if found[0] > lp:
                t, (lp, grad) = new, found
        if lp < before + 1e-3:
            break
    return at(t), [np.linalg.solve(C.T, (g + x).T).T for C, g, x in zip(scales, grad, t, strict=True)]


def _moved(t: list[np.ndarray], k: int, move: np.ndarray) -> list[np.ndarray]:
    return [x + move if j == k else x for j, x in enumerate(t)]


def _sigmas(data: Responses, values: Values) -> np.ndarray:
    """Residual SDs of abilities, (arm,)."""
    sigmas = values.scalars[len(values.scalars) - values.sigmas :]
    return sigmas[np.minimum(np.arange(data.n_arms), values.sigmas - 1)]


def _mean_covariates(data: Responses) -> np.ndarray:
    """Mean of x over the persons of each arm, (arm, p)."""
    out = np.zeros((data.n_arms, data.x.shape[1]))
    for t in np.unique(data.arm):
        own = data.unit_arm == t
        out[t] = np.average(data.x[own], axis=0, weights=data.count[own])
    return out


def _information(data: Responses, values: Values) -> Information:
    """By arm the information about the easiness of each item and about the mean ability of a person; about shapes."""
    beta, sigmas, R = values.scalars[: data.x.shape[1]], _sigmas(data, values), data.n_arms
    mean, n, centre, spread = data.mean(beta, values.v), np.zeros(R), np.zeros(R), np.ones(R)
    for t in np.unique(data.arm):
        own = data.unit_arm == t
        n[t], weight = data.count[own].sum(), data.count[own]
        centre[t] = np.average(mean[own], weights=weight)
        spread[t] = np.sqrt(np.average((mean[own] - centre[t]) ** 2, weights=weight) + sigmas[t] ** 2)
    level = values.levels
    if data.categories:
        of_shapes = list(values.shapes), values.slope_sd
        return information(data.categories.form, data.seen, n, centre, spread, sigmas, level, *of_shapes)
    items, persons = np.zeros(data.right.shape), np.zeros(R)
    for t in np.unique(data.arm):
        chance = expit(centre[t] + spread[t] * _NODES + level[t][:, None])
        w = (chance * (1 - chance)) @ (_WEIGHTS / _WEIGHTS.sum())
        share = data.seen[t] / n[t]
        total = (share * w).sum()
        items[t] = data.seen[t] * w * (1 - w / (1 / sigmas[t] ** 2 + total + w * (1 - share)))
        persons[t] = 1 / (sigmas[t] ** 2 + 1 / total)
    return Information(items, persons, [], [])


def _about_items(data: Responses, values: Values, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Information about the effects of the items that are sampled, (F, q, q), and about them and the coefficients, (F, q, P).

    Adding c to beta and taking x' c from the easiness of all items leaves the likelihood as it is, x the mean of an arm.
    Fixed items sum to zero and cannot do that.
    """
    F, q = values.free.shape
    A, B = np.zeros((len(values.u), q, q)), np.zeros((len(values.u), q, values.P))
    p = data.x.shape[1]
    for t in np.unique(data.arm):
        own, z = data.unit_arm == t, values.arms[t]
        x = np.average(data.x[own], axis=0, weights=data.count[own])
        A += items[t][:, None, None] * np.outer(z, z)
        B[:, :, :p] += items[t][:, None, None] * np.outer(z, x)
    m = values.W.shape[1]
    for a in range(values.correlated):
        B[:, :, p + a * m : p + (a + 1) * m] = A[:, :, a, None] * values.W[:, None]
    return A[:F], B[:F] * (values.fixed is None)


def _about_scale(data: Responses, values: Values, items: np.ndarray) -> np.ndarray:
    """Information about the effects of the items that are sampled and the log SD of abilities in each arm, (F, q, arm).

    Where slopes give the scale, multiplying abilities, levels of items and mean abilities by a factor and dividing slopes by it
    leaves the likelihood as it is. Fixed items sum to zero whatever the scale.
    """
    F, q = values.free.shape
    x, beta = _mean_covariates(data), values.scalars[: data.x.shape[1]]
    out = np.zeros((len(values.u), q, data.n_arms))
    for t in range(data.n_arms):
        z = values.arms[t]
        out[:, :, t] = -(items[t] * (values.effects @ z + x[t] @ beta))[:, None] * z
    return out[:F] * (values.fixed is None)


def _about_clusters(data: Responses, persons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Information about the effects of the clusters, (S, s, s), and about them and beta, (S, s, p)."""
    weight, z = data.count * persons[data.unit_arm], data.z

    def sums(left, right):
        out = np.zeros((data.n_clusters, left.shape[1], right.shape[1]))
        for a, b in np.ndindex(*out.shape[1:]):
            out[:, a, b] = np.bincount(data.cluster, weight * left[:, a] * right[:, b], minlength=data.n_clusters)
        return out

    return sums(z, z), sums(z, data.x)
