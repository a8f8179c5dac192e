"""Tables as files."""

from pathlib import Path

import pandas as pd

from bayeshte.fit import Fit


def write_csv(table: pd.DataFrame, path: Path, fit: Fit) -> None:
    """A table as CSV; if the fit did not converge, with a column that says so in every row."""
    if not fit.diagnosis.ok:
        table = table.assign(verdict=fit.diagnosis.verdict)
    table.to_csv(path, index=False)
