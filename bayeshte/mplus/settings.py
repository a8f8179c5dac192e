"""What the options of an input come to."""

from dataclasses import dataclass, field

from bayeshte.mplus.source import Statement

SYMBOLS = (".", "*", "BLANK")  # that stand for a missing value
#: what the scale of latent responses is; the estimator whose default is another goes in
THETA = (
    "residual variances of latent responses are 1 (THETA), as with BAYES; with DELTA, {}'s default, their total variances are, "
    "so that coefficients differ by a factor"
)


@dataclass
class Settings:
    """What the options say; names are in lower case.

    Attributes
    ----------
    file : str
        As written. `listwise` drops rows with any missing value.
    names, use : list of str
        Columns of the file; variables of the analysis (all, without USEVARIABLES).
    condition : Statement, optional
        USEOBSERVATIONS.
    missing : dict
        Column to the (lowest, highest) of values that are missing; `symbol` is ".", "*", "BLANK" or empty.
    categorical : list of str
        Binary and ordinal variables; those of one of the `sets` have the same categories, ``u1-u3 (*)``;
        those of `binary` must have two.
    types : set of str
        Of the analysis: GENERAL, TWOLEVEL, RANDOM, BASIC.
    covary : bool
        Whether variables covary by default; not with MODEL = NOCOVARIANCES.
    point : str
        MEDIAN, MEAN or MODE.
    interval : str
        "eti", or "hdi" of CINTERVAL(HPD).
    scores, draws : str
        File names of SAVEDATA: factor scores, all draws; empty if not asked for.
    notes : list of str
    """

    file: str = ""
    listwise: bool = False
    names: list[str] = field(default_factory=list)
    use: list[str] = field(default_factory=list)
    condition: Statement | None = None
    missing: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    symbol: str = ""
    cluster: str | None = None
    within: list[str] = field(default_factory=list)
    between: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    sets: list[tuple[str, ...]] = field(default_factory=list)
    binary: list[str] = field(default_factory=list)
    types: set[str] = field(default_factory=lambda: {"GENERAL"})
    estimator: str = "ML"
    covary: bool = True
    point: str = "MEDIAN"
    interval: str = "eti"
    scores: str = ""
    draws: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def two_level(self) -> bool:
        return "TWOLEVEL" in self.types

    def responses(self, level: str) -> list[str]:
        """Categorical variables whose latent responses have their residuals on a level: of clusters between, else of rows."""
        return [v for v in self.categorical if (v in self.between) == (level == "between")]


@dataclass(frozen=True)
class Option:
    """An option as it is written: its full name, the text of its value."""

    statement: Statement
    name: str
    value: str
