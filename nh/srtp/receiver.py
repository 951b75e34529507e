"""The receiver of SRTP: one direction of one master key, from SRTP to RTP (RFC 3711 3.3, 3.4)."""

import struct
from collections.abc import Iterator, Mapping
from hmac import compare_digest
from typing import Final

from nh.rtp.packet import RTCP_FROM, RTCP_TO, RTP_HEADER_BYTES
from nh.srtp.direction import (
    INDEX_BITS,
    NO_OFFSETS,
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
from nh.srtp.renumbering import restore_numbers
from nh.srtp.state import MAX_STREAMS, DirectionState
from nh.srtp.window import MAX_INDEX, PacketWindow

_ENCRYPTED: Final = 1 << 31
_INDEX_BYTES: Final = 4
_ROLL_OVER: Final = 1 << 16

_pack = struct.Struct("!I").pack
_read_index = struct.Struct("!I").unpack_from


class SrtpReceiver(SrtpDirection):
    """Authenticates and decrypts what one end sends.

    Args:
        master, buffer, state: see SrtpDirection.

    A stream of the key before may go on where it was there, or begin anew: a new key leaves the roll-over
    counter as it is (RFC 3711 3.3.1), but an end that has moved begins at 0 (RFC 4568 7.1.4), and many do
    with any new key. Authentication tells at the first packet.

    Attributes:
        sent_offsets: SrtpSender.offsets of what the end is sent: its reports come in those numbers.
    """

    __slots__ = ("_former", "_rtp_added", "sent_offsets")

    def __init__(self, master: MasterKey, buffer: bytearray, state: DirectionState | None) -> None:
        super().__init__(master, buffer, state)
        self._rtp_added = self._rtp.tag_bytes + len(master.mki)
        self.sent_offsets: Mapping[int, int] = NO_OFFSETS
        self._former = {} if state is None else {each.ssrc: each for each in state.former}

    def unprotect(self, packet: memoryview) -> memoryview:
        """The packet as RTP or RTCP, in the buffer.

        Raises:
            SrtpRefused: it is no SRTP of this key, or it has been received before.
        """
        end = len(packet) - self._rtp_added
        if end < RTP_HEADER_BYTES:  # RTCP is longer
            raise SrtpRefused(Refusal.MALFORMED)
        first, second, sequence, ssrc = read_header(packet)
        if RTCP_FROM <= second <= RTCP_TO:
            return self._unprotect_rtcp(packet)
        clear = RTP_HEADER_BYTES if first == PLAIN_HEADER else header_bytes(packet, end)
        window = self.rtp.get(ssrc)
        if window is None or sequence != (index := window.highest + 1) & 0xFFFF or index >= window.border:
            return self._unprotect_any(packet, end, clear, sequence, ssrc)
        # the next one of the stream, as nearly all are
        if self._mki:
            self._check_mki(packet, end)
        trailer = b"" if self._aead else _pack(index >> 16)
        if not self._rtp.decrypt(packet, end, clear, ssrc << INDEX_BITS | index, trailer):
            raise SrtpRefused(Refusal.AUTHENTICATION)
        window.highest = index
        return self._view[:end]

    def to_state(self) -> DirectionState:
        """What a successor needs."""
        former = [each for each in self._former.values() if each.ssrc not in self.rtp]
        return DirectionState(states_of(self.rtp), states_of(self.rtcp), former=former)

    def to_next_key(self) -> DirectionState:
        """What the receiver of the next key of the same end needs."""
        state = self.to_state()
        return DirectionState([], [], former=[*state.rtp, *state.former][:MAX_STREAMS])

    def _unprotect_any(
        self, packet: memoryview, end: int, clear: int, sequence: int, ssrc: int
    ) -> memoryview:
        """RTP of any stream, in any order."""
        if self._mki:
            self._check_mki(packet, end)
        known = self.rtp.get(ssrc)
        window = known or PacketWindow()
        refusal = Refusal.REPLAY
        for index in self._guesses(sequence, ssrc, window):
            if index > MAX_INDEX:
                refusal = Refusal.EXHAUSTED
            elif window.highest < index or window.is_new(index):
                refusal = Refusal.AUTHENTICATION
                trailer = b"" if self._aead else _pack(index >> 16)
                if self._rtp.decrypt(packet, end, clear, ssrc << INDEX_BITS | index, trailer):
                    break
        else:
            raise SrtpRefused(refusal)
        if known is None:
            self.add_stream(self.rtp, ssrc, window)
        window.restored = False
        if window.note(index):
            self.checkpoint_due = True
        return self._view[:end]

    def _guesses(self, sequence: int, ssrc: int, window: PacketWindow) -> Iterator[int]:
        """What the index of a packet may be, the likeliest first."""
        index = window.estimate(sequence)
        yield index
        if window.restored:  # the state of the process before is behind its end
            yield index + _ROLL_OVER
        former = self._former.get(ssrc) if window.highest < 0 else None
        if former is not None:
            following = PacketWindow(former.highest).estimate(sequence)
            if following > index:
                yield following

    def _unprotect_rtcp(self, packet: memoryview) -> memoryview:
        end = len(packet) - self._rtcp.tag_bytes - _INDEX_BYTES - len(self._mki)
        if end < RTCP_CLEAR_BYTES:
            raise SrtpRefused(Refusal.MALFORMED)
        ssrc = rtcp_ssrc(packet)
        # the index and the MKI stand before the tag, but behind that of AES-GCM, which is part of the payload
        at = end + self._rtcp.tag_bytes if self._aead else end
        if self._mki:
            self._check_mki(packet, end + _INDEX_BYTES)
        word = int(_read_index(packet, at)[0])
        index = word & ~_ENCRYPTED
        window = self.rtcp.get(ssrc)
        known = window is not None
        if window is None:
            window = PacketWindow()
        if not window.is_new(index):
            raise SrtpRefused(Refusal.REPLAY)
        clear = RTCP_CLEAR_BYTES if word & _ENCRYPTED else end
        trailer = bytes(packet[at : at + _INDEX_BYTES])
        if not self._rtcp.decrypt(packet, end, clear, ssrc << INDEX_BITS | index, trailer):
            raise SrtpRefused(Refusal.AUTHENTICATION)
        if not known:
            self.add_stream(self.rtcp, ssrc, window)
        if window.note(index):
            self.checkpoint_due = True
        if self.sent_offsets:
            restore_numbers(self._view[:end], self.sent_offsets)
        return self._view[:end]

    def _check_mki(self, packet: memoryview, end: int) -> None:
        """Check the identifier of the key, which stands before the tag, or behind that of AES-GCM.

        Args:
            packet: RTP or RTCP.
            end: where it ends without tag and identifier.

        Raises:
            SrtpRefused: it is that of another key.
        """
        at = end + self._rtp.tag_bytes if self._aead else end
        if not compare_digest(packet[at : at + len(self._mki)], self._mki):
            raise SrtpRefused(Refusal.NO_KEY)
