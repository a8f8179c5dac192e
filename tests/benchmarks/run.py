"""Speed, side by side in one run; writes docs/benchmarks.md.

    python tests/benchmarks/run.py [--skip-joint] [--skip-r]

Rows that need R (Debian: r-cran-brms, r-cran-lme4) are left out where Rscript or the package is missing. Times are wall-clock
seconds on whatever machine runs this, medians of repeated runs where they are short; only ratios within one run mean much.
"""

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import categorical
import items
import mediation
import mixture
import numpy as np
import pandas as pd

import bayeshte as bh
from bayeshte import sampler
from bayeshte.families.random_slope_arrays import Arrays
from bayeshte.summary import rows

HERE = Path(__file__).parent
PRIORS = {"gamma0": bh.Normal(0, 3), "gamma1": bh.Normal(0, 3), "sd": bh.HalfNormal(3), "sigma": bh.HalfNormal(6)}
SPEC = bh.RandomSlope(
    outcome="y",
    treatment="stark",
    reference="regular",
    cluster="schoolidk",
    varying="small",
    missing="drop",
    priors=PRIORS,
)
PARAMETERS = ("gamma0", "gamma1", "sd", "sigma")
PROCESS = """

import bayeshte as bh
spec = bh.RandomSlope(
    outcome="mathk", treatment="stark", reference="regular", cluster="schoolidk", varying="small", missing="drop"
)
fit = bh.fit(spec, bh.datasets.star(), seed=1, progress=False)
assert fit.diagnosis.ok
"""


def star() -> pd.DataFrame:
    """The flagship's data, outcome in units of ten points."""
    data = bh.datasets.star()
    return data.assign(y=(data["mathk"] - 485) / 10)


def smallest_ess(posterior, corr) -> float:
    """Smallest bulk ESS of the fixed effects, SDs, correlation and residual SD."""
    parts = [rows(posterior[v])["ess_bulk"].min() for v in PARAMETERS]
    return float(min(*parts, rows(corr.rename("corr"))["ess_bulk"].min()))


def kernel(repeats: int = 5) -> dict:
    """The compiled marginal density."""
    design = SPEC.design(star())
    priors = SPEC.frozen_priors(design)
    ready = []
    for _ in range(2):  # the first call compiles the kernel, unless the machine's cache holds it
        begin = time.perf_counter()
        model = sampler.compiled(SPEC.marginal(design, priors), design.coords)
        ready.append(time.perf_counter() - begin)
    times, ess = [], []
    for seed in range(repeats):
        begin = time.perf_counter()
        tree, _ = sampler.sample(model, draws=1000, tune=500, seed=seed)
        times.append(time.perf_counter() - begin)
        posterior = tree["posterior"].to_dataset()
        ess.append(smallest_ess(posterior, posterior["_corr_factor"][..., 1, 0]))
    return {"prepare": ready[0], "again": ready[1], "sampling": float(np.median(times)), "ess": float(np.median(ess))}


def joint(centred: bool) -> dict:
    """The joint PyMC graph through nutpie, every school effect sampled."""
    design = SPEC.design(star())
    begin = time.perf_counter()
    model = sampler.compiled_graph(SPEC.joint(design, SPEC.frozen_priors(design), centred=centred))
    ready = time.perf_counter() - begin
    begin = time.perf_counter()
    tree, _ = sampler.sample(model, draws=1000, tune=500, seed=1)
    seconds = time.perf_counter() - begin
    posterior = tree["posterior"].to_dataset()
    corr = posterior["corr"].sel(varying="intercept", varying_="small", drop=True)
    return {"prepare": ready, "sampling": seconds, "ess": smallest_ess(posterior, corr)}


def in_r(script: str) -> dict:
    """Numbers an R script prints, or nothing where R or the package is missing."""
    if shutil.which("Rscript") is None:
        return {}
    data = SPEC.design(star())
    D = Arrays(data)
    frame = pd.DataFrame({"y": D.y, "school": D.code, "aide": D.T[:, 0], "small": D.T[:, 1]})
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(f"{folder}/data.csv", index=False)
        done = subprocess.run(["Rscript", str(HERE / script), f"{folder}/data.csv"], capture_output=True, text=True)
    pairs = [line.split() for line in done.stdout.splitlines()]
    return {
        p[0]: float(p[1]) for p in pairs if len(p) == 2 and p[0] in ("compile", "sampling", "cpu", "ess", "seconds")
    }


def whole_process(code: str) -> dict:
    """From `python` to a posterior: warm, and with an empty compile cache."""

    def seconds(environment):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | environment)
        return time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as folder:
        caches = {"NUMBA_CACHE_DIR": f"{folder}/numba", "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor"}
        empty = seconds(caches)
        warm = [seconds(caches) for _ in range(3)]
    return {"empty": empty, "warm": float(np.median(warm))}


