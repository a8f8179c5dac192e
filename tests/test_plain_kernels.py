"""Densities read no memory that was not written: their values in plain Python with NaN there, see plain_kernels.py."""

import subprocess
import sys
from pathlib import Path

import cases
import item_responses
import mixture_cases
import numpy as np
import pytest
import test_item_categories
import test_item_occasions
import test_sem
import test_sem_categorical
import test_sem_cluster_categories
import test_sem_cluster_products
import test_sem_products
from plain_kernels import pickled

import bayeshte as bh

HERE = Path(__file__).parent


def of_slopes():
    for name in ("slope and intercept", "moderated", "sigma by arm", "student", "logit", "negative binomial"):
        yield name, cases.SPECS[name], cases.frame(clusters=6)


def of_equations():
    for name in ("mediation", "factors", "random slopes", "one level, factors"):
        yield name, test_sem.MODELS[name], test_sem.frame()
    yield "missing values", test_sem.MODELS["mediation"], test_sem.frame(missing=True)
    for name, spec in test_sem_products.MODELS.items():
        yield f"product, {name}", spec, test_sem_products.frame()
    for name, spec in test_sem_cluster_products.MODELS.items():
        yield f"product on two levels, {name}", spec, test_sem_cluster_products.frame()


def of_categories():
    for name, spec in test_sem_categorical.MODELS.items():
        yield name, spec, test_sem_categorical.frame(missing=True)
    for name, spec in test_sem_cluster_categories.MODELS.items():
        yield f"of clusters, {name}", spec, test_sem_cluster_categories.frame(missing=True)
    yield "complete", test_sem_categorical.MODELS["binary"], test_sem_categorical.frame()


def of_classes():
    for name in ("intercepts", "slopes", "membership", "persons", "persons, student"):
        yield name, mixture_cases.SPECS[name], mixture_cases.trial()[0]
    for name in ("binary", "counts, slopes", "persons, slopes"):
        yield f"integrated, {name}", mixture_cases.INTEGRATED[name], mixture_cases.trial()[0]
    for name in ("own, slopes", "both, counts"):
        yield name, mixture_cases.EFFECTS[name], mixture_cases.trial()[0]


def of_items():
    for name in ("A", "C"):
        yield name, item_responses.SPECS[name], item_responses.trial(persons=10, items=3)[0]
    for name in ("2pl", "graded", "generalized"):
        yield name, test_item_categories.SPECS[name], test_item_categories.data_of(name, persons=8, items=3)
    made, options = test_item_occasions.CASES["trial"]
    yield "occasions", bh.ItemResponse(**options), test_item_occasions.trial(persons=8, items=4, **made)[0]


@pytest.mark.parametrize("models", [of_slopes, of_equations, of_categories, of_classes, of_items])
def test_nothing_is_read_that_was_not_written(models, tmp_path, monkeypatch):
    densities = {}
    for name, spec, data in models():
        design = spec.design(data)
        densities[name] = spec.marginal(design, spec.frozen_priors(design))
    pickled(densities, tmp_path / "densities")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    command = [sys.executable, "-W", "ignore", HERE / "plain_kernels.py", tmp_path / "densities"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert found.keys() == densities.keys()
    for name, differences in found.items():
        np.testing.assert_allclose([float(v) for v in differences.split("\t")], 0, atol=1e-6, err_msg=name)
