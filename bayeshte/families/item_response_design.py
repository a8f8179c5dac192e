"""The data side of ItemResponse: one row a response, roles to labelled arrays, and the checks that belong to this model."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.errors import DataError, SpecError, near
from bayeshte.families import item_response_occasions as occasions
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.families.item_response_categories import categories
from bayeshte.families.item_response_names import BINARY, INTERCEPT, MODELS, STORED

#: names that the model uses
VARIABLES = (
    *(
        *STORED,
        "u",
        "y",
        "X",
        "M",
        "W",
        "arm_code",
        "cluster_code",
        "item_code",
        "person_cluster_code",
        "n_categories",
        "log_a",
        "step",
        "threshold_step",
        "category",
        "threshold",
        "_eps",
        "_z",
        "_v",
        "_d",
        "occasion_code",
        "person_arm_code",
    ),
    *("_corr_factor", "_cluster_factor", "_ability_factor", "item_covariate", "cluster_varying", "cluster_varying_"),
)


def check_spec(spec) -> None:
    """What can be refused without seeing data."""
    roles = {"person": spec.person, "item": spec.item, "response": spec.response, "treatment": spec.treatment}
    if spec.cluster is not None:
        roles["cluster"] = spec.cluster
    if spec.occasion is not None:
        roles["occasion"] = spec.occasion
    for role, column in roles.items():
        if not isinstance(column, str) or not column:
            raise SpecError(f"{role}={column!r}: name one column of the data.")
    if len(set(roles.values())) < len(roles):
        raise SpecError(f"One column has two roles: {roles}.")
    dims = {k: v for k, v in roles.items() if k != "response"}
    columns.check_names(dims, (*VARIABLES, f"{spec.treatment}_arm"))
    for name in ("covariates", "moderators", "item_covariates"):
        if not isinstance(getattr(spec, name), str):
            raise SpecError(f"{name}={getattr(spec, name)!r}: a formula as text, such as 'pretest + C(site)'.")
    for name in ("item_effects", "sigma_by_arm"):
        if not isinstance(getattr(spec, name), bool):
            raise SpecError(f"{name}={getattr(spec, name)!r}: True or False.")
    if spec.items not in ("random", "fixed"):
        raise SpecError(f"items={spec.items!r}: write 'random' (a draw from a population of items) or 'fixed'.")
    if spec.items == "fixed" and spec.item_covariates.strip():
        raise SpecError(
            "item_covariates explain how random items differ; fixed items have an easiness each, and nothing is left to explain. "
            "Write items='random'."
        )
    if spec.model not in MODELS:
        raise SpecError(f"model={spec.model!r}: write one of {', '.join(map(repr, MODELS))}.{near(spec.model, MODELS)}")
    if spec.link not in ("logit", "probit"):
        raise SpecError(f"link={spec.link!r}: write 'logit' or 'probit'.")
    if spec.link == "probit" and "partial credit" in spec.model:
        raise SpecError(
            f"{spec.model!r} is a model of log odds of neighbouring categories: link='probit' belongs to 'graded'."
        )
    if spec.reference is not None and not isinstance(spec.reference, str):
        raise SpecError(f"reference={spec.reference!r}: the label of an arm, as text.")
    if not isinstance(spec.priors, str | Mapping):
        raise SpecError(f"priors={spec.priors!r}: write 'default' or a mapping of labels to priors.")
    if spec.occasion is not None and (spec.items == "fixed" or spec.sigma_by_arm):
        option = "items='fixed'" if spec.items == "fixed" else "sigma_by_arm=True"
        raise SpecError(f"{option} is not available for two occasions ({spec.occasion!r}): leave it out.")
    _check_varying(spec)


def _check_varying(spec) -> None:
    names = (spec.varying,) if isinstance(spec.varying, str) else spec.varying
    if not (isinstance(names, tuple | list) and all(isinstance(v, str) for v in names)):
        raise SpecError(f"varying={spec.varying!r}: arms in a tuple, such as varying=('a', 'b') or varying=('a',).")
    if spec.cluster is None and spec.varying not in ("all", ()):
        raise SpecError("varying describes clusters of persons: name their column with cluster=.")


def build(spec, data: pd.DataFrame) -> xr.Dataset:
    """The design of an `ItemResponse`: see `Arrays` for what is in it."""
    frame, missing = _analysed(spec, data)
    y = None if spec.model not in BINARY else _binary(frame, spec.response)
    person, persons = _units(frame, spec.person, "persons")
    item, items = _units(frame, spec.item, "items")
    occasion, times = occasions.read(spec, frame)
    _check_pairs(spec, frame, person * len(times) + occasion, item, np.repeat(persons, len(times)), items)
    n_categories = np.full(len(items), 2)
    names, closed = [], []
    if y is None:
        y, names, closed = categories(frame, spec, item, items)
        n_categories = np.array([len(v) for v in names])
    arm, arms = columns.code_arms(frame[spec.treatment], spec.reference)
    person_arm = arm[np.unique(person, return_index=True)[1]]
    if spec.occasion:
        arm, person_arm = occasions.arms(spec, arm, person, occasion, times, persons, arms)
    of_items = formulas.formula_columns(spec.item_covariates, frame)
    of_rows = {spec.item, spec.response, *of_items} | ({spec.treatment, spec.occasion} if spec.occasion else set())
    _check_constant(frame, spec, person, persons, [c for c in frame if c not in of_rows])
    _check_constant(frame, spec, item, items, of_items, spec.item)
    first = np.unique(person, return_index=True)[1]
    main, moderators = _terms(spec, frame.iloc[first])
    W = _terms_of_items(spec, frame.iloc[np.unique(item, return_index=True)[1]])
    variables: dict = {
        "y": ("row", y),
        "arm_code": ("row", arm),
        "cluster_code": ("row", person),
        "item_code": ("row", item),
        "X": (("row", "covariate"), main.matrix[person]),
        "M": (("row", "moderator"), moderators.matrix[person]),
        "W": ((spec.item, "item_covariate"), W.matrix),
        "n_categories": (spec.item, n_categories),
    }
    varying = [INTERCEPT, *arms[1:]] if spec.item_effects else [INTERCEPT]
    coords: dict = {"row": columns.row_labels(frame.index), spec.person: persons, spec.item: items}
    coords |= {spec.treatment: arms[1:], f"{spec.treatment}_arm": arms, "varying": varying, "varying_": varying}
    coords |= {"covariate": main.labels, "moderator": moderators.labels, "item_covariate": W.labels}
    coords |= _of_categories(items, names)
    clusters_vary: list[str] = []
    if spec.cluster:
        code, coords[spec.cluster] = columns.code_clusters(frame[spec.cluster], one_row_each=True)
        variables["person_cluster_code"] = ("row", code)
        clusters_vary = _varying(spec, arms[1:])
    if spec.occasion:
        variables |= {"occasion_code": ("row", occasion), "person_arm_code": (spec.person, person_arm)}
        coords[spec.occasion] = times
    coords |= {"cluster_varying": clusters_vary, "cluster_varying_": clusters_vary}
    attrs = _roles(spec, arms[0]) | {
        "closed_up": closed,
        "untreated_after": int(spec.occasion is not None and (person_arm[person[occasion == 1]] == 0).any()),
        "rows_given": len(data),
        "missing": [f"{k}: {v}" for k, v in missing.items()],
        "data_hash": columns.fingerprint(frame),
    }
    design = xr.Dataset(variables | columns.raw_variables(frame), coords, attrs)
    arrays = Arrays(design)
    formulas.check_columns(arrays.full[arrays.seen], arrays.full_terms)
    _check_items(spec, arrays)
    if spec.occasion:
        occasions.check(spec, arrays)
    if spec.cluster:
        _check_clusters(spec, arrays)
    return design


def _roles(spec, reference: str) -> dict[str, str | int]:
    """The attributes of a design that say which model it is of, and what its columns are there for."""
    return {
        "family": spec.link if spec.model in BINARY else "ordinal",
        "model": spec.model,
        "link": spec.link,
        "outcome": spec.response,
        "treatment": spec.treatment,
        "reference": reference,
        "cluster": spec.person,
        "item": spec.item,
        "items": spec.items,
        "person_cluster": spec.cluster or "",
        "sigma_by_arm": int(spec.sigma_by_arm),
        "occasion": spec.occasion or "",
    }


def _of_categories(items: list[str], names: list[list[str]]) -> dict[str, list[str]]:
    """Labels of categories and thresholds, from those of the categories of each item."""
    steps = [(i, k) for i, v in zip(items, names, strict=False) for k in range(len(v) - 2)]
    out = {"threshold_step": [f"{i}: {k + 1}" for i, k in steps], "category": [v for own in names for v in own]}
    if steps:
        cuts = [(i, *pair) for i, v in zip(items, names, strict=True) for pair in pairwise(v)]
        out["threshold"] = [f"{i}: {low}|{high}" for i, low, high in cuts]
    return out


def main_formula(spec) -> str:
    """All terms of X: covariates and moderators."""
    return " + ".join(part for part in (spec.covariates, spec.moderators) if part.strip())


def _analysed(spec, data: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The columns of the model in the rows that have a response, and how many responses are missing.

    Other missing values are refused: a person without a covariate has no place in the model.
    """
    roles = [v for v in (spec.person, spec.item, spec.response, spec.treatment, spec.cluster, spec.occasion) if v]
    columns.check_frame(data, roles)
    used = [c for f in (spec.covariates, spec.moderators) for c in formulas.formula_columns(f, data)]
    of_items = formulas.formula_columns(spec.item_covariates, data)
    taken = [c for c in [*used, *of_items] if c in roles]
    if taken:
        raise SpecError(
            f"{taken[0]!r} is in a formula and has a role of its own: covariates and moderators describe persons, "
            "item covariates items, and moderators are multiplied by the treatment as they are."
        )
    both = [c for c in used if c in of_items]
    if both:
        raise SpecError(f"{both[0]!r} is a covariate of persons and one of items: it can describe one of the two only.")
    used += of_items
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
            f"for example data[{column!r}] == {max(levels, key=str)!r}; write missing answers as NaN. For items with ordered "
            "categories write model='graded' or model='partial credit'."
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
        keys, on = [spec.person, spec.item, spec.occasion], f" on an occasion of {spec.occasion!r}"
        on, hint = (on, "") if spec.occasion else ("", " Answers before and after: name their column with occasion=.")
        raise DataError(
            f"{again.sum()} rows repeat a pair of {spec.person!r} and {spec.item!r}{on}, the first is row "
            f"{columns.first(frame, again)} ({persons[person[k]]}, {items[item[k]]}). A person answers an item once{on}: keep "
            f"one row of each, for example data.drop_duplicates({[v for v in keys if v]}).{hint}"
        )


