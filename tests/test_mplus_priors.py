"""MODEL PRIORS: priors of covariances and covariance matrices, loops; what Mplus's densities are in SDs and correlations."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mplus_inputs import HEAD, ONE, RANDOM, build, refused
from scipy import stats

import bayeshte as bh
from bayeshte.families.sem_priors import factors
from bayeshte.mplus.printout import prior_of
from bayeshte.mplus.python import specification
from bayeshte.mplus.read import parse

GROWTH = HEAD + "USEV = y1-y4;\n" + ONE + "MODEL: i s | y1@0 y2@1 y3@2 y4@3; i (v1); s (v2); i WITH s (c);\n"
PAIR = HEAD + "USEV = y1 y2;\n" + ONE + "MODEL: y1 (v1); y2 (v2); y1 WITH y2 (c);\n"


def frame(n=80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    f = rng.normal(size=n)
    data = pd.DataFrame({f"y{k}": f + rng.normal(size=n) for k in range(1, 7)})
    return data.assign(
        x1=rng.normal(size=n), x2=rng.normal(size=n), school=np.arange(n) // 8, z=(np.arange(n) // 8) ** 0.5
    )


def printed(spec) -> dict[str, str]:
    """Priors of all free rows in Mplus's notation."""
    priors = spec.frozen_priors(spec.design(frame()))
    rows = [r for r in spec.table.rows if r.fixed is None and not r.slope]
    return {r.name: prior_of(spec.structure, priors, r) for r in rows}


def test_an_inverse_wishart_prior_of_a_covariance_matrix():
    spec, *_ = build(GROWTH + "MODEL PRIORS: v1 ~ iw(1, 3); V2~IW(2,3); c ~ IW(0.1, 3);")
    assert spec.priors == {"cov[i, s]": bh.InverseWishart([[1, 0.1], [0.1, 2]], 3), "others": "mplus"}
    found = printed(spec)
    assert [found[k] for k in ("i ~~ i", "s ~~ s", "i ~~ s")] == ["IW(1, 3)", "IW(2, 3)", "IW(0.1, 3)"]
    assert found["y1 ~~ y1"] == "IG(-1, 0)"


def test_matrices_of_both_levels():
    spec, *_ = build(
        HEAD.replace("x1 x2 z;", "x1 x2 z; USEV = y1 y2 z; CLUSTER = school; BETWEEN = z;")
        + RANDOM
        + "MODEL: %WITHIN% s | y1 ON y2; %BETWEEN% y1 s ON z; y1 s (b1-b2); y1 WITH s (b3);"
        + "MODEL PRIORS: DO (1, 2) b# ~ IW(#, 4); b3 ~ IW(0, 4);"
    )
    assert spec.priors == {"cov[between: y1, s]": bh.InverseWishart(np.diag([1, 2]), 4), "others": "mplus"}


def test_residuals_of_all_indicators():
    """A residual covariance matrix with an informative prior identifies a factor model (Muthén & Asparouhov, 2012)."""
    spec, *_ = build(
        HEAD
        + "USEV = y1-y4;\n"
        + ONE
        + "MODEL: f BY y1-y4; y1-y4 (v1-v4); y1-y4 WITH y1-y4 (c1-c6);\nMODEL PRIORS: v1-v4 ~ IW(1, 10); c1-c6 ~ IW(0, 10);"
    )
    assert spec.priors == {"cov[y1, y2, y3, y4]": bh.InverseWishart(np.eye(4), 10), "others": "mplus"}
    assert printed(spec)["y1 ~~ y4"] == "IW(0, 10)"


def test_one_variance_with_an_inverse_wishart_prior():
    spec, *_ = build(HEAD + "USEV = y1 x1;\n" + ONE + "MODEL: y1 ON x1; y1 (v);\nMODEL PRIORS: v ~ IW(2, 3);")
    assert spec.priors == {"v": bh.VarianceInverseGamma(1.5, 1), "others": "mplus"}
    assert printed(spec)["y1 ~~ y1"] == "IG(1.5, 1)"


