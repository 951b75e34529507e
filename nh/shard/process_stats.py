"""Process statistics of a shard: CPU time, memory, heartbeat, and how late its loop is.

The loop itself writes the heartbeat: a heartbeat from a thread would hide a loop that hangs.
"""

import contextlib
import os
import time
from typing import Final

from nh.loop import Loop
from nh.memory import resident_bytes
from nh.stats import ShardStats

BEAT_S: Final = 0.25
"""How often the lateness of the loop is measured."""


class ProcessMeter:
    """Fills in the gauges of this process.

    Args:
        loop: the loop whose lateness is measured.
        stats: where to write; `cpu_s` goes on from its present value.
    """

    def __init__(self, loop: Loop, stats: ShardStats) -> None:
        self._loop = loop
        self._stats = stats
        self._cpu_base_s = stats.cpu_s
        self._due = time.monotonic() + BEAT_S
        self._worst_lag_s = 0.0
        stats.pid = os.getpid()
        stats.started = time.time()
        loop.call_later(BEAT_S, self._beat)

    def update(self) -> None:
        """Bring the gauges up to date, and measure the worst lateness of the loop anew."""
        stats = self._stats
        stats.cpu_s = self._cpu_base_s + time.process_time()
        stats.heartbeat = time.monotonic()
        # without a descriptor for /proc the last value stays: an error here would stop the heartbeat
        with contextlib.suppress(OSError):
            stats.memory_bytes = resident_bytes()
        stats.loop_lag_s, self._worst_lag_s = self._worst_lag_s, 0.0
        # the supervisor pins the process, maybe after its start
        affinity = os.sched_getaffinity(0)
        stats.cpu = min(affinity) if len(affinity) == 1 else -1

    def _beat(self) -> None:
        now = time.monotonic()
        lag_s = max(0.0, now - self._due)
        self._worst_lag_s = max(self._worst_lag_s, lag_s)
        self._stats.loop_late_s.observe(lag_s)
        # at no time of the other work, or it would measure how long that takes
        self._due = now + BEAT_S
        self._loop.call_later(BEAT_S, self._beat)
