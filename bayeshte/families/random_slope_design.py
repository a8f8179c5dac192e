"""The data side of RandomSlope: roles to labelled arrays, and the checks that belong to this model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayeshte import design as columns
from bayeshte import formulas
from bayeshte.errors import DataError, SpecError, near
from bayeshte.marginal.gaussian import Moments, Parameters, moments

#: family: how its outcome is read
OUTCOMES = {
    "gaussian": lambda frame, name: columns.numeric(frame, name, "outcome"),
    "student": lambda frame, name: columns.numeric(frame, name, "outcome"),
    "logit": columns.binary,
    "probit": columns.binary,
    "poisson": columns.counts,
}
#: variables of a posterior, in the order of the tables; and all names that the model uses
STORED = ("gamma0", "gamma1", "gamma2", "gamma3", "sd", "corr", "sigma", "nu", "u", "effect")
VARIABLES = (*STORED, "y", "X", "M", "arm_code", "cluster_code", "se", "_z", "_corr_factor")


def check_spec(spec) -> None:
    """What can be refused without seeing data."""
    _check_types(spec)
    if spec.family not in OUTCOMES:
        raise SpecError(f"family={spec.family!r} is not known.{near(spec.family, OUTCOMES)}")
    if spec.weights is not None:
        raise SpecError(
            "Weighted designs are not supported: a weighted likelihood is not a posterior. Put the variables that the "
            "weights depend on into covariates, and average effects over the population with bh.cate or bh.subgroups."
        )
    if not (spec.cluster is None or isinstance(spec.cluster, str)):
        raise SpecError(
            f"cluster={spec.cluster!r}: three-level and crossed designs are not supported. Use the level at which "
            "effects are to vary as cluster, and put the other factor into covariates as C(name)."
        )
    if spec.cluster and any(sign in spec.cluster for sign in "/:|*"):
        raise SpecError(
            f"cluster={spec.cluster!r}: name one column. Three-level (a/b) and crossed (a:b) designs are not supported; "
            "put the other factor into covariates as C(name)."
        )
    roles = {"outcome": spec.outcome, "treatment": spec.treatment, "cluster": spec.cluster}
    taken = VARIABLES if spec.treatment is None else (*VARIABLES, f"{spec.treatment}_arm")
    columns.check_names({k: v for k, v in roles.items() if k != "outcome"}, taken)
    named = [v for v in [*roles.values(), spec.standard_error] if v]
    if len(set(named)) < len(named):
        raise SpecError(f"One column has two roles: {roles}.")
    if spec.treatment is None and (spec.moderators or spec.reference is not None or spec.sigma_by_arm):
        raise SpecError("moderators, reference and sigma_by_arm describe a treatment: name its column with treatment=.")
    if spec.cluster is None and (spec.slopes or spec.within_between or spec.varying not in ("all", ())):
        raise SpecError("varying, slopes and within_between describe clusters: name their column with cluster=.")
    if spec.sigma_by_arm and spec.family != "gaussian":
        raise SpecError(f"sigma_by_arm needs family='gaussian', not {spec.family!r}.")
    if spec.standard_error and (spec.family != "gaussian" or spec.sigma_by_arm):
        raise SpecError(
            "standard_error gives the residual SD of every row: it needs family='gaussian' and no sigma_by_arm."
        )


def _check_types(spec) -> None:
    for name in ("outcome", "treatment", "standard_error"):
        value = getattr(spec, name)
        if not (isinstance(value, str) and value) and not (value is None and name != "outcome"):
            raise SpecError(
                f"{name}={value!r}: the name of one column, as text (data.rename(columns=str) if it is a number)."
            )
    for name in ("covariates", "moderators", "slopes"):
        if not isinstance(getattr(spec, name), str):
            raise SpecError(f"{name}={getattr(spec, name)!r}: a formula as text, such as 'age + C(site)'.")
    for name in ("varying", "within_between"):
        value = getattr(spec, name)
        names = (value,) if name == "varying" and isinstance(value, str) else value
        if not (isinstance(names, tuple | list) and all(isinstance(v, str) for v in names)):
            raise SpecError(f"{name}={value!r}: names in a tuple, such as {name}=('a', 'b') or {name}=('a',).")
    for name in ("intercept_varies", "sigma_by_arm"):
        if not isinstance(getattr(spec, name), bool):
            raise SpecError(f"{name}={getattr(spec, name)!r}: write True or False.")
    if not isinstance(spec.priors, str | Mapping):
        raise SpecError(f"priors={spec.priors!r}: write 'default', 'mplus' or a mapping of labels to priors.")


def label(variable: str, element: str | None = None) -> str:
    """``gamma1[small]``: how an element of a variable is called in tables and in ``priors=``."""
    return variable if element is None else f"{variable}[{element}]"


def build(spec, data: pd.DataFrame) -> xr.Dataset:
    """The design of a `RandomSlope`: see `Arrays` for what is in it."""
    roles = [spec.outcome, spec.treatment, spec.cluster, spec.standard_error]
    named = [c for c in roles if c]
    columns.check_frame(data, [*named, *spec.within_between])
    split = split_columns(spec)
    taken = [c for c in split if c in data]
    if taken:
        raise DataError(f"within_between makes columns {split}, but the data have {taken} already: rename those.")
    known = data.assign(**dict.fromkeys(split, 0.0))
    given = [spec.covariates, spec.moderators, spec.slopes]
    used = [c for f in given for c in formulas.formula_columns(f, known) if c not in split]
    _check_formulas(spec, [*used, *spec.within_between])
    frame, missing = columns.complete_rows(data, [*named, *used, *spec.within_between], spec.missing)
    for formula in given:
        formulas.check_formula(formula, frame.assign(**dict.fromkeys(split, np.arange(len(frame)))))

    y = OUTCOMES[spec.family](frame, spec.outcome)
    coords: dict = {"row": columns.row_labels(frame.index)}
    variables: dict = {"y": ("row", y)}
    arms, code, clusters = [""], np.zeros(len(frame), np.int64), []
    if spec.treatment:
        code, arms = columns.code_arms(frame[spec.treatment], spec.reference)
        coords[spec.treatment] = arms[1:]
        coords[f"{spec.treatment}_arm"] = arms
    variables["arm_code"] = ("row", code)
    cluster = np.zeros(len(frame), np.int64)
    if spec.cluster:
        cluster, clusters = columns.code_clusters(frame[spec.cluster], one_row_each=spec.standard_error is not None)
        coords[spec.cluster] = clusters
    variables["cluster_code"] = ("row", cluster)
    if spec.standard_error:
        variables["se"] = ("row", _standard_errors(frame, spec.standard_error))

    for x in spec.within_between:
        frame = columns.within_between(frame, x, cluster)
    main = formulas.Terms(main_formula(spec), frame)
    moderators, slopes = formulas.Terms(spec.moderators, frame), formulas.Terms(spec.slopes, frame)
    for terms in (moderators, slopes):
        absent = [t for t in terms.labels if t not in main.labels]
        if absent:
            raise SpecError(
                f"Terms {absent} of {terms.formula!r} are coded differently in the covariates (two splines of one "
                "variable, a factor with and without its reference level); write them alike."
            )
    coords |= {"covariate": main.labels, "moderator": moderators.labels}
    variables |= {"X": (("row", "covariate"), main.matrix), "M": (("row", "moderator"), moderators.matrix)}
    varying = _varying(spec, arms[1:], slopes.labels) if spec.cluster else []
    coords |= {"varying": varying, "varying_": varying}
    attrs = {
        "family": spec.family,
        "outcome": spec.outcome,
        "treatment": spec.treatment or "",
        "reference": arms[0],
        "cluster": spec.cluster or "",
        "slopes": slopes.labels,
        "standard_error": spec.standard_error or "",
        "sigma_by_arm": int(spec.sigma_by_arm),
        "rows_given": len(data),
        "missing": [f"{k}: {v}" for k, v in missing.items()],
        "data_hash": columns.fingerprint(frame),
    }
    design = xr.Dataset(variables | columns.raw_variables(frame), coords, attrs)
    arrays = Arrays(design)
    if arrays.X.shape[1] or arrays.n_contrasts:
        formulas.check_columns(arrays.full, arrays.full_terms)
    if arrays.sigmas:
        _check_spread(spec, arrays)
    if spec.cluster and spec.treatment:
        _check_arms_in_clusters(arrays, varying)
    return design


def split_columns(spec) -> list[str]:
    """The columns that `within_between` makes."""
    return [f"{x}_{part}" for x in spec.within_between for part in ("within", "between")]


def main_formula(spec) -> str:
    """All terms of X: split covariates, covariates, moderators, slopes."""
    parts = [*map(formulas.quoted, split_columns(spec)), spec.covariates, spec.moderators, spec.slopes]
    return " + ".join(part for part in parts if part.strip())


def _check_formulas(spec, used) -> None:
    for column, role in ((spec.treatment, "treatment"), (spec.outcome, "outcome")):
        if column in used:
            what = "moderators= multiplies its terms by the arms" if role == "treatment" else "it cannot explain itself"
            raise SpecError(f"The {role} {column!r} is in a formula: {what}; take it out.")
    if spec.cluster in used and spec.intercept_varies:
        raise SpecError(
            f"The cluster {spec.cluster!r} is in a formula and has a random intercept: take it out of the formula, or write "
            "intercept_varies=False for fixed cluster intercepts."
        )
    for column in {"chain", "draw"} & {*used}:
        raise SpecError(f"{column!r} is a dimension of the results and cannot be in a formula: rename the column.")


def _check_spread(spec, arrays: "Arrays") -> None:
    """A residual SD needs residuals: beside the columns of the model, within clusters, and within arms that have their own."""
    y = arrays.y
    formulas.check_residual(arrays.full, y, spec.outcome)
    means = np.bincount(arrays.code, y) / np.bincount(arrays.code)
    if "intercept" in arrays.varying and np.ptp(y - means[arrays.code]) <= 1e-9 * np.ptp(y):
        raise DataError(
            f"The outcome {spec.outcome!r} is constant within every cluster of {spec.cluster!r}: it belongs to clusters. "
            "Analyse one row a cluster, without cluster=."
        )
    for k, arm in enumerate(arrays.labels(arrays.arms) if spec.sigma_by_arm else []):
        if np.ptp(y[arrays.arm == k]) == 0:
            raise DataError(
                f"The outcome {spec.outcome!r} is constant in arm {arm!r}: it has no SD. Drop sigma_by_arm."
            )


def _standard_errors(frame, column) -> np.ndarray:
    values = columns.floats(frame, column, "standard error")
    bad = values <= 0
    if bad.any():
        raise DataError(
            f"The standard error {column!r} must be positive; {bad.sum()} are not, the first in row "
            f"{columns.first(frame, bad)}."
        )
    return values


def _varying(spec, contrasts: list[str], slopes: list[str]) -> list[str]:
    """Labels of the random effects: intercept, arms, slopes."""
    if spec.varying == "all":
        arms = contrasts
    else:
        arms = [spec.varying] if isinstance(spec.varying, str) else list(spec.varying)
        for arm in arms:
            if arm not in contrasts:
                raise SpecError(f"varying={arm!r} is not an arm with an effect.{near(arm, contrasts)}")
    out = (["intercept"] if spec.intercept_varies else []) + [a for a in contrasts if a in arms] + slopes
    if len(set(out)) < len(out):
        raise SpecError(f"Random effects need different names, got {out}: rename an arm or a slope.")
    return out


def _check_arms_in_clusters(arrays: "Arrays", varying: list[str]) -> None:
    """An effect that varies across clusters needs clusters in which it can be seen."""
    table = arrays.arm_counts > 0
    several = table.sum(1) > 1
    for k, arm in enumerate(arrays.contrasts, start=1):
        if arm in varying and "intercept" in varying and not (several & table[:, k]).any():
            name = arrays.design.attrs["treatment"]
            raise SpecError(
                f"No cluster has persons in {arm!r} and in another arm of {name!r}: the SD of its effect and its "
                "correlation would be their priors. Whole clusters were assigned: write varying=() to estimate the "
                "average effect with a random intercept."
            )


@dataclass(frozen=True)
class Arrays:
    """The design under the names of the equations.

    Attributes
    ----------
    design : Dataset
        Variables ``y, arm_code, cluster_code (row)``, ``X (row, covariate)``, ``M (row, moderator)``, perhaps ``se``,
        and the analysed columns as ``column_0, ...``; coords hold all labels.
    """

    design: xr.Dataset

    def __getattr__(self, name):
        if name in ("family", "outcome", "treatment", "reference", "cluster"):
            return self.design.attrs[name]
        raise AttributeError(name)

    @property
    def coords(self) -> dict[str, list]:
        """Labels by dim, as PyMC takes them."""
        return {str(k): v.to_numpy() for k, v in self.design.coords.items()}

    def labels(self, dims: str | tuple[str, ...]) -> list[str]:
        """Element labels of a vector, or of a matrix row by row, as tables print them."""
        if isinstance(dims, str):
            return [str(v) for v in self.design[dims].to_numpy()] if dims in self.design.coords else []
        first, second = (self.labels(d) for d in dims)
        return [f"{a}, {b}" for a in first for b in second]

    @cached_property
    def contrasts(self) -> list[str]:
        """Arms but the reference."""
        return self.labels(self.treatment) if self.treatment else []

    @property
    def n_contrasts(self) -> int:
        return len(self.contrasts)

    @property
    def arms(self) -> str:
        """Name of the dim of all arms, the reference first."""
        return f"{self.treatment}_arm"

    @property
    def n_clusters(self) -> int:
        return self.design.sizes[self.cluster] if self.cluster else 1

    @cached_property
    def y(self) -> np.ndarray:
        return self.design["y"].to_numpy()

    @cached_property
    def arm(self) -> np.ndarray:
        return self.design["arm_code"].to_numpy()

    @cached_property
    def code(self) -> np.ndarray:
        return self.design["cluster_code"].to_numpy()

    @cached_property
    def X(self) -> np.ndarray:
        return self.design["X"].to_numpy()

    @cached_property
    def M(self) -> np.ndarray:
        return self.design["M"].to_numpy()

    @cached_property
    def S(self) -> np.ndarray:
        """Covariates with random slopes, (row, slope)."""
        labels = self.labels("covariate")
        return self.X[:, [labels.index(s) for s in self.slopes]]

    @property
    def slopes(self) -> list[str]:
        return list(self.design.attrs["slopes"])

    @property
    def se(self) -> np.ndarray | None:
        return self.design["se"].to_numpy() if "se" in self.design else None

    @cached_property
    def varying(self) -> list[str]:
        return self.labels("varying")

    @property
    def q(self) -> int:
        """Number of random effects of a cluster."""
        return len(self.varying)

    @property
    def sigmas(self) -> int:
        """Number of residual SDs."""
        if self.family not in ("gaussian", "student") or self.se is not None:
            return 0
        return self.n_contrasts + 1 if self.design.attrs["sigma_by_arm"] else 1

    @property
    def T(self) -> np.ndarray:
        """Arm indicators, (row, contrast)."""
        return indicators(self.arm, self.n_contrasts)

    @cached_property
    def arm_counts(self) -> np.ndarray:
        """Persons by cluster and arm, (cluster, arm)."""
        k = self.n_contrasts + 1
        return np.bincount(self.code * k + self.arm, minlength=self.n_clusters * k).reshape(-1, k)

    @property
    def full(self) -> np.ndarray:
        """The whole model matrix: 1, T, X, T x M."""
        T = self.T
        products = (T[:, :, None] * self.M[:, None, :]).reshape(len(T), -1)
        return np.column_stack([np.ones(len(T)), T, self.X, products])

    @cached_property
    def full_labels(self) -> list[str]:
        """Parameter labels of the columns of `full`."""
        out = ["gamma0", *(label("gamma1", a) for a in self.contrasts)]
        out += [label("gamma2", x) for x in self.labels("covariate")]
        return out + [
            label("gamma3", v) for v in (self.labels((self.treatment, "moderator")) if self.n_contrasts else [])
        ]

    @property
    def full_terms(self) -> list[str]:
        """What the columns of `full` are in the user's words: arms, terms of formulas, and their products."""
        arms = [label(self.treatment, a) for a in self.contrasts]
        products = [f"{arm}:{m}" for arm in arms for m in self.labels("moderator")]
        return ["intercept", *arms, *self.labels("covariate"), *products]

    @property
    def random(self) -> list[int]:
        """Columns of `full` that have random effects."""
        position = {"intercept": 0} | {a: 1 + k for k, a in enumerate(self.contrasts)}
        covariates = self.labels("covariate")
        position |= {s: 1 + self.n_contrasts + covariates.index(s) for s in self.slopes}
        return [position[v] for v in self.varying]

    def split(self, u):
        """Random effects (..., q) as those of the intercept (...), the arms (..., contrast) and the slopes (..., slope)."""
        if not self.q:
            return 0.0, 0.0, 0.0
        pick = np.zeros((self.q, 1 + self.n_contrasts + len(self.slopes)))
        names = ["intercept", *self.contrasts, *self.slopes]
        for row, name in enumerate(self.varying):
            pick[row, names.index(name)] = 1.0
        k = 1 + self.n_contrasts
        return u @ pick[:, 0], u @ pick[:, 1:k], u @ pick[:, k:]

    def moments(self) -> Moments:
        """Cross-products by cluster and residual stratum: all that the Gaussian likelihood needs of the rows."""
        stratum = self.arm if self.design.attrs["sigma_by_arm"] else np.zeros_like(self.arm)
        K = self.n_contrasts + 1 if self.design.attrs["sigma_by_arm"] else 1
        return moments(self.full, self.y, self.random, self.code, self.n_clusters, stratum, K, self.se)

    def parameters(self, draws: xr.Dataset) -> "Draws":
        """Draws in the layout of the Gaussian formulas, chains stacked."""
        flat = {str(k): flatten(draws[k]) for k in draws.data_vars}
        S = len(flat["gamma0"])
        names = [v for v in ("gamma0", "gamma1", "gamma2", "gamma3") if v in flat]
        beta = np.concatenate([flat[v].reshape(S, -1) for v in names], axis=1)
        factor = np.zeros((S, 0, 0))
        if self.q:
            corr = flat["corr"] if "corr" in flat else np.ones((S, 1, 1))
            sd = flat["sd"]
            factor = np.linalg.cholesky(corr) * sd[:, :, None]
        precision = np.ones((S, 1)) if not self.sigmas else flat["sigma"].reshape(S, -1) ** -2.0
        return Draws(beta, factor, precision)


