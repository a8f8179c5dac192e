"""Does the latent contextual effect cover the truth where that of observed cluster means is biased (Lüdtke et al., 2008)?

x_ij = b_j + w_ij and y_ij = 0.7 b_j + 0.2 w_ij + u_j + e_ij: the contextual effect is 0.5. Schools have five students and a
tenth of the variance of x, so that an observed mean says little of b_j. Of two numbers of clusters the larger has to pass.
"""

import itertools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import bayeshte as bh
from bayeshte.calibration import MAX_FAILED

CLUSTERS, SIZE, ICC = (200, 500), 5, 0.1
WITHIN, BETWEEN = 0.2, 0.7
RESIDUAL_WITHIN, RESIDUAL_BETWEEN = 0.8, 0.1  # variances
TARGET = (0.92, 0.98)
ESTIMAND = "contextual effect of x on y"
SPEC = bh.SEM(cluster="school", within="y ~ x", between="y ~ x")


def data_set(rng: np.random.Generator, clusters: int) -> pd.DataFrame:
    """One data set, by NumPy alone."""
    j = np.repeat(np.arange(clusters), SIZE)
    b, u = np.sqrt(ICC) * rng.standard_normal(clusters), np.sqrt(RESIDUAL_BETWEEN) * rng.standard_normal(clusters)
    w, e = np.sqrt(1 - ICC) * rng.standard_normal(len(j)), np.sqrt(RESIDUAL_WITHIN) * rng.standard_normal(len(j))
    return pd.DataFrame({"school": j, "x": b[j] + w, "y": BETWEEN * b[j] + WITHIN * w + u[j] + e})


def observed(data: pd.DataFrame) -> tuple[float, float]:
    """Contextual effect with observed means: slope of the means minus pooled slope within; its standard error."""
    means = data.groupby("school")[["x", "y"]].mean()
    within = data[["x", "y"]] - means.loc[data["school"]].to_numpy()
    slopes, variances = [], []
    for part, lost in ((means - means.mean(), 2), (within, len(means) + 1)):
        x, y = part["x"].to_numpy(), part["y"].to_numpy()
        slopes.append(x @ y / (x @ x))
        variances.append(((y - slopes[-1] * x) ** 2).sum() / (len(x) - lost) / (x @ x))
    return slopes[0] - slopes[1], float(np.sqrt(sum(variances)))


def maximum_likelihood(data: pd.DataFrame) -> float:
    """Contextual effect with latent means: the estimate has a closed form where clusters are equally large."""
    means = data.groupby("school")[["x", "y"]].mean()
    off = (data[["x", "y"]] - means.loc[data["school"]].to_numpy()).to_numpy()
    within = off.T @ off / (len(data) - len(means))
    between = np.cov(means.to_numpy().T, ddof=0) - within / SIZE
    return float(between[0, 1] / between[0, 0] - within[0, 1] / within[0, 0])


def expected_bias() -> float:
    """Of the contextual effect with observed means, in many clusters (Lüdtke et al., 2008)."""
    noise = (1 - ICC) / SIZE
    return (WITHIN - BETWEEN) * noise / (ICC + noise)


def one(k: int, clusters: int, seed: int) -> dict[str, float]:
    """Data set k: what the two analyses find in it. A fit that does not converge is repeated with four times the draws."""
    data = data_set(np.random.default_rng((seed, k)), clusters)
    for more, target in ((1, 0.8), (4, 0.99)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bh.ConvergenceWarning)  # it is counted
            fit = bh.fit(SPEC, data, draws=1000 * more, tune=500 * more, target_accept=target, seed=k, progress=False)
        if fit.diagnosis.ok:
            break
    (estimand,) = [e for e in SPEC.estimands(fit.design) if e.name == ESTIMAND]
    lower, latent, upper = np.quantile(estimand.draws(fit.posterior, fit.design), [0.025, 0.5, 0.975])
    means, error = observed(data)
    row = {"clusters": clusters, "latent": latent, "lower": lower, "upper": upper, "converged": fit.diagnosis.ok}
    return row | {"means": means, "means_se": error, "ml": maximum_likelihood(data)}


def study(simulations: int, seed: int, path: Path) -> pd.DataFrame:
    """A row a data set, kept in `path`, as `one` gives it: ``latent, lower, upper`` are the median and the 95 % interval."""
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for clusters, k in list(itertools.product(CLUSTERS, range(simulations)))[len(rows) :]:
        rows.append(one(k, clusters, seed))
        pd.DataFrame(rows).to_csv(path, index=False)
    return pd.DataFrame(rows)


