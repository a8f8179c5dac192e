"""The model in words and symbols, and its priors."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from bayeshte.checks.sensitivity import sizes_of
from bayeshte.fit import Fit
from bayeshte.prior import OTHERS, Prior
from bayeshte.report.material import Material
from bayeshte.report.mathml import display, inline
from bayeshte.report.results import pictures
from bayeshte.tables.digits import DASH, number, significant


def model_section(m: Material) -> dict:
    """Equations, legend of symbols, coding, parameters with their priors."""
    fit, about = m.fit, m.about
    return {
        "equations": display(fit.spec.equations(fit.design)),
        "legend": [(inline(tex), name, meaning) for tex, name, meaning in about.symbols],
        "in_words": about.sentence,
        "coding": about.coding,
        "formulas": about.written,
        "pictures": pictures(m, ("path",)),
        "parameters": None if about.parameters is None else with_priors(fit, about.parameters),
    }


def with_priors(fit: Fit, parameters: pd.DataFrame) -> pd.DataFrame:
    """A parameter table with the priors themselves in place of their keys."""
    kinds = {"sd": "SD ~ ", "corr": "correlation ~ ", "cov": "covariance ~ "}
    shown = [
        kinds.get(k.split("[")[0], "") + repr(fit.priors[k]) if k in fit.priors else k for k in parameters["prior"]
    ]
    out = parameters.assign(prior=shown)
    cluster = fit.design.attrs["cluster"]
    out.attrs["clusters"] = f"{fit.design.sizes[cluster]:,} clusters of {cluster}" if cluster else ""
    return out


# ---------------------------------------------------------------------------------------------- priors


def priors_section(m: Material) -> dict:
    """Every prior with its numbers, what they say, and who set them."""
    fit = m.fit
    sizes = sizes_of(fit)
    table = pd.DataFrame(
        {
            "parameter": list(fit.priors),
            "prior": [repr(p) for p in fit.priors.values()],
            "Central 95 %": [_central(p, sizes.get(label, 1)) for label, p in fit.priors.items()],
            "Set by": set_by(fit),
        }
    )
    return {
        "priors": table,
        "kind": kind_of_priors(fit),
        "base": base_of_priors(fit),
        "correlations": any(p.name == "LKJ" for p in fit.priors.values()),
        "covariances": any(p.support == "covariance" for p in fit.priors.values()),
        "proper": sum(p.proper for p in fit.priors.values()),
        "improper": sum(not p.proper for p in fit.priors.values()),
        "unit": m.about.unit,
    }


def kind_of_priors(fit: Fit) -> str:
    """``"default"``, ``"mplus"`` or ``"own"``: where the priors come from."""
    return fit.spec.priors if isinstance(fit.spec.priors, str) else "own"


def base_of_priors(fit: Fit) -> str:
    """``"default"`` or ``"mplus"``: the set that the priors are, or override."""
    given = fit.spec.priors
    return given if isinstance(given, str) else given.get(OTHERS, "default")


def set_by(fit: Fit) -> list[str]:
    """Where each prior comes from: the authors' are those that differ from the set that they override."""
    base = base_of_priors(fit)
    name = {"default": "default", "mplus": "Mplus"}[base]
    if fit.spec.priors == base:
        return [name] * len(fit.priors)
    covariances = {
        k: p for k, p in fit.spec.priors.items() if k.startswith("cov[")
    }  # they decide which others there are
    others = {**covariances, OTHERS: base} if covariances or OTHERS in fit.spec.priors else base
    unchanged = replace(fit.spec, priors=others).frozen_priors(fit.design)
    own = {k for k, p in fit.priors.items() if k in covariances or p.support == "covariance"}
    return [name if unchanged[k] == prior and k not in own else "authors" for k, prior in fit.priors.items()]


def _central(prior: Prior, size: int) -> str:
    """The central 95 % of a prior; of LKJ that of each correlation, beta on (-1, 1); of Dirichlet that of each probability."""
    p = dict(prior.params)
    if not prior.proper:
        return f"{DASH} (improper)"
    if prior.name == "InverseWishart":
        return f"{DASH} (of a covariance matrix)"
    if prior.name == "LKJ":
        shape = p["eta"] + (size - 2) / 2
        low, high = 2 * stats.beta(shape, shape).ppf([0.025, 0.975]) - 1
        return f"{number(low, 2, True)} to {number(high, 2, True)}"
    tails = np.array([0.025, 0.975])
    if prior.name == "VarianceInverseGamma":
        low, high = np.sqrt(stats.invgamma(p["shape"], scale=p["scale"]).ppf(tails))
        return f"{significant(low)} to {significant(high)}"
    if prior.name == "HalfStudentT":  # of the absolute value
        tails = (1 + tails) / 2
    frozen = {
        "Dirichlet": lambda: stats.beta(p["alpha"], (size - 1) * p["alpha"]),
        "Normal": lambda: stats.norm(p["mu"], p["sigma"]),
        "StudentT": lambda: stats.t(p["nu"], p["mu"], p["sigma"]),
        "HalfStudentT": lambda: stats.t(p["nu"], 0, p["sigma"]),
        "HalfNormal": lambda: stats.halfnorm(0, p["sigma"]),
        "Exponential": lambda: stats.expon(0, 1 / p["lam"]),
        "Gamma": lambda: stats.gamma(p["alpha"], scale=1 / p["beta"]),
        "InverseGamma": lambda: stats.invgamma(p["alpha"], scale=p["beta"]),
        "LogNormal": lambda: stats.lognorm(p["sigma"], scale=np.exp(p["mu"])),
        "Uniform": lambda: stats.uniform(p["lower"], p["upper"] - p["lower"]),
    }[prior.name]()
    low, high = frozen.ppf(tails)
    return f"{significant(low)} to {significant(high)}"
