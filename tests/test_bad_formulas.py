"""Covariates and formulas: bad ones end in an error that names the term, the value, the count and what to do."""

import numpy as np
import pandas as pd
import pytest
from cases import frame
from refusals import N, refused

import bayeshte as bh


@pytest.mark.parametrize("value", [3.0, 3, "f", True])
def test_constant_covariate(value):
    refused(
        bh.DataError,
        "'x'",
        "constant",
        str(value),
        f"{N} rows",
        "leave it out",
        data=frame().assign(x=value),
        covariates="x",
    )


def test_covariate_constant_once_rows_are_dropped():
    data = frame().assign(x=lambda d: np.where(d["sex"] == "f", np.nan, d["x"]))
    refused(bh.DataError, "'sex'", "constant ('m' in all", data=data, covariates="x + sex", missing="drop")


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("x + twice", ["'twice'", "['x']"]),
        ("x + z + both", ["'both'", "['x', 'z']"]),
        ("f + m", ["'m'", "['f']"]),
        ("sex + f", ["'f'", "['sex[m]']"]),
        ("high", ["'high'", "['arm[high]']"]),
        ("high + low", ["'high'", "['arm[high]']"]),
        ("armtext", ["'armtext[high]'", "['arm[high]']"]),
        ("z + C(z)", ["linear combination"]),
        ("x + nearly", ["'nearly'", "['x']", "centre"]),
    ],
)
def test_collinear_covariates(formula, said):
    data = frame().assign(
        twice=lambda d: 2 * d["x"] + 1,
        both=lambda d: d["x"] - 3 * d["z"],
        f=lambda d: 1.0 * (d["sex"] == "f"),
        m=lambda d: 1.0 * (d["sex"] == "m"),
        high=lambda d: 1.0 * (d["arm"] == "high"),
        low=lambda d: 1.0 * (d["arm"] == "low"),
        armtext=lambda d: d["arm"],
        nearly=lambda d: d["x"] + 1e-8 * np.arange(len(d)),
    )
    refused(bh.DataError, "leave one of them out", *said, data=data, covariates=formula)


def test_empty_cell_of_arm_and_moderator():
    data = frame().assign(arm=lambda d: np.where((d["sex"] == "m") & (d["arm"] == "low"), "high", d["arm"]))
    refused(bh.DataError, "'arm[low]:sex[m]' is constant", f"0 in all {N}", data=data, moderators="sex")


def test_more_terms_than_rows():
    refused(bh.DataError, "linear combination", data=frame().iloc[:20], covariates="poly(x, 22)", varying=())


def test_an_identifier_is_no_covariate():
    wide = pd.concat([frame(k) for k in range(8)], ignore_index=True).assign(name=lambda d: [f"p{k}" for k in d.index])
    refused(bh.DataError, "'name'", "categories", "cluster", data=wide, covariates="name")
    refused(bh.DataError, "'x'", f"{len(wide)} different values", "C()", data=wide, covariates="z + C(x)")


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("x +", ["'x +' is not a formula"]),
        ("(x", ["is not a formula"]),
        ("x y", ["is not a formula", "Missing operator"]),
        ("'x'", ["is not a formula"]),
        ("2*x", ["is not a formula"]),
        ("x + .", ["is not a formula"]),
        ("I(x**)", ["is not a formula"]),
        ("`x", ["is not a formula"]),
        ("y ~ x", ["right-hand side only"]),
        ("x + (1 | school)", ["right-hand side only", "cluster="]),
        ("0 + x", ["intercept"]),
        ("x - 1", ["intercept"]),
        ("sqroot(x)", ["no function 'sqroot'"]),
        ("splines(x, df=3)", ["no function 'splines'"]),
        ("x + arm", ["treatment 'arm'", "moderators="]),
        ("C(arm):x", ["treatment 'arm'"]),
        ("x + y", ["outcome 'y'"]),
        ("bs(y, df=4)", ["outcome 'y'"]),
    ],
)
@pytest.mark.parametrize("role", ["covariates", "moderators", "slopes"])
def test_formulas_that_cannot_be_read(formula, said, role):
    message = refused(bh.SpecError, *said, **{role: formula})
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("np.log(x - 3)", ["'np.log(x - 3)'", "not finite", "rows, the first is"]),
        ("I(1 / (passed - 1))", ["not finite", "division"]),
        ("bs(x, df=2)", ["cannot be evaluated", "df"]),
        ("C(sex, contr.treatment('q'))", ["cannot be evaluated", "'q'"]),
        ("x[0]", ["'x[0]' cannot be evaluated"]),
        ("np.log(sex)", ["cannot be evaluated"]),
        ("exp(1000 * x)", ["not finite"]),
        ("k:x", ["'k'", "not in the data"]),
    ],
)
def test_formulas_that_do_not_suit_the_data(formula, said):
    refused(bh.DataError, *said, covariates=formula)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(outcome=3), ["outcome=3", "as text"]),
        (dict(outcome=""), ["outcome=''"]),
        (dict(outcome=None), ["outcome=None"]),
        (dict(treatment=1), ["treatment=1"]),
        (dict(standard_error=["se"]), ["standard_error=['se']"]),
        (dict(covariates=["x", "z"]), ["covariates=['x', 'z']", "formula as text"]),
        (dict(moderators=None), ["moderators=None"]),
        (dict(within_between="x"), ["within_between='x'", "within_between=('a',)"]),
        (dict(varying=None), ["varying=None", "tuple"]),
        (dict(varying=(1,)), ["varying=(1,)"]),
        (dict(intercept_varies="no"), ["intercept_varies='no'", "True or False"]),
        (dict(sigma_by_arm=1), ["sigma_by_arm=1"]),
        (dict(family="gausian"), ["family='gausian'", "'gaussian'"]),
        (dict(family=None), ["family=None"]),
        (dict(outcome="arm"), ["two roles"]),
        (dict(cluster="arm"), ["two roles"]),
        (dict(treatment=None, reference=None, moderators="x"), ["treatment="]),
        (dict(cluster=None), ["cluster="]),
        (dict(sigma_by_arm=True, family="logit"), ["family='gaussian'"]),
        (dict(standard_error="se", family="poisson"), ["family='gaussian'"]),
        (dict(within_between=("y",)), ["outcome 'y'"]),
    ],
)
def test_specifications_that_contradict_themselves(changes, said):
    refused(bh.SpecError, *said, **changes)
