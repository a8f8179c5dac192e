"""Categorical variables as data have them: rare and absent categories, separation, text, too many; errors that say what to do."""

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh
from bayeshte.errors import DataError, SpecError

SPEC = bh.SEM(cluster="g", within="m ~ x; y ~ m", between="m ~ z; y ~ m + z", categorical=["y"])


def frame(seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(20), 8)
    z, x = rng.normal(size=20), rng.normal(size=len(g))
    m = 0.5 * x + rng.normal(size=len(g)) + 0.5 * z[g]
    response = 0.5 * m + 0.4 * rng.normal(size=20)[g] + rng.normal(size=len(g))
    return pd.DataFrame({"g": g, "x": x, "z": z[g], "m": m, "y": (response > 0) * 1, "response": response})


def fitted(data: pd.DataFrame, spec=SPEC) -> bh.Fit:
    """A short run: that it starts, moves and ends with finite numbers."""
    fit = bh.fit(spec, data, draws=100, tune=200, chains=2, seed=1, progress=False)
    assert np.isfinite(bh.summary(fit)["estimate"]).all()
    return fit


@pytest.mark.filterwarnings("ignore::bayeshte.ConvergenceWarning")
class TestDataThatAreFitted:
    def test_a_category_seen_once(self):
        data = frame()
        data["y"] = np.digitize(data["response"], [0, np.sort(data["response"])[-1]])
        assert (data["y"] == 2).sum() == 1
        tau = bh.summary(fitted(data)).query("header == 'thresholds'")["estimate"].to_numpy()
        assert len(tau) == 2
        assert tau[1] > tau[0] + 1

    def test_a_category_that_clusters_and_an_arm_lack(self):
        data = frame()
        data["y"] = data["y"].where((data["g"] > 2) & (data["z"] > np.median(data["z"])), 0)
        fitted(data)

    def test_perfect_separation_leaves_finite_estimates(self):
        """Maximum likelihood has none; the prior of the path, in units of SDs, has."""
        data = frame()
        spec = bh.SEM(model="y ~ x", categorical=["y"])
        fit = fitted(data.assign(y=(data["x"] > 0) * 1), spec)
        path = bh.summary(fit).set_index("parameter").loc["y ~ x"]
        assert 2 < path["estimate"] < 20
        assert path["lower"] > 0

    def test_text_in_its_own_order(self):
        data, levels = frame(), ["never", "sometimes", "always"]
        code = np.digitize(data["response"], [0, 1])
        text = pd.Categorical(np.array(levels)[code], levels, ordered=True)
        spec = bh.SEM(model="y ~ m", categorical=["y"])
        design = spec.design(data.assign(y=text))
        np.testing.assert_array_equal(design["Y"].sel(within_variable="y"), code)
        assert design.attrs["categories"] == ["y=never", "y=sometimes", "y=always"]

    def test_gaps_between_numbers_do_not_matter(self):
        data = frame()
        spec = bh.SEM(model="y ~ m", categorical=["y"])
        one, two = (spec.design(data.assign(y=data["y"] * k + 1)) for k in (1, 5))
        np.testing.assert_array_equal(one["Y"], two["Y"])

    def test_twenty_categories(self):
        data = frame()
        data["y"] = pd.qcut(data["response"], 20, labels=False)
        tau = bh.summary(fitted(data, bh.SEM(model="y ~ m", categorical=["y"]))).query("header == 'thresholds'")
        assert len(tau) == 19
        assert (np.diff(tau["estimate"]) > 0).all()


class TestErrors:
    def expect(self, error, words, data=None, **given):
        def build():
            bh.SEM(**({"model": "y ~ m", "categorical": ["y"]} | given)).design(frame() if data is None else data)

        with pytest.raises(error, match=words):
            build()

    def test_text_without_order(self):
        text = np.where(frame()["y"] == 1, "yes", "no")
        self.expect(
            DataError, "'y' must be whole numbers or an ordered categorical; 160 of 160", frame().assign(y=text)
        )

    def test_fractions(self):
        self.expect(DataError, "whole numbers", frame().assign(y=frame()["response"]))

    def test_more_than_twenty_categories(self):
        many = pd.qcut(frame()["response"], 21, labels=False)
        self.expect(DataError, "'y' has 21 categories, 20 are the most: take it as continuous", frame().assign(y=many))

    def test_one_category(self):
        self.expect(DataError, "'y' has one category, '1', in all 160 rows", frame().assign(y=1))

    def test_no_values(self):
        self.expect(DataError, "Column 'y' has no values", frame().assign(y=np.nan))

    def test_a_category_that_is_lost_with_its_covariate(self):
        data = frame().assign(y=lambda d: np.where(d.index < 3, 2, d["y"]))
        data.loc[:2, "m"] = np.nan
        self.expect(DataError, "'y' is '2' only in rows that lack a covariate", data)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"categorical": "y"}, r"write a list of variables, \['y'\]"),
            ({"categorical": {"y": "cloglog"}}, "the links are 'probit', 'logit'"),
            ({"categorical": ["m"]}, "'m' only predicts"),
            ({"categorical": ["w"]}, "'w' is not in the model"),
            ({"model": "y ~ m; y ~ 1"}, "has thresholds"),
            ({"model": "y ~ m; y ~~ y"}, "gives it its scale"),
            ({"model": "y ~ m; y | t1 + 0*t2"}, "only the first threshold"),
            ({"model": "y ~ m; m | t1; m ~ x"}, "only variables in categorical= have thresholds"),
            ({"model": "y ~ m; x ~ y", "categorical": {"y": "logit"}}, "y, with the logit link, may neither predict"),
        ],
    )
    def test_what_cannot_be_meant(self, given, words):
        self.expect(SpecError, words, **given)

    def test_priors_of_thresholds(self):
        data = frame().assign(y=lambda d: np.digitize(d["response"], [0, 1]))
        spec = bh.SEM(model="y ~ m; y | a*t1", categorical=["y"], priors={"a": bh.Normal(0, 1)})
        with pytest.raises(SpecError, match="thresholds of 'y' need one prior"):
            spec.frozen_priors(spec.design(data))
        whole = bh.SEM(model="y ~ m", categorical=["y"], priors={"threshold[y]": bh.Normal(0, 1)})
        found = whole.frozen_priors(whole.design(data))
        assert {k: p for k, p in found.items() if "threshold" in k} == {
            "threshold[y | t1]": bh.Normal(0, 1),
            "threshold[y | t2]": bh.Normal(0, 1),
        }
