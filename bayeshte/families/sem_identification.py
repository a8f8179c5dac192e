"""Whether the moments of what is observed determine the parameters of a structural equation model.

A model is locally identified where the Jacobian of its moments has full column rank (Rothenberg, 1971; Bollen, 1989, ch. 7).
The moments are, by level, the covariances of the observed variables given the covariates, and their regressions on these; random
slopes count as observed between clusters, since each is the regression of its cluster. The rank is taken at points drawn at
random, so that it is that of almost all others. In a direction in which no moment changes the likelihood is flat: with flat
priors the posterior is improper, with default ones it shows only these. A prior of one's own may settle it, as the small
variances of cross-loadings do in Bayesian factor analysis (Muthén & Asparouhov, 2012).

Products of two latent variables show in third moments too (Kenny & Judd, 1984): those of a variable that they explain with two
that they do not. Means and covariances then depend on the covariates, of which some values are taken.
"""

from collections.abc import Collection

import numpy as np

from bayeshte.errors import SpecError
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, implied
from bayeshte.marginal.structural_products import Law

CONTEXTS = 8  # at most so many of them are taken where products of latent variables are explained
POINTS, STEP, ZERO = 2, 1e-5, 1e-6  # points, half-width of the differences, singular values that count as none
SHOWN = 6


def check_identified(structure: Structure, m: Matrices, settled: Collection[str]) -> None:
    """Refuse a model with parameters that the data cannot tell apart.

    Parameters
    ----------
    settled : collection of str
        Keys of the parameters and blocks whose priors are the user's own.
    """
    places = [*((p.variable, p.element) for p in structure.parameters), *(("corr", e) for e in structure.correlations)]
    names = [f"{variable}[{element}]" for variable, element in places]
    known = np.diag([float(structure.prior_key(*place) in settled) for place in places])
    free = {v for seed in range(POINTS) for v in _undetermined(structure, m, names, known, seed)}
    if not free:
        return
    told = [v for v in names if v in free]
    shown = ", ".join(told[:SHOWN]) + (f" and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
    raise SpecError(
        f"The model is not identified: the data cannot tell {shown} apart, whatever their size. Fix one of them, leave one "
        "out, or give one an informative prior by its name."
    )


def _undetermined(structure: Structure, m: Matrices, names: list[str], known: np.ndarray, seed: int) -> list[str]:
    """Parameters with a part in a direction that changes no moment, at a random point."""
    t = random_point(structure, len(names), seed)
    moves = STEP * np.eye(len(names))
    up, down = (_moments(structure, m, t + s * moves) for s in (1, -1))
    J = np.vstack([((up - down) / (2 * STEP)).T, known])
    size = np.sqrt((J**2).sum(0))
    J = J / np.where(size > ZERO, size, 1.0)
    _, values, directions = np.linalg.svd(J, full_matrices=True)
    rank = int((values > ZERO * values.max(initial=1.0)).sum())
    return [v for v, x in zip(names, np.abs(directions[rank:]).max(0, initial=0.0), strict=True) if x > 1e-4]


def random_point(structure: Structure, n: int, seed: int) -> np.ndarray:
    """Parameters of moderate size: SDs and loadings about one, correlations and paths small enough to leave matrices regular."""
    rng = np.random.default_rng(seed)
    about = {"sd": 1.0, "loading": 0.8, "corr": 0.0, "cov": 0.0, "path": 0.3, "intercept": 0.5, "threshold": 0.5}
    mean = np.array([about[p.variable] for p in structure.parameters] + [0.0] * (n - len(structure.parameters)))
    spread = np.where(mean == 0.0, 0.1, 0.2 * mean)
    return mean + spread * rng.uniform(-1, 1, n) * rng.choice([-1, 1], n)


def _moments(structure: Structure, m: Matrices, t: np.ndarray) -> np.ndarray:
    """Moments of what is observed, one row a draw of t; of a latent response those in units of its SD at its own level."""
    if m.products:
        return _moments_with_products(structure, m, t)
    S, K = implied(m, t)
    unit = np.ones((len(t), m.size))
    further = []
    for name, rows in structure.thresholds.items():
        k, level = structure.observed.index(name), structure.levels.index(structure.table.response_level(name))
        unit[:, k] = np.sqrt(S[:, level, 0, k, k])
        further += [t[:, structure.place(r) - 1] / unit[:, k] for r in rows[1:]]
    S = S / (unit[:, None, None, :, None] * unit[:, None, None, None, :])
    K = K / unit[:, None, None, :, None]
    first, second = structure.levels[0], structure.levels[-1]
    at = structure.variables(first).index
    within = [at(v) for v in structure.within]
    q = m.regressors_within
    parts = [S[:, 0][..., within, :][..., within], K[:, 0][..., within, 1:q]]
    mean = K[:, 0][..., : m.observed, 0]
    if structure.two_level:
        at = structure.variables(second).index
        between = [at(v) for v in (*structure.both, *structure.own, *structure.table.slopes)]
        parts += [S[:, 1][..., between, :][..., between], K[:, 1][..., between, q + 1 :]]
        parts.append(K[:, 1][..., m.observed :, q][..., [k - m.observed for k in between if k >= m.observed]])
        mean = mean + K[:, 1][..., : m.observed, q]
    return np.concatenate([p.reshape(len(t), -1) for p in (*parts, mean, *further)], axis=1)


def _moments_with_products(structure: Structure, m: Matrices, t: np.ndarray) -> np.ndarray:
    """By level means and covariances at some values of the covariates, third cumulants; one row a draw of t."""
    parts, mean, seen = [], 0.0, [np.arange(m.within)]
    if structure.two_level:
        seen.append(np.array([structure.observed.index(v) for v in (*structure.both, *structure.own)], int))
    for level, own in enumerate(seen):
        columns = slice(m.regressors_within) if level == 0 else slice(m.regressors_within, m.regressors)
        q = np.random.default_rng(0).normal(size=(1 + 2 * m.regressors, m.regressors))
        q[:, columns.start or 0] = 1.0
        q[:, [k for k in range(m.regressors) if k not in range(m.regressors)[columns]]] = 0.0
        first = None
        for context in np.unique(np.linspace(0, len(m.slots) - 1, CONTEXTS).astype(int)):
            law = Law.of(m, t, context, level)
            means = law.mean(q)
            first = means[:, :1] if first is None else first
            parts += [(means - first)[..., own], law.third()[:, own][:, :, own][..., own]]
            parts += [law.covariance(row[None])[:, own][:, :, own] for row in q]
        mean = mean + first[..., : m.observed]
    return np.concatenate([x.reshape(len(t), -1) for x in (*parts, mean)], axis=1)
