"""Streams whose source began again with lower sequence numbers: they go on behind the highest index sent.

A phone that resumes a call may keep its SSRC and begin its sequence numbers anew. The key of the other end
has protected these numbers, and protects no index twice (RFC 3711 9.1). A higher ROC is no way out: a
receiver takes the index that is nearest to the highest one (RFC 3711 3.3.1). So the sender adds an offset to
the sequence numbers of that SSRC, and the receiver subtracts it from what the other end reports of it.
"""

import struct
from collections.abc import Mapping
from typing import Final

from nh.rtp.compound import TRANSPORT_FEEDBACK, report_blocks, split_rtcp
from nh.srtp.window import WINDOW_PACKETS

RESTART_PACKETS: Final = 8
"""So many packets in order, with none between them that is ahead of what was sent: their source began again.
Two are enough in RFC 3550 A.1, but a network may double a few, and a source sends some again after a NACK."""

MAX_OFFSET: Final = 2**32 - 1
"""Offsets are counted modulo 2^32, as reports count sequence numbers (RFC 3550 6.4.1)."""

_GENERIC_NACK: Final = 1

_HIGHEST_AT: Final = 8
_MEDIA_SSRC_AT: Final = 8
_NACKS_AT: Final = 12
_NACK_BYTES: Final = 4

_word = struct.Struct("!I")
_half = struct.Struct("!H")


class RestartTrial:
    """Packets of one stream whose indexes have been used: does its source begin again?

    Args:
        highest: highest index sent when the first of them came.

    Attributes:
        highest: see above; a packet ahead of it ends the trial.
    """

    __slots__ = ("_count", "_last", "highest")

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self._count = 0
        self._last = 0

    def note(self, sequence: int) -> bool:
        """Note a packet that was refused.

        Args:
            sequence: as it came, 0 to 65535.

        Returns:
            Whether the source has begun again.
        """
        ahead = (sequence - self._last) & 0xFFFF
        if self._count and (ahead == 0 or ahead > 0x10000 - RESTART_PACKETS):
            return False  # the network doubled or reordered it
        self._count = self._count + 1 if ahead < WINDOW_PACKETS else 1
        self._last = sequence
        return self._count >= RESTART_PACKETS


def with_sequence(packet: memoryview, sequence: int) -> memoryview:
    """A copy of a packet of RTP with another sequence number, 0 to 65535."""
    copy = bytearray(packet)
    _half.pack_into(copy, 2, sequence)
    return memoryview(copy)


def restore_numbers(packet: memoryview, offsets: Mapping[int, int]) -> None:
    """Subtract offsets from the sequence numbers in reports: of reception, and generic NACKs (RFC 4585).

    Args:
        packet: a compound packet of RTCP, which is changed. What is no whole packet of RTCP stays.
        offsets: what was added to the sequence numbers, by SSRC.
    """
    for kind, items, _, at, end in split_rtcp(packet):
        for block in report_blocks(kind, items, at, end):
            _restore_highest(packet, block, offsets)
        if kind == TRANSPORT_FEEDBACK and items == _GENERIC_NACK:
            _restore_nacks(packet[at:end], offsets)


def _restore_highest(packet: memoryview, block: int, offsets: Mapping[int, int]) -> None:
    offset = offsets.get(_word.unpack_from(packet, block)[0])
    if offset is not None:
        (highest,) = _word.unpack_from(packet, block + _HIGHEST_AT)
        _word.pack_into(packet, block + _HIGHEST_AT, (highest - offset) & MAX_OFFSET)


def _restore_nacks(packet: memoryview, offsets: Mapping[int, int]) -> None:
    if len(packet) < _NACKS_AT:
        return
    offset = offsets.get(_word.unpack_from(packet, _MEDIA_SSRC_AT)[0])
    if offset is None:
        return
    for at in range(_NACKS_AT, len(packet), _NACK_BYTES):
        (lost,) = _half.unpack_from(packet, at)
        _half.pack_into(packet, at, (lost - offset) & 0xFFFF)
