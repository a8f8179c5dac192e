"""Clusters of a structural equation model that are taken one by one: with missing values within, or with random slopes.

Notation and tables are those of kernels/structural.py. A random slope s_j is a variable of the between level whose value is
sampled, so it stands among the cluster's own variables v_j; given it the within level is linear, with matrices of the cluster:
B (or c, if the regressor is a covariate) has s_j in a cell.

The sampled coordinates t_j are parametrised by information (as in kernels/glmm.py). A pilot says that the cluster's data alone
put s_j near A_j^-1 g_j with information A_j; with m_j = K q_j, C C' = S_ss and h = g_j - A_j m_j,

    I + C' A_j C = R R',   y = R'^-1 (R^-1 C' h + t_j),   s_j = m_j + C y:

t_j is nearly N(0, I) whatever the SD of the slopes is. The Jacobian adds log det C - log det R. The tables move the coordinates,
never the posterior. With W = R^-1, e = W C' h, k = e + t and G = d log p / d s_j:

    dy = C' G,   dt = W dy,   dx = W' dt,   dh = C dx,   dm = G - A dh,   dC = G y' + h dx' - A C W' Q W + C'^-1,

Q symmetric with the lower triangle of k dt' + dt e', plus I (Murray, 2016, arXiv:1602.07527).
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, inverse_from_cholesky, root

WITHIN, BETWEEN = 0, 1


@njit(**OPTIONS)
def condition(p, m, seen, S, Vi, C, L):
    """b_y given v: inverse of S_vv, C = S_yv S_vv^-1, root of S_c = S_yy - C S_vy; log det S_vv, NaN if not positive definite."""
    V = np.empty((m, m))
    for i in range(m):
        for j in range(m):
            V[i, j] = S[seen[i], seen[j]]
    logdet = cholesky(V, m)
    inverse_from_cholesky(V, Vi, m)
    Sc = np.empty((p, p))
    for i in range(p):
        for j in range(m):
            s = 0.0
            for k in range(m):
                s += S[i, seen[k]] * Vi[k, j]
            C[i, j] = s
        for j in range(p):
            s = S[i, j]
            for k in range(m):
                s -= C[i, k] * S[seen[k], j]
            Sc[i, j] = s
    root(Sc, L, p)
    return logdet


@njit(**OPTIONS)
def uncondition(p, m, seen, Vi, C, dSc, dC, dS):
    """From derivatives in S_c and C to those in S_B (added, not symmetric)."""
    for i in range(p):
        for j in range(p):
            dS[i, j] += dSc[i, j]
    X = np.empty((p, m))
    for i in range(p):
        for j in range(m):
            s = 0.0
            for k in range(p):
                s += dSc[i, k] * C[k, j]
            X[i, j] = s
    for i in range(p):
        for j in range(m):
            s = 0.0
            for k in range(m):
                s += dC[i, k] * Vi[k, j]
            dS[i, seen[j]] += s - X[i, j]
            dS[seen[j], i] -= X[i, j]
            dC[i, j] = s  # dC Vi
    for i in range(m):
        for j in range(m):
            s = 0.0
            for k in range(p):
                s += C[k, i] * (X[k, j] - dC[k, j])
            dS[seen[i], seen[j]] += s


@njit(**OPTIONS)
def slopes_of(t, A, g, mean, C, ns, W, e, k, y, s):
    """Slopes of a cluster from its coordinates; log det C - log det R. W = R^-1, e, k, y as in the module's docstring."""
    R, h = np.empty((ns, ns)), np.empty(ns)
    logdet = 0.0
    for a in range(ns):
        h[a] = g[a]
        for b in range(ns):
            h[a] -= A[a, b] * mean[b]
    for a in range(ns):
        for b in range(a + 1):
            v = 1.0 if a == b else 0.0
            for c in range(a, ns):
                for d in range(b, ns):
                    v += C[c, a] * A[c, d] * C[d, b]
            R[a, b] = v
        logdet += math.log(C[a, a])
    logdet -= 0.5 * cholesky(R, ns)
    for b in range(ns):
        for a in range(ns):
            v = 1.0 if a == b else 0.0
            for c in range(b, a):
                v -= R[a, c] * W[c, b]
            W[a, b] = v / R[a, a] if a >= b else 0.0
    for a in range(ns):
        v = 0.0
        for c in range(a, ns):
            v += C[c, a] * h[c]
        y[a] = v
    for a in range(ns):
        v = 0.0
        for b in range(a + 1):
            v += W[a, b] * y[b]
        e[a] = v
        k[a] = v + t[a]
    for a in range(ns):
        v = 0.0
        for b in range(a, ns):
            v += W[b, a] * k[b]
        y[a] = v
    for a in range(ns):
        v = mean[a]
        for b in range(a + 1):
            v += C[a, b] * y[b]
        s[a] = v
    return logdet


