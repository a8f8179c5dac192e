"""The model in words and symbols, and its priors."""

import numpy as np
import pandas as pd
from scipy import stats

from bayeshte.fit import Fit
from bayeshte.prior import Prior
from bayeshte.report.material import Material
from bayeshte.latex import text
from bayeshte.report.mathml import display, inline
from bayeshte.tables.digits import DASH, number, significant

LIKELIHOODS = {
    "gaussian": "normal",
    "student": "Student t",
    "logit": "Bernoulli with a logit link",
    "probit": "Bernoulli with a probit link",
    "poisson": "Poisson with a log link",
}
#: what the linear predictor is
SCALES = {"logit": "log odds", "probit": "probit (z) scale", "poisson": "log of the expected count"}


def model_section(m: Material) -> dict:
    """Equations, legend of symbols, coding."""
    fit = m.fit
    return {
        "equations": display(fit.spec.equations(fit.design)),
        "legend": [(inline(tex), name, meaning) for tex, name, meaning in legend(fit)],
        "in_words": in_words(fit),
        "arms": _arms(fit),
        "columns": _columns(fit),
        "formulas": _formulas(fit),
    }


def in_words(fit: Fit) -> str:
    """The model in a sentence, as a methods section has it."""
    a, spec = fit.design.attrs, fit.spec
    likelihood = LIKELIHOODS[a["family"]]
    words = [f"a Bayesian {'multilevel ' if 'u' in fit.posterior else ''}model of {a['outcome']} ({likelihood}"]
    if "se" in fit.design:
        words.append(f" with known standard errors, {spec.standard_error})")
    else:
        words.append(", residual SD by arm)" if a["sigma_by_arm"] else ")")
    if a["treatment"]:
        arms = [str(v) for v in fit.design[a["treatment"]].to_numpy()]
        words.append(f" with the effects of {a['treatment']} ({', '.join(arms)}; reference {a['reference']})")
    if spec.moderators:
        words.append(f", moderated by {spec.moderators}")
    if spec.covariates:
        words.append(f", adjusted for {spec.covariates}")
    if "u" in fit.posterior:
        varying = [str(v) for v in fit.design["varying"].to_numpy()]
        named = " and ".join(["the intercept" if v == "intercept" else f"the effect of {v}" for v in varying])
        together = " with a full covariance matrix" if len(varying) > 1 else ""
        words.append(f"; {named} {'vary' if len(varying) > 1 else 'varies'} across {a['cluster']}{together}")
    return "".join(words)


def legend(fit: Fit) -> list[tuple[str, str, str]]:
    """Symbols of the equations: LaTeX, name in the tables, meaning."""
    return [*_data_symbols(fit), *_coefficients(fit), *_spread(fit)]


def _data_symbols(fit: Fit) -> list[tuple[str, str, str]]:
    a = fit.design.attrs
    unit = f"row i in {a['cluster']} j" if a["cluster"] else "row i"
    scale = SCALES.get(a["family"])
    out = [(rf"{text(a['outcome'])}_{{ij}}", a["outcome"], f"outcome of {unit}")]
    out.append((r"\eta_{ij}", "", f"linear predictor: {scale or 'expected outcome'} of {unit}"))
    if a["treatment"]:
        out.append((rf"[{text(a['treatment'])}_{{ij}} = a]", a["treatment"], f"1 if {unit} is in arm a, else 0"))
    for symbol, dim, role in (("X", "covariate", "covariates"), ("M", "moderator", "moderators")):
        columns = [str(v) for v in fit.design[dim].to_numpy()]
        if columns:
            out.append((rf"{symbol}_{{ij}}", "", f"{role}: {', '.join(columns)}"))
    if "se" in fit.design:
        column = fit.spec.standard_error
        out.append((rf"{text(column)}_{{ij}}", column, "standard error of the outcome, taken as known"))
    return out


def _coefficients(fit: Fit) -> list[tuple[str, str, str]]:
    a, posterior = fit.design.attrs, fit.posterior
    zero = ["covariates at zero"] if fit.design.sizes["covariate"] else []
    zero += [f"in the average {a['cluster']}: random effects zero"] if "u" in posterior else []
    where = f" ({', '.join(zero)})" if zero else ""
    who = f" in {a['reference']}" if a["treatment"] else ""
    scale = f", on the {SCALES[a['family']]}" if a["family"] in SCALES else ""
    out = [(r"\gamma_0", "gamma0", f"expected outcome{who}{where}{scale}")]
    moderated = "gamma3" in posterior
    if "gamma1" in posterior:
        at = " where the moderators are zero" if moderated else ""
        meaning = f"effect of arm a: difference to {a['reference']}{at}"
        out.append(
            (r"\gamma_{1,a}", "gamma1[a]", meaning + (" in the average cluster" if "u" in posterior else "") + scale)
        )
    if "gamma2" in posterior:
        arm = f", in {a['reference']}" if moderated else ""
        out.append((r"\gamma_2", "gamma2[x]", f"difference in the outcome for one unit of covariate x{arm}{scale}"))
    if moderated:
        out.append(
            (r"\gamma_{3,a}", "gamma3[a:m]", f"change of the effect of arm a for one unit of moderator m{scale}")
        )
    return out


