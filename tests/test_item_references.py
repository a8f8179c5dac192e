"""ItemResponse: posteriors of Stan, estimates of glmer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh
from bayeshte.summary import rows

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder with reference data is not beside the repository")
@pytest.mark.parametrize(
    ("file", "stan", "columns", "extra"),
    [
        ("verbagg/verbagg_long.csv", "verbagg/stan_male_ilhte.csv", ("id", "r2", "Gender", "F"), "male"),
        (
            "pragmatic_scales/pragmatic_scales_data.csv",
            "pragmatic_scales/stan_pragmatic_ilhte.csv",
            ("subid", "correct", "condition", "No Label"),
            "treat",
        ),
    ],
)
def test_agrees_with_stan(file, stan, columns, extra):
    """The priors of the .txt files beside the data; every item's easiness and effect included."""
    person, response, treatment, reference = columns
    data = pd.read_csv(DATA / file).replace({"r2": {"Y": 1, "N": 0}})
    data[response] = data[response].astype(int)
    priors = {"beta0": bh.Normal(0, 2), "beta1": bh.Normal(0, 2), "rho": bh.LKJ(2)}
    priors |= {v: bh.HalfNormal(1) for v in ("sigma_theta", "sigma_b", "sigma_zeta")}
    spec = bh.ItemResponse(
        person=person, item="item", response=response, treatment=treatment, reference=reference, priors=priors
    )
    p = bh.fit(spec, data, seed=1, draws=2500, progress=False).posterior
    ref = pd.read_csv(DATA / stan).set_index("variable")
    items = [str(v) for v in p["item"].to_numpy()]
    names = {
        "beta0": ["b_Intercept"],
        "beta1": [f"b_{extra}"],
        "sigma_theta": ["sd_id__Intercept"],
        "sigma_b": ["sd_item__Intercept"],
        "sigma_zeta": [f"sd_item__{extra}"],
        "rho": [f"cor_item__Intercept__{extra}"],
        "b": [f"r_item[{v},Intercept]" for v in items],
        "zeta": [f"r_item[{v},{extra}]" for v in items],
    }
    z = []
    for name, labels in names.items():
        mine, theirs = rows(p[name]), ref.loc[labels]
        error = np.hypot(mine["posterior_sd"] / np.sqrt(mine["ess_bulk"]), theirs["mcse_mean"].to_numpy())
        z.extend((mine["mean"] - theirs["mean"].to_numpy()) / error)
        np.testing.assert_allclose(mine["posterior_sd"], theirs["sd"], rtol=0.08)
    assert np.abs(z).max() < 4
    assert 0.4 < np.sqrt(np.mean(np.square(z))) < 1.6


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder with reference data is not beside the repository")
def test_fixed_effects_of_glmer_and_a_regular_posterior_where_it_is_singular():
    """lme4 1.1-31, Laplace: reference.txt and lme4_reference.txt; the four items of the children's test leave it with rho = 1."""
    aggression = pd.read_csv(DATA / "verbagg/verbagg_long.csv")
    aggression["r2"] = (aggression["r2"] == "Y").astype(int)
    roles = dict(person="id", item="item", response="r2", treatment="Gender", reference="F")
    children = pd.read_csv(DATA / "pragmatic_scales/pragmatic_scales_data.csv")
    children["correct"] = children["correct"].astype(int)
    test = dict(
        person="subid", item="item", response="correct", treatment="condition", reference=children["condition"].min()
    )
    test["reference"] = "No Label"
    cases = [
        (roles, aggression, {"beta0": -0.2344, "beta1": 0.3053}),
        (test, children, {"beta0": -1.4399, "beta1": 2.2693}),
    ]
    for given, data, published in cases:
        fit = bh.fit(bh.ItemResponse(**given), data, seed=1, progress=False)
        table = bh.summary(fit).set_index("parameter")
        for name, value in published.items():
            assert abs(table.loc[name, "estimate"] - value) < 0.25 * table.loc[name, "posterior_sd"]
    assert fit.diagnosis.ok  # the children's test
    rho = table.loc["rho"]
    assert rho["upper"] < 0.999
    assert rho["lower"] < 0.5