@pytest.mark.parametrize(
    ("prior", "made", "shown"),
    [
        ("N(.2, .01)", bh.Normal(0.2, 0.1), "N(0.2, 0.01)"),
        ("U(-1, 2)", bh.Uniform(-1, 2), "U(-1, 2)"),
        ("N(0, infinity)", bh.Flat(), "N(0, infinity)"),
        ("U(-infinity, infinity)", bh.Flat(), "N(0, infinity)"),
    ],
)
def test_a_prior_of_one_covariance(prior, made, shown):
    spec, *_ = build(PAIR + f"MODEL PRIORS: c ~ {prior};")
    assert spec.priors == {"cov[y1 ~~ y2]": made, "others": "mplus"}
    assert printed(spec)["y1 ~~ y2"] == shown
    assert printed(spec)["y1 ~~ y1"] == "IG(-1, 0)"


def test_of_equal_covariances():
    spec, *_ = build(
        HEAD
        + "USEV = y1-y3;\n"
        + ONE
        + "MODEL: y1 WITH y2 (c); y2 WITH y3 (c); y1 WITH y3@0;\nMODEL PRIORS: c ~ N(0, 1);"
    )
    assert spec.priors == {"cov[c]": bh.Normal(0, 1), "others": "mplus"}
    assert printed(spec)["y1 ~~ y2"] == "N(0, 1)"


@pytest.mark.parametrize("covariance", ["", "c ~ N(0.1, 0.5);"])
def test_densities_are_those_of_variances_and_covariances(covariance):
    """IG(a, b) of a variance that covaries: in SDs and correlations the product of Mplus's densities, whatever the point."""
    spec, *_ = build(PAIR + "MODEL PRIORS: v1 ~ IG(2, 3); v2 ~ IG(.5, 1);" + covariance)
    priors = factors(spec.structure, spec.frozen_priors(spec.design(frame())))
    assert printed(spec)["y1 ~~ y1"] == "IG(2, 3)"
    assert printed(spec)["y1 ~~ y2"] == ("N(0.1, 0.5)" if covariance else "N(0, infinity)")
    rng, found = np.random.default_rng(1), []
    for s1, s2, r in zip(*rng.uniform(0.3, 0.9, (3, 6)), strict=True):
        cov = r * s1 * s2
        mplus = stats.invgamma(2, scale=3).logpdf(s1**2) + stats.invgamma(0.5, scale=1).logpdf(s2**2)
        ours = priors["sd[y1]"].log_density(s1) + priors["sd[y2]"].log_density(s2)
        if covariance:
            mplus += stats.norm(0.1, np.sqrt(0.5)).logpdf(cov) + np.log(4 * s1 * s2)
            ours += priors["cov[y1 ~~ y2]"].log_density(cov)
        else:
            mplus += np.log(4 * s1**2 * s2**2)  # the Jacobian of v1, v2, cov in s1, s2, r
        found.append(float(ours - mplus))
    np.testing.assert_allclose(found, found[0], atol=1e-10)


def test_default_priors_keep_correlations_their_own():
    found = parse(PAIR + "MODEL PRIORS: v1 ~ IG(2, 3);", Path("trial.inp"), default_priors=True)
    assert found.spec.priors == {"v1": bh.VarianceInverseGamma(2, 3), "others": "default"}


