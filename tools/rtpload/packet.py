"""RTP and RTCP packets that can be measured (RFC 3550): whose they are and when they were sent is in them.

The identity is 20 bytes: run, stream and number of the packet (32 bits each), then the time of sending in
nanoseconds of the monotonic clock (64 bits). In RTP it begins the payload; in RTCP it is the data of an APP
packet behind the report and its SDES. Packets are written into buffers that each stream keeps: only what
changes is packed anew. Knows neither sockets nor clocks.
"""

import struct
from typing import Final, NamedTuple

IDENTITY: Final = struct.Struct("!IIIQ")
RTP_HEADER_BYTES: Final = 12
MIN_PAYLOAD_BYTES: Final = IDENTITY.size
"""Smallest payload that has room for the identity: 20 ms of G.729."""

MAX_PAYLOAD_BYTES: Final = 1440
"""Fits into an Ethernet frame over IPv6, with 12 bytes of RTP, 8 of UDP and 40 of IP."""

_VERSION: Final = 2 << 6
_CHANGES: Final = struct.Struct("!HIIIIIQ")  # from the sequence number to the time of sending
_NTP_UNIX_S: Final = 2_208_988_800
"""Seconds from 1900, NTP's zero, to 1970."""

_SENDER_REPORT: Final = struct.Struct("!BBHIIIIII")
_RECEIVER_REPORT: Final = struct.Struct("!BBHI")
_DESCRIPTION: Final = struct.Struct("!BBHIBB10s")
_APPLICATION: Final = struct.Struct("!BBHI4s")
_NAME: Final = b"LOAD"

_BEHIND_REPORT: Final = _DESCRIPTION.size + _APPLICATION.size
RTCP_SENDER_BYTES: Final = _SENDER_REPORT.size + _BEHIND_REPORT + IDENTITY.size
RTCP_RECEIVER_BYTES: Final = _RECEIVER_REPORT.size + _BEHIND_REPORT + IDENTITY.size
_SIZES: Final = {
    RTCP_SENDER_BYTES: RTCP_SENDER_BYTES - IDENTITY.size,
    RTCP_RECEIVER_BYTES: RTCP_RECEIVER_BYTES - IDENTITY.size,
}


class Identity(NamedTuple):
    """What a packet says of itself."""

    run: int
    stream: int
    number: int
    sent_ns: int


def rtcp_identity_offset(*, sends_media: bool) -> int:
    """Where the identity lies in a compound of `RtcpStream`."""
    return _SIZES[RTCP_SENDER_BYTES if sends_media else RTCP_RECEIVER_BYTES]


class RtpWriter:
    """The packets of one RTP stream, written one over the other into `buffer`.

    Args:
        run, stream: identity, 32 bits each.
        ssrc: 32 bits.
        first_sequence: sequence number of packet 0, 16 bits.
        first_timestamp: of packet 0, 32 bits.
        payload_type: 0 to 127.
        payload_bytes: MIN_PAYLOAD_BYTES to MAX_PAYLOAD_BYTES.
        timestamp_step: from packet to packet.
    """

    __slots__ = ("_first_sequence", "_first_timestamp", "_run", "_step", "_stream", "buffer", "ssrc")

    def __init__(
        self,
        run: int,
        stream: int,
        *,
        ssrc: int,
        first_sequence: int,
        first_timestamp: int,
        payload_type: int,
        payload_bytes: int,
        timestamp_step: int,
    ) -> None:
        self._run = run
        self._stream = stream
        self.ssrc = ssrc
        self._first_sequence = first_sequence
        self._first_timestamp = first_timestamp
        self._step = timestamp_step
        self.buffer = bytearray(RTP_HEADER_BYTES + payload_bytes)
        self.buffer[0] = _VERSION
        self.buffer[1] = payload_type

    @property
    def payload_bytes(self) -> int:
        """The payload of each packet."""
        return len(self.buffer) - RTP_HEADER_BYTES

    def timestamp(self, number: int) -> int:
        """The RTP timestamp of packet `number`."""
        return (self._first_timestamp + number * self._step) & 0xFFFFFFFF

    def write(self, number: int, sent_ns: int) -> None:
        """Make `buffer` packet `number`, 0 to 2**32 - 1, sent at `sent_ns`."""
        _CHANGES.pack_into(
            self.buffer,
            2,
            (self._first_sequence + number) & 0xFFFF,
            (self._first_timestamp + number * self._step) & 0xFFFFFFFF,
            self.ssrc,
            self._run,
            self._stream,
            number,
            sent_ns,
        )


class RtcpWriter:
    """The compounds of one end: SR (or RR, if it sends no media), SDES with its CNAME, APP with the identity.

    Args:
        run, stream: identity.
        media: the RTP stream that is reported on.
        sends_media: whether this end sends any.
    """

    __slots__ = ("_media", "_run", "_stream", "buffer", "identity_offset", "sends_media")

    def __init__(self, run: int, stream: int, media: RtpWriter, *, sends_media: bool) -> None:
        self._run = run
        self._stream = stream
        self._media = media
        self.sends_media = sends_media
        self.identity_offset = rtcp_identity_offset(sends_media=sends_media)
        report = _SENDER_REPORT.size if sends_media else _RECEIVER_REPORT.size
        # lengths are in words of 32 bits, less one (RFC 3550 6.4.1)
        head = bytearray(report)
        _RECEIVER_REPORT.pack_into(
            head, 0, _VERSION, 200 if sends_media else 201, report // 4 - 1, media.ssrc
        )
        cname = b"%08x" % media.ssrc  # the item ends with one NUL, and a second one fills the word
        head += _DESCRIPTION.pack(
            _VERSION | 1, 202, _DESCRIPTION.size // 4 - 1, media.ssrc, 1, len(cname), cname
        )
        words = (_APPLICATION.size + IDENTITY.size) // 4 - 1
        head += _APPLICATION.pack(_VERSION, 204, words, media.ssrc, _NAME)
        self.buffer = head + bytearray(IDENTITY.size)

    def write(self, number: int, sent_ns: int, *, unix_ns: int, media_packets: int, media_bytes: int) -> None:
        """Make `buffer` the compound `number`.

        Args:
            number, sent_ns: identity.
            unix_ns: wall clock time, for the report's NTP timestamp.
            media_packets, media_bytes: what the RTP stream has sent so far (payload).
        """
        if self.sends_media:
            seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
            struct.pack_into(
                "!IIIII",
                self.buffer,
                8,
                (seconds + _NTP_UNIX_S) & 0xFFFFFFFF,
                (rest_ns << 32) // 1_000_000_000,
                self._media.timestamp(media_packets),
                media_packets & 0xFFFFFFFF,
                media_bytes & 0xFFFFFFFF,
            )
        IDENTITY.pack_into(self.buffer, self.identity_offset, self._run, self._stream, number, sent_ns)


def find_identity(packet: bytes | bytearray | memoryview) -> Identity | None:
    """Whose packet this is, RTP or RTCP, or None if it is none that these writers made."""
    if len(packet) < RTP_HEADER_BYTES or packet[0] >> 6 != 2:
        return None
    offset = _SIZES.get(len(packet), 0)
    if offset and packet[1] in (200, 201) and bytes(packet[offset - 4 : offset]) == _NAME:
        return Identity(*IDENTITY.unpack_from(packet, offset))
    if len(packet) < RTP_HEADER_BYTES + MIN_PAYLOAD_BYTES:
        return None
    return Identity(*IDENTITY.unpack_from(packet, RTP_HEADER_BYTES))
