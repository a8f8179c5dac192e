"""Clusters of a structural equation model that are taken one by one: with missing values within, or with random slopes.

Notation and tables are those of kernels/structural.py. A random slope s_j is a variable of the between level whose value is
sampled, so it stands among the cluster's own variables v_j; given it the within level is linear, with matrices of the cluster:
B (or c, if the regressor is a covariate) has s_j in a cell.

The sampled coordinates t_j are parametrised by information (as in information.py). A pilot says that near its mode the log
likelihood of the cluster's rows is g'f - f'A f / 2 in f = (b_j, s_j). With f ~ N(m, S) given the cluster's own variables,

    P = (S^-1 + A)^-1,   h = g - A m,   s_j = [m + P h]_s + C t_j,   C C' = P_ss:

t_j is nearly N(0, I), whatever the SD of the slopes and their correlations with the means are. The Jacobian is det C. The tables
move the coordinates, never the posterior. With G = d log p / d s_j (0 for b):

    dt = C' G,   dC = G t' + diag C^-1,   dP = G h' + [C -> P_ss],   dm = G - A P G,   dS = (I - A P) dP (I - P A).
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, clear, inverse_from_cholesky, root

WITHIN, BETWEEN = 0, 1


@njit(**OPTIONS)
def condition(targets, n, seen, m, S, Vi, C, L):
    """f given v: inverse of S_vv, C = S_fv S_vv^-1, root L of S_ff - C S_vf; log det S_vv, NaN if not positive definite."""
    V = np.empty((m, m))
    for i in range(m):
        for j in range(m):
            V[i, j] = S[seen[i], seen[j]]
    logdet = cholesky(V, m)
    inverse_from_cholesky(V, Vi, m)
    Sc = np.empty((n, n))
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(m):
                s += S[targets[i], seen[k]] * Vi[k, j]
            C[i, j] = s
        for j in range(n):
            s = S[targets[i], targets[j]]
            for k in range(m):
                s -= C[i, k] * S[seen[k], targets[j]]
            Sc[i, j] = s
    for i in range(n):  # what v determines, but for rounding
        if Sc[i, i] < 1e-13 * S[targets[i], targets[i]]:
            for j in range(n):
                Sc[i, j] = Sc[j, i] = 0.0
    root(Sc, L, n)
    return logdet


@njit(**OPTIONS)
def uncondition(targets, n, seen, m, Vi, C, dSc, dC, dS):
    """From derivatives in the covariance of f given v and in C to those in S (added, not symmetric)."""
    for i in range(n):
        for j in range(n):
            dS[targets[i], targets[j]] += dSc[i, j]
    X, Y = np.empty((n, m)), np.empty((n, m))  # dSc C, dC Vi
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(n):
                s += dSc[i, k] * C[k, j]
            X[i, j] = s
    for i in range(n):
        for j in range(m):
            s = 0.0
            for k in range(m):
                s += dC[i, k] * Vi[k, j]
            dS[targets[i], seen[j]] += s - X[i, j]
            dS[seen[j], targets[i]] -= X[i, j]
            Y[i, j] = s
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(n):
                s += C[k, i] * (X[k, j] - Y[k, j])
            dS[seen[i], seen[j]] += s


@njit(**OPTIONS)
def posterior(A, h, L, n, AL, R, inverse, P, u):
    """P = L (I + L'A L)^-1 L' and u = P h; log det (I + L'A L). AL, R and inverse are scratch."""
    for i in range(n):
        for k in range(n):
            s = 0.0
            for a in range(k, n):
                s += A[i, a] * L[a, k]
            AL[i, k] = s
    for i in range(n):
        for k in range(i + 1):
            s = 1.0 if i == k else 0.0
            for a in range(i, n):
                s += L[a, i] * AL[a, k]
            R[i, k] = s
    logdet = cholesky(R, n)
    inverse_from_cholesky(R, inverse, n)
    for i in range(n):
        for k in range(n):
            s = 0.0
            for a in range(i + 1):
                s += L[i, a] * inverse[a, k]
            AL[i, k] = s
    for i in range(n):
        for k in range(i + 1):
            s = 0.0
            for a in range(k + 1):
                s += AL[i, a] * L[k, a]
            P[i, k] = P[k, i] = s
    for i in range(n):
        s = 0.0
        for k in range(n):
            s += P[i, k] * h[k]
        u[i] = s
    return logdet


@njit(**OPTIONS)
def slopes_of(t, A, g, mean, L, p, n, AL, R, inverse, P, h, u, C, s):
    """Slopes s (elements p to n of f) of a cluster at t; log det C. P, h, u and C as in the module's docstring."""
    for i in range(n):
        h[i] = g[i]
        for k in range(n):
            h[i] -= A[i, k] * mean[k]
    posterior(A, h, L, n, AL, R, inverse, P, u)
    ns = n - p
    for a in range(ns):
        for b in range(a + 1):
            C[a, b] = P[p + a, p + b]
    logdet = 0.5 * cholesky(C, ns)
    for a in range(ns):
        v = mean[p + a] + u[p + a]
        for b in range(a + 1):
            v += C[a, b] * t[b]
        s[a] = v
    return logdet


@njit(**OPTIONS)
def slopes_gradient(t, A, p, n, P, h, C, G, dC, dPs, dP, X, dt, dmean, dS):
    """From derivatives G in the slopes to those in t, and (added) in the mean and covariance of f; dC to X are scratch."""
    ns = n - p
    for a in range(ns):
        v = 0.0
        for b in range(a, ns):
            v += C[b, a] * G[b]
        dt[a] = v
        for b in range(a + 1):
            dC[a, b] = G[a] * t[b]
        dC[a, a] += 1.0 / C[a, a]
    cholesky_gradient(C, dC, ns, dPs)
    for i in range(n):  # dh = P G, and dm = G - A dh
        v = 0.0
        for a in range(ns):
            v += P[i, p + a] * G[a]
        X[0, i] = v
    for i in range(n):
        v = G[i - p] if i >= p else 0.0
        for k in range(n):
            v -= A[i, k] * X[0, k]
        dmean[i] = v
        for k in range(n):
            dP[i, k] = 0.5 * ((G[i - p] * h[k] if i >= p else 0.0) + (G[k - p] * h[i] if k >= p else 0.0))
    for a in range(ns):
        for b in range(ns):
            dP[p + a, p + b] += dPs[a, b]
    for i in range(n):  # X = dP (I - P A)
        for k in range(n):
            v = dP[i, k]
            for a in range(n):
                w = 0.0
                for b in range(n):
                    w += P[a, b] * A[b, k]
                v -= dP[i, a] * w
            X[i, k] = v
    for i in range(n):  # dS += (I - A P) X
        for k in range(n):
            v = X[i, k]
            for a in range(n):
                w = 0.0
                for b in range(n):
                    w += A[i, b] * P[b, a]
                v -= w * X[a, k]
            dS[i, k] += v


@njit(**OPTIONS)
def cholesky_gradient(C, dC, n, dS):
    """From derivatives in the lower factor C of S to those in S (symmetric)."""
    if n == 1:
        dS[0, 0] = 0.5 * dC[0, 0] / C[0, 0]
        return
    F, inverse = np.zeros((n, n)), np.zeros((n, n))
    for a in range(n):
        for b in range(a + 1):
            v = 0.0
            for c in range(a, n):
                v += C[c, a] * dC[c, b]
            F[a, b] = v if a != b else 0.5 * v
    for b in range(n):
        for a in range(b, n):
            v = 1.0 if a == b else 0.0
            for c in range(b, a):
                v -= C[a, c] * inverse[c, b]
            inverse[a, b] = v / C[a, a]
    for a in range(n):
        for b in range(n):
            v = 0.0
            for c in range(a, n):
                for d in range(b, n):
                    v += inverse[c, a] * 0.5 * (F[c, d] + F[d, c]) * inverse[d, b]
            dS[a, b] = v


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
def scatter(cell, M, Q, levels, active, Psi, B, c):
    """The within-level matrices of a context, of its `active` variables only, causes first."""
    m = len(active)
    for i in range(m):
        for j in range(m):
            Psi[i, j] = cell[active[i] * M + active[j]]
            B[i, j] = cell[levels * M * M + active[i] * M + active[j]]
        for q in range(Q):
            c[i, q] = cell[2 * levels * M * M + active[i] * Q + q]


@njit(**OPTIONS)
def gather(dPsi, dB, dc, M, Q, levels, active, dcell):
    """The inverse of `scatter`, for derivatives."""
    m = len(active)
    for i in range(m):
        for j in range(m):
            dcell[active[i] * M + active[j]] = dPsi[i, j]
            dcell[levels * M * M + active[i] * M + active[j]] = dB[i, j]
        for q in range(Q):
            dcell[2 * levels * M * M + active[i] * Q + q] = dc[i, q]


@njit(**OPTIONS)
def within_moments(Psi, B, c, m, Q, A, AP, S, K):
    """A = (I - B)^-1, S = A Psi A', K = A c for variables in causal order, so that A is lower triangular."""
    for i in range(m):
        for j in range(i):
            s = 0.0
            for k in range(j, i):
                s += B[i, k] * A[k, j]
            A[i, j] = s
        A[i, i] = 1.0
        for j in range(i + 1, m):
            A[i, j] = 0.0
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(i + 1):
                s += A[i, k] * Psi[k, j]
            AP[i, j] = s
        for q in range(Q):
            s = 0.0
            for k in range(i + 1):
                s += A[i, k] * c[k, q]
            K[i, q] = s
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(j + 1):
                s += AP[i, k] * A[j, k]
            S[i, j] = s


@njit(**OPTIONS)
def within_gradient(A, S, K, dS, dK, m, Q, X, Y, Z, dPsi, dB, dc):
    """Adds to the derivatives in Psi, B and c; those in B and c alone are left in Z and X."""
    for i in range(m):
        for j in range(m):  # A' dS
            s = 0.0
            for k in range(i, m):
                s += A[k, i] * dS[k, j]
            Y[i, j] = s
        for q in range(Q):
            s = 0.0
            for k in range(i, m):
                s += A[k, i] * dK[k, q]
            X[i, q] = s
            dc[i, q] += s
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(j, m):
                s += Y[i, k] * A[k, j]
            dPsi[i, j] += s
            s = 0.0
            for k in range(m):
                s += 2.0 * Y[i, k] * S[k, j]
            for q in range(Q):
                s += X[i, q] * K[j, q]
            Z[i, j] = s
            dB[i, j] += s


@njit(**OPTIONS)
def mean_of(targets, n, own, m, K, q, values, C, e, mean):
    """Mean of f given the cluster's own variables; e is how far these are from theirs."""
    Q = len(q)
    for i in range(m):
        v = values[i]
        for k in range(Q):
            v -= K[own[i], k] * q[k]
        e[i] = v
    for i in range(n):
        v = 0.0
        for k in range(Q):
            v += K[targets[i], k] * q[k]
        for k in range(m):
            v += C[i, k] * e[k]
        mean[i] = v


@njit(**OPTIONS)
def slopes(sizes, tables, S, K, t, out):
    """The slopes (cluster, slope) at coordinates t."""
    p, Q, M, J = sizes
    (active, targets, slope_cells, wcombos, vcombos), by_ints, by_floats = tables
    n = len(targets)
    ns = n - p
    width, NV = Q + M + n * n + n, len(vcombos)
    Vi, C, L = np.empty((NV, M, M)), np.empty((NV, n, M)), np.zeros((NV, n, n))
    for v in range(NV):
        condition(targets, n, vcombos[v, 2:], vcombos[v, 1] - ns, S[vcombos[v, 0], BETWEEN], Vi[v], C[v], L[v])
    AL, R, inverse, P = np.empty((n, n)), np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    h, u, mean, e, root_of = np.empty(n), np.empty(n), np.empty(n), np.empty(M), np.empty((ns, ns))
    for j in range(J):
        v = by_ints[0][j, 0]
        f = by_floats[0][j * width : (j + 1) * width]
        A, g = f[Q + M : Q + M + n * n].reshape((n, n)), f[Q + M + n * n :]
        mean_of(targets, n, vcombos[v, 2:], vcombos[v, 1] - ns, K[vcombos[v, 0]], f[:Q], f[Q:], C[v], e, mean)
        mine = slice(j * ns, (j + 1) * ns)
        slopes_of(t[mine], A, g, mean, L[v], p, n, AL, R, inverse, P, h, u, root_of, out[mine])


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
