"""A RandomSlope in words: what reports and the command line say of it and of its data."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.families.random_slope_arrays import CONTINUOUS, Arrays
from bayeshte.latex import text
from bayeshte.marginal.glmm_outcomes import ORDERED
from bayeshte.spec import Description, Estimand

LIKELIHOODS = {
    "gaussian": "normal",
    "student": "Student t",
    "skew normal": "skew normal",
    "logit": "Bernoulli with a logit link",
    "probit": "Bernoulli with a probit link",
    "poisson": "Poisson with a log link",
    "negative binomial": "negative binomial with a log link",
    "ordered logit": "ordered categories with a logit link",
    "ordered probit": "ordered categories with a probit link",
}
#: what the linear predictor is
SCALES = {
    "logit": "log odds",
    "probit": "probit (z) scale",
    "poisson": "log of the expected count",
    "negative binomial": "log of the expected count",
    "ordered logit": "log odds of a higher category",
    "ordered probit": "probit (z) scale of a higher category",
}
INTEGRATED = (
    "random effects were integrated out of the likelihood and drawn back from their exact conditional distribution"
)
REFERENCE = "Kim, J.-S., Buhrman, G., & Liao, X. (2025). Beyond averages: Portraying treatment effect variation."


def describe(spec, design: xr.Dataset) -> Description:
    """See `Description`."""
    D = Arrays(design)
    place = f"{D.outcome} across {D.cluster}" if D.cluster else D.outcome
    formulas = [("covariates", spec.covariates), ("moderators", spec.moderators), ("slopes", spec.slopes)]
    formulas += [("split within and between clusters", v) for v in spec.within_between]
    by_cluster = D.contrasts and D.cluster
    return Description(
        title=f"Effect of {D.treatment} on {D.outcome}" if D.contrasts else place,
        sentence=_sentence(spec, D),
        symbols=(*_data_symbols(spec, D), *_coefficients(D), *_spread(D)),
        written=tuple((role, formula) for role, formula in formulas if formula),
        coding=tuple(_coding(D)),
        facts=tuple(_facts(spec, D)),
        tables=(("Rows of every cluster by arm", _arms_by_cluster(D)),) if by_cluster else (),
        unit=_unit(D),
        integrated=INTEGRATED if D.q and D.family == "gaussian" else "",
        effects=_effects(D),
        assumptions=tuple(_assumptions(spec, D)) if D.contrasts else (),
        references=(REFERENCE,),
        plot="plot_caterpillar" if _differs(D) else "plot_effect",
    )


def _differs(D: Arrays) -> bool:
    """Whether something can be drawn for every cluster."""
    if not D.contrasts:
        return D.q > 0
    return bool(D.cluster) and (D.M.shape[1] > 0 or bool({*D.contrasts} & {*D.varying}))


def _sentence(spec, D: Arrays) -> str:
    words = [f"a Bayesian {'multilevel ' if D.q else ''}model of {D.outcome} ({LIKELIHOODS[D.family]}"]
    if D.se is not None:
        words.append(f" with known standard errors, {spec.standard_error})")
    else:
        words.append(", residual SD by arm)" if D.sigmas > 1 else ")")
    if D.contrasts:
        words.append(f" with the effects of {D.treatment} ({', '.join(D.contrasts)}; reference {D.reference})")
    if spec.moderators:
        words.append(f", moderated by {spec.moderators}")
    if spec.covariates:
        words.append(f", adjusted for {spec.covariates}")
    if D.q:
        named = " and ".join(["the intercept" if v == "intercept" else f"the effect of {v}" for v in D.varying])
        together = " with a full covariance matrix" if D.q > 1 else ""
        words.append(f"; {named} {'vary' if D.q > 1 else 'varies'} across {D.cluster}{together}")
    return "".join(words)


def _unit(D: Arrays) -> str:
    """What the default priors are scaled by."""
    if D.family not in CONTINUOUS:
        return f"{0.6 if D.family.endswith('probit') else 1} on the link scale"
    if D.se is not None:
        value = float(np.sqrt(D.y.var() + np.median(D.se) ** 2))
        return f"the outcome's SD and the typical standard error together, {_three_digits(value)}"
    return f"the outcome's SD, {_three_digits(float(D.y.std()))}"


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _effects(D: Arrays) -> str:
    if not D.contrasts:
        return "The model has no treatment: these are expected outcomes and how they spread, each with what it averages over."
    link = "Effects are on the scale of the outcome unless they say otherwise. " if D.family in SCALES else ""
    return (
        "Every effect is a difference between expected outcomes had the same people been in one arm or the other. Each says "
        "over whom it averages; averages over persons and over clusters differ when effects go with cluster size. "
        f"{link}No effect of a single person is given: nobody is seen in two arms, so it is not identified."
    )


# ---------------------------------------------------------------------------------------------- symbols


def _data_symbols(spec, D: Arrays) -> Iterator[tuple[str, str, str]]:
    unit = f"row i in {D.cluster} j" if D.cluster else "row i"
    yield rf"{text(D.outcome)}_{{ij}}", D.outcome, f"outcome of {unit}"
    yield r"\eta_{ij}", "", f"linear predictor: {SCALES.get(D.family, 'expected outcome')} of {unit}"
    if D.contrasts:
        yield rf"[{text(D.treatment)}_{{ij}} = a]", D.treatment, f"1 if {unit} is in arm a, else 0"
    for symbol, dim, role in (("X", "covariate", "covariates"), ("M", "moderator", "moderators")):
        if D.labels(dim):
            yield rf"{symbol}_{{ij}}", "", f"{role}: {', '.join(D.labels(dim))}"
    if D.se is not None:
        column = spec.standard_error
        yield rf"{text(column)}_{{ij}}", column, "standard error of the outcome, taken as known"


def _coefficients(D: Arrays) -> Iterator[tuple[str, str, str]]:
    zero = ["covariates at zero"] if D.labels("covariate") else []
    zero += [f"in the average {D.cluster}: random effects zero"] if D.q else []
    where = f" ({', '.join(zero)})" if zero else ""
    who = f" in {D.reference}" if D.contrasts else ""
    scale = f", on the {SCALES[D.family]}" if D.family in SCALES else ""
    moderated = bool(D.contrasts and D.labels("moderator"))
    what = f"P({D.thresholds[0]})" if D.thresholds else "expected outcome"
    scale_of_it = f", as {SCALES[D.family]}" if D.thresholds else scale
    yield r"\gamma_0", "gamma0", f"{what}{who}{where}{scale_of_it}"
    if D.contrasts:
        at = " where the moderators are zero" if moderated else ""
        average = " in the average cluster" if D.q else ""
        yield r"\gamma_{1,a}", "gamma1[a]", f"effect of arm a: difference to {D.reference}{at}{average}{scale}"
    if D.labels("covariate"):
        arm = f", in {D.reference}" if moderated else ""
        yield r"\gamma_2", "gamma2[x]", f"difference in the outcome for one unit of covariate x{arm}{scale}"
    if moderated:
        yield r"\gamma_{3,a}", "gamma3[a:m]", f"change of the effect of arm a for one unit of moderator m{scale}"


def _spread(D: Arrays) -> Iterator[tuple[str, str, str]]:
    for v in D.varying:
        what = "intercept" if v == "intercept" else f"effect of {v}" if v not in D.slopes else f"slope of {v}"
        symbol = "U_{0j}" if v == "intercept" else rf"U_{{{text(v)},j}}"
        yield symbol, f"u[j, {v}]", f"how far the {what} of {D.cluster} j is from the average one"
    if D.q:
        yield r"\text{sd}", "sd[v]", f"SD across {D.cluster} of each random effect ({', '.join(D.varying)})"
    if D.q > 1:
        yield r"\text{corr}", "corr[v, w]", f"correlations across {D.cluster} of the random effects"
        yield r"\tau", "", "covariance matrix of the random effects"
    if D.sigmas:
        kind = "scale of the t distribution" if D.family == "student" else "residual SD"
        yield r"\sigma", "sigma", kind + (" within clusters" if D.q else "")
    if D.family == "student":
        yield r"\nu", "nu", "degrees of freedom: below 10 the tails are heavy"
    if D.family == "negative binomial":
        yield r"\phi", "phi", "dispersion: the variance is mean + mean^2 / phi; Poisson where it is large"
    if D.thresholds:
        yield r"\kappa_k", "", f"thresholds of {', '.join(D.thresholds)}; the first is zero"
    if D.labels("inner_category"):
        yield (
            r"\text{width}_k",
            "width[c]",
            f"distance between the thresholds below and above category c, on the {SCALES[D.family]}",
        )
    if D.family == "skew normal":
        yield r"\alpha", "alpha", "shape of the residual: 0 normal, positive skewed to the right, 4 a skewness of 0.78"


# ---------------------------------------------------------------------------------------------- data


def _coding(D: Arrays) -> Iterator[tuple[str, pd.DataFrame]]:
    """Arms as indicators, and the columns that the formulas made."""
    if D.contrasts:
        arms = D.labels(D.arms)
        table = pd.DataFrame({D.treatment: arms})
        for contrast in D.contrasts:
            table[f"[{D.treatment} = {contrast}]"] = [int(arm == contrast) for arm in arms]
        yield (
            "Arms are coded as indicators; the first row is the reference, with which the others are compared.",
            table,
        )
    if D.labels("covariate"):
        columns = {"Column": D.labels("covariate")}
        columns["Moderates the effect"] = [v in D.labels("moderator") for v in columns["Column"]]
        columns |= {"Mean": D.X.mean(0), "SD": D.X.std(0, ddof=1), "Smallest": D.X.min(0), "Largest": D.X.max(0)}
        made = (
            "Columns that the formulas made, as they enter the model (nothing is centred or scaled unless the formula "
        )
        yield f"{made}says so):", pd.DataFrame(columns)


def _facts(spec, D: Arrays) -> Iterator[tuple[str, str | np.ndarray | Estimand]]:
    yield f"Outcome {D.outcome}", D.y
    if D.thresholds:
        sizes = np.bincount(D.y.astype(int))
        names = D.design.attrs["categories"]
        yield "Rows by category, counted from 0", ", ".join(f"{c}: {n:,}" for c, n in zip(names, sizes, strict=True))
    if len(D.design.attrs["unused_categories"]):
        yield "Categories that do not occur, closed up", ", ".join(D.design.attrs["unused_categories"])
    if D.se is not None:
        yield f"Standard error {spec.standard_error}", D.se
    if D.contrasts:
        sizes = dict(zip(D.labels(D.arms), np.bincount(D.arm, minlength=D.n_contrasts + 1), strict=True))
        shown = ", ".join(f"{arm}: {n:,}" for arm, n in sizes.items())
        yield f"Rows by arm of {D.treatment}", f"{shown}; reference {D.reference}"
        if D.cluster:
            yield "Clusters with all arms", _support(D)
    found = _icc(D)
    if found:
        yield found.name, found


def _support(D: Arrays) -> str:
    held = D.arm_counts > 0
    whole, one = int(held.all(1).sum()), int((held.sum(1) == 1).sum())
    return f"{whole:,} of {len(held):,}" + (f"; {one:,} with one arm only" if one else "; none with one arm only")


def _arms_by_cluster(D: Arrays) -> pd.DataFrame:
    out = pd.DataFrame(D.arm_counts, columns=pd.Index([f"{D.treatment} = {arm}" for arm in D.labels(D.arms)]))
    out.insert(0, D.cluster, D.labels(D.cluster))
    return out.assign(**{"all arms": D.arm_counts.sum(1)})


def _icc(D: Arrays) -> Estimand | None:
    """Share of the variance that lies between clusters; None where the model has no such number."""
    latent = {"logit": np.pi**2 / 3, "probit": 1.0}.get(ORDERED.get(D.family, D.family))
    if (D.family != "gaussian" and latent is None) or D.se is not None or "intercept" not in D.varying:
        return None
    plain = latent or (D.q == 1 and D.sigmas == 1)
    where = ", latent scale" if latent else ""
    where += "" if plain else f", in {D.reference}" if D.contrasts else ", slopes at zero"

    def share(posterior, design):
        between = posterior["sd"].sel(varying="intercept", drop=True) ** 2
        sigma = posterior["sigma"] if latent is None else np.sqrt(latent)
        if D.sigmas > 1:
            sigma = sigma.sel({D.arms: D.reference}, drop=True)
        return between / (between + sigma**2)

    definition = "share of the variance that lies between clusters"
    return Estimand(f"ICC (share of variance between {D.cluster}{where})", definition, share, "share")


# ---------------------------------------------------------------------------------------------- causal reading


def _assumptions(spec, D: Arrays) -> Iterator[tuple[str, str]]:
    held = D.arm_counts > 0 if D.cluster else np.ones((0, 0), bool)
    spill = (
        f"Within a {D.cluster} people meet, share staff and compare notes, so that spill-over between arms is the first thing "
        "to rule out by design; differences in how an arm was delivered end up in the spread of its effects."
        if D.cluster
        else "Differences in how an arm was delivered end up in the spread of its effects."
    )
    yield (
        "One person's arm does not touch another's outcome, and each arm is one thing (SUTVA)",
        "The effect of an arm must not depend on who else is in it, and everybody in an arm must have got the same treatment. "
        f"Nothing in a table of outcomes can show that. {spill}",
    )
    covariates = ", ".join(D.labels("covariate"))
    if covariates:
        given = f"Given {covariates}{f' (and the {D.cluster})' if D.cluster else ''}, arms must be as if drawn by lot."
    else:
        place = f"Within a {D.cluster}, arms" if D.cluster else "Arms"
        given = f"{place} must be as if drawn by lot: the model adjusts for no covariate."
    yield (
        "Nothing unmeasured drives both arm and outcome (unconfoundedness)",
        f"{given} By random assignment this is so by design; otherwise it is an assumption. The balance table can show that "
        f"measured covariates differ; it can say nothing of unmeasured ones.{_intercepts(spec, D)}",
    )
    sizes = dict(zip(D.labels(D.arms), np.bincount(D.arm, minlength=D.n_contrasts + 1), strict=True))
    words = [", ".join(f"{arm}: {n:,} rows" for arm, n in sizes.items()) + "."]
    words += [f"Clusters with all arms: {_support(D)}."] if D.cluster else []
    if (held.sum(1) == 1).any():
        words.append(
            "Clusters that hold one arm only say nothing of their own effect; it is what the other clusters lead one to expect."
        )
    words.append("Overlap in measured covariates is in the section before; overlap in unmeasured ones cannot be seen.")
    yield "Everybody could have been in either arm (positivity)", " ".join(words)


def _intercepts(spec, D: Arrays) -> str:
    """What random intercepts assume of the arms."""
    if "intercept" not in D.varying:
        return ""
    split = ", ".join(spec.within_between)
    guard = (
        f"The cluster means of {split} are adjusted for."
        if split
        else "Adding cluster means (within_between) or cluster-level covariates guards against it."
    )
    return (
        f" The random intercepts are taken to be unrelated to the arms: where the share of people in an arm goes with how good "
        f"a {D.cluster} is, part of that difference is read as effect. {guard}"
    )
