"""The design and the draws of an EffectMixture under the names of its equations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from scipy.special import log_softmax, softmax

from bayeshte.labelled import Labelled, flatten
from bayeshte.marginal.mixture import Layout, basis
from bayeshte.marginal.mixture_data import Units, subset, units
from bayeshte.marginal.mixture_draws import Parameters
from bayeshte.marginal.structural_integration import rule

#: variables of a posterior, in the order of the tables
LATENT = ("label", "u", "u_membership", "effect")
COEFFICIENTS = ("gamma0", "gamma1", "gamma2")
STORED = (*COEFFICIENTS, "sd", "corr", "sigma", "nu", "pi", "alpha", "sd_membership", *LATENT)
#: parameters that may be the same in all classes
SHAREABLE = (*COEFFICIENTS, "sd", "sigma", "nu", "u")
INTERCEPT = "intercept"
#: classes: nodes of Gauss-Hermite quadrature over each of the coordinates of a cluster's effects on its class probabilities
MEMBER_NODES = {2: 25, 3: 11, 4: 7, 5: 5, 6: 4, 7: 3, 8: 3}


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
        """Whether membership has coefficients, alpha, in place of plain class probabilities, pi."""
        return bool(self.design.attrs["membership"]) or self.varies

    @property
    def varies(self) -> bool:
        """Whether class probabilities vary between clusters."""
        return bool(self.design.attrs["membership_varies"])

    @property
    def own_effects(self) -> bool:
        """Whether a cluster has other random effects in each class: where its rows belong to classes."""
        return self.unit == "row" and self.q > 0 and "u" not in self.shared

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
        """Dims of a parameter: the class in front unless it is shared, SDs with the random effects if these are."""
        shared = name in (*self.shared, "sd_membership") or (name == "sd" and "u" in self.shared)
        return dims if shared else ("class", *dims)

    @cached_property
    def effect_dims(self) -> dict[str, tuple[str, ...]]:
        """Dims of the effects of clusters that are sampled."""
        of = ("class",) if self.own_effects else ()
        out = {"u": (*of, self.cluster, "varying")} if self.q and self.unit == "row" else {}
        return out | ({"u_membership": (self.cluster, "class")} if self.varies else {})

    @cached_property
    def units(self) -> Units:
        """Cross-products or rows of the units: all that the likelihood needs."""
        random = [
            self.full_terms.index(INTERCEPT if v == INTERCEPT else f"{self.treatment}[{v}]") for v in self.varying
        ]
        by_row = self.unit == "row"
        cluster = self.design["cluster_code"].to_numpy() if self.effect_dims else None
        return units(self.full, self.y, self.code, self.W, self.family, random, self.trials, by_row, cluster)

    @property
    def layout(self) -> Layout:
        """Which parameters the classes have of their own."""
        sizes = {"gamma0": 1, "gamma1": len(self.contrasts), "gamma2": self.X.shape[1]}
        groups = tuple((sizes[v], v not in self.shared) for v in self.coefficients)
        own = ("class" in self.with_class(v, ()) for v in ("sd", "sigma", "nu"))
        return Layout(self.classes, groups, *own, own_effects=self.own_effects, varies=self.varies)

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
        return Parameters(beta, shape, factor, self.alpha(draws), *self.effects(draws))

    def effects(self, draws: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws of effects that rows share: u (draw, 1 or class, cluster, q), u_membership (draw, cluster, class), its SD."""
        S = draws.sizes["chain"] * draws.sizes["draw"]
        sets = self.classes if self.own_effects else 1
        u, member, sd = np.zeros((S, sets, 0, self.q)), np.zeros((S, 0, self.classes)), np.zeros(S)
        if "u" in self.effect_dims and "u" in draws:
            u = flatten(draws["u"].transpose("chain", "draw", *self.effect_dims["u"]))
            u = u if self.own_effects else u[:, None]
        if self.varies and "u_membership" in draws:
            member = flatten(draws["u_membership"].transpose("chain", "draw", *self.effect_dims["u_membership"]))
        return u, member, flatten(draws["sd_membership"]) if self.varies else sd

    def alpha(self, draws: xr.Dataset) -> np.ndarray:
        """Draws of the membership coefficients (draw, member, class); logarithms of plain class probabilities."""
        if "alpha" in draws:
            return flatten(draws["alpha"].transpose("chain", "draw", "member", "class"))
        if "pi" in draws:
            with np.errstate(divide="ignore"):
                return np.log(flatten(draws["pi"]))[:, None]
        return np.zeros((draws.sizes["chain"] * draws.sizes["draw"], 1, 1))

    def class_sizes(self, draws: xr.Dataset) -> np.ndarray:
        """Share of every class in the population of units, (draw, class): membership averaged over those in the data.

        If class probabilities vary between clusters, over the population of clusters.
        """
        alpha = self.alpha(draws)
        if not self.logit_membership:
            return np.exp(alpha[:, 0])
        if self.varies:
            weights, shares = self.cluster_shares(draws)
            return np.einsum("g,sgc->sc", weights, shares)
        return np.stack([np.exp(log_softmax(self.W @ a, axis=1)).mean(0) for a in alpha])

    def cluster_shares(self, draws: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Shares of the classes in clusters, a grid of the population, averaged over rows: weights (g,), (draw, g, class)."""
        weights, odds = member_grid(self.classes, flatten(draws["sd_membership"]))
        rows, count = np.unique(self.W, axis=0, return_counts=True)
        out = np.exp(odds)
        for shares, a in zip(out, self.alpha(draws), strict=True):
            p = softmax(rows @ a, axis=1)  # of class c in cluster g: p_rc out_gc / sum_l p_rl out_gl
            shares *= (1 / (p @ shares.T)).T @ (p * (count / count.sum())[:, None])
        return weights, out


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


def member_grid(classes: int, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effects of clusters on the log odds of the classes, a grid for each of the SDs (draw,): weights (g,), (draw, g, class)."""
    nodes, log_weights = rule(classes - 1, MEMBER_NODES[classes])
    return np.exp(log_weights), sd[:, None, None] * np.sqrt(0.5) * (nodes @ basis(classes).T)
