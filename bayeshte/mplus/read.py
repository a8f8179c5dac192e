"""A Mplus input as an ordinary specification: `read` puts together what the other modules read."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from bayeshte.errors import SpecError
from bayeshte.families import SEM
from bayeshte.mplus import constraint, datafile, define, mistakes, model, options, priors, source, text, thresholds
from bayeshte.mplus.located import located
from bayeshte.mplus.mention import Mention, Model
from bayeshte.mplus.settings import Settings
from bayeshte.mplus.source import Source
from bayeshte.mplus.words import Words
from bayeshte.prior import OTHERS


@dataclass(frozen=True)
class Analysis:
    """A Mplus input, read.

    Attributes
    ----------
    path : Path
    source : Source
        Its statements.
    settings : Settings
        What its options say.
    spec : SEM, optional
        The model; none with TYPE = BASIC.
    words : Words
        What the input calls things.
    file : Path, optional
        The data in place of those that the input names.
    notes : tuple of str
        What was ignored, what was decided, what looks like a mistake.
    mentions : tuple of Mention
        What MODEL says of each parameter, and in which statement.
    """

    path: Path
    source: Source
    settings: Settings
    spec: SEM | None
    words: Words = field(default_factory=Words)
    file: Path | None = None
    notes: tuple[str, ...] = ()
    mentions: tuple[Mention, ...] = field(default=(), repr=False)

    @property
    def title(self) -> str:
        """TITLE, or the name of the file."""
        return self.source.title or self.path.name

    @cached_property
    def _loaded(self) -> tuple[pd.DataFrame, tuple[str, ...]]:
        settings = Settings(**vars(self.settings) | {"notes": []})
        where, note = datafile.locate(settings.file, self.path.parent, self.file)
        settings.notes += [note] if note else []
        statements = self.source.of("DEFINE")
        frame = datafile.read(where, settings, statements)
        if settings.condition:
            frame = define.select(settings.condition, frame, settings)
        frame = datafile.complete(define.apply(statements, frame, settings), settings)
        kept = [*settings.use, *settings.keep, *([settings.cluster] if settings.cluster else [])]
        settings.notes += [*define.without_effect(statements, settings)][::-1]
        settings.notes += [*datafile.missing(frame, settings), *mistakes.of_data(frame, settings)]
        settings.notes += [*datafile.categories(frame, settings)]
        return frame[list(dict.fromkeys(kept))], tuple(settings.notes)

    def data(self) -> pd.DataFrame:
        """The variables of the analysis, columns in lower case: file, USEOBSERVATIONS, DEFINE, in that order.

        Raises
        ------
        DataError
            The file is not there, or line and column of what cannot be read.
        """
        return self._loaded[0]

    def __repr__(self):
        model = repr(self.spec.table) if self.spec else "TYPE = BASIC"
        return "\n".join([self.title, model, *(f"- {note}" for note in self.notes)])

    def located(self) -> AbstractContextManager[None]:
        """Errors of the model in this block end with the statements of the input that they are about."""
        return located(self.mentions)

    @property
    def data_notes(self) -> tuple[str, ...]:
        """What was decided when the data were read."""
        return self._loaded[1]


def read(
    path: str | Path, *, data: str | Path | None = None, default_priors: bool = False, as_bayes: bool = False
) -> Analysis:
    """Read a Mplus input.

    Parameters
    ----------
    path : str or Path
        The ``.inp`` file.
    data : str or Path, optional
        The data file, in place of the one that the input names.
    default_priors : bool
        Weakly informative priors in place of Mplus's; those of MODEL PRIORS stay.
    as_bayes : bool
        Run an input with another ESTIMATOR as if it said BAYES.

    Returns
    -------
    Analysis
        Its `spec` and `data()` are what `bayeshte.fit` takes.

    Raises
    ------
    SpecError
        Line and statement of what cannot be read or is not supported, and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise SpecError(f"There is no file {path}.")
    where = Path(data) if data is not None else None
    return parse(source.read_text(path), path, where, default_priors, as_bayes)


def parse(
    content: str, path: Path, file: Path | None = None, default_priors: bool = False, as_bayes: bool = False
) -> Analysis:
    """The text of an input, as `read` has it from a file; `path` is where it stands."""
    given = source.cut(content)
    if unsupported := [s for s in given.statements if s.command in UNSUPPORTED]:
        raise unsupported[0].error(f"{unsupported[0].command} is not supported: {UNSUPPORTED[unsupported[0].command]}")
    settings = options.settings(given, define.new_variables(given.of("DEFINE")), as_bayes)
    if "BASIC" in settings.types:
        notes = (
            *given.notes,
            *settings.notes,
            "TYPE = BASIC estimates nothing: the statistics of the data are printed.",
        )
        return Analysis(path, given, settings, None, file=file, notes=notes)
    parsed = model.read(given, settings)
    derived = constraint.read(given, parsed, settings)
    thresholds.check_held(parsed.mentions.values())
    others = "default" if default_priors else "mplus"
    notes = [*given.notes, *settings.notes]
    notes += [f"line {s.line}: {s.command} {s.shown}: {NO_TEST}" for s in given.of("MODEL TEST")]
    mentions = (*parsed.mentions.values(),)
    with located(mentions):
        arguments, unsaid = text.texts(parsed, settings, notes)
        spec = SEM(
            **arguments,
            cluster=settings.cluster,
            categorical=settings.categorical,
            derived=derived.texts,
            priors=others,
        )
    if informative := priors.read(given, parsed, spec.structure, flat=others == "mplus"):
        spec = replace(spec, priors={**informative, OTHERS: others})
    products = {(level, ":".join(parts)): name for name, (level, *parts) in parsed.products.items()}
    words = Words(products, tuple(settings.use), derived.effects, unsaid)
    notes += [*parsed.notes, *_unused(parsed), *mistakes.of_model(spec)]
    return Analysis(path, given, settings, spec, words, file, tuple(notes), mentions)


NO_TEST = "there is no Wald test; name the difference with NEW in MODEL CONSTRAINT and look at its interval."
UNSUPPORTED = {
    "MONTECARLO": "simulation studies are written in Python, with bh.simulate and bh.calibrate.",
    "MODEL POPULATION": "simulation studies are written in Python, with bh.simulate and bh.calibrate.",
    "MODEL COVERAGE": "simulation studies are written in Python, with bh.simulate and bh.calibrate.",
    "MODEL MISSING": "simulation studies are written in Python, with bh.simulate and bh.calibrate.",
    "DATA IMPUTATION": "missing values are integrated (MAR), no imputation is needed: delete the command.",
    "DATA WIDETOLONG": "reshape the data before, with pandas.wide_to_long say.",
    "DATA LONGTOWIDE": "reshape the data before, with DataFrame.pivot say.",
    "DATA TWOPART": "two-part variables are not supported.",
    "DATA MISSING": "indicators of missing values are not supported.",
    "DATA SURVIVAL": "survival models are not supported.",
    "DATA COHORT": "cohort data are not supported.",
}


def _unused(parsed: Model) -> list[str]:
    """Interactions that no path uses."""
    used = {(m.row.level, m.row.rhs) for m in parsed.mentions.values()}
    return [
        f"{name}, an XWITH variable, is used in no statement."
        for name, (level, *parts) in parsed.products.items()
        if (level, ":".join(parts)) not in used
    ]
