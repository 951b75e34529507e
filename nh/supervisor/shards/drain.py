"""Drain: the relay refuses new calls, keeps the ones it has, and ends after the last one.

It also refuses new calls while its store is away, if the setting `state_away` says so, and does not end then.
The supervisor sends RefuseNewCalls; each shard replies NoCallsLeft after its last call. Which call-ids are
new is decided in the shards (nh.calls.table).
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Final

from nh.errors import Refused
from nh.ipc.link_messages import RefuseNewCalls, TakeNewCalls
from nh.loop import Loop, Timer
from nh.stats.layout import SupervisorStats
from nh.supervisor.shards.slot import ShardSlot

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
"""After so long a message is sent again to a shard that did not read."""


class DrainPolicy:
    """Whether the relay drains, and which shards still have calls.

    Args:
        loop: runs the timers.
        slots: the shards.
        stats: where the drain is published.
        on_over: called once, with the reason, when no call is left or the time limit is over.
        on_change: called when the relay begins to refuse new calls, and when it takes them again.
    """

    def __init__(
        self,
        loop: Loop,
        slots: Sequence[ShardSlot],
        *,
        stats: SupervisorStats,
        on_over: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._slots = slots
        self._stats = stats
        self._on_over = on_over
        self._on_change = on_change
        self._round = 0  # a reply of an earlier round, before the drain was taken back, does not count
        self._limit: Timer | None = None
        self._over = False
        for slot in slots:
            slot.events.up.append(self._on_up)
            slot.events.no_calls_left.append(self._on_no_calls_left)

    @property
    def draining(self) -> bool:
        """Whether new calls are refused."""
        return bool(self._stats.draining)

    @property
    def refusing(self) -> bool:
        """Whether new calls are refused, for a drain or because the store is away."""
        return self.draining or bool(self._stats.store_refuses)

    @property
    def calls(self) -> int:
        """Number of calls, of which each shard reports the beginning and the end before it replies."""
        return sum(slot.recovery.backup.call_count for slot in self._slots)

    @property
    def left_s(self) -> float | None:
        """Seconds until the drain ends with calls left; None: it has no time limit."""
        if not self._stats.drain_deadline:
            return None
        return max(0.0, self._stats.drain_deadline - self._loop.now())

    def begin(self, limit_s: float | None) -> None:
        """Refuse new calls. If they are refused already, only the time limit changes.

        Args:
            limit_s: seconds until the drain ends with calls left; None: no limit.
        """
        self._set_limit(limit_s)
        if not self.draining:
            logger.info("draining: new calls are refused; nh ends after its last call")
            self._stats.draining = 1
            self._round += 1
            self._tell_all()
            self._on_change()

    def take_back(self) -> None:
        """Take new calls again; no effect if they are taken. Raises Refused if the drain is over."""
        if self._over:
            raise Refused("the drain is over and nh is ending; start it anew")
        self._set_limit(None)
        if self.draining:
            logger.info("drain taken back: new calls are taken")
            self._stats.draining = 0
            self._tell_all()
            self._on_change()

    def refuse_without_store(self, refuse: bool) -> None:
        """Refuse new calls because the store is away, or no longer for that reason.

        Args:
            refuse: whether the store is away, and new calls are refused for that.
        """
        if refuse != bool(self._stats.store_refuses):
            self._stats.store_refuses = int(refuse)
            logger.warning(
                "the store %s", "is away: new calls are refused" if refuse else "works: new calls are taken"
            )
            self._tell_all()
            self._on_change()

    def _on_up(self, slot: ShardSlot) -> None:
        if self.refusing:  # the new process does not know
            self._tell(slot)

    def _on_no_calls_left(self, _slot: ShardSlot) -> None:
        if self.draining and all(slot.drain_round == self._round for slot in self._slots):
            self._end("no call is left")

    def _set_limit(self, limit_s: float | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        self._stats.drain_deadline = 0.0
        if limit_s is not None:
            self._stats.drain_deadline = self._loop.now() + limit_s
            self._limit = self._loop.call_later(limit_s, lambda: self._end("its limit is over"))

    def _tell_all(self) -> None:
        for slot in self._slots:
            self._tell(slot)

    def _tell(self, slot: ShardSlot) -> None:
        # no drain has round 0, so a shard that is empty while only the store is away ends nothing
        refuse = RefuseNewCalls(self._round if self.draining else 0)
        message = refuse if self.refusing else TakeNewCalls()
        if not slot.tell(message):
            self._loop.call_later(RETRY_S, functools.partial(self._tell, slot))

    def _end(self, why: str) -> None:
        if not self._over:
            self._over = True
            self._on_over(why)
