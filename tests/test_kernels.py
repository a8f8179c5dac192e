"""What was compiled is thrown away with the sources that it was compiled from; one compiles at a time."""

from threading import Thread

import pytest

from bayeshte.marginal import kernels
from bayeshte.marginal.kernels import LOCK, forget_stale


def test_compiled_functions_of_other_sources_are_deleted(tmp_path):
    source, compiled = tmp_path / "kernel.py", tmp_path / "__pycache__" / "kernel.f-1.py313.nbi"

    def compile_again():
        compiled.write_bytes(b"")
        forget_stale(tmp_path)
        return compiled.exists()

    compiled.parent.mkdir()
    source.write_text("one")
    assert not compile_again(), "of unknown sources"
    assert compile_again(), "of these sources"
    source.write_text("two")
    assert not compile_again(), "of other sources"
    assert compile_again()


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "__pycache__").write_text("a file where the folder should be")
    forget_stale(tmp_path)


def test_who_comes_second_waits():
    waiting = Thread(target=lambda: kernels.__getattr__("counts"))
    with LOCK:
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(60)
    assert not waiting.is_alive()
    assert not LOCK.is_locked


def test_what_is_no_kernel():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kernels.nothing  # noqa: B018
