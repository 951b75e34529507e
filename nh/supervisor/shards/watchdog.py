"""Hang detection: kills a shard that is up and whose heartbeat in shared memory stands still.

The watchdog counts its own polls, it compares no clocks. So a supervisor that was itself stopped (a debugger,
a paused container, a host that slept) kills no shard when it resumes.

A shard that waits for a CPU does not hang. So a shard that is runnable is killed only if it has had the CPU
meanwhile; see nh.supervisor.host.cpu_use.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop, Timer
from nh.supervisor.host.cpu_use import CpuUse, cpu_use
from nh.supervisor.shards.slot import ShardSlot

logger = logging.getLogger(__name__)

POLL_S: Final = 0.25
"""How often heartbeats are read; a shard publishes one every 0.5 s."""

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about shards that wait for a CPU."""


class Watchdog:
    """Polls every shard, from construction to close().

    Args:
        loop: runs the timer.
        slots: the shards.
        hang_s: a heartbeat may stand still for so many seconds; 0: for ever.
        read_cpu_use: returns the CPU use of a process.

    Attributes:
        hang_s: may change at any time.
    """

    def __init__(
        self,
        loop: Loop,
        slots: Sequence[ShardSlot],
        *,
        hang_s: float,
        read_cpu_use: Callable[[int], CpuUse] = cpu_use,
    ) -> None:
        self._loop = loop
        self._slots = slots
        self.hang_s = hang_s
        self._read_cpu_use = read_cpu_use
        self._starved = RateLimitedLogger(logger, loop.now, LOG_INTERVAL_S)
        # of shards that may hang, when half of the time was over; later, if `hang_s` has changed meanwhile
        self._uses: dict[ShardSlot, CpuUse] = {}
        self._timer: Timer | None = loop.call_later(POLL_S, self._poll)

    def close(self) -> None:
        """Stop polling."""
        if self._timer is not None:
            self._timer.cancel()

    def _poll(self) -> None:
        self._timer = self._loop.call_later(POLL_S, self._poll)
        if not self.hang_s:
            return
        most = math.ceil(self.hang_s / POLL_S)
        for slot in self._slots:
            unchanged = slot.poll_heartbeat()
            if not unchanged:
                self._uses.pop(slot, None)
            elif unchanged == math.ceil(most / 2):
                self._uses[slot] = self._read_cpu_use(slot.pid)
            elif unchanged >= most and not self._is_starved(slot, is_news=unchanged == most):
                slot.kill_hanging()

    def _is_starved(self, slot: ShardSlot, *, is_news: bool) -> bool:
        """Whether a shard that shows no life waits for a CPU, and has hardly had one.

        Args:
            slot: the shard.
            is_news: whether to log it.
        """
        use = self._read_cpu_use(slot.pid)
        starved = use.is_starved(self._uses.setdefault(slot, use), self.hang_s)
        if starved and is_news:
            self._starved.log(
                logging.WARNING,
                "shard %d (pid %d) shows no life for %g s because it waits for a CPU: it goes on; give this"
                " host less other work, or nh CPUs of its own",
                *(slot.number, slot.pid, self.hang_s),
            )
        return starved
