"""Finds shards that hang: their heartbeat in shared memory stands still although they are up.

No clocks are compared: looks are counted at which the heartbeat was the same as before. So a supervisor that
was itself stopped (a debugger, a paused container, a host that sleeps) does not take the shards for dead when
it goes on.
"""

import math
from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer

LOOK_S: Final = 0.1
"""How often heartbeats are looked at; a shard publishes one every 0.5 s."""


class Watchdog:
    """Looks at every shard from construction to close().

    Arguments:
        loop: runs its timer.
        shards: how many there are.
        heartbeat: the latest heartbeat of a shard, 0.0 for one that never published; None: not to be looked
            at now, because it is not up.
        hang_s: how long a heartbeat may stand still; 0: for ever.
        on_hang: called with the shard's number when it did not move for that long, and again after as long.
    """

    def __init__(
        self,
        loop: Loop,
        shards: int,
        heartbeat: Callable[[int], float | None],
        *,
        hang_s: float,
        on_hang: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._heartbeat = heartbeat
        self._on_hang = on_hang
        self._most = math.ceil(hang_s / LOOK_S)
        self._seen: list[float | None] = [None] * shards
        self._still = [0] * shards
        self._timer: Timer | None = None
        if hang_s:
            self._timer = loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        for shard, seen in enumerate(self._seen):
            heartbeat = self._heartbeat(shard)
            self._seen[shard] = heartbeat
            # one that never published cannot be told from one that hangs: a shard publishes before it is up
            if not heartbeat or heartbeat != seen:
                self._still[shard] = 0
                continue
            self._still[shard] += 1
            if self._still[shard] >= self._most:
                self._still[shard] = 0
                self._on_hang(shard)
