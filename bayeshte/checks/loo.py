"""Leave-one-out cross-validation: how well does the model predict a cluster, or a row, that it has not seen?

Leaving out a cluster uses the likelihood with the random effects integrated: what generalising to new clusters means.
Importance sampling does it without refitting (Vehtari, Gelman & Gabry, 2017); where its diagnostic k-hat says that it
fails, the model is fitted again without that cluster, which is exact.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats
from scipy import optimize
from scipy.special import logsumexp

from bayeshte import sampler
from bayeshte.checks.predictive import clusters_vary
from bayeshte.errors import DataError, SpecError
from bayeshte.fit import Fit, assemble

CHUNK = 20_000_000  # pointwise values held at once
UNITS = ("cluster", "row", "person_cluster")  # the last of item responses only
LARGEST_ERROR = 0.01  # of a likelihood that was integrated by quadrature; above it is said


@dataclass(frozen=True)
class Loo:
    """Expected log predictive density of what was left out, in nats; larger is better.

    Attributes
    ----------
    unit : str
        ``"cluster"`` or ``"row"``.
    what : str
        What was left out and given what, for tables and captions.
    pointwise : DataFrame
        Index: labels of the units. ``elpd``, ``p_loo``, ``khat`` (of importance sampling, also where the model was fitted
        again), ``mcse``, ``refitted``.
    limit : float
        Largest k-hat at which importance sampling is trusted: min(1 - 1 / log10(draws), 0.7).
    troubles : tuple of str
        Sentences about what cannot be trusted: the fit or a refit did not converge, a k-hat above the limit was left.
    """

    unit: str
    what: str
    pointwise: pd.DataFrame
    limit: float
    troubles: tuple[str, ...]

    @property
    def elpd(self) -> float:
        """Sum over units."""
        return float(self.pointwise["elpd"].sum())

    @property
    def se(self) -> float:
        """Standard error over units of `elpd`."""
        return float(np.sqrt(len(self.pointwise)) * self.pointwise["elpd"].std())

    @property
    def p_loo(self) -> float:
        """Effective number of parameters: how much better the data are fitted than predicted."""
        return float(self.pointwise["p_loo"].sum())

    @property
    def mcse(self) -> float:
        """Monte Carlo error of `elpd`."""
        return float(np.sqrt((self.pointwise["mcse"] ** 2).sum()))

    @property
    def worst_khat(self) -> float:
        """Largest k-hat."""
        return float(self.pointwise["khat"].max())

    @property
    def refits(self) -> int:
        """How many units were left out by fitting again."""
        return int(self.pointwise["refitted"].sum())

    def __repr__(self):
        lines = [
            f"LOO, {self.what}: {len(self.pointwise):,} units",
            f"elpd {self.elpd:.1f} (SE {self.se:.1f}, Monte Carlo error {self.mcse:.2f}), p_loo {self.p_loo:.1f}",
            f"largest k-hat {self.worst_khat:.2f} (limit {self.limit:.2f}); {self.refits} refitted exactly",
        ]
        return "\n".join([*lines, *self.troubles])


def loo(fit: Fit, unit: str = "cluster", refit: bool = True) -> Loo:
    """Leave-one-out cross-validation.

    Parameters
    ----------
    fit : Fit
    unit : {"cluster", "row", "person_cluster"}
        Leave out whole clusters, random effects integrated (the random slopes of a SEM by quadrature); or single rows, given the
        random effects of their clusters (prediction of further persons in the same clusters). Without clusters only "row"; where
        every cluster is one row, random effects are integrated, since a row says nothing of itself. Of
        item responses clusters are persons, given the effects of their own clusters; "person_cluster" leaves out whole clusters
        of persons, the effect that varies over them integrated by quadrature.
    refit : bool
        Fit again without each cluster whose k-hat is above the limit, with the same frozen priors. Rows and clusters of persons
        are not refitted.

    Returns
    -------
    Loo

    Raises
    ------
    SpecError
        ``unit="cluster"`` without clusters, or for a family that cannot integrate its likelihood over them;
        ``unit="person_cluster"`` for other families than `ItemResponse`, or where several effects vary over clusters of persons.
    """
    units = UNITS if "person_cluster" in fit.design.attrs else UNITS[:2]
    if unit not in units:
        raise SpecError(f"unit={unit!r}: write {' or '.join(map(repr, units))}.")
    integrated, troubles = "", () if fit.diagnosis.ok else (fit.diagnosis.verdict,)
    if unit == "row" and not _single_rows(fit):
        parts, error = [], 0.0
        for values in row_log_likelihood(fit):
            parts.append(_importance(values))
            integrated = integrated or values.attrs.get("integrated", "")
            error += values.attrs.get("quadrature_error", 0.0)
        pointwise = pd.concat(parts)
    else:
        own = unit != "person_cluster"
        values = fit.cluster_log_likelihood if own else fit.spec.log_likelihood(fit.posterior, fit.design, unit)
        values = _by_row(values, fit) if unit == "row" else values
        pointwise, integrated = _importance(values), values.attrs.get("integrated", "")
        error = values.attrs.get("quadrature_error", 0.0)
    if error > LARGEST_ERROR:
        troubles = (*troubles, f"Not integrated precisely: {integrated}.")
    limit = min(1 - 1 / np.log10(fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]), 0.7)
    out = Loo(unit, _what(fit, unit, integrated), pointwise, limit, troubles)
    high = [label for label, k in pointwise["khat"].items() if not k <= limit]
    if not high:
        return out
    if unit == "cluster" and refit:
        return _refitted(out, fit, high)
    shown = ", ".join(map(str, high[:5])) + (", ..." if len(high) > 5 else "")
    return replace(
        out, troubles=(*troubles, f"k-hat above {limit:.2f} for {len(high)}: {shown}; elpd is not reliable.")
    )


def _single_rows(fit: Fit) -> bool:
    """Whether something varies over clusters of one row each."""
    return clusters_vary(fit) and fit.design.sizes[fit.design.attrs["cluster"]] == fit.design.sizes["row"]


def _by_row(values: xr.DataArray, fit: Fit) -> xr.DataArray:
    """Log-likelihoods of clusters of one row under the names of the rows."""
    cluster = fit.design.attrs["cluster"]
    values = values.isel({cluster: fit.design["cluster_code"].to_numpy()}).drop_vars(cluster).rename({cluster: "row"})
    return values.assign_coords(row=fit.design["row"].to_numpy())


def _what(fit: Fit, unit: str, integrated: str) -> str:
    cluster = fit.design.attrs["cluster"]
    if unit == "person_cluster":
        return f"leaving out one {fit.design.attrs[unit]} at a time, abilities integrated, {integrated}"
    if unit == "cluster" or _single_rows(fit):
        left_out = cluster if unit == "cluster" else "row"
        return f"leaving out one {left_out} at a time, random effects integrated" + (integrated and f", {integrated}")
    given = f", given the random effects of {cluster} (conditional)" if clusters_vary(fit) else ""
    return f"leaving out one row at a time{given}" + (integrated and f", integrated: {integrated}")


def row_log_likelihood(fit: Fit) -> Iterator[xr.DataArray]:
    """Log-likelihood of every row at every draw, given the random effects: (chain, draw, row), in pieces of rows."""
    n = fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"]
    step = max(1, CHUNK // (n * fit.design.sizes.get("within_variable", 1)))
    for start in range(0, fit.design.sizes["row"], step):
        yield fit.spec.log_likelihood(fit.posterior, fit.design.isel(row=slice(start, start + step)), "row")


def _importance(values: xr.DataArray) -> pd.DataFrame:
    """Pareto-smoothed importance sampling of every unit, from its log-likelihood at every draw."""
    (unit,) = (d for d in values.dims if d not in ("chain", "draw"))
    ll = values.transpose(unit, "chain", "draw").to_numpy()
    constant = np.ptp(ll, axis=(1, 2)) == 0  # a row without any value
    table = pd.DataFrame(
        {"elpd": ll[:, 0, 0], "p_loo": 0.0, "khat": 0.0, "mcse": 0.0, "refitted": False},
        index=pd.Index(values[unit].to_numpy(), name=unit),
    )
    if constant.all():
        return table
    ll = ll[~constant]
    density = np.exp(ll - ll.max((1, 2), keepdims=True))
    efficiency = array_stats.ess(density, method="mean", relative=True)
    log_weights, khat = array_stats.psislw(ll, r_eff=float(efficiency.mean()), axis=(1, 2))
    log_weights -= logsumexp(log_weights, axis=(1, 2), keepdims=True)
    elpd = logsumexp(log_weights + ll, axis=(1, 2))
    error = np.exp(log_weights) * np.expm1(ll - elpd[:, None, None])
    mcse = np.sqrt((error**2).sum((1, 2)) / np.minimum(efficiency, 1))  # delta method
    found = {"elpd": elpd, "p_loo": _log_mean(ll) - elpd, "khat": khat, "mcse": mcse}
    table.loc[~constant, list(found)] = np.column_stack([*found.values()])
    return table


def _log_mean(values: np.ndarray) -> np.ndarray:
    """Log of the mean over draws of exp(values): (..., chain, draw) -> (...)."""
    return logsumexp(values, axis=(-2, -1)) - np.log(values.shape[-2] * values.shape[-1])


def _refitted(result: Loo, fit: Fit, labels: list) -> Loo:
    """`result` with the clusters `labels` left out by fitting again."""
    table, troubles = result.pointwise.copy(), list(result.troubles)
    full = table["elpd"] + table["p_loo"]
    for label in labels:
        other = without(fit, label)
        values = fit.spec.log_likelihood(other.posterior[other.parameters], fit.design, "cluster")
        values = values.sel({fit.design.attrs["cluster"]: label}).transpose("chain", "draw").to_numpy()
        elpd = float(_log_mean(values))
        error = array_stats.mcse(np.exp(values - elpd), method="mean")
        table.loc[label, ["elpd", "p_loo", "mcse"]] = elpd, full[label] - elpd, float(error)
        table.loc[label, "refitted"] = True
        if not other.diagnosis.ok:
            troubles.append(f"Refit without {label}: {other.diagnosis.verdict}")
    return replace(result, pointwise=table, troubles=tuple(troubles))


def without(fit: Fit, label: str) -> Fit:
    """The model fitted again without a cluster: the same coding, frozen priors and number of draws."""
    cluster = fit.design.attrs["cluster"]
    code = fit.design[cluster].to_numpy().tolist().index(label)
    design = fit.design.drop_sel({cluster: label}).isel(row=fit.design["cluster_code"].to_numpy() != code)
    design["cluster_code"] = design["cluster_code"] - (design["cluster_code"] > code)
    seed = int(np.random.SeedSequence(fit.record["seed"], spawn_key=(2, code)).generate_state(1)[0])
    tree, complete = sampler.sample(
        sampler.compiled(fit.spec.marginal(design, fit.priors), design.coords),
        draws=fit.record["draws"],
        tune=fit.record["tune"],
        seed=seed,
        target_accept=fit.record["target_accept"],
    )
    if not complete:
        raise KeyboardInterrupt
    return assemble(fit.spec, design, fit.priors, tree, dict(fit.record) | {"seed": seed}, complete)


def compare(fits: Mapping[str, Fit], unit: str = "cluster", refit: bool = True) -> pd.DataFrame:
    """Models of the same data beside each other, best first.

    Parameters
    ----------
    fits : mapping of str to Fit
        At least two, by the names to print.
    unit : {"cluster", "row", "person_cluster"}
        What is left out, see `bayeshte.loo`. For a model without random effects to be compared by cluster, name its
        cluster with ``varying=()`` and ``intercept_varies=False``.
    refit : bool
        As in `bayeshte.loo`.

    Returns
    -------
    DataFrame
        A row a model: ``elpd, se``; ``difference`` to the best and ``se_difference`` (paired over units; with fewer than
        100 units, or a difference below 4, it is too small: Sivula et al., 2025); ``p_loo``; ``worst_khat``; ``refits``;
        ``weight`` (stacking, Yao et al., 2018); ``verdict`` on the convergence of fit and refits.

    Raises
    ------
    SpecError
        Fewer than two fits, or a discrete beside a continuous outcome.
    DataError
        Fits whose outcome, rows or clusters differ; the message says which.
    """
    if len(fits) < 2:
        raise SpecError("There is nothing to compare: give at least two fits by name, {'a': fit_a, 'b': fit_b}.")
    for (a, first), (b, second) in itertools.combinations(fits.items(), 2):
        _check_same_data(a, first, b, second, unit)
    results = {name: loo(fit, unit, refit) for name, fit in fits.items()}
    order = sorted(results, key=lambda name: -results[name].elpd)
    best = results[order[0]].pointwise["elpd"]
    elpd = np.column_stack([results[name].pointwise["elpd"].loc[best.index] for name in order])
    lost = elpd - elpd[:, :1]
    table = pd.DataFrame(
        {
            "elpd": [results[n].elpd for n in order],
            "se": [results[n].se for n in order],
            "difference": lost.sum(0),
            "se_difference": np.sqrt(len(lost)) * lost.std(0, ddof=1),
            "p_loo": [results[n].p_loo for n in order],
            "worst_khat": [results[n].worst_khat for n in order],
            "refits": [results[n].refits for n in order],
            "weight": stacking_weights(elpd),
            "verdict": [" ".join(results[n].troubles) or "converged" for n in order],
        },
        index=pd.Index(order, name="model"),
    )
    table.attrs["what"] = results[order[0]].what
    return table


def stacking_weights(elpd: np.ndarray) -> np.ndarray:
    """Weights of the mixture of predictive distributions with the largest elpd (Yao et al., 2018, equation 5).

    Parameters
    ----------
    elpd : ndarray (unit, model)
        Pointwise expected log predictive densities.
    """
    density = np.exp(elpd - elpd.max(1, keepdims=True))
    k = density.shape[1]
    found = optimize.minimize(
        lambda w: -np.log(density @ w).mean(),
        np.full(k, 1 / k),
        jac=lambda w: -(density / (density @ w)[:, None]).mean(0),
        bounds=[(0, 1)] * k,
        constraints=optimize.LinearConstraint(np.ones(k), 1, 1),
        method="SLSQP",
    )
    weights = np.clip(found.x, 0, None)
    return weights / weights.sum()


def _check_same_data(a: str, first: Fit, b: str, second: Fit, unit: str) -> None:
    """DataError unless two fits predict the same values of the same rows, in the same clusters."""
    who = f"{a!r} and {b!r} cannot be compared"
    one, two = first.design, second.design
    values, others = _outcomes(one), _outcomes(two)
    if {v: x.dims for v, x in values.items()} != {v: x.dims for v, x in others.items()}:
        raise DataError(f"{who}: their outcomes are {', '.join(map(repr, values))} and {', '.join(map(repr, others))}.")
    rows = one.indexes["row"], two.indexes["row"]
    if set(rows[0]) != set(rows[1]):
        only = [len(x.difference(y)) for x, y in (rows, rows[::-1])]
        raise DataError(
            f"{who}: {only[0]} rows are only in {a!r}, {only[1]} only in {b!r} (rows with missing values dropped?). "
            "Fit both to the rows that are complete in all their columns."
        )
    for v, x in values.items():
        (dim,) = x.dims
        labels = one.indexes[dim]
        y = others[v].reindex({dim: labels}).to_numpy()
        changed = ~((x.to_numpy() == y) | (np.isnan(x.to_numpy()) & np.isnan(y)))
        if changed.any():
            raise DataError(
                f"{who}: {v!r} differs in {changed.sum()} {dim}s, the first is {labels[changed][0]!r} (transformed?)."
            )
    two = two.sel(row=rows[0])
    kinds = [{v.dtype.startswith("float") for v in f.model.observed_RVs} for f in (first, second)]
    if kinds[0] != kinds[1]:
        raise SpecError(f"{who}: one has a density, the other a probability of the outcome (families differ).")
    if unit != "row" and one.attrs.get(unit) and two.attrs.get(unit):
        members = [d[d.attrs[unit]].to_numpy()[d[f"{unit}_code"].to_numpy()] for d in (one, two)]
        if one.attrs[unit] != two.attrs[unit] or (members[0] != members[1]).any():
            names = [f"{d.attrs[unit]!r} ({d.sizes[d.attrs[unit]]} clusters)" for d in (one, two)]
            raise DataError(f"{who} by cluster: their clusters are {names[0]} and {names[1]}, with different members.")


def _outcomes(design: xr.Dataset) -> dict[str, xr.DataArray]:
    """What a model predicts, by the names of the columns: one value a row, or a cluster."""
    if "y" in design:
        return {design.attrs["outcome"]: design["y"]}
    parts = [design[v] for v in ("Y", "V") if v in design]
    return {str(v): x.isel({x.dims[1]: k}, drop=True) for x in parts for k, v in enumerate(x[x.dims[1]].to_numpy())}
