"""Silence in place of sound: RTP payloads that are overwritten, where the codec has bytes that are silent.

As in rtpengine these are G.711 and G.722, whose every byte is sound by itself. The packet keeps its header:
sequence numbers, timestamps and SSRC go on, and its receiver hears a line that is open and quiet. No I/O.
"""

from collections.abc import Mapping
from typing import Final

from nh.calls.classify import MediaKind, classify
from nh.calls.rtp.payload_types import PayloadTypes
from nh.rtp.packet import RTP_HEADER_BYTES, RTP_VERSION, payload_of

_SILENT: Final[Mapping[str, int]] = {"pcmu": 0xFF, "pcma": 0xD5, "g722": 0xFA}
"""The byte of silence by encoding; that of rtpengine."""

_SOUNDLESS: Final = frozenset({"telephone-event", "tone", "cn"})
"""Encodings that carry no speech: they pass as they are, as in rtpengine."""


class Silencer:
    """Silences the packets of one direction.

    Args:
        types: its payload types.
        encrypted: whether payloads are encrypted (SRTP), so that nothing can be put in their place.
    """

    def __init__(self, types: PayloadTypes, *, encrypted: bool) -> None:
        named = {number: encoding.lower() for number, encoding in types.encodings.items()}
        self._passed = frozenset(number for number, encoding in named.items() if encoding in _SOUNDLESS)
        self._bytes = {
            number: _SILENT[encoding]
            for number, encoding in named.items()
            if encoding in _SILENT and not encrypted
        }

    def silence(self, packet: memoryview) -> bool:
        """Overwrite the sound of a packet; whether it may be sent then.

        Args:
            packet: is changed in place. What is no RTP stays as it is: RTCP, STUN, DTLS.
        """
        if (
            len(packet) < RTP_HEADER_BYTES
            or packet[0] >> 6 != RTP_VERSION
            or classify(packet) is MediaKind.RTCP
        ):
            return True
        payload_type = packet[1] & 0x7F
        if payload_type in self._passed:
            return True
        silent = self._bytes.get(payload_type)
        payload = payload_of(packet) if silent is not None else None
        if payload is None or silent is None:
            return False
        payload[:] = bytes((silent,)) * len(payload)
        return True
