"""Reports of RTCP: what an end says of the stream that it is sent (RFC 3550 6.4.1). No I/O.

**Round trips.** A sender report says when it was sent (NTP). The end that hears it repeats that time (LSR),
and how long ago it came (DLSR). What has passed since the relay saw the sender report, less that delay, is
the round trip between the relay and that end.

**Reception.** A block about a stream has the highest sequence number that the end received, and what it lost.
A report without a block says that the end has received nothing since its report before.

Of encrypted reports (SRTCP) only the number of blocks is readable.
A browser with a bundle sends reports without a block between others that have the blocks of all its media.
"""

from collections.abc import Sequence
from itertools import islice
from struct import Struct
from typing import Final

from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.quality import MAX_ROUND_TRIP_S
from nh.rtp.compound import RECEIVER_REPORT, SENDER_BYTES, SENDER_REPORT, report_blocks, split_rtcp

MAX_PACKETS: Final = 8
"""Most RTCP packets of one compound packet that are read."""

MIN_REPORTED: Final = 50
"""A report that tells of no packet says something only if so many came meanwhile: a second of speech."""

_read_time: Final = Struct("!I").unpack_from
_read_block: Final = Struct("!IIIIII").unpack_from
_TIME_AT: Final = 10  # the middle 32 bits of the NTP time
_DLSR_UNIT_S: Final = 1 / 65_536


def read_reports(packet: memoryview, sender: RtpMeter | None, receiver: RtpMeter | None, now: float) -> None:
    """Read a compound packet, and note at the meters what it tells.

    Args:
        packet: any bytes.
        sender: the meter of the RTP that the same end sends.
        receiver: the meter of the RTP that it receives, which its report blocks are about.
        now: monotonic seconds of its arrival.
    """
    for kind, count, ssrc, at, end in islice(split_rtcp(packet), MAX_PACKETS):
        is_whole_sender_report = kind == SENDER_REPORT and end - at >= SENDER_BYTES
        if is_whole_sender_report and sender is not None and ssrc is not None:
            _note_sender_report(sender, ssrc, _read_time(packet, at + _TIME_AT)[0], now)
        if receiver is not None and (is_whole_sender_report or kind == RECEIVER_REPORT):
            _read_blocks(packet, report_blocks(kind, count, at, end), count, receiver, now)


def _read_blocks(packet: memoryview, blocks: range, count: int, receiver: RtpMeter, now: float) -> None:
    """Read the blocks of one report.

    Args:
        packet: see read_reports().
        blocks: where they begin.
        count: how many blocks it says that it has.
        receiver: see read_reports().
        now: see read_reports().
    """
    found = []
    for at in blocks:
        about, losses, highest, _, time, delay = _read_block(packet, at)
        _note_round_trip(receiver, about, time, delay * _DLSR_UNIT_S, now)
        found.append((about, highest, losses >> 24))
    if len(found) == count:
        note_reception(receiver, found)


def _note_sender_report(meter: RtpMeter, ssrc: int, ntp: int, now: float) -> None:
    """Note a sender report of one of the streams.

    Args:
        meter: of the streams.
        ssrc: of the stream.
        ntp: middle 32 bits of the report's NTP time; 0 if the sender has no clock (RFC 3550 6.4.1): an
            answer to it would look like that of an end that has heard no report.
        now: monotonic seconds at which it passed.
    """
    stream = meter.find_stream(ssrc) if ntp else None
    if stream is not None:
        reports = stream.find_reports()
        reports.ntp, reports.sent_at = ntp, now


def _note_round_trip(meter: RtpMeter, ssrc: int, ntp: int, delay_s: float, now: float) -> None:
    """Note a report about one of the streams, from the end that receives it.

    Args:
        meter: of the streams.
        ssrc: of the stream.
        ntp: LSR, the time of the sender report that the end heard last; 0: none.
        delay_s: DLSR, the seconds since then.
        now: monotonic seconds at which it passed.
    """
    stream = meter.find_stream(ssrc)
    reports = None if stream is None else stream.reports
    if reports is None or not ntp or reports.ntp != ntp:
        return
    round_trip_s = now - reports.sent_at - delay_s
    if round_trip_s <= MAX_ROUND_TRIP_S:
        # DLSR is measured by another clock
        reports.round_trip_s = max(round_trip_s, 0.0)


def note_reception(meter: RtpMeter, blocks: Sequence[tuple[int, int, int]]) -> None:
    """Note what the end that receives the streams of a meter says that it received.

    Args:
        meter: of the streams.
        blocks: of one report: SSRC, highest sequence number, and the part that was lost in 256ths; none if
            the end has received nothing since its report before (RFC 3550 6.4).
    """
    news = []
    for ssrc, highest, lost in blocks:
        stream = meter.find_stream(ssrc)
        if stream is not None:
            reports = stream.find_reports()
            news.append(reports.highest != highest)
            reports.highest, reports.lost = highest, lost
    # encrypted blocks are about no known stream, and say that the end receives one
    receives = any(news) if news else bool(blocks)
    packets = sum(stream.packets for stream in meter.streams)
    if receives:
        meter.deaf_reports, meter.reported_packets = 0, packets
    elif packets >= meter.reported_packets + MIN_REPORTED:
        meter.deaf_reports, meter.reported_packets = meter.deaf_reports + 1, packets
