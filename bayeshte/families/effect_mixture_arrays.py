"""The design and the draws of an EffectMixture under the names of its equations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy.special import log_softmax

from bayeshte.labelled import Labelled, flatten
from bayeshte.marginal.mixture import Layout
from bayeshte.marginal.mixture_data import Units, subset, units
from bayeshte.marginal.mixture_draws import Parameters

#: variables of a posterior, in the order of the tables
LATENT = ("label", "u", "effect")
COEFFICIENTS = ("gamma0", "gamma1", "gamma2")
STORED = (*COEFFICIENTS, "sd", "corr", "sigma", "nu", "pi", "alpha", *LATENT)
#: parameters that may be the same in all classes
SHAREABLE = (*COEFFICIENTS, "sd", "sigma", "nu")
INTERCEPT = "intercept"


@dataclass(frozen=True)
class Arrays(Labelled):
    """The design under the names of the equations.

    Attributes
    ----------
    design : Dataset
        Variables ``y, arm_code, cluster_code (row)``, ``X (row, covariate)``, ``W (unit, member)``, perhaps
        ``trials (row)``, and the analysed columns as ``column_0, ...``; coords hold all labels.
    """

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.design.sizes["class"]

    @property
    def shared(self) -> tuple[str, ...]:
        """Parameters that all classes have in common."""
        return tuple(self.design.attrs["shared"])

    @property
    def n_units(self) -> int:
        """Number of what carries the class: clusters or rows."""
        return len(self.units.W)

    def only(self, pick: np.ndarray) -> "Arrays":
        """The same with some of the units in `units`, by position."""
        out = Arrays(self.design)
        out.__dict__["units"] = subset(self.units, pick)
        return out

    @property
    def trials(self) -> np.ndarray | None:
        """Of binomial outcomes."""
        return self.design["trials"].to_numpy() if "trials" in self.design else None

    @cached_property
    def code(self) -> np.ndarray:
        """Unit of each row: its cluster, or the row itself."""
        return np.arange(len(self.arm)) if self.unit == "row" else self.design["cluster_code"].to_numpy()

    @cached_property
    def W(self) -> np.ndarray:
        """What membership depends on, (unit, member); a column of ones without covariates of membership."""
        return self.design["W"].to_numpy()

    @property
    def logit_membership(self) -> bool:
        """Whether membership has covariates, alpha, in place of plain class probabilities, pi."""
        return bool(self.design.attrs["membership"])

    @property
    def sigmas(self) -> bool:
        """Whether the outcome has a residual SD."""
        return self.family in ("gaussian", "student")

    @property
    def full(self) -> np.ndarray:
        """The model matrix: 1, T, X."""
        return np.column_stack([np.ones(len(self.arm)), self.T, self.X])

    @property
    def full_terms(self) -> list[str]:
        """What the columns of `full` are in the user's words."""
        return [INTERCEPT, *(f"{self.treatment}[{a}]" for a in self.contrasts), *self.labels("covariate")]

    @cached_property
    def coefficients(self) -> dict[str, tuple[str, ...]]:
        """The variables that multiply `full`, in its order, with their dims."""
        dims = {"gamma0": (), "gamma1": (self.treatment,), "gamma2": ("covariate",)}
        present = {"gamma0": True, "gamma1": bool(self.contrasts), "gamma2": bool(self.X.shape[1])}
        return {v: self.with_class(v, dims[v]) for v in COEFFICIENTS if present[v]}

    def with_class(self, name: str, dims: tuple[str, ...]) -> tuple[str, ...]:
        """Dims of a parameter: the class in front unless it is shared, as random effects of rows that are units are."""
        shared = name in self.shared or (name == "sd" and self.unit == "row")
        return dims if shared else ("class", *dims)

    @cached_property
    def units(self) -> Units:
        """Cross-products or rows of the units: all that the likelihood needs."""
        random = [
            self.full_terms.index(INTERCEPT if v == INTERCEPT else f"{self.treatment}[{v}]") for v in self.varying
        ]
        by_row = self.unit == "row"
        cluster = self.design["cluster_code"].to_numpy() if by_row and self.q else None
        return units(self.full, self.y, self.code, self.W, self.family, random, self.trials, by_row, cluster)

    @property
    def layout(self) -> Layout:
        """Which parameters the classes have of their own."""
        sizes = {"gamma0": 1, "gamma1": len(self.contrasts), "gamma2": self.X.shape[1]}
        groups = tuple((sizes[v], v not in self.shared) for v in self.coefficients)
        return Layout(self.classes, groups, *("class" in self.with_class(v, ()) for v in ("sd", "sigma", "nu")))

    def by_class(self, draws: xr.Dataset, name: str) -> np.ndarray:
        """Draws of a parameter in every class, chains stacked: (draw, class, ...)."""
        values = draws[name]
        if "class" in values.dims:
            return flatten(values.transpose("chain", "draw", "class", ...))
        return np.repeat(flatten(values)[:, None], self.classes, axis=1)

    def parameters(self, draws: xr.Dataset) -> Parameters:
        """Draws in the layout of the formulas, chains stacked."""
        S, K, q = draws.sizes["chain"] * draws.sizes["draw"], self.classes, self.q
        beta = np.concatenate([self.by_class(draws, v).reshape(S, K, -1) for v in self.coefficients], axis=2)
        shape = np.ones((S, K, 2))
        for k, name in enumerate(("sigma", "nu")):
            if name in draws:
                shape[..., k] = self.by_class(draws, name)
        factor = np.zeros((S, K, q, q))
        if q:
            corr = self.by_class(draws, "corr") if "corr" in draws else np.ones((S, K, 1, 1))
            factor = np.linalg.cholesky(corr) * self.by_class(draws, "sd")[..., None]
        u = flatten(draws["u"]) if len(self.units.cluster) and "u" in draws else np.zeros((S, 0, q))
        return Parameters(beta, shape, factor, self.alpha(draws), u)

    def alpha(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the membership coefficients (draw, member, class); logarithms of plain class probabilities."""
        if "alpha" in draws:
            return flatten(draws["alpha"].transpose("chain", "draw", "member", "class"))
        if "pi" in draws:
            with np.errstate(divide="ignore"):
                return np.log(flatten(draws["pi"]))[:, None]
        return np.zeros((draws.sizes["chain"] * draws.sizes["draw"], 1, 1))

    def class_sizes(self, draws: xr.Dataset) -> np.ndarray:
        """Share of every class in the population of units: membership averaged over those in the data, (draw, class)."""
        alpha = self.alpha(draws)
        if not self.logit_membership:
            return np.exp(alpha[:, 0])
        return np.stack([np.exp(log_softmax(self.W @ a, axis=1)).mean(0) for a in alpha])


def linear_predictor(T, X, gamma0, gamma1, gamma2, u0, u1):
    """eta = (gamma0 + U0) + (gamma1 + U1)' T + gamma2' X of rows, for NumPy arrays and PyTensor variables alike.

    Parameters
    ----------
    T, X : (row, contrast), (row, covariate)
        Arm indicators and covariates.
    gamma0, gamma1, gamma2 : (..., row or 1), (..., row or 1, contrast), (..., row or 1, covariate)
        Coefficients of the class of each row, with any leading dims.
    u0, u1 : (..., row), (..., row, contrast)
        Random effects of each row's cluster, or 0.
    """
    return gamma0 + u0 + ((gamma1 + u1) * T).sum(-1) + (gamma2 * X).sum(-1)
