"""The design and the draws of an ItemResponse under the names of its equations."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayeshte.families.item_response_names import COEFFICIENTS, INTERCEPT, Names
from bayeshte.labelled import flatten


def ability_mean(T, X, M, beta0, beta1, beta2, beta3, v0=0.0, v1=0.0):
    """mu = beta0 + v0 + (beta1 + beta3 M + v1)' T + beta2' X of persons, for NumPy arrays and PyTensor variables alike.

    Parameters
    ----------
    T, X, M : (person, contrast), (person, covariate), (person, moderator)
        Indicators of all arms but the reference, covariates, moderators.
    beta0, beta1, beta2, beta3 : (...), (..., contrast), (..., covariate), (..., contrast, moderator)
        Coefficients, with any leading dims (draws).
    v0, v1 : (..., person), (..., person, contrast)
        Effects of each person's cluster, or 0.
    """
    effect = beta1[..., None, :] + M @ beta3.mT + v1
    return beta0[..., None] + v0 + (effect * T).sum(-1) + (X @ beta2[..., None])[..., 0]


def easiness(b, zeta, contrasts):
    """b_i + zeta_i' T of every item in every arm, (..., arm, item), from (..., item) and (..., contrast, item)."""
    return b[..., None, :] + np.eye(contrasts + 1)[:, 1:] @ zeta


@dataclass(frozen=True)
class Arrays(Names):
    """The design, and draws, (draw, ...) with chains stacked."""

    def coefficients(self, draws: xr.Dataset) -> tuple[np.ndarray, ...]:
        """Draws of beta0 (draw,), beta1 (draw, contrast), beta2 (draw, covariate), beta3 (draw, contrast, moderator).

        On two occasions of the abilities after: beta0 holds the change without treatment.
        """
        n = draws.sizes["chain"] * draws.sizes["draw"]
        k, m = self.n_contrasts, self.design.sizes["moderator"]
        shapes = {"beta0": (n,), "beta1": (n, k), "beta2": (n, self.design.sizes["covariate"]), "beta3": (n, k, m)}
        out = [flatten(draws[v]).reshape(s) if v in draws else np.zeros(s) for v, s in shapes.items()]
        if "beta_time" in draws:
            out[0] = out[0] + flatten(draws["beta_time"])
        return tuple(out)

    def beta(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the coefficients in the order of `full`: (draw, p)."""
        parts = [flatten(draws[v]) for v in COEFFICIENTS if v in draws]
        return np.concatenate([v.reshape(len(v), -1) for v in parts], axis=1)

    def means(self, draws: xr.Dataset, v: np.ndarray | None) -> np.ndarray:
        """Draws of the mean abilities of all sittings, (draw, sitting), given the effects v (draw, cluster, s) of clusters."""
        out = self.beta(draws) @ self.full.T
        if v is None:
            return out
        v0, v1 = self.split(v[:, np.repeat(self.person_cluster, self.n_occasions)])
        return out + v0 + (v1 * self.full[:, 1 : 1 + self.n_contrasts]).sum(-1)

    def sigma(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the residual SDs of abilities, (draw, arm); on two occasions of those after."""
        values = flatten(draws["sigma_theta"])
        values = values.reshape(len(values), -1)[:, 1 if self.occasion else 0 :]
        return np.broadcast_to(values, (len(values), len(self.arms)))

    def residual_factor(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the Cholesky factor of the covariance of the residuals before and after, (draw, 2, 2)."""
        sd, r = flatten(draws["sigma_theta"]), flatten(draws["rho_theta"])
        zero, one = np.zeros_like(r), np.ones_like(r)
        return sd[:, :, None] * np.array([[one, zero], [r, np.sqrt(1 - r**2)]]).transpose(2, 0, 1)

    def v(self, draws: xr.Dataset) -> np.ndarray | None:
        """Draws of the effects of clusters, (draw, cluster, s), if there are clusters."""
        return flatten(draws["v"].transpose(..., self.cluster, "cluster_varying")) if self.cluster else None

    def cluster_factor(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the scale matrix of the effects of clusters, (draw, s, s)."""
        sd = flatten(draws["sd"])
        if "corr" not in draws:
            return sd[:, :, None]
        return sd[:, :, None] * np.linalg.cholesky(flatten(draws["corr"]))

    def spread(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the SD of abilities in each arm over persons and clusters with the same covariates, (draw, arm)."""
        return self._spread(draws, self.sigma(draws))

    def baseline_spread(self, draws: xr.Dataset) -> np.ndarray:
        """The same in the reference arm, on two occasions before, (draw,)."""
        before = flatten(draws["sigma_theta"])[:, :1] if self.occasion else self.sigma(draws)[:, :1]
        return self._spread(draws, np.broadcast_to(before, (len(before), len(self.arms))))[:, 0]

    def _spread(self, draws: xr.Dataset, sigma: np.ndarray) -> np.ndarray:
        variance = sigma**2
        if self.cluster:
            arms = np.eye(len(self.arms))[:, 1:]
            names = [INTERCEPT, *self.contrasts]
            Z = np.column_stack([np.ones(len(self.arms)), arms])[:, [names.index(v) for v in self.cluster_varying]]
            variance = variance + ((Z @ self.cluster_factor(draws)) ** 2).sum(-1)
        return np.sqrt(variance)

    def item_effects(self, draws: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Draws of b (draw, item) and zeta (draw, contrast, item), which is zero if the model has none."""
        b = flatten(draws["b"])
        shape = (len(b), self.n_contrasts, self.n_items)
        if "zeta" not in draws:
            return b, np.zeros(shape)
        return b, flatten(draws["zeta"].transpose(..., *self.contrast_dims, self.item)).reshape(shape)

    def shapes(self, draws: xr.Dataset) -> tuple[np.ndarray, np.ndarray] | None:
        """Draws of discriminations (draw, item) and thresholds (draw, threshold), one and zero where the model has none."""
        if self.form is None:
            return None
        n = draws.sizes["chain"] * draws.sizes["draw"]
        a = flatten(draws["a"]) if "a" in draws else np.ones((n, self.n_items))
        return a, flatten(draws["tau"]) if "tau" in draws else np.zeros((n, self.form.first[-1] - self.n_items))

    def drift(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the drift of items, (draw, item), which is zero if the model has none."""
        b = flatten(draws["b"])
        return flatten(draws["drift"]) if "drift" in draws else np.zeros_like(b)

    def easiness(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the easiness of items in every arm, on two occasions after: (draw, arm, item)."""
        b, zeta = self.item_effects(draws)
        return easiness(b + self.drift(draws), zeta, self.n_contrasts)

    def levels(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the easiness of items in every cell: (draw, cell, item)."""
        after = self.easiness(draws)
        return np.concatenate([flatten(draws["b"])[:, None], after], axis=1) if self.occasion else after
