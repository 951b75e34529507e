"""Publishes the supervisor's statistics."""

import contextlib
import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nh.loop import Loop, Timer
from nh.stats import Segment, SupervisorStats, SupervisorWriter

PUBLISH_S: Final = 0.5
"""How often."""


class Publisher:
    """Publishes from construction to stop(), every PUBLISH_S seconds.

    Arguments:
        loop: runs its timer.
        segment: where to.
        stats: what is published.
        gather: brings `stats` up to date before that.
    """

    def __init__(
        self, loop: Loop, segment: Segment, stats: SupervisorStats, gather: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._writer = SupervisorWriter(segment)
        self._stats = stats
        self._gather = gather
        self._timer: Timer
        self._publish()

    def stop(self) -> None:
        """Publish no more."""
        self._timer.cancel()

    def _publish(self) -> None:
        self._timer = self._loop.call_later(PUBLISH_S, self._publish)
        self._stats.heartbeat = time.monotonic()
        with contextlib.suppress(OSError):  # without a descriptor to look with, the last look stands
            self._stats.memory_bytes = _resident_bytes()
        self._gather()
        self._writer.publish(self._stats)


def _resident_bytes() -> int:
    """The memory of this process; read here, because loading psutil costs 30 ms of a start."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
