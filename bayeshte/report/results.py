"""What the fit says: verdict, headline, effects, parameters, clusters, pictures."""

import base64
import re
from dataclasses import dataclass
from io import BytesIO, StringIO

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from bayeshte.convergence import MAX_PSR, MAX_RHAT, MAX_RHAT_EFFECTS, MIN_BFMI, MIN_ESS
from bayeshte.effects import units
from bayeshte.fit import Fit
from bayeshte.report.material import Material
from bayeshte.summary import name_of
from bayeshte.tables import apa
from bayeshte.tables.digits import DASH, percent

SVG_LIMIT = 400_000  # characters; a larger drawing is smaller as pixels
DPI = 160
PIXELS = 125  # on screen an inch of paper, so that 7 point text can be read
CLUSTERS_SHOWN = 1000  # rows of the table of cluster effects

#: check: limit in words, what it is about
CHECKS = {
    "R-hat": (
        f"at most {MAX_RHAT}",
        "the chains agree on the whole distribution (rank-normalised; Vehtari et al., 2021)",
    ),
    "PSR": (f"at most {MAX_PSR}", "the classic potential scale reduction that Mplus prints (Gelman & Rubin, 1992)"),
    "R-hat of random effects": (f"at most {MAX_RHAT_EFFECTS}", "the same for every cluster's sampled random effects"),
    "bulk ESS": (f"at least {MIN_ESS}", "independent draws that the correlated ones are worth, for medians and means"),
    "tail ESS": (f"at least {MIN_ESS}", "the same for the ends of 95 % intervals"),
    "divergences": ("none", "places that the sampler could not follow, where the posterior may be biased"),
    "tree depth": ("at most 1 %", "draws that were cut short by the sampler's limit"),
    "E-BFMI": (f"at least {MIN_BFMI}", "the sampler moves freely between high and low density"),
    "complete": ("", "the run went to its end"),
}

