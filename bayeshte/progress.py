"""One progress bar for a fit: what is being done, how far it is, divergences, time left. Quiet when nobody watches."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bayeshte.sampler import Progress as Step


class Bar:
    """A context manager; `shown` is False where there is neither a terminal nor a notebook."""

    def __init__(self, wanted: bool = True):
        in_notebook = _in_notebook()
        console = Console(stderr=True)
        self.shown = wanted and (in_notebook or console.is_terminal)
        self._bar = _Notebook() if in_notebook and wanted else _Terminal(console, self.shown)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._bar.close()

    def phase(self, text: str) -> None:
        """A step whose length is unknown."""
        self._bar.show(text, None, None, "")

    def sampling(self, step: Step) -> None:
        """Progress of the sampler; called from its own thread."""
        self._bar.show("Sampling", step.done, step.total, f"{step.divergences} divergences" if step.divergences else "")


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; that its packages are imported is not enough."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"


class _Terminal:
    def __init__(self, console: Console, shown: bool):
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not shown,
        )
        self._task = self._progress.add_task("", total=None, note="")
        self._progress.start()

    def show(self, text, done, total, note):
        self._progress.update(self._task, description=text, completed=done, total=total, note=note)

    def close(self):
        self._progress.stop()


class _Notebook:
    """An HTML progress element; rich would need ipywidgets for its own."""

    def __init__(self):
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(""), display_id=True)

    def show(self, text, done, total, note):
        bar = "<progress></progress>" if total is None else f"<progress value='{done}' max='{total}'></progress>"
        self._handle.update(self._html(f"{text} {bar} {note}"))

    def close(self):
        self._handle.update(self._html(""))
