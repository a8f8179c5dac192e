"""One progress bar for a fit: what is being done, how far it is, divergences, time left. Quiet when nobody watches."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bayeshte.sampler import Progress as Step


class Bar:
    """A context manager around `rich.progress`; `shown` is False where there is neither a terminal nor a notebook."""

    def __init__(self, wanted: bool = True):
        console = Console(stderr=not _in_notebook())
        self.shown = wanted and (console.is_terminal or console.is_jupyter)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self.shown,
        )
        self._task = self._progress.add_task("", total=None, note="")

    def __enter__(self):
        self._progress.start()
        return self

    def __exit__(self, *exc):
        self._progress.stop()

    def phase(self, text: str) -> None:
        """A step whose length is unknown."""
        self._progress.update(self._task, description=text, note="", total=None)

    def sampling(self, step: Step) -> None:
        """Progress of the sampler; called from its own thread."""
        note = f"{step.divergences} divergences" if step.divergences else ""
        self._progress.update(self._task, description="Sampling", total=step.total, completed=step.done, note=note)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules
