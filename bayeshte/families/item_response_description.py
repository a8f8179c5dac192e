"""An ItemResponse as LaTeX and in words."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.families.item_response_arrays import Arrays
from bayeshte.latex import text
from bayeshte.spec import Description

REFERENCES = (
    "Gilbert, J. B., Himmelsbach, Z., Soland, J., & Domingue, B. W. (2025). Estimating heterogeneous treatment effects with "
    "item-level outcome data: Insights from item response theory. Journal of Policy Analysis and Management, 44, 1417-1449.",
    "Gilbert, J. B., Miratrix, L. W., Joshi, M., & Domingue, B. W. (2025). Disentangling person-dependent and item-dependent "
    "causal effects. Journal of Educational and Behavioral Statistics, 50, 72-101.",
)


def equations(spec, design: xr.Dataset) -> list[str]:
    """The model in LaTeX."""
    D = Arrays(design)
    effect = r" + \zeta_i T_j" if D.q > 1 else ""
    ability = [r"\beta_0 + \beta_1 T_j"]
    ability += [r"\beta_2^\top X_j"] if D.labels("covariate") else []
    ability += [r"\beta_3^\top M_j T_j"] if D.labels("moderator") else []
    lines = [
        rf"\text{{logit}}\,P({text(spec.response)}_{{ij}} = 1) &= \theta_j + b_i{effect},\quad "
        rf"T_j = [{text(spec.treatment)}_j = {text(D.arms[1])}]",
        rf"\theta_j &= {' + '.join(ability)} + \varepsilon_j,\quad \varepsilon_j \sim N(0,\ \sigma_\theta^2)",
    ]
    if D.q == 1:
        return [*lines, r"b_i &\sim N(0,\ \sigma_b^2)"]
    cell = r"\rho\sigma_b\sigma_\zeta"
    covariance = rf"\begin{{bmatrix}} \sigma_b^2 & {cell} \\ {cell} & \sigma_\zeta^2 \end{{bmatrix}}"
    return [*lines, rf"(b_i, \zeta_i)^\top &\sim N\left(0,\ {covariance}\right)"]


def describe(spec, design: xr.Dataset) -> Description:
    """See `Description`."""
    D = Arrays(design)
    return Description(
        title=f"Effect of {D.treatment} on {spec.response}, item by item",
        sentence=_sentence(spec, D),
        symbols=tuple(_symbols(spec, D)),
        written=tuple((k, v) for k, v in (("covariates", spec.covariates), ("moderators", spec.moderators)) if v),
        coding=tuple(_coding(D)),
        facts=tuple(_facts(spec, D)),
        tables=(("Items by arm", items(D)),),
        unit="1 on the scale of log odds",
        integrated="abilities were integrated out of the likelihood and drawn back from their exact conditional distribution",
        effects=(
            "Effects are on the scale of abilities, in log odds, unless they say otherwise; that on an item is the average "
            "effect plus the item's own. No effect of a single person is given: nobody is seen in two arms."
        ),
        assumptions=tuple(_assumptions(D)),
        references=REFERENCES,
        plot="plot_caterpillar" if D.q > 1 else "plot_effect",
    )


def _sentence(spec, D: Arrays) -> str:
    words = [
        f"a Bayesian explanatory item response model (Rasch, random persons and items) of {spec.response} with the effect of "
        f"{D.treatment} ({D.arms[1]}; reference {D.arms[0]}) on the ability"
    ]
    if spec.moderators:
        words.append(f", moderated by {spec.moderators}")
    if spec.covariates:
        words.append(f", adjusted for {spec.covariates}")
    words.append(
        "; the effect varies over items and may go with their easiness" if D.q > 1 else "; it is the same on all items"
    )
    return "".join(words)


def _symbols(spec, D: Arrays) -> Iterator[tuple[str, str, str]]:
    yield rf"{text(spec.response)}_{{ij}}", spec.response, f"1 if {D.person} j answered {D.item} i right"
    yield "T_j", D.treatment, f"1 if {D.person} j is in {D.arms[1]}, else 0"
    yield r"\theta_j", "theta[j]", f"ability of {D.person} j in the arm that it is in, log odds"
    yield "b_i", "b[i]", f"easiness of {D.item} i in {D.arms[0]}: the larger, the more right answers"
    if D.q > 1:
        yield r"\zeta_i", "zeta[i]", f"how much more {D.item} i gains than the average item"
    zero = ", covariates at zero" if D.labels("covariate") else ""
    yield r"\beta_0", "beta0", f"mean ability in {D.arms[0]}{zero}"
    at = ", moderators at zero" if D.labels("moderator") else ""
    yield r"\beta_1", "beta1", f"effect of {D.arms[1]} on an item of average gain{at}"
    for symbol, dim, role in (("X", "covariate", "covariates"), ("M", "moderator", "moderators")):
        if D.labels(dim):
            yield f"{symbol}_j", "", f"{role}: {', '.join(D.labels(dim))}"
    if D.labels("covariate"):
        arm = f", in {D.arms[0]}" if D.labels("moderator") else ""
        yield r"\beta_2", "beta2[x]", f"difference in ability for one unit of covariate x{arm}"
    if D.labels("moderator"):
        yield r"\beta_3", "beta3[m]", "change of the effect for one unit of moderator m"
    yield r"\sigma_\theta", "sigma_theta", "residual SD of abilities within an arm"
    yield r"\sigma_b", "sigma_b", "SD of easiness across the population of items"
    if D.q > 1:
        yield r"\sigma_\zeta", "sigma_zeta", "SD of effects across the population of items"
        yield r"\rho", "rho", "correlation of easiness and effect across items"


def _coding(D: Arrays) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "The arm is coded as an indicator.", pd.DataFrame({D.treatment: D.arms, "T": [0, 1]})
    _, X, _ = D.persons
    if X.shape[1]:
        columns = {"Column": D.labels("covariate")}
        columns["Moderates the effect"] = [v in D.labels("moderator") for v in columns["Column"]]
        columns |= {"Mean": X.mean(0), "SD": X.std(0, ddof=1), "Smallest": X.min(0), "Largest": X.max(0)}
        yield "Columns that the formulas made, over persons (nothing is centred or scaled):", pd.DataFrame(columns)


def _facts(spec, D: Arrays) -> Iterator[tuple[str, str]]:
    T = D.persons[0]
    yield "Persons by arm", f"{D.arms[0]}: {(T == 0).sum():,}, {D.arms[1]}: {(T == 1).sum():,}; reference {D.arms[0]}"
    n = np.bincount(D.person_code)
    missing = D.design.attrs["missing"]
    left = f"; left out without a response: {missing[0]}" if missing else ""
    yield (
        f"Responses {spec.response}",
        f"{len(D.y):,}, {D.y.mean():.0%} right; {n.min()} to {n.max()} items a person{left}",
    )
    score = np.bincount(D.person_code, D.y)
    yield "Persons with all or none right", f"{(score == n).sum():,} and {(score == 0).sum():,} (they are analysed)"
    table = items(D)
    share = table["right"] / table["responses"]
    yield (
        "Items with one answer only",
        f"{((share == 0) | (share == 1)).sum()} of {len(table)} (analysed, as a draw from all items)",
    )
    arms = table[[f"responses in {a}" for a in D.arms]].to_numpy()
    one = int((arms == 0).any(1).sum())
    yield (
        "Items seen in one arm only",
        f"{one} of {len(table)}" + (" (their effect rests on the other items)" if one else ""),
    )


def items(D: Arrays) -> pd.DataFrame:
    """Responses and shares of right answers of every item."""
    n = [np.bincount(D.item_code[t == D.T], minlength=D.n_items) for t in (0, 1)]
    right = [np.bincount(D.item_code[t == D.T], D.y[t == D.T], minlength=D.n_items) for t in (0, 1)]
    out = {D.item: D.labels(D.item), "responses": n[0] + n[1], "right": (right[0] + right[1]).astype(int)}
    for arm, count, sums in zip(D.arms, n, right, strict=True):
        out[f"responses in {arm}"] = count
        out[f"share right in {arm}"] = np.divide(sums, count, out=np.full(D.n_items, np.nan), where=count > 0)
    return pd.DataFrame(out)


def _assumptions(D: Arrays) -> Iterator[tuple[str, str]]:
    given = f"Given {', '.join(D.labels('covariate'))}, arms" if D.labels("covariate") else "Arms"
    yield (
        "Nothing unmeasured drives both arm and responses (unconfoundedness)",
        f"{given} must be as if drawn by lot. By random assignment this is so by design; otherwise it is an assumption.",
    )
    yield (
        "One person's arm does not touch another's responses (SUTVA)",
        "Persons are independent given their arm and covariates; persons in classes or clinics are not, and the model has no "
        "effects of such clusters.",
    )
    yield (
        "Responses of a person are independent given ability and items",
        "All items measure one ability and discriminate alike. Items that share a text, or guessing, break this.",
    )
    yield (
        "What is missing tells nothing (missing at random)",
        "A response that is missing may depend on arm, covariates and the other responses, not on what it would have been.",
    )
