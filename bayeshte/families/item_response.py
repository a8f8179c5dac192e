"""Treatment effects that vary over the items of a test or scale (Gilbert, Himmelsbach, Soland & Domingue, 2025).

For person j in arm T_j (0 or 1) with covariates X and moderators M, and item i, answered right (1) or wrong (0):

    logit P(y_ij = 1) = theta_j + b_i + zeta_i T_j                                                   (1)
    theta_j = beta0 + beta1 T_j + beta2' X_j + beta3' M_j T_j + eps_j,   eps_j ~ N(0, sigma_theta^2)     (2)
    (b_i, zeta_i) ~ N(0, S),   S = [[sigma_b^2, rho sigma_b sigma_zeta], [., sigma_zeta^2]]                (3)

b is easiness: an item with a larger b is answered right more often, and rho > 0 says that easier items gain more. beta1 is the
effect on an item of average gain, zeta_i how much more item i gains, so that the effect on item i is beta1 + zeta_i. All
discriminations are one: abilities are in log odds. Without item effects zeta is zero, and (3) is b_i ~ N(0, sigma_b^2).

The published models are A: item effects, no covariates; B: ``item_effects=False`` with a moderator; C: both.
`ability_mean` and `log_odds` are the only places where (2) and (1) are written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from bayeshte.families import item_response_estimands as reports
from bayeshte.families import item_response_outcomes as outcomes
from bayeshte.families.item_response_arrays import LATENT, STORED, Arrays, ability_mean, log_odds
from bayeshte.families.item_response_description import describe, equations
from bayeshte.families.item_response_design import build, check_spec
from bayeshte.families.item_response_priors import resolve
from bayeshte.marginal import item_response
from bayeshte.marginal.density import Density, Output
from bayeshte.prior import Prior, random_variable
from bayeshte.spec import Description, Estimand, ModelSpec
from bayeshte.summary import elements, table


@dataclass(frozen=True, kw_only=True)
class ItemResponse(ModelSpec):
    """Treatment effects that vary over items: a Rasch model of binary responses, one a row.

    Rows without a response are left out and counted: persons may have seen different items, by design or because what is
    missing depends on nothing but the responses that are there (and on arm and covariates).

    Parameters
    ----------
    person, item, response, treatment : str
        Columns: who answered, what, whether right (0/1 or boolean), and the arm of the person, one of two.
    reference : str, optional
        The arm the other one is compared with; needed unless the column is 0/1 or boolean.
    covariates : str
        Formula right-hand side of covariates of persons, ``"pretest + C(site)"``.
    moderators : str
        Formula right-hand side of what the effect on the ability depends on; every term enters by itself and times the
        treatment.
    item_effects : bool
        Whether the effect varies over items.
    model : str
        ``"rasch"``: all items discriminate alike.
    link : str
        ``"logit"``.
    priors : str or mapping
        ``"default"`` (weakly informative, on the scale of log odds), or overrides of it by label:
        ``{"beta1": bh.Normal(0, 1), "sigma_zeta": bh.HalfNormal(0.5), "rho": bh.LKJ(1)}``.

    Examples
    --------
    >>> spec = ItemResponse(person="child", item="word", response="right", treatment="arm", reference="control")
    """

    latent = LATENT

    person: str
    item: str
    response: str
    treatment: str
    reference: str | None = None
    covariates: str = ""
    moderators: str = ""
    item_effects: bool = True
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
        """The model as it is written above, abilities `theta` and item effects `u` = (b, zeta) included."""
        D = Arrays(design)
        T, X, M = D.persons

        def coefficients(name, dim):
            labels = D.labels(dim)
            return random_variable(name, [priors[f"{name}[{v}]"] for v in labels], dim) if labels else pt.zeros(0)

        with pm.Model(coords=D.coords) as model:
            arm = pm.Data(
                "arm_code", T.astype("int32"), dims=D.person
            )  # pm.do({"arm_code": ...}) sets everybody's treatment
            T = arm.astype("float64")
            beta0, beta1 = (random_variable(v, [priors[v]]) for v in ("beta0", "beta1"))
            mean = ability_mean(
                T, X, M, beta0, beta1, coefficients("beta2", "covariate"), coefficients("beta3", "moderator")
            )
            sigma_theta = random_variable("sigma_theta", [priors["sigma_theta"]])
            factor = pt.diag(pt.stack([random_variable(v, [priors[v]]) for v in ("sigma_b", "sigma_zeta")[: D.q]]))
            if D.q > 1:
                corr_factor = random_variable("_corr_factor", [priors["rho"]], size=2)
                pm.Deterministic("rho", (corr_factor @ corr_factor.T)[1, 0])
                factor = factor @ corr_factor
            if centred:
                theta = pm.Normal("theta", mean, sigma_theta, dims=D.person)
                u = pm.MvNormal("u", 0, chol=factor, dims=(D.item, "varying"))
            else:
                eps, z = pm.Normal("_eps", 0, 1, dims=D.person), pm.Normal("_z", 0, 1, dims=(D.item, "varying"))
                theta = pm.Deterministic("theta", mean + sigma_theta * eps, dims=D.person)
                u = pm.Deterministic("u", z @ factor.T, dims=(D.item, "varying"))
            b = pm.Deterministic("b", u[:, 0], dims=D.item)
            zeta = pm.Deterministic("zeta", u[:, 1], dims=D.item)[D.item_code] if D.q > 1 else 0.0
            eta = log_odds(theta[D.person_code], b[D.item_code], zeta, T[D.person_code])
            pm.Bernoulli("y", logit_p=eta, observed=D.y, dims="row")
        return model

    def observed_columns(self, values: Mapping[str, np.ndarray], design: xr.Dataset) -> dict[str, np.ndarray]:
        """The responses."""
        return {self.response: values["y"]}

    def marginal(self, design: xr.Dataset, priors: Mapping[str, Prior]) -> Density:
        """The log density that is sampled: abilities integrated, item effects sampled in good coordinates."""
        D = Arrays(design)
        scalars = [prior for name, prior in priors.items() if name != "rho"]
        outputs = [Output("beta0", ()), Output("beta1", ())]
        for name, dim in (("beta2", "covariate"), ("beta3", "moderator")):
            if D.labels(dim):
                outputs.append(Output(name, (len(D.labels(dim)),), (dim,)))
        outputs += [Output(v, ()) for v in ("sigma_b", "sigma_zeta", "sigma_theta") if v in priors]
        outputs.append(Output("_corr_factor", (D.q, D.q), ("varying", "varying_")))
        outputs.append(Output("u", (D.n_items, D.q), (D.item, "varying")))
        return item_response.density(D.responses, D.q, scalars, priors.get("rho"), tuple(outputs))

    def recover(self, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        """Adds `b`, `zeta`, their correlation `rho`, every item's `effect`, and abilities `theta` unless they are too many."""
        D = Arrays(design)
        u = draws["u"].transpose("chain", "draw", D.item, "varying")
        draws = draws.assign(b=u.isel(varying=0, drop=True))
        if D.q > 1:
            draws = draws.assign(zeta=u.isel(varying=1, drop=True))
            if "rho" not in draws:  # the kernel stores the Cholesky factor, the joint graph both
                L = draws["_corr_factor"].transpose("chain", "draw", ...).to_numpy()
                draws = draws.assign(rho=(("chain", "draw"), L[..., 1, 0]))
            draws = draws.assign(effect=reports.item_effects(draws, D).assign_attrs(computed=1))
        if "theta" not in draws and draws.sizes["chain"] * draws.sizes["draw"] * D.n_persons <= outcomes.KEPT:
            theta = outcomes.draw_abilities(D, draws, rng)
            draws = draws.assign(theta=outcomes.unstack(theta, draws, **{D.person: D.labels(D.person)}))
            draws["theta"].attrs["drawn_exactly"] = 1
        return draws[[v for v in STORED if v in draws]].drop_vars(["varying", "varying_"], errors="ignore")

    def parameters(self, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
        """Label, label of the prior, and draws of every parameter that has a prior of its own; item effects have none."""
        out = []
        for name in [v for v in posterior.data_vars if v not in (*LATENT, "b", "zeta")]:
            labels, x = elements(posterior[name])
            out += [(v, v, xr.DataArray(x[..., k], dims=("chain", "draw"))) for k, v in enumerate(labels)]
        return out

    def correlations(self, posterior: xr.Dataset) -> dict[str, np.ndarray]:
        """Draws of the correlation matrix of easiness and effect."""
        if "rho" not in posterior:
            return {}
        rho = posterior["rho"].transpose("chain", "draw").to_numpy()[..., None, None]
        return {"rho": np.where(np.eye(2, dtype=bool), 1.0, rho)}

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
        """Chance of a right answer of rows, or its weighted means; clusters are persons. See `ModelSpec.expected`."""
        return outcomes.expected(self, draws, design, arm, clusters, frame, weight)

    def log_likelihood(self, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
        """By person with the ability integrated, given the items; or by row given both."""
        return outcomes.log_likelihood(draws, design, unit)

    def replicates(
        self, draws: xr.Dataset, design: xr.Dataset, priors: Mapping[str, Prior], seed: int, clusters: str
    ) -> xr.Dataset:
        """New responses of these persons or of new ones to these items."""
        return outcomes.replicates(draws, design, seed, clusters)

    def discrepancies(self, design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
        """By arm the mean and the spread of persons and items; the spread of the differences over items."""
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