#: figure: title, what it shows
CAPTIONS = {
    "caterpillar": "Effect of every cluster, sorted: posterior median and 95 % equal-tailed interval.",
    "pooling": "Each cluster by itself against the model's estimate, which moves small and extreme clusters to the average.",
    "baseline": "Effect of every cluster against its expected outcome in the reference arm.",
    "effect": "Posterior of the average effect, with its median and 95 % equal-tailed interval.",
    "classes": "Effects of the latent classes; the area of each is the size of the class.",
    "outcome": "The outcome by arm, as observed.",
    "path": "The model: causes left of their effects, posterior medians and 95 % equal-tailed intervals on the paths.",
    "trace": "Draws of every chain in the order they were made: they should look like noise and overlap.",
    "rank": "Whether chains agree: the rank of every draw among all of them should be uniform in each chain.",
    "ppc": "What was observed against data sets drawn from the fitted model.",
    "checks": "Statistics of the observed outcome against those of data sets drawn from the fitted model.",
    "priors": "Prior and posterior of every parameter.",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the source of an image, with its caption, and its width on the page in pixels."""

    name: str
    source: str
    caption: str
    width: int


def diagnosis_section(m: Material) -> dict:
    """Every check of the draws."""
    checks = pd.DataFrame(
        [
            {
                "check": c.name,
                "found": c.message,
                "should be": CHECKS.get(c.name, ("", ""))[0],
                "about": CHECKS.get(c.name, ("", ""))[1],
                "passed": "yes" if c.ok else "NO",
            }
            for c in m.fit.diagnosis.checks
        ]
    )
    return {"checks": checks, "worst": _worst(m.summary)}


def _worst(summary: pd.DataFrame) -> str:
    """The parameter whose Monte Carlo error is the largest share of its posterior SD."""
    share = (summary["mcse"] / summary["posterior_sd"]).dropna()
    if share.empty:
        return ""
    return f"{percent(share.max())} of the posterior SD ({name_of(summary.loc[share.idxmax()])})"


def headline_rows(m: Material) -> list[dict[str, str]]:
    """What a first look needs, as text."""
    if m.effects.empty:
        return []
    table = apa(m.effects)
    first = m.effects["estimand"].isin(m.headline).to_numpy()
    names = m.effects.loc[first, ["estimand", "contrast"]].to_numpy()
    out = []
    for (name, contrast), (_, row) in zip(names, table[first].iterrows(), strict=True):
        chances = [
            f"{c} {'' if v[:1] in '<>' else '= '}{v}" for c, v in row.items() if c.startswith("P(") and v != DASH
        ]
        interval = next(c for c in table if c.endswith(("CrI", "HDI")))
        about = m.effects["definition"][m.effects["estimand"] == name].iloc[0]
        out.append(
            {
                "name": name if not contrast else f"{name}, {contrast}",
                "value": row["Median"],
                "interval": f"{interval} {row[interval]}",
                "chances": "; ".join(chances),
                "definition": about,
            }
        )
    return out


def effects_section(m: Material) -> dict | None:
    """Every estimand, the headline ones first unless they have headings of their own."""
    if m.effects.empty:
        return None
    what = "Effects" if m.fit.design.attrs["treatment"] else "Estimates"
    if "header" in m.effects:
        return {"effects": m.effects, "about": m.about.effects, "caption": what}
    first = m.effects["estimand"].isin(m.headline)
    ordered = pd.concat([m.effects[first], m.effects[~first]], ignore_index=True)
    ordered.columns.name = m.effects.columns.name
    return {"effects": ordered, "about": m.about.effects, "caption": f"{what}, the main ones first"}


def parameters_section(m: Material) -> dict:
    """The model's own parameters."""
    return {"summary": m.summary}


def clusters_section(m: Material) -> dict | None:
    """Every cluster's effect: picture and table."""
    if m.clusters is None:
        return None
    constant = [c for c, part in m.clusters.groupby("contrast", sort=False) if part["estimate"].nunique() == 1]
    varying = m.clusters[~m.clusters["contrast"].isin(constant)]
    return {
        "rows": varying.head(CLUSTERS_SHOWN) if len(varying) else None,
        "not_shown": max(0, len(varying) - CLUSTERS_SHOWN),
        "constant": constant,
        "pictures": pictures(m, ("caterpillar", "pooling", "baseline")),
        "unit": units(m.fit.design)[2].removesuffix("s"),
        "name": units(m.fit.design)[0],
    }


def figures_section(m: Material) -> dict:
    """The pictures that are not in the sections of the model and of the clusters."""
    elsewhere = ("caterpillar", "pooling", "baseline", "path") if m.clusters is not None else ("path",)
    return {"pictures": pictures(m, tuple(n for n in m.figures if n not in elsewhere))}


def pictures(m: Material, names: tuple[str, ...]) -> list[Picture]:
    """Figures as image sources with captions."""
    found = [(n, m.figures[n]) for n in names if n in m.figures]
    return [
        Picture(re.sub(r"\W+", "_", n), image_source(f), _caption(m.fit, n), round(PIXELS * f.get_figwidth()))
        for n, f in found
    ]


def _caption(fit: Fit, name: str) -> str:
    if name.startswith("effect_"):
        return f"Posterior of {name.removeprefix('effect_')}, with its median and 95 % equal-tailed interval."
    if name.startswith("cate_"):
        return f"Average effect given {name.removeprefix('cate_')}, with 95 % equal-tailed intervals."
    if name == "caterpillar" and not fit.design.attrs["treatment"]:
        return "Expected outcome of every cluster, sorted: posterior median and 95 % equal-tailed interval."
    if name == "effect" and not fit.design.attrs["treatment"]:
        return "Posterior of the mean, with its median and 95 % equal-tailed interval."
    caption = CAPTIONS.get(name, name)
    return caption.replace("cluster", "item") if "item" in fit.design.attrs else caption


def image_source(figure: Figure) -> str:
    """A figure as a ``data:`` address: SVG, or PNG if the drawing would be very large."""
    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "bayeshte", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    if len(text.getvalue()) <= SVG_LIMIT:
        return f"data:image/svg+xml;base64,{base64.b64encode(text.getvalue().encode()).decode()}"
    pixels = BytesIO()
    figure.savefig(pixels, format="png", dpi=DPI)
    return f"data:image/png;base64,{base64.b64encode(pixels.getvalue()).decode()}"
