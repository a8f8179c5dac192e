"""The data side of ItemResponse: one row a response, roles to labelled arrays, and the checks that belong to this model."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.errors import DataError, SpecError
from bayeshte.families.item_response_arrays import INTERCEPT, STORED, Arrays

#: names that the model uses
VARIABLES = (*STORED, "u", "y", "X", "M", "arm_code", "cluster_code", "item_code", "_eps", "_z", "_corr_factor")


def check_spec(spec) -> None:
    """What can be refused without seeing data."""
    roles = {"person": spec.person, "item": spec.item, "response": spec.response, "treatment": spec.treatment}
    for role, column in roles.items():
        if not isinstance(column, str) or not column:
            raise SpecError(f"{role}={column!r}: name one column of the data.")
    if len(set(roles.values())) < len(roles):
        raise SpecError(f"One column has two roles: {roles}.")
    dims = {k: v for k, v in roles.items() if k != "response"}
    columns.check_names(dims, (*VARIABLES, f"{spec.treatment}_arm"))
    for name in ("covariates", "moderators"):
        if not isinstance(getattr(spec, name), str):
            raise SpecError(f"{name}={getattr(spec, name)!r}: a formula as text, such as 'pretest + C(site)'.")
    if not isinstance(spec.item_effects, bool):
        raise SpecError(f"item_effects={spec.item_effects!r}: True or False.")
    if spec.model != "rasch":
        raise SpecError(f"model={spec.model!r}: only 'rasch' is available; discriminations of items are all one.")
    if spec.link != "logit":
        raise SpecError(f"link={spec.link!r}: only 'logit' is available.")
    if spec.reference is not None and not isinstance(spec.reference, str):
        raise SpecError(f"reference={spec.reference!r}: the label of an arm, as text.")
    if not isinstance(spec.priors, str | Mapping):
        raise SpecError(f"priors={spec.priors!r}: write 'default' or a mapping of labels to priors.")


def build(spec, data: pd.DataFrame) -> xr.Dataset:
    """The design of an `ItemResponse`: see `Arrays` for what is in it."""
    frame, missing = _analysed(spec, data)
    y = _binary(frame, spec.response)
    person, persons = _units(frame, spec.person, "persons")
    item, items = _units(frame, spec.item, "items")
    _check_pairs(spec, frame, person, item, persons, items)
    arm, arms = columns.code_arms(frame[spec.treatment], spec.reference)
    if len(arms) > 2:
        raise SpecError(
            f"The treatment {spec.treatment!r} has {len(arms)} arms ({', '.join(arms)}): item-level effects of two arms at a "
            "time are available. Select two, for example data[data[...].isin([...])]."
        )
    _check_persons(frame, spec, person, persons)
    first = np.unique(person, return_index=True)[1]
    main, moderators = _terms(spec, frame.iloc[first])
    varying = [INTERCEPT, arms[1]] if spec.item_effects else [INTERCEPT]
    design = xr.Dataset(
        {
            "y": ("row", y),
            "arm_code": ("row", arm),
            "cluster_code": ("row", person),
            "item_code": ("row", item),
            "X": (("row", "covariate"), main.matrix[person]),
            "M": (("row", "moderator"), moderators.matrix[person]),
            **columns.raw_variables(frame),
        },
        {
            "row": columns.row_labels(frame.index),
            spec.person: persons,
            spec.item: items,
            spec.treatment: arms[1:],
            f"{spec.treatment}_arm": arms,
            "covariate": main.labels,
            "moderator": moderators.labels,
            "varying": varying,
            "varying_": varying,
        },
        {
            "family": spec.link,
            "outcome": spec.response,
            "treatment": spec.treatment,
            "reference": arms[0],
            "cluster": spec.person,
            "item": spec.item,
            "rows_given": len(data),
            "missing": [f"{k}: {v}" for k, v in missing.items()],
            "data_hash": columns.fingerprint(frame),
        },
    )
    arrays = Arrays(design)
    formulas.check_columns(arrays.full, arrays.full_terms)
    _check_items(spec, arrays)
    return design


def main_formula(spec) -> str:
    """All terms of X: covariates and moderators."""
    return " + ".join(part for part in (spec.covariates, spec.moderators) if part.strip())


def _analysed(spec, data: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The columns of the model in the rows that have a response, and how many responses are missing.

    Other missing values are refused: a person without a covariate has no place in the model.
    """
    roles = [spec.person, spec.item, spec.response, spec.treatment]
    columns.check_frame(data, roles)
    used = [c for f in (spec.covariates, spec.moderators) for c in formulas.formula_columns(f, data)]
    taken = [c for c in used if c in roles]
    if taken:
        raise SpecError(
            f"{taken[0]!r} is in a formula and has a role of its own: covariates and moderators describe persons, and "
            "moderators are multiplied by the treatment as they are."
        )
    for column in {"chain", "draw"} & {*used}:
        raise SpecError(f"{column!r} is a dimension of the results and cannot be in a formula: rename the column.")
    answered = data[spec.response].notna().to_numpy()
    if not answered.any():
        raise DataError(f"The response {spec.response!r} is missing in all {len(data)} rows.")
    frame = data.loc[answered, list(dict.fromkeys([*roles, *used]))]
    frame, _ = columns.complete_rows(frame, [*roles, *used], "error")
    n = int((~answered).sum())
    return frame, {spec.response: n} if n else {}


