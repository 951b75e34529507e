"""Publishes the supervisor's statistics in shared memory."""

import contextlib
import time
from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer
from nh.memory import resident_bytes
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
        self._stopped = False
        self._tick()

    def stop(self) -> None:
        """Stop publishing: the statistics are the next supervisor's."""
        self._stopped = True
        self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(PUBLISH_S, self._tick)
        self.publish()

    def publish(self) -> None:
        """Publish now, as well. No effect after stop()."""
        if self._stopped:
            return
        self._stats.heartbeat = time.monotonic()
        with contextlib.suppress(OSError):  # no descriptor left: the last value stays
            self._stats.memory_bytes = resident_bytes()
        try:
            self._update()
        finally:  # a bug there must not stop the heartbeat
            self._writer.publish(self._stats)