@pytest.mark.parametrize(
    "text",
    [
        GROWTH + "MODEL PRIORS: v1 ~ IW(1, 3); v2 ~ IW(2, 3); c ~ IW(0.1, 3);",
        PAIR + "MODEL PRIORS: c ~ N(0, .1); v1 ~ IG(2, 3);",
    ],
)
def test_translated_to_the_same_specification(text):
    spec, *_ = build(text)
    names = {"bh": bh}
    exec("\n".join(specification(spec)), names)
    assert names["spec"].table == spec.table
    assert names["spec"].priors == spec.priors


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GROWTH + "MODEL PRIORS: c ~ IW(0, 5);", ["line", "c ~ IW(0, 5)", "i ~~ i, s ~~ s", "IW(1, 5)"]),
        (GROWTH + "MODEL PRIORS: v1-v2 ~ IW(1, 5);", ["i ~~ s", "one IW(s, d)"]),
        (GROWTH + "MODEL PRIORS: v1-v2 ~ IW(1, 5);\nc ~ IW(0, 6);", ["one d: 5", "6 here"]),
        (GROWTH + "MODEL PRIORS: v1-v2 ~ IW(1, 5); c ~ IW(2, 5);", ["positive definite", "v1-v2 ~ IW(1, 5)"]),
        (GROWTH + "MODEL PRIORS: v1-v2 ~ IW(1, 5); c ~ N(0, 1);", ["i ~~ s", "one IW(s, d)"]),
        (GROWTH + "MODEL PRIORS: c ~ IG(1, 1);", ["covariance", "N(mean, variance)", "IW(s, d)"]),
        (GROWTH + "MODEL PRIORS: v1 ~ N(1, 1);", ["variance", "IG(a, b)"]),
        (GROWTH + "MODEL PRIORS: c ~ N(0, -1);", ["positive"]),
        (GROWTH + "MODEL PRIORS: c ~ U(2, 1);", ["lower must be below"]),
        (GROWTH + "MODEL PRIORS: c ~ U(0, infinity);", ["two ends, or none"]),
        (
            HEAD
            + "USEV = y1-y3;\n"
            + ONE
            + "MODEL: y1 WITH y2 (c); y2 WITH y3; y1 WITH y3@0;\nMODEL PRIORS: c ~ IW(0, 5);",
            ["stands in none", "N(mean, variance)"],
        ),
        (GROWTH + "MODEL PRIORS: DO (2, 1) v# ~ IW(1, 5);", ["smaller number first"]),
        (GROWTH + "MODEL PRIORS: DO (a, 2) v# ~ IW(1, 5);", ["write DO (1, 5)"]),
        (GROWTH + "MODEL PRIORS: DO (1, 2) v1 ~ IW(1, 5);", ["no #"]),
        (GROWTH + "MODEL PRIORS: DO (1, 99999) v# ~ IW(1, 5);", ["at most 10000"]),
    ],
)
def test_what_is_refused_says_what_to_do(text, words):
    refused(text, *words)


def test_an_improper_posterior_is_found_before_sampling():
    spec, *_ = build(GROWTH + "MODEL PRIORS: v1-v2 ~ IW(0, 0); c ~ IW(0, 0);")
    found = parse(GROWTH + "MODEL PRIORS: v1-v2 ~ IW(0, 0); c ~ IW(0, 0);", Path("trial.inp"))
    with pytest.raises(bh.SpecError, match=r"cov\[i, s\].*infinite at 0") as error, found.located():
        spec.frozen_priors(spec.design(frame()))
    assert "line 6, MODEL: i WITH s (c)" in str(error.value)


def test_loops_of_constraints():
    spec, *_ = build(
        HEAD
        + "USEV = y1 y2 x1 x2;\n"
        + ONE
        + "MODEL: y1 ON x1 x2 (a1-a2); y2 ON x1 x2 (b1-b2);\n"
        + "MODEL CONSTRAINT: NEW(d1 d2 e11 e12 e21 e22); DO (1, 2) d# = a# - b#;\nDO ($, 1, 2) DO (#, 1, 2) e$# = a$*b#;"
    )
    assert {name: str(e) for name, e in spec.table.derived} == {
        "d1": "a1 - b1",
        "d2": "a2 - b2",
        **{f"e{i}{j}": f"a{i}*b{j}" for i in (1, 2) for j in (1, 2)},
    }
