"""Log density of a Gaussian structural equation model on one or two levels, all latent variables integrated out.

Level l (within, between) has variables f, observed ones first, f = c_l q + B_l f + zeta, zeta ~ N(0, Psi_l), with q the
regressors (1, covariates conditioned on). So f ~ N(K_l q, S_l) with A_l = (I - B_l)^-1, K_l = A_l c_l, S_l = A_l Psi_l A_l'.
An observed vector is the sum of its parts, y_ij = b_j + w_ij; a cluster's own variables v_j are elements of b_j only.

Tables. Every cell of Psi, B, c is a fixed number plus a sum of coef t_i t_j t_k, with t = (1, scalars, correlations, slots):
`entries`. Slots hold numbers that differ between *contexts* (a treatment that multiplies a path); every context has matrices
of its own. Data come in two lanes:

- *groups*: sums over vectors with the distribution N(K q, w_W S_W + w_B S_B) of some observed variables: rows of one level with
  one missing-data pattern; deviations from the means of clusters (w_B = 0); means of clusters of one size n (w_W = 1 / n) with
  the clusters' own variables. The n' vectors enter through least squares, R = residual cross-products, k = coefficients:

      log p = -1/2 [n' log det V + tr V^-1 (R + D Q D')],   D = K - k,   Q = cross-products of q.

- *clusters*: those with missing values, one by one. With cells (patterns) m of n_m rows with mean ybar_m, W_m = inverse of S_W
  for what is seen, and b_j given v_j ~ N(K q + C e, S_c), e = v - K q, C = S_B,yv S_B,vv^-1:

      d_m = ybar_m - K q_m - C e,  A = sum n_m W_m,  h = sum n_m W_m d_m,  P = (S_c^-1 + A)^-1,  u = P h,
      log p = log N(e; 0, S_B,vv) + 1/2 [h'u - log det(I + S_c A) - sum (log det V_m + n_m d_m' W_m d_m)].

  P = L (I + L'A L)^-1 L' with S_c = L L', which may be singular (a variable without between variance).

Derivatives. dS_c = 1/2 [e e' - A + A P A] with e = h - A u; dW_m = -n_m / 2 [(d_m - u)(d_m - u)' + P]; dd_m = -n_m W_m (d_m - u);
dPsi = A' dS A, dc = A' dK, dB = 2 A' dS S + dc K'.

ints: d, n, blocks, L, M, P, p, Q, E, contexts, slots, groups, wcombos, vcombos, clusters, checks, then (transform, family) of
the n scalars, size of each block of correlations, order of the variables (L M: causes first), entries (cell, i, j, k), checks
(level, m, variables [M]) of Psi, groups (context, m, variables [P]), wcombos and vcombos (context, m, variables [P]), clusters
(vcombo, number of cells), wcombo of each cell. floats: constant, hyper (4 a scalar), eta of each block, centre (d), scale (d d),
coef (E), fixed cells (Psi: L M M, B: L M M, c: L M Q), slots of each context, groups (n', w_W, w_B, R [P P], k [P Q],
Q [Q Q]), clusters (q [Q], v [P]), cells (n, ybar [P], q [Q]). Within-level variables are the first p of the P observed ones.
Arrays in brackets are padded.
"""

import math

import numpy as np
from numba import carray, cfunc, njit, types

from bayeshte.marginal.kernels.linear import (
    OPTIONS,
    add_product,
    add_product_t,
    add_t_product,
    cholesky,
    inverse_from_cholesky,
    root,
    views,
)
from bayeshte.marginal.kernels.parameters import (
    correlation,
    correlation_gradient,
    precondition,
    precondition_gradient,
    scalars,
)

WITHIN, BETWEEN = 0, 1
HEADER = 16


@njit(**OPTIONS)
def correlations(x, blocks, sizes, etas, t, factors):
    """Correlations of every block, row by row of the lower triangle, to t; their Cholesky factors; the log prior."""
    lp, at, out, f = 0.0, 0, 0, 0
    for b in range(blocks):
        q = sizes[b]
        L = factors[f : f + q * q].reshape((q, q))
        lp += correlation(x[at:], q, etas[b], L)
        for i in range(1, q):
            for j in range(i):
                s = 0.0
                for k in range(j + 1):
                    s += L[i, k] * L[j, k]
                t[out] = s
                out += 1
        at += q * (q - 1) // 2
        f += q * q
    return lp


@njit(**OPTIONS)
def correlations_gradient(x, blocks, sizes, etas, dt, factors, dx):
    """Gradient in x of `correlations` plus that of a function with derivatives dt in the correlations."""
    at, out, f = 0, 0, 0
    for b in range(blocks):
        q = sizes[b]
        L, dL = factors[f : f + q * q].reshape((q, q)), np.zeros((q, q))
        for i in range(1, q):
            for j in range(i):
                for k in range(j + 1):
                    dL[i, k] += dt[out] * L[j, k]
                    dL[j, k] += dt[out] * L[i, k]
                out += 1
        correlation_gradient(x[at:], q, etas[b], L, dL, dx[at:])
        at += q * (q - 1) // 2
        f += q * q


@njit(**OPTIONS)
def fill(entries, coef, t, fixed, cells):
    """Cells of Psi, B and c: the fixed numbers plus the sums of products."""
    cells[:] = fixed
    for e in range(len(coef)):
        cells[entries[e, 0]] += coef[e] * t[entries[e, 1]] * t[entries[e, 2]] * t[entries[e, 3]]


@njit(**OPTIONS)
def pull(entries, coef, t, dcells, dt):
    """From derivatives in the cells to derivatives in t (added)."""
    for e in range(len(coef)):
        d, i, j, k = coef[e] * dcells[entries[e, 0]], entries[e, 1], entries[e, 2], entries[e, 3]
        dt[i] += d * t[j] * t[k]
        dt[j] += d * t[i] * t[k]
        dt[k] += d * t[i] * t[j]


@njit(**OPTIONS)
def solve(Psi, B, c, order, M, Q, A, S, K, work):
    """A = (I - B)^-1 by substitution along the causal order, S = A Psi A', K = A c."""
    for r in range(M):
        i = order[r]
        for k in range(M):
            A[i, k] = 1.0 if i == k else 0.0
        for s in range(r):
            j = order[s]
            if B[i, j] != 0.0:
                for k in range(M):
                    A[i, k] += B[i, j] * A[j, k]
    work[:] = 0.0
    S[:] = 0.0
    K[:] = 0.0
    add_product(A, Psi, M, M, M, 1.0, work)
    add_product_t(work, A, M, M, M, 1.0, S)
    add_product(A, c, M, M, Q, 1.0, K)


@njit(**OPTIONS)
def unsolve(A, S, K, dS, dK, M, Q, work, dPsi, dB, dc):
    """From derivatives in S and K to those in Psi, B and c."""
    work[:] = 0.0
    dPsi[:] = 0.0
    dB[:] = 0.0
    dc[:] = 0.0
    add_t_product(A, dS, M, M, M, 1.0, work)
    add_product(work, A, M, M, M, 1.0, dPsi)
    add_product(work, S, M, M, M, 2.0, dB)
    add_t_product(A, dK, M, M, Q, 1.0, dc)
    add_product_t(dc, K, M, Q, M, 1.0, dB)


@njit(**OPTIONS)
def groups(G, P, Q, ints, floats, S, K, dS, dK):
    """Log-likelihood of the groups; adds to the derivatives in S (context, level) and K (context)."""
    ll = 0.0
    V, X, R, VR = np.empty((P, P)), np.empty((P, P)), np.empty((P, P)), np.empty((P, P))
    D, T = np.empty((P, Q)), np.empty((P, Q))
    width = 3 + P * P + P * Q + Q * Q
    for g in range(G):
        context, m, seen = ints[g, 0], ints[g, 1], ints[g, 2:]
        f = floats[g * width : (g + 1) * width]
        n, within, between = f[0], f[1], f[2]
        residual, k, QQ = f[3:], f[3 + P * P :], f[3 + P * P + P * Q :].reshape((Q, Q))
        for i in range(m):
            a = seen[i]
            for j in range(m):
                V[i, j] = within * S[context, WITHIN, a, seen[j]] + between * S[context, BETWEEN, a, seen[j]]
                R[i, j] = residual[i * m + j]
            for j in range(Q):
                D[i, j] = K[context, a, j] - k[i * Q + j]
                T[i, j] = 0.0
        logdet = cholesky(V, m)
        if not logdet > -math.inf:  # also NaN: not positive definite
            return math.nan
        inverse_from_cholesky(V, X, m)
        add_product(D, QQ, m, Q, Q, 1.0, T)
        add_product_t(T, D, m, Q, m, 1.0, R)
        for i in range(m):
            for j in range(m):
                VR[i, j] = 0.0
                V[i, j] = 0.0
        add_product(X, R, m, m, m, 1.0, VR)
        add_product(VR, X, m, m, m, 0.5, V)
        ll -= 0.5 * n * logdet
        for i in range(m):
            a = seen[i]
            ll -= 0.5 * VR[i, i]
            for j in range(m):
                d = V[i, j] - 0.5 * n * X[i, j]
                dS[context, WITHIN, a, seen[j]] += within * d
                dS[context, BETWEEN, a, seen[j]] += between * d
                for q in range(Q):
                    dK[context, a, q] -= X[i, j] * T[j, q]
    return ll


