"""The three models of Gilbert, Miratrix, Joshi & Domingue (2025) in one call: does the effect depend on persons, or on items?

    A   eta_ij = theta_j + b_i + zeta_i T_j                               item effects
    B   eta_ij = theta_j + b_i,               theta_j with beta3 M_j T_j  constant effects, interaction
    C   eta_ij = theta_j + b_i + zeta_i T_j,  theta_j with beta3 M_j T_j  both

with eta the log odds of a right answer, or what the model of the specification makes of it.

If easier items gain more (rho > 0), treatment stretches the easiness of items, and B, as a sum score, takes that for an
interaction with whatever goes with the ability. C does not.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from scipy import stats

from bayeshte.checks.loo import compare
from bayeshte.effects import effect_draws
from bayeshte.errors import DataError, SpecError, near
from bayeshte.families import ItemResponse
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.fit import Fit, fit
from bayeshte.items.common import arms_of, versus, without_item_effects
from bayeshte.items.sum_score import sum_score
from bayeshte.summary import LEVEL, elements, rows

COLUMNS = ("quantity", "contrast", "model", "estimate", "mean", "posterior_sd", "lower", "upper", "definition")
SHARED = ("ATE", "standardised ATE")
OF_ITEMS = ("SD of item effects", "correlation of easiness and effect", "ratio of item SDs")


@dataclass(frozen=True)
class ItemModels:
    """Three fits of the same responses.

    Attributes
    ----------
    A, B, C : Fit
        Item effects; constant effects and an interaction of treatment and covariate; both.
    covariate : str
        The column that may moderate the effect.
    """

    A: Fit
    B: Fit
    C: Fit
    covariate: str

    @property
    def fits(self) -> dict[str, Fit]:
        """The fits by the letters of the models."""
        return {"A": self.A, "B": self.B, "C": self.C}

    @property
    def ok(self) -> bool:
        """Whether all three converged."""
        return all(f.diagnosis.ok for f in self.fits.values())

    @property
    def verdict(self) -> str:
        """The verdict on each fit."""
        return " ".join(f"{name}: {f.diagnosis.verdict}" for name, f in self.fits.items())

    @cached_property
    def table(self) -> pd.DataFrame:
        """What a paper compares, one number a row.

        Columns ``quantity, contrast, model, estimate, mean, posterior_sd, lower, upper, definition``. Of posteriors:
        median, mean, SD and 95 % equal-tailed interval. Rows of the sum score have estimate, robust standard error and
        95 % confidence interval instead, the row of the difference those that its definition tells.
        """
        interaction = f"treatment x {self.covariate}"
        parts = [
            _posterior(self.B, "B", "interaction", interaction),
            _posterior(self.C, "C", "interaction", interaction),
        ]
        parts += [_difference(self.B, self.C, interaction)]
        parts += [_posterior(self.fits[m], m, v, v) for v in SHARED for m in "ABC"]
        parts += [_posterior(self.fits[m], m, v, v) for v in OF_ITEMS for m in "AC"]
        table = pd.concat([*parts, sum_score(self.C.design, self.covariate)], ignore_index=True)[list(COLUMNS)]
        table.attrs |= {"interval": "eti", "level": LEVEL, "verdict": self.verdict}
        if not self.ok:
            table.columns.name = "NOT CONVERGED"
        return table

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """B and C by leave-one-person-out, see `bayeshte.compare`."""
        return compare({"B": self.B, "C": self.C})

    def __repr__(self):
        shown = self.table.drop(columns="definition").to_string(index=False, float_format="%.3f")
        return "\n".join([*(f"{k}: {v.diagnosis.verdict}" for k, v in self.fits.items()), shown])

    def _repr_html_(self):
        verdicts = "".join(f"<p><b>Model {k}</b></p>{v.diagnosis._repr_html_()}" for k, v in self.fits.items())
        shown = self.table.drop(columns=["mean", "definition"])
        style = shown.style.format(precision=3, escape="html", na_rep="").hide(axis="index")
        notes = dict(zip(self.table["quantity"], self.table["definition"], strict=True))
        listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in notes.items())
        return f"{verdicts}{style.to_html()}<details><summary>Definitions</summary><dl>{listed}</dl></details>"


def item_models(
    spec: ItemResponse,
    data: pd.DataFrame,
    covariate: str,
    *,
    draws: int = 1000,
    tune: int = 500,
    seed: int | None = None,
    cores: int | None = None,
    target_accept: float = 0.9,
    progress: bool = True,
) -> ItemModels:
    """Fit models A (item effects), B (constant effects, treatment x covariate) and C (both) to the same responses.

    Parameters
    ----------
    spec : ItemResponse
        Roles, covariates and priors, which all three models share; without moderators. Of the priors, those of parameters
        that a model does not have are left out.
    data : DataFrame
    covariate : str
        A numeric column of persons, such as the pretest. The published analyses standardise it over persons; here it enters
        as it is, so that the interaction is per unit of it.
    draws, tune, seed, cores, target_accept, progress
        Of each fit, as in `bayeshte.fit.fit`.

    Returns
    -------
    ItemModels

    Raises
    ------
    SpecError, DataError
        Moderators in `spec`, a covariate that is not one numeric column, and all that `fit` refuses.

    Warns
    -----
    ConvergenceWarning
        From each fit that did not converge.

    References
    ----------
    Gilbert, J. B., Miratrix, L. W., Joshi, M., & Domingue, B. W. (2025). *Journal of Educational and Behavioral Statistics,
    50*, 72-101.
    """
    _check(spec, data, covariate)
    moderated = replace(spec, moderators=covariate, item_effects=True)
    specs = {"A": _of(replace(spec, item_effects=True)), "B": without_item_effects(moderated), "C": moderated}
    if seed is None:
        seed = int(np.random.SeedSequence().entropy % 2**32)
    options = dict(draws=draws, tune=tune, cores=cores, target_accept=target_accept, progress=progress)
    fits = {name: fit(one, data, seed=seed + k, **options) for k, (name, one) in enumerate(specs.items())}
    return ItemModels(**fits, covariate=covariate)


def _of(spec: ItemResponse) -> ItemResponse:
    """`spec` without the priors of the interaction, which it does not have."""
    if isinstance(spec.priors, str):
        return spec
    return replace(spec, priors={k: v for k, v in spec.priors.items() if k.split("[")[0] != "beta3"})


def _check(spec: ItemResponse, data: pd.DataFrame, covariate: str) -> None:
    if not isinstance(spec, ItemResponse):
        raise SpecError(f"The three models need a bh.ItemResponse; this is a {type(spec).__name__}.")
    if spec.occasion:
        raise SpecError(
            f"The three models are not available for two occasions ({spec.occasion}): fit the specification with and without "
            "item_effects and moderators, and see bh.compare."
        )
    if spec.moderators.strip():
        raise SpecError(f"moderators={spec.moderators!r}: name the one moderator of models B and C as covariate=.")
    if not isinstance(covariate, str) or covariate not in data:
        raise SpecError(f"covariate={covariate!r} is not a column of the data.{near(str(covariate), data.columns)}")
    if not pd.api.types.is_numeric_dtype(data[covariate]):
        raise DataError(
            f"The covariate {covariate!r} is not numeric ({data[covariate].dtype}): models B and C have one interaction. "
            "Make a number of it, for example 0 and 1."
        )


def _draws(fit: Fit, quantity: str) -> xr.DataArray:
    """Draws of an estimand, or of the interaction, with a dim of contrasts at most."""
    if quantity == "interaction":
        return fit.posterior["beta3"].isel(moderator=0, drop=True).rename("beta3")
    return effect_draws(fit, quantity)


def _contrasts(fit: Fit, values: xr.DataArray) -> list[str]:
    names = arms_of(fit.design)[1:]
    count = elements(values)[1].shape[-1]
    return [versus(fit.design, arm) for arm in (names if count == len(names) else names[:1])]


def _posterior(fit: Fit, model: str, quantity: str, label: str) -> pd.DataFrame:
    """Median, mean, SD and interval of a quantity, a row a contrast."""
    values = _draws(fit, quantity)
    defined = {e.name: e.definition for e in fit.spec.estimands(fit.design)}
    text = f"change of the effect of treatment per unit of the covariate, {Arrays(fit.design).scale}"
    part = rows(values)
    given = {"quantity": label, "contrast": _contrasts(fit, values), "model": model}
    return part.assign(**given, definition=defined.get(quantity, text))


def _difference(b: Fit, c: Fit, label: str) -> pd.DataFrame:
    """The interaction of B minus that of C: the difference of the posterior means with its standard error."""
    first, second = (elements(_draws(f, "interaction"))[1] for f in (b, c))
    ll = [f.cluster_log_likelihood.transpose("chain", "draw", ...).to_numpy() for f in (b, c)]
    out = []
    for k, contrast in enumerate(_contrasts(b, _draws(b, "interaction"))):
        x, y = first[..., k], second[..., k]
        variance = shared_variance(influence(x, ll[0]) - influence(y, ll[1]))
        se = np.sqrt(variance + sum(array_stats.mcse(v, method="mean") ** 2 for v in (x, y)))
        mean = x.mean() - y.mean()
        half = stats.norm.ppf((1 + LEVEL) / 2) * se
        values = {"estimate": np.median(x) - np.median(y), "mean": mean, "posterior_sd": se}
        out.append({"quantity": label, "contrast": contrast, "model": "B - C", **values} | _interval(mean, half))
    return pd.DataFrame(out)


def _interval(mean: float, half: float) -> dict[str, object]:
    text = (
        "difference of the two posterior medians and means. The models have separate posteriors of the same data, so that the "
        "difference has none: in place of an SD the standard error of the difference of means over samples of persons who answer "
        "the same items (infinitesimal jackknife, Giordano & Broderick, 2023), Monte Carlo error included; the interval is the "
        "mean -+ 1.96 of it"
    )
    return {"lower": mean - half, "upper": mean + half, "definition": text}


def influence(x: np.ndarray, ll: np.ndarray) -> np.ndarray:
    """How much a little more weight on each person moves the posterior mean: Cov(x, log-likelihood), (chain, person), by chain.

    Parameters
    ----------
    x : ndarray (chain, draw)
    ll : ndarray (chain, draw, person)
    """
    away = x - x.mean(1, keepdims=True)
    return np.einsum("cd,cdp->cp", away, ll) / (x.shape[1] - 1)


def shared_variance(by_chain: np.ndarray) -> float:
    """Variance over samples of persons from their influence (chain, person); at least zero.

    Products of different chains have independent errors, so that the noise of the draws does not add to it.
    """
    centred = by_chain - by_chain.mean(1, keepdims=True)
    chains, persons = centred.shape
    total = (centred.sum(0) ** 2).sum() - (centred**2).sum()
    return max(total / (chains * (chains - 1)) * persons / (persons - 1), 0.0)
