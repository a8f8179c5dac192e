"""A structural equation model in words: what reports and the command line say of it and of its data."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.families.sem_categorical import categories_of, category_labels
from bayeshte.families.sem_draws import printed
from bayeshte.families.sem_equations import symbol
from bayeshte.families.sem_structure import Structure
from bayeshte.model_text import Row
from bayeshte.spec import Description, Estimand

NAMED = 5  # variables in a title
FEW, EACH = 30, 5  # clusters, and clusters a free parameter between them, below which the between model has few
LEVELS = " on its level, that of cluster means between clusters"
MEDIATION = (
    "Imai, K., Keele, L., & Tingley, D. (2010). A general approach to causal mediation analysis. Psychological Methods, "
    "15(4), 309–334."
)
TWO_LEVEL = (
    "Lüdtke, O., Marsh, H. W., Robitzsch, A., Trautwein, U., Asparouhov, T., & Muthén, B. (2008). The multilevel latent "
    "covariate model: A new, more reliable approach to group-level effects in contextual studies. Psychological Methods, "
    "13(3), 203–229.",
    "Preacher, K. J., Zyphur, M. J., & Zhang, Z. (2010). A general multilevel SEM framework for assessing multilevel "
    "mediation. Psychological Methods, 15(3), 209–233.",
)
INTERACTIONS = (
    "Asparouhov, T., & Muthén, B. (2021). Bayesian estimation of single and multilevel models with latent variable interactions. "
    "Structural Equation Modeling, 28(2), 314–328.",
    "Wen, Z., Marsh, H. W., & Hau, K.-T. (2010). Structural equation models of latent interactions: An appropriate standardized "
    "solution and its scale-free properties. Structural Equation Modeling, 17(1), 1–22.",
)


def describe(spec, structure: Structure, design: xr.Dataset, iccs: Sequence[Estimand]) -> Description:
    """See `Description`; `iccs` are shown with the data."""
    names = structure.observed
    about = listed(names) if len(names) <= NAMED else f"{len(names)} variables"
    texts = {"model": spec.model, "within": spec.within, "between": spec.between}
    return Description(
        title=f"Structural equation model of {about}",
        sentence=_sentence(spec, structure),
        symbols=tuple(_symbols(spec, structure)),
        written=tuple((role, words.strip()) for role, words in texts.items() if words),
        parameters=_parameters(structure),
        facts=tuple(_facts(structure, design, iccs)),
        tables=(("Variables", _variables(structure, design)),),
        unit=f"the SD of the explained variable{LEVELS if structure.two_level else ''}",
        integrated=_integrated(structure, design),
        effects=_effects(structure),
        assumptions=tuple(_assumptions(spec, structure, design)),
        references=(
            *(TWO_LEVEL if structure.two_level else ()),
            *((MEDIATION,) if _mediators(structure) else ()),
            *(INTERACTIONS if structure.known else ()),
        ),
        plot="plot_path",
    )


def listed(names: Sequence[str]) -> str:
    """``"a, b and c"``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _covariates(structure: Structure) -> list[str]:
    """What the model conditions on."""
    return list(dict.fromkeys(v for level in structure.levels for v in structure.covariates(level)))


def _mediators(structure: Structure) -> list[str]:
    """What something predicts and what predicts something."""
    paths = [r for r in structure.table.rows if r.op == "~"]
    return list(
        dict.fromkeys(r.lhs for r in paths if any(r.lhs in other.parts and r.level == other.level for other in paths))
    )


def _sentence(spec, structure: Structure) -> str:
    levels = "two-level " if structure.two_level else ""
    words = [f"a Bayesian {levels}structural equation model of {listed(structure.observed)}"]
    if structure.both:
        which = "each" if structure.both == structure.observed else listed(structure.both)
        words.append(f", {which} split into latent parts within and between {spec.cluster}")
    for level in structure.levels:
        where = f" {level} {spec.cluster}" if level else ""
        for f in structure.table.factors(level):
            indicators = [r.rhs for r in structure.table.at(level) if r.op == "=~" and r.lhs == f]
            words.append(f", with the factor {f}{where} measured by {listed(indicators)}")
    if structure.table.slopes:
        words.append(f", with slopes that vary across {spec.cluster} ({listed(structure.table.slopes)})")
    if _covariates(structure):
        words.append(f", given {listed(_covariates(structure))}")
    return "".join([*words, _residuals(structure)])


def _residuals(structure: Structure) -> str:
    """What the residuals are like, and which variables are categories."""
    if not structure.links:
        return "; all variables are continuous with normal residuals"
    out = []
    for link in dict.fromkeys(structure.links.values()):
        names = [v for v, own in structure.links.items() if own == link]
        kind = "a category of a latent response" if len(names) == 1 else "categories of latent responses"
        scale = "standard normal" if link == "probit" else "standard logistic"
        out.append(f"; {listed(names)} {'is' if len(names) == 1 else 'are'} {kind} with a {scale} residual ({link})")
    return "".join([*out, "; other residuals are normal"])


def _effects(structure: Structure) -> str:
    words = (
        ["Derived quantities are computed from the labels of paths in every draw."] if structure.table.derived else []
    )
    if _mediators(structure):
        words.append("Effects along paths are sums, over all ways, of the products of their paths.")
    if structure.both:
        words.append(
            "A contextual effect is the path between clusters minus that within: what the cluster mean adds to a person's own "
            "value. ICC is the share of a variable's variance that lies between clusters."
        )
    if any(structure.interactions(level) for level in structure.levels):
        words.append(
            "The path of a product of two variables is by how much the effect of one changes with a unit of the other. Its "
            "standardised form is in SDs of the two variables, not of their product (Wen, Marsh & Hau, 2010)."
        )
    if structure.links:
        words.append(
            "Paths to a categorical variable are in units of its latent response. Effects on probabilities say what a change of "
            "the cause does to the probability of a category or a higher one, averaged over the covariates of the data and over "
            "all that is random, clusters included; of a variable of clusters over clusters, each counting once."
        )
    words.append(
        "R-square and standardised paths are by level, with the variances that the model implies in every draw."
    )
    return " ".join(words)


def _integrated(structure: Structure, design: xr.Dataset) -> str:
    missing = np.isnan(design["Y"].to_numpy()).any() or ("V" in design and np.isnan(design["V"].to_numpy()).any())
    products = any(structure.interactions(level) for level in structure.levels)
    parts = ["latent cluster means"] if structure.both and not structure.links and not products else []
    factors = structure.levels[-1:] if structure.links and structure.two_level else structure.levels
    own = {*structure.own} & {*structure.links}
    factors = [] if structure.links and (own or not structure.two_level) else factors
    known = {level: structure.known(level) for level in structure.levels}
    parts += ["factors"] if any({*structure.table.factors(level)} - {*known[level]} for level in factors) else []
    parts += ["missing values, taken as missing at random,"] if missing else []
    sampled = ["latent cluster means"] if products and structure.both else []
    sampled += [f for level in structure.levels for f in known[level] if f in structure.table.factors(level)]
    sampled += [f"missing values of {v}" for v in _missing_members(structure, design, known)]
    which = "which was" if len(sampled) == 1 and not sampled[0].startswith(("latent", "missing")) else "which were"
    if sampled and parts:
        return (
            f"{listed(parts)} were integrated out of the likelihood exactly, given {listed(sampled)}, {which} sampled"
        )
    return f"{listed(parts)} were integrated out of the likelihood exactly" if parts else ""


def _missing_members(structure: Structure, design: xr.Dataset, known: Mapping[str, Sequence[str]]) -> list[str]:
    """Observed members of products whose values are known where they are there, and not there everywhere."""
    values = {v: design["Y"].sel(within_variable=v) for v in structure.within}
    values |= {v: design["V"].sel(own_variable=v) for v in structure.own}
    names = [v for v in known[structure.levels[0]] if v in structure.within]
    names += [v for v in known[structure.levels[-1]] if v in structure.own]
    return [v for v in names if np.isnan(values[v].to_numpy()).any()]


# ---------------------------------------------------------------------------------------------- symbols, parameters


