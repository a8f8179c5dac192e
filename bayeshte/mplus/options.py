"""DATA, VARIABLE, ANALYSIS, OUTPUT, SAVEDATA and PLOT: what they set, what they ask for in vain, and what is refused.

`option_tables` says of every option of the manual which of the three it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from bayeshte.errors import near
from bayeshte.mplus.names import assigned, known_list, new_list
from bayeshte.mplus.option_tables import LATER, NOTED, READ, REFUSED, TYPES
from bayeshte.mplus.source import Source, Statement, full_name

POINTS = ("MEDIAN", "MEAN", "MODE")
_POINT_NOTES = {
    "MEDIAN": "what is estimated without it",
    "MEAN": "estimates are posterior means",
    "MODE": "estimates are the modes of each parameter by itself",
}
SYMBOLS = (".", "*", "BLANK")
LEVELS = ("WITHIN", "BETWEEN")


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
    types : set of str
        Of the analysis: GENERAL, TWOLEVEL, RANDOM, BASIC.
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
    types: set[str] = field(default_factory=lambda: {"GENERAL"})
    estimator: str = "ML"
    point: str = "MEDIAN"
    interval: str = "eti"
    scores: str = ""
    draws: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def two_level(self) -> bool:
        return "TWOLEVEL" in self.types


@dataclass(frozen=True)
class Option:
    """An option as it is written: its full name, the text of its value."""

    statement: Statement
    name: str
    value: str


def settings(source: Source, new: Sequence[str] = (), as_bayes: bool = False) -> Settings:
    """What the options of an input say.

    Parameters
    ----------
    source : Source
    new : sequence of str
        Variables that DEFINE makes, which USEVARIABLES and the lists of levels may name.
    as_bayes : bool
        Accept another estimator.

    Raises
    ------
    SpecError
        Options that do not exist, options that would change the model and are not supported.
    """
    out, order = Settings(), []
    options = [o for command in READ for s in source.of(command) for o in _options(s)]
    first = [o for o in options if o.name == "NAMES"]
    for option in [*first, *(o for o in options if o.name != "NAMES")]:
        refusal = REFUSED[option.statement.command].get(option.name)
        if refusal:
            raise option.statement.error(f"{option.name}: {refusal}")
        if reason := NOTED[option.statement.command].get(option.name):
            out.notes.append(f"line {option.statement.line}: {option.name} {option.value}".rstrip() + f": {reason}.")
        else:
            order = [*out.names, *(v for v in new if assigned(v, out.names) not in out.names)]
            _SETTERS[option.statement.command, option.name](out, option, order)
    _check(out, source, options, as_bayes)
    plain = [v for v in out.names if v not in (out.cluster, *out.keep)]
    listed = [o.statement.line for o in options if o.name == "USEVARIABLES"]
    if out.use and [v for v in out.use if v not in (out.cluster, *out.keep)] == plain:
        out.notes.append(f"line {listed[0]}: USEVARIABLES: all variables, as without it.")
    out.use = out.use or plain
    for o in options:
        idle = [v for v in known_list(o.value, order, o.statement) if v not in out.use] if o.name in LEVELS else []
        if idle:
            out.notes.append(
                f"line {o.statement.line}: {o.name} {' '.join(idle)}: not among USEVARIABLES, so without effect."
            )
    return out


def _options(statement: Statement) -> list[Option]:
    """The options of a statement: one with a value, or in OUTPUT several words."""
    paths = ("FILE", "BPARAMETERS", "USEOBSERVATIONS")  # whose value may have a word that looks like another option
    tables = (READ, NOTED, REFUSED)
    every = [name for table in tables for name in table[statement.command]]
    if statement.command == "OUTPUT":
        pieces = re.findall(r"([A-Za-z][\w-]*)\s*(\([^)]*\))?", statement.text)
    else:
        match = re.fullmatch(r"([A-Za-z][\w-]*)\s*(?:=|\b(?:IS|ARE)\b)?\s*(.*)", statement.text, re.S | re.I)
        if not match:
            raise statement.error(f"expected an option and its value, as in {every[0]} = ...")
        pieces = [match.groups()]
    out = []
    for word, value in pieces:
        name = full_name(word, every)
        if name is None:
            raise statement.error(f"{word} is no option of {statement.command}.{near(word.upper(), every)}")
        if re.search(r"(^|\s)(=|IS|ARE)(\s|$)", value, re.I) and name not in paths:
            raise statement.error("two options in one statement: end the first with ';'.")
        out.append(Option(statement, name, " ".join(value.split())))
    return out


def _check(out: Settings, source: Source, options: Sequence[Option], as_bayes: bool) -> None:
    """What options say together."""
    statements = {o.name: o.statement for o in options}
    at = next(iter(statements.values()), None)
    if at is None or not out.names:
        raise (at or source.statements[0]).error(
            "The columns of the data have no names: write VARIABLE: NAMES ARE ...;"
        )
    if not out.file:
        raise at.error("There is no data file: write DATA: FILE IS ...;")
    if out.two_level and out.cluster is None:
        raise statements["TYPE"].error("TWOLEVEL needs clusters: write VARIABLE: CLUSTER = ...;")
    if out.cluster and not out.two_level:
        raise statements["CLUSTER"].error("CLUSTER needs ANALYSIS: TYPE = TWOLEVEL;")
    for name in LEVELS:
        if name in statements and not out.two_level:
            raise statements[name].error(f"{name} needs ANALYSIS: TYPE = TWOLEVEL;")
    both = [v for v in out.within if v in out.between]
    if both:
        raise statements["BETWEEN"].error(
            f"{both[0]} is WITHIN and BETWEEN: name it in neither, and it varies on both levels."
        )
    if out.estimator != "BAYES" and "BASIC" not in out.types:
        where = statements.get("ESTIMATOR", at)
        message = (
            f"ESTIMATOR = {out.estimator}"
            if "ESTIMATOR" in statements
            else "no ESTIMATOR is named (Mplus's default is ML)"
        )
        if not as_bayes:
            raise where.error(f"{message}; only BAYES is run here: write ESTIMATOR = BAYES, or give --as-bayes.")
        out.notes.append(f"line {where.line}: {message}; BAYES with flat priors is run instead, as --as-bayes says.")


# ------------------------------------------------------------------------------------------------------------ setters


def _file(out: Settings, o: Option, _) -> None:
    out.file = o.value.strip("\"'")


def _format(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("FREE",)) is None:
        raise o.statement.error(
            "fixed formats are not read: save the data with blanks, tabs or commas between values, FORMAT IS FREE."
        )
    out.notes.append(f"line {o.statement.line}: FORMAT IS FREE is how every file is read.")


def _data_type(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("INDIVIDUAL",)) is None:
        raise o.statement.error(f"TYPE = {o.value}: give one file with the individual data.{_hint(o.value)}")
    out.notes.append(f"line {o.statement.line}: TYPE IS INDIVIDUAL is how every file is read.")


def _hint(value: str) -> str:
    return " Missing values are integrated (MAR); imputation is not needed." if value.upper().startswith("IMPU") else ""


def _listwise(out: Settings, o: Option, _) -> None:
    out.listwise = o.value.upper() == "ON"
    done = "rows with a missing value are dropped" if out.listwise else "missing values are integrated, as without it"
    out.notes.append(f"line {o.statement.line}: LISTWISE = {o.value}: {done}.")


def _names(out: Settings, o: Option, _) -> None:
    out.names += new_list(o.value, o.statement)
    twice = [v for v in dict.fromkeys(out.names) if out.names.count(v) > 1]
    if twice:
        raise o.statement.error(f"{twice[0]} is named twice: give each column its own name.")


def _use(out: Settings, o: Option, known_names: list[str]) -> None:
    names = known_names if o.value.upper() == "ALL" else known_list(o.value, known_names, o.statement)
    out.use += [v for v in names if v not in out.use]


def _condition(out: Settings, o: Option, _) -> None:
    if out.condition:
        raise o.statement.error("USEOBSERVATIONS is there twice: join the conditions with AND.")
    out.condition = Statement(o.statement.command, o.value, o.statement.line)


def _missing(out: Settings, o: Option, known_names: list[str]) -> None:
    value = re.sub(r"(?i)\ball\s*\(\s*([.*])\s*\)", r"\1", o.value)
    if value.upper() in SYMBOLS:
        out.symbol = value.upper()
        return
    at = 0
    for match in re.finditer(r"\s*([^()]*?)\s*\(([^()]*)\)\s*", value):
        if match.start() != at:
            break
        names = out.names if match[1].upper() in ("ALL", "_ALL_") else known_list(match[1], known_names, o.statement)
        limits = _limits(match[2], o.statement)
        for name in names:
            out.missing[name] = [*out.missing.get(name, []), *limits]
        at = match.end()
    if at != len(value) or not value:
        raise o.statement.error(
            "write MISSING = ALL (-99), MISSING = x (9) y1-y5 (98 99), or MISSING = . (or *, BLANK)."
        )


def _limits(text: str, statement: Statement) -> list[tuple[float, float]]:
    number = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    out, rest = [], text
    for match in re.finditer(rf"({number})(?:\s*-\s+|-)({number})|({number})", text):  # 9 -99 are two numbers
        low, high = (match[3], match[3]) if match[3] else (match[1], match[2])
        out.append((float(low), float(high)))
        rest = rest.replace(match[0], " ", 1)
    if rest.replace(",", " ").strip() or not out:
        raise statement.error(f"({text}): write the numbers that stand for missing values, as in (98 99).")
    return out


def _cluster(out: Settings, o: Option, known_names: list[str]) -> None:
    names = known_list(o.value, known_names, o.statement)
    if len(names) != 1:
        raise o.statement.error(f"{len(names)} clusters: there are two levels at most, name one.")
    out.cluster = names[0]


def _level(out: Settings, o: Option, known_names: list[str]) -> None:
    if "(" in o.value:
        raise o.statement.error("levels in parentheses belong to three levels: there are two at most.")
    getattr(out, o.name.lower()).extend(known_list(o.value, known_names, o.statement))


def _keep(out: Settings, o: Option, known_names: list[str]) -> None:
    if "(" in o.value and re.search(r"\(\s*[A-Za-z]", o.value):
        kind = re.search(r"\(\s*([^)]*)\)", o.value)[1]
        if kind.strip().upper() == "M":
            raise o.statement.error(
                "auxiliary variables for missing data, (M), are not supported: put them into the model with WITH."
            )
        raise o.statement.error(f"({kind}) belongs to latent classes, which are not supported.")
    out.keep += known_list(o.value, known_names, o.statement)
    out.notes.append(f"line {o.statement.line}: {o.name} {o.value}: kept beside the analysis, not in the model.")


def _categorical(out: Settings, o: Option, _) -> None:
    raise o.statement.error(f"CATEGORICAL: {LATER}")


def _type(out: Settings, o: Option, _) -> None:
    words = o.value.upper().split()
    kinds = []
    for word in words:
        kind = full_name(word, (*TYPES, "GENERAL", "TWOLEVEL", "RANDOM", "BASIC"))
        if kind is None:
            raise o.statement.error(
                f"TYPE = {word} does not exist.{near(word, (*TYPES, 'GENERAL', 'TWOLEVEL', 'RANDOM', 'BASIC'))}"
            )
        if kind in TYPES:
            raise o.statement.error(f"TYPE = {kind}: {TYPES[kind]}")
        kinds.append(kind)
    out.types = {*kinds} or {"GENERAL"}
    if out.types <= {"GENERAL", "RANDOM"}:
        out.notes.append(f"line {o.statement.line}: TYPE = {o.value}: a model of one level, as without TYPE.")


def _estimator(out: Settings, o: Option, _) -> None:
    out.estimator = o.value.upper()
    if full_name(o.value, ("BAYES",)):
        out.estimator = "BAYES"


def _point(out: Settings, o: Option, _) -> None:
    name = full_name(o.value, POINTS)
    if name is None:
        raise o.statement.error(f"POINT = {o.value} does not exist.{near(o.value.upper(), POINTS)}")
    out.point = name
    out.notes.append(f"line {o.statement.line}: POINT = {name}: {_POINT_NOTES[name]}.")


def _predictor(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("LATENT",)) is None:
        raise o.statement.error(
            f"PREDICTOR = {o.value}: random slopes have the latent part within clusters as predictor (LATENT); declare the "
            "predictor WITHIN for a raw one."
        )
    out.notes.append(f"line {o.statement.line}: PREDICTOR = LATENT is how random slopes are modelled without it.")


def _interval(out: Settings, o: Option, _) -> None:
    kind = o.value.strip("() ").upper()
    if kind in ("HPD",):
        out.interval = "hdi"
        out.notes.append(f"line {o.statement.line}: CINTERVAL(HPD): intervals are highest-density ones.")
    elif kind in ("", "EQTAIL", "SYMMETRIC"):
        out.notes.append(
            f"line {o.statement.line}: CINTERVAL {o.value}".rstrip() + ": equal-tailed intervals are always printed."
        )
    elif kind in ("BOOTSTRAP", "BCBOOTSTRAP"):
        out.notes.append(
            f"line {o.statement.line}: CINTERVAL{o.value}: there is no bootstrap with BAYES; equal-tailed intervals are printed."
        )
    else:
        raise o.statement.error(
            f"CINTERVAL{o.value} does not exist with BAYES: write CINTERVAL(EQTAIL) or CINTERVAL(HPD)."
        )


def _save_file(out: Settings, o: Option, _) -> None:
    out.notes.append(f"line {o.statement.line}: FILE {o.value}: what is saved goes into the folder of the results.")


def _save(out: Settings, o: Option, _) -> None:
    for word in re.findall(r"[A-Za-z]+", o.value):
        if full_name(word, ("FSCORES",)):
            out.scores = "fscores.csv"
            out.notes.append(f"line {o.statement.line}: SAVE = FSCORES: {out.scores} has the factor scores.")
        else:
            out.notes.append(f"line {o.statement.line}: SAVE = {word}: it is not written.")


def _save_draws(out: Settings, o: Option, _) -> None:
    out.draws = "bparameters.csv"
    out.notes.append(f"line {o.statement.line}: BPARAMETERS {o.value}: {out.draws} has all draws.")


_SETTERS = {
    ("DATA", "FILE"): _file,
    ("DATA", "FORMAT"): _format,
    ("DATA", "TYPE"): _data_type,
    ("DATA", "LISTWISE"): _listwise,
    ("VARIABLE", "NAMES"): _names,
    ("VARIABLE", "USEVARIABLES"): _use,
    ("VARIABLE", "USEOBSERVATIONS"): _condition,
    ("VARIABLE", "MISSING"): _missing,
    ("VARIABLE", "CLUSTER"): _cluster,
    ("VARIABLE", "WITHIN"): _level,
    ("VARIABLE", "BETWEEN"): _level,
    ("VARIABLE", "IDVARIABLE"): _keep,
    ("VARIABLE", "AUXILIARY"): _keep,
    ("VARIABLE", "CATEGORICAL"): _categorical,
    ("ANALYSIS", "TYPE"): _type,
    ("ANALYSIS", "ESTIMATOR"): _estimator,
    ("ANALYSIS", "POINT"): _point,
    ("ANALYSIS", "PREDICTOR"): _predictor,
    ("OUTPUT", "CINTERVAL"): _interval,
    ("SAVEDATA", "FILE"): _save_file,
    ("SAVEDATA", "SAVE"): _save,
    ("SAVEDATA", "BPARAMETERS"): _save_draws,
}
