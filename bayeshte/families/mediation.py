"""The common mediation models of trials as model text: a short form that writes a `SEM`.

A path has a kind: a from the treatment to a mediator, d from a mediator to a later one, b from a mediator to the outcome, direct
from the treatment to the outcome. On the level that the treatment varies on, its kind is its label (``a``, with several mediators
``a_advant``); on the other level the name of that level follows (``b_within``). A path that varies between clusters is the
random slope ``a_j`` with the mean ``a``.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import NamedTuple

from bayeshte.errors import SpecError, near
from bayeshte.families.sem import SEM
from bayeshte.model_text.grammar import is_name
from bayeshte.model_text.parts import split
from bayeshte.prior import Prior


class Path(NamedTuple):
    """``effect ~ label*cause``; a covariate's path has neither kind nor label."""

    effect: str
    cause: str
    kind: str = ""
    label: str = ""


@dataclass(frozen=True)
class Roles:
    """Which column is what. `mediators` are in order, those of clusters first; `varying` are labels of paths within clusters."""

    outcome: str
    treatment: str
    cluster: str | None
    level: str
    own: tuple[str, ...]
    mediators: tuple[str, ...]
    covariates: tuple[str, ...]
    cluster_covariates: tuple[str, ...]
    direct: bool
    serial: bool
    varying: tuple[str, ...] = ()


def Mediation(
    *,
    outcome: str,
    treatment: str,
    mediators: str | Sequence[str] = (),
    cluster: str | None = None,
    level: str | None = None,
    direct: bool = True,
    serial: bool = False,
    varying: str | Sequence[str] = (),
    covariates: str | Sequence[str] = (),
    cluster_mediators: str | Sequence[str] = (),
    cluster_covariates: str | Sequence[str] = (),
    priors: str | Mapping[str, Prior] = "default",
) -> SEM:
    """A mediation model, written as a `SEM`: print its `model`, or `within`, `between` and `derived`, to copy it and go on.

    ======================  ==================  ==============================  =====================================
    design                  arguments           the treatment's level           the other level
    ======================  ==================  ==============================  =====================================
    one level               no cluster          ``y ~ b*m + direct*x``,         none
                                                ``m ~ a*x``
    of clusters (2-1-1)     cluster             the same, between clusters      ``y ~ b_within*m``
    of clusters (2-2-1)     cluster_mediators   the same, between clusters      ``y ~~ y``: m is no variable of it
    within clusters         level="within"      the same, within clusters       ``y ~ b_between*m``; with paths that
    (1-1-1, multisite)                                                          vary ``y ~~ m``
    ======================  ==================  ==============================  =====================================

    Mediators and outcome are split into their two latent parts, a treatment within clusters is not: it enters as it is, so that
    the parts between clusters are those at treatment 0. Write ``treatment="centred(x)"`` where the share
    of treated persons differs between clusters by more than chance.

    Several mediators have residual covariances or, with `serial`, paths from each to all later ones. A path that varies is a
    random slope with the mean ``a``; slopes and intercepts have one covariance matrix, all of it free. Effects are averages over
    clusters, E(a_j b_j) = a b + cov(a_j, b_j) (Bauer, Preacher & Gil, 2006, equation 8; of longer ways Isserlis, 1918).

    Derived are ``indirect``, with several mediators ``via_advant``, ... and their sum ``total_indirect``; ``total``, the direct
    path included; and ``context``, a mediator's path between clusters minus that within.

    Parameters
    ----------
    outcome, treatment : str
        Columns.
    mediators : str or sequence of str
        Columns of mediators, in causal order with `serial`. Of persons, if there are clusters.
    cluster : str, optional
        Column of the clusters.
    level : str, optional
        With clusters: ``"between"`` if whole clusters are treated, the default, or ``"within"`` if the treatment differs between
        their members.
    direct : bool
        Whether there is a path from treatment to outcome.
    serial : bool
        Whether the mediators act on each other in their order, those of clusters first.
    varying : str or sequence of str
        Paths within clusters that vary between clusters: ``"a"``, ``"b"``, ``"d"``, ``"direct"``, or labels, ``"a_advant"``;
        with a treatment of clusters ``"b_within"``.
    covariates, cluster_covariates : str or sequence of str
        Columns that predict mediators and outcome: of persons, which enter within clusters as they are, and of clusters (such as
        the cluster mean of a covariate, as a column). A nominal covariate is its 0/1 columns.
    cluster_mediators : str or sequence of str
        Mediators that are variables of clusters.
    priors : str or mapping
        As in `SEM`, by label: ``{"a": bh.Normal(0, 1)}``.

    Examples
    --------
    >>> Mediation(outcome="mvpa", treatment="treat", mediators=["advant", "peers"], cluster="school", direct=False)
    >>> Mediation(outcome="y", treatment="x", mediators="m", cluster="site", level="within", varying=("a", "b"))
    """
    own = _names("cluster_mediators", cluster_mediators)
    roles = Roles(
        outcome,
        treatment,
        cluster,
        "" if cluster is None else level or "between",
        own,
        own + _names("mediators", mediators),
        _names("covariates", covariates),
        _names("cluster_covariates", cluster_covariates),
        direct,
        serial,
    )
    _check_roles(roles, level)
    roles = replace(roles, varying=_varying(roles, _names("varying", varying)))
    derived = _derived(roles)
    _check_labels(roles, derived)
    texts = {name or "model": _text(roles, name) for name in (("within", "between") if cluster else ("",))}
    return SEM(cluster=cluster, derived=dict(derived), priors=priors, **texts)