def _check_constant(
    frame: pd.DataFrame, spec, code: np.ndarray, labels: list[str], given: list[str], of: str | None = None
) -> None:
    """Refuse columns `given` that vary within a person, or within an item."""
    what, of = ("persons", spec.person) if of is None else ("items", of)
    first = np.unique(code, return_index=True)[1][code]
    for column in [c for c in given if c != of]:
        values = columns.factorize(frame[column])[0]
        varies = np.unique(code[values != values[first]])
        if len(varies) == 0:
            continue
        name, advice = (
            f"Column {column!r} of the formulas",
            "covariates and moderators belong to persons, item_covariates to items",
        )
        if column == spec.treatment:
            name = f"The treatment {column!r}"
            advice = (
                "arms belong to persons; with answers before and after, name the column of occasions with occasion="
            )
        elif column == spec.cluster:
            name, advice = (
                f"The cluster {column!r}",
                "a person belongs to one cluster; crossed clusters are not available",
            )
        shown = ", ".join(repr(labels[v]) for v in varies[:3])
        raise DataError(
            f"{name} varies within {len(varies)} of {len(labels)} {what} of {of!r}, such as {shown}: {advice}."
        )


def _varying(spec, contrasts: list[str]) -> list[str]:
    """Labels of the effects of a cluster: intercept, arms."""
    arms = (
        contrasts if spec.varying == "all" else [spec.varying] if isinstance(spec.varying, str) else list(spec.varying)
    )
    for arm in arms:
        if arm not in contrasts:
            raise SpecError(f"varying={arm!r} is not an arm with an effect.{near(arm, contrasts)}")
    return [INTERCEPT, *(a for a in contrasts if a in arms)]


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


