"""Likelihood of a cluster whose random effects are integrated by adaptive quadrature, with its derivatives.

Rows i of the cluster belong to classes c with chances pi_ic and share effects v = C y, y ~ N(0, I):

    f(y) = sum_i log sum_c pi_ic(v) p(y_i | eta_ic + z_i' U_c) - |y|^2 / 2.

`sets` = (E, V) says what v holds: E = K random effects U_c (q), or one for all classes, E = 1; then r effects on the log odds of
the classes, V (K, r) times them, which move pi: r = 0 where they do not vary.

With the mode m of f, H = -f''(m) = R R', and the nodes x_k and weights w_k of Gauss-Hermite quadrature for N(0, I),

    log p(y) = log sum_k w_k exp(f(y_k) + |x_k|^2 / 2) - log det R,   y_k = m + R'^-1 x_k

(Naylor & Smith, 1982). A derivative of log p(y) is the one of f at fixed y, averaged over nodes with the weights v_k of that sum:
exact but for the error of the quadrature. A cluster that as a whole belongs to a class has rows of one class.

Row i at node k is element i Q + k of all arrays. Pivots of H are kept at 1 or above, which they are where p is log-concave.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.glmm_integral import factor, solve_transposed
from bayeshte.marginal.kernels.linear import OPTIONS
from bayeshte.marginal.kernels.mixture_rows import dot, point_of_family
from bayeshte.marginal.kernels.rows import LOGIT, POISSON, STUDENT, SUMS, exp, log1p

STEPS, CLOSE = 60, 1e-4  # of Newton's method: at most; in posterior SDs, when it ends
#: of a class: log pi p, P(class | y_i, y), derivatives, eta, pi
A, CHANCE, SCORE, DSIGMA, DNU, ETA, PRIOR = 0, 1, 2, 3, 4, 5, 6
N_ROW, S_ROW, TOP, LOG, WEIGHT = 0, 1, 2, 3, 4  # of rows


@njit(**OPTIONS)
def workspace(K, rows, G, Q):
    """Arrays for clusters of at most that many rows and G effects: by class, of rows, of nodes (y, u, f, v), and of effects."""
    size = rows * max(Q, 1)
    return np.zeros((7, K, size)), np.empty((5, size)), np.empty((2, G + 1, max(Q, 1))), np.zeros((6, G + 2, G + 2))


@njit(**SUMS)
def spread(fixed, Z, B, u, Q, eta):
    """eta_ik = fixed_i + z_i' u_k."""
    for i in range(B):
        for k in range(Q):
            eta[i * Q + k] = fixed[i]
        for a in range(len(Z)):
            for k in range(Q):
                eta[i * Q + k] += Z[a, i] * u[a, k]


@njit(**SUMS)
def log_sums(a, size, K, top, chance, log):
    """log_i = log sum_c exp a_ci, and the share of every class in the sum."""
    if K == 1:
        for i in range(size):
            log[i] = a[0, i]
            chance[0, i] = 1.0
        return
    for i in range(size):
        top[i] = a[0, i]
    for c in range(1, K):
        for i in range(size):
            top[i] = max(top[i], a[c, i])
    for c in range(K):
        for i in range(size):
            chance[c, i] = exp(a[c, i] - top[i])
    for i in range(size):
        s = chance[0, i]
        for c in range(1, K):
            s += chance[c, i]
        log[i] = top[i] + log1p(s - 1.0)
        top[i] = 1.0 / s
    for c in range(K):
        for i in range(size):
            chance[c, i] *= top[i]


@njit(**SUMS)
def repeat(values, B, Q, out):
    """Every value Q times."""
    for i in range(B):
        for k in range(Q):
            out[i * Q + k] = values[i]


@njit(**SUMS)
def add_repeated(values, B, Q, out):
    """The same, added."""
    for i in range(B):
        for k in range(Q):
            out[i * Q + k] += values[i]


