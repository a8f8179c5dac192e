"""What the analyses of item responses share: which fits they take, the draws of their effects, their words for contrasts."""

from dataclasses import fields, replace

import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families import ItemResponse
from bayeshte.fit import Fit

#: what a specification may say where a plain Rasch model is asked for
PLAIN = (
    "person",
    "item",
    "response",
    "treatment",
    "reference",
    "covariates",
    "moderators",
    "item_effects",
    "priors",
)


def check_items(fit: Fit, what: str, occasions: bool = False) -> None:
    """SpecError unless `fit` is of item responses, on one occasion unless two are taken."""
    if not isinstance(fit.spec, ItemResponse):
        raise SpecError(f"{what} need a fit of bh.ItemResponse; this is one of {type(fit.spec).__name__}.")
    if fit.spec.occasion and not occasions:
        raise SpecError(
            f"{what} are not available for two occasions ({fit.spec.occasion}): bh.effects, bh.item_effects, bh.item_fit and "
            "bh.item_heterogeneity are."
        )


def check_rasch(fit: Fit, what: str) -> None:
    """SpecError unless the model is a Rasch model, with covariates and moderators of persons at most."""
    check_items(fit, what)
    more = [f for f in fields(fit.spec) if f.name not in PLAIN and getattr(fit.spec, f.name) != f.default]
    if more:
        options = ", ".join(f"{f.name}={getattr(fit.spec, f.name)!r}" for f in more)
        raise SpecError(
            f"{what} are available for Rasch models (logit) with covariates of persons; this one has {options}."
        )


def check_item_effects(fit: Fit, what: str) -> None:
    """SpecError unless the effect varies over items; two occasions are taken."""
    check_items(fit, what, occasions=True)
    if "zeta" not in fit.posterior:
        raise SpecError(f"{what} need a model whose effect varies over items: fit it with item_effects=True.")


def arms_of(design: xr.Dataset) -> list[str]:
    """The reference arm and the others."""
    return [str(v) for v in design[f"{design.attrs['treatment']}_arm"].to_numpy()]


def versus(design: xr.Dataset, arm: str) -> str:
    """``reading vs control``."""
    return f"{arm} vs {design.attrs['reference']}"


def without_item_effects(spec: ItemResponse) -> ItemResponse:
    """The same specification with an effect that is the same on all items."""
    priors = spec.priors
    if not isinstance(priors, str):
        of_effects = ("sigma_zeta", "rho", "delta", "zeta")
        priors = {k: v for k, v in priors.items() if k.split("[")[0] not in of_effects}
    return replace(spec, item_effects=False, priors=priors)
