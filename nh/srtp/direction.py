"""What both directions of SRTP share: ciphers, the streams of a key, headers."""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from nh.rtp.packet import RTP_HEADER_BYTES, RTP_VERSION
from nh.srtp.ciphers import CounterModeCipher, GcmCipher, PacketCipher
from nh.srtp.derivation import SessionKeys, derive_keys
from nh.srtp.keys import MasterKey
from nh.srtp.refusal import Refusal, SrtpRefused
from nh.srtp.state import MAX_STREAMS, SEEN_BYTES, DirectionState, SrtpStreamState
from nh.srtp.suites import CryptoSuite
from nh.srtp.window import PacketWindow

INDEX_BITS: Final = 48

RTCP_CLEAR_BYTES: Final = 8
"""The header and the SSRC of the sender are never encrypted (RFC 3711 3.4)."""

PLAIN_HEADER: Final = 0x80
"""The first byte of RTP without padding, extension and CSRCs, as nearly all packets of speech have it."""

read_header = struct.Struct("!BBH4xI").unpack_from
"""The first two bytes of a packet of RTP, its sequence number and its SSRC."""

NO_OFFSETS: Final[Mapping[int, int]] = MappingProxyType({})
"""Those of a sender none of whose sources has begun again."""

_read_ssrc = struct.Struct("!I").unpack_from
_read_word = struct.Struct("!H").unpack_from


class SrtpDirection:
    """One direction of one master key.

    Args:
        master: the key.
        buffer: where packets are written, of nh.srtp.ciphers.BUFFER_BYTES. Directions share it: a packet is
            valid until the next one.
        state: of an earlier process; None: the key is new.

    Attributes:
        master: the key.
        rtp, rtcp: the windows of its streams by SSRC.
        checkpoint_due: a successor has to know the state soon; its owner clears it.
    """

    __slots__ = ("_aead", "_mki", "_rtcp", "_rtp", "_view", "checkpoint_due", "master", "rtcp", "rtp")

    def __init__(self, master: MasterKey, buffer: bytearray, state: DirectionState | None) -> None:
        self.master = master
        self.checkpoint_due = state is None
        self.rtp = _restore(state.rtp) if state else {}
        self.rtcp = _restore(state.rtcp) if state else {}
        self._mki = master.mki
        self._aead = master.suite.aead
        self._view = memoryview(buffer)
        suite, (of_rtp, of_rtcp) = master.suite, derive_keys(master)
        self._rtp = _new_cipher(suite, of_rtp, suite.rtp_tag_bytes, buffer)
        self._rtcp = _new_cipher(suite, of_rtcp, suite.rtcp_tag_bytes, buffer)

    def add_stream(self, streams: dict[int, PacketWindow], ssrc: int, window: PacketWindow) -> None:
        """Remember a new stream.

        Raises:
            SrtpRefused: the key has as many as it may have.
        """
        if len(streams) >= MAX_STREAMS:
            raise SrtpRefused(Refusal.EXHAUSTED)
        streams[ssrc] = window
        self.checkpoint_due = True


def header_bytes(packet: memoryview, end: int) -> int:
    """The length of the header of RTP, with CSRCs and extension (RFC 3550 5.1).

    Args:
        packet: at least RTP_HEADER_BYTES.
        end: where its payload ends.

    Raises:
        SrtpRefused: it is no RTP, or ends before.
    """
    first = packet[0]
    size = RTP_HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10 and size + 4 <= end:
        size += 4 + 4 * int(_read_word(packet, size + 2)[0])
    elif first & 0x10:
        size = end + 1
    if first >> 6 != RTP_VERSION or size > end:
        raise SrtpRefused(Refusal.MALFORMED)
    return size


def rtcp_ssrc(packet: memoryview) -> int:
    """The SSRC of the sender of RTCP.

    Raises:
        SrtpRefused: it is no RTCP, or ends before.
    """
    if len(packet) < RTCP_CLEAR_BYTES or packet[0] >> 6 != RTP_VERSION:
        raise SrtpRefused(Refusal.MALFORMED)
    return int(_read_ssrc(packet, 4)[0])


def states_of(
    streams: dict[int, PacketWindow], offsets: Mapping[int, int] = NO_OFFSETS
) -> list[SrtpStreamState]:
    """The streams, for a successor; `offsets`: see SrtpSender."""
    return [
        SrtpStreamState(ssrc, window.highest, window.seen.to_bytes(SEEN_BYTES, "big"), offsets.get(ssrc, 0))
        for ssrc, window in streams.items()
    ]


def _restore(states: list[SrtpStreamState]) -> dict[int, PacketWindow]:
    return {
        each.ssrc: PacketWindow(each.highest, int.from_bytes(each.seen, "big"), restored=True)
        for each in states
    }


def _new_cipher(suite: CryptoSuite, keys: SessionKeys, tag_bytes: int, buffer: bytearray) -> PacketCipher:
    return GcmCipher(keys, buffer) if suite.aead else CounterModeCipher(keys, tag_bytes, buffer)
