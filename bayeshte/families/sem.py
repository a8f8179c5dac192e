"""Structural equation models for trials, on one level or two: mediation, path models, factors.

Variables on both levels are split into latent parts, y_ij = b_j + w_ij (Lüdtke et al., 2008; Jak, 2025), and each level has a
linear model of its own,

    f = c q + B f + zeta,   zeta ~ N(0, Psi),

with f the parts of the observed variables and the factors of the level, q the constant and the covariates it conditions on.
The model text says which elements of B, c and Psi are free (`bayeshte.model_text`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families import sem_graph, sem_likelihood, sem_priors, sem_replication
from bayeshte.families.sem_categorical import (
    category_labels,
    check_logit,
    given_labels,
    residual_variances,
    responses,
    sampled_priors,
)
from bayeshte.families.sem_description import describe
from bayeshte.families.sem_design import build, check_spec, data_of
from bayeshte.families.sem_draws import correlations, derived, named, parameters, stacked, summary
from bayeshte.families.sem_equations import equations
from bayeshte.families.sem_estimands import estimands
from bayeshte.families.sem_likelihood import slopes_of
from bayeshte.families.sem_matrices import matrices
from bayeshte.families.sem_prediction import expected
from bayeshte.families.sem_start import guess, signed_sds
from bayeshte.families.sem_structure import VARIABLES, Structure
from bayeshte.marginal import (
    cluster_products,
    structural,
    structural_categorical,
    structural_draws,
    structural_pilot,
    structural_products,
)
from bayeshte.marginal.density import Density, Output
from bayeshte.marginal.matrices import Matrices
from bayeshte.marginal.sufficient import statistics
from bayeshte.model_text import ParameterTable, parameter_table
from bayeshte.model_text.parts import split
from bayeshte.prior import OTHERS, Prior
from bayeshte.spec import Description, Estimand, ModelSpec

#: variables of a posterior, in the order of the tables
STORED = (*VARIABLES, "derived", "cluster_mean", "slope")


@dataclass(frozen=True, kw_only=True)
class SEM(ModelSpec):
    """A structural equation model of continuous and categorical variables, from model text.

    Parameters
    ----------
    model : str
        Model of one level, in lavaan's operators.
    within, between : str
        Models of the two levels. A variable in both texts is on both levels and split into its two latent parts; one in
        `within` only has no part between clusters; one in `between` only is a variable of clusters.
    cluster : str, optional
        Column of the clusters.
    categorical : sequence of str, or mapping of str to str
        Variables of rows or of clusters that are ordered categories, two or more, whole numbers or ordered categoricals: the
        model is one of their latent responses, with residual variance 1 and thresholds ``y | t1 + t2``. A mapping names the
        link, ``"probit"`` (what a sequence means) or, for variables that nothing but their own equation explains, ``"logit"``.
    derived : mapping of str to str
        Quantities computed from labels in every draw: ``{"indirect": "a*b"}``.
    priors : str or mapping
        ``"default"`` (weakly informative, scaled to the data), ``"mplus"`` (its flat set), or overrides of the default, by
        label (``"b1"``), by row (``"between: advant ~ treat"``) or by variable (``"sd"``). The key ``"others"`` names the set
        that is overridden: ``{"b1": Normal(0, 1), "others": "mplus"}``. ``"cov[within: a ~~ b]"`` is the prior of one
        covariance, ``"cov[within: a, b, c]"`` an `InverseWishart` of the covariance matrix of residuals that all covary freely.

    Examples
    --------
    >>> SEM(
    ...     cluster="school",
    ...     within="mvpa ~ w1*advant",
    ...     between="mvpa ~ b*advant; advant ~ a*treat",
    ...     derived={"indirect": "a*b", "contextual": "b - w1"},
    ... )
    """

    latent = ("cluster_mean", "slope", "derived")

    model: str = ""
    within: str = ""
    between: str = ""
    cluster: str | None = None
    categorical: Sequence[str] | Mapping[str, str] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    priors: str | Mapping[str, Prior] = "default"

    def __post_init__(self):
        check_spec(self)
        check_logit(self.structure)
        matrices(self.structure, np.zeros((1, len(self.structure.moderators))))  # refuses what cannot be built

    @cached_property
    def links(self) -> dict[str, str]:
        """The link of every categorical variable."""
        return (
            dict(self.categorical)
            if isinstance(self.categorical, Mapping)
            else dict.fromkeys(self.categorical, "probit")
        )

    @cached_property
    def table(self) -> ParameterTable:
        """The parameter table: every row of the model, with what the rules added.

        Of thresholds it has the first ones and those that are written; `structure_of` knows all that the data have.
        """
        return self._table(())

    def _table(self, thresholds: Sequence[tuple[str, str]]) -> ParameterTable:
        texts = {"model": self.model} if self.model else {"within": self.within, "between": self.between}
        return parameter_table(
            **texts, derived=self.derived, categorical=residual_variances(self.links), thresholds=thresholds
        )

    @cached_property
    def structure(self) -> Structure:
        """Where every row of the table stands in the matrices."""
        given = {} if isinstance(self.priors, str) else self.priors
        named = {k: p for k, p in given.items() if k.startswith("cov[") and isinstance(p, Prior)}
        bounded = frozenset(k for k, p in named.items() if p.support == "interval")
        wishart = bool(self.links) and (self.priors if isinstance(self.priors, str) else given.get(OTHERS)) == "mplus"
        return Structure(self.table, self.links, frozenset(named), bounded, wishart)

    def structure_with(self, thresholds: Sequence[tuple[str, str]]) -> Structure:
        """`structure` with these thresholds, ``("y", "t2")``."""
        further = tuple(pair for pair in thresholds if pair[1] != "t1")
        if not further:
            return self.structure
        if further not in self._structures:
            self._structures[further] = replace(self.structure, table=self._table(further))
        return self._structures[further]

    def structure_of(self, known: xr.Dataset) -> Structure:
        """`structure` with all thresholds, which a design and a posterior know."""
        if not self.links:
            return self.structure
        names = known["thresholds"].to_numpy() if "thresholds" in known.coords else []
        found = [tuple(str(v).rpartition(": ")[2].rsplit(" | ", 1)) for v in names if " | t" in str(v)]
        return self.structure_with(found)

    @cached_property
    def _structures(self) -> dict[tuple, Structure]:
        return {}

    def design(self, data: pd.DataFrame) -> xr.Dataset:
        """The data in model form; see `ModelSpec.design`."""
        return build(self, self.structure, data)

    def frozen_priors(self, design: xr.Dataset) -> dict[str, Prior]:
        """Priors by parameter: ``path[between: advant ~ treat]``, ``sd[within: mvpa]``, ``corr[within: advant, peers]``.

        Raises
        ------
        SpecError
            Parameters that the data cannot tell apart and no prior of the user's does.
        """
        return sem_priors.resolve(self.priors, self.structure_of(design), design, data_of(design))

    def _matrices(self, design: xr.Dataset) -> Matrices:
        return matrices(self.structure_of(design), design["slots"].to_numpy())

    def joint(self, design: xr.Dataset, priors: Mapping[str, Prior], centred: bool = True) -> pm.Model:
        """The model as it is written above, cluster means included; it has one form, the centred one."""
        if not centred:
            raise SpecError("The graph of a SEM has the centred form only: leave out centred=False.")
        return sem_graph.joint(self.structure_of(design), design, data_of(design), self._matrices(design), priors)

    def observed_columns(self, values: Mapping[str, np.ndarray], design: xr.Dataset) -> dict[str, np.ndarray]:
        """Every modelled variable, that of clusters in every row of a cluster; categories as the data have them.

        Raises
        ------
        SpecError
            If one is computed, ``mean(x)``: no values of x follow from it.
        """
        computed = [v for v in self.structure.own if split(v)[0]]
        if computed:
            raise SpecError(
                f"{computed[0]} is computed from the data and cannot be simulated: make a column of it and name that instead."
            )
        s = self.structure_of(design)
        out = sem_graph.observed_columns(s, self._matrices(design), data_of(design), values)
        return out | given_labels(s, design, out)

    def marginal(self, design: xr.Dataset, priors: Mapping[str, Prior]) -> Density:
        """The log density that is sampled: cluster means, factors and missing values integrated exactly.

        Of every product of two latent variables one is sampled by row, see marginal/kernels/structural_products.py, and with two
        levels the cluster means are, see marginal/kernels/structural_cluster_products.py.
        """
        s, m = self.structure_of(design), self._matrices(design)
        factors = sem_priors.factors(s, priors)
        scalars = sampled_priors(s, factors)
        signed = signed_sds(s, factors)
        outputs = [Output("_scalars", (m.scalars,)), Output("_correlations", (m.correlations,))]
        if m.slopes:
            outputs.append(Output("slope", (design.sizes[self.cluster], len(m.slopes)), (self.cluster, "slopes")))
        data = data_of(design)
        start, unit = guess(s, scalars, signed, sem_priors.Scales(s, design, data), m.correlations)
        blocks = [priors[k] for k in (*(b.key for b in s.blocks), *(key for key, _ in s.covariances_in_blocks))]
        means = [s.position["intercept", f"between: {v}"] for v in self.table.slopes]
        spreads = [s.place(row) for row in (s.sd("between", v) for v in self.table.slopes) if row.fixed is None]
        if self.links or m.products:  # what varies between clusters is sampled
            parts = len(structural_categorical.varying(m))
            outputs = outputs[:2] + ([Output("_parts", (design.sizes[self.cluster], parts))] if parts else [])
        if self.links:
            given = (scalars, signed, blocks, tuple(outputs), start, unit)
            return structural_categorical.density(m, data, responses(s, priors), *given, means, spreads)
        given = (scalars, signed, blocks, tuple(outputs), start, unit)
        if m.products and m.levels == 1:
            return structural_products.density(m, data, *given)
        if m.products:
            return cluster_products.density(m, data, *given)
        if not m.slopes:
            return structural.density(m, statistics(data), *given)
        return structural_pilot.density(m, data, *given, means, spreads)

    def recover(self, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        """Parameters by name, `derived` quantities, and the latent `cluster_mean`s drawn from their exact conditional."""
        s = self.structure_of(design)
        if "_scalars" in draws:
            draws = draws.assign(named(s, draws))
        if "_parts" in draws:
            draws = draws.assign(self._parts(draws, design))
        out = draws[[v for v in STORED if v in draws]]
        if self.table.derived and "derived" not in out:
            out = out.assign(derived=derived(s, out))
        if s.both and "cluster_mean" not in out:
            shape = (out.sizes["chain"], out.sizes["draw"], design.sizes[self.cluster], len(s.both))
            both = np.array([s.within.index(v) for v in s.both])
            given = (self._matrices(design), data_of(design), stacked(s, out), both, rng, slopes_of(out))
            b = structural_draws.draw_cluster_means(*given)
            dims = ("chain", "draw", self.cluster, "between_variable")
            out = out.assign(cluster_mean=(dims, b.reshape(shape), {"drawn_exactly": 1}))
            out = out.assign_coords({d: design[d].to_numpy() for d in dims[2:]})
        return out

    def _parts(self, draws: xr.Dataset, design: xr.Dataset) -> dict[str, xr.DataArray]:
        """`cluster_mean` and `slope` from the sampled parts of clusters; a mean without variance of its own is not among them."""
        x = draws["_parts"].transpose("chain", "draw", ...).to_numpy()
        which = structural_categorical.varying(self._matrices(design)).tolist()
        s = self.structure_of(design)
        names = s.variables(s.levels[1])
        places = {"cluster_mean": ("between_variable", s.both), "slope": ("slopes", list(s.table.slopes))}
        return {
            name: xr.DataArray(
                x[..., [which.index(names.index(v)) for v in variables]],
                {"chain": draws["chain"], "draw": draws["draw"], self.cluster: design[self.cluster], dim: variables},
                ("chain", "draw", self.cluster, dim),
            )
            for name, (dim, variables) in places.items()
            if variables
        }

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
        """Expected values of every variable, (chain, draw, row, within_variable); see `ModelSpec.expected`.

        Of a categorical variable that of its latent response.
        """
        if arm is not None or weight is not None:
            raise SpecError(
                "A SEM has no arms: set the covariate in the data, such as data.assign(treat=1), and predict."
            )
        return expected(self.structure_of(design), self._matrices(design), draws, design, clusters, frame)

    def parameters(self, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
        """Label, label of the prior, and draws of every free number; correlations of blocks share a prior."""
        return parameters(self.structure_of(posterior), posterior)

    def correlations(self, posterior: xr.Dataset) -> dict[str, np.ndarray]:
        """Draws of the correlation matrix of every block, or of its covariance matrix where the prior is of that."""
        return correlations(self.structure_of(posterior), posterior)

    def summary(self, posterior: xr.Dataset, interval: str, level: float) -> pd.DataFrame:
        """The parameter table with estimates: `level`, `header`, `label` in front; variances and covariances, not SDs."""
        return summary(self.structure_of(posterior), posterior, interval, level)

    def log_likelihood(self, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
        """By cluster with all latent variables integrated, or by row given the cluster means and random slopes.

        With products of latent variables on two levels there is none by cluster: SpecError.

        Random slopes, members of products of latent variables, and with categorical variables all that is latent, are integrated
        numerically: the largest number of `nodes` and the `quadrature_error`, in nats (see `Integral` in
        marginal/structural_integration.py, structural_product_integration.py and structural_categorical_integration.py), are
        attributes beside `integrated`, which says it in words.
        """
        return sem_likelihood.log_likelihood(self.structure_of(design), self._matrices(design), draws, design, unit)

    def replicates(
        self, draws: xr.Dataset, design: xr.Dataset, priors: Mapping[str, Prior], seed: int, clusters: str
    ) -> xr.Dataset:
        """New `Y`, and with clusters new `V`, from the implied moments, with the missing values of the data.

        Categories are numbers from 0, as in the design: latent responses between the thresholds.
        """
        s, these = self.structure_of(design), None
        if clusters == "these" and s.two_level:
            places = s.variables(s.levels[1])
            given = {"cluster_mean": ("between_variable", s.both), "slope": ("slopes", s.table.slopes)}
            these = {
                places.index(v): draws[name].sel({dim: v}).transpose("chain", "draw", self.cluster).to_numpy()[0]
                for name, (dim, variables) in given.items()
                for v in variables
            }
        rng = np.random.default_rng(seed)
        given = (self._matrices(design), responses(s), data_of(design), stacked(s, draws))
        Y, V = sem_replication.replicate(*given, rng, these)
        found = {"Y": Y, "V": V} if s.two_level else {"Y": Y}
        return xr.Dataset({v: design[v].expand_dims(draw=len(x)).copy(data=x) for v, x in found.items()})

    def discrepancies(self, design: xr.Dataset) -> Callable[..., dict[str, float]]:
        """Moments of every variable (shares of categories), SDs of cluster means, correlations within clusters and between."""
        s = self.structure_of(design)
        return sem_replication.statistics(s, data_of(design), category_labels(s, design))

    def estimands(self, design: xr.Dataset) -> list[Estimand]:
        """Derived quantities, total, indirect and contextual effects, ICC, R-square, standardised paths."""
        return estimands(self.structure_of(design), self._matrices(design), design)

    def equations(self, design: xr.Dataset) -> list[str]:
        """The model as LaTeX lines, level by level."""
        return equations(self.structure_of(design), self.cluster)

    def describe(self, design: xr.Dataset) -> Description:
        """The model and its data in words."""
        return describe(
            self, self.structure_of(design), design, [e for e in self.estimands(design) if e.header == "ICC"]
        )
