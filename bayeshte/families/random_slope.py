"""Treatment effects that vary across clusters and with covariates (Kim, Buhrman & Liao, 2025, sections 3.1 and 3.3).

For person i in cluster j, arm indicators T (one for every arm but the reference), covariates X, moderators M:

    eta_ij = (gamma0 + U0_j) + (gamma1 + gamma3 M_ij + U1_j) T_ij + gamma2' X_ij + U2_j' S_ij
    (U0_j, U1_j, U2_j) ~ N(0, tau),  tau = diag(sd) corr diag(sd)

    Gaussian    Y_ij = eta_ij + e_ij,  e_ij ~ N(0, sigma^2), sigma by arm on request, or known (meta-analysis)
    Student t   Y_ij = eta_ij + e_ij,  e_ij ~ t_nu(0, sigma)
    skew normal Y_ij = eta_ij + e_ij,  e_ij skew normal (Azzalini, 1985) with mean 0, SD sigma and shape alpha
    logit       P(Y_ij = 1) = 1 / (1 + exp(-eta_ij));   probit  P(Y_ij = 1) = Phi(eta_ij)
    Poisson     Y_ij ~ Poisson(exp(eta_ij))
    negative binomial   E(Y_ij) = exp(eta_ij) = mu_ij,  Var(Y_ij) = mu_ij + mu_ij^2 / phi
    ordered     P(Y_ij >= k) = F(eta_ij - kappa_k), F logistic or normal; kappa_1 = 0, kappa_k+1 = kappa_k + width_k

Any of the random effects may be absent. `linear_predictor` below is the only place where the first line is written: the
PyMC graph and the potential outcomes of the estimands both call it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from bayeshte import categories
from bayeshte import design as columns
from bayeshte.families import random_slope_estimands as reports
from bayeshte.families import random_slope_outcomes as outcomes
from bayeshte.families.random_slope_arrays import LATENT, STORED, Arrays, derived, label, scalars
from bayeshte.families.random_slope_categories import probabilities
from bayeshte.families.random_slope_description import describe
from bayeshte.families.random_slope_design import build, check_spec
from bayeshte.families.random_slope_equations import equations
from bayeshte.families.random_slope_priors import resolve
from bayeshte.families.random_slope_skewness import skew_normal
from bayeshte.marginal import gaussian, glmm
from bayeshte.marginal.density import Density, Output
from bayeshte.marginal.glmm_outcomes import ORDERED, SHAPES
from bayeshte.prior import Prior, random_variable
from bayeshte.replication import from_graph
from bayeshte.spec import Description, Estimand, ModelSpec
from bayeshte.summary import table


def linear_predictor(T, X, M, S, gamma0, gamma1, gamma2, gamma3, u0, u1, u2):
    """eta = (gamma0 + U0) + (gamma1 + gamma3 M + U1) T + gamma2' X + U2' S, for NumPy arrays and PyTensor variables alike.

    Parameters
    ----------
    T, X, M, S : (row, contrast), (row, covariate), (row, moderator), (row, slope)
        Arm indicators, covariates, moderators, covariates with random slopes.
    gamma0, gamma1, gamma2, gamma3 : (...), (..., contrast), (..., covariate), (..., contrast, moderator)
        Coefficients, with any leading dims (draws).
    u0, u1, u2 : (..., row), (..., row, contrast), (..., row, slope)
        Random effects of each row's cluster, or 0.
    """
    effect = gamma1[..., None, :] + M @ gamma3.mT + u1
    return gamma0[..., None] + u0 + (effect * T).sum(-1) + (X @ gamma2[..., None])[..., 0] + (u2 * S).sum(-1)


@dataclass(frozen=True, kw_only=True)
class RandomSlope(ModelSpec):
    """Treatment effects that vary across clusters and with covariates.

    Parameters
    ----------
    outcome : str
        Column of the outcome.
    treatment : str, optional
        Column of the arms, two or more. Without it, the model has no treatment effect (cluster effects only).
    reference : str, optional
        The arm the others are compared with; needed unless the column is 0/1 or boolean.
    cluster : str, optional
        Column of the clusters. Without it, nothing varies across clusters.
    covariates : str
        Formula right-hand side of covariates at any level, ``"age + C(site) + meanses:cses"``.
    moderators : str
        Formula right-hand side of what the effect depends on; every term enters by itself and times every arm.
        ``"bs(age, df=4)"`` makes a smooth conditional effect.
    varying : str or tuple of str
        Which arms' effects vary across clusters: ``"all"``, an arm, several, or ``()``.
    intercept_varies : bool
        Whether the outcome in the reference arm varies across clusters. False with a varying effect is the model of
        partially nested trials (clusters exist in the treated arm only).
    slopes : str
        Formula right-hand side of covariates whose slope varies across clusters.
    within_between : tuple of str
        Covariates to split at their observed cluster means: ``ses`` gives ``ses_within`` and ``ses_between`` and the
        contextual effect, their difference. Both names can be used in formulas.
    family : str
        ``"gaussian"``, ``"student"``, ``"skew normal"``, ``"logit"``, ``"probit"``, ``"poisson"``, ``"negative binomial"``,
        ``"ordered logit"`` or ``"ordered probit"`` (ordered categories: whole numbers, or an ordered categorical).
    sigma_by_arm : bool
        Whether the residual SD differs by arm (Gaussian).
    standard_error : str, optional
        Column of known standard errors of the outcome: aggregated input, the meta-analytic form.
    missing : str
        ``"error"`` refuses missing values and says where they are, ``"drop"`` analyses the complete rows and reports the rest.
    priors : str or mapping
        ``"default"`` (weakly informative, scaled to the data), ``"mplus"`` (its flat set), or overrides of the default by
        label: ``{"gamma1": bh.Normal(0, 5), "sd[small]": bh.HalfNormal(10)}``.
    weights : None
        Survey weights are not supported; naming a column says what to do instead.

    Examples
    --------
    >>> RandomSlope(outcome="math", treatment="class_type", reference="regular", cluster="school", varying="small")
    """

    latent = LATENT

    outcome: str
    treatment: str | None = None
    reference: str | None = None
    cluster: str | None = None
    covariates: str = ""
    moderators: str = ""
    varying: str | tuple[str, ...] = "all"
    intercept_varies: bool = True
    slopes: str = ""
    within_between: tuple[str, ...] = ()
    family: str = "gaussian"
    sigma_by_arm: bool = False
    standard_error: str | None = None
    missing: str = "error"
    priors: str | Mapping[str, Prior] = "default"
    weights: None = None

    def __post_init__(self):
        check_spec(self)

    def design(self, data: pd.DataFrame) -> xr.Dataset:
        """The data in model form; see `ModelSpec.design`."""
        return build(self, data)

    def frozen_priors(self, design: xr.Dataset) -> dict[str, Prior]:
        """Priors by parameter label: ``gamma1[small]``, ``sd[intercept]``, ``corr``, ``sigma``, ..."""
        return resolve(self.priors, self.family, design)

    def joint(self, design: xr.Dataset, priors: Mapping[str, Prior], centred: bool = True) -> pm.Model:
        """The model as it is written above, random effects `u` included."""
        D = Arrays(design)

        def parameter(name, dims=None):
            labels = [None] if dims is None else D.labels(dims)
            return random_variable(name, [priors[label(name, v)] for v in labels], dims)

        with pm.Model(coords=D.coords) as model:
            arm = pm.Data("arm_code", D.arm, dims="row")  # pm.do({"arm_code": ...}) sets everybody's treatment
            T = pt.eq(arm[:, None], np.arange(1, D.n_contrasts + 1)).astype("float64")

            gamma0 = parameter("gamma0")
            gamma1 = parameter("gamma1", D.treatment) if D.n_contrasts else pt.zeros(0)
            gamma2 = parameter("gamma2", "covariate") if D.X.shape[1] else pt.zeros(0)
            gamma3 = pt.zeros((D.n_contrasts, 0))
            if D.M.shape[1]:
                gamma3 = parameter("gamma3", (D.treatment, "moderator"))

            u0 = u1 = u2 = 0.0
            if D.q:
                sd = parameter("sd", "varying")
                factor = pt.diag(sd)
                if D.q > 1:
                    corr_factor = random_variable("_corr_factor", [priors["corr"]], size=D.q)
                    pm.Deterministic("corr", corr_factor @ corr_factor.T, dims=("varying", "varying_"))
                    factor = sd[:, None] * corr_factor
                if centred:
                    u = pm.MvNormal("u", 0, chol=factor, dims=(D.cluster, "varying"))
                else:
                    z = pm.Normal("_z", 0, 1, dims=(D.cluster, "varying"))
                    u = pm.Deterministic("u", z @ factor.T, dims=(D.cluster, "varying"))
                u0, u1, u2 = D.split(u[D.code])
            eta = linear_predictor(T, D.X, D.M, D.S, gamma0, gamma1, gamma2, gamma3, u0, u1, u2)

            match self.family:
                case "gaussian" if self.standard_error:
                    pm.Normal("y", eta, D.se, observed=D.y, dims="row")
                case "gaussian" if self.sigma_by_arm:
                    pm.Normal("y", eta, parameter("sigma", D.arms)[arm], observed=D.y, dims="row")
                case "gaussian":
                    pm.Normal("y", eta, parameter("sigma"), observed=D.y, dims="row")
                case "student":
                    pm.StudentT("y", nu=parameter("nu"), mu=eta, sigma=parameter("sigma"), observed=D.y, dims="row")
                case "skew normal":
                    skew_normal("y", eta, parameter("sigma"), parameter("alpha"), observed=D.y, dims="row")
                case "logit":
                    pm.Bernoulli("y", logit_p=eta, observed=D.y, dims="row")
                case "probit":
                    pm.Bernoulli("y", p=0.5 * pt.erfc(-eta / np.sqrt(2)), observed=D.y, dims="row")
                case "poisson":
                    pm.Poisson("y", pt.exp(eta), observed=D.y, dims="row")
                case "negative binomial":
                    pm.NegativeBinomial("y", mu=pt.exp(eta), alpha=parameter("phi"), observed=D.y, dims="row")
                case "ordered logit" | "ordered probit":
                    width = parameter("width", "inner_category") if D.labels("inner_category") else pt.zeros(0)
                    p = probabilities(eta, width, ORDERED[self.family])
                    pm.Categorical("y", p, observed=D.y.astype(int), dims="row")
        return model

    def observed_columns(self, values: Mapping[str, np.ndarray], design: xr.Dataset) -> dict[str, np.ndarray]:
        """The outcome, ordered categories under their labels."""
        y = values["y"]
        if self.family in ORDERED:
            given = columns.raw_frame(design)[self.outcome]
            y = categories.labelled(y.astype(int), design.attrs["categories"], given)
        return {self.outcome: y}

    def marginal(self, design: xr.Dataset, priors: Mapping[str, Prior]) -> Density:
        """The log density that is sampled: random effects integrated exactly (Gaussian), or sampled in good coordinates."""
        D = Arrays(design)
        scalars = [prior for name, prior in priors.items() if name != "corr"]
        given = (scalars, priors.get("corr"), tuple(self._outputs(D)))
        if self.family == "gaussian":
            return gaussian.density(D.moments(), *given)
        return glmm.density(D.full, D.y, np.array(D.random, int), D.code, D.n_clusters, self.family, *given)

    def _outputs(self, D) -> list[Output]:
        """What the kernel stores, in its order: beta, sd, sigma, its shape, Cholesky factor of the correlations, u if sampled."""
        k, m = D.n_contrasts, D.M.shape[1]
        out = [Output("gamma0", ())]
        if k:
            out.append(Output("gamma1", (k,), (D.treatment,)))
        if D.X.shape[1]:
            out.append(Output("gamma2", (D.X.shape[1],), ("covariate",)))
        if k and m:
            out.append(Output("gamma3", (k, m), (D.treatment, "moderator")))
        if D.q:
            out.append(Output("sd", (D.q,), ("varying",)))
        if D.sigmas == 1:
            out.append(Output("sigma", ()))
        elif D.sigmas:
            out.append(Output("sigma", (D.sigmas,), (D.arms,)))
        for name in SHAPES.get(self.family, ()):
            if name == "width" and D.labels("inner_category"):
                out.append(Output(name, (len(D.labels("inner_category")),), ("inner_category",)))
            elif name not in ("sigma", "width"):
                out.append(Output(name, ()))
        out.append(Output("_corr_factor", (D.q, D.q), ("varying", "varying_")))
        if D.q and self.family != "gaussian":
            out.append(Output("u", (D.n_clusters, D.q), (D.cluster, "varying")))
        return out

    def recover(self, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        """Adds the random effects `u`, their correlations `corr`, and every cluster's `effect`."""
        D = Arrays(design)
        if D.q > 1 and "corr" not in draws:  # the kernel stores the Cholesky factor, the joint graph both
            L = draws["_corr_factor"].transpose("chain", "draw", "varying", "varying_").to_numpy()
            corr = L @ L.swapaxes(-1, -2)
            corr[..., np.arange(D.q), np.arange(D.q)] = 1.0
            draws = draws.assign(corr=(("chain", "draw", "varying", "varying_"), corr))
        draws = draws[[v for v in STORED if v in draws]]
        if D.q and "u" not in draws:
            shape = (draws.sizes["chain"], draws.sizes["draw"], D.n_clusters, D.q)
            u = gaussian.draw_effects(D.moments(), D.parameters(draws), rng)
            draws = draws.assign(u=(("chain", "draw", D.cluster, "varying"), u.reshape(shape), {"drawn_exactly": 1}))
            draws = draws.assign_coords({D.cluster: D.coords[D.cluster]})
        return derived(draws, D)

    def parameters(self, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
        """Label, label of the prior, and draws of every parameter; of correlations the part below the diagonal."""
        return [(name, "corr" if name.startswith("corr[") else name, values) for name, values in scalars(posterior)]

    def correlations(self, posterior: xr.Dataset) -> dict[str, np.ndarray]:
        """Draws of the correlation matrix of the random effects."""
        if "corr" not in posterior:
            return {}
        return {"corr": posterior["corr"].transpose("chain", "draw", "varying", "varying_").to_numpy()}

    def summary(self, posterior: xr.Dataset, interval: str, level: float) -> pd.DataFrame:
        """The parameters, one a row."""
        return table(scalars(posterior), interval, level)

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
        """Expected outcome of rows, or its weighted means; see `ModelSpec.expected`."""
        D = Arrays(design)
        rows, arms = outcomes.population(self, D, frame, weight, arm, clusters)
        if weight is None:
            values = outcomes.predictions(D, draws, rows, arms, clusters, linear_predictor)
            return outcomes.unstack(
                values, draws, row=design["row"].to_numpy() if frame is None else frame.index.to_numpy()
            )
        rows = outcomes.reduce(rows, outcomes.is_linear(D))
        values = outcomes.averages(linear_predictor, D, draws, rows, clusters, [int(arms[0])])[:, :, 0]
        return outcomes.unstack(values, draws, group=np.arange(values.shape[1]))

    def log_likelihood(self, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
        """By cluster with the random effects integrated, or by row given them."""
        return outcomes.log_likelihood(self, draws, design, unit, linear_predictor)

    def replicates(
        self, draws: xr.Dataset, design: xr.Dataset, priors: Mapping[str, Prior], seed: int, clusters: str
    ) -> xr.Dataset:
        """New outcomes from the joint graph."""
        return from_graph(self.joint(design, priors), draws, design, seed, clusters)

    def discrepancies(self, design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
        """Mean, SD and skewness by arm, SD of cluster means, SD of cluster effects."""
        return reports.discrepancies(design)

    def estimands(self, design: xr.Dataset) -> list[Estimand]:
        """Average, cluster and standardised effects, their spread, and how baseline and effect go together."""
        return reports.estimands(self, design, linear_predictor)

    def equations(self, design: xr.Dataset) -> list[str]:
        """The model as LaTeX lines, with the user's column names."""
        return equations(self, design)

    def describe(self, design: xr.Dataset) -> Description:
        """The model and its data in words."""
        return describe(self, design)
