"""Frames that a phone, or a stranger beside it, may send to a port of the relay: each kind by its name."""

import random
import struct
from collections.abc import Callable

from nh.calls.media import Endpoint
from tests.fastpath.frames import ETHERNET, Datagram, changed, frame_of, internet_sum, rtp
from tests.rtcp import bye, receiver_report, sender_report

STUN = bytes.fromhex("000100002112a442") + bytes(12)
DTLS = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x20" + bytes(32)
MTU = 1500


class Stream:
    """What one phone sends: an RTP stream that goes on.

    Args:
        seed: its numbers follow from that.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ssrc = self.random.getrandbits(32)
        self._sequence = self.random.getrandbits(16)
        self._timestamp = self.random.getrandbits(32)

    def next(self, *, size: int = 160, payload_type: int = 0, ahead: int = 1) -> bytes:
        """Its next packet, or one from elsewhere in it."""
        self._sequence += ahead
        self._timestamp += 160 * ahead
        return rtp(
            self._sequence,
            ssrc=self.ssrc,
            timestamp=self._timestamp,
            payload_type=payload_type,
            size=size,
        )

    def restarted(self) -> bytes:
        """The first packet of another stream of the phone."""
        self.ssrc = self.random.getrandbits(32)
        return self.next()

    def first_byte(self, *choices: int) -> bytes:
        """Its next packet with another first byte: version, padding, extension, CSRCs."""
        return bytes([self.random.choice(choices)]) + self.next()[1:]


PAYLOADS: dict[str, Callable[[Stream], bytes]] = {
    "RTP": Stream.next,
    "RTP with marker": lambda stream: stream.next(payload_type=0x80),
    "another payload type": lambda stream: stream.next(payload_type=8),
    "a payload type of no SDP": lambda stream: stream.next(payload_type=77),
    "two are missing": lambda stream: stream.next(ahead=3),
    "a late one": lambda stream: stream.next(ahead=-2),
    "the same again": lambda stream: stream.next(ahead=0),
    "a leap": lambda stream: stream.next(ahead=9000),
    "another SSRC": Stream.restarted,
    "RTP of another version": lambda stream: stream.first_byte(0x00, 0x41, 0xC0),
    "RTP that seems to have CSRCs and more": lambda stream: stream.first_byte(0x8F, 0x90, 0xA0, 0xBF),
    "half a header": lambda stream: stream.next()[:11],
    "a header alone": lambda stream: stream.next(size=0),
    "nothing": lambda _: b"",
    "one byte": lambda _: b"\x80",
    "a sender report": lambda stream: sender_report(stream.ssrc, 7),
    "a report and a BYE": lambda stream: receiver_report(stream.ssrc) + bye(stream.ssrc),
    "a BYE of no source": lambda _: bye(),
    "STUN": lambda _: STUN,
    "DTLS": lambda _: DTLS,
    "junk": lambda stream: b"\x60" + stream.random.randbytes(200),
}
"""What fits into any frame."""

LONG = (MTU - 28 - 12, MTU - 48 - 12, MTU - 28 - 11, 4000)
"""Bytes of media that fill a packet of IPv4, one of IPv6, and that do not fit into one."""


def frames_of(datagram: Datagram, *, odd: str = "") -> list[bytes]:
    """The frames of a datagram: several if it is long.

    Args:
        odd: "options": in its IP header; "padded": at the end of the frame, as Ethernet pads a short one.
    """
    frame = frame_of(datagram)
    if len(frame) > ETHERNET + MTU:
        return _fragments(frame)
    if odd == "options":
        return [_with_options(frame)]
    return [frame + bytes(18)] if odd == "padded" else [frame]


def _fragments(frame: bytes, size: int = 1400) -> list[bytes]:
    four = frame[12:14] == b"\x08\x00"
    header = ETHERNET + (20 if four else 40)
    parts = []
    for at in range(0, len(frame) - header, size):
        part = frame[header + at : header + at + size]
        more = header + at + size < len(frame)
        if four:
            head = changed(frame[:header], 2, struct.pack("!H", 20 + len(part)))
            head = changed(head, 6, struct.pack("!H", more << 13 | at // 8))
            parts.append(_summed(head) + part)
        else:
            head = changed(frame[:header], 4, struct.pack("!HB", 8 + len(part), 44))
            parts.append(head + struct.pack("!BBHI", 17, 0, at | more, len(frame)) + part)
    return parts


def _with_options(frame: bytes) -> bytes:
    if frame[12:14] == b"\x08\x00":
        (length,) = struct.unpack_from("!H", frame, ETHERNET + 2)
        head = changed(frame[: ETHERNET + 20], 0, b"\x46") + b"\x01\x01\x01\x00"
        return _summed(changed(head, 2, struct.pack("!H", length + 4))) + frame[ETHERNET + 20 :]
    (length,) = struct.unpack_from("!H", frame, ETHERNET + 4)
    head = changed(frame[: ETHERNET + 40], 4, struct.pack("!HB", length + 8, 60))
    return head + b"\x11\x00\x01\x04\x00\x00\x00\x00" + frame[ETHERNET + 40 :]


def _summed(head: bytes) -> bytes:
    """A frame that ends with its IPv4 header, with the checksum of that."""
    head = changed(head, 10, b"\0\0")
    return changed(head, 10, struct.pack("!H", ~internet_sum(head[ETHERNET:]) & 0xFFFF))


def beside(endpoint: Endpoint, which: str) -> Endpoint:
    """Where a stranger is: at another port of a phone's address, or at another address.

    Args:
        endpoint: of the phone.
        which: "port" or "address".
    """
    if which == "port":
        return Endpoint(endpoint.address, endpoint.port + 1000)
    return Endpoint(endpoint.address.rpartition(endpoint.address[-1])[0] + "7", endpoint.port)
