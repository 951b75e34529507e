"""What the report blocks of a phone say of the stream that it receives (RFC 3550 6.4.1, A.3).

Pure: times come in as nanoseconds of the monotonic clock.
"""

from typing import Final

from tools.rtpload.packet import ReportBlock, RtpWriter, read_report_time
from tools.rtpload.streams.stream import Stream

_MOST_LOST: Final = 2**23 - 1
_MOST_LOST_PART: Final = 255
_NS_PER_S: Final = 1_000_000_000


class Reception:
    """The account of one stream, as its receiver reports it.

    A duplicate replaces no lost packet: RFC 3550 A.3 counts it as received.

    Args:
        stream: the account.
        media: what it is made of.
        interval_ns: its packet time.
    """

    __slots__ = ("_interval_ns", "_media", "_report", "_reported", "_stream")

    def __init__(self, stream: Stream, media: RtpWriter, interval_ns: int) -> None:
        self._stream = stream
        self._media = media
        self._interval_ns = interval_ns
        self._reported = (0, 0)  # expected and received, as of the latest block
        self._report = (0, 0)  # the latest report of the sender: the middle of its NTP time, when it came

    def note_report(self, compound: memoryview, arrived_ns: int) -> None:
        """A compound of the stream's sender came."""
        if (time := read_report_time(compound)) is not None:
            self._report = (time, arrived_ns)

    def block(self, now_ns: int) -> ReportBlock | None:
        """The block of a report that is sent now; None if nothing came since the one before."""
        expected, received = self._stream.expected, self._stream.received
        expected_before, received_before = self._reported
        if received == received_before:
            return None
        self._reported = (expected, received)
        lately = expected - expected_before
        lost_lately = max(0, lately - (received - received_before))
        time, arrived_ns = self._report
        return ReportBlock(
            ssrc=self._media.ssrc,
            lost_part=min(_MOST_LOST_PART, lost_lately * 256 // lately) if lately else 0,
            lost=min(_MOST_LOST, expected - received),
            highest=self._media.extended_sequence(expected - 1),
            jitter=round(self._stream.jitter_ns * self._media.timestamp_step / self._interval_ns),
            last_report=time,
            delay=(now_ns - arrived_ns) * 65_536 // _NS_PER_S if time else 0,
        )
