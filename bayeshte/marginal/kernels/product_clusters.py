"""Clusters of a structural equation model with products: their own variables, and their parts in coordinates by information.

Notation and equations of a cluster are those of a row, structural_product_rows.py. Of a cluster's variables some have no values
but are asked for: parts b of variables that vary within clusters as well, and members z of products that are not seen. The order
is *seen u, (b, z) that descend from no product, seen d, b that descend from products*, each normal given those before:

    (b, z)_u ~ N(m, L L')   given seen u,
    (v, b)_d ~ N(mu, V)     given all u;   V = L L',  a = L_vv^-1 (v - mu_v),  b_d ~ N(mu_b + L_bv a, L_bb L_bb').

Both kinds of b have coordinates as cluster_parts.py parametrises them, f = m + L y(t). With dmu_b and dL_bb from there,

    da = L_bv' dmu_b - a,  dmu_v = -L_vv^-T da,  dL_bv = dmu_b a',  dL_vv = dmu_v a' - diag L_vv^-1.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels import cluster_parts
from bayeshte.marginal.kernels.linear import OPTIONS, clear, root
from bayeshte.marginal.kernels.product_rows import cells_of
from bayeshte.marginal.kernels.structural_product_rows import (
    LOG_SQRT_2PI,
    expect,
    expect_gradient,
    known_gradient,
    locate,
    new_work,
    roots,
    roots_gradient,
    states_gradient,
)


@njit(**OPTIONS)
def copy(source, first, n, out):
    """out = source[first:n, first:n], which is lower triangular."""
    for i in range(first, n):
        for j in range(first, i + 1):
            out[i - first, j - first] = source[i, j]


@njit(**OPTIONS)
def find_known(pattern, L, K, q, values, t, pilot, e, x, room):
    """Values x and innovations e of what descends from no product, at coordinates t; log density, beside constants of L."""
    seen, n, known = pattern
    places, own, mean, f = room[0], room[1], room[2], room[3]
    locate(0, seen, seen, known, L, K, q, values, e, x)
    ll = 0.0
    for i in range(seen):
        ll -= 0.5 * e[i] * e[i]
    for i in range(seen, n):
        m = K[known[i], 0]
        for k in range(len(q)):
            m += K[known[i], 1 + k] * q[k]
        for k in range(seen):
            m += L[i, k] * e[k]
        mean[0, i - seen] = m
    ll += cluster_parts.locate(0, t, pilot, mean, own, n - seen, places, f)
    for i in range(seen, n):
        x[i], e[i] = f[0, i - seen], places[4][0, i - seen]
    return ll


@njit(**OPTIONS)
def pull_known(pattern, L, dL, K, dK, q, t, pilot, e, de, dx, room, dt):
    """From derivatives in x and e to those in L and K (added) and the coordinates (set)."""
    seen, n, known = pattern
    places, own, G, d_own, scratch, dmean = room[0], room[1], room[3], room[4], room[5], room[6]
    for i in range(seen, n):
        G[0, i - seen] = dx[i]
    clear(d_own, n - seen, n - seen)
    cluster_parts.pull_back(0, t, pilot, own, n - seen, places, G, de[seen:], dt, scratch, dmean, d_own)
    for i in range(seen, n):
        for k in range(seen, i + 1):
            dL[i, k] += d_own[i - seen, k - seen]
        dm = dmean[i - seen]
        for k in range(seen):
            dL[i, k] += dm * e[k]
            de[k] += dm * L[i, k]
        dK[known[i], 0] += dm
        for k in range(len(q)):
            dK[known[i], 1 + k] += dm * q[k]
    known_gradient((seen, seen, known), L, dL, K, dK, q, e, de, dx, dt)


@njit(**OPTIONS)
def find_explained(seen, d_seen, values, t, pilot, work, LV, room):
    """Parts that descend from products, at coordinates t, in room[3]; log density of these and of the `seen` d, or NaN."""
    _, _, mu, _, _, V, a = work
    places, own, mean, f = room[0], room[1], room[2], room[3]
    nd, ll = len(d_seen), 0.0
    root(V, LV, nd)
    for i in range(nd):
        m = mu[d_seen[i]]
        for k in range(min(i, seen)):
            m += LV[i, k] * a[k]
        if i >= seen:
            mean[0, i - seen] = m
            continue
        if not LV[i, i] > 0.0:
            return math.nan
        a[i] = (values[i] - m) / LV[i, i]
        ll -= 0.5 * a[i] * a[i] + math.log(LV[i, i]) + LOG_SQRT_2PI
    copy(LV, seen, nd, own)
    return ll + cluster_parts.locate(0, t, pilot, mean, own, nd - seen, places, f)


@njit(**OPTIONS)
def pull_explained(seen, d_seen, t, pilot, work, LV, dLV, room, dV, dmu, dt):
    """From derivatives in these parts, in room[3], to those in V and mu and the coordinates (set)."""
    a = work[6]
    places, own, G, d_own, scratch, dmean = room[0], room[1], room[3], room[4], room[5], room[6]
    nd = len(d_seen)
    clear(d_own, nd - seen, nd - seen)
    clear(dLV, nd, nd)
    for d in range(len(dmu)):
        dmu[d] = 0.0
    cluster_parts.pull_back(0, t, pilot, own, nd - seen, places, G, np.zeros(nd - seen), dt, scratch, dmean, d_own)
    for i in range(seen, nd):
        dmu[d_seen[i]] = dmean[i - seen]
        for k in range(seen):
            dLV[i, k] = dmean[i - seen] * a[k]
        for k in range(seen, i + 1):
            dLV[i, k] = d_own[i - seen, k - seen]
    for i in range(seen - 1, -1, -1):
        g = -a[i]
        for k in range(seen, nd):
            g += LV[k, i] * dmean[k - seen]
        for k in range(i + 1, seen):
            g += LV[k, i] * dmu[d_seen[k]]
        dmu[d_seen[i]] = -g / LV[i, i]
        for k in range(i + 1):
            dLV[i, k] = dmu[d_seen[i]] * a[k]
        dLV[i, i] -= 1.0 / LV[i, i]
    cluster_parts.root_gradient(LV, dLV, nd, dV)


@njit(**OPTIONS)
def new_room(M):
    """Room for parts of one kind: places, L, mean, f and G, dL, scratch, dmean."""
    places = np.empty((1, M, M)), np.empty((1, M, M)), np.empty((1, M)), np.empty((1, M)), np.empty((1, M))
    return (
        places,
        np.empty((M, M)),
        np.empty((1, M)),
        np.empty((1, M)),
        np.empty((M, M)),
        np.empty((3, M, M)),
        np.empty(M),
    )


@njit(**OPTIONS)
def all_clusters(M, tables, pilots, cell, levels, S, K, t, z, b, db, dcell, dS, dK, dt, dz):
    """Parts b (cluster, M) at coordinates z; log-likelihood of clusters' own variables and of z.

    With room for dz sets it and adds to all other derivatives, from db, those in b.
    """
    equations, (patterns, nz), (runs, codes), floats = tables
    inputs, states, paths, products, coef = equations
    ns, Q = len(states), K.shape[3]
    L, dL, P, dP = np.empty((M + ns, M)), np.empty((M + ns, M)), np.empty((ns, ns)), np.empty((ns, ns))
    work, scratch = new_work(ns, ns - inputs, len(paths))
    e, de, x, dx, dms, LV, dLV = (
        np.empty(M),
        np.empty(M),
        np.empty(M),
        np.empty(M),
        np.empty(ns),
        np.empty((M, M)),
        np.empty((M, M)),
    )
    up, down = new_room(M), new_room(M)
    ll, at, own, row, pilot = 0.0, 0, 0, 0, 0
    for r in range(len(runs)):
        context, p, count = runs[r, 0], patterns[runs[r, 1]], runs[r, 2]
        seen, n, d_valued, nd = p[0], p[1], p[2], p[3]
        known, places, d_seen = p[4 : 4 + M], p[4 + M : 4 + M + nz], p[4 + M + nz : 4 + M + nz + nd]
        nu, nb, pattern = n - seen, nd - d_valued, (seen, n, known)
        B, c = cells_of(cell[context], 1, levels, M, Q)
        dB, dc = cells_of(dcell[context], 1, levels, M, Q)
        Sc, Kc, dKc = S[context, 1], K[context, 1], dK[context, 1]
        if not roots(Sc, known, seen, n, states, L, P):
            return math.nan
        clear(dL, n + ns, n)
        clear(dP, ns, ns)
        copy(L, seen, n, up[1])
        for i in range(seen):
            ll -= count * (LOG_SQRT_2PI + math.log(L[i, i]))
        for _ in range(count):
            j, q, values = codes[row], floats[at : at + Q - 1], floats[at + Q - 1 :]
            tu, td = z[own:], z[own + nu :]
            pu = pilots[pilot : pilot + nu * (nu + 1)].reshape((1, nu * (nu + 1)))
            pd = pilots[pilot + nu * (nu + 1) : pilot + nu * (nu + 1) + nb * (nb + 1)].reshape((1, nb * (nb + 1)))
            ll += find_known(pattern, L, Kc, q, values, tu, pu, e, x, up)
            for i in range(seen, n):
                b[j, known[i]] = x[i]
            if nd:
                expect(equations, B, c, Kc, L, P, t, n, places, d_seen, q, e, x, work)
                ll += find_explained(d_valued, d_seen, values[seen:], td, pd, work, LV, down)
                for i in range(d_valued, nd):
                    b[j, states[inputs + d_seen[i]]] = down[3][0, i - d_valued]
            if len(dz):
                for i in range(n):
                    de[i], dx[i] = 0.0, db[j, known[i]] if i >= seen else 0.0
                for s in range(ns):
                    dms[s] = 0.0
                if nd:
                    for i in range(d_valued, nd):
                        down[3][0, i - d_valued] = db[j, states[inputs + d_seen[i]]]
                    pull_explained(
                        d_valued, d_seen, td, pd, work, LV, dLV, down, scratch[0], scratch[2], dz[own + nu :]
                    )
                    expect_gradient(equations, t, places, d_seen, q, x, work, scratch, dB, dc, dP, dt, dms, dx)
                states_gradient(n, L, dL, dKc, states, q, e, de, dms)
                pull_known(pattern, L, dL, Kc, dKc, q, tu, pu, e, de, dx, up, dz[own:])
            at += Q - 1 + seen + d_valued
            own += nu + nb
            pilot += nu * (nu + 1) + nb * (nb + 1)
            row += 1
        if len(dz):
            roots_gradient(L, dL, dP, known, n, states, dS[context, 1])
    return ll
