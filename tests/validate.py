"""Calibration of every kind of model, and coverage: ``make validate``, or ``python tests/validate.py [NAME ...] [--quick]``.

Writes docs/validation.md with its pictures. With names of scenarios (tests/validate_models.py) or "contextual effect"
(tests/validate_coverage.py), or with --quick, the page goes to out/ instead, so that a partial run never replaces the full one;
--page NAME gives it a place of its own, docs/NAME.md.
Ranks are kept in out/calibration/ while it runs; --resume goes on with those of an interrupted run. The exit code is 1 if
calibration or coverage fails.
"""

import argparse
import os
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small: threads only wait for each other

import matplotlib
import pandas as pd
import validate_coverage as coverage
from validate_models import SCENARIOS

from bayeshte.calibration import ALPHA, LEVELS, MAX_FAILED, Calibration, calibrate
from bayeshte.uniformity import ecdf_band

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
SIMULATIONS, QUICK = 200, 20
SEED = 20251
STUDY = "contextual effect"


def kept(name: str, simulations: int, resume: bool) -> Path:
    """Where the results of a run are kept."""
    path = ROOT / "out" / "calibration" / f"{name.replace(' ', '-')}-{simulations}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not resume:
        path.unlink(missing_ok=True)
    return path


def run(name: str, simulations: int, path: Path) -> tuple[Calibration, float]:
    """Calibrate one scenario; seconds it took."""
    start = time.perf_counter()
    scenario = SCENARIOS[name]
    result = calibrate(scenario.spec, scenario.data(), simulations=simulations, seed=SEED, path=path)
    return result, time.perf_counter() - start


def smallest(results: dict[str, Calibration]) -> float:
    """The smallest p-value after Holm's correction within and Bonferroni's over scenarios."""
    return min(1.0, len(results) * min(c.table["p_holm"].min() for c in results.values()))


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is the header."""
    lines = ["| " + " | ".join(r) + " |" for r in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """Short hash, and whether the package differs from it."""
    changed = git("status", "--porcelain", "bayeshte")
    return f"{git('rev-parse', '--short', 'HEAD')}{' with uncommitted changes' if changed else ''}"


def overview(results: dict[str, Calibration], seconds: dict[str, float]) -> str:
    rows = [
        ["model", "covers", "ranked", "longer run", "not ranked", "quantities", "smallest p", "calibrated", "minutes"]
    ]
    for name, c in results.items():
        longer = (c.status == "ok, longer run").sum()
        p = c.table["p_holm"].min()
        numbers = [
            len(c.ranks),
            longer,
            c.failed,
            len(c.table),
            f"{p:.3f}",
            "yes" if c.ok else "NO",
            f"{seconds[name] / 60:.1f}" if name in seconds else "–",
        ]
        rows.append([name, SCENARIOS[name].covers, *map(str, numbers)])
    return markdown(rows)


def details(name: str, c: Calibration) -> str:
    """One scenario: its priors, and all its tests."""
    scenario = SCENARIOS[name]
    data = scenario.data()
    design = scenario.spec.design(data)
    priors = ", ".join(f"{k} ~ {p!r}" for k, p in scenario.spec.priors.items())
    n = f"{len(data)} rows"
    if cluster := design.attrs["cluster"]:
        counts = data[cluster].value_counts()
        n += f" in {len(counts)} clusters ({cluster}) of {counts.min()} to {counts.max()}"
    written = [f"{role}: `{text}`" for role, text in scenario.spec.describe(design).written]
    failures = "".join(
        f"\n- {n} not ranked: {text.split(';')[0]}"
        for text, n in c.status[~c.status.str.startswith("ok")].value_counts().items()
    )
    header = ["quantity", "p ECDF", "p chi-square", "p Holm", *(f"{v:.0%} (z)" for v in LEVELS), "contraction"]
    rows = [header]
    for row in c.table.to_dict("records"):
        cover = [f"{row[f'cover_{v:.0%}'[:-1]]:.1%} ({row[f'z_{v:.0%}'[:-1]]:+.1f})" for v in LEVELS]
        p = [f"{row[k]:.3f}" for k in ("p_ecdf", "p_chi2", "p_holm")]
        rows.append([f"`{row['quantity']}`", *p, *cover, f"{row['contraction']:.2f}"])
    model = f"{'; '.join(written)}.\n\n" if written else ""
    covers = f"{scenario.covers[0].upper()}{scenario.covers[1:]}"
    text = f"## {name[0].upper()}{name[1:]}\n\n{covers}. {n}.\n\n{model}Priors: {priors}."
    return f"{text}\n{failures}\n\n{markdown(rows)}\n"


def page(
    results: dict[str, Calibration],
    seconds: dict[str, float],
    simulations: int,
    study: pd.DataFrame | None,
    command: str,
    name: str,
) -> str:
    """The page; `name` is that of its file, without ending."""
    versions = ", ".join(f"{p} {version(p)}" for p in ("bayeshte", "pymc", "nutpie", "numba", "numpy", "scipy"))
    levels = ", ".join(f"{v:.0%}" for v in LEVELS)
    draws = next(iter(results.values())).draws
    p = smallest(results)
    verdict = "No test rejects" if p > ALPHA else "Calibration is REJECTED"
    pictures = "\n\n".join(
        f"![Departure of rank ECDFs from uniformity, {kind}](images/{image(kind, name)})" for kind in kinds(results)
    )
    title = "Validation" if name == "validation" else f"Validation: {', '.join(results)}"
    return f"""# {title}

