"""Parts f of all clusters given their own variables, at coordinates that cluster_parts.py parametrises by information."""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.cluster_parts import locate, pull_back, root_gradient
from bayeshte.marginal.kernels.conditioning import condition, uncondition
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.structural_groups import BETWEEN


@njit(**OPTIONS)
def locate_clusters(sizes, clusters, values, S, K, t, own, found, f):
    """f of every cluster at coordinates t and the log density of clusters' own variables and of t; NaN where it has none.

    values : array (cluster, M)
        Of the own variables of a combination, sampled responses among them.
    """
    M, Q, J, nf = sizes
    targets, combos, kinds, floats, pilot = clusters
    Vi, C, L, logdets = own
    places, errors, means = found
    for v in range(len(combos)):
        logdets[v] = condition(targets, nf, combos[v, 3:], combos[v, 1], S[combos[v, 0], BETWEEN], Vi[v], C[v], L[v])
        if not logdets[v] > -math.inf:
            return math.nan
    lp = 0.0
    for j in range(J):
        v = kinds[j]
        context, m = combos[v, 0], combos[v, 1]
        for i in range(m):
            s = values[j, i]
            for k in range(Q):
                s -= K[context, BETWEEN, combos[v, 3 + i], k] * floats[j, k]
            errors[j, i] = s
        for i in range(nf):
            s = 0.0
            for k in range(Q):
                s += K[context, BETWEEN, targets[i], k] * floats[j, k]
            for k in range(m):
                s += C[v, i, k] * errors[j, k]
            means[j, i] = s
        quad = logdets[v]
        for i in range(m):
            for k in range(m):
                quad += errors[j, i] * Vi[v, i, k] * errors[j, k]
        lp += locate(j, t, pilot, means, L[v], nf, places, f) - 0.5 * quad * combos[v, 2]
    return lp


@njit(**OPTIONS)
def pull_clusters(sizes, clusters, t, own, found, df, dt, dvalues, dS, dK):
    """From derivatives in f to those in t (set), in the values of own variables, and in S and K of the between level (added)."""
    M, Q, J, nf = sizes
    targets, combos, kinds, floats, pilot = clusters
    Vi, C, L, logdets = own
    places, errors, means = found
    NV = len(combos)
    dL, dC = np.zeros((NV, nf, nf)), np.zeros((NV, nf, M))
    scratch, dmean, dSc, Ve = np.empty((3, nf, nf)), np.empty(nf), np.empty((nf, nf)), np.empty(M)
    nothing = np.zeros(nf)
    for j in range(J):
        v = kinds[j]
        context, m, counts = combos[v, 0], combos[v, 1], combos[v, 2]
        pull_back(j, t, pilot, L[v], nf, places, df, nothing, dt, scratch, dmean, dL[v])
        for i in range(nf):
            for q in range(Q):
                dK[context, BETWEEN, targets[i], q] += dmean[i] * floats[j, q]
            for k in range(m):
                dC[v, i, k] += dmean[i] * errors[j, k]
        for i in range(m):
            Ve[i] = 0.0
            for k in range(m):
                Ve[i] += Vi[v, i, k] * errors[j, k]
        for k in range(m):
            s, at = -counts * Ve[k], combos[v, 3 + k]
            for i in range(nf):
                s += C[v, i, k] * dmean[i]
            dvalues[j, k] += s
            for q in range(Q):
                dK[context, BETWEEN, at, q] -= s * floats[j, q]
            for i in range(m):
                dS[context, BETWEEN, at, combos[v, 3 + i]] += 0.5 * counts * (Ve[k] * Ve[i] - Vi[v, k, i])
    for v in range(NV):
        root_gradient(L[v], dL[v], nf, dSc)
        uncondition(targets, nf, combos[v, 3:], combos[v, 1], Vi[v], C[v], dSc, dC[v], dS[combos[v, 0], BETWEEN])


@njit(**OPTIONS)
def new_places(J, NV, nf, M):
    """Room for what `locate_clusters` finds and `pull_clusters` needs."""
    own = np.empty((NV, M, M)), np.empty((NV, nf, M)), np.zeros((NV, nf, nf)), np.empty(NV)
    places = np.empty((J, nf, nf)), np.empty((J, nf, nf)), np.empty((J, nf)), np.empty((J, nf)), np.empty((J, nf))
    return own, (places, np.empty((J, M)), np.empty((J, nf)))
