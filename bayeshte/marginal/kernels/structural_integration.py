"""Clusters of a structural equation model with their random slopes integrated: adaptive Gauss-Hermite quadrature.

Notation is that of kernels/structural_clusters.py. Given the cluster's own variables v, its slopes s and means b are

    f = (s, b) = m + L (z, e),   z and e ~ N(0, I),   L lower triangular with L L' = cov(f | v),

so that a slope that does not vary has a column of zeros, and nothing is divided by its SD. Given z the within level is linear
and e is integrated exactly, which leaves

    log p(y, v) = log p(v) + log ∫ exp(g(z)) N(z; 0, I) dz,   g(z) = log p(rows | v, z).

Around the mode c of g(z) - z'z / 2, with minus its second derivatives there H = R R' and nodes x_k, weights w_k of the standard
normal (Liu & Pierce, 1994),

    ∫ exp(g(z)) N(z; 0, I) dz ~ |R|^-1 sum_k w_k exp(g(z_k) - z_k'z_k / 2 + x_k'x_k / 2),   z_k = c + R'^-1 x_k,

which is exact with one node where g is quadratic: slopes of covariates of outcomes that cause nothing.
"""

import math

import numpy as np
from numba import njit

from bayeshte.marginal.kernels.conditioning import condition, mean_of, posterior
from bayeshte.marginal.kernels.linear import OPTIONS, cholesky, inverse_from_cholesky
from bayeshte.marginal.kernels.within_level import within_moments

LOG_2PI = math.log(2 * math.pi)
#: Step of the differences in z, whose prior SD is 1.
STEP = 1e-3
#: Newton's method stops where the rest of the way is this small, as half of a squared distance in posterior SDs.
NEAR = 0.05


@njit(**OPTIONS)
def rows_given(points, number, mean, L, within, structure, cells, first, last, work, out):
    """g at the first `number` of the points z, for the rows of the cells `first` to `last` of a cluster.

    Several points a call, because a call with these arrays costs as much as a point.
    """
    Psi, B0, c0 = within
    slope_cells, place = structure
    cell_pattern, cell_n, cell_mean, cell_q, cross, sizes, patterns = cells
    B, Aw, AP, Sw, A, Sy, X, W, scratch1, scratch2, scratch3, scratch4, Lb, c, Kw, Ky, f, h, u, d = work
    ns, p, m, Qw = len(slope_cells), len(place), len(Psi), c0.shape[1]
    for i in range(p):
        for k in range(p):
            Lb[i, k] = L[ns + i, ns + k]
    for i in range(m):
        for k in range(m):
            B[i, k] = B0[i, k]
        for q in range(Qw):
            c[i, q] = c0[i, q]
    for point in range(number):
        for i in range(p + ns):
            s = mean[i]
            for a in range(min(i + 1, ns)):
                s += L[i, a] * points[point, a]
            f[i] = s
        for a in range(ns):
            row, column = slope_cells[a, 1], slope_cells[a, 2]
            if slope_cells[a, 0] == 0:
                B[row, column] = B0[row, column] + f[a]
            else:
                c[row, column] = c0[row, column] + f[a]
        within_moments(Psi, B, c, m, Qw, Aw, AP, Sw, Kw)
        for i in range(p):
            for k in range(p):
                Sy[i, k] = Sw[place[i], place[k]]
                A[i, k] = 0.0
            for q in range(Qw):
                Ky[i, q] = Kw[place[i], q]
            h[i] = 0.0
        ll = 0.0
        for cell in range(first, last):
            n, pattern = cell_n[cell], cell_pattern[cell]
            size = sizes[pattern]
            for i in range(size):
                for k in range(i + 1):
                    X[i, k] = Sy[patterns[pattern, i], patterns[pattern, k]]
            quad = n * (cholesky(X, size) + size * LOG_2PI)
            inverse_from_cholesky(X, W, size)
            for i in range(size):
                at = patterns[pattern, i]
                s = cell_mean[cell, at] - f[ns + at]
                for q in range(Qw):
                    s -= Ky[at, q] * cell_q[cell, q]
                d[i] = s
            for i in range(size):
                at = patterns[pattern, i]
                s = 0.0
                for k in range(size):
                    s += W[i, k] * d[k]
                    A[at, patterns[pattern, k]] += n * W[i, k]
                h[at] += n * s
                quad += n * s * d[i]
                if n > 1.0:
                    for k in range(i + 1):
                        other = patterns[pattern, k]
                        s = cross[cell, at, other]
                        for q in range(1, Qw):
                            s -= Ky[at, q] * cross[cell, other, p + q] + Ky[other, q] * cross[cell, at, p + q]
                            for r in range(1, Qw):
                                s += Ky[at, q] * cross[cell, p + q, p + r] * Ky[other, r]
                        quad += W[i, k] * s if i == k else 2.0 * W[i, k] * s
            ll -= 0.5 * quad
        ll -= 0.5 * posterior(A, h, Lb, p, scratch1, scratch2, scratch3, scratch4, u)
        for i in range(p):
            ll += 0.5 * h[i] * u[i]
        out[point] = ll


