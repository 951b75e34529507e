"""Snapshots as bytes: the version, a CRC-32 of the rest (RFC 1952 8), and msgpack.

Decoding evaluates nothing and allocates no more than the input has bytes for.
"""

import struct
import zlib
from typing import Final

import msgspec

from nh.calls.snapshots.call import CallSnapshot
from nh.calls.snapshots.version import READABLE, SECRETS, VERSION, has_secrets
from nh.errors import SnapshotUnreadable
from nh.reasons import decode_fault

_HEADER: Final = struct.Struct("!BI")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CallSnapshot)


def encode_snapshot(snapshot: CallSnapshot) -> bytes:
    """The snapshot as bytes."""
    body = _encoder.encode(snapshot)
    version = VERSION | SECRETS if snapshot.secrets else VERSION
    return _HEADER.pack(version, zlib.crc32(body)) + body


def decode_snapshot(data: bytes) -> CallSnapshot:
    """The snapshot that encode_snapshot() wrote, in this release or another that has the same version.

    Fields that a newer release added are ignored; fields that an older one lacks have their defaults.

    Raises:
        SnapshotUnreadable: the data are damaged, or of a version that is not in READABLE.
    """
    if not data:
        raise SnapshotUnreadable("snapshot: no data")
    version = data[0] & ~SECRETS
    if version not in READABLE:
        readable = ", ".join(map(str, READABLE))
        raise SnapshotUnreadable(f"snapshot: version {version} is unknown; this nh reads {readable}")
    if len(data) < _HEADER.size:
        raise SnapshotUnreadable(f"snapshot: truncated after {len(data)} bytes")
    body = memoryview(data)[_HEADER.size :]
    if zlib.crc32(body) != _HEADER.unpack_from(data)[1]:
        raise SnapshotUnreadable("snapshot: damaged, checksum mismatch")
    try:
        snapshot = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise SnapshotUnreadable(decode_fault(exc, "snapshot")) from exc
    if has_secrets(data) != bool(snapshot.secrets):  # the checksum does not cover the first byte
        raise SnapshotUnreadable("snapshot: damaged, its first byte and its secrets contradict each other")
    return snapshot