@njit(**OPTIONS)
def condition(P, p, m, seen, S, Vi, C, L):
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
def clusters(P, p, Q, J, wcombos, vcombos, cluster_ints, cell_ints, cluster_floats, cell_floats, S, K, dS, dK):
    """Log-likelihood of the clusters that are taken one by one; adds to the derivatives in S and K."""
    if J == 0:
        return 0.0
    ll, NW, NV = 0.0, len(wcombos), len(vcombos)
    W, dW, logdets, count = np.empty((NW, P, P)), np.zeros((NW, P, P)), np.empty(NW), np.zeros(NW)
    X = np.empty((P, P))
    for w in range(NW):
        m, seen = wcombos[w, 1], wcombos[w, 2:]
        for i in range(m):
            for j in range(m):
                X[i, j] = S[wcombos[w, 0], WITHIN, seen[i], seen[j]]
        logdets[w] = cholesky(X, m)
        inverse_from_cholesky(X, W[w], m)
    Vi, C, L, logdets_v = np.empty((NV, P, P)), np.empty((NV, P, P)), np.zeros((NV, P, P)), np.empty(NV)
    dSc, dC = np.zeros((NV, P, P)), np.zeros((NV, P, P))
    for v in range(NV):
        logdets_v[v] = condition(P, p, vcombos[v, 1], vcombos[v, 2:], S[vcombos[v, 0], BETWEEN], Vi[v], C[v], L[v])
        if not logdets_v[v] > -math.inf:
            return math.nan
    A, AL, M = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    inverse, post, AP = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    e, Ve, mean, dmean = np.empty(P), np.empty(P), np.empty(p), np.empty(p)
    h, u, rest = np.empty(p), np.empty(p), np.empty(p)
    most = 0
    for j in range(J):
        most = max(most, cluster_ints[j, 1])
    d = np.empty((most, p))
    first = 0
    for j in range(J):
        v, cells = cluster_ints[j, 0], cluster_ints[j, 1]
        context, mv, own = vcombos[v, 0], vcombos[v, 1], vcombos[v, 2:]
        f = cluster_floats[j * (Q + P) : (j + 1) * (Q + P)]
        for i in range(mv):
            s = f[Q + i]
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
            w = cell_ints[first + c]
            m, seen = wcombos[w, 1], wcombos[w, 2:]
            cell = cell_floats[(first + c) * (1 + P + Q) : (first + c + 1) * (1 + P + Q)]
            n = cell[0]
            count[w] += 1.0
            for i in range(m):
                s = cell[1 + i] - mean[seen[i]]
                for q in range(Q):
                    s -= K[context, seen[i], q] * cell[1 + P + q]
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
                M[i, k] = s
        ll -= 0.5 * cholesky(M, p)
        inverse_from_cholesky(M, inverse, p)
        for i in range(p):
            for k in range(p):
                s = 0.0
                for a in range(i + 1):
                    s += L[v, i, a] * inverse[a, k]
                AL[i, k] = s  # scratch: L M^-1
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
            w = cell_ints[first + c]
            m, seen = wcombos[w, 1], wcombos[w, 2:]
            cell = cell_floats[(first + c) * (1 + P + Q) : (first + c + 1) * (1 + P + Q)]
            n = cell[0]
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
                    dK[context, seen[i], q] += s * cell[1 + P + q]
        for k in range(mv):
            s = -Ve[k]
            for i in range(p):
                s += C[v, i, k] * dmean[i]
                dC[v, i, k] += dmean[i] * e[k]
            for i in range(mv):
                dS[context, BETWEEN, own[k], own[i]] += 0.5 * (Ve[k] * Ve[i] - Vi[v, k, i])
            for q in range(Q):
                dK[context, own[k], q] -= s * f[q]
        first += cells
    for w in range(NW):  # dV = -W dW W - count / 2 W
        context, m, seen = wcombos[w, 0], wcombos[w, 1], wcombos[w, 2:]
        for i in range(m):
            for k in range(m):
                s = 0.0
                for a in range(m):
                    s += W[w, i, a] * dW[w, a, k]
                X[i, k] = s
        for i in range(m):
            for k in range(m):
                s = -0.5 * count[w] * W[w, i, k]
                for a in range(m):
                    s -= X[i, a] * W[w, a, k]
                dS[context, WITHIN, seen[i], seen[k]] += s
    for v in range(NV):
        uncondition(p, vcombos[v, 1], vcombos[v, 2:], Vi[v], C[v], dSc[v], dC[v], dS[vcombos[v, 0], BETWEEN])
    return ll


