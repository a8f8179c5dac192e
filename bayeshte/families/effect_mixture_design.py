"""The data side of EffectMixture: roles to labelled arrays, and the checks that belong to this model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.errors import DataError, SpecError, near
from bayeshte.families.effect_mixture_arrays import INTERCEPT, SHAREABLE, STORED, Arrays
from bayeshte.marginal.mixture_data import FAMILIES, MOST_INTEGRATED

MAX_CLASSES = 8
VARIABLES = (*STORED, "y", "X", "W", "arm_code", "cluster_code", "trials", "class", "member", "_z")


def check_spec(spec) -> None:
    """What can be refused without seeing data."""
    _check_types(spec)
    if spec.family not in FAMILIES:
        raise SpecError(f"family={spec.family!r} is not known.{near(spec.family, FAMILIES)}")
    if spec.class_of not in ("cluster", "individual"):
        raise SpecError(f"class_of={spec.class_of!r}: write 'cluster' or 'individual'.")
    if spec.class_of == "cluster" and spec.cluster is None:
        raise SpecError("Classes of clusters need their column: name it with cluster=, or write class_of='individual'.")
    roles = {"outcome": spec.outcome, "treatment": spec.treatment, "cluster": spec.cluster, "trials": spec.trials}
    taken = VARIABLES if spec.treatment is None else (*VARIABLES, f"{spec.treatment}_arm")
    columns.check_names({k: roles[k] for k in ("treatment", "cluster")}, taken)
    named = [v for v in roles.values() if v]
    if len(set(named)) < len(named):
        raise SpecError(f"One column has two roles: {roles}.")
    if spec.treatment is None and (spec.reference is not None or spec.varying):
        raise SpecError("reference and varying describe a treatment: name its column with treatment=.")
    if spec.trials is not None and spec.family != "logit":
        raise SpecError(f"trials= counts the trials of a binomial outcome: write family='logit', not {spec.family!r}.")
    unknown = [v for v in spec.shared if v not in SHAREABLE]
    if unknown:
        raise SpecError(
            f"shared={spec.shared!r}: {unknown[0]!r} is no parameter of a class.{near(unknown[0], SHAREABLE)}"
        )
    if spec.classes == 1 and (spec.membership or spec.order is not None):
        raise SpecError("membership and order tell classes apart: with classes=1 there is one; take them out.")
    _check_random_effects(spec)
    _check_membership_varies(spec)


def _check_random_effects(spec) -> None:
    if spec.varying and not spec.intercept_varies:
        raise SpecError("varying= lets effects differ between the clusters of a class: it needs intercept_varies=True.")
    if spec.intercept_varies and spec.cluster is None:
        raise SpecError(
            "intercept_varies=True needs clusters: name their column with cluster=, or write intercept_varies=False."
        )

    if "u" in spec.shared and (spec.class_of == "cluster" or not spec.intercept_varies):
        raise SpecError(
            "shared='u': random effects of a cluster can be the same in all classes where its individuals belong to classes and "
            "intercept_varies=True. Take it out."
        )


def _check_membership_varies(spec) -> None:
    if not spec.membership_varies:
        return
    if spec.class_of == "cluster":
        raise SpecError(
            "membership_varies=True lets the class probabilities of individuals vary between clusters: write "
            "class_of='individual', or take it out. A cluster that belongs to a class has no probabilities of its own."
        )
    if spec.cluster is None:
        raise SpecError("membership_varies=True needs clusters: name their column with cluster=.")
    if spec.classes == 1:
        raise SpecError("membership_varies=True needs two classes or more: with classes=1 take it out.")


def _check_types(spec) -> None:
    for name in ("outcome", "treatment", "cluster", "trials"):
        value = getattr(spec, name)
        if not (isinstance(value, str) and value) and not (value is None and name != "outcome"):
            raise SpecError(
                f"{name}={value!r}: the name of one column, as text (data.rename(columns=str) if it is a number)."
            )
    for name in ("covariates", "membership"):
        if not isinstance(getattr(spec, name), str):
            raise SpecError(f"{name}={getattr(spec, name)!r}: a formula as text, such as 'age + C(site)'.")
    for name in ("varying", "shared"):
        value = getattr(spec, name)
        names = (value,) if name == "varying" and isinstance(value, str) else value
        if not (isinstance(names, tuple | list) and all(isinstance(v, str) for v in names)):
            raise SpecError(f"{name}={value!r}: names in a tuple, such as {name}=('a', 'b') or {name}=('a',).")
    if isinstance(spec.classes, bool) or not isinstance(spec.classes, int) or not 1 <= spec.classes <= MAX_CLASSES:
        raise SpecError(f"classes={spec.classes!r}: a whole number from 1 to {MAX_CLASSES}.")
    for name in ("intercept_varies", "membership_varies"):
        if not isinstance(getattr(spec, name), bool):
            raise SpecError(f"{name}={getattr(spec, name)!r}: write True or False.")
    if not (spec.order is None or isinstance(spec.order, str)):
        raise SpecError(f"order={spec.order!r}: the label of a parameter of the classes, such as 'gamma0', or None.")
    if not isinstance(spec.priors, str | Mapping):
        raise SpecError(f"priors={spec.priors!r}: write 'default' or a mapping of labels to priors.")


def build(spec, data: pd.DataFrame) -> xr.Dataset:
    """The design of an `EffectMixture`: see `Arrays` for what is in it."""
    frame, missing = _analysed(spec, data)
    variables: dict = {"y": ("row", _outcome(spec, frame))}
    coords: dict = {"row": columns.row_labels(frame.index), "class": class_labels(spec.classes)}
    arms, code = [""], np.zeros(len(frame), np.int64)
    if spec.treatment:
        code, arms = columns.code_arms(frame[spec.treatment], spec.reference)
        coords |= {spec.treatment: arms[1:], f"{spec.treatment}_arm": arms}
    variables["arm_code"] = ("row", code)
    cluster = np.zeros(len(frame), np.int64)
    if spec.cluster:
        single = spec.trials is not None and not spec.varying and frame[spec.trials].max() > 1
        cluster, coords[spec.cluster] = columns.code_clusters(frame[spec.cluster], one_row_each=single)
    variables["cluster_code"] = ("row", cluster)
    by_row = spec.class_of == "individual"
    unit = np.arange(len(frame)) if by_row else cluster
    if spec.trials:
        variables["trials"] = ("row", frame[spec.trials].to_numpy(float))
    main, member = formulas.Terms(spec.covariates, frame), formulas.Terms(spec.membership, frame)
    W = np.column_stack([np.ones(len(frame)), member.matrix])
    if not by_row:
        W = _of_clusters(spec, W, unit, member.labels)
    varying = _varying(spec, arms[1:])
    coords |= {"covariate": main.labels, "moderator": [], "member": [INTERCEPT, *member.labels]}
    coords |= {"varying": varying, "varying_": varying}
    variables |= {
        "X": (("row", "covariate"), main.matrix),
        "W": (("row" if by_row else spec.cluster, "member"), W),
    }
    attrs = {
        "family": spec.family,
        "outcome": spec.outcome,
        "treatment": spec.treatment or "",
        "reference": arms[0],
        "cluster": spec.cluster or "",
        "unit": "row" if by_row else spec.cluster,
        "shared": list(spec.shared),
        "membership": member.labels,
        "membership_varies": int(spec.membership_varies),
        "rows_given": len(data),
        "missing": [f"{k}: {v}" for k, v in missing.items()],
        "data_hash": columns.fingerprint(frame),
    }
    design = xr.Dataset(variables | columns.raw_variables(frame), coords, attrs)
    _check(spec, Arrays(design))
    return design


def class_labels(classes: int) -> list[str]:
    """``class 1, class 2, ...``"""
    return [f"class {k + 1}" for k in range(classes)]


def _analysed(spec, data: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The columns of the model in the rows that are analysed, and how many values each column lacked."""
    named = [c for c in (spec.outcome, spec.treatment, spec.cluster, spec.trials) if c]
    columns.check_frame(data, named)
    given = (spec.covariates, spec.membership)
    used = [c for f in given for c in formulas.formula_columns(f, data)]
    for column, role in ((spec.treatment, "treatment"), (spec.outcome, "outcome"), (spec.cluster, "cluster")):
        if column in used:
            raise SpecError(f"The {role} {column!r} is in a formula: take it out.")
    for column in {"chain", "draw", "class"} & {*used}:
        raise SpecError(f"{column!r} is a dimension of the results and cannot be in a formula: rename the column.")
    frame, missing = columns.complete_rows(data, [*named, *used], spec.missing)
    for formula in given:
        formulas.check_formula(formula, frame)
    return frame, missing


