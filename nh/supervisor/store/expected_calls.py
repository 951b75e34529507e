"""What an engine should hold, and which changes of that it does not have yet. In memory, without I/O."""

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from nh.supervisor.store.engine import Changes, StoredCall
from nh.supervisor.store.journal_records import JournalRecord
from nh.supervisor.store.packing import Packed


class _PackedCall(msgspec.Struct, frozen=True, gc=False):
    """A StoredCall whose snapshot is packed; its call-id is the key that it is found by."""

    snapshot: Packed
    written_at: float


_HeldCall = StoredCall | _PackedCall


class ExpectedCalls:
    """The calls that an engine should hold; their number is its length."""

    def __init__(self) -> None:
        self._held: dict[bytes, _HeldCall] = {}
        self._unwritten: dict[bytes, _HeldCall | None] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def unwritten(self) -> int:
        """Number of calls whose last change is not in the engine yet, as far as is known."""
        return len(self._unwritten)

    @property
    def calls(self) -> list[StoredCall]:
        """All of them."""
        return list(itertools.starmap(_plain, self._held.items()))

    def call_ids(self) -> Iterator[bytes]:
        """Of the calls that the engine should hold, and of those that it should not."""
        yield from self._held
        for call_id, call in self._unwritten.items():
            if call is None:
                yield call_id

    def latest(self, call_id: bytes, now: float) -> JournalRecord | None:
        """What the engine should hold of a call, or that it should hold nothing; None: it knows that.

        Args:
            call_id: of the call.
            now: see records().
        """
        call = self._held.get(call_id)
        if call is not None:
            plain = _plain(call_id, call)
            return JournalRecord(call_id, plain.snapshot, plain.written_at)
        return JournalRecord(call_id, None, now) if call_id in self._unwritten else None

    def records(self, now: float) -> Iterator[JournalRecord]:
        """What the engine should hold, and what it should not: the latest of each call.

        Args:
            now: when those that it should not hold have ended: no earlier than anything that was added.
        """
        for call_id in self.call_ids():
            record = self.latest(call_id, now)
            if record is not None:
                yield record

    def add(self, changes: Changes) -> None:
        """Have changes written.

        Args:
            changes: the latest of each call.
        """
        self._unwritten.update(changes)
        for call_id, call in changes.items():
            if call is None:
                self._held.pop(call_id, None)
            else:
                self._held[call_id] = call

    def hold_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        """Hold the snapshot of a call packed, if it is still the one that was added."""
        call = self._held.get(call_id)
        if type(call) is StoredCall and call.snapshot is snapshot:
            self._held[call_id] = _PackedCall(packed, call.written_at)

    def next_part(self, most: int) -> Changes:
        """The next unwritten changes, at most `most`."""
        return {
            call_id: None if call is None else _plain(call_id, call)
            for call_id, call in itertools.islice(self._unwritten.items(), most)
        }

    def note_written(self, part: Changes) -> None:
        """Note that the engine has what next_part() returned."""
        for call_id in part:
            del self._unwritten[call_id]
        if not self._unwritten:
            self._unwritten = {}  # an emptied dictionary is as large as it ever was

    def hold(self, found: Sequence[StoredCall]) -> None:
        """Expect what an engine was found to hold."""
        self._held |= _by_id(found)

    def find_unknown(self, found: Sequence[StoredCall]) -> list[StoredCall]:
        """Of the calls in an engine, those that it should neither hold nor have removed."""
        return [
            call for call in found if call.call_id not in self._held and call.call_id not in self._unwritten
        ]

    def compare(self, found: Sequence[StoredCall]) -> None:
        """Find out what is unwritten.

        Args:
            found: all that the engine holds.
        """
        stored = _by_id(found)
        missing: dict[bytes, _HeldCall | None] = {
            call_id: call
            for call_id, call in self._held.items()
            if stored.get(call_id) != _plain(call_id, call)
        }
        self._unwritten = missing | {call_id: None for call_id in stored if call_id not in self._held}


def _plain(call_id: bytes, call: _HeldCall) -> StoredCall:
    if isinstance(call, _PackedCall):
        return StoredCall(call_id, call.snapshot.unpack(), call.written_at)
    return call


def _by_id(calls: Sequence[StoredCall]) -> dict[bytes, StoredCall]:
    return {call.call_id: call for call in calls}
