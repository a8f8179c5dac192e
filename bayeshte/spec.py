"""What every model family promises, and what an estimand is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayeshte.errors import SpecError, near
from bayeshte.prior import Prior

if TYPE_CHECKING:
    from bayeshte.marginal.density import Density


@dataclass(frozen=True)
class Estimand:
    """A quantity a paper reports, as a function of the posterior.

    Attributes
    ----------
    name : str
        Short name, as printed in tables: ``"ATE"``.
    definition : str
        One line that says over what it averages.
    draws : callable
        ``draws(posterior, design) -> xr.DataArray`` with dims ``chain, draw`` and labelled dims of its own.
    scale : str
        ``"effect"``: on the scale of a treatment effect, so that thresholds and regions of equivalence apply;
        ``"ratio"``, ``"sd"``, ``"correlation"``, ``"share"``, ``"coefficient"``: they do not.
    headline : bool
        Whether a fit shows it at first sight.
    level, header : str
        Under which headings tables have it; empty where the family has none.
    """

    name: str
    definition: str
    draws: Callable[[xr.Dataset, xr.Dataset], xr.DataArray]
    scale: str = "effect"
    headline: bool = False
    level: str = ""
    header: str = ""


@dataclass(frozen=True)
class Description:
    """What reports, the command line and notebooks say of a model and cannot know themselves.

    Attributes
    ----------
    title : str
        Of a report.
    sentence : str
        The model as a methods section has it, after "We fitted": ``"a Bayesian multilevel model of ..."``.
    symbols : tuple of (str, str, str)
        Symbols of `ModelSpec.equations`: LaTeX, name in the tables, meaning.
    written : tuple of (str, str)
        What the user wrote as text, by role.
    coding : tuple of (str, DataFrame)
        How columns enter the model: a sentence and a table each.
    parameters : DataFrame, optional
        All rows of a parameter table, fixed ones too, in place of the list of priors: text, and ``prior``, the key of
        `ModelSpec.frozen_priors` that stands behind a row, or what else determines it.
    facts : tuple of (str, object)
        Rows of the data section: a label and a text, the values of a variable, or an `Estimand`.
    tables : tuple of (str, DataFrame)
        Tables of the data section with their titles.
    unit : str
        What the default priors are scaled by.
    integrated : str
        What the marginal density integrates, as a clause: ``"random effects were integrated out of the likelihood ..."``.
    effects : str
        What the table of effects shows.
    assumptions : tuple of (str, str)
        What a causal reading assumes: heading and paragraph; empty if nothing can be read causally.
    references : tuple of str
        Papers to cite for the model.
    plot : str
        The function that draws this model best.
    """

    title: str
    sentence: str
    symbols: tuple[tuple[str, str, str], ...] = ()
    written: tuple[tuple[str, str], ...] = ()
    coding: tuple[tuple[str, pd.DataFrame], ...] = ()
    parameters: pd.DataFrame | None = None
    facts: tuple[tuple[str, str | np.ndarray | Estimand], ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    unit: str = "the outcome's SD"
    integrated: str = ""
    effects: str = ""
    assumptions: tuple[tuple[str, str], ...] = ()
    references: tuple[str, ...] = ()
    plot: str = "plot_effect"


class ModelSpec(ABC):
    """Which columns play which role, and the priors; knows no values.

    A family is a frozen dataclass that implements these methods; nothing else of it is called by the package.
    docs/new-family.md builds one step by step.

    Attributes
    ----------
    latent : tuple of str
        Variables that `recover` stores and that are no parameters: random effects, what is computed from them.
    random_effects : tuple of str
        Sampled random effects that are not in `latent`, because the likelihood of a cluster is given them. Like those there
        they have the wider limit of R-hat: of a hundred that mix as they should, the largest passes that of one.
    """

    latent: ClassVar[tuple[str, ...]] = ()
    random_effects: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *args: object, **arguments: object) -> "ModelSpec":
        """A specification; SpecError for an argument that the family does not have, with the families that have it."""
        known = [f.name for f in fields(cls)]
        for name in arguments:
            if name not in known:
                others = [c.__name__ for c in ModelSpec.__subclasses__() if name in {f.name for f in fields(c)}]
                elsewhere = f"; {' and '.join(others)} {'has' if len(others) == 1 else 'have'} one" if others else ""
                raise SpecError(f"{cls.__name__} has no argument {name!r}{elsewhere}.{near(name, known)}")
        return super().__new__(cls)

    @abstractmethod
    def design(self, data: pd.DataFrame) -> xr.Dataset:
        """The data in model form, checked, with dims, labels and coding.

        Raises
        ------
        DataError, SpecError
            What is wrong with the data or the specification, and what to do.
        """

    @abstractmethod
    def frozen_priors(self, design: xr.Dataset) -> dict[str, Prior]:
        """Resolved priors by parameter label, frozen before anything is sampled."""

    @abstractmethod
    def joint(self, design: xr.Dataset, priors: Mapping[str, Prior], centred: bool = True) -> pm.Model:
        """The graph that people read: every latent effect is a random variable.

        ``centred=False`` draws random effects as standard normals times their scale: the same posterior, another geometry.
        With proper priors a potential is 0, or -inf at draws of the priors that are not allowed.
        """

    @abstractmethod
    def observed_columns(self, values: Mapping[str, np.ndarray], design: xr.Dataset) -> dict[str, np.ndarray]:
        """Columns of the data (draw, row) from values of the graph's observed variables (draw, ...), NaN where missing."""

    @abstractmethod
    def marginal(self, design: xr.Dataset, priors: Mapping[str, Prior]) -> "Density":
        """The log density that is sampled: the same free parameters, latent effects integrated where that is exact."""

    @abstractmethod
    def recover(self, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        """`draws` with what `marginal` integrated drawn back, and derived quantities added."""

    @abstractmethod
    def parameters(self, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
        """Label, label of the prior, and draws (chain, draw) of every parameter; each correlation once."""

    @abstractmethod
    def correlations(self, posterior: xr.Dataset) -> dict[str, np.ndarray]:
        """Draws (chain, draw, ..., q, q) of the correlation matrices that have one prior together, by its label."""

    @abstractmethod
    def summary(self, posterior: xr.Dataset, interval: str, level: float) -> pd.DataFrame:
        """The parameters as they are printed, in the schema of `bayeshte.summary`; other columns may stand in front."""

    @abstractmethod
    def expected(
        self,
        draws: xr.Dataset,
        design: xr.Dataset,
        *,
        arm: str | None = None,
        clusters: str = "these",
        frame: pd.DataFrame | None = None,
        weight: np.ndarray | None = None,
    ) -> xr.DataArray:
        """Expected outcome, row by row or averaged: the one place where potential outcomes are computed.

        Parameters
        ----------
        arm : str, optional
            The arm everybody is put into; without it everyone stays in their own (`weight` then needs `arm`).
        clusters : {"these", "new", "average"}
            Whose random effects: those of the clusters in the data, integrated over their distribution, or zero.
        frame : DataFrame, optional
            Other persons than those of the design, with the same columns.
        weight : ndarray (group, row), optional
            Return weighted means, one a group, instead of rows.
        """

    @abstractmethod
    def log_likelihood(self, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
        """Pointwise log-likelihood: ``unit="cluster"`` marginal over latent effects, ``unit="row"`` given them.

        `ItemResponse`, whose clusters are persons, takes ``"person_cluster"`` too.
        """

    @abstractmethod
    def replicates(
        self, draws: xr.Dataset, design: xr.Dataset, priors: Mapping[str, Prior], seed: int, clusters: str
    ) -> xr.Dataset:
        """New data, one set for each of the draws (one chain): what the model predicts, named as in the design, (draw, ...).

        ``clusters="these"``: given the latent effects that were drawn for the clusters in the data; ``"new"``: others from
        the same distribution. `replication.from_graph` does it where the joint graph has one outcome, `y`.
        """

    @abstractmethod
    def discrepancies(self, design: xr.Dataset) -> Callable[..., dict[str, float]]:
        """A function of the arrays that `replicates` replaces, observed or replicated: statistics for predictive checks."""

    @abstractmethod
    def estimands(self, design: xr.Dataset) -> list[Estimand]:
        """What a paper reports of this model."""

    @abstractmethod
    def equations(self, design: xr.Dataset) -> list[str]:
        """The model as LaTeX lines, with the user's column names."""

    @abstractmethod
    def describe(self, design: xr.Dataset) -> Description:
        """The words of a report."""
