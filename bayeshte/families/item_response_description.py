"""An ItemResponse in words."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_names import INTERCEPT, MODELS
from bayeshte.latex import text
from bayeshte.spec import Description

REFERENCES = (
    "Gilbert, J. B., Himmelsbach, Z., Soland, J., & Domingue, B. W. (2025). Estimating heterogeneous treatment effects with "
    "item-level outcome data: Insights from item response theory. Journal of Policy Analysis and Management, 44, 1417-1449.",
    "Gilbert, J. B., Miratrix, L. W., Joshi, M., & Domingue, B. W. (2025). Disentangling person-dependent and item-dependent "
    "causal effects. Journal of Educational and Behavioral Statistics, 50, 72-101.",
)


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
        tables=(("Items by arm", items(D)),)
        if D.binary
        else (("Items by arm", items(D)), ("Categories", categories(D))),
        unit=f"1 on the scale of {D.unit}",
        integrated="abilities were integrated out of the likelihood and drawn back from their exact conditional distribution"
        + (f"; the likelihood of a person is given the effects of its {D.cluster}" if D.cluster else ""),
        effects=(
            f"Effects are on the scale of abilities, in {D.unit}, unless they say otherwise; that on an item is the average "
            "effect plus the item's own. No effect of a single person is given: nobody is seen in two arms"
            + (f" on the same occasion of {D.occasion}." if D.occasion else ".")
        ),
        assumptions=tuple(_assumptions(D)),
        references=REFERENCES,
        plot="plot_caterpillar" if D.q > 1 else "plot_effect",
    )


def _sentence(spec, D: Arrays) -> str:
    model = {"rasch": "Rasch", "2pl": "two-parameter", "graded": "graded response"}.get(D.model, D.model)
    model += ", probit link" if D.design.attrs["link"] == "probit" else ""
    kind = f"{model}, random persons, fixed items" if D.fixed else f"{model}, random persons and items"
    words = [
        f"a Bayesian explanatory item response model ({kind}) of {spec.response} with the effect of "
        f"{D.treatment} ({', '.join(D.contrasts)}; reference {D.arms[0]}) on the ability"
    ]
    if spec.moderators:
        words.append(f", moderated by {spec.moderators}")
    if spec.covariates:
        words.append(f", adjusted for {spec.covariates}")
    if D.cluster:
        varying = [v for v in D.cluster_varying if v in D.contrasts]
        words.append(
            f", with {D.cluster} in which the mean ability {'and the effect differ' if varying else 'differs'}"
        )
    if D.occasion:
        before, after = D.labels(D.occasion)
        change = (
            f"what changes without treatment is that in {D.arms[0]}"
            if D.untreated_after
            else "everybody is treated after"
        )
        words.append(f", answered before and after treatment ({D.occasion}: {before}, {after}; {change})")
    words.append(
        "; the effect varies over items and may go with their easiness" if D.q > 1 else "; it is the same on all items"
    )
    if spec.item_covariates:
        words.append(f"; easiness{' and effects' if D.q > 1 else ''} of items are explained by {spec.item_covariates}")
    if len(D.sigmas) > 1 and not D.occasion:
        words.append("; the residual SD of abilities differs by arm")
    return "".join(words)


def _symbols(spec, D: Arrays) -> Iterator[tuple[str, str, str]]:
    arm = D.contrasts[0] if D.n_contrasts == 1 else "the arm"
    label = "" if D.n_contrasts == 1 else "[arm]"
    yield rf"{text(spec.response)}_{{ij}}", spec.response, _answer(D)
    yield rf"{text(D.treatment)}_j", D.treatment, f"arm of {D.person} j"
    if D.occasion:
        yield r"\theta_{jt}", "theta[j, t]", f"ability of {D.person} j on occasion t of {D.occasion}, {D.unit}"
    else:
        yield r"\theta_j", "theta[j]", f"ability of {D.person} j in the arm that it is in, {D.unit}"
    zero = ", covariates at zero" if D.labels("covariate") else ""
    where = f"before ({D.labels(D.occasion)[0]})" if D.occasion else f"in {D.arms[0]}"
    yield r"\beta_0", "beta0", f"mean ability {where}{zero}"
    at = ", moderators at zero" if D.labels("moderator") else ""
    at += ", item covariates at zero" if D.labels("item_covariate") and D.q > 1 else ""
    whole = ": the whole change from before" if D.occasion and not D.untreated_after else ""
    yield r"\beta_1", f"beta1{label}", f"effect of {arm} on an item of average gain{at}{whole}"
    if D.untreated_after:
        yield r"\beta_\text{time}", "beta_time", f"change of the mean ability without treatment, in {D.arms[0]}"
    for symbol, dim, role in (("X", "covariate", "covariates"), ("M", "moderator", "moderators")):
        if D.labels(dim):
            yield f"{symbol}_j", "", f"{role}: {', '.join(D.labels(dim))}"
    if D.labels("covariate"):
        where = f", in {D.arms[0]}" if D.labels("moderator") else ""
        yield r"\beta_2", "beta2[x]", f"difference in ability for one unit of covariate x{where}"
    if D.labels("moderator"):
        yield r"\beta_3", f"beta3[{'arm, ' if label else ''}m]", "change of the effect for one unit of moderator m"
    by = f" by {'occasion' if D.occasion else 'arm'}" if len(D.sigmas) > 1 else ""
    yield (
        r"\sigma_\theta",
        f"sigma_theta[{'t' if D.occasion else 'arm'}]" if by else "sigma_theta",
        f"residual SD of abilities{by or ' within an arm'}",
    )
    if D.occasion:
        yield r"\rho_\theta", "rho_theta", "correlation of abilities before and after, beside arms and covariates"
    yield from _symbols_of_items(D, label)
    yield from _symbols_of_clusters(D)


def _answer(D: Arrays) -> str:
    if D.binary:
        return f"1 if {D.person} j answered {D.item} i right"
    return f"category, counted from 0, in which {D.person} j answered {D.item} i"


def _symbols_of_items(D: Arrays, label: str) -> Iterator[tuple[str, str, str]]:
    more = "the more right answers" if D.binary else "the higher the categories"
    where = f"before ({D.labels(D.occasion)[0]})" if D.occasion else f"in {D.arms[0]}"
    yield "b_i", "b[i]", f"easiness of {D.item} i {where}: the larger, {more}"
    if D.untreated_after:
        yield (
            r"\text{drift}_i",
            "drift[i]",
            f"how much easier {D.item} i became without treatment than the average {D.item}",
        )
        yield r"\sigma_\text{drift}", "sigma_drift", "SD of drift across the population of items"
    if MODELS[D.model][1]:
        yield "a_i", "a[i]", f"discrimination of {D.item} i; the geometric mean over the population of items is one"
        yield r"\sigma_a", "sigma_a", "SD of log discriminations across the population of items"
    if not D.binary:
        yield (
            r"\tau_{ik}",
            "tau[i: l|k]",
            f"threshold between categories l and k of {D.item} i, from their mean, in {D.unit}",
        )
    if D.q > 1:
        name = f"zeta[{'arm, ' if label else ''}i]"
        than = "an average one with item covariates at zero" if D.labels("item_covariate") else f"the average {D.item}"
        yield r"\zeta_i", name, f"how much more {D.item} i gains than {than}"
    if D.labels("item_covariate"):
        yield "W_i", "", f"item covariates: {', '.join(D.labels('item_covariate'))}"
        yield r"\gamma", "gamma[w]", "difference in easiness for one unit of item covariate w"
        if D.q > 1:
            yield (
                r"\delta",
                f"delta[{'arm, ' if label else ''}w]",
                "difference in the effect on an item for one unit of w",
            )
    if D.fixed:
        return
    beside = ", beside item covariates" if D.labels("item_covariate") else ""
    yield r"\sigma_b", "sigma_b", f"SD of easiness across the population of items{beside}"
    if D.q > 1:
        yield r"\sigma_\zeta", f"sigma_zeta{label}", f"SD of effects across the population of items{beside}"
        yield r"\rho", "rho[.,.]" if label else "rho", f"correlation of easiness and effect across items{beside}"


def _symbols_of_clusters(D: Arrays) -> Iterator[tuple[str, str, str]]:
    if not D.cluster:
        return
    yield "v_{0,c}", f"v[c, {INTERCEPT}]", f"how much higher abilities are in {D.cluster} c, in {D.arms[0]}"
    yield rf"\text{{sd}}_\text{{{INTERCEPT}}}", f"sd[{INTERCEPT}]", f"SD of v_0 across the population of {D.cluster}"
    if len(D.cluster_varying) > 1:
        several = D.n_contrasts > 1
        yield (
            r"v_{\text{arm},c}" if several else "v_{1,c}",
            "v[c, arm]",
            f"how much larger the effect is in {D.cluster} c",
        )
        yield r"\text{sd}", "sd[arm]", f"SD of the effect across the population of {D.cluster}"
        yield r"\text{corr}", "corr[.,.]", "correlations of the effects of a cluster"


def _coding(D: Arrays) -> Iterator[tuple[str, pd.DataFrame]]:
    codes = {f"T[{a}]": [int(a == arm) for arm in D.arms] for a in D.contrasts}
    yield "Arms are coded as indicators.", pd.DataFrame({D.treatment: D.arms} | codes)
    _, X, _ = D.persons
    for matrix, dim, over in ((X, "covariate", "persons"), (D.W, "item_covariate", "items")):
        if not matrix.shape[1]:
            continue
        columns: dict = {"Column": D.labels(dim)}
        if dim == "covariate":
            columns["Moderates the effect"] = [v in D.labels("moderator") for v in columns["Column"]]
        columns |= {
            "Mean": matrix.mean(0),
            "SD": matrix.std(0, ddof=1),
            "Smallest": matrix.min(0),
            "Largest": matrix.max(0),
        }
        yield f"Columns that the formulas made, over {over} (nothing is centred or scaled):", pd.DataFrame(columns)


def _facts(spec, D: Arrays) -> Iterator[tuple[str, str]]:
    n = np.bincount(
        D.person_arm[np.unique(D.person_code[D.cell > 0])] if D.occasion else D.person_arm, minlength=len(D.arms)
    )
    by_arm = ", ".join(f"{a}: {k:,}" for a, k in zip(D.arms, n, strict=True))
    yield f"Persons by arm{' after' if D.occasion else ''}", f"{by_arm}; reference {D.arms[0]}"
    if D.cluster:
        size = np.bincount(D.person_cluster, minlength=D.n_clusters)
        arms = len(D.arms)
        cells = np.bincount(D.person_cluster * arms + D.person_arm, minlength=D.n_clusters * arms).reshape(-1, arms)
        several = int(((cells > 0).sum(1) > 1).sum())
        yield (
            f"Clusters of persons: {D.cluster}",
            f"{D.n_clusters:,}, {size.min()} to {size.max()} persons each; {several} with persons in several arms",
        )
    if D.occasion:
        seen = np.bincount(D.seen // 2 * 2 + D.seen % 2, minlength=2 * D.n_persons).reshape(-1, 2) > 0
        before, after = D.labels(D.occasion)
        once = f"{(seen[:, 0] & ~seen[:, 1]).sum():,} on {before} only, {(~seen[:, 0] & seen[:, 1]).sum():,} on {after} only"
        yield f"Persons seen on both occasions of {D.occasion}", f"{seen.all(1).sum():,}; {once} (they are analysed)"
        items_seen = [set(D.item_code[D.is_after[D.sitting_code] == v]) for v in (False, True)]
        yield "Items answered on both occasions", f"{len(items_seen[0] & items_seen[1])} of {D.n_items}"
    n = np.bincount(D.sitting_code)[D.seen]
    missing = D.design.attrs["missing"]
    left = f"; left out without a response: {missing[0]}" if missing else ""
    right, each = f"{D.y.mean():.0%} right; " if D.binary else "", "person and occasion" if D.occasion else "person"
    yield f"Responses {spec.response}", f"{len(D.y):,}, {right}{n.min()} to {n.max()} items a {each}{left}"
    if D.binary:
        yield from _right_or_wrong(D, n)
    else:
        yield from _categories(D)
    table = items(D)
    arms = table[[v for v in table if v.startswith("responses in ")]].to_numpy()
    one = int((arms == 0).any(1).sum())
    where = "Items seen in one arm only" if D.n_contrasts == 1 else "Items not seen in all arms"
    yield (
        "Items not seen in all arms and on both occasions" if D.occasion else where,
        f"{one} of {len(table)}" + (" (their effect rests on the other items)" if one else ""),
    )


def _categories(D: Arrays) -> Iterator[tuple[str, str]]:
    n = D.form.n_categories
    yield "Categories of an item", f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    closed = D.design.attrs["closed_up"]
    yield (
        "Items with categories that nobody chose",
        f"{len(closed)} of {len(n)}"
        + (f" (closed up: {'; '.join(closed[:5])}{'; ...' if len(closed) > 5 else ''})" if closed else ""),
    )
    counts = D.responses.categories.responses[np.unique(D.cell)]
    rare, absent = int((counts.sum(0) < 5).sum()), int((counts == 0).any(0).sum())
    yield "Categories chosen fewer than five times", f"{rare} of {counts.shape[1]} (kept: thresholds have priors)"
    yield f"Categories absent in an arm{' or on an occasion' if D.occasion else ''}", f"{absent} of {counts.shape[1]}"


def categories(D: Arrays) -> pd.DataFrame:
    """Responses in every category of every item, by arm."""
    counts = D.responses.categories.responses
    item = np.repeat(np.arange(D.n_items), D.form.n_categories)
    out = {D.item: np.array(D.labels(D.item))[item], "category": D.labels("category")}
    return pd.DataFrame(out | {f"responses in {D.cells[k]}": counts[k].astype(int) for k in np.unique(D.cell)})


def _right_or_wrong(D: Arrays, n: np.ndarray) -> Iterator[tuple[str, str]]:
    score = np.bincount(D.sitting_code, D.y)[D.seen]
    yield "Persons with all or none right", f"{(score == n).sum():,} and {(score == 0).sum():,} (they are analysed)"
    table = items(D)
    share = table["right"] / table["responses"]
    yield (
        "Items with one answer only",
        f"{((share == 0) | (share == 1)).sum()} of {len(table)} (analysed{'' if D.fixed else ', as a draw from all items'})",
    )


def items(D: Arrays) -> pd.DataFrame:
    """Responses and shares of right answers, or mean categories, of every item."""
    share, total = ("share right", "right") if D.binary else ("mean category", "sum of categories")
    own = [k == D.cell for k in np.unique(D.cell)]
    n = [np.bincount(D.item_code[t], minlength=D.n_items) for t in own]
    right = [np.bincount(D.item_code[t], D.y[t], minlength=D.n_items) for t in own]
    out = {D.item: D.labels(D.item), "responses": sum(n), total: sum(right).astype(int)}
    for arm, count, sums in zip([D.cells[k] for k in np.unique(D.cell)], n, right, strict=True):
        out[f"responses in {arm}"] = count
        out[f"{share} in {arm}"] = np.divide(sums, count, out=np.full(D.n_items, np.nan), where=count > 0)
    return pd.DataFrame(out)


def _assumptions(D: Arrays) -> Iterator[tuple[str, str]]:
    given = f"Given {', '.join(D.labels('covariate'))}, arms" if D.labels("covariate") else "Arms"
    yield (
        "Nothing unmeasured drives both arm and responses (unconfoundedness)",
        f"{given} must be as if drawn by lot. By random assignment this is so by design; otherwise it is an assumption.",
    )
    clusters = (
        f"Persons are independent given {D.cluster}, arm and covariates."
        if D.cluster
        else "Persons are independent given their arm and covariates; name classes or clinics that they are in with cluster=."
    )
    yield "One person's arm does not touch another's responses (SUTVA)", clusters
    yield (
        "Responses of a person are independent given ability and items",
        f"All items measure one ability{'' if MODELS[D.model][1] else ' and discriminate alike'}. Items that share a text, or "
        "guessing, break this.",
    )
    yield (
        "What is missing tells nothing (missing at random)",
        "A response that is missing may depend on arm, covariates and the other responses, not on what it would have been.",
    )
    if D.occasion and D.untreated_after:
        yield (
            f"Without treatment everybody would have changed as {D.arms[0]} did",
            f"Arms do not differ before beside covariates, and the change of persons (beta_time) and of items (drift) in "
            f"{D.arms[0]} is that of the others without treatment: effects are what is left. By random assignment this is so "
            "by design.",
        )
    elif D.occasion:
        yield (
            "Nothing but treatment changed persons or items between the occasions",
            "Nobody is untreated after: practice, growth and drift of items are counted as effects, of beta1 and of zeta.",
        )
