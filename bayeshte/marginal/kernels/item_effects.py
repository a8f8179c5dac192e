"""Linear maps with their derivatives: coordinates to coordinates, u to the effects of items, beta and v to mean abilities."""

import math

from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.rows import SUMS


@njit(**OPTIONS)
def stretch(z, d, n, r, directions, out):
    """The preconditioned coordinates plus K w, and t = z + V E w; directions: V and V E (n, r), K (d, r)."""
    V, VE, K = directions[: n * r], directions[n * r : 2 * n * r], directions[2 * n * r :]
    for i in range(len(z)):
        out[i] = z[i]
    for a in range(r):
        w = 0.0
        for i in range(n):
            w += V[i * r + a] * z[d + i]
        for i in range(n):
            out[d + i] += VE[i * r + a] * w
        for i in range(d):
            out[i] += K[i * r + a] * w


@njit(**OPTIONS)
def stretch_gradient(dout, d, n, r, directions, dz):
    """The gradient in z from that in the output of `stretch`."""
    V, VE, K = directions[: n * r], directions[n * r : 2 * n * r], directions[2 * n * r :]
    for i in range(len(dz)):
        dz[i] = dout[i]
    for a in range(r):
        dw = 0.0
        for i in range(n):
            dw += VE[i * r + a] * dout[d + i]
        for i in range(d):
            dw += K[i * r + a] * dout[i]
        for i in range(n):
            dz[d + i] += V[i * r + a] * dw


@njit(**OPTIONS)
def sum_to_zero(a, u):
    """u = H a: n - 1 numbers as n that sum to zero, lengths and angles unchanged (as PyMC's ZeroSumNormal has it)."""
    n = len(u)
    total = 0.0
    for i in range(n - 1):
        total += a[i]
    for i in range(n - 1):
        u[i] = a[i] - total / (math.sqrt(n) + n)
    u[n - 1] = -total / math.sqrt(n)


@njit(**OPTIONS)
def sum_to_zero_gradient(du, da):
    n = len(du)
    total = 0.0
    for i in range(n - 1):
        total += du[i]
    for i in range(n - 1):
        da[i] = du[i] - total / (math.sqrt(n) + n) - du[n - 1] / math.sqrt(n)


@njit(**SUMS)
def item_effects(u, coefficients, W, sizes, J, F, e):
    """e = u + W gamma, with u made to sum to zero where the items are fixed; coefficients: gamma, of the first c of q effects."""
    q, c = sizes
    m = len(W) // J
    for a in range(q):
        if F < J:
            sum_to_zero(u[a], e[a])
        else:
            for i in range(J):
                e[a, i] = u[a, i]
        for k in range(m if a < c else 0):
            gamma, w = coefficients[a * m + k], W[k * J : k * J + J]
            for i in range(J):
                e[a, i] += gamma * w[i]


@njit(**SUMS)
def item_effects_gradient(de, W, sizes, J, F, dcoefficients, du):
    q, c = sizes
    m = len(W) // J
    for a in range(q):
        if F < J:
            sum_to_zero_gradient(de[a], du[a])
        else:
            for i in range(J):
                du[a, i] = de[a, i]
        for k in range(m if a < c else 0):
            t, w = 0.0, W[k * J : k * J + J]
            for i in range(J):
                t += de[a, i] * w[i]
            dcoefficients[a * m + k] += t


@njit(**SUMS)
def mean_abilities(x, N, p, beta, s, random, cluster, v, mu):
    """mu_j = x_j' beta + x_j[random]' v of the unit's cluster."""
    for j in range(N):
        t = 0.0
        for c in range(p):
            t += x[j * p + c] * beta[c]
        for a in range(s):
            t += x[j * p + random[a]] * v[a, cluster[j]]
        mu[j] = t


@njit(**SUMS)
def mean_abilities_gradient(x, N, p, dmu, s, random, cluster, dbeta, dv):
    for j in range(N):
        for c in range(p):
            dbeta[c] += dmu[j] * x[j * p + c]
        for a in range(s):
            dv[a, cluster[j]] += dmu[j] * x[j * p + random[a]]
