"""Bayes factor for effects that vary over items against one effect, by the Savage-Dickey ratio.

With sigma_zeta = 0 the model with item effects is the model without, rho has no role, and the priors of the other parameters
are those of that model. So (Dickey, 1971)

    BF_01 = p(sigma_zeta = 0 | y) / p(sigma_zeta = 0).

sigma_zeta >= 0, and zero is the boundary: a kernel density there needs a correction, and a bandwidth. Instead the density at zero
is averaged over its exact conditional (Gelfand & Smith, 1990): given the pattern t_i = zeta_i / sigma_zeta and all else in a
draw, the density of s = sigma_zeta is proportional to p(s) L(s), L(s) the likelihood at zeta = s t with abilities integrated, and

    BF_01 = E [ L(0) / int_0^inf p(s) L(s) ds ],

the expectation over the posterior, the integral by Gauss-Legendre quadrature around the maximum of L, in each draw anew.

Of several arms one is tested at a time, the others' effects vary: with its sigma_zeta = 0 the rest is the model in which that arm
has one effect, and the correlations that are left have the marginal of their prior (of LKJ(eta), LKJ(eta + 1/2)). Beside item
covariates zeta_i - delta' W_i takes the place of zeta_i: what is tested is what the covariates leave.

Another prior scale c (p_c(s) = p(s / c) / c) changes the marginal likelihood by the posterior mean of p_c / p.

The average rests on few draws where hardly one is near zero. Then the model is fitted again with narrower priors of sigma_zeta,
half normal with a third, a ninth, ... of its posterior median as SD, until draws come near zero; the ratios of marginal
likelihoods of neighbours, which differ in that prior only, by bridge sampling (Meng & Wong, 1996) with the ratios of the priors.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from bayeshte import design as columns
from bayeshte.errors import ConvergenceWarning, SpecError
from bayeshte.families.item_response_arrays import Arrays
from bayeshte.fit import Fit
from bayeshte.fit import fit as fit_model
from bayeshte.prior import HalfNormal, Prior

NODES, REACH = 16, 6.0  # of the quadrature, and how many SDs of L beyond its maximum it looks
NEGLIGIBLE, POINTS = 14.0, 401  # nats below the maximum that the quadrature leaves out, and points at which it looks
STEP = 0.05  # of the posterior median: the least step of the differences that locate the conditional
CHUNK = 4_000_000  # likelihoods of persons held at once
LIMIT_KHAT, LIMIT_ERROR = 0.7, 0.3  # above either the evidence is called strong, but not by how much
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
RUNG, RUNGS = 3.0, 5  # factor between the priors of further fits, and how many fits there are at most
BEYOND = 60.0  # nats of a first estimate (far too high without draws near zero) from which on no further fits are tried


@dataclass(frozen=True)
class Evidence:
    """Evidence for sigma_zeta > 0.

    Attributes
    ----------
    log_bf : float
        Natural logarithm of BF_10: positive for effects that vary.
    mcse : float
        Its Monte Carlo error.
    khat : float
        Pareto k-hat of the average; above 0.7 it rests on few draws.
    fits : int
        Further fits with narrower priors that it took.
    """

    log_bf: float
    mcse: float
    khat: float
    fits: int = 0

    @property
    def reliable(self) -> bool:
        """Whether enough draws come near zero for the number to be trusted."""
        return self.khat <= LIMIT_KHAT and self.mcse <= LIMIT_ERROR


@dataclass(frozen=True)
class Effects:
    """The effects on items of one arm: sigma_zeta of a fit and what belongs to it.

    Attributes
    ----------
    fit : Fit
        With random item effects.
    arm : str
        One but the reference.
    """

    fit: Fit
    arm: str

    @property
    def label(self) -> str:
        """``sigma_zeta``, or ``sigma_zeta[low]`` of several arms."""
        D = Arrays(self.fit.design)
        return D.by_arm("sigma_zeta")[D.contrasts.index(self.arm)]

    @property
    def prior(self) -> Prior:
        return self.fit.priors[self.label]

    def of(self, draws: xr.Dataset, name: str) -> xr.DataArray:
        """Draws of a variable that arms have, of this one."""
        treatment = self.fit.design.attrs["treatment"]
        return draws[name].sel({treatment: self.arm}, drop=True) if treatment in draws[name].dims else draws[name]

    @property
    def sigma(self) -> np.ndarray:
        """Draws of sigma_zeta, (chain, draw)."""
        return self.of(self.fit.posterior, "sigma_zeta").transpose("chain", "draw").to_numpy()

    def explained(self, draws: xr.Dataset) -> xr.DataArray:
        """What covariates of items explain of their effects, (chain, draw, item), zero without them."""
        if "delta" not in draws:
            return 0.0 * self.of(draws, "zeta")
        return xr.dot(self.of(draws, "delta"), self.fit.design["W"], dim="item_covariate")

    def with_effects(self, draws: xr.Dataset, own: xr.DataArray) -> xr.Dataset:
        """Draws with other effects of this arm on the items, and without what is made of them."""
        treatment, zeta = self.fit.design.attrs["treatment"], draws["zeta"]
        if treatment in zeta.dims:
            own = own.where(zeta[treatment] == self.arm, zeta).transpose(*zeta.dims)
        return draws.drop_vars([v for v in ("theta", "effect") if v in draws]).assign(zeta=own)


def bayes_factors(effects: Effects, draws: int) -> dict[float, Evidence]:
    """BF_10 under the prior of sigma_zeta stretched by each of `SCALES`; 1 is the prior of the fit.

    Parameters
    ----------
    effects : Effects
    draws : int
        Evenly spaced draws at which the conditional density is integrated.

    Raises
    ------
    SpecError
        The density of the prior at zero is zero or infinite.
    """
    prior = effects.prior
    at_zero = prior.log_density(np.zeros(1))[0] if prior.proper else np.nan
    if not np.isfinite(at_zero):
        raise SpecError(
            f"The prior of {effects.label}, {prior!r}, has no positive and finite density at zero: there is no Savage-Dickey "
            "ratio. Use for example bh.HalfNormal(1)."
        )
    base, sigma = _measured(effects, draws), effects.sigma
    out = {}
    for c in SCALES:
        weight = _average(prior.log_density(sigma / c) - np.log(c) - prior.log_density(sigma))
        khat, mcse = max(base.khat, weight.khat), float(np.hypot(base.mcse, weight.mcse))
        out[c] = Evidence(base.log_bf + weight.log_bf, mcse, khat, base.fits)
    return out


def _measured(effects: Effects, draws: int) -> Evidence:
    """BF_10 under the prior of the fit, with further fits where hardly a draw is near zero."""
    found = first = savage_dickey(effects, draws)
    total, error, rung = 0.0, 0.0, effects
    middle = float(np.median(effects.sigma))
    for k in range(1, RUNGS + 1):
        if found.reliable or first.log_bf > BEYOND:
            break
        before, rung = rung, _narrowed(effects, middle / RUNG**k, k)
        step = bridge(before, rung)
        found = savage_dickey(rung, draws)
        total, error = total + step.log_bf, float(np.hypot(error, step.mcse))
        khat = found.khat if rung.fit.diagnosis.ok else np.inf
        found = Evidence(found.log_bf, float(np.hypot(found.mcse, error)), khat, k)
    return replace(found, log_bf=found.log_bf + total)


def savage_dickey(effects: Effects, draws: int) -> Evidence:
    """BF_10 from the density at zero under the posterior of one fit."""
    average = _average(_ratios(effects, thinned(effects.fit, draws)))
    return replace(average, log_bf=-average.log_bf)


def _narrowed(effects: Effects, scale: float, k: int) -> Effects:
    """The model fitted again with another prior of sigma_zeta."""
    fit = effects.fit
    given = {} if isinstance(fit.spec.priors, str) else dict(fit.spec.priors)
    spec = replace(fit.spec, priors=given | {effects.label: HalfNormal(scale)})
    options = {v: fit.record[v] for v in ("draws", "tune", "chains", "target_accept")}
    seed = int(np.random.SeedSequence(fit.record["seed"], spawn_key=(3, k)).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the evidence is called unreliable instead
        narrow = fit_model(spec, columns.raw_frame(fit.design), seed=seed, progress=False, **options)
    return replace(effects, fit=narrow)


def bridge(first: Effects, second: Effects) -> Evidence:
    """Log of the ratio of the marginal likelihoods, first over second, of fits that differ in the prior of sigma_zeta only."""
    a, b = (first.prior.log_density(e.sigma) - second.prior.log_density(e.sigma) for e in (first, second))
    weights = np.log([a.size, b.size]) - np.log(a.size + b.size)
    r = 0.0
    for _ in range(1000):  # a fixed point: equation (4.1) of Meng & Wong
        above = _average(b - np.logaddexp(weights[0] + b, weights[1] + r))
        below = _average(-np.logaddexp(weights[0] + a, weights[1] + r))
        before, r = r, above.log_bf - below.log_bf
        if abs(r - before) < 1e-9:
            break
    return Evidence(r, float(np.hypot(above.mcse, below.mcse)), max(above.khat, below.khat))


def thinned(fit: Fit, draws: int) -> xr.Dataset:
    """Evenly spaced draws of each chain, about `draws` in all."""
    n = fit.posterior.sizes
    each = min(n["draw"], max(1, draws // n["chain"]))
    return fit.posterior.isel(draw=np.unique(np.linspace(0, n["draw"] - 1, each).round().astype(int)))


def _average(values: np.ndarray) -> Evidence:
    """Log of the mean of exp(values) over draws (chain, draw), its error and k-hat."""
    log_mean = logsumexp(values) - np.log(values.size)
    if not np.isfinite(log_mean):  # no draw where the other prior has any density
        return Evidence(float(log_mean), np.inf, np.inf)
    mcse = float(array_stats.mcse(np.exp(values - log_mean), method="mean")) if np.ptp(values) > 0 else 0.0
    tail = np.sort(values, axis=None)[-values.size // 5 :]
    bounded = np.ptp(tail) < 1e-12  # as with a uniform prior: nothing heavy above
    khat = 0.0 if bounded else float(array_stats.psislw(-values, axis=(0, 1))[1])
    return Evidence(float(log_mean), mcse, khat)


def _ratios(effects: Effects, draws: xr.Dataset) -> np.ndarray:
    """Log of L(0) / int p(s) L(s) ds at every draw, (chain, draw)."""
    prior, sigma = effects.prior, effects.of(draws, "sigma_zeta").transpose("chain", "draw")
    explained = effects.explained(draws)
    pattern, sigma = (effects.of(draws, "zeta") - explained) / sigma, sigma.to_numpy()

    def likelihood(s: np.ndarray) -> np.ndarray:
        size = xr.DataArray(s, dims=("chain", "draw"), coords={"chain": draws["chain"], "draw": draws["draw"]})
        return _log_likelihood(effects.fit, effects.with_effects(draws, explained + pattern * size))

    step = np.maximum(sigma, STEP * np.median(sigma))
    zero, one, two = (likelihood(k * step) for k in range(3))
    slope, bend = (4 * one - 3 * zero - two) / (2 * step), (two - 2 * one + zero) / step**2
    low, high = _limits(slope, np.minimum(bend, -1e-6 / step**2), prior)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    terms = np.empty((NODES, *sigma.shape))
    for k, (x, w) in enumerate(zip(nodes, weights, strict=True)):
        s = (low + high) / 2 + (high - low) / 2 * x
        log = likelihood(s) + prior.log_density(s)
        terms[k] = log + np.log(w * (high - low) / 2)
    return zero - logsumexp(terms, axis=0)


def _limits(slope: np.ndarray, bend: np.ndarray, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Where p(s) L(s) is not negligible, by the parabola through log L near zero and the prior: two (chain, draw)."""
    width = (-bend) ** -0.5
    far = np.maximum(slope * width**2, 0.0) + REACH * width
    grid = np.linspace(0, 1, POINTS) ** 3 * far[..., None]  # finer towards zero, where a narrow prior is
    log = slope[..., None] * grid + 0.5 * bend[..., None] * grid**2 + prior.log_density(grid)
    kept = log > log.max(-1, keepdims=True) - NEGLIGIBLE
    first = np.maximum(kept.argmax(-1) - 1, 0)
    last = np.minimum(POINTS - kept[..., ::-1].argmax(-1), POINTS - 1)
    return tuple(np.take_along_axis(grid, k[..., None], -1)[..., 0] for k in (first, last))


