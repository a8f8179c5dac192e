"""Saved fits: what was saved is what is opened, nothing is lost when a run ends early, and damage is named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from cases import SPECS, frame

import bayeshte as bh
from bayeshte import store

FEW = dict(draws=100, tune=100, seed=1, progress=False)


def fitted(spec, data=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bh.ConvergenceWarning)
        return bh.fit(spec, frame() if data is None else data, **FEW | options)


def same(a: bh.Fit, b: bh.Fit) -> None:
    xr.testing.assert_identical(a.posterior, b.posterior)
    xr.testing.assert_identical(a.draws["sample_stats"].to_dataset(), b.draws["sample_stats"].to_dataset())
    xr.testing.assert_identical(a.design, b.design)
    assert a.spec == b.spec
    assert a.priors == b.priors
    assert a.diagnosis.verdict == b.diagnosis.verdict
    assert a.record == b.record
    pd.testing.assert_frame_equal(bh.summary(a), bh.summary(b))
    pd.testing.assert_frame_equal(bh.effects(a), bh.effects(b))


@pytest.mark.parametrize("name", ["slope and intercept", "smooth", "split", "no clusters", "odd priors"])
def test_round_trip(name, tmp_path):
    fit = fitted(SPECS[name])
    assert bh.save(fit, tmp_path / "fit") == tmp_path / "fit"
    same(bh.load(tmp_path / "fit"), fit)


def test_odd_labels_and_names_survive(tmp_path):
    """Text that a file system, JSON or zarr could trip over."""
    data = frame().rename(columns={"arm": "ar m", "school": "schule 🙂", "x": "a/b", "sex": "s.e*x", "z": "größe"})
    data = data.replace({"ar m": {"high": "<b>hi/gh</b>", "low": "lö:w"}, "schule 🙂": {"s1": 'st. "1"\n', "s2": ""}})
    data.index = pd.date_range("2020-01-01", periods=len(data))
    spec = bh.RandomSlope(
        outcome="y",
        treatment="ar m",
        reference="control",
        cluster="schule 🙂",
        varying="<b>hi/gh</b>",
        covariates="`a/b` + `s.e*x` + C(`größe` > 0)",
    )
    fit = fitted(spec, data)
    bh.save(fit, tmp_path / "fit")
    same(bh.load(tmp_path / "fit"), fit)


def test_saved_while_fitting_is_saved_afterwards(tmp_path):
    fit = fitted(SPECS["moderated"], path=tmp_path / "one")
    bh.save(fit, tmp_path / "two")
    same(bh.load(tmp_path / "one"), bh.load(tmp_path / "two"))
    names = [sorted(p.relative_to(tmp_path / n).as_posix() for p in (tmp_path / n).rglob("*")) for n in ("one", "two")]
    assert names[0] == names[1]


def test_a_loaded_fit_can_do_everything(tmp_path):
    fit = fitted(SPECS["smooth"])
    bh.save(fit, tmp_path / "fit")
    again = bh.load(str(tmp_path / "fit"))
    xr.testing.assert_allclose(bh.cate(again, "x", grid=[1, 3]), bh.cate(fit, "x", grid=[1, 3]))
    xr.testing.assert_allclose(bh.predict(again, frame().tail(9)), bh.predict(fit, frame().tail(9)))
    assert again.model.named_vars.keys() == fit.model.named_vars.keys()
    assert repr(again) == repr(fit)


def test_no_pickle_and_plain_json(tmp_path):
    bh.save(fitted(SPECS["odd priors"]), tmp_path / "fit")
    for file in (tmp_path / "fit").glob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))
    assert not [p for p in (tmp_path / "fit").rglob("*") if p.suffix in (".pkl", ".pickle", ".npy")]
    assert json.loads((tmp_path / "fit" / "priors.json").read_text())["gamma1[high]"]["prior"] == "Uniform"


# --- damage ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "fit"
    bh.save(fitted(SPECS["slope and intercept"]), folder)
    return folder


def chunk(folder, variable):
    return next(p for p in sorted((folder / variable).rglob("*")) if p.is_file() and p.suffix != ".json")


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def rewrite(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "record.json").unlink(), "no record.json"),
        (lambda f: cut(f / "record.json"), "damaged"),
        (lambda f: (f / "record.json").write_text("[]"), "damaged"),
        (lambda f: (f / "spec.json").unlink(), "spec.json"),
        (lambda f: cut(f / "spec.json"), "damaged"),
        (lambda f: rewrite(f / "spec.json", fields={"outcome": "y", "nonsense": 1}), "nonsense"),
        (lambda f: rewrite(f / "spec.json", family="Mystery"), "'Mystery'"),
        (lambda f: (f / "priors.json").unlink(), "priors.json"),
        (lambda f: (f / "priors.json").write_text("{"), "damaged"),
        (lambda f: shutil.rmtree(f / "draws.zarr"), "cut short"),
        (lambda f: shutil.rmtree(f / "design.zarr"), "cut short"),
        (lambda f: shutil.rmtree(f / "draws.zarr" / "posterior" / "gamma1"), "draws.zarr/posterior/gamma1"),
        (lambda f: chunk(f, "draws.zarr/posterior/gamma1").unlink(), "draws.zarr/posterior/gamma1"),
        (lambda f: chunk(f, "draws.zarr/sample_stats/energy").unlink(), "cut short"),
        (lambda f: chunk(f, "design.zarr/y").unlink(), "design.zarr/y"),
        (lambda f: cut(chunk(f, "draws.zarr/posterior/u")), "draws.zarr/posterior/u"),
        (lambda f: cut(f / "draws.zarr" / "posterior" / "u" / "zarr.json"), "damaged"),
        (lambda f: cut(f / "draws.zarr" / "posterior" / "zarr.json"), "damaged"),
    ],
)
def test_damage_is_named(damage, said, saved, tmp_path):
    folder = tmp_path / "fit"
    shutil.copytree(saved, folder)
    assert bh.load(folder).diagnosis.checks
    damage(folder)
    with pytest.raises(bh.DataError) as caught:
        bh.load(folder)
    assert str(folder) in str(caught.value) or "family" in str(caught.value)
    assert said in str(caught.value)


def test_damage_says_what_to_do(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "fit")
    chunk(tmp_path / "fit", "draws.zarr/posterior/gamma1").unlink()
    with pytest.raises(bh.DataError, match="Copy the whole folder again, or fit again"):
        bh.load(tmp_path / "fit")


def test_other_formats(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "fit")
    rewrite(tmp_path / "fit" / "record.json", format=99, versions={"bayeshte": "7.0"})
    with pytest.raises(bh.DataError, match=r"format 99 by bayeshte 7\.0; this version reads format 1\. Open it with"):
        bh.load(tmp_path / "fit")


@pytest.mark.parametrize("path", ["nowhere", ".", "file"])
def test_what_is_no_saved_fit(path, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(bh.DataError, match="not a saved fit"):
        bh.load(tmp_path / path)


def test_a_saved_fit_is_never_written_over(saved, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in saved.rglob("*")}
    with pytest.raises(bh.DataError, match="exists and is not an empty folder"):
        bh.save(bh.load(saved), saved)
    assert before == {p: p.stat().st_mtime_ns for p in saved.rglob("*")}


# --- runs that end early ---------------------------------------------------------------------------------------------------


def draws_of(chains: int, draws: int) -> xr.DataTree:
    values = xr.DataArray(np.arange(chains * draws * 1.0).reshape(chains, draws), dims=("chain", "draw"))
    posterior = xr.Dataset({"gamma0": values}, {"chain": range(chains), "draw": range(draws)})
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": xr.Dataset({"energy": values + 1})})


def test_a_snapshot_is_whole_or_the_one_before_is_there(tmp_path, monkeypatch):
    store.snapshot(tmp_path, draws_of(4, 10))
    store.snapshot(tmp_path, draws_of(4, 20))
    assert store._made_so_far(tmp_path)["posterior"].sizes["draw"] == 20
    assert [p.name for p in tmp_path.iterdir()] == ["sampling.zarr"]

    class Killed(BaseException):
        pass

    def stop(*_):
        raise Killed

    write = store._write_draws
    monkeypatch.setattr(store, "_write_draws", lambda folder, draws: (write(folder, draws), stop()))
    with pytest.raises(Killed):
        store.snapshot(tmp_path, draws_of(4, 30))
    assert store._made_so_far(tmp_path)["posterior"].sizes["draw"] == 20

    monkeypatch.setattr(store, "_write_draws", write)
    monkeypatch.setattr(Path, "rename", lambda self, to: os.rename(self, to) if self.suffix != ".new" else stop())
    with pytest.raises(Killed):
        store.snapshot(tmp_path, draws_of(4, 40))
    assert store._made_so_far(tmp_path)["posterior"].sizes["draw"] == 20

    monkeypatch.undo()
    store.snapshot(tmp_path, draws_of(4, 50))
    assert store._made_so_far(tmp_path)["posterior"].sizes["draw"] == 50


def test_a_full_disk_does_not_stop_the_sampler(tmp_path, monkeypatch):
    store.snapshot(tmp_path, draws_of(4, 10))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_write_draws", full)
    with pytest.warns(UserWarning, match="No space left on device.*sampling goes on"):
        store.snapshot(tmp_path, draws_of(4, 20))
    monkeypatch.undo()
    assert store._made_so_far(tmp_path)["posterior"].sizes["draw"] == 10


def test_a_run_without_draws_says_so(tmp_path):
    spec = SPECS["no clusters"]
    design = spec.design(frame())
    store.begin(tmp_path / "fit", spec, design, spec.frozen_priors(design), {"seed": 1})
    with pytest.raises(bh.DataError, match="holds no draws: the run ended before its first snapshot"):
        bh.load(tmp_path / "fit")


def test_a_snapshot_with_holes_is_refused(tmp_path):
    spec = SPECS["no clusters"]
    design = spec.design(frame())
    folder = store.begin(tmp_path / "fit", spec, design, spec.frozen_priors(design), {"seed": 1})
    store.snapshot(folder, draws_of(4, 10))
    chunk(folder, "sampling.zarr/posterior/gamma0").unlink()
    with pytest.raises(bh.DataError, match=r"draws are missing from sampling\.zarr"):
        bh.load(folder)


RUN = """
import signal, sys, warnings
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
sys.path.insert(0, {tests!r})
from cases import SPECS, frame
import bayeshte as bh
from bayeshte import sampler
sampler.SNAPSHOT_SECONDS = 0.5
warnings.simplefilter("ignore", bh.ConvergenceWarning)
options = dict(draws=1_000_000, tune=100, target_accept=0.999, seed=7, cores={cores}, path={path!r}, progress=False)
fit = bh.fit(SPECS["slope and intercept"], frame(), **options)
print(fit.posterior.sizes["chain"], fit.posterior.sizes["draw"], fit.diagnosis.ok, fit.record["complete"], flush=True)
"""


def running(path: Path, cores: int) -> subprocess.Popen:
    """A run that would take minutes, once it has written its first snapshot."""
    code = RUN.format(tests=str(Path(__file__).parent), path=str(path), cores=cores)
    options = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", code], **options)
    until = time.monotonic() + 90
    while not (path / "sampling.zarr").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "no snapshot"
        time.sleep(0.05)
    return process


def usable_and_marked(fit: bh.Fit) -> None:
    assert not fit.diagnosis.ok
    assert "NOT CONVERGED" in fit.diagnosis.verdict
    assert "the run was stopped" in fit.diagnosis.verdict
    assert fit.record["complete"] is False
    assert all(np.isfinite(v).all() for v in fit.posterior.values())
    assert "the run was stopped" in bh.summary(fit).attrs["verdict"]
    assert bh.effects(fit)["estimate"].notna().all()
    assert fit.posterior.sizes["school"] == 12


def test_kill_keeps_the_draws(tmp_path):
    process = running(tmp_path / "fit", cores=4)
    process.kill()
    process.communicate()
    fit = bh.load(tmp_path / "fit")
    usable_and_marked(fit)
    assert fit.posterior.sizes["chain"] >= 2
    bh.save(fit, tmp_path / "kept")
    usable_and_marked(bh.load(tmp_path / "kept"))


def test_control_c_keeps_the_draws(tmp_path):
    process = running(tmp_path / "fit", cores=1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "Stopped: keeping the draws made so far, 1 chains x " in err
    chains, draws, ok, complete = out.split()
    assert (chains, ok, complete) == ("1", "False", "False")
    fit = bh.load(tmp_path / "fit")
    usable_and_marked(fit)
    assert fit.posterior.sizes["draw"] == int(draws)
    assert not (tmp_path / "fit" / "sampling.zarr").exists()
