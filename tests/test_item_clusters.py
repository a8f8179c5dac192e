"""Leaving out whole clusters of persons: their effect integrated against a dense grid, and what cannot be left out."""

import dataclasses

import numpy as np
import pytest
from item_answers import ROLES, trial
from scipy import stats
from scipy.special import logsumexp

import bayeshte as bh
from bayeshte.families.item_response_arrays import Arrays

pytestmark = pytest.mark.slow

SPECS = {
    "rasch": dict(model="rasch", varying=()),
    "graded": dict(model="graded", varying=(), covariates="pretest"),
    "generalized": dict(model="generalized partial credit", varying=(), sigma_by_arm=True),
}


def data_of(name, persons=40, **options):
    data = trial(2, persons=persons, items=4, missing=0.1, **options)[0]
    if name == "rasch":
        data["answer"] = (2 * data["answer"] > data.groupby("word")["answer"].transform("max")).astype(int)
        data.loc[data["school"] == "s1", "answer"] = 1  # all right in one school
    return data


def draws_of(spec, design, sds):
    """Draws of the prior, with these SDs of clusters."""
    priors = spec.frozen_priors(design)
    drawn = bh.simulate(dataclasses.replace(spec, priors=priors), data_of(spec.model), n=len(sds), seed=3)
    for k, (truth, _) in enumerate(drawn):
        yield truth.assign(sd=0.0 * truth["sd"] + sds[k]).expand_dims(chain=[0], draw=[0])


def by_brute_force(spec, design, draw, sd):
    """Sum of the persons' log-likelihoods on a dense grid of each cluster's effect."""
    D, grid = Arrays(design), np.linspace(-8, 8, 241) * sd
    values = []
    for v in grid:
        moved = draw.assign(v=0.0 * draw["v"] + v)
        each = spec.log_likelihood(moved, design, "cluster").to_numpy()[0, 0]
        values.append(np.bincount(D.person_cluster, each))
    log = np.array(values) + stats.norm.logpdf(grid, 0, sd)[:, None]
    return logsumexp(log, axis=0) + np.log(grid[1] - grid[0])


@pytest.mark.parametrize("name", SPECS)
def test_effects_of_clusters_are_integrated(name):
    """SDs of clusters from far below to far above that of abilities."""
    spec = bh.ItemResponse(**ROLES, cluster="school", **SPECS[name])
    design, sds = spec.design(data_of(spec.model)), [0.01, 0.5, 4.0]
    for draw, sd in zip(draws_of(spec, design, sds), sds, strict=True):
        found = spec.log_likelihood(draw, design, "person_cluster")
        assert found.dims == ("chain", "draw", "school")
        wrong = np.abs(found.to_numpy()[0, 0] - by_brute_force(spec, design, draw, sd)).max()
        assert wrong < 1e-5
        assert wrong < found.attrs["quadrature_error"] + 1e-8 < 0.01  # beyond which it is said


@pytest.fixture(scope="module")
def fitted():
    data = data_of("partial credit", persons=200, kind="partial credit")
    data = data.assign(school=[f"s{k % 20:02d}" for k in data["child"].str[1:].astype(int) // 2])
    spec = bh.ItemResponse(**ROLES, model="partial credit", cluster="school", varying=(), item_effects=False)
    return data, bh.fit(spec, data, seed=1, draws=700, target_accept=0.95, progress=False)


def test_leaving_out_schools(fitted):
    _, fit = fitted
    found = bh.loo(fit, "person_cluster")
    assert list(found.pointwise.index) == list(fit.design["school"].to_numpy())
    assert "leaving out one school at a time" in found.what
    assert "halving whose nodes moves no log-likelihood by more than" in found.what
    assert found.refits == 0
    ours = fit.spec.log_likelihood(fit.posterior, fit.design, "person_cluster")
    weight = -ours.to_numpy()  # plain importance sampling, which Pareto smoothing improves
    plain = -(logsumexp(weight, axis=(0, 1)) - np.log(weight[..., 0].size))
    np.testing.assert_allclose(found.pointwise["elpd"], plain, atol=0.1)


def test_comparing_by_school(fitted):
    data, fit = fitted
    other = bh.fit(
        dataclasses.replace(fit.spec, sigma_by_arm=True), data, seed=1, draws=700, target_accept=0.95, progress=False
    )
    table = bh.compare({"one SD": fit, "by arm": other}, "person_cluster")
    assert np.isfinite(table[["elpd", "se"]].to_numpy()).all()
    assert abs(table["difference"].iloc[1]) < 5


def test_what_cannot_be_left_out(fitted):
    data, fit = fitted
    spec = dataclasses.replace(fit.spec, varying="all")
    design = spec.design(data)
    with pytest.raises(bh.SpecError, match="one effect varies over them; here it is intercept, drug"):
        spec.log_likelihood(fit.posterior, design, "person_cluster")
    alone = dataclasses.replace(fit.spec, cluster=None, varying="all")
    with pytest.raises(bh.SpecError, match="no clusters to leave out"):
        spec.log_likelihood(fit.posterior, alone.design(data), "person_cluster")
    with pytest.raises(bh.SpecError, match="'cluster' or 'row' or 'person_cluster'"):
        bh.loo(fit, "school")
