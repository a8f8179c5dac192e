"""Potential outcomes of an ItemResponse, draw by draw: chances of right answers, scores, the likelihood, new responses.

Items are always those that a row names. Persons are these (their abilities; in another arm the residual is scaled by the
ratio of the residual SDs), new ones in new clusters (what an ability has beside its covariates integrated over its
distribution) or average ones (residual and cluster effects zero). On two occasions all is after.
"""

import numpy as np
import pandas as pd
import xarray as xr
from scipy import sparse

from bayeshte import categories, formulas
from bayeshte import design as columns
from bayeshte.errors import SpecError, near
from bayeshte.families.item_response_arrays import Arrays, ability_mean
from bayeshte.families.item_response_averages import integrated_means, people_of
from bayeshte.families.item_response_curves import Shapes, draw_responses, log_probability, mean_response, of_draws
from bayeshte.families.item_response_design import main_formula
from bayeshte.labelled import flatten, indicators, unstack
from bayeshte.marginal import abilities as integrals
from bayeshte.marginal.occasion_abilities import abilities_of_pairs
from bayeshte.marginal.responses import distinct

CHUNK = 4_000_000  # values held at once
KEPT = 20_000_000  # abilities (draw, person) that a posterior holds


def draw_abilities(D: Arrays, draws: xr.Dataset, rng: np.random.Generator) -> np.ndarray:
    """Abilities from their exact distribution given everything else, (draw, person), or (draw, person, occasion)."""
    seed = int(rng.integers(2**31))
    if D.occasion:
        return _two_abilities(D, draws, seed)[1]
    given = D.beta(draws), D.sigma(draws), D.easiness(draws), D.v(draws), D.shapes(draws)
    return integrals.abilities(D.responses, *given, seed=seed)[1]