Written by `{command}` on {date.today()}, commit {commit()}, Python {sys.version.split()[0]}, {versions}.

**{verdict}**: the smallest of all p-values, corrected for their number within and over the {len(results)} models, is {p:.3f}.
{"" if study is None else coverage.verdict(study)}

{overview(results, seconds)}

"Longer run": fits that did not pass the diagnosis at first (4 x 1000 draws after 500) and were repeated with four times the
draws and `target_accept=0.99`. "Not ranked": fits that did not converge then, or data that the model refuses (a binary
outcome without variation, say). Given the data, failing has nothing to do with the truth, so it does not bias the others.
Minutes "–": part of the simulations was made by an earlier run that was interrupted.

## How it was done

Simulation-based calibration (Talts et al., 2018; Modrák et al., 2023), `bh.calibrate` with {simulations} simulations a model.
The persons, clusters, arms, covariates and missing values of a template stay; every simulation draws parameters from the priors
below, random effects (latent cluster means, slopes) and outcomes from the joint graph, and fits the outcomes with the compiled
marginal likelihood under the same priors, as `bh.fit` does for everybody. The rank of the true value among {draws} posterior
draws, evenly spaced over four chains, is uniform if graph, likelihood, gradient, sampler and the recovery of random effects are
all right. The quantities are all parameters, the headline estimands, the random effects and effects of the first and last
cluster, and the log-likelihood, which depends on the data and sees errors that parameters do not show.

- **p ECDF**: largest departure of the rank ECDF from uniformity (Säilynoja et al., 2022), against 20,000 simulations of
  uniform ranks. The picture shows the departures and the band that holds 95 % of uniform ECDFs everywhere.
- **p chi-square**: equal counts in 20 bins.
- **p Holm**: the smaller of the two, corrected for all tests of the model. A model is called calibrated if none is below
  {ALPHA} and at most 5 % of the simulations failed.
- **{levels}**: how many central intervals hold the truth, with the distance from the nominal value in standard errors.
- **contraction**: 1 - posterior variance / prior variance. Near 0 the data say little: calibration is then easy.

