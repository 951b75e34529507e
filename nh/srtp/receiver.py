"""The receiver of SRTP: one direction of one master key, from SRTP to RTP (RFC 3711 3.3, 3.4)."""

import hmac
import struct
from collections.abc import Iterator
from typing import Final

from nh.srtp.direction import (
    INDEX_BITS,
    RTCP_CLEAR_BYTES,
    Direction,
    header_bytes,
    read_rtp,
    rtcp_ssrc,
    states_of,
)
from nh.srtp.refusal import Refusal, SrtpRefused
from nh.srtp.state import DirectionState
from nh.srtp.window import MAX_INDEX, PacketWindow

_ENCRYPTED: Final = 1 << 31
_INDEX_BYTES: Final = 4
_ROLL_OVER: Final = 1 << 16

_pack = struct.Struct("!I").pack
_read_index = struct.Struct("!I").unpack_from


class SrtpReceiver(Direction):
    """Authenticates and decrypts what one end sends.

    Args:
        master, buffer, state: see Direction.
    """

    __slots__ = ()

    def unprotect_rtp(self, packet: memoryview) -> memoryview:
        """The packet as RTP, in the buffer.

        Raises:
            SrtpRefused: it is no SRTP of this key, or it has been received before.
        """
        cipher = self._rtp
        if self._mki:
            body, tag, _ = self._split(packet, cipher.tag_bytes, 0)
        else:
            size = max(len(packet) - cipher.tag_bytes, 0)
            body, tag = packet[:size], packet[size:]
        clear = header_bytes(body)
        sequence, ssrc = read_rtp(body)
        window = self.rtp.get(ssrc)
        known = window is not None
        if window is None:
            window = PacketWindow()
        refusal = Refusal.REPLAY
        for index in _guesses(sequence, window) if window.restored else (window.estimate(sequence),):
            if window.highest < index <= MAX_INDEX or window.is_new(index):
                refusal = Refusal.AUTHENTICATION
                trailer = b"" if self._aead else _pack(index >> 16)
                size = cipher.decrypt(body, tag, clear, ssrc << INDEX_BITS | index, trailer)
                if size >= 0:
                    break
        else:
            raise SrtpRefused(refusal)
        if not known:
            self.add_stream(self.rtp, ssrc, window)
        window.restored = False
        if window.note(index):
            self.checkpoint_due = True
        return self._view[:size]

    def unprotect_rtcp(self, packet: memoryview) -> memoryview:
        """The packet as RTCP, in the buffer.

        Raises:
            SrtpRefused: it is no SRTCP of this key, or it has been received before.
        """
        body, tag, trailer = self._split(packet, self._rtcp.tag_bytes, _INDEX_BYTES)
        ssrc = rtcp_ssrc(body)
        word = int(_read_index(trailer)[0])
        index = word & ~_ENCRYPTED
        window = self.rtcp.get(ssrc)
        known = window is not None
        if window is None:
            window = PacketWindow()
        if not window.is_new(index):
            raise SrtpRefused(Refusal.REPLAY)
        clear = RTCP_CLEAR_BYTES if word & _ENCRYPTED else len(body)
        size = self._rtcp.decrypt(body, tag, clear, ssrc << INDEX_BITS | index, bytes(trailer))
        if size < 0:
            raise SrtpRefused(Refusal.AUTHENTICATION)
        if not known:
            self.add_stream(self.rtcp, ssrc, window)
        if window.note(index):
            self.checkpoint_due = True
        return self._view[:size]

    def to_state(self) -> DirectionState:
        """What a successor needs."""
        return DirectionState(states_of(self.rtp), states_of(self.rtcp))

    def _split(
        self, packet: memoryview, tag_bytes: int, index_bytes: int
    ) -> tuple[memoryview, memoryview, memoryview]:
        """The protected part, the tag, and the index of RTCP.

        Raises:
            SrtpRefused: the packet is too short, or has the identifier of another key.
        """
        mki = self._mki
        size = len(packet) - tag_bytes - index_bytes - len(mki)
        if size < RTCP_CLEAR_BYTES:
            raise SrtpRefused(Refusal.MALFORMED)
        if self._aead:
            tag = packet[size : size + tag_bytes]
            after = size + tag_bytes
        else:
            tag = packet[len(packet) - tag_bytes :]
            after = size
        if mki and not hmac.compare_digest(packet[after + index_bytes : after + index_bytes + len(mki)], mki):
            raise SrtpRefused(Refusal.NO_KEY)
        return packet[:size], tag, packet[after : after + index_bytes]


def _guesses(sequence: int, window: PacketWindow) -> Iterator[int]:
    """The index of a packet, and the next likely ones: the state is that of a process before."""
    index = window.estimate(sequence)
    yield index
    yield index + _ROLL_OVER
    yield index - _ROLL_OVER
