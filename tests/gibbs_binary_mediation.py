"""The posterior of models/binary_mediation.py by a Gibbs sampler in NumPy, which shares no code with the package.

Latent responses are drawn as Albert and Chib (1993) do, the parts of schools from their joint conditional, coefficients and
variances from conjugate ones, under Mplus's priors. Prints medians, SDs and Monte Carlo errors of the medians (by batches).
"""

import runpy
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

DRAWS, BURN, BATCHES = 60_000, 2_000, 40
NAMES = ("a1", "b1", "c1", "a2", "b2", "tau", "indw", "indb", "vx", "vm", "ux", "um", "uy")


def regression(rng, y, X, variance, precision):
    """Coefficients of y on X with a normal prior of mean 0 (0: flat)."""
    P = X.T @ X / variance + np.diag(precision)
    root = np.linalg.cholesky(P)
    return np.linalg.solve(P, X.T @ y / variance) + np.linalg.solve(root.T, rng.normal(size=X.shape[1]))


def variance(rng, residual):
    """Of a flat prior on the variance: inverse gamma(n / 2 - 1, SS / 2)."""
    return residual @ residual / 2 / rng.gamma(len(residual) / 2 - 1)


def response(rng, mean, y):
    """Normal of variance 1, above 0 where y = 1, else below."""
    u, below = rng.random(len(y)), ndtr(-mean)
    return mean + ndtri(np.clip(np.where(y == 1, below + u * (1 - below), u * below), 1e-15, 1 - 1e-15))


def schools(rng, sums, n, within, between, centre):
    """Parts (school, 3) given sums of rows, the precision within, and precision and mean between."""
    P = n[:, None, None] * within + between
    root = np.linalg.cholesky(P)
    mean = np.linalg.solve(P, (sums @ within + centre @ between)[..., None])
    return (mean + np.linalg.solve(root.swapaxes(1, 2), rng.normal(size=(len(n), 3, 1))))[..., 0]


def sample(data, draws, seed):
    rng, j = np.random.default_rng(seed), data["school"].to_numpy() - 1
    x, m, y = (data[v].to_numpy(float) for v in ("x", "m", "y"))
    J, n = j.max() + 1, np.bincount(j)
    b = np.column_stack([np.bincount(j, v) / n for v in (x, m)] + [np.zeros(J)])
    a1 = b1 = c1 = a2 = b2 = tau = mux = mum = 0.0
    vx = vm = ux = um = uy = 1.0
    out = np.empty((draws, len(NAMES)))
    for k in range(-BURN, draws):
        xw, mw = x - b[j, 0], m - b[j, 1]
        r = response(rng, b[j, 2] + b1 * mw + c1 * xw, y)  # the threshold is in the mean of b[:, 2]
        A = np.array([[1, 0, 0], [-a1, 1, 0], [-c1, -b1, 1]])
        B = np.array([[1, 0, 0], [-a2, 1, 0], [0, -b2, 1]])
        mean = np.linalg.solve(B, [mux, mum, -tau])
        sums = np.column_stack([np.bincount(j, v) for v in (x, m, r)])
        b = schools(
            rng, sums, n, A.T @ np.diag([1 / vx, 1 / vm, 1]) @ A, B.T @ np.diag([1 / ux, 1 / um, 1 / uy]) @ B, mean
        )
        xw, mw, one = x - b[j, 0], m - b[j, 1], np.ones(J)
        (a1,) = regression(rng, mw, xw[:, None], vm, [0])
        b1, c1 = regression(rng, r - b[j, 2], np.column_stack([mw, xw]), 1.0, [0.2, 0.2])
        (mux,) = regression(rng, b[:, 0], one[:, None], ux, [0])
        mum, a2 = regression(rng, b[:, 1], np.column_stack([one, b[:, 0]]), um, [0, 0])
        minus, b2 = regression(rng, b[:, 2], np.column_stack([one, b[:, 1]]), uy, [0.2, 0])
        tau = -minus
        vx, vm = variance(rng, xw), variance(rng, mw - a1 * xw)
        ux, um = variance(rng, b[:, 0] - mux), variance(rng, b[:, 1] - mum - a2 * b[:, 0])
        uy = variance(rng, b[:, 2] + tau - b2 * b[:, 1])
        if k >= 0:
            out[k] = a1, b1, c1, a2, b2, tau, a1 * b1, a2 * b2, vx, vm, ux, um, uy
    return out


if __name__ == "__main__":
    model = Path(__file__).parents[1] / "models/binary_mediation.py"
    found = sample(runpy.run_path(str(model))["data"](), DRAWS, 1)
    parts = np.median(found.reshape(BATCHES, -1, len(NAMES)), axis=1)
    for name, x, error in zip(NAMES, found.T, parts.std(0, ddof=1) / BATCHES**0.5, strict=True):
        print(f"{name:<6}{np.median(x):9.4f}  SD {x.std():.4f}  error {error:.4f}")