def _two_abilities(D: Arrays, draws: xr.Dataset, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Log of the integral over both abilities of each person, (draw, person), and with a seed the abilities."""
    sigma, corr = flatten(draws["sigma_theta"]), flatten(draws["rho_theta"])
    return abilities_of_pairs(
        D.responses, D.pairs, D.means(draws, D.v(draws)), sigma, corr, D.levels(draws), D.shapes(draws), seed
    )


def kept_abilities(draws: xr.Dataset, what: str) -> np.ndarray:
    """The abilities that a posterior holds, (draw, person); on two occasions (draw, sitting)."""
    if "theta" not in draws:
        raise SpecError(
            f"{what} needs the abilities of persons, which are kept up to {KEPT:,} (persons times draws): fit with fewer "
            "draws, or write clusters='new' for expected responses and unit='cluster' for the likelihood of persons."
        )
    theta = flatten(draws["theta"])
    return theta.reshape(len(theta), -1)


def expected(spec, draws: xr.Dataset, design: xr.Dataset, arm, clusters, frame, weight) -> xr.DataArray:
    """Chance of a right answer, or mean category, of rows, or its weighted means; see `ModelSpec.expected`."""
    if clusters not in ("these", "new", "average"):
        raise SpecError(f"clusters={clusters!r}: write 'these', 'new' or 'average'.")
    D = Arrays(design)
    X, M, code, item, person = _rows(spec, D, arm, clusters, frame)
    people, who = distinct(np.column_stack([person, code, X, M]))
    if weight is not None and clusters == "new":
        groups = people_of(who, item, np.asarray(weight, float), D.n_items)
        if groups is not None:
            values = integrated_means(D, draws, people, len(weight), *groups)
            return unstack(values, draws, group=np.arange(len(weight)))
    theta = _abilities(D, draws, clusters, people)
    if weight is not None:  # equal rows are one
        table, back = distinct(np.column_stack([item, who]))
        weight = sparse.csr_array((np.ones(len(back)), (np.arange(len(back)), back))).T @ np.asarray(weight, float).T
        item, who = table.T
    code, d, spread = people[who, 1].astype(int), D.easiness(draws), D.spread(draws)
    shapes = D.shapes(draws)
    out = np.empty((len(d), len(who) if weight is None else weight.shape[1]))
    step = max(1, CHUNK // (len(who) + len(people) * D.n_contrasts))
    for start in range(0, len(d), step):
        s = slice(start, start + step)
        eta = theta(s)[:, who] + d[s][:, code, item]
        p = mean_response(D, of_draws(shapes, s), eta, item, spread[s][:, code] if clusters == "new" else None)
        out[s] = p if weight is None else p @ weight
    if weight is not None:
        return unstack(out, draws, group=np.arange(out.shape[1]))
    return unstack(out, draws, row=design["row"].to_numpy() if frame is None else frame.index.to_numpy())


def _abilities(D: Arrays, draws: xr.Dataset, clusters: str, people: np.ndarray):
    """A function of a slice of draws: abilities (draw, people) of persons in arms with covariates, a row of `people` each.

    Of these persons with what theirs have beside the coefficients; of others the means.
    """
    X, M = np.split(people[:, 2:], [D.design.sizes["covariate"]], axis=1)
    code, beta = people[:, 1].astype(int), D.coefficients(draws)
    T = indicators(code, D.n_contrasts)
    if clusters != "these":
        return lambda s: ability_mean(T, X, M, *(b[s] for b in beta))
    theta, sigma, v = kept_abilities(draws, "The expected response of these persons"), D.sigma(draws), D.v(draws)
    theta = theta[:, D.is_after] if D.occasion else theta
    who = people[:, 0].astype(int)

    def of_clusters(s):
        return D.split(v[s][:, D.person_cluster]) if D.cluster else (0.0, 0.0)

    def abilities(s):
        v0, v1 = of_clusters(s)
        residual = theta[s] - ability_mean(*D.persons, *(b[s] for b in beta), v0, v1)
        ratio = sigma[s][:, code] / sigma[s][:, D.person_arm[who]]
        v0, v1 = (v[:, who] if D.cluster else 0.0 for v in (v0, v1))
        return ability_mean(T, X, M, *(b[s] for b in beta), v0, v1) + ratio * residual[:, who]

    return abilities


def _rows(spec, D: Arrays, arm, clusters, frame: pd.DataFrame | None) -> tuple[np.ndarray, ...]:
    """X, M, arm, item and person of the rows to predict for: the data's own, or others coded in the same way."""
    if arm is not None and arm not in D.arms:
        raise SpecError(f"arm={arm!r} is not an arm.{near(arm, D.arms)}")
    if frame is None:
        code = D.person_arm[D.person_code] if arm is None else np.full(len(D.y), D.arms.index(arm))
        return D.design["X"].to_numpy(), D.design["M"].to_numpy(), code, D.item_code, D.person_code
    old = columns.raw_frame(D.design).iloc[D.first_row]
    used = formulas.formula_columns(main_formula(spec), old)
    columns.check_frame(frame, [*used, D.item])
    named = [D.item, *([D.treatment] if arm is None else []), *([D.person] if clusters == "these" else [])]
    frame, _ = columns.complete_rows(frame, [c for c in frame if c in {*used, *named}], "error")
    item = columns.codes_of(frame, D.item, D.labels(D.item), "responses are predicted for the items of the data")
    person = np.zeros(len(frame), np.int64)
    if clusters == "these":
        person = columns.codes_of(frame, D.person, D.labels(D.person), "clusters='new' predicts for other persons")
    if arm is not None:
        code = np.full(len(frame), D.arms.index(arm))
    else:
        code = columns.codes_of(frame, D.treatment, D.arms, "arm= predicts for one arm")
    X, M = formulas.Terms(main_formula(spec), old).on(frame), formulas.Terms(spec.moderators, old).on(frame)
    return X, M, code, item, person


def levels(D: Arrays, draws: xr.Dataset, what: str) -> np.ndarray:
    """Ability plus easiness of every response, (draw, row), of the abilities that a posterior holds."""
    return kept_abilities(draws, what)[:, D.sitting_code] + D.levels(draws)[:, D.cell, D.item_code]


def log_likelihood(draws: xr.Dataset, design: xr.Dataset, unit: str) -> xr.DataArray:
    """By person, the ability integrated, given the effects of clusters; or by response given both. See `ModelSpec`."""
    D = Arrays(design)
    if unit == "row":
        eta = levels(D, draws, "The likelihood of single responses")
        log = log_probability(D, D.shapes(draws), eta, D.item_code, D.y)
        return unstack(log, draws, row=design["row"].to_numpy())
    data, level = D.responses, D.levels(draws)
    if D.occasion:
        integral = _two_abilities(D, draws, None)[0]
    else:
        integral, _ = integrals.abilities(data, D.beta(draws), D.sigma(draws), level, D.v(draws), D.shapes(draws))
        integral = integral[:, data.unit]
    out = integral + beside_integral(D, level, D.shapes(draws))
    values = unstack(out, draws, **{D.person: D.labels(D.person)})
    return (
        values.assign_attrs(integrated=f"given the effects of their {D.cluster} (conditional)") if D.cluster else values
    )


def beside_integral(D: Arrays, level: np.ndarray, shapes: Shapes) -> np.ndarray:
    """What the log-likelihood of a person has beside the integral over the ability, (draw, person); level (draw, cell, item)."""
    if D.form is None:
        table, column, width = level, D.item_code, D.n_items  # the easiness of each right answer
        weight = D.y
    else:
        table = integrals.of_responses(D.form, level, *shapes)
        column, width, weight = D.form.first[D.item_code] + D.y.astype(int), D.form.first[-1], np.ones(len(D.y))
    out = np.zeros((len(level), D.n_persons))
    for cell in range(len(D.cells)):
        own = cell == D.cell
        given = sparse.csr_array((weight[own], (D.person_code[own], column[own])), (D.n_persons, width))
        out += (given @ table[:, cell].T).T
    return out


def labelled(response: str, y: np.ndarray, design: xr.Dataset) -> np.ndarray:
    """Responses y (draw, row) as in the data: categories, counted from 0 on each item, as numbers or as labels of an order."""
    D = Arrays(design)
    if D.binary:
        return y
    given = columns.raw_frame(design)[response]
    return categories.labelled(D.form.first[D.item_code] + y, D.labels("category"), given)


def replicates(draws: xr.Dataset, design: xr.Dataset, seed: int, clusters: str) -> xr.Dataset:
    """New responses `y` (draw, row), one data set for each of the draws, which are one chain; see `ModelSpec.replicates`.

    ``clusters="new"``: of new persons, in new clusters of persons if there are any.
    """
    D, rng = Arrays(design), np.random.default_rng(seed)
    if clusters == "new":
        v = None
        if D.cluster:
            factor = D.cluster_factor(draws)
            v = rng.normal(size=(len(factor), D.n_clusters, factor.shape[1])) @ factor.mT
        theta = D.means(draws, v)
        noise = rng.normal(size=(len(theta), D.n_persons, D.n_occasions))
        own = D.sigma(draws)[:, D.person_arm, None]
        noise = noise @ D.residual_factor(draws).mT if D.occasion else noise * own
        theta = theta + noise.reshape(theta.shape)
    else:
        theta = flatten(draws["theta"]) if "theta" in draws else draw_abilities(D, draws, rng)
        theta = theta.reshape(len(theta), -1)
    eta = theta[:, D.sitting_code] + D.levels(draws)[:, D.cell, D.item_code]
    return xr.Dataset({"y": (("draw", "row"), draw_responses(D, D.shapes(draws), eta, D.item_code, rng))})
