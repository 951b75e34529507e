"""Records of calls that the supervisor has not confirmed yet: the next supervisor gets what is left."""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_RECORDS: Final = 4096
"""Most records that wait for a supervisor; of more, the oldest are lost."""

MAX_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of these."""


class Unconfirmed(NamedTuple):
    """One record.

    Attributes:
        number: from 1, in the order of the ends.
        call_id: the call.
        record: see DropCall (nh.ipc.backup_messages).
    """

    number: int
    call_id: bytes
    record: bytes


class UnconfirmedRecords:
    """Numbers the records of one process, and has each until it is confirmed.

    Attributes:
        lost: how many were dropped for lack of room.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._waiting: deque[Unconfirmed] = deque()
        self._bytes = 0
        self._latest = 0

    def __iter__(self) -> Iterator[Unconfirmed]:
        return iter(self._waiting)

    def add(self, call_id: bytes, record: bytes) -> Unconfirmed:
        """Number a record, and keep it."""
        self._latest += 1
        added = Unconfirmed(self._latest, call_id, record)
        self._waiting.append(added)
        self._bytes += len(record)
        while len(self._waiting) > MAX_RECORDS or self._bytes > MAX_BYTES:
            self._drop_oldest()
            self.lost += 1
        return added

    def after(self, number: int) -> list[Unconfirmed]:
        """Those with higher numbers, in order."""
        return [each for each in self._waiting if each.number > number] if self._latest > number else []

    def confirm(self, number: int) -> None:
        """The supervisor has all records up to this number."""
        while self._waiting and self._waiting[0].number <= number:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._waiting.popleft().record)
