"""Many data sets at once: the same numbers as one by one, resumable, nothing lost."""

import json

import numpy as np
import pandas as pd
import pytest

import bayeshte as bh

RUN = dict(draws=500, tune=300, progress=False)
SPEC = bh.RandomSlope(outcome="y", treatment="t", cluster="g", reference="a", varying=())


def trial(effect: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(12), 10)
    t = rng.integers(0, 2, len(g))
    y = 0.5 * rng.normal(size=12)[g] + effect * t + rng.normal(size=len(g))
    return pd.DataFrame({"g": g, "t": np.where(t, "b", "a"), "y": y})


@pytest.fixture(scope="module")
def datasets():
    return {"first": trial(0, 1), "second": trial(2, 2), "without effect": trial(0, 3).assign(t="a")}


@pytest.fixture(scope="module")
def done(datasets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "results"
    return folder, bh.fit_many(SPEC, datasets, folder, **RUN)


def test_one_row_a_fit_and_refused_data_are_rows(done):
    trials = done[1]
    assert list(trials.fits["trial"]) == ["first", "second", "without effect"]
    assert list(trials.fits["status"]) == ["ok", "ok", "refused"]
    assert "one arm" in trials.fits["said"].iloc[2]
    assert "without effect (refused)" in trials.verdict
    ate = trials.effects[trials.effects["estimand"] == "ATE"].set_index("trial")["estimate"]
    assert abs(ate["first"]) < 0.7 < 1.3 < ate["second"]
    assert set(trials.parameters["trial"]) == {"first", "second"}


def test_a_fit_of_many_is_the_fit_of_one(done, datasets):
    folder, trials = done
    (file,) = [f for f in folder.iterdir() if f.name.startswith("second")]
    seed = json.loads(file.read_text())["seed"]
    alone = bh.fit(SPEC, datasets["second"], **RUN | {"seed": seed})
    ours = trials.effects[trials.effects["trial"] == "second"].reset_index(drop=True)
    theirs = bh.effects(alone)
    np.testing.assert_allclose(ours["estimate"].astype(float), theirs["estimate"].astype(float), rtol=1e-9)


def test_goes_on_from_what_is_there(done, datasets):
    folder, before = done
    files = sorted(f for f in folder.iterdir() if f.name != "settings.json")
    kept = {f: f.stat().st_mtime_ns for f in files}
    files[0].unlink()
    again = bh.fit_many(SPEC, datasets, folder, **RUN)
    pd.testing.assert_frame_equal(again.effects, before.effects)
    assert [f for f in files[1:] if f.stat().st_mtime_ns != kept[f]] == []
    assert files[0].is_file()


def test_a_folder_of_files(tmp_path, datasets):
    for name in ("first", "second"):
        datasets[name].to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "notes.txt").write_text("not a trial")
    trials = bh.fit_many({"varying": SPEC}, tmp_path, **RUN)
    assert list(trials.fits["trial"]) == ["first", "second"]
    assert set(trials.effects["model"]) == {"varying"}


def test_other_models_other_data_and_no_data_are_refused(done, datasets, tmp_path):
    folder = done[0]
    with pytest.raises(bh.DataError, match="another analysis"):
        bh.fit_many(SPEC, datasets, folder, **RUN | {"draws": 520})
    with pytest.raises(bh.DataError, match="other data of 'first'"):
        bh.fit_many(SPEC, datasets | {"first": trial(0, 9)}, folder, **RUN)
    (tmp_path / "x").write_text("")
    with pytest.raises(bh.DataError, match="something else"):
        bh.fit_many(SPEC, datasets, tmp_path, **RUN)
    with pytest.raises(bh.DataError, match="no folder"):
        bh.fit_many(SPEC, tmp_path / "absent", **RUN)
    with pytest.raises(bh.SpecError, match="empty"):
        bh.fit_many(SPEC, {}, **RUN)
    with pytest.raises(bh.SpecError, match=r"datasets\['a'\] is no DataFrame"):
        bh.fit_many(SPEC, {"a": [1]}, **RUN)
    with pytest.raises(bh.SpecError, match="a specification such as"):
        bh.fit_many({"a": 1}, datasets, **RUN)
