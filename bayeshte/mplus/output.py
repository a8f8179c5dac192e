"""The tables of a fit as Mplus has them: model results, standardised results, R-square, fit statistics.

The first three have the schema of `bayeshte.summary` with ``level, header, parameter`` in front, in Mplus's words. Estimates,
SDs, p-values and intervals are by Mplus's definitions, from all draws that were kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats

from bayeshte.checks import model_fit
from bayeshte.effects import mark
from bayeshte.fit import Fit
from bayeshte.mplus.results import summarise
from bayeshte.mplus.standardised import Implied, explained, stdyx
from bayeshte.mplus.words import LEVELS, Line, Words, endogenous, lines
from bayeshte.summary import COLUMNS, rows
from bayeshte.tables.files import write_csv

KEYS = ("level", "header", "parameter")


@dataclass(frozen=True)
class Tables:
    """What is written of a fit, and how it was summarised."""

    summary: pd.DataFrame
    standardized: pd.DataFrame
    rsquare: pd.DataFrame
    fit: pd.DataFrame
    point: str
    interval: str
    words: Words


def tables(fit: Fit, point: str = "MEDIAN", interval: str = "eti", words: Words | None = None) -> Tables:
    """All tables of a fit.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.SEM`.
    point : {"MEDIAN", "MEAN", "MODE"}
        The estimate; see `results.summarise`.
    interval : {"eti", "hdi"}
        Equal-tailed or highest-density intervals, of 95 %.
    words : Words, optional
        What the input calls things.
    """
    words = words or Words()
    how = (point, interval, words)
    return Tables(summary(fit, *how), standardized(fit, *how), rsquare(fit, *how), fit_statistics(fit), *how)


def write(found: Tables, fit: Fit, folder: Path) -> None:
    """summary.csv, standardized.csv, rsquare.csv and fit.csv; all have the verdict in every row if the fit did not converge."""
    for name in ("summary", "standardized", "rsquare", "fit"):
        write_csv(getattr(found, name), folder / f"{name}.csv", fit)


def summary(fit: Fit, point: str = "MEDIAN", interval: str = "eti", words: Words | None = None) -> pd.DataFrame:
    """Model results: every parameter, fixed ones too, and new parameters last."""
    implied = Implied.of(fit)
    found = lines(implied.structure.table, words)
    draws = [implied.row(line.row) for line in found if line.row]
    if fit.spec.table.derived:
        values = fit.posterior["derived"].transpose("chain", "draw", "quantity")
        draws += [values.sel(quantity=name).to_numpy().ravel() for name, _ in fit.spec.table.derived]
    return _table(fit, found, draws, point, interval)


def standardized(fit: Fit, point: str = "MEDIAN", interval: str = "eti", words: Words | None = None) -> pd.DataFrame:
    """STDYX results of the rows of the model results, and of random slopes at the within level (``S | Y ON``)."""
    found = [line for line in lines(fit.spec.structure_of(fit.posterior).table, words, slopes=True) if line.row]
    values = stdyx(fit, [line.row for line in found])
    found = [line for line in found if line.row in values]
    return _table(fit, found, [values[line.row] for line in found], point, interval)


def rsquare(fit: Fit, point: str = "MEDIAN", interval: str = "eti", words: Words | None = None) -> pd.DataFrame:
    """R-square of every variable, random intercept and random slope that something explains."""
    words = words or Words()
    where = endogenous(fit.spec.table, words)
    values = explained(fit, where)
    found = [Line(LEVELS[level], "R-Square", words.of(v)) for level, v in where]
    return _table(fit, found, [values[v] for v in where], point, interval)


def fit_statistics(fit: Fit) -> pd.DataFrame:
    """`bayeshte.model_fit`, without DIC and BIC beside categorical variables, as Mplus; the seconds that sampling took."""
    table = model_fit(fit)
    if fit.spec.links:
        table = table[~table["statistic"].str.startswith(("DIC", "pD", "BIC"))]
    seconds = {"statistic": "elapsed", "level": "", "value": fit.record.get("seconds_sampling", np.nan)}
    seconds["definition"] = "seconds of sampling, warm-up included"
    out = pd.concat([table, pd.DataFrame([seconds], columns=table.columns).astype(table.dtypes)], ignore_index=True)
    return fit.diagnosis.mark(out)


def _table(fit: Fit, found: Sequence[Line], draws: Sequence[np.ndarray], point: str, interval: str) -> pd.DataFrame:
    """A line a row, of draws with chains stacked, (draw,) each."""
    if not found:
        return mark(fit, pd.DataFrame(columns=[*KEYS, *COLUMNS[1:]]))
    n = fit.posterior.sizes
    x = np.stack(draws, axis=-1).reshape(n["chain"], n["draw"], -1)
    table = rows(xr.DataArray(x, dims=("chain", "draw", "line"), coords={"line": range(len(found))}, name="line"))
    own = summarise(x, point, interval).drop(columns="significant")
    table[[*own]] = own
    if point != "MEDIAN":  # the Monte Carlo error is that of the estimate
        exact = array_stats.mcse(x, method="mean", chain_axis=0, draw_axis=1) if point == "MEAN" else np.nan
        table["mcse"] = np.where(table["fixed"], np.nan, exact)
    table["parameter"] = [line.parameter for line in found]
    table.insert(0, "header", [line.header for line in found])
    table.insert(0, "level", [line.level for line in found])
    table.attrs["interval"] = interval
    return mark(fit, table)
