"""What is shown while a load runs: a line that moves on a terminal, nothing elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from tools.rtpload.coordinator.load import Progress

_NAMES = {"ramp": "setting up", "load": "full load", "end": "tearing down"}


class Display:
    """A context manager.

    Args:
        console: where it is shown.
        calls: how many there shall be at once.
    """

    def __init__(self, console: Console, calls: int) -> None:
        columns = (TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        self._bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._calls = calls
        self._task = self._bars.add_task("starting", total=1.0, figures="")

    def show(self, progress: Progress) -> None:
        """How it stands."""
        if progress.phase == "ramp":
            done = progress.calls_up / self._calls
        else:
            done = progress.elapsed_s / progress.total_s
        figures = (
            f"{progress.calls_up} calls, {progress.sent} sent, {progress.received} received,"
            f" p99 {progress.latency_p99_ms:.2f} ms, late {progress.lateness_p99_ms:.2f} ms"
        )
        if progress.failures:
            figures += f", [red]{progress.failures} failures[/red]"
        self._bars.update(self._task, completed=done, description=_NAMES[progress.phase], figures=figures)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
