"""The rows of the SQLite engine: each has a checksum, because SQLite's pages have none."""

import math
import struct
import zlib

from nh.supervisor.store.engine import StoredCall


def row_of(number: int, call: StoredCall) -> tuple[int, bytes, float, bytes, int]:
    """The row of a call, with its checksum; `number` is the row's."""
    checksum = _checksum(number, call.call_id, call.written_at, call.snapshot)
    return number, call.call_id, call.written_at, call.snapshot, checksum


def is_intact(number: object, call_id: object, written: object, snapshot: object, checksum: object) -> bool:
    """Whether the values of a row are what row_of() made."""
    return (
        isinstance(number, int)
        and isinstance(call_id, bytes)
        and isinstance(written, float)
        and math.isfinite(written)  # no change of the call would ever be newer
        and isinstance(snapshot, bytes)
        and checksum == _checksum(number, call_id, written, snapshot)
    )


def _checksum(number: int, call_id: bytes, written: float, snapshot: bytes) -> int:
    begin = zlib.crc32(struct.pack(">qdI", number, written, len(call_id)))
    return zlib.crc32(snapshot, zlib.crc32(call_id, begin))