@dataclass(frozen=True)
class Draws(Parameters):
    """`Parameters` that can be sliced."""

    def __getitem__(self, part: slice) -> "Draws":
        return replace(self, beta=self.beta[part], factor=self.factor[part], precision=self.precision[part])


def indicators(arm: np.ndarray, contrasts: int) -> np.ndarray:
    """(row, contrast) indicators of the arms 1, 2, ..."""
    return (arm[:, None] == np.arange(1, contrasts + 1)).astype(float)


def flatten(values: xr.DataArray) -> np.ndarray:
    """Draws of a variable with chains stacked: (chain * draw, ...)."""
    a = values.transpose("chain", "draw", ...).to_numpy()
    return a.reshape(-1, *a.shape[2:])


def derived(draws: xr.Dataset, D: Arrays) -> xr.Dataset:
    """Adds each cluster's effect on the scale of eta: gamma1 + gamma3 times its mean moderators + U1."""
    if not (D.n_contrasts and D.cluster):
        return draws
    effect = draws["gamma1"]
    if D.M.shape[1]:
        n = np.bincount(D.code, minlength=D.n_clusters)
        means = np.stack([np.bincount(D.code, m, minlength=D.n_clusters) / n for m in D.M.T], axis=1)
        M = xr.DataArray(means, dims=(D.cluster, "moderator"), coords={"moderator": D.labels("moderator")})
        effect = effect + xr.dot(draws["gamma3"], M, dim="moderator")
    if D.q:
        u1 = D.split(draws["u"].transpose("chain", "draw", D.cluster, "varying").to_numpy())[1]
        effect = effect + xr.DataArray(u1, dims=("chain", "draw", D.cluster, D.treatment))
    effect = effect.expand_dims({D.cluster: D.n_clusters} if D.cluster not in effect.dims else {})
    order = ("chain", "draw", D.cluster, D.treatment)
    return draws.assign(effect=effect.transpose(*order).assign_coords({D.cluster: D.coords[D.cluster]}))
