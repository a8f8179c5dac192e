"""Clusters of a structural equation model that are taken one by one: with missing values within, or with random slopes.

Notation and tables are those of kernels/structural.py. A random slope s_j is a variable of the between level whose value is
sampled, so it stands among the cluster's own variables v_j; given it the within level is linear, with matrices of the cluster:
B (or c, if the regressor is a covariate) has s_j in a cell. `slope_coordinates` says how it is sampled.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.conditioning import condition, mean_of, posterior, uncondition
from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, clear, inverse_from_cholesky
from bayeshte.marginal.kernels.slope_coordinates import slopes_gradient, slopes_of
from bayeshte.marginal.kernels.within_level import gather, scatter, within_gradient, within_moments

WITHIN, BETWEEN = 0, 1


@njit(**OPTIONS)
def invert_cell(S, seen, m, X, W):
    """W = inverse of S for what is seen; its log determinant before."""
    for i in range(m):
        for j in range(m):
            X[i, j] = S[seen[i], seen[j]]
    logdet = cholesky(X, m)
    inverse_from_cholesky(X, W, m)
    return logdet


@njit(**OPTIONS)
def cell_gradient(W, dW, count, seen, m, X, dS):
    """dS += -W dW W - count / 2 W for what is seen."""
    for i in range(m):
        for k in range(m):
            s = 0.0
            for a in range(m):
                s += W[i, a] * dW[a, k]
            X[i, k] = s
    for i in range(m):
        for k in range(m):
            s = -0.5 * count * W[i, k]
            for a in range(m):
                s -= X[i, a] * W[a, k]
            dS[seen[i], seen[k]] += s


@njit(**OPTIONS)
def clusters(sizes, tables, cell, S, K, t, dS, dK, dcell, dt, with_slopes):
    """Log-likelihood of the clusters; adds to the derivatives in S and K, sets those in t and (with slopes) in the within cells.

    sizes: P, p, Q, M, J, levels, regressors within; tables: as `take` gives them. K is that of both levels, with random slopes
    that of the between level. with_slopes is None without random slopes: what they need is then not even compiled.
    One long function, because numba's calls with arrays inside the loop over clusters would double its cost.
    """
    P, p, Q, M, J, levels, Qw = sizes
    (active, targets, slope_cells, wcombos, vcombos), by_ints, by_floats = tables
    cluster_ints, cell_ints = by_ints
    cluster_floats, cell_floats = by_floats
    if J == 0:
        return 0.0
    nf, mw, NW, NV, contexts = len(targets), len(active), len(wcombos), len(vcombos), len(K)
    ns = nf - p  # targets: the variables within, then the slopes
    most = 0
    for j in range(J):
        most = max(most, cluster_ints[j, 1])
    cluster_width, width = Q + M + (nf * nf + nf if ns else 0), 1 + P + Q
    if with_slopes is not None:
        width += P * P + P * Q + Q * Q
    NW = most if ns else NW
    W, dW, logdets, count = np.empty((NW, P, P)), np.zeros((NW, P, P)), np.empty(NW), np.zeros(NW)
    X = np.empty((P, P))
    if with_slopes is None:
        for w in range(NW):
            logdets[w] = invert_cell(S[wcombos[w, 0], WITHIN], wcombos[w, 2:], wcombos[w, 1], X, W[w])
    Vi, C, L, logdets_v = np.empty((NV, M, M)), np.empty((NV, p, M)), np.zeros((NV, p, p)), np.empty(NV)
    dSc, dC = np.zeros((NV, p, p)), np.zeros((NV, p, M))
    for v in range(NV):
        own, between = vcombos[v, 2:], S[vcombos[v, 0], BETWEEN]
        logdets_v[v] = condition(targets, p, own, vcombos[v, 1], between, Vi[v], C[v], L[v])
        if not logdets_v[v] > -math.inf:
            return math.nan
    A, AL, R = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    inverse, post, AP = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    e, Ve, mean, dmean = np.empty(M), np.empty(M), np.empty(p), np.empty(p)
    h, u, rest, d = np.empty(p), np.empty(p), np.empty(p), np.empty((most, p))

    Psi, B0, c0 = np.empty((contexts, mw, mw)), np.empty((contexts, mw, mw)), np.empty((contexts, mw, Q))
    dPsi, dB, dc = np.zeros((contexts, mw, mw)), np.zeros((contexts, mw, mw)), np.zeros((contexts, mw, Q))
    B, Aw, APw, Sw = np.empty((mw, mw)), np.empty((mw, mw)), np.empty((mw, mw)), np.empty((mw, mw))
    dSw, Yw, Zw = np.empty((mw, mw)), np.empty((mw, mw)), np.empty((mw, mw))
    c1, Kw, dKw, Xw = np.empty((mw, Q)), np.empty((mw, Q)), np.empty((mw, Q)), np.empty((mw, Q))
    Sy, Ky, dSy, dKy = np.empty((p, p)), np.zeros((p, Q)), np.empty((p, p)), np.empty((p, Q))
    DQ = np.empty((p, Q))
    place = np.zeros(p, np.int64)
    Vf, Cf, Lf = np.empty((NV, M, M)), np.empty((NV, nf, M)), np.zeros((NV, nf, nf))
    dSf, dCf = np.zeros((NV, nf, nf)), np.zeros((NV, nf, M))
    ALf, Rf, inversef, Pf = np.empty((nf, nf)), np.empty((nf, nf)), np.empty((nf, nf)), np.empty((nf, nf))
    hf, uf, meanf, dmeanf = np.empty(nf), np.empty(nf), np.empty(nf), np.empty(nf)
    Cs, dCs, dPs, dPf, Xf = (
        np.empty((ns, ns)),
        np.empty((ns, ns)),
        np.empty((ns, ns)),
        np.empty((nf, nf)),
        np.empty((nf, nf)),
    )
    values, G = np.empty(ns), np.empty(ns)
    if with_slopes is not None:
        for a in range(mw):
            if active[a] < p:
                place[active[a]] = a
        for c in range(contexts):
            scatter(cell[c], M, Q, levels, active, Psi[c], B0[c], c0[c])
        for v in range(NV):
            own, between = vcombos[v, 2:], S[vcombos[v, 0], BETWEEN]
            condition(targets, nf, own, vcombos[v, 1] - ns, between, Vf[v], Cf[v], Lf[v])

    ll, first = 0.0, 0
    for j in range(J):
        v, cells = cluster_ints[j, 0], cluster_ints[j, 1]
        context, mv, own = vcombos[v, 0], vcombos[v, 1], vcombos[v, 2:]
        f = cluster_floats[j * cluster_width : (j + 1) * cluster_width]
        if with_slopes is not None:
            information, towards = f[Q + M : Q + M + nf * nf].reshape((nf, nf)), f[Q + M + nf * nf :]
            mean_of(targets, nf, own, mv - ns, K[context], f[:Q], f[Q:], Cf[v], e, meanf)
            own_t = t[j * ns : (j + 1) * ns]
            ll += slopes_of(own_t, information, towards, meanf, Lf[v], p, nf, ALf, Rf, inversef, Pf, hf, uf, Cs, values)
            for i in range(mw):
                for k in range(mw):
                    B[i, k] = B0[context, i, k]
                for q in range(Qw):
                    c1[i, q] = c0[context, i, q]
            for a in range(ns):
                if slope_cells[a, 0] == 0:
                    B[slope_cells[a, 1], slope_cells[a, 2]] += values[a]
                else:
                    c1[slope_cells[a, 1], slope_cells[a, 2]] += values[a]
            within_moments(Psi[context], B, c1, mw, Qw, Aw, APw, Sw, Kw)
            for i in range(p):
                for k in range(p):
                    Sy[i, k] = Sw[place[i], place[k]]
                    dSy[i, k] = 0.0
                for q in range(Qw):
                    Ky[i, q] = Kw[place[i], q]
                    dKy[i, q] = 0.0
        for i in range(mv):
            s = f[Q + i] if i < mv - ns else values[i - mv + ns]
            for q in range(Q):
                s -= K[context, own[i], q] * f[q]
            e[i] = s
        quad = 0.0
        for i in range(mv):
            s = 0.0
            for k in range(mv):
                s += Vi[v, i, k] * e[k]
            Ve[i] = s
            quad += s * e[i]
        ll -= 0.5 * (quad + logdets_v[v])
        for i in range(p):
            s = 0.0
            for k in range(mv):
                s += C[v, i, k] * e[k]
            mean[i] = s
            h[i] = 0.0
            dmean[i] = 0.0
            for k in range(p):
                A[i, k] = 0.0
        for c in range(cells):
            combo = cell_ints[first + c]
            w = c if ns else combo
            m, seen = wcombos[combo, 1], wcombos[combo, 2:]
            rows = cell_floats[(first + c) * width : (first + c + 1) * width]
            n = rows[0]
            count[w] += 1.0
            if with_slopes is not None:
                logdets[w] = n * invert_cell(Sy, seen, m, X, W[w])
                count[w] = n
            for i in range(m):
                s = rows[1 + i] - mean[seen[i]]
                if with_slopes is not None:  # K is then that of the between level
                    for q in range(Qw):
                        s -= Ky[seen[i], q] * rows[1 + P + q]
                for q in range(Qw if ns else 0, Q):
                    s -= K[context, seen[i], q] * rows[1 + P + q]
                d[c, i] = s
            quad = logdets[w]
            for i in range(m):
                s = 0.0
                for k in range(m):
                    s += W[w, i, k] * d[c, k]
                    A[seen[i], seen[k]] += n * W[w, i, k]
                h[seen[i]] += n * s
                quad += n * s * d[c, i]
            ll -= 0.5 * quad
            if with_slopes is not None:
                residual = rows[1 + P + Q :]
                k0, QQ = residual[P * P :], residual[P * P + P * Q :].reshape((Q, Q))
                for i in range(m):
                    for q in range(1, Qw):
                        s = 0.0
                        for k in range(1, Qw):
                            s += (Ky[seen[i], k] - k0[i * Q + k]) * QQ[k, q]
                        DQ[i, q] = s
                for i in range(m):
                    for k in range(m):
                        s = residual[i * m + k]
                        for q in range(1, Qw):
                            s += DQ[i, q] * (Ky[seen[k], q] - k0[k * Q + q])
                        ll -= 0.5 * W[w, i, k] * s
                        dW[w, i, k] = -0.5 * s
                    for q in range(1, Qw):
                        s = 0.0
                        for k in range(m):
                            s += W[w, i, k] * DQ[k, q]
                        dKy[seen[i], q] -= s
        ll -= 0.5 * posterior(A, h, L[v], p, AL, R, inverse, post, u)
        for i in range(p):
            ll += 0.5 * u[i] * h[i]
        for i in range(p):
            s = h[i]
            for k in range(p):
                s -= A[i, k] * u[k]
            rest[i] = s
            for k in range(p):
                s = 0.0
                for a in range(p):
                    s += A[i, a] * post[a, k]
                AP[i, k] = s
        for i in range(p):
            for k in range(p):
                s = rest[i] * rest[k] - A[i, k]
                for a in range(p):
                    s += AP[i, a] * A[a, k]
                dSc[v, i, k] += 0.5 * s
        for c in range(cells):
            combo = cell_ints[first + c]
            w = c if ns else combo
            m, seen = wcombos[combo, 1], wcombos[combo, 2:]
            rows = cell_floats[(first + c) * width : (first + c + 1) * width]
            n = rows[0]
            for i in range(m):
                d[c, i] -= u[seen[i]]
            for i in range(m):
                s = 0.0
                for k in range(m):
                    s += W[w, i, k] * d[c, k]
                    dW[w, i, k] -= 0.5 * n * (d[c, i] * d[c, k] + post[seen[i], seen[k]])
                s *= n  # minus the derivative in d
                dmean[seen[i]] += s
                if with_slopes is not None:
                    for q in range(Qw):
                        dKy[seen[i], q] += s * rows[1 + P + q]
                for q in range(Qw if ns else 0, Q):
                    dK[context, seen[i], q] += s * rows[1 + P + q]
            if with_slopes is not None:
                cell_gradient(W[w], dW[w], n, seen, m, X, dSy)
        for k in range(mv):
            s = -Ve[k]
            for i in range(p):
                s += C[v, i, k] * dmean[i]
                dC[v, i, k] += dmean[i] * e[k]
            for i in range(mv):
                dS[context, BETWEEN, own[k], own[i]] += 0.5 * (Ve[k] * Ve[i] - Vi[v, k, i])
            for q in range(Q):
                dK[context, own[k], q] -= s * f[q]
            if k >= mv - ns:
                G[k - mv + ns] = s
        if with_slopes is not None:
            clear(dSw, mw, mw)
            clear(dKw, mw, Qw)
            for i in range(p):
                for k in range(p):
                    dSw[place[i], place[k]] = 0.5 * (dSy[i, k] + dSy[k, i])
                for q in range(Qw):
                    dKw[place[i], q] = dKy[i, q]
            within_gradient(Aw, Sw, Kw, dSw, dKw, mw, Qw, Xw, Yw, Zw, dPsi[context], dB[context], dc[context])
            for a in range(ns):
                source = Zw if slope_cells[a, 0] == 0 else Xw
                G[a] += source[slope_cells[a, 1], slope_cells[a, 2]]
            own_dt = dt[j * ns : (j + 1) * ns]
            slopes_gradient(own_t, information, p, nf, Pf, hf, Cs, G, dCs, dPs, dPf, Xf, own_dt, dmeanf, dSf[v])
            for i in range(nf):
                for k in range(mv - ns):
                    dCf[v, i, k] += dmeanf[i] * e[k]
                for q in range(Q):
                    dK[context, targets[i], q] += dmeanf[i] * f[q]
            for k in range(mv - ns):
                s = 0.0
                for i in range(nf):
                    s += Cf[v, i, k] * dmeanf[i]
                for q in range(Q):
                    dK[context, own[k], q] -= s * f[q]
        first += cells
    if with_slopes is not None:
        for c in range(contexts):
            gather(dPsi[c], dB[c], dc[c], M, Q, levels, active, dcell[c])
        for v in range(NV):
            own, between = vcombos[v, 2:], dS[vcombos[v, 0], BETWEEN]
            uncondition(targets, nf, own, vcombos[v, 1] - ns, Vf[v], Cf[v], dSf[v], dCf[v], between)
    else:
        for w in range(NW):
            cell_gradient(W[w], dW[w], count[w], wcombos[w, 2:], wcombos[w, 1], X, dS[wcombos[w, 0], WITHIN])
    for v in range(NV):
        own, between = vcombos[v, 2:], dS[vcombos[v, 0], BETWEEN]
        uncondition(targets, p, own, vcombos[v, 1], Vi[v], C[v], dSc[v], dC[v], between)
    return ll
