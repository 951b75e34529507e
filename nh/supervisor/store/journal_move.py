"""Moves calls from one file of the journal to the other, where there is no room for two copies of all."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from nh.supervisor.store.journal_file import JournalFile
from nh.supervisor.store.journal_records import JournalRecord, encode_record

PART_BYTES: Final = 64 << 10
"""So many bytes of records are moved at a time; a part with a larger record has one more."""

PART_CALLS: Final = 16
"""Most calls that are added at a time."""

Latest = Callable[[bytes], JournalRecord | None]
"""The latest record of a call; None: it needs none."""


Ends = Sequence[tuple[int, bytes]]
"""Of the records of a file: see JournalFile.ends()."""


def move_calls(
    source: JournalFile,
    ends: Ends,
    target: JournalFile,
    number: int,
    *,
    latest: Latest,
    call_ids: Iterable[bytes],
) -> Iterator[int]:
    """Append the latest record of each call to a file, and cut off those of another one, the last first.

    Each step is a part. A step that fails, and a kill at any time, leave each call in one of the files.

    Args:
        source: is empty at the end.
        ends: of the source.
        target: other records may be appended between two steps.
        number: of the records.
        latest: see Latest.
        call_ids: of all calls that have one.

    Yields:
        The bytes appended, after each step.

    Raises:
        OSError: there is no room for a part.
    """
    moved: set[bytes] = set()

    def append(part: Iterable[bytes]) -> int:
        records = [latest(each) for each in dict.fromkeys(part) if each not in moved]
        data = b"".join(encode_record(number, each) for each in records if each is not None)
        target.append(data)
        moved.update(part)
        return len(data)

    for begin, part in _parts_from_end(ends):
        size = append(part)
        source.cut(begin)
        yield size
    others = iter(call_ids)
    while part := list(itertools.islice(others, PART_CALLS)):
        yield append(part)


def _parts_from_end(ends: Ends) -> Iterator[tuple[int, list[bytes]]]:
    """Offset and call-ids of the records, some at a time."""
    begins = [0, *(end for end, _ in ends[:-1])]
    part: list[bytes] = []
    behind = ends[-1][0] if ends else 0
    for begin, (_, call_id) in zip(reversed(begins), reversed(ends), strict=True):
        part.append(call_id)
        if behind - begin >= PART_BYTES or not begin:
            yield begin, part
            part, behind = [], begin
