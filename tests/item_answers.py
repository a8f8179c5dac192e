"""Answers in categories drawn by NumPy from the equations, and their curves, for the tests of item response models."""

import numpy as np
import pandas as pd
from scipy.special import log_expit, log_ndtr, logsumexp

from bayeshte.marginal.item_categories import ADJACENT, CUMULATIVE, LOGIT, PROBIT

ROLES = dict(person="child", item="word", response="answer", treatment="arm", reference="control")
KINDS = {"graded": (CUMULATIVE, LOGIT), "graded probit": (CUMULATIVE, PROBIT), "partial credit": (ADJACENT, LOGIT)}


def log_curve(form, link, theta, level, a, tau) -> np.ndarray:
    """log P of the categories of an item at abilities, (ability, K), from the equations."""
    x = a * (np.asarray(theta)[:, None] + level - tau)
    if form == ADJACENT:
        w = np.hstack([np.zeros((len(x), 1)), np.cumsum(x, axis=1)])
        return w - logsumexp(w, axis=1, keepdims=True)
    below, above = (log_expit(x), log_expit(-x)) if link == LOGIT else (log_ndtr(x), log_ndtr(-x))
    out = [above[:, 0]]
    for m in range(1, x.shape[1]):
        tails = [(below[:, m - 1], below[:, m]), (above[:, m], above[:, m - 1])]  # F(x_m) - F(x_m+1), from either end
        left, right = (big + np.log(np.maximum(-np.expm1(small - big), 1e-300)) for big, small in tails)
        out.append(np.where(below[:, m - 1] < above[:, m], left, right))
    return np.column_stack([*out, below[:, -1]])


def trial(seed=0, persons=60, items=6, categories=4, kind="graded", sigma=1.0, sd_a=0.3, missing=0.0, arms=2):
    """Answers of persons to items of 2 to `categories` categories, drawn by NumPy, with what they were made from."""
    rng = np.random.default_rng(seed)
    form, link = KINDS[kind]
    n = 2 + np.arange(items) % (categories - 1)
    arm, pretest = np.arange(persons) % arms, rng.normal(size=persons)
    b, zeta = rng.normal(0, 1, items), rng.normal(0, 0.4, (items, arms)) * (np.arange(arms) > 0)
    a = np.exp(sd_a * rng.normal(size=items))
    theta = 0.2 + 0.4 * arm + 0.5 * pretest + sigma * rng.normal(size=persons)
    y, tau = np.empty((persons, items), int), []
    for i in range(items):
        tau.append(1.6 * (np.arange(n[i] - 1) - (n[i] - 2) / 2))
        p = np.exp(log_curve(form, link, theta + zeta[i, arm], b[i], a[i], tau[i]))
        y[:, i] = (rng.random((persons, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(1)
    child, word = np.indices(y.shape).reshape(2, -1)
    data = pd.DataFrame(
        {
            "child": [f"c{k}" for k in child],
            "word": [f"w{k:02d}" for k in word],
            "answer": y.ravel(),
            "arm": np.array(["control", "drug", "talk"])[arm][child],
            "pretest": pretest[child],
            "school": [f"s{k % 4}" for k in child // arms],
        }
    )
    return data[rng.random(len(data)) >= missing], dict(b=b, zeta=zeta, a=a, tau=tau)
