"""Rows of a structural equation model with products of two of their variables: what is known of a row, and what is seen given it.

Variables that descend from no product, u, and the residuals of those that do, d, are jointly normal: h = (u, zeta) ~ N(K q, S).
Of every product one member, z, is known: it is seen, or it has a coordinate. A row is built up in the order *seen u, z that is
not seen, d* (the last of them only if any d is seen):

- seen u: innovations e_i = (u_i - m_i) / L_ii, log N(u_i; m_i, L_ii^2), with L the root of their covariances;
- z: z_i = m_i + L_ii e_i, e_i ~ N(0, 1) its coordinate: z is drawn given what is seen of u;
- states s = (u that lead to d, zeta) given both: N(K_s q + L_s e, P), P = S_ss - L_s L_s', the same for all rows of a pattern.
  Given z a path b z u is one of u, w = B + b z, so that d is linear in the states, d = c q + w (u, d) + zeta = mu + T (s - E s),

      log N(d; mu, V) of what is seen of d,  V = T P T'.

With r = d - mu, a = V^-1 r: dmu = a, dV = 1/2 (a a' - V^-1), dT = 2 dV T P, dP = T' dV T; dw = dmu x + dT T_x along each path
from x, dz = b dw, db = z dw.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, clear, inverse_from_cholesky
from bayeshte.marginal.kernels.rows import INV_SQRT_2PI

LOG_SQRT_2PI = -math.log(INV_SQRT_2PI)


@njit(**OPTIONS)
def clear_known(P, known, n, states):
    """Zero rows and columns of states that are known themselves: nothing is left of these, which rounding does not see."""
    for i in range(len(states)):
        for k in range(n):
            if known[k] == states[i]:
                for j in range(len(states)):
                    P[i, j] = P[j, i] = 0.0


@njit(**OPTIONS)
def roots(S, known, seen, n, states, L, P):
    """L of the known variables and, below, of the states on them; P, what is left of the states. False if S is no covariance.

    Of variables that are sampled it may be singular.
    """
    for i in range(n + len(states)):
        row = known[i] if i < n else states[i - n]
        for j in range(min(i, n)):
            s = S[row, known[j]]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = s / L[j, j] if L[j, j] > 0.0 else 0.0
        if i < n:
            d = S[row, row]
            for k in range(i):
                d -= L[i, k] * L[i, k]
            if i < seen and not d > 0.0:
                return False
            L[i, i] = math.sqrt(d) if d > 1e-14 * S[row, row] else 0.0
    for i in range(len(states)):
        for j in range(i + 1):
            s = S[states[i], states[j]]
            for k in range(n):
                s -= L[n + i, k] * L[n + j, k]
            P[i, j] = P[j, i] = s
    clear_known(P, known, n, states)
    return True


@njit(**OPTIONS)
def roots_gradient(L, dL, dP, known, n, states, dS):
    """From derivatives in L, which are used up, and P (symmetric) to those in S (added)."""
    ns = len(states)
    clear_known(dP, known, n, states)
    for i in range(ns):
        for j in range(ns):
            dS[states[i], states[j]] += dP[i, j]
            for k in range(n):
                dL[n + i, k] -= 2.0 * dP[i, j] * L[n + j, k]
    for i in range(n + ns - 1, -1, -1):
        row = known[i] if i < n else states[i - n]
        if i < n and L[i, i] > 0.0:
            g = 0.5 * dL[i, i] / L[i, i]
            dS[row, row] += g
            for k in range(i):
                dL[i, k] -= 2.0 * g * L[i, k]
        for j in range(min(i, n) - 1, -1, -1):
            if L[j, j] == 0.0:
                continue
            g = dL[i, j] / L[j, j]
            dS[row, known[j]] += 0.5 * g
            dS[known[j], row] += 0.5 * g
            dL[j, j] -= g * L[i, j]
            for k in range(j):
                dL[i, k] -= g * L[j, k]
                dL[j, k] -= g * L[i, k]


@njit(**OPTIONS)
def locate(first, last, seen, known, L, K, q, values, e, x):
    """Innovations e and values x of the known variables from `first` to `last`: of those seen from their values, else from e."""
    for i in range(first, last):
        m = K[known[i], 0]
        for k in range(len(q)):
            m += K[known[i], 1 + k] * q[k]
        for k in range(i):
            m += L[i, k] * e[k]
        if i < seen:
            x[i] = values[i]
            e[i] = (values[i] - m) / L[i, i]
        else:
            x[i] = m + L[i, i] * e[i]


@njit(**OPTIONS)
def expect(equations, B, c, K, L, P, t, n, places, d_seen, q, e, x, work):
    """mu, T and V (lower triangle), to `work`, of these d given the known variables of the row."""
    inputs, states, paths, products, coef = equations
    w, ms, mu, T, TP, V, a = work
    ns, nd = len(states), len(d_seen)
    for s in range(ns):
        m = K[states[s], 0]
        for k in range(len(q)):
            m += K[states[s], 1 + k] * q[k]
        for k in range(n):
            m += L[n + s, k] * e[k]
        ms[s] = m
    for k in range(len(paths)):
        w[k] = B[states[inputs + paths[k, 0]], states[paths[k, 1]]]
    for k in range(len(products)):
        w[products[k, 0]] += coef[k] * t[products[k, 2]] * x[places[products[k, 1]]]
    for d in range(ns - inputs):
        m = ms[inputs + d] + c[states[inputs + d], 0]
        for k in range(len(q)):
            m += c[states[inputs + d], 1 + k] * q[k]
        mu[d] = m
        for s in range(ns):
            T[d, s] = 0.0
        T[d, inputs + d] = 1.0
    for k in range(len(paths)):
        d, j = paths[k, 0], paths[k, 1]
        if j < inputs:
            mu[d] += w[k] * ms[j]
            T[d, j] += w[k]
        else:
            mu[d] += w[k] * mu[j - inputs]
            for s in range(ns):
                T[d, s] += w[k] * T[j - inputs, s]
    for i in range(nd):
        for s in range(ns):
            v = 0.0
            for k in range(ns):
                v += T[d_seen[i], k] * P[k, s]
            TP[i, s] = v
        for j in range(i + 1):
            v = 0.0
            for k in range(ns):
                v += TP[i, k] * T[d_seen[j], k]
            V[i, j] = v


@njit(**OPTIONS)
def explain(equations, B, c, K, L, P, t, n, places, d_seen, q, y, e, x, work):
    """log density of what is seen of d, given the known variables of the row; `work` keeps what its derivatives need."""
    expect(equations, B, c, K, L, P, t, n, places, d_seen, q, e, x, work)
    _, _, mu, _, _, V, a = work
    nd = len(d_seen)
    logdet = cholesky(V, nd)
    if not logdet > -math.inf:
        return math.nan
    ll = -0.5 * logdet - nd * LOG_SQRT_2PI
    for i in range(nd):
        v = y[i] - mu[d_seen[i]]
        for k in range(i):
            v -= V[i, k] * a[k]
        a[i] = v / V[i, i]
        ll -= 0.5 * a[i] * a[i]
    return ll


@njit(**OPTIONS)
def explain_gradient(equations, t, places, d_seen, q, x, work, scratch, dB, dc, dP, dt, dms, dx):
    """Derivatives of `explain`, as those of `expect`; V^-1 r, minus that in y, is in `work`."""
    _, _, _, _, _, V, a = work
    W, _, dmu, _, _ = scratch
    nd = len(d_seen)
    for i in range(nd - 1, -1, -1):  # a = V^-1 r
        v = a[i]
        for k in range(i + 1, nd):
            v -= V[k, i] * a[k]
        a[i] = v / V[i, i]
    inverse_from_cholesky(V, W, nd)
    for d in range(len(dmu)):
        dmu[d] = 0.0
    for i in range(nd):
        dmu[d_seen[i]] = a[i]
        for j in range(nd):
            W[i, j] = 0.5 * (a[i] * a[j] - W[i, j])
    expect_gradient(equations, t, places, d_seen, q, x, work, scratch, dB, dc, dP, dt, dms, dx)


@njit(**OPTIONS)
def expect_gradient(equations, t, places, d_seen, q, x, work, scratch, dB, dc, dP, dt, dms, dx):
    """From derivatives in V and mu, in `scratch`: added to dB, dc, dP, dt and dx of known variables; set in states' means."""
    inputs, states, paths, products, coef = equations
    w, ms, mu, T, TP, V, a = work
    dV, dT, dmu, dw, VT = scratch
    ns, nd = len(states), len(d_seen)
    clear(dT, ns - inputs, ns)
    for i in range(nd):
        for s in range(ns):
            v, m = 0.0, 0.0
            for j in range(nd):
                v += dV[i, j] * TP[j, s]
                m += dV[i, j] * T[d_seen[j], s]
            dT[d_seen[i], s] = 2.0 * v
            VT[i, s] = m
    for i in range(nd):
        for s in range(ns):
            for k in range(ns):
                dP[s, k] += T[d_seen[i], s] * VT[i, k]
    for s in range(inputs):
        dms[s] = 0.0
    for k in range(len(paths) - 1, -1, -1):
        d, j = paths[k, 0], paths[k, 1]
        if j < inputs:
            dw[k] = dmu[d] * ms[j] + dT[d, j]
            dms[j] += w[k] * dmu[d]
        else:
            g = dmu[d] * mu[j - inputs]
            dmu[j - inputs] += w[k] * dmu[d]
            for s in range(ns):
                g += dT[d, s] * T[j - inputs, s]
                dT[j - inputs, s] += w[k] * dT[d, s]
            dw[k] = g
        dB[states[inputs + d], states[j]] += dw[k]
    for d in range(ns - inputs):
        dms[inputs + d] = dmu[d]
        dc[states[inputs + d], 0] += dmu[d]
        for k in range(len(q)):
            dc[states[inputs + d], 1 + k] += dmu[d] * q[k]
    for k in range(len(products)):
        z = places[products[k, 1]]
        dt[products[k, 2]] += coef[k] * dw[products[k, 0]] * x[z]
        dx[z] += coef[k] * dw[products[k, 0]] * t[products[k, 2]]