@njit(**OPTIONS)
def log_density(z, ints, floats, grad):
    """Log posterior density at preconditioned coordinates z; the gradient goes to grad."""
    d, n, blocks, levels, M = ints[0], ints[1], ints[2], ints[3], ints[4]
    P, p, Q, E = ints[5], ints[6], ints[7], ints[8]
    contexts, slots, G, NW, NV, J, NC = ints[9], ints[10], ints[11], ints[12], ints[13], ints[14], ints[15]
    at = HEADER
    codes = ints[at : at + 2 * n]
    at += 2 * n
    sizes = ints[at : at + blocks]
    at += blocks
    order = ints[at : at + levels * M].reshape((levels, M))
    at += levels * M
    entries = ints[at : at + 4 * E].reshape((E, 4))
    at += 4 * E
    checks = ints[at : at + NC * (2 + M)].reshape((NC, 2 + M))
    at += NC * (2 + M)
    group_ints = ints[at : at + G * (2 + P)].reshape((G, 2 + P))
    at += G * (2 + P)
    wcombos = ints[at : at + NW * (2 + P)].reshape((NW, 2 + P))
    at += NW * (2 + P)
    vcombos = ints[at : at + NV * (2 + P)].reshape((NV, 2 + P))
    at += NV * (2 + P)
    cluster_ints = ints[at : at + 2 * J].reshape((J, 2))
    cell_ints = ints[at + 2 * J :]

    at = 1 + 4 * n
    hyper, etas = floats[1:at], floats[at : at + blocks]
    at += blocks
    centre, scale = floats[at : at + d], floats[at + d : at + d + d * d]
    at += d + d * d
    coef = floats[at : at + E]
    at += E
    cells = levels * M * (2 * M + Q)
    fixed = floats[at : at + cells]
    at += cells
    slot_values = floats[at : at + contexts * slots]
    at += contexts * slots
    group_floats = floats[at : at + G * (3 + P * P + P * Q + Q * Q)]
    at += G * (3 + P * P + P * Q + Q * Q)
    cluster_floats = floats[at : at + J * (Q + P)]
    cell_floats = floats[at + J * (Q + P) :]

    x, t, dt = np.empty(d), np.empty(1 + d + slots), np.zeros(1 + d + slots)
    slope, dx = np.empty(n), np.zeros(d)
    t[0] = 1.0
    precondition(z, d, centre, scale, x)
    lp = floats[0] + scalars(x, n, codes[:n], codes[n:], hyper, t[1:], slope, dx)
    room = 0
    for b in range(blocks):
        room += sizes[b] * sizes[b]
    factors = np.zeros(room)
    lp += correlations(x[n:], blocks, sizes, etas, t[1 + n :], factors)

    cell, dcell = np.empty((contexts, cells)), np.empty(cells)
    A, S, dS = np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M)), np.zeros((contexts, 2, M, M))
    parts, K, dK = np.empty((contexts, 2, M, Q)), np.zeros((contexts, M, Q)), np.zeros((contexts, M, Q))
    work = np.empty((M, M))
    for c in range(contexts):
        for s in range(slots):
            t[1 + d + s] = slot_values[c * slots + s]
        fill(entries, coef, t, fixed, cell[c])
        for k in range(NC):
            Psi = cell[c, checks[k, 0] * M * M : (checks[k, 0] + 1) * M * M].reshape((M, M))
            for i in range(checks[k, 1]):
                for j in range(i + 1):
                    work[i, j] = Psi[checks[k, 2 + i], checks[k, 2 + j]]
            if not cholesky(work, checks[k, 1]) > -math.inf:
                return math.nan
        for l in range(levels):
            Psi = cell[c, l * M * M : (l + 1) * M * M].reshape((M, M))
            B = cell[c, (levels + l) * M * M : (levels + l + 1) * M * M].reshape((M, M))
            k = cell[c, 2 * levels * M * M + l * M * Q : 2 * levels * M * M + (l + 1) * M * Q].reshape((M, Q))
            solve(Psi, B, k, order[l], M, Q, A[c, l], S[c, l], parts[c, l], work)
            for i in range(M):
                for q in range(Q):
                    K[c, i, q] += parts[c, l, i, q]

    lp += groups(G, P, Q, group_ints, group_floats, S, K, dS, dK)
    lp += clusters(P, p, Q, J, wcombos, vcombos, cluster_ints, cell_ints, cluster_floats, cell_floats, S, K, dS, dK)

    for c in range(contexts):
        for s in range(slots):
            t[1 + d + s] = slot_values[c * slots + s]
        for l in range(levels):
            for i in range(P):
                for j in range(i):
                    dS[c, l, i, j] = dS[c, l, j, i] = 0.5 * (dS[c, l, i, j] + dS[c, l, j, i])
            dPsi = dcell[l * M * M : (l + 1) * M * M].reshape((M, M))
            dB = dcell[(levels + l) * M * M : (levels + l + 1) * M * M].reshape((M, M))
            dk = dcell[2 * levels * M * M + l * M * Q : 2 * levels * M * M + (l + 1) * M * Q].reshape((M, Q))
            unsolve(A[c, l], S[c, l], parts[c, l], dS[c, l], dK[c], M, Q, work, dPsi, dB, dk)
        pull(entries, coef, t, dcell, dt)
    for i in range(n):
        dx[i] += dt[1 + i] * slope[i]
    correlations_gradient(x[n:], blocks, sizes, etas, dt[1 + n :], factors, dx[n:])
    precondition_gradient(dx, d, scale, grad)
    return lp