def _log_likelihood(fit: Fit, draws: xr.Dataset) -> np.ndarray:
    """Log-likelihood of all persons, (chain, draw)."""
    person = fit.design.attrs["cluster"]
    each = max(1, CHUNK // (fit.design.sizes[person] * draws.sizes["chain"]))
    parts = []
    for start in range(0, draws.sizes["draw"], each):
        piece = draws.isel(draw=slice(start, start + each))
        parts.append(fit.spec.log_likelihood(piece, fit.design, "cluster").sum(person))
    return xr.concat(parts, dim="draw").transpose("chain", "draw").to_numpy()


def at_least(effects: Effects, scale: float) -> float:
    """A lower bound of log BF_10 where no draw comes near zero, if the posterior density rises from zero to the draws.

    Of n effective draws none is below the smallest, s. So the posterior probability of (0, s) is below 3 / n (95 %), and the
    density at zero, the least of that interval, is below 3 / (n s).
    """
    prior, sigma = effects.prior, effects.sigma
    n = float(array_stats.ess(sigma, method="bulk"))
    weight = _average(prior.log_density(sigma / scale) - np.log(scale) - prior.log_density(sigma))
    return float(prior.log_density(np.zeros(1))[0] - np.log(3 / (n * sigma.min())) + weight.log_bf)