@njit(**OPTIONS)
def slopes_gradient(A, g, mean, C, ns, W, e, k, y, G, dt, dmean, dC):
    """From derivatives G in the slopes to those in the coordinates, and (added) in their mean and C."""
    dy, dx, h, dh = np.empty(ns), np.empty(ns), np.empty(ns), np.empty(ns)
    Q, X = np.empty((ns, ns)), np.empty((ns, ns))
    for a in range(ns):
        v = 0.0
        for c in range(a, ns):
            v += C[c, a] * G[c]
        dy[a] = v
        h[a] = g[a]
        for b in range(ns):
            h[a] -= A[a, b] * mean[b]
    for a in range(ns):
        v = 0.0
        for b in range(a + 1):
            v += W[a, b] * dy[b]
        dt[a] = v
    for a in range(ns):
        v = 0.0
        for b in range(a, ns):
            v += W[b, a] * dt[b]
        dx[a] = v
    for a in range(ns):
        v = 0.0
        for b in range(a + 1):
            v += C[a, b] * dx[b]
        dh[a] = v
    for a in range(ns):
        dmean[a] += G[a]
        for b in range(ns):
            dmean[a] -= A[a, b] * dh[b]
        for b in range(a + 1):
            v = k[a] * dt[b] + dt[a] * e[b]
            Q[a, b] = Q[b, a] = v + 1.0 if a == b else v
    for a in range(ns):  # W' Q W
        for b in range(ns):
            v = 0.0
            for c in range(a, ns):
                for d in range(b, ns):
                    v += W[c, a] * Q[c, d] * W[d, b]
            X[a, b] = v
    for a in range(ns):
        for b in range(a + 1):
            v = G[a] * y[b] + h[a] * dx[b]
            for c in range(ns):
                for d in range(c + 1):
                    v -= A[a, c] * C[c, d] * X[d, b]
            dC[a, b] += v
        dC[a, a] += 1.0 / C[a, a]


@njit(**OPTIONS)
def cholesky_gradient(C, dC, n, dS):
    """From derivatives in the lower factor C of S to those in S (symmetric)."""
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
def slopes(sizes, tables, S, K, t, out):
    """The slopes (cluster, slope) at coordinates t."""
    Q, M, J = sizes
    (active, slope_variables, slope_cells, wcombos, vcombos), by_ints, by_floats = tables
    ns = len(slope_variables)
    width = Q + M + ns * ns + ns
    C, W, e = np.empty((ns, ns)), np.empty((ns, ns)), np.empty(ns)
    k, y, centre = np.empty(ns), np.empty(ns), np.empty(ns)
    for j in range(J):
        context = vcombos[by_ints[0][j, 0], 0]
        f = by_floats[0][j * width : (j + 1) * width]
        for a in range(ns):
            for b in range(ns):
                C[a, b] = S[context, BETWEEN, slope_variables[a], slope_variables[b]]
            s = 0.0
            for q in range(Q):
                s += K[context, slope_variables[a], q] * f[q]
            centre[a] = s
        cholesky(C, ns)
        information = f[Q + M : Q + M + ns * ns].reshape((ns, ns))
        mine = slice(j * ns, (j + 1) * ns)
        slopes_of(t[mine], information, f[Q + M + ns * ns :], centre, C, ns, W, e, k, y, out[mine])