_double = types.CPointer(types.double)


@cfunc(types.int64(types.uint64, _double, _double, _double, types.voidptr), cache=True, error_model="numpy")
def log_density_c(dim, z_, grad_, lp_, user_data):
    """nutpie's callback: 0, or a positive code for a point that is to be rejected."""
    ints, floats = views(user_data, np.int64, np.float64)
    grad, lp = carray(grad_, (dim,)), carray(lp_, (1,))
    lp[0] = log_density(carray(z_, (dim,)), ints, floats, grad)
    if not math.isfinite(lp[0]):
        return 4
    for i in range(dim):
        if not math.isfinite(grad[i]):
            return 3
    return 0


@cfunc(types.int64(types.uint64, types.uint64, _double, _double, types.voidptr), cache=True, error_model="numpy")
def expand_c(dim, expanded, z_, out_, user_data):
    """Coordinates to parameters: the scalars (SDs perhaps with a sign), the correlations of the blocks."""
    ints, floats = views(user_data, np.int64, np.float64)
    d, n, blocks = ints[0], ints[1], ints[2]
    codes, sizes = ints[HEADER : HEADER + 2 * n], ints[HEADER + 2 * n : HEADER + 2 * n + blocks]
    out, at = carray(out_, (expanded,)), 1 + 4 * n + blocks
    x, slope, unused, room = np.empty(d), np.empty(n), np.empty(n), 0
    for b in range(blocks):
        room += sizes[b] * sizes[b]
    precondition(carray(z_, (dim,)), d, floats[at : at + d], floats[at + d : at + d + d * d], x)
    scalars(x, n, codes[:n], codes[n:], floats[1 : 1 + 4 * n], out, slope, unused)
    correlations(x[n:], blocks, sizes, floats[1 + 4 * n : at], out[n:], np.zeros(room))
    return 0
