"""Legs for tests: one announced endpoint, and sources of every rank against it.

The announced address is a private one: a NAT may stand before it, so packets may come from anywhere.
"""

import itertools

from nh.calls.latching.claims import Carried
from nh.calls.latching.source import SourcePolicy
from nh.calls.latching.terms import leg_terms
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rtp.payload_types import PayloadTypes
from tests.calls.fakes import START, FakeSocket, receive
from tests.calls.rtp import CLOCKS, rtp_packet

ANNOUNCED = Endpoint("192.168.1.10", 4000)
EXACT = ANNOUNCED
SAME_IP = Endpoint("192.168.1.10", 5555)
SAME_IP_2 = Endpoint("192.168.1.10", 7777)
SAME_PORT = Endpoint("203.0.113.5", 4000)
SAME_PORT_2 = Endpoint("203.0.113.6", 4000)
ANY = Endpoint("203.0.113.5", 9999)
ANY_2 = Endpoint("203.0.113.6", 8888)
SIGNALLED = Endpoint("192.0.2.77", 6000)
"""At the IP address of the signalling, where a test says that there is one."""
ANNOUNCED_V6 = Endpoint("fd00::1", 4000)

PUBLIC = Endpoint("198.51.100.1", 4000)
"""An address that no NAT stands before."""

PACKET = memoryview(rtp_packet(1))
"""A packet that claims a leg."""

WINDOW_S = 3.0
HEURISTIC, FIRST = SourcePolicy.HEURISTIC, SourcePolicy.FIRST
BY_IP, STRICT = SourcePolicy.ANNOUNCED, SourcePolicy.STRICT

_streams = itertools.count(1)


def speaks(leg: Leg, source: Endpoint, *, now: float, for_s: float = 0.0) -> bool:
    """Whether the last packet of a new stream is admitted.

    Args:
        now: when it comes.
        for_s: how long the stream has been going on by then; 0: two packets at the same moment.
    """
    ssrc = next(_streams)
    packets = 2 + round(for_s / 0.2)
    admitted = False
    for number in range(packets):
        came = now - for_s * (1 - number / (packets - 1))
        admitted = leg.admit(source, memoryview(rtp_packet(number, ssrc=ssrc)), now=came)
    return admitted


def make_leg(
    policy: SourcePolicy = HEURISTIC,
    announced: Endpoint | None = ANNOUNCED,
    *,
    receives: bool = True,
    window_s: float = WINDOW_S,
    signalled_from: str = "",
    relatch_s: float = 0.0,
    carried: Carried = Carried.OTHER,
) -> Leg:
    """A leg; one that carries RTP measures its streams."""
    return Leg(
        socket=FakeSocket(Endpoint("192.0.2.1", 20_000)),
        announced=announced,
        terms=leg_terms(policy, carried, relatch_s, receives),
        window_ends=START + window_s,
        signalled_from=signalled_from,
        payload_types=PayloadTypes(CLOCKS, {}) if Carried.RTP in carried else None,
    )


def hear(leg: Leg, source: Endpoint, packet: bytes, *, now: float) -> bool:
    """Let a packet come to a leg, as a media socket does; returns whether it was admitted."""
    if not leg.admit(source, memoryview(packet), now=now):
        return False
    receive(leg, len(packet), at=now)
    if (meter := leg.find_meter()) is not None:
        meter.measure(packet, len(packet), now)
    return True
