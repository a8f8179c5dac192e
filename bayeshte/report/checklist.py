"""What reporting guidelines ask for, each item with this fit's answer: done, in part, not done, for the authors, ...

BARG: Kruschke (2021), Bayesian analysis reporting guidelines, Nature Human Behaviour 5, 1282-1291, table 1.
WAMBS: Depaoli & van de Schoot (2017), the WAMBS-checklist, Psychological Methods 22, 240-261. Both in our own words.
"""

from dataclasses import dataclass

import numpy as np

from bayeshte.report.checking import extreme, sensitive, stability, weakest
from bayeshte.report.material import Material
from bayeshte.report.model import kind_of_priors
from bayeshte.tables.digits import percent

DONE, PART, NOT, NONE, AUTHORS = "done", "in part", "not done", "does not apply", "authors"


@dataclass(frozen=True)
class Item:
    """One point of a checklist."""

    group: str
    asks: str
    status: str
    answer: str


def checklist_section(m: Material) -> dict:
    """Both checklists."""
    return {"barg": barg(m), "wambs": wambs(m)}


def barg(m: Material) -> list[Item]:
    """The six steps of BARG."""
    return [
        *_preamble_and_model(m),
        *_computation(m),
        *_posterior(m),
        *_decisions(m),
        *_sensitivity(m),
        *_reproducible(m),
    ]


def _preamble_and_model(m: Material) -> list[Item]:
    fit, group = m.fit, "1 Model"
    drawable = all(p.drawable for p in fit.priors.values())
    how = "simulate from fit.model with pm.sample_prior_predictive" if drawable else "not all priors can be drawn from"
    return [
        Item("Preamble", "Why Bayesian", AUTHORS, "Say what the analysis gains from it."),
        Item("Preamble", "Goals of the analysis", AUTHORS, "Say which effect, for whom, and what will be decided."),
        Item(group, "Data and variables", DONE, "Sections Data and The model; where the variables come from: authors."),
        Item(group, "Likelihood and parameters", DONE, f"{m.about.sentence}."),
        Item(
            group,
            "Prior distributions, justified",
            PART,
            {
                "default": "Listed in full; scaled to the outcome and the columns. Say why they suit this question.",
                "mplus": "Listed in full; the flat defaults of Mplus. Say why nothing is known beforehand.",
                "own": "Listed in full. Say where the numbers that you set come from.",
            }[kind_of_priors(fit)],
        ),
        Item(group, "Formal specification", DONE, "Equations in The model, code in How to reproduce."),
        Item(group, "Prior predictive check", NOT, f"Not part of this report: {how}."),
    ]


def _computation(m: Material) -> list[Item]:
    d, group = m.fit.diagnosis, "2 Computation"
    worst = next(c.message for c in d.checks if c.name == "R-hat")
    ess = "; ".join(c.message for c in d.checks if c.name.endswith("ESS"))
    return [
        Item(group, "Software", DONE, "Versions in How to reproduce."),
        Item(
            group,
            "Convergence of chains",
            DONE if d.ok else PART,
            f"{worst}; every quantity has its own in the tables.",
        ),
        Item(group, "Resolution of chains (ESS)", DONE, f"{ess}; every quantity has its own in the tables."),
        Item(
            group,
            "If not MCMC: the approximation",
            NONE,
            f"MCMC, on the {m.fit.record.get('sampled', 'density of the model')}.",
        ),
    ]


def _posterior(m: Material) -> list[Item]:
    group, told = "3 Posterior", extreme(m)
    if m.predictive.value is None:
        check = (NOT, m.predictive.message)
    else:
        n = len(m.predictive.value)
        check = (DONE, f"{n} statistics; extreme: {', '.join(told)}." if told else f"{n} statistics, none extreme.")
    return [
        Item(group, "Posterior predictive check", *check),
        Item(group, "Posterior of every quantity", DONE, "Median, mean, SD, 95 % interval in Effects and Parameters."),
        Item(group, "Bayes factors, model probabilities", NONE, "None were computed."),
    ]


