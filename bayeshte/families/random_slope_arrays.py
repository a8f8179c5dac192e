"""The design and the draws of a RandomSlope under the names of its equations."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from bayeshte.marginal.gaussian import Moments, Parameters, moments
from bayeshte.summary import elements

#: variables of a posterior, in the order of the tables
LATENT = ("u", "effect")
STORED = ("gamma0", "gamma1", "gamma2", "gamma3", "sd", "corr", "sigma", "nu", "alpha", "phi", "width", *LATENT)
#: families whose outcome has a residual: eta is its expected value
CONTINUOUS = ("gaussian", "student", "skew normal")


def label(variable: str, element: str | None = None) -> str:
    """``gamma1[small]``: how an element of a variable is called in tables and in ``priors=``."""
    return variable if element is None else f"{variable}[{element}]"


@dataclass(frozen=True)
class Arrays:
    """The design under the names of the equations.

    Attributes
    ----------
    design : Dataset
        Variables ``y, arm_code, cluster_code (row)``, ``X (row, covariate)``, ``M (row, moderator)``, perhaps ``se``,
        and the analysed columns as ``column_0, ...``; coords hold all labels.
    """

    design: xr.Dataset

    def __getattr__(self, name):
        if name in ("family", "outcome", "treatment", "reference", "cluster"):
            return self.design.attrs[name]
        raise AttributeError(name)

    @property
    def coords(self) -> dict[str, list]:
        """Labels by dim, as PyMC takes them."""
        return {str(k): v.to_numpy() for k, v in self.design.coords.items()}

    def labels(self, dims: str | tuple[str, ...]) -> list[str]:
        """Element labels of a vector, or of a matrix row by row, as tables print them."""
        if isinstance(dims, str):
            return [str(v) for v in self.design[dims].to_numpy()] if dims in self.design.coords else []
        first, second = (self.labels(d) for d in dims)
        return [f"{a}, {b}" for a in first for b in second]

    @cached_property
    def contrasts(self) -> list[str]:
        """Arms but the reference."""
        return self.labels(self.treatment) if self.treatment else []

    @property
    def n_contrasts(self) -> int:
        return len(self.contrasts)

    @property
    def arms(self) -> str:
        """Name of the dim of all arms, the reference first."""
        return f"{self.treatment}_arm"

    @property
    def n_clusters(self) -> int:
        return self.design.sizes[self.cluster] if self.cluster else 1

    @cached_property
    def y(self) -> np.ndarray:
        return self.design["y"].to_numpy()

    @cached_property
    def arm(self) -> np.ndarray:
        return self.design["arm_code"].to_numpy()

    @cached_property
    def code(self) -> np.ndarray:
        return self.design["cluster_code"].to_numpy()

    @cached_property
    def X(self) -> np.ndarray:
        return self.design["X"].to_numpy()

    @cached_property
    def M(self) -> np.ndarray:
        return self.design["M"].to_numpy()

    @cached_property
    def S(self) -> np.ndarray:
        """Covariates with random slopes, (row, slope)."""
        labels = self.labels("covariate")
        return self.X[:, [labels.index(s) for s in self.slopes]]

    @property
    def slopes(self) -> list[str]:
        return list(self.design.attrs["slopes"])

    @property
    def se(self) -> np.ndarray | None:
        return self.design["se"].to_numpy() if "se" in self.design else None

    @cached_property
    def varying(self) -> list[str]:
        return self.labels("varying")

    @property
    def q(self) -> int:
        """Number of random effects of a cluster."""
        return len(self.varying)

    @property
    def sigmas(self) -> int:
        """Number of residual SDs."""
        if self.family not in CONTINUOUS or self.se is not None:
            return 0
        return self.n_contrasts + 1 if self.design.attrs["sigma_by_arm"] else 1

    @property
    def thresholds(self) -> list[str]:
        """``"y >= c"`` for every category c of an ordered outcome but the lowest."""
        return [f"{self.outcome} >= {c}" for c in list(self.design.attrs["categories"])[1:]]

    @property
    def T(self) -> np.ndarray:
        """Arm indicators, (row, contrast)."""
        return indicators(self.arm, self.n_contrasts)

    @cached_property
    def arm_counts(self) -> np.ndarray:
        """Persons by cluster and arm, (cluster, arm)."""
        k = self.n_contrasts + 1
        return np.bincount(self.code * k + self.arm, minlength=self.n_clusters * k).reshape(-1, k)

    @property
    def full(self) -> np.ndarray:
        """The whole model matrix: 1, T, X, T x M."""
        T = self.T
        products = (T[:, :, None] * self.M[:, None, :]).reshape(len(T), -1)
        return np.column_stack([np.ones(len(T)), T, self.X, products])

    @cached_property
    def full_labels(self) -> list[str]:
        """Parameter labels of the columns of `full`."""
        out = ["gamma0", *(label("gamma1", a) for a in self.contrasts)]
        out += [label("gamma2", x) for x in self.labels("covariate")]
        return out + [
            label("gamma3", v) for v in (self.labels((self.treatment, "moderator")) if self.n_contrasts else [])
        ]

    @property
    def full_terms(self) -> list[str]:
        """What the columns of `full` are in the user's words: arms, terms of formulas, and their products."""
        arms = [label(self.treatment, a) for a in self.contrasts]
        products = [f"{arm}:{m}" for arm in arms for m in self.labels("moderator")]
        return ["intercept", *arms, *self.labels("covariate"), *products]

    @property
    def random(self) -> list[int]:
        """Columns of `full` that have random effects."""
        position = {"intercept": 0} | {a: 1 + k for k, a in enumerate(self.contrasts)}
        covariates = self.labels("covariate")
        position |= {s: 1 + self.n_contrasts + covariates.index(s) for s in self.slopes}
        return [position[v] for v in self.varying]

    def split(self, u):
        """Random effects (..., q) as those of the intercept (...), the arms (..., contrast) and the slopes (..., slope)."""
        if not self.q:
            return 0.0, 0.0, 0.0
        pick = np.zeros((self.q, 1 + self.n_contrasts + len(self.slopes)))
        names = ["intercept", *self.contrasts, *self.slopes]
        for row, name in enumerate(self.varying):
            pick[row, names.index(name)] = 1.0
        k = 1 + self.n_contrasts
        return u @ pick[:, 0], u @ pick[:, 1:k], u @ pick[:, k:]

    def moments(self) -> Moments:
        """Cross-products by cluster and residual stratum: all that the Gaussian likelihood needs of the rows."""
        stratum = self.arm if self.design.attrs["sigma_by_arm"] else np.zeros_like(self.arm)
        K = self.n_contrasts + 1 if self.design.attrs["sigma_by_arm"] else 1
        return moments(self.full, self.y, self.random, self.code, self.n_clusters, stratum, K, self.se)

    def parameters(self, draws: xr.Dataset) -> "Draws":
        """Draws in the layout of the Gaussian formulas, chains stacked."""
        flat = {str(k): flatten(draws[k]) for k in draws.data_vars}
        S = len(flat["gamma0"])
        names = [v for v in ("gamma0", "gamma1", "gamma2", "gamma3") if v in flat]
        beta = np.concatenate([flat[v].reshape(S, -1) for v in names], axis=1)
        factor = np.zeros((S, 0, 0))
        if self.q:
            corr = flat["corr"] if "corr" in flat else np.ones((S, 1, 1))
            sd = flat["sd"]
            factor = np.linalg.cholesky(corr) * sd[:, :, None]
        precision = np.ones((S, 1)) if not self.sigmas else flat["sigma"].reshape(S, -1) ** -2.0
        return Draws(beta, factor, precision)


