"""Simulation-based calibration: do the posteriors mean what they say?

If parameters are drawn from the prior and data from the model given them, then the rank of the true value of any quantity
among independent posterior draws is uniform, exactly, when graph, likelihood, sampler and recovery of the random effects
are all right (Talts et al., 2018, arXiv:1804.06788). Quantities that depend on the data, such as the log-likelihood, see
errors that parameters alone do not (Modrak et al., 2023, doi:10.1214/23-BA1404).
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.design import fingerprint
from bayeshte.errors import ConvergenceWarning, DataError, SpecError
from bayeshte.fit import Fit, fit
from bayeshte.progress import Bar
from bayeshte.sampler import Progress
from bayeshte.simulate import simulate
from bayeshte.spec import ModelSpec
from bayeshte.summary import elements
from bayeshte.uniformity import chi2_test, ecdf_test, holm

#: Posterior draws a rank: 120 possible ranks, so that 50, 80 and 95 % intervals hold whole numbers of them.
RANK_DRAWS = 119
#: Probabilities of the central intervals whose coverage is reported.
LEVELS = (0.5, 0.8, 0.95)
#: Family-wise error of the verdict, and the share of simulations that may fail to converge.
ALPHA, MAX_FAILED = 0.05, 0.05


@dataclass(frozen=True)
class Calibration:
    """Simulation-based calibration of a model.

    Attributes
    ----------
    results : DataFrame
        One row a simulation and quantity: ``simulation, data, status, quantity, truth, rank, mean, sd`` (`mean` and `sd`
        of the posterior); a simulation that could not be ranked has one row with its status.
    draws : int
        Posterior draws a rank: ranks are 0, 1, ..., `draws`.
    """

    results: pd.DataFrame
    draws: int = RANK_DRAWS

    @cached_property
    def status(self) -> pd.Series:
        """What became of every simulation: ``"ok"``, ``"ok, longer run"``, ``"not converged: ..."``, ``"refused: ..."``."""
        return self.results.drop_duplicates("simulation").set_index("simulation")["status"]

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """Rank of the true value, simulations x quantities; quantities with the same values appear once."""
        done = self.results.dropna(subset="rank")
        if done.empty:
            return pd.DataFrame()
        order = done["quantity"].drop_duplicates()
        truth = done.pivot(index="simulation", columns="quantity", values="truth")[order]
        new = _distinct(truth.to_numpy())
        return done.pivot(index="simulation", columns="quantity", values="rank")[order].loc[:, new].astype(int)

    @property
    def failed(self) -> int:
        """Simulations without ranks: not converged, or data that the model refuses."""
        return int(self.results["rank"].isna().sum())

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tests of uniformity, a quantity a row.

        Returns
        -------
        DataFrame
            ``quantity``; ``p_ecdf``, of the largest departure of the rank ECDF (Säilynoja et al., 2022, doi:
            10.1007/s11222-022-10090-6, by simulation); ``p_chi2``, of equal counts in bins; ``p_holm``, the smaller of the
            two after Holm's correction over all tests of the table; ``cover_50, z_50, ...``, share of simulations whose
            central interval holds the true value, and its distance from the nominal value in standard errors;
            ``contraction``, 1 - posterior variance / prior variance, on average.
        """
        done = self.results.dropna(subset="rank")
        if done.empty:
            raise DataError(f"No simulation has ranks; the first: {self.status.iloc[0]}")
        by = done.groupby("quantity", sort=False)
        contraction = 1 - by["sd"].agg(lambda s: (s**2).mean()) / by["truth"].var()
        rows = []
        for name, ranks in self.ranks.items():
            row = {"quantity": name, "p_ecdf": ecdf_test(ranks, self.draws), "p_chi2": chi2_test(ranks, self.draws)}
            row["p_holm"] = np.nan
            for level in LEVELS:
                outside = round((1 - level) / 2 * (self.draws + 1))
                share = ranks.between(outside, self.draws - outside).mean()
                row[f"cover_{level:.0%}"[:-1]] = share
                row[f"z_{level:.0%}"[:-1]] = (share - level) / np.sqrt(level * (1 - level) / len(ranks))
            rows.append(row | {"contraction": contraction[name]})
        out = pd.DataFrame(rows)
        out["p_holm"] = holm(out[["p_ecdf", "p_chi2"]].to_numpy()).min(axis=1)
        return out

    @property
    def ok(self) -> bool:
        """Whether no test rejects uniformity (family-wise error 5 %) and at most 5 % of the simulations failed."""
        return bool((self.table["p_holm"] > ALPHA).all()) and self.failed <= MAX_FAILED * len(self.status)

    @property
    def verdict(self) -> str:
        """One sentence."""
        worst = self.table.loc[self.table["p_holm"].idxmin()]
        tests = f"{2 * len(self.table)} tests of {len(self.table)} quantities in {len(self.ranks)} simulations"
        failed = f"{self.failed} of {len(self.status)} simulations without ranks"
        word = "Calibrated" if self.ok else "NOT CALIBRATED"
        return f"{word}: smallest p after Holm {worst['p_holm']:.3g} ({worst['quantity']}), {tests}; {failed}."

    def __repr__(self):
        return f"{self.verdict}\n{self.table.to_string(index=False, float_format='%.3g')}"


