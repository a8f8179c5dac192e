"""Figures of many trials, from the columns of the published summary."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from item_trials import ROLES, trial

import bayeshte as bh

PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "irw_il_hte"


def tables(n=6):
    rng = np.random.default_rng(0)
    summary = pd.DataFrame(
        {
            "tab": [f"trial <{k}>" for k in range(n)],
            "n_items": rng.integers(3, 40, n),
            "n_persons": rng.integers(100, 3000, n),
            "ate_std": rng.normal(size=n),
            "sigma_zeta_std": rng.uniform(0, 1, n),
            "rho": rng.uniform(-1, 1, n),
            "sd_ratio": rng.uniform(0.8, 1.2, n),
            "sig_il_hte": np.arange(n) % 2 == 0,
            "delta_beta3": np.append(rng.normal(size=n - 1) / 50, np.nan),
        }
    )
    items = summary.loc[summary.index.repeat(summary["n_items"]), ["tab", "ate_std"]].reset_index(drop=True)
    items["total_std"] = items["ate_std"] + rng.normal(size=len(items)) / 4
    return summary, items


def test_trials_are_ordered_by_their_average_effect():
    summary, items = tables()
    ax = bh.plot_trials(summary, items, criterion="95 % interval").axes[0]
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == list(summary.sort_values("ate_std")["tab"])
    large = [line for line in ax.lines if line.get_markersize() == 5.5]
    assert sum(len(line.get_xdata()) for line in large) == len(summary)
    small = [line for line in ax.lines if line.get_markersize() == 2.2]
    assert sum(len(line.get_xdata()) for line in small) == len(items)
    for line in large:
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert summary.set_index("tab").loc[names[int(y)], "ate_std"] == x
    assert "95 % interval" in ax.get_title(loc="left")


def test_interactions_by_the_ratio_of_item_sds():
    summary, _ = tables()
    ax = bh.plot_interaction_bias(summary).axes[0]
    (dots,) = [c for c in ax.collections if len(c.get_offsets())]
    shown = summary.dropna().sort_values("n_items", ascending=False)
    np.testing.assert_allclose(dots.get_offsets(), shown[["sd_ratio", "delta_beta3"]])
    np.testing.assert_allclose(dots.get_array(), shown["rho"])
    root = np.sqrt(dots.get_sizes())
    np.testing.assert_allclose(root / root[0], np.sqrt(shown["n_items"] / shown["n_items"].iloc[0]))
    assert "1 without an interaction" in ax.get_title(loc="left")


class Reader(HTMLParser):
    """Texts of the boxes under the pointer, and addresses."""

    def __init__(self, text):
        super().__init__()
        self.tips, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tips += [values["data-tip"]] if "data-tip" in values else []
        self.addresses += [values[k] for k in ("src", "href") if k in values]


def test_pages_are_one_file_with_the_details_of_every_trial(tmp_path):
    summary, items = tables()
    page = Reader(bh.trials_html(summary, items, tmp_path / "trials.html").read_text(encoding="utf-8"))
    assert sorted(t.split("\n")[0] for t in page.tips) == sorted(summary["tab"])
    row = summary.iloc[0]
    (tip,) = [t for t in page.tips if t.startswith(row["tab"])]
    assert f"ATE: {row['ate_std']:.3f} SD".replace("-", "−") in tip
    assert f"items: {row['n_items']}" in tip
    assert f"persons: {row['n_persons']:,}" in tip
    assert not page.addresses
    text = bh.interaction_html(summary, tmp_path / "interaction.html").read_text(encoding="utf-8")
    other = Reader(text)
    assert len(other.tips) == len(summary) - 1
    assert not other.addresses
    assert "1 trials without an interaction" not in text
    assert "1 trial without an interaction is left out" in text
    assert not re.search(r"https?://", text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, i: (s.drop(columns="rho"), i), "no column 'rho'"),
        (lambda s, i: (s.assign(ate_std=np.nan), i), "'ate_std' of summary is missing in 6 of 6"),
        (lambda s, i: (s, i.assign(tab="other")), "1 trials that are not in summary, such as 'other'"),
        (lambda s, i: (pd.concat([s, s]), i), "more than once"),
        (lambda s, i: (s.iloc[:0], i), "has no rows"),
    ],
)
def test_tables_that_cannot_be_drawn(change, message):
    with pytest.raises(bh.DataError, match=message):
        bh.plot_trials(*change(*tables()))


def test_no_trial_has_an_interaction():
    with pytest.raises(bh.DataError, match="nothing to draw"):
        bh.plot_interaction_bias(tables()[0].assign(delta_beta3=np.nan))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the shared data are not there")
def test_published_trials(tmp_path):
    summary, items = (pd.read_csv(PUBLISHED / f"{name}.csv") for name in ("summary", "items"))
    assert "effect varies over items (40 trials)" in bh.plot_trials(summary, items).legends[0].get_texts()[0].get_text()
    assert "66 trials" in bh.plot_interaction_bias(summary).axes[0].get_title(loc="left")
    assert bh.trials_html(summary, items, tmp_path / "a.html").stat().st_size < 300_000


@pytest.mark.slow
def test_tables_of_many_fits_can_be_drawn(tmp_path):
    models = {
        "A": bh.ItemResponse(**ROLES),
        "B": bh.ItemResponse(**ROLES, moderators="pretest", item_effects=False),
        "C": bh.ItemResponse(**ROLES, moderators="pretest"),
    }
    data = {f"trial {k}": trial(k, 300, 8, sd, rho=0.7) for k, sd in ((1, 0.0), (2, 1.2))}
    found = bh.fit_many(models, data, seed=1, cores=1, progress=False)
    summary, items = bh.trial_tables(found)
    assert list(summary["sig_il_hte"]) == [False, True]
    assert list(summary["n_items"]) == [8, 8]
    fit = bh.fit(models["C"], data["trial 2"], seed=5, progress=False)
    row = summary.set_index("tab").loc["trial 2"]
    assert row["beta3_c"] == pytest.approx(float(fit.posterior["beta3"].median()), abs=0.02)
    assert row["delta_beta3"] == pytest.approx(row["beta3_b"] - row["beta3_c"])
    assert (items.groupby("tab")["total_std"].mean() - summary.set_index("tab")["ate_std"]).abs().max() < 0.4
    assert "2 trials" in bh.plot_trials(summary, items).axes[0].get_title(loc="left")
    assert "2 trials" in bh.plot_interaction_bias(summary).axes[0].get_title(loc="left")
    assert "persons" not in Reader(bh.trials_html(summary, items, tmp_path / "a.html").read_text()).tips[0]
    with pytest.raises(bh.SpecError, match="no converged fit of model 'D'"):
        bh.trial_tables(found, models=("D", "B", "C"))