@njit(**OPTIONS)
def chances(sets, q, chance, B, u, Q, work):
    """log pi of the classes, added to their likelihoods; pi stays in `work`. Shapes: chance (K, B), u (G, Q)."""
    E, V = sets
    classes, rows, size = work[0], work[1], B * Q
    for c in range(len(V)):
        out = classes[PRIOR, c]
        repeat(chance[c], B, Q, out)
        for l in range(V.shape[1]):
            for i in range(B):
                for k in range(Q):
                    out[i * Q + k] += V[c, l] * u[E * q + l, k]
        for i in range(size):
            classes[A, c, i] += out[i]
    log_sums(classes[PRIOR], size, len(V), rows[TOP], classes[PRIOR], rows[LOG])
    for c in range(len(V)):
        for i in range(size):
            classes[A, c, i] -= rows[LOG, i]


@njit(**OPTIONS)
def log_likelihoods(family, n, s, fixed, chance, shape, Z, B, sets, u, Q, work, f):
    """f_k = sum_i log sum_c pi_ic p(y_i | fixed_ci + z_i' u_ck); what derivatives need stays in `work`.

    Where chances do not vary with u, `chance` may be log pi but for a constant of each row, which f then has too.
    """
    classes, rows, size, K, q = work[0], work[1], B * Q, len(shape), len(Z)
    for c in range(K):
        eta, at = classes[ETA, c, :size], c * q if sets[0] > 1 else 0
        spread(fixed[c], Z, B, u[at : at + q], Q, eta)
        out = classes[A, c, :size], classes[SCORE, c, :size], classes[DSIGMA, c, :size], classes[DNU, c, :size]
        point_of_family(family, eta, n[:size], s[:size], shape[c], *out)
        if K > 1 and sets[1].shape[1] == 0:
            add_repeated(chance[c], B, Q, classes[A, c])
    if sets[1].shape[1] > 0:
        chances(sets, q, chance, B, u, Q, work)
    log_sums(classes[A], size, K, rows[TOP], classes[CHANCE], rows[LOG])
    for k in range(Q):
        f[k] = 0.0
    for i in range(B):
        for k in range(Q):
            f[k] += rows[LOG, i * Q + k]


@njit(**OPTIONS)
def information_of_row(family, eta, n, s, score, shape):
    """-d^2 log p / d eta^2 of a row."""
    if family == LOGIT:
        mean = s - score
        return mean * (1.0 - mean / n)
    if family == POISSON:
        return s - score
    w = shape[0] ** -2.0
    if family == STUDENT:
        a = w * (s - eta) ** 2.0 / shape[1]
        return w * (shape[1] + 1.0) / shape[1] * (1.0 - a) / (1.0 + a) ** 2.0
    return w


@njit(**OPTIONS)
def row_of_classes(i, family, n, s, shape, sets, work, slope, H):
    """Slope and -Hessian (lower triangle) of a row in eta, of each class or of all (E), then in the r coordinates of log odds.

    With r = P(class | y_i), the covariance matrix of the class C(r) = diag(r) - r r', scores s: diag(r w) - s C(r) s in eta,
    V' [C(pi) - C(r)] V in the log odds, -V' C(r) s between them.
    """
    classes, (E, V), K = work[0], sets, len(shape)
    r, pi, score = classes[CHANCE, :, i], classes[PRIOR, :, i], classes[SCORE, :, i]
    mean = 0.0
    for c in range(K):
        mean += r[c] * score[c]
    H[0, 0] = 0.0
    for c in range(K):
        known = information_of_row(family, classes[ETA, c, i], n[i], s[i], score[c], shape[c])
        if E == 1:
            H[0, 0] += r[c] * (known - score[c] * (score[c] - mean))
        else:
            slope[c] = r[c] * score[c]
            for l in range(c):
                H[c, l] = slope[c] * slope[l]
            H[c, c] = r[c] * (known - score[c] * score[c]) + slope[c] * slope[c]
    if E == 1:
        slope[0] = mean
    after, before = work[3][5, 0], work[3][5, 1]
    for k in range(V.shape[1]):
        after[k], before[k] = 0.0, 0.0
        for c in range(K):
            after[k] += V[c, k] * r[c]
            before[k] += V[c, k] * pi[c]
        slope[E + k] = after[k] - before[k]
        for e in range(E):
            H[E + k, e] = 0.0
        for c in range(K):
            H[E + k, c if E > 1 else 0] -= (V[c, k] - after[k]) * r[c] * score[c]
        for l in range(k + 1):
            H[E + k, E + l] = after[k] * after[l] - before[k] * before[l]
            for c in range(K):
                H[E + k, E + l] += V[c, k] * V[c, l] * (pi[c] - r[c])


