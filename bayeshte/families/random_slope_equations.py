"""A RandomSlope as LaTeX, with the user's column names."""

import xarray as xr

from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.latex import text


def equations(spec, design: xr.Dataset) -> list[str]:
    """The model in LaTeX."""
    D = Arrays(design)
    names = {k: text(v) for k, v in (("y", spec.outcome), ("t", spec.treatment or ""), ("c", spec.cluster or ""))}
    random = {"intercept": "U_{0j}"} | {a: rf"U_{{{text(a)},j}}" for a in D.varying if a != "intercept"}
    base = r"\gamma_0" + (" + U_{0j}" if "intercept" in D.varying else "")
    terms = [f"({base})" if "intercept" in D.varying else base]
    for arm in D.contrasts:
        slope = [rf"\gamma_{{1,{text(arm)}}}"]
        if D.M.shape[1]:
            slope.append(rf"\gamma_{{3,{text(arm)}}}^\top M_{{ij}}")
        if arm in D.varying:
            slope.append(random[arm])
        body = f"({' + '.join(slope)})" if len(slope) > 1 else slope[0]
        terms.append(rf"{body}\,[{names['t']}_{{ij}} = {text(arm)}]")
    if D.X.shape[1]:
        terms.append(r"\gamma_2^\top X_{ij}")
    terms += [rf"{random[s]}\,{text(s)}_{{ij}}" for s in D.slopes]
    eta = " + ".join(terms)
    outcome = rf"{names['y']}_{{ij}}"
    noise = {
        "gaussian": rf"{outcome} &\sim N(\eta_{{ij}},\ \sigma^2)",
        "student": rf"{outcome} &\sim t_\nu(\eta_{{ij}},\ \sigma)",
        "skew normal": rf"{outcome} &\sim \text{{skew normal}}(\text{{mean}}\ \eta_{{ij}},\ \text{{SD}}\ \sigma,\ \alpha)",
        "logit": rf"{outcome} &\sim \text{{Bernoulli}}(\text{{logit}}^{{-1}}\,\eta_{{ij}})",
        "probit": rf"{outcome} &\sim \text{{Bernoulli}}(\Phi(\eta_{{ij}}))",
        "poisson": rf"{outcome} &\sim \text{{Poisson}}(\exp \eta_{{ij}})",
        "negative binomial": rf"{outcome} &\sim \text{{NegBin}}(\text{{mean}}\ \exp \eta_{{ij}},\ \phi)",
        "ordered logit": rf"P({outcome} \ge k) &= \text{{logit}}^{{-1}}(\eta_{{ij}} - \kappa_k)",
        "ordered probit": rf"P({outcome} \ge k) &= \Phi(\eta_{{ij}} - \kappa_k)",
    }[D.family]
    if D.sigmas > 1:
        noise = rf"{outcome} &\sim N(\eta_{{ij}},\ \sigma^2_{{{names['t']}}})"
    if D.se is not None:
        noise = rf"{outcome} &\sim N(\eta_{{ij}},\ {text(spec.standard_error)}_{{ij}}^2)"
    lines = [noise, rf"\eta_{{ij}} &= {eta}"]
    if D.thresholds:
        lines.append(r"\kappa_1 &= 0,\quad \kappa_{k+1} = \kappa_k + \text{width}_k")
    if D.q > 1:
        effects = r",\ ".join(random[v] for v in D.varying)
        lines.append(
            rf"({effects})^\top &\sim N(0,\ \tau),\quad "
            r"\tau = \text{diag}(\text{sd})\,\text{corr}\,\text{diag}(\text{sd}),\quad "
            rf"j = {names['c']}"
        )
    elif D.q:
        lines.append(rf"{random[D.varying[0]]} &\sim N(0,\ \text{{sd}}^2),\quad j = {names['c']}")
    return lines
