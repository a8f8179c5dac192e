"""What a paper reports of an EffectMixture, and the statistics of its predictive checks."""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from bayeshte.families.effect_mixture_arrays import INTERCEPT, Arrays
from bayeshte.families.effect_mixture_classes import classification
from bayeshte.families.effect_mixture_outcomes import CHUNK, Coefficients, labels, mean_outcome
from bayeshte.labelled import flatten, indicators, unstack
from bayeshte.spec import Estimand


def estimands(spec, design: xr.Dataset) -> list[Estimand]:
    """The estimands of an EffectMixture; see `Estimand`."""
    D = Arrays(design)
    out = _average_effects(spec, D) if D.contrasts else [_mean(spec)]
    if D.classes == 1:
        return out
    if D.contrasts and "gamma1" not in D.shared:
        for arm in D.contrasts:
            out += _class_effects(D, arm)
    if not D.contrasts and "gamma0" not in D.shared:
        text = f"expected outcome in the class, over the covariates of the persons in the data{_zero(D)}"
        out.append(Estimand("class mean", text, _class_means, "mean", headline=True))
    units = D.cluster if D.unit != "row" else "individuals"
    size = f"share of the class in the population of {units}"
    size += f", averaged over {D.cluster}" if D.varies else ""
    size += ", averaged over the covariates of membership in the data" if spec.membership else ""
    out.append(Estimand("class size", size, _sizes, "share", headline=True))
    if D.unit != "row":
        these = f"share of these {D.n_units} clusters that belong to the class"
        out.append(Estimand("class size, these clusters", these, _sizes_these, "share"))
    if D.varies:
        text = f"SD across {D.cluster} of the share of the class"
        text += ", averaged over the covariates of membership in the data" if spec.membership else ""
        out.append(Estimand("SD of class size", text, _size_spread, "sd"))
    if D.q and D.unit == "row":
        text = f"SD across {D.cluster} of the intercepts{_in_class(D)}"
        out.append(Estimand("SD of clusters", text, partial(_cluster_sd, of=INTERCEPT), "sd"))
    text = f"how clearly the {units} of the data are classified: 0 not at all, 1 without doubt (relative entropy)"
    out.append(Estimand("entropy", text, _entropy, "share", headline=True))
    return out


def _in_class(D: Arrays) -> str:
    """Whose SDs of random effects these are."""
    return " in the class" if "class" in D.with_class("sd", ()) else ", alike in all classes"


def _zero(D: Arrays) -> str:
    return ", random effects zero" if D.q else ""


def _linear(D: Arrays) -> bool:
    return D.family in ("gaussian", "student")


def _average_effects(spec, D: Arrays) -> list[Estimand]:
    what = "" if _linear(D) else " (difference of expected outcomes)"
    by = partial(partial, _average, spec=spec)
    if D.unit == "row":
        these = f"average over the persons in the data, each in its classes by their probabilities{what}"
        new = f"average over the population: class effects weighted by class sizes{what}"
        return [
            Estimand("ATE", these, by(clusters="these"), headline=True),
            Estimand("ATE, population", new, by(clusters="new")),
        ]
    these = f"average over the persons in the data, in these {D.n_units} clusters and their classes{what}"
    new = f"a new cluster: class effects weighted by class sizes{what}"
    return [
        Estimand("ATE", these, by(clusters="these"), headline=True),
        Estimand("ATE, new cluster", new, by(clusters="new"), headline=True),
    ]


def _average(posterior, design, *, spec, clusters):
    """Difference of the mean expected outcomes had everybody been in the arm and in the reference arm."""
    D = Arrays(design)
    alike = not (D.own_effects and {*D.contrasts} & {*D.varying})  # whatever the class of a person in a cluster
    if D.unit == "row" and clusters == "these" and _linear(D) and alike:
        share, effect = classification(D, posterior).share, D.by_class(posterior, "gamma1")
        values = (share[..., None] * effect).sum(1)
        for k, arm in enumerate(D.contrasts):
            if arm in D.varying:
                size = np.bincount(design["cluster_code"], minlength=design.sizes[D.cluster]) / len(D.arm)
                values[:, k] += flatten(posterior["u"])[..., D.varying.index(arm)] @ size
        return unstack(values, posterior, **{D.treatment: D.contrasts})
    weight = np.full((1, len(D.arm)), 1 / len(D.arm))
    given = {"clusters": clusters, "weight": weight}
    means = [spec.expected(posterior, design, arm=a, **given).isel(group=0, drop=True) for a in D.labels(D.arms)]
    return xr.concat([m - means[0] for m in means[1:]], dim=D.treatment).assign_coords({D.treatment: D.contrasts})


def _mean(spec) -> Estimand:
    def mean(posterior, design):
        weight = np.full((1, design.sizes["row"]), 1 / design.sizes["row"])
        return spec.expected(posterior, design, clusters="new", weight=weight).isel(group=0, drop=True)

    return Estimand(
        "mean", "expected outcome of the persons in the data, over the classes of the population", mean, headline=True
    )