@njit(**OPTIONS)
def backward(R, x, n, out):
    """out = R'^-1 x for a lower factor R."""
    for i in range(n - 1, -1, -1):
        s = x[i]
        for k in range(i + 1, n):
            s -= R[k, i] * out[k]
        out[i] = s / R[i, i]


@njit(**OPTIONS)
def stencil(z, points):
    """Points around z, and z itself, for first and second differences; their number."""
    n = len(z)
    number = 1 + 2 * n + n * (n - 1) // 2
    for k in range(number):
        for a in range(n):
            points[k, a] = z[a]
    k = 1 + 2 * n
    for a in range(n):
        points[1 + a, a] += STEP
        points[1 + n + a, a] -= STEP
        for b in range(a):
            points[k, a] += STEP
            points[k, b] += STEP
            k += 1
    return number


@njit(**OPTIONS)
def newton(values, z, R, step):
    """Newton's step towards the mode of g(z) - z'z / 2 from g at the points of `stencil`.

    The factor R of minus the second derivatives, its log det R R', and the rest of the way, as a squared distance.
    """
    n = len(z)
    gradient, diagonal = np.empty(n), np.empty(n)
    k = 1 + 2 * n
    for a in range(n):
        up, down = values[1 + a] - values[0], values[1 + n + a] - values[0]
        gradient[a] = (up - down) / (2.0 * STEP) - z[a]
        R[a, a] = diagonal[a] = 1.0 + max(0.0, -(up + down) / (STEP * STEP))
        for b in range(a):
            R[a, b] = (up + values[1 + b] - values[k]) / (STEP * STEP)
            k += 1
    logdet = cholesky(R, n)
    if not logdet >= 0.0:  # not concave: the diagonal alone
        logdet = 0.0
        for a in range(n):
            logdet += math.log(diagonal[a])
            R[a, a] = math.sqrt(diagonal[a])
            for b in range(a):
                R[a, b] = 0.0
    way = 0.0
    for a in range(n):  # R x = gradient
        for b in range(a):
            gradient[a] -= R[a, b] * gradient[b]
        gradient[a] /= R[a, a]
        way += gradient[a] * gradient[a]
    backward(R, gradient, n, step)
    return logdet, way


@njit(**OPTIONS)
def centre(z, R, mean, L, within, structure, cells, first, last, work, points, values):
    """The mode z of g(z) - z'z / 2 by Newton's method, and the factor R of minus the second derivatives; log det R R'."""
    ns = len(z)
    step = np.zeros(ns)
    for a in range(ns):
        z[a] = 0.0
    logdet, best = 0.0, -math.inf
    for _ in range(30):
        rows_given(points, stencil(z, points), mean, L, within, structure, cells, first, last, work, values)
        here = values[0]
        for a in range(ns):
            here -= 0.5 * z[a] * z[a]
        if not here >= best:  # too far
            for a in range(ns):
                step[a] *= 0.5
                z[a] -= step[a]
            continue
        best = here
        logdet, way = newton(values, z, R, step)
        for a in range(ns):
            z[a] += step[a]
        if not way > NEAR:
            break
    return logdet


