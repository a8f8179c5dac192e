"""Fitting: one straight line from specification and data to a record that holds everything.

design -> frozen priors -> density -> sampling -> what was integrated is drawn back -> diagnosis
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from bayeshte import sampler, store
from bayeshte.convergence import Diagnosis, diagnose
from bayeshte.effects import effects, mark
from bayeshte.errors import ConvergenceWarning, DataError, SpecError
from bayeshte.prior import Prior
from bayeshte.progress import Bar
from bayeshte.spec import ModelSpec
from bayeshte.summary import LEVEL

PACKAGES = ("bayeshte", "pymc", "pytensor", "nutpie", "numba", "arviz", "numpy", "pandas", "xarray")


@dataclass(frozen=True)
class Fit:
    """Everything about one analysis; the verbs are functions (`bh.summary(fit)`, `bh.effects(fit)`, ...).

    Attributes
    ----------
    spec : ModelSpec
    design : xr.Dataset
        The data in model form.
    priors : mapping of str to Prior
        Frozen before sampling.
    draws : xr.DataTree
        Groups ``posterior`` (chain, draw, labelled dims) and ``sample_stats``.
    diagnosis : Diagnosis
    record : mapping
        Seed, versions, times in seconds, how it was sampled, whether it is complete.
    """

    spec: ModelSpec
    design: xr.Dataset
    priors: Mapping[str, Prior]
    draws: xr.DataTree
    diagnosis: Diagnosis
    record: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def model(self) -> pm.Model:
        """The joint graph, for `pm.model_to_graphviz`, prior and posterior prediction, and `pm.do`."""
        return self.spec.joint(self.design, self.priors)

    @cached_property
    def posterior(self) -> xr.Dataset:
        """The draws: parameters, random effects, derived quantities."""
        return self.draws["posterior"].to_dataset()

    @cached_property
    def cluster_log_likelihood(self) -> xr.DataArray:
        """Log-likelihood of every cluster at every draw, the random effects integrated: (chain, draw, cluster).

        Where that takes quadrature, attributes say how: `integrated` in words, `quadrature_error` in nats.

        Raises
        ------
        SpecError
            Without clusters, or for a family that cannot integrate its likelihood over them.
        """
        cluster = self.design.attrs["cluster"]
        if not cluster:
            raise SpecError(
                "The model has no clusters to leave out: write unit='row', or name their column with cluster=, "
                "varying=() and intercept_varies=False."
            )
        first = self.spec.log_likelihood(self.posterior.isel(chain=[0], draw=[0]), self.design, "cluster")
        if cluster not in first.dims:  # rows, given the random effects
            raise SpecError(
                f"The likelihood of a whole {cluster}, its random effects integrated, is not available for "
                f"{type(self.spec).__name__}; leaving out clusters and prior sensitivity need it, "
                "bh.loo(fit, unit='row') does not."
            )
        return self.spec.log_likelihood(self.posterior[self.parameters], self.design, "cluster")

    @property
    def parameters(self) -> list[str]:
        """Names of the model's parameters (no random effects, nothing derived but correlations)."""
        return [str(v) for v in self.posterior.data_vars if v not in self.spec.latent]

    def __repr__(self):
        n = self.posterior.sizes
        lines = [headline(self), self.diagnosis.verdict, summary(self).to_string(index=False, float_format="%.4g")]
        lines += self._said_of_classes
        return "\n".join(
            [*lines, f"{n['chain']} chains x {n['draw']} draws. Next: bh.effects(fit), bh.report(fit, path)"]
        )

    @property
    def _said_of_classes(self) -> list[str]:
        """The comparison of latent classes with one class, if it was made; see `bayeshte.class_rivals`."""
        return [f"{self.record['one_class']['sentence']}."] if "one_class" in self.record else []

    def _repr_html_(self):
        found = effects(self, headline=True)
        table = summary(self).rename(columns={"parameter": "estimand"}) if found.empty else found
        columns = ["estimand", "contrast", "estimate", "lower", "upper", "p_one_tailed"]
        shown = table[[c for c in columns if c in table and not (table[c] == "").all()]]
        style = shown.style.format(precision=3, escape="html").hide(axis="index")
        plot = self.spec.describe(self.design).plot
        next_ = [f"<code>bh.{verb}(fit)</code>" for verb in ("summary", "effects", plot)]
        classes = "".join(f"<p>{escape(text)}</p>" for text in self._said_of_classes)
        return (
            f"<p><b>{escape(headline(self))}</b></p>{self.diagnosis._repr_html_()}{style.to_html()}{classes}"
            f"<p>95 % equal-tailed intervals. Next: {', '.join(next_)}, <code>bh.report(fit, path)</code></p>"
        )


def headline(fit: Fit) -> str:
    """The model and the data in a line."""
    a, n = fit.design.attrs, fit.design.sizes
    parts = [f"{type(fit.spec).__name__} ({a['family']}): {a['outcome']}"]
    if a["treatment"]:
        arms = fit.design[f"{a['treatment']}_arm"].to_numpy()
        parts.append(f"by {a['treatment']} ({', '.join(map(str, arms[1:]))} vs {arms[0]})")
    if "item" in a:
        parts.append(f"in {n[a['cluster']]:,} persons ({a['cluster']}) and {n[a['item']]:,} items ({a['item']})")
    elif a["cluster"]:
        parts.append(f"in {n[a['cluster']]} clusters of {a['cluster']}")
    dropped = a["rows_given"] - n["row"]
    rows = f"{n['row']:,} rows" + (f" ({dropped:,} incomplete rows dropped)" if dropped else "")
    return f"{' '.join(parts)}; {rows}"


