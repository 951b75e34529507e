"""Publishes the supervisor's statistics in shared memory."""

import contextlib
import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nh.loop import Loop, Timer
from nh.stats import Segment, SupervisorStats, SupervisorWriter

PUBLISH_S: Final = 0.5
"""Seconds between two publications."""


class Publisher:
    """Publishes from construction to stop(), every PUBLISH_S seconds.

    Args:
        loop: runs the timer.
        segment: the shared memory.
        stats: what is published.
        update: brings `stats` up to date, before each publication.
    """

    def __init__(
        self, loop: Loop, segment: Segment, stats: SupervisorStats, update: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._writer = SupervisorWriter(segment)
        self._stats = stats
        self._update = update
        self._timer: Timer
        self._publish()

    def stop(self) -> None:
        """Stop publishing."""
        self._timer.cancel()

    def _publish(self) -> None:
        self._timer = self._loop.call_later(PUBLISH_S, self._publish)
        self._stats.heartbeat = time.monotonic()
        with contextlib.suppress(OSError):  # no descriptor left: the last value stays
            self._stats.memory_bytes = _resident_bytes()
        self._update()
        self._writer.publish(self._stats)


def _resident_bytes() -> int:
    """The memory of this process; read here, because loading psutil costs 30 ms of a start."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
