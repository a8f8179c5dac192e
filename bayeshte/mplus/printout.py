"""The results as text of fixed width, for those who read Mplus at home: what was analysed, whether to trust it, the estimates."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

import numpy as np
import pandas as pd

from bayeshte.families.sem_blocks import Block
from bayeshte.families.sem_categorical import categories_of
from bayeshte.families.sem_structure import Structure
from bayeshte.fit import Fit
from bayeshte.model_text import Row
from bayeshte.mplus.output import Tables
from bayeshte.mplus.results import significant
from bayeshte.mplus.words import Words, lines
from bayeshte.prior import LKJ, Power, Prior, Uniform

WIDTH = 94
TITLES = (("", "Estimate"), ("Posterior", "S.D."), ("One-Tailed", "P-Value"), ("", "Lower 2.5%"), ("", "Upper 2.5%"))
HEADINGS = {"Within": "Within Level", "Between": "Between Level"}
#: what the within level of standardised results and of R-square is called with random slopes
AVERAGED = (
    "Within-Level Standardized Estimates Averaged Over Clusters",
    "Within-Level R-Square Averaged Across Clusters",
)


def printout(fit: Fit, tables: Tables, title: str = "", notes: Sequence[str] = ()) -> str:
    """The text of model.txt.

    Parameters
    ----------
    fit : Fit
        Of a `bayeshte.SEM`.
    tables : Tables
        Its tables, from `output.tables`.
    title : str
        That of the input.
    notes : sequence of str
        What was read otherwise than the input says, or ignored.
    """
    slopes, failed = bool(fit.spec.table.slopes), "" if fit.diagnosis.ok else "   *** NOT CONVERGED ***"
    within = AVERAGED if slopes else ("", "")
    parts = [
        [title] if title else [],
        _verdict(fit),
        _analysis(fit, tables),
        _notes(notes),
        _proportions(fit, tables.words),
        _fit_statistics(tables.fit),
        _results(f"MODEL RESULTS{failed}", tables.summary),
        _results(f"STANDARDIZED MODEL RESULTS (STDYX){failed}", tables.standardized, within[0]),
        _results(f"R-SQUARE{failed}", tables.rsquare, within[1]),
        _priors(fit, tables.words),
        _convergence(tables.summary),
    ]
    return "\n\n\n".join("\n".join(part) for part in map(list, parts) if part) + "\n"


def _verdict(fit: Fit) -> list[str]:
    text = wrap(fit.diagnosis.verdict, WIDTH)
    if fit.diagnosis.ok:
        return text
    rule = "*" * WIDTH
    return [rule, *text, "The numbers below do not describe the posterior. Do not report them.", rule]


def _notes(notes: Sequence[str]) -> list[str]:
    return ["NOTES ON THE INPUT", "", *(line for note in notes for line in _hanging("- ", note))] if notes else []


def _hanging(mark: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark))


# ---------------------------------------------------------------------------------------------- what was analysed


def _analysis(fit: Fit, tables: Tables) -> Iterator[str]:
    design, a = fit.design, fit.design.attrs
    n, dropped = design.sizes["row"], a["rows_given"] - design.sizes["row"]
    yield from ("SUMMARY OF ANALYSIS", "")
    yield from _pair("Number of observations", f"{n:,}")
    if dropped:
        yield from _pair("Rows left out, a predictor missing", f"{dropped:,} ({', '.join(a['missing']).upper()})")
    if a["cluster"]:
        size = np.bincount(design["cluster_code"].to_numpy())
        spread = f"{size.min()} to {size.max()}, mean {size.mean():.2f}" if np.ptp(size) else f"{size[0]} each"
        yield from _pair(f"Number of clusters ({a['cluster'].upper()})", f"{len(size):,}")
        yield from _pair("Observations per cluster", spread)
    yield from _pair("Missing data patterns", f"{_patterns(fit):,}")
    yield from _pair("Free parameters", f"{len(fit.spec.structure_of(fit.posterior).position):,}")
    yield ""
    for role, names in _roles(fit.spec.structure):
        if names:
            yield from _pair(role, " ".join(tables.words.of(v) for v in names))
    yield ""
    chains, draws = (fit.posterior.sizes[d] for d in ("chain", "draw"))
    words = {"eti": "equal-tailed", "hdi": "highest density"}
    yield from _pair("Estimator", f"BAYES ({fit.record['sampled']})")
    yield from _pair("Sampler", f"NUTS, {chains} chains of {draws:,} draws, seed {fit.record['seed']}")
    yield from _pair("Point estimate", tables.point)
    yield from _pair("Intervals", f"95 %, {words[tables.interval]}")


def _pair(label: str, value: str) -> list[str]:
    first, *more = wrap(value, WIDTH - 42) or [""]
    return [f"{label:<42}{first}", *(" " * 42 + line for line in more)]


def _patterns(fit: Fit) -> int:
    """How many combinations of missing values of the modelled variables there are; one if none is missing."""
    known = [fit.design["Y"].notnull().to_numpy()]
    if "V" in fit.design:
        known.append(fit.design["V"].notnull().to_numpy()[fit.design["cluster_code"].to_numpy()])
    return len(np.unique(np.hstack(known), axis=0))


def _roles(s: Structure) -> list[tuple[str, list[str]]]:
    """Variables by role."""
    out = [("Continuous variables, modelled", [v for v in s.observed if v not in s.links])]
    if s.two_level:
        within = [v for v in s.within if v not in s.both]
        out = [
            ("Modelled on both levels (latent split)", s.both),
            ("Modelled within only", within),
            ("Modelled between only", s.own),
        ]
    for level in s.levels:
        where = f", {level}" if level else ""
        out.append((f"Predictors taken as they are{where}", s.covariates(level)))
        out.append((f"Factors{where}", [*s.table.factors(level)]))
    return [*out, ("Random slopes", [*s.table.slopes]), ("Binary and ordinal, probit", [*s.links])]


def _proportions(fit: Fit, words: Words) -> Iterator[str]:
    """How many rows, or clusters, are in each category."""
    if not fit.spec.links:
        return
    yield from ("PROPORTIONS AND COUNTS OF CATEGORICAL VARIABLES",)
    for v in fit.spec.links:
        codes = categories_of(fit.spec.structure, fit.design, v)
        counts = np.bincount(codes[~np.isnan(codes)].astype(int))
        labels = [c.partition("=")[2] for c in fit.design.attrs["categories"] if c.startswith(f"{v}=")]
        yield from ("", f" {words.of(v)}")
        for label, count in zip(labels, counts, strict=True):
            yield f"    {label:<14}{count / counts.sum():>12.3f}{count:>12,}"


# ---------------------------------------------------------------------------------------------- tables


def _fit_statistics(table: pd.DataFrame) -> Iterator[str]:
    yield from ("MODEL FIT INFORMATION", "")
    labels = [f"{row.statistic}, {row.level}" if row.level else row.statistic for row in table.itertuples()]
    for label, row in zip(labels, table.itertuples(), strict=True):
        value = "not available" if np.isnan(row.value) else f"{row.value:.3f}"
        if not np.isnan(row.lower):
            value += f"   95 % interval {row.lower:.3f} to {row.upper:.3f}"
        yield f"{label:<42}{value}"
    yield ""
    for label, definition in zip(labels, table["definition"], strict=True):
        yield from _hanging("  ", f"{label}: {definition}")


def _results(title: str, table: pd.DataFrame, averaged: str = "") -> Iterator[str]:
    """Estimates under the headings of levels and parameters; `averaged` is what the within level is called."""
    if table.empty:
        return
    stub = max(18, *(len(v) + 6 for v in table["parameter"]))
    yield from (title, "", *_column_titles(stub))
    stars = significant(*(table[c].to_numpy() for c in ("lower", "upper", "fixed")))
    level = header = ""
    for row, star in zip(table.itertuples(), stars, strict=True):
        if row.level != level:
            heading = averaged if averaged and row.level == "Within" else HEADINGS.get(row.level, "")
            yield from ("", heading) if heading else ()
        if (row.level, row.header) != (level, header):
            yield from ("", f" {row.header}")
        level, header = row.level, row.header
        values = (row.estimate, row.posterior_sd, row.p_one_tailed, row.lower, row.upper)
        yield f"    {row.parameter:<{stub - 4}}{''.join(map(_number, values))}{star:>8}".rstrip()


def _column_titles(stub: int) -> list[str]:
    return [
        (" " * stub + "".join(f"{pair[k]:>12}" for pair in TITLES) + f"{star:>14}").rstrip()
        for k, star in enumerate(("", "Significance"))
    ]


def _number(value: float) -> str:
    if np.isnan(value):
        return f"{'--':>12}"
    text = f"{value:.3f}" if abs(value) < 1e7 else f"{value:.3e}"
    return f"{text if text != '-0.000' else '0.000':>12}"


def _priors(fit: Fit, words: Words) -> Iterator[str]:
    yield from ("PRIORS FOR ALL PARAMETERS", "")
    structure = fit.spec.structure_of(fit.posterior)
    free = [line for line in lines(structure.table, words) if line.row and line.row.fixed is None]
    for line in free:
        label = f"{line.level:<8} {line.header} {line.parameter}".strip()
        yield f"{label:<42} {prior_of(structure, fit.priors, line.row)}"


def prior_of(structure: Structure, priors: Mapping[str, Prior], row: Row) -> str:
    """The prior of a free row: in Mplus's notation if it has one, else as it is, of SDs and correlations."""
    key = structure.prior_key(structure.variable(row), structure.label(row))
    prior = priors[key]
    block = next((b for b in structure.blocks if b.level == row.level and {row.lhs, row.rhs} <= {*b.variables}), None)
    elementwise = prior.name != "InverseWishart" and row.op == "~~" and _elementwise(structure, priors, row)
    match prior.name, row.kind:
        case "InverseWishart", _:
            i, j = (block.variables.index(v) for v in (row.lhs, row.rhs))
            return f"IW({prior['scale'][i][j]:g}, {prior['df']:g})"
        case _ if row.op == "~~" and block and _flat(structure, priors, block):
            return f"IW(0, {-len(block.variables) - 1})"
        case "Flat", _:
            return "N(0, infinity)"
        case "Normal", "coefficient" | "covariance" | "threshold":
            return f"N({prior['mu']:g}, {prior['sigma'] ** 2:g})"
        case "Power", "variance" if elementwise:
            return f"IG({(structure.covary(row) - prior['exponent'] - 1) / 2:g}, 0)"
        case "VarianceInverseGamma", _ if elementwise:
            return f"IG({prior['shape'] + structure.covary(row) / 2:g}, {prior['scale']:g})"
        case _, "variance":
            return f"{prior!r} on the SD"
        case _, "covariance" if key.startswith("corr["):
            return "N(0, infinity)" if elementwise else f"{prior!r} on the correlation"
        case "Uniform", _:
            return f"U({prior['lower']:g}, {prior['upper']:g})"
        case _:
            return repr(prior)


