"""The sender of SRTP: one direction of one master key, from RTP to SRTP (RFC 3711 3.3, 3.4)."""

import struct
from typing import Final

from nh.rtp.packet import RTCP_FROM, RTCP_TO, RTP_HEADER_BYTES
from nh.srtp.direction import (
    INDEX_BITS,
    PLAIN_HEADER,
    RTCP_CLEAR_BYTES,
    SrtpDirection,
    header_bytes,
    read_header,
    rtcp_ssrc,
    states_of,
)
from nh.srtp.keys import MasterKey
from nh.srtp.refusal import Refusal, SrtpRefused
from nh.srtp.renumbering import MAX_OFFSET, RestartTrial, with_sequence
from nh.srtp.state import MAX_RTCP_INDEX, DirectionState
from nh.srtp.window import MAX_INDEX, WINDOW_PACKETS, PacketWindow

RTCP_INDEX_STEP: Final = 2**16
"""How far the index of RTCP jumps at a restore: the process before may have used those after its state."""

_BEYOND_PREDECESSOR: Final = 2**15 - 1
"""The same of RTP, where the source has begun again: receivers guess no index right that is further ahead."""

_ENCRYPTED: Final = 1 << 31
_pack = struct.Struct("!I").pack


class SrtpSender(SrtpDirection):
    """Protects what one end sends, whatever legs it comes from.

    All packets of a key have to pass the same sender: two would use an index twice, with two payloads.

    Args:
        master, buffer, state: see SrtpDirection.

    Attributes:
        offsets: what is added to the sequence numbers of streams whose source began again, by SSRC, modulo
            2^32. No other stream is in it. It stays the same object.
        renumbered: an offset has changed, and no successor knows it: the packet at hand waits until its owner
            has saved the state. Two successors of an older state would give two payloads that index.
    """

    __slots__ = ("_rtcp_index", "_trials", "offsets", "renumbered")

    def __init__(self, master: MasterKey, buffer: bytearray, state: DirectionState | None = None) -> None:
        super().__init__(master, buffer, state)
        self._rtcp_index = 0 if state is None else state.rtcp_index + RTCP_INDEX_STEP
        self.offsets: dict[int, int] = (
            {} if state is None else {each.ssrc: each.offset for each in state.rtp if each.offset}
        )
        self.renumbered = False
        self._trials: dict[int, RestartTrial] = {}

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
            if index & 0xFFFF != sequence:
                packet = with_sequence(packet, index & 0xFFFF)
        else:  # the next one of the stream, as nearly all are
            window.highest = index
        trailer = b"" if self._aead else _pack(index >> 16)
        end = self._rtp.encrypt(packet, clear, ssrc << INDEX_BITS | index, trailer)
        return self._view[:end] if not self._mki else self._finish(size, end, b"")

    def to_state(self) -> DirectionState:
        """What a successor needs."""
        rtcp_index = min(self._rtcp_index, MAX_RTCP_INDEX + 1)
        return DirectionState(states_of(self.rtp, self.offsets), [], rtcp_index)

    def _note_any(self, sequence: int, ssrc: int) -> int:
        """The index of a packet of any stream, in any order; it is used now.

        Raises:
            SrtpRefused: see protect().
        """
        window = self.rtp.get(ssrc)
        if window is None:
            window = PacketWindow()
            self.add_stream(self.rtp, ssrc, window)
        index = window.estimate((sequence + self.offsets.get(ssrc, 0)) & 0xFFFF)
        if index <= window.highest and not window.is_new(index):
            index = self._begin_again(sequence, ssrc, window, index)
        if index > MAX_INDEX:
            raise SrtpRefused(Refusal.EXHAUSTED)
        if window.restored:
            window.restored = False
            window.lowest = index
        if window.note(index):
            self.checkpoint_due = True
        if ssrc in self.offsets:
            window.border = 0  # its next packet is to come here, too
        return index

    def _begin_again(self, sequence: int, ssrc: int, window: PacketWindow, index: int) -> int:
        """A new index for a packet whose own one has been used, if its source has begun again.

        Args:
            sequence: as it came.
            ssrc, window: of the stream.
            index: its own one.

        Raises:
            SrtpRefused: the source has not begun again.
        """
        if 0 <= index < window.lowest and window.highest - index < WINDOW_PACKETS:
            raise SrtpRefused(Refusal.REPLAY)  # it may be late, and sent by the process before
        trial = self._trials.get(ssrc)
        if trial is None or trial.highest != window.highest:
            trial = self._trials[ssrc] = RestartTrial(window.highest)
        if not trial.note(sequence):
            raise SrtpRefused(Refusal.REPLAY)
        del self._trials[ssrc]
        ahead = window.highest - index + (_BEYOND_PREDECESSOR if window.restored else 1)
        self.offsets[ssrc] = (self.offsets.get(ssrc, 0) + ahead) & MAX_OFFSET
        self.checkpoint_due = self.renumbered = True
        return index + ahead

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
