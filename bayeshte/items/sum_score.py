"""What an analysis of the sum score concludes: ordinary least squares with robust standard errors."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayeshte.items.common import arms_of, versus
from bayeshte.summary import LEVEL


def sum_score(design: xr.Dataset, covariate: str) -> pd.DataFrame:
    """Least squares of persons' scores on treatment, covariates, and treatment times the covariate.

    The score is the share of right answers among those given, or the sum of the categories over the highest that it could be, in
    SDs over persons of the reference arm: persons may have seen different items. The covariate is the only
    moderator of the design.

    Parameters
    ----------
    design : Dataset
        Of an `ItemResponse`.

    Returns
    -------
    DataFrame
        ``quantity, contrast, model`` ("sum score"), ``estimate, posterior_sd`` (the standard error), ``lower, upper,
        definition``.
    """
    person, y = design["cluster_code"].to_numpy(), design["y"].to_numpy()
    highest = design["n_categories"].to_numpy()[design["item_code"].to_numpy()] - 1.0
    score = np.bincount(person, y) / np.bincount(person, highest)
    first = np.unique(person, return_index=True)[1]
    arm, X, M = (design[v].to_numpy()[first] for v in ("arm_code", "X", "M"))
    score = score / score[arm == 0].std(ddof=1)
    arms = arms_of(design)[1:]
    T = (arm[:, None] == np.arange(1, len(arms) + 1)).astype(float)
    x = np.column_stack([np.ones(len(T)), T, X, T * (M - M.mean(0))])
    cluster = design.attrs["person_cluster"]
    beta, cov = least_squares(x, score, design["person_cluster_code"].to_numpy()[first] if cluster else None)
    places = {
        "treatment": np.arange(1, len(arms) + 1),
        f"treatment x {covariate}": np.arange(len(beta) - len(arms), len(beta)),
    }
    se, z = np.sqrt(np.diag(cov)), stats.norm.ppf((1 + LEVEL) / 2)
    robust = f"standard error robust to clusters of {cluster} (CR1)" if cluster else "HC3 standard error"
    what = "the share of right answers" if highest.max() == 1 else "the sum of the categories over the highest possible"
    text = (
        f"least squares of {what}, in SDs over persons of the reference arm; {robust} as SD, normal 95 % "
        "confidence interval"
    )
    out = [
        {
            "quantity": quantity,
            "contrast": versus(design, name),
            "model": "sum score",
            "estimate": beta[k],
            "mean": np.nan,
            "posterior_sd": se[k],
            "lower": beta[k] - z * se[k],
            "upper": beta[k] + z * se[k],
            "definition": text,
        }
        for quantity, place in places.items()
        for name, k in zip(arms, place, strict=True)
    ]
    return pd.DataFrame(out)


def least_squares(x: np.ndarray, y: np.ndarray, cluster: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients, and their covariance matrix robust to unequal variances (HC3; MacKinnon & White, 1985).

    With the cluster of each row robust to any covariance within clusters (Liang & Zeger, 1986, times G / (G - 1) and
    (n - 1) / (n - k): CR1).
    """
    q, r = np.linalg.qr(x)
    inverse = np.linalg.inv(r)
    beta = inverse @ (q.T @ y)
    if cluster is not None:
        (n, k), groups = x.shape, np.unique(cluster, return_inverse=True)[1]
        G = groups.max() + 1
        score = np.stack([np.bincount(groups, v * (y - x @ beta), minlength=G) for v in (q @ inverse.T).T], axis=1)
        return beta, score.T @ score * G / (G - 1) * (n - 1) / (n - k)
    leverage = (q**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a leverage of one fits its value
        residual = np.where(leverage < 1 - 1e-10, (y - x @ beta) / (1 - leverage), 0.0)
    half = inverse @ (q * residual[:, None]).T
    return beta, half @ half.T
