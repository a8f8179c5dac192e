"""What each option that is read sets: a function of the settings, the option, and the variables that it may name."""

import re

from bayeshte.errors import near
from bayeshte.mplus.names import known_list, new_list
from bayeshte.mplus.option_tables import TYPES
from bayeshte.mplus.settings import SYMBOLS, THETA, Option, Settings
from bayeshte.mplus.source import Statement, full_name

POINTS = ("MEDIAN", "MEAN", "MODE")
_POINT_NOTES = {
    "MEDIAN": "what is estimated without it",
    "MEAN": "estimates are posterior means",
    "MODE": "estimates are the modes of each parameter by itself",
}


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


def _categorical(out: Settings, o: Option, known_names: list[str]) -> None:
    at = 0
    for match in re.finditer(r"\s*([^()]*?)\s*(?:\(([^()]*)\)|$)\s*", o.value):
        if match.start() != at or not match[0].strip():
            break
        if match[2] is not None and match[2].strip() != "*":
            raise o.statement.error(
                f"({match[2].strip()}): items with a guessing parameter or partial credit, and lists of categories, are not "
                "supported: categories are those of the data, of a probit response, CATEGORICAL = u1-u5."
            )
        apart = (out.cluster, *out.keep)
        names = (
            [v for v in out.use or known_names if v not in apart]
            if match[1].upper() == "ALL"
            else known_list(match[1], known_names, o.statement)
        )
        out.categorical += [v for v in names if v not in out.categorical]
        if match[2] is not None:
            out.sets.append((*names,))
        at = match.end()
    if at != len(o.value) or not out.categorical:
        raise o.statement.error("name the binary and ordinal variables: CATEGORICAL = u1-u5.")


def _link(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("PROBIT",)) is None:
        raise o.statement.error(
            f"LINK = {o.value}: the link of categorical outcomes is PROBIT here: delete the option, or write bh.SEM("
            'categorical={"u": "logit"}) in Python, for binary outcomes that explain nothing.'
        )
    out.notes.append(f"line {o.statement.line}: LINK = PROBIT is the link without it.")


def _parameterization(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("THETA", "DELTA")) is None:
        raise o.statement.error(f"PARAMETERIZATION = {o.value} is not supported: it is THETA with BAYES.")
    text = THETA.format("WLSMV") if full_name(o.value, ("DELTA",)) else "it is the one with BAYES"
    out.notes.append(f"line {o.statement.line}: PARAMETERIZATION = {o.value}: {text}.")


def _mediator(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("LATENT",)) is None:
        raise o.statement.error(
            f"MEDIATOR = {o.value}: a categorical variable explains others by its latent response (LATENT): delete the option, "
            "or take the variable out of CATEGORICAL."
        )
    out.notes.append(
        f"line {o.statement.line}: MEDIATOR = LATENT is how categorical mediators are modelled without it."
    )


def _type(out: Settings, o: Option, _) -> None:
    words = o.value.upper().split()
    kinds = []
    for word in words:
        if old := full_name(word, ("MISSING", "H1", "MEANSTRUCTURE")):
            out.notes.append(
                f"line {o.statement.line}: TYPE = {old}, of older versions, is how every model is estimated."
            )
            continue
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


def _defaults(out: Settings, o: Option, _) -> None:
    if full_name(o.value, ("NOCOVARIANCES",)) is None:
        raise o.statement.error(
            f"MODEL = {o.value}: of the options that change what is free, NOCOVARIANCES is supported: delete this one, and write "
            "what it frees or fixes into MODEL."
        )
    out.covary = False
    out.notes.append(f"line {o.statement.line}: MODEL = NOCOVARIANCES: variables covary only where WITH says so.")


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


#: command and option: its function
SETTERS = {
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
    ("ANALYSIS", "MODEL"): _defaults,
    ("ANALYSIS", "POINT"): _point,
    ("ANALYSIS", "PREDICTOR"): _predictor,
    ("ANALYSIS", "LINK"): _link,
    ("ANALYSIS", "PARAMETERIZATION"): _parameterization,
    ("ANALYSIS", "MEDIATOR"): _mediator,
    ("OUTPUT", "CINTERVAL"): _interval,
    ("SAVEDATA", "FILE"): _save_file,
    ("SAVEDATA", "SAVE"): _save,
    ("SAVEDATA", "BPARAMETERS"): _save_draws,
}
