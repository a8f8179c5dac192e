"""The design and the draws of an ItemResponse under the names of its equations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from bayeshte.marginal.item_response import Responses, responses

#: variables of a posterior, in the order of the tables; those in LATENT are no parameters and are not sampled
LATENT = ("effect", "theta")
COEFFICIENTS = ("beta0", "beta1", "beta2", "beta3")
STORED = (*COEFFICIENTS, "sigma_theta", "sigma_b", "sigma_zeta", "rho", "b", "zeta", *LATENT)
INTERCEPT = "intercept"


def ability_mean(T, X, M, beta0, beta1, beta2, beta3):
    """mu = beta0 + (beta1 + beta3' M) T + beta2' X of persons, for NumPy arrays and PyTensor variables alike.

    Parameters
    ----------
    T, X, M : (person,), (person, covariate), (person, moderator)
        Indicator of the treated arm, covariates, moderators.
    beta0, beta1, beta2, beta3 : (...), (...), (..., covariate), (..., moderator)
        Coefficients, with any leading dims (draws).
    """
    effect = beta1[..., None] + (M @ beta3[..., None])[..., 0]
    return beta0[..., None] + effect * T + (X @ beta2[..., None])[..., 0]


def log_odds(theta, b, zeta, T):
    """theta_j + b_i + zeta_i T_j of responses: abilities and item effects of each, (..., row)."""
    return theta + b + zeta * T


@dataclass(frozen=True)
class Arrays:
    """The design under the names of the equations.

    Attributes
    ----------
    design : Dataset
        Variables ``y, arm_code, cluster_code, item_code (row)``, ``X (row, covariate)``, ``M (row, moderator)``, and the
        analysed columns as ``column_0, ...``. Clusters are persons; coords hold all labels.
    """

    design: xr.Dataset

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels by dim, as PyMC takes them."""
        return {str(k): v.to_numpy() for k, v in self.design.coords.items()}

    def labels(self, dim: str) -> list[str]:
        return [str(v) for v in self.design[dim].to_numpy()]

    @property
    def treatment(self) -> str:
        return self.design.attrs["treatment"]

    @property
    def person(self) -> str:
        """Name of the dim of persons."""
        return self.design.attrs["cluster"]

    @property
    def item(self) -> str:
        """Name of the dim of items."""
        return self.design.attrs["item"]

    @property
    def arms(self) -> list[str]:
        """The reference arm and the other one."""
        return self.labels(f"{self.treatment}_arm")

    @property
    def n_persons(self) -> int:
        return self.design.sizes[self.person]

    @property
    def n_items(self) -> int:
        return self.design.sizes[self.item]

    @property
    def q(self) -> int:
        """Number of random effects of an item."""
        return self.design.sizes["varying"]

    @cached_property
    def y(self) -> np.ndarray:
        return self.design["y"].to_numpy()

    @cached_property
    def T(self) -> np.ndarray:
        """1 in the treated arm, by row."""
        return self.design["arm_code"].to_numpy().astype(float)

    @cached_property
    def person_code(self) -> np.ndarray:
        return self.design["cluster_code"].to_numpy()

    @cached_property
    def item_code(self) -> np.ndarray:
        return self.design["item_code"].to_numpy()

    @cached_property
    def X(self) -> np.ndarray:
        return self.design["X"].to_numpy()

    @cached_property
    def M(self) -> np.ndarray:
        return self.design["M"].to_numpy()

    @cached_property
    def first_row(self) -> np.ndarray:
        """A row of every person."""
        out = np.zeros(self.n_persons, np.int64)
        out[self.person_code[::-1]] = np.arange(len(self.person_code))[::-1]
        return out

    @cached_property
    def persons(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """T, X and M of every person."""
        return self.T[self.first_row], self.X[self.first_row], self.M[self.first_row]

    @property
    def full(self) -> np.ndarray:
        """What the coefficients multiply, a row a person: 1, T, X, T x M."""
        T, X, M = self.persons
        return np.column_stack([np.ones(len(T)), T, X, T[:, None] * M])

    @property
    def full_labels(self) -> list[str]:
        """Parameter labels of the columns of `full`."""
        covariates = [f"beta2[{x}]" for x in self.labels("covariate")]
        return ["beta0", "beta1", *covariates, *(f"beta3[{m}]" for m in self.labels("moderator"))]

    @property
    def full_terms(self) -> list[str]:
        """What the columns of `full` are in the user's words."""
        arm = f"{self.treatment}[{self.arms[1]}]"
        return [INTERCEPT, arm, *self.labels("covariate"), *(f"{arm}:{m}" for m in self.labels("moderator"))]

    @cached_property
    def responses(self) -> Responses:
        """Counts of persons with equal arm, items, score and covariates: all that the likelihood needs."""
        return responses(self.full, self.person_code, self.item_code, self.y, self.n_items)

    def coefficients(self, draws: xr.Dataset) -> tuple[np.ndarray, ...]:
        """Draws of beta0 (draw,), beta1 (draw,), beta2 (draw, covariate), beta3 (draw, moderator)."""
        n = draws.sizes["chain"] * draws.sizes["draw"]
        empty = {"beta2": np.zeros((n, self.X.shape[1])), "beta3": np.zeros((n, self.M.shape[1]))}
        return tuple(flatten(draws[v]) if v in draws else empty[v] for v in COEFFICIENTS)

    def item_effects(self, draws: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Draws of b and zeta: (draw, item) each, zeta zero if the model has none."""
        b = flatten(draws["b"])
        return b, flatten(draws["zeta"]) if "zeta" in draws else np.zeros_like(b)

    def beta(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the coefficients in the order of `full`: (draw, p)."""
        parts = self.coefficients(draws)
        return np.concatenate([v.reshape(len(v), -1) for v in parts], axis=1)

    def easiness(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of b_i and of b_i + zeta_i: (draw, arm, item)."""
        b, zeta = self.item_effects(draws)
        return np.stack([b, b + zeta], axis=1)


def flatten(values: xr.DataArray) -> np.ndarray:
    """Draws of a variable with chains stacked: (chain * draw, ...)."""
    a = values.transpose("chain", "draw", ...).to_numpy()
    return a.reshape(-1, *a.shape[2:])


def unstack(values: np.ndarray, draws: xr.Dataset, **dims) -> xr.DataArray:
    """(draw, ...) back to labelled chains and draws."""
    shape = (draws.sizes["chain"], draws.sizes["draw"])
    return xr.DataArray(
        values.reshape(*shape, *values.shape[1:]),
        dims=("chain", "draw", *dims),
        coords={"chain": draws["chain"], "draw": draws["draw"], **dims},
    )