def refit() -> float:
    """A fit of new data of the same shape in a process that has fitted before: design to posterior, seconds."""
    data = star()
    bh.fit(SPEC, data, seed=1, progress=False)
    rng, times = np.random.default_rng(1), []
    for seed in range(5):
        new = data.assign(y=data["y"] + rng.normal(0, 1, len(data)))
        begin = time.perf_counter()
        bh.fit(SPEC, new, seed=seed, progress=False)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def large(n: int, clusters: int = 1000) -> dict:
    """Rows to cross-products, and sampling, with n rows; memory that sampling adds."""
    rng = np.random.default_rng(0)
    c, t, x = rng.integers(0, clusters, n), rng.integers(0, 2, n), rng.normal(size=n)
    u = rng.normal(size=(clusters, 2)) * [2, 1]
    y = 10 + u[c, 0] + (1 + u[c, 1]) * t + 0.5 * x + rng.normal(0, 3, n)
    frame = pd.DataFrame({"y": y, "t": t, "x": x, "c": c})
    spec = bh.RandomSlope(outcome="y", treatment="t", cluster="c", covariates="x")
    design = spec.design(frame)
    begin = time.perf_counter()
    Arrays(design).moments()
    reduced = time.perf_counter() - begin
    model = sampler.compiled(spec.marginal(design, spec.frozen_priors(design)), design.coords)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for seed in range(3):
        begin = time.perf_counter()
        sampler.sample(model, draws=1000, tune=500, seed=seed)
        times.append(time.perf_counter() - begin)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"reduce": reduced, "sampling": float(np.median(times)), "memory": (after - before) / 1024}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--skip-joint", action="store_true")
    options.add_argument("--skip-r", action="store_true")
    given = options.parse_args()
    process, structural = whole_process(PROCESS), whole_process(mediation.PROCESS)
    ours = {"bayeshte, marginal density": kernel()}
    if not given.skip_joint:
        ours |= {"joint graph, centred": joint(True), "joint graph, non-centred": joint(False)}
    if not given.skip_r and "ess" in (r := in_r("star_brms.R")):
        ours["brms"] = {"prepare": r["compile"], "sampling": r["sampling"], "ess": r["ess"]}
    lme4, again = in_r("star_lme4.R"), refit()
    small, million = large(10_000), large(1_000_000)
    text = page(ours, lme4, process, again, small, million)
    slope = mediation.sampled(mediation.SLOPE, mediation.diary(), repeats=3, draws=200, tune=200)
    five = mediation.sampled(mediation.FIVE, mediation.attitudes(), draws=250, tune=300)
    text += mediation.section(structural, mediation.activity(), mediation.large(), slope, five)
    text += categorical.section()
    text += items.section(given.skip_r) + mixture.section()
    (HERE.parents[1] / "docs" / "benchmarks.md").write_text(text, encoding="utf-8")
    print(text)


def page(ours, lme4, process, refitted, small, million) -> str:
    """The benchmark page."""
    rate = {k: v["ess"] / v["sampling"] for k, v in ours.items()}
    first = rate["bayeshte, marginal density"]
    lines = [
        f"| {k} | {v['prepare']:.2f} | {v['sampling']:.2f} | {v['ess']:,.0f} | {rate[k]:,.0f} | {first / rate[k]:,.1f} |"
        for k, v in ours.items()
    ]
    versions = ", ".join(f"{m} {__import__(m).__version__}" for m in ("pymc", "nutpie", "numba", "numpy"))
    second = ours["bayeshte, marginal density"]["again"]
    again = f"{second:.2f} s" if second > 0.01 else "less than 0.01 s"
    reml = f"lme4 fits it by REML in {lme4['seconds']:.2f} s.\n" if lme4 else ""
    return f"""# Benchmarks

Made by `python tests/benchmarks/run.py` in one run on {date.today()}: {os.cpu_count()} cores, {platform.machine()}, Python
{platform.python_version()}, {versions}. Absolute times are this machine's; ratios within the run are what to read.

## The flagship: STAR, 5,871 pupils, 79 schools, 4 x 1000 draws after 500

The same model and priors everywhere. Smallest bulk ESS is over the fixed effects, both SDs, their correlation and the
residual SD.

| | prepare or compile, s | sampling, s | smallest bulk ESS | ESS a second | times slower |
|---|---|---|---|---|---|
{chr(10).join(lines)}

{reml}
Preparing is compiling the kernel, reducing rows and finding the mode (ours; {again}
when the kernel is compiled, which it is for every later model), compiling the graph (joint), compiling C++ (brms, 500 warm-up and
1000 draws a chain, two cores).

## From `python` to the posterior

| | seconds |
|---|---|
| whole process, imports included, warm | {process["warm"]:.1f} |
| whole process, empty compile caches | {process["empty"]:.1f} |
| refit on new data of the same shape, same process | {refitted:.2f} |

## Many rows, 1,000 clusters, random intercept and slope, one covariate

| rows | reduction to cross-products, s | sampling 4 x 1000 after 500, s | memory that sampling added, MiB |
|---|---|---|---|
| 10,000 | {small["reduce"]:.3f} | {small["sampling"]:.2f} | {small["memory"]:.0f} |
| 1,000,000 | {million["reduce"]:.3f} | {million["sampling"]:.2f} | {million["memory"]:.0f} |
"""


if __name__ == "__main__":
    main()