def covered(table: pd.DataFrame) -> float:
    """Share of the latent intervals that hold the truth."""
    return float(table["lower"].le(BETWEEN - WITHIN).mul(table["upper"].ge(BETWEEN - WITHIN)).mean())


def passes(table: pd.DataFrame) -> bool:
    """Coverage within `TARGET` for the largest number of clusters, and next to no fit without convergence."""
    largest = table[table["clusters"] == CLUSTERS[-1]]
    return meets(largest) and (~table["converged"]).mean() <= MAX_FAILED


def meets(table: pd.DataFrame) -> bool:
    """Coverage within `TARGET`."""
    return TARGET[0] <= covered(table) <= TARGET[1]


def verdict(table: pd.DataFrame) -> str:
    """One sentence."""
    found = [
        f"{covered(part):.1%} with {clusters} clusters{'' if meets(part) else ' (OUTSIDE)'}"
        for clusters, part in table.groupby("clusters")
    ]
    asked = f"{TARGET[0]:.0%} to {TARGET[1]:.0%} were asked for"
    n = len(table) // len(found)
    return (
        f"95 % intervals of a latent contextual effect cover it in {', '.join(found)}, of {n} data sets each ({asked})."
    )


def results(table: pd.DataFrame) -> list[list[str]]:
    """The table of the page; the first row is the header."""
    header = ["clusters", "", "average", "bias", "bias expected", "SD", "RMSE", "coverage of 95 % intervals"]
    return [header, *(row for clusters, part in table.groupby("clusters") for row in _rows(clusters, part))]


def _rows(clusters: int, table: pd.DataFrame) -> list[list[str]]:
    truth, n = BETWEEN - WITHIN, len(table)
    inside = (table["means"] - truth).abs() <= 1.96 * table["means_se"]
    rows = []
    for name, x, cover, bias in (
        ("latent cluster means (`bh.SEM`, posterior median)", table["latent"], covered(table), ""),
        ("latent cluster means (maximum likelihood)", table["ml"], None, ""),
        ("observed cluster means (least squares)", table["means"], inside.mean(), f"{expected_bias():+.3f}"),
    ):
        error = x.std() / np.sqrt(n)
        rmse = np.sqrt(((x - truth) ** 2).mean())
        share = "" if cover is None else f"{cover:.1%} ± {np.sqrt(cover * (1 - cover) / n):.1%}"
        numbers = [f"{x.mean():.3f}", f"{x.mean() - truth:+.3f} ± {error:.3f}", bias, f"{x.std():.3f}", f"{rmse:.3f}"]
        rows.append([str(clusters), name, *numbers, share])
    return rows


def section(table: pd.DataFrame, markdown) -> str:
    """The section of the page."""
    truth, n = BETWEEN - WITHIN, len(table) // len(CLUSTERS)
    misses = "; ".join(
        f"with {clusters} clusters {(part['lower'] > truth).sum()} lie above it, {(part['upper'] < truth).sum()} below "
        f"({(~part['converged']).sum()} fits did not converge)"
        for clusters, part in table.groupby("clusters")
    )
    longer = (table["upper"] - table["latent"]) / (table["latent"] - table["lower"])
    skewed = " and ".join(f"{x:.1f} with {c} clusters" for c, x in longer.groupby(table["clusters"]).median().items())
    return f"""## Coverage of the contextual effect

{n} data sets of {" and of ".join(map(str, CLUSTERS))} clusters each, from a NumPy generator; {SIZE} persons a cluster, ICC
of x {ICC:g}; paths of x are {WITHIN:g} within and {BETWEEN:g} between clusters: the contextual effect is {truth:g}. `y ~ x`
within and between, fitted by `bh.SEM` with its default priors, beside the same effect from observed cluster means, whose bias is
(within - between) times the share of an observed mean's variance that comes from sampling persons,
(1 - ICC)/n / (ICC + (1 - ICC)/n) (Lüdtke et al., 2008). ± is one Monte Carlo standard error.

{markdown(results(table))}

{verdict(table)}
Of the intervals that miss the true value, {misses}.

The path between clusters is a ratio whose denominator, the variance of the latent means, is small: likelihood and posterior
are skewed to the right (the upper part of an interval is longer than the lower one by a factor of {skewed}, at the median), and
the posterior median lies above the maximum, the more so the fewer clusters there are: intervals miss the truth on
that side. For such data the literature has informative priors on the SDs between clusters (Zitzmann, Lüdtke & Robitzsch, 2015).
"""
