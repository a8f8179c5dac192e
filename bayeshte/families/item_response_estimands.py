"""What a paper reports of an ItemResponse, and the statistics of its predictive checks."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from bayeshte.families.item_response_arrays import Arrays, flatten, unstack
from bayeshte.families.item_response_outcomes import average_score
from bayeshte.spec import Estimand

ABILITY = "on the scale of abilities (log odds of a right answer)"


def estimands(design: xr.Dataset) -> list[Estimand]:
    """The estimands of an ItemResponse; see `Estimand`."""
    D = Arrays(design)
    sd = "the SD of abilities in the reference arm, between persons with their covariates"
    mean = f"average over the persons in the data and over the population of items, {ABILITY}"
    out = [
        Estimand("ATE", mean, _ate, headline=True),
        Estimand("standardised ATE", f"ATE over {sd}", _standardised(_ate), "standardised", headline=True),
    ]
    if D.q > 1:
        each = f"effect on the chance to answer the item: ATE plus the item's own effect, {ABILITY}"
        spread = "SD across the population of items of the effect on an item, log odds"
        rho = "correlation across items of easiness and effect: positive if easier items gain more"
        ratio = "SD of the easiness of items in the treated arm over that in the reference arm, population of items"
        out += [
            Estimand("SD of item effects", spread, _sd, "sd", headline=True),
            Estimand("standardised SD of item effects", f"SD of item effects over {sd}", _standardised(_sd), "share"),
            Estimand("correlation of easiness and effect", rho, _rho, "correlation", headline=True),
            Estimand("ratio of item SDs", ratio, _ratio, "ratio"),
            Estimand("item effect", each, _item),
            Estimand("standardised item effect", f"item effect over {sd}", _standardised(_item), "standardised"),
        ]
    text = (
        f"difference of the expected numbers of right answers to these {D.n_items} items, over the persons in the data, "
        "abilities integrated over their distribution"
    )
    out.append(Estimand("expected score difference", text, _score, "score", headline=True))
    return out


def _by_arm(values: xr.DataArray, D: Arrays) -> xr.DataArray:
    return values.expand_dims({D.treatment: [D.arms[1]]}, axis=-1)


def _effect(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    """beta1 + beta3' M, averaged over persons."""
    if "beta3" not in posterior:
        return posterior["beta1"]
    mean = xr.DataArray(D.persons[2].mean(0), dims="moderator", coords={"moderator": D.labels("moderator")})
    return posterior["beta1"] + xr.dot(posterior["beta3"], mean, dim="moderator")


def _ate(posterior, design):
    D = Arrays(design)
    return _by_arm(_effect(posterior, D), D)


def item_effects(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    """Effect on each item, averaged over persons: (chain, draw, item, treatment)."""
    return _by_arm(_effect(posterior, D) + posterior["zeta"], D).transpose("chain", "draw", D.item, D.treatment)


def _item(posterior, design):
    return posterior["effect"].isel({Arrays(design).treatment: 0}, drop=True)


def baseline_sd(posterior: xr.Dataset, D: Arrays) -> xr.DataArray:
    """SD over persons of abilities in the reference arm: residual variance and that of beta2' X."""
    variance = posterior["sigma_theta"] ** 2
    if "beta2" in posterior:
        beta2 = flatten(posterior["beta2"])
        variance = variance + unstack(np.einsum("sx,xy,sy->s", beta2, _covariance(D.persons[1]), beta2), posterior)
    return np.sqrt(variance)


def _covariance(X: np.ndarray) -> np.ndarray:
    centred = X - X.mean(0)
    return centred.T @ centred / len(X)


def _standardised(numerator):
    return partial(_over_sd, numerator=numerator)


def _over_sd(posterior, design, *, numerator):
    return numerator(posterior, design) / baseline_sd(posterior, Arrays(design))


def _sd(posterior, design):
    return posterior["sigma_zeta"]


def _rho(posterior, design):
    return posterior["rho"]


def _ratio(posterior, design):
    ratio = posterior["sigma_zeta"] / posterior["sigma_b"]
    return np.sqrt(1 + 2 * posterior["rho"] * ratio + ratio**2)


def _score(posterior, design):
    D = Arrays(design)
    values = average_score(D, posterior, 1) - average_score(D, posterior, 0)
    return _by_arm(unstack(values, posterior), D)


def discrepancies(design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
    """Statistics of responses: by arm their mean, the spread of persons and of items; the spread of differences over items."""
    D = Arrays(design)
    arms = [t == D.T for t in (0, 1)]
    cells = [np.bincount(D.item_code[a], minlength=D.n_items) for a in arms]
    answered = [np.bincount(D.person_code[a], minlength=D.n_persons) for a in arms]
    both = (cells[0] > 0) & (cells[1] > 0)

    def statistics(y: np.ndarray) -> dict[str, float]:
        out, means = {}, []
        for arm, own, n_item, n_person in zip(D.arms, arms, cells, answered, strict=True):
            score = (
                np.bincount(D.person_code[own], y[own], minlength=D.n_persons)[n_person > 0] / n_person[n_person > 0]
            )
            right = np.bincount(D.item_code[own], y[own], minlength=D.n_items)
            means.append(right[both] / n_item[both])
            out |= {f"mean in {arm}": float(y[own].mean()), f"SD of persons in {arm}": float(score.std())}
            out[f"SD of items in {arm}"] = float((right[n_item > 0] / n_item[n_item > 0]).std())
        return out | {"SD of item differences": float((means[1] - means[0]).std())}

    return statistics
