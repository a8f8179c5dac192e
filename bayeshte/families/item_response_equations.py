"""An ItemResponse as LaTeX, with the user's column names."""

from collections.abc import Iterator

import xarray as xr

from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_names import INTERCEPT, MODELS
from bayeshte.latex import text
from bayeshte.marginal.item_categories import CUMULATIVE


def equations(spec, design: xr.Dataset) -> list[str]:
    """The model in LaTeX."""
    D = Arrays(design)
    return [
        *_response(spec, D),
        *(_abilities(D) if D.occasion else _ability(D)),
        *_items(D),
        *([r"\text{drift}_i &\sim N(0,\ \sigma_\text{drift}^2)"] if D.untreated_after else []),
        *_clusters(D),
        *([r"\log a_i &\sim N(0,\ \sigma_a^2)"] if MODELS[D.model][1] else []),
    ]


def _response(spec, D: Arrays) -> Iterator[str]:
    """The response given ability and item."""
    y, eta = text(spec.response), " + ".join([r"\theta_j", "b_i", *_by_arm(D, _zeta)])
    index = "ij"
    if D.occasion:
        drift = [r"\text{drift}_i"] if D.untreated_after else []
        change = " + ".join([*drift, *_by_arm(D, _zeta)])
        later = f" + {_after(D)}\\,({change})" if change else ""
        eta, index = rf"\theta_{{jt}} + b_i{later}", "ijt"
    link = r"\Phi^{-1}\," if D.design.attrs["link"] == "probit" else r"\text{logit}\,"
    a = "a_i " if MODELS[D.model][1] else ""
    if D.binary:
        yield rf"{link}P({y}_{{{index}}} = 1) &= {a}({eta})" if a else rf"{link}P({y}_{{{index}}} = 1) &= {eta}"
        return
    if MODELS[D.model][0] == CUMULATIVE:
        yield rf"{link}P({y}_{{{index}}} \ge k) &= {a}({eta} - \tau_{{ik}}),\quad \textstyle\sum_k \tau_{{ik}} = 0"
    else:
        odds = rf"\log\frac{{P({y}_{{{index}}} = k)}}{{P({y}_{{{index}}} = k - 1)}}"
        yield rf"{odds} &= {a}({eta} - \tau_{{ik}}),\quad \textstyle\sum_k \tau_{{ik}} = 0"


def _indicator(D: Arrays, k: int) -> str:
    return rf"[{text(D.treatment)}_j = {text(D.contrasts[k])}]"


def _own(D: Arrays, symbol: str, k: int, *indices: str) -> str:
    """A symbol with its indices, the arm among them where there are several."""
    arm = [text(D.contrasts[k])] if D.n_contrasts > 1 else []
    inside = ",".join([*arm, *indices])
    return rf"{symbol}_{{{inside}}}" if inside else symbol


def _zeta(D: Arrays, k: int) -> str:
    return _own(D, r"\zeta", k, "i") if D.q > 1 else ""


def _by_arm(D: Arrays, coefficient) -> list[str]:
    """Terms coefficient times indicator of the arm."""
    found = [(coefficient(D, k), k) for k in range(D.n_contrasts)]
    return [rf"{c}\,{_indicator(D, k)}" for c, k in found if c]


def _effect(D: Arrays, k: int) -> str:
    """What an arm adds to the ability."""
    parts = [r"\beta_1" if D.n_contrasts == 1 else rf"\beta_{{1,{text(D.contrasts[k])}}}"]
    if D.labels("moderator"):
        beta3 = r"\beta_3" if D.n_contrasts == 1 else rf"\beta_{{3,{text(D.contrasts[k])}}}"
        parts.append(rf"{beta3}^\top M_j")
    if D.contrasts[k] in D.cluster_varying:
        parts.append(_own(D, "v", k, *(["1"] if D.n_contrasts == 1 else []), "c"))
    return f"({' + '.join(parts)})" if len(parts) > 1 else parts[0]


