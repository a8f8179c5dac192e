"""The data side of RandomSlope: roles to labelled arrays, and the checks that belong to this model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.categories import ordered
from bayeshte.errors import DataError, SpecError, near
from bayeshte.families.random_slope_arrays import STORED, Arrays
from bayeshte.marginal.glmm_outcomes import ORDERED

#: family: how its outcome is read
OUTCOMES = {
    "gaussian": lambda frame, name: columns.numeric(frame, name, "outcome"),
    "student": lambda frame, name: columns.numeric(frame, name, "outcome"),
    "skew normal": lambda frame, name: columns.numeric(frame, name, "outcome"),
    "logit": columns.binary,
    "probit": columns.binary,
    "poisson": columns.counts,
    "negative binomial": columns.counts,
}
#: names that the model uses
VARIABLES = (*STORED, "y", "X", "M", "arm_code", "cluster_code", "se", "_z", "_corr_factor")


def check_spec(spec) -> None:
    """What can be refused without seeing data."""
    _check_types(spec)
    known = (*OUTCOMES, *ORDERED)
    if spec.family not in known:
        raise SpecError(f"family={spec.family!r} is not known.{near(spec.family, known)}")
    if spec.weights is not None:
        raise SpecError(
            "Weighted designs are not supported: a weighted likelihood is not a posterior. Put the variables that the "
            "weights depend on into covariates, and average effects over the population with bh.cate or bh.subgroups."
        )
    if not (spec.cluster is None or isinstance(spec.cluster, str)):
        raise SpecError(
            f"cluster={spec.cluster!r}: three-level and crossed designs are not supported. Use the level at which "
            "effects are to vary as cluster, and put the other factor into covariates as C(name)."
        )
    if spec.cluster and any(sign in spec.cluster for sign in "/:|*"):
        raise SpecError(
            f"cluster={spec.cluster!r}: name one column. Three-level (a/b) and crossed (a:b) designs are not supported; "
            "put the other factor into covariates as C(name)."
        )
    roles = {"outcome": spec.outcome, "treatment": spec.treatment, "cluster": spec.cluster}
    taken = VARIABLES if spec.treatment is None else (*VARIABLES, f"{spec.treatment}_arm")
    columns.check_names({k: v for k, v in roles.items() if k != "outcome"}, taken)
    named = [v for v in [*roles.values(), spec.standard_error] if v]
    if len(set(named)) < len(named):
        raise SpecError(f"One column has two roles: {roles}.")
    if spec.treatment is None and (spec.moderators or spec.reference is not None or spec.sigma_by_arm):
        raise SpecError("moderators, reference and sigma_by_arm describe a treatment: name its column with treatment=.")
    if spec.cluster is None and (spec.slopes or spec.within_between or spec.varying not in ("all", ())):
        raise SpecError("varying, slopes and within_between describe clusters: name their column with cluster=.")
    if spec.sigma_by_arm and spec.family != "gaussian":
        raise SpecError(f"sigma_by_arm needs family='gaussian', not {spec.family!r}.")
    if spec.standard_error and (spec.family != "gaussian" or spec.sigma_by_arm):
        raise SpecError(
            "standard_error gives the residual SD of every row: it needs family='gaussian' and no sigma_by_arm."
        )


def _check_types(spec) -> None:
    for name in ("outcome", "treatment", "standard_error"):
        value = getattr(spec, name)
        if not (isinstance(value, str) and value) and not (value is None and name != "outcome"):
            raise SpecError(
                f"{name}={value!r}: the name of one column, as text (data.rename(columns=str) if it is a number)."
            )
    for name in ("covariates", "moderators", "slopes"):
        if not isinstance(getattr(spec, name), str):
            raise SpecError(f"{name}={getattr(spec, name)!r}: a formula as text, such as 'age + C(site)'.")
    for name in ("varying", "within_between"):
        value = getattr(spec, name)
        names = (value,) if name == "varying" and isinstance(value, str) else value
        if not (isinstance(names, tuple | list) and all(isinstance(v, str) for v in names)):
            raise SpecError(f"{name}={value!r}: names in a tuple, such as {name}=('a', 'b') or {name}=('a',).")
    for name in ("intercept_varies", "sigma_by_arm"):
        if not isinstance(getattr(spec, name), bool):
            raise SpecError(f"{name}={getattr(spec, name)!r}: write True or False.")
    if not isinstance(spec.priors, str | Mapping):
        raise SpecError(f"priors={spec.priors!r}: write 'default', 'mplus' or a mapping of labels to priors.")


def build(spec, data: pd.DataFrame) -> xr.Dataset:
    """The design of a `RandomSlope`: see `Arrays` for what is in it."""
    frame, missing = _analysed(spec, data)
    coords: dict = {"row": columns.row_labels(frame.index)}
    categories, unused = [], []
    if spec.family in ORDERED:
        y, categories, unused = ordered(frame, spec.outcome)
        coords["inner_category"] = categories[1:-1]
    else:
        y = OUTCOMES[spec.family](frame, spec.outcome)
    variables: dict = {"y": ("row", y)}
    arms, code, clusters = [""], np.zeros(len(frame), np.int64), []
    if spec.treatment:
        code, arms = columns.code_arms(frame[spec.treatment], spec.reference)
        coords[spec.treatment] = arms[1:]
        coords[f"{spec.treatment}_arm"] = arms
    variables["arm_code"] = ("row", code)
    cluster = np.zeros(len(frame), np.int64)
    if spec.cluster:
        cluster, clusters = columns.code_clusters(frame[spec.cluster], one_row_each=spec.standard_error is not None)
        coords[spec.cluster] = clusters
    variables["cluster_code"] = ("row", cluster)
    if spec.standard_error:
        variables["se"] = ("row", _standard_errors(frame, spec.standard_error))

    for x in spec.within_between:
        frame = columns.within_between(frame, x, cluster)
    main, moderators, slopes = _terms(spec, frame)
    coords |= {"covariate": main.labels, "moderator": moderators.labels}
    variables |= {"X": (("row", "covariate"), main.matrix), "M": (("row", "moderator"), moderators.matrix)}
    varying = _varying(spec, arms[1:], slopes.labels) if spec.cluster else []
    coords |= {"varying": varying, "varying_": varying}
    attrs = {
        "family": spec.family,
        "outcome": spec.outcome,
        "treatment": spec.treatment or "",
        "reference": arms[0],
        "cluster": spec.cluster or "",
        "slopes": slopes.labels,
        "standard_error": spec.standard_error or "",
        "sigma_by_arm": int(spec.sigma_by_arm),
        "rows_given": len(data),
        "categories": categories,
        "unused_categories": unused,
        "missing": [f"{k}: {v}" for k, v in missing.items()],
        "data_hash": columns.fingerprint(frame),
    }
    design = xr.Dataset(variables | columns.raw_variables(frame), coords, attrs)
    arrays = Arrays(design)
    if arrays.X.shape[1] or arrays.n_contrasts:
        formulas.check_columns(arrays.full, arrays.full_terms)
    if arrays.sigmas:
        _check_spread(spec, arrays)
    if spec.cluster and spec.treatment:
        _check_arms_in_clusters(arrays, varying)
    return design


def _analysed(spec, data: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The columns of the model in the rows that are analysed, and how many values each column lacked."""
    roles = [spec.outcome, spec.treatment, spec.cluster, spec.standard_error]
    named = [c for c in roles if c]
    columns.check_frame(data, [*named, *spec.within_between])
    split = split_columns(spec)
    taken = [c for c in split if c in data]
    if taken:
        raise DataError(f"within_between makes columns {split}, but the data have {taken} already: rename those.")
    known = data.assign(**dict.fromkeys(split, 0.0))
    given = [spec.covariates, spec.moderators, spec.slopes]
    used = [c for f in given for c in formulas.formula_columns(f, known) if c not in split]
    _check_formulas(spec, [*used, *spec.within_between])
    frame, missing = columns.complete_rows(data, [*named, *used, *spec.within_between], spec.missing)
    for formula in given:
        formulas.check_formula(formula, frame.assign(**dict.fromkeys(split, np.arange(len(frame)))))
    return frame, missing


