"""The methods paragraph, versions, the specification as code, and what to cite."""

import json
import platform
from dataclasses import MISSING, fields
from datetime import UTC, datetime

import numpy as np

from bayeshte.prior import Prior
from bayeshte.report.checking import extreme, ppp, sensitive
from bayeshte.report.data import sizes, spread_of_sizes
from bayeshte.report.material import Material
from bayeshte.report.model import kind_of_priors
from bayeshte.report.results import headline_rows

CITATIONS = {
    "bayeshte": "The bayeshte developers. bayeshte: Bayesian treatment-effect heterogeneity on PyMC (Version {bayeshte}) "
    "[Computer software].",
    "pymc": "Abril-Pla, O., et al. (2023). PyMC: A modern and comprehensive probabilistic programming framework in Python. "
    "PeerJ Computer Science, 9, e1516. (Version {pymc})",
    "nutpie": "nutpie (Version {nutpie}) [Computer software]. A fast sampler for Bayesian posteriors.",
    "arviz": "Kumar, R., Carroll, C., Hartikainen, A., & Martin, O. (2019). ArviZ: A unified library for exploratory "
    "analysis of Bayesian models in Python. Journal of Open Source Software, 4(33), 1143. (Version {arviz})",
}
REFERENCES = (
    "Hoffman, M. D., & Gelman, A. (2014). The No-U-Turn sampler. Journal of Machine Learning Research, 15, 1593–1623.",
    "Vehtari, A., Gelman, A., Simpson, D., Carpenter, B., & Bürkner, P.-C. (2021). Rank-normalization, folding, and "
    "localization: An improved R-hat. Bayesian Analysis, 16(2), 667–718.",
    "Kruschke, J. K. (2021). Bayesian analysis reporting guidelines. Nature Human Behaviour, 5, 1282–1291.",
    "Depaoli, S., & van de Schoot, R. (2017). Improving transparency and replication in Bayesian statistics: The "
    "WAMBS-checklist. Psychological Methods, 22(2), 240–261.",
)


def methods_section(m: Material) -> dict:
    """The values of the methods paragraph."""
    fit, a = m.fit, m.fit.design.attrs
    d = {c.name: c for c in fit.diagnosis.checks}
    size = sizes(fit) if a["cluster"] else np.zeros(0, int)
    return {
        "n": fit.design.sizes["row"],
        "dropped": a["rows_given"] - fit.design.sizes["row"],
        "missing": list(a["missing"]),
        "clusters": len(size),
        "cluster": a["cluster"],
        "sizes": f"rows: {spread_of_sizes(size)}" if len(size) else "",
        "in_words": m.about.sentence,
        "kind": kind_of_priors(fit),
        "priors": ", ".join(f"{label} ~ {prior!r}" for label, prior in fit.priors.items()),
        "ok": fit.diagnosis.ok,
        "chains": fit.posterior.sizes["chain"],
        "draws": fit.posterior.sizes["draw"],
        "record": fit.record,
        "integrated": "" if str(fit.record.get("sampled", "")).startswith("joint") else m.about.integrated,
        "rhat": d["R-hat"].value,
        "ess": (d["bulk ESS"].value, d["tail ESS"].value),
        "divergences": int(d["divergences"].value) if "divergences" in d else None,
        "ppp": ppp(m),
        "extreme": extreme(m),
        "predictive": m.predictive.value is not None,
        "sensitive": sensitive(m),
        "sensitivity": m.sensitivity.value is not None,
        "results": headline_rows(m),
    }


def reproduce_section(m: Material) -> dict:
    """Versions, times, code, references."""
    record = m.fit.record
    versions = record.get("versions", {})
    seconds = {k.removeprefix("seconds_"): v for k, v in record.items() if k.startswith("seconds_")}
    return {
        "versions": versions,
        "python": platform.python_version(),
        "seconds": seconds,
        "sampled_at": str(m.fit.draws["posterior"].attrs.get("created_at", "not recorded"))[:19].replace("T", " "),
        "written_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "record": record,
        "hash": m.fit.design.attrs["data_hash"],
        "code": code(m),
        "citations": [text.format(**versions) for name, text in CITATIONS.items() if name in versions],
        "references": [*REFERENCES, *m.about.references],
    }


def code(m: Material) -> str:
    """The analysis as Python: the specification without its defaults, the call that sampled it, and this report."""
    spec, record = m.fit.spec, m.fit.record
    default = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(spec)}
    given = [f"    {k}={_source(getattr(spec, k))}," for k, v in default.items() if getattr(spec, k) != v]
    sampled = [f"{k}={record[k]!r}" for k in ("draws", "tune", "seed", "target_accept") if k in record]
    if str(record.get("sampled", "")).startswith("joint"):
        sampled.append("marginal=False")
    shown = [f"{k}={v!r}" for k, v in (("meaningful", m.meaningful), ("rope", m.rope)) if v is not None]
    lines = ["import bayeshte as bh", "import pandas as pd", "", 'data = pd.read_csv("your_data.csv")']
    lines += [f"spec = bh.{type(spec).__name__}(", *given, ")", f"fit = bh.fit(spec, data, {', '.join(sampled)})"]
    lines.append(f'assert fit.design.attrs["data_hash"] == "{m.fit.design.attrs["data_hash"]}"  # the same data')
    return "\n".join([*lines, f"bh.report({', '.join(['fit', '"report.html"', *shown])})"])


def _source(value) -> str:
    """A field of a specification as Python source."""
    if isinstance(value, Prior):
        return f"bh.{value.name}({', '.join(f'{k}={v!r}' for k, v in value.params)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_source(k)}: {_source(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return f"({', '.join(_source(v) for v in value)}{',' * (len(value) == 1)})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