def _symbols(spec, structure: Structure) -> Iterator[tuple[str, str, str]]:
    table, kinds = structure.table, {}
    for level in structure.levels:
        unit = {"": "row i", "within": f"row i in {spec.cluster} j", "between": f"{spec.cluster} j"}[level]
        for v in table.names(level):
            stored, kind = v, f"value of {unit}"
            if v in table.factors(level):
                kind = f"factor, {unit}"
            elif v in table.slopes:
                (row,) = [r for r in table.at("within") if r.slope == v]
                stored, kind = f"slope[j, {v}]", f"slope of {row.rhs} on {row.lhs} in {unit}"
            elif v in structure.both:
                stored = f"cluster_mean[j, {v}]" if level == "between" else ""
                kind = f"latent mean of {unit}" if level == "between" else f"deviation of {unit} from its latent mean"
            elif v not in structure.modelled(level):
                kind += ", taken as it is"
            kinds.setdefault(kind, []).append((symbol(structure, level, v), stored, v))
    for kind, ((first, stored, _), *more) in kinds.items():
        yield first, stored, kind + (f"; likewise {listed([v for *_, v in more])}" if more else "")
    used = {r.op for r in table.rows if r.fixed is None} | {"~~"}
    free = {
        "~1": (r"\alpha_{y}", "y ~1", "intercept of y, or its mean where nothing explains it"),
        "~": (
            r"\beta_{y,x}",
            "y ~ x",
            "path from x to y: difference in y for one unit of x; a label stands in its place",
        ),
        "=~": (r"\lambda_{y,f}", "f =~ y", "loading of y on the factor f"),
        "~~": (r"\psi_{y}", "y ~~ y", "variance of y, or of its residual"),
        "|": (
            r"\tau_{y,c}",
            "y | t1",
            "threshold of the latent response of y: above it y is in category c or a higher one",
        ),
    }
    yield from (free[op] for op in free if op in used)
    yield r"\zeta_{y}", "", "residual of y"
    if structure.components:
        yield r"\Psi", "x ~~ y", "covariance matrix; of residuals where something explains the variables"


def _parameters(structure: Structure) -> pd.DataFrame:
    """All rows of the parameter table, with the keys of their priors."""
    rows = [
        {
            "level": row.level,
            "header": title,
            "parameter": row.name.removeprefix(f"{row.level}: "),
            "label": row.label,
            "prior": _prior_key(structure, row),
        }
        for title, row in printed(structure)
    ]
    table = pd.DataFrame(rows)
    return table if structure.two_level else table.drop(columns="level")


def _prior_key(structure: Structure, row: Row) -> str:
    """Where the prior of a row stands, or its fixed value."""
    if row.fixed is not None:
        return f"fixed at {row.fixed:g}"
    return structure.prior_key(structure.variable(row), structure.label(row))


# ---------------------------------------------------------------------------------------------- data


def _variables(structure: Structure, design: xr.Dataset) -> pd.DataFrame:
    """Every observed variable: where it is, how many values, their spread."""
    rows = []
    sources = [
        ("Y", "within_variable", structure.within),
        ("X", "within_covariate", structure.covariates(structure.levels[0])),
    ]
    if structure.two_level:
        sources += [("V", "own_variable", structure.own), ("Z", "between_covariate", structure.covariates("between"))]
    for array, dim, names in sources:
        for name in names:
            x = design[array].sel({dim: name}).to_numpy()
            known = x[~np.isnan(x)]
            rows.append(
                {
                    "Variable": name,
                    "Level": _level(structure, array, name),
                    "Role": "modelled" if array in "YV" else "covariate",
                    "Values": len(known),
                    "Missing": len(x) - len(known),
                    "Mean": known.mean(),
                    "SD": known.std(ddof=1),
                    "Smallest": known.min(),
                    "Largest": known.max(),
                }
            )
    table = pd.DataFrame(rows)
    return table if structure.two_level else table.drop(columns="Level")


def _level(structure: Structure, array: str, name: str) -> str:
    if name in structure.both:
        return "within and between"
    return "within" if array in "YX" else "between"


