"""What a paper reports of an ItemResponse, and the statistics of its predictive checks."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_averages import average_score
from bayeshte.families.item_response_names import INTERCEPT
from bayeshte.labelled import flatten, unstack
from bayeshte.spec import Estimand


def estimands(design: xr.Dataset) -> list[Estimand]:
    """The estimands of an ItemResponse; see `Estimand`."""
    D = Arrays(design)
    where = f"before ({D.labels(D.occasion)[0]})" if D.occasion else "in the reference arm"
    sd = f"the SD of abilities {where}, between persons with their covariates"
    sd += f" and between {D.cluster}" if D.cluster else ""
    over, scale = "these items" if D.fixed else "the population of items", f"on the scale of abilities ({D.scale})"
    over = (
        f"the persons in the data, {over} and the population of {D.cluster}"
        if D.cluster
        else f"the persons in the data and over {over}"
    )
    out = [
        Estimand("ATE", f"average over {over}, {scale}", _ate, headline=True),
        Estimand("standardised ATE", f"ATE over {sd}", _standardised(_ate), "standardised", headline=True),
    ]
    out += _of_items(D, sd) if D.q > 1 else []
    out += _of_clusters(D, sd) if D.cluster and len(D.cluster_varying) > 1 else []
    text = (
        f"difference of the expected {'numbers of right answers to' if D.binary else 'sums of the categories (from 0) of'} these "
        f"{D.n_items} items, over the persons in the data, "
        f"abilities{f' and {D.cluster}' if D.cluster else ''} integrated over their distribution"
    )
    text += f", after ({D.labels(D.occasion)[1]})" if D.occasion else ""
    out.append(Estimand("expected score difference", text, _score, "score", headline=True))
    return out


def _of_items(D: Arrays, sd: str) -> list[Estimand]:
    """How the effect varies over items; with fixed items, over these, without priors of a population."""
    over = "these items" if D.fixed else "the population of items"
    beside = ", beside their covariates" if D.labels("item_covariate") else ""
    each = f"effect on the chance to answer the item: ATE plus the item's own effect, on the scale of abilities ({D.scale})"
    each = each if D.binary else each.replace("chance to answer the item", "category of the item")
    spread = f"SD across {over} of the effect on an item{beside}, {D.unit}"
    rho = f"correlation across {over} of easiness and effect{beside}: positive if easier items gain more"
    ratio = f"SD of the easiness of items in the treated arm over that in the reference arm, {over}{beside}"
    ratio += ", and beside drift" if D.untreated_after else ""
    out = [
        Estimand("SD of item effects", spread, _sd, "sd", headline=True),
        Estimand("standardised SD of item effects", f"SD of item effects over {sd}", _standardised(_sd), "sd"),
        Estimand("correlation of easiness and effect", rho, _rho, "correlation", headline=True),
        Estimand("ratio of item SDs", ratio, _ratio, "ratio"),
    ]
    items = [("item effect", each, _item, "effect")] + [
        ("standardised item effect", f"item effect over {sd}", _standardised(_item), "standardised")
    ]
    for name, text, draws, scale in items:
        for arm in D.contrasts:
            own = f"{name} of {arm}" if D.n_contrasts > 1 else name
            out.append(Estimand(own, text, partial(_one_arm, draws=draws, arm=arm), scale))
    return out


def _of_clusters(D: Arrays, sd: str) -> list[Estimand]:
    """How the effect varies over clusters of persons."""
    arms = [v for v in D.cluster_varying if v != INTERCEPT]
    spread = f"SD across the population of {D.cluster} of the effect on the ability, beyond moderators"
    rho = f"correlation across {D.cluster} of the mean ability in {D.arms[0]} and the effect"
    out = [
        Estimand("SD of cluster effects", spread, partial(_cluster_sd, arms=arms), "sd", headline=True),
        Estimand(
            "correlation of baseline and effect", rho, partial(_cluster_rho, arms=arms), "correlation", headline=True
        ),
    ]
    for arm in arms:
        own = f"cluster effect of {arm}" if D.n_contrasts > 1 else "cluster effect"
        text = f"effect in each of these {D.n_clusters} {D.cluster}, over its own persons, {D.scale}"
        out.append(Estimand(own, text, partial(_one_arm, draws=_in_clusters, arm=arm)))
    return out


def _arms(values: xr.DataArray, D: Arrays) -> xr.DataArray:
    """With the dim of the arms last, also if there are two."""
    if D.treatment not in values.dims:
        values = values.expand_dims({D.treatment: D.contrasts})
    return values.transpose("chain", "draw", ..., D.treatment)


def _one_arm(posterior, design, *, draws, arm):
    return draws(posterior, design).sel({Arrays(design).treatment: arm}, drop=True)


def _effect(posterior: xr.Dataset, D: Arrays, M: np.ndarray, **dim) -> xr.DataArray:
    """beta1 + beta3 M: (chain, draw, ..., treatment) for moderators M (..., moderator)."""
    effect = _arms(posterior["beta1"], D)
    if "beta3" not in posterior:
        return effect
    mean = xr.DataArray(M, dims=(*dim, "moderator"), coords={"moderator": D.labels("moderator")} | dim)
    return _arms(effect + xr.dot(_arms(posterior["beta3"], D), mean, dim="moderator"), D)


def _average(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    """Effect on an item with the mean covariates of all, averaged over persons."""
    effect = _effect(posterior, D, D.persons[2].mean(0))
    if "delta" not in posterior:
        return effect
    mean = xr.DataArray(D.W.mean(0), dims="item_covariate", coords={"item_covariate": D.labels("item_covariate")})
    return effect + xr.dot(_arms(posterior["delta"], D), mean, dim="item_covariate")


def _ate(posterior, design):
    return _average(posterior, Arrays(design))


def item_effects(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    """Effect on each item, averaged over persons: (chain, draw, item, treatment)."""
    effect = _effect(posterior, D, D.persons[2].mean(0)) + _arms(posterior["zeta"], D)
    return effect.transpose("chain", "draw", D.item, D.treatment)


def with_items(draws: xr.Dataset, D: Arrays) -> xr.Dataset:
    """Draws with `b`, `zeta` and `effect`, from the item effects `u` beside covariates and the coefficients of these."""
    e = draws["u"].transpose("chain", "draw", D.item, "varying")
    if "gamma" in draws:
        W = xr.DataArray(D.W, dims=(D.item, "item_covariate"))
        parts = [xr.dot(draws["gamma"], W, dim="item_covariate").expand_dims(varying=[INTERCEPT])]
        if D.q > 1:
            parts.append(xr.dot(_arms(draws["delta"], D), W, dim="item_covariate").rename({D.treatment: "varying"}))
        explained = xr.concat(parts, dim="varying").transpose("chain", "draw", D.item, "varying")
        e = e.copy(data=e.to_numpy() + explained.to_numpy())
    draws = draws.assign(b=e.isel(varying=0, drop=True))
    if D.q == 1:
        return draws
    zeta = e.isel(varying=slice(1, None)).rename(varying=D.treatment).assign_coords({D.treatment: D.contrasts})
    draws = draws.assign(zeta=zeta if D.contrast_dims else zeta.isel({D.treatment: 0}, drop=True))
    if D.contrast_dims:
        draws["zeta"] = draws["zeta"].transpose("chain", "draw", D.treatment, D.item)
    return draws.assign(effect=item_effects(draws, D).assign_attrs(computed=1))


def _item(posterior, design):
    return posterior["effect"]


def _in_clusters(posterior, design):
    D = Arrays(design)
    n = np.bincount(D.person_cluster, minlength=D.n_clusters)
    means = np.reshape(
        [np.bincount(D.person_cluster, m, D.n_clusters) / n for m in D.persons[2].T], (-1, D.n_clusters)
    ).T
    labels = {D.cluster: D.labels(D.cluster)}
    v1 = unstack(D.split(D.v(posterior))[1], posterior, **labels, **{D.treatment: D.contrasts})
    of_items = _average(posterior, D) - _effect(posterior, D, D.persons[2].mean(0))
    return _arms(_effect(posterior, D, means, **labels) + v1 + of_items, D)


def baseline_sd(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    """SD over persons of abilities in the reference arm, on two occasions before: residual variance, that of beta2' X and that
    between clusters."""
    variance = D.baseline_spread(posterior) ** 2
    if "beta2" in posterior:
        variance = variance + np.einsum(
            "sx,xy,sy->s", flatten(posterior["beta2"]), _covariance(D.persons[1]), flatten(posterior["beta2"])
        )
    return unstack(np.sqrt(variance), posterior)


def _covariance(X: np.ndarray) -> np.ndarray:
    centred = X - X.mean(0)
    return centred.T @ centred / len(X)


def _standardised(numerator):
    return partial(_over_sd, numerator=numerator)


def _over_sd(posterior, design, *, numerator):
    return numerator(posterior, design) / baseline_sd(posterior, Arrays(design))


def _item_moments(posterior: xr.Dataset, D: Arrays) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """SD of easiness, and by arm the SD of effects and the correlation of the two: of the population, or of fixed items."""
    if not D.fixed:
        rho = posterior["rho"]
        if "varying" in rho.dims:
            rho = rho.sel(varying=INTERCEPT, varying_=D.contrasts, drop=True).rename(varying_=D.treatment)
        return posterior["sigma_b"], _arms(posterior["sigma_zeta"], D), _arms(rho, D)
    b, zeta = posterior["b"], _arms(posterior["zeta"], D)
    sd_b, sd_zeta = b.std(D.item, ddof=1), zeta.std(D.item, ddof=1)
    covariance = ((b - b.mean(D.item)) * (zeta - zeta.mean(D.item))).sum(D.item) / (D.n_items - 1)
    return sd_b, sd_zeta, _arms(covariance / (sd_b * sd_zeta), D)


def _sd(posterior, design):
    return _item_moments(posterior, Arrays(design))[1]


def _rho(posterior, design):
    return _item_moments(posterior, Arrays(design))[2]


def _ratio(posterior, design):
    sd_b, sd_zeta, rho = _item_moments(posterior, Arrays(design))
    ratio = sd_zeta / sd_b
    return np.sqrt(1 + 2 * rho * ratio + ratio**2)


def _cluster_sd(posterior, design, *, arms):
    return posterior["sd"].sel(cluster_varying=arms).rename(cluster_varying=Arrays(design).treatment)


def _cluster_rho(posterior, design, *, arms):
    values = posterior["corr"].sel(cluster_varying=INTERCEPT, cluster_varying_=arms, drop=True)
    return values.rename(cluster_varying_=Arrays(design).treatment)


def _score(posterior, design):
    D = Arrays(design)
    reference = average_score(D, posterior, 0)
    values = np.stack([average_score(D, posterior, k + 1) - reference for k in range(D.n_contrasts)], axis=-1)
    return unstack(values, posterior, **{D.treatment: D.contrasts})


def discrepancies(design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
    """Statistics of responses: by arm their mean, the spread of persons and of items; of arms compared, the spread of
    differences over items; the spread of clusters."""
    D = Arrays(design)
    present = [k for k in range(len(D.cells)) if (k == D.cell).any()]
    cells = [k == D.cell for k in present]
    names = [D.cells[k] for k in present]
    of_items = [np.bincount(D.item_code[a], minlength=D.n_items) for a in cells]
    answered = [np.bincount(D.person_code[a], minlength=D.n_persons) for a in cells]
    by_row = D.person_cluster[D.person_code] if D.cluster else None
    compared = [
        k for k in range(1, len(cells)) if present[k] > (1 if D.occasion else 0)
    ]  # with the cell of no treatment
    base = present.index(1) if D.occasion and 1 in present else 0
    sitting = np.bincount(D.sitting_code, minlength=D.n_sittings)

    def statistics(y: np.ndarray) -> dict[str, float]:
        out, right = {}, []
        for name, own, n_item, n_person in zip(names, cells, of_items, answered, strict=True):
            score = np.bincount(D.person_code[own], y[own], minlength=D.n_persons)[n_person > 0]
            score = score / n_person[n_person > 0]
            right.append(np.bincount(D.item_code[own], y[own], minlength=D.n_items))
            out |= {f"mean in {name}": float(y[own].mean()), f"SD of persons in {name}": float(score.std())}
            out[f"SD of items in {name}"] = float((right[-1][n_item > 0] / n_item[n_item > 0]).std())
        for k in compared:
            both = (of_items[base] > 0) & (of_items[k] > 0)
            difference = right[k][both] / of_items[k][both] - right[base][both] / of_items[base][both]
            out["SD of item differences" + (f" of {names[k]}" if D.n_contrasts > 1 else "")] = float(difference.std())
        if D.occasion:
            twice = (sitting.reshape(-1, 2) > 0).all(1)
            score = np.bincount(D.sitting_code, y, minlength=D.n_sittings) / np.maximum(sitting, 1)
            out["SD of gains of persons"] = float(np.diff(score.reshape(-1, 2)[twice]).std())
        if by_row is not None:
            out["SD of clusters"] = float((np.bincount(by_row, y) / np.bincount(by_row)).std())
        return out

    return statistics