def calibrate(
    spec: ModelSpec,
    data: pd.DataFrame,
    *,
    simulations: int = 200,
    draws: int = 1000,
    tune: int = 500,
    seed: int = 0,
    path: str | Path | None = None,
    progress: bool = True,
) -> Calibration:
    """Simulation-based calibration: fit data simulated from the model, rank the truth among the posterior draws.

    Priors are resolved once, on `data`, and used with these numbers to simulate and to fit. The truth of every parameter,
    of the headline estimands, of the random effects (cluster means, slopes) and effects of the first and last cluster, and of
    the log-likelihood is ranked among `RANK_DRAWS` posterior draws, evenly spaced over the four chains; the effective sample
    size that a converged fit has makes them nearly independent. A fit that does not converge is repeated with four times the
    draws and ``target_accept=0.99``; what then fails is counted. Given the data, failing has nothing to do with the truth, so
    the other ranks stay uniform.

    Parameters
    ----------
    spec : ModelSpec
    data : DataFrame
        The persons, arms, clusters, covariates and missing values; the outcome only sets the scale of default priors.
    simulations : int
    draws, tune : int
        Of each of four chains, as in `bh.fit`.
    seed : int
    path : str or Path, optional
        A CSV file to which every finished simulation is written; a second call with the same arguments goes on from there.
    progress : bool
        Show a progress bar, on a terminal or in a notebook.

    Returns
    -------
    Calibration

    Raises
    ------
    SpecError
        Improper priors.
    DataError
        `path` holds the simulations of another calibration.
    """
    design = spec.design(data)
    spec = replace(spec, priors=spec.frozen_priors(design))
    simulated = simulate(spec, data, n=simulations, seed=seed)
    done = _read(path) if path is not None else {}
    start = time.perf_counter()
    with Bar(progress) as bar:
        for k, (truth, frame) in enumerate(simulated):
            mark = fingerprint(frame)
            if k in done:
                if done[k]["data"].iloc[0] != mark:
                    raise DataError(f"{str(path)!r} holds another calibration: the data of simulation {k} differ.")
                continue
            status, ranked = _one(spec, truth, frame, draws, tune, seed=(seed, k))
            ranked.insert(0, "simulation", k)
            ranked.insert(1, "data", mark)
            ranked.insert(2, "status", status)
            done[k] = ranked
            if path is not None:
                _write(done, path)
            bar.sampling(Progress(k + 1, simulations, 0, time.perf_counter() - start))
    return Calibration(pd.concat([done[k] for k in range(simulations)], ignore_index=True))


def _one(spec, truth: xr.Dataset, frame: pd.DataFrame, draws: int, tune: int, seed) -> tuple[str, pd.DataFrame]:
    """Fit one simulated data set: what became of it, and ``quantity, truth, rank, mean, sd``."""
    columns = ["quantity", "truth", "rank", "mean", "sd"]
    nothing = pd.DataFrame([[np.nan] * len(columns)], columns=columns)
    streams = np.random.SeedSequence(seed).spawn(2)
    first, second = (int(s) for s in streams[0].generate_state(2))
    try:
        _check_labels(spec.design(frame), truth)
        status, made = "ok", _fit(spec, frame, draws, tune, first, 0.8)
        if not made.diagnosis.ok:
            status, made = "ok, longer run", _fit(spec, frame, 4 * draws, 4 * tune, second, 0.99)
    except (DataError, SpecError) as error:
        return f"refused: {error}", nothing
    if not made.diagnosis.ok:
        return made.diagnosis.verdict.replace("NOT CONVERGED", "not converged"), nothing
    posterior = quantities(spec, made.design, _thinned(made.posterior))
    true = quantities(spec, made.design, truth.expand_dims(["chain", "draw"]))[posterior.columns].iloc[0]
    rng = np.random.default_rng(streams[1])
    below, ties = (posterior < true).sum(), (posterior == true).sum()
    ranked = pd.DataFrame({"truth": true, "rank": below + rng.integers(0, ties + 1), "mean": posterior.mean()})
    return status, ranked.assign(sd=posterior.std()).rename_axis("quantity").reset_index()[columns]