@njit(**OPTIONS)
def slope_and_curvature(family, n, s, shape, Z, B, C, sets, y, work, gradient, H):
    """f'(y) and -f''(y), from what `log_likelihoods` with one node left in `work`."""
    G, q, E = len(C), len(Z), sets[0]
    vv, vC, of_row, slope = work[3][0], work[3][1], work[3][4], work[3][5, 2]
    group, left = np.empty(G, np.int64), np.ones(G)
    for a in range(G):
        group[a] = a // q if a < E * q else E + a - E * q
    for a in range(G):
        gradient[a] = 0.0
        for b in range(G):
            vv[a, b] = 0.0
    for i in range(B):
        row_of_classes(i, family, n, s, shape, sets, work, slope, of_row)
        for a in range(E * q):
            left[a] = Z[a - group[a] * q, i]
        for a in range(G):
            gradient[a] += left[a] * slope[group[a]]
            for b in range(a + 1):
                vv[a, b] += left[a] * left[b] * of_row[group[a], group[b]]
    for a in range(G):
        for b in range(G):
            vC[a, b] = 0.0
            for c in range(b, G):
                vC[a, b] += (vv[a, c] if c <= a else vv[c, a]) * C[c, b]
    for a in range(G):
        t = -y[a]
        for c in range(a, G):
            t += C[c, a] * gradient[c]
        gradient[a] = t  # those of c > a are still to be read, those before are not
        for b in range(a + 1):
            H[a, b] = 1.0 if a == b else 0.0
            for c in range(a, G):
                H[a, b] += C[c, a] * vC[c, b]


@njit(**OPTIONS)
def mode(family, n, s, fixed, chance, shape, Z, B, C, sets, work, y, R):
    """Newton's method from 0 to the mode y of f; R at the mode is set, the log of its determinant returned."""
    q, nodes, vectors = len(C), work[2], work[3][2]
    u, f, H = nodes[1], nodes[0, q], work[3][3]
    gradient, step, moved = vectors[0], np.zeros(q), np.zeros(q)
    best, logdet = -math.inf, 0.0
    for _ in range(STEPS):
        square = 0.0
        for a in range(q):
            square += moved[a] * moved[a]
            u[a, 0] = 0.0
            for b in range(a + 1):
                u[a, 0] += C[a, b] * moved[b]
        log_likelihoods(family, n, s, fixed, chance, shape, Z, B, sets, u, 1, work, f)
        value = f[0] - 0.5 * square
        if not value >= best:
            for a in range(q):
                step[a] *= 0.5
                moved[a] = y[a] + step[a]
            continue
        best, size = value, 0.0
        for a in range(q):
            y[a] = moved[a]
        slope_and_curvature(family, n, s, shape, Z, B, C, sets, y, work, gradient, H)
        logdet = factor(H, q, R)
        for a in range(q):
            step[a] = gradient[a]
            for b in range(a):
                step[a] -= R[a, b] * step[b]
            step[a] /= R[a, a]
            size = max(size, abs(step[a]))
        solve_transposed(R, q, step)
        for a in range(q):
            moved[a] = y[a] + step[a]
        if size < CLOSE:
            break
    return logdet