def _terms_of_items(spec, frame: pd.DataFrame) -> formulas.Terms:
    formulas.check_formula(spec.item_covariates, frame)
    return formulas.Terms(spec.item_covariates, frame)


def _check_items(spec, D: Arrays) -> None:
    """An effect that varies over items needs items that were seen in both arms; item covariates need more items than terms."""
    seen = [np.bincount(D.item_code[k == D.arm], minlength=D.n_items) > 0 for k in range(len(D.arms))]
    for k, arm in enumerate(D.contrasts, start=1):
        both = int((seen[0] & seen[k]).sum())
        where = (
            f"both arms of {spec.treatment!r}"
            if D.n_contrasts == 1
            else f"{arm!r} and {D.arms[0]!r} of {spec.treatment!r}"
        )
        if spec.item_effects and both < 2:
            raise DataError(
                f"{both} of {D.n_items} items of {spec.item!r} were answered in {where}: how the effect varies over items cannot "
                "be estimated. Write item_effects=False, or check the labels of the items."
            )
        if both == 0:
            raise DataError(f"No item of {spec.item!r} was answered in {where}: check the labels.")
    terms = D.labels("item_covariate")
    if not terms:
        return
    if len(terms) + 2 > D.n_items:
        raise DataError(
            f"{len(terms)} terms of item_covariates need more than {len(terms) + 1} items, there are {D.n_items}: leave some out."
        )
    formulas.check_columns(np.column_stack([np.ones(D.n_items), D.W]), [INTERCEPT, *terms])


def _check_clusters(spec, D: Arrays) -> None:
    """An effect that varies across clusters needs clusters in which it can be seen."""
    if D.n_clusters == D.n_persons:
        raise DataError(
            f"Every person of {spec.person!r} is a cluster of its own in {spec.cluster!r} ({D.n_persons}): between and within "
            "clusters cannot be told apart. Leave cluster out."
        )
    K = len(D.arms)
    table = np.bincount(D.person_cluster * K + D.person_arm, minlength=D.n_clusters * K).reshape(-1, K) > 0
    for k, arm in enumerate(D.contrasts, start=1):
        if arm in D.cluster_varying and not ((table.sum(1) > 1) & table[:, k]).any():
            raise SpecError(
                f"No cluster of {spec.cluster!r} has persons in {arm!r} and in another arm of {spec.treatment!r}: the SD of its "
                "effect and its correlation would be their priors. Whole clusters were assigned: write varying=() to estimate "
                "the average effect with a random intercept."
            )
