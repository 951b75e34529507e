"""RTCP that passes a leg: whether user space has to read its reports (nh.calls.rtp.reports). No I/O."""

from typing import Final

from nh.calls.leg import Leg
from nh.calls.rtp.reports import read_reports
from nh.calls.rtp.stream import RtpStream

MAX_READ: Final = 8
"""Most packets of RTCP for which a leg stays in user space until they tell a round trip."""


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
        read_reports(packet, rtp.meter, rtp.other.meter, now)
        return read and not reads_rtcp(leg)
    awaited = awaits_reports(leg) or leg.packets == MAX_READ + 1
    read_reports(packet, rtp.meter, rtp.other.meter, now)
    return awaited and not awaits_reports(leg)
