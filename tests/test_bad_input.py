"""Bad input: every case ends in a SpecError or a DataError that names the column, the value, the count and what to do."""

import numpy as np
import pandas as pd
import pytest
from cases import frame
from refusals import BASE, FEW, WHOLE, N, changed, design, refused

import bayeshte as bh

# --- arguments of another family ------------------------------------------------------------------------------------------


def test_an_argument_of_another_family_is_named_with_the_families_that_have_it():
    with pytest.raises(
        bh.SpecError, match=r"EffectMixture has no argument 'moderators'; .*RandomSlope.* have one\. Known"
    ):
        bh.EffectMixture(outcome="y", moderators="x")
    with pytest.raises(bh.SpecError, match=r"SEM has no argument 'slopes'; RandomSlope has one\. Known: 'model'"):
        bh.SEM(model="y ~ x", slopes="x")
    with pytest.raises(bh.SpecError, match=r"RandomSlope has no argument 'covariate'\. Did you mean 'covariates'\?"):
        bh.RandomSlope(outcome="y", covariate="x")


# --- treatment -----------------------------------------------------------------------------------------------------------


def test_treatment_with_one_level_or_too_many():
    refused(bh.DataError, "'arm' has one arm only, 'control'", data=frame().assign(arm="control"))
    refused(bh.DataError, "'arm' has 40 different values", "at most 20", data=frame().assign(arm=np.arange(N) % 40))
    refused(bh.DataError, f"{N} different values", "covariates", data=frame().assign(arm=frame()["x"]))


def test_reference():
    refused(bh.SpecError, "'arm'", "reference= one of ['control', 'high', 'low']", reference=None)
    refused(bh.SpecError, "reference='contrl'", "Did you mean 'control'?", reference="contrl")
    refused(bh.SpecError, "reference='x'", "Known: 'control', 'high', 'low'", reference="x")
    ghost = frame().assign(arm=lambda d: pd.Categorical(d["arm"], ["ghost", "control", "high", "low"]))
    refused(bh.SpecError, "reference='ghost'", "Known", data=ghost, reference="ghost")
    assert design(ghost)["arm_arm"].to_numpy().tolist() == ["control", "high", "low"]


@pytest.mark.parametrize("reference", [1, 1.0, "1", np.int64(1)])
def test_numeric_arms(reference):
    data = frame().assign(arm=np.arange(N) % 2 + 1)
    refused(bh.SpecError, "reference= one of ['1', '2']", data=data, reference=None)
    for dtype in ("int64", "float64", "float32", "Int64", "category"):
        made = design(data.astype({"arm": dtype}), reference=reference, varying="2")
        assert made["arm_arm"].to_numpy().tolist() == ["1", "2"]
        np.testing.assert_array_equal(made["arm_code"], np.arange(N) % 2)


def test_zero_one_and_boolean_arms_need_no_reference():
    for values in (np.arange(N) % 2, np.arange(N) % 2 == 1, (np.arange(N) % 2).astype(str)):
        made = design(frame().assign(arm=values), reference=None, varying="all")
        np.testing.assert_array_equal(made["arm_code"], np.arange(N) % 2)
    flipped = design(frame().assign(arm=np.arange(N) % 2 == 1), reference=True, varying="all")
    assert flipped["arm_arm"].to_numpy().tolist() == ["True", "False"]


@pytest.mark.parametrize("values", [[1, "1"], [1.0, "1"], ["control", "control "], ["a", " a"]])
@pytest.mark.parametrize("role", ["arm", "school"])
def test_labels_that_print_alike(values, role):
    data = frame().assign(**{role: pd.Series((values * N)[:N], dtype=object, index=frame().index)})
    refused(
        bh.DataError,
        repr(role),
        "print alike",
        "str.strip()",
        data=data,
        reference=values[0] if role == "arm" else "control",
    )