What this can see: a wrong density or gradient, a prior that differs between graph and kernel, a sampler that misses a part
of the posterior, random effects drawn from a wrong distribution, intervals that are too narrow or too wide. How well: with
200 simulations and 50 tests, a posterior 0.7 times as wide as it should be (95 % intervals that cover 83 %) is found with
probability 0.97, one 0.8 times as wide (88 %) with 0.4, one that is off by 0.4 of its SD with 0.9, by 0.25 with 0.4; a real
mistake shows in several quantities at once. tests/test_simulate.py breaks prior, likelihood and recovery on purpose, and all
three are found. What it cannot see: errors that graph and kernel share, because both read the same design (for that there are
independent NumPy generators in tests/test_recovery.py and tests/test_sem_simulation.py, published results in
tests/test_reference.py and lavaan's estimates in tests/test_lavaan.py), small errors, and
whether the model fits anybody's data (for that there is `bh.predictive_checks`).

{pictures}

{chr(10).join(details(name, c) for name, c in results.items())}
{"" if study is None else coverage.section(study, markdown)}"""


def kinds(results: dict[str, Calibration]) -> dict[str, dict[str, Calibration]]:
    """Results by family: a picture each."""
    out: dict[str, dict[str, Calibration]] = {}
    for name, c in results.items():
        out.setdefault(type(SCENARIOS[name].spec).__name__, {})[name] = c
    return out


def image(kind: str, page: str) -> str:
    return f"{page.replace('validation', 'calibration').replace('-', '_')}_{kind.lower()}.png"


def picture(results: dict[str, Calibration], path: Path) -> None:
    """ECDF minus the diagonal of every quantity, in the simultaneous band of uniform ranks; the worst one is named."""
    rows, wide = (len(results) + 1) // 2, min(len(results), 2)
    figure, axes = plt.subplots(
        rows,
        wide,
        figsize=(4.5 * wide, max(4.0, 2.5 * rows)),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat[len(results) :]:
        axis.remove()
    for axis, (name, c) in zip(axes.flat, results.items(), strict=False):
        points, low, high = ecdf_band(len(c.ranks), c.draws)
        axis.fill_between(points, low, high, color="0.9", step="mid")
        worst = c.table.loc[c.table["p_ecdf"].idxmin(), "quantity"]
        for quantity, ranks in c.ranks.items():
            ecdf = (ranks.to_numpy()[:, None] < points * (c.draws + 1)).mean(0)
            look = (
                {"lw": 1.4, "color": "#b42318", "zorder": 3} if quantity == worst else {"lw": 0.5, "color": "#1f4e79"}
            )
            axis.plot(points, ecdf - points, alpha=1 if quantity == worst else 0.45, **look)
        axis.set_title(name, fontsize=10, loc="left")
        axis.text(0.5, 0.02, worst, fontsize=8, color="#b42318", ha="center", transform=axis.transAxes)
        axis.tick_params(labelsize=8)
    figure.supxlabel("rank of the truth / number of draws", fontsize=9)
    figure.supylabel(
        "ECDF of the ranks minus uniform\ngrey: 95 % simultaneous band; red: largest departure", fontsize=9
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"scenarios: {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} simulations instead of {SIMULATIONS}")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--page", metavar="NAME", help="docs/NAME.md instead of out/validation.md, for some scenarios")
    options = parser.parse_args()
    unknown = set(options.names) - {*SCENARIOS, STUDY}
    if unknown:
        parser.error(f"no scenario {sorted(unknown)}; there are {[*SCENARIOS, STUDY]}")
    simulations = QUICK if options.quick else SIMULATIONS
    chosen = options.names or [*SCENARIOS, STUDY]
    results, seconds, study = {}, {}, None
    for name in chosen:
        path = kept(name, simulations, options.resume)
        if name == STUDY:
            study = coverage.study(simulations, SEED, path)
            print(f"{name}\n{pd.DataFrame(coverage.results(study)).to_string(index=False, header=False)}\n", flush=True)
            continue
        begun = path.exists()
        results[name], took = run(name, simulations, path)
        if not begun:  # else the seconds are those of a part
            seconds[name] = took
        print(f"{name} ({took:.0f} s)\n{results[name]}\n", flush=True)
    if not results:
        return int(not coverage.passes(study))
    part, name = options.quick or options.names, options.page or "validation"
    folder = ROOT / ("out" if part and not options.page else "docs")
    for kind, some in kinds(results).items():
        picture(some, folder / "images" / image(kind, name))
    command = f"python tests/validate.py {' '.join(map(repr, options.names))}" if part else "make validate"
    text = page(results, seconds, simulations, study, command, name)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    print(f"Wrote {folder / name}.md")
    failed = [name for name, c in results.items() if c.failed > MAX_FAILED * simulations]
    if failed:
        print(f"Too many simulations without ranks: {failed}")
    return int(smallest(results) <= ALPHA or bool(failed) or (study is not None and not coverage.passes(study)))


if __name__ == "__main__":
    sys.exit(main())
