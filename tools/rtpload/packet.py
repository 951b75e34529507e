"""RTP and RTCP packets that can be measured (RFC 3550): whose they are and when they were sent is in them.

The identity is 20 bytes: run, stream and number of the packet (32 bits each), then the time of sending in
nanoseconds of the monotonic clock (64 bits). In RTP it begins the payload; in RTCP it is the data of an APP
packet, the last one of the compound, behind the report and its SDES. Packets are written into buffers that
each stream keeps: only what changes is packed anew. Knows neither sockets nor clocks.
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
_BLOCK: Final = struct.Struct("!IIIIII")
_DESCRIPTION: Final = struct.Struct("!BBHIBB10s")
_APPLICATION: Final = struct.Struct("!BBHI4s")
_NAME: Final = b"LOAD"
_SENDER_REPORT_TYPE: Final = 200
_RECEIVER_REPORT_TYPE: Final = 201
_NTP_MIDDLE: Final = struct.Struct("!I")
_NTP_MIDDLE_AT: Final = 10

_BEHIND_REPORT: Final = _DESCRIPTION.size + _APPLICATION.size + IDENTITY.size
_REPORT_BYTES: Final = {True: _SENDER_REPORT.size, False: _RECEIVER_REPORT.size}
"""Without a block; True: of an end that sends media."""


class Identity(NamedTuple):
    """What a packet says of itself."""

    run: int
    stream: int
    number: int
    sent_ns: int


class ReportBlock(NamedTuple):
    """What an end says of the stream that it receives (RFC 3550 6.4.1).

    Args:
        ssrc: of that stream.
        lost_part: the part of its packets that was lost since the report before, in 256ths, 0 to 255.
        lost: packets that were lost in all, 0 to 2**23 - 1.
        highest: the highest sequence number, with the number of its wraps above 16 bits.
        jitter: in units of its timestamps.
        last_report: the middle of the NTP time of its sender's latest report; 0: none came.
        delay: since that report came, in 65,536ths of a second.
    """

    ssrc: int
    lost_part: int
    lost: int
    highest: int
    jitter: int
    last_report: int
    delay: int


def rtcp_sizes(*, sends_media: bool) -> tuple[int, int]:
    """Bytes of a compound of an end, without a report block and with one."""
    without = _REPORT_BYTES[sends_media] + _BEHIND_REPORT
    return without, without + _BLOCK.size


_RTCP_SIZES: Final = frozenset({*rtcp_sizes(sends_media=True), *rtcp_sizes(sends_media=False)})


def read_report_time(compound: bytes | bytearray | memoryview) -> int | None:
    """The middle 32 bits of the NTP time of a sender report; None: the compound begins with another packet.

    Args:
        compound: a whole one of `RtcpWriter`.
    """
    if compound[1] != _SENDER_REPORT_TYPE:
        return None
    return int(_NTP_MIDDLE.unpack_from(compound, _NTP_MIDDLE_AT)[0])


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
    def payload_type(self) -> int:
        """Of each packet."""
        return self.buffer[1]

    @property
    def timestamp_step(self) -> int:
        """From packet to packet."""
        return self._step

    def extended_sequence(self, number: int) -> int:
        """The sequence number of packet `number`, with its wraps above 16 bits (RFC 3550 6.4.1)."""
        return (self._first_sequence + number) & 0xFFFFFFFF

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
        media: the RTP stream that this end sends, or would send.
        sends_media: whether it sends any.

    Attributes:
        buffer: the compound that was written last.
    """

    __slots__ = ("_blockless", "_media", "_run", "_stream", "_with_block", "buffer", "sends_media")

    def __init__(self, run: int, stream: int, media: RtpWriter, *, sends_media: bool) -> None:
        self._run = run
        self._stream = stream
        self._media = media
        self.sends_media = sends_media
        self._blockless = self._compound(blocks=0)
        self._with_block = self._compound(blocks=1)
        self.buffer = self._blockless

    @property
    def ssrc(self) -> int:
        """Of the end that sends them."""
        return self._media.ssrc

    def _compound(self, *, blocks: int) -> bytearray:
        ssrc = self._media.ssrc
        # lengths are in words of 32 bits, less one (RFC 3550 6.4.1)
        report = bytearray(_REPORT_BYTES[self.sends_media] + blocks * _BLOCK.size)
        kind = _SENDER_REPORT_TYPE if self.sends_media else _RECEIVER_REPORT_TYPE
        _RECEIVER_REPORT.pack_into(report, 0, _VERSION | blocks, kind, len(report) // 4 - 1, ssrc)
        cname = b"%08x" % ssrc  # the item ends with one NUL, and a second one fills the word
        description = _DESCRIPTION.pack(
            _VERSION | 1, 202, _DESCRIPTION.size // 4 - 1, ssrc, 1, len(cname), cname
        )
        words = (_APPLICATION.size + IDENTITY.size) // 4 - 1
        application = _APPLICATION.pack(_VERSION, 204, words, ssrc, _NAME)
        return report + description + application + bytearray(IDENTITY.size)

    def write(
        self,
        number: int,
        sent_ns: int,
        *,
        unix_ns: int,
        media_packets: int,
        media_bytes: int,
        block: ReportBlock | None = None,
    ) -> None:
        """Make `buffer` the compound `number`.

        Args:
            number, sent_ns: identity.
            unix_ns: wall clock time, for the report's NTP timestamp.
            media_packets, media_bytes: what the RTP stream has sent so far (payload).
            block: what this end says of the stream that it receives; None: it has received nothing since the
                compound before.
        """
        self.buffer = buffer = self._blockless if block is None else self._with_block
        if self.sends_media:
            seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
            struct.pack_into(
                "!IIIII",
                buffer,
                8,
                (seconds + _NTP_UNIX_S) & 0xFFFFFFFF,
                (rest_ns << 32) // 1_000_000_000,
                self._media.timestamp(media_packets),
                media_packets & 0xFFFFFFFF,
                media_bytes & 0xFFFFFFFF,
            )
        if block is not None:
            _BLOCK.pack_into(
                buffer,
                _REPORT_BYTES[self.sends_media],
                block.ssrc,
                block.lost_part << 24 | block.lost,
                *block[3:],
            )
        IDENTITY.pack_into(buffer, len(buffer) - IDENTITY.size, self._run, self._stream, number, sent_ns)


def find_identity(packet: bytes | bytearray | memoryview) -> Identity | None:
    """Whose packet this is, RTP or RTCP, or None if it is none that these writers made."""
    if len(packet) < RTP_HEADER_BYTES or packet[0] >> 6 != 2:
        return None
    offset = len(packet) - IDENTITY.size
    if (
        len(packet) in _RTCP_SIZES
        and packet[1] in (_SENDER_REPORT_TYPE, _RECEIVER_REPORT_TYPE)
        and bytes(packet[offset - len(_NAME) : offset]) == _NAME
    ):
        return Identity(*IDENTITY.unpack_from(packet, offset))
    if len(packet) < RTP_HEADER_BYTES + MIN_PAYLOAD_BYTES:
        return None
    return Identity(*IDENTITY.unpack_from(packet, RTP_HEADER_BYTES))
