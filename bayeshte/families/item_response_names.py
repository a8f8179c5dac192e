"""The design of an ItemResponse under the names of its equations."""

from abc import ABC
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from bayeshte.labelled import indicators
from bayeshte.marginal.item_categories import ADJACENT, CUMULATIVE, LOGIT, PROBIT, Form
from bayeshte.marginal.occasions import Pairs, pairs
from bayeshte.marginal.responses import Responses, responses

#: variables of a posterior, in the order of the tables; those in LATENT are no parameters and are not sampled
LATENT = ("effect", "theta")
COEFFICIENTS = ("beta0", "beta1", "beta_time", "beta2", "beta3")
ITEMS = ("gamma", "delta", "sigma_b", "sigma_zeta", "rho", "sigma_drift", "sigma_a", "b", "zeta", "drift", "a", "tau")
#: model: how categories depend on the ability, and whether items discriminate differently
MODELS = {
    "rasch": (ADJACENT, False),
    "2pl": (ADJACENT, True),
    "graded": (CUMULATIVE, True),
    "partial credit": (ADJACENT, False),
    "generalized partial credit": (ADJACENT, True),
}
BINARY = ("rasch", "2pl")
STORED = (*COEFFICIENTS, "sigma_theta", "rho_theta", *ITEMS, "sd", "corr", "v", *LATENT)
INTERCEPT = "intercept"


