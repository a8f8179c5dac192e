"""What the command line writes and shows of a Mplus input beyond what every fit has."""

from pathlib import Path

import pandas as pd
import xarray as xr

from bayeshte.errors import SpecError
from bayeshte.families.sem_draws import row_draws
from bayeshte.fit import Fit
from bayeshte.mplus import output
from bayeshte.mplus.printout import printout, prior_of
from bayeshte.mplus.read import Analysis
from bayeshte.mplus.words import lines
from bayeshte.scores import factor_scores
from bayeshte.tables.files import write_csv

#: what `write` may write, beside the tables of every fit
OUTPUTS = ("standardized.csv", "rsquare.csv", "fit.csv", "model.txt", "fscores.csv", "bparameters.csv")


def write(fit: Fit, analysis: Analysis, folder: Path) -> list[str]:
    """Tables in Mplus's words (summary.csv takes the place of the general one), model.txt, and what SAVEDATA asks for.

    Returns
    -------
    list of str
        Names of the files.
    """
    settings, notes = analysis.settings, [*analysis.notes, *analysis.data_notes]
    tables = output.tables(fit, settings.point, settings.interval, analysis.words)
    output.write(tables, fit, folder)
    names = ["summary.csv", "standardized.csv", "rsquare.csv", "fit.csv", "model.txt"]
    if settings.scores:
        try:
            write_csv(factor_scores(fit), folder / settings.scores, fit)
            names.append(settings.scores)
        except SpecError as error:
            notes.append(f"SAVE = FSCORES: nothing is saved. {error}")
    if settings.draws:
        write_csv(_draws(fit, analysis), folder / settings.draws, fit)
        names.append(settings.draws)
    text = printout(fit, tables, analysis.title, notes)
    (folder / "model.txt").write_text(text, encoding="utf-8")
    return names


def _draws(fit: Fit, analysis: Analysis) -> pd.DataFrame:
    """All draws, a row each: chain, iteration, then the free parameters as the model results have them."""
    n = fit.posterior.sizes
    index = pd.MultiIndex.from_product(
        [range(1, n["chain"] + 1), range(1, n["draw"] + 1)], names=["chain", "iteration"]
    )
    columns = {}
    structure = fit.spec.structure_of(fit.posterior)
    for line in lines(structure.table, analysis.words):
        if line.row is not None and line.row.fixed is None:
            values = row_draws(structure, fit.posterior, line.row).transpose("chain", "draw").to_numpy().ravel()
            columns[" ".join(v for v in (line.level, line.header, line.parameter) if v)] = values
    return pd.DataFrame(columns, index=index).reset_index()


def parameters(analysis: Analysis, design: xr.Dataset) -> pd.DataFrame:
    """Every parameter in Mplus's words: level, header, parameter, label, value if fixed, start, where it comes from, prior."""
    structure = analysis.spec.structure_of(design)
    priors = analysis.spec.frozen_priors(design)
    rows = []
    for line in lines(structure.table, analysis.words):
        if (row := line.row) is not None:
            free = row.fixed is None
            rows.append(
                {
                    "level": line.level,
                    "header": line.header,
                    "parameter": line.parameter,
                    "label": row.label,
                    "value": "free" if free else f"@{row.fixed:g}",
                    "start": "" if row.start is None else f"{row.start:g}",
                    "from": "MODEL" if row.given else "default",
                    "prior": prior_of(structure, priors, row) if free else "",
                }
            )
    return pd.DataFrame(rows)