def _ability(D: Arrays) -> list[str]:
    terms = [r"(\beta_0 + v_{0,c})" if D.cluster else r"\beta_0", *_by_arm(D, _effect)]
    terms += [r"\beta_2^\top X_j"] if D.labels("covariate") else []
    index = rf"\theta,{text(D.treatment)}" if len(D.sigmas) > 1 else r"\theta"
    return [rf"\theta_j &= {' + '.join(terms)} + \varepsilon_j,\quad \varepsilon_j \sim N(0,\ \sigma_{{{index}}}^2)"]


def _after(D: Arrays) -> str:
    return rf"[{text(D.occasion)}_t = {text(D.labels(D.occasion)[1])}]"


def _abilities(D: Arrays) -> list[str]:
    """Abilities before and after."""
    terms = [r"(\beta_0 + v_{0,c})" if D.cluster else r"\beta_0"]
    change = [r"\beta_\text{time}"] if D.untreated_after else []
    change = " + ".join([*change, *_by_arm(D, _effect)])
    terms += [rf"{_after(D)}\,({change})"] + ([r"\beta_2^\top X_j"] if D.labels("covariate") else [])
    before, after = (rf"\sigma_{{\theta,{text(v)}}}" for v in D.labels(D.occasion))
    cell = rf"\rho_\theta {before} {after}"
    sigma = rf"\begin{{bmatrix}} {before}^2 & {cell} \\ {cell} & {after}^2 \end{{bmatrix}}"
    return [
        rf"\theta_{{jt}} &= {' + '.join(terms)} + \varepsilon_{{jt}}",
        rf"(\varepsilon_{{j,{text(D.labels(D.occasion)[0])}}},\ \varepsilon_{{j,{text(D.labels(D.occasion)[1])}}})^\top &\sim "
        rf"N\left(0,\ {sigma}\right)",
    ]


def _items(D: Arrays) -> list[str]:
    zetas = [_zeta(D, k) for k in range(D.n_contrasts)] if D.q > 1 else []
    effects = r",\ ".join(["b_i", *zetas])
    if D.fixed:
        sums = r",\ ".join(rf"\textstyle\sum_i {v} = 0" for v in ["b_i", *zetas])
        return [rf"{effects}&:\ \text{{fixed}},\quad {sums}"]
    W = D.labels("item_covariate")
    means = [r"\gamma^\top W_i" if W else "0"]
    means += [rf"{_own(D, r'\delta', k)}^\top W_i" if W else "0" for k in range(len(zetas))]
    if D.q == 1:
        return [rf"b_i &\sim N({means[0]},\ \sigma_b^2)"]
    mean = rf"({r',\ '.join(means)})^\top" if W else "0"
    if D.n_contrasts > 1:
        covariance = r"\text{diag}(\sigma_b, \sigma_\zeta)\,\rho\,\text{diag}(\sigma_b, \sigma_\zeta)"
    else:
        cell = r"\rho\sigma_b\sigma_\zeta"
        covariance = rf"\begin{{bmatrix}} \sigma_b^2 & {cell} \\ {cell} & \sigma_\zeta^2 \end{{bmatrix}}"
    return [rf"({effects})^\top &\sim N\left({mean},\ {covariance}\right)"]


def _clusters(D: Arrays) -> list[str]:
    if not D.cluster:
        return []
    where = rf"\quad c = {text(D.cluster)}"
    arms = [k for k, a in enumerate(D.contrasts) if a in D.cluster_varying]
    if not arms:
        return [rf"v_{{0,c}} &\sim N(0,\ \text{{sd}}_\text{{{INTERCEPT}}}^2),{where}"]
    names = r",\ ".join(["v_{0,c}", *(_own(D, "v", k, *(["1"] if D.n_contrasts == 1 else []), "c") for k in arms)])
    psi = r"\Psi = \text{diag}(\text{sd})\,\text{corr}\,\text{diag}(\text{sd})"
    return [rf"({names})^\top &\sim N(0,\ \Psi),\quad {psi},{where}"]