def _names(role: str, given: str | Sequence[str]) -> tuple[str, ...]:
    """Names of an argument as a tuple."""
    names = (given,) if isinstance(given, str) else given
    if not (isinstance(names, tuple | list) and all(isinstance(v, str) for v in names)):
        raise SpecError(f"{role}={given!r}: one name or several in a list, such as {role}=['a', 'b'].")
    return tuple(names)


def _check_roles(roles: Roles, level: str | None) -> None:
    """Refuse columns without a name or with two roles, and arguments that contradict each other."""
    columns = [("outcome", roles.outcome), ("treatment", roles.treatment)]
    columns += [("cluster_mediators" if v in roles.own else "mediators", v) for v in roles.mediators]
    columns += [("covariates", v) for v in roles.covariates]
    columns += [("cluster_covariates", v) for v in roles.cluster_covariates]
    columns += [("cluster", roles.cluster)] if roles.cluster is not None else []
    for role, name in columns:
        if not isinstance(name, str) or not name.strip() or re.search(r"[`:\n\r]", name):
            raise SpecError(f"{role}={name!r}: the name of a column, without backticks, colons and ends of lines.")
    if not roles.mediators:
        raise SpecError("There is no mediator: name columns in mediators=, or in cluster_mediators= those of clusters.")
    for name, count in Counter(name for _, name in columns).items():
        if count > 1:
            given = " and ".join(role for role, other in columns if other == name)
            raise SpecError(f"The column {name!r} is {given}: give it one role.")
    for name in ("direct", "serial"):
        if not isinstance(getattr(roles, name), bool):
            raise SpecError(f"{name}={getattr(roles, name)!r}: write True or False.")
    if roles.serial and len(roles.mediators) == 1:
        raise SpecError(
            f"serial=True is an order of mediators, but there is one, {roles.mediators[0]!r}: leave it out."
        )
    _check_levels(roles, level)