def _facts(structure: Structure, design: xr.Dataset, iccs: Sequence[Estimand]) -> Iterator[tuple[str, str | Estimand]]:
    seen = {"rows": ("Y", "within_variable"), "clusters": ("V", "own_variable")}
    missing = {
        f"{name} in {n:,} {unit}": n
        for unit, (array, dim) in seen.items()
        if array in design
        for name in design[dim].to_numpy()
        if (n := int(np.isnan(design[array].sel({dim: name}).to_numpy()).sum()))
    }
    if structure.links:
        yield "Categories", "; ".join(_shares(structure, design, v) for v in structure.links)
    yield "Missing values", f"{', '.join(missing)}: integrated, none imputed" if missing else "none"
    if structure.two_level and (few := _few(structure, design)):
        yield "Few clusters", few
    for e in iccs:
        yield e.name, e


def _shares(structure: Structure, design: xr.Dataset, name: str) -> str:
    """``"y: 0 (55 %), 1 (45 %)"``."""
    labels = category_labels(structure, design)[name]
    y = categories_of(structure, design, name)
    share = np.bincount(y[~np.isnan(y)].astype(int), minlength=len(labels)) / (~np.isnan(y)).sum()
    return f"{name}: " + ", ".join(f"{label} ({x:.1%})" for label, x in zip(labels, share, strict=True))


def _few(structure: Structure, design: xr.Dataset) -> str:
    """That the between model has few clusters, and what to do; empty where it has enough."""
    J, k = design.sizes[design.attrs["cluster"]], structure.between_parameters
    reasons = [f"fewer than {FEW}"] if J < FEW else []
    reasons += [f"fewer than {EACH} a parameter"] if EACH * k > J else []
    if not reasons:
        return ""
    return (
        f"{J} for {k} free parameters between clusters, {' and '.join(reasons)}: there the priors weigh. "
        "bh.few_cluster_priors(spec, data) proposes informative ones, bh.prior_sensitivity(fit) shows how much they matter"
    )


# ---------------------------------------------------------------------------------------------- causal reading


def _assumptions(spec, structure: Structure, design: xr.Dataset) -> Iterator[tuple[str, str]]:
    paths = [r for r in structure.table.rows if r.op == "~"]
    if not paths:
        return
    mediators, outside = _mediators(structure), [v for v in _covariates(structure) if ":" not in v]
    yield (
        "The arrows that are not drawn are zero",
        "Every path that is absent, and every covariance that is not free, says that there is no such effect and no such "
        "common cause. Fit statistics can speak against that, never for it; models with arrows turned around often fit as well.",
    )
    lot = f"The paths from {listed(outside)} are effects as far as values were assigned by lot. " if outside else ""
    others = f"The paths from {listed(mediators)}" if mediators else "All other paths"
    yield (
        "Nothing unmeasured drives both ends of a path",
        f"{lot}{others} are effects only if nothing unmeasured drives both what they come from and what they lead to, given what "
        "is in the model"
        + (
            "; indirect effects rest on this (sequential ignorability; Imai, Keele & Tingley, 2010)."
            if mediators
            else "."
        ),
    )
    exceptions = ", unless a product says otherwise" if any(":" in r.rhs for r in paths) else ""
    exceptions += ", or its slope varies" if structure.table.slopes else ""
    yield (
        "Effects are linear, add up, and are the same for all",
        f"A path is one number for all values of its variables{exceptions}. Products of paths are indirect effects only then.",
    )
    if structure.both:
        n = design.sizes[spec.cluster]
        yield (
            "Paths between clusters are about clusters, not about persons",
            f"They rest on {n:,} clusters of {spec.cluster}, however many rows there are. Cluster means are latent: the rows are "
            "taken as a sample from a larger population of their cluster. Where a cluster was observed whole, as a therapy "
            "group is, its mean has no sampling error: then use the observed mean as a variable of clusters.",
        )
    if structure.two_level:
        yield (
            "Clusters do not touch each other",
            f"What is done in one {spec.cluster} must not reach the others; rows of different clusters must be independent.",
        )