def test_varying_that_is_no_arm():
    refused(bh.SpecError, "varying='hi'", "'high'", varying="hi")
    refused(bh.SpecError, "varying='control'", "Known: 'high', 'low'", varying=("high", "control"))


# --- clusters ------------------------------------------------------------------------------------------------------------


def test_number_of_clusters():
    refused(bh.DataError, "'school' has one cluster only ('s')", "leave cluster out", data=frame().assign(school="s"))
    every = frame().assign(school=np.arange(N))
    refused(bh.DataError, "'school'", f"{N} rows", "standard_error=", data=every)
    assert design(every, standard_error="se", varying=()).sizes["school"] == N
    refused(bh.DataError, "one cluster only", data=frame().assign(school="s"), standard_error="se")


def test_clusters_of_one_arm():
    whole = frame().assign(arm=lambda d: np.where(d["school"].isin(["s1", "s5", "s7"]), "high", "control"))
    refused(bh.SpecError, "'high'", "varying=()", data=whole)
    assert design(whole, varying=())["varying"].to_numpy().tolist() == ["intercept"]
    some = frame().assign(arm=lambda d: np.where(d["school"].isin(["s1", "s5"]), "control", d["arm"]))
    assert design(some).sizes["school"] == 12
    third = frame().assign(arm=lambda d: np.where(d["school"].isin(["s1", "s5"]), "third", d["arm"]))
    refused(bh.SpecError, "'third'", "varying=()", data=third, varying="all")
    assert design(third).sizes["arm"] == 3


def test_unused_categories_are_no_clusters_and_no_terms():
    data = frame().assign(
        school=lambda d: pd.Categorical(d["school"], [*d["school"].unique(), "closed"]),
        sex=lambda d: pd.Categorical(d["sex"], ["x", "f", "m"]),
    )
    made = design(data, covariates="sex + C(sex):z")
    assert made.sizes["school"] == 12
    assert made["covariate"].to_numpy()[0] == "sex[m]"


def test_cluster_labels():
    data = frame().assign(school=lambda d: d["school"].str[1:].astype(float))
    assert design(data)["school"].to_numpy()[:2].tolist() == ["0", "1"]
    data.loc["row 3", "school"] = np.nan
    refused(bh.DataError, "'school' in 1", data=data)
    assert design(data, missing="drop")["school"].to_numpy()[:2].tolist() == ["0", "1"]


@pytest.mark.parametrize("cluster", ["a/b", "school:sex", "school|sex", ["school", "sex"], ("school",), 3])
def test_three_levels_and_crossed_designs(cluster):
    refused(bh.SpecError, f"cluster={cluster!r}", "not supported", "covariates as C(name)", cluster=cluster)


def test_weights():
    refused(bh.SpecError, "Weighted", "covariates", "bh.subgroups", weights="x")


def test_cluster_in_a_formula():
    refused(bh.SpecError, "'school'", "intercept_varies=False", covariates="C(school)")
    fixed = design(covariates="C(school)", intercept_varies=False)
    assert fixed.sizes["covariate"] == 11


def test_outcome_of_clusters():
    data = frame().assign(y=lambda d: d["school"].str[1:].astype(float))
    refused(bh.DataError, "'y' is constant within every cluster of 'school'", "one row a cluster", data=data)


# --- outcomes and standard errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gaussian", "student", "skew normal", "poisson", "negative binomial"])
def test_constant_outcome(family):
    refused(bh.DataError, "outcome 'y' is constant", f"1 in all {N} rows", data=frame().assign(y=1), family=family)