def _check_levels(roles: Roles, level: str | None) -> None:
    if level not in (None, "within", "between"):
        raise SpecError(f"level={level!r}: 'between' if whole clusters are treated, 'within' if members differ.")
    given = {"level": level, "cluster_mediators": roles.own, "cluster_covariates": roles.cluster_covariates}
    if roles.cluster is None and any(given.values()):
        name = next(k for k, v in given.items() if v)
        raise SpecError(f"{name}={given[name]!r} describes clusters: name their column with cluster=.")
    if roles.level == "within" and roles.own:
        raise SpecError(
            f"The mediator {roles.own[0]!r} of clusters cannot carry an effect of a treatment within clusters: take it out of "
            "cluster_mediators=, or write level='between' if whole clusters are treated."
        )


def _there(roles: Roles, level: str) -> tuple[str, ...]:
    """The mediators that a level has."""
    return tuple(v for v in roles.mediators if level != "within" or v not in roles.own)


def _paths(roles: Roles, level: str) -> list[Path]:
    """The paths of a level by outcome, the outcome of the trial first; mediators before treatment before covariates."""
    home = level == roles.level
    mediators, out = _there(roles, level), []
    for y in (roles.outcome, *mediators):
        last = y == roles.outcome
        before = mediators if last else mediators[: mediators.index(y)] if roles.serial else ()
        before = () if _saturated(roles, level) else before
        out += [_path(roles, level, y, v, "b" if last else "d") for v in before]
        if home and (roles.direct or not last):
            out.append(_path(roles, level, y, roles.treatment, "direct" if last else "a"))
        out += [Path(y, v) for v in (roles.cluster_covariates if level == "between" else roles.covariates)]
    return out


def _saturated(roles: Roles, level: str) -> bool:
    """Whether a level has covariances in place of paths: that of random intercepts beside random slopes, all in one matrix."""
    return bool(roles.varying) and level == "between" and roles.level == "within"


def _path(roles: Roles, level: str, effect: str, cause: str, kind: str) -> Path:
    """A path with its label."""
    of = {"a": (effect,), "b": (cause,), "d": (cause, effect), "direct": ()}[kind]
    suffix = "" if level == roles.level else f"_{level}"
    return Path(effect, cause, kind + suffix, kind + _suffix(roles, of) + suffix)


def _suffix(roles: Roles, mediators: Sequence[str]) -> str:
    """What names mediators in labels, nothing if there is one: letters, digits and _, also of a name with others."""
    if len(roles.mediators) == 1:
        return ""
    words = (v if is_name(v) else "".join(c if f"_{c}".isidentifier() else "_" for c in v) for v in mediators)
    return "".join(f"_{word}" for word in words)