def _check_labels(design: xr.Dataset, truth: xr.Dataset) -> None:
    """DataError if the simulated data make another model of the specification: a category that nobody chose is closed up."""
    for dim in [d for d in truth.dims if d in design.coords]:
        names, there = truth[dim].to_numpy().astype(str), design[dim].to_numpy().astype(str)
        if not np.array_equal(names, there):
            lost = [str(v) for v in names if v not in there]
            raise DataError(
                f"{len(lost)} of {len(names)} labels of {dim!r} are not in the simulated data, such as {lost[:3]}: a category "
                "that nobody chose is closed up. More persons, or priors that make such data rarer."
            )


def _fit(spec, frame, draws, tune, seed, target_accept) -> Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the diagnosis is looked at
        out = fit(spec, frame, draws=draws, tune=tune, seed=seed, target_accept=target_accept, progress=False)
    if not out.record["complete"]:
        raise KeyboardInterrupt
    return out


def _thinned(posterior: xr.Dataset) -> xr.Dataset:
    """`RANK_DRAWS` evenly spaced draws, as one chain."""
    n = posterior.sizes["chain"] * posterior.sizes["draw"]
    pick = np.linspace(0, n - 1, RANK_DRAWS).round().astype(int)
    chain, draw = (xr.DataArray(i, dims="pick") for i in np.divmod(pick, posterior.sizes["draw"]))
    kept = posterior.isel(chain=chain, draw=draw).drop_vars(["chain", "draw"]).rename(pick="draw")
    return kept.expand_dims("chain").assign_coords(chain=[0], draw=np.arange(RANK_DRAWS))


def quantities(spec: ModelSpec, design: xr.Dataset, posterior: xr.Dataset) -> pd.DataFrame:
    """What is ranked, (draw, quantity), from posterior draws or from a true value; labels as in tables."""
    cluster = design.attrs["cluster"]
    values = list(posterior.data_vars.values())
    values += [
        e.draws(posterior, design).rename(e.name) for e in spec.estimands(design) if e.headline or e.scale == "sd"
    ]
    for unit, name in (("cluster", "log-likelihood"), ("row", "log-likelihood given random effects")):
        each = spec.log_likelihood(posterior, design, unit=unit)
        values.append(each.sum([d for d in each.dims if d not in ("chain", "draw")]).rename(name))
    out = {}
    for v in values:
        labels, x = elements(v.isel({cluster: [0, -1]}) if cluster in v.dims else v)
        out |= dict(zip(labels, x.reshape(-1, x.shape[-1]).T, strict=True))
    return pd.DataFrame(out)


def _distinct(truth: np.ndarray) -> list[bool]:
    """Which columns of true values (simulation, quantity) vary, and repeat none before them."""
    scale = truth.std(0)
    keep = list(scale > 1e-9 * np.abs(truth).max(0))
    for k in range(truth.shape[1]):
        near = np.abs(truth[:, :k] - truth[:, [k]]).max(0) <= 1e-9 * scale[k]
        keep[k] = bool(keep[k] and not near.any())
    return keep


def _read(path: str | Path) -> dict[int, pd.DataFrame]:
    """Finished simulations by number; none if there is no file yet."""
    if not Path(path).exists():
        return {}
    return {int(k): part for k, part in pd.read_csv(path).groupby("simulation")}


def _write(done: Mapping[int, pd.DataFrame], path: str | Path) -> None:
    """Everything so far, replaced at once, so that no interruption leaves a torn file."""
    new = Path(path).with_name(Path(path).name + ".new")
    pd.concat(list(done.values())).to_csv(new, index=False)
    new.replace(path)
