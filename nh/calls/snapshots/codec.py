"""Snapshots of calls: a call as a value, and as bytes. nh.calls.snapshots.restore makes a call of one again.

The bytes are the version, a CRC-32 of the rest (RFC 1952 8), and msgpack. Reading evaluates nothing and
allocates no more than there are bytes for. The module knows neither where they are kept nor for how long.
"""

import struct
import zlib
from typing import Final

import msgspec

from nh.calls.snapshots.structs import CallSnapshot, Clock
from nh.calls.snapshots.taking import take_snapshot
from nh.calls.snapshots.version import READABLE, VERSION
from nh.errors import SnapshotUnreadable

__all__ = ["VERSION", "CallSnapshot", "Clock", "decode_snapshot", "encode_snapshot", "take_snapshot"]

_HEADER: Final = struct.Struct("!BI")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CallSnapshot)


def encode_snapshot(snapshot: CallSnapshot) -> bytes:
    """The snapshot as bytes."""
    body = _encoder.encode(snapshot)
    return _HEADER.pack(VERSION, zlib.crc32(body)) + body


def decode_snapshot(data: bytes) -> CallSnapshot:
    """The snapshot that encode_snapshot wrote, here or in another release.

    What newer releases added is left out, what older ones lack has its default.
    Raises SnapshotUnreadable if it is damaged or of another version.
    """
    if not data:
        raise SnapshotUnreadable("snapshot: is empty")
    if data[0] not in READABLE:
        raise SnapshotUnreadable(
            f"snapshot: version {data[0]}, this nh reads {', '.join(map(str, READABLE))}"
        )
    if len(data) < _HEADER.size:
        raise SnapshotUnreadable(f"snapshot: ends after {len(data)} bytes")
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body) != _HEADER.unpack_from(data)[1]:
        raise SnapshotUnreadable("snapshot: is damaged, its checksum does not fit")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise SnapshotUnreadable(f"snapshot: {exc}") from exc