def _decisions(m: Material) -> list[Item]:
    group = "4 Decisions"
    limits = []
    if m.meaningful is not None:
        limits.append(f"smallest effect that matters {m.meaningful:g}")
    if m.rope is not None:
        limits.append(f"region of practical equivalence {m.rope[0]:g} to {m.rope[1]:g}")
    return [
        Item(group, "Whether to decide, and the loss", AUTHORS, "This report decides nothing: it gives probabilities."),
        Item(
            group,
            "Limits of practical equivalence",
            PART if limits else NOT,
            f"Used: {'; '.join(limits)}. Say why." if limits else "None given: report(fit, path, meaningful=, rope=).",
        ),
        Item(group, "Estimates beside decisions", DONE, "Every probability stands beside its estimate and interval."),
    ]


def _sensitivity(m: Material) -> list[Item]:
    group = "5 Sensitivity"
    return [
        Item(group, "To the strength of the priors", *_power_scaling(m)),
        Item(group, "To other priors (broad, informed)", NOT, "Fit again with other priors= and compare."),
        Item(group, "Of decisions and Bayes factors", NONE, "None were made."),
    ]


def _power_scaling(m: Material) -> tuple[str, str]:
    if m.sensitivity.value is None:
        return NOT, m.sensitivity.message
    told = sensitive(m)
    return DONE, f"Power-scaling: {'sensitive: ' + '; '.join(told) if told else 'no quantity is sensitive'}."


def _reproducible(m: Material) -> list[Item]:
    group, fit = "6 Reproducibility", m.fit
    return [
        Item(group, "Software and installation", DONE, "Versions in How to reproduce."),
        Item(group, "Script and data", PART, "The specification as code is below; deposit the data yourself."),
        Item(
            group, "Runs the same again", DONE, f"Seed {fit.record['seed']}; data hash {fit.design.attrs['data_hash']}."
        ),
        Item(
            group,
            "Draws kept",
            AUTHORS,
            "bh.save(fit, folder) keeps draws, design, priors and versions in open formats.",
        ),
        Item(group, "Posted in an archive", AUTHORS, "Say where."),
    ]


def wambs(m: Material) -> list[Item]:
    """The ten points of WAMBS."""
    return [*_before(m), *_after(m), *_influence(m)]


def _before(m: Material) -> list[Item]:
    set_by = {"default": "the package, scaled to the data", "mplus": "Mplus", "own": "the authors, in part or all"}
    answer = (
        f"All are printed with their central 95 %; set by {set_by[kind_of_priors(m.fit)]}. Understanding them is yours."
    )
    return [Item("Before fitting", "1 Are the priors understood?", PART, answer)]


def _after(m: Material) -> list[Item]:
    group, fit = "After fitting", m.fit
    kept = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    name, ess = weakest(m.summary)
    trace = "Trace and rank plots are in Figures; " if {"trace", "rank"} & set(m.figures) else ""
    chains = f"{trace}{fit.diagnosis.verdict}"
    enough = correlated = "Cannot be computed: too few draws."
    if np.isfinite(ess):
        enough = f"The least informed parameter ({name}) has {ess:,.0f} effective draws of {kept:,}."
        correlated = f"The smallest effective sample size is {percent(ess / kept)} of the draws ({name})."
    return [
        Item(group, "2 Do the chains converge?", DONE if fit.diagnosis.ok else PART, chains),
        Item(
            group,
            "3 Does it stay so with twice the draws?",
            PART,
            f"Not run again; from the first half of the draws to all of them the medians moved {stability(m)}.",
        ),
        Item(group, "4 Do the histograms hold enough draws?", DONE, enough),
        Item(group, "5 Are the draws strongly autocorrelated?", DONE, correlated),
        Item(group, "6 Do the posteriors make sense?", AUTHORS, "Signs, sizes and units: only the subject can tell."),
    ]


def _influence(m: Material) -> list[Item]:
    group = "Influence of priors"
    many = any(p.support in ("correlation", "covariance") for p in m.fit.priors.values())
    covariance = "Fit again with other priors of correlations and SDs." if many else "There is no covariance matrix."
    return [
        Item(group, "7 Other priors of the covariance matrix?", NOT if many else NONE, covariance),
        Item(
            group,
            "8 Compared with uninformative priors?",
            PART if m.prior_overlap.value is not None else NOT,
            "Not fitted again; Checks shows how much of each posterior its prior already covered."
            if m.prior_overlap.value is not None
            else m.prior_overlap.message,
        ),
        Item(group, "9 Stable in a sensitivity analysis?", *_power_scaling(m)),
        Item(
            "Reporting", "10 Interpreted in the Bayesian way?", DONE, "Probabilities of effects, no significance tests."
        ),
    ]
