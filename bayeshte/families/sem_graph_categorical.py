"""Rows and clusters of the joint graph of a structural equation model with categorical variables.

What is continuous and seen comes first, ``y_0``; factors and latent responses that have to be there, ``_y_0_latent``, given that;
then the categories, ``y_0[variable]``, given all before: P(category) = F((tau_c+1 - mean) / SD) - F((tau_c - mean) / SD). A
latent response that is there says its category itself. Categories of clusters, ``v_0[variable]``, are given the parts of rows'
variables, the random slopes, and ``v_0``.
"""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayeshte.marginal.matrices import Matrices
from bayeshte.marginal.plans import Plan
from bayeshte.marginal.structural_categorical import Response


def add_rows(name: str, plan: Plan, m: Matrices, responses: dict[str, Response], Y: np.ndarray, moments, cuts) -> None:
    """The variables of rows with one pattern of missing values.

    Parameters
    ----------
    name : str
        That of the pattern, ``"y_0"``.
    Y : ndarray (row, within)
    moments : tensors (row, M), (row or 1, M, M)
        Mean and covariance of all variables of the level, the residuals of logistic responses left out.
    cuts : mapping of str to tensor
        Cuts of every categorical variable, where its first threshold is 0.
    """
    mean, S = moments
    continuous, sampled, integrated = (
        [m.order[0][a] for a in part] for part in (plan.continuous, plan.sampled, plan.integrated)
    )
    deviation = pt.zeros((len(Y), 0))
    if continuous:
        centre = mean[:, continuous]
        deviation = pm.MvNormal(name, centre, cov=_block(S, continuous, continuous), observed=Y[:, continuous]) - centre
    add_categories(name, Plan((*continuous,), (*sampled,), (*integrated,)), responses, Y, moments, deviation, cuts)


def add_categories(
    name: str, plan: Plan, responses: dict[str, Response], Y: np.ndarray, moments, deviation, cuts
) -> None:
    """Latent variables and categories of rows, or clusters, given what is continuous.

    Parameters
    ----------
    plan : Plan
        With places among all variables of the level.
    Y : ndarray (row, variable)
        Values of these, NaN where they have none.
    deviation : tensor (row, continuous)
        Of what is continuous from its mean. The others as in `add_rows`.
    """
    mean, S = moments
    continuous, sampled, integrated = map(list, (plan.continuous, plan.sampled, plan.integrated))
    by_column = {r.column: (v, r) for v, r in responses.items()}
    if sampled:
        centre, cov = _given(mean, S, sampled, continuous, deviation)
        latent = pm.MvNormal(f"_{name}_latent", centre, cov=cov)
        deviation = pt.concatenate([deviation, latent - mean[:, sampled]], axis=1)
        for k, column in enumerate(sampled):
            if column in by_column and not np.isnan(Y[0, column]):
                v, r = by_column[column]
                above = latent[:, k, None] > cuts[v]
                _category(f"{name}[{v}]", pt.cast(above, "float64"), Y[:, column])
    for column in integrated:
        v, r = by_column[column]
        centre, cov = _given(mean, S, [column], continuous + sampled, deviation)
        if r.link == "logit":
            above = pt.sigmoid(centre - cuts[v])
        else:
            above = 0.5 * pt.erfc((cuts[v] - centre) / pt.sqrt(2 * cov[:, :, 0]))
        _category(f"{name}[{v}]", above, Y[:, column])


def _category(name: str, above, observed: np.ndarray) -> None:
    """A category, with the probabilities (row, cut) of being above each cut."""
    one, zero = pt.ones_like(above[:, :1]), pt.zeros_like(above[:, :1])
    p = pt.concatenate([one, above], axis=1) - pt.concatenate([above, zero], axis=1)
    pm.Categorical(name, p=p, observed=observed.astype(int))


def _block(S, a: list[int], b: list[int]):
    return S[:, a][:, :, b]


def _given(mean, S, target: list[int], known: list[int], deviation):
    """Mean (row, target) and covariance of variables given those that deviate from their means by `deviation` (row, known)."""
    if not known:
        return mean[:, target], _block(S, target, target)
    to = pt.linalg.solve(_block(S, known, known), _block(S, known, target))
    return (
        mean[:, target] + (to * deviation[:, :, None]).sum(1),
        _block(S, target, target) - _block(S, target, known) @ to,
    )
