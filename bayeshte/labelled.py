"""Designs and draws with their labels: what the families of treatment effects on rows have in common."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Labelled:
    """A design whose rows have an outcome ``y``, an arm ``arm_code`` and covariates ``X (row, covariate)``.

    Attributes
    ----------
    design : Dataset
        Coords hold all labels; attrs the names of columns and the family.
    """

    design: xr.Dataset

    def __getattr__(self, name):
        if name in ("family", "outcome", "treatment", "reference", "cluster", "unit"):
            return self.design.attrs[name]
        raise AttributeError(name)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels by dim, as PyMC takes them."""
        return {str(k): v.to_numpy() for k, v in self.design.coords.items()}

    def labels(self, dim: str) -> list[str]:
        """Labels of a dim; none if the model does not have it."""
        return [str(v) for v in self.design[dim].to_numpy()] if dim in self.design.coords else []

    @cached_property
    def contrasts(self) -> list[str]:
        """Arms but the reference."""
        return self.labels(self.treatment) if self.treatment else []

    @property
    def arms(self) -> str:
        """Name of the dim of all arms, the reference first."""
        return f"{self.treatment}_arm"

    @cached_property
    def y(self) -> np.ndarray:
        return self.design["y"].to_numpy()

    @cached_property
    def arm(self) -> np.ndarray:
        return self.design["arm_code"].to_numpy()

    @cached_property
    def X(self) -> np.ndarray:
        return self.design["X"].to_numpy()

    @cached_property
    def varying(self) -> list[str]:
        """What varies between clusters: intercept, arms, covariates."""
        return self.labels("varying")

    @property
    def q(self) -> int:
        """Number of random effects of a cluster."""
        return len(self.varying)

    @property
    def T(self) -> np.ndarray:
        """Arm indicators, (row, contrast)."""
        return indicators(self.arm, len(self.contrasts))


def indicators(arm: np.ndarray, contrasts: int) -> np.ndarray:
    """(row, contrast) indicators of the arms 1, 2, ..."""
    return (arm[:, None] == np.arange(1, contrasts + 1)).astype(float)


def flatten(values: xr.DataArray) -> np.ndarray:
    """Draws of a variable with chains stacked: (chain * draw, ...)."""
    a = values.transpose("chain", "draw", ...).to_numpy()
    return a.reshape(-1, *a.shape[2:])


def unstack(values: np.ndarray, draws: xr.Dataset, **dims) -> xr.DataArray:
    """(draw, ...) back to labelled chains and draws."""
    shape = (draws.sizes["chain"], draws.sizes["draw"])
    coords = {c: draws[c].to_numpy() if c in draws.coords else np.arange(draws.sizes[c]) for c in ("chain", "draw")}
    return xr.DataArray(values.reshape(*shape, *values.shape[1:]), dims=("chain", "draw", *dims), coords=coords | dims)
