"""Compiled log densities: each function is compiled once on a machine and takes all data and structure as tables."""

import hashlib
from contextlib import suppress
from pathlib import Path


def forget_stale(here: Path) -> None:
    """Delete the compiled functions of a folder if any of its kernels has changed since they were compiled.

    numba looks at the file of a function only. A callback whose own file is as it was would go on calling what the other files
    were, with tables laid out for what they are.
    """
    cache, sources = here / "__pycache__", hashlib.sha256()
    for path in sorted(here.glob("*.py")):
        sources.update(path.read_bytes())
    mark = cache / "kernels.sha256"
    if mark.is_file() and mark.read_text() == sources.hexdigest():
        return
    with suppress(OSError):  # a folder that cannot be written to holds nothing that was compiled
        for path in cache.glob("*.nb[ci]"):
            path.unlink(missing_ok=True)
        cache.mkdir(exist_ok=True)
        mark.write_text(sources.hexdigest())


forget_stale(Path(__file__).parent)