def _terms(spec, frame: pd.DataFrame) -> tuple[formulas.Terms, formulas.Terms, formulas.Terms]:
    """All terms, and those of the moderators and of the random slopes, which are among them."""
    main = formulas.Terms(main_formula(spec), frame)
    moderators, slopes = formulas.Terms(spec.moderators, frame), formulas.Terms(spec.slopes, frame)
    for terms in (moderators, slopes):
        absent = [t for t in terms.labels if t not in main.labels]
        if absent:
            raise SpecError(
                f"Terms {absent} of {terms.formula!r} are coded differently in the covariates (two splines of one "
                "variable, a factor with and without its reference level); write them alike."
            )
    return main, moderators, slopes


def split_columns(spec) -> list[str]:
    """The columns that `within_between` makes."""
    return [f"{x}_{part}" for x in spec.within_between for part in ("within", "between")]


def main_formula(spec) -> str:
    """All terms of X: split covariates, covariates, moderators, slopes."""
    parts = [*map(formulas.quoted, split_columns(spec)), spec.covariates, spec.moderators, spec.slopes]
    return " + ".join(part for part in parts if part.strip())


def _check_formulas(spec, used) -> None:
    for column, role in ((spec.treatment, "treatment"), (spec.outcome, "outcome")):
        if column in used:
            what = "moderators= multiplies its terms by the arms" if role == "treatment" else "it cannot explain itself"
            raise SpecError(f"The {role} {column!r} is in a formula: {what}; take it out.")
    if spec.cluster in used and spec.intercept_varies:
        raise SpecError(
            f"The cluster {spec.cluster!r} is in a formula and has a random intercept: take it out of the formula, or write "
            "intercept_varies=False for fixed cluster intercepts."
        )
    for column in {"chain", "draw"} & {*used}:
        raise SpecError(f"{column!r} is a dimension of the results and cannot be in a formula: rename the column.")


