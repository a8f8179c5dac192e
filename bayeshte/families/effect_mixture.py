"""Latent classes with different treatment effects (Kim, Buhrman & Liao, 2025, section 3.4; Lyu, Kim & Suk, 2022).

A cluster j (or a row) belongs to one of K classes that nobody observed. Given class c, for row i of cluster j, with arm
indicators T (one for every arm but the reference) and covariates X at any level:

    P(class_j = c) = pi_c,  or with covariates W of the units  softmax_c(alpha_c' W_j),  sum_c alpha_c = 0
    eta_ij = (gamma0_c + U0_j) + (gamma1_c + U1_j) T_ij + gamma2_c' X_ij
    (U0_j, U1_j) ~ N(0, tau_c),  tau_c = diag(sd_c) corr_c diag(sd_c)

If rows belong to classes, a cluster has rows of all of them, and effects of its own in each: (U0_cj, U1_cj) ~ N(0, tau_c),
independently (Lyu, Kim & Suk, 2022); with ``shared=("u",)`` one (U0_j, U1_j) for all its rows. Class probabilities can vary
between clusters too:

    P(class_ij = c) = softmax_c(alpha_c' W_ij + a_cj),  a_j ~ N(0, s^2 / 2) in every class given sum_c a_cj = 0

so that s, `sd_membership`, is the SD across clusters of the log odds of any class against any other, a_cj - a_lj.

    Gaussian    Y_ij ~ N(eta_ij, sigma_c^2)           logit      Y_ij ~ Binomial(trials_ij, 1 / (1 + exp(-eta_ij)))
    Student t   Y_ij ~ t_nu_c(eta_ij, sigma_c)        Poisson    Y_ij ~ Poisson(exp(eta_ij))

Every parameter with an index c may be the same in all classes. Priors are the same in all classes, so that numbering them
otherwise changes nothing: draws are renumbered after sampling (`relabel.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr

from bayeshte.families import effect_mixture_classes as latent_classes
from bayeshte.families import effect_mixture_estimands as reports
from bayeshte.families import effect_mixture_outcomes as outcomes
from bayeshte.families.effect_mixture_arrays import LATENT, Arrays, linear_predictor
from bayeshte.families.effect_mixture_description import describe, equations
from bayeshte.families.effect_mixture_design import build, check_spec
from bayeshte.families.effect_mixture_graph import class_labels, random_effects
from bayeshte.families.effect_mixture_priors import resolve
from bayeshte.marginal import mixture_modes
from bayeshte.marginal.density import Density, Output
from bayeshte.prior import Flat, Prior, random_variable
from bayeshte.spec import Description, Estimand, ModelSpec
from bayeshte.summary import elements, table


@dataclass(frozen=True, kw_only=True)
class EffectMixture(ModelSpec):
    """Latent classes of clusters, or of individuals, with different treatment effects.

    Parameters
    ----------
    outcome : str
        Column of the outcome; of binomial outcomes the number of events.
    treatment : str, optional
        Column of the arms, two or more. Without it, a plain mixture.
    reference : str, optional
        The arm the others are compared with; needed unless the column is 0/1 or boolean.
    cluster : str, optional
        Column of the clusters.
    classes : int
        How many classes there are; `bh.fit_classes` compares numbers of them.
    class_of : {"cluster", "individual"}
        Whether whole clusters belong to a class, or single rows.
    covariates : str
        Formula right-hand side of covariates at any level, ``"age + C(site)"``.
    membership : str
        Formula right-hand side of what the class depends on; with classes of clusters constant within them.
    membership_varies : bool
        Whether the class probabilities of individuals vary between clusters.
    intercept_varies : bool
        Whether the outcome in the reference arm varies between the clusters of a class; with classes of individuals between
        clusters, in each class in its own way.
    varying : str or tuple of str
        Arms whose effect varies in that way: ``"all"``, an arm, several, or ``()``; at most two of them, but for classes of
        clusters with a Gaussian outcome.
    shared : tuple of str
        Parameters that are the same in all classes: ``"gamma0"``, ``"gamma1"``, ``"gamma2"``, ``"sd"`` (with the correlations),
        ``"sigma"``, ``"nu"``. With classes of individuals also ``"u"``: a cluster has the same random effects in all classes,
        which have one ``"sd"`` then.
    family : str
        ``"gaussian"``, ``"student"``, ``"logit"`` or ``"poisson"``.
    trials : str, optional
        Column of the numbers of trials of binomial outcomes (``family="logit"``).
    order : str, optional
        Number the classes by a parameter in every draw, ``"gamma0"`` or ``"gamma1[small]"``: the prior restricted to ascending
        values, with its constant K!. Without it, draws are numbered by how they classify the units.
    missing : str
        ``"error"`` refuses missing values and says where they are, ``"drop"`` analyses the complete rows and reports the rest.
    priors : str or mapping
        ``"default"`` (weakly informative, scaled to the data), or overrides of it by label without a class:
        ``{"gamma1": bh.Normal(0, 5), "pi": bh.Dirichlet(1)}``.

    Examples
    --------
    >>> EffectMixture(outcome="math", treatment="class_type", reference="regular", cluster="school", classes=3)
    """

    latent = LATENT

    outcome: str
    treatment: str | None = None
    reference: str | None = None
    cluster: str | None = None
    classes: int = 2
    class_of: str = "cluster"
    covariates: str = ""
    membership: str = ""
    membership_varies: bool = False
    intercept_varies: bool = True
    varying: str | tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    family: str = "gaussian"
    trials: str | None = None
    order: str | None = None
    missing: str = "error"
    priors: str | Mapping[str, Prior] = "default"

    def __post_init__(self):
        check_spec(self)

    def design(self, data: pd.DataFrame) -> xr.Dataset:
        """The data in model form; see `ModelSpec.design`."""
        return build(self, data)

    def frozen_priors(self, design: xr.Dataset) -> dict[str, Prior]:
        """Priors by label, the same in all classes: ``gamma0``, ``gamma1[small]``, ``sd[intercept]``, ``sigma``, ``pi``, ..."""
        return resolve(self.priors, design)

    def joint(self, design: xr.Dataset, priors: Mapping[str, Prior], centred: bool = True) -> pm.Model:
        """The model as it is written above: the class of every unit, `label`, and random effects `u` included.

        Labels are discrete: the graph can be drawn from and evaluated, and NUTS samples the marginal density only. A potential
        is -inf where an ordering constraint is broken.
        """
        D = Arrays(design)
        K = D.classes

        def parameter(name, dims=()):
            """A parameter in every class, (class, ...)."""
            inner = D.labels(dims[0]) if dims else [None]
            own = [priors[name if v is None else f"{name}[{v}]"] for v in inner]
            where = D.with_class(name, dims)
            rv = random_variable(name, own * (K if "class" in where else 1), where or None)
            return rv if "class" in where else pt.stack([rv] * K)

        with pm.Model(coords=D.coords) as model:
            arm = pm.Data("arm_code", D.arm, dims="row")  # pm.do({"arm_code": ...}) sets everybody's treatment
            T = pt.eq(arm[:, None], np.arange(1, len(D.contrasts) + 1)).astype("float64")
            label = class_labels(D, priors, centred)
            gamma0 = parameter("gamma0")
            gamma1 = parameter("gamma1", (D.treatment,)) if D.contrasts else pt.zeros((K, 0))
            gamma2 = parameter("gamma2", ("covariate",)) if D.X.shape[1] else pt.zeros((K, 0))
            u0, u1 = random_effects(D, priors, parameter, label, centred) if D.q else (0.0, 0.0)
            own = label[D.code]
            eta = linear_predictor(T, D.X, gamma0[own], gamma1[own], gamma2[own], u0, u1)
            match self.family:
                case "gaussian":
                    pm.Normal("y", eta, parameter("sigma")[own], observed=D.y, dims="row")
                case "student":
                    shape = {"nu": parameter("nu")[own], "sigma": parameter("sigma")[own]}
                    pm.StudentT("y", mu=eta, **shape, observed=D.y, dims="row")
                case "logit" if self.trials:
                    pm.Binomial("y", n=D.trials.astype(int), logit_p=eta, observed=D.y, dims="row")
                case "logit":
                    pm.Bernoulli("y", logit_p=eta, observed=D.y, dims="row")
                case "poisson":
                    pm.Poisson("y", pt.exp(eta), observed=D.y, dims="row")
            if self.order:
                name, _, element = self.order.rstrip("]").partition("[")
                values = model[name] if not element else model[name][:, _position(D, name, element)]
                pm.Potential("ordered", pt.switch(pt.all(pt.diff(values) > 0), 0.0, -np.inf))
        return model

    def observed_columns(self, values: Mapping[str, np.ndarray], design: xr.Dataset) -> dict[str, np.ndarray]:
        """The outcome."""
        return {self.outcome: values["y"]}

    def marginal(self, design: xr.Dataset, priors: Mapping[str, Prior]) -> Density:
        """The log density that is sampled, preconditioned at the highest mode: classes integrated, random effects of clusters
        too, exactly or by quadrature; those beside classes of individuals are sampled.
        """
        D = Arrays(design)
        given = (scalar_priors(D, priors), priors.get("corr"), priors["pi"]["alpha"] if "pi" in priors else 0.0)
        return mixture_modes.density(D.units, D.layout, *given, self._outputs(D))

    def _outputs(self, D: Arrays) -> tuple[Output, ...]:
        """What the kernel stores, in its order: coefficients, SDs, factors of the correlations, membership, effects."""
        sizes = {str(k): v for k, v in D.design.sizes.items()}
        named = dict(D.coefficients)
        if D.q:
            named["sd"] = D.with_class("sd", ("varying",))
        if D.sigmas:
            named["sigma"] = D.with_class("sigma", ())
        if D.family == "student":
            named["nu"] = D.with_class("nu", ())
        if D.varies:
            named["sd_membership"] = ()
        named["_corr_factor"] = D.with_class("sd", ("varying", "varying_"))
        if D.logit_membership:
            named["alpha"] = ("member", "class")
        else:
            named["pi" if D.classes > 1 else "_pi"] = ("class",)
        named |= D.effect_dims
        return tuple(Output(name, tuple(sizes[d] for d in dims), dims) for name, dims in named.items())

    def recover(self, draws: xr.Dataset, design: xr.Dataset, rng: np.random.Generator) -> xr.Dataset:
        """Classes numbered alike in all draws; every cluster's class `label`, random effects `u` and `effect` added."""
        return latent_classes.recover(self, draws, design, rng)

    def parameters(self, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
        """Label, label of the prior, and draws of every parameter; of correlations the part below the diagonal."""
        out = []
        for name in [v for v in posterior.data_vars if v not in LATENT]:
            values = posterior[name]
            inner = [d for d in values.dims if d not in ("chain", "draw", "class")]
            labels, x = elements(
                values.transpose("chain", "draw", *(["class"] if "class" in values.dims else []), *inner)
            )
            keys = [""] if not inner else [str(v) for v in values[inner[0]].to_numpy()]
            keep = range(len(labels))
            if name == "corr":
                q = posterior.sizes["varying"]
                keep = [k for k in keep if k % (q * q) // q > k % q]
            for k in keep:
                key = name if name in ("corr", "pi") or not inner else f"{name}[{keys[k % len(keys)]}]"
                out.append((labels[k], key, xr.DataArray(x[..., k], dims=("chain", "draw"))))
        return out

    def correlations(self, posterior: xr.Dataset) -> dict[str, np.ndarray]:
        """Draws of the correlation matrices of the random effects, (chain, draw, class, q, q) if classes have their own."""
        if "corr" not in posterior:
            return {}
        return {"corr": posterior["corr"].transpose("chain", "draw", ..., "varying", "varying_").to_numpy()}

    def summary(self, posterior: xr.Dataset, interval: str, level: float) -> pd.DataFrame:
        """The parameters, one a row."""
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
        """Expected outcome of rows (the chance of an event), or its weighted means; see `ModelSpec.expected`.

        ``clusters="these"``: each in the class of the draw, an individual in its classes by their probabilities given its own
        outcome; otherwise over the classes of the population.
        """
        return outcomes.expected(self, draws, design, arm, clusters, frame, weight)

    def log_likelihood(self, draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
        """By cluster with classes and random effects integrated; by row given the class and random effects of its cluster.

        Of individuals by row with classes integrated, given the random effects of clusters, if there are any; by cluster these
        are integrated by quadrature, as are those of classes of clusters unless the outcome is Gaussian.
        """
        return outcomes.log_likelihood(draws, design, unit)

    def replicates(
        self, draws: xr.Dataset, design: xr.Dataset, priors: Mapping[str, Prior], seed: int, clusters: str
    ) -> xr.Dataset:
        """New outcomes of these clusters, in their classes, or of new ones; of individuals their classes are always new."""
        return outcomes.replicates(draws, design, seed, clusters)

    def discrepancies(self, design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
        """Mean, SD, skewness and kurtosis by arm, SD of cluster means."""
        return reports.discrepancies(design)

    def estimands(self, design: xr.Dataset) -> list[Estimand]:
        """Class effects and sizes, the average effect as their mixture, the spread between classes, how clear classes are."""
        return reports.estimands(self, design)

    def equations(self, design: xr.Dataset) -> list[str]:
        """The model as LaTeX lines, with the user's column names."""
        return equations(self, design)

    def describe(self, design: xr.Dataset) -> Description:
        """The model and its data in words."""
        return describe(self, design)


def scalar_priors(D: Arrays, priors: Mapping[str, Prior]) -> list[Prior]:
    """Priors of the kernel's scalars in its order, a class after the other where classes have their own."""
    inner = {"gamma0": [""], "gamma1": D.contrasts, "gamma2": D.labels("covariate"), "sd": D.varying}
    names = [*D.coefficients, *(["sd"] if D.q else []), *(["sigma"] if D.sigmas else [])]
    out = []
    for name in [*names, *(["nu"] if D.family == "student" else []), *(["sd_membership"] if D.varies else [])]:
        one = [priors[f"{name}[{v}]" if v else name] for v in inner.get(name, [""])]
        out += one * (D.classes if "class" in D.with_class(name, ()) else 1)
    for w in D.labels("member"):
        out += [priors[f"alpha[{w}]"] if D.logit_membership else Flat()] * (D.classes - 1)
    return out


def _position(D: Arrays, name: str, element: str) -> int:
    return D.labels(D.treatment if name == "gamma1" else "covariate").index(element)