@njit(**OPTIONS)
def clusters(sizes, tables, cell, S, K, t, dS, dK, dcell, dt):
    """Log-likelihood of the clusters; adds to the derivatives in S and K, sets those in t and (with slopes) in the within cells.

    sizes: P, p, Q, M, J, levels; tables: as `take` gives them. K is that of both levels, with random slopes of the between level.
    """
    P, p, Q, M, J, levels = sizes
    (active, slope_variables, slope_cells, wcombos, vcombos), by_ints, by_floats = tables
    cluster_ints, cell_ints = by_ints
    cluster_floats, cell_floats = by_floats
    if J == 0:
        return 0.0
    ns, mw, NW, NV, contexts = len(slope_variables), len(active), len(wcombos), len(vcombos), len(K)
    most = 0
    for j in range(J):
        most = max(most, cluster_ints[j, 1])
    cluster_width, width = Q + M + ns * ns + ns, 1 + P + Q
    if ns:
        width += P * P + P * Q + Q * Q
    NW = most if ns else NW
    W, dW, logdets, count = np.empty((NW, P, P)), np.zeros((NW, P, P)), np.empty(NW), np.zeros(NW)
    X = np.empty((P, P))
    if not ns:
        for w in range(NW):
            logdets[w] = invert_cell(S[wcombos[w, 0], WITHIN], wcombos[w, 2:], wcombos[w, 1], X, W[w])
    Vi, C, L, logdets_v = np.empty((NV, M, M)), np.empty((NV, p, M)), np.zeros((NV, p, p)), np.empty(NV)
    dSc, dC = np.zeros((NV, p, p)), np.zeros((NV, p, M))
    for v in range(NV):
        logdets_v[v] = condition(p, vcombos[v, 1], vcombos[v, 2:], S[vcombos[v, 0], BETWEEN], Vi[v], C[v], L[v])
        if not logdets_v[v] > -math.inf:
            return math.nan
    A, AL, R = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    inverse, post, AP = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    e, Ve, mean, dmean = np.empty(M), np.empty(M), np.empty(p), np.empty(p)
    h, u, rest, d = np.empty(p), np.empty(p), np.empty(p), np.empty((most, p))

    Psi, B0, c0 = np.empty((contexts, mw, mw)), np.empty((contexts, mw, mw)), np.empty((contexts, mw, Q))
    dPsi, dB, dc = np.zeros((contexts, mw, mw)), np.zeros((contexts, mw, mw)), np.zeros((contexts, mw, Q))
    B, c1, Aw, APw, Sw, Kw = (
        np.empty((mw, mw)),
        np.empty((mw, Q)),
        np.empty((mw, mw)),
        np.empty((mw, mw)),
        np.empty((mw, mw)),
        np.empty((mw, Q)),
    )
    dSw, dKw, Xw, Yw, Zw = (
        np.empty((mw, mw)),
        np.empty((mw, Q)),
        np.empty((mw, Q)),
        np.empty((mw, mw)),
        np.empty((mw, mw)),
    )
    Sy, Ky, dSy, dKy = np.empty((p, p)), np.zeros((p, Q)), np.empty((p, p)), np.empty((p, Q))
    D, DQ = np.empty((p, Q)), np.empty((p, Q))
    place = np.zeros(p, np.int64)
    Cs, dCs, Ss = np.empty((contexts, ns, ns)), np.zeros((contexts, ns, ns)), np.empty((ns, ns))
    Ws, es, ks, ys = np.empty((ns, ns)), np.empty(ns), np.empty(ns), np.empty(ns)
    centre, dcentre, values, G = np.empty(ns), np.empty(ns), np.empty(ns), np.empty(ns)
    if ns:
        for a in range(mw):
            if active[a] < p:
                place[active[a]] = a
        for c in range(contexts):
            scatter(cell[c], M, Q, levels, active, Psi[c], B0[c], c0[c])
            for a in range(ns):
                for b in range(ns):
                    Cs[c, a, b] = S[c, BETWEEN, slope_variables[a], slope_variables[b]]
            if not cholesky(Cs[c], ns) > -math.inf:
                return math.nan

    ll, first = 0.0, 0
    for j in range(J):
        v, cells = cluster_ints[j, 0], cluster_ints[j, 1]
        context, mv, own = vcombos[v, 0], vcombos[v, 1], vcombos[v, 2:]
        f = cluster_floats[j * cluster_width : (j + 1) * cluster_width]
        information = f[Q + M : Q + M + ns * ns].reshape((ns, ns))
        towards = f[Q + M + ns * ns :]
        for a in range(ns):
            s = 0.0
            for q in range(Q):
                s += K[context, slope_variables[a], q] * f[q]
            centre[a] = s
        if ns:
            ll += slopes_of(
                t[j * ns : (j + 1) * ns], information, towards, centre, Cs[context], ns, Ws, es, ks, ys, values
            )
            B[:] = B0[context]
            c1[:] = c0[context]
            for a in range(ns):
                if slope_cells[a, 0] == 0:
                    B[slope_cells[a, 1], slope_cells[a, 2]] += values[a]
                else:
                    c1[slope_cells[a, 1], slope_cells[a, 2]] += values[a]
            within_moments(Psi[context], B, c1, mw, Q, Aw, APw, Sw, Kw)
            for i in range(p):
                for k in range(p):
                    Sy[i, k] = Sw[place[i], place[k]]
                    dSy[i, k] = 0.0
                for q in range(Q):
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
            if ns:
                logdets[w] = n * invert_cell(Sy, seen, m, X, W[w])
                count[w] = n
            for i in range(m):
                s = rows[1 + i] - mean[seen[i]]
                for q in range(Q):
                    s -= (K[context, seen[i], q] + Ky[seen[i], q]) * rows[1 + P + q]
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
            if ns:
                residual = rows[1 + P + Q :]
                k0, QQ = residual[P * P :], residual[P * P + P * Q :].reshape((Q, Q))
                for i in range(m):
                    for q in range(Q):
                        D[i, q] = Ky[seen[i], q] - k0[i * Q + q]
                for i in range(m):
                    for q in range(Q):
                        s = 0.0
                        for k in range(Q):
                            s += D[i, k] * QQ[k, q]
                        DQ[i, q] = s
                for i in range(m):
                    for k in range(m):
                        s = residual[i * m + k]
                        for q in range(Q):
                            s += DQ[i, q] * D[k, q]
                        ll -= 0.5 * W[w, i, k] * s
                        dW[w, i, k] = -0.5 * s
                    for q in range(Q):
                        s = 0.0
                        for k in range(m):
                            s += W[w, i, k] * DQ[k, q]
                        dKy[seen[i], q] -= s
        for i in range(p):
            for k in range(p):
                s = 0.0
                for a in range(k, p):
                    s += A[i, a] * L[v, a, k]
                AL[i, k] = s
        for i in range(p):
            for k in range(i + 1):
                s = 1.0 if i == k else 0.0
                for a in range(i, p):
                    s += L[v, a, i] * AL[a, k]
                R[i, k] = s
        ll -= 0.5 * cholesky(R, p)
        inverse_from_cholesky(R, inverse, p)
        for i in range(p):
            for k in range(p):
                s = 0.0
                for a in range(i + 1):
                    s += L[v, i, a] * inverse[a, k]
                AL[i, k] = s  # scratch: L (I + L'A L)^-1
        for i in range(p):
            for k in range(p):
                s = 0.0
                for a in range(k + 1):
                    s += AL[i, a] * L[v, k, a]
                post[i, k] = s
        for i in range(p):
            s = 0.0
            for k in range(p):
                s += post[i, k] * h[k]
            u[i] = s
            ll += 0.5 * s * h[i]
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
                for q in range(Q):
                    dK[context, seen[i], q] += s * rows[1 + P + q]
                    dKy[seen[i], q] += s * rows[1 + P + q]
            if ns:
                cell_gradient(W[w], dW[w], n, seen, m, X, dSy)
        for a in range(ns):
            dcentre[a] = 0.0
            G[a] = 0.0
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
        if ns:
            dSw[:] = 0.0
            dKw[:] = 0.0
            for i in range(p):
                for k in range(p):
                    dSw[place[i], place[k]] = 0.5 * (dSy[i, k] + dSy[k, i])
                for q in range(Q):
                    dKw[place[i], q] = dKy[i, q]
            within_gradient(Aw, Sw, Kw, dSw, dKw, mw, Q, Xw, Yw, Zw, dPsi[context], dB[context], dc[context])
            for a in range(ns):
                source = Zw if slope_cells[a, 0] == 0 else Xw
                G[a] += source[slope_cells[a, 1], slope_cells[a, 2]]
            own_dt = dt[j * ns : (j + 1) * ns]
            slopes_gradient(
                *(information, towards, centre, Cs[context], ns, Ws, es, ks, ys, G, own_dt, dcentre, dCs[context])
            )
            for a in range(ns):
                for q in range(Q):
                    dK[context, slope_variables[a], q] += dcentre[a] * f[q]
        first += cells
    if ns:
        for c in range(contexts):
            gather(dPsi[c], dB[c], dc[c], M, Q, levels, active, dcell[c])
            cholesky_gradient(Cs[c], dCs[c], ns, Ss)
            for a in range(ns):
                for b in range(ns):
                    dS[c, BETWEEN, slope_variables[a], slope_variables[b]] += Ss[a, b]
    else:
        for w in range(NW):
            cell_gradient(W[w], dW[w], count[w], wcombos[w, 2:], wcombos[w, 1], X, dS[wcombos[w, 0], WITHIN])
    for v in range(NV):
        uncondition(p, vcombos[v, 1], vcombos[v, 2:], Vi[v], C[v], dSc[v], dC[v], dS[vcombos[v, 0], BETWEEN])
    return ll
