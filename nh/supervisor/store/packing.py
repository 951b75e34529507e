"""Snapshots in less memory: compressed against a dictionary of what most of them have in common.

Calls of one proxy differ in ids, addresses, ports and times, and in little else, so a snapshot takes a fifth
of its bytes. A packed one stays in the process that packed it: what is written, sent or restored is the
snapshot itself.
"""

import zlib
from typing import Final

import msgspec

from nh.calls.snapshots.version import has_secrets

MAX_DICTIONARY_BYTES: Final = 3840
"""Longest dictionary: with a snapshot of usual length behind it, zlib looks back 4 KiB here."""

UNLIKE: Final = 0.33
"""A snapshot that takes a larger part of its bytes is unlike those in the dictionary, and joins them."""

NOT_WORTH_IT: Final = 0.8
"""A snapshot that would take a larger part of its bytes stays as it is."""

_LEVEL: Final = 3
_WINDOW_BITS: Final = -12  # negative: without zlib's header and checksum
_MEMORY_LEVEL: Final = 5  # of 9: to begin is to copy some 30 KiB, not 260


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A packed snapshot.

    Attributes:
        data: what zlib made of it.
        dictionary: what it was compressed against, shared by many; b"": nothing.
    """

    data: bytes
    dictionary: bytes

    def unpack(self) -> bytes:
        """The snapshot."""
        return zlib.decompressobj(_WINDOW_BITS, self.dictionary).decompress(self.data)


Held = bytes | Packed
"""A snapshot in memory."""


def plain(snapshot: Held) -> bytes:
    """The snapshot itself, packed or not."""
    return snapshot.unpack() if isinstance(snapshot, Packed) else snapshot


class SnapshotPacker:
    """Packs snapshots, and learns the dictionary from them: the first ones that are unlike each other.

    A snapshot with secrets never joins the dictionary, which outlives its call.
    """

    def __init__(self) -> None:
        self._dictionary = b""
        self._start = _new_compressor(b"")

    def pack(self, snapshot: bytes) -> Held:
        """The snapshot packed, or as it is if that saves little.

        Args:
            snapshot: of any call, 1 byte or more.
        """
        compressor = self._start.copy()
        data = compressor.compress(snapshot) + compressor.flush()
        part = len(data) / len(snapshot)
        packed = Packed(data, self._dictionary) if part <= NOT_WORTH_IT else snapshot
        if part > UNLIKE:
            self._learn(snapshot)
        return packed

    def _learn(self, snapshot: bytes) -> None:
        if has_secrets(snapshot) or len(self._dictionary) + len(snapshot) > MAX_DICTIONARY_BYTES:
            return
        self._dictionary += snapshot
        self._start = _new_compressor(self._dictionary)


def _new_compressor(dictionary: bytes) -> "zlib._Compress":
    return zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, dictionary
    )
