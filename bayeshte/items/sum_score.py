"""What an analysis of the sum score concludes: ordinary least squares with robust standard errors."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayeshte.items.common import arms_of, versus
from bayeshte.summary import LEVEL


def sum_score(design: xr.Dataset, covariate: str) -> pd.DataFrame:
    """Least squares of persons' scores on treatment, covariates, and treatment times the covariate.

    The score is the share of right answers among those given, in SDs over persons of the reference arm: persons may have seen
    different items. The covariate is the only moderator of the design.

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
    n = np.bincount(person)
    score = np.bincount(person, y) / n
    first = np.unique(person, return_index=True)[1]
    arm, X, M = (design[v].to_numpy()[first] for v in ("arm_code", "X", "M"))
    score = score / score[arm == 0].std(ddof=1)
    arms = arms_of(design)[1:]
    T = (arm[:, None] == np.arange(1, len(arms) + 1)).astype(float)
    x = np.column_stack([np.ones(len(T)), T, X, T * (M - M.mean(0))])
    beta, cov = least_squares(x, score)
    places = {
        "treatment": np.arange(1, len(arms) + 1),
        f"treatment x {covariate}": np.arange(len(beta) - len(arms), len(beta)),
    }
    se, z = np.sqrt(np.diag(cov)), stats.norm.ppf((1 + LEVEL) / 2)
    text = (
        "least squares of the share of right answers, in SDs over persons of the reference arm; HC3 standard error as SD, "
        "normal 95 % confidence interval"
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


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients, and their covariance matrix robust to unequal variances (HC3; MacKinnon & White, 1985)."""
    q, r = np.linalg.qr(x)
    inverse = np.linalg.inv(r)
    beta = inverse @ (q.T @ y)
    leverage = (q**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a leverage of one fits its value
        residual = np.where(leverage < 1 - 1e-10, (y - x @ beta) / (1 - leverage), 0.0)
    half = inverse @ (q * residual[:, None]).T
    return beta, half @ half.T
