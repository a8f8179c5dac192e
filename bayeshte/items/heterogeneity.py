"""Does the effect vary over items at all? Posterior, Bayes factor, prediction, and the likelihood-ratio test beside them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte.checks.loo import compare
from bayeshte.checks.predictive import replicates
from bayeshte.errors import DataError, SpecError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.fit import Fit
from bayeshte.fit import fit as fit_model
from bayeshte.items.common import arms_of, check_item_effects, without_item_effects
from bayeshte.items.evidence import Effects, Evidence, at_least, bayes_factors
from bayeshte.items.likelihood import LikelihoodRatio, likelihood_ratio
from bayeshte.summary import rows

COLUMNS = ("quantity", "value", "lower", "upper", "error", "p", "definition")
SPREAD = "spread of item effects"
LEAST = 40  # draws of the Bayes factor


@dataclass(frozen=True)
class ItemHeterogeneity:
    """What the data say about sigma_zeta > 0.

    Attributes
    ----------
    fit, constant : Fit
        With item effects and with one effect on all items.
    bayes_factors : mapping of str to mapping of float to Evidence
        By arm but the reference, and by the factor by which the prior of its sigma_zeta is stretched; 1 is the prior of the fit.
    comparison : DataFrame
        Leaving out persons, see `bayeshte.compare`.
    spread : DataFrame
        Predictive spread of the items' effects under both models, by arm: ``model, arm, observed, replicated, lower, upper,
        p``.
    likelihood : mapping of str to LikelihoodRatio
        By arm but the reference; empty where there is none, and `no_likelihood` says why.
    """

    fit: Fit
    constant: Fit
    bayes_factors: dict[str, dict[float, Evidence]]
    comparison: pd.DataFrame
    spread: pd.DataFrame
    likelihood: dict[str, LikelihoodRatio]
    no_likelihood: str

    @property
    def ok(self) -> bool:
        """Whether both fits converged."""
        return self.fit.diagnosis.ok and self.constant.diagnosis.ok

    @cached_property
    def table(self) -> pd.DataFrame:
        """All of it, a number a row: ``quantity, value, lower, upper, error`` (Monte Carlo or standard), ``p, definition``."""
        parts = []
        for arm, found in self.bayes_factors.items():
            effects = Effects(self.fit, arm)
            parts += [_posterior(effects), *_evidence(effects, found)]
        parts += [
            _prediction(self.comparison),
            *_spread(self.spread),
            *_likelihoods(self.likelihood, self.no_likelihood),
        ]
        table = pd.DataFrame([{"p": np.nan} | row for row in parts], columns=list(COLUMNS))
        verdicts = {"with item effects": self.fit, "one effect": self.constant}
        table.attrs["verdict"] = " ".join(f"{k}: {f.diagnosis.verdict}" for k, f in verdicts.items())
        if not self.ok:
            table.columns.name = "NOT CONVERGED"
        return table

    def __repr__(self):
        shown = self.table.drop(columns="definition").to_string(index=False, float_format="%.3f", na_rep="")
        return "\n".join([self.table.attrs["verdict"], shown])

    def _repr_html_(self):
        verdicts = [f.diagnosis._repr_html_() for f in (self.fit, self.constant)]
        style = self.table.style.format(precision=3, escape="html", na_rep="").hide(axis="index")
        return f"{verdicts[0]}<p>{escape('One effect on all items:')}</p>{verdicts[1]}{style.to_html()}"


def item_heterogeneity(fit: Fit, constant: Fit | None = None, *, draws: int = 500, seed: int = 0) -> ItemHeterogeneity:
    """Whether the effect varies over items: sigma_zeta > 0 against sigma_zeta = 0.

    Parameters
    ----------
    fit : Fit
        Of an `ItemResponse` with item effects.
    constant : Fit, optional
        The same data and specification with ``item_effects=False``; by default it is fitted here.
    draws : int
        Evenly spaced draws for the Bayes factor, and data sets replicated for the predictive spread.
    seed : int
        Of the fit with one effect and of the replicated data.

    Returns
    -------
    ItemHeterogeneity

    Raises
    ------
    SpecError
        A fit without item effects or with fixed items, fewer than 40 draws, or a prior of sigma_zeta whose density at zero is not
        positive and finite.

    Notes
    -----
    The Bayes factor is the Savage-Dickey ratio, its density at the boundary averaged over the exact conditional densities of
    sigma_zeta; other prior scales by importance weights, without fitting again. Where hardly a draw is near zero, up to five
    further fits with narrower priors lead there, unless it is hopeless. Of several arms each has its own ratio, the effects of
    the others varying over items; leaving out persons and the predictive spread under one effect compare with a model in which
    every arm has the same effect on all items. The likelihood-ratio test, by arm too, is exact over persons and uses Laplace's
    approximation over items; it is there for Rasch models.
    """
    check_item_effects(fit, "Tests of item effects")
    if draws < LEAST:
        raise SpecError(f"draws={draws}: the average of the Bayes factor needs at least {LEAST}.")
    if fit.spec.items == "fixed":
        raise SpecError(
            "Fixed items are no draws from a population, and there is no sigma_zeta to test: fit with items='random', or see "
            "bh.item_effects(fit) and the SD of item effects in bh.effects(fit)."
        )
    if constant is None:
        constant = _constant(fit, seed)
    if constant.spec != without_item_effects(fit.spec):
        raise SpecError("constant= must be a fit of the same specification with item_effects=False.")
    tests, why = {}, ""
    try:
        tests = {arm: likelihood_ratio(fit, arm) for arm in arms_of(fit.design)[1:]}
    except (DataError, SpecError) as error:
        why = str(error)
    return ItemHeterogeneity(
        fit=fit,
        constant=constant,
        bayes_factors={arm: bayes_factors(Effects(fit, arm), draws) for arm in arms_of(fit.design)[1:]},
        comparison=compare({"item effects": fit, "one effect": constant}),
        spread=predictive_spread({"item effects": fit, "one effect": constant}, draws, seed),
        likelihood=tests,
        no_likelihood=why,
    )


def _constant(fit: Fit, seed: int) -> Fit:
    given = {k: fit.record[k] for k in ("draws", "tune", "chains", "target_accept")}
    data = columns.raw_frame(fit.design)
    return fit_model(without_item_effects(fit.spec), data, seed=seed, progress=False, **given)


# -------------------------------------------------------------------------------------------------- predictive spread


def predictive_spread(fits: dict[str, Fit], draws: int, seed: int) -> pd.DataFrame:
    """Spread over items of the difference of log odds between arms, observed and replicated with new persons.

    Returns
    -------
    DataFrame
        ``model, arm, observed, replicated`` (median), ``lower, upper`` (95 %), ``p`` = P(replicated >= observed).
    """
    out = []
    for name, fit in fits.items():
        statistic = spread_of_effects(fit.design)
        observed = statistic(fit.design["y"].to_numpy())
        values = np.array([statistic(y) for new in replicates(fit, draws, seed, "new") for y in new["y"].to_numpy()])
        lower, middle, upper = np.quantile(values, [0.025, 0.5, 0.975], axis=0)
        given = {
            "arm": arms_of(fit.design)[1:],
            "observed": observed,
            "replicated": middle,
            "lower": lower,
            "upper": upper,
        }
        out.append(pd.DataFrame({"model": name} | given | {"p": (values >= observed).mean(0)}))
    return pd.concat(out, ignore_index=True)


def spread_of_effects(design: xr.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    """A function of responses (row,): by arm but the reference (contrast,) the SD over items of the difference of log odds from
    the reference, weighted by precision.

    Of categories a response counts as as many right answers as its category, out of as many as the highest. Half a response is
    added to right and wrong answers of each item and arm. Of two occasions arms after are compared, or with everybody before if
    nobody is untreated after.
    """
    J, item, arm = design.sizes[design.attrs["item"]], design["item_code"].to_numpy(), design["arm_code"].to_numpy()
    used = design["occasion_code"].to_numpy() == 1 if design.attrs["untreated_after"] else np.ones(len(arm), bool)
    cell, shape = (arm * J + item)[used], (len(arms_of(design)), J)
    n = np.bincount(cell, minlength=shape[0] * J).reshape(shape) * (design["n_categories"].to_numpy() - 1)

    def statistic(y: np.ndarray) -> np.ndarray:
        right = np.bincount(cell, y[used], minlength=shape[0] * J).reshape(shape)
        wrong = n - right
        log_odds, variance = np.log((right + 0.5) / (wrong + 0.5)), 1 / (right + 0.5) + 1 / (wrong + 0.5)
        difference = log_odds[1:] - log_odds[0]
        weight = (n[0] > 0) * (n[1:] > 0) / (variance[0] + variance[1:])
        mean = np.average(difference, axis=1, weights=weight)
        return np.sqrt(np.average((difference - mean[:, None]) ** 2, axis=1, weights=weight))

    return statistic


# ---------------------------------------------------------------------------------------------------- rows of the table


def _posterior(effects: Effects) -> dict:
    row = rows(effects.of(effects.fit.posterior, "sigma_zeta")).iloc[0]
    D = Arrays(effects.fit.design)
    beside = ", beside item covariates" if D.labels("item_covariate") else ""
    text = (
        f"posterior of the SD of item effects{beside}, {D.unit}: median, 95 % equal-tailed interval, Monte Carlo error"
    )
    given = {"lower": row["lower"], "upper": row["upper"], "error": row["mcse"], "definition": text}
    return {"quantity": effects.label, "value": row["estimate"]} | given


def _evidence(effects: Effects, found: dict[float, Evidence]) -> list[dict]:
    out, label = [], effects.label
    test = label.replace("sigma_zeta", "log BF10")
    for scale, evidence in sorted(found.items(), key=lambda pair: pair[0] != 1):
        name = test if scale == 1 else f"{test}, prior x {scale:g}"
        how = "Savage-Dickey" if scale == 1 else f"prior of {label} stretched by {scale:g}, by importance weights"
        text = f"natural log of the Bayes factor of {label} > 0 against 0, {effects.prior!r}, {how}"
        if evidence.fits:
            text += f"; bridge sampling over {evidence.fits} further fits with narrower priors"
        bound, value = np.nan, evidence.log_bf
        if not evidence.reliable:
            bound, value = at_least(effects, scale), np.nan
            text += (
                "; NOT MEASURED, because hardly a draw is near zero: the evidence for an SD > 0 is strong, lower is a bound "
                "that supposes no more than a posterior density rising from zero to the draws"
            )
        values = {
            "value": value,
            "lower": bound,
            "upper": np.nan,
            "error": evidence.mcse if evidence.reliable else np.nan,
        }
        out.append({"quantity": name} | values | {"definition": text})
    return out


def _prediction(comparison: pd.DataFrame) -> dict:
    sign = 1 if comparison.index[0] == "item effects" else -1
    lost = comparison["difference"].iloc[1]
    text = (
        "expected log predictive density with item effects minus that with one effect, leaving out one person at a time; "
        "error is its standard error over persons"
    )
    error = comparison["se_difference"].iloc[1]
    return {"quantity": "elpd difference", "value": -sign * lost, "error": error, "definition": text}


def _spread(spread: pd.DataFrame) -> list[dict]:
    text = "SD over items of the difference of log odds between arms, weighted by precision"
    out, several = [], spread["arm"].nunique() > 1
    for row in spread.itertuples():
        name = f"{SPREAD} of {row.arm}" if several else SPREAD
        if row.model == spread["model"].iloc[0]:
            out.append({"quantity": f"{name}, observed", "value": row.observed, "definition": text})
        given = {"value": row.replicated, "lower": row.lower, "upper": row.upper, "p": row.p}
        more = "in replicated data, median and 95 %; p = P(replicated >= observed)"
        out.append({"quantity": f"{name}, {row.model}"} | given | {"definition": f"{text}, {more}"})
    return out


def _likelihoods(tests: dict[str, LikelihoodRatio], why: str) -> list[dict]:
    how = "maximum likelihood, abilities integrated exactly, items by Laplace's approximation"
    if not tests:
        return [{"quantity": "likelihood ratio", "value": np.nan, "definition": f"{how}: not available. {why}"}]
    return [row for arm, test in tests.items() for row in _likelihood(test, f"[{arm}]" if len(tests) > 1 else "", how)]


def _likelihood(test: LikelihoodRatio, label: str, how: str) -> list[dict]:
    """Rows of the test of an arm."""
    text, n = f"twice the difference of the log-likelihoods, {how}", test.parameters
    text += "; the effects of the other arms vary in both models" if label else ""
    return [
        {
            "quantity": f"likelihood ratio{label}, p halved",
            "value": test.statistic,
            "p": test.p_halved,
            "definition": f"{text}; p: chi-square({n}), halved, as published analyses have it",
        },
        {
            "quantity": f"likelihood ratio{label}, p mixture",
            "value": test.statistic,
            "p": test.p_mixture,
            "definition": f"{text}; p: half-and-half mixture of chi-square({n - 1}) and chi-square({n}) (Stram & Lee, 1994)",
        },
        {"quantity": f"sigma_zeta{label}, maximum likelihood", "value": test.sigma_zeta, "definition": how},
        {
            "quantity": f"rho{label}, maximum likelihood",
            "value": test.rho,
            "definition": f"{how}; -1 or 1 is a singular fit, missing where sigma_zeta is 0",
        },
    ]
