"""The short form of mediation models: the text of every design, estimates against least squares and simulations, refusals."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_sem import draws_at, points_of

import bayeshte as bh
from bayeshte import gallery
from bayeshte.errors import SpecError
from bayeshte.model_text import Row

CLUSTERED = {"outcome": "y", "treatment": "x", "cluster": "id"}

#: arguments, and the model by hand
DESIGNS = {
    "one level": (
        dict(outcome="y", treatment="x", mediators="m"),
        dict(model="m ~ a*x; y ~ b*m + direct*x", derived={"indirect": "a*b", "total": "indirect + direct"}),
    ),
    "without a direct path": (
        dict(outcome="y", treatment="x", mediators="m", direct=False),
        dict(model="m ~ a*x; y ~ b*m", derived={"indirect": "a*b"}),
    ),
    "parallel": (
        dict(outcome="y", treatment="x", mediators=["m1", "m2"], covariates=["age", "sex"]),
        dict(
            model="m1 ~ a_m1*x + age + sex; m2 ~ a_m2*x + age + sex; m1 ~~ m2; y ~ b_m1*m1 + b_m2*m2 + direct*x + age + sex",
            derived={
                "via_m1": "a_m1*b_m1",
                "via_m2": "a_m2*b_m2",
                "total_indirect": "via_m1 + via_m2",
                "total": "total_indirect + direct",
            },
        ),
    ),
    "serial": (
        dict(outcome="y", treatment="x", mediators=["m1", "m2"], serial=True),
        dict(
            model="m1 ~ a_m1*x; m2 ~ a_m2*x + d_m1_m2*m1; y ~ b_m1*m1 + b_m2*m2 + direct*x",
            derived={
                "via_m1": "a_m1*b_m1",
                "via_m2": "a_m2*b_m2",
                "via_m1_m2": "a_m1*d_m1_m2*b_m2",
                "total_indirect": "via_m1 + via_m2 + via_m1_m2",
                "total": "total_indirect + direct",
            },
        ),
    ),
    "2-1-1": (
        dict(**CLUSTERED, mediators="m", covariates="age", cluster_covariates="size"),
        dict(
            within="y ~ b_within*m + age; m ~ age",
            between="y ~ b*m + direct*x + size; m ~ a*x + size",
            derived={"indirect": "a*b", "total": "indirect + direct", "context": "b - b_within"},
        ),
    ),
    "2-1-1, varying": (
        dict(**CLUSTERED, mediators=["m1", "m2"], varying="b_m1_within"),
        dict(
            within="y ~ b_m2_within*m2; b_m1_within_j | y ~ m1; m1 ~~ m2",
            between="""
                y ~ b_m1*m1 + b_m2*m2 + direct*x; m1 ~ a_m1*x; m2 ~ a_m2*x; m1 ~~ m2
                b_m1_within_j ~ b_m1_within*1; b_m1_within_j ~~ m1 + m2 + y
            """,
            derived={
                "via_m1": "a_m1*b_m1",
                "via_m2": "a_m2*b_m2",
                "total_indirect": "via_m1 + via_m2",
                "total": "total_indirect + direct",
                "context_m1": "b_m1 - b_m1_within",
                "context_m2": "b_m2 - b_m2_within",
            },
        ),
    ),
    "2-2-1": (
        dict(**CLUSTERED, cluster_mediators="m"),
        dict(
            within="y ~~ y",
            between="y ~ b*m + direct*x; m ~ a*x",
            derived={"indirect": "a*b", "total": "indirect + direct"},
        ),
    ),
    "2-2-1-1": (
        dict(**CLUSTERED, mediators="m", cluster_mediators="climate", serial=True, direct=False),
        dict(
            within="y ~ b_m_within*m",
            between="climate ~ a_climate*x; m ~ a_m*x + d_climate_m*climate; y ~ b_climate*climate + b_m*m",
            derived={
                "via_climate": "a_climate*b_climate",
                "via_m": "a_m*b_m",
                "via_climate_m": "a_climate*d_climate_m*b_m",
                "total_indirect": "via_climate + via_m + via_climate_m",
                "context_m": "b_m - b_m_within",
            },
        ),
    ),
    "serial between and within": (
        dict(**CLUSTERED, mediators=["m1", "m2"], serial=True, direct=False),
        dict(
            within="m2 ~ d_m1_m2_within*m1; y ~ b_m1_within*m1 + b_m2_within*m2",
            between="m1 ~ a_m1*x; m2 ~ a_m2*x + d_m1_m2*m1; y ~ b_m1*m1 + b_m2*m2",
            derived={
                "via_m1": "a_m1*b_m1",
                "via_m2": "a_m2*b_m2",
                "via_m1_m2": "a_m1*d_m1_m2*b_m2",
                "total_indirect": "via_m1 + via_m2 + via_m1_m2",
                "context_m1": "b_m1 - b_m1_within",
                "context_m2": "b_m2 - b_m2_within",
                "context_m1_m2": "d_m1_m2 - d_m1_m2_within",
            },
        ),
    ),
    "multisite": (
        dict(**CLUSTERED, mediators=["m1", "m2"], level="within"),
        dict(
            within="m1 ~ a_m1*x; m2 ~ a_m2*x; m1 ~~ m2; y ~ b_m1*m1 + b_m2*m2 + direct*x",
            between="y ~ b_m1_between*m1 + b_m2_between*m2; m1 ~~ m2",
            derived={
                "via_m1": "a_m1*b_m1",
                "via_m2": "a_m2*b_m2",
                "total_indirect": "via_m1 + via_m2",
                "total": "total_indirect + direct",
                "context_m1": "b_m1_between - b_m1",
                "context_m2": "b_m2_between - b_m2",
            },
        ),
    ),
    "1-1-1, varying": (
        dict(**CLUSTERED, mediators="m", level="within", varying=("a", "b", "direct")),
        dict(
            within="a_j | m ~ x; b_j | y ~ m; direct_j | y ~ x",
            between="""
                y ~~ m; a_j ~ a*1; b_j ~ b*1; direct_j ~ direct*1
                a_j ~~ cov_a_b*b_j + cov_a_direct*direct_j; b_j ~~ cov_b_direct*direct_j
                m ~~ a_j + b_j + direct_j; y ~~ a_j + b_j + direct_j
            """,
            derived={"indirect": "a*b + cov_a_b", "total": "indirect + direct"},
        ),
    ),
}


def said(row: Row) -> tuple:
    """What a row says; a covariance has no order."""
    return row.key, row.label, row.fixed, row.start, row.slope, row.given


@pytest.mark.parametrize("design", DESIGNS)
def test_text_of_a_design(design):
    arguments, text = DESIGNS[design]
    made = bh.Mediation(**arguments)
    by_hand = bh.SEM(cluster=arguments.get("cluster"), **text)
    assert {said(row) for row in made.table.rows} == {said(row) for row in by_hand.table.rows}
    assert [(k, e.text) for k, e in made.table.derived] == [(k, e.text) for k, e in by_hand.table.derived]


def test_a_treatment_can_be_centred():
    spec = bh.Mediation(**CLUSTERED | {"treatment": "centred(x)"}, mediators="m", level="within")
    assert [r.rhs for r in spec.table.at("within") if r.label in ("a", "direct")] == ["centred(x)"] * 2


def test_text_is_for_reading():
    spec = bh.Mediation(
        outcome="mvpa", treatment="treat", mediators=["advant", "peers"], cluster="school", direct=False
    )
    assert spec.within == "mvpa ~ b_advant_within*advant + b_peers_within*peers\nadvant ~~ peers"
    assert spec.between.split("\n") == [
        "mvpa ~ b_advant*advant + b_peers*peers",
        "advant ~ a_advant*treat",
        "peers ~ a_peers*treat",
        "advant ~~ peers",
    ]


def test_names_of_columns_with_other_characters():
    spec = bh.Mediation(outcome="steps / day", treatment="x", mediators=["m 1", "m.2", "größe"], covariates="2nd wave")
    assert "`steps / day` ~ b_m_1*`m 1` + b_m.2*m.2 + b_größe*größe + direct*x + `2nd wave`" in spec.model
    assert {"via_m_1", "via_m.2", "via_größe"} <= {*spec.derived}
    assert {*spec.table.names("")} == {"steps / day", "x", "m 1", "m.2", "größe", "2nd wave"}


def test_school_activity_is_written_in_one_call():
    """Table 25.3: the same parameter table, log density, and derived quantities as the text by hand."""
    model = gallery.read("school_activity")
    columns = {"outcome": "mvpa", "treatment": "treat", "mediators": ["advant", "peers"], "cluster": "school"}
    spec = bh.Mediation(**columns, direct=False, priors="mplus")

    def unlabelled(table):
        return [(r.key, r.fixed, r.given) for r in table.rows]

    assert unlabelled(spec.table) == unlabelled(model.spec.table)
    design = model.spec.design(model.data())
    xr.testing.assert_identical(spec.design(model.data()), design)
    one, two = (s.marginal(design, s.frozen_priors(design)) for s in (spec, model.spec))
    points = points_of(one, 5)
    for z in points:
        assert one(z)[0] == two(z)[0]
        np.testing.assert_array_equal(one(z)[1], two(z)[1])
    found, published = (
        s.recover(draws_at(d, points), design, np.random.default_rng(1))["derived"]
        for s, d in ((spec, one), (model.spec, two))
    )
    names = {
        "via_advant": "medadv",
        "via_peers": "medpeer",
        "total_indirect": "tot",
        "context_advant": "con1",
        "context_peers": "con2",
    }
    assert [*found["quantity"].to_numpy()] == [*names]
    for name, there in names.items():
        np.testing.assert_array_equal(found.sel(quantity=name), published.sel(quantity=there))


# --- estimates ----------------------------------------------------------------------------------------------------------


def ols(data: pd.DataFrame, y: str, *x: str) -> dict[str, float]:
    """Least squares with an intercept."""
    X = np.column_stack([np.ones(len(data)), data[[*x]]])
    return dict(zip(x, np.linalg.lstsq(X, data[y], rcond=None)[0][1:], strict=True))


def estimates(spec: bh.SEM, data: pd.DataFrame, draws: int = 1000) -> pd.DataFrame:
    """Mean and SD of labels and derived quantities."""
    fit = bh.fit(spec, data, draws=draws, tune=500, seed=1, progress=False)
    table = bh.summary(fit)
    return table.assign(name=table["label"].where(table["label"] != "", table["parameter"])).set_index("name")[
        ["mean", "posterior_sd"]
    ]


def agree(table: pd.DataFrame, expected: dict[str, float], within: float) -> None:
    """Means are the expected values but for `within` posterior SDs."""
    for name, value in expected.items():
        off = (table.loc[name, "mean"] - value) / table.loc[name, "posterior_sd"]
        assert abs(off) < within, f"{name}: {table.loc[name, 'mean']:.4f}, expected {value:.4f}"


def persons(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x, age = np.repeat([0.0, 1.0], n // 2), rng.normal(40, 10, n)
    shared = rng.normal(size=n)
    m1 = 0.5 * x + 0.02 * age + shared + rng.normal(size=n)
    m2 = -0.4 * x + 0.6 * m1 - shared + rng.normal(size=n)
    y = 0.7 * m1 + 0.5 * m2 + 0.3 * x + 0.03 * age + rng.normal(size=n)
    return pd.DataFrame({"x": x, "age": age, "m1": m1, "m2": m2, "y": y})


def test_parallel_mediators_are_the_decomposition_of_least_squares():
    """With flat priors; the equations are independent a posteriori, so that means of products are products of means."""
    data = persons()
    spec = bh.Mediation(outcome="y", treatment="x", mediators=["m1", "m2"], covariates="age", priors="mplus")
    table = estimates(spec, data)
    b = ols(data, "y", "m1", "m2", "x", "age")
    via = {f"via_{m}": ols(data, m, "x", "age")["x"] * b[m] for m in ("m1", "m2")}
    total = ols(data, "y", "x", "age")["x"]
    assert total == pytest.approx(sum(via.values()) + b["x"])
    agree(table, via | {"direct": b["x"], "total_indirect": sum(via.values()), "total": total}, 0.1)
    truth = {"a_m1": 0.5, "a_m2": -0.1, "b_m1": 0.7, "b_m2": 0.5, "direct": 0.3}
    agree(table, truth, 3)


def test_serial_mediators_are_the_decomposition_of_least_squares():
    data = persons()
    spec = bh.Mediation(outcome="y", treatment="x", mediators=["m1", "m2"], serial=True, priors="mplus")
    table = estimates(spec, data)
    a1, second, last = ols(data, "m1", "x")["x"], ols(data, "m2", "x", "m1"), ols(data, "y", "x", "m1", "m2")
    expected = {
        "via_m1": a1 * last["m1"],
        "via_m2": second["x"] * last["m2"],
        "via_m1_m2": a1 * second["m1"] * last["m2"],
        "direct": last["x"],
        "total": ols(data, "y", "x")["x"],
    }
    assert expected["total"] == pytest.approx(sum(v for k, v in expected.items() if k != "total"))
    agree(table, expected, 0.1)


def test_treatment_of_clusters():
    """2-1-1: paths between clusters, which differ from those within, are recovered."""
    rng = np.random.default_rng(8)
    J, n = 300, 8
    j = np.repeat(np.arange(J), n)
    x = np.arange(J) % 2.0
    between = 0.8 * x + rng.normal(0, 0.7, J)
    within = rng.normal(size=J * n)
    y = (0.9 * between + 0.4 * x + rng.normal(0, 0.5, J))[j] + 0.3 * within + rng.normal(size=J * n)
    data = pd.DataFrame({"id": j, "x": x[j], "m": between[j] + within, "y": y})
    table = estimates(bh.Mediation(**CLUSTERED, mediators="m"), data, draws=500)
    truth = {"a": 0.8, "b": 0.9, "direct": 0.4, "b_within": 0.3, "indirect": 0.72, "total": 1.12, "context": 0.6}
    agree(table, truth, 3)
    assert (table.loc[[*truth], "posterior_sd"] < 0.15).all()


def test_mediator_of_clusters_is_least_squares_of_cluster_means():
    """2-2-1 in balanced clusters, with flat priors."""
    rng = np.random.default_rng(9)
    J, n = 80, 5
    j = np.repeat(np.arange(J), n)
    x = np.arange(J) % 2.0
    m = 0.8 * x + rng.normal(size=J)
    y = (0.9 * m + 0.4 * x + rng.normal(size=J))[j] + rng.normal(size=J * n)
    data = pd.DataFrame({"id": j, "x": x[j], "m": m[j], "y": y})
    table = estimates(bh.Mediation(**CLUSTERED, cluster_mediators="m", priors="mplus"), data)
    means = data.groupby("id").mean()
    last, a = ols(means, "y", "m", "x"), ols(means, "m", "x")["x"]
    agree(table, {"a": a, "b": last["m"], "direct": last["x"], "total": ols(means, "y", "x")["x"]}, 0.1)


def test_treatment_within_clusters_is_least_squares_of_deviations():
    """Multisite, as many treated in every site: the paths are those of deviations from the site's means."""
    rng = np.random.default_rng(10)
    J, n = 60, 20
    j = np.repeat(np.arange(J), n)
    x = np.tile([0.0, 1.0], J * n // 2)
    between = rng.normal(size=J)
    m = between[j] + 0.5 * x + rng.normal(size=J * n)
    y = (-0.5 * between + rng.normal(size=J))[j] + 0.6 * (m - between[j]) + 0.3 * x + rng.normal(size=J * n)
    data = pd.DataFrame({"id": j, "x": x, "m": m, "y": y})
    table = estimates(bh.Mediation(**CLUSTERED, mediators="m", level="within", priors="mplus"), data)
    centred = data - data.groupby("id").transform("mean")
    last, a = ols(centred, "y", "m", "x"), ols(centred, "m", "x")["x"]
    agree(table, {"a": a, "b": last["m"], "direct": last["x"], "total": ols(centred, "y", "x")["x"]}, 0.1)
    agree(table, {"b_between": -0.5, "context": -1.1}, 3)


@pytest.mark.slow
def test_varying_paths_carry_an_effect_by_their_covariance():
    """1-1-1 with a = b = 0 and cov(a_j, b_j) = 0.1: the indirect effect is 0.1, the product of the means 0."""
    rng = np.random.default_rng(12)
    J, n = 200, 30
    j = np.repeat(np.arange(J), n)
    a, b = rng.multivariate_normal([0, 0], [[0.2, 0.1], [0.1, 0.2]], J).T
    between = rng.normal(0, 0.5, J)
    x = np.tile([-0.5, 0.5], J * n // 2)
    deviation = a[j] * x + rng.normal(size=J * n)
    y = (0.4 * between + rng.normal(0, 0.5, J))[j] + b[j] * deviation + 0.2 * x + rng.normal(size=J * n)
    data = pd.DataFrame({"id": j, "x": x, "m": between[j] + deviation, "y": y})
    spec = bh.Mediation(**CLUSTERED, mediators="m", level="within", varying=("a", "b"))
    fit = bh.fit(spec, data, seed=1, progress=False)
    table = bh.summary(fit).set_index("parameter")
    found = table.loc["indirect"]
    assert abs(found["mean"] - 0.1) < 3 * found["posterior_sd"] < 0.1
    effects = bh.effects(fit).set_index("estimand")
    along = effects.loc["indirect effect of x on y, within"]
    assert found["mean"] == pytest.approx(along["mean"])
    alone = effects.loc["indirect effect of x on y, within, without the covariance of slopes"]
    assert abs(alone["mean"]) < 0.01 < found["lower"]


def test_effects_of_longer_ways_are_moments_of_the_normal_distribution():
    """E(a d b) of the derived text against a large normal sample."""
    rng = np.random.default_rng(0)
    mean, root = np.array([0.5, -0.7, 0.4]), rng.normal(size=(3, 3))
    cov = root @ root.T
    sample = mean + rng.normal(size=(4_000_000, 3)) @ root.T
    spec = bh.Mediation(**CLUSTERED, mediators=["m1", "m2"], level="within", serial=True, varying=("a", "b", "d"))
    expression = dict(spec.table.derived)["via_m1_m2"]
    labels = ("a_m1", "d_m1_m2", "b_m2")
    values = dict(zip(labels, mean, strict=True))
    for i, p in enumerate(labels):
        for k, q in enumerate(labels):
            values["_".join(["cov", *sorted([p, q])])] = cov[i, k]
    product = sample.prod(1)
    error = product.std() / np.sqrt(len(sample))
    assert abs(expression(values) - product.mean()) < 4 * error < 0.05
    assert abs(mean.prod() - product.mean()) > 20 * error


# --- refusals -----------------------------------------------------------------------------------------------------------

BASE = {"outcome": "y", "treatment": "x", "mediators": "m"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mediators": ()}, ("no mediator", "mediators=")),
        ({"mediators": ["m", "x"]}, ("'x' is treatment and mediators", "one role")),
        ({"mediators": ["m", "m"]}, ("'m' is mediators and mediators",)),
        ({"covariates": ["age", "y"]}, ("'y' is outcome and covariates",)),
        ({"cluster": "m"}, ("'m' is mediators and cluster",)),
        ({"mediators": 3}, ("mediators=3", "list")),
        ({"outcome": None}, ("outcome=None", "name of a column")),
        ({"mediators": "a`b"}, ("'a`b'", "backticks")),
        ({"mediators": "m:2"}, ("'m:2'", "colons")),
        ({"treatment": "b"}, ("column 'b'", "rename(columns={'b': 'b_'})")),
        ({"outcome": "total"}, ("column 'total'", "rename")),
        ({"mediators": ["m 1", "m_1"]}, ("label 'b_m_1' twice", "rename")),
        ({"mediators": ["m1", "m2", "m1_m2"], "serial": True}, ("'via_m1_m2' twice",)),
        ({"varying": "a"}, ("varying=('a',)", "cluster=")),
        ({"level": "within"}, ("level='within'", "cluster=")),
        ({"level": "school", "cluster": "id"}, ("level='school'", "'between'")),
        ({"cluster_mediators": "k"}, ("cluster_mediators=('k',)", "cluster=")),
        ({"cluster_covariates": "k"}, ("cluster_covariates=('k',)", "cluster=")),
        ({"cluster": "id", "level": "within", "cluster_mediators": "k"}, ("'k' of clusters", "level='between'")),
        ({"cluster": "id", "varying": "a"}, ("'a' is no path within clusters", "level='within'", "'b_within'")),
        ({"cluster": "id", "level": "within", "varying": "c"}, ("'c' is no path", "'direct'")),
        ({"cluster": "id", "level": "within", "varying": "direct", "direct": False}, ("'direct' is no path",)),
        ({"serial": True}, ("there is one, 'm'",)),
        ({"serial": 1}, ("serial=1", "True or False")),
    ],
)
def test_what_is_refused(changes, words):
    with pytest.raises(SpecError) as caught:
        bh.Mediation(**BASE | changes)
    for word in words:
        assert word in str(caught.value), str(caught.value)
