"""Records of the journal as its files have them: numbered, and with a checksum because one may be cut."""

import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct(">QdII")  # number, time, bytes of the call-id, bytes of the snapshot
_CHECKSUM: Final = struct.Struct(">I")
_NO_SNAPSHOT: Final = 0xFFFF_FFFF
_VOIDS_AT: Final = -1.0
"""The time of what voids records; no change has it."""

_TOO_LARGE: Final = 1 << 63
"""No journal counts so far: behind a larger number there would soon be none for the next record."""


class JournalRecord(NamedTuple):
    """One change of a call.

    Attributes:
        call_id: of the call.
        snapshot: of the call after the change; None: the call has ended.
        changed_at: wall clock of the change, seconds since 1970.
    """

    call_id: bytes
    snapshot: bytes | None
    changed_at: float


def encode_record(number: int, record: JournalRecord) -> bytes:
    """A record as it is in the file.

    Args:
        number: orders the records of both files, 0 to 2 ** 63 - 1.
        record: the change.
    """
    snapshot = record.snapshot
    head = _HEAD.pack(
        number,
        record.changed_at,
        len(record.call_id),
        _NO_SNAPSHOT if snapshot is None else len(snapshot),
    )
    body = b"".join((head, record.call_id, snapshot or b""))
    return _CHECKSUM.pack(zlib.crc32(body)) + body


def encode_void(number: int) -> bytes:
    """What voids all records up to this number, in both files; others read it as the end of no call."""
    return encode_record(number, JournalRecord(b"", None, _VOIDS_AT))


def voids(record: JournalRecord) -> bool:
    """Whether it is no change, but from encode_void()."""
    return record.changed_at == _VOIDS_AT and not record.call_id


def encoded_bytes(records: Iterable[JournalRecord]) -> int:
    """How many bytes records have in a file."""
    head = _CHECKSUM.size + _HEAD.size
    return sum(head + len(each.call_id) + len(each.snapshot or b"") for each in records)


def read_records(fd: int) -> Iterator[tuple[int, int, JournalRecord]]:
    """Number, end in the file in bytes, and record, up to the first that is damaged or incomplete.

    One with a number or a time that no journal writes is damaged, however right its checksum is.

    Args:
        fd: of the file, open for reading; it stays open.
    """
    with open(fd, "rb", closefd=False) as stream:
        stream.seek(0)
        data = stream.read()
    at = 0
    while at + _CHECKSUM.size + _HEAD.size <= len(data):
        begin = at + _CHECKSUM.size
        number, changed_at, id_bytes, snapshot_bytes = _HEAD.unpack_from(data, begin)
        ids = begin + _HEAD.size
        snapshots = ids + id_bytes
        is_over = snapshot_bytes == _NO_SNAPSHOT
        end = snapshots + (0 if is_over else snapshot_bytes)
        if end > len(data) or _CHECKSUM.unpack_from(data, at) != (zlib.crc32(data[begin:end]),):
            return
        if number >= _TOO_LARGE or not math.isfinite(changed_at):
            return
        snapshot = None if is_over else data[snapshots:end]
        yield number, end, JournalRecord(data[ids:snapshots], snapshot, changed_at)
        at = end
