"""RTP packets for tests, and a sender that makes them one after the other."""

import dataclasses
import struct

from nh.calls.rtp.meter import RtpMeter

PCMU, PCMA, CN, OPUS, DTMF = 0, 8, 13, 111, 101
CLOCKS = {PCMU: 8000, PCMA: 8000, OPUS: 48000}
SSRC = 0xDEADBEEF


def rtp_packet(
    sequence: int,
    timestamp: int = 0,
    *,
    ssrc: int = SSRC,
    payload_type: int = PCMU,
    marker: bool = False,
    payload: bytes = bytes(160),
) -> bytes:
    """A packet with version 2 and neither padding, extension nor CSRCs (RFC 3550 5.1)."""
    second = payload_type | marker << 7
    return struct.pack("!BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def voice(number: int, ssrc: int = SSRC) -> bytes:
    """A packet of a stream of 20 ms of speech each, by its number."""
    return rtp_packet(number, 160 * number, ssrc=ssrc)


def empty_report(ssrc: int = SSRC) -> bytes:
    """A receiver report of a sender, on nothing."""
    return b"\x80\xc9\0\1" + ssrc.to_bytes(4, "big")


@dataclasses.dataclass
class Sender:
    """Who sends to a meter 20 ms of speech at a time; `now` is the time, in seconds."""

    meter: RtpMeter
    ssrc: int = SSRC
    payload_type: int = PCMU
    first: int = 0
    now: float = 1000.0

    def send(self, *numbers: int, marker: bool = False, payload_type: int | None = None) -> None:
        """The packets with these numbers, counted from `first`, arrive in this order, 20 ms apart."""
        for number in numbers:
            packet = rtp_packet(
                self.first + number,
                number * 160,
                ssrc=self.ssrc,
                payload_type=self.payload_type if payload_type is None else payload_type,
                marker=marker,
            )
            self.meter.measure(packet, len(packet), self.now)
            self.now += 0.02
