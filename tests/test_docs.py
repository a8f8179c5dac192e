"""The code in the documentation runs, page by page, in a folder of its own."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "page",
    [
        "guide.md",
        pytest.param("sem.md", marks=pytest.mark.slow),
        pytest.param("categorical.md", marks=pytest.mark.slow),
        pytest.param("item-response.md", marks=pytest.mark.slow),
        pytest.param("item-analysis.md", marks=pytest.mark.slow),
        pytest.param("effect-mixture.md", marks=pytest.mark.slow),
        "from-mplus.md",
        "new-family.md",
    ],
)
def test_code_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    names = {"__name__": page}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    plt.close("all")


def test_every_public_name_has_a_docstring():
    import bayeshte as bh

    for name in bh.__all__:
        assert (getattr(bh, name).__doc__ or "").strip(), name
