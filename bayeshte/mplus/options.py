"""DATA, VARIABLE, ANALYSIS, OUTPUT, SAVEDATA and PLOT: what they set, what they ask for in vain, and what is refused.

`option_tables` says of every option of the manual which of the three it is, `setters` what those that are read do.
"""

import re
from collections.abc import Sequence

from bayeshte.errors import near
from bayeshte.mplus.names import assigned, known_list
from bayeshte.mplus.option_tables import NOTED, READ, REFUSED
from bayeshte.mplus.setters import SETTERS
from bayeshte.mplus.settings import THETA, Option, Settings
from bayeshte.mplus.source import Source, Statement, full_name

LEVELS = ("WITHIN", "BETWEEN")
LOGITS = ("ML", "MLR", "MLF")  # estimators whose link is logit
WEIGHTED = ("WLS", "ULS")  # with latent responses of variance 1


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
    turn = {"NAMES": 0, "CATEGORICAL": 2}
    for option in sorted(options, key=lambda o: turn.get(o.name, 1)):
        refusal = REFUSED[option.statement.command].get(option.name)
        if refusal:
            raise option.statement.error(f"{option.name}: {refusal}")
        if reason := NOTED[option.statement.command].get(option.name):
            out.notes.append(f"line {option.statement.line}: {option.name} {option.value}".rstrip() + f": {reason}.")
        else:
            order = [*out.names, *(v for v in new if assigned(v, out.names) not in out.names)]
            SETTERS[option.statement.command, option.name](out, option, order)
    _check(out, source, options, as_bayes)
    plain = [v for v in out.names if v not in (out.cluster, *out.keep)]
    listed = [o.statement.line for o in options if o.name == "USEVARIABLES"]
    if out.use and [v for v in out.use if v not in (out.cluster, *out.keep)] == plain:
        out.notes.append(f"line {listed[0]}: USEVARIABLES: all variables, as without it.")
    out.use = out.use or plain
    _check_categorical(out, options)
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
        if re.search(r"(^|\s)(=|IS|ARE)(\s|$)", re.sub(r"\([^()]*\)", "", value), re.I) and name not in paths:
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
        message = f"ESTIMATOR = {out.estimator}"
        if "ESTIMATOR" not in statements:
            out.estimator = "WLSMV" if out.categorical and not out.two_level else "ML"
            message = f"no ESTIMATOR is named (Mplus's default is {out.estimator})"
        if not as_bayes:
            raise where.error(f"{message}; only BAYES is run here: write ESTIMATOR = BAYES, or give --as-bayes.")
        out.notes.append(
            f"line {where.line}: {message}; BAYES with Mplus's default priors is run instead, as --as-bayes says."
        )


def _check_categorical(out: Settings, options: Sequence[Option]) -> None:
    """Variables of CATEGORICAL are in the model; notes on what the link is, and on what has no effect."""
    if not out.categorical:
        return
    statement = next(o.statement for o in options if o.name == "CATEGORICAL")
    for v in out.categorical:
        if v in (out.cluster, *out.keep):
            raise statement.error(f"{v} identifies rows or clusters: take it out of CATEGORICAL.")
    idle = [v for v in out.categorical if v not in out.use]
    if idle:
        out.notes.append(
            f"line {statement.line}: CATEGORICAL {' '.join(idle)}: not among USEVARIABLES, so without effect."
        )
    out.categorical = [v for v in out.categorical if v in out.use]
    named = {o.name for o in options}
    if out.estimator in LOGITS and out.categorical and "LINK" not in named:
        out.notes.append(
            f"line {statement.line}: CATEGORICAL: the link is probit, as with BAYES; that of {out.estimator} is logit unless "
            "LINK says otherwise: its coefficients are larger, by a factor of 1.6 to 1.8 or so."
        )
    if out.estimator.startswith(WEIGHTED) and out.categorical and not out.two_level and "PARAMETERIZATION" not in named:
        out.notes.append(f"line {statement.line}: CATEGORICAL: {THETA.format(out.estimator)}.")