def _check_spread(spec, arrays: Arrays) -> None:
    """A residual SD needs residuals: beside the columns of the model, within clusters, and within arms that have their own."""
    y = arrays.y
    formulas.check_residual(arrays.full, y, spec.outcome)
    means = np.bincount(arrays.code, y) / np.bincount(arrays.code)
    if "intercept" in arrays.varying and np.ptp(y - means[arrays.code]) <= 1e-9 * np.ptp(y):
        raise DataError(
            f"The outcome {spec.outcome!r} is constant within every cluster of {spec.cluster!r}: it belongs to clusters. "
            "Analyse one row a cluster, without cluster=."
        )
    for k, arm in enumerate(arrays.labels(arrays.arms) if spec.sigma_by_arm else []):
        if np.ptp(y[arrays.arm == k]) == 0:
            raise DataError(
                f"The outcome {spec.outcome!r} is constant in arm {arm!r}: it has no SD. Drop sigma_by_arm."
            )


def _standard_errors(frame, column) -> np.ndarray:
    values = columns.floats(frame, column, "standard error")
    bad = values <= 0
    if bad.any():
        raise DataError(
            f"The standard error {column!r} must be positive; {bad.sum()} are not, the first in row "
            f"{columns.first(frame, bad)}."
        )
    return values


def _varying(spec, contrasts: list[str], slopes: list[str]) -> list[str]:
    """Labels of the random effects: intercept, arms, slopes."""
    if spec.varying == "all":
        arms = contrasts
    else:
        arms = [spec.varying] if isinstance(spec.varying, str) else list(spec.varying)
        for arm in arms:
            if arm not in contrasts:
                raise SpecError(f"varying={arm!r} is not an arm with an effect.{near(arm, contrasts)}")
    out = (["intercept"] if spec.intercept_varies else []) + [a for a in contrasts if a in arms] + slopes
    if len(set(out)) < len(out):
        raise SpecError(f"Random effects need different names, got {out}: rename an arm or a slope.")
    return out


def _check_arms_in_clusters(arrays: Arrays, varying: list[str]) -> None:
    """An effect that varies across clusters needs clusters in which it can be seen."""
    table = arrays.arm_counts > 0
    several = table.sum(1) > 1
    for k, arm in enumerate(arrays.contrasts, start=1):
        if arm in varying and "intercept" in varying and not (several & table[:, k]).any():
            name = arrays.design.attrs["treatment"]
            raise SpecError(
                f"No cluster has persons in {arm!r} and in another arm of {name!r}: the SD of its effect and its "
                "correlation would be their priors. Whole clusters were assigned: write varying=() to estimate the "
                "average effect with a random intercept."
            )