@dataclass(frozen=True)
class Draws(Parameters):
    """`Parameters` that can be sliced."""

    def __getitem__(self, part: slice) -> "Draws":
        return replace(self, beta=self.beta[part], factor=self.factor[part], precision=self.precision[part])


def indicators(arm: np.ndarray, contrasts: int) -> np.ndarray:
    """(row, contrast) indicators of the arms 1, 2, ..."""
    return (arm[:, None] == np.arange(1, contrasts + 1)).astype(float)


def flatten(values: xr.DataArray) -> np.ndarray:
    """Draws of a variable with chains stacked: (chain * draw, ...)."""
    a = values.transpose("chain", "draw", ...).to_numpy()
    return a.reshape(-1, *a.shape[2:])


def scalars(posterior: xr.Dataset) -> list[tuple[str, xr.DataArray]]:
    """Every parameter by label, (chain, draw); of the correlation matrix the part below the diagonal."""
    out = []
    for name in [v for v in posterior.data_vars if v not in LATENT]:
        labels, x = elements(posterior[name])
        keep = range(len(labels))
        if name == "corr":
            q = posterior.sizes["varying"]
            keep = np.flatnonzero(np.tril(np.ones((q, q)), -1).T.ravel())
        out += [(labels[k], xr.DataArray(x[..., k], dims=("chain", "draw"))) for k in keep]
    return out


def derived(draws: xr.Dataset, D: Arrays) -> xr.Dataset:
    """Adds each cluster's effect on the scale of eta: gamma1 + gamma3 times its mean moderators + U1."""
    if not (D.n_contrasts and D.cluster):
        return draws
    effect = draws["gamma1"]
    if D.M.shape[1]:
        n = np.bincount(D.code, minlength=D.n_clusters)
        means = np.stack([np.bincount(D.code, m, minlength=D.n_clusters) / n for m in D.M.T], axis=1)
        M = xr.DataArray(means, dims=(D.cluster, "moderator"), coords={"moderator": D.labels("moderator")})
        effect = effect + xr.dot(draws["gamma3"], M, dim="moderator")
    if D.q:
        u1 = D.split(draws["u"].transpose("chain", "draw", D.cluster, "varying").to_numpy())[1]
        effect = effect + xr.DataArray(u1, dims=("chain", "draw", D.cluster, D.treatment))
    effect = effect.expand_dims({D.cluster: D.n_clusters} if D.cluster not in effect.dims else {})
    order = ("chain", "draw", D.cluster, D.treatment)
    effect.attrs = {"computed": 1}
    return draws.assign(effect=effect.transpose(*order).assign_coords({D.cluster: D.coords[D.cluster]}))
