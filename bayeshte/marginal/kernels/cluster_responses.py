"""Categorical variables of clusters, as rows of the between level.

A cluster has parts f of the rows' variables and random slopes, continuous variables v of its own, and latent responses u* behind
its categories u, all of one normal distribution of the between level. Responses that cause f come before it, sampled (GHK, as in
latent_responses.py): log p(v), and log P(category | v, responses before). Then f is given (v, u*) (structural_categorical.py).
The other categories come last, log P(u | f, v, u*): there the cluster is like a row whose values (f, v, u*) are continuous and
seen, but for their density, and has derivatives in them.

Were f first, a small residual of f would leave a response that causes it no freedom, and its threshold would be a wall.
"""

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.latent_responses import factor, factor_gradient, rows
from bayeshte.marginal.kernels.linear import OPTIONS, clear
from bayeshte.marginal.kernels.structural_groups import BETWEEN


@njit(**OPTIONS)
def own_values(clusters, J, M, Q):
    """Values of own variables (cluster, M), a copy, with room for sampled responses."""
    out = np.empty((J, M))
    for j in range(J):
        for i in range(M):
            out[j, i] = clusters[3][j, Q + i]
    return out


@njit(**OPTIONS)
def find_responses(sizes, answers, clusters, values, S, K, f, categories, t):
    """Puts sampled responses among the values; the log density of what comes before f, NaN without."""
    if len(answers[1]) == 0:
        return 0.0
    none, dcuts, dt = np.zeros((len(f), values.shape[1])), np.zeros(categories[0].shape), np.empty(len(t))
    between = (S, np.zeros(S.shape), K, np.zeros(K.shape), f, np.zeros(f.shape))
    return all_clusters(sizes, answers, clusters, values, none, between, categories, dcuts, t, dt, True)


@njit(**OPTIONS)
def all_clusters(sizes, answers, clusters, values, dvalues, between, categories, dcuts, t, dt, before):
    """Log-probability of categories, `before` f (with the density of v) or after; NaN without.

    Before f: puts the responses among the values (cluster, M); dvalues are the derivatives in them of all else. After it: adds
    to dvalues and to the derivatives in f. Both add to derivatives in S, K and the cuts, and set those in t.
    answers, clusters: tables as `take_rows` of structural_categorical.py has them; between: (S, dS, K, dK, f, df).
    """
    (Q, Qw), (S, dS, K, dK, f, df) = sizes, between
    patterns, runs, ints, codes, _ = answers
    M, floats, covariates = values.shape[1], clusters[3], Q - Qw - 1
    L, dL, work = np.empty((M, M)), np.empty((M, M)), np.empty((9, M))
    Kb, dKb, back = np.empty((M, Q - Qw)), np.empty((M, Q - Qw)), np.full(M, -1)
    ll, at, t_at = 0.0, 0, 0
    for r in range(len(runs)):
        p, count = patterns[runs[r, 0]], runs[r, 1]
        context, continuous, conditions, n = p[0], p[1], p[2], p[3]
        order, cat, source = p[4 : 4 + M], p[4 + M : 4 + 2 * M], p[4 + 2 * M :]
        if not factor(S[context, BETWEEN], order, n, conditions, cat, categories[2], L):
            return np.nan
        for i in range(M):
            for q in range(Q - Qw):
                Kb[i, q] = K[context, BETWEEN, i, Qw + q]
        clear(dKb, M, Q - Qw)
        clear(dL, n, n)
        width, sampled = covariates + continuous, conditions - continuous
        known = np.empty(count * width)
        dknown = np.empty(0 if before else count * width + 1)
        latent, seeds = np.empty(count * sampled if before else 0), np.empty(count * sampled if before else 0)
        for k in range(count):
            j = ints[at + k * codes]
            for q in range(covariates):
                known[k * width + q] = floats[j, Qw + 1 + q]
            for i in range(continuous):
                x = f[j, source[i]] if source[i] >= 0 else values[j, -1 - source[i]]
                known[k * width + covariates + i] = x
            for i in range(len(seeds) // count):
                seeds[k * sampled + i] = dvalues[j, continuous + i]
        ll += rows(
            (order, cat, continuous, conditions, n),
            L,
            count,
            ints[at:],
            known,
            t[t_at:],
            (covariates, codes),
            (Kb, back, f),
            categories,
            dL,
            (dKb, df),
            dcuts,
            dt[t_at:],
            dknown,
            (latent, seeds),
            work,
        )
        factor_gradient(L, dL, order, n, conditions, cat, categories[2], dS[context, BETWEEN])
        for i in range(M):
            for q in range(Q - Qw):
                dK[context, BETWEEN, i, Qw + q] += dKb[i, q]
        for k in range(count):
            j = ints[at + k * codes]
            for i in range(len(latent) // count):
                values[j, continuous + i] = latent[k * sampled + i]
            for i in range(0 if before else continuous):
                x = dknown[k * width + covariates + i]
                if source[i] >= 0:
                    df[j, source[i]] += x
                else:
                    dvalues[j, -1 - source[i]] += x
        at += count * codes
        t_at += count * sampled
    return ll
