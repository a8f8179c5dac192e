"""The structural kernel against multivariate normals written out in full, cluster by cluster."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bayeshte.marginal import structural
from bayeshte.marginal.density import Output, lkj_constant, prior_tables
from bayeshte.marginal.kernels.structural import HEADER
from bayeshte.marginal.matrices import Entry, Matrices
from bayeshte.marginal.sufficient import Data, statistics
from bayeshte.prior import LKJ, HalfNormal, HalfStudentT, Normal, Uniform

# observed: y0, y1 on both levels, y2 within only, v3, v4 of clusters; latent: f5 on both levels. Regressors 1, x, 1, z.
NAMES = [
    *("path_w", "path_b", "loading", "m0", "m1", "m2", "m3", "m4", "on_x", "on_z", "product"),
    *("sw0", "sw1", "sw2", "swf", "sb0", "sb1", "sb3", "sb4", "sbf", "r_w"),
]
SDS = range(NAMES.index("sw0"), NAMES.index("r_w"))
P, M, Q = 5, 6, 4
AT = {name: k + 1 for k, name in enumerate(NAMES)}
R01, R03, R13 = (len(NAMES) + 1 + k for k in range(3))  # correlations of the block of b0, b1, v3
SLOT = len(NAMES) + 4
W, B = 0, 1


def symmetric(level, i, j, *factors):
    return [Entry("psi", level, i, j, 1.0, factors), Entry("psi", level, j, i, 1.0, factors)]


def two_level(zero=False):
    """y0 <- y1 (labelled paths on both levels, moderated by the slot between), f -> y0, y1, v4, v3 -> y1."""
    entries = [
        *[Entry("psi", W, i, i, 1.0, (AT[s], AT[s])) for i, s in enumerate(["sw0", "sw1", "sw2"])],
        Entry("psi", W, 5, 5, 1.0, (AT["swf"], AT["swf"])),
        *symmetric(W, 1, 2, AT["sw1"], AT["sw2"], AT["r_w"]),
        Entry("beta", W, 0, 1, 1.0, (AT["path_w"],)),
        Entry("beta", W, 0, 5, 1.0),
        Entry("beta", W, 1, 5, 1.0, (AT["loading"],)),
        Entry("beta", W, 2, 0, 0.3),
        Entry("c", W, 2, 0, 1.0, (AT["m2"],)),
        Entry("c", W, 1, 1, 1.0, (AT["on_x"],)),
        *[Entry("psi", B, i, i, 1.0, (AT[s], AT[s])) for i, s in ((0, "sb0"), (3, "sb3"), (4, "sb4"), (5, "sbf"))],
        *symmetric(B, 0, 3, AT["sb0"], AT["sb3"], R03),
        Entry("beta", B, 0, 1, 1.0, (AT["path_b"],)),
        Entry("beta", B, 0, 1, 1.0, (AT["product"], SLOT)),
        Entry("beta", B, 4, 5, 1.0, (AT["loading"], AT["loading"])),
        Entry("beta", B, 1, 3, -0.5),
        *[Entry("c", B, i, 2, 1.0, (AT[f"m{i}"],)) for i in (0, 1, 3, 4)],
        Entry("c", B, 1, 3, 1.0, (AT["on_z"],)),
    ]
    if not zero:  # y1 then has no between variance of its own, and its part is a function of v3
        entries += [
            Entry("psi", B, 1, 1, 1.0, (AT["sb1"], AT["sb1"])),
            *symmetric(B, 0, 1, AT["sb0"], AT["sb1"], R01),
            *symmetric(B, 1, 3, AT["sb1"], AT["sb3"], R13),
        ]
    order = ((5, 1, 0, 2, 3, 4), (5, 3, 1, 0, 4, 2))
    return Matrices(2, P, 3, M, Q, order, len(NAMES), (3,), tuple(entries), (), np.array([[0.0], [1.0]]))


def density(matrices, data):
    priors = [HalfStudentT(4, 2) if k in SDS else Normal(0.1, 2) for k in range(len(NAMES))]
    priors[SDS[0]] = HalfNormal(2)
    priors[-1] = Uniform(-0.9, 0.9)
    d = len(NAMES) + 3
    outputs = (Output("scalars", (len(NAMES),)), Output("correlations", (3,)))
    made = structural.density(
        matrices, statistics(data), priors, list(SDS), [LKJ(1.5)], outputs, np.full(d, 0.3), np.full(d, 0.3)
    )
    return made, [*priors, LKJ(1.5)]


def simulate(missing, seed=0, J=12, most=6):
    rng = np.random.default_rng(seed)
    n = rng.integers(1, most, J)
    n[:4] = 3
    code = np.repeat(np.arange(J), n)
    Y, V = rng.normal(1, 2, (n.sum(), 3)), rng.normal(size=(J, 2))
    if missing:
        Y[rng.random(Y.shape) < 0.3] = np.nan
        Y[code == 2] = np.nan  # a cluster known by its own variables only
        V[rng.random(V.shape) < 0.3] = np.nan
    X, Z = rng.normal(size=(n.sum(), 1)), rng.normal(size=(J, 1))
    order = rng.permutation(n.sum())
    return Data(Y[order], X[order], code[order], V, Z, np.arange(J) % 2)


def matrices_at(m: Matrices, t: np.ndarray, context: int):
    """A Psi A' and A c of both levels, in NumPy."""
    t = np.r_[1.0, t, m.slots[context]]
    out = []
    for level in range(m.levels):
        Psi, beta, c = np.zeros((m.size, m.size)), np.zeros((m.size, m.size)), np.zeros((m.size, m.regressors))
        for e in m.entries:
            if e.level == level:
                {"psi": Psi, "beta": beta, "c": c}[e.matrix][e.row, e.column] += e.coef * np.prod(t[list(e.factors)])
        A = np.linalg.inv(np.eye(m.size) - beta)
        out.append(((A @ Psi @ A.T)[: m.observed, : m.observed], (A @ c)[: m.observed]))
    return out


