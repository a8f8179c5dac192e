"""Latent classes: who belongs to which, whether the classes are real ones, and how many there are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import entr

from bayeshte.checks.loo import loo
from bayeshte.checks.rivals import Rivals, class_rivals, has_rival
from bayeshte.convergence import MAX_RHAT, Check
from bayeshte.errors import DataError, SpecError
from bayeshte.families import EffectMixture
from bayeshte.families.effect_mixture_arrays import Arrays
from bayeshte.families.effect_mixture_classes import Classification, classification
from bayeshte.families.effect_mixture_estimands import class_outcomes
from bayeshte.fit import Fit, fit
from bayeshte.labelled import unstack
from bayeshte.marginal import mixture_data, mixture_draws, mixture_modes
from bayeshte.summary import rows

#: Mean probability of the units assigned to a class below which it is not separable (Nagin, 2005, chapter 5).
SEPARABLE = 0.7
#: Share of draws in which a class may hold fewer units than one.
EMPTY = 0.05
#: Largest error of the log-likelihood of a draw that quadrature may make: it changes the weight of the draw by as much.
IMPRECISE = 0.05
TRIED = 5  # draws of each chain at which it is looked at
HALVES = 10  # half-samples of `fit_classes`


@dataclass(frozen=True)
class ClassCheck:
    """Whether the classes of a fit can be spoken of. `ok` means that nothing speaks against it.

    Attributes
    ----------
    checks : tuple of Check
    chains : DataFrame
        Medians by chain of quantities that do not depend on how classes are numbered.
    """

    checks: tuple[Check, ...]
    chains: pd.DataFrame

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.checks)

    def table(self) -> pd.DataFrame:
        """The checks, one a row."""
        return pd.DataFrame([vars(c) for c in self.checks])

    def __repr__(self):
        wrong = [c.message for c in self.checks if not c.ok]
        return "Classes: " + ("; ".join(wrong) if wrong else "; ".join(c.message for c in self.checks)) + "."


def _arrays(fit: Fit) -> Arrays:
    if not isinstance(fit.spec, EffectMixture):
        raise SpecError("There are no latent classes in this model: fit a bh.EffectMixture.")
    return Arrays(fit.design)


def class_membership(fit: Fit) -> pd.DataFrame:
    """P(class | data) of every cluster, or row, averaged over the posterior.

    Returns
    -------
    DataFrame
        Index: the units. A column a class; ``most_likely``, the class with the largest probability; ``probability``, that
        largest one: how sure the assignment is. Use the columns as weights; analysing ``most_likely`` as if it were observed
        treats doubtful units as certain.
    """
    D = _arrays(fit)
    p = classification(D, fit.posterior).probability
    table = pd.DataFrame(p, pd.Index(fit.design[D.unit].to_numpy(), name=D.unit), D.labels("class"))
    table["most_likely"] = np.array(D.labels("class"))[p.argmax(1)]
    table["probability"] = p.max(1)
    return fit.diagnosis.mark(table)


def class_profiles(fit: Fit) -> pd.DataFrame:
    """The classes beside each other: size, effects, expected outcomes, and how clearly units are assigned to them.

    Returns
    -------
    DataFrame
        Rows ``class, quantity``, then the common schema. ``entropy`` and ``assignment`` (mean probability of the units that are
        most likely in the class) say how far a class can be told from the others.
    """
    D = _arrays(fit)
    posterior, labels = fit.posterior, D.labels("class")
    found = {"size": D.class_sizes(posterior)}
    for k, arm in enumerate(D.contrasts):
        found[f"effect of {arm}"] = D.by_class(posterior, "gamma1")[..., k]
    for k, arm in enumerate(D.labels(D.arms) if D.contrasts else [""]):
        found[f"expected outcome{f' in {arm}' if arm else ''}"] = class_outcomes(posterior, D, k)
    if D.sigmas:
        found["sigma"] = D.by_class(posterior, "sigma")
    parts = []
    for name, values in found.items():
        part = rows(unstack(values, posterior, **{"class": labels}).rename(name)).drop(columns="parameter")
        part.insert(0, "quantity", name)
        part.insert(0, "class", labels)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table = table.sort_values("class", kind="stable", ignore_index=True)
    p = classification(D, posterior).probability
    table["assignment"] = table["class"].map(dict(zip(labels, _assignment(p).diagonal(), strict=True)))
    table["entropy"] = relative_entropy(p)
    return fit.diagnosis.mark(table)


def relative_entropy(p: np.ndarray) -> float:
    """1 - mean over units of -sum_c p log p / log K; 1 with one class."""
    return float(1 - entr(p).sum(1).mean() / np.log(p.shape[1])) if p.shape[1] > 1 else 1.0


def _assignment(p: np.ndarray) -> np.ndarray:
    """Mean probability of class l among the units most likely in class k: (k, l); NaN where there are none."""
    modal = p.argmax(1)
    return np.stack(
        [p[modal == k].mean(0) if (modal == k).any() else np.full(p.shape[1], np.nan) for k in range(p.shape[1])]
    )


def class_check(fit: Fit, rivals: bool = True) -> ClassCheck:
    """Whether chains agree on what does not depend on the numbering of classes, whether classes are empty, alike, or not needed.

    Where quadrature integrates random effects, how precise it was too.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.EffectMixture`.
    rivals : bool
        Whether models of one class are fitted and compared with the classes, `bayeshte.class_rivals`, if that was not done
        before.
    """
    D = _arrays(fit)
    posterior = fit.posterior
    found = classification(D, posterior)
    invariant = _invariant(D, posterior, found)
    table = pd.concat([rows(v) for v in invariant.values()], ignore_index=True)
    worst = table.loc[table["rhat"].idxmax()] if table["rhat"].notna().any() else None
    value = 1.0 if worst is None else float(worst["rhat"])
    name = "log-likelihood" if worst is None else worst["parameter"]
    text = f"largest R-hat of what does not depend on the numbering {value:.3f} ({name})"
    medians = {k: v.median("draw").to_numpy() for k, v in invariant.items()}
    chains = pd.DataFrame(medians, index=pd.Index(posterior["chain"].to_numpy(), name="chain"))
    if value > MAX_RHAT:
        each = ", ".join(f"{v:.1f}" for v in chains["log-likelihood"])
        text += f": chains are in different modes (median log-likelihood by chain {each})"
    checks = [Check("modes", value <= MAX_RHAT, value, MAX_RHAT, text)]
    if D.units.nodes:
        checks.append(_precision(D, posterior))
    if D.classes > 1:
        checks += [_emptiness(D, found), _likeness(D, found.probability)]
        if rivals and has_rival(fit.spec):
            checks.append(_need(class_rivals(fit)))
    return ClassCheck(tuple(checks), chains)


def _invariant(D: Arrays, posterior: xr.Dataset, given: Classification) -> dict[str, xr.DataArray]:
    """Quantities that do not depend on the numbering, by name: (chain, draw) each."""
    found = {"log-likelihood": given.log_likelihood}
    if D.classes > 1:
        size = np.sort(D.class_sizes(posterior), axis=1)
        found |= {"smallest size": size[:, 0], "largest size": size[:, -1]}
        found["entropy"] = given.entropy
    return {k: unstack(v, posterior).rename(k) for k, v in found.items()}


def _precision(D: Arrays, posterior: xr.Dataset) -> Check:
    """Whether the likelihood that was sampled is precise: with twice as many nodes, at some draws of every chain."""
    some = posterior.isel(draw=np.linspace(0, posterior.sizes["draw"] - 1, TRIED).astype(int))
    error = mixture_draws.quadrature_error(D.units, D.parameters(some))
    text = f"quadrature with {D.units.nodes} nodes a random effect, error of the log-likelihood at most {error:.1g}"
    return Check("quadrature", error <= IMPRECISE, error, IMPRECISE, text)


def _emptiness(D: Arrays, given: Classification) -> Check:
    """How often a class holds less than one unit in expectation."""
    held = D.n_units * given.share
    share = (held < 1).mean(0)
    k = int(share.argmax())
    label, few = D.labels("class")[k], held.mean(0)[k]
    text = f"{label} holds less than one unit in {share[k]:.0%} of draws (on average {few:.1f} of {D.n_units})"
    return Check("empty classes", bool(share[k] <= EMPTY), float(share[k]), EMPTY, text)


def _likeness(D: Arrays, probability: np.ndarray) -> Check:
    """Whether the units that are most likely in a class clearly belong to it."""
    table = _assignment(probability)
    own = np.nan_to_num(table.diagonal(), nan=0.0)
    k, labels = int(own.argmin()), D.labels("class")
    text = f"units most likely in {labels[k]} belong to it with a mean probability of {own[k]:.2f}"
    if np.isnan(table[k, k]):
        text = f"no unit is most likely in {labels[k]}. Fit fewer classes"
    elif own[k] < SEPARABLE:
        rest = np.delete(np.nan_to_num(table[k]), k)
        other = np.delete(np.array(labels), k)[int(rest.argmax())]
        text += f": {labels[k]} is not separable, it is nearest to {other}. Fit fewer classes"
    return Check("separable classes", bool(own[k] >= SEPARABLE), float(own[k]), SEPARABLE, text)


def _need(found: Rivals) -> Check:
    """Whether classes predict better than one class."""
    return Check("better than one class", found.ok, found.difference[0], 0.0, found.sentence)


# ---------------------------------------------------------------------------------------------- how many


def fit_classes(
    spec: EffectMixture,
    data: pd.DataFrame,
    classes: Iterable[int] = range(1, 6),
    *,
    bayesian: bool = True,
    seed: int = 0,
    **sampling,
) -> pd.DataFrame:
    """Mixtures with different numbers of classes beside each other.

    Information criteria are those of maximum-likelihood fits, the best of many dispersed starts; random effects are integrated.
    With N units that carry the class (clusters, or rows) and k free parameters: AIC = -2 l + 2 k, BIC = -2 l + k log N, SABIC
    with (N + 2) / 24 for N, ICL = BIC + 2 sum over units of -sum_c p log p. LOO is that of the Bayesian fits.

    Parameters
    ----------
    spec : EffectMixture
        Its ``classes`` are replaced.
    data : DataFrame
    classes : iterable of int
    bayesian : bool
        Whether each number of classes is sampled too, for ``elpd`` and ``problems``.
    seed : int
    **sampling
        As in `bh.fit`: ``draws``, ``tune``, ``cores``.

    Returns
    -------
    DataFrame
        A row a number of classes: ``log_likelihood, parameters, AIC, BIC, SABIC, ICL, entropy, smallest`` (share of the smallest
        class); ``starts``, the share of the better starts that reached the best maximum; ``stability``, the mean adjusted Rand
        index of how the units of half-samples are classified by a fit to the half and by the fit to all; ``elpd, se`` of
        leaving out clusters (rows without clusters); ``problems`` of the Bayesian fit. ``attrs["picks"]`` has what each criterion
        prefers, ``attrs["sentence"]`` says it, ``attrs["integrated"]`` how random effects were, if by quadrature, and the error
        of the log-likelihood at the maxima. None of them is a verdict: sizes, profiles and theory decide.
    """
    if not isinstance(spec, EffectMixture):
        raise SpecError("fit_classes compares numbers of latent classes: give it a bh.EffectMixture.")
    numbers = sorted(set(classes))
    if not numbers:
        raise SpecError("classes= names no number of classes.")
    most = Arrays(with_classes(spec, numbers[-1]).design(data))
    if most.effect_dims:
        mixture_data.check_effects(most.layout.effects(most.q))
    table = pd.DataFrame([_one(spec, data, K, bayesian, seed, sampling) for K in numbers])
    table = table.set_index(pd.Index(numbers, name="classes"))
    nodes, error = int(table.pop("nodes").max()), table.pop("quadrature_error").max()
    if nodes:
        table.attrs["integrated"] = f"by quadrature with {nodes} nodes a random effect, error at most {error:.1g}"
    picks = {c: int(table[c].idxmin()) for c in ("AIC", "BIC", "SABIC", "ICL")}
    if bayesian:
        picks["LOO"] = int(table["elpd"].idxmax())
    table.attrs["picks"] = picks
    table.attrs["sentence"] = "Prefers " + ", ".join(f"{c}: {k}" for c, k in picks.items()) + " classes."
    return table


def with_classes(spec: EffectMixture, K: int) -> EffectMixture:
    """The specification with another number of classes; one class has no membership to explain and no order."""
    if K == 1:
        given = spec.priors
        if not isinstance(given, str):
            given = {k: p for k, p in given.items() if k.split("[")[0] not in ("pi", "alpha", "sd_membership")}
        one = {"membership": "", "membership_varies": False, "order": None, "shared": (), "priors": given}
        return replace(spec, classes=1, **one)
    return replace(spec, classes=K)


def _one(spec: EffectMixture, data: pd.DataFrame, K: int, bayesian: bool, seed: int, sampling: dict) -> dict:
    """One row of `fit_classes`."""
    spec = with_classes(spec, K)
    D = Arrays(spec.design(data))
    found = mixture_modes.maximum_likelihood(D.units, D.layout, seed)
    if not found:
        raise DataError(
            f"With {K} classes every maximum of the likelihood has a class of a few equal values. Share 'sigma' between classes "
            "(shared=('sigma',)) or lower the number of classes."
        )
    best, N = found[0], D.n_units
    p = mixture_modes.classified(D.units, D.layout, best.x)
    k, ll = len(best.x), best.height
    bic = -2 * ll + k * np.log(N)
    row = {"log_likelihood": ll, "parameters": k, "AIC": -2 * ll + 2 * k, "BIC": bic}
    row |= {"SABIC": -2 * ll + k * np.log((N + 2) / 24), "ICL": bic + 2 * entr(p).sum()}
    row |= {"entropy": relative_entropy(p), "smallest": p.mean(0).min()}
    row["nodes"], row["quadrature_error"] = mixture_modes.quadrature_error(D.units, D.layout, best.x)
    row["starts"] = best.found / sum(m.found for m in found)
    row["stability"] = _stability(D, p, seed)
    return row | (_bayesian(spec, data, seed, sampling) if bayesian else {})


def _stability(D: Arrays, p: np.ndarray, seed: int) -> float:
    """Mean adjusted Rand index over half-samples of the classification by the half and by all."""
    if D.classes == 1:
        return 1.0
    rng, values = np.random.default_rng(seed), []
    for k in range(HALVES):
        half = np.sort(rng.permutation(D.n_units)[: D.n_units // 2])
        part = mixture_data.subset(D.units, half)
        found = mixture_modes.maximum_likelihood(part, D.layout, seed + k)
        if found:
            values.append(
                adjusted_rand(mixture_modes.classified(part, D.layout, found[0].x).argmax(1), p[half].argmax(1))
            )
    return float(np.mean(values)) if values else np.nan


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Agreement of two partitions beyond chance, 1 if they are the same (Hubert & Arabie, 1985)."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(n):
        return (n * (n - 1) / 2).sum()

    both, first, second, every = pairs(table), pairs(table.sum(1)), pairs(table.sum(0)), pairs(table.sum(keepdims=True))
    chance, most = first * second / every, (first + second) / 2
    return 1.0 if most == chance else float((both - chance) / (most - chance))


def _bayesian(spec: EffectMixture, data: pd.DataFrame, seed: int, sampling: dict) -> dict:
    """Leave-one-out and problems of the Bayesian fit."""
    made = fit(spec, data, seed=seed, progress=False, **sampling)
    found = loo(made, "cluster" if made.design.attrs["cluster"] else "row", refit=False)
    check = class_check(made, rivals=False)
    wrong = [c.message for c in check.checks if not c.ok] + ([] if made.diagnosis.ok else [made.diagnosis.verdict])
    return {"elpd": found.elpd, "se": found.se, "problems": "; ".join(dict.fromkeys([*wrong, *found.troubles]))}
