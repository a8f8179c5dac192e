"""Shared fixtures."""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import bayeshte as bh
from bayeshte import cli

sys.path.insert(0, str(Path(__file__).parent))
from cases import ONE_PATH


@pytest.fixture
def fast(monkeypatch):
    """Without figures and report, which have tests of their own."""

    def gather(fit):
        figure, _ = plt.subplots()
        plt.close(figure)
        shown = {"posterior_gamma1[small]": figure}
        return SimpleNamespace(fit=fit, summary=bh.summary(fit), effects=bh.effects(fit), figures=shown)

    monkeypatch.setattr(cli, "gather", gather)
    monkeypatch.setattr(cli, "write", lambda m, path: path.write_text(m.fit.diagnosis.verdict))
    monkeypatch.setattr(cli, "write_report", lambda fit, path: path.write_text(fit.diagnosis.verdict))


@pytest.fixture
def trial(tmp_path):
    """An input of one level beside its data."""
    rng = np.random.default_rng(0)
    x, m = rng.normal(size=(2, 60))
    y = x + m + rng.normal(size=60)
    y[:5] = -99
    np.savetxt(tmp_path / "trial.dat", np.column_stack([np.arange(60), y, x, m]), fmt="%.6f")
    (tmp_path / "one.inp").write_text(ONE_PATH)
    return tmp_path / "one.inp"
