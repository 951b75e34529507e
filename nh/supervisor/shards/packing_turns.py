"""When snapshots are packed: in short turns between commands, a few snapshots in each.

The room that the snapshots have left, and the start of the supervisor, goes back to the system (nh.memory).
"""

import logging
from collections.abc import Sequence
from typing import Final

from nh.loop import Loop
from nh.memory import give_back_free_pages
from nh.printable import counted
from nh.supervisor.shards.slot import ShardSlot

logger = logging.getLogger(__name__)

PAUSE_S: Final = 0.01
"""Time for commands between two turns."""

TRIM_AFTER_S: Final = 10.0
"""Seconds from the first snapshot that was packed to when the room of all since then is given back."""

STARTED_AFTER_S: Final = 1.0
"""Seconds from the first turn to when the room is given back that the start has left."""


class PackingTurns:
    """Packs the snapshots in the backups of all shards.

    Args:
        loop: runs the turns.
        slots: the shards.
    """

    def __init__(self, loop: Loop, slots: Sequence[ShardSlot]) -> None:
        self._loop = loop
        self._slots = slots
        self._next = 0  # the shard whose turn it is
        self._goes_on = False
        self._started = False
        self._trim_at: float | None = None

    def begin(self) -> None:
        """Pack what is old enough, a few at once and the rest in later turns. Call it twice a second."""
        if not self._started:
            self._started = True
            self._trim_at = self._loop.now() + STARTED_AFTER_S
        if not self._goes_on:
            self._turn()
        if self._trim_at is not None and self._loop.now() >= self._trim_at:
            self._trim_at = None
            give_back_free_pages()

    def _turn(self) -> None:
        self._goes_on = False  # a snapshot that cannot be packed must not keep the others from it
        now = self._loop.now()
        backups = [slot.recovery.backup for slot in self._slots]
        in_turn = backups[self._next :] + backups[: self._next]
        self._next = (self._next + 1) % len(backups)  # a shard with many calls to pack keeps no other waiting
        before = sum(backup.packed for backup in backups)
        self._goes_on = any(backup.pack(now) for backup in in_turn)
        packed = sum(backup.packed for backup in backups) - before
        if packed:
            logger.debug("backup: %s packed", counted(packed, "snapshot"))
            self._trim_at = self._trim_at or now + TRIM_AFTER_S
        if self._goes_on:
            self._loop.call_later(PAUSE_S, self._turn)
