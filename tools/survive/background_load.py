"""A load (tools.rtpload) that plays while something is done to the relay: in processes of its own.

The coordinator runs in a thread of this process; media come from workers, which neither that thread nor
the fault holds up.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final

from tools.rtpload.coordinator.load import Load, Progress
from tools.rtpload.options import LoadOptions
from tools.rtpload.report.values import Report

UP_S: Final = 30.0
END_S: Final = 60.0


class BackgroundLoad:
    """One load, in a thread of its own. It plays until `stop`, or until its time is over.

    Args:
        options, on_progress: see run_load().
    """

    def __init__(self, options: LoadOptions, on_progress: Callable[[Progress], None] | None = None) -> None:
        self._load = Load(options, self._watch)
        self._on_progress = on_progress
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Report] | None = None
        self._up = threading.Event()
        self._report: Report | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()

    def wait_until_up(self, within_s: float = UP_S) -> None:
        """Return once all calls have been tried. Raises what the load raised, TimeoutError if it takes too
        long."""
        if not self._up.wait(within_s):
            raise TimeoutError(f"the calls are not up after {within_s:g} s")
        if self._error is not None:
            raise self._error

    @property
    def over(self) -> bool:
        """Whether it has ended by itself."""
        return not self._thread.is_alive()

    def stop(self) -> Report:
        """End the calls; what came of the load. Raises what it raised."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop may end at this very moment
                self._loop.call_soon_threadsafe(self._load.stop)
        self._thread.join(END_S)
        if self._error is not None:
            raise self._error
        if self._report is None:
            self.abandon()
            raise TimeoutError(f"the calls have not ended within {END_S:g} s")
        return self._report

    def abandon(self) -> None:
        """End it at once, without a report, whatever becomes of the calls."""
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(END_S)

    def _run(self) -> None:
        try:
            self._report = asyncio.run(self._play())
        except asyncio.CancelledError:
            pass  # it was abandoned
        except Exception as exc:  # whatever it is, it is the caller's to know
            self._error = exc
        finally:
            self._up.set()

    async def _play(self) -> Report:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        return await self._load.run()

    def _watch(self, progress: Progress) -> None:
        if progress.phase != "ramp":
            self._up.set()
        if self._on_progress is not None:
            self._on_progress(progress)


@contextlib.contextmanager
def background_load(
    options: LoadOptions, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[BackgroundLoad]:
    """A load that ends with the context, at the latest; it is abandoned if it was not stopped."""
    load = BackgroundLoad(options, on_progress)
    try:
        yield load
    finally:
        load.abandon()
