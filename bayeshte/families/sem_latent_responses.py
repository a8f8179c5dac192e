"""Latent responses of categorical variables, drawn given the categories and a draw of the parameters.

    y*_ij ~ N(K_W q_ij + b_j, S_W) given that every y*_k is between the cuts of its category, and given continuous values,

one variable after the other given all others (Gibbs sampling), and the responses of clusters' own variables likewise, given b_j.
Missing values are drawn with the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

from bayeshte.families.sem_categorical import responses
from bayeshte.families.sem_structure import Structure
from bayeshte.marginal.matrices import Matrices, moments
from bayeshte.marginal.structural_categorical import Response, cuts, cuts_at
from bayeshte.marginal.sufficient import Data

#: How often every variable is drawn anew in a draw of the parameters.
SWEEPS = 20


def draw_latent_responses(
    s: Structure, m: Matrices, data: Data, draws: xr.Dataset, t: np.ndarray, rng: np.random.Generator
) -> Iterator[Data]:
    """The data with latent responses in place of categories, once for each of the draws.

    Probit links, and matrices that are the same everywhere. draws : one chain, with `cluster_mean`; t : the same draws, (draw,
    scalars + correlations).
    """
    answers, p = responses(s), m.within
    rows = _Part(data.Y, [(r.column, r) for r in answers if r.column < p])
    clusters = _Part(data.V, [(r.column - p, r) for r in answers if r.column >= p])
    at = cuts_at(answers, t)
    means = draws["cluster_mean"].transpose("chain", "draw", ..., "between_variable").to_numpy()[0] if s.both else None
    q = np.column_stack([np.ones(len(data.Y)), data.X])
    for d in range(len(t)):
        bounds = {r.column: np.r_[-np.inf, cut[d], np.inf] for r, cut in zip(answers, at, strict=True)}
        S, K = (x[0] for x in moments(m, t[d : d + 1], 0))
        mean = q @ K[:p, : q.shape[1]].T
        if s.both:
            mean[:, [s.within.index(v) for v in s.both]] += means[d][data.code]
        Y = rows.drawn({r.column: bounds[r.column] for r in answers if r.column < p}, mean, S[:p, :p], rng)
        V = data.V
        if clusters.moving:
            own = {r.column - p: bounds[r.column] for r in answers if r.column >= p}
            V = clusters.drawn(own, *_given_parts(s, m, data, t[d : d + 1], means[d] if s.both else None), rng)
        yield replace(data, Y=np.where(np.isnan(data.Y), np.nan, Y), V=np.where(np.isnan(data.V), np.nan, V))


def _given_parts(s: Structure, m: Matrices, data: Data, t: np.ndarray, b: np.ndarray | None):
    """Means (cluster, own) and covariances of clusters' own variables given the parts b (cluster, both) of those of rows."""
    S, K = (x[0] for x in moments(m, t, 1))
    z = np.column_stack([np.ones(len(data.Z)), data.Z])
    mean = z @ K[:, -z.shape[1] :].T
    own, both = np.arange(m.within, m.observed), np.array([s.within.index(v) for v in s.both], int)
    if b is None:
        return mean[:, own], S[np.ix_(own, own)]
    C = S[np.ix_(own, both)] @ np.linalg.pinv(S[np.ix_(both, both)], hermitian=True)
    return mean[:, own] + (b - mean[:, both]) @ C.T, S[np.ix_(own, own)] - C @ S[np.ix_(both, own)]


class _Part:
    """Values of rows, or of clusters, of which some move: latent responses and what is missing."""

    def __init__(self, values: np.ndarray, answers: Sequence[tuple[int, Response]]):
        self.known = ~np.isnan(values)
        self.codes = {k: np.where(self.known[:, k], values[:, k], -1).astype(int) for k, _ in answers}
        self.moving = [k for k in range(values.shape[1]) if k in self.codes or not self.known[:, k].all()]
        self.x = np.where(self.known, values, 0.0)
        for k, r in answers:
            tau, score = cuts(self.codes[k][self.known[:, k]], r.categories)
            self.x[:, k] = np.where(self.known[:, k], score[self.codes[k]] - tau[0], 0.0)

    def drawn(
        self, bounds: dict[int, np.ndarray], mean: np.ndarray, S: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """All values, those that move drawn anew from where they were; `bounds`: cuts of the categories, by column."""
        steps = []
        for k in self.moving:
            rest = [i for i in range(len(S)) if i != k]
            C = S[k, rest] @ np.linalg.pinv(S[np.ix_(rest, rest)], hermitian=True) if rest else np.empty(0)
            sd = np.sqrt(max(S[k, k] - C @ S[rest, k], 0.0))
            low, high = np.full((2, len(self.x)), [[-np.inf], [np.inf]])
            if k in self.codes:
                low = np.where(self.known[:, k], bounds[k][self.codes[k]], low)
                high = np.where(self.known[:, k], bounds[k][self.codes[k] + 1], high)
            moves = np.ones(len(self.x), bool) if k in self.codes else ~self.known[:, k]
            steps.append((k, rest, C, sd, low[moves], high[moves], moves))
        for _ in range(SWEEPS if len(steps) > 1 else 1):
            for k, rest, C, sd, low, high, moves in steps:
                centre = mean[moves, k] + (self.x[moves][:, rest] - mean[moves][:, rest]) @ C
                self.x[moves, k] = truncated_normal(centre, sd, low, high, rng)
        return self.x


def truncated_normal(
    mean: np.ndarray, sd: float, low: np.ndarray, high: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws of normal variables between bounds, by the inverse of the distribution function in the tail that is nearer."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a > -b  # the interval lies to the right: take its mirror image
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    lower, upper = ndtr(a), ndtr(b)
    z = ndtri(lower + rng.random(len(mean)) * (upper - lower))
    z = np.clip(z, a, b)
    return mean + sd * np.where(flip, -z, z)
