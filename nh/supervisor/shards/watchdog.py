"""Hang detection: kills a shard that is up and whose heartbeat in shared memory stands still.

The watchdog counts its own polls, it compares no clocks. So a supervisor that was itself stopped (a debugger,
a paused container, a host that slept) kills no shard when it resumes.
"""

import math
from collections.abc import Sequence
from typing import Final

from nh.loop import Loop, Timer
from nh.supervisor.shards.slot import ShardSlot

POLL_S: Final = 0.1
"""How often heartbeats are read; a shard publishes one every 0.5 s."""


class Watchdog:
    """Polls every shard, from construction to close().

    Args:
        loop: runs the timer.
        slots: the shards.
        hang_s: a heartbeat may stand still for so many seconds; 0: for ever.

    Attributes:
        hang_s: may change at any time.
    """

    def __init__(self, loop: Loop, slots: Sequence[ShardSlot], *, hang_s: float) -> None:
        self._loop = loop
        self._slots = slots
        self.hang_s = hang_s
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
            if slot.poll_heartbeat() >= most:
                slot.kill_hanging()
