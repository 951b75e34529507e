"""Drain: the relay takes no new calls, goes on with those that it has, and ends when the last one is gone.

Which call-ids are new is for the shards to say (nh.calls.table); here is kept which shards have no call
left, and when all is over. Shards are told through a function, so that nothing here knows processes.
"""

import functools
import logging
from collections.abc import Callable
from typing import Final

from nh.errors import Refused
from nh.ipc.link_messages import RefuseNewCalls, TakeNewCalls
from nh.loop import Loop, Timer
from nh.stats.layout import SupervisorStats

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
"""When a shard is told again that did not read."""

Tell = Callable[[int, RefuseNewCalls | TakeNewCalls], bool]
"""Tells a shard (by number); False if it does not read now. One that is not up need not be told."""


class Drain:
    """Whether the relay drains, and how far it is.

    Arguments:
        loop: what runs its timers.
        shards: how many there are, 1 or more.
        tell: see Tell.
        stats: where it is shown.
        on_over: called once, with words for why, when no call is left or the limit is over.
        on_change: called when new calls begin to be refused, and when they are taken again.
    """

    def __init__(
        self,
        loop: Loop,
        shards: int,
        tell: Tell,
        *,
        stats: SupervisorStats,
        on_over: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._shards = shards
        self._tell_shard = tell
        self._stats = stats
        self._on_over = on_over
        self._on_change = on_change
        # what a shard says of an earlier round, before the drain was taken back, does not count
        self._round = 0
        self._empty: set[int] = set()
        self._limit: Timer | None = None
        self._over = False

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return bool(self._stats.draining)

    @property
    def left_s(self) -> float | None:
        """Seconds until it is over whatever calls are left; None: no such limit."""
        if not self._stats.drain_ends:
            return None
        return max(0.0, self._stats.drain_ends - self._loop.now())

    def begin(self, limit_s: float | None) -> None:
        """Have new calls refused; if that is so already, only the limit changes.

        Arguments:
            limit_s: seconds until it is over whatever calls are left; None: no such limit.
        """
        self._set_limit(limit_s)
        if not self.draining:
            logger.info("draining: new calls are refused, and nh ends with the last one that it has")
            self._stats.draining = 1
            self._round += 1
            self._empty.clear()
            self._tell_all()
            self._on_change()

    def take_back(self) -> None:
        """Have new calls taken again; no effect if they are. Raises Refused if the drain is over."""
        if self._over:
            raise Refused("the drain is over and nh is ending; start it anew")
        self._set_limit(None)
        if self.draining:
            logger.info("not draining any more: new calls are taken")
            self._stats.draining = 0
            self._tell_all()
            self._on_change()

    def shard_is_up(self, shard: int) -> None:
        """A shard serves calls; it knows nothing of a drain yet."""
        if self.draining:
            self._empty.discard(shard)
            self._tell(shard)

    def shard_is_empty(self, shard: int, drain_round: int) -> None:
        """A shard says that it has no calls left, in a round of RefuseNewCalls."""
        if self.draining and drain_round == self._round:
            self._empty.add(shard)
            if len(self._empty) == self._shards:
                self._end("no call is left")

    def _set_limit(self, limit_s: float | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        self._stats.drain_ends = 0.0
        if limit_s is not None:
            self._stats.drain_ends = self._loop.now() + limit_s
            self._limit = self._loop.call_later(limit_s, lambda: self._end("its limit is over"))

    def _tell_all(self) -> None:
        for shard in range(self._shards):
            self._tell(shard)

    def _tell(self, shard: int) -> None:
        message = RefuseNewCalls(self._round) if self.draining else TakeNewCalls()
        if not self._tell_shard(shard, message):
            self._loop.call_later(RETRY_S, functools.partial(self._tell, shard))

    def _end(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._on_over(why)
