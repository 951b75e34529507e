"""The bytes of a call on the server: version, CRC-32, time of the change, snapshot.

byte 0       VERSION
bytes 1-4    CRC-32 of the call-id and of all bytes from 5 on, big-endian
bytes 5-12   wall clock of the change, seconds since 1970, IEEE 754 double, big-endian
bytes 13-    snapshot
"""

import math
import struct
import zlib
from typing import Final

from nh.supervisor.store.engine import StoredCall

VERSION: Final = 1

_HEAD: Final = struct.Struct(">BI")
_TIME: Final = struct.Struct(">d")


def encode(call: StoredCall) -> bytes:
    """A call as the server has it."""
    body = _TIME.pack(call.written_at) + call.snapshot
    return _HEAD.pack(VERSION, zlib.crc32(body, zlib.crc32(call.call_id))) + body


def head(record: bytes) -> bytes:
    """Version and checksum of a record: what tells two records of one call apart."""
    return record[: _HEAD.size]


def decode(call_id: bytes, data: bytes) -> StoredCall | None:
    """The call that a record is of; None: the record is damaged, or of another version."""
    if len(data) < _HEAD.size + _TIME.size:
        return None
    version, checksum = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if version != VERSION or checksum != zlib.crc32(body, zlib.crc32(call_id)):
        return None
    (written_at,) = _TIME.unpack_from(body)
    return StoredCall(call_id, body[_TIME.size :], written_at) if math.isfinite(written_at) else None
