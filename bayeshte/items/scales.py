"""Effects on the scales that readers know: SDs of abilities, chances, scores on this form and on a new one; and by item."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import qmc

from bayeshte import design as columns
from bayeshte.effects import effect_draws, mark, units
from bayeshte.errors import SpecError
from bayeshte.fit import Fit
from bayeshte.items.common import arms_of, check_binary, check_rasch, versus, without_item_effects
from bayeshte.items.evidence import thinned
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
        Of an `ItemResponse` with right and wrong responses.
    constant : Fit, optional
        Of the same specification with ``item_effects=False``: adds the effect in SDs of its abilities, which is how published
        analyses standardise.
    seed : int
        Of the items of a new form.

    Returns
    -------
    DataFrame
        ``estimand, contrast, definition``, then the common schema; see the definitions. A "new form" has as many items as this
        one, drawn from the population of items: "mean" is their expectation, "predictive" one form, whose items add to the
        uncertainty.

    Raises
    ------
    SpecError
        Ordered categories, a fit of another family, or a `constant` that is not that model. New forms have no rows
        where the model is not a Rasch model of two arms.
    """
    check_binary(fit, "Scales of effects")
    found = list(_standardised(fit, constant))
    J = fit.design.sizes[units(fit.design)[0]]
    score = effect_draws(fit, SCORE)
    text = f"difference of the chances of a right answer, average over the {J} items and the persons in the data"
    found += [("chance of a right answer", text, score / J), (SCORE, f"right answers gained on these {J} items", score)]
    found += list(_new_forms(fit, J, seed))
    parts = []
    for name, definition, values in found:
        part = rows(values.rename(name)).drop(columns="parameter")
        part.insert(0, "definition", definition)
        part.insert(0, "contrast", [versus(fit.design, arm) for arm in arms_of(fit.design)[1:]])
        part.insert(0, "estimand", name)
        parts.append(part)
    return mark(fit, pd.concat(parts, ignore_index=True))


def _standardised(fit: Fit, constant: Fit | None) -> Iterator[tuple[str, str, xr.DataArray]]:
    ate = effect_draws(fit, "ATE")
    yield "ATE", "log odds of a right answer to an item of average gain", ate
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


def _new_forms(fit: Fit, J: int, seed: int) -> Iterator[tuple[str, str, xr.DataArray]]:
    """Right answers gained on a form of new items: the estimand of this form with other items in the posterior."""
    try:
        check_rasch(fit, "New forms")
    except SpecError:
        return
    (score,) = [e for e in fit.spec.estimands(fit.design) if e.name == SCORE]
    sizes = fit.posterior.sizes
    rng = np.random.default_rng(seed)
    forms = -(-POINTS // J)
    points = qmc.MultivariateNormalQMC(np.zeros(2), rng=rng).random(2 ** int(np.ceil(np.log2(forms * J))))
    sets = points[: forms * J].reshape(forms, 1, 1, J, 2)
    mean = sum(score.draws(_with_items(fit, z), fit.design) for z in sets) / forms
    text = f"right answers gained on a form of {J} items from the same population of items"
    yield "score difference, new form, mean", f"{text}: expectation over forms", mean
    z = rng.normal(size=(sizes["chain"], sizes["draw"], J, 2))
    one = score.draws(_with_items(fit, z), fit.design)
    yield "score difference, new form, predictive", f"{text}: one form, its items drawn anew in every draw", one


def _with_items(fit: Fit, z: np.ndarray) -> xr.Dataset:
    """The posterior with items made of standard normals z (chain, draw, item, 2), or of (1, 1, item, 2) in every draw."""
    p, dims = fit.posterior, ("chain", "draw", fit.design.attrs["item"])
    first, second = (z[..., k] for k in range(2))

    def scalar(name: str) -> np.ndarray:
        return p[name].transpose("chain", "draw").to_numpy()[..., None]

    out = {"b": (dims, scalar("sigma_b") * first)}
    if "zeta" in p:
        rho = scalar("rho")
        out["zeta"] = (dims, scalar("sigma_zeta") * (rho * first + np.sqrt(1 - rho**2) * second))
    return p.drop_dims(dims[2]).assign(out)


def item_effects(fit: Fit) -> pd.DataFrame:
    """The effect on every item: log odds, SDs of abilities, chance of a right answer.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse` with right and wrong responses.

    Returns
    -------
    DataFrame
        A row an item and contrast, the least effect first: ``item, contrast, n_reference, n_arm`` (responses), ``easiness``
        (median), ``effect, lower, upper`` (log odds, median and 95 % equal-tailed interval), ``p_positive`` = P(effect > 0),
        ``standardised`` (median, in SDs of abilities in the reference arm), ``chance_difference, chance_lower, chance_upper``
        (chance of a right answer, average over the persons in the data; of up to 1,000 evenly spaced draws).

    Raises
    ------
    SpecError
        Without item effects, or for ordered categories.
    """
    check_binary(fit, "Effects on items")
    if "effect" not in fit.posterior:
        raise SpecError("All items have the same effect: fit with item_effects=True, or see bh.effect_scales(fit).")
    dim, code, _ = units(fit.design)
    arm = fit.design["arm_code"].to_numpy()
    names = [str(v) for v in fit.design[dim].to_numpy()]
    n = np.stack([np.bincount(code[arm == k], minlength=len(names)) for k in range(len(arms_of(fit.design)))])
    ate, over_sd = effect_draws(fit, "ATE"), effect_draws(fit, "standardised ATE")
    easiness = fit.posterior["b"].median(("chain", "draw")).to_numpy()
    chance = _chances(fit, dim)
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
        part[["chance_difference", "chance_lower", "chance_upper"]] = np.quantile(
            chance[..., k], [0.5, 0.025, 0.975], axis=0
        ).T
        parts.append(part.sort_values("effect", kind="stable"))
    return mark(fit, pd.concat(parts, ignore_index=True))


def _chances(fit: Fit, dim: str) -> np.ndarray:
    """Difference of the chances of a right answer to each item, average over the persons in the data: (draw, item, contrast)."""
    first = np.unique(fit.design["cluster_code"].to_numpy(), return_index=True)[1]
    persons = columns.raw_frame(fit.design).iloc[first]
    names = fit.design[dim].to_numpy()
    draws = thinned(fit, int(np.clip(CHANCES / (len(first) * len(names)), LEAST, MOST)))
    weight, out = np.full((1, len(first)), 1 / len(first)), []
    for name in names:
        given = {"clusters": "new", "frame": persons.assign(**{dim: name}), "weight": weight}
        arms = [fit.spec.expected(draws, fit.design, arm=arm, **given) for arm in arms_of(fit.design)]
        values = np.stack([a.transpose("chain", "draw", ...).to_numpy().ravel() for a in arms], axis=-1)
        out.append(values[:, 1:] - values[:, :1])
    return np.stack(out, axis=1)