@njit(**OPTIONS)
def integrate(family, n, s, fixed, chance, shape, Z, B, C, sets, nodes, log_weights, work, y, R):
    """log p(y) of a cluster with B rows; y_k and v_k stay in `work`. Shapes: fixed and chance (K, B), Z (q, B), nodes (Q G)."""
    q, Q = len(C), len(log_weights)
    places, f, u, v = work[2][0], work[2][0, q], work[2][1], work[2][1, q]
    for a in range(q):
        y[a] = 0.0
    logdet = mode(family, n, s, fixed, chance, shape, Z, B, C, sets, work, y, R)
    x = work[3][2, 0]
    for k in range(Q):
        v[k] = log_weights[k]
        for a in range(q):
            x[a] = nodes[k * q + a]
            v[k] += 0.5 * x[a] * x[a]
        solve_transposed(R, q, x)
        for a in range(q):
            places[a, k] = y[a] + x[a]
            v[k] -= 0.5 * places[a, k] * places[a, k]
        for a in range(q):
            u[a, k] = 0.0
            for b in range(a + 1):
                u[a, k] += C[a, b] * places[b, k]
    rows = work[1]
    repeat(n, B, Q, rows[N_ROW])
    repeat(s, B, Q, rows[S_ROW])
    log_likelihoods(family, rows[N_ROW], rows[S_ROW], fixed, chance, shape, Z, B, sets, u, Q, work, f)
    top, total = -math.inf, 0.0
    for k in range(Q):
        v[k] += f[k]
        top = max(top, v[k])
    for k in range(Q):
        v[k] = exp(v[k] - top)
        total += v[k]
    for k in range(Q):
        v[k] /= total
    return top + math.log(total) - logdet


@njit(**OPTIONS)
def derivatives(Z, B, K, G, Q, sets, work, score, share, before, dshape, dC):
    """After `integrate`: those in eta (K, B), in sigma and nu (K, 2), in E blocks (q, q) and r diagonal elements of C.

    P(class | the cluster's rows), `share` (K, B), and what it is compared with, the mean of pi over nodes, `before` (K, B), which
    is not touched where pi does not vary.
    """
    (E, V), q = sets, len(Z)
    classes, weight, total = work[0], work[1][WEIGHT], work[1][LOG]
    places, v, size = work[2][0], work[2][1, G], B * Q
    for i in range(B):
        for k in range(Q):
            weight[i * Q + k] = v[k]
    for a in range(G):
        for b in range(a + 1):
            dC[a, b] = 0.0
    for i in range(size):
        total[i] = 0.0
    for c in range(K):
        chance, slope = classes[CHANCE, c], classes[SCORE, c]
        for i in range(size):
            chance[i] *= weight[i]
            slope[i] *= chance[i]
            total[i] += slope[i]
        dshape[c, 0] = dot(chance[:size], classes[DSIGMA, c])
        dshape[c, 1] = dot(chance[:size], classes[DNU, c])
        for i in range(B):
            t, r = 0.0, 0.0
            for k in range(Q):
                t += slope[i * Q + k]
                r += chance[i * Q + k]
            score[c, i], share[c, i] = t, r
        if E > 1:
            add_to_factor(Z, B, Q, c * q, places, slope, dC)
        if V.shape[1] > 0:
            prior = classes[PRIOR, c]
            for i in range(B):
                before[c, i] = 0.0
                for k in range(Q):
                    prior[i * Q + k] *= v[k]
                    before[c, i] += prior[i * Q + k]
                    for l in range(V.shape[1]):
                        more = V[c, l] * (chance[i * Q + k] - prior[i * Q + k])
                        dC[E * q + l, E * q + l] += more * places[E * q + l, k]
    if E == 1:
        add_to_factor(Z, B, Q, 0, places, total, dC)


@njit(**OPTIONS)
def add_to_factor(Z, B, Q, at, places, slope, dC):
    """The derivative in a block of C that begins at `at`, from those in eta of rows at nodes."""
    for a in range(len(Z)):
        for i in range(B):
            for b in range(a + 1):
                dC[at + a, at + b] += Z[a, i] * dot(places[at + b], slope[i * Q : (i + 1) * Q])


@njit(**OPTIONS)
def gather(X, N, random, lo, B, Z):
    """Columns with random effects of the rows from lo on."""
    for a in range(len(random)):
        for i in range(B):
            Z[a, i] = X[random[a] * N + lo + i]
