"""Two occasions of an ItemResponse, before and after: their column, arms as conditions, and the checks that belong to them."""

import numpy as np
import pandas as pd

from bayeshte.categories import positions
from bayeshte.errors import DataError
from bayeshte.families.item_response_arrays import Arrays

LEAST = 2  # persons seen twice, and items answered twice


def read(spec, frame: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Occasion of each row, 0 before and 1 after, and their labels; a single one if the specification has none."""
    if not spec.occasion:
        return np.zeros(len(frame), np.int64), [""]
    position, labels = positions(frame, spec.occasion, "occasion")
    used, code = np.unique(position, return_inverse=True)
    if len(used) != 2:
        shown = ", ".join(f"{labels[k]!r}" for k in used[:5])
        raise DataError(
            f"The occasions {spec.occasion!r} are {len(used)} ({shown}{', ...' if len(used) > 5 else ''}); the model has two, "
            "before and after. " + ("Leave occasion out." if len(used) < 2 else "Keep the rows of two of them.")
        )
    return code, [labels[k] for k in used]


def arms(spec, arm, person, occasion, labels, persons: list[str], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The arm as the condition of each row, the reference before, and the arm of each person after.

    The column may hold the arm that a person was assigned to, on both occasions, or the condition on each. A person who was not
    seen after has the arm of all others if there is one only, else that before.
    """
    first = np.zeros(len(persons), np.int64)
    first[person[::-1]] = arm[::-1]
    treated = (occasion == 0) & (arm > 0)
    varies = np.unique(person[arm != first[person]])
    if treated.any() and len(varies):
        raise DataError(
            f"The treatment {spec.treatment!r} varies within {len(varies)} of {len(persons)} persons of {spec.person!r}, and "
            f"{len(np.unique(person[treated]))} are treated on the occasion before ({labels[0]!r}), such as "
            f"{persons[person[np.argmax(treated)]]!r}. Nobody is treated before: write there the reference {names[0]!r}, or on "
            "both occasions the arm that the person was assigned to. Crossover trials are not available."
        )
    after = np.unique(arm[occasion == 1])
    of_person = np.full(len(persons), after[0]) if len(after) == 1 else first.copy()
    of_person[person[occasion == 1]] = arm[occasion == 1]
    within = pd.DataFrame({"person": person, "arm": arm})[occasion == 1].groupby("person")["arm"].nunique()
    if (within > 1).any():
        k = int(within.index[np.argmax(within.to_numpy() > 1)])
        raise DataError(
            f"{(within > 1).sum()} of {len(persons)} persons of {spec.person!r} are in several arms of {spec.treatment!r} on the "
            f"occasion after ({labels[1]!r}), such as {persons[k]!r}: a person has one arm after."
        )
    return np.where(occasion == 1, arm, 0), of_person


def check(spec, D: Arrays) -> None:
    """The correlation of abilities needs persons seen twice; change, and effects of single items, items answered twice."""
    both = int((np.bincount(D.seen // 2, minlength=D.n_persons) == 2).sum())
    before, after = D.labels(spec.occasion)
    if both < LEAST:
        raise DataError(
            f"{both} of {D.n_persons} persons of {spec.person!r} answered on both occasions ({before!r}, {after!r} of "
            f"{spec.occasion!r}): how abilities before and after go together cannot be estimated. Leave occasion out, or check "
            "the labels of persons."
        )
    later = D.design["occasion_code"].to_numpy() == 1
    seen = [np.bincount(D.item_code[own], minlength=D.n_items) > 0 for own in (~later, later)]
    twice = int((seen[0] & seen[1]).sum())
    if twice < LEAST:
        raise DataError(
            f"{twice} of {D.n_items} items of {spec.item!r} were answered both before and after ({before!r}, {after!r} of "
            f"{spec.occasion!r}): change of persons and of items cannot be told apart. The tests need common items."
        )
