"""What a shard knows of itself as a process: CPU time, memory, and how late its loop is.

The loop proves itself alive by writing its heartbeat: no thread beside it could.
"""

import contextlib
import os
import time
from typing import Final

import psutil

from nh.loop import Loop
from nh.stats import ShardStats

BEAT_S: Final = 0.1
"""How often the loop's lateness is measured."""


class ProcessMeter:
    """Fills in the gauges of this process.

    Arguments:
        loop: whose lateness is measured.
        stats: where to write; its cpu_s goes on from what it is.
    """

    def __init__(self, loop: Loop, stats: ShardStats) -> None:
        self._loop = loop
        self._stats = stats
        self._process = psutil.Process()
        self._cpu_base_s = stats.cpu_s
        self._due = time.monotonic() + BEAT_S
        self._worst_lag_s = 0.0
        stats.pid = os.getpid()
        stats.started = time.time()
        loop.call_later(BEAT_S, self._beat)

    def update(self) -> None:
        """Bring the gauges up to date; the worst lateness begins anew."""
        stats = self._stats
        stats.cpu_s = self._cpu_base_s + time.process_time()
        stats.heartbeat = time.monotonic()
        # without a descriptor to look with, the last look stands: who fails here has no pulse and is killed
        with contextlib.suppress(OSError):
            stats.memory_bytes = self._process.memory_info().rss
        stats.loop_lag_s, self._worst_lag_s = self._worst_lag_s, 0.0
        # pinning is the supervisor's doing and may come after the start
        affinity = self._process.cpu_affinity() or []
        stats.cpu = affinity[0] if len(affinity) == 1 else -1

    def _beat(self) -> None:
        now = time.monotonic()
        self._worst_lag_s = max(self._worst_lag_s, now - self._due)
        self._due = now + BEAT_S
        self._loop.call_later(BEAT_S, self._beat)
