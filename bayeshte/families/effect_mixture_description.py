"""An EffectMixture in words and as LaTeX: what reports, the command line and notebooks say of it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.families.effect_mixture_arrays import INTERCEPT, Arrays
from bayeshte.latex import text
from bayeshte.spec import Description

REFERENCES = (
    "Kim, J.-S., Buhrman, G., & Liao, X. (2025). Beyond averages: treatment effect heterogeneity in multilevel data.",
    "Lyu, W., Kim, J.-S., & Suk, Y. (2022). Estimating heterogeneous treatment effects within latent class multilevel models: "
    "a Bayesian approach. Journal of Educational and Behavioral Statistics, 48(1), 3-36.",
    "Stephens, M. (2000). Dealing with label switching in mixture models. Journal of the Royal Statistical Society B, 62, "
    "795-809.",
)
KINDS = {"gaussian": "Gaussian", "student": "Student t", "logit": "binary, logit link", "poisson": "counts, log link"}


def describe(spec, design: xr.Dataset) -> Description:
    """See `Description`."""
    D = Arrays(design)
    what = f"Effect of {D.treatment} on {D.outcome}" if D.contrasts else D.outcome
    return Description(
        title=f"{what} in {D.classes} latent classes" if D.classes > 1 else what,
        sentence=_sentence(spec, D),
        symbols=(*_data_symbols(D), *_parameters(D)),
        written=tuple((k, v) for k, v in (("covariates", spec.covariates), ("membership", spec.membership)) if v),
        coding=tuple(_coding(D)),
        facts=tuple(_facts(D)),
        unit="the outcome's SD" if D.sigmas else "1 on the link scale",
        integrated=_integrated(D),
        effects=_effects(D),
        assumptions=tuple(_assumptions(D)) if D.contrasts else (),
        references=REFERENCES,
        plot="plot_effect",
    )


def _units(D: Arrays) -> str:
    return "rows" if D.unit == "row" else f"clusters of {D.cluster}"


def _sentence(spec, D: Arrays) -> str:
    kind = "binomial, logit link" if spec.trials else KINDS[D.family]
    words = [f"a Bayesian finite mixture of {D.outcome} ({kind}) with {D.classes} latent classes of {_units(D)}"]
    if D.contrasts:
        words.append(f" and the effects of {D.treatment} ({', '.join(D.contrasts)}; reference {D.reference}) in each")
    if spec.covariates:
        words.append(f", adjusted for {spec.covariates}")
    if spec.membership:
        words.append(f"; membership depends on {spec.membership}")
    if D.q:
        named = " and ".join("the intercept" if v == INTERCEPT else f"the effect of {v}" for v in D.varying)
        where = "" if D.unit == "row" else "within a class "
        how = (
            f", {'in each class in its own way' if D.own_effects else 'alike in all classes'}"
            if D.unit == "row"
            else ""
        )
        words.append(f"; {where}{named} {'vary' if D.q > 1 else 'varies'} across {D.cluster}{how}")
    if D.varies:
        words.append(f"; class probabilities vary across {D.cluster}")
    same = [v for v in D.shared if v != "u"]
    if same:
        words.append(f"; {', '.join(same)} the same in all classes")
    return "".join(words)


def _integrated(D: Arrays) -> str:
    drawn = "drawn back afterwards from their exact conditional distribution"
    if D.units.nodes:
        return (
            "latent classes were integrated out of the likelihood exactly, random effects by adaptive Gauss-Hermite quadrature "
            f"with {D.units.nodes} nodes for each, and {drawn}"
        )
    effects = " and random effects" if D.q and D.unit != "row" else ""
    return f"latent classes{effects} were integrated out of the likelihood exactly and {drawn}"


def _effects(D: Arrays) -> str:
    return (
        "Classes are not observed: every statement about them carries the uncertainty of who belongs to which, and no "
        f"{'person' if D.unit == 'row' else 'cluster'} is analysed as if its class were known. A mixture also finds classes in "
        "one population with skewed or heavy-tailed residuals: compare with such a model before speaking of subgroups."
    )


def _data_symbols(D: Arrays) -> Iterator[tuple[str, str, str]]:
    yield rf"{text(D.outcome)}_{{ij}}", D.outcome, "outcome of row i" + (f" in {D.cluster} j" if D.cluster else "")
    yield r"\eta_{ij}", "", "linear predictor"
    yield "c", "label", f"class of each of the {_units(D)}"
    if D.contrasts:
        yield rf"[{text(D.treatment)}_{{ij}} = a]", D.treatment, "1 if row i is in arm a, else 0"
    if D.labels("covariate"):
        yield "X_{ij}", "", f"covariates: {', '.join(D.labels('covariate'))}"


def _parameters(D: Arrays) -> Iterator[tuple[str, str, str]]:
    def own(name):
        return "the same in all classes" if name in D.shared else "in class c"

    yield r"\gamma_{0c}", "gamma0[c]", f"intercept {own('gamma0')}"
    if D.contrasts:
        yield r"\gamma_{1c,a}", "gamma1[c, a]", f"effect of arm a compared with {D.reference} {own('gamma1')}"
    if D.labels("covariate"):
        yield r"\gamma_{2c}", "gamma2[c, x]", f"difference in the outcome for one unit of covariate x {own('gamma2')}"
    if D.q:
        one, within = "class" not in D.with_class("sd", ()), "in" if D.unit == "row" else "of"
        symbol, name = (r"\text{sd}", "sd[v]") if one else (r"\text{sd}_c", "sd[c, v]")
        yield (
            symbol,
            name,
            f"SD of random effect v across clusters{', alike in all classes' if one else f' {within} class c'}",
        )
    if D.q > 1:
        symbol, name = (r"\text{corr}", "corr[v, w]") if one else (r"\text{corr}_c", "corr[c, v, w]")
        yield symbol, name, f"their correlations {'the same in all classes' if one else 'in class c'}"
    if D.sigmas:
        yield (
            r"\sigma_c",
            "sigma[c]",
            f"{'scale of the t distribution' if D.family == 'student' else 'residual SD'} {own('sigma')}",
        )
    if D.family == "student":
        yield r"\nu_c", "nu[c]", f"degrees of freedom {own('nu')}"
    if D.logit_membership:
        yield (
            r"\alpha_c",
            "alpha[c, w]",
            "log odds of class c, compared with the average class, where W is zero but for its 1; their change per unit of w",
        )
    if D.varies:
        yield (
            r"a_{cj}",
            "u_membership",
            f"effect of {D.cluster} j on the log odds of class c; over classes they add up to 0",
        )
        yield "s", "sd_membership", f"SD across {D.cluster} of the log odds of one class against another, whichever two"
    if D.classes > 1 and not D.logit_membership:
        yield r"\pi_c", "pi[c]", f"share of class c in the population of {_units(D)}"


def _coding(D: Arrays) -> Iterator[tuple[str, pd.DataFrame]]:
    if D.contrasts:
        arms = D.labels(D.arms)
        table = pd.DataFrame({D.treatment: arms})
        for contrast in D.contrasts:
            table[f"[{D.treatment} = {contrast}]"] = [int(arm == contrast) for arm in arms]
        yield "Arms are coded as indicators; the first row is the reference, with which the others are compared.", table


def _facts(D: Arrays) -> Iterator[tuple[str, object]]:
    yield f"Outcome {D.outcome}", D.y
    if D.contrasts:
        sizes = dict(zip(D.labels(D.arms), np.bincount(D.arm, minlength=len(D.contrasts) + 1), strict=True))
        shown = ", ".join(f"{arm}: {n:,}" for arm, n in sizes.items())
        yield f"Rows by arm of {D.treatment}", f"{shown}; reference {D.reference}"
    yield "What belongs to a class", f"{D.n_units:,} {_units(D)}"


def _assumptions(D: Arrays) -> Iterator[tuple[str, str]]:
    yield (
        "One person's arm does not touch another's outcome, and each arm is one thing (SUTVA)",
        "The effect of an arm must not depend on who else is in it. If an arm was delivered in two ways, the ways can appear as "
        "classes.",
    )
    given = f"Given {', '.join(D.labels('covariate'))} and the class" if D.labels("covariate") else "Within a class"
    yield (
        "Nothing unmeasured drives both arm and outcome (unconfoundedness)",
        f"{given}, arms must be as if drawn by lot. By random assignment this is so by design; otherwise the classes can stand "
        "for confounding instead of differences in the effect.",
    )
    yield (
        "The classes are what the model says they are",
        "That effects differ between classes rests on the distribution of the outcome within a class. With another residual "
        "distribution the same data may need fewer classes, or none.",
    )


def equations(spec, design: xr.Dataset) -> list[str]:
    """The model in LaTeX."""
    D = Arrays(design)

    def own(symbol, name):
        return f"{symbol}_c" if "class" in D.with_class(name, ()) else symbol

    y = rf"{text(spec.outcome)}_{{ij}}"
    base = r"\gamma_{0c}" if "gamma0" not in D.shared else r"\gamma_0"
    of = "cj" if D.own_effects else "j"
    terms = [f"({base} + U_{{0{of}}})" if D.q else base]
    for arm in D.contrasts:
        index = text(arm)
        effect = rf"\gamma_{{1c,{index}}}" if "gamma1" not in D.shared else rf"\gamma_{{1,{index}}}"
        if arm in D.varying:
            effect = rf"({effect} + U_{{{index},{of}}})"
        terms.append(rf"{effect}\,[{text(D.treatment)}_{{ij}} = {index}]")
    if D.X.shape[1]:
        terms.append((r"\gamma_{2c}" if "gamma2" not in D.shared else r"\gamma_2") + r"^\top X_{ij}")
    sigma, nu = own(r"\sigma", "sigma"), own(r"\nu", "nu")
    noise = {
        "gaussian": rf"N(\eta_{{ij}},\ {sigma}^2)",
        "student": rf"t_{{{nu}}}(\eta_{{ij}},\ {sigma})",
        "logit": r"\text{Bernoulli}(\text{logit}^{-1}\,\eta_{ij})",
        "poisson": r"\text{Poisson}(\exp \eta_{ij})",
    }[D.family]
    if spec.trials:
        noise = rf"\text{{Binomial}}({text(spec.trials)}_{{ij}},\ \text{{logit}}^{{-1}}\,\eta_{{ij}})"
    who = "ij" if D.unit == "row" else "j"
    lines = [rf"{y} &\sim {noise}", rf"\eta_{{ij}} &= {' + '.join(terms)}"]
    if D.q:
        names = [rf"U_{{0{of}}}", *(rf"U_{{{text(a)},{of}}}" for a in D.varying[1:])]
        left = names[0] if D.q == 1 else rf"({r',\ '.join(names)})^\top"
        tau = rf"{own(r'\text{sd}', 'sd')}^2" if D.q == 1 else own(r"\tau", "sd")
        lines.append(rf"{left} &\sim N(0,\ {tau}),\quad j = {text(D.cluster)}")
    if D.classes > 1:
        more = " + a_{cj}" if D.varies else ""
        chance = rf"\text{{softmax}}_c(\alpha_c^\top W_j{more})" if D.logit_membership else r"\pi_c"
        lines.append(
            rf"P(\text{{class}}_{{{who}}} = c) &= {chance.replace('W_j', f'W_{{{who}}}')},\quad c = 1, \dots, {D.classes}"
        )
    if D.varies:
        lines.append(r"a_{cj} - a_{lj} &\sim N(0,\ s^2),\quad \textstyle\sum_c a_{cj} = 0")
    return lines