def dense(m: Matrices, t: np.ndarray, data: Data) -> float:
    """Log-likelihood as one multivariate normal a cluster (or row)."""
    total, p = 0.0, data.Y.shape[1]
    for j in range(len(data.context)):
        levels = matrices_at(m, t, data.context[j])
        rows = np.flatnonzero(data.code == j) if data.code is not None else np.array([j])
        n = len(rows)
        if data.code is None:
            S, K = levels[0]
            mean, cov, y = np.r_[1.0, data.X[j]] @ K.T, S, data.Y[j]
        else:
            (Sw, Kw), (Sb, Kb) = levels
            q = np.column_stack([np.ones(n), data.X[rows], np.ones(n), np.tile(data.Z[j], (n, 1))])
            mean = np.r_[(q @ (Kw + Kb)[:p].T).ravel(), (Kb @ np.r_[0, 0, 1.0, data.Z[j]])[p:]]
            one = np.kron(np.ones((n, 1)), np.eye(p))
            cov = np.zeros((n * p + P - p,) * 2)
            cov[: n * p, : n * p] = np.kron(np.eye(n), Sw[:p, :p]) + one @ Sb[:p, :p] @ one.T
            cov[: n * p, n * p :] = one @ Sb[:p, p:]
            cov[n * p :, : n * p] = cov[: n * p, n * p :].T
            cov[n * p :, n * p :] = Sb[p:, p:]
            y = np.r_[data.Y[rows].ravel(), data.V[j]]
        seen = ~np.isnan(y)
        if seen.any():
            total += stats.multivariate_normal.logpdf(
                y[seen], mean[seen], cov[np.ix_(seen, seen)], allow_singular=False
            )
    return total


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_equals_a_dense_normal(missing, zero):
    matrices, data = two_level(zero), simulate(missing)
    f, priors = density(matrices, data)
    rng = np.random.default_rng(1)
    differences = []
    for _ in range(20):
        values = f.parameters(rng.normal(0, 0.6, f.n_dim))
        t = np.r_[values["scalars"], values["correlations"]]
        differences.append(likelihood(f, priors, t) - dense(matrices, t, data))
    np.testing.assert_allclose(differences, 0, atol=1e-8)


