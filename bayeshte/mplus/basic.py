"""TYPE = BASIC: the statistics of the data, without a model."""

import numpy as np
import pandas as pd

from bayeshte.mplus.settings import Settings


def statistics(frame: pd.DataFrame, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of every variable: values, missing ones, mean, variance, skewness, kurtosis, limits, ICC with clusters; correlations.

    Variances have the denominator n, as Mplus's; the ICC is that of a one-way analysis of variance.
    """
    x = frame[[v for v in settings.use if v != settings.cluster]].astype(float)
    z = (x - x.mean()) / x.std(ddof=0)
    table = pd.DataFrame(
        {
            "values": x.notna().sum(),
            "missing": x.isna().sum(),
            "mean": x.mean(),
            "variance": x.var(ddof=0),
            "skewness": (z**3).mean(),
            "kurtosis": (z**4).mean() - 3,
            "minimum": x.min(),
            "maximum": x.max(),
        }
    )
    if settings.cluster:
        table["ICC"] = [_icc(x[v], frame[settings.cluster]) for v in x]
    return table.rename_axis("variable").reset_index(), x.corr()


def _icc(x: pd.Series, cluster: pd.Series) -> float:
    """(MSB - MSW) / (MSB + (n0 - 1) MSW), n0 the weighted mean size."""
    known = x.notna()
    groups = x[known].groupby(cluster[known])
    n, means = groups.size().to_numpy(), groups.mean().to_numpy()
    N, J = n.sum(), len(n)
    if J < 2 or N == J:
        return np.nan
    between = (n * (means - x[known].mean()) ** 2).sum() / (J - 1)
    within = ((x[known] - groups.transform("mean")) ** 2).sum() / (N - J)
    size = (N - (n**2).sum() / N) / (J - 1)
    return float((between - within) / (between + (size - 1) * within))
