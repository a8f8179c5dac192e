"""Short fits of structural equation models, for the tests of what is printed and drawn of them."""

import warnings
from dataclasses import replace
from functools import cache

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from test_sem import MODELS, frame
from test_tables import Tags

import bayeshte as bh
from bayeshte.report import material

mpl.use("Agg")

EVIL = "<b>school & co_1 $x$"  # names of columns are the data's; the model text takes letters, digits, _ and .
SPEC = replace(MODELS["mediation"], cluster=EVIL)
NOT_FOR_PATHS = ("caterpillar", "pooling", "baseline", "outcome")


def quick(spec, data, draws=250, **options) -> bh.Fit:
    """A short fit; whether it converged is not what is asked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, data, draws=draws, tune=300, seed=1, progress=False, **options)


def data(missing=False) -> pd.DataFrame:
    return frame(missing).rename(columns={"school": EVIL})


def text_of(page: str) -> str:
    return " ".join(" ".join(Tags(page).texts).split()).replace("\u00a0", " ")


def texts(fig: Figure) -> list[str]:
    return [t.get_text() for t in fig.findobj(mpl.text.Text) if t.get_text()]


@cache
def mediation_fit() -> bh.Fit:
    return quick(SPEC, data(missing=True), draws=500)


@cache
def factors_fit() -> bh.Fit:
    return quick(MODELS["factors"], frame(), draws=100)


@cache
def one_level_fit() -> bh.Fit:
    return quick(MODELS["one level"], frame(), draws=100)


@cache
def mediation_material() -> material.Material:
    """What a report of `mediation_fit` shows."""
    return material.gather(mediation_fit(), meaningful=0.5)
