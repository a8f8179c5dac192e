"""Priors as data.

A `Prior` is a name and parameters. The same value draws a PyMC random variable for the graph that people read
(`random_variable`) and a row of numbers for the compiled kernel that the sampler runs (`Prior.row`), so the two cannot differ.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from bayeshte.errors import SpecError, near

#: name: (parameter names, support, kernel code). Support: "real", "positive", "interval", "correlation", "covariance", "simplex".
FAMILIES: dict[str, tuple[tuple[str, ...], str, int]] = {
    "Flat": ((), "real", 0),
    "Normal": (("mu", "sigma"), "real", 1),
    "StudentT": (("nu", "mu", "sigma"), "real", 2),
    "HalfNormal": (("sigma",), "positive", 1),
    "HalfStudentT": (("nu", "sigma"), "positive", 2),
    "Exponential": (("lam",), "positive", 3),
    "Gamma": (("alpha", "beta"), "positive", 4),
    "InverseGamma": (("alpha", "beta"), "positive", 5),
    "LogNormal": (("mu", "sigma"), "positive", 6),
    "Uniform": (("lower", "upper"), "interval", 0),
    "Power": (("exponent",), "positive", 7),
    "VarianceInverseGamma": (("shape", "scale"), "positive", 8),
    "LKJ": (("eta",), "correlation", 0),
    "InverseWishart": (("scale", "df"), "covariance", 0),
    "Dirichlet": (("alpha",), "simplex", 0),
}
#: key of a mapping of priors that names the set of the parameters that it does not name
OTHERS = "others"
_SCALES = {"sigma", "nu", "lam", "alpha", "beta", "eta", "scale"}
#: densities that PyMC has no distribution for: a flat one on the positive line and a potential
_BY_POTENTIAL = ("Power", "VarianceInverseGamma", "InverseWishart")


@dataclass(frozen=True)
class Prior:
    """A named distribution with its parameters.

    Attributes
    ----------
    name : str
        One of `FAMILIES`: ``Flat``, ``Normal``, ``StudentT``, ``HalfNormal``, ``HalfStudentT``, ``Exponential``,
        ``Gamma``, ``InverseGamma``, ``LogNormal``, ``Uniform``, ``Power``, ``VarianceInverseGamma``, ``LKJ``,
        ``InverseWishart``, ``Dirichlet``; parameter names are PyMC's.
        ``Power(exponent=k)`` is the improper density proportional to ``sd**k`` on a standard deviation:
        ``k = 1`` is flat on the variance, Mplus's IG(-1, 0). ``VarianceInverseGamma(a, b)`` on a standard deviation is
        Mplus's IG(a, b) on the variance.
    params : tuple of (str, float)
        Parameters, in the order of `FAMILIES`; a matrix is a tuple of rows.

    Examples
    --------
    >>> Normal(0, 5)
    Normal(mu=0, sigma=5)
    """

    name: str
    params: tuple[tuple[str, Any], ...]

    def __post_init__(self):
        if self.name not in FAMILIES:
            raise SpecError(f"Unknown prior {self.name!r}.{near(self.name, FAMILIES)}")
        expected = FAMILIES[self.name][0]
        given = tuple(k for k, _ in self.params)
        if given != expected:
            raise SpecError(f"{self.name} takes {expected}, got {given}.")
        if self.name == "InverseWishart":
            _check_wishart(self["scale"], self["df"])
            return
        for key, value in self.params:
            if not math.isfinite(value) or (key in _SCALES and value <= 0):
                raise SpecError(f"{self!r}: {key} must be finite{' and positive' if key in _SCALES else ''}.")
        if self.name == "Uniform" and self["lower"] >= self["upper"]:
            raise SpecError(f"{self!r}: lower must be below upper.")

    def __repr__(self):
        return f"{self.name}({', '.join(f'{k}={_shown(v)}' for k, v in self.params)})"

    def __getitem__(self, key: str) -> Any:
        return dict(self.params)[key]

    @property
    def support(self) -> str:
        """``"real"``, ``"positive"``, ``"interval"``, ``"correlation"``, ``"covariance"`` or ``"simplex"``."""
        return FAMILIES[self.name][1]

    @property
    def proper(self) -> bool:
        """Whether the density integrates to one."""
        if self.name == "VarianceInverseGamma":
            return self["shape"] > 0
        if self.name == "InverseWishart":
            return self["df"] > len(self["scale"]) - 1 and self["scale"][0][0] > 0
        return self.name not in ("Flat", "Power")

    @property
    def drawable(self) -> bool:
        """Whether the joint graph can draw from it; simulation and calibration need such priors."""
        return self.proper and self.name not in _BY_POTENTIAL

    def row(self) -> tuple[int, tuple[float, float, float, float], float]:
        """Kernel code, its hyper-parameters (a, b, c, width) and the log normalising constant of the density.

        The third element makes the kernel's log prior equal PyMC's, constants included.
        """
        p = dict(self.params)
        code = FAMILIES[self.name][2]
        half_log_2pi = 0.5 * math.log(2 * math.pi)
        match self.name:
            case "Normal":
                return code, (p["mu"], p["sigma"], 0.0, 0.0), -math.log(p["sigma"]) - half_log_2pi
            case "HalfNormal":
                return code, (0.0, p["sigma"], 0.0, 0.0), math.log(2 / p["sigma"]) - half_log_2pi
            case "StudentT" | "HalfStudentT":
                nu, sigma = p["nu"], p["sigma"]
                const = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi) - math.log(sigma)
                if self.name == "HalfStudentT":
                    const += math.log(2)
                return code, (p.get("mu", 0.0), sigma, nu, 0.0), const
            case "Exponential":
                return code, (p["lam"], 0.0, 0.0, 0.0), math.log(p["lam"])
            case "Gamma" | "InverseGamma":
                a, b = p["alpha"], p["beta"]
                return code, (a, b, 0.0, 0.0), a * math.log(b) - math.lgamma(a)
            case "LogNormal":
                return code, (p["mu"], p["sigma"], 0.0, 0.0), -math.log(p["sigma"]) - half_log_2pi
            case "Uniform":
                width = p["upper"] - p["lower"]
                return code, (p["lower"], 0.0, 0.0, width), -math.log(width)
            case "Power":
                return code, (p["exponent"], 0.0, 0.0, 0.0), 0.0
            case "VarianceInverseGamma":
                a, b = p["shape"], p["scale"]
                return code, (a, b, 0.0, 0.0), math.log(2) + a * math.log(b) - math.lgamma(a) if a > 0 else 0.0
            case _:
                return code, (0.0, 0.0, 0.0, 0.0), 0.0

    def log_density(self, value: np.ndarray) -> np.ndarray:
        """Log density at `value`, elementwise; for plots of prior against posterior and power-scaling.

        Of a Dirichlet distribution what one element adds to it, without the constant.
        """
        code, (a, b, c, _), const = self.row()
        v = np.asarray(value, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            match code:
                case 1:
                    out = -0.5 * ((v - a) / b) ** 2
                case 2:
                    out = -0.5 * (c + 1) * np.log1p(((v - a) / b) ** 2 / c)
                case 3:
                    out = -a * v
                case 4:
                    out = (a - 1) * np.log(v) - b * v
                case 5:
                    out = -(a + 1) * np.log(v) - b / v
                case 6:
                    out = -np.log(v) - 0.5 * ((np.log(v) - a) / b) ** 2
                case 7:
                    out = a * np.log(v)
                case 8:
                    out = -(2 * a + 1) * np.log(v) - b / v**2
                case _ if self.name == "Dirichlet":
                    out = (self["alpha"] - 1) * np.log(v)
                case _:
                    out = np.zeros_like(v)
        outside = {
            "positive": v < 0,
            "interval": (v < a) | (v > a + self.row()[1][3]),
        }.get(self.support, np.zeros(v.shape, bool))
        return np.where(outside, -np.inf, out + const)

    def log_density_of_matrices(self, value: np.ndarray) -> np.ndarray:
        """Log density of an LKJ or InverseWishart prior at matrices (..., q, q), without the constant."""
        logdet = np.linalg.slogdet(value)[1]
        if self.name == "LKJ":
            return (self["eta"] - 1) * logdet
        scale = np.array(self["scale"])
        trace = np.trace(np.linalg.solve(value, np.broadcast_to(scale, value.shape)), axis1=-2, axis2=-1)
        return -0.5 * ((self["df"] + len(scale) + 1) * logdet + trace)

    def draw(self, rng: np.random.Generator, size: int | tuple[int, ...] = ()) -> np.ndarray:
        """Independent draws; SpecError for a prior that cannot be drawn from; LKJ, Dirichlet: the graph draws jointly."""
        if not self.drawable or self.name in ("LKJ", "Dirichlet"):
            raise SpecError(f"{self!r} cannot be drawn from elementwise.")
        rv = getattr(pm, self.name).dist(**dict(self.params), shape=size)
        return pm.draw(rv, random_seed=rng)


def override(
    default: Mapping[str, Prior], given: Mapping[str, Prior], aliases: Mapping[str, str] | None = None
) -> dict[str, Prior]:
    """`default` with the priors that a user names by key, by variable (``"sd"`` for every ``"sd[...]"``) or by alias.

    Raises
    ------
    SpecError
        A name that no parameter has, something that is no prior, a prior of the wrong support.
    """
    out, aliases = dict(default), aliases or {}
    for name, prior in given.items():
        matches = [k for k in out if k == aliases.get(name, name) or k.startswith(f"{name}[")]
        if not matches:
            raise SpecError(f"priors: {name!r} is not a parameter of this model.{near(name, [*out, *aliases])}")
        for k in matches:
            if not isinstance(prior, Prior):
                raise SpecError(f"priors[{name!r}] must be a prior such as bh.Normal(0, 5), got {prior!r}.")
            supports = {"positive", "interval"} if out[k].support == "positive" else {out[k].support}
            if out[k].support == "real":
                supports = {"real", "interval"}
            if prior.support not in supports or (
                out[k].support == "positive" and prior.support == "interval" and prior["lower"] < 0
            ):
                raise SpecError(f"priors[{name!r}]: {prior!r} has the wrong support for {k} ({out[k].support}).")
            out[k] = prior
    return out


def random_variable(
    name: str, priors: Sequence[Prior], dims: str | tuple[str, ...] | None = None, size: int | None = None
) -> Any:
    """The PyMC random variable of a scalar (no `dims`) or of an array with one prior an element, in a model context.

    LKJ gives the Cholesky factor of a `size` x `size` correlation matrix, which is how PyMC represents it; Dirichlet `size`
    probabilities.

    Raises
    ------
    SpecError
        Elements of one vector with different distributions; their parameters may differ.
    """
    first = priors[0]
    if any(p.name != first.name for p in priors):
        raise SpecError(f"The elements of {name!r} need one kind of distribution, got {list(priors)}.")
    if first.name == "LKJ":
        return pm.LKJCorr(name, n=size, eta=first["eta"])
    if first.name == "Dirichlet":
        return pm.Dirichlet(name, a=np.full(size, first["alpha"]), dims=dims)
    values: dict[str, Any] = dict(first.params)
    if dims is not None:
        coords = pm.modelcontext(None).coords
        shape = [len(coords[d]) for d in ([dims] if isinstance(dims, str) else dims)]
        values = {k: np.array([p[k] for p in priors]).reshape(shape) for k in values}
    if first.name in _BY_POTENTIAL:
        rv = pm.HalfFlat(name, dims=dims)
        if first.name == "Power":
            density = values["exponent"] * pt.log(rv)
        else:
            constant = np.reshape([p.row()[2] for p in priors], np.shape(values["shape"]))
            density = constant - (2 * values["shape"] + 1) * pt.log(rv) - values["scale"] / rv**2
        pm.Potential(f"{name}_prior", density.sum())
        return rv
    return getattr(pm, first.name)(name, **values, dims=dims)


def _shown(value: float | tuple) -> str:
    """A number to six digits, or a matrix of such."""
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, tuple) else f"{value:.6g}"


def _check_wishart(scale: tuple[tuple[float, ...], ...], df: float) -> None:
    """Refuse a scale matrix that is not symmetric, or neither positive definite nor zero."""
    S = np.array(scale, float)
    if S.shape[0] != S.shape[1] or not np.isfinite(S).all() or not np.array_equal(S, S.T):
        raise SpecError(f"InverseWishart: scale must be a symmetric matrix of finite numbers, got {_shown(scale)}.")
    if not math.isfinite(df):
        raise SpecError(f"InverseWishart: df must be finite, got {df}.")
    if S.any() and np.linalg.eigvalsh(S).min() <= 1e-12 * np.abs(S).max():
        raise SpecError(
            f"InverseWishart: scale must be positive definite, or 0 throughout, got {_shown(scale)}: its variances must be "
            "positive, its correlations between -1 and 1."
        )


def _make(name: str, *values: float) -> Prior:
    return Prior(name, tuple(zip(FAMILIES[name][0], map(float, values), strict=True)))


def Flat() -> Prior:
    """Improper uniform density on the real line (Mplus: N(0, infinity))."""
    return _make("Flat")


def Normal(mu: float, sigma: float) -> Prior:
    """Normal with mean `mu` and standard deviation `sigma` (Mplus writes the variance)."""
    return _make("Normal", mu, sigma)


def StudentT(nu: float, mu: float, sigma: float) -> Prior:
    """Student t with `nu` degrees of freedom, location `mu`, scale `sigma`."""
    return _make("StudentT", nu, mu, sigma)


def HalfNormal(sigma: float) -> Prior:
    """Normal(0, sigma) restricted to positive values."""
    return _make("HalfNormal", sigma)


def HalfStudentT(nu: float, sigma: float) -> Prior:
    """Student t at zero, restricted to positive values."""
    return _make("HalfStudentT", nu, sigma)


def Exponential(lam: float) -> Prior:
    """Exponential with rate `lam` (mean 1 / lam)."""
    return _make("Exponential", lam)


def Gamma(alpha: float, beta: float) -> Prior:
    """Gamma with shape `alpha` and rate `beta`."""
    return _make("Gamma", alpha, beta)


def InverseGamma(alpha: float, beta: float) -> Prior:
    """Inverse gamma with shape `alpha` and scale `beta`, on the parameter itself (not on its square)."""
    return _make("InverseGamma", alpha, beta)


def LogNormal(mu: float, sigma: float) -> Prior:
    """Log-normal: the logarithm has mean `mu` and SD `sigma`."""
    return _make("LogNormal", mu, sigma)


def Uniform(lower: float, upper: float) -> Prior:
    """Uniform between `lower` and `upper`."""
    return _make("Uniform", lower, upper)


def Power(exponent: float) -> Prior:
    """Improper density proportional to ``sd**exponent`` on a standard deviation."""
    return _make("Power", exponent)


def VarianceInverseGamma(shape: float, scale: float) -> Prior:
    """Density of a standard deviation whose square is inverse gamma (Mplus: IG(shape, scale)); proper if ``shape > 0``."""
    return _make("VarianceInverseGamma", shape, scale)


def LKJ(eta: float) -> Prior:
    """LKJ on a correlation matrix; ``eta = 1`` is uniform, larger values favour small correlations."""
    return _make("LKJ", eta)


def InverseWishart(scale: Sequence[Sequence[float]], df: float) -> Prior:
    """Inverse Wishart on a covariance matrix, density proportional to |C|^-(df + q + 1)/2 exp(-tr(scale C^-1) / 2).

    Proper if ``scale`` is positive definite and ``df > q - 1``; its mean is then ``scale / (df - q - 1)``, for ``df > q + 1``.
    ``InverseWishart(0 throughout, -q - 1)`` is flat. Mplus: IW(scale, df).
    """
    S = np.asarray(scale, float)
    if S.ndim != 2:
        raise SpecError(f"InverseWishart: scale must be a symmetric matrix, [[1, 0], [0, 1]] say, got {scale!r}.")
    return Prior("InverseWishart", (("scale", tuple(map(tuple, S.tolist()))), ("df", float(df))))


def Dirichlet(alpha: float) -> Prior:
    """Symmetric Dirichlet on probabilities; ``alpha = 1`` is uniform, above 1 no probability is near zero."""
    return _make("Dirichlet", alpha)