def likelihood(f, priors, t):
    """The kernel's log density at parameters t, with flat priors and coordinates that are the parameters."""
    n, codes = len(NAMES), f.ints.copy()
    codes[HEADER : HEADER + 2 * n] = 0  # real, flat
    floats = f.floats.copy()
    floats[f.at : f.at + f.n_top] = 0
    floats[f.at + f.n_top : f.at + f.n_top + f.n_top**2] = np.eye(f.n_top).ravel()
    g = replace(f, ints=codes, floats=floats)
    R = np.eye(3)
    R[np.tril_indices(3, -1)] = t[n:]
    R += np.tril(R, -1).T
    L = np.linalg.cholesky(R)
    x = np.r_[t[:n], partial(L)]
    floats[f.at - 1] = 1.0  # eta
    return g(x)[0] - prior_constant(priors) - lkj_part(x[n:], 1.0, 3)


def partial(L):
    """Coordinates of a Cholesky factor: inverse hyperbolic tangents of partial correlations."""
    out = []
    for i in range(len(L)):
        left = 1.0
        for j in range(i):
            z = L[i, j] / np.sqrt(left)
            out.append(np.arctanh(z))
            left -= L[i, j] ** 2
    return np.array(out)


def lkj_part(x, eta, q):
    """What `correlation` adds: sum of exponents times log(1 - z^2)."""
    at, total = 0, 0.0
    for i in range(q):
        for j in range(i):
            total += (eta + 0.5 * (q - 2 - j)) * np.log1p(-(np.tanh(x[at + j]) ** 2))
        at += i
    return total


def prior_constant(priors):
    """What the kernel's constant holds beside that of the data."""
    return prior_tables(priors[:-1], list(SDS))[2] + lkj_constant(priors[-1]["eta"], 3)


@pytest.mark.parametrize("missing", [False, True])
def test_gradient_is_exact(missing):
    f, _ = density(two_level(), simulate(missing))
    rng = np.random.default_rng(3)
    for _ in range(3):
        z = rng.normal(0, 0.6, f.n_dim)
        numeric = [(f(z + h)[0] - f(z - h)[0]) / 2e-5 for h in 1e-5 * np.eye(f.n_dim)]
        np.testing.assert_allclose(f(z)[1], numeric, rtol=2e-5, atol=2e-4)


def test_one_level_with_missing_values():
    """Rows by pattern: a chain v <- y <- x with a covariate, one level."""
    entries = (
        Entry("psi", W, 0, 0, 1.0, (1, 1)),
        Entry("psi", W, 1, 1, 1.0, (2, 2)),
        Entry("beta", W, 1, 0, 1.0, (3,)),
        Entry("c", W, 0, 0, 1.0, (4,)),
        Entry("c", W, 1, 1, 0.7),
    )
    m = Matrices(1, 2, 2, 2, 2, ((0, 1),), 4, (), entries, (), np.zeros((1, 0)))
    rng = np.random.default_rng(5)
    Y = rng.normal(size=(40, 2))
    Y[rng.random(Y.shape) < 0.3] = np.nan
    data = Data(Y, rng.normal(size=(40, 1)), None, np.empty((0, 0)), np.empty((0, 0)), np.zeros(40, int))
    priors = [HalfNormal(2), HalfNormal(1), Normal(0, 1), Normal(0, 1)]
    f = structural.density(m, statistics(data), priors, [0, 1], [], (Output("scalars", (4,)),), np.ones(4), np.ones(4))
    for z in rng.normal(size=(20, 4)):
        t = f.parameters(z)["scalars"]
        prior = sum(p.row()[2] for p in priors) - np.log(4) - 0.5 * (t**2 / [4, 1, 1, 1]).sum()
        assert f(z)[0] - prior == pytest.approx(dense(m, t, data), abs=1e-8)