def fit(
    spec: ModelSpec,
    data: pd.DataFrame,
    *,
    draws: int = 1000,
    tune: int = 500,
    chains: int = sampler.CHAINS,
    seed: int | None = None,
    cores: int | None = None,
    target_accept: float = 0.9,
    marginal: bool = True,
    path: str | Path | None = None,
    progress: bool = True,
) -> Fit:
    """Fit a model.

    Parameters
    ----------
    spec : ModelSpec
    data : DataFrame
        Never changed.
    draws, tune : int
        Draws kept and warm-up draws of each chain.
    chains : int
        Two or more: convergence is judged by comparing them.
    seed : int, optional
        The same seed gives the same draws on any number of cores of one machine. Without it one is chosen and recorded.
    cores : int, optional
        Chains that run at the same time; all cores by default.
    target_accept : float
        Raise towards 0.99 if there are divergences. (At nutpie's own 0.8 small meta-analyses have a few.)
    marginal : bool
        False samples the joint graph as written, every latent effect included: slower, the same posterior.
    path : str or Path, optional
        A new folder to which the fit is saved. The draws so far are written every few seconds, so that an interrupted or
        killed run can be opened with `bh.load`, marked incomplete.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.

    Returns
    -------
    Fit

    Raises
    ------
    SpecError, DataError
        Before anything is sampled.

    Warns
    -----
    ConvergenceWarning
        If the draws do not represent the posterior.
    """
    for name, value, least in (("draws", draws, 4), ("tune", tune, 50), ("chains", chains, 2)):
        if not isinstance(value, int) or value < least:
            raise SpecError(f"{name}={value!r}: a whole number of at least {least}.")
    seed = int(np.random.SeedSequence().entropy % 2**32) if seed is None else int(seed)
    begin = time.perf_counter()
    design = spec.design(data)
    priors = spec.frozen_priors(design)
    record: dict[str, object] = {
        "seed": seed,
        "draws": draws,
        "tune": tune,
        "chains": chains,
        "target_accept": target_accept,
        "sampled": "marginal density, compiled kernel" if marginal else "joint graph",
        "versions": {p: version(p) for p in PACKAGES},
    }
    folder = store.begin(path, spec, design, priors, record) if path is not None else None
    with Bar(progress) as bar:
        bar.phase("Compiling" if not marginal else "Preparing")
        model = sampler.compiled_graph(spec.joint(design, priors)) if not marginal else None
        model = model or sampler.compiled(spec.marginal(design, priors), design.coords)
        ready = time.perf_counter()
        tree, complete = sampler.sample(
            model,
            draws=draws,
            tune=tune,
            seed=seed,
            chains=chains,
            cores=cores,
            target_accept=target_accept,
            snapshot=partial(store.snapshot, folder) if folder else None,
            report=bar.sampling if bar.shown else None,
        )
        done = time.perf_counter()
        bar.phase("Summarising")
        record |= {"seconds_preparing": ready - begin, "seconds_sampling": done - ready}
        out = assemble(spec, design, priors, tree, record, complete)
    if folder:
        try:
            store.finish(folder, out.draws, out.record)
        except DataError as error:  # a full disk must not lose what was sampled
            warnings.warn(f"{error} The fit is returned: save it elsewhere with bh.save(fit, path).", stacklevel=2)
    if not out.diagnosis.ok:
        warnings.warn(out.diagnosis.verdict, ConvergenceWarning, stacklevel=2)
    return out


def assemble(spec, design, priors, tree: xr.DataTree, record: Mapping[str, object], complete: bool) -> Fit:
    """A `Fit` from raw draws: what was integrated is drawn back, derived quantities are added, everything is checked."""
    seed = np.random.SeedSequence(record["seed"], spawn_key=(1,))
    posterior = spec.recover(tree["posterior"].to_dataset(), design, np.random.default_rng(seed))
    draws = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": tree["sample_stats"].to_dataset()})
    return Fit(
        spec,
        design,
        priors,
        draws,
        diagnose(draws, (*spec.latent, *spec.random_effects), complete),
        dict(record) | {"complete": complete},
    )


def save(fit: Fit, path: str | Path) -> Path:
    """Save a fit to a new folder: draws and design (zarr), spec.json, priors.json, record.json.

    Raises
    ------
    DataError
        If the folder exists and is not empty, or cannot be written.
    """
    folder = store.begin(path, fit.spec, fit.design, fit.priors, dict(fit.record))
    store.finish(folder, fit.draws, fit.record)
    return folder


def load(path: str | Path) -> Fit:
    """Open a saved fit. A run that was killed half-way opens with the draws it had, marked incomplete.

    Raises
    ------
    DataError
        If the folder is no saved fit, is cut short, or was written in another format.
    """
    saved = store.read(path)
    if saved.complete:
        done = bool(saved.record.get("complete", True))
        diagnosis = diagnose(saved.draws, (*saved.spec.latent, *saved.spec.random_effects), done)
        return Fit(saved.spec, saved.design, saved.priors, saved.draws, diagnosis, saved.record)
    return assemble(saved.spec, saved.design, saved.priors, saved.draws, saved.record, complete=False)


def summary(fit: Fit, interval: str = "eti", level: float = LEVEL) -> pd.DataFrame:
    """The parameters, one a row, in the schema of `bayeshte.summary`.

    Parameters
    ----------
    fit : Fit
    interval : {"eti", "hdi"}
        Equal-tailed or highest-density intervals.
    level : float
        Their probability.
    """
    return mark(fit, fit.spec.summary(fit.posterior, interval, level))