def _class_effects(D: Arrays, arm: str) -> list[Estimand]:
    """Effect of one arm in every class, how classes differ in it, and its spread."""
    of = f" of {arm}" if len(D.contrasts) > 1 else ""
    scale = "" if _linear(D) else ", on the link scale"
    more = f": {arm} compared with {D.reference}"
    by = partial(partial, arm=D.contrasts.index(arm))
    out = [
        Estimand(f"class effect{of}", f"effect in the class{scale}{more}", by(_effect), headline=True),
        Estimand(f"difference from class 1{of}", f"class effect minus that of class 1{scale}", by(_difference)),
        Estimand(
            f"SD of class effects{of}", f"SD of the class effects, weighted by class sizes{scale}",
            by(_spread), "sd", headline=True,
        ),
    ]  # fmt: skip
    if arm in D.varying:
        within = (
            f"between classes and between {D.cluster}" if D.unit == "row" else "of clusters, between and within classes"
        )
        text = f"SD of the effect over the population {within}{scale}"
        out.append(Estimand(f"SD of effects{of}", text, by(_total_spread), "sd"))
        if D.unit == "row":
            text = f"SD across {D.cluster} of the effect{_in_class(D)}{scale}"
            out.append(Estimand(f"SD of clusters, effect{of}", text, partial(_cluster_sd, of=arm), "sd"))
    if not _linear(D):
        text = f"difference of expected outcomes in the class, over the covariates of the persons in the data{_zero(D)}{more}"
        out.append(Estimand(f"class effect{of}, outcome", text, by(_outcome_effect)))
    return out


def _effects(posterior, D: Arrays, arm: int) -> np.ndarray:
    return D.by_class(posterior, "gamma1")[..., arm]


def _effect(posterior, design, *, arm):
    D = Arrays(design)
    return unstack(_effects(posterior, D, arm), posterior, **{"class": D.labels("class")})


def _difference(posterior, design, *, arm):
    values = _effect(posterior, design, arm=arm)
    return values.isel({"class": slice(1, None)}) - values.isel({"class": 0}, drop=True)


def _variance(posterior, D: Arrays, arm: int) -> np.ndarray:
    effect, size = _effects(posterior, D, arm), D.class_sizes(posterior)
    centred = effect - (size * effect).sum(1, keepdims=True)
    return (size * centred**2).sum(1)


def _spread(posterior, design, *, arm):
    return unstack(np.sqrt(_variance(posterior, Arrays(design), arm)), posterior)


def _total_spread(posterior, design, *, arm):
    D = Arrays(design)
    sd = D.by_class(posterior, "sd")[..., D.varying.index(D.contrasts[arm])]
    return unstack(np.sqrt(_variance(posterior, D, arm) + (D.class_sizes(posterior) * sd**2).sum(1)), posterior)


def class_outcomes(posterior, D: Arrays, arm: int) -> np.ndarray:
    """Expected outcome of the persons in the data had they been in the class and in the arm: (draw, class)."""
    coefficients = Coefficients(D, posterior)
    T = indicators(np.full(len(D.arm), arm), len(D.contrasts))
    S = posterior.sizes["chain"] * posterior.sizes["draw"]
    step = max(1, CHUNK // len(T))
    out = np.empty((S, D.classes))
    for k in range(0, S, step):
        s = slice(k, k + step)
        for c in range(D.classes):
            out[s, c] = mean_outcome(D.family, coefficients.in_class(s, c, T, D.X)).mean(1)
    return out


def _cluster_sd(posterior, design, *, of):
    return posterior["sd"].sel(varying=of, drop=True)


def _outcome_effect(posterior, design, *, arm):
    D = Arrays(design)
    values = class_outcomes(posterior, D, arm + 1) - class_outcomes(posterior, D, 0)
    return unstack(values, posterior, **{"class": D.labels("class")})


def _class_means(posterior, design):
    D = Arrays(design)
    return unstack(class_outcomes(posterior, D, 0), posterior, **{"class": D.labels("class")})


def _sizes(posterior, design):
    D = Arrays(design)
    return unstack(D.class_sizes(posterior), posterior, **{"class": D.labels("class")})


def _size_spread(posterior, design):
    D = Arrays(design)
    weights, shares = D.cluster_shares(posterior)
    mean = np.einsum("g,sgc->sc", weights, shares)
    spread = np.sqrt(np.einsum("g,sgc->sc", weights, (shares - mean[:, None]) ** 2))
    return unstack(spread, posterior, **{"class": D.labels("class")})


def _sizes_these(posterior, design):
    D = Arrays(design)
    label = labels(D, posterior)
    shares = np.stack([(label == c).mean(1) for c in range(D.classes)], axis=1)
    return unstack(shares, posterior, **{"class": D.labels("class")})


def _entropy(posterior, design):
    return unstack(classification(Arrays(design), posterior).entropy, posterior)


def discrepancies(design: xr.Dataset) -> Callable[[np.ndarray], dict[str, float]]:
    """Statistics of an outcome vector for posterior predictive checks: of everybody, by arm, and between clusters."""
    D = Arrays(design)
    groups = {"": np.ones(len(D.y), bool)}
    groups |= {f" in {a}": D.arm == k for k, a in enumerate(D.labels(D.arms))} if D.contrasts else {}
    code, J = design["cluster_code"].to_numpy(), design.sizes.get(D.cluster, 0)

    def statistics(y: np.ndarray) -> dict[str, float]:
        y = y if D.trials is None else y / D.trials
        out = {}
        for text, rows in groups.items():
            out[f"mean{text}"] = float(y[rows].mean())
            if D.family != "logit":
                z = (y[rows] - y[rows].mean()) / (y[rows].std() or 1.0)  # counts may all be zero
                out[f"SD{text}"] = float(y[rows].std(ddof=1))
                out |= {f"skewness{text}": float((z**3).mean()), f"kurtosis{text}": float((z**4).mean())}
        if D.cluster:
            means = np.bincount(code, y, J) / np.bincount(code, minlength=J)
            out["SD of cluster means"] = float(means.std(ddof=1))
        return out

    return statistics
