"""Whether the draws can be trusted, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayeshte.summary import diagnostics, elements, is_fixed

#: What is asked of every quantity (Vehtari et al., 2021); 1.05 is Mplus's BCONVERGENCE criterion on the PSR.
MAX_RHAT, MAX_PSR, MIN_ESS, MIN_BFMI = 1.01, 1.05, 400, 0.3
#: Of random effects that were sampled: the largest of hundreds exceeds 1.01 by chance alone.
MAX_RHAT_EFFECTS = 1.05

#: Marks of variables that need no check of their own: drawn from their exact conditional, or computed from others.
EXACT = ("drawn_exactly", "computed")


@dataclass(frozen=True)
class Check:
    """One check: what was measured, against which limit, and a sentence."""

    name: str
    ok: bool
    value: float
    limit: float
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """All checks of a fit. `ok` means healthy."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.checks)

    @property
    def verdict(self) -> str:
        """One sentence: ``"Converged: ..."`` or ``"NOT CONVERGED: ..."``."""
        if self.ok:
            shown = [c.message for c in self.checks if c.name in ("R-hat", "bulk ESS", "divergences")]
            return "Converged: " + "; ".join(shown) + "."
        return "NOT CONVERGED: " + "; ".join(c.message for c in self.checks if not c.ok) + "."

    def table(self) -> pd.DataFrame:
        """The checks, one a row."""
        return pd.DataFrame([vars(c) for c in self.checks])

    def mark(self, table: pd.DataFrame) -> pd.DataFrame:
        """The verdict on a table: in ``attrs``, and printed above the columns if the fit did not converge."""
        table.attrs["verdict"] = self.verdict
        if not self.ok:
            table.columns.name = "NOT CONVERGED"
        return table

    def __repr__(self):
        return self.verdict

    def _repr_html_(self):
        colour = "#1a7f37" if self.ok else "#b42318"
        return f"<p style='color:{colour};font-weight:600'>{escape(self.verdict)}</p>"


def diagnose(draws: xr.DataTree, latent: Sequence[str] = (), complete: bool = True) -> Diagnosis:
    """R-hat, PSR, effective sample sizes, divergences, tree depth and E-BFMI of everything that was sampled.

    Parameters
    ----------
    draws : DataTree
        Groups ``posterior`` and ``sample_stats``.
    latent : sequence of str
        Variables that are no parameters. Those marked as drawn exactly, or derived, are not looked at; the others (random
        effects that were sampled) have a limit of their own.
    complete : bool
        False for a run that was stopped, which is a failed check by itself.
    """
    posterior = draws["posterior"].to_dataset()
    labels, x = _moving({k: v for k, v in posterior.data_vars.items() if k not in latent})
    d = diagnostics(x)
    checks = [
        _worst("R-hat", d["rhat"], labels, MAX_RHAT, largest=True),
        _worst("PSR", d["psr"], labels, MAX_PSR, largest=True),
        _worst("bulk ESS", d["ess_bulk"], labels, MIN_ESS, largest=False),
        _worst("tail ESS", d["ess_tail"], labels, MIN_ESS, largest=False),
    ]
    sampled = {k: posterior[k] for k in latent if k in posterior and not {*posterior[k].attrs} & {*EXACT}}
    if sampled:
        labels, x = _moving(sampled)
        rhat = diagnostics(x)["rhat"]
        checks.append(_worst("R-hat of random effects", rhat, labels, MAX_RHAT_EFFECTS, largest=True))
    if "sample_stats" in draws.children:
        checks += _sampler_checks(draws["sample_stats"].to_dataset())
    if not complete:
        n = posterior.sizes["draw"]
        checks.append(Check("complete", False, n, np.nan, f"the run was stopped, {n} draws a chain were kept"))
    return Diagnosis(tuple(checks))


def _moving(variables: dict[str, xr.DataArray]) -> tuple[list[str], np.ndarray]:
    """Labels and draws (chain, draw, element) of the elements that vary."""
    labels, values = [], []
    for v in variables.values():
        names, x = elements(v)
        moving = ~is_fixed(x)
        labels += [n for n, keep in zip(names, moving, strict=True) if keep]
        values.append(x[..., moving])
    return labels, np.concatenate(values, axis=-1)


def _worst(name: str, values: np.ndarray, labels: list[str], limit: float, largest: bool) -> Check:
    if np.isnan(values).any():
        where = labels[int(np.flatnonzero(np.isnan(values))[0])]
        return Check(name, False, np.nan, limit, f"{name} cannot be computed for {where} (too few draws)")
    k = int(np.argmax(values) if largest else np.argmin(values))
    value = float(values[k])
    ok = value <= limit if largest else value >= limit
    form = f"{value:.3f}" if largest else f"{value:,.0f}"
    word = "largest" if largest else "smallest"
    aim = f", should be {'at most' if largest else 'at least'} {limit}" if not ok else ""
    return Check(name, ok, value, limit, f"{word} {name} {form} ({labels[k]}{aim})")


def _sampler_checks(stats: xr.Dataset) -> list[Check]:
    checks = []
    divergences = int(stats["diverging"].sum())
    n = int(stats["diverging"].size)
    advice = "; raise target_accept or rethink the priors of the SDs" if divergences else ""
    checks.append(
        Check("divergences", divergences == 0, divergences, 0, f"{divergences} divergences in {n:,} draws{advice}")
    )
    deep = float(stats["maxdepth_reached"].mean()) if "maxdepth_reached" in stats else 0.0
    message = f"{deep:.1%} of draws reached the maximum tree depth" + (
        "; the chains move slowly" if deep > 0.01 else ""
    )
    checks.append(Check("tree depth", deep <= 0.01, deep, 0.01, message))
    if stats.sizes["draw"] > 3:
        with np.errstate(all="ignore"):
            bfmi = float(
                np.min(az.bfmi(xr.DataTree.from_dict({"sample_stats": stats[["energy"]]}))["energy"].to_numpy())
            )
        checks.append(Check("E-BFMI", bfmi >= MIN_BFMI, bfmi, MIN_BFMI, f"smallest E-BFMI {bfmi:.2f}"))
    return checks