def _outcome(spec, frame: pd.DataFrame) -> np.ndarray:
    if spec.trials:
        return _binomial(frame, spec.outcome, spec.trials)
    if spec.family == "logit":
        return columns.binary(frame, spec.outcome)
    if spec.family == "poisson":
        return columns.counts(frame, spec.outcome)
    return columns.numeric(frame, spec.outcome, "outcome")


def _binomial(frame: pd.DataFrame, outcome: str, trials: str) -> np.ndarray:
    """Numbers of events among trials."""
    y, n = columns.floats(frame, outcome, "outcome"), columns.floats(frame, trials, "column of trials")
    for values, name in ((y, outcome), (n, trials)):
        bad = (values < 0) | (values != np.floor(values))
        if bad.any():
            raise DataError(
                f"Column {name!r} must be counts (0, 1, 2, ...); {bad.sum()} values are not, the first is "
                f"{values[bad][0]:g} in row {columns.first(frame, bad)}."
            )
    bad = (y > n) | (n == 0)
    if bad.any():
        raise DataError(
            f"{bad.sum()} rows have more events {outcome!r} than trials {trials!r}, or no trial; the first is "
            f"{columns.first(frame, bad)}: {y[bad][0]:g} of {n[bad][0]:g}."
        )
    if y.sum() in (0, n.sum()):
        raise DataError(f"The outcome {outcome!r} is constant: {y.sum():g} events in {n.sum():g} trials.")
    return y


