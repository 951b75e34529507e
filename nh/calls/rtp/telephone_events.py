"""Telephone events (RFC 4733): DTMF that a phone sends in RTP packets of their own. No I/O."""

import collections
import struct
from typing import Final, NamedTuple

from nh.calls.classify import MediaKind, classify
from nh.calls.rtp.payload_types import PayloadTypes
from nh.rtp.packet import RTP_HEADER_BYTES, RTP_VERSION, payload_of

_END: Final = 0x80
_VOLUME: Final = 0x3F
_REMEMBERED: Final = 4
"""So many events that have ended are known: the last packet of each is repeated, and may come late."""

_event: Final = struct.Struct("!BBH")


class TelephoneEvent(NamedTuple):
    """An event that has ended.

    Attributes:
        code: 0 to 255: 0 to 9 are the digits, 10 is `*`, 11 is `#`, 12 to 15 are A to D.
        volume: 0 to 63: the power of the tone in dBm0, without its sign.
        duration: in units of the RTP clock.
        payload_type: of its packets.
    """

    code: int
    volume: int
    duration: int
    payload_type: int


class EventReader:
    """Reads the telephone events of one direction: each once, when a packet says that it has ended."""

    def __init__(self) -> None:
        self._ended: collections.deque[bytes] = collections.deque(maxlen=_REMEMBERED)
        self._types: PayloadTypes | None = None
        self._events: frozenset[int] = frozenset()

    def read(self, packet: memoryview, payload_types: PayloadTypes | None) -> TelephoneEvent | None:
        """The event that ends with a packet; None: none does, or it is known.

        Args:
            packet: of any kind.
            payload_types: of the leg; None: it has none.
        """
        if payload_types is not self._types:  # signalling has changed them
            self._types = payload_types
            self._events = frozenset() if payload_types is None else payload_types.events
        if (
            len(packet) < RTP_HEADER_BYTES
            or packet[0] >> 6 != RTP_VERSION
            or packet[1] & 0x7F not in self._events
        ):
            return None
        payload = payload_of(packet) if classify(packet) is not MediaKind.RTCP else None
        if payload is None or len(payload) < _event.size:
            return None
        code, flags, duration = _event.unpack_from(payload)
        begun = bytes(packet[4:RTP_HEADER_BYTES])  # an event keeps the timestamp of its first packet
        if not flags & _END or begun in self._ended:
            return None
        self._ended.append(begun)
        return TelephoneEvent(code, flags & _VOLUME, duration, packet[1] & 0x7F)
