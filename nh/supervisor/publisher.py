"""Publishes the supervisor's statistics in shared memory."""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer
from nh.memory import resident_bytes
from nh.stats import Segment, SupervisorStats, SupervisorWriter

logger = logging.getLogger(__name__)

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
        self._segment = segment
        self._is_removed = False
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
        if self._segment.removed and not self._is_removed:
            self._is_removed = True
            logger.warning(
                "another program has removed /dev/shm/%s: `nh stats` has no statistics until `nh upgrade`"
                " makes them anew; calls go on",
                self._segment.name,
            )
