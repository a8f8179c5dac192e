"""Classic mistakes in inputs: what runs, and is probably not what was meant."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayeshte.families import SEM
from bayeshte.mplus.settings import Settings

CODES = (-9, -99, -999, -9999, 99, 999, 9999)  # what often stands for a missing value


def of_model(spec: SEM) -> Iterator[str]:
    """Products of average slopes without their covariance; factors whose scale is fixed twice."""
    rows = spec.table.rows
    means = {r.label: r.lhs for r in rows if r.op == "~1" and r.lhs in spec.table.slopes and r.label}
    covariances = {frozenset((r.lhs, r.rhs)): r.label for r in rows if r.op == "~~" and r.lhs != r.rhs}
    for name, expression in spec.table.derived:
        used = [v for v in expression.names if v in means]
        multiplied = any(step == ("binary", "*") for step in expression.program)
        for k, one in enumerate(used if multiplied else ()):
            for other in used[k + 1 :]:
                a, b = means[one], means[other]
                label = covariances.get(frozenset((a, b)), "")
                if label not in expression.names or not label:
                    yield (
                        f"{name} = {expression} multiplies the means of the random slopes {a} and {b}; the average of "
                        f"their product has their covariance as well: write {a} WITH {b} (cov); {name} = {expression} + cov."
                    )
    for level in spec.table.levels:
        for factor in spec.table.factors(level):
            fixed = [r.rhs for r in spec.table.at(level) if r.op == "=~" and r.lhs == factor and r.fixed]
            if fixed and spec.structure.sd(level, factor).fixed and factor not in spec.table.endogenous(level):
                yield (
                    f"{factor} has its variance and its loading on {fixed[0]} fixed: one of them sets its scale; free the "
                    f"loading with {factor} BY {fixed[0]}*."
                )


def of_data(frame: pd.DataFrame, settings: Settings) -> Iterator[str]:
    """Values that look like codes for missing ones; variables centred in clusters that the model splits in two."""
    for v in [v for v in settings.use if v != settings.cluster]:
        x = frame[v].dropna().to_numpy(float)
        for code in CODES:
            others = x[x != code]
            n = len(x) - len(others)
            if n and len(others) and abs(code - others.mean()) > 6 * max(others.std(), 1e-12):
                yield (
                    f"data: {v} is {code} in {n} of {len(x)} rows, far from all others: if it is a code, write "
                    f"MISSING = {v} ({code})."
                )
                break
    both = [v for v in settings.use if v not in (*settings.within, *settings.between, settings.cluster)]
    for v in both if settings.cluster else ():
        means = frame[v].groupby(frame[settings.cluster].to_numpy()).mean()
        if np.abs(means).max() < 1e-6 * max(frame[v].std(), 1e-12):
            yield (
                f"data: {v} is centred at its cluster means, so it has no part between clusters, but the model gives it one: "
                f"declare WITHIN = {v}."
            )
