"""The sender of SRTP: one direction of one master key, from RTP to SRTP (RFC 3711 3.3, 3.4)."""

import struct
from typing import Final

from nh.srtp.direction import (
    INDEX_BITS,
    PLAIN_HEADER,
    RTCP_CLEAR_BYTES,
    RTCP_FROM,
    RTCP_TO,
    RTP_HEADER_BYTES,
    SrtpDirection,
    header_bytes,
    read_header,
    rtcp_ssrc,
    states_of,
)
from nh.srtp.keys import MasterKey
from nh.srtp.refusal import Refusal, SrtpRefused
from nh.srtp.state import MAX_RTCP_INDEX, DirectionState
from nh.srtp.window import MAX_INDEX, PacketWindow

RTCP_INDEX_STEP: Final = 2**16
"""How far the index of RTCP jumps at a restore: the process before may have used those after its state."""

_ENCRYPTED: Final = 1 << 31
_pack = struct.Struct("!I").pack


class SrtpSender(SrtpDirection):
    """Protects what one end sends, whatever legs it comes from.

    All packets of a key have to pass the same sender: two would use an index twice, with two payloads.

    Args:
        master, buffer, state: see SrtpDirection.
    """

    __slots__ = ("_rtcp_index",)

    def __init__(self, master: MasterKey, buffer: bytearray, state: DirectionState | None = None) -> None:
        super().__init__(master, buffer, state)
        self._rtcp_index = 0 if state is None else state.rtcp_index + RTCP_INDEX_STEP

    def protect(self, packet: memoryview) -> memoryview:
        """A packet of RTP or RTCP as SRTP, in the buffer.

        Raises:
            SrtpRefused: it is neither, its index has been used, or the key is used up.
        """
        size = len(packet)
        if size < RTP_HEADER_BYTES:
            return self._protect_short(packet)
        first, second, sequence, ssrc = read_header(packet)
        if RTCP_FROM <= second <= RTCP_TO:
            return self._protect_rtcp(packet)
        clear = RTP_HEADER_BYTES if first == PLAIN_HEADER else header_bytes(packet, size)
        window = self.rtp.get(ssrc)
        if window is None or sequence != (index := window.highest + 1) & 0xFFFF or index >= window.border:
            index = self._note_any(sequence, ssrc)
        else:  # the next one of the stream, as nearly all are
            window.highest = index
        trailer = b"" if self._aead else _pack(index >> 16)
        end = self._rtp.encrypt(packet, clear, ssrc << INDEX_BITS | index, trailer)
        return self._view[:end] if not self._mki else self._finish(size, end, b"")

    def to_state(self) -> DirectionState:
        """What a successor needs."""
        return DirectionState(states_of(self.rtp), [], min(self._rtcp_index, MAX_RTCP_INDEX + 1))

    def _note_any(self, sequence: int, ssrc: int) -> int:
        """The index of a packet of any stream, in any order; it is used now.

        Raises:
            SrtpRefused: see protect().
        """
        window = self.rtp.get(ssrc)
        if window is None:
            window = PacketWindow()
            self.add_stream(self.rtp, ssrc, window)
        index = window.estimate(sequence)
        if index > MAX_INDEX:
            raise SrtpRefused(Refusal.EXHAUSTED)
        if index <= window.highest and not window.is_new(index):
            raise SrtpRefused(Refusal.REPLAY)
        if window.restored:
            window.restored = False
            window.lowest = index
        if window.note(index):
            self.checkpoint_due = True
        return index

    def _protect_short(self, packet: memoryview) -> memoryview:
        """A packet that is too short for RTP: a report without blocks."""
        if len(packet) < RTCP_CLEAR_BYTES or not RTCP_FROM <= packet[1] <= RTCP_TO:
            raise SrtpRefused(Refusal.MALFORMED)
        return self._protect_rtcp(packet)

    def _protect_rtcp(self, packet: memoryview) -> memoryview:
        ssrc = rtcp_ssrc(packet)
        index = self._rtcp_index
        if index > MAX_RTCP_INDEX:
            raise SrtpRefused(Refusal.EXHAUSTED)
        self._rtcp_index = index + 1
        if index % (RTCP_INDEX_STEP // 2) == 0:
            self.checkpoint_due = True
        trailer = _pack(index | _ENCRYPTED)
        end = self._rtcp.encrypt(packet, RTCP_CLEAR_BYTES, ssrc << INDEX_BITS | index, trailer)
        return self._finish(len(packet), end, trailer)

    def _finish(self, size: int, end: int, trailer: bytes) -> memoryview:
        """Add what follows the encrypted part: the tag is last, but part of what AES-GCM encrypts."""
        view, added = self._view, trailer + self._mki
        if self._aead:
            view[end : end + len(added)] = added
        else:
            tag = bytes(view[size:end])
            view[size : end + len(added)] = added + tag
        return view[: end + len(added)]
