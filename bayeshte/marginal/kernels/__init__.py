"""Compiled log densities: each function is compiled once on a machine and takes all data and structure as tables."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

from filelock import FileLock

HERE = Path(__file__).parent
LOCK = FileLock(HERE / "__pycache__" / "compiling.lock")


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


def __getattr__(name: str) -> ModuleType:
    """A kernel, compiled by one process at a time: the others wait for it and find it compiled.

    Two that compile different signatures of one function at once would each write it to the same file of numba's cache.
    """
    if not (HERE / f"{name}.py").is_file():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _alone():
        return import_module(f"{__name__}.{name}")


@contextmanager
def _alone() -> Iterator[None]:
    held = ExitStack()
    with suppress(OSError):  # a folder that cannot be written to has no cache to spoil
        held.enter_context(LOCK)
    with held:
        yield


with _alone():
    forget_stale(HERE)