def _spread(fit: Fit) -> list[tuple[str, str, str]]:
    a, posterior = fit.design.attrs, fit.posterior
    out = []
    if "u" in posterior:
        varying = [str(v) for v in fit.design["varying"].to_numpy()]
        for v in varying:
            what = "intercept" if v == "intercept" else f"effect of {v}" if v not in a["slopes"] else f"slope of {v}"
            symbol = "U_{0j}" if v == "intercept" else rf"U_{{{text(v)},j}}"
            out.append((symbol, f"u[j, {v}]", f"how far the {what} of {a['cluster']} j is from the average one"))
        out.append((r"\text{sd}", "sd[v]", f"SD across {a['cluster']} of each random effect ({', '.join(varying)})"))
        if "corr" in posterior:
            out.append((r"\text{corr}", "corr[v, w]", f"correlations across {a['cluster']} of the random effects"))
            out.append((r"\tau", "", "covariance matrix of the random effects"))
    if "sigma" in posterior:
        kind = "scale of the t distribution" if "nu" in posterior else "residual SD"
        out.append((r"\sigma", "sigma", kind + (" within clusters" if "u" in posterior else "")))
    if "nu" in posterior:
        out.append((r"\nu", "nu", "degrees of freedom: below 10 the tails are heavy"))
    return out


def _arms(fit: Fit) -> pd.DataFrame | None:
    """How the arms are coded."""
    treatment = fit.design.attrs["treatment"]
    if not treatment:
        return None
    arms = [str(v) for v in fit.design[f"{treatment}_arm"].to_numpy()]
    coded = pd.DataFrame({treatment: arms})
    for contrast in arms[1:]:
        coded[f"[{treatment} = {contrast}]"] = [int(arm == contrast) for arm in arms]
    return coded


def _columns(fit: Fit) -> pd.DataFrame | None:
    """The columns of the model matrix, as the formulas made them."""
    labels = [str(v) for v in fit.design["covariate"].to_numpy()]
    if not labels:
        return None
    X = fit.design["X"].to_numpy()
    moderators = {str(v) for v in fit.design["moderator"].to_numpy()}
    return pd.DataFrame(
        {
            "Column": labels,
            "Moderates the effect": [v in moderators for v in labels],
            "Mean": X.mean(0),
            "SD": X.std(0, ddof=1),
            "Smallest": X.min(0),
            "Largest": X.max(0),
        }
    )


def _formulas(fit: Fit) -> list[tuple[str, str]]:
    spec = fit.spec
    given = [("covariates", spec.covariates), ("moderators", spec.moderators), ("slopes", spec.slopes)]
    return [*((k, v) for k, v in given if v), *(("split within and between clusters", v) for v in spec.within_between)]


# ---------------------------------------------------------------------------------------------- priors


def priors_section(m: Material) -> dict:
    """Every prior with its numbers, what they say, and who set them."""
    size = m.fit.design.sizes.get("varying", 1)
    table = pd.DataFrame(
        {
            "parameter": list(m.fit.priors),
            "prior": [repr(p) for p in m.fit.priors.values()],
            "Central 95 %": [_central(p, size) for p in m.fit.priors.values()],
            "Set by": [set_by(m.fit, label) for label in m.fit.priors],
        }
    )
    return {
        "priors": table,
        "kind": kind_of_priors(m.fit),
        "lkj": "corr" in m.fit.priors,
        "improper": [label for label, p in m.fit.priors.items() if not p.proper],
        "unit": _unit(m.fit),
    }


def _unit(fit: Fit) -> str:
    """What the default priors are scaled by."""
    family = fit.design.attrs["family"]
    if family not in ("gaussian", "student"):
        return f"{0.6 if family == 'probit' else 1} on the link scale"
    y = fit.design["y"]
    if "se" in fit.design:
        value = float(np.sqrt(y.var() + np.median(fit.design["se"]) ** 2))
        return f"the outcome's SD and the typical standard error together, {significant(value)}"
    return f"the outcome's SD, {significant(float(y.std()))}"


def kind_of_priors(fit: Fit) -> str:
    """``"default"``, ``"mplus"`` or ``"own"``: where the priors come from."""
    return fit.spec.priors if isinstance(fit.spec.priors, str) else "own"


def set_by(fit: Fit, label: str) -> str:
    """Where the prior of a parameter comes from."""
    given = fit.spec.priors
    if isinstance(given, str):
        return {"default": "default", "mplus": "Mplus"}[given]
    own = any(label == key or label.startswith(f"{key}[") for key in given)
    return "authors" if own else "default"


def _central(prior: Prior, size: int) -> str:
    """The central 95 % of a prior; of LKJ that of each correlation, which is beta on (-1, 1)."""
    p = dict(prior.params)
    if not prior.proper:
        return f"{DASH} (improper)"
    if prior.name == "LKJ":
        shape = p["eta"] + (size - 2) / 2
        low, high = 2 * stats.beta(shape, shape).ppf([0.025, 0.975]) - 1
        return f"{number(low, 2, True)} to {number(high, 2, True)}"
    tails = np.array([0.025, 0.975])
    if prior.name == "HalfStudentT":  # of the absolute value
        tails = (1 + tails) / 2
    frozen = {
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
