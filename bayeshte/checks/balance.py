"""Whether the arms are alike before treatment (balance), and whether they meet (overlap).

Descriptions of the analysed rows, not evidence that nothing unmeasured differs.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from bayeshte import design as columns
from bayeshte.errors import SpecError
from bayeshte.fit import Fit

#: Absolute standardised difference above which a covariate is marked (Austin, 2009).
IMBALANCED = 0.1


def balance(data: Fit | xr.Dataset) -> pd.DataFrame:
    """Every covariate and moderator by arm.

    Parameters
    ----------
    data : Fit or Dataset
        A fit or its design.

    Returns
    -------
    DataFrame
        ``contrast``; ``covariate``, a column of the data, or a category of one (``sex[m]``); ``mean_arm``,
        ``mean_reference``: means, or proportions; ``smd``: their difference over the pooled SD, the root of the mean of
        the two variances (Austin, 2009); ``variance_ratio``: arm over reference, missing for proportions; ``imbalanced``:
        whether abs(smd) is above 0.1. No rows if the model has no covariates.

    Raises
    ------
    SpecError
        If the model has no treatment.
    """
    design = _treated(data)
    arm, labels = _arms(design)
    rows = []
    for code, label in enumerate(labels[1:], start=1):
        for name, values, proportion in _covariates(design):
            x1, x0 = values[arm == code], values[arm == 0]
            v1, v0 = (m * (1 - m) if proportion else x.var(ddof=1) for x, m in ((x1, x1.mean()), (x0, x0.mean())))
            difference, sd = x1.mean() - x0.mean(), np.sqrt((v1 + v0) / 2)
            smd = difference / sd if sd > 0 else np.copysign(np.inf, difference) if difference else 0.0
            rows.append(
                {
                    "contrast": f"{label} vs {labels[0]}",
                    "covariate": name,
                    "mean_arm": x1.mean(),
                    "mean_reference": x0.mean(),
                    "smd": smd,
                    "variance_ratio": np.nan if proportion or v0 == 0 else v1 / v0,
                    "imbalanced": abs(smd) > IMBALANCED,
                }
            )
    names = ("contrast", "covariate", "mean_arm", "mean_reference", "smd", "variance_ratio", "imbalanced")
    return pd.DataFrame(rows, columns=list(names))


def overlap(data: Fit | xr.Dataset) -> pd.DataFrame:
    """Where each arm and the reference meet: in which clusters, and over which covariates.

    Parameters
    ----------
    data : Fit or Dataset
        A fit or its design.

    Returns
    -------
    DataFrame
        A row a contrast. ``clusters``, ``all_arms`` (clusters with every arm of the trial), ``both_arms`` (with the two of
        this contrast), ``only_arm``, ``only_reference``, ``neither``; ``smallest_cell``: fewest persons of one arm in a
        cluster that has both. ``support_lower``, ``support_upper``: range of the propensity score, the probability of
        the arm given the covariates of the model in a logistic regression, in which both arms have persons;
        ``outside_arm``, ``outside_reference``: share of the persons of either outside it. Missing without clusters, or
        without covariates.

    Raises
    ------
    SpecError
        If the model has no treatment.
    """
    design = _treated(data)
    arm, labels = _arms(design)
    rows = []
    for code, label in enumerate(labels[1:], start=1):
        row = {"contrast": f"{label} vs {labels[0]}"}
        rows.append(row | _cells(design, arm, code, len(labels)) | _support(design["X"].to_numpy(), arm, code))
    return pd.DataFrame(rows)


def _treated(data: Fit | xr.Dataset) -> xr.Dataset:
    design = data.design if isinstance(data, Fit) else data
    if not design.attrs["treatment"]:
        raise SpecError("The model has no treatment: there are no arms to compare.")
    return design


def _arms(design: xr.Dataset) -> tuple[np.ndarray, list[str]]:
    """Arm code of every row, and the labels, the reference first."""
    return design["arm_code"].to_numpy(), [str(v) for v in design[f"{design.attrs['treatment']}_arm"].to_numpy()]


def _covariates(design: xr.Dataset) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Name, values and whether they are 0/1, of every analysed column that has no other role; categories one by one."""
    roles = {design.attrs.get(k) for k in ("outcome", "treatment", "cluster", "item")}
    for name, column in columns.raw_frame(design).items():
        if name in roles or ("se" in design and np.array_equal(column, design["se"])):
            continue
        levels = sorted(column.dropna().unique(), key=str)
        if pd.api.types.is_numeric_dtype(column) and set(levels) - {0, 1}:
            yield name, column.to_numpy(float), False
        elif pd.api.types.is_numeric_dtype(column):
            yield name, column.to_numpy(float), True
        else:
            for level in levels if len(levels) > 2 else levels[1:]:
                yield f"{name}[{level}]", (column == level).to_numpy(float), True


def _cells(design: xr.Dataset, arm: np.ndarray, code: int, n_arms: int) -> dict[str, float]:
    """Clusters by which of the two arms they have."""
    cluster = design.attrs["cluster"]
    names = ("clusters", "all_arms", "both_arms", "only_arm", "only_reference", "neither", "smallest_cell")
    if not cluster:
        return dict.fromkeys(names, np.nan)
    cell = design["cluster_code"].to_numpy() * n_arms + arm
    counts = np.bincount(cell, minlength=design.sizes[cluster] * n_arms).reshape(-1, n_arms)
    treated, control = counts[:, code] > 0, counts[:, 0] > 0
    both = treated & control
    smallest = counts[both][:, [0, code]].min() if both.any() else 0
    values = (
        len(counts),
        (counts > 0).all(1).sum(),
        both.sum(),
        (treated & ~control).sum(),
        (control & ~treated).sum(),
    )
    return dict(zip(names, map(int, (*values, (~treated & ~control).sum(), smallest)), strict=True))


def _support(X: np.ndarray, arm: np.ndarray, code: int) -> dict[str, float]:
    """Common support of the propensity score of the persons in the two arms."""
    names = ("support_lower", "support_upper", "outside_arm", "outside_reference")
    if not X.shape[1]:
        return dict.fromkeys(names, np.nan)
    two = (arm == code) | (arm == 0)
    treated = arm[two] == code
    p = logistic(X[two], treated)
    lower, upper = max(p[treated].min(), p[~treated].min()), min(p[treated].max(), p[~treated].max())
    outside = (p < lower) | (p > upper)
    return dict(zip(names, map(float, (lower, upper, outside[treated].mean(), outside[~treated].mean())), strict=True))


def logistic(X: np.ndarray, y: np.ndarray, ridge: float = 1e-3) -> np.ndarray:
    """Fitted probabilities of a logistic regression with intercept, by Newton's method.

    Parameters
    ----------
    X : ndarray (row, column)
    y : ndarray (row,) of 0/1
    ridge : float
        Penalty on the squared standardised coefficients; it only matters if the arms are separated perfectly.
    """
    sd = X.std(0)
    Z = np.column_stack([np.ones(len(X)), (X - X.mean(0)) / np.where(sd > 0, sd, 1)])
    penalty = np.diag([0.0, *np.full(X.shape[1], ridge)])
    beta = np.zeros(Z.shape[1])
    for _ in range(100):
        p = expit(Z @ beta)
        gradient = Z.T @ (y - p) - penalty @ beta
        step = np.linalg.solve((Z.T * (p * (1 - p))) @ Z + penalty, gradient)
        step *= min(1.0, 3 / np.abs(step).max()) if step.any() else 1.0
        beta += step
        if np.abs(step).max() < 1e-9:
            break
    return expit(Z @ beta)
