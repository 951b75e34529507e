"""Two ends that talk for a second and report what they hear in RTCP, for relays that judge quality."""

import time
from typing import NamedTuple

from tests.calls.rtp import rtp_packet
from tests.rtcp import receiver_report, report_block, sender_report
from tools.harness.media_peer import RTCP, MediaPeer

PACKETS = 120


class ReportingEnd(NamedTuple):
    """One end.

    Args:
        media: its sockets.
        to: where the relay receives from it.
        ssrc: of its stream.
    """

    media: MediaPeer
    to: tuple[str, int]
    ssrc: int


def talk_and_report(one: ReportingEnd, other: ReportingEnd, *, lost: int = 0) -> None:
    """PACKETS each way, of which `lost` of `other`'s do not come, and then the reports of both.

    rtpengine judges what `one` hears: for a report of `other` it does not know both round trips yet.
    """
    missing = {number * PACKETS // (lost + 1) for number in range(1, lost + 1)}
    for number in range(1, PACKETS + 1):
        for end, opposite, gone in ((one, other, False), (other, one, number in missing)):
            if not gone:
                packet = rtp_packet(number, 160 * number, ssrc=end.ssrc)
                end.media.send_raw(packet, end.to)
                # one by one: of a burst that moves into the kernel, some may not be measured
                assert opposite.media.receive()[0] == packet
    heard = {one.ssrc: lost * 256 // PACKETS, other.ssrc: 0}
    for number, (end, opposite) in enumerate(((one, other), (other, one))):
        _send(end, sender_report(end.ssrc, 0x10 + number), opposite)
        block = report_block(
            end.ssrc, lsr=0x10 + number, dlsr_s=0.001, fraction_lost=heard[opposite.ssrc], jitter=16
        )
        _send(opposite, receiver_report(opposite.ssrc, block), end)


def _send(end: ReportingEnd, packet: bytes, receiver: ReportingEnd) -> None:
    """A packet of RTCP, which has arrived when this returns; round trips are some milliseconds."""
    time.sleep(0.005)
    end.media.send_raw(packet, end.to, RTCP)
    assert receiver.media.receive(RTCP)[0] == packet