@njit(**OPTIONS)
def states_gradient(n, L, dL, dK, states, q, e, de, dms):
    """From derivatives in the states' means to those in L, K and the innovations of what is known (added)."""
    for s in range(len(states)):
        dK[states[s], 0] += dms[s]
        for k in range(len(q)):
            dK[states[s], 1 + k] += dms[s] * q[k]
        for k in range(n):
            dL[n + s, k] += dms[s] * e[k]
            de[k] += dms[s] * L[n + s, k]


@njit(**OPTIONS)
def known_gradient(pattern, L, dL, K, dK, q, e, de, dx, dz):
    """From derivatives in the known variables x and their innovations to those in L and K (added) and the coordinates (set).

    In what is seen dx becomes the derivative in its values.
    """
    seen, n, known = pattern
    for i in range(n - 1, -1, -1):
        if i < seen:
            dm = (e[i] - de[i]) / L[i, i]
            dL[i, i] += dm * e[i] - 1.0 / L[i, i]
            dx[i] -= dm
        else:
            dm = dx[i]
            dL[i, i] += dm * e[i]
            dz[i - seen] = de[i] + dm * L[i, i] - e[i]
        for k in range(i):
            dL[i, k] += dm * e[k]
            de[k] += dm * L[i, k]
        dK[known[i], 0] += dm
        for k in range(len(q)):
            dK[known[i], 1 + k] += dm * q[k]


@njit(**OPTIONS)
def new_work(ns, nd, paths):
    """Room for `explain` and `explain_gradient`."""
    work = (
        np.empty(paths),
        np.empty(ns),
        np.empty(nd),
        np.empty((nd, ns)),
        np.empty((nd, ns)),
        np.empty((nd, nd)),
        np.empty(nd),
    )
    return work, (np.empty((nd, nd)), np.empty((nd, ns)), np.empty(nd), np.empty(paths), np.empty((nd, ns)))
