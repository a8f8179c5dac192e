"""The rival explanation of latent classes: one population whose residual is skewed or has heavy tails, or whose effects vary."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bayeshte import design as columns
from bayeshte.checks.loo import compare
from bayeshte.errors import ConvergenceWarning, SpecError
from bayeshte.families import EffectMixture, RandomSlope
from bayeshte.fit import Fit, fit
from bayeshte.marginal.mixture_data import MOST_INTEGRATED

#: family of a rival: what it is called
PREFIX = "one class, "
NAMES = {
    "gaussian": f"{PREFIX}normal",
    "student": f"{PREFIX}Student t",
    "skew normal": f"{PREFIX}skew normal",
    "logit": f"{PREFIX}logit",
    "poisson": f"{PREFIX}Poisson",
    "negative binomial": f"{PREFIX}negative binomial",
    "binomial": f"{PREFIX}binomial",
    "overdispersed binomial": f"{PREFIX}overdispersed binomial",
}
CONTINUOUS, COUNTS = ("gaussian", "student", "skew normal"), ("poisson", "negative binomial")
TRIALS = ("binomial", "overdispersed binomial")
MANY = 20_000  # rows above which only the rival whose cost does not depend on them is fitted by default
LEAST = 4.0  # a difference in elpd below which its standard error is not to be trusted (Sivula et al., 2025)
RECORD = "one_class"
OWN = "row of its own"  # clusters of the overdispersed rival
NO_RIVAL = (
    "There is no one-class rival of individuals' binomial counts beside random effects of clusters, which would be counts "
    "overdispersed within clusters: compare numbers of classes with bh.fit_classes."
)


@dataclass(frozen=True)
class Rivals:
    """Latent classes and models of one class, compared by what they predict.

    Attributes
    ----------
    table : DataFrame
        As of `bayeshte.compare`.
    classes : str
        Name of the mixture in it.
    what : str
        What was left out.
    seconds : float
        What fitting and comparing the rivals took.
    """

    table: pd.DataFrame
    classes: str
    what: str
    seconds: float

    @property
    def rival(self) -> str:
        """The best model of one class."""
        return next(name for name in self.table.index if name != self.classes)

    @property
    def difference(self) -> tuple[float, float]:
        """elpd of the mixture minus that of the best rival, and its standard error."""
        row = self.table.loc[self.rival if self.ok else self.classes]
        return float(row["difference"]) * (-1 if self.ok else 1), float(row["se_difference"])

    @property
    def ok(self) -> bool:
        """Whether the mixture predicts better than every rival."""
        return self.table.index[0] == self.classes

    @property
    def sentence(self) -> str:
        """What that says of the classes."""
        found, se = self.difference
        size = f"by {abs(found):.1f} (SE {se:.1f})"
        kind = self.rival.removeprefix(PREFIX)
        rival = f"model of one class ({kind})"
        clear = abs(found) > max(LEAST, 2 * se)
        if self.ok and clear:
            return f"{self.classes} predict better than every model of one class: {size} than the nearest ({kind})"
        if self.ok:
            return f"{self.classes} predict hardly better than a {rival}, {size}: too little to prefer them to one population"
        if clear:
            return (
                f"A {rival} predicts better than {self.classes}, {size}: the classes may be nothing but the shape of one "
                "population. Do not report them as subgroups"
            )
        return f"A {rival} predicts as well as {self.classes}, better {size}: nothing in these data asks for classes"

    def __repr__(self):
        shown = self.table[["elpd", "difference", "se_difference", "worst_khat", "verdict"]]
        return f"{self.sentence}.\n{shown.to_string(float_format='%.1f')}\n{self.cost}"

    @property
    def cost(self) -> str:
        """What was done, and how long it took."""
        rivals = "1 rival" if len(self.table) == 2 else f"{len(self.table) - 1} rivals"
        return f"{self.what[0].upper()}{self.what[1:]}. {rivals} took {self.seconds:.0f} seconds."


def class_rivals(fit: Fit, families: Sequence[str] | None = None) -> Rivals:
    """Compare latent classes with models of one class, by leave-one-out prediction.

    A mixture finds classes in skewed or heavy-tailed data of one population. Rivals have the same outcome, treatment, covariates
    and priors. With classes of clusters they let intercepts and effects vary across clusters, and whole clusters are left out;
    with classes of individuals what varied between clusters does, and rows are left out.

    The comparison is made once and kept in ``fit.record``: it is saved with the fit, printed with it, and in its report.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.EffectMixture` with two classes or more.
    families : sequence of str, optional
        Residuals of the rivals: ``"gaussian"``, ``"student"``, ``"skew normal"``; of counts ``"poisson"`` and ``"negative
        binomial"``; of individuals' binomial counts ``"binomial"`` and ``"overdispersed binomial"``, in which every row has a
        normal log odds of its own. All by default, beyond 20,000 rows only the first. Binary outcomes and binomial counts of
        clusters have one rival, of their own family: of the latter one class whose intercepts and effects are normal across
        clusters, an `bayeshte.EffectMixture` with ``classes=1`` (the effects of at most two arms vary).

    Returns
    -------
    Rivals

    Raises
    ------
    SpecError
        For another family, one class, individuals' binomial counts beside random effects of clusters, or residuals that there are
        not.
    """
    families = _families(fit, families)
    known = comparison(fit)
    if known is not None and {NAMES[f] for f in families} <= set(known.table.index):
        return known
    begin = time.perf_counter()
    K = fit.spec.classes
    fits = {f"{K} classes": fit} | {NAMES[f]: _rival(fit, f) for f in families}
    unit = "cluster" if fit.spec.class_of == "cluster" else "row"
    table = compare(fits, unit, refit=fit.diagnosis.ok)
    out = Rivals(table, f"{K} classes", table.attrs["what"], time.perf_counter() - begin)
    fit.record[RECORD] = {
        "table": table.reset_index().to_dict("list"),
        "classes": out.classes,
        "what": out.what,
        "seconds": out.seconds,
        "sentence": out.sentence,
    }
    return out


def comparison(fit: Fit) -> Rivals | None:
    """What `class_rivals` found before, if it was asked."""
    kept = fit.record.get(RECORD)
    if kept is None:
        return None
    return Rivals(pd.DataFrame(kept["table"]).set_index("model"), kept["classes"], kept["what"], kept["seconds"])


def has_rival(spec: EffectMixture) -> bool:
    """Whether there is a model of one class to compare with; see `NO_RIVAL`."""
    individuals = spec.class_of == "individual" and spec.trials is not None
    return not (individuals and (spec.intercept_varies or spec.varying))


def _families(fit: Fit, given: Sequence[str] | None) -> tuple[str, ...]:
    spec = fit.spec
    if not isinstance(spec, EffectMixture) or spec.classes == 1:
        raise SpecError("There are no latent classes in this model to find a rival for: fit a bh.EffectMixture.")
    family = "binomial" if spec.trials is not None else spec.family
    known = next((group for group in (CONTINUOUS, COUNTS) if family in group), (family,))
    if family == "binomial" and spec.class_of == "individual":
        if not has_rival(spec):
            raise SpecError(NO_RIVAL)
        known = TRIALS if fit.design["trials"].max() > 1 else TRIALS[:1]
    if given is None:
        return known if fit.design.sizes["row"] <= MANY else known[:1]
    wrong = [f for f in given if f not in known]
    if wrong or not given:
        raise SpecError(f"families={tuple(given)!r}: rivals of family={spec.family!r} can be {known}.")
    return tuple(given)


def _rival(found: Fit, family: str) -> Fit:
    """The model of one class, fitted to the same rows."""
    record, data = found.record, columns.raw_frame(found.design)
    rival = _counted(found, family) if family in TRIALS else _random_slope(found.spec, family)
    if rival.cluster == OWN:
        data[OWN] = range(len(data))
    settings = {k: record[k] for k in ("draws", "tune", "seed", "chains", "target_accept")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the verdict of the table
        return fit(rival, data, progress=False, **settings)


def _counted(found: Fit, family: str) -> EffectMixture:
    """One class of binomial counts, with normal random effects of clusters, or of rows."""
    spec, arms = found.spec, found.design.sizes.get(found.spec.treatment, 0)
    one = {"classes": 1, "membership": "", "membership_varies": False, "order": None, "shared": ()}
    if spec.class_of == "cluster":
        one |= {"intercept_varies": True, "varying": "all" if 0 < arms < MOST_INTEGRATED else ()}
    elif family == "overdispersed binomial":
        one |= {"class_of": "cluster", "cluster": OWN, "intercept_varies": True}
    return replace(spec, **one, priors=_priors(spec, "binomial", one.get("intercept_varies", False)))


def _random_slope(spec: EffectMixture, family: str) -> RandomSlope:
    clusters = spec.class_of == "cluster"
    varies = clusters or spec.intercept_varies
    return RandomSlope(
        outcome=spec.outcome,
        treatment=spec.treatment,
        reference=spec.reference,
        cluster=spec.cluster,
        covariates=spec.covariates,
        varying="all" if clusters else spec.varying,
        intercept_varies=varies and spec.cluster is not None,
        family=family,
        priors=_priors(spec, family, varies and spec.cluster is not None),
    )


def _priors(spec: EffectMixture, family: str, random: bool):
    """What the user said of parameters that the rival has too."""
    if isinstance(spec.priors, str):
        return spec.priors
    same = ["gamma0", "gamma1", "gamma2"] + (["sd", "corr"] if random else [])
    same += ["sigma"] if family in CONTINUOUS else []
    return {k: p for k, p in spec.priors.items() if k.split("[")[0] in same}
