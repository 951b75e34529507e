"""Reports of RTCP that pass: what an end says of the stream that it is sent (RFC 3550 6.4.1). No I/O.

**Round trips.** A sender report says when it was sent (NTP). The end that hears it repeats that time (LSR),
and how long ago it came (DLSR). What has passed since the relay saw the sender report, less that delay, is
the round trip between the relay and that end.

**Reception.** A block about a stream has the highest sequence number that the end received, and what it lost.
A report without a block says that the end has received nothing since its report before.

Of encrypted reports (SRTCP) only the number of blocks is readable.
"""

from itertools import islice
from struct import Struct
from typing import Final

from nh.calls.leg import Leg
from nh.calls.rtp.compound import RECEIVER_REPORT, SENDER_REPORT, split_rtcp
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.stream import RtpStream

MAX_READ: Final = 8
"""Most packets of RTCP for which a leg stays in user space until they tell a round trip."""

MAX_PACKETS: Final = 8
"""Most RTCP packets of one compound packet that are read."""

_read_time: Final = Struct("!I").unpack_from
_read_block: Final = Struct("!IIIIII").unpack_from
_HEADER_BYTES: Final = 8
_TIME_AT: Final = 10  # the middle 32 bits of the NTP time
_SENDER_BYTES: Final = 28
_BLOCK_BYTES: Final = 24
_DLSR_UNIT_S: Final = 1 / 65_536


def reads_rtcp(leg: Leg) -> bool:
    """Whether user space reads RTCP that comes to the port of RTP (RFC 5761) while the kernel relays the RTP.

    It does until both round trips are known, for MAX_READ packets at most, and always where RTCP goes on to
    another port than RTP.
    """
    if leg.rtcp is not None:
        return True
    if leg.muxed_reports > MAX_READ:
        return False
    streams = _latest_streams(leg)
    return len(streams) < 2 or any(stream.round_trip_s is None for stream in streams)


def awaits_reports(leg: Leg) -> bool:
    """Whether RTCP on a port of its own is about to tell a round trip: only user space reads it.

    That is so once a sender report has passed, in either direction.
    """
    rtp = leg.rtp
    if rtp is None or rtp.meter is None or rtp.other.meter is None or leg.packets > MAX_READ:
        return False
    streams = _latest_streams(rtp)
    reported = any(stream.reports is not None and stream.reports.ntp for stream in streams)
    return reported and any(stream.round_trip_s is None for stream in streams)


def _latest_streams(rtp: Leg) -> list[RtpStream]:
    """The latest stream of each direction, as far as there is one."""
    latest = [leg.meter.latest for leg in (rtp, rtp.other) if leg.meter is not None]
    return [stream for stream in latest if stream is not None]


def note_reports(leg: Leg, packet: memoryview, *, now: float) -> bool:
    """Note the round trips that a packet of RTCP tells of.

    Args:
        leg: where it arrived, and which has counted it.
        packet: any bytes.
        now: monotonic seconds of its arrival.

    Returns:
        Whether user space had to read it, and has to read no more.
    """
    rtp = leg.rtp or leg
    for each in (rtp, rtp.other):
        if each.offload is not None:
            each.offload.load_meter()
    if leg is rtp:
        read = reads_rtcp(leg)
        leg.muxed_reports += 1
        _read(packet, rtp.meter, rtp.other.meter, now)
        return read and not reads_rtcp(leg)
    awaited = awaits_reports(leg) or leg.packets == MAX_READ + 1
    _read(packet, rtp.meter, rtp.other.meter, now)
    return awaited and not awaits_reports(leg)


def _read(packet: memoryview, sender: RtpMeter | None, receiver: RtpMeter | None, now: float) -> None:
    """Read a compound packet.

    Args:
        sender: the meter of the RTP that the same end sends.
        receiver: the meter of the RTP that it receives, which its report blocks are about.
    """
    for kind, count, ssrc, at, end in islice(split_rtcp(packet), MAX_PACKETS):
        blocks = 0
        if kind == SENDER_REPORT and end - at >= _SENDER_BYTES:
            blocks = at + _SENDER_BYTES
            if sender is not None and ssrc is not None:
                sender.note_sender_report(ssrc, _read_time(packet, at + _TIME_AT)[0], now)
        elif kind == RECEIVER_REPORT:
            blocks = at + _HEADER_BYTES
        if receiver is not None and blocks:
            _read_blocks(packet[blocks:end], count, receiver, now)


def _read_blocks(blocks: memoryview, count: int, receiver: RtpMeter, now: float) -> None:
    """Read the blocks of one report.

    Args:
        blocks: the rest of the report.
        count: how many blocks it says that it has.
        receiver: see _read().
    """
    found = []
    for at in range(0, min(_BLOCK_BYTES * count, len(blocks)) - _BLOCK_BYTES + 1, _BLOCK_BYTES):
        about, losses, highest, _, time, delay = _read_block(blocks, at)
        receiver.note_report(about, time, delay * _DLSR_UNIT_S, now)
        found.append((about, highest, losses >> 24))
    if len(found) == count:
        receiver.note_reception(found)
