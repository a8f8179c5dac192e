"""Parameters that the data cannot tell apart are named before anything is sampled."""

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh

rng = np.random.default_rng(0)
DATA = pd.DataFrame(rng.normal(size=(240, 6)), columns=["a", "b", "c", "d", "e", "x"])
DATA["g"] = np.repeat(np.arange(40), 6)
DATA["z"] = rng.normal(size=40)[DATA["g"]]


def priors_of(priors="default", **options):
    spec = bh.SEM(**options, priors=priors)
    return spec.frozen_priors(spec.design(DATA))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model": "f =~ a + b"}, ["loading[f =~ b]", "sd[f]", "sd[a]", "sd[b]"]),
        ({"model": "f =~ a + b + c; f ~ 1"}, ["intercept[f]", "intercept[a]"]),
        ({"model": "a ~ b; a ~~ b; c ~ a"}, ["path[a ~ b]", "corr[a ~~ b]"]),
        ({"model": "f =~ a + b + c; h =~ d + e; f ~~ 0*h"}, ["loading[h =~ e]"]),
        ({"cluster": "g", "within": "a ~ b", "between": "f =~ a + b"}, ["loading[between: f =~ b]"]),
        ({"cluster": "g", "within": "s | a ~ x", "between": "a ~ z; s ~ z + a; s ~~ a"}, ["path[between: s ~ a]"]),
    ],
)
@pytest.mark.parametrize("priors", ["default", "mplus"])
def test_what_the_data_cannot_tell_apart_is_named(options, named, priors):
    with pytest.raises(bh.SpecError, match="not identified") as error:
        priors_of(priors, **options)
    assert all(name in str(error.value) for name in named)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "f =~ a + b + c"},
        {"model": "f =~ a + b + c; h =~ d + e; f ~~ h"},  # two indicators and a factor that it covaries with
        {"model": "f =~ a + l*b; f ~~ 1*f; a ~~ v*a; b ~~ v*b"},  # two indicators with one residual variance
        {"model": "f =~ a + b + c; f ~ 1; a ~ 0*1"},
        {"cluster": "g", "within": "f =~ a + b + c", "between": "h =~ a + b + c; h ~ z"},
        {"cluster": "g", "within": "s | a ~ x", "between": "s ~ a + z; a ~ z"},
        {"cluster": "g", "within": "a ~ b", "between": "a ~ b + z; b ~ z"},
    ],
)
def test_what_is_identified_is_not_refused(options):
    assert priors_of("mplus", **options)


def test_a_prior_of_ones_own_settles_it():
    crossed = "f =~ a + b + c + d + e; h =~ 1*d + e + a + b + c"
    with pytest.raises(bh.SpecError, match="not identified"):
        priors_of(model=crossed)
    small = {f"loading[h =~ {v}]": bh.Normal(0, 0.1) for v in "abc"} | {"loading[f =~ d]": bh.Normal(0, 0.1)}
    assert priors_of(small, model=crossed)
    with pytest.raises(bh.SpecError, match="not identified"):
        priors_of({"loading[f =~ b]": bh.Flat()}, model="f =~ a + b")
