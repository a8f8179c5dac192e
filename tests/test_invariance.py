"""Factors that are measured alike on two levels: differences of loadings, contextual effects of latent variables."""

import numpy as np
import pandas as pd
import pytest
from test_scores import quick
from test_sem import draws_at, points_of

import bayeshte as bh

WITHIN = "lyw =~ y1 + pw2*y2 + pw3*y3; lmw =~ m1 + pw5*m2 + pw6*m3; lyw ~ pw7*lmw"
BETWEEN = "lyb =~ y1 + pb2*y2 + pb3*y3; lmb =~ m1 + pb5*m2 + pb6*m3; lyb ~ pb7*lmb; lmb ~ treat"
CHAPTER = {"ly2": "pb2 - pw2", "ly3": "pb3 - pw3", "lm2": "pb5 - pw5", "lm3": "pb6 - pw6", "context": "pb7 - pw7"}


def model(within=WITHIN, between=BETWEEN, **options) -> bh.SEM:
    return bh.SEM(cluster="school", within=within, between=between, **options)


def data(schools=30, size=10, seed=1) -> pd.DataFrame:
    """Loadings 1, 0.9, 0.8 on both levels, paths 0.5."""
    rng = np.random.default_rng(seed)
    j = np.repeat(np.arange(schools), size)
    treat = np.arange(schools) % 2
    mb, mw = treat + rng.normal(size=schools), rng.normal(size=len(j))
    yb, yw = 0.5 * mb + rng.normal(size=schools), 0.5 * mw + rng.normal(size=len(j))
    out = {"school": j, "treat": treat[j]}
    for name, f in (("m", mb[j] + mw), ("y", yb[j] + yw)):
        for k, loading in enumerate((1, 0.9, 0.8), start=1):
            out[f"{name}{k}"] = loading * f + 0.3 * rng.normal(size=schools)[j] + 0.6 * rng.normal(size=len(j))
    return pd.DataFrame(out)


def estimands(spec, header) -> dict[str, bh.Estimand]:
    return {e.name: e for e in spec.estimands(spec.design(data())) if e.header == header}


def test_they_are_the_contrasts_of_the_chapter():
    """Mplus's NEW(ly2 ly3 lm2 lm3 context), as between minus within: in every draw the same."""
    spec = model(derived=CHAPTER)
    design = spec.design(data())
    density = spec.marginal(design, spec.frozen_priors(design))
    posterior = spec.recover(draws_at(density, points_of(density, 5)), design, np.random.default_rng(0))
    loadings, contextual = estimands(spec, "loading invariance"), estimands(spec, "contextual effects")
    names = [f"loading of {v}, between minus within" for v in ("y2", "y3", "m2", "m3")]
    assert list(loadings) == names
    assert list(contextual) == ["contextual effect of lmb on lyb"]
    for e, name in zip([*loadings.values(), *contextual.values()], CHAPTER, strict=True):
        np.testing.assert_allclose(e.draws(posterior, design), posterior["derived"].sel(quantity=name))
    assert "if y1 measures alike on both levels" in loadings[names[0]].definition
    assert contextual["contextual effect of lmb on lyb"].definition.endswith("minus that from lmw to lyw within")


def test_loadings_held_equal_have_no_difference_and_give_the_scale():
    """Without a marker: the variances within are 1, and equal loadings carry that unit to the other level."""
    same = "ly =~ a1*y1 + a2*y2 + a3*y3; lm =~ m1 + m2 + m3; ly ~ lm"
    spec = model(f"{same}; ly ~~ 1*ly", same)
    assert list(estimands(spec, "loading invariance")) == [
        f"loading of {v}, between minus within" for v in ("m2", "m3")
    ]
    assert list(estimands(spec, "contextual effects")) == ["contextual effect of lm on ly"]
    one = model("f =~ y1 + a*y2 + y3", "f =~ y1 + a*y2 + y3")
    (found,) = estimands(one, "loading invariance").values()
    assert "if y1 and y2 measure alike" in found.definition


@pytest.mark.parametrize(
    ("within", "between"),
    [
        (WITHIN, "lyb =~ y1 + y2; lmb =~ m1 + m2; lyb ~ lmb; y3 ~~ y3; m3 ~~ m3"),
        (WITHIN, "lyb =~ NA*y1 + 1*y2 + y3; lmb =~ NA*m1 + 1*m2 + m3; lyb ~ lmb"),
        (f"{WITHIN}; lyw ~~ 1*lyw", "lyb =~ NA*y1 + y2 + y3; lyb ~~ 1*lyb; m1 ~~ m1; m2 ~~ m2; m3 ~~ m3"),
    ],
    ids=["other indicators", "other markers", "other units"],
)
def test_factors_on_different_scales_are_not_compared(within, between):
    spec = model(within, between)
    assert not estimands(spec, "loading invariance")
    assert not estimands(spec, "contextual effects")


def test_one_factor_between_explains_two_within():
    """An indicator's factors differ between the levels: nothing to compare."""
    spec = model("g =~ y1 + y2 + y3; h =~ m1 + m2 + m3", "f =~ y1 + y2 + y3 + m1 + m2 + m3")
    assert not estimands(spec, "loading invariance")


def test_the_constrained_model_is_compared_with_the_free_one():
    """Truth: invariant. Held equal, the loadings are more precise, and the model predicts as well with fewer parameters."""
    equal = WITHIN.replace("pw", "p"), BETWEEN.replace("pb", "p").replace("p7", "q7")
    fits = {"free": quick(model(), data(), draws=250), "equal": quick(model(*equal), data(), draws=250)}
    free, one = (f.posterior["loading"].std(("chain", "draw")) for f in fits.values())
    assert one.sel(loadings="p2") < free.sel(loadings="between: lyb =~ y2")
    assert abs(fits["equal"].posterior["loading"].sel(loadings="p2").mean() - 0.9) < 4 * one.sel(loadings="p2")
    table = bh.compare(fits)
    assert abs(table["difference"].iloc[1]) < 3 * table["se_difference"].iloc[1] + 1
    assert table.loc["equal", "p_loo"] < table.loc["free", "p_loo"]
    effects = bh.effects(fits["free"]).set_index("estimand")
    row = effects.loc["loading of y2, between minus within"]
    assert row["lower"] < 0 < row["upper"]