def _of_clusters(spec, W: np.ndarray, unit: np.ndarray, labels: list[str]) -> np.ndarray:
    """Covariates of membership, which must be constant within clusters: (cluster, member)."""
    first = np.zeros(unit.max() + 1, np.int64)
    first[unit[::-1]] = np.arange(len(unit))[::-1]
    same = np.isclose(W, W[first][unit]).all(0)
    if not same.all():
        name = labels[int(np.flatnonzero(~same)[0]) - 1]
        raise DataError(
            f"membership={spec.membership!r}: {name!r} varies within clusters of {spec.cluster!r}, but a class belongs to a "
            f"whole cluster. Use its cluster mean, data.groupby({spec.cluster!r})[column].transform('mean')."
        )
    return W[first]


def _varying(spec, contrasts: list[str]) -> list[str]:
    """Labels of the random effects within a class: intercept, arms."""
    given = [spec.varying] if isinstance(spec.varying, str) else list(spec.varying)
    arms = contrasts if given == ["all"] else given
    for arm in arms:
        if arm not in contrasts:
            raise SpecError(f"varying={arm!r} is not an arm with an effect.{near(arm, contrasts)}")
    out = [INTERCEPT] * spec.intercept_varies + [a for a in contrasts if a in arms]
    if len(out) > MOST_INTEGRATED and (spec.family != "gaussian" or spec.class_of == "individual"):
        raise SpecError(
            f"varying={spec.varying!r}: with family={spec.family!r} and class_of={spec.class_of!r} the effects of "
            f"at most {MOST_INTEGRATED - 1} arms can vary between clusters, here {len(out) - 1}. Name fewer in varying=."
        )
    return out


def _check(spec, D: Arrays) -> None:
    """Collinear columns, too few units, an outcome without residuals."""
    if D.X.shape[1] or D.contrasts:
        formulas.check_columns(D.full, D.full_terms)
    if D.logit_membership:
        formulas.check_columns(D.W, D.labels("member"))
    if D.sigmas:
        formulas.check_residual(D.full, D.y, spec.outcome)
    if 2 * D.classes > D.n_units:
        raise DataError(
            f"{D.classes} classes of {D.n_units} units of {D.unit!r}: there must be at least two units a class. Lower classes=."
        )
    present = {*D.coefficients} | ({"sigma"} if D.sigmas else set()) | ({"nu"} if D.family == "student" else set())
    random = {"sd", "u"} if D.q else set()
    absent = [v for v in D.shared if v not in present | random]
    if absent:
        raise SpecError(f"shared={D.shared!r}: the model has no {absent[0]!r}; take it out.")
    different = present | (random - {"u"} if D.unit != "row" else set())
    if D.classes > 1 and different <= {*D.shared}:
        more = "" if D.unit != "row" or not D.q else " but random effects of clusters"
        raise SpecError(
            f"All parameters are shared: the classes do not differ in anything{more}. Take one out of shared=."
        )
    _check_order(spec, D)


def _check_order(spec, D: Arrays) -> None:
    if spec.order is None:
        return
    known = [v for v in ("gamma0", "sigma", "nu") if v not in D.shared and (v in D.coefficients or D.sigmas)]
    known = [v for v in known if v != "nu" or D.family == "student"]
    known += [f"gamma1[{a}]" for a in D.contrasts if "gamma1" not in D.shared]
    known += [f"gamma2[{x}]" for x in D.labels("covariate") if "gamma2" not in D.shared]
    if spec.order not in known:
        raise SpecError(f"order={spec.order!r} is not a parameter of every class of its own.{near(spec.order, known)}")
