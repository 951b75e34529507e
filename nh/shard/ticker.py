"""Ticker: a relay's periodic work on its loop, beside the packets.

What the work is, is the relay's (nh.shard.relay); the module knows when it is due.
"""

import time
from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer, until_next
from nh.shard.media.pacing import Pacer
from nh.shard.media.poll import MediaPoll

HOUSEKEEPING_S: Final = 0.5
"""How often sessions expire and statistics are brought up to date."""

WATCH_S: Final = 0.1
"""How often the media plane looks at the next part of what tells of no change, while there is much of it."""


class Ticker:
    """Serves a media poll on a loop, from construction to stop().

    Args:
        loop: the loop.
        poll: the media sockets to serve.
        coalesce_s: see Pacer.
        watch: called every WATCH_S with monotonic seconds, and only with each housekeeping after it has
            returned False: there is little to look at.
        housekeeping: called every HOUSEKEEPING_S, after `watch`, with monotonic seconds.
    """

    def __init__(
        self,
        loop: Loop,
        poll: MediaPoll,
        *,
        coalesce_s: float,
        watch: Callable[[float], bool],
        housekeeping: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._watch = watch
        self._housekeeping = housekeeping
        self._pacer = Pacer(loop, poll, coalesce_s=coalesce_s)
        now = time.monotonic()
        self._housekeeping_due = now + until_next(HOUSEKEEPING_S, now=now)
        self._timer: Timer | None = loop.call_later(until_next(WATCH_S, now=now), self._tick)

    def stop(self) -> None:
        """Stop serving: packets wait in the sockets. A second stop() does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._pacer.close()

    def _tick(self) -> None:
        if self._timer is None:
            return
        now = time.monotonic()
        period_s = WATCH_S
        try:
            if not self._watch(now):
                period_s = HOUSEKEEPING_S
        finally:  # a bug that one socket meets must not end the work for all
            self._timer = self._loop.call_later(until_next(period_s, now=now), self._tick)
        nearest = now + WATCH_S / 2  # for the nearest tick to what is due
        if nearest >= self._housekeeping_due:
            self._housekeeping_due = nearest + until_next(HOUSEKEEPING_S, now=nearest)
            self._housekeeping(now)
