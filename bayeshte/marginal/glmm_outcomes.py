"""Outcomes beside Gaussian ones, given their linear predictor eta: likelihood, score, information, expected value.

    student            t_nu(eta, sigma)                     logit     P(y = 1) = 1 / (1 + exp(-eta))
    skew normal        mean eta, SD sigma, shape alpha      probit    P(y = 1) = Phi(eta)
    poisson            mean exp(eta)                        ordered   P(y >= k) = F(eta - tau_k), F logistic or normal
    negative binomial  mean exp(eta) = mu, variance mu + mu^2 / phi

Of ordered categories 0, ..., K - 1 the first threshold is zero, the others are sums of the widths of the inner categories. The
same in compiled form, with gradients in the shape too, is in kernels/outcomes.py.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import betaln, expit, gammaln, log_expit, log_ndtr, logit, ndtr, ndtri

#: outcome family: its code in the kernel
FAMILIES = {
    "student": 0,
    "logit": 1,
    "probit": 2,
    "poisson": 3,
    "skew normal": 5,
    "negative binomial": 6,
    "ordered logit": 7,
    "ordered probit": 8,
}
#: those with parameters beside eta
SHAPES = {
    "student": ("sigma", "nu"),
    "skew normal": ("sigma", "alpha"),
    "negative binomial": ("phi",),
    "ordered logit": ("width",),
    "ordered probit": ("width",),
}
RESIDUAL = ("student", "skew normal")  # the first of their parameters is the scale of a residual
COUNTS = ("poisson", "negative binomial")
ORDERED = {"ordered logit": "logit", "ordered probit": "probit"}
#: those whose likelihood is not that of a sum over equal rows
ONE_BY_ONE = ("negative binomial", *ORDERED)
MOST_SKEWED = 0.95  # skewness of a start; that of a skew normal is below 0.9953


def shape_of_skewness(skewness: float) -> float:
    """alpha of the skew normal with a skewness, at most 0.95 (Azzalini, 1985): the inverse of the third moment."""
    g = min(abs(skewness), MOST_SKEWED) ** (2 / 3)
    square = np.pi / 2 * g / (g + ((4 - np.pi) / 2) ** (2 / 3))  # delta^2
    return float(np.copysign(np.sqrt(square / (1 - square)), skewness))


def skew_moments(alpha):
    """Mean and SD of the skew normal with location 0, scale 1 and shape `alpha`, an array or a PyTensor variable."""
    mean = (2 / np.pi) ** 0.5 * alpha / (1 + alpha**2) ** 0.5
    return mean, (1 - mean**2) ** 0.5


def latent_scores(category: np.ndarray, n: np.ndarray, family: str) -> tuple[np.ndarray, np.ndarray]:
    """A number on the scale of eta for every row, the first threshold at zero; the widths of the inner categories.

    Quantiles of the shares at and below each category, half of its own counted.
    """
    quantile = logit if ORDERED[family] == "logit" else ndtri
    counts = np.bincount(category.astype(int), n) + 0.5
    share = counts / counts.sum()
    above = 1 - np.cumsum(share)
    thresholds = -quantile(above[:-1])
    middle = quantile(1 - (above + share / 2))
    return (middle - thresholds[0])[category.astype(int)], np.diff(thresholds)


def even_split(category: np.ndarray) -> int:
    """The threshold, counted from 0, with the most even numbers of rows on its two sides."""
    below = np.cumsum(np.bincount(category.astype(int)))[:-1]
    return int(np.argmin(np.abs(below - len(category) / 2))) if below.size else 0


def _mills(x):
    """phi(x) / Phi(x)."""
    return np.exp(-0.5 * x**2 - log_ndtr(x)) / np.sqrt(2 * np.pi)


def _distances(eta, category, width) -> tuple[np.ndarray, np.ndarray]:
    """eta minus the threshold below, and above, each row's category: infinite at the ends.

    `width` has the inner categories last, and dims before it that broadcast against those of eta but the last.
    """
    width = np.asarray(width, float)
    start = np.zeros((*width.shape[:-1], 1))
    inner = np.concatenate([start, np.cumsum(width, -1)], -1)
    edges = np.concatenate([start - np.inf, inner, start + np.inf], -1)
    k = np.asarray(category, int)
    return eta - edges[..., k], eta - edges[..., k + 1]


def _log_cdf(x, link: str):
    return log_expit(x) if link == "logit" else log_ndtr(x)


def _log_pdf(x, link: str):
    return log_expit(x) + log_expit(-x) if link == "logit" else -0.5 * x**2 - 0.5 * np.log(2 * np.pi)


def _log_between(below, above, link: str):
    """log F(below) - F(above), from the tails that are the smaller."""
    left, right = _log_cdf(below, link), _log_cdf(-above, link)
    turned = right < left
    large = np.where(turned, right, left)
    small = np.where(turned, _log_cdf(-below, link), _log_cdf(above, link))
    return large + np.log(-np.expm1(small - large))


def _ordered_score(eta, category, width, link: str) -> tuple[np.ndarray, np.ndarray]:
    """d log p / d eta and -d^2 log p / d eta^2 of one row in a category."""
    below, above = _distances(eta, category, width)
    log_p = _log_between(below, above, link)
    first, second = 0.0, 0.0
    for x, sign in ((below, 1), (above, -1)):
        inside = np.isfinite(x)
        at = np.where(inside, x, 0.0)
        h = np.where(inside, np.exp(_log_pdf(at, link) - log_p), 0.0)
        first = first + sign * h
        second = second + sign * h * (1 - 2 * expit(at) if link == "logit" else -at)
    return first, np.maximum(first**2 - second, 0)


def score_and_weight(eta, n, s, family: str, shape: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """First derivative in eta of the log-likelihood, and the information: observed, for Student t expected."""
    match family:
        case "logit":
            mean = expit(eta)
            return s - n * mean, n * mean * (1 - mean)
        case "probit":
            a, b = _mills(eta), _mills(-eta)
            return s * a - (n - s) * b, np.maximum(s * a * (a + eta) + (n - s) * b * (b - eta), 0)
        case "poisson":
            mean = n * np.exp(eta)
            return s - mean, mean
        case "negative binomial":
            (phi,) = shape
            share = expit(eta - np.log(phi))
            return n * (s - (s + phi) * share), n * (s + phi) * share * (1 - share)
        case "ordered logit" | "ordered probit":
            score, weight = _ordered_score(eta, s, shape, ORDERED[family])
            return n * score, n * weight
        case "skew normal":
            sigma, alpha = shape
            m, k = skew_moments(alpha)
            z = m + k * (s - eta) / sigma
            h = _mills(alpha * z)
            bend = 1 + alpha**2 * np.maximum(h * (h + alpha * z), 0)
            return (z - alpha * h) * k / sigma, bend * (k / sigma) ** 2
        case _:
            sigma, nu = shape
            r = (s - eta) / sigma
            weight = np.full(eta.shape, (nu + 1) / (nu + 3) / sigma**2)
            return (nu + 1) * r / ((nu + r**2) * sigma), weight


def log_likelihood(eta, n, s, family: str, shape: Sequence) -> np.ndarray:
    """Log-likelihood of n outcomes with sum s (or equal to s), up to log y! of counts, elementwise."""
    match family:
        case "logit":
            return s * eta + n * log_expit(-eta)
        case "probit":
            return s * log_ndtr(eta) + (n - s) * log_ndtr(-eta)
        case "poisson":
            return s * eta - n * np.exp(eta)
        case "negative binomial":
            (phi,) = shape
            rise = np.where(s > 0, gammaln(np.maximum(s, 1)) - betaln(np.maximum(s, 1), phi) - s * np.log(phi), 0.0)
            return n * (rise + s * eta + (s + phi) * log_expit(np.log(phi) - eta))
        case "ordered logit" | "ordered probit":
            return n * _log_between(*_distances(eta, s, shape), ORDERED[family])
        case "skew normal":
            sigma, alpha = shape
            m, k = skew_moments(alpha)
            z = m + k * (s - eta) / sigma
            return np.log(2 * k / sigma) - 0.5 * np.log(2 * np.pi) - 0.5 * z**2 + log_ndtr(alpha * z)
        case _:
            sigma, nu = shape
            constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(sigma)
            return constant - (nu + 1) / 2 * np.log1p(((s - eta) / sigma) ** 2 / nu)


def log_likelihood_rows(eta: np.ndarray, y: np.ndarray, family: str, shape: np.ndarray | None = None) -> np.ndarray:
    """Log-likelihood of every row given its linear predictor: (S, N).

    Parameters
    ----------
    eta : ndarray (S, N)
    y : ndarray (N,)
    shape : ndarray (S, k), optional
        Draws of the parameters of the outcome, `SHAPES`.
    """
    given = shape if family in ORDERED else () if shape is None else [v[:, None] for v in shape.T]
    out = log_likelihood(eta, 1, y, family, given)
    return out - gammaln(y + 1) if family in COUNTS else out


def inverse_link(eta: np.ndarray, family: str) -> np.ndarray:
    """Mean of the outcome at linear predictor `eta`; for Student t its location; not for ordered categories."""
    inverse = {"logit": expit, "probit": ndtr, "poisson": np.exp, "negative binomial": np.exp}
    return inverse.get(family, np.asarray)(eta)
