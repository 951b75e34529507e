"""The warm copy: what a standby knows of a group of calls, kept equal to the records on the server. No I/O.

Records are the truth and the stream only says which of them changed, so what comes twice or late does no
harm. What was missed shows in three ways: numbers of entries that do not follow each other, the number of
writes, and the number of calls. Then all records are read again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.valkey.record import decode, head

NOWHERE: Final = (0, 0)


class Position(NamedTuple):
    """A place in the stream of changes.

    Attributes:
        epoch: of the relay that wrote.
        number: of its write; 0: before the first one.
    """

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.number}"


class Changes(NamedTuple):
    """What a server says of a group at one moment.

    Attributes:
        at: the relay's latest write.
        calls: the number of calls.
        entries: ids of the entries of the stream that follow the copy's position, perhaps not all of them.
        records: by call-id of these entries: the record as it is now; None: there is none.
    """

    at: Position
    calls: int
    entries: Sequence[Position]
    records: Mapping[bytes, bytes | None]


class WarmCopy:
    """The calls of a group.

    Attributes:
        position: the last write that the copy has.
        is_whole: whether the copy equals the records as they were at `position`.
        damaged: call-ids whose records are damaged, or of another version.
    """

    def __init__(self) -> None:
        self.position = Position(*NOWHERE)
        self.is_whole = False
        self.damaged: set[bytes] = set()
        self._calls: dict[bytes, StoredCall] = {}
        self._heads: dict[bytes, bytes] = {}

    @property
    def calls(self) -> Mapping[bytes, StoredCall]:
        """The calls, by call-id."""
        return self._calls

    @property
    def heads(self) -> Mapping[bytes, bytes]:
        """Version and checksum of each call's record, by call-id."""
        return self._heads

    def replace(self, at: Position, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Take all records, which were read after the write `at`; later writes may be in some of them."""
        self._calls, self._heads, self.damaged = {}, {}, set()
        for call_id, record in records:
            self._take(call_id, record)
        self.position = at
        self.is_whole = True

    def apply(self, changes: Changes) -> bool:
        """Take changes.

        Returns:
            Whether the copy follows them without a gap. If not, it is not whole.
        """
        if changes.at < self.position:  # an answer that is late, or a server that has lost writes
            self.is_whole = False
            return False
        for call_id, record in changes.records.items():
            self._take(call_id, record)
        for entry in changes.entries:
            if entry > self.position:  # otherwise it came before, and was taken again
                self.is_whole &= entry == Position(self.position.epoch, self.position.number + 1)
                self.position = entry
        if not changes.entries:  # the copy has all that the server has
            self.is_whole &= self.position == changes.at
        if self.position == changes.at:
            self.is_whole &= changes.calls == len(self._heads) + len(self.damaged)
        return self.is_whole

    def is_ahead_of(self, at: Position) -> bool:
        """Whether the copy has all calls as they were after a later write of the same relay than `at`.

        So it is after a failover to a replica that lacks the last writes.
        """
        return self.is_whole and self.position.epoch == at.epoch and self.position.number > at.number

    def equals(self, at: Position) -> bool:
        """Whether the copy has all calls as they were after the write `at`, intact."""
        return self.is_whole and self.position == at and not self.damaged

    def _take(self, call_id: bytes, record: bytes | None) -> None:
        self.damaged.discard(call_id)
        call = decode(call_id, record) if record is not None else None
        if call is not None and record is not None:
            self._calls[call_id] = call
            self._heads[call_id] = head(record)
            return
        self._calls.pop(call_id, None)
        self._heads.pop(call_id, None)
        if record is not None:
            self.damaged.add(call_id)