@pytest.mark.parametrize("family", ["logit", "probit"])
def test_binary_outcome(family):
    refused(
        bh.DataError,
        "0/1 or boolean",
        "[1, 2]",
        "data['y'] == 2",
        data=frame().assign(y=np.arange(N) % 2 + 1),
        family=family,
    )
    words = frame().assign(y=np.where(np.arange(N) % 2, "yes", "no"))
    refused(bh.DataError, "['no', 'yes']", "data['y'] == 'yes'", data=words, family=family)
    refused(bh.DataError, "3 values", data=frame().assign(y=np.arange(N) % 3), family=family)
    refused(bh.DataError, "0/1", f"data['y'] > {frame()['y'].median():.3g}", data=frame(), family=family)
    refused(bh.DataError, "constant (1 in all", data=frame().assign(y=1), family=family)
    refused(bh.DataError, "list", data=frame().assign(y=[[0]] * N), family=family)
    half = np.arange(N) % 2
    for values in (half, half * 1.0, half == 1, half.astype(object), pd.Categorical(half)):
        np.testing.assert_array_equal(design(frame().assign(y=values), family=family)["y"], half)


def test_counts():
    refused(
        bh.DataError,
        "counts",
        "3 values are not",
        "-3 in row 'row 0'",
        data=frame().assign(y=np.arange(N) - 3),
        family="poisson",
    )
    refused(
        bh.DataError,
        "counts",
        "1 values are not",
        "2.5",
        data=frame().assign(y=np.r_[2.5, np.arange(1, N)]),
        family="poisson",
    )
    assert design(frame().assign(y=WHOLE), family="poisson")["y"].dtype == float


def test_outcome_without_a_rest():
    said = ["exact linear function", f"all {N} rows"]
    refused(
        bh.DataError, *said, data=frame().assign(y=lambda d: 2.0 * (d["arm"] == "high") + 3 * d["x"]), covariates="x"
    )
    refused(
        bh.DataError,
        "in all 3 rows",
        "too few rows",
        data=frame().iloc[:3].assign(arm=["control", "low", "high"]),
        cluster=None,
        varying=(),
    )
    split = frame().assign(y=lambda d: np.where(d["arm"] == "low", 1.0, d["y"]))
    refused(bh.DataError, "constant in arm 'low'", "sigma_by_arm", data=split, sigma_by_arm=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, ["positive", "2 are not", "'row 3'"]),
        (-1.0, ["positive", "2 are not"]),
        (np.nan, ["'se' in 2"]),
        (np.inf, ["'se'", "2 infinite"]),
        ("?", ["standard error 'se' must be numeric", "'?'"]),
    ],
)
def test_standard_errors(value, said):
    refused(bh.DataError, *said, data=changed("se", [3, 7], value), standard_error="se")


# --- priors and the call -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priors", "said"),
    [
        ({"gamma[high]": bh.Normal(0, 1)}, ["'gamma[high]'", "Did you mean", "'gamma1[high]'"]),
        ({"sd[hihg]": bh.HalfNormal(1)}, ["'sd[high]'"]),
        ({"sd": bh.Normal(0, 1)}, ["'sd'", "Normal(mu=0, sigma=1)", "positive"]),
        ({"gamma0": bh.HalfNormal(1)}, ["gamma0", "real"]),
        ({"sigma": bh.Uniform(-1, 1)}, ["sigma", "positive"]),
        ({"corr": bh.Normal(0, 1)}, ["corr", "correlation"]),
        ({"gamma0": bh.LKJ(2)}, ["gamma0", "real"]),
        ({"gamma0": 3}, ["gamma0", "bh.Normal(0, 5)", "got 3"]),
        ({"gamma0": "Normal"}, ["gamma0", "got 'Normal'"]),
        ("weak", ["priors='weak'", "'default', 'mplus'"]),
        (None, ["priors=None"]),
    ],
)
def test_priors_that_do_not_fit(priors, said):
    def resolve():
        spec = bh.RandomSlope(**BASE, priors=priors)
        return spec.frozen_priors(spec.design(frame()))

    with pytest.raises(bh.SpecError) as caught:
        resolve()
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bh.Normal(0, -1),
        lambda: bh.Normal(0, 0),
        lambda: bh.Normal(np.nan, 1),
        lambda: bh.HalfNormal(np.inf),
        lambda: bh.Uniform(1, 0),
        lambda: bh.LKJ(0),
        lambda: bh.Prior("Norml", (("mu", 0.0),)),
        lambda: bh.Prior("Normal", (("mu", 0.0),)),
    ],
)
def test_priors_that_are_none(make):
    with pytest.raises(bh.SpecError):
        make()


