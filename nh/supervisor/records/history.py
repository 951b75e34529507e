"""History: the records of the latest calls that have ended, in memory, bounded in number and bytes."""

from collections import deque
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from nh.results import CallRecord, EndedCall, EndedCalls

BYTES_A_CALL: Final = 8 * 1024
"""The history has so many bytes for each call of its setting; a call of two ends takes about two thirds."""

MAX_PAGE_BYTES: Final = 256 * 1024
"""Most bytes of the records of which one page is made."""

_summary: Final = msgspec.msgpack.Decoder(EndedCall)
_whole: Final = msgspec.msgpack.Decoder(CallRecord)


class _Entry(NamedTuple):
    number: int
    call_id: bytes
    record: bytes


class History:
    """The latest records.

    Args:
        most: how many; 0: none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: deque[_Entry] = deque()
        self._latest: dict[bytes, _Entry] = {}
        self._bytes = 0
        self._added = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, call_id: bytes, record: bytes) -> None:
        """Add a record (nh.results.CallRecord in msgpack)."""
        self._added += 1
        entry = _Entry(self._added, call_id, record)
        self._entries.append(entry)
        self._latest[call_id] = entry
        self._bytes += len(record)
        while self._entries and (len(self._entries) > self._most or self._bytes > self._most * BYTES_A_CALL):
            self._drop_oldest()

    def find(self, call_id: bytes) -> CallRecord | None:
        """The latest record of a call-id; None: there is none."""
        entry = self._latest.get(call_id)
        return None if entry is None else _whole.decode(entry.record)

    def page(self, *, contains: bytes, before: int, limit: int) -> EndedCalls:
        """A page of calls, the one that ended last first.

        Args:
            contains, before, limit: see nh.commands.ListEnded.
        """
        older = (each for each in reversed(self._entries) if not before or each.number < before)
        wanted = (each for each in older if contains in each.call_id)
        page: list[_Entry] = []
        size = 0
        for entry in islice(wanted, limit + 1):
            size += len(entry.record)
            if page and (len(page) == limit or size > MAX_PAGE_BYTES):
                return EndedCalls(_summaries(page), page[-1].number)
            page.append(entry)
        return EndedCalls(_summaries(page))

    def _drop_oldest(self) -> None:
        oldest = self._entries.popleft()
        self._bytes -= len(oldest.record)
        if self._latest.get(oldest.call_id) is oldest:
            del self._latest[oldest.call_id]


def _summaries(entries: list[_Entry]) -> tuple[EndedCall, ...]:
    return tuple(_summary.decode(each.record) for each in entries)
