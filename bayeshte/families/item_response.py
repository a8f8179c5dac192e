"""Treatment effects that vary over the items of a test or scale (Gilbert, Himmelsbach, Soland & Domingue, 2025).

For person j with arm indicators T_j (one for every arm but the reference), covariates X and moderators M, in cluster c, and
item i with covariates W, answered right (1) or wrong (0):

    F^-1 P(y_ij = 1) = a_i eta_ij,   eta_ij = theta_j + b_i + zeta_i' T_j                                (1)
    theta_j = (beta0 + v0_c) + (beta1 + beta3 M_j + v1_c)' T_j + beta2' X_j + eps_j,   eps_j ~ N(0, sigma_theta^2)   (2)
    (b_i, zeta_i) = (gamma' W_i, delta W_i) + u_i,   u_i ~ N(0, S),   S of sigma_b, sigma_zeta and rho     (3)
    (v0_c, v1_c) ~ N(0, Psi),   Psi = diag(sd) corr diag(sd)                                             (4)
    log a_i ~ N(0, sigma_a^2)                                                                            (5)

b is easiness: an item with a larger b is answered right more often, and rho > 0 says that easier items gain more.
beta1 is the effect on an item of average gain (with W = 0), zeta_i how much more item i gains, so that the effect on
item i is beta1 + zeta_i. F is logistic or normal. All discriminations a_i are one (Rasch) or have the geometric mean
one in the population of items (2PL): abilities are in units of an average item, log odds or probits, and sigma_theta
is free. sigma_theta may differ by arm. Without item effects zeta is zero, and (3) is b_i ~ N(gamma' W_i, sigma_b^2).
Fixed items have no S: b and zeta sum to zero over items and have wide normal priors. Without clusters v is zero; which
of the arms' effects vary over clusters is said by `varying`. With several arms S has an SD and rho a row for each.

Responses in categories 0, ..., K_i - 1 have, in place of (1), thresholds tau_ik that sum to zero over k:

    graded          F^-1 P(y_ij >= k) = a_i (eta_ij - tau_ik),   tau_i1 < tau_i2 < ...   (Samejima, 1969)
    partial credit  log P(y_ij = k) / P(y_ij = k - 1) = a_i (eta_ij - tau_ik)            (Masters, 1982; Muraki, 1992, with a_i)

so that b_i is where the middle of an item's thresholds is, and with two categories both are (1).

On two occasions t, before (0) and after (1), a person has two abilities, and nobody is treated before:

    theta_j0 = (beta0 + v0_c) + beta2' X_j + eps_j0                                                      (2')
    theta_j1 = (beta0 + v0_c) + beta_time + (beta1 + beta3 M_j + v1_c)' T_j + beta2' X_j + eps_j1
    (eps_j0, eps_j1) ~ N(0, Sigma),   Sigma of sigma_theta[before], sigma_theta[after] and rho_theta

and the items the levels b_i before and b_i + drift_i + zeta_i' T_j after, drift_i ~ N(0, sigma_drift^2). beta_time and
drift are the change without treatment, of persons and of items, which the persons in the reference arm show: beta1 and
zeta are what treatment adds to it. That arms do not differ before is by random assignment (constrained longitudinal
analysis; Liang & Zeger, 2000). Where everybody is treated after, there is neither beta_time nor drift, and beta1 + zeta_i
is the whole change on item i.

The published models are A: item effects, no covariates; B: ``item_effects=False`` with a moderator; C: both.
`ability_mean`, `easiness` and item_response_curves.py are the only places where (2) and (1) are written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayeshte.families import item_response_clusters
from bayeshte.families import item_response_estimands as reports
from bayeshte.families import item_response_outcomes as outcomes
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_curves import with_shapes
from bayeshte.families.item_response_description import describe
from bayeshte.families.item_response_design import build, check_spec
from bayeshte.families.item_response_equations import equations
from bayeshte.families.item_response_graph import joint
from bayeshte.families.item_response_names import LATENT, STORED
from bayeshte.families.item_response_priors import fixed_labels, resolve, scalars
from bayeshte.marginal import item_response
from bayeshte.marginal.density import Density, Output
from bayeshte.prior import Prior
from bayeshte.spec import Description, Estimand, ModelSpec
from bayeshte.summary import elements, table


@dataclass(frozen=True, kw_only=True)
class ItemResponse(ModelSpec):
    """Treatment effects that vary over items: an item response model of responses, one a row.

    Rows without a response are left out and counted: persons may have seen different items, by design or because what is
    missing depends on nothing but the responses that are there (and on arm and covariates).

    Parameters
    ----------
    person, item, response, treatment : str
        Columns: who answered, what, whether right (0/1 or boolean) or in which category (whole numbers, or an ordered
        categorical), and the arm of the person, one of two or more.
    reference : str, optional
        The arm the others are compared with; needed unless the column is 0/1 or boolean.
    cluster : str, optional
        Column of clusters of persons (schools, clinics), over which the mean ability varies.
    occasion : str, optional
        Column of two occasions, before and after treatment, in this order: numbers, booleans or an ordered categorical. The
        treatment is then the arm that a person was assigned to, or the condition on each occasion: nobody is treated before. In
        a trial beta_time is the change without treatment and beta1 what treatment adds to it; where everybody is treated after,
        beta1 is the change itself. Some items must be answered on both occasions; who was seen once is kept.
    covariates : str
        Formula right-hand side of covariates of persons, ``"pretest + C(site)"``.
    moderators : str
        Formula right-hand side of what the effect on the ability depends on; every term enters by itself and times the
        treatment.
    varying : str or tuple of str
        Which arms' effects vary over the clusters: ``"all"``, an arm, several, or ``()``; the last where whole clusters were
        assigned to arms.
    item_effects : bool
        Whether the effect varies over items.
    item_covariates : str
        Formula right-hand side of what explains easiness and, with item effects, effects of items: ``"content + C(format)"``.
    items : str
        ``"random"``: a draw from a population of items; ``"fixed"``: these items, easiness and effects each sum to zero.
    sigma_by_arm : bool
        Whether the residual SD of abilities differs by arm.
    model : str
        Right or wrong: ``"rasch"``, all items discriminate alike, or ``"2pl"``. Ordered categories: ``"graded"``, ``"partial
        credit"`` (all items discriminate alike), ``"generalized partial credit"``; items may have different numbers of
        categories, and categories that nobody chose on an item are closed up.
    link : str
        ``"logit"`` or, but for partial credit, ``"probit"``.
    priors : str or mapping
        ``"default"`` (weakly informative, on the scale of log odds), or overrides of it by label:
        ``{"beta1": bh.Normal(0, 1), "sigma_zeta": bh.HalfNormal(0.5), "rho": bh.LKJ(1)}``.

    Examples
    --------
    >>> spec = ItemResponse(person="child", item="word", response="right", treatment="arm", reference="control")
    """

    latent = LATENT
    random_effects = ("b", "zeta", "drift", "a", "tau", "v")

    person: str
    item: str
    response: str
    treatment: str
    reference: str | None = None
    cluster: str | None = None
    occasion: str | None = None
    covariates: str = ""
    moderators: str = ""
    varying: str | tuple[str, ...] = "all"
    item_effects: bool = True
    item_covariates: str = ""
    items: str = "random"
    sigma_by_arm: bool = False
    model: str = "rasch"
    link: str = "logit"
    priors: str | Mapping[str, Prior] = "default"

    def __post_init__(self):
        check_spec(self)

    def design(self, data: pd.DataFrame) -> xr.Dataset:
        """The data in model form; see `ModelSpec.design`."""
        return build(self, data)

    def frozen_priors(self, design: xr.Dataset) -> dict[str, Prior]:
        """Priors by parameter label: ``beta0``, ``beta1``, ``beta2[pretest]``, ..., ``sigma_b``, ``sigma_theta``, ``rho``."""
        return resolve(self.priors, design)

    def joint(self, design: xr.Dataset, priors: Mapping[str, Prior], centred: bool = True) -> pm.Model:
        """The model as it is written above: abilities `theta`, effects of items `u` and of clusters `v` included."""
        return joint(design, priors, centred)

    def observed_columns(self, values: Mapping[str, np.ndarray], design: xr.Dataset) -> dict[str, np.ndarray]:
        """The responses, categories under the labels that they have on their item."""
        return {self.response: outcomes.labelled(self.response, values["y"], design)}

    def marginal(self, design: xr.Dataset, priors: Mapping[str, Prior]) -> Density:
        """The log density that is sampled: abilities integrated, effects of items and clusters sampled in good coordinates."""
        D = Arrays(design)
        fixed = np.array([priors[v]["sigma"] for v in fixed_labels(D)]) if D.fixed else None
        lkj = (None if D.fixed else priors.get("rho"), priors.get("corr"), priors.get("rho_theta"))
        given = D.W, fixed, scalars(priors, D), lkj, len(D.sigmas), tuple(self._outputs(D)), D.pairs
        data = D.responses
        if D.threshold_prior:
            prior = priors[D.threshold_prior]
            form = replace(data.categories.form, step=(prior["mu"], prior["sigma"]))
            data = replace(data, categories=replace(data.categories, form=form))
        return item_response.density(data, item_response.Structure(D.item_effects_of_cells, D.q, *given))

    def _outputs(self, D: Arrays) -> list[Output]:
        """What the kernel stores, in its order."""
        arm = (D.n_contrasts,) if D.contrast_dims else ()
        x, m, w, s = (D.design.sizes[v] for v in ("covariate", "moderator", "item_covariate", "cluster_varying"))
        out = [Output("beta0", ()), Output("beta1", arm, D.contrast_dims)]
        out += [Output("beta_time", ())] if D.untreated_after else []
        out += [Output("beta2", (x,), ("covariate",))] if x else []
        out += [Output("beta3", (*arm, m), (*D.contrast_dims, "moderator"))] if m else []
        out += [Output("gamma", (w,), ("item_covariate",))] if w else []
        out += [Output("delta", (*arm, w), (*D.contrast_dims, "item_covariate"))] if w and D.q > 1 else []
        out += [] if D.fixed else [Output("sigma_b", ())]
        out += [Output("sigma_zeta", arm, D.contrast_dims)] if D.q > 1 and not D.fixed else []
        out += [Output("sigma_drift", ())] if D.untreated_after else []
        out += [Output("sd", (s,), ("cluster_varying",))] if s else []
        free, steps = D.form is not None and D.form.free, len(D.labels("threshold_step"))
        out += [Output("sigma_a", ())] if free else []
        several = (len(D.sigmas),) if len(D.sigmas) > 1 else ()
        out.append(Output("sigma_theta", several, (D.occasion or D.arm_dim,) if several else ()))
        out += [] if D.fixed else [Output("_corr_factor", (D.q, D.q), ("varying", "varying_"))]
        out += [Output("_cluster_factor", (s, s), ("cluster_varying", "cluster_varying_"))] if s else []
        out.append(Output("u", (D.n_items, D.q), (D.item, "varying")))
        out += [Output("drift", (D.n_items,), (D.item,))] if D.untreated_after else []
        out += [Output("v", (D.n_clusters, s), (D.cluster, "cluster_varying"))] if s else []
        out += [Output("log_a", (D.n_items,), (D.item,))] if free else []
        out += [Output("step", (steps,), ("threshold_step",))] if steps else []
        return out + ([Output("rho_theta", ())] if D.occasion else [])

    def recover(self, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        """Adds `b`, `zeta`, correlations, every item's `effect`, and abilities `theta` unless they are too many."""
        D = Arrays(design)
        draws = with_shapes(reports.with_items(draws, D), D)
        for name, factor, dims in (
            ("rho", "_corr_factor", ("varying", "varying_")),
            ("corr", "_cluster_factor", ("cluster_varying", "cluster_varying_")),
        ):  # the kernel stores the Cholesky factor, the joint graph both
            if factor in draws and name not in draws and draws.sizes[dims[0]] > 1:
                L = draws[factor].transpose("chain", "draw", *dims).to_numpy()
                matrix = L @ L.mT
                matrix[..., range(L.shape[-1]), range(L.shape[-1])] = 1.0
                single = name == "rho" and not D.contrast_dims
                draws[name] = (("chain", "draw"), L[..., 1, 0]) if single else (("chain", "draw", *dims), matrix)
        if "theta" not in draws and draws.sizes["chain"] * draws.sizes["draw"] * D.n_sittings <= outcomes.KEPT:
            theta = outcomes.draw_abilities(D, draws, rng)
            dims = {v: D.labels(v) for v in (D.person, D.occasion) if v}
            draws = draws.assign(theta=outcomes.unstack(theta, draws, **dims))
            draws["theta"].attrs["drawn_exactly"] = 1
        return draws[[v for v in STORED if v in draws]]

    def parameters(self, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
        """Label, label of the prior, and draws of every parameter with a prior of its own; random effects have none."""
        out = []
        others = (*LATENT, "v", "a", "tau", "drift", *(() if "sigma_b" not in posterior else ("b", "zeta")))
        for name in [v for v in posterior.data_vars if v not in others]:
            labels, x = elements(posterior[name])
            keep = range(len(labels))
            if name in ("rho", "corr") and posterior[name].ndim > 2:
                n = posterior[name].shape[-1]
                keep = np.flatnonzero(np.tril(np.ones((n, n)), -1).T.ravel())
            for k in keep:
                prior = name if name in ("rho", "corr", "b") else _prior_of(labels[k], name, posterior[name].dims)
                out.append((labels[k], prior, xr.DataArray(x[..., k], dims=("chain", "draw"))))
        return out

    def correlations(self, posterior: xr.Dataset) -> dict[str, np.ndarray]:
        """Draws of the correlation matrices of easiness and effects of items, of the effects of clusters, of abilities."""
        out = {}
        for name in [v for v in ("rho", "corr", "rho_theta") if v in posterior]:
            values = posterior[name].transpose("chain", "draw", ...).to_numpy()
            out[name] = values if values.ndim > 2 else np.where(np.eye(2, dtype=bool), 1.0, values[..., None, None])
        return out

    def summary(self, posterior: xr.Dataset, interval: str, level: float) -> pd.DataFrame:
        """The parameters, one a row; `bayeshte.cluster_effects` has the items."""
        return table([(label, x) for label, _, x in self.parameters(posterior)], interval, level)

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
        """Chance of a right answer, or mean category, of rows, or weighted means; clusters are persons. See `ModelSpec`."""
        return outcomes.expected(self, draws, design, arm, clusters, frame, weight)

    def log_likelihood(self, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
        """By person with the ability integrated, given the items; by row given both; or by cluster of persons ("person_cluster"),
        their effect integrated too."""
        if unit == "person_cluster":
            return item_response_clusters.log_likelihood(draws, design)
        return outcomes.log_likelihood(draws, design, unit)

    def replicates(
        self, draws: xr.Dataset, design: xr.Dataset, priors: Mapping[str, Prior], seed: int, clusters: str
    ) -> xr.Dataset:
        """New responses of these persons or of new ones to these items."""
        return outcomes.replicates(draws, design, seed, clusters)

    def discrepancies(self, design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
        """By arm the mean and the spread of persons and items; the spread of the differences over items, and of clusters."""
        return reports.discrepancies(design)

    def estimands(self, design: xr.Dataset) -> list[Estimand]:
        """Average and item effects, standardised too, their spread and correlation with easiness, the difference in scores."""
        return reports.estimands(design)

    def equations(self, design: xr.Dataset) -> list[str]:
        """The model as LaTeX lines, with the user's column names."""
        return equations(self, design)

    def describe(self, design: xr.Dataset) -> Description:
        """The model and its data in words."""
        return describe(self, design)


def _prior_of(label: str, name: str, dims: tuple) -> str:
    """Label of the prior of an element: of `zeta` of fixed items that of its arm, else its own."""
    if name != "zeta":
        return label
    return f"zeta[{label.removeprefix('zeta[').split(', ')[0]}]" if len(dims) > 3 else "zeta"
