"""Draws of a structural equation model: from the kernel's order to names, to rows of the table, to derived quantities."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.families.sem_categorical import as_thresholds, as_widths
from bayeshte.families.sem_structure import VARIABLES, Structure
from bayeshte.model_text import Row
from bayeshte.summary import COLUMNS, rows, table


def stacked(structure: Structure, posterior: xr.Dataset) -> np.ndarray:
    """Draws in the order of the matrices, chains stacked: (draw, scalars + correlations)."""
    columns = {}
    for variable in VARIABLES:
        if variable in posterior:
            x = posterior[variable].transpose("chain", "draw", f"{variable}s").to_numpy()
            columns |= dict(
                zip(((variable, e) for e in structure.elements(variable)), x.reshape(-1, x.shape[-1]).T, strict=True)
            )
    order = sorted(structure.position, key=structure.position.get)
    out = np.stack([columns[k] for k in order], axis=1)
    as_widths(structure, out)
    return out


def named(structure: Structure, draws: xr.Dataset) -> xr.Dataset:
    """What the kernel stores under the names of the parameters; SDs that were sampled with a sign made positive."""
    x = np.concatenate(
        [draws[v].transpose("chain", "draw", ...).to_numpy() for v in ("_scalars", "_correlations")], axis=-1
    )
    sign = np.sign(x)
    for row in structure.table.rows:
        if row.fixed is None and structure.variable(row) == "corr":
            own = [structure.sd(row.level, v) for v in (row.lhs, row.rhs)]
            for r in own:
                if r.fixed is None:
                    x[..., structure.place(row) - 1] *= sign[..., structure.place(r) - 1]
    as_thresholds(structure, x)
    out = {}
    for variable in VARIABLES:
        labels = structure.elements(variable)
        if labels:
            values = x[..., [structure.position[variable, e] - 1 for e in labels]]
            out[variable] = (("chain", "draw", f"{variable}s"), np.abs(values) if variable == "sd" else values)
    coords = {"chain": draws["chain"], "draw": draws["draw"]} | {f"{v}s": structure.elements(v) for v in out}
    return xr.Dataset(out, coords)


def row_draws(structure: Structure, posterior: xr.Dataset, row: Row) -> xr.DataArray | float:
    """Draws of a row of the table as it is written: variances and covariances, not SDs and correlations."""
    if row.fixed is not None:
        return row.fixed
    variable = structure.variable(row)
    element = structure.label(row)
    values = posterior[variable].sel({f"{variable}s": element}, drop=True)
    if variable == "sd":
        return values**2
    if variable == "corr":
        for v in (row.lhs, row.rhs):
            values = values * np.sqrt(row_draws(structure, posterior, structure.sd(row.level, v)))
    return values


def collapsed(
    structure: Structure, posterior: xr.Dataset, average: Callable[[xr.DataArray], xr.DataArray]
) -> xr.Dataset:
    """One draw at the averages over the draws, of variances and covariances instead of SDs and correlations."""
    out = {v: average(posterior[v]) for v in posterior.data_vars if v != "derived"}
    if "sd" in posterior:  # not where all variables are categorical
        out["sd"] = np.sqrt(average(posterior["sd"] ** 2))
    found = xr.Dataset(out).expand_dims(chain=[0], draw=[0]).copy(deep=True)
    for row in structure.table.rows:
        if row.fixed is None and row.op == "~~" and structure.variable(row) == "corr":
            spread = [row_draws(structure, found, structure.sd(row.level, v)) for v in (row.lhs, row.rhs)]
            value = average(row_draws(structure, posterior, row)) / np.sqrt(spread[0] * spread[1])
            found["corr"].loc[{"corrs": structure.label(row)}] = value
    return found


def derived(structure: Structure, posterior: xr.Dataset) -> xr.DataArray:
    """Derived quantities in every draw, (chain, draw, quantity)."""
    values = {label: row_draws(structure, posterior, row) for label, row in structure.table.labels.items()}
    for name, expression in structure.table.derived:
        values[name] = (
            expression({k: values[k] for k in expression.names}) + 0.0 * posterior["chain"] * posterior["draw"]
        )
    names = [name for name, _ in structure.table.derived]
    found = xr.concat([values[k].transpose("chain", "draw") for k in names], dim="quantity")
    found = found.assign_coords(quantity=names).transpose("chain", "draw", "quantity")
    return found.assign_attrs(computed=1)


def parameters(structure: Structure, posterior: xr.Dataset) -> list[tuple[str, str, xr.DataArray]]:
    """Label, label of the prior, and draws of every free number, correlations of blocks after the scalars."""
    out = [
        (
            p.key,
            structure.prior_key(p.variable, p.element),
            posterior[p.variable].sel({f"{p.variable}s": p.element}, drop=True),
        )
        for p in structure.parameters
    ]
    rows = {structure.label(r): r for r in structure.table.rows if r.kind == "covariance" and r.fixed is None}
    for element in structure.correlations:
        key = structure.prior_key("corr", element)
        if key == f"cov[{element}]":  # its prior is that of the covariance
            out.append((key, key, row_draws(structure, posterior, rows[element])))
        else:
            out.append((f"corr[{element}]", key, posterior["corr"].sel(corrs=element, drop=True)))
    return out


def correlations(structure: Structure, posterior: xr.Dataset) -> dict[str, np.ndarray]:
    """Matrices (chain, draw, q, q) of the blocks: correlations, or covariances where the prior is of those."""
    out, at = {}, iter(structure.correlations)
    for block in structure.blocks:
        q = len(block.variables)
        R = np.tile(np.eye(q), (posterior.sizes["chain"], posterior.sizes["draw"], 1, 1))
        for i in range(1, q):
            for j in range(i):
                values = posterior["corr"].sel(corrs=next(at)).transpose("chain", "draw").to_numpy()
                R[..., i, j] = R[..., j, i] = values
        if block.whole:
            labels = [structure.label(structure.sd(block.level, v)) for v in block.variables]
            sd = posterior["sd"].sel(sds=labels).transpose("chain", "draw", "sds").to_numpy()
            R = R * sd[..., :, None] * sd[..., None, :]
        out[block.key] = R
    return out


def header(structure: Structure, row: Row) -> str:
    """Under which heading a row is printed."""
    endogenous = {*structure.table.endogenous(row.level)}
    residual = "residual " if {row.lhs, row.rhs} & endogenous else ""
    match row.op:
        case "=~":
            return "loadings"
        case "~":
            return "paths"
        case "~1":
            return "intercepts" if row.lhs in endogenous else "means"
        case "|":
            return "thresholds"
        case _:
            return f"{residual}{'variances' if row.lhs == row.rhs else 'covariances'}"


def printed(structure: Structure) -> list[tuple[str, Row]]:
    """Rows of the table under their headings, a heading of a level once. A slope's mean and variance are rows between."""
    found = [(header(structure, row), row) for row in structure.table.rows if not row.slope]
    begin = list(dict.fromkeys((row.level, title) for title, row in found))
    return sorted(found, key=lambda pair: begin.index((pair[1].level, pair[0])))


def summary(structure: Structure, posterior: xr.Dataset, interval: str, level: float) -> pd.DataFrame:
    """The parameter table with estimates; fixed rows too, derived quantities last."""
    lines = []
    zero = xr.zeros_like(posterior["chain"] * posterior["draw"], dtype=float)
    for title, row in printed(structure):
        name = row.name.removeprefix(f"{row.level}: ")
        lines.append((row.level, title, row.label, name, row_draws(structure, posterior, row) + zero))
    out = table([(name, values) for *_, name, values in lines], interval, level)
    out.insert(0, "label", [line[2] for line in lines])
    out.insert(0, "header", [line[1] for line in lines])
    out.insert(0, "level", [line[0] for line in lines])
    if "derived" in posterior:
        more = rows(posterior["derived"], interval, level).assign(level="", header="derived", label="")
        more["parameter"] = posterior["quantity"].to_numpy()
        out = pd.concat([out, more], ignore_index=True)[["level", "header", "label", *COLUMNS]]
    return out if structure.two_level else out.drop(columns="level")