def _varying(roles: Roles, given: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of the paths that vary, in alphabetical order."""
    if given and roles.cluster is None:
        raise SpecError(f"varying={given!r}: paths vary between clusters: name their column with cluster=.")
    paths = [p for p in _paths(roles, "within") if p.label] if given else []
    for name in given:
        if not any(name in (p.kind, p.label) for p in paths):
            what = f"varying={name!r} is no path within clusters."
            if roles.level == "between":
                what += " Paths of a treatment of clusters have one value, those of level='within' may vary."
            raise SpecError(what + near(name, dict.fromkeys(v for p in paths for v in (p.kind, p.label))))
    return tuple(sorted(p.label for p in paths if {p.kind, p.label} & {*given}))


def _text(roles: Roles, level: str) -> str:
    """The model text of a level."""
    paths, lines = _paths(roles, level), []
    for y in (roles.outcome, *_there(roles, level)):
        mine = [p for p in paths if p.effect == y and p.label not in roles.varying]
        terms = [f"{p.label}*{_quoted(p.cause)}" if p.label else _quoted(p.cause) for p in mine]
        lines += [f"{_quoted(y)} ~ {' + '.join(terms)}"] if terms else []
    slopes = sorted((p for p in paths if p.label in roles.varying), key=lambda p: p.label)
    lines += [f"{p.label}_j | {_quoted(p.effect)} ~ {_quoted(p.cause)}" for p in slopes]
    if level == "between":
        lines += [f"{label}_j ~ {label}*1" for label in roles.varying]
        lines += [f"{a}_j ~~ {_covariance(a, b)}*{b}_j" for a, b in combinations(roles.varying, 2)]
        effects = [_quoted(v) for v in (*_there(roles, level), roles.outcome)]
        lines += [f"{label}_j ~~ {' + '.join(effects)}" for label in roles.varying]
    if _saturated(roles, level):
        lines += [f"{_quoted(a)} ~~ {_quoted(b)}" for a, b in combinations((*_there(roles, level), roles.outcome), 2)]
    elif not roles.serial:
        lines += [f"{_quoted(a)} ~~ {_quoted(b)}" for a, b in combinations(_there(roles, level), 2)]
    return "\n".join(lines or [f"{_quoted(roles.outcome)} ~~ {_quoted(roles.outcome)}"])


def _quoted(name: str) -> str:
    return name if is_name(name) or split(name)[0] else f"`{name}`"


def _covariance(a: str, b: str) -> str:
    """The label of the covariance of two slopes, in alphabetical order."""
    return "_".join(("cov", *sorted((a, b))))


def _derived(roles: Roles) -> list[tuple[str, str]]:
    """Indirect effects by way, their sum, the total effect, contextual effects: names and expressions."""
    label = {(p.effect, p.cause): p.label for p in _paths(roles, roles.level)}
    out = []
    for size in range(1, 1 + (len(roles.mediators) if roles.serial else 1)):
        for through in combinations(roles.mediators, size):
            steps = pairwise((roles.treatment, *through, roles.outcome))
            products = _expectation(tuple(label[y, x] for x, y in steps), roles.varying)
            name = f"via{_suffix(roles, through)}" if len(roles.mediators) > 1 else "indirect"
            out.append((name, " + ".join("*".join(labels) for labels in products)))
    if len(out) > 1:
        out.append(("total_indirect", " + ".join(name for name, _ in out)))
    if roles.direct:
        out.append(("total", f"{out[-1][0]} + direct"))
    within, between = (
        {(p.effect, p.cause): p.label for p in _paths(roles, v) if p.label} if roles.cluster else {}
        for v in ("within", "between")
    )
    for y, x in between:
        if (y, x) in within:
            mediators = [v for v in (x, y) if v != roles.outcome]
            out.append((f"context{_suffix(roles, mediators)}", f"{between[y, x]} - {within[y, x]}"))
    return out


def _expectation(way: tuple[str, ...], varying: tuple[str, ...]) -> list[tuple[str, ...]]:
    """E of a product of paths as products of labels: those that vary are jointly normal (Isserlis, 1918)."""
    if not way:
        return [()]
    first, *rest = way
    out = [(first, *product) for product in _expectation(tuple(rest), varying)]
    for k, other in enumerate(rest):
        if first in varying and other in varying:
            apart = _expectation((*rest[:k], *rest[k + 1 :]), varying)
            out += [(_covariance(first, other), *product) for product in apart]
    return out


def _check_labels(roles: Roles, derived: list[tuple[str, str]]) -> None:
    """Refuse columns and mediators whose names make a label mean two things."""
    levels = ("within", "between") if roles.cluster else ("",)
    written = [p.label for level in levels for p in _paths(roles, level) if p.label]
    written += [f"{label}_j" for label in roles.varying]
    written += [_covariance(a, b) for a, b in combinations(roles.varying, 2)]
    written += [name for name, _ in derived]
    columns = (roles.outcome, roles.treatment, *roles.mediators, *roles.covariates, *roles.cluster_covariates)
    for name in columns:
        if name in written:
            raise SpecError(
                f"The column {name!r} has the name of a label that is written here: rename it, "
                f"data.rename(columns={{{name!r}: {name + '_'!r}}})."
            )
    twice = [name for name, count in Counter(written).items() if count > 1]
    if twice:
        raise SpecError(f"The names of the mediators would give the label {twice[0]!r} twice: rename one of them.")
