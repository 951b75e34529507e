"""What the common codecs look like on the wire (RFC 3551, RFC 7587): payload type, clock, packet size."""

from typing import Final

import msgspec

from nh.errors import ConfigError


class Codec(msgspec.Struct, frozen=True):
    """A codec as a relay sees it.

    Args:
        name: as in SDP's a=rtpmap.
        payload_type: 0 to 127; from 96 on it is dynamic.
        clock_hz: of the RTP timestamp.
        bits_per_s: its rate, which gives the packet size.
        channels: as in a=rtpmap; 1 is not written.
    """

    name: str
    payload_type: int
    clock_hz: int
    bits_per_s: int
    channels: int = 1

    @property
    def rtpmap(self) -> str:
        """What follows the payload type in a=rtpmap (RFC 8866 6.6)."""
        return f"{self.name}/{self.clock_hz}" + (f"/{self.channels}" if self.channels > 1 else "")

    def payload_bytes(self, packet_ms: float) -> int:
        """The payload of a packet that covers `packet_ms` milliseconds."""
        return round(self.bits_per_s * packet_ms / 8000)

    def timestamp_step(self, packet_ms: float) -> int:
        """How far the RTP timestamp goes from packet to packet."""
        return round(self.clock_hz * packet_ms / 1000)


CODECS: Final = {
    "pcmu": Codec("PCMU", 0, 8000, 64_000),
    "pcma": Codec("PCMA", 8, 8000, 64_000),
    "gsm": Codec("GSM", 3, 8000, 13_200),
    "g722": Codec("G722", 9, 8000, 64_000),  # its clock is a mistake that stays (RFC 3551 4.5.2)
    "g729": Codec("G729", 18, 8000, 8_000),
    "ilbc": Codec("iLBC", 97, 8000, 15_200),
    "amr-wb": Codec("AMR-WB", 98, 16_000, 23_850),
    "opus": Codec("opus", 111, 48_000, 32_000, 2),
    "h264": Codec("H264", 102, 90_000, 480_000),
}
"""By the names that --codec takes. H264 stands for video: 1200 bytes every 20 ms."""

VIDEO: Final = CODECS["h264"]
"""What the video beside audio is."""


def get_codec(name: str) -> Codec:
    """The codec of that name, in any case. Raises ConfigError if it is none of CODECS."""
    codec = CODECS.get(name.lower())
    if codec is None:
        raise ConfigError(f"codec: {name!r} is none of {', '.join(CODECS)}; --payload-bytes sets any size")
    return codec