def _binary(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Responses as 0 and 1."""
    codes, levels = columns.factorize(frame[column])
    other = [k for k, v in enumerate(levels) if not (isinstance(v, int | float) and v in (0, 1))]
    if other:
        n = np.bincount(codes, minlength=len(levels))
        shown = ", ".join(f"{levels[k]!r} in {n[k]}" for k in other[:4])
        raise DataError(
            f"The response {column!r} must be 0/1 or boolean; {n[other].sum()} of {len(codes)} rows are not: {shown}"
            f"{', ...' if len(other) > 4 else ''}, the first in row {columns.first(frame, np.isin(codes, other))}. Recode it, "
            f"for example data[{column!r}] == {max(levels, key=str)!r}; write missing answers as NaN. Items with ordered "
            "categories are not available: choose the category from which an answer counts."
        )
    if len(levels) == 1:
        raise DataError(f"The response {column!r} is constant ({levels[0]} in all {len(codes)} rows).")
    return np.array(levels, float)[codes]


def _units(frame: pd.DataFrame, column: str, what: str) -> tuple[np.ndarray, list[str]]:
    """Persons or items of the rows as codes, and their labels."""
    if frame[column].nunique() < 2:
        raise DataError(f"Column {column!r} names one of the {what} only: there is nothing to compare.")
    return columns.code_clusters(frame[column], one_row_each=True)


def _check_pairs(spec, frame: pd.DataFrame, person, item, persons, items) -> None:
    again = pd.DataFrame({"person": person, "item": item}).duplicated().to_numpy()
    if again.any():
        k = int(np.flatnonzero(again)[0])
        raise DataError(
            f"{again.sum()} rows repeat a pair of {spec.person!r} and {spec.item!r}, the first is row "
            f"{columns.first(frame, again)} ({persons[person[k]]}, {items[item[k]]}). A person answers an item once: keep one "
            f"row of each, for example data.drop_duplicates([{spec.person!r}, {spec.item!r}]). Repeated measurements are not "
            "available; with before and after, use the score before as a covariate."
        )


def _check_persons(frame: pd.DataFrame, spec, person: np.ndarray, persons: list[str]) -> None:
    """Refuse a treatment or a covariate that varies within a person."""
    roles = (spec.person, spec.item, spec.response)
    first = np.unique(person, return_index=True)[1][person]
    for column in [c for c in frame if c not in roles]:
        values = columns.factorize(frame[column])[0]
        varies = np.unique(person[values != values[first]])
        if len(varies) == 0:
            continue
        what = f"The treatment {column!r}" if column == spec.treatment else f"Column {column!r} of the formulas"
        advice = (
            "arms belong to persons; treatments that vary within a person are not available"
            if column == spec.treatment
            else "covariates and moderators belong to persons; item covariates are not available"
        )
        shown = ", ".join(repr(persons[v]) for v in varies[:3])
        raise DataError(
            f"{what} varies within {len(varies)} of {len(persons)} persons of {spec.person!r}, such as {shown}: {advice}."
        )


def _terms(spec, frame: pd.DataFrame) -> tuple[formulas.Terms, formulas.Terms]:
    """All terms of persons, and those of the moderators, which are among them."""
    for formula in (spec.covariates, spec.moderators):
        formulas.check_formula(formula, frame)
    main, moderators = formulas.Terms(main_formula(spec), frame), formulas.Terms(spec.moderators, frame)
    absent = [t for t in moderators.labels if t not in main.labels]
    if absent:
        raise SpecError(
            f"Terms {absent} of {moderators.formula!r} are coded differently in the covariates (two splines of one variable, "
            "a factor with and without its reference level); write them alike."
        )
    return main, moderators


def _check_items(spec, D: Arrays) -> None:
    """An effect that varies over items needs items that were seen in both arms."""
    seen = [np.bincount(D.item_code[t == D.T], minlength=D.n_items) > 0 for t in (0, 1)]
    both = int((seen[0] & seen[1]).sum())
    if spec.item_effects and both < 2:
        raise DataError(
            f"{both} of {D.n_items} items of {spec.item!r} were answered in both arms of {spec.treatment!r}: how the effect "
            "varies over items cannot be estimated. Write item_effects=False, or check the labels of the items."
        )
    if both == 0:
        raise DataError(f"No item of {spec.item!r} was answered in both arms of {spec.treatment!r}: check the labels.")