def test_mplus_priors_need_clusters():
    few = frame()[lambda d: d["school"].isin(["s0", "s1", "s2", "s4"])]
    spec = bh.RandomSlope(**BASE, priors="mplus")
    with pytest.raises(bh.DataError, match=r"improper.*more than 5 clusters.*there are 4.*priors='default'"):
        spec.frozen_priors(spec.design(few))
    other = bh.RandomSlope(**BASE | {"outcome": "passed"}, family="logit", priors="mplus")
    with pytest.raises(bh.SpecError, match="family='gaussian'"):
        other.frozen_priors(other.design(frame()))


@pytest.mark.parametrize("options", [dict(draws=0), dict(draws=2.5), dict(draws=-1), dict(tune=0), dict(tune="many")])
def test_number_of_draws(options):
    (name,) = options
    with pytest.raises(bh.SpecError, match=f"{name}=.*whole number of at least"):
        bh.fit(bh.RandomSlope(**BASE), frame(), **options)


def test_path_is_checked_before_sampling(tmp_path, monkeypatch):
    monkeypatch.setattr("bayeshte.sampler.sample", None)  # would fail if it were called
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "thesis.txt").write_text("words")
    (tmp_path / "file").write_text("")
    spec = bh.RandomSlope(**BASE)
    with pytest.raises(bh.DataError, match="old exists and is not an empty folder"):
        bh.fit(spec, frame(), path=tmp_path / "old", **FEW)
    with pytest.raises(bh.DataError, match="file exists and is not an empty folder"):
        bh.fit(spec, frame(), path=tmp_path / "file", **FEW)
    with pytest.raises(bh.DataError, match=r"Cannot write to .*below: Not a directory"):
        bh.fit(spec, frame(), path=tmp_path / "file" / "below", **FEW)
    assert (tmp_path / "old" / "thesis.txt").read_text() == "words"
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["thesis.txt"]


def test_bad_data_is_found_before_a_folder_is_made(tmp_path):
    with pytest.raises(bh.DataError):
        bh.fit(bh.RandomSlope(**BASE), frame().assign(y=1.0), path=tmp_path / "fit", **FEW)
    assert not (tmp_path / "fit").exists()


def test_ordered_outcome():
    third = np.arange(N) % 3
    spec = dict(family="ordered logit")
    refused(bh.DataError, "outcome 'y' must be whole numbers", "Text has no order", data=words(third), **spec)
    refused(bh.DataError, "whole numbers", "'y'", data=frame().assign(y=third + 0.5), **spec)
    unordered = frame().assign(y=pd.Categorical(third))
    refused(bh.DataError, "categorical without an order", "as_ordered", data=unordered, **spec)
    refused(bh.DataError, "has 21 categories, 20 are the most", data=frame().assign(y=np.arange(N) % 21), **spec)
    refused(bh.DataError, "outcome 'y' is constant (1 in all", data=frame().assign(y=1), **spec)
    gappy = design(frame().assign(y=np.where(third == 2, 7, third)), **spec)
    np.testing.assert_array_equal(gappy["y"], third)
    assert list(gappy.attrs["categories"]) == ["0", "1", "7"]
    order = ["low", "middle", "high"]
    text = frame().assign(y=pd.Categorical(np.array(order)[third], order, ordered=True))
    np.testing.assert_array_equal(design(text, **spec)["y"], third)
    assert list(design(text, **spec)["inner_category"].values) == ["middle"]


def words(codes):
    """The frame with text in place of categories."""
    return frame().assign(y=np.array(["low", "middle", "high"])[codes])