@njit(cache=True, error_model="numpy", nogil=True)
def integrate(within, between, structure, clusters, cells, nodes, log_weights, out):
    """Log-likelihood of every cluster at every draw, out (draw, cluster).

    within: Psi, B (draw, m, m) and c (draw, m, Qw) of the within level, causes first.
    between: S (draw, context, M, M), K (draw, context, M, Q).
    structure: places of f in the between level; of each slope whether it is in c, its row and column; rows of the variables in
    the within level; of each kind of clusters its context, how many own variables are seen, and these.
    clusters: kind, regressors, own values, first cell, the one after the last.
    cells: pattern, number of rows, means, regressors, cross-products; size and variables of each pattern.
    nodes (node, slope), log_weights (node,): of the standard normal.
    """
    (Psi, B, c), (S, K) = within, between
    targets, slope_cells, place, kinds = structure
    kind, regressors, values, starts, stops = clusters
    nf, ns, M, mw, Qw = len(targets), len(slope_cells), S.shape[-1], Psi.shape[-1], c.shape[-1]
    NV, p, number = len(kinds), nf - ns, len(nodes)
    s4, s9 = np.empty((4, mw, mw)), np.empty((9, p, p))
    work = (s4[0], s4[1], s4[2], s4[3], s9[0], s9[1], s9[2], s9[3], s9[4], s9[5], s9[6], s9[7], s9[8])
    work = (
        *work,
        np.empty((mw, Qw)),
        np.empty((mw, Qw)),
        np.empty((p, Qw)),
        np.empty(nf),
        np.empty(p),
        np.empty(p),
        np.empty(p),
    )
    Vi, C, L, logdets = np.empty((NV, M, M)), np.empty((NV, nf, M)), np.zeros((NV, nf, nf)), np.empty(NV)
    e, mean, z, R = np.empty(M), np.empty(nf), np.empty(ns), np.empty((ns, ns))
    size = max(number, 1 + 2 * ns + ns * (ns - 1) // 2)
    points, g = np.empty((size, ns)), np.empty(size)
    given = slope_cells, place
    for draw in range(len(out)):
        level = Psi[draw], B[draw], c[draw]
        for v in range(NV):
            logdets[v] = condition(targets, nf, kinds[v, 2:], kinds[v, 1], S[draw, kinds[v, 0]], Vi[v], C[v], L[v])
        for j in range(len(kind)):
            v = kind[j]
            m, own, first, last, root = kinds[v, 1], kinds[v, 2:], starts[j], stops[j], L[v]
            mean_of(targets, nf, own, m, K[draw, kinds[v, 0]], regressors[j], values[j], C[v], e, mean)
            ll = logdets[v] + m * LOG_2PI
            for i in range(m):
                for k in range(m):
                    ll += e[i] * Vi[v, i, k] * e[k]
            logdet = centre(z, R, mean, root, level, given, cells, first, last, work, points, g)
            for k in range(number):
                backward(R, nodes[k], ns, points[k])
                for a in range(ns):
                    points[k, a] += z[a]
            rows_given(points, number, mean, root, level, given, cells, first, last, work, g)
            top = -math.inf
            for k in range(number):
                g[k] += log_weights[k]
                for a in range(ns):
                    g[k] += 0.5 * (nodes[k, a] * nodes[k, a] - points[k, a] * points[k, a])
                top = max(top, g[k])
            total = 0.0
            for k in range(number):
                total += math.exp(g[k] - top)
            out[draw, j] = top + math.log(total) - 0.5 * (ll + logdet)
