"""Effects on the scales that readers know: SDs of abilities, chances, scores on this form and on a new one; and by item."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import qmc

from bayeshte.effects import effect_draws, mark, units
from bayeshte.errors import SpecError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_averages import mean_responses, of_everybody
from bayeshte.families.item_response_estimands import with_items
from bayeshte.fit import Fit
from bayeshte.items.common import arms_of, check_items, versus, without_item_effects
from bayeshte.items.evidence import thinned
from bayeshte.labelled import flatten, unstack
from bayeshte.summary import rows

SCORE = "expected score difference"
POINTS = 64  # quasi-random items at least that stand for the population of items; a power of two
CHANCES, LEAST, MOST = (
    200_000_000,
    200,
    1000,
)  # chances of single items held to: values in all, draws at least and at most


def effect_scales(fit: Fit, constant: Fit | None = None, seed: int = 0) -> pd.DataFrame:
    """The average effect on several scales.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse`.
    constant : Fit, optional
        Of the same specification with ``item_effects=False``: adds the effect in SDs of its abilities, which is how published
        analyses standardise.
    seed : int
        Of the items of a new form.

    Returns
    -------
    DataFrame
        ``estimand, contrast, definition``, then the common schema, a row a contrast; see the definitions. A "new form" has as
        many items as this one, drawn from the population of items: "mean" is their expectation, "predictive" one form, whose
        items add to the uncertainty. Thresholds and item covariates have no population in the model: a new form has those of
        this one. Scores of ordered categories are sums of them, counted from 0.

    Raises
    ------
    SpecError
        A fit of another family, or a `constant` that is not that model. Fixed items come from no population, and new forms have
        no rows.
    """
    check_items(fit, "Scales of effects")
    D = Arrays(fit.design)
    found = list(_standardised(fit, D, constant))
    score, J, most = effect_draws(fit, SCORE), D.n_items, int((D.design["n_categories"] - 1).sum())
    if D.binary:
        text = f"difference of the chances of a right answer, average over the {J} items and the persons in the data"
        found.append(("chance of a right answer", text, score / most))
        gained = "right answers gained on"
    else:
        text = f"{SCORE} over {most}, the highest score on these {J} items, average over the persons in the data"
        found.append(("share of the highest score", text, score / most))
        gained = "sum of the categories (from 0) gained on"
    found.append((SCORE, f"{gained} these {J} items", score))
    found += [] if D.fixed else list(_new_forms(fit, D, gained, seed))
    parts = []
    for name, definition, values in found:
        part = rows(values.rename(name)).drop(columns="parameter")
        part.insert(0, "definition", definition)
        part.insert(0, "contrast", [versus(fit.design, arm) for arm in arms_of(fit.design)[1:]])
        part.insert(0, "estimand", name)
        parts.append(part)
    return mark(fit, pd.concat(parts, ignore_index=True))


def _standardised(fit: Fit, D: Arrays, constant: Fit | None) -> Iterator[tuple[str, str, xr.DataArray]]:
    ate = effect_draws(fit, "ATE")
    yield "ATE", f"{D.scale}, on an item of average gain", ate
    text = "ATE over the SD of abilities in the reference arm, between persons with their covariates, in every draw"
    yield "standardised ATE", text, effect_draws(fit, "standardised ATE")
    if constant is None:
        return
    if constant.spec != without_item_effects(fit.spec):
        raise SpecError("constant= must be a fit of the same specification with item_effects=False.")
    sd = float((effect_draws(constant, "ATE") / effect_draws(constant, "standardised ATE")).median())
    text = (
        f"ATE over {sd:.3g}, the SD of abilities in the model without item effects (posterior median, taken as known)"
    )
    yield "ATE in SDs without item effects", text, ate / sd


def _new_forms(fit: Fit, D: Arrays, gained: str, seed: int) -> Iterator[tuple[str, str, xr.DataArray]]:
    """Score gained on a form of new items: the difference of expected scores with other items in the posterior."""
    posterior, J, rng = fit.posterior, D.n_items, np.random.default_rng(seed)
    everybody = [of_everybody(D, posterior, arm) for arm in range(len(D.arms))]
    size = D.q + int("a" in posterior)

    def gain(z: np.ndarray) -> np.ndarray:
        new = _with_items(posterior, D, z)
        scores = np.stack([mean_responses(D, new, m).sum(1) for m in everybody], axis=-1)
        return scores[:, 1:] - scores[:, :1]

    forms = -(-POINTS // J)
    points = qmc.MultivariateNormalQMC(np.zeros(size), rng=rng).random(2 ** int(np.ceil(np.log2(forms * J))))
    sets = points[: forms * J].reshape(forms, 1, J, size)
    mean = sum(map(gain, sets)) / forms
    kept = [v for v, there in (("thresholds", D.threshold_prior), ("covariates", D.labels("item_covariate"))) if there]
    text = f"{gained} a form of {J} items from the same population of items"
    text += f", with the {' and '.join(kept)} of these" if kept else ""
    contrasts = {D.treatment: D.contrasts}
    yield "score difference, new form, mean", f"{text}: expectation over forms", unstack(mean, posterior, **contrasts)
    one = gain(rng.normal(size=(len(mean), J, size)))
    text = f"{text}: one form, its items drawn anew in every draw"
    yield "score difference, new form, predictive", text, unstack(one, posterior, **contrasts)


def _with_items(posterior: xr.Dataset, D: Arrays, z: np.ndarray) -> xr.Dataset:
    """The posterior with items made of standard normals z (draw, item, effect), or of (1, item, effect) in every draw.

    Effects: of easiness, of each arm, and of the log discrimination if items have one.
    """
    sd = flatten(posterior["sigma_b"])[:, None]
    factor = sd[:, :, None]
    if D.q > 1:
        sd = np.column_stack([sd, flatten(posterior["sigma_zeta"]).reshape(len(sd), -1)])
        rho = flatten(posterior["rho"])
        if rho.ndim == 1:
            rho = np.where(np.eye(2, dtype=bool), 1.0, rho[:, None, None])
        factor = sd[:, :, None] * np.linalg.cholesky(rho)
    items = {D.item: D.labels(D.item)}
    u = unstack(z[..., : D.q] @ factor.mT, posterior, **items, varying=D.labels("varying"))
    keep = posterior.drop_vars([v for v in ("b", "zeta", "effect", "theta") if v in posterior])
    new = with_items(keep.assign(u=u), D)
    if "a" not in posterior:
        return new
    a = np.exp(flatten(posterior["sigma_a"])[:, None] * z[..., -1])
    return new.assign(a=unstack(a, posterior, **items))


def item_effects(fit: Fit) -> pd.DataFrame:
    """The effect on every item: log odds, SDs of abilities, chance of a right answer.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse`.

    Returns
    -------
    DataFrame
        A row an item and contrast, the least effect first: ``item, contrast, n_reference, n_arm`` (responses), ``easiness``
        (median), ``effect, lower, upper`` (on the scale of abilities, median and 95 % equal-tailed interval), ``p_positive`` =
        P(effect > 0), ``standardised`` (median, in SDs of abilities in the reference arm), and ``chance_difference,
        chance_lower, chance_upper`` (chance of a right answer, average over the persons in the data; of up to 1,000 evenly
        spaced draws), of ordered categories ``score_difference, score_lower, score_upper`` (mean category).

    Raises
    ------
    SpecError
        A fit of another family or without item effects.
    """
    check_items(fit, "Effects on items", occasions=True)
    if "effect" not in fit.posterior:
        raise SpecError("All items have the same effect: fit with item_effects=True, or see bh.effect_scales(fit).")
    dim, code, _ = units(fit.design)
    arm = fit.design["arm_code"].to_numpy()
    names = [str(v) for v in fit.design[dim].to_numpy()]
    n = np.stack([np.bincount(code[arm == k], minlength=len(names)) for k in range(len(arms_of(fit.design)))])
    ate, over_sd = effect_draws(fit, "ATE"), effect_draws(fit, "standardised ATE")
    easiness = fit.posterior["b"].median(("chain", "draw")).to_numpy()
    D = Arrays(fit.design)
    gain, gained = _gains(fit, D), "chance" if D.binary else "score"
    parts = []
    for k, label in enumerate(arms_of(fit.design)[1:]):
        at = {fit.design.attrs["treatment"]: label}
        values = fit.posterior["effect"].sel(at, drop=True)
        row = rows(values)
        standardised = (values * (over_sd.sel(at) / ate.sel(at))).median(("chain", "draw"))
        part = pd.DataFrame(
            {"item": names, "contrast": versus(fit.design, label), "n_reference": n[0], "n_arm": n[k + 1]}
        )
        part["easiness"] = easiness
        part[["effect", "lower", "upper"]] = row[["estimate", "lower", "upper"]].to_numpy()
        part["p_positive"] = (values > 0).mean(("chain", "draw")).to_numpy()
        part["standardised"] = standardised.to_numpy()
        part[[f"{gained}_{v}" for v in ("difference", "lower", "upper")]] = np.quantile(
            gain[..., k], [0.5, 0.025, 0.975], axis=0
        ).T
        parts.append(part.sort_values("effect", kind="stable"))
    return mark(fit, pd.concat(parts, ignore_index=True))


def _gains(fit: Fit, D: Arrays) -> np.ndarray:
    """Difference of the expected responses to each item, average over the persons in the data: (draw, item, contrast)."""
    draws = thinned(fit, int(np.clip(CHANCES / (D.n_persons * D.n_items), LEAST, MOST)))
    means = [mean_responses(D, draws, of_everybody(D, draws, arm)) for arm in range(len(D.arms))]
    return np.stack(means[1:], axis=-1) - means[0][..., None]
