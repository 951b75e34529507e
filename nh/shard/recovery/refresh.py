"""Which calls have a snapshot for the store, and when: the rounds of a Checkpointer.

Every REFRESH_S begins a round over the calls whose turn it is. It saves some of them in each of its turns, so
that packets and commands wait for a millisecond at most.
"""

import math
import time
from collections.abc import Callable, Sequence, Set
from itertools import compress
from typing import Final

from nh.calls.table import CallTable
from nh.loop import Loop, until_next
from nh.shard.ticker import HOUSEKEEPING_S

REFRESH_S: Final = 10.0
"""Time between two refreshes of few calls, and the length of a round."""

FIRST_REFRESH_S: Final = 1.0
"""When the first refresh begins. A relay that is killed again and again in less than REFRESH_S would
otherwise never save that its calls are alive, and they would expire as silent in the end."""

SAVED_A_TURN: Final = 20
"""Snapshots in one turn of the loop: about a millisecond, as a batch of packets takes. Fewer would cost more
each, because a turn's first two cost as much as six others: then the caches have what they need."""

TURN_S: Final = 0.1
"""Least time between two turns of a round, of which it is a multiple.

Above HOUSEKEEPING_S it is a multiple of that: turns that follow housekeeping need no wake-up of their own,
and those of all shards are so close to each other that the store writes their snapshots at once."""

EARLY_S: Final = 0.05
"""A turn is no earlier than its time by more than this."""

FIRST_TURN_S: Final = 0.02
"""Time between two turns of the first round."""

SNAPSHOTS_A_ROUND: Final = 200
"""At most about so many calls are refreshed in a round; the others have their turn in another."""


class RefreshRounds:
    """Refreshes the calls of one table in rounds.

    Args:
        table: the calls.
        refresh: refreshes these calls (call-ids, monotonic seconds), SAVED_A_TURN at most.
    """

    def __init__(self, table: CallTable, refresh: Callable[[Sequence[bytes], float], None]) -> None:
        self._table = table
        self._refresh = refresh
        self._begun = 0
        self._began_at = time.monotonic() - REFRESH_S + FIRST_REFRESH_S
        self._left: list[bytes] = []  # of this round
        self._turn_s = FIRST_TURN_S
        self._turn_at = math.inf  # the next turn that follows housekeeping

    @property
    def snapshot_every(self) -> int:
        """Of how many rounds a call has its turn in one: a power of two.

        So a call whose turn it is once in 8 rounds has it once in 4, too: no call misses its turn because the
        number of calls changes.
        """
        return 1 << (max(0, len(self._table) - 1) // SNAPSHOTS_A_ROUND).bit_length()

    def housekeeping(self, loop: Loop, now: float, outdated: Set[bytes]) -> None:
        """Begin what is due, behind the packets that wait; to be called every HOUSEKEEPING_S.

        Args:
            loop: runs the turns.
            now: monotonic seconds.
            outdated: calls that are in the next round, whosever turn it is.
        """
        if not self._left and now - self._began_at >= REFRESH_S:
            self._begin(now, outdated)
        if self._left and now >= self._turn_at:
            self._turn_at = math.inf
            loop.call_later(0, lambda: self._take_turn(loop))

    def _begin(self, now: float, outdated: Set[bytes]) -> None:
        self._began_at = self._turn_at = now
        self._begun += 1
        every = self.snapshot_every
        turn = self._begun % every
        ids = list(self._table.call_ids)
        # without a step in Python for each call, as there may be ten thousand
        due = set(compress(ids, map(turn.__eq__, map((every - 1).__and__, map(hash, ids)))))
        self._left = list(due | outdated)
        if self._begun > 1:
            self._turn_s = _turn_s(turns=math.ceil(len(self._left) / SAVED_A_TURN))

    def _take_turn(self, loop: Loop) -> None:
        now = time.monotonic()
        some = self._left[-SAVED_A_TURN:]
        # first: a call that fails must not keep the others from being saved for ever
        del self._left[-SAVED_A_TURN:]
        if self._left:
            if self._turn_s < HOUSEKEEPING_S:
                loop.call_later(until_next(self._turn_s, now=now), lambda: self._take_turn(loop))
            else:  # at the nearest housekeeping to the next of these times
                self._turn_at = now + until_next(self._turn_s, now=now + EARLY_S)
        self._refresh(some, now)


def _turn_s(*, turns: int) -> float:
    """Time between two turns of a round that has so many."""
    longest_s = REFRESH_S / max(1, turns)
    unit_s = HOUSEKEEPING_S if longest_s >= HOUSEKEEPING_S else TURN_S
    return max(1, longest_s // unit_s) * unit_s