@dataclass(frozen=True)
class Names(ABC):
    """The design under the names of the equations.

    Attributes
    ----------
    design : Dataset
        Variables ``y, arm_code, cluster_code, item_code (row)``, ``X (row, covariate)``, ``M (row, moderator)``,
        ``W (item, item_covariate)``, ``n_categories (item)``, with clusters of persons ``person_cluster_code (row)``, on two
        occasions ``occasion_code (row)`` and ``person_arm_code (person)``, the arm after, and the analysed columns as
        ``column_0, ...``. What other families call clusters are persons; coords hold all labels.
    """

    design: xr.Dataset

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels by dim, as PyMC takes them."""
        return {str(k): v.to_numpy() for k, v in self.design.coords.items()}

    def labels(self, dim: str) -> list[str]:
        return [str(v) for v in self.design[dim].to_numpy()]

    # ------------------------------------------------------------------------------------------ arms

    @property
    def treatment(self) -> str:
        return self.design.attrs["treatment"]

    @property
    def arm_dim(self) -> str:
        """Name of the dim of all arms, the reference first."""
        return f"{self.treatment}_arm"

    @property
    def arms(self) -> list[str]:
        return self.labels(self.arm_dim)

    @property
    def contrasts(self) -> list[str]:
        """Arms but the reference."""
        return self.arms[1:]

    @property
    def n_contrasts(self) -> int:
        return len(self.arms) - 1

    @property
    def contrast_dims(self) -> tuple[str, ...]:
        """The dim of the arms in variables that have one value an arm: none with two arms."""
        return (self.treatment,) if self.n_contrasts > 1 else ()

    def by_arm(self, name: str, elements: list[str] | None = None) -> list[str]:
        """Labels of a variable with a value for each arm but the reference: ``beta1``, or ``beta1[low]`` of several."""
        arms = self.contrasts if self.n_contrasts > 1 else [""]
        inside = [[part for part in (arm, e) if part] for arm in arms for e in ([""] if elements is None else elements)]
        return [f"{name}[{', '.join(v)}]" if v else name for v in inside]

    @property
    def sigmas(self) -> list[str]:
        """Labels of the residual SDs of abilities."""
        if self.occasion:
            return [f"sigma_theta[{v}]" for v in self.labels(self.occasion)]
        return [f"sigma_theta[{a}]" for a in self.arms] if self.design.attrs["sigma_by_arm"] else ["sigma_theta"]

    @cached_property
    def arm(self) -> np.ndarray:
        """Arm of each row."""
        return self.design["arm_code"].to_numpy()

    # ------------------------------------------------------------------------------------------ persons

    @property
    def person(self) -> str:
        """Name of the dim of persons."""
        return self.design.attrs["cluster"]

    @property
    def n_persons(self) -> int:
        return self.design.sizes[self.person]

    @cached_property
    def person_code(self) -> np.ndarray:
        return self.design["cluster_code"].to_numpy()

    @cached_property
    def first_row(self) -> np.ndarray:
        """A row of every person."""
        out = np.zeros(self.n_persons, np.int64)
        out[self.person_code[::-1]] = np.arange(len(self.person_code))[::-1]
        return out

    @property
    def person_arm(self) -> np.ndarray:
        """Arm of each person, on two occasions that after."""
        return self.design["person_arm_code"].to_numpy() if self.occasion else self.arm[self.first_row]

    @cached_property
    def persons(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """T, X and M of every person."""
        T = indicators(self.person_arm, self.n_contrasts)
        return T, *(self.design[v].to_numpy()[self.first_row] for v in ("X", "M"))

    @cached_property
    def full(self) -> np.ndarray:
        """What the coefficients multiply, a row a sitting: 1, T, the occasion, X, T x M."""
        T, X, M = (np.repeat(v, self.n_occasions, axis=0) for v in self.persons)
        T = T * self.is_after[:, None]
        one, time = np.ones(len(T)), self.is_after[:, None][:, : int(self.untreated_after)]
        return np.column_stack([one, T, time, X, (T[:, :, None] * M[:, None, :]).reshape(len(T), -1)])

    @property
    def full_labels(self) -> list[str]:
        """Parameter labels of the columns of `full`."""
        covariates = [f"beta2[{x}]" for x in self.labels("covariate")]
        time = ["beta_time"] if self.untreated_after else []
        return ["beta0", *self.by_arm("beta1"), *time, *covariates, *self.by_arm("beta3", self.labels("moderator"))]

    @property
    def full_terms(self) -> list[str]:
        """What the columns of `full` are in the user's words."""
        arms = [f"{self.treatment}[{a}]" for a in self.contrasts]
        products = [f"{a}:{m}" for a in arms for m in self.labels("moderator")]
        time = [self.occasion] if self.untreated_after else []
        return [INTERCEPT, *arms, *time, *self.labels("covariate"), *products]

    # ------------------------------------------------------------------------------------------ occasions

    @property
    def occasion(self) -> str:
        """Name of the dim of the occasions, before and after; empty if there is one occasion."""
        return self.design.attrs["occasion"]

    @property
    def n_occasions(self) -> int:
        return 2 if self.occasion else 1

    @property
    def untreated_after(self) -> bool:
        """Whether somebody is in the reference arm after: then change without treatment is in the model."""
        return bool(self.design.attrs["untreated_after"])

    @property
    def n_sittings(self) -> int:
        """Sittings: a person on an occasion, who has one ability; with one occasion persons."""
        return self.n_persons * self.n_occasions

    @cached_property
    def sitting_code(self) -> np.ndarray:
        """Sitting of each row: persons in order, the occasion varying faster."""
        return self.person_code * 2 + self.design["occasion_code"].to_numpy() if self.occasion else self.person_code

    @cached_property
    def is_after(self) -> np.ndarray:
        """Whether each sitting is that after, or the only one, (sitting,)."""
        return np.tile([False, True], self.n_persons) if self.occasion else np.ones(self.n_persons, bool)

    @property
    def cells(self) -> list[str]:
        """Labels of what the items are answered in: arms; on two occasions everybody before, and the arms after."""
        if not self.occasion:
            return self.arms
        before, after = self.labels(self.occasion)
        return [before, *(f"{a}, {after}" for a in self.arms)]

    def cell_of(self, sitting: np.ndarray) -> np.ndarray:
        """Cell of sittings."""
        arm = self.person_arm[sitting // self.n_occasions]
        return np.where(self.is_after[sitting], 1 + arm, 0) if self.occasion else arm

    @cached_property
    def cell(self) -> np.ndarray:
        """Cell of each row."""
        return self.cell_of(self.sitting_code)

    @property
    def item_effects_of_cells(self) -> np.ndarray:
        """Which effects of an item make its level in each cell: b, zeta of every arm, drift, (cell, effect) of 0 and 1."""
        b, zeta = np.ones((len(self.arms), 1)), np.eye(len(self.arms))[:, 1 : self.q]
        if not self.occasion:
            return np.hstack([b, zeta])
        after = np.hstack([b, zeta, b[:, : int(self.untreated_after)]])
        return np.vstack([np.eye(1, after.shape[1]), after])

    # ------------------------------------------------------------------------------------------ clusters of persons

    @property
    def cluster(self) -> str:
        """Name of the dim of clusters of persons; empty if there are none."""
        return self.design.attrs["person_cluster"]

    @property
    def n_clusters(self) -> int:
        return self.design.sizes[self.cluster] if self.cluster else 0

    @property
    def cluster_varying(self) -> list[str]:
        """Labels of the effects of a cluster: intercept, arms."""
        return self.labels("cluster_varying")

    @cached_property
    def person_cluster(self) -> np.ndarray:
        """Cluster of each person."""
        return self.design["person_cluster_code"].to_numpy()[self.first_row]

    def split(self, v):
        """Effects of clusters (..., s) as those of the intercept (...) and of the arms (..., contrast)."""
        names = [INTERCEPT, *self.contrasts]
        pick = np.zeros((len(self.cluster_varying), len(names)))
        for row, name in enumerate(self.cluster_varying):
            pick[row, names.index(name)] = 1.0
        return v @ pick[:, 0], v @ pick[:, 1:]

    # ------------------------------------------------------------------------------------------ items

    @property
    def item(self) -> str:
        """Name of the dim of items."""
        return self.design.attrs["item"]

    @property
    def n_items(self) -> int:
        return self.design.sizes[self.item]

    @property
    def q(self) -> int:
        """Number of effects of an item."""
        return self.design.sizes["varying"]

    @property
    def fixed(self) -> bool:
        """Whether item effects are fixed ones that sum to zero."""
        return self.design.attrs["items"] == "fixed"

    @cached_property
    def W(self) -> np.ndarray:
        """Covariates of items, (item, item_covariate)."""
        return self.design["W"].to_numpy()

    @property
    def item_labels(self) -> list[str]:
        """Labels of the coefficients of item covariates: of easiness, then of the effect of each arm."""
        names = self.labels("item_covariate")
        return [f"gamma[{w}]" for w in names] + (self.by_arm("delta", names) if self.q > 1 and names else [])

    @cached_property
    def item_code(self) -> np.ndarray:
        return self.design["item_code"].to_numpy()

    @cached_property
    def y(self) -> np.ndarray:
        return self.design["y"].to_numpy()

    @property
    def model(self) -> str:
        return self.design.attrs["model"]

    @property
    def binary(self) -> bool:
        """Whether responses are right or wrong by the model, not by the number of categories."""
        return self.model in BINARY

    @property
    def unit(self) -> str:
        """Unit of abilities."""
        return "probits" if self.design.attrs["link"] == "probit" else "log odds"

    @property
    def scale(self) -> str:
        """Unit of abilities with what it is of."""
        of = {"graded": "reaching a category", "partial credit": "the next category"}
        what = "a right answer" if self.binary else of[self.model.removeprefix("generalized ")]
        average = f" {'to' if self.binary else 'of'} an item of average discrimination" if MODELS[self.model][1] else ""
        return f"{self.unit} of {what}{average}"

    @cached_property
    def form(self) -> Form | None:
        """How categories depend on the ability; None in the Rasch model of binary responses with a logit link on one occasion."""
        form, free = MODELS[self.model]
        probit = self.design.attrs["link"] == "probit"
        if self.model == "rasch" and not probit and not self.occasion:
            return None
        n = self.design["n_categories"].to_numpy()
        return Form(CUMULATIVE if probit else form, PROBIT if probit else LOGIT, free, n, (0.0, 1.0))

    @property
    def threshold_prior(self) -> str:
        """Label of the prior of thresholds; empty where there are at most two categories."""
        if self.form is None or not self.labels("threshold_step"):
            return ""
        return "gap" if self.form.form == CUMULATIVE else "tau"

    @cached_property
    def seen(self) -> np.ndarray:
        """Sittings with responses."""
        return np.unique(self.sitting_code)

    @cached_property
    def responses(self) -> Responses:
        """Counts of sittings with equal cell, items, score, cluster and covariates: all that the likelihood needs."""
        shape, seen = (len(self.cells), self.n_items), self.seen
        sitting = np.searchsorted(seen, self.sitting_code)
        given = self.cell_of(seen), self.full[seen], sitting, self.item_code, self.y, shape
        if not self.cluster:
            return responses(*given, form=self.form)
        columns = [[INTERCEPT, *self.contrasts].index(v) for v in self.cluster_varying]
        cluster = self.person_cluster[seen // self.n_occasions]
        return responses(*given, cluster, columns, self.n_clusters, self.form)

    @cached_property
    def pairs(self) -> Pairs | None:
        """Sittings of the same person, if there are two occasions."""
        return pairs(self.responses, *np.divmod(self.seen, 2)) if self.occasion else None