def _elementwise(structure: Structure, priors: Mapping[str, Prior], row: Row) -> bool:
    """Whether the priors of SDs and correlations around a row are the same as priors of variances and flat ones of covariances.

    With cov = corr sd_1 sd_2 that is so if correlations are uniform and SDs have powers or inverse gamma variances.
    """
    level, names, rows = next(
        (
            (level, names, rows)
            for level, names, rows in structure.components
            if level == row.level and row.lhs in names
        ),
        (row.level, [row.lhs], []),
    )
    own = [r for r in (structure.sd(level, v) for v in names) if r.fixed is None]
    sds = [priors[f"sd[{structure.label(r)}]"].name in ("Power", "VarianceInverseGamma") for r in own]
    free = [r for r in rows if r.fixed is None and structure.variable(r) == "corr"]
    keys = [structure.prior_key("corr", structure.label(r)) for r in free]
    uniform = [k.startswith("cov[") or priors[k] in (LKJ(1), Uniform(-1, 1)) for k in keys]
    return all(sds) and all(uniform)


def _flat(structure: Structure, priors: Mapping[str, Prior], block: Block) -> bool:
    """Whether the priors of a block are flat on its covariance matrix."""
    q, own = len(block.variables), [structure.sd(block.level, v) for v in block.variables]
    spread = [r.fixed is None and priors[f"sd[{structure.label(r)}]"] == Power(q) for r in own]
    return all(spread) and priors[block.key] == LKJ(1)


def _convergence(table: pd.DataFrame) -> Iterator[str]:
    """PSR, R-hat and effective sample size: the worst of each, and the five slowest parameters."""
    live = table[~table["fixed"]]
    if live.empty:
        return
    yield from ("CONVERGENCE", "")
    for label, column, worst in (
        ("Largest potential scale reduction (PSR)", "psr", "idxmax"),
        ("Largest rank-normalised R-hat", "rhat", "idxmax"),
        ("Smallest bulk effective sample size", "ess_bulk", "idxmin"),
        ("Smallest tail effective sample size", "ess_tail", "idxmin"),
    ):
        row = live.loc[getattr(live[column], worst)()]
        value = f"{row[column]:.3f}" if column in ("psr", "rhat") else f"{row[column]:,.0f}"
        yield f"{label:<42}{value:>8}   {_named(row)}"


def _named(row: pd.Series) -> str:
    return " ".join(v for v in (row["level"], row["header"], row["parameter"]) if v)
