"""What was compiled is thrown away with the sources that it was compiled from."""

from bayeshte.marginal.kernels import forget_stale


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
