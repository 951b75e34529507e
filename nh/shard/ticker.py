"""A shard's life under a loop: packets are served, and now and then everything is looked at.

What is done at a look or a tick is the helper's business (nh.shard.relay); here is when.
"""

import time
from collections.abc import Callable
from typing import Final

from nh.loop import Loop, Timer
from nh.shard.media.pacing import Pacer
from nh.shard.media.poll import MediaPoll

TICK_S: Final = 0.5
"""How often sessions expire and statistics are brought up to date."""

LOOK_S: Final = 0.05
"""How often the next few sessions are looked at."""


class Ticker:
    """Serves a media poll on a loop, from construction to stop().

    Arguments:
        loop: see Loop.
        poll: what is served.
        coalesce_s: see Pacer.
        look: called every LOOK_S with monotonic seconds.
        tick: called every TICK_S, after a look, with monotonic seconds.
    """

    def __init__(
        self,
        loop: Loop,
        poll: MediaPoll,
        *,
        coalesce_s: float,
        look: Callable[[float], None],
        tick: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._look_at = look
        self._tick = tick
        self._pacer = Pacer(loop, poll, coalesce_s=coalesce_s)
        self._next_tick = time.monotonic() + TICK_S
        self._timer: Timer | None = loop.call_later(LOOK_S, self._look)

    def stop(self) -> None:
        """Serve nothing any more; what arrives waits in the sockets. A second one does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._pacer.close()

    def _look(self) -> None:
        if self._timer is None:
            return
        self._timer = self._loop.call_later(LOOK_S, self._look)
        now = time.monotonic()
        self._look_at(now)
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self._tick(now)
